//! Answers and their bodies.

use std::{
    future::pending,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::{Frame, SizeHint},
    header::{self, HeaderValue},
};
use serde::Serialize;

use super::stopping::Stopping;
use crate::outbox::{EventStream, ReadError};

/// The body of an answer.
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// Envelopes, one a line, for as long as there are any.
    Events(Pump),
}

impl Body {
    pub(super) const fn empty() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        let chunk = match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => None,
            Self::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::Events(pump) => ready!(pump.poll_next(cx)),
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// What an [`EventStream`] gave, and the stream itself for the next time.
type Step = Pin<Box<dyn Future<Output = (EventStream, Result<Option<Bytes>, ReadError>)> + Send>>;

/// Pulls chunk after chunk out of an [`EventStream`], one at a time, as the client reads them.
pub(super) struct Pump {
    step: Option<Step>,
    stopping: Option<Stopping>,
}

impl Pump {
    /// `stopping` is for a stream that waits for more and would never end. One that ends by itself
    /// must not seem complete because of a shutdown.
    pub(super) fn new(events: EventStream, stopping: Option<Stopping>) -> Self {
        let step = Some(step(events, stopping.clone()));
        Self { step, stopping }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadError>>> {
        let Some(pending) = &mut self.step else {
            return Poll::Ready(None);
        };
        let (events, chunk) = ready!(pending.as_mut().poll(cx));
        self.step = None;
        if let Err(error) = &chunk {
            // The client sees no more of it than an answer that breaks off.
            tracing::warn!(%error, "an answer with events broke off");
        }
        let chunk = chunk.transpose();
        if matches!(chunk, Some(Ok(_))) {
            self.step = Some(step(events, self.stopping.clone()));
        }
        Poll::Ready(chunk)
    }
}

fn step(mut events: EventStream, stopping: Option<Stopping>) -> Step {
    Box::pin(async move {
        let stopped = async {
            match stopping {
                Some(mut stopping) => stopping.stopped().await,
                None => pending().await,
            }
        };
        let chunk = tokio::select! {
            chunk = events.next_chunk() => chunk,
            () = stopped => Ok(None),
        };
        (events, chunk)
    })
}

/// An answer of one JSON value.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let bytes = match serde_json::to_vec(value) {
        Ok(bytes) => bytes,
        Err(error) => {
            // What is answered are structs of texts and numbers: this cannot be reached by data.
            tracing::error!(%error, "an answer does not serialise");
            return with(StatusCode::INTERNAL_SERVER_ERROR, Body::empty());
        }
    };
    let mut response = with(status, Body::Whole(bytes.into()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// An answer with this body and no header yet.
pub(super) fn with(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
