//! A device as it stands in a classroom: `edge-outbox run` with a journal of its own, which may be
//! killed at any moment, and somebody who goes on handing events to it until they are taken.

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use uuid::Builder;

use super::program::{Daemon, Home};

/// What the one sink is called.
pub(crate) const SINK: &str = "school";
/// How long events may be handed over in vain.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A device. Its name ends in its number.
pub(crate) struct Board {
    name: String,
    number: u64,
    home: Home,
    process: Mutex<Process>,
}

#[derive(Default)]
struct Process {
    daemon: Option<Daemon>,
    kills: u32,
}

impl Board {
    /// One that believes the hub with this key, and has the sink that these lines say.
    pub(crate) fn new(number: u64, hub_key: &str, sink: &str) -> Self {
        let name = format!("kiosk-{number:02}");
        let config = format!(
            "[device]\nname = \"{name}\"\nhub_key = \"{hub_key}\"\n\
             [sinks.{SINK}]\nstart_jitter = \"0 s\"\nresend_after = \"1 s\"\n{sink}\n"
        );
        Self {
            name,
            number,
            home: Home::with_config(&config),
            process: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The line that a hub's operator registers it by. Before it is started.
    pub(crate) fn identity(&self) -> String {
        self.home.ok(&["identity", "--json"])
    }

    /// Starts it where it does not run.
    pub(crate) fn start(&self) {
        let mut process = self.process();
        if process.daemon.is_none() {
            process.daemon = Some(self.home.daemon());
        }
    }

    /// SIGKILL; false where it does not run.
    pub(crate) fn kill(&self) -> bool {
        let mut process = self.process();
        let Some(daemon) = process.daemon.take() else {
            return false;
        };
        process.kills += 1;
        daemon.kill();
        true
    }

    /// SIGTERM.
    #[track_caller]
    pub(crate) fn stop(&self) {
        let daemon = self.process().daemon.take();
        let (code, _) = daemon.expect("it runs").stop();
        assert_eq!(code, 0);
    }

    /// Hands over the events of these numbers, as often as it takes where the device is killed over
    /// it: each has an id of its own.
    #[track_caller]
    pub(crate) fn hand_over(&self, numbers: Range<u64>) {
        let lines: String = numbers.map(|n| line(self.number, n)).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let kills = self.process().kills;
            self.start();
            let ended = self.home.run_with(&["append"], &lines);
            if ended.code == 0 {
                return;
            }
            let was_killed = self.process().kills > kills;
            assert!(
                was_killed && Instant::now() < deadline,
                "{}: {ended:?}",
                self.name
            );
        }
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> Value {
        self.home.status()
    }

    /// The same, where it may be killed meanwhile.
    pub(crate) fn try_status(&self) -> Option<Value> {
        let ended = self.home.run(&["status", "--json"]);
        (ended.code == 0).then(|| serde_json::from_str(&ended.stdout).unwrap())
    }

    /// The number in the status that these members lead to.
    #[track_caller]
    pub(crate) fn number(&self, members: &str) -> u64 {
        let status = self.status();
        let number = status.pointer(members).and_then(Value::as_u64);
        number.unwrap_or_else(|| panic!("{members} in {status:#}"))
    }

    /// Up to where the hub has confirmed everything.
    pub(crate) fn confirmed(&self) -> u64 {
        self.number(&format!("/sinks/{SINK}/hub/confirmed"))
    }

    /// Waits until the status is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{}: waiting for {what} in vain: {status:#}\n{}",
                self.name,
                self.log()
            );
            thread::sleep(POLL);
        }
    }

    /// Waits until the broker has confirmed all of it; gives the last seq.
    #[track_caller]
    pub(crate) fn wait_until_delivered(&self, patience: Duration) -> u64 {
        let acked = format!("/sinks/{SINK}/acked");
        let status = self.wait_for("delivery", patience, |status| {
            status.pointer(&acked) == status.get("tail")
        });
        status["tail"].as_u64().unwrap()
    }

    /// Waits until the hub has confirmed all of it; gives the last seq.
    #[track_caller]
    pub(crate) fn wait_until_confirmed(&self, patience: Duration) -> u64 {
        let confirmed = format!("/sinks/{SINK}/hub/confirmed");
        let status = self.wait_for("the hub's word", patience, |status| {
            status.pointer(&confirmed) == status.get("tail")
        });
        status["tail"].as_u64().unwrap()
    }

    /// What it has logged since it was started last.
    pub(crate) fn log(&self) -> String {
        self.process()
            .daemon
            .as_ref()
            .map_or_else(String::new, Daemon::log)
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        // Whoever panicked with it has failed the test already.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line with an event of some 200 bytes of payload; device and number make its id.
fn line(device: u64, n: u64) -> String {
    let id = (u128::from(device) << 64) | u128::from(n);
    let id = Builder::from_random_bytes(id.to_be_bytes()).into_uuid();
    format!(
        "{{\"id\":\"{id}\",\"event_type\":\"quiz.submitted.v1\",\
         \"aggregate_id\":\"0192f0c1-2345-7000-8000-0123456789ab\",\
         \"payload\":{{\"n\":{n},\"answers\":\"{}\"}}}}\n",
        "abcdefgh".repeat(20)
    )
}
