//! What a hostile reader of the write side tried, and what it must withstand.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::*;
use crate::{
    clock::{Clock, Stamp},
    envelope::{Chain, Envelope, Unverified, Verifier},
    journal::{
        Command, Job, QUEUE_COMMANDS, Reader, Registered, Writer, cursor::Progress, intake::Intake,
    },
    ledger::EpochReason,
    seq::{Incarnation, Position, Seq},
    signing::DeviceKey,
    status::{ClockStatus, JournalState, JournalStatus, Status},
    status_board::StatusBoard,
};

fn fresh() -> (FaultyStorage, Core<FaultyStorage>) {
    let storage = FaultyStorage::new(1);
    let core = open(&storage, LIMITS).unwrap();
    (storage, core)
}

pub(super) fn progress(acked: u64) -> Progress {
    Progress {
        acked: Seq::new(acked),
        floor: Position(acked),
        incarnation: Incarnation(1),
    }
}

fn attach(core: &mut Core<FaultyStorage>) {
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 16));
    core.commit(staging).unwrap();
}

fn claim(core: &mut Core<FaultyStorage>) {
    let mut staging = core.stage(stamp());
    let tail = core.tail();
    core.claim(&mut staging, &nats(), tail);
    core.commit(staging).unwrap();
}

/// A write fails, and when the medium is looked at it is in an older state than it said.
fn roll_back(storage: &FaultyStorage, core: &mut Core<FaultyStorage>, older: Vec<u8>) {
    storage.fail_after(1, storage::Fault::Once);
    assert!(append(core, vec![sealed(99, "{}")]).is_err());
    storage.restore(older);
}

