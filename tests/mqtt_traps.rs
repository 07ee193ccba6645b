//! What the MQTT client does on its own account, and what a broker may do to it: none of it may cost an
//! event, confirm one that is not stored, or stop the flow.

#![cfg(feature = "mqtt")]
mod support;

use std::time::Instant;

use edge_outbox::{
    seq::Seq,
    sink::{
        ErrorKind, Outcome, Session,
        mqtt::{MqttOptions, MqttQos, MqttVersion},
    },
};
use support::{
    conversation::{deliver, lost, next, refused, send, stored},
    device::{Device, QUIZ},
    mosquitto::MosquittoServer,
    mqtt::{EVERYTHING, assert_error, connect, options_for, refusal, sink},
    scripted_broker::{
        Caller, PINGREQ, PUBLISH, PUBREL, ScriptedBroker, connack, disconnect, puback, pubcomp,
        pubrec, receive_maximum,
    },
    subscriber::Subscriber,
};
use tokio::time::{Duration, sleep, timeout};

fn device() -> Device {
    Device::new("kiosk-1")
}

/// A session with a scripted broker that says this of itself.
async fn scripted(
    properties: &[u8],
    change: impl FnOnce(&mut MqttOptions),
) -> (ScriptedBroker, Caller, Session) {
    let broker = ScriptedBroker::start().await;
    let mut options = options_for(&broker.url());
    change(&mut options);
    let device = device();
    let (session, caller) = tokio::join!(connect(options, &device), broker.let_in(properties));
    (broker, caller, session.unwrap())
}

fn at_qos_2(options: &mut MqttOptions) {
    options.qos = MqttQos::ExactlyOnce;
}

#[tokio::test]
async fn a_packet_id_is_given_out_again_only_when_it_is_free() {
    let (_broker, mut caller, mut session) = scripted(&receive_maximum(4), |_| ()).await;
    send(&mut session, &device().parcels(1..=10)).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(caller.publish().await);
    }
    // All but the first: the next to be given out is the one that is still taken.
    for id in ids.iter().skip(1).rev() {
        caller.send(&puback(*id, 0)).await;
    }
    let mut seqs = Vec::new();
    for _ in 0..3 {
        seqs.push(stored(&mut session).await.0.get());
    }
    assert_eq!(seqs, [4, 3, 2]);
    assert!(
        timeout(Duration::from_millis(100), session.next())
            .await
            .is_err()
    );
    assert!(caller.is_quiet().await, "a packet id was given out twice");
    // Refused: then the client would never send one that waits for this packet id.
    caller.send(&puback(ids[0], 0x97)).await;
    assert_eq!(refused(&mut session).await.0, Seq::new(1));
    for seq in 5..=10 {
        let (id, outcome) = tokio::join!(
            async {
                let id = caller.publish().await;
                caller.send(&puback(id, 0)).await;
                id
            },
            stored(&mut session)
        );
        assert_eq!(outcome.0, Seq::new(seq), "packet id {id}");
    }
}

#[tokio::test]
async fn an_answer_to_nothing_ends_the_session_and_confirms_nothing() {
    for nonsense in [
        puback(3, 0),
        puback(0, 0),
        puback(60_000, 0),
        pubrec(1, 0),
        pubcomp(1, 0),
    ] {
        let (_broker, mut caller, mut session) = scripted(&[], |_| ()).await;
        send(&mut session, &device().parcels([1])).await;
        let (_, error) = tokio::join!(
            async {
                assert_eq!(caller.publish().await, 1);
                caller.send(&nonsense).await;
            },
            lost(&mut session)
        );
        assert_eq!((error.kind, error.code), (ErrorKind::Retry, "bad_answer"));
    }
}

#[tokio::test]
async fn an_event_that_is_answered_twice_is_confirmed_once() {
    let (_broker, mut caller, mut session) = scripted(&[], |_| ()).await;
    send(&mut session, &device().parcels(1..=2)).await;
    caller.publish().await;
    caller.publish().await;
    caller.send(&[puback(1, 0), puback(1, 0)].concat()).await;
    assert_eq!(stored(&mut session).await.0, Seq::new(1));
    assert_eq!(lost(&mut session).await.code, "bad_answer");
}

