//! Bodies: JSON as it is handed in, read into checked events.
//!
//! Three forms: one object, an array of objects, and one object a line (NDJSON). Reading takes
//! everything or nothing, so a body with one bad event leaves no trace of the good ones.
//!
//! Members are strict: one that is unknown, missing or given twice is refused, because each is a
//! mistake that would otherwise be signed and kept. `null` stands for an optional member that is
//! left out. The payload is cut out of the body as it is: no number is rounded, no member dropped,
//! no escape rewritten; only white space around it is not part of it.
//!
//! Nothing here recurses into a payload or builds a tree of it, so a hostile body costs no more
//! than its own length. No error quotes a value, which may be personal; the names of members and
//! the event's type are not.

mod error;
mod member;

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer as _, SeqAccess, Visitor};
use serde_json::error::Category;

pub use self::error::{BodyError, BodyErrorKind, Fault, Place};
use self::member::{Members, MembersVisitor};
use crate::{event::Event, journal::MAX_REQUEST_EVENTS};

/// How a body spells its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`: one object, or an array of objects.
    Json,
    /// `application/x-ndjson`: one object a line. Lines end in LF or CR LF; blank ones count as
    /// lines and are skipped.
    NdJson,
}

/// The events of one body, which are to be taken together or not at all. Never without an event.
#[derive(Debug)]
pub struct Request {
    /// The events, in their order.
    pub events: Vec<Event>,
    /// How they were spelled.
    pub shape: Shape,
}

/// How the events of a [`Request`] were spelled, which decides on the form of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One object.
    One,
    /// An array.
    Array,
    /// Lines; for each event the number of its line, from 1.
    Lines(Vec<usize>),
}

impl Shape {
    /// Where in the body the event with this index was; `None` for the only one.
    #[must_use]
    pub fn place(&self, index: usize) -> Option<Place> {
        match self {
            Self::One => None,
            Self::Array => Some(Place::Index(index)),
            Self::Lines(lines) => lines.get(index).copied().map(Place::Line),
        }
    }
}

/// Reads all events of a body.
///
/// # Errors
/// [`BodyError`] for the first fault in it, with its place. Nothing was taken.
pub fn read(body: &[u8], format: Format, max_payload_bytes: usize) -> Result<Request, BodyError> {
    if body.starts_with(b"\xEF\xBB\xBF") {
        return Err(Fault::ByteOrderMark.into());
    }
    let (text, broken_at) = match std::str::from_utf8(body) {
        Ok(text) => (text, None),
        // What comes before the broken byte is read all the same: it tells the event it is in.
        Err(error) => {
            let sound = body.get(..error.valid_up_to()).unwrap_or_default();
            (
                std::str::from_utf8(sound).unwrap_or_default(),
                Some(error.valid_up_to()),
            )
        }
    };
    let request = match format {
        Format::Json => read_json(text, max_payload_bytes),
        Format::NdJson => read_lines(text, max_payload_bytes),
    };
    match (request, broken_at) {
        (request, None) => request,
        (Err(error), Some(_)) if !error.is_cut_off() => Err(error),
        (Err(error), Some(at)) => Err(BodyError {
            field: None,
            fault: Fault::NotUtf8 { at },
            ..error
        }),
        (Ok(_), Some(at)) => Err(Fault::NotUtf8 { at }.into()),
    }
}

