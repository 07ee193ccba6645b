//! `edge-outbox relay` itself, in a home of its own, with the configuration that the test writes.

use std::{
    fs,
    path::PathBuf,
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

/// A relay's home. The process can be started, and started again.
pub(crate) struct RelayHome {
    home: Home,
    logs: usize,
}

/// A running relay; killed when it is dropped.
pub(crate) struct RelayProcess {
    child: Child,
    log: PathBuf,
}

impl RelayHome {
    /// As this user of a database, with these sections: `keys` go into [relay], and `sections` behind.
    pub(crate) fn new(
        name: &str,
        database: &PostgresServer,
        user: &str,
        keys: &str,
        sections: &str,
    ) -> Self {
        let home = Home::new();
        let url = database.url_as(user, "?sslmode=disable");
        // Any other port would clash with another relay's.
        let config = format!(
            "data_dir = \"data\"\n[device]\nname = \"{name}\"\n[database]\nurl = \"{url}\"\n\
             [http]\nlisten = \"off\"\n[relay]\n{keys}\n{sections}"
        );
        fs::write(home.path("relay.toml"), config).unwrap();
        Self { home, logs: 0 }
    }

    /// Adds a variable to the environment of everything that is started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.home.set(name, value);
    }

    /// A file beside the configuration.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path(name)
    }

    /// Runs the relay to its end, which comes by itself only where it does not start.
    pub(crate) fn run(&self) -> Ended {
        let config = self.home.path("relay.toml");
        self.home
            .run(&["relay", "--config", config.to_str().unwrap()])
    }

    /// Starts the relay.
    pub(crate) fn start(&mut self) -> RelayProcess {
        self.logs += 1;
        let log = self.home.path(&format!("relay-{}.log", self.logs));
        let config = self.home.path("relay.toml");
        let child = self
            .home
            .command(&["relay", "--config", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        RelayProcess { child, log }
    }
}

impl RelayProcess {
    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
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

impl Drop for RelayProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
