//! What the writer is asked for about receipts and tails, and how it answers.

use tokio::sync::oneshot;

use super::{
    super::{core::Core, cursor::SinkName, error::ReadError, staging::Staging, storage::Storage},
    waiting::Waiting,
};
use crate::seq::SeqRange;

/// Asks for something about receipts or tails.
pub(crate) enum ReceiptCommand {
    /// To note that a later life of the hub speaks.
    BeginLife {
        name: SinkName,
        life: u64,
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
    /// To say in the ledger that these will not come: they are trimmed.
    Skip {
        name: SinkName,
        range: SeqRange,
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
    /// To sign how far the journal goes. Not answered while it cannot be written to.
    Tail { reply: oneshot::Sender<Vec<u8>> },
}

impl ReceiptCommand {
    /// Takes it into the commit in hand, or answers at once.
    pub(super) fn stage<S: Storage>(
        self,
        core: &mut Core<S>,
        staging: &mut Staging,
        waiting: &mut Vec<Waiting>,
    ) {
        let reply = match self {
            Self::BeginLife { name, life, reply } => {
                core.begin_life(staging, &name, life);
                reply
            }
            Self::Skip { name, range, reply } => {
                core.skip_trimmed(staging, &name, range);
                reply
            }
            Self::Tail { reply } => {
                let message = core.tail_message(staging.stamp);
                return drop(reply.send(message));
            }
        };
        waiting.push(Waiting::Done(reply));
    }
}
