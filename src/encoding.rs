//! Fixed-length binary values as text: standard base64 with padding, one spelling for each value.
//! And the escapes of a URL.

use std::fmt;

use base64::{Engine as _, display::Base64Display, engine::general_purpose::STANDARD};

/// Base64 characters for this many bytes, padding included.
pub(crate) const fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Appends `bytes` in base64. Grows `out` once and allocates nothing else.
pub(crate) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + base64_len(bytes.len()), b'=');
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    debug_assert_eq!(written, out.len() - start);
}

/// `bytes` in base64.
pub(crate) fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Writes `bytes` in base64.
pub(crate) fn fmt_base64(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt::Display::fmt(&Base64Display::new(bytes, &STANDARD), f)
}

/// Exactly `N` bytes from their one base64 spelling: padded, nothing around it, the bits that
/// stand for no byte zero. A second spelling would let one value pass for two.
pub(crate) fn parse_base64<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != base64_len(N) {
        return None;
    }
    // The decoder insists on room for its upper estimate; 64 bytes is the longest value there is.
    let mut room = [0; 66];
    let length = STANDARD.decode_slice(text, &mut room).ok()?;
    room[..length].try_into().ok()
}

/// Any number of bytes from their one base64 spelling.
pub(crate) fn parse_base64_vec(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Why a text is no digest, key id, signature or public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} is {bytes} bytes in standard base64 with padding, {} characters", base64_len(*.bytes))]
pub struct Base64Error {
    /// What the text should have been.
    pub(crate) what: &'static str,
    /// How many bytes it has.
    pub(crate) bytes: usize,
}

/// The text forms of a tuple struct around a byte array: `Display`, `Debug` and serde write its
/// base64, `FromStr` and serde read it.
macro_rules! base64_text {
    ($type:ident, $bytes:literal, $what:literal) => {
        impl $type {
            /// The value with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                crate::encoding::fmt_base64(&self.0, f)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::encoding::Base64Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                crate::encoding::parse_base64(text.as_bytes())
                    .map(Self)
                    .ok_or(crate::encoding::Base64Error {
                        what: $what,
                        bytes: $bytes,
                    })
            }
        }

        crate::encoding::serde_text!($type);
    };
}

/// Serde as the text of `Display` and `FromStr`.
macro_rules! serde_text {
    ($type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use {base64_text, serde_text};

/// Undoes the `%40` of a URL. What is no such escape stays as it is.
#[cfg(any(feature = "nats", feature = "mqtt", feature = "postgres"))]
pub(crate) fn percent_decoded(text: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = match after {
            &[high, low, ref behind @ ..] if first == b'%' => digit(high)
                .zip(digit(low))
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
                .map(|byte| (byte, behind)),
            _ => None,
        };
        let (byte, behind) = escape.unwrap_or((first, after));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(feature = "nats", feature = "mqtt", feature = "postgres"))]
    #[test]
    fn what_is_no_escape_of_a_url_stays_as_it_is() {
        for (text, decoded) in [
            ("s%40cr%25t", "s@cr%t"),
            ("%c3%A9", "é"),
            ("%+5%4%", "%+5%4%"),
            ("%4g%é%%41", "%4g%é%A"),
        ] {
            assert_eq!(percent_decoded(text), decoded);
        }
    }

    #[test]
    fn a_value_has_one_spelling_only() {
        let value = [0xff; 32];
        let mut text = Vec::new();
        push_base64(&mut text, &value);
        assert_eq!(text.len(), 44);
        assert_eq!(parse_base64::<32>(&text), Some(value));
        for other in [
            &b"/////////////////////////////////////////////"[..43],
            b"//////////////////////////////////////////9=",
            b"__________________________________________8=",
            b"//////////////////////////////////////////8 ",
            b" //////////////////////////////////////////8=",
            b"",
        ] {
            assert_eq!(
                parse_base64::<32>(other),
                None,
                "{}",
                String::from_utf8_lossy(other)
            );
        }
        for length in 0..70 {
            let bytes = vec![7; length];
            text.clear();
            push_base64(&mut text, &bytes);
            assert_eq!(parse_base64_vec(&text), Some(bytes));
        }
    }
}
