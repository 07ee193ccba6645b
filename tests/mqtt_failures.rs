//! What goes wrong with a broker, each told once as retry, reject or halt, with what to do.

#![cfg(feature = "mqtt")]
mod support;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use edge_outbox::{
    secret::Secret,
    sink::{
        ErrorKind,
        mqtt::{MqttAuth, MqttOptions, MqttQos, MqttVersion},
    },
};
use support::{
    conversation::{deliver, lost, send},
    device::{Device, QUIZ},
    mosquitto::MosquittoServer,
    mqtt::{EVERY_WAY, EVERYTHING, assert_error, connect, options_for, refusal, sink},
    rabbitmq::RabbitServer,
    subscriber::Subscriber,
};

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V5, MqttVersion::V3_1_1];

fn device() -> Device {
    Device::new("kiosk-1")
}

/// A broker that lets in user `kiosk` with password `secret`, and takes what the access list says.
fn guarded(access: &str) -> MosquittoServer {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("passwords");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["kiosk", "secret"])
        .status()
        .unwrap();
    assert!(made.success());
    fs::write(dir.path().join("access"), access).unwrap();
    MosquittoServer::within(
        dir,
        "allow_anonymous false\npassword_file $DIR/passwords\nacl_file $DIR/access",
    )
}

fn as_user(server: &MosquittoServer, name: &str, password: &str) -> MqttOptions {
    MqttOptions {
        auth: MqttAuth::User {
            name: name.into(),
            password: Secret::new(password),
        },
        ..options_for(&server.url())
    }
}

