use serde::{Deserialize, Serialize};

use super::{Envelope, Kind, Verified};
use crate::{
    digest::Digest,
    identity::{DeviceName, Epoch},
    seq::{Seq, SeqRange},
    signing::KeyId,
};

/// The type of the event that every epoch begins with.
pub const EPOCH_STARTED: &str = "outbox.epoch_started.v1";

/// Where an epoch ended, as the one after it knows: the member `previous` in the payload of
/// [`EPOCH_STARTED`], absent in a fresh journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEnd {
    /// The epoch before.
    pub epoch: Epoch,
    /// Its last known seq.
    pub seq: Seq,
    /// The digest of that event.
    pub digest: Digest,
}

/// A run of verified envelopes of one device without a gap, a fork or a repeat.
///
/// It begins wherever its first envelope stands (what lies before may have been trimmed), and goes
/// from one epoch to the next only where the new one names the last event of the old one. An
/// envelope that does not fit leaves the chain as it was; to go on behind a gap, begin a new chain.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    at: Option<Link>,
    /// Whether the start of an epoch may be under another name than the epoch before.
    across_names: bool,
}

#[derive(Clone, Debug)]
struct Link {
    device: DeviceName,
    key_id: KeyId,
    end: EpochEnd,
}

/// Why an envelope is not the next of a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// It is another device's.
    #[error("the event is of device {found}, and the chain is of device {expected}")]
    Device {
        /// The chain's device.
        expected: DeviceName,
        /// The envelope's.
        found: DeviceName,
    },
    /// The epoch is the chain's but the key is not: one of the two has no right to it.
    #[error("seq {seq} is signed by key {found}, and the epoch is under key {expected}")]
    Key {
        /// The envelope.
        seq: Seq,
        /// The epoch's key.
        expected: KeyId,
        /// The envelope's.
        found: KeyId,
    },
    /// Events in between are missing.
    #[error("seq {} to {} are missing", .missing.first(), .missing.last())]
    Gap {
        /// Which.
        missing: SeqRange,
    },
    /// The chain ends with this very event.
    #[error("seq {seq} is a repeat")]
    Repeat {
        /// Which.
        seq: Seq,
    },
    /// It lies before the end of the chain: a repeat or a fork, which only a comparison with the
    /// event that was there can tell.
    #[error("seq {seq} is earlier than the chain's end, seq {end}")]
    Earlier {
        /// The envelope.
        seq: Seq,
        /// The chain's end.
        end: Seq,
    },
    /// There are two different events for one seq, and the device signed both.
    #[error("two different events have seq {seq}: the chain is forked")]
    Fork {
        /// Which.
        seq: Seq,
    },
    /// It has no event before it but does not start an epoch, or the reverse.
    #[error("seq {seq} does not begin its epoch as every epoch begins, with {EPOCH_STARTED}")]
    Start {
        /// Which.
        seq: Seq,
    },
    /// It is of another epoch and not the start of one that follows the chain's.
    #[error("seq {seq} is of epoch {found}, which does not follow epoch {expected}")]
    Epoch {
        /// Which.
        seq: Seq,
        /// The chain's epoch.
        expected: Epoch,
        /// The envelope's.
        found: Epoch,
    },
    /// The new epoch follows the chain's, but the device no longer knows the last events of it: its
    /// journal was rolled back or recovered.
    #[error("epoch {found} starts behind seq {known}, and the chain goes on to seq {end}")]
    Forgotten {
        /// The new epoch.
        found: Epoch,
        /// The last event that the device knows.
        known: Seq,
        /// The chain's end.
        end: Seq,
    },
}

impl Chain {
    /// A chain without an event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The chain of one journal, which goes on when its device gets another name. Not for what came
    /// over a network: there a device that is trusted could go on in the name of another.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn of_journal() -> Self {
        Self {
            across_names: true,
            ..Self::default()
        }
    }

    /// Where the chain ends; `None` while it has no event.
    #[must_use]
    pub fn end(&self) -> Option<EpochEnd> {
        self.at.as_ref().map(|link| link.end)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// As [`ChainError`] says; the chain is then as it was.
    pub fn extend(&mut self, envelope: &Envelope<Verified>) -> Result<(), ChainError> {
        let fields = &envelope.fields;
        let (seq, digest) = (fields.seq, envelope.digest());
        let starts = fields.kind == Kind::Ledger && *fields.event_type == *EPOCH_STARTED;
        if starts != (fields.prev == Digest::ZERO) {
            return Err(ChainError::Start { seq });
        }
        let next = EpochEnd {
            epoch: fields.epoch,
            seq,
            digest,
        };
        let Some(link) = &mut self.at else {
            let (device, key_id) = (fields.device.clone(), fields.key_id);
            self.at = Some(Link {
                device,
                key_id,
                end: next,
            });
            return Ok(());
        };
        let begins_under_a_name = self.across_names && starts;
        if link.device != fields.device && !begins_under_a_name {
            let (expected, found) = (link.device.clone(), fields.device.clone());
            return Err(ChainError::Device { expected, found });
        }
        if link.end.epoch == next.epoch {
            if link.key_id != fields.key_id {
                let (expected, found) = (link.key_id, fields.key_id);
                return Err(ChainError::Key {
                    seq,
                    expected,
                    found,
                });
            }
            follows(&link.end, &next, &fields.prev)?;
        } else {
            let previous = if starts { previous(envelope) } else { None };
            succeeds(&link.end, &next, previous)?;
        }
        link.device = fields.device.clone();
        link.key_id = fields.key_id;
        link.end = next;
        Ok(())
    }
}

/// Whether `next` comes right after `end` in the same epoch.
fn follows(end: &EpochEnd, next: &EpochEnd, prev: &Digest) -> Result<(), ChainError> {
    let seq = next.seq;
    if let Some(missing) = SeqRange::new(end.seq.next(), seq.prev()) {
        return Err(ChainError::Gap { missing });
    }
    if seq == end.seq && next.digest == end.digest {
        return Err(ChainError::Repeat { seq });
    }
    if seq == end.seq {
        return Err(ChainError::Fork { seq });
    }
    if seq < end.seq {
        return Err(ChainError::Earlier { seq, end: end.seq });
    }
    if *prev != end.digest {
        return Err(ChainError::Fork { seq: end.seq });
    }
    Ok(())
}

/// Whether `next` starts the epoch after the one that ends in `end`.
fn succeeds(end: &EpochEnd, next: &EpochEnd, previous: Option<EpochEnd>) -> Result<(), ChainError> {
    let other = ChainError::Epoch {
        seq: next.seq,
        expected: end.epoch,
        found: next.epoch,
    };
    let previous = previous
        .filter(|previous| previous.epoch == end.epoch)
        .ok_or(other.clone())?;
    if let Some(missing) = SeqRange::new(end.seq.next(), previous.seq) {
        return Err(ChainError::Gap { missing });
    }
    if previous.seq < end.seq {
        return Err(ChainError::Forgotten {
            found: next.epoch,
            known: previous.seq,
            end: end.seq,
        });
    }
    if previous.digest != end.digest {
        return Err(ChainError::Fork { seq: end.seq });
    }
    // A seq is never used twice in a journal, whatever the epoch.
    if next.seq <= end.seq {
        Err(other)
    } else {
        Ok(())
    }
}

/// What the start of an epoch says of the one before.
fn previous(envelope: &Envelope<Verified>) -> Option<EpochEnd> {
    #[derive(Deserialize)]
    struct Started {
        previous: Option<EpochEnd>,
    }
    let payload = envelope.private()?.payload;
    serde_json::from_slice::<Started>(payload).ok()?.previous
}
