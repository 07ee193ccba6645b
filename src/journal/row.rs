//! What one row of the journal holds: a group, packed.
//!
//! ```text
//! row = version u8 (1) ‖ postcard(Group) ‖ crc32 u32 little-endian over (first seq u64 ‖ version ‖ postcard)
//! ```
//!
//! The key (the first seq) is in the checksum, so a row under a wrong key is damage too. A
//! changed bit anywhere is found when the row is read; digests and signature are not stored but
//! recomputed, so what is sent is always what was signed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{cursor::Checkpoint, erasure::Person};
use crate::{
    clock::{ClockSync, Stamp, Timestamp},
    envelope::{
        Digest, Epoch, Kind, MAX_GROUP_EVENTS, MAX_STATEMENT_BYTES, Private, Record, Statement,
        Tree,
    },
    seq::Seq,
    signing::{KeyId, Signature},
};

/// The version of the row that this code writes, and the newest that it reads.
pub(crate) const ROW_VERSION: u8 = 1;

const CRC_BYTES: usize = 4;

/// Bytes that serialise as one run instead of one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Raw)
    }
}

/// Version 1 of a group. Fields never move, go or come: postcard does not describe itself, so a
/// change is a new struct under a new version.
#[derive(Serialize, Deserialize)]
pub(super) struct GroupV1<'a> {
    pub(super) device: &'a str,
    pub(super) key_id: [u8; 32],
    pub(super) epoch: [u8; 16],
    /// Digest of the seq before the group.
    pub(super) prev: [u8; 32],
    pub(super) wall_us: i64,
    pub(super) sync: ClockSync,
    pub(super) boot_id: [u8; 16],
    pub(super) boottime_us: u64,
    #[serde(borrow)]
    pub(super) events: Vec<EventV1<'a>>,
    #[serde(borrow)]
    pub(super) signature: Raw<'a>,
    /// Present in the last group of a commit.
    pub(super) checkpoint: Option<Checkpoint>,
}

/// One event of a [`GroupV1`].
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct EventV1<'a> {
    pub(super) ledger: bool,
    pub(super) id: [u8; 16],
    pub(super) original_id: Option<&'a str>,
    pub(super) event_type: &'a str,
    pub(super) event_version: u16,
    pub(super) source: &'a str,
    pub(super) occurred_at_us: i64,
    #[serde(borrow)]
    pub(super) content: ContentV1<'a>,
}

impl EventV1<'_> {
    /// Aggregate and subject person of a program's event that is not erased.
    pub(super) fn personal(&self) -> Option<(Uuid, &str)> {
        match self.content {
            ContentV1::Held {
                aggregate_id,
                subject_id,
                ..
            } if !self.ledger => Some((Uuid::from_bytes(aggregate_id), subject_id)),
            ContentV1::Held { .. } | ContentV1::Erased { .. } => None,
        }
    }
}

/// The personal part of an [`EventV1`], or what is left of it.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum ContentV1<'a> {
    Held {
        salt: [u8; 16],
        aggregate_id: [u8; 16],
        subject_id: &'a str,
        #[serde(borrow)]
        payload: Raw<'a>,
    },
    Erased {
        private_digest: [u8; 32],
    },
}

