//! What can be wrong with a body.

use std::{borrow::Cow, fmt};

use serde_json::error::Category;

use crate::event::EventError;

/// Why a body was refused. Nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub struct BodyError {
    /// Which event it is; `None` where there is only one, or where it is none in particular.
    pub place: Option<Place>,
    /// The member at fault; a name that is not ours is cut off after 64 characters.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// Where in a body an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this line, counted from 1, blank ones included.
    Line(usize),
    /// At this index of the array, counted from 0.
    Index(usize),
}

/// What is wrong with a body. No variant holds a value that a program handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// There is no event in it.
    #[error("no event")]
    Empty,
    /// It begins with a byte order mark.
    #[error("a byte order mark before the JSON")]
    ByteOrderMark,
    /// It is not UTF-8.
    #[error("not UTF-8 at byte {at} of the body")]
    NotUtf8 {
        /// The first byte that does not fit, from 0.
        at: usize,
    },
    /// It is no JSON, or there is something after it.
    #[error("not JSON at byte {at}: {what}")]
    NotJson {
        /// What the parser says, without any of the text.
        what: String,
        /// How many bytes of the body (NDJSON: of the line) were read.
        at: usize,
        /// Whether more of the same would have mended it.
        cut_off: bool,
    },
    /// It is JSON, but not an object.
    #[error("an event is a JSON object, and this is something else")]
    NotAnObject,
    /// It is JSON, but not an object, where a CloudEvent was announced.
    #[error("a CloudEvent is a JSON object, and this is something else")]
    NotACloudEvent,
    /// It is one object, where a batch of CloudEvents was announced.
    #[error("a batch is a JSON array, and this is something else")]
    NotABatch,
    /// A member that events do not have.
    #[error("unknown member")]
    UnknownMember,
    /// A member given twice.
    #[error("given twice")]
    DuplicateMember,
    /// A member that every event has is not there.
    #[error("missing")]
    MissingMember,
    /// An attribute that every CloudEvent has is not there.
    #[error("missing")]
    MissingAttribute,
    /// An attribute that an event has no place for.
    #[error("an event has no place for this attribute, and it would be lost")]
    UnknownAttribute,
    /// The schema of the data, which an event has no place for.
    #[error("an event has no place for a schema, and it would be lost")]
    DataSchema,
    /// Another version of CloudEvents.
    #[error("not 1.0")]
    SpecVersion,
    /// A source that is no URI-reference.
    #[error("not a URI-reference")]
    NotAUriReference,
    /// Data of another type than JSON.
    #[error("not application/json in UTF-8, and another type would be lost")]
    DataContentType,
    /// The content type of a binary message is in a header for an attribute.
    #[error("given apart from the content type, which says it")]
    ContentTypeApart,
    /// A subject that is no UUID.
    #[error("not a UUID, and the subject is kept as the aggregate's id")]
    SubjectNotAUuid,
    /// The aggregate's id is not the subject.
    #[error("another aggregate than the subject")]
    TwoAggregates,
    /// Neither a subject nor an aggregate's id.
    #[error("missing, and so is aggregateid: every event is about something")]
    NoAggregate,
    /// Neither `data` nor `data_base64`.
    #[error("missing, and so is data_base64: every event has a payload")]
    NoData,
    /// A binary message without a body.
    #[error("the body is empty, and every event has a payload")]
    NoBody,
    /// Both `data` and `data_base64`.
    #[error("given beside data")]
    TwoPayloads,
    /// Data that is no base64.
    #[error("not base64")]
    NotBase64,
    /// A noncharacter of Unicode.
    #[error("a noncharacter, which CloudEvents do not allow")]
    Noncharacter,
    /// A header's value with something else than printable ASCII.
    #[error("not printable ASCII")]
    NotPrintable,
    /// A header's value that begins with a quotation mark and does not end with its counterpart.
    #[error("a quotation mark without its counterpart at the end")]
    NotQuoted,
    /// A header's value whose percent-encoding is wrong.
    #[error("not percent-encoded UTF-8")]
    NotPercentEncoded,
    /// A value that is no string.
    #[error("not a string")]
    NotAString,
    /// A string with half a surrogate pair, which is no text.
    #[error("a \\u escape that is half of a character")]
    HalfACharacter,
    /// A value that is no UUID.
    #[error("not a UUID")]
    NotAUuid,
    /// A value that is no time.
    #[error("not an RFC 3339 time")]
    NotATime,
    /// A value that is no version.
    #[error("not a whole number from 1 to 65535")]
    NotAVersion,
    /// The event as a whole does not pass.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The payload is larger than is taken.
    #[error("{bytes} bytes, and at most {limit} are taken")]
    PayloadTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More events than one commit takes.
    #[error("more than {limit} events, the most that one commit takes")]
    TooManyEvents {
        /// The limit.
        limit: usize,
    },
}

/// What a [`BodyError`] means to whoever handed the body in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyErrorKind {
    /// It cannot be read at all.
    NotJson,
    /// It can be read, and there is nothing in it.
    NoEvents,
    /// It is JSON, but not an event.
    NotAnEvent,
    /// It goes beyond a limit; smaller pieces would pass.
    TooLarge,
    /// It is of a content type that is not taken.
    UnsupportedContentType,
}

