//! What devices are told by a hub, over NATS and over MQTT, and what their tails are good for.

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::Context;
use edge_outbox::{DeviceKey, PublicKey, Seq, envelope::Digest, receipt::Receipt, seq::SeqRange};
use rumqttc::v5::{AsyncClient, MqttOptions, mqttbytes::QoS};
use support::{
    chained_device::{ChainedDevice, Sealed},
    hub::{database, gaps},
    hub_program::HubHome,
    mosquitto::MosquittoServer,
    nats_server::NatsServer,
    subscriber::Subscriber,
};
use tokio::runtime::Runtime;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

fn ranges(missing: &[(u64, u64)]) -> Vec<SeqRange> {
    let range = |(first, last): &(u64, u64)| SeqRange::new(Seq::new(*first), Seq::new(*last));
    missing.iter().filter_map(range).collect()
}

/// A hub's home with its key, and one that also waits for each device to be registered.
fn home(
    database: &support::postgres_server::PostgresServer,
    sections: &str,
) -> (HubHome, PublicKey) {
    let hub = HubHome::new("hub", database, sections);
    let said = hub.ok(&["key"]);
    let key = said
        .lines()
        .find_map(|line| line.strip_prefix("public key  "));
    let key: PublicKey = key.unwrap().parse().unwrap();
    let mode = "600";
    for name in ["hub.pem", "erasure.key"] {
        let stat = Command::new("stat")
            .args(["-c", "%a"])
            .arg(hub.path(name))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(stat.stdout).unwrap().trim(),
            mode,
            "{name}"
        );
    }
    let pem = DeviceKey::load(&hub.path("hub.pem")).unwrap();
    assert_eq!(pem.public_key(), key);
    (hub, key)
}

/// Waits for a receipt that says as much; none may ever say less than one before it.
#[track_caller]
fn wait_for(
    key: &PublicKey,
    what: &str,
    mut last: impl FnMut() -> Option<Vec<u8>>,
    wanted: impl Fn(&Receipt) -> bool,
) -> Receipt {
    let deadline = Instant::now() + LIMIT;
    let mut before: Option<Receipt> = None;
    loop {
        if let Some(message) = last() {
            let receipt = Receipt::verify(&message, key).unwrap();
            if let Some(before) = &before {
                assert!(
                    receipt.generation >= before.generation,
                    "{receipt:?} after {before:?}"
                );
                assert!(receipt.accounted_to >= before.accounted_to);
            }
            if wanted(&receipt) {
                return receipt;
            }
            before = Some(receipt);
        }
        assert!(
            Instant::now() < deadline,
            "no receipt for {what}: the last is {before:?}"
        );
        thread::sleep(POLL);
    }
}

async fn publish(context: &Context, subject: String, body: Vec<u8>) {
    context
        .publish(subject, body.into())
        .await
        .unwrap()
        .await
        .unwrap();
}

async fn send(context: &Context, device: &ChainedDevice, events: &[Sealed]) {
    for event in events {
        let subject = format!("edupulse.events.{}.quiz.submitted.v1", device.name.as_str());
        publish(context, subject, event.wire.clone()).await;
    }
}

