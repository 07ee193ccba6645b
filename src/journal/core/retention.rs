//! What goes: delivered events that are kept no longer, and the oldest where there is no room.

use redb::{ReadableTable, WriteTransaction};

use super::{
    super::{
        cursor::SinkName,
        error::{Fault, fault},
        retention::age,
        row::{self, Group},
        staging::{LowDisk, Staging},
        storage::Storage,
        store::META,
    },
    Core,
    commit::TRIM_EVENTS,
};
use crate::{
    clock::Stamp,
    envelope::Kind,
    ledger::{DroppedAtSink, DroppedLedger, DroppedRange, EventsDropped, LedgerEvent},
    seq::{Seq, SeqRange},
};

/// So many bytes more than are to be kept are held before any of them go.
const KEEP_SLACK_BYTES: u64 = 64 * 1024;

/// The log says so often that events are given up.
const TELL_EVERY_MICROS: u64 = 3_600_000_000;

/// Under which keys of the meta table the seqs of the first and of the newest event of the ledger
/// stand that say again what was dropped.
const DROPPED_SINCE_KEY: &str = "dropped_since";
const DROPPED_NEWEST_KEY: &str = "dropped_newest";

/// What the log was told of events that were given up.
#[derive(Default)]
pub(super) struct Told {
    /// The boot time when it was told last.
    at: Option<u64>,
    /// Events that were given up since.
    events: u64,
}

impl<S: Storage> Core<S> {
    /// Says how little room the disk has; `None` where it has enough.
    pub(in crate::journal) fn set_low_disk(&mut self, low: Option<LowDisk>) {
        self.limits.low_disk = low;
    }

    /// Whether the disk has so little room that the journal may not grow.
    pub(in crate::journal) const fn has_low_disk(&self) -> bool {
        self.limits.low_disk.is_some()
    }

    /// Up to where the delivered events go, `limit` being the last of them. `None` where none is
    /// worth a trim. From `most` bytes on nothing is kept for its own sake.
    pub(super) fn not_kept(
        &self,
        groups: &impl ReadableTable<u64, &'static [u8]>,
        limit: Seq,
        most: u64,
        now: Stamp,
    ) -> Result<Option<Seq>, Fault> {
        let retention = self.limits.retention;
        let held = self.state.held_bytes;
        if !retention.keeps() || self.is_short_of_room() {
            return Ok(Some(limit));
        }
        let over = match held > most {
            true => self.oldest(groups, limit, held - most)?,
            false => None,
        };
        Ok(over.max(self.expired(groups, limit, now)?))
    }

    /// Up to where neither the size nor the age of what is delivered keeps it any longer.
    fn expired(
        &self,
        groups: &impl ReadableTable<u64, &'static [u8]>,
        limit: Seq,
        now: Stamp,
    ) -> Result<Option<Seq>, Fault> {
        let retention = self.limits.retention;
        let spare = self.state.held_bytes.saturating_sub(retention.keep_bytes);
        if spare < KEEP_SLACK_BYTES {
            return Ok(None);
        }
        let mut last = limit;
        if retention.keep_bytes > 0 {
            match self.oldest(groups, limit, spare)? {
                Some(oldest) => last = oldest,
                None => return Ok(None),
            }
        }
        if !retention.keep_for.is_zero() {
            // One chunk a commit, judged by its last group: to judge each event at each commit
            // would cost more than to keep it.
            let end = self.state.first_held.plus(TRIM_EVENTS).prev();
            let Some(entry) = groups.range(..=end.get()).map_err(fault)?.next_back() else {
                return Ok(None);
            };
            let (key, row) = entry.map_err(fault)?;
            let first = key.value();
            match row::taken_at(Seq::new(first), row.value()) {
                Ok((_, then)) if age(now, then) < retention.keep_for => return Ok(None),
                Ok((last_of_row, _)) => last = last.min(last_of_row),
                // One that cannot be read is delivered all the same; those behind it are another
                // chunk, and may be young.
                Err(_) => {
                    let next = groups.range(first + 1..).map_err(fault)?.next();
                    let next = next.transpose().map_err(fault)?;
                    last = next.map_or(last, |(key, _)| last.min(Seq::new(key.value()).prev()));
                }
            }
        }
        Ok(Some(last))
    }

    /// The last of the oldest events, up to `limit`, that take no more than so many bytes together.
    fn oldest(
        &self,
        groups: &impl ReadableTable<u64, &'static [u8]>,
        limit: Seq,
        mut bytes: u64,
    ) -> Result<Option<Seq>, Fault> {
        for entry in groups
            .range(self.state.first_held.get()..=limit.next().get())
            .map_err(fault)?
        {
            let (key, row) = entry.map_err(fault)?;
            let first = Seq::new(key.value());
            match bytes.checked_sub(row.value().len() as u64) {
                Some(rest) => bytes = rest,
                None => return Ok((first > self.state.first_held).then(|| first.prev())),
            }
        }
        Ok(Some(limit))
    }

