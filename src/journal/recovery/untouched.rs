//! The damaged bytes, as redb and the scan see them: nothing can be done to them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::StorageBackend;

use super::{super::storage::forward_locks, patient::Patient};

/// The bytes, without a way to change them. redb's locks stay until the last of these is gone.
#[derive(Debug)]
pub(super) struct Untouched<B> {
    bytes: Arc<Patient<B>>,
    is_shut: Arc<AtomicBool>,
}

/// The way to keep redb from reading them any more.
pub(super) struct Shut(Arc<AtomicBool>);

impl<B> Untouched<B> {
    /// These, until they are shut.
    pub(super) fn new(bytes: Arc<Patient<B>>) -> (Self, Shut) {
        let is_shut = Arc::new(AtomicBool::new(false));
        let shut = Shut(Arc::clone(&is_shut));
        (Self { bytes, is_shut }, shut)
    }
}

impl Shut {
    /// From now on every read fails.
    pub(super) fn shut(&self) {
        self.0.store(true, Ordering::Release);
    }
}

fn refused() -> io::Error {
    io::Error::other("a damaged journal is not written to")
}

impl<B: StorageBackend> StorageBackend for Untouched<B> {
    fn len(&self) -> io::Result<u64> {
        self.bytes.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_shut.load(Ordering::Acquire) {
            return Err(io::Error::other("a damaged journal is read no further"));
        }
        // After one failed read redb would read nothing more.
        self.bytes.read_or_zero(offset, out);
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(refused())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(refused())
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }

    forward_locks!(self, self.bytes.bytes);
}
