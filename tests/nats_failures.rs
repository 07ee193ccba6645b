//! What goes wrong with a server, each told once as retry, reject or halt, with what to do.

#![cfg(feature = "nats")]
mod support;

use std::time::{Duration, Instant};

use edge_outbox::{
    secret::Secret,
    seq::Seq,
    sink::{
        ErrorKind, Outcome, SinkError,
        nats::{NatsAuth, NatsMode, NatsOptions},
    },
    status::GuaranteeLevel,
};
use support::{
    conversation::{connect, deliver, lost, next, options, options_for, refusal, send, stored},
    device::{Device, QUIZ},
    nats_server::NatsServer,
};

#[track_caller]
fn assert_error(error: &SinkError, kind: ErrorKind, code: &str, hint: &str) {
    assert_eq!((error.kind, error.code), (kind, code), "{error:?}");
    let said = error.hint.as_deref().unwrap_or_default();
    assert!(said.contains(hint), "{error:?}");
    assert!(
        !error.message.ends_with('.') && !error.message.contains('\n'),
        "{error:?}"
    );
}

fn device() -> Device {
    Device::new("kiosk-1")
}

/// A server where user `kiosk` may do only what is listed.
fn server_permitting(publish: &str, subscribe: &str) -> NatsServer {
    NatsServer::with(&format!(
        "jetstream {{ store_dir: \"$DIR/store\" }}\n\
         authorization {{ users = [\n\
         {{ user: admin, password: secret }}\n\
         {{ user: kiosk, password: secret, permissions: {{ \
         publish: [{publish}], subscribe: [{subscribe}] }} }}\n] }}"
    ))
}

fn as_kiosk(server: &NatsServer) -> NatsOptions {
    NatsOptions {
        auth: NatsAuth::User {
            name: "kiosk".into(),
            password: Secret::new("secret"),
        },
        ..options(server)
    }
}

async fn create_stream_as_admin(server: &NatsServer) {
    let options =
        async_nats::ConnectOptions::with_user_and_password("admin".into(), "secret".into());
    let client = options.connect(server.url()).await.unwrap();
    let stream = support::nats_server::events_stream();
    async_nats::jetstream::new(client)
        .create_stream(stream)
        .await
        .unwrap();
}

#[tokio::test]
async fn no_server_is_a_retry() {
    let mut server = NatsServer::start();
    server.stop();
    let error = refusal(options(&server), &device()).await;
    assert_error(&error, ErrorKind::Retry, "unreachable", "`servers`");
    assert!(error.message.contains(&server.url()), "{error}");
}

#[tokio::test]
async fn one_server_of_several_is_enough() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let device = device();
    for seq in 1..=10 {
        let servers = [format!("nats://{dead}"), server.url()]
            .map(Secret::new)
            .to_vec();
        let options = NatsOptions {
            servers,
            ..NatsOptions::default()
        };
        let mut session = connect(options, &device).await.unwrap();
        deliver(&mut session, &device.parcels([seq])).await;
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_retry_that_names_it() {
    let error = refusal(options_for("nats://broker.invalid:4222"), &device()).await;
    assert_error(&error, ErrorKind::Retry, "name_not_resolved", "`servers`");
    assert!(error.message.contains("broker.invalid"), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let began = Instant::now();
    let options = NatsOptions {
        connect_timeout: Duration::from_millis(600),
        ..options_for(&url)
    };
    let error = refusal(options, &device()).await;
    assert_error(&error, ErrorKind::Retry, "unreachable", "");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn no_stream_is_a_halt_that_says_how_to_get_one() {
    let server = NatsServer::start();
    let error = refusal(options(&server), &device()).await;
    assert_error(
        &error,
        ErrorKind::Halt,
        "no_stream",
        "`create_stream = true`",
    );
    assert!(
        error.message.contains("edupulse.events.kiosk-1.>"),
        "{error}"
    );
    let named = NatsOptions {
        stream: Some("EVENTS".into()),
        ..options(&server)
    };
    let error = refusal(named, &device()).await;
    assert_error(&error, ErrorKind::Halt, "no_stream", "`stream`");
}

#[tokio::test]
async fn a_server_without_jetstream_is_a_halt() {
    let server = NatsServer::with("");
    let error = refusal(options(&server), &device()).await;
    assert_error(&error, ErrorKind::Halt, "no_jetstream", "mode = \"core\"");
}

#[tokio::test]
async fn an_account_without_jetstream_is_a_halt() {
    let server = NatsServer::with(
        "jetstream { store_dir: \"$DIR/store\" }\n\
         accounts { A { jetstream: enabled, users: [{user: a, password: a}] }, \
         B { users: [{user: kiosk, password: secret}] } }",
    );
    let error = refusal(as_kiosk(&server), &device()).await;
    assert_error(&error, ErrorKind::Halt, "no_jetstream", "JetStream");
}

#[tokio::test]
async fn a_stream_that_does_not_take_the_subject_is_a_halt() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let other = |config: &mut async_nats::jetstream::stream::Config| {
        config.name = "OTHER".into();
        config.subjects = vec!["other.>".into()];
    };
    server.create_stream(other).await;
    let options = NatsOptions {
        stream: Some("OTHER".into()),
        ..options(&server)
    };
    let mut session = connect(options, &device()).await.unwrap();
    send(&mut session, &device().parcels([1])).await;
    assert_error(
        &lost(&mut session).await,
        ErrorKind::Halt,
        "wrong_stream",
        "`stream`",
    );
}

#[tokio::test]
async fn a_stream_deleted_in_mid_session_is_a_loss_and_then_a_halt() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.parcels([1])).await;
    server
        .jetstream()
        .await
        .delete_stream("EVENTS")
        .await
        .unwrap();
    send(&mut session, &device.parcels([2])).await;
    assert_error(
        &lost(&mut session).await,
        ErrorKind::Retry,
        "no_responders",
        "",
    );
    let error = refusal(options(&server), &device).await;
    assert_error(&error, ErrorKind::Halt, "no_stream", "create");
}

