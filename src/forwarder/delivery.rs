//! What one sink's forwarder does next: a state machine without I/O, clock or randomness of its
//! own. What happened goes in through the methods, what to do comes out of [`Delivery::next`], and
//! the same calls with the same seed give the same effects.
//!
//! # Invariants, asserted on entry
//!
//! - `acked ≤ sent ≤ claimed ≤ tail`: nothing beyond the durable claim is ever handed to a session.
//! - `claimed ≤ acked + window`, or what was claimed already when it started: memory is bounded.
//! - No copy of anything after `acked` lies at or below `floor`, so that after a crash a walk from
//!   `floor + 1` finds whatever of (acked, claimed] arrived.
//! - What was handed to a session before, in this process or perhaps in an earlier one, is marked
//!   when it is sent again; nothing else is.
//! - Where there is a rate, one event is ordered at a time, and none before its moment: whatever
//!   is still to wait when a session is lost was never ordered, so it is not marked either.
//! - A dead letter that is sent once more goes beside all this (`late`), and never holds it up.
//! - So does what a hub misses of what is acked (`again`): nothing that becomes of it moves `acked`.
//!
//! What a crash leaves is the durable cursor; everything here is rebuilt from it.

mod late;

use std::{collections::VecDeque, time::Duration};

#[cfg(test)]
pub(super) use self::late::LOSSES_CODE;
use self::late::Late;
pub(super) use self::late::LateEffect;
use super::{
    backoff::{BASE, Backoff},
    rate::{MaxRate, Throttle},
    window::{Standing, Window},
};
use crate::{
    outbox::{Cursor, Horizon, Progress, Retry, Settled},
    seq::{Incarnation, Position, Seq, SeqRange},
    status::SinkState,
};

/// The longest wait for the next attempt to connect with nothing to deliver, where attempts with
/// a backlog are not rarer still.
const IDLE_CAP: Duration = Duration::from_secs(30);

/// The longest wait before what was refused for now is sent again.
const REFUSED_CAP: Duration = Duration::from_secs(4);

/// A session that lasted this long was well: what ends it is new trouble, not the old one.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Servers say odd things while they start: in the first part of a halt attempts are frequent.
/// Each wait is drawn from the upper half of its length: what halts a whole school must not see it
/// come back in step.
const HALT_SOON: Duration = Duration::from_secs(5);
const HALT_SOON_FOR: Duration = Duration::from_secs(60);
const HALT_LATER: Duration = Duration::from_secs(30);

/// The reason code of a late event over which a server says that something is to be mended.
const HALT_CODE: &str = "refused";

/// So many rejections in a row by a limit of the server are a wrong setting.
const LIMIT_ROW: usize = 3;

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Make one attempt to connect; answer with `connected` or `broken`.
    Connect,
    /// Ask the session what of `doubt` arrived; answer with `read_back` or `broken`. Before that,
    /// say with `missing` and `dead_letter` which of these events need not be asked for.
    ReadBack {
        /// What is in doubt; `None` when nothing is, which is worth asking too: whatever else is
        /// there of this epoch was written by another journal.
        doubt: Option<SeqRange>,
        /// Where the walk begins: nothing in doubt lies at or below.
        floor: Position,
        /// The container of `floor`.
        incarnation: Incarnation,
    },
    /// Drop the session and everything its client still holds.
    HangUp,
    /// Note the progress. Comes before any claim that needs it.
    Progress(Progress),
    /// Raise the claim durably; answer with `claimed` or `broken`.
    Claim(Seq),
    /// Make a dead letter; answer with `rejected` or `broken`.
    Reject {
        /// Of which event.
        seq: Seq,
        /// Why.
        code: &'static str,
    },
    /// Do this about a dead letter that is sent once more.
    Late(LateEffect),
    /// Let appends raise the claim by themselves, or not; answer with `told`.
    CaughtUp(bool),
    /// Hand these to the session, in this order.
    Send {
        /// Which.
        run: SeqRange,
        /// Whether earlier copies may have arrived.
        redelivered: bool,
    },
}

/// Why the session, or the attempt to have one, is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Breakage {
    /// Passes by itself.
    Retry,
    /// Somebody has to mend something.
    Halt,
}

