//! What an `mqtt` sink can be told, and the check of it.

use std::time::Duration;

use crate::{
    secret::Secret,
    sink::{
        MessageFormat, WayBack,
        mqtt::{
            server::Server,
            topic::{TopicTemplate, TopicTemplateError},
        },
        tls::TlsFiles,
    },
};

/// The longest that one attempt to connect may take, and what it takes by default.
pub const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the oldest unanswered event may stay so by default. Below the 5 s within which
/// delivery has to resume, as a connection that went silent in mid-window is noticed by this.
pub const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest ack timeout that can be set.
pub const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(300);
/// How often an idle connection is tried by default.
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(120);
/// The shortest keep alive that can be set.
pub const MIN_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The longest keep alive that can be set.
pub const MAX_KEEP_ALIVE: Duration = Duration::from_secs(3_600);
/// Unanswered events borne by default: half of a forwarder's window, so that the wire is full when the
/// next claim is asked for. Over a pause many brokers hold their answers back, until the next packet
/// carries the acknowledgement that their TCP waits for.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 1_024;
/// The topic before the device's name that receipts come under where nothing is configured.
pub const DEFAULT_RECEIPTS: &str = "edupulse/receipts";
/// The same for the tails that are sent.
pub const DEFAULT_TAILS: &str = "edupulse/tails";
/// The most unanswered events that can be set.
pub const MAX_IN_FLIGHT: usize = 16_384;
/// The largest packet under 3.1.1 by default, in bytes: room for the largest payload that a journal
/// takes by default, in base64 and with everything around it.
pub const DEFAULT_MAX_PACKET: usize = 512 * 1_024;
/// The largest packet that MQTT can carry, in bytes (MQTT 5 §2.1.4).
pub const MAX_PACKET: usize = 268_435_455 + 5;
/// The longest client id, in bytes: what a string of the protocol can hold.
const MAX_CLIENT_ID: usize = 65_535;

/// Everything an `mqtt` sink can be told.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// Where the brokers are: `mqtt://host:1883` or, with TLS, `mqtts://host:8883`, tried in turn;
    /// with the feature `mqtt-websocket` also `ws://host:80/mqtt` and `wss://host:443/mqtt`.
    /// A user and password in a URL is used where `auth` is [`MqttAuth::None`].
    pub servers: Vec<Secret>,
    /// The version of the protocol.
    pub version: MqttVersion,
    /// How an event is handed over.
    pub qos: MqttQos,
    /// The topic of an event.
    pub topic: TopicTemplate,
    /// What the connection is called at the broker; `edge-outbox-` and the device's name where it is
    /// not set. A broker closes a connection when another one comes by the same id.
    pub client_id: Option<String>,
    /// Whether an event counts as stored that the broker took while nobody had subscribed. Under
    /// 3.1.1 a broker does not say so, and it always counts.
    pub accept_no_subscribers: bool,
    /// How an event is written.
    pub format: MessageFormat,
    /// How long one attempt to connect may take, from the name lookup to the broker's answer. With
    /// several brokers each gets its share.
    pub connect_timeout: Duration,
    /// How long the oldest unanswered event may stay so before the connection is given up. A
    /// large event is given more, as for a link of 8 KiB/s.
    pub ack_timeout: Duration,
    /// How often an idle connection is tried, in whole seconds. A broker may set its own (MQTT 5).
    /// One that nothing comes from for twice that time is given up.
    pub keep_alive: Duration,
    /// How many events may be unanswered at once. The broker's receive maximum counts where it is
    /// lower.
    pub max_in_flight: usize,
    /// Where a hub's receipts come from and tails go to; none where there is no hub to hear of.
    pub way_back: Option<WayBack>,
    /// The largest packet that the broker takes, in bytes. Of use under 3.1.1 alone: an MQTT 5
    /// broker says it by itself.
    pub max_packet: usize,
    /// Whom to trust and what to show. Anything set here makes `mqtt://` mean `mqtts://`.
    pub tls: TlsFiles,
    /// Who the device is to the broker.
    pub auth: MqttAuth,
}

impl Default for MqttOptions {
    fn default() -> Self {
        Self {
            servers: vec![Secret::new("mqtt://127.0.0.1:1883")],
            version: MqttVersion::V5,
            qos: MqttQos::AtLeastOnce,
            topic: TopicTemplate::default(),
            client_id: None,
            accept_no_subscribers: false,
            format: MessageFormat::Envelope,
            connect_timeout: MAX_CONNECT_TIMEOUT,
            ack_timeout: DEFAULT_ACK_TIMEOUT,
            keep_alive: DEFAULT_KEEP_ALIVE,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            way_back: None,
            max_packet: DEFAULT_MAX_PACKET,
            tls: TlsFiles::default(),
            auth: MqttAuth::None,
        }
    }
}

