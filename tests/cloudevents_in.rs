//! CloudEvents handed over by HTTP, in each of the three modes.

#![cfg(feature = "http")]
#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/http_listener.rs"]
mod http_listener;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge_outbox::{
    Envelope, Verifier, envelope::Verified, event::original_uuid, http::HttpOptions,
};
use serde_json::{Value, json};

use http_client::{Answer, Request};
use http_listener::{AGGREGATE, Running};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const UUID: &str = "0198c0de-0000-7000-8000-000000000001";

fn running() -> Running {
    Running::new(HttpOptions::default())
}

/// The programs' events as the outbox has signed them.
fn envelopes(listener: &Running) -> Vec<Envelope<Verified>> {
    let answer = listener.ask(&Request::get("/v1/events?from=1"));
    let key = listener.outbox.status().borrow().public_key.clone();
    let mut verifier = Verifier::new();
    verifier.trust(key.parse().unwrap());
    answer
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| verifier.verify(Envelope::parse(line).unwrap()).unwrap())
        .filter(|envelope| !envelope.statement().event_type.starts_with("outbox."))
        .collect()
}

fn post(content_type: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::post(body).header("content-type", content_type)
}

fn structured(listener: &Running, event: &Value) -> Answer {
    listener.ask(&post(STRUCTURED, event.to_string()))
}

/// A CloudEvent with every attribute that has a place.
fn whole() -> Value {
    json!({
        "specversion": "1.0",
        "id": "order-7",
        "source": "/school/7b",
        "type": "quiz.submitted.v2",
        "subject": AGGREGATE,
        "time": "2026-03-01T09:00:00.1234567+01:00",
        "datacontenttype": "application/json; charset=utf-8",
        "aggregateid": AGGREGATE,
        "subjectid": "pupil \"7\" é",
        "eventversion": 2,
        "data": {"score": 7},
    })
}

/// The same with these members changed, or left out where they are `()`.
fn with(changes: &[(&str, Option<Value>)]) -> Value {
    let mut event = whole();
    let members = event.as_object_mut().unwrap();
    for (name, value) in changes {
        match value {
            Some(value) => drop(members.insert((*name).to_owned(), value.clone())),
            None => drop(members.remove(*name)),
        }
    }
    event
}

/// A binary message with these headers, each in place of one of the same name; an empty value
/// leaves one out.
fn binary(changes: &[(&str, &str)], data: &[u8]) -> Request {
    let mut request = Request::post(data);
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "order-7"),
        ("ce-source", "/school/7b"),
        ("ce-type", "quiz.submitted.v2"),
        ("ce-subject", AGGREGATE),
        ("ce-time", "2026-03-01T09:00:00.1234567+01:00"),
        ("ce-aggregateid", AGGREGATE),
        ("ce-subjectid", "pupil%20%227%22%20%c3%a9"),
        ("ce-eventversion", "2"),
    ] {
        request = request.header(name, value);
    }
    for (name, value) in changes {
        request = match value.is_empty() {
            true => request.without(name),
            false => request.header(name, value),
        };
    }
    request
}

