//! Any bytes as a body.

use bytes::Bytes;

use super::{BodyError, Format, Request, Shape, read, read_binary};
use crate::{
    encoding::push_base64,
    event::{Event, MAX_PAYLOAD_BYTES},
    journal::MAX_REQUEST_EVENTS,
};

/// Reads a body of events, as JSON and as lines.
pub fn events(bytes: &[u8]) -> bool {
    let json = taken(bytes, Format::Json);
    let lines = taken(bytes, Format::NdJson);
    // One object in one line is the same in both.
    if !bytes.contains(&b'\n') && !bytes.trim_ascii_start().starts_with(b"[") {
        match (&json, &lines) {
            (Some(one), Some(other)) => assert_eq!(one.events, other.events),
            (None, None) => {}
            _ => panic!("one form is taken and the other is not"),
        }
    }
    for request in [&json, &lines].into_iter().flatten() {
        for event in &request.events {
            // Cut out as it stands.
            let payload = event.payload();
            assert!(bytes.windows(payload.len()).any(|part| part == payload));
        }
        same_again(&request.events, Format::Json, as_json);
    }
    json.is_some() || lines.is_some()
}

/// Reads CloudEvents: one, a batch, and one whose attributes stand in lines before an empty line and
/// its data.
pub fn cloud_events(bytes: &[u8]) -> bool {
    let one = taken(bytes, Format::CloudEvent);
    let batch = taken(bytes, Format::CloudEventBatch);
    assert!(one.is_none() || batch.is_none(), "an object and an array");
    let binary = split_at_empty_line(bytes).and_then(|(head, data)| {
        let headers = head.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = std::str::from_utf8(line.get(..colon)?).ok()?;
            Some((name, line.get(colon + 1..)?))
        });
        let request = checked(read_binary(headers, data, MAX_PAYLOAD_BYTES));
        if let Some(request) = &request {
            assert_eq!(request.shape, Shape::One);
            assert!(request.events.iter().all(|event| event.payload() == data));
        }
        request
    });
    let requests = [&one, &batch, &binary];
    for request in requests.into_iter().flatten() {
        same_again(&request.events, Format::CloudEventBatch, as_cloud_event);
    }
    requests.iter().any(|request| request.is_some())
}

fn taken(bytes: &[u8], format: Format) -> Option<Request> {
    let request = checked(read(
        &Bytes::copy_from_slice(bytes),
        format,
        MAX_PAYLOAD_BYTES,
    ))?;
    // What is kept of a body is not longer than the body.
    let kept: usize = request.events.iter().map(|event| event.payload.len()).sum();
    assert!(kept <= bytes.len(), "{kept} bytes of {}", bytes.len());
    Some(request)
}

/// What holds of every answer.
fn checked(answer: Result<Request, BodyError>) -> Option<Request> {
    match answer {
        Ok(request) => {
            assert!((1..=MAX_REQUEST_EVENTS).contains(&request.events.len()));
            let last = request.shape.place(request.events.len() - 1);
            assert_eq!(last.is_none(), request.shape == Shape::One);
            Some(request)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.fault.to_string().is_empty());
            None
        }
    }
}

/// Written down in this way and read again, they are the same events.
fn same_again(events: &[Event], format: Format, write: fn(&Event) -> String) {
    let texts: Vec<String> = events.iter().map(write).collect();
    let text = format!("[{}]", texts.join(","));
    match read(
        &Bytes::copy_from_slice(text.as_bytes()),
        format,
        MAX_PAYLOAD_BYTES,
    ) {
        Ok(again) => assert_eq!(again.events, events),
        Err(error) => panic!("{error}: {text}"),
    }
}

fn as_json(event: &Event) -> String {
    let mut text = format!("{{\"event_type\":{}", quoted(event.event_type.as_str()));
    text += &format!(",\"event_version\":{}", event.event_version);
    text += &format!(",\"aggregate_id\":\"{}\"", event.aggregate_id);
    let mut member = |name: &str, value: Option<String>| {
        let value = value.map_or_else(|| "null".into(), |value| quoted(&value));
        text += &format!(",\"{name}\":{value}");
    };
    member("id", event.id.map(|id| id.to_string()));
    member("subject_id", event.subject_id.as_deref().map(Into::into));
    member("occurred_at", event.occurred_at.map(|at| at.to_string()));
    member("source", event.source.as_deref().map(Into::into));
    text + ",\"payload\":" + &String::from_utf8_lossy(&event.payload) + "}"
}

fn as_cloud_event(event: &Event) -> String {
    let mut data = Vec::new();
    push_base64(&mut data, &event.payload);
    let id = event.id.map(|id| id.to_string());
    let id = event.original_id.as_deref().map(Into::into).or(id);
    let attributes = [
        ("specversion", Some("1.0".into())),
        ("id", id),
        ("source", event.source.as_deref().map(Into::into)),
        ("type", Some(event.event_type.as_str().into())),
        ("eventversion", Some(event.event_version.to_string())),
        ("subject", Some(event.aggregate_id.to_string())),
        ("subjectid", event.subject_id.as_deref().map(Into::into)),
        ("time", event.occurred_at.map(|at| at.to_string())),
        ("data_base64", String::from_utf8(data).ok()),
    ];
    let members: Vec<String> = attributes
        .into_iter()
        .filter_map(|(name, value)| Some(format!("\"{name}\":{}", quoted(&value?))))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What stands before the first empty line, and after it.
fn split_at_empty_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    Some((bytes.get(..at)?, bytes.get(at + 2..)?))
}
