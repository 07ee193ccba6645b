//! The board that a journal belongs to, and what happens when it wakes up on another one: its card
//! was copied, or put into another board.
//!
//! Whoever signed under the key that came with the card would fork the chain of the board that it
//! came from. So the journal goes on under a key and an epoch of its own, and under a name of its
//! own unless one is configured. What it holds stays, under the signatures it has, and is delivered:
//! from a card that was put into another board it could come from nowhere else, and from a copy the
//! same bytes come twice, which a receiver sees by their digests.
//!
//! # What a crash leaves
//!
//! The file `hardware` says which board it is, and on which board it is being taken over from which
//! key. It is written before anything else changes, and again once the new epoch is durable; each
//! time whole, or not at all. Between the two, a start goes on where the last one was cut off: the
//! key is replaced only while it is the one that came with the card, and the epoch begins only where
//! the journal was written under another key than the one at hand.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    hardware::Hardware,
    journal::NewBoard,
    signing::{DeviceKey, KeyError, KeyId, replace_file},
};

/// The name of the file in the data directory.
const FILE: &str = "hardware";
/// The version of what is in it.
const VERSION: u8 = 1;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    version: u8,
    /// The board that the journal belongs to.
    board: Hardware,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_over: Option<TakenOver>,
}

/// A journal on its way from one board to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TakenOver {
    /// The new one.
    by: Hardware,
    /// The key that came with the card, where it was in its file.
    from_key: Option<KeyId>,
}

/// What has to be done about the board before the journal is opened, and after.
pub(super) struct Board {
    file: PathBuf,
    here: Hardware,
    remembered: Hardware,
    /// What is to be remembered once the new epoch is durable.
    taken_over: Option<TakenOver>,
    /// Whether the file says so already.
    is_begun: bool,
}

impl Board {
    /// Compares this board with the one remembered, and remembers one that is new here. What it
    /// finds of another one changes nothing yet: see [`Self::begin`].
    pub(super) fn recognise(
        dir: &Path,
        here: Hardware,
        key: Option<KeyId>,
        has_journal: bool,
    ) -> io::Result<Self> {
        let file = dir.join(FILE);
        let memory = load(&file)?;
        let is_new = memory.is_none();
        let Memory {
            board: mut remembered,
            taken_over,
            ..
        } = memory.unwrap_or_else(|| Memory::of(here.clone()));
        let before = remembered.clone();
        let is_other = here.is_other_than(&remembered);
        let mut drop_it = false;
        let taken_over = match taken_over {
            // Put back before anything had come of it.
            Some(old) if !is_other && here.is_known() && key == old.from_key => {
                drop_it = true;
                None
            }
            Some(old) => Some((old, true)),
            // Of a start that was cut off before there was a key.
            None if is_other && key.is_none() && !has_journal => {
                remembered = here.clone();
                None
            }
            None if is_other => {
                let by = here.clone();
                Some((TakenOver { by, from_key: key }, false))
            }
            None => {
                remembered.learn(&here);
                None
            }
        };
        let changes = is_new || drop_it || remembered != before;
        if changes && remembered.is_known() && taken_over.is_none() {
            Memory::of(remembered.clone()).save(&file)?;
        }
        let is_begun = taken_over.as_ref().is_some_and(|(_, begun)| *begun);
        Ok(Self {
            file,
            here,
            remembered,
            taken_over: taken_over.map(|(taken_over, _)| taken_over),
            is_begun,
        })
    }

    /// Whether the journal is about to be taken over by this board. It must not be in use then.
    pub(super) fn is_to_begin(&self) -> bool {
        self.taken_over.is_some() && !self.is_begun
    }

    /// From now on the file says that the journal is being taken over.
    pub(super) fn begin(&self) -> io::Result<()> {
        tracing::error!(
            was = ?self.remembered,
            is = ?self.here,
            "this card was copied from another board or put into another one: the outbox goes on \
             under an identity of its own, which the hub has to be told (`edge-outbox identity`); \
             what it still holds is delivered under the old one"
        );
        let memory = Memory {
            taken_over: self.taken_over.clone(),
            ..Memory::of(self.remembered.clone())
        };
        memory.save(&self.file)
    }

    /// Replaces the key that came with the card, if that has not been done already.
    pub(super) fn replace_key(&self, key_file: &Path) -> Result<(), KeyError> {
        let Some(TakenOver {
            from_key: Some(from_key),
            ..
        }) = &self.taken_over
        else {
            return Ok(());
        };
        if DeviceKey::load(key_file)?.public_key().id() == *from_key {
            DeviceKey::generate()?.store_over(key_file)?;
        }
        Ok(())
    }

    /// What the journal has to know. A key that is not ours to replace is on both boards.
    pub(super) fn news(&self, key_is_given: bool) -> NewBoard {
        match (&self.taken_over, key_is_given) {
            (None, _) => NewBoard::No,
            (Some(_), false) => NewBoard::UnderNewKey,
            (Some(_), true) => NewBoard::UnderSameKey,
        }
    }

    /// The new epoch is durable.
    pub(super) fn remember(self) -> io::Result<()> {
        let Some(TakenOver { by: mut board, .. }) = self.taken_over else {
            return Ok(());
        };
        if self.here.is_other_than(&board) {
            // Put into yet another one since then; nothing was signed in between.
            board = self.here;
        } else {
            board.learn(&self.here);
        }
        Memory::of(board).save(&self.file)
    }
}

impl Memory {
    const fn of(board: Hardware) -> Self {
        Self {
            version: VERSION,
            board,
            taken_over: None,
        }
    }

    fn save(&self, file: &Path) -> io::Result<()> {
        replace_file(file, &serde_json::to_vec(self)?)
    }
}

/// A file that makes no sense is as good as none: nothing is sure then.
fn load(file: &Path) -> io::Result<Option<Memory>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let memory = serde_json::from_slice::<Memory>(&bytes);
    let memory = memory.ok().filter(|memory| memory.version == VERSION);
    if memory.is_none() {
        tracing::warn!(file = %file.display(), "the board that was remembered cannot be read");
    }
    Ok(memory)
}

#[cfg(test)]
mod tests;
