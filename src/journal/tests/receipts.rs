//! What a hub's receipts change in the journal, and what a crash leaves of it.

use super::{storage::Fault, *};
use crate::{
    journal::{Reader, WhenFull, cursor::Progress},
    seq::{Incarnation, Position, Seq, SeqRange},
    tail::Tail,
};

const WINDOW: u64 = 1 << 20;

fn attach(core: &mut Core<FaultyStorage>) -> Result<(), super::Fault> {
    let mut staging = core.stage(stamp());
    let cursor = core.register(&mut staging, &nats(), wanted(true, WINDOW));
    core.await_receipts(&nats(), cursor);
    core.commit(staging)
}

/// The sink has confirmed everything up to here, and the hub up to there.
fn confirm(core: &mut Core<FaultyStorage>, acked: u64, confirmed: u64) -> Result<(), super::Fault> {
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), Seq::new(acked));
    core.commit(staging)?;
    core.note_progress(
        &nats(),
        Progress {
            acked: Seq::new(acked),
            floor: Position(acked),
            incarnation: Incarnation(1),
        },
    );
    core.note_confirmed(&nats(), Seq::new(confirmed));
    Ok(())
}

fn begin_life(core: &mut Core<FaultyStorage>, life: u64) -> Result<(), super::Fault> {
    let mut staging = core.stage(stamp());
    core.begin_life(&mut staging, &nats(), life);
    core.commit(staging)
}

/// Appends so many events, 200 to a commit.
fn append_some(core: &mut Core<FaultyStorage>, count: u64) {
    let from = core.tail().get();
    for first in (from..from + count).step_by(200) {
        let batch = first..(first + 200).min(from + count);
        let batch = batch.map(|number| sealed(number, "1")).collect();
        append(core, batch).unwrap().unwrap();
    }
}

/// Acked, confirmed, and the first event held.
fn places(core: &Core<FaultyStorage>) -> (u64, u64, u64) {
    let cursor = core.cursors()[&nats()];
    let (acked, confirmed) = (cursor.acked.get(), cursor.confirmed.get());
    (acked, confirmed, core.first_held().get())
}

#[test]
fn receipts_alone_confirm_and_ride_on_the_next_commit() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core).unwrap();
    append_some(&mut core, 3_000);
    confirm(&mut core, 3_001, 0).unwrap();
    append_some(&mut core, 1);
    assert_eq!(places(&core), (3_001, 0, 1));
    // More than the sink has: no more than that counts.
    confirm(&mut core, 3_001, 5_000).unwrap();
    assert!(core.has_progress());
    let commits = core.commits();
    append_some(&mut core, 1);
    assert_eq!(core.commits(), commits + 1);
    let (acked, confirmed, first) = places(&core);
    assert_eq!((acked, confirmed), (3_001, 3_001));
    assert!(first > 1_024);
    assert!(
        !core.has_progress(),
        "nothing is left that waits for a commit"
    );
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    assert_eq!(places(&core), (3_001, 3_001, first));
}

#[test]
fn a_dead_letter_confirms_nothing_that_comes_before_it() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core).unwrap();
    append_some(&mut core, 9);
    confirm(&mut core, 4, 2).unwrap();
    let reject = |core: &mut Core<FaultyStorage>, seq| {
        let mut staging = core.stage(stamp());
        core.reject(&mut staging, &nats(), Seq::new(seq), "constraint")
            .unwrap();
        core.commit(staging).unwrap();
    };
    reject(&mut core, 5);
    assert_eq!(places(&core), (5, 2, 1));
    confirm(&mut core, 5, 5).unwrap();
    reject(&mut core, 6);
    assert_eq!(places(&core), (6, 6, 1));
}

#[test]
fn a_later_life_takes_back_what_is_held_and_is_remembered_until_the_sink_is_forgotten() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core).unwrap();
    assert_eq!(core.life_of(&nats()).unwrap(), None);
    begin_life(&mut core, 7).unwrap();
    append_some(&mut core, 3_000);
    confirm(&mut core, 3_001, 2_000).unwrap();
    append_some(&mut core, 1);
    let (_, confirmed, first) = places(&core);
    assert!(confirmed == 2_000 && first > 1_024);
    begin_life(&mut core, 8).unwrap();
    assert_eq!(places(&core), (3_001, first - 1, first));
    // What was said in the life before is not said any more.
    append_some(&mut core, 1);
    assert_eq!(places(&core), (3_001, first - 1, first));
    drop(core);
    let mut core = open(&storage, LIMITS).unwrap();
    assert_eq!(core.life_of(&nats()).unwrap(), Some(8));
    attach(&mut core).unwrap();
    confirm(&mut core, 3_001, 3_000).unwrap();
    append_some(&mut core, 1);
    assert_eq!(places(&core).1, 3_000);
    core.detach(&nats());
    core.forget(&nats(), stamp()).unwrap().unwrap();
    assert_eq!(core.life_of(&nats()).unwrap(), None);
}

