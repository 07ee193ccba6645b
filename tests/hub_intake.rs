//! The hub's intake against a real Postgres: each event once, each gap a row, each forged thing in
//! quarantine.

#![cfg(feature = "hub")]
mod support;

use std::time::{Duration, Instant};

use edge_outbox::{
    envelope::Digest,
    hub::{
        Chains, ErasureKey, HubError, Intake, MAX_MESSAGE_BYTES, MAX_MESSAGES, Options, Reason,
        Remedy, Revocation, SCHEMA_SQL, Taken,
    },
    seq::Seq,
};
use serde_json::json;
use support::{
    chained_device::{ChainedDevice, Draft, Sealed},
    hub::{
        connect, database, database_with, gaps, health, intake, intake_with, lines, losses,
        message, messages, number, options, quarantined, register, try_connect,
    },
    random::Random,
};
use uuid::Uuid;

fn stored(stored: usize) -> Taken {
    Taken {
        stored,
        ..Taken::default()
    }
}

fn repeated(repeated: usize) -> Taken {
    Taken {
        repeated,
        ..Taken::default()
    }
}

fn aside(reason: Reason, count: usize) -> Taken {
    Taken {
        quarantined: [(reason, count)].into(),
        ..Taken::default()
    }
}

const EVENTS: &str = "select count(*) from edge_outbox_hub.event_rows";
const POSITIONS: &str = "select count(*) from edge_outbox_hub.positions";

/// Replaces what occurs once in an envelope.
fn altered(event: &Sealed, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(event.wire.clone()).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

#[tokio::test]
async fn a_journal_is_stored_once_and_its_chain_is_whole() {
    let server = database().await;
    // Run again, the script changes nothing.
    server.execute(SCHEMA_SQL).await;
    let mut device = ChainedDevice::new("kiosk-1");
    let events = device.journal(200);
    register(&server, &device).await;
    let mut hub = intake(&server).await;
    assert_eq!(hub.take(messages(&events[..50])).await.unwrap(), stored(50));
    let again = hub.take(messages(&events[40..])).await.unwrap();
    assert_eq!((again.stored, again.repeated), (151, 10));
    assert_eq!(hub.take(messages(&events)).await.unwrap(), repeated(201));
    assert_eq!(
        health(&server).await,
        ["kiosk-1 1 201 201 201 201 t 0 0 {}"]
    );

    let client = server.connect().await;
    assert_eq!(number(&client, EVENTS).await, 201);
    // Into the partition of this month, not the one for what has none.
    let stray = "select count(*) from edge_outbox_hub.event_rows_default";
    assert_eq!(number(&client, stray).await, 0);
    let digests = lines(
        &client,
        "select encode(complete_digest, 'base64') from edge_outbox_hub.epochs",
    )
    .await;
    assert_eq!(digests, [device.head.to_string()]);
    let payload = "select distinct payload_json ->> 'score' from edge_outbox_hub.events \
                   where event_type = 'quiz.submitted.v1'";
    let analyst = connect(&server, "analyst").await;
    assert_eq!(lines(&analyst, payload).await, ["7"]);
}

#[tokio::test]
async fn two_hubs_with_the_same_events_in_any_order_store_each_once() {
    let server = database().await;
    let mut random = Random::seeded();
    let mut devices: Vec<ChainedDevice> = (0..6)
        .map(|n| ChainedDevice::new(&format!("kiosk-{n}")))
        .collect();
    let mut all = Vec::new();
    for device in &mut devices {
        register(&server, device).await;
        all.extend(device.journal(150));
        all.push(device.rotate());
        all.extend(device.quizzes(100));
        all.push(device.new_epoch("recovered", 16_384));
        all.extend(device.quizzes(50));
    }
    let each = all.len() / devices.len();
    let shuffled = |random: &mut Random| {
        let mut events = all.clone();
        random.shuffle(&mut events);
        events
    };
    let mut hubs = Vec::new();
    for _ in 0..3 {
        let (mut hub, events) = (intake(&server).await, shuffled(&mut random));
        hubs.push(tokio::spawn(async move {
            let mut total = 0;
            for batch in events.chunks(61) {
                total += hub.take(messages(batch)).await.unwrap().stored;
            }
            total
        }));
    }
    let mut total = 0;
    for hub in hubs {
        total += hub.await.unwrap();
    }
    // What was early under a new key went by way of quarantine, which the last to look empties.
    let late = intake(&server).await.retry().await.unwrap();
    let client = server.connect().await;
    assert_eq!(number(&client, EVENTS).await, all.len() as i64);
    assert_eq!(number(&client, POSITIONS).await, all.len() as i64);
    assert!(total + late.stored <= all.len(), "{total}");
    assert!(quarantined(&client).await.is_empty());
    assert!(gaps(&client).await.is_empty(), "{:?}", gaps(&client).await);
    let health = health(&server).await;
    assert_eq!(health.len(), 3 * devices.len());
    assert!(
        health.iter().all(|line| line.ends_with(" t 0 0 {}")),
        "{health:#?}"
    );
    assert!(!server.log().contains("deadlock"), "{}", server.log());
    assert_eq!(each, 304 - 1);
}

#[tokio::test]
async fn a_server_that_goes_away_at_any_moment_costs_no_event_and_doubles_none() {
    let mut server = database().await;
    let mut devices: Vec<ChainedDevice> = (0..3)
        .map(|n| ChainedDevice::new(&format!("kiosk-{n}")))
        .collect();
    let mut all = Vec::new();
    for device in &mut devices {
        register(&server, device).await;
        all.extend(device.journal(400));
    }
    let mut failures = 0;
    let mut random = Random::seeded();
    for batch in all.chunks(40) {
        let ends = random.between(0, 2) == 0;
        let client = try_connect(&server, "hub").await.unwrap();
        let mut hub = edge_outbox::hub::Intake::open(client, options())
            .await
            .unwrap();
        let work = tokio::spawn({
            let batch = messages(batch);
            async move { hub.take(batch).await }
        });
        if ends {
            tokio::time::sleep(Duration::from_micros(random.between(0, 12_000))).await;
            server.stop_immediately();
            server.start_again();
        }
        match work.await.unwrap() {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, HubError::Database { .. }), "{error}");
                failures += 1;
                intake(&server).await.take(messages(batch)).await.unwrap();
            }
        }
    }
    assert!(failures > 0);
    let client = server.connect().await;
    assert_eq!(number(&client, EVENTS).await, 3 * 401);
    let health = health(&server).await;
    assert!(
        health
            .iter()
            .all(|line| line.ends_with("1 401 401 401 401 t 0 0 {}")),
        "{health:#?}"
    );
}

