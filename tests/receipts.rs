//! A hub's receipts, brought by real brokers: what a sink with `confirm = "hub"` trims, what it
//! sends again, and what it does not believe. The hub is the test itself.

#![cfg(all(feature = "cli", feature = "mqtt", feature = "nats"))]
mod support;

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use async_nats::jetstream::stream::{Config, StorageType};
use edge_outbox::{
    envelope::Epoch,
    forwarder::{Confirm, ForwardError, Forwarder, HubTerms, SinkSpec},
    receipt::Receipt,
    secret::Secret,
    seq::Seq,
    signing::DeviceKey,
    sink::{
        Sink, WayBack,
        memory::{MemorySink, MemoryStore},
        mqtt::{self, MqttOptions, MqttVersion},
        nats::{self, NatsOptions, NatsSink},
    },
    status::HubStatus,
};
use rumqttc::v5;
use support::{
    acting_hub::ActingHub,
    kiosk::{Kiosk, LIMIT},
    mosquitto::MosquittoServer,
    mqtt::{EVERYTHING, options_for, sink},
    nats_server::{NatsServer, events_stream},
    program::{Daemon, Home},
    subscriber::{Subscriber, address},
};
use uuid::Uuid;

const NAME: &str = "kiosk-1";
/// The sink.
const HUB: &str = "hub";
const POLL: Duration = Duration::from_millis(50);
/// As short as it can be.
const RESEND_AFTER: Duration = Duration::from_secs(1);

fn terms(hub: &ActingHub, confirm: Confirm) -> HubTerms {
    HubTerms {
        keys: vec![
            DeviceKey::generate().unwrap().public_key(),
            hub.key.public_key(),
        ],
        confirm,
        resend_after: RESEND_AFTER,
    }
}

/// A hub that listens at an MQTT broker.
struct AtMqtt {
    url: String,
    events: Subscriber,
    tails: Subscriber,
    taken: (usize, usize),
}