/// Why the session did not store an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Passes by itself.
    Retry,
    /// This event can never pass.
    Reject {
        /// The reason for the ledger.
        code: &'static str,
        /// Whether a limit of the server's is the reason.
        limit: bool,
    },
    /// Somebody has to mend something.
    Halt,
}

/// What a new session knows of the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Footing {
    /// The container.
    pub(super) incarnation: Incarnation,
    /// Its last position.
    pub(super) head: Position,
    /// How many unanswered parcels the client bears.
    pub(super) max_in_flight: usize,
}

/// What a sink's configuration decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Terms {
    /// How far the claim may run ahead of what is confirmed, in events; at least 1.
    pub(super) window: u32,
    /// Whether an event waits until the one before is resolved.
    pub(super) strict_order: bool,
    /// The most that is handed over in a second.
    pub(super) max_rate: MaxRate,
    /// The longest time from the start of one attempt to connect to the start of the next while a
    /// backlog waits.
    pub(super) reconnect_max: Duration,
    /// The longest wait before the first attempt to connect.
    pub(super) start_jitter: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No session; the next attempt is due at `until`.
    Apart {
        until: Duration,
        /// Whether `until` was chosen with nothing to deliver.
        idle: bool,
    },
    Connecting,
    /// A session is there and has not been asked for what is in doubt.
    Connected {
        footing: Footing,
        floor: Position,
    },
    ReadingBack(Footing),
    Sending {
        max_in_flight: usize,
    },
}

/// A rejection by a limit of the server's that is not believed yet.
#[derive(Clone, Copy)]
struct Suspect {
    seq: Seq,
    code: &'static str,
}

/// One sink's delivery. Times are durations since any one moment.
pub(super) struct Delivery {
    terms: Terms,
    backoff: Backoff,
    phase: Phase,
    /// The session of the last phase is to be dropped.
    hang_up: bool,
    tail: Seq,
    claimed: Seq,
    claimed_at_start: Seq,
    available: bool,
    window: Window,
    incarnation: Incarnation,
    /// The highest position known.
    head: Position,
    /// What was told of progress last.
    noted: Progress,
    /// What was told of being caught up last.
    caught_up: bool,
    /// An answer of the journal's writer is outstanding.
    journal_busy: bool,
    /// Failures to have a session since the last one that was any good.
    failures: u32,
    attempt_at: Duration,
    halted_since: Option<Duration>,
    /// When what was refused for now is sent again.
    retry_at: Option<Duration>,
    throttle: Throttle,
    /// Where there is a rate: an event is ordered and not handed over yet.
    ordered: bool,
    /// When the rate lets out what could be sent otherwise.
    held_until: Option<Duration>,
    suspects: Vec<Suspect>,
    /// Rejections by a limit that were believed since the last confirmation.
    limit_row: usize,
    verdicts: VecDeque<Suspect>,
    late: Late,
    /// What the hub misses of what is acked, to be sent once more.
    again: VecDeque<SeqRange>,
    /// How many of those are with the session.
    again_in_flight: usize,
    /// Where there is a rate: one of those was the last to leave, so something new comes next.
    again_was_last: bool,
}

impl Delivery {
    /// Takes up where the durable cursor says. The first attempt to connect is due within
    /// [`Terms::start_jitter`].
    pub(super) fn new(
        terms: Terms,
        cursor: Cursor,
        horizon: Horizon,
        now: Duration,
        seed: u64,
    ) -> Self {
        let mut backoff = Backoff::new(seed);
        let until = now + backoff.up_to(terms.start_jitter);
        Self {
            terms,
            backoff,
            phase: Phase::Apart { until, idle: false },
            hang_up: false,
            tail: horizon.tail.max(horizon.claimed).max(cursor.claimed),
            claimed: horizon.claimed.max(cursor.claimed),
            claimed_at_start: cursor.claimed,
            available: horizon.available,
            window: Window::new(cursor.acked, cursor.claimed, cursor.floor),
            incarnation: cursor.incarnation,
            head: cursor.floor,
            noted: Progress {
                acked: cursor.acked,
                floor: cursor.floor,
                incarnation: cursor.incarnation,
            },
            caught_up: false,
            journal_busy: false,
            failures: 0,
            attempt_at: now,
            halted_since: None,
            retry_at: None,
            throttle: Throttle::new(terms.max_rate),
            ordered: false,
            held_until: None,
            suspects: Vec::with_capacity(LIMIT_ROW),
            limit_row: 0,
            verdicts: VecDeque::new(),
            late: Late::new(horizon.retry),
            again: VecDeque::new(),
            again_in_flight: 0,
            again_was_last: false,
        }
    }

