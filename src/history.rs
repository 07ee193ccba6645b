//! What was appended and delivered over the last hours, for the chart of the status page.
//!
//! Counts stand in buckets of [`BUCKET`], the last [`BUCKETS`] of them. They are kept in memory
//! alone, about 600 bytes for the journal and as much for each sink, and begin anew with each start
//! of the process. The axis is the time since boot, because the wall clock may jump by years when
//! the network sets it. Nothing here wakes up by itself: empty buckets come into being when
//! something is counted after them, or when somebody asks.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    seq::Seq,
    status::{SinkStatus, Status},
};

/// How long a bucket is.
pub const BUCKET: Duration = Duration::from_secs(300);
/// Buckets that are kept; with [`BUCKET`], six hours.
pub const BUCKETS: usize = 72;

/// What was counted, as [`Outbox::history`](crate::Outbox::history) gives it. It serialises as the
/// answer of `GET /v1/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Now, in seconds since boot, counting suspend.
    pub boottime_s: u64,
    /// When counting began, in seconds since boot.
    pub since_s: u64,
    /// How long a bucket is, in seconds.
    pub bucket_s: u64,
    /// Where the first bucket below begins, in seconds since boot: a multiple of `bucket_s`, and
    /// at the start of counting earlier than `since_s`.
    pub first_s: u64,
    /// Events appended, those of the loss ledger among them: one count a bucket, the newest, which
    /// is not over yet, last.
    pub appended: Vec<u64>,
    /// Every sink with a place in the journal, by name.
    pub sinks: BTreeMap<String, SinkHistory>,
}

/// One sink's part of [`History`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkHistory {
    /// Events confirmed by the sink, in the same buckets as `appended`. Dead letters are not among
    /// them.
    pub delivered: Vec<u64>,
}

/// Counts what becomes of a [`Status`].
#[derive(Debug)]
pub(crate) struct Recorder {
    since: Duration,
    /// The number of the bucket that counts go to, from boot on.
    newest: u64,
    appended: Series,
    sinks: BTreeMap<String, Series>,
}

/// One count a bucket, at the bucket's number modulo [`BUCKETS`].
#[derive(Debug)]
struct Series {
    /// The total at the last look.
    seen: u64,
    counts: Box<[u64; BUCKETS]>,
}

impl Recorder {
    /// Begins to count at `now`, in time since boot, from what the status says.
    pub(crate) fn new(now: Duration, status: &Status) -> Self {
        let sinks = placed(status);
        Self {
            since: now,
            newest: bucket_at(now),
            appended: Series::starting_at(status.tail.get()),
            sinks: sinks
                .map(|(name, sink)| (name.clone(), Series::starting_at(delivered(sink))))
                .collect(),
        }
    }

    /// Looks at the status after a change. The time is asked for only where there is something to
    /// count. A sink that is seen for the first time is counted from there on.
    pub(crate) fn observe(&mut self, status: &Status, now: impl FnOnce() -> Duration) {
        let is_known = |(name, sink): (&String, &SinkStatus)| {
            let series = self.sinks.get(name);
            series.is_some_and(|series| series.seen >= delivered(sink))
        };
        if self.appended.seen >= status.tail.get()
            && self.sinks.len() == placed(status).count()
            && placed(status).all(is_known)
        {
            return;
        }
        self.roll(now());
        self.appended.raise(status.tail.get(), self.newest);
        self.sinks.retain(|name, _| status.sinks.contains_key(name));
        for (name, sink) in placed(status) {
            let total = delivered(sink);
            match self.sinks.get_mut(name) {
                Some(series) => series.raise(total, self.newest),
                None => drop(self.sinks.insert(name.clone(), Series::starting_at(total))),
            }
        }
    }

