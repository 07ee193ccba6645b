//! The one door in, whoever knocks: a library call, HTTP, the socket, `append`.
//!
//! Limits are checked and events sealed here, in the caller's thread; then the request waits in
//! the writer's queue, which is bounded in requests and in bytes.

pub mod body;

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    event::Event,
    journal::{
        self, AppendError, Appended, Command, MAX_REQUEST_BYTES, MAX_REQUEST_EVENTS, Sealed,
        system_entropy,
    },
    meter::{Meter, Refusal},
};

/// Payload bytes of requests that wait for the writer, all together. Events that came in one body may
/// hold all of it, which is at most twice as much.
pub const MAX_QUEUED_BYTES: usize = 2 * MAX_REQUEST_BYTES;

/// What an event counts for in the queue beside its payload.
const QUEUED_EVENT_BYTES: usize = 256;

/// The door. A cheap clone.
#[derive(Clone)]
pub(crate) struct Door {
    commands: mpsc::Sender<Command>,
    budget: Arc<Semaphore>,
    max_payload_bytes: usize,
    meter: Arc<Meter>,
}

impl Door {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        max_payload_bytes: usize,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            commands,
            budget: Arc::new(Semaphore::new(MAX_QUEUED_BYTES)),
            max_payload_bytes,
            meter,
        }
    }

    /// The largest payload that passes, in bytes.
    pub(crate) fn max_payload_bytes(&self) -> usize {
        self.max_payload_bytes
    }

    /// Takes all of the events or none; durable when it returns `Ok`.
    pub(crate) async fn append(&self, events: Vec<Event>) -> Result<Vec<Appended>, AppendError> {
        let taken = self.take(events).await;
        match &taken {
            Ok(places) => {
                let repeated = places.iter().filter(|place| place.repeated).count();
                self.meter.repeated.add(repeated as u64);
            }
            Err(error) => {
                if let Some(why) = refusal(error) {
                    self.meter.refuse(why);
                }
            }
        }
        taken
    }

    async fn take(&self, events: Vec<Event>) -> Result<Vec<Appended>, AppendError> {
        if journal::inside() {
            return Err(AppendError::InsideTransaction);
        }
        let bytes = events.iter().map(|event| event.payload.len()).sum();
        if events.len() > MAX_REQUEST_EVENTS || (bytes > MAX_REQUEST_BYTES && events.len() > 1) {
            return Err(AppendError::BatchTooLarge {
                events: events.len(),
                bytes,
                max_events: MAX_REQUEST_EVENTS,
                max_bytes: MAX_REQUEST_BYTES,
            });
        }
        let mut entropy = system_entropy();
        let weight = (bytes + events.len() * QUEUED_EVENT_BYTES).min(MAX_QUEUED_BYTES);
        let request = events
            .into_iter()
            .enumerate()
            .map(|(index, event)| Sealed::seal(event, index, self.max_payload_bytes, &mut entropy))
            .collect::<Result<Vec<_>, _>>()?;
        if request.is_empty() {
            return Ok(Vec::new());
        }
        let permits = u32::try_from(weight).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.budget)
            .acquire_many_owned(permits)
            .await
            .map_err(|_| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Append {
                request,
                reply,
                budget,
            })
            .await
            .map_err(|_| AppendError::Closed)?;
        // Without an answer the writer is gone, and with it the word on how it ended.
        answer.await.unwrap_or(Err(AppendError::OutcomeUnknown))
    }
}

/// What the refusal is counted as; nothing for a mistake of the program's own.
const fn refusal(error: &AppendError) -> Option<Refusal> {
    Some(match error {
        AppendError::Conflict { .. } => Refusal::Conflict,
        AppendError::TooLarge { .. }
        | AppendError::BatchTooLarge { .. }
        | AppendError::LargerThanQuota { .. } => Refusal::TooLarge,
        AppendError::Full { .. } | AppendError::DiskFull { .. } => Refusal::Full,
        AppendError::OutcomeUnknown => Refusal::OutcomeUnknown,
        AppendError::Unavailable | AppendError::Closed => Refusal::Unavailable,
        AppendError::InsideTransaction => return None,
    })
}
