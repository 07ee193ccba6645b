//! Dead letters: what one sink rejected for good, what is known of it, and what is kept of it.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `edge_outbox.dead_letters` | sink, seq | reason code |
//! | `edge_outbox.dead_letter_notes` | sink, seq | note: since when, how often, whether to be sent again |
//! | `edge_outbox.dead_letters_discarded` | sink, seq | reason code, as long as ids are remembered |
//! | `edge_outbox.dead_letter_rows` | first seq of the group | the group's row, with these events alone in it |
//!
//! A dead letter holds up no trimming. What is trimmed and a dead letter still is kept apart: its
//! group's row, in which every other event has lost its personal part, so that it verifies and
//! nothing is kept that nobody asked for. These rows count to the quota, and have a share of it.
//!
//! ```text
//! note = base64(version u8 (1) ‖ postcard(Note) ‖ crc32 u32 little-endian over (sink ‖ seq u64 ‖ version ‖ postcard))
//! ```
//!
//! A dead letter without a note is of an earlier version of this program, and a note without a dead
//! letter is what such a version left when it forgot a sink: it says nothing.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    cursor::SinkName,
    erasure::write_over,
    error::{Fault, ReadError, fault},
    ids::REMEMBERED_IDS,
    row::{self, Group},
    store::{DEAD_LETTERS, GROUPS, META},
};
use crate::{
    clock::{ClockSync, Stamp, Timestamp},
    encoding::{base64_of, parse_base64_vec},
    envelope::{Digest, MAX_GROUP_EVENTS, Record},
    seq::{Incarnation, Position, Seq},
};

/// Notes by sink and seq.
const NOTES: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("edge_outbox.dead_letter_notes");
/// Reason code by sink and seq of what was discarded: it was not delivered, whoever asks.
const DISCARDED: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("edge_outbox.dead_letters_discarded");
/// Rows by the first seq of their group.
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("edge_outbox.dead_letter_rows");
/// Under which key of the meta table the bytes of all rows kept stand.
const ROW_BYTES_KEY: &str = "dead_letter_row_bytes";

/// Dead letters that one sink has at most. Beyond, the oldest is discarded.
pub const MAX_DEAD_LETTERS: u64 = 4_096;

/// Part of the quota that is kept of trimmed dead letters at most, and the bytes beyond which it
/// does not grow with the quota.
const ROWS_SHARE: u64 = 16;
const MAX_ROW_BYTES: u64 = 16 * 1024 * 1024;

/// Reason codes that are counted each by itself; those beyond are counted together.
const MAX_REASONS: usize = 32;
const OTHER_REASONS: &str = "other";

const NOTE_VERSION: u8 = 1;

/// From where on a dead letter that may have left again is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// No copy of it lies at or below this position.
    pub floor: Position,
    /// The container that `floor` belongs to.
    pub incarnation: Incarnation,
}

/// A dead letter that somebody wants sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Which.
    pub seq: Seq,
    /// Present from before it leaves: then it is in doubt.
    pub claim: Option<Claim>,
}

/// How the sending of a dead letter ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// The sink has it.
    Delivered,
    /// The sink rejected it again, with this code.
    Rejected(&'static str),
    /// The event is not held any more.
    Gone,
}

/// Which dead letters of a sink are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chosen {
    /// This one.
    One(Seq),
    /// All that there are.
    All,
}

/// What became of the dead letters that were chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettersChanged {
    /// The sink.
    pub sink: SinkName,
    /// How many are retried, or were discarded.
    pub dead_letters: u64,
    /// How many of all were left as they are: their events are not held any more and cannot be
    /// sent, or the sink is still busy with what lies around them.
    pub left_out: u64,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The sink that rejected it.
    pub sink: SinkName,
    /// Which event.
    pub seq: Seq,
    /// Why: the reason code of the last rejection.
    pub reason: String,
    /// How often it was rejected, as far as is known.
    pub rejections: u32,
    /// The wall clock when it was rejected first; absent where an earlier version noted none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// Whether that clock was set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since_sync: Option<ClockSync>,
    /// Whether its event is still held. Without it the dead letter can only be discarded.
    pub held: bool,
    /// Whether it is to be sent again.
    pub retry: RetryState,
}

