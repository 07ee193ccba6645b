//! Tails: a device's signed word of how far its journal goes, sent beside its events.
//!
//! Whoever withholds the last events of a device is found out by the next event; by a tail as soon
//! as that arrives. `docs/design.md`, "Tail and receipt", has the format.

use uuid::Uuid;

pub use crate::signed::SignedError;
use crate::{
    envelope::{DeviceName, Digest, Epoch},
    seq::Seq,
    signed::{Reader, SIGNATURE_BYTES, Writer},
    signing::{DeviceKey, KeyId, PublicKey},
};

/// What a tail begins with.
pub const TAIL_PREFIX: &[u8] = b"edge-outbox/tail\0";
/// The longest tail, in bytes.
pub const MAX_TAIL_BYTES: usize =
    TAIL_PREFIX.len() + 1 + 32 + (2 + 64) + 16 + 8 + 32 + 16 + 8 + 16 + SIGNATURE_BYTES;

/// How far a device's journal goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Whose journal.
    pub device: DeviceName,
    /// The chain that is appended to.
    pub epoch: Epoch,
    /// The last event, from 1 on.
    pub seq: Seq,
    /// Its digest.
    pub digest: Digest,
    /// Which boot.
    pub boot_id: Uuid,
    /// Microseconds since then, up to 2^53 - 1.
    pub boottime_us: u64,
    /// Random, so that no two tails are alike.
    pub nonce: [u8; 16],
}

impl Tail {
    /// The message: signed by the device's key, which is the epoch's.
    #[must_use]
    pub fn sign(&self, key: &DeviceKey) -> Vec<u8> {
        let mut writer = Writer::new(TAIL_PREFIX, &key.public_key().id());
        writer.device(&self.device);
        writer.bytes(self.epoch.as_uuid().as_bytes());
        writer.number(self.seq.get());
        writer.bytes(self.digest.as_bytes());
        writer.bytes(self.boot_id.as_bytes());
        writer.number(self.boottime_us);
        writer.bytes(&self.nonce);
        writer.sign(key)
    }

    /// The key that a message names, true or not: for choosing what to verify it with.
    ///
    /// # Errors
    /// It is no tail.
    pub fn key_id(message: &[u8]) -> Result<KeyId, SignedError> {
        Reader::claimed(message, TAIL_PREFIX, MAX_TAIL_BYTES).map(|(_, key_id)| key_id)
    }

    /// The tail in a message that this key signed. Whether the key is this device's and epoch's is
    /// for the caller to say.
    ///
    /// # Errors
    /// As [`SignedError`] says.
    pub fn verify(message: &[u8], key: &PublicKey) -> Result<Self, SignedError> {
        let mut reader = Reader::verified(message, TAIL_PREFIX, MAX_TAIL_BYTES, key)?;
        let tail = Self {
            device: reader.device()?,
            epoch: reader.epoch()?,
            seq: reader.seq("seq")?,
            digest: reader.digest("digest")?,
            boot_id: Uuid::from_bytes(reader.bytes("boot id")?),
            boottime_us: reader.number("boot time")?,
            nonce: reader.bytes("nonce")?,
        };
        reader.end()?;
        if tail.seq == Seq::NONE {
            return Err(SignedError::Value("seq"));
        }
        Ok(tail)
    }
}
