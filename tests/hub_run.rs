//! `edge-outbox hub run` between real brokers, real devices and a real Postgres: what comes is stored
//! once, acknowledged only then, and told to its device.

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    future::Future,
    os::unix::net::UnixDatagram,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::consumer::PullConsumer;
use edge_outbox::{
    forwarder::SinkSpec,
    hub::INBOX_SQL,
    secret::Secret,
    sink::{
        Sink,
        nats::{NatsOptions, NatsSink},
        postgres::PostgresSink,
    },
};
use support::{
    hub::{database, health, lines, number},
    hub_program::HubHome,
    kiosk::Kiosk,
    mosquitto::MosquittoServer,
    mqtt,
    nats_server::NatsServer,
    postgres_server::PostgresServer,
    postgres_table,
};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

const EVENTS: &str = "select count(*) from edge_outbox_hub.event_rows";
/// Room for a hub's whole batch before the first is acknowledged.
const MOSQUITTO: &str = "max_inflight_messages 1000\nallow_anonymous true";

/// What the servers of a test are asked on.
fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

fn to_nats(server: &NatsServer) -> SinkSpec {
    let options = NatsOptions {
        servers: vec![Secret::new(server.url())],
        ..NatsOptions::default()
    };
    SinkSpec::new("nats", Sink::Nats(NatsSink::new(options).unwrap()))
}

fn to_mqtt(server: &MosquittoServer) -> SinkSpec {
    SinkSpec::new("mqtt", mqtt::sink(mqtt::options_for(&server.url())))
}

fn to_postgres(server: &PostgresServer) -> SinkSpec {
    let sink = PostgresSink::new(postgres_table::options(server)).unwrap();
    SinkSpec::new("postgres", Sink::Postgres(sink))
}

fn nats_source(server: &NatsServer) -> String {
    format!(
        "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nack_wait = \"2 s\"\n",
        server.url()
    )
}

fn mqtt_source(server: &MosquittoServer, client_id: &str) -> String {
    format!(
        "[sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nclient_id = \"{client_id}\"\n",
        server.url()
    )
}

/// The tables of a sink in a hub's database, with a list of what is new in them.
async fn add_inbox(server: &PostgresServer) {
    server.create_tables().await;
    for _ in 0..2 {
        // Run again, the script changes nothing.
        server.execute(INBOX_SQL).await;
    }
    server
        .execute(
            "grant select on device_events to hub; \
             grant select, update, delete on edge_outbox_inbox to hub",
        )
        .await;
}

fn inbox_source(server: &PostgresServer) -> String {
    format!(
        "[sources.inbox]\ntype = \"postgres\"\nurl = \"{}\"\npoll = \"100 ms\"\n",
        server.url_as("hub", "?sslmode=disable")
    )
}

/// Waits until a question has this answer.
#[track_caller]
fn wait_until<F: Future<Output = bool>>(
    runtime: &Runtime,
    what: &str,
    mut done: impl FnMut() -> F,
) {
    let deadline = Instant::now() + LIMIT;
    while !runtime.block_on(done()) {
        assert!(Instant::now() < deadline, "waiting in vain for {what}");
        thread::sleep(POLL);
    }
}

#[track_caller]
fn wait_for_events(runtime: &Runtime, client: &Client, events: u64) {
    wait_until(runtime, &format!("{events} events"), || async {
        number(client, EVENTS).await >= events as i64
    });
}

/// Waits until the broker has had an answer for all it brought.
#[track_caller]
fn wait_until_acknowledged(runtime: &Runtime, nats: &NatsServer) {
    wait_until(runtime, "acknowledgements", || async {
        pending(nats).await == (0, 0)
    });
}

/// How many messages of the stream were not brought yet, and how many not acknowledged.
async fn pending(nats: &NatsServer) -> (u64, usize) {
    let stream = nats.jetstream().await.get_stream("EVENTS").await.unwrap();
    let mut consumer: PullConsumer = stream.get_consumer("edupulse-hub").await.unwrap();
    let info = consumer.info().await.unwrap();
    (info.num_pending, info.num_ack_pending)
}

/// Each of these devices has a whole chain up to its end, and nothing else is there.
#[track_caller]
fn assert_clean(runtime: &Runtime, server: &PostgresServer, kiosks: &[&Kiosk]) {
    let mut wanted: Vec<String> = kiosks
        .iter()
        .map(|kiosk| {
            let (name, tail) = (kiosk.name(), kiosk.tail());
            format!("{name} 1 {tail} {tail} {tail} {tail} t 0 0 {{}}")
        })
        .collect();
    wanted.sort();
    assert_eq!(runtime.block_on(health(server)), wanted);
}

