//! A directory for the length of the demo.

use std::{
    env,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::DemoError;

/// The directory; removed with all that is in it when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one for us alone, where the system keeps what is temporary.
    pub(super) fn make() -> Result<Self, DemoError> {
        let path = env::temp_dir().join(format!("edge-outbox-demo-{}", Uuid::new_v4().simple()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(DemoError::Scratch { path, source }),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever clears the system's temporary files.
        drop(fs::remove_dir_all(&self.0));
    }
}
