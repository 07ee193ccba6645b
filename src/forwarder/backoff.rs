//! How long to wait before trying again.
//!
//! Full jitter: anything between nothing and a limit that doubles. A school whose network comes
//! back has hundreds of devices that lost it in the same second; without jitter they would return
//! in step for ever.

use std::time::Duration;

/// Limit of the first wait; it doubles with every further one.
pub(super) const BASE: Duration = Duration::from_millis(100);

/// Most doublings that are counted: `BASE << 13` is above every cap in use.
const MAX_DOUBLINGS: u32 = 13;

/// Waits with full jitter, from a seed: the same seed gives the same waits.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    state: u64,
}

impl Backoff {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A wait after `failures` failures in a row, the one just seen not counted; at most `cap`.
    pub(super) fn wait(&mut self, failures: u32, cap: Duration) -> Duration {
        self.up_to((BASE * (1 << failures.min(MAX_DOUBLINGS))).min(cap))
    }

    /// A wait of anything up to `limit`.
    pub(super) fn up_to(&mut self, limit: Duration) -> Duration {
        let limit_us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random() % limit_us.saturating_add(1))
    }

    /// SplitMix64: spreads waits well enough, and a simulation can replay it.
    const fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_fill_the_whole_range() {
        let mut backoff = Backoff::new(7);
        for (failures, cap_ms, limit_ms) in [
            (0, 4_000, 100),
            (1, 4_000, 200),
            (4, 4_000, 1_600),
            (6, 4_000, 4_000),
            (60, 4_000, 4_000),
            (60, 600_000, 600_000),
        ] {
            let cap = Duration::from_millis(cap_ms);
            let limit = Duration::from_millis(limit_ms);
            let waits: Vec<_> = (0..1_000).map(|_| backoff.wait(failures, cap)).collect();
            assert!(waits.iter().all(|wait| *wait <= limit));
            assert!(waits.iter().any(|wait| *wait < limit / 10));
            assert!(waits.iter().any(|wait| *wait > limit * 9 / 10));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let (mut one, mut other) = (Backoff::new(42), Backoff::new(42));
        for failures in 0..100 {
            let cap = Duration::from_secs(30);
            assert_eq!(one.wait(failures, cap), other.wait(failures, cap));
        }
    }
}
