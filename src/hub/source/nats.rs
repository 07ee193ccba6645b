//! Events out of a JetStream stream, by a durable pull consumer that all hubs share; tails out of the
//! hub's own stream, and receipts into it.

use std::{future::pending, sync::Arc, time::Duration};

use async_nats::{
    Subject,
    jetstream::{
        self, Context,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::{Config, DiscardPolicy, Stream},
    },
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Limits, Load, SealedReceipt};
use crate::{
    hub::Message,
    sink::{
        SinkError,
        nats::{NatsConnection, NatsOptions, NatsOptionsError, NatsServers},
    },
};

/// The subjects of events by default.
pub const DEFAULT_EVENTS: &str = "edupulse.events.>";
/// The durable consumer's name by default.
pub const DEFAULT_CONSUMER: &str = "edupulse-hub";
/// The stream of tails and receipts by default.
pub const HUB_STREAM: &str = "EDUPULSE_HUB";
/// The subjects in that stream, a device's name or more behind each.
const TAILS: &str = "edupulse.tails";
const RECEIPTS: &str = "edupulse.receipts";

/// How long a question to the server may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a pull stays with the server, and how often that says in between that it is there.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
const PULL_HEARTBEAT: Duration = Duration::from_secs(10);
/// Tails that are pulled at a time.
const TAILS_AT_ONCE: usize = 256;
/// What a message has beside its payload, in bytes, at most.
const HEADERS_BYTES: usize = 64 * 1024;
/// Tails that may be unacknowledged.
const MAX_TAILS_PENDING: i64 = 1_024;

/// A JetStream stream of events.
#[derive(Clone)]
pub struct NatsSource {
    servers: NatsServers,
    /// The stream; without it, the one that takes `events`.
    stream: Option<String>,
    /// The subjects of events.
    events: String,
    /// The durable consumer's name; hubs with the same one share the work.
    consumer: String,
    /// After how long a message that nobody acknowledged is brought again.
    ack_wait: Duration,
    /// How many messages may be unacknowledged, of all hubs together.
    max_ack_pending: i64,
    /// The stream of tails and receipts.
    hub_stream: String,
}

impl NatsSource {
    /// Of the options those count that say where the servers are and who this is to them; the stream
    /// among them.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub fn new(options: NatsOptions) -> Result<Self, NatsOptionsError> {
        Ok(Self {
            stream: options.stream.clone(),
            servers: NatsServers::new(options)?,
            events: DEFAULT_EVENTS.into(),
            consumer: DEFAULT_CONSUMER.into(),
            ack_wait: Duration::from_secs(30),
            max_ack_pending: 8_192,
            hub_stream: HUB_STREAM.into(),
        })
    }

    /// The subjects of events, and the durable consumer's name; hubs with the same one share the work.
    #[must_use]
    pub fn consumer(mut self, events: String, consumer: String) -> Self {
        self.events = events;
        self.consumer = consumer;
        self
    }

    /// After how long a message that nobody acknowledged is brought again, and how many may be
    /// unacknowledged, of all hubs together.
    #[must_use]
    pub fn pending(mut self, ack_wait: Duration, max_ack_pending: u32) -> Self {
        self.ack_wait = ack_wait;
        self.max_ack_pending = max_ack_pending.into();
        self
    }

    /// The stream of tails and receipts.
    #[must_use]
    pub fn hub_stream(mut self, name: String) -> Self {
        self.hub_stream = name;
        self
    }

    pub(super) async fn connect(
        &self,
        name: &str,
        limits: Limits,
        tells: bool,
    ) -> Result<NatsFeed, SinkError> {
        let connection = self.servers.connect("edge-outbox hub").await?;
        let mut context = jetstream::new(connection.client.clone());
        context.set_timeout(ANSWER_LIMIT);
        let max_payload = connection.client.max_payload();
        let stream = self.events_stream(&context, &connection.server).await?;
        let events = pull::Config {
            durable_name: Some(self.consumer.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            max_ack_pending: self.max_ack_pending,
            filter_subject: self.events.clone(),
            deliver_policy: DeliverPolicy::All,
            ..pull::Config::default()
        };
        // Less than one message would never come.
        let bytes = limits.bytes.max(max_payload + HEADERS_BYTES);
        let events = pulled(&stream, events, limits.messages, bytes, &connection).await?;
        let tails = match tells {
            true => {
                let stream = self.hub_stream_at(&context, &connection.server).await?;
                let tails = pull::Config {
                    durable_name: Some(format!("{}-tails", self.consumer)),
                    ack_policy: AckPolicy::Explicit,
                    ack_wait: self.ack_wait,
                    max_ack_pending: MAX_TAILS_PENDING,
                    filter_subject: format!("{TAILS}.>"),
                    deliver_policy: DeliverPolicy::All,
                    ..pull::Config::default()
                };
                let bytes = max_payload + HEADERS_BYTES;
                Some(pulled(&stream, tails, TAILS_AT_ONCE, bytes, &connection).await?)
            }
            false => None,
        };
        Ok(NatsFeed {
            connection,
            context,
            events,
            tails,
            limits,
            origin: name.into(),
            load: Load::default(),
            since: None,
            replies: Vec::new(),
        })
    }

    async fn events_stream(&self, context: &Context, server: &str) -> Result<Stream, SinkError> {
        let name = match &self.stream {
            Some(name) => name.clone(),
            None => context
                .stream_by_subject(self.events.as_str())
                .await
                .map_err(|error| {
                    let what = format!("looking for the stream of {} at {server}", self.events);
                    missing(&what, &error)
                })?,
        };
        let stream = context.get_stream(&name).await;
        stream.map_err(|error| missing(&format!("looking at stream {name} at {server}"), &error))
    }

    /// The hub's own stream, made where it is missing.
    async fn hub_stream_at(&self, context: &Context, server: &str) -> Result<Stream, SinkError> {
        let name = &self.hub_stream;
        let wanted = Config {
            name: name.clone(),
            subjects: vec![format!("{RECEIPTS}.>"), format!("{TAILS}.>")],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::Old,
            allow_direct: true,
            ..Config::default()
        };
        let stream = context.get_or_create_stream(wanted.clone()).await;
        let stream = stream.map_err(|error| {
            SinkError::halt(
                "hub_stream",
                format!("making stream {name} at {server} failed: {error}"),
            )
            .with_hint(
                "make it by hand, as docs/hub.md has it, or let this user of the hub's make streams; \
                 `hub_stream` is its name",
            )
        })?;
        let found = &stream.cached_info().config;
        let takes_all = wanted.subjects.iter().all(|it| found.subjects.contains(it));
        if found.max_messages_per_subject != 1 || !takes_all || !found.allow_direct {
            let message = format!(
                "stream {name} at {server} is not as it has to be: subjects {} and {}, one message \
                 for each (max_msgs_per_subject = 1), and allow_direct",
                wanted.subjects[0], wanted.subjects[1]
            );
            return Err(SinkError::halt("hub_stream", message)
                .with_hint("change it with `nats stream edit`, or name another in `hub_stream`"));
        }
        Ok(stream)
    }
}

