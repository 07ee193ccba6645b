//! What tails and receipts have in common: one binary message, the signed bytes and then the
//! signature, in which every value has one place and one spelling.

use uuid::Uuid;

use crate::{
    digest::Digest,
    envelope::{DeviceName, Epoch, MAX_NUMBER},
    seq::Seq,
    signing::{DeviceKey, KeyId, PublicKey, Signature},
};

/// The version of the messages made today.
pub(crate) const VERSION: u8 = 1;
/// A signature, in bytes.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// Why some bytes are no tail or receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// More bytes than the largest has.
    #[error("{bytes} bytes, and the largest has {most}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest there is.
        most: usize,
    },
    /// A value is cut off, or is none that can stand there.
    #[error("its {0} is not one")]
    Value(&'static str),
    /// Something follows the signature.
    #[error("bytes follow its signature")]
    Longer,
    /// It is signed by another key.
    #[error("it names key {0}, which is not the one expected")]
    Key(KeyId),
    /// The signature does not fit.
    #[error("its signature does not fit: it was altered, or is not that key's")]
    Signature,
}

/// Writes a message.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(prefix: &[u8], key_id: &KeyId) -> Self {
        let mut writer = Self(prefix.to_vec());
        writer.bytes(&[VERSION]);
        writer.bytes(key_id.as_bytes());
        writer
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(crate) fn device(&mut self, device: &DeviceName) {
        let name = device.as_str().as_bytes();
        // At most 64 bytes.
        self.bytes(&[0, name.len() as u8]);
        self.bytes(name);
    }

    /// Adds the signature.
    pub(crate) fn sign(mut self, key: &DeviceKey) -> Vec<u8> {
        let signature = key.sign_message(&self.0);
        self.bytes(signature.as_bytes());
        self.0
    }
}

/// Reads a message from front to back.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the signature, which is all that is believed before anything is read.
    pub(crate) fn verified(
        message: &'a [u8],
        prefix: &'static [u8],
        most: usize,
        key: &PublicKey,
    ) -> Result<Self, SignedError> {
        let (mut reader, found) = Self::claimed(message, prefix, most)?;
        if found != key.id() {
            return Err(SignedError::Key(found));
        }
        let signed = message.len().saturating_sub(SIGNATURE_BYTES);
        let (signed, signature) = message
            .split_at_checked(signed)
            .ok_or(SignedError::Value("signature"))?;
        let signature = signature
            .try_into()
            .map_err(|_| SignedError::Value("signature"))?;
        if !key.verify_message(signed, &Signature(signature)) {
            return Err(SignedError::Signature);
        }
        let rest = reader.rest.len().checked_sub(SIGNATURE_BYTES);
        let rest = rest.and_then(|length| reader.rest.get(..length));
        reader.rest = rest.ok_or(SignedError::Value("signature"))?;
        Ok(reader)
    }

    /// The key that a message names, true or not, and what follows it.
    pub(crate) fn claimed(
        message: &'a [u8],
        prefix: &'static [u8],
        most: usize,
    ) -> Result<(Self, KeyId), SignedError> {
        if message.len() > most {
            let bytes = message.len();
            return Err(SignedError::TooLarge { bytes, most });
        }
        let rest = message
            .strip_prefix(prefix)
            .ok_or(SignedError::Value("prefix"))?;
        let mut reader = Self { rest };
        if reader.bytes("version")? != [VERSION] {
            return Err(SignedError::Value("version"));
        }
        let key_id = KeyId(reader.bytes("key id")?);
        Ok((reader, key_id))
    }

    pub(crate) fn bytes<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], SignedError> {
        let (value, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(SignedError::Value(what))?;
        self.rest = rest;
        Ok(*value)
    }

    /// A number up to 2^53 - 1.
    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, SignedError> {
        let number = u64::from_be_bytes(self.bytes(what)?);
        if number > MAX_NUMBER {
            return Err(SignedError::Value(what));
        }
        Ok(number)
    }

    pub(crate) fn seq(&mut self, what: &'static str) -> Result<Seq, SignedError> {
        self.number(what).map(Seq::new)
    }

    pub(crate) fn digest(&mut self, what: &'static str) -> Result<Digest, SignedError> {
        self.bytes(what).map(Digest)
    }

    pub(crate) fn epoch(&mut self) -> Result<Epoch, SignedError> {
        let bytes = self.bytes("epoch")?;
        Ok(Epoch::from_uuid(Uuid::from_bytes(bytes)))
    }

    pub(crate) fn device(&mut self) -> Result<DeviceName, SignedError> {
        let wrong = SignedError::Value("device");
        let length = u16::from_be_bytes(self.bytes("device")?);
        let (name, rest) = self
            .rest
            .split_at_checked(length.into())
            .ok_or(wrong.clone())?;
        self.rest = rest;
        let name = std::str::from_utf8(name).map_err(|_| wrong.clone())?;
        name.parse().map_err(|_| wrong)
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), SignedError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(SignedError::Longer)
        }
    }
}
