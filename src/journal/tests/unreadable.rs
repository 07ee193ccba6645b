//! Rows that cannot be read any more stop nothing but what was in them.

use std::time::Duration;

use redb::{ReadableTable as _, TableDefinition};

use super::*;
use crate::{
    journal::{
        Reader,
        cursor::Progress,
        letters::{Chosen, DeadLetterError, Settled},
        staging::Staging,
        store::GROUPS,
    },
    seq::{Incarnation, Position, Seq},
};

/// What is kept of trimmed dead letters.
const KEPT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("edge_outbox.dead_letter_rows");

/// Changes a bit of the row at this place.
fn damage(
    core: &Core<FaultyStorage>,
    table: TableDefinition<'_, u64, &'static [u8]>,
    place: usize,
) {
    let damaged = core.store().write(|transaction| {
        let mut rows = transaction.open_table(table).unwrap();
        let (first, mut row) = {
            let (first, row) = rows.iter().unwrap().nth(place).unwrap().unwrap();
            (first.value(), row.value().to_vec())
        };
        let middle = row.len() / 2;
        row[middle] ^= 1;
        rows.insert(first, row.as_slice()).unwrap();
        Ok::<_, Fault>(())
    });
    damaged.unwrap();
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

fn attach(core: &mut Core<FaultyStorage>) {
    commit(core, |core, staging| {
        core.register(staging, &nats(), wanted(true, 1 << 20));
    });
}

fn confirm_all(core: &mut Core<FaultyStorage>) {
    let acked = core.tail();
    commit(core, |core, staging| core.claim(staging, &nats(), acked));
    let progress = Progress {
        acked,
        floor: Position::default(),
        incarnation: Incarnation::default(),
    };
    core.note_progress(&nats(), progress);
    commit(core, |_, _| ());
}

/// Three dead letters whose events are trimmed, in two rows. The first of them, of two, is damaged.
fn kept_and_damaged(limits: Limits) -> Core<FaultyStorage> {
    let mut core = open(&FaultyStorage::new(1), limits).unwrap();
    attach(&mut core);
    let events = (2..1_402).map(|number| sealed(number, "\"a\"")).collect();
    append(&mut core, events).unwrap().unwrap();
    let tail = core.tail();
    commit(&mut core, |core, staging| {
        core.claim(staging, &nats(), tail)
    });
    for seq in [2, 40, 200].map(Seq::new) {
        commit(&mut core, |core, staging| {
            core.reject(staging, &nats(), seq, "too_large").unwrap();
        });
    }
    confirm_all(&mut core);
    assert!(core.first_held() > Seq::new(1_000));
    damage(&core, KEPT, 0);
    core
}

fn shown(core: &Core<FaultyStorage>) -> Vec<(u64, bool)> {
    let letters = Reader::new(core.store().clone())
        .dead_letters(None)
        .unwrap();
    letters.iter().map(|it| (it.seq.get(), it.held)).collect()
}

#[test]
fn dead_letters_of_which_nothing_can_be_read_are_listed_and_discarded() {
    let mut core = kept_and_damaged(LIMITS);
    assert_eq!(shown(&core), [(2, false), (40, false), (200, true)]);
    for chosen in [Chosen::One(Seq::new(2)), Chosen::All] {
        commit(&mut core, |core, staging| {
            core.discard(staging, &nats(), chosen).unwrap();
        });
    }
    assert_eq!(shown(&core), []);
}

#[test]
fn of_all_that_are_sent_again_those_that_cannot_be_read_are_left_out() {
    let mut core = kept_and_damaged(LIMITS);
    let changed = commit(&mut core, |core, staging| {
        core.retry(staging, &nats(), Chosen::All).unwrap()
    });
    assert_eq!((changed.dead_letters, changed.left_out), (1, 2));
    // What was with a sink when it was damaged is delivered all the same.
    commit(&mut core, |core, staging| {
        core.settle_retry(staging, &nats(), Seq::new(2), Settled::Delivered)
            .unwrap();
    });
    assert_eq!(shown(&core), [(40, false), (200, true)]);
}

#[test]
fn a_dead_letter_in_a_damaged_group_is_gone_and_does_not_stop_its_sink() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    append(&mut core, vec![sealed(2, "\"a\"")])
        .unwrap()
        .unwrap();
    let reader = Reader::new(core.store().clone());
    assert!(!reader.dead_letter(Seq::new(2)).unwrap().is_empty());
    damage(&core, GROUPS, 1);
    assert!(reader.dead_letter(Seq::new(2)).unwrap().is_empty());
}

