//! Sinks: where events go, and the contract between them and the forwarder.
//!
//! A [`Sink`] is a closed set: one variant for each client library, and a `match` instead of a
//! trait. `connect` makes one attempt and gives a [`Session`], which lives until the first
//! trouble with its connection. A session knows nothing of cursors: it sends what it is given,
//! says what became of it, and can be asked what of an in-doubt range arrived. Every error is
//! classified here, where it arises, as retry, reject or halt; nobody downstream looks at texts.
//!
//! All futures of a session run on one current-thread runtime that belongs to the connection and
//! is dropped with it. So nothing here needs `Send`, and nothing that an old connection still had
//! queued can leave after its session is gone.

#[cfg(feature = "cli")]
#[cfg_attr(
    not(all(feature = "nats", feature = "mqtt", feature = "postgres")),
    allow(dead_code, reason = "a sink that is left out is not looked at")
)]
pub(crate) mod checkup;
pub mod memory;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod stdout;
#[cfg(any(feature = "nats", feature = "mqtt", feature = "postgres"))]
pub mod tls;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

pub use crate::seq::{Incarnation, Position};
use crate::{
    clock::{Stamp, Timestamp},
    envelope::{CLOUD_EVENT_CONTENT_TYPE, DeviceName, Digest, Epoch, Kind, Path},
    seq::Seq,
    signing::{KeyId, Signature},
    status::Guarantee,
};

/// One event on its way to a sink.
#[derive(Clone)]
pub struct Parcel {
    /// Its seq.
    pub seq: Seq,
    /// The chain it belongs to.
    pub epoch: Epoch,
    /// Its identity.
    pub id: Uuid,
    /// Its digest.
    pub digest: Digest,
    /// Its event type, for subject and topic templates.
    pub event_type: Arc<str>,
    /// The bytes of the message, rendered as [`Sink::format`] asks.
    pub body: Bytes,
    /// What goes beside the body.
    pub beside: Beside,
    /// Whether an earlier copy may have arrived.
    pub redelivered: bool,
}

/// How a sink takes an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The envelope.
    Envelope,
    /// The envelope without a line break in it.
    OneLine,
    /// The payload, with everything else in columns beside it.
    Columns,
    /// A CloudEvent in structured mode, without a line break in it.
    CloudEvents,
    /// A CloudEvent in binary mode: the payload, with everything else in attributes beside it.
    CloudEventsBinary,
}

/// What a message is, for a sink that can be told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MessageFormat {
    /// The envelope.
    #[default]
    Envelope,
    /// A CloudEvent in structured mode.
    CloudEvents,
    /// A CloudEvent in binary mode, where the protocol has headers or properties.
    CloudEventsBinary,
}

impl MessageFormat {
    /// How the forwarder renders it.
    #[must_use]
    pub const fn format(self) -> Format {
        match self {
            Self::Envelope => Format::Envelope,
            Self::CloudEvents => Format::CloudEvents,
            Self::CloudEventsBinary => Format::CloudEventsBinary,
        }
    }

    /// The content type of the body. In binary mode the attribute `datacontenttype` says it, and
    /// an erased event, which has no data, has none.
    #[must_use]
    pub const fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Envelope => Some("application/json"),
            Self::CloudEvents => Some(CLOUD_EVENT_CONTENT_TYPE),
            Self::CloudEventsBinary => None,
        }
    }
}

