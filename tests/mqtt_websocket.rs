//! MQTT in a WebSocket, to a mosquitto that listens for one.

#![cfg(feature = "mqtt-websocket")]
mod support;

use edge_outbox::sink::mqtt::MqttOptions;
use support::{
    certificates::Authority,
    conversation::deliver,
    device::Device,
    mosquitto::MosquittoServer,
    mqtt::{EVERY_WAY, EVERYTHING, assert_error, connect, options_for, refusal},
    server_process::free_port,
    subscriber::Subscriber,
};

#[tokio::test]
async fn events_pass_through_a_websocket_in_every_way() {
    let port = free_port();
    let config = format!("allow_anonymous true\nlistener {port} 127.0.0.1\nprotocol websockets");
    let server = MosquittoServer::with(&config);
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = Device::new("kiosk-1");
    for (place, (version, qos)) in (0..).zip(EVERY_WAY) {
        let options = MqttOptions {
            version,
            qos,
            ..options_for(&format!("ws://127.0.0.1:{port}"))
        };
        let mut session = connect(options, &device).await.unwrap();
        let first = place * 100 + 1;
        deliver(&mut session, &device.parcels(first..first + 100)).await;
    }
    let seqs: Vec<_> = subscriber.arrived(400).await;
    let seqs: Vec<_> = seqs
        .iter()
        .map(|m| m.json()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=400).collect::<Vec<_>>());
}

#[tokio::test]
async fn over_tls_the_certificate_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "school");
    authority.sign("server");
    Authority::new(dir.path(), "stranger");
    let port = free_port();
    let path = dir.path().display().to_string();
    let config = format!(
        "allow_anonymous true\nlistener {port} 127.0.0.1\nprotocol websockets\n\
         certfile {path}/server.pem\nkeyfile {path}/server.key"
    );
    let server = MosquittoServer::within(dir, &config);
    let _subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let options = |roots: &str| {
        let mut options = options_for(&format!("wss://127.0.0.1:{port}"));
        options.accept_no_subscribers = true;
        options.tls.roots = Some(server.dir().join(format!("{roots}.pem")));
        options
    };
    let device = Device::new("kiosk-1");
    let mut session = connect(options("school"), &device).await.unwrap();
    deliver(&mut session, &device.parcels(1..=10)).await;
    let error = refusal(options("stranger"), &device).await;
    let halt = edge_outbox::sink::ErrorKind::Halt;
    assert_error(&error, halt, "certificate_refused", "`tls.roots`");
}
