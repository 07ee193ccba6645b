//! What brings messages to a hub: brokers, and the tables of a Postgres sink. A closed set.
//!
//! A feed is one connection to a source. It gathers what comes into loads of bounded count and size,
//! and is told when a load is stored: only then is it acknowledged. A feed that is lost, or dropped,
//! acknowledges nothing, and its source brings the load again.

mod inbox;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "nats")]
mod nats;

use std::time::Duration;

use bytes::Bytes;

pub use self::inbox::{InboxSource, POLL};
#[cfg(feature = "mqtt")]
pub use self::mqtt::{DEFAULT_EVENTS as MQTT_EVENTS, DEFAULT_GROUP as MQTT_GROUP, MqttSource};
#[cfg(feature = "nats")]
pub use self::nats::{
    DEFAULT_CONSUMER as NATS_CONSUMER, DEFAULT_EVENTS as NATS_EVENTS, HUB_STREAM, NatsSource,
};
use super::{MAX_BATCH, MAX_BATCH_BYTES, Message};
use crate::{receipt::Receipt, sink::SinkError};

/// The most messages in a load by default.
pub const DEFAULT_BATCH: usize = 1_024;
/// The most bytes of messages in a load by default.
pub const DEFAULT_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long a load waits for more by default: about as long as a transaction takes.
pub const DEFAULT_LINGER: Duration = Duration::from_millis(10);

/// How large a load may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most messages; at most [`MAX_BATCH`].
    pub messages: usize,
    /// The most bytes of them, unless it is one message; at most [`MAX_BATCH_BYTES`].
    pub bytes: usize,
    /// How long its first message waits for others.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: DEFAULT_BATCH.min(MAX_BATCH),
            bytes: DEFAULT_BATCH_BYTES.min(MAX_BATCH_BYTES),
            linger: DEFAULT_LINGER,
        }
    }
}

/// A source and what it is called.
#[derive(Clone)]
pub struct SourceSpec {
    /// The name in log, metrics and the column `origin`.
    pub name: String,
    /// What it is.
    pub source: Source,
}

/// What brings messages.
#[derive(Clone)]
pub enum Source {
    /// A JetStream stream.
    #[cfg(feature = "nats")]
    Nats(Box<NatsSource>),
    /// An MQTT broker.
    #[cfg(feature = "mqtt")]
    Mqtt(Box<MqttSource>),
    /// The table of a Postgres sink.
    Postgres(Box<InboxSource>),
}

/// Messages that are to be taken together.
#[derive(Default)]
pub(super) struct Load {
    /// Events.
    pub(super) events: Vec<Message>,
    /// Tails of devices.
    pub(super) tails: Vec<Bytes>,
    /// How many bytes all of it has.
    bytes: usize,
}

impl Load {
    #[cfg(any(feature = "nats", feature = "mqtt"))]
    fn is_full(&self, limits: &Limits) -> bool {
        self.events.len() + self.tails.len() >= limits.messages || self.bytes >= limits.bytes
    }

    fn push_event(&mut self, message: Message) {
        self.bytes += message.body.len();
        self.events.push(message);
    }

    #[cfg(any(feature = "nats", feature = "mqtt"))]
    fn push_tail(&mut self, tail: Bytes) {
        self.bytes += tail.len();
        self.tails.push(tail);
    }
}

/// A receipt as it is sent.
#[cfg_attr(
    not(any(feature = "nats", feature = "mqtt")),
    expect(dead_code, reason = "only brokers carry receipts")
)]
pub(super) struct SealedReceipt {
    /// What it says.
    pub(super) receipt: Receipt,
    /// The message.
    pub(super) message: Vec<u8>,
}

/// A connection to a source.
pub(super) enum Feed {
    #[cfg(feature = "nats")]
    Nats(Box<nats::NatsFeed>),
    #[cfg(feature = "mqtt")]
    Mqtt(Box<mqtt::MqttFeed>),
    Postgres(Box<inbox::InboxFeed>),
}

impl Source {
    /// One attempt to connect; `tells`: devices are to be told something.
    #[cfg_attr(
        not(feature = "nats"),
        expect(unused_variables, reason = "only NATS makes a difference of it")
    )]
    pub(super) async fn connect(
        &self,
        name: &str,
        limits: Limits,
        tells: bool,
    ) -> Result<Feed, SinkError> {
        Ok(match self {
            #[cfg(feature = "nats")]
            Self::Nats(source) => Feed::Nats(Box::new(source.connect(name, limits, tells).await?)),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(source) => Feed::Mqtt(Box::new(source.connect(name, limits).await?)),
            Self::Postgres(source) => Feed::Postgres(Box::new(source.connect(name, limits).await?)),
        })
    }
}

impl Feed {
    /// The next load. Cancel-safe. What was given before has to be acknowledged first.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn next(&mut self) -> Result<Load, SinkError> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(feed) => feed.next().await,
            #[cfg(feature = "mqtt")]
            Self::Mqtt(feed) => feed.next().await,
            Self::Postgres(feed) => feed.next().await,
        }
    }

    /// What was given last is stored.
    ///
    /// # Errors
    /// The connection is lost: it comes again, and is known then.
    pub(super) async fn acknowledge(&mut self) -> Result<(), SinkError> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(feed) => feed.acknowledge().await,
            #[cfg(feature = "mqtt")]
            Self::Mqtt(feed) => feed.acknowledge().await,
            Self::Postgres(feed) => feed.acknowledge().await,
        }
    }

    /// Whether devices can be told anything this way.
    pub(super) const fn can_tell(&self) -> bool {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(feed) => feed.can_tell(),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => true,
            Self::Postgres(_) => false,
        }
    }

    /// Sends receipts, each in the place of the one before it; gives how many of them, the first ones,
    /// there was room for.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn tell(&mut self, receipts: Vec<SealedReceipt>) -> Result<usize, SinkError> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(feed) => {
                let count = receipts.len();
                feed.tell(receipts).await.map(|()| count)
            }
            #[cfg(feature = "mqtt")]
            Self::Mqtt(feed) => feed.tell(receipts).await,
            Self::Postgres(_) => Ok(receipts.len()),
        }
    }

    /// Ends the connection once everything that was said over it has left.
    pub(super) async fn close(self) {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(feed) => feed.close().await,
            #[cfg(feature = "mqtt")]
            Self::Mqtt(feed) => feed.close().await,
            Self::Postgres(_) => {}
        }
    }
}
