//! Putting a staged commit into a transaction: trimming, chaining, signing, rows, ids, checkpoint.

use std::{collections::BTreeMap, ops::RangeBounds};

use redb::{ReadableTable, Table, WriteTransaction};
use uuid::Uuid;

use super::{
    super::{
        cursor::{Checkpoint, Cursors, SinkName},
        error::{Fault, fault},
        ids::{self, IDS_PER_ROW, REMEMBERED_IDS},
        letters::{self, Kept},
        row::{self, ContentV1, EventV1, GroupV1, Raw},
        sealed::Sealed,
        staging::Staging,
        state::frame,
        storage::Storage,
        store::{CHECKPOINT, DEAD_LETTERS, GROUPS, IDS},
    },
    Core,
};
use crate::{
    envelope::{Digest, Kind, MAX_GROUP_EVENTS, Statement, Tree},
    ledger::{DiscardReason, ErasedEvent, LedgerEvent, SinkSkipped, SkipReason},
    seq::{Seq, SeqRange},
    signing::KeyId,
};

/// Bytes at which a group is closed though it could hold more events. Bounds what reading one
/// event costs.
const MAX_GROUP_BYTES: u64 = 512 * 1024;

/// What a row takes beside its events, in its page, at most; without a checkpoint.
const ROW_BYTES: u64 = 320;

/// Bytes that are worth signing one group more: what a small ARM signs in a quarter of a millisecond, its
/// card writes in more.
const WORTH_A_SIGNATURE: u64 = 12 * 1024;

/// Events that are trimmed at once: rarely enough that an online, quiet device writes no more
/// pages for it.
pub(super) const TRIM_EVENTS: u64 = 1_024;

/// Share of the quota from which events are trimmed one by one.
const TRIM_AT_ONCE_NUMERATOR: u64 = 3;
const TRIM_AT_ONCE_DENOMINATOR: u64 = 4;

/// What a commit left, to be taken over once it is durable.
pub(super) struct Written {
    pub(super) tail: Seq,
    pub(super) head: Digest,
    pub(super) first_held: Seq,
    pub(super) last_row: Seq,
    pub(super) held_bytes: u64,
    pub(super) checkpoint: Checkpoint,
    /// Events that were given up.
    pub(super) dropped: u64,
}