#[tokio::test]
async fn a_stream_recreated_in_mid_session_ends_it() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.parcels(1..=5)).await;
    let mut session = connect(options(&server), &device).await.unwrap();
    server
        .jetstream()
        .await
        .delete_stream("EVENTS")
        .await
        .unwrap();
    server.create_stream(|_| {}).await;
    send(&mut session, &device.parcels([6])).await;
    assert_eq!(stored(&mut session).await.0, Seq::new(6));
    assert_error(
        &lost(&mut session).await,
        ErrorKind::Retry,
        "stream_recreated",
        "",
    );
}

#[tokio::test]
async fn a_stream_that_cannot_confirm_is_a_halt() {
    let server = NatsServer::start();
    server.create_stream(|config| config.no_ack = true).await;
    let error = refusal(options(&server), &device()).await;
    assert_error(&error, ErrorKind::Halt, "stream_unusable", "`no_ack`");
}

#[tokio::test]
async fn several_streams_for_one_device_have_to_be_told_apart() {
    let server = NatsServer::start();
    for (name, kind) in [("QUIZZES", "quiz"), ("LESSONS", "lesson")] {
        server
            .create_stream(|config| {
                config.name = name.into();
                config.subjects = vec![format!("edupulse.events.*.{kind}.>")];
            })
            .await;
    }
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    let guarantee = session.guarantee();
    assert_eq!(guarantee.level, GuaranteeLevel::AtLeastOnce);
    assert!(
        guarantee.unmet.join(" ").contains("several streams"),
        "{guarantee:?}"
    );
    let lesson = device.parcel_of(2, "lesson.published.v1", b"{}");
    // Two streams answer in no order between them.
    send(&mut session, &[device.parcel(1), lesson]).await;
    let mut seqs = [stored(&mut session).await.0, stored(&mut session).await.0];
    seqs.sort();
    assert_eq!(seqs, [Seq::new(1), Seq::new(2)]);
}

#[tokio::test]
async fn wrong_credentials_are_a_halt() {
    let server = server_permitting("\">\"", "\">\"");
    for auth in [
        NatsAuth::None,
        NatsAuth::User {
            name: "kiosk".into(),
            password: Secret::new("wrong"),
        },
        NatsAuth::Token(Secret::new("wrong")),
    ] {
        let options = NatsOptions {
            auth,
            ..options(&server)
        };
        let error = refusal(options, &device()).await;
        assert_error(&error, ErrorKind::Halt, "not_authorized", "`password_file`");
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    }
}

#[tokio::test]
async fn no_right_to_publish_is_a_halt_in_either_mode() {
    let server = server_permitting("\"$JS.API.>\", \"_INBOX.>\"", "\"_INBOX.>\"");
    create_stream_as_admin(&server).await;
    for mode in [NatsMode::JetStream, NatsMode::Core] {
        let options = NatsOptions {
            mode,
            ..as_kiosk(&server)
        };
        let mut session = connect(options, &device()).await.unwrap();
        send(&mut session, &device().parcels(1..=500)).await;
        let error = lost(&mut session).await;
        let subject = format!("edupulse.events.kiosk-1.{QUIZ}");
        assert_error(&error, ErrorKind::Halt, "publish_not_permitted", &subject);
    }
}

#[tokio::test]
async fn no_right_to_hear_answers_is_a_halt() {
    let server = server_permitting("\">\"", "\"nothing\"");
    create_stream_as_admin(&server).await;
    let error = refusal(as_kiosk(&server), &device()).await;
    assert_error(&error, ErrorKind::Halt, "reply_not_permitted", "_INBOX.>");
}

