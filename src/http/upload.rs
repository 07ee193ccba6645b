//! Reading a request's body within bounds of size, time and memory.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

use super::{
    options::HttpOptions,
    problem::{Kind, Problem},
};

/// Bodies up to this many bytes are read without asking for room, so that nobody who holds the
/// room keeps single events out. They are bounded by the number of connections.
const SMALL_BODY_BYTES: usize = 16 * 1024;
/// How many of the largest bodies find room together.
const LARGE_BODIES: usize = 4;
/// How long a large body waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// The bounds of a listener's bodies.
pub(super) struct Uploads {
    max_bytes: usize,
    total: Duration,
    stall: Duration,
    room: Semaphore,
}

/// A body on its way in.
pub(super) struct Arriving {
    body: Incoming,
    ended: bool,
}

impl Arriving {
    pub(super) const fn new(body: Incoming) -> Self {
        Self { body, ended: false }
    }

    /// Whether the client has sent all of it, and all of it was read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    async fn next_frame(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
        // Asked only at the end, a chunked body does not know that it was the end.
        self.ended = frame.is_none();
        frame
    }
}

/// A body that has arrived, and the room it takes until it is dropped.
pub(super) struct Upload<'a> {
    pub(super) bytes: Bytes,
    _room: Option<SemaphorePermit<'a>>,
}

impl Uploads {
    pub(super) fn new(options: &HttpOptions) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize) / LARGE_BODIES;
        let max_bytes = options.max_body_bytes.min(most);
        Self {
            max_bytes,
            total: options.body_timeout,
            stall: options.stall_timeout,
            room: Semaphore::new(max_bytes * LARGE_BODIES),
        }
    }

    /// Reads a body to its end.
    pub(super) async fn read(&self, arriving: &mut Arriving) -> Result<Upload<'_>, Problem> {
        let announced = arriving.body.size_hint().exact().map(usize::try_from);
        let announced = match announced {
            Some(Ok(bytes)) if bytes <= self.max_bytes => Some(bytes),
            Some(_) => return Err(self.too_large()),
            None => None,
        };
        let room = self.room_for(announced.unwrap_or(self.max_bytes)).await?;
        let deadline = Instant::now() + self.total;
        // A copy, for a frame is a part of the connection's buffer, and whoever holds it holds all of that.
        let mut bytes = Vec::new();
        loop {
            let patience = deadline.min(Instant::now() + self.stall);
            let frame = timeout_at(patience, arriving.next_frame())
                .await
                .map_err(|_| {
                    Problem::new(
                        Kind::RequestTimeout,
                        "the body stopped arriving, or took too long",
                    )
                })?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| {
                Problem::new(
                    Kind::BadRequest,
                    "the body broke off, or its framing is wrong",
                )
            })?;
            // Trailers say nothing that is asked for.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > self.max_bytes {
                return Err(self.too_large());
            }
            // There is room for what was announced.
            bytes.reserve_exact(announced.unwrap_or(0).saturating_sub(bytes.len()));
            bytes.extend_from_slice(&data);
        }
        let bytes = bytes.into_boxed_slice().into();
        Ok(Upload { bytes, _room: room })
    }

    async fn room_for(&self, bytes: usize) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        if bytes <= SMALL_BODY_BYTES {
            return Ok(None);
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        match timeout(ROOM_TIMEOUT, self.room.acquire_many(permits)).await {
            Ok(Ok(room)) => Ok(Some(room)),
            _ => Err(Problem::new(Kind::Busy, "too many large bodies are being read").retry_soon()),
        }
    }

    fn too_large(&self) -> Problem {
        let detail = format!("the body has more than {} bytes", self.max_bytes);
        Problem::new(Kind::TooLarge, detail).hint("send the events in several requests")
    }
}
