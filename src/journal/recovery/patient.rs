//! The damaged bytes, as far as the medium gives them.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

use redb::StorageBackend;

/// What is read by itself where more cannot be read, in bytes: a page of redb's.
pub(super) const PAGE_BYTES: usize = 4096;

/// How long until bytes that cannot be read are tried again, and for how long a recovery does so in all.
const PAUSE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 10 });

/// Bytes of which some may not be read: a card has bad blocks, and a bus fails for a moment.
#[derive(Debug)]
pub(super) struct Patient<B> {
    pub(super) bytes: B,
    unread: Mutex<Unread>,
}

/// What could not be read.
#[derive(Debug, Default)]
struct Unread {
    first: Option<io::Error>,
    waited: Duration,
}

impl<B: StorageBackend> Patient<B> {
    pub(super) fn new(bytes: B) -> Self {
        Self {
            bytes,
            unread: Mutex::default(),
        }
    }

    /// Reads; pages that the medium does not give are zeros.
    pub(super) fn read_or_zero(&self, offset: u64, out: &mut [u8]) {
        if self.bytes.read(offset, out).is_ok() {
            return;
        }
        let mut at = offset;
        for page in out.chunks_mut(PAGE_BYTES) {
            if let Err(error) = self.read_patiently(at, page) {
                tracing::warn!(offset = at, %error, "the damaged journal cannot be read here");
                page.fill(0);
                self.unread().first.get_or_insert(error);
            }
            at += page.len() as u64;
        }
    }

    fn read_patiently(&self, offset: u64, page: &mut [u8]) -> io::Result<()> {
        loop {
            let read = self.bytes.read(offset, page);
            let mut unread = self.unread();
            if read.is_ok() || unread.waited >= PATIENCE {
                return read;
            }
            unread.waited += PAUSE;
            drop(unread);
            sleep(PAUSE);
        }
    }

    /// The first read that the medium failed.
    pub(super) fn take_failed(&self) -> Option<io::Error> {
        self.unread().first.take()
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
