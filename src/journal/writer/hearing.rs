//! When the writer heard from the sinks' tasks, and when it goes to look for what they noted.

use std::time::{Duration, Instant};

/// Where news follow each other within twice this time, the writer looks for the next by itself, so
/// long after the last look, and nobody tells it.
const LOOKS_AFTER: Duration = Duration::from_millis(10);

/// How long what a sink confirmed may wait for a commit that it can ride on.
const ALONE_AFTER: Duration = Duration::from_secs(60);

/// What the writer knows of its news by the clock.
#[derive(Default)]
pub(super) struct Hearing {
    /// Since when there are news that are not durable.
    waiting_since: Option<Instant>,
    /// When something came last.
    last: Option<Instant>,
    look_at: Option<Instant>,
}

impl Hearing {
    /// Whether news come so often that nobody need tell of them.
    pub(super) fn is_often(&self, now: Instant) -> bool {
        let often = |last| now.duration_since(last) < 2 * LOOKS_AFTER;
        self.last.is_some_and(often)
    }

    /// The writer looks now, and `again` by itself.
    pub(super) fn look(&mut self, now: Instant, again: bool) {
        self.look_at = again.then(|| now + LOOKS_AFTER);
    }

    /// There were news.
    pub(super) const fn heard(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Whether there are news that are not durable, as of now.
    pub(super) fn waits(&mut self, now: Instant, waits: bool) {
        self.waiting_since = waits.then(|| self.waiting_since.unwrap_or(now));
    }

    /// Whether something waited so long that it is worth a commit of its own. It is said once: the
    /// wait begins anew.
    pub(super) fn is_overdue(&mut self, now: Instant) -> bool {
        let waited = |since| now.duration_since(since) >= ALONE_AFTER;
        let overdue = self.waiting_since.is_some_and(waited);
        if overdue {
            self.waiting_since = Some(now);
        }
        overdue
    }

    /// When there is something to do though nobody says so.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let alone = self.waiting_since.map(|since| since + ALONE_AFTER);
        alone.into_iter().chain(self.look_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_by_itself_while_news_follow_each_other() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut hearing = Hearing::default();
        assert!(!hearing.is_often(at(0)), "the first");
        hearing.heard(at(0));
        assert!(hearing.is_often(at(19)) && !hearing.is_often(at(20)));
        hearing.look(at(19), true);
        assert_eq!(hearing.deadline(), Some(at(29)));
        hearing.look(at(29), false);
        assert_eq!(hearing.deadline(), None);
    }

    #[test]
    fn news_wait_from_the_first_that_is_not_durable() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut hearing = Hearing::default();
        hearing.waits(at(0), false);
        assert_eq!(hearing.deadline(), None);
        hearing.waits(at(1), true);
        hearing.waits(at(50), true);
        assert_eq!(hearing.deadline(), Some(at(61)));
        hearing.waits(at(51), false);
        assert!(!hearing.is_overdue(at(1000)), "all is durable");
    }

    #[test]
    fn what_is_overdue_is_said_once_a_minute() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut hearing = Hearing::default();
        hearing.waits(at(0), true);
        assert!(!hearing.is_overdue(at(59)));
        assert!(hearing.is_overdue(at(60)) && !hearing.is_overdue(at(60)));
        assert_eq!(hearing.deadline(), Some(at(120)));
    }
}
