//! What of a group is taken over, where rows of several times stand in the file.
//!
//! A row is written anew to erase somebody, and is copied in part to keep a dead letter of it. redb does
//! not clear what it frees, nor what a crash took back. So the row with least in it need not be the
//! last one, and the one with most in it may hold what was erased since. The ledger tells: it names
//! what was erased in the commit that erased it. Only where some of what came later is gone, and the
//! ledger's word perhaps with it, is an event taken for erased because one row has it so.

use std::{collections::BTreeSet, io};

use redb::StorageBackend;

use super::{found::Found, read_row};
use crate::{
    journal::row::{self, Group},
    seq::{Seq, SeqRange},
};

/// What was erased, as far as it is known.
pub(super) struct Taken {
    named: BTreeSet<Seq>,
    /// From here on nothing is missing that could name more; none where the end is.
    complete_from: Option<Seq>,
}

impl Taken {
    /// From all the groups that are taken, where these seqs are `missing` and perhaps what came after
    /// the end.
    pub(super) fn new(groups: &[&Found], missing: &[SeqRange], is_end: bool) -> Self {
        let named = groups.iter().flat_map(|group| group.erases.iter().copied());
        let last = missing.last().map_or(Seq::NONE, |range| range.last());
        Self {
            named: named.collect(),
            complete_from: is_end.then(|| last.next()),
        }
    }

    /// The row of the group, to be copied.
    ///
    /// # Errors
    /// What the medium says.
    pub(super) fn row<B: StorageBackend>(&self, bytes: &B, found: &Found) -> io::Result<Vec<u8>> {
        let row = read_row(bytes, found)?;
        let named = self.named.range(found.first..=found.last);
        let mut erased: BTreeSet<Seq> = named.copied().collect();
        let is_complete = self.complete_from.is_some_and(|from| from <= found.first);
        if let (false, Some(barest)) = (is_complete, found.barest) {
            let mut bare = vec![0; barest.length];
            bytes.read(barest.offset, &mut bare)?;
            if let Ok(group) = Group::decode(found.first, &bare) {
                erased.extend(group.erased());
            }
        }
        if erased.is_empty() {
            return Ok(row);
        }
        row::without(found.first, &row, |seq| erased.contains(&seq)).map_err(io::Error::other)
    }
}
