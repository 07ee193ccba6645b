//! Who may have what erased at a hub, and what nobody can keep from it.

#![cfg(feature = "hub")]

mod support;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge_outbox::{
    envelope::{Digest, Epoch},
    signing::Rotation,
};
use serde_json::json;
use support::{
    chained_device::{ChainedDevice, Draft},
    hub::{database, intake, lines, message, messages, number, register},
};
use tokio::time::timeout;
use uuid::Uuid;

/// An event that asks for a person to be erased.
fn request(person: &str) -> Draft {
    let mut request = Draft::about(person);
    request.event_type = "user.erase_requested.v1";
    let payload = json!({"user_id": person, "requested_at": "2026-03-01T08:00:00.000000Z"});
    request.payload = payload.to_string();
    request.aggregate_id = person.parse().unwrap();
    request
}

#[tokio::test]
async fn nothing_of_an_erased_person_is_kept_in_quarantine_whenever_it_comes() {
    let server = database().await;
    let mut device = ChainedDevice::new("kiosk-1");
    let mut stranger = ChainedDevice::new("kiosk-2");
    register(&server, &device).await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let person = Uuid::new_v4().to_string();
    let kept = format!(
        "select count(*) from edge_outbox_hub.quarantine \
         where position('{person}'::bytea in message) > 0"
    );
    hub.take(messages([&device.start()])).await.unwrap();
    let before = stranger.event(&Draft::about(&person));
    hub.take(messages([&before])).await.unwrap();
    assert_eq!(number(&client, &kept).await, 1);
    // In the batch that erases, and after it.
    let beside = stranger.event(&Draft::about(&person));
    let later = stranger.event(&Draft::about(&person));
    let request = device.event(&request(&person));
    hub.take(messages([&beside, &request])).await.unwrap();
    assert_eq!(number(&client, &kept).await, 0);
    hub.take(messages([&later])).await.unwrap();
    assert_eq!(number(&client, &kept).await, 0);
}

/// The start of another epoch that claims a device's new key, which has not signed it, and for which the
/// attacker's key has.
fn false_start(device: &ChainedDevice, attacker: &ChainedDevice) -> Vec<u8> {
    let mut fake = device.clone();
    fake.name = attacker.name.clone();
    fake.epoch = Epoch::random();
    fake.head = Digest::ZERO;
    fake.next = 1;
    let new_key = device.public_key();
    let rotation = Rotation {
        new_key: &new_key,
        device: &fake.name,
        epoch: fake.epoch,
    };
    let payload = json!({
        "reason": "key_changed",
        "public_key": STANDARD.encode(new_key.as_bytes()),
        "previous": {
            "epoch": Epoch::random().to_string(),
            "seq": 1,
            "digest": device.head.to_string(),
            "key_id": attacker.public_key().id().to_string(),
            "cross_signature": attacker.key.sign_rotation(&rotation).to_string(),
        },
    });
    let fake = fake.ledger("outbox.epoch_started.v1", &payload);
    let text = String::from_utf8(fake.wire).unwrap();
    let altered = text.replacen(r#""source":"test""#, r#""source":"tesu""#, 1);
    assert_ne!(altered, text, "it would be signed");
    altered.into_bytes()
}

#[tokio::test]
async fn a_start_that_its_key_has_not_signed_does_not_take_the_place_of_the_true_one() {
    for is_registered in [true, false] {
        let server = database().await;
        let mut hub = intake(&server).await;
        let client = server.connect().await;
        let mut device = ChainedDevice::new("kiosk-1");
        let attacker = ChainedDevice::new("kiosk-9");
        register(&server, &device).await;
        register(&server, &attacker).await;
        let events = device.journal(1);
        hub.take(messages(&events)).await.unwrap();
        let start = device.rotate();
        if is_registered {
            register(&server, &device).await;
        }
        let mut batch = vec![message(false_start(&device, &attacker))];
        batch.extend(messages([&start]));
        let taken = hub.take(batch).await.unwrap();
        assert_eq!(taken.stored, 1, "{taken:?}");
        // So the new key speaks for what the old one signed.
        let named = json!({"events": [{"seq": 2, "digest": events[1].digest.to_string()}]});
        let erased = device.ledger("outbox.events_erased.v1", &named);
        hub.take(messages([&erased])).await.unwrap();
        let readable = "select device, seq from edge_outbox_hub.events \
                        where kind = 'program' and not is_erased";
        assert_eq!(lines(&client, readable).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_start_that_is_replayed_makes_no_other_event_wait_for_the_gate() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let mut device = ChainedDevice::new("kiosk-1");
    register(&server, &device).await;
    hub.take(messages(&device.journal(1))).await.unwrap();
    let start = device.rotate();
    hub.take(messages([&start])).await.unwrap();
    let event = device.quizzes(1).remove(0);
    // Another hub is in the middle of a batch.
    let gate = "begin; select pg_advisory_xact_lock_shared(7020584511041)";
    client.batch_execute(gate).await.unwrap();
    let both = hub.take(messages([&start, &event]));
    let taken = timeout(Duration::from_secs(8), both).await;
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(taken.expect("it waits").unwrap().stored, 1);
}

/// Whoever stole a key that was revoked can still sign below the place up to which it is good: that is kept
/// as a fork, and what it asks to erase stays.
#[tokio::test]
async fn a_fork_that_a_revoked_key_signed_erases_nothing() {
    let server = database().await;
    let mut hub = intake(&server).await;
    let client = server.connect().await;
    let mut device = ChainedDevice::new("kiosk-1");
    let mut other = ChainedDevice::new("kiosk-2");
    for device in [&device, &other] {
        register(&server, device).await;
    }
    let person = Uuid::new_v4().to_string();
    let theirs = [other.start(), other.event(&Draft::about(&person))];
    hub.take(messages(&theirs)).await.unwrap();
    let start = device.start();
    let mut thief = device.clone();
    let events = device.quizzes(3);
    // The last of them was asked for while the key was good, and comes late.
    let late = device.event(&request(&person));
    hub.take(messages([&start])).await.unwrap();
    hub.take(messages(&events)).await.unwrap();
    server
        .execute(&format!(
            "update edge_outbox_hub.device_keys set revoked_at = now(), revoked_epoch = '{}', \
             revoked_seq = {} where device = 'kiosk-1'",
            device.epoch, late.seq
        ))
        .await;
    let named = json!({"events": [
        {"seq": events[1].seq, "digest": events[1].digest.to_string()},
    ]});
    let forks = [
        thief.ledger("outbox.events_erased.v1", &named),
        thief.event(&request(&person)),
    ];
    let left =
        "select count(*) from edge_outbox_hub.events where kind = 'program' and not is_erased";
    let taken = hub.take(messages(&forks)).await.unwrap();
    assert_eq!(taken.stored, 2, "{taken:?}");
    let of_forks = "select count(*) from edge_outbox_hub.tampering where code = 'fork'";
    assert!(number(&client, of_forks).await > 0);
    // The request is a program's event, too.
    assert_eq!(number(&client, left).await, 5);
    hub.take(messages([&late])).await.unwrap();
    let of_person = format!("{left} and subject_id = '{person}'");
    assert_eq!(number(&client, &of_person).await, 0);
}
