//! A real mosquitto for one test: on a free loopback port, in a directory of its own, gone with the
//! value that holds it.
//!
//! The binary is `$EDGE_OUTBOX_MOSQUITTO`, else `/usr/sbin/mosquitto`, as Debian installs it.
//! Without it a test fails; none is ever skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::server_process::free_port;

const BINARY: &str = "EDGE_OUTBOX_MOSQUITTO";
const INSTALLED: &str = "/usr/sbin/mosquitto";
/// How long a broker may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// How often a port that was free a moment ago may turn out to be taken.
const MAX_PORTS: usize = 20;
/// What it says once every listener is open.
const READY: &str = " running\n";

/// A running, or stopped, mosquitto that keeps what its durable subscribers have not fetched yet.
///
/// It writes its database when it is told to stop, and at no other time: what it confirmed since its
/// start survives [`MosquittoServer::stop`], and is lost with [`MosquittoServer::kill`], as it is with
/// any mosquitto between two of its intervals. A test of what nobody may lose stops it.
pub(crate) struct MosquittoServer {
    dir: TempDir,
    port: u16,
    config: String,
    running: Option<Child>,
}

impl MosquittoServer {
    /// Open to everybody.
    pub(crate) fn start() -> Self {
        Self::with("allow_anonymous true")
    }

    /// With this configuration, which may go on with the options of the one listener that there is:
    /// address and port are added, as are persistence, a queue as good as without limits and a log. `$DIR`
    /// stands for the directory of the test, `$PORT` for the port of the listener.
    pub(crate) fn with(config: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), config)
    }

    /// As [`MosquittoServer::with`], in a directory that holds something already (certificates).
    pub(crate) fn within(dir: TempDir, config: &str) -> Self {
        let mut server = Self {
            dir,
            port: 0,
            config: config.into(),
            running: None,
        };
        for _ in 0..MAX_PORTS {
            // mosquitto cannot choose one by itself. Between this and its own bind another process
            // may take the port: then it ends, and another port is tried.
            server.port = free_port();
            server.launch();
            if server.is_ready() {
                return server;
            }
        }
        panic!("mosquitto does not start:\n{}", server.log());
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").id()
    }

    /// The directory of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the broker has logged since it was last started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("mosquitto.log")).unwrap_or_default()
    }

    /// Stops it as an operator does (SIGTERM), and waits until it is gone. What it holds is written
    /// to its database.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.wait_until_gone();
    }

    /// Kills it without warning (SIGKILL). It forgets what it took since its start.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait_until_gone();
    }

    /// Has it write down what it holds (SIGUSR1), and waits until that is done.
    pub(crate) fn save(&self) {
        let saved = "Saving in-memory database";
        let before = self.log().matches(saved).count();
        self.signal(Signal::USR1);
        let deadline = Instant::now() + PATIENCE;
        while self.log().matches(saved).count() == before || !self.database().is_file() {
            assert!(Instant::now() < deadline, "mosquitto saves nothing");
            thread::sleep(POLL);
        }
    }

    /// Where it writes that.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("mosquitto.db")
    }

    /// Freezes it (SIGSTOP) and waits until it does not move. Connections stay.
    pub(crate) fn freeze(&mut self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.running.as_ref().unwrap().id());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&stat).unwrap();
            // Behind the name, which may hold anything.
            if text
                .rsplit_once(") ")
                .is_some_and(|(_, state)| state.starts_with('T'))
            {
                return;
            }
            assert!(Instant::now() < deadline, "mosquitto does not freeze");
            thread::sleep(POLL);
        }
    }

    /// Lets a frozen broker go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Makes it read its configuration again (SIGHUP), users and permissions among it.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Starts it again, on the same port with the same database.
    pub(crate) fn start_again(&mut self) {
        assert!(self.running.is_none(), "the broker still runs");
        self.launch();
        assert!(self.is_ready(), "mosquitto does not start:\n{}", self.log());
    }

    /// Starts it again with another configuration.
    pub(crate) fn start_again_with(&mut self, config: &str) {
        self.config = config.into();
        self.start_again();
    }

    fn launch(&mut self) {
        let dir = self.dir.path();
        let filled = self
            .config
            .replace("$DIR", &dir.display().to_string())
            .replace("$PORT", &self.port.to_string());
        // Started by root it would become a user who may not enter the directory.
        let user = if geteuid().is_root() {
            "user root\n"
        } else {
            ""
        };
        let file = dir.join("mosquitto.conf");
        // Room for more than any test sends.
        let config = format!(
            "{user}persistence true\npersistence_location {}/\nautosave_interval 0\n\
             max_queued_messages 1000000000\nlog_dest stderr\nlog_type error\nlog_type warning\n\
             log_type notice\nlog_type information\nlistener {} 127.0.0.1\n{filled}\n",
            dir.display(),
            self.port,
        );
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.join("mosquitto.log")).unwrap();
        let child = Command::new(binary())
            .arg("-c")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
    }

    /// Waits until it takes connections; false where it ended instead.
    fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(READY) {
            if self.running.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.running = None;
                return false;
            }
            assert!(
                Instant::now() < deadline,
                "waiting for mosquitto in vain:\n{}",
                self.log()
            );
            thread::sleep(POLL);
        }
        true
    }

    fn signal(&self, signal: Signal) {
        let child = self.running.as_ref().expect("the broker runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn wait_until_gone(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.wait().unwrap();
        }
    }
}

impl Drop for MosquittoServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os(BINARY).map_or_else(|| INSTALLED.into(), PathBuf::from);
    assert!(
        path.is_file(),
        "no mosquitto at {}: install Debian's `mosquitto`, or name one in {BINARY}",
        path.display()
    );
    path
}
