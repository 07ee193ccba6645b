//! Seqs below the tail of which nothing is held, and whether that is so.
//!
//! A recovery leaves holes, and whoever reads passes over them. But redb does not check its pages as
//! it reads: where a page over the rows is damaged, rows are looked for in the wrong place, and what
//! is there would be passed over, too. So the first time that something seems to be missing, all rows
//! are walked through, in the order in which they stand and not by way of what is above them, and
//! counted. That takes as long as reading the journal, once in a process, and only in a journal that
//! was recovered before, or where somebody asks for what was trimmed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{ReadableTable, ReadableTableMetadata};

use super::{
    error::{Fault, fault},
    row,
    store::{GROUPS, Store},
};
use crate::seq::{Seq, SeqRange};

/// The holes that were found; none as long as nobody has looked.
#[derive(Debug, Default)]
pub(super) struct Holes(Mutex<Option<Vec<SeqRange>>>);

impl Holes {
    fn known(&self) -> MutexGuard<'_, Option<Vec<SeqRange>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, missing: SeqRange) -> bool {
        let holds =
            |hole: &SeqRange| hole.first() <= missing.first() && missing.last() <= hole.last();
        self.known().iter().flatten().any(holds)
    }
}

/// Finds out whether really none of these is held.
///
/// # Errors
/// One is, or the rows make no sense; or they cannot be read.
pub(super) fn confirm(store: &Store, missing: SeqRange) -> Result<(), Fault> {
    if store.holes().hold(missing) {
        return Ok(());
    }
    let found = store.read(|transaction| {
        let groups = transaction.open_table(GROUPS).map_err(fault)?;
        let first = groups.first().map_err(fault)?;
        let (Some((first, _)), false) = (first, groups.is_empty().map_err(fault)?) else {
            return Ok(None);
        };
        if missing.last().get() < first.value() && store.holes().known().is_some() {
            // The first row was the first one, and what comes before it was trimmed since.
            return Ok(None);
        }
        let mut holes = Vec::new();
        let (mut next, mut count) = (Seq::FIRST, 0);
        for entry in groups.iter().map_err(fault)? {
            let (key, value) = entry.map_err(fault)?;
            let first = Seq::new(key.value());
            if first < next {
                return Err(Fault::Damaged("its groups are out of order".into()));
            }
            holes.extend(SeqRange::new(next, first.prev()));
            count += 1;
            // Of a row that is damaged nobody says here what is in it.
            let last = row::taken_in(first, value.value()).map_or(first, |(last, _)| last);
            next = last.next();
        }
        match count == groups.len().map_err(fault)? {
            true => Ok(Some(holes)),
            false => Err(Fault::Damaged("it does not find all its groups".into())),
        }
    })?;
    let Some(found) = found else { return Ok(()) };
    *store.holes().known() = Some(found);
    match store.holes().hold(missing) {
        true => Ok(()),
        false => Err(Fault::Damaged(format!(
            "it does not find seq {}, which it holds",
            missing.first()
        ))),
    }
}
