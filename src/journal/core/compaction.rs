//! Giving back to the disk what a backlog once took.
//!
//! redb's file does not shrink by itself where its last pages are in use. Compaction moves what is
//! held to its beginning, in commits without quick repair: a crash in between leaves the last of
//! them, and the next open has to walk what is held. So it is done only where little is held, and
//! ends with a commit after which opening is quick again.

use redb::ReadTransaction;

use super::{
    super::{
        error::{Fault, fault},
        storage::Storage,
        store::RESERVED_PREFIX,
    },
    Core,
};
use crate::{clock::Stamp, status::Erasing};

/// More is held than this: neither compaction nor a repair after a crash in it would be short.
const MOST_HELD_BYTES: u64 = 16 * 1024 * 1024;

/// Less than this is not worth a compaction, in bytes.
const LEAST_GAIN_BYTES: u64 = 8 * 1024 * 1024;

/// What events take in the file at most, beside themselves: half-filled pages, and tables.
const OVERHEAD_FACTOR: u64 = 2;

impl<S: Storage> Core<S> {
    /// Whether more than half of the file, and a good deal, is surely free, and little is held.
    /// After a compaction, only once the file has grown again. Not while pages are being written over
    /// for an erasure, which goes by which of them are free; one that waits for room may get it so.
    pub(in crate::journal) fn is_worth_compacting(&self) -> bool {
        if !matches!(self.erasing(), None | Some(Erasing::WaitingForRoom)) {
            return false;
        }
        let held = self.state.held_bytes;
        if held > MOST_HELD_BYTES {
            return false;
        }
        let file = self.store.file_bytes();
        let free = file.saturating_sub(held * OVERHEAD_FACTOR);
        free > file / 2
            && free > LEAST_GAIN_BYTES
            && file >= self.compacted_to.saturating_add(LEAST_GAIN_BYTES)
    }

    /// Whether anything is claimed for a sink that it has not answered yet; one that is carried by
    /// hand is left out.
    pub(in crate::journal) fn is_delivering(&self) -> bool {
        self.state.checkpoint.cursors.iter().any(|(name, cursor)| {
            let sink = self.sinks.get(name).filter(|it| !it.is_by_hand());
            let noted = sink.and_then(|sink| sink.progress);
            let acked = noted.map_or(cursor.acked, |progress| progress.acked.max(cursor.acked));
            sink.is_some() && acked < cursor.claimed
        })
    }

    /// Compacts the file, and makes it quick to open again. After an error nothing is known of it,
    /// and [`Self::reopen`] must follow; nothing is lost. Gives the bytes that the disk got back.
    pub(in crate::journal) fn compact(&mut self, stamp: Stamp) -> Result<u64, Fault> {
        let before = self.store.file_bytes();
        // Whatever comes of it, it is not tried again before the file has grown.
        self.compacted_to = before;
        if self.store.read(has_tables_of_a_program)? {
            // What they hold is not known, and moving it may take any time.
            return Ok(0);
        }
        self.store.compact()?;
        let staging = self.stage_cursors(stamp);
        let prev = self.state.head;
        self.write(staging, prev)?;
        let after = self.store.file_bytes();
        self.compacted_to = after;
        self.store.meter().compactions.add(1);
        Ok(before.saturating_sub(after))
    }
}

fn has_tables_of_a_program(transaction: &ReadTransaction) -> Result<bool, Fault> {
    use redb::{MultimapTableHandle as _, TableHandle as _};
    let is_ours = |name: &str| name.starts_with(RESERVED_PREFIX);
    let mut tables = transaction.list_tables().map_err(fault)?;
    let mut multimaps = transaction.list_multimap_tables().map_err(fault)?;
    Ok(tables.any(|table| !is_ours(table.name())) || multimaps.any(|table| !is_ours(table.name())))
}
