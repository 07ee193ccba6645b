//! What people are told of a sink: its part of the status, and one log line when trouble starts
//! and one when it ends, however many attempts lie between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Timestamp,
    forwarder::delivery::Delivery,
    lasted::Lasted,
    outbox::SinkHandle,
    seq::Seq,
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
    trouble: Option<Trouble>,
}

struct Trouble {
    /// The worst of it so far: retry or halt.
    kind: ErrorKind,
    since: Instant,
    /// How far the sink had come when it began.
    acked: Seq,
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

    /// Something went wrong at a sink that has everything up to `acked`.
    pub(super) fn trouble(&mut self, error: &SinkError, acked: Seq) {
        let meter = self.handle.meter();
        match error.kind {
            ErrorKind::Retry => meter.retries.add(1),
            ErrorKind::Halt => meter.halts.add(1),
            // Counted once it is a dead letter.
            ErrorKind::Reject => {}
        }
        let sink = self.handle.name();
        let hint = error.hint.as_deref().unwrap_or_default();
        let known = self.trouble.as_ref().map(|trouble| trouble.kind);
        match (error.kind, known) {
            // One event is given up; the ledger and the count of dead letters hold each.
            (ErrorKind::Reject, _) => {
                tracing::warn!(%sink, code = error.code, hint, "an event was rejected: {error}");
            }
            (ErrorKind::Halt, Some(ErrorKind::Halt)) | (ErrorKind::Retry, Some(_)) => {}
            (ErrorKind::Halt, _) => {
                tracing::error!(%sink, code = error.code, hint, "halted: {error}");
                self.begin(ErrorKind::Halt, acked);
            }
            (ErrorKind::Retry, None) => {
                tracing::warn!(%sink, code = error.code, hint, "trouble: {error}");
                self.begin(ErrorKind::Retry, acked);
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

    /// Notes the trouble that the log was told of. What only grows worse began before.
    fn begin(&mut self, kind: ErrorKind, acked: Seq) {
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            kind,
            since: Instant::now(),
            acked,
        });
        trouble.kind = kind;
    }

    /// Where delivery stands at `now`, and the guarantee of the session in hand.
    pub(super) fn update(
        &mut self,
        delivery: &Delivery,
        guarantee: Option<Guarantee>,
        now: Duration,
    ) {
        if let Some(trouble) = self.trouble.take_if(|_| delivery.is_well()) {
            tracing::info!(
                sink = %self.handle.name(),
                lasted = %Lasted(trouble.since.elapsed()),
                delivered = delivery.acked().since(trouble.acked),
                pending = delivery.tail().since(delivery.acked()),
                "the trouble is over"
            );
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
