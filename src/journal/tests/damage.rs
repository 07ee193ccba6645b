//! Journals in which bits have changed, or whose end is gone: nothing loops, nothing panics, nothing
//! wrong is read, and whatever was not hit is recovered. Where redb ends the process, the next start
//! knows, and recovers it.
//!
//! `every_bit` and `a_large_journal` take long, and want a release build:
//! `cargo test --release --lib journal::tests::damage -- --ignored --nocapture`. With
//! `EDGE_OUTBOX_EVERY_NTH_BIT=100` it is every hundredth bit. `EDGE_OUTBOX_WORKERS` is how many
//! processes work at it; without it one for each core.

mod child;
mod trim;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use redb::ReadableTable as _;

use self::child::Batch;
use super::{
    storage::{Bytes, Fault as DiskFault, PIECE},
    *,
};
use crate::{
    envelope::{Digest, Epoch},
    journal::{Reader, Recovery, cursor::Progress, recover, recovery::scanned, row},
    seq::{Incarnation, Position, Seq},
};

/// Whatever is done to one journal is done by then.
const LIMIT: Duration = Duration::from_secs(20);

const PAGE: usize = 4096;

/// So many bits one child changes, one after the other.
const CHUNK: usize = 4_096;

/// A journal, and what is in it.
struct Sample {
    bytes: Vec<u8>,
    /// The same, cheap to copy.
    image: Bytes,
    events: BTreeMap<Seq, (Epoch, Digest)>,
    /// Where the rows stand: offset, length, seqs.
    rows: Vec<(usize, usize, Vec<Seq>)>,
    tail: Seq,
    claimed: Seq,
}

/// What is held, with every digest; or the first error.
fn held(core: &Core<FaultyStorage>) -> (BTreeMap<Seq, (Epoch, Digest)>, Option<String>) {
    let reader = Reader::new(core.store().clone());
    let mut held = BTreeMap::new();
    let mut from = Seq::FIRST;
    while from <= core.tail() {
        let batch = match reader.batch(from, 100, 64 << 10) {
            Ok(batch) => batch,
            Err(error) => return (held, Some(error.to_string())),
        };
        let before = from;
        for record in batch.records() {
            match record {
                Ok(record) => {
                    let seq = record.statement.seq;
                    assert!(seq >= from, "{seq} comes again");
                    held.insert(seq, (record.statement.epoch, record.digest));
                    from = seq.next();
                }
                Err(error) => return (held, Some(error.to_string())),
            }
        }
        if from == before {
            return (held, Some(format!("nothing from {from} on")));
        }
    }
    (held, None)
}

fn sample(commits: u64, events: u64) -> Sample {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1024));
    core.commit(staging).unwrap();
    let mut number = 0;
    for _ in 0..commits {
        let batch = (0..events).map(|_| {
            number += 1;
            let payload = format!(
                "{{\"answer\":\"{}\"}}",
                "x".repeat(20 + number as usize % 50)
            );
            sealed(number, &payload)
        });
        append(&mut core, batch.collect()).unwrap().unwrap();
    }
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), Seq::new(4));
    core.commit(staging).unwrap();
    core.note_progress(&nats(), progress(2));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    let (events, error) = held(&core);
    assert_eq!(error, None);
    let (tail, claimed) = (core.tail(), core.cursors()[&nats()].claimed);
    drop(core);
    let bytes = storage.snapshot();
    let rows = rows(&bytes, tail);
    Sample {
        image: Bytes::new(&bytes),
        bytes,
        events,
        rows,
        tail,
        claimed,
    }
}

fn progress(acked: u64) -> Progress {
    Progress {
        acked: Seq::new(acked),
        floor: Position(acked),
        incarnation: Incarnation(1),
    }
}

/// Finds the rows by redb, and where they stand by their bytes.
fn rows(bytes: &[u8], tail: Seq) -> Vec<(usize, usize, Vec<Seq>)> {
    let storage = FaultyStorage::new(1);
    storage.restore(bytes.to_vec());
    let core = open(&storage, LIMITS).unwrap();
    let values = core.store().read(|transaction| {
        let table = transaction
            .open_table(crate::journal::store::GROUPS)
            .unwrap();
        let entries = table.iter().unwrap().map(|entry| {
            let (key, value) = entry.unwrap();
            (Seq::new(key.value()), value.value().to_vec())
        });
        Ok(entries.collect::<Vec<_>>())
    });
    let mut rows = Vec::new();
    for (first, value) in values.unwrap() {
        let (last, _) = row::taken_in(first, &value).unwrap();
        // Opening has written to it; what is looked at here was there before.
        if last <= tail {
            let seqs: Vec<Seq> = (first.get()..=last.get()).map(Seq::new).collect();
            for at in find_all(bytes, &value) {
                rows.push((at, value.len(), seqs.clone()));
            }
        }
    }
    rows
}

