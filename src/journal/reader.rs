//! Reading the journal: short reads that copy rows out, decoded outside the transaction.

use redb::ReadTransaction;

use super::{
    cursor::SinkName,
    error::{Fault, ReadError, fault},
    holes,
    letters::{self, DeadLetter},
    row::{self, Group},
    store::{DEAD_LETTERS, GROUPS, Store},
};
use crate::{
    envelope::Record,
    seq::{Seq, SeqRange},
};

/// Calls `look` with the event of this seq; `None` where it is not held.
pub(super) fn with_record<T>(
    transaction: &ReadTransaction,
    seq: Seq,
    look: impl FnOnce(&Record<'_>) -> T,
) -> Result<Option<T>, Fault> {
    let groups = transaction.open_table(GROUPS).map_err(fault)?;
    let mut range = groups.range(..=seq.get()).map_err(fault)?;
    let Some(entry) = range.next_back() else {
        return Ok(None);
    };
    let (key, value) = entry.map_err(fault)?;
    let first = Seq::new(key.value());
    let group =
        Group::decode(first, value.value()).map_err(|source| Fault::Row { seq: first, source })?;
    Ok(group.record(seq).map(|record| look(&record)))
}

/// A cheap clone that reads.
#[derive(Clone)]
pub(crate) struct Reader {
    store: Store,
}

impl Reader {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Events from `from` on, without a hole, until one of the limits is passed; at least one
    /// where there is one. Begins later than `from` where that was trimmed.
    pub(crate) fn batch(
        &self,
        from: Seq,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Batch, ReadError> {
        let rows = self.store.read(|transaction| {
            let groups = transaction.open_table(GROUPS).map_err(fault)?;
            let start = groups
                .range(..=from.get())
                .map_err(fault)?
                .next_back()
                .transpose()
                .map_err(fault)?
                .map_or(from.get(), |(key, _)| key.value());
            let mut rows: Vec<Row> = Vec::new();
            let mut bytes = 0;
            for entry in groups.range(start..).map_err(fault)? {
                let (key, value) = entry.map_err(fault)?;
                let first = Seq::new(key.value());
                let value = value.value();
                let full = first.since(from) as usize >= max_events || bytes >= max_bytes;
                if full && !rows.is_empty() {
                    if rows.last().is_some_and(|row| row.reaches(from)) {
                        break;
                    }
                    // Seqs that a recovery left out, or lost: what lies before them is not asked for.
                    rows.clear();
                    bytes = 0;
                }
                bytes += value.len();
                rows.push(Row {
                    first,
                    bytes: value.into(),
                });
            }
            Ok(rows)
        })?;
        Ok(Batch {
            from,
            rows,
            max_events,
            store: Some(self.store.clone()),
        })
    }

    /// Calls `look` with the event of this seq; `None` where it is not held.
    pub(crate) fn record<T>(
        &self,
        seq: Seq,
        look: impl FnOnce(&Record<'_>) -> T,
    ) -> Result<Option<T>, ReadError> {
        Ok(self
            .store
            .read(|transaction| with_record(transaction, seq, look))?)
    }

    /// The seqs in the range that are dead letters of this sink, ascending.
    pub(crate) fn rejected(&self, sink: &SinkName, range: SeqRange) -> Result<Vec<Seq>, ReadError> {
        Ok(self.store.read(|transaction| {
            let table = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
            let span = (sink.as_str(), range.first().get())..=(sink.as_str(), range.last().get());
            table
                .range(span)
                .map_err(fault)?
                .map(|entry| entry.map(|(key, _)| Seq::new(key.value().1)).map_err(fault))
                .collect()
        })?)
    }

    /// The reason code, where this event is a dead letter of this sink, or was until it was
    /// discarded.
    pub(crate) fn rejection(&self, sink: &SinkName, seq: Seq) -> Result<Option<String>, ReadError> {
        Ok(self
            .store
            .read(|transaction| letters::rejection(transaction, sink, seq))?)
    }

    /// The dead letters of this sink, or of all.
    pub(crate) fn dead_letters(
        &self,
        only: Option<&SinkName>,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        Ok(self
            .store
            .read(|transaction| letters::shown(transaction, only))?)
    }

    /// The event of a dead letter, from the groups or from what was kept apart; nothing where it
    /// is not held any more, or its row is damaged.
    pub(crate) fn dead_letter(&self, seq: Seq) -> Result<Batch, ReadError> {
        let row = self.store.read(|transaction| {
            let groups = transaction.open_table(GROUPS).map_err(fault)?;
            match letters::row_with(&groups, seq)? {
                Some(row) => Ok(Some(row)),
                None => letters::kept(transaction, seq),
            }
        })?;
        let row = row.map(|(first, bytes)| Row { first, bytes });
        Ok(Batch {
            from: seq,
            rows: row.into_iter().collect(),
            max_events: 1,
            store: None,
        })
    }

    /// A read of the program's own tables.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

struct Row {
    first: Seq,
    bytes: Box<[u8]>,
}

impl Row {
    /// Whether it holds the event with this seq, or a later one. One that does not decode is for
    /// whoever reads it to find out.
    fn reaches(&self, seq: Seq) -> bool {
        self.first >= seq || row::taken_in(self.first, &self.bytes).map_or(true, |it| it.0 >= seq)
    }
}

/// Events read from the journal, as they were stored.
pub struct Batch {
    from: Seq,
    rows: Vec<Row>,
    max_events: usize,
    /// Who knows whether it is as it should be that something is missing; none where it is.
    store: Option<Store>,
}

impl Batch {
    /// The events, ascending, and all that are held. Digests and proofs are recomputed on the way; a
    /// row that does not match its checksum ends the run with an error, and so does one that is in
    /// the wrong place.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, ReadError>> {
        let mut before = None;
        self.rows
            .iter()
            .flat_map(move |row| match self.in_its_place(row, &mut before) {
                Ok(group) => Records::Group {
                    next: group.first().max(self.from),
                    group,
                },
                Err(error) => Records::Failed(Some(error)),
            })
            .take(self.max_events)
    }

    /// The row, where it follows the row before it, which ends with `before`.
    fn in_its_place<'a>(
        &self,
        row: &'a Row,
        before: &mut Option<Seq>,
    ) -> Result<Group<'a>, ReadError> {
        let damaged = |what: String| ReadError::Damaged {
            seq: row.first,
            what,
        };
        let group =
            Group::decode(row.first, &row.bytes).map_err(|source| damaged(source.to_string()))?;
        if before.is_some_and(|before| row.first <= before) {
            return Err(damaged("it is not where it belongs".into()));
        }
        let expected = before.map_or(self.from, |before| self.from.max(before.next()));
        if let Some(missing) = SeqRange::new(expected, row.first.prev())
            && let Some(store) = &self.store
        {
            holes::confirm(store, missing)?;
        }
        *before = Some(group.last());
        Ok(group)
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "one exists at a time; a box would cost an allocation a group"
)]
enum Records<'a> {
    Group { group: Group<'a>, next: Seq },
    Failed(Option<ReadError>),
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Group { group, next } => {
                let record = group.record(*next)?;
                *next = next.next();
                Some(Ok(record))
            }
            Self::Failed(error) => error.take().map(Err),
        }
    }
}