/// What goes beside the body of a [`Parcel`].
#[derive(Clone)]
pub enum Beside {
    /// Nothing: the body is the whole event.
    Nothing,
    /// The attributes of a CloudEvent in binary mode, by name and as text, `datacontenttype` among
    /// them. The body is its data; empty where it was erased.
    Attributes(Box<[(&'static str, String)]>),
    /// Everything but the payload, for a sink with columns. The body is the payload byte for
    /// byte; empty where it was erased.
    Columns(Box<Columns>),
}

/// Everything of an envelope that [`Parcel`] does not name already, but for the payload.
#[derive(Clone)]
pub struct Columns {
    /// The id that its producer gave it, where that is no UUID.
    pub original_id: Option<Box<str>>,
    /// Whose event.
    pub device: Arc<str>,
    /// Who made it.
    pub kind: Kind,
    /// The key that signs it.
    pub key_id: KeyId,
    /// The version of the payload's shape.
    pub event_version: u16,
    /// What produced it.
    pub source: Arc<str>,
    /// When it happened, as the program says.
    pub occurred_at: Timestamp,
    /// What the clocks showed when it was committed.
    pub clock: Stamp,
    /// The digest of the seq before.
    pub prev: Digest,
    /// The digest of the personal part.
    pub private_digest: Digest,
    /// The group's signature.
    pub signature: Signature,
    /// The place in the group, from 0.
    pub leaf: u8,
    /// The size of the group.
    pub size: u8,
    /// The path from the leaf to the root.
    pub path: Path,
    /// The personal part beside the payload; `None` once erased.
    pub private: Option<PrivateColumns>,
}

/// The personal part of [`Columns`].
#[derive(Clone)]
pub struct PrivateColumns {
    /// What the private digest is salted with.
    pub salt: [u8; 16],
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// Whose data it is; empty where it is nobody's.
    pub subject_id: Box<str>,
}

/// Where a hub's receipts for devices come from and their tails go to: what stands before the
/// device's name, in the way of the sink's subjects or topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WayBack {
    /// Before the name, and after it the epoch.
    pub receipts: String,
    /// Before the name.
    pub tails: String,
}

impl WayBack {
    /// Whether it can be: parts that the separator joins, none of them empty, a wildcard or with
    /// anything in it but letters, digits, `_` and `-`.
    #[cfg(any(feature = "nats", feature = "mqtt"))]
    pub(in crate::sink) fn is_sound(&self, separator: char) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let is_part = |part: &str| !part.is_empty() && part.chars().all(is_plain);
        let is_sound = |prefix: &str| prefix.len() <= 255 && prefix.split(separator).all(is_part);
        is_sound(&self.receipts) && is_sound(&self.tails)
    }
}

/// How many foreign messages a [`ReadBack`] reports, at most.
pub const MAX_FOREIGN: usize = 16;

/// What may or may not have arrived, asked of the sink after a connection.
pub struct InDoubt {
    /// Whose events.
    pub epoch: Epoch,
    /// Nothing in doubt lies at or below this position.
    pub floor: Position,
    /// The container that `floor` belongs to; the default where none was seen yet.
    pub incarnation: Incarnation,
    /// Everything up to here is settled: whatever of this epoch lies beyond it and is not among
    /// `events` was written by another journal. So asking is worth it with nothing in doubt, too.
    pub acked: Seq,
    /// Seq and digest of everything in doubt, ascending.
    pub events: Vec<(Seq, Digest)>,
}

/// The other side's answer about an [`InDoubt`] range.
#[derive(Default)]
pub struct ReadBack {
    /// Those of the in-doubt events that are stored with our digest, ascending by seq.
    pub found: Vec<(Seq, Position)>,
    /// Messages of our epoch beyond [`InDoubt::acked`] that are not among the in-doubt events:
    /// another journal wrote under our name (a rolled-back or cloned card), unless this journal
    /// knows the digest after all. At most [`MAX_FOREIGN`], as a few prove as much as all.
    pub foreign: Vec<(Seq, Digest)>,
    /// Whether what was not found is known to be absent. False where the other side cannot be
    /// asked (no right to, no memory of its own, another incarnation): what was not found may
    /// have arrived all the same.
    pub complete: bool,
}

/// What happened to something that was sent.
#[derive(Debug)]
pub enum Outcome {
    /// Stored for good.
    Stored {
        /// Which event.
        seq: Seq,
        /// Where.
        position: Position,
    },
    /// Known not to be stored; the connection goes on.
    Refused {
        /// Which event.
        seq: Seq,
        /// Why.
        error: SinkError,
    },
    /// A message came where the hub puts its receipts for this device. Anybody may have put it
    /// there.
    Receipt(Bytes),
    /// The connection is of no more use; everything unanswered is in doubt.
    Lost(SinkError),
}

/// What follows from an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Passes by itself: network, timeout, quota.
    Retry,
    /// This event can never pass.
    Reject,
    /// Configuration or rights are wrong.
    Halt,
}

impl ErrorKind {
    /// The word for it in `status` and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Halt => "halt",
        }
    }
}

