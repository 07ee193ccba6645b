//! What a relay counts, and what it is at.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

/// What a relay is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// It connects.
    Starts,
    /// There is nothing to send.
    Waits,
    /// Rows are on their way.
    Sends,
    /// The database, or the journal, does not do what it is asked.
    NoDatabase,
    /// The sinks do not take events, or do not confirm them.
    NoSinks,
}

/// The numbers since the start of the process.
#[derive(Debug, Default)]
pub struct Gauges {
    activity: AtomicU8,
    sent: AtomicU64,
    refusals: AtomicU64,
    refused: AtomicUsize,
}

impl Gauges {
    /// Rows that were marked as sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Rows that were found to be no events, or rejected by a sink for good.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// How many of them are still there, as far as is known.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// What it is at.
    pub fn activity(&self) -> Activity {
        [
            Activity::Starts,
            Activity::Waits,
            Activity::Sends,
            Activity::NoDatabase,
            Activity::NoSinks,
        ]
        .into_iter()
        .find(|it| *it as u8 == self.activity.load(Ordering::Relaxed))
        .unwrap_or(Activity::Starts)
    }

    pub(super) fn set(&self, activity: Activity) {
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    pub(super) fn add_sent(&self, rows: usize) {
        self.sent.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(super) fn add_refusal(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_refused(&self, rows: usize) {
        self.refused.store(rows, Ordering::Relaxed);
    }
}

impl fmt::Display for Gauges {
    /// In one line, for the service manager.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.activity() {
            Activity::Starts => "connects to the table",
            Activity::Waits | Activity::Sends => "relays rows",
            Activity::NoDatabase => "cannot go on: the log says why",
            Activity::NoSinks => "waits for the sinks",
        })?;
        match self.refused() {
            0 => Ok(()),
            rows => write!(f, ", {rows} cannot be sent"),
        }
    }
}