#[tokio::test]
async fn each_forged_thing_ends_in_quarantine_and_honest_events_go_on() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    let mut other = ChainedDevice::new("kiosk-2");
    let mut stranger = ChainedDevice::new("kiosk-3");
    let mut namesake = ChainedDevice::new("kiosk-1");
    let mut posing = ChainedDevice {
        name: device.name.clone(),
        ..other.clone()
    };
    register(&server, &device).await;
    register(&server, &other).await;
    let events = device.journal(9);
    let others = other.journal(3);
    let signature = |event: &Sealed| {
        let text = String::from_utf8(event.wire.clone()).unwrap();
        let (_, rest) = text.split_once("\"signature\":\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let mut hub = intake(&server).await;
    let target = &events[4];
    for (what, body, reason) in [
        (
            "payload",
            altered(target, "\"score\":7", "\"score\":9"),
            Reason::Altered,
        ),
        (
            "salt",
            altered(target, "\"salt\":\"", "\"salt\":\"AA"),
            Reason::Unreadable,
        ),
        (
            "field",
            altered(target, "quiz.submitted", "quiz.cancelled"),
            Reason::Forged,
        ),
        (
            "seq",
            altered(target, "\"seq\":5,", "\"seq\":6,"),
            Reason::Forged,
        ),
        (
            "place in the group",
            altered(target, "\"leaf\":3,", "\"leaf\":5,"),
            Reason::Forged,
        ),
        (
            "signature",
            altered(target, &signature(target), &signature(&others[1])),
            Reason::Forged,
        ),
        (
            "name",
            altered(target, "kiosk-1", "kiosk-2"),
            Reason::Forged,
        ),
        ("rubbish", b"{\"hello\":1}".to_vec(), Reason::Unreadable),
        ("nothing", Vec::new(), Reason::Unreadable),
        (
            "no personal part",
            target.stripped.clone(),
            Reason::Stripped,
        ),
        (
            "unknown device",
            stranger.start().wire,
            Reason::UnknownDevice,
        ),
        ("unknown key", namesake.start().wire, Reason::UnknownKey),
        (
            "the key of another device",
            posing.start().wire,
            Reason::WrongDevice,
        ),
    ] {
        // An honest event stands in the same batch.
        let batch = vec![message(body), message(events[0].wire.clone())];
        let taken = hub.take(batch).await.unwrap();
        assert_eq!(taken.quarantined, [(reason, 1)].into(), "{what}");
        assert_eq!(taken.stored + taken.repeated, 1, "{what}");
    }
    // What was stripped is proven to be there, and missing.
    let client = server.connect().await;
    assert_eq!(gaps(&client).await, ["kiosk-1 2 5"]);
    // The same under another subject is a repeat: what counts is signed.
    assert_eq!(hub.take(messages(&events)).await.unwrap().stored, 9);
    assert_eq!(hub.take(messages(&others)).await.unwrap(), stored(4));
    // What is held whole by now waits no longer.
    assert_eq!(
        quarantined(&client).await,
        [
            "altered 1",
            "forged 5",
            "unknown_device 1",
            "unknown_key 1",
            "unreadable 3",
            "wrong_device 1",
        ]
    );
    assert_eq!(
        health(&server).await,
        [
            "kiosk-1 1 10 10 10 10 t 0 0 {}",
            "kiosk-2 1 4 4 4 4 t 0 0 {}",
        ]
    );
    // The others are taken when their device is known.
    assert_eq!(register(&server, &stranger).await, stored(1));
    assert_eq!(register(&server, &namesake).await.stored, 1);
}

#[tokio::test]
async fn a_gap_is_a_row_until_its_events_or_the_ledger_close_it() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(29);
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    hub.take(messages(&events[10..12])).await.unwrap();
    assert_eq!(gaps(&client).await, ["kiosk-1 1 10"]);
    assert_eq!(health(&server).await, ["kiosk-1 - 12 12 0 0 f 10 0 {}"]);
    hub.take(messages(&events[..2])).await.unwrap();
    assert_eq!(gaps(&client).await, ["kiosk-1 3 10"]);
    hub.take(messages(&events[29..])).await.unwrap();
    hub.take(messages(&events[5..7])).await.unwrap();
    assert_eq!(
        gaps(&client).await,
        ["kiosk-1 3 5", "kiosk-1 8 10", "kiosk-1 13 29"]
    );
    assert_eq!(health(&server).await, ["kiosk-1 1 30 30 2 2 f 23 0 {}"]);

    // Dropped on the device: 3 to 10, of which two had arrived.
    let dropped = json!({
        "ranges": [{
            "range": {"first": 3, "last": 10},
            "prev": events[1].digest.to_string(),
            "digest": events[9].digest.to_string(),
        }],
        "sinks": [],
    });
    let dropped = device.ledger("outbox.events_dropped.v1", &dropped);
    hub.take(messages([&dropped])).await.unwrap();
    assert_eq!(gaps(&client).await, ["kiosk-1 13 29"]);
    assert_eq!(losses(&client).await, ["3 5 dropped", "8 10 dropped"]);
    assert_eq!(health(&server).await, ["kiosk-1 1 31 31 12 12 f 17 6 {}"]);

    // One of them arrives after all.
    assert_eq!(hub.take(messages(&events[3..4])).await.unwrap(), stored(1));
    assert_eq!(
        losses(&client).await,
        ["3 3 dropped", "5 5 dropped", "8 10 dropped"]
    );

    for (event_type, payload) in [
        (
            "outbox.event_rejected.v1",
            json!({
                "sink": "hub", "seq": 13, "digest": events[12].digest.to_string(), "reason": "too_large",
            }),
        ),
        (
            "outbox.sink_skipped.v1",
            json!({
                "sink": "hub", "range": {"first": 14, "last": 15}, "reason": "trimmed",
            }),
        ),
        (
            "outbox.events_lost.v1",
            json!({
                "ranges": [{"first": 16, "last": 17}, {"first": 9, "last": 1}], "reason": "damaged",
            }),
        ),
        (
            "outbox.sink_forgotten.v1",
            json!({
                "sink": "old", "required": true, "range": {"first": 18, "last": 19}, "dead_letters": 0,
            }),
        ),
        (
            "outbox.dead_letters_discarded.v1",
            json!({
                "sink": "hub", "seqs": [20], "reason": "operator",
            }),
        ),
    ] {
        let event = device.ledger(event_type, &payload);
        hub.take(messages([&event])).await.unwrap();
    }
    assert_eq!(gaps(&client).await, ["kiosk-1 21 29"]);
    let expected = [
        "13 13 rejected",
        "14 15 skipped",
        "16 17 lost",
        "18 19 forgotten",
        "20 20 discarded",
    ];
    assert_eq!(losses(&client).await[3..], expected);
    hub.take(messages(&events)).await.unwrap();
    assert_eq!(health(&server).await, ["kiosk-1 1 36 36 36 36 t 0 0 {}"]);
    assert_eq!(
        number(&client, "select count(*) from edge_outbox_hub.gap_rows").await,
        0
    );
}

