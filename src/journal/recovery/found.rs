//! A group that was found in the bytes of a damaged journal.

use std::mem;

use serde::Deserialize;

use crate::{
    envelope::{Digest, EPOCH_STARTED, Epoch, EpochEnd, Kind},
    journal::row::Group,
    ledger::EVENTS_ERASED,
    seq::Seq,
    signing::{KeyId, PublicKey},
};

/// What is remembered of a group: about 250 bytes, and 8 for each event that it says was erased. It may
/// stand in the file in several forms; this is the one with most in it.
#[derive(Clone, Debug)]
pub(in crate::journal) struct Found {
    pub(in crate::journal) first: Seq,
    pub(in crate::journal) last: Seq,
    pub(super) epoch: Epoch,
    pub(super) key_id: KeyId,
    /// The digest before it.
    pub(super) prev: Digest,
    /// The digest of its last event.
    pub(in crate::journal) head: Digest,
    /// Where its row stands in the file, in bytes.
    pub(super) offset: u64,
    pub(super) length: usize,
    /// How many of its events are erased.
    erased: usize,
    /// The form with least in it, where there is another.
    pub(super) barest: Option<Bare>,
    /// What its events of the ledger say was erased.
    pub(super) erases: Box<[Seq]>,
    /// Of the checkpoint that it carries.
    pub(super) revision: Option<u64>,
    /// Whether redb finds it, too: it was not trimmed.
    pub(super) in_tree: bool,
    /// What its first event says, where that begins an epoch.
    pub(super) start: Option<Box<EpochStart>>,
}

/// Another form of a group, and where its row stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bare {
    erased: usize,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// The first event of an epoch.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EpochStart {
    pub(super) public_key: PublicKey,
    /// Where the epoch before ended.
    #[serde(default)]
    pub(super) previous: Option<EpochEnd>,
}

impl Found {
    /// Of a row that stands at `offset`.
    pub(super) fn new(group: &Group<'_>, offset: u64, length: usize) -> Self {
        Self {
            first: group.first(),
            last: group.last(),
            epoch: group.epoch(),
            key_id: group.key_id(),
            prev: group.prev(),
            head: group.head(),
            offset,
            length,
            erased: group.erased().count(),
            barest: None,
            erases: erased_by(group),
            revision: group.checkpoint().map(|checkpoint| checkpoint.revision),
            in_tree: false,
            start: start_of(group).map(Box::new),
        }
    }

    /// Takes up another form of the group. What was kept apart of it for a dead letter has no
    /// checkpoint, if the group had one, and says nothing of what was erased.
    pub(super) fn meet(&mut self, mut other: Self) {
        if self.revision.is_some() != other.revision.is_some() {
            if other.revision.is_some() {
                *self = other;
            }
            return;
        }
        if other.erased < self.erased {
            mem::swap(self, &mut other);
            self.barest = other.barest;
        }
        let least = self.barest.map_or(self.erased, |bare| bare.erased);
        if other.erased > least {
            self.barest = Some(Bare {
                erased: other.erased,
                offset: other.offset,
                length: other.length,
            });
        }
    }

    /// The bytes of its row.
    pub(in crate::journal) const fn length(&self) -> usize {
        self.length
    }

    /// The event that the first one follows, as far as the group says.
    pub(super) fn follows(&self) -> Option<EpochEnd> {
        match (&self.start, self.prev) {
            (Some(start), _) => start.previous,
            (None, Digest::ZERO) => None,
            (None, prev) => Some(EpochEnd {
                epoch: self.epoch,
                seq: self.first.prev(),
                digest: prev,
            }),
        }
    }

    /// Whether it ends with this event.
    pub(super) fn ends_with(&self, end: &EpochEnd) -> bool {
        (self.epoch, self.last, self.head) == (end.epoch, end.seq, end.digest)
    }
}

fn erased_by(group: &Group<'_>) -> Box<[Seq]> {
    #[derive(Deserialize)]
    struct Erased {
        events: Vec<Event>,
    }
    #[derive(Deserialize)]
    struct Event {
        seq: Seq,
    }
    let told = group.told(EVENTS_ERASED);
    let told = told.filter_map(|payload| serde_json::from_slice::<Erased>(payload).ok());
    told.flat_map(|erased| erased.events)
        .map(|event| event.seq)
        .collect()
}

fn start_of(group: &Group<'_>) -> Option<EpochStart> {
    if group.prev() != Digest::ZERO {
        return None;
    }
    let record = group.record(group.first())?;
    let statement = &record.statement;
    if statement.kind != Kind::Ledger || statement.event_type != EPOCH_STARTED {
        return None;
    }
    let start: EpochStart = serde_json::from_slice(record.private?.payload).ok()?;
    (start.public_key.id() == statement.key_id).then_some(start)
}
