//! Slow, endless and too many: what a client cannot do to the listener.

#![cfg(feature = "http")]

#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/http_listener.rs"]
mod http_listener;

use std::{
    thread,
    time::{Duration, Instant},
};

use edge_outbox::http::HttpOptions;

use http_client::Request;
use http_listener::{Running, event};

/// A time limit that a test waits for.
const SHORT: Duration = Duration::from_millis(300);
/// A time limit that a test never reaches.
const LONG: Duration = Duration::from_secs(60);
/// What a test allows for a busy machine.
const SLACK: Duration = Duration::from_secs(10);

fn patient() -> HttpOptions {
    HttpOptions {
        header_timeout: LONG,
        body_timeout: LONG,
        stall_timeout: LONG,
        ..HttpOptions::default()
    }
}

/// The head of a request that posts this many bytes.
fn head(bytes: usize) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {bytes}\r\n\r\n"
    )
}

/// Appends 25 MiB, which is more than the kernel's buffers take.
fn fill(listener: &Running) {
    let payload = format!("\"{}\"", "x".repeat(200 * 1024));
    for batch in 0..8 {
        let events: Vec<_> = (1..=16).map(|n| event(batch * 16 + n, &payload)).collect();
        let answer = listener.ask(&Request::post_lines(events.join("\n")));
        assert_eq!(answer.status, 201);
    }
}

const CHUNKED_HEAD: &str = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn a_head_that_trickles_in_is_cut_off() {
    let listener = Running::new(HttpOptions {
        header_timeout: SHORT,
        ..patient()
    });
    let mut connection = listener.connect();
    let started = Instant::now();
    connection.send("GET /healthz HTTP/1.1\r\n");
    let trickle = (0..1000).find(|_| {
        thread::sleep(Duration::from_millis(50));
        connection.try_send("x: y\r\n").is_err()
    });
    assert!(
        trickle.is_some() && started.elapsed() < SLACK,
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_head_beyond_its_limit_is_refused() {
    let listener = Running::new(patient());
    let long = Request::get("/healthz").header("x-long", &"x".repeat(16 * 1024));
    assert_eq!(listener.ask(&long).status, 431);
    let many = (0..101).fold(Request::get("/healthz"), |request, number| {
        request.header(&format!("x-{number}"), "y")
    });
    assert_eq!(listener.ask(&many).status, 431);
    let mut endless = listener.connect();
    endless.send("GET /");
    let refused = (0..1_000).find(|_| endless.try_send("x".repeat(16 * 1024)).is_err());
    assert!(refused.is_some(), "16 MiB of a head were taken");
}

#[test]
fn an_idle_connection_is_closed_after_a_while() {
    let listener = Running::new(HttpOptions {
        header_timeout: SHORT,
        ..patient()
    });
    let mut silent = listener.connect();
    let mut used = listener.connect();
    assert_eq!(used.ask(&Request::get("/healthz")).status, 200);
    let started = Instant::now();
    assert!(silent.is_closed() && used.is_closed());
    assert!(started.elapsed() < SLACK);
}

#[test]
fn a_body_that_stops_arriving_is_answered_and_cut_off() {
    let listener = Running::new(HttpOptions {
        stall_timeout: SHORT,
        ..patient()
    });
    let tail = listener.tail();
    let body = event(1, "1");
    let mut connection = listener.connect();
    connection.send(head(body.len()));
    connection.send(&body[..body.len() - 1]);
    let started = Instant::now();
    let answer = connection.read_answer();
    answer.problem(408, "request-timeout");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.is_closed());
    assert!(started.elapsed() < SLACK);
    assert_eq!(listener.tail(), tail);
}

#[test]
fn a_body_that_trickles_in_is_cut_off_however_steadily() {
    let listener = Running::new(HttpOptions {
        body_timeout: SHORT,
        ..patient()
    });
    let mut connection = listener.connect();
    connection.send(head(1_000_000));
    let started = Instant::now();
    while started.elapsed() < 2 * SHORT {
        // The connection may be gone before the last byte.
        drop(connection.try_send(" "));
        thread::sleep(Duration::from_millis(20));
    }
    connection.read_answer().problem(408, "request-timeout");
}

#[test]
fn an_endless_body_is_refused_at_the_limit_and_the_client_learns_why() {
    let options = HttpOptions {
        max_body_bytes: 1024 * 1024,
        ..patient()
    };
    let listener = Running::new(options);
    let mut connection = listener.connect();
    connection.send(CHUNKED_HEAD);
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    // 8 MiB, all of it before the answer is looked at: a reset would have thrown that away.
    let sent = (0..128)
        .take_while(|_| connection.try_send(&chunk).is_ok())
        .count();
    assert_eq!(sent, 128);
    connection.read_answer().problem(413, "too-large");
}

#[test]
fn a_body_announced_beyond_the_limit_is_refused_before_it_is_sent() {
    let listener = Running::new(patient());
    let mut connection = listener.connect();
    let expecting = head(1_000_000_000).replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1);
    connection.send(expecting);
    let answer = connection.read_answer();
    answer.problem(413, "too-large");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let listener = Running::new(patient());
    let body = event(1, "1");
    let mut connection = listener.connect();
    connection.send(head(body.len()).replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1));
    assert_eq!(connection.read_head().status, 100);
    connection.send(&body);
    assert_eq!(connection.read_answer().status, 201);
}

