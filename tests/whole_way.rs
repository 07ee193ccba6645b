//! The whole way of a device's events with the program itself: appended while the broker is away,
//! the daemon killed in the middle of it and started again, the broker found by its name, everything
//! delivered, and verified by the program and by one in another language.
//!
//! `tests/arm` runs this with the programs for the boards, which then have to look the broker up at
//! a name server: `EDGE_OUTBOX_BROKER` is its name. Without it, it is `localhost`.

#![cfg(all(feature = "cli", feature = "mqtt", feature = "nats"))]
mod support;

#[path = "support/python_verifier.rs"]
mod python_verifier;

use std::{io::Write as _, process::Stdio, thread, time::Duration};

use support::{
    mosquitto::MosquittoServer,
    nats_server::{NatsServer, messages},
    program::{Daemon, Home, line, lines},
    subscriber::Subscriber,
};

const BROKER: &str = "EDGE_OUTBOX_BROKER";
/// Events that are durable before the daemon is killed, at least.
const BEFORE_THE_KILL: u64 = 500;
/// Between two events of the program that hands them over, so that the kill comes in between.
const PACE: Duration = Duration::from_millis(1);

/// The name that the brokers have, for the device.
fn broker() -> String {
    std::env::var(BROKER).unwrap_or_else(|_| "localhost".into())
}

/// A device with one sink, of this type and with these keys.
fn device(sink: &str) -> Home {
    Home::with_config(&format!(
        "[device]\nname = \"kiosk-07\"\n[sinks.hub]\n{sink}\n"
    ))
}

/// Appends without an end, and kills the daemon in the middle of it. Gives how many events it had
/// answered for.
fn append_until_it_is_killed(home: &Home, daemon: Daemon) -> u64 {
    let mut appending = home
        .command(&["append"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = appending.stdin.take().unwrap();
    let supply = thread::spawn(move || {
        for n in 0.. {
            if stdin.write_all(line(n).as_bytes()).is_err() {
                return;
            }
            thread::sleep(PACE);
        }
    });
    home.wait_for(|status| status["tail"].as_u64() > Some(BEFORE_THE_KILL));
    daemon.kill();
    let ended = appending.wait_with_output().unwrap();
    supply.join().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    let (_, count) = told.split_once("until then: ").expect(&told);
    let (count, _) = count.split_once(" events appended").expect(&told);
    count.parse().unwrap()
}

/// From the first event to the last before the broker is back: gives the running daemon and the
/// seq of the last event.
fn events_over_a_kill(home: &Home) -> (Daemon, u64) {
    let answered = append_until_it_is_killed(home, home.daemon());
    assert!(answered >= BEFORE_THE_KILL, "{answered}");
    let daemon = home.daemon();
    let survived = home.status()["tail"].as_u64().unwrap();
    // The epoch's own event, what was answered, and perhaps what was on its way.
    assert!(survived > answered, "{survived} of {answered} survived");
    assert_eq!(home.run_with(&["append"], lines(0..100)).code, 0);
    let status = home.status();
    let sink = &status["sinks"]["hub"];
    assert_eq!(sink["acked"], 0, "nothing has left yet: {status:#}");
    let tail = survived + 100;
    // Now, for delivered events are removed.
    let verified = format!("verified: {}\n", unbroken(tail));
    assert_eq!(home.ok(&["verify"]), verified);
    (daemon, tail)
}

/// What `verify` says of all events up to this seq.
fn unbroken(tail: u64) -> String {
    format!("{tail} events, seq 1 to {tail}, 1 epoch")
}

/// What arrived is one unbroken chain of so many events, whoever looks.
fn assert_verified(home: &Home, arrived: &[Vec<u8>], tail: u64) {
    let status = home.status();
    let key = status["public_key"].as_str().unwrap();
    let mut input = arrived.join(&b'\n');
    input.push(b'\n');
    let ended = home.run_with(&["verify", "--public-key", key], input);
    let expected = format!("verified: device kiosk-07: {}\n", unbroken(tail));
    assert_eq!((ended.stdout, ended.stderr), (expected, String::new()));
    let lines: Vec<_> = arrived
        .iter()
        .map(|envelope| std::str::from_utf8(envelope).unwrap())
        .collect();
    python_verifier::verify(key, &lines, true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_device_had_taken_reaches_jetstream_at_a_name_and_verifies() {
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    server.stop();
    let home = device(&format!(
        "type = \"nats\"\nservers = [\"nats://{}:{}\"]",
        broker(),
        server.port()
    ));
    let (daemon, tail) = events_over_a_kill(&home);
    server.start_again();
    let status = home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    let guarantee = &status["sinks"]["hub"]["guarantee"];
    assert_eq!(guarantee["level"], "exactly_once", "{status:#}");
    assert_verified(&home, &messages(stream).await, tail);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn what_a_killed_device_had_taken_reaches_mosquitto_at_a_name_and_verifies() {
    let mut server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), "edupulse/events/#");
    server.stop();
    // A connection that is given up on a busy machine would make repeats, which are right and not
    // what this is about.
    let home = device(&format!(
        "type = \"mqtt\"\nservers = [\"mqtt://{}:{}\"]\nack_timeout = \"1 min\"",
        broker(),
        server.port()
    ));
    let (daemon, tail) = events_over_a_kill(&home);
    server.start_again();
    home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    let arrived: Vec<_> = subscriber
        .wait_for(usize::try_from(tail).unwrap())
        .into_iter()
        .map(|message| message.payload.to_vec())
        .collect();
    assert_verified(&home, &arrived, tail);
    assert_eq!(daemon.stop().0, 0);
}
