//! What is carried by hand, on the device: exports are whole files that a hub can prove, and the
//! receipts that come back let the journal go of what the hub has.

#![cfg(all(feature = "carry", feature = "cli", feature = "http"))]
mod support;

use std::{fs, os::unix::fs::symlink, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge_outbox::{DeviceKey, PublicKey, envelope::Digest, receipt::Receipt, tail::Tail};
use serde_json::Value;
use support::{
    acting_hub::ActingHub,
    program::{Daemon, Ended, Home, exists, lines},
};

/// A little more than what is trimmed at once, beside what stays.
const MANY: usize = 2_200;

/// A device with a sink that is carried, and the hub that it believes.
struct Classroom {
    home: Home,
    hub: ActingHub,
}

impl Classroom {
    fn new() -> Self {
        let home = Home::new();
        let identity: Value = serde_json::from_str(&home.ok(&["identity", "--json"])).unwrap();
        let device = identity["device"].as_str().unwrap();
        let device_key: PublicKey = identity["public_key"].as_str().unwrap().parse().unwrap();
        let hub = ActingHub::new(device, device_key);
        let classroom = Self { home, hub };
        classroom.configure(&classroom.hub.key);
        classroom
    }

    fn configure(&self, hub_key: &DeviceKey) {
        self.home.write_config(&format!(
            "[device]\nhub_key = \"{}\"\n[sinks.stick]\ntype = \"carried\"\n",
            hub_key.public_key()
        ));
    }

    #[track_caller]
    fn append(&self, numbers: std::ops::Range<usize>) {
        let ended = self.home.run_with(&["append"], lines(numbers));
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    /// Exports, and hands the events to the hub; gives how many there were.
    #[track_caller]
    fn carry_there(&mut self) -> usize {
        self.home.ok(&["export", "out.jsonl", "--force"]);
        let text = fs::read_to_string(self.home.path("out.jsonl")).unwrap();
        let (tail, events) = parts(&text);
        self.hub.take_tail(&tail);
        for event in &events {
            self.hub.take(event.as_bytes());
        }
        events.len()
    }

    /// Writes what the hub says, and has the device take it.
    #[track_caller]
    fn carry_back(&self, receipts: &[Receipt]) -> Ended {
        let messages: Vec<Vec<u8>> = receipts
            .iter()
            .map(|receipt| receipt.sign(&self.hub.key).unwrap())
            .collect();
        self.bring(self.hub.device.as_str(), &messages)
    }

    fn bring(&self, device: &str, messages: &[Vec<u8>]) -> Ended {
        let mut text = "{\"edge_outbox_receipts\":1}\n".to_owned();
        for message in messages {
            let receipt = STANDARD.encode(message);
            text += &format!("{{\"device\":\"{device}\",\"receipt\":\"{receipt}\"}}\n");
        }
        fs::write(self.home.path("receipts.jsonl"), text).unwrap();
        self.home.run(&["receipts", "receipts.jsonl", "--json"])
    }

    fn first_held(&self) -> u64 {
        self.home.status()["journal"]["first_held"]
            .as_u64()
            .unwrap()
    }
}

/// Head and end of an export as they have to be, with the tail and the events between them.
#[track_caller]
fn parts(text: &str) -> (Vec<u8>, Vec<&str>) {
    let mut all: Vec<&str> = text.strip_suffix('\n').unwrap().split('\n').collect();
    let head: Value = serde_json::from_str(all.remove(0)).unwrap();
    assert_eq!(head["edge_outbox_export"], 1);
    let end: Value = serde_json::from_str(all.pop().unwrap()).unwrap();
    assert_eq!(end["edge_outbox_export_end"], 1);
    assert_eq!(end["events"], all.len());
    let tail = STANDARD.decode(head["tail"].as_str().unwrap()).unwrap();
    (tail, all)
}

fn brought(ended: &Ended) -> Value {
    assert_eq!(ended.code, 0, "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Runs a test with a daemon and without one.
fn both_ways(test: impl Fn(&mut Classroom, &dyn Fn(&Home) -> Option<Daemon>)) {
    for with_daemon in [true, false] {
        println!("with a daemon: {with_daemon}");
        let mut classroom = Classroom::new();
        test(&mut classroom, &|home| with_daemon.then(|| home.daemon()));
    }
}

#[test]
fn an_export_holds_every_event_as_it_is_between_a_signed_tail_and_a_count() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..300);
        let said = classroom.home.ok(&["export", "out.jsonl"]);
        assert!(
            said.starts_with("301 events, seq 1 to 301, written to out.jsonl\n"),
            "{said}"
        );
        assert!(said.contains("hub import --receipts"), "{said}");
        let text = fs::read_to_string(classroom.home.path("out.jsonl")).unwrap();
        let (tail, events) = parts(&text);
        let shown = classroom.home.ok(&["tail", "--from", "1"]);
        assert_eq!(events, shown.lines().collect::<Vec<_>>());
        let tail = Tail::verify(&tail, &classroom.hub.device_key).unwrap();
        assert_eq!((tail.seq.get(), &tail.device), (301, &classroom.hub.device));
        // On standard output there is nothing else.
        let piped = classroom.home.ok(&["export", "-", "--from", "200"]);
        assert_eq!(parts(&piped).1, events[199..]);
        // Who carries it can register the device by its first line.
        let head: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(head["device"], classroom.hub.device.as_str());
        let key = classroom.hub.device_key.to_string();
        assert_eq!(head["public_key"], key);
    });
}