#[tokio::test]
async fn what_was_answered_before_the_end_counts_and_what_was_not_is_not_sent_again() {
    let (broker, mut caller, mut session) = scripted(&[], |_| ()).await;
    send(&mut session, &device().parcels(1..=5)).await;
    for _ in 0..5 {
        caller.publish().await;
    }
    let last_words = [puback(1, 0), puback(3, 0), disconnect(0x8B)].concat();
    caller.send(&last_words).await;
    assert_eq!(stored(&mut session).await.0, Seq::new(1));
    assert_eq!(stored(&mut session).await.0, Seq::new(3));
    let error = lost(&mut session).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Retry, "broker_leaving")
    );
    // The session is still held, and still asked; the client would now connect by itself.
    assert!(matches!(next(&mut session).await, Outcome::Lost(_)));
    assert!(broker.is_left_alone().await);
}

#[tokio::test]
async fn refusals_at_qos_2_do_not_use_up_the_window() {
    let (_broker, mut caller, mut session) = scripted(&receive_maximum(2), at_qos_2).await;
    let parcels = device().parcels(1..=20);
    send(&mut session, &parcels).await;
    let broker = tokio::spawn(async move {
        let mut events = 0;
        while let Some(packet) = caller.read().await {
            let id = packet.packet_id();
            if packet.kind == PUBREL {
                caller.send(&pubcomp(id, 0)).await;
                continue;
            }
            assert_eq!(packet.kind, PUBLISH);
            events += 1;
            // Every fifth is taken, so that places are lost between others.
            let code = if events % 5 == 0 { 0 } else { 0x97 };
            caller.send(&pubrec(id, code)).await;
        }
    });
    let mut refusals = 0;
    for _ in &parcels {
        match next(&mut session).await {
            Outcome::Refused { error, .. } => {
                assert_eq!(
                    (error.kind, error.code),
                    (ErrorKind::Retry, "quota_exceeded")
                );
                refusals += 1;
            }
            Outcome::Stored { .. } => {}
            other => panic!("after {refusals} refusals: {other:?}"),
        }
    }
    assert_eq!(refusals, 16);
    drop(session);
    broker.await.unwrap();
}

#[tokio::test]
async fn at_qos_2_an_event_is_stored_when_the_broker_is_done_with_it() {
    let (_broker, mut caller, mut session) = scripted(&[], at_qos_2).await;
    send(&mut session, &device().parcels(1..=2)).await;
    assert_eq!(caller.publish().await, 1);
    assert_eq!(caller.publish().await, 2);
    // The second is heard by nobody, which is known from the start and told at the end.
    caller.send(&[pubrec(1, 0), pubrec(2, 0x10)].concat()).await;
    for id in 1..=2 {
        let release = caller.packet().await;
        assert_eq!((release.kind, release.packet_id()), (PUBREL, id));
    }
    assert!(
        timeout(Duration::from_millis(100), session.next())
            .await
            .is_err()
    );
    caller.send(&[pubcomp(1, 0), pubcomp(2, 0)].concat()).await;
    assert_eq!(stored(&mut session).await.0, Seq::new(1));
    let (seq, error) = refused(&mut session).await;
    assert_eq!((seq, error.code), (Seq::new(2), "no_subscribers"));

    send(&mut session, &device().parcels([3])).await;
    let id = caller.publish().await;
    caller.send(&pubrec(id, 0)).await;
    caller.packet().await;
    caller.send(&pubcomp(id, 0x92)).await;
    let error = lost(&mut session).await;
    assert_eq!((error.kind, error.code), (ErrorKind::Retry, "broker_error"));
}

#[tokio::test]
async fn each_refusal_of_one_event_is_told_as_what_it_is() {
    for (code, kind, word, hint) in [
        (0x80, ErrorKind::Retry, "broker_error", ""),
        (0x83, ErrorKind::Retry, "broker_error", ""),
        (0x91, ErrorKind::Retry, "broker_error", ""),
        (0x97, ErrorKind::Retry, "quota_exceeded", "more room"),
        (0x99, ErrorKind::Reject, "payload_refused", "UTF-8"),
    ] {
        for qos in [MqttQos::AtLeastOnce, MqttQos::ExactlyOnce] {
            let (_broker, mut caller, mut session) = scripted(&[], |o| o.qos = qos).await;
            send(&mut session, &device().parcels(1..=2)).await;
            let answer = match qos {
                MqttQos::AtLeastOnce => puback,
                MqttQos::ExactlyOnce => pubrec,
            };
            for _ in 0..2 {
                let id = caller.publish().await;
                caller.send(&answer(id, code)).await;
            }
            for seq in 1..=2 {
                let (refused, error) = refused(&mut session).await;
                assert_eq!(refused, Seq::new(seq));
                assert_error(&error, kind, word, hint);
            }
        }
    }
    for (code, word) in [(0x87, "publish_denied"), (0x90, "topic_refused")] {
        let (_broker, mut caller, mut session) = scripted(&[], |_| ()).await;
        send(&mut session, &device().parcels([1])).await;
        let id = caller.publish().await;
        caller.send(&puback(id, code)).await;
        let error = lost(&mut session).await;
        assert_error(&error, ErrorKind::Halt, word, "`topic`");
        let topic = format!("edupulse/events/kiosk-1/{QUIZ}");
        assert!(error.message.contains(&topic), "{error}");
    }
}

