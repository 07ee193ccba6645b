//! Memory does not depend on the backlog, nor on a network that takes nothing.
//!
//! The bytes that are allocated are counted for the whole process, so there is one test at a time,
//! and nothing else in this binary.

#![cfg(all(feature = "mqtt", feature = "nats", feature = "postgres"))]

#[path = "support/allocation.rs"]
mod allocation;
mod support;

use std::{
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::Duration,
};

use allocation::rise;
use edge_outbox::sink::mqtt::MqttVersion;
use support::{
    fault_proxy::Fault,
    kiosk::Kiosk,
    other_side::{NAME, OtherSide, Patience, mqtt::Mqtt, nats::Nats, postgres::Postgres},
};

/// By how much the peaks may differ, in bytes.
const BOUND: usize = 2 << 20;
/// Events in the smaller backlog; in the larger one there are four times as many.
const BACKLOG: u64 = 5_000;
/// How long the network takes nothing. A sink that waits 1 s for an answer gives up a few times.
const BLACKHOLE: Duration = Duration::from_secs(3);
/// redb's cache, in bytes: full with either backlog.
const CACHE_BYTES: usize = 1 << 20;

fn kiosk(name: &str, backlog: u64) -> Kiosk {
    let kiosk = Kiosk::with(name, |builder| builder.cache_bytes(CACHE_BYTES));
    kiosk.append_some(backlog);
    kiosk
}

/// The rise while a backlog drains.
fn draining(side: &dyn OtherSide, name: &str, backlog: u64) -> usize {
    let network = side.network();
    let mut kiosk = kiosk(name, backlog);
    rise(|| {
        kiosk.forward(vec![side.spec(&network, Patience::Default)]);
        kiosk.wait_until_caught_up(NAME);
        kiosk.stop_forwarding();
    })
}

/// The rise while the network takes nothing from the middle of a drain on.
fn blackholed(side: &dyn OtherSide, name: &str, backlog: u64) -> usize {
    let network = side.network();
    let mut kiosk = kiosk(name, backlog);
    rise(|| {
        kiosk.forward(vec![side.spec(&network, Patience::Short)]);
        kiosk.wait_for(NAME, |sink| sink.acked.get() > 500);
        network.suffer(Fault::Blackhole);
        sleep(BLACKHOLE);
        let status = kiosk.sink(NAME);
        assert!(status.pending > 0 && status.last_error.is_some());
        kiosk.stop_forwarding();
    })
}

fn memory_is_constant(start: impl FnOnce() -> Box<dyn OtherSide>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut side = start();
    side.dismiss_consumer();
    let side = &*side;
    // What is made once and stays (a parsed list of authorities, say) is no part of the backlog.
    draining(side, "first", 2_000);
    let highest = |name: &str, backlog| {
        let drained = draining(side, name, backlog);
        let dark = blackholed(side, &format!("{name}-dark"), backlog);
        let kib = |bytes: usize| bytes / 1024;
        println!(
            "{backlog} events: {} KiB at the highest, {} KiB in a blackhole",
            kib(drained),
            kib(dark)
        );
        drained.max(dark)
    };
    let small = highest("small", BACKLOG);
    let large = highest("large", 4 * BACKLOG);
    assert!(large < small + BOUND, "{large} is more than {small}");
}

#[test]
fn a_backlog_for_nats_takes_no_memory() {
    memory_is_constant(|| Box::new(Nats::start()));
}

#[test]
fn a_backlog_for_mqtt_takes_no_memory() {
    memory_is_constant(|| Box::new(Mqtt::start(MqttVersion::V5)));
}

#[test]
fn a_backlog_for_mqtt_3_1_1_takes_no_memory() {
    memory_is_constant(|| Box::new(Mqtt::start(MqttVersion::V3_1_1)));
}

#[test]
fn a_backlog_for_postgres_takes_no_memory() {
    memory_is_constant(|| Box::new(Postgres::start()));
}
