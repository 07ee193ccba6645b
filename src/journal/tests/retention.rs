//! What goes, when, and what the ledger says of it; and crashes at every call while it goes.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use super::{storage::Fault, *};
use crate::{
    envelope::{Digest, Kind},
    journal::{Reader, WhenFull, cursor::Progress, staging::LowDisk},
    ledger::{DroppedAtSink, DroppedRange, EventsDropped},
    seq::{Incarnation, Position, Seq},
    status_board::StatusBoard,
};

const QUOTA: u64 = 256 << 10;

const DROPPING: Limits = Limits {
    max_bytes: QUOTA,
    retention: Retention {
        when_full: WhenFull::DropOldest,
        ..Retention::DEFAULT
    },
    ..LIMITS
};

/// A payload of a kilobyte.
fn kilobyte(number: u64) -> String {
    format!("\"{number}{}\"", "x".repeat(1_000))
}

fn attach(core: &mut Core<FaultyStorage>, name: &SinkName, required: bool) {
    let mut staging = core.stage(stamp());
    core.register(&mut staging, name, wanted(required, 1 << 20));
    core.commit(staging).unwrap();
}

/// The sink confirms everything up to here.
fn confirm(core: &mut Core<FaultyStorage>, name: &SinkName, upto: Seq) {
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, name, upto);
    core.commit(staging).unwrap();
    core.note_progress(
        name,
        Progress {
            acked: upto,
            floor: Position(upto.get()),
            incarnation: Incarnation(1),
        },
    );
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
}

/// An event that is held.
struct Held {
    seq: Seq,
    prev: Digest,
    digest: Digest,
    event_type: String,
    payload: Vec<u8>,
}

/// Everything held, without a hole and as one chain.
fn held(core: &Core<FaultyStorage>, context: &str) -> Vec<Held> {
    let reader = Reader::new(core.store().clone());
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    let held: Vec<Held> = batch
        .records()
        .map(|record| {
            let record = record.unwrap_or_else(|error| panic!("{context}: {error}"));
            Held {
                seq: record.statement.seq,
                prev: record.statement.prev,
                digest: record.digest,
                event_type: match record.statement.kind {
                    Kind::Ledger => record.statement.event_type.to_owned(),
                    Kind::Program => String::new(),
                },
                payload: record.private.unwrap().payload.to_vec(),
            }
        })
        .collect();
    assert_eq!(held[0].seq, core.first_held(), "{context}");
    assert_eq!(held.last().unwrap().seq, core.tail(), "{context}");
    for pair in held.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.next(), "{context}: a hole");
        assert_eq!(pair[1].prev, pair[0].digest, "{context}: the chain");
    }
    held
}

/// What the ledger says was dropped, oldest first.
fn dropped(held: &[Held]) -> Vec<EventsDropped> {
    held.iter()
        .filter(|event| event.event_type == EventsDropped::EVENT_TYPE)
        .map(|event| serde_json::from_slice(&event.payload).unwrap())
        .collect()
}

fn is_dropped(ledger: &[EventsDropped], seq: Seq) -> bool {
    let mut ranges = ledger.iter().flat_map(|one| &one.ranges);
    ranges.any(|run: &DroppedRange| run.range.contains(seq))
}

