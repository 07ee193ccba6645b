//! The events that were handed to the client and are not answered, in their order.
//!
//! The client tells the packet id of a message only as the message leaves, and in the order in
//! which messages were handed over. So the first that has no packet id yet is the one that left.
//! Nothing is guessed: an answer that fits nothing here ends the session.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::seq::Seq;

/// The slowest link on which a large event still passes, in bytes per second.
const SLOWEST_LINK: f64 = 8.0 * 1_024.0;

/// What the client says, and nothing that was handed over fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mismatch;

/// One event.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) seq: Seq,
    pub(super) topic: Arc<str>,
    /// The size of its packet.
    pub(super) bytes: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// In the client's queue.
    Queued,
    /// On the wire under a packet id, not answered.
    Left(u16),
    /// QoS 2: the broker has received it; its packet id is still taken.
    Received { packet_id: u16, unheard: bool },
    /// Answered, behind one that is not.
    Done,
}

/// Unanswered events in the order they were handed over, and since when the first is the first.
///
/// Answers mostly come in the order of sending. So the clock runs for the first alone, and starts
/// again when another becomes the first: a slow link makes progress, and is told from one on
/// which nothing moves; and an event whose answer went astray does not hide behind the traffic
/// after it.
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    /// How many of them have left; the others are still queued.
    left: usize,
    /// The packet ids that are taken. The client gives out as many as the window is wide.
    taken: PacketIds,
    open: usize,
    first_since: Instant,
    patience: Duration,
}

/// A set of packet ids, as large as the highest that was in it.
#[derive(Default)]
struct PacketIds(Vec<bool>);

impl PacketIds {
    /// Whether it was free.
    fn take(&mut self, packet_id: u16) -> bool {
        let place = usize::from(packet_id);
        if place >= self.0.len() {
            self.0.resize(place + 1, false);
        }
        self.0
            .get_mut(place)
            .is_some_and(|taken| !std::mem::replace(taken, true))
    }

    fn give_back(&mut self, packet_id: u16) {
        if let Some(taken) = self.0.get_mut(usize::from(packet_id)) {
            *taken = false;
        }
    }
}

