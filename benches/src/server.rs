//! Servers of the benchmarks' own.

use std::{
    fs,
    io::{self, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use async_nats::jetstream::{self, stream::Config};

/// The stream's name.
pub const STREAM: &str = "EVENTS";

/// Unanswered messages that the MQTT broker allows, and that each client has.
pub const MQTT_WINDOW: u16 = 512;

/// What a subscriber reads at once.
const READ_BYTES: usize = 64 * 1024;

/// A running program, killed when dropped.
pub struct Running {
    child: Child,
    refused: u64,
}

impl Running {
    /// Asks it to end (SIGTERM), and waits until it has written what it keeps.
    pub fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let _ = self.child.wait();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How often it was asked whether it listens and did not yet.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A nats-server with JetStream on this port, storing in this directory. The program is
/// `$EDGE_OUTBOX_NATS_SERVER`, else what `tests/run` installed.
pub fn nats_server(dir: &Path, port: u16) -> Running {
    nats_server_with(dir, port, "")
}

/// As [`nats_server`], with these lines of configuration besides.
pub fn nats_server_with(dir: &Path, port: u16, lines: &str) -> Running {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/nats-server");
    let program = std::env::var_os("EDGE_OUTBOX_NATS_SERVER").map_or(installed, PathBuf::from);
    let config = dir.join("server.conf");
    let store = dir.join("jetstream");
    fs::write(
        &config,
        format!("jetstream {{ store_dir: {store:?} }}\n{lines}\n"),
    )
    .expect("written");
    let mut command = Command::new(program);
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
    launch(command.arg("--config").arg(config), port)
}

/// A mosquitto on this port with these lines of configuration besides; it keeps in this directory
/// what a durable subscriber has not fetched, writes it at its end, and puts no limit on queues.
pub fn mosquitto(dir: &Path, port: u16, lines: &str) -> Running {
    fs::create_dir_all(dir).expect("a directory");
    let config = dir.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
         persistence_location {}/\nmax_inflight_messages {MQTT_WINDOW}\nmax_queued_messages 0\n{lines}\n",
        dir.display()
    );
    fs::write(&config, text).expect("written");
    // Debian keeps it out of the path of ordinary users.
    let mut command = Command::new("mosquitto");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    launch(command.arg("-c").arg(config), port)
}

fn launch(command: &mut Command, port: u16) -> Running {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.expect("the server starts; tests/run installs it");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut refused = 0;
    while TcpStream::connect(address).is_err() {
        refused += 1;
        thread::sleep(Duration::from_millis(10));
    }
    Running { child, refused }
}

/// Subscribes to everything at this broker for as long as the process lives, and throws it away:
/// where nobody has subscribed, a broker takes no event.
pub fn subscriber(port: u16) {
    let mut socket = subscribed(port, 0);
    thread::spawn(move || io::copy(&mut socket, &mut io::sink()));
}

/// As [`subscriber`], with QoS 1: it acknowledges each event, as one does that stores them.
pub fn acknowledging_subscriber(port: u16) {
    let socket = subscribed(port, 1);
    // Its acknowledgements are small and must not wait for each other's.
    socket.set_nodelay(true).expect("set");
    thread::spawn(move || acknowledge(socket));
}

/// A connection that gets everything with this QoS at most.
fn subscribed(port: u16, qos: u8) -> TcpStream {
    const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01b";
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
    socket.write_all(CONNECT).expect("sent");
    let subscribe = [0x82, 6, 0, 1, 0, 1, b'#', qos];
    socket.write_all(&subscribe).expect("sent");
    // The answers to both, 4 and 5 bytes: from here on it is subscribed.
    socket.read_exact(&mut [0; 9]).expect("answered");
    socket
}

/// Reads packets until the broker is gone, and acknowledges those that want it: all that came at once
/// together.
fn acknowledge(mut socket: TcpStream) -> io::Result<()> {
    let mut packets = BufReader::with_capacity(READ_BYTES, socket.try_clone()?);
    let mut answers = Vec::new();
    let (mut head, mut body) = ([0; 1], Vec::new());
    loop {
        packets.read_exact(&mut head)?;
        let length = remaining_length(&mut packets)?;
        body.resize(length, 0);
        packets.read_exact(&mut body)?;
        // A publication with QoS 1: its identifier stands behind the topic.
        if head[0] & 0xf6 == 0x32
            && let [high, low, rest @ ..] = body.as_slice()
        {
            let topic = usize::from(u16::from_be_bytes([*high, *low]));
            let identifier = rest.get(topic..topic + 2);
            let identifier = identifier.ok_or(io::ErrorKind::InvalidData)?;
            answers.extend_from_slice(&[0x40, 2]);
            answers.extend_from_slice(identifier);
        }
        if packets.buffer().is_empty() {
            socket.write_all(&answers)?;
            answers.clear();
        }
    }
}

/// How long a packet is behind its head: seven bits a byte, the lowest first.
fn remaining_length(packets: &mut impl io::Read) -> io::Result<usize> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let mut byte = [0; 1];
        packets.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            return Ok(length);
        }
    }
}

/// An empty stream for events.
pub async fn empty_stream(port: u16) -> jetstream::Context {
    let client = async_nats::connect(format!("nats://127.0.0.1:{port}"))
        .await
        .expect("connects");
    let context = jetstream::new(client);
    drop(context.delete_stream(STREAM).await);
    let config = Config {
        name: STREAM.into(),
        subjects: vec!["edupulse.events.>".into()],
        duplicate_window: Duration::from_secs(120),
        ..Config::default()
    };
    context.create_stream(config).await.expect("created");
    context
}
