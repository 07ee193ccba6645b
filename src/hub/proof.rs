//! Whether a key signed what it is said to have signed. Whom the key may speak for is no question
//! here: the id of a key is its digest, so whoever shows a key with that id shows the right one.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{erasure::ErasureKey, ledger, reason::Reason, tails::ProvenTail};
use crate::{
    digest::Digest,
    envelope::{Envelope, Private, Statement, Unverified, Verified, Verifier, VerifyError},
    signing::{KeyId, PublicKey, Rotation},
    tail::{SignedError, Tail},
};

/// A message as a broker carried it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its bytes: an envelope, or a CloudEvent that stands for one.
    pub body: Bytes,
    /// What brought it, for whoever looks for where something came from.
    pub origin: Arc<str>,
}

/// What a message says of itself, true or not.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    pub(super) device: String,
    pub(super) epoch: Uuid,
    pub(super) seq: i64,
    pub(super) key_id: KeyId,
    /// The key that is said to have signed for that one.
    pub(super) predecessor: Option<KeyId>,
    /// `None` where nothing is proven.
    pub(super) digest: Option<Digest>,
    /// The hashes of the ids in it.
    pub(super) persons: Vec<Digest>,
}

/// A message that is not taken.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) message: Message,
    pub(super) reason: Reason,
    /// `None` where it cannot be read.
    pub(super) claims: Option<Claims>,
}

/// An event that its key signed.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) message: Message,
    pub(super) envelope: Envelope<Verified>,
    /// The key brings itself along.
    pub(super) introduced: Option<Introduced>,
}

/// A key that a start of an epoch brings along.
#[derive(Clone, Debug)]
pub(super) struct Introduced {
    pub(super) key: PublicKey,
    /// The key that signed for it; `None`: nobody did.
    pub(super) predecessor: Option<KeyId>,
}

/// An envelope that was read, with its message.
pub(super) struct Read {
    pub(super) message: Message,
    pub(super) envelope: Envelope<Unverified>,
}

/// Reads messages.
pub(super) fn read(
    messages: impl IntoIterator<Item = Message>,
    asides: &mut Vec<Aside>,
) -> Vec<Read> {
    let mut all = Vec::new();
    for message in messages {
        match Envelope::from_message(&message.body) {
            Ok(envelope) => all.push(Read { message, envelope }),
            Err(_) => asides.push(Aside {
                message,
                reason: Reason::Unreadable,
                claims: None,
            }),
        }
    }
    all
}

impl Claims {
    fn new(
        statement: &Statement<'_>,
        digest: Option<Digest>,
        private: Option<Private<'_>>,
        erasure: &ErasureKey,
    ) -> Self {
        Self {
            device: statement.device.to_owned(),
            epoch: *statement.epoch.as_uuid(),
            // At most 2^53 - 1.
            seq: statement.seq.get().try_into().unwrap_or(i64::MAX),
            key_id: statement.key_id,
            predecessor: private
                .filter(|_| ledger::is_start(statement.kind, statement.event_type))
                .and_then(|private| ledger::start(private.payload)?.previous)
                .filter(|previous| previous.cross_signature.is_some())
                .map(|previous| previous.key_id),
            digest,
            persons: private
                .map(|private| erasure.persons(&private.aggregate_id, private.subject_id))
                .unwrap_or_default(),
        }
    }

    /// What an event says that was not proven.
    pub(super) fn unproven(envelope: &Envelope<Unverified>, erasure: &ErasureKey) -> Self {
        Self::new(
            &envelope.claims(),
            None,
            envelope.claimed_private(),
            erasure,
        )
    }

    /// What an event says that was proven.
    pub(super) fn proven(envelope: &Envelope<Verified>, erasure: &ErasureKey) -> Self {
        let digest = Some(envelope.digest());
        Self::new(&envelope.statement(), digest, envelope.private(), erasure)
    }
}

/// Proves envelopes under the keys that it has learned. They are those of the registry, so there
/// are no more than that has.
#[derive(Debug, Default)]
pub(super) struct Prover {
    keys: HashMap<KeyId, PublicKey>,
    verifier: Verifier,
}