/// Whether a dead letter is to be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryState {
    /// Nobody asked for it.
    None,
    /// It is, and has not left.
    Wanted,
    /// It may have left.
    InDoubt,
}

/// Why dead letters were not retried or discarded. Unless said otherwise all is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// No sink of this name has a place in the journal.
    #[error("no sink {0:?} has a place in the journal")]
    UnknownSink(SinkName),
    /// The sink did not reject this event, or it is a dead letter no longer.
    #[error("event {seq} is no dead letter of sink {sink:?}")]
    Unknown {
        /// The sink.
        sink: SinkName,
        /// Which event.
        seq: Seq,
    },
    /// The event is not held any more, so it cannot be sent.
    #[error("event {seq} is not held any more, so it cannot be sent again")]
    Gone {
        /// Which event.
        seq: Seq,
    },
    /// What came before it is not settled yet at the sink.
    #[error("sink {sink:?} is not done yet with what came before event {seq}")]
    Unsettled {
        /// The sink.
        sink: SinkName,
        /// Which event.
        seq: Seq,
    },
    /// The name is none.
    #[error(transparent)]
    Name(#[from] super::cursor::SinkNameError),
    /// A write failed: it may be done or not. It is safe to ask again.
    #[error("the write failed, so it may be done or not; it is safe to ask again")]
    OutcomeUnknown,
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

impl DeadLetterError {
    /// What to do about it, where there is something to say.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownSink(_) => Some("`edge-outbox sinks list` shows those that have one"),
            Self::Unknown { .. } => Some("`edge-outbox dead-letters list` shows those there are"),
            Self::Gone { .. } => {
                Some("`edge-outbox dead-letters discard` takes it off the list for good")
            }
            Self::Unsettled { .. } => Some("ask again once the sink has gone on"),
            Self::Name(_) | Self::OutcomeUnknown | Self::Journal(_) => None,
        }
    }
}

/// What is known of a dead letter beside its code. A released struct never changes: what comes
/// later goes under a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NoteV1 {
    /// The wall clock when it was rejected first, in microseconds since 1970, and whether it was
    /// set.
    since: Option<(i64, ClockSync)>,
    rejections: u32,
    retry: Option<RetryV1>,
}

/// That a dead letter is to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RetryV1 {
    claim: Option<Claim>,
}

impl NoteV1 {
    /// Of an event that is rejected now.
    fn at(stamp: Stamp) -> Self {
        Self {
            since: Some((stamp.wall.as_micros(), stamp.sync)),
            rejections: 1,
            retry: None,
        }
    }

    /// Of a dead letter that an earlier version made.
    const fn unknown() -> Self {
        Self {
            since: None,
            rejections: 1,
            retry: None,
        }
    }

