//! Opening an outbox.

mod recover;

use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{OpenError, Outbox, Shared, board::Board};
use crate::{
    clock::{Clock, SystemClock},
    envelope::DeviceName,
    event::check_name,
    hardware::Hardware,
    ingest::Door,
    journal::{
        Core, DiskGuard, FileStorage, Identity, Limits, NewBoard, QUEUE_COMMANDS, Reader,
        Retention, WhenFull, Writer, damage, opening_entropy, sync_dir, try_open,
    },
    signing::{DeviceKey, KeyError, KeyId},
    status::{ClockStatus, JournalState, JournalStatus, Status},
    status_board::StatusBoard,
};

/// The name of the key's file in the data directory.
pub(crate) const KEY_FILE: &str = "signing-key.pem";

/// The name of the journal's file in the data directory.
pub(crate) const JOURNAL_FILE: &str = "journal.redb";

/// The quota unless told otherwise: 1 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// The largest payload unless told otherwise: 256 KiB.
pub const DEFAULT_MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// Bytes that stay free on the disk unless told otherwise: 16 MiB.
pub const DEFAULT_MIN_FREE: u64 = 16 << 20;

/// The ballast unless told otherwise: 2 MiB.
pub const DEFAULT_BALLAST: u64 = 2 << 20;

/// redb's page cache unless told otherwise.
const DEFAULT_CACHE_BYTES: usize = 1024 * 1024;

/// Source of events that name none, unless told otherwise.
const DEFAULT_SOURCE: &str = "edge-outbox";

/// Opens an [`Outbox`].
pub struct OutboxBuilder {
    dir: PathBuf,
    device: Option<DeviceName>,
    source: Box<str>,
    key: Option<DeviceKey>,
    may_begin_epoch: bool,
    hardware: Option<Hardware>,
    limits: Limits,
    min_free: u64,
    ballast: u64,
    linger: Duration,
    erase_on_request: bool,
    cache_bytes: usize,
}

