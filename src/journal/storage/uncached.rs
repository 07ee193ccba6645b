//! Bytes as the medium holds them, not as a cache has kept them.
//!
//! After a failed fsync the kernel marks the pages clean and goes on showing them, though the medium
//! never took them. Dropped from the cache, they are read from where a power cut would find them. To
//! drop all of a journal takes longer the more of it is cached, and a start reads a few pages; so a
//! piece is dropped when it is touched for the first time.

use std::{
    fs::File,
    io,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use redb::StorageBackend;

use super::forward_locks;

/// What is dropped at once where the kernel's pages are of 4 KiB, in bytes. It keeps pages in folios
/// of up to as much, which begin at a multiple of their size, and leaves one cached that lies only in
/// part in what is dropped.
const PIECE_BYTES: u64 = 2 * 1024 * 1024;

/// The same where its pages are larger, and with them its folios: everything.
const ALL_BYTES: u64 = 1 << 62;

/// The cache over some bytes.
pub(crate) trait Cache: std::fmt::Debug + Send + Sync + 'static {
    /// What is dropped at once, in bytes: never 0.
    fn piece_bytes(&self) -> u64;

    /// Has these bytes read from the medium the next time, but for what is still to be written there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn forget(&self, range: Range<u64>) -> io::Result<()>;
}

impl Cache for File {
    fn piece_bytes(&self) -> u64 {
        match rustix::param::page_size() {
            0..=4096 => PIECE_BYTES,
            _ => ALL_BYTES,
        }
    }

    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        let length = std::num::NonZeroU64::new(range.end.saturating_sub(range.start));
        rustix::fs::fadvise(self, range.start, length, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

/// A backend that shows nothing of what was in the cache before this was made.
#[derive(Debug)]
pub(crate) struct Uncached<B, C> {
    inner: B,
    cache: C,
    piece_bytes: u64,
    /// Of each piece that there was then, whether the cache has forgotten it.
    forgotten: Box<[AtomicBool]>,
}

impl<B: StorageBackend, C: Cache> Uncached<B, C> {
    /// Over this backend, whose cache this is.
    ///
    /// # Errors
    /// Its length cannot be read.
    pub(in crate::journal) fn new(inner: B, cache: C) -> io::Result<Self> {
        let piece_bytes = cache.piece_bytes();
        let pieces = inner.len()?.div_ceil(piece_bytes);
        let forgotten = (0..pieces).map(|_| AtomicBool::new(false)).collect();
        Ok(Self {
            inner,
            cache,
            piece_bytes,
            forgotten,
        })
    }

    /// Before so many bytes are touched from here on.
    fn forget(&self, offset: u64, bytes: usize) -> io::Result<()> {
        let first = offset / self.piece_bytes;
        let end = offset
            .saturating_add(bytes as u64)
            .div_ceil(self.piece_bytes)
            .min(self.forgotten.len() as u64);
        let pieces = usize::try_from(first).ok().zip(usize::try_from(end).ok());
        let pieces = pieces.and_then(|(first, end)| self.forgotten.get(first..end));
        let pieces = pieces.unwrap_or_default();
        if pieces.iter().all(|piece| piece.load(Ordering::Acquire)) {
            return Ok(());
        }
        // Of two that come at once both drop it: neither goes on before it is dropped.
        self.cache
            .forget(first * self.piece_bytes..end * self.piece_bytes)?;
        for piece in pieces {
            piece.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl<B: StorageBackend, C: Cache> StorageBackend for Uncached<B, C> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.forget(offset, out.len())?;
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // The system writes zeros into what is left of the block at the old end, or at the new one.
        for end in [self.inner.len()?, len] {
            self.forget(end.saturating_sub(1), 2)?;
        }
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // The system may write more of a page than this, from what it has cached.
        self.forget(offset, data.len())?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    forward_locks!(self, self.inner);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use redb::backends::InMemoryBackend;

    use super::*;

    /// What it was told to forget.
    #[derive(Clone, Debug, Default)]
    struct Told(Arc<Mutex<Vec<(u64, u64)>>>);

    impl Cache for Told {
        fn piece_bytes(&self) -> u64 {
            10
        }

        fn forget(&self, range: Range<u64>) -> io::Result<()> {
            self.0.lock().unwrap().push((range.start, range.end));
            Ok(())
        }
    }

    #[test]
    fn a_piece_is_forgotten_before_it_is_touched_for_the_first_time_and_never_again() {
        let inner = InMemoryBackend::new();
        inner.set_len(95).unwrap();
        let told = Told::default();
        let bytes = Uncached::new(inner, told.clone()).unwrap();
        let expect = |pieces: &[(u64, u64)]| {
            assert_eq!(std::mem::take(&mut *told.0.lock().unwrap()), pieces);
        };
        bytes.read(19, &mut [0]).unwrap();
        expect(&[(10, 20)]);
        bytes.read(10, &mut [0; 10]).unwrap();
        bytes.write(12, &[1; 3]).unwrap();
        expect(&[]);
        bytes.write(29, &[1; 2]).unwrap();
        expect(&[(20, 40)]);
        bytes.read(0, &mut [0; 95]).unwrap();
        expect(&[(0, 100)]);
        bytes.read(0, &mut [0; 95]).unwrap();
        bytes.set_len(95).unwrap();
        // What was not there then was in no cache.
        bytes.set_len(200).unwrap();
        bytes.write(95, &[1; 10]).unwrap();
        bytes.read(150, &mut [0; 50]).unwrap();
        expect(&[]);
    }

    #[test]
    fn where_the_length_changes_both_ends_are_forgotten() {
        let inner = InMemoryBackend::new();
        inner.set_len(95).unwrap();
        let told = Told::default();
        let bytes = Uncached::new(inner, told.clone()).unwrap();
        bytes.set_len(40).unwrap();
        assert_eq!(*told.0.lock().unwrap(), [(90, 100), (30, 50)]);
    }

    #[test]
    fn where_it_cannot_be_forgotten_nothing_is_read() {
        #[derive(Debug)]
        struct Stubborn;
        impl Cache for Stubborn {
            fn piece_bytes(&self) -> u64 {
                10
            }
            fn forget(&self, _: Range<u64>) -> io::Result<()> {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
        let inner = InMemoryBackend::new();
        inner.set_len(10).unwrap();
        let bytes = Uncached::new(inner, Stubborn).unwrap();
        for _ in 0..2 {
            assert!(bytes.read(0, &mut [0]).is_err());
            assert!(bytes.write(0, &[1]).is_err());
            assert!(bytes.set_len(5).is_err());
        }
    }
}