#[test]
fn a_full_journal_gives_up_its_oldest_and_the_ledger_says_which() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, DROPPING).unwrap();
    let (hub, lab) = (nats(), SinkName::new("lab").unwrap());
    attach(&mut core, &hub, true);
    attach(&mut core, &lab, true);
    let before = held(&core, "at first");
    for number in 0..100 {
        append(&mut core, vec![sealed(number, &kilobyte(number))])
            .unwrap()
            .unwrap();
    }
    confirm(&mut core, &lab, Seq::new(20));
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &hub, Seq::new(10));
    core.commit(staging).unwrap();
    let mut commits = 0;
    for number in 100..1_000 {
        let first_held = core.first_held();
        append(&mut core, vec![sealed(number, &kilobyte(number))])
            .unwrap()
            .unwrap();
        assert!(
            core.held_bytes() <= QUOTA,
            "{number}: {}",
            core.held_bytes()
        );
        commits += u64::from(core.first_held() > first_held);
    }
    // In chunks, and not an event of the ledger for each that goes.
    assert!((10..80).contains(&commits), "{commits}");
    let now = held(&core, "afterwards");
    let ledger = dropped(&now);
    let newest = ledger.last().unwrap();
    // One range from the very first event on, through all those that were dropped in their turn.
    let [run] = newest.ranges[..] else {
        panic!("{:?}", newest.ranges);
    };
    assert_eq!(run.range.first(), Seq::FIRST);
    assert_eq!(run.prev, Some(Digest::ZERO));
    assert_eq!(run.range.last().next(), core.first_held());
    assert_eq!(run.digest, Some(now[0].prev));
    // What the ledger had said is said again.
    let repeated: Vec<_> = newest.ledger.iter().map(|one| one.seq).collect();
    assert_eq!(repeated, [Seq::FIRST]);
    assert_eq!(newest.ledger[0].event_type, "outbox.epoch_started.v1");
    assert_eq!(newest.ledger[0].payload.get().as_bytes(), before[0].payload);
    assert_eq!(newest.ledger_left_out + newest.unreadable_groups, 0);
    let last = run.range.last().get();
    let at = |sink: &SinkName, undelivered, in_doubt| DroppedAtSink {
        sink: sink.to_string(),
        undelivered,
        in_doubt,
    };
    assert_eq!(newest.sinks, [at(&hub, last, 10), at(&lab, last - 20, 0)]);
    for cursor in core.cursors().values() {
        assert_eq!(
            (cursor.acked, cursor.confirmed),
            (run.range.last(), cursor.acked)
        );
        assert!(cursor.claimed >= cursor.acked);
    }
    assert_eq!(core.store().meter().dropped.get(), last);
    // A repeat of what is gone is known all the same.
    let again = append(&mut core, vec![sealed(3, &kilobyte(3))])
        .unwrap()
        .unwrap();
    assert!(again[0].repeated);
    drop(core);
    let core = open(&storage, DROPPING).unwrap();
    assert_eq!(core.first_held(), now[0].seq);
}

/// What was said is not said for ever: once it is delivered, the next one begins anew.
#[test]
fn the_ledger_says_again_only_what_has_not_arrived() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, DROPPING).unwrap();
    attach(&mut core, &nats(), true);
    let mut number = 0;
    let mut fill = |core: &mut Core<FaultyStorage>| {
        for _ in 0..400 {
            number += 1;
            append(core, vec![sealed(number, &kilobyte(number))])
                .unwrap()
                .unwrap();
        }
    };
    fill(&mut core);
    let first = dropped(&held(&core, "")).pop().unwrap();
    drop(core);
    // Over a restart too.
    let mut core = open(&storage, DROPPING).unwrap();
    attach(&mut core, &nats(), true);
    fill(&mut core);
    let second = dropped(&held(&core, "")).pop().unwrap();
    assert_eq!(second.ranges.len(), 1);
    assert_eq!(second.ranges[0].range.first(), Seq::FIRST);
    assert_eq!(second.ranges[0].range.last().next(), core.first_held());
    assert!(second.sinks[0].undelivered > first.sinks[0].undelivered + 300);
    assert_eq!(second.sinks[0].undelivered, second.ranges[0].range.len());
    let types: Vec<_> = second.ledger.iter().map(|one| &one.event_type).collect();
    assert_eq!(types, ["outbox.epoch_started.v1"]);
    let tail = core.tail();
    confirm(&mut core, &nats(), tail);
    fill(&mut core);
    let third = dropped(&held(&core, "")).pop().unwrap();
    let [run] = third.ranges[..] else {
        panic!("{:?}", third.ranges);
    };
    assert!(run.range.first() > tail, "{run:?}");
    assert_eq!(third.sinks[0].undelivered, run.range.len());
    assert!(third.ledger.is_empty());
}

#[test]
fn what_is_delivered_goes_first_and_is_no_loss() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, DROPPING).unwrap();
    attach(&mut core, &nats(), true);
    for number in 0..2_000 {
        append(&mut core, vec![sealed(number, &kilobyte(number))])
            .unwrap()
            .unwrap();
        if number % 100 == 99 {
            let tail = core.tail();
            confirm(&mut core, &nats(), tail);
        }
    }
    assert_eq!(dropped(&held(&core, "")).len(), 0);
    assert_eq!(core.store().meter().dropped.get(), 0);
}