#[test]
fn a_device_without_any_sink_exports_all_the_same() {
    let home = Home::with_config("[sinks]\n");
    home.run_with(&["append"], lines(0..5));
    for _ in 0..2 {
        home.ok(&["export", "out.jsonl", "--force"]);
        let text = fs::read_to_string(home.path("out.jsonl")).unwrap();
        assert_eq!(parts(&text).1.len(), 6);
    }
    let ended = home.run(&["receipts", "out.jsonl"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.contains("no sink of type carried"),
        "{ended:?}"
    );
    let ended = home.run(&["export", "x", "--sink", "nobody"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(!exists(&home.path("x")) && !exists(&home.path("x.part")));
}

#[test]
fn a_file_is_under_its_name_as_a_whole_or_not_at_all() {
    let classroom = Classroom::new();
    classroom.append(0..5);
    let home = &classroom.home;
    fs::write(home.path("taken"), "precious").unwrap();
    let ended = home.run(&["export", "taken"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("there already"), "{ended:?}");
    assert!(ended.stderr.contains("--force"), "{ended:?}");
    assert_eq!(fs::read_to_string(home.path("taken")).unwrap(), "precious");

    // A medium that takes no more: whatever was there stays, and no half file has the name.
    let daemon = home.daemon();
    for name in ["taken", "new"] {
        let program = env!("CARGO_BIN_EXE_edge-outbox");
        let script = format!("trap '' XFSZ; ulimit -f 1; exec {program} export {name} --force");
        let own = home.command(&[]);
        let mut limited = Command::new("bash");
        limited.current_dir(own.get_current_dir().unwrap());
        for (name, value) in own.get_envs() {
            value.map(|value| limited.env(name, value));
        }
        let ended = limited.args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("File too large"), "{said}");
        assert!(said.contains("try another one"), "{said}");
        assert!(!exists(&home.path(&format!("{name}.part"))));
    }
    drop(daemon);
    assert_eq!(fs::read_to_string(home.path("taken")).unwrap(), "precious");
    assert!(!exists(&home.path("new")));

    let ended = home.run(&["export", "."]);
    assert!(ended.stderr.contains("is a directory"), "{ended:?}");
    let ended = home.run(&["export", "no/such/stick"]);
    assert!(
        ended.stderr.contains("whether the stick is there"),
        "{ended:?}"
    );
    home.ok(&["export", "taken", "--force"]);
    assert_eq!(
        parts(&fs::read_to_string(home.path("taken")).unwrap())
            .1
            .len(),
        6
    );
}

#[test]
fn a_stick_with_links_on_it_leads_the_export_nowhere_else() {
    let classroom = Classroom::new();
    classroom.append(0..5);
    let home = &classroom.home;
    let precious = home.path("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, home.path("out.part")).unwrap();
    home.ok(&["export", "out"]);
    assert!(home.path("out").symlink_metadata().unwrap().is_file());
    // Nor is a link or a device under the name itself replaced.
    symlink(&precious, home.path("link")).unwrap();
    symlink("/dev/null", home.path("device")).unwrap();
    for name in ["link", "device", "/dev/null"] {
        let ended = home.run(&["export", name, "--force"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("and no file"), "{ended:?}");
    }
    assert!(home.path("link").is_symlink());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
}

#[test]
fn what_receipts_cover_is_trimmed_and_not_exported_again() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..MANY);
        assert_eq!(classroom.carry_there(), MANY + 1);
        // Carried away and not confirmed: all of it is kept, and exported again.
        assert_eq!(classroom.carry_there(), MANY + 1);
        assert_eq!(classroom.first_held(), 1);
        let receipt = classroom.hub.receipt();
        let said = brought(&classroom.carry_back(std::slice::from_ref(&receipt)));
        assert_eq!(said["counted"], 1);
        assert_eq!(said["confirmed"], MANY + 1);
        assert!(classroom.first_held() > 1_000, "{}", classroom.first_held());
        let sink = &classroom.home.status()["sinks"]["stick"];
        assert_eq!(sink["acked"], MANY + 1, "{sink}");
        assert_eq!(sink["pending"], 0, "{sink}");
        assert_eq!(classroom.carry_there(), 0);
        // The same file again, and what comes after it.
        classroom.carry_back(&[receipt]);
        classroom.append(MANY..MANY + 7);
        assert_eq!(classroom.carry_there(), 7);
        let receipt = classroom.hub.receipt();
        let said = brought(&classroom.carry_back(&[receipt]));
        assert_eq!(said["confirmed"], MANY + 8);
    });
}

#[test]
fn what_the_hub_misses_is_kept_and_exported_again() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..20);
        classroom.carry_there();
        // A file that lacked some in the middle.
        for seq in 9..=12 {
            classroom.hub.events.remove(&seq);
        }
        let receipt = classroom.hub.receipt();
        let said = brought(&classroom.carry_back(&[receipt]));
        assert_eq!(
            (&said["confirmed"], &said["missing"]),
            (&8.into(), &4.into())
        );
        assert_eq!(classroom.carry_there(), 13);
        let receipt = classroom.hub.receipt();
        let said = brought(&classroom.carry_back(&[receipt]));
        assert_eq!(
            (&said["confirmed"], &said["missing"]),
            (&21.into(), &0.into())
        );
    });
}