#[test]
fn over_nats_a_device_learns_what_is_safe_what_is_missing_and_what_nobody_ever_had() {
    let runtime = Runtime::new().unwrap();
    let nats = NatsServer::start();
    let (server, context) = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        (database().await, nats.jetstream().await)
    });
    let source = format!(
        "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nack_wait = \"2 s\"\n",
        nats.url()
    );
    let (mut hub, key) = home(&server, &source);
    let process = hub.start();

    let mut device = ChainedDevice::new("kiosk-1");
    let first = device.journal(9);
    let held = device.quizzes(2);
    let (epoch, head) = (device.epoch, device.head);
    runtime.block_on(send(&context, &device, &first));
    let last = |device: &ChainedDevice| {
        let subject = format!(
            "edupulse.receipts.{}.{}",
            device.name.as_str(),
            device.epoch
        );
        let context = context.clone();
        runtime.block_on(async move {
            let stream = context.get_stream("EDUPULSE_HUB").await.ok()?;
            let message = stream.direct_get_last_for_subject(subject).await.ok()?;
            Some(message.payload.to_vec())
        })
    };
    let told = wait_for(
        &key,
        "ten events",
        || last(&device),
        |receipt| receipt.accounted_to == Seq::new(10),
    );
    assert_eq!(
        (told.device.clone(), told.epoch),
        (device.name.clone(), epoch)
    );
    assert_eq!((told.digest, told.quarantined), (first[9].digest, 0));
    assert_eq!(told.missing, []);

    // A tail shows what is withheld, and asks for it.
    let tails = String::from("edupulse.tails.kiosk-1");
    runtime.block_on(publish(&context, tails.clone(), device.tail()));
    let told = wait_for(
        &key,
        "a tail",
        || last(&device),
        |it| !it.missing.is_empty(),
    );
    assert_eq!(
        (told.accounted_to, told.digest),
        (Seq::new(10), first[9].digest)
    );
    assert_eq!(told.missing, ranges(&[(11, 12)]));
    let client = runtime.block_on(server.connect());
    assert_eq!(runtime.block_on(gaps(&client)), ["kiosk-1 11 12"]);

    // The hole in the midst is named, and closed by what comes late.
    let more = device.quizzes(3);
    runtime.block_on(send(&context, &device, &[more[0].clone(), more[2].clone()]));
    let wanted = ranges(&[(11, 12), (14, 14)]);
    wait_for(
        &key,
        "two holes",
        || last(&device),
        |it| it.missing == wanted,
    );
    runtime.block_on(send(&context, &device, &held));
    let told = wait_for(
        &key,
        "one hole",
        || last(&device),
        |it| it.accounted_to == Seq::new(13),
    );
    assert_eq!(told.digest, more[0].digest);
    assert_eq!(told.missing, ranges(&[(14, 14)]));
    assert_ne!(told.digest, head);
    runtime.block_on(send(&context, &device, &more[1..2]));
    let told = wait_for(
        &key,
        "the end",
        || last(&device),
        |it| it.missing.is_empty(),
    );
    assert_eq!(
        (told.accounted_to, told.digest),
        (Seq::new(15), device.head)
    );

    // A repeat is answered as what is new: its device has not heard.
    let generation = told.generation;
    runtime.block_on(send(&context, &device, &first[..1]));
    wait_for(
        &key,
        "a repeat",
        || last(&device),
        |it| it.generation > generation,
    );

    // Each tail is answered anew, whether there is news or not: a device sends what is missing again
    // only once a later receipt still names it.
    let mut generation = last(&device)
        .map(|message| Receipt::verify(&message, &key).unwrap().generation)
        .unwrap();
    for _ in 0..2 {
        runtime.block_on(publish(&context, tails.clone(), device.tail()));
        let told = wait_for(
            &key,
            "a tail without news",
            || last(&device),
            |it| it.generation > generation,
        );
        assert_eq!(told.accounted_to, Seq::new(15));
        generation = told.generation;
    }

    // Of an epoch that nothing is held of, all is missing. The key has to be the device's.
    let mut wiped = device.clone();
    wiped.new_epoch("recovered", 0);
    wiped.quizzes(4);
    runtime.block_on(publish(&context, tails.clone(), wiped.tail()));
    let told = wait_for(&key, "a wiped broker", || last(&wiped), |_| true);
    assert_eq!((told.accounted_to, told.digest), (Seq::NONE, Digest::ZERO));
    assert_eq!(told.missing, ranges(&[(1, 20)]));
    let mut stranger = ChainedDevice::new("kiosk-1");
    stranger.journal(3);
    runtime.block_on(publish(&context, tails.clone(), stranger.tail()));
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(last(&stranger), None);
    assert_eq!(process.stop().0, Some(0));
}

