//! A daemon of the benchmark's own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A daemon over a directory; killed when dropped.
pub struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// Starts this program, and waits until it listens on this port.
    pub fn start(program: &str, data: &Path, port: u16, environment: &[(&str, &str)]) -> Self {
        let child = Command::new(program)
            .args(["run", "--listen", &format!("127.0.0.1:{port}")])
            .env("EDGE_OUTBOX_DATA_DIR", data)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let daemon = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes a request, and gives the answer's head and body.
    pub fn ask(&self, request: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("it answers");
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

    /// The first member of this name in the status, as it is written there.
    pub fn status(&self, member: &str) -> Option<String> {
        let status = self.ask("GET /v1/status", "");
        let (_, after) = status.split_once(&format!("\"{member}\":"))?;
        let value = after.split([',', '}']).next()?;
        Some(value.trim_matches('"').to_owned())
    }

    /// A number of the status.
    pub fn number(&self, member: &str) -> u64 {
        let value = self.status(member).expect("it is there");
        value.parse().expect("a number")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// So many lines with an event each.
pub fn lines(count: u64, payload: &str) -> String {
    let id = uuid::Uuid::nil();
    let line = format!(
        "{{\"event_type\":\"quiz.submitted.v1\",\"aggregate_id\":\"{id}\",\"payload\":{payload}}}\n"
    );
    line.repeat(count as usize)
}
