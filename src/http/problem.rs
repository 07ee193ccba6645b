//! What is said when a request is not fulfilled: RFC 9457 problem JSON.

use std::borrow::Cow;

use hyper::{
    Response, StatusCode,
    header::{self, HeaderValue},
};
use serde::Serialize;

use super::answer::{self, Body};
use crate::{
    ingest::body::{BodyError, BodyErrorKind, Place, Shape},
    outbox::{AppendError, DeadLetterError, EraseError, ForgetError, ReadError},
};

/// Seconds after which it is worth trying again when the journal is full: forwarding has to make
/// room first.
const RETRY_FULL_SECONDS: u16 = 30;
/// Seconds after which it is worth trying again when the trouble mends itself.
const RETRY_SOON_SECONDS: u16 = 1;

/// The kinds of problem. Clients tell them apart by `type`, so a kind is never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NotJson,
    NoEvents,
    InvalidEvent,
    BadRequest,
    TokenRequired,
    HostNotAllowed,
    OriginNotAllowed,
    NotFound,
    EventUnknown,
    SinkUnknown,
    DeadLetterUnknown,
    MethodNotAllowed,
    RequestTimeout,
    IdConflict,
    SinkInUse,
    DeadLetterStuck,
    TooLarge,
    UnsupportedContentType,
    JournalUnreadable,
    OutcomeUnknown,
    JournalUnavailable,
    Busy,
    JournalFull,
    NoRoomToErase,
}

impl Kind {
    /// The last part of the `type`.
    const fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NoEvents => "no-events",
            Self::InvalidEvent => "invalid-event",
            Self::BadRequest => "bad-request",
            Self::TokenRequired => "token-required",
            Self::HostNotAllowed => "host-not-allowed",
            Self::OriginNotAllowed => "origin-not-allowed",
            Self::NotFound => "not-found",
            Self::EventUnknown => "event-unknown",
            Self::SinkUnknown => "sink-unknown",
            Self::DeadLetterUnknown => "dead-letter-unknown",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::RequestTimeout => "request-timeout",
            Self::IdConflict => "id-conflict",
            Self::SinkInUse => "sink-in-use",
            Self::DeadLetterStuck => "dead-letter-stuck",
            Self::TooLarge => "too-large",
            Self::UnsupportedContentType => "unsupported-content-type",
            Self::JournalUnreadable => "journal-unreadable",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::JournalUnavailable => "journal-unavailable",
            Self::Busy => "busy",
            Self::JournalFull => "journal-full",
            Self::NoRoomToErase => "no-room-to-erase",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::NotJson => "the body cannot be read as events",
            Self::NoEvents => "there is no event in the body",
            Self::InvalidEvent => "an event is not right",
            Self::BadRequest => "the request is not right",
            Self::TokenRequired => "a token is required",
            Self::HostNotAllowed => "the host is not ours",
            Self::OriginNotAllowed => "pages of this origin may not ask",
            Self::NotFound => "there is nothing at this path",
            Self::EventUnknown => "no event of this id is known",
            Self::SinkUnknown => "no sink of this name has a place",
            Self::DeadLetterUnknown => "this event is no dead letter there",
            Self::MethodNotAllowed => "this path has other methods",
            Self::RequestTimeout => "the body took too long to arrive",
            Self::IdConflict => "the id is known with other content",
            Self::SinkInUse => "the sink is in use",
            Self::DeadLetterStuck => "this dead letter cannot be dealt with so",
            Self::TooLarge => "more than is taken at once",
            Self::UnsupportedContentType => "the content type is not taken",
            Self::JournalUnreadable => "the journal cannot be read",
            Self::OutcomeUnknown => "the events may or may not be kept",
            Self::JournalUnavailable => "nothing is taken at the moment",
            Self::Busy => "too much at the same time",
            Self::JournalFull => "the journal is full",
            Self::NoRoomToErase => "the disk has no room to complete it",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::NotJson | Self::NoEvents | Self::InvalidEvent | Self::BadRequest => {
                StatusCode::BAD_REQUEST
            }
            Self::TokenRequired => StatusCode::UNAUTHORIZED,
            Self::HostNotAllowed | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound | Self::EventUnknown | Self::SinkUnknown | Self::DeadLetterUnknown => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::IdConflict | Self::SinkInUse | Self::DeadLetterStuck => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::JournalUnreadable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::OutcomeUnknown | Self::JournalUnavailable | Self::Busy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::JournalFull | Self::NoRoomToErase => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// Why a request is not fulfilled. Boxed: it is on no path that has to be fast.
#[derive(Debug)]
pub(super) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    hint: Option<Cow<'static, str>>,
    place: Option<Place>,
    field: Option<Cow<'static, str>>,
    retry_after: Option<u16>,
    allow: Option<&'static str>,
}

