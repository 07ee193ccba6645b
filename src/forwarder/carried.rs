//! A sink that nothing is sent to: somebody carries its events to the hub, and the hub's receipts
//! back. What follows from these is decided in `account`, as for a sink with a broker.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    DEFAULT_RESEND_AFTER,
    account::{Account, Own, Place, Taken},
    declared::Declared,
    doubt::blocking,
    receipts::place,
};
use crate::{
    clock::Timestamp,
    encoding::base64_of,
    envelope::Digest,
    outbox::{
        BY_HAND, Outbox, Progress, ReadError, RegisterError, Registration, SinkHandle, Start,
    },
    receipt::Receipt,
    seq::{Seq, SeqRange},
    signing::PublicKey,
    status::{Guarantee, GuaranteeLevel, HubStatus, SinkState},
};

/// The kind, as configuration and `status` name it.
pub(crate) const KIND: &str = "carried";

/// A sink that is carried by hand.
#[derive(Clone, Debug)]
pub struct CarriedSpec {
    /// Its name, `[a-z0-9_-]{1,64}`: under another name it is another sink.
    pub name: String,
    /// The keys that sign the hub's receipts: one, or while it is changed two.
    pub keys: Vec<PublicKey>,
    /// Whether trimming waits for it.
    pub required: bool,
    /// Where it begins if the journal has no place for it yet.
    pub start: Start,
}

/// Its place in the journal, held for as long as a clone is there; a cheap clone.
#[derive(Clone)]
pub struct Carried {
    outbox: Outbox,
    spec: Arc<CarriedSpec>,
    /// Locked while receipts are taken in, so that they are one after the other.
    place: Arc<Mutex<AtSink>>,
}

/// The place, and what receipts came to.
struct AtSink {
    handle: SinkHandle,
    account: Account,
    /// What is trimmed and in the ledger, as far as this life of the hub misses it.
    declared: Declared,
    /// From where on the hub has another history of this epoch.
    foreign: Option<(Seq, Digest)>,
}

/// What somebody is about to carry away.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outgoing {
    /// The signed tail, in base64.
    pub tail: String,
    /// The first event that the hub has not confirmed.
    pub from: Seq,
    /// The last one that may be carried away.
    pub upto: Seq,
}

/// What became of receipts that were brought.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Brought {
    /// How many counted, or had counted before.
    pub counted: u64,
    /// How many did not: of another device or key, or of an earlier life of the hub.
    pub passed_over: u64,
    /// Everything up to here is safe at the hub, or it knows why not.
    pub confirmed: Seq,
    /// Events that the hub misses of what it was told of.
    pub missing: u64,
    /// Messages that it has in quarantine.
    pub quarantined: u64,
    /// That it follows another history than this journal's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tampering: Option<String>,
}

impl AtSink {
    async fn take(outbox: &Outbox, spec: &CarriedSpec) -> Result<Self, RegisterError> {
        let registration = Registration {
            name: spec.name.clone(),
            kind: KIND,
            required: spec.required,
            window: BY_HAND,
            start: spec.start,
            by_receipts: true,
        };
        let handle = outbox.sink(registration).await?;
        let confirmed = handle.cursor().confirmed;
        handle.report(|sink| {
            sink.state = SinkState::ByHand;
            sink.guarantee = Guarantee {
                level: GuaranteeLevel::AtLeastOnce,
                unmet: Vec::new(),
            };
            sink.hub = Some(HubStatus {
                confirms: true,
                confirmed,
                ..sink.hub.take().unwrap_or_default()
            });
        });
        let account = Account::new(DEFAULT_RESEND_AFTER, confirmed, handle.life());
        Ok(Self {
            handle,
            account,
            declared: Declared::default(),
            foreign: None,
        })
    }
}

impl Carried {
    /// Takes the sink's place in the journal.
    ///
    /// # Errors
    /// As [`RegisterError`] says.
    pub async fn open(outbox: &Outbox, spec: CarriedSpec) -> Result<Self, RegisterError> {
        let place = AtSink::take(outbox, &spec).await?;
        Ok(Self {
            outbox: outbox.clone(),
            spec: Arc::new(spec),
            place: Arc::new(Mutex::new(place)),
        })
    }

