//! A note in the data directory that the journal was found to be damaged while it was in use.
//!
//! Opening reads the end of a journal and not the whole: damage elsewhere shows when a sink comes to
//! it, or a write. Whoever recovers at the next start has to know of it.

use std::{fs, io, path::Path};

use crate::signing::replace_file;

/// The name of the note.
const FILE: &str = "journal.damage";

/// The longest note that is taken for one, in bytes.
const MAX_BYTES: usize = 4_096;

/// Notes what was found. Where that cannot be written down, the next start finds out by itself, or not.
pub(crate) fn remember(dir: &Path, what: &str) {
    let file = dir.join(FILE);
    if dir.as_os_str().is_empty() || file.exists() {
        return;
    }
    if let Err(error) = replace_file(&file, what.as_bytes()) {
        tracing::warn!(%error, "that the journal is damaged could not be noted");
    }
}

/// What was noted; the first thing that was found.
pub(crate) fn remembered(dir: &Path) -> Option<String> {
    let note = fs::read(dir.join(FILE)).ok()?;
    Some(String::from_utf8_lossy(&note[..note.len().min(MAX_BYTES)]).into_owned())
}

/// It is mended.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
