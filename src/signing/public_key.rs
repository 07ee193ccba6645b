use std::{fmt, str::FromStr};

use ed25519_dalek::{
    VerifyingKey,
    pkcs8::{DecodePublicKey as _, EncodePublicKey as _, spki::der::pem::LineEnding},
};

use super::{ALG_ED25519, KEY_PREFIX, KeyId, Rotation, Signature, group_message};
use crate::{
    digest::Digest,
    encoding::{fmt_base64, parse_base64, serde_text},
};

/// An Ed25519 public key. As text: base64 of its 32 bytes, or PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(pub(super) VerifyingKey);

/// Why a text or some bytes are no [`PublicKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Neither 32 bytes in base64 nor a PEM document.
    #[error(
        "not a public key: neither 32 bytes in standard base64 nor a PEM document of an Ed25519 key"
    )]
    Text,
    /// The bytes are no point of the curve.
    #[error("not a public key: the bytes are no Ed25519 point")]
    Point,
    /// The point is one of the few under which a signature proves nothing.
    #[error("not a public key: the point has a small order, so that its signatures prove nothing")]
    Weak,
}

impl PublicKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`PublicKeyError::Point`] and [`PublicKeyError::Weak`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        Self::checked(VerifyingKey::from_bytes(bytes).map_err(|_| PublicKeyError::Point)?)
    }

    /// The key in this PEM document (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// As [`PublicKeyError`] says.
    pub fn from_pem(pem: &str) -> Result<Self, PublicKeyError> {
        Self::checked(VerifyingKey::from_public_key_pem(pem).map_err(|_| PublicKeyError::Text)?)
    }

    fn checked(key: VerifyingKey) -> Result<Self, PublicKeyError> {
        if key.is_weak() {
            Err(PublicKeyError::Weak)
        } else {
            Ok(Self(key))
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// As a PEM document, as `openssl pkey -pubout` writes it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        // Encoding 32 bytes into memory has nothing that could fail.
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(&[KEY_PREFIX, &[ALG_ED25519], self.as_bytes()]).0)
    }

    /// Whether this key signed the group of `size` events under `root`.
    #[must_use]
    pub fn verify_group(&self, size: u8, root: &Digest, signature: &Signature) -> bool {
        self.verify(&group_message(size, root), signature)
    }

    /// Whether this key handed over to the other one.
    #[must_use]
    pub fn verify_rotation(&self, rotation: &Rotation<'_>, signature: &Signature) -> bool {
        self.verify(&rotation.message(&self.id()), signature)
    }

    /// Whether this key signed a message of ours, which begins with a prefix of its own.
    pub(crate) fn verify_message(&self, message: &[u8], signature: &Signature) -> bool {
        self.verify(message, signature)
    }

    /// Strictly: the lenient check accepts points that make one signature fit many messages.
    fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_base64(self.as_bytes(), f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    /// Base64 of the 32 bytes, or a PEM document; blanks around either are passed over.
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let text = text.trim();
        if text.starts_with("-----BEGIN") {
            return Self::from_pem(text);
        }
        Self::from_bytes(&parse_base64(text.as_bytes()).ok_or(PublicKeyError::Text)?)
    }
}

serde_text!(PublicKey);