async fn pulled(
    stream: &Stream,
    config: pull::Config,
    messages: usize,
    bytes: usize,
    connection: &NatsConnection,
) -> Result<pull::Stream, SinkError> {
    let name = config.durable_name.clone().unwrap_or_default();
    let refused = |error: &dyn std::fmt::Display| {
        let server = &connection.server;
        let message = format!("making consumer {name} at {server} failed: {error}");
        SinkError::halt("consumer", message).with_hint(
            "let this user of the hub's make consumers, or remove a consumer of that name that is \
             not a hub's; `consumer` is its name",
        )
    };
    let consumer: PullConsumer = stream
        .create_consumer(config)
        .await
        .map_err(|error| refused(&error))?;
    let pulled = consumer
        .stream()
        .max_messages_per_batch(messages)
        .max_bytes_per_batch(bytes);
    let pulled = pulled.expires(PULL_EXPIRES).heartbeat(PULL_HEARTBEAT);
    pulled.messages().await.map_err(|error| refused(&error))
}

/// The stream that is not there may be made at any time.
fn missing(what: &str, error: &dyn std::fmt::Display) -> SinkError {
    SinkError::halt("stream_missing", format!("{what} failed: {error}")).with_hint(
        "make the stream (a device does with `create_stream = true`), or correct `stream` and \
         `events`",
    )
}

/// A connection to a server with JetStream.
pub(in crate::hub) struct NatsFeed {
    connection: NatsConnection,
    context: Context,
    events: pull::Stream,
    tails: Option<pull::Stream>,
    limits: Limits,
    origin: Arc<str>,
    /// What is being gathered, since when.
    load: Load,
    since: Option<Instant>,
    /// What acknowledges the messages of the load, gathered or given.
    replies: Vec<Subject>,
}

impl NatsFeed {
    pub(super) async fn next(&mut self) -> Result<Load, SinkError> {
        while !self.load.is_full(&self.limits) {
            let deadline = self.since.map(|since| since + self.limits.linger);
            let tails = async {
                match &mut self.tails {
                    Some(tails) => tails.next().await,
                    None => pending().await,
                }
            };
            // Not in this order: a backlog of events is no reason to answer no tail.
            let (message, is_tail) = tokio::select! {
                error = self.connection.ended() => return Err(error),
                message = self.events.next() => (message, false),
                message = tails => (message, true),
                () = until(deadline) => break,
            };
            let message = match message {
                Some(Ok(message)) => message.message,
                Some(Err(error)) => return Err(lost(&self.connection.server, &error)),
                None => return Err(lost(&self.connection.server, &"it ended")),
            };
            self.replies.extend(message.reply);
            match is_tail {
                true => self.load.push_tail(message.payload),
                false => self.load.push_event(Message {
                    body: message.payload,
                    origin: self.origin.clone(),
                }),
            }
            self.since.get_or_insert_with(Instant::now);
        }
        self.since = None;
        Ok(std::mem::take(&mut self.load))
    }

    pub(super) async fn acknowledge(&mut self) -> Result<(), SinkError> {
        for reply in self.replies.drain(..) {
            let said = self.connection.client.publish(reply, Bytes::new()).await;
            said.map_err(|error| lost(&self.connection.server, &error))?;
        }
        Ok(())
    }

    pub(super) const fn can_tell(&self) -> bool {
        self.tails.is_some()
    }

    pub(super) async fn tell(&mut self, receipts: Vec<SealedReceipt>) -> Result<(), SinkError> {
        let server = &self.connection.server;
        let mut answers = Vec::with_capacity(receipts.len());
        for SealedReceipt { receipt, message } in receipts {
            let subject = format!("{RECEIPTS}.{}.{}", receipt.device.as_str(), receipt.epoch);
            let sent = self.context.publish(subject, message.into()).await;
            answers.push(sent.map_err(|error| lost(server, &error))?);
        }
        for answer in answers {
            match timeout(ANSWER_LIMIT, answer).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(lost(server, &error)),
                Err(_) => return Err(lost(server, &"a receipt was not confirmed in time")),
            }
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        drop(timeout(ANSWER_LIMIT, self.connection.client.flush()).await);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn lost(server: &str, why: &dyn std::fmt::Display) -> SinkError {
    SinkError::retry(
        "disconnected",
        format!("the exchange with {server} ended: {why}"),
    )
}
