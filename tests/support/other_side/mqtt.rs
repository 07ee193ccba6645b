//! A mosquitto with one durable subscriber as the other side.

use std::{
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use edge_outbox::{
    Seq,
    secret::Secret,
    sink::{
        Sink,
        mqtt::{MqttOptions, MqttSink, MqttVersion},
    },
};

use super::{Arrival, IMPATIENT, Network, OtherSide, Patience};
use crate::support::{
    fault_proxy::FaultProxy, kiosk::LIMIT, mosquitto::MosquittoServer, subscriber::Subscriber,
};

/// The largest packet that the broker takes, in bytes.
const MAX_PACKET: usize = 64 * 1024;
/// Whoever names no user may do everything; a user needs the password. As many events may be
/// unanswered as a sink likes (mosquitto's own limit is 20), so that much is in doubt at each loss.
const CONFIG: &str = "\
allow_anonymous true
password_file $DIR/passwords
max_packet_size 65536
max_inflight_messages 2000";
/// Nothing more comes once nothing has come for so long.
const QUIET: Duration = Duration::from_millis(150);
const POLL: Duration = Duration::from_millis(10);

/// A broker, and a subscriber that takes everything.
pub(crate) struct Mqtt {
    server: MosquittoServer,
    subscriber: Option<Subscriber>,
    version: MqttVersion,
}

impl Mqtt {
    /// For a sink that speaks this version of the protocol.
    pub(crate) fn start(version: MqttVersion) -> Self {
        let dir = tempfile::tempdir().unwrap();
        set_password(dir.path(), "secret");
        let server = MosquittoServer::within(dir, CONFIG);
        let subscriber = Subscriber::start(&server.url(), "edupulse/events/#");
        Self {
            server,
            subscriber: Some(subscriber),
            version,
        }
    }
}

impl OtherSide for Mqtt {
    fn is_exactly_once(&self) -> bool {
        false
    }

    fn network(&self) -> Network {
        Network::Tcp(FaultProxy::to_port(self.server.port()))
    }

    fn sink(&self, network: &Network, patience: Patience) -> Sink {
        let url = format!("mqtt://kiosk:secret@127.0.0.1:{}", network.port());
        let mut options = MqttOptions {
            servers: vec![Secret::new(url)],
            version: self.version,
            max_packet: MAX_PACKET,
            ..MqttOptions::default()
        };
        if patience == Patience::Short {
            options.ack_timeout = IMPATIENT;
            options.connect_timeout = IMPATIENT;
        }
        Sink::Mqtt(MqttSink::new(options).unwrap())
    }

    fn received(&mut self, device: &str, upto: Seq) -> Vec<Arrival> {
        let subscriber = self.subscriber.as_ref().expect("a consumer");
        let began = Instant::now();
        let (mut count, mut since) = (0, began);
        loop {
            let now = subscriber.count();
            if now != count {
                (count, since) = (now, Instant::now());
            } else if since.elapsed() > QUIET {
                let messages = subscriber.messages();
                let arrivals: Vec<_> = messages
                    .iter()
                    .map(|message| Arrival::parse(&message.payload, None))
                    .filter(|arrival| arrival.is_of(device))
                    .collect();
                if arrivals.iter().any(|arrival| arrival.seq == upto) {
                    return arrivals;
                }
                assert!(began.elapsed() < LIMIT, "{upto} does not arrive");
            }
            sleep(POLL);
        }
    }

    fn dismiss_consumer(&mut self) {
        // Its session stays: without a subscriber the broker would say that nobody got it.
        self.subscriber = None;
    }

    fn stop(&mut self) {
        self.server.stop();
    }

    fn survives_a_kill(&self) -> bool {
        // It writes down what it holds when it stops, and at no other time.
        false
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start_again(&mut self) {
        self.server.start_again();
    }

    fn refuse(&mut self, _: &Network, _: Seq) {
        // It is larger than the broker takes.
    }

    fn break_set_up(&mut self, network: &Network) {
        set_password(self.server.dir(), "another");
        self.server.reload();
        network.cut();
    }

    fn mend_set_up(&mut self, _: &Network) {
        set_password(self.server.dir(), "secret");
        self.server.reload();
    }
}

/// Gives the one user this password.
fn set_password(dir: &Path, password: &str) {
    let file = dir.join("passwords");
    fs::write(&file, "").unwrap();
    let set = Command::new("mosquitto_passwd")
        .arg("-b")
        .arg(&file)
        .args(["kiosk", password])
        .output()
        .unwrap();
    assert!(set.status.success(), "{set:?}");
}
