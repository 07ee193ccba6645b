//! A storage that nothing is written to before it was found to be ours.
//!
//! redb writes as soon as it opens a file: that it is in use, and what a repair takes. But a
//! journal that this program then refuses, because a newer version or another device wrote it, has
//! to stay as it is, to the byte. So what redb does to it is held back in memory and shown to redb
//! as if it were done. Once the journal was looked at it is done, in the same order and with the
//! same syncs: a crash in the middle leaves what it would have left without this.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::StorageBackend;

use super::storage::forward_locks;

/// So much is held back: many times what opening takes. A repair that writes more goes through to
/// the storage, for it has to be possible, and is done to a file whose tables redb can read.
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;

/// The storage as redb sees it.
#[derive(Debug)]
pub(super) struct Held<B>(Arc<Shared<B>>);

/// The way to let go of what is held back.
pub(super) struct Release<B>(Arc<Shared<B>>);

#[derive(Debug)]
struct Shared<B> {
    inner: B,
    /// Nothing is held back any more. Only ever set, so that every later call is free.
    open: AtomicBool,
    gate: Mutex<Gate>,
}

#[derive(Debug)]
enum Gate {
    Shut(Changes),
    Open,
    /// What was held back is done in part: nothing that builds on it may follow.
    Broken,
}

/// What was done, in order.
#[derive(Debug)]
struct Changes {
    done: Vec<Change>,
    /// Of all writes together.
    bytes: usize,
    /// The storage's length when all of it is done.
    len: u64,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, bytes: Box<[u8]> },
    Length(u64),
    Sync,
}

/// Holds back whatever is done to the storage, until it is released.
pub(super) fn hold<B: StorageBackend>(inner: B) -> io::Result<(Held<B>, Release<B>)> {
    let changes = Changes {
        done: Vec::new(),
        bytes: 0,
        len: inner.len()?,
    };
    let shared = Arc::new(Shared {
        inner,
        open: AtomicBool::new(false),
        gate: Mutex::new(Gate::Shut(changes)),
    });
    Ok((Held(shared.clone()), Release(shared)))
}

impl<B: StorageBackend> Release<B> {
    /// Does to the storage what was held back; from then on nothing is.
    ///
    /// # Errors
    /// Whatever the storage says. Nothing can be done to it any more then, and it has to be opened
    /// afresh.
    pub(super) fn release(self) -> io::Result<()> {
        let mut gate = self.0.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.unlock(&mut gate)
    }
}

impl<B: StorageBackend> Shared<B> {
    fn unlock(&self, gate: &mut Gate) -> io::Result<()> {
        match std::mem::replace(gate, Gate::Broken) {
            Gate::Shut(changes) => changes.replay(&self.inner)?,
            Gate::Open => {}
            Gate::Broken => return Err(broken()),
        }
        *gate = Gate::Open;
        self.open.store(true, Ordering::Release);
        Ok(())
    }

    /// Does `now` where nothing is held back, and else notes what `later` says.
    fn change(
        &self,
        now: impl FnOnce(&B) -> io::Result<()>,
        later: impl FnOnce(&mut Changes),
    ) -> io::Result<()> {
        if self.open.load(Ordering::Acquire) {
            return now(&self.inner);
        }
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *gate {
            Gate::Shut(changes) => {
                later(changes);
                if changes.bytes > MAX_HELD_BYTES {
                    self.unlock(&mut gate)?;
                }
                Ok(())
            }
            Gate::Open => now(&self.inner),
            Gate::Broken => Err(broken()),
        }
    }

    /// What `look` makes of the storage and of what is held back, if anything is.
    fn look<T>(&self, look: impl FnOnce(&B, Option<&Changes>) -> io::Result<T>) -> io::Result<T> {
        if self.open.load(Ordering::Acquire) {
            return look(&self.inner, None);
        }
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        match &*gate {
            Gate::Shut(changes) => look(&self.inner, Some(changes)),
            Gate::Open => look(&self.inner, None),
            Gate::Broken => Err(broken()),
        }
    }
}

impl Changes {
    fn replay<B: StorageBackend>(self, storage: &B) -> io::Result<()> {
        self.done.into_iter().try_for_each(|change| match change {
            Change::Write { offset, bytes } => storage.write(offset, &bytes),
            Change::Length(len) => storage.set_len(len),
            Change::Sync => storage.sync_data(),
        })
    }

    fn read<B: StorageBackend>(&self, below: &B, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let wanted = out.len() as u64;
        if offset.saturating_add(wanted) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = below.len()?.saturating_sub(offset).min(wanted);
        let (stored, beyond) = out.split_at_mut(index(there));
        if !stored.is_empty() {
            below.read(offset, stored)?;
        }
        beyond.fill(0);
        for change in &self.done {
            match change {
                Change::Write { offset: at, bytes } => {
                    let into = out.iter_mut().skip(index(at.saturating_sub(offset)));
                    let from = bytes.iter().skip(index(offset.saturating_sub(*at)));
                    into.zip(from).for_each(|(byte, written)| *byte = *written);
                }
                // What is cut off reads as zeros should it come back.
                Change::Length(len) => out
                    .iter_mut()
                    .skip(index(len.saturating_sub(offset)))
                    .for_each(|byte| *byte = 0),
                Change::Sync => {}
            }
        }
        Ok(())
    }
}