    /// What was counted up to `now`.
    pub(crate) fn report(&mut self, now: Duration) -> History {
        self.roll(now);
        let oldest = self.newest.saturating_sub(BUCKETS as u64 - 1);
        let first = bucket_at(self.since).max(oldest);
        let counts = |series: &Series| (first..=self.newest).map(|at| series.at(at)).collect();
        let sinks = self.sinks.iter();
        History {
            boottime_s: now.as_secs(),
            since_s: self.since.as_secs(),
            bucket_s: BUCKET.as_secs(),
            first_s: first * BUCKET.as_secs(),
            appended: counts(&self.appended),
            sinks: sinks
                .map(|(name, series)| {
                    let delivered = counts(series);
                    (name.clone(), SinkHistory { delivered })
                })
                .collect(),
        }
    }

    /// Goes on to the bucket of `now`; those between are empty.
    fn roll(&mut self, now: Duration) {
        let bucket = bucket_at(now);
        // Two threads may come in another order than they read the clock.
        let over = bucket.saturating_sub(self.newest).min(BUCKETS as u64);
        if over == 0 {
            return;
        }
        for series in std::iter::once(&mut self.appended).chain(self.sinks.values_mut()) {
            for emptied in bucket - over + 1..=bucket {
                series.clear(emptied);
            }
        }
        self.newest = bucket;
    }
}

impl Series {
    fn starting_at(seen: u64) -> Self {
        Self {
            seen,
            counts: Box::new([0; BUCKETS]),
        }
    }

    /// Counts what the total has grown by. One that shrank, because an event before it became a
    /// dead letter, is waited for until it is back.
    fn raise(&mut self, total: u64, bucket: u64) {
        let gained = total.saturating_sub(self.seen);
        self.seen += gained;
        if let Some(count) = self.counts.get_mut(slot(bucket)) {
            *count = count.saturating_add(gained);
        }
    }

    fn clear(&mut self, bucket: u64) {
        if let Some(count) = self.counts.get_mut(slot(bucket)) {
            *count = 0;
        }
    }

    fn at(&self, bucket: u64) -> u64 {
        self.counts.get(slot(bucket)).copied().unwrap_or(0)
    }
}

fn bucket_at(boottime: Duration) -> u64 {
    boottime.as_secs() / BUCKET.as_secs()
}

fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

/// The sinks for which anything was ever claimed. Before that nothing can have been delivered, and
/// where a new sink begins may not be in the status yet.
fn placed(status: &Status) -> impl Iterator<Item = (&String, &SinkStatus)> {
    let sinks = status.sinks.iter();
    sinks.filter(|(_, sink)| sink.claimed > Seq::NONE)
}

