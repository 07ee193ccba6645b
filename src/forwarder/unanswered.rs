//! The parcels that a session was given and has not answered.

use std::{collections::VecDeque, time::Duration};

use crate::seq::Seq;

/// Parcels in the order in which they were given, which is that of most answers: the one that is answered
/// is among the first.
#[derive(Default)]
pub(super) struct Unanswered {
    parcels: VecDeque<Given>,
    bytes: usize,
    /// The highest seq given: no later one is among them.
    highest: Seq,
}

struct Given {
    seq: Seq,
    bytes: usize,
    since: Duration,
}

impl Unanswered {
    /// How many bytes they have, all together.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A parcel of so many bytes is given at this time. It takes the place of one with the same seq.
    pub(super) fn give(&mut self, seq: Seq, bytes: usize, since: Duration) {
        if seq <= self.highest {
            self.answered(seq);
        }
        self.highest = self.highest.max(seq);
        self.bytes += bytes;
        self.parcels.push_back(Given { seq, bytes, since });
    }

    /// The parcel is answered. Gives when it was given; `None` where it was not, or is answered.
    pub(super) fn answered(&mut self, seq: Seq) -> Option<Duration> {
        let at = self.parcels.iter().position(|given| given.seq == seq)?;
        let given = self.parcels.remove(at)?;
        self.bytes -= given.bytes;
        Some(given.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_answered_once_in_whatever_order_and_takes_its_bytes_along() {
        let mut unanswered = Unanswered::default();
        let time = |seq| Duration::from_secs(seq);
        for seq in [5, 6, 9, 2, 7] {
            unanswered.give(Seq::new(seq), 100, time(seq));
        }
        for seq in [6, 2, 5, 7, 9] {
            assert_eq!(unanswered.answered(Seq::new(seq)), Some(time(seq)));
            assert_eq!(unanswered.answered(Seq::new(seq)), None);
        }
        assert_eq!(unanswered.bytes(), 0);
        assert_eq!(unanswered.answered(Seq::new(8)), None);
    }

    #[test]
    fn one_that_is_given_again_counts_once_and_from_then_on() {
        let mut unanswered = Unanswered::default();
        for (seq, bytes) in [(5, 100), (6, 10), (2, 1_000), (5, 1)] {
            unanswered.give(Seq::new(seq), bytes, Duration::from_secs(bytes as u64));
        }
        assert_eq!(unanswered.bytes(), 1_011);
        let since = unanswered.answered(Seq::new(5));
        assert_eq!(since, Some(Duration::from_secs(1)));
        assert_eq!(unanswered.answered(Seq::new(5)), None);
        assert_eq!(unanswered.bytes(), 1_010);
    }
}
