//! Of a group that stands in the file in several forms: what is erased stays so, and nothing else is
//! gone.

use super::*;

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
