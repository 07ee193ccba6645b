//! Storage with a written fault model.
//!
//! # The fault model
//!
//! Bytes exist twice: as programs see them, in the page cache, and as the medium holds them.
//!
//! - **A write or a change of length** reaches the cache at once, and the medium by a sync.
//! - **A power cut** may come before, in or after any call. Each write since the last sync is then,
//!   by the seed's choice, kept, lost, or torn at a sector of 512 bytes, in any order; a change of
//!   length likewise. The write that was being made is one of them.
//! - **A process that is killed** at any call leaves the cache as it was. What it wrote and never
//!   synced is seen by the next one, is carried over by the next one's sync, and is lost to a power
//!   cut before that.
//! - **A call fails**, once or from then on until somebody mends it: any call with EIO, those that
//!   write with ENOSPC. A write that fails may have been made in part.
//! - **A sync that fails** has carried over what it liked, torn like at a power cut. The rest the
//!   kernel takes for written: reads go on showing it, no later sync writes it, and it is gone once
//!   that part of the cache is dropped or the power is cut.
//! - **A block goes bad**, on request alone ([`FaultyStorage::go_bad`]): reads of it fail until it is
//!   written anew, for which a card has spare ones.
//! - **A medium that lies** about a sync is modelled on request alone ([`FaultyStorage::restore`]):
//!   nothing promises to survive it whole. Bytes that rot are not modelled here.
//! - Names are simple: what `adopt` put in place stays in place.

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use redb::StorageBackend;

use super::{
    super::storage::{Cache, Replace, Storage, Uncached},
    next_random,
};

const SECTOR: usize = 512;

/// Bytes are shared between copies of a disk in pieces of this size.
pub(super) const PIECE: usize = 4096;

/// The bytes of a file, cheap to copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes {
    pieces: Vec<Arc<[u8; PIECE]>>,
    len: usize,
}

impl Bytes {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut new = Self::default();
        new.write(0, bytes);
        new
    }

    pub(super) fn set_len(&mut self, len: usize) {
        if len < self.len && !len.is_multiple_of(PIECE) {
            // What is cut off reads as zeros should it come back.
            Arc::make_mut(&mut self.pieces[len / PIECE])[len % PIECE..].fill(0);
        }
        let hole = Arc::new([0; PIECE]);
        self.pieces.resize(len.div_ceil(PIECE), hole);
        self.len = len;
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < out.len() {
            let (piece, from) = ((offset + done) / PIECE, (offset + done) % PIECE);
            let count = (PIECE - from).min(out.len() - done);
            out[done..done + count].copy_from_slice(&self.pieces[piece][from..from + count]);
            done += count;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.set_len(self.len.max(offset + bytes.len()));
        let mut done = 0;
        while done < bytes.len() {
            let (piece, from) = ((offset + done) / PIECE, (offset + done) % PIECE);
            let count = (PIECE - from).min(bytes.len() - done);
            Arc::make_mut(&mut self.pieces[piece])[from..from + count]
                .copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
    }

    /// Takes these, in whole pieces, from other bytes, and zeros where those end.
    fn copy_pieces(&mut self, other: &Self, range: Range<usize>) {
        let hole = Arc::new([0; PIECE]);
        for index in range.start / PIECE..range.end.div_ceil(PIECE).min(self.pieces.len()) {
            self.pieces[index] = Arc::clone(other.pieces.get(index).unwrap_or(&hole));
        }
    }

    /// Changes one bit.
    pub(super) fn flip(&mut self, bit: usize) {
        let byte = bit / 8;
        Arc::make_mut(&mut self.pieces[byte / PIECE])[byte % PIECE] ^= 1 << (bit % 8);
    }

    fn to_vec(&self) -> Vec<u8> {
        let mut all = self
            .pieces
            .iter()
            .flat_map(|piece| **piece)
            .collect::<Vec<u8>>();
        all.truncate(self.len);
        all
    }
}

#[derive(Clone, Debug, Default)]
struct Medium {
    /// What the process sees.
    seen: Bytes,
    /// What survives a power cut for certain.
    durable: Bytes,
    /// What the cache holds and the next sync carries over.
    unsynced: Vec<Change>,
    /// What cannot be read.
    bad: Range<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Arc<[u8]> },
    Length(usize),
}

