//! A connection by MQTT 5.

use bytes::Bytes;
use rumqttc::Outgoing;
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions as ClientOptions, MqttState,
    mqttbytes::{
        QoS,
        v5::{ConnAck, ConnectProperties, Publish, SubscribeReasonCode},
    },
};
use tokio::sync::mpsc::Sender;

use crate::sink::{
    SinkError,
    mqtt::{
        failure,
        letter::Letter,
        link::{MAX_INCOMING, News, Plan, Welcome},
        options::{MAX_PACKET, MqttAuth, MqttQos},
        reason::{self, Reason},
    },
};

/// Seconds for which the client would wait for the connection. Longer than anything may take: the
/// caller's own limit counts.
const NO_TIMEOUT: u64 = 3_600;

/// Connects, and gives the client, what the broker said, and what the loop's task has to run.
pub(super) async fn dial(
    plan: Plan<'_>,
    news: Sender<News>,
) -> Result<(AsyncClient, Welcome, impl Future<Output = ()> + use<>), SinkError> {
    let server = plan.server;
    let keep_alive = plan.options.keep_alive;
    let (client, mut connection) = AsyncClient::new(client_options(&plan), plan.room());
    // The first event of a connection is the broker's answer; anything else is an error.
    let answer = connection
        .poll()
        .await
        .map_err(|error| failure::of_dial_v5(&error, server))?;
    let Event::Incoming(Incoming::ConnAck(answer)) = answer else {
        return Err(failure::bad_answer(&server.to_string(), "no CONNACK"));
    };
    let welcome = welcome(&answer);
    if welcome.receive_maximum == 0 {
        // A protocol error (§3.2.2.3.3), over which the client would wait for ever.
        return Err(failure::bad_answer(
            &server.to_string(),
            "a receive maximum of 0",
        ));
    }
    if connection.options.keep_alive().is_zero() {
        // The broker wants no pings (§3.2.2.3.14), and the client would send one after another.
        // Ours notice a connection that is dead, so they go on.
        connection.options.set_keep_alive(keep_alive);
    }
    let slots = plan.slots.min(welcome.receive_maximum);
    let run = run(connection, slots, server.to_string(), news);
    Ok((client, welcome, run))
}

fn client_options(plan: &Plan<'_>) -> ClientOptions {
    let Plan {
        options, server, ..
    } = plan;
    let mut client = ClientOptions::new(&plan.client_id, plan.host(), server.port);
    let properties = ConnectProperties {
        max_packet_size: u32::try_from(MAX_INCOMING).ok(),
        ..ConnectProperties::new()
    };
    client
        .set_clean_start(true)
        .set_keep_alive(options.keep_alive)
        .set_connection_timeout(NO_TIMEOUT)
        .set_connect_properties(properties)
        .set_transport(plan.transport.clone())
        .set_outgoing_inflight_upper_limit(plan.slots);
    if let MqttAuth::User { name, password } = plan.auth {
        client.set_credentials(name, password.reveal());
    }
    client
}

fn welcome(answer: &ConnAck) -> Welcome {
    let said = answer.properties.as_ref();
    Welcome {
        receive_maximum: said.and_then(|it| it.receive_max).unwrap_or(u16::MAX),
        max_packet: said
            .and_then(|it| it.max_packet_size)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .map_or(MAX_PACKET, |bytes| bytes.min(MAX_PACKET)),
        max_qos: said.and_then(|it| it.max_qos).unwrap_or(2),
        retains: said.and_then(|it| it.retain_available) != Some(0),
    }
}

/// The size of the packet that carries a message, in bytes.
pub(super) fn size(letter: &mut Letter) -> usize {
    let packet = Publish {
        qos: QoS::AtLeastOnce,
        topic: Bytes::copy_from_slice(letter.topic.as_bytes()),
        // Any but 0, which would not be counted.
        pkid: 1,
        payload: letter.body.clone(),
        // Lent, not copied: they are most of what a message allocates.
        properties: letter.properties.take(),
        ..Publish::default()
    };
    let size = packet.size();
    letter.properties = packet.properties;
    size
}

