use uuid::Uuid;

use crate::{
    clock::{ClockSync, Stamp, Timestamp},
    digest::Digest,
    event::{MAX_EVENT_TYPE_BYTES, MAX_NAME_BYTES},
    identity::{Epoch, MAX_DEVICE_BYTES},
    seq::Seq,
    signing::KeyId,
};

/// What a statement begins with.
pub const EVENT_PREFIX: &[u8] = b"edge-outbox/event\0";
/// The version of statements made today.
pub const STATEMENT_VERSION: u8 = 1;
/// The longest statement, in bytes.
pub const MAX_STATEMENT_BYTES: usize = EVENT_PREFIX.len()
    + (1 + 1 + 32)
    + (2 + MAX_DEVICE_BYTES)
    + (16 + 8 + 16)
    + (2 + MAX_EVENT_TYPE_BYTES)
    + 2
    + (2 + MAX_NAME_BYTES)
    + (8 + 8 + 1 + 16 + 8)
    + (32 + 32)
    + 2
    + (1 + 2 + MAX_NAME_BYTES);
/// The extension that holds the original id.
const ORIGINAL_ID: u8 = 1;

/// Who made the event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A program.
    Program = 0,
    /// The outbox itself: the loss ledger.
    Ledger = 1,
}

impl Kind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Ledger => "ledger",
        }
    }
}

/// What is digested. Two different statements never have the same bytes: every member has a fixed
/// length or is preceded by its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement<'a> {
    /// Who made the event.
    pub kind: Kind,
    /// The key that signs it.
    pub key_id: KeyId,
    /// The device's name, as [`DeviceName`](crate::envelope::DeviceName) allows it.
    pub device: &'a str,
    /// The chain it belongs to.
    pub epoch: Epoch,
    /// Its number in the journal.
    pub seq: Seq,
    /// Its identity.
    pub id: Uuid,
    /// The id that its producer gave it, where that is no UUID, 1 to 255 bytes.
    pub original_id: Option<&'a str>,
    /// Its type, 1 to 128 bytes.
    pub event_type: &'a str,
    /// The version of the payload's shape, from 1.
    pub event_version: u16,
    /// What produced it, 1 to 255 bytes.
    pub source: &'a str,
    /// When it happened, as the program says.
    pub occurred_at: Timestamp,
    /// What the clocks showed when it was committed.
    pub clock: Stamp,
    /// The digest of the seq before; [`Digest::ZERO`] for the first of an epoch.
    pub prev: Digest,
    /// The digest of the personal part: [`Private::digest`](crate::envelope::Private::digest).
    pub private_digest: Digest,
}

impl Statement<'_> {
    /// Appends the exact bytes that are digested.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let sync = match self.clock.sync {
            ClockSync::No => 0,
            ClockSync::Yes => 1,
            ClockSync::Unknown => 2,
        };
        out.extend_from_slice(EVENT_PREFIX);
        out.extend_from_slice(&[STATEMENT_VERSION, self.kind as u8]);
        out.extend_from_slice(self.key_id.as_bytes());
        push_text(out, self.device);
        out.extend_from_slice(self.epoch.as_uuid().as_bytes());
        out.extend_from_slice(&self.seq.get().to_be_bytes());
        out.extend_from_slice(self.id.as_bytes());
        push_text(out, self.event_type);
        out.extend_from_slice(&self.event_version.to_be_bytes());
        push_text(out, self.source);
        out.extend_from_slice(&self.occurred_at.as_micros().to_be_bytes());
        out.extend_from_slice(&self.clock.wall.as_micros().to_be_bytes());
        out.push(sync);
        out.extend_from_slice(self.clock.boot_id.as_bytes());
        out.extend_from_slice(&self.clock.boottime_us.to_be_bytes());
        out.extend_from_slice(self.prev.as_bytes());
        out.extend_from_slice(self.private_digest.as_bytes());
        match self.original_id {
            None => out.extend_from_slice(&[0, 0]),
            Some(original_id) => {
                let length = 1 + 2 + original_id.len();
                debug_assert!(original_id.len() <= MAX_NAME_BYTES);
                out.extend_from_slice(&(length as u16).to_be_bytes());
                out.push(ORIGINAL_ID);
                push_text(out, original_id);
            }
        }
    }

    /// Encodes into `scratch` (cleared first) and digests: the event's name in the chain.
    pub fn digest(&self, scratch: &mut Vec<u8>) -> Digest {
        scratch.clear();
        self.encode(scratch);
        Digest::of(&[scratch])
    }
}

/// The length of a text as it stands before it. Every text has been checked against a maximum far
/// below 65,535, at the door or by the reader.
pub(super) fn text_len(text: &str) -> [u8; 2] {
    debug_assert!(text.len() <= MAX_NAME_BYTES);
    (text.len() as u16).to_be_bytes()
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&text_len(text));
    out.extend_from_slice(text.as_bytes());
}