impl AtMqtt {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            events: Subscriber::start(url, EVERYTHING),
            tails: Subscriber::start(url, "edupulse/tails/+"),
            taken: (0, 0),
        }
    }

    /// Takes what has come, and answers where anything has.
    fn step(&mut self, hub: &mut ActingHub) {
        let tails = self.listen(hub);
        if tails {
            let receipt = hub.receipt();
            self.say(hub, &receipt);
        }
    }

    /// Whether anything has come.
    fn listen(&mut self, hub: &mut ActingHub) -> bool {
        let (events, tails) = (self.events.messages(), self.tails.messages());
        for event in &events[self.taken.0..] {
            hub.take(&event.payload);
        }
        for tail in &tails[self.taken.1..] {
            assert_eq!(tail.topic, format!("edupulse/tails/{NAME}"));
            hub.take_tail(&tail.payload);
        }
        let taken = (events.len(), tails.len());
        std::mem::replace(&mut self.taken, taken) != taken
    }

    fn say(&self, hub: &ActingHub, receipt: &Receipt) {
        self.publish(receipt, &receipt.sign(&hub.key).unwrap());
    }

    /// Publishes it retained; a broker that is away gets the next one.
    fn publish(&self, receipt: &Receipt, message: &[u8]) {
        let (host, port) = address(&self.url);
        let id = format!("hub-{}", Uuid::new_v4());
        let (client, mut connection) = v5::Client::new(v5::MqttOptions::new(id, host, port), 4);
        let topic = format!("edupulse/receipts/{NAME}/{}", receipt.epoch);
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        client.publish(topic, qos, true, message.to_vec()).unwrap();
        for event in connection.iter() {
            match event {
                Ok(v5::Event::Incoming(v5::Incoming::PubAck(_))) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

fn mqtt_spec(url: &str, terms: HubTerms) -> SinkSpec {
    mqtt_spec_of(url, terms, MqttVersion::V5)
}

fn mqtt_spec_of(url: &str, terms: HubTerms, version: MqttVersion) -> SinkSpec {
    let options = MqttOptions {
        version,
        way_back: Some(WayBack {
            receipts: mqtt::DEFAULT_RECEIPTS.into(),
            tails: mqtt::DEFAULT_TAILS.into(),
        }),
        ..options_for(url)
    };
    SinkSpec {
        hub: Some(terms),
        ..SinkSpec::new(HUB, sink(options))
    }
}

fn nats_spec(server: &NatsServer, terms: HubTerms) -> SinkSpec {
    let options = NatsOptions {
        servers: vec![Secret::new(server.url())],
        way_back: Some(WayBack {
            receipts: nats::DEFAULT_RECEIPTS.into(),
            tails: nats::DEFAULT_TAILS.into(),
        }),
        ..NatsOptions::default()
    };
    SinkSpec {
        hub: Some(terms),
        ..SinkSpec::new(HUB, Sink::Nats(NatsSink::new(options).unwrap()))
    }
}

fn hub_of(kiosk: &Kiosk) -> HubStatus {
    kiosk.sink(HUB).hub.expect("its key is known")
}

fn wait_until_confirmed(kiosk: &Kiosk, upto: u64) -> HubStatus {
    let confirmed = |hub: &HubStatus| hub.confirmed.get() >= upto;
    let sink = kiosk.wait_for(HUB, |sink| sink.hub.as_ref().is_some_and(confirmed));
    sink.hub.unwrap()
}

fn first_held(kiosk: &Kiosk) -> u64 {
    kiosk.outbox.status().borrow().journal.first_held.get()
}

/// Waits until what was said has surely been heard: nothing tells where it changes nothing.
fn let_it_be_heard() {
    sleep(Duration::from_millis(700));
}

#[test]
fn what_no_receipt_covers_is_kept_and_false_receipts_cover_nothing() {
    for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
        let server = MosquittoServer::start();
        let mut kiosk = Kiosk::new(NAME);
        let mut hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
        let mut at_broker = AtMqtt::new(&server.url());
        kiosk.forward(vec![mqtt_spec_of(
            &server.url(),
            terms(&hub, Confirm::Hub),
            version,
        )]);
        let tail = kiosk.append(1..=3_000);
        kiosk.wait_until_delivered(HUB, tail);
        at_broker.events.wait_for(3_001);
        at_broker.listen(&mut hub);
        // Each commit would trim what it may.
        kiosk.append_some(1);
        assert_eq!(
            (first_held(&kiosk), hub_of(&kiosk).confirmed),
            (1, Seq::NONE)
        );
        assert!(hub_of(&kiosk).waiting_since.is_some());

        hub.generation = 10;
        at_broker.say(&hub, &hub.receipt_to(1_500));
        assert_eq!(
            wait_until_confirmed(&kiosk, 1_500).confirmed,
            Seq::new(1_500)
        );
        hub.generation = 20;
        let all = hub.receipt_to(3_000);
        let forger = DeviceKey::generate().unwrap();
        at_broker.publish(&all, &all.sign(&forger).unwrap());
        let mut bent = all.sign(&hub.key).unwrap();
        bent[100] ^= 1;
        at_broker.publish(&all, &bent);
        at_broker.publish(&all, b"no receipt");
        for false_one in [
            Receipt {
                device: "kiosk-2".parse().unwrap(),
                ..all.clone()
            },
            Receipt {
                generation: 9,
                ..all.clone()
            },
            Receipt {
                hub: Uuid::from_u64_pair(0, 1),
                ..all.clone()
            },
        ] {
            at_broker.say(&hub, &false_one);
        }
        let_it_be_heard();
        assert_eq!(hub_of(&kiosk).confirmed, Seq::new(1_500));
        kiosk.append_some(1);
        let first = first_held(&kiosk);
        assert!((1_025..=1_501).contains(&first), "{first}");
        assert_eq!(hub_of(&kiosk).tampering, None);

        // What was confirmed outlives the program, and the receipt is not needed again.
        at_broker.publish(&all, b"");
        kiosk.start_again();
        kiosk.forward(vec![mqtt_spec(&server.url(), terms(&hub, Confirm::Hub))]);
        let confirmed = |sink: &edge_outbox::status::SinkStatus| sink.hub.is_some();
        let status = kiosk.wait_for(HUB, confirmed).hub.unwrap();
        assert_eq!(
            (status.confirmed, status.last_receipt),
            (Seq::new(1_500), None)
        );
        at_broker.say(&hub, &all);
        wait_until_confirmed(&kiosk, 3_000);
    }
}

#[test]
fn a_large_message_where_receipts_come_keeps_no_device_away() {
    for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
        let server = MosquittoServer::start();
        let mut kiosk = Kiosk::new(NAME);
        let mut hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
        let mut at_broker = AtMqtt::new(&server.url());
        // Retained, so that it comes with each connection.
        hub.epoch = Some(Epoch::from_uuid(Uuid::new_v4()));
        at_broker.publish(&hub.receipt_to(0), &vec![0; 100_000]);
        let terms = terms(&hub, Confirm::Hub);
        kiosk.forward(vec![mqtt_spec_of(&server.url(), terms, version)]);
        let tail = kiosk.append(1..=10);
        kiosk.wait_until_delivered(HUB, tail);
        at_broker.events.wait_for(11);
        at_broker.step(&mut hub);
        wait_until_confirmed(&kiosk, tail.get());
    }
}

#[test]
fn what_a_broker_lost_over_mqtt_comes_again_and_nothing_else_does() {
    let mut server = MosquittoServer::start();
    let mut kiosk = Kiosk::new(NAME);
    let mut hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
    let mut at_broker = AtMqtt::new(&server.url());
    kiosk.forward(vec![mqtt_spec(&server.url(), terms(&hub, Confirm::Hub))]);
    kiosk.append(1..=2_000);
    at_broker.events.wait_for(2_001);
    at_broker.step(&mut hub);
    wait_until_confirmed(&kiosk, 2_001);

    // The broker takes these for a hub that is away, and loses them.
    drop(at_broker);
    let tail = kiosk.append_some(3_000);
    kiosk.wait_until_delivered(HUB, tail);
    server.kill();
    server.start_again();
    let mut at_broker = AtMqtt::new(&server.url());
    let last = kiosk.append_some(500).get();
    let began = Instant::now();
    while hub_of(&kiosk).confirmed.get() < last {
        assert!(began.elapsed() < LIMIT, "{:#?}", kiosk.sink(HUB));
        at_broker.step(&mut hub);
        sleep(POLL);
    }
    assert_eq!(hub.complete_to(), last);
    let repeated = hub.events.values().filter(|(_, times)| *times > 1).count();
    assert!(repeated <= 500, "{repeated} came twice");
    let resent = hub_of(&kiosk).resent;
    // On a machine that is busy the hub may be slower than it gives the device to wait.
    assert!((3_000..=7_000).contains(&resent), "{resent}");
}

/// A hub that listens at a NATS server.
struct AtNats {
    url: String,
    runtime: tokio::runtime::Runtime,
    next: u64,
    last_tail: Vec<u8>,
}

impl AtNats {
    fn new(server: &NatsServer) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            url: server.url(),
            runtime: runtime.enable_all().build().unwrap(),
            next: 1,
            last_tail: Vec::new(),
        }
    }

    /// Makes the streams, as after the server's storage was wiped.
    fn create_streams(&mut self, server: &NatsServer) {
        self.next = 1;
        self.runtime.block_on(async {
            let jetstream = server.jetstream().await;
            let kept = Config {
                name: "EDUPULSE_HUB".into(),
                subjects: vec!["edupulse.receipts.*.*".into(), "edupulse.tails.*".into()],
                max_messages_per_subject: 1,
                allow_direct: true,
                storage: StorageType::File,
                ..Config::default()
            };
            jetstream.create_stream(events_stream()).await.unwrap();
            jetstream.create_stream(kept).await.unwrap();
        });
    }

    /// Takes what has come, and answers where anything has.
    fn step(&mut self, hub: &mut ActingHub) {
        let url = self.url.clone();
        let (events, tail) = self.runtime.block_on(async {
            let client = async_nats::connect(url).await.unwrap();
            let jetstream = async_nats::jetstream::new(client);
            let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
            let last = stream.info().await.unwrap().state.last_sequence;
            let mut events = Vec::new();
            for position in self.next..=last {
                let message = stream.get_raw_message(position).await.unwrap();
                events.push(message.payload);
            }
            self.next = last + 1;
            let kept = jetstream.get_stream("EDUPULSE_HUB").await.unwrap();
            let subject = format!("edupulse.tails.{NAME}");
            let tail = kept.get_last_raw_message_by_subject(&subject).await.ok();
            (events, tail.map(|tail| tail.payload.to_vec()))
        });
        let tail = tail.filter(|tail| *tail != self.last_tail);
        for event in &events {
            hub.take(event);
        }
        if let Some(tail) = &tail {
            hub.take_tail(tail);
            self.last_tail.clone_from(tail);
        }
        if tail.is_some() || !events.is_empty() {
            let receipt = hub.receipt();
            self.say(hub, &receipt);
        }
    }

    fn say(&self, hub: &ActingHub, receipt: &Receipt) {
        let message = receipt.sign(&hub.key).unwrap();
        let subject = format!("edupulse.receipts.{NAME}.{}", receipt.epoch);
        self.runtime.block_on(async {
            let client = async_nats::connect(&self.url).await.unwrap();
            let jetstream = async_nats::jetstream::new(client);
            let stored = jetstream.publish(subject, message.into()).await.unwrap();
            stored.await.unwrap();
        });
    }
}

