//! `edge-outbox relay` between a real Postgres and real brokers: each row arrives once, and is marked
//! only afterwards, whatever goes away in between.

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    collections::BTreeSet,
    future::Future,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use edge_outbox::relay::TABLE_SQL;
use serde_json::Value;
use support::{
    fault_proxy::{Fault, FaultProxy},
    hub::{lines, number},
    mosquitto::MosquittoServer,
    nats_server::{self, NatsServer},
    postgres_server::PostgresServer,
    program::Home,
    random::Random,
    relay_program::{RelayHome, RelayProcess},
    subscriber::Subscriber,
};
use tokio::time::sleep;
use tokio_postgres::Client;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Long enough to see that nothing happens.
const A_WHILE: Duration = Duration::from_secs(2);

const UNSENT: &str = "select count(*) from event_outbox where sent_at is null";
const SENT: &str = "select count(*) from event_outbox where sent_at is not null";

/// A database with the table, and a user who may do what a relay has to, and no more.
async fn database() -> PostgresServer {
    let server = PostgresServer::start();
    for _ in 0..2 {
        // Run again, the script changes nothing.
        server.execute(TABLE_SQL).await;
    }
    server
        .execute("create role relay login; grant edge_outbox_relay to relay")
        .await;
    server
}

async fn broker() -> NatsServer {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    server
}

fn to_nats(server: &NatsServer) -> String {
    to_nats_at(server.port())
}

fn to_nats_at(port: u16) -> String {
    format!(
        "[sinks.nats]\ntype = \"nats\"\nservers = [\"nats://127.0.0.1:{port}\"]\n\
         start_jitter = \"0 ms\"\n"
    )
}

fn relay(name: &str, database: &PostgresServer, keys: &str, sinks: &str) -> RelayHome {
    RelayHome::new(name, database, "relay", keys, sinks)
}

/// So many rows, a millisecond after each other, numbered from `first` on.
fn rows(first: u64, count: u64) -> String {
    format!(
        "insert into event_outbox (aggregate_id, event_type, payload, occurred_at, version) \
         select gen_random_uuid(), 'lesson.published.v2', jsonb_build_object('n', n), \
         timestamptz '2026-03-01 08:00:00+00' + n * interval '1 ms', 2 \
         from generate_series({first}, {first} + {count} - 1) as n"
    )
}

/// The events of the stream, in their order, without those of the outbox itself.
async fn arrived(server: &NatsServer) -> Vec<Value> {
    let stream = server.jetstream().await.get_stream("EVENTS").await.unwrap();
    let messages = nats_server::messages(stream).await;
    let events = messages
        .iter()
        .map(|it| serde_json::from_slice(it).unwrap());
    events
        .filter(|event: &Value| event["kind"] == "program")
        .collect()
}

fn ids(events: &[Value]) -> Vec<&str> {
    let ids = events.iter().map(|event| event["id"].as_str().unwrap());
    ids.collect()
}

/// The ids of the table, in the order in which rows are taken.
async fn in_table(client: &Client) -> Vec<String> {
    lines(
        client,
        "select id from event_outbox order by occurred_at, id",
    )
    .await
}

#[track_caller]
fn assert_once_each(events: &[Value], count: usize) {
    let found = ids(events);
    let different: BTreeSet<&str> = found.iter().copied().collect();
    assert_eq!((found.len(), different.len()), (count, count));
}

async fn wait_until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let deadline = Instant::now() + LIMIT;
    while !done().await {
        assert!(Instant::now() < deadline, "waiting in vain for {what}");
        sleep(POLL).await;
    }
}

async fn wait_for_sent(client: &Client, count: i64, process: &RelayProcess) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let sent = number(client, SENT).await;
        if sent >= count {
            return;
        }
        let log = process.log();
        assert!(Instant::now() < deadline, "{sent} of {count} sent: {log}");
        sleep(POLL).await;
    }
}

