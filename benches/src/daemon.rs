//! A daemon of the benchmark's own.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A daemon over a directory; killed when dropped.
pub struct Daemon {
    child: Child,
    port: u16,
    socket: PathBuf,
}

/// How to reach a daemon.
#[derive(Clone, Copy)]
pub enum Way {
    Tcp,
    Socket,
}

impl Daemon {
    /// Starts this program, and waits until it listens on this port.
    pub fn start(program: &str, data: &Path, port: u16, environment: &[(&str, &str)]) -> Self {
        let daemon = Self::launch(program, data, port, environment);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// Starts this program, to listen on this port, and waits for nothing.
    pub fn launch(program: &str, data: &Path, port: u16, environment: &[(&str, &str)]) -> Self {
        let child = Command::new(program)
            .args(["run", "--listen", &format!("127.0.0.1:{port}")])
            .env("EDGE_OUTBOX_DATA_DIR", data)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let socket = data.join("edge-outbox.sock");
        Self {
            child,
            port,
            socket,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes a request, and gives the answer's head and body.
    pub fn ask(&self, request: &str, body: &str) -> String {
        self.try_ask(Way::Tcp, request, body).expect("it answers")
    }

    /// As [`Self::ask`], of a daemon that may not listen yet.
    ///
    /// # Errors
    /// It does not, or the connection broke.
    pub fn try_ask(&self, way: Way, request: &str, body: &str) -> io::Result<String> {
        match way {
            Way::Tcp => exchange(TcpStream::connect(("127.0.0.1", self.port))?, request, body),
            Way::Socket => exchange(UnixStream::connect(&self.socket)?, request, body),
        }
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

fn exchange(mut socket: impl Read + Write, request: &str, body: &str) -> io::Result<String> {
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    Ok(answer)
}
