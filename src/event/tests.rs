use super::*;

fn of_type(event_type: &str) -> Result<Event, EventError> {
    Event::builder(event_type, Uuid::nil()).payload("1").build()
}

fn with_payload(json: impl Into<Vec<u8>>) -> Result<Event, EventError> {
    Event::builder("a.b", Uuid::nil()).payload(json).build()
}

fn refused(answer: Result<Event, EventError>, field: &str) -> EventError {
    let error = answer.unwrap_err();
    assert_eq!(error.field(), field, "{error}");
    assert!(!error.hint().is_empty());
    error
}

#[test]
fn an_event_type_is_tokens_joined_by_dots() {
    for good in [
        "a",
        "lesson.published.v1",
        "A-Z_0.9",
        "outboxes.x",
        "x.outbox.y",
        &"t".repeat(128),
    ] {
        assert_eq!(of_type(good).unwrap().event_type().as_str(), good);
    }
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        " a",
        "a\t",
        "a\n",
        "a\0",
        "a.*",
        "a.>",
        "a/+",
        "a/b",
        "#",
        "$SYS",
        "ä",
        "a.\u{200b}",
        &"t".repeat(129),
    ] {
        refused(of_type(bad), "event_type");
    }
}

#[test]
fn the_outbox_keeps_its_own_types_to_itself() {
    for own in ["outbox", "outbox.epoch_started.v1", "outbox.x"] {
        let error = refused(of_type(own), "event_type");
        assert!(matches!(error, EventError::TypeReserved { .. }));
    }
    assert_eq!(EventType::ledger("outbox.x.v1").as_str(), "outbox.x.v1");
}

#[test]
fn an_original_id_makes_the_id_together_with_its_source() {
    let event = |source: &str, original_id: &str| {
        Event::builder("a.b", Uuid::nil())
            .source(source)
            .original_id(original_id)
            .payload("1")
            .build()
            .unwrap()
    };
    let id = event("/school", "order-7").id.unwrap();
    assert_eq!(id.get_version_num(), 5);
    assert_eq!(id, original_uuid("/school", "order-7"));
    // Made once with another implementation of UUIDv5.
    assert_eq!(id.to_string(), "ab5f827d-8b56-56af-a09b-1ad092983edb");
    let others = [
        ("/schoolo", "rder-7"),
        ("/school", "order-8"),
        ("/schoo", "lorder-7"),
    ];
    for (source, original_id) in others {
        assert_ne!(event(source, original_id).id, Some(id));
    }
    let own = Uuid::from_u128(7);
    let given = Event::builder("a.b", Uuid::nil())
        .original_id("7")
        .id(own)
        .payload("1");
    assert_eq!(given.build().unwrap().id, Some(own));
}

#[test]
fn an_original_id_is_a_name_and_needs_a_source_where_there_is_no_id() {
    let with = |original_id: &str| {
        let event = Event::builder("a.b", Uuid::nil()).source("s").payload("1");
        event.original_id(original_id).build()
    };
    assert!(with(&"é".repeat(127)).is_ok());
    for bad in ["", "a\n", "\u{7f}", &"é".repeat(128)] {
        refused(with(bad), "original_id");
    }
    let alone = Event::builder("a.b", Uuid::nil())
        .original_id("7")
        .payload("1");
    refused(alone.build(), "original_id");
}

#[test]
fn the_version_comes_from_the_caller_else_the_type_else_it_is_1() {
    let version = |event_type, given: Option<u16>| {
        let mut builder = Event::builder(event_type, Uuid::nil()).payload("1");
        builder.event_version = given;
        builder.build().map(|event| event.event_version())
    };
    assert_eq!(version("a", None).unwrap(), 1);
    assert_eq!(version("a", Some(7)).unwrap(), 7);
    assert_eq!(version("a.v65535", None).unwrap(), 65535);
    assert_eq!(version("a.v2", Some(2)).unwrap(), 2);
    for no_suffix in ["v2", "a.v", "a.V2", "a.vx2", "a.v2x", "a.v2.b"] {
        assert_eq!(version(no_suffix, None).unwrap(), 1, "{no_suffix}");
    }
    for (event_type, given) in [("a", Some(0)), ("a.v2", Some(1)), ("a.v2", Some(0))] {
        assert_eq!(
            version(event_type, given).unwrap_err().field(),
            "event_version"
        );
    }
    for bad in ["a.v0", "a.v01", "a.v65536", "a.v99999999999999999999"] {
        assert_eq!(
            version(bad, None).unwrap_err().field(),
            "event_type",
            "{bad}"
        );
        assert_eq!(
            version(bad, Some(1)).unwrap_err().field(),
            "event_type",
            "{bad}"
        );
    }
}

