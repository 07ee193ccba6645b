//! A journal with something in every table, as it was written when it was made: every later version
//! opens it, finds what stood there, and goes on with what was begun.
//!
//! `tests/fixtures/tables-N` is frozen. `cargo test --lib journal::tests::every_table -- --ignored`
//! makes one for tables that are new; it never replaces one that is there. `tests/journal_versions.rs`
//! has those that hold what an outbox can be asked for from outside.

use std::{fmt::Write as _, fs, path::PathBuf};

use redb::{ReadTransaction, ReadableTable as _, TableDefinition};

use super::*;
use crate::{
    journal::{
        Chosen, Claim, Reader, WhenFull,
        cursor::Progress,
        erasure,
        staging::Staging,
        store::{GROUPS, META},
    },
    seq::{Incarnation, Position, Seq},
};

const NEWEST: &str = "tables-1";
const JOURNAL: &str = "journal.redb";
const SHOWN: &str = "shown.txt";

/// What stands in the payloads of a person that is to be erased.
const MARKER: &str = "secret-of-ada";
const ADA: Uuid = Uuid::from_u128(8);
const BOB: Uuid = Uuid::from_u128(9);

/// The life of the hub that was believed.
const LIFE: u64 = 0x0197_0000_0001_7001;

/// So little that much of it is given up.
const FULL: Limits = Limits {
    max_bytes: (64 + 24) << 10,
    retention: Retention {
        when_full: WhenFull::DropOldest,
        ..Retention::DEFAULT
    },
    ..LIMITS
};

/// A program's own.
const SCORES: TableDefinition<'_, &str, u64> = TableDefinition::new("scores");
const DISCARDED: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("edge_outbox.dead_letters_discarded");
const KEPT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("edge_outbox.dead_letter_rows");

fn fixture(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures").join(name)
}

fn commit<T>(
    core: &mut Core<FaultyStorage>,
    act: impl FnOnce(&mut Core<FaultyStorage>, &mut Staging) -> T,
) -> T {
    let mut staging = core.stage(stamp());
    let value = act(core, &mut staging);
    core.commit(staging).unwrap();
    value
}

fn of(person: Uuid, number: u64, payload: &str) -> Sealed {
    let event = Event::builder("quiz.submitted.v1", person)
        .id(Uuid::from_u64_pair(number, 1))
        .subject_id(person.to_string())
        .payload(payload)
        .build()
        .unwrap();
    Sealed::seal(event, 0, LIMITS.max_payload_bytes, &mut entropy(number)).unwrap()
}

fn progress(core: &mut Core<FaultyStorage>, name: &SinkName, acked: u64) {
    let progress = Progress {
        acked: Seq::new(acked),
        floor: Position(acked + 40),
        incarnation: Incarnation(1_772_352_000_000_000_000),
    };
    core.note_progress(name, progress);
    commit(core, |_, _| ());
}

/// Every meta number, and every table's rows as far as they are told by nothing else.
fn tables(transaction: &ReadTransaction, shown: &mut String) {
    let meta = transaction.open_table(META).unwrap();
    for entry in meta.iter().unwrap() {
        let (key, number) = entry.unwrap();
        writeln!(shown, "meta {} {}", key.value(), number.value()).unwrap();
    }
    let discarded = transaction.open_table(DISCARDED).unwrap();
    for entry in discarded.iter().unwrap() {
        let (key, code) = entry.unwrap();
        let (sink, seq) = key.value();
        writeln!(shown, "discarded {sink} {seq} {}", code.value()).unwrap();
    }
    let kept = transaction.open_table(KEPT).unwrap();
    for entry in kept.iter().unwrap() {
        writeln!(shown, "kept {}", entry.unwrap().0.value()).unwrap();
    }
    let scores = transaction.open_table(SCORES).unwrap();
    for entry in scores.iter().unwrap() {
        let (name, score) = entry.unwrap();
        writeln!(shown, "score {} {}", name.value(), score.value()).unwrap();
    }
    let mut wishes = Vec::new();
    erasure::read_wishes(transaction, &mut wishes).unwrap();
    for (upto, who, when) in wishes {
        writeln!(shown, "wish {who} {upto} {}", when.as_str()).unwrap();
    }
}