/// The version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MqttVersion {
    /// MQTT 5: the broker says what became of an event.
    #[default]
    V5,
    /// MQTT 3.1.1: the broker may acknowledge what it throws away.
    V3_1_1,
}

impl MqttVersion {
    /// The version as the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V3_1_1 => "3.1.1",
        }
    }
}

/// How an event is handed over. The promise is at least once with either: a connection that ends
/// in mid-window leaves what was unanswered in doubt.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MqttQos {
    /// QoS 1: one packet and its answer.
    #[default]
    AtLeastOnce,
    /// QoS 2: two packets and their answers. Subscribers may then be served with QoS 2 as well.
    ExactlyOnce,
}

/// Who the device is to the broker.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum MqttAuth {
    /// Nobody, beyond what the broker's URL or the client certificate says.
    #[default]
    None,
    /// A user and a password.
    User {
        /// The user.
        name: String,
        /// The password.
        password: Secret,
    },
}

/// Why [`MqttOptions`] cannot be used. [`MqttOptionsError::key`] names the option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MqttOptionsError {
    /// There is no broker, or one that is no URL of a broker.
    #[error("{0} is no broker: write mqtt://HOST:PORT or mqtts://HOST:PORT")]
    Server(String),
    /// A broker is to be reached by a WebSocket, which this build leaves out.
    #[error("{0} is a WebSocket, which this build leaves out: build it with mqtt-websocket")]
    WebSocket(String),
    /// The topic cannot be published to.
    #[error(transparent)]
    Topic(#[from] TopicTemplateError),
    /// The client id is empty, too long or has control characters.
    #[error("a client id has 1 to {MAX_CLIENT_ID} bytes without control characters")]
    ClientId,
    /// The format has more beside the body than this version can carry.
    #[error(
        "binary mode needs properties, which MQTT {0} has none of: set `version = \"5\"` or `format = \"cloudevents\"`"
    )]
    Format(&'static str),
    /// The topics of receipts and tails are none.
    #[error(
        "receipts and tails go by topics of letters, digits, _ and - in levels joined by slashes, \
         such as {DEFAULT_RECEIPTS:?}"
    )]
    WayBack,
    /// The connect timeout is 0 or above [`MAX_CONNECT_TIMEOUT`].
    #[error("the connect timeout has to be above 0 and at most {MAX_CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    /// The ack timeout is 0 or above [`MAX_ACK_TIMEOUT`].
    #[error("the ack timeout has to be above 0 and at most {MAX_ACK_TIMEOUT:?}")]
    AckTimeout,
    /// The keep alive is below [`MIN_KEEP_ALIVE`], above [`MAX_KEEP_ALIVE`] or no whole number of
    /// seconds.
    #[error("the keep alive is {MIN_KEEP_ALIVE:?} to {MAX_KEEP_ALIVE:?}, in whole seconds")]
    KeepAlive,
    /// The number of unanswered events is 0 or above [`MAX_IN_FLIGHT`].
    #[error("1 to {MAX_IN_FLIGHT} events can be unanswered")]
    MaxInFlight,
    /// The largest packet is 0 or above [`MAX_PACKET`].
    #[error("the largest packet has 1 to {MAX_PACKET} bytes")]
    MaxPacket,
}

impl MqttOptionsError {
    /// The option that is wrong, as the configuration names it.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Server(_) | Self::WebSocket(_) => "servers",
            Self::Topic(_) => "topic",
            Self::ClientId => "client_id",
            Self::Format(_) => "format",
            Self::WayBack => "receipts",
            Self::ConnectTimeout => "connect_timeout",
            Self::AckTimeout => "ack_timeout",
            Self::KeepAlive => "keep_alive",
            Self::MaxInFlight => "max_in_flight",
            Self::MaxPacket => "max_packet",
        }
    }
}

