//! Events go to an MQTT broker, and each of its answers is told as what it is.

#![cfg(feature = "mqtt")]
mod support;

use edge_outbox::{
    seq::Seq,
    sink::{
        Beside, ErrorKind, InDoubt, Incarnation, Position,
        mqtt::{MqttOptions, MqttQos, MqttVersion},
    },
    status::GuaranteeLevel,
};
use support::{
    conversation::{deliver, lost, next, refused, send, stored},
    device::{Device, QUIZ},
    mosquitto::MosquittoServer,
    mqtt::{EVERY_WAY, EVERYTHING, assert_error, connect, options_for},
    rabbitmq::RabbitServer,
    subscriber::Subscriber,
};
use tokio::time::{Duration, timeout};

fn device() -> Device {
    Device::new("kiosk-1")
}

/// An event whose payload has this many bytes.
fn large(device: &Device, seq: u64, bytes: usize) -> edge_outbox::sink::Parcel {
    let payload = format!("\"{}\"", "x".repeat(bytes));
    device.parcel_of(seq, QUIZ, payload.as_bytes())
}

#[tokio::test]
async fn events_arrive_in_order_byte_for_byte_in_every_version_and_qos() {
    let server = MosquittoServer::start();
    for (version, qos) in EVERY_WAY {
        let device = Device::new(&format!("kiosk-{version:?}-{qos:?}"));
        let filter = format!("edupulse/events/{}/+", device.name.as_str());
        let subscriber = Subscriber::start(&server.url(), &filter);
        let options = MqttOptions {
            version,
            qos,
            ..options_for(&server.url())
        };
        let mut session = connect(options, &device).await.unwrap();
        let parcels = device.parcels(1..=300);
        let positions = deliver(&mut session, &parcels).await;
        assert!(positions.iter().all(|at| *at == Position::default()));
        let messages = subscriber.arrived(parcels.len()).await;
        for (message, parcel) in messages.iter().zip(&parcels) {
            let topic = format!("edupulse/events/{}/{QUIZ}", device.name.as_str());
            assert_eq!(message.topic, topic);
            assert_eq!(message.payload, parcel.body);
            assert!(!message.retain);
        }
        assert_eq!(messages.len(), parcels.len(), "{version:?} {qos:?}");
        assert!(
            timeout(Duration::from_millis(50), session.next())
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn an_envelope_has_its_identity_beside_it() {
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    let mut session = connect(options_for(&server.url()), &device).await.unwrap();
    let first = device.parcel(1);
    let mut again = device.parcel(2);
    again.redelivered = true;
    deliver(&mut session, &[first.clone(), again]).await;
    let messages = subscriber.arrived(2).await;
    let properties = messages[0].properties.as_ref().unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.payload_format_indicator, Some(1));
    let user = |name, value: String| (String::from(name), value);
    assert_eq!(
        properties.user_properties,
        [
            user("id", first.id.to_string()),
            user("seq", "1".into()),
            user("epoch", device.epoch.to_string()),
        ]
    );
    assert_eq!(messages[1].user_property("redelivered"), Some("true"));
}

#[tokio::test]
async fn attributes_become_user_properties_and_their_content_type_the_messages() {
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    let mut session = connect(options_for(&server.url()), &device).await.unwrap();
    let attributes = [
        ("specversion", "1.0"),
        (
            "datacontenttype",
            "application/cloudevents+json; charset=utf-8",
        ),
        ("subject", "Müller"),
    ];
    let mut parcel = device.parcel(1);
    parcel.beside = Beside::Attributes(attributes.map(|(name, value)| (name, value.into())).into());
    deliver(&mut session, &[parcel]).await;
    let message = subscriber.arrived(1).await.remove(0);
    assert_eq!(message.user_property("specversion"), Some("1.0"));
    assert_eq!(message.user_property("subject"), Some("Müller"));
    let properties = message.properties.unwrap();
    assert_eq!(properties.user_properties.len(), 2);
    assert_eq!(properties.content_type.as_deref(), Some(attributes[1].1));
    assert_eq!(properties.payload_format_indicator, Some(1));
}

#[tokio::test]
async fn attributes_have_no_place_in_3_1_1_and_are_never_left_out() {
    let server = MosquittoServer::start();
    let device = device();
    let options = MqttOptions {
        version: MqttVersion::V3_1_1,
        ..options_for(&server.url())
    };
    let mut session = connect(options, &device).await.unwrap();
    let mut parcel = device.parcel(1);
    parcel.beside = Beside::Attributes(Box::new([("specversion", "1.0".into())]));
    let error = session.send(parcel).await.unwrap_err();
    assert_error(
        &error,
        ErrorKind::Halt,
        "format_not_carried",
        "`version = \"5\"`",
    );
}

#[tokio::test]
async fn the_topic_is_what_the_template_says() {
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), "#");
    let device = device();
    let options = MqttOptions {
        topic: "school 7/{event_type}/é".parse().unwrap(),
        ..options_for(&server.url())
    };
    let mut session = connect(options, &device).await.unwrap();
    deliver(&mut session, &device.parcels([1])).await;
    let message = subscriber.arrived(1).await.remove(0);
    assert_eq!(message.topic, format!("school 7/{QUIZ}/é"));
}

