//! Chance that a seed replays.

use crate::journal::tests::next_random;

/// Draws; the same seed draws the same.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD129_42E4_2F8A_91C5) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub(super) fn roll(&mut self) -> u64 {
        next_random(&mut self.0)
    }

    /// Below `bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len() as u64) as usize]
    }

    /// The place of one of so many; `None` of none.
    pub(super) fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len as u64) as usize)
    }
}
