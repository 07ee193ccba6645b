//! Handing events over by HTTP, and asking what became of them.

#![cfg(feature = "http")]
#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/http_listener.rs"]
mod http_listener;

use edge_outbox::{
    Seq,
    http::HttpOptions,
    outbox::{Cursor, Progress, Registration, Start},
};
use serde_json::{Value, json};

use http_client::{Answer, Connection, Request};
use http_listener::{AGGREGATE, Running, event};

fn running() -> Running {
    Running::new(HttpOptions::default())
}

/// The envelopes of the programs' events, as the listener sends them.
fn envelopes(listener: &Running) -> Vec<String> {
    let answer = listener.ask(&Request::get("/v1/events?from=1"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(answer.body).unwrap();
    text.lines()
        .filter(|line| line.contains(r#""kind":"program""#))
        .map(str::to_owned)
        .collect()
}

#[test]
fn one_event_is_answered_with_its_place_after_the_commit() {
    let listener = running();
    let before = listener.tail();
    let answer = listener.ask(&Request::post(event(1, r#"{"score":7}"#)));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    assert_eq!(json["id"], "00000000-0000-0000-0000-000000000001");
    assert_eq!(json["epoch"], listener.outbox.status().borrow().epoch);
    assert_eq!(json["seq"], before + 1);
    assert_eq!(json.as_object().unwrap().len(), 3);
    assert_eq!(listener.tail(), before + 1);
}

#[test]
fn a_known_event_is_answered_with_its_first_place() {
    let listener = running();
    let first = listener.ask(&Request::post(event(1, "7")));
    let again = listener.ask(&Request::post(event(1, "7")));
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json(), again.json());
}

#[test]
fn a_known_id_with_other_content_is_a_conflict_and_nothing_is_taken() {
    let listener = running();
    listener.ask(&Request::post(event(1, "7")));
    let tail = listener.tail();
    let problem = listener
        .ask(&Request::post(event(1, "8")))
        .problem(409, "id-conflict");
    assert_eq!(problem["field"], "id");
    assert_eq!(problem.get("index"), None);
    let array = format!("[{},{}]", event(2, "1"), event(1, "8"));
    let problem = listener
        .ask(&Request::post(array))
        .problem(409, "id-conflict");
    assert_eq!(problem["index"], 1);
    let lines = format!("{}\r\n\r\n{}\r\n", event(2, "1"), event(1, "8"));
    let problem = listener
        .ask(&Request::post_lines(lines))
        .problem(409, "id-conflict");
    assert_eq!(problem["line"], 3);
    assert_eq!(listener.tail(), tail);
}

#[test]
fn an_event_without_an_id_gets_one() {
    let listener = running();
    let body = format!(r#"{{"event_type":"a.b","aggregate_id":"{AGGREGATE}","payload":null}}"#);
    let (one, two) = (
        listener.ask(&Request::post(&*body)),
        listener.ask(&Request::post(&*body)),
    );
    assert_eq!((one.status, two.status), (201, 201));
    assert_ne!(one.json()["id"], two.json()["id"]);
}

#[test]
fn several_events_are_answered_with_their_range() {
    let listener = running();
    let before = listener.tail();
    let array = format!("[{},{}]", event(1, "1"), event(2, "2"));
    let answer = listener.ask(&Request::post(array));
    assert_eq!(answer.status, 201);
    let epoch = listener.outbox.status().borrow().epoch.clone();
    let expected = json!({
        "accepted": 2, "epoch": epoch, "first_seq": before + 1, "last_seq": before + 2
    });
    assert_eq!(answer.json(), expected);
    // One event in an array or on a line is still answered as several are.
    let answer = listener.ask(&Request::post(format!("[{}]", event(3, "3"))));
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (201, &json!(1))
    );
    let answer = listener.ask(&Request::post_lines(event(4, "4")));
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (201, &json!(1))
    );
    assert_eq!(listener.tail(), before + 4);
}

#[test]
fn events_known_already_are_told_apart_from_new_ones() {
    let listener = running();
    let before = listener.tail();
    listener.ask(&Request::post(event(1, "1")));
    let lines = format!("{}\n{}\n{}", event(2, "2"), event(1, "1"), event(2, "2"));
    let answer = listener.ask(&Request::post_lines(&*lines));
    assert_eq!(answer.status, 201);
    let json = answer.json();
    assert_eq!(json["accepted"], 3);
    assert_eq!(json["first_seq"], before + 1);
    assert_eq!(json["last_seq"], before + 2);
    let (one, two) = (
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000002",
    );
    let events = json!([
        {"id": two, "seq": before + 2, "repeated": false},
        {"id": one, "seq": before + 1, "repeated": true},
        {"id": two, "seq": before + 2, "repeated": true},
    ]);
    assert_eq!(json["events"], events);
    let again = listener.ask(&Request::post_lines(&*lines));
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["last_seq"], before + 2);
    assert_eq!(listener.tail(), before + 2);
}

#[test]
fn bad_input_is_named_with_line_index_and_field_and_changes_nothing() {
    let listener = running();
    let tail = listener.tail();
    let good = event(1, "1");
    let bad = |from: &str, to: &str| good.replace(from, to);
    for (body, kind, field) in [
        ("{".to_owned(), "not-json", None),
        (bad("}", "}x"), "not-json", None),
        (bad("\"payload\":1", "\"payload\":"), "not-json", None),
        ("\"text\"".to_owned(), "invalid-event", None),
        (
            bad("\"payload\"", "\"playload\""),
            "invalid-event",
            Some("playload"),
        ),
        (bad(",\"payload\":1", ""), "invalid-event", Some("payload")),
        (
            bad("\"payload\":1", "\"payload\":1,\"payload\":1"),
            "invalid-event",
            Some("payload"),
        ),
        (bad("00000000-", "0000000-"), "invalid-event", Some("id")),
        (
            bad(AGGREGATE, "class 7b"),
            "invalid-event",
            Some("aggregate_id"),
        ),
        (
            bad("{\"id\"", "{\"occurred_at\":\"noon\",\"id\""),
            "invalid-event",
            Some("occurred_at"),
        ),
        (
            bad("{\"id\"", "{\"event_version\":2,\"id\""),
            "invalid-event",
            Some("event_version"),
        ),
        (
            bad("quiz.submitted.v1", "quiz submitted"),
            "invalid-event",
            Some("event_type"),
        ),
        (
            bad("quiz.submitted.v1", "quiz.*"),
            "invalid-event",
            Some("event_type"),
        ),
        (
            bad("quiz.submitted.v1", "quiz.\\u0007"),
            "invalid-event",
            Some("event_type"),
        ),
        (
            bad("quiz.submitted.v1", "outbox.events_dropped.v1"),
            "invalid-event",
            Some("event_type"),
        ),
    ] {
        let field = field.map_or(Value::Null, Value::from);
        let problem = listener.ask(&Request::post(&*body)).problem(400, kind);
        assert_eq!(problem["field"], field, "{body}: {problem}");
        assert!(problem["hint"].is_string(), "{problem}");
        let lines = format!("{good}\r\n\r\n{body}\r\n{good}");
        let problem = listener.ask(&Request::post_lines(lines)).problem(400, kind);
        assert_eq!(
            (&problem["line"], &problem["field"]),
            (&json!(3), &field),
            "{problem}"
        );
        if kind == "invalid-event" {
            let array = format!("[{good},{body}]");
            let problem = listener.ask(&Request::post(array)).problem(400, kind);
            assert_eq!(
                (&problem["index"], &problem["field"]),
                (&json!(1), &field),
                "{problem}"
            );
        }
    }
    for request in [
        Request::post(""),
        Request::post("[]"),
        Request::post_lines("\n\n"),
    ] {
        let problem = listener.ask(&request).problem(400, "no-events");
        assert!(problem["hint"].is_string(), "{problem}");
    }
    listener
        .ask(&Request::post(b"{\"id\":\"\xE9\"}"))
        .problem(400, "not-json");
    listener
        .ask(&Request::post(format!("\u{FEFF}{good}")))
        .problem(400, "not-json");
    assert_eq!(listener.tail(), tail);
}

#[test]
fn what_is_too_large_is_413_and_says_where() {
    let options = HttpOptions {
        max_body_bytes: 4096,
        ..HttpOptions::default()
    };
    let listener = Running::with(options, |outbox| outbox.max_payload_bytes(64));
    let tail = listener.tail();
    let large = format!("\"{}\"", "x".repeat(63));
    let lines = format!("{}\n{}", event(1, "1"), event(2, &large));
    let problem = listener
        .ask(&Request::post_lines(lines))
        .problem(413, "too-large");
    assert_eq!(
        (&problem["line"], &problem["field"]),
        (&json!(2), &json!("payload"))
    );
    listener
        .ask(&Request::post(" ".repeat(4097)))
        .problem(413, "too-large");
    assert_eq!(listener.tail(), tail);
}

#[test]
fn more_events_than_one_commit_takes_are_413() {
    let listener = running();
    let lines: Vec<_> = (1..=4097).map(|id| event(id, "1")).collect();
    listener
        .ask(&Request::post_lines(lines.join("\n")))
        .problem(413, "too-large");
    let answer = listener.ask(&Request::post_lines(lines[..4096].join("\n")));
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (201, &json!(4096))
    );
}

#[test]
fn another_content_type_than_json_and_lines_is_415() {
    let listener = running();
    let post = Request::post(event(1, "1"));
    listener
        .ask(&post.clone().without("content-type"))
        .problem(415, "unsupported-content-type");
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let request = post.clone().header("content-type", content_type);
        listener
            .ask(&request)
            .problem(415, "unsupported-content-type");
    }
    let request = post.header("content-encoding", "gzip");
    listener
        .ask(&request)
        .problem(415, "unsupported-content-type");
}

#[test]
fn a_full_journal_is_507_with_a_time_to_retry() {
    let listener = Running::with(HttpOptions::default(), |outbox| {
        outbox.max_bytes(128 * 1024)
    });
    let payload = format!("\"{}\"", "x".repeat(8 * 1024));
    let refused = (1..100).map(|id| listener.ask(&Request::post(event(id, &payload))));
    let refused = refused
        .into_iter()
        .find(|answer| answer.status != 201)
        .unwrap();
    refused.problem(507, "journal-full");
    assert_eq!(refused.header("retry-after"), Some("30"));
}

#[test]
fn a_listener_that_takes_appends_is_healthy() {
    let health = running().ask(&Request::get("/healthz"));
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"status": "open"}))
    );
}

