//! Who was erased, without a word of who it was.

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::digest::Digest;

/// A block of SHA-256, in bytes.
const BLOCK_BYTES: usize = 64;
/// What precedes the key when it is digested, so that two hubs can tell whether they have the same.
const KEY_PREFIX: &[u8] = b"edge-outbox/erasure-key\0";

/// The key under which ids of erased persons are hashed. All hubs of one database have the same.
/// Wiped from memory on drop, and never shown.
#[derive(Clone)]
pub struct ErasureKey(Zeroizing<[u8; 32]>);

impl ErasureKey {
    /// The key with these bytes, which should be random.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What the schema keeps of it.
    pub(super) fn check(&self) -> Digest {
        Digest::of(&[KEY_PREFIX, &self.0[..]])
    }

    /// HMAC-SHA-256 (RFC 2104) of an id. A UUID has one hash, however it is spelled.
    pub(super) fn hash(&self, id: &str) -> Digest {
        let mut room = Uuid::encode_buffer();
        let id = match Uuid::try_parse(id) {
            Ok(uuid) => uuid.as_hyphenated().encode_lower(&mut room),
            Err(_) => id,
        };
        let padded = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK_BYTES]);
            for (byte, key) in block.iter_mut().zip(self.0.iter()) {
                *byte ^= key;
            }
            block
        };
        let inner = Digest::of(&[&padded(0x36)[..], id.as_bytes()]);
        Digest::of(&[&padded(0x5c)[..], inner.as_bytes()])
    }

    /// The hashes of the ids in an event: its subject, where there is one, and its aggregate.
    pub(super) fn persons(&self, aggregate_id: &Uuid, subject_id: &str) -> Vec<Digest> {
        let mut room = Uuid::encode_buffer();
        let aggregate = &*aggregate_id.as_hyphenated().encode_lower(&mut room);
        let subject = (!subject_id.is_empty() && subject_id != aggregate).then_some(subject_id);
        [Some(aggregate), subject]
            .into_iter()
            .flatten()
            .map(|id| self.hash(id))
            .collect()
    }
}

impl std::fmt::Debug for ErasureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ErasureKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 has no test with a key of 32 bytes: this is what Python's `hmac` gives.
    #[test]
    fn a_hash_is_the_hmac_of_the_id() {
        let key = ErasureKey::new(std::array::from_fn(|n| n as u8));
        let hex: String = key
            .hash("pupil-3")
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "43d4e2af7c8719e1bd3985f0bfb844a9560536997f174c0ad0333e5df966f292"
        );
        assert_eq!(format!("{key:?}"), "ErasureKey(***)");
    }

    #[test]
    fn an_event_is_found_by_its_subject_and_by_its_aggregate() {
        let key = ErasureKey::new([9; 32]);
        let aggregate = Uuid::from_u128(5);
        let text = aggregate.to_string();
        assert_eq!(key.persons(&aggregate, ""), [key.hash(&text)]);
        assert_eq!(key.persons(&aggregate, &text), [key.hash(&text)]);
        assert_eq!(
            key.persons(&aggregate, "ada"),
            [key.hash(&text), key.hash("ada")]
        );
        assert_eq!(key.hash(&text.to_uppercase()), key.hash(&text));
        assert_ne!(key.check(), ErasureKey::new([8; 32]).check());
    }
}
