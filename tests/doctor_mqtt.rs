//! `edge-outbox doctor` at a real mosquitto: everything well, the probe, and a daemon that is not
//! disturbed.

#![cfg(all(feature = "cli", feature = "mqtt"))]
mod support;

use std::fs;

use support::{
    doctor::Report,
    mosquitto::MosquittoServer,
    mqtt::EVERYTHING,
    program::{Home, lines},
    subscriber::Subscriber,
};

/// A home of `kiosk-7` with a sink at this broker that has these keys, too.
fn home(server: &MosquittoServer, keys: &str) -> Home {
    Home::with_config(&format!(
        "[device]\nname = \"kiosk-7\"\n[sinks.hub]\ntype = \"mqtt\"\nservers = [\"{}\"]\n\
         start_jitter = \"0 ms\"\n{keys}",
        server.url()
    ))
}

fn look(home: &Home, flags: &[&str]) -> Report {
    Report::of(home, &[&["--sink", "hub"], flags].concat())
}

const NONE: [String; 0] = [];

#[test]
fn a_good_broker_with_a_subscriber_is_ok_in_every_respect_and_the_probe_says_what_it_is() {
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    for (sent, qos) in [(1, 1), (2, 2)] {
        let report = look(&home(&server, &format!("qos = {qos}")), &["--probe"]);
        let expected = [
            "sink.resolve",
            "sink.reach",
            "sink.tls",
            "sink.login",
            "sink.size",
            "mqtt.version",
            "mqtt.qos",
            "mqtt.window",
            "sink.publish",
            "mqtt.subscribers",
        ];
        assert_eq!(report.with_verdict("ok"), expected);
        assert_eq!(report.findings.len(), expected.len());
        let messages = subscriber.wait_for(sent);
        let probe = messages.last().unwrap();
        assert_eq!(probe.topic, "edupulse/events/kiosk-7/outbox.probe.v1");
        assert!(!probe.retain);
        assert_eq!(
            probe.user_property("edge-outbox-probe"),
            Some("not an event")
        );
        assert!(String::from_utf8_lossy(&probe.payload).contains("not an event"));
        assert!(serde_json::from_slice::<serde_json::Value>(&probe.payload).is_err());
    }
}

#[test]
fn nothing_is_sent_without_the_flag_and_the_daemon_is_not_disturbed() {
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let home = home(&server, "");
    let report = look(&home, &[]);
    assert_eq!(report.with_verdict("warn"), ["sink.publish"]);
    report.assert("sink.login", "ok", "as client edge-outbox-kiosk-7");
    assert_eq!(subscriber.count(), 0);

    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "caught_up");
    let report = look(&home, &[]);
    report.assert("sink.login", "ok", "as client edge-outbox-kiosk-7-doctor");
    report.assert("sink.publish", "ok", "last delivery was at 20");
    assert_eq!(report.with_verdict("warn"), NONE);
    assert!(
        !server.log().contains("already connected"),
        "{}",
        server.log()
    );
    assert_eq!(daemon.stop().0, 0);
    assert_eq!(subscriber.count(), 4);
}

#[test]
fn a_probe_that_nobody_subscribes_to_is_a_warning_unless_that_is_accepted() {
    let server = MosquittoServer::start();
    let report = look(&home(&server, ""), &["--probe"]);
    assert_eq!(report.with_verdict("warn"), ["mqtt.subscribers"]);
    assert_eq!(report.only("mqtt.subscribers")["code"], "no_subscribers");
    report.assert("mqtt.subscribers", "warn", "`accept_no_subscribers = true`");
    let report = look(&home(&server, "accept_no_subscribers = true"), &["--probe"]);
    assert_eq!(report.with_verdict("warn"), NONE);
}

#[test]
fn a_topic_that_is_not_permitted_fails_under_mqtt_5_and_cannot_be_told_under_3_1_1() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("access"), "topic write elsewhere/#\n").unwrap();
    let server = MosquittoServer::within(dir, "allow_anonymous true\nacl_file $DIR/access");
    let report = look(&home(&server, ""), &["--probe"]);
    assert_eq!(report.failed(), ["sink.publish"]);
    assert_eq!(report.only("sink.publish")["code"], "publish_denied");
    let report = look(&home(&server, "version = \"3.1.1\""), &["--probe"]);
    assert_eq!(report.failed(), NONE);
    assert_eq!(
        report.with_verdict("warn"),
        ["mqtt.version", "sink.publish"]
    );
}

#[test]
fn a_broker_that_takes_less_than_an_event_may_be_is_a_warning() {
    let server = MosquittoServer::with("allow_anonymous true\nmax_packet_size 20000");
    let report = look(&home(&server, ""), &[]);
    report.assert("sink.size", "warn", "messages of 20000 bytes");
    report.assert("sink.size", "warn", "`journal.max_payload`");
}