    fn encode(&self, sink: &str, seq: u64) -> Result<String, Fault> {
        let mut bytes = postcard::to_extend(self, vec![NOTE_VERSION])
            .map_err(|error| Fault::Damaged(format!("a note does not encode: {error}")))?;
        let crc = checksum(sink, seq, &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(base64_of(&bytes))
    }

    /// `None` where it is damaged, or of a later version: then nothing is known, and nothing lost.
    fn decode(sink: &str, seq: u64, note: &str) -> Option<Self> {
        let bytes = parse_base64_vec(note.as_bytes())?;
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let (version, body) = covered.split_first()?;
        let is_whole = checksum(sink, seq, covered).to_le_bytes() == *crc;
        (is_whole && *version == NOTE_VERSION)
            .then(|| postcard::from_bytes(body).ok())
            .flatten()
    }
}

fn checksum(sink: &str, seq: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(sink.as_bytes());
    hasher.update(&seq.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// A dead letter as its two tables have it.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) code: Box<str>,
    note: NoteV1,
}

impl Letter {
    /// Of an event that is rejected now.
    pub(super) fn new(code: &str, stamp: Stamp) -> Self {
        Self {
            code: code.into(),
            note: NoteV1::at(stamp),
        }
    }

    /// As it is once it was rejected once more. Nobody wants it sent again any longer.
    pub(super) fn rejected_again(&self, code: &str) -> Self {
        Self {
            code: code.into(),
            note: NoteV1 {
                rejections: self.note.rejections.saturating_add(1),
                retry: None,
                ..self.note
            },
        }
    }

    /// As it is with this to be done.
    pub(super) fn with_retry(&self, retry: Option<Option<Claim>>) -> Self {
        Self {
            code: self.code.clone(),
            note: NoteV1 {
                retry: retry.map(|claim| RetryV1 { claim }),
                ..self.note
            },
        }
    }

    /// Whether somebody wants it sent again.
    pub(super) const fn is_wanted(&self) -> bool {
        self.note.retry.is_some()
    }
}

/// What a commit does to a dead letter.
#[derive(Clone, Debug)]
pub(super) struct LetterChange {
    pub(super) sink: SinkName,
    pub(super) seq: Seq,
    /// Absent where it is new.
    pub(super) before: Option<Letter>,
    /// Absent where it is one no longer.
    pub(super) after: Option<Letter>,
    /// Whether it is one no longer though the sink never took it.
    pub(super) is_discarded: bool,
}

/// What the write side remembers of the dead letters of every sink.
#[derive(Clone, Debug, Default)]
pub(super) struct Letters(BTreeMap<SinkName, OfSink>);

#[derive(Clone, Debug, Default)]
struct OfSink {
    /// How many there are by reason code.
    reasons: BTreeMap<Box<str>, u64>,
    retries: BTreeMap<Seq, Option<Claim>>,
    /// How many were discarded since the journal was opened.
    discarded: u64,
}

impl Letters {
    /// Reads what the last commit left.
    pub(super) fn load(transaction: &ReadTransaction) -> Result<Self, Fault> {
        let mut all = Self::default();
        let letters = match transaction.open_table(DEAD_LETTERS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(all),
            opened => opened.map_err(fault)?,
        };
        for entry in letters.iter().map_err(fault)? {
            let (key, code) = entry.map_err(fault)?;
            if let Ok(sink) = SinkName::new(key.value().0) {
                all.of(sink).count(code.value());
            }
        }
        let notes = match transaction.open_table(NOTES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(all),
            opened => opened.map_err(fault)?,
        };
        for entry in notes.iter().map_err(fault)? {
            let (key, note) = entry.map_err(fault)?;
            let (sink, seq) = key.value();
            let Some(retry) = NoteV1::decode(sink, seq, note.value()).and_then(|note| note.retry)
            else {
                continue;
            };
            let is_letter = letters.get((sink, seq)).map_err(fault)?.is_some();
            if let (true, Ok(sink)) = (is_letter, SinkName::new(sink)) {
                all.of(sink).retries.insert(Seq::new(seq), retry.claim);
            }
        }
        Ok(all)
    }

    /// Takes over what was committed.
    pub(super) fn adopt(&mut self, changes: Vec<LetterChange>, forgotten: Option<&SinkName>) {
        if let Some(name) = forgotten {
            self.0.remove(name);
        }
        for change in changes {
            let of_sink = self.of(change.sink);
            of_sink.discarded += u64::from(change.is_discarded);
            of_sink.retries.remove(&change.seq);
            if let Some(before) = change.before {
                of_sink.uncount(&before.code);
            }
            if let Some(after) = change.after {
                of_sink.count(&after.code);
                if let Some(retry) = after.note.retry {
                    of_sink.retries.insert(change.seq, retry.claim);
                }
            }
        }
    }

    /// What the sink is to be sent again next: what may have left before, then the oldest.
    pub(super) fn next_retry(&self, sink: &SinkName) -> Option<Retry> {
        let retries = &self.0.get(sink)?.retries;
        let claimed = retries.iter().find(|(_, claim)| claim.is_some());
        let (seq, claim) = claimed.or_else(|| retries.first_key_value())?;
        Some(Retry {
            seq: *seq,
            claim: *claim,
        })
    }

    /// How many dead letters the sink has, by reason code.
    pub(super) fn reasons(&self, sink: &SinkName) -> BTreeMap<String, u64> {
        let mut reasons = BTreeMap::new();
        for (code, count) in self.0.get(sink).iter().flat_map(|it| &it.reasons) {
            let code = match reasons.len() < MAX_REASONS {
                true => code,
                false => OTHER_REASONS,
            };
            *reasons.entry(code.to_owned()).or_default() += count;
        }
        reasons
    }

    /// How many dead letters of the sink were discarded since the journal was opened.
    pub(super) fn discarded(&self, sink: &SinkName) -> u64 {
        self.0.get(sink).map_or(0, |it| it.discarded)
    }

    /// The sinks that have, or had, dead letters.
    pub(super) fn sinks(&self) -> impl Iterator<Item = &SinkName> {
        self.0.keys()
    }

    fn of(&mut self, sink: SinkName) -> &mut OfSink {
        self.0.entry(sink).or_default()
    }
}

impl OfSink {
    fn count(&mut self, code: &str) {
        *self.reasons.entry(code.into()).or_default() += 1;
    }

    fn uncount(&mut self, code: &str) {
        if let Some(count) = self.reasons.get_mut(code) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.reasons.remove(code);
            }
        }
    }
}

