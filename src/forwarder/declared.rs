//! What the ledger has been told is trimmed because the hub asked for it.

use crate::seq::SeqRange;

/// Ranges that are kept. What of one before is asked for again is told again.
const MAX_RANGES: usize = 256;

/// Ascending, and none touches the next.
#[derive(Debug, Default)]
pub(super) struct Declared(Vec<SeqRange>);

impl Declared {
    /// The first of these that nobody has told, with what follows it up to the next that somebody has.
    pub(super) fn untold(&self, trimmed: SeqRange) -> Option<SeqRange> {
        let (mut first, mut last) = (trimmed.first(), trimmed.last());
        for told in &self.0 {
            if told.contains(first) {
                first = told.last().next();
            } else if told.first() > first {
                last = last.min(told.first().prev());
                break;
            }
        }
        SeqRange::new(first, last)
    }

    /// These are told now.
    pub(super) fn note(&mut self, told: SeqRange) {
        let (mut first, mut last) = (told.first(), told.last());
        self.0.retain(|other| {
            let apart = other.last().next() < first || last.next() < other.first();
            if !apart {
                (first, last) = (first.min(other.first()), last.max(other.last()));
            }
            apart
        });
        let place = self.0.partition_point(|other| other.first() < first);
        let range = SeqRange::new(first, last);
        self.0.splice(place..place, range);
        if self.0.len() > MAX_RANGES {
            self.0.remove(if place == 0 { 1 } else { 0 });
        }
    }

    /// Whoever was told has forgotten it.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::Seq;

    fn range((first, last): (u64, u64)) -> SeqRange {
        SeqRange::new(Seq::new(first), Seq::new(last)).unwrap()
    }

    #[test]
    fn what_is_trimmed_is_told_once_whatever_comes_first() {
        let mut declared = Declared::default();
        let mut tell = |trimmed| {
            let mut told = Vec::new();
            while let Some(untold) = declared.untold(range(trimmed)) {
                declared.note(untold);
                told.push((untold.first().get(), untold.last().get()));
            }
            told
        };
        assert_eq!(tell((101, 249)), [(101, 249)]);
        assert_eq!(tell((60, 70)), [(60, 70)]);
        assert_eq!(tell((1, 260)), [(1, 59), (71, 100), (250, 260)]);
        assert_eq!(tell((1, 260)), []);
        declared.clear();
        assert_eq!(declared.untold(range((5, 5))), Some(range((5, 5))));
    }

    #[test]
    fn it_is_bounded_and_telling_comes_to_an_end() {
        let mut declared = Declared::default();
        for first in (0..2 * MAX_RANGES as u64).map(|number| 10 * number + 1) {
            declared.note(range((first, first)));
        }
        assert_eq!(declared.0.len(), MAX_RANGES);
        let all = range((1, 20 * MAX_RANGES as u64));
        let mut steps = 0;
        while let Some(untold) = declared.untold(all) {
            declared.note(untold);
            steps += 1;
            assert!(steps <= 2 * MAX_RANGES);
        }
        assert_eq!(declared.0, [all]);
    }
}