/// The JSON of a problem.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            hint: None,
            place: None,
            field: None,
            retry_after: None,
            allow: None,
        }))
    }

    /// What to do about it.
    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.0.hint = Some(Cow::Borrowed(hint));
        self
    }

    /// It mends itself, and soon.
    pub(super) fn retry_soon(mut self) -> Self {
        self.0.retry_after = Some(RETRY_SOON_SECONDS);
        self
    }

    /// The methods that the path has.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem = Self::new(Kind::MethodNotAllowed, format!("this path takes {allow}"));
        problem.0.allow = Some(allow);
        problem
    }

    /// What an append failed with; `shape` finds the place of the event it was about.
    pub(super) fn append(error: &AppendError, shape: &Shape) -> Self {
        let detail = error.to_string();
        let (mut problem, index) = match *error {
            AppendError::Conflict { index, .. } => {
                let problem = Self::new(Kind::IdConflict, detail).field("id");
                (problem, Some(index))
            }
            AppendError::TooLarge { index, .. } => {
                let problem = Self::new(Kind::TooLarge, detail).field("payload");
                (problem, Some(index))
            }
            AppendError::BatchTooLarge { .. } | AppendError::LargerThanQuota { .. } => {
                (Self::new(Kind::TooLarge, detail), None)
            }
            AppendError::Full { .. } | AppendError::DiskFull { .. } => {
                let mut problem = Self::new(Kind::JournalFull, detail);
                problem.0.retry_after = Some(RETRY_FULL_SECONDS);
                (problem, None)
            }
            AppendError::OutcomeUnknown => {
                (Self::new(Kind::OutcomeUnknown, detail).retry_soon(), None)
            }
            AppendError::Unavailable | AppendError::Closed | AppendError::InsideTransaction => (
                Self::new(Kind::JournalUnavailable, detail).retry_soon(),
                None,
            ),
        };
        problem.0.hint = error.hint().map(Cow::Borrowed);
        problem.0.place = index.and_then(|index| shape.place(index));
        problem
    }

    fn field(mut self, field: &'static str) -> Self {
        self.0.field = Some(Cow::Borrowed(field));
        self
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let inner = *self.0;
        let status = inner.kind.status();
        let document = Document {
            r#type: format!("/problems/{}", inner.kind.name()),
            title: inner.kind.title(),
            status: status.as_u16(),
            detail: &inner.detail,
            hint: inner.hint.as_deref(),
            line: inner.place.and_then(|place| match place {
                Place::Line(number) => Some(number),
                Place::Index(_) => None,
            }),
            index: inner.place.and_then(|place| match place {
                Place::Index(index) => Some(index),
                Place::Line(_) => None,
            }),
            field: inner.field.as_deref(),
        };
        let mut response = answer::json(status, &document);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = inner.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = inner.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if inner.kind == Kind::TokenRequired {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let kind = match error.fault.kind() {
            BodyErrorKind::NotJson => Kind::NotJson,
            BodyErrorKind::NoEvents => Kind::NoEvents,
            BodyErrorKind::NotAnEvent => Kind::InvalidEvent,
            BodyErrorKind::TooLarge => Kind::TooLarge,
            BodyErrorKind::UnsupportedContentType => Kind::UnsupportedContentType,
        };
        let mut problem = Self::new(kind, error.to_string()).hint(error.fault.hint());
        problem.0.place = error.place;
        problem.0.field = error.field;
        problem
    }
}