impl Medium {
    fn holding(durable: Bytes) -> Self {
        Self {
            seen: durable.clone(),
            durable,
            unsynced: Vec::new(),
            bad: 0..0,
        }
    }

    fn apply(bytes: &mut Bytes, change: &Change) {
        match change {
            Change::Length(length) => bytes.set_len(*length),
            Change::Write {
                offset,
                bytes: written,
            } => bytes.write(*offset, written),
        }
    }

    fn change(&mut self, change: Change) {
        if let Change::Write { offset, bytes } = &change
            && *offset <= self.bad.start
            && self.bad.end <= offset + bytes.len()
        {
            self.bad = 0..0;
        }
        Self::apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            Self::apply(&mut self.durable, &change);
        }
    }

    /// The medium takes what it likes of what is unsynced, and nothing else ever gets there.
    fn sync_in_part(&mut self, random: &mut u64) {
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
                            self.durable.write(offset + sector * SECTOR, part);
                        }
                    }
                }
                (_, change) => Self::apply(&mut self.durable, &change),
            }
        }
    }

    fn crash(&mut self, random: &mut u64) {
        self.sync_in_part(random);
        self.seen = self.durable.clone();
    }

    /// Reads of this part come from the medium from here on, but for what is still to be written
    /// there.
    fn forget(&mut self, part: Range<usize>) {
        let len = self.seen.len;
        self.seen.set_len(len.max(self.durable.len));
        self.seen.copy_pieces(&self.durable, part);
        self.seen.set_len(len);
        for change in &self.unsynced {
            Self::apply(&mut self.seen, change);
        }
    }

    /// How long the file is, the medium says from here on, but for changes that are still to reach it: a
    /// failed sync has no say in it, though a kernel would go on with the length it knows.
    fn forget_len(&mut self) {
        self.seen.set_len(self.durable.len);
        self.forget(0..0);
    }
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes, or the process is killed, at this call: it and every later one fails, until
    /// [`FaultyStorage::crash`] or [`FaultyStorage::revive`].
    PowerCut,
    /// This call fails, once.
    Once,
    /// This call fails, and every later one until [`FaultyStorage::mend`].
    Lasting,
    /// This call, or the next that writes, finds no room, once.
    FullOnce,
    /// So does every later one until [`FaultyStorage::mend`].
    Full,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Look,
    Change,
    Sync,
}

#[derive(Clone, Debug)]
struct Disk {
    journal: Option<Medium>,
    unfinished: Option<Medium>,
    /// Calls made so far.
    calls: u64,
    /// Those of them that were to change anything.
    changes: u64,
    /// Which pieces were read, where that is of interest.
    watched: Option<BTreeSet<usize>>,
    fault: Option<(u64, Fault)>,
    dead: bool,
    random: u64,
    /// What the medium holds once the fault has come.
    older: Option<Medium>,
    /// The disk as it was before each call that could change it.
    recorded: Option<Vec<Disk>>,
    /// One in so many of these calls is kept.
    record_every: u64,
}

impl Disk {
    fn call(&mut self, call: Call) -> io::Result<()> {
        self.calls += 1;
        self.changes += u64::from(call != Call::Look);
        if self.dead {
            return Err(io::Error::other("no power"));
        }
        if call != Call::Look
            && self.calls.is_multiple_of(self.record_every)
            && let Some(mut recorded) = self.recorded.take()
        {
            recorded.push(self.clone());
            self.recorded = Some(recorded);
        }
        let Some((at, fault)) = self.fault.filter(|(at, _)| *at <= self.calls) else {
            return Ok(());
        };
        let full = matches!(fault, Fault::FullOnce | Fault::Full);
        if full && call != Call::Change {
            return Ok(());
        }
        if let Some(older) = self.older.take() {
            self.journal = Some(older);
        }
        match fault {
            Fault::PowerCut => self.dead = true,
            Fault::Once | Fault::FullOnce => self.fault = None,
            Fault::Lasting | Fault::Full => self.fault = Some((at, fault)),
        }
        match full {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Err(io::Error::other("injected fault")),
        }
    }
}

