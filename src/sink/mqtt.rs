//! The `mqtt` sink: MQTT 5, or 3.1.1 where a broker speaks no more.
//!
//! - `options`, `topic`, `server`: what it can be told, checked before anything starts.
//! - `link`: one connection, never made again by itself; `v5` and `v3` are its two versions.
//! - `session`: what is sent and answered; `flight` is what is not answered yet, `letter` an event
//!   as a message.
//! - `reason`, `failure`: what the broker's codes and the client's errors mean, each classified once.
//! - `checkup`: all of it looked at step by step.
//! - `client`: a connection for the hub, which receives.

#[cfg(feature = "cli")]
mod checkup;
#[cfg(feature = "hub")]
mod client;
mod failure;
mod flight;
mod letter;
mod link;
mod options;
mod reason;
mod server;
mod session;
mod topic;
mod v3;
mod v5;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

#[cfg(feature = "hub")]
pub(crate) use client::{MqttBrokers, Subscriber, disconnected};
pub use options::{
    DEFAULT_ACK_TIMEOUT, DEFAULT_KEEP_ALIVE, DEFAULT_MAX_IN_FLIGHT, DEFAULT_MAX_PACKET,
    DEFAULT_RECEIPTS, DEFAULT_TAILS, MAX_ACK_TIMEOUT, MAX_CONNECT_TIMEOUT, MAX_IN_FLIGHT,
    MAX_KEEP_ALIVE, MAX_PACKET, MIN_KEEP_ALIVE, MqttAuth, MqttOptions, MqttOptionsError, MqttQos,
    MqttVersion,
};
pub use topic::{DEFAULT_TEMPLATE, TopicTemplate, TopicTemplateError};

use crate::{
    envelope::DeviceName,
    sink::{
        ErrorKind, Format, InDoubt, Incarnation, Outcome, Parcel, Position, ReadBack, SinkError,
    },
    status::Guarantee,
};
use link::Link;
use server::Server;
use session::Suspicion;

/// Sends to an MQTT broker.
pub struct MqttSink {
    options: Arc<MqttOptions>,
    servers: Vec<Server>,
    /// Which of the servers is tried first: the last that let us in.
    first: usize,
    suspicion: Arc<Suspicion>,
}

impl MqttSink {
    /// A sink with these options. Nothing is connected yet.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub fn new(options: MqttOptions) -> Result<Self, MqttOptionsError> {
        let servers = options.check()?;
        Ok(Self {
            options: Arc::new(options),
            servers,
            first: 0,
            suspicion: Arc::default(),
        })
    }

    pub(super) fn format(&self) -> Format {
        self.options.format.format()
    }

    pub(super) fn has_way_back(&self) -> bool {
        self.options.way_back.is_some()
    }

    pub(super) async fn connect(&mut self, device: &DeviceName) -> Result<MqttSession, SinkError> {
        let options = self.options.clone();
        let link = self.dial(&options, device).await?;
        let session = session::MqttSession::new(link, &options, device, &self.suspicion);
        Ok(MqttSession(Box::new(session)))
    }

    /// Tries each broker once, each with an equal share of the time that is left.
    async fn dial(
        &mut self,
        options: &MqttOptions,
        device: &DeviceName,
    ) -> Result<Link, SinkError> {
        let deadline = Instant::now() + options.connect_timeout;
        let mut failures = Vec::new();
        for tried in 0..self.servers.len() {
            let place = (self.first + tried) % self.servers.len();
            let Some(server) = self.servers.get(place) else {
                break;
            };
            let left = u32::try_from(self.servers.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match timeout(share, Link::dial(options, server, device)).await {
                Ok(Ok(link)) => {
                    self.first = place;
                    return Ok(link);
                }
                Ok(Err(error)) => failures.push(error),
                Err(_) => failures.push(failure::unreachable(format!(
                    "connecting to {server} took longer than {share:?}"
                ))),
            }
        }
        Err(all_of(failures))
    }
}

/// What failed at every broker, in one. It passes by itself if it does at one of them.
fn all_of(failures: Vec<SinkError>) -> SinkError {
    let messages: Vec<&str> = failures
        .iter()
        .map(|error| error.message.as_str())
        .collect();
    let message = messages.join("; ");
    let passing = failures.iter().find(|error| error.kind == ErrorKind::Retry);
    match passing.or(failures.first()) {
        Some(error) => SinkError {
            message,
            ..error.clone()
        },
        None => failure::unreachable("there is no broker to connect to".into()),
    }
}

/// A connection to a broker.
pub struct MqttSession(Box<session::MqttSession>);

impl MqttSession {
    pub(super) fn guarantee(&self) -> Guarantee {
        self.0.guarantee()
    }

    /// A broker has no positions.
    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation::default()
    }

    pub(super) fn head(&self) -> Position {
        Position::default()
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.0.max_in_flight()
    }

    /// A broker cannot be asked, so everything in doubt is sent again, marked.
    pub(super) async fn read_back(&mut self, _: &InDoubt) -> Result<ReadBack, SinkError> {
        Ok(ReadBack::default())
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        self.0.send(parcel)
    }

    pub(super) fn tell(&mut self, tail: Bytes) -> Result<(), SinkError> {
        self.0.tell(tail)
    }

    pub(super) async fn next(&mut self) -> Outcome {
        self.0.next().await
    }

    /// The loop's task is dropped at its next turn or with its runtime; nothing is flushed.
    pub(super) async fn close(self) {}
}
