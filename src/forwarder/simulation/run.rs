//! One run: a device, its programs and its sinks, through crashes and recoveries, from one seed.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use uuid::Uuid;

use super::{
    super::{
        MaxRate,
        delivery::{Breakage, Terms},
    },
    dice::Dice,
    far_side::{FarSide, Kind, Line},
    port::{Port, Request, Surroundings},
    truth::{Batch, MARK, Place, Truth},
};
use crate::{
    journal::{
        Chosen, DeadLetterError, DeadLettersChanged, SinkName, Wanted, WhenFull,
        tests::{
            scribe::{Boot, Decoded, Draft, Scribe, Undone, person_of},
            storage::{Fault, FaultyStorage},
        },
    },
    outbox::{AppendError, Appended, Cursor, Horizon, RejectError, RetryState, Start},
    seq::Seq,
};

/// Events that a request holds at most, but for the few that take more than one group.
const REQUEST_EVENTS: u64 = 4;
const LARGE_REQUEST_EVENTS: u64 = 70;

/// Calls within which an armed fault comes.
const FAULT_WITHIN: u64 = 120;

/// Crashes in a recovery, and in the recovery of that recovery.
const NESTED: u64 = 3;

/// When faults have stopped, everything is delivered within so many steps.
const CALM_STEPS: usize = 20_000;

/// Erasing and compacting write hundreds of pages, one like the other: the power is cut at fewer of
/// them by this factor.
const STEPS_WITH_MANY_CALLS: u64 = 24;

/// One in so many recoveries has every signature checked.
const VERIFY_EVERY: u64 = 64;

/// The quota of a run that often finds its journal full, and of one that does not.
const SMALL_QUOTA: u64 = 64 * 1024 + 24 * 1024;
const LARGE_QUOTA: u64 = 64 << 20;

thread_local! {
    /// What happened so far in this thread's run.
    static HISTORY: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Takes the history of the run so far.
pub(super) fn take_history() -> Vec<String> {
    HISTORY.take()
}

fn note(what: impl Into<String>) {
    HISTORY.with_borrow_mut(|history| history.push(what.into()));
}

/// How thorough a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Operations before the faults stop.
    pub(super) operations: u64,
    /// At one in so many of the storage's calls the power is cut in a copy, which then recovers.
    pub(super) probe_every: u64,
}

/// What a run came to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    /// Power cuts, each followed by a recovery that was checked.
    pub(super) crash_points: u64,
    /// Those among them that came in a recovery, or in the recovery of a recovery.
    pub(super) in_recovery: u64,
    /// Processes that were killed with the power on.
    pub(super) kills: u64,
    /// Failed calls after which the journal was reopened by the same process.
    pub(super) reopened: u64,
    /// Events that the program heard were durable.
    pub(super) acknowledged: u64,
    /// Events handed to a sink.
    pub(super) handed: u64,
    /// Events trimmed.
    pub(super) trimmed: u64,
    /// Of these, events given up for newer ones.
    pub(super) dropped: u64,
    /// Dead letters that were sent once more, delivered after all, and discarded.
    pub(super) sent_late: u64,
    pub(super) delivered_late: u64,
    pub(super) discarded: u64,
    /// Events erased.
    pub(super) erased: u64,
    /// Persons whose erasure went through to the last free page.
    pub(super) scrubbed: u64,
    /// Compactions.
    pub(super) compacted: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.crash_points += other.crash_points;
        self.in_recovery += other.in_recovery;
        self.kills += other.kills;
        self.reopened += other.reopened;
        self.acknowledged += other.acknowledged;
        self.handed += other.handed;
        self.trimmed += other.trimmed;
        self.dropped += other.dropped;
        self.sent_late += other.sent_late;
        self.delivered_late += other.delivered_late;
        self.discarded += other.discarded;
        self.erased += other.erased;
        self.scrubbed += other.scrubbed;
        self.compacted += other.compacted;
    }
}

/// What a run does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    /// A new request, now and then one that takes several groups.
    Append,
    /// A request whose outcome nobody knew, under the same ids.
    Retry,
    /// A request that was acknowledged, once more.
    Repeat,
    /// Known ids with other content.
    Conflict,
    /// A program's transaction that is kept.
    Transact,
    /// One that is rolled back.
    RollBack,
    /// Somebody wants dead letters of a sink sent again, and may have mended the other side.
    RetryLetters,
    /// Somebody takes dead letters of a sink off the list.
    DiscardLetters,
    /// Somebody wants a person erased.
    Erase,
    /// Some steps of an erasure that is under way.
    EraseOn,
    /// The file is compacted, whether or not that is worth it.
    Compact,
    /// Makes durable what is staged.
    Flush,
    /// Makes durable what the sinks have learnt.
    Settle,
    /// A sink is configured, or its task begins again.
    Attach,
    /// A sink's task ends; its place stays.
    Detach,
    /// A sink without a task is forgotten.
    Forget,
    /// The task of a sink, the line, and the other side take some steps.
    Deliver,
    /// The line to a sink is cut.
    Cut,
    /// Others write to a stream.
    Bustle,
    /// What was sent over a line that is gone arrives.
    ArriveLate,
    /// A stream is deleted and made again.
    MakeAnew,
    /// The process ends as it should, and begins again.
    Restart,
    /// The process is killed between two calls.
    Kill,
    /// The power goes at a call to come.
    PowerCut,
    /// A call to come fails.
    DiskFault,
}

