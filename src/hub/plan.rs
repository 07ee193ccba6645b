//! What the events of a batch do to the epochs of a device: a pure function of both.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::ledger::{Declaration, Start};
use crate::{
    clock::Stamp,
    digest::Digest,
    seq::{Seq, SeqRange},
    signing::KeyId,
};

/// A row of `epochs`.
#[derive(Clone, Debug, Default)]
pub(super) struct EpochRow {
    pub(super) key_id: Option<KeyId>,
    pub(super) first_seq: Option<u64>,
    pub(super) reason: Option<String>,
    /// Where the epoch before ended, and which it was.
    pub(super) previous: Option<(Uuid, u64, Digest)>,
    pub(super) highest: u64,
    pub(super) held: u64,
    pub(super) complete_to: u64,
    pub(super) complete_digest: Option<Digest>,
    pub(super) tail: Option<(u64, Digest)>,
    pub(super) walk_due: bool,
}

/// An event that was stored just now, as far as its epoch is concerned.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) epoch: Uuid,
    pub(super) seq: u64,
    pub(super) digest: Digest,
    pub(super) key_id: KeyId,
    pub(super) clock: Stamp,
    pub(super) start: Option<Start>,
    pub(super) unreadable: bool,
}

/// A declaration and the epoch of the ledger event that made it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) epoch: Uuid,
    pub(super) declaration: Declaration,
}

/// What is to be done with one epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    pub(super) arrived: BTreeSet<u64>,
    pub(super) starts: Option<u64>,
    /// It goes at least this far.
    pub(super) reaches: u64,
    pub(super) declared: Vec<Declaration>,
}

/// What a device's signature shows to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) epoch: Uuid,
    pub(super) seq: u64,
    pub(super) code: &'static str,
    pub(super) digest: Digest,
}

/// What a signature says of the digest at a place, beside the event there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pledge {
    pub(super) epoch: Uuid,
    pub(super) seq: u64,
    pub(super) digest: Digest,
}

/// What a batch does to one device.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) work: BTreeMap<Uuid, Work>,
    pub(super) findings: Vec<Finding>,
    /// To be held against what is stored.
    pub(super) pledges: Vec<Pledge>,
}

/// All epochs of a device.
pub(super) type Epochs = BTreeMap<Uuid, EpochRow>;

/// The reason of an epoch before which nothing is forgotten: the old key says where it ended.
const KEY_CHANGED: &str = "key_changed";

impl EpochRow {
    fn replaces_key(&self) -> bool {
        self.reason.as_deref() == Some(KEY_CHANGED)
    }
}

impl Work {
    /// The seqs that it touches, from the first to the last.
    pub(super) fn hull(&self, row: &EpochRow) -> Option<(u64, u64)> {
        let declared = || self.declared.iter().map(|told| told.range);
        let starts = self.starts.map(|seq| (1, seq));
        let reaches = (self.reaches > row.highest).then_some((row.highest + 1, self.reaches));
        let arrived = self
            .arrived
            .first()
            .copied()
            .zip(self.arrived.last().copied());
        let runs = declared().map(|range| (range.first().get(), range.last().get()));
        let all = runs.chain(starts).chain(reaches).chain(arrived);
        all.reduce(|all, run| (all.0.min(run.0), all.1.max(run.1)))
    }
}

