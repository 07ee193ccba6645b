//! How often an event makes the program allocate, on its way into the journal and out of it again.
//!
//! An allocator costs time, and on a board that runs for months its heap falls to pieces. So what is
//! allocated is counted, for the whole process: there is one test at a time, and nothing else in this
//! binary. A rise fails; a bound that a fall has left behind is to be lowered.

#![cfg(all(feature = "mqtt", feature = "nats", feature = "postgres"))]

#[path = "support/allocation.rs"]
mod allocation;
mod support;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use allocation::times;
use bytes::Bytes;
use edge_outbox::{
    Event, Outbox,
    forwarder::{Forwarder, SinkSpec},
    ingest::body::{Format, read},
    redb::{self, Durability, TableDefinition},
    secret::Secret,
    sink::{
        Sink,
        memory::{MemorySink, MemoryStore},
        mqtt::{MqttOptions, MqttSink},
        nats::{NatsOptions, NatsSink},
        postgres::{PostgresOptions, PostgresSink, SslMode},
    },
};
use support::{
    mosquitto::MosquittoServer, nats_server::NatsServer, postgres_server::PostgresServer,
};
use uuid::Uuid;

/// Commits before anything is counted: what is allocated once is there, and the trees in the file
/// have their usual height.
const BEFORE: usize = 100;
/// Commits that are counted.
const COMMITS: usize = 200;
/// Events of a full group.
const GROUP: usize = 64;
/// What a stored event takes beside its payload, in bytes, about.
const ROW_OVERHEAD: usize = 90;
/// Events that are handed in at once over HTTP.
const LINES: usize = 100;
/// How often.
const BODIES: usize = 100;
/// Events that are drained to a server.
const BACKLOG: usize = 20_480;
/// Longer than a drain takes.
const LIMIT: Duration = Duration::from_secs(60);

fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn payload() -> String {
    format!(r#"{{"answer":"{}"}}"#, "x".repeat(243))
}

fn event(payload: &str) -> Event {
    Event::builder("quiz.submitted.v1", Uuid::nil())
        .payload(payload)
        .build()
        .unwrap()
}

/// So many events in each of so many requests, made before anything is counted.
fn requests(commits: usize, events: usize) -> Vec<Vec<Event>> {
    let payload = payload();
    let request = || (0..events).map(|_| event(&payload)).collect();
    (0..commits).map(|_| request()).collect()
}

fn open(dir: &Path) -> Outbox {
    Outbox::builder(dir).open().unwrap()
}

fn commits(outbox: &Outbox) -> u64 {
    let counted = outbox.meter().commits.cumulative();
    counted.last().copied().unwrap()
}

/// Allocations in a commit of so many events at once, handed over by a plain thread.
fn of_a_commit(events: usize) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let blocking = outbox.blocking();
    let append = |requests: Vec<Vec<Event>>| {
        for mut request in requests {
            match (request.len(), request.pop()) {
                (1, Some(event)) => drop(blocking.append(event).unwrap()),
                (_, last) => {
                    request.extend(last);
                    blocking.append_batch(request).unwrap();
                }
            }
        }
    };
    append(requests(BEFORE, events));
    let counted = requests(COMMITS, events);
    let before = commits(&outbox);
    let times = times(|| append(counted));
    assert_eq!(commits(&outbox) - before, COMMITS as u64);
    blocking.close();
    times as f64 / COMMITS as f64
}

