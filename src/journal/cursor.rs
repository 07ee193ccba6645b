//! Where each sink stands, and what else a commit must carry from one start to the next.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::seq::{Incarnation, Position, Seq};

/// Longest name of a sink, in bytes.
pub const MAX_SINK_NAME_BYTES: usize = 64;

/// A sink's name: `[a-z0-9_-]{1,64}`. Under another name it is another sink.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SinkName(Box<str>);

/// The text is no name for a sink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sink's name is 1 to {MAX_SINK_NAME_BYTES} of a-z, 0-9, _ and -, which {0:?} is not")]
pub struct SinkNameError(String);

impl SinkName {
    /// Checks the text.
    ///
    /// # Errors
    /// [`SinkNameError`] for anything but `[a-z0-9_-]{1,64}`.
    pub fn new(text: &str) -> Result<Self, SinkNameError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > MAX_SINK_NAME_BYTES || !text.bytes().all(allowed) {
            return Err(SinkNameError(
                text.chars().take(MAX_SINK_NAME_BYTES).collect(),
            ));
        }
        Ok(Self(text.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for SinkName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Where a sink begins that has no place in the journal yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// With the oldest event held.
    #[default]
    Oldest,
    /// After the newest event at the moment of its registration. The ledger says which events it
    /// will not get.
    Now,
}

/// A sink that was forgotten, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Its name.
    pub sink: SinkName,
    /// Events that it had not confirmed.
    pub pending: u64,
    /// Events that it had rejected for good.
    pub dead_letters: u64,
}

/// The window of a sink that is carried by hand: all that is there may be on its way at once.
pub(crate) const BY_HAND: u32 = u32::MAX;

/// A sink's durable position: `confirmed ≤ acked ≤ claimed ≤ tail`.
///
/// After a crash, everything up to `acked` is settled, everything after `claimed` has never left
/// the device, and what lies between is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// What need not be kept for this sink any longer.
    pub confirmed: Seq,
    /// The contiguous prefix that the sink has stored or that is a dead letter.
    pub acked: Seq,
    /// Nothing after this was ever handed to the network.
    pub claimed: Seq,
    /// Nothing that is in doubt was stored at or below this position.
    pub floor: Position,
    /// The container that `floor` belongs to.
    pub incarnation: Incarnation,
    /// Whether trimming waits for this sink.
    pub required: bool,
    /// Events that this sink rejected for good.
    pub dead_letters: u64,
}

impl Cursor {
    /// A sink that is to begin after `seq`.
    pub(crate) fn after(seq: Seq, required: bool) -> Self {
        Self {
            confirmed: seq,
            acked: seq,
            claimed: seq,
            floor: Position::default(),
            incarnation: Incarnation::default(),
            required,
            dead_letters: 0,
        }
    }

    /// Takes over what the forwarder learnt. `acked` never goes back, and never passes `claimed`.
    /// What is confirmed is left to [`Self::confirm`].
    pub(crate) fn advance(&mut self, progress: Progress) {
        if progress.acked < self.acked {
            return;
        }
        self.acked = progress.acked.min(self.claimed);
        self.floor = progress.floor;
        self.incarnation = progress.incarnation;
    }

    /// Everything up to here is safe at the other side. It never passes `acked`.
    pub(crate) fn confirm(&mut self, upto: Seq) {
        self.confirmed = self.confirmed.max(upto.min(self.acked));
    }

    /// Moves past the event after `acked`, which is given up for this sink. It holds up no trimming
    /// by itself, but what lies before it may.
    pub(crate) fn step_over(&mut self) {
        let next = self.acked.next();
        if self.confirmed == self.acked {
            self.confirmed = next;
        }
        self.acked = next;
        self.claimed = self.claimed.max(next);
    }

    /// Moves past events that are held no longer.
    pub(crate) fn skip_to(&mut self, seq: Seq) {
        self.acked = self.acked.max(seq);
        self.confirmed = self.confirmed.max(seq);
        self.claimed = self.claimed.max(seq);
    }
}

/// What the forwarder learnt from a sink, to be made durable with the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The contiguous prefix that is settled.
    pub acked: Seq,
    /// Nothing after `acked` that may have been sent was stored at or below this position.
    pub floor: Position,
    /// The container that `floor` belongs to.
    pub incarnation: Incarnation,
}

/// The cursors of all sinks, by name.
pub(crate) type Cursors = BTreeMap<SinkName, Cursor>;

/// What the last commit knew. It rides in the last row of each append; a commit without an
/// append writes it to a small table. The higher revision is the newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Counts commits; never reset in a journal.
    pub(crate) revision: u64,
    /// Bytes of all rows held, but for the row that carries this checkpoint, which cannot know
    /// its own length.
    pub(crate) held_bytes: u64,
    /// Ids up to this seq stand in the table of ids.
    pub(crate) ids_upto: Seq,
    /// The boot whose events were stamped by a clock that was not set, until it is anchored; nil
    /// when there is none.
    pub(crate) unanchored_boot: Uuid,
    /// All cursors.
    pub(crate) cursors: Cursors,
}

impl Checkpoint {
    /// Of a journal that holds nothing.
    pub(crate) fn fresh() -> Self {
        Self {
            revision: 0,
            held_bytes: 0,
            ids_upto: Seq::NONE,
            unanchored_boot: Uuid::nil(),
            cursors: Cursors::new(),
        }
    }
}
