//! The disk below the data directory: what it is, how much room it has, and whether its word that a
//! write is safe can be believed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, statvfs};
use tokio::{task::spawn_blocking, time::timeout};

use super::data::nearest;
use crate::{
    config::Config,
    finding::{Check, Finding},
    outbox::JOURNAL_FILE,
};

/// Below this many bytes the journal cannot be relied on to grow at all.
const LEAST_ROOM: u64 = 16 * 1024 * 1024;
/// Fewer free inodes than this are told of.
const FEW_INODES: u64 = 256;
/// Writes that are measured, at most.
const SAMPLES: usize = 9;
/// What each of them writes, in bytes: a page of the journal.
const SAMPLE_BYTES: usize = 4 * 1024;
/// No more is begun after this time.
const MEASURING_LIMIT: Duration = Duration::from_secs(2);
/// A disk that takes longer than this for one of them is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// No medium that keeps what it was given is as fast as this: even flash with a capacitor behind it
/// has a bus before it.
const IMPOSSIBLE: Duration = Duration::from_micros(20);
/// From here on producers feel it: a commit waits for it twice.
const SLOW: Duration = Duration::from_millis(100);

const MEMORY: &[&str] = &["tmpfs", "ramfs", "devtmpfs"];
const LAYERED: &[&str] = &["overlay", "aufs"];
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "glusterfs",
    "virtiofs",
];
const WITHOUT_RIGHTS: &[&str] = &["vfat", "msdos", "exfat", "ntfs", "ntfs3"];

pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let place = nearest(&config.data_dir);
    let place = fs::canonicalize(&place).unwrap_or(place);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut findings = Vec::new();
    findings.extend(Mount::of(&place, &mounts).map(|mount| mount.finding()));
    let journal = fs::metadata(config.data_dir.join(JOURNAL_FILE));
    let held = journal.map_or(0, |journal| journal.len());
    match statvfs(&place) {
        Ok(found) if found.f_flag.contains(StatVfsMountFlags::RDONLY) => {
            let message = format!("{} is on a read-only file system", place.display());
            let hint = "mount it for writing, or name another directory in `data_dir`; a file \
                        system that became so by itself has faults: see the system's log";
            findings.push(Finding::fail(Check::DiskSpace, message, hint.to_owned()));
            return findings;
        }
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let wanted = config.journal.max_bytes.saturating_sub(held);
            findings.push(space(free, wanted, config.journal.min_free_bytes));
            findings.push(inodes(found.f_files, found.f_favail));
        }
        Err(error) => {
            let message = format!("{}: {error}", place.display());
            findings.push(Finding::fail(Check::DiskSpace, message, None));
        }
    }
    findings.push(sync(place).await);
    findings
}

/// A mounted file system.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    device: String,
    point: PathBuf,
}

impl Mount {
    /// The one that a path is on: the last of those with the longest way in common, as a later one
    /// hides an earlier one.
    fn of(path: &Path, mountinfo: &str) -> Option<Self> {
        let mounts = mountinfo.lines().filter_map(Self::parse);
        mounts
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// Reads a line of `/proc/self/mountinfo`, as proc(5) has it.
    fn parse(line: &str) -> Option<Self> {
        let (before, behind) = line.split_once(" - ")?;
        let mut behind = behind.split(' ');
        Some(Self {
            kind: behind.next()?.to_owned(),
            device: unescaped(behind.next()?),
            point: unescaped(before.split(' ').nth(4)?).into(),
        })
    }

    fn finding(&self) -> Finding {
        let is = |kinds: &[&str]| kinds.contains(&self.kind.as_str());
        let shown = format!(
            "{} on {} at {}",
            self.kind,
            self.device,
            self.point.display()
        );
        let (what, hint) = if is(MEMORY) {
            (
                "memory, which a power cut empties",
                "name a directory on a disk in `data_dir`",
            )
        } else if is(LAYERED) {
            (
                "a layer that may be thrown away with its container, or at the next start",
                "name a directory on a volume of its own in `data_dir`",
            )
        } else if is(NETWORK) || self.kind.starts_with("fuse.") {
            (
                "over a network or another program: it may be away, and may not lock or sync as a \
                 disk does",
                "name a directory on a disk of this device in `data_dir`",
            )
        } else if is(WITHOUT_RIGHTS) {
            (
                "without owners and permissions, and easily damaged by a power cut",
                "name a directory on ext4 or f2fs in `data_dir`",
            )
        } else {
            return Finding::ok(Check::DiskKind, shown);
        };
        let message = format!("{shown}: {what}");
        Finding::warn(Check::DiskKind, message, hint.to_owned())
    }
}

/// Undoes `\040`, which stands for a blank.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escape = part.split_at_checked(3).and_then(|(digits, rest)| {
            let code = u8::from_str_radix(digits, 8).ok()?;
            Some((char::from(code), rest))
        });
        match escape {
            Some((plain, rest)) => {
                whole.push(plain);
                whole.push_str(rest);
            }
            None => {
                whole.push('\\');
                whole.push_str(part);
            }
        }
    }
    whole
}

