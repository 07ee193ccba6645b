//! The envelope as a CloudEvent 1.0.2, in structured mode (JSON event format) and in binary mode.
//!
//! Everything that verification needs is in the attributes, and the payload is the data, byte for
//! byte. `docs/cloudevents.md` has the table. A CloudEvent may be written anew on its way, by
//! whoever knows the format and nothing of envelopes, so its members may come in any order and in
//! any spelling of JSON. What they say makes an envelope again, and that is read as strictly as
//! any other.

use std::{borrow::Cow, fmt, fmt::Display, io::Write as _};

use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Fields, MAX_ENVELOPE_BYTES, ParseError, Record, parse, record::put_escaped};
use crate::{
    clock::{ClockSync, Timestamp},
    digest::Digest,
    encoding::{parse_base64_vec, push_base64},
    event::{escaped_as_uri_reference, is_uri_reference},
};

/// The content type of a CloudEvent in structured mode.
pub const CLOUD_EVENT_CONTENT_TYPE: &str = "application/cloudevents+json";
/// The content type of every payload.
const JSON: &str = "application/json";
/// The member of the JSON format that holds data in base64.
const DATA_BASE64: &str = "data_base64";
/// Longest part of a foreign attribute's name that an error repeats, in characters.
const MAX_NAME_CHARS: usize = 64;

/// The attributes, in the order in which they are written. `data` and `data_base64` are members of
/// the JSON format alone.
pub(super) const NAMES: [&str; 30] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "eventid",
    "eventsource",
    "eventversion",
    "device",
    "epoch",
    "seq",
    "kind",
    "clockwall",
    "clocksync",
    "bootid",
    "boottimeus",
    "prev",
    "privatedigest",
    "keyid",
    "signature",
    "leaf",
    "size",
    "path",
    "redelivered",
    "subjectid",
    "salt",
    "data",
    DATA_BASE64,
];
/// Those that JSON writes as a number or a boolean, and may as well write as a string.
const NATIVE: [&str; 4] = ["eventversion", "leaf", "size", "redelivered"];

