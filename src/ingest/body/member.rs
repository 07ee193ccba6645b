//! The members of an event object.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Fault, Reader, Refused};
use crate::{clock::Timestamp, event::Event};

/// Longest part of a foreign member's name that an error repeats, in characters.
const MAX_NAME_CHARS: usize = 64;

/// The members an event may have. The order is that of [`Member::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    EventType,
    AggregateId,
    Payload,
    Id,
    EventVersion,
    SubjectId,
    OccurredAt,
    Source,
}

impl Member {
    const NAMES: [(&'static str, Self); 8] = [
        ("event_type", Self::EventType),
        ("aggregate_id", Self::AggregateId),
        ("payload", Self::Payload),
        ("id", Self::Id),
        ("event_version", Self::EventVersion),
        ("subject_id", Self::SubjectId),
        ("occurred_at", Self::OccurredAt),
        ("source", Self::Source),
    ];

    const fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    const fn refused(self, fault: Fault) -> Refused {
        Refused {
            field: Some(Cow::Borrowed(self.name())),
            fault,
        }
    }
}

/// A member's name as it stands in the object: one of ours, or the beginning of another.
enum Name {
    Ours(Member),
    Other(String),
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
        let ours = Member::NAMES.into_iter().find(|(name, _)| *name == text);
        Ok(match ours {
            Some((_, member)) => Name::Ours(member),
            None => Name::Other(text.chars().take(MAX_NAME_CHARS).collect()),
        })
    }
}

/// The members of one object, each as it stands in the text and known only to be JSON.
#[derive(Default)]
pub(super) struct Members<'a>([Option<&'a RawValue>; Member::NAMES.len()]);

/// Collects the members of one object. Faults go to the reader.
pub(super) struct MembersVisitor<'r>(pub(super) &'r mut Reader);

impl<'de> Visitor<'de> for MembersVisitor<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(name) = object.next_key()? {
            let member = match name {
                Name::Ours(member) => member,
                Name::Other(name) => {
                    let field = Some(Cow::Owned(name));
                    return Err(self.0.stop(Refused {
                        field,
                        fault: Fault::UnknownMember,
                    }));
                }
            };
            let value = object.next_value()?;
            if members.0[member as usize].replace(value).is_some() {
                return Err(self.0.stop(member.refused(Fault::DuplicateMember)));
            }
        }
        Ok(members)
    }
}

impl<'a> Members<'a> {
    /// Checks them all and makes the event.
    pub(super) fn event(&self, max_payload_bytes: usize) -> Result<Event, Refused> {
        let event_type = self.required(Member::EventType, text)?;
        let aggregate_id = self.required(Member::AggregateId, uuid)?;
        let payload = self.required(Member::Payload, Ok)?.get();
        if payload.len() > max_payload_bytes {
            let fault = Fault::PayloadTooLarge {
                bytes: payload.len(),
                limit: max_payload_bytes,
            };
            return Err(Member::Payload.refused(fault));
        }
        let mut event = Event::builder(event_type, aggregate_id).payload(payload);
        if let Some(id) = self.optional(Member::Id, uuid)? {
            event = event.id(id);
        }
        if let Some(version) = self.optional(Member::EventVersion, version)? {
            event = event.version(version);
        }
        if let Some(subject_id) = self.optional(Member::SubjectId, text)? {
            event = event.subject_id(subject_id);
        }
        if let Some(at) = self.optional(Member::OccurredAt, time)? {
            event = event.occurred_at(at);
        }
        if let Some(source) = self.optional(Member::Source, text)? {
            event = event.source(source);
        }
        event.build().map_err(|error| Refused {
            field: Some(Cow::Borrowed(error.field())),
            fault: Fault::Event(error),
        })
    }

    fn required<T>(
        &self,
        member: Member,
        read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
    ) -> Result<T, Refused> {
        let value = self.0[member as usize].ok_or(Fault::MissingMember);
        value.and_then(read).map_err(|fault| member.refused(fault))
    }

    fn optional<T>(
        &self,
        member: Member,
        read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
    ) -> Result<Option<T>, Refused> {
        let value = self.0[member as usize].filter(|value| value.get() != "null");
        value
            .map(read)
            .transpose()
            .map_err(|fault| member.refused(fault))
    }
}

fn text(value: &RawValue) -> Result<Cow<'_, str>, Fault> {
    let inner = value
        .get()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    match inner {
        None => Err(Fault::NotAString),
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        // The grammar is checked already, so what is left to fail is half of a surrogate pair.
        Some(_) => serde_json::from_str(value.get())
            .map(Cow::Owned)
            .map_err(|_| Fault::HalfACharacter),
    }
}

/// Only the hyphenated form, in either case: other spellings of one id would not be found again
/// by whoever searches for it as text.
fn uuid(value: &RawValue) -> Result<Uuid, Fault> {
    let text = text(value).map_err(|_| Fault::NotAUuid)?;
    match Uuid::try_parse(&text) {
        Ok(uuid) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(uuid),
        _ => Err(Fault::NotAUuid),
    }
}

fn version(value: &RawValue) -> Result<u16, Fault> {
    match value.get().parse() {
        Ok(version) if version != 0 => Ok(version),
        _ => Err(Fault::NotAVersion),
    }
}

fn time(value: &RawValue) -> Result<Timestamp, Fault> {
    text(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Fault::NotATime)
}
