//! What the write side holds in memory, and how it is read back at open.
//!
//! Opening reads the last row, the checkpoint, the table of ids (1 MiB at most) and the at most
//! 1,023 ids that no row of that table holds yet: its time does not depend on the backlog.

use std::cell::Cell;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableError};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    cursor::Checkpoint,
    error::{Fault, fault},
    ids::{self, Ids, REMEMBERED_IDS},
    letters::Letters,
    row::{self, Group, RowError},
    sealed::Sealed,
    store::{CHECKPOINT, GROUPS, IDS, META},
};
use crate::{
    envelope::{Digest, Epoch},
    seq::Seq,
    signing::{KeyId, Signature},
};

/// The version of the whole file: its tables and what they are keyed by.
pub(super) const FORMAT: u64 = 1;

/// Under which key [`FORMAT`] stands.
pub(super) const FORMAT_KEY: &str = "format";

/// The version of a stored checkpoint.
const CHECKPOINT_VERSION: u8 = 1;

/// The write side's memory: what the last commit left.
pub(super) struct State {
    pub(super) epoch: Epoch,
    /// The last event.
    pub(super) tail: Seq,
    /// Its digest.
    pub(super) head: Digest,
    /// The first event still held.
    pub(super) first_held: Seq,
    /// The key of the last row, which is never trimmed.
    pub(super) last_row: Seq,
    /// Bytes of all rows.
    pub(super) held_bytes: u64,
    pub(super) checkpoint: Checkpoint,
    /// Of all but the events in `committed`.
    pub(super) ids: Ids,
    /// The last commit's events, until their ids are remembered.
    pub(super) committed: Vec<Sealed>,
    pub(super) letters: Letters,
    /// An append was refused for want of room, and nothing has been trimmed since.
    pub(super) short_of_room: Cell<bool>,
}

/// Who wrote the last group.
pub(super) struct Writer {
    pub(super) device: String,
    pub(super) key_id: KeyId,
    /// Size, root and signature of the group.
    pub(super) seal: (u8, Digest, Signature),
}

impl State {
    /// Of a journal that holds nothing, about to begin `epoch`.
    pub(super) fn fresh(epoch: Epoch) -> Self {
        Self {
            epoch,
            tail: Seq::NONE,
            head: Digest::ZERO,
            first_held: Seq::FIRST,
            last_row: Seq::NONE,
            held_bytes: 0,
            checkpoint: Checkpoint::fresh(),
            ids: Ids::starting_at(Seq::FIRST),
            committed: Vec::new(),
            letters: Letters::default(),
            short_of_room: Cell::new(false),
        }
    }

    /// The seq of an id that is remembered, or was committed last.
    pub(super) fn find(&self, id: &Uuid) -> Option<Seq> {
        let is_it = |sealed: &Sealed| sealed.id == *id && !id.is_nil();
        let at = self.committed.iter().rposition(is_it);
        at.map(|at| self.ids.next().plus(at as u64))
            .or_else(|| self.ids.find(id))
    }

    /// Remembers the ids of the last commit, and lets go of its events.
    pub(super) fn remember(&mut self) {
        for sealed in std::mem::take(&mut self.committed) {
            self.ids.push(sealed.id);
        }
    }

    /// Reads what the last commit left.
    pub(super) fn load(database: &Database) -> Result<(Self, Writer), Fault> {
        let transaction = database.begin_read().map_err(fault)?;
        check_format(&transaction)?;
        let groups = transaction.open_table(GROUPS).map_err(fault)?;
        let (Some(first), Some(last)) = (
            groups.first().map_err(fault)?,
            groups.last().map_err(fault)?,
        ) else {
            return Err(Fault::Damaged(
                "it holds no event, not even the first".into(),
            ));
        };
        let first_held = Seq::new(first.0.value());
        let last_row = Seq::new(last.0.value());
        if first_held > last_row {
            return Err(Fault::Damaged(format!(
                "its first group is that of seq {first_held}, and its last that of seq {last_row}"
            )));
        }
        let bytes = last.1.value();
        let in_row = |source| Fault::Row {
            seq: last_row,
            source,
        };
        let group = Group::decode(last_row, bytes).map_err(in_row)?;
        let in_last = group
            .checkpoint()
            .ok_or_else(|| in_row(RowError::Malformed("the last group has no checkpoint")))?;
        let alone = read_checkpoint(&transaction)?;
        let (checkpoint, held_bytes) = match alone {
            Some(alone) if alone.revision > in_last.revision => {
                let held_bytes = alone.held_bytes;
                (alone, held_bytes)
            }
            _ => (in_last.clone(), in_last.held_bytes + bytes.len() as u64),
        };
        let tail = group.last();
        let ids = load_ids(&transaction, &groups, tail, checkpoint.ids_upto)?;
        let state = Self {
            epoch: group.epoch(),
            tail,
            head: group.head(),
            first_held,
            last_row,
            held_bytes,
            checkpoint,
            ids,
            committed: Vec::new(),
            letters: Letters::load(&transaction)?,
            short_of_room: Cell::new(false),
        };
        let writer = Writer {
            device: group.device().to_owned(),
            key_id: group.key_id(),
            seal: group.seal(),
        };
        Ok((state, writer))
    }
}

