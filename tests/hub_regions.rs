//! A hub of several regions, as `docs/hub.md` says how one grows: a stream for each, and a source for
//! each. What the server does to subjects on the way changes what it promises a device, and nothing of
//! what a hub takes.

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::stream::{Config, Source, SubjectTransform};
use edge_outbox::{
    DeviceKey,
    forwarder::{Confirm, HubTerms, SinkSpec},
    secret::Secret,
    sink::{
        Sink, WayBack,
        nats::{DEFAULT_RECEIPTS, DEFAULT_TAILS, NatsOptions, NatsSink},
    },
    status::GuaranteeLevel,
};
use support::{
    hub::{database, health, lines},
    hub_program::HubHome,
    kiosk::Kiosk,
    nats_server::NatsServer,
};
use tokio::runtime::Runtime;

const SINK: &str = "school";
const LIMIT: Duration = Duration::from_secs(60);
/// What devices of the west send to the usual subjects the server takes for those of the west.
const SERVER: &str = r#"
jetstream { store_dir: "$DIR/store" }
accounts {
  SCHOOLS {
    jetstream: enabled
    users: [{ user: "any", password: "any" }]
    mappings: { "edupulse.events.*.>": "edupulse.west.events.$1.>" }
  }
}
no_auth_user: "any"
"#;

fn device(nats: &NatsServer, key: &DeviceKey, name: &str, subject: &str, stream: &str) -> Kiosk {
    let options = NatsOptions {
        servers: vec![Secret::new(nats.url())],
        subject: subject.parse().unwrap(),
        stream: Some(stream.into()),
        way_back: Some(WayBack {
            receipts: DEFAULT_RECEIPTS.into(),
            tails: DEFAULT_TAILS.into(),
        }),
        ..NatsOptions::default()
    };
    let mut kiosk = Kiosk::new(name);
    kiosk.append_some(20);
    kiosk.forward(vec![SinkSpec {
        hub: Some(HubTerms {
            keys: vec![key.public_key()],
            confirm: Confirm::Hub,
            resend_after: Duration::from_secs(30),
        }),
        ..SinkSpec::new(SINK, Sink::Nats(NatsSink::new(options).unwrap()))
    }]);
    kiosk
}

#[test]
fn a_hub_takes_the_streams_of_all_regions_whatever_became_of_the_subjects() {
    let runtime = Runtime::new().unwrap();
    let nats = NatsServer::with(SERVER);
    let server = runtime.block_on(async {
        let context = nats.jetstream().await;
        for region in ["north", "south", "west"] {
            let stream = context.create_stream(Config {
                name: region.to_uppercase(),
                subjects: vec![format!("edupulse.{region}.events.>")],
                duplicate_window: Duration::from_secs(120),
                ..Config::default()
            });
            stream.await.unwrap();
        }
        // The south's is brought to the hub by another stream, under other subjects.
        let brought = Source {
            name: "SOUTH".into(),
            subject_transforms: vec![SubjectTransform {
                source: "edupulse.south.events.>".into(),
                destination: "central.south.>".into(),
            }],
            ..Source::default()
        };
        let stream = context.create_stream(Config {
            name: "CENTRAL".into(),
            sources: Some(vec![brought]),
            ..Config::default()
        });
        stream.await.unwrap();
        database().await
    });
    let source = |name: &str, stream: &str, events: &str| {
        format!(
            "[sources.{name}]\ntype = \"nats\"\nservers = [\"{}\"]\nstream = \"{stream}\"\n\
             events = \"{events}\"\nack_wait = \"2 s\"\n",
            nats.url()
        )
    };
    let sections = source("north", "NORTH", "edupulse.north.events.>")
        + &source("south", "CENTRAL", "central.south.>")
        + &source("west", "WEST", "edupulse.west.events.>");
    let mut hub = HubHome::new("hub", &server, &sections);
    hub.ok(&["key"]);
    let key = DeviceKey::load(&hub.path("hub.pem")).unwrap();
    let mut process = hub.start();
    process.wait_for_log("started");

    let north = "edupulse.north.events.{device}.{event_type}";
    let south = "edupulse.south.events.{device}.{event_type}";
    let usual = "edupulse.events.{device}.{event_type}";
    let mut kiosks = [
        device(&nats, &key, "in-the-north", north, "NORTH"),
        device(&nats, &key, "in-the-south", south, "SOUTH"),
        device(&nats, &key, "in-the-west", usual, "WEST"),
    ];
    // Each has the hub's word, whichever source its events came by.
    let promises = kiosks.each_ref().map(|kiosk| {
        let tail = kiosk.tail();
        let sink = kiosk.wait_for(SINK, |sink| {
            sink.hub.as_ref().is_some_and(|hub| hub.confirmed >= tail)
        });
        sink.guarantee.level
    });
    let once = GuaranteeLevel::ExactlyOnce;
    assert_eq!(promises, [once, once, GuaranteeLevel::AtLeastOnce]);

    let client = runtime.block_on(server.connect());
    let each = "select device, origin, count(*) from edge_outbox_hub.event_rows group by 1, 2 \
                order by 1";
    let wanted = ["north", "south", "west"].map(|it| format!("in-the-{it} {it} 21"));
    let deadline = Instant::now() + LIMIT;
    while runtime.block_on(lines(&client, each)) != wanted {
        assert!(Instant::now() < deadline, "{}", process.log());
        thread::sleep(Duration::from_millis(50));
    }
    let clean =
        ["north", "south", "west"].map(|it| format!("in-the-{it} 1 21 21 21 21 t 0 0 {{}}"));
    assert_eq!(runtime.block_on(health(&server)), clean);
    for kiosk in &mut kiosks {
        kiosk.stop_forwarding();
    }
}
