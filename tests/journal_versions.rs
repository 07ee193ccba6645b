//! Journals of every version that was ever written open and go on; one of a later version is
//! refused, and left as it is.
//!
//! `tests/fixtures/journal-N` was written by the first version whose journals are of format `N`, is
//! frozen from then on, and holds a key that signs nothing else. For a new format,
//!
//! ```sh
//! cargo test --test journal_versions -- --ignored
//! ```
//!
//! writes the next one; it never replaces one that is there.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use edge_outbox::{
    Chain, Delivery, DeviceKey, Envelope, Event, OpenError, Outbox, Seq, Transaction, Verifier,
    outbox::{Cursor, Progress, Registration, Start},
    redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition},
    sink::{Incarnation, Position},
};
use serde_json::{Value, json};
#[cfg(feature = "cli")]
use support::program::Home;
use tempfile::TempDir;
use uuid::Uuid;

const JOURNAL: &str = "journal.redb";
const KEY: &str = "signing-key.pem";
/// The envelopes as the version that wrote the journal rendered them.
const EVENTS: &str = "events.jsonl";
/// What else stands in the journal.
const EXPECTED: &str = "expected.json";
/// The newest format, which [`makes_the_fixture_of_the_newest_format`] makes.
const NEWEST: &str = "journal-1";

/// What the journal itself has: see `docs/design.md`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("edge_outbox.meta");
const GROUPS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("edge_outbox.groups");
const CHECKPOINT: TableDefinition<'_, (), &[u8]> = TableDefinition::new("edge_outbox.checkpoint");
/// A program's own.
const SCORES: TableDefinition<'_, &str, u64> = TableDefinition::new("scores");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Every format's fixture. (`tables-1`, which has something in each table, has a test of its own among
/// those of the journal.)
fn all() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join(EXPECTED).exists())
        .collect();
    all.sort();
    all
}

