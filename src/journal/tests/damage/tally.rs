//! What became of damaged journals, counted.

/// What became of damaged journals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) tried: u64,
    pub(super) refused_at_open: u64,
    pub(super) damage_read: u64,
    pub(super) untouched: u64,
    /// Nobody but the scan looks there, and it finds what it would have found.
    pub(super) unread: u64,
    pub(super) recovered: u64,
    pub(super) called_newer: u64,
    /// The process ended while the journal was opened, read or appended to.
    pub(super) ended_in_use: u64,
    /// It ended while the journal was looked at to recover it.
    pub(super) ended_in_recovery: u64,
    /// The recovery after that saved what was not hit.
    pub(super) ended_and_recovered: u64,
}

impl Tally {
    pub(super) fn words(&self) -> [u64; 10] {
        [
            self.tried,
            self.refused_at_open,
            self.damage_read,
            self.untouched,
            self.recovered,
            self.called_newer,
            self.ended_in_use,
            self.ended_in_recovery,
            self.ended_and_recovered,
            self.unread,
        ]
    }

    pub(super) fn of_words(words: &[u64]) -> Self {
        Self {
            tried: words[0],
            refused_at_open: words[1],
            damage_read: words[2],
            untouched: words[3],
            recovered: words[4],
            called_newer: words[5],
            ended_in_use: words[6],
            ended_in_recovery: words[7],
            ended_and_recovered: words[8],
            unread: words[9],
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let words = self.words().into_iter().zip(other.words());
        let sums: Vec<u64> = words.map(|(one, other)| one + other).collect();
        *self = Self::of_words(&sums);
    }
}
