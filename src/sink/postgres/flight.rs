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

/// Statements in the order they were sent, which is the order of their answers, and since when the
/// first of them is the first. The clock starts again with each answer: a slow link makes
/// progress, and is told from one on which nothing moves.
///
/// A link has to show that it carries a large statement: the first ones pass in half the patience
/// on the slowest link, and they double with each answer that comes so soon. So a statement needs no
/// more time than the patience, and a link that goes silent is noticed as soon with a large
/// statement on it as with a small one.
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    first_since: Instant,
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
    /// Takes in what there is of its answer.
    fn advance(&mut self, context: &mut Context<'_>) {
        if self.early.is_none()
            && let Poll::Ready(answer) = self.answer.as_mut().poll(context)
        {
            self.early = Some(answer);
        }
    }
}

impl Flight {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            sent: VecDeque::new(),
            first_since: Instant::now(),
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
        if self.sent.is_empty() {
            self.first_since = Instant::now();
        }
        self.sent.push_back(sent);
    }

    /// The first statement's answer; pending without one. Cancel-safe.
    ///
    /// All are taken in meanwhile: the client reads on for nobody while it holds an answer that nobody
    /// takes, and the first one may be asking the server a question behind the others.
    pub(super) async fn answer(&mut self) -> Answer {
        let answer = poll_fn(|context| {
            for sent in &mut self.sent {
                sent.advance(context);
            }
            let first = self.sent.front_mut();
            let answer = first.and_then(|first| first.early.take());
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.sent.pop_front();
        let soon = self.first_since.elapsed() <= self.patience / 2;
        self.room = match soon {
            true => (self.room * 2).min(MAX_STATEMENT_BYTES),
            false => (self.room / 2).max(least_room(self.patience)),
        };
        self.first_since = Instant::now();
        answer
    }

    /// How many statements are unanswered.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// How many events are in them.
    pub(super) fn events(&self) -> usize {
        self.sent.iter().map(|sent| sent.events).sum()
    }

    /// The moment from which the connection counts as dead.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.sent.front()?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate in seconds")]
        let passage = Duration::from_secs_f64(first.excess as f64 / SLOWEST_LINK);
        Some(self.first_since + self.patience + passage)
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
