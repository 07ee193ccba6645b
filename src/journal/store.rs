//! The one place that holds redb's `Database`.
//!
//! Neither it nor a transaction of it ever leaves this module's callers: everybody else gets
//! short reads. That is what makes closing, reopening and compacting possible at any time.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, atomic::Ordering},
    time::Instant,
};

use redb::{
    CompactionError, Database, Durability, ReadTransaction, ReadableDatabase, StorageBackend,
    TableDefinition, WriteTransaction,
};

pub(super) use super::guard::guarded;
use super::{
    error::{Fault, fault},
    guard::guarded_in,
    held::{Release, hold},
    holes::Holes,
    pages::Pages,
    storage::{Growth, Metered, Unreadable},
};
use crate::meter::Meter;

/// Every table of ours begins with this; a program's own tables must not.
pub(crate) const RESERVED_PREFIX: &str = "edge_outbox.";

// Keys and values of all tables are of few types: for each pair of them redb's trees are compiled anew,
// which is some 20 KB of program.

/// Groups by their first seq. See [`super::row`].
pub(super) const GROUPS: TableDefinition<'_, u64, &[u8]> =
    TableDefinition::new("edge_outbox.groups");
/// One row, the checkpoint of the last commit that appended nothing.
pub(super) const CHECKPOINT: TableDefinition<'_, (), &[u8]> =
    TableDefinition::new("edge_outbox.checkpoint");
/// Ids of events, 1,024 to a row. See [`super::ids`].
pub(super) const IDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("edge_outbox.ids");
/// Reason code by sink and seq.
pub(super) const DEAD_LETTERS: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("edge_outbox.dead_letters");
/// The version of the format, under `format`, and other numbers once there are any.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("edge_outbox.meta");

/// A cheap clone of the way to the database.
#[derive(Clone)]
pub(crate) struct Store {
    slot: Arc<RwLock<Option<Database>>>,
    /// The first read that the disk failed, since the database was opened. redb reads nothing from the
    /// disk after it.
    failed_read: Arc<Mutex<Option<io::Error>>>,
    meter: Arc<Meter>,
    growth: Growth,
    holes: Arc<Holes>,
    cache_bytes: usize,
    /// Where the journal lies, if it lies in a directory.
    dir: Option<Arc<Path>>,
}

impl Store {
    /// Holds nothing yet. `dir` is where the journal lies, if it lies in a directory.
    pub(super) fn new(cache_bytes: usize, dir: Option<Arc<Path>>) -> Self {
        Self {
            slot: Arc::default(),
            failed_read: Arc::default(),
            meter: Arc::default(),
            growth: Growth::default(),
            holes: Arc::default(),
            cache_bytes,
            dir,
        }
    }

    /// What was counted so far.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Opens the bytes, without showing them to readers yet.
    pub(super) fn load(&self, backend: impl StorageBackend) -> Result<Database, Fault> {
        guarded_in(self.dir(), || self.database(self.metered(backend)))
    }

    /// As [`Self::load`], and nothing is done to the bytes before the release.
    pub(super) fn load_held<B: StorageBackend>(
        &self,
        backend: B,
    ) -> Result<(Database, Release<Metered<B>>), Fault> {
        let (held, release) = hold(self.metered(backend))?;
        guarded_in(self.dir(), || Ok((self.database(held)?, release)))
    }

    /// Where the journal lies.
    pub(super) const fn dir(&self) -> Option<&Arc<Path>> {
        self.dir.as_ref()
    }

    fn metered<B>(&self, inner: B) -> Metered<B> {
        Metered {
            inner,
            meter: Arc::clone(&self.meter),
            growth: self.growth.clone(),
        }
    }

    /// How often the file became longer.
    pub(super) fn growth(&self) -> &Growth {
        &self.growth
    }

    /// Where it was found that nothing is held.
    pub(super) fn holes(&self) -> &Holes {
        &self.holes
    }

    fn database(&self, backend: impl StorageBackend) -> Result<Database, Fault> {
        redb::Builder::new()
            .set_cache_size(self.cache_bytes)
            .create_with_backend(Pages(backend))
            .map_err(fault)
    }

    /// Lets readers and the writer at the database.
    pub(super) fn show(&self, database: Database) {
        *self.failed_read() = None;
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
    }

    /// Closes the database once every read under way has ended.
    pub(crate) fn close(&self) {
        self.empty(&mut self.slot.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Closes the database once every read under way has ended, and shows the one that is opened
    /// in its place. Readers wait meanwhile.
    pub(super) fn exchange(
        &self,
        open: impl FnOnce() -> Result<Database, Fault>,
    ) -> Result<(), Fault> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        self.empty(&mut slot);
        *slot = Some(guarded_in(self.dir(), open)?);
        *self.failed_read() = None;
        Ok(())
    }

    fn empty(&self, slot: &mut Option<Database>) {
        // Closing writes. What it cannot write any more, the next open finds out.
        let closed: Result<(), Fault> = guarded_in(self.dir(), || {
            drop(slot.take());
            Ok(())
        });
        if let Err(fault) = closed {
            tracing::warn!(%fault, "the journal did not close cleanly");
        }
    }

    /// The length of the database's file; 0 before it was opened.
    pub(super) fn file_bytes(&self) -> u64 {
        self.meter.file_bytes.load(Ordering::Relaxed)
    }

    /// Moves what is held to the beginning of the file and cuts off its end, once every read under
    /// way has ended. Opening is not quick before the next commit.
    pub(super) fn compact(&self) -> Result<(), Fault> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let database = slot.as_mut().ok_or(Fault::Unavailable)?;
        guarded_in(self.dir(), || match database.compact() {
            Ok(_) => Ok(()),
            Err(CompactionError::Storage(error)) => Err(fault(error)),
            Err(other) => Err(Fault::Damaged(other.to_string())),
        })
    }

    /// A short read. Nothing of the transaction may outlive the closure.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let slot = self.slot();
        let database = slot.as_ref().ok_or(Fault::Unavailable)?;
        let read = guarded_in(self.dir(), || read(&database.begin_read().map_err(fault)?));
        if let Err(Fault::Io(error)) = &read {
            let copy = || match Unreadable::of(error) {
                Some(unreadable) => io::Error::new(error.kind(), unreadable.clone()),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            self.failed_read().get_or_insert_with(copy);
        }
        read
    }

    /// Whether the disk failed a read, so that the journal has to be opened afresh.
    pub(super) fn is_unread(&self) -> bool {
        self.failed_read().is_some()
    }

    /// That read's error, once.
    pub(super) fn take_failed_read(&self) -> Option<io::Error> {
        self.failed_read().take()
    }

    fn failed_read(&self) -> MutexGuard<'_, Option<io::Error>> {
        self.failed_read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One durable commit: when this returns `Ok`, a power cut cannot take it back. Dropped
    /// without a commit when the closure fails or panics.
    pub(super) fn write<T, E: From<Fault>>(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let slot = self.slot();
        let database = slot.as_ref().ok_or(Fault::Unavailable)?;
        guarded_in(self.dir(), || {
            let transaction = begin(database)?;
            let value = write(&transaction)?;
            let begun = Instant::now();
            transaction.commit().map_err(fault)?;
            self.meter.commits.observe(begun.elapsed());
            Ok(value)
        })
    }

    fn slot(&self) -> RwLockReadGuard<'_, Option<Database>> {
        // A panic in a program's transaction does not harm the slot.
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write transaction whose commit is durable and leaves nothing to repair: two-phase, with the
/// allocator's state saved, so that opening after a power cut takes milliseconds at any size.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write().map_err(fault)?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(fault)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}