#[test]
fn what_a_stream_lost_comes_again_though_the_device_was_away_when_the_receipt_came() {
    let mut server = NatsServer::start();
    let mut kiosk = Kiosk::new(NAME);
    let mut hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
    let mut at_server = AtNats::new(&server);
    at_server.create_streams(&server);
    kiosk.forward(vec![nats_spec(&server, terms(&hub, Confirm::Hub))]);
    let tail = kiosk.append(1..=1_000);
    kiosk.wait_until_delivered(HUB, tail);
    kiosk.stop_forwarding();
    at_server.step(&mut hub);
    assert_eq!(hub_of(&kiosk).confirmed, Seq::NONE);
    // The stream has kept it.
    kiosk.forward(vec![nats_spec(&server, terms(&hub, Confirm::Hub))]);
    wait_until_confirmed(&kiosk, tail.get());

    let tail = kiosk.append_some(2_000);
    kiosk.wait_until_delivered(HUB, tail);
    server.stop();
    fs::remove_dir_all(server.dir().join("store")).unwrap();
    server.start_again();
    at_server.create_streams(&server);
    let last = kiosk.append_some(500).get();
    let began = Instant::now();
    while hub_of(&kiosk).confirmed.get() < last {
        assert!(began.elapsed() < LIMIT, "{:#?}", kiosk.sink(HUB));
        at_server.step(&mut hub);
        sleep(POLL);
    }
    assert_eq!(hub.complete_to(), last);
    let resent = hub_of(&kiosk).resent;
    assert!((2_000..=5_000).contains(&resent), "{resent}");
}