#[tokio::test]
async fn an_event_that_ends_the_connection_is_found_and_the_others_pass() {
    // mosquitto answers such a one with a code that is not defined there, and the client gives up.
    let server = MosquittoServer::with("allow_anonymous true\nmessage_size_limit 3000");
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let device = device();
    for qos in [MqttQos::AtLeastOnce, MqttQos::ExactlyOnce] {
        let mut sink = sink(MqttOptions {
            qos,
            ..options_for(&server.url())
        });
        let mut pending: Vec<_> = device.parcels(1..=30);
        let payload = format!("\"{}\"", "x".repeat(4_000));
        pending[9] = device.parcel_of(10, QUIZ, payload.as_bytes());
        let (mut rejected, mut sessions) = (Vec::new(), 0);
        while !pending.is_empty() {
            sessions += 1;
            assert!(sessions < 6, "{} pending", pending.len());
            let mut session = sink.connect(&device.name).await.unwrap();
            send(&mut session, &pending).await;
            while !pending.is_empty() {
                match next(&mut session).await {
                    Outcome::Stored { seq, .. } => pending.retain(|parcel| parcel.seq != seq),
                    Outcome::Refused { seq, error } => {
                        assert_eq!(
                            (error.kind, error.code, error.limit),
                            (ErrorKind::Reject, "payload_too_large", true)
                        );
                        rejected.push(seq.get());
                        pending.retain(|parcel| parcel.seq != seq);
                    }
                    Outcome::Lost(error) => {
                        assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
                        break;
                    }
                    Outcome::Receipt(_) => panic!("nobody listens for receipts"),
                }
            }
        }
        assert_eq!(rejected, [10], "{qos:?}");
    }
    assert!(subscriber.arrived(58).await.len() >= 58);
}

#[tokio::test]
async fn what_the_broker_says_of_its_limits_is_kept_to() {
    // Maximum QoS 1: the promise is the same.
    let (_broker, mut caller, mut session) = scripted(&[0x24, 1], at_qos_2).await;
    assert!(session.guarantee().unmet[1].contains("`qos = 1`"));
    send(&mut session, &device().parcels([1])).await;
    let id = caller.publish().await;
    caller.send(&puback(id, 0)).await;
    stored(&mut session).await;

    for (properties, kind, code) in [
        (vec![0x24, 0], ErrorKind::Halt, "qos_not_supported"),
        (receive_maximum(0), ErrorKind::Retry, "bad_answer"),
    ] {
        let broker = ScriptedBroker::start().await;
        let (device, options) = (device(), options_for(&broker.url()));
        let (error, _caller) = tokio::join!(refusal(options, &device), broker.let_in(&properties));
        assert_eq!((error.kind, error.code), (kind, code), "{error:?}");
    }
}

#[tokio::test]
async fn each_refusal_to_connect_is_told_as_what_it_is() {
    for (code, kind, word) in [
        (0x84, ErrorKind::Halt, "version_not_supported"),
        (0x85, ErrorKind::Halt, "client_id_refused"),
        (0x86, ErrorKind::Halt, "bad_credentials"),
        (0x87, ErrorKind::Halt, "not_authorized"),
        (0x88, ErrorKind::Retry, "broker_unavailable"),
        (0x89, ErrorKind::Retry, "broker_busy"),
        (0x8A, ErrorKind::Halt, "banned"),
        (0x97, ErrorKind::Retry, "quota_exceeded"),
        (0x9C, ErrorKind::Retry, "use_another_server"),
        (0x9D, ErrorKind::Halt, "server_moved"),
        (0x9F, ErrorKind::Retry, "connection_rate_exceeded"),
        // Of MQTT 3.1.1: the broker does not know MQTT 5.
        (0x01, ErrorKind::Halt, "version_not_supported"),
        // Of no version.
        (0x42, ErrorKind::Retry, "broker_error"),
    ] {
        let broker = ScriptedBroker::start().await;
        let (device, options) = (device(), options_for(&broker.url()));
        let (error, _caller) = tokio::join!(refusal(options, &device), async {
            let (mut caller, _) = broker.call().await;
            caller.send(&connack(code, &[])).await;
            caller
        });
        assert_eq!((error.kind, error.code), (kind, word), "{error:?}");
        assert!(error.message.contains(&broker.url()), "{error}");
    }
    for (code, kind, word) in [
        (1, ErrorKind::Halt, "version_not_supported"),
        (2, ErrorKind::Halt, "client_id_refused"),
        (3, ErrorKind::Retry, "broker_unavailable"),
        (4, ErrorKind::Halt, "bad_credentials"),
        (5, ErrorKind::Halt, "not_authorized"),
    ] {
        let broker = ScriptedBroker::start().await;
        let options = MqttOptions {
            version: MqttVersion::V3_1_1,
            ..options_for(&broker.url())
        };
        let device = device();
        let (error, _caller) = tokio::join!(refusal(options, &device), async {
            let (mut caller, _) = broker.call().await;
            caller.send(&[0x20, 2, 0, code]).await;
            caller
        });
        assert_eq!((error.kind, error.code), (kind, word), "{error:?}");
    }
}

