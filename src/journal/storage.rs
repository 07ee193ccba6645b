//! Where the journal's bytes live.

mod locks;
mod replace;
mod uncached;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{StorageBackend, backends::FileBackend};

pub(in crate::journal) use self::locks::forward_locks;
#[cfg(test)]
pub(in crate::journal) use self::uncached::Cache;
pub(crate) use self::{replace::Replace, uncached::Uncached};
use crate::meter::Meter;

/// The name of the journal's file in the data directory.
pub(crate) const JOURNAL_FILE: &str = "journal.redb";

/// What it is called while it is being made.
const UNFINISHED_FILE: &str = "journal.redb.new";

/// Something that a journal can be made on, opened on, and opened on again after a fault.
pub trait Storage: Send + 'static {
    /// What redb reads and writes.
    type Backend: StorageBackend;

    /// Opens the journal's bytes afresh; `None` where there is no journal yet. What is then read
    /// must come from the medium, not from a cache that still shows what a failed sync did not
    /// write: see `uncached`.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn open(&mut self) -> io::Result<Option<Self::Backend>>;

    /// Gives an empty place to make a journal in, apart from where `open` looks. What an earlier,
    /// unfinished attempt left there is discarded.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn create(&mut self) -> io::Result<Self::Backend>;

    /// Puts what was made where `open` looks: wholly or not at all, and durable on return. redb
    /// refuses a file whose making was cut off, and nobody comes to a classroom to delete it.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn adopt(&mut self) -> io::Result<()>;

    /// The directory that it lies in, for a note beside it. None, and it is not noted that damage
    /// ended the process.
    fn data_dir(&self) -> Option<Arc<Path>> {
        None
    }
}

/// A file in the data directory.
#[derive(Debug)]
pub(crate) struct FileStorage {
    path: PathBuf,
    unfinished: PathBuf,
    /// The directory, locked while a journal is being made in it.
    making: Option<File>,
}

impl FileStorage {
    /// In this directory, which exists.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(JOURNAL_FILE),
            unfinished: dir.join(UNFINISHED_FILE),
            making: None,
        }
    }
}

impl Storage for FileStorage {
    type Backend = Uncached<FileBackend, File>;

    fn open(&mut self) -> io::Result<Option<Self::Backend>> {
        match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => backend(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&mut self) -> io::Result<Self::Backend> {
        // From the first byte to the final name one process makes a journal, and nobody who found
        // none before: what he would empty may be in place already. The file's own lock is not
        // enough, for redb gives it up before the file has its name.
        let dir = self.locked_dir()?;
        if self.path.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.making = Some(dir);
        self.begin_unfinished()
    }

    fn adopt(&mut self) -> io::Result<()> {
        // A hard link, unlike a rename, never replaces a journal that has appeared meanwhile.
        std::fs::hard_link(&self.unfinished, &self.path)
            .or_else(|_| rename_noreplace(&self.unfinished, &self.path))?;
        let _ = std::fs::remove_file(&self.unfinished);
        sync_dir(self.dir())?;
        self.making = None;
        Ok(())
    }

    fn data_dir(&self) -> Option<Arc<Path>> {
        Some(self.dir().into())
    }
}

impl FileStorage {
    /// The directory, which no other process has locked.
    fn locked_dir(&self) -> io::Result<File> {
        let dir = File::open(self.dir())?;
        match dir.try_lock() {
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(dir),
        }
    }

    /// An empty file under the name of what is being made.
    fn begin_unfinished(&self) -> io::Result<Uncached<FileBackend, File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.unfinished)?;
        file.set_len(0)?;
        backend(file)
    }

    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// For file systems without hard links (FAT on a card, for one).
fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    if to.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    std::fs::rename(from, to)
}

fn backend(file: File) -> io::Result<Uncached<FileBackend, File>> {
    let cache = file.try_clone()?;
    let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
    Uncached::new(backend, cache)
}

/// A new name in a directory is there after a power cut only once the directory is synced.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Bytes that the medium does not give. Where that lasts it is damage: a card has a bad block.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{bytes} bytes at {offset} cannot be read: {why}")]
pub(super) struct Unreadable {
    offset: u64,
    bytes: usize,
    why: String,
}

impl Unreadable {
    fn at(offset: u64, bytes: usize, error: &io::Error) -> io::Error {
        let why = error.to_string();
        let unreadable = Self { offset, bytes, why };
        io::Error::new(error.kind(), unreadable)
    }

    /// What the error is, where it is this.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Counts what goes to the storage beneath: how flash wears is a promise, and promises are
/// measured.
#[derive(Debug)]
pub(super) struct Metered<B> {
    pub(super) inner: B,
    pub(super) meter: Arc<Meter>,
    pub(super) growth: Growth,
}

/// How often the file became longer, as everybody who shares it sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth(Arc<AtomicU64>);

impl Growth {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B: StorageBackend> StorageBackend for Metered<B> {
    fn len(&self) -> io::Result<u64> {
        let len = self.inner.len()?;
        self.meter.file_bytes.store(len, Ordering::Relaxed);
        Ok(len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.inner.read(offset, out);
        read.map_err(|error| Unreadable::at(offset, out.len(), &error))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.inner.len()? {
            self.growth.0.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.set_len(len)?;
        self.meter.file_bytes.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.meter.syncs.add(1);
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.meter.writes.add(1);
        self.meter.bytes_written.add(data.len() as u64);
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    forward_locks!(self, self.inner);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_process_makes_another_does_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (FileStorage::new(dir.path()), FileStorage::new(dir.path()));
        assert!(one.open().unwrap().is_none());
        assert!(other.open().unwrap().is_none());
        let making = one.create().unwrap();
        making.write(0, b"whole").unwrap();
        drop(making);
        assert!(other.create().is_err(), "while it is being made");
        // A crash before the second of its two names is gone.
        std::fs::hard_link(&one.unfinished, &one.path).unwrap();
        drop(one);
        assert!(other.create().is_err(), "once it is in place");
        let found = other.open().unwrap().unwrap();
        let mut bytes = [0; 5];
        found.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"whole");
    }
}