#[test]
fn over_mqtt_the_last_receipt_waits_for_its_device_and_a_tail_is_answered() {
    let runtime = Runtime::new().unwrap();
    let mosquitto = MosquittoServer::with("max_inflight_messages 1000\nallow_anonymous true");
    let server = runtime.block_on(database());
    let source = format!(
        "[sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nclient_id = \"hub-a\"\n",
        mosquitto.url()
    );
    let (mut hub, key) = home(&server, &source);
    let mut device = ChainedDevice::new("kiosk-1");
    let events = device.journal(20);
    let withheld = device.quizzes(2);
    let publisher = runtime.block_on(async {
        let mut options = MqttOptions::new("device", "127.0.0.1", mosquitto.port());
        options.set_max_packet_size(Some(1 << 20));
        let (client, mut connection) = AsyncClient::new(options, 100);
        tokio::spawn(async move { while connection.poll().await.is_ok() {} });
        client
    });
    // A tail from before the hub was there is kept by the broker, and taken.
    let publish = |topic: String, retain, body: Vec<u8>| {
        let sent = publisher.publish(topic, QoS::AtLeastOnce, retain, body);
        runtime.block_on(sent).unwrap();
    };
    let process = hub.start();
    let topic = "edupulse/events/kiosk-1/quiz.submitted.v1";
    let deadline = Instant::now() + LIMIT;
    while !mosquitto.log().contains("hub-a") {
        assert!(Instant::now() < deadline, "the hub does not come");
        thread::sleep(POLL);
    }
    thread::sleep(Duration::from_millis(500));
    for event in &events {
        publish(topic.into(), false, event.wire.clone());
    }
    let filter = format!("edupulse/receipts/kiosk-1/{}", device.epoch);
    let last = || {
        // Asked anew each time, as a device does that was away: what it gets was retained.
        let subscriber = Subscriber::start(&mosquitto.url(), &filter);
        thread::sleep(Duration::from_millis(200));
        let messages = subscriber.messages();
        messages.last().map(|message| message.payload.to_vec())
    };
    let told = wait_for(&key, "the events", last, |it| {
        it.accounted_to == Seq::new(21)
    });
    assert_eq!(told.digest, events[20].digest);
    publish("edupulse/tails/kiosk-1".into(), true, device.tail());
    let told = wait_for(&key, "a tail", last, |it| !it.missing.is_empty());
    assert_eq!(told.missing, ranges(&[(22, 23)]));
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");

    // What comes while no hub is there waits in its session, and the tail is retained.
    for event in &withheld {
        publish(topic.into(), false, event.wire.clone());
    }
    let process = hub.start();
    let told = wait_for(&key, "what waited", last, |it| it.missing.is_empty());
    assert_eq!(
        (told.accounted_to, told.digest),
        (Seq::new(23), device.head)
    );

    // And what is watched agrees.
    let log = process.log();
    let at = log.split("listening=").nth(1).unwrap();
    let at = at.split_whitespace().next().unwrap().to_owned();
    let page = get(&at, "/metrics");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    let (_, page) = page.split_once("\r\n\r\n").unwrap();
    for sample in [
        "edge_outbox_hub_events_stored_total{source=\"mqtt\"} 2\n",
        "edge_outbox_hub_source_connected{source=\"mqtt\"} 1\n",
        "edge_outbox_hub_messages_quarantined_total{source=\"mqtt\",reason=\"forged\"} 0\n",
        "edge_outbox_hub_devices 1\n",
    ] {
        assert!(page.contains(sample), "{sample} in {page}");
    }
    check_metrics(page);
    let health = get(&at, "/healthz");
    assert!(
        health.ends_with("{\"sources\":{\"mqtt\":\"ok\"},\"status\":\"ok\"}"),
        "{health}"
    );
    assert!(get(&at, "/").starts_with("HTTP/1.1 404 "));
    drop(mosquitto);
    let deadline = Instant::now() + LIMIT;
    while !get(&at, "/healthz").starts_with("HTTP/1.1 503 ") {
        assert!(Instant::now() < deadline, "it does not notice");
        thread::sleep(POLL);
    }
    assert!(get(&at, "/healthz").contains("{\"mqtt\":\"source away\"}"));
    assert_eq!(process.stop().0, Some(0));
}

/// What waited in quarantine for something that another source brought is told of where it came from.
#[test]
fn what_comes_out_of_quarantine_is_told_of_the_way_that_it_came() {
    let runtime = Runtime::new().unwrap();
    let (nats, mosquitto) = (NatsServer::start(), MosquittoServer::start());
    let (server, context) = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        (database().await, nats.jetstream().await)
    });
    let sources = format!(
        "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\n\
         [sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nclient_id = \"hub-a\"\n",
        nats.url(),
        mosquitto.url()
    );
    let (mut hub, key) = home(&server, &sources);
    let process = hub.start();
    let deadline = Instant::now() + LIMIT;
    while !mosquitto.log().contains("hub-a") {
        assert!(Instant::now() < deadline, "the hub does not come");
        thread::sleep(POLL);
    }
    thread::sleep(Duration::from_millis(500));
    let mut device = ChainedDevice::new("kiosk-1");
    let events = device.journal(3);
    runtime.block_on(async {
        let options = MqttOptions::new("device", "127.0.0.1", mosquitto.port());
        let (publisher, mut connection) = AsyncClient::new(options, 100);
        tokio::spawn(async move { while connection.poll().await.is_ok() {} });
        for event in &events[1..] {
            let topic = "edupulse/events/kiosk-1/quiz.submitted.v1";
            let sent = publisher.publish(topic, QoS::AtLeastOnce, false, event.wire.clone());
            sent.await.unwrap();
        }
    });
    let listed = ["quarantine", "list", "--json"];
    while !hub.ok(&listed).contains("\"seq\": 4") {
        assert!(Instant::now() < deadline, "nothing is set aside");
        thread::sleep(POLL);
    }
    runtime.block_on(send(&context, &device, &events[..1]));
    let filter = format!("edupulse/receipts/kiosk-1/{}", device.epoch);
    let last = || {
        let subscriber = Subscriber::start(&mosquitto.url(), &filter);
        thread::sleep(Duration::from_millis(200));
        let messages = subscriber.messages();
        messages.last().map(|message| message.payload.to_vec())
    };
    let told = wait_for(&key, "all of it", last, |it| it.accounted_to == Seq::new(4));
    assert_eq!((told.digest, told.quarantined), (device.head, 0));
    assert_eq!(process.stop().0, Some(0));
}