/// Everything that the journal says.
fn shown(core: &Core<FaultyStorage>) -> String {
    let mut shown = String::new();
    let (epoch, tail) = (core.epoch(), core.tail());
    writeln!(shown, "epoch {epoch} tail {tail}").unwrap();
    for (name, cursor) in core.cursors() {
        writeln!(
            shown,
            "sink {name} {} {} {} {} {} {} {}",
            cursor.confirmed,
            cursor.acked,
            cursor.claimed,
            cursor.floor.0,
            cursor.incarnation.0,
            cursor.required,
            cursor.dead_letters
        )
        .unwrap();
    }
    let reader = Reader::new(core.store().clone());
    for letter in reader.dead_letters(None).unwrap() {
        let retry = core
            .next_retry(&letter.sink)
            .filter(|it| it.seq == letter.seq);
        let claim = retry.and_then(|retry| retry.claim);
        writeln!(
            shown,
            "letter {} {} {} {} {} {:?} {:?}",
            letter.sink,
            letter.seq,
            letter.reason,
            letter.rejections,
            letter.held,
            letter.retry,
            claim.map(|claim| (claim.floor.0, claim.incarnation.0))
        )
        .unwrap();
    }
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    for record in batch.records() {
        let record = record.unwrap();
        let statement = &record.statement;
        let found = core.find(&statement.id);
        assert_eq!(found, Some(statement.seq), "its id is remembered");
        writeln!(
            shown,
            "event {} {} {} {}",
            statement.seq,
            statement.event_type,
            record.digest,
            if record.private.is_some() {
                "whole"
            } else {
                "erased"
            }
        )
        .unwrap();
    }
    let read = core.store().read(|transaction| {
        tables(transaction, &mut shown);
        Ok(())
    });
    read.unwrap();
    shown
}

/// A journal in the middle of everything.
fn made(storage: &FaultyStorage) -> Core<FaultyStorage> {
    let mut core = open(storage, FULL).unwrap();
    let (school, table) = (
        SinkName::new("school").unwrap(),
        SinkName::new("table").unwrap(),
    );
    commit(&mut core, |core, staging| {
        let cursor = core.register(staging, &school, wanted(true, 64));
        core.await_receipts(&school, cursor);
        core.register(staging, &table, wanted(true, 64));
        core.register(
            staging,
            &SinkName::new("stdout").unwrap(),
            wanted(false, 64),
        );
    });
    commit(&mut core, |core, staging| {
        core.begin_life(staging, &school, LIFE)
    });
    let filler = format!("\"{}\"", "x".repeat(600));
    for number in 1..=12 {
        append(&mut core, vec![of(BOB, number, &filler)])
            .unwrap()
            .unwrap();
    }
    for name in [&school, &table] {
        commit(&mut core, |core, staging| {
            core.claim(staging, name, Seq::new(13))
        });
        progress(&mut core, name, 3);
        for seq in [4, 5, 6, 7] {
            let code = if seq == 6 {
                "payload_too_large"
            } else {
                "constraint"
            };
            commit(&mut core, |core, staging| {
                core.reject(staging, name, Seq::new(seq), code).unwrap();
            });
        }
    }
    for number in 13..=60 {
        append(&mut core, vec![of(BOB, number, &filler)])
            .unwrap()
            .unwrap();
    }
    let first = core.first_held().get();
    assert!(first > 7, "something was given up: {first}");
    // Sent again and in doubt, only wanted, and discarded.
    for seq in [4, 5] {
        commit(&mut core, |core, staging| {
            core.retry(staging, &table, Chosen::One(Seq::new(seq)))
                .unwrap();
        });
    }
    commit(&mut core, |core, staging| {
        let claim = Claim {
            floor: Position(77),
            incarnation: Incarnation(5),
        };
        assert!(
            core.claim_retry(staging, &table, Seq::new(4), claim)
                .unwrap()
        );
        core.discard(staging, &school, Chosen::One(Seq::new(5)))
            .unwrap();
    });
    // Acked, and confirmed in part; beyond that in doubt.
    let tail = core.tail().get();
    for name in [&school, &table] {
        commit(&mut core, |core, staging| {
            core.claim(staging, name, Seq::new(tail))
        });
        progress(&mut core, name, first + 6);
    }
    core.note_confirmed(&school, Seq::new(first + 2));
    commit(&mut core, |_, _| ());
    let staging = core.stage(stamp());
    let transacted = core.transact(staging, |transaction| {
        let mut scores = transaction.open_table(SCORES).map_err(drop)?;
        scores.insert("ada", 7).map_err(drop)?;
        Ok::<_, ()>(())
    });
    assert!(transacted.is_ok());
    // Somebody is erased, but for the free pages; and somebody else is to be.
    for (number, who) in [(61, BOB), (62, ADA)] {
        let payload = format!("\"{MARKER}\"");
        append(&mut core, vec![of(who, number, &payload)])
            .unwrap()
            .unwrap();
    }
    core.begin_erasing(BOB).unwrap();
    let is_scrubbing = |core: &Core<FaultyStorage>| shown(core).contains("meta scrub");
    for step in 0.. {
        assert!(step < 100, "nothing is left to be written over");
        core.erase_on(stamp()).unwrap();
        if is_scrubbing(&core) {
            break;
        }
    }
    core.begin_erasing(ADA).unwrap();
    core
}

