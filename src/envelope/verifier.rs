use std::collections::{HashMap, HashSet, VecDeque};

use super::{Envelope, Unverified, Verified, tree};
use crate::{
    digest::Digest,
    identity::DeviceName,
    signing::{KeyId, PublicKey, Signature},
};

/// How many verified groups are remembered: enough for as many devices to interleave their
/// events, at 300 bytes each.
const REMEMBERED_GROUPS: usize = 1024;

/// Turns envelopes that were received into envelopes that are proven.
///
/// It remembers the groups whose signature it checked, so that the events of a group cost one
/// signature check between them.
///
/// ```
/// use edge_outbox::envelope::{Chain, Envelope, Verifier};
///
/// /// Checks a run of envelopes, one per line; gives the number of the last one.
/// fn check_run(lines: &str, public_key: &str) -> Result<u64, Box<dyn std::error::Error>> {
///     let mut verifier = Verifier::new();
///     verifier.trust(public_key.parse()?);
///     let mut chain = Chain::new();
///     for line in lines.lines() {
///         let envelope = verifier.verify(Envelope::parse(line.as_bytes())?)?;
///         chain.extend(&envelope)?;
///     }
///     Ok(chain.end().map_or(0, |end| end.seq.get()))
/// }
///
/// let key = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
/// assert_eq!(check_run("", key)?, 0);
/// assert!(check_run("{\"id\":1}", key).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Verifier {
    keys: HashMap<KeyId, Trusted>,
    groups: GroupMemory,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Trusted {
    key: PublicKey,
    /// `None`: whatever the key's holder calls itself.
    device: Option<DeviceName>,
}

/// Why an envelope is not proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It names a key that is not among the trusted ones.
    #[error("key {0} is not a trusted one")]
    UnknownKey(KeyId),
    /// The key is trusted, but for another device.
    #[error("key {key_id} is not trusted for device {device}")]
    WrongDevice {
        /// The key.
        key_id: KeyId,
        /// What the envelope says the device is.
        device: DeviceName,
    },
    /// Aggregate, subject person, salt or payload are not those that were signed.
    #[error("the personal part does not match its digest: it was altered")]
    Private,
    /// The statement, the path or the signature was altered, or the key never signed it.
    #[error("the signature does not fit: the envelope was altered or is not the device's")]
    Signature,
}

impl Verifier {
    /// A verifier that trusts no key yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts a key, whatever its holder calls the device: right where one key is all there is.
    pub fn trust(&mut self, key: PublicKey) {
        self.keys.insert(key.id(), Trusted { key, device: None });
    }

    /// Trusts a key to speak for this device and for no other: without that, one device could
    /// speak as another.
    pub fn trust_for(&mut self, key: PublicKey, device: DeviceName) {
        self.keys.insert(
            key.id(),
            Trusted {
                key,
                device: Some(device),
            },
        );
    }

    #[cfg(test)]
    pub(super) fn remembered_groups(&self) -> usize {
        assert_eq!(self.groups.known.len(), self.groups.order.len());
        self.groups.order.len()
    }

    /// Checks one envelope, by itself: its personal part, its digest, its path and the signature.
    ///
    /// # Errors
    /// As [`VerifyError`] says.
    pub fn verify(
        &mut self,
        envelope: Envelope<Unverified>,
    ) -> Result<Envelope<Verified>, VerifyError> {
        self.verify_or_return(envelope).map_err(|(error, _)| error)
    }

    /// As [`Verifier::verify`]; what is not proven is given back.
    pub(crate) fn verify_or_return(
        &mut self,
        envelope: Envelope<Unverified>,
    ) -> Result<Envelope<Verified>, (VerifyError, Box<Envelope<Unverified>>)> {
        match self.check(&envelope) {
            Ok(digest) => Ok(Envelope {
                fields: envelope.fields,
                state: Verified { digest },
            }),
            Err(error) => Err((error, Box::new(envelope))),
        }
    }

    fn check(&mut self, envelope: &Envelope<Unverified>) -> Result<Digest, VerifyError> {
        let fields = &envelope.fields;
        let trusted = self
            .keys
            .get(&fields.key_id)
            .ok_or(VerifyError::UnknownKey(fields.key_id))?;
        if trusted
            .device
            .as_ref()
            .is_some_and(|device| *device != fields.device)
        {
            return Err(VerifyError::WrongDevice {
                key_id: fields.key_id,
                device: fields.device.clone(),
            });
        }
        if fields
            .private()
            .is_some_and(|private| private.digest() != fields.private_digest)
        {
            return Err(VerifyError::Private);
        }
        let digest = fields.statement().digest(&mut self.scratch);
        let root = tree::root_of(&digest, fields.leaf, fields.size, &fields.path)
            .ok_or(VerifyError::Signature)?;
        let group = Group {
            key_id: fields.key_id,
            size: fields.size,
            root,
            signature: fields.signature,
        };
        if !self.groups.contains(&group) {
            if !trusted
                .key
                .verify_group(group.size, &group.root, &group.signature)
            {
                return Err(VerifyError::Signature);
            }
            self.groups.remember(group);
        }
        Ok(digest)
    }
}

/// A group whose signature holds. The signature is part of it: with root and key alone, an
/// envelope with any signature would pass once its neighbour had.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    key_id: KeyId,
    size: u8,
    root: Digest,
    signature: Signature,
}

/// The groups verified last; the oldest makes room.
#[derive(Debug, Default)]
struct GroupMemory {
    known: HashSet<Group>,
    order: VecDeque<Group>,
}

impl GroupMemory {
    fn contains(&self, group: &Group) -> bool {
        self.known.contains(group)
    }

    fn remember(&mut self, group: Group) {
        if self.order.len() == REMEMBERED_GROUPS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(group.clone());
        self.known.insert(group);
    }
}
