use super::*;

const LIMIT: usize = 1024;
const AGGREGATE: &str = "8c7f1d1e-1f0a-4f6e-9d59-0c4f1c9a2b3d";

/// An event with this payload and these other members in front.
fn event(members: &str, payload: &str) -> String {
    format!(
        r#"{{{members}"event_type":"quiz.submitted.v1","aggregate_id":"{AGGREGATE}","payload":{payload}}}"#
    )
}

fn json(body: impl AsRef<[u8]>) -> Result<Request, BodyError> {
    read(&Bytes::copy_from_slice(body.as_ref()), Format::Json, LIMIT)
}

fn lines(body: impl AsRef<[u8]>) -> Result<Request, BodyError> {
    read(
        &Bytes::copy_from_slice(body.as_ref()),
        Format::NdJson,
        LIMIT,
    )
}

/// What is said of a body that is refused.
fn refusal(request: Result<Request, BodyError>) -> String {
    request.expect_err("refused").to_string()
}

#[test]
fn one_object_is_one_event_with_all_its_members() {
    let members = r#""id":"0198C0DE-0000-7000-8000-000000000001","event_version":1,
        "subject_id":"pupil \"7\" \u00e9\ud83d\ude00","occurred_at":"2026-03-01T09:00:00+01:00","source":"kiosk","#;
    let request = json(event(members, r#"{"score":7}"#)).unwrap();
    assert_eq!(request.shape, Shape::One);
    let [event] = &request.events[..] else {
        panic!("one event")
    };
    assert_eq!(event.event_type().as_str(), "quiz.submitted.v1");
    assert_eq!(event.event_version(), 1);
    assert_eq!(
        event.id.unwrap().to_string(),
        "0198c0de-0000-7000-8000-000000000001"
    );
    assert_eq!(event.aggregate_id.to_string(), AGGREGATE);
    assert_eq!(event.subject_id.as_deref(), Some("pupil \"7\" é😀"));
    assert_eq!(
        event.occurred_at.unwrap().to_string(),
        "2026-03-01T08:00:00.000000Z"
    );
    assert_eq!(event.source.as_deref(), Some("kiosk"));
    assert_eq!(event.payload(), br#"{"score":7}"#);
}

#[test]
fn each_attribute_of_a_cloud_event_is_documented() {
    let page = include_str!("../../../docs/cloudevents.md");
    let (_, page) = page.split_once("| attribute | | becomes |").unwrap();
    let (table, _) = page.split_once("\n\n").unwrap();
    let rows = table.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some(name)
    });
    let mut documented: Vec<&str> = rows.collect();
    let mut known: Vec<&str> = Attribute::NAMES.iter().map(|(name, _)| *name).collect();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
    for (place, (_, attribute)) in Attribute::NAMES.iter().enumerate() {
        assert_eq!(attribute.place(), place);
    }
}

#[test]
fn null_stands_for_an_optional_member_that_is_left_out() {
    let members =
        r#""id":null,"event_version": null ,"subject_id":null,"occurred_at":null,"source":null,"#;
    let request = json(event(members, "null")).unwrap();
    assert_eq!(request.events, json(event("", "null")).unwrap().events);
    assert_eq!(request.events[0].payload(), b"null");
    assert_eq!(
        refusal(json(event(r#""aggregate_id":null,"#, "1").replacen(
            &format!(r#","aggregate_id":"{AGGREGATE}""#),
            "",
            1
        ))),
        "aggregate_id: not a UUID"
    );
}

#[test]
fn a_payload_comes_out_byte_for_byte() {
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    for payload in [
        "0",
        "-0.0e-00",
        "9007199254740993",
        "123456789012345678901234567890.000000000000000000001e+400",
        r#""""#,
        r#""\u0000 \uD800 \/ \u00e9 é""#,
        r#"{"a":1,"a":2,"":{}}"#,
        "{ \"a\" :\t[ 1 ,\r\n 2 ] }",
        &deep,
    ] {
        let spaced = format!(" \r\n\t{payload}\n \t ");
        let request = json(event("", &spaced)).unwrap();
        assert_eq!(request.events[0].payload(), payload.as_bytes(), "{payload}");
    }
}

#[test]
fn a_payload_nested_beyond_the_limit_is_refused_without_recursion() {
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    assert_eq!(
        refusal(json(event("", &deep))),
        "payload: nested more than 128 levels deep at byte 128"
    );
    let abyss = "[".repeat(4_000_000);
    assert!(json(&abyss).is_err());
    assert!(json(event("", &abyss)).is_err());
}

#[test]
fn an_array_is_its_events_in_order() {
    let body = format!(" [{} ,\n{}]\r\n", event("", "1"), event("", "2"));
    let request = json(body).unwrap();
    assert_eq!(request.shape, Shape::Array);
    let payloads: Vec<_> = request.events.iter().map(Event::payload).collect();
    assert_eq!(payloads, [b"1", b"2"]);
    assert_eq!(request.shape.place(1), Some(Place::Index(1)));
}

#[test]
fn lines_may_end_in_cr_lf_and_blank_ones_count_without_being_events() {
    let body = format!("\r\n{}\r\n  \t\n{}", event("", "1"), event("", "2"));
    let request = lines(body).unwrap();
    assert_eq!(request.shape, Shape::Lines(vec![2, 4]));
    assert_eq!(request.shape.place(1), Some(Place::Line(4)));
    let payloads: Vec<_> = request.events.iter().map(Event::payload).collect();
    assert_eq!(payloads, [b"1", b"2"]);
}

#[test]
fn a_body_without_an_event_is_refused() {
    for body in ["", " \r\n ", "[]", "[ ]"] {
        assert!(
            matches!(
                json(body),
                Err(BodyError {
                    fault: Fault::Empty,
                    ..
                })
            ),
            "{body:?}"
        );
    }
    assert!(matches!(
        lines("\n\r\n \n"),
        Err(BodyError {
            fault: Fault::Empty,
            ..
        })
    ));
}

#[test]
fn each_mistake_is_named_with_its_place_and_its_member() {
    let good = event("", "1");
    for (members, said) in [
        (r#""colour":1,"#, "colour: unknown member"),
        (r#""payload":1,"#, "payload: given twice"),
        (r#""event\u005ftype":"a.b","#, "event_type: given twice"),
        (r#""id":"0198c0de","#, "id: not a UUID"),
        (
            r#""id":"0198c0de000070008000000000000001","#,
            "id: not a UUID",
        ),
        (r#""id":7,"#, "id: not a UUID"),
        (
            r#""occurred_at":"yesterday","#,
            "occurred_at: not an RFC 3339 time",
        ),
        (
            r#""occurred_at":"2026-03-01T08:00:00","#,
            "occurred_at: not an RFC 3339 time",
        ),
        (
            r#""event_version":0,"#,
            "event_version: not a whole number from 1 to 65535",
        ),
        (
            r#""event_version":1.0,"#,
            "event_version: not a whole number from 1 to 65535",
        ),
        (
            r#""event_version":65536,"#,
            "event_version: not a whole number from 1 to 65535",
        ),
        (
            r#""event_version":"1","#,
            "event_version: not a whole number from 1 to 65535",
        ),
        (r#""source":["kiosk"],"#, "source: not a string"),
        (
            r#""subject_id":"\ud800","#,
            "subject_id: a \\u escape that is half of a character",
        ),
        (
            r#""event_version":2,"#,
            "event version 2 contradicts the event type \"quiz.submitted.v1\"",
        ),
        (
            r#""subject_id":"","#,
            "subject id: 0 bytes long, and 1 to 255 are taken",
        ),
    ] {
        let bad = event(members, "1");
        assert_eq!(refusal(json(&bad)), said);
        let in_array = refusal(json(format!("[{good},{bad}]")));
        assert_eq!(in_array, format!("event at index 1: {said}"));
        let in_lines = refusal(lines(format!("{good}\n\n{bad}\n")));
        assert_eq!(in_lines, format!("line 3: {said}"));
    }
}

#[test]
fn an_event_type_that_could_not_be_a_subject_is_refused_with_its_member() {
    for event_type in [
        "", "a b", "a.*", "a.>", "a/#", "a..b", ".a", "a\\u0007", "outbox.x", "outbox", "é",
    ] {
        let body = event("", "1").replace("quiz.submitted.v1", event_type);
        let error = json(body).expect_err(event_type);
        assert_eq!(error.field.as_deref(), Some("event_type"), "{event_type}");
        assert_eq!(error.fault.kind(), BodyErrorKind::NotAnEvent);
    }
}

#[test]
fn each_missing_member_is_named() {
    for member in ["event_type", "aggregate_id", "payload"] {
        let body = event("", "1").replace(&format!("\"{member}\""), "\"source\"");
        let body = body.replace("\"source\":1", "\"source\":\"x\"");
        assert_eq!(refusal(json(body)), format!("{member}: missing"));
    }
}

#[test]
fn what_is_not_json_is_located() {
    assert_eq!(
        refusal(json("{")),
        "not JSON at byte 1: EOF while parsing an object"
    );
    assert_eq!(refusal(json("{}}")), "event_type: missing");
    let good = event("", "1");
    let after = refusal(json(format!("{good}\n {good}")));
    assert_eq!(
        after,
        format!("not JSON at byte {}: trailing characters", good.len() + 3)
    );
    let after = refusal(json(format!("[{good}] x")));
    assert_eq!(
        after,
        format!("not JSON at byte {}: trailing characters", good.len() + 4)
    );
    let two = refusal(lines(format!("{good}\n{good}{good}")));
    assert_eq!(
        two,
        format!(
            "line 2: not JSON at byte {}: trailing characters",
            good.len() + 1
        )
    );
    let cut = refusal(json(format!("[{good},{{\"id\"")));
    assert!(
        cut.starts_with("event at index 1: not JSON at byte "),
        "{cut}"
    );
    assert!(json(event("", "01")).is_err());
    assert!(json(event("", "NaN")).is_err());
    assert!(json(event("", "'x'")).is_err());
    assert!(json(event("", "1").replace("}", ",}")).is_err());
}

#[test]
fn what_is_not_an_object_is_refused_without_being_quoted() {
    for body in ["\"secret\"", "17", "null", "true"] {
        assert_eq!(
            refusal(json(body)),
            "an event is a JSON object, and this is something else"
        );
    }
    let nested = refusal(json(format!("[{},[{}]]", event("", "1"), event("", "1"))));
    assert_eq!(
        nested,
        "event at index 1: an event is a JSON object, and this is something else"
    );
    let array = refusal(lines(format!("[{}]", event("", "1"))));
    assert_eq!(
        array,
        "line 1: an event is a JSON object, and this is something else"
    );
}

#[test]
fn no_refusal_quotes_a_value() {
    let secret = "Mia-Musterfrau";
    for members in [
        format!(r#""id":"{secret}","#),
        format!(r#""occurred_at":"{secret}","#),
        format!(r#""event_version":"{secret}","#),
        format!(r#""subject_id":["{secret}"],"#),
        format!(r#""subject_id":"{secret}\u0000","#),
        format!(r#""source":{{"{secret}":1}},"#),
        format!(r#""subject_id":"{secret}\x","#),
    ] {
        let error = json(event(&members, "1")).expect_err(&members);
        assert!(
            !format!("{error} {error:?} {}", error.fault.hint()).contains(secret),
            "{members}"
        );
    }
    for payload in [
        format!("\"{secret}"),
        format!("{{\"{secret}\":}}"),
        format!("\"{secret}\u{1}\""),
    ] {
        let error = json(event("", &payload)).expect_err(&payload);
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
}

#[test]
fn the_name_of_a_foreign_member_is_repeated_only_in_part() {
    let error = json(event(&format!("\"{}\":1,", "é".repeat(100_000)), "1")).expect_err("refused");
    assert_eq!(error.field.as_deref(), Some("é".repeat(64).as_str()));
}

#[test]
fn a_byte_order_mark_and_other_encodings_are_named() {
    let good = event("", "1");
    let marked = [b"\xEF\xBB\xBF", good.as_bytes()].concat();
    assert_eq!(refusal(json(&marked)), "a byte order mark before the JSON");
    assert_eq!(refusal(lines(&marked)), "a byte order mark before the JSON");
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(json(utf16).is_err());
}

#[test]
fn invalid_utf_8_is_located() {
    let latin = |text: &str| [text.as_bytes(), b"\xE9\"}"].concat();
    let good = event("", "1");
    let cut = &event("", "\"")[..good.len() - 1];
    assert_eq!(
        refusal(json(latin(cut))),
        format!("not UTF-8 at byte {} of the body", cut.len())
    );
    let array = format!("[{good},{cut}");
    assert_eq!(
        refusal(json(latin(&array))),
        format!(
            "event at index 1: not UTF-8 at byte {} of the body",
            array.len()
        )
    );
    let several = format!("{good}\n\n{cut}");
    assert_eq!(
        refusal(lines(latin(&several))),
        format!("line 3: not UTF-8 at byte {} of the body", several.len())
    );
    assert!(matches!(
        lines(latin(&format!("{good}\n"))),
        Err(BodyError {
            fault: Fault::NotUtf8 { .. },
            ..
        })
    ));
}

#[test]
fn a_payload_over_its_limit_is_refused_and_one_at_it_is_not() {
    let string = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert!(json(event("", &string(LIMIT))).is_ok());
    let error = json(event("", &string(LIMIT + 1))).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "payload: 1025 bytes, and at most 1024 are taken"
    );
    assert_eq!(error.fault.kind(), BodyErrorKind::TooLarge);
}

#[test]
fn more_events_than_one_commit_takes_are_refused_before_the_rest_is_read() {
    let good = event("", "1");
    let most = vec![good.as_str(); MAX_REQUEST_EVENTS];
    assert_eq!(
        json(format!("[{}]", most.join(","))).unwrap().events.len(),
        MAX_REQUEST_EVENTS
    );
    assert_eq!(
        lines(most.join("\n")).unwrap().events.len(),
        MAX_REQUEST_EVENTS
    );
    let error = lines(format!("{}\n{good}\nnonsense", most.join("\n"))).expect_err("too many");
    assert_eq!(error.place, Some(Place::Line(MAX_REQUEST_EVENTS + 1)));
    assert_eq!(error.fault.kind(), BodyErrorKind::TooLarge);
    let error = json(format!("[{},{good},nonsense]", most.join(","))).expect_err("too many");
    assert_eq!(error.place, Some(Place::Index(MAX_REQUEST_EVENTS)));
}

/// Whether a payload is a part of this body, and no copy.
fn is_part_of(body: &Bytes, event: &Event) -> bool {
    body.as_ptr_range().contains(&event.payload().as_ptr())
}

#[test]
fn payloads_of_events_that_came_together_are_parts_of_their_body() {
    let payload = format!("{{\"answer\":\"{}\"}}", "x".repeat(200));
    let line = event("", &payload);
    let cloud = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/k","type":"a","subject":"{AGGREGATE}","data":{payload}}}"#
    );
    for (body, format) in [
        (format!("{line}\n{line}"), Format::NdJson),
        (format!("[{line},{line}]"), Format::Json),
        (format!("[{cloud},{cloud}]"), Format::CloudEventBatch),
    ] {
        let body = Bytes::from(body);
        let request = read(&body, format, LIMIT).unwrap();
        assert_eq!(request.events.len(), 2);
        assert!(request.events.iter().all(|event| is_part_of(&body, event)));
        assert!(
            request
                .events
                .iter()
                .all(|event| event.payload() == payload.as_bytes())
        );
    }
}

#[test]
fn a_body_of_little_else_than_white_space_is_held_by_nobody() {
    let line = event("", r#"{"score":7}"#);
    for (body, format) in [
        (line.clone(), Format::Json),
        (
            format!("{line}{}\n{line}", " ".repeat(10_000)),
            Format::NdJson,
        ),
        (
            format!("[{line},{}{line}]", " ".repeat(10_000)),
            Format::Json,
        ),
    ] {
        let body = Bytes::from(body);
        let request = read(&body, format, LIMIT).unwrap();
        assert!(!request.events.iter().any(|event| is_part_of(&body, event)));
        assert!(
            request
                .events
                .iter()
                .all(|event| event.payload() == br#"{"score":7}"#)
        );
    }
}

#[test]
fn each_event_has_the_type_that_stands_in_its_own_line() {
    let of_type = |kind: &str| event("", "1").replace("quiz.submitted.v1", kind);
    let body = ["a.v1", "a.v1", "b.v2", "a.v1"].map(of_type).join("\n");
    let request = lines(body).unwrap();
    let types = request
        .events
        .iter()
        .map(|event| event.event_type().as_str());
    assert_eq!(types.collect::<Vec<_>>(), ["a.v1", "a.v1", "b.v2", "a.v1"]);
    assert_eq!(request.events[2].event_version(), 2);
}

#[test]
fn a_type_that_is_refused_is_not_remembered_as_one_that_was_taken() {
    let mut parts = Parts::copied(LIMIT);
    for _ in 0..2 {
        assert!(parts.event_type("outbox.x").is_err());
        assert!(parts.event_type("a.v1").is_ok());
    }
}

#[test]
fn what_was_decoded_does_not_count_as_a_part_of_the_body() {
    let attributes = format!(
        r#""specversion":"1.0","id":"1","source":"/kiosk","type":"a.v1","subject":"{AGGREGATE}""#
    );
    let encoded = format!(
        r#"{{{attributes},"data_base64":"{}MQ=="}}"#,
        "ICAg".repeat(200)
    );
    let plain = format!(r#"{{{attributes},"data":1}}"#);
    let body = Bytes::from(format!("[{encoded},{plain}]"));
    let request = read(&body, Format::CloudEventBatch, LIMIT).unwrap();
    let payloads = request.events.iter().map(Event::payload);
    assert_eq!(payloads.map(<[u8]>::len).collect::<Vec<_>>(), [601, 1]);
    assert!(!request.events.iter().any(|event| is_part_of(&body, event)));
}

#[test]
fn blank_lines_have_nothing_set_aside_for_them() {
    let body = format!("{}{}", event("", "1"), "\n".repeat(10_000));
    let request = lines(body).unwrap();
    assert!(request.events.capacity() <= 200);
}
