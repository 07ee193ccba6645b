//! A daemon that is connected and has nothing to do does nothing: no commit, which would wear the
//! flash, and no wake-up, which would cost power, but for the signs of life that its brokers ask for.
//!
//! `docs/benchmarks.md` has the figures over minutes, and the memory.

#![cfg(all(
    feature = "cli",
    feature = "mqtt",
    feature = "nats",
    target_os = "linux"
))]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use support::{
    mosquitto::MosquittoServer,
    nats_server::NatsServer,
    program::{Home, lines},
    subscriber::Subscriber,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing happens. Both brokers are asked for a sign of life more rarely.
const QUIET: Duration = Duration::from_secs(10);
/// Wake-ups in that time: room for one ping and its answer. A timer of a second makes ten.
const MOST_WAKE_UPS: u64 = 4;
/// The threads of a daemon with two sinks, on however many cores: one for signals and status, at
/// most four for requests, one for the journal, one for each sink.
const MOST_THREADS: usize = 1 + 4 + 1 + 2;

/// How often each thread has gone to sleep so far, by its id.
fn sleeps(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let sleeps = |task: &Path| {
        let status = fs::read_to_string(task.join("status")).ok()?;
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((task.display().to_string(), count.trim().parse().ok()?))
    };
    tasks
        .filter_map(|task| sleeps(&task.unwrap().path()))
        .collect()
}

/// Waits until no thread ends or begins any more: those that read and resolve names stay for 10 s.
fn settled(pid: u32) -> BTreeMap<String, u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = sleeps(pid);
        thread::sleep(Duration::from_secs(3));
        let now = sleeps(pid);
        if now.len() == before.len() && now.len() <= MOST_THREADS {
            return sleeps(pid);
        }
        assert!(Instant::now() < deadline, "{} threads", now.len());
    }
}

#[test]
fn a_connected_daemon_without_work_neither_commits_nor_wakes() {
    let (nats, mosquitto) = (NatsServer::start(), MosquittoServer::start());
    let subscriber = Subscriber::start(&mosquitto.url(), "#");
    let mut home = Home::with_config(&format!(
        "[sinks.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nstream = \"EDUPULSE\"\n\
         create_stream = true\n[sinks.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\n",
        nats.url(),
        mosquitto.url()
    ));
    // As the unit has it, with a watchdog that is told of life every 5 min.
    let manager = UnixDatagram::bind(home.path("notify")).unwrap();
    home.set("NOTIFY_SOCKET", home.path("notify").to_str().unwrap());
    home.set("WATCHDOG_USEC", "600000000");
    assert_eq!(home.run_with(&["append"], lines(0..100)).code, 0);
    home.ok(&["drain"]);
    subscriber.wait_for(101);

    // The drain has made its cursors durable: this one has nothing to add.
    let daemon = home.daemon();
    let all_caught_up = |status: &serde_json::Value| {
        let sinks = status["sinks"].as_object().unwrap();
        sinks.values().all(|sink| sink["state"] == "caught_up")
    };
    let status = home.wait_for(all_caught_up);
    assert_eq!(status["sinks"]["nats"]["acked"], status["tail"]);
    let before = settled(daemon.pid());
    thread::sleep(QUIET);
    let after = sleeps(daemon.pid());
    assert_eq!(
        home.status()["journal"]["commits"],
        status["journal"]["commits"]
    );
    let woken = |(thread, count): (&String, &u64)| count - before.get(thread).unwrap_or(&0);
    let wake_ups: u64 = after.iter().map(woken).sum();
    assert!(
        wake_ups <= MOST_WAKE_UPS,
        "{wake_ups}: {before:?} {after:?}"
    );
    drop(manager);
    assert_eq!(daemon.stop().0, 0);
}
