//! Events that go out over MQTT as CloudEvents: whoever receives them can verify them.

#![cfg(feature = "mqtt")]
mod support;

use std::time::Duration;

use edge_outbox::{
    Chain, Envelope, Event, Outbox, Verifier,
    envelope::Unverified,
    forwarder::{Forwarder, SinkSpec},
    sink::{
        MessageFormat,
        mqtt::{MqttOptions, MqttVersion},
    },
};
use support::{
    mosquitto::MosquittoServer,
    mqtt::{EVERYTHING, options_for, sink},
    subscriber::{Received, Subscriber},
};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(20);
const PAYLOADS: [&str; 5] = [
    "{ \"white\" :\r\n\t[ 1 , 2 ] }",
    "123456789012345678901234567890.000",
    "\"\\u0000\\uD83D\\ude00\u{2028}\"",
    "null",
    "{\"specversion\":\"0.3\"}",
];

fn event(payload: &str) -> Event {
    let builder = Event::builder("a.b", Uuid::max()).source("Raum 7b: Tür");
    builder
        .subject_id("pupil \"7\" é")
        .payload(payload)
        .build()
        .unwrap()
}

/// As a receiver reads it: binary mode is known by the property `specversion` (MQTT protocol binding
/// of CloudEvents 1.0.2, section 3.1).
fn envelope(message: &Received) -> Envelope<Unverified> {
    let properties = message.properties.clone().unwrap_or_default();
    let named = &properties.user_properties;
    if !named.iter().any(|(name, _)| name == "specversion") {
        return Envelope::from_cloud_event(&message.payload).unwrap();
    }
    let content_type = properties.content_type.as_deref().unwrap();
    let attributes = named
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .chain([("datacontenttype", content_type)]);
    Envelope::from_binary_cloud_event(attributes, &message.payload).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_as_a_cloud_event_verifies_with_its_exact_payload() {
    for (version, format) in [
        (MqttVersion::V5, MessageFormat::CloudEvents),
        (MqttVersion::V5, MessageFormat::CloudEventsBinary),
        (MqttVersion::V3_1_1, MessageFormat::CloudEvents),
    ] {
        let server = MosquittoServer::start();
        let subscriber = Subscriber::start(&server.url(), EVERYTHING);
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::builder(dir.path()).open().unwrap();
        let events = PAYLOADS.map(event).into();
        outbox.append_batch(events).await.unwrap();
        let options = MqttOptions {
            version,
            format,
            ..options_for(&server.url())
        };
        let spec = SinkSpec::new("school", sink(options));
        let drained = Forwarder::new(outbox.clone(), vec![spec])
            .drain(LIMIT)
            .await;
        assert_eq!(drained.unwrap().left(), 0);

        let messages = subscriber.arrived(PAYLOADS.len() + 1).await;
        let mut verifier = Verifier::new();
        verifier.trust(outbox.public_key().clone());
        let mut chain = Chain::new();
        let mut payloads = Vec::new();
        for message in &messages {
            let envelope = verifier.verify(envelope(message)).unwrap();
            chain.extend(&envelope).unwrap();
            payloads.push(envelope.private().unwrap().payload.to_vec());
            let binary = format == MessageFormat::CloudEventsBinary;
            assert_eq!(binary, message.payload == payloads[payloads.len() - 1]);
            let content_type = match (version, binary) {
                (MqttVersion::V3_1_1, _) => None,
                (MqttVersion::V5, true) => Some("application/json"),
                (MqttVersion::V5, false) => Some("application/cloudevents+json"),
            };
            let properties = message.properties.clone().unwrap_or_default();
            assert_eq!(properties.content_type.as_deref(), content_type);
        }
        assert_eq!(payloads[1..], PAYLOADS.map(|p| p.as_bytes().to_vec()));
        outbox.close().await;
    }
}