/// Whether everything held is one chain, as a hub would see it.
fn chain(core: &Core<FaultyStorage>, keys: &[&DeviceKey]) -> Result<(), String> {
    let mut verifier = Verifier::new();
    for key in keys {
        verifier.trust(key.public_key());
    }
    let reader = Reader::new(core.store().clone());
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    let (mut chain, mut line) = (Chain::new(), Vec::new());
    for record in batch.records() {
        line.clear();
        record.unwrap().render(false, true, &mut line);
        let envelope = Envelope::<Unverified>::parse(&line).unwrap();
        let envelope = verifier.verify(envelope).unwrap();
        chain.extend(&envelope).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The writer wakes for what is noted; what cannot be noted any better must not wake it for ever.
#[test]
fn progress_that_says_nothing_new_is_done_with() {
    let (_, mut core) = fresh();
    attach(&mut core);
    claim(&mut core);
    core.note_progress(&nats(), progress(1));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    assert!(!core.has_progress());
    core.note_progress(&nats(), progress(1));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    assert!(!core.has_progress(), "what is durable already");
    core.note_progress(&nats(), progress(0));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    assert!(!core.has_progress(), "what the journal has passed");
    core.note_progress(&nats(), progress(99));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    assert!(!core.has_progress(), "what was never claimed");
}

/// A sink that confirms what was never handed to it must not have later events counted as
/// delivered.
#[test]
fn a_confirmation_of_what_was_never_claimed_loses_nothing() {
    let (_, mut core) = fresh();
    attach(&mut core);
    claim(&mut core);
    core.note_progress(&nats(), progress(99));
    append(&mut core, vec![sealed(1, "{}")]).unwrap().unwrap();
    claim(&mut core);
    append(&mut core, vec![sealed(2, "{}")]).unwrap().unwrap();
    assert_eq!(core.cursors()[&nats()].acked, Seq::new(1));
}

/// The recovery from a rollback fails itself: the next attempt still knows what was acknowledged.
#[test]
fn a_rollback_is_not_forgotten_when_its_recovery_fails_too() {
    let mut call = 1;
    loop {
        let (storage, mut core) = fresh();
        append(&mut core, vec![sealed(1, "1")]).unwrap().unwrap();
        let older = storage.snapshot();
        append(&mut core, vec![sealed(2, "2")]).unwrap().unwrap();
        let epoch = core.epoch();
        roll_back(&storage, &mut core, older);
        storage.fail_after(call, storage::Fault::Once);
        let failed = core.reopen(stamp()).is_err();
        storage.crash_is_over();
        if failed {
            core.reopen(stamp()).unwrap();
        }
        assert_ne!(core.epoch(), epoch, "call {call}: seq 3 will be used twice");
        if !failed {
            break;
        }
        call += 1;
    }
    assert!(call > 5, "{call}");
}

/// A medium that takes an acknowledged cursor back has rolled back too.
#[test]
fn a_claim_that_the_medium_forgot_is_a_rollback() {
    let (storage, mut core) = fresh();
    attach(&mut core);
    let older = storage.snapshot();
    claim(&mut core);
    let (epoch, claimed) = (core.epoch(), core.cursors()[&nats()].claimed);
    roll_back(&storage, &mut core, older);
    core.reopen(stamp()).unwrap();
    assert!(
        core.cursors()[&nats()].claimed >= claimed || core.epoch() != epoch,
        "it left, and nothing says so"
    );
}

/// After a rollback the seqs come again: what a sink confirmed of the old ones says nothing of
/// the new ones.
#[test]
fn what_was_confirmed_before_a_rollback_does_not_confirm_what_comes_after() {
    let (storage, mut core) = fresh();
    attach(&mut core);
    let older = storage.snapshot();
    append(&mut core, (0..5).map(|n| sealed(n, "{}")).collect())
        .unwrap()
        .unwrap();
    claim(&mut core);
    core.set_caught_up(&nats(), true);
    core.note_progress(&nats(), progress(6));
    roll_back(&storage, &mut core, older);
    core.reopen(stamp()).unwrap();
    for number in 10..13 {
        append(&mut core, vec![sealed(number, "{}")])
            .unwrap()
            .unwrap();
    }
    let cursor = core.cursors()[&nats()];
    assert_eq!(cursor.acked, Seq::NONE, "nothing of these ever left");
    assert_eq!(cursor.claimed, Seq::NONE);
}

/// The clock was set, and before anything was appended the device got another key.
#[test]
fn an_epoch_begins_with_its_start_though_the_clock_was_set_meanwhile() {
    let (storage, mut core) = fresh();
    let unset = Stamp {
        sync: ClockSync::No,
        ..stamp()
    };
    let mut staging = core.stage(unset);
    core.append(&mut staging, vec![sealed(1, "1")]).unwrap();
    core.commit(staging).unwrap();
    drop(core);
    let other = Identity {
        key: DeviceKey::from_pkcs8_base64(OTHER_KEY).unwrap(),
        ..identity()
    };
    let core = Core::open(storage, other, LIMITS, 1 << 20, entropy(9), stamp()).unwrap();
    let other = DeviceKey::from_pkcs8_base64(OTHER_KEY).unwrap();
    assert_eq!(chain(&core, &[&identity().key, &other]), Ok(()));
    assert_eq!(core.tail(), Seq::new(4), "and the boot is anchored");
}

/// A device that is given no name keeps the one it has, under whatever key.
#[test]
fn another_key_does_not_rename_the_device() {
    let (storage, core) = fresh();
    drop(core);
    let other = Identity {
        device: None,
        key: DeviceKey::from_pkcs8_base64(OTHER_KEY).unwrap(),
        ..identity()
    };
    let core = Core::open(storage, other, LIMITS, 1 << 20, entropy(9), stamp()).unwrap();
    assert_eq!(core.device().as_str(), "kiosk-1");
}

/// All that is held is confirmed, yet too little for trimming to be worth it, and too much for the
/// next request.
#[test]
fn a_refusal_for_want_of_room_makes_room() {
    let storage = FaultyStorage::new(1);
    let limits = Limits {
        max_bytes: 1 << 20,
        ..LIMITS
    };
    let mut core = open(&storage, limits).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1 << 10));
    core.commit(staging).unwrap();
    let payload = format!("\"{}\"", "x".repeat(60_000));
    let mut number = 0;
    let mut more = |count: u64| -> Vec<Sealed> {
        number += count;
        (number - count..number)
            .map(|n| sealed(n, &payload))
            .collect()
    };
    for _ in 0..10 {
        append(&mut core, more(1)).unwrap().unwrap();
    }
    claim(&mut core);
    core.note_progress(&nats(), progress(core.tail().get()));
    let full = append(&mut core, more(8)).unwrap();
    assert!(matches!(full, Err(AppendError::Full { .. })));
    append(&mut core, more(8)).unwrap().unwrap();
}

