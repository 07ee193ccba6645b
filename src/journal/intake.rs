//! When the oldest pending event of each sink was taken in.
//!
//! All events of a group were taken in at one time, so a cursor that moves within a group costs
//! nothing, and one read tells of many groups. What a sink that has everything else waits for came
//! with the last commit, whose time is known without any read.

use std::collections::{BTreeMap, VecDeque};

use super::{
    cursor::SinkName,
    error::{Fault, fault},
    row,
    store::{GROUPS, Store},
};
use crate::{clock::Timestamp, seq::Seq};

/// One read looks at so many groups at most, and at no more once it has seen so many bytes.
const READ_GROUPS: usize = 64;
const READ_BYTES: usize = 256 * 1024;

/// Events up to `last` that were taken in at one time.
#[derive(Clone, Copy)]
struct Run {
    last: Seq,
    wall: Timestamp,
}

/// What is known of one sink.
#[derive(Default)]
struct Place {
    oldest: Option<Timestamp>,
    /// From the oldest pending event on, without a hole.
    runs: VecDeque<Run>,
    /// An event that could not be read. It is not tried again only to show since when it waits, for after
    /// each such failure the journal has to be opened afresh.
    unread: Option<Seq>,
}

/// What is known of when events were taken in.
pub(super) struct Intake {
    tail: Seq,
    /// The first event of the last commit that had any, and its time.
    newest: Option<(Seq, Timestamp)>,
    places: BTreeMap<SinkName, Place>,
}

impl Intake {
    /// Of a journal that was just opened and goes up to `tail`.
    pub(super) fn new(tail: Seq) -> Self {
        Self {
            tail,
            newest: None,
            places: BTreeMap::new(),
        }
    }

    /// The journal was opened afresh, and goes up to `tail`. What could not be read is still not tried
    /// again.
    pub(super) fn start_over(&mut self, tail: Seq) {
        self.tail = tail;
        self.newest = None;
        for place in self.places.values_mut() {
            *place = Place {
                unread: place.unread,
                ..Place::default()
            };
        }
    }

    /// After a commit at `wall`: the journal goes up to `tail` now.
    pub(super) fn committed(&mut self, tail: Seq, wall: Timestamp) {
        if tail > self.tail {
            self.newest = Some((self.tail.next(), wall));
            self.tail = tail;
        }
    }

    /// Finds out when the event after `acked` was taken in. Where that cannot be read, what was
    /// known before stays.
    pub(super) fn find(&mut self, name: &SinkName, acked: Seq, store: &Store) {
        if !self.places.contains_key(name) {
            self.places.insert(name.clone(), Place::default());
        }
        let Some(place) = self.places.get_mut(name) else {
            return;
        };
        let next = acked.next();
        place.oldest = match self.newest {
            _ if next > self.tail => None,
            Some((first, wall)) if next >= first => Some(wall),
            _ => place.read(next, store),
        };
    }

    /// Drops what is known of other sinks than these.
    pub(super) fn keep(&mut self, is_known: impl Fn(&SinkName) -> bool) {
        self.places.retain(|name, _| is_known(name));
    }

    /// When the oldest pending event of each sink was taken in.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (&SinkName, Option<Timestamp>)> {
        self.places.iter().map(|(name, place)| (name, place.oldest))
    }

    /// As [`Intake::oldest`], of one sink.
    pub(super) fn oldest_of(&self, name: &SinkName) -> Option<Timestamp> {
        self.places.get(name)?.oldest
    }
}

impl Place {
    fn read(&mut self, next: Seq, store: &Store) -> Option<Timestamp> {
        while self.runs.front().is_some_and(|run| run.last < next) {
            self.runs.pop_front();
        }
        if self.runs.is_empty() && self.unread != Some(next) {
            match runs(next, store) {
                Ok(runs) => self.runs = runs,
                // Whoever needs the event itself says so.
                Err(fault) => {
                    self.unread = Some(next);
                    tracing::debug!(seq = %next, %fault, "not known since when it waits");
                }
            }
        }
        self.runs.front().map_or(self.oldest, |run| Some(run.wall))
    }
}

/// The groups from this event on.
fn runs(from: Seq, store: &Store) -> Result<VecDeque<Run>, Fault> {
    store.read(|transaction| {
        let groups = transaction.open_table(GROUPS).map_err(fault)?;
        let start = groups
            .range(..=from.get())
            .map_err(fault)?
            .next_back()
            .transpose()
            .map_err(fault)?
            .map_or(from.get(), |(key, _)| key.value());
        let mut runs = VecDeque::new();
        let mut bytes = 0;
        for entry in groups.range(start..).map_err(fault)?.take(READ_GROUPS) {
            let (key, value) = entry.map_err(fault)?;
            let (first, value) = (Seq::new(key.value()), value.value());
            let (last, wall) =
                row::taken_in(first, value).map_err(|source| Fault::Row { seq: first, source })?;
            runs.push_back(Run { last, wall });
            bytes += value.len();
            if bytes >= READ_BYTES {
                break;
            }
        }
        Ok(runs)
    })
}