impl Prover {
    /// Adds a key of the registry.
    pub(super) fn learn(&mut self, key: PublicKey) {
        self.keys.insert(key.id(), key.clone());
        self.verifier.trust(key);
    }

    /// A tail in a message, under the key that it names.
    ///
    /// # Errors
    /// Why it is not proven.
    pub(super) fn prove_tail(&self, message: &[u8]) -> Result<ProvenTail, Reason> {
        let key_id = Tail::key_id(message).map_err(|_| Reason::Unreadable)?;
        let key = self.keys.get(&key_id).ok_or(Reason::UnknownKey)?;
        match Tail::verify(message, key) {
            Ok(tail) => Ok(ProvenTail { tail, key_id }),
            Err(SignedError::Signature) => Err(Reason::Forged),
            Err(_) => Err(Reason::Unreadable),
        }
    }

    /// Those of these keys that are not known.
    pub(super) fn unlearned(&self, ids: impl IntoIterator<Item = KeyId>) -> Vec<KeyId> {
        let ids = ids.into_iter();
        let mut unknown: Vec<KeyId> = ids.filter(|id| !self.keys.contains_key(id)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// The keys to be learned before these can be proven, ascending: their own, and those that may
    /// have signed for them.
    pub(super) fn unknown(&self, all: &[Read]) -> Vec<KeyId> {
        let own = all.iter().map(|read| read.envelope.claims().key_id);
        let candidates = self.candidates(all);
        let before = candidates
            .iter()
            .filter_map(|it| it.start.previous.as_ref().map(|previous| previous.key_id));
        self.unlearned(own.chain(before))
    }

    /// Proves what can be proven. With `first_use` the start of an epoch also under the key that it
    /// carries, whoever's that is.
    pub(super) fn prove(
        &mut self,
        all: Vec<Read>,
        first_use: bool,
        erasure: &ErasureKey,
        asides: &mut Vec<Aside>,
    ) -> Vec<Proven> {
        let introduced = self.introductions(&all, first_use);
        let mut of_batch = Verifier::new();
        for introduction in introduced.values() {
            of_batch.trust(introduction.key.clone());
        }
        let mut proven = Vec::with_capacity(all.len());
        for Read { message, envelope } in all {
            let id = envelope.claims().key_id;
            let verifier = match self.keys.contains_key(&id) {
                true => &mut self.verifier,
                false => &mut of_batch,
            };
            let (error, envelope) = match verifier.verify_or_return(envelope) {
                Ok(envelope) => {
                    proven.push(Proven {
                        message,
                        envelope,
                        introduced: introduced.get(&id).cloned(),
                    });
                    continue;
                }
                Err(failed) => failed,
            };
            let claims = Claims::unproven(&envelope, erasure);
            // Whoever is said to have signed for an unknown key, and is known, has not.
            let old = claims.predecessor.filter(|_| !introduced.contains_key(&id));
            let is_false = old
                .is_some_and(|old| self.keys.contains_key(&old) || introduced.contains_key(&old));
            asides.push(Aside {
                message,
                reason: match reason(&error) {
                    Reason::UnknownKey if is_false => Reason::Forged,
                    reason => reason,
                },
                claims: Some(claims),
            });
        }
        proven
    }

    /// The starts of epochs that carry a key which is not known, or for which another is said to have
    /// signed.
    fn candidates<'a>(&self, all: &'a [Read]) -> Vec<Candidate<'a>> {
        let candidate = |read: &'a Read| {
            let claims = read.envelope.claims();
            if !ledger::is_start(claims.kind, claims.event_type) {
                return None;
            }
            let start = ledger::start(read.envelope.claimed_private()?.payload)?;
            let is_new = !self.keys.contains_key(&claims.key_id);
            let previous = start.previous.as_ref();
            let hands_over = previous.is_some_and(|it| it.cross_signature.is_some());
            let is_its_own = start.public_key.id() == claims.key_id;
            let signed = OnceCell::new();
            let candidate = Candidate {
                read,
                start,
                signed,
            };
            (is_its_own && (is_new || hands_over)).then_some(candidate)
        };
        all.iter().filter_map(candidate).collect()
    }

    /// The keys that starts of epochs bring along. A chain of them, each signed for by the one
    /// before, is followed in whatever order they stand. One that its key has not signed introduces
    /// nothing: it would take the place of the true one. A signature is checked only where there is a
    /// key that it could be of, and the start's own where it would introduce one.
    fn introductions(&self, all: &[Read], first_use: bool) -> HashMap<KeyId, Introduced> {
        let candidates = self.candidates(all);
        let mut introduced: HashMap<KeyId, Introduced> = HashMap::new();
        self.follow(&candidates, &mut introduced);
        if first_use {
            // The first of a chain introduces itself, and the others by the one before them.
            let signed = candidates.iter().filter(|it| it.is_signed());
            let keys: HashSet<KeyId> = signed.clone().map(Candidate::key_id).collect();
            let names_one = |candidate: &&Candidate<'_>| {
                let previous = candidate.start.previous.as_ref();
                previous.is_some_and(|previous| keys.contains(&previous.key_id))
            };
            let (later, first): (Vec<_>, Vec<_>) = signed
                .filter(|it| !self.keys.contains_key(&it.key_id()))
                .partition(names_one);
            introduce(&first, &mut introduced);
            self.follow(&candidates, &mut introduced);
            introduce(&later, &mut introduced);
        }
        introduced
    }

    /// Adds whatever key another one that is known, or was introduced, signed for.
    fn follow(&self, candidates: &[Candidate<'_>], introduced: &mut HashMap<KeyId, Introduced>) {
        loop {
            let before = introduced.len();
            for candidate in candidates {
                let key_id = candidate.key_id();
                if !introduced.contains_key(&key_id)
                    && let Some(predecessor) = self.predecessor(candidate, introduced)
                    && candidate.is_signed()
                {
                    let key = candidate.start.public_key.clone();
                    let predecessor = Some(predecessor);
                    introduced.insert(key_id, Introduced { key, predecessor });
                }
            }
            if introduced.len() == before {
                break;
            }
        }
    }

    /// The known key that signed for the key of this start.
    fn predecessor(
        &self,
        Candidate { read, start, .. }: &Candidate<'_>,
        introduced: &HashMap<KeyId, Introduced>,
    ) -> Option<KeyId> {
        let previous = start.previous.as_ref()?;
        let old = match self.keys.get(&previous.key_id) {
            Some(key) => key,
            None => &introduced.get(&previous.key_id)?.key,
        };
        let claims = read.envelope.claims();
        let rotation = Rotation {
            new_key: &start.public_key,
            device: &claims.device.parse().ok()?,
            epoch: claims.epoch,
        };
        old.verify_rotation(&rotation, previous.cross_signature.as_ref()?)
            .then_some(previous.key_id)
    }
}