#[tokio::test]
async fn what_the_ledger_says_of_earlier_epochs_counts_whenever_their_tie_is_learned() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let old = device.journal(9);
    let start = device.new_epoch("recovered", 100);
    let lost = json!({"ranges": [{"first": 5, "last": 110}], "reason": "damaged"});
    let lost = device.ledger("outbox.events_lost.v1", &lost);
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    // The ledger first, then what ties it to the epoch before, of which half has come.
    hub.take(messages([&lost])).await.unwrap();
    assert_eq!(gaps(&client).await, ["kiosk-1 1 4", "kiosk-1 111 111"]);
    assert_eq!(losses(&client).await, ["5 110 lost"]);
    hub.take(messages(&old[..4])).await.unwrap();
    hub.take(messages([&start])).await.unwrap();
    assert_eq!(gaps(&client).await, [""; 0]);
    assert_eq!(losses(&client).await, ["5 10 lost"]);
    assert_eq!(
        health(&server).await,
        [
            "kiosk-1 1 4 10 10 10 t 0 6 {}",
            "kiosk-1 111 112 112 112 112 t 0 0 {}"
        ]
    );
    // And an end that is known from the next epoch alone is a gap.
    let mut other = ChainedDevice::new("kiosk-2");
    register(&server, &other).await;
    let events = other.journal(4);
    let start = other.new_epoch("rolled_back", 10);
    hub.take(messages([&start])).await.unwrap();
    assert_eq!(gaps(&client).await, ["kiosk-2 1 5"]);
    hub.take(messages(&events)).await.unwrap();
    assert_eq!(gaps(&client).await, [""; 0]);
}

#[tokio::test]
async fn a_stripped_event_is_missing_until_the_device_says_that_it_erased_it() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(5);
    let erased = json!({"events": [
        {"seq": 3, "digest": events[2].digest.to_string()},
        {"seq": 4, "digest": events[3].digest.to_string()},
        {"seq": 5, "digest": events[4].digest.to_string()},
    ]});
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let mut batch = messages(&events[..2]);
    batch.extend(messages(&events[3..4]));
    batch.push(message(events[2].stripped.clone()));
    let taken = hub.take(batch).await.unwrap();
    assert_eq!(taken.quarantined, [(Reason::Stripped, 1)].into());
    assert_eq!(gaps(&client).await, ["kiosk-1 3 3"]);

    let ledger = device.ledger("outbox.events_erased.v1", &erased);
    hub.take(messages([&ledger])).await.unwrap();
    assert!(quarantined(&client).await.is_empty());
    // A whole copy that comes late loses its personal part, too.
    assert_eq!(hub.take(messages(&events[4..])).await.unwrap(), stored(2));
    assert_eq!(hub.take(messages(&events)).await.unwrap(), repeated(6));
    assert_eq!(health(&server).await, ["kiosk-1 1 7 7 7 7 t 0 0 {}"]);
    let seqs = "select seq from edge_outbox_hub.events where is_erased order by seq";
    assert_eq!(lines(&client, seqs).await, ["3", "4", "5"]);
    // Another device's word for these digests is worth nothing.
    let mut other = ChainedDevice::new("kiosk-2");
    register(&server, &other).await;
    let mut all = other.journal(0);
    all.push(other.ledger(
        "outbox.events_erased.v1",
        &json!({"events": [{"seq": 6, "digest": events[5].digest.to_string()}]}),
    ));
    assert_eq!(hub.take(messages(&all)).await.unwrap(), stored(2));
    assert_eq!(lines(&client, seqs).await, ["3", "4", "5"]);
}

#[tokio::test]
async fn of_a_forked_history_both_are_kept_and_only_the_first_is_followed() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(9);
    let mut clone = device.clone();
    let ours = device.quizzes(2);
    let theirs = clone.quizzes(4);
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    hub.take(messages(&ours)).await.unwrap();
    // The clone's first one is withheld: its second is no fork of anything held at 11.
    assert_eq!(hub.take(messages(&theirs[1..])).await.unwrap(), stored(3));
    let client = server.connect().await;
    let tampering = "select seq, code, count(*) from edge_outbox_hub.tampering \
                     group by seq, code order by seq, code";
    assert_eq!(
        lines(&client, tampering).await,
        ["12 fork 2", "13 broken_link 1"]
    );
    assert_eq!(
        health(&server).await,
        ["kiosk-1 1 14 14 12 11 f 0 0 {broken_link,fork}"]
    );
    hub.take(messages(&theirs)).await.unwrap();
    let digest = "select encode(complete_digest, 'base64') from edge_outbox_hub.epochs";
    assert_eq!(lines(&client, digest).await, [device.head.to_string()]);
    assert_eq!(number(&client, EVENTS).await, 16);
    assert_eq!(
        health(&server).await,
        ["kiosk-1 1 14 14 12 10 f 0 0 {broken_link,fork}"]
    );
}

#[tokio::test]
async fn a_later_epoch_that_remembers_another_end_shows_a_fork() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(4);
    let mut clone = device.clone();
    let ours = device.quizzes(1);
    let theirs = clone.quizzes(1);
    let start = clone.new_epoch("rolled_back", 5);
    let second = device.new_epoch("recovered", 9);
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    hub.take(messages(&ours)).await.unwrap();
    hub.take(messages([&start])).await.unwrap();
    let client = server.connect().await;
    let tampering = "select seq, code from edge_outbox_hub.tampering order by seq, code";
    assert_eq!(lines(&client, tampering).await, ["6 fork"]);
    hub.take(messages([&second])).await.unwrap();
    assert_eq!(
        lines(&client, tampering).await,
        ["6 fork", "16 second_successor"]
    );
    drop(theirs);
}