/// The longest message or hint, in characters: a server may say as much as it likes.
const MAX_TEXT_CHARS: usize = 1_000;

/// A text as it can be shown. Whoever is at the other side must not be able to write lines into a
/// log, to command a terminal, or to turn the direction of what is read.
fn one_line(text: &str) -> String {
    let is_plain = |c: char| {
        !c.is_control() && !matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let mut chars = text.chars().map(|c| if is_plain(c) { c } else { ' ' });
    let mut line: String = chars.by_ref().take(MAX_TEXT_CHARS).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

/// What went wrong at a sink.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// Retry, reject or halt.
    pub kind: ErrorKind,
    /// A stable word for the ledger and for metrics, such as `payload_too_large`; never a
    /// server's text, which can quote data.
    pub code: &'static str,
    /// What was tried, on what, and what the other side said: one line without control characters,
    /// for it is shown on terminals and in logs.
    pub message: String,
    /// What to do about it, naming the configuration key. One line, too.
    pub hint: Option<String>,
    /// Whether a limit of the server's refused the event. Several such rejections in a row mean a
    /// wrong setting rather than a poison event, and must not dead-letter a backlog.
    pub limit: bool,
}

impl SinkError {
    /// Something that passes by itself.
    #[must_use]
    pub fn retry(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, code, message.into())
    }

    /// An event that can never pass.
    #[must_use]
    pub fn reject(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Reject, code, message.into())
    }

    /// Configuration or rights that somebody has to mend.
    #[must_use]
    pub fn halt(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Halt, code, message.into())
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(&hint.into()));
        self
    }

    /// Says that a limit of the server's is the reason.
    #[must_use]
    pub const fn by_limit(mut self) -> Self {
        self.limit = true;
        self
    }

    fn new(kind: ErrorKind, code: &'static str, message: String) -> Self {
        Self {
            kind,
            code,
            message: one_line(&message),
            hint: None,
            limit: false,
        }
    }
}

/// One destination.
pub enum Sink {
    /// An MQTT broker.
    #[cfg(feature = "mqtt")]
    Mqtt(mqtt::MqttSink),
    /// NATS: JetStream, or core NATS.
    #[cfg(feature = "nats")]
    Nats(nats::NatsSink),
    /// Postgres: rows in a table.
    #[cfg(feature = "postgres")]
    Postgres(postgres::PostgresSink),
    /// One line for each event, on standard output.
    Stdout(stdout::StdoutSink),
    /// A store in memory, for tests.
    Memory(memory::MemorySink),
}

impl Sink {
    /// The kind, as configuration and `status` name it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => "mqtt",
            #[cfg(feature = "nats")]
            Self::Nats(_) => "nats",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "postgres",
            Self::Stdout(_) => "stdout",
            Self::Memory(_) => "memory",
        }
    }

    /// How it takes events.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            #[cfg(feature = "mqtt")]
            Self::Mqtt(sink) => sink.format(),
            #[cfg(feature = "nats")]
            Self::Nats(sink) => sink.format(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Format::Columns,
            Self::Stdout(sink) => sink.format(),
            Self::Memory(_) => Format::Envelope,
        }
    }

    /// Whether it brings tails to a hub and receipts back, as its options say.
    #[must_use]
    pub fn has_way_back(&self) -> bool {
        match self {
            #[cfg(feature = "mqtt")]
            Self::Mqtt(sink) => sink.has_way_back(),
            #[cfg(feature = "nats")]
            Self::Nats(sink) => sink.has_way_back(),
            _ => false,
        }
    }

    /// Makes one attempt to connect, bounded in time by the sink's own connect timeout (at most
    /// 4 s). Sends nothing.
    ///
    /// # Errors
    /// What stands in the way, classified. The caller decides when to try again, on a new runtime.
    #[cfg_attr(
        not(any(feature = "nats", feature = "mqtt", feature = "postgres")),
        expect(
            unused_variables,
            reason = "only clients of a network have a use for it"
        )
    )]
    pub async fn connect(&mut self, device: &DeviceName) -> Result<Session, SinkError> {
        match self {
            #[cfg(feature = "mqtt")]
            Self::Mqtt(sink) => sink.connect(device).await.map(Session::Mqtt),
            #[cfg(feature = "nats")]
            Self::Nats(sink) => sink.connect(device).await.map(Session::Nats),
            #[cfg(feature = "postgres")]
            Self::Postgres(sink) => sink.connect(device).await.map(Session::Postgres),
            Self::Stdout(sink) => Ok(Session::Stdout(sink.connect())),
            Self::Memory(sink) => sink.connect().map(Session::Memory),
        }
    }
}

