//! What events, devices and what they are told cost a hub: bytes in its tables and at its brokers,
//! connections, rows that are read. `docs/hub.md` counts a fleet with these figures, which are the lines
//! printed here:
//!
//!     EDGE_OUTBOX_HUB_EVENTS=20000 EDGE_OUTBOX_HUB_DEVICES=100000 \
//!         cargo test --features hub --test hub_size -- --nocapture --test-threads=1
//!
//! As it stands it takes a minute, and checks that they are what the page counts with.

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    Context,
    stream::{Config, DiscardPolicy},
};
use edge_outbox::{
    DeviceKey,
    envelope::{Digest, Epoch},
    forwarder::{Confirm, HubTerms, SinkSpec},
    receipt::Receipt,
    secret::Secret,
    seq::Seq,
    sink::{
        Sink, WayBack,
        nats::{DEFAULT_RECEIPTS, DEFAULT_TAILS, NatsOptions, NatsSink},
    },
    tail::Tail,
};
use rumqttc::v5;
use support::{
    chained_device::{ChainedDevice, Draft, Sealed},
    hub::{database_with, number},
    hub_program::{HubHome, HubProcess},
    kiosk::Kiosk,
    mosquitto::MosquittoServer,
    nats_server::NatsServer,
    postgres_server::PostgresServer,
    subscriber::address,
};
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use uuid::Uuid;

/// What is asked for where nothing else is.
const EVENTS: u64 = 2_000;
const DEVICES: u64 = 4_000;
/// Events of each device of a fleet, twice.
const ROUNDS: u64 = 5;
/// Devices that send.
const SENDERS: u64 = 4;
/// Messages that are on their way to a broker at a time.
const IN_FLIGHT: usize = 1_000;
/// How often a hub looks after its tables, at most.
const ROUND: Duration = Duration::from_secs(16);
/// After how long Postgres tells what its sessions have counted, and some more.
const COUNTED: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
/// What Linux counts processor time in, for whoever asks.
const TICK_MS: u64 = 10;

/// What a hub has told devices.
const RECEIPTS: &str = "edge_outbox_hub_receipts_sent_total";

/// As far as the durability of a real one shows in what is written.
const POSTGRES: &str = "full_page_writes = on\nautovacuum = on\n";

fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waiting in vain for {what}");
        thread::sleep(POLL);
    }
}

/// A value of a process's status, in KiB.
fn memory_kib(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let words = line.unwrap().trim_start_matches(':').split_whitespace();
    words.into_iter().next().unwrap().parse().unwrap()
}

/// The processor time that a process has used, in milliseconds.
fn processor_ms(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| -> u64 { fields[at].parse().unwrap() };
    (ticks(11) + ticks(12)) * TICK_MS
}

/// Has a stream store messages.
async fn publish(context: &Context, messages: Vec<(String, Vec<u8>)>) {
    let mut messages = messages.into_iter().peekable();
    while messages.peek().is_some() {
        let mut answers = Vec::with_capacity(IN_FLIGHT);
        for (subject, body) in messages.by_ref().take(IN_FLIGHT) {
            answers.push(context.publish(subject, body.into()).await.unwrap());
        }
        for answer in answers {
            answer.await.unwrap();
        }
    }
}

/// Bytes of all files below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => bytes_below(&entry.path()),
            false => entry.metadata().map_or(0, |it| it.len()),
        })
        .sum()
}

/// A hub at a nats-server and a Postgres.
struct Scene {
    runtime: Runtime,
    nats: NatsServer,
    client: Client,
    hub: HubProcess,
    key: DeviceKey,
    _home: HubHome,
    _server: PostgresServer,
}

/// What is held at one moment.
#[derive(Clone, Copy, Debug)]
struct Held {
    events: i64,
    rows: i64,
    row_indexes: i64,
    places: i64,
    place_indexes: i64,
    written: i64,
    stream: i64,
    receipts: i64,
    batches: i64,
    tables_ms: u64,
    hub_ms: u64,
}

