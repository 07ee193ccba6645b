//! The envelope as a CloudEvent and back.

use std::collections::BTreeMap;

use super::*;

/// One event in each form: the envelope, and the CloudEvent in both modes.
struct Forms {
    wire: Vec<u8>,
    structured: String,
    attributes: Vec<(&'static str, String)>,
    data: Vec<u8>,
}

impl Forms {
    fn of(wire: &[u8], device: &Device) -> Self {
        let verified = device.verifier().verify(envelope(wire)).unwrap();
        let record = verified.record();
        let mut structured = Vec::new();
        record.render_cloud_event(verified.redelivered(), &mut structured);
        Self {
            wire: wire.into(),
            structured: String::from_utf8(structured).unwrap(),
            attributes: record.attributes(verified.redelivered()).into(),
            data: record
                .private
                .map(|private| private.payload.to_vec())
                .unwrap_or_default(),
        }
    }

    fn read_binary(&self) -> Result<Envelope<Unverified>, CloudEventError> {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(name, text)| (*name, text.as_str()));
        Envelope::from_binary_cloud_event(attributes, &self.data)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(each, _)| *each == name)?;
        Some(&found.1)
    }
}

fn rendered(envelope: Envelope<Unverified>, device: &Device) -> Vec<u8> {
    let verified = device.verifier().verify(envelope).unwrap();
    let mut wire = Vec::new();
    verified
        .record()
        .render(verified.redelivered(), false, &mut wire);
    wire
}

fn draft(random: &mut Random) -> Draft {
    let sources = [
        "kiosk",
        "/school/7b",
        "my app",
        "\"\\",
        "Zoë 💡",
        "a:b:c",
        "1:a",
        "%zz",
        "https://[::1]/x",
    ];
    let originals = [
        None,
        Some("order-7"),
        Some("\"\\\",\"device\":"),
        Some("é 💡"),
        Some("00000000-0000-0000-0000-000000000001"),
    ];
    let payloads: [&[u8]; 8] = [
        b"{}",
        b"null",
        b" [1,\r\n2] ",
        b"1e999999",
        br#""\ud800""#,
        br#"{"a":1,"a":2}"#,
        "\"\u{2028}ä\"".as_bytes(),
        br#"{"specversion":"0.3","data":"}"}"#,
    ];
    Draft {
        original_id: random.pick(&originals),
        event_type: random.pick(&["a", "quiz.submitted.v1", EPOCH_STARTED]),
        source: random.pick(&sources),
        subject_id: random.pick(&["", "pupil", "\"}", "\u{2028} é"]),
        payload: random.pick(&payloads).to_vec(),
    }
}

#[test]
fn any_event_goes_out_as_a_cloud_event_and_comes_back_as_the_same_envelope() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut device = Device::new();
        let drafts: Vec<_> = (0..=random.below(64)).map(|_| draft(&mut random)).collect();
        for wire in device.group(&drafts) {
            let forms = Forms::of(&wire, &device);
            assert!(!forms.structured.contains(['\r', '\n']));
            let back = Envelope::from_cloud_event(forms.structured.as_bytes()).unwrap();
            assert_eq!(rendered(back, &device), wire, "seed {seed}");
            let back = Envelope::from_message(forms.structured.as_bytes()).unwrap();
            assert_eq!(rendered(back, &device), wire);
            let back = forms.read_binary().unwrap();
            assert_eq!(rendered(back, &device), wire, "seed {seed}");
            let back = Envelope::from_message(&forms.wire).unwrap();
            assert_eq!(rendered(back, &device), wire);

            let erased = Forms::of(&erased(&wire), &device);
            let back = Envelope::from_cloud_event(erased.structured.as_bytes()).unwrap();
            assert_eq!(rendered(back, &device), erased.wire);
            let back = erased.read_binary().unwrap();
            assert_eq!(rendered(back, &device), erased.wire);
        }
    }
}