/// Beyond what memory can hold there is nothing to index.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn broken() -> io::Error {
    io::Error::other("an earlier write failed; it has to be opened afresh")
}

impl<B: StorageBackend> StorageBackend for Held<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.look(|inner, changes| match changes {
            Some(changes) => Ok(changes.len),
            None => inner.len(),
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.look(|inner, changes| match changes {
            Some(changes) => changes.read(inner, offset, out),
            None => inner.read(offset, out),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.change(
            |inner| inner.set_len(len),
            |changes| {
                changes.done.push(Change::Length(len));
                changes.len = len;
            },
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.change(B::sync_data, |changes| {
            changes.done.push(Change::Sync);
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.change(
            |inner| inner.write(offset, data),
            |changes| {
                changes.bytes += data.len();
                changes.len = changes.len.max(offset.saturating_add(data.len() as u64));
                changes.done.push(Change::Write {
                    offset,
                    bytes: data.into(),
                });
            },
        )
    }

    fn close(&self) -> io::Result<()> {
        self.0.inner.close()
    }

    forward_locks!(self, self.0.inner);
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A storage of 100 bytes, and one like it for comparison.
    fn two() -> (InMemoryBackend, InMemoryBackend) {
        let (one, other) = (InMemoryBackend::new(), InMemoryBackend::new());
        for storage in [&one, &other] {
            storage.set_len(100).unwrap();
            storage.write(0, &[7; 100]).unwrap();
        }
        (one, other)
    }

    fn bytes(storage: &impl StorageBackend) -> Vec<u8> {
        let mut out = vec![0xEE; storage.len().unwrap() as usize];
        storage.read(0, &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_held_back_is_seen_and_not_done_until_it_is_released() {
        let (below, other) = two();
        let (held, release) = hold(below).unwrap();
        let both = |act: &dyn Fn(&dyn StorageBackend)| {
            act(&held);
            act(&other);
        };
        both(&|storage| storage.write(10, &[1; 20]).unwrap());
        both(&|storage| storage.write(25, &[2; 10]).unwrap());
        both(&|storage| storage.set_len(50).unwrap());
        both(&|storage| storage.set_len(200).unwrap());
        both(&|storage| storage.sync_data().unwrap());
        both(&|storage| storage.write(190, &[3; 10]).unwrap());
        assert_eq!(bytes(&held), bytes(&other));
        for from in 0..200_u64 {
            for length in [1, 7, 200 - from as usize] {
                let read = |storage: &dyn StorageBackend| {
                    let mut out = vec![0xEE; length];
                    storage.read(from, &mut out).map(|()| out).ok()
                };
                assert_eq!(read(&held), read(&other), "{from} {length}");
            }
        }
        assert!(held.read(195, &mut [0; 6]).is_err());
        assert_eq!(bytes(&release.0.inner), [7; 100]);

        release.release().unwrap();
        assert_eq!(bytes(&held.0.inner), bytes(&other));
        both(&|storage| storage.write(0, &[4]).unwrap());
        assert_eq!(bytes(&held.0.inner), bytes(&other));
    }

    #[test]
    fn more_than_can_be_held_back_goes_through() {
        let (below, _) = two();
        let (held, release) = hold(below).unwrap();
        let much = vec![5; MAX_HELD_BYTES];
        held.set_len(much.len() as u64 + 1).unwrap();
        held.write(0, &much).unwrap();
        assert_eq!(held.0.inner.len().unwrap(), 100);
        held.write(much.len() as u64, &[6]).unwrap();
        let there = bytes(&held.0.inner);
        assert_eq!((there.len(), there.last()), (much.len() + 1, Some(&6)));
        release.release().unwrap();
    }

    #[test]
    fn after_a_release_that_failed_nothing_is_done_any_more() {
        #[derive(Debug)]
        struct Full(InMemoryBackend);
        impl StorageBackend for Full {
            fn len(&self) -> io::Result<u64> {
                self.0.len()
            }
            fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
                self.0.read(offset, out)
            }
            fn set_len(&self, _: u64) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn sync_data(&self) -> io::Result<()> {
                self.0.sync_data()
            }
            fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
                self.0.write(offset, data)
            }
        }
        let (below, _) = two();
        let (held, release) = hold(Full(below)).unwrap();
        held.set_len(101).unwrap();
        let error = release.release().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(held.write(0, &[1]).is_err());
        assert!(held.sync_data().is_err());
        assert_eq!(bytes(&held.0.inner.0), [7; 100]);
    }
}
