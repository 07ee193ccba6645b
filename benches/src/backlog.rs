//! A backlog in a closed journal, and the same bytes in memory for the bare clients.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edge_outbox::{
    Outbox, Seq,
    forwarder::{Forwarder, SinkSpec},
    signing::PublicKey,
    sink::Sink,
};

use crate::{
    PAYLOAD_BYTES,
    classroom::{DEVICE, event},
    per_second,
};

/// Events in the backlog.
pub const EVENTS: u64 = 200_000;
/// Events appended at once.
const BATCH: u64 = 1_000;
/// A drain that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// Makes a journal with [`EVENTS`] events of the program's, and closes it.
pub fn fill(dir: &Path) {
    fill_with(dir, EVENTS);
}

/// As [`fill`], with so many events.
pub fn fill_with(dir: &Path, events: u64) {
    fill_as(dir, DEVICE, events);
}

/// As [`fill`], with so many events of the device of this name.
pub fn fill_as(dir: &Path, device: &str, events: u64) {
    let outbox = Outbox::builder(dir)
        .device(device.parse().expect("a name"))
        .open();
    let outbox = outbox.expect("it opens");
    for first in (0..events).step_by(BATCH as usize) {
        let batch = first..events.min(first + BATCH);
        let batch = batch.map(|number| event(number, PAYLOAD_BYTES)).collect();
        outbox.blocking().append_batch(batch).expect("taken");
    }
    outbox.blocking().close();
}

/// The key that signed them.
pub fn public_key(dir: &Path) -> PublicKey {
    let outbox = Outbox::builder(dir).open().expect("it opens");
    let key = outbox.public_key().clone();
    outbox.blocking().close();
    key
}

/// Their envelopes, as they go over the wire.
pub fn envelopes(dir: &Path) -> Vec<Bytes> {
    let bodies = all_envelopes(dir);
    assert_eq!(bodies.len() as u64, EVENTS);
    bodies
}

/// The envelopes of the program's events in a journal, however many.
pub fn all_envelopes(dir: &Path) -> Vec<Bytes> {
    // The first event is the ledger's, about the epoch.
    envelopes_from(dir, Seq::new(2))
}

/// All envelopes in a journal from a seq on.
pub fn envelopes_from(dir: &Path, first: Seq) -> Vec<Bytes> {
    runtime().block_on(async {
        let outbox = Outbox::builder(dir).open().expect("it opens");
        let mut lines = outbox.events(first);
        let mut bodies = Vec::new();
        while let Some(chunk) = lines.next_chunk().await.expect("reads") {
            let lines = chunk.split(|byte| *byte == b'\n');
            bodies.extend(
                lines
                    .filter(|line| !line.is_empty())
                    .map(|line| chunk.slice_ref(line)),
            );
        }
        outbox.close().await;
        bodies
    })
}

/// The forwarder, from opening the journal to the last confirmation: events a second. Under a name
/// that is new, the sink gets everything that the journal holds.
pub fn drain(dir: &Path, name: &str, sink: Sink) -> f64 {
    runtime().block_on(async {
        let outbox = Outbox::builder(dir).open().expect("it opens");
        let spec = SinkSpec {
            // Nothing is trimmed, so that the next sink finds everything.
            required: false,
            ..SinkSpec::new(name, sink)
        };
        let start = Instant::now();
        let drained = Forwarder::new(outbox.clone(), vec![spec])
            .drain(LIMIT)
            .await
            .expect("drains");
        let took = start.elapsed();
        assert_eq!(drained.left(), 0);
        outbox.close().await;
        per_second(EVENTS, took)
    })
}

/// What a bare client runs on: one thread, as a sink's connection does.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime")
}
