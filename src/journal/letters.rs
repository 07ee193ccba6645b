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

mod beside;
mod dead_letter;
mod kept;
mod letter;
mod remembered;

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

pub use self::dead_letter::{
    Chosen, Claim, DeadLetter, DeadLetterError, DeadLettersChanged, Retry, RetryState, Settled,
};
pub(super) use self::{
    beside::Beside,
    kept::{Kept, erase, keep, kept, max_row_bytes, row_with},
    letter::{Letter, LetterChange},
    remembered::Letters,
};
use self::{
    kept::{ROWS, change_row_bytes, last_of},
    letter::{NoteV1, RetryV1},
};
use super::{
    cursor::SinkName,
    erasure::write_over,
    error::{Fault, fault},
    ids::REMEMBERED_IDS,
    row,
    store::{DEAD_LETTERS, GROUPS},
};
use crate::{clock::Timestamp, seq::Seq};

/// Notes by sink and seq.
const NOTES: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("edge_outbox.dead_letter_notes");
/// Reason code by sink and seq of what was discarded: it was not delivered, whoever asks.
const DISCARDED: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("edge_outbox.dead_letters_discarded");

/// Dead letters that one sink has at most. Beyond, the oldest is discarded.
pub const MAX_DEAD_LETTERS: u64 = 4_096;

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
    // A recovery leaves seqs out between the groups, too.
    Ok(row_with(&groups, seq)?.is_some() || kept(transaction, seq)?.is_some())
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