    /// What to do now; `None` until something happens or [`Delivery::deadline`] passes.
    pub(super) fn next(&mut self, now: Duration) -> Option<Effect> {
        self.check();
        if std::mem::take(&mut self.hang_up) {
            return Some(Effect::HangUp);
        }
        let progress = self.progress();
        if progress != self.noted {
            self.noted = progress;
            return Some(Effect::Progress(progress));
        }
        self.late.begin(self.window.acked());
        match self.phase {
            Phase::Apart { .. } if self.caught_up && !self.journal_busy => self.tell(false),
            Phase::Apart { until, .. } if until <= now && self.available => {
                self.attempt_at = now;
                self.phase = Phase::Connecting;
                Some(Effect::Connect)
            }
            Phase::Connected { .. } if self.late.is_reading_back() => None,
            Phase::Connected { footing, floor } => {
                let late = self.late.read_back(footing.incarnation, footing.head);
                if let Some(effect) = late {
                    return Some(Effect::Late(effect));
                }
                self.phase = Phase::ReadingBack(footing);
                let doubt = SeqRange::new(self.acked().next(), self.sent());
                Some(Effect::ReadBack {
                    doubt,
                    floor,
                    incarnation: self.incarnation,
                })
            }
            Phase::Apart { .. } | Phase::Connecting | Phase::ReadingBack(_) => None,
            Phase::Sending { max_in_flight } => self.send(max_in_flight, now),
        }
    }

