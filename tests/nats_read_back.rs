//! What of an in-doubt range arrived is read back from the stream, never guessed.

#![cfg(feature = "nats")]
mod support;

use edge_outbox::{
    seq::Seq,
    sink::{InDoubt, Incarnation, Parcel, Position, ReadBack, nats::NatsOptions},
    status::GuaranteeLevel,
};
use support::{
    conversation::{connect, deliver, options, send},
    device::{Device, QUIZ},
    nats_server::NatsServer,
};

fn seqs(answer: &ReadBack) -> Vec<u64> {
    answer.found.iter().map(|(seq, _)| seq.get()).collect()
}

async fn read_back(server: &NatsServer, device: &Device, doubt: &InDoubt) -> ReadBack {
    let mut session = connect(options(server), device).await.unwrap();
    session.read_back(doubt).await.unwrap()
}

#[tokio::test]
async fn exactly_what_is_stored_is_found_holes_and_all() {
    let server = NatsServer::start();
    server
        .create_stream(|config| config.max_message_size = 2_000)
        .await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let (incarnation, settled) = (session.incarnation(), device.parcels(1..=10));
    let floor = *deliver(&mut session, &settled).await.last().unwrap();

    // 300 in flight; some are refused, the last 50 never leave, and then the power fails.
    let mut parcels: Vec<Parcel> = device.parcels(11..=360);
    for hole in [0, 7, 100, 101, 299] {
        let payload = format!("\"{}\"", "x".repeat(4_000));
        let seq = parcels[hole].seq.get();
        parcels[hole] = device.parcel_of(seq, QUIZ, payload.as_bytes());
    }
    send(&mut session, &parcels[..300]).await;
    for _ in 0..300 {
        session.next().await;
    }
    drop(session);

    let answer = read_back(
        &server,
        &device,
        &device.doubt(&parcels, floor, incarnation),
    )
    .await;
    let holes = [11, 18, 111, 112, 310];
    let expected: Vec<u64> = (11..=310).filter(|seq| !holes.contains(seq)).collect();
    assert_eq!(seqs(&answer), expected);
    let positions: Vec<u64> = answer
        .found
        .iter()
        .map(|(_, position)| position.0)
        .collect();
    assert_eq!(positions, (11..=305).collect::<Vec<u64>>());
    assert!(answer.complete && answer.foreign.is_empty());
}

#[tokio::test]
async fn other_devices_messages_in_between_change_nothing() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let devices = [
        Device::new("kiosk-1"),
        Device::new("kiosk-11"),
        Device::new("kiosk"),
    ];
    let mut sessions = Vec::new();
    for device in &devices {
        sessions.push(connect(options(&server), device).await.unwrap());
    }
    let ours = devices[0].parcels(1..=60);
    for (at, parcel) in ours.iter().enumerate() {
        deliver(&mut sessions[0], std::slice::from_ref(parcel)).await;
        // Close together at first, far apart later on.
        for seq in 0..(at as u64 / 4) {
            let other = &devices[1 + at % 2];
            let parcel = other.parcel(at as u64 * 100 + seq + 1);
            deliver(&mut sessions[1 + at % 2], &[parcel]).await;
        }
    }
    let incarnation = sessions[0].incarnation();
    let doubt = devices[0].doubt(&ours, Position(0), incarnation);
    let answer = read_back(&server, &devices[0], &doubt).await;
    assert_eq!(seqs(&answer), (1..=60).collect::<Vec<u64>>());
    assert!(answer.complete && answer.foreign.is_empty());
}

#[tokio::test]
async fn nothing_at_or_below_the_floor_is_looked_at() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let parcels = device.parcels(1..=20);
    deliver(&mut session, &parcels).await;
    let doubt = device.doubt(&parcels, Position(15), session.incarnation());
    assert_eq!(
        seqs(&read_back(&server, &device, &doubt).await),
        [16, 17, 18, 19, 20]
    );
}

#[tokio::test]
async fn a_device_that_has_seen_no_incarnation_yet_finds_its_first_events() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let parcels = device.parcels(1..=5);
    deliver(&mut session, &parcels[..3]).await;
    let doubt = device.doubt(&parcels, Position(0), Incarnation::default());
    let answer = read_back(&server, &device, &doubt).await;
    assert_eq!(seqs(&answer), [1, 2, 3]);
    assert!(answer.complete);
}