impl Flight {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            sent: VecDeque::new(),
            left: 0,
            taken: PacketIds::default(),
            open: 0,
            first_since: Instant::now(),
            patience,
        }
    }

    /// An event was handed to the client.
    pub(super) fn push(&mut self, seq: Seq, topic: Arc<str>, bytes: usize) {
        if self.sent.is_empty() {
            self.first_since = Instant::now();
        }
        self.sent.push_back(Sent {
            seq,
            topic,
            bytes,
            stage: Stage::Queued,
        });
        self.open += 1;
    }

    /// The next one left under this packet id.
    pub(super) fn left(&mut self, packet_id: u16) -> Result<(), Mismatch> {
        let next = self.sent.get_mut(self.left).ok_or(Mismatch)?;
        if !self.taken.take(packet_id) {
            return Err(Mismatch);
        }
        next.stage = Stage::Left(packet_id);
        self.left += 1;
        Ok(())
    }

    /// The broker answered for good the one that left under this packet id and was not received
    /// before.
    pub(super) fn answered(&mut self, packet_id: u16) -> Result<Sent, Mismatch> {
        self.end(packet_id, |stage| *stage == Stage::Left(packet_id))
    }

    /// The broker received the one that left under this packet id. `unheard`: nobody subscribed.
    pub(super) fn received(&mut self, packet_id: u16, unheard: bool) -> Result<(), Mismatch> {
        let left = |sent: &&mut Sent| sent.stage == Stage::Left(packet_id);
        let sent = self.sent.iter_mut().find(left).ok_or(Mismatch)?;
        sent.stage = Stage::Received { packet_id, unheard };
        Ok(())
    }

    /// The broker is done with the one that it received under this packet id; and whether that
    /// was unheard.
    pub(super) fn completed(&mut self, packet_id: u16) -> Result<(Sent, bool), Mismatch> {
        let is_it = |stage: &Stage| matches!(stage, Stage::Received { packet_id: id, .. } if *id == packet_id);
        let sent = self.end(packet_id, is_it)?;
        let unheard = matches!(sent.stage, Stage::Received { unheard: true, .. });
        Ok((sent, unheard))
    }

    fn end(&mut self, packet_id: u16, is_it: impl Fn(&Stage) -> bool) -> Result<Sent, Mismatch> {
        let mut places = self.sent.iter_mut().enumerate();
        let (place, sent) = places
            .find(|(_, sent)| is_it(&sent.stage))
            .ok_or(Mismatch)?;
        let answered = sent.clone();
        sent.stage = Stage::Done;
        self.taken.give_back(packet_id);
        self.open -= 1;
        if place == 0 {
            let is_done = |sent: &Sent| sent.stage == Stage::Done;
            while self.sent.front().is_some_and(is_done) {
                self.sent.pop_front();
                self.left -= 1;
            }
            self.first_since = Instant::now();
        }
        Ok(answered)
    }

    /// How many were handed over since the oldest unanswered one, which counts. The client gives
    /// out packet ids in turn, so while this stays within their number, none is given twice.
    pub(super) fn span(&self) -> usize {
        self.sent.len()
    }

    /// How many are unanswered.
    pub(super) const fn len(&self) -> usize {
        self.open
    }

    /// The one event that the broker can be speaking of, where only one is on the wire.
    pub(super) fn only(&self) -> Option<&Sent> {
        let mut on_wire = self.on_wire();
        on_wire.next().filter(|_| on_wire.next().is_none())
    }

    /// Whether the broker has anything to answer.
    pub(super) fn is_on_wire(&self) -> bool {
        self.on_wire().next().is_some()
    }

    fn on_wire(&self) -> impl Iterator<Item = &Sent> {
        let on_wire = |sent: &&Sent| !matches!(sent.stage, Stage::Queued | Stage::Done);
        self.sent.iter().filter(on_wire)
    }

    /// The moment from which the connection counts as dead.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.sent.front()?;
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

    /// Events handed over, of which the first left under the packet ids 1, 2 …
    fn flight(seqs: std::ops::RangeInclusive<u64>, left: u16) -> Flight {
        let mut flight = Flight::new(PATIENCE);
        for seq in seqs {
            flight.push(Seq::new(seq), "t".into(), 0);
        }
        for packet_id in 1..=left {
            flight.left(packet_id).unwrap();
        }
        flight
    }

    fn answered(flight: &mut Flight, packet_id: u16) -> Result<u64, Mismatch> {
        flight.answered(packet_id).map(|sent| sent.seq.get())
    }

    fn completed(flight: &mut Flight, packet_id: u16) -> Result<(u64, bool), Mismatch> {
        let completed = flight.completed(packet_id);
        completed.map(|(sent, unheard)| (sent.seq.get(), unheard))
    }

    #[test]
    fn answers_find_their_event_in_any_order() {
        let mut flight = flight(11..=14, 3);
        assert_eq!(answered(&mut flight, 2), Ok(12));
        assert_eq!((flight.len(), flight.span()), (3, 4));
        assert_eq!(answered(&mut flight, 1), Ok(11));
        assert_eq!((flight.len(), flight.span()), (2, 2));
        // Given out again, to the one that was still queued.
        flight.left(1).unwrap();
        assert_eq!(answered(&mut flight, 3), Ok(13));
        assert_eq!(flight.only().map(|sent| sent.seq), Some(Seq::new(14)));
        assert_eq!(answered(&mut flight, 1), Ok(14));
        assert_eq!((flight.len(), flight.span()), (0, 0));
    }

    #[test]
    fn what_fits_nothing_is_told_and_changes_nothing() {
        let mut flight = flight(1..=3, 2);
        assert_eq!(answered(&mut flight, 3), Err(Mismatch));
        assert_eq!(completed(&mut flight, 1), Err(Mismatch));
        assert_eq!(flight.left(2), Err(Mismatch));
        assert!(flight.only().is_none());
        flight.left(3).unwrap();
        assert_eq!(flight.left(4), Err(Mismatch));
        flight.received(1, false).unwrap();
        assert_eq!(answered(&mut flight, 1), Err(Mismatch));
        assert_eq!(flight.received(1, false), Err(Mismatch));
        assert_eq!(flight.left(1), Err(Mismatch));
        assert_eq!(completed(&mut flight, 1), Ok((1, false)));
        assert_eq!(completed(&mut flight, 1), Err(Mismatch));
        assert_eq!(flight.len(), 2);
    }

    #[test]
    fn that_nobody_subscribed_is_remembered_until_the_end_of_the_exchange() {
        let mut flight = flight(1..=2, 2);
        flight.received(1, true).unwrap();
        flight.received(2, false).unwrap();
        assert_eq!(completed(&mut flight, 2), Ok((2, false)));
        assert_eq!(flight.span(), 2);
        assert_eq!(completed(&mut flight, 1), Ok((1, true)));
        assert_eq!(flight.span(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_starts_again_when_the_first_is_answered_and_not_before() {
        let start = Instant::now();
        let mut flight = flight(1..=3, 3);
        tokio::time::advance(SECOND).await;
        flight.answered(2).unwrap();
        assert_eq!(flight.deadline(), Some(start + PATIENCE));
        flight.answered(1).unwrap();
        assert_eq!(flight.deadline(), Some(start + SECOND + PATIENCE));
        flight.answered(3).unwrap();
        assert!(flight.deadline().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_event_is_given_the_time_that_a_slow_link_needs() {
        let mut flight = Flight::new(PATIENCE);
        flight.push(Seq::new(1), "t".into(), 256 * 1_024);
        assert_eq!(
            flight.deadline(),
            Some(Instant::now() + PATIENCE + 32 * SECOND)
        );
    }
}
