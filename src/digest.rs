//! SHA-256 digests.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::encoding::base64_text;

/// A SHA-256 digest. As text: base64, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub(crate) [u8; 32]);

base64_text!(Digest, 32, "digest");

impl Digest {
    /// `prev` of the first event of an epoch.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of the parts, one after the other.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// base64url without padding, 43 characters: the `Nats-Msg-Id`.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}
