//! Envelopes: events with their place, their clock, and what proves them.
//!
//! `docs/envelope.md` is the specification; what follows is its outline.
//!
//! - The [`Statement`] is what is digested. Personal data ([`Private`]) is in it only as a salted
//!   digest, so that it can be erased and the rest still verifies.
//! - Up to [`MAX_GROUP_EVENTS`] events committed together are a group: one signature over the root
//!   of a [`Tree`] of their digests. Each envelope carries its path to the root and so verifies
//!   alone.
//! - A [`Record`] is all of that on the sending side, and renders the envelope. On the receiving
//!   side [`Envelope::parse`] gives an `Envelope<Unverified>`, which only a [`Verifier`] turns into
//!   an `Envelope<Verified>`, and a [`Chain`] shows that a run of those has no gap and no fork.
//! - There is exactly one spelling of an envelope, and `parse` takes no other. That leaves nothing
//!   for two JSON readers to read differently.
//! - A `Record` renders as a CloudEvent, too, and [`Envelope::from_cloud_event`] reads one back
//!   (`docs/cloudevents.md`).

mod chain;
mod cloud_event;
mod common;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod parse;
mod private;
mod record;
mod statement;
mod tree;
mod verifier;

use uuid::Uuid;

pub use chain::{Chain, ChainError, EPOCH_STARTED, EpochEnd};
pub use cloud_event::{CLOUD_EVENT_CONTENT_TYPE, CloudEventError};
pub(crate) use common::Common;
pub use parse::{MAX_ENVELOPE_BYTES, ParseError};
pub use private::{PRIVATE_PREFIX, Private};
pub use record::Record;
pub use statement::{EVENT_PREFIX, Kind, MAX_STATEMENT_BYTES, STATEMENT_VERSION, Statement};
pub use tree::{MAX_GROUP_EVENTS, Path, Tree};
pub use verifier::{Verifier, VerifyError};

use crate::{
    clock::{Stamp, Timestamp},
    seq::Seq,
    signing::{KeyId, Signature},
};
pub use crate::{
    digest::Digest,
    encoding::Base64Error,
    identity::{DeviceName, DeviceNameError, Epoch, MAX_DEVICE_BYTES},
};

/// The largest number in an envelope (`seq`, `boottime_us`): 2^53 − 1, which readers that keep
/// JSON numbers as floating point still hold exactly.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Why a message is neither an envelope nor a CloudEvent that stands for one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is no CloudEvent, and as an envelope it is wrong.
    #[error(transparent)]
    Envelope(ParseError),
    /// It is a CloudEvent, and as that it is wrong.
    #[error(transparent)]
    CloudEvent(CloudEventError),
}

/// An envelope as it was received. Nothing about it is proven.
#[derive(Clone, Debug)]
pub struct Unverified(());

/// Digest, path and signature of the envelope were checked under a trusted key.
#[derive(Clone, Debug)]
pub struct Verified {
    digest: Digest,
}

/// An envelope off the wire. `State` says whether it has been verified.
#[derive(Clone)]
pub struct Envelope<State> {
    fields: Fields,
    state: State,
}

/// What an envelope carries, owned.
#[derive(Clone)]
struct Fields {
    kind: Kind,
    key_id: KeyId,
    device: DeviceName,
    epoch: Epoch,
    seq: Seq,
    id: Uuid,
    original_id: Option<Box<str>>,
    event_type: Box<str>,
    event_version: u16,
    source: Box<str>,
    occurred_at: Timestamp,
    clock: Stamp,
    prev: Digest,
    private_digest: Digest,
    private: Option<PrivateFields>,
    signature: Signature,
    leaf: u8,
    size: u8,
    path: Path,
    redelivered: bool,
}

#[derive(Clone)]
struct PrivateFields {
    salt: [u8; 16],
    aggregate_id: Uuid,
    subject_id: Box<str>,
    payload: Box<[u8]>,
}

impl Fields {
    fn statement(&self) -> Statement<'_> {
        Statement {
            kind: self.kind,
            key_id: self.key_id,
            device: self.device.as_str(),
            epoch: self.epoch,
            seq: self.seq,
            id: self.id,
            original_id: self.original_id.as_deref(),
            event_type: &self.event_type,
            event_version: self.event_version,
            source: &self.source,
            occurred_at: self.occurred_at,
            clock: self.clock,
            prev: self.prev,
            private_digest: self.private_digest,
        }
    }

    fn private(&self) -> Option<Private<'_>> {
        self.private.as_ref().map(|private| Private {
            salt: private.salt,
            aggregate_id: private.aggregate_id,
            subject_id: &private.subject_id,
            payload: &private.payload,
        })
    }
}