/// A connection, from its making to the first trouble with it.
pub enum Session {
    /// To an MQTT broker.
    #[cfg(feature = "mqtt")]
    Mqtt(mqtt::MqttSession),
    /// To NATS.
    #[cfg(feature = "nats")]
    Nats(nats::NatsSession),
    /// To Postgres.
    #[cfg(feature = "postgres")]
    Postgres(postgres::PostgresSession),
    /// To standard output.
    Stdout(stdout::StdoutSession),
    /// To a store in memory.
    Memory(memory::MemorySession),
}

/// Calls the method of the same name of whichever session it is.
macro_rules! each {
    ($session:expr, $inner:ident => $call:expr) => {
        match $session {
            #[cfg(feature = "mqtt")]
            Session::Mqtt($inner) => $call,
            #[cfg(feature = "nats")]
            Session::Nats($inner) => $call,
            #[cfg(feature = "postgres")]
            Session::Postgres($inner) => $call,
            Session::Stdout($inner) => $call,
            Session::Memory($inner) => $call,
        }
    };
}

impl Session {
    /// The promise in force. It may change with every call of [`Session::read_back`] and
    /// [`Session::next`].
    #[must_use]
    pub fn guarantee(&self) -> Guarantee {
        each!(self, session => session.guarantee())
    }

    /// The container that this session's positions belong to.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        each!(self, session => session.incarnation())
    }

    /// The highest position known: the container's last one at connect, raised by what was
    /// confirmed since.
    #[must_use]
    pub fn head(&self) -> Position {
        each!(self, session => session.head())
    }

    /// How many unanswered parcels the client bears.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        each!(self, session => session.max_in_flight())
    }

    /// Asks what of the in-doubt range arrived. Called before anything is sent in the session.
    ///
    /// # Errors
    /// The session is lost. That the other side cannot be asked is not an error:
    /// [`ReadBack::complete`] says it.
    pub async fn read_back(&mut self, doubt: &InDoubt) -> Result<ReadBack, SinkError> {
        each!(self, session => session.read_back(doubt).await)
    }

    /// Hands a parcel to the client. What becomes of it is told by [`Session::next`], also where
    /// it is refused on the spot. The caller keeps to [`Session::max_in_flight`].
    ///
    /// # Errors
    /// The session is lost; the parcel and everything unanswered are in doubt.
    pub async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        each!(self, session => session.send(parcel).await)
    }

    /// Publishes a signed tail for the hub. Nothing tells whether it arrived; the next one says as
    /// much. Where there is no way to the hub, it goes nowhere.
    ///
    /// # Errors
    /// The session is lost.
    pub async fn tell(&mut self, tail: Bytes) -> Result<(), SinkError> {
        match self {
            #[cfg(feature = "mqtt")]
            Self::Mqtt(session) => session.tell(tail),
            #[cfg(feature = "nats")]
            Self::Nats(session) => session.tell(tail).await,
            _ => {
                drop(tail);
                Ok(())
            }
        }
    }

    /// The next thing that happened; pending while nothing is unanswered and the connection is
    /// well. A loss is told when idle too. Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Outcome {
        each!(self, session => session.next().await)
    }

    /// Stops at once and flushes nothing; at most 500 ms.
    pub async fn close(self) {
        each!(self, session => session.close().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_side_says_is_one_line_of_bounded_length() {
        let error = SinkError::retry("a", "says \"x\r\n\x1b[31mfake\u{9b}2J\u{202e}\"")
            .with_hint("see\nthere");
        assert_eq!(error.message, "says \"x   [31mfake 2J \"");
        assert_eq!(error.hint.unwrap(), "see there");

        let long = "é".repeat(MAX_TEXT_CHARS);
        assert_eq!(SinkError::halt("a", long.as_str()).message, long);
        let longer = SinkError::halt("a", long.clone() + "é").message;
        assert_eq!(longer, long + "…");
    }
}
