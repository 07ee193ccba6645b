//! A file system of the store's own, which can be counted and cut off.
//!
//! An ext4 with its defaults on a loop device over a file. What its device was given to write is what
//! the store cost: pages, the file system's journal and its own records. And it can be shut down as a
//! power cut would: `EXT4_IOC_SHUTDOWN` without a flush of its log, which the file system's own tests
//! use for that. From then on nothing reaches the device: what was written and not synced, or not
//! yet written back by the kernel, is gone, and the next mount replays the journal. What such a cut does
//! *not* model: a device that forgets or reorders what it was given, or tears a sector.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::geteuid;

/// The file is sparse.
const BYTES: &str = "8G";
/// `EXT4_IOC_SHUTDOWN`, and `EXT4_GOING_FLAGS_NOLOGFLUSH`. Perl is in every Debian.
const SHUT_DOWN: &str = "open(my $dir, '<', $ARGV[0]) or die $!; my $flags = pack('I', 2); \
                         ioctl($dir, 0x8004587d, $flags) or die $!;";
/// Sectors are counted in these, whatever the device's are.
const SECTOR_BYTES: u64 = 512;
const PATIENCE: Duration = Duration::from_secs(60);

/// A mounted file system; gone when dropped.
pub struct Volume {
    image: PathBuf,
    at: PathBuf,
    device: String,
}

impl Volume {
    /// Whether one can be made: mounting takes root, and a kernel with loop devices.
    pub fn possible() -> bool {
        geteuid().is_root() && Path::new("/dev/loop-control").exists()
    }

    /// In this directory.
    pub fn new(dir: &Path) -> Self {
        let (image, at) = (dir.join("volume.img"), dir.join("volume"));
        fs::create_dir_all(&at).expect("a directory");
        said(Command::new("truncate").args(["-s", BYTES]).arg(&image));
        // All tables at once, so that none is written in the background later.
        let whole = "lazy_itable_init=0,lazy_journal_init=0";
        said(
            Command::new("mkfs.ext4")
                .args(["-q", "-E", whole])
                .arg(&image),
        );
        let device = said(
            Command::new("losetup")
                .args(["--find", "--show"])
                .arg(&image),
        );
        let volume = Self {
            image,
            at,
            device: device.trim().into(),
        };
        volume.mount();
        volume
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Bytes written to its device so far, after all that waits was written.
    pub fn written(&self) -> u64 {
        self.sync();
        let name = self.device.trim_start_matches("/dev/");
        let stat = fs::read_to_string(format!("/sys/block/{name}/stat")).expect("a device");
        let sectors = stat.split_whitespace().nth(6).expect("a field");
        sectors.parse::<u64>().expect("a number") * SECTOR_BYTES
    }

    /// Writes all that waits.
    pub fn sync(&self) {
        said(Command::new("sync").arg("-f").arg(&self.at));
    }

    /// Cuts the power. Nothing on it can be read or written until [`Self::restore`].
    pub fn cut(&self) {
        said(Command::new("perl").args(["-e", SHUT_DOWN]).arg(&self.at));
    }

    /// Mounts what is left, once nobody has a file open on it.
    pub fn restore(&self) {
        self.unmount();
        self.mount();
    }

    fn mount(&self) {
        let options = ["-t", "ext4", "-o", "noatime", &self.device];
        said(Command::new("mount").args(options).arg(&self.at));
    }

    fn unmount(&self) {
        let begun = Instant::now();
        while !Command::new("umount")
            .arg(&self.at)
            .output()
            .is_ok_and(|output| output.status.success())
        {
            if begun.elapsed() > PATIENCE {
                eprintln!("{} is still in use", self.at.display());
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.unmount();
        let _ = Command::new("losetup").args(["-d", &self.device]).output();
        let _ = fs::remove_file(&self.image);
    }
}

/// What a program says; one that fails ends the run.
fn said(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
