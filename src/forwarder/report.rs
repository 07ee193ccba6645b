//! What people are told of a sink: its part of the status, and one log line when trouble starts
//! and one when it ends.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    forwarder::delivery::Delivery,
    outbox::SinkHandle,
    sink::{ErrorKind, SinkError},
    status::{Guarantee, SinkState, SinkTrouble},
};

/// Reports on one sink. Says nothing where nothing changed.
pub(super) struct Report {
    handle: Arc<SinkHandle>,
    state: Option<SinkState>,
    next_attempt: Option<Duration>,
    guarantee: Option<Guarantee>,
    /// The trouble that the log was told of and that has not ended.
    trouble: Option<ErrorKind>,
}

impl Report {
    pub(super) fn new(handle: Arc<SinkHandle>) -> Self {
        Self {
            handle,
            state: None,
            next_attempt: None,
            guarantee: None,
            trouble: None,
        }
    }

    /// Something went wrong.
    pub(super) fn trouble(&mut self, error: &SinkError) {
        let sink = self.handle.name();
        let hint = error.hint.as_deref().unwrap_or_default();
        match (error.kind, self.trouble) {
            // One event is given up; the ledger and the count of dead letters hold each.
            (ErrorKind::Reject, _) => {
                tracing::warn!(%sink, code = error.code, hint, "an event was rejected: {error}");
            }
            (ErrorKind::Halt, Some(ErrorKind::Halt)) | (ErrorKind::Retry, Some(_)) => {}
            (ErrorKind::Halt, _) => {
                tracing::error!(%sink, code = error.code, hint, "halted: {error}");
                self.trouble = Some(ErrorKind::Halt);
            }
            (ErrorKind::Retry, None) => {
                tracing::warn!(%sink, code = error.code, hint, "trouble: {error}");
                self.trouble = Some(ErrorKind::Retry);
            }
        }
        let trouble = SinkTrouble {
            kind: error.kind.as_str().into(),
            code: error.code.into(),
            message: error.message.clone(),
            hint: error.hint.clone(),
            at: Timestamp::now(),
        };
        self.handle.report(|sink| sink.last_error = Some(trouble));
    }

    /// Where delivery stands at `now`, and the guarantee of the session in hand.
    pub(super) fn update(
        &mut self,
        delivery: &Delivery,
        guarantee: Option<Guarantee>,
        now: Duration,
    ) {
        if self.trouble.is_some() && delivery.is_well() {
            self.trouble = None;
            tracing::info!(sink = %self.handle.name(), "the trouble is over");
        }
        let state = delivery.state();
        let next_attempt = delivery.next_attempt();
        let news = self.state != Some(state) || self.next_attempt != next_attempt;
        let promise = guarantee.filter(|guarantee| self.guarantee.as_ref() != Some(guarantee));
        if !news && promise.is_none() {
            return;
        }
        self.state = Some(state);
        self.next_attempt = next_attempt;
        self.handle.report(|sink| {
            sink.state = state;
            sink.next_attempt = next_attempt.and_then(|at| after(at.saturating_sub(now)));
            if let Some(promise) = &promise {
                sink.guarantee = promise.clone();
            }
        });
        self.guarantee = promise.or(self.guarantee.take());
    }

    /// The task ends.
    pub(super) fn stopped(&self) {
        self.handle.report(|sink| {
            sink.state = SinkState::Stopped;
            sink.next_attempt = None;
        });
    }
}

fn after(wait: Duration) -> Option<Timestamp> {
    let micros = i64::try_from(wait.as_micros()).ok()?;
    Timestamp::from_micros(Timestamp::now().as_micros().saturating_add(micros)).ok()
}