/// Storage over one simulated disk; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct FaultyStorage(Arc<Mutex<Disk>>, Option<Arc<Path>>);

impl FaultyStorage {
    pub(crate) fn new(seed: u64) -> Self {
        Self::over(Disk {
            journal: None,
            unfinished: None,
            calls: 0,
            changes: 0,
            watched: None,
            fault: None,
            dead: false,
            random: seed,
            older: None,
            recorded: None,
            record_every: 1,
        })
    }

    fn over(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)), None)
    }

    /// With a directory beside it, for notes of damage.
    pub(crate) fn beside(self, dir: &Path) -> Self {
        Self(self.0, Some(dir.into()))
    }

    /// Another disk that holds and will do the same: from one crash, many recoveries are tried.
    pub(crate) fn copy(&self) -> Self {
        Self::over(self.0.lock().unwrap().clone())
    }

    /// Lets the n-th call from now fail.
    pub(crate) fn fail_after(&self, calls: u64, fault: Fault) {
        let mut disk = self.0.lock().unwrap();
        disk.fault = Some((disk.calls + calls, fault));
    }

    /// These bytes of the journal cannot be read from now on.
    pub(super) fn go_bad(&self, bad: Range<usize>) {
        let mut disk = self.0.lock().unwrap();
        disk.journal.as_mut().unwrap().bad = bad;
    }

    /// The power comes back; only what the medium holds is left.
    pub(crate) fn crash(&self) {
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

    /// The same, and the seed decides what is left.
    pub(crate) fn crash_with(&self, seed: u64) {
        self.0.lock().unwrap().random = seed;
        self.crash();
    }

    /// The process is killed: nothing that it still tries reaches the disk.
    pub(crate) fn kill(&self) {
        self.0.lock().unwrap().dead = true;
    }

    /// The next process starts, and the power was never gone.
    pub(crate) fn revive(&self) {
        let mut disk = self.0.lock().unwrap();
        disk.fault = None;
        disk.dead = false;
    }

    /// Whatever failed, or was still to fail, does not.
    pub(crate) fn mend(&self) {
        self.0.lock().unwrap().fault = None;
    }

    /// Lets nothing fail while `act` looks at what is there.
    pub(crate) fn undisturbed<T>(&self, act: impl FnOnce() -> T) -> T {
        let (fault, calls) = {
            let mut disk = self.0.lock().unwrap();
            (disk.fault.take(), disk.calls)
        };
        let value = act();
        let mut disk = self.0.lock().unwrap();
        disk.fault = fault;
        disk.calls = calls;
        value
    }

    /// Whether the power is gone, or the process.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// Keeps, from now on, the disk as it was before each call that could change it.
    pub(crate) fn record(&self) {
        self.record_some(1);
    }

    /// The same at one in so many of these calls.
    pub(crate) fn record_some(&self, every: u64) {
        let mut disk = self.0.lock().unwrap();
        disk.recorded = Some(Vec::new());
        disk.record_every = every;
    }

    /// What was kept, in order, without any fault that was still to come; keeps nothing more.
    pub(crate) fn recorded(&self) -> Vec<Self> {
        let recorded = self.0.lock().unwrap().recorded.take();
        let calm = |mut disk: Disk| {
            disk.fault = None;
            Self::over(disk)
        };
        recorded.into_iter().flatten().map(calm).collect()
    }

    /// Calls made so far that may have changed the medium: writes, lengths, syncs.
    pub(super) fn changes(&self) -> u64 {
        self.0.lock().unwrap().changes
    }

    /// Notes from now on which pieces are read, but by a read of the whole file.
    pub(super) fn watch(&self) {
        self.0.lock().unwrap().watched = Some(BTreeSet::new());
    }

    /// Which were, by their number.
    pub(super) fn watched(&self) -> BTreeSet<usize> {
        self.0.lock().unwrap().watched.take().unwrap_or_default()
    }

    /// What the journal's medium holds.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let disk = self.0.lock().unwrap();
        disk.journal.as_ref().unwrap().durable.to_vec()
    }

    /// What programs see of the journal, and what its medium holds.
    pub(crate) fn bytes(&self) -> [Vec<u8>; 2] {
        let disk = self.0.lock().unwrap();
        let medium = disk.journal.as_ref().unwrap();
        [medium.seen.to_vec(), medium.durable.to_vec()]
    }

    /// The medium lied when it was synced, or is another one: it holds this from now on.
    pub(crate) fn restore(&self, durable: Vec<u8>) {
        self.restore_bytes(Bytes::new(&durable));
    }

    /// The same, without a copy.
    pub(super) fn restore_bytes(&self, durable: Bytes) {
        self.0.lock().unwrap().journal = Some(Medium::holding(durable));
    }

    /// The next call fails, and from then on the medium holds this.
    pub(super) fn restore_at_fault(&self, durable: Vec<u8>) {
        self.fail_after(1, Fault::Once);
        self.0.lock().unwrap().older = Some(Medium::holding(Bytes::new(&durable)));
    }

    /// Whatever fault was still to come does not.
    pub(super) fn crash_is_over(&self) {
        self.mend();
    }

    /// Whether the fault has not come yet.
    pub(super) fn fault_is_ahead(&self) -> bool {
        let disk = self.0.lock().unwrap();
        disk.fault.is_some_and(|(at, _)| disk.calls < at)
    }
}

