//! What the benchmarks share.

pub mod backlog;
pub mod bare;
pub mod classroom;
pub mod daemon;
pub mod groups;
pub mod page_cache;
pub mod plot;
pub mod process;
pub mod server;

use std::time::{Duration, Instant};

/// Bytes of payload in every row of every table that does not say otherwise.
pub const PAYLOAD_BYTES: usize = 256;

/// Median, least and greatest of the figures.
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Spread {
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        };
        Self {
            median,
            least: figures[0],
            greatest: figures[figures.len() - 1],
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(0);
        write!(
            f,
            "{:.digits$} ({:.digits$}–{:.digits$})",
            self.median, self.least, self.greatest
        )
    }
}

/// How many a second.
pub fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Repeats `step`, which says how many it did, until the time is up.
pub fn for_about(time: Duration, mut step: impl FnMut() -> u64) -> f64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        count += step();
    }
    per_second(count, start.elapsed())
}