/// Copies journal and key to where they may be changed.
fn copy(fixture: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::copy(fixture.join(JOURNAL), to.join(JOURNAL)).unwrap();
    fs::copy(fixture.join(KEY), to.join(KEY)).unwrap();
    // git keeps no more of the mode than one bit.
    for file in [JOURNAL, KEY] {
        fs::set_permissions(to.join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn copied(fixture: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(fixture, dir.path());
    dir
}

fn newest() -> TempDir {
    copied(&fixtures().join(NEWEST))
}

fn event(number: u128, payload: &str) -> Event {
    Event::builder("quiz.submitted.v1", Uuid::from_u128(7))
        .id(Uuid::from_u128(number))
        .payload(payload)
        .build()
        .unwrap()
}

async fn lines(outbox: &Outbox) -> String {
    let mut stream = outbox.events(Seq::FIRST);
    let mut all = Vec::new();
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    String::from_utf8(all).unwrap()
}

/// Every envelope by itself, and all of them as one chain.
fn assert_verifies(outbox: &Outbox, lines: &str) {
    let mut verifier = Verifier::new();
    verifier.trust_for(outbox.public_key().clone(), outbox.device().clone());
    let mut chain = Chain::new();
    for line in lines.lines() {
        let envelope = Envelope::parse(line.as_bytes()).unwrap();
        chain.extend(&verifier.verify(envelope).unwrap()).unwrap();
    }
}

fn registration(name: &str) -> Registration {
    Registration {
        name: name.into(),
        kind: "memory",
        required: name == "school",
        window: 4,
        start: Start::Oldest,
        by_receipts: false,
    }
}

fn told(cursor: Cursor) -> Value {
    json!({
        "confirmed": cursor.confirmed.get(),
        "acked": cursor.acked.get(),
        "claimed": cursor.claimed.get(),
        "floor": cursor.floor.0,
        "incarnation": cursor.incarnation.0,
        "required": cursor.required,
        "dead_letters": cursor.dead_letters,
    })
}

fn fate_at((sink, delivery): (String, Delivery)) -> (String, String) {
    let fate = match delivery {
        Delivery::Pending => "pending".into(),
        Delivery::Delivered => "delivered".into(),
        Delivery::Rejected(code) => format!("rejected: {code}"),
    };
    (sink, fate)
}

/// The cursors and dead letters of both sinks, and the program's own table.
async fn found(outbox: &Outbox) -> Value {
    let mut sinks = BTreeMap::new();
    for name in ["hub", "school"] {
        let handle = outbox.sink(registration(name)).await.unwrap();
        sinks.insert(name, told(handle.cursor()));
    }
    let dead = outbox.find(Uuid::from_u128(3)).await.unwrap().unwrap();
    let fate: BTreeMap<String, String> = dead.sinks.into_iter().map(fate_at).collect();
    let score = outbox.read(|tables| {
        let scores = tables.open_table(SCORES)?;
        Ok::<_, Box<dyn std::error::Error>>(scores.get("ada")?.map(|score| score.value()))
    });
    let status = outbox.status().borrow().clone();
    json!({
        "device": status.device,
        "key_id": status.key_id,
        "epoch": status.epoch,
        "tail": status.tail.get(),
        "sinks": sinks,
        "dead_letter": {"seq": dead.seq.get(), "sinks": fate},
        "ada": score.unwrap(),
    })
}

#[tokio::test]
#[ignore = "writes into the source tree"]
async fn makes_the_fixture_of_the_newest_format() {
    let dir = fixtures().join(NEWEST);
    assert!(!dir.exists(), "{} is frozen", dir.display());
    let made = tempfile::tempdir().unwrap();
    let outbox = Outbox::builder(made.path())
        .device("kiosk-07".parse().unwrap())
        .source("quiz-app")
        .open()
        .unwrap();
    outbox.append(event(1, "{\"score\":7}")).await.unwrap();
    let more = [
        event(2, "{\"answer\":\"Zürich — 苏黎世\", \"n\":1.50}"),
        event(3, "{\"too\":\"large\"}"),
        Event::builder("lesson.published", Uuid::from_u128(8))
            .source("lesson-app")
            .original_id("lesson/42")
            .version(2)
            .subject_id("person-1")
            .payload("null")
            .build()
            .unwrap(),
    ];
    outbox.append_batch(more.into()).await.unwrap();
    let school = outbox.sink(registration("school")).await.unwrap();
    let hub = outbox.sink(registration("hub")).await.unwrap();
    let dead = outbox.find(Uuid::from_u128(3)).await.unwrap().unwrap().seq;
    assert!(school.claim(Seq::new(9)).await.unwrap() >= dead);
    school.reject(dead, "too_large").await.unwrap();
    let progress = |acked, floor, incarnation| Progress {
        acked,
        floor: Position(floor),
        incarnation: Incarnation(incarnation),
    };
    school.progress(progress(dead, 41, 1_772_352_000_000_000_000));
    hub.claim(Seq::new(2)).await.unwrap();
    hub.progress(progress(Seq::new(1), 0, 0));
    school.settle().await.unwrap();
    let transaction =
        |tx: &Transaction<'_>| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            tx.open_table(SCORES)?.insert("ada", 7)?;
            tx.append(event(5, "{\"score\":7,\"of\":\"ada\"}"))?;
            Ok(())
        };
    outbox.transact(transaction).await.unwrap();
    // What is in doubt: the school may have it.
    let tail = outbox.status().borrow().tail;
    school.claim(tail).await.unwrap();
    drop((school, hub));
    let (lines, found) = (lines(&outbox).await, found(&outbox).await);
    outbox.close().await;

    fs::create_dir_all(&dir).unwrap();
    for file in [JOURNAL, KEY] {
        fs::copy(made.path().join(file), dir.join(file)).unwrap();
    }
    fs::write(dir.join(EVENTS), lines).unwrap();
    let found = serde_json::to_string_pretty(&found).unwrap();
    fs::write(dir.join(EXPECTED), found + "\n").unwrap();
}

#[tokio::test]
async fn a_journal_of_any_version_opens_as_it_was_and_goes_on_in_its_chain() {
    for fixture in all() {
        let read = |name| fs::read_to_string(fixture.join(name)).unwrap();
        let dir = copied(&fixture);
        let outbox = Outbox::builder(dir.path()).open().unwrap();
        assert_eq!(lines(&outbox).await, read(EVENTS));
        let expected: Value = serde_json::from_str(&read(EXPECTED)).unwrap();
        assert_eq!(found(&outbox).await, expected);

        let again = outbox.append(event(1, "{\"score\":7}")).await.unwrap();
        assert!(again.repeated, "its id is remembered");
        let next = outbox.append(event(100, "{}")).await.unwrap();
        assert!(next.seq.get() > expected["tail"].as_u64().unwrap());
        let school = outbox.sink(registration("school")).await.unwrap();
        assert_eq!(told(school.cursor()), expected["sinks"]["school"]);
        let all = lines(&outbox).await;
        assert!(all.starts_with(&read(EVENTS)));
        assert_verifies(&outbox, &all);
        drop(school);
        outbox.close().await;

        let outbox = Outbox::builder(dir.path()).open().unwrap();
        assert_eq!(lines(&outbox).await, all);
        outbox.close().await;
    }
}

/// The versions that a journal has: of the file, and of its last row.
fn versions(file: &Path) -> (u64, u8) {
    let database = Database::create(file).unwrap();
    let read = database.begin_read().unwrap();
    let meta = read.open_table(META).unwrap();
    let format = meta.get("format").unwrap().unwrap().value();
    let groups = read.open_table(GROUPS).unwrap();
    let row = groups.last().unwrap().unwrap().1.value()[0];
    (format, row)
}

#[tokio::test]
async fn what_is_written_today_is_among_the_fixtures() {
    let dir = tempfile::tempdir().unwrap();
    Outbox::builder(dir.path()).open().unwrap().close().await;
    let newest = versions(&dir.path().join(JOURNAL));
    let mut known = all().into_iter().map(|fixture| {
        let dir = copied(&fixture);
        versions(&dir.path().join(JOURNAL))
    });
    assert!(known.any(|known| known == newest), "{newest:?}");
}

/// What a later version may leave.
#[derive(Clone, Copy, Debug)]
enum Later {
    File,
    Row,
    Checkpoint,
}

/// Makes of the journal one of a later version, as that version left it: closed, or in use when the
/// power went.
fn make_later(file: &Path, later: Later, in_use: bool) {
    let database = Database::create(file).unwrap();
    let write = database.begin_write().unwrap();
    match later {
        Later::File => {
            write.open_table(META).unwrap().insert("format", 2).unwrap();
        }
        Later::Row => {
            let mut groups = write.open_table(GROUPS).unwrap();
            let (first, mut row) = {
                let (first, row) = groups.last().unwrap().unwrap();
                (first.value(), row.value().to_vec())
            };
            row[0] = 2;
            let covered = row.len() - 4;
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&first.to_be_bytes());
            hasher.update(&row[..covered]);
            let crc = hasher.finalize();
            row[covered..].copy_from_slice(&crc.to_le_bytes());
            groups.insert(first, row.as_slice()).unwrap();
        }
        Later::Checkpoint => {
            let mut row = vec![2, 1, 2, 3];
            row.extend(crc32fast::hash(&row).to_le_bytes());
            let mut table = write.open_table(CHECKPOINT).unwrap();
            table.insert((), row.as_slice()).unwrap();
        }
    }
    write.commit().unwrap();
    if in_use {
        let bytes = fs::read(file).unwrap();
        drop(database);
        fs::write(file, bytes).unwrap();
    }
}

/// Everything in a directory: names, bytes, times of the last change.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let entries = fs::read_dir(dir).unwrap();
    let entry = |path: PathBuf| {
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        (path.clone(), (fs::read(path).unwrap(), changed))
    };
    entries.map(|found| entry(found.unwrap().path())).collect()
}

