//! Where each event between `acked` and the newest one sent stands.
//!
//! The front slot belongs to `acked + 1` and is never resolved: what is resolved in a row from the
//! front leaves the window and raises `acked`. So the window holds exactly what a crash would
//! leave in doubt, plus what was confirmed above a hole and waits for it.

use std::collections::VecDeque;

use crate::seq::{Position, Seq, SeqRange};

/// Where one event stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It may have arrived; to be read back.
    InDoubt,
    /// To be sent again, as soon as there is room.
    Due,
    /// With the session.
    InFlight,
    /// Refused for now; waits for its next attempt.
    Refused,
    /// Refused for good, not yet a dead letter.
    Condemned,
    /// Confirmed, or a dead letter.
    Resolved,
}

const STANDINGS: usize = Standing::Resolved as usize + 1;

struct Slot {
    /// The highest position known when the event was first sent: no copy of it can lie at or
    /// below.
    low: Position,
    /// Refusals in a row.
    refusals: u8,
    standing: Standing,
}

/// The events in (acked, sent].
pub(super) struct Window {
    acked: Seq,
    slots: VecDeque<Slot>,
    counts: [usize; STANDINGS],
    /// Events that were refused and are not resolved since.
    troubled: usize,
    /// No slot below is due: spares a walk over the window for each event that is sent again.
    /// Only a sweep makes events due.
    due_from: Seq,
}

impl Window {
    /// Everything in (acked, sent] in doubt, with no copy at or below `floor`.
    pub(super) fn new(acked: Seq, sent: Seq, floor: Position) -> Self {
        let mut window = Self {
            acked,
            slots: VecDeque::new(),
            counts: [0; STANDINGS],
            troubled: 0,
            due_from: acked,
        };
        window.push(sent.since(acked), floor, Standing::InDoubt);
        window
    }

    /// Everything up to here is resolved.
    pub(super) const fn acked(&self) -> Seq {
        self.acked
    }

    /// Nothing beyond was handed to a session.
    pub(super) fn sent(&self) -> Seq {
        self.acked.plus(self.slots.len() as u64)
    }

    /// How many events stand so.
    pub(super) const fn count(&self, standing: Standing) -> usize {
        self.counts[standing as usize]
    }

    /// How many events were refused and are not resolved since.
    pub(super) const fn troubled(&self) -> usize {
        self.troubled
    }

    /// Where `seq` stands; `None` outside the window.
    pub(super) fn standing(&self, seq: Seq) -> Option<Standing> {
        Some(self.slots.get(self.index(seq)?)?.standing)
    }

    /// The highest position at or below which nothing of the window lies; `None` when it is empty.
    pub(super) fn low(&self) -> Option<Position> {
        self.slots.front().map(|slot| slot.low)
    }

    /// Takes up to `count` new events into the window, in flight, and says which.
    pub(super) fn send_first(&mut self, count: u64, head: Position) -> Option<SeqRange> {
        let first = self.sent().next();
        self.push(count, head, Standing::InFlight);
        SeqRange::new(first, self.sent())
    }

    /// Puts the first run of due events, at most `count` of them, in flight again.
    pub(super) fn send_due(&mut self, count: u64) -> Option<SeqRange> {
        if self.count(Standing::Due) == 0 {
            return None;
        }
        let from = self.index(self.due_from.max(self.acked.next()))?;
        let is_due = |slot: &Slot| slot.standing == Standing::Due;
        let skipped = self.slots.range(from..).position(is_due)?;
        let first = self.acked.plus((from + skipped) as u64 + 1);
        let run = self
            .slots
            .range(from + skipped..)
            .take_while(|slot| is_due(slot))
            .count();
        let run = SeqRange::new(first, first.plus((run as u64).min(count)).prev())?;
        self.move_all(run, Standing::InFlight);
        self.due_from = run.last().next();
        Some(run)
    }

    /// Says where an event of the window stands now.
    pub(super) fn set(&mut self, seq: Seq, standing: Standing) {
        if let Some(run) = SeqRange::new(seq, seq) {
            self.set_run(run, standing);
        }
    }

    /// Says where a run of events of the window stands now. What left the window stays resolved.
    pub(super) fn set_run(&mut self, run: SeqRange, standing: Standing) {
        let Some(run) = SeqRange::new(run.first().max(self.acked.next()), run.last()) else {
            return;
        };
        self.move_all(run, standing);
        self.settle();
    }

    /// Notes a refusal and gives how many there were in a row before.
    pub(super) fn refuse(&mut self, seq: Seq) -> u32 {
        self.set(seq, Standing::Refused);
        let Some(slot) = self.index(seq).and_then(|index| self.slots.get_mut(index)) else {
            return 0;
        };
        let before = slot.refusals;
        slot.refusals = before.saturating_add(1);
        self.troubled += usize::from(before == 0);
        before.into()
    }

    /// Moves every event that stands as one of `from` says.
    pub(super) fn sweep(&mut self, from: &[Standing], to: Standing) {
        for slot in &mut self.slots {
            if from.contains(&slot.standing) {
                self.counts[slot.standing as usize] -= 1;
                self.counts[to as usize] += 1;
                slot.standing = to;
            }
        }
        self.due_from = self.acked;
        self.settle();
    }

    /// The positions belonged to a container that is gone: a copy of anything can lie anywhere.
    pub(super) fn forget_positions(&mut self) {
        for slot in &mut self.slots {
            slot.low = Position::default();
        }
    }

    fn push(&mut self, count: u64, low: Position, standing: Standing) {
        for _ in 0..count {
            self.slots.push_back(Slot {
                low,
                refusals: 0,
                standing,
            });
            self.counts[standing as usize] += 1;
        }
    }

    fn move_all(&mut self, run: SeqRange, to: Standing) {
        let Some(first) = self.index(run.first()) else {
            return;
        };
        let count = usize::try_from(run.len()).unwrap_or(usize::MAX);
        for slot in self.slots.range_mut(first..).take(count) {
            self.counts[slot.standing as usize] -= 1;
            self.counts[to as usize] += 1;
            slot.standing = to;
            if to == Standing::Resolved && std::mem::take(&mut slot.refusals) > 0 {
                self.troubled -= 1;
            }
        }
    }

    /// Lets go of what is resolved in a row from the front.
    fn settle(&mut self) {
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.standing == Standing::Resolved)
        {
            self.slots.pop_front();
            self.counts[Standing::Resolved as usize] -= 1;
            self.acked = self.acked.next();
        }
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        let index = usize::try_from(seq.since(self.acked).checked_sub(1)?).ok()?;
        (index < self.slots.len()).then_some(index)
    }
}
