//! A consumer of the test's own: durable, beside the sink, and in the order of arrival.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rumqttc::v5;
use tokio::{sync::oneshot, time::sleep};

/// How long what is expected may take.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the broker keeps the session of a subscriber that is away, in seconds.
const SESSION_SECONDS: u32 = 24 * 60 * 60;
/// The largest message that is taken, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// None under 3.1.1.
    pub(crate) properties: Option<v5::mqttbytes::v5::PublishProperties>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

impl Received {
    /// The value of a user property.
    #[track_caller]
    pub(crate) fn user_property(&self, name: &str) -> Option<&str> {
        let properties = self.properties.as_ref().expect("properties");
        let mut named = properties.user_properties.iter();
        named
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The payload as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }
}

/// A durable subscription at QoS 1, straight to the broker, that outlives the broker's restarts.
///
/// The broker sends again what it has no acknowledgement for, and that would look like a repeat of the
/// sink's. It marks such a message DUP and gives it the packet id it had, so what is marked and equals
/// the last message of that packet id is dropped. (QoS 2 would not do: a message is delivered with the
/// lower QoS of publisher and subscription.)
pub(crate) struct Subscriber {
    inbox: Arc<Mutex<Inbox>>,
    /// Dropped: the thread ends, and the session stays at the broker.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Inbox {
    messages: Vec<Received>,
    /// The place in `messages` of the last one with a packet id.
    last: HashMap<u16, usize>,
    subscribed: bool,
}

impl Inbox {
    fn take(&mut self, packet_id: u16, dup: bool, message: Received) {
        let last = self.last.get(&packet_id).map(|at| &self.messages[*at]);
        let same =
            last.is_some_and(|last| last.payload == message.payload && last.topic == message.topic);
        if !(dup && same) {
            self.last.insert(packet_id, self.messages.len());
            self.messages.push(message);
        }
    }
}

impl Subscriber {
    /// Subscribes by MQTT 5 and waits until the broker has confirmed it.
    pub(crate) fn start(url: &str, filter: &str) -> Self {
        let (host, port) = address(url);
        let mut options = v5::MqttOptions::new(client_id(), host, port);
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(SESSION_SECONDS))
            .set_max_packet_size(Some(MAX_BYTES as u32));
        let filter = filter.to_owned();
        Self::listen(async move |inbox| listen_v5(options, filter, inbox).await)
    }

    /// As [`Subscriber::start`], by MQTT 3.1.1.
    pub(crate) fn start_3_1_1(url: &str, filter: &str) -> Self {
        let (host, port) = address(url);
        let mut options = rumqttc::MqttOptions::new(client_id(), host, port);
        options
            .set_clean_session(false)
            .set_max_packet_size(MAX_BYTES, MAX_BYTES);
        let filter = filter.to_owned();
        Self::listen(async move |inbox| listen_v4(options, filter, inbox).await)
    }

    /// What has arrived, in the order of arrival.
    pub(crate) fn messages(&self) -> Vec<Received> {
        self.inbox.lock().unwrap().messages.clone()
    }

    /// How many have arrived.
    pub(crate) fn count(&self) -> usize {
        self.inbox.lock().unwrap().messages.len()
    }

    /// Blocks until so many have arrived, and gives all.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + PATIENCE;
        while self.count() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} messages arrived",
                self.count()
            );
            thread::sleep(POLL);
        }
        self.messages()
    }

    /// As [`Subscriber::wait_for`], without blocking the thread.
    pub(crate) async fn arrived(&self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + PATIENCE;
        while self.count() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} messages arrived",
                self.count()
            );
            sleep(POLL).await;
        }
        self.messages()
    }

    fn listen(task: impl AsyncFnOnce(Arc<Mutex<Inbox>>) + Send + 'static) -> Self {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let (stop, stopped) = oneshot::channel();
        let own = inbox.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = task(own) => {}
                    _ = stopped => {}
                }
            });
        });
        let subscriber = Self {
            inbox,
            stop: Some(stop),
            thread: Some(thread),
        };
        let deadline = Instant::now() + PATIENCE;
        while !subscriber.inbox.lock().unwrap().subscribed {
            assert!(
                Instant::now() < deadline,
                "the broker takes no subscription"
            );
            thread::sleep(POLL);
        }
        subscriber
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen_v5(options: v5::MqttOptions, filter: String, inbox: Arc<Mutex<Inbox>>) {
    use v5::{
        Event, Incoming,
        mqttbytes::{QoS, v5::SubscribeReasonCode},
    };
    let (client, mut connection) = v5::AsyncClient::new(options, 1);
    loop {
        let Ok(event) = connection.poll().await else {
            sleep(PAUSE).await;
            continue;
        };
        match event {
            Event::Incoming(Incoming::ConnAck(answer)) if !answer.session_present => {
                // Not again where the broker remembers it.
                client.try_subscribe(&filter, QoS::AtLeastOnce).unwrap();
            }
            Event::Incoming(Incoming::SubAck(answer)) => {
                assert!(
                    matches!(answer.return_codes[..], [SubscribeReasonCode::Success(_)]),
                    "{answer:?}"
                );
                inbox.lock().unwrap().subscribed = true;
            }
            Event::Incoming(Incoming::Publish(message)) => {
                let received = Received {
                    topic: String::from_utf8(message.topic.to_vec()).unwrap(),
                    payload: message.payload,
                    properties: Some(message.properties.unwrap_or_default()),
                    qos: message.qos as u8,
                    retain: message.retain,
                };
                let mut inbox = inbox.lock().unwrap();
                inbox.take(message.pkid, message.dup, received);
            }
            _ => {}
        }
    }
}

async fn listen_v4(options: rumqttc::MqttOptions, filter: String, inbox: Arc<Mutex<Inbox>>) {
    use rumqttc::{AsyncClient, Event, Incoming, QoS, SubscribeReasonCode};
    let (client, mut connection) = AsyncClient::new(options, 1);
    loop {
        let Ok(event) = connection.poll().await else {
            sleep(PAUSE).await;
            continue;
        };
        match event {
            Event::Incoming(Incoming::ConnAck(answer)) if !answer.session_present => {
                client.try_subscribe(&filter, QoS::AtLeastOnce).unwrap();
            }
            Event::Incoming(Incoming::SubAck(answer)) => {
                assert!(
                    matches!(answer.return_codes[..], [SubscribeReasonCode::Success(_)]),
                    "{answer:?}"
                );
                inbox.lock().unwrap().subscribed = true;
            }
            Event::Incoming(Incoming::Publish(message)) => {
                let received = Received {
                    topic: message.topic,
                    payload: message.payload,
                    properties: None,
                    qos: message.qos as u8,
                    retain: message.retain,
                };
                let mut inbox = inbox.lock().unwrap();
                inbox.take(message.pkid, message.dup, received);
            }
            _ => {}
        }
    }
}

/// `mqtt://127.0.0.1:1883` as host and port.
pub(crate) fn address(url: &str) -> (String, u16) {
    let (host, port) = url
        .strip_prefix("mqtt://")
        .and_then(|rest| rest.rsplit_once(':'))
        .expect("mqtt://HOST:PORT");
    (host.into(), port.parse().unwrap())
}

/// Every subscriber has a session of its own.
fn client_id() -> String {
    format!("subscriber-{}", uuid::Uuid::new_v4().simple())
}
