//! Events from an MQTT 5 broker, by a shared subscription in a session that outlives the connection;
//! tails from a subscription that is not shared, and receipts as retained messages.

use std::{sync::Arc, time::Duration};

use rumqttc::v5::{
    AsyncClient, ClientError, ConnectionError, Event, EventLoop, Incoming,
    mqttbytes::{
        QoS,
        v5::{Filter, Packet, Publish, SubAck, SubscribeReasonCode},
    },
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{Limits, Load, SealedReceipt};
use crate::{
    hub::Message,
    sink::{
        SinkError,
        mqtt::{MqttBrokers, MqttOptions, MqttOptionsError, Subscriber, disconnected},
    },
};

/// The topics of events by default.
pub const DEFAULT_EVENTS: &str = "edupulse/events/#";
/// The name under which hubs share a subscription by default.
pub const DEFAULT_GROUP: &str = "edupulse-hub";
/// The topics of tails and receipts, a device's name or more behind each.
const TAILS: &str = "edupulse/tails/";
const RECEIPTS: &str = "edupulse/receipts/";

/// Messages that a broker can have sent before the first is acknowledged, each with a number of its
/// own. It is asked for fewer (`receive_maximum`), and mosquitto 2.0 sends more all the same where many
/// have waited.
const MAX_UNACKNOWLEDGED: usize = u16::MAX as usize;
/// Receipts that may be on their way beside the acknowledgements.
const SPARE_REQUESTS: usize = 512;
/// How long the next of them waits for room while the broker answers none.
const ROOM_LIMIT: Duration = Duration::from_secs(1);
/// How long a broker may take to answer a subscription, or to be told good-bye.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Bytes are counted in these units between the connection and whoever takes messages.
const UNIT_BYTES: usize = 1_024;

/// An MQTT 5 broker.
#[derive(Clone)]
pub struct MqttSource {
    brokers: MqttBrokers,
    events: String,
    group: String,
    client_id: String,
    session_expiry: Duration,
    receive_maximum: u16,
    max_packet: u32,
}

impl MqttSource {
    /// Of the options those count that say where the brokers are and who this is to them; the client id
    /// among them, which each hub needs one of its own of.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub fn new(options: MqttOptions) -> Result<Self, MqttOptionsError> {
        let client_id = options.client_id.clone();
        let brokers = MqttBrokers::new(options)?;
        Ok(Self {
            brokers,
            events: DEFAULT_EVENTS.into(),
            group: DEFAULT_GROUP.into(),
            client_id: client_id.unwrap_or_else(|| "edge-outbox-hub".into()),
            session_expiry: Duration::from_secs(7 * 24 * 3_600),
            receive_maximum: 1_024,
            max_packet: 16 * 1024 * 1024,
        })
    }

    /// The topics of events, and the name under which hubs share them.
    #[must_use]
    pub fn subscription(mut self, events: String, group: String) -> Self {
        self.events = events;
        self.group = group;
        self
    }

    /// How long the session outlives its connection, how many messages may be unacknowledged, and how
    /// large one may be.
    #[must_use]
    pub fn session(mut self, expiry: Duration, receive_maximum: u16, max_packet: u32) -> Self {
        self.session_expiry = expiry;
        self.receive_maximum = receive_maximum;
        self.max_packet = max_packet;
        self
    }

    pub(super) async fn connect(&self, name: &str, limits: Limits) -> Result<MqttFeed, SinkError> {
        let subscriber = Subscriber {
            client_id: self.client_id.clone(),
            receive_maximum: self.receive_maximum,
            session_expiry: self.session_expiry,
            max_packet: self.max_packet,
            requests: MAX_UNACKNOWLEDGED + SPARE_REQUESTS,
        };
        let (client, connection, server) = self.brokers.connect(&subscriber).await?;
        let shared = format!("$share/{}/{}", self.group, self.events);
        let filters = [
            Filter::new(shared.as_str(), QoS::AtLeastOnce),
            Filter::new(format!("{TAILS}+"), QoS::AtLeastOnce),
        ];
        let failed = |why: &dyn std::fmt::Display| {
            SinkError::retry(
                "subscribe",
                format!("subscribing at {server} failed: {why}"),
            )
        };
        client
            .try_subscribe_many(filters)
            .map_err(|error| failed(&error))?;
        let room = Arc::new(Semaphore::new(units(limits.bytes.saturating_mul(2))));
        let (sender, news) = mpsc::channel(usize::from(self.receive_maximum) + SPARE_REQUESTS);
        let spare = Arc::new(Semaphore::new(SPARE_REQUESTS));
        let rooms = (room.clone(), spare.clone());
        let task = tokio::spawn(run(connection, sender, rooms, server.clone()));
        let mut feed = MqttFeed {
            client,
            news,
            _task: Task(task),
            room,
            spare,
            capacity: units(limits.bytes.saturating_mul(2)),
            server: server.clone(),
            limits,
            origin: name.into(),
            load: Load::default(),
            since: None,
            unacknowledged: Vec::new(),
            held_units: 0,
        };
        match timeout(ANSWER_LIMIT, feed.subscribed(&shared)).await {
            Ok(subscribed) => subscribed?,
            Err(_) => return Err(failed(&"no answer in time")),
        }
        Ok(feed)
    }
}