#[test]
fn a_dead_letter_that_a_recovery_could_not_save_is_not_held_nor_sent_again() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    attach(&mut core);
    for number in 2..5 {
        append(&mut core, vec![sealed(number, "1")])
            .unwrap()
            .unwrap();
    }
    let lost = Seq::new(3);
    commit(&mut core, |core, staging| {
        core.claim(staging, &nats(), Seq::new(4))
    });
    commit(&mut core, |core, staging| {
        core.reject(staging, &nats(), lost, "too_large").unwrap();
    });
    confirm_all(&mut core);
    assert_eq!(shown(&core), [(3, true)]);
    let removed = core.store().write(|transaction| {
        let mut groups = transaction.open_table(GROUPS).unwrap();
        groups.remove(lost.get()).unwrap();
        Ok::<_, Fault>(())
    });
    removed.unwrap();
    assert_eq!(shown(&core), [(3, false)]);
    let refused = commit(&mut core, |core, staging| {
        core.retry(staging, &nats(), Chosen::One(lost))
    });
    assert!(
        matches!(refused, Err(DeadLetterError::Gone { seq }) if seq == lost),
        "{refused:?}"
    );
}

#[test]
fn erasing_ends_and_lets_go_of_what_was_kept_and_cannot_be_searched() {
    let mut core = kept_and_damaged(LIMITS);
    let before = core.held_bytes();
    core.begin_erasing(Uuid::from_u128(99)).unwrap();
    for _ in 0..1_000 {
        core.erase_on(stamp()).unwrap();
    }
    assert!(!core.is_erasing());
    assert_eq!(core.take_unsearched().into_values().max(), Some(0));
    assert!(core.held_bytes() < before);
    assert_eq!(shown(&core), [(2, false), (40, false), (200, true)]);
}

#[test]
fn erasing_says_how_many_groups_it_could_not_search() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    for number in 2..6 {
        append(&mut core, vec![sealed(number, "1")])
            .unwrap()
            .unwrap();
    }
    damage(&core, GROUPS, 1);
    damage(&core, GROUPS, 3);
    let wish = core.begin_erasing(Uuid::from_u128(7)).unwrap();
    core.erase_on(stamp()).unwrap();
    assert_eq!(core.take_erased()[&wish], 2);
    assert_eq!(core.take_unsearched()[&wish], 2);
}

#[test]
fn what_is_kept_and_cannot_be_read_makes_room_like_the_rest() {
    let limits = Limits {
        max_bytes: 1 << 20,
        ..LIMITS
    };
    let mut core = kept_and_damaged(limits);
    let payload = format!("\"{}\"", "x".repeat(40_000));
    for number in 0..40 {
        let place = append(&mut core, vec![sealed(10_000 + number, &payload)]);
        let seq = place.unwrap().unwrap()[0].seq;
        commit(&mut core, |core, staging| {
            core.claim(staging, &nats(), seq);
        });
        if number < 4 {
            commit(&mut core, |core, staging| {
                core.reject(staging, &nats(), seq, "too_large").unwrap();
            });
        }
        confirm_all(&mut core);
    }
    let left = shown(&core);
    assert!(
        left.iter().all(|(seq, held)| *seq > 200 && *held),
        "{left:?}"
    );
}

#[test]
fn a_row_that_cannot_be_read_does_not_end_the_keeping_of_those_behind_it() {
    let limits = Limits {
        retention: Retention {
            keep_for: Duration::from_secs(3_600),
            ..Retention::DEFAULT
        },
        ..LIMITS
    };
    let mut core = open(&FaultyStorage::new(1), limits).unwrap();
    attach(&mut core);
    let payload = format!("\"{}\"", "x".repeat(200));
    for first in (2..3_000).step_by(64) {
        let events = (first..first + 64).map(|number| sealed(number, &payload));
        append(&mut core, events.collect()).unwrap().unwrap();
    }
    // The one by which the age of the first chunk is judged.
    let place = core.store().read(|transaction| {
        let groups = transaction.open_table(GROUPS).unwrap();
        let firsts = groups.range(..=1_024).unwrap();
        Ok(firsts.count() - 1)
    });
    damage(&core, GROUPS, place.unwrap());
    confirm_all(&mut core);
    append(&mut core, vec![sealed(9_999, "1")])
        .unwrap()
        .unwrap();
    assert!(core.first_held() > Seq::new(900), "{}", core.first_held());
    assert!(core.first_held() < Seq::new(1_100), "{}", core.first_held());
}