#[tokio::test]
async fn every_connection_starts_clean() {
    for (version, clean) in [(MqttVersion::V5, 5), (MqttVersion::V3_1_1, 4)] {
        let broker = ScriptedBroker::start().await;
        let device = device();
        let mut sink = sink(MqttOptions {
            version,
            ..options_for(&broker.url())
        });
        for _ in 0..2 {
            let (session, _) = tokio::join!(sink.connect(&device.name), async {
                let (mut caller, connect) = broker.call().await;
                // Protocol name, its version, the flags.
                assert_eq!(
                    (&connect.body[2..6], connect.body[6]),
                    (&b"MQTT"[..], clean)
                );
                assert_eq!(connect.body[7] & 0b10, 0b10, "no clean start");
                let text = String::from_utf8_lossy(&connect.body);
                assert!(text.contains("edge-outbox-kiosk-1"), "{text}");
                let accepted = match version {
                    MqttVersion::V5 => connack(0, &[]),
                    MqttVersion::V3_1_1 => vec![0x20, 2, 0, 0],
                };
                caller.send(&accepted).await;
                caller
            });
            session.unwrap();
        }
    }
}

#[tokio::test]
async fn a_broker_that_wants_no_pings_is_not_flooded_with_them() {
    let (_broker, mut caller, _session) = scripted(&[0x13, 0, 0], |_| ()).await;
    let mut pings = 0;
    while let Ok(Some(packet)) = timeout(Duration::from_millis(500), caller.read()).await {
        assert_eq!(packet.kind, PINGREQ);
        caller.send(&[0xD0, 0]).await;
        pings += 1;
        assert!(pings <= 1, "another ping already");
    }
}

