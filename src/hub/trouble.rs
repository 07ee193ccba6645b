//! What is in the way of something that has to be tried until it works: told once when it begins and
//! once when it ends, however often it is tried between.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::sink::{ErrorKind, SinkError};

/// Limit of the first wait; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait for what passes by itself.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// The longest wait for what somebody has to see to.
const LONGEST_HALT: Duration = Duration::from_secs(15);
/// Most doublings that are counted.
const MAX_DOUBLINGS: u32 = 10;

/// The trouble with one thing.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// As the log names it.
    with: String,
    since: Option<Instant>,
    told: Option<ErrorKind>,
    failures: u32,
}

impl Trouble {
    pub(crate) const fn with(what: String) -> Self {
        Self {
            with: what,
            since: None,
            told: None,
            failures: 0,
        }
    }

    /// Notes that it failed, and gives how long to wait before the next attempt: full jitter up to a
    /// limit that doubles. What somebody has to see to is told even where something else was in the
    /// way before.
    pub(crate) fn begins(&mut self, error: &SinkError) -> Duration {
        let is_halt = error.kind != ErrorKind::Retry;
        let hint = error.hint.as_deref().unwrap_or_default();
        let is_worse = is_halt && self.told == Some(ErrorKind::Retry);
        if self.since.is_none() || is_worse {
            if is_halt {
                tracing::error!(code = error.code, hint, "{}: {}", self.with, error.message);
            } else {
                tracing::warn!(code = error.code, hint, "{}: {}", self.with, error.message);
            }
            self.told = Some(error.kind);
        } else {
            tracing::debug!(code = error.code, "{}: {}", self.with, error.message);
        }
        self.since.get_or_insert_with(Instant::now);
        let longest = if is_halt { LONGEST_HALT } else { LONGEST_WAIT };
        let limit = (FIRST_WAIT * (1 << self.failures.min(MAX_DOUBLINGS))).min(longest);
        self.failures = self.failures.saturating_add(1);
        jittered(limit)
    }

    /// Notes that it works.
    pub(crate) fn ends(&mut self) {
        if let Some(since) = self.since.take() {
            let seconds = since.elapsed().as_secs();
            tracing::info!(after_s = seconds, "{}: works again", self.with);
        }
        self.told = None;
        self.failures = 0;
    }
}

/// Anything up to a limit.
pub(super) fn jittered(limit: Duration) -> Duration {
    let limit_us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    let (random, _) = Uuid::new_v4().as_u64_pair();
    Duration::from_micros(random % limit_us.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit_and_begin_anew_once_it_works() {
        let mut trouble = Trouble::with("the database".into());
        let error = SinkError::retry("unreachable", "nobody is there");
        for failure in 0..40 {
            let limit = (FIRST_WAIT * (1 << failure.min(6))).min(LONGEST_WAIT);
            assert!(trouble.begins(&error) <= limit, "failure {failure}");
        }
        trouble.ends();
        assert!(trouble.begins(&error) <= FIRST_WAIT);
    }
}