#[test]
fn every_cloud_event_is_one_as_the_specification_says() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut device = Device::new();
        let drafts: Vec<_> = (0..=random.below(5)).map(|_| draft(&mut random)).collect();
        for (wire, draft) in device.group(&drafts).iter().zip(&drafts) {
            let forms = Forms::of(wire, &device);
            let json: serde_json::Value = serde_json::from_str(&forms.structured).unwrap();
            let members = json.as_object().unwrap();
            assert_eq!(json["specversion"], "1.0");
            for (name, text) in &forms.attributes {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                assert!(name.chars().all(plain) && name.len() <= 20, "{name}");
                assert!(!text.is_empty(), "{name}");
                assert!(!text.contains(char::is_control), "{name}");
                let canonical = match &members[*name] {
                    serde_json::Value::String(text) => text.clone(),
                    // Integers of CloudEvents have 32 bits.
                    number @ serde_json::Value::Number(_) => {
                        assert!(i32::try_from(number.as_i64().unwrap()).is_ok());
                        number.to_string()
                    }
                    other => other.as_bool().unwrap().to_string(),
                };
                assert_eq!(canonical, *text, "{name}");
            }
            assert_eq!(members.len(), forms.attributes.len() + 1);
            let source = json["source"].as_str().unwrap();
            assert!(crate::event::is_uri_reference(source), "{source}");
            if crate::event::is_uri_reference(draft.source) {
                assert_eq!((source, json.get("eventsource")), (draft.source, None));
            } else {
                assert_eq!(json["eventsource"], draft.source);
            }
            let uuid = envelope(wire).claims().id.to_string();
            match draft.original_id {
                None => assert_eq!(
                    (&json["id"], json.get("eventid")),
                    (&uuid.as_str().into(), None)
                ),
                Some(id) => assert_eq!((&json["id"], &json["eventid"]), (&id.into(), &uuid.into())),
            }
            assert_eq!(json["subject"], Uuid::from_u128(0xabcd).to_string());
            assert_eq!(json["datacontenttype"], "application/json");
            assert_eq!(json["type"], draft.event_type);
        }
    }
}

#[test]
fn each_attribute_is_documented_in_its_order() {
    let page = include_str!("../../../docs/cloudevents.md");
    let (_, out) = page.split_once("| attribute | | is |").unwrap();
    let rows = out.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some(name)
    });
    let documented: Vec<&str> = rows.collect();
    assert_eq!(documented, super::super::cloud_event::NAMES);
}

#[test]
fn nothing_personal_is_in_an_erased_cloud_event() {
    let mut device = Device::new();
    let mut draft = Draft::new(b"{\"grade\":6}");
    draft.original_id = Some("order-7");
    let wire = device.group(&[draft]).remove(0);
    let whole = Forms::of(&wire, &device);
    let erased = Forms::of(&erased(&wire), &device);
    for name in ["subject", "subjectid", "salt", "datacontenttype"] {
        assert!(whole.attribute(name).is_some(), "{name}");
        assert_eq!(erased.attribute(name), None);
        assert!(!erased.structured.contains(&format!("\"{name}\":")));
    }
    assert!(erased.data.is_empty() && !erased.structured.contains("\"data"));
    assert!(!erased.structured.contains("pupil"));
}

/// Whether what was read proves to be the event, which it may also do in another spelling.
fn is_the_event(
    read: Result<Envelope<Unverified>, CloudEventError>,
    verifier: &mut Verifier,
    wire: &[u8],
) -> bool {
    let Some(verified) = read.ok().and_then(|it| verifier.verify(it).ok()) else {
        return false;
    };
    let mut again = Vec::new();
    verified.record().render(false, false, &mut again);
    assert_eq!(again, wire, "another event passes for the signed one");
    true
}