#[test]
fn without_a_required_sink_the_oldest_go_too() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, DROPPING).unwrap();
    attach(&mut core, &nats(), false);
    for number in 0..600 {
        append(&mut core, vec![sealed(number, &kilobyte(number))])
            .unwrap()
            .unwrap();
    }
    let now = held(&core, "");
    let newest = dropped(&now).pop().unwrap();
    assert_eq!(newest.sinks[0].undelivered, newest.ranges[0].range.len());
    assert!(
        !now.iter()
            .any(|event| event.event_type == "outbox.sink_skipped.v1")
    );
}

/// A request that is nearly as large as the quota finds room, even beside a row of its own size.
#[test]
fn a_large_request_finds_room_where_everything_else_has_to_go() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, DROPPING).unwrap();
    attach(&mut core, &nats(), true);
    let most = (QUOTA - (64 << 10)) / 2 / 1_100;
    for round in 0..6 {
        let numbers = round * 1_000..round * 1_000 + most + 20;
        let request = numbers.map(|n| sealed(n, &kilobyte(n))).collect();
        append(&mut core, request).unwrap().unwrap();
    }
    let ledger = dropped(&held(&core, ""));
    assert!(is_dropped(&ledger, Seq::FIRST));
    let too_large = (9_000..9_250).map(|n| sealed(n, &kilobyte(n))).collect();
    let refused = append(&mut core, too_large).unwrap();
    assert!(matches!(refused, Err(AppendError::LargerThanQuota { .. })));
}

#[test]
fn a_program_s_transaction_finds_room_too_and_one_that_fails_drops_nothing() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, DROPPING).unwrap();
    attach(&mut core, &nats(), true);
    let run = |core: &mut Core<FaultyStorage>, fails: bool| {
        let staging = core.stage(stamp());
        let ended = core.transact(staging, |transaction| {
            for _ in 0..20 {
                let event = Event::builder("quiz.submitted.v1", Uuid::from_u128(7))
                    .payload(kilobyte(0))
                    .build()
                    .unwrap();
                transaction
                    .append(event)
                    .map_err(|error| error.to_string())?;
            }
            if fails { Err("no".to_owned()) } else { Ok(()) }
        });
        ended.is_ok()
    };
    while core.store().meter().dropped.get() == 0 {
        assert!(run(&mut core, false));
    }
    for _ in 0..10 {
        let before = (core.first_held(), core.tail());
        assert!(!run(&mut core, true));
        assert_eq!((core.first_held(), core.tail()), before);
        assert!(run(&mut core, false));
    }
    check(&core, &[], "");
}

#[test]
fn on_a_disk_without_room_the_journal_goes_on_within_what_it_has() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core, &nats(), true);
    for number in 0..100 {
        append(&mut core, vec![sealed(number, &kilobyte(number))])
            .unwrap()
            .unwrap();
    }
    let low = LowDisk {
        most_held: core.held_bytes(),
        free: 5,
        min_free: 10,
    };
    core.set_low_disk(Some(low));
    let refused = append(&mut core, vec![sealed(900, "{}")]).unwrap();
    let expected = AppendError::DiskFull {
        free: 5,
        min_free: 10,
    };
    assert_eq!(refused.unwrap_err().to_string(), expected.to_string());
    // What is delivered makes room, for nothing has to be taken from the disk for it.
    let tail = core.tail();
    confirm(&mut core, &nats(), tail);
    append(&mut core, vec![sealed(900, "{}")]).unwrap().unwrap();
    core.set_low_disk(None);
    drop(core);

    let limits = Limits {
        max_bytes: 64 << 20,
        ..DROPPING
    };
    let mut core = open(&storage, limits).unwrap();
    core.set_low_disk(Some(low));
    for number in 1_000..1_500 {
        append(&mut core, vec![sealed(number, &kilobyte(number))])
            .unwrap()
            .unwrap();
        // The reserve of the ledger is beside it.
        assert!(core.held_bytes() < low.most_held + (64 << 10));
    }
    assert!(is_dropped(&dropped(&held(&core, "")), Seq::new(110)));
}