/// `wanted`: what the journal may still grow by; `min_free`: what stays free.
fn space(free: u64, wanted: u64, min_free: u64) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let (free_mib, wanted_mib) = (free / MIB, wanted.div_ceil(MIB));
    let message = format!("{free_mib} MiB free; the journal may grow by {wanted_mib} MiB");
    let hint = "free some space, or lower `journal.max_bytes` to what is there";
    if free < min_free {
        let message = format!("{message}, but {} MiB stay free", min_free.div_ceil(MIB));
        let hint = "free some space: until then the journal does not grow (`journal.min_free`)";
        Finding::fail(Check::DiskSpace, message, hint.to_owned())
    } else if free < LEAST_ROOM {
        Finding::fail(Check::DiskSpace, message, hint.to_owned())
    } else if free - min_free < wanted {
        Finding::warn(Check::DiskSpace, message, hint.to_owned())
    } else {
        Finding::ok(Check::DiskSpace, message)
    }
}

/// Of how many inodes how many are free; a file system that makes them as needed has 0 in all.
fn inodes(all: u64, free: u64) -> Finding {
    let message = format!("{free} free");
    let hint = "remove files: many small ones are in the way, often old logs or temporary files";
    match (all, free) {
        (0, _) => Finding::ok(Check::DiskInodes, "made as they are needed"),
        (_, 0) => Finding::fail(Check::DiskInodes, message, hint.to_owned()),
        (_, few) if few < FEW_INODES => Finding::warn(Check::DiskInodes, message, hint.to_owned()),
        _ => Finding::ok(Check::DiskInodes, message),
    }
}

async fn sync(place: PathBuf) -> Finding {
    let shown = place.display().to_string();
    match timeout(PATIENCE, spawn_blocking(move || measure(&place))).await {
        Ok(Ok(Ok(median))) => plausible(median),
        Ok(Ok(Err(error))) => {
            let message = format!("writing a nameless file to {shown} failed: {error}");
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "run this as the user of the daemon",
                _ => "see to the disk, or name another directory in `data_dir`",
            };
            Finding::fail(Check::DiskSync, message, hint.to_owned())
        }
        Ok(Err(error)) => Finding::fail(Check::DiskSync, error.to_string(), None),
        Err(_) => {
            let message = format!("a few writes to {shown} were not safe after {PATIENCE:?}");
            let hint = "replace the card or the disk, or find out what else writes to it";
            Finding::fail(Check::DiskSync, message, hint.to_owned())
        }
    }
}

fn plausible(median: Duration) -> Finding {
    let figure = format!(
        "{:.3} ms until a write is called safe",
        median.as_secs_f64() * 1_000.0
    );
    if median < IMPOSSIBLE {
        let message = format!("{figure}: no medium is as fast, so it is not on one yet");
        let hint = "a power cut may take back what was acknowledged: name a directory on a disk that \
                    syncs in `data_dir`, or turn off the write cache that lies";
        return Finding::warn(Check::DiskSync, message, hint.to_owned());
    }
    if median > SLOW {
        let message = format!("{figure}: each commit waits for it twice");
        let hint = "use a faster card (A1, A2 or industrial), hand over events in batches, or set \
                    `journal.linger`";
        return Finding::warn(Check::DiskSync, message, hint.to_owned());
    }
    Finding::ok(Check::DiskSync, figure)
}