/// Each as often as it is to be drawn.
const OPERATIONS: &[(Operation, u64)] = &[
    (Operation::Append, 24),
    (Operation::Retry, 6),
    (Operation::Repeat, 3),
    (Operation::Conflict, 2),
    (Operation::Transact, 5),
    (Operation::RollBack, 2),
    (Operation::RetryLetters, 3),
    (Operation::DiscardLetters, 1),
    (Operation::Erase, 1),
    (Operation::EraseOn, 4),
    (Operation::Compact, 1),
    (Operation::Flush, 12),
    (Operation::Settle, 3),
    (Operation::Attach, 5),
    (Operation::Detach, 1),
    (Operation::Forget, 1),
    (Operation::Deliver, 40),
    (Operation::Cut, 3),
    (Operation::Bustle, 2),
    (Operation::ArriveLate, 2),
    (Operation::MakeAnew, 1),
    (Operation::Restart, 1),
    (Operation::Kill, 1),
    (Operation::PowerCut, 3),
    (Operation::DiskFault, 3),
];

/// A sink as it is configured.
#[derive(Clone, Copy)]
struct Site {
    name: &'static str,
    kind: Kind,
    required: bool,
    start: Start,
}

const SITES: [Site; 5] = [
    Site {
        name: "stream",
        kind: Kind::Stream { window: false },
        required: true,
        start: Start::Oldest,
    },
    Site {
        name: "windowed",
        kind: Kind::Stream { window: true },
        required: true,
        start: Start::Oldest,
    },
    Site {
        name: "topic",
        kind: Kind::Topic,
        required: false,
        start: Start::Oldest,
    },
    Site {
        name: "table",
        kind: Kind::Table,
        required: true,
        start: Start::Oldest,
    },
    Site {
        name: "late",
        kind: Kind::Stream { window: false },
        required: false,
        start: Start::Now,
    },
];

/// Who waits for the commit in the making.
enum Waiting {
    Append {
        batch: Batch,
        places: Vec<Appended>,
    },
    Claim {
        sink: SinkName,
        turn: u64,
        claimed: Option<Seq>,
    },
    Reject {
        sink: SinkName,
        turn: u64,
        seq: Seq,
    },
    ClaimLate {
        sink: SinkName,
        turn: u64,
        may_leave: bool,
    },
    SettleLate {
        sink: SinkName,
        turn: u64,
    },
    Discard {
        sink: SinkName,
        chosen: Chosen,
    },
    Register {
        sink: SinkName,
        cursor: Cursor,
    },
}

/// See the module.
pub(super) struct Run {
    effort: Effort,
    dice: Dice,
    /// Decides about copies of the disk alone, so that it does not matter to the run how many are
    /// looked at.
    probe_dice: Dice,
    storage: FaultyStorage,
    boot: Boot,
    window: u32,
    strict_order: bool,
    scribe: Option<Scribe>,
    truth: Truth,
    far_sides: BTreeMap<SinkName, FarSide>,
    ports: BTreeMap<SinkName, Port>,
    waiting: Vec<Waiting>,
    /// Requests whose outcome nobody knew.
    unknown: Vec<Batch>,
    /// Whom it was promised to erase, up to which seq.
    erasing: Vec<(Uuid, Seq)>,
    /// Whether the program has tables of its own, which keep the file from being compacted.
    transacts: bool,
    /// Whether somebody is erased: a run with that takes much longer.
    erases: bool,
    next_number: u64,
    next_key: u64,
    now: Duration,
    calm: bool,
    decoded: Decoded,
    tally: Tally,
}

impl Run {
    pub(super) fn new(seed: u64, effort: Effort) -> Self {
        HISTORY.take();
        let mut dice = Dice::new(seed);
        let small = dice.one_in(2);
        let transacts = dice.one_in(2);
        let erases = dice.one_in(3);
        Self {
            effort,
            probe_dice: Dice::new(!seed),
            storage: FaultyStorage::new(dice.roll()),
            boot: Boot {
                seed: dice.roll(),
                number: 0,
                clock_set: dice.one_in(2),
                max_bytes: if small { SMALL_QUOTA } else { LARGE_QUOTA },
                when_full: *dice.pick(&[WhenFull::Reject, WhenFull::DropOldest]),
            },
            window: *dice.pick(&[1, 3, 8, 24]),
            strict_order: dice.one_in(6),
            dice,
            scribe: None,
            truth: Truth::default(),
            far_sides: BTreeMap::new(),
            ports: BTreeMap::new(),
            waiting: Vec::new(),
            unknown: Vec::new(),
            erasing: Vec::new(),
            transacts,
            erases,
            next_number: 1,
            next_key: 1,
            now: Duration::ZERO,
            calm: false,
            decoded: Decoded::default(),
            tally: Tally::default(),
        }
    }

    /// The whole run. Panics where a promise is broken.
    pub(super) fn play(mut self) -> Tally {
        if self.dice.one_in(2) {
            let call = 1 + self.dice.below(FAULT_WITHIN);
            self.storage.fail_after(call, Fault::PowerCut);
        }
        self.start(0);
        for _ in 0..self.effort.operations {
            let operation = self.draw();
            self.operate(operation);
        }
        self.calm_down();
        self.tally.handed = self.handed();
        self.tally.trimmed = self.truth.first_held.prev().get();
        self.tally.sent_late = self.truth.sent_late;
        self.truth.ledger.count(&mut self.tally);
        self.tally
    }