#[test]
fn a_stream_of_receipts_that_does_not_answer_holds_up_no_event() {
    let server = NatsServer::start();
    let mut kiosk = Kiosk::new(NAME);
    let hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
    let at_server = AtNats::new(&server);
    let _silent = at_server.runtime.block_on(async {
        let jetstream = server.jetstream().await;
        jetstream.create_stream(events_stream()).await.unwrap();
        let client = async_nats::connect(&at_server.url).await.unwrap();
        let question = "$JS.API.DIRECT.GET.EDUPULSE_HUB";
        let questions = client.subscribe(question).await.unwrap();
        client.flush().await.unwrap();
        (client, questions)
    });
    kiosk.forward(vec![nats_spec(&server, terms(&hub, Confirm::Hub))]);
    let tail = kiosk.append(1..=10);
    kiosk.wait_until_delivered(HUB, tail);
}

#[test]
fn a_hub_restored_from_a_copy_is_sent_what_it_lacks_and_told_what_is_trimmed() {
    let server = NatsServer::start();
    let mut kiosk = Kiosk::new(NAME);
    let mut hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
    let mut at_server = AtNats::new(&server);
    at_server.create_streams(&server);
    kiosk.forward(vec![nats_spec(&server, terms(&hub, Confirm::Hub))]);
    let tail = kiosk.append(1..=3_000);
    kiosk.wait_until_delivered(HUB, tail);
    at_server.step(&mut hub);
    wait_until_confirmed(&kiosk, tail.get());
    let last = kiosk.append_some(1);
    kiosk.wait_until_delivered(HUB, last);
    at_server.step(&mut hub);
    let first = first_held(&kiosk);
    assert!(first > 1_024, "{first}");

    // The copy is of an early hour. How far the journal goes the hub is told by the next tail.
    hub.generation += 900;
    let old_mail = hub.receipt_to(last.get());
    hub.life = 2;
    hub.generation = 0;
    hub.tail = last.get();
    let lost: Vec<u64> = hub
        .events
        .keys()
        .copied()
        .filter(|seq| *seq > 500)
        .collect();
    for seq in &lost {
        hub.events.remove(seq);
    }
    let receipt = hub.receipt();
    at_server.say(&hub, &receipt);
    let back = |hub: &HubStatus| hub.confirmed.get() == first - 1;
    kiosk.wait_for(HUB, |sink| sink.hub.as_ref().is_some_and(back));
    let began = Instant::now();
    // The duplicate window of the stream swallows what is sent again. So the hub reads the stream
    // anew, which is what a restored one does, and knows by the ledger what will not come.
    let declared = || -> Option<(u64, u64)> {
        let envelopes = hub_events(&kiosk, "outbox.sink_skipped.v1");
        let payload: serde_json::Value = serde_json::from_str(envelopes.last()?).unwrap();
        let range = &payload["range"];
        Some((range["first"].as_u64()?, range["last"].as_u64()?))
    };
    while declared().is_none() {
        assert!(began.elapsed() < LIMIT, "{:#?}", kiosk.sink(HUB));
        let receipt = hub.receipt();
        at_server.say(&hub, &receipt);
        sleep(POLL * 4);
    }
    assert_eq!(declared(), Some((501, first - 1)));
    assert!(hub_of(&kiosk).resent > 0);
    // An earlier life speaks again: a copy of the copy's past, or old mail.
    at_server.say(&hub, &old_mail);
    let_it_be_heard();
    assert_eq!(hub_of(&kiosk).confirmed.get(), first - 1);
}