#[test]
fn what_is_delivered_is_kept_as_long_as_the_configuration_says() {
    let keeping = |keep_bytes, keep_for| Limits {
        max_bytes: 8 << 20,
        retention: Retention {
            keep_bytes,
            keep_for,
            ..Retention::DEFAULT
        },
        ..LIMITS
    };
    // So many events of a kilobyte, each delivered at once; gives what is held then.
    let run = |limits: Limits, events: u64| {
        let storage = FaultyStorage::new(1);
        let mut core = open(&storage, limits).unwrap();
        attach(&mut core, &nats(), true);
        core.set_caught_up(&nats(), true);
        for number in 0..events {
            append(&mut core, vec![sealed(number, &kilobyte(number))])
                .unwrap()
                .unwrap();
            let tail = core.tail();
            core.note_progress(
                &nats(),
                Progress {
                    acked: tail,
                    floor: Position(tail.get()),
                    incarnation: Incarnation(1),
                },
            );
        }
        (core.held_bytes(), core)
    };
    let hour = Duration::from_secs(3_600);
    // As ever: some thousand events stay on a quiet device.
    let (bytes, _) = run(keeping(0, Duration::ZERO), 5_000);
    assert!(bytes < 1_500 << 10, "{bytes}");
    let (bytes, _) = run(keeping(4 << 20, Duration::ZERO), 5_000);
    assert!((4 << 20..5 << 20).contains(&bytes), "{bytes}");
    // The clocks of these tests go on by a microsecond a reading. The quota bounds what is kept.
    let (bytes, mut core) = run(keeping(0, hour), 8_000);
    assert!((5 << 20..(6 << 20) + (8 << 10)).contains(&bytes), "{bytes}");
    let later = Stamp {
        boottime_us: 7_200_000_000,
        ..stamp()
    };
    for _ in 0..10 {
        let mut staging = core.stage(later);
        core.append(&mut staging, vec![sealed(9_000 + core.tail().get(), "{}")])
            .unwrap();
        core.commit(staging).unwrap();
    }
    assert!(core.held_bytes() < 2 << 20, "{}", core.held_bytes());
    // Either is enough.
    let (bytes, _) = run(keeping(3 << 20, Duration::from_micros(1)), 5_000);
    assert!((3 << 20..4 << 20).contains(&bytes), "{bytes}");
    let (bytes, _) = run(keeping(1 << 20, hour), 5_000);
    assert!(bytes > 5 << 20, "{bytes}");
}

/// A journal that is about to be full, on a disk of its own, with two sinks of which one has some.
fn nearly_full() -> FaultyStorage {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, DROPPING).unwrap();
    attach(&mut core, &nats(), true);
    attach(&mut core, &SinkName::new("lab").unwrap(), true);
    let mut number = 0;
    while core.held_bytes() + 4_000 < QUOTA - (64 << 10) {
        append(&mut core, vec![sealed(number, &kilobyte(number))])
            .unwrap()
            .unwrap();
        number += 1;
    }
    confirm(&mut core, &nats(), Seq::new(9));
    drop(core);
    storage
}

/// Appends until it had to drop twice; stops at a fault.
fn append_and_drop(
    core: &mut Core<FaultyStorage>,
    acknowledged: &mut Vec<(u64, Seq)>,
) -> Result<(), super::Fault> {
    for number in 1_000..1_012 {
        let request = (0..4).map(|n| number * 4 + n);
        let numbers: Vec<u64> = request.collect();
        let request = numbers.iter().map(|&n| sealed(n, &kilobyte(n))).collect();
        let places = append(core, request)?.expect("there is always room");
        acknowledged.extend(
            numbers
                .into_iter()
                .zip(places.iter().map(|place| place.seq)),
        );
    }
    Ok(())
}