#[test]
fn whatever_single_byte_is_changed_no_other_event_passes() {
    let mut device = Device::new();
    let mut first = Draft::new(br#"{"a":[1,"x \" y"]}"#);
    (first.original_id, first.source) = (Some("or\"der\\ é"), "my app");
    let second = Draft::new(b"1");
    for wire in device.group(&[first, second]) {
        let forms = Forms::of(&wire, &device);
        let mut verifier = device.verifier();
        verifier.verify(envelope(&wire)).unwrap();
        let mut passed = 0;
        let bytes = forms.structured.as_bytes();
        for (at, &byte) in bytes.iter().enumerate() {
            for other in (0..8)
                .map(|bit| byte ^ 1 << bit)
                .chain(*b"\"\\,:{}[] 01nt")
                .filter(|&other| other != byte)
            {
                let mut changed = bytes.to_vec();
                changed[at] = other;
                let read = Envelope::from_cloud_event(&changed);
                passed += usize::from(is_the_event(read, &mut verifier, &wire));
            }
        }
        // Another case of the letters in a time, and the like.
        assert!(passed < 100, "{passed}");
        for (at, (name, text)) in forms.attributes.iter().enumerate() {
            for place in 0..text.len() {
                for other in *b"\"\\,:{}[] 01a" {
                    let mut bytes = text.clone().into_bytes();
                    bytes[place] = other;
                    let Ok(changed) = String::from_utf8(bytes) else {
                        continue;
                    };
                    let mut attributes = forms.attributes.clone();
                    attributes[at].1 = changed;
                    let changed = Forms {
                        wire: Vec::new(),
                        structured: String::new(),
                        attributes,
                        data: forms.data.clone(),
                    };
                    is_the_event(changed.read_binary(), &mut verifier, &wire);
                }
            }
            if *name == "datacontenttype" {
                continue;
            }
            let mut without = forms.attributes.clone();
            without.remove(at);
            let without = without.iter().map(|(name, text)| (*name, text.as_str()));
            let read = Envelope::from_binary_cloud_event(without, &forms.data);
            assert!(!is_the_event(read, &mut verifier, &wire), "without {name}");
        }
    }
}

/// What a reader that knows nothing of envelopes takes a CloudEvent for: its attributes, of which
/// `null` is none, each as the value that it stands for.
fn plain_reading(json: &[u8]) -> BTreeMap<String, String> {
    let members: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json).unwrap();
    let mut plain = BTreeMap::new();
    for (name, value) in members {
        let text = match value {
            serde_json::Value::Null if name != "data" => continue,
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let text = match name.as_str() {
            "time" | "clockwall" => text.parse::<jiff::Timestamp>().unwrap().to_string(),
            _ => text,
        };
        plain.insert(name, text);
    }
    plain
}

#[test]
fn whatever_is_put_in_or_taken_out_a_cloud_event_that_verifies_says_the_same_to_any_reader() {
    let mut device = Device::new();
    let mut draft = Draft::new(b"{\"a\":[1,2]}");
    (draft.original_id, draft.source) = (Some("order 7"), "my app");
    let wire = device.group(&[draft]).remove(0);
    let forms = Forms::of(&wire, &device);
    let bytes = forms.structured.as_bytes();
    let said = plain_reading(bytes);
    let mut verifier = device.verifier();
    let mut check = |changed: Vec<u8>| {
        let passes = is_the_event(Envelope::from_cloud_event(&changed), &mut verifier, &wire);
        let shown = || String::from_utf8_lossy(&changed).into_owned();
        assert!(!passes || plain_reading(&changed) == said, "{}", shown());
        passes
    };
    let mut passed = 0;
    for at in 0..=bytes.len() {
        for put in *b"\"\\,:{}[] 0169.+-tTzZ=\t\n\0" {
            let changed = [&bytes[..at], &[put], &bytes[at..]].concat();
            passed += usize::from(check(changed));
        }
        for gone in 1..=bytes.len().saturating_sub(at).min(3) {
            check([&bytes[..at], &bytes[at + gone..]].concat());
        }
    }
    // White space between the members, and zeros behind a time.
    assert!(passed > 100, "{passed}");
    let time = forms.attribute("time").unwrap();
    for instead in [
        "09:00:60",
        "08:00:00,000001",
        "24:00:00",
        "08:00:00.000001-00:00",
    ] {
        let other = time.replace("08:00:00.000001Z", instead);
        check(forms.structured.replace(time, &other).into_bytes());
    }
}

#[test]
fn a_cloud_event_that_was_written_anew_on_its_way_still_verifies() {
    let mut device = Device::new();
    let mut draft = Draft::new(b"{\"a\":[1,2]}");
    draft.original_id = Some("é \"7\"");
    let wire = device.group(&[draft]).remove(0);
    let forms = Forms::of(&wire, &device);
    // Members sorted by name, texts escaped, white space in between.
    let json: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&forms.structured).unwrap();
    let pretty = serde_json::to_string_pretty(&json).unwrap();
    let with_data = forms.structured.replace(
        "\"data_base64\":\"eyJhIjpbMSwyXX0=\"",
        "\"data\": {\"a\":[1,2]} ",
    );
    assert_ne!(with_data, forms.structured);
    for changed in [
        pretty,
        with_data,
        forms.structured.replace('é', "\\u00e9"),
        forms.structured.replace("\"leaf\":0", "\"leaf\":\"0\""),
        forms
            .structured
            .replace("08:00:00.000001Z", "09:00:00.000001+01:00"),
        forms.structured.replace(".000000Z", "Z"),
        forms
            .structured
            .replace("\"kind\"", "\"eventsource\":null,\"kind\""),
    ] {
        let back = Envelope::from_cloud_event(changed.as_bytes())
            .unwrap_or_else(|error| panic!("{error}: {changed}"));
        assert_eq!(rendered(back, &device), wire);
    }
}

