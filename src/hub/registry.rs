//! Who may say what: pure functions of what the tables say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::{ledger, proof::Proven, reason::Reason};
use crate::{
    digest::Digest,
    envelope::Statement,
    seq::Seq,
    signing::{KeyId, PublicKey},
};

/// A row of `device_keys`.
#[derive(Clone, Debug)]
pub(super) struct KeyRow {
    pub(super) device: String,
    pub(super) key: PublicKey,
    pub(super) predecessor: Option<KeyId>,
    pub(super) revoked: Option<Revoked>,
}

/// What a key that was revoked is still good for.
#[derive(Clone, Debug, Default)]
pub(super) struct Revoked {
    /// An epoch up to a seq.
    pub(super) upto: Option<(Uuid, Seq)>,
    /// The epochs before that one, whole.
    pub(super) before: Vec<Uuid>,
}

/// What is known of an epoch where it is asked who may speak in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Whose it is; `None` where it is known of by its successor alone, which did not say.
    pub(super) key_id: Option<KeyId>,
    /// Whether its start is held.
    pub(super) has_start: bool,
}

/// The epochs of a batch.
pub(super) type Bounds = HashMap<(String, Uuid), Bound>;

/// What the registry says of the devices and keys in a batch.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By device and key, each pair once.
    keys: BTreeMap<(String, KeyId), KeyRow>,
    devices: BTreeSet<String>,
    /// Keys that handed over, by device.
    retired: BTreeSet<(String, KeyId)>,
}

/// What is to be added, each list ascending.
#[derive(Debug, Default)]
pub(super) struct Additions {
    /// Devices seen for the first time.
    pub(super) devices: Vec<String>,
    pub(super) keys: Vec<KeyRow>,
}

impl Registry {
    pub(super) fn new(
        devices: impl IntoIterator<Item = String>,
        keys: impl IntoIterator<Item = KeyRow>,
    ) -> Self {
        let mut registry = Self {
            devices: devices.into_iter().collect(),
            ..Self::default()
        };
        for row in keys {
            registry.add(row);
        }
        registry
    }

    fn add(&mut self, row: KeyRow) {
        if let Some(predecessor) = row.predecessor {
            self.retired.insert((row.device.clone(), predecessor));
        }
        self.keys.insert((row.device.clone(), row.key.id()), row);
    }

    /// What the starts in a batch add to the registry. Where two would succeed one key, the smaller
    /// key id does: any rule will do that all hubs have.
    pub(super) fn additions(&self, proven: &[Proven]) -> Additions {
        let mut known = Self::new(self.devices.clone(), self.keys.values().cloned());
        let mut additions = Additions::default();
        let mut candidates: BTreeMap<(String, KeyId), KeyRow> = BTreeMap::new();
        for event in proven {
            let statement = event.envelope.statement();
            if let Some(introduced) = &event.introduced
                && ledger::is_start(statement.kind, statement.event_type)
            {
                let device = statement.device.to_owned();
                candidates
                    .entry((device.clone(), statement.key_id))
                    .or_insert(KeyRow {
                        device,
                        key: introduced.key.clone(),
                        predecessor: introduced.predecessor,
                        revoked: None,
                    });
            }
        }
        candidates.retain(|place, _| !known.keys.contains_key(place));
        // Each round adds at least one, or is the last.
        loop {
            let fit = candidates.iter().find(|(_, row)| known.may_join(row));
            let Some(place) = fit.map(|(place, _)| place.clone()) else {
                break;
            };
            if let Some(row) = candidates.remove(&place) {
                if known.devices.insert(row.device.clone()) {
                    additions.devices.push(row.device.clone());
                }
                additions.keys.push(row.clone());
                known.add(row);
            }
        }
        additions.devices.sort_unstable();
        additions
            .keys
            .sort_unstable_by_key(|row| (row.device.clone(), row.key.id()));
        additions
    }

    fn may_join(&self, row: &KeyRow) -> bool {
        let Some(predecessor) = row.predecessor else {
            return !self.devices.contains(&row.device);
        };
        let place = (row.device.clone(), predecessor);
        let is_good = self
            .keys
            .get(&place)
            .is_some_and(|old| old.revoked.is_none());
        is_good && !self.retired.contains(&place)
    }

    /// Whether the key may say this.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn judge(&self, event: &Proven, bounds: &Bounds) -> Result<(), Reason> {
        let statement = event.envelope.statement();
        self.judge_key(event, &statement)?;
        let bound = bounds.get(&(statement.device.to_owned(), *statement.epoch.as_uuid()));
        let owner = bound.and_then(|bound| bound.key_id);
        let has_start = bound.is_some_and(|bound| bound.has_start);
        let is_start = statement.prev == Digest::ZERO
            && ledger::is_start(statement.kind, statement.event_type);
        let retired = self.is_retired(&statement);
        match owner {
            Some(owner) if owner == statement.key_id => Ok(()),
            // The start of an epoch says whose it is, whoever was first in it.
            Some(_) if is_start && !has_start && !retired => Ok(()),
            Some(_) => Err(Reason::KeyOfEpoch),
            None if retired => Err(Reason::RetiredKey),
            None => Ok(()),
        }
    }

    fn is_retired(&self, statement: &Statement<'_>) -> bool {
        self.retired
            .contains(&(statement.device.to_owned(), statement.key_id))
    }

    fn judge_key(&self, event: &Proven, statement: &Statement<'_>) -> Result<(), Reason> {
        let place = (statement.device.to_owned(), statement.key_id);
        let Some(row) = self.keys.get(&place) else {
            let predecessor = event.introduced.as_ref().and_then(|it| it.predecessor);
            let would_be_second = predecessor
                .is_some_and(|old| self.retired.contains(&(statement.device.to_owned(), old)));
            return Err(if would_be_second {
                Reason::SecondSuccessor
            } else {
                self.unknown(statement.device, &statement.key_id)
            });
        };
        let Some(revoked) = &row.revoked else {
            return Ok(());
        };
        let epoch = statement.epoch.as_uuid();
        let is_before = revoked.before.contains(epoch);
        let is_within = revoked
            .upto
            .is_some_and(|(last, seq)| last == *epoch && statement.seq <= seq);
        if is_before || is_within {
            Ok(())
        } else {
            Err(Reason::RevokedKey)
        }
    }

    /// Why a key is not one of the device's.
    pub(super) fn unknown(&self, device: &str, key_id: &KeyId) -> Reason {
        if self.keys.keys().any(|(_, id)| id == key_id) {
            Reason::WrongDevice
        } else if self.devices.contains(device) {
            Reason::UnknownKey
        } else {
            Reason::UnknownDevice
        }
    }
}