/// Appends the row to `out`.
pub(super) fn encode(first: Seq, group: &GroupV1<'_>, out: &mut Vec<u8>) -> postcard::Result<()> {
    let start = out.len();
    out.push(ROW_VERSION);
    let taken = std::mem::take(out);
    *out = postcard::to_extend(group, taken)?;
    let crc = checksum(first, &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// The same group with the personal parts of those events alone that are to `stay`; what is left
/// verifies as before. Without a checkpoint.
pub(super) fn alone(
    first: Seq,
    row: &[u8],
    stays: impl Fn(Seq) -> bool,
) -> Result<Vec<u8>, RowError> {
    let mut group = Group::decode(first, row)?;
    group.body.checkpoint = None;
    group.bare(|seq| !stays(seq))
}

/// The same group without the personal parts of those events that are to `go`; what is left verifies
/// as before.
pub(super) fn without(
    first: Seq,
    row: &[u8],
    goes: impl Fn(Seq) -> bool,
) -> Result<Vec<u8>, RowError> {
    Group::decode(first, row)?.bare(goes)
}

fn checksum(first: Seq, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.get().to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Why a row is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// The row was written by a newer version.
    #[error("it was written in format {0}, this program reads up to {ROW_VERSION}")]
    Newer(u8),
    /// The checksum matches and yet the row makes no sense: a fault of the program that wrote it.
    #[error("it does not decode: {0}")]
    Malformed(&'static str),
}

/// A row read back: every event with its digest and proof recomputed.
pub(crate) struct Group<'a> {
    first: Seq,
    body: GroupV1<'a>,
    clock: Stamp,
    signature: Signature,
    digests: Vec<Digest>,
    private: Vec<Digest>,
    tree: Tree,
}

impl<'a> Group<'a> {
    /// Decodes the row stored under `first`.
    pub(crate) fn decode(first: Seq, row: &'a [u8]) -> Result<Self, RowError> {
        let body = decode_body(first, row)?;
        if body.events.is_empty() || body.events.len() > MAX_GROUP_EVENTS {
            return Err(RowError::Malformed("a group holds 1 to 64 events"));
        }
        let wall = Timestamp::from_micros(body.wall_us)
            .map_err(|_| RowError::Malformed("the wall clock is out of range"))?;
        let clock = Stamp {
            wall,
            sync: body.sync,
            boot_id: Uuid::from_bytes(body.boot_id),
            boottime_us: body.boottime_us,
        };
        let signature = <[u8; 64]>::try_from(body.signature.0)
            .map(Signature)
            .map_err(|_| RowError::Malformed("a signature has 64 bytes"))?;
        let mut group = Self {
            first,
            clock,
            signature,
            digests: Vec::with_capacity(body.events.len()),
            private: Vec::with_capacity(body.events.len()),
            tree: Tree::new(&[Digest::ZERO]),
            body,
        };
        let mut scratch = Vec::with_capacity(MAX_STATEMENT_BYTES);
        for index in 0..group.body.events.len() {
            let private = match group.body.events[index].content {
                ContentV1::Erased { private_digest } => Digest(private_digest),
                ContentV1::Held { .. } => match group.private_part(index) {
                    Some(part) => part.digest(),
                    None => return Err(RowError::Malformed("no content")),
                },
            };
            group.private.push(private);
            let statement = group.statement(index)?;
            group.digests.push(statement.digest(&mut scratch));
        }
        group.tree = Tree::new(&group.digests);
        Ok(group)
    }

    /// The first event's seq.
    pub(crate) fn first(&self) -> Seq {
        self.first
    }

    /// The digest before the first event.
    pub(super) fn prev(&self) -> Digest {
        Digest(self.body.prev)
    }

    /// Those of its events that are erased, ascending.
    pub(super) fn erased(&self) -> impl Iterator<Item = Seq> {
        let events = (self.first.get()..).map(Seq::new).zip(&self.body.events);
        let is_erased = |event: &EventV1<'_>| matches!(event.content, ContentV1::Erased { .. });
        events.filter_map(move |(seq, event)| is_erased(event).then_some(seq))
    }

    /// What its events of the ledger of this type say.
    pub(super) fn told(&self, event_type: &str) -> impl Iterator<Item = &'a [u8]> {
        let events = self.body.events.iter();
        let told = events.filter(move |it| it.ledger && it.event_type == event_type);
        told.filter_map(|event| match event.content {
            ContentV1::Held { payload, .. } => Some(payload.0),
            ContentV1::Erased { .. } => None,
        })
    }

    /// Its row, without the personal parts of those events that are to `go`.
    fn bare(mut self, goes: impl Fn(Seq) -> bool) -> Result<Vec<u8>, RowError> {
        for (index, (event, digest)) in self.body.events.iter_mut().zip(&self.private).enumerate() {
            if goes(self.first.plus(index as u64)) {
                event.content = ContentV1::Erased {
                    private_digest: digest.0,
                };
            }
        }
        let mut row = Vec::new();
        encode(self.first, &self.body, &mut row)
            .map_err(|_| RowError::Malformed("it does not encode"))?;
        Ok(row)
    }

    /// The last event's seq.
    pub(crate) fn last(&self) -> Seq {
        self.first.plus(self.body.events.len() as u64 - 1)
    }

    /// The digest of the last event: `prev` of the next.
    pub(crate) fn head(&self) -> Digest {
        self.digests.last().copied().unwrap_or(Digest::ZERO)
    }

    /// The device that wrote the group.
    pub(crate) fn device(&self) -> &'a str {
        self.body.device
    }

    /// The group's epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(Uuid::from_bytes(self.body.epoch))
    }

    /// The key that signed the group.
    pub(crate) fn key_id(&self) -> KeyId {
        KeyId(self.body.key_id)
    }

    /// Root and signature, to be verified by whoever doubts them.
    pub(crate) fn seal(&self) -> (u8, Digest, Signature) {
        (self.size(), self.tree.root(), self.signature)
    }

    /// The checkpoint, present in the last group of a commit.
    pub(crate) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.body.checkpoint.as_ref()
    }

    /// The event with this seq, if the group holds it.
    pub(crate) fn record(&self, seq: Seq) -> Option<Record<'a>> {
        if seq < self.first || seq > self.last() {
            return None;
        }
        let index = usize::try_from(seq.since(self.first)).ok()?;
        let statement = self.statement(index).ok()?;
        let leaf = u8::try_from(index).ok()?;
        Some(Record {
            statement,
            digest: self.digests[index],
            private: self.private_part(index),
            signature: self.signature,
            leaf,
            size: self.size(),
            path: self.tree.path(leaf),
        })
    }

    fn size(&self) -> u8 {
        u8::try_from(self.body.events.len()).unwrap_or(u8::MAX)
    }

    fn private_part(&self, index: usize) -> Option<Private<'a>> {
        match self.body.events[index].content {
            ContentV1::Held {
                salt,
                aggregate_id,
                subject_id,
                payload,
            } => Some(Private {
                salt,
                aggregate_id: Uuid::from_bytes(aggregate_id),
                subject_id,
                payload: payload.0,
            }),
            ContentV1::Erased { .. } => None,
        }
    }

    /// The statement of the event at `index`; its private digest and those before it are known.
    fn statement(&self, index: usize) -> Result<Statement<'a>, RowError> {
        let event = self.body.events[index];
        let prev = match index.checked_sub(1) {
            Some(before) => self.digests[before],
            None => Digest(self.body.prev),
        };
        Ok(Statement {
            kind: if event.ledger {
                Kind::Ledger
            } else {
                Kind::Program
            },
            key_id: self.key_id(),
            device: self.body.device,
            epoch: self.epoch(),
            seq: self.first.plus(index as u64),
            id: Uuid::from_bytes(event.id),
            original_id: event.original_id,
            event_type: event.event_type,
            event_version: event.event_version,
            source: event.source,
            occurred_at: Timestamp::from_micros(event.occurred_at_us)
                .map_err(|_| RowError::Malformed("a time is out of range"))?,
            clock: self.clock,
            prev,
            private_digest: self.private[index],
        })
    }
}

