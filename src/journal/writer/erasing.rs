//! The writer's part in erasing: who waits for it, and when the next step is due.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    super::{
        disk_guard::DiskGuard,
        erasure::{EraseError, Erased, Wish},
        error::ReadError,
        storage::Storage,
    },
    Health, Writer,
};
use crate::clock::Clock;

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
    /// What failed last was to give back the room that had been taken.
    keeps_room: bool,
    /// The disk has not got the room, and the log was told.
    waits_for_room: bool,
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
            }
            Err(fault) => {
                self.broken(&fault);
                drop(told.send(Err(EraseError::OutcomeUnknown)));
            }
        }
    }

    /// When the next step is due; `None` where nothing is to be erased.
    pub(super) fn next_erasing(&self) -> Option<Instant> {
        if !self.core.is_erasing() {
            return None;
        }
        // What a failed attempt has taken is given back at once.
        let waits = !self.core.gives_back() || self.erasing.keeps_room;
        let not_before = self.erasing.not_before.filter(|_| waits);
        Some(not_before.unwrap_or_else(Instant::now))
    }

    /// One step, if one is due. What waits in the queue comes between two of them.
    pub(super) fn erase_on(&mut self) {
        let is_broken = matches!(self.health, Health::Broken { .. });
        let is_due = |at: Instant| at <= Instant::now();
        if is_broken || !self.next_erasing().is_some_and(is_due) {
            return;
        }
        if self.core.is_to_take_room() && !self.has_room() {
            return;
        }
        let gives_back = self.core.gives_back();
        if !gives_back {
            self.erasing.not_before = None;
        }
        let erasures = self.core.erasures();
        if let Err(fault) = self.core.erase_on(self.clock.stamp()) {
            self.broken(&fault);
            self.erasing.not_before = Some(Instant::now() + PAUSE_AFTER_FAULT);
            self.erasing.keeps_room = gives_back;
            self.give_up_waiting();
            return;
        }
        if self.core.erasures() != erasures {
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
        self.publish();
    }

    /// Whether the disk has room for free pages to be written over. Where it has not, the rows are
    /// erased and the pages wait: to take the last room would stop the journal, and others.
    fn has_room(&mut self) -> bool {
        let has_room = self
            .guard
            .as_ref()
            .is_none_or(DiskGuard::has_room_for_another);
        if !has_room {
            if !self.erasing.waits_for_room {
                tracing::warn!(
                    "a person is erased from the events held; what is free in the journal's file is \
                     written over once the disk has room for as much again"
                );
            }
            self.erasing.not_before = Some(Instant::now() + PAUSE_AFTER_FAULT);
            self.give_up_waiting();
        }
        self.erasing.waits_for_room = !has_room;
        has_room
    }

    /// Whoever waits is told that it is not known when it is done.
    fn give_up_waiting(&mut self) {
        for (_, told) in self.erasing.waiting.drain(..) {
            drop(told.send(Err(EraseError::OutcomeUnknown)));
        }
        drop(self.core.take_erased());
    }
}
