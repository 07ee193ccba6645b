//! Resident memory of the daemon: idle, with a million events pending, and while draining them.
//!
//! Takes the daemon's program as its argument: build it with `cargo build --release`.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use edge_outbox_benches::{
    PAYLOAD_BYTES,
    classroom::lines,
    daemon::Daemon,
    process::Memory,
    server::{empty_stream, free_port, nats_server},
};

const EVENTS: u64 = 1_000_000;
const BATCH: u64 = 1_000;
const SETTLE: Duration = Duration::from_secs(3);

fn start(program: &str, data: &Path, port: u16, nats: u16) -> Daemon {
    let nats = format!("nats://127.0.0.1:{nats}");
    Daemon::start(program, data, port, &[("NATS_URL", &nats)])
}

fn row(daemon: &Daemon, what: &str) {
    let memory = Memory::of(daemon.pid());
    let mib = |kib: u64| kib as f64 / 1024.0;
    let (now, most) = (mib(memory.resident), mib(memory.most));
    println!("| {what} | {now:.1} | {most:.1} |");
}

fn main() {
    let program = std::env::args().nth(1).expect("the program as argument");
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let (http, nats) = (free_port(), free_port());
    println!("| the daemon's resident memory, MiB | now | at most so far |");
    println!("| --- | --- | --- |");
    let daemon = start(&program, &data, http, nats);
    thread::sleep(SETTLE);
    row(&daemon, "idle, offline, empty");
    for first in (0..EVENTS).step_by(BATCH as usize) {
        let batch = lines(first..first + BATCH, PAYLOAD_BYTES);
        daemon.ask("POST /v1/events", &batch);
    }
    row(&daemon, "1,000,000 pending, just taken in over HTTP");
    drop(daemon);
    let begin = Instant::now();
    let daemon = start(&program, &data, http, nats);
    let started = begin.elapsed();
    thread::sleep(SETTLE);
    row(&daemon, "1,000,000 pending, after SIGKILL and start");
    let server = nats_server(dir.path(), nats);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(empty_stream(nats));
    let begin = Instant::now();
    while daemon.number("pending") > EVENTS / 2 {
        thread::sleep(Duration::from_millis(100));
    }
    row(&daemon, "half of it drained");
    while daemon.number("pending") > 0 {
        thread::sleep(Duration::from_millis(100));
    }
    let took = begin.elapsed();
    row(&daemon, "all of it drained");
    thread::sleep(SETTLE);
    row(&daemon, "idle, connected");
    drop(server);
    println!();
    println!(
        "start-up after SIGKILL to the first connection: {} ms",
        started.as_millis()
    );
    println!("the drain took {:.1} s", took.as_secs_f64());
}