/// More receipts at once than wait for a connection: what there is no room for stays due, and the
/// acknowledgements keep theirs.
#[test]
fn receipts_that_a_slow_broker_does_not_take_wait_and_end_no_connection() {
    const DEVICES: usize = 500;
    const EPOCHS: usize = 8;
    let runtime = Runtime::new().unwrap();
    let mut mosquitto = MosquittoServer::with("max_inflight_messages 1000\nallow_anonymous true");
    let server = runtime.block_on(database());
    let source = format!(
        "[sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nclient_id = \"hub-a\"\n",
        mosquitto.url()
    );
    let (mut hub, _) = home(&server, &source);
    let process = hub.start();
    let deadline = Instant::now() + LIMIT;
    while !mosquitto.log().contains("hub-a") {
        assert!(Instant::now() < deadline, "the hub does not come");
        thread::sleep(POLL);
    }
    // Devices that share a key, which keeps the test short, each with epochs that it is told of.
    let mut device = ChainedDevice::new("kiosk-0");
    device.journal(3);
    let client = runtime.block_on(async {
        let client = server.connect().await;
        let public_key = device.public_key();
        let (id, key) = (public_key.id(), public_key.as_bytes());
        let hex = |bytes: &[u8]| -> String {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let (id, key) = (hex(id.as_bytes()), hex(key));
        let statements = format!(
            "set search_path to edge_outbox_hub; \
             insert into devices (device, added_by) \
             select 'kiosk-' || n, 'operator' from generate_series(1, {DEVICES}) n; \
             insert into device_keys (device, key_id, public_key, added_by) \
             select device, '\\x{id}', '\\x{key}', 'operator' from devices; \
             insert into epochs (device, epoch, key_id) \
             select device, '{}', '\\x{id}' from devices; \
             insert into epochs (device, epoch, key_id) \
             select device, gen_random_uuid(), '\\x{id}' from devices, generate_series(2, {EPOCHS})",
            device.epoch
        );
        client.batch_execute(&statements).await.unwrap();
        let lock = "begin; lock table edge_outbox_hub.epochs in access exclusive mode";
        client.batch_execute(lock).await.unwrap();
        client
    });
    let told = Subscriber::start(&mosquitto.url(), "edupulse/receipts/#");
    runtime.block_on(async {
        let mut options = MqttOptions::new("devices", "127.0.0.1", mosquitto.port());
        options.set_max_packet_size(Some(1 << 20));
        let (publisher, mut connection) = AsyncClient::new(options, DEVICES);
        tokio::spawn(async move { while connection.poll().await.is_ok() {} });
        for n in 1..=DEVICES {
            device.name = format!("kiosk-{n}").parse().unwrap();
            let topic = format!("edupulse/tails/{}", device.name.as_str());
            let sent = publisher.publish(topic, QoS::AtLeastOnce, true, device.tail());
            sent.await.unwrap();
        }
    });
    thread::sleep(Duration::from_secs(2));
    mosquitto.freeze();
    runtime.block_on(client.batch_execute("rollback")).unwrap();
    thread::sleep(Duration::from_secs(5));
    mosquitto.thaw();
    let deadline = Instant::now() + LIMIT;
    loop {
        let messages = told.messages();
        let chains: BTreeSet<&str> = messages.iter().map(|it| it.topic.as_str()).collect();
        if chains.len() == DEVICES * EPOCHS {
            break;
        }
        let log = process.log();
        assert!(
            Instant::now() < deadline,
            "{} chains are told of: {log}",
            chains.len()
        );
        thread::sleep(POLL);
    }
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("source mqtt: "), "{log}");
}

fn get(at: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn check_metrics(page: &str) {
    let provided = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    let path = std::env::var_os("EDGE_OUTBOX_PROMTOOL").map_or(provided, PathBuf::from);
    let mut check = Command::new(path)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let checked = check.wait_with_output().unwrap();
    let said = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(checked.status.success() && said.is_empty(), "{said}");
}
