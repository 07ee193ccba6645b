//! The clock: whether it can be believed, and whether a power cut makes it forget.

use std::fs;

use crate::{
    clock::{ClockSync, Stamp},
    finding::{Check, Finding, Verdict},
};

/// 2100-01-01T00:00:00Z in microseconds: certificates have run out by then.
const BEYOND_SENSE_US: i64 = 4_102_444_800_000_000;
const SET_IT: &str = "let the network set it: `timedatectl set-ntp true`, and a name server and a \
                      time server that this device reaches";

/// Whether this device has a clock chip.
pub(super) fn has_chip() -> bool {
    fs::read_dir("/sys/class/rtc").is_ok_and(|mut chips| chips.next().is_some())
}

pub(super) fn findings(stamp: &Stamp, has_chip: bool) -> [Finding; 2] {
    let wall = stamp.wall;
    let warn =
        |what: &str| Finding::warn(Check::Clock, format!("{wall}: {what}"), SET_IT.to_owned());
    let is_sensible = stamp.is_plausible() && wall.as_micros() < BEYOND_SENSE_US;
    let clock = match stamp.sync {
        _ if !is_sensible => {
            warn("not the present, so certificates seem out of date and times are wrong")
        }
        ClockSync::No => warn("nothing has set it since this device was switched on"),
        ClockSync::Yes => Finding::ok(Check::Clock, format!("{wall}, set")),
        ClockSync::Unknown => Finding::ok(
            Check::Clock,
            format!("{wall}; the kernel does not say whether it is set"),
        ),
    };
    let chip = match (has_chip, clock.verdict == Verdict::Ok) {
        (true, _) => Finding::ok(Check::ClockChip, "there is one"),
        (false, true) => Finding::ok(
            Check::ClockChip,
            "none: after each start the time is wrong until the network sets it",
        ),
        (false, false) => Finding::warn(
            Check::ClockChip,
            "none, so the clock waits for the network",
            "passes once the network sets the clock; a clock chip with a battery would keep it"
                .to_owned(),
        ),
    };
    [clock, chip]
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use Verdict::{Ok, Warn};

    fn verdicts(wall: &str, sync: ClockSync, has_chip: bool) -> [Verdict; 2] {
        let stamp = Stamp {
            wall: wall.parse().unwrap(),
            sync,
            boot_id: Uuid::nil(),
            boottime_us: 0,
        };
        findings(&stamp, has_chip).map(|finding| {
            assert_eq!(finding.hint.is_some(), finding.verdict != Ok);
            finding.verdict
        })
    }

    #[test]
    fn a_clock_that_cannot_be_believed_is_a_warning_and_a_missing_chip_only_with_it() {
        let today = "2026-11-21T08:00:00Z";
        for (wall, sync, has_chip, expected) in [
            (today, ClockSync::Yes, true, [Ok, Ok]),
            (today, ClockSync::Yes, false, [Ok, Ok]),
            (today, ClockSync::Unknown, false, [Ok, Ok]),
            (today, ClockSync::No, true, [Warn, Ok]),
            (today, ClockSync::No, false, [Warn, Warn]),
            ("1970-01-01T00:00:12Z", ClockSync::Yes, true, [Warn, Ok]),
            (
                "1970-01-01T00:00:12Z",
                ClockSync::Unknown,
                false,
                [Warn, Warn],
            ),
            ("2106-02-07T06:28:15Z", ClockSync::Yes, true, [Warn, Ok]),
        ] {
            assert_eq!(verdicts(wall, sync, has_chip), expected, "{wall} {sync:?}");
        }
    }
}