#[tokio::test]
async fn a_message_id_alone_proves_nothing() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let parcels = device.parcels(1..=2);
    let altered = String::from_utf8(parcels[1].body.to_vec())
        .unwrap()
        .replace("7}", "8}");
    let context = server.jetstream().await;
    for (parcel, body) in parcels.iter().zip(["{}", altered.as_str()]) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", parcel.digest.to_base64url());
        let subject = format!("edupulse.events.kiosk-1.{QUIZ}");
        let body = body.to_owned().into();
        context
            .publish_with_headers(subject, headers, body)
            .await
            .unwrap()
            .await
            .unwrap();
    }
    let doubt = device.doubt(&parcels, Position(0), Incarnation::default());
    let answer = read_back(&server, &device, &doubt).await;
    assert!(answer.found.is_empty() && answer.foreign.is_empty());
}

#[tokio::test]
async fn another_journal_under_our_epoch_is_told_with_and_without_doubt() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let incarnation = session.incarnation();
    let clones = [
        device.parcel_of(3, QUIZ, b"1"),
        device.parcel_of(9, QUIZ, b"2"),
    ];
    deliver(&mut session, &device.parcels(1..=2)).await;
    deliver(&mut session, &clones).await;
    // What the device wrote under another epoch is its own affair.
    let other_epoch = Device::new("kiosk-1");
    deliver(&mut session, &other_epoch.parcels(3..=20)).await;

    let ours = device.parcels(3..=4);
    let answer = read_back(
        &server,
        &device,
        &device.doubt(&ours, Position(2), incarnation),
    )
    .await;
    assert!(answer.found.is_empty());
    let foreign: Vec<_> = clones
        .iter()
        .map(|parcel| (parcel.seq, parcel.digest))
        .collect();
    assert!(answer.foreign == foreign);

    let idle = InDoubt {
        acked: Seq::new(8),
        ..device.doubt(&[], Position(2), incarnation)
    };
    assert!(read_back(&server, &device, &idle).await.foreign == foreign[1..]);
    let settled = InDoubt {
        acked: Seq::new(9),
        ..device.doubt(&[], Position(2), incarnation)
    };
    assert!(
        read_back(&server, &device, &settled)
            .await
            .foreign
            .is_empty()
    );
}

#[tokio::test]
async fn after_a_purge_what_is_gone_is_not_called_absent() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let parcels = device.parcels(1..=6);
    deliver(&mut session, &parcels).await;
    stream.purge().sequence(4).await.unwrap();
    let doubt = device.doubt(&parcels, Position(0), session.incarnation());

    let mut session = connect(options(&server), &device).await.unwrap();
    let answer = session.read_back(&doubt).await.unwrap();
    assert_eq!(seqs(&answer), [4, 5, 6]);
    assert!(!answer.complete);
    let guarantee = session.guarantee();
    assert_eq!(guarantee.level, GuaranteeLevel::AtLeastOnce);
    assert!(guarantee.unmet[0].contains("no purge"), "{guarantee:?}");

    // What is still there above the floor is a complete answer.
    let doubt = device.doubt(&parcels[3..], Position(3), session.incarnation());
    assert!(read_back(&server, &device, &doubt).await.complete);
}

#[tokio::test]
async fn a_recreated_stream_is_another_incarnation_in_which_nothing_is_found() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let parcels = device.parcels(1..=3);
    deliver(&mut session, &parcels).await;
    let old = session.incarnation();
    server
        .jetstream()
        .await
        .delete_stream("EVENTS")
        .await
        .unwrap();
    server.create_stream(|_| {}).await;

    let mut session = connect(options(&server), &device).await.unwrap();
    assert_ne!(session.incarnation(), old);
    assert_eq!(session.head(), Position(0));
    let answer = session
        .read_back(&device.doubt(&parcels, Position(1), old))
        .await
        .unwrap();
    assert!(answer.found.is_empty() && !answer.complete);
    deliver(&mut session, &parcels).await;
}

#[tokio::test]
async fn a_subject_without_the_device_cannot_be_read_back() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = Device::new("kiosk-1");
    let shared = NatsOptions {
        subject: "edupulse.events.{event_type}".parse().unwrap(),
        ..options(&server)
    };
    let mut session = connect(shared, &device).await.unwrap();
    let parcels = device.parcels(1..=3);
    deliver(&mut session, &parcels).await;
    let doubt = device.doubt(&parcels, Position(0), session.incarnation());
    let answer = session.read_back(&doubt).await.unwrap();
    assert!(answer.found.is_empty() && !answer.complete);
}