#[test]
fn what_each_kind_of_source_brings_is_stored_once_and_acknowledged_only_then() {
    let runtime = runtime();
    let (nats, mosquitto) = (NatsServer::start(), MosquittoServer::with(MOSQUITTO));
    let server = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        let server = database().await;
        add_inbox(&server).await;
        server
    });
    let sections = nats_source(&nats) + &mqtt_source(&mosquitto, "hub-a") + &inbox_source(&server);
    let mut hub = HubHome::new("hub", &server, &sections);
    let said = hub.ok(&["key"]);
    assert!(said.starts_with("made        "), "{said}");
    let mut process = hub.start();
    process.wait_for_log("started");
    // A broker knows of a subscription only once there was one.
    wait_until(&runtime, "the shared subscription", || async {
        mosquitto.log().contains("hub-a")
    });

    let mut kiosks = ["by-nats", "by-mqtt", "by-postgres"].map(Kiosk::new);
    kiosks[0].forward(vec![to_nats(&nats)]);
    kiosks[1].forward(vec![to_mqtt(&mosquitto)]);
    kiosks[2].forward(vec![to_postgres(&server)]);
    let mut events = 0;
    for kiosk in &kiosks {
        events += kiosk.append_some(700).get();
    }
    let client = runtime.block_on(server.connect());
    wait_for_events(&runtime, &client, events);
    wait_until_acknowledged(&runtime, &nats);
    for kiosk in &mut kiosks {
        kiosk.stop_forwarding();
    }
    wait_until(&runtime, "an empty inbox", || async {
        number(&client, "select count(*) from edge_outbox_inbox").await == 0
    });
    let [a, b, c] = &kiosks;
    assert_clean(&runtime, &server, &[a, b, c]);
    runtime.block_on(async {
        assert_eq!(number(&client, EVENTS).await, events as i64);
        let origins = "select device, origin, count(*) from edge_outbox_hub.event_rows \
                       group by 1, 2 order by 1";
        let each = events / 3;
        let wanted = [
            ("by-mqtt", "mqtt"),
            ("by-nats", "nats"),
            ("by-postgres", "inbox"),
        ];
        let wanted = wanted.map(|(device, origin)| format!("{device} {origin} {each}"));
        assert_eq!(lines(&client, origins).await, wanted);
    });
    let (code, took, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert!(log.ends_with("stopped\n"), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");

    // Started again it brings nothing a second time: everything was acknowledged. This time by a
    // service manager.
    let socket = hub.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    // Read as it comes: what nobody reads keeps the hub from saying more.
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut room = [0; 1_024];
        while let Ok(length) = manager.recv(&mut room) {
            let said = String::from_utf8_lossy(&room[..length]).into_owned();
            if sender.send(said).is_err() {
                return;
            }
        }
    });
    let heard = || heard.recv_timeout(LIMIT).unwrap();
    hub.set("NOTIFY_SOCKET", socket.to_str().unwrap());
    hub.set("WATCHDOG_USEC", "200000");
    let mut process = hub.start();
    assert!(heard().starts_with("READY=1\nSTATUS="));
    assert_eq!(heard(), "WATCHDOG=1");
    process.wait_for_log("started");
    thread::sleep(Duration::from_secs(1));
    runtime.block_on(async {
        let said = "select count(*) from edge_outbox_hub.quarantine";
        assert_eq!(number(&client, said).await, 0);
        assert_eq!(pending(&nats).await, (0, 0));
    });
    let found = hub.ok(&["verify"]);
    assert_eq!(found, format!("{events} events: nothing is wrong\n"));
    assert_eq!(process.stop().0, Some(0));
    while heard() != "STOPPING=1" {}
}

