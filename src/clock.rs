//! What the device knows of the time.
//!
//! Many of these boards have no clock chip: until the network sets it, the wall clock may say
//! 1970, or the moment of the last shutdown. So an event carries, beside the wall clock, the
//! kernel's own opinion on whether that clock is set, the identity of this boot, and the time
//! since boot, from which the hub derives the true time later.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A moment, in microseconds since 1970-01-01T00:00:00Z, within the years 1 to 9998: those that
/// RFC 3339 can write and the time types of common languages can hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text or a number is no [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// The text is not an RFC 3339 time with an offset.
    #[error("{0:?} is not an RFC 3339 time such as 2026-03-01T08:00:00Z")]
    NotRfc3339(String),
    /// The number of microseconds lies outside the years 1 to 9998.
    #[error("{0} µs lies outside the years 1 to 9998")]
    OutOfRange(i64),
}

/// Longest text that is tried as a time; RFC 3339 with nanoseconds and an offset has 35.
const MAX_TEXT_BYTES: usize = 64;
/// 0001-01-01T00:00:00Z.
const MIN_MICROS: i64 = -62_135_596_800_000_000;
/// 9998-12-31T23:59:59.999999Z.
const MAX_MICROS: i64 = 253_370_764_799_999_999;

impl Timestamp {
    /// The moment this many microseconds after (or, negative, before) the Unix epoch.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`] outside the years 1 to 9998.
    pub fn from_micros(micros: i64) -> Result<Self, TimestampError> {
        if (MIN_MICROS..=MAX_MICROS).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(TimestampError::OutOfRange(micros))
        }
    }

    /// As [`FromStr`], for a text that names exactly this moment: one between two microseconds is
    /// refused, and so is a leap second, which would be read as the second before it.
    pub(crate) fn exactly(text: &str) -> Option<Self> {
        let (minute, second) = text.get(..19)?.rsplit_once(':')?;
        let fraction = text.get(19..)?.strip_prefix('.').unwrap_or_default();
        let mut finer = fraction.bytes().take_while(u8::is_ascii_digit).skip(6);
        let is_exact = minute.len() == 16 && second != "60" && finer.all(|digit| digit == b'0');
        text.parse().ok().filter(|_| is_exact)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The wall clock now, set or not.
    #[must_use]
    pub fn now() -> Self {
        jiff::Timestamp::now().into()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    /// Keeps microseconds; finer digits are cut off. What lies outside the years 1 to 9998 becomes
    /// the nearest moment within.
    fn from(at: jiff::Timestamp) -> Self {
        Self(at.as_microsecond().clamp(MIN_MICROS, MAX_MICROS))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// RFC 3339 with an offset. Digits finer than a microsecond are cut off.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let refused = || TimestampError::NotRfc3339(text.chars().take(MAX_TEXT_BYTES).collect());
        // jiff reads more than RFC 3339 (a bracketed zone, for one); the profile is checked here.
        let plain = text.len() <= MAX_TEXT_BYTES
            && text
                .as_bytes()
                .get(10)
                .is_some_and(|t| matches!(t, b'T' | b't' | b' '))
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"-+:.TtZz ".contains(&b));
        if !plain {
            return Err(refused());
        }
        let at = text.parse::<jiff::Timestamp>().map_err(|_| refused())?;
        Self::from_micros(at.as_microsecond())
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, always with six digits of microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{at:.6}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether the wall clock is set, in the kernel's own opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockSync {
    /// The kernel says that nothing has disciplined the clock.
    No,
    /// The kernel says that the clock is disciplined.
    Yes,
    /// The kernel would not say (a sandbox hides it, or it is not Linux).
    Unknown,
}

/// One reading of all clocks, taken when an event is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The wall clock.
    pub wall: Timestamp,
    /// Whether the wall clock is set.
    pub sync: ClockSync,
    /// The kernel's identity of this boot; nil where there is none.
    pub boot_id: Uuid,
    /// Microseconds since boot, counting suspend.
    pub boottime_us: u64,
}

/// 2025-01-01T00:00:00Z in microseconds: earlier than this software, so a clock that says less
/// was never set, whatever the kernel thinks.
pub(crate) const BEFORE_THIS_SOFTWARE_US: i64 = 1_735_689_600_000_000;