impl MqttOptions {
    /// Checks everything that can be checked without a broker, and gives the brokers' addresses.
    pub(super) fn check(&self) -> Result<Vec<Server>, MqttOptionsError> {
        if let Some(id) = &self.client_id
            && (!(1..=MAX_CLIENT_ID).contains(&id.len()) || id.chars().any(char::is_control))
        {
            return Err(MqttOptionsError::ClientId);
        }
        if self.format == MessageFormat::CloudEventsBinary && self.version == MqttVersion::V3_1_1 {
            return Err(MqttOptionsError::Format(self.version.as_str()));
        }
        if self.way_back.as_ref().is_some_and(|way| !way.is_sound('/')) {
            return Err(MqttOptionsError::WayBack);
        }
        if self.connect_timeout.is_zero() || self.connect_timeout > MAX_CONNECT_TIMEOUT {
            return Err(MqttOptionsError::ConnectTimeout);
        }
        if self.ack_timeout.is_zero() || self.ack_timeout > MAX_ACK_TIMEOUT {
            return Err(MqttOptionsError::AckTimeout);
        }
        if !(MIN_KEEP_ALIVE..=MAX_KEEP_ALIVE).contains(&self.keep_alive)
            || self.keep_alive.subsec_nanos() != 0
        {
            return Err(MqttOptionsError::KeepAlive);
        }
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(MqttOptionsError::MaxInFlight);
        }
        if !(1..=MAX_PACKET).contains(&self.max_packet) {
            return Err(MqttOptionsError::MaxPacket);
        }
        if self.servers.is_empty() {
            return Err(MqttOptionsError::Server("nothing".into()));
        }
        (1..)
            .zip(&self.servers)
            .map(|(entry, url)| self.server(entry, url))
            .collect()
    }

    /// A broker that both name, calling themselves the same: it would end the connection of the one
    /// for the other's, for ever.
    #[cfg(feature = "cli")]
    pub(crate) fn clash(&self, other: &Self) -> Option<String> {
        if self.client_id != other.client_id {
            return None;
        }
        let (ours, theirs) = (self.check().ok()?, other.check().ok()?);
        let is_theirs = |our: &&Server| {
            let place = |server: &Server| (server.host.to_ascii_lowercase(), server.port);
            theirs.iter().any(|their| place(their) == place(our))
        };
        Some(ours.iter().find(is_theirs)?.to_string())
    }

    /// `entry` counts from 1, to name one that cannot be shown: what cannot be parsed cannot be
    /// freed of a password with certainty.
    fn server(&self, entry: usize, url: &Secret) -> Result<Server, MqttOptionsError> {
        let tls = self.tls != TlsFiles::default();
        let server = Server::parse(url.reveal(), tls)
            .ok_or_else(|| MqttOptionsError::Server(format!("entry {entry} (***)")))?;
        if server.scheme.is_websocket() && !cfg!(feature = "mqtt-websocket") {
            return Err(MqttOptionsError::WebSocket(server.to_string()));
        }
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(change: impl FnOnce(&mut MqttOptions)) -> Option<&'static str> {
        let mut options = MqttOptions::default();
        change(&mut options);
        options.check().err().map(|error| error.key())
    }

    #[test]
    fn options_that_could_never_work_are_refused_by_their_key() {
        assert_eq!(key(|_| ()), None);
        assert_eq!(key(|o| o.servers.clear()), Some("servers"));
        assert_eq!(
            key(|o| o.servers.push(Secret::new("mqtt//b"))),
            Some("servers")
        );
        for id in ["", "a\nb"] {
            assert_eq!(key(|o| o.client_id = Some(id.into())), Some("client_id"));
        }
        let binary = |version| {
            key(|o| {
                o.format = MessageFormat::CloudEventsBinary;
                o.version = version;
            })
        };
        assert_eq!(binary(MqttVersion::V5), None);
        assert_eq!(binary(MqttVersion::V3_1_1), Some("format"));
        assert_eq!(
            key(|o| o.connect_timeout = Duration::from_secs(5)),
            Some("connect_timeout")
        );
        assert_eq!(key(|o| o.ack_timeout = Duration::ZERO), Some("ack_timeout"));
        for keep_alive in [Duration::from_secs(4), Duration::from_millis(5_500)] {
            assert_eq!(key(|o| o.keep_alive = keep_alive), Some("keep_alive"));
        }
        for count in [0, MAX_IN_FLIGHT + 1] {
            assert_eq!(key(|o| o.max_in_flight = count), Some("max_in_flight"));
        }
        for bytes in [0, MAX_PACKET + 1] {
            assert_eq!(key(|o| o.max_packet = bytes), Some("max_packet"));
        }
    }

    #[test]
    fn an_entry_that_is_no_url_is_named_by_its_place_and_never_shown() {
        let options = MqttOptions {
            servers: ["mqtt://a", "mqtt:/ann:hunter2@b"].map(Secret::new).into(),
            ..MqttOptions::default()
        };
        let error = options.check().err().unwrap().to_string();
        assert!(error.starts_with("entry 2 (***) is no broker"), "{error}");
    }
}
