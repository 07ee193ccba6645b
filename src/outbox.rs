//! The library's face: one open outbox, handed around as cheap clones.

mod blocking;
mod board;
mod builder;
mod letters;
mod sink_handle;
mod stream;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

#[cfg(feature = "carry")]
pub(crate) use crate::journal::BY_HAND;
#[cfg(feature = "carry")]
use crate::journal::ReceiptCommand;
pub use crate::journal::{
    AppendError, Appended, Batch, Chosen, Claim, Cursor, DeadLetter, DeadLetterError,
    DeadLettersChanged, EraseError, Erased, ForgetError, Forgotten, Horizon, MAX_DEAD_LETTERS,
    OpenError, Progress, ReadError, ReadView, Recovery, RegisterError, RejectError, Retry,
    RetryState, Settled, Start, TableError, Transaction, WhenFull,
};
use crate::{
    envelope::{DeviceName, Epoch},
    event::Event,
    history::History,
    ingest::Door,
    journal::{
        self, Command, End, Finish, Inside, Job, Reader, Registered, SinkName, Wanted, panic_text,
        unguarded,
    },
    meter::Meter,
    seq::Seq,
    signing::PublicKey,
    status::Status,
    status_board::StatusBoard,
};

#[cfg(any(feature = "cli", feature = "http"))]
pub(crate) use self::builder::JOURNAL_FILE;
#[cfg(feature = "cli")]
pub(crate) use self::builder::KEY_FILE;
pub use self::{
    blocking::Blocking,
    builder::{
        DEFAULT_BALLAST, DEFAULT_MAX_BYTES, DEFAULT_MAX_PAYLOAD_BYTES, DEFAULT_MIN_FREE,
        OutboxBuilder,
    },
    sink_handle::{Registration, SinkHandle, SinkReads},
    stream::EventStream,
};

/// An open outbox; a cheap clone. The journal closes when [`Outbox::close`] is called or the last
/// clone, forwarder and stream are gone.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    door: Door,
    commands: mpsc::Sender<Command>,
    reader: Reader,
    board: StatusBoard,
    device: DeviceName,
    public_key: PublicKey,
    runtime: tokio::runtime::Handle,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its seq.
    pub seq: Seq,
    /// Its epoch; `None` once it is trimmed.
    pub epoch: Option<Epoch>,
    /// Per sink, by name.
    pub sinks: Vec<(String, Delivery)>,
}

/// What became of an event at one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Not confirmed yet.
    Pending,
    /// Confirmed.
    Delivered,
    /// A dead letter, with its reason code.
    Rejected(String),
}

/// Why a transaction did not commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactError<E> {
    /// The closure returned this error. Nothing was written.
    #[error("the transaction was given up: {0}")]
    Program(E),
    /// The closure panicked. Nothing was written.
    #[error("the transaction panicked: {0}")]
    Panicked(String),
    /// A write failed under the commit: it may be there or not.
    #[error("the write failed, so the outcome is unknown")]
    OutcomeUnknown,
    /// The journal is being reopened after a failed read or write. The closure did not run, or what it
    /// wrote is gone.
    #[error("the journal is being reopened after a failed read or write")]
    Unavailable,
    /// The outbox is closed. The closure did not run.
    #[error("the outbox is closed")]
    Closed,
    /// Called from inside a transaction or a read, where it would wait for itself.
    #[error("called from inside a transaction or a read, which would wait for itself")]
    InsideTransaction,
}

/// The status does not know this sink.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveredError {
    /// No sink of this name has a place in the journal.
    #[error("no sink {0:?} has a place in the journal")]
    UnknownSink(String),
    /// The outbox was closed before it was delivered.
    #[error("the outbox is closed")]
    Closed,
}

impl Outbox {
    /// Starts with the data directory, which is made if it does not exist.
    pub fn builder(dir: impl Into<PathBuf>) -> OutboxBuilder {
        OutboxBuilder::new(dir.into())
    }

    /// Takes an event in. When this returns `Ok` the event is durable and signed, and survives a
    /// power cut.
    ///
    /// Dropping the future once it has been polled cancels nothing that already waits for the
    /// writer. What a caller saw no answer for may be appended again with the same id.
    ///
    /// # Errors
    /// As [`AppendError`] says; each variant says what is true of the event then.
    pub async fn append(&self, event: Event) -> Result<Appended, AppendError> {
        let mut places = self.shared.door.append(vec![event]).await?;
        places.pop().ok_or(AppendError::Closed)
    }