#[test]
fn only_receipts_of_the_hub_for_this_device_count() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..20);
        classroom.carry_there();
        let device = classroom.hub.device.to_string();
        let honest = classroom.hub.receipt();
        let message = honest.sign(&classroom.hub.key).unwrap();
        let mut altered = message.clone();
        altered[100] ^= 1;
        let stranger = DeviceKey::generate().unwrap();
        let other = Receipt {
            device: "somebody-else".parse().unwrap(),
            ..honest.clone()
        };
        for wrong in [
            altered,
            honest.sign(&stranger).unwrap(),
            other.sign(&classroom.hub.key).unwrap(),
            message[..message.len() - 1].to_vec(),
            Vec::new(),
            vec![0; 700],
        ] {
            let ended = classroom.bring(&device, &[wrong]);
            assert_eq!(ended.code, 1, "{ended:?}");
            assert!(
                ended.stderr.contains("none of the receipts counts"),
                "{ended:?}"
            );
            assert_eq!(classroom.home.status()["sinks"]["stick"]["acked"], 0);
        }
        // Lines of others, and what is no file of receipts.
        let ended = classroom.bring("somebody-else", std::slice::from_ref(&message));
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("no receipt for"), "{ended:?}");
        for text in [
            "",
            "{\"edge_outbox_export\":1}\n",
            "\0\0\0",
            "{\"edge_outbox_receipts\":2}\n",
        ] {
            fs::write(classroom.home.path("receipts.jsonl"), text).unwrap();
            let ended = classroom.home.run(&["receipts", "receipts.jsonl"]);
            assert_eq!(ended.code, 1, "{text:?} {ended:?}");
        }
        // A stick that was pulled: the last line has no end, and what it says is whole.
        let said = brought(&classroom.bring(&device, &[vec![1; 3], message]));
        assert_eq!(
            (&said["counted"], &said["passed_over"]),
            (&1.into(), &1.into())
        );
        assert_eq!(said["confirmed"], 21);
    });
}

