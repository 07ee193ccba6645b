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
    /// When the oldest news that is not durable came.
    waiting_since: Option<Instant>,
    /// When something came last.
    last: Option<Instant>,
    /// Whether news come so often that nobody need tell of them.
    looks: bool,
    look_at: Option<Instant>,
}

impl Hearing {
    /// Decides, once for a commit, whether the writer looks by itself: what is heard at the commit's
    /// beginning is not heard a second time at its end.
    pub(super) fn begin(&mut self, now: Instant) {
        let often = |last| now.duration_since(last) < 2 * LOOKS_AFTER;
        self.looks = self.last.is_some_and(often);
    }

    /// The writer looks now; true where it looks again by itself. Where there is no room for an append,
    /// it wants to be told of what makes some.
    pub(super) fn look(&mut self, now: Instant, short_of_room: bool) -> bool {
        let looks = self.looks && !short_of_room;
        self.look_at = looks.then(|| now + LOOKS_AFTER);
        looks
    }

    /// There were news.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last = Some(now);
        self.waiting_since.get_or_insert(now);
    }

    /// All of it is durable.
    pub(super) fn is_durable(&mut self) {
        self.waiting_since = None;
    }

    /// Whether something waited so long that it is worth a commit of its own.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let waited = |since| now.duration_since(since) >= ALONE_AFTER;
        self.waiting_since.is_some_and(waited)
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
        let mut look = |ms, news: bool| {
            hearing.begin(at(ms));
            let looks = hearing.look(at(ms), false);
            if news {
                hearing.heard(at(ms));
            }
            let by_itself = hearing
                .deadline()
                .filter(|&next| next < start + ALONE_AFTER);
            (looks, by_itself)
        };
        assert_eq!(look(0, true), (false, None), "the first");
        assert_eq!(look(19, true), (true, Some(at(29))));
        assert_eq!(look(29, false), (true, Some(at(39))), "10 ms ago");
        assert_eq!(look(39, false), (false, None), "20 ms ago");
    }

    #[test]
    fn short_of_room_it_is_to_be_told() {
        let now = Instant::now();
        let mut hearing = Hearing::default();
        hearing.heard(now);
        hearing.begin(now);
        assert!(!hearing.look(now, true));
        assert_eq!(hearing.deadline(), Some(now + ALONE_AFTER));
        assert!(hearing.look(now, false), "there is room again");
    }

    #[test]
    fn news_wait_from_the_first_that_is_not_durable() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut hearing = Hearing::default();
        assert_eq!(hearing.deadline(), None);
        hearing.heard(at(0));
        hearing.heard(at(50));
        assert_eq!(hearing.deadline(), Some(at(60)));
        assert!(!hearing.is_overdue(at(59)) && hearing.is_overdue(at(60)));
        hearing.is_durable();
        assert!(!hearing.is_overdue(at(1000)));
        hearing.heard(at(70));
        assert_eq!(hearing.deadline(), Some(at(130)));
    }
}
