//! Events go to a JetStream stream, and each answer of the server is told as what it is.

#![cfg(feature = "nats")]
mod support;

use edge_outbox::{
    seq::Seq,
    sink::{
        ErrorKind, Incarnation, Position,
        nats::{NatsMode, NatsOptions},
    },
    status::GuaranteeLevel,
};
use support::{
    conversation::{connect, deliver, lost, next, options, refused, send, stored},
    device::{Device, QUIZ},
    nats_server::NatsServer,
};
use tokio::time::{Duration, timeout};

#[tokio::test]
async fn events_are_stored_in_order_under_their_digests() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let parcels = device.parcels(1..=200);
    let positions = deliver(&mut session, &parcels).await;
    assert_eq!(positions, (1..=200).map(Position).collect::<Vec<_>>());
    assert_eq!(session.head(), Position(200));
    assert_ne!(session.incarnation(), Incarnation::default());
    for (at, parcel) in (1..).zip(&parcels) {
        let message = stream.get_raw_message(at).await.unwrap();
        assert_eq!(
            message.subject.as_str(),
            format!("edupulse.events.kiosk-1.{QUIZ}")
        );
        assert_eq!(message.payload, parcel.body);
        let header = |name| message.headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(header("Nats-Msg-Id"), parcel.digest.to_base64url());
        assert_eq!(header("Content-Type"), "application/json");
    }
    assert!(
        timeout(Duration::from_millis(50), session.next())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn two_devices_with_the_same_event_id_are_both_stored() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    for name in ["kiosk-1", "kiosk-2"] {
        let device = Device::new(name);
        let mut session = connect(options(&server), &device).await.unwrap();
        deliver(&mut session, &device.parcels([1])).await;
    }
    assert_eq!(stream.get_info().await.unwrap().state.messages, 2);
}

#[tokio::test]
async fn a_repeat_within_the_duplicate_window_is_stored_once_and_confirmed_again() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let parcels = device.parcels(1..=3);
    let first = deliver(&mut session, &parcels).await;
    let mut session = connect(options(&server), &device).await.unwrap();
    assert_eq!(deliver(&mut session, &parcels).await, first);
    assert_eq!(stream.get_info().await.unwrap().state.messages, 3);
}

#[tokio::test]
async fn a_message_too_large_for_the_stream_is_rejected_in_mid_window_and_the_others_pass() {
    let server = NatsServer::start();
    server
        .create_stream(|config| config.max_message_size = 2_000)
        .await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let mut parcels = device.parcels(1..=5);
    parcels[2] = device.parcel_of(3, QUIZ, format!("\"{}\"", "x".repeat(4_000)).as_bytes());
    send(&mut session, &parcels).await;
    assert_eq!(stored(&mut session).await, (Seq::new(1), Position(1)));
    assert_eq!(stored(&mut session).await, (Seq::new(2), Position(2)));
    let (seq, error) = refused(&mut session).await;
    assert_eq!(seq, Seq::new(3));
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Reject, "message_too_large")
    );
    assert!(error.limit && error.hint.unwrap().contains("max_msg_size"));
    assert_eq!(stored(&mut session).await, (Seq::new(4), Position(3)));
    assert_eq!(stored(&mut session).await, (Seq::new(5), Position(4)));
}

#[tokio::test]
async fn a_message_too_large_for_the_server_is_rejected_and_the_connection_stays() {
    let server = NatsServer::with("max_payload: 2KB\njetstream { store_dir: \"$DIR/store\" }");
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let large = device.parcel_of(1, QUIZ, format!("\"{}\"", "x".repeat(4_000)).as_bytes());
    send(&mut session, &[large]).await;
    let (seq, error) = refused(&mut session).await;
    assert_eq!(
        (seq, error.kind, error.code),
        (Seq::new(1), ErrorKind::Reject, "payload_too_large")
    );
    assert!(error.limit && error.hint.unwrap().contains("max_payload"));
    deliver(&mut session, &device.parcels([2])).await;
}

#[tokio::test]
async fn a_full_stream_is_a_retry_and_takes_the_event_once_there_is_room() {
    let server = NatsServer::start();
    let stream = server
        .create_stream(|config| {
            config.max_messages = 2;
            config.discard = async_nats::jetstream::stream::DiscardPolicy::New;
        })
        .await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.parcels(1..=2)).await;
    send(&mut session, &device.parcels([3])).await;
    let (seq, error) = refused(&mut session).await;
    assert_eq!(
        (seq, error.kind, error.code),
        (Seq::new(3), ErrorKind::Retry, "stream_full")
    );
    stream.purge().await.unwrap();
    deliver(&mut session, &device.parcels([3])).await;
}

#[tokio::test]
async fn a_full_subject_is_a_retry_as_well() {
    let server = NatsServer::start();
    server
        .create_stream(|config| {
            config.max_messages_per_subject = 1;
            config.discard = async_nats::jetstream::stream::DiscardPolicy::New;
            config.discard_new_per_subject = true;
        })
        .await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.parcels([1])).await;
    send(&mut session, &device.parcels([2])).await;
    let (_, error) = refused(&mut session).await;
    assert_eq!((error.kind, error.code), (ErrorKind::Retry, "stream_full"));
}

