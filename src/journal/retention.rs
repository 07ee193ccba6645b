//! What is kept longer than it must be, and what goes when there is no room.

use std::time::Duration;

use crate::clock::Stamp;

/// What happens to an append that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It is refused; nothing that was taken before is given up.
    #[default]
    Reject,
    /// The oldest events are given up for it, delivered or not, and the loss ledger says which.
    DropOldest,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// What happens where there is no room.
    pub(crate) when_full: WhenFull,
    /// So many bytes are kept although every required sink has them.
    pub(crate) keep_bytes: u64,
    /// As long an event is kept although every required sink has it, counted from when it was
    /// taken in.
    pub(crate) keep_for: Duration,
}

impl Retention {
    /// Nothing is kept that need not be, and nothing is given up.
    pub(crate) const DEFAULT: Self = Self {
        when_full: WhenFull::Reject,
        keep_bytes: 0,
        keep_for: Duration::ZERO,
    };

    /// Whether delivered events are kept at all.
    pub(super) const fn keeps(&self) -> bool {
        self.keep_bytes > 0 || !self.keep_for.is_zero()
    }
}

/// How long ago `then` was, at least. Within a boot, the time since boot says it. Over a restart the
/// wall clock does, where it was set then and is now; where it was not, `then` lies before this boot
/// began, and no more is known.
pub(super) fn age(now: Stamp, then: Stamp) -> Duration {
    let micros = if now.boot_id == then.boot_id && !now.boot_id.is_nil() {
        now.boottime_us.saturating_sub(then.boottime_us)
    } else {
        let by_clock = match now.is_set() && then.is_set() {
            true => now.wall.as_micros().saturating_sub(then.wall.as_micros()),
            false => 0,
        };
        let this_boot = match now.boot_id.is_nil() || then.boot_id.is_nil() {
            true => 0,
            false => now.boottime_us,
        };
        u64::try_from(by_clock).unwrap_or(0).max(this_boot)
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::{ClockSync, Timestamp};

    const DAY: u64 = 86_400_000_000;

    fn stamp(wall_days: i64, sync: ClockSync, boot: u128, boottime_us: u64) -> Stamp {
        let since = 1_790_000_000_000_000;
        Stamp {
            wall: Timestamp::from_micros(since + wall_days * 86_400_000_000).unwrap(),
            sync,
            boot_id: Uuid::from_u128(boot),
            boottime_us,
        }
    }

    #[test]
    fn an_age_never_comes_from_a_clock_that_is_not_set() {
        use ClockSync::{No, Yes};
        let cases = [
            // In one boot, whatever the clock did meanwhile.
            (stamp(900, No, 1, 5 * DAY), stamp(0, No, 1, DAY), 4 * DAY),
            (stamp(0, Yes, 1, 5 * DAY), stamp(900, Yes, 1, DAY), 4 * DAY),
            // Over a restart: by the clock, where it was set both times.
            (stamp(9, Yes, 2, DAY), stamp(2, Yes, 1, 5 * DAY), 7 * DAY),
            (stamp(900, No, 2, DAY), stamp(2, Yes, 1, 0), DAY),
            (stamp(900, Yes, 2, DAY), stamp(2, No, 1, 0), DAY),
            // A clock that went back: nothing but this boot is sure.
            (stamp(1, Yes, 2, DAY), stamp(5, Yes, 1, 0), DAY),
            // No boot is known.
            (stamp(900, No, 0, DAY), stamp(2, No, 0, 0), 0),
        ];
        for (now, then, micros) in cases {
            assert_eq!(
                age(now, then),
                Duration::from_micros(micros),
                "{now:?} {then:?}"
            );
        }
    }
}