impl OutboxBuilder {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            device: None,
            source: DEFAULT_SOURCE.into(),
            key: None,
            may_begin_epoch: true,
            hardware: None,
            limits: Limits {
                max_bytes: DEFAULT_MAX_BYTES,
                max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
                retention: Retention::DEFAULT,
                low_disk: None,
            },
            min_free: DEFAULT_MIN_FREE,
            ballast: DEFAULT_BALLAST,
            linger: Duration::ZERO,
            erase_on_request: false,
            cache_bytes: DEFAULT_CACHE_BYTES,
        }
    }

    /// The device's name. Default: the one the journal remembers, else one derived from the key.
    /// Another name than the one remembered begins a new epoch.
    #[must_use]
    pub fn device(mut self, name: DeviceName) -> Self {
        self.device = Some(name);
        self
    }

    /// The source of events that name none: 1 to 255 bytes without control characters. Default:
    /// `edge-outbox`.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<str>>) -> Self {
        self.source = source.into();
        self
    }

    /// The key that signs. Default: `signing-key.pem` in the directory, made together with the
    /// journal; a journal whose key is missing does not open.
    /// Another key than the journal's begins a new epoch; where the old one is still in that
    /// file, it vouches for the new one.
    #[must_use]
    pub fn signing_key(mut self, key: DeviceKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Whether the journal goes on under a key of its own where it wakes up on another board than
    /// it was made on, as a copied card does. Default: yes. Without it, whoever copies a journal has
    /// to see to it that only one of the copies goes on.
    #[must_use]
    pub fn check_board(mut self, yes: bool) -> Self {
        // Nothing is concluded from a board of which nothing is known.
        self.hardware = (!yes).then(Hardware::default);
        self
    }

    /// As if on this board.
    #[cfg(test)]
    pub(super) fn on(mut self, hardware: Hardware) -> Self {
        self.hardware = Some(hardware);
        self
    }

    /// Opens a journal as it is, to look at it: it keeps its device name whatever
    /// [`Self::device`] says, begins no epoch for another key or name, and does not open under
    /// another key. Where there is no journal yet, this changes nothing.
    #[must_use]
    pub fn inspect(mut self) -> Self {
        self.may_begin_epoch = false;
        self
    }

    /// The largest payload, in bytes. Default: 256 KiB.
    #[must_use]
    pub fn max_payload_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_payload_bytes = bytes;
        self
    }

    /// The quota, in bytes of events held. Default: 1 GiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// What happens to an append that finds no room under the quota or on the disk. Default: it is
    /// refused.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.limits.retention.when_full = when_full;
        self
    }

    /// What is kept although every required sink has it: so many bytes of events, and each event
    /// for so long, counted from when it was taken in, by the time since boot, or over a restart by
    /// a clock that is set. Either is enough to be kept; the last quarter of the quota is not for it.
    /// Default: nothing, but for up to 1,023 events.
    #[must_use]
    pub fn keep_delivered(mut self, bytes: u64, time: Duration) -> Self {
        self.limits.retention.keep_bytes = bytes;
        self.limits.retention.keep_for = time;
        self
    }

    /// Bytes that stay free on the disk: with less, the journal does not grow. Default: 16 MiB.
    #[must_use]
    pub fn min_free(mut self, bytes: u64) -> Self {
        self.min_free = bytes;
        self
    }

    /// Bytes of a file beside the journal that is given up where the disk is full to the last block,
    /// so that events can leave; 0 for none. Default: 2 MiB.
    #[must_use]
    pub fn ballast(mut self, bytes: u64) -> Self {
        self.ballast = bytes;
        self
    }

    /// How long the first event of a commit waits for others, which saves flash and costs time.
    /// Default: not at all.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Whether an appended `user.erase_requested.v1` erases its aggregate and its subject person, as
    /// [`Outbox::erase`] does, of what was appended before it. The request itself follows once
    /// every required sink has confirmed it. Default: no.
    #[must_use]
    pub fn erase_on_request(mut self, yes: bool) -> Self {
        self.erase_on_request = yes;
        self
    }

    /// redb's page cache, in bytes. Default: 1 MiB.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Refuses a journal that ended the process before, and would again.
    fn is_safe_to_open(&self, journal_file: &Path) -> Result<(), OpenError> {
        match (damage::ends(&self.dir), damage::remembered(&self.dir)) {
            (1.., Some(what)) => Err(OpenError::Damaged {
                path: journal_file.display().to_string(),
                what,
            }),
            _ => Ok(()),
        }
    }

    /// Lets another board have the journal, if nobody has it open: its key is replaced.
    fn take_over(
        &self,
        board: &mut Board,
        key_file: &Path,
        journal_file: &Path,
    ) -> Result<(), OpenError> {
        if board.is_to_begin() {
            let writer = try_open(FileStorage::new(&self.dir), self.cache_bytes)
                .map_err(|fault| fault.opening(journal_file))?;
            board
                .begin(writer)
                .map_err(|source| io_error(&self.dir, source))?;
        }
        Ok(board.replace_key(key_file)?)
    }

    /// Opens the journal, or makes directory, key and journal. Takes a few milliseconds, whatever
    /// the backlog. A crash in the middle leaves nothing that the next open would stumble on.
    ///
    /// # Errors
    /// As [`OpenError`] says.
    pub fn open(self) -> Result<Outbox, OpenError> {
        check_name(&self.source).map_err(OpenError::Source)?;
        make_dir(&self.dir).map_err(|source| io_error(&self.dir, source))?;
        let key_file = self.dir.join(KEY_FILE);
        let journal_file = self.dir.join(JOURNAL_FILE);
        // Looked for before the key: who makes both makes the key first.
        let has_journal = journal_file
            .try_exists()
            .map_err(|source| io_error(&journal_file, source))?;
        if has_journal {
            self.is_safe_to_open(&journal_file)?;
        } else {
            // What is noted is about a journal that somebody has taken away.
            damage::forget(&self.dir).map_err(|source| io_error(&self.dir, source))?;
        }
        // Whoever only looks changes nothing.
        let board = if self.may_begin_epoch || !has_journal {
            // Of two that start at once, one would replace the key that the other goes on to use.
            let alone = File::open(&self.dir).map_err(|source| io_error(&self.dir, source))?;
            if let Err(TryLockError::WouldBlock) = alone.try_lock() {
                return Err(OpenError::InUse(journal_file.display().to_string()));
            }
            let here = self.hardware.clone();
            let here = here.unwrap_or_else(Hardware::of_this_machine);
            let key_is_given = self.key.is_some();
            match own_key(&key_file) {
                // What is wrong with the key is told below. Until it is mended, nothing changes.
                Err(()) if !key_is_given => None,
                Ok(None) if has_journal && !key_is_given => None,
                key => {
                    // One that is given is used whatever lies in that file.
                    let key = key.ok().flatten();
                    let board = Board::recognise(&self.dir, here, key, has_journal);
                    let mut board = board.map_err(|source| io_error(&self.dir, source))?;
                    self.take_over(&mut board, &key_file, &journal_file)?;
                    Some(board)
                }
            }
        } else {
            None
        };
        let new_board = board
            .as_ref()
            .map_or(NewBoard::No, |board| board.news(self.key.is_some()));
        let (key, previous_key) = match self.key {
            Some(key) => (key, DeviceKey::load(&key_file).ok()),
            None if has_journal => (existing_key(&key_file, &journal_file)?, None),
            None => (DeviceKey::load_or_create(&key_file)?, None),
        };
        sync_dir(&self.dir).map_err(|source| io_error(&self.dir, source))?;
        let public_key = key.public_key();
        let clock = SystemClock::new();
        let identity = Identity {
            device: self.device,
            key,
            previous_key,
            source: self.source,
            may_begin_epoch: self.may_begin_epoch,
            new_board,
        };
        // Whoever only looks changes nothing.
        let guard = self
            .may_begin_epoch
            .then(|| DiskGuard::new(&self.dir, self.min_free, self.ballast));
        let mut core = Core::open(
            FileStorage::new(&self.dir),
            identity,
            self.limits,
            self.cache_bytes,
            opening_entropy(),
            clock.stamp(),
        )
        .map_err(|fault| fault.opening(&journal_file))?;
        core.erase_on_request(self.erase_on_request);
        if let Some(board) = board {
            board.remember();
        }
        let device = core.device().clone();
        let reader = Reader::new(core.store().clone());
        let stamp = clock.stamp();
        let board = StatusBoard::new(Status {
            device: device.to_string(),
            key_id: core.key_id().to_string(),
            public_key: public_key.to_string(),
            epoch: core.epoch().to_string(),
            tail: core.tail(),
            journal: JournalStatus {
                dir: self.dir.clone(),
                bytes: core.held_bytes(),
                quota_bytes: self.limits.max_bytes,
                disk: None,
                first_held: core.first_held(),
                state: JournalState::Open,
                commits: core.commits(),
                reopened: 0,
                dropped: 0,
                erasing: None,
                last_error: None,
            },
            clock: ClockStatus {
                wall: stamp.wall,
                sync: stamp.sync,
            },
            sinks: std::collections::BTreeMap::new(),
            listening: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let (commands, queue) = mpsc::channel(QUEUE_COMMANDS);
        let writer = Writer::new(core, clock, queue, self.linger, board.clone());
        let writer = match guard {
            Some(guard) => writer.guarded_by(guard),
            None => writer,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|source| io_error(&self.dir, source))?;
        let handle = runtime.handle().clone();
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || runtime.block_on(writer.run()))
            .map_err(|source| io_error(&self.dir, source))?;
        let shared = Shared {
            door: Door::new(
                commands.clone(),
                self.limits.max_payload_bytes,
                Arc::clone(reader.store().meter()),
            ),
            dir: self.dir,
            commands,
            reader,
            board,
            device,
            public_key,
            runtime: handle,
            writer: Mutex::new(Some(thread)),
        };
        Ok(Outbox {
            shared: Arc::new(shared),
        })
    }
}