/// The dead letter of this sink and seq.
pub(super) fn find(
    transaction: &ReadTransaction,
    sink: &SinkName,
    seq: Seq,
) -> Result<Option<Letter>, Fault> {
    let found = list(transaction, sink, seq, seq)?;
    Ok(found.into_values().next())
}

/// The dead letters of this sink.
pub(super) fn all(
    transaction: &ReadTransaction,
    sink: &SinkName,
) -> Result<BTreeMap<Seq, Letter>, Fault> {
    list(transaction, sink, Seq::NONE, Seq::new(u64::MAX))
}

fn list(
    transaction: &ReadTransaction,
    sink: &SinkName,
    first: Seq,
    last: Seq,
) -> Result<BTreeMap<Seq, Letter>, Fault> {
    let letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let notes = match transaction.open_table(NOTES) {
        Err(TableError::TableDoesNotExist(_)) => None,
        opened => Some(opened.map_err(fault)?),
    };
    let name = sink.as_str();
    let mut found = BTreeMap::new();
    let span = (name, first.get())..=(name, last.get());
    for entry in letters.range(span).map_err(fault)? {
        let (key, code) = entry.map_err(fault)?;
        let seq = key.value().1;
        let note = match &notes {
            Some(notes) => notes.get((name, seq)).map_err(fault)?,
            None => None,
        };
        let note = note.and_then(|note| NoteV1::decode(name, seq, note.value()));
        let letter = Letter {
            code: code.value().into(),
            note: note.unwrap_or(NoteV1::unknown()),
        };
        found.insert(Seq::new(seq), letter);
    }
    Ok(found)
}

/// The reason code of what is, or was until it was discarded, a dead letter of this sink.
pub(super) fn rejection(
    transaction: &ReadTransaction,
    sink: &SinkName,
    seq: Seq,
) -> Result<Option<String>, Fault> {
    let key = (sink.as_str(), seq.get());
    let letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    if let Some(code) = letters.get(key).map_err(fault)? {
        return Ok(Some(code.value().to_owned()));
    }
    let discarded = match transaction.open_table(DISCARDED) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        opened => opened.map_err(fault)?,
    };
    let code = discarded.get(key).map_err(fault)?;
    Ok(code.map(|code| code.value().to_owned()))
}

/// The dead letters of this sink, or of all, as they are shown.
pub(super) fn shown(
    transaction: &ReadTransaction,
    only: Option<&SinkName>,
) -> Result<Vec<DeadLetter>, Fault> {
    let sinks = match only {
        Some(sink) => BTreeSet::from([sink.clone()]),
        None => {
            let letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
            let mut sinks = BTreeSet::new();
            for entry in letters.iter().map_err(fault)? {
                sinks.extend(SinkName::new(entry.map_err(fault)?.0.value().0));
            }
            sinks
        }
    };
    let mut shown = Vec::new();
    for sink in sinks {
        for (seq, Letter { code, note }) in all(transaction, &sink)? {
            let since = note.since.and_then(|(wall, sync)| {
                let wall = Timestamp::from_micros(wall).ok()?;
                Some((wall, sync))
            });
            shown.push(DeadLetter {
                sink: sink.clone(),
                seq,
                reason: code.into(),
                rejections: note.rejections,
                since: since.map(|(wall, _)| wall),
                since_sync: since.map(|(_, sync)| sync),
                held: is_held(transaction, seq)?,
                retry: match note.retry {
                    None => RetryState::None,
                    Some(RetryV1 { claim: None }) => RetryState::Wanted,
                    Some(RetryV1 { claim: Some(_) }) => RetryState::InDoubt,
                },
            });
        }
    }
    Ok(shown)
}