fn find_all(bytes: &[u8], value: &[u8]) -> Vec<usize> {
    let starts = value[..40].to_vec();
    let mut found = Vec::new();
    for at in 0..=bytes.len() - value.len() {
        if bytes[at] == starts[0]
            && bytes[at..].starts_with(&starts)
            && bytes[at..].starts_with(value)
        {
            found.push(at);
        }
    }
    found
}

fn recover_from(
    storage: &FaultyStorage,
    damage: Option<String>,
) -> Result<Option<Recovery>, Fault> {
    let sinks = [(nats(), true)];
    recover(
        storage.clone(),
        identity(),
        &sinks,
        damage,
        LIMITS,
        1 << 20,
        entropy(77),
        stamp(),
    )
}

/// What became of damaged journals.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    tried: u64,
    refused_at_open: u64,
    damage_read: u64,
    untouched: u64,
    /// Nobody but the scan looks there, and it finds what it would have found.
    unread: u64,
    recovered: u64,
    called_newer: u64,
    /// The process ended while the journal was opened, read or appended to.
    ended_in_use: u64,
    /// It ended while the journal was looked at to recover it.
    ended_in_recovery: u64,
    /// The recovery after that saved what was not hit.
    ended_and_recovered: u64,
}

impl Tally {
    fn words(&self) -> [u64; 10] {
        [
            self.tried,
            self.refused_at_open,
            self.damage_read,
            self.untouched,
            self.recovered,
            self.called_newer,
            self.ended_in_use,
            self.ended_in_recovery,
            self.ended_and_recovered,
            self.unread,
        ]
    }

    fn of_words(words: &[u64]) -> Self {
        Self {
            tried: words[0],
            refused_at_open: words[1],
            damage_read: words[2],
            untouched: words[3],
            recovered: words[4],
            called_newer: words[5],
            ended_in_use: words[6],
            ended_in_recovery: words[7],
            ended_and_recovered: words[8],
            unread: words[9],
        }
    }

    fn add(&mut self, other: &Self) {
        let words = self.words().into_iter().zip(other.words());
        let sums: Vec<u64> = words.map(|(one, other)| one + other).collect();
        *self = Self::of_words(&sums);
    }
}

/// A disk with these bytes for a journal, in this directory as far as notes go.
fn disk(bytes: &Bytes, dir: &Path) -> FaultyStorage {
    let storage = FaultyStorage::new(1).beside(dir);
    storage.restore_bytes(bytes.clone());
    storage
}

/// Where nothing but the scan of a recovery looks: free pages, most of them. A change there is nothing to
/// all others, which read what they always read.
struct Unread {
    pages: BTreeSet<usize>,
    scanned: String,
}

impl Unread {
    fn of(sample: &Sample) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (used, recovered) = (
            disk(&sample.image, dir.path()),
            disk(&sample.image, dir.path()),
        );
        used.watch();
        let tally = &mut Tally::default();
        if let Used::Trouble(trouble) = use_it(sample, &used, &(0..0), tally) {
            panic!("without a change: {trouble}");
        }
        recovered.watch();
        assert_eq!(recover_from(&recovered, None).unwrap(), None);
        let read = &used.watched() | &recovered.watched();
        Self {
            pages: &(0..sample.bytes.len().div_ceil(PIECE)).collect() - &read,
            scanned: scanned(disk(&sample.image, dir.path())),
        }
    }

    /// Whether these bytes are the sample's to whoever reads them.
    fn holds(&self, bytes: &Bytes, hit: &std::ops::Range<usize>) -> bool {
        let mut pages = hit.start / PIECE..hit.end.div_ceil(PIECE);
        pages.all(|page| self.pages.contains(&page))
            && scanned(disk(bytes, Path::new(""))) == self.scanned
    }
}

/// What came of using a journal.
enum Used {
    /// All of it was there, and it took what was appended.
    Well,
    /// Something was found out.
    Trouble(String),
}