/// The id of the key in the file; none where there is no such file.
fn own_key(key_file: &Path) -> Result<Option<KeyId>, ()> {
    match DeviceKey::load(key_file) {
        Ok(key) => Ok(Some(key.public_key().id())),
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(_) => Err(()),
    }
}

/// The key of a journal that is there. A new one in its place would end the device's chain without
/// anybody having asked for it.
fn existing_key(key_file: &Path, journal_file: &Path) -> Result<DeviceKey, OpenError> {
    DeviceKey::load(key_file).map_err(|error| match error {
        KeyError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            OpenError::KeyMissing {
                journal: journal_file.display().to_string(),
                key: key_file.display().to_string(),
            }
        }
        error => OpenError::Key(error),
    })
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        path: path.display().to_string(),
        source,
    }
}

/// Makes the directory for us alone; one that is there is left as it is.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        // Perhaps made by a start that was cut off before it was synced. Where that is refused,
        // somebody else made it.
        if !dir.join(JOURNAL_FILE).exists() {
            let _ = sync_dir(above(dir));
        }
        return Ok(());
    }
    if dir.exists() {
        let what = "it is not a directory";
        return Err(io::Error::new(io::ErrorKind::NotADirectory, what));
    }
    let made: Vec<&Path> = dir.ancestors().take_while(|path| is_new(path)).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Each name that is new, not only the last, is there after a power cut once it is synced.
    made.into_iter().try_for_each(|path| sync_dir(above(path)))
}

fn is_new(path: &Path) -> bool {
    !path.as_os_str().is_empty() && !path.is_dir()
}

/// The directory that this name is in.
fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
