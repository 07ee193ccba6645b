//! The arithmetic of gaps: which seqs of an epoch are not held, and which of those never will be.

use std::collections::BTreeMap;

use crate::{digest::Digest, seq::SeqRange};

/// A run of seqs that are not held, from the seq under which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The last of them.
    pub(super) last: u64,
    /// When it was noticed, in microseconds since 1970.
    pub(super) opened_us: i64,
    /// Why they will not come, as the device says; `None` while they are missing.
    pub(super) declared: Option<Declared>,
}

/// What a device says of a run of seqs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// A code.
    pub(super) why: String,
    /// When that was learned, in microseconds since 1970.
    pub(super) at_us: i64,
    /// The digest of the last, where the device told it.
    pub(super) last_digest: Option<Digest>,
}

/// The gaps of one epoch, as far as what is done with it touches them.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// The epoch's first seq; 1 until it is known.
    first: u64,
    highest: u64,
    gaps: BTreeMap<u64, Gap>,
    /// What the table has.
    kept: BTreeMap<u64, Gap>,
    now_us: i64,
}

/// What has to change in the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Gaps to be removed, by their first seq; before the others are written.
    pub(super) removed: Vec<u64>,
    /// Gaps to be written.
    pub(super) written: Vec<(u64, Gap)>,
}

impl Account {
    /// What the tables say: `gaps` has at least those that overlap with whatever follows.
    pub(super) fn new(
        first: Option<u64>,
        highest: u64,
        gaps: BTreeMap<u64, Gap>,
        now_us: i64,
    ) -> Self {
        Self {
            first: first.unwrap_or(1),
            highest,
            kept: gaps.clone(),
            gaps,
            now_us,
        }
    }

    /// The highest seq that is known of.
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// An event is held. Of a seq that was held before, nothing changes.
    pub(super) fn arrived(&mut self, seq: u64) {
        self.reaches(seq);
        let Some((first, gap)) = self.take_around(seq) else {
            return;
        };
        if first < seq {
            self.gaps.insert(first, gap.cut_to(seq - 1));
        }
        if seq < gap.last {
            self.gaps.insert(seq + 1, gap);
        }
    }

    /// The epoch goes at least as far as this.
    pub(super) fn reaches(&mut self, seq: u64) {
        let first = self.first.max(self.highest + 1);
        if seq >= first {
            let gap = Gap {
                last: seq,
                opened_us: self.now_us,
                declared: None,
            };
            self.gaps.insert(first, gap);
        }
        self.highest = self.highest.max(seq);
    }

    /// The epoch begins here: what lies before is no gap of it. Gives how many seqs before it are
    /// held all the same, which no honest device makes.
    pub(super) fn starts(&mut self, seq: u64) -> u64 {
        let below = self.gaps.range(..seq);
        let missing: u64 = below
            .map(|(&first, gap)| gap.last.min(seq - 1) - first + 1)
            .sum();
        let known = seq.min(self.highest + 1).saturating_sub(self.first);
        self.first = seq;
        let mut from_here = self.gaps.split_off(&seq);
        if let Some((_, gap)) = self.gaps.pop_last()
            && gap.last >= seq
        {
            from_here.insert(seq, gap);
        }
        self.gaps = from_here;
        known.saturating_sub(missing)
    }

    /// The device says that these will not come. It counts for what is missing and not declared.
    pub(super) fn declared(&mut self, range: SeqRange, why: &str, last_digest: Option<Digest>) {
        let (first, last) = (range.first().get(), range.last().get());
        let open: Vec<u64> = self
            .gaps
            .range(..=last)
            .rev()
            .take_while(|(_, gap)| gap.last >= first)
            .filter(|(_, gap)| gap.declared.is_none())
            .map(|(&first, _)| first)
            .collect();
        for at in open {
            let Some(gap) = self.gaps.remove(&at) else {
                continue;
            };
            if at < first {
                self.gaps.insert(at, gap.cut_to(first - 1));
            }
            if last < gap.last {
                self.gaps.insert(last + 1, gap.clone());
            }
            let end = gap.last.min(last);
            let declared = Declared {
                why: why.to_owned(),
                at_us: self.now_us,
                last_digest: last_digest.filter(|_| end == last),
            };
            let gap = Gap {
                last: end,
                opened_us: gap.opened_us,
                declared: Some(declared),
            };
            self.gaps.insert(at.max(first), gap);
        }
    }

    /// What differs from the table.
    pub(super) fn changes(&self) -> Changes {
        let differs =
            |from: &BTreeMap<u64, Gap>, first: &u64, gap: &Gap| from.get(first) != Some(gap);
        let removed = self
            .kept
            .iter()
            .filter(|(first, gap)| differs(&self.gaps, first, gap));
        let written = self
            .gaps
            .iter()
            .filter(|(first, gap)| differs(&self.kept, first, gap));
        Changes {
            removed: removed.map(|(&first, _)| first).collect(),
            written: written.map(|(&first, gap)| (first, gap.clone())).collect(),
        }
    }

    fn take_around(&mut self, seq: u64) -> Option<(u64, Gap)> {
        let (&first, gap) = self.gaps.range(..=seq).next_back()?;
        if gap.last < seq {
            return None;
        }
        self.gaps.remove_entry(&first)
    }
}