/// Whoever heard no answer asks again; and a sink may know without sending that an event will not
/// pass.
#[test]
fn a_rejection_that_is_asked_for_again_is_one_and_keeps_the_cursor_whole() {
    let (_, mut core) = fresh();
    attach(&mut core);
    append(&mut core, vec![sealed(1, "1")]).unwrap().unwrap();
    claim(&mut core);
    core.note_progress(&nats(), progress(1));
    append(&mut core, vec![sealed(2, "2")]).unwrap().unwrap();
    for _ in 0..2 {
        for seq in [2, 3, 3] {
            let mut staging = core.stage(stamp());
            core.reject(&mut staging, &nats(), Seq::new(seq), "too_large")
                .unwrap();
            core.reject(&mut staging, &nats(), Seq::new(seq), "too_large")
                .unwrap();
            core.commit(staging).unwrap();
        }
    }
    let cursor = core.cursors()[&nats()];
    assert_eq!((cursor.dead_letters, core.tail()), (2, Seq::new(5)));
    assert_eq!((cursor.acked, cursor.claimed), (Seq::new(3), Seq::new(3)));
}

/// The nil id stands for "unknown" in the table of ids, so an event must not have it.
#[test]
fn the_nil_id_is_no_id() {
    let event = Event::builder("quiz.submitted.v1", Uuid::from_u128(7))
        .id(Uuid::nil())
        .payload("1")
        .build();
    assert_eq!(event.unwrap_err().field(), "id");
}

pub(super) struct Ticking;

impl Clock for Ticking {
    fn stamp(&self) -> Stamp {
        stamp()
    }
}

pub(super) fn empty_status() -> Status {
    let now = stamp();
    Status {
        device: String::new(),
        key_id: String::new(),
        public_key: String::new(),
        epoch: String::new(),
        tail: Seq::NONE,
        journal: JournalStatus {
            dir: "".into(),
            bytes: 0,
            quota_bytes: 0,
            disk: None,
            first_held: Seq::NONE,
            state: JournalState::Open,
            commits: 0,
            reopened: 0,
            dropped: 0,
            erasing: None,
            last_error: None,
        },
        clock: ClockStatus {
            wall: now.wall,
            sync: now.sync,
        },
        sinks: std::collections::BTreeMap::new(),
        listening: Vec::new(),
        version: String::new(),
    }
}

/// A writer on its thread, and the way to it.
pub(super) fn serving(core: Core<FaultyStorage>) -> (mpsc::Sender<Command>, JoinHandle<()>) {
    serving_with(core, StatusBoard::new(empty_status()))
}

/// The same, with a board to read.
pub(super) fn serving_with(
    core: Core<FaultyStorage>,
    board: StatusBoard,
) -> (mpsc::Sender<Command>, JoinHandle<()>) {
    let (commands, queue) = mpsc::channel(QUEUE_COMMANDS);
    let writer = Writer::new(core, Ticking, queue, Duration::ZERO, board);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    (
        commands,
        thread::spawn(move || runtime.block_on(writer.run())),
    )
}

pub(super) fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> oneshot::Receiver<T> {
    let (reply, answer) = oneshot::channel();
    assert!(commands.blocking_send(command(reply)).is_ok());
    answer
}

pub(super) fn place(commands: &mpsc::Sender<Command>) -> Registered {
    place_of(&nats(), commands)
}

fn place_of(name: &SinkName, commands: &mpsc::Sender<Command>) -> Registered {
    let register = |reply| Command::Register {
        name: name.clone(),
        kind: "nats",
        wanted: wanted(true, 16),
        by_receipts: false,
        reply,
    };
    ask(commands, register).blocking_recv().unwrap().unwrap()
}

/// A commit is in hand when a sink notes what it has learnt and asks for it to be made durable.
#[test]
fn settling_makes_durable_what_was_noted_while_a_commit_was_in_hand() {
    let (_, core) = fresh();
    let (commands, writer) = serving(core);
    let sink = place(&commands);
    let claim = |reply| Command::Claim {
        name: nats(),
        upto: Seq::new(1),
        reply,
    };
    ask(&commands, claim).blocking_recv().unwrap().unwrap();
    let noted = Arc::clone(&sink.noted);
    let (enter, entered) = std::sync::mpsc::channel();
    let (settling, go_on) = std::sync::mpsc::channel();
    let job: Job = Box::new(move |_| {
        enter.send(()).unwrap();
        noted.note(progress(1));
        go_on.recv().unwrap();
        Ok(Box::new(|_| {}))
    });
    assert!(commands.blocking_send(Command::Transact(job)).is_ok());
    entered.recv().unwrap();
    let settled = ask(&commands, |reply| Command::Settle { reply });
    settling.send(()).unwrap();
    settled.blocking_recv().unwrap().unwrap();
    drop(sink);
    assert_eq!(place(&commands).cursor.acked, Seq::new(1));
    drop(commands);
    writer.join().unwrap();
}