impl Scene {
    /// Where the tables know so many devices already.
    fn with_devices(devices: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let nats = NatsServer::start();
        let (server, client) = runtime.block_on(async {
            nats.create_stream(|_| {}).await;
            let server = database_with(POSTGRES).await;
            let client = server.connect().await;
            (server, client)
        });
        runtime.block_on(fill(&client, devices));
        let source = format!(
            "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\n",
            nats.url()
        );
        let mut home = HubHome::new("hub", &server, &source);
        home.ok(&["key"]);
        let key = DeviceKey::load(&home.path("hub.pem")).unwrap();
        let mut hub = home.start();
        hub.wait_for_log("started");
        Self {
            runtime,
            nats,
            client,
            hub,
            key,
            _home: home,
            _server: server,
        }
    }

    fn number(&self, question: &str) -> i64 {
        self.runtime.block_on(number(&self.client, question))
    }

    /// A device that sends here, and listens to receipts.
    fn device(&self, name: &str) -> Kiosk {
        let options = NatsOptions {
            servers: vec![Secret::new(self.nats.url())],
            way_back: Some(WayBack {
                receipts: DEFAULT_RECEIPTS.into(),
                tails: DEFAULT_TAILS.into(),
            }),
            ..NatsOptions::default()
        };
        let sink = Sink::Nats(NatsSink::new(options).unwrap());
        let mut kiosk = Kiosk::new(name);
        kiosk.forward(vec![SinkSpec {
            hub: Some(HubTerms {
                keys: vec![self.key.public_key()],
                confirm: Confirm::Hub,
                resend_after: Duration::from_secs(30),
            }),
            ..SinkSpec::new("school", sink)
        }]);
        kiosk
    }

    /// Messages and bytes of a stream.
    fn stream(&self, name: &str) -> (i64, i64) {
        let state = self.runtime.block_on(async {
            let mut stream = self.nats.jetstream().await.get_stream(name).await.unwrap();
            stream.info().await.unwrap().state.clone()
        });
        (state.messages as i64, state.bytes as i64)
    }

    /// A number that the hub tells whoever watches it, where it tells it.
    fn metric(&self, name: &str) -> Option<i64> {
        let log = self.hub.log();
        let listening = log.split_once("listening=").unwrap().1;
        let end = listening.find(['\n', ' ', '\u{1b}']).unwrap();
        let mut connection = TcpStream::connect(&listening[..end]).unwrap();
        let question = b"GET /metrics HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n";
        connection.write_all(question).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then_some(rest)
        });
        Some(line?.rsplit_once(' ')?.1.parse().unwrap())
    }

    /// What is there of the events, once all of them are.
    fn held(&self, events: u64) -> Held {
        let stored = "select count(*) from edge_outbox_hub.event_rows";
        wait_until("the events", || self.number(stored) >= events as i64);
        let of = |what: &str, table: &str| {
            self.number(&format!(
                "select sum({what}(c.oid)) from pg_class c join pg_namespace n \
                 on n.oid = c.relnamespace where n.nspname = 'edge_outbox_hub' \
                 and c.relkind = 'r' and c.relname like '{table}'"
            ))
        };
        let sessions = "select array_to_string(array_agg(pid), ' ') from pg_stat_activity \
                        where usename = 'hub'";
        let sessions: String = self.runtime.block_on(async {
            let row = self.client.query_one(sessions, &[]).await.unwrap();
            row.get::<_, Option<String>>(0).unwrap_or_default()
        });
        let sessions = sessions.split_whitespace().map(|it| it.parse().unwrap());
        Held {
            events: self.number(stored),
            rows: of("pg_table_size", "event\\_rows%"),
            row_indexes: of("pg_indexes_size", "event\\_rows%"),
            places: of("pg_table_size", "positions"),
            place_indexes: of("pg_indexes_size", "positions"),
            written: self.number("select pg_current_wal_lsn() - '0/0'"),
            stream: self.stream("EVENTS").1,
            receipts: self.metric(RECEIPTS).unwrap(),
            batches: self
                .metric("edge_outbox_hub_batches_committed_total")
                .unwrap(),
            tables_ms: sessions.map(processor_ms).sum(),
            hub_ms: processor_ms(self.hub.pid()),
        }
    }
}