/// Hands a message to the loop, whose queue has room for everything that may be unanswered. A loop
/// that has ended takes nothing, which is told elsewhere.
pub(super) fn publish(client: &AsyncClient, qos: MqttQos, letter: Letter) {
    let qos = match qos {
        MqttQos::AtLeastOnce => QoS::AtLeastOnce,
        MqttQos::ExactlyOnce => QoS::ExactlyOnce,
    };
    let properties = letter.properties.unwrap_or_default();
    let (retain, body) = (letter.retain, letter.body);
    let _ = client.try_publish_with_properties(&*letter.topic, qos, retain, body, properties);
}

/// Asks for what is published to a topic.
pub(super) fn subscribe(client: &AsyncClient, topic: String) {
    let _ = client.try_subscribe(topic, QoS::AtLeastOnce);
}

/// Drives the connection to its end, and tells what happens.
async fn run(mut connection: EventLoop, slots: u16, server: String, news: Sender<News>) {
    let mut places = Places::default();
    loop {
        let event = match connection.poll().await {
            Ok(event) => event,
            Err(error) => {
                // Polled again, the loop would connect again and send what it still has. What it
                // understood before the error is told before the error.
                let before = std::mem::take(&mut connection.state.events);
                drop(connection);
                for heard in before.into_iter().filter_map(heard) {
                    if news.send(heard).await.is_err() {
                        return;
                    }
                }
                let loss = failure::of_loss_v5(&error, &server);
                // Nobody listens any more: then nobody needs to know.
                let _ = news.send(News::Over(loss)).await;
                return;
            }
        };
        if let Event::Incoming(_) = event {
            // Whatever comes is a sign of life. The answer to a ping may be held up behind others.
            connection.state.await_pingresp = false;
        }
        let Some(heard) = heard(event) else {
            continue;
        };
        places.note(&heard);
        if news.send(heard).await.is_err() {
            return;
        }
        if places.are_only_lost() && connection.state.events.is_empty() {
            connection.state = MqttState::new(slots, false);
            places = Places::default();
        }
    }
}

/// The client's places for messages on the wire.
///
/// A message that is refused by PUBREC keeps its place in the client's count for good, and when all
/// are gone, nothing is sent any more. So when nothing is on the wire, the client's state is made
/// anew; the count is then what it should be.
#[derive(Default)]
struct Places {
    on_wire: usize,
    lost: usize,
}

impl Places {
    fn note(&mut self, heard: &News) {
        match heard {
            News::Left(_) => self.on_wire += 1,
            News::Received(_, reason) if reason.is_error() => {
                self.on_wire = self.on_wire.saturating_sub(1);
                self.lost += 1;
            }
            News::Acknowledged(..) | News::Completed(..) => {
                self.on_wire = self.on_wire.saturating_sub(1);
            }
            News::Received(..) | News::Receipt(_) | News::Unheard | News::Over(_) => {}
        }
    }

    const fn are_only_lost(&self) -> bool {
        self.on_wire == 0 && self.lost > 0
    }
}

fn heard(event: Event) -> Option<News> {
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => Some(News::Left(packet_id)),
        Event::Incoming(Incoming::PubAck(answer)) => {
            let reason = Reason {
                code: reason::of_puback(answer.reason),
                said: answer.properties.and_then(|it| it.reason_string),
            };
            Some(News::Acknowledged(answer.pkid, reason))
        }
        Event::Incoming(Incoming::PubRec(answer)) => {
            let reason = Reason {
                code: reason::of_pubrec(answer.reason),
                said: answer.properties.and_then(|it| it.reason_string),
            };
            Some(News::Received(answer.pkid, reason))
        }
        Event::Incoming(Incoming::PubComp(answer)) => {
            let reason = Reason::of(reason::of_pubcomp(answer.reason));
            Some(News::Completed(answer.pkid, reason))
        }
        Event::Incoming(Incoming::Publish(message)) => Some(News::Receipt(message.payload)),
        Event::Incoming(Incoming::SubAck(answer)) => {
            let refused =
                |code: &SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
            answer
                .return_codes
                .iter()
                .any(refused)
                .then_some(News::Unheard)
        }
        Event::Incoming(_) | Event::Outgoing(_) => None,
    }
}
