//! rumqttc: publications with QoS 1.

use bytes::Bytes;
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::QoS,
    mqttbytes::v5::{Packet, PublishProperties},
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

/// What the sink sends beside a body, by number and length: properties are part of the message.
fn properties() -> PublishProperties {
    let uuid = "0192f0c1-2b3a-7c4d-8e5f-a01b23c45d67";
    let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    PublishProperties {
        payload_format_indicator: Some(1),
        content_type: Some("application/json".into()),
        user_properties: vec![
            property("id", uuid),
            property("seq", "100000"),
            property("epoch", uuid),
        ],
        ..PublishProperties::default()
    }
}

/// Publishes each body, with the properties that the sink gives it, until the last one is
/// acknowledged.
pub async fn publish(name: &str, port: u16, topic: &str, bodies: impl IntoIterator<Item = Bytes>) {
    let (client, mut events) = client(name, port);
    let mut bodies = bodies.into_iter().peekable();
    let properties = properties();
    let (mut sent, mut acknowledged) = (0_usize, 0_usize);
    while bodies.peek().is_some() || acknowledged < sent {
        while sent - acknowledged < MQTT_WINDOW.into() {
            let Some(body) = bodies.next() else { break };
            let beside = properties.clone();
            let qos = QoS::AtLeastOnce;
            let queued = client.try_publish_with_properties(topic, qos, false, body, beside);
            queued.expect("room in the queue");
            sent += 1;
        }
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.expect("connected") {
            acknowledged += 1;
        }
    }
}
