//! The outbox for plain threads.

use tokio::runtime::Handle;
use uuid::Uuid;

use super::{Appended, EraseError, Erased, Outbox, ReadError, TransactError, Transaction};
use crate::{event::Event, journal::AppendError};

/// The same calls as [`Outbox`]'s, for plain threads. Not for use inside an async runtime, where
/// waiting would stop others: such a call panics.
#[derive(Clone)]
pub struct Blocking {
    outbox: Outbox,
    /// The writer's; it is only borrowed to wait on.
    runtime: Handle,
}

impl Blocking {
    pub(super) fn new(outbox: Outbox, runtime: Handle) -> Self {
        Self { outbox, runtime }
    }

    /// See [`Outbox::append`].
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub fn append(&self, event: Event) -> Result<Appended, AppendError> {
        if crate::journal::inside() {
            return Err(AppendError::InsideTransaction);
        }
        self.runtime.block_on(self.outbox.append(event))
    }

    /// See [`Outbox::append_batch`].
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub fn append_batch(&self, events: Vec<Event>) -> Result<Vec<Appended>, AppendError> {
        if crate::journal::inside() {
            return Err(AppendError::InsideTransaction);
        }
        self.runtime.block_on(self.outbox.append_batch(events))
    }

    /// See [`Outbox::transact`].
    ///
    /// # Errors
    /// As [`TransactError`] says.
    pub fn transact<T, E, F>(&self, run: F) -> Result<T, TransactError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    {
        if crate::journal::inside() {
            return Err(TransactError::InsideTransaction);
        }
        self.runtime.block_on(self.outbox.transact(run))
    }

    /// See [`Outbox::erase`].
    ///
    /// # Errors
    /// As [`EraseError`] says.
    pub fn erase(&self, id: Uuid) -> Result<Erased, EraseError> {
        if crate::journal::inside() {
            return Err(ReadError::Closed.into());
        }
        self.runtime.block_on(self.outbox.erase(id))
    }

    /// See [`Outbox::close`].
    pub fn close(&self) {
        if crate::journal::inside() {
            tracing::error!("closed from inside a transaction, which would wait for itself");
            return;
        }
        drop(
            self.outbox
                .shared
                .commands
                .blocking_send(crate::journal::Command::Close),
        );
        let writer = self.outbox.shared.writer.lock();
        let writer = writer
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer's thread panicked");
        }
    }
}
