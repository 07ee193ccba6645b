//! The rows that are kept apart of what was trimmed and is a dead letter.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

use super::{
    super::{
        cursor::SinkName,
        erasure::write_over,
        error::{Fault, fault},
        row::{self, Group},
        store::{DEAD_LETTERS, META},
    },
    DISCARDED, NOTES, bury,
    letter::{Letter, LetterChange, NoteV1},
};
use crate::{
    envelope::{Digest, MAX_GROUP_EVENTS, Record},
    seq::Seq,
};

/// Rows by the first seq of their group.
pub(super) const ROWS: TableDefinition<'_, u64, &[u8]> =
    TableDefinition::new("edge_outbox.dead_letter_rows");
/// Under which key of the meta table the bytes of all rows kept stand.
const ROW_BYTES_KEY: &str = "dead_letter_row_bytes";

/// Part of the quota that is kept of trimmed dead letters at most, and the bytes beyond which it
/// does not grow with the quota.
const ROWS_SHARE: u64 = 16;
const MAX_ROW_BYTES: u64 = 16 * 1024 * 1024;

/// The first seq of a row, and its bytes.
pub(in crate::journal) type KeptRow = (Seq, Box<[u8]>);

/// The row that was kept apart for a dead letter, and the first seq of its group. Nothing where it is
/// damaged.
pub(in crate::journal) fn kept(
    transaction: &ReadTransaction,
    seq: Seq,
) -> Result<Option<KeptRow>, Fault> {
    let rows = match transaction.open_table(ROWS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        opened => opened.map_err(fault)?,
    };
    row_with(&rows, seq)
}

/// The row that holds this seq, and its first. One that is damaged holds nothing: a dead letter that
/// cannot be read must not stop whatever is done with the others.
pub(in crate::journal) fn row_with(
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
pub(super) fn last_of(first: Seq, row: &[u8]) -> Result<Seq, Fault> {
    let taken_in = row::taken_in(first, row);
    let (last, _) = taken_in.map_err(|source| Fault::Row { seq: first, source })?;
    Ok(last)
}

/// The bytes that may be kept of trimmed dead letters under this quota.
pub(in crate::journal) fn max_row_bytes(quota_bytes: u64) -> u64 {
    (quota_bytes / ROWS_SHARE).min(MAX_ROW_BYTES)
}

/// What keeping rows did to the journal.
#[derive(Default)]
pub(in crate::journal) struct Kept {
    /// Bytes that were added.
    pub(in crate::journal) added: u64,
    /// Bytes that were given up for them.
    pub(in crate::journal) freed: u64,
    /// Dead letters that there is no room for any more, already taken off the tables.
    pub(in crate::journal) given_up: Vec<LetterChange>,
}

/// Keeps apart what is about to be trimmed and is a dead letter: everything in
/// `first_held..keep_from`. Beyond `max_bytes` the oldest are given up.
pub(in crate::journal) fn keep(
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
pub(in crate::journal) fn erase(
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

fn row_bytes(transaction: &WriteTransaction) -> Result<u64, Fault> {
    let meta = transaction.open_table(META).map_err(fault)?;
    let bytes = meta.get(ROW_BYTES_KEY).map_err(fault)?;
    Ok(bytes.map_or(0, |bytes| bytes.value()))
}

pub(super) fn change_row_bytes(
    transaction: &WriteTransaction,
    added: u64,
    freed: u64,
) -> Result<(), Fault> {
    if added == 0 && freed == 0 {
        return Ok(());
    }
    let bytes = row_bytes(transaction)? + added;
    let mut meta = transaction.open_table(META).map_err(fault)?;
    meta.insert(ROW_BYTES_KEY, bytes.saturating_sub(freed))
        .map_err(fault)?;
    Ok(())
}