/// Checks version and checksum and decodes, without recomputing any digest.
fn decode_body(first: Seq, row: &[u8]) -> Result<GroupV1<'_>, RowError> {
    let Some(split) = row.len().checked_sub(CRC_BYTES).filter(|&n| n > 0) else {
        return Err(RowError::Checksum);
    };
    let (covered, crc) = row.split_at(split);
    if checksum(first, covered).to_le_bytes() != *crc {
        return Err(RowError::Checksum);
    }
    if covered[0] != ROW_VERSION {
        return Err(RowError::Newer(covered[0]));
    }
    match postcard::take_from_bytes::<GroupV1<'_>>(&covered[1..]) {
        Ok((body, [])) => Ok(body),
        Ok(_) => Err(RowError::Malformed("bytes are left over")),
        Err(_) => Err(RowError::Malformed("not a group")),
    }
}

/// What a row says of itself before anything of it is checked.
pub(super) struct Outline {
    /// Its bytes.
    pub(super) length: usize,
    /// A seq not far below its own, where it carries a checkpoint.
    pub(super) near: Option<Seq>,
}

/// The outline of the row that begins with these bytes, if one does.
pub(super) fn outline(bytes: &[u8]) -> Option<Outline> {
    let (version, body) = bytes.split_first()?;
    if *version != ROW_VERSION {
        return None;
    }
    let (body, rest) = postcard::take_from_bytes::<GroupV1<'_>>(body).ok()?;
    let is_group = (1..=MAX_GROUP_EVENTS).contains(&body.events.len());
    let length = bytes.len() - rest.len() + CRC_BYTES;
    let is_whole = is_group && body.signature.0.len() == 64 && length <= bytes.len();
    is_whole.then(|| Outline {
        length,
        near: body.checkpoint.map(|checkpoint| checkpoint.ids_upto),
    })
}