impl<S: Storage> Core<S> {
    /// Puts the staged commit into the transaction.
    pub(super) fn put(
        &mut self,
        transaction: &WriteTransaction,
        staging: &mut Staging,
        mut prev: Digest,
    ) -> Result<Written, Fault> {
        let mut groups = transaction.open_table(GROUPS).map_err(fault)?;
        let freed = letters::put(
            transaction,
            &staging.dead_letters,
            staging.forgotten.as_ref(),
            staging.tail(),
        )?;
        let mut held_bytes = self.state.held_bytes.saturating_sub(freed + staging.shrunk);
        let mut first_held = self.state.first_held;
        if let Some(from) = staging.taken_back {
            held_bytes = held_bytes.saturating_sub(remove(&mut groups, from.get()..)?);
            if from <= first_held {
                first_held = self.state.tail.next();
            }
        }
        let mut dropped = 0;
        // A page that this commit has built, to erase, would keep ends of what is trimmed from it.
        let trimmed = match staging.shrunk {
            0 => self.trim_point(&groups, staging)?,
            _ => None,
        };
        if let Some(keep_from) = trimmed.max(staging.keep_from()) {
            let kept = self.keep_dead_letters(transaction, &groups, staging, keep_from)?;
            held_bytes = (held_bytes + kept.added).saturating_sub(kept.freed);
            let delivered = trim_limit(&staging.cursors);
            self.skip_optional_sinks(staging, keep_from.min(delivered.next()));
            dropped = self.give_up(transaction, &groups, staging, (delivered, keep_from))?;
            held_bytes = held_bytes.saturating_sub(remove(&mut groups, ..keep_from.get())?);
            first_held = keep_from;
        }
        let tail = staging.tail();
        for (name, attachment) in self.sinks.iter().filter(|(_, sink)| sink.caught_up) {
            if let Some(cursor) = staging.cursors.get_mut(name) {
                let bound = cursor.acked.plus(attachment.window);
                cursor.claimed = cursor.claimed.max(tail.min(bound));
            }
        }
        let mut ids_table = transaction.open_table(IDS).map_err(fault)?;
        let ids_upto = self.put_ids(&mut ids_table, staging, first_held.prev())?;
        let mut checkpoint = Checkpoint {
            revision: self.state.checkpoint.revision + 1,
            held_bytes,
            ids_upto,
            unanchored_boot: staging.unanchored_boot,
            cursors: staging.cursors.clone(),
        };
        let mut written = Written {
            tail,
            head: prev,
            first_held,
            last_row: self.state.last_row,
            held_bytes,
            checkpoint: checkpoint.clone(),
            dropped,
        };
        let mut first = self.state.tail.next();
        let mut rest = staging.events.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(group_length(rest, self.source.len()));
            rest = after;
            checkpoint.held_bytes = written.held_bytes;
            let carried = rest.is_empty().then(|| checkpoint.clone());
            prev = self.encode_group(staging, first, prev, chunk, carried)?;
            groups
                .insert(first.get(), self.buffer.as_slice())
                .map_err(fault)?;
            written.last_row = first;
            written.held_bytes += self.buffer.len() as u64;
            first = first.plus(chunk.len() as u64);
        }
        let last = groups.last().map_err(fault)?;
        if last.is_none_or(|(last, _)| last.value() != written.last_row.get()) {
            // It would not be found again: a page over the rows is damaged.
            return Err(misplaced(written.last_row));
        }
        if staging.events.is_empty() {
            let framed = frame(&checkpoint).map_err(unencodable)?;
            let mut table = transaction.open_table(CHECKPOINT).map_err(fault)?;
            table.insert((), framed.as_slice()).map_err(fault)?;
        } else if self.state.tail == Seq::NONE {
            // Every table exists from the first commit on, so no reader has to expect otherwise.
            transaction.open_table(CHECKPOINT).map_err(fault)?;
            transaction.open_table(DEAD_LETTERS).map_err(fault)?;
        }
        let wished = self.wished(staging);
        self.put_wishes(transaction, &wished)?;
        super::receipts::put(transaction, &staging.lives, staging.forgotten.as_ref())?;
        written.head = prev;
        written.checkpoint = checkpoint;
        Ok(written)
    }

    /// Chains, signs and encodes one group into `self.buffer`; gives its last digest.
    fn encode_group(
        &mut self,
        staging: &Staging,
        first: Seq,
        prev: Digest,
        chunk: &[Sealed],
        checkpoint: Option<Checkpoint>,
    ) -> Result<Digest, Fault> {
        let stamp = staging.stamp;
        let author = Author {
            key_id: self.key_id,
            device: self.device.as_str(),
            source: &self.source,
        };
        let mut digests = [Digest::ZERO; MAX_GROUP_EVENTS];
        let mut events = Vec::with_capacity(chunk.len());
        let mut head = prev;
        for (index, sealed) in chunk.iter().enumerate() {
            let event = &sealed.event;
            let seq = first.plus(index as u64);
            let statement = author.statement(staging, sealed, seq, head);
            let (source, occurred_at) = (statement.source, statement.occurred_at);
            head = statement.digest(&mut self.scratch);
            digests[index] = head;
            events.push(EventV1 {
                ledger: sealed.kind == Kind::Ledger,
                id: sealed.id.into_bytes(),
                original_id: event.original_id.as_deref(),
                event_type: event.event_type.as_str(),
                event_version: event.event_version,
                source,
                occurred_at_us: occurred_at.as_micros(),
                content: match sealed.is_erased {
                    true => ContentV1::Erased {
                        private_digest: sealed.private_digest.0,
                    },
                    false => ContentV1::Held {
                        salt: sealed.salt,
                        aggregate_id: event.aggregate_id.into_bytes(),
                        subject_id: event.subject_id.as_deref().unwrap_or(""),
                        payload: Raw(&event.payload),
                    },
                },
            });
        }
        let root = Tree::new(&digests[..chunk.len()]).root();
        let size = u8::try_from(chunk.len()).unwrap_or(u8::MAX);
        let signature = self.key.sign_group(size, &root);
        let group = GroupV1 {
            device: self.device.as_str(),
            key_id: self.key_id.0,
            epoch: *staging.epoch.as_uuid().as_bytes(),
            prev: prev.0,
            wall_us: stamp.wall.as_micros(),
            sync: stamp.sync,
            boot_id: stamp.boot_id.into_bytes(),
            boottime_us: stamp.boottime_us,
            events,
            signature: Raw(&signature.0),
            checkpoint,
        };
        self.buffer.clear();
        row::encode(first, &group, &mut self.buffer).map_err(unencodable)?;
        Ok(head)
    }

    /// What is erased of what is staged, with the digests that it will have. The commit begins an
    /// epoch.
    pub(super) fn erased_again(&mut self, staging: &Staging) -> Vec<ErasedEvent> {
        let author = Author {
            key_id: self.key_id,
            device: self.device.as_str(),
            source: &self.source,
        };
        let (mut erased, mut digest) = (Vec::new(), Digest::ZERO);
        let seqs = (staging.first.get()..).map(Seq::new);
        for (seq, sealed) in seqs.zip(&staging.events) {
            let statement = author.statement(staging, sealed, seq, digest);
            digest = statement.digest(&mut self.scratch);
            if sealed.is_erased {
                erased.push(ErasedEvent { seq, digest });
            }
        }
        erased
    }

    /// Whether the commit is worth it for what it would trim alone: an append was refused for want
    /// of room, and there is something to trim.
    pub(in crate::journal) fn makes_room(&self, staging: &Staging) -> Result<bool, Fault> {
        if !self.is_short_of_room() {
            return Ok(false);
        }
        let keep_from = self.store.read(|transaction| {
            let groups = transaction.open_table(GROUPS).map_err(fault)?;
            self.trim_point(&groups, staging)
        })?;
        Ok(keep_from.is_some())
    }

    /// From where on events are kept, if it is worth trimming what lies before.
    fn trim_point(
        &self,
        groups: &impl ReadableTable<u64, &'static [u8]>,
        staging: &Staging,
    ) -> Result<Option<Seq>, Fault> {
        let limit = trim_limit(&staging.cursors);
        let count = limit.next().since(self.state.first_held);
        // A request that is large for the quota is refused before the share is reached.
        let pressed = self.is_short_of_room()
            || self.state.held_bytes / TRIM_AT_ONCE_NUMERATOR
                > self.limits.max_bytes / TRIM_AT_ONCE_DENOMINATOR;
        if count < TRIM_EVENTS && !(pressed && count > 0) {
            return Ok(None);
        }
        let most = self.limits.max_bytes / TRIM_AT_ONCE_DENOMINATOR * TRIM_AT_ONCE_NUMERATOR;
        let Some(limit) = self.not_kept(groups, limit, most, staging.stamp)? else {
            return Ok(None);
        };
        // Whole groups only, and never the last: it holds tail, head and checkpoint.
        let keep = groups
            .range(..=limit.next().get())
            .map_err(fault)?
            .next_back()
            .transpose()
            .map_err(fault)?
            .map(|(key, _)| Seq::new(key.value()));
        if let Some(keep) = keep
            && keep > limit.next()
        {
            return Err(misplaced(keep));
        }
        Ok(keep.filter(|keep| *keep > self.state.first_held))
    }

    /// Keeps apart what is a dead letter and about to be trimmed. What there is no room for is
    /// discarded, and the ledger says so.
    fn keep_dead_letters(
        &mut self,
        transaction: &WriteTransaction,
        groups: &Table<'_, u64, &'static [u8]>,
        staging: &mut Staging,
        keep_from: Seq,
    ) -> Result<Kept, Fault> {
        if self.state.letters.sinks().next().is_none() && staging.dead_letters.is_empty() {
            return Ok(Kept::default());
        }
        let max_bytes = letters::max_row_bytes(self.limits.max_bytes);
        let first_held = self.state.first_held;
        let mut kept = letters::keep(
            transaction,
            groups,
            first_held,
            keep_from,
            staging.tail(),
            max_bytes,
        )?;
        let mut discarded: BTreeMap<SinkName, Vec<Seq>> = BTreeMap::new();
        for change in &kept.given_up {
            let seqs = discarded.entry(change.sink.clone()).or_default();
            seqs.push(change.seq);
        }
        for (name, seqs) in discarded {
            if let Some(cursor) = staging.cursors.get_mut(&name) {
                cursor.dead_letters = cursor.dead_letters.saturating_sub(seqs.len() as u64);
            }
            tracing::warn!(sink = %name, count = seqs.len(), "dead letters are discarded for want of room");
            self.say_discarded(staging, &name, &seqs, DiscardReason::NoRoom);
        }
        staging.dead_letters.append(&mut kept.given_up);
        Ok(kept)
    }

    /// Moves sinks that nobody waits for past what was trimmed, and says so in the ledger.
    fn skip_optional_sinks(&mut self, staging: &mut Staging, keep_from: Seq) {
        let before = keep_from.prev();
        let behind: Vec<(SinkName, Seq)> = staging
            .cursors
            .iter()
            .filter(|(_, cursor)| cursor.confirmed < before)
            .map(|(name, cursor)| (name.clone(), cursor.acked))
            .collect();
        for (name, acked) in behind {
            if let Some(range) = SeqRange::new(acked.next(), before) {
                let skipped = SinkSkipped {
                    sink: name.as_str(),
                    range,
                    reason: SkipReason::Trimmed,
                };
                staging.add_ledger(&LedgerEvent::SinkSkipped(skipped), &mut self.entropy);
            }
            if let Some(cursor) = staging.cursors.get_mut(&name) {
                cursor.skip_to(before);
            }
        }
    }

    /// Writes the rows of ids that are complete, or that trimming would otherwise lose.
    fn put_ids(
        &self,
        table: &mut Table<'_, u64, &'static [u8]>,
        staging: &Staging,
        trimmed_upto: Seq,
    ) -> Result<Seq, Fault> {
        let tail = staging.tail();
        let written = self.state.checkpoint.ids_upto;
        let due = ids::complete_upto(tail).max(trimmed_upto);
        if due <= written {
            return Ok(written);
        }
        let before = self.state.tail;
        let id_of = |seq: Seq| -> Uuid {
            let staged = || {
                staging
                    .events
                    .get(usize::try_from(seq.since(before) - 1).ok()?)
            };
            match seq > before {
                true => staged().map_or(Uuid::nil(), |sealed| sealed.id),
                false => self.state.ids.get(seq).copied().unwrap_or(Uuid::nil()),
            }
        };
        let mut first = ids::row_of(written.next());
        let mut upto = written;
        while first <= due {
            upto = first.plus(IDS_PER_ROW - 1).min(tail);
            let row: Vec<Uuid> = (first.get()..=upto.get())
                .map(|n| id_of(Seq::new(n)))
                .collect();
            let encoded = ids::encode_row(first, row.iter());
            table
                .insert(first.get(), encoded.as_slice())
                .map_err(fault)?;
            first = upto.next();
        }
        let forgotten = ids::row_of(Seq::new(tail.get().saturating_sub(REMEMBERED_IDS as u64)));
        table
            .retain_in(..forgotten.get(), |_, _| false)
            .map_err(fault)?;
        Ok(upto)
    }
}

