//! Erasing a person with the program itself: over the socket, without a daemon, on request, with a
//! kill in the middle, and with a real broker at the other end.

#![cfg(all(feature = "cli", feature = "nats"))]
#[path = "support/http_client.rs"]
mod http_client;
mod support;

use std::{fs, path::Path, thread, time::Duration};

use http_client::{Connection, Request};
use serde_json::{Value, json};
use support::{
    nats_server::{NatsServer, messages},
    program::{Home, line},
};

const PERSON: &str = "6f1c7c1e-5a0b-4f0e-9d37-1a2b3c4d5e6f";
const OTHER: &str = "0192f0c1-2345-7000-8000-0123456789ab";
const MARKER: &str = "the-mark-of-alice";
/// How long a daemon may take to complete what was begun.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many lines, every second one of the person's: as aggregate, or as subject in upper case.
fn lines(count: usize) -> String {
    let one = |n: usize| {
        let (aggregate, subject, text) = match n % 4 {
            0 => (PERSON, OTHER.to_owned(), MARKER),
            2 => (OTHER, PERSON.to_uppercase(), MARKER),
            _ => (OTHER, OTHER.to_owned(), "nothing of hers"),
        };
        let filling = text.repeat(1 + n % 37);
        json!({"event_type": "quiz.submitted.v1", "aggregate_id": aggregate,
            "subject_id": subject, "payload": {"n": n, "text": filling}})
        .to_string()
            + "\n"
    };
    (0..count).map(one).collect()
}

/// A device with a sink at this server.
fn device(server: &NatsServer, keys: &str, journal: &str) -> Home {
    Home::with_config(&format!(
        "[device]\nname = \"kiosk-07\"\n[journal]\n{journal}\n[sinks.hub]\ntype = \"nats\"\n\
         servers = [\"{}\"]\nstart_jitter = \"0 ms\"\n{keys}\n",
        server.url()
    ))
}

/// How often anything of the person stands in the files of a directory.
fn marks(dir: &Path) -> usize {
    let uuid = uuid::Uuid::parse_str(PERSON).unwrap();
    let upper = PERSON.to_uppercase();
    let needles = [
        MARKER.as_bytes(),
        uuid.as_bytes(),
        PERSON.as_bytes(),
        upper.as_bytes(),
    ];
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let bytes = files.filter_map(|path| fs::read(path).ok());
    bytes
        .map(|bytes| -> usize { needles.iter().map(|needle| count(&bytes, needle)).sum() })
        .sum()
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    let starts = (0..haystack.len()).filter(|&at| haystack[at] == needle[0]);
    starts
        .filter(|&at| haystack[at..].starts_with(needle))
        .count()
}

