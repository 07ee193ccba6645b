//! Events that go out as CloudEvents, in structured and in binary mode: whoever receives them can
//! verify them, and the device finds them again.

#![cfg(all(feature = "cli", feature = "nats"))]
#[path = "support/python_verifier.rs"]
mod python_verifier;
mod support;

#[path = "support/http_client.rs"]
mod http_client;

use async_nats::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge_outbox::{
    Chain, Envelope, Verifier,
    envelope::{Unverified, Verified},
    seq::Seq,
    sink::{
        Incarnation, MessageFormat, Position,
        nats::{NatsMode, NatsOptions},
    },
    status::GuaranteeLevel,
};
use serde_json::{Value, json};
use uuid::Uuid;

use http_client::{Connection, Request};
use support::{
    conversation::{connect, deliver, options, send},
    device::{Device, QUIZ},
    nats_server::NatsServer,
    program::Home,
};

const CLOUD_EVENTS: [(&str, MessageFormat); 2] = [
    ("cloudevents", MessageFormat::CloudEvents),
    ("cloudevents-binary", MessageFormat::CloudEventsBinary),
];

/// Valid JSON that a parser and a printer would not give back as it came.
fn payloads() -> Vec<String> {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    [
        "9007199254740993",
        "123456789012345678901234567890.000",
        "-0.0e-0",
        "1E400",
        "{\"a\":1,\"a\":2,\"a\":{\"a\":3}}",
        "{ \"white\" :\r\n\t[ 1 ,\n\n2 ] }",
        "\"\\u0000\\uD83D\\ude00\\/\\b\\f\\n\\r\\t\\\"\"",
        "\"\u{2028}\u{feff}é😀\"",
        "\"\\ud800\"",
        "{\"\":null,\"data\":{\"data_base64\":\",\\\"payload\\\":\"}}",
        "{\"specversion\":\"0.3\",\"id\":\"another\"}",
        "true",
        "null",
        "[]",
        "\"\"",
        "0",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([nested(100), format!("\"{}\"", "x".repeat(200_000))])
    .collect()
}

/// A message as a stream holds it.
struct Message {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(async_nats::HeaderValue::as_str)
    }

    /// The attributes in the headers, decoded by hand.
    fn attributes(&self) -> Vec<(String, String)> {
        let named = self.headers.iter().filter_map(|(name, values)| {
            let name = name.to_string().strip_prefix("ce-")?.to_owned();
            let [value] = &values[..] else {
                panic!("{name} is there more than once")
            };
            Some((name, decoded(value.as_str())))
        });
        named.collect()
    }

    fn envelope(&self) -> Envelope<Unverified> {
        if self.header("ce-specversion").is_none() {
            return Envelope::from_cloud_event(&self.body).unwrap();
        }
        let attributes = self.attributes();
        let attributes = attributes
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        Envelope::from_binary_cloud_event(attributes, &self.body).unwrap()
    }

    /// As `tests/cloudevent.py` takes it.
    fn line(&self) -> String {
        if self.header("ce-specversion").is_none() {
            return String::from_utf8(self.body.clone()).unwrap();
        }
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, values)| (name.to_string(), values[0].as_str().into()))
            .collect();
        json!({"headers": headers, "body": STANDARD.encode(&self.body)}).to_string()
    }
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        assert!(matches!(byte, b'!'..=b'~') && byte != b'"', "{value}");
        if byte == b'%' {
            let digits = std::str::from_utf8(&after[..2]).unwrap();
            assert_eq!(digits, digits.to_uppercase());
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

async fn messages(server: &NatsServer) -> Vec<Message> {
    let context = server.jetstream().await;
    let mut stream = context.get_stream("EVENTS").await.unwrap();
    let last = stream.info().await.unwrap().state.last_sequence;
    let mut messages = Vec::new();
    for at in 1..=last {
        let message = stream.get_raw_message(at).await.unwrap();
        messages.push(Message {
            headers: message.headers.clone(),
            body: message.payload.to_vec(),
        });
    }
    messages
}

/// Each verified by itself and all as one chain, by the library and in another language.
fn verify(messages: &[Message], public_key: &str) -> Vec<Envelope<Verified>> {
    let lines: Vec<String> = messages.iter().map(Message::line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let envelopes = python_verifier::envelopes(&lines).unwrap();
    let envelopes: Vec<&str> = envelopes.iter().map(String::as_str).collect();
    python_verifier::verify(public_key, &envelopes, true).unwrap();

    let mut verifier = Verifier::new();
    verifier.trust(public_key.parse().unwrap());
    let mut chain = Chain::new();
    let mut verified = Vec::new();
    for message in messages {
        let envelope = verifier.verify(message.envelope()).unwrap();
        chain.extend(&envelope).unwrap();
        verified.push(envelope);
    }
    verified
}

fn status(home: &Home) -> Value {
    serde_json::from_str(&home.ok(&["status", "--json"])).unwrap()
}

fn config(server: &NatsServer, format: &str) -> String {
    format!(
        "[device]\nname = \"kiosk-07\"\nsource = \"Raum 7b: Tür\"\n[sinks.school]\n\
         type = \"nats\"\nservers = [\"{}\"]\nformat = \"{format}\"\n",
        server.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_posts_arrives_as_cloud_events_that_verify_with_their_exact_payload() {
    for (name, format) in CLOUD_EVENTS {
        let server = NatsServer::start();
        server.create_stream(|_| {}).await;
        let home = Home::with_config(&config(&server, name));
        let _daemon = home.daemon();
        let mut connection = Connection::unix(&home.socket());
        let payloads = payloads();
        for (number, payload) in payloads.iter().enumerate() {
            // Half of them come as CloudEvents with ids of their own, and half from the program.
            let request = match number % 2 {
                0 => {
                    let encoded = STANDARD.encode(payload);
                    let body = format!(
                        "{{\"specversion\":\"1.0\",\"id\":\"Nº {number}\",\"source\":\"/school\",\
                         \"type\":\"a.b\",\"subject\":\"{}\",\"subjectid\":\"pupil \\\"7\\\" é\",\
                         \"data_base64\":\"{encoded}\"}}",
                        Uuid::max()
                    );
                    Request::post(body).header("content-type", "application/cloudevents+json")
                }
                _ => Request::post(format!(
                    "{{\"event_type\":\"a.b\",\"aggregate_id\":\"{}\",\"payload\": {payload} }}",
                    Uuid::max()
                )),
            };
            let answer = connection.ask(&request);
            assert_eq!(answer.status, 201, "{payload:.60}: {answer:?}");
        }
        home.wait_for(|status| status["sinks"]["school"]["pending"] == 0);
        let status = status(&home);
        assert_eq!(
            status["sinks"]["school"]["guarantee"]["level"],
            "exactly_once"
        );

        let messages = messages(&server).await;
        let verified = verify(&messages, status["public_key"].as_str().unwrap());
        assert_eq!(verified.len(), payloads.len() + 1);
        for (number, (envelope, payload)) in verified[1..].iter().zip(&payloads).enumerate() {
            let private = envelope.private().unwrap();
            assert_eq!(private.payload, payload.as_bytes(), "{payload:.60}");
            let original_id = format!("Nº {number}");
            let expected = match number % 2 {
                0 => (Some(original_id.as_str()), "/school", "pupil \"7\" é"),
                _ => (None, "Raum 7b: Tür", ""),
            };
            let statement = envelope.statement();
            let found = (statement.original_id, statement.source, private.subject_id);
            assert_eq!(found, expected);
        }
        for (message, payload) in messages[1..].iter().zip(&payloads) {
            let digest = message.envelope().claims().digest(&mut Vec::new());
            assert_eq!(message.header("Nats-Msg-Id"), Some(&*digest.to_base64url()));
            let content_type = message.header("Content-Type");
            if format == MessageFormat::CloudEventsBinary {
                assert_eq!(content_type, Some("application/json"));
                assert_eq!(message.body, payload.as_bytes());
            } else {
                assert_eq!(content_type, Some("application/cloudevents+json"));
                assert!(message.attributes().is_empty());
            }
        }
        let (even, odd) = (&messages[1], &messages[2]);
        if format == MessageFormat::CloudEventsBinary {
            assert_eq!(even.header("ce-id"), Some("N%C2%BA%200"));
            assert_eq!(
                even.header("ce-subjectid"),
                Some("pupil%20%227%22%20%C3%A9")
            );
            assert_eq!(
                odd.header("ce-source"),
                Some("Raum%25207b%253A%2520T%25C3%25BCr")
            );
            assert_eq!(odd.header("ce-eventsource"), Some("Raum%207b:%20T%C3%BCr"));
        } else {
            let json: Value = serde_json::from_slice(&odd.body).unwrap();
            assert_eq!(json["source"], "Raum%207b%3A%20T%C3%BCr");
            assert_eq!(json["eventsource"], "Raum 7b: Tür");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_sends_nothing_twice_and_leaves_nothing_out() {
    for (name, _) in CLOUD_EVENTS {
        let server = NatsServer::start();
        server
            // Too short to hide a repeat: only reading back can tell.
            .create_stream(|config| {
                config.duplicate_window = std::time::Duration::from_millis(100);
            })
            .await;
        let home = Home::with_config(&config(&server, name));
        let lines: String = (0..2_000)
            .map(|number| {
                format!(
                    "{{\"id\":\"{}\",\"event_type\":\"a.b\",\"aggregate_id\":\"{}\",\
                     \"payload\":{number}}}\n",
                    Uuid::from_u128(number + 1),
                    Uuid::max()
                )
            })
            .collect();
        assert_eq!(home.run_with(&["append"], &lines).code, 0);
        let mut stored = 0;
        for cut in [200, 900, 1_500] {
            let daemon = home.daemon();
            while stored < cut {
                let context = server.jetstream().await;
                let mut stream = context.get_stream("EVENTS").await.unwrap();
                stored = stream.info().await.unwrap().state.messages;
            }
            // Killed, with whatever is on its way.
            drop(daemon);
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        }
        let _daemon = home.daemon();
        home.wait_for(|status| status["sinks"]["school"]["pending"] == 0);
        let messages = messages(&server).await;
        let mut verifier = Verifier::new();
        verifier.trust(
            status(&home)["public_key"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap(),
        );
        let seqs: Vec<u64> = messages
            .iter()
            .map(|message| verifier.verify(message.envelope()).unwrap())
            .map(|envelope| envelope.statement().seq.get())
            .collect();
        assert_eq!(seqs, (1..=2_001).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn after_a_cut_exactly_what_is_stored_is_found_whatever_the_format_was() {
    let server = NatsServer::start();
    server
        .create_stream(|config| config.max_message_size = 4_000)
        .await;
    let mut device = Device::new("kiosk-1");
    // The format is changed while events are on their way.
    let formats = [
        MessageFormat::CloudEvents,
        MessageFormat::CloudEventsBinary,
        MessageFormat::Envelope,
        MessageFormat::CloudEventsBinary,
    ];
    let mut parcels = Vec::new();
    let mut incarnation = Incarnation::default();
    for (round, format) in (0..).zip(formats) {
        device.format = format;
        let options = NatsOptions {
            format,
            ..options(&server)
        };
        let mut session = connect(options, &device).await.unwrap();
        incarnation = session.incarnation();
        let mut some = device.parcels(round * 50 + 1..=round * 50 + 50);
        let payload = format!("\"{}\"", "x".repeat(6_000));
        some[7] = device.parcel_of(round * 50 + 8, QUIZ, payload.as_bytes());
        send(&mut session, &some).await;
        for _ in 0..50 {
            session.next().await;
        }
        parcels.extend(some);
    }
    let mut session = connect(options(&server), &device).await.unwrap();
    assert_eq!(session.guarantee().level, GuaranteeLevel::ExactlyOnce);
    let doubt = device.doubt(&parcels, Position(0), incarnation);
    let answer = session.read_back(&doubt).await.unwrap();
    let found: Vec<u64> = answer.found.iter().map(|(seq, _)| seq.get()).collect();
    let expected: Vec<u64> = (1..=200).filter(|seq| seq % 50 != 8).collect();
    assert_eq!(found, expected);
    assert!(answer.complete && answer.foreign.is_empty());
}

#[tokio::test]
async fn another_journal_under_our_epoch_is_foreign_in_every_format() {
    for (_, format) in CLOUD_EVENTS {
        let server = NatsServer::start();
        server.create_stream(|_| {}).await;
        let mut device = Device::new("kiosk-1");
        device.format = format;
        let options = NatsOptions {
            format,
            ..options(&server)
        };
        let mut session = connect(options, &device).await.unwrap();
        deliver(&mut session, &device.parcels(1..=2)).await;
        let clone = device.parcel_of(3, QUIZ, b"\"of another card\"");
        deliver(&mut session, std::slice::from_ref(&clone)).await;
        let doubt = device.doubt(&device.parcels([3]), Position(2), session.incarnation());
        let answer = session.read_back(&doubt).await.unwrap();
        assert!(answer.found.is_empty());
        assert!(answer.foreign == [(Seq::new(3), clone.digest)]);
    }
}

#[tokio::test]
async fn a_message_id_proves_nothing_about_a_cloud_event_that_was_altered() {
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    let mut device = Device::new("kiosk-1");
    device.format = MessageFormat::CloudEventsBinary;
    let parcels = device.parcels(1..=3);
    let context = server.jetstream().await;
    // Another payload, another attribute, and no attributes.
    for (at, (name, value, body)) in [
        ("ce-redelivered", "false", &b"{\"score\":8}"[..]),
        ("ce-type", "quiz.graded.v1", b"{\"score\":7}"),
        ("ce-id", "", b"{\"score\":7}"),
    ]
    .into_iter()
    .enumerate()
    {
        let parcel = &parcels[at];
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", parcel.digest.to_base64url());
        let edge_outbox::sink::Beside::Attributes(attributes) = &parcel.beside else {
            panic!("attributes")
        };
        for (name, text) in attributes {
            headers.insert(format!("ce-{name}"), text.as_str());
        }
        headers.insert(name, value);
        let subject = format!("edupulse.events.kiosk-1.{QUIZ}");
        let sent = context.publish_with_headers(subject, headers, body.into());
        sent.await.unwrap().await.unwrap();
    }
    let mut session = connect(options(&server), &device).await.unwrap();
    let doubt = device.doubt(&parcels, Position(0), Incarnation::default());
    let answer = session.read_back(&doubt).await.unwrap();
    assert!(answer.found.is_empty());
    // The second is whole in itself, and of another digest: somebody else's work.
    let foreign: Vec<Seq> = answer.foreign.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(foreign, [Seq::new(2)]);
}

#[tokio::test]
async fn core_nats_carries_cloud_events_too() {
    let server = NatsServer::with("");
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut listener = client.subscribe("edupulse.events.>").await.unwrap();
    client.flush().await.unwrap();
    for (_, format) in CLOUD_EVENTS {
        let mut device = Device::new("kiosk-1");
        device.format = format;
        let options = NatsOptions {
            format,
            mode: NatsMode::Core,
            ..options(&server)
        };
        let mut session = connect(options, &device).await.unwrap();
        deliver(&mut session, &device.parcels([1])).await;
        let message = futures_util::StreamExt::next(&mut listener).await.unwrap();
        let message = Message {
            headers: message.headers.unwrap(),
            body: message.payload.to_vec(),
        };
        let mut verifier = Verifier::new();
        verifier.trust(device.public_key());
        let envelope = verifier.verify(message.envelope()).unwrap();
        assert_eq!(envelope.private().unwrap().payload, br#"{"score":7}"#);
    }
}

#[test]
fn standard_output_writes_cloud_events_that_verify_takes() {
    let home = Home::with_config(
        "[device]\nname = \"kiosk-07\"\n[sinks.out]\ntype = \"stdout\"\nformat = \"cloudevents\"\n",
    );
    let lines: String = payloads()
        .iter()
        .map(|payload| {
            let payload = payload.replace(['\r', '\n'], " ");
            let aggregate = Uuid::max();
            format!("{{\"event_type\":\"a.b\",\"aggregate_id\":\"{aggregate}\",\"payload\":{payload}}}\n")
        })
        .collect();
    assert_eq!(home.run_with(&["append"], lines).code, 0);
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["out"]["pending"] == 0);
    let key = status(&home)["public_key"].as_str().unwrap().to_owned();
    drop(daemon);
    let written = std::fs::read_to_string(home.path("daemon.out")).unwrap();
    assert!(
        written.starts_with("{\"specversion\":\"1.0\","),
        "{written:.100}"
    );
    let ended = home.run_with(&["verify", "--public-key", &key], &written);
    let expected = "verified: device kiosk-07: 19 events, seq 1 to 19, 1 epoch\n";
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, expected),
        "{ended:?}"
    );

    // Envelopes and CloudEvents of one journal are one chain.
    let plain = home.ok(&["tail", "--from", "1"]);
    let mixed: String = written
        .lines()
        .zip(plain.lines())
        .enumerate()
        .map(|(at, (event, envelope))| format!("{}\n", if at % 2 == 0 { event } else { envelope }))
        .collect();
    let ended = home.run_with(&["verify", "--public-key", &key], &mixed);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, expected),
        "{ended:?}"
    );

    for (from, to, said) in [
        (
            "\"type\":\"a.b\"",
            "\"type\":\"a.c\"",
            "the signature does not fit",
        ),
        ("\"data_base64\":\"", "\"data_base64\":\"MSAg", "payload"),
        (
            "\"seq\":\"2\"",
            "\"seq\":2",
            "seq of the CloudEvent is not a string",
        ),
        (
            "\"device\"",
            "\"traceparent\":\"00\",\"device\"",
            "attribute \"traceparent\"",
        ),
    ] {
        let second = written.lines().nth(1).unwrap();
        let changed = second.replacen(from, to, 1);
        assert_ne!(changed, second);
        let ended = home.run_with(&["verify", "--public-key", &key], changed);
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains(said), "{from}: {}", ended.stderr);
    }
}

#[test]
fn the_frozen_envelopes_as_cloud_events_are_read_in_another_language() {
    let wires = include_str!("vectors/original_ids.json");
    let vectors: Value = serde_json::from_str(wires).unwrap();
    let key = vectors["key"]["public_key"].as_str().unwrap();
    let mut verifier = Verifier::new();
    verifier.trust(key.parse().unwrap());
    for form in ["wire", "wire_redelivered", "wire_erased"] {
        let mut lines = Vec::new();
        let mut expected = Vec::new();
        for event in vectors["events"].as_array().unwrap() {
            let wire = event[form].as_str().unwrap();
            let envelope = Envelope::parse(wire.as_bytes()).unwrap();
            let verified = verifier.verify(envelope).unwrap();
            let redelivered = verified.redelivered();
            let record = verified.record();
            let mut structured = Vec::new();
            record.render_cloud_event(redelivered, &mut structured);
            lines.push(String::from_utf8(structured).unwrap());
            let line = |name: &str| event[name].as_str().unwrap().to_owned();
            let plain = match form {
                "wire" if event["wire_one_line"].is_string() => line("wire_one_line"),
                _ => wire.to_owned(),
            };
            expected.push(plain);
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let envelopes = python_verifier::envelopes(&lines).unwrap();
        let as_lines: Vec<&str> = envelopes.iter().map(String::as_str).collect();
        python_verifier::verify(key, &as_lines, true).unwrap();
        if form == "wire_erased" {
            assert_eq!(envelopes, expected);
        }
    }
    // And a CloudEvent with a fault is refused there as here.
    let mut structured = Vec::new();
    let wire = vectors["events"][0]["wire"].as_str().unwrap();
    let envelope = Envelope::parse(wire.as_bytes()).unwrap();
    let verified = verifier.verify(envelope).unwrap();
    verified.record().render_cloud_event(false, &mut structured);
    let structured = String::from_utf8(structured).unwrap();
    for (from, to) in [
        ("\"1.0\"", "\"0.3\""),
        ("\"device\"", "\"traceparent\":\"00\",\"device\""),
        ("\"salt\":", "\"pepper\":"),
        ("\"device\"", "\"eventsource\":\"a b\",\"device\""),
        ("\"size\":4", "\"size\":4,\"size\":4"),
    ] {
        let changed = structured.replacen(from, to, 1);
        assert_ne!(changed, structured);
        assert!(python_verifier::envelopes(&[&changed]).is_err(), "{from}");
        assert!(
            Envelope::from_cloud_event(changed.as_bytes()).is_err(),
            "{from}"
        );
    }
}
