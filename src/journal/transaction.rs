//! A program's own transaction: its tables and its events in one commit.

use std::cell::{Cell, RefCell};

use redb::{
    Key, MultimapTable, MultimapTableDefinition, MultimapTableHandle, Table, TableDefinition,
    TableHandle, Value, WriteTransaction,
};

use super::{
    entropy::system_entropy,
    error::AppendError,
    sealed::Sealed,
    staging::{Appended, Staging, View},
    store::RESERVED_PREFIX,
};
use crate::event::Event;

/// What a program's closure gets: it opens the program's own tables in the journal's file and
/// appends events. All of it is committed together, or none.
///
/// The closure runs on the writer's thread, alone in its commit: while it runs nothing else is
/// appended, so it should be short.
pub struct Transaction<'a> {
    inner: &'a WriteTransaction,
    view: View<'a>,
    staging: RefCell<Staging>,
}

/// Why a table does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The name is one of the outbox's own.
    #[error("table {0:?} belongs to the outbox: names beginning {RESERVED_PREFIX:?} are reserved")]
    Reserved(String),
    /// redb refused.
    #[error(transparent)]
    Redb(#[from] redb::TableError),
}

impl<'a> Transaction<'a> {
    /// Runs the closure over the staged commit and gives both back.
    pub(super) fn run<T, E>(
        inner: &'a WriteTransaction,
        view: View<'a>,
        staging: Staging,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<(T, Staging), E> {
        let transaction = Self {
            inner,
            view,
            staging: RefCell::new(staging),
        };
        let value = run(&transaction)?;
        Ok((value, transaction.staging.into_inner()))
    }

    /// Opens a table of the program's own, making it when it is new.
    ///
    /// # Errors
    /// [`TableError::Reserved`] for a name of the outbox's own; otherwise what redb says.
    pub fn open_table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<Table<'_, K, V>, TableError> {
        check_name(definition.name())?;
        Ok(self.inner.open_table(definition)?)
    }

    /// Opens a multimap table of the program's own, making it when it is new.
    ///
    /// # Errors
    /// As [`Self::open_table`].
    pub fn open_multimap_table<K: Key + 'static, V: Key + 'static>(
        &self,
        definition: MultimapTableDefinition<'_, K, V>,
    ) -> Result<MultimapTable<'_, K, V>, TableError> {
        check_name(definition.name())?;
        Ok(self.inner.open_multimap_table(definition)?)
    }

    /// Appends an event to this transaction. Its seq holds if the transaction commits.
    ///
    /// # Errors
    /// As [`AppendError`] says; the transaction goes on without the event.
    pub fn append(&self, event: Event) -> Result<Appended, AppendError> {
        let sealed = Sealed::seal(
            event,
            0,
            self.view.limits.max_payload_bytes,
            &mut system_entropy(),
        )?;
        let mut places = self.staging.borrow_mut().append(self.view, vec![sealed])?;
        places.pop().ok_or(AppendError::Closed)
    }
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread is running a program's closure. Holds what was before: a
/// transaction may read.
pub(crate) struct Inside(bool);

impl Inside {
    pub(crate) fn enter() -> Self {
        Self(INSIDE.replace(true))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Whether this thread is running a program's closure, which would wait for itself if it asked
/// the writer for anything: a transaction always, a read once the writer waits for it to end.
pub(crate) fn inside() -> bool {
    INSIDE.get()
}

pub(super) fn check_name(name: &str) -> Result<(), TableError> {
    match name.starts_with(RESERVED_PREFIX) {
        true => Err(TableError::Reserved(name.to_owned())),
        false => Ok(()),
    }
}
