//! Where secrets come from: a file or an environment variable, never the configuration itself,
//! which gets copied, committed and shown.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use zeroize::Zeroizing;

use super::{
    environment::Environment,
    problem::{Place, Problem},
    section::Section,
};
use crate::secret::Secret;

/// Largest file that is read as a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Largest file of certificates that is read, in bytes; a system's own bundle has a quarter of it.
#[cfg(any(feature = "nats", feature = "mqtt", feature = "postgres"))]
const MAX_PUBLIC_BYTES: u64 = 1024 * 1024;
/// The permission bits of everybody else. The group is left out: a service's secrets are often
/// given to it by group.
const OTHERS: u32 = 0o007;

/// A secret, or the file that holds it.
#[derive(Clone, Debug)]
pub(super) struct SecretSource {
    /// The key that names it, and where that is set.
    key: &'static str,
    place: Place,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    /// Read when it is needed.
    File(PathBuf),
    /// The environment's.
    Value(Secret),
}

impl SecretSource {
    /// In the file that a key names.
    pub(super) const fn file(key: &'static str, place: Place, path: PathBuf) -> Self {
        let from = From::File(path);
        Self { key, place, from }
    }

    /// From whichever of two keys is set.
    pub(super) fn read(
        section: &mut Section<'_, '_>,
        file_key: &'static str,
        variable_key: &'static str,
        environment: &Environment,
    ) -> Result<Option<Self>, Problem> {
        let path = section.optional_path(file_key);
        let variable: Option<String> = section.optional(variable_key);
        if path.is_some() && variable.is_some() {
            let message = format!(" and {file_key} are both set");
            section.refuse(variable_key, &message, Some("remove one of the two"));
        }
        if let Some(path) = path {
            return Ok(Some(Self::file(file_key, section.place_of(file_key), path)));
        }
        let Some(name) = variable else {
            return Ok(None);
        };
        let value = environment.get(&name)?;
        if value.is_none() {
            let message = format!(" names the environment variable {name}, which is not set");
            let hint = format!("set {name} where edge-outbox runs, or {file_key} to a file");
            section.refuse(variable_key, &message, Some(&hint));
        }
        Ok(value.map(|value| Self {
            key: variable_key,
            place: Place::Environment(name),
            from: From::Value(Secret::new(value)),
        }))
    }

    /// The file that holds it, where a file does.
    #[cfg(feature = "hub")]
    pub(super) fn path(&self) -> Option<&std::path::Path> {
        match &self.from {
            From::File(path) => Some(path),
            From::Value(_) => None,
        }
    }

    /// The secret itself, without the line break at its end.
    pub(super) fn reveal(&self) -> Result<Secret, Problem> {
        let path = match &self.from {
            From::Value(secret) => return Ok(secret.clone()),
            From::File(path) => path,
        };
        read_file(path).map_err(|fault| {
            let (what, hint) = match fault {
                Fault::Exposed(mode) => (
                    format!("is open to every user (mode {mode:04o})"),
                    Some(format!("run `chmod o= {}`", path.display())),
                ),
                Fault::Empty => ("is empty".into(), None),
                Fault::Io(error) => (format!("cannot be read: {error}"), None),
            };
            let problem = self.problem(format!("{} {what}", path.display()));
            Problem { hint, ..problem }
        })
    }

    /// What stands in a file that everybody may read, such as a certificate.
    #[cfg(any(feature = "nats", feature = "mqtt", feature = "postgres"))]
    pub(super) fn reveal_public(&self) -> Result<Secret, Problem> {
        let From::File(path) = &self.from else {
            return self.reveal();
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_PUBLIC_BYTES).read_to_string(&mut text))
            .map_err(|error| self.problem(format!("{} cannot be read: {error}", path.display())))?;
        Ok(Secret::new(text))
    }

    /// Something is wrong with the secret. The message must not show it.
    pub(super) fn problem(&self, message: impl std::fmt::Display) -> Problem {
        Problem {
            place: self.place.clone(),
            message: format!("{}: {message}", self.key),
            hint: None,
        }
    }
}

enum Fault {
    Exposed(u32),
    Empty,
    Io(io::Error),
}

fn read_file(path: &std::path::Path) -> Result<Secret, Fault> {
    let file = File::open(path).map_err(Fault::Io)?;
    // Asked of the open file: between a look at the path and the reading it could change.
    let mode = file.metadata().map_err(Fault::Io)?.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(Fault::Exposed(mode));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SECRET_BYTES)
        .read_to_string(&mut text)
        .map_err(Fault::Io)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    Ok(Secret::new(text))
}