impl Fault {
    /// From a syntax error of the parser, whose texts quote nothing.
    pub(super) fn not_json(error: &serde_json::Error, text: &str) -> Self {
        let what = error.to_string();
        // The parser counts lines and columns; one number serves a reader who has no editor open.
        let before: usize = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        Self::NotJson {
            what: what
                .rsplit_once(" at line ")
                .map_or(what.as_str(), |(what, _)| what)
                .to_owned(),
            at: before + error.column(),
            cut_off: error.classify() == Category::Eof,
        }
    }

    /// What would be right.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "send one event, a JSON array of them, or one a line as NDJSON",
            Self::ByteOrderMark => "leave it out: JSON is UTF-8 without a mark",
            Self::NotUtf8 { .. } => "encode the body as UTF-8",
            Self::NotJson { .. } => "one JSON object an event, nothing after it",
            Self::NotAnObject => "an object with event_type, aggregate_id and payload",
            Self::UnknownMember => {
                "an event has event_type, aggregate_id, payload, and may have id, event_version, \
                 subject_id, occurred_at, source; everything else belongs in the payload"
            }
            Self::DuplicateMember => "give each member once",
            Self::MissingMember => "an event has event_type, aggregate_id and payload",
            Self::NotACloudEvent => "one CloudEvent in JSON; several are a batch",
            Self::NotABatch => "an array, or one CloudEvent as application/cloudevents+json",
            Self::MissingAttribute => "a CloudEvent has specversion, id, source and type",
            Self::UnknownAttribute => {
                "besides specversion, id, source, type and the data, an event has a place for \
                 subject, time, aggregateid, subjectid and eventversion; all else belongs in the \
                 data"
            }
            Self::DataSchema => "leave it out: type and eventversion say what the data looks like",
            Self::SpecVersion => "CloudEvents 1.0, and no other version",
            Self::NotAUriReference => {
                "a URI or a path (RFC 3986), in which all else is percent-encoded"
            }
            Self::DataContentType => "leave it out, or write application/json",
            Self::ContentTypeApart => "leave it out: the content type says what the data is",
            Self::SubjectNotAUuid => {
                "give the aggregate's id, a UUID, as subject or aggregateid; another text belongs \
                 in the data"
            }
            Self::TwoAggregates => "give one of the two, or the same in both",
            Self::NoAggregate => "what the event is about, a UUID, as subject or aggregateid",
            Self::NoData | Self::NoBody => "data may be any JSON value, null among them",
            Self::TwoPayloads => "give the data once",
            Self::NotBase64 => "the standard alphabet with padding (RFC 4648, section 4)",
            Self::Noncharacter => "leave out U+FDD0 to U+FDEF and U+xxFFFE and U+xxFFFF",
            Self::NotPrintable | Self::NotPercentEncoded => {
                "write blanks, quotation marks, percent signs and all that is no ASCII as the \
                 bytes of its UTF-8, each a % and two hexadecimal digits"
            }
            Self::NotQuoted => "percent-encode it: a quotation mark is %22",
            Self::NotAString => "a JSON string",
            Self::HalfACharacter => "escape both halves of the character, or write it as it is",
            Self::NotAUuid => "a string such as \"8c7f1d1e-1f0a-4f6e-9d59-0c4f1c9a2b3d\"",
            Self::NotATime => "a string with an offset, such as \"2026-03-01T08:00:00Z\"",
            Self::NotAVersion => "a number without fraction or exponent, or leave it out",
            Self::Event(error) => error.hint(),
            Self::PayloadTooLarge { .. } => {
                "a smaller payload, or a higher limit in the configuration"
            }
            Self::TooManyEvents { .. } => "send them in several requests",
        }
    }

    /// What it means to whoever handed the body in.
    #[must_use]
    pub const fn kind(&self) -> BodyErrorKind {
        match self {
            Self::Empty => BodyErrorKind::NoEvents,
            Self::ByteOrderMark | Self::NotUtf8 { .. } | Self::NotJson { .. } => {
                BodyErrorKind::NotJson
            }
            Self::PayloadTooLarge { .. } | Self::TooManyEvents { .. } => BodyErrorKind::TooLarge,
            Self::DataContentType => BodyErrorKind::UnsupportedContentType,
            _ => BodyErrorKind::NotAnEvent,
        }
    }
}

impl BodyError {
    /// Whether the body broke off: more of it might have mended it.
    pub(super) const fn is_cut_off(&self) -> bool {
        matches!(self.fault, Fault::NotJson { cut_off: true, .. })
    }
}

impl From<Fault> for BodyError {
    fn from(fault: Fault) -> Self {
        Self {
            place: None,
            field: None,
            fault,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        match (&self.field, &self.fault) {
            // An event's own errors name the member.
            (_, Fault::Event(error)) => write!(f, "{error}"),
            (Some(field), fault) => write!(f, "{field}: {fault}"),
            (None, fault) => write!(f, "{fault}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Index(index) => write!(f, "event at index {index}"),
        }
    }
}
