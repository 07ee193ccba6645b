//! The end of a damaged journal: which of the groups that stand in its file are its history.

use super::*;

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
    let storage = disk(&bytes, dir.path());
    recover_it(&sample, &storage, &hit, None, &mut tally);
    assert_eq!(tally.recovered, 1, "{tally:?}");
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