#[test]
fn a_hub_that_was_restored_takes_back_what_it_lacks_and_an_earlier_one_is_not_believed() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..MANY);
        classroom.carry_there();
        let before = classroom.hub.receipt();
        brought(&classroom.carry_back(std::slice::from_ref(&before)));
        let first = classroom.first_held();
        assert!(first > 1_000);
        // The copy is older than what was trimmed.
        classroom.hub.life = 2;
        classroom.hub.events.retain(|seq, _| *seq <= 500);
        let receipt = classroom.hub.receipt();
        assert_eq!(receipt.accounted_to.get(), 500);
        let said = brought(&classroom.carry_back(&[receipt]));
        assert_eq!(said["confirmed"], first - 1);
        let status = classroom.home.status();
        let waiting = status["tail"].as_u64().unwrap() - (first - 1);
        assert_eq!(status["sinks"]["stick"]["pending"], waiting, "{status}");
        // All that is held goes once more, and with it a word on what cannot.
        let text = classroom.home.ok(&["export", "-"]);
        assert_eq!(
            classroom
                .home
                .ok(&["export", "-", "--sink", "stick"])
                .lines()
                .count(),
            text.lines().count()
        );
        let events = parts(&text).1;
        assert_eq!(events.len() as u64, MANY as u64 + 2 - first + 1);
        let word = events.last().unwrap();
        assert!(word.contains("outbox.sink_skipped.v1"), "{word}");
        assert!(word.contains("trimmed"), "{word}");
        let range = format!("\"first\":501,\"last\":{}", first - 1);
        assert!(word.contains(&range), "{range} {word}");
        // Old mail.
        let ended = classroom.carry_back(&[before]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let from = classroom.home.ok(&["export", "-"]);
        assert_eq!(parts(&from).1, events);
    });
}

/// How often the ledger says that something was trimmed.
fn words(classroom: &Classroom) -> usize {
    let text = classroom.home.ok(&["export", "-"]);
    let events = text.lines();
    events.filter(|it| it.contains("sink_skipped")).count()
}

#[test]
fn what_a_restored_hub_misses_only_later_is_declared_too_and_trimming_goes_on() {
    let mut classroom = Classroom::new();
    let _daemon = classroom.home.daemon();
    classroom.append(0..MANY);
    classroom.carry_there();
    let good = classroom.hub.receipt();
    brought(&classroom.carry_back(&[good]));
    assert!(classroom.first_held() > 1_000);
    // An old stick is imported first: what the hub was told of, it has.
    classroom.hub.life = 2;
    classroom.hub.events.retain(|seq, _| *seq <= 700);
    classroom.hub.tail = 700;
    let receipt = classroom.hub.receipt();
    assert!(receipt.missing.is_empty());
    brought(&classroom.carry_back(&[receipt]));
    assert_eq!(words(&classroom), 0);
    for round in 0..3 {
        classroom.append(MANY + round..MANY + round + 1);
        classroom.carry_there();
        let receipt = classroom.hub.receipt();
        assert_eq!(receipt.missing.first().unwrap().first().get(), 701);
        brought(&classroom.carry_back(&[receipt]));
        assert_eq!(words(&classroom), 1, "said once");
    }
}

#[test]
fn the_same_receipts_again_are_no_failure() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..9);
        classroom.carry_there();
        let receipt = classroom.hub.receipt();
        for _ in 0..2 {
            let said = brought(&classroom.carry_back(std::slice::from_ref(&receipt)));
            assert_eq!(
                (&said["counted"], &said["confirmed"]),
                (&1.into(), &10.into())
            );
        }
    });
}

#[test]
fn what_was_exported_counts_as_having_left_even_if_the_power_goes() {
    both_ways(|classroom, start| {
        let daemon = start(&classroom.home);
        classroom.append(0..9);
        classroom.home.ok(&["export", "out.jsonl"]);
        if let Some(daemon) = daemon {
            daemon.kill();
        }
        let sink = &classroom.home.status()["sinks"]["stick"];
        assert_eq!(sink["claimed"], 10, "{sink}");
        assert_eq!(sink["acked"], 0, "{sink}");
    });
}

