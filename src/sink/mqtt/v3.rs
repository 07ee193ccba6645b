//! A connection by MQTT 3.1.1, which has no reasons, no properties and no limits of the broker's.

use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions as ClientOptions, NetworkOptions,
    Outgoing, Publish, QoS, SubscribeReasonCode,
};
use tokio::sync::mpsc::Sender;

use crate::{
    receipt::MAX_RECEIPT_BYTES,
    sink::{
        SinkError,
        mqtt::{
            failure,
            letter::Letter,
            link::{MAX_INCOMING, News, Plan, Welcome},
            options::{MAX_PACKET, MqttAuth, MqttQos},
            reason::{Reason, SUCCESS},
        },
    },
};

/// Seconds for which the client would wait for the connection, and for a packet to be written, which
/// may take long on a slow link. Longer than anything may take: the caller's own limits count.
const NO_TIMEOUT: u64 = 3_600;
/// How many messages may be under way at QoS 2. A broker has a limit there and cannot say it in
/// this version: mosquitto ends the connection at its `max_inflight_messages`, 20 by default.
const UNSAID_RECEIVE_MAXIMUM: u16 = 10;
/// The largest packet that is taken from a broker where receipts come, in bytes. In this version a
/// broker cannot be told what it may send, and a larger packet ends the connection, each time anew
/// where it is retained. What is no receipt for its size goes no further.
const MAX_UNASKED: usize = 1_024 * 1_024;

/// Connects, and gives the client, what holds of the broker, and what the loop's task has to run.
pub(super) async fn dial(
    plan: Plan<'_>,
    news: Sender<News>,
) -> Result<(AsyncClient, Welcome, impl Future<Output = ()> + use<>), SinkError> {
    let server = plan.server;
    let (client, mut connection) = AsyncClient::new(client_options(&plan), plan.room());
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(NO_TIMEOUT);
    connection.set_network_options(network);
    let answer = connection
        .poll()
        .await
        .map_err(|error| failure::of_dial_v3(&error, server))?;
    let Event::Incoming(Incoming::ConnAck(_)) = answer else {
        return Err(failure::bad_answer(&server.to_string(), "no CONNACK"));
    };
    let welcome = Welcome {
        receive_maximum: match plan.options.qos {
            MqttQos::AtLeastOnce => u16::MAX,
            MqttQos::ExactlyOnce => UNSAID_RECEIVE_MAXIMUM,
        },
        max_packet: plan.options.max_packet,
        max_qos: 2,
        retains: true,
    };
    Ok((client, welcome, run(connection, server.to_string(), news)))
}

fn client_options(plan: &Plan<'_>) -> ClientOptions {
    let Plan {
        options, server, ..
    } = plan;
    let mut client = ClientOptions::new(&plan.client_id, plan.host(), server.port);
    let incoming = match plan.receipts {
        Some(_) => MAX_UNASKED,
        None => MAX_INCOMING,
    };
    client
        .set_clean_session(true)
        .set_keep_alive(options.keep_alive)
        // Ours is checked before; at the client's it would end the connection.
        .set_max_packet_size(incoming, MAX_PACKET)
        .set_transport(plan.transport.clone())
        .set_inflight(plan.slots);
    if let MqttAuth::User { name, password } = plan.auth {
        client.set_credentials(name, password.reveal());
    }
    client
}

/// The size of the packet that carries a message, in bytes.
pub(super) fn size(letter: &Letter) -> usize {
    let mut packet = Publish::from_bytes(&*letter.topic, QoS::AtLeastOnce, letter.body.clone());
    // Any but 0, which would not be counted.
    packet.pkid = 1;
    packet.size()
}

/// Hands a message to the loop, whose queue has room for everything that may be unanswered. A loop
/// that has ended takes nothing, which is told elsewhere.
pub(super) fn publish(client: &AsyncClient, qos: MqttQos, letter: Letter) {
    let qos = match qos {
        MqttQos::AtLeastOnce => QoS::AtLeastOnce,
        MqttQos::ExactlyOnce => QoS::ExactlyOnce,
    };
    let _ = client.try_publish(&*letter.topic, qos, letter.retain, letter.body);
}

/// Asks for what is published to a topic.
pub(super) fn subscribe(client: &AsyncClient, topic: String) {
    let _ = client.try_subscribe(topic, QoS::AtLeastOnce);
}

/// Drives the connection to its end, and tells what happens.
async fn run(mut connection: EventLoop, server: String, news: Sender<News>) {
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
                let loss = failure::of_loss_v3(&error, &server);
                // Nobody listens any more: then nobody needs to know.
                let _ = news.send(News::Over(loss)).await;
                return;
            }
        };
        if let Event::Incoming(_) = event {
            // Whatever comes is a sign of life. The answer to a ping may be held up behind others.
            connection.state.await_pingresp = false;
        }
        if let Some(heard) = heard(event)
            && news.send(heard).await.is_err()
        {
            return;
        }
    }
}

fn heard(event: Event) -> Option<News> {
    let success = Reason::of(SUCCESS);
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => Some(News::Left(packet_id)),
        Event::Incoming(Incoming::PubAck(answer)) => Some(News::Acknowledged(answer.pkid, success)),
        Event::Incoming(Incoming::PubRec(answer)) => Some(News::Received(answer.pkid, success)),
        Event::Incoming(Incoming::PubComp(answer)) => Some(News::Completed(answer.pkid, success)),
        Event::Incoming(Incoming::Publish(message)) => {
            let fits = message.payload.len() <= MAX_RECEIPT_BYTES;
            fits.then_some(News::Receipt(message.payload))
        }
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
