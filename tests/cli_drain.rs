//! `drain` and `status` with a real broker.

#![cfg(all(feature = "cli", feature = "nats"))]
mod support;

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use support::{
    nats_server::NatsServer,
    program::{Home, lines},
};

/// A device whose one sink is this server, and makes its stream there.
fn device_at(url: &str) -> Home {
    Home::with_config(&format!(
        "[device]\nname = \"kiosk-07\"\n[sinks.hub]\ntype = \"nats\"\nservers = [\"{url}\"]\n\
         stream = \"EDUPULSE\"\ncreate_stream = true\n"
    ))
}

#[test]
fn drain_brings_everything_away_with_a_daemon_and_without() {
    let server = NatsServer::start();
    let home = device_at(&server.url());
    assert_eq!(home.run_with(&["append"], lines(0..3_000)).code, 0);
    assert_eq!(home.ok(&["drain"]), "hub: everything delivered\n");
    let status = home.status();
    assert_eq!(status["sinks"]["hub"]["acked"], 3_001);
    assert_eq!(home.ok(&["drain"]), "hub: everything delivered\n");

    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(3_000..6_000)).code, 0);
    assert_eq!(home.ok(&["drain"]), "hub: everything delivered\n");
    let status = home.status();
    assert_eq!(status["sinks"]["hub"]["acked"], 6_001);
    assert_eq!(status["sinks"]["hub"]["guarantee"]["level"], "exactly_once");
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn drain_without_a_sink_is_no_success() {
    let home = Home::with_config("[sinks]\n");
    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| home.daemon());
        let ended = home.run(&["drain"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
        assert_eq!(
            ended.stderr,
            "error: nothing was forwarded: no sink is configured, events are kept\n\
             hint: add a section `[sinks.NAME]` to the configuration\n"
        );
        drop(daemon);
    }
    assert_eq!(home.status()["tail"], 4);
}

#[test]
fn drain_ends_in_time_and_says_what_stands_in_the_way() {
    // A port where nobody listens.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let home = device_at(&format!("nats://127.0.0.1:{port}"));
    assert_eq!(home.run_with(&["append"], lines(0..5)).code, 0);
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| home.daemon());
        let begin = Instant::now();
        let ended = home.run(&["drain", "--timeout", "1s"]);
        assert!(
            begin.elapsed() < Duration::from_secs(4),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
        let expected = "error: hub: 6 events still pending after 1s\nerror: ";
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(&format!("127.0.0.1:{port}")),
            "{}",
            ended.stderr
        );
        drop(daemon);
    }
}

#[test]
fn without_a_broker_drain_prints_what_is_pending_and_nothing_else() {
    let home = Home::new();
    assert_eq!(home.run_with(&["append"], lines(0..2)).code, 0);
    let printed = home.ok(&["drain"]);
    assert_eq!(printed.lines().count(), 3, "{printed}");
    assert!(
        printed.lines().all(|line| line.starts_with("{\"id\":")),
        "{printed}"
    );
    assert_eq!(home.ok(&["drain"]), "");
}

#[test]
fn status_tells_people_how_every_sink_is_doing() {
    let mut server = NatsServer::start();
    let home = device_at(&server.url());
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "caught_up");
    let shown = home.ok(&["status"]);
    assert!(shown.starts_with("device     kiosk-07\n"), "{shown}");
    assert!(
        shown.contains("\nsink       hub: everything delivered, 0 pending\n"),
        "{shown}"
    );
    assert!(
        shown.contains("\n           promise: exactly once\n"),
        "{shown}"
    );

    server.stop();
    home.wait_for(|status| status["sinks"]["hub"]["state"] != "caught_up");
    assert_eq!(home.run_with(&["append"], lines(0..1)).code, 0);
    let shown = home.ok(&["status"]);
    assert!(
        shown.contains(", 1 pending since 20") && shown.contains("last trouble: "),
        "{shown}"
    );

    assert_eq!(daemon.stop().0, 0);
    let shown = home.ok(&["status"]);
    assert!(
        shown.contains("\nsink       hub: no daemon, 1 pending since 20"),
        "{shown}"
    );
    assert!(
        shown.ends_with("no daemon runs: this is what the journal remembers\n"),
        "{shown}"
    );
}

#[test]
fn the_daemon_stops_within_two_seconds_whatever_the_broker_does() {
    // Accepts connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = device_at(&format!("nats://{}", silent.local_addr().unwrap()));
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(0..10)).code, 0);
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "connecting");
    let (code, took) = daemon.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");

    let server = NatsServer::start();
    let home = device_at(&server.url());
    assert_eq!(home.run_with(&["append"], lines(0..20_000)).code, 0);
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["acked"].as_u64() > Some(0));
    let (code, took) = daemon.stop();
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
}
