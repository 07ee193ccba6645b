//! Connecting an MQTT sink at the level of its adapter.

use edge_outbox::{
    secret::Secret,
    sink::{
        ErrorKind, Session, Sink, SinkError,
        mqtt::{MqttOptions, MqttQos, MqttSink, MqttVersion},
    },
};

use super::device::Device;

/// What every subscriber of these tests wants.
pub(crate) const EVERYTHING: &str = "edupulse/events/#";

/// Every way to hand over an event.
pub(crate) const EVERY_WAY: [(MqttVersion, MqttQos); 4] = [
    (MqttVersion::V5, MqttQos::AtLeastOnce),
    (MqttVersion::V5, MqttQos::ExactlyOnce),
    (MqttVersion::V3_1_1, MqttQos::AtLeastOnce),
    (MqttVersion::V3_1_1, MqttQos::ExactlyOnce),
];

/// Options for whatever is at a URL.
pub(crate) fn options_for(url: &str) -> MqttOptions {
    MqttOptions {
        servers: vec![Secret::new(url)],
        ..MqttOptions::default()
    }
}

/// A sink with these options.
pub(crate) fn sink(options: MqttOptions) -> Sink {
    Sink::Mqtt(MqttSink::new(options).unwrap())
}

/// One attempt to connect.
pub(crate) async fn connect(options: MqttOptions, device: &Device) -> Result<Session, SinkError> {
    sink(options).connect(&device.name).await
}

/// An attempt that has to fail.
pub(crate) async fn refusal(options: MqttOptions, device: &Device) -> SinkError {
    connect(options, device)
        .await
        .err()
        .expect("no connection comes about")
}

/// Checks what an error is, and that its hint says this.
#[track_caller]
pub(crate) fn assert_error(error: &SinkError, kind: ErrorKind, code: &str, hint: &str) {
    assert_eq!((error.kind, error.code), (kind, code), "{error:?}");
    let said = error.hint.as_deref().unwrap_or_default();
    assert!(said.contains(hint), "{error:?}");
    assert!(
        !error.message.ends_with('.') && !error.message.contains('\n'),
        "{error:?}"
    );
}
