//! A card that is set back to an earlier state, and one that is copied: nothing is in the stream twice
//! under one epoch and seq, and what was lost is said.

#![cfg(feature = "cli")]
mod support;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use edge_outbox::envelope::{Envelope, Kind, Unverified};
use serde_json::Value;
use support::{
    nats_server::{NatsServer, messages},
    program::Home,
};
use uuid::Uuid;

fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0192_0000_0000_7000, 0x8000_0000_0000_0000 | number)
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    let line = |number: u64| {
        format!(
            "{{\"id\":\"{}\",\"event_type\":\"quiz.submitted.v1\",\"aggregate_id\":\"{}\",\
             \"payload\":{{\"number\":{number}}}}}\n",
            id(number),
            Uuid::from_u128(7),
        )
    };
    numbers.map(line).collect()
}

fn append(home: &Home, numbers: std::ops::Range<u64>) {
    let ended = home.run_with(&["append"], lines(numbers));
    assert_eq!(ended.code, 0, "{ended:?}");
}

fn home(server: &NatsServer) -> Home {
    let mut home = Home::new();
    home.set("NATS_URL", &server.url());
    home
}

fn drained(home: &Home) -> Value {
    home.wait_for(|status| {
        let sink = &status["sinks"]["nats"];
        sink["pending"] == 0 && sink["state"] == "caught_up"
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What is in the stream: of each epoch and seq the digest, and the ids of the program's events.
struct Stream {
    numbers: HashSet<Uuid>,
    starts: Vec<Value>,
}

fn stream(messages: &[Vec<u8>]) -> Stream {
    let mut digests = HashMap::new();
    let (mut numbers, mut starts) = (HashSet::new(), Vec::new());
    for message in messages {
        let envelope = Envelope::<Unverified>::parse(message).unwrap();
        let claims = envelope.claims();
        let digest = claims.digest(&mut Vec::new());
        let known = digests.insert((claims.epoch, claims.seq), digest);
        assert!(
            known.is_none_or(|known| known == digest),
            "two events have seq {} of one epoch",
            claims.seq
        );
        if claims.kind == Kind::Program {
            numbers.insert(claims.id);
        }
        if claims.event_type == "outbox.epoch_started.v1" {
            let text: Value = serde_json::from_slice(message).unwrap();
            starts.push(text["payload"].clone());
        }
    }
    Stream { numbers, starts }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_set_back_begins_a_new_epoch_before_anything_leaves() {
    let server = NatsServer::start();
    let events = server.create_stream(|_| {}).await;
    let home = home(&server);
    let (data, aside) = (home.data_dir(), home.path("aside"));

    let daemon = home.daemon();
    append(&home, 0..10);
    drained(&home);
    assert_eq!(daemon.stop().0, 0);
    copy(&data, &aside);

    let daemon = home.daemon();
    append(&home, 10..20);
    let before = drained(&home);
    assert_eq!(daemon.stop().0, 0);

    // The card is set back, and events are appended before there is a network.
    fs::remove_dir_all(&data).unwrap();
    copy(&aside, &data);
    append(&home, 20..25);
    let daemon = home.daemon();
    append(&home, 25..30);
    let after = home.wait_for(|status| {
        let sink = &status["sinks"]["nats"];
        status["epoch"] != before["epoch"] && sink["pending"] == 0 && sink["state"] == "caught_up"
    });
    append(&home, 30..35);
    drained(&home);
    assert!(after["tail"].as_u64() > before["tail"].as_u64(), "{after}");
    assert_eq!(daemon.stop().0, 0);

    let stream = stream(&messages(events).await);
    let missing: Vec<u64> = (0..35)
        .filter(|n| !stream.numbers.contains(&id(*n)))
        .collect();
    assert_eq!(missing, [] as [u64; 0]);
    let [fresh, rolled_back] = &stream.starts[..] else {
        panic!("{:?}", stream.starts);
    };
    assert_eq!(fresh["reason"], "fresh_journal");
    assert_eq!(rolled_back["reason"], "rolled_back");
    // The start of the epoch and ten events: what came after them, this journal does not know.
    assert_eq!(rolled_back["previous"]["seq"], 11);
    assert_eq!(rolled_back["previous"]["epoch"], before["epoch"]);
    let verified = home.ok(&["verify"]);
    assert!(verified.starts_with("verified:"), "{verified}");
    // What was moved is still known by its id.
    append(&home, 20..25);
    assert_eq!(home.status()["tail"], after["tail"].as_u64().unwrap() + 5);
}

/// The board that a journal belongs to is what its file `hardware` says: here another one than this.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_card_goes_on_as_another_device() {
    let server = NatsServer::start();
    let events = server.create_stream(|_| {}).await;
    let (home, other) = (home(&server), home(&server));
    let daemon = home.daemon();
    append(&home, 0..10);
    let ours = drained(&home);
    assert_eq!(daemon.stop().0, 0);
    append(&home, 10..15);
    copy(&home.data_dir(), &other.data_dir());
    let memory = other.data_dir().join("hardware");
    let Ok(text) = fs::read_to_string(&memory) else {
        eprintln!("nothing is known of this machine: a copy cannot be told here");
        return;
    };
    let mut text: Value = serde_json::from_str(&text).unwrap();
    text["board"] = serde_json::json!(["serial:another", "uuid:another", "mac:another"]);
    fs::write(&memory, text.to_string()).unwrap();

    let copied = other.daemon();
    let daemon = home.daemon();
    append(&home, 20..30);
    append(&other, 40..50);
    drained(&home);
    let theirs = drained(&other);
    for member in ["device", "public_key", "epoch"] {
        assert_ne!(theirs[member], ours[member], "{member}");
    }
    assert_eq!(home.status()["epoch"], ours["epoch"]);
    assert_eq!((daemon.stop().0, copied.stop().0), (0, 0));
    let stream = stream(&messages(events).await);
    let expected = (0..15).chain(20..30).chain(40..50);
    let missing: Vec<u64> = expected
        .filter(|n| !stream.numbers.contains(&id(*n)))
        .collect();
    assert_eq!(missing, [] as [u64; 0]);
    let reasons: Vec<&str> = stream
        .starts
        .iter()
        .filter_map(|it| it["reason"].as_str())
        .collect();
    assert_eq!(reasons, ["fresh_journal", "hardware_changed"]);
}
