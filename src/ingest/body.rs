//! Bodies: JSON as it is handed in, read into checked events.
//!
//! Three forms: one object, an array of objects, and one object a line (NDJSON); and CloudEvents,
//! one by one, as a batch, or with their attributes in headers. Reading takes everything or
//! nothing, so a body with one bad event leaves no trace of the good ones.
//!
//! Members are strict: one that is unknown, missing or given twice is refused, because each is a
//! mistake that would otherwise be signed and kept. `null` stands for an optional member that is
//! left out. The payload is cut out of the body as it is: no number is rounded, no member dropped,
//! no escape rewritten; only white space around it is not part of it.
//!
//! Nothing here recurses into a payload or builds a tree of it, so a hostile body costs no more
//! than its own length. The payloads of events that came together are parts of the body, which is held
//! until the last of them is written, unless less than half of it is payloads: then they are copies. No error quotes a value, which may be personal; the names of members and
//! the event's type are not.

mod binary;
mod cloud_event;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod member;

use std::{borrow::Cow, marker::PhantomData};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer as _, SeqAccess, Visitor};
use serde_json::{error::Category, value::RawValue};

pub use self::binary::read_binary;
#[cfg(feature = "http")]
pub(crate) use self::cloud_event::is_json;
pub use self::error::{BodyError, BodyErrorKind, Fault, Place};
use self::{
    cloud_event::Attribute,
    member::{Form, Member, MembersVisitor},
};
use crate::{
    event::{Event, EventError, EventType, Payload},
    journal::MAX_REQUEST_EVENTS,
};

/// Where less than one byte in so many of a body is payload, its events hold copies.
const WORTH_HOLDING: usize = 2;

/// Bytes of the shortest line that is an event, about.
const SHORTEST_LINE: usize = 84;

/// How a body spells its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`: one object, or an array of objects.
    Json,
    /// `application/x-ndjson`: one object a line. Lines end in LF or CR LF; blank ones count as
    /// lines and are skipped.
    NdJson,
    /// `application/cloudevents+json`: one CloudEvent.
    CloudEvent,
    /// `application/cloudevents-batch+json`: an array of CloudEvents.
    CloudEventBatch,
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
pub fn read(body: &Bytes, format: Format, max_payload_bytes: usize) -> Result<Request, BodyError> {
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
        Format::Json if text.trim_ascii_start().starts_with('[') => {
            read_array::<Member>(text, Parts::of(body, max_payload_bytes))
        }
        Format::Json => read_one::<Member>(text, max_payload_bytes),
        Format::CloudEvent => read_one::<Attribute>(text, max_payload_bytes),
        Format::CloudEventBatch => {
            read_array::<Attribute>(text, Parts::of(body, max_payload_bytes))
        }
        Format::NdJson => read_lines(text, Parts::of(body, max_payload_bytes)),
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

fn read_one<F: Form>(text: &str, max_payload_bytes: usize) -> Result<Request, BodyError> {
    if text.trim_ascii_start().is_empty() {
        return Err(Fault::Empty.into());
    }
    let mut reader = Reader::new(Parts::copied(max_payload_bytes));
    let event = reader.one::<F>(text).map_err(|refused| refused.at(None))?;
    Ok(Request {
        events: vec![event],
        shape: Shape::One,
    })
}

fn read_array<F: Form>(text: &str, parts: Parts<'_>) -> Result<Request, BodyError> {
    let start = text.trim_ascii_start();
    if start.is_empty() {
        return Err(Fault::Empty.into());
    }
    if !start.starts_with('[') {
        return Err(Fault::NotABatch.into());
    }
    let mut reader = Reader::new(parts);
    let mut json = serde_json::Deserializer::from_str(text);
    let mut ended = false;
    let outcome = json
        .deserialize_seq(ArrayVisitor::<F>(&mut reader, PhantomData))
        .and_then(|()| {
            ended = true;
            json.end()
        });
    match outcome {
        Err(error) => {
            let place = (!ended).then_some(Place::Index(reader.events.len()));
            Err(reader.refused::<F>(&error, text).at(place))
        }
        Ok(()) if reader.events.is_empty() => Err(Fault::Empty.into()),
        Ok(()) => Ok(Request {
            events: reader.taken(),
            shape: Shape::Array,
        }),
    }
}

fn read_lines(text: &str, parts: Parts<'_>) -> Result<Request, BodyError> {
    let mut reader = Reader::new(parts);
    // Lines may be blank: no more is set aside than about twice what was sent.
    let most = text.split('\n').count().min(text.len() / SHORTEST_LINE + 1);
    let most = most.min(MAX_REQUEST_EVENTS);
    reader.events.reserve_exact(most);
    let mut lines = Vec::with_capacity(most);
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let event = reader
            .one::<Member>(line)
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
        events: reader.taken(),
        shape: Shape::Lines(lines),
    })
}