#[test]
fn subject_and_source_are_short_texts_without_control_characters() {
    let subject = |text: &str| {
        Event::builder("a", Uuid::nil())
            .payload("1")
            .subject_id(text)
            .build()
    };
    let source = |text: &str| {
        Event::builder("a", Uuid::nil())
            .payload("1")
            .source(text)
            .build()
    };
    for good in ["x", "Zoë \"Q\" \\ \u{2028}", &"ä".repeat(127)] {
        assert_eq!(subject(good).unwrap().subject_id.as_deref(), Some(good));
        assert_eq!(source(good).unwrap().source.as_deref(), Some(good));
    }
    for bad in ["", "a\nb", "\0", "\u{7f}", "\u{85}", &"ä".repeat(128)] {
        refused(subject(bad), "subject_id");
        refused(source(bad), "source");
    }
}

#[test]
fn a_payload_is_any_one_json_value_and_its_bytes_are_kept() {
    for good in [
        "null",
        "true",
        "-0",
        "1e400",
        "123456789012345678901234567890.10",
        "\"\"",
        "[]",
        "{}",
        " \r\n\t{\"a\":1,\"a\":2} \n",
        r#""\ud800""#,
        r#"{"\u0061":"\u0000"}"#,
        "\"\u{2028}\"",
    ] {
        assert_eq!(
            with_payload(good).unwrap().payload(),
            good.as_bytes(),
            "{good}"
        );
    }
    for bad in [
        "",
        " ",
        "{",
        "{}{}",
        "1 2",
        "1,",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "NaN",
        "-",
        "01",
        "+1",
        "1.",
        ".5",
        "nul",
        "\"\u{1}\"",
        "\"a",
        r#""\x""#,
        r#""\u12""#,
        "\u{feff}1",
        "//\n1",
        "{},\"device\":\"other\"",
    ] {
        refused(with_payload(bad), "payload");
    }
    for bad in [
        &b"\"\xff\""[..],
        b"\xff",
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\x80\"",
        b"1\0\0\0",
    ] {
        refused(with_payload(bad), "payload");
    }
}

#[test]
fn a_payload_may_nest_128_levels_and_a_hostile_one_does_no_harm() {
    let nested = |open: &str, close: &str, levels: usize| {
        with_payload([open.repeat(levels), "1".into(), close.repeat(levels)].concat())
    };
    for (open, close) in [("[", "]"), ("{\"]\\\"]\":", "}")] {
        assert!(nested(open, close, 128).is_ok());
        let error = refused(nested(open, close, 129), "payload");
        assert!(
            matches!(error, EventError::Payload(JsonError::TooDeep { .. })),
            "{error}"
        );
    }
    let error = refused(with_payload("[".repeat(MAX_PAYLOAD_BYTES)), "payload");
    assert!(
        matches!(error, EventError::Payload(JsonError::TooDeep { at: 128 })),
        "{error}"
    );
    let flat = ["[", &"[],".repeat(1000), "[]]"].concat();
    assert!(with_payload(flat).is_ok());
    let in_text = ["[\"", &"[".repeat(1000), "\"]"].concat();
    assert!(with_payload(in_text).is_ok());
    refused(with_payload(vec![b' '; MAX_PAYLOAD_BYTES + 1]), "payload");
}

#[test]
fn an_event_without_payload_or_with_one_that_does_not_serialise_is_refused() {
    refused(Event::builder("a", Uuid::nil()).build(), "payload");
    let no_json = std::collections::HashMap::from([((1, 2), 3)]);
    let builder = Event::builder("a", Uuid::nil()).payload_from(&no_json);
    refused(builder.build(), "payload");
}

#[test]
fn the_events_of_the_platform_say_whose_they_are_and_when_they_happened() {
    let at: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
    let [a, b, c, d] = [1, 2, 3, 4].map(Uuid::from_u128);
    let lesson = Event::new(&LessonPublished {
        lesson_id: a,
        course_id: b,
        title: "Brüche \"leicht\"".into(),
        revision: 3,
        published_at: at,
    });
    let quiz = Event::new(&QuizSubmitted {
        submission_id: a,
        quiz_id: b,
        lesson_id: c,
        student_id: d,
        score: 7,
        max_score: 10,
        submitted_at: at,
    });
    let pulse = Event::new(&LearningPulseCreated {
        pulse_id: a,
        lesson_id: c,
        student_id: d,
        level: 70,
        created_at: at,
    });
    let erase = Event::new(&UserEraseRequested {
        user_id: d,
        requested_at: at,
    });
    for (event, event_type, aggregate, subject) in [
        (lesson, "lesson.published.v1", a, None),
        (quiz, "quiz.submitted.v1", a, Some(d)),
        (pulse, "learning_pulse.created.v1", a, Some(d)),
        (erase, "user.erase_requested.v1", d, Some(d)),
    ] {
        let event = event.unwrap();
        assert_eq!(event.event_type().as_str(), event_type);
        assert_eq!((event.event_version(), event.aggregate_id), (1, aggregate));
        assert_eq!(
            event.subject_id.as_deref(),
            subject.map(|s| s.to_string()).as_deref()
        );
        assert_eq!((event.occurred_at, event.id), (Some(at), None));
        let payload: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        assert!(payload.to_string().contains("2026-03-01T08:00:00.000000Z"));
        assert!(!format!("{event:?}").contains(&d.to_string()), "{event:?}");
    }
}