    /// When [`Delivery::next`] has something to do at the latest, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Apart { until, .. } => self.available.then_some(until),
            Phase::Sending { .. } => [self.retry_at, self.held_until, self.late.deadline()]
                .into_iter()
                .flatten()
                .min(),
            Phase::Connecting | Phase::Connected { .. } | Phase::ReadingBack(_) => None,
        }
    }

    /// When the next attempt to connect is due, while there is none.
    pub(super) const fn next_attempt(&self) -> Option<Duration> {
        match self.phase {
            Phase::Apart { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The contiguous prefix that is resolved.
    pub(super) const fn acked(&self) -> Seq {
        self.window.acked()
    }

    /// Nothing beyond was ever handed to a session.
    pub(super) fn sent(&self) -> Seq {
        self.window.sent()
    }

    /// The newest event known.
    pub(super) const fn tail(&self) -> Seq {
        self.tail
    }

    /// Whether the session in hand is still of use.
    pub(super) const fn has_session(&self) -> bool {
        !matches!(self.phase, Phase::Apart { .. } | Phase::Connecting)
    }

    /// Whether the session in hand is being sent events.
    pub(super) const fn is_sending(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. })
    }

    /// The hub misses these, which were acked. Forgotten with the session.
    pub(super) fn send_again(&mut self, run: SeqRange) {
        if self.is_sending() {
            self.again
                .extend(SeqRange::new(run.first(), run.last().min(self.acked())));
        }
    }

    /// Whether some of what the hub misses has not left yet, or is not answered.
    pub(super) fn is_sending_again(&self) -> bool {
        !self.again.is_empty() || self.again_in_flight > 0
    }

    /// Whether each event is ordered by itself, once the one before is handed over.
    pub(super) const fn has_rate(&self) -> bool {
        self.terms.max_rate.is_limited()
    }

    /// What a crash at this moment may go by, once it is durable.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            acked: self.acked(),
            floor: self.window.low().unwrap_or(self.head),
            incarnation: self.incarnation,
        }
    }

    /// What to tell people.
    pub(super) fn state(&self) -> SinkState {
        if self.halted_since.is_some() {
            return SinkState::Halted;
        }
        match self.phase {
            Phase::Apart { .. } => SinkState::Waiting,
            Phase::Connecting => SinkState::Connecting,
            Phase::Connected { .. } | Phase::ReadingBack(_) => SinkState::ReadingBack,
            Phase::Sending { .. } if self.acked() == self.tail => SinkState::CaughtUp,
            Phase::Sending { .. } => SinkState::Draining,
        }
    }

    /// Whether delivery goes on as it should: a session that takes what it is given.
    pub(super) fn is_well(&self) -> bool {
        matches!(self.phase, Phase::Sending { .. })
            && self.halted_since.is_none()
            && self.window.troubled() == 0
            && self.window.count(Standing::Condemned) == 0
            && (self.failures == 0 || self.acked() == self.tail)
    }

    /// The journal's durable state changed.
    pub(super) fn horizon(&mut self, horizon: Horizon, now: Duration) {
        self.check();
        self.available = horizon.available;
        self.late.noted(horizon.retry);
        self.claimed = self.claimed.max(horizon.claimed);
        self.tail = self.tail.max(horizon.tail).max(self.claimed);
        if let Phase::Apart { until, idle: true } = self.phase
            && self.has_backlog()
            && self.halted_since.is_none()
        {
            // Drawn once: a draw at each append would end up near nothing.
            let wait = self.backoff.wait(self.failures, self.terms.reconnect_max);
            self.phase = Phase::Apart {
                until: until.min(now + wait),
                idle: false,
            };
        }
    }

    /// There is a session.
    pub(super) fn connected(&mut self, footing: Footing) {
        self.check();
        assert_eq!(
            self.phase,
            Phase::Connecting,
            "a session that was not asked for"
        );
        let same = footing.incarnation == self.incarnation && footing.head >= self.progress().floor;
        if !same {
            // Another container, an older state of it, or the first one ever seen.
            self.window.forget_positions();
            self.incarnation = footing.incarnation;
            self.head = Position::default();
        }
        // The head is raised only once the answer is there: whoever walks from a floor that was
        // raised before would not find what another journal wrote below.
        let floor = match self.window.low() {
            None if !same => footing.head,
            low => low.unwrap_or(self.head),
        };
        self.phase = Phase::Connected { footing, floor };
    }

    /// The journal no longer holds these, which were to be read back or sent: they were dropped,
    /// and its ledger says so.
    pub(super) fn missing(&mut self, run: SeqRange) {
        self.check();
        self.ordered = false;
        if let Some(again) = SeqRange::new(run.first(), run.last().min(self.acked())) {
            self.again_answered(usize::try_from(again.len()).unwrap_or(usize::MAX));
        }
        self.window.set_run(run, Standing::Resolved);
    }

    fn again_answered(&mut self, count: usize) {
        self.again_in_flight = self.again_in_flight.saturating_sub(count);
    }

    /// An event in doubt is a dead letter already.
    pub(super) fn dead_letter(&mut self, seq: Seq) {
        self.check();
        self.window.set(seq, Standing::Resolved);
    }

    /// Whether this is the dead letter that is on its way once more.
    pub(super) fn is_late(&self, seq: Seq) -> bool {
        self.late.is_in_flight(seq)
    }

    /// Whether a dead letter is to be sent once more, or on its way.
    pub(super) const fn has_late(&self) -> bool {
        self.late.is_pending()
    }

    /// The session has said whether the late event arrived, and where.
    pub(super) fn late_read_back(&mut self, found: Option<Position>) {
        self.check();
        let Phase::Connected { footing, .. } = self.phase else {
            unreachable!("an answer that was not asked for, in {:?}", self.phase);
        };
        let is_found = found.is_some();
        self.late
            .was_read_back(is_found, footing.incarnation, footing.head);
    }

    /// The late event's claim is durable; or it is not to be sent any more.
    pub(super) fn late_claimed(&mut self, may_leave: bool) {
        self.check();
        self.journal_busy = false;
        self.late.claimed(may_leave);
    }

    /// The late event is with the session: a parcel of so many bytes.
    pub(super) fn late_handed_over(&mut self, bytes: usize, now: Duration) {
        self.throttle.charge(bytes, now);
    }

    /// The late event is held no longer.
    pub(super) fn late_gone(&mut self) {
        self.check();
        self.late.end(Settled::Gone);
    }

    /// The journal has noted how the late event ended, and wants `next` sent after it.
    pub(super) fn late_settled(&mut self, next: Option<Retry>) {
        self.check();
        self.journal_busy = false;
        self.late.settled(next);
    }

    /// The session has said what of the in-doubt range it holds. The rest is sent again.
    pub(super) fn read_back(&mut self, found: impl IntoIterator<Item = (Seq, Position)>) {
        self.check();
        let Phase::ReadingBack(footing) = self.phase else {
            unreachable!("an answer that was not asked for, in {:?}", self.phase);
        };
        self.head = self.head.max(footing.head);
        for (seq, position) in found {
            self.head = self.head.max(position);
            self.window.set(seq, Standing::Resolved);
        }
        self.window.sweep(&[Standing::InDoubt], Standing::Due);
        // An earlier copy may turn out to be stored, or the event to be dropped meanwhile.
        let window = &self.window;
        let is_condemned = |it: &Suspect| window.standing(it.seq) == Some(Standing::Condemned);
        self.suspects.retain(is_condemned);
        self.verdicts.retain(is_condemned);
        self.phase = Phase::Sending {
            max_in_flight: footing.max_in_flight.max(1),
        };
    }

    /// What was ordered is with the session: a parcel of so many bytes.
    pub(super) fn handed_over(&mut self, bytes: usize, now: Duration) {
        self.ordered = false;
        self.throttle.charge(bytes, now);
    }

    /// The session has stored an event.
    pub(super) fn stored(&mut self, seq: Seq, position: Position) {
        self.check();
        self.head = self.head.max(position);
        if self.late.is_in_flight(seq) {
            self.late.end(Settled::Delivered);
            return;
        }
        if seq <= self.acked() {
            self.again_answered(1);
        }
        self.failures = 0;
        self.halted_since = None;
        self.limit_row = 0;
        // Something passes, so the setting is right and it was the events.
        self.verdicts.extend(self.suspects.drain(..));
        if self.window.standing(seq) != Some(Standing::Condemned) {
            self.window.set(seq, Standing::Resolved);
        }
        if self.window.count(Standing::Refused) == 0 {
            self.retry_at = None;
        }
    }

    /// The session has not stored an event, and goes on.
    pub(super) fn refused(&mut self, seq: Seq, refusal: Refusal, now: Duration) {
        self.check();
        if self.late.is_in_flight(seq) {
            match refusal {
                Refusal::Retry => {
                    let wait = self.backoff.wait(self.late.refusals(), REFUSED_CAP);
                    self.late.refused(now + wait);
                }
                Refusal::Reject { code, .. } => self.late.end(Settled::Rejected(code)),
                Refusal::Halt => self.late.end(Settled::Rejected(HALT_CODE)),
            }
            return;
        }
        if seq <= self.acked() {
            self.again_answered(1);
            match refusal {
                // Also by a limit: it passed once, so whoever lowered the limit is to find it here.
                Refusal::Reject { code, .. } => self.verdicts.push_back(Suspect { seq, code }),
                Refusal::Halt => self.broken(Breakage::Halt, now),
                // The hub asks for it again.
                Refusal::Retry => {}
            }
            return;
        }
        if self.window.standing(seq) != Some(Standing::InFlight) {
            return;
        }
        match refusal {
            Refusal::Retry => {
                let refusals = self.window.refuse(seq);
                // One time for all that are refused: they are sent again in their order.
                let wait = self.backoff.wait(refusals, REFUSED_CAP);
                self.retry_at.get_or_insert(now + wait);
            }
            Refusal::Reject { code, limit: false } => {
                self.window.set(seq, Standing::Condemned);
                self.verdicts.push_back(Suspect { seq, code });
            }
            Refusal::Reject { code, limit: true } => {
                self.window.set(seq, Standing::Condemned);
                self.suspects.push(Suspect { seq, code });
                if self.limit_row + self.suspects.len() >= LIMIT_ROW {
                    self.broken(Breakage::Halt, now);
                }
            }
            Refusal::Halt => self.broken(Breakage::Halt, now),
        }
    }

    /// The claim is durable up to `claimed`.
    pub(super) fn claimed(&mut self, claimed: Seq) {
        self.check();
        self.journal_busy = false;
        self.claimed = self.claimed.max(claimed);
        self.tail = self.tail.max(self.claimed);
    }

    /// The event is a dead letter.
    pub(super) fn rejected(&mut self, seq: Seq) {
        self.check();
        self.journal_busy = false;
        self.window.set(seq, Standing::Resolved);
    }

    /// The journal was told whether this sink is caught up.
    pub(super) const fn told(&mut self) {
        self.journal_busy = false;
    }

    /// The session, the attempt to have one, or the journal failed: everything unanswered is in
    /// doubt, and another attempt is made in time. What was refused for good stays so, unless
    /// somebody has to mend something, which may be the reason for it.
    pub(super) fn broken(&mut self, breakage: Breakage, now: Duration) {
        self.check();
        let lasted = now.saturating_sub(self.attempt_at);
        if matches!(self.phase, Phase::Sending { .. }) && lasted >= STEADY_AFTER {
            self.failures = 0;
        }
        self.hang_up = !matches!(self.phase, Phase::Apart { .. });
        self.late.broken();
        self.again.clear();
        self.again_in_flight = 0;
        self.window.sweep(
            &[
                Standing::Due,
                Standing::InFlight,
                Standing::Refused,
                Standing::Condemned,
            ],
            Standing::InDoubt,
        );
        self.retry_at = None;
        self.ordered = false;
        self.held_until = None;
        self.journal_busy = false;
        self.phase = match breakage {
            Breakage::Halt => {
                self.suspects.clear();
                self.verdicts.clear();
                let since = *self.halted_since.get_or_insert(now);
                let soon = now.saturating_sub(since) < HALT_SOON_FOR;
                let half = match soon {
                    true => HALT_SOON / 2,
                    false => HALT_LATER.max(self.terms.reconnect_max) / 2,
                };
                Phase::Apart {
                    until: now + half + self.backoff.up_to(half),
                    idle: false,
                }
            }
            Breakage::Retry => {
                self.halted_since = None;
                // Some servers end the connection over the event that they refuse. Forgotten with
                // the connection, the refusal would come again for ever.
                for Suspect { seq, .. } in self.suspects.iter().chain(&self.verdicts) {
                    self.window.set(*seq, Standing::Condemned);
                }
                let idle = !self.has_backlog();
                let cap = if idle {
                    IDLE_CAP.max(self.terms.reconnect_max)
                } else {
                    self.terms.reconnect_max.saturating_sub(lasted)
                };
                let wait = self.backoff.wait(self.failures, cap.max(BASE));
                self.failures = self.failures.saturating_add(1);
                Phase::Apart {
                    until: now + wait,
                    idle,
                }
            }
        };
    }

    fn send(&mut self, max_in_flight: usize, now: Duration) -> Option<Effect> {
        if self.acked() == self.tail {
            self.halted_since = None;
        }
        self.held_until = None;
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.window.sweep(&[Standing::Refused], Standing::Due);
        }
        if !self.available {
            return None;
        }
        if !self.journal_busy {
            if let Some(Suspect { seq, code }) = self.verdicts.pop_front() {
                self.journal_busy = true;
                return Some(Effect::Reject { seq, code });
            }
            if let Some(upto) = self.wanted_claim() {
                self.journal_busy = true;
                return Some(Effect::Claim(upto));
            }
            if let Some(effect) = self.late.note(self.incarnation, self.head) {
                self.journal_busy = true;
                return Some(Effect::Late(effect));
            }
        }
        if let Some(effect) = self.send_late(max_in_flight, now) {
            return Some(effect);
        }
        if let Some(effect) = self.next_run(max_in_flight, now) {
            return Some(effect);
        }
        let nothing_to_come = self.window.count(Standing::InFlight) == 0
            && self.held_until.is_none()
            && !self.journal_busy;
        if nothing_to_come && !self.suspects.is_empty() {
            // Nothing is on its way that could still clear the setting or condemn it.
            self.limit_row += self.suspects.len();
            self.verdicts.extend(self.suspects.drain(..));
            return self.send(max_in_flight, now);
        }
        let caught_up = self.claimed == self.tail;
        (caught_up != self.caught_up && !self.journal_busy)
            .then(|| self.tell(caught_up))
            .flatten()
    }

    /// It takes its turn like every other: with room at the client, and as the rate allows.
    fn send_late(&mut self, max_in_flight: usize, now: Duration) -> Option<Effect> {
        self.late.wake(now);
        let has_room = self.in_flight() < max_in_flight;
        let may_go = self.late.is_due() && has_room;
        if !may_go || (self.has_rate() && !self.may_hand_over(now)) {
            return None;
        }
        self.late.send().map(Effect::Late)
    }

    /// Large steps, so that a drain costs few commits: half a window, or all there is. A step is asked
    /// for as soon as it is large enough: a session with half a window on its way has as much unanswered
    /// then as ever, and one with less still has something to send.
    fn wanted_claim(&self) -> Option<Seq> {
        let target = self.tail.min(self.furthest());
        let step = target.since(self.claimed);
        // Nothing on its way could make the step larger: something holds up `acked`.
        let dry = self.sent() == self.claimed && self.window.count(Standing::InFlight) == 0;
        let large = step >= u64::from(self.terms.window.div_ceil(2));
        let enough = large || dry || target == self.tail;
        (step > 0 && enough).then_some(target)
    }

    fn next_run(&mut self, max_in_flight: usize, now: Duration) -> Option<Effect> {
        let in_flight = self.in_flight();
        let room = if self.terms.strict_order {
            // What was resolved has left the front, so anything due or new but there has to wait.
            let front = self.window.standing(self.acked().next());
            let is_free = matches!(front, None | Some(Standing::Due)) && in_flight < max_in_flight;
            usize::from(is_free)
        } else {
            max_in_flight.saturating_sub(in_flight)
        };
        // Not simply the claim: where events were dropped, the journal has raised it further.
        let fresh = self.claimed.min(self.furthest()).since(self.sent());
        let nothing = fresh == 0 && self.window.count(Standing::Due) == 0;
        if room == 0 || (nothing && self.again.is_empty()) {
            return None;
        }
        let has_rate = self.has_rate();
        let room = match has_rate {
            true if !self.may_hand_over(now) => return None,
            true => 1,
            false => room as u64,
        };
        let again = |delivery: &mut Self| {
            // By a rate they leave one at a time, so they take turns.
            if has_rate && fresh > 0 && std::mem::take(&mut delivery.again_was_last) {
                return None;
            }
            let run = delivery.next_again(room, max_in_flight);
            delivery.again_was_last = run.is_some();
            run
        };
        let (run, redelivered) = match self.window.send_due(room).or_else(|| again(self)) {
            Some(run) => (run, true),
            None => (self.window.send_first(fresh.min(room), self.head)?, false),
        };
        self.ordered = has_rate;
        Some(Effect::Send { run, redelivered })
    }

    /// The next of what the hub misses, in half of the session's room at most: what is new waits
    /// for none of it.
    fn next_again(&mut self, room: u64, max_in_flight: usize) -> Option<SeqRange> {
        let most = max_in_flight
            .div_ceil(2)
            .saturating_sub(self.again_in_flight);
        let room = room.min(most as u64);
        let front = self.again.front_mut().filter(|_| room > 0)?;
        let run = SeqRange::new(
            front.first(),
            front.last().min(front.first().plus(room).prev()),
        )?;
        match SeqRange::new(run.last().next(), front.last()) {
            Some(rest) => *front = rest,
            None => drop(self.again.pop_front()),
        }
        self.again_in_flight += usize::try_from(run.len()).unwrap_or(usize::MAX);
        Some(run)
    }

    /// Whether the rate lets an event out now. Where it does not, it is noted when it will.
    fn may_hand_over(&mut self, now: Duration) -> bool {
        let ready_at = self.throttle.ready_at();
        self.held_until = (ready_at > now).then_some(ready_at);
        !self.ordered && self.held_until.is_none()
    }

    fn tell(&mut self, caught_up: bool) -> Option<Effect> {
        self.caught_up = caught_up;
        self.journal_busy = true;
        Some(Effect::CaughtUp(caught_up))
    }

    /// How many parcels the session has not answered for: the window's, and what goes beside it.
    fn in_flight(&self) -> usize {
        let beside = self.late.in_flight() + self.again_in_flight;
        self.window.count(Standing::InFlight) + beside
    }

    /// Where the window ends.
    fn furthest(&self) -> Seq {
        self.acked().plus(self.terms.window.max(1).into())
    }

    fn has_backlog(&self) -> bool {
        self.acked() < self.tail
    }

    fn check(&self) {
        let (acked, sent) = (self.acked(), self.sent());
        assert!(
            acked <= sent && sent <= self.claimed && self.claimed <= self.tail,
            "acked {acked} ≤ sent {sent} ≤ claimed {} ≤ tail {} does not hold",
            self.claimed,
            self.tail,
        );
        assert!(
            sent <= self.furthest().max(self.claimed_at_start),
            "sent {sent} runs further ahead of acked {acked} than the window"
        );
    }
}

#[cfg(test)]
mod tests;
