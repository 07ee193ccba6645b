//! A file that is under its name as a whole or not at all, on a stick that may be pulled.

use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::Failure;

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that is written under another name, or standard output.
pub(super) struct PartFile {
    to: To,
    path: PathBuf,
}

enum To {
    Stdout(io::StdoutLock<'static>),
    File {
        writer: BufWriter<File>,
        part: PathBuf,
    },
    /// It has its name.
    Done,
}

impl PartFile {
    /// Begins one; `-` is standard output. What has that name already is left alone without `force`.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self, Failure> {
        let to = if path.as_os_str() == "-" {
            To::Stdout(io::stdout().lock())
        } else {
            if path.is_dir() {
                let hint = format!("name a file in it: {}/NAME.jsonl", path.display());
                let message = format!("{} is a directory", path.display());
                return Err(Failure::new(message).hint(hint));
            }
            if let Ok(there) = path.symlink_metadata() {
                let what = match there.is_file() {
                    true if force => None,
                    true => Some(("is there already", ", or overwrite it with --force")),
                    // A link may lead anywhere, and a device is nothing to be replaced.
                    false => Some(("is there already, and no file", "")),
                };
                if let Some((what, or)) = what {
                    let message = format!("{} {what}", path.display());
                    return Err(Failure::new(message).hint(format!("choose another name{or}")));
                }
            }
            let mut part = path.as_os_str().to_owned();
            part.push(".part");
            let part = PathBuf::from(part);
            // What was left of another time, or a link that whoever had the stick has put there.
            drop(fs::remove_file(&part));
            let file = File::create_new(&part).map_err(|error| failed(&part, &error))?;
            To::File {
                writer: BufWriter::with_capacity(BUFFER_BYTES, file),
                part,
            }
        };
        let path = path.to_owned();
        Ok(Self { to, path })
    }

    /// Whether it is standard output, where nothing else belongs.
    pub(super) const fn is_stdout(&self) -> bool {
        matches!(self.to, To::Stdout(_))
    }

    /// Writes some of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.to {
            To::Stdout(stdout) => Ok(stdout.write_all(bytes)?),
            To::File { writer, part } => {
                let written = writer.write_all(bytes);
                written.map_err(|error| failed(part, &error))
            }
            To::Done => Ok(()),
        }
    }

    /// Gives it its name, once all of it is on the medium.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match &mut self.to {
            To::Stdout(stdout) => stdout.flush()?,
            To::File { writer, part } => {
                let synced = writer.flush().and_then(|()| writer.get_ref().sync_all());
                synced.map_err(|error| failed(part, &error))?;
                let named = fs::rename(&*part, &self.path);
                named.map_err(|error| failed(&self.path, &error))?;
                self.to = To::Done;
                sync_folder(&self.path).map_err(|error| failed(&self.path, &error))?;
            }
            To::Done => {}
        }
        Ok(())
    }
}

impl Drop for PartFile {
    /// What was not finished is of no use.
    fn drop(&mut self) {
        if let To::File { part, .. } = &self.to {
            drop(fs::remove_file(part));
        }
    }
}

/// Makes the name durable. Not every file system on a stick can.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(folder)?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::StorageFull => "make room on it, or take a larger one",
        ErrorKind::NotFound => "see whether the stick is there, and mounted",
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "see whether the stick can be written to, and by this user"
        }
        _ => "see whether the stick is still there, and try another one",
    };
    let message = format!("writing {} failed: {error}", path.display());
    Failure::new(message).hint(hint.to_owned())
}