/// Whoever signs a commit.
struct Author<'a> {
    key_id: KeyId,
    device: &'a str,
    source: &'a str,
}

impl<'a> Author<'a> {
    /// What is said of this event, at this place in the chain.
    fn statement(
        &self,
        staging: &Staging,
        sealed: &'a Sealed,
        seq: Seq,
        prev: Digest,
    ) -> Statement<'a> {
        let event = &sealed.event;
        Statement {
            kind: sealed.kind,
            key_id: self.key_id,
            device: self.device,
            epoch: staging.epoch,
            seq,
            id: sealed.id,
            original_id: event.original_id.as_deref(),
            event_type: event.event_type.as_str(),
            event_version: event.event_version,
            source: event.source.as_deref().unwrap_or(self.source),
            occurred_at: event.occurred_at.unwrap_or(staging.stamp.wall),
            clock: staging.stamp,
            prev,
            private_digest: sealed.private_digest,
        }
    }
}

/// Up to where events may be trimmed: what every required sink has confirmed. Nothing while
/// there is no required sink.
pub(super) fn trim_limit(cursors: &Cursors) -> Seq {
    let required = cursors.values().filter(|cursor| cursor.required);
    required
        .map(|cursor| cursor.confirmed)
        .min()
        .unwrap_or(Seq::NONE)
}

