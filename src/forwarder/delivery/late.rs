//! A dead letter on its way once more: one at a time, beside the window.
//!
//! It has a durable claim and a place in doubt of its own, so it neither holds up the cursor nor
//! changes the order of anything. It was handed to a session once already, so it is always marked
//! as a repeat. What is refused is a dead letter again, whatever the reason: an event that
//! somebody wanted tried once more must not stop those that are fine.
//!
//! A crash leaves the note in the journal: wanted, and since the claim in doubt.

use std::time::Duration;

use crate::{
    outbox::{Claim, Retry, Settled},
    seq::{Incarnation, Position, Seq},
};

/// Sessions that may end while it is on its way. Some servers end the connection over an event that
/// they refuse, and that must not go on for ever.
const MAX_LOSSES: u32 = 5;

/// The reason code of one that ended so many sessions. It may have arrived all the same.
pub(in crate::forwarder) const LOSSES_CODE: &str = "connection_lost";

/// What to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::forwarder) enum LateEffect {
    /// Ask the session whether it arrived; answer with `late_read_back`, `late_gone` or `broken`.
    ReadBack {
        /// Which event.
        seq: Seq,
        /// Where the walk begins, in the session's own container.
        claim: Claim,
    },
    /// Make the claim durable; answer with `late_claimed` or `broken`.
    Claim {
        /// For which event.
        seq: Seq,
        /// From where on it will be looked for.
        claim: Claim,
    },
    /// Hand it to the session; answer with `late_handed_over`, `late_gone` or `broken`.
    Send(Seq),
    /// Note how it ended; answer with `late_settled` or `broken`.
    Settle {
        /// Which event.
        seq: Seq,
        /// How.
        settled: Settled,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// There is none, or none was begun with.
    Idle,
    /// The claim in force, if there is one, does not do for the session in hand.
    Unclaimed(Seq),
    Claiming(Seq, Claim),
    /// It may leave.
    Due(Seq, Claim),
    InFlight(Seq, Claim),
    /// Refused for now.
    Refused(Seq, Claim, Duration),
    /// It may have arrived.
    InDoubt(Seq, Claim),
    ReadingBack(Seq, Claim),
    /// How it ended is known, and not to the journal yet.
    Ended(Seq, Settled),
    Settling(Seq, Settled),
}

/// See the module.
pub(super) struct Late {
    /// What the journal has noted.
    wanted: Option<Retry>,
    stage: Stage,
    losses: u32,
    refusals: u32,
}

impl Late {
    pub(super) const fn new(wanted: Option<Retry>) -> Self {
        Self {
            wanted,
            stage: Stage::Idle,
            losses: 0,
            refusals: 0,
        }
    }

    /// What the journal has noted changed. What is not with
    /// the session is not sent once it is not wanted.
    pub(super) fn noted(&mut self, wanted: Option<Retry>) {
        self.wanted = wanted;
        let is_wanted = |seq| wanted.is_some_and(|retry| retry.seq == seq);
        if let Stage::Unclaimed(seq)
        | Stage::InDoubt(seq, _)
        | Stage::Due(seq, _)
        | Stage::Refused(seq, ..) = self.stage
            && !is_wanted(seq)
        {
            self.stage = Stage::Idle;
        }
    }

    /// Begins with the next one, once the cursor has passed it: what is not acked is the window's.
    pub(super) fn begin(&mut self, acked: Seq) {
        if let (Stage::Idle, Some(Retry { seq, claim })) = (self.stage, self.wanted)
            && seq <= acked
        {
            (self.losses, self.refusals) = (0, 0);
            self.stage = match claim {
                Some(claim) => Stage::InDoubt(seq, claim),
                None => Stage::Unclaimed(seq),
            };
        }
    }

    /// Whether there is one to be sent or on its way.
    pub(super) const fn is_pending(&self) -> bool {
        self.wanted.is_some() || !matches!(self.stage, Stage::Idle)
    }

    pub(super) fn is_in_flight(&self, seq: Seq) -> bool {
        matches!(self.stage, Stage::InFlight(late, _) if late == seq)
    }

    /// How many parcels of it are with the session.
    pub(super) const fn in_flight(&self) -> usize {
        matches!(self.stage, Stage::InFlight(..)) as usize
    }

    /// Whether it could be handed over if there is room.
    pub(super) const fn is_due(&self) -> bool {
        matches!(self.stage, Stage::Due(..))
    }

