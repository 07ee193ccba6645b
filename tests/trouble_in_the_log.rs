//! What a person finds in the log of a daemon whose broker goes away: when it began, and when it was
//! over.

#![cfg(all(feature = "cli", feature = "nats"))]
#[path = "support/http_client.rs"]
mod http_client;
mod support;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use http_client::{Connection, Request};
use support::{
    nats_server::NatsServer,
    program::{Home, lines},
};

/// How many attempts are made in vain.
const ATTEMPTS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

fn troubles(home: &Home) -> u64 {
    let answer = Connection::unix(&home.socket()).ask(&Request::get("/metrics"));
    let page = String::from_utf8(answer.body).unwrap();
    let sample = "edge_outbox_sink_troubles_total{sink=\"hub\",kind=\"retry\"} ";
    let mut samples = page.lines().filter_map(|line| line.strip_prefix(sample));
    samples.next().unwrap().parse().unwrap()
}

#[test]
fn an_outage_of_several_attempts_is_two_lines_in_the_log() {
    let mut server = NatsServer::start();
    let home = Home::with_config(&format!(
        "[sinks.hub]\ntype = \"nats\"\nservers = [\"{}\"]\nstream = \"EVENTS\"\n\
         create_stream = true\nstart_jitter = \"0 ms\"\n",
        server.url()
    ));
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    home.wait_for(|status| status["sinks"]["hub"]["acked"] == 4);
    let before = daemon.log().lines().count();

    let begin = Instant::now();
    server.kill();
    assert_eq!(home.run_with(&["append"], lines(3..20)).code, 0);
    while troubles(&home) < ATTEMPTS {
        assert!(begin.elapsed() < PATIENCE, "{}", daemon.log());
        sleep(Duration::from_millis(50));
    }
    let lasted = begin.elapsed();
    server.start_again();
    home.wait_for(|status| {
        let hub = &status["sinks"]["hub"];
        hub["acked"] == 21 && hub["state"] == "caught_up"
    });

    let log = daemon.log();
    let told: Vec<&str> = log.lines().skip(before).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains(" WARN trouble: "), "{}", told[0]);
    assert!(told[0].contains(" sink=hub "), "{}", told[0]);
    assert!(
        told[1].contains(" INFO the trouble is over sink=hub "),
        "{}",
        told[1]
    );
    let (_, said) = told[1].split_once(" lasted=").unwrap();
    let (seconds, rest) = said.split_once(" s ").unwrap();
    let seconds: f64 = seconds.parse().unwrap();
    let at_least = (lasted.as_secs_f64() - 1.0).max(0.0);
    assert!(
        (at_least..PATIENCE.as_secs_f64()).contains(&seconds),
        "{}",
        told[1]
    );
    let (delivered, pending) = rest
        .strip_prefix("delivered=")
        .and_then(|rest| rest.split_once(" pending="))
        .unwrap();
    let (delivered, pending): (u64, u64) = (delivered.parse().unwrap(), pending.parse().unwrap());
    assert_eq!(delivered + pending, 17, "{}", told[1]);
    assert_eq!(daemon.stop().0, 0);
}