/// Opens, reads and appends to the journal on this disk; `hit` are the offsets that were changed.
/// An event that is not there, and nobody says so, is a fault of ours.
fn use_it(
    sample: &Sample,
    storage: &FaultyStorage,
    hit: &std::ops::Range<usize>,
    tally: &mut Tally,
) -> Used {
    let begun = Instant::now();
    let mut core = match open(storage, LIMITS) {
        Ok(core) => core,
        Err(fault) => {
            tally.refused_at_open += 1;
            return Used::Trouble(fault.to_string());
        }
    };
    let (found, error) = held(&core);
    assert_not_wrong(sample, &found, hit);
    tally.damage_read += u64::from(error.is_some());
    let mut trouble = error;
    // Whether it is taken or not: it must not hang.
    match append(&mut core, vec![sealed(9_000_000, "\"after\"")]) {
        Ok(Ok(_)) => {}
        refused => drop(trouble.get_or_insert(format!("{refused:?}"))),
    }
    if let Err(fault) = core.reopen(stamp()) {
        trouble.get_or_insert(fault.to_string());
    }
    let (again, error) = held(&core);
    assert_not_wrong(sample, &again, hit);
    trouble = trouble.or(error);
    assert!(begun.elapsed() < LIMIT, "bytes {hit:?} changed");
    let Some(trouble) = trouble else {
        for seq in sample.events.keys() {
            let is_there = found.contains_key(seq) && again.contains_key(seq);
            assert!(is_there, "bytes {hit:?} changed: {seq} is passed over");
        }
        return Used::Well;
    };
    Used::Trouble(trouble)
}

/// Recovers a journal of these bytes, and looks at what came of it. Where nothing is found, its use
/// must not have found anything either; `used` is `None` where it ended the process.
fn recover_it(
    sample: &Sample,
    bytes: &Bytes,
    hit: &std::ops::Range<usize>,
    dir: &Path,
    used: Option<&Used>,
    tally: &mut Tally,
) {
    let begun = Instant::now();
    let storage = disk(bytes, dir);
    match recover_from(&storage, None) {
        Ok(None) => {
            match used {
                Some(Used::Well) => {}
                Some(Used::Trouble(trouble)) => {
                    panic!("bytes {hit:?} changed: nothing is found of: {trouble}")
                }
                None => panic!("bytes {hit:?} changed: nothing is found of what ends the process"),
            }
            assert_eq!(storage.changes(), 0, "bytes {hit:?} changed");
            tally.untouched += 1;
            return;
        }
        Ok(Some(_)) => tally.recovered += 1,
        // The number of a later format, as far as anybody can tell.
        Err(Fault::Newer(_)) => {
            tally.called_newer += 1;
            return;
        }
        Err(fault) => panic!("bytes {hit:?} changed: {fault}"),
    }
    let core =
        open(&storage, LIMITS).unwrap_or_else(|fault| panic!("bytes {hit:?} changed: {fault}"));
    let (found, error) = held(&core);
    assert_eq!(error, None, "bytes {hit:?} changed");
    assert_not_wrong(sample, &found, hit);
    let lies_in = |(at, length): (usize, usize)| hit.start < at + length && hit.end > at;
    for seq in sample.events.keys() {
        let copies = sample.rows.iter().filter(|(.., seqs)| seqs.contains(seq));
        let mut copies = copies.map(|(at, length, _)| (*at, *length));
        let was_hit = copies.all(lies_in);
        let is_there = was_hit || found.contains_key(seq);
        assert!(is_there, "bytes {hit:?} changed: {seq} is lost");
    }
    let cursor = core.cursors().get(&nats()).copied();
    let cursor = cursor.unwrap_or_else(|| panic!("bytes {hit:?} changed: the cursor is lost"));
    let what = || format!("bytes {hit:?} changed: {cursor:?}");
    assert!(cursor.acked <= Seq::new(2), "{}", what());
    // What may have left is in doubt, as far as it is there.
    let newest = sample.events.keys().rfind(|seq| found.contains_key(seq));
    let may_have_left = newest.map_or(Seq::NONE, |newest| sample.claimed.min(*newest));
    assert!(cursor.claimed >= may_have_left, "{}", what());
    assert!(cursor.claimed <= core.tail(), "{}", what());
    assert!(begun.elapsed() < LIMIT, "{}", what());
}