/// Why something is no envelope in the form of a CloudEvent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloudEventError {
    /// It has no attribute `specversion`, or is no JSON object.
    #[error("not a CloudEvent")]
    NotOne,
    /// More bytes than the largest has.
    #[error("a CloudEvent of {bytes} bytes, and the largest has {MAX_ENVELOPE_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// It begins as a CloudEvent and is no JSON.
    #[error("a CloudEvent that is no JSON object")]
    NotJson,
    /// An attribute is missing.
    #[error("the CloudEvent has no {0}")]
    Missing(&'static str),
    /// It has an attribute that is none of an envelope's. Nobody signed it.
    #[error("the CloudEvent has an attribute {0:?}, which is not part of an envelope")]
    Unknown(String),
    /// An attribute is there twice.
    #[error("the CloudEvent has {0} twice")]
    Twice(&'static str),
    /// The value of an attribute is not one that it can have, alone or beside the others.
    #[error("{name} of the CloudEvent is not {expected}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The envelope that the attributes make is none.
    #[error("the CloudEvent makes no envelope: {0}")]
    Envelope(#[from] ParseError),
}

/// The value of an attribute on its way out.
enum Value<'a> {
    /// A text that may need escapes.
    Text(&'a str),
    /// A string, as it is shown.
    Shown(&'a dyn Display),
    /// An integer or a boolean, as it is shown.
    Native(&'a dyn Display),
    /// Binary: base64.
    Bytes(&'a [u8]),
}

impl Record<'_> {
    /// Appends a CloudEvent in structured mode. It holds no line break.
    pub fn render_cloud_event(&self, redelivered: bool, out: &mut Vec<u8>) {
        out.push(b'{');
        self.each_attribute(redelivered, |name, value| {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            let quote: &[u8] = match value {
                Value::Native(_) => b"",
                _ => b"\"",
            };
            out.extend_from_slice(quote);
            match value {
                Value::Text(text) => put_escaped(out, text),
                // Writing into memory does not fail.
                Value::Shown(shown) | Value::Native(shown) => _ = write!(out, "{shown}"),
                Value::Bytes(bytes) => push_base64(out, bytes),
            }
            out.extend_from_slice(quote);
        });
        if let Some(private) = &self.private {
            out.extend_from_slice(b",\"data_base64\":\"");
            push_base64(out, private.payload);
            out.push(b'"');
        }
        out.push(b'}');
    }

    /// The attributes of a CloudEvent in binary mode, by name and in their canonical string
    /// encoding; `datacontenttype` is one of them. The data is the payload.
    #[must_use]
    pub fn attributes(&self, redelivered: bool) -> Box<[(&'static str, String)]> {
        let mut attributes = Vec::with_capacity(NAMES.len());
        self.each_attribute(redelivered, |name, value| {
            let text = match value {
                Value::Text(text) => text.to_owned(),
                Value::Shown(shown) | Value::Native(shown) => shown.to_string(),
                Value::Bytes(bytes) => {
                    let mut text = Vec::new();
                    push_base64(&mut text, bytes);
                    String::from_utf8(text).unwrap_or_default()
                }
            };
            attributes.push((name, text));
        });
        attributes.into()
    }

    fn each_attribute(&self, redelivered: bool, mut put: impl FnMut(&'static str, Value<'_>)) {
        use Value::{Bytes, Native, Shown, Text};
        let statement = &self.statement;
        let clock = &statement.clock;
        put("specversion", Text("1.0"));
        match statement.original_id {
            Some(original_id) => put("id", Text(original_id)),
            None => put("id", Shown(&statement.id)),
        }
        let has_own_form = !is_uri_reference(statement.source);
        match has_own_form {
            true => put("source", Text(&escaped_as_uri_reference(statement.source))),
            false => put("source", Text(statement.source)),
        }
        put("type", Text(statement.event_type));
        put("time", Shown(&statement.occurred_at));
        if let Some(private) = &self.private {
            put("subject", Shown(&private.aggregate_id));
            put("datacontenttype", Text(JSON));
        }
        if statement.original_id.is_some() {
            put("eventid", Shown(&statement.id));
        }
        if has_own_form {
            put("eventsource", Text(statement.source));
        }
        put("eventversion", Native(&statement.event_version));
        put("device", Text(statement.device));
        put("epoch", Shown(&statement.epoch));
        put("seq", Shown(&statement.seq));
        put("kind", Text(statement.kind.as_str()));
        put("clockwall", Shown(&clock.wall));
        put(
            "clocksync",
            Text(match clock.sync {
                ClockSync::No => "no",
                ClockSync::Yes => "yes",
                ClockSync::Unknown => "unknown",
            }),
        );
        put("bootid", Shown(&clock.boot_id));
        put("boottimeus", Shown(&clock.boottime_us));
        put("prev", Bytes(statement.prev.as_bytes()));
        put("privatedigest", Bytes(statement.private_digest.as_bytes()));
        put("keyid", Bytes(statement.key_id.as_bytes()));
        put("signature", Bytes(self.signature.as_bytes()));
        put("leaf", Native(&self.leaf));
        put("size", Native(&self.size));
        let path: Vec<u8> = self.path.iter().flat_map(|node| *node.as_bytes()).collect();
        if !path.is_empty() {
            put("path", Bytes(&path));
        }
        put("redelivered", Native(&redelivered));
        if let Some(private) = &self.private {
            if !private.subject_id.is_empty() {
                put("subjectid", Text(private.subject_id));
            }
            put("salt", Bytes(&private.salt));
        }
    }
}

/// Reads a CloudEvent in structured mode.
pub(super) fn parse_structured(json: &[u8]) -> Result<Fields, CloudEventError> {
    if json.len() > MAX_ENVELOPE_BYTES {
        return Err(CloudEventError::TooLarge { bytes: json.len() });
    }
    let mut attributes = Attributes::default();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut refused = None;
    let visitor = ObjectVisitor(&mut attributes, &mut refused);
    let read = reader.deserialize_map(visitor).and_then(|()| reader.end());
    if attributes.get("specversion").is_none() {
        return Err(CloudEventError::NotOne);
    }
    match (refused, read) {
        (Some(refused), _) => return Err(refused),
        (None, Err(_)) => return Err(CloudEventError::NotJson),
        (None, Ok(())) => {}
    }
    let data = match (attributes.take("data"), attributes.take(DATA_BASE64)) {
        (Some(_), Some(_)) => {
            return Err(CloudEventError::Value {
                name: DATA_BASE64,
                expected: "alone: there is data beside it",
            });
        }
        (Some(Cow::Borrowed(data)), None) => Some(Cow::Borrowed(data.as_bytes())),
        (Some(Cow::Owned(data)), None) => Some(Cow::Owned(data.into_bytes())),
        (None, Some(text)) => {
            let data = parse_base64_vec(text.as_bytes());
            let refused = CloudEventError::Value {
                name: DATA_BASE64,
                expected: "base64",
            };
            Some(Cow::Owned(data.ok_or(refused)?))
        }
        (None, None) => None,
    };
    attributes.fields(data.as_deref())
}

/// Reads a CloudEvent in binary mode.
pub(super) fn parse_binary<'a>(
    given: impl IntoIterator<Item = (&'a str, &'a str)>,
    data: &[u8],
) -> Result<Fields, CloudEventError> {
    let mut attributes = Attributes::default();
    for (name, text) in given {
        if matches!(name, "data" | DATA_BASE64) {
            return Err(CloudEventError::Unknown(name.to_owned()));
        }
        attributes.put(name, Cow::Borrowed(text))?;
    }
    if attributes.get("specversion").is_none() {
        return Err(CloudEventError::NotOne);
    }
    attributes.fields(Some(data).filter(|data| !data.is_empty()))
}

/// The attributes of one CloudEvent, each in its canonical string encoding.
#[derive(Default)]
struct Attributes<'a>([Option<Cow<'a, str>>; NAMES.len()]);

impl<'a> Attributes<'a> {
    fn put(&mut self, name: &str, text: Cow<'a, str>) -> Result<(), CloudEventError> {
        let place = place(name)?;
        match self.0[place].replace(text) {
            Some(_) => Err(CloudEventError::Twice(NAMES[place])),
            None => Ok(()),
        }
    }

    fn get(&self, name: &'static str) -> Option<&str> {
        self.0[place(name).ok()?].as_deref()
    }

    fn take(&mut self, name: &'static str) -> Option<Cow<'a, str>> {
        self.0[place(name).ok()?].take()
    }

    fn required(&self, name: &'static str) -> Result<&str, CloudEventError> {
        self.get(name).ok_or(CloudEventError::Missing(name))
    }

    /// Writes the envelope that the attributes stand for, and reads that.
    fn fields(&self, data: Option<&[u8]>) -> Result<Fields, CloudEventError> {
        let wrong = |name, expected| CloudEventError::Value { name, expected };
        if self.required("specversion")? != "1.0" {
            return Err(wrong("specversion", "1.0"));
        }
        if self.get("datacontenttype").is_some_and(|it| it != JSON) {
            return Err(wrong("datacontenttype", JSON));
        }
        let length = data.map_or(0, <[u8]>::len);
        if length > MAX_ENVELOPE_BYTES {
            return Err(CloudEventError::TooLarge { bytes: length });
        }
        let mut out = Vec::with_capacity(length + 2048);
        let text = |out: &mut Vec<u8>, before: &str, text: &str| {
            out.extend_from_slice(before.as_bytes());
            out.push(b'"');
            put_escaped(out, text);
            out.push(b'"');
        };
        let (id, original_id) = match self.get("eventid") {
            Some(id) => (id, Some(self.required("id")?)),
            None => (self.required("id")?, None),
        };
        text(&mut out, "{\"id\":", id);
        if let Some(original_id) = original_id {
            text(&mut out, ",\"original_id\":", original_id);
        }
        text(&mut out, ",\"device\":", self.required("device")?);
        text(&mut out, ",\"epoch\":", self.required("epoch")?);
        self.number(&mut out, ",\"seq\":", "seq")?;
        text(&mut out, ",\"event_type\":", self.required("type")?);
        self.number(&mut out, ",\"event_version\":", "eventversion")?;
        text(&mut out, ",\"source\":", self.source()?);
        text(&mut out, ",\"occurred_at\":", &self.time("time")?);
        text(&mut out, ",\"clock\":{\"wall\":", &self.time("clockwall")?);
        text(&mut out, ",\"sync\":", self.required("clocksync")?);
        text(&mut out, ",\"boot_id\":", self.required("bootid")?);
        self.number(&mut out, ",\"boottime_us\":", "boottimeus")?;
        text(&mut out, "},\"kind\":", self.required("kind")?);
        text(&mut out, ",\"prev\":", self.required("prev")?);
        let private_digest = self.required("privatedigest")?;
        text(&mut out, ",\"private_digest\":", private_digest);
        text(&mut out, ",\"key_id\":", self.required("keyid")?);
        text(&mut out, ",\"signature\":", self.required("signature")?);
        self.number(&mut out, ",\"leaf\":", "leaf")?;
        self.number(&mut out, ",\"size\":", "size")?;
        out.extend_from_slice(b",\"path\":[");
        for (place, node) in self.path()?.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            text(&mut out, comma, &node.to_string());
        }
        out.extend_from_slice(b"],\"redelivered\":");
        match self.required("redelivered")? {
            word @ ("true" | "false") => out.extend_from_slice(word.as_bytes()),
            _ => return Err(wrong("redelivered", "true or false")),
        }
        // All of the personal part, or nothing of it.
        match (self.get("subject"), self.get("salt"), data) {
            (Some(aggregate_id), Some(salt), Some(payload)) => {
                let subject_id = self.get("subjectid").unwrap_or_default();
                text(&mut out, ",\"aggregate_id\":", aggregate_id);
                text(&mut out, ",\"subject_id\":", subject_id);
                text(&mut out, ",\"salt\":", salt);
                out.extend_from_slice(b",\"payload\":");
                out.extend_from_slice(payload);
            }
            (None, None, None) if self.get("subjectid").is_none() => {}
            (None, ..) => return Err(CloudEventError::Missing("subject")),
            (_, None, _) => return Err(CloudEventError::Missing("salt")),
            (.., None) => return Err(CloudEventError::Missing("data")),
        }
        out.push(b'}');
        Ok(parse::parse(&out)?)
    }

    /// The exact source, which only where it is no URI-reference stands apart.
    fn source(&self) -> Result<&str, CloudEventError> {
        let source = self.required("source")?;
        let wrong = |name, expected| CloudEventError::Value { name, expected };
        match self.get("eventsource") {
            None if is_uri_reference(source) => Ok(source),
            None => Err(wrong("source", "a URI-reference")),
            Some(exact) if is_uri_reference(exact) => {
                Err(wrong("eventsource", "needed: it is a URI-reference"))
            }
            Some(exact) if escaped_as_uri_reference(exact) == source => Ok(exact),
            Some(_) => Err(wrong("source", "eventsource, escaped")),
        }
    }

    /// A time in the one spelling of an envelope. Whoever passed it on may have written it anew.
    fn time(&self, name: &'static str) -> Result<String, CloudEventError> {
        let time = Timestamp::exactly(self.required(name)?);
        time.map(|time| time.to_string())
            .ok_or(CloudEventError::Value {
                name,
                expected: "an RFC 3339 time in whole microseconds",
            })
    }

    /// Digits, which stand in the envelope without quotation marks around them.
    fn number(
        &self,
        out: &mut Vec<u8>,
        before: &str,
        name: &'static str,
    ) -> Result<(), CloudEventError> {
        let digits = self.required(name)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CloudEventError::Value {
                name,
                expected: "a number",
            });
        }
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(digits.as_bytes());
        Ok(())
    }

    /// The siblings on the way to the root, which follow each other without anything between them.
    fn path(&self) -> Result<Vec<Digest>, CloudEventError> {
        let Some(text) = self.get("path") else {
            return Ok(Vec::new());
        };
        let bytes = parse_base64_vec(text.as_bytes()).unwrap_or_default();
        let (nodes, rest) = bytes.as_chunks();
        if nodes.is_empty() || !rest.is_empty() {
            return Err(CloudEventError::Value {
                name: "path",
                expected: "base64 of digests of 32 bytes",
            });
        }
        Ok(nodes.iter().copied().map(Digest::from_bytes).collect())
    }
}