#[test]
fn while_postgres_is_away_nothing_is_acknowledged_and_the_log_has_two_lines() {
    let runtime = runtime();
    let nats = NatsServer::start();
    let mut server = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        database().await
    });
    let mut hub = HubHome::new("hub", &server, &nats_source(&nats));
    hub.ok(&["key"]);
    let mut process = hub.start();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.forward(vec![to_nats(&nats)]);
    kiosk.append_some(50);
    let client = runtime.block_on(server.connect());
    wait_for_events(&runtime, &client, 51);
    wait_until_acknowledged(&runtime, &nats);

    server.kill();
    let tail = kiosk.append_some(50);
    kiosk.wait_until_delivered("nats", tail);
    process.wait_for_log("the database, for source nats");
    thread::sleep(Duration::from_secs(4));
    let waiting = runtime.block_on(pending(&nats));
    assert!(waiting.1 > 0, "nothing is acknowledged: {waiting:?}");
    server.start_again();
    let client = runtime.block_on(server.connect());
    wait_for_events(&runtime, &client, tail.get());
    wait_until_acknowledged(&runtime, &nats);
    assert_clean(&runtime, &server, &[&kiosk]);
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    let of_trouble = |line: &&str| line.contains("the database, for source");
    let trouble: Vec<&str> = log.lines().filter(of_trouble).collect();
    assert_eq!(trouble.len(), 2, "{log}");
    assert!(trouble[0].contains("WARN"), "{log}");
    assert!(trouble[1].contains("works again"), "{log}");
}

#[test]
fn a_receipt_that_the_database_fails_at_does_not_keep_a_quiet_hub_from_what_comes_later() {
    let runtime = runtime();
    let nats = NatsServer::start();
    let mut server = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        database().await
    });
    let mut hub = HubHome::new("hub", &server, &nats_source(&nats));
    hub.ok(&["key"]);
    let mut process = hub.start();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.forward(vec![to_nats(&nats)]);
    let client = runtime.block_on(server.connect());
    kiosk.append_some(5);
    wait_for_events(&runtime, &client, 6);
    // Told of the first ones just now, the device hears of these a second later.
    kiosk.append_some(5);
    wait_for_events(&runtime, &client, 11);
    server.kill();
    process.wait_for_log("the database, for source nats");
    thread::sleep(Duration::from_secs(5));
    server.start_again();
    let client = runtime.block_on(server.connect());
    let tail = kiosk.append_some(5);
    wait_for_events(&runtime, &client, tail.get());
    wait_until_acknowledged(&runtime, &nats);
    assert_clean(&runtime, &server, &[&kiosk]);
    assert_eq!(process.stop().0, Some(0));
}

#[test]
fn a_broker_that_goes_away_is_waited_for_and_told_of_once() {
    let runtime = runtime();
    let (mut nats, mut mosquitto) = (NatsServer::start(), MosquittoServer::with(MOSQUITTO));
    let server = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        database().await
    });
    let sections = nats_source(&nats) + &mqtt_source(&mosquitto, "hub-a");
    let mut hub = HubHome::new("hub", &server, &sections);
    hub.ok(&["key"]);
    let process = hub.start();
    let mut kiosks = ["by-nats", "by-mqtt"].map(Kiosk::new);
    kiosks[0].forward(vec![to_nats(&nats)]);
    kiosks[1].forward(vec![to_mqtt(&mosquitto)]);
    let client = runtime.block_on(server.connect());
    for kiosk in &kiosks {
        kiosk.append_some(20);
    }
    wait_for_events(&runtime, &client, 42);
    nats.kill();
    mosquitto.stop();
    for kiosk in &kiosks {
        kiosk.append_some(20);
    }
    thread::sleep(Duration::from_secs(3));
    nats.start_again();
    mosquitto.start_again();
    wait_for_events(&runtime, &client, 82);
    assert_clean(&runtime, &server, &[&kiosks[0], &kiosks[1]]);
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    for source in ["source nats", "source mqtt"] {
        let trouble: Vec<&str> = log.lines().filter(|line| line.contains(source)).collect();
        assert_eq!(trouble.len(), 2, "{log}");
        assert!(trouble[1].contains("works again"), "{log}");
    }
}

/// A broker sends a session that comes back what waited for it, and some more at once than they were
/// asked to.
#[test]
fn what_waited_at_a_broker_for_a_hub_is_taken_over_one_connection() {
    const WAITING: u64 = 5_000;
    let runtime = runtime();
    let mosquitto = MosquittoServer::with(MOSQUITTO);
    let server = runtime.block_on(database());
    let sections = mqtt_source(&mosquitto, "hub-a") + "receive_maximum = 10\n";
    let mut hub = HubHome::new("hub", &server, &sections);
    hub.ok(&["key"]);
    let mut process = hub.start();
    process.wait_for_log("started");
    wait_until(&runtime, "the shared subscription", || async {
        mosquitto.log().contains("hub-a")
    });
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(10);
    kiosk.forward(vec![to_mqtt(&mosquitto)]);
    let client = runtime.block_on(server.connect());
    wait_for_events(&runtime, &client, 11);
    assert_eq!(process.stop().0, Some(0));
    let tail = kiosk.append_some(WAITING);
    kiosk.wait_until_delivered("mqtt", tail);
    let process = hub.start();
    wait_for_events(&runtime, &client, tail.get());
    assert_clean(&runtime, &server, &[&kiosk]);
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("source mqtt"), "{log}");
}

