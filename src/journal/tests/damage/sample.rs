//! A journal, what is in it, and where that stands.

use super::*;

/// A journal, and what is in it.
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    /// The same, cheap to copy.
    pub(super) image: Bytes,
    pub(super) events: BTreeMap<Seq, (Epoch, Digest)>,
    /// Where the rows stand: offset, length, seqs.
    pub(super) rows: Vec<(usize, usize, Vec<Seq>)>,
    pub(super) tail: Seq,
    pub(super) claimed: Seq,
}

/// What is held, with every digest; or the first error.
pub(super) fn held(core: &Core<FaultyStorage>) -> (BTreeMap<Seq, (Epoch, Digest)>, Option<String>) {
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

pub(super) fn sample(commits: u64, events: u64) -> Sample {
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

pub(super) fn progress(acked: u64) -> Progress {
    Progress {
        acked: Seq::new(acked),
        floor: Position(acked),
        incarnation: Incarnation(1),
    }
}

/// Finds the rows by redb, and where they stand by their bytes.
pub(super) fn rows(bytes: &[u8], tail: Seq) -> Vec<(usize, usize, Vec<Seq>)> {
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

pub(super) fn find_all(bytes: &[u8], value: &[u8]) -> Vec<usize> {
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

/// The offsets of pages that hold anything.
pub(super) fn used(bytes: &[u8]) -> Vec<usize> {
    let pages = bytes.chunks(PAGE).enumerate();
    pages
        .filter(|(_, page)| page.iter().any(|byte| *byte != 0))
        .flat_map(|(index, page)| (0..page.len()).map(move |at| index * PAGE + at))
        .collect()
}

/// As `sample` makes it.
pub(super) fn sealed_as(number: u64) -> Sealed {
    let payload = format!(
        "{{\"answer\":\"{}\"}}",
        "x".repeat(20 + number as usize % 50)
    );
    sealed(number, &payload)
}
