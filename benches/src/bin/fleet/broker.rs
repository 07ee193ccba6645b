//! The broker that a fleet comes back to.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    time::Duration,
};

use edge_outbox::sink::{
    Sink,
    mqtt::{MqttOptions, MqttSink},
    nats::{NatsOptions, NatsSink},
};
use edge_outbox_benches::{
    backlog::runtime,
    server::{
        Running, acknowledging_subscriber, empty_stream, free_port, mosquitto, nats_server_with,
        subscriber,
    },
};
use tempfile::TempDir;

/// A nats-server that does not tell its count by then tells it the next time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A nats-server with JetStream, into one stream on disk.
    Nats,
    /// A mosquitto with one subscriber to everything, whom nobody waits for.
    Mosquitto,
    /// The same, whose subscriber acknowledges each event.
    Acknowledged,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Nats, Self::Mosquitto, Self::Acknowledged];
    /// Those that are measured unless told otherwise, and drawn.
    pub const USUAL: [Self; 2] = [Self::Nats, Self::Mosquitto];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Mosquitto => "mosquitto",
            Self::Acknowledged => "mosquitto-qos-1",
        }
    }
}

/// A broker's place: its ports and its directory. It may be away.
pub struct Broker {
    kind: Kind,
    dir: TempDir,
    port: u16,
    /// Where the nats-server tells its figures.
    figures: u16,
}

impl Broker {
    /// A new one, which has run once: the stream is there.
    pub fn new(kind: Kind, base: &Path) -> Self {
        let broker = Self {
            kind,
            dir: tempfile::tempdir_in(base).expect("a directory"),
            port: free_port(),
            figures: free_port(),
        };
        if kind == Kind::Nats {
            let server = broker.launch();
            runtime().block_on(empty_stream(broker.port));
            server.end();
        }
        broker
    }

    /// Starts it. The mosquitto has its subscriber at once, though not before the first device.
    pub fn start(&self) -> Running {
        let running = self.launch();
        match self.kind {
            Kind::Nats => {}
            Kind::Mosquitto => subscriber(self.port),
            Kind::Acknowledged => acknowledging_subscriber(self.port),
        }
        running
    }

    /// Connections that each start makes itself: to see whether it listens, and the subscriber.
    pub fn own_connections(&self) -> u64 {
        match self.kind {
            Kind::Nats => 1,
            Kind::Mosquitto | Kind::Acknowledged => 2,
        }
    }

    /// Connections that it has taken since it was started; `None` while it does not tell.
    pub fn connections(&self) -> Option<u64> {
        match self.kind {
            Kind::Nats => {
                let figures = self.ask_figures().ok()?;
                let (_, after) = figures.split_once("\"total_connections\":")?;
                after.split(',').next()?.trim().parse().ok()
            }
            Kind::Mosquitto | Kind::Acknowledged => {
                let log = fs::read_to_string(self.log()).ok()?;
                Some(log.matches(": New connection from ").count() as u64)
            }
        }
    }

    pub fn sink(&self) -> Sink {
        let port = self.port;
        match self.kind {
            Kind::Nats => {
                let options = NatsOptions {
                    servers: vec![format!("nats://127.0.0.1:{port}").into()],
                    ..NatsOptions::default()
                };
                Sink::Nats(NatsSink::new(options).expect("options"))
            }
            Kind::Mosquitto | Kind::Acknowledged => {
                let options = MqttOptions {
                    servers: vec![format!("mqtt://127.0.0.1:{port}").into()],
                    // The first devices are there before the subscriber.
                    accept_no_subscribers: true,
                    ..MqttOptions::default()
                };
                Sink::Mqtt(MqttSink::new(options).expect("options"))
            }
        }
    }

    fn launch(&self) -> Running {
        match self.kind {
            Kind::Nats => {
                let lines = format!("http: \"127.0.0.1:{}\"", self.figures);
                nats_server_with(self.dir.path(), self.port, &lines)
            }
            Kind::Mosquitto | Kind::Acknowledged => {
                let lines = format!("log_dest file {}\nlog_type notice", self.log());
                mosquitto(self.dir.path(), self.port, &lines)
            }
        }
    }

    fn log(&self) -> String {
        self.dir.path().join("log").display().to_string()
    }

    fn ask_figures(&self) -> std::io::Result<String> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.figures))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(b"GET /varz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
