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

use crate::sink::postgres::row::{self, Row};

/// The slowest link on which a large statement still passes, in bytes per second.
const SLOWEST_LINK: f64 = 8.0 * 1_024.0;

/// Statements in the order they were sent, which is the order of their answers, and since when the
/// first of them is the first. The clock starts again with each answer: a slow link makes
/// progress, and is told from one on which nothing moves.
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    first_since: Instant,
    patience: Duration,
}

/// The rows of an answered statement, and how many of them were new.
pub(super) type Answer = (Vec<Row>, Result<u64, Error>);

struct Sent {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    /// The answer, where it was there before anybody waited for it.
    early: Option<Answer>,
    events: usize,
    bytes: usize,
}

impl Sent {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        match self.early.take() {
            Some(answer) => Poll::Ready(answer),
            None => self.answer.as_mut().poll(context),
        }
    }
}

impl Flight {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            sent: VecDeque::new(),
            first_since: Instant::now(),
            patience,
        }
    }

    /// Hands a statement to the connection, behind all others. Never waits.
    pub(super) async fn launch(&mut self, client: &Arc<Client>, text: &Arc<str>, rows: Vec<Row>) {
        let (client, text) = (client.clone(), text.clone());
        let mut sent = Sent {
            events: rows.len(),
            bytes: rows.iter().map(Row::bytes).sum(),
            answer: Box::pin(async move {
                let stored = row::store(client, text, &rows).await;
                (rows, stored)
            }),
            early: None,
        };
        // The first poll encodes it and queues it, so statements leave in this order.
        poll_fn(|context| {
            if let Poll::Ready(answer) = sent.answer.as_mut().poll(context) {
                sent.early = Some(answer);
            }
            Poll::Ready(())
        })
        .await;
        if self.sent.is_empty() {
            self.first_since = Instant::now();
        }
        self.sent.push_back(sent);
    }

    /// The first statement's answer; pending without one. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Answer {
        let answer = poll_fn(|context| match self.sent.front_mut() {
            Some(first) => first.poll(context),
            None => Poll::Pending,
        })
        .await;
        self.sent.pop_front();
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
        let passage = Duration::from_secs_f64(first.bytes as f64 / SLOWEST_LINK);
        Some(self.first_since + self.patience + passage)
    }
}