#[tokio::test]
async fn with_the_right_to_publish_alone_events_arrive_at_least_once() {
    let server = server_permitting("\"edupulse.events.kiosk-1.>\"", "\"_INBOX.>\"");
    create_stream_as_admin(&server).await;
    let device = device();
    for stream in [None, Some("EVENTS".to_owned())] {
        let options = NatsOptions {
            stream,
            ..as_kiosk(&server)
        };
        let began = Instant::now();
        let mut session = connect(options, &device).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "a denied question is not waited for"
        );
        let guarantee = session.guarantee();
        assert_eq!(guarantee.level, GuaranteeLevel::AtLeastOnce);
        assert!(
            guarantee.unmet[0].contains("$JS.API.STREAM."),
            "{guarantee:?}"
        );
        deliver(&mut session, &device.parcels([1])).await;
    }
}

#[tokio::test]
async fn without_the_right_to_read_back_events_arrive_at_least_once() {
    let server = server_permitting(
        "\"edupulse.events.kiosk-1.>\", \"$JS.API.STREAM.INFO.EVENTS\", \"$JS.API.STREAM.NAMES\"",
        "\"_INBOX.>\"",
    );
    create_stream_as_admin(&server).await;
    let device = device();
    let mut session = connect(as_kiosk(&server), &device).await.unwrap();
    let guarantee = session.guarantee();
    assert_eq!(guarantee.level, GuaranteeLevel::AtLeastOnce);
    assert_eq!(
        guarantee.unmet,
        ["allow this user to publish to `$JS.API.STREAM.MSG.GET.EVENTS`"]
    );
    let parcels = device.parcels(1..=3);
    let floor = deliver(&mut session, &parcels).await[0];
    let doubt = device.doubt(&parcels, floor, session.incarnation());
    let answer = session.read_back(&doubt).await.unwrap();
    assert!(answer.found.is_empty() && !answer.complete);
}

#[tokio::test]
async fn a_server_killed_in_mid_batch_and_back_after_the_duplicate_window_stores_each_once() {
    const WINDOW: Duration = Duration::from_millis(100);
    let mut server = NatsServer::start();
    server
        .create_stream(|config| config.duplicate_window = WINDOW)
        .await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    let incarnation = session.incarnation();
    let parcels = device.parcels(1..=1_000);
    send(&mut session, &parcels).await;
    let mut confirmed = Vec::new();
    let error = loop {
        match next(&mut session).await {
            Outcome::Stored { seq, .. } => confirmed.push(seq),
            Outcome::Lost(error) => break error,
            other => panic!("{other:?}"),
        }
        if confirmed.len() == 100 {
            server.kill();
        }
    };
    assert_error(&error, ErrorKind::Retry, "disconnected", "");
    tokio::time::sleep(3 * WINDOW).await;
    server.start_again();

    let mut session = connect(options(&server), &device).await.unwrap();
    let doubt = device.doubt(&parcels, edge_outbox::sink::Position(0), incarnation);
    let answer = session.read_back(&doubt).await.unwrap();
    assert!(answer.complete);
    let found: Vec<Seq> = answer.found.iter().map(|(seq, _)| *seq).collect();
    assert!(confirmed.iter().all(|seq| found.contains(seq)));
    let missing: Vec<_> = parcels
        .iter()
        .filter(|parcel| !found.contains(&parcel.seq))
        .cloned()
        .collect();
    deliver(&mut session, &missing).await;
    let stream = server.jetstream().await.get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1_000);
}

#[tokio::test]
async fn nothing_that_was_queued_leaves_after_the_connection_was_lost() {
    let mut server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.parcels([1])).await;
    server.kill();
    send(&mut session, &device.parcels(2..=20)).await;
    lost(&mut session).await;
    let _ = session.send(device.parcel(21)).await;
    server.start_again();
    // The client would be back within milliseconds, if it were let.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stream = server.jetstream().await.get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
}

#[tokio::test]
async fn a_frozen_server_is_a_retry_once_patience_ends() {
    for mode in [NatsMode::JetStream, NatsMode::Core] {
        let mut server = NatsServer::start();
        server.create_stream(|_| {}).await;
        let options = NatsOptions {
            mode,
            ack_timeout: Duration::from_millis(500),
            ..options(&server)
        };
        let mut session = connect(options, &device()).await.unwrap();
        server.freeze();
        send(&mut session, &device().parcels([1])).await;
        assert_error(&lost(&mut session).await, ErrorKind::Retry, "no_answer", "");
        server.thaw();
    }
}

#[tokio::test]
async fn a_server_about_to_shut_down_is_left_at_once() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let mut session = connect(options(&server), &device()).await.unwrap();
    server.become_lame_duck();
    assert_error(
        &lost(&mut session).await,
        ErrorKind::Retry,
        "server_leaving",
        "",
    );
}