/// Whether the event of a dead letter is held, in a row of the journal or in one kept apart.
pub(super) fn is_held(transaction: &ReadTransaction, seq: Seq) -> Result<bool, Fault> {
    let groups = transaction.open_table(GROUPS).map_err(fault)?;
    let first = groups.first().map_err(fault)?;
    if first.is_some_and(|(first, _)| first.value() <= seq.get()) {
        return Ok(true);
    }
    Ok(kept(transaction, seq)?.is_some())
}

/// The first seq of a row, and its bytes.
pub(super) type KeptRow = (Seq, Box<[u8]>);

/// The row that was kept apart for a dead letter, and the first seq of its group. Nothing where it is
/// damaged.
pub(super) fn kept(transaction: &ReadTransaction, seq: Seq) -> Result<Option<KeptRow>, Fault> {
    let rows = match transaction.open_table(ROWS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        opened => opened.map_err(fault)?,
    };
    row_with(&rows, seq)
}

/// The row that holds this seq, and its first. One that is damaged holds nothing: a dead letter that
/// cannot be read must not stop whatever is done with the others.
pub(super) fn row_with(
    rows: &impl ReadableTable<u64, &'static [u8]>,
    seq: Seq,
) -> Result<Option<KeptRow>, Fault> {
    let before = rows.range(..=seq.get()).map_err(fault)?.next_back();
    let Some((first, row)) = before.transpose().map_err(fault)? else {
        return Ok(None);
    };
    let (first, row) = (Seq::new(first.value()), row.value());
    match row::taken_in(first, row) {
        Ok((last, _)) => Ok((seq <= last).then(|| (first, row.into()))),
        Err(error) => {
            tracing::error!(seq = %first, %error, "a dead letter may be in a row that cannot be read");
            Ok(None)
        }
    }
}

/// The last seq of the row.
fn last_of(first: Seq, row: &[u8]) -> Result<Seq, Fault> {
    let taken_in = row::taken_in(first, row);
    let (last, _) = taken_in.map_err(|source| Fault::Row { seq: first, source })?;
    Ok(last)
}

/// The bytes that may be kept of trimmed dead letters under this quota.
pub(super) fn max_row_bytes(quota_bytes: u64) -> u64 {
    (quota_bytes / ROWS_SHARE).min(MAX_ROW_BYTES)
}

/// Writes the changes, and lets go of the rows of what is a dead letter no longer. Gives their
/// bytes.
pub(super) fn put(
    transaction: &WriteTransaction,
    changes: &[LetterChange],
    forgotten: Option<&SinkName>,
    tail: Seq,
) -> Result<u64, Fault> {
    if changes.is_empty() && forgotten.is_none() {
        return Ok(0);
    }
    let mut letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let mut notes = transaction.open_table(NOTES).map_err(fault)?;
    let mut discarded = transaction.open_table(DISCARDED).map_err(fault)?;
    let mut released = BTreeSet::new();
    if let Some(name) = forgotten {
        let span = (name.as_str(), u64::MIN)..=(name.as_str(), u64::MAX);
        for entry in letters.range(span.clone()).map_err(fault)? {
            released.insert(entry.map_err(fault)?.0.value().1);
        }
        letters
            .retain_in(span.clone(), |_, _| false)
            .map_err(fault)?;
        notes.retain_in(span.clone(), |_, _| false).map_err(fault)?;
        discarded.retain_in(span, |_, _| false).map_err(fault)?;
    }
    for change in changes {
        let (name, seq) = (change.sink.as_str(), change.seq.get());
        match &change.after {
            Some(letter) => {
                let note = letter.note.encode(name, seq)?;
                letters.insert((name, seq), &*letter.code).map_err(fault)?;
                notes.insert((name, seq), note.as_str()).map_err(fault)?;
            }
            None => {
                letters.remove((name, seq)).map_err(fault)?;
                notes.remove((name, seq)).map_err(fault)?;
                released.insert(seq);
                if let (true, Some(letter)) = (change.is_discarded, &change.before) {
                    bury(&mut discarded, name, seq, &letter.code, tail)?;
                }
            }
        }
    }
    if released.is_empty() {
        return Ok(0);
    }
    let held: BTreeSet<u64> = letters
        .iter()
        .map_err(fault)?
        .map(|entry| entry.map(|(key, _)| key.value().1).map_err(fault))
        .collect::<Result<_, Fault>>()?;
    let mut rows = transaction.open_table(ROWS).map_err(fault)?;
    let mut freed = 0;
    for seq in released.into_iter().rev().filter(|seq| !held.contains(seq)) {
        let Some((first, row)) = row_with(&rows, Seq::new(seq))? else {
            continue;
        };
        freed += row.len() as u64;
        let group = first.get()..=last_of(first, &row)?.get();
        if held.range(group).next().is_none() {
            write_over(&mut rows, first, row.len(), None)?;
            continue;
        }
        let rest = row::alone(first, &row, |seq| held.contains(&seq.get()))
            .map_err(|source| Fault::Row { seq: first, source })?;
        write_over(&mut rows, first, row.len(), Some(&rest))?;
        freed -= rest.len() as u64;
    }
    change_row_bytes(transaction, 0, freed)?;
    Ok(freed)
}