/// The median of a handful of writes, each synced, to a file that never has a name.
fn measure(dir: &Path) -> io::Result<Duration> {
    let file = nameless(dir)?;
    let bytes = [0xE0; SAMPLE_BYTES];
    let began = Instant::now();
    let mut samples = Vec::with_capacity(SAMPLES);
    while samples.len() < SAMPLES && (samples.is_empty() || began.elapsed() < MEASURING_LIMIT) {
        let before = Instant::now();
        file.write_all_at(&bytes, (samples.len() * SAMPLE_BYTES) as u64)?;
        file.sync_data()?;
        samples.push(before.elapsed());
    }
    samples.sort();
    Ok(samples.get(samples.len() / 2).copied().unwrap_or_default())
}

/// A file without a name, so that nothing is left however this ends. Where the file system has no
/// such thing, the name is gone as soon as it is there.
fn nameless(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            let name = dir.join(format!(".edge-outbox-doctor.{}", std::process::id()));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&name)?;
            fs::remove_file(&name)?;
            Ok(file)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict::{Fail, Ok as Good, Warn};

    const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/mmcblk0p2 rw\n\
30 27 0:27 / /dev/shm rw - tmpfs tmpfs rw\n\
31 27 0:30 / /mnt/a\\040b rw shared:7 - nfs4 hub:/export rw\n\
32 27 0:31 / /mnt/a\\040b rw shared:8 master:1 - fuse.sshfs hub:/ rw\n";

    #[test]
    fn a_path_is_on_the_last_mount_of_the_longest_way() {
        let kind = |path: &str| Mount::of(Path::new(path), MOUNTS).unwrap().kind;
        assert_eq!(kind("/var/lib/edge-outbox"), "ext4");
        assert_eq!(kind("/dev/shm/x"), "tmpfs");
        assert_eq!(kind("/dev/shmall"), "ext4");
        assert_eq!(kind("/mnt/a b/c"), "fuse.sshfs");
        assert_eq!(Mount::of(Path::new("/x"), "nonsense\n"), None);
    }

    #[test]
    fn what_does_not_keep_what_it_was_given_is_told() {
        for (kind, verdict) in [
            ("ext4", Good),
            ("f2fs", Good),
            ("btrfs", Good),
            ("tmpfs", Warn),
            ("overlay", Warn),
            ("nfs4", Warn),
            ("fuse.sshfs", Warn),
            ("vfat", Warn),
        ] {
            let mount = Mount {
                kind: kind.into(),
                device: "d".into(),
                point: "/".into(),
            };
            assert_eq!(mount.finding().verdict, verdict, "{kind}");
        }
    }

    #[test]
    fn room_is_measured_against_what_the_journal_may_grow_by() {
        const GIB: u64 = 1 << 30;
        assert_eq!(space(2 * GIB, GIB, LEAST_ROOM).verdict, Good);
        assert_eq!(space(GIB / 2, GIB, LEAST_ROOM).verdict, Warn);
        assert_eq!(space(GIB, GIB, LEAST_ROOM).verdict, Warn);
        assert_eq!(space(LEAST_ROOM - 1, 0, 0).verdict, Fail);
        assert_eq!(space(GIB, 0, 2 * GIB).verdict, Fail);
        assert_eq!(inodes(0, 0).verdict, Good);
        assert_eq!(inodes(1_000, 0).verdict, Fail);
        assert_eq!(inodes(1_000, 9).verdict, Warn);
        assert_eq!(inodes(1_000_000, 900_000).verdict, Good);
    }

    #[test]
    fn a_sync_that_is_too_fast_to_be_true_or_slow_is_told_with_its_figure() {
        for (micros, verdict, figure) in [
            (3, Warn, "0.003 ms"),
            (450, Good, "0.450 ms"),
            (30_000, Good, "30.000 ms"),
            (400_000, Warn, "400.000 ms"),
        ] {
            let finding = plausible(Duration::from_micros(micros));
            assert_eq!(finding.verdict, verdict, "{micros}");
            assert!(finding.message.starts_with(figure), "{}", finding.message);
        }
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(measure(dir.path()).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
