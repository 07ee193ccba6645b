//! Who speaks: the device, and the epoch of its chain.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::encoding::serde_text;

/// Longest device name, in bytes.
pub const MAX_DEVICE_BYTES: usize = 64;

/// A device's name: 1 to 64 of `A-Z a-z 0-9 _ -`, so that it is one token of a NATS subject, one
/// level of an MQTT topic and a plain JSON string.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceName(Box<str>);

/// Why a text is no [`DeviceName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a device name: 1 to 64 of A-Z a-z 0-9 _ -")]
pub struct DeviceNameError(String);

impl DeviceName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands for the name of a device that has neither a name nor a key yet.
    #[cfg(feature = "cli")]
    pub(crate) fn unnamed() -> Self {
        Self("unnamed".into())
    }

    /// Whether this would be a device name.
    pub(crate) fn accepts(text: &[u8]) -> bool {
        (1..=MAX_DEVICE_BYTES).contains(&text.len())
            && text
                .iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    }
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, DeviceNameError> {
        if Self::accepts(text.as_bytes()) {
            Ok(Self(text.into()))
        } else {
            Err(DeviceNameError(
                text.chars().take(MAX_DEVICE_BYTES + 1).collect(),
            ))
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

serde_text!(DeviceName);

/// One unbroken chain under one key: 128 random bits, shown as a UUID of version 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub(crate) Uuid);

impl Epoch {
    /// A new epoch, from the randomness of the operating system.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The epoch shown as this UUID.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID it is shown as.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

serde_text!(Epoch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_name_is_one_token() {
        assert!("kiosk_07-A".parse::<DeviceName>().is_ok());
        assert!("a".repeat(64).parse::<DeviceName>().is_ok());
        for text in [
            "",
            "a b",
            "a.b",
            "a/b",
            "*",
            ">",
            "#",
            "+",
            "ä",
            "a\n",
            &"a".repeat(65),
        ] {
            assert!(text.parse::<DeviceName>().is_err(), "{text:?}");
        }
    }
}