#[tokio::test]
async fn rabbitmq_takes_events_by_3_1_1_at_both_qos() {
    let server = RabbitServer::shared();
    for qos in [MqttQos::AtLeastOnce, MqttQos::ExactlyOnce] {
        let device = Device::new(&format!("kiosk-{qos:?}"));
        // The dots of an event type are levels to it.
        let filter = format!("edupulse/events/{}/#", device.name.as_str());
        let subscriber = Subscriber::start_3_1_1(&server.url(), &filter);
        let options = MqttOptions {
            version: MqttVersion::V3_1_1,
            qos,
            ..options_for(&server.url())
        };
        let mut session = connect(options, &device).await.unwrap();
        let parcels = device.parcels(1..=300);
        // It confirms in batches, and not in order.
        send(&mut session, &parcels).await;
        let mut seqs = Vec::new();
        for _ in &parcels {
            seqs.push(stored(&mut session).await.0);
        }
        seqs.sort();
        assert_eq!(seqs, parcels.iter().map(|p| p.seq).collect::<Vec<_>>());
        let messages = subscriber.arrived(parcels.len()).await;
        for (message, parcel) in messages.iter().zip(&parcels) {
            assert_eq!(message.payload, parcel.body);
        }
        assert_eq!(messages.len(), parcels.len());
    }
}

#[tokio::test]
async fn the_promise_is_at_least_once_and_says_why() {
    let server = MosquittoServer::start();
    let guarantee = async |change: fn(&mut MqttOptions)| {
        let mut options = options_for(&server.url());
        change(&mut options);
        let session = connect(options, &device()).await.unwrap();
        assert_eq!(session.head(), Position::default());
        assert_eq!(session.incarnation(), Incarnation::default());
        session.guarantee()
    };
    let plain = guarantee(|_| ()).await;
    assert_eq!(plain.level, GuaranteeLevel::AtLeastOnce);
    assert!(plain.unmet.len() == 1 && plain.unmet[0].contains("cannot be asked"));
    let old = guarantee(|options| options.version = MqttVersion::V3_1_1).await;
    assert_eq!(old.level, GuaranteeLevel::AtLeastOnce);
    assert!(old.unmet[1].contains("throws away"), "{old:?}");
    let deaf = guarantee(|options| options.accept_no_subscribers = true).await;
    assert!(deaf.unmet[1].contains("accept_no_subscribers"), "{deaf:?}");
}

#[tokio::test]
async fn nothing_is_known_of_what_was_in_doubt() {
    let server = MosquittoServer::start();
    let device = device();
    let mut session = connect(options_for(&server.url()), &device).await.unwrap();
    let doubt: InDoubt = device.doubt(
        &device.parcels(1..=3),
        Position::default(),
        Incarnation::default(),
    );
    let answer = session.read_back(&doubt).await.unwrap();
    assert!(answer.found.is_empty() && answer.foreign.is_empty() && !answer.complete);
}

#[tokio::test]
async fn that_nobody_has_subscribed_is_a_retry_or_accepted() {
    let server = MosquittoServer::start();
    let device = device();
    let options = options_for(&server.url());
    let mut session = connect(options.clone(), &device).await.unwrap();
    // More than once round the packet ids.
    for seq in 1..=50 {
        send(&mut session, &device.parcels([seq])).await;
        let (refused, error) = refused(&mut session).await;
        assert_eq!(refused, Seq::new(seq));
        let hint = "`accept_no_subscribers = true`";
        assert_error(&error, ErrorKind::Retry, "no_subscribers", hint);
        assert!(error.message.contains(&server.url()), "{error}");
    }
    let accepting = MqttOptions {
        accept_no_subscribers: true,
        ..options
    };
    let mut session = connect(accepting, &device).await.unwrap();
    deliver(&mut session, &device.parcels(1..=50)).await;
}