/// Events that a sink has confirmed, since ever.
fn delivered(sink: &SinkStatus) -> u64 {
    let never = sink.dead_letters + sink.discarded;
    sink.acked.get().saturating_sub(never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{ClockStatus, JournalState, JournalStatus, SinkState};
    use crate::{Timestamp, clock::ClockSync};

    /// Where counting begins: in the middle of a bucket, the one of number 10.
    const START: Duration = Duration::from_secs(3_100);

    fn minutes(minutes: u64) -> Duration {
        START + Duration::from_secs(60 * minutes)
    }

    /// With this tail and a place for each sink: its name, what is acked, and its dead letters.
    fn status(tail: u64, sinks: &[(&str, u64, u64)]) -> Status {
        let sink = |acked, dead_letters| SinkStatus {
            kind: "nats".into(),
            state: SinkState::Draining,
            required: true,
            claimed: Seq::new(tail),
            acked: Seq::new(acked),
            pending: tail - acked,
            dead_letters,
            ..SinkStatus::absent()
        };
        Status {
            device: "kiosk-07".into(),
            key_id: String::new(),
            public_key: String::new(),
            epoch: String::new(),
            tail: Seq::new(tail),
            journal: JournalStatus {
                dir: "".into(),
                bytes: 0,
                quota_bytes: 0,
                disk: None,
                first_held: Seq::NONE,
                state: JournalState::Open,
                commits: 0,
                reopened: 0,
                dropped: 0,
                erasing: None,
                last_error: None,
            },
            clock: ClockStatus {
                wall: Timestamp::now(),
                sync: ClockSync::Unknown,
            },
            sinks: sinks
                .iter()
                .map(|(name, acked, dead)| ((*name).to_owned(), sink(*acked, *dead)))
                .collect(),
            listening: Vec::new(),
            version: String::new(),
        }
    }

    fn delivered_to<'h>(history: &'h History, sink: &str) -> &'h [u64] {
        &history.sinks[sink].delivered
    }

    #[test]
    fn counts_go_to_the_bucket_of_their_moment_and_what_was_before_is_not_counted() {
        let mut recorder = Recorder::new(START, &status(100, &[("hub", 90, 0)]));
        recorder.observe(&status(104, &[("hub", 90, 0)]), || minutes(0));
        recorder.observe(&status(104, &[("hub", 101, 0)]), || minutes(4));
        recorder.observe(&status(105, &[("hub", 105, 0)]), || minutes(13));
        let history = recorder.report(minutes(14));
        assert_eq!(
            (history.boottime_s, history.since_s, history.bucket_s),
            (3_940, 3_100, 300)
        );
        assert_eq!(history.first_s, 3_000);
        assert_eq!(history.appended, [4, 0, 1, 0]);
        assert_eq!(delivered_to(&history, "hub"), [0, 11, 4, 0]);
    }

    #[test]
    fn six_hours_are_kept_and_no_more() {
        let mut recorder = Recorder::new(START, &status(0, &[]));
        for event in 1..=200 {
            recorder.observe(&status(event, &[]), || minutes(5 * event));
        }
        let history = recorder.report(minutes(5 * 200));
        assert_eq!(history.appended, vec![1; BUCKETS]);
        assert_eq!(history.first_s, (10 + 200 - 71) * 300);
        // Three empty buckets, though nobody looked in between.
        let history = recorder.report(minutes(5 * 203));
        assert_eq!(history.appended[..69], vec![1; 69]);
        assert_eq!(history.appended[69..], [0, 0, 0]);
        // A suspend of years.
        let history = recorder.report(minutes(2_000_000));
        assert_eq!(history.appended, vec![0; BUCKETS]);
    }

    #[test]
    fn the_clock_is_not_read_where_nothing_is_to_count() {
        let mut recorder = Recorder::new(START, &status(7, &[("hub", 7, 1)]));
        recorder.observe(&status(7, &[("hub", 7, 1)]), || panic!("read"));
    }

    #[test]
    fn a_dead_letter_is_not_delivered() {
        let mut recorder = Recorder::new(START, &status(3, &[("hub", 3, 0)]));
        // 5 is rejected while 4 is under way; then both are behind it, and 6 is confirmed.
        recorder.observe(&status(6, &[("hub", 3, 1)]), || minutes(0));
        recorder.observe(&status(6, &[("hub", 5, 1)]), || minutes(0));
        recorder.observe(&status(6, &[("hub", 6, 1)]), || minutes(0));
        let history = recorder.report(minutes(1));
        assert_eq!(delivered_to(&history, "hub"), [2]);
    }

    #[test]
    fn a_new_sink_is_counted_from_its_place_on_and_a_forgotten_one_is_gone() {
        let mut recorder = Recorder::new(START, &status(50, &[("old", 50, 0)]));
        let mut arriving = status(50, &[("old", 50, 0), ("new", 0, 0)]);
        // Its task is there, its place not yet.
        arriving.sinks.get_mut("new").unwrap().claimed = Seq::NONE;
        recorder.observe(&arriving, || minutes(0));
        recorder.observe(&status(50, &[("old", 50, 0), ("new", 50, 0)]), || {
            minutes(0)
        });
        recorder.observe(&status(52, &[("new", 52, 0)]), || minutes(0));
        let history = recorder.report(minutes(1));
        assert_eq!(delivered_to(&history, "new"), [2]);
        assert!(!history.sinks.contains_key("old"));
    }
}
