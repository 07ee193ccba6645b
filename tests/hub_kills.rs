//! Two hubs that are killed again and again, between real devices, brokers and a real Postgres: every
//! event is stored once, and every chain is whole.
//!
//! As it stands it takes well under a minute. The whole of it, with a seed of one's own:
//!
//!     EDGE_OUTBOX_HUB_DEVICES=20 EDGE_OUTBOX_HUB_EVENTS=200000 EDGE_OUTBOX_HUB_KILLS=100 \
//!         cargo test --release --features hub --test hub_kills

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use edge_outbox::{
    forwarder::SinkSpec,
    secret::Secret,
    sink::{
        Sink,
        nats::{NatsOptions, NatsSink},
    },
};
use support::{
    hub::{database, health, number},
    hub_program::{HubHome, HubProcess},
    kiosk::Kiosk,
    mosquitto::MosquittoServer,
    mqtt,
    nats_server::NatsServer,
    random::Random,
};
use tokio::runtime::Runtime;

/// What is asked for where nothing else is.
const DEVICES: u64 = 4;
const EVENTS: u64 = 4_000;
const KILLS: u64 = 6;
/// How long a hub lives before it is killed, in milliseconds.
const LIFE_MS: (u64, u64) = (300, 2_000);
/// How long all of it may take without anything new in the tables.
const PATIENCE: Duration = Duration::from_secs(60);

fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn two_hubs_that_are_killed_again_and_again_store_every_event_once() {
    let runtime = Runtime::new().unwrap();
    let mut random = Random::seeded();
    let devices = asked("EDGE_OUTBOX_HUB_DEVICES", DEVICES);
    let each = asked("EDGE_OUTBOX_HUB_EVENTS", EVENTS) / devices;
    let kills = asked("EDGE_OUTBOX_HUB_KILLS", KILLS);
    let nats = NatsServer::start();
    let mosquitto = MosquittoServer::with("max_inflight_messages 1000\nallow_anonymous true");
    let server = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        database().await
    });
    let sections = |hub: &str| {
        format!(
            "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nack_wait = \"2 s\"\n\
             [sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nclient_id = \"{hub}\"\n",
            nats.url(),
            mosquitto.url()
        )
    };
    let first = HubHome::new("hub-a", &server, &sections("hub-a"));
    first.ok(&["key"]);
    let second = HubHome::new("hub-b", &server, &sections("hub-b")).with_keys_of(&first);
    let mut homes = [first, second];
    let mut hubs: Vec<HubProcess> = homes.iter_mut().map(HubHome::start).collect();
    // A broker knows of a subscription only once there was one.
    let deadline = Instant::now() + PATIENCE;
    while !["hub-a", "hub-b"]
        .iter()
        .all(|it| mosquitto.log().contains(it))
    {
        assert!(Instant::now() < deadline, "the hubs do not come");
        thread::sleep(Duration::from_millis(50));
    }

    let mut kiosks: Vec<Kiosk> = (0..devices)
        .map(|n| Kiosk::new(&format!("kiosk-{n:02}")))
        .collect();
    for (n, kiosk) in kiosks.iter_mut().enumerate() {
        let sink = match n % 2 {
            0 => {
                let options = NatsOptions {
                    servers: vec![Secret::new(nats.url())],
                    ..NatsOptions::default()
                };
                Sink::Nats(NatsSink::new(options).unwrap())
            }
            _ => mqtt::sink(mqtt::options_for(&mosquitto.url())),
        };
        kiosk.forward(vec![SinkSpec::new("school", sink)]);
    }
    // The last of them are appended while the last hub is killed.
    let parts = kills + 1;
    for round in 0..parts {
        for kiosk in &kiosks {
            kiosk.append_some(each / parts + u64::from(round < each % parts));
        }
        if round < kills {
            let (shortest, longest) = LIFE_MS;
            thread::sleep(Duration::from_millis(random.between(shortest, longest)));
            let which = random.between(0, 1) as usize;
            let started = homes[which].start();
            std::mem::replace(&mut hubs[which], started).kill();
        }
    }

    let wanted: u64 = kiosks.iter().map(|kiosk| kiosk.tail().get()).sum();
    assert_eq!(wanted, devices * (each + 1));
    let client = runtime.block_on(server.connect());
    let count = || {
        let question = "select count(*) from edge_outbox_hub.event_rows";
        runtime.block_on(number(&client, question)) as u64
    };
    let (mut stored, mut since) = (count(), Instant::now());
    while stored < wanted {
        thread::sleep(Duration::from_millis(100));
        let now = count();
        if now > stored {
            since = Instant::now();
        }
        stored = now;
        let logs: Vec<String> = hubs.iter().map(HubProcess::log).collect();
        assert!(
            since.elapsed() < PATIENCE,
            "{stored} of {wanted}: {}",
            logs.join("\n--\n")
        );
    }
    let mut clean: Vec<String> = kiosks
        .iter()
        .map(|kiosk| {
            let tail = kiosk.tail();
            format!("{} 1 {tail} {tail} {tail} {tail} t 0 0 {{}}", kiosk.name())
        })
        .collect();
    clean.sort();
    assert_eq!(runtime.block_on(health(&server)), clean);
    for hub in hubs {
        let (code, _, log) = hub.stop();
        assert_eq!(code, Some(0), "{log}");
    }
    // Stored once, signed, and each naming the one before it.
    let found = homes[0].ok(&["verify"]);
    assert_eq!(found, format!("{wanted} events: nothing is wrong\n"));
    let quarantined = "select count(*) from edge_outbox_hub.quarantine";
    assert_eq!(runtime.block_on(number(&client, quarantined)), 0);
    for kiosk in &mut kiosks {
        kiosk.stop_forwarding();
    }
}
