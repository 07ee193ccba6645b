//! `edge-outbox hub` itself, in a home of its own, with the configuration that the test writes.

use std::{
    fs,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    postgres_server::PostgresServer,
    program::{Ended, Home},
};

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A hub's home. The process can be started, and started again.
pub(crate) struct HubHome {
    home: Home,
    name: String,
    logs: usize,
}

/// A running hub; killed when it is dropped.
pub(crate) struct HubProcess {
    child: Child,
    log: std::path::PathBuf,
}

impl HubHome {
    /// With keys of its own, and these sections.
    pub(crate) fn new(name: &str, database: &PostgresServer, sections: &str) -> Self {
        let hub = Self {
            home: Home::new(),
            name: name.into(),
            logs: 0,
        };
        let url = database.url_as("hub", "?sslmode=disable");
        // Any other port would clash with another hub's.
        let config = format!(
            "[database]\nurl = \"{url}\"\n[intake]\nerasure_key_file = \"erasure.key\"\n\
             first_use = true\n[receipts]\nkey_file = \"hub.pem\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n{sections}"
        );
        fs::write(hub.home.path("hub.toml"), config).unwrap();
        hub
    }

    /// The same, where devices are known by registration alone.
    pub(crate) fn without_first_use(self) -> Self {
        let path = self.home.path("hub.toml");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(path, config.replace("first_use = true\n", "")).unwrap();
        self
    }

    /// Takes over the keys of another, as all hubs of a database have to.
    pub(crate) fn with_keys_of(self, other: &Self) -> Self {
        for name in ["erasure.key", "hub.pem"] {
            fs::copy(other.home.path(name), self.home.path(name)).unwrap();
        }
        self
    }

    /// Runs `edge-outbox hub` with these arguments to its end.
    pub(crate) fn ask(&self, args: &[&str]) -> Ended {
        let config = self.home.path("hub.toml");
        let mut all = vec!["hub", "--config", config.to_str().unwrap()];
        all.extend(args);
        self.home.run(&all)
    }

    /// The same, for what must succeed; gives what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ended = self.ask(args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
        ended.stdout
    }

    /// Adds a variable to the environment of everything that is started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.home.set(name, value);
    }

    /// Makes the keys that are missing; gives the public one that devices pin.
    #[track_caller]
    pub(crate) fn public_key(&self) -> String {
        let said = self.ok(&["key"]);
        let mut lines = said.lines();
        let key = lines.find_map(|line| line.strip_prefix("public key  "));
        key.expect("a public key").to_owned()
    }

    /// Registers devices, as an operator does: lines of `identity --json`. The hub's user needs the
    /// operator's role.
    #[track_caller]
    pub(crate) fn register(&self, identities: &str) {
        let path = self.path("fleet.jsonl");
        fs::write(&path, identities).unwrap();
        self.ok(&["devices", "import", path.to_str().unwrap()]);
    }

    /// A file beside the configuration.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path(name)
    }

    /// Starts the hub.
    pub(crate) fn start(&mut self) -> HubProcess {
        self.logs += 1;
        let log = self.home.path(&format!("{}-{}.log", self.name, self.logs));
        let config = self.home.path("hub.toml");
        let child = self
            .home
            .command(&["hub", "run", "--config", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        HubProcess { child, log }
    }
}

impl HubProcess {
    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has logged this.
    #[track_caller]
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "it ended: {}",
                self.log()
            );
            assert!(Instant::now() < deadline, "no {text:?} in {}", self.log());
            thread::sleep(POLL);
        }
    }

    /// The most memory that it had in use at a time, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes = line.split_whitespace().next().unwrap();
        kilobytes.parse::<u64>().unwrap() * 1_024
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives the exit code, how long it took, and the whole log.
    pub(crate) fn stop(mut self) -> (Option<i32>, Duration, String) {
        let begin = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, begin.elapsed(), self.log())
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