#[tokio::test]
async fn no_broker_is_a_retry() {
    let mut server = MosquittoServer::start();
    server.stop();
    for version in VERSIONS {
        let options = MqttOptions {
            version,
            ..options_for(&server.url())
        };
        let error = refusal(options, &device()).await;
        assert_error(&error, ErrorKind::Retry, "unreachable", "`servers`");
        assert!(error.message.contains(&server.url()), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_retry_that_says_so() {
    let error = refusal(options_for("mqtt://no-such-host.invalid"), &device()).await;
    assert_error(&error, ErrorKind::Retry, "name_not_resolved", "DNS");
    assert!(
        error.message.contains("no-such-host.invalid:1883"),
        "{error}"
    );
}

#[tokio::test]
async fn one_broker_of_several_is_enough_and_is_tried_first_from_then_on() {
    let mut one = MosquittoServer::start();
    let two = MosquittoServer::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let subscribers = [&one, &two].map(|server| Subscriber::start(&server.url(), EVERYTHING));
    let device = device();
    let urls = [
        format!("mqtt://{}", silent.local_addr().unwrap()),
        one.url(),
        two.url(),
    ];
    let mut sink = sink(MqttOptions {
        servers: urls.map(Secret::new).into(),
        connect_timeout: Duration::from_millis(1_500),
        ..MqttOptions::default()
    });
    let mut session = sink.connect(&device.name).await.unwrap();
    deliver(&mut session, &device.parcels([1])).await;
    let begin = Instant::now();
    let mut session = sink.connect(&device.name).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(400));
    deliver(&mut session, &device.parcels([2])).await;
    subscribers[0].arrived(2).await;
    one.stop();
    let mut session = sink.connect(&device.name).await.unwrap();
    deliver(&mut session, &device.parcels([3])).await;
    subscribers[1].arrived(1).await;
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up_in_time() {
    let mut server = MosquittoServer::start();
    server.freeze();
    for version in VERSIONS {
        let options = MqttOptions {
            version,
            connect_timeout: Duration::from_millis(300),
            ..options_for(&server.url())
        };
        let begin = Instant::now();
        let error = refusal(options, &device()).await;
        assert!(begin.elapsed() < Duration::from_millis(900));
        assert_error(&error, ErrorKind::Retry, "unreachable", "`servers`");
        assert!(error.message.contains("longer than"), "{error}");
    }
}

#[tokio::test]
async fn a_broker_that_falls_silent_in_mid_window_is_given_up_in_time() {
    for (version, qos) in EVERY_WAY {
        let mut server = MosquittoServer::start();
        let _subscriber = Subscriber::start(&server.url(), EVERYTHING);
        let device = device();
        let options = MqttOptions {
            version,
            qos,
            ack_timeout: Duration::from_millis(500),
            ..options_for(&server.url())
        };
        let mut session = connect(options, &device).await.unwrap();
        deliver(&mut session, &device.parcels([1])).await;
        server.freeze();
        send(&mut session, &device.parcels(2..=100)).await;
        let begin = Instant::now();
        let error = lost(&mut session).await;
        assert_error(&error, ErrorKind::Retry, "no_answer", "");
        assert!(begin.elapsed() < Duration::from_millis(1_500));
    }
}

#[tokio::test]
async fn a_user_and_password_let_the_device_in_from_options_or_url() {
    let server = guarded("topic write edupulse/#\npattern readwrite #\n");
    let device = device();
    for version in VERSIONS {
        let options = MqttOptions {
            version,
            accept_no_subscribers: true,
            ..as_user(&server, "kiosk", "secret")
        };
        let in_url = MqttOptions {
            servers: vec![Secret::new(format!(
                "mqtt://kiosk:s%65cret@127.0.0.1:{}",
                server.port()
            ))],
            auth: MqttAuth::None,
            ..options.clone()
        };
        for options in [options, in_url] {
            let mut session = connect(options, &device).await.unwrap();
            deliver(&mut session, &device.parcels(1..=3)).await;
        }
    }
}

#[tokio::test]
async fn a_wrong_password_or_none_is_a_halt() {
    let server = guarded("pattern readwrite #\n");
    for version in VERSIONS {
        for options in [
            as_user(&server, "kiosk", "hunter2"),
            as_user(&server, "nobody", "hunter2"),
            options_for(&server.url()),
        ] {
            let options = MqttOptions { version, ..options };
            let error = refusal(options, &device()).await;
            assert_error(&error, ErrorKind::Halt, "not_authorized", "`password_file`");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_not_permitted_is_a_halt_that_names_it() {
    let server = guarded("user kiosk\ntopic write elsewhere/#\n");
    for qos in [MqttQos::AtLeastOnce, MqttQos::ExactlyOnce] {
        let options = MqttOptions {
            qos,
            ..as_user(&server, "kiosk", "secret")
        };
        let device = device();
        let mut session = connect(options, &device).await.unwrap();
        send(&mut session, &device.parcels(1..=3)).await;
        let error = lost(&mut session).await;
        assert_error(&error, ErrorKind::Halt, "publish_denied", "`topic`");
        let topic = format!("edupulse/events/kiosk-1/{QUIZ}");
        assert!(error.message.contains(&topic), "{error}");
    }
}

#[tokio::test]
async fn under_3_1_1_a_broker_acknowledges_what_it_throws_away_and_the_promise_says_so() {
    let server = guarded("user kiosk\ntopic write elsewhere/#\n");
    let device = device();
    let options = MqttOptions {
        version: MqttVersion::V3_1_1,
        ..as_user(&server, "kiosk", "secret")
    };
    let mut session = connect(options, &device).await.unwrap();
    deliver(&mut session, &device.parcels(1..=3)).await;
    let unmet = session.guarantee().unmet.join("\n");
    assert!(unmet.contains("acknowledge what it throws away"), "{unmet}");
}

#[tokio::test]
async fn a_broker_without_mqtt_5_is_told_as_one() {
    let server = RabbitServer::shared();
    let error = refusal(options_for(&server.url()), &device()).await;
    let hint = error.hint.clone().unwrap_or_default();
    assert!(hint.contains("`version"), "{error:?}");
    assert!(error.message.contains(&server.url()), "{error}");
}

#[tokio::test]
async fn something_that_is_no_broker_is_a_retry() {
    for words in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"\x30\x00", b"\x20\x7f"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        for version in VERSIONS {
            let options = MqttOptions {
                version,
                ..options_for(&url)
            };
            let device = device();
            let (error, ()) = tokio::join!(refusal(options, &device), async {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, words)
                    .await
                    .unwrap();
            });
            assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
        }
    }
}

#[tokio::test]
async fn delivery_goes_on_after_each_restart_of_the_broker() {
    let mut server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    let mut sink = sink(options_for(&server.url()));
    for round in 0..3 {
        let mut session = sink.connect(&device.name).await.unwrap();
        let first = round * 100 + 1;
        deliver(&mut session, &device.parcels(first..first + 100)).await;
        server.stop();
        assert_eq!(lost(&mut session).await.kind, ErrorKind::Retry);
        server.start_again();
    }
    let messages = subscriber.arrived(300).await;
    let seqs: Vec<u64> = messages
        .iter()
        .map(|message| message.user_property("seq").unwrap().parse().unwrap())
        .collect();
    assert_eq!(seqs, (1..=300).collect::<Vec<_>>());
}
