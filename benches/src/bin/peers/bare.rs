//! The limits of draining: the clients that edge-outbox uses, with the same envelopes from memory.

use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_outbox::{
    Outbox,
    signing::PublicKey,
    sink::postgres::{DEFAULT_BATCH, DEFAULT_PIPELINE},
};
use edge_outbox_benches::{
    backlog::{all_envelopes, public_key},
    bare::{
        mqtt as rumqttc, nats as async_nats,
        postgres::{self as tokio_postgres, Batch},
    },
    classroom::{DEVICE, EVENT_TYPE, event},
};

use crate::{
    hub::{Hub as _, mqtt::MqttHub, nats::NatsHub, postgres::PostgresHub},
    load::runtime,
    peer::Ground,
};

/// How long one takes for so many events with so many bytes of payload.
pub type Drain = fn(&Ground, u64, usize) -> Duration;

/// Envelopes that are there; they are sent again and again.
const ENVELOPES: u64 = 10_240;
/// Unanswered messages at a JetStream: as many as a sink has by default.
const NATS_WINDOW: usize = 1_024;

/// To JetStream.
pub fn nats(ground: &Ground, events: u64, bytes: usize) -> Duration {
    let (bodies, _) = envelopes(ground, bytes);
    let mut hub = NatsHub::new(&ground.hub);
    hub.start();
    // As long as the sink's own, and made before the clock starts.
    let id = |number| format!("{:043x}", u128::from(number) << 64);
    let ids: Vec<_> = (0..events).map(id).collect();
    let bodies = ids.into_iter().zip(bodies.into_iter().cycle());
    let subject = format!("edupulse.events.{DEVICE}.{EVENT_TYPE}");
    let begun = Instant::now();
    hub.block_on(async_nats::publish(
        hub.context(),
        &subject,
        bodies,
        NATS_WINDOW,
    ));
    begun.elapsed()
}

/// To a mosquitto, and from it to the subscriber that the others have as well.
pub fn mqtt(ground: &Ground, events: u64, bytes: usize) -> Duration {
    let (bodies, _) = envelopes(ground, bytes);
    let mut hub = MqttHub::new(&ground.hub);
    hub.start();
    let bodies = bodies.into_iter().cycle().take(events as usize);
    let topic = format!("edupulse/events/{DEVICE}/{EVENT_TYPE}");
    let begun = Instant::now();
    runtime(1).block_on(rumqttc::publish("bare", hub.port(), &topic, bodies));
    while hub.count() < events {
        std::thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

/// To Postgres.
pub fn postgres(ground: &Ground, events: u64, bytes: usize) -> Duration {
    let (bodies, key) = envelopes(ground, bytes);
    let mut batches = Batch::all(&bodies, key, DEFAULT_BATCH);
    // The last one has what is left over, and would cost a statement as often as it comes round.
    batches.retain(|batch| batch.rows() == DEFAULT_BATCH);
    let mut hub = PostgresHub::new();
    hub.start();
    let begun = Instant::now();
    let insert = tokio_postgres::insert_again(hub.client(), &batches, events, DEFAULT_PIPELINE);
    let stored = hub.block_on(insert);
    let spent = begun.elapsed();
    assert!(stored >= events);
    // Whole batches, so a few more than were asked for.
    spent.mul_f64(events as f64 / stored as f64)
}

/// Bytes of an envelope with such a payload.
pub fn envelope_bytes(ground: &Ground, bytes: usize) -> f64 {
    let (bodies, _) = envelopes(ground, bytes);
    bodies.iter().map(Bytes::len).sum::<usize>() as f64 / bodies.len() as f64
}

/// Envelopes as a device makes them, and the key that signed them.
fn envelopes(ground: &Ground, bytes: usize) -> (Vec<Bytes>, PublicKey) {
    let dir = ground.store.join("data");
    let outbox = Outbox::builder(&dir)
        .device(DEVICE.parse().expect("a name"))
        .open()
        .expect("it opens");
    for first in (0..ENVELOPES).step_by(1024) {
        let events = (first..first + 1024).map(|number| event(number, bytes));
        let taken = outbox.blocking().append_batch(events.collect());
        taken.expect("taken");
    }
    outbox.blocking().close();
    (all_envelopes(&dir), public_key(&dir))
}
