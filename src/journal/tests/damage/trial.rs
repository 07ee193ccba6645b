//! A damaged journal, used and recovered, and what must be true of either.

use super::*;

pub(super) fn recover_from(
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

/// A disk with these bytes for a journal, in this directory as far as notes go.
pub(super) fn disk(bytes: &Bytes, dir: &Path) -> FaultyStorage {
    let storage = FaultyStorage::new(1).beside(dir);
    storage.restore_bytes(bytes.clone());
    storage
}

/// Where nothing but the scan of a recovery looks: free pages, most of them. A change there is nothing to
/// all others, which read what they always read.
pub(super) struct Unread {
    pages: BTreeSet<usize>,
    scanned: String,
}

impl Unread {
    pub(super) fn of(sample: &Sample) -> Self {
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
    pub(super) fn holds(&self, bytes: &Bytes, hit: &std::ops::Range<usize>) -> bool {
        let mut pages = hit.start / PIECE..hit.end.div_ceil(PIECE);
        pages.all(|page| self.pages.contains(&page))
            && scanned(disk(bytes, Path::new(""))) == self.scanned
    }
}

/// What came of using a journal.
pub(super) enum Used {
    /// All of it was there, and it took what was appended.
    Well,
    /// Something was found out.
    Trouble(String),
}

/// Opens, reads and appends to the journal on this disk; `hit` are the offsets that were changed.
/// An event that is not there, and nobody says so, is a fault of ours.
pub(super) fn use_it(
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

/// Recovers the journal on this disk, and looks at what came of it. Where nothing is found, its use
/// must not have found anything either; `used` is `None` where it ended the process.
pub(super) fn recover_it(
    sample: &Sample,
    storage: &FaultyStorage,
    hit: &std::ops::Range<usize>,
    used: Option<&Used>,
    tally: &mut Tally,
) {
    let begun = Instant::now();
    match recover_from(storage, None) {
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
        open(storage, LIMITS).unwrap_or_else(|fault| panic!("bytes {hit:?} changed: {fault}"));
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
pub(super) fn assert_not_wrong(
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