/// Everything that was acknowledged is there, or in the ledger.
fn check(core: &Core<FaultyStorage>, acknowledged: &[(u64, Seq)], context: &str) {
    let held = held(core, context);
    let ledger = dropped(&held);
    let first = core.first_held();
    for seq in (1..first.get()).map(Seq::new) {
        assert!(
            is_dropped(&ledger, seq),
            "{context}: {seq} is gone without a word"
        );
    }
    if let Some(run) = ledger.last().and_then(|newest| newest.ranges.last()) {
        let after = held
            .iter()
            .find(|event| event.seq == run.range.last().next());
        assert_eq!(run.digest, after.map(|event| event.prev), "{context}");
    }
    for one in &ledger {
        for run in &one.ranges {
            assert!(
                run.range.last() < first,
                "{context}: {run:?} is said to be gone"
            );
        }
    }
    for (number, seq) in acknowledged {
        assert_eq!(
            core.find(&Uuid::from_u64_pair(*number, 1)),
            Some(*seq),
            "{context}"
        );
        if *seq >= first {
            let event = &held[seq.since(first) as usize];
            assert_eq!(event.payload, kilobyte(*number).as_bytes(), "{context}");
        }
    }
    let once: BTreeSet<Seq> = acknowledged.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(once.len(), acknowledged.len(), "{context}");
    for cursor in core.cursors().values() {
        assert!(
            cursor.confirmed <= cursor.acked && cursor.acked <= cursor.claimed,
            "{context}"
        );
        assert!(cursor.claimed <= core.tail(), "{context}");
        assert!(
            cursor.acked.next() >= first,
            "{context}: a cursor stands behind"
        );
    }
    assert!(core.held_bytes() <= QUOTA, "{context}");
}

fn at_every_call_of_a_drop(fault: Fault) {
    let full = nearly_full();
    let mut call = 1;
    loop {
        let storage = full.copy();
        let context = format!("{fault:?} at call {call}");
        storage.fail_after(call, fault);
        let mut acknowledged = Vec::new();
        let worked = open(&storage, DROPPING).and_then(|mut core| {
            let worked = append_and_drop(&mut core, &mut acknowledged);
            if worked.is_err() && fault == Fault::Once {
                core.reopen(stamp()).unwrap();
                check(&core, &acknowledged, &context);
            }
            worked
        });
        let is_over = worked.is_ok() && storage.fault_is_ahead();
        storage.crash();
        let mut core = open(&storage, DROPPING).unwrap();
        // What a failed commit left is there whole or not at all, so a retry finds its place.
        check(&core, &acknowledged, &context);
        acknowledged.clear();
        append_and_drop(&mut core, &mut acknowledged).unwrap();
        check(&core, &acknowledged, &context);
        assert!(core.first_held() > Seq::new(40), "{context}");
        if is_over {
            break;
        }
        call += 1;
    }
    assert!(call > 150, "the faults must come within the work: {call}");
}

#[test]
fn a_power_cut_at_every_call_of_a_drop_loses_nothing_without_a_word() {
    at_every_call_of_a_drop(Fault::PowerCut);
}

#[test]
fn a_call_of_a_drop_that_fails_loses_nothing_without_a_word() {
    at_every_call_of_a_drop(Fault::Once);
}

/// A journal whose backlog of so many events was delivered, all but the last fifty.
fn drained(events: u64) -> FaultyStorage {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core, &nats(), true);
    for first in (0..events).step_by(50) {
        let request = (first..first + 50)
            .map(|n| sealed(n, &kilobyte(n)))
            .collect();
        append(&mut core, request).unwrap().unwrap();
    }
    let upto = Seq::new(core.tail().get() - 50);
    confirm(&mut core, &nats(), upto);
    drop(core);
    storage
}

#[test]
fn a_drained_journal_is_compacted_once_and_gives_the_disk_back() {
    let storage = drained(20_000);
    let mut core = open(&storage, LIMITS).unwrap();
    let before = held(&core, "before");
    assert!(core.is_worth_compacting());
    assert!(!core.is_delivering());
    let given_back = core.compact(stamp()).unwrap();
    let length = storage.snapshot().len() as u64;
    assert!(given_back > 15 << 20, "{given_back}");
    assert!(length < 2 << 20, "{length}");
    assert_eq!(core.store().meter().compactions.get(), 1);
    assert!(!core.is_worth_compacting(), "not in a loop");
    let after = held(&core, "after");
    assert!(
        before
            .iter()
            .map(|e| e.digest)
            .eq(after.iter().map(|e| e.digest))
    );
    append(&mut core, vec![sealed(50_000, "{}")])
        .unwrap()
        .unwrap();
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    assert_eq!(held(&core, "opened").len(), after.len() + 1);
    assert!(!core.is_worth_compacting());
}

