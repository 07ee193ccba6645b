//! A damaged journal: recovered by a command, or by the daemon when it starts.

#![cfg(all(feature = "cli", feature = "nats"))]
mod support;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    path::PathBuf,
};

use edge_outbox::envelope::{Envelope, Unverified};
use serde_json::Value;
use support::{
    nats_server::{NatsServer, messages},
    program::{Home, exists, lines},
};

fn journal(home: &Home) -> PathBuf {
    home.data_dir().join("journal.redb")
}

/// A journal of 3,001 events, in groups of 64 but for the first.
fn filled(home: &Home) {
    assert_eq!(home.run_with(&["append"], lines(0..3_000)).code, 0);
}

/// Changes four bytes of the event of this seq, wherever it stands.
fn damage(home: &Home, seq: u64) {
    let line = home.ok(&["tail", "--from", &seq.to_string()]);
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["seq"], seq);
    let id: uuid::Uuid = line["id"].as_str().unwrap().parse().unwrap();
    let whole = fs::read(journal(home)).unwrap();
    let file = OpenOptions::new().write(true).open(journal(home)).unwrap();
    let places = whole.windows(16).enumerate();
    for (at, _) in places.filter(|(_, bytes)| bytes == id.as_bytes()) {
        file.write_all_at(&[0xFF; 4], at as u64 + 4).unwrap();
    }
}

fn recovered(home: &Home, args: &[&str]) -> Value {
    let mut command = vec!["recover", "--json"];
    command.extend(args);
    serde_json::from_str(&home.ok(&command)).unwrap()
}

#[test]
fn what_can_be_read_is_saved_and_what_is_gone_is_named() {
    let home = Home::new();
    filled(&home);
    assert_eq!(recovered(&home, &[])["recovered"], false);
    damage(&home, 100);
    let ended = home.run(&["verify"]);
    assert_eq!(ended.code, 1, "{ended:?}");

    let damaged = fs::read(journal(&home)).unwrap();
    let said = recovered(&home, &[]);
    assert_eq!(said["recovered"], true);
    assert_eq!(said["events"], 3_001 - 64);
    let missing = serde_json::json!([{ "first": 66, "last": 129 }]);
    assert_eq!(said["missing"], missing);
    assert_eq!(said["end_is_known"], true);
    let kept = said["kept_as"].as_str().unwrap();
    assert!(kept.ends_with("journal.redb.damaged-1"), "{kept}");
    assert!(
        fs::read(kept).unwrap() == damaged,
        "the damaged file was changed"
    );

    let status = home.status();
    assert_eq!(
        (&status["epoch"], &status["tail"]),
        (&said["epoch"], &Value::from(3_002))
    );
    let ended = home.run(&["verify"]);
    assert!(
        ended.stderr.contains("seq 66 to 129 are missing"),
        "{ended:?}"
    );
    assert_eq!(home.run_with(&["append"], lines(3_000..3_010)).code, 0);
    assert_eq!(recovered(&home, &[])["recovered"], false);
    let again = recovered(&home, &["--anyway"]);
    assert_eq!(again["missing"], missing);
    assert_eq!(again["events"], 3_001 - 64 + 11);

    let text = home.ok(&["recover", "--anyway"]);
    assert!(text.contains("gone       seq 66 to 129"), "{text}");
    assert!(text.contains("journal.redb.damaged-3"), "{text}");
}

