//! Processes of this program's own.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A process that does not listen, or does not end, by then has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// A running process; killed when dropped.
pub struct Local(Child);

impl Local {
    /// Starts it, and waits for nothing. What it says goes nowhere.
    pub fn launch(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = quiet.stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it")))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end (SIGTERM), and waits until it has written what it keeps.
    pub fn end(mut self) {
        signal(self.pid(), Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until somebody listens on this port.
pub fn wait_for_port(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nobody listens on {port}");
        thread::sleep(POLL);
    }
}

/// Signals a process that may have ended.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Stops a process where it is, and waits until no thread of it moves.
pub fn freeze(pid: u32) {
    signal(pid, Signal::STOP);
    let begun = Instant::now();
    let still = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
        tasks.flatten().flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map(|(_, state)| state);
            state.is_none_or(|state| state.starts_with(['T', 'Z', 'X']))
        })
    };
    while !still() && begun.elapsed() < PATIENCE {
        thread::sleep(POLL);
    }
}

/// The nats-server: `$EDGE_OUTBOX_NATS_SERVER`, else what `tests/run` installed.
pub fn nats_server() -> PathBuf {
    let installed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/tools/bin/nats-server"
    );
    std::env::var_os("EDGE_OUTBOX_NATS_SERVER").map_or_else(|| installed.into(), PathBuf::from)
}

/// The mosquitto: `$EDGE_OUTBOX_MOSQUITTO`, else Debian's.
pub fn mosquitto() -> PathBuf {
    let installed = "/usr/sbin/mosquitto";
    std::env::var_os("EDGE_OUTBOX_MOSQUITTO").map_or_else(|| installed.into(), PathBuf::from)
}
