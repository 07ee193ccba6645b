//! `edge-outbox doctor` at a real nats-server: everything well, what is only a warning, and the
//! probe.

#![cfg(all(feature = "cli", feature = "nats"))]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use futures_util::StreamExt as _;
use support::{
    doctor::Report,
    nats_server::{NatsServer, events_stream},
    program::{Home, lines},
};

/// A home of `kiosk-7` with a sink at this server that has these keys, too.
fn home(server: &NatsServer, keys: &str) -> Home {
    Home::with_config(&format!(
        "[device]\nname = \"kiosk-7\"\n[sinks.hub]\ntype = \"nats\"\nservers = [\"{}\"]\n\
         start_jitter = \"0 ms\"\n{keys}",
        server.url()
    ))
}

/// A server where user `kiosk` may publish to these subjects alone, and a home with a sink there.
fn guarded(publish: &str, keys: &str) -> (NatsServer, Home) {
    let server = NatsServer::with(&format!(
        "jetstream {{ store_dir: \"$DIR/store\" }}\n\
         authorization {{ users = [ {{ user: admin, password: secret }}\n\
         {{ user: kiosk, password: secret, \
         permissions: {{ publish: [{publish}], subscribe: [\"_INBOX.>\"] }} }} ] }}"
    ));
    let keys = format!("user = \"kiosk\"\npassword_file = \"password\"\n{keys}");
    let home = home(&server, &keys);
    let path = home.path("password");
    fs::write(&path, "secret").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (server, home)
}

async fn as_admin(server: &NatsServer) -> async_nats::Client {
    let options =
        async_nats::ConnectOptions::with_user_and_password("admin".into(), "secret".into());
    options.connect(server.url()).await.unwrap()
}

fn look(home: &Home, flags: &[&str]) -> Report {
    Report::of(home, &[&["--sink", "hub"], flags].concat())
}

const NONE: [String; 0] = [];

#[tokio::test]
async fn a_good_stream_is_ok_in_every_respect_and_stores_no_probe() {
    let server = NatsServer::start();
    let mut stream = server.create_stream(|_| {}).await;
    let home = home(&server, "");
    let report = look(&home, &["--probe"]);
    assert_eq!(report.with_verdict("ok").len(), report.findings.len());
    let checks: Vec<_> = report.with_verdict("ok");
    let expected = [
        "sink.resolve",
        "sink.reach",
        "sink.tls",
        "sink.login",
        "sink.size",
        "nats.stream",
        "nats.subjects",
        "nats.retention",
        "nats.limits",
        "nats.duplicates",
        "nats.storage",
        "nats.read_back",
        "sink.publish",
    ];
    assert_eq!(checks, expected);
    report.assert(
        "sink.publish",
        "ok",
        "edupulse.events.kiosk-7.outbox.probe.v1",
    );
    assert_eq!(stream.info().await.unwrap().state.last_sequence, 0);
}

#[tokio::test]
async fn without_a_probe_the_right_to_publish_is_known_once_something_was_delivered() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let home = home(&server, "");
    let report = look(&home, &[]);
    assert_eq!(report.with_verdict("warn"), ["sink.publish"]);
    report.assert("sink.publish", "warn", "--probe");

    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "caught_up");
    let report = look(&home, &[]);
    report.assert("sink.delivery", "ok", "everything delivered, 0 pending");
    report.assert("sink.publish", "ok", "last delivery was at 20");
    drop(daemon);
    // Without the daemon, by what the stream holds.
    let report = look(&home, &[]);
    report.assert("nats.read_back", "ok", "finds events of this device");
    report.assert("sink.publish", "ok", "are in the stream");
}