impl Gap {
    /// The part up to a seq before its last: the digest of the last is not that of the part's.
    fn cut_to(&self, last: u64) -> Self {
        let mut part = self.clone();
        part.last = last;
        if let Some(declared) = &mut part.declared {
            declared.last_digest = None;
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::seq::Seq;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange::new(Seq::new(first), Seq::new(last)).unwrap()
    }

    fn fresh() -> Account {
        Account::new(None, 0, BTreeMap::new(), 7)
    }

    fn open(account: &Account) -> Vec<(u64, u64)> {
        let missing = account
            .gaps
            .iter()
            .filter(|(_, gap)| gap.declared.is_none());
        missing.map(|(&first, gap)| (first, gap.last)).collect()
    }

    fn lost(account: &Account) -> Vec<(u64, u64)> {
        let lost = account
            .gaps
            .iter()
            .filter(|(_, gap)| gap.declared.is_some());
        lost.map(|(&first, gap)| (first, gap.last)).collect()
    }

    #[test]
    fn what_is_jumped_over_is_missing_until_it_comes() {
        let mut account = fresh();
        account.arrived(1);
        account.arrived(5);
        assert_eq!(open(&account), [(2, 4)]);
        account.arrived(3);
        account.arrived(3);
        account.arrived(5);
        assert_eq!(open(&account), [(2, 2), (4, 4)]);
        account.arrived(2);
        account.arrived(4);
        assert_eq!((open(&account), account.highest()), (vec![], 5));
    }

    #[test]
    fn until_its_start_is_known_an_epoch_reaches_down_to_the_first_seq_there_can_be() {
        let mut account = fresh();
        account.arrived(40);
        assert_eq!(open(&account), [(1, 39)]);
        account.arrived(30);
        assert_eq!(account.starts(30), 0);
        assert_eq!(open(&account), [(31, 39)]);
        account.reaches(42);
        assert_eq!(open(&account), [(31, 39), (41, 42)]);
        let mut account = fresh();
        account.reaches(9);
        account.arrived(2);
        assert_eq!(account.starts(4), 1);
        assert_eq!(open(&account), [(4, 9)]);
    }

    #[test]
    fn what_is_declared_counts_for_what_is_missing_and_an_arrival_counts_more() {
        let mut account = fresh();
        for seq in [1, 5, 10] {
            account.arrived(seq);
        }
        let digest = Digest([3; 32]);
        account.declared(range(3, 8), "dropped", Some(digest));
        assert_eq!(open(&account), [(2, 2), (9, 9)]);
        assert_eq!(lost(&account), [(3, 4), (6, 8)]);
        let told = |account: &Account, first| {
            let declared = account.gaps.get(&first).unwrap().declared.clone();
            declared.unwrap().last_digest
        };
        assert_eq!((told(&account, 3), told(&account, 6)), (None, Some(digest)));
        // What was declared first stands.
        account.declared(range(1, 10), "lost", None);
        assert_eq!(lost(&account), [(2, 2), (3, 4), (6, 8), (9, 9)]);
        assert_eq!(told(&account, 6), Some(digest));
        account.arrived(7);
        assert_eq!(lost(&account), [(2, 2), (3, 4), (6, 6), (8, 8), (9, 9)]);
        assert_eq!((told(&account, 6), told(&account, 8)), (None, Some(digest)));
        assert_eq!(open(&account), []);
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut account = fresh();
        account.arrived(1);
        account.arrived(9);
        let mut later = Account::new(Some(1), 9, account.gaps.clone(), 8);
        assert_eq!(later.changes(), Changes::default());
        later.arrived(4);
        let changes = later.changes();
        assert_eq!(changes.removed, [2]);
        let written: Vec<_> = changes
            .written
            .iter()
            .map(|(first, gap)| (*first, gap.last))
            .collect();
        assert_eq!(written, [(2, 3), (5, 8)]);
        assert!(changes.written.iter().all(|(_, gap)| gap.opened_us == 7));
    }

    #[test]
    fn in_whatever_order_events_come_the_gaps_are_what_is_missing() {
        let mut state = 0x9E37_79B9_u64;
        let mut next = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let (mut account, mut held, mut declared) = (fresh(), BTreeSet::new(), BTreeSet::new());
            let mut highest = 0;
            for _ in 0..40 {
                let seq = 1 + next(30);
                match next(5) {
                    0 => {
                        let last = seq + next(6);
                        account.declared(range(seq, last), "lost", None);
                        let missing = (seq..=last.min(highest)).filter(|seq| !held.contains(seq));
                        declared.extend(missing);
                    }
                    1 => {
                        account.reaches(seq);
                        highest = highest.max(seq);
                    }
                    _ => {
                        account.arrived(seq);
                        held.insert(seq);
                        declared.remove(&seq);
                        highest = highest.max(seq);
                    }
                }
                let seqs = |runs: Vec<(u64, u64)>| -> BTreeSet<u64> {
                    runs.into_iter()
                        .flat_map(|(first, last)| first..=last)
                        .collect()
                };
                assert_eq!(seqs(lost(&account)), declared);
                let missing: BTreeSet<u64> = (1..=highest)
                    .filter(|seq| !held.contains(seq) && !declared.contains(seq))
                    .collect();
                assert_eq!(seqs(open(&account)), missing);
            }
        }
    }
}
