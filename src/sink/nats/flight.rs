//! The events that were sent and are not answered.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{envelope::Digest, seq::Seq};

/// The slowest link on which a large event still passes, in bytes per second.
const SLOWEST_LINK: f64 = 8.0 * 1_024.0;

/// One unanswered event.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) seq: Seq,
    pub(super) digest: Digest,
    pub(super) bytes: usize,
}

/// Unanswered events in the order they were sent, and since when the first of them is the first.
///
/// Answers mostly come in the order of sending. So the clock runs for the first alone, and starts
/// again when another becomes the first: a slow link makes progress, and is told from one on
/// which nothing moves; and an event whose answer went astray does not hide behind the traffic
/// after it.
pub(super) struct Flight {
    /// `None`: answered out of order, and still behind one that is not.
    sent: VecDeque<Option<Sent>>,
    open: usize,
    first_since: Instant,
    patience: Duration,
}

impl Flight {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            sent: VecDeque::new(),
            open: 0,
            first_since: Instant::now(),
            patience,
        }
    }

    pub(super) fn push(&mut self, sent: Sent) {
        if self.sent.is_empty() {
            self.first_since = Instant::now();
        }
        self.sent.push_back(Some(sent));
        self.open += 1;
    }

    /// Takes out what was answered; `None` where nothing of that seq is unanswered.
    pub(super) fn answered(&mut self, seq: Seq) -> Option<Sent> {
        let is_it = |sent: &Option<Sent>| sent.is_some_and(|sent| sent.seq == seq);
        let place = self.sent.iter().position(is_it)?;
        let sent = self.sent.get_mut(place)?.take();
        self.open -= 1;
        if place == 0 {
            while let Some(None) = self.sent.front() {
                self.sent.pop_front();
            }
            self.first_since = Instant::now();
        }
        sent
    }

    /// How many are unanswered.
    pub(super) const fn len(&self) -> usize {
        self.open
    }

    /// The moment from which the connection counts as dead.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.sent.front().copied().flatten()?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate in seconds")]
        let passage = Duration::from_secs_f64(first.bytes as f64 / SLOWEST_LINK);
        Some(self.first_since + self.patience + passage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);
    const SECOND: Duration = Duration::from_secs(1);

    fn sent(seq: u64, bytes: usize) -> Sent {
        Sent {
            seq: Seq::new(seq),
            digest: Digest::ZERO,
            bytes,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_starts_again_when_the_first_is_answered_and_not_before() {
        let mut flight = Flight::new(PATIENCE);
        assert!(flight.deadline().is_none());
        let start = Instant::now();
        for seq in 1..=3 {
            flight.push(sent(seq, 0));
        }
        tokio::time::advance(SECOND).await;
        assert!(flight.answered(Seq::new(2)).is_some());
        assert_eq!(flight.deadline(), Some(start + PATIENCE));
        assert!(flight.answered(Seq::new(1)).is_some());
        assert_eq!(flight.deadline(), Some(start + SECOND + PATIENCE));
        assert_eq!(flight.len(), 1);
        assert!(flight.answered(Seq::new(2)).is_none());
        assert!(flight.answered(Seq::new(3)).is_some());
        assert!(flight.deadline().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_event_is_given_the_time_that_a_slow_link_needs() {
        let mut flight = Flight::new(PATIENCE);
        flight.push(sent(1, 256 * 1_024));
        assert_eq!(
            flight.deadline(),
            Some(Instant::now() + PATIENCE + 32 * SECOND)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_sent_again_is_told_from_its_answered_first_try() {
        let mut flight = Flight::new(PATIENCE);
        flight.push(sent(1, 0));
        flight.push(sent(2, 0));
        assert!(flight.answered(Seq::new(2)).is_some());
        flight.push(sent(2, 7));
        assert_eq!(flight.answered(Seq::new(2)).unwrap().bytes, 7);
        assert_eq!(flight.len(), 1);
    }
}