/// The start of an epoch that may introduce its key.
struct Candidate<'a> {
    read: &'a Read,
    start: ledger::Start,
    /// Whether its own key signed it, once somebody asked.
    signed: OnceCell<bool>,
}

impl Candidate<'_> {
    fn key_id(&self) -> KeyId {
        self.read.envelope.claims().key_id
    }

    fn is_signed(&self) -> bool {
        *self.signed.get_or_init(|| {
            let mut own = Verifier::new();
            own.trust(self.start.public_key.clone());
            own.verify(self.read.envelope.clone()).is_ok()
        })
    }
}

/// Keys that nobody signed for, where they are not introduced yet.
fn introduce(candidates: &[&Candidate<'_>], introduced: &mut HashMap<KeyId, Introduced>) {
    for candidate in candidates {
        let introduced = introduced.entry(candidate.key_id());
        introduced.or_insert_with(|| Introduced {
            key: candidate.start.public_key.clone(),
            predecessor: None,
        });
    }
}

/// What a failed proof means. A name is none of its business, so the wrong one does not occur.
const fn reason(error: &VerifyError) -> Reason {
    match error {
        VerifyError::UnknownKey(_) | VerifyError::WrongDevice { .. } => Reason::UnknownKey,
        VerifyError::Private => Reason::Altered,
        VerifyError::Signature => Reason::Forged,
    }
}
