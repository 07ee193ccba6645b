//! Ten thousand events through the real daemon to a real server, with everything that can be
//! killed killed on the way: the stream holds exactly those, once each.

#![cfg(feature = "cli")]
mod support;

#[path = "support/python_verifier.rs"]
mod python_verifier;

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use edge_outbox::{
    Verifier,
    envelope::{Envelope, Kind, Unverified},
};
use serde_json::Value;
use support::{
    nats_server::{NatsServer, messages},
    program::{Daemon, Home},
};
use uuid::Uuid;

const EVENTS: u64 = 10_000;
const REQUEST: u64 = 100;
/// One of the events in the middle, of a type of its own.
const ODD_ONE: u64 = 5_000;

fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0192_0000_0000_7000, 0x8000_0000_0000_0000 | number)
}

fn lines(from: u64) -> String {
    let line = |number: u64| {
        let kind = if number == ODD_ONE {
            "quiz.odd.v1"
        } else {
            "quiz.submitted.v1"
        };
        format!(
            "{{\"id\":\"{}\",\"event_type\":\"{kind}\",\"aggregate_id\":\"{}\",\"payload\":{{\"number\":{number}}}}}\n",
            id(number),
            Uuid::from_u128(7),
        )
    };
    (from..from + REQUEST).map(line).collect()
}

/// A home whose daemon forwards to this server.
fn home(server: &NatsServer) -> Home {
    let mut home = Home::new();
    home.set("NATS_URL", &server.url());
    home
}

fn pending(home: &Home) -> u64 {
    home.status()["sinks"]["nats"]["pending"].as_u64().unwrap()
}

fn wait_until_drained(home: &Home) -> Value {
    home.wait_for(|status| status["sinks"]["nats"]["pending"] == 0)
}

/// Posts lines; `None` when the connection broke, so that nobody knows what became of them.
fn post(address: &str, lines: &str) -> Option<u16> {
    let mut socket = TcpStream::connect(address).ok()?;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        lines.len()
    );
    socket.write_all(head.as_bytes()).ok()?;
    socket.write_all(lines.as_bytes()).ok()?;
    let mut answer = BufReader::new(socket);
    let mut line = String::new();
    answer.read_line(&mut line).ok()?;
    let status = line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    answer.read_to_end(&mut Vec::new()).ok()?;
    Some(status)
}

/// Posts all of them, as a program that repeats what it saw no answer for; kills the daemon in
/// the middle of the requests named.
fn post_all(home: &Home, mut daemon: Daemon, kill_during: &[u64]) -> Daemon {
    let address = |home: &Home| {
        let status = home.status();
        let listening = status["listening"].as_array().unwrap().iter();
        let mut tcp = listening.filter_map(|each| each.as_str().filter(|a| a.starts_with("127.")));
        tcp.next().unwrap().to_owned()
    };
    let mut to = address(home);
    for request in 0..EVENTS / REQUEST {
        let lines = lines(request * REQUEST);
        if kill_during.contains(&request) {
            thread::scope(|scope| {
                let posting = scope.spawn(|| post(&to, &lines));
                thread::sleep(Duration::from_millis(request % 7));
                daemon.kill();
                posting.join().unwrap();
            });
            daemon = home.daemon();
            to = address(home);
        }
        // A repeat of what was taken is answered with 200 or 201 and changes nothing.
        let status = post(&to, &lines).expect("the daemon answers");
        assert!(status == 201 || status == 200, "{status}");
    }
    daemon
}

