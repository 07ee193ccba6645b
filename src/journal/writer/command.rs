//! What the writer is asked for, and what those who ask share with it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use uuid::Uuid;

use super::{
    super::{
        core::Wanted,
        cursor::{Cursor, Forgotten, SinkName, SinkNameError},
        error::{AppendError, ReadError, RejectError},
        letters::Retry,
        sealed::Sealed,
        staging::Appended,
        transaction::Transaction,
    },
    erasing::Told,
    letters::LetterCommand,
    noted::Noted,
    receipts::ReceiptCommand,
};
use crate::{ledger::EpochReason, seq::Seq};

/// What a sink's task sees of the journal, as last made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The last event.
    pub tail: Seq,
    /// What may be handed to the network, up to here.
    pub claimed: Seq,
    /// The dead letter that the sink is to be sent again next.
    pub retry: Option<Retry>,
    /// Whether the journal can be read; false while it is being reopened after a failed read or write.
    pub available: bool,
    /// How often something was erased since the outbox was opened: what was read before the last
    /// time may hold what is held no longer.
    pub erasures: u64,
}

/// How a closure's transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Durable.
    Committed,
    /// A write failed: it may be there or not.
    Unknown,
    /// Nothing was written.
    NotTaken,
}

/// Tells whoever waits for a transaction how it ended.
pub(crate) type Finish = Box<dyn FnOnce(End) + Send>;

/// A program's closure. It is called without a transaction where there can be none; `Err` asks
/// for nothing to be written.
pub(crate) type Job = Box<dyn FnOnce(Option<&Transaction<'_>>) -> Result<Finish, Finish> + Send>;

/// Asks the writer for something.
pub(crate) enum Command {
    Append {
        request: Vec<Sealed>,
        reply: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
        /// Given back with the answer, and the request leaves memory right after.
        budget: OwnedSemaphorePermit,
    },
    Transact(Job),
    Find {
        id: Uuid,
        reply: oneshot::Sender<Option<Seq>>,
    },
    Register {
        name: SinkName,
        kind: &'static str,
        wanted: Wanted,
        /// Whether receipts, and nothing else, confirm what it has.
        by_receipts: bool,
        reply: oneshot::Sender<Result<Registered, RegisterError>>,
    },
    Claim {
        name: SinkName,
        upto: Seq,
        reply: oneshot::Sender<Result<Seq, ReadError>>,
    },
    Reject {
        name: SinkName,
        seq: Seq,
        code: &'static str,
        reply: oneshot::Sender<Result<(), RejectError>>,
    },
    CaughtUp {
        name: SinkName,
        yes: bool,
    },
    /// About dead letters.
    Letter(LetterCommand),
    /// About receipts and tails.
    Receipt(ReceiptCommand),
    /// A sink's task has noted something, see [`Noted`]; or the writer is to look around.
    Noted,
    Settle {
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
    Forget {
        name: SinkName,
        reply: oneshot::Sender<Result<Forgotten, ForgetError>>,
    },
    Erase {
        id: Uuid,
        reply: Told,
    },
    BeginEpoch {
        reason: EpochReason,
        /// A seq that another state of the journal has given to another event.
        from: Seq,
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
    Close,
}

/// A sink's place, given to its task.
pub(crate) struct Registered {
    pub(crate) cursor: Cursor,
    /// The life of the hub whose receipts were believed last.
    pub(crate) life: Option<u64>,
    pub(crate) horizon: watch::Receiver<Horizon>,
    pub(crate) noted: Arc<Noted>,
}

/// Why a sink was not given its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Another task of this process has the place.
    #[error("sink {0:?} is being forwarded to already")]
    Taken(SinkName),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] SinkNameError),
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

/// Why a sink was not forgotten. Its place is as it was, unless said otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    /// No sink of this name has a place in the journal.
    #[error("no sink {0:?} has a place in the journal")]
    Unknown(SinkName),
    /// A task of this process forwards to it.
    #[error("sink {0:?} is configured and being forwarded to")]
    InUse(SinkName),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] SinkNameError),
    /// A write failed: it may be forgotten or not. It is safe to ask again.
    #[error("the write failed, so it may be forgotten or not; it is safe to ask again")]
    OutcomeUnknown,
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

impl ForgetError {
    /// What to do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("`edge-outbox sinks list` shows those that have one".into()),
            Self::InUse(name) => Some(format!(
                "remove [sinks.{name}] from the configuration first, then restart"
            )),
            Self::Name(_) | Self::OutcomeUnknown | Self::Journal(_) => None,
        }
    }
}