#[test]
fn where_receipts_count_again_the_life_that_is_believed_begins_anew_and_no_earlier_one() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core).unwrap();
    let (before, believed) = (0x0197_0000_0000_7fff, 0x0197_0000_0001_7001);
    begin_life(&mut core, believed).unwrap();
    for _ in 0..2 {
        let life = core.life_of(&nats()).unwrap().unwrap();
        let mut staging = core.stage(stamp());
        core.register(&mut staging, &nats(), wanted(true, WINDOW));
        Core::<FaultyStorage>::leave_receipts(&mut staging, &nats(), life);
        core.commit(staging).unwrap();
        let life = core.life_of(&nats()).unwrap().unwrap();
        assert!((before..believed).contains(&life), "{life:x}");
    }
}

#[test]
fn what_is_trimmed_is_named_in_the_ledger_and_nothing_else_is() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core).unwrap();
    append_some(&mut core, 3_000);
    confirm(&mut core, 3_001, 3_001).unwrap();
    append_some(&mut core, 1);
    let first = core.first_held();
    let mut staging = core.stage(stamp());
    for (from, last) in [(5, 3_000), (first.get(), 3_000)] {
        let range = SeqRange::new(Seq::new(from), Seq::new(last)).unwrap();
        core.skip_trimmed(&mut staging, &nats(), range);
    }
    core.commit(staging).unwrap();
    let reader = Reader::new(core.store().clone());
    let batch = reader.batch(Seq::new(3_003), 10, usize::MAX).unwrap();
    let said: Vec<_> = batch
        .records()
        .map(|record| {
            let record = record.unwrap();
            assert_eq!(record.statement.event_type, "outbox.sink_skipped.v1");
            String::from_utf8(record.private.unwrap().payload.to_vec()).unwrap()
        })
        .collect();
    let before = first.prev();
    assert_eq!(
        said,
        [format!(
            "{{\"sink\":\"nats\",\"range\":{{\"first\":5,\"last\":{before}}},\"reason\":\"trimmed\"}}"
        )]
    );
}

#[test]
fn a_full_journal_gives_up_what_the_hub_has_not_confirmed_and_moves_on() {
    let limits = Limits {
        max_bytes: 256 << 10,
        retention: Retention {
            when_full: WhenFull::DropOldest,
            ..Retention::DEFAULT
        },
        ..LIMITS
    };
    let mut core = open(&FaultyStorage::new(1), limits).unwrap();
    attach(&mut core).unwrap();
    append_some(&mut core, 200);
    confirm(&mut core, 150, 20).unwrap();
    append_some(&mut core, 4_000);
    let (acked, confirmed, first) = places(&core);
    assert!(first > 201 && acked == first - 1 && confirmed == first - 1);
}

#[test]
fn a_tail_is_of_what_is_durable_and_verifies() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    append_some(&mut core, 10);
    let mut staging = core.stage(stamp());
    core.append(&mut staging, vec![sealed(99, "1")]).unwrap();
    let now = stamp();
    let message = core.tail_message(now);
    let tail = Tail::verify(&message, &identity().key.public_key()).unwrap();
    assert_eq!(
        (tail.device, tail.epoch),
        (core.device().clone(), core.epoch())
    );
    assert_eq!((tail.seq, tail.boottime_us), (core.tail(), now.boottime_us));
    assert_ne!(message, core.tail_message(now), "no two are alike");
}

/// Whichever call is the last before the power goes: what is trimmed was confirmed by a life that is
/// remembered, and what is confirmed is acked.
#[test]
fn a_power_cut_at_every_call_leaves_nothing_trimmed_that_no_receipt_covers() {
    let work = |core: &mut Core<FaultyStorage>| -> Result<(), super::Fault> {
        attach(core)?;
        begin_life(core, 1)?;
        confirm(core, 1_200, 1_100)?;
        append(core, vec![sealed(9_001, "1")])?.unwrap();
        begin_life(core, 2)?;
        confirm(core, 1_201, 1_150)?;
        append(core, vec![sealed(9_002, "1")])?.unwrap();
        Ok(())
    };
    let filled = FaultyStorage::new(1);
    append_some(&mut open(&filled, LIMITS).unwrap(), 1_300);
    let mut lives = [0; 3];
    for calls in 1.. {
        let storage = filled.copy();
        storage.fail_after(calls, Fault::PowerCut);
        let done = open(&storage, LIMITS).and_then(|mut core| work(&mut core));
        if done.is_ok() {
            break;
        }
        storage.crash();
        let mut core = open(&storage, LIMITS).unwrap();
        let life = core.life_of(&nats()).unwrap();
        let (acked, confirmed, first) = match core.cursors().contains_key(&nats()) {
            true => places(&core),
            false => (0, 0, core.first_held().get()),
        };
        assert!(confirmed <= acked, "call {calls}: {confirmed} and {acked}");
        assert!(
            first <= confirmed + 1,
            "call {calls}: {first} and {confirmed}"
        );
        assert!(first == 1 || life.is_some(), "call {calls}");
        assert!(confirmed <= 1_150, "call {calls}: {confirmed}");
        lives[usize::try_from(life.unwrap_or(0)).unwrap()] += 1;
        work(&mut core).unwrap();
        assert_eq!(places(&core).1, 1_150, "call {calls}");
    }
    assert!(lives.iter().all(|count| *count > 10), "{lives:?}");
}