/// A task that holds a place from before a rollback is told that it has none any more.
#[test]
fn a_rollback_ends_the_horizon_of_every_sink() {
    let (storage, core) = fresh();
    let older = storage.snapshot();
    let (commands, writer) = serving(core);
    let mut sink = place(&commands);
    storage.restore_at_fault(older);
    let settled = ask(&commands, |reply| Command::BeginEpoch {
        reason: EpochReason::RolledBack,
        from: Seq::FIRST,
        reply,
    });
    assert!(settled.blocking_recv().unwrap().is_err());
    let anew = place(&commands);
    assert_eq!(anew.cursor.acked, Seq::NONE);
    sink.horizon.borrow_and_update();
    assert!(sink.horizon.has_changed().is_err());
    drop(commands);
    writer.join().unwrap();
}

/// Hands one event to the writer, and waits for the answer.
fn hand_over(commands: &mpsc::Sender<Command>, number: u64) -> Result<Vec<Appended>, AppendError> {
    let budget = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let append = |reply| Command::Append {
        request: vec![sealed(number, "{}")],
        reply,
        budget,
    };
    ask(commands, append).blocking_recv().unwrap()
}

/// The power goes at each call of a commit in turn: what was answered is there afterwards.
#[test]
fn an_append_is_answered_once_it_is_durable() {
    for call in 1.. {
        let (storage, core) = fresh();
        let (commands, writer) = serving(core);
        storage.fail_after(call, storage::Fault::PowerCut);
        let answer = hand_over(&commands, 1);
        let was_cut_off = !storage.fault_is_ahead();
        storage.kill();
        drop(commands);
        writer.join().unwrap();
        storage.crash();
        let core = open(&storage, LIMITS).unwrap();
        let found = core.find(&sealed(1, "{}").id);
        match answer {
            Ok(places) => assert_eq!(found, Some(places[0].seq), "call {call}"),
            Err(error) => assert!(
                matches!(error, AppendError::OutcomeUnknown),
                "call {call}: {error}"
            ),
        }
        if !was_cut_off {
            assert!(call > 5, "a commit makes more calls than {call}");
            break;
        }
    }
}

/// Each call of a commit in turn fails once: the writer opens the journal afresh by itself and takes
/// the same event again, which is then there once.
#[test]
fn after_a_call_that_fails_the_writer_goes_on() {
    for call in 1.. {
        let (storage, core) = fresh();
        let (commands, writer) = serving(core);
        storage.fail_after(call, storage::Fault::Once);
        let begin = Instant::now();
        while let Err(error) = hand_over(&commands, 1) {
            assert!(
                begin.elapsed() < Duration::from_secs(5),
                "call {call}: {error}"
            );
            thread::sleep(Duration::from_millis(1));
        }
        let has_failed = !storage.fault_is_ahead();
        storage.mend();
        assert!(!hand_over(&commands, 2).unwrap()[0].repeated);
        drop(commands);
        writer.join().unwrap();
        let core = open(&storage, LIMITS).unwrap();
        assert_eq!(core.tail(), Seq::new(3), "call {call}");
        assert_eq!(chain(&core, &[&identity().key]), Ok(()));
        if !has_failed {
            assert!(call > 5, "a commit makes more calls than {call}");
            break;
        }
    }
}

/// A read fails once, after which redb reads nothing more, and nobody appends: whoever could not read has the
/// writer open the journal afresh.
#[test]
fn a_read_that_failed_is_mended_without_a_write() {
    let (storage, mut core) = fresh();
    let payload = format!("\"{}\"", "x".repeat(2_000));
    let mut staging = core.stage(stamp());
    for number in 1..=200 {
        let one = vec![sealed(number, &payload)];
        core.append(&mut staging, one).unwrap();
    }
    core.commit(staging).unwrap();
    drop(core);
    // Hardly anything of it is in memory.
    let cache = 16 << 10;
    let seed = entropy(2);
    let core = Core::open(storage.clone(), identity(), LIMITS, cache, seed, stamp()).unwrap();
    let reader = Reader::new(core.store().clone());
    let read = || reader.batch(Seq::FIRST, 1, usize::MAX);
    let (commands, writer) = serving(core);
    storage.fail_after(1, storage::Fault::Once);
    assert!(read().is_err());
    storage.mend();
    assert!(
        read().is_err(),
        "redb reads on, and all of this is needless"
    );
    assert!(commands.blocking_send(Command::Noted).is_ok());
    let begin = Instant::now();
    while let Err(error) = read() {
        assert!(begin.elapsed() < Duration::from_secs(5), "{error}");
        thread::sleep(Duration::from_millis(1));
    }
    // Where it cannot be read again at once, whoever appends does not suffer for that.
    storage.fail_after(1, storage::Fault::Once);
    let later = || reader.batch(Seq::new(100), 1, usize::MAX);
    assert!(later().is_err() && later().is_err());
    assert!(!hand_over(&commands, 1_000).unwrap()[0].repeated);
    later().unwrap();
    drop(commands);
    writer.join().unwrap();
}