#[test]
fn a_row_that_commits_after_later_ones_were_read_is_not_passed_over() {
    let runtime = runtime();
    let server = runtime.block_on(async {
        let server = database().await;
        add_inbox(&server).await;
        server
    });
    // What two devices wrote, to be written again by hand, in transactions that overlap.
    let mut kiosks = ["kiosk-1", "kiosk-2"].map(Kiosk::new);
    for kiosk in &mut kiosks {
        kiosk.append_some(3);
        kiosk.forward(vec![to_postgres(&server)]);
        kiosk.wait_until_caught_up("postgres");
        kiosk.stop_forwarding();
    }
    let (late, client) =
        runtime.block_on(async { (server.connect().await, server.connect().await) });
    runtime.block_on(async {
        let away = "create table away as select * from device_events; \
                    alter table away drop column arrival; \
                    delete from device_events; delete from edge_outbox_inbox";
        client.batch_execute(away).await.unwrap();
        let columns = "device, epoch, seq, digest, id, original_id, event_type, event_version, \
                       source, occurred_at, clock_wall, clock_sync, boot_id, boottime_us, kind, \
                       prev, private_digest, key_id, signature, leaf, size, path, redelivered, \
                       aggregate_id, subject_id, salt, payload, payload_json";
        let back = |device: &str| {
            format!(
                "insert into device_events ({columns}) select {columns} from away \
                 where device = '{device}' order by seq"
            )
        };
        late.batch_execute(&format!("begin; {}", back("kiosk-1")))
            .await
            .unwrap();
        client.batch_execute(&back("kiosk-2")).await.unwrap();
    });
    let mut hub = HubHome::new("hub", &server, &inbox_source(&server));
    hub.ok(&["key"]);
    let process = hub.start();
    wait_for_events(&runtime, &client, 4);
    let first = "select min(arrival) from device_events";
    let seen = runtime.block_on(number(&client, first));
    thread::sleep(Duration::from_millis(500));
    runtime.block_on(late.batch_execute("commit")).unwrap();
    let behind = runtime.block_on(number(&client, first));
    assert!(
        behind < seen,
        "the late ones have lower numbers: {behind} and {seen}"
    );
    wait_for_events(&runtime, &client, 8);
    assert_clean(&runtime, &server, &[&kiosks[0], &kiosks[1]]);

    // What is no event at all is set aside, and does not come again.
    runtime.block_on(async {
        let garbage = "insert into device_events select 'nobody', gen_random_uuid(), -5, digest, id, \
                       null, event_type, -1, source, occurred_at, clock_wall, 'maybe', boot_id, -1, \
                       kind, prev, private_digest, key_id, '', leaf, size, 'x', redelivered \
                       from away limit 1";
        client.batch_execute(garbage).await.unwrap();
    });
    wait_until(&runtime, "quarantine", || async {
        let there = "select count(*) from edge_outbox_hub.quarantine where reason = 'unreadable'";
        number(&client, there).await == 1
            && number(&client, "select count(*) from edge_outbox_inbox").await == 0
    });
    drop(process);
}

/// Row-level security hides rows without a word: what a hub does not see must not leave its list.
#[test]
fn rows_that_a_policy_hides_from_the_hub_stay_in_the_list_until_it_sees_them() {
    const POLICY: &str =
        "create policy all_rows_out on device_events for select to hub using (true)";
    let runtime = runtime();
    let server = runtime.block_on(async {
        let server = database().await;
        add_inbox(&server).await;
        server
            .execute("alter table device_events enable row level security")
            .await;
        server
    });
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(3);
    kiosk.forward(vec![to_postgres(&server)]);
    kiosk.wait_until_caught_up("postgres");
    let client = runtime.block_on(server.connect());
    let listed = || runtime.block_on(listed_in(&client));
    let mut hub = HubHome::new("hub", &server, &inbox_source(&server));
    hub.ok(&["key"]);
    let mut process = hub.start();
    process.wait_for_log("started");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(listed(), 4);
    process.wait_for_log("row-level security");
    process.wait_for_log("create policy all_rows_out on device_events");
    runtime.block_on(server.execute(POLICY));
    wait_for_events(&runtime, &client, 4);

    // The same where it is hidden later, from a hub that is connected.
    wait_until(&runtime, "an empty inbox", || async {
        listed_in(&client).await == 0
    });
    runtime.block_on(server.execute("drop policy all_rows_out on device_events"));
    let tail = kiosk.append_some(3);
    kiosk.wait_until_caught_up("postgres");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(listed(), 3);
    runtime.block_on(server.execute(POLICY));
    wait_for_events(&runtime, &client, tail.get());
    assert_clean(&runtime, &server, &[&kiosk]);
    assert_eq!(process.stop().0, Some(0));
}

