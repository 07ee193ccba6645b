//! The key's file: PKCS#8 PEM, mode 0600.
//!
//! A new key is written to a temporary file beside its place, synced, and hard-linked into place,
//! which fails when something is there already; then the directory is synced. So a crash leaves
//! the whole key or none, never half of one, and no key is ever overwritten. What it can leave is
//! the temporary file (`.<name>.<random>.new`, mode 0600) with a key that was never used.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use uuid::Uuid;
use zeroize::Zeroizing;

use super::DeviceKey;

/// Largest key file that is read, in bytes; an Ed25519 key in PEM has about 120.
const MAX_KEY_FILE_BYTES: u64 = 16 * 1024;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The operating system gave no randomness; no key was made.
    #[error("no randomness from the operating system: {0}")]
    Randomness(String),
    /// The text is no PKCS#8 document of an Ed25519 key, or its two halves do not belong together.
    #[error("not an ed25519 private key in PKCS#8")]
    Document,
    /// As [`KeyError::Document`], with the file it was read from.
    #[error("{}: not an ed25519 private key in PKCS#8 PEM", .0.display())]
    File(PathBuf),
    /// Group or others may read or write the file. The key is not used: it may be known.
    #[error("{}: the signing key is open to other users (mode {mode:04o})", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Reading failed. [`io::ErrorKind::NotFound`] when there is no such file.
    #[error("reading the signing key {} failed: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing or syncing failed, or the file is there already ([`io::ErrorKind::AlreadyExists`]).
    /// The key is not to be used: after a crash it may not be there.
    #[error("writing the signing key {} failed: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl KeyError {
    /// What to do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Document | Self::File(_) => Some(
                "make one with `openssl genpkey -algorithm ed25519`, or remove it and let the \
                 outbox make one"
                    .into(),
            ),
            Self::Exposed { path, .. } => Some(format!(
                "run `chmod 600 {}`; if somebody else may have read it, replace the key",
                path.display()
            )),
            Self::Randomness(_) | Self::Read { .. } | Self::Write { .. } => None,
        }
    }
}

impl DeviceKey {
    /// Reads the key from its file.
    ///
    /// # Errors
    /// [`KeyError::Read`], [`KeyError::File`] and [`KeyError::Exposed`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        // Asked of the open file: between a look at the path and the reading it could change.
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        // Room for all of it: growing would leave copies of the key behind, unwiped.
        let mut pem = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE_BYTES as usize + 1));
        file.take(MAX_KEY_FILE_BYTES)
            .read_to_end(&mut pem)
            .map_err(failed)?;
        std::str::from_utf8(&pem)
            .ok()
            .and_then(|pem| Self::from_pkcs8_pem(pem).ok())
            .ok_or_else(|| KeyError::File(path.to_owned()))
    }

    /// Writes the key to a new file. When this returns, the file survives a power cut.
    ///
    /// # Errors
    /// [`KeyError::Write`]; never overwrites a file.
    pub fn store(&self, path: &Path) -> Result<(), KeyError> {
        let pem = self.to_pkcs8_pem()?;
        store_bytes(path, pem.as_bytes()).map_err(|source| KeyError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Writes the key in the place of the one that is there, which is gone then.
    pub(crate) fn store_over(&self, path: &Path) -> Result<(), KeyError> {
        let pem = self.to_pkcs8_pem()?;
        replace_file(path, pem.as_bytes()).map_err(|source| KeyError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads the key from its file; where there is none, makes one and stores it first.
    ///
    /// # Errors
    /// As [`DeviceKey::load`], [`DeviceKey::generate`] and [`DeviceKey::store`].
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            answer => return answer,
        }
        let key = Self::generate()?;
        match key.store(path) {
            Ok(()) => Ok(key),
            // Somebody else was faster; theirs is the key.
            Err(KeyError::Write { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                Self::load(path)
            }
            Err(error) => Err(error),
        }
    }
}

/// Writes a file of mode 0600 whole, in the place of whatever is there. When this returns, it
/// survives a power cut.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    place_bytes(path, bytes, |temporary| fs::rename(temporary, path))
}

fn store_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link and not a rename, which would silently replace a key.
    place_bytes(path, bytes, |temporary| {
        let placed = fs::hard_link(temporary, path);
        placed.and(fs::remove_file(temporary))
    })
}

fn place_bytes(
    path: &Path,
    bytes: &[u8],
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.new", Uuid::new_v4().simple()));
    let temporary = directory.join(temporary);

    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    // A file that root makes is the service's all the same. The service itself is not root, and its
    // unit lets it give nothing away.
    if rustix::process::geteuid().is_root()
        && let Ok(above) = fs::metadata(directory)
    {
        let _ = fchown(&file, Some(above.uid()), Some(above.gid()));
    }
    let placed = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| place(&temporary));
    if placed.is_err() {
        // What counts is why it could not be placed.
        let _ = fs::remove_file(&temporary);
    }
    placed?;
    File::open(directory)?.sync_all()
}
