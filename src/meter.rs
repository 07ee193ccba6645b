//! What an outbox counts while it is open: the numbers of `GET /metrics` that the status has not.
//!
//! One [`Meter`] belongs to each open outbox and owns every number; nothing is global. To count is
//! one atomic addition where the event passes anyway, without a lock or an allocation. All of it
//! begins at 0 when the outbox is opened, and nothing of it is kept: whoever collects the numbers
//! expects that of a counter.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::clock::Timestamp;

/// Upper bounds of a [`Histogram`]'s buckets, in microseconds: from 1 ms, below which no card
/// commits, to 10 s, after which it does not matter any more how long. One more has no bound.
pub const BUCKETS_MICROS: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// A wall clock that is off by more than this, in microseconds, was set meanwhile.
const CLOCK_WAS_SET_MICROS: i64 = 1_000_000;

const BUCKETS: usize = BUCKETS_MICROS.len() + 1;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// How long something took, counted by [`BUCKETS_MICROS`].
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_micros: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let index = BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.sum_micros.add(micros);
    }

    /// How many took no longer than each bound, and how many there were in all.
    #[must_use]
    pub fn cumulative(&self) -> [u64; BUCKETS] {
        let mut sum = 0;
        self.buckets.each_ref().map(|bucket| {
            sum += bucket.get();
            sum
        })
    }

    /// How long all of them took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.get())
    }
}

/// Why a request to take events in was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An id is known with other content.
    Conflict,
    /// A payload or a request over its limit.
    TooLarge,
    /// The journal has no room.
    Full,
    /// A write failed, and the events may or may not be there.
    OutcomeUnknown,
    /// The journal is being reopened or closed.
    Unavailable,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Conflict,
        Self::TooLarge,
        Self::Full,
        Self::OutcomeUnknown,
        Self::Unavailable,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Full => "full",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What one open outbox counts.
#[derive(Debug)]
pub struct Meter {
    since: Instant,
    /// The wall clock then, in microseconds of Unix time.
    opened_at: AtomicI64,
    /// Write calls to the storage of the journal.
    pub writes: Counter,
    /// Bytes handed to these.
    pub bytes_written: Counter,
    /// Syncs of the storage.
    pub syncs: Counter,
    /// Durable commits, and how long each took.
    pub commits: Histogram,
    /// Events that became durable and were a program's.
    pub appended: Counter,
    /// Events that became durable, the outbox's own among them.
    pub committed: Counter,
    /// Events that were handed over again, with an id that was known.
    pub repeated: Counter,
    /// Events that were given up, before every required sink had them, to make room.
    pub dropped: Counter,
    /// Times that the file of the journal was compacted.
    pub compactions: Counter,
    /// The length of that file, as it was set or found last.
    pub(crate) file_bytes: AtomicU64,
    refused: [Counter; Refusal::ALL.len()],
    sinks: Mutex<BTreeMap<Box<str>, Arc<SinkMeter>>>,
}

/// What is counted at one sink, by whoever forwards to it.
#[derive(Debug, Default)]
pub struct SinkMeter {
    /// Events that it confirmed, or was found to have.
    pub delivered: Counter,
    /// Events that were handed to it again, because earlier copies may have arrived.
    pub redelivered: Counter,
    /// Events that it refused for good: dead letters.
    pub rejected: Counter,
    /// Connections that were made.
    pub connections: Counter,
    /// From handing an event to the connection to its confirmation.
    pub deliveries: Histogram,
    /// Troubles that pass by themselves: an attempt that failed, a connection that was lost, an
    /// event that was refused for now.
    pub retries: Counter,
    /// Troubles that somebody has to mend, counted at each attempt.
    pub halts: Counter,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            opened_at: AtomicI64::new(Timestamp::now().as_micros()),
            writes: Counter::default(),
            bytes_written: Counter::default(),
            syncs: Counter::default(),
            commits: Histogram::default(),
            appended: Counter::default(),
            committed: Counter::default(),
            repeated: Counter::default(),
            dropped: Counter::default(),
            compactions: Counter::default(),
            file_bytes: AtomicU64::new(0),
            refused: Default::default(),
            sinks: Mutex::default(),
        }
    }
}

impl Meter {
    /// Since when it counts, by a wall clock that shows `now`. The answer is the same each time
    /// unless that clock was set meanwhile, as it is on a board that starts without the time.
    #[must_use]
    pub fn opened_at(&self, now: Timestamp) -> Timestamp {
        let age = i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        let reckoned = now.as_micros().saturating_sub(age);
        let mut at = self.opened_at.load(Ordering::Relaxed);
        if at.abs_diff(reckoned) > CLOCK_WAS_SET_MICROS.unsigned_abs() {
            at = reckoned;
            self.opened_at.store(at, Ordering::Relaxed);
        }
        Timestamp::from_micros(at).unwrap_or(now)
    }

    /// Requests that were refused for this reason.
    #[must_use]
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused.get(why as usize).map_or(0, Counter::get)
    }

    pub(crate) fn refuse(&self, why: Refusal) {
        if let Some(refused) = self.refused.get(why as usize) {
            refused.add(1);
        }
    }

    /// The meter of a sink; `None` where nobody has forwarded to it since the outbox was opened.
    #[must_use]
    pub fn sink(&self, name: &str) -> Option<Arc<SinkMeter>> {
        self.sinks().get(name).cloned()
    }

    /// The meter of a sink that is forwarded to from now on: the one it had, or a new one.
    pub(crate) fn attach(&self, name: &str) -> Arc<SinkMeter> {
        Arc::clone(self.sinks().entry(name.into()).or_default())
    }

    /// The sink has lost its place.
    pub(crate) fn forget(&self, name: &str) {
        self.sinks().remove(name);
    }

    fn sinks(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Arc<SinkMeter>>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_by_bounds_that_belong_to_what_they_bound() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let cumulative = histogram.cumulative();
        assert_eq!(cumulative[..2], [2, 3]);
        assert_eq!(cumulative[11..], [3, 4, 5]);
        assert_eq!(histogram.sum(), Duration::from_micros(20_002_002));
    }

    #[test]
    fn the_beginning_stays_where_it_is_until_the_clock_is_set() {
        let meter = Meter::default();
        let now = Timestamp::now();
        let at = meter.opened_at(now);
        let later = |seconds: i64| Timestamp::from_micros(now.as_micros() + seconds * 1_000_000);
        assert_eq!(meter.opened_at(later(0).unwrap()), at);
        let set = meter.opened_at(later(3_600).unwrap());
        let moved = set.as_micros() - at.as_micros();
        assert!((3_590_000_000..=3_600_000_000).contains(&moved), "{moved}");
    }

    #[test]
    fn each_refusal_has_a_counter_of_its_own() {
        let meter = Meter::default();
        for (times, why) in (1..).zip(Refusal::ALL) {
            (0..times).for_each(|_| meter.refuse(why));
        }
        let counted = Refusal::ALL.map(|why| meter.refused(why));
        assert_eq!(counted, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_sink_that_comes_back_goes_on_counting_and_one_that_was_forgotten_begins_anew() {
        let meter = Meter::default();
        meter.attach("hub").delivered.add(1);
        meter.attach("hub").delivered.add(1);
        assert_eq!(meter.sink("hub").unwrap().delivered.get(), 2);
        meter.forget("hub");
        assert!(meter.sink("hub").is_none());
        assert_eq!(meter.attach("hub").delivered.get(), 0);
    }
}
