//! A file that is put into its place whole.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::account::Readers;
use crate::cli::Failure;

/// Written, synced, and not in its place yet. Dropped there, it is removed; a crash leaves it under
/// its temporary name, `.NAME.<random>.new`, readable by nobody else.
pub(super) struct NewFile {
    temporary: PathBuf,
    place: PathBuf,
}

impl NewFile {
    /// Writes it beside its place.
    pub(super) fn write(place: &Path, bytes: &[u8], readers: Readers) -> Result<Self, Failure> {
        let mut name = OsString::from(".");
        name.push(place.file_name().unwrap_or_default());
        name.push(format!(".{}.new", Uuid::new_v4().simple()));
        let new = Self {
            temporary: directory_of(place).join(name),
            place: place.to_owned(),
        };
        let written = new.fill(bytes, readers);
        written.map_err(|error| failure(place, &error))?;
        Ok(new)
    }

    fn fill(&self, bytes: &[u8], readers: Readers) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.temporary)?;
        file.write_all(bytes)?;
        if let Some((user, group)) = readers.owner {
            fchown(&file, Some(user), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(readers.mode))?;
        file.sync_all()
    }

    /// Where it is for now.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Puts it into its place; what is there is replaced only where it may be.
    pub(super) fn put(self, may_replace: bool) -> Result<PathBuf, Failure> {
        let put = if may_replace {
            fs::rename(&self.temporary, &self.place)
        } else {
            // A link, unlike a rename, replaces nothing that has appeared meanwhile.
            fs::hard_link(&self.temporary, &self.place)
        };
        put.and_then(|()| File::open(directory_of(&self.place))?.sync_all())
            .map_err(|error| failure(&self.place, &error))?;
        Ok(self.place.clone())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes the directory of a file, where there is none.
pub(super) fn make_directory(file: &Path) -> Result<(), Failure> {
    let directory = directory_of(file);
    fs::create_dir_all(directory).map_err(|error| failure(directory, &error))
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Some("run this with sudo, or name a file of your own with --config".to_owned())
        }
        io::ErrorKind::AlreadyExists => Some("--force replaces it".to_owned()),
        _ => None,
    };
    Failure::new(format!("writing {} failed: {error}", path.display())).hint(hint)
}
