//! What the writer is asked for about dead letters, and how it answers.

use tokio::sync::oneshot;

use super::{
    super::{
        core::Core,
        cursor::SinkName,
        error::{AppendError, ReadError},
        letters::{Chosen, Claim, DeadLetterError, DeadLettersChanged, Settled},
        staging::Staging,
        storage::Storage,
    },
    waiting::Waiting,
};
use crate::seq::Seq;

/// Asks for something about dead letters.
pub(crate) enum LetterCommand {
    /// To send them again.
    Retry {
        name: SinkName,
        chosen: Chosen,
        reply: oneshot::Sender<Result<DeadLettersChanged, DeadLetterError>>,
    },
    /// To take them off the list.
    Discard {
        name: SinkName,
        chosen: Chosen,
        reply: oneshot::Sender<Result<DeadLettersChanged, DeadLetterError>>,
    },
    /// To note that one is about to leave; true where it may, and that is durable.
    Claim {
        name: SinkName,
        seq: Seq,
        claim: Claim,
        reply: oneshot::Sender<Result<bool, ReadError>>,
    },
    /// To note how its sending ended.
    Settle {
        name: SinkName,
        seq: Seq,
        settled: Settled,
        reply: oneshot::Sender<Result<(), ReadError>>,
    },
}

/// Somebody who is to be told what is true once the commit is durable.
pub(super) enum LetterWaiting {
    Changed(
        oneshot::Sender<Result<DeadLettersChanged, DeadLetterError>>,
        DeadLettersChanged,
    ),
    Claimed(oneshot::Sender<Result<bool, ReadError>>, bool),
}

impl LetterCommand {
    /// Takes it into the commit in hand. What is refused is answered at once.
    pub(super) fn stage<S: Storage>(
        self,
        core: &mut Core<S>,
        staging: &mut Staging,
        waiting: &mut Vec<Waiting>,
    ) {
        let answer = match self {
            Self::Retry {
                name,
                chosen,
                reply,
            } => match core.retry(staging, &name, chosen) {
                Ok(changed) => LetterWaiting::Changed(reply, changed),
                Err(error) => return drop(reply.send(Err(error))),
            },
            Self::Discard {
                name,
                chosen,
                reply,
            } => match core.discard(staging, &name, chosen) {
                Ok(changed) => LetterWaiting::Changed(reply, changed),
                Err(error) => return drop(reply.send(Err(error))),
            },
            Self::Claim {
                name,
                seq,
                claim,
                reply,
            } => match core.claim_retry(staging, &name, seq, claim) {
                Ok(may_leave) => LetterWaiting::Claimed(reply, may_leave),
                Err(error) => return drop(reply.send(Err(error))),
            },
            Self::Settle {
                name,
                seq,
                settled,
                reply,
            } => match core.settle_retry(staging, &name, seq, settled) {
                Ok(()) => return waiting.push(Waiting::Done(reply)),
                Err(error) => return drop(reply.send(Err(error))),
            },
        };
        waiting.push(Waiting::Letter(answer));
    }
}

impl LetterWaiting {
    // Whoever asked may have gone away; nobody is then left to tell, and the commit stands.
    pub(super) fn answer(self) {
        match self {
            Self::Changed(reply, changed) => drop(reply.send(Ok(changed))),
            Self::Claimed(reply, may_leave) => drop(reply.send(Ok(may_leave))),
        }
    }

    pub(super) fn fail(self, append: &AppendError) {
        match self {
            Self::Changed(reply, _) => {
                let error = match append {
                    AppendError::OutcomeUnknown => DeadLetterError::OutcomeUnknown,
                    _ => ReadError::Unavailable.into(),
                };
                drop(reply.send(Err(error)));
            }
            Self::Claimed(reply, _) => drop(reply.send(Err(ReadError::Unavailable))),
        }
    }
}
