//! The other side: what the events are to reach.

pub mod mqtt;
pub mod nats;
pub mod postgres;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How often a hub is asked for what has arrived.
const POLL: Duration = Duration::from_millis(20);

/// A hub. It is away until it is started.
pub trait Hub {
    /// Starts it, or starts it again with what it held.
    fn start(&mut self);

    /// Ends it in good order.
    fn stop(&mut self);

    /// How many events have arrived, with those that are not the program's.
    fn count(&mut self) -> u64;

    /// The numbers of the program's events that have arrived, each as often as it has.
    fn numbers(&mut self) -> Vec<u64>;

    /// What edge-outbox's configuration says of it.
    fn sink(&self) -> String;
}

/// For what delivers nothing.
pub struct Nowhere;

impl Hub for Nowhere {
    fn start(&mut self) {}

    fn stop(&mut self) {}

    fn count(&mut self) -> u64 {
        0
    }

    fn numbers(&mut self) -> Vec<u64> {
        Vec::new()
    }

    fn sink(&self) -> String {
        "[sinks]\n".into()
    }
}

/// What a hub saw.
pub struct Arrivals {
    /// Events.
    pub count: u64,
    /// Of them, those that the first look saw.
    pub at_first: u64,
    /// Until the first was seen.
    pub first: Duration,
    /// Until the last was.
    pub last: Duration,
}

/// Waits until so many have arrived besides these, or none comes any more for `quiet` after the
/// first, or the time is up. Whoever wants to know what never comes has to be more patient.
pub fn arrivals(
    hub: &mut dyn Hub,
    base: u64,
    wanted: u64,
    quiet: Duration,
    limit: Duration,
) -> Arrivals {
    let begun = Instant::now();
    let mut seen = Arrivals {
        count: 0,
        at_first: 0,
        first: Duration::ZERO,
        last: Duration::ZERO,
    };
    loop {
        let count = hub.count().saturating_sub(base);
        let now = begun.elapsed();
        if count > seen.count {
            if seen.count == 0 {
                seen.first = now;
                seen.at_first = count;
            }
            seen.count = count;
            seen.last = now;
        }
        let rests = seen.count > 0 && now > seen.last + quiet;
        if seen.count >= wanted || rests || now > limit {
            return seen;
        }
        thread::sleep(POLL);
    }
}
