//! CloudEvents 1.0.2 as events: the JSON event format, and the attributes of all modes.
//!
//! `docs/cloudevents.md` has the table. What an event has no place for is refused with the name of
//! the attribute: it would be lost, and nobody would know.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Data, Fault, Parts, Refused,
    member::{Form, Members, text, uuid_of, version_of},
};
use crate::{
    encoding::parse_base64_vec,
    event::{Event, is_uri_reference},
};

/// The attributes that an event has a place for, and the members of the JSON format that hold its
/// data. The order is that of [`Attribute::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    SpecVersion,
    Id,
    Source,
    Type,
    DataContentType,
    Subject,
    Time,
    AggregateId,
    SubjectId,
    EventVersion,
    Data,
    DataBase64,
}

impl Form for Attribute {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("specversion", Self::SpecVersion),
        ("id", Self::Id),
        ("source", Self::Source),
        ("type", Self::Type),
        ("datacontenttype", Self::DataContentType),
        ("subject", Self::Subject),
        ("time", Self::Time),
        ("aggregateid", Self::AggregateId),
        ("subjectid", Self::SubjectId),
        ("eventversion", Self::EventVersion),
        ("data", Self::Data),
        ("data_base64", Self::DataBase64),
    ];
    const NOT_AN_OBJECT: Fault = Fault::NotACloudEvent;
    /// JSON event format, section 2.2: `null` is an attribute that is not set.
    const NULL_IS_UNSET: bool = true;

    fn place(self) -> usize {
        self as usize
    }

    fn foreign(name: &str) -> Fault {
        match name {
            "dataschema" => Fault::DataSchema,
            _ => Fault::UnknownAttribute,
        }
    }

    fn event(members: &Members<'_, Self>, parts: &mut Parts<'_>) -> Result<Event, Refused> {
        let mut attributes = Attributes::new(Mode::Structured);
        for &(name, attribute) in Self::NAMES {
            if matches!(attribute, Self::Data | Self::DataBase64) {
                continue;
            }
            if let Some(value) = members.get(attribute).filter(|value| value.get() != "null") {
                let read = match attribute {
                    Self::EventVersion => Ok(number_or_text(value)),
                    _ => text(value),
                };
                let value = read.map_err(|fault| Refused::of(name, fault))?;
                attributes.texts[attribute.place()] = Some(value);
            }
        }
        let data = match (members.get(Self::Data), members.get(Self::DataBase64)) {
            (Some(_), Some(_)) => return Err(Refused::of("data_base64", Fault::TwoPayloads)),
            (None, None) => return Err(Refused::of("data", Fault::NoData)),
            (Some(data), None) => (Self::Data, Data::Value(data)),
            (None, Some(encoded)) => {
                let refused = |fault| Refused::of("data_base64", fault);
                let encoded = text(encoded).map_err(refused)?;
                let data = parse_base64_vec(encoded.as_bytes());
                let data = data.ok_or(Fault::NotBase64).map_err(refused)?;
                (Self::DataBase64, Data::Bytes(data.into()))
            }
        };
        attributes.event(data, parts)
    }
}

/// Where attributes stand, which decides on how errors name them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the JSON event format, under their own names.
    Structured,
    /// In headers of the name with `ce-` before it.
    Binary,
}

/// The attributes of one CloudEvent, each in its canonical string encoding.
pub(super) struct Attributes<'a> {
    mode: Mode,
    pub(super) texts: [Option<Cow<'a, str>>; Attribute::NAMES.len()],
}