#[tokio::test]
async fn a_new_key_is_followed_from_the_old_ones_word_and_the_old_one_retires() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut before = device.journal(3);
    let mut thief = device.clone();
    let rotation = device.rotate();
    let mut after = device.quizzes(3);
    after.push(device.rotate());
    after.extend(device.quizzes(2));
    let mut hub = intake(&server).await;
    // What is under the new keys comes first, the word for them last.
    let early = hub.take(messages(&after)).await.unwrap();
    assert_eq!(early, aside(Reason::UnknownKey, 6));
    assert_eq!(hub.take(messages([&rotation])).await.unwrap(), stored(1));
    let client = server.connect().await;
    assert_eq!(number(&client, EVENTS).await, 7);
    assert!(quarantined(&client).await.is_empty());
    // Old events come late, under the old key in its own epoch.
    assert_eq!(hub.take(messages(&before)).await.unwrap(), stored(4));
    let health = health(&server).await;
    assert_eq!(health.len(), 3);
    assert!(
        health.iter().all(|line| line.ends_with(" t 0 0 {}")),
        "{health:#?}"
    );

    // Nor does it go on in its own epoch without being seen.
    let mut goes_on = thief.clone();
    assert_eq!(
        hub.take(messages(&goes_on.quizzes(1))).await.unwrap(),
        stored(1)
    );
    let tampering = "select seq, code from edge_outbox_hub.tampering order by seq, code";
    assert_eq!(lines(&client, tampering).await, ["5 beyond_end"]);

    // A word that the old key has not given is none.
    let liar = ChainedDevice::new("kiosk-1");
    let mut falsified = liar.clone();
    let rotated = falsified.rotate();
    let own = liar.public_key().id().to_string();
    let named = device.public_key().id().to_string();
    let text = String::from_utf8(rotated.wire.clone()).unwrap();
    let taken = hub
        .take(vec![message(text.replace(&own, &named))])
        .await
        .unwrap();
    assert_eq!(taken, aside(Reason::Forged, 1));
    assert_eq!(
        hub.take(messages([&rotated])).await.unwrap(),
        aside(Reason::UnknownKey, 1)
    );

    // Whoever has the old key can neither hand over again nor begin anything with it.
    let mut second = thief.clone();
    let taken = hub.take(messages([&second.rotate()])).await.unwrap();
    assert_eq!(taken, aside(Reason::SecondSuccessor, 1));
    let taken = hub
        .take(messages([&thief.new_epoch("recovered", 5)]))
        .await
        .unwrap();
    assert_eq!(taken, aside(Reason::RetiredKey, 1));
    thief.epoch = device.epoch;
    let taken = hub.take(messages(&thief.quizzes(1))).await.unwrap();
    assert_eq!(taken, aside(Reason::KeyOfEpoch, 1));
    before.clear();
}

#[tokio::test]
async fn an_epoch_is_its_starts_key_whoever_was_first_in_it() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut thief = device.clone();
    let events = device.journal(1);
    let rotation = device.rotate();
    let after = device.quizzes(2);
    // The old key gets into the new epoch before its start is known.
    thief.epoch = device.epoch;
    thief.next = 40;
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    assert_eq!(
        hub.take(messages(&thief.quizzes(1))).await.unwrap(),
        stored(1)
    );
    assert_eq!(
        hub.take(messages(&after)).await.unwrap(),
        aside(Reason::UnknownKey, 2)
    );
    assert_eq!(hub.take(messages([&rotation])).await.unwrap(), stored(1));
    let client = server.connect().await;
    assert!(quarantined(&client).await.is_empty());
    assert_eq!(hub.take(messages(&after)).await.unwrap(), repeated(2));
    assert_eq!(
        hub.take(messages(&thief.quizzes(1))).await.unwrap(),
        aside(Reason::KeyOfEpoch, 1)
    );
}

#[tokio::test]
async fn a_revoked_key_is_good_up_to_its_place_and_in_what_came_before() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let old = device.journal(3);
    let start = device.new_epoch("recovered", 10);
    let events = device.quizzes(4);
    let mut hub = intake(&server).await;
    hub.take(messages([&start])).await.unwrap();
    let mut operator = intake_with_role(&server, "operator").await;
    let upto = Some((device.epoch, Seq::new(events[1].seq)));
    let id = device.public_key().id();
    let done = operator.revoke(&device.name, &id, upto).await.unwrap();
    assert_eq!(done, Revocation::Done);
    let taken = hub.take(messages(&events)).await.unwrap();
    assert_eq!(
        (taken.stored, taken.quarantined),
        (2, [(Reason::RevokedKey, 2)].into())
    );
    assert_eq!(hub.take(messages(&old)).await.unwrap(), stored(4));
    let forged = device.new_epoch("recovered", 10);
    assert_eq!(
        hub.take(messages([&forged])).await.unwrap(),
        aside(Reason::RevokedKey, 1)
    );
    let rotation = device.rotate();
    assert_eq!(
        hub.take(messages([&rotation])).await.unwrap(),
        aside(Reason::UnknownKey, 1)
    );
    operator.revoke(&device.name, &id, None).await.unwrap();
    assert_eq!(
        hub.take(messages(&old)).await.unwrap(),
        aside(Reason::RevokedKey, 4)
    );
    let client = server.connect().await;
    let audit = "select action, device, actor from edge_outbox_hub.audit order by id offset 1";
    assert_eq!(
        lines(&client, audit).await,
        ["key_revoked kiosk-1 operator"; 2]
    );
}

#[tokio::test]
async fn a_tail_shows_what_is_withheld_at_the_end() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    let other = ChainedDevice::new("kiosk-2");
    register(&server, &device).await;
    register(&server, &other).await;
    let events = device.journal(6);
    let early = device.tail();
    let mut clone = device.clone();
    let rest = device.quizzes(3);
    clone.quizzes(3);
    let mut hub = intake(&server).await;
    let taken = hub.take_tails(&[early.clone().into()]).await.unwrap();
    assert_eq!(
        taken,
        aside(Reason::KeyOfEpoch, 1),
        "nothing of the epoch is known"
    );
    hub.take(messages(&events[..5])).await.unwrap();
    let client = server.connect().await;
    assert_eq!(gaps(&client).await, [""; 0]);

    let mut forged = device.tail();
    *forged.last_mut().unwrap() ^= 1;
    let mut posing = other.clone();
    (posing.name, posing.epoch, posing.next) = (device.name.clone(), device.epoch, 500);
    let stranger = ChainedDevice {
        next: 9,
        ..ChainedDevice::new("kiosk-3")
    };
    let bad = [forged, posing.tail(), stranger.tail(), b"tail".to_vec()].map(Into::into);
    let taken = hub.take_tails(&bad).await.unwrap();
    let reasons = [
        Reason::Unreadable,
        Reason::UnknownKey,
        Reason::KeyOfEpoch,
        Reason::Forged,
    ];
    assert_eq!(taken.quarantined, reasons.map(|reason| (reason, 1)).into());
    assert_eq!(gaps(&client).await, [""; 0]);

    let tails = [device.tail(), early].map(Into::into);
    assert_eq!(hub.take_tails(&tails).await.unwrap(), stored(2));
    assert_eq!(gaps(&client).await, ["kiosk-1 6 10"]);
    assert_eq!(
        health(&server).await,
        ["kiosk-1 1 5 10 5 5 f 5 0 {}", "kiosk-2 - - - - - f 0 0 {}"]
    );
    hub.take(messages(&events)).await.unwrap();
    hub.take(messages(&rest)).await.unwrap();
    assert_eq!(health(&server).await[0], "kiosk-1 1 10 10 10 10 t 0 0 {}");

    // A clone's tail names another event there.
    assert_eq!(
        hub.take_tails(&[clone.tail().into()]).await.unwrap(),
        stored(1)
    );
    assert_eq!(
        health(&server).await[0],
        "kiosk-1 1 10 10 10 9 f 0 0 {fork}"
    );
}