/// Asserts that the messages are the ten thousand, once each, and that each verifies; in order
/// where that is asked for.
fn assert_exactly_those(home: &Home, messages: &[Vec<u8>], in_order: bool) {
    let status = home.status();
    let mut verifier = Verifier::new();
    verifier.trust(status["public_key"].as_str().unwrap().parse().unwrap());
    let mut seen = HashSet::new();
    let mut numbers = Vec::new();
    for message in messages {
        let envelope = Envelope::<Unverified>::parse(message).unwrap();
        let envelope = verifier.verify(envelope).unwrap();
        let statement = envelope.statement();
        assert!(
            seen.insert(statement.seq),
            "seq {} is there twice",
            statement.seq
        );
        if statement.kind == Kind::Program {
            let number = statement.id.as_u64_pair().1 & 0xFFFF_FFFF;
            assert_eq!(statement.id, id(number));
            numbers.push(number);
        }
    }
    if !in_order {
        numbers.sort_unstable();
    }
    assert!(
        numbers.iter().copied().eq(0..EVENTS),
        "{} events, not those",
        numbers.len()
    );
    // The command a person would use says the same.
    let mut input = messages.join(&b'\n');
    input.push(b'\n');
    let key = status["public_key"].as_str().unwrap();
    let ended = home.run_with(&["verify", "--public-key", key], &input);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_taken_offline_between_two_kills_arrive_exactly_once_and_in_order() {
    let mut server = NatsServer::start();
    server.create_stream(|_| {}).await;
    server.stop();
    let home = home(&server);
    let daemon = post_all(&home, home.daemon(), &[31, 77]);
    assert!(pending(&home) > EVENTS, "nothing has left yet");
    server.start_again();
    let status = wait_until_drained(&home);
    assert_eq!(
        status["sinks"]["nats"]["guarantee"]["level"], "exactly_once",
        "{status:#}"
    );
    let stream = server.jetstream().await.get_stream("EVENTS").await.unwrap();
    let messages = messages(stream).await;
    assert_exactly_those(&home, &messages, true);
    another_language_agrees(&home, &messages);
    let (code, took) = daemon.stop();
    assert!(
        code == 0 && took < Duration::from_secs(2),
        "{code} after {took:?}"
    );
}

/// What came from the server is accepted by the verifier in Python, as a run and each alone, and
/// refused once anything about it is changed.
fn another_language_agrees(home: &Home, messages: &[Vec<u8>]) {
    let status = home.status();
    let key = status["public_key"].as_str().unwrap();
    let lines: Vec<&str> = messages
        .iter()
        .map(|m| std::str::from_utf8(m).unwrap())
        .collect();
    python_verifier::verify(key, &lines, true).unwrap();
    // A few in a row, one of them in the middle of a group.
    let some = &lines[500..510];
    python_verifier::verify(key, some, false).unwrap();
    let value = |line: &str, name: &str, end: &str| {
        let from = line.find(&format!("\"{name}\":")).unwrap();
        let to = from + line[from..].find(end).unwrap() + end.len();
        line[from..to].to_owned()
    };
    let swap = |name: &str, end: &str| {
        let (mine, other) = (value(some[4], name, end), value(lines[5_000], name, end));
        assert_ne!(mine, other);
        some[4].replace(&mine, &other)
    };
    let changed = [
        some[4].replace("{\"number\":50", "{\"number\":51"),
        some[4].replace("\"source\":\"edge-outbox\"", "\"source\":\"edge-outbux\""),
        swap("signature", "\","),
        swap("path", "]"),
    ];
    for line in &changed {
        assert_ne!(line, some[4], "nothing was changed");
        let mut lines = some.to_vec();
        lines[4] = line;
        let complaint = python_verifier::verify(key, &lines, false).expect_err(line);
        assert!(complaint.starts_with("line 5: "), "{complaint}");
    }
    let missing = [&some[..4], &some[5..]].concat();
    python_verifier::verify(key, &missing, false).unwrap();
    let complaint = python_verifier::verify(key, &missing, true).expect_err("a seq is missing");
    assert!(complaint.starts_with("line 5: "), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_going_away_and_a_refusal_in_mid_window_make_no_repeat_and_no_loss() {
    /// The least that the server takes.
    const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);
    let mut server = NatsServer::start();
    let refusing = |config: &mut Config| {
        config.duplicate_window = DUPLICATE_WINDOW;
        config.discard = DiscardPolicy::New;
        config.discard_new_per_subject = true;
        config.max_messages_per_subject = EVENTS as i64;
        config.max_messages = 10 * EVENTS as i64;
    };
    server.create_stream(refusing).await;
    let home = home(&server);
    let mut daemon = home.daemon();
    let device = home.status()["device"].as_str().unwrap().to_owned();
    // The odd one's subject is full, so it is refused in the middle of its window.
    let odd_subject = format!("edupulse.events.{device}.quiz.odd.v1");
    fill(&server, &odd_subject).await;
    server.stop();
    daemon = post_all(&home, daemon, &[50]);
    for (outage, left) in [9_000, 8_000, 7_000, 6_000, 5_500].into_iter().enumerate() {
        server.start_again();
        home.wait_for(|status| status["sinks"]["nats"]["pending"].as_u64().unwrap() < left);
        if outage == 1 {
            // Both at once, in the middle of a window.
            daemon.kill();
            server.kill();
            daemon = home.daemon();
        } else {
            server.kill();
        }
        // Longer than the server remembers message ids, once by far.
        thread::sleep(DUPLICATE_WINDOW * if outage == 3 { 20 } else { 2 });
    }
    server.start_again();
    let stream = server.jetstream().await.get_stream("EVENTS").await.unwrap();
    // Everything up to the refused one, and its successors in the window.
    home.wait_for(|status| {
        let sink = &status["sinks"]["nats"];
        sink["acked"].as_u64().unwrap() > ODD_ONE && sink["last_error"]["kind"] == "retry"
    });
    daemon.kill();
    daemon = home.daemon();
    stream.purge().filter(&odd_subject).await.unwrap();
    wait_until_drained(&home);
    assert_exactly_those(&home, &messages(stream).await, false);
    let (code, took) = daemon.stop();
    assert!(
        code == 0 && took < Duration::from_secs(2),
        "{code} after {took:?}"
    );
}

/// Stores as many messages under the subject as the stream takes.
async fn fill(server: &NatsServer, subject: &str) {
    let context = server.jetstream().await;
    let mut last = None;
    for _ in 0..EVENTS {
        last = Some(
            context
                .publish(subject.to_owned(), "".into())
                .await
                .unwrap(),
        );
    }
    last.unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_online_quiet_device_pays_about_one_commit_an_event() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let home = home(&server);
    let _daemon = home.daemon();
    let status = wait_until_drained(&home);
    let address = status["listening"][0].as_str().unwrap().to_owned();
    let commits = |status: Value| status["journal"]["commits"].as_u64().unwrap();
    let before = commits(status);
    for number in 0..100 {
        let line = format!(
            "{{\"id\":\"{}\",\"event_type\":\"a.b\",\"aggregate_id\":\"{}\",\"payload\":{number}}}\n",
            id(number),
            Uuid::from_u128(7)
        );
        assert_eq!(post(&address, &line), Some(201));
        wait_until_drained(&home);
    }
    let paid = commits(home.status()) - before;
    println!("100 events one at a time: {paid} commits");
    assert!((100..=110).contains(&paid), "{paid} commits for 100 events");
}