/// Why an event was refused, before its place is known.
struct Refused {
    field: Option<Cow<'static, str>>,
    fault: Fault,
}

impl Refused {
    fn of(field: impl Into<Cow<'static, str>>, fault: Fault) -> Self {
        Self {
            field: Some(field.into()),
            fault,
        }
    }

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

/// What is to become a payload, before anything is copied.
enum Data<'a> {
    /// As it stands in the text.
    Value(&'a RawValue),
    /// As it was decoded, or stands apart from what tells of it.
    Bytes(Cow<'a, [u8]>),
}

impl Data<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Value(value) => value.get().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// What events are made of beside their own members.
struct Parts<'b> {
    /// What the payloads are parts of, unless they are copied.
    body: Option<&'b Bytes>,
    max_payload_bytes: usize,
    /// The last type that was read: most are of the same.
    event_type: Option<EventType>,
}

impl<'b> Parts<'b> {
    /// Of a single event, which would hold more than its payload.
    const fn copied(max_payload_bytes: usize) -> Self {
        Self {
            body: None,
            max_payload_bytes,
            event_type: None,
        }
    }

    /// Of the events of this body.
    fn of(body: &'b Bytes, max_payload_bytes: usize) -> Self {
        Self {
            body: Some(body),
            ..Self::copied(max_payload_bytes)
        }
    }

    fn event_type(&mut self, text: &str) -> Result<EventType, EventError> {
        match &self.event_type {
            Some(last) if last.as_str() == text => Ok(last.clone()),
            _ => EventType::new(text).inspect(|it| self.event_type = Some(it.clone())),
        }
    }

    fn payload(&self, data: Data<'_>) -> Payload {
        match (data, self.body) {
            (Data::Value(value), Some(body)) => Payload::of(value, |part| body.slice_ref(part)),
            (Data::Value(value), None) => Payload::of(value, Bytes::copy_from_slice),
            (Data::Bytes(bytes), _) => Payload::Given(bytes.into_owned().into()),
        }
    }
}

/// What is carried along the body. The faults of an event are kept here and not in the
/// deserializer's error, which has room for nothing but a text.
struct Reader<'b> {
    parts: Parts<'b>,
    events: Vec<Event>,
    refused: Option<Refused>,
}

impl<'b> Reader<'b> {
    const fn new(parts: Parts<'b>) -> Self {
        Self {
            parts,
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

    /// All of them, once the body is read to its end. What it holds beside their payloads, such as white
    /// space, nobody counts while they wait for the writer.
    fn taken(mut self) -> Vec<Event> {
        let Some(body) = self.parts.body else {
            return self.events;
        };
        let is_part = |payload: &Bytes| body.as_ptr_range().contains(&payload.as_ptr());
        let payloads = || self.events.iter().map(|event| &event.payload);
        let held: usize = payloads().filter(|it| is_part(it)).map(Bytes::len).sum();
        if held.saturating_mul(WORTH_HOLDING) < body.len() {
            for payload in self.events.iter_mut().map(|event| &mut event.payload) {
                if is_part(payload) {
                    *payload = Bytes::copy_from_slice(payload);
                }
            }
        }
        self.events
    }

    /// Reads a text that is one event and nothing else.
    fn one<F: Form>(&mut self, text: &str) -> Result<Event, Refused> {
        let mut json = serde_json::Deserializer::from_str(text);
        let read = EventSeed::<F>(self, PhantomData).deserialize(&mut json);
        let read = read.and_then(|event| json.end().map(|()| event));
        read.map_err(|error| self.refused::<F>(&error, text))
    }

    /// What is behind the deserializer's error.
    fn refused<F: Form>(&mut self, error: &serde_json::Error, text: &str) -> Refused {
        if let Some(refused) = self.refused.take() {
            return refused;
        }
        // A "data" error that was not recorded is a value of another kind than was asked for;
        // there is only one place for that. Its text would quote the value.
        let fault = match error.classify() {
            Category::Data => F::NOT_AN_OBJECT,
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
struct EventSeed<'r, 'b, F>(&'r mut Reader<'b>, PhantomData<F>);

impl<'de, F: Form> DeserializeSeed<'de> for EventSeed<'_, '_, F> {
    type Value = Event;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Event, D::Error> {
        let Self(reader, form) = self;
        let members = json.deserialize_any(MembersVisitor::<F>(reader, form))?;
        F::event(&members, &mut reader.parts).map_err(|refused| reader.stop(refused))
    }
}

/// Reads the events of an array into the reader.
struct ArrayVisitor<'r, 'b, F>(&'r mut Reader<'b>, PhantomData<F>);

impl<'de, F: Form> Visitor<'de> for ArrayVisitor<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let Self(reader, form) = self;
        while let Some(event) = array.next_element_seed(EventSeed::<F>(reader, form))? {
            reader
                .take(event)
                .map_err(|fault| reader.stop::<A::Error>(fault.into()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
