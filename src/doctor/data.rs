//! The data directory with the key and the journal: whether they are ours alone, and there together.

use std::{
    fs::{self, Metadata},
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::Daemon;
use crate::{
    config::Config,
    finding::{Check, Finding},
    outbox::{JOURNAL_FILE, KEY_FILE, OpenError},
    signing::DeviceKey,
};

/// Permission bits that let others change the directory or look into it. The group may look.
const OTHERS: u32 = 0o027;

/// The process that has the journal open, as the kernel's list of locks says. Nothing is locked for
/// it: a daemon that starts at this moment must not be told that the journal is in use.
pub(super) fn holder(config: &Config) -> Option<u32> {
    let journal = fs::metadata(config.data_dir.join(JOURNAL_FILE)).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks
        .lines()
        .find_map(|line| held_by(line, journal.ino(), journal.dev()))
}

/// Reads `1: FLOCK ADVISORY WRITE 1878 fe:00:7766040 0 EOF`, where it is about this file.
fn held_by(line: &str, inode: u64, device: u64) -> Option<u32> {
    let mut words = line.split_whitespace().skip(4);
    let pid = words.next()?.parse().ok()?;
    let mut file = words.next()?.split(':');
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let (major, minor) = (number(file.next()?)?, number(file.next()?)?);
    let is_it = file.next()?.parse() == Ok(inode)
        && (rustix::fs::major(device), rustix::fs::minor(device)) == (major, minor);
    is_it.then_some(pid)
}

/// The directory, or the nearest one above it that is there.
pub(super) fn nearest(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|path| path.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

pub(super) fn findings(config: &Config, daemon: &Daemon, holder: Option<u32>) -> Vec<Finding> {
    let dir = &config.data_dir;
    let found = match fs::metadata(dir) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => {
            let message = format!("{} is not a directory", dir.display());
            let hint = "name a directory with --data-dir or `data_dir`";
            return vec![Finding::fail(Check::DataDir, message, hint.to_owned())];
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return vec![absent(dir), fresh_key(config)];
        }
        Err(error) => {
            let message = format!("{}: {error}", dir.display());
            let hint = "run this as the user that it belongs to, or set `data_dir`";
            return vec![Finding::fail(Check::DataDir, message, hint.to_owned())];
        }
    };
    let mut findings = vec![directory(dir, &found)];
    let is_ours = is_open_to_us(&found);
    if is_ours {
        findings.push(key(config, &found));
    }
    findings.extend(journal(dir, &found, holder));
    findings.extend(daemon.journal());
    findings
}

/// Root may look at everything.
fn is_open_to_us(dir: &Metadata) -> bool {
    let own = rustix::process::geteuid();
    own.is_root() || own.as_raw() == dir.uid()
}

fn absent(dir: &Path) -> Finding {
    let above = nearest(dir);
    if access(&above, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        let message = format!(
            "{} is not there yet; the daemon makes it at its first start",
            dir.display()
        );
        return Finding::ok(Check::DataDir, message);
    }
    let message = format!(
        "{} is not there, and this user may make nothing in {}",
        dir.display(),
        above.display()
    );
    let hint = "run this as the user of the daemon, or name another directory with --data-dir or \
                `data_dir`";
    Finding::fail(Check::DataDir, message, hint.to_owned())
}

fn directory(dir: &Path, found: &Metadata) -> Finding {
    let (mode, owner) = (found.mode() & 0o7777, found.uid());
    let shown = format!("{}, mode {mode:04o}, of user {owner}", dir.display());
    if !is_open_to_us(found) {
        let own = rustix::process::geteuid().as_raw();
        let message = format!("{shown}; this is user {own}, who may not look at the key");
        let hint = format!("run this as that user: `sudo -u '#{owner}' edge-outbox doctor`");
        return Finding::fail(Check::DataDir, message, hint);
    }
    if mode & OTHERS != 0 {
        let message = format!("{shown}: open to other users");
        let hint = format!("run `chmod 700 {}`", dir.display());
        return Finding::warn(Check::DataDir, message, hint);
    }
    Finding::ok(Check::DataDir, shown)
}

/// The key of a device that has no journal.
fn fresh_key(config: &Config) -> Finding {
    if config.has_signing_key() {
        return key_of_environment(config);
    }
    Finding::ok(
        Check::DataKey,
        "none yet; it is made together with the journal",
    )
}

fn key_of_environment(config: &Config) -> Finding {
    match config.outbox() {
        Ok(_) => Finding::ok(Check::DataKey, "comes from EDUPULSE_SIGNING_KEY_B64"),
        Err(error) => {
            let hint = error
                .problems
                .iter()
                .find_map(|problem| problem.hint.clone());
            Finding::fail(Check::DataKey, error.to_string(), hint)
        }
    }
}

fn key(config: &Config, dir: &Metadata) -> Finding {
    if config.has_signing_key() {
        return key_of_environment(config);
    }
    let path = config.data_dir.join(KEY_FILE);
    let journal = config.data_dir.join(JOURNAL_FILE);
    let found = match fs::metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound && !journal.exists() => {
            return fresh_key(config);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let missing = OpenError::KeyMissing {
                journal: journal.display().to_string(),
                key: path.display().to_string(),
            };
            return Finding::fail(Check::DataKey, missing.to_string(), missing.hint());
        }
        Err(error) => {
            let message = format!("{}: {error}", path.display());
            let hint = "run this as the user that it belongs to";
            return Finding::fail(Check::DataKey, message, hint.to_owned());
        }
    };
    match DeviceKey::load(&path) {
        Err(error) => Finding::fail(Check::DataKey, error.to_string(), error.hint()),
        Ok(_) if found.uid() != dir.uid() => foreign(Check::DataKey, &path, &found, dir),
        Ok(key) => Finding::ok(
            Check::DataKey,
            format!(
                "{KEY_FILE}, mode {:04o}, key id {}",
                found.mode() & 0o7777,
                key.public_key().id()
            ),
        ),
    }
}