fn read_json(text: &str, max_payload_bytes: usize) -> Result<Request, BodyError> {
    let start = text.trim_ascii_start();
    if start.is_empty() {
        return Err(Fault::Empty.into());
    }
    let mut reader = Reader::new(max_payload_bytes);
    if !start.starts_with('[') {
        let event = reader.one(text).map_err(|refused| refused.at(None))?;
        return Ok(Request {
            events: vec![event],
            shape: Shape::One,
        });
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let mut ended = false;
    let outcome = json
        .deserialize_seq(ArrayVisitor(&mut reader))
        .and_then(|()| {
            ended = true;
            json.end()
        });
    match outcome {
        Err(error) => {
            let place = (!ended).then_some(Place::Index(reader.events.len()));
            Err(reader.refused(&error, text).at(place))
        }
        Ok(()) if reader.events.is_empty() => Err(Fault::Empty.into()),
        Ok(()) => Ok(Request {
            events: reader.events,
            shape: Shape::Array,
        }),
    }
}

fn read_lines(text: &str, max_payload_bytes: usize) -> Result<Request, BodyError> {
    let mut reader = Reader::new(max_payload_bytes);
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let event = reader
            .one(line)
            .map_err(|refused| refused.at(Some(Place::Line(number))))?;
        reader
            .take(event)
            .map_err(|fault| Refused::from(fault).at(Some(Place::Line(number))))?;
        lines.push(number);
    }
    if reader.events.is_empty() {
        return Err(Fault::Empty.into());
    }
    Ok(Request {
        events: reader.events,
        shape: Shape::Lines(lines),
    })
}

/// Why an event was refused, before its place is known.
struct Refused {
    field: Option<Cow<'static, str>>,
    fault: Fault,
}

impl Refused {
    fn at(self, place: Option<Place>) -> BodyError {
        BodyError {
            place,
            field: self.field,
            fault: self.fault,
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { field: None, fault }
    }
}

/// What is carried along the body. The faults of an event are kept here and not in the
/// deserializer's error, which has room for nothing but a text.
struct Reader {
    max_payload_bytes: usize,
    events: Vec<Event>,
    refused: Option<Refused>,
}

impl Reader {
    const fn new(max_payload_bytes: usize) -> Self {
        Self {
            max_payload_bytes,
            events: Vec::new(),
            refused: None,
        }
    }

    /// Keeps an event of several.
    fn take(&mut self, event: Event) -> Result<(), Fault> {
        if self.events.len() == MAX_REQUEST_EVENTS {
            return Err(Fault::TooManyEvents {
                limit: MAX_REQUEST_EVENTS,
            });
        }
        self.events.push(event);
        Ok(())
    }

    /// Reads a text that is one event and nothing else.
    fn one(&mut self, text: &str) -> Result<Event, Refused> {
        let mut json = serde_json::Deserializer::from_str(text);
        let read = EventSeed(self).deserialize(&mut json);
        let read = read.and_then(|event| json.end().map(|()| event));
        read.map_err(|error| self.refused(&error, text))
    }

    /// What is behind the deserializer's error.
    fn refused(&mut self, error: &serde_json::Error, text: &str) -> Refused {
        if let Some(refused) = self.refused.take() {
            return refused;
        }
        // A "data" error that was not recorded is a value of another kind than was asked for;
        // there is only one place for that. Its text would quote the value.
        let fault = match error.classify() {
            Category::Data => Fault::NotAnObject,
            _ => Fault::not_json(error, text),
        };
        fault.into()
    }

    /// Records a fault, and gives what makes the deserializer stop.
    fn stop<E: serde::de::Error>(&mut self, refused: Refused) -> E {
        self.refused = Some(refused);
        E::custom("refused")
    }
}

/// Reads one event.
struct EventSeed<'r>(&'r mut Reader);

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Event;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Event, D::Error> {
        let Self(reader) = self;
        let members: Members<'de> = json.deserialize_any(MembersVisitor(reader))?;
        members
            .event(reader.max_payload_bytes)
            .map_err(|refused| reader.stop(refused))
    }
}

/// Reads the events of an array into the reader.
struct ArrayVisitor<'r>(&'r mut Reader);

impl<'de> Visitor<'de> for ArrayVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Self(reader) = self;
        while let Some(event) = array.next_element_seed(EventSeed(reader))? {
            reader
                .take(event)
                .map_err(|fault| reader.stop::<A::Error>(fault.into()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
