//! `outbox.events_dropped.v1`: what was given up so that newer events find room.
//!
//! Each one says again what the one before said, until that has reached every required sink: so the
//! newest names everything that is missing, and an older one may be given up in its turn. Its size
//! is bounded, however long a device is cut off.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    envelope::Digest,
    seq::{Seq, SeqRange},
};

/// So many ranges are told apart. Beyond, the two with the least between them become one.
const MAX_RANGES: usize = 32;

/// So many bytes of other events of the ledger are repeated. Beyond, they are counted.
const MAX_REPEATED_BYTES: usize = 16 * 1024;

/// So many sinks are told apart: those that were forgotten meanwhile are among them.
const MAX_SINKS: usize = 64;

/// `outbox.events_dropped.v1`: events were given up before every required sink had them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EventsDropped {
    /// Which, ascending and apart from each other.
    pub ranges: Vec<DroppedRange>,
    /// Whom they were meant for.
    pub sinks: Vec<DroppedAtSink>,
    /// What the ledger said in these ranges, as far as there is room for it here.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub ledger: Vec<DroppedLedger>,
    /// Events of the ledger in these ranges that are not repeated here.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub ledger_left_out: u64,
    /// Groups in these ranges that could not be read, and may have held some of the ledger.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub unreadable_groups: u64,
}

/// A run of events that are gone, with what ties it to those before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedRange {
    /// Which.
    pub range: SeqRange,
    /// `prev` of the first: the digest of the event before it, zeros at the start of an epoch.
    /// Absent where the event could not be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prev: Option<Digest>,
    /// The digest of the last, which is `prev` of the event after it, unless that begins an epoch.
    /// Absent where the event could not be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<Digest>,
}

/// What was given up for one sink, in all ranges together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedAtSink {
    /// Its name.
    pub sink: String,
    /// Events that it had not confirmed.
    pub undelivered: u64,
    /// Those of them that may have arrived all the same.
    pub in_doubt: u64,
}

/// An event of the ledger that is gone itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DroppedLedger {
    /// Its seq.
    pub seq: Seq,
    /// Its digest.
    pub digest: Digest,
    /// Its type.
    pub event_type: String,
    /// What it said.
    pub payload: Box<RawValue>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl DroppedLedger {
    fn bytes(&self) -> usize {
        /// Names of members, digest and seq.
        const BESIDE: usize = 128;
        BESIDE + self.event_type.len() + self.payload.get().len()
    }
}

impl EventsDropped {
    /// The type.
    pub const EVENT_TYPE: &'static str = "outbox.events_dropped.v1";

    /// Adds a run that is given up now.
    pub(crate) fn add_range(&mut self, range: DroppedRange) {
        self.ranges.push(range);
        self.join_ranges();
    }

    /// Adds what a sink will not get.
    pub(crate) fn add_sink(&mut self, at: DroppedAtSink) {
        if let Some(known) = self.sinks.iter_mut().find(|known| known.sink == at.sink) {
            known.undelivered = known.undelivered.saturating_add(at.undelivered);
            known.in_doubt = known.in_doubt.saturating_add(at.in_doubt);
        } else if self.sinks.len() < MAX_SINKS {
            // The ranges say it for whoever is beyond.
            self.sinks.push(at);
        }
    }

    /// Adds an event of the ledger that is given up.
    pub(crate) fn add_ledger(&mut self, event: DroppedLedger) {
        let bytes: usize = self.ledger.iter().map(DroppedLedger::bytes).sum();
        if bytes + event.bytes() <= MAX_REPEATED_BYTES {
            self.ledger.push(event);
        } else {
            self.ledger_left_out = self.ledger_left_out.saturating_add(1);
        }
    }

