//! The room on the disk: looked at before events are taken, and a ballast to be given up.
//!
//! A journal on a disk that is full to the last block cannot even note what was delivered, so it
//! could not drain. Therefore appends are refused while less than `min_free` is left, and beside the
//! journal lies a file of nothing: where a write fails for want of room all the same, because
//! somebody else fills the disk, it is removed, and acknowledgements, trims and the ledger
//! have what they need. It is made again once there is room.
//!
//! A crash leaves the ballast whole, in part, or not at all, and each of these is as good: it is
//! looked for by its name.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::{error::Fault, staging::LowDisk, storage::JOURNAL_FILE};

/// The name of the ballast in the data directory.
const BALLAST_FILE: &str = "ballast";

/// The disk is looked at no more often, unless so much was written meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_BYTES: u64 = 1024 * 1024;

/// While there is too little room it is looked at so often, though nobody asks.
pub(super) const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A ballast that could not be made is not tried again before this.
const BALLAST_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// With less room than this a journal may not even open: the ballast goes before.
const OPENING_BYTES: u64 = 1024 * 1024;

/// A ballast is written in steps of this where its blocks cannot be reserved.
const ZEROS_BYTES: usize = 64 * 1024;

/// What `st_blocks` counts in, whatever the file system's blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

/// Of what the file of the journal takes on the disk, this part can surely hold events again.
const REUSABLE_SHARE: u64 = 2;

/// Watches over the room on the disk of one data directory. See the module.
#[derive(Debug)]
pub(crate) struct DiskGuard {
    dir: PathBuf,
    /// Bytes that stay free.
    min_free: u64,
    /// Bytes of the ballast; 0 for none.
    ballast_bytes: u64,
    ballast: Ballast,
    looked: Option<Looked>,
    low: Option<LowDisk>,
}

#[derive(Clone, Copy, Debug)]
struct Looked {
    at: Instant,
    written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ballast {
    Kept,
    Absent { try_again: Option<Instant> },
}

impl DiskGuard {
    /// Over this directory. Where there is hardly any room, a ballast that was kept is given up at
    /// once, so that the journal can be opened; else it is made where it is missing.
    pub(crate) fn new(dir: &Path, min_free: u64, ballast_bytes: u64) -> Self {
        let mut guard = Self {
            dir: dir.to_owned(),
            min_free,
            ballast_bytes,
            ballast: Ballast::Absent { try_again: None },
            looked: None,
            low: None,
        };
        // A copy of the directory may have made holes of it.
        let is_whole = |found: fs::Metadata| {
            let bytes = found.blocks().saturating_mul(STAT_BLOCK_BYTES);
            found.len() == ballast_bytes && bytes >= ballast_bytes
        };
        let kept = fs::metadata(guard.path()).is_ok_and(is_whole);
        if kept && ballast_bytes > 0 {
            guard.ballast = Ballast::Kept;
        } else {
            guard.remove_ballast();
        }
        match guard.free() {
            Some(free) if free < OPENING_BYTES => {
                guard.give_up_ballast();
            }
            Some(free) => {
                guard.keep_ballast(free, Instant::now());
            }
            None => {}
        }
        guard
    }

    /// What the disk leaves for a journal that holds `held` bytes and has written `written` so far;
    /// `None` where it has room. Asks the system rarely.
    pub(super) fn look(&mut self, held: u64, written: u64) -> Option<LowDisk> {
        if self.min_free == 0 && self.ballast_bytes == 0 {
            return None;
        }
        let now = Instant::now();
        let is_recent = |looked: Looked| {
            now.duration_since(looked.at) < LOOK_EVERY
                && written.saturating_sub(looked.written) < LOOK_EVERY_BYTES
        };
        if self.looked.is_some_and(is_recent) {
            return self.low;
        }
        self.looked = Some(Looked { at: now, written });
        let Some(free) = self.free() else {
            return self.low;
        };
        let free = self.keep_ballast(free, now);
        let least = self.least();
        let was_low = self.low.is_some();
        self.low = (free < least).then(|| LowDisk {
            // What the file takes already it may go on to use.
            most_held: match self.low {
                Some(low) => low.most_held,
                None => held.max(self.file_bytes() / REUSABLE_SHARE),
            },
            free,
            min_free: least,
        });
        match (was_low, self.low.is_some()) {
            (false, true) => tracing::warn!(
                free,
                min_free = least,
                "the disk is nearly full: the journal does not grow any more"
            ),
            (true, false) => tracing::info!(free, "the disk has room again"),
            _ => {}
        }
        self.low
    }

    /// Bytes that can be taken for a while, beside those that stay free; `None` where the system would
    /// not say.
    pub(super) fn spare(&self) -> Option<u64> {
        Some(self.free()?.saturating_sub(self.least()))
    }

    /// A write failed. Where that was for want of room, the ballast goes.
    pub(super) fn write_failed(&mut self, fault: &Fault) {
        let Fault::Io(error) = fault else { return };
        if is_full(error) {
            self.looked = None;
            self.give_up_ballast();
        }
    }

    fn give_up_ballast(&mut self) {
        if self.ballast == Ballast::Kept {
            tracing::warn!("the disk is full: the ballast is given up, so that events can leave");
            self.remove_ballast();
        }
    }