    fn handed(&self) -> u64 {
        self.truth
            .places
            .values()
            .map(|place| place.handed.len() as u64)
            .sum()
    }

    fn draw(&mut self) -> Operation {
        let mut left = self
            .dice
            .below(OPERATIONS.iter().map(|(_, often)| often).sum());
        for (operation, often) in OPERATIONS {
            if left < *often {
                return *operation;
            }
            left -= often;
        }
        unreachable!("what is drawn is below the sum")
    }

    fn scribe(&mut self) -> &mut Scribe {
        self.scribe
            .as_mut()
            .expect("a process runs between operations")
    }

    fn operate(&mut self, operation: Operation) {
        note(format!("{operation:?}, tail {}", self.truth.tail));
        match operation {
            Operation::Append => {
                let batch = self.new_batch();
                self.append(batch);
            }
            Operation::Retry => {
                if let Some(batch) = self.unknown.pop() {
                    self.append(batch);
                }
            }
            Operation::Repeat => self.repeat(),
            Operation::Conflict => self.conflict(),
            Operation::Transact if self.transacts => self.transact(true),
            Operation::RollBack if self.transacts => self.transact(false),
            Operation::Transact | Operation::RollBack => {}
            Operation::RetryLetters => self.retry_letters(),
            Operation::DiscardLetters => self.discard_letters(),
            Operation::Erase if self.erases => self.erase(),
            Operation::Erase => {}
            Operation::EraseOn => {
                for _ in 0..3 {
                    self.erase_on();
                }
            }
            Operation::Compact => self.compact(),
            Operation::Flush => self.flush(),
            Operation::Settle => self.settle(),
            Operation::Attach => {
                let site = *self.dice.pick(&SITES);
                self.attach(site);
            }
            Operation::Detach => {
                if let Some(name) = self.any_port() {
                    self.detach(&name);
                }
            }
            Operation::Forget => self.forget(),
            Operation::Deliver => {
                for _ in 0..4 {
                    if let Some(name) = self.any_port() {
                        self.deliver(&name);
                    }
                }
            }
            Operation::Cut => {
                if let Some(name) = self.any_port() {
                    self.lose(&name, Breakage::Retry);
                }
            }
            Operation::Bustle => {
                let count = 1 + self.dice.below(3);
                self.any_far_side(|far_side, _| far_side.bustle(count));
            }
            Operation::ArriveLate => self.any_far_side(|far_side, _| far_side.arrive_late()),
            Operation::MakeAnew => {
                if let Some(name) = self.any_port() {
                    let far_side = self.far_sides.get_mut(&name).unwrap();
                    far_side.make_anew(&mut self.dice);
                    self.lose(&name, Breakage::Retry);
                }
            }
            Operation::Restart => self.restart(),
            Operation::Kill => {
                self.storage.kill();
                self.lose_process(true);
            }
            Operation::PowerCut => {
                let call = 1 + self.dice.below(FAULT_WITHIN);
                self.storage.fail_after(call, Fault::PowerCut);
            }
            Operation::DiskFault => {
                let faults = [Fault::Once, Fault::Lasting, Fault::FullOnce, Fault::Full];
                let fault = *self.dice.pick(&faults);
                let call = 1 + self.dice.below(FAULT_WITHIN);
                note(format!("  {fault:?} at call {call}"));
                self.storage.fail_after(call, fault);
            }
        }
    }

    fn any_port(&mut self) -> Option<SinkName> {
        let index = self.dice.index(self.ports.len())?;
        self.ports.keys().nth(index).cloned()
    }

    fn any_far_side(&mut self, act: impl FnOnce(&mut FarSide, &mut Dice)) {
        if let Some(index) = self.dice.index(self.far_sides.len()) {
            let far_side = self.far_sides.values_mut().nth(index).unwrap();
            act(far_side, &mut self.dice);
        }
    }

    // The program.

    fn new_batch(&mut self) -> Batch {
        let large = self.dice.one_in(40);
        let most = if large {
            LARGE_REQUEST_EVENTS
        } else {
            REQUEST_EVENTS
        };
        let count = 1 + self.dice.below(most);
        let drafts = (0..count).map(|_| self.new_draft(large)).collect();
        Batch { drafts, key: None }
    }

    fn new_draft(&mut self, small: bool) -> Draft {
        let number = self.next_number;
        self.next_number += 1;
        let most = if small {
            10
        } else {
            *self.dice.pick(&[10, 10, 300, 3_000])
        };
        let filler = "x".repeat(self.dice.below(most) as usize);
        Draft {
            number,
            payload: format!("{{{MARK}{number},\"filler\":\"{filler}\"}}"),
        }
    }

    fn append(&mut self, mut batch: Batch) {
        batch.key = None;
        self.collect();
        match self.scribe().append(&batch.drafts) {
            Ok(places) => {
                self.truth.open.push(batch.clone());
                self.waiting.push(Waiting::Append { batch, places });
            }
            Err(AppendError::Full { .. }) => {
                assert_eq!(self.boot.max_bytes, SMALL_QUOTA, "there is room");
                note("  full");
            }
            // A retry of what is known, which the disk does not show.
            Err(AppendError::Unavailable) => self.unknown.push(batch),
            Err(error) => panic!("refused: {error}"),
        }
        if self.dice.one_in(2) {
            self.flush();
        }
    }