/// An intake of another role: nothing of what it opens with is refused to an operator.
async fn intake_with_role(
    server: &support::postgres_server::PostgresServer,
    role: &str,
) -> edge_outbox::hub::Intake {
    server
        .execute(&format!("grant edge_outbox_hub_intake to {role}"))
        .await;
    edge_outbox::hub::Intake::open(connect(server, role).await, options())
        .await
        .unwrap()
}

#[tokio::test]
async fn first_use_registers_a_name_once_and_only_where_it_is_allowed() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    let mut namesake = ChainedDevice::new("kiosk-1");
    let events = device.journal(2);
    let mut hub = intake(&server).await;
    let taken = hub.take(messages(&events)).await.unwrap();
    assert_eq!(taken, aside(Reason::UnknownDevice, 3));
    let mut trusting = intake_with(
        &server,
        Options {
            first_use: true,
            ..options()
        },
    )
    .await;
    assert_eq!(trusting.take(messages(&events)).await.unwrap(), stored(3));
    let taken = trusting.take(messages(&namesake.journal(1))).await.unwrap();
    assert_eq!(taken, aside(Reason::UnknownKey, 2));
    let client = server.connect().await;
    let added = "select device, added_by from edge_outbox_hub.device_keys";
    assert_eq!(lines(&client, added).await, ["kiosk-1 first_use"]);
}

/// Of several, for which of two keys has the smaller id is chance.
#[tokio::test]
async fn first_use_and_what_follows_from_it_may_come_in_one_batch() {
    let server = database().await;
    let trust = Options {
        first_use: true,
        ..options()
    };
    let mut hub = intake_with(&server, trust).await;
    for n in 0..8 {
        let mut device = ChainedDevice::new(&format!("kiosk-{n}"));
        let mut events = device.journal(2);
        for _ in 0..2 {
            events.push(device.rotate());
            events.extend(device.quizzes(1));
        }
        events.reverse();
        hub.take(messages(&events)).await.unwrap();
    }
    let client = server.connect().await;
    assert_eq!(number(&client, EVENTS).await, 8 * 7);
    assert_eq!(quarantined(&client).await, [""; 0]);
    let added = "select added_by, count(*) from edge_outbox_hub.device_keys group by 1 order by 1";
    assert_eq!(lines(&client, added).await, ["first_use 8", "rotation 16"]);
}

#[tokio::test]
async fn who_was_erased_stays_erased_however_late_an_event_arrives() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    let mut stranger = ChainedDevice::new("kiosk-2");
    register(&server, &device).await;
    let pupil = Uuid::new_v4().to_string();
    let mut events = device.journal(1);
    for _ in 0..3 {
        events.push(device.event(&Draft::about(&pupil)));
    }
    events.push(device.event(&Draft::about("somebody else")));
    let mut request = Draft::about(&pupil);
    request.event_type = "user.erase_requested.v1";
    request.payload =
        json!({"user_id": pupil, "requested_at": "2026-03-01T08:00:00.000000Z"}).to_string();
    request.aggregate_id = pupil.parse().unwrap();
    let request = device.event(&request);
    let unproven = stranger.event(&Draft::about(&pupil));
    let mut hub = intake(&server).await;
    hub.take(messages(&events[..3])).await.unwrap();
    hub.take(messages([&unproven])).await.unwrap();
    hub.take(messages([&request])).await.unwrap();
    hub.take(messages(&events)).await.unwrap();
    let client = server.connect().await;
    let held = format!(
        "select count(*) from edge_outbox_hub.event_rows where subject_id = '{pupil}' \
         or aggregate_id = '{pupil}' or position('{pupil}'::bytea in payload) > 0 \
         or position('{pupil}' in payload_json::text) > 0"
    );
    assert_eq!(number(&client, &held).await, 0);
    let left = format!(
        "select count(*) from edge_outbox_hub.quarantine where position('{pupil}'::bytea in message) > 0"
    );
    assert_eq!(number(&client, &left).await, 0);
    let seqs = "select seq from edge_outbox_hub.events where is_erased order by seq";
    assert_eq!(lines(&client, seqs).await, ["3", "4", "5", "7"]);
    assert_eq!(health(&server).await, ["kiosk-1 1 7 7 7 7 t 0 0 {}"]);
    let audit = "select events, note from edge_outbox_hub.audit where action = 'erased'";
    assert_eq!(
        lines(&client, audit).await,
        ["2 asked for by device kiosk-1"]
    );
    // By hand, of whoever is left.
    assert_eq!(hub.erase("somebody else", "a letter").await.unwrap(), 1);
    assert_eq!(hub.take(messages(&events)).await.unwrap(), repeated(6));
    let hashes = "select count(*) from edge_outbox_hub.erased";
    assert_eq!(number(&client, hashes).await, 2);

    let another = Options {
        erasure_key: ErasureKey::new([8; 32]),
        ..options()
    };
    let refused = edge_outbox::hub::Intake::open(connect(&server, "hub").await, another).await;
    assert_eq!(refused.unwrap_err(), HubError::ErasureKey);
}

/// A message costs its sender nothing to send again: it must not keep everybody else waiting.
#[tokio::test]
async fn an_erasing_event_that_comes_again_waits_for_nobody_and_erases_nobody_again() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let pupil = Uuid::new_v4().to_string();
    let mut events = device.journal(1);
    events.push(device.event(&Draft::about(&pupil)));
    let mut request = Draft::about(&pupil);
    request.event_type = "user.erase_requested.v1";
    request.payload =
        json!({"user_id": pupil, "requested_at": "2026-03-01T08:00:00.000000Z"}).to_string();
    let erased = json!({"events": [{"seq": 2, "digest": events[1].digest.to_string()}]});
    events.push(device.event(&request));
    events.push(device.ledger("outbox.events_erased.v1", &erased));
    let mut hub = intake(&server).await;
    assert_eq!(hub.take(messages(&events)).await.unwrap(), stored(5));
    let client = server.connect().await;
    let audit = "select count(*) from edge_outbox_hub.audit where action = 'erased'";
    assert_eq!(number(&client, audit).await, 1);

    // Another hub is in the midst of a batch.
    let gate = "begin; select pg_advisory_xact_lock_shared(7020584511041)";
    client.batch_execute(gate).await.unwrap();
    for _ in 0..3 {
        let taken = tokio::time::timeout(Duration::from_secs(10), hub.take(messages(&events)));
        assert_eq!(taken.await.unwrap().unwrap(), repeated(5));
    }
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(number(&client, audit).await, 1);
}

#[tokio::test]
async fn a_person_whose_id_is_a_uuid_is_erased_however_it_was_spelled() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let pupil = Uuid::new_v4();
    let mut events = device.journal(0);
    for spelled in [
        pupil.to_string(),
        pupil.to_string().to_uppercase(),
        pupil.as_simple().to_string(),
        pupil.as_simple().to_string().to_uppercase(),
        pupil.as_urn().to_string(),
        pupil.as_braced().to_string(),
        "Ada".into(),
        "ada".into(),
    ] {
        events.push(device.event(&Draft::about(&spelled)));
    }
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    let id = pupil.as_simple().to_string();
    assert_eq!(hub.erase(&id, "a letter").await.unwrap(), 6);
    assert_eq!(hub.erase("ada", "a letter").await.unwrap(), 1);
    let client = server.connect().await;
    let left = "select subject_id from edge_outbox_hub.event_rows where subject_id <> ''";
    assert_eq!(lines(&client, left).await, ["Ada"]);
}