    async fn place(&self) -> Result<MutexGuard<'_, AtSink>, ReadError> {
        let mut place = self.place.lock().await;
        self.renew(&mut place).await?;
        Ok(place)
    }

    /// Takes the place anew where events were taken back into a new epoch, as a sink's task does.
    async fn renew(&self, place: &mut AtSink) -> Result<(), ReadError> {
        if place.handle.horizon().has_changed().is_err() {
            *place = match AtSink::take(&self.outbox, &self.spec).await {
                Err(RegisterError::Journal(error)) => return Err(error),
                taken => taken.map_err(|_| ReadError::Closed)?,
            };
        }
        Ok(())
    }

    /// Takes in what somebody brought back. What counted is durable when this returns.
    ///
    /// # Errors
    /// The journal cannot be read or written. What was brought says nothing until it is brought again.
    pub async fn take(&self, messages: &[Vec<u8>]) -> Result<Brought, ReadError> {
        let mut place = self.place().await?;
        let mut brought = Brought::default();
        for message in messages {
            let counts = match self.verified(message) {
                Some(receipt) => place.count(receipt, &mut brought).await?,
                None => false,
            };
            match counts {
                true => brought.counted += 1,
                false => brought.passed_over += 1,
            }
        }
        let AtSink {
            handle, account, ..
        } = &*place;
        let confirmed = account.confirmed();
        handle.claim(confirmed).await?;
        let cursor = handle.cursor();
        handle.progress(Progress {
            acked: confirmed,
            floor: cursor.floor,
            incarnation: cursor.incarnation,
        });
        handle.confirm(confirmed);
        handle.settle().await?;
        (brought.missing, brought.quarantined) = account.trouble();
        brought.confirmed = confirmed;
        handle.report(|sink| {
            // It may have gone back, with a later life of the hub.
            sink.acked = confirmed;
            let hub = sink.hub.get_or_insert_default();
            hub.confirmed = confirmed;
            (hub.missing, hub.quarantined) = (brought.missing, brought.quarantined);
            if brought.counted > 0 {
                hub.last_receipt = Some(Timestamp::now());
            }
            if brought.tampering.is_some() {
                hub.tampering.clone_from(&brought.tampering);
            }
        });
        // At the end, when all of it is told: the place goes with what is taken back.
        if let Some((from, digest)) = place.foreign.take() {
            place.handle.foreign(from, digest).await?;
            self.renew(&mut place).await?;
        }
        Ok(brought)
    }

    /// The receipt in a message, where it is one of the hub's for this device.
    fn verified(&self, message: &[u8]) -> Option<Receipt> {
        let key_id = Receipt::key_id(message).ok()?;
        let key = self.spec.keys.iter().find(|key| key.id() == key_id)?;
        let receipt = Receipt::verify(message, key).ok()?;
        (receipt.device == *self.outbox.device()).then_some(receipt)
    }
}

impl AtSink {
    /// Whether a receipt counts, or is known already.
    async fn count(&mut self, receipt: Receipt, brought: &mut Brought) -> Result<bool, ReadError> {
        let handle = &self.handle;
        let tail = handle.horizon().borrow().tail;
        let reads = handle.reads();
        let mut account = self.account.clone();
        let looked = blocking(move || {
            let mut at = |from| place(&reads, from);
            let (Some(first), Some(last)) = (at(Seq::FIRST)?, at(tail)?) else {
                return Ok(None);
            };
            let own = Own {
                epoch: last.epoch,
                first_held: first.seq,
                tail,
                // Whatever is there may have been carried.
                acked: tail,
                now: Duration::ZERO,
            };
            let taken = account.take(&receipt, own, &mut at)?;
            Ok(Some((account, receipt, taken, first)))
        });
        let Some((account, receipt, taken, first)) = looked.await? else {
            return Ok(false);
        };
        match taken {
            Taken::Nothing => return Ok(self.account.knows(&receipt)),
            Taken::Counted { new_life } => {
                if new_life {
                    // What was said to the life before, this one may lack.
                    self.declared.clear();
                }
                // Before the life is: a crash between the two says it once more.
                for range in trimmed(&receipt, first) {
                    while let Some(untold) = self.declared.untold(range) {
                        handle.skip_trimmed(untold).await?;
                        self.declared.note(untold);
                    }
                }
                if let (true, Some(life)) = (new_life, account.life()) {
                    handle.begin_life(life).await?;
                }
                self.account = account;
            }
            Taken::Tampering {
                seq,
                digest,
                current,
            } => {
                brought.tampering = Some(format!(
                    "the hub has another event than this journal at seq {seq} of epoch {}: a card \
                     was copied or set back",
                    receipt.epoch
                ));
                if current {
                    // Beyond our end nothing says where the histories part.
                    let from = match seq > tail {
                        true => self.account.confirmed().next(),
                        false => seq,
                    };
                    self.foreign = Some((from, digest));
                }
            }
        }
        Ok(true)
    }
}

/// What the hub misses and the journal does not hold any more, where that is of this very epoch.
fn trimmed(receipt: &Receipt, first: Place) -> impl Iterator<Item = SeqRange> {
    let missing = receipt.missing.iter();
    let missing = missing.filter(move |_| first.epoch == receipt.epoch);
    missing
        .filter_map(move |range| SeqRange::new(range.first(), range.last().min(first.seq.prev())))
}

/// Says what may be carried away: all that is durable now. With a sink for it, nothing of that will
/// be taken for what never left, whatever happens to the journal.
///
/// # Errors
/// The journal is closed, or cannot be written to.
pub async fn set_out(outbox: &Outbox, carried: Option<&Carried>) -> Result<Outgoing, ReadError> {
    let tail = outbox.tail_message().await?;
    let mut outgoing = Outgoing {
        tail: base64_of(&tail),
        from: Seq::FIRST,
        upto: outbox.status().borrow().tail,
    };
    if let Some(carried) = carried {
        let place = carried.place().await?;
        outgoing.from = place.account.confirmed().next();
        outgoing.upto = place.handle.claim(outgoing.upto).await?;
    }
    Ok(outgoing)
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried")
            .field("name", &self.spec.name)
            .finish_non_exhaustive()
    }
}