/// Registers so many devices, each with an epoch that is whole.
async fn fill(client: &Client, devices: u64) {
    let script = format!(
        "insert into edge_outbox_hub.devices (device, added_by) \
         select format('room-%s', n), 'operator' from generate_series(1, {devices}) n; \
         insert into edge_outbox_hub.device_keys (device, key_id, public_key, added_by) \
         select device, sha256(device::bytea), sha256(sha256(device::bytea)), 'operator' \
         from edge_outbox_hub.devices; \
         insert into edge_outbox_hub.epochs \
         (device, epoch, key_id, first_seq, highest, held, complete_to, complete_digest) \
         select device, gen_random_uuid(), key_id, 1, 1000, 1000, 1000, public_key \
         from edge_outbox_hub.device_keys; \
         analyze edge_outbox_hub.devices, edge_outbox_hub.device_keys, edge_outbox_hub.epochs"
    );
    client.batch_execute(&script).await.unwrap();
}

/// Says what so many events took; gives the bytes that stay in the database of each.
fn report(what: &str, from: &Held, to: &Held) -> i64 {
    let events = to.events - from.events;
    let each = |now: i64, then: i64| (now - then) / events;
    let rows = each(to.rows, from.rows);
    let row_indexes = each(to.row_indexes, from.row_indexes);
    let places = each(to.places, from.places);
    let place_indexes = each(to.place_indexes, from.place_indexes);
    let stay = rows + row_indexes + places + place_indexes;
    println!(
        "{events} events {what}, bytes of each: {stay} in the database (row {rows}, its indexes \
         {row_indexes}, position {places}, its index {place_indexes}), {} of write-ahead log, {} in \
         the stream",
        each(to.written, from.written),
        each(to.stream, from.stream),
    );
    println!(
        "    {} transactions, {} receipts; processor time of each event: {} µs in the database, {} µs \
         in the hub",
        to.batches - from.batches,
        to.receipts - from.receipts,
        (to.tables_ms - from.tables_ms) * 1_000 / events as u64,
        (to.hub_ms - from.hub_ms) * 1_000 / events as u64,
    );
    stay
}

#[test]
fn an_event_takes_what_the_page_counts_with() {
    let events = asked("EDGE_OUTBOX_HUB_EVENTS", EVENTS);
    let scene = Scene::with_devices(0);
    let mut kiosks: Vec<Kiosk> = (1..=SENDERS)
        .map(|n| scene.device(&format!("room-{n:06}")))
        .collect();
    let begin = scene.held(SENDERS);
    // As a lesson makes them: each is a group of its own.
    for _ in 0..events / SENDERS {
        for kiosk in &kiosks {
            kiosk.append_some(1);
        }
    }
    let singly = scene.held(SENDERS + events);
    for kiosk in &kiosks {
        kiosk.append_some(events / SENDERS);
    }
    let together = scene.held(SENDERS + 2 * events);
    let one = report("appended one at a time", &begin, &singly);
    let many = report("appended in groups of 64", &singly, &together);
    // The page counts with 1.6 KB.
    assert!((900..1_700).contains(&one), "{one}");
    assert!((900..1_900).contains(&many), "{many}");

    // One message of each kind for each device, however much it sent.
    wait_until("tails and receipts", || {
        scene.stream("EDUPULSE_HUB").0 == 2 * SENDERS as i64
    });
    let sessions = "select count(*) from pg_stat_activity where usename = 'hub'";
    let most = scene.number(sessions);
    println!(
        "a hub of one source: {most} connections to the database, {} KiB of memory at most",
        memory_kib(scene.hub.pid(), "VmHWM")
    );
    assert!((1..=2).contains(&most), "{most}");
    for kiosk in &mut kiosks {
        kiosk.stop_forwarding();
    }
}