/// How many units so many bytes are.
fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS)
}

/// What comes from the broker.
enum News {
    Message(Publish),
    Subscribed(SubAck),
    Over(SinkError),
}

/// Drives the connection to its end. What comes waits here while too many bytes are in hand; then
/// nothing more is read, and the broker holds what is left. What it has answered of ours makes room for
/// more.
async fn run(
    mut connection: EventLoop,
    news: mpsc::Sender<News>,
    (room, spare): (Arc<Semaphore>, Arc<Semaphore>),
    server: String,
) {
    let capacity = room.available_permits();
    loop {
        let heard = match connection.poll().await {
            Ok(Event::Incoming(Incoming::Publish(message))) => {
                let wanted = units(message.payload.len()).min(capacity);
                match room.acquire_many(wanted as u32).await {
                    Ok(permit) => permit.forget(),
                    Err(_) => return,
                }
                News::Message(message)
            }
            Ok(Event::Incoming(Packet::SubAck(answer))) => News::Subscribed(answer),
            Ok(heard) => {
                if matches!(heard, Event::Incoming(Packet::PubAck(_))) {
                    spare.add_permits(1);
                }
                // Whatever comes is a sign of life.
                connection.state.await_pingresp = false;
                continue;
            }
            Err(error) => {
                // Polled again it would connect again.
                let _ = news.send(News::Over(over(&error, &server))).await;
                return;
            }
        };
        connection.state.await_pingresp = false;
        if news.send(heard).await.is_err() {
            return;
        }
    }
}

fn over(error: &ConnectionError, server: &str) -> SinkError {
    let error = disconnected(error, server);
    match error.hint {
        Some(_) => error,
        None => error.with_hint(
            "passes by itself if it was the network; each hub needs a `client_id` of its own",
        ),
    }
}

/// A connection to a broker.
pub(in crate::hub) struct MqttFeed {
    client: AsyncClient,
    news: mpsc::Receiver<News>,
    _task: Task,
    room: Arc<Semaphore>,
    /// Room for receipts.
    spare: Arc<Semaphore>,
    capacity: usize,
    server: String,
    limits: Limits,
    origin: Arc<str>,
    /// What is being gathered, since when.
    load: Load,
    since: Option<Instant>,
    /// The messages of the load without what is in them, gathered or given.
    unacknowledged: Vec<Publish>,
    /// Units of room that they hold.
    held_units: usize,
}

