//! What comes while a commit is being made ready.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc};

use super::{
    super::{
        error::AppendError,
        reader::Reader,
        writer::{Command, Job, Registered, Writer},
    },
    LIMITS, append,
    attack::{
        Ticking, ask, empty_status, large, place, progress, serving, serving_with,
        without_much_room,
    },
    nats, open, sealed, stamp,
    storage::FaultyStorage,
    wanted,
};
use crate::{
    clock::{ClockSync, Stamp},
    seq::Seq,
    status_board::StatusBoard,
};

/// Has the writer hear of `acked` while it is busy, and say nothing more to it.
fn note_in_a_transaction(commands: &mpsc::Sender<Command>, sink: &Registered, acked: u64) {
    let (ended, end) = std::sync::mpsc::channel();
    let (noted, again) = (sink.noted.clone(), commands.clone());
    let job: Job = Box::new(move |_| {
        assert!(noted.note(progress(acked)), "the writer is to be told");
        assert!(again.try_send(Command::Noted).is_ok());
        Ok(Box::new(move |_| ended.send(()).unwrap()))
    });
    assert!(commands.blocking_send(Command::Transact(job)).is_ok());
    end.recv().unwrap();
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(5), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The writer is told once, in the commit that it is busy with.
#[test]
fn what_a_sink_notes_while_the_writer_is_busy_is_heard_without_another_command() {
    let core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    let (commands, writer) = serving(core);
    let sink = place(&commands);
    note_in_a_transaction(&commands, &sink, 1);
    wait_until("it is heard", || !sink.noted.is_told());
    drop((commands, sink));
    writer.join().unwrap();
}

/// Every ten milliseconds is often enough.
#[test]
fn who_goes_on_confirming_says_so_seldom_and_is_heard() {
    let core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    let (commands, writer) = serving(core);
    let sink = place(&commands);
    let (begin, mut told) = (Instant::now(), 0);
    for _ in 0..1_000 {
        if sink.noted.note(progress(1)) {
            told += 1;
            assert!(commands.blocking_send(Command::Noted).is_ok());
        }
        thread::sleep(Duration::from_micros(50));
    }
    let turns = begin.elapsed().as_millis() / 10;
    assert!(told <= 3 + 2 * turns, "{told} words in {turns} turns");
    // Left alone for longer than it looks on, it has taken all and wants to be told again.
    wait_until("it looks by itself", || {
        thread::sleep(Duration::from_millis(100));
        sink.noted.note(progress(1))
    });
    drop((commands, sink));
    writer.join().unwrap();
}

/// An append was refused for want of room, and nobody else would have the next commit made.
#[test]
fn what_makes_room_is_committed_though_it_was_noted_while_the_writer_was_busy() {
    let core = without_much_room();
    let tail = core.tail();
    let board = StatusBoard::new(empty_status());
    let status = board.subscribe();
    let (commands, writer) = serving_with(core, board);
    let sink = place(&commands);
    let claim = |reply| Command::Claim {
        name: nats(),
        upto: tail,
        reply,
    };
    let claimed = ask(&commands, claim).blocking_recv().unwrap();
    assert_eq!(claimed.unwrap(), tail);
    let too_much = |reply| Command::Append {
        request: large(10..18),
        reply,
        budget: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
    };
    let refused = ask(&commands, too_much).blocking_recv().unwrap();
    assert!(matches!(refused, Err(AppendError::Full { .. })));
    for _ in 0..4 {
        assert!(sink.noted.note(progress(0)), "each word may make room");
        assert!(commands.blocking_send(Command::Noted).is_ok());
        wait_until("it is heard", || !sink.noted.is_told());
    }
    note_in_a_transaction(&commands, &sink, tail.get());
    wait_until("room is made", || {
        status.borrow().journal.first_held > Seq::FIRST
    });
    drop((commands, sink));
    writer.join().unwrap();
}

/// Its events came after it was begun. What says when a clock was set keeps the time it says.
#[test]
fn a_commit_is_dated_when_all_of_it_has_come() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    let unset = || Stamp {
        sync: ClockSync::No,
        ..stamp()
    };
    let mut commit = |number, begun: Stamp, dated: Stamp| {
        let mut staging = core.stage(begun);
        core.append(&mut staging, vec![sealed(number, "{}")])
            .unwrap();
        staging.date(dated);
        core.commit(staging).unwrap();
        let reader = Reader::new(core.store().clone());
        let batch = reader.batch(core.tail(), 1, usize::MAX).unwrap();
        let record = batch.records().next().unwrap().unwrap();
        (core.tail().get(), record.statement.clock)
    };
    let (begun, dated) = (stamp(), unset());
    assert_eq!(commit(1, begun, dated), (2, dated));
    // The boot had waited for its clock: the ledger's word on it comes first.
    let (begun, dated) = (stamp(), unset());
    assert_eq!(commit(2, begun, dated), (4, begun));
    let (begun, dated) = (stamp(), stamp());
    assert_eq!(commit(3, begun, dated), (5, dated));
    append(&mut core, vec![sealed(4, "{}")]).unwrap().unwrap();
    assert_eq!(core.tail(), Seq::new(6));
}

/// It wakes for what a sink confirmed, a minute later, and once that is durable for nothing.
#[test]
fn what_a_sink_confirmed_is_waited_for_until_it_is_durable() {
    let core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    let (commands, queue) = mpsc::channel(8);
    let board = StatusBoard::new(empty_status());
    let mut writer = Writer::new(core, Ticking, queue, Duration::ZERO, board);
    let mut next = |command| {
        assert!(!writer.turn(command));
        writer.deadline()
    };
    let registered = ask(&commands, |reply| Command::Register {
        name: nats(),
        kind: "nats",
        wanted: wanted(true, 16),
        by_receipts: false,
        reply,
    });
    assert_eq!(next(Command::Noted), None);
    let sink = registered.blocking_recv().unwrap().unwrap();
    let claim = ask(&commands, |reply| Command::Claim {
        name: nats(),
        upto: Seq::new(1),
        reply,
    });
    assert_eq!(next(Command::Noted), None);
    claim.blocking_recv().unwrap().unwrap();
    assert!(sink.noted.note(progress(1)));
    let at = next(Command::Noted).expect("it waits");
    let wait = at.duration_since(Instant::now());
    assert!(wait > Duration::from_secs(50), "{wait:?}");
    let settled = ask(&commands, |reply| Command::Settle { reply });
    next(Command::Noted);
    settled.blocking_recv().unwrap().unwrap();
    // By then it does not look for more, either.
    thread::sleep(Duration::from_millis(25));
    assert_eq!(next(Command::Noted), None);
}
