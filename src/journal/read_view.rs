//! A program's view of its own tables, as the last commit left them.

use redb::{Key, ReadOnlyTable, ReadTransaction, TableDefinition, TableHandle as _, Value};

use super::transaction::{TableError, check_name};

/// What a program reads its own tables through.
pub struct ReadView<'a> {
    inner: &'a ReadTransaction,
}

impl<'a> ReadView<'a> {
    pub(crate) fn new(inner: &'a ReadTransaction) -> Self {
        Self { inner }
    }

    /// Opens a table of the program's own.
    ///
    /// # Errors
    /// [`TableError::Reserved`] for a name of the outbox's own; otherwise what redb says, for one
    /// that the table does not exist yet.
    pub fn open_table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, TableError> {
        check_name(definition.name())?;
        Ok(self.inner.open_table(definition)?)
    }
}