    /// Some events that are durable already.
    fn known(&mut self) -> Option<Vec<Draft>> {
        let index = self.dice.index(self.truth.numbers.len())?;
        let known = self.truth.numbers.iter().skip(index).take(2);
        let draft = |(number, (_, payload)): (&u64, &(Seq, String))| Draft {
            number: *number,
            payload: payload.clone(),
        };
        Some(known.map(draft).collect())
    }

    fn repeat(&mut self) {
        let Some(drafts) = self.known() else { return };
        self.collect();
        let places = match self.scribe().append(&drafts) {
            Err(AppendError::Unavailable) => return,
            answer => answer.expect("what is known is given again"),
        };
        for (draft, place) in drafts.iter().zip(places) {
            let seq = self.truth.numbers[&draft.number].0;
            assert!(place.repeated, "event {} is known", draft.number);
            assert_eq!(place.seq, seq, "event {} has another seq", draft.number);
        }
    }

    fn conflict(&mut self) {
        let Some(mut drafts) = self.known() else {
            return;
        };
        let (numbers, first_held) = (&self.truth.numbers, self.truth.first_held);
        let is_held = |draft: &Draft| numbers[&draft.number].0 >= first_held;
        let last = drafts.last().unwrap();
        // What is erased contradicts nothing.
        if !drafts.iter().all(is_held)
            || self.truth.is_unwanted(last.number, numbers[&last.number].0)
        {
            return;
        }
        let new = self.new_draft(true);
        drafts.last_mut().unwrap().payload.insert(1, ' ');
        drafts.insert(0, new);
        self.collect();
        match self.scribe().append(&drafts) {
            // Where the disk cannot be read, there is nothing to compare with.
            Err(AppendError::Conflict { .. } | AppendError::Unavailable) => {}
            answer => panic!("other content under a known id: {answer:?}"),
        }
    }

    // Somebody who looks after the device.

    /// A sink that has dead letters, and one of them or all.
    fn any_letters(&mut self) -> Option<(SinkName, Chosen)> {
        let index = self.dice.index(self.truth.letters.len())?;
        let (name, seq) = self.truth.letters.keys().nth(index)?.clone();
        let chosen = match self.dice.one_in(4) {
            true => Chosen::All,
            false => Chosen::One(seq),
        };
        Some((name, chosen))
    }

    fn retry_letters(&mut self) {
        let Some((name, chosen)) = self.any_letters() else {
            return;
        };
        if self.dice.below(3) > 0 {
            self.far_sides.get_mut(&name).unwrap().mend();
        }
        self.collect();
        let asked = self.scribe().retry(&name, chosen);
        note(format!("  {name}, {chosen:?}: {asked:?}"));
        self.asked_of_letters(asked);
    }

    fn discard_letters(&mut self) {
        let Some((name, chosen)) = self.any_letters() else {
            return;
        };
        self.collect();
        let asked = self.scribe().discard(&name, chosen);
        note(format!("  {name}, {chosen:?}: {asked:?}"));
        if self.asked_of_letters(asked) {
            self.waiting.push(Waiting::Discard { sink: name, chosen });
        }
    }

    /// Whether what was asked is done with the next commit.
    fn asked_of_letters(&mut self, asked: Result<DeadLettersChanged, DeadLetterError>) -> bool {
        let done = match asked {
            Ok(_) => true,
            // Something else is staged that takes it off the list, its event is gone, the disk is
            // not well, or the cursor is not there yet.
            Err(
                DeadLetterError::Unknown { .. }
                | DeadLetterError::Gone { .. }
                | DeadLetterError::Unsettled { .. }
                | DeadLetterError::Journal(_),
            ) => false,
            Err(error) => panic!("refused: {error}"),
        };
        if self.dice.one_in(2) {
            self.flush();
        }
        done
    }

    fn erase(&mut self) {
        self.flush();
        let person = person_of(self.dice.roll());
        // It may be begun though nobody hears of it.
        let upto = self.truth.tail;
        self.truth.wishes.push((person, upto));
        self.storage.record();
        let begun = self.scribe().begin_erasing(person);
        self.probe_recorded();
        match begun {
            Ok(from) => {
                note(format!("  {person} up to {from}"));
                assert_eq!(from, upto, "erases what was appended later");
                self.erasing.push((person, upto));
            }
            Err(()) => self.broken(),
        }
    }

    /// A step of what is being erased, a commit at most. After the last one nothing of it may be
    /// left anywhere in the file.
    fn erase_on(&mut self) {
        self.flush();
        if !self.scribe().is_erasing() {
            return;
        }
        let commits = self.scribe().commits();
        self.storage.record_some(STEPS_WITH_MANY_CALLS);
        let erased = self.scribe().erase_on();
        self.probe_recorded();
        match erased {
            Ok(()) if self.scribe().commits() > commits => self.committed(commits),
            Ok(()) => {}
            Err(()) => return self.broken(),
        }
        if !self.scribe().is_erasing() {
            note("  erased");
            self.tally.scrubbed += self.erasing.len() as u64;
            let through = std::mem::take(&mut self.erasing);
            self.truth.gone.extend(through);
            self.truth.check_gone(&self.storage.bytes());
        }
    }

