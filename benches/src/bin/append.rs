//! Durable appends a second: edge-outbox beside bare redb with the same groups and SQLite.
//!
//! Each figure is the median of the rounds (least–greatest); the kinds take turns within a round,
//! so a machine that slows down slows all of them. Ratios are within one run.
//!
//! Arguments: the directory to write in, and a part of the name of the rows to measure.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use edge_outbox::Outbox;
use edge_outbox_benches::{
    PAYLOAD_BYTES, Spread,
    classroom::{Class, EVENT_TYPE, payload},
    for_about,
    groups::{groups, row_bytes},
    per_second,
};
use redb::{Durability, TableDefinition};
use uuid::Uuid;

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(3);
const BATCH: usize = 1_000;

/// `producers` tasks, one event at a time each.
fn outbox(dir: &Path, producers: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let outbox = Outbox::builder(dir)
        .max_bytes(1 << 40)
        .open()
        .expect("it opens");
    let class = Class::new(PAYLOAD_BYTES);
    let rate = runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let tasks: Vec<_> = (0..producers)
            .map(|_| {
                let (outbox, class) = (outbox.clone(), class.clone());
                let (stop, count) = (stop.clone(), count.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let number = count.fetch_add(1, Ordering::Relaxed);
                        outbox.append(class.event(number)).await.expect("taken");
                    }
                })
            })
            .collect();
        tokio::time::sleep(TIME).await;
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("no panic");
        }
        per_second(count.load(Ordering::Relaxed), start.elapsed())
    });
    outbox.blocking().close();
    rate
}

/// One thread, one event at a time: what a program without an async runtime does.
fn outbox_thread(dir: &Path) -> f64 {
    let outbox = Outbox::builder(dir)
        .max_bytes(1 << 40)
        .open()
        .expect("it opens");
    let (class, blocking) = (Class::new(PAYLOAD_BYTES), outbox.blocking());
    let mut number = 0;
    let rate = for_about(TIME, || {
        number += 1;
        blocking.append(class.event(number)).expect("taken");
        1
    });
    blocking.close();
    rate
}

fn outbox_batches(dir: &Path) -> f64 {
    let outbox = Outbox::builder(dir)
        .max_bytes(1 << 40)
        .open()
        .expect("it opens");
    let (class, blocking) = (Class::new(PAYLOAD_BYTES), outbox.blocking());
    let rate = for_about(TIME, || {
        let events = (0..BATCH as u64).map(|number| class.event(number));
        let events = events.collect();
        blocking.append_batch(events).expect("taken");
        BATCH as u64
    });
    blocking.close();
    rate
}

/// Rows of the same size under the same keys, in commits of the same kind, and nothing else.
fn bare_redb(dir: &Path, events_a_commit: usize) -> f64 {
    const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
    let database = redb::Builder::new()
        .set_cache_size(4 << 20)
        .create(dir.join("bare.redb"))
        .expect("it opens");
    let mut seq = 1;
    for_about(TIME, || {
        let mut transaction = database.begin_write().expect("begins");
        transaction
            .set_durability(Durability::Immediate)
            .expect("set");
        transaction.set_quick_repair(true);
        {
            let mut rows = transaction.open_table(ROWS).expect("opens");
            for events in groups(events_a_commit, PAYLOAD_BYTES) {
                let row = vec![7; row_bytes(events, PAYLOAD_BYTES)];
                rows.insert(seq, row.as_slice()).expect("inserts");
                seq += events as u64;
            }
        }
        transaction.commit().expect("commits");
        events_a_commit as u64
    })
}

fn sqlite(dir: &Path, events_a_commit: usize) -> f64 {
    let mut database = rusqlite::Connection::open(dir.join("outbox.sqlite")).expect("it opens");
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE outbox (seq INTEGER PRIMARY KEY, id BLOB, type TEXT, payload TEXT);",
        )
        .expect("it is made");
    let payload = payload(0, PAYLOAD_BYTES);
    for_about(TIME, || {
        let transaction = database.transaction().expect("begins");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO outbox (id, type, payload) VALUES (?, ?, ?)")
                .expect("prepares");
            for _ in 0..events_a_commit {
                let id = Uuid::now_v7();
                insert
                    .execute((id.as_bytes(), EVENT_TYPE, &payload))
                    .expect("inserts");
            }
        }
        transaction.commit().expect("commits");
        events_a_commit as u64
    })
}

/// Its name, the events in a commit of the others beside it, and our figure.
type Kind = (&'static str, usize, fn(&Path) -> f64);

fn main() {
    println!(
        "| durable appends/s | edge-outbox | bare redb, same groups | SQLite WAL, FULL | edge-outbox : redb | edge-outbox : SQLite |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let kinds: [Kind; 6] = [
        ("1 producer (thread)", 1, outbox_thread),
        ("1 producer (task)", 1, |dir| outbox(dir, 1)),
        ("16 producers", 16, |dir| outbox(dir, 16)),
        ("64 producers", 64, |dir| outbox(dir, 64)),
        ("1,024 producers", 1024, |dir| outbox(dir, 1024)),
        ("batches of 1,000", BATCH, outbox_batches),
    ];
    let wanted = std::env::args().nth(2).unwrap_or_default();
    for (name, group, ours) in kinds
        .into_iter()
        .filter(|(name, ..)| name.contains(&wanted))
    {
        let mut figures = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let dir = || tempfile::tempdir_in(&base).expect("a directory");
            figures[0].push(ours(dir().path()));
            figures[1].push(bare_redb(dir().path(), group));
            figures[2].push(sqlite(dir().path(), group));
        }
        let [ours, redb, sqlite] = figures.map(Spread::of);
        let ratios = (ours.median / redb.median, ours.median / sqlite.median);
        println!(
            "| {name} | {ours} | {redb} | {sqlite} | {:.2} | {:.2} |",
            ratios.0, ratios.1
        );
    }
}
