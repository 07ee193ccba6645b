//! rumqttc: publications with QoS 1.

use bytes::Bytes;
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions, mqttbytes::QoS, mqttbytes::v5::Packet,
};

use crate::server::MQTT_WINDOW;

/// Room in the client's queue beyond the window.
const SPARE: usize = 64;

/// A client of this name, which has [`MQTT_WINDOW`] unanswered at once.
pub fn client(name: &str, port: u16) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(name, "127.0.0.1", port);
    options.set_outgoing_inflight_upper_limit(MQTT_WINDOW);
    options.set_receive_maximum(Some(MQTT_WINDOW));
    options.set_max_packet_size(Some(1024 * 1024));
    AsyncClient::new(options, usize::from(MQTT_WINDOW) + SPARE)
}

/// Publishes each body until the last one is acknowledged.
pub async fn publish(name: &str, port: u16, topic: &str, bodies: impl IntoIterator<Item = Bytes>) {
    let (client, mut events) = client(name, port);
    let mut bodies = bodies.into_iter().peekable();
    let (mut sent, mut acknowledged) = (0_usize, 0_usize);
    while bodies.peek().is_some() || acknowledged < sent {
        while sent - acknowledged < MQTT_WINDOW.into() {
            let Some(body) = bodies.next() else { break };
            let queued = client.try_publish(topic, QoS::AtLeastOnce, false, body);
            queued.expect("room in the queue");
            sent += 1;
        }
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.expect("connected") {
            acknowledged += 1;
        }
    }
}