    /// When it is sent again.
    pub(super) const fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Refused(_, _, until) => Some(until),
            _ => None,
        }
    }

    /// What to ask a new session, in this container whose last position is `head`.
    pub(super) fn read_back(
        &mut self,
        incarnation: Incarnation,
        head: Position,
    ) -> Option<LateEffect> {
        let Stage::InDoubt(seq, claim) = self.stage else {
            return None;
        };
        self.stage = Stage::ReadingBack(seq, claim);
        let floor = match claim.incarnation == incarnation && head >= claim.floor {
            true => claim.floor,
            // Another container or an older state of it, where the old positions mean nothing.
            false => Position::default(),
        };
        let claim = Claim { floor, incarnation };
        Some(LateEffect::ReadBack { seq, claim })
    }

    /// Whether the session is being asked.
    pub(super) const fn is_reading_back(&self) -> bool {
        matches!(self.stage, Stage::ReadingBack(..))
    }

    /// What the session in hand has said, which is in this container whose last position is `head`.
    pub(super) fn was_read_back(&mut self, found: bool, incarnation: Incarnation, head: Position) {
        let Stage::ReadingBack(seq, claim) = self.stage else {
            return;
        };
        let still_holds = claim.incarnation == incarnation && head >= claim.floor;
        self.stage = match found {
            true => Stage::Ended(seq, Settled::Delivered),
            false if still_holds => Stage::Due(seq, claim),
            false => Stage::Unclaimed(seq),
        };
    }

    /// What to have the journal note, while nothing else is asked of it.
    pub(super) fn note(&mut self, incarnation: Incarnation, head: Position) -> Option<LateEffect> {
        match self.stage {
            // No session can be asked any more: sent again, it is marked all the same.
            Stage::Unclaimed(seq) | Stage::InDoubt(seq, _) => {
                let claim = Claim {
                    floor: head,
                    incarnation,
                };
                self.stage = Stage::Claiming(seq, claim);
                Some(LateEffect::Claim { seq, claim })
            }
            Stage::Ended(seq, settled) => {
                self.stage = Stage::Settling(seq, settled);
                Some(LateEffect::Settle { seq, settled })
            }
            _ => None,
        }
    }

    /// The claim is durable, or it is not to be sent any more.
    pub(super) fn claimed(&mut self, may_leave: bool) {
        if let Stage::Claiming(seq, claim) = self.stage {
            self.stage = match may_leave {
                true => Stage::Due(seq, claim),
                false => Stage::Idle,
            };
        }
    }

    /// Sends it, if it is due.
    pub(super) fn send(&mut self) -> Option<LateEffect> {
        let Stage::Due(seq, claim) = self.stage else {
            return None;
        };
        self.stage = Stage::InFlight(seq, claim);
        Some(LateEffect::Send(seq))
    }

    /// The time has come to send again what was refused for now.
    pub(super) fn wake(&mut self, now: Duration) {
        if let Stage::Refused(seq, claim, until) = self.stage
            && until <= now
        {
            self.stage = Stage::Due(seq, claim);
        }
    }

    /// Refused for now: gives how many times in a row before, for the wait.
    pub(super) const fn refusals(&self) -> u32 {
        self.refusals
    }

    pub(super) fn refused(&mut self, until: Duration) {
        if let Stage::InFlight(seq, claim) = self.stage {
            self.refusals = self.refusals.saturating_add(1);
            self.stage = Stage::Refused(seq, claim, until);
        }
    }

    /// How it ended is known.
    pub(super) fn end(&mut self, settled: Settled) {
        if let Stage::InFlight(seq, _) | Stage::ReadingBack(seq, _) = self.stage {
            self.stage = Stage::Ended(seq, settled);
        }
    }

    /// The journal has noted how it ended, and `next` is what comes after.
    pub(super) fn settled(&mut self, next: Option<Retry>) {
        if let Stage::Settling(..) = self.stage {
            self.stage = Stage::Idle;
        }
        self.wanted = next;
    }

    /// The session or the journal failed.
    pub(super) fn broken(&mut self) {
        self.stage = match self.stage {
            Stage::InFlight(seq, claim) | Stage::ReadingBack(seq, claim) => {
                self.losses += 1;
                match self.losses < MAX_LOSSES {
                    true => Stage::InDoubt(seq, claim),
                    false => Stage::Ended(seq, Settled::Rejected(LOSSES_CODE)),
                }
            }
            // Whether a claim holds that nobody answered for is told by the next one.
            Stage::Claiming(seq, _) => Stage::Unclaimed(seq),
            Stage::Due(seq, claim) | Stage::Refused(seq, claim, _) => Stage::InDoubt(seq, claim),
            Stage::Settling(seq, settled) => Stage::Ended(seq, settled),
            stage => stage,
        };
    }
}