#[test]
fn bodies_that_are_only_promised_do_not_keep_single_events_out() {
    let options = HttpOptions {
        max_body_bytes: 64 * 1024,
        ..patient()
    };
    let listener = Running::new(options);
    // Four of the largest is what there is room for.
    let promised: Vec<_> = (0..4)
        .map(|_| {
            let mut connection = listener.connect();
            connection.send(head(64 * 1024));
            connection.send(" ");
            connection
        })
        .collect();
    let mut fifth = listener.connect();
    fifth.send(head(64 * 1024));
    assert_eq!(listener.ask(&Request::post(event(1, "1"))).status, 201);
    let answer = fifth.read_answer();
    answer.problem(503, "busy");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(promised);
    let large = format!("{}{}", event(2, "1"), " ".repeat(32 * 1024));
    assert_eq!(listener.ask(&Request::post(large)).status, 201);
}

#[test]
fn connections_beyond_the_limit_wait_until_one_ends() {
    let listener = Running::new(HttpOptions {
        max_connections: 2,
        ..patient()
    });
    let mut open: Vec<_> = (0..2).map(|_| listener.connect()).collect();
    for connection in &mut open {
        assert_eq!(connection.ask(&Request::get("/healthz")).status, 200);
    }
    let mut third = listener.connect();
    third.send(Request::get("/healthz").bytes());
    let (answered, answer) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || answered.send(third.read_answer().status));
    assert!(
        answer.recv_timeout(SHORT).is_err(),
        "the third was served beside the two"
    );
    drop(open.pop());
    assert_eq!(answer.recv_timeout(SLACK), Ok(200));
    reader.join().unwrap().unwrap();
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let listener = Running::new(HttpOptions {
        stall_timeout: SHORT,
        max_connections: 1,
        ..patient()
    });
    fill(&listener);
    let mut deaf = listener.connect();
    deaf.send(Request::get("/v1/events").bytes());
    assert_eq!(deaf.read_head().status, 200);
    let started = Instant::now();
    assert_eq!(listener.ask(&Request::get("/healthz")).status, 200);
    assert!(started.elapsed() < SLACK);
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let listener = Running::new(patient());
    let mut connection = listener.connect();
    for id in 1..=50 {
        assert_eq!(connection.ask(&Request::post(event(id, "1"))).status, 201);
    }
    // A refusal that needed the body read does not end it.
    connection.ask(&Request::post("{")).problem(400, "not-json");
    let pipelined: Vec<u8> = (51..=60)
        .flat_map(|id| Request::post(event(id, "1")).bytes())
        .collect();
    connection.send(pipelined);
    let seqs: Vec<_> = (51..=60)
        .map(|_| connection.read_answer().json()["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.is_sorted() && seqs.len() == 10);
}

#[test]
fn a_body_in_pieces_is_put_together() {
    let listener = Running::new(patient());
    let body = event(1, "1");
    let mut connection = listener.connect();
    connection.send(CHUNKED_HEAD);
    for byte in body.bytes() {
        connection.send([b"1\r\n", &[byte][..], b"\r\n"].concat());
    }
    connection.send("0\r\n\r\n");
    let answer = connection.read_answer();
    assert_eq!((answer.status, answer.header("connection")), (201, None));
    assert_eq!(connection.ask(&Request::get("/healthz")).status, 200);
}

#[test]
fn two_ways_to_frame_one_body_are_not_read_as_two_requests() {
    let listener = Running::new(patient());
    let tail = listener.tail();
    let hidden = Request::post(event(1, "1")).bytes();
    let different_lengths = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 2\r\ncontent-length: 400\r\n\r\n{}";
    let mut connection = listener.connect();
    connection.send([different_lengths.as_bytes(), &hidden].concat());
    assert_eq!(connection.read_answer().status, 400);
    assert!(connection.is_closed());
    assert_eq!(listener.tail(), tail);
}

#[test]
fn the_request_in_hand_is_answered_at_shutdown_and_idle_connections_are_closed() {
    let mut listener = Running::new(HttpOptions {
        shutdown_grace: LONG,
        ..patient()
    });
    let mut idle = listener.connect();
    assert_eq!(idle.ask(&Request::get("/healthz")).status, 200);
    let body = event(1, "1");
    let mut busy = listener.connect();
    busy.send(head(body.len()));
    // The head is handled once the body is asked for: an answer on another connection shows that
    // the listener has gone on since.
    assert_eq!(idle.ask(&Request::get("/healthz")).status, 200);
    listener.begin_to_stop();
    assert!(idle.is_closed());
    busy.send(&body);
    assert_eq!(busy.read_answer().status, 201);
    assert!(busy.is_closed());
    let started = Instant::now();
    listener.stop();
    assert!(started.elapsed() < SLACK);
}

#[test]
fn a_follower_is_ended_at_shutdown() {
    let mut listener = Running::new(HttpOptions {
        shutdown_grace: LONG,
        ..patient()
    });
    let mut follower = listener.connect();
    follower.send(Request::get("/v1/events?from=1000&follow=true").bytes());
    assert_eq!(follower.read_head().status, 200);
    let started = Instant::now();
    listener.stop();
    assert!(started.elapsed() < SLACK);
    assert_eq!(follower.read_chunk().unwrap(), None);
}

#[test]
fn envelopes_that_are_cut_off_by_a_shutdown_do_not_seem_complete() {
    let mut listener = Running::new(HttpOptions {
        shutdown_grace: SHORT,
        ..patient()
    });
    fill(&listener);
    let mut reader = listener.connect();
    reader.send(Request::get("/v1/events").bytes());
    assert_eq!(reader.read_head().status, 200);
    listener.stop();
    let last = loop {
        match reader.read_chunk() {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(last.is_err(), "{last:?}");
}

#[test]
fn whoever_is_not_done_when_the_grace_ends_is_cut_off() {
    let mut listener = Running::new(HttpOptions {
        shutdown_grace: SHORT,
        ..patient()
    });
    let mut busy = listener.connect();
    busy.send(head(100));
    assert_eq!(listener.ask(&Request::get("/healthz")).status, 200);
    let started = Instant::now();
    listener.stop();
    assert!(started.elapsed() < SLACK);
    assert!(busy.is_closed());
}