#[tokio::test]
async fn the_promise_is_exactly_once_as_soon_as_an_event_was_found_again() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let before = session.guarantee();
    assert_eq!(before.level, GuaranteeLevel::AtLeastOnce);
    assert!(
        before.unmet.len() == 1 && before.unmet[0].contains("first event"),
        "{before:?}"
    );
    deliver(&mut session, &device.parcels([1])).await;
    assert_eq!(session.guarantee().level, GuaranteeLevel::ExactlyOnce);
    assert!(session.guarantee().unmet.is_empty());

    // A device that delivered before need not wait for its next event.
    let session = connect(options(&server), &device).await.unwrap();
    assert_eq!(session.guarantee().level, GuaranteeLevel::ExactlyOnce);
}

#[tokio::test]
async fn each_condition_that_fails_on_a_real_stream_is_shown() {
    let server = NatsServer::start();
    server
        .create_stream(|config| {
            config.storage = async_nats::jetstream::stream::StorageType::Memory;
            config.retention = async_nats::jetstream::stream::RetentionPolicy::Interest;
            config.duplicate_window = Duration::from_secs(1);
            config.max_messages_per_subject = 5;
        })
        .await;
    let device = Device::new("kiosk-1");
    let options = NatsOptions {
        subject: "edupulse.events.{event_type}".parse().unwrap(),
        ..options(&server)
    };
    let guarantee = connect(options, &device).await.unwrap().guarantee();
    assert_eq!(guarantee.level, GuaranteeLevel::AtLeastOnce);
    let all = guarantee.unmet.join("\n");
    for word in [
        "limits retention",
        "file storage",
        "duplicate window",
        "max_msgs_per_subject",
    ] {
        assert!(all.contains(word), "{word}: {all}");
    }
    assert!(all.contains("`{device}` a token of its own"), "{all}");
}

#[tokio::test]
async fn a_subject_mapping_that_hides_what_was_confirmed_lowers_the_promise() {
    let server = NatsServer::with(
        "jetstream { store_dir: \"$DIR/store\" }\n\
         mappings = { \"edupulse.events.*.>\": \"edupulse.events.elsewhere.$1.>\" }",
    );
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.parcels([1])).await;
    let guarantee = session.guarantee();
    assert_eq!(guarantee.level, GuaranteeLevel::AtLeastOnce);
    assert!(
        guarantee.unmet[0].contains("could not be found again"),
        "{guarantee:?}"
    );
}

#[tokio::test]
async fn a_missing_stream_is_created_where_that_is_wanted_and_only_once() {
    let server = NatsServer::start();
    let device = Device::new("kiosk-1");
    let options = NatsOptions {
        stream: Some("EVENTS".into()),
        create_stream: true,
        ..options(&server)
    };
    for seq in 1..=2 {
        let mut session = connect(options.clone(), &device).await.unwrap();
        deliver(&mut session, &device.parcels([seq])).await;
        assert_eq!(session.guarantee().level, GuaranteeLevel::ExactlyOnce);
    }
    let context = server.jetstream().await;
    let config = context
        .get_stream("EVENTS")
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    assert_eq!(config.subjects, ["edupulse.events.*.>"]);
    assert_eq!(config.duplicate_window, Duration::from_secs(120));
}

#[tokio::test]
async fn core_nats_confirms_what_the_server_has_read_and_promises_less() {
    let server = NatsServer::with("");
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut listener = client.subscribe("edupulse.events.>").await.unwrap();
    client.flush().await.unwrap();
    let device = Device::new("kiosk-1");
    let options = NatsOptions {
        mode: NatsMode::Core,
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    assert_eq!(session.guarantee().level, GuaranteeLevel::AtMostOnce);
    let parcels = device.parcels(1..=300);
    let positions = deliver(&mut session, &parcels).await;
    assert!(positions.iter().all(|position| *position == Position(0)));
    for parcel in &parcels {
        let message = futures_util::StreamExt::next(&mut listener).await.unwrap();
        assert_eq!(message.payload, parcel.body);
    }
    let large = device.parcel_of(
        301,
        QUIZ,
        format!("\"{}\"", "x".repeat(2_000_000)).as_bytes(),
    );
    send(&mut session, &[large]).await;
    assert_eq!(refused(&mut session).await.1.code, "payload_too_large");
}

#[tokio::test]
async fn an_idle_session_tells_at_once_that_the_server_went_away() {
    for mode in [NatsMode::JetStream, NatsMode::Core] {
        let mut server = NatsServer::start();
        server.create_stream(|_| {}).await;
        let device = Device::new("kiosk-1");
        let options = NatsOptions {
            mode,
            ..options(&server)
        };
        let mut session = connect(options, &device).await.unwrap();
        server.kill();
        let error = lost(&mut session).await;
        assert_eq!((error.kind, error.code), (ErrorKind::Retry, "disconnected"));
    }
}

#[tokio::test]
async fn an_outcome_is_told_even_if_an_earlier_wait_for_it_was_dropped() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
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
}