impl MqttFeed {
    /// Waits for the broker's word on the subscriptions. What it brings meanwhile is gathered.
    async fn subscribed(&mut self, shared: &str) -> Result<(), SinkError> {
        loop {
            match self.news.recv().await {
                Some(News::Message(message)) => self.gather(message),
                Some(News::Over(error)) => return Err(error),
                None => return Err(self.lost(&"its task ended")),
                Some(News::Subscribed(answer)) => {
                    let refused = answer.return_codes.iter().find_map(|code| match code {
                        // Less would not come again.
                        SubscribeReasonCode::Success(QoS::AtLeastOnce) => None,
                        code => Some(format!("{code:?}")),
                    });
                    return match refused {
                        None => Ok(()),
                        Some(code) => Err(SinkError::halt(
                            "subscription_refused",
                            format!(
                                "subscribing to {shared} and {TAILS}+ at {}: {code}",
                                self.server
                            ),
                        )
                        .with_hint(
                            "let this user of the hub's subscribe there, at a broker with shared \
                             subscriptions; `events` and `group` say to what",
                        )),
                    };
                }
            }
        }
    }

    pub(super) async fn next(&mut self) -> Result<Load, SinkError> {
        while !self.load.is_full(&self.limits) {
            let deadline = self.since.map(|since| since + self.limits.linger);
            tokio::select! {
                biased;
                news = self.news.recv() => match news {
                    Some(News::Message(message)) => self.gather(message),
                    Some(News::Subscribed(_)) => {}
                    Some(News::Over(error)) => return Err(error),
                    None => return Err(self.lost(&"its task ended")),
                },
                () = until(deadline) => break,
            }
        }
        self.since = None;
        Ok(std::mem::take(&mut self.load))
    }

    fn gather(&mut self, message: Publish) {
        self.held_units += units(message.payload.len()).min(self.capacity);
        self.unacknowledged.push(Publish {
            qos: message.qos,
            pkid: message.pkid,
            ..Publish::default()
        });
        match message.topic.starts_with(TAILS.as_bytes()) {
            true => self.load.push_tail(message.payload),
            false => self.load.push_event(Message {
                body: message.payload,
                origin: self.origin.clone(),
            }),
        }
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) async fn acknowledge(&mut self) -> Result<(), SinkError> {
        self.room.add_permits(std::mem::take(&mut self.held_units));
        for message in std::mem::take(&mut self.unacknowledged) {
            // There is room for as many as there can be.
            if let Err(error) = self.client.try_ack(&message) {
                return Err(self.why(&error).await);
            }
        }
        Ok(())
    }

    /// Sends as many as there is room for; gives how many.
    pub(super) async fn tell(&mut self, receipts: Vec<SealedReceipt>) -> Result<usize, SinkError> {
        let mut told = 0;
        for SealedReceipt { receipt, message } in receipts {
            match timeout(ROOM_LIMIT, self.spare.acquire()).await {
                Ok(Ok(permit)) => permit.forget(),
                Ok(Err(error)) => return Err(self.lost(&error)),
                // What ends the connection is heard of in its place among the messages.
                Err(_) => break,
            }
            let topic = format!("{RECEIPTS}{}/{}", receipt.device.as_str(), receipt.epoch);
            let sent = self
                .client
                .try_publish(topic, QoS::AtLeastOnce, true, message);
            if let Err(error) = sent {
                return Err(self.why(&error).await);
            }
            told += 1;
        }
        Ok(told)
    }

    /// The session stays with the broker.
    pub(super) async fn close(mut self) {
        // Nothing that still comes may be in the way of it.
        self.room.add_permits(self.capacity);
        // The request waits behind all that was said before.
        if self.client.try_disconnect().is_ok() {
            let ended =
                async { while !matches!(self.news.recv().await, None | Some(News::Over(_))) {} };
            drop(timeout(ANSWER_LIMIT, ended).await);
        }
    }

    /// Why nothing more can be said: what ended the connection stands behind what it brought.
    async fn why(&mut self, error: &ClientError) -> SinkError {
        self.room.add_permits(self.capacity);
        let over = async {
            loop {
                match self.news.recv().await {
                    Some(News::Over(error)) => break Some(error),
                    Some(_) => {}
                    None => break None,
                }
            }
        };
        let over = timeout(ROOM_LIMIT, over).await.unwrap_or_default();
        over.unwrap_or_else(|| self.lost(error))
    }

    fn lost(&self, why: &dyn std::fmt::Display) -> SinkError {
        let message = format!("the exchange with {} ended: {why}", self.server);
        SinkError::retry("disconnected", message)
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A task that ends with its handle.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
