//! The statements that were sent and are not answered.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tokio_postgres::{Client, Error};

use crate::sink::postgres::row::{self, Absent, Batch, Row, Texts};

/// The slowest link on which a large statement still passes, in bytes per second.
const SLOWEST_LINK: f64 = 8.0 * 1_024.0;

/// A statement larger than this gains nothing: it is held in memory three times (here, in the
/// client, at the server).
const MAX_STATEMENT_BYTES: usize = 1024 * 1024;

/// Statements in the order they were sent, in which their answers are handed on, and since when nothing
/// was heard. The clock starts again with each answer, whichever it is: a slow link makes
/// progress, and is told from one on which nothing moves.
///
/// A link has to show that it carries a large statement: the first ones pass in half the patience
/// on the slowest link, and they double each time that an answer comes so soon. So a statement needs no
/// more time than the patience, and a link that goes silent is noticed as soon with a large
/// statement on it as with a small one.
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    silent_since: Instant,
    patience: Duration,
    /// What a statement may take, in bytes.
    room: usize,
}

/// The rows of an answered statement, and which of them are not there all the same.
pub(super) type Answer = (Vec<Row>, Result<Absent, Error>);

struct Sent {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    /// The answer, where it was there before its turn.
    early: Option<Answer>,
    events: usize,
    /// What it takes beyond the room there was: one event that is larger by itself.
    excess: usize,
}

impl Sent {
    /// Takes in what there is of its answer. True where this completes it.
    fn advance(&mut self, context: &mut Context<'_>) -> bool {
        if self.early.is_none()
            && let Poll::Ready(answer) = self.answer.as_mut().poll(context)
        {
            self.early = Some(answer);
            return true;
        }
        false
    }
}

impl Flight {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            sent: VecDeque::new(),
            silent_since: Instant::now(),
            patience,
            room: least_room(patience),
        }
    }

    /// How many bytes the next statement may take, unless it is one event.
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// Hands a statement to the connection, behind all others. Never waits.
    pub(super) async fn launch(&mut self, client: &Arc<Client>, texts: &Arc<Texts>, batch: Batch) {
        let (client, texts) = (client.clone(), texts.clone());
        let mut sent = Sent {
            events: batch.rows().len(),
            excess: excess(batch.rows(), self.room),
            answer: Box::pin(async move {
                let (rows, parameters) = batch.into_parts();
                let stored = row::store(client, texts, &rows, parameters).await;
                (rows, stored)
            }),
            early: None,
        };
        // The first poll queues it, so statements leave in this order.
        poll_fn(|context| {
            sent.advance(context);
            Poll::Ready(())
        })
        .await;
        self.launched(sent);
    }

    fn launched(&mut self, sent: Sent) {
        // Nothing else is waited for, though answers may wait for their turn.
        if self.unanswered().next().is_none() {
            self.silent_since = Instant::now();
        }
        self.sent.push_back(sent);
    }

    /// The first statement's answer; `None` where another's came, which moves the [`Self::deadline`], too.
    /// Pending without either. Cancel-safe.
    ///
    /// All are taken in: the client reads on for nobody while it holds an answer that nobody takes, and
    /// the first one may be asking the server a question behind the others.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        poll_fn(|context| {
            let mut came = false;
            for sent in &mut self.sent {
                came |= sent.advance(context);
            }
            if came {
                self.heard();
            }
            let is_first = self.sent.front().is_some_and(|first| first.early.is_some());
            match came || is_first {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        let first = self.sent.pop_front_if(|first| first.early.is_some());
        first.and_then(|first| first.early)
    }

    /// Something was answered: how soon decides on what the next statement may take.
    fn heard(&mut self) {
        let soon = self.silent_since.elapsed() <= self.patience / 2;
        self.room = match soon {
            true => (self.room * 2).min(MAX_STATEMENT_BYTES),
            false => (self.room / 2).max(least_room(self.patience)),
        };
        self.silent_since = Instant::now();
    }

    /// How many statements' answers are not handed on.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// How many events are in those that are unanswered.
    pub(super) fn events(&self) -> usize {
        self.unanswered().map(|sent| sent.events).sum()
    }

    /// The moment from which the connection counts as dead.
    pub(super) fn deadline(&self) -> Option<Instant> {
        // The largest of them: the first one may be asking its question behind it.
        let excess = self.unanswered().map(|sent| sent.excess).max()?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate in seconds")]
        let passage = Duration::from_secs_f64(excess as f64 / SLOWEST_LINK);
        Some(self.silent_since + self.patience + passage)
    }

    fn unanswered(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| sent.early.is_none())
    }
}

/// What the slowest link carries in half the patience.
fn least_room(patience: Duration) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number that is cut at the maximum"
    )]
    let bytes = (patience.as_secs_f64() / 2.0 * SLOWEST_LINK) as usize;
    bytes.min(MAX_STATEMENT_BYTES)
}

fn excess(rows: &[Row], room: usize) -> usize {
    let bytes: usize = rows.iter().map(Row::bytes).sum();
    bytes.saturating_sub(room)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);

    /// A flight with statements that are answered after so many seconds each.
    fn flight(answers: &[u64]) -> Flight {
        let mut flight = Flight::new(PATIENCE);
        for seconds in answers {
            flight.launched(Sent::after(Duration::from_secs(*seconds)));
        }
        flight
    }

    impl Sent {
        /// One that is answered so long after it is asked for the first time.
        fn after(time: Duration) -> Self {
            Self {
                answer: Box::pin(async move {
                    sleep(time).await;
                    (Vec::new(), Ok(Absent::new()))
                }),
                early: None,
                events: 1,
                excess: 0,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_before_its_turn_starts_the_clock_again() {
        let begun = Instant::now();
        // The first one asks its question behind the others.
        let mut flight = flight(&[9, 3, 6]);
        for seconds in [3, 6] {
            assert!(flight.answer().await.is_none());
            assert_eq!(begun.elapsed().as_secs(), seconds);
            assert_eq!(flight.deadline(), Some(Instant::now() + PATIENCE));
        }
        assert_eq!(flight.len(), 3);
        for _ in 0..3 {
            assert!(flight.answer().await.is_some());
        }
        assert_eq!(begun.elapsed().as_secs(), 9);
        assert_eq!(flight.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_of_a_statement_does_not_begin_before_it_is_sent() {
        let mut flight = flight(&[2, 1, 1]);
        while flight.answer().await.is_none() {}
        // Nobody asked for longer than the patience: the answers of the others are there.
        sleep(2 * PATIENCE).await;
        assert_eq!(flight.deadline(), None);
        assert!(flight.answer().await.is_some());
        flight.launched(Sent::after(Duration::from_secs(3)));
        assert_eq!(flight.deadline(), Some(Instant::now() + PATIENCE));
        assert!(flight.answer().await.is_some());
        assert_eq!(flight.deadline(), Some(Instant::now() + PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_behind_a_large_event_has_the_time_of_its_passage() {
        let mut flight = flight(&[9]);
        let begun = Instant::now();
        flight.launched(Sent {
            excess: 8 * 1_024,
            ..Sent::after(Duration::from_secs(9))
        });
        assert_eq!(
            flight.deadline(),
            Some(begun + PATIENCE + Duration::from_secs(1))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_judged_when_it_comes_and_not_when_its_turn_is() {
        let mut flight = flight(&[9, 3, 6]);
        flight.room = 4 * least_room(PATIENCE);
        while flight.len() > 0 {
            flight.answer().await;
        }
        // Three seconds are more than half of the patience, each time.
        assert_eq!(flight.room(), least_room(PATIENCE));
    }
}
