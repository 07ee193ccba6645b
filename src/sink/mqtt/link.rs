//! One connection to a broker, never made again by itself.
//!
//! The client's event loop is owned by one task, which lives as long as the link. At the first error
//! the loop is dropped with everything it holds, so nothing of an old connection can be sent by a
//! new one, and what the loop had already understood before the error is told first. The link is
//! the client's only user: it never waits for the loop's queue, which has room for everything
//! that may be unanswered.

use std::sync::Arc;

use bytes::Bytes;
use rumqttc::{TlsConfiguration, Transport};
use tokio::{net::lookup_host, sync::mpsc, task::JoinHandle};

use crate::{
    envelope::DeviceName,
    sink::{
        SinkError,
        mqtt::{
            failure::Loss,
            letter::Letter,
            options::{MqttAuth, MqttOptions, MqttQos, MqttVersion},
            reason::Reason,
            server::Server,
            v3, v5,
        },
    },
};

/// What the loop tells and nobody has listened to yet; then the loop waits.
const MAX_NEWS: usize = 256;
/// The largest packet that is taken from a broker, in bytes. It sends answers and receipts alone.
pub(super) const MAX_INCOMING: usize = 16 * 1_024;

/// What happened on the connection, in the order it happened.
pub(super) enum News {
    /// The next of the messages that were handed over left under this packet id.
    Left(u16),
    /// QoS 1: the broker's answer to the message under this packet id (PUBACK).
    Acknowledged(u16, Reason),
    /// QoS 2: the broker has received it, or will not have it (PUBREC).
    Received(u16, Reason),
    /// QoS 2: the broker is done with it (PUBCOMP).
    Completed(u16, Reason),
    /// What came where a hub's receipts come.
    Receipt(Bytes),
    /// The broker does not let us hear them.
    Unheard,
    /// The connection is over.
    Over(Loss),
}

/// What the broker said of itself when it let us in, or what holds where it said nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Welcome {
    /// How many messages it takes before it has answered the first (MQTT 5 §3.2.2.3.3).
    pub(super) receive_maximum: u16,
    /// The largest packet it takes, in bytes (§3.2.2.3.6).
    pub(super) max_packet: usize,
    /// The highest QoS it takes (§3.2.2.3.4).
    pub(super) max_qos: u8,
    /// Whether it keeps messages for those who come later (§3.2.2.3.5).
    pub(super) retains: bool,
}

/// What one attempt to connect goes by.
pub(super) struct Plan<'a> {
    pub(super) options: &'a MqttOptions,
    pub(super) server: &'a Server,
    pub(super) client_id: String,
    pub(super) auth: &'a MqttAuth,
    pub(super) transport: Transport,
    /// Where a hub's receipts come.
    pub(super) receipts: Option<String>,
    /// As many messages may be unanswered, and as many packet ids are given out.
    pub(super) slots: u16,
}

impl Plan<'_> {
    /// How much the loop's queue has room for: everything that may be unanswered, and a
    /// subscription.
    pub(super) fn room(&self) -> usize {
        usize::from(self.slots) + 1
    }

    /// Where the client is to connect to: it takes a WebSocket's URL for a host.
    pub(super) fn host(&self) -> String {
        if self.server.scheme.is_websocket() {
            self.server.websocket_url().reveal().to_owned()
        } else {
            self.server.host.clone()
        }
    }
}

/// A connection.
pub(super) struct Link {
    client: Client,
    news: mpsc::Receiver<News>,
    task: JoinHandle<()>,
    server: String,
    qos: MqttQos,
    welcome: Welcome,
}

enum Client {
    V5(rumqttc::v5::AsyncClient),
    V3(rumqttc::AsyncClient),
}

