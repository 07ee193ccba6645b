//! What a person finds in the log of a daemon whose broker goes away, or whose disk takes no more:
//! when it began, and when it was over.

#![cfg(all(feature = "cli", feature = "nats"))]
#[path = "support/http_client.rs"]
mod http_client;
mod support;

use std::{
    fs,
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use http_client::{Connection, Request};
use support::{
    nats_server::NatsServer,
    program::{Home, lines},
};

/// How many attempts are made in vain.
const ATTEMPTS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

fn troubles(home: &Home) -> u64 {
    let answer = Connection::unix(&home.socket()).ask(&Request::get("/metrics"));
    let page = String::from_utf8(answer.body).unwrap();
    let sample = "edge_outbox_sink_troubles_total{sink=\"hub\",kind=\"retry\"} ";
    let mut samples = page.lines().filter_map(|line| line.strip_prefix(sample));
    samples.next().unwrap().parse().unwrap()
}

#[test]
fn an_outage_of_several_attempts_is_two_lines_in_the_log() {
    let mut server = NatsServer::start();
    let home = Home::with_config(&format!(
        "[sinks.hub]\ntype = \"nats\"\nservers = [\"{}\"]\nstream = \"EVENTS\"\n\
         create_stream = true\nstart_jitter = \"0 ms\"\n",
        server.url()
    ));
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    home.wait_for(|status| status["sinks"]["hub"]["acked"] == 4);
    let before = daemon.log().lines().count();

    let begin = Instant::now();
    server.kill();
    assert_eq!(home.run_with(&["append"], lines(3..20)).code, 0);
    while troubles(&home) < ATTEMPTS {
        assert!(begin.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(50));
    }
    let lasted = begin.elapsed();
    server.start_again();
    home.wait_for(|status| {
        let hub = &status["sinks"]["hub"];
        hub["acked"] == 21 && hub["state"] == "caught_up"
    });

    let log = daemon.log();
    let told: Vec<&str> = log.lines().skip(before).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains(" WARN trouble: "), "{}", told[0]);
    assert!(told[0].contains(" sink=hub "), "{}", told[0]);
    assert!(
        told[1].contains(" INFO the trouble is over sink=hub "),
        "{}",
        told[1]
    );
    let (_, said) = told[1].split_once(" lasted=").unwrap();
    let (seconds, rest) = said.split_once(" s ").unwrap();
    let seconds: f64 = seconds.parse().unwrap();
    let at_least = (lasted.as_secs_f64() - 1.0).max(0.0);
    assert!(
        (at_least..PATIENCE.as_secs_f64()).contains(&seconds),
        "{}",
        told[1]
    );
    let (delivered, pending) = rest
        .strip_prefix("delivered=")
        .and_then(|rest| rest.split_once(" pending="))
        .unwrap();
    let (delivered, pending): (u64, u64) = (delivered.parse().unwrap(), pending.parse().unwrap());
    assert_eq!(delivered + pending, 17, "{}", told[1]);
    assert_eq!(daemon.stop().0, 0);
}

/// How many appends fail.
const FAILURES: usize = 3;
/// Events of a request that makes the journal's file grow, and the bytes of each.
const LARGE: usize = 8;
const LARGE_BYTES: usize = 200_000;

/// A daemon that gets an error, and no signal, where its file may not grow; killed when dropped.
struct Confined(Child);

impl Confined {
    fn start(home: &Home) -> Self {
        let plain = home.command(&["run", "--listen", "off"]);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(plain.get_current_dir().unwrap())
            .env_clear()
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdout(fs::File::create(home.path("daemon.out")).unwrap())
            .stderr(fs::File::create(home.path("daemon.log")).unwrap());
        let daemon = Self(command.spawn().unwrap());
        let begin = Instant::now();
        while !log(home).contains(" started ") {
            assert!(begin.elapsed() < PATIENCE, "{}", log(home));
            sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// No file of it grows beyond so many bytes.
    fn limit(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(Pid::from_child(&self.0)), Resource::Fsize, limit).unwrap();
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn log(home: &Home) -> String {
    fs::read_to_string(home.path("daemon.log")).unwrap()
}

#[test]
fn a_disk_that_takes_some_commits_and_refuses_others_is_two_lines_in_the_log() {
    let home = Home::with_config("[sinks]\n");
    let daemon = Confined::start(&home);
    let size = fs::metadata(home.data_dir().join("journal.redb"))
        .unwrap()
        .len();
    let large = format!("\"payload\":\"{}\"", "a".repeat(LARGE_BYTES));
    let large = lines(0..1).replace("\"payload\":{\"n\":0}", &large);
    let mut failures = 0;
    daemon.limit(Some(size));
    while failures < FAILURES {
        let ended = home.run_with(&["append"], large.repeat(LARGE));
        failures += usize::from(ended.code != 0);
        assert_eq!(
            home.run_with(&["append"], lines(0..1)).code,
            0,
            "small ones pass"
        );
    }
    daemon.limit(None);
    assert_eq!(home.run_with(&["append"], large.repeat(LARGE)).code, 0);
    let begin = Instant::now();
    while !log(&home).contains("the journal is well again") {
        assert!(begin.elapsed() < PATIENCE, "{}", log(&home));
        sleep(Duration::from_millis(50));
    }
    let log = log(&home);
    let told: Vec<&str> = log.lines().skip(1).collect();
    assert_eq!(told.len(), 2, "{log}");
    let begins = " ERROR a write to the journal failed; reopening it ";
    assert!(told[0].contains(begins), "{}", told[0]);
    assert!(
        told[1].contains(" INFO the journal is well again lasted="),
        "{}",
        told[1]
    );
    assert!(home.status()["journal"]["reopened"].as_u64().unwrap() >= 3);
}
