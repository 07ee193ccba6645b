//! The `edge-outbox` program itself, in a home of its own: a directory of the test's, an empty
//! environment, no configuration but what the test writes.
//!
//! It is the one that cargo has just built, or what `EDGE_OUTBOX_PROGRAM` names: `tests/arm` has the
//! one for a board there, under emulation.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = "EDGE_OUTBOX_PROGRAM";
/// How long the program may take for anything that ends by itself.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A directory with a configuration, and below it the data directory.
pub(crate) struct Home {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running daemon; killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Home {
    /// Without a word of configuration.
    pub(crate) fn new() -> Self {
        Self::with_config("")
    }

    /// With this configuration.
    pub(crate) fn with_config(toml: &str) -> Self {
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        };
        home.write_config(toml);
        home
    }

    pub(crate) fn write_config(&self, toml: &str) {
        fs::write(self.path("edge-outbox.toml"), toml).unwrap();
    }

    /// Adds a variable to the environment of everything that is started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("edge-outbox-data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.data_dir().join("edge-outbox.sock")
    }

    /// The program with the home as its working directory.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("EDGE_OUTBOX_CONFIG", self.path("edge-outbox.toml"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, b"")
    }

    /// Runs a command to its end with this on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_owned();
        // The command may end without having read all of it.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// As [`Home::run`], for a command that must succeed; gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
        ended.stdout
    }

    /// Starts the daemon on a free port and waits until it answers.
    pub(crate) fn daemon(&self) -> Daemon {
        self.daemon_at(&self.socket(), &["--listen", "127.0.0.1:0"])
    }

    /// Starts the daemon with these flags and waits until its socket is there.
    pub(crate) fn daemon_at(&self, socket: &Path, flags: &[&str]) -> Daemon {
        let mut daemon = self.launch(flags);
        let deadline = Instant::now() + PATIENCE;
        while !exists(socket)
            || UnixStream::connect(socket)
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        {
            daemon.assert_alive();
            assert!(
                Instant::now() < deadline,
                "the daemon does not answer: {}",
                daemon.log()
            );
            thread::sleep(POLL);
        }
        daemon
    }

    /// Starts the daemon with these flags and waits for nothing.
    pub(crate) fn launch(&self, flags: &[&str]) -> Daemon {
        let mut args = vec!["run"];
        args.extend(flags);
        let log = self.path("daemon.log");
        let child = self
            .command(&args)
            .stdout(fs::File::create(self.path("daemon.out")).unwrap())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Daemon { child, log }
    }

    /// What the daemon has written to standard output.
    pub(crate) fn daemon_output(&self) -> String {
        fs::read_to_string(self.path("daemon.out")).unwrap()
    }

    /// `status --json`.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).unwrap()
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "still {status:#}");
            thread::sleep(POLL);
        }
    }
}

impl Daemon {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits; gives the exit code and how long it took.
    pub(crate) fn stop(self) -> (i32, Duration) {
        self.stop_by(Signal::TERM)
    }

    /// Sends a signal and waits; gives the exit code and how long it took.
    pub(crate) fn stop_by(mut self, signal: Signal) -> (i32, Duration) {
        let begin = Instant::now();
        self.signal(signal);
        let code = self.child.wait().unwrap().code();
        (code.expect("an exit code"), begin.elapsed())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL, as good as a crash.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Fails with what it has logged where it has ended by itself.
    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the daemon ended: {}", self.log());
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn program() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_edge-outbox");
    std::env::var_os(PROGRAM).map_or_else(|| built.into(), PathBuf::from)
}

/// A line with an event; `n` is its payload.
pub(crate) fn line(n: usize) -> String {
    format!(
        "{{\"event_type\":\"quiz.submitted.v1\",\
         \"aggregate_id\":\"0192f0c1-2345-7000-8000-0123456789ab\",\"payload\":{{\"n\":{n}}}}}\n"
    )
}

/// Several of them.
pub(crate) fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(line).collect()
}

/// Whether a path is there.
pub(crate) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