/// Remembers what was discarded, and forgets what nobody can ask for any more.
fn bury(
    discarded: &mut Table<'_, (&'static str, u64), &'static str>,
    name: &str,
    seq: u64,
    code: &str,
    tail: Seq,
) -> Result<(), Fault> {
    discarded.insert((name, seq), code).map_err(fault)?;
    let forgotten = tail.get().saturating_sub(REMEMBERED_IDS as u64);
    discarded
        .retain_in((name, u64::MIN)..(name, forgotten), |_, _| false)
        .map_err(fault)
}

/// What keeping rows did to the journal.
#[derive(Default)]
pub(super) struct Kept {
    /// Bytes that were added.
    pub(super) added: u64,
    /// Bytes that were given up for them.
    pub(super) freed: u64,
    /// Dead letters that there is no room for any more, already taken off the tables.
    pub(super) given_up: Vec<LetterChange>,
}

/// Keeps apart what is about to be trimmed and is a dead letter: everything in
/// `first_held..keep_from`. Beyond `max_bytes` the oldest are given up.
pub(super) fn keep(
    transaction: &WriteTransaction,
    groups: &Table<'_, u64, &'static [u8]>,
    first_held: Seq,
    keep_from: Seq,
    tail: Seq,
    max_bytes: u64,
) -> Result<Kept, Fault> {
    let mut kept = Kept::default();
    let mut letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let mut wanted = BTreeSet::new();
    for entry in letters.iter().map_err(fault)? {
        let seq = Seq::new(entry.map_err(fault)?.0.value().1);
        if seq >= first_held && seq < keep_from {
            wanted.insert(seq);
        }
    }
    if wanted.is_empty() {
        return Ok(kept);
    }
    let mut rows = transaction.open_table(ROWS).map_err(fault)?;
    let mut done = None;
    for seq in &wanted {
        let found = groups.range(..=seq.get()).map_err(fault)?.next_back();
        let Some((key, row)) = found.transpose().map_err(fault)? else {
            continue;
        };
        let first = Seq::new(key.value());
        if done.replace(first) == Some(first) {
            continue;
        }
        // Trimming must not end at a row that is damaged.
        let alone = match row::alone(first, row.value(), |seq| wanted.contains(&seq)) {
            Ok(alone) => alone,
            Err(error) => {
                tracing::warn!(%seq, %error, "a dead letter could not be kept");
                continue;
            }
        };
        let before = rows.insert(first.get(), alone.as_slice()).map_err(fault)?;
        kept.freed += before.map_or(0, |row| row.value().len() as u64);
        kept.added += alone.len() as u64;
    }
    let total = row_bytes(transaction)? + kept.added - kept.freed;
    let given_up = oldest_rows(&rows, total.saturating_sub(max_bytes), keep_from)?;
    for (first, _, length) in given_up.iter().rev() {
        write_over(&mut rows, *first, *length, None)?;
        kept.freed += *length as u64;
    }
    if !given_up.is_empty() {
        let mut notes = transaction.open_table(NOTES).map_err(fault)?;
        let mut discarded = transaction.open_table(DISCARDED).map_err(fault)?;
        let taken = letters
            .extract_if(|(_, seq), _| {
                let mut groups = given_up.iter();
                groups.any(|(first, last, _)| (first.get()..=last.get()).contains(&seq))
            })
            .map_err(fault)?;
        for entry in taken {
            let (key, code) = entry.map_err(fault)?;
            let (name, seq) = key.value();
            notes.remove((name, seq)).map_err(fault)?;
            bury(&mut discarded, name, seq, code.value(), tail)?;
            let Ok(sink) = SinkName::new(name) else {
                continue;
            };
            kept.given_up.push(LetterChange {
                sink,
                seq: Seq::new(seq),
                before: Some(Letter {
                    code: code.value().into(),
                    note: NoteV1::unknown(),
                }),
                after: None,
                is_discarded: true,
            });
        }
    }
    change_row_bytes(transaction, kept.added, kept.freed)?;
    Ok(kept)
}