/// Plans what the stored events of a device do to its epochs, and writes into them what starts say.
/// `earlier` are the declarations that were made before: they count again where a start ties epochs
/// together.
pub(super) fn plan(
    epochs: &mut Epochs,
    stored: &[Stored],
    told: &[Told],
    earlier: &[Told],
) -> Plan {
    let mut plan = Plan::default();
    for event in stored {
        let row = epochs.entry(event.epoch).or_default();
        row.held = row.held.max(event.seq);
        plan.work
            .entry(event.epoch)
            .or_default()
            .arrived
            .insert(event.seq);
        if event.unreadable {
            plan.find(event, "ledger_unreadable");
        }
    }
    let mut starts: Vec<&Stored> = stored
        .iter()
        .filter(|event| event.start.is_some())
        .collect();
    starts.sort_by_key(|event| (event.epoch, event.seq, event.digest));
    for event in &starts {
        plan.start(epochs, event);
    }
    for event in stored {
        let first = epochs.get(&event.epoch).and_then(|row| row.first_seq);
        if first.is_some_and(|first| event.seq < first) {
            plan.find(event, "before_start");
        }
    }
    for event in stored {
        let goes_beyond = |row: &EpochRow| {
            row.replaces_key()
                && row
                    .previous
                    .is_some_and(|(epoch, end, _)| epoch == event.epoch && end < event.seq)
        };
        if epochs.values().any(goes_beyond) {
            plan.find(event, "beyond_end");
        }
    }
    let again = if starts.is_empty() { &[][..] } else { earlier };
    for Told { epoch, declaration } in told.iter().chain(again) {
        for (epoch, range) in owners(epochs, *epoch, declaration.range) {
            let whole = range.last() == declaration.range.last();
            plan.work
                .entry(epoch)
                .or_default()
                .declared
                .push(Declaration {
                    range,
                    why: declaration.why.clone(),
                    last_digest: declaration.last_digest.filter(|_| whole),
                });
        }
    }
    plan.pledge(epochs, &starts);
    plan
}

impl Plan {
    fn find(&mut self, event: &Stored, code: &'static str) {
        self.findings.push(Finding {
            epoch: event.epoch,
            seq: event.seq,
            code,
            digest: event.digest,
        });
    }

    fn start(&mut self, epochs: &mut Epochs, event: &Stored) {
        let Some(start) = &event.start else {
            return;
        };
        let row = epochs.entry(event.epoch).or_default();
        if row.first_seq.is_some() {
            // At the same seq it is a fork as well.
            self.find(event, "second_start");
            return;
        }
        row.first_seq = Some(event.seq);
        row.key_id = Some(event.key_id);
        row.reason = Some(start.reason.clone());
        self.work.entry(event.epoch).or_default().starts = Some(event.seq);
        let Some(previous) = start.previous.as_ref().filter(|_| start.is_same_device()) else {
            return;
        };
        let (before, end) = (*previous.end.epoch.as_uuid(), previous.end.seq.get());
        if before == event.epoch || end >= event.seq {
            self.find(event, "impossible_start");
            return;
        }
        let mut others = epochs.iter().filter(|(epoch, _)| **epoch != event.epoch);
        let is_second =
            others.any(|(_, other)| other.previous.is_some_and(|(it, ..)| it == before));
        if is_second {
            self.find(event, "second_successor");
        }
        if let Some(row) = epochs.get_mut(&event.epoch) {
            row.previous = Some((before, end, previous.end.digest));
        }
        let held = epochs.get(&before).map_or(0, |row| row.held);
        let arrived = self.work.get(&before).and_then(|work| work.arrived.last());
        if start.reason == KEY_CHANGED && held > end && arrived.is_none_or(|&last| last <= end) {
            // Those that arrive now are found one by one.
            self.findings.push(Finding {
                epoch: before,
                seq: end + 1,
                code: "beyond_end",
                digest: event.digest,
            });
        }
        epochs.entry(before).or_insert_with(|| EpochRow {
            key_id: Some(previous.key_id),
            ..EpochRow::default()
        });
        let work = self.work.entry(before).or_default();
        work.reaches = work.reaches.max(end);
    }

    /// What tails and later epochs say of places that are stored just now, or say just now.
    fn pledge(&mut self, epochs: &Epochs, starts: &[&Stored]) {
        for (epoch, row) in epochs {
            let is_new = starts.iter().any(|event| event.epoch == *epoch);
            let tail = row.tail.map(|(seq, digest)| (*epoch, seq, digest, false));
            let end = row
                .previous
                .map(|(before, seq, digest)| (before, seq, digest, is_new));
            for (epoch, seq, digest, is_new) in tail.into_iter().chain(end) {
                let arrived = |work: &Work| work.arrived.contains(&seq);
                if is_new || self.work.get(&epoch).is_some_and(arrived) {
                    self.pledges.push(Pledge { epoch, seq, digest });
                }
            }
        }
    }
}