impl Storage for FaultyStorage {
    type Backend = Uncached<FaultyBackend, FaultyCache>;

    fn data_dir(&self) -> Option<Arc<Path>> {
        self.1.clone()
    }

    fn open(&mut self) -> io::Result<Option<Self::Backend>> {
        let mut disk = self.0.lock().unwrap();
        disk.call(Call::Look)?;
        let Some(journal) = &mut disk.journal else {
            return Ok(None);
        };
        journal.forget_len();
        drop(disk);
        self.backend(false).map(Some)
    }

    fn create(&mut self) -> io::Result<Self::Backend> {
        let mut disk = self.0.lock().unwrap();
        disk.call(Call::Change)?;
        disk.unfinished = Some(Medium::default());
        drop(disk);
        self.backend(true)
    }

    fn adopt(&mut self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.call(Call::Change)?;
        disk.journal = disk.unfinished.take();
        Ok(())
    }
}

impl Replace for FaultyStorage {
    fn lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn make_room(&mut self, _: u64) -> io::Result<()> {
        self.0.lock().unwrap().call(Call::Look)
    }

    fn create_beside(&mut self) -> io::Result<Self::Backend> {
        self.create()
    }

    fn replace(&mut self) -> io::Result<PathBuf> {
        self.adopt()?;
        Ok("aside".into())
    }
}

impl FaultyStorage {
    fn backend(&self, unfinished: bool) -> io::Result<Uncached<FaultyBackend, FaultyCache>> {
        let disk = self.0.clone();
        let cache = FaultyCache(FaultyBackend { disk, unfinished });
        let disk = self.0.clone();
        Uncached::new(FaultyBackend { disk, unfinished }, cache)
    }
}

#[derive(Debug)]
pub(crate) struct FaultyBackend {
    disk: Arc<Mutex<Disk>>,
    unfinished: bool,
}

/// The cache over it.
#[derive(Debug)]
pub(crate) struct FaultyCache(FaultyBackend);

impl Cache for FaultyCache {
    /// A simulated journal is of several of them.
    fn piece_bytes(&self) -> u64 {
        4 * PIECE as u64
    }

    fn forget(&self, range: Range<u64>) -> io::Result<()> {
        let mut disk = self.0.disk.lock().unwrap();
        if disk.dead {
            return Err(io::Error::other("no power"));
        }
        let medium = self.0.medium(&mut disk)?;
        medium.forget(range.start as usize..range.end as usize);
        Ok(())
    }
}