impl Link {
    /// Makes one attempt to reach a broker and to be let in. Bounded by the caller.
    pub(super) async fn dial(
        options: &MqttOptions,
        server: &Server,
        device: &DeviceName,
    ) -> Result<Self, SinkError> {
        // Looked up here first, because the client's error would not say that it is the name.
        if let Err(error) = lookup_host((server.host.as_str(), server.port)).await {
            let error = format!("connecting to {server} failed: {error}");
            return Err(SinkError::retry("name_not_resolved", error)
                .with_hint("check the name in `servers`, and this device's network and DNS"));
        }
        let transport = transport(options, server)?;
        let plan = Plan {
            options,
            server,
            client_id: client_id(options, device),
            auth: match &options.auth {
                MqttAuth::None => &server.auth,
                auth @ MqttAuth::User { .. } => auth,
            },
            transport,
            receipts: receipts_filter(options, device),
            slots: u16::try_from(options.max_in_flight).unwrap_or(u16::MAX),
        };
        let plan_receipts = plan.receipts.clone();
        let (sender, news) = mpsc::channel(MAX_NEWS);
        let name = server.to_string();
        let (client, welcome, task) = match options.version {
            MqttVersion::V5 => {
                let (client, welcome, run) = v5::dial(plan, sender).await?;
                (Client::V5(client), welcome, tokio::spawn(run))
            }
            MqttVersion::V3_1_1 => {
                let (client, welcome, run) = v3::dial(plan, sender).await?;
                (Client::V3(client), welcome, tokio::spawn(run))
            }
        };
        let mut link = Self {
            client,
            news,
            task,
            server: name,
            qos: options.qos,
            welcome,
        };
        link.settle_qos()?;
        if let Some(topic) = plan_receipts {
            link.subscribe(topic);
        }
        Ok(link)
    }

    /// QoS 1 where the broker takes no more: the promise is the same. Without that there is none.
    fn settle_qos(&mut self) -> Result<(), SinkError> {
        match self.welcome.max_qos {
            0 => {
                let what = format!("connecting to {}", self.server);
                let error = Reason::of(0x9B).error(super::reason::Moment::Connect, &what);
                return Err(error);
            }
            1 => self.qos = MqttQos::AtLeastOnce,
            _ => {}
        }
        Ok(())
    }

    /// The broker, as messages name it.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// What the broker said of itself.
    pub(super) const fn welcome(&self) -> Welcome {
        self.welcome
    }

    /// The QoS in force.
    pub(super) const fn qos(&self) -> MqttQos {
        self.qos
    }

    /// The size of the packet that carries a message, in bytes.
    pub(super) fn size(&self, letter: &mut Letter) -> usize {
        match self.client {
            Client::V5(_) => v5::size(letter),
            Client::V3(_) => v3::size(letter),
        }
    }

    /// Hands a message to the client. Where its loop has ended already, the message goes nowhere,
    /// and the news say why.
    pub(super) fn publish(&self, letter: Letter) {
        match &self.client {
            Client::V5(client) => v5::publish(client, self.qos, letter),
            Client::V3(client) => v3::publish(client, self.qos, letter),
        }
    }

    /// Asks for what is published to this topic. An answer that refuses it is news.
    fn subscribe(&self, topic: String) {
        // The first thing in an empty queue. Where the loop has ended already, the news say why.
        match &self.client {
            Client::V5(client) => v5::subscribe(client, topic),
            Client::V3(client) => v3::subscribe(client, topic),
        }
    }

    /// The next thing that happens. Cancel-safe.
    pub(super) async fn news(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // The task ended without a word: it was told so, or it panicked over a packet.
            None => News::Over(Loss::unexplained(&self.server, None)),
        }
    }

    /// Something that has happened already. Spares the cost of waiting where answers come in
    /// bursts.
    pub(super) fn news_at_hand(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

/// What the connection is called at the broker.
pub(super) fn client_id(options: &MqttOptions, device: &DeviceName) -> String {
    match &options.client_id {
        Some(id) => id.clone(),
        None => format!("edge-outbox-{}", device.as_str()),
    }
}

/// What passes a hub's receipts for this device, one topic for each epoch.
fn receipts_filter(options: &MqttOptions, device: &DeviceName) -> Option<String> {
    let way_back = options.way_back.as_ref()?;
    Some(format!("{}/{device}/+", way_back.receipts))
}

pub(super) fn transport(options: &MqttOptions, server: &Server) -> Result<Transport, SinkError> {
    let tls = || -> Result<TlsConfiguration, SinkError> {
        let config = options.tls.client_config()?;
        Ok(TlsConfiguration::Rustls(Arc::new(config)))
    };
    Ok(match server.scheme {
        #[cfg(feature = "mqtt-websocket")]
        super::server::Scheme::Ws => Transport::Ws,
        #[cfg(feature = "mqtt-websocket")]
        super::server::Scheme::Wss => Transport::Wss(tls()?),
        // Without the feature, the options were refused for the scheme.
        scheme if scheme.is_encrypted() => Transport::tls_with_config(tls()?),
        _ => Transport::Tcp,
    })
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