/// Nothing but what was there, or what began a new epoch since.
#[track_caller]
fn assert_not_wrong(
    sample: &Sample,
    found: &BTreeMap<Seq, (Epoch, Digest)>,
    hit: &std::ops::Range<usize>,
) {
    let is_known = |epoch: &Epoch| sample.events.values().any(|(known, _)| known == epoch);
    for (seq, (epoch, digest)) in found {
        match sample.events.get(seq) {
            Some(known) if *known == (*epoch, *digest) => {}
            Some(_) => panic!("bytes {hit:?} changed: {seq} is another event"),
            // Appended by the test itself, or the start of an epoch.
            None => assert!(
                *seq > sample.tail || !is_known(epoch),
                "bytes {hit:?} changed: {seq}"
            ),
        }
    }
}

/// The offsets of pages that hold anything.
fn used(bytes: &[u8]) -> Vec<usize> {
    let pages = bytes.chunks(PAGE).enumerate();
    pages
        .filter(|(_, page)| page.iter().any(|byte| *byte != 0))
        .flat_map(|(index, page)| (0..page.len()).map(move |at| index * PAGE + at))
        .collect()
}

#[test]
fn a_journal_that_is_whole_is_left_as_it_is() {
    let sample = sample(5, 3);
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::default();
    let storage = disk(&sample.image, dir.path());
    let what = use_it(&sample, &storage, &(0..0), &mut tally);
    let what = Some(&what);
    recover_it(
        &sample,
        &sample.image,
        &(0..0),
        dir.path(),
        what,
        &mut tally,
    );
    assert_eq!(tally.untouched, 1, "{tally:?}");
    println!(
        "{} bytes, {} in pages that are not empty, {} rows",
        sample.bytes.len(),
        used(&sample.bytes).len(),
        sample.rows.len()
    );
}

/// A power cut leaves what was never synced in part, and that is no damage. A commit that it cut off may
/// look like one that was lost.
#[test]
fn what_a_power_cut_leaves_is_not_taken_for_damaged() {
    let before = sample(5, 3);
    let mut untouched = 0;
    for call in (1..120).step_by(3) {
        let storage = FaultyStorage::new(call);
        storage.restore_bytes(before.image.clone());
        storage.fail_after(call, DiskFault::PowerCut);
        if let Ok(mut core) = open(&storage, LIMITS) {
            let mut number = 900;
            while append(&mut core, vec![sealed(number, "1")]).is_ok() {
                number += 1;
            }
        }
        storage.crash();
        match recover_from(&storage, None).unwrap() {
            Some(recovery) => assert_eq!(recovery.damage, "redb shows an older state of it"),
            None => untouched += 1,
        }
    }
    assert!(untouched > 20, "{untouched}");
}

#[test]
fn a_bit_that_changed_costs_no_more_than_the_group_it_hit() {
    let tally = child::run(Batch::Random {
        large: false,
        anywhere: 40,
        in_rows: 60,
        seed: 5,
    });
    println!("{tally:?}");
    assert_eq!(tally.tried, 100, "{tally:?}");
    assert!(
        tally.recovered > 20 && tally.untouched + tally.unread > 20,
        "{tally:?}"
    );
}

/// The pages over the rows say which row is where: an event must not be passed over because they are
/// wrong.
#[test]
fn a_bit_of_the_tree_over_the_rows_that_changed_hides_no_event() {
    let tally = child::run(Batch::Branches { nth: 97 });
    println!("{tally:?}");
    assert!(tally.recovered > 20, "{tally:?}");
}

/// A checksum is then taken for a place: some ask for gibibytes, and the children of this test may have
/// half of one. Whoever asks for more ends without a mark, over which it fails.
#[test]
fn a_page_that_seems_to_have_more_children_asks_for_no_more_memory() {
    let tally = child::run(Batch::Children);
    println!("{tally:?}");
    assert!(tally.recovered > 10, "{tally:?}");
}

#[test]
fn a_page_that_is_gone_costs_no_more_than_the_groups_in_it() {
    let tally = child::run(Batch::Pages);
    println!("{tally:?}");
    assert!(tally.recovered > 5, "{tally:?}");
}

#[test]
fn a_journal_that_is_cut_off_is_recovered_up_to_there() {
    let tally = child::run(Batch::Cuts);
    println!("{tally:?}");
    assert!(tally.recovered > 20, "{tally:?}");
}