impl Attributes<'_> {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            texts: Default::default(),
        }
    }

    /// Checks them all and makes the event; `data` is its payload, and the member it stood in.
    pub(super) fn event(
        &self,
        (place, data): (Attribute, Data<'_>),
        parts: &mut Parts<'_>,
    ) -> Result<Event, Refused> {
        if self.required(Attribute::SpecVersion)? != "1.0" {
            return Err(self.refused(Attribute::SpecVersion, Fault::SpecVersion));
        }
        let id = self.required(Attribute::Id)?;
        let source = self.required(Attribute::Source)?;
        let event_type = self.required(Attribute::Type)?;
        if !is_uri_reference(source) {
            return Err(self.refused(Attribute::Source, Fault::NotAUriReference));
        }
        if let Some(content_type) = self.text(Attribute::DataContentType)
            && !is_json(content_type)
        {
            return Err(self.refused(Attribute::DataContentType, Fault::DataContentType));
        }
        for attribute in [Attribute::Id, Attribute::SubjectId] {
            if self
                .text(attribute)
                .is_some_and(|text| text.chars().any(is_noncharacter))
            {
                return Err(self.refused(attribute, Fault::Noncharacter));
            }
        }
        if data.len() > parts.max_payload_bytes {
            let fault = Fault::PayloadTooLarge {
                bytes: data.len(),
                limit: parts.max_payload_bytes,
            };
            return Err(self.refused(place, fault));
        }
        let mut event = Event::builder_of(parts.event_type(event_type), self.aggregate_id()?)
            .source(source)
            .payload_of(parts.payload(data));
        event = match uuid_of(id) {
            Some(uuid) if !uuid.is_nil() && uuid.to_string() == id => event.id(uuid),
            // Another spelling of a UUID is another id, and the nil one is none of ours.
            _ => event.original_id(id),
        };
        if let Some(version) = self.optional(Attribute::EventVersion, version_of)? {
            event = event.version(version);
        }
        if let Some(subject_id) = self.text(Attribute::SubjectId) {
            event = event.subject_id(subject_id);
        }
        let time = |text: &str| text.parse().map_err(|_| Fault::NotATime);
        if let Some(at) = self.optional(Attribute::Time, time)? {
            event = event.occurred_at(at);
        }
        event.build().map_err(|error| {
            let attribute = match error.field() {
                "event_type" => Attribute::Type,
                "event_version" => Attribute::EventVersion,
                "subject_id" => Attribute::SubjectId,
                "source" => Attribute::Source,
                "payload" => place,
                _ => Attribute::Id,
            };
            self.refused(attribute, Fault::Event(error))
        })
    }

    /// What the event is about, which may be named in either way, and in both alike.
    fn aggregate_id(&self) -> Result<Uuid, Refused> {
        let subject = |text: &str| uuid_of(text).ok_or(Fault::SubjectNotAUuid);
        let aggregate_id = |text: &str| uuid_of(text).ok_or(Fault::NotAUuid);
        let subject = self.optional(Attribute::Subject, subject)?;
        let aggregate_id = self.optional(Attribute::AggregateId, aggregate_id)?;
        match (subject, aggregate_id) {
            (Some(one), Some(other)) if one != other => {
                Err(self.refused(Attribute::AggregateId, Fault::TwoAggregates))
            }
            (None, None) => Err(self.refused(Attribute::Subject, Fault::NoAggregate)),
            (Some(id), _) | (None, Some(id)) => Ok(id),
        }
    }

    fn text(&self, attribute: Attribute) -> Option<&str> {
        self.texts[attribute.place()].as_deref()
    }

    fn required(&self, attribute: Attribute) -> Result<&str, Refused> {
        let text = self.text(attribute);
        text.ok_or_else(|| self.refused(attribute, Fault::MissingAttribute))
    }

    fn optional<T>(
        &self,
        attribute: Attribute,
        read: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Refused> {
        let read = self.text(attribute).map(read).transpose();
        read.map_err(|fault| self.refused(attribute, fault))
    }

    fn refused(&self, attribute: Attribute, fault: Fault) -> Refused {
        let (name, _) = Attribute::NAMES[attribute.place()];
        match (self.mode, attribute) {
            // The data is the body, and the only thing in a message that has no header.
            (Mode::Structured, _) | (Mode::Binary, Attribute::Data) => Refused::of(name, fault),
            (Mode::Binary, _) => Refused::of(format!("ce-{name}"), fault),
        }
    }
}

/// An integer may be a JSON number or, as any attribute, its canonical string.
fn number_or_text(value: &RawValue) -> Cow<'_, str> {
    text(value).unwrap_or(Cow::Borrowed(value.get()))
}

/// Whether this content type says nothing but JSON in UTF-8. A parameter would be lost, and so
/// would another type that happens to be JSON.
pub(crate) fn is_json(content_type: &str) -> bool {
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let is_utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        parameter.trim().is_empty()
            || name.trim().eq_ignore_ascii_case("charset")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    essence.trim().eq_ignore_ascii_case("application/json") && parameters.split(';').all(is_utf8)
}

/// Code points that Unicode sets aside, and strings of CloudEvents must not hold.
fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
}