/// The payloads of all events of this type that are held.
fn hub_events(kiosk: &Kiosk, event_type: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut events = kiosk.outbox.events(Seq::FIRST);
    let mut found = Vec::new();
    while let Some(lines) = runtime.block_on(events.next_chunk()).unwrap() {
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let json: serde_json::Value = serde_json::from_slice(line).unwrap();
            if json["event_type"] == event_type {
                found.push(json["payload"].to_string());
            }
        }
    }
    found
}

#[test]
fn a_digest_that_is_not_ours_is_shown_and_begins_an_epoch_and_confirms_nothing() {
    let server = MosquittoServer::start();
    let mut kiosk = Kiosk::new(NAME);
    let mut hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
    let mut at_broker = AtMqtt::new(&server.url());
    kiosk.forward(vec![mqtt_spec(&server.url(), terms(&hub, Confirm::Hub))]);
    let tail = kiosk.append(1..=100);
    kiosk.wait_until_delivered(HUB, tail);
    at_broker.events.wait_for(101);
    at_broker.listen(&mut hub);
    let epoch = || kiosk.outbox.status().borrow().epoch.clone();
    let before = epoch();
    hub.generation = 5;
    let other = Receipt {
        digest: hub.receipt_to(61).digest,
        ..hub.receipt_to(60)
    };
    at_broker.say(&hub, &other);
    let told = |hub: &HubStatus| hub.tampering.is_some();
    let status = kiosk.wait_for(HUB, |sink| sink.hub.as_ref().is_some_and(told));
    let tampering = status.hub.unwrap().tampering.unwrap();
    assert!(
        tampering.contains("at seq 60") && tampering.contains(&before),
        "{tampering}"
    );
    let began = Instant::now();
    while epoch() == before {
        assert!(began.elapsed() < LIMIT);
        sleep(POLL);
    }
    assert_eq!(hub_of(&kiosk).confirmed, Seq::NONE);
}

