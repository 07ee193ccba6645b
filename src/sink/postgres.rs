//! The `postgres` sink: rows in the table `device_events`, exactly once by their key.
//!
//! - `options`, `encryption`: what it can be told, and what `sslmode` makes of it.
//! - `link`: one connection and the look at the tables, whose names are in `tables`.
//! - `session`: gathers, sends, and finds the row that spoils a statement; `flight` is what it has
//!   not been answered, `row` an event as a row, `json` what `jsonb` can hold.
//! - `stored`: reading back.
//! - `refusal`: what the server's words mean, each classified once.
//! - `checkup`: all of it looked at step by step.
//! - `client`: a connection for the hub.
//!
//! A statement is one transaction, unnamed and complete in itself, and nothing is set in the
//! session: so a pooler in transaction mode may stand between. One is on its way at a time, unless
//! the server itself answers or the configuration says so.

#[cfg(feature = "cli")]
mod checkup;
#[cfg(feature = "hub")]
mod client;
mod encryption;
mod flight;
mod json;
mod link;
mod options;
mod refusal;
mod row;
mod session;
mod stored;
mod tables;

use std::sync::Arc;

pub use crate::sink::tls::{TlsFiles, TlsIdentity};
#[cfg(feature = "hub")]
pub use client::Database;
#[cfg(feature = "hub")]
pub(crate) use client::{Connection, Task};
#[cfg(feature = "hub")]
pub(crate) use json::fits_jsonb;
pub use options::{
    DEFAULT_ACK_TIMEOUT, DEFAULT_BATCH, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_PIPELINE, MAX_ACK_TIMEOUT, MAX_BATCH, MAX_CONNECT_TIMEOUT, MAX_IN_FLIGHT, MAX_PIPELINE,
    PostgresOptions, PostgresOptionsError, SslMode,
};
#[cfg(feature = "hub")]
pub(crate) use refusal::{in_full, said};
#[cfg(feature = "hub")]
pub(crate) use row::Moment;
pub use tables::SCHEMA_VERSION;

use crate::{
    envelope::DeviceName,
    sink::{InDoubt, Incarnation, Outcome, Parcel, Position, ReadBack, SinkError},
    status::Guarantee,
};
use link::Site;
use session::Session;

/// The script that makes the tables, and brings them up to date.
pub const SCHEMA_SQL: &str = include_str!("../../config/postgres.sql");

/// Sends to Postgres.
pub struct PostgresSink {
    site: Arc<Site>,
}

impl PostgresSink {
    /// A sink with these options. Nothing is connected yet.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub fn new(options: PostgresOptions) -> Result<Self, PostgresOptionsError> {
        let address = options.check()?;
        Ok(Self {
            site: Arc::new(Site::new(options, address)),
        })
    }

    pub(super) async fn connect(&self, device: &DeviceName) -> Result<PostgresSession, SinkError> {
        let session = Session::open(&self.site, device).await?;
        Ok(PostgresSession(Box::new(session)))
    }
}

/// A connection to Postgres, closed while there is nothing to send.
pub struct PostgresSession(Box<Session>);

impl PostgresSession {
    pub(super) fn guarantee(&self) -> Guarantee {
        self.0.guarantee()
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.0.incarnation()
    }

    /// Rows are found by their key; they have no position.
    pub(super) fn head(&self) -> Position {
        Position::default()
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.0.max_in_flight()
    }

    pub(super) async fn read_back(&mut self, doubt: &InDoubt) -> Result<ReadBack, SinkError> {
        self.0.read_back(doubt).await
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        self.0.send(parcel).await
    }

    pub(super) async fn next(&mut self) -> Outcome {
        self.0.next().await
    }

    /// The connection's task ends with its handle; nothing is flushed.
    pub(super) async fn close(self) {}
}