#[test]
#[ignore = "writes into the source tree"]
fn makes_the_fixture_of_every_table() {
    let dir = fixture(NEWEST);
    assert!(!dir.exists(), "{} is frozen", dir.display());
    let storage = FaultyStorage::new(1);
    let core = made(&storage);
    let shown = shown(&core);
    drop(core);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(JOURNAL), storage.snapshot()).unwrap();
    fs::write(dir.join(SHOWN), shown).unwrap();
}

/// Every table and number that a journal can have today, as its module lists them.
#[test]
fn every_table_is_among_the_fixtures() {
    let storage = FaultyStorage::new(1);
    storage.restore(fs::read(fixture(NEWEST).join(JOURNAL)).unwrap());
    let core = open(&storage, FULL).unwrap();
    let names = core.store().read(|transaction| {
        use redb::TableHandle as _;
        let tables = transaction.list_tables().unwrap();
        let mut names: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
        let meta = transaction.open_table(META).unwrap();
        names.extend(
            meta.iter()
                .unwrap()
                .map(|it| it.unwrap().0.value().to_owned()),
        );
        // It is made only while free pages are written over.
        names.push("edge_outbox.fillers".to_owned());
        let groups = transaction.open_table(GROUPS).unwrap();
        assert!(groups.iter().unwrap().count() > 8);
        Ok(names)
    });
    let names = names.unwrap();
    let mut count = 0;
    for line in include_str!("../../journal.rs").lines() {
        let Some(row) = line.strip_prefix("//! | `") else {
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").collect();
        let keys = match cells[0] == "edge_outbox.meta`" {
            true => cells[1],
            false => cells[0],
        };
        for key in keys.split(", ") {
            let key = key.trim_matches('`').replace("SINK", "school");
            assert!(names.contains(&key), "{key} is in no fixture: {names:?}");
            count += 1;
        }
    }
    assert!(count > 14, "{count}");
}

#[test]
fn a_journal_with_every_table_opens_as_it_was_and_goes_on() {
    let dir = fixture(NEWEST);
    let storage = FaultyStorage::new(1);
    storage.restore(fs::read(dir.join(JOURNAL)).unwrap());
    let mut core = open(&storage, FULL).unwrap();
    assert_eq!(shown(&core), fs::read_to_string(dir.join(SHOWN)).unwrap());

    // What was begun is done.
    assert!(core.is_erasing());
    for step in 0.. {
        assert!(step < 1_000, "not erased");
        if !core.is_erasing() {
            break;
        }
        core.erase_on(stamp()).unwrap();
    }
    let gone = |bytes: &[u8]| {
        !bytes
            .windows(MARKER.len())
            .any(|it| it == MARKER.as_bytes())
    };
    let erased = shown(&core);
    drop(core);
    assert!(storage.bytes().iter().all(|bytes| gone(bytes)));

    let mut core = open(&storage, FULL).unwrap();
    assert_eq!(shown(&core), erased);
    let school = SinkName::new("school").unwrap();
    assert_eq!(core.life_of(&school).unwrap(), Some(LIFE));
    let again = append(&mut core, vec![of(ADA, 62, "\"other\"")])
        .unwrap()
        .unwrap();
    assert!(again[0].repeated, "its id is remembered");
    let tail = core.tail();
    let next = append(&mut core, vec![of(BOB, 100, "1")]).unwrap().unwrap();
    assert_eq!(next[0].seq, tail.next());
    // A dead letter that was in doubt ends, and one whose event was trimmed is still whole.
    let table = SinkName::new("table").unwrap();
    let retry = core.next_retry(&table).unwrap();
    assert_eq!(retry.seq, Seq::new(4));
    let reader = Reader::new(core.store().clone());
    assert!(!reader.dead_letter(Seq::new(4)).unwrap().is_empty());
    commit(&mut core, |core, staging| {
        core.register(staging, &table, wanted(true, 64));
        let delivered = crate::journal::Settled::Delivered;
        core.settle_retry(staging, &table, Seq::new(4), delivered)
            .unwrap();
    });
    assert_eq!(
        core.next_retry(&table).map(|retry| retry.seq),
        Some(Seq::new(5))
    );
}