/// A block stays bad, and what is shown of the oldest pending event lies in it: that is tried once, for each
/// failure costs a commit.
#[test]
fn what_cannot_be_read_is_not_read_again_for_show() {
    let (storage, mut core) = fresh();
    let payload = format!("\"{}\"", "x".repeat(2_000));
    for number in 1..=200 {
        let mut staging = core.stage(stamp());
        let one = vec![sealed(number, &payload)];
        core.append(&mut staging, one).unwrap();
        core.commit(staging).unwrap();
    }
    drop(core);
    let (cache, seed) = (16 << 10, entropy(2));
    let mut core = Core::open(storage.clone(), identity(), LIMITS, cache, seed, stamp()).unwrap();
    let mut intake = Intake::new(core.tail());
    storage.fail_after(1, storage::Fault::Once);
    intake.find(&nats(), Seq::FIRST, core.store());
    assert!(core.store().is_unread());
    core.reopen(stamp()).unwrap();
    intake.start_over(core.tail());
    storage.fail_after(1, storage::Fault::Once);
    intake.find(&nats(), Seq::FIRST, core.store());
    assert!(storage.fault_is_ahead(), "it was read again");
    intake.find(&nats(), Seq::new(150), core.store());
    assert!(!storage.fault_is_ahead(), "another one is not read");
}

/// The oldest pending event lies in a block that stays bad. Whoever appends is answered, whatever else is held can
/// be read, and the journal is not opened afresh again and again.
#[test]
#[ignore = "redb reads every page as it opens where its own assertions are on: `tests/simulate` runs this one"]
fn a_block_that_stays_bad_costs_what_lies_in_it() {
    let (storage, mut core) = fresh();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1_000));
    core.commit(staging).unwrap();
    let payload = format!("\"{}\"", "x".repeat(8_000));
    for number in 1..=100 {
        append(&mut core, vec![sealed(number, &payload)])
            .unwrap()
            .unwrap();
    }
    // Far from the end, which opening reads.
    for number in 1..=30 {
        let some = (1..=100).map(|one| sealed(number * 1_000 + one, "1"));
        append(&mut core, some.collect()).unwrap().unwrap();
    }
    claim(&mut core);
    let bad = Seq::new(60);
    core.note_progress(&nats(), progress(bad.get() - 1));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    drop(core);

    // With hardly anything of it in memory, its blocks are those that nothing far from it is read from.
    let open = |storage: &FaultyStorage| {
        let (storage, cache) = (storage.clone(), 16 << 10);
        Core::open(storage, identity(), LIMITS, cache, entropy(2), stamp()).unwrap()
    };
    let read_from = |seq| {
        let core = open(&storage);
        let reader = Reader::new(core.store().clone());
        storage.watch();
        reader.batch(seq, 1, usize::MAX).unwrap();
        storage.watched()
    };
    let others = &read_from(Seq::new(50)) | &read_from(Seq::new(70));
    let own = &read_from(bad) - &others;
    let first = *own.first().expect("its own block");
    let core = open(&storage);
    storage.go_bad(first * storage::PIECE..(first + 1) * storage::PIECE);

    let reader = Reader::new(core.store().clone());
    let board = StatusBoard::new(empty_status());
    let (commands, writer) = serving_with(core, board.clone());
    assert_eq!(place(&commands).cursor.acked, bad.prev());
    for number in 200..210 {
        assert!(!hand_over(&commands, number).unwrap()[0].repeated);
        let late = reader.batch(bad, 1, usize::MAX);
        assert!(late.is_err(), "it can be read, and nothing was tried");
    }
    let reopened = || board.borrow().journal.reopened;
    hand_over(&commands, 300).unwrap();
    let before = reopened();
    for seq in (1..=200)
        .map(Seq::new)
        .filter(|seq| seq.get().abs_diff(60) > 5)
    {
        let batch = reader.batch(seq, 1, usize::MAX).unwrap();
        assert_eq!(batch.records().count(), 1, "{seq}");
    }
    for number in 400..450 {
        hand_over(&commands, number).unwrap();
    }
    assert_eq!(
        reopened(),
        before,
        "though nobody wanted what cannot be read"
    );
    drop(commands);
    writer.join().unwrap();
}