/// The last event of the row, and the wall clock when its events were taken in, without recomputing
/// any digest.
pub(super) fn taken_in(first: Seq, row: &[u8]) -> Result<(Seq, Timestamp), RowError> {
    let body = decode_body(first, row)?;
    let wall = Timestamp::from_micros(body.wall_us)
        .map_err(|_| RowError::Malformed("the wall clock is out of range"))?;
    let last = first.plus(body.events.len() as u64).prev();
    Ok((last, wall))
}

/// The last event of the row, and the clocks when its events were taken in, without recomputing any
/// digest.
pub(super) fn taken_at(first: Seq, row: &[u8]) -> Result<(Seq, Stamp), RowError> {
    let body = decode_body(first, row)?;
    let wall = Timestamp::from_micros(body.wall_us)
        .map_err(|_| RowError::Malformed("the wall clock is out of range"))?;
    let stamp = Stamp {
        wall,
        sync: body.sync,
        boot_id: Uuid::from_bytes(body.boot_id),
        boottime_us: body.boottime_us,
    };
    Ok((first.plus(body.events.len() as u64).prev(), stamp))
}

/// The last event of the row, and whether any of its events is of the ledger, without recomputing
/// any digest.
pub(super) fn has_ledger(first: Seq, row: &[u8]) -> Result<(Seq, bool), RowError> {
    let body = decode_body(first, row)?;
    let last = first.plus(body.events.len() as u64).prev();
    Ok((last, body.events.iter().any(|event| event.ledger)))
}

/// How many events the row holds, and its ids, without recomputing any digest.
pub(super) fn ids_of(first: Seq, row: &[u8]) -> Result<Vec<Uuid>, RowError> {
    let body = decode_body(first, row)?;
    Ok(body
        .events
        .iter()
        .map(|event| Uuid::from_bytes(event.id))
        .collect())
}

/// How many events of the row up to this seq are the person's, without recomputing any digest.
pub(super) fn count_owned(
    first: Seq,
    row: &[u8],
    person: &Person,
    upto: Seq,
) -> Result<usize, RowError> {
    let body = decode_body(first, row)?;
    let upto = usize::try_from(upto.next().since(first)).unwrap_or(usize::MAX);
    let events = body.events.iter().take(upto);
    Ok(events.filter(|event| person.owns(event)).count())
}

/// Appends to `out` the row with what it holds of a person up to this seq erased: its events keep
/// their statements, and it its signature and checkpoint. Gives what is erased, ascending.
pub(super) fn erase(
    first: Seq,
    row: &[u8],
    person: &Person,
    upto: Seq,
    out: &mut Vec<u8>,
) -> Result<Vec<(Seq, Digest)>, RowError> {
    let mut group = Group::decode(first, row)?;
    let mut erased = Vec::new();
    for (index, event) in group.body.events.iter_mut().enumerate() {
        let seq = first.plus(index as u64);
        if seq <= upto && person.owns(event) {
            event.content = ContentV1::Erased {
                private_digest: group.private[index].0,
            };
            erased.push((seq, group.digests[index]));
        }
    }
    encode(first, &group.body, out).map_err(|_| RowError::Malformed("it does not encode"))?;
    Ok(erased)
}
