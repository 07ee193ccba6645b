//! Events: what a program hands over.
//!
//! An [`Event`] exists only checked: whoever holds one holds a type without wildcards, a version
//! that agrees with it, and a payload that is one JSON value. The payload is bytes, kept exactly
//! as they were handed over, white space around the value included.
//!
//! ```
//! use edge_outbox::event::{DomainEvent, Event};
//! use serde::Serialize;
//! use uuid::Uuid;
//!
//! #[derive(Serialize)]
//! struct DoorOpened {
//!     door: Uuid,
//!     badge: String,
//! }
//!
//! impl DomainEvent for DoorOpened {
//!     const EVENT_TYPE: &'static str = "door.opened.v2";
//!     const EVENT_VERSION: u16 = 2;
//!
//!     fn aggregate_id(&self) -> Uuid {
//!         self.door
//!     }
//!
//!     fn subject_id(&self) -> Option<String> {
//!         Some(self.badge.clone())
//!     }
//! }
//!
//! let door = Uuid::from_u128(7);
//! let typed = Event::new(&DoorOpened { door, badge: "b-12".into() })?;
//! let built = Event::builder("door.opened.v2", door)
//!     .subject_id("b-12")
//!     .payload(typed.payload())
//!     .build()?;
//! assert_eq!(typed, built);
//!
//! let error = Event::builder("door.>", door).payload("{}").build().unwrap_err();
//! assert_eq!(error.field(), "event_type");
//! # Ok::<(), edge_outbox::event::EventError>(())
//! ```

mod error;
mod event_type;
mod json;
mod platform;
mod uri_reference;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

pub use error::EventError;
pub use event_type::{EventType, MAX_EVENT_TYPE_BYTES};
pub(crate) use event_type::{check_shape as check_type_shape, is_reserved as is_reserved_type};
pub(crate) use json::check as check_json;
pub use json::{JsonError, MAX_DEPTH, MAX_PAYLOAD_BYTES};
pub use platform::{LearningPulseCreated, LessonPublished, QuizSubmitted, UserEraseRequested};
pub(crate) use uri_reference::{check as is_uri_reference, escaped as escaped_as_uri_reference};

use crate::clock::Timestamp;

/// Longest `original_id`, `subject_id` and `source`, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// The namespace of the ids that are made from a source and an original id.
pub const ORIGINAL_ID_NAMESPACE: Uuid = Uuid::from_u128(0x95fa_0672_b7e6_4fa6_9c77_b218_a1f1_f73d);

/// A checked event, not yet in the journal.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) event_type: EventType,
    pub(crate) event_version: u16,
    pub(crate) id: Option<Uuid>,
    /// The id that its producer gave it, where that is no UUID; 1 to 255 bytes.
    pub(crate) original_id: Option<Box<str>>,
    pub(crate) aggregate_id: Uuid,
    /// Whose data this is; 1 to 255 bytes where present.
    pub(crate) subject_id: Option<Box<str>>,
    pub(crate) occurred_at: Option<Timestamp>,
    /// What produced it, 1 to 255 bytes; `None`: the outbox's default.
    pub(crate) source: Option<Box<str>>,
    /// Valid JSON, byte for byte as handed over; of events that came together, perhaps a part of
    /// what they came in.
    pub(crate) payload: Bytes,
}

/// A program's own event: a type that serialises to the payload and knows the rest about itself.
pub trait DomainEvent: Serialize {
    /// See [`EventType`].
    const EVENT_TYPE: &'static str;
    /// The version of the payload's shape, from 1; agrees with a `.v<N>` suffix of the type.
    const EVENT_VERSION: u16;

    /// What the event is about.
    fn aggregate_id(&self) -> Uuid;

    /// The event's identity. None: a UUIDv7 at append, so that appending the same value twice
    /// makes two events.
    fn event_id(&self) -> Option<Uuid> {
        None
    }

