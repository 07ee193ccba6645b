//! How fast a sink is sent to, at most.
//!
//! A token bucket that may go into debt, told the time and never asking for it. What is handed
//! over is charged for; the next parcel waits until there is credit for one event and one byte
//! again. So a parcel of any size passes, and the ones after it pay for it by waiting.
//!
//! Credit grows to what one second allows and no further: however long a sink was away, over any
//! `t` seconds it is handed at most `t + 1` seconds' worth, beside one parcel.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

/// The most credit that is kept, as the time that it takes to grow.
const BURST: Duration = Duration::from_secs(1);

/// The most that a sink is handed in a second, repeats included. Without a number there is no
/// limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MaxRate {
    /// Events per second.
    pub events: Option<NonZeroU32>,
    /// Bytes of messages per second, without what the protocol adds to each.
    pub bytes: Option<NonZeroU64>,
}

impl MaxRate {
    /// Whether there is any limit.
    pub(super) const fn is_limited(self) -> bool {
        self.events.is_some() || self.bytes.is_some()
    }
}

/// Keeps one sink to a [`MaxRate`]. Times are durations since any one moment.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    events: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Throttle {
    /// With all the credit there can be.
    pub(super) fn new(rate: MaxRate) -> Self {
        Self {
            events: rate.events.map(|rate| Bucket::new(rate.into())),
            bytes: rate.bytes.map(Bucket::new),
        }
    }

    /// When the next parcel may be handed over; in the past where it may be at once.
    pub(super) fn ready_at(&self) -> Duration {
        let buckets = [&self.events, &self.bytes].into_iter().flatten();
        buckets.map(Bucket::ready_at).max().unwrap_or_default()
    }

    /// A parcel of so many bytes was handed over.
    pub(super) fn charge(&mut self, bytes: usize, now: Duration) {
        if let Some(bucket) = &mut self.events {
            bucket.charge(1, now);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.charge(u64::try_from(bytes).unwrap_or(u64::MAX), now);
        }
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    per_second: NonZeroU64,
    /// When the credit would be full again. Further away than [`BURST`], it is a debt.
    full_at: Duration,
}

impl Bucket {
    const fn new(per_second: NonZeroU64) -> Self {
        Self {
            per_second,
            full_at: Duration::ZERO,
        }
    }

    /// When there is credit for one unit.
    fn ready_at(&self) -> Duration {
        self.full_at
            .saturating_add(self.cost(1))
            .saturating_sub(BURST)
    }

    fn charge(&mut self, units: u64, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(self.cost(units));
    }

    /// How long so many units take to be paid for; rounded up, so that many small ones do not add
    /// up to more than is allowed.
    fn cost(&self, units: u64) -> Duration {
        let second = Duration::from_secs(1).as_nanos();
        let nanos = (u128::from(units) * second).div_ceil(self.per_second.get().into());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(events: u32, bytes: u64) -> Throttle {
        Throttle::new(MaxRate {
            events: NonZeroU32::new(events),
            bytes: NonZeroU64::new(bytes),
        })
    }

    /// Hands over parcels of these sizes, one after the other, each as soon as it may go; gives
    /// the moments.
    fn hand_over(throttle: &mut Throttle, begin: Duration, sizes: &[usize]) -> Vec<Duration> {
        let mut now = begin;
        let hand_over = |bytes: &usize| {
            now = now.max(throttle.ready_at());
            throttle.charge(*bytes, now);
            now
        };
        sizes.iter().map(hand_over).collect()
    }

    /// Asserts that no run of parcels was handed over faster than a second's worth at once and
    /// the rate from then on, the last of them not counted.
    fn assert_kept(moments: &[Duration], sizes: &[u64], per_second: u64) {
        for first in 0..moments.len() {
            let mut units = 0;
            for last in first..moments.len() {
                let span = (moments[last] - moments[first] + BURST).as_secs_f64();
                let allowed = span * per_second as f64;
                assert!(
                    units as f64 <= allowed + 1e-3,
                    "{units} from {first} to {last}"
                );
                units += sizes[last];
            }
        }
    }

    #[test]
    fn events_pass_at_the_rate_after_one_second_s_worth() {
        let moment = Duration::from_micros(1);
        for rate in [1, 3, 100, 1_000] {
            let mut throttle = throttle(rate, 0);
            let moments = hand_over(&mut throttle, Duration::ZERO, &vec![100; rate as usize + 3]);
            let at_once = moments.iter().filter(|at| **at < moment).count();
            assert_eq!(at_once, rate as usize);
            let apart = Duration::from_secs(1) / rate;
            let late = moments[rate as usize + 2].saturating_sub(apart * 3);
            assert!(late < moment, "{rate}: {late:?} late");
        }
    }

    #[test]
    fn whatever_the_sizes_no_stretch_of_time_has_more_than_its_share() {
        let sizes: Vec<usize> = (0..400).map(|n| (n * 7919) % 5_000).collect();
        let mut by_bytes = throttle(0, 10_000);
        let moments = hand_over(&mut by_bytes, Duration::from_secs(9), &sizes);
        let bytes: Vec<u64> = sizes.iter().map(|size| *size as u64).collect();
        assert_kept(&moments, &bytes, 10_000);
        let mut by_both = throttle(50, 100_000);
        let moments = hand_over(&mut by_both, Duration::ZERO, &sizes);
        assert_kept(&moments, &bytes, 100_000);
        assert_kept(&moments, &vec![1; sizes.len()], 50);
    }

    #[test]
    fn a_parcel_larger_than_a_second_s_worth_passes_and_is_paid_for_afterwards() {
        let mut throttle = throttle(0, 1_000);
        let moments = hand_over(&mut throttle, Duration::ZERO, &[10_000, 1, 1]);
        assert_eq!(moments[0], Duration::ZERO);
        assert_eq!(moments[1], Duration::from_millis(9_001));
        assert_eq!(moments[2], Duration::from_millis(9_002));
    }

    #[test]
    fn a_long_rest_saves_up_no_more_than_a_second_s_worth() {
        let mut throttle = throttle(10, 0);
        hand_over(&mut throttle, Duration::ZERO, &[1; 10]);
        let hour = Duration::from_secs(3_600);
        let moments = hand_over(&mut throttle, hour, &[1; 12]);
        assert_eq!(moments.iter().filter(|at| **at == hour).count(), 10);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut throttle = throttle(0, 0);
        throttle.charge(usize::MAX, Duration::ZERO);
        assert_eq!(throttle.ready_at(), Duration::ZERO);
    }

    #[test]
    fn the_largest_debt_does_not_overflow() {
        let mut throttle = throttle(1, 1);
        for _ in 0..3 {
            throttle.charge(usize::MAX, Duration::MAX);
        }
        assert!(throttle.ready_at() > Duration::from_secs(1 << 60));
    }
}