/// As every other test here, with each bit of every page that holds anything.
#[test]
#[ignore = "twenty minutes of two cores, in a release build"]
fn every_bit() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let nth = number("EDGE_OUTBOX_EVERY_NTH_BIT").unwrap_or(1);
    let workers = number("EDGE_OUTBOX_WORKERS")
        .unwrap_or_else(|| thread::available_parallelism().unwrap().get());
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Tally::default());
    thread::scope(|scope| {
        let work = || loop {
            let skip = next.fetch_add(CHUNK, Ordering::Relaxed) * nth;
            let tally = child::run(Batch::Bits { skip, nth });
            let mut total = total.lock().unwrap();
            total.add(&tally);
            println!("{total:?}");
            if tally.tried < CHUNK as u64 {
                return;
            }
        };
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap();
    assert_eq!(
        total.ended_and_recovered,
        total.ended_in_use + total.ended_in_recovery
    );
}

#[test]
#[ignore = "minutes, in a release build"]
fn every_bit_of_the_tree_over_the_rows() {
    println!("{:?}", child::run(Batch::Branches { nth: 1 }));
}

#[test]
#[ignore = "minutes, in a release build"]
fn a_large_journal() {
    let tally = child::run(Batch::Random {
        large: true,
        anywhere: 500,
        in_rows: 1_500,
        seed: 11,
    });
    println!("{tally:?}");
}

/// A journal with the last rows gone: its end is not known.
#[test]
fn where_the_end_is_not_known_everything_after_the_cursor_is_in_doubt() {
    let sample = sample(40, 1);
    let mut bytes = sample.bytes.clone();
    let last = |seqs: &[Seq]| seqs.last() >= Some(&Seq::new(30));
    for (at, length, _) in sample.rows.iter().filter(|(.., seqs)| last(seqs)) {
        bytes[*at..at + length].fill(0);
    }
    let storage = FaultyStorage::new(1);
    storage.restore(bytes);
    let recovery = recover_from(&storage, None).unwrap().unwrap();
    assert!(!recovery.end_is_known);
    assert_eq!(recovery.missing, []);
    let held = recovery.held.unwrap();
    assert_eq!((held.first(), held.last()), (Seq::FIRST, Seq::new(29)));
    let mut core = open(&storage, LIMITS).unwrap();
    let cursor = core.cursors()[&nats()];
    assert!(cursor.acked <= Seq::new(2) && cursor.claimed >= Seq::new(29));
    assert_eq!(core.tail(), Seq::new(29 + 16_384 + 1));
    assert_eq!(core.epoch(), recovery.epoch);
    // What is known of their ids still is, and new ones are taken.
    let repeat = append(&mut core, vec![sealed_as(5)]).unwrap().unwrap();
    assert!(repeat[0].repeated);
    assert_eq!(repeat[0].seq, Seq::new(6));
    let fresh = append(&mut core, vec![sealed_as(39)]).unwrap().unwrap();
    assert!(!fresh[0].repeated);
}

/// As `sample` makes it.
fn sealed_as(number: u64) -> Sealed {
    let payload = format!(
        "{{\"answer\":\"{}\"}}",
        "x".repeat(20 + number as usize % 50)
    );
    sealed(number, &payload)
}

/// redb stumbles over the first entry of its table of groups, and still knows the last one.
#[test]
fn groups_that_redb_does_not_come_to_are_no_less_there() {
    let sample = sample(5, 3);
    let (row, ..) = sample.rows.iter().max().unwrap();
    let page = row / PAGE * PAGE;
    let mut bytes = sample.image.clone();
    // Where the first value ends.
    bytes.flip((page + 6) * 8);
    let hit = page + 6..page + 7;
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::default();
    recover_it(&sample, &bytes, &hit, dir.path(), None, &mut tally);
    assert_eq!(tally.recovered, 1, "{tally:?}");
}

#[test]
fn the_new_epoch_says_what_is_gone() {
    let sample = sample(20, 2);
    let mut bytes = sample.bytes.clone();
    let (at, _, seqs) = sample
        .rows
        .iter()
        .find(|(.., seqs)| seqs[0] == Seq::new(10))
        .unwrap();
    bytes[at + 50] ^= 4;
    let storage = FaultyStorage::new(1);
    storage.restore(bytes);
    let recovery = recover_from(&storage, None).unwrap().unwrap();
    assert!(recovery.end_is_known);
    let gone = crate::seq::SeqRange::new(seqs[0], *seqs.last().unwrap()).unwrap();
    assert_eq!(recovery.missing, [gone]);
    let core = open(&storage, LIMITS).unwrap();
    let started = sample.tail.next();
    let reader = Reader::new(core.store().clone());
    let said = reader.record(started, |record| {
        let payload = record.private.unwrap().payload;
        let said: serde_json::Value = serde_json::from_slice(payload).unwrap();
        (
            record.statement.event_type.to_owned(),
            record.statement.prev,
            said,
        )
    });
    let (event_type, prev, said) = said.unwrap().unwrap();
    assert_eq!(
        (event_type.as_str(), prev),
        ("outbox.epoch_started.v1", Digest::ZERO)
    );
    assert_eq!(said["reason"], "recovered");
    assert_eq!(said["previous"]["seq"], sample.tail.get());
    assert_eq!(
        said["missing"],
        serde_json::json!([{ "first": 10, "last": 11 }])
    );
    assert_eq!(core.cursors()[&nats()].acked, Seq::new(2));
    assert_eq!(core.cursors()[&nats()].claimed, sample.claimed);
    // It is a journal like any other, and can be recovered again.
    drop(core);
    assert_eq!(recover_from(&storage, None).unwrap(), None);
    let again = recover_from(&storage, Some("a test".into()))
        .unwrap()
        .unwrap();
    assert_eq!(again.missing, [gone]);
}

#[test]
fn a_power_cut_at_every_call_of_a_recovery_leaves_the_old_journal_or_the_new() {
    let sample = sample(10, 2);
    let mut bytes = sample.bytes.clone();
    let (at, ..) = sample
        .rows
        .iter()
        .find(|(.., seqs)| seqs[0] == Seq::new(8))
        .unwrap();
    bytes[at + 50] ^= 4;
    for call in 1.. {
        let storage = FaultyStorage::new(call);
        storage.restore(bytes.clone());
        storage.fail_after(call, DiskFault::PowerCut);
        let first = recover_from(&storage, None);
        let ended = storage.fault_is_ahead();
        storage.crash();
        if storage.snapshot() == bytes {
            assert!(first.is_err(), "call {call}");
            recover_from(&storage, None).unwrap().unwrap();
        }
        let core = open(&storage, LIMITS).unwrap();
        let (found, error) = held(&core);
        assert_eq!(error, None, "call {call}");
        assert_not_wrong(&sample, &found, &(*at..at + 1));
        let lost: Vec<&Seq> = sample
            .events
            .keys()
            .filter(|seq| !found.contains_key(seq))
            .collect();
        assert_eq!(lost, [&Seq::new(8), &Seq::new(9)], "call {call}");
        if ended {
            assert!(call > 30, "{call}");
            return;
        }
    }
}

#[test]
fn a_journal_of_another_key_is_refused_and_left_as_it_is() {
    let sample = sample(3, 1);
    let mut bytes = sample.bytes.clone();
    let (at, ..) = sample.rows[1];
    bytes[at + 50] ^= 4;
    let storage = FaultyStorage::new(1);
    storage.restore(bytes.clone());
    let other = Identity {
        key: DeviceKey::from_pkcs8_base64(OTHER_KEY).unwrap(),
        ..identity()
    };
    let refused = recover(
        storage.clone(),
        other,
        &[],
        None,
        LIMITS,
        1 << 20,
        entropy(1),
        stamp(),
    );
    assert!(
        matches!(refused, Err(Fault::OtherKey { .. })),
        "{refused:?}"
    );
    assert_eq!(storage.snapshot(), bytes);
}

/// What was erased must not come back from a page that redb has not cleared.
#[test]
fn an_erased_event_stays_erased() {
    let sample = sample(10, 2);
    let storage = FaultyStorage::new(1);
    storage.restore(sample.bytes.clone());
    let core = open(&storage, LIMITS).unwrap();
    let first = Seq::new(6);
    core.store()
        .write(|transaction| -> Result<(), Fault> {
            let mut table = transaction
                .open_table(crate::journal::store::GROUPS)
                .unwrap();
            let whole = table.get(first.get()).unwrap().unwrap().value().to_vec();
            let mut erased = Vec::new();
            let mut body: row::GroupV1<'_> =
                postcard::from_bytes(&whole[1..whole.len() - 4]).unwrap();
            let group = row::Group::decode(first, &whole).unwrap();
            let private = group.record(first).unwrap().statement.private_digest;
            body.events[0].content = row::ContentV1::Erased {
                private_digest: private.0,
            };
            row::encode(first, &body, &mut erased).unwrap();
            table.insert(first.get(), erased.as_slice()).unwrap();
            Ok(())
        })
        .unwrap();
    drop(core);
    let mut bytes = storage.snapshot();
    let whole = sample
        .rows
        .iter()
        .find(|(.., seqs)| seqs[0] == first)
        .unwrap();
    let whole = &sample.bytes[whole.0..whole.0 + whole.1];
    // A page that was freed, on which redb finds nothing any more.
    bytes[..PAGE].fill(0);
    bytes.extend(whole);
    storage.restore(bytes);
    recover_from(&storage, None).unwrap().unwrap();
    let core = open(&storage, LIMITS).unwrap();
    let reader = Reader::new(core.store().clone());
    let is_erased = |seq| reader.record(seq, |record| record.private.is_none());
    assert_eq!(is_erased(first).unwrap(), Some(true));
    assert_eq!(is_erased(first.next()).unwrap(), Some(false));
    assert!(find_all(&storage.snapshot(), whole).is_empty());
}

/// Puts a row on a page that is free.
fn leave_behind(bytes: &mut [u8], row: &[u8]) {
    let mut pages = bytes.chunks_mut(PAGE).rev();
    let free = pages.find(|page| page.iter().all(|byte| *byte == 0));
    free.unwrap()[..row.len()].copy_from_slice(row);
}

/// The row of a dead letter was kept apart by a commit that a crash took back.
#[test]
fn a_row_kept_apart_by_nobody_takes_nothing_from_its_group() {
    let sample = sample(10, 2);
    let first = Seq::new(6);
    let (at, length, _) = sample
        .rows
        .iter()
        .find(|(.., seqs)| seqs[0] == first)
        .unwrap();
    let whole = &sample.bytes[*at..at + length];
    let alone = row::alone(first, whole, |seq| seq == first).unwrap();
    let storage = FaultyStorage::new(1);
    storage.restore(sample.bytes.clone());
    let mut core = open(&storage, LIMITS).unwrap();
    let large = format!("\"{}\"", "x".repeat(40_000));
    append(&mut core, vec![sealed(1_000, &large)])
        .unwrap()
        .unwrap();
    // Closing cuts off what is free at its end.
    let file = storage.snapshot();
    drop(core);
    for is_end_known in [true, false] {
        let mut bytes = file.clone();
        leave_behind(&mut bytes, &alone);
        if !is_end_known {
            bytes[..PAGE].fill(0);
        }
        let storage = FaultyStorage::new(1);
        storage.restore(bytes);
        let recovery = recover_from(&storage, Some("told".into())).unwrap();
        assert_eq!(recovery.unwrap().end_is_known, is_end_known);
        let core = open(&storage, LIMITS).unwrap();
        let reader = Reader::new(core.store().clone());
        for seq in [first, first.next()] {
            let is_held = reader.record(seq, |record| record.private.is_some());
            assert_eq!(is_held.unwrap(), Some(true), "{seq}, {is_end_known}");
        }
    }
}

/// The row without them is hit, and free pages are not yet written over.
#[test]
fn whom_the_ledger_calls_erased_does_not_come_back_from_an_older_row() {
    let sample = sample(10, 2);
    let hit = [Seq::new(6), Seq::new(7)];
    let mut rows_before = sample.rows.iter();
    let (at, length, _) = rows_before.find(|(.., seqs)| *seqs == hit).unwrap();
    let whole = sample.bytes[*at..at + length].to_vec();
    let storage = FaultyStorage::new(1);
    storage.restore(sample.bytes);
    let mut core = open(&storage, LIMITS).unwrap();
    core.begin_erasing(Uuid::from_u128(7)).unwrap();
    core.erase_on(stamp()).unwrap();
    let tail = core.tail();
    drop(core);
    let mut bytes = storage.snapshot();
    let erased = rows(&bytes, tail);
    for (at, length, _) in erased.iter().filter(|(.., seqs)| *seqs == hit) {
        bytes[at + length / 2] ^= 1;
    }
    leave_behind(&mut bytes, &whole);
    storage.restore(bytes);
    let recovery = recover_from(&storage, None).unwrap().unwrap();
    assert_eq!(recovery.missing, []);
    let core = open(&storage, LIMITS).unwrap();
    let reader = Reader::new(core.store().clone());
    for seq in hit {
        let is_erased = reader.record(seq, |record| record.private.is_none());
        assert_eq!(is_erased.unwrap(), Some(true), "{seq}");
    }
}

/// A commit that a crash took back was signed, too; its seq went to another event.
#[test]
fn of_two_events_of_one_seq_the_one_in_the_chain_is_taken() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    append(&mut core, vec![sealed(1, "1")]).unwrap().unwrap();
    let before = storage.snapshot();
    append(&mut core, vec![sealed(2, "\"taken back\"")])
        .unwrap()
        .unwrap();
    let stale = rows(&storage.snapshot(), core.tail());
    let (at, length, _) = stale
        .iter()
        .find(|(.., seqs)| seqs[0] == Seq::new(3))
        .unwrap();
    let stale = storage.snapshot()[*at..at + length].to_vec();
    drop(core);
    storage.restore(before);
    let mut core = open(&storage, LIMITS).unwrap();
    append(&mut core, vec![sealed(3, "\"kept\"")])
        .unwrap()
        .unwrap();
    append(&mut core, vec![sealed(4, "4")]).unwrap().unwrap();
    let (expected, _) = held(&core);
    drop(core);
    let mut bytes = storage.snapshot();
    bytes[..PAGE].fill(0);
    bytes.extend(stale);
    storage.restore(bytes);
    let recovery = recover_from(&storage, None).unwrap().unwrap();
    assert_eq!(recovery.missing, []);
    let (found, _) = held(&open(&storage, LIMITS).unwrap());
    for (seq, event) in expected {
        assert_eq!(found.get(&seq), Some(&event), "{seq}");
    }
}