/// Nothing should make the writer panic; where something does, nobody takes it for alive.
#[test]
fn a_writer_that_panics_closes_the_journal() {
    let (_, core) = fresh();
    let store = core.store().clone();
    let (commands, writer) = serving(core);
    let mut sink = place(&commands);
    let job: Job = Box::new(|_| Ok(Box::new(|_| panic!("a fault of ours"))));
    assert!(commands.blocking_send(Command::Transact(job)).is_ok());
    assert!(writer.join().is_err());
    assert!(store.read(|_| Ok(())).is_err());
    sink.horizon.borrow_and_update();
    assert!(sink.horizon.has_changed().is_err());
}

/// Events of which a journal of a mebibyte holds no twenty.
pub(super) fn large(numbers: std::ops::Range<u64>) -> Vec<Sealed> {
    let payload = format!("\"{}\"", "x".repeat(60_000));
    numbers.map(|number| sealed(number, &payload)).collect()
}

/// A journal that has ten of them, one a commit.
pub(super) fn without_much_room() -> Core<FaultyStorage> {
    let limits = Limits {
        max_bytes: 1 << 20,
        ..LIMITS
    };
    let mut core = open(&FaultyStorage::new(1), limits).unwrap();
    for number in 0..10 {
        append(&mut core, large(number..number + 1))
            .unwrap()
            .unwrap();
    }
    core
}

/// An append was refused for want of room. What one sink confirms makes none while another one is
/// away, so it is no reason to write at once; as soon as it makes room it is.
#[test]
fn a_full_journal_is_written_to_early_for_what_makes_room_alone() {
    let core = without_much_room();
    let away = SinkName::new("away").unwrap();
    let tail = core.tail();
    let board = StatusBoard::new(empty_status());
    let status = board.subscribe();
    let (commands, writer) = serving_with(core, board);
    let sinks = [nats(), away].map(|name| {
        let sink = place_of(&name, &commands);
        let claim = |reply| Command::Claim {
            name,
            upto: tail,
            reply,
        };
        ask(&commands, claim).blocking_recv().unwrap().unwrap();
        sink
    });
    let budget = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let too_much = |reply| Command::Append {
        request: large(10..18),
        reply,
        budget,
    };
    let refused = ask(&commands, too_much).blocking_recv().unwrap();
    assert!(matches!(refused, Err(AppendError::Full { .. })));

    let note = |sink: &Registered, acked| {
        sink.noted.note(progress(acked));
        assert!(commands.blocking_send(Command::Noted).is_ok());
        let find = |reply| Command::Find {
            id: Uuid::nil(),
            reply,
        };
        assert_eq!(ask(&commands, find).blocking_recv().unwrap(), None);
    };
    let before = status.borrow().journal.commits;
    for acked in 1..=tail.get() {
        note(&sinks[0], acked);
    }
    let settle = |reply| Command::Settle { reply };
    ask(&commands, settle).blocking_recv().unwrap().unwrap();
    assert_eq!(status.borrow().journal.commits, before + 1);
    assert_eq!(status.borrow().journal.first_held, Seq::FIRST);

    note(&sinks[1], tail.get());
    let deadline = Instant::now() + Duration::from_secs(10);
    while status.borrow().journal.first_held == Seq::FIRST {
        assert!(Instant::now() < deadline, "no room has been made");
        thread::sleep(Duration::from_millis(1));
    }
    drop((commands, sinks));
    writer.join().unwrap();
}

/// The first one cannot be read for a moment: what comes under its id is not taken for a repeat
/// unseen, for it may say something else.
#[test]
fn other_content_is_no_repeat_though_the_first_cannot_be_read() {
    for call in 1..10 {
        let (storage, mut core) = fresh();
        append(&mut core, vec![sealed(1, "1")]).unwrap().unwrap();
        drop(core);
        let mut core = open(&storage, LIMITS).unwrap();
        storage.fail_after(call, storage::Fault::Once);
        let mut staging = core.stage(stamp());
        let answer = core.append(&mut staging, vec![sealed(1, "2")]);
        assert!(
            matches!(
                answer,
                Err(AppendError::Conflict { .. } | AppendError::Unavailable)
            ),
            "call {call}: {answer:?}"
        );
    }
}