/// A device is told of the part of its chain that it can compare, wherever the chain ends.
#[tokio::test]
async fn a_chain_that_ends_in_a_loss_has_a_receipt_all_the_same() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(9);
    let (chain, end) = (
        (String::from("kiosk-1"), *device.epoch.as_uuid()),
        device.clone(),
    );
    let mut hub = intake(&server).await;
    hub.take(messages(&events[..5])).await.unwrap();
    let start = device.new_epoch("recovered", 0);
    let lost = json!({"ranges": [{"first": 6, "last": 10}]});
    let lost = device.ledger("outbox.events_lost.v1", &lost);
    hub.take(messages([&start, &lost])).await.unwrap();
    assert_eq!(health(&server).await[0], "kiosk-1 1 5 10 10 10 t 0 5 {}");
    let client = server.connect().await;
    let asked: Chains = [(chain, None)].into();
    let told = async |hub: &mut Intake| {
        let receipts = hub.receipts(&asked).await.unwrap();
        assert_eq!(receipts.len(), 1);
        assert_eq!(receipts[0].missing, []);
        (receipts[0].accounted_to, receipts[0].digest)
    };
    // By the epoch that came after it.
    assert_eq!(told(&mut hub).await, (Seq::new(10), events[9].digest));
    // By nothing: up to what is held.
    let forgotten = "update edge_outbox_hub.epochs set previous_seq = null, previous_digest = null";
    client.batch_execute(forgotten).await.unwrap();
    assert_eq!(told(&mut hub).await, (Seq::new(5), events[4].digest));
    // By a tail.
    hub.take_tails(&[end.tail().into()]).await.unwrap();
    assert_eq!(told(&mut hub).await, (Seq::new(10), events[9].digest));
    // And where not one event is held.
    client
        .batch_execute(
            "update edge_outbox_hub.epochs set tail_seq = null, tail_digest = null; \
             delete from edge_outbox_hub.positions where seq < 11",
        )
        .await
        .unwrap();
    assert_eq!(told(&mut hub).await, (Seq::NONE, Digest::ZERO));
}

#[tokio::test]
async fn an_event_that_is_stored_while_its_person_is_erased_does_not_survive_it() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    device.start();
    let mut events = Vec::new();
    for n in 0..60 {
        events.push(device.event(&Draft::about(&format!("pupil-{}", n % 20))));
    }
    let mut hub = intake(&server).await;
    let storing = tokio::spawn(async move {
        for batch in events.chunks(3) {
            hub.take(messages(batch)).await.unwrap();
        }
    });
    let mut eraser = intake(&server).await;
    for n in 0..20 {
        eraser
            .erase(&format!("pupil-{n}"), "a letter")
            .await
            .unwrap();
    }
    storing.await.unwrap();
    let client = server.connect().await;
    let held = "select count(*) from edge_outbox_hub.event_rows where payload is not null";
    assert_eq!(
        (number(&client, held).await, number(&client, EVENTS).await),
        (0, 60)
    );
}

#[tokio::test]
async fn an_event_that_the_database_refuses_by_itself_holds_up_no_other() {
    let server = database().await;
    server
        .execute("alter table edge_outbox_hub.event_rows add check (event_type <> 'poison.v1')")
        .await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut events = device.journal(6);
    events.push(device.event(&Draft {
        event_type: "poison.v1",
        ..Draft::quiz()
    }));
    events.extend(device.quizzes(5));
    let mut hub = intake(&server).await;
    let taken = hub.take(messages(&events)).await.unwrap();
    assert_eq!((taken.stored, taken.repeated), (12, 0));
    assert_eq!(taken.quarantined, [(Reason::RefusedByDatabase, 1)].into());
    let client = server.connect().await;
    assert_eq!(gaps(&client).await, ["kiosk-1 8 8"]);
}

#[tokio::test]
async fn what_a_batch_looks_up_does_not_grow_with_what_is_stored() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    // So many that to read them all seems less to the server than to look a thousand up.
    server
        .execute(
            "insert into edge_outbox_hub.positions (device, epoch, seq, digest, prev) \
             select 'other-' || n % 20, md5((n % 20)::text)::uuid, n, sha256(n::text::bytea), \
             sha256('') from generate_series(1, 60000) as n",
        )
        .await;
    let mut hub = intake(&server).await;
    let events = device.journal(1_000);
    assert_eq!(hub.take(messages(&events)).await.unwrap(), stored(1_001));
    drop(hub);
    // What a session has read is counted when it ends.
    let client = server.connect().await;
    let sessions = "select count(*) from pg_stat_activity where usename = 'hub'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while number(&client, sessions).await > 0 {
        assert!(Instant::now() < deadline, "the hub's session does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = "select (select seq_tup_read from pg_stat_user_tables \
                where relid = 'edge_outbox_hub.positions'::regclass) \
                + (select sum(idx_tup_read) from pg_stat_user_indexes \
                where relid = 'edge_outbox_hub.positions'::regclass)";
    let read = number(&client, read).await;
    assert!(read < 6_000, "{read} rows are read for 1001 events");
}

#[tokio::test]
async fn quarantine_is_bounded_and_counts_what_it_drops() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(20);
    let mut hub = intake(&server).await;
    let flood = MAX_MESSAGES as usize + 500;
    let mut sent = 0;
    for honest in &events {
        let rubbish = (sent..flood.min(sent + flood / 20)).map(|n| message(format!("rubbish {n}")));
        let mut batch: Vec<_> = rubbish.collect();
        sent += batch.len();
        batch.push(message(honest.wire.clone()));
        assert_eq!(hub.take(batch).await.unwrap().stored, 1);
    }
    let large = vec![b'x'; 2 * MAX_MESSAGE_BYTES];
    hub.take(vec![message("rubbish 1"); 3]).await.unwrap();
    hub.take(vec![message(large)]).await.unwrap();
    let client = server.connect().await;
    let kept = "select count(*) from edge_outbox_hub.quarantine";
    assert_eq!(number(&client, kept).await, MAX_MESSAGES as i64);
    let totals = "select reason, kept, dropped from edge_outbox_hub.quarantine_totals";
    let dropped = sent - MAX_MESSAGES as usize + 1;
    assert_eq!(
        lines(&client, totals).await,
        [format!("unreadable {MAX_MESSAGES} {dropped}")]
    );
    let times = "select times from edge_outbox_hub.quarantine where message = 'rubbish 1'";
    assert_eq!(lines(&client, times).await, ["4"]);
    assert_eq!(health(&server).await, ["kiosk-1 1 21 21 21 21 t 0 0 {}"]);
}