/// Those of bare redb, for as many bytes in one row, two-phase with quick repair.
fn of_a_bare_commit(events: usize) -> f64 {
    const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
    let dir = tempfile::tempdir().unwrap();
    let database = redb::Builder::new()
        .set_cache_size(1 << 20)
        .create(dir.path().join("bare.redb"))
        .unwrap();
    let row = vec![7; events * (payload().len() + ROW_OVERHEAD)];
    let commit = |number: usize| {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_durability(Durability::Immediate).unwrap();
        transaction.set_quick_repair(true);
        let mut rows = transaction.open_table(ROWS).unwrap();
        rows.insert((number * events) as u64, row.as_slice())
            .unwrap();
        drop(rows);
        transaction.commit().unwrap();
    };
    (0..BEFORE).for_each(commit);
    let times = times(|| (BEFORE..BEFORE + COMMITS).for_each(commit));
    times as f64 / COMMITS as f64
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Asserts that a commit of so many events allocates at most so often beside what redb does.
fn assert_commit(events: usize, bound: f64) {
    let (ours, bare) = (of_a_commit(events), of_a_bare_commit(events));
    let beside = ours - bare;
    println!("{events} in a commit: {ours:.2} allocations, {bare:.2} of bare redb");
    assert!(beside <= bound, "{beside:.2} beside redb's {bare:.2}");
}

/// Asserts that events which were appended so many at a time allocate at most so often each while
/// they are read, rendered, handed to a sink and confirmed, the commits for that not counted.
fn assert_drain(at_once: usize, events: usize, bound: f64) {
    let store = MemoryStore::new();
    let sink = Sink::Memory(MemorySink::new(store.clone()));
    assert_drain_to(sink, at_once, events, bound);
    // The start of the epoch was sent, too.
    assert_eq!(store.seqs().len(), events + 1);
}

/// The same, to this sink.
fn assert_drain_to(sink: Sink, at_once: usize, events: usize, bound: f64) {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    for request in requests(events / at_once, at_once) {
        outbox.blocking().append_batch(request).unwrap();
    }
    let runtime = runtime();
    let forwarder = Forwarder::new(outbox.clone(), vec![SinkSpec::new("hub", sink)]);
    let before = commits(&outbox);
    let times = times(|| {
        let drained = runtime.block_on(forwarder.drain(LIMIT)).unwrap();
        assert_eq!(drained.left(), 0);
    });
    let commits = commits(&outbox) - before;
    outbox.blocking().close();
    let beside = times as f64 - commits as f64 * of_a_bare_commit(1);
    let each = beside / events as f64;
    println!(
        "drained, appended {at_once} at a time: {each:.3} allocations an event beside those of {commits} commits"
    );
    assert!(each <= bound, "{each:.3} beside those of {commits} commits");
}

// What is counted today, with room for less than one allocation more. Of redb's about 1,500 in a commit
// most are copies of its table of free pages, which quick repair has it write; they are fewer
// where it is built without its own assertions.

/// 7 of our own: the request, where its answer comes from, the places that are the answer, events
/// and ids of the commit, its group, and the epoch's name in the status. The others are redb's, for
/// the tables beside that of the groups.
#[test]
fn one_event_appended_by_itself_allocates_seldom() {
    let _alone = alone();
    assert_commit(1, 21.5);
}

/// The same, and pages for a longer row: none for each event.
#[test]
fn an_event_in_a_full_group_allocates_nothing_by_itself() {
    let _alone = alone();
    assert_commit(GROUP, 27.0);
}

/// 8 for each group, shared by its 64 events, and those of the lists of a chunk that grow.
#[test]
fn an_event_of_a_full_group_on_its_way_to_a_sink_allocates_nothing_by_itself() {
    let _alone = alone();
    assert_drain(1_024, 40_960, 0.45);
}

/// For its group: the row as it was read, its events twice (once to tell since when it waits), the
/// statement, and both kinds of digests.
#[test]
fn an_event_of_its_own_group_on_its_way_to_a_sink_allocates_for_that_group_alone() {
    let _alone = alone();
    assert_drain(1, 1_000, 6.0);
}

/// Most of them are the client's: the headers, which are a table of lists, the message on its way to
/// the connection, and the answer with its subject.
#[test]
fn an_event_on_its_way_to_jetstream_allocates_no_more_than_it_did() {
    let _alone = alone();
    let server = NatsServer::start();
    runtime().block_on(server.create_stream(|_| {}));
    let options = NatsOptions {
        servers: vec![Secret::new(server.url())],
        ..NatsOptions::default()
    };
    let sink = Sink::Nats(NatsSink::new(options).unwrap());
    assert_drain_to(sink, 1_024, BACKLOG, 16.9);
}

/// Most of them are the client's: the properties of the message, and what it keeps until the answer.
#[test]
fn an_event_on_its_way_to_mosquitto_allocates_no_more_than_it_did() {
    let _alone = alone();
    let server = MosquittoServer::start();
    let options = MqttOptions {
        servers: vec![Secret::new(server.url())],
        accept_no_subscribers: true,
        ..MqttOptions::default()
    };
    let sink = Sink::Mqtt(MqttSink::new(options).unwrap());
    assert_drain_to(sink, 1_024, BACKLOG, 22.5);
}

/// Its columns, and the row that comes back.
#[test]
fn an_event_on_its_way_to_postgres_allocates_no_more_than_it_did() {
    let _alone = alone();
    let server = runtime().block_on(PostgresServer::with_tables());
    let options = PostgresOptions {
        url: server.url().into(),
        sslmode: Some(SslMode::Disable),
        ..PostgresOptions::default()
    };
    let sink = Sink::Postgres(PostgresSink::new(options).unwrap());
    assert_drain_to(sink, 1_024, BACKLOG, 8.4);
}

/// The lists of events and of lines, the type that all have, and who holds the body: four for all of
/// them, and none for a line.
#[test]
fn a_line_handed_in_over_http_allocates_nothing_of_its_own() {
    let _alone = alone();
    let line = format!(
        "{{\"event_type\":\"quiz.submitted.v1\",\"aggregate_id\":\"{}\",\"payload\":{}}}\n",
        Uuid::nil(),
        payload()
    );
    let bodies: Vec<Bytes> = (0..BODIES).map(|_| line.repeat(LINES).into()).collect();
    let times = times(|| {
        for body in &bodies {
            let request = read(body, Format::NdJson, 1 << 20).unwrap();
            assert_eq!(request.events.len(), LINES);
        }
    });
    let each = times as f64 / (BODIES * LINES) as f64;
    println!("{LINES} lines at once: {each:.3} allocations a line");
    assert!(each <= 0.045, "{each:.3}");
}