#[test]
fn a_copied_card_finds_out_from_the_receipt_and_goes_on_in_a_new_epoch() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..9);
        classroom.carry_there();
        // The other copy was there first.
        let mut receipt = classroom.hub.receipt();
        receipt.digest = Digest::from_bytes([7; 32]);
        let before = classroom.home.status()["epoch"].clone();
        let ended = classroom.carry_back(&[receipt]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.stderr.contains("a card was copied or set back"),
            "{ended:?}"
        );
        assert_ne!(classroom.home.status()["epoch"], before);
        // And the sink goes on.
        classroom.append(9..12);
        let text = classroom.home.ok(&["export", "-"]);
        assert_eq!(parts(&text).1.len(), 14);
    });
}

#[test]
fn a_copied_card_is_told_even_where_events_have_not_left() {
    both_ways(|classroom, start| {
        let _daemon = start(&classroom.home);
        classroom.append(0..9);
        classroom.carry_there();
        classroom.append(9..12);
        let mut receipt = classroom.hub.receipt();
        receipt.digest = Digest::from_bytes([7; 32]);
        let before = classroom.home.status()["epoch"].clone();
        let ended = classroom.carry_back(&[receipt]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let told = "a card was copied or set back";
        assert!(ended.stderr.contains(told), "{ended:?}");
        let status = classroom.home.status();
        assert_ne!(status["epoch"], before);
        if let Some(said) = status["sinks"]["stick"]["hub"]["tampering"].as_str() {
            assert!(said.contains(told), "{said}");
        }
        // And the sink goes on.
        classroom.append(12..13);
        let text = classroom.home.ok(&["export", "-"]);
        assert!(parts(&text).1.len() > 13, "{text}");
    });
}

#[test]
fn a_running_daemon_shows_the_sink_and_forgets_it_only_once_it_is_removed() {
    let classroom = Classroom::new();
    classroom.append(0..3);
    let home = &classroom.home;
    let daemon = home.daemon();
    let sink = &home.status()["sinks"]["stick"];
    assert_eq!(
        (&sink["kind"], &sink["state"]),
        (&"carried".into(), &"by_hand".into())
    );
    assert_eq!(
        (&sink["required"], &sink["pending"]),
        (&true.into(), &4.into())
    );
    let shown = home.ok(&["status"]);
    assert!(
        shown.contains("stick: carried by hand, 4 pending"),
        "{shown}"
    );
    let listed = home.ok(&["sinks", "list"]);
    assert!(listed.starts_with("stick  carried  configured"), "{listed}");
    assert_ne!(home.run(&["sinks", "forget", "stick"]).code, 0);
    // There is nothing to wait for.
    home.ok(&["drain", "--timeout", "10 s"]);
    assert_eq!(daemon.stop().0, 0);
    home.write_config("[sinks]\n");
    home.ok(&["sinks", "forget", "stick"]);
}

#[test]
fn a_daemon_that_does_not_have_the_sink_yet_exports_nothing_without_its_claim() {
    let classroom = Classroom::new();
    classroom.append(0..3);
    let home = &classroom.home;
    home.write_config("[sinks]\n");
    let daemon = home.daemon();
    classroom.configure(&classroom.hub.key);
    let ended = home.run(&["export", "out"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("restart the daemon"), "{ended:?}");
    assert!(!exists(&home.path("out")));
    drop(daemon);
    let _daemon = home.daemon();
    home.ok(&["export", "out"]);
}

#[test]
fn the_configuration_of_a_carried_sink_is_checked() {
    for (toml, said) in [
        (
            "[sinks.a]\ntype = \"carried\"\n",
            "the hub's key is not known",
        ),
        (
            "[device]\nhub_key = \"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n\
             [sinks.a]\ntype = \"carried\"\n[sinks.b]\ntype = \"carried\"\n",
            "is carried by hand, as sinks.a is",
        ),
        (
            "[device]\nhub_key = \"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n\
             [sinks.a]\ntype = \"carried\"\nwindow = 7\n",
            "sinks.a.window is not a key",
        ),
    ] {
        let home = Home::with_config(toml);
        let ended = home.run(&["config", "check"]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
}