    /// Ascending, and what touches is one. Where there are too many, those nearest to each other
    /// are one too: what lies between was delivered, and saying that it may be missing is true.
    fn join_ranges(&mut self) {
        self.ranges.sort_by_key(|run| run.range.first());
        let mut joined: Vec<DroppedRange> = Vec::with_capacity(self.ranges.len());
        for run in self.ranges.drain(..) {
            match joined.last_mut() {
                Some(before) if run.range.first() <= before.range.last().next() => {
                    before.extend(run);
                }
                _ => joined.push(run),
            }
        }
        while joined.len() > MAX_RANGES {
            let gap = |pair: &[DroppedRange]| match pair {
                [left, right] => right.range.first().since(left.range.last()),
                _ => u64::MAX,
            };
            let nearest = (1..joined.len())
                .min_by_key(|&at| joined.get(at - 1..=at).map_or(u64::MAX, gap))
                .unwrap_or(1);
            let right = joined.remove(nearest);
            if let Some(left) = joined.get_mut(nearest - 1) {
                left.extend(right);
            }
        }
        self.ranges = joined;
    }
}

impl DroppedRange {
    /// Reaches to the end of a later one, if that is further.
    fn extend(&mut self, later: Self) {
        if later.range.last() > self.range.last()
            && let Some(range) = SeqRange::new(self.range.first(), later.range.last())
        {
            self.range = range;
            self.digest = later.digest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, last: u64) -> DroppedRange {
        DroppedRange {
            range: SeqRange::new(Seq::new(first), Seq::new(last)).unwrap(),
            prev: Some(Digest([first as u8; 32])),
            digest: Some(Digest([last as u8; 32])),
        }
    }

    fn ledger(seq: u64, event_type: &str, payload: String) -> DroppedLedger {
        DroppedLedger {
            seq: Seq::new(seq),
            digest: Digest([1; 32]),
            event_type: event_type.into(),
            payload: RawValue::from_string(payload).unwrap(),
        }
    }

    fn at(sink: &str, undelivered: u64, in_doubt: u64) -> DroppedAtSink {
        DroppedAtSink {
            sink: sink.into(),
            undelivered,
            in_doubt,
        }
    }

    #[test]
    fn what_touches_is_one_range_and_counts_add_up() {
        let mut dropped = EventsDropped::default();
        dropped.add_range(run(3, 9));
        dropped.add_range(run(30, 50));
        dropped.add_range(run(20, 29));
        for (sink, undelivered, in_doubt) in [("hub", 17, 4), ("lab", 1, 1), ("hub", 21, 0)] {
            dropped.add_sink(at(sink, undelivered, in_doubt));
        }
        let [first, second] = dropped.ranges[..] else {
            panic!("{:?}", dropped.ranges);
        };
        assert_eq!((first, second.range), (run(3, 9), run(20, 50).range));
        assert_eq!(
            (second.prev, second.digest),
            (run(20, 50).prev, run(20, 50).digest)
        );
        assert_eq!(dropped.sinks, [at("hub", 38, 4), at("lab", 1, 1)]);
    }

    #[test]
    fn it_stays_small_and_still_covers_everything() {
        let mut dropped = EventsDropped::default();
        for n in 0..500 {
            dropped.add_range(run(10 * n + 1, 10 * n + 5));
            dropped.add_sink(at(&format!("sink-{n}"), 5, 0));
            dropped.add_ledger(ledger(n, "outbox.event_rejected.v1", "\"x\"".into()));
        }
        assert_eq!(dropped.ranges.len(), MAX_RANGES);
        for n in 0..500 {
            let covers = |run: &DroppedRange| run.range.contains(Seq::new(10 * n + 3));
            assert!(dropped.ranges.iter().any(covers), "{n}");
        }
        assert_eq!(dropped.ledger.len() as u64 + dropped.ledger_left_out, 500);
        assert!(dropped.ledger_left_out > 0);
        let bytes = serde_json::to_vec(&dropped).unwrap().len();
        assert!(bytes < 64 * 1024, "{bytes}");
    }
}
