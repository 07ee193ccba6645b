//! The Unix socket's file.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};

use super::ListenError;
use crate::socket_path::SocketPath;

/// What the socket's mode leaves out: everything of others, and execution, which means nothing.
const MASK: Mode = Mode::from_raw_mode(0o117);

/// A bound socket's file; removed when it is dropped.
pub(super) struct SocketFile {
    path: PathBuf,
    /// The file's own number: another process may have put its socket there meanwhile.
    inode: u64,
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // One that stays is found stale at the next start.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Binds the socket with mode 0660. The file of a daemon that was killed is replaced; one that
/// somebody answers on, or that is no socket, is left alone.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed = |source| ListenError::Unix {
        path: path.to_owned(),
        source,
    };
    let short = SocketPath::to(path).map_err(failed)?;
    match fs::symlink_metadata(path) {
        // A link is what a daemon whose socket was elsewhere has left behind.
        Ok(found) if !found.file_type().is_socket() && !found.is_symlink() => {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        Ok(_) if UnixStream::connect(short.as_path()).await.is_ok() => {
            return Err(ListenError::SocketInUse {
                path: path.to_owned(),
            });
        }
        Ok(_) => fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = bind_masked(short.as_path()).map_err(failed)?;
    let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
    Ok((
        listener,
        SocketFile {
            path: path.to_owned(),
            inode,
        },
    ))
}

/// A link in the data directory to a socket elsewhere; removed when it is dropped. It is how a
/// command finds the daemon that the service manager gave a directory of its own for the socket.
pub(super) struct SocketLink(PathBuf);

impl SocketLink {
    /// Replaces a link that is there, and nothing else.
    pub(super) fn make(link: &Path, socket: &Path) -> io::Result<Self> {
        let socket = std::path::absolute(socket)?;
        if fs::symlink_metadata(link)
            .is_ok_and(|found| found.is_symlink() || found.file_type().is_socket())
        {
            fs::remove_file(link)?;
        }
        std::os::unix::fs::symlink(socket, link)?;
        Ok(Self(link.to_owned()))
    }
}

impl Drop for SocketLink {
    fn drop(&mut self) {
        // One that stays leads nowhere, and is replaced at the next start.
        drop(fs::remove_file(&self.0));
    }
}

/// The mode has to be right from the first instant: whoever connects before it is changed stays
/// connected.
fn bind_masked(path: &Path) -> io::Result<UnixListener> {
    let before = rustix::process::umask(MASK);
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_a_killed_daemon_left_behind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_listener, file) = bind(&path).await.unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_somebody_answers_on_and_a_file_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_listener, _file) = bind(&path).await.unwrap();
        assert!(matches!(
            bind(&path).await,
            Err(ListenError::SocketInUse { .. })
        ));
        let path = dir.path().join("f");
        fs::write(&path, "mine").unwrap();
        let error = bind(&path).await.err().unwrap();
        assert!(error.hint().unwrap().starts_with("there is something else"));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[tokio::test]
    async fn a_directory_may_be_deep_but_a_name_not_longer_than_the_system_takes() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a".repeat(100)).join("b".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let (_listener, file) = bind(&deep.join("s")).await.unwrap();
        assert!(file.path().exists());
        let error = bind(&deep.join("c".repeat(100))).await.err().unwrap();
        assert!(error.hint().unwrap().contains("107 bytes"), "{error}");
    }
}
