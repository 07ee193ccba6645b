//! A connection by MQTT 5 for the hub, which receives where the sink sends. It has a session that
//! outlives it, and acknowledges by hand.

use std::time::Duration;

use rumqttc::{
    NetworkOptions,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions as ClientOptions,
        mqttbytes::v5::ConnectProperties,
    },
};
use tokio::{net::lookup_host, time::timeout};

use super::{
    failure,
    link::transport,
    options::{MqttAuth, MqttOptions, MqttOptionsError},
    server::Server,
};
use crate::sink::SinkError;

/// Seconds for which the client would wait for the connection. Longer than anything may take: the
/// limit here counts.
const NO_TIMEOUT: u64 = 3_600;
/// Messages of ours that may be unanswered.
const MAX_OUTGOING: u16 = 64;

/// Where the brokers are, checked.
#[derive(Clone)]
pub(crate) struct MqttBrokers {
    options: MqttOptions,
    servers: Vec<Server>,
}

/// What a subscriber wants of a broker.
pub(crate) struct Subscriber {
    /// What it is called there: its session is under that name.
    pub(crate) client_id: String,
    /// How many messages may be unacknowledged.
    pub(crate) receive_maximum: u16,
    /// How long the session outlives its connection.
    pub(crate) session_expiry: Duration,
    /// The largest packet it takes, in bytes.
    pub(crate) max_packet: u32,
    /// Requests that may wait for the event loop.
    pub(crate) requests: usize,
}

impl MqttBrokers {
    /// Of the options those count that say where the brokers are and who this is to them.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub(crate) fn new(options: MqttOptions) -> Result<Self, MqttOptionsError> {
        let servers = options.check()?;
        Ok(Self { options, servers })
    }

    /// One attempt at each broker, until one lets us in; gives its name, too.
    ///
    /// # Errors
    /// Why the last did not.
    pub(crate) async fn connect(
        &self,
        subscriber: &Subscriber,
    ) -> Result<(AsyncClient, EventLoop, String), SinkError> {
        let mut last = None;
        for server in &self.servers {
            let limit = self.options.connect_timeout;
            match timeout(limit, self.dial(server, subscriber)).await {
                Ok(Ok((client, connection))) => {
                    return Ok((client, connection, server.to_string()));
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    let message = format!("connecting to {server} took longer than {limit:?}");
                    last = Some(failure::unreachable(message));
                }
            }
        }
        // There is a server at least, as was checked.
        Err(last.unwrap_or_else(|| failure::unreachable("there is no broker".into())))
    }

    async fn dial(
        &self,
        server: &Server,
        subscriber: &Subscriber,
    ) -> Result<(AsyncClient, EventLoop), SinkError> {
        if let Err(error) = lookup_host((server.host.as_str(), server.port)).await {
            let error = format!("connecting to {server} failed: {error}");
            return Err(SinkError::retry("name_not_resolved", error)
                .with_hint("check the name in `servers`, and this machine's network and DNS"));
        }
        let host = match server.scheme.is_websocket() {
            true => server.websocket_url().reveal().to_owned(),
            false => server.host.clone(),
        };
        let mut options = ClientOptions::new(&subscriber.client_id, host, server.port);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        let expiry = subscriber.session_expiry.as_secs();
        options
            .set_clean_start(false)
            .set_manual_acks(true)
            .set_keep_alive(self.options.keep_alive)
            .set_connection_timeout(NO_TIMEOUT)
            .set_connect_properties(ConnectProperties {
                max_packet_size: Some(subscriber.max_packet),
                receive_maximum: Some(subscriber.receive_maximum),
                session_expiry_interval: Some(u32::try_from(expiry).unwrap_or(u32::MAX)),
                ..ConnectProperties::new()
            })
            .set_network_options(network)
            .set_transport(transport(&self.options, server)?)
            .set_outgoing_inflight_upper_limit(MAX_OUTGOING);
        let auth = match &self.options.auth {
            MqttAuth::None => &server.auth,
            auth @ MqttAuth::User { .. } => auth,
        };
        if let MqttAuth::User { name, password } = auth {
            options.set_credentials(name, password.reveal());
        }
        let (client, mut connection) = AsyncClient::new(options, subscriber.requests);
        let answer = connection
            .poll()
            .await
            .map_err(|error| failure::of_dial_v5(&error, server))?;
        let Event::Incoming(Incoming::ConnAck(_)) = answer else {
            return Err(failure::bad_answer(&server.to_string(), "no CONNACK"));
        };
        if connection.options.keep_alive().is_zero() {
            // The client would send one ping after another.
            connection.options.set_keep_alive(self.options.keep_alive);
        }
        Ok((client, connection))
    }
}

/// How a connection ended.
pub(crate) fn disconnected(error: &ConnectionError, server: &str) -> SinkError {
    failure::of_loss_v5(error, server).error
}
