//! Who is told what once a commit is durable, or has failed.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    super::{
        error::{AppendError, ReadError, RejectError},
        staging::Appended,
    },
    command::{RegisterError, Registered},
    letters::LetterWaiting,
};
use crate::seq::Seq;

/// Somebody who is to be told once the commit is durable.
pub(super) enum Waiting {
    Append {
        reply: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
        places: Vec<Appended>,
        _budget: OwnedSemaphorePermit,
    },
    Claim(oneshot::Sender<Result<Seq, ReadError>>, Option<Seq>),
    Reject(oneshot::Sender<Result<(), RejectError>>),
    Register(
        oneshot::Sender<Result<Registered, RegisterError>>,
        Registered,
    ),
    Letter(LetterWaiting),
    Done(oneshot::Sender<Result<(), ReadError>>),
}

impl Waiting {
    /// Whether a producer waits.
    pub(super) const fn is_append(&self) -> bool {
        matches!(self, Self::Append { .. })
    }

    // Whoever asked may have gone away; nobody is then left to tell, and the commit stands.
    pub(super) fn answer(self) {
        match self {
            Self::Append { reply, places, .. } => drop(reply.send(Ok(places))),
            Self::Claim(reply, claimed) => {
                drop(reply.send(claimed.ok_or(ReadError::Closed)));
            }
            Self::Reject(reply) => drop(reply.send(Ok(()))),
            Self::Register(reply, registered) => drop(reply.send(Ok(registered))),
            Self::Letter(letter) => letter.answer(),
            Self::Done(reply) => drop(reply.send(Ok(()))),
        }
    }

    pub(super) fn fail(self, append: AppendError) {
        let read = || ReadError::Unavailable;
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(append))),
            Self::Claim(reply, _) => drop(reply.send(Err(read()))),
            Self::Reject(reply) => drop(reply.send(Err(RejectError::Journal(read())))),
            Self::Register(reply, _) => drop(reply.send(Err(RegisterError::Journal(read())))),
            Self::Letter(letter) => letter.fail(&append),
            Self::Done(reply) => drop(reply.send(Err(read()))),
        }
    }
}
