//! A new journal in the place of a damaged one, which is kept beside it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{FileStorage, JOURNAL_FILE, Storage, sync_dir};

/// What follows the journal's name where a damaged one is kept; then comes a number, the highest for
/// the latest.
const DAMAGED: &str = ".damaged-";

/// What a damaged journal is called while it is copied.
const COPY_FILE: &str = "journal.redb.copy";

/// So many damaged journals are kept: a card that is failing makes more of them, each as large as the
/// journal. The oldest goes when a later one takes its place, or when it takes the room of a new journal.
const MAX_DAMAGED: usize = 3;

/// So much of the disk is left to others, in bytes.
const SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// Where the place of a journal can be given to a new one.
pub(crate) trait Replace: Storage {
    /// Keeps every other process from opening or making the journal until this is dropped.
    ///
    /// # Errors
    /// `WouldBlock` where another process does the same; else whatever the medium says.
    fn lock(&mut self) -> io::Result<()>;

    /// Makes sure that so many bytes fit beside the journal.
    ///
    /// # Errors
    /// `StorageFull` where they do not.
    fn make_room(&mut self, bytes: u64) -> io::Result<()>;

    /// As [`Storage::create`], beside a journal.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn create_beside(&mut self) -> io::Result<Self::Backend>;

    /// Puts what was made in the journal's place, wholly or not at all, and durable on return. Gives
    /// where the old one is kept.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn replace(&mut self) -> io::Result<PathBuf>;
}

impl Replace for FileStorage {
    fn lock(&mut self) -> io::Result<()> {
        self.making = Some(self.locked_dir()?);
        Ok(())
    }

    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        // Of an attempt that was cut off.
        for left in [&self.unfinished, &self.dir().join(COPY_FILE)] {
            match fs::remove_file(left) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut damaged = self.damaged()?;
        loop {
            let disk = rustix::fs::statvfs(self.dir())?;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free >= bytes.saturating_add(SPARE_BYTES) {
                return Ok(());
            }
            // The journal itself may be one of them, after an attempt that was cut off.
            let oldest = damaged.iter().position(|(_, path)| !self.is_journal(path));
            let Some(index) = oldest else {
                let what = format!(
                    "recovering it takes {bytes} bytes and {SPARE_BYTES} to spare on its disk, \
                     where {free} are free"
                );
                return Err(io::Error::new(io::ErrorKind::StorageFull, what));
            };
            remove(&damaged.remove(index).1)?;
        }
    }

    fn create_beside(&mut self) -> io::Result<Self::Backend> {
        self.begin_unfinished()
    }

    fn replace(&mut self) -> io::Result<PathBuf> {
        let damaged = self.damaged()?;
        let number = damaged.last().map_or(1, |(number, _)| number + 1);
        // An attempt that was cut off has kept it already.
        let kept = damaged.iter().find(|(_, path)| self.is_journal(path));
        let kept = match kept {
            Some((_, path)) => path.clone(),
            None => {
                let name = format!("{JOURNAL_FILE}{DAMAGED}{number}");
                let path = self.dir().join(name);
                // Without hard links (FAT on a card, for one) it is copied: under its own name there
                // has to be a journal at any time, or the next start makes an empty one.
                if fs::hard_link(&self.path, &path).is_err() {
                    let copy = self.dir().join(COPY_FILE);
                    fs::copy(&self.path, &copy)?;
                    fs::File::open(&copy)?.sync_all()?;
                    fs::rename(&copy, &path)?;
                }
                path
            }
        };
        sync_dir(self.dir())?;
        fs::rename(&self.unfinished, &self.path)?;
        sync_dir(self.dir())?;
        let damaged = self.damaged()?;
        for (_, oldest) in damaged.iter().rev().skip(MAX_DAMAGED) {
            // The journal is in its place: what is left over is no reason to fail.
            if let Err(error) = remove(oldest) {
                tracing::warn!(file = %oldest.display(), %error, "a damaged journal stays");
            }
        }
        self.making = None;
        Ok(kept)
    }
}

impl FileStorage {
    /// The damaged journals that are kept, the oldest first.
    fn damaged(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut damaged = Vec::new();
        for entry in fs::read_dir(self.dir())? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| {
                let rest = name.strip_prefix(JOURNAL_FILE)?;
                rest.strip_prefix(DAMAGED)?.parse().ok()
            });
            damaged.extend(number.map(|number: u64| (number, entry.path())));
        }
        damaged.sort();
        Ok(damaged)
    }

    /// Whether this is another name of the journal's file.
    fn is_journal(&self, path: &Path) -> bool {
        let file = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
        file(path).is_some_and(|it| file(&self.path) == Some(it))
    }
}

fn remove(damaged: &Path) -> io::Result<()> {
    tracing::warn!(file = %damaged.display(), "the oldest damaged journal is given up for its room");
    fs::remove_file(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attempt_left_that_was_cut_off_takes_no_room_from_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = FileStorage::new(dir.path());
        fs::write(&storage.path, b"damaged").unwrap();
        for left in [&storage.unfinished, &dir.path().join(COPY_FILE)] {
            fs::write(left, b"half").unwrap();
        }
        storage.make_room(1).unwrap();
        let left = fs::read_dir(dir.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [JOURNAL_FILE]);
    }
}
