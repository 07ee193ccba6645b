//! Receipts: the hub's signed word for what is safe in its database, and what it still misses.
//!
//! A device may trim what a receipt covers, and only if the digest in it is that of the device's own
//! event at that place: then every event before that one is the hub's too, or was declared lost.
//! Another digest is no receipt but a sign of a journal that was rolled back or copied.
//! `docs/design.md`, "Tail and receipt", has the format.

use uuid::Uuid;

pub use crate::signed::SignedError;
use crate::{
    envelope::{DeviceName, Digest, Epoch},
    seq::{Seq, SeqRange},
    signed::{Reader, SIGNATURE_BYTES, Writer},
    signing::{DeviceKey, KeyId, PublicKey},
};

/// What a receipt begins with.
pub const RECEIPT_PREFIX: &[u8] = b"edge-outbox/receipt\0";
/// The most missing ranges that one names: the lowest.
pub const MAX_MISSING: usize = 32;
/// The longest receipt, in bytes.
pub const MAX_RECEIPT_BYTES: usize = RECEIPT_PREFIX.len()
    + 1
    + 32
    + 16
    + 8
    + (2 + 64)
    + 16
    + 8
    + 32
    + 8
    + 1
    + MAX_MISSING * 16
    + SIGNATURE_BYTES;

/// What is safe of one epoch of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which database speaks: another one after it was restored from a copy.
    pub hub: Uuid,
    /// Rises with every receipt of one `hub`: of two, the higher one counts.
    pub generation: u64,
    /// To whom.
    pub device: DeviceName,
    /// Of which chain.
    pub epoch: Epoch,
    /// Up to here everything is held, or declared lost by the device; [`Seq::NONE`] for nothing.
    pub accounted_to: Seq,
    /// The digest there; zeros for nothing.
    pub digest: Digest,
    /// Messages in quarantine that say they are of this epoch.
    pub quarantined: u64,
    /// What is missing: ascending, apart from each other, above `accounted_to`, at most
    /// [`MAX_MISSING`].
    pub missing: Vec<SeqRange>,
}

impl Receipt {
    /// The message, signed by the hub's key.
    ///
    /// # Errors
    /// It says what no receipt can say.
    pub fn sign(&self, key: &DeviceKey) -> Result<Vec<u8>, SignedError> {
        self.check()?;
        let mut writer = Writer::new(RECEIPT_PREFIX, &key.public_key().id());
        writer.bytes(self.hub.as_bytes());
        writer.number(self.generation);
        writer.device(&self.device);
        writer.bytes(self.epoch.as_uuid().as_bytes());
        writer.number(self.accounted_to.get());
        writer.bytes(self.digest.as_bytes());
        writer.number(self.quarantined);
        // At most 32, as was checked.
        writer.bytes(&[self.missing.len() as u8]);
        for range in &self.missing {
            writer.number(range.first().get());
            writer.number(range.last().get());
        }
        Ok(writer.sign(key))
    }

    /// The key that a message names, true or not.
    ///
    /// # Errors
    /// It is no receipt.
    pub fn key_id(message: &[u8]) -> Result<KeyId, SignedError> {
        Reader::claimed(message, RECEIPT_PREFIX, MAX_RECEIPT_BYTES).map(|(_, key_id)| key_id)
    }

    /// The receipt in a message that this key, the hub's, signed. Whether it is for this device,
    /// epoch and digest is for the caller to say.
    ///
    /// # Errors
    /// As [`SignedError`] says.
    pub fn verify(message: &[u8], key: &PublicKey) -> Result<Self, SignedError> {
        let mut reader = Reader::verified(message, RECEIPT_PREFIX, MAX_RECEIPT_BYTES, key)?;
        let mut receipt = Self {
            hub: Uuid::from_bytes(reader.bytes("hub")?),
            generation: reader.number("generation")?,
            device: reader.device()?,
            epoch: reader.epoch()?,
            accounted_to: reader.seq("accounted_to")?,
            digest: reader.digest("digest")?,
            quarantined: reader.number("quarantined")?,
            missing: Vec::new(),
        };
        let [count] = reader.bytes("count")?;
        for _ in 0..count {
            let (first, last) = (reader.seq("missing")?, reader.seq("missing")?);
            let range = SeqRange::new(first, last).ok_or(SignedError::Value("missing"))?;
            receipt.missing.push(range);
        }
        reader.end()?;
        receipt.check()?;
        Ok(receipt)
    }

    fn check(&self) -> Result<(), SignedError> {
        if (self.accounted_to == Seq::NONE) != (self.digest == Digest::ZERO) {
            return Err(SignedError::Value("digest"));
        }
        let mut before = self.accounted_to;
        for (place, range) in self.missing.iter().enumerate() {
            // Two that touch are one; the first may begin right behind what is accounted for.
            let least = before.plus(1 + u64::from(place > 0));
            if range.first() < least || place >= MAX_MISSING {
                return Err(SignedError::Value("missing"));
            }
            before = range.last();
        }
        Ok(())
    }
}
