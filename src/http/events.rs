//! `/v1/events`: handing events over, and asking what became of them.

use std::collections::BTreeMap;

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderValue},
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    answer::{self, Body, Pump},
    guard::only,
    problem::{Kind, Problem},
    stopping::Stopping,
    upload::Upload,
};
use crate::{
    envelope::Epoch,
    ingest::body::{self, Format, Request, Shape},
    outbox::{Appended, Delivery, Outbox},
    seq::Seq,
};

/// The answer for one event.
#[derive(Serialize)]
struct One {
    id: Uuid,
    epoch: Epoch,
    seq: Seq,
}

/// The answer for several events.
#[derive(Serialize)]
struct Many {
    /// How many events the request had; all of them are durable.
    accepted: usize,
    /// The epoch of the last of them.
    epoch: Epoch,
    /// The lowest of their seqs.
    first_seq: Seq,
    /// The highest of their seqs.
    last_seq: Seq,
    /// Each of them, where one or more were known already.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Each>>,
}

/// One of several events.
#[derive(Serialize)]
struct Each {
    id: Uuid,
    seq: Seq,
    repeated: bool,
}

/// What became of an event.
#[derive(Serialize)]
struct Place {
    id: Uuid,
    /// Absent once the event is trimmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    seq: Seq,
    sinks: BTreeMap<String, AtSink>,
}

/// What became of an event at one sink.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum AtSink {
    Pending,
    Delivered,
    Rejected { reason: String },
}

/// What the headers of CloudEvents' attributes begin with.
const ATTRIBUTE_PREFIX: &str = "ce-";

/// How a request carries its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the body.
    Body(Format),
    /// One CloudEvent, with its data as the body and its attributes in headers.
    Binary,
}

/// The mode that the headers announce. Nothing is guessed: what a form or a beacon of another
/// site's page can send without a preflight is not taken, and no content type at all is one of
/// those.
pub(super) fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let refused = |detail: &str| {
        Problem::new(Kind::UnsupportedContentType, detail).hint(
            "send application/json, application/x-ndjson or a CloudEvent in JSON, in UTF-8 and \
             not compressed",
        )
    };
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(refused("a body with a content encoding"));
    }
    let value = only(headers, &header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| refused("no content type, or more than one"))?;
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let format = match essence.trim().to_ascii_lowercase().as_str() {
        // Beside the JSON format, the headers may hold the attributes, too: the body counts.
        "application/cloudevents+json" => Format::CloudEvent,
        "application/cloudevents-batch+json" => Format::CloudEventBatch,
        _ if attributes(headers).next().is_some() => {
            return match body::is_json(value) {
                true => Ok(Mode::Binary),
                false => Err(refused(
                    "a CloudEvent with other data than application/json",
                )),
            };
        }
        "application/json" => Format::Json,
        "application/x-ndjson" => Format::NdJson,
        _ => return Err(refused("another content type than is taken")),
    };
    let utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    if !parameters.split(';').all(utf8) {
        return Err(refused("another charset than UTF-8"));
    }
    Ok(Mode::Body(format))
}

/// The attributes in the headers, as they stand there.
fn attributes(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(ATTRIBUTE_PREFIX)?;
        Some((name, value.as_bytes()))
    })
}

