//! One commit in the making: decided upon in memory, not yet written.

mod room;

use std::collections::HashMap;

use uuid::Uuid;

use self::room::Dropping;
pub(crate) use self::room::LowDisk;
use super::{
    cursor::{Cursors, SinkName},
    entropy::Entropy,
    error::{AppendError, Fault},
    letters::LetterChange,
    reader,
    retention::Retention,
    sealed::Sealed,
    state::State,
    store::Store,
};
use crate::{
    clock::{ClockSync, Stamp},
    envelope::{Epoch, Kind, MAX_GROUP_EVENTS},
    ledger::{ClockSynced, LedgerEvent},
    seq::Seq,
};

/// Most events that one request may hold.
pub const MAX_REQUEST_EVENTS: usize = 4_096;

/// Most bytes of payload that one request may hold.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Part of the quota kept free for the ledger, whose events are never refused.
pub(super) const LEDGER_RESERVE_BYTES: u64 = 64 * 1024;

/// The journal is full where not even an event of this size, in bytes, finds room. One that is
/// refused for its own size does not make it so.
const SMALL_EVENT_BYTES: u64 = 4 * 1024;

/// What bounds the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The quota, in bytes of rows.
    pub(crate) max_bytes: u64,
    /// The largest payload, in bytes.
    pub(crate) max_payload_bytes: usize,
    /// What is kept longer than it must be, and what goes when there is no room.
    pub(crate) retention: Retention,
    /// The disk has no room either.
    pub(crate) low_disk: Option<LowDisk>,
}

/// Where an event went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its id, given or made.
    pub id: Uuid,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its seq.
    pub seq: Seq,
    /// Whether it was known already, with the same content.
    pub repeated: bool,
}

/// What staging looks things up in.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) store: &'a Store,
    pub(super) limits: Limits,
}

/// What the commit will hold.
pub(super) struct Staging {
    pub(super) stamp: Stamp,
    pub(super) epoch: Epoch,
    pub(super) events: Vec<Sealed>,
    pub(super) cursors: Cursors,
    /// What becomes of dead letters, in this order.
    pub(super) dead_letters: Vec<LetterChange>,
    /// A sink whose dead letters go.
    pub(super) forgotten: Option<SinkName>,
    /// Whose hub's life has changed, and to which.
    pub(super) lives: Vec<(SinkName, u64)>,
    /// From this seq on, rows go: their events are among `events` again.
    pub(super) taken_back: Option<Seq>,
    pub(super) unanchored_boot: Uuid,
    /// Bytes by which rows of earlier commits have become shorter.
    pub(super) shrunk: u64,
    /// What is given up so that these events find room.
    dropping: Option<Dropping>,
    /// The first seq of `events`.
    pub(super) first: Seq,
    ids: HashMap<Uuid, Seq>,
    weight: u64,
}

impl Staging {
    pub(super) fn new(state: &State, cursors: Cursors, stamp: Stamp) -> Self {
        Self {
            stamp,
            epoch: state.epoch,
            events: Vec::new(),
            cursors,
            dead_letters: Vec::new(),
            forgotten: None,
            lives: Vec::new(),
            taken_back: None,
            unanchored_boot: state.checkpoint.unanchored_boot,
            shrunk: 0,
            dropping: None,
            first: state.tail.next(),
            ids: HashMap::new(),
            weight: 0,
        }
    }

    /// The last seq there will be.
    pub(super) fn tail(&self) -> Seq {
        self.first.plus(self.events.len() as u64).prev()
    }

    /// Whether there is anything to write.
    pub(super) fn changes(&self, state: &State) -> bool {
        !self.events.is_empty()
            || !self.dead_letters.is_empty()
            || !self.lives.is_empty()
            || self.cursors != state.checkpoint.cursors
    }

    /// Takes a whole request or nothing of it.
    pub(super) fn append(
        &mut self,
        view: View<'_>,
        request: Vec<Sealed>,
    ) -> Result<Vec<Appended>, AppendError> {
        let mark = (self.events.len(), self.weight);
        // Where something is staged already, more requests are coming in: they are not made room for
        // one by one.
        let at_least = if self.events.is_empty() {
            0
        } else {
            MAX_GROUP_EVENTS
        };
        self.events.reserve(request.len().max(at_least));
        self.ids.reserve(request.len().max(at_least));
        let mut places = Vec::with_capacity(request.len());
        for (index, sealed) in request.into_iter().enumerate() {
            match self.append_one(view, sealed, index) {
                Ok(place) => places.push(place),
                Err(error) => {
                    self.truncate(mark);
                    return Err(error);
                }
            }
        }
        let needed = self.weight - mark.1;
        if needed > 0 && !self.has_room_for(view, 0) && !self.make_room(view, needed) {
            self.truncate(mark);
            return Err(self.no_room(view, needed));
        }
        Ok(places)
    }