impl Stamp {
    /// Whether the wall clock can be trusted to judge a date.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        !matches!(self.sync, ClockSync::No) && self.is_plausible()
    }

    /// Whether the wall clock says what it can say while this software is there.
    pub(crate) const fn is_plausible(&self) -> bool {
        self.wall.0 >= BEFORE_THIS_SOFTWARE_US
    }
}

/// Where time comes from. Handed in, so that a test can replay it.
pub trait Clock: Send + Sync + 'static {
    /// Reads all clocks.
    fn stamp(&self) -> Stamp;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    boot_id: Uuid,
}

impl SystemClock {
    /// Reads the identity of this boot once; it cannot change while the process lives.
    #[must_use]
    pub fn new() -> Self {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(Uuid::nil());
        Self { boot_id }
    }

    /// Whether the wall clock is set, in the kernel's own opinion.
    #[must_use]
    pub fn sync() -> ClockSync {
        kernel_sync()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn stamp(&self) -> Stamp {
        Stamp {
            wall: Timestamp::now(),
            sync: kernel_sync(),
            boot_id: self.boot_id,
            boottime_us: boottime_us(),
        }
    }
}

/// Microseconds since boot, counting suspend.
pub(crate) fn boottime_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1_000)
}

#[expect(
    unsafe_code,
    reason = "adjtimex(2) has no safe wrapper among the crates in use"
)]
fn kernel_sync() -> ClockSync {
    // SAFETY: `timex` is plain integers, for which all zeros is a value; with `modes` 0 the call
    // only reads the kernel's state into the struct, which outlives it.
    let answer = unsafe {
        let mut state: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut state)
    };
    match answer {
        -1 => ClockSync::Unknown,
        libc::TIME_ERROR => ClockSync::No,
        _ => ClockSync::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_any_offset_and_written_in_utc_with_microseconds() {
        let at: Timestamp = "2026-03-01T09:30:00.1234567+01:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-03-01T08:30:00.123456Z");
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        let before: Timestamp = "1969-12-31T23:59:59.999999Z".parse().unwrap();
        assert_eq!(before.as_micros(), -1);
    }

    #[test]
    fn a_text_that_names_another_moment_than_can_be_kept_is_not_read_exactly() {
        let at: Timestamp = "2026-06-30T23:59:59.123456Z".parse().unwrap();
        for text in [
            "2026-06-30T23:59:59.123456Z",
            "2026-06-30t23:59:59.123456000z",
            "2026-07-01T01:59:59.123456000+02:00",
        ] {
            assert_eq!(Timestamp::exactly(text), Some(at), "{text}");
        }
        for text in [
            "2026-06-30T23:59:59.123456001Z",
            "2026-06-30T23:59:59.1234569Z",
            "2026-06-30T23:59:60.123456Z",
            "2026-07-01T01:59:60+02:00",
            "2026-06-30T235960Z",
            "2026-06-30T23:59Z",
            "2026-06-30",
            "",
        ] {
            assert_eq!(Timestamp::exactly(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "now",
            "2026-03-01",
            "2026-03-01T08:00:00",
            "2026-03-01T08:00:00Z[UTC]",
            "20260301T080000Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_years_1_to_9998_are_taken_and_no_others() {
        for text in ["0001-01-01T00:00:00.000000Z", "9998-12-31T23:59:59.999999Z"] {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(at.to_string(), text);
            assert_eq!(Timestamp::from_micros(at.as_micros()), Ok(at));
        }
        for text in [
            "0000-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "-000001-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_clock_in_the_seventies_is_not_set_even_if_the_kernel_will_not_say() {
        let stamp = |micros, sync| Stamp {
            wall: Timestamp(micros),
            sync,
            boot_id: Uuid::nil(),
            boottime_us: 0,
        };
        let today = BEFORE_THIS_SOFTWARE_US;
        assert!(!stamp(12, ClockSync::Unknown).is_set());
        assert!(!stamp(today, ClockSync::No).is_set());
        assert!(stamp(today, ClockSync::Unknown).is_set());
    }

    #[test]
    fn this_machine_has_a_boot_and_its_time_runs_forward() {
        let clock = SystemClock::new();
        let first = clock.stamp();
        let second = clock.stamp();
        assert!(!first.boot_id.is_nil());
        assert!(second.boottime_us >= first.boottime_us && first.boottime_us > 0);
    }
}
