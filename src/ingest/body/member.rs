//! The members of an event object.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Data, Fault, Parts, Reader, Refused};
use crate::{clock::Timestamp, event::Event};

/// Longest part of a foreign member's name that an error repeats, in characters.
pub(super) const MAX_NAME_CHARS: usize = 64;
/// The most members that any form has.
const MAX_MEMBERS: usize = 12;

/// The members that one form of event has.
pub(super) trait Form: Copy + 'static {
    /// Each of them, at its [`Form::place`].
    const NAMES: &'static [(&'static str, Self)];
    /// What is said of something that is no object.
    const NOT_AN_OBJECT: Fault;
    /// Whether a member of another name may be there with the value `null`.
    const NULL_IS_UNSET: bool;

    /// The place in [`Form::NAMES`].
    fn place(self) -> usize;

    /// What is wrong with a member of another name.
    fn foreign(name: &str) -> Fault;

    /// Checks all members and makes the event.
    fn event(members: &Members<'_, Self>, parts: &mut Parts<'_>) -> Result<Event, Refused>;
}

/// The members an event may have. The order is that of [`Member::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    EventType,
    AggregateId,
    Payload,
    Id,
    EventVersion,
    SubjectId,
    OccurredAt,
    Source,
}

impl Form for Member {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("event_type", Self::EventType),
        ("aggregate_id", Self::AggregateId),
        ("payload", Self::Payload),
        ("id", Self::Id),
        ("event_version", Self::EventVersion),
        ("subject_id", Self::SubjectId),
        ("occurred_at", Self::OccurredAt),
        ("source", Self::Source),
    ];
    const NOT_AN_OBJECT: Fault = Fault::NotAnObject;
    const NULL_IS_UNSET: bool = false;

    fn place(self) -> usize {
        self as usize
    }

    fn foreign(_name: &str) -> Fault {
        Fault::UnknownMember
    }

    fn event(members: &Members<'_, Self>, parts: &mut Parts<'_>) -> Result<Event, Refused> {
        let event_type = members.required(Self::EventType, text)?;
        let aggregate_id = members.required(Self::AggregateId, uuid)?;
        let payload = Data::Value(members.required(Self::Payload, Ok)?);
        if payload.len() > parts.max_payload_bytes {
            let fault = Fault::PayloadTooLarge {
                bytes: payload.len(),
                limit: parts.max_payload_bytes,
            };
            return Err(Refused::of("payload", fault));
        }
        let mut event = Event::builder_of(parts.event_type(&event_type), aggregate_id)
            .payload_of(parts.payload(payload));
        if let Some(id) = members.optional(Self::Id, uuid)? {
            event = event.id(id);
        }
        if let Some(version) = members.optional(Self::EventVersion, version)? {
            event = event.version(version);
        }
        if let Some(subject_id) = members.optional(Self::SubjectId, text)? {
            event = event.subject_id(subject_id);
        }
        if let Some(at) = members.optional(Self::OccurredAt, time)? {
            event = event.occurred_at(at);
        }
        if let Some(source) = members.optional(Self::Source, text)? {
            event = event.source(source);
        }
        event
            .build()
            .map_err(|error| Refused::of(error.field(), Fault::Event(error)))
    }
}

/// A member's name as it stands in the object: one of ours, or the beginning of another.
enum Name<F> {
    Ours(F),
    Other(String),
}

impl<'de, F: Form> Deserialize<'de> for Name<F> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_str(NameVisitor(PhantomData))
    }
}

struct NameVisitor<F>(PhantomData<F>);

impl<F: Form> Visitor<'_> for NameVisitor<F> {
    type Value = Name<F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Name<F>, E> {
        let ours = F::NAMES.iter().find(|(name, _)| *name == text);
        Ok(match ours {
            Some((_, member)) => Name::Ours(*member),
            None => Name::Other(text.chars().take(MAX_NAME_CHARS).collect()),
        })
    }
}

/// The members of one object, each as it stands in the text and known only to be JSON.
pub(super) struct Members<'a, F> {
    values: [Option<&'a RawValue>; MAX_MEMBERS],
    form: PhantomData<F>,
}

/// Collects the members of one object. Faults go to the reader.
pub(super) struct MembersVisitor<'r, 'b, F>(
    pub(super) &'r mut Reader<'b>,
    pub(super) PhantomData<F>,
);

impl<'de, F: Form> Visitor<'de> for MembersVisitor<'_, '_, F> {
    type Value = Members<'de, F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<'de, F>, A::Error> {
        const { assert!(F::NAMES.len() <= MAX_MEMBERS) };
        let mut members = Members {
            values: [None; MAX_MEMBERS],
            form: PhantomData,
        };
        while let Some(name) = object.next_key::<Name<F>>()? {
            let member = match name {
                Name::Ours(member) => member,
                Name::Other(name) => {
                    if F::NULL_IS_UNSET && object.next_value::<&RawValue>()?.get() == "null" {
                        continue;
                    }
                    let fault = F::foreign(&name);
                    return Err(self.0.stop(Refused::of(name, fault)));
                }
            };
            let value = object.next_value()?;
            if members.values[member.place()].replace(value).is_some() {
                let (name, _) = F::NAMES[member.place()];
                return Err(self.0.stop(Refused::of(name, Fault::DuplicateMember)));
            }
        }
        Ok(members)
    }
}

impl<'a, F: Form> Members<'a, F> {
    /// The value of a member, as it stands in the text.
    pub(super) fn get(&self, member: F) -> Option<&'a RawValue> {
        self.values[member.place()]
    }

    fn required<T>(
        &self,
        member: F,
        read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
    ) -> Result<T, Refused> {
        let value = self.get(member).ok_or(Fault::MissingMember);
        let (name, _) = F::NAMES[member.place()];
        value
            .and_then(read)
            .map_err(|fault| Refused::of(name, fault))
    }

    fn optional<T>(
        &self,
        member: F,
        read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
    ) -> Result<Option<T>, Refused> {
        let value = self.get(member).filter(|value| value.get() != "null");
        let (name, _) = F::NAMES[member.place()];
        value
            .map(read)
            .transpose()
            .map_err(|fault| Refused::of(name, fault))
    }
}

/// The text of a string.
pub(super) fn text(value: &RawValue) -> Result<Cow<'_, str>, Fault> {
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

fn uuid(value: &RawValue) -> Result<Uuid, Fault> {
    let text = text(value).map_err(|_| Fault::NotAUuid)?;
    uuid_of(&text).ok_or(Fault::NotAUuid)
}

/// Only the hyphenated form, in either case: other spellings of one id would not be found again
/// by whoever searches for it as text.
pub(super) fn uuid_of(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then_some(uuid)
}

fn version(value: &RawValue) -> Result<u16, Fault> {
    version_of(value.get())
}

/// A version as JSON writes it.
pub(super) fn version_of(text: &str) -> Result<u16, Fault> {
    match text.parse() {
        Ok(version) if version != 0 && !text.starts_with(['+', '0']) => Ok(version),
        _ => Err(Fault::NotAVersion),
    }
}

fn time(value: &RawValue) -> Result<Timestamp, Fault> {
    text(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Fault::NotATime)
}