#[test]
fn another_instant_than_the_signed_one_does_not_pass_by_being_rounded() {
    let mut device = Device::new();
    let wire = device.group(&[Draft::new(b"1")]).remove(0);
    let forms = Forms::of(&wire, &device);
    let time = forms.attribute("time").unwrap();
    let finer = |digits: &str| format!("{}{digits}Z", time.trim_end_matches('Z'));
    // The same instant, with zeros behind it.
    let exact = forms.structured.replace(time, &finer("000"));
    let back = Envelope::from_cloud_event(exact.as_bytes()).unwrap();
    assert_eq!(rendered(back, &device), wire);
    for other in [finer("999"), finer("000001")] {
        for name in ["time", "clockwall"] {
            let from = format!("\"{name}\":\"{}\"", forms.attribute(name).unwrap());
            let to = format!("\"{name}\":\"{other}\"");
            let changed = forms.structured.replace(&from, &to);
            assert_ne!(changed, forms.structured);
            let refused = Envelope::from_cloud_event(changed.as_bytes()).unwrap_err();
            let said = refused.to_string();
            assert!(said.starts_with(&format!("{name} of")), "{said}");
        }
    }
}

#[test]
fn an_attribute_given_twice_is_refused_though_one_of_them_is_null() {
    let mut device = Device::new();
    let wire = device.group(&[Draft::new(b"1")]).remove(0);
    let forms = Forms::of(&wire, &device);
    for (name, _) in forms.attributes.iter().skip(1) {
        for changed in [
            forms
                .structured
                .replacen('{', &format!("{{\"{name}\":null,"), 1),
            format!(
                "{},\"{name}\":null}}",
                forms.structured.strip_suffix('}').unwrap()
            ),
        ] {
            let read = Envelope::from_cloud_event(changed.as_bytes());
            assert_eq!(read.unwrap_err(), CloudEventError::Twice(name), "{changed}");
        }
    }
}