    /// Nothing that the journal says of itself may change by it.
    fn compact(&mut self) {
        self.flush();
        let (tail, commits) = (self.truth.tail, self.scribe().commits());
        self.storage.record_some(STEPS_WITH_MANY_CALLS);
        let compacted = self.scribe().compact();
        self.probe_recorded();
        match compacted {
            Ok(()) => {
                if self.scribe().commits() > commits {
                    self.tally.compacted += 1;
                    self.committed(commits);
                    assert_eq!(self.truth.tail, tail, "compacting appended something");
                }
            }
            Err(()) => self.broken(),
        }
    }

    /// Whether the process can still read the journal.
    fn is_readable(&mut self) -> bool {
        let tail = self.truth.tail;
        self.scribe().entries(tail, tail).is_ok()
    }

    fn transact(&mut self, keep: bool) {
        self.flush();
        let mut batch = self.new_batch();
        batch.key = Some(self.next_key);
        self.next_key += 1;
        if keep {
            self.truth.open.push(batch.clone());
        }
        let (key, commits) = (batch.key.unwrap(), self.scribe().commits());
        self.collect();
        self.storage.record();
        let ended = self.scribe().transact(key, &batch.drafts, keep);
        self.probe_recorded();
        match ended {
            Ok(places) => {
                self.waiting.push(Waiting::Append { batch, places });
                self.committed(commits);
            }
            Err(Undone::RolledBack(error)) => {
                note(format!("  rolled back: {error:?}"));
                self.truth.open.retain(|open| open.key != Some(key));
            }
            Err(Undone::Unknown) => {
                if !keep {
                    self.truth.open.retain(|open| open.key != Some(key));
                }
                self.broken();
            }
        }
    }

    // Commits.

    /// Takes what the sinks' tasks have noted to the core, as the writer does before each commit.
    fn collect(&mut self) {
        let scribe = self
            .scribe
            .as_mut()
            .expect("a process runs between operations");
        for (name, port) in &mut self.ports {
            if let Some(progress) = port.noted.take() {
                scribe.note_progress(name, progress);
            }
        }
    }

    fn settle(&mut self) {
        self.collect();
        self.scribe().settle();
        self.flush();
    }

    /// Makes durable what is staged and answers whoever waits for it.
    fn flush(&mut self) {
        self.collect();
        let commits = self.scribe().commits();
        self.storage.record();
        let flushed = self.scribe().flush();
        self.probe_recorded();
        match flushed {
            Ok(()) => self.committed(commits),
            Err(()) => self.broken(),
        }
    }

    fn committed(&mut self, commits_before: u64) {
        if self.scribe().commits() > commits_before {
            for batch in self.look() {
                assert!(
                    self.truth.holds(&batch),
                    "acknowledged and not there: {batch:?}"
                );
            }
        } else {
            self.truth.open.clear();
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.answer(waiting);
        }
        if self.dice.below(4) > 0 {
            self.publish(true);
        }
    }