#[test]
fn each_attribute_finds_its_place_in_every_mode() {
    let (batched, with_headers) = (running(), running());
    let modes = [running(), running()];
    let answers = [
        structured(&modes[0], &whole()),
        modes[1].ask(&binary(&[], br#"{"score":7}"#)),
        batched.ask(&post(BATCH, json!([whole()]).to_string())),
        // In structured mode the headers may repeat the attributes: they say nothing.
        with_headers.ask(&post(STRUCTURED, whole().to_string()).header("ce-id", "another")),
    ];
    let listeners = modes.iter().chain([&batched, &with_headers]);
    for (listener, answer) in listeners.zip(answers) {
        assert_eq!(answer.status, 201, "{answer:?}");
        let [envelope] = &envelopes(listener)[..] else {
            panic!("one event")
        };
        let statement = envelope.statement();
        assert_eq!(statement.id, original_uuid("/school/7b", "order-7"));
        assert_eq!(statement.original_id, Some("order-7"));
        assert_eq!(statement.source, "/school/7b");
        assert_eq!(statement.event_type, "quiz.submitted.v2");
        assert_eq!(statement.event_version, 2);
        assert_eq!(
            statement.occurred_at.to_string(),
            "2026-03-01T08:00:00.123456Z"
        );
        let private = envelope.private().unwrap();
        assert_eq!(private.aggregate_id.to_string(), AGGREGATE);
        assert_eq!(private.subject_id, "pupil \"7\" é");
        assert_eq!(private.payload, br#"{"score":7}"#);
    }
}

#[test]
fn the_least_that_a_cloud_event_can_say_is_enough() {
    let least = json!({
        "specversion": "1.0", "id": UUID, "source": "kiosk", "type": "a", "subject": AGGREGATE,
        "time": null, "datacontenttype": null, "aggregateid": null, "subjectid": null,
        "eventversion": null, "dataschema": null, "traceparent": null, "data": null,
    });
    let listener = running();
    let answer = structured(&listener, &least);
    assert_eq!((answer.status, &answer.json()["id"]), (201, &json!(UUID)));
    let least = [
        ("ce-id", "0198c0de-0000-7000-8000-000000000002"),
        ("ce-aggregateid", ""),
        ("ce-subjectid", ""),
        ("ce-eventversion", ""),
        ("ce-time", ""),
    ];
    assert_eq!(listener.ask(&binary(&least, b"null")).status, 201);
    for envelope in envelopes(&listener) {
        assert_eq!(envelope.statement().original_id, None);
        assert_eq!(envelope.private().unwrap().payload, b"null");
        assert_eq!(envelope.private().unwrap().subject_id, "");
    }
}

#[test]
fn an_id_that_is_a_uuid_in_its_one_spelling_is_the_events_and_any_other_is_kept() {
    let listener = running();
    for (id, is_uuid) in [
        (UUID, true),
        ("0198C0DE-0000-7000-8000-000000000001", false),
        ("0198c0de000070008000000000000001", false),
        ("00000000-0000-0000-0000-000000000000", false),
        ("{0198c0de-0000-7000-8000-000000000001}", false),
        ("7", false),
        ("é💡 \"\\", false),
        (&"x".repeat(255), false),
    ] {
        let answer = structured(&listener, &with(&[("id", Some(id.into()))]));
        assert_eq!(answer.status, 201, "{answer:?}");
        let kept = envelopes(&listener).pop().unwrap();
        let statement = kept.statement();
        assert_eq!(statement.original_id, (!is_uuid).then_some(id));
        let expected = match is_uuid {
            true => UUID.parse().unwrap(),
            false => original_uuid("/school/7b", id),
        };
        assert_eq!(statement.id, expected);
        assert_eq!(answer.json()["id"], expected.to_string());
    }
}

#[test]
fn the_same_source_and_id_again_are_answered_with_the_first_place_whatever_the_mode() {
    let listener = running();
    let first = structured(&listener, &whole());
    assert_eq!(first.status, 201);
    let again = structured(&listener, &whole());
    assert_eq!((again.status, again.json()), (200, first.json()));
    let in_binary = listener.ask(&binary(&[], br#"{"score":7}"#));
    assert_eq!((in_binary.status, in_binary.json()), (200, first.json()));
    let other = with(&[("id", Some("order-8".into()))]);
    let batch = json!([whole(), other, whole()]).to_string();
    let answer = listener.ask(&post(BATCH, batch));
    assert_eq!(answer.status, 201);
    let seq = first.json()["seq"].as_u64().unwrap();
    let events = answer.json()["events"].clone();
    let told: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["seq"].as_u64().unwrap(), event["repeated"] == true))
        .collect();
    assert_eq!(told, [(seq, true), (seq + 1, false), (seq, true)]);
    let found = format!("/v1/events/{}", first.json()["id"].as_str().unwrap());
    assert_eq!(listener.ask(&Request::get(found)).json()["seq"], seq);

    // The id names an event only among those of its source.
    let elsewhere = structured(&listener, &with(&[("source", Some("/school/7c".into()))]));
    assert_eq!(elsewhere.status, 201);
    let contrary = structured(&listener, &with(&[("data", Some(8.into()))]));
    assert_eq!(contrary.problem(409, "id-conflict")["field"], "id");
    // Whoever names the event by the UUID that was made of its id says something else.
    let by_uuid = with(&[("id", Some(first.json()["id"].clone()))]);
    structured(&listener, &by_uuid).problem(409, "id-conflict");
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let listener = running();
    let tail = listener.tail();
    let bad = with(&[("source", Some("my app".into()))]);
    let batch = json!([whole(), bad]).to_string();
    let problem = listener
        .ask(&post(BATCH, batch))
        .problem(400, "invalid-event");
    assert_eq!(
        (&problem["index"], &problem["field"]),
        (&json!(1), &json!("source"))
    );
    for (body, kind) in [
        (whole().to_string(), "invalid-event"),
        ("[1]".to_owned(), "invalid-event"),
        ("\"text\"".to_owned(), "invalid-event"),
        ("[]".to_owned(), "no-events"),
        (String::new(), "no-events"),
        (format!("[{}", whole()), "not-json"),
        (format!("[{}]]", whole()), "not-json"),
    ] {
        listener.ask(&post(BATCH, body)).problem(400, kind);
    }
    for body in [json!([whole()]).to_string(), "7".to_owned()] {
        let problem = listener.ask(&post(STRUCTURED, body));
        problem.problem(400, "invalid-event");
    }
    assert_eq!(listener.tail(), tail);
}

#[test]
fn whatever_has_no_place_or_is_wrong_is_refused_by_its_name_in_structured_mode() {
    let listener = running();
    let tail = listener.tail();
    let long = "x".repeat(256);
    let text = |text: &str| Some(Value::from(text));
    for (name, value, field, said) in [
        ("specversion", None, "specversion", "missing"),
        ("specversion", Some(Value::Null), "specversion", "missing"),
        ("specversion", text("0.3"), "specversion", "not 1.0"),
        ("specversion", text("1"), "specversion", "not 1.0"),
        (
            "specversion",
            Some(json!(1.0)),
            "specversion",
            "not a string",
        ),
        ("id", None, "id", "missing"),
        ("id", text(""), "id", "0 bytes"),
        ("id", text(&long), "id", "256 bytes"),
        ("id", text("a\nb"), "id", "control character"),
        ("id", text("a\u{fffe}b"), "id", "noncharacter"),
        ("id", Some(json!(7)), "id", "not a string"),
        ("source", None, "source", "missing"),
        ("source", text(""), "source", "not a URI-reference"),
        ("source", text("my app"), "source", "not a URI-reference"),
        ("source", text("/schöne"), "source", "not a URI-reference"),
        ("source", text(&long), "source", "256 bytes"),
        ("type", None, "type", "missing"),
        ("type", text(""), "type", "0 bytes"),
        ("type", text("a/b"), "type", "event type with '/'"),
        ("type", text("outbox.x"), "type", "reserved"),
        (
            "subject",
            text("lesson 7"),
            "subject",
            "not a UUID, and the subject is kept",
        ),
        ("subject", text(""), "subject", "not a UUID"),
        (
            "subject",
            text(UUID),
            "aggregateid",
            "another aggregate than the subject",
        ),
        ("aggregateid", text("7"), "aggregateid", "not a UUID"),
        ("subjectid", text(""), "subjectid", "0 bytes"),
        ("subjectid", text(&long), "subjectid", "256 bytes"),
        ("subjectid", text("\u{1fffe}"), "subjectid", "noncharacter"),
        ("time", text("noon"), "time", "not an RFC 3339 time"),
        (
            "time",
            text("2026-03-01T09:00:00"),
            "time",
            "not an RFC 3339 time",
        ),
        (
            "eventversion",
            Some(json!(0)),
            "eventversion",
            "not a whole number",
        ),
        (
            "eventversion",
            Some(json!(1.5)),
            "eventversion",
            "not a whole number",
        ),
        (
            "eventversion",
            Some(json!(65536)),
            "eventversion",
            "not a whole number",
        ),
        (
            "eventversion",
            Some(json!(true)),
            "eventversion",
            "not a whole number",
        ),
        (
            "eventversion",
            text("+2"),
            "eventversion",
            "not a whole number",
        ),
        (
            "eventversion",
            text("02"),
            "eventversion",
            "not a whole number",
        ),
        (
            "eventversion",
            Some(json!(3)),
            "eventversion",
            "contradicts",
        ),
        ("data", None, "data", "missing, and so is data_base64"),
        (
            "data_base64",
            text("MQ=="),
            "data_base64",
            "given beside data",
        ),
        (
            "dataschema",
            text("/quiz"),
            "dataschema",
            "no place for a schema",
        ),
        (
            "traceparent",
            text("00-1"),
            "traceparent",
            "no place for this attribute",
        ),
        ("Type", text("a"), "Type", "no place for this attribute"),
        (
            "partitionkey",
            Some(json!({"a": 1})),
            "partitionkey",
            "no place",
        ),
    ] {
        let event = with(&[(name, value.clone())]);
        let problem = structured(&listener, &event).problem(400, "invalid-event");
        assert_eq!(problem["field"], field, "{name}: {value:?}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{name}: {value:?}: {problem}");
        assert!(problem["hint"].is_string(), "{problem}");
    }
    let without = with(&[("subject", None), ("aggregateid", None)]);
    let problem = structured(&listener, &without).problem(400, "invalid-event");
    assert_eq!(problem["field"], "subject");
    for content_type in [
        "application/xml",
        "text/plain",
        "application/vnd.quiz+json",
        "application/json; charset=latin-1",
        "application/json; profile=x",
        "",
    ] {
        let event = with(&[("datacontenttype", text(content_type))]);
        let problem = structured(&listener, &event).problem(415, "unsupported-content-type");
        assert_eq!(problem["field"], "datacontenttype");
    }
    assert_eq!(listener.tail(), tail);
}

#[test]
fn a_member_given_twice_is_refused_however_it_is_spelled() {
    let listener = running();
    let whole = whole().to_string();
    for more in [
        "\"id\":\"order-7\"",
        "\"\\u0069d\":\"order-7\"",
        "\"id\":null",
        "\"data\":1",
    ] {
        let body = format!("{},{more}}}", whole.strip_suffix('}').unwrap());
        let problem = listener.ask(&post(STRUCTURED, body));
        let problem = problem.problem(400, "invalid-event");
        assert_eq!(
            problem["detail"].as_str().unwrap().rsplit(": ").next(),
            Some("given twice")
        );
    }
}

#[test]
fn whatever_has_no_place_or_is_wrong_is_refused_by_its_header_in_binary_mode() {
    let listener = running();
    let tail = listener.tail();
    for (name, value, field, said) in [
        ("ce-specversion", "", "ce-specversion", "missing"),
        ("ce-specversion", "0.3", "ce-specversion", "not 1.0"),
        ("ce-id", "", "ce-id", "missing"),
        ("ce-id", "\"\"", "ce-id", "0 bytes"),
        ("ce-id", "a%0Ab", "ce-id", "control character"),
        ("ce-id", "%EF%BF%BE", "ce-id", "noncharacter"),
        ("ce-id", "50%", "ce-id", "not percent-encoded"),
        ("ce-id", "%zz", "ce-id", "not percent-encoded"),
        ("ce-id", "%C0%A0", "ce-id", "not percent-encoded"),
        ("ce-id", "é", "ce-id", "not printable ASCII"),
        ("ce-id", "a\tb", "ce-id", "not printable ASCII"),
        ("ce-id", "\"a", "ce-id", "quotation mark"),
        ("ce-id", "\"a\"b", "ce-id", "quotation mark"),
        ("ce-id", "\"a\\", "ce-id", "quotation mark"),
        ("ce-source", "", "ce-source", "missing"),
        ("ce-source", "my%20app", "ce-source", "not a URI-reference"),
        ("ce-type", "", "ce-type", "missing"),
        ("ce-type", "a%2Fb", "ce-type", "event type with '/'"),
        (
            "ce-subject",
            "lesson",
            "ce-subject",
            "not a UUID, and the subject is kept",
        ),
        ("ce-subject", UUID, "ce-aggregateid", "another aggregate"),
        ("ce-aggregateid", "7", "ce-aggregateid", "not a UUID"),
        ("ce-subjectid", "%0A", "ce-subjectid", "control character"),
        ("ce-time", "noon", "ce-time", "not an RFC 3339 time"),
        (
            "ce-eventversion",
            "two",
            "ce-eventversion",
            "not a whole number",
        ),
        ("ce-eventversion", "3", "ce-eventversion", "contradicts"),
        (
            "ce-datacontenttype",
            "application/json",
            "ce-datacontenttype",
            "apart",
        ),
        (
            "ce-dataschema",
            "/quiz",
            "ce-dataschema",
            "no place for a schema",
        ),
        (
            "ce-traceparent",
            "00-1",
            "ce-traceparent",
            "no place for this attribute",
        ),
        ("ce-data", "1", "ce-data", "no place for this attribute"),
    ] {
        let request = binary(&[(name, value)], b"1");
        let problem = listener.ask(&request).problem(400, "invalid-event");
        assert_eq!(problem["field"], field, "{name}: {value:?}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{name}: {value:?}: {problem}");
        assert!(problem["hint"].is_string(), "{problem}");
    }
    let bytes = binary(&[], b"1").bytes();
    let bytes = String::from_utf8(bytes).unwrap();
    let twice = bytes.replacen("ce-id: ", "ce-id: order-7\r\nCE-ID: ", 1);
    let mut connection = listener.connect();
    connection.send(twice);
    let problem = connection.read_answer().problem(400, "invalid-event");
    assert_eq!(
        (&problem["field"], &problem["detail"]),
        (&json!("ce-id"), &json!("ce-id: given twice"))
    );
    for (data, field) in [
        (&b""[..], "data"),
        (b"{", "data"),
        (b"\xff", "data"),
        (b"1 2", "data"),
    ] {
        let problem = listener
            .ask(&binary(&[], data))
            .problem(400, "invalid-event");
        assert_eq!(problem["field"], field, "{problem}");
    }
    for content_type in ["application/xml", "application/x-ndjson", "text/plain", ""] {
        let request = binary(&[("content-type", content_type)], b"1");
        listener
            .ask(&request)
            .problem(415, "unsupported-content-type");
    }
    let one_alone = Request::post("1").header("ce-id", "7");
    let problem = listener.ask(&one_alone).problem(400, "invalid-event");
    assert_eq!(problem["field"], "ce-specversion");
    assert_eq!(listener.tail(), tail);
}

#[test]
fn a_header_may_be_quoted_or_escaped_without_need() {
    let listener = running();
    for (value, id) in [
        ("\"order 7\"", "order 7"),
        ("\"a \\\"b\\\" \\\\\"", "a \"b\" \\"),
        ("\"a%20b\"", "a b"),
        ("%6frder", "order"),
        ("a b", "a b"),
        ("%2541", "%41"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("a%22b", "a\"b"),
    ] {
        let answer = listener.ask(&binary(&[("ce-id", value)], b"1"));
        assert!(matches!(answer.status, 200 | 201), "{value}: {answer:?}");
        assert_eq!(
            answer.json()["id"],
            original_uuid("/school/7b", id).to_string()
        );
    }
}

/// Valid JSON that a parser and a printer would not give back as it came.
fn payloads() -> Vec<String> {
    let nested = format!("{}{}", "[".repeat(128), "]".repeat(128));
    [
        "9007199254740993",
        "-0.0e-0",
        "1E400",
        "{\"a\":1,\"a\":2,\"\\u0061\":3}",
        "{ \"white\" :\r\n\t[ 1 ,\n\n2 ] }",
        "\"\\u0000\\uD83D\\ude00\\/\"",
        "\"\u{2028}é😀\u{feff}\"",
        "\"\\ud800\"",
        "{\"data\":{\"data_base64\":\"}\"}}",
        "null",
        &nested,
    ]
    .map(str::to_owned)
    .into()
}

#[test]
fn the_data_comes_out_byte_for_byte_in_every_mode() {
    let listener = running();
    let base = with(&[("data", None), ("id", None)]).to_string();
    let base = base.strip_suffix('}').unwrap();
    let mut expected = Vec::new();
    for (number, payload) in payloads().iter().enumerate() {
        let spaced = format!(" \n{payload}\t\r\n");
        let encoded = STANDARD.encode(&spaced);
        let slashed = encoded.replace('/', "\\/");
        let plain = format!("{base},\"id\":\"plain-{number}\",\"data\":{spaced}}}");
        let binary_id = format!("binary-{number}");
        let in_base64 =
            format!("{base},\"id\":\"base64-{number}\",\"data_base64\":\"{slashed}\"}}");
        for request in [
            post(STRUCTURED, plain),
            post(STRUCTURED, in_base64),
            binary(&[("ce-id", &binary_id)], spaced.as_bytes()),
        ] {
            let answer = listener.ask(&request);
            assert_eq!(answer.status, 201, "{payload:.60}: {answer:?}");
        }
        // White space around a member's value is not part of it; that of a body is.
        expected.extend([payload.clone(), spaced.clone(), spaced]);
    }
    let kept: Vec<String> = envelopes(&listener)
        .iter()
        .map(|envelope| String::from_utf8(envelope.private().unwrap().payload.into()).unwrap())
        .collect();
    assert_eq!(kept, expected);
}

#[test]
fn data_that_is_no_base64_or_no_json_is_refused() {
    let listener = running();
    for (encoded, said) in [
        (json!("MQ"), "not base64"),
        (json!("MR=="), "not base64"),
        (json!("_-=="), "not base64"),
        (json!(" MQ=="), "not base64"),
        (json!(7), "not a string"),
        (json!(null), "not a string"),
        (json!(""), "not one JSON value"),
        (json!(STANDARD.encode("{")), "not one JSON value"),
        (json!(STANDARD.encode(b"\"\xff\"")), "not UTF-8"),
        (json!(STANDARD.encode("\u{feff}1")), "not one JSON value"),
        (json!(STANDARD.encode("[".repeat(129))), "nested more than"),
    ] {
        let event = with(&[("data", None), ("data_base64", Some(encoded))]);
        let problem = structured(&listener, &event).problem(400, "invalid-event");
        assert_eq!(problem["field"], "data_base64");
        assert!(
            problem["detail"].as_str().unwrap().contains(said),
            "{said}: {problem}"
        );
    }
}

#[test]
fn data_that_is_too_large_is_413_and_a_hostile_body_costs_only_its_length() {
    let options = HttpOptions::default();
    let listener = Running::with(options, |outbox| outbox.max_payload_bytes(64));
    let large = format!("\"{}\"", "x".repeat(63));
    let encoded = STANDARD.encode(&large);
    let in_base64 = with(&[("data", None), ("data_base64", Some(encoded.into()))]);
    for (request, field) in [
        (
            post(
                STRUCTURED,
                with(&[("data", Some("x".repeat(63).into()))]).to_string(),
            ),
            "data",
        ),
        (post(STRUCTURED, in_base64.to_string()), "data_base64"),
        (binary(&[], large.as_bytes()), "data"),
    ] {
        let problem = listener.ask(&request).problem(413, "too-large");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let abyss = "[".repeat(4_000_000);
    for content_type in [STRUCTURED, BATCH] {
        let answer = listener.ask(&post(content_type, abyss.as_str()));
        assert_eq!(answer.status, 400);
        let foreign = format!("{{\"traceparent\":{abyss}");
        assert_eq!(listener.ask(&post(content_type, foreign)).status, 400);
    }
}

#[test]
fn no_refusal_quotes_a_value() {
    let listener = running();
    let secret = "s3cret%20";
    for name in [
        "id",
        "source",
        "subject",
        "time",
        "aggregateid",
        "eventversion",
        "data_base64",
    ] {
        let event = with(&[(name, Some(format!("{secret}\u{7f}").into()))]);
        let answer = structured(&listener, &event);
        assert_eq!(answer.status, 400);
        assert!(
            !String::from_utf8(answer.body).unwrap().contains("s3cret"),
            "{name}"
        );
    }
}
