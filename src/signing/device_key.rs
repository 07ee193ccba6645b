use std::fmt;

use ed25519_dalek::{
    Signer as _, SigningKey,
    pkcs8::{
        DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes, spki::der::pem::LineEnding,
    },
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{KeyError, PublicKey, Rotation, Signature, group_message};
use crate::{digest::Digest, encoding::parse_base64_vec};

/// The device's key. Wiped from memory on drop; shown by its id alone.
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// A new key from the randomness of the operating system.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the operating system has none to give.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut seed[..]).map_err(|error| KeyError::Randomness(error.to_string()))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key in a PKCS#8 PEM document (`-----BEGIN PRIVATE KEY-----`), version 1 or 2.
    ///
    /// # Errors
    /// [`KeyError::Document`] when it is anything else, or when a version 2 document carries the
    /// public half of another key.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem.trim())
            .map(Self)
            .map_err(|_| KeyError::Document)
    }

    /// The key in a base64 PKCS#8 DER document, as `EDUPULSE_SIGNING_KEY_B64` carries it. Blanks
    /// and line breaks are passed over: `base64` of coreutils wraps its output.
    ///
    /// # Errors
    /// [`KeyError::Document`], as for PEM.
    pub fn from_pkcs8_base64(text: &str) -> Result<Self, KeyError> {
        let mut compact = Zeroizing::new(Vec::with_capacity(text.len()));
        compact.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let der = Zeroizing::new(parse_base64_vec(&compact).ok_or(KeyError::Document)?);
        SigningKey::from_pkcs8_der(&der)
            .map(Self)
            .map_err(|_| KeyError::Document)
    }

    /// As a PKCS#8 PEM document of version 1, which every `openssl` reads.
    pub(super) fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let mut document = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        let pem = document
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|_| KeyError::Document);
        document.secret_key.zeroize();
        pem
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the group of `size` events under `root`.
    #[must_use]
    pub fn sign_group(&self, size: u8, root: &Digest) -> Signature {
        Signature(self.0.sign(&group_message(size, root)).to_bytes())
    }

    /// Hands over to another key; `self` is the old one.
    #[must_use]
    pub fn sign_rotation(&self, rotation: &Rotation<'_>) -> Signature {
        Signature(
            self.0
                .sign(&rotation.message(&self.public_key().id()))
                .to_bytes(),
        )
    }

    /// Signs a message of ours, which begins with a prefix of its own.
    pub(crate) fn sign_message(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceKey")
            .field(&self.public_key().id())
            .finish()
    }
}