fn place(name: &str) -> Result<usize, CloudEventError> {
    let place = NAMES.iter().position(|known| *known == name);
    place.ok_or_else(|| CloudEventError::Unknown(name.chars().take(MAX_NAME_CHARS).collect()))
}

/// Collects the members of the object; what is wrong with one of them goes beside.
struct ObjectVisitor<'a, 'de>(&'a mut Attributes<'de>, &'a mut Option<CloudEventError>);

impl<'de> Visitor<'de> for ObjectVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self(attributes, refused) = self;
        // One that is `null` counts too: of two, readers would differ over which one does.
        let mut seen = [false; NAMES.len()];
        while let Some(name) = object.next_key::<String>()? {
            let value: &'de RawValue = object.next_value()?;
            let put = place(&name).and_then(|place| {
                if std::mem::replace(&mut seen[place], true) {
                    return Err(CloudEventError::Twice(NAMES[place]));
                }
                attributes.0[place] = member(NAMES[place], value.get())?;
                Ok(())
            });
            // The first fault counts, but whether it is a CloudEvent at all is still to be seen.
            if let Err(error) = put {
                refused.get_or_insert(error);
            }
        }
        Ok(())
    }
}

/// The text of a member; `None` where it is `null`, which is an attribute that is not set.
fn member<'de>(
    name: &'static str,
    json: &'de str,
) -> Result<Option<Cow<'de, str>>, CloudEventError> {
    if name == "data" {
        return Ok(Some(Cow::Borrowed(json)));
    }
    if json == "null" {
        return Ok(None);
    }
    let inner = json
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let text = match inner {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(json).ok().map(Cow::Owned),
        None if NATIVE.contains(&name) => Some(Cow::Borrowed(json)),
        None => None,
    };
    text.map(Some).ok_or(CloudEventError::Value {
        name,
        expected: "a string",
    })
}