    /// When it happened. None: the clock at append.
    fn occurred_at(&self) -> Option<Timestamp> {
        None
    }

    /// The person whose data this is, where there is one: what an erasure goes by.
    fn subject_id(&self) -> Option<String> {
        None
    }
}

impl Event {
    /// Serialises and checks a domain event.
    ///
    /// # Errors
    /// As [`EventError`] says.
    pub fn new<E: DomainEvent>(event: &E) -> Result<Self, EventError> {
        let mut builder = Self::builder(E::EVENT_TYPE, event.aggregate_id())
            .version(E::EVENT_VERSION)
            .payload_from(event);
        builder.id = event.event_id();
        builder.occurred_at = event.occurred_at();
        builder.subject_id = event.subject_id();
        builder.build()
    }

    /// Starts an event from its parts. The type is a `&str`, a `String`, or an `Arc<str>`, which is shared
    /// and not copied.
    pub fn builder(event_type: impl Into<Arc<str>>, aggregate_id: Uuid) -> EventBuilder {
        Self::builder_of(EventType::of(event_type.into()), aggregate_id)
    }

    /// As [`Event::builder`], with a type that was checked already.
    pub(crate) fn builder_of(
        event_type: Result<EventType, EventError>,
        aggregate_id: Uuid,
    ) -> EventBuilder {
        EventBuilder {
            event_type,
            event_version: None,
            id: None,
            original_id: None,
            aggregate_id,
            subject_id: None,
            occurred_at: None,
            source: None,
            payload: Err(EventError::PayloadMissing),
        }
    }

    /// The type.
    #[must_use]
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// The version of the payload's shape.
    #[must_use]
    pub fn event_version(&self) -> u16 {
        self.event_version
    }

    /// The payload, byte for byte as handed over.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl fmt::Debug for Event {
    /// Leaves out what may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_type", &self.event_type)
            .field("event_version", &self.event_version)
            .field("id", &self.id)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// Builds an [`Event`] from its parts; what is wrong with any of them, [`EventBuilder::build`] says.
#[must_use]
pub struct EventBuilder {
    event_type: Result<EventType, EventError>,
    event_version: Option<u16>,
    id: Option<Uuid>,
    original_id: Option<String>,
    aggregate_id: Uuid,
    subject_id: Option<String>,
    occurred_at: Option<Timestamp>,
    source: Option<String>,
    payload: Result<Payload, EventError>,
}

/// A payload that is not in an event yet.
pub(crate) enum Payload {
    /// Whatever was handed over.
    Given(Bytes),
    /// One JSON value, of which only the limits are to be checked.
    Json(Bytes),
}

impl Payload {
    /// A value that stands in a text; `bytes` makes what is to be held of its part of it.
    pub(crate) fn of(value: &RawValue, bytes: impl FnOnce(&[u8]) -> Bytes) -> Self {
        let bytes = bytes(value.get().as_bytes());
        debug_assert_eq!(bytes, value.get());
        Self::Json(bytes)
    }

    fn checked(self) -> Result<Bytes, JsonError> {
        match self {
            Self::Given(bytes) => json::check(&bytes).map(|()| bytes),
            Self::Json(bytes) => json::check_limits(&bytes).map(|()| bytes),
        }
    }
}

impl EventBuilder {
    /// The event's identity; left out: a UUIDv7 at append. Appending the same id again is a
    /// repeat and not a second event.
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// The id that its producer gave it, where that is no UUID: 1 to 255 bytes without control
    /// characters. It is signed and can not be erased. Where no [`id`](Self::id) is given, the id is
    /// [`original_uuid`] of the source and this, so that the same two are the same event.
    pub fn original_id(mut self, original_id: impl Into<String>) -> Self {
        self.original_id = Some(original_id.into());
        self
    }

    /// The version of the payload's shape; left out: that of a `.v<N>` suffix of the type, else 1.
    pub fn version(mut self, version: u16) -> Self {
        self.event_version = Some(version);
        self
    }

