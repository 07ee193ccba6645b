//! Storage with a written fault model.
//!
//! Bytes exist twice: as the running process sees them, and as the medium holds them. A write
//! reaches the first at once. A sync carries everything over. At a crash, each write since the
//! last sync is, by the seed's choice, kept, lost, or torn at a sector of 512 bytes, in any order;
//! a change of length likewise. Names are simpler: what `adopt` put in place stays in place.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use redb::StorageBackend;

use super::{
    super::storage::{Replace, Storage},
    next_random,
};

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Medium {
    /// What the process sees.
    seen: Vec<u8>,
    /// What survives a crash for certain.
    durable: Vec<u8>,
    /// What happened since the last sync.
    unsynced: Vec<Change>,
}

/// `Vec::resize` goes byte by byte where nothing is optimised, and these are megabytes.
fn set_len(bytes: &mut Vec<u8>, length: usize) {
    match length.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(length),
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Medium {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Length(length) => set_len(bytes, *length),
            Change::Write {
                offset,
                bytes: written,
            } => {
                let end = offset + written.len();
                if bytes.len() < end {
                    set_len(bytes, end);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
        }
    }

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            Self::apply(&mut self.durable, &change);
        }
    }

    fn crash(&mut self, random: &mut u64) {
        let mut unsynced = std::mem::take(&mut self.unsynced);
        // Reordered: a later write may reach the medium and an earlier one not, or after it.
        for last in (1..unsynced.len()).rev() {
            if next_random(random).is_multiple_of(4) {
                unsynced.swap(last, next_random(random) as usize % (last + 1));
            }
        }
        for change in unsynced {
            match (next_random(random) % 3, change) {
                (0, _) => {}
                (1, Change::Write { offset, bytes }) => {
                    for (sector, part) in bytes.chunks(SECTOR).enumerate() {
                        if next_random(random).is_multiple_of(2) {
                            let offset = offset + sector * SECTOR;
                            let part = Change::Write {
                                offset,
                                bytes: part.to_vec(),
                            };
                            Self::apply(&mut self.durable, &part);
                        }
                    }
                }
                (_, change) => Self::apply(&mut self.durable, &change),
            }
        }
        self.seen = self.durable.clone();
    }
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power goes at this call: it and every later one fails, until [`FaultyStorage::crash`].
    PowerCut,
    /// This call fails, once. A sync that fails has synced nothing, and what was unsynced shows
    /// in reads and is lost at a crash, for the kernel has marked it clean.
    Once,
}

#[derive(Clone, Debug)]
struct Disk {
    journal: Option<Medium>,
    unfinished: Option<Medium>,
    /// Calls made so far.
    calls: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    random: u64,
    /// What the medium holds once the fault has come.
    older: Option<Vec<u8>>,
}

impl Disk {
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        match self.fault {
            Some((at, fault)) if at == self.calls => {
                self.dead = fault == Fault::PowerCut;
                if let Some(durable) = self.older.take() {
                    self.journal = Some(Medium {
                        seen: durable.clone(),
                        durable,
                        unsynced: Vec::new(),
                    });
                }
                Err(io::Error::other("injected fault"))
            }
            _ => Ok(()),
        }
    }
}

/// Storage over one simulated disk; clones share it.
#[derive(Clone, Debug)]
pub(super) struct FaultyStorage(Arc<Mutex<Disk>>);

