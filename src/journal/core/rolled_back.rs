//! A new epoch for a journal that is not the newest of its device.
//!
//! Another state of it has given seqs of the epoch to other events, and a sink has shown one. What this
//! state has appended under such seqs must not leave under them: a hub would hold two events of one
//! epoch and seq, both signed. As far as nothing of it was claimed, none of it has left, so it is taken
//! back and appended anew, in the new epoch and in the commit that begins it: with its id, time, source
//! and content, under a seq that was never given out. Of what is erased there is no content; the ledger
//! names it anew, in the same commit, for it has another digest.

use super::{
    super::{
        error::{Fault, fault},
        row::{self, Group},
        sealed::Sealed,
        staging::{MAX_REQUEST_BYTES, MAX_REQUEST_EVENTS, Staging},
        storage::Storage,
        store::GROUPS,
    },
    Core,
    erase::ERASE_EVENTS,
    random_epoch,
};
use crate::{
    clock::Stamp,
    envelope::{Digest, Epoch},
    ledger::{EpochReason, EpochStarted, EventsErased, LedgerEvent, PreviousEpoch},
    seq::Seq,
};

/// What is taken back, and what came right before it.
struct TakenBack {
    first: Seq,
    before: Digest,
    events: Vec<Sealed>,
}

impl<S: Storage> Core<S> {
    /// Begins a new epoch: a sink has shown that another state of this journal has given `from` to
    /// another event. True where events were taken back: then no sink has its place any more, for its
    /// task may have read them already.
    pub(crate) fn begin_epoch(
        &mut self,
        reason: EpochReason,
        from: Seq,
        stamp: Stamp,
    ) -> Result<bool, Fault> {
        let mut staging = self.stage_cursors(stamp);
        let taken_back = self.take_back(&staging, from)?;
        let (seq, digest) = match &taken_back {
            Some(taken_back) => (taken_back.first.prev(), taken_back.before),
            None => (self.state.tail, self.state.head),
        };
        let previous = PreviousEpoch {
            epoch: self.state.epoch,
            seq,
            digest,
            key_id: self.key_id,
            cross_signature: None,
        };
        staging.epoch = random_epoch(&mut self.entropy);
        tracing::warn!(?reason, epoch = %staging.epoch, "a new epoch begins");
        let started = EpochStarted {
            reason,
            public_key: self.key.public_key(),
            previous: Some(previous),
            missing: None,
        };
        staging.add_ledger(&LedgerEvent::EpochStarted(started), &mut self.entropy);
        let first = taken_back.as_ref().map(|taken_back| taken_back.first);
        if let Some(TakenBack { events, .. }) = taken_back {
            tracing::warn!(events = events.len(), "they go into the new epoch, too");
            staging.events.extend(events);
            for erased in self.erased_again(&staging).chunks(ERASE_EVENTS) {
                let events = erased.to_vec();
                let erased = LedgerEvent::EventsErased(EventsErased { events });
                staging.add_ledger(&erased, &mut self.entropy);
            }
        }
        staging.taken_back = first;
        staging.anchor_clock(&mut self.entropy);
        let tail = self.state.tail;
        self.write(staging, Digest::ZERO)?;
        let Some(first) = first else {
            return Ok(false);
        };
        self.sinks.clear();
        self.state.remember();
        for seq in first.get()..=tail.get() {
            self.state.ids.forget(Seq::new(seq));
        }
        Ok(true)
    }

    /// The groups that reach `from`, and of which nothing was claimed. `None` where there are none, or
    /// where they cannot be moved in one commit.
    fn take_back(&self, staging: &Staging, from: Seq) -> Result<Option<TakenBack>, Fault> {
        let claimed = staging.cursors.values().map(|cursor| cursor.claimed).max();
        let unclaimed = claimed.unwrap_or(Seq::NONE).next();
        let rows = self.store.read(|transaction| {
            let groups = transaction.open_table(GROUPS).map_err(fault)?;
            let before = groups.range(..=from.get()).map_err(fault)?.next_back();
            let from = match before.transpose().map_err(fault)? {
                Some((key, row)) => {
                    let first = Seq::new(key.value());
                    let in_row = |source| Fault::Row { seq: first, source };
                    let (last, _) = row::taken_in(first, row.value()).map_err(in_row)?;
                    if last >= from { first } else { from }
                }
                None => from,
            };
            let from = from.max(unclaimed);
            let mut rows = Vec::new();
            let mut bytes = 0;
            for entry in groups.range(from.get()..).map_err(fault)? {
                let (key, value) = entry.map_err(fault)?;
                bytes += value.value().len();
                if bytes > MAX_REQUEST_BYTES {
                    return Ok(None);
                }
                rows.push((Seq::new(key.value()), value.value().to_vec()));
            }
            Ok(Some(rows))
        })?;
        let taken = rows.and_then(|rows| sealed_again(&rows, self.state.epoch));
        if taken.is_none() {
            tracing::error!(
                %from,
                "what was appended since is too much to be moved, or cannot be read: it leaves under seqs \
                 that another state of this journal has used"
            );
        }
        Ok(taken.filter(|taken| !taken.events.is_empty()))
    }
}

/// The events of these rows, to be signed again. `None` where one of them cannot be.
fn sealed_again(rows: &[(Seq, Vec<u8>)], epoch: Epoch) -> Option<TakenBack> {
    let mut taken = TakenBack {
        first: Seq::NONE,
        before: Digest::ZERO,
        events: Vec::new(),
    };
    for (first, row) in rows {
        let group = Group::decode(*first, row).ok()?;
        if group.epoch() != epoch || group.prev() == Digest::ZERO {
            return None;
        }
        if taken.events.is_empty() {
            (taken.first, taken.before) = (*first, group.prev());
        }
        let mut seq = *first;
        while let Some(record) = group.record(seq) {
            taken.events.push(Sealed::of_record(&record));
            seq = seq.next();
        }
        if taken.events.len() > MAX_REQUEST_EVENTS {
            return None;
        }
    }
    Some(taken)
}