impl FaultyBackend {
    fn medium<'a>(&self, disk: &'a mut Disk) -> io::Result<&'a mut Medium> {
        let medium = match self.unfinished {
            true => disk.unfinished.as_mut(),
            false => disk.journal.as_mut(),
        };
        medium.ok_or_else(|| io::Error::other("no such file"))
    }

    fn look<T>(&self, look: impl FnOnce(&Medium) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock().unwrap();
        disk.call(Call::Look)?;
        look(self.medium(&mut disk)?)
    }

    /// Makes the change, and where it fails perhaps a part of it.
    fn change(&self, change: Change) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        let was_dead = disk.dead;
        let Err(error) = disk.call(Call::Change) else {
            self.medium(&mut disk)?.change(change);
            return Ok(());
        };
        if was_dead {
            return Err(error);
        }
        let chance = next_random(&mut disk.random);
        // At a power cut the crash decides what becomes of it.
        let done = match (change, disk.dead) {
            (change, true) => Some(change),
            (Change::Write { offset, bytes }, false) => {
                let sectors = chance as usize % (bytes.len() / SECTOR + 1);
                let bytes: Arc<[u8]> = bytes[..sectors * SECTOR].into();
                (sectors > 0).then_some(Change::Write { offset, bytes })
            }
            (Change::Length(_), false) => None,
        };
        if let (Some(done), Ok(medium)) = (done, self.medium(&mut disk)) {
            medium.change(done);
        }
        Err(error)
    }
}

impl StorageBackend for FaultyBackend {
    fn len(&self) -> io::Result<u64> {
        self.look(|medium| Ok(medium.seen.len as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        disk.call(Call::Look)?;
        let offset = offset as usize;
        let is_whole = out.len() == self.medium(&mut disk)?.seen.len;
        if let Some(watched) = disk.watched.as_mut().filter(|_| !is_whole) {
            watched.extend(offset / PIECE..(offset + out.len()).div_ceil(PIECE));
        }
        let medium = self.medium(&mut disk)?;
        if medium.bad.start < offset + out.len() && offset < medium.bad.end {
            return Err(io::Error::other("a bad block"));
        }
        medium.seen.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock().unwrap();
        let was_dead = disk.dead;
        let called = disk.call(Call::Sync);
        let dead = disk.dead;
        let mut random = next_random(&mut disk.random);
        let medium = self.medium(&mut disk)?;
        match &called {
            Ok(()) => medium.sync(),
            // At a power cut the crash decides.
            Err(_) if was_dead || dead => {}
            Err(_) => medium.sync_in_part(&mut random),
        }
        called
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write {
            offset: offset as usize,
            bytes: data.into(),
        })
    }
}

#[test]
fn what_a_failed_sync_did_not_write_is_not_seen_after_the_next_opening() {
    const LEN: usize = 20 * PIECE;
    let mut storage = FaultyStorage::new(1);
    storage.restore(vec![1; LEN]);
    let shows = |backend: &dyn StorageBackend, expected: &[u8]| {
        let mut out = vec![0; LEN];
        backend.read(0, &mut out).unwrap();
        out == expected
    };
    let backend = storage.open().unwrap().unwrap();
    for piece in 0..LEN / PIECE {
        backend.write((piece * PIECE) as u64, &[2; PIECE]).unwrap();
    }
    storage.fail_after(1, Fault::Once);
    backend.sync_data().unwrap_err();
    backend.sync_data().unwrap();
    assert!(shows(&backend, &[2; LEN]));
    let [_, durable] = storage.bytes();
    assert!(durable.contains(&1));

    // What it writes itself it sees.
    let backend = storage.open().unwrap().unwrap();
    backend.write(PIECE as u64, &[3; PIECE]).unwrap();
    let mut expected = durable;
    expected[PIECE..2 * PIECE].fill(3);
    assert!(shows(&backend, &expected));
    backend.sync_data().unwrap();
    storage.crash();
    let backend = storage.open().unwrap().unwrap();
    assert!(shows(&backend, &expected));
}
