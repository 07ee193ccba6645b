//! What a recovery takes over of dead letters.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable, TableError, WriteTransaction};

use super::{
    super::{
        cursor::SinkName,
        error::{Fault, fault},
        row::Group,
    },
    NOTES,
    kept::{KeptRow, ROWS, change_row_bytes, last_of},
    letter::NoteV1,
};
use crate::seq::Seq;

/// What a recovery takes over beside the dead letters themselves.
#[derive(Default)]
pub(in crate::journal) struct Beside {
    notes: Vec<(SinkName, Seq, Box<str>)>,
    rows: Vec<KeptRow>,
}

impl Beside {
    /// Adds every note that is whole.
    pub(in crate::journal) fn read_notes(
        &mut self,
        transaction: &ReadTransaction,
    ) -> Result<(), Fault> {
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
    pub(in crate::journal) fn read_rows(
        &mut self,
        transaction: &ReadTransaction,
    ) -> Result<(), Fault> {
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
    pub(in crate::journal) fn retain_rows(&mut self, verifies: impl Fn(&Group<'_>) -> bool) {
        let is_whole =
            |(first, row): &KeptRow| Group::decode(*first, row).is_ok_and(|group| verifies(&group));
        self.rows.retain(is_whole);
    }

    /// Leaves out what belongs to none of these, and rows of what is held from `first_held` on.
    pub(in crate::journal) fn keep_of(
        &mut self,
        letters: &[(SinkName, Seq, String)],
        first_held: Seq,
    ) {
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
    pub(in crate::journal) fn row_bytes(&self) -> u64 {
        self.rows.iter().map(|(_, row)| row.len() as u64).sum()
    }

    /// Writes all of it.
    pub(in crate::journal) fn put(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
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