/// A device's role may insert into `device_events` whatever its columns take.
#[test]
fn what_one_devices_role_writes_keeps_no_other_devices_events_away() {
    let runtime = runtime();
    let server = runtime.block_on(async {
        let server = database().await;
        add_inbox(&server).await;
        server
    });
    let mut kiosks = ["kiosk-1", "kiosk-2"].map(Kiosk::new);
    kiosks[0].append_some(1);
    kiosks[0].forward(vec![to_postgres(&server)]);
    kiosks[0].wait_until_caught_up("postgres");
    // Numbers of arrival that are yet to come, one of them in an event larger than any.
    runtime.block_on(server.execute(
        "insert into device_events overriding system value \
         select 'greedy', epoch, n, digest, id, null, event_type, event_version, \
         case n when 9 then repeat('x', 20000000) else source end, occurred_at, clock_wall, \
         clock_sync, boot_id, boottime_us, kind, prev, private_digest, key_id, signature, leaf, size, \
         path, redelivered, aggregate_id, subject_id, salt, payload, payload_json, received_at, \
         arrival + n from (select * from device_events order by arrival desc limit 1) e, \
         generate_series(1, 9) n",
    ));
    kiosks[1].append_some(20);
    kiosks[1].forward(vec![to_postgres(&server)]);
    let delivered = kiosks[1].wait_until_caught_up("postgres");
    assert_eq!(delivered.dead_letters, 0, "{delivered:?}");
    let mut hub = HubHome::new("hub", &server, &inbox_source(&server));
    hub.ok(&["key"]);
    let process = hub.start();
    let client = runtime.block_on(server.connect());
    wait_for_events(&runtime, &client, 2 + 21);
    wait_until(&runtime, "an empty inbox", || async {
        listed_in(&client).await == 0
    });
    let asides = "select reason, count(*), max(bytes) < 1000000 from edge_outbox_hub.quarantine \
                  where reason = 'unreadable' group by 1";
    assert_eq!(runtime.block_on(lines(&client, asides)), ["unreadable 1 t"]);
    // And listed again, for a hub that was restored, all of it is known.
    runtime.block_on(server.execute("select edge_outbox_list_since('-infinity')"));
    wait_until(&runtime, "an empty inbox", || async {
        listed_in(&client).await == 0
    });
    assert_eq!(runtime.block_on(number(&client, EVENTS)), 2 + 21);
    assert_eq!(process.stop().0, Some(0));
}

async fn listed_in(client: &Client) -> i64 {
    number(client, "select count(*) from edge_outbox_inbox").await
}

#[test]
fn a_hub_with_another_erasure_key_or_without_tables_does_not_start() {
    let runtime = runtime();
    let nats = NatsServer::start();
    let server = runtime.block_on(database());
    let mut first = HubHome::new("first", &server, &nats_source(&nats));
    first.ok(&["key"]);
    let mut process = first.start();
    process.wait_for_log("started");
    // It waits for a stream that somebody has to make, and says so.
    process.wait_for_log("looking for the stream of edupulse.events.>");

    let second = HubHome::new("second", &server, &nats_source(&nats));
    second.ok(&["key"]);
    let ended = second.ask(&["run"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("all hubs of a database need the same"),
        "{ended:?}"
    );
    let second = second.with_keys_of(&first);
    assert_eq!(second.ok(&["key"]), first.ok(&["key"]));

    let empty = PostgresServer::start();
    runtime.block_on(empty.execute("create role hub login"));
    let third = HubHome::new("third", &empty, &nats_source(&nats));
    third.ok(&["key"]);
    let ended = third.ask(&["run"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("edge-outbox config sql --hub"),
        "{ended:?}"
    );
}
