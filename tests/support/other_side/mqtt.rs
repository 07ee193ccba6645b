//! A mosquitto with one durable subscriber as the other side.

use std::{
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use edge_outbox::{
    Envelope, Seq,
    envelope::Unverified,
    secret::Secret,
    sink::{
        Sink,
        mqtt::{MqttOptions, MqttSink, MqttVersion},
    },
};
use tempfile::TempDir;

use super::{Arrival, IMPATIENT, Network, OtherSide, Patience};
use crate::support::{
    fault_proxy::FaultProxy, kiosk::LIMIT, mosquitto::MosquittoServer, subscriber::Subscriber,
};

/// The largest packet that the broker takes, in bytes.
const MAX_PACKET: usize = 64 * 1024;
/// Whoever names no user may do everything; a user needs the password.
const CONFIG: &str = "allow_anonymous true\npassword_file $DIR/passwords\nmax_packet_size 65536";
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
        set_password(&dir, "secret");
        let server = MosquittoServer::within(dir, CONFIG);
        let subscriber = Subscriber::start(&server.url(), "edupulse/events/#");
        Self {
            server,
            subscriber: Some(subscriber),
            version,
        }
    }
}
