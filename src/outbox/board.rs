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
    /// Whether the file says so of yet another board.
    is_anew: bool,
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
        let (mut drop_it, mut is_anew) = (false, false);
        let taken_over = match taken_over {
            // Put back before anything had come of it.
            Some(old) if !is_other && here.is_known() && key == old.from_key => {
                drop_it = true;
                None
            }
            // Copied, or put into yet another one, before that was done: it begins anew, for the
            // key that is there now may be on several cards.
            Some(old) if here.is_other_than(&old.by) => {
                is_anew = true;
                let by = here.clone();
                Some((TakenOver { by, from_key: key }, false))
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
            keep(&Memory::of(remembered.clone()), &file);
        }
        let is_begun = taken_over.as_ref().is_some_and(|(_, begun)| *begun);
        Ok(Self {
            file,
            here,
            remembered,
            taken_over: taken_over.map(|(taken_over, _)| taken_over),
            is_begun,
            is_anew,
        })
    }

    /// Whether the journal is about to be taken over by this board. It must not be in use then.
    pub(super) fn is_to_begin(&self) -> bool {
        self.taken_over.is_some() && !self.is_begun
    }

    /// From now on the file says that the journal is being taken over, whose last event `writer`
    /// signed. Another key than that did not come with the journal: somebody gave it to this board.
    pub(super) fn begin(&mut self, writer: Option<KeyId>) -> io::Result<()> {
        if let (Some(taken_over), Some(writer), false) =
            (&mut self.taken_over, writer, self.is_anew)
        {
            taken_over.from_key = taken_over.from_key.filter(|key| *key == writer);
        }
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
        match DeviceKey::load(key_file) {
            Ok(key) if key.public_key().id() == *from_key => {
                DeviceKey::generate()?.store_over(key_file)
            }
            Ok(_) => Ok(()),
            // Somebody took it away in the meantime.
            Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// What the journal has to know. A key that is not ours to replace is on both boards.
    pub(super) fn news(&self, key_is_given: bool) -> NewBoard {
        match (&self.taken_over, key_is_given) {
            (None, _) => NewBoard::No,
            (Some(_), false) => NewBoard::UnderNewKey,
            (Some(_), true) => NewBoard::UnderSameKey,
        }
    }

    /// The new epoch is durable. Where that cannot be written down, the next start tries again.
    pub(super) fn remember(self) {
        let Some(TakenOver { by: mut board, .. }) = self.taken_over else {
            return;
        };
        board.learn(&self.here);
        keep(&Memory::of(board), &self.file);
    }
}

/// Writes down what can be found out again: a disk that is full must not keep the journal shut, for
/// only what is delivered makes room.
fn keep(memory: &Memory, file: &Path) {
    if let Err(error) = memory.save(file) {
        tracing::warn!(file = %file.display(), %error, "the board could not be remembered");
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