/// Whose seqs these are, where the ledger of an epoch speaks of them: its own from its start on, and
/// those of the epochs before it up to where they ended. Until its start is known they are taken to
/// be its own.
fn owners(epochs: &Epochs, epoch: Uuid, range: SeqRange) -> Vec<(Uuid, SeqRange)> {
    let mut owners = Vec::new();
    let (mut epoch, mut rest) = (epoch, Some(range));
    // An epoch that names itself as one before, by however many others, is nobody's.
    let mut passed = BTreeSet::new();
    while let Some(range) = rest.filter(|_| passed.insert(epoch)) {
        let row = epochs.get(&epoch);
        let first = Seq::new(row.and_then(|row| row.first_seq).unwrap_or(1));
        owners.extend(SeqRange::new(range.first().max(first), range.last()).map(|it| (epoch, it)));
        let Some((before, end, _)) = row.and_then(|row| row.previous) else {
            break;
        };
        epoch = before;
        rest = SeqRange::new(range.first(), range.last().min(Seq::new(end)));
    }
    owners
}

/// The events of a batch by device.
pub(super) type ByDevice<T> = HashMap<String, Vec<T>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange::new(Seq::new(first), Seq::new(last)).unwrap()
    }

    fn epoch(first_seq: Option<u64>, previous: Option<(u128, u64)>) -> EpochRow {
        EpochRow {
            first_seq,
            previous: previous.map(|(epoch, end)| (Uuid::from_u128(epoch), end, Digest::ZERO)),
            ..EpochRow::default()
        }
    }

    fn of(epochs: &Epochs, epoch: u128, said: SeqRange) -> Vec<(u128, u64, u64)> {
        owners(epochs, Uuid::from_u128(epoch), said)
            .into_iter()
            .map(|(epoch, range)| (epoch.as_u128(), range.first().get(), range.last().get()))
            .collect()
    }

    #[test]
    fn what_the_ledger_says_is_shared_out_among_the_epochs_before_it() {
        let epochs = Epochs::from([
            (Uuid::from_u128(1), epoch(Some(1), None)),
            (Uuid::from_u128(2), epoch(Some(100), Some((1, 40)))),
            (Uuid::from_u128(3), epoch(Some(300), Some((2, 150)))),
            (Uuid::from_u128(4), epoch(None, None)),
        ]);
        assert_eq!(of(&epochs, 3, range(310, 320)), [(3, 310, 320)]);
        assert_eq!(
            of(&epochs, 3, range(20, 310)),
            [(3, 300, 310), (2, 100, 150), (1, 20, 40)]
        );
        // Nobody has the seqs between two epochs.
        assert_eq!(of(&epochs, 3, range(50, 90)), []);
        // Until its start is known an epoch speaks of itself alone; and so does one that is not known.
        assert_eq!(of(&epochs, 4, range(5, 9)), [(4, 5, 9)]);
        assert_eq!(of(&epochs, 5, range(5, 9)), [(5, 5, 9)]);
        // The end of one epoch is none of its own where the ledger of another speaks.
        assert_eq!(of(&epochs, 1, range(20, 60)), [(1, 20, 60)]);
    }

    #[test]
    fn epochs_that_name_each_other_as_the_one_before_end_somewhere() {
        let epochs = Epochs::from([
            (Uuid::from_u128(1), epoch(Some(50), Some((2, 90)))),
            (Uuid::from_u128(2), epoch(Some(50), Some((1, 90)))),
        ]);
        assert_eq!(of(&epochs, 1, range(1, 99)), [(1, 50, 99), (2, 50, 90)]);
    }
}