impl Envelope<Unverified> {
    /// Reads an envelope in the one spelling there is, without anything around it (no line end).
    ///
    /// # Errors
    /// As [`ParseError`] says.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        parse::parse(bytes).map(|fields| Self {
            fields,
            state: Unverified(()),
        })
    }

    /// Reads an envelope that is a CloudEvent 1.0 in structured mode, in any spelling of JSON.
    ///
    /// # Errors
    /// As [`CloudEventError`] says.
    pub fn from_cloud_event(json: &[u8]) -> Result<Self, CloudEventError> {
        cloud_event::parse_structured(json).map(|fields| Self {
            fields,
            state: Unverified(()),
        })
    }

    /// Reads an envelope that is a CloudEvent 1.0 in binary mode: its attributes by name, decoded
    /// as the protocol's binding says, and its data.
    ///
    /// # Errors
    /// As [`CloudEventError`] says.
    pub fn from_binary_cloud_event<'a>(
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
        data: &[u8],
    ) -> Result<Self, CloudEventError> {
        cloud_event::parse_binary(attributes, data).map(|fields| Self {
            fields,
            state: Unverified(()),
        })
    }

    /// Reads a message of either form that is whole in itself: an envelope, or a CloudEvent in
    /// structured mode.
    ///
    /// # Errors
    /// That of whichever it seems to be.
    pub fn from_message(bytes: &[u8]) -> Result<Self, MessageError> {
        let error = match Self::parse(bytes) {
            Ok(envelope) => return Ok(envelope),
            Err(error) => error,
        };
        match Self::from_cloud_event(bytes) {
            Err(CloudEventError::NotOne) => Err(MessageError::Envelope(error)),
            other => other.map_err(MessageError::CloudEvent),
        }
    }

    /// What the envelope says of itself, true or not: good for an error message and to choose
    /// where to look for the key.
    #[must_use]
    pub fn claims(&self) -> Statement<'_> {
        self.fields.statement()
    }

    /// The personal part as it was received, true or not.
    #[cfg(feature = "hub")]
    pub(crate) fn claimed_private(&self) -> Option<Private<'_>> {
        self.fields.private()
    }

    /// Whether the personal part, if it is there, is the one in the statement.
    #[must_use]
    pub fn private_matches(&self) -> bool {
        self.fields
            .private()
            .is_none_or(|private| private.digest() == self.fields.private_digest)
    }
}

#[cfg(feature = "hub")]
impl Envelope<Unverified> {
    /// The message without its personal part.
    pub(crate) fn stripped(&self) -> Vec<u8> {
        let statement = self.fields.statement();
        let record = Record {
            digest: statement.digest(&mut Vec::new()),
            statement,
            private: None,
            signature: self.fields.signature,
            leaf: self.fields.leaf,
            size: self.fields.size,
            path: self.fields.path,
        };
        let mut wire = Vec::new();
        record.render(self.fields.redelivered, false, &mut wire);
        wire
    }
}

impl Envelope<Verified> {
    /// What was digested and signed.
    #[must_use]
    pub fn statement(&self) -> Statement<'_> {
        self.fields.statement()
    }

    /// The digest of the statement: the event's name in the chain.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.state.digest
    }

    /// The personal part; `None` in an erased envelope.
    #[must_use]
    pub fn private(&self) -> Option<Private<'_>> {
        self.fields.private()
    }

    /// Whether the personal part is missing. Anybody on the way can strip it and the rest still
    /// verifies: it is erased only once a verified ledger event names its seq and digest; until
    /// then it is as good as missing.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        self.fields.private.is_none()
    }

    /// Whether this copy was sent as a repeat. Not signed: a hint, no evidence.
    #[must_use]
    pub const fn redelivered(&self) -> bool {
        self.fields.redelivered
    }

    /// Everything, as it is rendered and stored.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record {
            statement: self.statement(),
            digest: self.digest(),
            private: self.private(),
            signature: self.fields.signature,
            leaf: self.fields.leaf,
            size: self.fields.size,
            path: self.fields.path,
        }
    }
}

impl<State> std::fmt::Debug for Envelope<State> {
    /// Leaves out what may be personal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("device", &self.fields.device)
            .field("epoch", &self.fields.epoch)
            .field("seq", &self.fields.seq)
            .field("event_type", &self.fields.event_type)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