impl From<ForgetError> for Problem {
    fn from(error: ForgetError) -> Self {
        let (detail, hint) = (error.to_string(), error.hint());
        let mut problem = match error {
            ForgetError::Unknown(_) | ForgetError::Name(_) => Self::new(Kind::SinkUnknown, detail),
            ForgetError::InUse(_) => Self::new(Kind::SinkInUse, detail),
            ForgetError::OutcomeUnknown => Self::new(Kind::OutcomeUnknown, detail).retry_soon(),
            ForgetError::Journal(error) => error.into(),
        };
        problem.0.hint = hint.map(Cow::Owned);
        problem
    }
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        let (detail, hint) = (error.to_string(), error.hint());
        let mut problem = match error {
            DeadLetterError::UnknownSink(_) | DeadLetterError::Name(_) => {
                Self::new(Kind::SinkUnknown, detail)
            }
            DeadLetterError::Unknown { .. } => Self::new(Kind::DeadLetterUnknown, detail),
            DeadLetterError::Gone { .. } | DeadLetterError::Unsettled { .. } => {
                Self::new(Kind::DeadLetterStuck, detail)
            }
            DeadLetterError::OutcomeUnknown => Self::new(Kind::OutcomeUnknown, detail).retry_soon(),
            DeadLetterError::Journal(error) => error.into(),
        };
        problem.0.hint = hint.map(Cow::Borrowed);
        problem
    }
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Self {
        let detail = error.to_string();
        match error {
            EraseError::OutcomeUnknown => Self::new(Kind::OutcomeUnknown, detail).retry_soon(),
            EraseError::NoRoom { .. } => Self::new(Kind::NoRoomToErase, detail),
            EraseError::Journal(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = error.to_string();
        match error {
            ReadError::Unavailable | ReadError::Closed => {
                Self::new(Kind::JournalUnavailable, detail).retry_soon()
            }
            ReadError::Damaged { .. } | ReadError::Io(_) => {
                Self::new(Kind::JournalUnreadable, detail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::seq::Seq;

    const DOCUMENTED: &str = include_str!("../../docs/http.md");

    /// Status, last part of the `type`, `Retry-After`.
    fn answer(problem: Problem) -> (u16, &'static str, Option<String>) {
        let name = problem.0.kind.name();
        let response = problem.into_response();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.map(|seconds| seconds.to_str().unwrap().to_owned());
        (response.status().as_u16(), name, retry_after)
    }

    #[test]
    fn each_failed_append_has_its_status_and_says_whether_to_retry() {
        let append = |error: AppendError| answer(Problem::append(&error, &Shape::Array));
        let (index, id, seq) = (0, Uuid::nil(), Seq::FIRST);
        let conflict = AppendError::Conflict { index, id, seq };
        assert_eq!(append(conflict), (409, "id-conflict", None));
        let large = AppendError::TooLarge {
            index,
            bytes: 2,
            limit: 1,
        };
        assert_eq!(append(large), (413, "too-large", None));
        let beyond = AppendError::LargerThanQuota { bytes: 2, most: 1 };
        assert_eq!(append(beyond), (413, "too-large", None));
        let full = AppendError::Full {
            bytes: 1,
            needed: 1,
            quota_bytes: 1,
        };
        assert_eq!(append(full), (507, "journal-full", Some("30".to_owned())));
        let soon = || Some("1".to_owned());
        assert_eq!(
            append(AppendError::OutcomeUnknown),
            (503, "outcome-unknown", soon())
        );
        for error in [AppendError::Unavailable, AppendError::Closed] {
            assert_eq!(append(error), (503, "journal-unavailable", soon()));
        }
    }

    #[test]
    fn each_sink_that_is_not_forgotten_has_its_status() {
        let forget = |error: ForgetError| answer(error.into());
        let name = || crate::journal::SinkName::new("hub").unwrap();
        let unknown = ForgetError::Unknown(name());
        assert_eq!(forget(unknown), (404, "sink-unknown", None));
        let in_use = ForgetError::InUse(name());
        assert_eq!(forget(in_use), (409, "sink-in-use", None));
        let soon = Some("1".to_owned());
        let doubtful = forget(ForgetError::OutcomeUnknown);
        assert_eq!(doubtful, (503, "outcome-unknown", soon.clone()));
        let closed = forget(ReadError::Closed.into());
        assert_eq!(closed, (503, "journal-unavailable", soon));
    }

    #[test]
    fn each_failed_read_has_its_status() {
        let read = |error: ReadError| answer(error.into());
        let io = ReadError::Io("input/output error".to_owned());
        assert_eq!(read(io), (500, "journal-unreadable", None));
        let unavailable = (503, "journal-unavailable", Some("1".to_owned()));
        assert_eq!(read(ReadError::Unavailable), unavailable);
    }

    #[test]
    fn each_kind_of_problem_is_documented_with_its_status() {
        let rows = DOCUMENTED.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `/problems/")?.split_once("` | ")?;
            Some((name, rest.split(' ').next()?.parse().ok()?))
        });
        let documented: Vec<(&str, u16)> = rows.collect();
        let kinds = [
            Kind::NotJson,
            Kind::NoEvents,
            Kind::InvalidEvent,
            Kind::BadRequest,
            Kind::TokenRequired,
            Kind::HostNotAllowed,
            Kind::OriginNotAllowed,
            Kind::NotFound,
            Kind::EventUnknown,
            Kind::SinkUnknown,
            Kind::DeadLetterUnknown,
            Kind::MethodNotAllowed,
            Kind::RequestTimeout,
            Kind::IdConflict,
            Kind::SinkInUse,
            Kind::DeadLetterStuck,
            Kind::TooLarge,
            Kind::UnsupportedContentType,
            Kind::JournalUnreadable,
            Kind::OutcomeUnknown,
            Kind::JournalUnavailable,
            Kind::Busy,
            Kind::JournalFull,
            Kind::NoRoomToErase,
        ];
        let known = kinds.map(|kind| (kind.name(), kind.status().as_u16()));
        assert_eq!(documented, known);
    }
}