    fn remove_ballast(&mut self) {
        let removed = fs::remove_file(self.path());
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path().display(), %error, "the ballast does not go");
            }
            _ => self.ballast = Ballast::Absent { try_again: None },
        }
    }

    /// So many bytes stay free. Without a ballast there is no other reserve than them.
    fn least(&self) -> u64 {
        match self.ballast {
            Ballast::Kept => self.min_free,
            Ballast::Absent { .. } => self.min_free.max(self.room_for_ballast()),
        }
    }

    /// So many bytes have to be free for the ballast to be made: given up, it is not made of what it
    /// gave. Whether the journal may grow beside it comes second.
    fn room_for_ballast(&self) -> u64 {
        self.ballast_bytes.saturating_mul(2)
    }

    /// Makes the ballast where it is missing and the disk has room for it. Gives what is free then.
    fn keep_ballast(&mut self, free: u64, now: Instant) -> u64 {
        let Ballast::Absent { try_again } = self.ballast else {
            return free;
        };
        if self.ballast_bytes == 0
            || free < self.room_for_ballast()
            || try_again.is_some_and(|at| now < at)
        {
            return free;
        }
        match make_ballast(&self.path(), self.ballast_bytes) {
            Ok(()) => {
                self.ballast = Ballast::Kept;
                free.saturating_sub(self.ballast_bytes)
            }
            Err(error) => {
                tracing::warn!(path = %self.path().display(), %error, "no ballast can be made");
                drop(fs::remove_file(self.path()));
                self.ballast = Ballast::Absent {
                    try_again: Some(now + BALLAST_AGAIN_AFTER),
                };
                free
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(BALLAST_FILE)
    }

    /// Bytes that this process may still write to the disk; `None` where the system would not say.
    fn free(&self) -> Option<u64> {
        let found = statvfs(&self.dir).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Bytes that the file of the journal takes on the disk.
    fn file_bytes(&self) -> u64 {
        fs::metadata(self.dir.join(JOURNAL_FILE))
            .map_or(0, |found| found.blocks().saturating_mul(STAT_BLOCK_BYTES))
    }
}

/// Whether a write failed for want of room.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Takes real blocks: a file with a hole would hold nothing free.
fn make_ballast(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(&file, bytes),
        other => Ok(other?),
    }
}

/// For file systems that cannot reserve blocks (FAT on a card, for one).
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    // Made when they are needed, which is seldom: a constant would lie in every program.
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = 0;
    while at < bytes {
        let rest = usize::try_from(bytes - at).unwrap_or(usize::MAX);
        let zeros = zeros.get(..rest).unwrap_or(&zeros);
        file.write_all_at(zeros, at)?;
        at += zeros.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ballast_of(dir: &Path) -> Option<u64> {
        let found = fs::metadata(dir.join(BALLAST_FILE)).ok()?;
        Some(found.blocks() * STAT_BLOCK_BYTES)
    }

    #[test]
    fn the_ballast_takes_real_blocks_goes_when_the_disk_is_full_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut guard = DiskGuard::new(dir.path(), MIB, 2 * MIB);
        assert_eq!(ballast_of(dir.path()), Some(2 * MIB));
        guard.write_failed(&Fault::Io(io::Error::other("a bad block")));
        assert!(ballast_of(dir.path()).is_some(), "another fault");
        guard.write_failed(&Fault::Io(io::ErrorKind::StorageFull.into()));
        assert_eq!(ballast_of(dir.path()), None);
        assert_eq!(guard.look(0, 0), None, "there is room here");
        assert_eq!(ballast_of(dir.path()), Some(2 * MIB));
        drop(guard);
        // Of another size, or cut off while it was made.
        drop(DiskGuard::new(dir.path(), MIB, MIB));
        assert_eq!(ballast_of(dir.path()), Some(MIB));
        // Copied by a program that makes holes of zeros.
        fs::remove_file(dir.path().join(BALLAST_FILE)).unwrap();
        let copy = File::create(dir.path().join(BALLAST_FILE)).unwrap();
        copy.set_len(MIB).unwrap();
        assert_eq!(ballast_of(dir.path()), Some(0));
        drop(DiskGuard::new(dir.path(), MIB, MIB));
        assert_eq!(ballast_of(dir.path()), Some(MIB));
        drop(DiskGuard::new(dir.path(), MIB, 0));
        assert_eq!(ballast_of(dir.path()), None);
    }

    #[test]
    fn the_zeros_of_a_ballast_are_as_many_as_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zeros");
        let file = File::create(&path).unwrap();
        write_zeros(&file, 100_000).unwrap();
        assert_eq!(fs::read(&path).unwrap(), vec![0; 100_000]);
    }

    #[test]
    fn a_disk_with_less_than_is_to_stay_free_lets_the_journal_grow_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut guard = DiskGuard::new(dir.path(), u64::MAX / 2, 0);
        let low = guard.look(7_000, 0).unwrap();
        assert_eq!((low.most_held, low.min_free), (7_000, u64::MAX / 2));
        // What was held when the room ended may be held again.
        guard.looked = None;
        assert_eq!(guard.look(10, 0).unwrap().most_held, 7_000);
        assert_eq!(guard.spare(), Some(0));
        guard.min_free = 1;
        assert!(guard.spare().unwrap() > 0);
        assert!(guard.look(10, 0).is_some(), "not asked again so soon");
        assert_eq!(guard.look(10, LOOK_EVERY_BYTES), None);
    }
}
