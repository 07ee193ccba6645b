//! The events of a journal, one envelope a line.

use bytes::Bytes;
use tokio::sync::watch;

use super::ReadError;
use crate::{envelope::Common, journal::Reader, seq::Seq, status::Status};

/// Most events in one chunk.
const CHUNK_EVENTS: usize = 256;

/// Bytes of rows after which a chunk is closed.
const CHUNK_BYTES: usize = 128 * 1024;

/// The events from a seq on, as envelopes of one line each.
pub struct EventStream {
    reader: Reader,
    status: watch::Receiver<Status>,
    next: Seq,
    follow: bool,
}

impl EventStream {
    pub(super) fn new(reader: Reader, status: watch::Receiver<Status>, from: Seq) -> Self {
        Self {
            reader,
            status,
            next: from.max(Seq::FIRST),
            follow: false,
        }
    }

    /// Whether to wait for events still to come, instead of ending at the tail.
    #[must_use]
    pub fn follow(self, follow: bool) -> Self {
        Self { follow, ..self }
    }

    /// The next envelopes, whole lines; `None` at the end.
    ///
    /// # Errors
    /// The journal cannot be read. A damaged group ends the stream.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            let tail = self.status.borrow_and_update().tail;
            if self.next <= tail {
                let (chunk, next) = self.read().await?;
                self.next = next;
                if !chunk.is_empty() {
                    return Ok(Some(chunk.into()));
                }
            } else if !self.follow || self.status.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Off the runtime's threads: a card may take its time.
    async fn read(&self) -> Result<(Vec<u8>, Seq), ReadError> {
        let (reader, from) = (self.reader.clone(), self.next);
        let read = move || {
            let batch = reader.batch(from, CHUNK_EVENTS, CHUNK_BYTES)?;
            let (mut lines, mut next) = (Vec::new(), from.next());
            let mut common = Common::default();
            for record in batch.records() {
                let record = record?;
                record.render_with(&mut common, false, true, &mut lines);
                lines.push(b'\n');
                next = record.statement.seq.next();
            }
            Ok((lines, next))
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(_) => Err(ReadError::Closed),
        }
    }
}
