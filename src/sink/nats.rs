//! The `nats` sink: JetStream, or core NATS as the weaker promise.
//!
//! - `options`, `subject`: what it can be told, checked before anything starts.
//! - `link`: one connection, never made again by itself.
//! - `stream`: the stream that takes the events, and the conditions of exactly once.
//! - `jetstream`, `core`: a session in either mode; `flight` is what it has not been answered,
//!   `letter` an event as a message.
//! - `walk`, `stored`: reading back.
//! - `way_back`: a hub's receipts, and the tails that it is sent.
//! - `refusal`: what the other side's words mean, each classified once.
//! - `checkup`: all of it looked at step by step.
//! - `client`: a connection for the hub, which receives.

#[cfg(feature = "cli")]
mod checkup;
#[cfg(feature = "hub")]
mod client;
mod core;
mod flight;
mod jetstream;
mod letter;
mod link;
mod options;
mod refusal;
mod stored;
mod stream;
mod subject;
mod walk;
mod way_back;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

pub use crate::sink::tls::TlsIdentity;
#[cfg(feature = "hub")]
pub(crate) use client::{NatsConnection, NatsServers};
pub use options::{
    DEFAULT_ACK_TIMEOUT, DEFAULT_MAX_IN_FLIGHT, DEFAULT_RECEIPTS, DEFAULT_TAILS, MAX_ACK_TIMEOUT,
    MAX_CONNECT_TIMEOUT, MAX_IN_FLIGHT, NatsAuth, NatsMode, NatsOptions, NatsOptionsError, NatsTls,
};
pub use subject::{DEFAULT_TEMPLATE, SubjectTemplate, SubjectTemplateError};

use crate::{
    envelope::DeviceName,
    sink::{Format, InDoubt, Incarnation, Outcome, Parcel, Position, ReadBack, SinkError},
    status::Guarantee,
};
use core::CoreSession;
use jetstream::JetStreamSession;
use link::Link;
use options::Server;

/// Sends to NATS.
pub struct NatsSink {
    options: Arc<NatsOptions>,
    servers: Vec<Server>,
}

impl NatsSink {
    /// A sink with these options. Nothing is connected yet.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub fn new(options: NatsOptions) -> Result<Self, NatsOptionsError> {
        let servers = options.check()?;
        Ok(Self {
            options: Arc::new(options),
            servers,
        })
    }

    pub(super) fn format(&self) -> Format {
        self.options.format.format()
    }

    pub(super) fn has_way_back(&self) -> bool {
        self.options.way_back.is_some()
    }

    pub(super) async fn connect(&self, device: &DeviceName) -> Result<NatsSession, SinkError> {
        let mut session = match timeout(self.options.connect_timeout, self.open(device)).await {
            Ok(opened) => opened?,
            Err(_) => return Err(self.too_slow()),
        };
        if let Some(way_back) = &self.options.way_back {
            let link = match &mut session.0 {
                Mode::JetStream(session) => &mut session.link,
                Mode::Core(session) => &mut session.link,
            };
            // Beside the time to connect: no event shall have to wait for a receipt.
            let patience = self.options.connect_timeout.min(self.options.ack_timeout) / 4;
            way_back::open(link, way_back, device, patience).await?;
        }
        Ok(session)
    }

    fn too_slow(&self) -> SinkError {
        SinkError::retry(
            "unreachable",
            format!(
                "connecting to {} took longer than {:?}",
                link::names(&self.servers),
                self.options.connect_timeout
            ),
        )
    }

    async fn open(&self, device: &DeviceName) -> Result<NatsSession, SinkError> {
        let link = Link::dial(&self.options, &self.servers, device).await?;
        Ok(NatsSession(match self.options.mode {
            NatsMode::JetStream => {
                let session = JetStreamSession::open(link, &self.options, device).await?;
                Mode::JetStream(Box::new(session))
            }
            NatsMode::Core => Mode::Core(Box::new(CoreSession::new(link, &self.options, device))),
        }))
    }
}

/// A connection to NATS.
pub struct NatsSession(Mode);

enum Mode {
    JetStream(Box<JetStreamSession>),
    Core(Box<CoreSession>),
}

impl NatsSession {
    pub(super) fn guarantee(&self) -> Guarantee {
        match &self.0 {
            Mode::JetStream(session) => session.guarantee(),
            Mode::Core(_) => CoreSession::guarantee(),
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        match &self.0 {
            Mode::JetStream(session) => session.incarnation(),
            Mode::Core(_) => Incarnation::default(),
        }
    }

    pub(super) fn head(&self) -> Position {
        match &self.0 {
            Mode::JetStream(session) => session.head(),
            Mode::Core(_) => Position::default(),
        }
    }

    pub(super) fn max_in_flight(&self) -> usize {
        match &self.0 {
            Mode::JetStream(session) => session.max_in_flight(),
            Mode::Core(session) => session.max_in_flight(),
        }
    }

    pub(super) async fn read_back(&mut self, doubt: &InDoubt) -> Result<ReadBack, SinkError> {
        match &mut self.0 {
            Mode::JetStream(session) => session.read_back(doubt).await,
            Mode::Core(_) => Ok(ReadBack::default()),
        }
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        match &mut self.0 {
            Mode::JetStream(session) => session.send(parcel).await,
            Mode::Core(session) => session.send(parcel).await,
        }
    }

    pub(super) async fn tell(&mut self, tail: Bytes) -> Result<(), SinkError> {
        let link = match &mut self.0 {
            Mode::JetStream(session) => &session.link,
            Mode::Core(session) => &session.link,
        };
        link.tell(tail).await
    }

    pub(super) async fn next(&mut self) -> Outcome {
        match &mut self.0 {
            Mode::JetStream(session) => session.next().await,
            Mode::Core(session) => session.next().await,
        }
    }

    /// The client's task ends when the last handle is gone; nothing is flushed.
    pub(super) async fn close(self) {}
}
