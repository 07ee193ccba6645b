//! Which of the groups that were found are the journal's history.
//!
//! From its end backwards: a group whose signature verifies vouches by its `prev` for the one before,
//! that one for the next, and over the start of an epoch for the epoch before. Where the chain is
//! broken, the next group below the hole has to be vouched for by its own signature again. Of two
//! histories that were begun at one seq (redb does not clear what a commit that was cut off wrote),
//! the one that the chain leads to is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::found::Found;
use crate::{
    envelope::EpochEnd,
    seq::{Seq, SeqRange},
};

/// A history, newest first.
pub(super) struct Line {
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    /// Which of the groups.
    index: usize,
    /// Whether the group above follows it.
    is_followed: bool,
}

/// What lies below needs no recovery: every required sink has it, or it is held no longer.
#[derive(Clone, Copy, Default)]
pub(super) struct Floor {
    /// Up to here every required sink has confirmed.
    pub(super) confirmed: Seq,
    /// The first event held, where that is known for sure.
    pub(super) first_held: Option<Seq>,
}

impl Line {
    /// Finds the history in what was found; `verifies` checks a group's own signature. Where redb
    /// shows a state of this `revision`, only a later one can be what lies beyond it: the rest was
    /// never committed.
    pub(super) fn find(
        groups: &[Found],
        revision: Option<u64>,
        mut verifies: impl FnMut(&Found) -> bool,
    ) -> Self {
        let mut by_end: BTreeMap<Seq, Vec<usize>> = BTreeMap::new();
        for (index, group) in groups.iter().enumerate() {
            by_end.entry(group.last).or_default().push(index);
        }
        for ends in by_end.values_mut() {
            // Without a chain that tells: what redb finds, then what was written last.
            ends.sort_by_key(|index| {
                let group = &groups[*index];
                std::cmp::Reverse((group.in_tree, group.revision))
            });
        }
        let taken_back = taken_back(groups, &by_end, &mut verifies);
        let mut line = Self { links: Vec::new() };
        let mut below = Seq::new(u64::MAX);
        let mut expected: Option<EpochEnd> = None;
        loop {
            let follows = |end: &EpochEnd| {
                let mut ending = by_end.get(&end.seq).into_iter().flatten();
                ending.find(|index| groups[**index].ends_with(end) && end.seq < below)
            };
            let link = match expected.as_ref().and_then(follows) {
                Some(index) => Some(Link {
                    index: *index,
                    is_followed: true,
                }),
                None => {
                    let candidates = by_end.range(..below).rev().flat_map(|(_, ends)| ends);
                    // A group that holds the seq that is expected, and does not end with it, is of
                    // another history.
                    let mut belongs = |index: &&usize| {
                        let group = &groups[**index];
                        let is_later = group.in_tree || group.revision > revision;
                        let is_end = line.links.is_empty() && revision.is_some();
                        (!is_end || is_later)
                            && !taken_back.contains(*index)
                            && expected.is_none_or(|end| group.last < end.seq)
                            && verifies(group)
                    };
                    candidates
                        .copied()
                        .find(|index| belongs(&index))
                        .map(|index| Link {
                            index,
                            is_followed: false,
                        })
                }
            };
            let Some(link) = link else { return line };
            let group = &groups[link.index];
            below = group.first;
            expected = group.follows();
            line.links.push(link);
        }
    }

    /// Leaves out what need not be recovered. What redb holds stays, and so does what joins it.
    pub(super) fn cut(&mut self, groups: &[Found], floor: Floor) {
        let needed = |link: &Link| {
            let group = &groups[link.index];
            let was_held = match floor.first_held {
                Some(first) => group.last >= first,
                None => group.last > floor.confirmed || link.is_followed,
            };
            group.in_tree || was_held
        };
        let keep = self.links.iter().take_while(|link| needed(link)).count();
        // The last row is never trimmed.
        self.links.truncate(keep.max(1));
    }

    /// The groups, oldest first.
    pub(super) fn groups<'a>(&self, groups: &'a [Found]) -> Vec<&'a Found> {
        let ascending = self.links.iter().rev();
        ascending.map(|link| &groups[link.index]).collect()
    }
}

/// The groups of commits that a crash took back, as far as they reach beyond what was committed since:
/// seqs rise with revisions, so a group is none of the history where one of a later revision ends
/// before it does.
fn taken_back(
    groups: &[Found],
    by_end: &BTreeMap<Seq, Vec<usize>>,
    verifies: &mut impl FnMut(&Found) -> bool,
) -> BTreeSet<usize> {
    let mut taken_back = BTreeSet::new();
    let mut newest: Option<&Found> = None;
    for ends in by_end.values() {
        for index in ends {
            let group = &groups[*index];
            if let Some(later) = newest
                && group.revision.is_some()
                && group.revision < later.revision
                && verifies(later)
            {
                taken_back.insert(*index);
            }
        }
        let here = ends.iter().map(|index| &groups[*index]);
        newest = here.chain(newest).max_by_key(|group| group.revision);
    }
    taken_back
}

/// What is not among these groups of what was given out: between two of them, and between `floor`
/// and the first. Seqs that an epoch left out were never given out.
pub(super) fn missing(groups: &[&Found], floor: Floor) -> Vec<SeqRange> {
    let mut missing = Vec::new();
    let mut known = match floor.first_held {
        Some(first) => first.prev(),
        None => floor.confirmed,
    };
    for group in groups {
        let before = match &group.start {
            Some(start) => start.previous.map_or(Seq::NONE, |end| end.seq),
            None => group.first.prev(),
        };
        missing.extend(SeqRange::new(known.next(), before));
        known = known.max(group.last);
    }
    missing
}