#[test]
fn what_is_no_cloud_event_of_ours_is_refused_by_the_name_of_its_fault() {
    let mut device = Device::new();
    let mut draft = Draft::new(b"1");
    draft.original_id = Some("order-7");
    let wires = device.group(&[draft.clone(), draft]);
    let whole = Forms::of(&wires[0], &device).structured;
    let refusal = |json: &str| {
        Envelope::from_cloud_event(json.as_bytes())
            .unwrap_err()
            .to_string()
    };
    for (from, to, said) in [
        (
            "\"1.0\"",
            "\"0.3\"",
            "specversion of the CloudEvent is not 1.0",
        ),
        (
            "\"seq\":\"1\"",
            "\"seq\":1",
            "seq of the CloudEvent is not a string",
        ),
        (
            "\"seq\":\"1\"",
            "\"seq\":\"\"",
            "seq of the CloudEvent is not a number",
        ),
        (
            "\"seq\":\"1\"",
            "\"seq\":\"-1\"",
            "seq of the CloudEvent is not a number",
        ),
        ("\"seq\":\"1\",", "", "has no seq"),
        (
            "\"seq\":\"1\"",
            "\"seq\":\"1\",\"seq\":\"1\"",
            "has seq twice",
        ),
        (
            "\"leaf\":0",
            "\"leaf\":\"0,\\\"size\\\":2\"",
            "leaf of the CloudEvent is not a number",
        ),
        (
            "\"leaf\":0",
            "\"leaf\":[0]",
            "leaf of the CloudEvent is not a number",
        ),
        (
            "\"leaf\":0",
            "\"leaf\":0,\"traceparent\":\"00\"",
            "attribute \"traceparent\"",
        ),
        ("\"leaf\":0", "\"leaf\":0,\"Leaf\":0", "attribute \"Leaf\""),
        (
            "false",
            "\"no\"",
            "redelivered of the CloudEvent is not true or false",
        ),
        (
            "application/json",
            "text/plain",
            "datacontenttype of the CloudEvent is not application/json",
        ),
        (
            "\"source\":\"kiosk\"",
            "\"source\":\"a b\"",
            "source of the CloudEvent is not a URI-reference",
        ),
        (
            "\"source\":\"kiosk\"",
            "\"source\":{}",
            "source of the CloudEvent is not a string",
        ),
        (
            "\"device\"",
            "\"eventsource\":\"kiosk\",\"device\"",
            "eventsource of the CloudEvent is not needed",
        ),
        (
            "\"device\"",
            "\"eventsource\":\"a b\",\"device\"",
            "source of the CloudEvent is not eventsource, escaped",
        ),
        (
            "\"device\":\"kiosk-1\"",
            "\"device\":\"a\\\",\\\"epoch\\\":\\\"b\"",
            "makes no envelope: device",
        ),
        (
            "\"kind\":\"program\"",
            "\"kind\":\"ledger\"",
            "makes no envelope",
        ),
        (
            "\"path\":\"",
            "\"path\":\"AAAA",
            "path of the CloudEvent is not base64 of digests",
        ),
        ("\"size\":2", "\"size\":3", "makes no envelope"),
        (
            "2026-03-01T",
            "2026-13-01T",
            "time of the CloudEvent is not an RFC 3339 time in whole microseconds",
        ),
        (
            "\"data_base64\":\"MQ==\"",
            "\"data_base64\":\"MQ\"",
            "data_base64 of the CloudEvent is not base64",
        ),
        (
            "\"data_base64\":\"MQ==\"",
            "\"data\":1,\"data_base64\":\"MQ==\"",
            "data_base64 of the CloudEvent is not alone",
        ),
        (
            "\"data_base64\":\"MQ==\"",
            "\"data_base64\":\"MX0se30=\"",
            "makes no envelope: payload",
        ),
        (",\"data_base64\":\"MQ==\"", "", "has no data"),
        ("\"salt\":\"BwcHBwcHBwcHBwcHBwcHBw==\",", "", "has no salt"),
        ("\"specversion\":\"1.0\",", "", "not a CloudEvent"),
        ("\"1.0\"", "\"1.0\"x", "a CloudEvent that is no JSON object"),
    ] {
        assert!(whole.contains(from), "{from} is not in {whole}");
        let said_of_it = refusal(&whole.replacen(from, to, 1));
        assert!(said_of_it.contains(said), "{from} to {to}: {said_of_it}");
    }
    for other in [
        "",
        "[]",
        "{}",
        "\"specversion\"",
        "{\"a\":{\"specversion\":\"1.0\"}}",
    ] {
        assert_eq!(refusal(other), "not a CloudEvent");
    }
    let long = " ".repeat(MAX_ENVELOPE_BYTES + 1);
    assert!(refusal(&long).starts_with("a CloudEvent of "));
    // An envelope with a fault is told as an envelope's.
    let error = Envelope::from_message(b"{\"id\":1}").unwrap_err();
    assert!(matches!(error, MessageError::Envelope(_)), "{error}");
    let error = Envelope::from_message(b"{\"specversion\":\"1.0\"}").unwrap_err();
    assert!(matches!(error, MessageError::CloudEvent(_)), "{error}");
}
