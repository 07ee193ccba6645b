//! Reading an envelope: front to back, every byte accounted for.
//!
//! No general JSON reader is involved except to check the payload, so there are no questions of
//! duplicate members, escapes in names, number formats or white space: what is not the one
//! spelling is refused.

use std::{ops::RangeInclusive, str::FromStr as _};

use uuid::Uuid;

use super::{Fields, Kind, MAX_GROUP_EVENTS, MAX_NUMBER, Path, PrivateFields, tree::path_len};
use crate::{
    clock::{ClockSync, Stamp, Timestamp},
    digest::Digest,
    encoding::{base64_len, parse_base64, parse_base64_vec},
    event::{
        JsonError, MAX_EVENT_TYPE_BYTES, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, check_json, check_name,
        check_type_shape, is_reserved_type,
    },
    identity::{Epoch, MAX_DEVICE_BYTES},
    seq::Seq,
    signing::{KeyId, Signature},
};

/// Largest envelope, in bytes: the largest payload in base64, and 8 KiB for the other members.
pub const MAX_ENVELOPE_BYTES: usize = base64_len(MAX_PAYLOAD_BYTES) + 8 * 1024;
/// Digits of a timestamp such as `2026-03-01T08:00:00.000000Z`.
const TIMESTAMP_BYTES: usize = 27;
const UUID_BYTES: usize = 36;