/// The last event and the newest checkpoint, and nothing else: the rest may be damaged.
pub(super) fn end(database: &Database) -> Result<(Seq, Checkpoint), Fault> {
    let transaction = database.begin_read().map_err(fault)?;
    check_format(&transaction)?;
    let groups = transaction.open_table(GROUPS).map_err(fault)?;
    let last = groups.last().map_err(fault)?;
    let (key, row) = last.ok_or_else(|| Fault::Damaged("it holds no event".into()))?;
    let seq = Seq::new(key.value());
    let in_row = |source| Fault::Row { seq, source };
    let group = Group::decode(seq, row.value()).map_err(in_row)?;
    let in_last = group.checkpoint();
    let alone = read_checkpoint(&transaction)?;
    let newest = in_last.into_iter().cloned().chain(alone);
    let newest = newest.max_by_key(|checkpoint| checkpoint.revision);
    let newest = newest.ok_or_else(|| in_row(RowError::Malformed("no checkpoint")))?;
    Ok((group.last(), newest))
}

/// Refuses a newer format before anything is read or written.
fn check_format(transaction: &ReadTransaction) -> Result<(), Fault> {
    let found = match transaction.open_table(META) {
        Ok(meta) => meta
            .get(FORMAT_KEY)
            .map_err(fault)?
            .map(|value| value.value()),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(fault(error)),
    };
    match found {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => Err(Fault::Newer(u8::try_from(newer).unwrap_or(u8::MAX))),
        _ => Err(Fault::Damaged(
            "it does not say its format; it may not be a journal".into(),
        )),
    }
}

/// A value with a version before it and a checksum behind it.
pub(super) fn frame(value: &impl Serialize) -> postcard::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(value, vec![CHECKPOINT_VERSION])?;
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

fn unframe<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let damaged = || Fault::Damaged("the checkpoint does not match its checksum".into());
    let (covered, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    let (version, body) = covered.split_first().ok_or_else(damaged)?;
    if crc32fast::hash(covered).to_le_bytes() != *crc {
        return Err(damaged());
    }
    if *version > CHECKPOINT_VERSION {
        return Err(Fault::Newer(*version));
    }
    postcard::from_bytes(body).map_err(|_| damaged())
}

/// The checkpoint that begins with these bytes, if one does: what follows it does not matter.
pub(super) fn checkpoint_at(bytes: &[u8]) -> Option<Checkpoint> {
    let body = bytes.strip_prefix(&[CHECKPOINT_VERSION])?;
    let (checkpoint, rest) = postcard::take_from_bytes::<Checkpoint>(body).ok()?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    let covered = bytes.get(..bytes.len() - rest.len())?;
    (crc32fast::hash(covered).to_le_bytes() == *crc).then_some(checkpoint)
}

fn read_checkpoint(transaction: &ReadTransaction) -> Result<Option<Checkpoint>, Fault> {
    let table = transaction.open_table(CHECKPOINT).map_err(fault)?;
    let Some(stored) = table.get(()).map_err(fault)? else {
        return Ok(None);
    };
    unframe(stored.value()).map(Some)
}

fn load_ids(
    transaction: &ReadTransaction,
    groups: &impl ReadableTable<u64, &'static [u8]>,
    tail: Seq,
    upto: Seq,
) -> Result<Ids, Fault> {
    let oldest = Seq::new(tail.get().saturating_sub(REMEMBERED_IDS as u64)).next();
    let mut ids = Ids::starting_at(ids::row_of(oldest));
    ids.reserve(tail.since(ids.next().prev()));
    let table = transaction.open_table(IDS).map_err(fault)?;
    for entry in table.range(ids.next().get()..).map_err(fault)? {
        let (key, value) = entry.map_err(fault)?;
        let first = Seq::new(key.value());
        let value = value.value();
        match ids::decode_row(first, value) {
            Some(row) => {
                pad(&mut ids, first);
                row.for_each(|id| ids.push(id));
            }
            None => {
                tracing::warn!(%first, "a row of ids is damaged: repeats of these events will be taken as new")
            }
        }
    }
    // The end, which no row holds yet, stands in the groups, where trimming leaves it.
    let start = upto.next();
    pad(&mut ids, start);
    let from = groups
        .range(..=start.get())
        .map_err(fault)?
        .next_back()
        .transpose()
        .map_err(fault)?
        .map_or(start.get(), |(key, _)| key.value());
    for entry in groups.range(from..).map_err(fault)? {
        let (key, value) = entry.map_err(fault)?;
        let first = Seq::new(key.value());
        let held = row::ids_of(first, value.value())
            .map_err(|source| Fault::Row { seq: first, source })?;
        for (offset, id) in held.into_iter().enumerate() {
            let seq = first.plus(offset as u64);
            if seq >= ids.next() {
                pad(&mut ids, seq);
                ids.push(id);
            }
        }
    }
    pad(&mut ids, tail.next());
    Ok(ids)
}

/// Fills up with "unknown" to where the next known id belongs.
fn pad(ids: &mut Ids, next: Seq) {
    while ids.next() < next {
        ids.push(Uuid::nil());
    }
}