/// Waits until so many unsent rows have been locked. What looks does not lock any: a relay would skip
/// them.
async fn wait_until_locked(client: &Client, count: i64) {
    let locked = "select count(*) from event_outbox where sent_at is null and xmax <> 0";
    wait_until("locks", || async { number(client, locked).await >= count }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_once_each_in_their_order_and_are_marked_only_afterwards() {
    let (server, mut nats) = (database().await, broker().await);
    let client = server.connect().await;
    client.batch_execute(&rows(1, 600)).await.unwrap();
    client
        .batch_execute(
            "insert into event_outbox (id, aggregate_id, event_type, payload, occurred_at) values \
             ('0192f0c1-2345-7000-8000-0123456789ab', '0192f0c1-2345-7000-8000-0123456789ac', \
             'quiz.submitted.v1', '{\"score\": 1e3, \"who\": \"Zoë\"}', \
             '2026-03-02 09:30:00.123456+02')",
        )
        .await
        .unwrap();
    let mut home = relay("relay-1", &server, "poll = \"1 h\"", &to_nats(&nats));
    let process = home.start();
    wait_for_sent(&client, 601, &process).await;
    let events = arrived(&nats).await;
    assert_once_each(&events, 601);
    assert_eq!(ids(&events), in_table(&client).await);
    let last = events.last().unwrap();
    for (member, value) in [
        ("aggregate_id", "0192f0c1-2345-7000-8000-0123456789ac"),
        ("event_type", "quiz.submitted.v1"),
        ("device", "relay-1"),
        ("source", "edge-outbox"),
        ("occurred_at", "2026-03-02T07:30:00.123456Z"),
    ] {
        assert_eq!(last[member], value);
    }
    assert_eq!(last["event_version"], 1);
    assert_eq!(events[0]["event_version"], 2);
    assert_eq!(
        last["payload"].to_string(),
        "{\"score\":1000,\"who\":\"Zoë\"}"
    );

    // What no sink has confirmed is not marked.
    nats.freeze();
    client.batch_execute(&rows(601, 50)).await.unwrap();
    wait_until_locked(&client, 50).await;
    sleep(A_WHILE).await;
    assert_eq!(number(&client, UNSENT).await, 50);
    nats.thaw();
    wait_for_sent(&client, 651, &process).await;
    assert_once_each(&arrived(&nats).await, 651);
    let (code, took, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert!(log.contains("sent=651 refused=0"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_rows_are_let_go_of_and_later_all_arrive_in_order() {
    let (server, mut nats) = (database().await, broker().await);
    let client = server.connect().await;
    let keys = "batch = 40\nconfirm_timeout = \"3 s\"";
    let mut home = relay("relay-1", &server, keys, &to_nats(&nats));
    let mut process = home.start();
    client.batch_execute(&rows(1, 20)).await.unwrap();
    wait_for_sent(&client, 20, &process).await;

    // It goes away with rows in hand.
    nats.freeze();
    client.batch_execute(&rows(21, 100)).await.unwrap();
    wait_until_locked(&client, 40).await;
    nats.kill();
    process.wait_for_log("not confirmed within 3s");
    sleep(A_WHILE).await;
    // No transaction is open, and nothing is locked.
    client
        .batch_execute("begin; select id from event_outbox for update nowait; rollback")
        .await
        .unwrap();
    let open = "select count(*) from pg_stat_activity where application_name = 'edge-outbox relay' \
                and state <> 'idle'";
    assert_eq!(number(&client, open).await, 0);
    nats.start_again();
    wait_for_sent(&client, 120, &process).await;
    let events = arrived(&nats).await;
    assert_once_each(&events, 120);
    assert_eq!(ids(&events), in_table(&client).await);

    // It goes away while nothing is in hand: then no row is taken at all.
    nats.kill();
    sleep(A_WHILE).await;
    client.batch_execute(&rows(121, 100)).await.unwrap();
    process.wait_for_log("no rows are taken while events are not taken by nats");
    assert_eq!(number(&client, UNSENT).await, 100);
    client
        .batch_execute("begin; select id from event_outbox for update nowait; rollback")
        .await
        .unwrap();
    nats.start_again();
    wait_for_sent(&client, 220, &process).await;
    let events = arrived(&nats).await;
    assert_once_each(&events, 220);
    assert_eq!(ids(&events), in_table(&client).await);
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    let of_sinks = |line: &&str| line.contains("the relay's sinks: ");
    assert_eq!(log.lines().filter(of_sinks).count(), 4, "{log}");
}

/// So many relays over 2,000 rows, a part of which is inserted meanwhile.
async fn side_by_side(relays: usize) {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client.batch_execute(&rows(1, 800)).await.unwrap();
    let mut processes: Vec<(RelayHome, RelayProcess)> = (1..=relays)
        .map(|number| {
            let keys = "batch = 16\npoll = \"1 s\"";
            let mut home = relay(&format!("relay-{number}"), &server, keys, &to_nats(&nats));
            let process = home.start();
            (home, process)
        })
        .collect();
    let mut random = Random::seeded();
    let inserters: Vec<_> = (0..3)
        .map(|inserter| {
            let mut random = random.fork();
            let client = server.connect();
            async move {
                let client = client.await;
                for part in 0..20 {
                    let begin = 1_000 * (inserter + 1) + 20 * part;
                    client.batch_execute(&rows(begin, 20)).await.unwrap();
                    sleep(Duration::from_millis(random.between(0, 60))).await;
                }
            }
        })
        .collect();
    futures_util::future::join_all(inserters).await;
    wait_for_sent(&client, 2_000, &processes[0].1).await;
    let events = arrived(&nats).await;
    assert_once_each(&events, 2_000);
    let wanted: BTreeSet<String> = in_table(&client).await.into_iter().collect();
    let found: BTreeSet<String> = ids(&events).into_iter().map(str::to_owned).collect();
    assert_eq!(found, wanted);
    let devices: BTreeSet<&str> = events
        .iter()
        .map(|event| event["device"].as_str().unwrap())
        .collect();
    assert_eq!(devices.len(), relays, "all of them had a part in it");
    for (_, process) in processes.drain(..) {
        let (code, _, log) = process.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_share_the_rows_and_none_is_sent_twice() {
    side_by_side(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_relays_share_the_rows_and_none_is_sent_twice() {
    side_by_side(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_hand_when_the_broker_goes_away_stay_with_the_relay_that_has_them_while_it_lives() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    let proxy = FaultProxy::to_port(nats.port());
    let keys = "batch = 30\nconfirm_timeout = \"1 s\"\npoll = \"200 ms\"";
    let mut near = relay("near", &server, keys, &to_nats(&nats));
    let mut far = relay("far", &server, keys, &to_nats_at(proxy.port()));
    let mut far_process = far.start();
    client.batch_execute(&rows(1, 20)).await.unwrap();
    wait_for_sent(&client, 20, &far_process).await;
    proxy.suffer(Fault::Blackhole);
    client.batch_execute(&rows(21, 60)).await.unwrap();
    far_process.wait_for_log("30 rows were not confirmed within 1s");
    // Whoever can send takes the others, and looks at these again and again.
    let near_process = near.start();
    wait_for_sent(&client, 50, &near_process).await;
    sleep(Duration::from_secs(7)).await;
    assert_eq!(number(&client, UNSENT).await, 30);
    proxy.mend();
    wait_for_sent(&client, 80, &far_process).await;
    assert_once_each(&arrived(&nats).await, 80);
    assert_eq!(near_process.stop().0, Some(0));

    // What a relay has that is gone is anybody's.
    proxy.suffer(Fault::Blackhole);
    client.batch_execute(&rows(81, 30)).await.unwrap();
    wait_until_locked(&client, 30).await;
    sleep(A_WHILE).await;
    let near_process = near.start();
    sleep(A_WHILE).await;
    assert_eq!(number(&client, UNSENT).await, 30);
    far_process.kill();
    wait_for_sent(&client, 110, &near_process).await;
    let events = arrived(&nats).await;
    let found: BTreeSet<&str> = ids(&events).into_iter().collect();
    assert_eq!(found.len(), 110);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_relay_has_had_for_long_are_sent_by_another_that_can() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    let proxy = FaultProxy::to_port(nats.port());
    let keys = "confirm_timeout = \"1 s\"\nkeep = \"6 s\"\npoll = \"200 ms\"";
    let mut near = relay("near", &server, keys, &to_nats(&nats));
    let mut far = relay("far", &server, keys, &to_nats_at(proxy.port()));
    let mut far_process = far.start();
    client.batch_execute(&rows(1, 20)).await.unwrap();
    wait_for_sent(&client, 20, &far_process).await;
    proxy.suffer(Fault::Blackhole);
    client.batch_execute(&rows(21, 30)).await.unwrap();
    far_process.wait_for_log("30 rows were not confirmed within 1s");
    let near_process = near.start();
    sleep(A_WHILE).await;
    assert_eq!(number(&client, UNSENT).await, 30);
    wait_for_sent(&client, 50, &near_process).await;
    far_process.wait_for_log("rows that the sinks did not confirm are left to other relays");
    // Those of the other one arrive as well, in the end: under the same ids.
    proxy.mend();
    wait_until("both copies", || async { arrived(&nats).await.len() == 80 }).await;
    let events = arrived(&nats).await;
    let found: BTreeSet<&str> = ids(&events).into_iter().collect();
    assert_eq!(found.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_journal_and_mark_a_relay_loses_nothing_and_sends_nothing_twice() {
    let (server, mut nats) = (database().await, broker().await);
    let client = server.connect().await;
    let mut home = relay("relay-1", &server, "", &to_nats(&nats));
    let process = home.start();
    client.batch_execute(&rows(1, 5)).await.unwrap();
    wait_for_sent(&client, 5, &process).await;

    // All of it is confirmed, and then the table lets nobody mark anything.
    nats.freeze();
    client.batch_execute(&rows(6, 100)).await.unwrap();
    wait_until_locked(&client, 100).await;
    let guard = server.connect().await;
    guard
        .batch_execute("begin; lock table event_outbox in share mode")
        .await
        .unwrap();
    nats.thaw();
    let waits = "select count(*) from pg_stat_activity where application_name = 'edge-outbox relay' \
                 and wait_event_type = 'Lock'";
    wait_until("the mark", || async { number(&client, waits).await == 1 }).await;
    assert_once_each(&arrived(&nats).await, 105);
    process.kill();
    guard.batch_execute("rollback").await.unwrap();
    let gone = "select count(*) from pg_stat_activity where application_name = 'edge-outbox relay'";
    wait_until("the end of its session", || async {
        number(&client, gone).await == 0
    })
    .await;
    assert_eq!(number(&client, UNSENT).await, 100);

    // Killed with what is in the journal not yet sent.
    let process = home.start();
    wait_for_sent(&client, 105, &process).await;
    assert_once_each(&arrived(&nats).await, 105);
    nats.freeze();
    client.batch_execute(&rows(106, 100)).await.unwrap();
    wait_until_locked(&client, 100).await;
    sleep(Duration::from_millis(300)).await;
    process.kill();
    nats.thaw();
    let process = home.start();
    wait_for_sent(&client, 205, &process).await;
    let events = arrived(&nats).await;
    assert_once_each(&events, 205);
    assert_eq!(ids(&events), in_table(&client).await);
    assert_eq!(process.stop().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_wakes_it_within_a_second_however_rarely_it_looks_by_itself() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    let mut home = relay("relay-1", &server, "poll = \"1 h\"", &to_nats(&nats));
    let process = home.start();
    client.batch_execute(&rows(1, 1)).await.unwrap();
    wait_for_sent(&client, 1, &process).await;
    for number in 2..=6 {
        sleep(Duration::from_millis(300)).await;
        let begin = Instant::now();
        client.batch_execute(&rows(number, 1)).await.unwrap();
        wait_for_sent(&client, number as i64, &process).await;
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(1), "it took {took:?}");
    }
    // A thousand notifications, while it is at work, leave no row behind.
    for number in 7..=506 {
        client.batch_execute(&rows(number, 1)).await.unwrap();
    }
    wait_for_sent(&client, 506, &process).await;
    assert_once_each(&arrived(&nats).await, 506);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_told_of_is_found_by_looking() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    server
        .execute("drop trigger event_outbox_notify on event_outbox")
        .await;
    let mut home = relay("relay-1", &server, "poll = \"3 s\"", &to_nats(&nats));
    let process = home.start();
    client.batch_execute(&rows(1, 1)).await.unwrap();
    wait_for_sent(&client, 1, &process).await;
    let begin = Instant::now();
    client.batch_execute(&rows(2, 1)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(number(&client, SENT).await, 1, "nobody told of it");
    wait_for_sent(&client, 2, &process).await;
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_sent_is_told_of_once_and_holds_up_nothing() {
    const SMALL: &str = "jetstream { store_dir: \"$DIR/store\" }\nmax_payload: 65536";
    const LARGE: &str = "jetstream { store_dir: \"$DIR/store\" }\nmax_payload: 1048576";
    let (server, mut nats) = (database().await, NatsServer::with(SMALL));
    nats.create_stream(|_| {}).await;
    let client = server.connect().await;
    // No type, no time, too large for any journal, and too large for this broker.
    client
        .batch_execute(
            "insert into event_outbox (id, aggregate_id, event_type, payload, occurred_at) values \
             ('00000000-0000-4000-8000-000000000001', gen_random_uuid(), 'lesson.>', '{}', \
             '2020-01-01'), \
             ('00000000-0000-4000-8000-000000000002', gen_random_uuid(), 'lesson.v1', '{}', \
             '-infinity'), \
             ('00000000-0000-4000-8000-000000000003', gen_random_uuid(), 'lesson.v1', \
             to_jsonb(repeat('x', 300000)), '2020-01-01'), \
             ('00000000-0000-4000-8000-000000000004', gen_random_uuid(), 'lesson.v1', \
             to_jsonb(repeat('x', 100000)), '2020-01-01')",
        )
        .await
        .unwrap();
    client.batch_execute(&rows(1, 300)).await.unwrap();
    let keys = "batch = 50\npoll = \"200 ms\"\nretry_refused = \"3 s\"";
    let mut home = relay("relay-1", &server, keys, &to_nats(&nats));
    let mut process = home.start();
    wait_for_sent(&client, 300, &process).await;
    // They are looked at again meanwhile, and said to be what they are once.
    sleep(Duration::from_secs(5)).await;
    let unsent = "select id from event_outbox where sent_at is null order by id";
    assert_eq!(lines(&client, unsent).await.len(), 4);
    let log = process.log();
    for (id, reason) in [
        (1, "event_type: "),
        (2, "no time that could be sent"),
        (3, "300002 bytes, the limit is 262144"),
        (4, "sink nats rejected it for good: "),
    ] {
        let id = format!("00000000-0000-4000-8000-00000000000{id}");
        let of_it: Vec<&str> = log.lines().filter(|line| line.contains(&id)).collect();
        assert_eq!(of_it.len(), 1, "{log}");
        assert!(of_it[0].contains(reason), "{log}");
    }
    // A row that says something else than when it was sent is no repeat of it.
    client
        .batch_execute(
            "update event_outbox set sent_at = null, payload = '{\"n\": 0}' where payload = '{\"n\": 300}'",
        )
        .await
        .unwrap();
    process.wait_for_log("is known already, as seq ");
    assert_eq!(lines(&client, unsent).await.len(), 5);

    // What somebody has mended is sent after all.
    client
        .batch_execute(
            "update event_outbox set event_type = 'lesson.v1' where event_type = 'lesson.>'",
        )
        .await
        .unwrap();
    nats.stop();
    nats.start_again_with(LARGE);
    wait_for_sent(&client, 301, &process).await;
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("refused=5"), "{log}");
    assert_eq!(lines(&client, unsent).await.len(), 3);
    assert_once_each(&arrived(&nats).await, 302);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_that_cannot_be_sent_than_are_kept_in_mind_hold_up_nothing_either() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client
        .batch_execute(
            "insert into event_outbox (aggregate_id, event_type, payload, occurred_at) \
             select gen_random_uuid(), 'lesson.*', '{}', timestamptz '2020-01-01' + n * interval '1 s' \
             from generate_series(1, 5300) as n",
        )
        .await
        .unwrap();
    client.batch_execute(&rows(1, 20)).await.unwrap();
    let keys = "batch = 500\npoll = \"500 ms\"";
    let mut home = relay("relay-1", &server, keys, &to_nats(&nats));
    let process = home.start();
    wait_for_sent(&client, 20, &process).await;
    client.batch_execute(&rows(21, 20)).await.unwrap();
    wait_for_sent(&client, 40, &process).await;
    assert_once_each(&arrived(&nats).await, 40);
    let (_, _, log) = process.stop();
    let told = log.matches("a row is not sent, and stays as it is").count();
    assert_eq!(told, 4_096);
    assert_eq!(
        log.matches("more rows cannot be sent than are kept")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_bytes_are_taken_at_a_time_than_it_was_told_and_others_may_have_the_rest() {
    let (server, mut nats) = (database().await, broker().await);
    let client = server.connect().await;
    let keys = "batch_bytes = \"64 KiB\"";
    let mut home = relay("relay-1", &server, keys, &to_nats(&nats));
    let process = home.start();
    client.batch_execute(&rows(1, 1)).await.unwrap();
    wait_for_sent(&client, 1, &process).await;
    nats.freeze();
    // The first is larger than all that may be taken at a time.
    client
        .batch_execute(
            "insert into event_outbox (aggregate_id, event_type, payload, occurred_at) \
             select gen_random_uuid(), 'lesson.v1', \
             to_jsonb(repeat('x', case n when 1 then 100000 else 20000 end)), \
             timestamptz '2026-04-01' + n * interval '1 s' from generate_series(1, 40) as n",
        )
        .await
        .unwrap();
    wait_until_locked(&client, 1).await;
    let free = "select count(*) from (select id from event_outbox where sent_at is null \
                for update skip locked) as free";
    wait_until("all but one", || async {
        number(&client, free).await == 39
    })
    .await;
    nats.thaw();
    wait_for_sent(&client, 41, &process).await;
    let events = arrived(&nats).await;
    assert_once_each(&events, 41);
    assert_eq!(ids(&events), in_table(&client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_the_log_has_two_lines() {
    let (mut server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    let mut home = relay("relay-1", &server, "", &to_nats(&nats));
    let mut process = home.start();
    client.batch_execute(&rows(1, 5)).await.unwrap();
    wait_for_sent(&client, 5, &process).await;
    server.kill();
    process.wait_for_log("the relay: ");
    sleep(Duration::from_secs(3)).await;
    server.start_again();
    let client = server.connect().await;
    client.batch_execute(&rows(6, 5)).await.unwrap();
    wait_for_sent(&client, 10, &process).await;
    assert_once_each(&arrived(&nats).await, 10);
    let (code, _, log) = process.stop();
    assert_eq!(code, Some(0), "{log}");
    let trouble: Vec<&str> = log
        .lines()
        .filter(|it| it.contains("the relay: "))
        .collect();
    assert_eq!(trouble.len(), 2, "{log}");
    assert!(trouble[1].contains("works again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_other_names_is_relayed_to_mqtt_by_whoever_may_do_no_more_than_that() {
    let (server, mosquitto) = (PostgresServer::start(), MosquittoServer::start());
    server
        .execute(
            "create role relay login; create schema \"my \"\"schema\"; \
             create table \"my \"\"schema\".\"Out box\" (\"Id\" uuid, about uuid, kind varchar(99), \
             body json, at timestamp, shape smallint, \"done at\" timestamp, secret text); \
             grant usage on schema \"my \"\"schema\" to relay; \
             grant select (\"Id\", about, kind, body, at, shape, \"done at\"), update (\"done at\") \
             on \"my \"\"schema\".\"Out box\" to relay",
        )
        .await;
    let client = server.connect().await;
    let sections = format!(
        "[relay.columns]\nid = \"Id\"\naggregate_id = \"about\"\nevent_type = \"kind\"\n\
         payload = \"body\"\noccurred_at = \"at\"\nversion = \"shape\"\nsent_at = \"done at\"\n\
         [sinks.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nstart_jitter = \"0 ms\"\n",
        mosquitto.url()
    );
    let keys = "table = \"Out box\"\nchannel = \"Some 'thing\"\npoll = \"1 h\"";
    let mut home = relay("relay-1", &server, keys, &sections);
    let config = std::fs::read_to_string(home.path("relay.toml")).unwrap();
    let config = config.replace("[http]", "schema = 'my \"schema'\n[http]");
    std::fs::write(home.path("relay.toml"), config).unwrap();
    let subscriber = Subscriber::start(&mosquitto.url(), "edupulse/events/#");
    let process = home.start();
    client
        .batch_execute(
            "insert into \"my \"\"schema\".\"Out box\" select gen_random_uuid(), \
             gen_random_uuid(), 'quiz.submitted.v1', ('{ \"n\" :  ' || n || ' }')::json, \
             timestamp '2026-03-01 08:00' + n * interval '1 s', null \
             from generate_series(1, 120) as n; notify \"Some 'thing\"",
        )
        .await
        .unwrap();
    let left = "select count(*) from \"my \"\"schema\".\"Out box\" where \"done at\" is null";
    wait_until("marks", || async { number(&client, left).await == 0 }).await;
    let received = subscriber.wait_for(121);
    let events = received.iter().map(support::subscriber::Received::json);
    let events: Vec<Value> = events.filter(|it| it["kind"] == "program").collect();
    assert_once_each(&events, 120);
    assert_eq!(events[0]["occurred_at"], "2026-03-01T08:00:01.000000Z");
    assert!(received.iter().any(|it| {
        let text = std::str::from_utf8(&it.payload).unwrap();
        text.contains("\"payload\":{ \"n\" :  7 }}")
    }));
    let log = process.stop().2;
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_table_is_told_with_what_to_do_about_it() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client.batch_execute(&rows(1, 5)).await.unwrap();
    for (statement, keys, said) in [
        (
            "revoke update (sent_at) on event_outbox from edge_outbox_relay",
            "",
            "permission denied for table event_outbox",
        ),
        (
            "grant update (sent_at) on event_outbox to edge_outbox_relay",
            "table = \"other\"",
            "relation \"other\" does not exist",
        ),
        (
            "",
            "[relay.columns]\nversion = \"v\"",
            "column \"v\" does not exist",
        ),
        (
            "",
            "[relay.columns]\nversion = \"event_type\"",
            "the column \"event_type\" is text, where int4 is needed",
        ),
    ] {
        client.batch_execute(statement).await.unwrap();
        let mut home = relay("relay-1", &server, keys, &to_nats(&nats));
        let mut process = home.start();
        process.wait_for_log(said);
        let log = process.stop().2;
        assert!(
            log.contains("ERROR") && log.contains("config sql --relay"),
            "{log}"
        );
    }
    // A trigger that lets nothing be marked: said once, and not tried again and again.
    client
        .batch_execute(
            "create function no() returns trigger language plpgsql as $$ begin return null; end $$; \
             create trigger no before update on event_outbox for each row execute function no()",
        )
        .await
        .unwrap();
    let mut home = relay("relay-1", &server, "", &to_nats(&nats));
    let mut process = home.start();
    process.wait_for_log("of 5 rows that were sent the table lets 0 be marked");
    client
        .batch_execute("drop trigger no on event_outbox")
        .await
        .unwrap();
    wait_for_sent(&client, 5, &process).await;
    assert_once_each(&arrived(&nats).await, 5);
    assert_eq!(process.stop().0, Some(0));

    let home = relay(
        "relay-1",
        &server,
        "",
        "[sinks.stdout]\ntype = \"stdout\"\n",
    );
    let ended = home.run();
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("no sink that confirms"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_the_service_manager_and_finishes_what_is_in_hand_when_it_is_stopped() {
    let (server, mut nats) = (database().await, broker().await);
    let client = server.connect().await;
    let mut home = relay("relay-1", &server, "", &to_nats(&nats));
    let socket = home.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let heard = || {
        let mut room = [0; 1_024];
        let length = manager.recv(&mut room).unwrap();
        String::from_utf8_lossy(&room[..length]).into_owned()
    };
    home.set("NOTIFY_SOCKET", socket.to_str().unwrap());
    let mut process = home.start();
    assert!(heard().starts_with("READY=1\nSTATUS="));
    client.batch_execute(&rows(1, 5)).await.unwrap();
    wait_for_sent(&client, 5, &process).await;
    while !heard().starts_with("STATUS=relays rows; takes events, up to seq 6; nats: ") {}

    nats.freeze();
    client.batch_execute(&rows(6, 20)).await.unwrap();
    wait_until_locked(&client, 20).await;
    let stopping = std::thread::spawn(move || {
        process.wait_for_log("started");
        process.stop()
    });
    while heard() != "STOPPING=1" {}
    nats.thaw();
    let (code, took, log) = stopping.join().unwrap();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert_eq!(number(&client, UNSENT).await, 0, "{log}");
    assert_once_each(&arrived(&nats).await, 25);
}

#[test]
fn the_script_for_the_table_is_printed() {
    let home = Home::new();
    assert_eq!(home.ok(&["config", "sql", "--relay"]), TABLE_SQL);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_relay_keeps_are_not_kept_locked_by_one_that_has_others_in_hand() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    let far_proxy = FaultProxy::to_port(nats.port());
    let near_proxy = FaultProxy::to_port(nats.port());
    server
        .execute("drop trigger event_outbox_notify on event_outbox")
        .await;
    let keys = "confirm_timeout = \"1 s\"";
    let mut far = relay("far", &server, keys, &to_nats_at(far_proxy.port()));
    let keys = "confirm_timeout = \"60 s\"\npoll = \"1 h\"";
    let mut near = relay("near", &server, keys, &to_nats_at(near_proxy.port()));
    client.batch_execute(&rows(1, 20)).await.unwrap();
    let mut far_process = far.start();
    wait_for_sent(&client, 20, &far_process).await;
    far_proxy.suffer(Fault::Blackhole);
    client.batch_execute(&rows(21, 30)).await.unwrap();
    far_process.wait_for_log("30 rows were not confirmed within 1s");
    let near_process = near.start();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(number(&client, UNSENT).await, 30);
    near_proxy.suffer(Fault::Blackhole);
    sleep(Duration::from_millis(1_500)).await;
    // Inserted when near is about to look at the 30 again, so that it finds all of them at once.
    let kept = "select count(distinct (classid, objid)) from pg_locks where locktype = 'advisory'";
    assert_eq!(number(&client, kept).await, 30);
    client.batch_execute(&rows(1, 5)).await.unwrap();
    wait_until("near has five in hand", || async {
        number(&client, kept).await == 35
    })
    .await;
    sleep(Duration::from_millis(300)).await;
    let free = "select count(*) from (select id from event_outbox where sent_at is null \
                for update skip locked) as free";
    assert_eq!(number(&client, free).await, 30, "{}", near_process.log());
    far_proxy.mend();
    wait_for_sent(&client, 50, &far_process).await;
    near_proxy.mend();
    wait_for_sent(&client, 55, &near_process).await;
    sleep(A_WHILE).await;
    assert_once_each(&arrived(&nats).await, 55);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_has_locked_when_they_are_confirmed_are_kept_until_they_are_marked() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    let proxy = FaultProxy::to_port(nats.port());
    let keys = "confirm_timeout = \"1 s\"\npoll = \"1 h\"";
    let mut far = relay("far", &server, keys, &to_nats_at(proxy.port()));
    let keys = "poll = \"200 ms\"";
    let mut near = relay("near", &server, keys, &to_nats(&nats));
    let mut far_process = far.start();
    client.batch_execute(&rows(1, 20)).await.unwrap();
    wait_for_sent(&client, 20, &far_process).await;
    proxy.suffer(Fault::Blackhole);
    client.batch_execute(&rows(21, 30)).await.unwrap();
    far_process.wait_for_log("30 rows were not confirmed within 1s");
    let guard = server.connect().await;
    guard
        .batch_execute("begin; select from event_outbox where sent_at is null for update")
        .await
        .unwrap();
    proxy.mend();
    wait_until("what was in hand", || async {
        arrived(&nats).await.len() == 50
    })
    .await;
    sleep(A_WHILE).await;
    let near_process = near.start();
    sleep(A_WHILE).await;
    assert_eq!(number(&client, UNSENT).await, 30);
    guard.batch_execute("rollback").await.unwrap();
    wait_for_sent(&client, 50, &near_process).await;
    sleep(A_WHILE).await;
    assert_once_each(&arrived(&nats).await, 50);
    // What is kept no more is not locked either.
    let kept = "select count(*) from pg_locks where locktype = 'advisory'";
    wait_until("no locks", || async { number(&client, kept).await == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_at_the_last_time_there_is_or_without_an_id_holds_up_nothing() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client
        .batch_execute(
            "alter table event_outbox drop constraint event_outbox_pkey; \
             alter table event_outbox alter id drop not null; \
             insert into event_outbox (id, aggregate_id, event_type, payload, occurred_at) values \
             (null, gen_random_uuid(), 'lesson.v1', '{}', '2020-01-01'), \
             ('0192f0c1-2345-7000-8000-000000000bad', gen_random_uuid(), 'lesson.v1', '{}', \
             '294276-12-31 23:59:59+00'), \
             (gen_random_uuid(), gen_random_uuid(), 'lesson.v1', '{}', '4713-01-01 BC')",
        )
        .await
        .unwrap();
    client.batch_execute(&rows(1, 5)).await.unwrap();
    let mut home = relay("relay-1", &server, "poll = \"200 ms\"", &to_nats(&nats));
    let mut process = home.start();
    wait_for_sent(&client, 5, &process).await;
    process.wait_for_log("rows without an id are not sent, and stay as they are");
    sleep(A_WHILE).await;
    let log = process.log();
    for (text, times) in [
        ("it has no time that could be sent", 2),
        ("id=0192f0c1-2345-7000-8000-000000000bad", 1),
        ("rows without an id", 1),
    ] {
        assert_eq!(log.matches(text).count(), times, "{text} in {log}");
    }
    assert!(!log.contains("ERROR"), "{log}");
    assert_once_each(&arrived(&nats).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_server_cannot_read_is_refused_by_its_id_and_holds_up_nothing() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client
        .batch_execute(
            "create view lessons as select id, aggregate_id, \
             case version when 77 then (1 / (version - 77))::text else event_type end as event_type, \
             case version when 78 then (1 / (version - 78))::text else payload::text end as payload, \
             occurred_at, version, sent_at from event_outbox; \
             grant select, update on lessons to relay; \
             insert into event_outbox (id, aggregate_id, event_type, payload, occurred_at, version) \
             select ('0192f0c1-2345-7000-8000-0000000000' || n)::uuid, gen_random_uuid(), \
             'lesson.v1', '{}', '2026-03-01 08:00:00.003+00', n from generate_series(77, 78) as n",
        )
        .await
        .unwrap();
    client.batch_execute(&rows(1, 5)).await.unwrap();
    let keys = "table = \"lessons\"\npoll = \"200 ms\"";
    let mut home = relay("relay-1", &server, keys, &to_nats(&nats));
    let process = home.start();
    wait_for_sent(&client, 5, &process).await;
    sleep(A_WHILE).await;
    let log = process.log();
    for id in [77, 78] {
        let id = format!("id=0192f0c1-2345-7000-8000-0000000000{id}");
        assert_eq!(log.matches(&id).count(), 1, "{log}");
    }
    assert_eq!(
        log.matches("the server says SQLSTATE 22012").count(),
        2,
        "{log}"
    );
    assert!(!log.contains("trouble"), "{log}");
    assert_once_each(&arrived(&nats).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_one_of_two_sinks_rejects_reaches_the_other_once_however_many_relays_there_are()
{
    const LARGE: &str = "jetstream { store_dir: \"$DIR/store\" }\nmax_payload: 1048576";
    const SMALL: &str = "jetstream { store_dir: \"$DIR/store\" }\nmax_payload: 65536";
    let server = database().await;
    let (nats, small) = (NatsServer::with(LARGE), NatsServer::with(SMALL));
    nats.create_stream(|_| {}).await;
    small.create_stream(|_| {}).await;
    let client = server.connect().await;
    let to_small = to_nats(&small).replace("[sinks.nats]", "[sinks.small]");
    let sinks = format!("{}{to_small}", to_nats(&nats));
    let keys = "poll = \"500 ms\"";
    let mut one = relay("relay-1", &server, keys, &sinks);
    let mut two = relay("relay-2", &server, keys, &sinks);
    let one_process = one.start();
    let two_process = two.start();
    client
        .batch_execute(
            "insert into event_outbox (aggregate_id, event_type, payload, occurred_at) values \
             (gen_random_uuid(), 'lesson.v1', to_jsonb(repeat('x', 100000)), '2020-01-01')",
        )
        .await
        .unwrap();
    client.batch_execute(&rows(1, 5)).await.unwrap();
    wait_for_sent(&client, 5, &one_process).await;
    // Each looks again after five seconds at what another keeps.
    sleep(Duration::from_secs(8)).await;
    assert_once_each(&arrived(&nats).await, 6);
    drop(two_process);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_without_a_time_than_are_kept_in_mind_hold_up_nothing_either() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client
        .batch_execute(
            "alter table event_outbox alter occurred_at drop not null; \
             insert into event_outbox (id, aggregate_id, event_type, payload, occurred_at) \
             select lpad(to_hex(n), 32, '0')::uuid, gen_random_uuid(), 'no type', '{}', null \
             from generate_series(1, 4500) as n; \
             insert into event_outbox (id, aggregate_id, event_type, payload, occurred_at) \
             values ('f192f0c1-2345-7000-8000-000000000001', gen_random_uuid(), 'lesson.v1', '{}', \
             null)",
        )
        .await
        .unwrap();
    let mut home = relay("relay-1", &server, "poll = \"1 s\"", &to_nats(&nats));
    let process = home.start();
    wait_for_sent(&client, 1, &process).await;
    assert_once_each(&arrived(&nats).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_asks_soon_whether_a_relay_that_says_nothing_is_there() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client.batch_execute(&rows(1, 1)).await.unwrap();
    let mut home = relay("relay-1", &server, "", &to_nats(&nats));
    let process = home.start();
    wait_for_sent(&client, 1, &process).await;
    let port: u16 = lines(&client, "show port").await[0].parse().unwrap();
    // The server's ends of connections, and in how many hundredths of a second it asks on each.
    let asks = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ends = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_end = fields[1].ends_with(&format!(":{port:04X}")) && fields[3] == "01";
            let (timer, when) = fields[5].split_once(':')?;
            (is_end && timer == "02").then(|| u64::from_str_radix(when, 16).unwrap())
        });
        ends.collect::<Vec<u64>>()
    };
    wait_until("the server to ask within 30 s", || async {
        asks().iter().any(|when| *when <= 3_000)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_larger_together_than_the_journal_may_be_are_sent_in_parts_at_once() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client
        .batch_execute(
            "insert into event_outbox (aggregate_id, event_type, payload) \
             select gen_random_uuid(), 'lesson.v1', to_jsonb(repeat('x', 100000)) \
             from generate_series(1, 30)",
        )
        .await
        .unwrap();
    let keys = "poll = \"1 h\"\nbatch_bytes = \"8 MiB\"\n[journal]\nmax_bytes = \"2 MiB\"";
    let mut home = relay("relay-1", &server, keys, &to_nats(&nats));
    let process = home.start();
    wait_for_sent(&client, 30, &process).await;
    assert_once_each(&arrived(&nats).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_marked_without_being_sent_again_and_the_log_counts_it() {
    let (server, nats) = (database().await, broker().await);
    let client = server.connect().await;
    client.batch_execute(&rows(1, 5)).await.unwrap();
    let mut home = relay("relay-1", &server, "poll = \"200 ms\"", &to_nats(&nats));
    let mut process = home.start();
    wait_for_sent(&client, 5, &process).await;
    client
        .batch_execute("update event_outbox set sent_at = null")
        .await
        .unwrap();
    wait_for_sent(&client, 5, &process).await;
    process.wait_for_log("rows that were sent before are marked, and not sent again rows=5");
    assert_once_each(&arrived(&nats).await, 5);
}