#[test]
fn a_hub_whose_word_does_not_count_is_looked_at_and_nothing_is_sent_for_it() {
    let server = MosquittoServer::start();
    let mut kiosk = Kiosk::new(NAME);
    let mut hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
    let mut at_broker = AtMqtt::new(&server.url());
    kiosk.forward(vec![mqtt_spec(&server.url(), terms(&hub, Confirm::Ack))]);
    let tail = kiosk.append(1..=2_000);
    kiosk.wait_until_delivered(HUB, tail);
    // Every commit lets some of what was acknowledged go.
    let mut appended = 2_000;
    let began = Instant::now();
    while first_held(&kiosk) <= 1_024 {
        assert!(began.elapsed() < LIMIT, "{}", first_held(&kiosk));
        kiosk.append_some(1);
        appended += 1;
        sleep(POLL);
    }
    at_broker.events.wait_for(appended + 1);
    at_broker.listen(&mut hub);
    for seq in 1_900..=1_950 {
        hub.events.remove(&seq);
    }
    for _ in 0..4 {
        let receipt = hub.receipt();
        at_broker.say(&hub, &receipt);
        sleep(RESEND_AFTER / 2);
    }
    let status = hub_of(&kiosk);
    assert_eq!((status.missing, status.resent), (51, 0));
    assert!(!status.confirms && status.waiting_since.is_none());
}

#[test]
fn a_sink_without_a_way_back_cannot_be_confirmed_by_a_hub() {
    let kiosk = Kiosk::new(NAME);
    let hub = ActingHub::new(NAME, kiosk.outbox.public_key().clone());
    let store = MemoryStore::new();
    let spec = SinkSpec {
        hub: Some(terms(&hub, Confirm::Hub)),
        ..SinkSpec::new(HUB, Sink::Memory(MemorySink::new(store)))
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let forwarder = Forwarder::new(kiosk.outbox.clone(), vec![spec]);
    let error = runtime.block_on(forwarder.drain(LIMIT)).unwrap_err();
    assert!(matches!(error, ForwardError::NoWayBack { name } if name == HUB));
}

/// The daemon is killed while the broker loses what it took, three times over.
#[test]
fn a_device_that_is_killed_again_and_again_brings_everything_to_the_hub() {
    let mut server = MosquittoServer::start();
    let home = Home::new();
    let config = |key: &str| {
        format!(
            "[device]\nname = \"{NAME}\"\nhub_key = \"{key}\"\n[sinks.{HUB}]\ntype = \"mqtt\"\n\
             servers = [\"{}\"]\nresend_after = \"1 s\"\nstart_jitter = \"0 s\"\n",
            server.url()
        )
    };
    let key = DeviceKey::generate().unwrap();
    home.write_config(&config(&key.public_key().to_string()));
    let mut daemon = home.daemon();
    let device_key = home.status()["public_key"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut hub = ActingHub::new(NAME, device_key);
    hub.key = key;
    let append = |count: usize| {
        let lines: String = (0..count).map(support::program::line).collect();
        home.run_with(&["append"], lines);
    };
    for round in 0..3 {
        let mut at_broker = AtMqtt::new(&server.url());
        append(400);
        for _ in 0..10 {
            at_broker.step(&mut hub);
            sleep(POLL);
        }
        drop(at_broker);
        append(400 + round * 100);
        sleep(POLL * 4);
        Daemon::kill(daemon);
        server.kill();
        server.start_again();
        daemon = home.daemon();
    }
    let mut at_broker = AtMqtt::new(&server.url());
    append(10);
    let began = Instant::now();
    loop {
        at_broker.step(&mut hub);
        let status = home.status();
        let sink = &status["sinks"][HUB];
        let confirmed = sink["hub"]["confirmed"].as_u64();
        if confirmed.is_some() && confirmed == status["tail"].as_u64() {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{status:#}");
        sleep(POLL * 4);
    }
    let tail = home.status()["tail"].as_u64().unwrap();
    assert!(tail > 2_400 && hub.complete_to() == tail, "{tail}");
    daemon.stop();
}
