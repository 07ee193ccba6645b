use std::{fmt, sync::Arc};

use super::EventError;

/// Longest event type, in bytes.
pub const MAX_EVENT_TYPE_BYTES: usize = 128;
/// The first token of the outbox's own types.
const RESERVED_TOKEN: &str = "outbox";

/// An event type: tokens of `A-Z a-z 0-9 _ -` joined by single dots, 1 to 128 bytes, such as
/// `lesson.published.v1`. So it can stand in a NATS subject or an MQTT topic, and in JSON without
/// an escape. The first token is not `outbox`, except for the outbox's own events. A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(Arc<str>);

impl EventType {
    /// Checks a program's event type.
    ///
    /// # Errors
    /// The variants of [`EventError`] whose name begins with `Type`.
    pub fn new(text: &str) -> Result<Self, EventError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// As [`EventType::new`], without a copy of the text.
    pub(super) fn of(text: Arc<str>) -> Result<Self, EventError> {
        check(&text)?;
        Ok(Self(text))
    }

    /// A type of the outbox's own, `outbox.…`; the one way past the refusal of these.
    pub(crate) fn ledger(text: &'static str) -> Self {
        debug_assert!(check_shape(text).is_ok() && is_reserved(text), "{text:?}");
        Self(text.into())
    }

    /// A type that is held already: it has passed the door, or is the outbox's own.
    pub(crate) fn held(text: &str) -> Self {
        Self(text.into())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version that holds when `given` is what the caller said.
    pub(super) fn version(&self, given: Option<u16>) -> Result<u16, EventError> {
        match (given, suffix(self.as_str())?) {
            (Some(0), _) => Err(EventError::VersionZero),
            (Some(version), Some(said)) if version != said => {
                Err(EventError::VersionContradiction {
                    event_type: self.0.to_string(),
                    version,
                })
            }
            (Some(version), _) | (None, Some(version)) => Ok(version),
            (None, None) => Ok(1),
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Checks a program's event type.
fn check(text: &str) -> Result<(), EventError> {
    check_shape(text)?;
    if is_reserved(text) {
        return Err(EventError::TypeReserved {
            event_type: text.into(),
        });
    }
    suffix(text).map(drop)
}

/// Whether the type belongs to the outbox itself.
pub(crate) fn is_reserved(text: &str) -> bool {
    text.split('.').next() == Some(RESERVED_TOKEN)
}

/// Checks length, characters and dots.
pub(crate) fn check_shape(text: &str) -> Result<(), EventError> {
    if !(1..=MAX_EVENT_TYPE_BYTES).contains(&text.len()) {
        return Err(EventError::TypeLength { bytes: text.len() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if let Some((at, found)) = text.char_indices().find(|&(_, c)| !allowed(c)) {
        return Err(EventError::TypeCharacter { found, at });
    }
    if text.split('.').any(str::is_empty) {
        return Err(EventError::TypeToken {
            event_type: text.into(),
        });
    }
    Ok(())
}

/// The version in a `.v<N>` suffix. `.v` and digits always mean a version: `.v01` and `.v0` are
/// refused rather than taken for a name, which would silently make the version 1.
fn suffix(text: &str) -> Result<Option<u16>, EventError> {
    let Some(digits) = text
        .rsplit_once('.')
        .and_then(|(_, last)| last.strip_prefix('v'))
    else {
        return Ok(None);
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match digits.parse() {
        Ok(version) if !digits.starts_with('0') => Ok(Some(version)),
        _ => Err(EventError::TypeVersion {
            event_type: text.into(),
        }),
    }
}
