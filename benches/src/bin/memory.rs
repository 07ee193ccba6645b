//! Resident memory of the daemon: idle, with a million events pending, and while draining them.
//!
//! Takes the daemon's program as its argument: build it with `cargo build --release`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use edge_outbox_benches::{
    payload, resident_kib,
    server::{empty_stream, free_port, nats_server},
};

const EVENTS: u64 = 1_000_000;
const BATCH: u64 = 1_000;
const SETTLE: Duration = Duration::from_secs(3);

/// A daemon over this directory; it listens on `port`.
struct Daemon(std::process::Child);

impl Daemon {
    fn start(program: &str, data: &Path, port: u16, nats: u16) -> Self {
        let child = Command::new(program)
            .args(["run", "--listen", &format!("127.0.0.1:{port}")])
            .env("EDGE_OUTBOX_DATA_DIR", data)
            .env("NATS_URL", format!("nats://127.0.0.1:{nats}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let daemon = Self(child);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    fn row(&self, what: &str) {
        let (now, most) = resident_kib(self.0.id());
        println!(
            "| {what} | {:.1} | {:.1} |",
            now as f64 / 1024.0,
            most as f64 / 1024.0
        );
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(port: u16, request: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it answers");
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).expect("sent");
    socket.write_all(body.as_bytes()).expect("sent");
    let mut answer = BufReader::new(socket);
    let mut status = String::new();
    answer.read_line(&mut status).expect("answered");
    let mut rest = String::new();
    answer.read_to_string(&mut rest).expect("answered");
    assert!(status.starts_with("HTTP/1.1 2"), "{status}{rest}");
    rest
}

fn pending(port: u16) -> u64 {
    let status = ask(port, "GET /v1/status", "");
    let (_, after) = status.split_once("\"pending\":").expect("a sink");
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

fn main() {
    let program = std::env::args().nth(1).expect("the program as argument");
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let (http, nats) = (free_port(), free_port());
    println!("| the daemon's resident memory, MiB | now | at most so far |");
    println!("| --- | --- | --- |");
    let daemon = Daemon::start(&program, &data, http, nats);
    thread::sleep(SETTLE);
    daemon.row("idle, offline, empty");
    let line = format!(
        "{{\"event_type\":\"quiz.submitted.v1\",\"aggregate_id\":\"{}\",\"payload\":{}}}\n",
        uuid::Uuid::nil(),
        payload()
    );
    let lines = line.repeat(BATCH as usize);
    for _ in 0..EVENTS / BATCH {
        ask(http, "POST /v1/events", &lines);
    }
    daemon.row("1,000,000 pending, just taken in over HTTP");
    drop(daemon);
    let begin = Instant::now();
    let daemon = Daemon::start(&program, &data, http, nats);
    let started = begin.elapsed();
    thread::sleep(SETTLE);
    daemon.row("1,000,000 pending, after SIGKILL and start");
    let server = nats_server(dir.path(), nats);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(empty_stream(nats));
    let begin = Instant::now();
    while pending(http) > EVENTS / 2 {
        thread::sleep(Duration::from_millis(100));
    }
    daemon.row("half of it drained");
    while pending(http) > 0 {
        thread::sleep(Duration::from_millis(100));
    }
    let took = begin.elapsed();
    daemon.row("all of it drained");
    thread::sleep(SETTLE);
    daemon.row("idle, connected");
    drop(server);
    println!();
    println!(
        "start-up after SIGKILL to the first connection: {} ms",
        started.as_millis()
    );
    println!("the drain took {:.1} s", took.as_secs_f64());
}
