//! Trimming over pages that say wrong which row is where.

use super::*;
use crate::{journal::store::GROUPS, ledger::EpochReason};

/// Every sink has what lies up to here.
const CONFIRMED: u64 = 60;

/// More than three quarters of it are in use, so that what is confirmed is trimmed at once.
const QUOTA: Limits = Limits {
    max_bytes: 128 << 10,
    ..LIMITS
};

/// The seqs of all rows, one after the other as they stand, and not as they are looked for.
fn rows_held(core: &Core<FaultyStorage>) -> BTreeSet<u64> {
    let seqs = core.store().read(|transaction| {
        let table = transaction.open_table(GROUPS).unwrap();
        let rows = table.iter().unwrap();
        Ok(rows.map(|row| row.unwrap().0.value()).collect())
    });
    seqs.unwrap()
}

/// Opens the journal and trims it. Whether that went well; then what is held.
fn trim(storage: &FaultyStorage) -> Result<BTreeSet<u64>, Fault> {
    let mut core = open(storage, QUOTA)?;
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1024));
    core.commit(staging)?;
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), Seq::new(CONFIRMED));
    core.commit(staging)?;
    core.note_progress(&nats(), progress(CONFIRMED));
    let staging = core.stage(stamp());
    core.commit(staging)?;
    Ok(rows_held(&core))
}

/// Each row is of one event. With a bit of a key changed, redb looks for the end of what is delivered
/// in the wrong leaf.
#[test]
fn nothing_is_trimmed_that_is_not_delivered_where_a_page_over_the_rows_is_damaged() {
    let sample = sample(300, 1);
    let whole = FaultyStorage::new(1);
    whole.restore_bytes(sample.image.clone());
    let left = trim(&whole).unwrap();
    assert_eq!(left.first(), Some(&(CONFIRMED + 1)));
    let (mut refused, mut done) = (0, 0);
    for bit in child::bits_of_keys(&sample.bytes) {
        let mut bytes = sample.image.clone();
        bytes.flip(bit);
        let storage = FaultyStorage::new(1);
        storage.restore_bytes(bytes);
        match trim(&storage) {
            Ok(held) => {
                done += 1;
                assert_eq!(&left - &held, BTreeSet::new(), "bit {bit}");
            }
            Err(_) => refused += 1,
        }
    }
    println!("{refused} refused, {done} done");
    assert!(refused > 3 && done > 10, "{refused} {done}");
}

/// The journal with two leaves over the rows in each other's place, each with each.
fn with_leaves_changed(sample: &Sample) -> impl Iterator<Item = FaultyStorage> {
    let pairs = child::pairs_of_places(&sample.bytes).into_iter();
    pairs.map(|(one, other)| {
        let mut bytes = sample.image.clone();
        let place = |at: usize| &sample.bytes[at..at + 8];
        bytes.write(one, place(other));
        bytes.write(other, place(one));
        let storage = FaultyStorage::new(1);
        storage.restore_bytes(bytes);
        storage
    })
}

#[test]
fn nothing_is_trimmed_that_is_not_delivered_where_leaves_have_changed_places() {
    let sample = sample(300, 1);
    let whole = FaultyStorage::new(1);
    whole.restore_bytes(sample.image.clone());
    let left = trim(&whole).unwrap();
    let (mut refused, mut done) = (0, 0);
    for storage in with_leaves_changed(&sample) {
        match trim(&storage) {
            Ok(held) => {
                done += 1;
                assert_eq!(&left - &held, BTreeSet::new());
            }
            Err(_) => refused += 1,
        }
    }
    println!("{refused} refused, {done} done");
    // Of a journal whose last group would come before its first.
    assert!(refused > 0 && done > 10, "{refused} {done}");
}

/// What is taken back into a new epoch is what redb shows from there on, but no row before that.
#[test]
fn nothing_is_taken_back_that_comes_before_where_leaves_have_changed_places() {
    const FROM: u64 = 200;
    let sample = sample(300, 1);
    let (mut refused, mut done) = (0, 0);
    for storage in with_leaves_changed(&sample) {
        let begun = open(&storage, LIMITS).and_then(|mut core| {
            core.begin_epoch(EpochReason::RolledBack, Seq::new(FROM), stamp())?;
            Ok(rows_held(&core))
        });
        match begun {
            Ok(held) => {
                done += 1;
                let before: BTreeSet<u64> = (1..FROM).collect();
                assert_eq!(&before - &held, BTreeSet::new());
            }
            Err(Fault::Damaged(what)) if what.ends_with("is not where it belongs") => refused += 1,
            Err(_) => {}
        }
    }
    println!("{refused} refused, {done} done");
    assert!(refused > 50 && done > 10, "{refused} {done}");
}
