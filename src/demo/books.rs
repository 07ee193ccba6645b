//! The school's books: what arrived, and whether it is what was promised.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    envelope::{Chain, ChainError, DeviceName, Envelope, Kind, Verified, Verifier},
    seq::Seq,
    signing::PublicKey,
};

/// The most complaints that are kept; a few say as much as all.
const MAX_COMPLAINTS: usize = 10;

/// A kiosk's word that an event is durable: the answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// Where the event is.
    pub(super) seq: Seq,
    /// Which it is.
    pub(super) id: Uuid,
}

/// Promised and arrived, of one kiosk. Events of the program alone are counted; those of the
/// ledger are verified beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    /// Events that the kiosk was told are durable.
    pub(crate) appended: u64,
    /// Those of them that arrived.
    pub(crate) delivered: u64,
    /// Copies beyond the first.
    pub(crate) repeated: u64,
    /// Events that were promised and did not arrive.
    pub(crate) lost: u64,
    /// Events delivered whose signature fits and that are linked with the one before them.
    pub(crate) verified: u64,
}

impl std::ops::AddAssign for Balance {
    fn add_assign(&mut self, other: Self) {
        self.appended += other.appended;
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.lost += other.lost;
        self.verified += other.verified;
    }
}

/// Everything that arrived.
pub(super) struct Books {
    verifier: Verifier,
    accounts: BTreeMap<DeviceName, Account>,
    complaints: Vec<String>,
    /// One event is to be left out.
    leaves_one_out: bool,
    left_out: Option<(DeviceName, Seq)>,
}

/// What arrived of one kiosk.
#[derive(Default)]
struct Account {
    arrived: BTreeMap<Seq, Arrived>,
    /// Events of the program among them.
    events: u64,
}

struct Arrived {
    envelope: Envelope<Verified>,
    copies: u64,
    /// Copies that say that they are repeats.
    marked: u64,
}

impl Books {
    /// Empty. With `leaves_one_out`, the first event that arrives is not noted, nor any copy of it.
    pub(super) fn new(leaves_one_out: bool) -> Self {
        Self {
            verifier: Verifier::new(),
            accounts: BTreeMap::new(),
            complaints: Vec::new(),
            leaves_one_out,
            left_out: None,
        }
    }

    /// Takes a kiosk in: what comes in its name has to be signed with this key.
    pub(super) fn enrol(&mut self, device: DeviceName, key: PublicKey) {
        self.verifier.trust_for(key, device.clone());
        self.accounts.insert(device, Account::default());
    }

    /// Notes a message.
    pub(super) fn note(&mut self, message: &[u8]) {
        let envelope = match Envelope::parse(message) {
            Ok(envelope) => envelope,
            Err(error) => return self.complain(format!("a message is no envelope: {error}")),
        };
        let (device, seq) = (envelope.claims().device.to_owned(), envelope.claims().seq);
        let envelope = match self.verifier.verify(envelope) {
            Ok(envelope) => envelope,
            Err(error) => return self.complain(format!("{device}, seq {seq}: {error}")),
        };
        let Some((name, account)) = device
            .parse()
            .ok()
            .and_then(|name: DeviceName| Some((name.clone(), self.accounts.get_mut(&name)?)))
        else {
            return self.complain(format!("{device} is no kiosk of this classroom"));
        };
        let is_event = envelope.statement().kind == Kind::Program;
        if self.leaves_one_out && is_event {
            self.leaves_one_out = false;
            self.left_out = Some((name, seq));
            return;
        }
        if self
            .left_out
            .as_ref()
            .is_some_and(|(of, at)| *of == name && *at == seq)
        {
            return;
        }
        let marked = u64::from(envelope.redelivered());
        match account.arrived.get_mut(&seq) {
            None => {
                account.events += u64::from(is_event);
                let first = Arrived {
                    envelope,
                    copies: 1,
                    marked,
                };
                account.arrived.insert(seq, first);
            }
            Some(known) if known.envelope.digest() == envelope.digest() => {
                known.copies += 1;
                known.marked += marked;
            }
            Some(_) => self.complain(format!("{device} signed two different events as seq {seq}")),
        }
    }

    /// How many events of this kiosk have arrived.
    pub(super) fn delivered(&self, device: &DeviceName) -> u64 {
        self.accounts
            .get(device)
            .map_or(0, |account| account.events)
    }

    /// Balances what a kiosk promised against what arrived.
    pub(super) fn balance(
        &mut self,
        device: &DeviceName,
        promises: impl Iterator<Item = Promise>,
    ) -> Balance {
        let account = self.accounts.remove(device).unwrap_or_default();
        let mut balance = Balance::default();
        let mut promised = BTreeMap::new();
        for Promise { seq, id } in promises {
            balance.appended += 1;
            promised.insert(seq, id);
        }
        if account
            .arrived
            .keys()
            .next()
            .is_some_and(|first| *first != Seq::FIRST)
        {
            self.complain(format!("{device}: the beginning of its chain is missing"));
        }
        let mut chain = Chain::new();
        for (
            seq,
            Arrived {
                envelope,
                copies,
                marked,
            },
        ) in account.arrived
        {
            let linked = self.link(device, &mut chain, &envelope);
            // The first copy may be the one that was thought to be lost: any may bear the mark.
            if copies > 1 && marked == 0 {
                self.complain(format!(
                    "{device}, seq {seq}: came {copies} times, no copy is marked"
                ));
            }
            if envelope.statement().kind != Kind::Program {
                continue;
            }
            balance.repeated += copies - 1;
            if promised.remove(&seq) == Some(envelope.statement().id) {
                balance.delivered += 1;
                balance.verified += u64::from(linked);
            } else {
                self.complain(format!(
                    "{device}, seq {seq}: arrived and was never promised"
                ));
            }
        }
        balance.lost = promised.len() as u64;
        balance
    }

    /// Whether the envelope is the next of the chain. Behind a gap a new chain begins.
    fn link(
        &mut self,
        device: &DeviceName,
        chain: &mut Chain,
        envelope: &Envelope<Verified>,
    ) -> bool {
        let Err(error) = chain.extend(envelope) else {
            return true;
        };
        self.complain(format!("{device}: {error}"));
        if !matches!(error, ChainError::Gap { .. }) {
            return false;
        }
        *chain = Chain::new();
        chain.extend(envelope).is_ok()
    }

    /// Adds what is wrong.
    pub(super) fn complain(&mut self, complaint: String) {
        if self.complaints.len() < MAX_COMPLAINTS {
            self.complaints.push(complaint);
        }
    }

    /// What is wrong, the first few of it.
    pub(super) fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }
}

#[cfg(test)]
mod tests;
