//! Where something of an erased person could be left behind: on pages in use, and under other seqs.

use super::*;
use crate::{
    journal::{Reader, cursor::Progress, letters::Chosen, staging::Staging},
    ledger::EpochReason,
    seq::{Incarnation, Position, Seq},
};

/// The person to be erased.
const PERSON: Uuid = Uuid::from_u128(0xA11C_E5A1_1CE5_4A11_8CE5_A11C_E5A1_1CE5);

/// Stands in every payload of the person.
const MARKER: &str = "the-mark-of-alice";

/// An event of the person, several of which find room on a page.
fn theirs(number: u64) -> Sealed {
    let event = Event::builder("quiz.submitted.v1", PERSON)
        .id(Uuid::from_u64_pair(number, 1))
        .payload(format!("\"{}\"", MARKER.repeat(20)))
        .build()
        .unwrap();
    Sealed::seal(event, 0, LIMITS.max_payload_bytes, &mut entropy(number)).unwrap()
}

fn commit(
    core: &mut Core<FaultyStorage>,
    act: impl FnOnce(&mut Core<FaultyStorage>, &mut Staging),
) {
    let mut staging = core.stage(stamp());
    act(core, &mut staging);
    core.commit(staging).unwrap();
}

fn attach(core: &mut Core<FaultyStorage>) {
    commit(core, |core, staging| {
        core.register(staging, &nats(), wanted(true, 1 << 20));
    });
}

fn confirm(core: &mut Core<FaultyStorage>, acked: Seq) {
    let tail = core.tail();
    commit(core, |core, staging| {
        core.claim(staging, &nats(), tail);
    });
    let progress = Progress {
        acked,
        floor: Position::default(),
        incarnation: Incarnation::default(),
    };
    core.note_progress(&nats(), progress);
    commit(core, |_, _| ());
}

fn erase(core: &mut Core<FaultyStorage>) {
    core.begin_erasing(PERSON).unwrap();
    for _ in 0..10_000 {
        if !core.is_erasing() {
            return;
        }
        core.erase_on(stamp()).unwrap();
    }
    panic!("erasing does not end");
}

fn marks(storage: &FaultyStorage) -> usize {
    let medium = storage.snapshot();
    let windows = medium.windows(MARKER.len());
    windows.filter(|it| *it == MARKER.as_bytes()).count()
}

/// Trimmed events of the person, each a dead letter in a row of its own.
fn kept() -> (FaultyStorage, Core<FaultyStorage>) {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core);
    for number in 3..14 {
        append(&mut core, vec![theirs(number)]).unwrap().unwrap();
    }
    let tail = core.tail();
    commit(&mut core, |core, staging| {
        core.claim(staging, &nats(), tail);
    });
    for seq in 3..=tail.get() {
        commit(&mut core, |core, staging| {
            core.reject(staging, &nats(), Seq::new(seq), "too_large")
                .unwrap();
        });
    }
    let others = (100..1_300).map(|number| sealed(number, "1")).collect();
    append(&mut core, others).unwrap().unwrap();
    let tail = core.tail();
    confirm(&mut core, tail);
    assert!(core.first_held() > Seq::new(100));
    assert!(marks(&storage) > 0);
    (storage, core)
}

#[test]
fn rows_kept_on_one_page_leave_nothing_there() {
    let (storage, mut core) = kept();
    erase(&mut core);
    assert_eq!(marks(&storage), 0);
}

#[test]
fn dead_letters_that_were_discarded_together_leave_nothing_on_a_page_in_use() {
    let (storage, mut core) = kept();
    commit(&mut core, |core, staging| {
        for seq in [4, 5, 7, 8, 10, 11] {
            core.discard(staging, &nats(), Chosen::One(Seq::new(seq)))
                .unwrap();
        }
    });
    erase(&mut core);
    assert_eq!(marks(&storage), 0);
}

#[test]
fn what_was_trimmed_leaves_nothing_on_a_page_in_use() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core);
    for number in 2..1_300 {
        append(&mut core, vec![theirs(number)]).unwrap().unwrap();
    }
    confirm(&mut core, Seq::new(1_200));
    assert!(core.first_held() > Seq::new(1_100));
    erase(&mut core);
    assert_eq!(marks(&storage), 0);
}

/// A journal that was set back gives its last events other seqs, and the erasure goes with them.
#[test]
fn events_that_are_taken_back_into_a_new_epoch_are_erased_there() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    for number in 2..10 {
        append(&mut core, vec![theirs(number)]).unwrap().unwrap();
    }
    core.begin_erasing(PERSON).unwrap();
    append(&mut core, vec![theirs(10)]).unwrap().unwrap();
    let tail = core.tail();
    let from = Seq::new(4);
    assert!(
        core.begin_epoch(EpochReason::RolledBack, from, stamp())
            .unwrap()
    );
    for _ in 0..10_000 {
        core.erase_on(stamp()).unwrap();
    }
    assert!(!core.is_erasing());
    let reader = Reader::new(core.store().clone());
    let batch = reader.batch(Seq::FIRST, usize::MAX, usize::MAX).unwrap();
    let records = batch.records().map(Result::unwrap);
    let left = records.filter(|it| it.private.is_some_and(|it| it.aggregate_id == PERSON));
    let left: Vec<Seq> = left.map(|record| record.statement.seq).collect();
    // What was appended after it began is not meant, and comes right before the ledger's word.
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0] > tail);
}