    /// Takes all of the events in one commit, or none.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn append_batch(&self, events: Vec<Event>) -> Result<Vec<Appended>, AppendError> {
        self.shared.door.append(events).await
    }

    /// Runs a closure on the writer's thread, alone in one commit: it opens the program's own
    /// tables in the same file and appends events, and all of it becomes durable together. An
    /// error or a panic rolls everything back, and harms nobody else's appends.
    ///
    /// The closure must not call the outbox; that is refused, not deadlocked.
    ///
    /// # Errors
    /// As [`TransactError`] says.
    pub async fn transact<T, E, F>(&self, run: F) -> Result<T, TransactError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    {
        if journal::inside() {
            return Err(TransactError::InsideTransaction);
        }
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            let Some(transaction) = transaction else {
                return Err(finish(reply, |_| Err(TransactError::Unavailable)));
            };
            // The journal's own state is only touched after the closure has returned, so a panic
            // leaves nothing half done.
            match catch_unwind(AssertUnwindSafe(|| unguarded(|| run(transaction)))) {
                Ok(Ok(value)) => Ok(finish(reply, |end| match end {
                    End::Committed => Ok(value),
                    End::Unknown => Err(TransactError::OutcomeUnknown),
                    End::NotTaken => Err(TransactError::Unavailable),
                })),
                Ok(Err(error)) => Err(finish(reply, |_| Err(TransactError::Program(error)))),
                Err(panic) => {
                    let said = panic_text(&*panic);
                    Err(finish(reply, |_| Err(TransactError::Panicked(said))))
                }
            }
        });
        let sent = self.shared.commands.send(Command::Transact(job)).await;
        sent.map_err(|_| TransactError::Closed)?;
        answer.await.unwrap_or(Err(TransactError::Unavailable))
    }

    /// The same calls for plain threads.
    #[must_use]
    pub fn blocking(&self) -> Blocking {
        Blocking::new(self.clone(), self.shared.runtime.clone())
    }

    /// Reads the program's own tables, as the last commit left them. It should be short: while it
    /// runs, a failed journal cannot be reopened. The closure must not call the outbox: whoever
    /// asks the writer for something then waits for the end of this very read.
    ///
    /// # Errors
    /// [`ReadError`] where there is nothing to read from; the closure's own otherwise.
    pub fn read<T, E: From<ReadError>>(
        &self,
        read: impl FnOnce(&ReadView<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _inside = Inside::enter();
        let mut answer = None;
        let outcome = self.shared.reader.store().read(|inner| {
            // The program's panic is its own, and no word on the journal.
            answer = Some(catch_unwind(AssertUnwindSafe(|| {
                unguarded(|| read(&ReadView::new(inner)))
            })));
            Ok(())
        });
        match (outcome, answer) {
            (Ok(()), Some(Ok(answer))) => answer,
            (Ok(()), Some(Err(panic))) => resume_unwind(panic),
            (Err(fault), _) => Err(E::from(fault.into())),
            (Ok(()), None) => Err(E::from(ReadError::Closed)),
        }
    }

    /// The events from this seq on, as they would be sent.
    #[must_use]
    pub fn events(&self, from: Seq) -> EventStream {
        EventStream::new(self.shared.reader.clone(), self.status(), from)
    }

    /// What became of an event, by its id, among the last 65,536; `None` for any other.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn find(&self, id: Uuid) -> Result<Option<Found>, ReadError> {
        if journal::inside() {
            return Err(ReadError::Closed);
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.commands.send(Command::Find { id, reply }).await;
        sent.map_err(|_| ReadError::Closed)?;
        let Some(seq) = answer.await.map_err(|_| ReadError::Closed)? else {
            return Ok(None);
        };
        let epoch = self
            .shared
            .reader
            .record(seq, |record| record.statement.epoch)?;
        let places: Vec<(String, Seq)> = {
            let status = self.shared.board.borrow();
            status
                .sinks
                .iter()
                .map(|(name, sink)| (name.clone(), sink.acked))
                .collect()
        };
        let sinks = places.into_iter().map(|(name, acked)| {
            let sink = SinkName::new(&name).map_err(|_| ReadError::Closed)?;
            let delivery = match self.shared.reader.rejection(&sink, seq)? {
                Some(code) => Delivery::Rejected(code),
                None if seq <= acked => Delivery::Delivered,
                None => Delivery::Pending,
            };
            Ok((name, delivery))
        });
        let sinks = sinks.collect::<Result<_, ReadError>>()?;
        Ok(Some(Found { seq, epoch, sinks }))
    }

    /// Waits until this sink has everything up to `seq`, delivered or as dead letters.
    ///
    /// # Errors
    /// As [`DeliveredError`] says.
    pub async fn delivered(&self, sink: &str, seq: Seq) -> Result<(), DeliveredError> {
        let mut status = self.status();
        let known = |status: &Status| status.sinks.get(sink).map(|sink| sink.acked);
        if known(&status.borrow()).is_none() {
            return Err(DeliveredError::UnknownSink(sink.to_owned()));
        }
        let there = status
            .wait_for(|status| known(status).is_none_or(|acked| acked >= seq))
            .await;
        there.map(drop).map_err(|_| DeliveredError::Closed)
    }

    /// The status, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.board.subscribe()
    }

    /// What was appended and delivered over the last hours, as counted since the outbox was opened.
    #[must_use]
    pub fn history(&self) -> History {
        self.shared.board.history()
    }

    /// Tells a fault in the status, as the last one.
    #[cfg(feature = "cli")]
    pub(crate) fn tell_fault(&self, text: String) {
        let board = &self.shared.board;
        board.send_modify(|status| status.journal.last_error = Some(text));
    }

    /// Notes for the next start that the journal is damaged.
    pub(crate) fn note_damage(&self, what: &str) {
        journal::damage::remember(&self.shared.dir, what);
    }

    /// Says where the process listens, for the status.
    pub fn set_listening(&self, addresses: Vec<String>) {
        self.shared
            .board
            .send_modify(|status| status.listening = addresses);
    }

    /// The largest payload taken, in bytes.
    #[must_use]
    pub fn max_payload_bytes(&self) -> usize {
        self.shared.door.max_payload_bytes()
    }

    /// The device's name.
    #[must_use]
    pub fn device(&self) -> &DeviceName {
        &self.shared.device
    }

    /// The key that verifies what this outbox signs.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.shared.public_key
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// What was counted since the outbox was opened.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        self.shared.reader.store().meter()
    }

    /// Gives a sink's task its place in the journal: the one it had, or a new one where
    /// [`Registration::start`] says. One task at a time has it, until it drops the handle.
    ///
    /// # Errors
    /// As [`RegisterError`] says.
    pub async fn sink(&self, registration: Registration) -> Result<SinkHandle, RegisterError> {
        if journal::inside() {
            return Err(RegisterError::Journal(ReadError::Closed));
        }
        let name = SinkName::new(&registration.name)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Register {
            name: name.clone(),
            kind: registration.kind,
            wanted: Wanted {
                required: registration.required,
                window: u64::from(registration.window),
                start: registration.start,
            },
            by_receipts: registration.by_receipts,
            reply,
        };
        let closed = || RegisterError::Journal(ReadError::Closed);
        self.shared
            .commands
            .send(command)
            .await
            .map_err(|_| closed())?;
        let Registered {
            cursor,
            life,
            horizon,
            noted,
        } = answer.await.map_err(|_| closed())??;
        let place = (cursor, life);
        Ok(SinkHandle::new(self.clone(), name, place, horizon, noted))
    }

    /// Takes its place away from a sink that nobody forwards to any more: its cursor and its dead
    /// letters go, and what was kept for it alone is trimmed. All of it is one commit, with an
    /// `outbox.sink_forgotten.v1` in the ledger that names what the sink had not confirmed; a crash
    /// leaves all of it or nothing. Should a sink of the same name come back, it is a new one.
    ///
    /// # Errors
    /// As [`ForgetError`] says: among others for a sink that is in use.
    pub async fn forget(&self, sink: &str) -> Result<Forgotten, ForgetError> {
        let name = SinkName::new(sink)?;
        if journal::inside() {
            return Err(ReadError::Closed.into());
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.commands.send(Command::Forget { name, reply });
        sent.await.map_err(|_| ReadError::Closed)?;
        let forgotten = answer.await.map_err(|_| ReadError::Closed)??;
        self.meter().forget(sink);
        Ok(forgotten)
    }

    /// Erases a person: what is personal (aggregate, subject person, payload, and the salt that
    /// kept them from being guessed) of every event held that has this id as its aggregate or its
    /// subject. The events keep their places, digests and signatures, and are delivered without
    /// what was erased where they are still pending; `outbox.events_erased.v1` names them.
    ///
    /// When this returns, nothing of it is left in the journal's file. That takes a while where
    /// the file is large; appends and deliveries go on meanwhile. Once begun it is completed,
    /// whoever goes away, after a crash by the next start. What is appended after it has begun is
    /// not erased. Out of reach are copies that have left, the tables of programs, and what flash
    /// keeps of overwritten blocks.
    ///
    /// # Errors
    /// As [`EraseError`] says.
    pub async fn erase(&self, id: Uuid) -> Result<Erased, EraseError> {
        if journal::inside() {
            return Err(ReadError::Closed.into());
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.commands.send(Command::Erase { id, reply });
        sent.await.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }

    /// A signed tail: how far the journal goes.
    #[cfg(feature = "carry")]
    pub(crate) async fn tail_message(&self) -> Result<Vec<u8>, ReadError> {
        if journal::inside() {
            return Err(ReadError::Closed);
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Receipt(ReceiptCommand::Tail { reply });
        let sent = self.shared.commands.send(command).await;
        sent.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)
    }

    /// Finishes the commit in hand, makes durable what the sinks have confirmed, and closes the
    /// journal. Calls on other clones answer `Closed` from then on.
    pub async fn close(&self) {
        if journal::inside() {
            tracing::error!("closed from inside a transaction, which would wait for itself");
            return;
        }
        // An error means that it is closed already.
        drop(self.shared.commands.send(Command::Close).await);
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the writer's thread panicked");
            }
        }
    }
}

/// Sends what the ending makes of the answer.
fn finish<A: Send + 'static>(
    reply: oneshot::Sender<A>,
    answer: impl FnOnce(End) -> A + Send + 'static,
) -> Finish {
    // Whoever asked may have gone away; the commit stands all the same.
    Box::new(move |end| drop(reply.send(answer(end))))
}
