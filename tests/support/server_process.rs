//! What servers of more than one process, or that refuse to run as root, need of a test.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const POLL: Duration = Duration::from_millis(2);

/// The user that such a server runs as where the tests run as root.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` where the tests run as an ordinary user, which the server may do as well.
    pub(crate) fn needed() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let find = |name: &str| {
            let line = users
                .lines()
                .find(|line| line.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2).map(str::parse);
            Some(Self {
                uid: ids.next()?.ok()?,
                gid: ids.next()?.ok()?,
            })
        };
        let account = find("postgres").or_else(|| find("nobody"));
        Some(account.expect("root needs a user `postgres` or `nobody` to run the server as"))
    }

    /// A command that runs as this user, or as the one that asks.
    pub(crate) fn command(account: Option<Self>, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Gives a directory and everything in it to this user.
    pub(crate) fn own(account: Option<Self>, path: &Path) {
        let Some(Self { uid, gid }) = account else {
            return;
        };
        chown(path, Some(uid), Some(gid)).unwrap();
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                Self::own(account, &entry.unwrap().path());
            }
        }
    }
}

/// A port on 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A process and its children, the process first.
pub(crate) fn family(parent: u32) -> Vec<u32> {
    let children = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let of: u32 = rest.split(' ').nth(1)?.parse().ok()?;
            (of == parent).then_some(pid)
        });
    std::iter::once(parent).chain(children).collect()
}

/// Signals a process that may have ended.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    let _ = kill_process(pid, signal);
}

/// Stops a process and its children where they are, and waits until none moves.
pub(crate) fn freeze(parent: u32, patience: Duration) -> Vec<u32> {
    let deadline = Instant::now() + patience;
    // First the one that could start others.
    signal(parent, Signal::STOP);
    wait_until_still(parent, deadline);
    let all = family(parent);
    for &pid in &all {
        signal(pid, Signal::STOP);
    }
    for &pid in &all {
        wait_until_still(pid, deadline);
    }
    all
}

/// Waits until a process is gone that is no child of the test's, or was waited for already.
pub(crate) fn wait_until_gone(pid: u32, patience: Duration) {
    let deadline = Instant::now() + patience;
    while state(pid).is_some_and(|state| state != 'Z') {
        assert!(Instant::now() < deadline, "process {pid} does not end");
        thread::sleep(POLL);
    }
}

fn wait_until_still(pid: u32, deadline: Instant) {
    while state(pid).is_some_and(|state| !matches!(state, 'T' | 'Z')) {
        assert!(Instant::now() < deadline, "process {pid} does not rest");
        thread::sleep(POLL);
    }
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
