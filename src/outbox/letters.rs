//! Dead letters: looked at, sent again, discarded.

use tokio::sync::oneshot;

use super::{Outbox, ReadError, SinkHandle, SinkReads};
use crate::{
    journal::{
        self, Batch, Chosen, Claim, Command, DeadLetter, DeadLetterError, DeadLettersChanged,
        LetterCommand, Settled, SinkName,
    },
    seq::Seq,
};

impl Outbox {
    /// The dead letters of this sink, or of all: by sink, then by seq. At most
    /// [`MAX_DEAD_LETTERS`](super::MAX_DEAD_LETTERS) a sink, and without their events. Blocks for
    /// a short read.
    ///
    /// # Errors
    /// The journal cannot be read, or the name is none.
    pub fn dead_letters(&self, sink: Option<&str>) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let sink = sink.map(SinkName::new).transpose()?;
        Ok(self.shared.reader.dead_letters(sink.as_ref())?)
    }

    /// The envelope of a dead letter's event, on one line without its end; `None` where it is not
    /// held any more. Blocks for a short read.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn dead_letter_envelope(&self, seq: Seq) -> Result<Option<Vec<u8>>, ReadError> {
        let batch = self.shared.reader.dead_letter(seq)?;
        let Some(record) = batch.records().next().transpose()? else {
            return Ok(None);
        };
        let mut line = Vec::new();
        record.render(false, true, &mut line);
        Ok(Some(line))
    }

    /// Has dead letters sent again, each marked as a repeat, beside what the sink is sent
    /// otherwise. Durable when this returns; they are sent whenever the sink is forwarded to. One
    /// that arrives is a dead letter no longer, one that is rejected again stays one.
    ///
    /// # Errors
    /// As [`DeadLetterError`] says: among others where the event is not held any more.
    pub async fn retry_dead_letters(
        &self,
        sink: &str,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, DeadLetterError> {
        let name = SinkName::new(sink)?;
        self.ask_letters(|reply| LetterCommand::Retry {
            name,
            chosen,
            reply,
        })
        .await
    }

    /// Takes dead letters off the list for good, with what was kept of them. One commit, with an
    /// `outbox.dead_letters_discarded.v1` in the ledger.
    ///
    /// # Errors
    /// As [`DeadLetterError`] says.
    pub async fn discard_dead_letters(
        &self,
        sink: &str,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, DeadLetterError> {
        let name = SinkName::new(sink)?;
        self.ask_letters(|reply| LetterCommand::Discard {
            name,
            chosen,
            reply,
        })
        .await
    }

    async fn ask_letters<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, DeadLetterError>>) -> LetterCommand,
    ) -> Result<T, DeadLetterError> {
        if journal::inside() {
            return Err(ReadError::Closed.into());
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Letter(command(reply));
        let sent = self.shared.commands.send(command).await;
        sent.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }
}

impl SinkHandle {
    /// Notes that a dead letter is about to leave again, and from where on it is to be looked for.
    /// Durable when it returns. False where it is not to be sent any more.
    ///
    /// # Errors
    /// It may or may not be noted; it is safe to ask again.
    pub async fn claim_retry(&self, seq: Seq, claim: Claim) -> Result<bool, ReadError> {
        let name = self.name().clone();
        let letter = |reply| {
            Command::Letter(LetterCommand::Claim {
                name,
                seq,
                claim,
                reply,
            })
        };
        self.ask(letter).await?
    }

    /// Notes how the sending of a dead letter ended. Durable when it returns, with its entry in
    /// the ledger.
    ///
    /// # Errors
    /// It may or may not be noted; it is safe to ask again.
    pub async fn settle_retry(&self, seq: Seq, settled: Settled) -> Result<(), ReadError> {
        let name = self.name().clone();
        let letter = |reply| {
            Command::Letter(LetterCommand::Settle {
                name,
                seq,
                settled,
                reply,
            })
        };
        self.ask(letter).await?
    }
}

impl SinkReads {
    /// The event of a dead letter, alone; empty where it is not held any more. Blocks for a short
    /// read.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn dead_letter(&self, seq: Seq) -> Result<Batch, ReadError> {
        self.outbox.shared.reader.dead_letter(seq)
    }
}
