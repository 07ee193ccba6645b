//! Recovering a damaged journal, before it is opened.

use super::{JOURNAL_FILE, KEY_FILE, OutboxBuilder, existing_key};
use crate::{
    clock::{Clock as _, SystemClock},
    journal::{FileStorage, Identity, NewBoard, Recovery, SinkName, opening_entropy, recover},
    outbox::OpenError,
};

impl OutboxBuilder {
    /// Makes a new journal of what can still be read of a damaged one, under the same key and name,
    /// and puts it in its place; the damaged one is kept beside it. `Ok(None)` where nothing is wrong
    /// with the journal and no `damage` is known to the caller either: then nothing is changed.
    ///
    /// `sinks` are those that may have been sent events, and whether trimming waits for them: where no
    /// cursor can be read, all that is held counts as in doubt for them. A name that is none is
    /// passed over, for nothing was sent under it.
    ///
    /// Takes a read of the whole file, and as much room on the disk as the events that are held. A
    /// crash at any moment leaves either the damaged journal or the new one in its place.
    ///
    /// What the medium does not give is tried again, for 10 s in all, and then done without. Where no event
    /// is found beside it, that is an error and not an empty journal.
    ///
    /// # Errors
    /// As [`OpenError`] says; the journal is then as it was.
    pub fn recover(
        self,
        sinks: &[(String, bool)],
        known: Option<String>,
    ) -> Result<Option<Recovery>, OpenError> {
        let journal_file = self.dir.join(JOURNAL_FILE);
        let key = match self.key {
            Some(key) => key,
            None => existing_key(&self.dir.join(KEY_FILE), &journal_file)?,
        };
        let identity = Identity {
            device: None,
            key,
            previous_key: None,
            source: self.source,
            may_begin_epoch: true,
            new_board: NewBoard::No,
        };
        let sinks: Vec<(SinkName, bool)> = sinks
            .iter()
            .filter_map(|(name, required)| Some((SinkName::new(name).ok()?, *required)))
            .collect();
        let recovered = recover(
            FileStorage::new(&self.dir),
            identity,
            &sinks,
            known,
            self.limits,
            self.cache_bytes,
            opening_entropy(),
            SystemClock::new().stamp(),
        )
        .map_err(|fault| fault.opening(&journal_file))?;
        if let Some(recovery) = &recovered {
            tracing::error!("{}", recovery.text());
        }
        Ok(recovered)
    }
}