#[tokio::test]
async fn a_chain_that_a_late_event_joins_is_walked_in_as_many_transactions_as_it_takes() {
    let server = database_with("log_statement = all\n").await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let mut events = device.journal(8_000);
    let missing = events.remove(1);
    let mut hub = intake(&server).await;
    for batch in events.chunks(2_048) {
        hub.take(messages(batch)).await.unwrap();
    }
    assert_eq!(health(&server).await, ["kiosk-1 1 8001 8001 1 1 f 1 0 {}"]);
    let begun = Instant::now();
    hub.take(messages([&missing])).await.unwrap();
    let walked = begun.elapsed();
    assert_eq!(
        health(&server).await,
        ["kiosk-1 1 8001 8001 8001 8001 t 0 0 {}"]
    );
    assert!(walked < Duration::from_secs(30), "{walked:?}");
    let log = server.log();
    let (_, behind) = log
        .rsplit_once("insert into edge_outbox_hub.event_rows")
        .unwrap();
    let walks = behind
        .lines()
        .filter(|line| line.contains("for no key update"));
    assert_eq!(walks.count(), 2, "{behind}");
}

#[tokio::test]
async fn a_walk_whose_hub_was_killed_between_two_transactions_is_ended_by_another() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(9);
    let mut hub = intake(&server).await;
    hub.take(messages(&events)).await.unwrap();
    // As the first of them leaves it.
    server
        .execute(
            "update edge_outbox_hub.epochs set complete_to = 0, complete_digest = null, walk_due = true",
        )
        .await;
    assert_eq!(health(&server).await, ["kiosk-1 1 10 10 0 0 f 0 0 {}"]);
    hub.walk_waiting().await.unwrap();
    assert_eq!(health(&server).await, ["kiosk-1 1 10 10 10 10 t 0 0 {}"]);
}

#[tokio::test]
async fn the_hubs_role_can_do_no_more_than_take_events() {
    let server = database().await;
    intake(&server).await;
    let hub = connect(&server, "hub").await;
    let analyst = connect(&server, "analyst").await;
    for statement in [
        "delete from edge_outbox_hub.event_rows",
        "delete from edge_outbox_hub.positions",
        "update edge_outbox_hub.event_rows set digest = ''",
        "update edge_outbox_hub.device_keys set revoked_at = null",
        "delete from edge_outbox_hub.audit",
        "delete from edge_outbox_hub.erased",
        "delete from edge_outbox_hub.tampering",
        "drop table edge_outbox_hub.event_rows_default",
        "create table edge_outbox_hub.mine ()",
    ] {
        let error = hub.batch_execute(statement).await.unwrap_err();
        let code = error.code().unwrap().code().to_owned();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
    for statement in [
        "select * from edge_outbox_hub.quarantine",
        "select * from edge_outbox_hub.event_rows",
    ] {
        assert!(
            analyst.batch_execute(statement).await.is_err(),
            "{statement}"
        );
    }
}

/// A device that was renamed has one journal, and its ledger names what is in it under either name.
#[tokio::test]
async fn what_a_renamed_device_erased_is_erased_under_its_old_name() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let left = "select device, seq from edge_outbox_hub.events \
                where kind = 'program' and not is_erased order by 1, 2";
    // The new name's word comes last, in the midst, first; and before the old name is known.
    for (n, (order, known_late)) in [([0, 1, 2], false), ([0, 2, 1], false), ([2, 0, 1], true)]
        .into_iter()
        .enumerate()
    {
        let mut device = ChainedDevice::new(&format!("old-{n}"));
        let old = device.clone();
        if !known_late {
            register(&server, &old).await;
        }
        let events = device.journal(5);
        device.name = format!("new-{n}").parse().unwrap();
        register(&server, &device).await;
        let mut after = vec![device.new_epoch("device_renamed", 0)];
        // Whatever key it has by now: the one that both names had ties them.
        after.push(device.rotate());
        let named: Vec<_> = events[1..]
            .iter()
            .map(|event| json!({"seq": event.seq, "digest": event.digest.to_string()}))
            .collect();
        after.push(device.ledger("outbox.events_erased.v1", &json!({"events": named})));
        let mut early = messages(&events[..3]);
        // A copy that was stripped on the way waits for the word, too.
        early.push(message(events[3].stripped.clone()));
        let parts = [early, messages(&events[4..]), messages(&after)];
        for at in order {
            hub.take(parts[at].clone()).await.unwrap();
        }
        if known_late {
            register(&server, &old).await;
        }
        assert_eq!(lines(&client, left).await, [""; 0], "{n}");
        assert!(quarantined(&client).await.is_empty(), "{n}");
    }
    assert!(gaps(&client).await.is_empty());
    assert_eq!(
        number(
            &client,
            "select count(*) from edge_outbox_hub.events where is_erased"
        )
        .await,
        3 * 5
    );

    // A revocation under the old name sets aside what comes, and unties nothing of what is held.
    let mut device = ChainedDevice::new("old");
    register(&server, &device).await;
    let events = device.journal(1);
    hub.take(messages(&events)).await.unwrap();
    let mut operator = intake_with_role(&server, "operator").await;
    let id = device.public_key().id();
    let done = operator.revoke(&device.name, &id, None).await.unwrap();
    assert_eq!(done, Revocation::Done);
    let named = json!({"events": [{"seq": 2, "digest": events[1].digest.to_string()}]});
    let set_aside = device.clone().ledger("outbox.events_erased.v1", &named);
    hub.take(messages([&set_aside])).await.unwrap();
    assert_eq!(lines(&client, left).await, ["old 2"]);
    device.name = "new".parse().unwrap();
    register(&server, &device).await;
    let start = device.new_epoch("device_renamed", 0);
    let erased = device.ledger("outbox.events_erased.v1", &named);
    hub.take(messages([&start, &erased])).await.unwrap();
    assert_eq!(lines(&client, left).await, [""; 0]);
}