/// Takes the events of a body in. The answer says so only after the commit.
pub(super) async fn append(
    outbox: &Outbox,
    mode: Mode,
    headers: &HeaderMap,
    mut upload: Upload<'_>,
) -> Result<Response<Body>, Problem> {
    let max_payload_bytes = outbox.max_payload_bytes();
    let Request { events, shape } = match mode {
        Mode::Body(format) => body::read(&upload.bytes, format, max_payload_bytes),
        Mode::Binary => body::read_binary(attributes(headers), &upload.bytes, max_payload_bytes),
    }?;
    // Of several events, those hold it whose payloads are most of it.
    drop(std::mem::take(&mut upload.bytes));
    let places = outbox.append_batch(events).await;
    let places = places.map_err(|error| Problem::append(&error, &shape))?;
    let status = match places.iter().all(|place| place.repeated) {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    Ok(match (shape, &places[..]) {
        (Shape::One, &[Appended { id, epoch, seq, .. }]) => {
            answer::json(status, &One { id, epoch, seq })
        }
        _ => answer::json(status, &many(&places)),
    })
}

fn many(places: &[Appended]) -> Many {
    let last = places.iter().max_by_key(|place| place.seq);
    let each = |place: &Appended| Each {
        id: place.id,
        seq: place.seq,
        repeated: place.repeated,
    };
    Many {
        accepted: places.len(),
        epoch: last.map_or(Epoch::from_uuid(Uuid::nil()), |place| place.epoch),
        first_seq: places
            .iter()
            .map(|place| place.seq)
            .min()
            .unwrap_or_default(),
        last_seq: last.map(|place| place.seq).unwrap_or_default(),
        events: places
            .iter()
            .any(|place| place.repeated)
            .then(|| places.iter().map(each).collect()),
    }
}

/// Says where an event is and who has it.
pub(super) async fn find(outbox: &Outbox, id: &str) -> Result<Response<Body>, Problem> {
    let id: Uuid = id.parse().map_err(|_| {
        Problem::new(Kind::BadRequest, "the last part of the path is not a UUID")
            .hint("ask for /v1/events/{id} with the id that the event was given or answered with")
    })?;
    let found = outbox.find(id).await?.ok_or_else(|| {
        Problem::new(
            Kind::EventUnknown,
            format!("no event {id} among those remembered"),
        )
        .hint("the last 65,536 events are remembered by their ids")
    })?;
    let sinks = found.sinks.into_iter().map(|(name, delivery)| {
        let state = match delivery {
            Delivery::Pending => AtSink::Pending,
            Delivery::Delivered => AtSink::Delivered,
            Delivery::Rejected(reason) => AtSink::Rejected { reason },
        };
        (name, state)
    });
    let place = Place {
        id,
        epoch: found.epoch,
        seq: found.seq,
        sinks: sinks.collect(),
    };
    Ok(answer::json(StatusCode::OK, &place))
}

/// Sends envelopes, one a line.
pub(super) fn stream(
    outbox: &Outbox,
    query: Option<&str>,
    stopping: Stopping,
) -> Result<Response<Body>, Problem> {
    let (from, follow) = range(query.unwrap_or_default())?;
    let events = outbox.events(from).follow(follow);
    let mut response = answer::with(
        StatusCode::OK,
        Body::Events(Pump::new(events, follow.then_some(stopping))),
    );
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}

/// Reads `from=SEQ&follow=true`. What is not there: from the oldest event held, to the tail.
fn range(query: &str) -> Result<(Seq, bool), Problem> {
    let refused = |detail: &str| {
        Problem::new(Kind::BadRequest, detail)
            .hint("ask for /v1/events?from=SEQ, with &follow=true to wait for what comes after")
    };
    let (mut from, mut follow) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let repeated = match pair.split_once('=') {
            Some(("from", seq)) => {
                let seq = seq.parse().map_err(|_| refused("from is not a seq"))?;
                from.replace(Seq::new(seq)).is_some()
            }
            Some(("follow", word)) => {
                let yes = word
                    .parse()
                    .map_err(|_| refused("follow is neither true nor false"))?;
                follow.replace(yes).is_some()
            }
            _ => return Err(refused("a query parameter other than from and follow")),
        };
        if repeated {
            return Err(refused("a query parameter given twice"));
        }
    }
    Ok((from.unwrap_or(Seq::FIRST), follow.unwrap_or(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(values: &[&'static str]) -> Option<Mode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
        }
        mode(&headers).ok()
    }

    #[test]
    fn the_content_types_are_json_and_lines_in_utf_8() {
        for value in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json ;charset=\"UTF-8\"",
            "application/json;",
        ] {
            assert_eq!(mode_of(&[value]), Some(Mode::Body(Format::Json)), "{value}");
        }
        assert_eq!(
            mode_of(&["application/x-ndjson"]),
            Some(Mode::Body(Format::NdJson))
        );
    }

    #[test]
    fn a_cloud_event_announces_itself_by_its_content_type_or_by_its_headers() {
        for (value, format) in [
            ("application/cloudevents+json", Format::CloudEvent),
            (
                "Application/CloudEvents+JSON; charset=UTF-8",
                Format::CloudEvent,
            ),
            (
                "application/cloudevents-batch+json",
                Format::CloudEventBatch,
            ),
        ] {
            assert_eq!(mode_of(&[value]), Some(Mode::Body(format)), "{value}");
        }
        for value in [
            "application/cloudevents",
            "application/cloudevents+avro",
            "application/cloudevents+json; charset=latin-1",
        ] {
            assert_eq!(mode_of(&[value]), None, "{value}");
        }
        let with_attribute = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("ce-id", HeaderValue::from_static("7"));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            mode(&headers).ok()
        };
        for value in ["application/json", "application/json;charset=\"UTF-8\""] {
            assert_eq!(with_attribute(value), Some(Mode::Binary), "{value}");
        }
        let structured = with_attribute("application/cloudevents+json");
        assert_eq!(structured, Some(Mode::Body(Format::CloudEvent)));
        for value in [
            "application/json; profile=x",
            "application/vnd.quiz+json",
            "application/x-ndjson",
            "application/xml",
            "",
        ] {
            assert_eq!(with_attribute(value), None, "{value}");
        }
    }

    #[test]
    fn what_a_page_can_send_without_a_preflight_is_no_content_type_of_ours() {
        assert_eq!(mode_of(&[]), None);
        for value in [
            "",
            "text/plain",
            "text/plain;application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "application/jsonp",
            "application/json; charset=latin-1",
            "text/plain, application/json",
        ] {
            assert_eq!(mode_of(&[value]), None, "{value}");
        }
        assert_eq!(mode_of(&["application/json", "text/plain"]), None);
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(mode(&headers).is_err());
    }

    #[test]
    fn a_range_is_read_strictly() {
        assert_eq!(range("").unwrap(), (Seq::FIRST, false));
        assert_eq!(range("from=17&follow=true").unwrap(), (Seq::new(17), true));
        assert_eq!(range("follow=false&from=0").unwrap(), (Seq::NONE, false));
        for query in [
            "from",
            "from=",
            "from=-1",
            "from=1&from=2",
            "follow=yes",
            "until=3",
            "from=1;follow",
        ] {
            assert!(range(query).is_err(), "{query}");
        }
    }
}
