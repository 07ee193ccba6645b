//! A note in the data directory that the journal is damaged.
//!
//! Opening reads the end of a journal and not the whole: damage elsewhere shows when a sink comes to
//! it, or a write. Whoever recovers at the next start has to know of it. That is noted once.
//!
//! And damage may end the process ([`super::guard`]). Each time leaves a line that begins with
//! [`MARK`]. A journal with such a line is not opened any more, for that would end the next process,
//! too; a recovery does without what ended the one before it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::signing::replace_file;

/// The name of the note.
const FILE: &str = "journal.damage";

/// The longest note that is taken for one, in bytes.
const MAX_BYTES: usize = 4_096;

/// What a line begins with where the process may have ended.
const MARK: &str = "panic: ";

/// So much of what a panic said is kept, in characters.
const MAX_SAID: usize = 200;

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
    let note = read(&dir.join(FILE))?;
    let first = note.lines().next().unwrap_or_default();
    Some(match first.strip_prefix(MARK) {
        Some(said) => format!("it makes no sense to redb ({said}), which ended the process"),
        None => first.to_owned(),
    })
}

/// How often the process may have ended over it.
pub(crate) fn ends(dir: &Path) -> usize {
    let note = read(&dir.join(FILE)).unwrap_or_default();
    note.lines().filter(|line| line.starts_with(MARK)).count()
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

/// A line that says that the process ended, until it turns out that it did not.
pub(super) struct Mark {
    file: PathBuf,
    before: Option<String>,
}

/// Says durably that the process may end now. `None` where that cannot be written down: whoever asks
/// is in a panic, and there is nobody to tell.
pub(super) fn mark(dir: &Path, said: &str) -> Option<Mark> {
    let file = dir.join(FILE);
    let before = read(&file);
    let said: String = said.chars().take(MAX_SAID).collect();
    let said = said.replace(['\n', '\r'], " ");
    let note = match &before {
        Some(before) => format!("{}\n{MARK}{said}\n", before.trim_end()),
        None => format!("{MARK}{said}\n"),
    };
    if note.len() <= MAX_BYTES {
        replace_file(&file, note.as_bytes()).ok()?;
    }
    Some(Mark { file, before })
}

impl Mark {
    /// The process goes on. A mark that stays costs a recovery that was not needed, and no event.
    pub(super) fn withdraw(self) {
        let withdrawn = match &self.before {
            Some(before) => replace_file(&self.file, before.as_bytes()),
            None => fs::remove_file(&self.file),
        };
        if let Err(error) = withdrawn {
            tracing::warn!(%error, "a mark of damage to the journal stays");
        }
    }
}

fn read(file: &Path) -> Option<String> {
    let note = fs::read(file).ok()?;
    Some(String::from_utf8_lossy(&note[..note.len().min(MAX_BYTES)]).into_owned())
}