    fn append_one(
        &mut self,
        view: View<'_>,
        sealed: Sealed,
        index: usize,
    ) -> Result<Appended, AppendError> {
        let id = sealed.id;
        if let Some((seq, epoch, agrees)) = self.known(view, &sealed)? {
            return match agrees {
                true => Ok(Appended {
                    id,
                    epoch,
                    seq,
                    repeated: true,
                }),
                false => Err(AppendError::Conflict { index, id, seq }),
            };
        }
        let seq = self.tail().next();
        self.weight += sealed.weight();
        self.ids.insert(id, seq);
        self.note_clock();
        self.events.push(sealed);
        Ok(Appended {
            id,
            epoch: self.epoch,
            seq,
            repeated: false,
        })
    }

    /// Seq and epoch of an event with the same id, and whether it says the same.
    fn known(
        &self,
        view: View<'_>,
        sealed: &Sealed,
    ) -> Result<Option<(Seq, Epoch, bool)>, AppendError> {
        if let Some(&seq) = self.ids.get(&sealed.id) {
            let staged = usize::try_from(seq.since(self.first)).ok();
            let staged = staged.and_then(|index| self.events.get(index));
            return Ok(staged.map(|first| (seq, self.epoch, sealed.says_the_same_as(first))));
        }
        let Some(seq) = view.state.find(&sealed.id) else {
            return Ok(None);
        };
        let held = view.store.read(|transaction| {
            reader::with_record(transaction, seq, |record| {
                (record.statement.epoch, sealed.agrees_with(record))
            })
        });
        match held {
            Ok(Some((epoch, agrees))) => Ok(Some((seq, epoch, agrees))),
            // Trimmed since: known, and nothing left to compare with.
            Ok(None) => Ok(Some((seq, view.state.epoch, true))),
            Err(fault) => {
                tracing::warn!(%seq, %fault, "a repeated event could not be compared with the first");
                match fault {
                    // It may be read the next time: other content must not pass for a repeat.
                    Fault::Io(_) | Fault::Unavailable => Err(AppendError::Unavailable),
                    _ => Ok(Some((seq, view.state.epoch, true))),
                }
            }
        }
    }

    /// Adds an event of the ledger, which is never refused.
    pub(super) fn add_ledger(&mut self, event: &LedgerEvent<'_>, entropy: &mut Entropy) {
        match Sealed::ledger(event, *self.epoch.as_uuid(), entropy) {
            Ok(sealed) => self.events.push(sealed),
            Err(error) => tracing::error!(%error, "an event of the ledger does not serialise"),
        }
    }

    /// Ties this boot's own time to the true time, if events wait for that.
    pub(super) fn anchor_clock(&mut self, entropy: &mut Entropy) {
        let Stamp {
            wall,
            sync,
            boot_id,
            boottime_us,
        } = self.stamp;
        if sync == ClockSync::Yes && !boot_id.is_nil() && self.unanchored_boot == boot_id {
            let synced = LedgerEvent::ClockSynced(ClockSynced {
                boot_id,
                boottime_us,
                wall,
            });
            self.add_ledger(&synced, entropy);
            self.unanchored_boot = Uuid::nil();
        }
    }

    /// Dates the commit anew, for its events have come in since it was begun. Not where it begins with
    /// the ledger's word on a clock: that is of the time it was begun at.
    pub(super) fn date(&mut self, stamp: Stamp) {
        let first = self.events.first();
        if first.is_some_and(|first| first.kind == Kind::Program) {
            self.stamp = stamp;
            self.note_clock();
        }
    }

    fn note_clock(&mut self) {
        if self.stamp.sync != ClockSync::Yes {
            self.unanchored_boot = self.stamp.boot_id;
        }
    }

    /// Forgets what was taken since `mark`.
    fn truncate(&mut self, (events, weight): (usize, u64)) {
        for sealed in self.events.drain(events..) {
            self.ids.remove(&sealed.id);
        }
        self.weight = weight;
    }
}