/// The writer compacts where nothing happens for a while, and then leaves the flash alone.
#[test]
fn a_quiet_writer_compacts_once_and_is_quiet_again() {
    let core = open(&drained(20_000), LIMITS).unwrap();
    let meter = core.store().meter().clone();
    let board = StatusBoard::new(attack::empty_status());
    let begin = Instant::now();
    let (commands, writer) = attack::serving_with(core, board);
    while meter.compactions.get() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(50));
    }
    assert!(begin.elapsed() > Duration::from_secs(9), "it was not quiet");
    let syncs = meter.syncs.get();
    thread::sleep(Duration::from_secs(12));
    assert_eq!(meter.compactions.get(), 1);
    assert!(meter.syncs.get() <= syncs + 2, "its own last commit");
    drop(commands);
    writer.join().unwrap();
}

#[test]
fn a_journal_with_tables_of_a_program_or_with_a_backlog_is_not_compacted() {
    let storage = drained(12_000);
    let mut core = open(&storage, LIMITS).unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("scores");
    let staging = core.stage(stamp());
    let made = core.transact(staging, |transaction| {
        transaction
            .open_table(table)
            .map(drop)
            .map_err(|error| error.to_string())
    });
    assert!(made.is_ok());
    assert!(core.is_worth_compacting());
    assert_eq!(core.compact(stamp()).unwrap(), 0);
    assert!(!core.is_worth_compacting(), "not in a loop");
    assert_eq!(core.store().meter().compactions.get(), 0);
    attach(&mut core, &nats(), true);
    let mut staging = core.stage(stamp());
    let tail = core.tail();
    core.claim(&mut staging, &nats(), tail);
    core.commit(staging).unwrap();
    assert!(core.is_delivering());
    let cursor = core.cursors()[&nats()];
    core.await_receipts(&nats(), cursor);
    assert!(core.is_delivering(), "a broker answers");
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, u32::MAX.into()));
    core.await_receipts(&nats(), cursor);
    core.commit(staging).unwrap();
    assert!(!core.is_delivering(), "receipts may take weeks");
    attach(&mut core, &nats(), true);
    assert!(core.is_delivering());
    core.detach(&nats());
    assert!(!core.is_delivering(), "nobody does");
}

fn at_every_call_of_a_compaction(fault: Fault) {
    let drained = drained(2_500);
    let mut call = 1;
    loop {
        let storage = drained.copy();
        let context = format!("{fault:?} at call {call}");
        let mut core = open(&storage, LIMITS).unwrap();
        let before = held(&core, &context);
        let cursors = core.cursors().clone();
        storage.fail_after(call, fault);
        let compacted = core.compact(stamp());
        let is_over = compacted.is_ok() && storage.fault_is_ahead();
        let same = |core: &Core<FaultyStorage>| {
            let now = held(core, &context);
            assert!(
                before
                    .iter()
                    .map(|e| e.digest)
                    .eq(now.iter().map(|e| e.digest)),
                "{context}"
            );
            assert_eq!(*core.cursors(), cursors, "{context}");
        };
        if compacted.is_err() && fault == Fault::Once {
            core.reopen(stamp()).unwrap();
            same(&core);
        }
        drop(core);
        storage.crash();
        let mut core = open(&storage, LIMITS).unwrap_or_else(|e| panic!("{context}: {e}"));
        same(&core);
        append(&mut core, vec![sealed(50_000, "{}")])
            .unwrap()
            .unwrap();
        core.compact(stamp())
            .unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(held(&core, &context).len(), before.len() + 1);
        if is_over {
            break;
        }
        call += 1;
    }
    assert!(call > 30, "the faults must come within the work: {call}");
}

#[test]
fn a_power_cut_at_every_call_of_a_compaction_loses_nothing() {
    at_every_call_of_a_compaction(Fault::PowerCut);
}

#[test]
fn a_call_of_a_compaction_that_fails_loses_nothing() {
    at_every_call_of_a_compaction(Fault::Once);
}