#[test]
fn a_journal_that_is_in_use_is_not_recovered() {
    let home = Home::new();
    let daemon = home.daemon();
    let ended = home.run(&["recover"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("in use"), "{}", ended.stderr);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn at_most_three_damaged_journals_are_kept() {
    let home = Home::new();
    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    for _ in 0..5 {
        recovered(&home, &["--anyway"]);
    }
    let kept = |number: u32| {
        exists(
            &home
                .data_dir()
                .join(format!("journal.redb.damaged-{number}")),
        )
    };
    assert_eq!([1, 2, 3, 4, 5].map(kept), [false, false, true, true, true]);
}

#[test]
fn the_daemon_refuses_a_damaged_journal_unless_it_is_told_to_recover_it() {
    let home = Home::new();
    filled(&home);
    // One of the last thousand, which are read at every start.
    damage(&home, 2_990);
    let ended = home.run(&["run"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("edge-outbox recover"),
        "{}",
        ended.stderr
    );

    home.write_config("[journal]\nrecover = \"at-start\"\n");
    let daemon = home.daemon();
    let status = home.status();
    let fault = status["journal"]["last_error"].as_str().unwrap();
    assert!(fault.contains("is recovered"), "{fault}");
    assert!(exists(&home.data_dir().join("journal.redb.damaged-1")));
    assert_eq!(home.run_with(&["append"], lines(0..10)).code, 0);
    assert_eq!(daemon.stop().0, 0);
}

/// Whatever is wrong with the file's beginning or its end is damage, and no trouble with the disk.
#[test]
fn a_file_that_begins_or_ends_otherwise_is_damaged_too() {
    type Change = fn(&mut Vec<u8>);
    let forms: [(&str, Change); 6] = [
        ("another beginning", |bytes| bytes[..7].fill(b'x')),
        ("no first page", |bytes| bytes[..4096].fill(0)),
        ("half of it", |bytes| bytes.truncate(bytes.len() / 2)),
        ("one page", |bytes| bytes.truncate(4096)),
        ("100 bytes", |bytes| bytes.truncate(100)),
        ("nothing", Vec::clear),
    ];
    for (form, change) in forms {
        let home = Home::new();
        assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
        let mut bytes = fs::read(journal(&home)).unwrap();
        change(&mut bytes);
        fs::write(journal(&home), bytes).unwrap();
        let ended = home.run(&["run"]);
        assert_eq!(ended.code, 1, "{form}: {ended:?}");
        for said in ["is damaged", "edge-outbox recover"] {
            assert!(ended.stderr.contains(said), "{form}: {}", ended.stderr);
        }
        home.write_config("[journal]\nrecover = \"at-start\"\n");
        let daemon = home.daemon();
        assert_eq!(home.run_with(&["append"], lines(10..13)).code, 0, "{form}");
        assert_eq!(daemon.stop().0, 0, "{form}");
        assert!(
            exists(&home.data_dir().join("journal.redb.damaged-1")),
            "{form}"
        );
    }
}

/// Opening reads the end of a journal. What is damaged before it, a sink comes upon.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_sink_comes_upon_is_mended_by_the_next_start() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let mut home = Home::with_config("[journal]\nrecover = \"at-start\"\n");
    filled(&home);
    damage(&home, 1_000);
    home.set("NATS_URL", &server.url());
    let daemon = home.daemon();
    let status = home.wait_for(|status| status["sinks"]["nats"]["state"] == "halted");
    let error = &status["sinks"]["nats"]["last_error"];
    assert_eq!(error["code"], "journal_damaged", "{error}");
    assert_eq!(
        home.run_with(&["append"], lines(3_000..3_005)).code,
        0,
        "appends go on"
    );
    assert_eq!(daemon.stop().0, 0);

    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["nats"]["pending"] == 0);
    assert_eq!(daemon.stop().0, 0);
    let mut seqs = BTreeSet::new();
    let mut starts = Vec::new();
    for message in messages(stream).await {
        let envelope = Envelope::<Unverified>::parse(&message).unwrap();
        assert!(
            seqs.insert(envelope.claims().seq.get()),
            "twice in the stream"
        );
        if envelope.claims().event_type == "outbox.epoch_started.v1" {
            let text: Value = serde_json::from_slice(&message).unwrap();
            starts.push(text["payload"].clone());
        }
    }
    let gone: Vec<u64> = (1..=3_006).filter(|seq| !seqs.contains(seq)).collect();
    assert_eq!(gone, (962..=1_025).collect::<Vec<u64>>());
    assert_eq!(starts[1]["reason"], "recovered");
    let missing = serde_json::json!([{ "first": 962, "last": 1_025 }]);
    assert_eq!(starts[1]["missing"], missing);
    // It is done once: the next start finds nothing to do.
    let daemon = home.daemon();
    assert!(home.status()["journal"]["last_error"].is_null());
    assert_eq!(daemon.stop().0, 0);
}

/// Where redb's lists of free pages stand in the journal: the first page that each names.
fn free_lists(bytes: &[u8]) -> Vec<usize> {
    const PAGE: usize = 4096;
    const LEAF: u8 = 1;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let is_page = |at: usize| number(at) < (bytes.len() / PAGE) as u64;
    let mut found = Vec::new();
    for page in (0..bytes.len()).step_by(PAGE) {
        let entries = usize::from(u16::from_le_bytes([bytes[page + 2], bytes[page + 3]]));
        if bytes[page] != LEAF || !(1..10).contains(&entries) {
            continue;
        }
        // Keys: a transaction's id and a zero. Values: how many pages, and which.
        let keys = page + 4 + 4 * entries;
        let values = keys + 16 * entries;
        let mut keys = (keys..values).step_by(16);
        let pages = usize::from(u16::from_le_bytes([bytes[values], bytes[values + 1]]));
        let mut listed = (values + 2..).step_by(8).take(pages);
        if keys.all(|at| number(at) < 10_000 && number(at + 8) == 0)
            && (1..100).contains(&pages)
            && listed.all(is_page)
        {
            found.push(values + 2);
        }
    }
    found
}

/// Runs this to its end. Whether it was ended by SIGABRT.
fn aborts(home: &Home, args: &[&str]) -> bool {
    let ended = home.command(args).output().unwrap();
    ended.status.signal() == Some(6)
}

/// redb may panic twice over what is damaged, which ends the process: once, and not at each start.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_ends_the_daemon_is_mended_by_the_next_start() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let mut home = Home::new();
    for number in 0..5 {
        assert_eq!(
            home.run_with(&["append"], lines(number..number + 1)).code,
            0
        );
    }
    let whole = fs::read(journal(&home)).unwrap();
    let mark = home.data_dir().join("journal.damage");
    let changes = free_lists(&whole);
    let mut changes = changes
        .into_iter()
        .flat_map(|at| (0..8).map(move |bit| (at, bit)));
    let fatal = changes.find_map(|(at, bit)| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        fs::write(journal(&home), &bytes).unwrap();
        let is_fatal = aborts(&home, &["tail"]);
        assert_eq!(exists(&mark), is_fatal, "bit {bit} of byte {at}");
        is_fatal.then_some(bytes)
    });
    let fatal = fatal.expect("a bit that ends the process");
    fs::write(journal(&home), &fatal).unwrap();
    fs::remove_file(&mark).unwrap();
    home.set("NATS_URL", &server.url());
    assert!(aborts(&home, &["run"]), "the first start ends");
    let at_end = fs::read(journal(&home)).unwrap();

    for args in [&["run"][..], &["tail"], &["append"]] {
        let ended = home.run(args);
        assert_eq!(ended.code, 1, "{args:?}: {ended:?}");
        for said in [
            "journal.redb is damaged",
            "ended the process",
            "edge-outbox recover",
        ] {
            assert!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
        }
    }
    assert!(
        fs::read(journal(&home)).unwrap() == at_end,
        "it was written to"
    );

    home.write_config("[journal]\nrecover = \"at-start\"\n");
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["nats"]["acked"] == status["tail"]);
    assert!(!exists(&mark));
    assert_eq!(daemon.stop().0, 0);
    let messages = messages(stream).await;
    let seqs = messages.iter().map(|message| {
        let envelope = Envelope::<Unverified>::parse(message).unwrap();
        envelope.claims().seq.get()
    });
    let seqs: BTreeSet<u64> = seqs.collect();
    assert!((1..=6).all(|seq| seqs.contains(&seq)), "{seqs:?}");

    // Where nothing is known, `recover` finds it out, in a process of its own should that end.
    fs::write(journal(&home), &fatal).unwrap();
    let said = recovered(&home, &[]);
    let said = (said["recovered"].clone(), said["events"].clone());
    assert_eq!(said, (true.into(), 6.into()));
    assert!(!exists(&mark));
    // And where nothing but its own end tells.
    fs::write(journal(&home), &fatal).unwrap();
    assert!(aborts(&home, &["tail"]));
    assert_eq!(recovered(&home, &[])["events"], 6);
    assert!(!exists(&mark));
}