/// The same where it reaches further than what was committed since.
#[test]
fn a_commit_that_was_taken_back_is_not_the_end_of_the_journal() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    append(&mut core, vec![sealed(1, "1")]).unwrap().unwrap();
    let before = storage.snapshot();
    let three = (10..13).map(|number| sealed(number, "\"taken back\""));
    append(&mut core, three.collect()).unwrap().unwrap();
    let stale = rows(&storage.snapshot(), core.tail());
    let ends_there = |seqs: &[Seq]| seqs.last() == Some(&core.tail());
    let (at, length, _) = stale.iter().find(|(.., seqs)| ends_there(seqs)).unwrap();
    let stale = storage.snapshot()[*at..at + length].to_vec();
    drop(core);
    storage.restore(before);
    let mut core = open(&storage, LIMITS).unwrap();
    append(&mut core, vec![sealed(2, "\"kept\"")])
        .unwrap()
        .unwrap();
    let (expected, _) = held(&core);
    drop(core);
    let mut bytes = storage.snapshot();
    bytes[..PAGE].fill(0);
    bytes.extend(stale);
    storage.restore(bytes);
    let recovery = recover_from(&storage, None).unwrap().unwrap();
    assert!(!recovery.end_is_known);
    assert_eq!(recovery.held.unwrap().last(), Seq::new(3));
    let (found, _) = held(&open(&storage, LIMITS).unwrap());
    for (seq, event) in expected {
        assert_eq!(found.get(&seq), Some(&event), "{seq}");
    }
}

