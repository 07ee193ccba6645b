//! Dead letters as programs see them, and what a program may ask for.

use serde::{Deserialize, Serialize};

use super::super::{
    cursor::{SinkName, SinkNameError},
    error::ReadError,
};
use crate::{
    clock::{ClockSync, Timestamp},
    seq::{Incarnation, Position, Seq},
};

/// From where on a dead letter that may have left again is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// No copy of it lies at or below this position.
    pub floor: Position,
    /// The container that `floor` belongs to.
    pub incarnation: Incarnation,
}

/// A dead letter that somebody wants sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Which.
    pub seq: Seq,
    /// Present from before it leaves: then it is in doubt.
    pub claim: Option<Claim>,
}

/// How the sending of a dead letter ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// The sink has it.
    Delivered,
    /// The sink rejected it again, with this code.
    Rejected(&'static str),
    /// The event is not held any more.
    Gone,
}

/// Which dead letters of a sink are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chosen {
    /// This one.
    One(Seq),
    /// All that there are.
    All,
}

/// What became of the dead letters that were chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLettersChanged {
    /// The sink.
    pub sink: SinkName,
    /// How many are retried, or were discarded.
    pub dead_letters: u64,
    /// How many of all were left as they are: their events are not held any more and cannot be
    /// sent, or the sink is still busy with what lies around them.
    pub left_out: u64,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The sink that rejected it.
    pub sink: SinkName,
    /// Which event.
    pub seq: Seq,
    /// Why: the reason code of the last rejection.
    pub reason: String,
    /// How often it was rejected, as far as is known.
    pub rejections: u32,
    /// The wall clock when it was rejected first; absent where an earlier version noted none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Timestamp>,
    /// Whether that clock was set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since_sync: Option<ClockSync>,
    /// Whether its event is still held. Without it the dead letter can only be discarded.
    pub held: bool,
    /// Whether it is to be sent again.
    pub retry: RetryState,
}

/// Whether a dead letter is to be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryState {
    /// Nobody asked for it.
    None,
    /// It is, and has not left.
    Wanted,
    /// It may have left.
    InDoubt,
}

/// Why dead letters were not retried or discarded. Unless said otherwise all is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// No sink of this name has a place in the journal.
    #[error("no sink {0:?} has a place in the journal")]
    UnknownSink(SinkName),
    /// The sink did not reject this event, or it is a dead letter no longer.
    #[error("event {seq} is no dead letter of sink {sink:?}")]
    Unknown {
        /// The sink.
        sink: SinkName,
        /// Which event.
        seq: Seq,
    },
    /// The event is not held any more, so it cannot be sent.
    #[error("event {seq} is not held any more, so it cannot be sent again")]
    Gone {
        /// Which event.
        seq: Seq,
    },
    /// What came before it is not settled yet at the sink.
    #[error("sink {sink:?} is not done yet with what came before event {seq}")]
    Unsettled {
        /// The sink.
        sink: SinkName,
        /// Which event.
        seq: Seq,
    },
    /// The name is none.
    #[error(transparent)]
    Name(#[from] SinkNameError),
    /// A write failed: it may be done or not. It is safe to ask again.
    #[error("the write failed, so it may be done or not; it is safe to ask again")]
    OutcomeUnknown,
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

impl DeadLetterError {
    /// What to do about it, where there is something to say.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownSink(_) => Some("`edge-outbox sinks list` shows those that have one"),
            Self::Unknown { .. } => Some("`edge-outbox dead-letters list` shows those there are"),
            Self::Gone { .. } => {
                Some("`edge-outbox dead-letters discard` takes it off the list for good")
            }
            Self::Unsettled { .. } => Some("ask again once the sink has gone on"),
            Self::Name(_) | Self::OutcomeUnknown | Self::Journal(_) => None,
        }
    }
}
