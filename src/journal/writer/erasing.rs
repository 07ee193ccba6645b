//! The writer's part in erasing: who waits for it, and when the next step is due.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    super::{
        disk_guard::{DiskGuard, LOOK_AGAIN_AFTER},
        erasure::{EraseError, Erased, Wish},
        error::ReadError,
        storage::Storage,
    },
    Writer,
    trouble::Health,
};
use crate::{clock::Clock, status};

/// After a step that failed. Until then the journal is used as if nothing were to be erased: where
/// the disk is full, the next attempt would only break it again.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(30);

/// Tells whoever asked what was erased.
pub(crate) type Told = oneshot::Sender<Result<Erased, EraseError>>;

/// Who waits, and until when nothing is tried.
#[derive(Default)]
pub(super) struct Erasing {
    waiting: Vec<(Wish, Told)>,
    not_before: Option<Instant>,
    /// Not even what a failed step took could be given back.
    is_stuck: bool,
}

impl<S: Storage, C: Clock> Writer<S, C> {
    /// Makes durable that a person is to be erased. The answer follows once it is done.
    pub(super) fn begin_erasing(&mut self, id: Uuid, told: Told) {
        if matches!(self.health, Health::Broken { .. }) {
            drop(told.send(Err(ReadError::Unavailable.into())));
            return;
        }
        match self.core.begin_erasing(id) {
            Ok(wish) => {
                self.erasing.waiting.push((wish, told));
                self.erasing.not_before = None;
                self.publish();
            }
            Err(fault) => {
                self.broken(&fault);
                drop(told.send(Err(EraseError::OutcomeUnknown)));
            }
        }
    }

    /// When the next step is due; `None` where nothing is to be erased. What a step that failed has
    /// taken from the disk is given back at once.
    pub(super) fn next_erasing(&self) -> Option<Instant> {
        let now = || Instant::now();
        let at_once = self.core.gives_back() && !self.erasing.is_stuck;
        let not_before = self.erasing.not_before.filter(|_| !at_once);
        self.core
            .is_erasing()
            .then(|| not_before.unwrap_or_else(now))
    }

    /// One step, if one is due. What waits in the queue comes between two of them.
    pub(super) fn erase_on(&mut self) {
        let is_broken = matches!(self.health, Health::Broken { .. });
        let is_due = |at: Instant| at <= Instant::now();
        if is_broken || !self.next_erasing().is_some_and(is_due) || self.lacks_room() {
            return;
        }
        let gives_back = self.core.gives_back();
        if !gives_back {
            self.erasing.not_before = None;
        }
        let before = (self.core.erasures(), self.core.erasing());
        let erased = self.core.erase_on(self.clock.stamp());
        self.erasing.is_stuck = gives_back && erased.is_err();
        if let Err(fault) = erased {
            self.broken(&fault);
            self.erasing.not_before = Some(Instant::now() + PAUSE_AFTER_FAULT);
            for (_, told) in self.erasing.waiting.drain(..) {
                drop(told.send(Err(EraseError::OutcomeUnknown)));
            }
            drop((self.core.take_erased(), self.core.take_unsearched()));
            return;
        }
        if (self.core.erasures(), self.core.erasing()) != before {
            self.publish();
        }
        if self.core.is_erasing() {
            return;
        }
        let (erased, unsearched) = (self.core.take_erased(), self.core.take_unsearched());
        for (wish, told) in self.erasing.waiting.drain(..) {
            let count = |counts: &BTreeMap<Wish, u64>| counts.get(&wish).copied().unwrap_or(0);
            let (events, unsearched) = (count(&erased), count(&unsearched));
            tracing::info!(events, unsearched, upto = %wish.0, "a person is erased");
            drop(told.send(Ok(Erased {
                events,
                upto: wish.0,
                unsearched,
            })));
        }
        self.note_activity();
        self.publish();
    }

    /// Whether free pages are to be written over, and the disk has too little room for that. Whoever
    /// waits is told.
    fn lacks_room(&mut self) -> bool {
        let spare = self.guard.as_ref().and_then(DiskGuard::spare);
        let (Some(needed), Some(free)) = (self.core.room_to_scrub(), spare) else {
            return false;
        };
        if free >= needed {
            return false;
        }
        if self.core.erasing() != Some(status::Erasing::WaitingForRoom) {
            tracing::warn!(
                needed,
                free,
                "the disk has no room to write over what was erased; it waits until there is"
            );
        }
        self.core.put_off_scrub();
        self.erasing.not_before = Some(Instant::now() + LOOK_AGAIN_AFTER);
        let erased = self.core.take_erased();
        drop(self.core.take_unsearched());
        for (wish, told) in self.erasing.waiting.drain(..) {
            let events = erased.get(&wish).copied().unwrap_or(0);
            drop(told.send(Err(EraseError::NoRoom {
                events,
                needed,
                free,
            })));
        }
        self.note_activity();
        self.publish();
        true
    }
}