/// The oldest rows that take so many bytes together: the first and the last seq of each, and its length.
fn oldest_rows(
    rows: &impl ReadableTable<u64, &'static [u8]>,
    bytes: u64,
    keep_from: Seq,
) -> Result<Vec<(Seq, Seq, usize)>, Fault> {
    let mut oldest: Vec<(Seq, Seq, usize)> = Vec::new();
    let mut found = 0;
    let mut entries = rows.iter().map_err(fault)?.peekable();
    while found < bytes
        && let Some(entry) = entries.next()
    {
        let (key, row) = entry.map_err(fault)?;
        let (first, row) = (Seq::new(key.value()), row.value());
        let last = match row::taken_in(first, row) {
            Ok((last, _)) => last,
            // How many events it had is not known, but where the next ones are.
            Err(_) => {
                let most = first.plus(MAX_GROUP_EVENTS as u64).min(keep_from);
                let next = entries.peek().and_then(|next| next.as_ref().ok());
                let next = next.map_or(most, |(key, _)| most.min(Seq::new(key.value())));
                next.prev()
            }
        };
        oldest.push((first, last, row.len()));
        found += row.len() as u64;
    }
    Ok(oldest)
}

/// Erases the personal part of every event that is kept for a dead letter and `is_wanted`, and
/// gives which they were and by how many bytes the rows have shrunk. The row still verifies; one that
/// is damaged cannot be searched or sent, and goes. In the groups of the journal a dead letter is an
/// event like every other, and erased there.
pub(super) fn erase(
    transaction: &WriteTransaction,
    mut is_wanted: impl FnMut(&Record<'_>) -> bool,
) -> Result<(Vec<(Seq, Digest)>, u64), Fault> {
    let mut rows = transaction.open_table(ROWS).map_err(fault)?;
    let mut erased = Vec::new();
    let mut changed = Vec::new();
    for entry in rows.iter().map_err(fault)? {
        let (key, row) = entry.map_err(fault)?;
        let (first, row) = (Seq::new(key.value()), row.value());
        let in_row = |source| Fault::Row { seq: first, source };
        let group = match Group::decode(first, row) {
            Ok(group) => group,
            Err(error) => {
                tracing::error!(seq = %first, %error, "what was kept of a dead letter cannot be read, and goes");
                changed.push((first, None, row.len()));
                continue;
            }
        };
        let mut going = BTreeSet::new();
        for seq in (first.get()..=group.last().get()).map(Seq::new) {
            let record = group.record(seq).filter(|it| it.private.is_some());
            if let Some(record) = record.filter(|it| is_wanted(it)) {
                going.insert(seq);
                erased.push((seq, record.digest));
            }
        }
        if !going.is_empty() {
            let bare = row::alone(first, row, |seq| !going.contains(&seq)).map_err(in_row)?;
            changed.push((first, Some(bare), row.len()));
        }
    }
    let mut shrunk = 0;
    for (first, row, before) in changed.into_iter().rev() {
        let length = row.as_ref().map_or(0, Vec::len);
        write_over(&mut rows, first, before, row.as_deref())?;
        shrunk += before.saturating_sub(length) as u64;
    }
    change_row_bytes(transaction, 0, shrunk)?;
    Ok((erased, shrunk))
}

/// What a recovery takes over beside the dead letters themselves.
#[derive(Default)]
pub(super) struct Beside {
    notes: Vec<(SinkName, Seq, Box<str>)>,
    rows: Vec<KeptRow>,
}

impl Beside {
    /// Adds every note that is whole.
    pub(super) fn read_notes(&mut self, transaction: &ReadTransaction) -> Result<(), Fault> {
        let notes = match transaction.open_table(NOTES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            opened => opened.map_err(fault)?,
        };
        for entry in notes.iter().map_err(fault)? {
            let (key, note) = entry.map_err(fault)?;
            let (sink, seq) = key.value();
            if let (Some(_), Ok(name)) =
                (NoteV1::decode(sink, seq, note.value()), SinkName::new(sink))
            {
                self.notes.push((name, Seq::new(seq), note.value().into()));
            }
        }
        Ok(())
    }

    /// Adds every row that was kept.
    pub(super) fn read_rows(&mut self, transaction: &ReadTransaction) -> Result<(), Fault> {
        let rows = match transaction.open_table(ROWS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            opened => opened.map_err(fault)?,
        };
        for entry in rows.iter().map_err(fault)? {
            let (first, row) = entry.map_err(fault)?;
            self.rows
                .push((Seq::new(first.value()), row.value().into()));
        }
        Ok(())
    }

    /// Leaves out the rows that do not verify.
    pub(super) fn retain_rows(&mut self, verifies: impl Fn(&Group<'_>) -> bool) {
        let is_whole =
            |(first, row): &KeptRow| Group::decode(*first, row).is_ok_and(|group| verifies(&group));
        self.rows.retain(is_whole);
    }

    /// Leaves out what belongs to none of these, and rows of what is held from `first_held` on.
    pub(super) fn keep_of(&mut self, letters: &[(SinkName, Seq, String)], first_held: Seq) {
        let keys: BTreeSet<(&SinkName, Seq)> =
            letters.iter().map(|(sink, seq, _)| (sink, *seq)).collect();
        self.notes
            .retain(|(sink, seq, _)| keys.contains(&(sink, *seq)));
        let seqs: BTreeSet<Seq> = keys.into_iter().map(|(_, seq)| seq).collect();
        self.rows.retain(|(first, row)| {
            let last = last_of(*first, row).unwrap_or(Seq::NONE);
            last < first_held && *first <= last && seqs.range(*first..=last).next().is_some()
        });
    }

    /// The bytes of the rows.
    pub(super) fn row_bytes(&self) -> u64 {
        self.rows.iter().map(|(_, row)| row.len() as u64).sum()
    }

    /// Writes all of it.
    pub(super) fn put(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        if !self.notes.is_empty() {
            let mut notes = transaction.open_table(NOTES).map_err(fault)?;
            for (sink, seq, note) in &self.notes {
                let key = (sink.as_str(), seq.get());
                notes.insert(key, &**note).map_err(fault)?;
            }
        }
        if !self.rows.is_empty() {
            let mut rows = transaction.open_table(ROWS).map_err(fault)?;
            for (first, row) in &self.rows {
                rows.insert(first.get(), &**row).map_err(fault)?;
            }
        }
        change_row_bytes(transaction, self.row_bytes(), 0)
    }
}

fn row_bytes(transaction: &WriteTransaction) -> Result<u64, Fault> {
    let meta = transaction.open_table(META).map_err(fault)?;
    let bytes = meta.get(ROW_BYTES_KEY).map_err(fault)?;
    Ok(bytes.map_or(0, |bytes| bytes.value()))
}

fn change_row_bytes(transaction: &WriteTransaction, added: u64, freed: u64) -> Result<(), Fault> {
    if added == 0 && freed == 0 {
        return Ok(());
    }
    let bytes = row_bytes(transaction)? + added;
    let mut meta = transaction.open_table(META).map_err(fault)?;
    meta.insert(ROW_BYTES_KEY, bytes.saturating_sub(freed))
        .map_err(fault)?;
    Ok(())
}
