//! A real nats-server for one test: on a free loopback port, in a directory of its own, gone with
//! the value that holds it.
//!
//! The binary is `$EDGE_OUTBOX_NATS_SERVER`, else `target/tools/bin/nats-server`, which
//! `tests/run` provides. Without it a test fails; none is ever skipped.

use std::{
    fs,
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self,
    stream::{Config, Stream},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const BINARY: &str = "EDGE_OUTBOX_NATS_SERVER";
/// How long a server may take to start or to stop: on a busy machine one that was killed needs 16 s to
/// look through 12,000 messages.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// A running, or stopped, nats-server.
pub(crate) struct NatsServer {
    dir: TempDir,
    port: u16,
    running: Option<Child>,
}

impl NatsServer {
    /// With JetStream, and open to everybody.
    pub(crate) fn start() -> Self {
        Self::with("jetstream { store_dir: \"$DIR/store\" }")
    }

    /// With this configuration. Address and port are added; `$DIR` stands for the directory of
    /// the test.
    pub(crate) fn with(config: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), config)
    }

    /// As [`NatsServer::with`], in a directory that holds something already (certificates).
    pub(crate) fn within(dir: TempDir, config: &str) -> Self {
        let config = config.replace("$DIR", &dir.path().display().to_string());
        fs::write(dir.path().join("server.conf"), config).unwrap();
        let mut server = Self {
            dir,
            port: 0,
            running: None,
        };
        server.launch("-1");
        server.port = server.ports_file();
        server.wait_until_ready();
        server
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").id()
    }

    /// The directory of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    /// Stops it as an operator does (SIGTERM), and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.wait_until_gone();
    }

    /// Kills it without warning (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait_until_gone();
    }

    /// Freezes it (SIGSTOP) and waits until no thread of it moves. Connections stay.
    pub(crate) fn freeze(&mut self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.running.as_ref().unwrap().id());
        self.wait_for("any rest", || {
            let mut threads = fs::read_dir(&tasks).ok()?.flatten();
            let still = threads.all(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, state)| state.starts_with('T'))
            });
            still.then_some(())
        });
    }

    /// Lets a frozen server go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Announces that it will shut down (lame duck mode).
    pub(crate) fn become_lame_duck(&self) {
        self.signal(Signal::USR2);
    }

    /// Starts it again, on the same port with the same store.
    pub(crate) fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server still runs");
        self.launch(&self.port.to_string());
        self.wait_until_ready();
    }

    /// Starts it again with another configuration.
    pub(crate) fn start_again_with(&mut self, config: &str) {
        let config = config.replace("$DIR", &self.dir.path().display().to_string());
        fs::write(self.dir.path().join("server.conf"), config).unwrap();
        self.start_again();
    }

    /// A client for the test itself, of a server that is open to everybody.
    pub(crate) async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.url()).await.unwrap())
    }

    /// A stream named `EVENTS` as the outbox itself would create it, changed as the test wants.
    pub(crate) async fn create_stream(&self, change: impl FnOnce(&mut Config)) -> Stream {
        let mut config = events_stream();
        change(&mut config);
        self.jetstream().await.create_stream(config).await.unwrap()
    }

    fn launch(&mut self, port: &str) {
        let log = fs::File::create(self.dir.path().join("server.log")).unwrap();
        let child = Command::new(binary())
            .args(["--addr", "127.0.0.1", "--port", port])
            .arg("--config")
            .arg(self.dir.path().join("server.conf"))
            .arg("--ports_file_dir")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
    }

    /// The port that the server chose, from the file it writes for that purpose.
    fn ports_file(&mut self) -> u16 {
        let pid = self.running.as_ref().unwrap().id();
        let path = self.dir.path().join(format!("nats-server_{pid}.ports"));
        self.wait_for("its ports file", || {
            let text = fs::read_to_string(&path).ok()?;
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
        })
    }

    fn wait_until_ready(&mut self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        self.wait_for("a connection", || {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
            stream
                .set_read_timeout(Some(Duration::from_millis(200)))
                .ok()?;
            // A server that begins with TLS says nothing first; there the port alone must do.
            match stream.read(&mut [0; 4]) {
                Ok(0) => None,
                Ok(_) => Some(()),
                Err(error) => (error.kind() == std::io::ErrorKind::WouldBlock).then_some(()),
            }
        });
    }

    fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "nats-server: waiting for {what} in vain ({ended:?}):\n{}",
                self.log()
            );
            thread::sleep(POLL);
        }
    }

    fn signal(&self, signal: Signal) {
        let child = self.running.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn wait_until_gone(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.wait().unwrap();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The stream of most tests.
pub(crate) fn events_stream() -> Config {
    Config {
        name: "EVENTS".into(),
        subjects: vec!["edupulse.events.>".into()],
        duplicate_window: Duration::from_secs(120),
        ..Config::default()
    }
}

/// Every message of the stream, in order, as it came.
pub(crate) async fn messages(mut stream: Stream) -> Vec<Vec<u8>> {
    let state = stream.info().await.unwrap().state.clone();
    let mut messages = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        if let Ok(message) = stream.get_raw_message(sequence).await {
            messages.push(message.payload.to_vec());
        }
    }
    messages
}

fn binary() -> PathBuf {
    let provided = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/nats-server");
    let path = std::env::var_os(BINARY).map_or(provided, PathBuf::from);
    assert!(
        path.is_file(),
        "no nats-server at {}: tests/run provides one, or name one in {BINARY}",
        path.display()
    );
    path
}