    /// Gives up what lies before `keep_from` and is not delivered: every cursor moves past it, and
    /// the ledger says what it was. Gives how many events. Comes before the rows go.
    pub(super) fn give_up(
        &mut self,
        transaction: &WriteTransaction,
        groups: &impl ReadableTable<u64, &'static [u8]>,
        staging: &mut Staging,
        (delivered, keep_from): (Seq, Seq),
    ) -> Result<u64, Fault> {
        let first = delivered.next().max(self.state.first_held);
        let Some(range) = SeqRange::new(first, keep_from.prev()) else {
            return Ok(0);
        };
        let mut meta = transaction.open_table(META).map_err(fault)?;
        let seq_under = |key| -> Result<Option<Seq>, Fault> {
            let stored = meta.get(key).map_err(fault)?;
            Ok(stored.map(|seq| Seq::new(seq.value())))
        };
        let said = seq_under(DROPPED_SINCE_KEY)?.zip(seq_under(DROPPED_NEWEST_KEY)?);
        let (since, mut dropped) = match said {
            // It may be on its way, so whoever gets it not has to get what it says from this one.
            Some((since, newest)) if newest > delivered => match said_before(groups, newest)? {
                Some(dropped) => (Some(since), dropped),
                None => (None, EventsDropped::default()),
            },
            _ => (None, EventsDropped::default()),
        };
        let (mut prev, mut digest) = (None, None);
        let start = groups
            .range(..=first.get())
            .map_err(fault)?
            .next_back()
            .transpose()
            .map_err(fault)?
            .map_or(first.get(), |(key, _)| key.value());
        for entry in groups.range(start..keep_from.get()).map_err(fault)? {
            let (key, row) = entry.map_err(fault)?;
            let at = Seq::new(key.value());
            let row = row.value();
            let look = match row::has_ledger(at, row) {
                Ok((last, has_ledger)) => has_ledger || at <= range.first() || last >= range.last(),
                Err(error) => {
                    tracing::error!(seq = %at, %error, "events that are given up cannot be read");
                    dropped.unreadable_groups += 1;
                    false
                }
            };
            if !look {
                continue;
            }
            let Ok(group) = Group::decode(at, row) else {
                dropped.unreadable_groups += 1;
                continue;
            };
            let mut seq = at.max(first);
            while let Some(record) = group.record(seq) {
                if seq == range.first() {
                    prev = Some(record.statement.prev);
                }
                if seq == range.last() {
                    digest = Some(record.digest);
                }
                // One that this one says again needs no repeating.
                let is_said = record.statement.event_type == EventsDropped::EVENT_TYPE
                    && since.is_some_and(|since| seq >= since);
                if record.statement.kind == Kind::Ledger && !is_said {
                    let payload = record.private.as_ref().map_or(&b"null"[..], |p| p.payload);
                    match serde_json::from_slice(payload) {
                        Ok(payload) => dropped.add_ledger(DroppedLedger {
                            seq,
                            digest: record.digest,
                            event_type: record.statement.event_type.to_owned(),
                            payload,
                        }),
                        Err(_) => dropped.ledger_left_out += 1,
                    }
                }
                seq = seq.next();
            }
        }
        dropped.add_range(DroppedRange {
            range,
            prev,
            digest,
        });
        let before = range.last();
        let behind: Vec<SinkName> = staging
            .cursors
            .iter()
            .filter(|(_, cursor)| cursor.confirmed < before)
            .map(|(name, _)| name.clone())
            .collect();
        for name in behind {
            let Some(cursor) = staging.cursors.get_mut(&name) else {
                continue;
            };
            // What was delivered and a hub has not confirmed goes, too, and is not undelivered.
            let had = cursor.acked.max(range.first().prev());
            if had < before {
                dropped.add_sink(DroppedAtSink {
                    sink: name.as_str().to_owned(),
                    undelivered: before.since(had),
                    in_doubt: cursor.claimed.min(before).since(had),
                });
            }
            cursor.skip_to(before);
        }
        staging.add_ledger(&LedgerEvent::EventsDropped(dropped), &mut self.entropy);
        let newest = staging.tail();
        for (key, seq) in [
            (DROPPED_SINCE_KEY, since.unwrap_or(newest)),
            (DROPPED_NEWEST_KEY, newest),
        ] {
            meta.insert(key, seq.get()).map_err(fault)?;
        }
        self.tell_dropped(range, staging.stamp);
        Ok(range.len())
    }

    /// Tells the log at the first, and then now and then.
    fn tell_dropped(&mut self, range: SeqRange, now: Stamp) {
        let told = &mut self.told_dropped;
        told.events += range.len();
        let is_soon = |at: u64| now.boottime_us.saturating_sub(at) < TELL_EVERY_MICROS;
        if told.at.is_some_and(is_soon) {
            return;
        }
        tracing::warn!(
            events = told.events,
            upto = %range.last(),
            "there is no room: the oldest events are given up for newer ones, as `when_full` says"
        );
        *told = Told {
            at: Some(now.boottime_us),
            events: 0,
        };
    }
}

/// What an earlier event of the ledger says was dropped; `None` where it cannot be read.
fn said_before(
    groups: &impl ReadableTable<u64, &'static [u8]>,
    seq: Seq,
) -> Result<Option<EventsDropped>, Fault> {
    let Some(entry) = groups.range(..=seq.get()).map_err(fault)?.next_back() else {
        return Ok(None);
    };
    let (key, row) = entry.map_err(fault)?;
    let Ok(group) = Group::decode(Seq::new(key.value()), row.value()) else {
        return Ok(None);
    };
    let said = group.record(seq).filter(|record| {
        record.statement.kind == Kind::Ledger
            && record.statement.event_type == EventsDropped::EVENT_TYPE
    });
    Ok(said
        .and_then(|record| record.private)
        .and_then(|private| serde_json::from_slice(private.payload).ok()))
}