/// The file has lost its end, and with it the newest events and the cursors.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_file_that_was_cut_off_is_delivered_and_marked() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let mut home = Home::with_config("[journal]\nrecover = \"at-start\"\n");
    for from in (0..3_000).step_by(100) {
        assert_eq!(home.run_with(&["append"], lines(from..from + 100)).code, 0);
    }
    let file = OpenOptions::new().write(true).open(journal(&home)).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 3).unwrap();
    home.set("NATS_URL", &server.url());
    let daemon = home.daemon();
    let fault = home.status()["journal"]["last_error"].clone();
    assert!(fault.as_str().unwrap().contains("is recovered"), "{fault}");
    home.wait_for(|status| status["sinks"]["nats"]["pending"] == 0);
    assert_eq!(daemon.stop().0, 0);
    let mut epochs = BTreeSet::new();
    let mut delivered = 0;
    for message in messages(stream).await {
        let text: Value = serde_json::from_slice(&message).unwrap();
        epochs.insert(text["epoch"].as_str().unwrap().to_owned());
        // What is known to have left is a lower bound: all of it may have.
        assert_eq!(text["redelivered"], epochs.len() == 1, "{text}");
        delivered += 1;
    }
    assert_eq!(epochs.len(), 2);
    assert!(delivered > 100, "{delivered}");
}