    /// The person whose data this is: 1 to 255 bytes without control characters.
    pub fn subject_id(mut self, subject_id: impl Into<String>) -> Self {
        self.subject_id = Some(subject_id.into());
        self
    }

    /// When it happened; left out: the clock at append.
    pub fn occurred_at(mut self, at: Timestamp) -> Self {
        self.occurred_at = Some(at);
        self
    }

    /// What produced it: 1 to 255 bytes without control characters; left out: the outbox's
    /// default.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The payload: one JSON value of any kind. The bytes are kept as they are.
    pub fn payload(self, json: impl Into<Vec<u8>>) -> Self {
        self.payload_of(Payload::Given(json.into().into_boxed_slice().into()))
    }

    /// As [`EventBuilder::payload`], of bytes that others may hold, too.
    pub(crate) fn payload_of(mut self, payload: Payload) -> Self {
        self.payload = Ok(payload);
        self
    }

    /// The payload, serialised from a value.
    pub fn payload_from(mut self, value: &impl Serialize) -> Self {
        self.payload = serde_json::to_vec(value)
            .map(|json| Payload::Given(json.into_boxed_slice().into()))
            .map_err(EventError::PayloadNotSerialised);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// As [`EventError`] says; the first fault in the order of the type's members.
    pub fn build(self) -> Result<Event, EventError> {
        let event_type = self.event_type?;
        let event_version = event_type.version(self.event_version)?;
        // The journal's table of ids says "not known" with it, so a repeat would be a second event.
        if self.id.is_some_and(|id| id.is_nil()) {
            return Err(EventError::IdNil);
        }
        if let Some(original_id) = &self.original_id {
            check_name(original_id).map_err(EventError::OriginalId)?;
        }
        if let Some(subject_id) = &self.subject_id {
            check_name(subject_id).map_err(EventError::SubjectId)?;
        }
        if let Some(source) = &self.source {
            check_name(source).map_err(EventError::Source)?;
        }
        let id = match (self.id, &self.original_id, &self.source) {
            (None, Some(original_id), Some(source)) => Some(original_uuid(source, original_id)),
            (None, Some(_), None) => return Err(EventError::OriginalIdWithoutSource),
            (id, ..) => id,
        };
        let payload = self.payload?.checked().map_err(EventError::Payload)?;
        Ok(Event {
            event_type,
            event_version,
            id,
            original_id: self.original_id.map(Into::into),
            aggregate_id: self.aggregate_id,
            subject_id: self.subject_id.map(Into::into),
            occurred_at: self.occurred_at,
            source: self.source.map(Into::into),
            payload,
        })
    }
}

/// The id of an event whose producer gave it one that is no UUID: the UUIDv5 (RFC 9562, section
/// 5.5) of `source ‖ 0x00 ‖ original_id` in [`ORIGINAL_ID_NAMESPACE`].
#[must_use]
pub fn original_uuid(source: &str, original_id: &str) -> Uuid {
    let name = [source.as_bytes(), &[0], original_id.as_bytes()].concat();
    Uuid::new_v5(&ORIGINAL_ID_NAMESPACE, &name)
}

/// Why a text is no `original_id`, `subject_id` or `source`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty, or longer than 255 bytes.
    #[error("{bytes} bytes long, and 1 to {MAX_NAME_BYTES} are taken")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// A control character, such as a line break.
    #[error("the control character {found:?} at byte {at}")]
    Control {
        /// The character.
        found: char,
        /// Where it is.
        at: usize,
    },
}

/// Checks an `original_id`, `subject_id` or `source`.
pub(crate) fn check_name(text: &str) -> Result<(), NameError> {
    if !(1..=MAX_NAME_BYTES).contains(&text.len()) {
        return Err(NameError::Length { bytes: text.len() });
    }
    match text
        .char_indices()
        .find(|(_, character)| character.is_control())
    {
        Some((at, found)) => Err(NameError::Control { found, at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