    fn answer(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Append { batch, places } => {
                self.tally.acknowledged += places.len() as u64;
                for (draft, place) in batch.drafts.iter().zip(places) {
                    let (seq, payload) = &self.truth.numbers[&draft.number];
                    assert_eq!(place.seq, *seq, "event {} has another seq", draft.number);
                    assert_eq!(draft.payload, *payload);
                }
            }
            Waiting::Claim {
                sink,
                turn,
                claimed,
            } => {
                let now = self.now;
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    match claimed {
                        Some(claimed) => port.delivery.claimed(claimed),
                        None => port.fail(Breakage::Retry, now),
                    }
                }
            }
            Waiting::Reject { sink, turn, seq } => {
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    port.delivery.rejected(seq);
                }
            }
            Waiting::ClaimLate {
                sink,
                turn,
                may_leave,
            } => {
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    port.delivery.late_claimed(may_leave);
                }
            }
            Waiting::SettleLate { sink, turn } => {
                let next = self.scribe().next_retry(&sink);
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    port.delivery.late_settled(next);
                }
            }
            Waiting::Discard { sink, chosen } => {
                if let Chosen::One(seq) = chosen {
                    let is_there = self.truth.letters.contains_key(&(sink, seq));
                    assert!(!is_there, "{seq} was discarded, and is a dead letter");
                }
            }
            Waiting::Register { sink, cursor } => {
                let horizon = self.horizon(&sink, true);
                let terms = Terms {
                    window: self.window,
                    strict_order: self.strict_order,
                    max_rate: MaxRate::default(),
                    reconnect_max: Duration::from_secs(4),
                    start_jitter: Duration::from_secs(1),
                };
                let seed = self.dice.roll();
                let port = Port::new(sink.clone(), terms, cursor, horizon, self.now, seed);
                self.ports.insert(sink, port);
            }
        }
    }

    /// Looks at everything, holds it against what was told, and learns it. Gives the requests that
    /// were open.
    fn look(&mut self) -> Vec<Batch> {
        let scribe = self
            .scribe
            .as_ref()
            .expect("a process runs between operations");
        let seen = self.storage.undisturbed(|| {
            let seen = scribe.look(&mut self.decoded);
            if self.dice.one_in(VERIFY_EVERY) {
                scribe.verify();
            }
            seen
        });
        self.truth.check(scribe, &seen, &self.far_sides);
        let open = self.truth.learn(&seen);
        self.far_sides
            .retain(|name, _| self.truth.places.contains_key(name));
        open
    }

    fn horizon(&self, sink: &SinkName, available: bool) -> Horizon {
        let claimed = self.truth.places.get(sink).map(|place| place.claimed);
        Horizon {
            tail: self.truth.tail,
            claimed: claimed.unwrap_or_default(),
            retry: self.scribe.as_ref().and_then(|it| it.next_retry(sink)),
            available,
            erasures: self.scribe.as_ref().map_or(0, Scribe::erasures),
        }
    }

    /// Tells the sinks' tasks what is durable.
    fn publish(&mut self, available: bool) {
        let names: Vec<SinkName> = self.ports.keys().cloned().collect();
        for name in names {
            let horizon = self.horizon(&name, available);
            let port = self.ports.get_mut(&name).unwrap();
            port.delivery.horizon(horizon, self.now);
        }
    }

    // Trouble.

    /// A write failed: everybody hears that the outcome is unknown, and the journal is reopened.
    fn broken(&mut self) {
        note("  a commit failed");
        self.fail_waiting();
        if self.storage.is_dead() {
            return self.lose_process(false);
        }
        let lasts = self.dice.below(4);
        for attempt in 0.. {
            if attempt >= lasts {
                self.storage.mend();
            }
            if self.dice.one_in(6) {
                let call = 1 + self.dice.below(FAULT_WITHIN);
                self.storage.fail_after(call, Fault::PowerCut);
            }
            self.storage.record();
            let well = self.scribe().reopen();
            self.probe_recorded();
            if well {
                break;
            }
            if self.storage.is_dead() {
                return self.lose_process(false);
            }
            assert!(attempt < lasts, "the disk is well, and the journal is not");
            self.publish(false);
            self.pump_all();
        }
        self.tally.reopened += 1;
        note("  reopened");
        let unknown = self.look();
        self.unknown.extend(unknown);
        let scribe = self.scribe.as_ref().unwrap();
        for name in self.ports.keys() {
            assert!(
                scribe.is_attached(name),
                "nothing was rolled back, and {name} lost its place"
            );
        }
        self.publish(true);
    }

    fn fail_waiting(&mut self) {
        let now = self.now;
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Append { .. } | Waiting::Discard { .. } => {}
                Waiting::Claim { sink, turn, .. }
                | Waiting::Reject { sink, turn, .. }
                | Waiting::ClaimLate { sink, turn, .. }
                | Waiting::SettleLate { sink, turn } => {
                    if let Some(port) = self.ports.get_mut(&sink).filter(|it| it.turn == turn) {
                        port.fail(Breakage::Retry, now);
                    }
                }
                Waiting::Register { sink, .. } => self.scribe().detach(&sink),
            }
        }
    }

    /// The process is gone, or it and the power; the next one begins.
    fn lose_process(&mut self, killed: bool) {
        note(if killed {
            "  killed"
        } else {
            "  the power is gone"
        });
        self.storage.kill();
        self.end_tasks();
        self.scribe = None;
        match killed && self.dice.below(4) > 0 {
            true => {
                self.tally.kills += 1;
                self.storage.revive();
            }
            false => {
                self.tally.crash_points += 1;
                self.storage.crash();
                self.boot.number += 1;
            }
        }
        self.start(1);
    }

    fn restart(&mut self) {
        self.flush();
        self.end_tasks();
        let scribe = self.scribe.take().unwrap();
        self.storage.record();
        scribe.close();
        self.probe_recorded();
        if self.storage.is_dead() {
            self.storage.crash();
            self.tally.crash_points += 1;
            self.boot.number += 1;
        }
        self.start(1);
    }

    /// What was in memory is gone.
    fn end_tasks(&mut self) {
        self.waiting.clear();
        self.ports.clear();
        for far_side in self.far_sides.values_mut() {
            far_side.cut(&mut self.dice);
        }
    }

    /// A process begins, and may be cut off as it begins, and again.
    fn start(&mut self, level: u64) {
        let mut level = level;
        self.boot.seed = self.dice.roll();
        loop {
            if level > 0 && level <= NESTED && self.dice.one_in(3) {
                let call = 1 + self.dice.below(FAULT_WITHIN / 2);
                self.storage.fail_after(call, Fault::PowerCut);
            }
            self.storage.record();
            let opened = Scribe::open(&self.storage, self.boot);
            self.probe_recorded();
            if let Some(scribe) = opened {
                self.scribe = Some(scribe);
                break;
            }
            note("  cut off at the start");
            level += 1;
            if self.storage.is_dead() {
                self.storage.crash();
                self.tally.crash_points += 1;
                self.tally.in_recovery += u64::from(level > 1);
                self.boot.number += 1;
            } else {
                self.storage.mend();
            }
        }
        if self.storage.is_dead() {
            return self.lose_process(false);
        }
        note(format!("  started, boot {}", self.boot.number));
        self.boot.clock_set |= self.dice.one_in(2);
        let unknown = self.look();
        self.unknown.extend(unknown);
        for site in SITES {
            let name = SinkName::new(site.name).unwrap();
            if self.truth.places.contains_key(&name) && self.scribe.is_some() {
                self.attach(site);
            }
        }
    }

    // Copies of the disk.

    /// Cuts the power in copies of the disk as it was before each call, and lets each recover.
    fn probe_recorded(&mut self) {
        for disk in self.storage.recorded() {
            if self.probe_dice.one_in(self.effort.probe_every) {
                self.probe(&disk, 0);
            }
        }
    }

    fn probe(&mut self, disk: &FaultyStorage, depth: u64) {
        disk.crash_with(self.probe_dice.roll());
        disk.record();
        let mut boot = self.boot;
        boot.seed = self.probe_dice.roll();
        boot.number += 1 + depth;
        let scribe = Scribe::open(disk, boot).expect("the disk is well");
        self.tally.crash_points += 1;
        self.tally.in_recovery += u64::from(depth > 0);
        let seen = scribe.look(&mut self.decoded);
        self.truth.check(&scribe, &seen, &self.far_sides);
        if self.probe_dice.one_in(VERIFY_EVERY) {
            scribe.verify();
        }
        let recorded = disk.recorded();
        drop(scribe);
        if depth + 1 < NESTED {
            for again in recorded {
                if self.probe_dice.one_in(24 * (depth + 1)) {
                    self.probe(&again, depth + 1);
                }
            }
        }
    }

    // Sinks.

    fn attach(&mut self, site: Site) {
        let name = SinkName::new(site.name).unwrap();
        let registering =
            |it: &Waiting| matches!(it, Waiting::Register { sink, .. } if *sink == name);
        if self.ports.contains_key(&name) || self.waiting.iter().any(registering) {
            return;
        }
        let salt = self.dice.roll();
        self.far_sides
            .entry(name.clone())
            .or_insert_with(|| FarSide::new(site.kind, salt));
        self.truth
            .places
            .entry(name.clone())
            .or_insert_with(|| Place {
                required: site.required,
                ..Place::default()
            });
        let wanted = Wanted {
            required: site.required,
            window: self.window.into(),
            start: site.start,
        };
        self.collect();
        let cursor = self.scribe().register(&name, wanted);
        self.waiting.push(Waiting::Register { sink: name, cursor });
        self.flush();
    }

    fn detach(&mut self, name: &SinkName) {
        self.ports.remove(name);
        self.far_sides.get_mut(name).unwrap().cut(&mut self.dice);
        self.scribe().detach(name);
    }

    fn forget(&mut self) {
        let mut names = self.truth.places.keys();
        let Some(name) = names.find(|name| !self.ports.contains_key(*name)).cloned() else {
            return;
        };
        self.flush();
        if self.ports.contains_key(&name) || !self.truth.places.contains_key(&name) {
            return;
        }
        note(format!("  {name}"));
        self.truth.places.get_mut(&name).unwrap().may_be_gone = true;
        let commits = self.scribe().commits();
        self.storage.record();
        let forgotten = self.scribe().forget(&name);
        self.probe_recorded();
        match forgotten {
            Ok(forgotten) => {
                assert!(forgotten.is_some(), "{name} has a place");
                self.committed(commits);
                assert!(
                    !self.truth.places.contains_key(&name),
                    "{name} is still there"
                );
            }
            Err(()) => self.broken(),
        }
    }

    /// The line fails, and the task hears of it.
    fn lose(&mut self, name: &SinkName, breakage: Breakage) {
        let port = self.ports.get_mut(name).unwrap();
        let far_side = self.far_sides.get_mut(name).unwrap();
        let had = far_side.line != Line::Down || port.delivery.has_session();
        far_side.cut(&mut self.dice);
        if had {
            port.fail(breakage, self.now);
        }
    }

    fn pump_all(&mut self) {
        let names: Vec<SinkName> = self.ports.keys().cloned().collect();
        for name in names {
            self.with_port(&name, Port::pump);
        }
    }

    fn with_port<T>(
        &mut self,
        name: &SinkName,
        act: impl FnOnce(&mut Port, &mut Surroundings<'_>) -> T,
    ) -> T {
        let mut around = Surroundings {
            scribe: self
                .scribe
                .as_ref()
                .expect("a process runs between operations"),
            truth: &mut self.truth,
            far_side: self.far_sides.get_mut(name).unwrap(),
            dice: &mut self.dice,
            now: self.now,
        };
        act(self.ports.get_mut(name).unwrap(), &mut around)
    }

    /// One step of a sink: of its task, of the line, or of the other side. False where nothing
    /// could be done but to wait.
    fn deliver(&mut self, name: &SinkName) -> bool {
        if self.dice.one_in(2) || self.calm {
            let horizon = self.horizon(name, true);
            let port = self.ports.get_mut(name).unwrap();
            port.delivery.horizon(horizon, self.now);
        }
        self.with_port(name, Port::pump);
        let trouble = !self.calm;
        if self.ports[name].request.is_some() && self.dice.one_in(2) {
            self.request(name);
            return true;
        }
        let far_side = self.far_sides.get_mut(name).unwrap();
        match far_side.line {
            Line::Calling if trouble && self.dice.one_in(6) => {
                let breakage = *self.dice.pick(&[Breakage::Retry, Breakage::Halt]);
                self.lose(name, breakage);
            }
            Line::Calling => {
                let footing = far_side.accept();
                let port = self.ports.get_mut(name).unwrap();
                port.delivery.connected(footing);
            }
            Line::Asking => self.with_port(name, Port::read_back),
            Line::Up if !far_side.is_quiet() => match self.dice.one_in(2) {
                true => far_side.serve(&mut self.dice, trouble),
                false => self.with_port(name, Port::hear),
            },
            Line::Up | Line::Down => {
                let port = &self.ports[name];
                if let Some(deadline) = port.delivery.deadline() {
                    self.now = self.now.max(deadline);
                }
                return port.request.is_some();
            }
        }
        self.with_port(name, Port::pump);
        true
    }

    /// The journal's writer takes up what a task asks for.
    fn request(&mut self, name: &SinkName) {
        let port = &self.ports[name];
        let (request, turn) = (port.request.unwrap(), port.turn);
        let is_staged = |it: &Waiting| match it {
            Waiting::Claim { sink, turn: at, .. }
            | Waiting::Reject { sink, turn: at, .. }
            | Waiting::ClaimLate { sink, turn: at, .. }
            | Waiting::SettleLate { sink, turn: at } => sink == name && *at == turn,
            _ => false,
        };
        if self.waiting.iter().any(is_staged) {
            return self.flush();
        }
        self.collect();
        let now = self.now;
        match request {
            Request::Claim(upto) => {
                let claimed = self.scribe().claim(name, upto);
                let sink = name.clone();
                self.waiting.push(Waiting::Claim {
                    sink,
                    turn,
                    claimed,
                });
            }
            Request::Reject(seq, code) => match self.scribe().reject(name, seq, code) {
                Ok(()) => {
                    let sink = name.clone();
                    self.waiting.push(Waiting::Reject { sink, turn, seq });
                }
                Err(error) => {
                    let breakage = match error {
                        RejectError::Ledger { .. } => Breakage::Halt,
                        RejectError::Journal(_) => Breakage::Retry,
                    };
                    self.ports.get_mut(name).unwrap().fail(breakage, now);
                }
            },
            Request::ClaimLate(seq, claim) => match self.scribe().claim_retry(name, seq, claim) {
                Ok(may_leave) => {
                    let sink = name.clone();
                    self.waiting.push(Waiting::ClaimLate {
                        sink,
                        turn,
                        may_leave,
                    });
                }
                Err(_) => self.lose(name, Breakage::Retry),
            },
            Request::SettleLate(seq, settled) => {
                match self.scribe().settle_retry(name, seq, settled) {
                    Ok(()) => {
                        let sink = name.clone();
                        self.waiting.push(Waiting::SettleLate { sink, turn });
                    }
                    Err(_) => self.lose(name, Breakage::Retry),
                }
            }
            Request::CaughtUp(yes) => {
                self.scribe().set_caught_up(name, yes);
                let port = self.ports.get_mut(name).unwrap();
                port.request = None;
                port.delivery.told();
            }
        }
        if self.dice.one_in(2) {
            self.flush();
        }
    }

    // The end.

    /// Faults have stopped: everything is delivered, in a bounded number of steps.
    fn calm_down(&mut self) {
        note("the faults stop");
        self.calm = true;
        self.storage.mend();
        self.flush();
        self.storage.mend();
        if !self.is_readable() {
            self.broken();
        }
        for site in SITES {
            if self
                .truth
                .places
                .contains_key(&SinkName::new(site.name).unwrap())
            {
                self.attach(site);
            }
        }
        while let Some(batch) = self.unknown.pop() {
            self.append(batch);
        }
        let names: Vec<SinkName> = self.ports.keys().cloned().collect();
        for step in 0.. {
            assert!(
                step < CALM_STEPS,
                "not delivered after {step} steps: {}",
                self.standing()
            );
            self.flush();
            let mut busy = false;
            for name in &names {
                busy |= self.deliver(name);
            }
            if !busy && names.iter().all(|name| self.is_done(name)) {
                break;
            }
        }
        self.settle();
        for (name, cursor) in self.scribe().cursors().clone() {
            assert_eq!(
                cursor.acked, self.truth.tail,
                "{name} is not at the end: {cursor:?}"
            );
        }
        for (name, far_side) in &self.far_sides {
            self.truth.check_delivered(name, far_side);
        }
        for (letter, state) in &self.truth.letters {
            assert_eq!(*state, RetryState::None, "{letter:?} is still to be sent");
        }
        for step in 0.. {
            assert!(step < CALM_STEPS, "not erased after {step} steps");
            if !self.scribe().is_erasing() {
                break;
            }
            self.erase_on();
        }
        self.restart();
        self.truth.check_gone(&self.storage.bytes());
        self.scribe().verify();
    }

    fn is_done(&self, name: &SinkName) -> bool {
        let delivery = &self.ports[name].delivery;
        delivery.acked() == self.truth.tail && !delivery.has_late()
    }

    fn standing(&self) -> String {
        let of = |port: &Port| {
            let delivery = &port.delivery;
            format!(
                "{} {:?} at {}",
                port.name,
                delivery.state(),
                delivery.acked()
            )
        };
        let ports: Vec<String> = self.ports.values().map(of).collect();
        format!("tail {}, {}", self.truth.tail, ports.join(", "))
    }
}