#[tokio::test]
async fn what_breaks_exactly_once_or_bites_soon_is_a_warning_at_its_check() {
    type Change = fn(&mut Config);
    let cases: [(&str, &str, Change); 7] = [
        ("nats.storage", "file storage", |it| {
            it.storage = StorageType::Memory;
        }),
        ("nats.duplicates", "120s", |it| {
            it.duplicate_window = Duration::from_secs(5);
        }),
        ("nats.retention", "limits retention", |it| {
            it.retention = RetentionPolicy::WorkQueue;
        }),
        ("nats.limits", "max_msgs_per_subject", |it| {
            it.max_messages_per_subject = 1;
        }),
        ("nats.limits", "`max_age`", |it| {
            it.max_age = Duration::from_secs(600);
        }),
        ("sink.size", "`max_msg_size`", |it| {
            it.max_message_size = 10_000;
        }),
        ("nats.subjects", "may be only a part", |it| {
            it.subjects = vec!["edupulse.events.*.quiz.>".into()];
        }),
    ];
    let server = NatsServer::start();
    for (check, words, change) in cases {
        let stream = server.create_stream(change).await;
        let report = look(&home(&server, "stream = \"EVENTS\""), &["--probe"]);
        let mut warned = report.with_verdict("warn");
        // The narrow stream is none for the probe.
        if check == "nats.subjects" {
            assert_eq!(report.failed(), ["sink.publish"]);
        } else {
            assert_eq!(report.failed(), NONE);
        }
        warned.dedup();
        assert_eq!(warned, [check]);
        report.assert(check, "warn", words);
        let name = stream.cached_info().config.name.clone();
        server.jetstream().await.delete_stream(name).await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_is_full_soon_and_one_for_other_subjects_are_told() {
    let server = NatsServer::start();
    let stream = server
        .create_stream(|it| {
            it.max_messages = 100;
            it.discard = DiscardPolicy::New;
        })
        .await;
    let home = home(&server, "stream = \"EVENTS\"");
    look(&home, &[]).assert("nats.limits", "ok", "refuses what is new");
    let jetstream = server.jetstream().await;
    for _ in 0..95 {
        let sent = jetstream.publish("edupulse.events.x", "".into()).await;
        sent.unwrap().await.unwrap();
    }
    look(&home, &[]).assert("nats.limits", "warn", "nearly full: 95 messages");

    let name = stream.cached_info().config.name.clone();
    jetstream.delete_stream(name).await.unwrap();
    server
        .create_stream(|it| it.subjects = vec!["elsewhere.>".into()])
        .await;
    let report = look(&home, &[]);
    report.assert("nats.subjects", "fail", "add `edupulse.events.kiosk-7.>`");
}

#[tokio::test]
async fn a_stream_that_may_be_created_is_not_created_here() {
    let keys = "stream = \"EVENTS\"\ncreate_stream = true\n";
    let (server, home) = guarded("\">\"", keys);
    look(&home, &[]).assert("nats.stream", "ok", "is not there yet");
    let jetstream = async_nats::jetstream::new(as_admin(&server).await);
    assert!(jetstream.get_stream("EVENTS").await.is_err());

    let may_ask = "\"$JS.API.STREAM.INFO.>\", \"edupulse.>\"";
    let (_server, home) = guarded(may_ask, keys);
    let report = look(&home, &[]);
    report.assert("nats.stream", "fail", "$JS.API.STREAM.CREATE.EVENTS");
    assert_eq!(report.only("nats.stream")["code"], "stream_not_created");
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_at_its_step() {
    let (server, home) = guarded(
        "\"$JS.API.STREAM.INFO.>\", \"edupulse.>\"",
        "stream = \"EVENTS\"",
    );
    let jetstream = async_nats::jetstream::new(as_admin(&server).await);
    jetstream.create_stream(events_stream()).await.unwrap();
    let report = look(&home, &["--probe"]);
    assert_eq!(report.failed(), NONE);
    report.assert("nats.read_back", "warn", "$JS.API.STREAM.MSG.GET.EVENTS");

    let (server, home) = guarded("\"$JS.API.>\"", "stream = \"EVENTS\"");
    let jetstream = async_nats::jetstream::new(as_admin(&server).await);
    jetstream.create_stream(events_stream()).await.unwrap();
    let report = look(&home, &["--probe"]);
    assert_eq!(report.failed(), ["sink.publish"]);
    assert_eq!(report.only("sink.publish")["code"], "publish_not_permitted");
    report.assert("sink.publish", "fail", "allow this user to publish to");
}

#[tokio::test]
async fn in_core_mode_a_subscriber_sees_what_the_probe_is_and_only_with_the_flag() {
    let (server, home) = guarded("\"edupulse.>\", \"_INBOX.>\"", "mode = \"core\"");
    let client = as_admin(&server).await;
    let mut subscription = client.subscribe("edupulse.>").await.unwrap();
    client.flush().await.unwrap();
    let report = look(&home, &[]);
    report.assert("nats.stream", "warn", "mode = \"jetstream\"");
    report.assert("sink.publish", "warn", "--probe");
    let report = look(&home, &["--probe"]);
    report.assert("sink.publish", "ok", "was read by the server");
    let message = subscription.next().await.unwrap();
    assert_eq!(
        message.subject.as_str(),
        "edupulse.events.kiosk-7.outbox.probe.v1"
    );
    let headers = message.headers.unwrap();
    let said = headers.get("Edge-Outbox-Probe").unwrap().as_str();
    assert_eq!((said, message.payload.len()), ("not an event", 0));

    for (allowed, denied) in [("_INBOX.>", "edupulse."), ("edupulse.>", "_INBOX.")] {
        let (_server, home) = guarded(&format!("{allowed:?}"), "mode = \"core\"");
        let report = look(&home, &["--probe"]);
        assert_eq!(report.only("sink.publish")["code"], "publish_not_permitted");
        report.assert("sink.publish", "fail", denied);
    }
}

#[test]
fn one_dead_server_of_two_is_a_warning() {
    let server = NatsServer::start();
    let dead = support::server_process::free_port();
    let home = Home::with_config(&format!(
        "[sinks.hub]\ntype = \"nats\"\nmode = \"core\"\n\
         servers = [\"{}\", \"nats://127.0.0.1:{dead}\"]\n",
        server.url()
    ));
    let report = look(&home, &[]);
    assert_eq!(report.failed(), NONE);
    report.assert("sink.reach", "warn", &format!("nats://127.0.0.1:{dead}"));
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::with_config(&format!(
        "[sinks.hub]\ntype = \"nats\"\nservers = [\"nats://{}\"]\n",
        listener.local_addr().unwrap()
    ));
    let began = std::time::Instant::now();
    look(&home, &[]).assert("sink.reach", "fail", "timed out");
    assert!(began.elapsed() < Duration::from_secs(8));
}
