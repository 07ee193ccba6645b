//! The `stdout` sink: one line for each event, an envelope or a CloudEvent.
//!
//! A line counts as stored once it was flushed. That says only that the operating system has it:
//! whoever reads the other end of the pipe may never have seen it, and cannot be asked. So this
//! sink is at least once, and is never a required one. Writing blocks, and with it this sink's
//! own thread, for as long as the reader does not read.

use std::{
    collections::VecDeque,
    fmt,
    future::pending,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    seq::Seq,
    sink::{Format, InDoubt, Incarnation, Outcome, Parcel, Position, ReadBack, SinkError},
    status::{Guarantee, GuaranteeLevel},
};

/// Lines written between two flushes, at most.
const MAX_UNFLUSHED: usize = 1_024;

/// Writes each event as a line.
pub struct StdoutSink {
    output: Output,
    format: Format,
}

impl StdoutSink {
    /// To this process's standard output.
    #[must_use]
    pub fn new() -> Self {
        Self::to(io::stdout())
    }

    /// To any writer. What is written to it between two flushes may be lost with the process.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        let page = Page {
            writer: Box::new(writer),
            torn: false,
        };
        Self {
            output: Output(Arc::new(Mutex::new(page))),
            format: Format::OneLine,
        }
    }

    /// Each line is a CloudEvent in structured mode instead.
    #[must_use]
    pub fn with_cloud_events(self) -> Self {
        Self {
            format: Format::CloudEvents,
            ..self
        }
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    pub(super) fn connect(&self) -> StdoutSession {
        StdoutSession {
            output: self.output.clone(),
            unflushed: VecDeque::new(),
            flushed: 0,
        }
    }
}

impl Default for StdoutSink {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StdoutSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdoutSink").finish_non_exhaustive()
    }
}

/// The writer, which outlives each session.
#[derive(Clone)]
struct Output(Arc<Mutex<Page>>);

struct Page {
    writer: Box<dyn Write + Send>,
    /// A write failed and may have left half a line, which the next line must not join.
    torn: bool,
}

impl Output {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let mut page = self.page();
        let torn = std::mem::replace(&mut page.torn, true);
        if torn {
            page.writer.write_all(b"\n")?;
        }
        page.writer.write_all(line)?;
        page.writer.write_all(b"\n")?;
        page.torn = false;
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut page = self.page();
        let flushed = page.writer.flush();
        page.torn |= flushed.is_err();
        flushed
    }
}

/// The time from one trouble with the writer to the next.
pub struct StdoutSession {
    output: Output,
    /// Written and not yet reported, oldest first.
    unflushed: VecDeque<Seq>,
    /// How many at the front of `unflushed` are flushed.
    flushed: usize,
}

impl StdoutSession {
    pub(super) fn guarantee(&self) -> Guarantee {
        Guarantee {
            level: GuaranteeLevel::AtLeastOnce,
            unmet: vec![
                "standard output cannot be read back: use a sink of type nats or postgres for exactly once".into(),
            ],
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation::default()
    }

    pub(super) fn head(&self) -> Position {
        Position::default()
    }

    pub(super) fn max_in_flight(&self) -> usize {
        MAX_UNFLUSHED
    }

    pub(super) async fn read_back(&mut self, _doubt: &InDoubt) -> Result<ReadBack, SinkError> {
        Ok(ReadBack::default())
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        self.output
            .write_line(&parcel.body)
            .map_err(|error| unwritable(&error))?;
        self.unflushed.push_back(parcel.seq);
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Outcome {
        if self.flushed == 0 && !self.unflushed.is_empty() {
            if let Err(error) = self.output.flush() {
                return Outcome::Lost(unwritable(&error));
            }
            self.flushed = self.unflushed.len();
        }
        match self.unflushed.pop_front() {
            Some(seq) => {
                self.flushed -= 1;
                Outcome::Stored {
                    seq,
                    position: Position::default(),
                }
            }
            None => pending().await,
        }
    }

    pub(super) async fn close(self) {}
}

fn unwritable(error: &io::Error) -> SinkError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        SinkError::halt(
            "broken_pipe",
            "writing to standard output failed: nobody reads it",
        )
        .with_hint("start the reader again together with edge-outbox, or configure another sink")
    } else {
        SinkError::retry(
            "output_failed",
            format!("writing to standard output failed: {error}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::{Duration, timeout};

    use super::*;
    use crate::{
        envelope::{Digest, Epoch},
        sink::{Beside, ErrorKind},
    };

    /// A pipe whose reader can be told to fail once, or to go.
    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<(Vec<u8>, Option<io::ErrorKind>)>>);

    impl Pipe {
        fn fail_in_mid_line(&self, kind: io::ErrorKind) {
            self.0.lock().unwrap().1 = Some(kind);
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut pipe = self.0.lock().unwrap();
            match pipe.1 {
                None => {
                    pipe.0.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
                Some(_) if bytes.len() > 1 => {
                    pipe.0.push(bytes[0]);
                    Ok(1)
                }
                Some(_) => Err(pipe.1.take().unwrap().into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn parcel(seq: u64, body: &'static str) -> Parcel {
        Parcel {
            seq: Seq::new(seq),
            epoch: Epoch::from_uuid(uuid::Uuid::nil()),
            id: uuid::Uuid::nil(),
            digest: Digest::ZERO,
            event_type: "quiz.submitted.v1".into(),
            body: Bytes::from_static(body.as_bytes()),
            beside: Beside::Nothing,
            redelivered: false,
        }
    }

    #[tokio::test]
    async fn each_envelope_becomes_a_line_and_is_confirmed_in_order() {
        let pipe = Pipe::default();
        let mut session = StdoutSink::to(pipe.clone()).connect();
        for seq in 1..=2 {
            session.send(parcel(seq, "{}")).await.unwrap();
        }
        for seq in 1..=2 {
            let stored = session.next().await;
            assert!(matches!(stored, Outcome::Stored { seq: s, .. } if s == Seq::new(seq)));
        }
        assert!(
            timeout(Duration::from_millis(20), session.next())
                .await
                .is_err()
        );
        assert_eq!(pipe.text(), "{}\n{}\n");
    }

    #[tokio::test]
    async fn a_line_torn_by_a_full_disk_does_not_swallow_the_next() {
        let pipe = Pipe::default();
        let sink = StdoutSink::to(pipe.clone());
        pipe.fail_in_mid_line(io::ErrorKind::StorageFull);
        let error = sink.connect().send(parcel(1, "{1}")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Retry);
        sink.connect().send(parcel(1, "{1}")).await.unwrap();
        assert_eq!(pipe.text(), "{1\n{1}\n");
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_a_halt_with_a_hint() {
        let pipe = Pipe::default();
        pipe.fail_in_mid_line(io::ErrorKind::BrokenPipe);
        let error = StdoutSink::to(pipe)
            .connect()
            .send(parcel(1, "{}"))
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::Halt, "broken_pipe"));
        assert!(error.hint.is_some());
    }
}