/// What the other side has: whether each event, by seq, has its content.
fn contents(arrived: &[Vec<u8>]) -> Vec<(u64, bool)> {
    let envelopes = arrived
        .iter()
        .map(|line| -> Value { serde_json::from_slice(line).unwrap() });
    envelopes
        .map(|envelope| {
            let members = ["aggregate_id", "salt", "payload"];
            let there = members.map(|member| envelope.get(member).is_some());
            assert!(there == [true; 3] || there == [false; 3], "{envelope}");
            (envelope["seq"].as_u64().unwrap(), there[0])
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_arrives_without_what_was_erased_and_verifies() {
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    server.stop();
    let home = device(&server, "", "");
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(400)).code, 0);
    assert!(marks(&home.data_dir()) > 400);

    let told = home.ok(&["erase", "--id", PERSON]);
    assert_eq!(
        told,
        "erased 200 events; what was sent before is out of reach\n"
    );
    assert_eq!(marks(&home.data_dir()), 0, "while the daemon runs");
    let again = home.ok(&["erase", "--id", &PERSON.to_uppercase()]);
    assert_eq!(again, "the journal holds nothing of this person\n");
    let verified = "402 events, seq 1 to 402, 1 epoch, 200 erased";
    assert_eq!(home.ok(&["verify"]), format!("verified: {verified}\n"));

    server.start_again();
    home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    let arrived = messages(stream).await;
    let contents = contents(&arrived);
    assert_eq!(contents.len(), 402);
    for (seq, is_whole) in contents {
        let is_theirs = (2..402).contains(&seq) && seq % 2 == 0;
        assert_eq!(is_whole, !is_theirs, "seq {seq}");
    }
    let last: Value = serde_json::from_slice(&arrived[401]).unwrap();
    assert_eq!(last["event_type"], "outbox.events_erased.v1");
    let named = last["payload"]["events"].as_array().unwrap();
    let seqs: Vec<u64> = named
        .iter()
        .map(|one| one["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=200).map(|n| 2 * n).collect::<Vec<_>>());
    let text = String::from_utf8(arrived.join(&b'\n')).unwrap();
    assert!(!text.contains(MARKER) && !text.to_lowercase().contains(PERSON));
    let key = home.status()["public_key"].as_str().unwrap().to_owned();
    let ended = home.run_with(&["verify", "--public-key", &key], text + "\n");
    assert_eq!(
        ended.stdout,
        format!("verified: device kiosk-07: {verified}\n")
    );
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn without_a_daemon_the_command_opens_the_journal_itself() {
    let home = Home::new();
    assert_eq!(home.run_with(&["append"], lines(40)).code, 0);
    let told = home.ok(&["erase", "--id", PERSON, "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!({"events": 20, "upto": 41, "unsearched": 0}));
    assert_eq!(marks(&home.data_dir()), 0);
    let ended = home.run(&["erase", "--id", "alice"]);
    assert_eq!(ended.code, 2, "{ended:?}");
}

#[test]
fn over_http_what_names_nobody_is_refused() {
    let home = Home::new();
    let _daemon = home.daemon();
    let ask = |request: &Request| Connection::unix(&home.socket()).ask(request);
    let erase = |body: &str| {
        Request::new("POST", "/v1/erase")
            .header("content-type", "application/json")
            .body(body)
    };
    for body in ["", "{}", "{\"id\":\"alice\"}", "[]"] {
        ask(&erase(body)).problem(400, "bad-request");
    }
    let unnamed = json!({"id": PERSON, "reason": "x"}).to_string();
    ask(&erase(&unnamed)).problem(400, "bad-request");
    let body = json!({ "id": PERSON }).to_string();
    let simple = erase(&body).header("content-type", "text/plain");
    ask(&simple).problem(415, "unsupported-content-type");
    ask(&Request::get("/v1/erase")).problem(405, "method-not-allowed");
    let answer = ask(&erase(&body));
    assert_eq!(
        (answer.status, answer.json()["events"].clone()),
        (200, json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_ahead_is_read_again_without_what_was_erased() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    // A read takes a thousand events, and a second sends some of them.
    let home = device(&server, "max_events_per_s = 50", "");
    assert_eq!(home.run_with(&["append"], lines(1_000)).code, 0);
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["acked"].as_u64() > Some(60));
    home.ok(&["erase", "--id", PERSON]);
    let sent = home.status()["sinks"]["hub"]["acked"].as_u64().unwrap();
    assert!(sent < 600, "{sent} events had left before");
    home.wait_for(|status| status["sinks"]["hub"]["acked"].as_u64() > Some(sent + 100));
    let arrived = contents(&messages(stream).await);
    let late = arrived.iter().filter(|(seq, _)| *seq > sent + 60);
    let (mut erased, mut whole) = (0, 0);
    for (seq, is_whole) in late {
        match seq % 2 {
            0 => {
                assert!(!is_whole, "seq {seq} left whole after it was erased");
                erased += 1;
            }
            _ => whole += u64::from(*is_whole),
        }
    }
    assert!(erased > 10 && whole > 10, "{erased} and {whole}");
    drop(daemon);
}

#[test]
fn a_daemon_killed_while_it_erases_completes_it_at_its_next_start() {
    let home = Home::new();
    assert_eq!(home.run_with(&["append"], lines(3_000)).code, 0);
    for pause in [0, 15, 60, 150] {
        assert_eq!(home.run_with(&["append"], lines(1_000)).code, 0);
        let daemon = home.daemon();
        thread::scope(|scope| {
            let asked = scope.spawn(|| home.run(&["erase", "--id", PERSON]));
            thread::sleep(Duration::from_millis(50 + pause));
            daemon.kill();
            asked.join().unwrap();
        });
        // Whatever it had come to: a request that was never begun is made again.
        let daemon = home.daemon();
        home.ok(&["erase", "--id", PERSON]);
        assert_eq!(marks(&home.data_dir()), 0, "killed after {pause} ms");
        assert_eq!(daemon.stop().0, 0);
        let verified = home.ok(&["verify"]);
        assert!(verified.contains("erased"), "{verified}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_the_broker_whole_and_is_erased_then() {
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let home = device(&server, "", "erase_on_request = true");
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(100)).code, 0);
    home.wait_for(|status| status["sinks"]["hub"]["acked"] == 101);
    server.stop();
    let request = json!({"event_type": "user.erase_requested.v1", "aggregate_id": PERSON,
        "subject_id": PERSON, "payload": {"user_id": PERSON}});
    assert_eq!(home.run_with(&["append"], format!("{request}\n")).code, 0);
    let status = home.wait_for(|status| status["tail"] == 103);
    assert_eq!(status["sinks"]["hub"]["acked"], 101);
    let held = home.ok(&["tail", "--from", "1"]);
    let held: Vec<Vec<u8>> = held.lines().map(|line| line.into()).collect();
    let whole = contents(&held);
    assert_eq!(whole.iter().filter(|(_, is_whole)| !is_whole).count(), 50);
    assert_eq!(
        whole[101],
        (102, true),
        "the request has not been delivered"
    );

    server.start_again();
    home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    // What a sink confirmed is durable with the next commit.
    assert_eq!(home.run_with(&["append"], line(1)).code, 0);
    let deadline = std::time::Instant::now() + PATIENCE;
    while marks(&home.data_dir()) > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the request is still held"
        );
        thread::sleep(Duration::from_millis(50));
    }
    let arrived = messages(stream).await;
    let request = arrived
        .iter()
        .map(|line| -> Value { serde_json::from_slice(line).unwrap() })
        .find(|envelope| envelope["event_type"] == "user.erase_requested.v1");
    assert_eq!(request.unwrap()["payload"]["user_id"], PERSON);
    assert_eq!(daemon.stop().0, 0);
}
