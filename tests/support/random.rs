//! Numbers by chance that a seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

/// The variable that sets the seed.
const SEED: &str = "EDGE_OUTBOX_SEED";

/// SplitMix64: the same seed gives the same numbers.
pub(crate) struct Random(u64);

impl Random {
    /// From the seed in `EDGE_OUTBOX_SEED`, else from another one each time. Prints it.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var(SEED).map(|seed| seed.parse().expect("a number as the seed"));
        let seed = given.unwrap_or_else(|_| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos())
        });
        println!("{SEED}={seed}");
        Self(seed)
    }

    /// Another source, which this one decides.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `first` to `last`.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.next() % (last - first + 1)
    }

    /// Puts them into any order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.between(0, end as u64) as usize;
            items.swap(end, other);
        }
    }
}