/// Why some bytes are no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// More bytes than the largest envelope has.
    #[error("an envelope of {bytes} bytes, and the largest has {MAX_ENVELOPE_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A member is missing, in another place, unknown or doubled, or white space stands between
    /// members.
    #[error("expected {expected} at byte {at}")]
    Expected {
        /// What should stand there.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// The value of a member is not one that it can have, or not in its one spelling.
    #[error("{member} at byte {at} is not {expected}")]
    Value {
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
        /// Where its value begins.
        at: usize,
    },
    /// The payload is no payload.
    #[error("payload: {0}")]
    Payload(#[source] JsonError),
}

/// The rest of the input, and where in the whole it begins.
struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn advance(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.at += bytes;
        taken
    }

    /// Passes over a literal, if it stands here.
    fn skip(&mut self, literal: &'static str) -> bool {
        let found = self.rest.starts_with(literal.as_bytes());
        if found {
            self.advance(literal.len());
        }
        found
    }

    /// Passes over a literal.
    fn expect(&mut self, literal: &'static str) -> Result<(), ParseError> {
        let at = self.at;
        if self.skip(literal) {
            Ok(())
        } else {
            Err(ParseError::Expected {
                expected: literal,
                at,
            })
        }
    }

    /// The bytes up to, and without, the next `end`, of which there are at most `max`.
    fn until(&mut self, end: u8, max: usize) -> Option<&'a [u8]> {
        let length = self
            .rest
            .iter()
            .take(max + 1)
            .position(|&byte| byte == end)?;
        Some(self.advance(length))
    }

    /// A value that `read` makes from the reader.
    fn value<T>(
        &mut self,
        member: &'static str,
        expected: &'static str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, ParseError> {
        let at = self.at;
        read(self).ok_or(ParseError::Value {
            member,
            expected,
            at,
        })
    }

    fn text<T>(
        &mut self,
        member: &'static str,
        expected: &'static str,
        max: usize,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, ParseError> {
        self.value(member, expected, |reader| {
            read(std::str::from_utf8(reader.until(b'"', max)?).ok()?)
        })
    }

    fn uuid(&mut self, member: &'static str) -> Result<Uuid, ParseError> {
        self.text(member, "a hyphenated lower-case UUID", UUID_BYTES, |text| {
            let uuid = Uuid::try_parse(text).ok()?;
            let mut room = Uuid::encode_buffer();
            (uuid.as_hyphenated().encode_lower(&mut room) == text).then_some(uuid)
        })
    }

    fn base64<const N: usize>(&mut self, member: &'static str) -> Result<[u8; N], ParseError> {
        self.value(
            member,
            "base64 of the right length in its one spelling",
            |reader| parse_base64(reader.until(b'"', base64_len(N))?),
        )
    }

    /// A timestamp that reads as it would be written: no other offset or number of digits, no
    /// leap second.
    fn timestamp(&mut self, member: &'static str) -> Result<Timestamp, ParseError> {
        let expected = "a UTC time with six digits of microseconds";
        self.text(member, expected, TIMESTAMP_BYTES, |text| {
            let at = Timestamp::from_str(text).ok()?;
            (at.to_string() == text).then_some(at)
        })
    }

    /// Digits without a leading zero, sign, fraction or exponent.
    fn number<T: TryFrom<u64>>(
        &mut self,
        member: &'static str,
        expected: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<T, ParseError> {
        self.value(member, expected, |reader| {
            let digits = reader
                .rest
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let text = std::str::from_utf8(reader.advance(digits)).ok()?;
            let number = text.parse().ok().filter(|number| range.contains(number))?;
            let plain = text.len() == 1 || !text.starts_with('0');
            T::try_from(number).ok().filter(|_| plain)
        })
    }

    /// A free text in which `"` and `\` are escaped, each by a backslash, and nothing else is.
    fn name(&mut self, member: &'static str, may_be_empty: bool) -> Result<Box<str>, ParseError> {
        let expected =
            "a text of at most 255 bytes without control characters and needless escapes";
        self.value(member, expected, |reader| {
            let mut text = Vec::new();
            loop {
                match reader.rest {
                    [b'"', ..] => break,
                    [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                        text.push(*escaped);
                        reader.advance(2);
                    }
                    [b'\\', ..] | [] => return None,
                    [byte, ..] => {
                        text.push(*byte);
                        reader.advance(1);
                    }
                }
                if text.len() > MAX_NAME_BYTES {
                    return None;
                }
            }
            let text = String::from_utf8(text).ok()?;
            (check_name(&text).is_ok() || (may_be_empty && text.is_empty())).then(|| text.into())
        })
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Fields, ParseError> {
    if bytes.len() > MAX_ENVELOPE_BYTES {
        return Err(ParseError::TooLarge { bytes: bytes.len() });
    }
    let mut reader = Reader { rest: bytes, at: 0 };
    reader.expect("{\"id\":\"")?;
    let id = reader.uuid("id")?;
    let original_id = if reader.skip("\",\"original_id\":\"") {
        Some(reader.name("original_id", false)?)
    } else {
        None
    };
    reader.expect("\",\"device\":\"")?;
    let device = reader.text("device", "a device name", MAX_DEVICE_BYTES, |t| {
        t.parse().ok()
    })?;
    reader.expect("\",\"epoch\":\"")?;
    let epoch = Epoch::from_uuid(reader.uuid("epoch")?);
    reader.expect("\",\"seq\":")?;
    let seq = Seq::new(reader.number("seq", "a number from 1 to 2^53 - 1", 1..=MAX_NUMBER)?);
    reader.expect(",\"event_type\":\"")?;
    let event_type: &str = reader.text(
        "event_type",
        "an event type",
        MAX_EVENT_TYPE_BYTES,
        |text| check_type_shape(text).is_ok().then_some(text),
    )?;
    reader.expect("\",\"event_version\":")?;
    let event_version = reader.number("event_version", "a number from 1 to 65535", 1..=65535)?;
    reader.expect(",\"source\":\"")?;
    let source = reader.name("source", false)?;
    reader.expect("\",\"occurred_at\":\"")?;
    let occurred_at = reader.timestamp("occurred_at")?;
    reader.expect("\",\"clock\":{\"wall\":\"")?;
    let clock = clock(&mut reader)?;
    reader.expect("},\"kind\":\"")?;
    // A ledger event and its reserved type belong together, and either without the other is forged.
    let kind = if is_reserved_type(event_type) {
        Kind::Ledger
    } else {
        Kind::Program
    };
    reader.expect(kind.as_str())?;
    reader.expect("\",\"prev\":\"")?;
    let prev = Digest(reader.base64("prev")?);
    reader.expect("\",\"private_digest\":\"")?;
    let private_digest = Digest(reader.base64("private_digest")?);
    reader.expect("\",\"key_id\":\"")?;
    let key_id = KeyId(reader.base64("key_id")?);
    reader.expect("\",\"signature\":\"")?;
    let signature = Signature(reader.base64("signature")?);
    reader.expect("\",\"leaf\":")?;
    let leaf = reader.number(
        "leaf",
        "a place in a group",
        0..=MAX_GROUP_EVENTS as u64 - 1,
    )?;
    reader.expect(",\"size\":")?;
    let sizes = u64::from(leaf) + 1..=MAX_GROUP_EVENTS as u64;
    let size = reader.number("size", "a number above leaf and up to 64", sizes)?;
    reader.expect(",\"path\":[")?;
    let path = path(&mut reader, path_len(leaf, size))?;
    reader.expect("],\"redelivered\":")?;
    let redelivered = reader.skip("true");
    if !redelivered {
        reader.expect("false")?;
    }
    let private = if reader.rest == b"}" {
        None
    } else {
        Some(private(&mut reader)?)
    };
    Ok(Fields {
        kind,
        key_id,
        device,
        epoch,
        seq,
        id,
        original_id,
        event_type: event_type.into(),
        event_version,
        source,
        occurred_at,
        clock,
        prev,
        private_digest,
        private,
        signature,
        leaf,
        size,
        path,
        redelivered,
    })
}

fn clock(reader: &mut Reader<'_>) -> Result<Stamp, ParseError> {
    let wall = reader.timestamp("wall")?;
    reader.expect("\",\"sync\":\"")?;
    let sync = reader.text(
        "sync",
        "no, yes or unknown",
        "unknown".len(),
        |text| match text {
            "no" => Some(ClockSync::No),
            "yes" => Some(ClockSync::Yes),
            "unknown" => Some(ClockSync::Unknown),
            _ => None,
        },
    )?;
    reader.expect("\",\"boot_id\":\"")?;
    let boot_id = reader.uuid("boot_id")?;
    reader.expect("\",\"boottime_us\":")?;
    let boottime_us =
        reader.number("boottime_us", "a number from 0 to 2^53 - 1", 0..=MAX_NUMBER)?;
    Ok(Stamp {
        wall,
        sync,
        boot_id,
        boottime_us,
    })
}

/// Exactly as many digests as the place in the group asks for.
fn path(reader: &mut Reader<'_>, len: usize) -> Result<Path, ParseError> {
    let mut path = Path::default();
    for place in 0..len {
        reader.expect(if place == 0 { "\"" } else { ",\"" })?;
        path.push(Digest(reader.base64("path")?));
        reader.expect("\"")?;
    }
    Ok(path)
}

fn private(reader: &mut Reader<'_>) -> Result<PrivateFields, ParseError> {
    reader.expect(",\"aggregate_id\":\"")?;
    let aggregate_id = reader.uuid("aggregate_id")?;
    reader.expect("\",\"subject_id\":\"")?;
    let subject_id = reader.name("subject_id", true)?;
    reader.expect("\",\"salt\":\"")?;
    let salt = reader.base64("salt")?;
    let payload: Box<[u8]> = if reader.skip("\",\"payload_b64\":\"") {
        let text = reader.rest.strip_suffix(b"\"}");
        let payload = reader.value("payload_b64", "base64 and the end of the envelope", |_| {
            parse_base64_vec(text?)
        })?;
        payload.into()
    } else {
        reader.expect("\",\"payload\":")?;
        // Everything up to the last byte. That this is one JSON value makes it the same payload for
        // a reader that takes the whole envelope as JSON.
        reader
            .value("payload", "followed by the end of the envelope", |r| {
                r.rest.strip_suffix(b"}")
            })?
            .into()
    };
    check_json(&payload).map_err(ParseError::Payload)?;
    Ok(PrivateFields {
        salt,
        aggregate_id,
        subject_id,
        payload,
    })
}