fn every_later(check: impl Fn(Later, bool, &Path)) {
    for later in [Later::File, Later::Row, Later::Checkpoint] {
        for in_use in [false, true] {
            let dir = newest();
            // Which board it is on is remembered beside it.
            let outbox = Outbox::builder(dir.path()).open().unwrap();
            outbox.blocking().close();
            make_later(&dir.path().join(JOURNAL), later, in_use);
            let before = everything(dir.path());
            check(later, in_use, dir.path());
            assert!(before == everything(dir.path()), "{later:?} {in_use}");
        }
    }
}

#[test]
fn a_journal_of_a_later_version_is_refused_and_not_touched() {
    every_later(|later, in_use, dir| {
        let refused = Outbox::builder(dir).open().err();
        assert!(
            matches!(
                refused,
                Some(OpenError::Newer {
                    found: 2,
                    known: 1,
                    ..
                })
            ),
            "{later:?} {in_use}: {refused:?}"
        );
    });
}

#[cfg(feature = "cli")]
#[test]
fn the_program_says_that_a_later_version_wrote_the_journal_and_does_not_touch_it() {
    every_later(|_, _, dir| {
        let mut home = Home::new();
        home.set("EDGE_OUTBOX_DATA_DIR", dir.to_str().unwrap());
        for command in ["run", "status", "append"] {
            let ended = home.run(&[command]);
            let expected = format!(
                "error: {} was written in format 2, this program reads up to 1\n\
                 hint: install the version that wrote it\n",
                dir.join(JOURNAL).display()
            );
            assert_eq!((ended.code, ended.stderr), (1, expected), "{command}");
        }
    });
}

#[test]
fn what_is_refused_for_any_other_reason_is_not_touched_either() {
    let refused = |dir: &Path, key: Option<DeviceKey>| {
        let before = everything(dir);
        let builder = Outbox::builder(dir).inspect();
        let opened = match key {
            Some(key) => builder.signing_key(key).open(),
            None => builder.open(),
        };
        let error = opened.err().expect("it is refused");
        assert!(before == everything(dir), "{error}");
        error
    };
    let dir = newest();
    let other = refused(dir.path(), Some(DeviceKey::generate().unwrap()));
    assert!(matches!(other, OpenError::OtherKey { .. }), "{other}");

    let write = |change: &dyn Fn(&edge_outbox::redb::WriteTransaction)| {
        let dir = newest();
        let database = Database::create(dir.path().join(JOURNAL)).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&transaction);
        transaction.commit().unwrap();
        dir
    };
    let damaged = write(&|transaction| {
        let mut groups = transaction.open_table(GROUPS).unwrap();
        let last = groups.last().unwrap().unwrap().0.value();
        groups.insert(last, [1, 2, 3, 4, 5].as_slice()).unwrap();
    });
    let damaged = refused(damaged.path(), None);
    assert!(matches!(damaged, OpenError::Damaged { .. }), "{damaged}");
    let foreign = write(&|transaction| {
        transaction.delete_table(META).unwrap();
    });
    let foreign = refused(foreign.path(), None);
    assert!(matches!(foreign, OpenError::Damaged { .. }), "{foreign}");
}
