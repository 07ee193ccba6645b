//! Whose event a stored message is.

use std::borrow::Cow;

use async_nats::jetstream;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    envelope::{DeviceName, Digest, Envelope, Epoch, Unverified},
    percent,
    seq::Seq,
    sink::{Position, nats::letter::ATTRIBUTE_PREFIX},
};

/// The question for the first message at or after a position whose subject passes a filter. It
/// goes to the stream's leader: another replica may not have yet what was confirmed.
#[derive(Serialize)]
pub(super) struct NextMessage<'a> {
    #[serde(rename = "seq")]
    pub(super) from: u64,
    #[serde(rename = "next_by_subj")]
    pub(super) filter: &'a str,
}

/// The question for the last message whose subject passes a filter.
#[derive(Serialize)]
pub(super) struct LastMessage<'a> {
    #[serde(rename = "last_by_subj")]
    pub(super) filter: &'a str,
}

/// Where such questions go.
pub(super) fn question_subject(stream: &str) -> String {
    format!("$JS.API.STREAM.MSG.GET.{stream}")
}

/// The answer to either question.
#[derive(Deserialize)]
pub(super) struct MessageAnswer<'a> {
    #[serde(borrow)]
    pub(super) message: Option<StoredMessage<'a>>,
    pub(super) error: Option<jetstream::Error>,
}

impl MessageAnswer<'_> {
    /// Whether the server says that there is no such message.
    pub(super) fn is_end(&self) -> bool {
        self.error
            .as_ref()
            .is_some_and(|error| error.error_code() == jetstream::ErrorCode::NO_MESSAGE_FOUND)
    }
}

/// A message as the stream holds it.
#[derive(Deserialize)]
pub(super) struct StoredMessage<'a> {
    #[serde(rename = "seq")]
    position: u64,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(rename = "hdrs", borrow, default)]
    headers: Cow<'a, str>,
}

/// An event as the stream holds it.
pub(super) struct StoredEvent {
    pub(super) device: DeviceName,
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    pub(super) digest: Digest,
}

impl StoredMessage<'_> {
    pub(super) const fn position(&self) -> Position {
        Position(self.position)
    }

    /// The event in it, `None` where it is no envelope in any of the formats: it may have been sent
    /// before the format was changed. The digest is made from what the message holds: anybody who
    /// may publish can write any `Nats-Msg-Id`.
    pub(super) fn event(&self) -> Option<StoredEvent> {
        let envelope = self.envelope()?;
        let claims = envelope.claims();
        if !envelope.private_matches() {
            return None;
        }
        Some(StoredEvent {
            device: claims.device.parse().ok()?,
            epoch: claims.epoch,
            seq: claims.seq,
            digest: claims.digest(&mut Vec::new()),
        })
    }

    fn envelope(&self) -> Option<Envelope<Unverified>> {
        let body = STANDARD.decode(self.data.as_bytes()).ok()?;
        let headers = STANDARD.decode(self.headers.as_bytes()).ok()?;
        let attributes = attributes(&headers)?;
        if attributes.is_empty() {
            return Envelope::from_message(&body).ok();
        }
        let attributes = attributes
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_ref()));
        Envelope::from_binary_cloud_event(attributes, &body).ok()
    }
}

/// The attributes of a CloudEvent among a message's headers, as the server stores them:
/// `NATS/1.0`, then one `name: value` a line. `None` where one of them cannot be decoded.
fn attributes(headers: &[u8]) -> Option<Vec<(String, Cow<'_, str>)>> {
    let headers = std::str::from_utf8(headers).ok()?;
    let mut attributes = Vec::new();
    for line in headers.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        if let Some(name) = name.strip_prefix(ATTRIBUTE_PREFIX) {
            attributes.push((name.to_owned(), percent::decoded(value.trim())?));
        }
    }
    Some(attributes)
}