/// How many of these go into one group, where the source of those that name none has so many bytes.
///
/// redb gives a row a power of two of pages, and writes all of them. So a group ends when half of what it
/// would be given is full, where that saves enough: enough for one more signature, or a quarter where
/// more groups follow anyway.
fn group_length(events: &[Sealed], source: usize) -> usize {
    let fitting = |most: u64| {
        let (mut length, mut bytes) = (0, ROW_BYTES);
        for sealed in events.iter().take(MAX_GROUP_EVENTS) {
            let unnamed = sealed.event.source.as_ref().map_or(source, |_| 0);
            let weight = sealed.weight() + unnamed as u64;
            if bytes + weight > most {
                break;
            }
            (length, bytes) = (length + 1, bytes + weight);
        }
        (length, bytes)
    };
    let (all, bytes) = fitting(MAX_GROUP_BYTES);
    let pages = bytes.next_power_of_two();
    let (some, full) = fitting(pages / 2);
    let rest = ROW_BYTES + bytes - full;
    let apart = full.next_power_of_two() + rest.next_power_of_two();
    let saved = pages.saturating_sub(apart);
    let is_signed_anyway = all < events.len() && saved >= pages / 4;
    match saved >= WORTH_A_SIGNATURE || is_signed_anyway {
        true => some,
        false => all.max(1),
    }
}

/// Removes these rows; gives their bytes.
fn remove(
    groups: &mut Table<'_, u64, &'static [u8]>,
    firsts: impl RangeBounds<u64> + Clone,
) -> Result<u64, Fault> {
    let (mut bytes, mut other) = (0, None);
    groups
        .retain_in(firsts.clone(), |first, row| {
            if !firsts.contains(&first) {
                other = Some(first);
                return true;
            }
            bytes += row.len() as u64;
            false
        })
        .map_err(fault)?;
    match other {
        Some(other) => Err(misplaced(Seq::new(other))),
        None => Ok(bytes),
    }
}

/// redb looks for rows where they are not.
fn misplaced(first: Seq) -> Fault {
    Fault::Damaged(format!("the row of seq {first} is not where it belongs"))
}

/// An encoder that writes to memory fails for no input that passed the door.
fn unencodable(error: postcard::Error) -> Fault {
    Fault::Damaged(format!("a row does not encode: {error}"))
}