#[test]
fn dead_letters_are_taken_and_what_is_the_programs_is_named() {
    const SCORES: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("scores");
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 16));
    core.commit(staging).unwrap();
    for number in 1..9 {
        append(&mut core, vec![sealed(number, "{}")])
            .unwrap()
            .unwrap();
    }
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), Seq::new(6));
    core.reject(&mut staging, &nats(), Seq::new(4), "too_large")
        .unwrap();
    core.commit(staging).unwrap();
    core.store()
        .write(|transaction| -> Result<(), Fault> {
            let mut table = transaction.open_table(SCORES).unwrap();
            table.insert(1, 2).unwrap();
            Ok(())
        })
        .unwrap();
    drop(core);
    let recovery = recover_from(&storage, Some("a test".into()))
        .unwrap()
        .unwrap();
    assert_eq!(recovery.tables_left_behind, ["scores"]);
    assert_eq!(recovery.dead_letters, 1);
    let core = open(&storage, LIMITS).unwrap();
    let reader = Reader::new(core.store().clone());
    let code = reader.rejection(&nats(), Seq::new(4)).unwrap();
    assert_eq!(code.as_deref(), Some("too_large"));
    assert_eq!(core.cursors()[&nats()].dead_letters, 1);
}

/// Nothing is left of it but its name.
#[test]
fn of_a_file_without_an_event_a_journal_is_made_that_says_so() {
    for bytes in [Vec::new(), vec![0; 5_000], vec![0xA5; 70_000]] {
        let storage = FaultyStorage::new(1);
        storage.restore(bytes);
        let recovery = recover_from(&storage, None).unwrap().unwrap();
        assert_eq!((recovery.events, recovery.held), (0, None));
        let mut core = open(&storage, LIMITS).unwrap();
        assert_eq!(core.tail(), Seq::new(16_385));
        append(&mut core, vec![sealed(1, "1")]).unwrap().unwrap();
    }
}