/// Names are given anew, keys are not.
#[tokio::test]
async fn another_board_under_an_old_name_erases_nothing_of_the_renamed_ones() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let mut renamed = ChainedDevice::new("kiosk-1");
    register(&server, &renamed).await;
    let before = renamed.journal(1);
    hub.take(messages(&before)).await.unwrap();
    renamed.name = "kiosk-7".parse().unwrap();
    register(&server, &renamed).await;
    let mut events = vec![renamed.new_epoch("device_renamed", 0)];
    events.extend(renamed.quizzes(1));
    hub.take(messages(&events)).await.unwrap();
    let mut new = ChainedDevice::new("kiosk-1");
    register(&server, &new).await;
    hub.take(messages(&new.journal(1))).await.unwrap();
    let named = [&before[1], &events[1]]
        .map(|event| json!({"seq": event.seq, "digest": event.digest.to_string()}));
    let erased = new.ledger("outbox.events_erased.v1", &json!({"events": named}));
    hub.take(messages([&erased])).await.unwrap();
    let left = "select device, seq from edge_outbox_hub.events \
                where kind = 'program' and not is_erased order by 1, 2";
    assert_eq!(
        lines(&client, left).await,
        ["kiosk-1 2", "kiosk-1 2", "kiosk-7 4"]
    );
    // Nor does its word let a stripped copy of the other's pass.
    let more = renamed.quizzes(1).remove(0);
    let named = json!({"events": [{"seq": more.seq, "digest": more.digest.to_string()}]});
    let erased = new.ledger("outbox.events_erased.v1", &named);
    hub.take(messages([&erased])).await.unwrap();
    let taken = hub.take(vec![message(more.stripped)]).await.unwrap();
    assert_eq!(taken.stored, 0, "{taken:?}");
}

#[tokio::test]
async fn what_is_erased_is_erased_over_two_names_and_a_new_key_between_in_any_order() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let left = "select device, seq from edge_outbox_hub.events \
                where kind = 'program' and not is_erased order by 1, 2";
    let orders = [[0, 1, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0]];
    // The new key is one of the second name's by the old one's word, or by hand before that came.
    let all = orders.map(|order| [(order, false), (order, true)]);
    for (n, (order, by_hand)) in all.into_iter().flatten().enumerate() {
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("{name}-{n}"));
        let mut device = ChainedDevice::new(&a);
        register(&server, &device).await;
        let first = device.journal(2);
        device.name = b.parse().unwrap();
        register(&server, &device).await;
        let second = [device.new_epoch("device_renamed", 0), device.rotate()];
        if by_hand {
            register(&server, &device).await;
        }
        device.name = c.parse().unwrap();
        register(&server, &device).await;
        let named: Vec<_> = first[1..]
            .iter()
            .map(|event| json!({"seq": event.seq, "digest": event.digest.to_string()}))
            .collect();
        let third = [
            device.new_epoch("device_renamed", 0),
            device.ledger("outbox.events_erased.v1", &json!({"events": named})),
        ];
        let parts = [messages(&first), messages(&second), messages(&third)];
        for at in order {
            hub.take(parts[at].clone()).await.unwrap();
        }
        assert_eq!(lines(&client, left).await, [""; 0], "{order:?}, {by_hand}");
        assert!(
            quarantined(&client).await.is_empty(),
            "{order:?}, {by_hand}"
        );
    }
}

/// Whoever stole a key can sign for another one with it.
#[tokio::test]
async fn a_key_that_was_revoked_hands_over_what_it_signed_under_its_own_name_alone() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(1);
    hub.take(messages(&events)).await.unwrap();
    let mut operator = intake_with_role(&server, "operator").await;
    let id = device.public_key().id();
    operator.revoke(&device.name, &id, None).await.unwrap();
    let named = json!({"events": [{"seq": 2, "digest": events[1].digest.to_string()}]});
    let left = "select device, seq from edge_outbox_hub.events \
                where kind = 'program' and not is_erased";
    for (name, expected) in [("kiosk-9", &["kiosk-1 2"][..]), ("kiosk-1", &[])] {
        let mut next = device.clone();
        next.name = name.parse().unwrap();
        let start = next.rotate();
        register(&server, &next).await;
        let erased = next.ledger("outbox.events_erased.v1", &named);
        let taken = hub.take(messages([&start, &erased])).await.unwrap();
        assert_eq!(taken.stored, 2, "{name}: {taken:?}");
        assert_eq!(lines(&client, left).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_copy_in_quarantine_of_what_a_device_erased_loses_its_personal_part() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(2);
    hub.take(messages(&events[..1])).await.unwrap();
    // Under a key that was revoked both are set aside; the one before, the other after the word.
    let mut operator = intake_with_role(&server, "operator").await;
    let id = device.public_key().id();
    operator.revoke(&device.name, &id, None).await.unwrap();
    hub.take(messages(&events[1..2])).await.unwrap();
    device.name = "kiosk-2".parse().unwrap();
    register(&server, &device).await;
    let start = device.new_epoch("device_renamed", 0);
    let named: Vec<_> = events[1..]
        .iter()
        .map(|event| json!({"seq": event.seq, "digest": event.digest.to_string()}))
        .collect();
    let erased = device.ledger("outbox.events_erased.v1", &json!({"events": named}));
    hub.take(messages([&start, &erased])).await.unwrap();
    hub.take(messages(&events[2..])).await.unwrap();
    let kept = "select seq, reason, position('score' in encode(message, 'escape')), persons = '{}', \
                bytes = octet_length(message) from edge_outbox_hub.quarantine order by seq";
    assert_eq!(
        lines(&client, kept).await,
        ["2 revoked_key 0 t t", "3 revoked_key 0 t t"]
    );
    let totals = "select t.kept, t.bytes = (select sum(octet_length(message)) \
                  from edge_outbox_hub.quarantine) from edge_outbox_hub.quarantine_totals t";
    assert_eq!(lines(&client, totals).await, ["2 t"]);
}

#[tokio::test]
async fn where_no_partition_takes_an_event_nothing_is_stored_and_it_is_said() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    let events = device.journal(5);
    let mut hub = intake(&server).await;
    hub.take(messages(&events[..2])).await.unwrap();
    // All months, as if nobody had made any for long, and the default one.
    let months = "select string_agg('drop table edge_outbox_hub.' || relname, ';') from pg_class \
                  where relname like 'event_rows_20%' and relkind = 'r'";
    let client = server.connect().await;
    let drop_months = lines(&client, months).await.remove(0);
    server.execute(&drop_months).await;
    // With it, a month that has none is no trouble.
    hub.take(messages(&events[2..4])).await.unwrap();
    let stray = "select count(*) from edge_outbox_hub.event_rows_default";
    assert_eq!(number(&client, stray).await, 2);
    server
        .execute("drop table edge_outbox_hub.event_rows_default")
        .await;
    for _ in 0..2 {
        let error = hub.take(messages(&events[4..])).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Mend);
        let said = error.to_string();
        assert_eq!(
            said,
            "storing events: no partition of event_rows takes them"
        );
        assert!(
            error.hint().unwrap().contains("config sql --hub"),
            "{error:?}"
        );
    }
    // Neither stored, nor set aside, nor known: what brought it still has it.
    assert_eq!(number(&client, POSITIONS).await, 4);
    assert!(quarantined(&client).await.is_empty());
    server.execute(SCHEMA_SQL).await;
    let taken = hub.take(messages(&events)).await.unwrap();
    assert_eq!((taken.stored, taken.repeated), (2, 4));
    assert_eq!(health(&server).await, ["kiosk-1 1 6 6 6 6 t 0 0 {}"]);
}