/// As a school's day has it: many devices, each with an event now and then, which is answered by itself.
#[test]
fn a_fleet_of_sparse_devices_takes_what_the_page_counts_with() {
    let scene = Scene::with_devices(0);
    let devices = asked("EDGE_OUTBOX_HUB_EVENTS", EVENTS) / (2 * ROUNDS);
    let names = (1..=devices).map(|n| format!("room-{n:06}"));
    let mut fleet: Vec<ChainedDevice> = names.map(|name| ChainedDevice::new(&name)).collect();
    let mut sent = 0;
    let mut round = |one: &mut dyn FnMut(&mut ChainedDevice) -> Sealed| {
        let messages: Vec<(String, Vec<u8>)> = fleet
            .iter_mut()
            .map(|device| {
                let subject = format!("edupulse.events.{}.quiz.submitted.v1", device.name.as_str());
                (subject, one(device).wire)
            })
            .collect();
        sent += devices;
        let context = scene.runtime.block_on(scene.nats.jetstream());
        scene.runtime.block_on(publish(&context, messages));
        // A device is told a second after its event at the latest, so that none is told of two at once.
        wait_until("receipts", || {
            scene.metric(RECEIPTS) >= Some(sent as i64 * 9 / 10)
        });
        thread::sleep(Duration::from_secs(2));
        scene.held(sent)
    };
    let draft = Draft {
        payload: format!(r#"{{"answers":"{}"}}"#, "abcdefgh".repeat(25)),
        ..Draft::quiz()
    };
    let begin = round(&mut |device| device.start());
    let mut next = begin;
    for _ in 0..ROUNDS {
        next = round(&mut |device| device.event(&draft));
    }
    report("of devices that send one now and then", &begin, &next);
    // The first change of each page after a checkpoint has all of it written ahead.
    let begin = next;
    for _ in 0..ROUNDS {
        scene.runtime.block_on(async {
            scene.client.batch_execute("checkpoint").await.unwrap();
        });
        next = round(&mut |device| device.event(&draft));
    }
    report("likewise, after a checkpoint for each", &begin, &next);
}

#[test]
fn what_a_hub_reads_for_an_event_does_not_grow_with_the_devices_it_knows() {
    let devices = asked("EDGE_OUTBOX_HUB_DEVICES", DEVICES);
    let scene = Scene::with_devices(devices);
    let read = || {
        thread::sleep(COUNTED);
        let tables = "select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) \
                      from pg_stat_user_tables where schemaname = 'edge_outbox_hub'";
        (
            scene.number(tables),
            scene
                .metric("edge_outbox_hub_batches_committed_total")
                .unwrap(),
        )
    };
    // What is looked at now and then, whatever comes.
    wait_until("a first look", || {
        scene.metric("edge_outbox_hub_devices") == Some(devices as i64)
    });
    let idle = read();
    thread::sleep(ROUND * 2);
    let rounds = read().0 - idle.0;
    let mut kiosk = scene.device("corridor");
    wait_until("a start", || {
        scene.number("select count(*) from edge_outbox_hub.event_rows") == 1
    });
    let begin = read();
    let events = 100;
    for _ in 0..events {
        kiosk.append_some(1);
    }
    wait_until("the events", || {
        scene.number("select count(*) from edge_outbox_hub.event_rows") > events
    });
    let end = read();
    let busy = end.0 - begin.0;
    println!(
        "of {devices} devices: {rounds} rows are read in {} s without events, {busy} for {events} \
         events in {} transactions",
        (ROUND * 2 + COUNTED).as_secs(),
        end.1 - begin.1,
    );
    let sizes = "select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n \
                 on n.oid = c.relnamespace where n.nspname = 'edge_outbox_hub' and c.relkind = 'r' \
                 and c.relname in ('devices', 'device_keys', 'epochs')";
    println!(
        "    a device takes {} bytes",
        scene.number(sizes) / devices as i64
    );
    // A look counts the devices, which is their number; a second one may fall into the time of
    // the events.
    assert!(rounds <= 4 * devices as i64, "{rounds}");
    assert!(busy <= 3 * devices as i64 + 60 * events, "{busy}");
    kiosk.stop_forwarding();
}

/// A tail, and a receipt without gaps, of a device whose name is twelve characters long.
fn messages() -> (Vec<u8>, Vec<u8>) {
    let key = DeviceKey::generate().unwrap();
    let tail = Tail {
        device: "kiosk-000001".parse().unwrap(),
        epoch: Epoch::from_uuid(Uuid::new_v4()),
        seq: Seq::new(1),
        digest: Digest::from_bytes([1; 32]),
        boot_id: Uuid::new_v4(),
        boottime_us: 1,
        nonce: *Uuid::new_v4().as_bytes(),
    };
    let receipt = Receipt {
        hub: Uuid::now_v7(),
        generation: 1,
        device: tail.device.clone(),
        epoch: tail.epoch,
        accounted_to: tail.seq,
        digest: tail.digest,
        quarantined: 0,
        missing: Vec::new(),
    };
    (tail.sign(&key), receipt.sign(&key).unwrap())
}

#[test]
fn a_nats_server_keeps_a_tail_and_a_receipt_for_each_device() {
    let devices = asked("EDGE_OUTBOX_HUB_DEVICES", DEVICES);
    let (tail, receipt) = messages();
    let nats = NatsServer::start();
    let before = memory_kib(nats.pid(), "VmRSS");
    let state = Runtime::new().unwrap().block_on(async {
        let context = nats.jetstream().await;
        // As a hub makes it.
        let stream = context.create_stream(Config {
            name: "EDUPULSE_HUB".into(),
            subjects: ["edupulse.receipts.>", "edupulse.tails.>"]
                .map(Into::into)
                .into(),
            max_messages_per_subject: 1,
            discard: DiscardPolicy::Old,
            allow_direct: true,
            ..Config::default()
        });
        let mut stream = stream.await.unwrap();
        // Three of each: what is kept does not grow with how often something is told.
        for _ in 0..3 {
            for first in (0..devices).step_by(IN_FLIGHT) {
                let both = (first..devices.min(first + IN_FLIGHT as u64)).flat_map(|n| {
                    let epoch = Uuid::from_u128(n.into());
                    let receipts = format!("edupulse.receipts.kiosk-{n:06}.{epoch}");
                    [
                        (format!("edupulse.tails.kiosk-{n:06}"), tail.clone()),
                        (receipts, receipt.clone()),
                    ]
                });
                publish(&context, both.collect()).await;
            }
        }
        stream.info().await.unwrap().state.clone()
    });
    assert_eq!(state.messages, 2 * devices);
    let memory = memory_kib(nats.pid(), "VmRSS").saturating_sub(before);
    println!(
        "a tail is {} bytes, a receipt {}; of {devices} devices a nats-server keeps {} messages of {} \
         bytes, {} KiB of files, and has {memory} KiB of memory more",
        tail.len(),
        receipt.len(),
        state.messages,
        state.bytes / state.messages,
        bytes_below(nats.dir()) / 1024,
    );
    assert!(state.bytes / state.messages < 450, "{state:?}");
}

#[test]
fn mosquitto_retains_a_tail_and_a_receipt_for_each_device() {
    let devices = asked("EDGE_OUTBOX_HUB_DEVICES", DEVICES);
    let (tail, receipt) = messages();
    let mosquitto = MosquittoServer::start();
    let before = memory_kib(mosquitto.pid(), "VmRSS");
    let (host, port) = address(&mosquitto.url());
    let options = v5::MqttOptions::new("filler", host, port);
    let (client, mut connection) = v5::Client::new(options, IN_FLIGHT);
    let filler = thread::spawn(move || {
        for n in 0..devices {
            let epoch = Uuid::from_u128(n.into());
            for (topic, body) in [
                (format!("edupulse/tails/kiosk-{n:06}"), &tail),
                (format!("edupulse/receipts/kiosk-{n:06}/{epoch}"), &receipt),
            ] {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client.publish(topic, qos, true, body.clone()).unwrap();
            }
        }
        client
    });
    let confirmed = connection.iter().filter(|event| {
        let event = event.as_ref().unwrap();
        matches!(event, v5::Event::Incoming(v5::Incoming::PubAck(_)))
    });
    assert_eq!(
        confirmed.take(2 * devices as usize).count(),
        2 * devices as usize
    );
    drop(filler.join().unwrap());
    let memory = memory_kib(mosquitto.pid(), "VmRSS").saturating_sub(before);
    println!("of {devices} devices mosquitto retains as much in {memory} KiB of memory more");
    assert!(memory < devices * 4, "{memory}");
}
