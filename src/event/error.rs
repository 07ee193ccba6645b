use super::{JsonError, MAX_EVENT_TYPE_BYTES, NameError};

/// Why something is no event. Nothing was taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The type is empty or longer than 128 bytes.
    #[error("event type of {bytes} bytes, and 1 to {MAX_EVENT_TYPE_BYTES} are taken")]
    TypeLength {
        /// Its length.
        bytes: usize,
    },
    /// The type holds something other than `A-Z a-z 0-9 _ - .`: a blank, a control character, a
    /// wildcard of NATS or MQTT, a letter beyond ASCII.
    #[error("event type with {found:?} at byte {at}")]
    TypeCharacter {
        /// The character.
        found: char,
        /// Where it is.
        at: usize,
    },
    /// The type begins or ends with a dot or has two in a row.
    #[error("event type {event_type:?} with an empty token between its dots")]
    TypeToken {
        /// The type.
        event_type: String,
    },
    /// The type is `outbox` or begins with `outbox.`: those are the outbox's own.
    #[error("event type {event_type:?} is reserved for the outbox itself")]
    TypeReserved {
        /// The type.
        event_type: String,
    },
    /// The type ends in `.v` and digits that are no version: zero, above 65,535, or with a
    /// leading zero.
    #[error("event type {event_type:?} ends in a version that is not 1 to 65535")]
    TypeVersion {
        /// The type.
        event_type: String,
    },
    /// The id is nil, which names nothing.
    #[error("the nil id")]
    IdNil,
    /// The original id has the wrong length or a control character.
    #[error("original id: {0}")]
    OriginalId(#[source] NameError),
    /// There is an original id and neither an id nor a source to make one from.
    #[error("an original id without a source")]
    OriginalIdWithoutSource,
    /// The version is zero.
    #[error("event version 0, and versions begin at 1")]
    VersionZero,
    /// The version is not the one that the type's `.v<N>` suffix says.
    #[error("event version {version} contradicts the event type {event_type:?}")]
    VersionContradiction {
        /// The type.
        event_type: String,
        /// The version.
        version: u16,
    },
    /// The subject person's id has the wrong length or a control character.
    #[error("subject id: {0}")]
    SubjectId(#[source] NameError),
    /// The source has the wrong length or a control character.
    #[error("source: {0}")]
    Source(#[source] NameError),
    /// No payload was given.
    #[error("no payload")]
    PayloadMissing,
    /// The value given as payload does not serialise to JSON.
    #[error("payload does not serialise: {0}")]
    PayloadNotSerialised(#[source] serde_json::Error),
    /// The payload is not one JSON value, or goes beyond a limit.
    #[error("payload: {0}")]
    Payload(#[source] JsonError),
}

impl EventError {
    /// The JSON member at fault.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::TypeLength { .. }
            | Self::TypeCharacter { .. }
            | Self::TypeToken { .. }
            | Self::TypeReserved { .. }
            | Self::TypeVersion { .. } => "event_type",
            Self::IdNil => "id",
            Self::OriginalId(_) | Self::OriginalIdWithoutSource => "original_id",
            Self::VersionZero | Self::VersionContradiction { .. } => "event_version",
            Self::SubjectId(_) => "subject_id",
            Self::Source(_) => "source",
            Self::PayloadMissing | Self::PayloadNotSerialised(_) | Self::Payload(_) => "payload",
        }
    }

    /// What would be right.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TypeLength { .. } | Self::TypeCharacter { .. } | Self::TypeToken { .. } => {
                "tokens of A-Z a-z 0-9 _ - joined by dots, such as lesson.published.v1"
            }
            Self::TypeReserved { .. } => "choose a type that does not begin with outbox",
            Self::TypeVersion { .. } => "end the type in .v1 to .v65535, or in something else",
            Self::IdNil => "give the event an id of its own, or leave it out",
            Self::OriginalId(_) => "1 to 255 bytes without control characters",
            Self::OriginalIdWithoutSource => {
                "give the source: an original id names an event only among those of its source"
            }
            Self::VersionZero | Self::VersionContradiction { .. } => {
                "leave the version out, or give the one in the type's .v<N> suffix"
            }
            Self::SubjectId(_) | Self::Source(_) => {
                "1 to 255 bytes without control characters; leave it out if there is none"
            }
            Self::PayloadMissing | Self::PayloadNotSerialised(_) | Self::Payload(_) => {
                "one JSON value (RFC 8259) in UTF-8, nested 128 levels at most"
            }
        }
    }
}