#[tokio::test]
async fn an_idle_connection_on_which_nothing_comes_back_is_given_up() {
    // The broker asks for a ping a second and answers none.
    let (_broker, _caller, mut session) = scripted(&[0x13, 0, 1], |_| ()).await;
    let begin = Instant::now();
    let error = lost(&mut session).await;
    assert_eq!((error.kind, error.code), (ErrorKind::Retry, "no_answer"));
    assert!(error.message.contains("ping"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn whatever_comes_is_a_sign_of_life() {
    // Answers to pings are held up for ever, behind the answers to a long row of events.
    let (_broker, mut caller, mut session) = scripted(&[0x13, 0, 1], |_| ()).await;
    let parcels = device().parcels(1..=8);
    send(&mut session, &parcels).await;
    let broker = tokio::spawn(async move {
        for id in 1..=8 {
            sleep(Duration::from_millis(500)).await;
            caller.send(&puback(id, 0)).await;
        }
        caller
    });
    for parcel in &parcels {
        assert_eq!(stored(&mut session).await.0, parcel.seq);
    }
    broker.await.unwrap();
}

#[tokio::test]
async fn an_unanswered_event_ends_the_session_whatever_else_is_answered() {
    let (_broker, mut caller, mut session) =
        scripted(&[], |o| o.ack_timeout = Duration::from_millis(600)).await;
    send(&mut session, &device().parcels(1..=20)).await;
    let begin = Instant::now();
    let broker = tokio::spawn(async move {
        // The first is forgotten.
        for id in 2..=20 {
            caller.send(&puback(id, 0)).await;
            sleep(Duration::from_millis(100)).await;
        }
        caller
    });
    let error = loop {
        match next(&mut session).await {
            Outcome::Stored { seq, .. } => assert_ne!(seq, Seq::new(1)),
            Outcome::Lost(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((error.kind, error.code), (ErrorKind::Retry, "no_answer"));
    assert!(begin.elapsed() < Duration::from_millis(1_500));
    broker.abort();
}

#[tokio::test]
async fn a_large_event_on_a_slow_link_is_not_given_up_by_the_client() {
    // Under 3.1.1 the client has a limit of its own, 5 s, for the writing of a packet.
    let broker = ScriptedBroker::start().await;
    let options = MqttOptions {
        version: MqttVersion::V3_1_1,
        max_packet: 64 * 1024 * 1024,
        ..options_for(&broker.url())
    };
    let device = device();
    let (session, mut caller) = tokio::join!(connect(options, &device), async {
        let (mut caller, _) = broker.call().await;
        caller.send(&[0x20, 2, 0, 0]).await;
        caller
    });
    let mut session = session.unwrap();
    // More than the sockets between the two hold.
    let payload = format!("\"{}\"", "x".repeat(32 * 1024 * 1024));
    let parcel = device.parcel_of(1, QUIZ, payload.as_bytes());
    send(&mut session, &[parcel]).await;
    assert!(
        timeout(Duration::from_secs(6), session.next())
            .await
            .is_err()
    );
    let id = caller.publish().await;
    caller.send(&[0x40, 2, 0, id as u8]).await;
    assert_eq!(stored(&mut session).await.0, Seq::new(1));
}

#[test]
fn nothing_leaves_once_a_session_and_its_runtime_are_gone() {
    let other = tokio::runtime::Runtime::new().unwrap();
    let broker = other.block_on(ScriptedBroker::start());
    let url = broker.url();
    let (most, device) = (receive_maximum(2), device());
    let caller = other.spawn(async move { broker.let_in(&most).await });
    let own = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    own.block_on(async {
        let mut session = connect(options_for(&url), &device).await.unwrap();
        send(&mut session, &device.parcels(1..=100)).await;
        let begin = Instant::now();
        session.close().await;
        assert!(begin.elapsed() < Duration::from_millis(500));
    });
    drop(own);
    other.block_on(async {
        let mut caller = caller.await.unwrap();
        let mut events = 0;
        while let Some(packet) = timeout(Duration::from_secs(5), caller.read())
            .await
            .expect("the connection ends")
        {
            assert_eq!(packet.kind, PUBLISH);
            events += 1;
        }
        assert!(events <= 2, "{events} events");
    });
}

#[tokio::test]
async fn each_word_at_the_end_of_a_connection_is_told_as_what_it_is() {
    for (code, kind, word, hint) in [
        (0x00, ErrorKind::Retry, "disconnected", ""),
        (0x87, ErrorKind::Halt, "not_authorized", "`topic`"),
        (0x89, ErrorKind::Retry, "broker_busy", ""),
        (0x8B, ErrorKind::Retry, "broker_leaving", ""),
        (0x8D, ErrorKind::Retry, "keep_alive_timeout", ""),
        // Two devices end each other's connections: not in a loop without a pause.
        (0x8E, ErrorKind::Halt, "session_taken_over", "`client_id`"),
        (0x97, ErrorKind::Retry, "quota_exceeded", ""),
        (0x98, ErrorKind::Retry, "closed_by_operator", ""),
        (0x9C, ErrorKind::Retry, "use_another_server", "`servers`"),
        (0x9D, ErrorKind::Halt, "server_moved", "`servers`"),
        // Of no event that was sent, for none was.
        (0x95, ErrorKind::Retry, "one_refused", ""),
    ] {
        let (broker, mut caller, mut session) = scripted(&[], |_| ()).await;
        caller.send(&disconnect(code)).await;
        let error = lost(&mut session).await;
        assert_error(&error, kind, word, hint);
        assert!(error.message.contains(&broker.url()), "{error}");
    }
}

#[tokio::test]
async fn two_devices_by_one_client_id_get_on_one_at_a_time() {
    let server = MosquittoServer::start();
    let _subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let options = MqttOptions {
        client_id: Some("the-same".into()),
        ..options_for(&server.url())
    };
    let (one, two) = (Device::new("kiosk-1"), Device::new("kiosk-2"));
    let mut first = connect(options.clone(), &one).await.unwrap();
    let mut second = connect(options, &two).await.unwrap();
    // This broker does not say why.
    assert_eq!(lost(&mut first).await.code, "disconnected");
    deliver(&mut second, &two.parcels(1..=3)).await;
}
