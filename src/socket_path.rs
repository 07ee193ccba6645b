//! Paths of Unix sockets, of whatever length.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// Bytes that the system takes of a socket's path.
const MAX_BYTES: usize = 107;

/// A path to bind or to connect to. Where the real one is too long, which a deep working directory
/// is enough for, it leads through an open descriptor of the directory.
pub(crate) struct SocketPath {
    path: PathBuf,
    /// Open for as long as the path is used.
    _directory: Option<OwnedFd>,
}

impl SocketPath {
    pub(crate) fn to(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().as_bytes().len() <= MAX_BYTES {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        let path = Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }

    pub(crate) fn as_path(&self) -> &Path {
        &self.path
    }
}