impl FaultyStorage {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            journal: None,
            unfinished: None,
            calls: 0,
            fault: None,
            dead: false,
            random: seed,
            older: None,
        })))
    }

    /// Another disk that holds and will do the same: from one crash, many recoveries are tried.
    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    /// Lets the n-th call from now fail.
    pub(super) fn fail_after(&self, calls: u64, fault: Fault) {
        let mut disk = self.0.lock().unwrap();
        disk.fault = Some((disk.calls + calls, fault));
    }

    /// The power comes back; only what the medium holds is left.
    pub(super) fn crash(&self) {
        let mut disk = self.0.lock().unwrap();
        let Disk {
            journal,
            unfinished,
            random,
            ..
        } = &mut *disk;
        for medium in journal.iter_mut().chain(unfinished) {
            medium.crash(random);
        }
        disk.fault = None;
        disk.dead = false;
    }

    /// What the journal's medium holds.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let disk = self.0.lock().unwrap();
        disk.journal.as_ref().unwrap().durable.clone()
    }

    /// The medium lied when it was synced, or is another one: it holds this from now on.
    pub(super) fn restore(&self, durable: Vec<u8>) {
        self.0.lock().unwrap().journal = Some(Medium {
            seen: durable.clone(),
            durable,
            unsynced: Vec::new(),
        });
    }

    /// The next call fails, and from then on the medium holds this.
    pub(super) fn restore_at_fault(&self, durable: Vec<u8>) {
        self.fail_after(1, Fault::Once);
        self.0.lock().unwrap().older = Some(durable);
    }

    /// Whatever fault was still to come does not.
    pub(super) fn crash_is_over(&self) {
        self.0.lock().unwrap().fault = None;
    }

    /// Whether the fault has not come yet.
    pub(super) fn fault_is_ahead(&self) -> bool {
        let disk = self.0.lock().unwrap();
        disk.fault.is_some_and(|(at, _)| disk.calls < at)
    }
}

impl Storage for FaultyStorage {
    type Backend = FaultyBackend;

    fn open(&mut self) -> io::Result<Option<FaultyBackend>> {
        let mut disk = self.0.lock().unwrap();
        disk.call()?;
        let Some(journal) = &mut disk.journal else {
            return Ok(None);
        };
        // Opened from the medium: after a failed sync the process must not be shown what the
        // medium never took. Without a failure there is nothing unsynced at this point.
        journal.seen = journal.durable.clone();
        journal.unsynced.clear();
        drop(disk);
        Ok(Some(FaultyBackend {
            disk: self.0.clone(),
            unfinished: false,
        }))
    }

    fn create(&mut self) -> io::Result<FaultyBackend> {
        let mut disk = self.0.lock().unwrap();
        disk.call()?;
        disk.unfinished = Some(Medium::default());
        drop(disk);
        Ok(FaultyBackend {
            disk: self.0.clone(),
            unfinished: true,
        })
    }

    fn adopt(&mut self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.call()?;
        disk.journal = disk.unfinished.take();
        Ok(())
    }
}

impl Replace for FaultyStorage {
    fn lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn make_room(&mut self, _: u64) -> io::Result<()> {
        self.0.lock().unwrap().call()
    }

    fn create_beside(&mut self) -> io::Result<FaultyBackend> {
        self.create()
    }

    fn replace(&mut self) -> io::Result<PathBuf> {
        self.adopt()?;
        Ok("aside".into())
    }
}

#[derive(Debug)]
pub(super) struct FaultyBackend {
    disk: Arc<Mutex<Disk>>,
    unfinished: bool,
}

impl FaultyBackend {
    fn with<T>(&self, act: impl FnOnce(&mut Medium) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock().unwrap();
        disk.call()?;
        let medium = match self.unfinished {
            true => disk.unfinished.as_mut(),
            false => disk.journal.as_mut(),
        };
        act(medium.ok_or_else(|| io::Error::other("no such file"))?)
    }
}

impl StorageBackend for FaultyBackend {
    fn len(&self) -> io::Result<u64> {
        self.with(|medium| Ok(medium.seen.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|medium| {
            let start = offset as usize;
            let bytes = medium.seen.get(start..start + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|medium| {
            medium.change(Change::Length(len as usize));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|medium| {
            medium.sync();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|medium| {
            medium.change(Change::Write {
                offset: offset as usize,
                bytes: data.to_vec(),
            });
            Ok(())
        })
    }
}