#[tokio::test]
async fn an_event_too_large_for_the_broker_is_rejected_before_it_is_sent() {
    let server = MosquittoServer::with("allow_anonymous true\nmax_packet_size 3000");
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    for qos in [MqttQos::AtLeastOnce, MqttQos::ExactlyOnce] {
        let options = MqttOptions {
            qos,
            ..options_for(&server.url())
        };
        let mut session = connect(options, &device).await.unwrap();
        send(&mut session, &[device.parcel(1), large(&device, 2, 4_000)]).await;
        send(&mut session, &device.parcels([3])).await;
        let (seq, error) = refused(&mut session).await;
        assert_eq!(seq, Seq::new(2));
        assert_error(
            &error,
            ErrorKind::Reject,
            "payload_too_large",
            "maximum packet",
        );
        assert!(error.limit);
        for seq in [1, 3] {
            assert_eq!(stored(&mut session).await.0, Seq::new(seq));
        }
    }
    assert_eq!(subscriber.arrived(4).await.len(), 4);
}

#[tokio::test]
async fn the_size_that_is_checked_is_the_size_of_the_packet_to_the_byte() {
    let server = MosquittoServer::with("allow_anonymous true\nmax_packet_size 3000");
    let _subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    let mut session = connect(options_for(&server.url()), &device).await.unwrap();
    // The broker ends the connection over a byte too many; the sink must not send that, and must
    // not hold back one that just fits.
    let (mut taken, mut rejected) = (0, 0);
    for bytes in 1_800..2_300 {
        send(&mut session, &[large(&device, 1, bytes)]).await;
        match next(&mut session).await {
            edge_outbox::sink::Outcome::Stored { .. } => {
                assert_eq!(rejected, 0, "{bytes}");
                taken += 1;
            }
            edge_outbox::sink::Outcome::Refused { error, .. } => {
                if rejected == 0 {
                    assert!(error.message.contains("packet of 3001 bytes"), "{error}");
                }
                rejected += 1;
            }
            other => panic!("{bytes}: {other:?}"),
        }
    }
    assert!(taken > 0 && rejected > 0, "{taken} {rejected}");
}

#[tokio::test]
async fn under_3_1_1_the_configured_limit_counts_and_large_events_pass() {
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    let options = MqttOptions {
        version: MqttVersion::V3_1_1,
        max_packet: 300_000,
        ..options_for(&server.url())
    };
    let mut session = connect(options, &device).await.unwrap();
    // Far above the client's own default of 10 KiB.
    deliver(&mut session, &[large(&device, 1, 250_000)]).await;
    send(&mut session, &[large(&device, 2, 300_000)]).await;
    let (_, error) = refused(&mut session).await;
    assert_error(
        &error,
        ErrorKind::Reject,
        "payload_too_large",
        "`max_packet`",
    );
    deliver(&mut session, &device.parcels([3])).await;
    assert_eq!(subscriber.arrived(2).await.len(), 2);
}

#[tokio::test]
async fn the_brokers_receive_maximum_bounds_the_window() {
    for most in [1, 7] {
        let config = format!("allow_anonymous true\nmax_inflight_messages {most}");
        let server = MosquittoServer::with(&config);
        let subscriber = Subscriber::start(&server.url(), EVERYTHING);
        let device = device();
        for qos in [MqttQos::AtLeastOnce, MqttQos::ExactlyOnce] {
            let options = MqttOptions {
                qos,
                ..options_for(&server.url())
            };
            let mut session = connect(options, &device).await.unwrap();
            assert_eq!(session.max_in_flight(), most);
            // More than the window at once: the broker would end the connection.
            deliver(&mut session, &device.parcels(1..=200)).await;
        }
        assert_eq!(subscriber.arrived(400).await.len(), 400);
    }
}

#[tokio::test]
async fn an_idle_session_tells_at_once_that_the_broker_went_away() {
    for (version, qos) in EVERY_WAY {
        let mut server = MosquittoServer::start();
        let options = MqttOptions {
            version,
            qos,
            ..options_for(&server.url())
        };
        let mut session = connect(options, &device()).await.unwrap();
        server.kill();
        let error = lost(&mut session).await;
        assert_eq!((error.kind, error.code), (ErrorKind::Retry, "disconnected"));
    }
}

#[tokio::test]
async fn an_outcome_is_told_even_if_an_earlier_wait_for_it_was_dropped() {
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    let mut session = connect(options_for(&server.url()), &device).await.unwrap();
    send(&mut session, &device.parcels(1..=50)).await;
    let mut seen = Vec::new();
    while seen.len() < 50 {
        if let Ok(outcome) = timeout(Duration::from_micros(50), session.next()).await {
            seen.push(format!("{outcome:?}"));
        }
    }
    for (seq, outcome) in (1_u64..).zip(&seen) {
        assert!(outcome.contains(&format!("seq: #{seq},")), "{outcome}");
    }
    assert!(
        timeout(Duration::from_millis(50), next(&mut session))
            .await
            .is_err()
    );
    assert_eq!(subscriber.arrived(50).await.len(), 50);
}