/// A file that whoever owns the directory cannot open: made by root by mistake, most of the time.
fn foreign(check: Check, path: &Path, found: &Metadata, dir: &Metadata) -> Finding {
    let message = format!(
        "{} belongs to user {}, and its directory to user {}",
        path.display(),
        found.uid(),
        dir.uid()
    );
    let hint = format!("run `chown {}:{} {}`", dir.uid(), dir.gid(), path.display());
    Finding::fail(check, message, hint)
}

fn journal(dir: &Path, owner: &Metadata, holder: Option<u32>) -> Option<Finding> {
    let path = dir.join(JOURNAL_FILE);
    Some(match fs::metadata(&path) {
        Ok(found) if found.uid() != owner.uid() => {
            foreign(Check::DataJournal, &path, &found, owner)
        }
        Ok(found) => {
            let use_ = match holder {
                Some(pid) => format!("open in process {pid}"),
                None => "not open; what is in it was not looked at".to_owned(),
            };
            let message = format!("{JOURNAL_FILE}, {} bytes, {use_}", found.len());
            Finding::ok(Check::DataJournal, message)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::ok(Check::DataJournal, "none yet")
        }
        // The directory's finding says why.
        Err(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_of_locks_names_who_has_the_journal_open() {
        let device = rustix::fs::makedev(0xfe, 0);
        let line = "1: FLOCK  ADVISORY  WRITE 1878 fe:00:7766040 0 EOF";
        assert_eq!(held_by(line, 7_766_040, device), Some(1_878));
        assert_eq!(held_by(line, 7_766_041, device), None);
        assert_eq!(held_by(line, 7_766_040, rustix::fs::makedev(8, 0)), None);
        for other in [
            "",
            "1: -> FLOCK  ADVISORY  WRITE 1878 fe:00:7766040 0 EOF",
            "1: FLOCK",
        ] {
            assert_eq!(held_by(other, 7_766_040, device), None, "{other}");
        }
    }
}