#[test]
fn a_closed_outbox_is_503() {
    let listener = running();
    listener.outbox.blocking().close();
    let refused = listener.ask(&Request::post(event(1, "1")));
    refused.problem(503, "journal-unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[test]
fn a_payload_comes_out_byte_for_byte() {
    let listener = running();
    let payloads = [
        "9007199254740993",
        "1e999",
        r#"{"a":1,"a":2,"\u0061":3}"#,
        r#"{ "b" :	[ 1 , 2 ] , "a":"\ud83d\ude00 \/ é" }"#,
        r#""\u0000\ud800""#,
    ];
    for (id, payload) in (1..).zip(payloads) {
        assert_eq!(
            listener.ask(&Request::post(event(id, payload))).status,
            201,
            "{payload}"
        );
    }
    for (envelope, payload) in envelopes(&listener).iter().zip(payloads) {
        let (_, rest) = envelope.split_once(",\"payload\":").unwrap();
        assert_eq!(rest.strip_suffix('}'), Some(payload));
    }
    let broken = "[1,\r\n  2]";
    listener.ask(&Request::post(event(100, &format!(" {broken}\n"))));
    let last = envelopes(&listener).pop().unwrap();
    // base64 of "[1,\r\n  2]"
    assert!(
        last.ends_with(r#","payload_b64":"WzEsDQogIDJd"}"#),
        "{last}"
    );
}

#[test]
fn an_event_is_found_by_its_id_with_its_state_at_each_sink() {
    let listener = running();
    let place = listener.ask(&Request::post(event(1, "1"))).json();
    let seq = place["seq"].as_u64().unwrap();
    let path = "/v1/events/00000000-0000-0000-0000-000000000001";
    let found = listener.ask(&Request::get(path));
    assert_eq!((found.status, &found.json()["sinks"]), (200, &json!({})));
    let state = |listener: &Running| listener.ask(&Request::get(path)).json()["sinks"].clone();
    let registration = |name: &str| Registration {
        name: name.to_owned(),
        kind: "memory",
        required: true,
        window: 1024,
        start: Start::Oldest,
        by_receipts: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let school = listener.outbox.sink(registration("school")).await.unwrap();
        let hub = listener.outbox.sink(registration("hub")).await.unwrap();
        assert_eq!(
            state(&listener),
            json!({"hub": {"state": "pending"}, "school": {"state": "pending"}})
        );
        let seq = Seq::new(seq);
        let Cursor {
            floor, incarnation, ..
        } = school.cursor();
        assert_eq!(school.claim(seq).await.unwrap(), seq);
        school.progress(Progress {
            acked: seq,
            floor,
            incarnation,
        });
        school.settle().await.unwrap();
        hub.claim(seq).await.unwrap();
        hub.reject(seq, "payload_too_large").await.unwrap();
    });
    assert_eq!(
        state(&listener),
        json!({
            "hub": {"state": "rejected", "reason": "payload_too_large"},
            "school": {"state": "delivered"},
        })
    );
    let found = listener.ask(&Request::get(path)).json();
    for member in ["id", "epoch", "seq"] {
        assert_eq!(found[member], place[member]);
    }
}

#[test]
fn an_event_that_is_not_known_is_404_and_no_uuid_is_400() {
    let listener = running();
    let unknown = Request::get(format!("/v1/events/{AGGREGATE}"));
    listener.ask(&unknown).problem(404, "event-unknown");
    listener
        .ask(&Request::get("/v1/events/seven"))
        .problem(400, "bad-request");
}

#[test]
fn envelopes_are_streamed_from_a_seq_on() {
    let listener = running();
    let lines: Vec<_> = (1..=1000).map(|id| event(id, "1")).collect();
    listener.ask(&Request::post_lines(lines.join("\n")));
    let from = listener.tail() - 2;
    let answer = listener.ask(&Request::get(format!("/v1/events?from={from}")));
    let text = String::from_utf8(answer.body).unwrap();
    let seqs: Vec<_> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(seqs, [from, from + 1, from + 2]);
    assert_eq!(envelopes(&listener).len(), 1000);
    let beyond = listener.ask(&Request::get(format!("/v1/events?from={}", from + 3)));
    assert_eq!((beyond.status, beyond.body.len()), (200, 0));
    listener
        .ask(&Request::get("/v1/events?since=3"))
        .problem(400, "bad-request");
    listener
        .ask(&Request::get("/v1/events?from=x"))
        .problem(400, "bad-request");
}

#[test]
fn a_follower_gets_what_comes_after() {
    let listener = running();
    let mut follower = listener.connect();
    let from = listener.tail() + 1;
    follower.send(Request::get(format!("/v1/events?from={from}&follow=true")).bytes());
    assert_eq!(follower.read_head().status, 200);
    for id in 1..=3 {
        listener.ask(&Request::post(event(id, "1")));
        let chunk = String::from_utf8(follower.read_chunk().unwrap().unwrap()).unwrap();
        assert!(
            chunk.contains(&uuid::Uuid::from_u128(id).to_string()),
            "{chunk}"
        );
        assert!(chunk.ends_with("}\n"));
    }
}

#[test]
fn the_status_is_that_of_the_outbox() {
    let listener = running();
    let answer = listener.ask(&Request::get("/v1/status"));
    assert_eq!(answer.status, 200);
    let mut answered = answer.json();
    // The room on the disk is looked up when somebody asks.
    let journal = answered["journal"].as_object_mut().unwrap();
    assert!(journal.remove("disk").is_some());
    let expected = serde_json::to_value(&*listener.outbox.status().borrow()).unwrap();
    assert_eq!(answered, expected);
}

#[test]
fn head_is_get_without_a_body() {
    let listener = running();
    listener.ask(&Request::post(event(1, "1")));
    let mut connection = listener.connect();
    for path in [
        "/v1/status",
        "/healthz",
        "/v1/events/00000000-0000-0000-0000-000000000001",
    ] {
        let get = connection.ask(&Request::get(path));
        let head = connection.ask(&Request::new("HEAD", path));
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert_eq!(
            get.header("content-length"),
            Some(&*get.body.len().to_string())
        );
    }
    let head = connection.ask(&Request::new("HEAD", "/v1/events?from=1&follow=true"));
    assert_eq!(head.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(connection.ask(&Request::get("/healthz")).status, 200);
}

#[test]
fn other_paths_and_methods_are_problems_too() {
    let listener = running();
    for path in [
        "/index.html",
        "/v1",
        "/v1/events/",
        "/v1/events/a/b",
        "/v2/events",
        "/v1%2Fstatus",
        "/%zz",
    ] {
        let problem = listener.ask(&Request::get(path)).problem(404, "not-found");
        let hint = problem["hint"].as_str().unwrap();
        assert!(hint.contains("GET /v1/events?from=SEQ"), "{hint}");
    }
    for method in ["PUT", "DELETE", "PATCH", "BREW"] {
        let refused = listener.ask(&Request::new(method, "/v1/events"));
        refused.problem(405, "method-not-allowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    }
    let refused = listener.ask(&Request::new("POST", "/v1/status").body("{}"));
    refused.problem(405, "method-not-allowed");
    let options = listener.ask(&Request::new("OPTIONS", "/v1/status"));
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("GET, HEAD, OPTIONS"))
    );
    assert_eq!(listener.ask(&Request::get("/v1/%73tatus")).status, 200);
}

#[test]
fn every_answer_forbids_sniffing_and_storing() {
    let listener = running();
    let answers: Vec<Answer> = vec![
        listener.ask(&Request::post(event(1, "1"))),
        listener.ask(&Request::post("{")),
        listener.ask(&Request::get("/v1/status")),
        listener.ask(&Request::get("/nowhere")),
        listener.ask(&Request::get("/healthz").header("host", "evil.example")),
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("vary"), Some("origin"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn the_unix_socket_answers_the_same() {
    let listener = running();
    let mut connection = Connection::unix(&listener.socket);
    assert_eq!(connection.ask(&Request::post(event(1, "1"))).status, 201);
    assert_eq!(connection.ask(&Request::post(event(1, "1"))).status, 200);
    assert_eq!(connection.ask(&Request::get("/v1/status")).status, 200);
}

#[test]
fn a_sink_is_forgotten_once_nobody_forwards_to_it_any_more() {
    let listener = running();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let registration = Registration {
        name: "hub".into(),
        kind: "memory",
        required: true,
        window: 16,
        start: Start::Oldest,
        by_receipts: false,
    };
    let handle = runtime
        .block_on(listener.outbox.sink(registration))
        .unwrap();
    listener.ask(&Request::post(event(1, "1")));
    let tail = listener.tail();
    let forget = |name: &str| {
        let request = Request::new("DELETE", format!("/v1/sinks/{name}"));
        listener.ask(&request.without("content-type"))
    };
    let problem = forget("hub").problem(409, "sink-in-use");
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("remove [sinks.hub]"), "{hint}");
    for unknown in ["school", "Hub", "h%75b%21"] {
        forget(unknown).problem(404, "sink-unknown");
    }
    let refused = listener.ask(&Request::get("/v1/sinks/hub"));
    refused.problem(405, "method-not-allowed");
    assert_eq!(refused.header("allow"), Some("DELETE, OPTIONS"));

    drop(handle);
    let forgotten = forget("hub");
    let told = json!({"sink": "hub", "pending": tail, "dead_letters": 0});
    assert_eq!((forgotten.status, forgotten.json()), (200, told));
    let status = listener.ask(&Request::get("/v1/status")).json();
    assert_eq!(status["sinks"], json!({}));
    let ledger = listener.ask(&Request::get(format!("/v1/events?from={}", tail + 1)));
    let ledger = ledger.json();
    assert_eq!(ledger["event_type"], "outbox.sink_forgotten.v1");
    assert_eq!(
        ledger["payload"]["range"],
        json!({"first": 1, "last": tail})
    );
    forget("hub").problem(404, "sink-unknown");
}
