//! A sink's place in the journal, held by the task that forwards to it.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use super::{Outbox, ReadError, RejectError};
use crate::{
    clock::Timestamp,
    envelope::Digest,
    journal::{
        self, Batch, Command, Cursor, Horizon, Noted, Progress, ReceiptCommand, SinkName, Start,
    },
    ledger::EpochReason,
    meter::SinkMeter,
    seq::{Seq, SeqRange},
    status::SinkStatus,
};

/// What a sink's task asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The sink's name; under another name it is another sink.
    pub name: String,
    /// `nats`, `stdout`, …, for the status.
    pub kind: &'static str,
    /// Whether trimming waits for it.
    pub required: bool,
    /// How far the claim may run ahead of what is confirmed, in events.
    pub window: u32,
    /// Where it begins if it has no place yet.
    pub start: Start,
    /// Whether a hub's receipts, and nothing else, confirm what it has.
    pub by_receipts: bool,
}

/// A sink's place. Dropped, the place is free for another task.
pub struct SinkHandle {
    outbox: Outbox,
    name: SinkName,
    cursor: Cursor,
    life: Option<u64>,
    horizon: watch::Receiver<Horizon>,
    noted: Arc<Noted>,
    meter: Arc<SinkMeter>,
}

impl SinkHandle {
    pub(super) fn new(
        outbox: Outbox,
        name: SinkName,
        (cursor, life): (Cursor, Option<u64>),
        horizon: watch::Receiver<Horizon>,
        noted: Arc<Noted>,
    ) -> Self {
        let meter = outbox.meter().attach(name.as_str());
        Self {
            outbox,
            name,
            cursor,
            life,
            horizon,
            noted,
            meter,
        }
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &SinkName {
        &self.name
    }

    /// The outbox it is a place in.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Where it is counted what becomes of the events.
    #[must_use]
    pub fn meter(&self) -> &SinkMeter {
        &self.meter
    }

    /// The cursor as it was durable when the place was given.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How far the journal goes and what is claimed, as last made durable.
    #[must_use]
    pub fn horizon(&self) -> watch::Receiver<Horizon> {
        self.horizon.clone()
    }

    /// Raises the claim towards `upto`, to at most `acked + window` and the tail. Durable when it
    /// returns; gives the claim in force, and only up to there may anything leave.
    ///
    /// # Errors
    /// The claim may or may not have been raised; it is safe to ask again.
    pub async fn claim(&self, upto: Seq) -> Result<Seq, ReadError> {
        let name = self.name.clone();
        self.ask(|reply| Command::Claim { name, upto, reply })
            .await?
    }

    /// Notes what the sink has confirmed. It becomes durable with the next commit, or after 60 s
    /// alone. Never waits.
    pub fn progress(&self, progress: Progress) {
        // Shown first: the writer then finds out since when the rest waits.
        self.report(|sink| {
            if progress.acked > sink.acked {
                sink.acked = progress.acked;
                sink.last_delivery = Some(Timestamp::now());
            }
        });
        if self.noted.note(progress) {
            self.tell_noted();
        }
    }

    /// Notes that the hub's receipts confirm everything up to here. It becomes durable with the
    /// next commit, or after 60 s alone. Never waits.
    pub(crate) fn confirm(&self, upto: Seq) {
        if self.noted.confirm(upto) {
            self.tell_noted();
        }
    }

    pub(crate) fn tell_noted(&self) {
        // A full queue means that the writer is about to look anyway.
        drop(self.outbox.shared.commands.try_send(Command::Noted));
    }

    /// The life of the hub whose receipts were believed when the place was given.
    pub(crate) const fn life(&self) -> Option<u64> {
        self.life
    }

    /// A later life of the hub speaks: durable when it returns, and nothing that is held is
    /// confirmed any more.
    ///
    /// # Errors
    /// It may or may not be durable; it is safe to ask again.
    pub(crate) async fn begin_life(&self, life: u64) -> Result<(), ReadError> {
        // It was said in the life before.
        self.noted.forget_confirmed();
        let name = self.name.clone();
        self.ask(|reply| Command::Receipt(ReceiptCommand::BeginLife { name, life, reply }))
            .await?
    }

    /// Says in the ledger that these are trimmed, and will not come from this sink.
    ///
    /// # Errors
    /// The ledger may or may not say so.
    pub(crate) async fn skip_trimmed(&self, range: SeqRange) -> Result<(), ReadError> {
        let name = self.name.clone();
        self.ask(|reply| Command::Receipt(ReceiptCommand::Skip { name, range, reply }))
            .await?
    }

    /// A signed tail: how far the journal goes.
    ///
    /// # Errors
    /// The journal is closed, or cannot be written to.
    pub(crate) async fn tail_message(&self) -> Result<Vec<u8>, ReadError> {
        self.ask(|reply| Command::Receipt(ReceiptCommand::Tail { reply }))
            .await
    }

    /// Makes durable what was noted.
    ///
    /// # Errors
    /// It may or may not be durable; it is safe to ask again.
    pub async fn settle(&self) -> Result<(), ReadError> {
        self.ask(|reply| Command::Settle { reply }).await?
    }

    /// Gives an event up for this sink, in one commit: dead letter, ledger and cursor.
    ///
    /// # Errors
    /// [`RejectError::Ledger`] for an event of the ledger: the sink has to halt.
    pub async fn reject(&self, seq: Seq, code: &'static str) -> Result<(), RejectError> {
        let name = self.name.clone();
        self.ask(|reply| Command::Reject {
            name,
            seq,
            code,
            reply,
        })
        .await?
    }

    /// While true, commits of new events raise the claim by themselves, so that an event can
    /// leave as soon as it is durable.
    pub async fn caught_up(&self, yes: bool) {
        let command = Command::CaughtUp {
            name: self.name.clone(),
            yes,
        };
        // Closed: there will be no commit to raise anything.
        drop(self.outbox.shared.commands.send(command).await);
    }

    /// The way to what the sink is to be sent. It does not hold the place.
    #[must_use]
    pub fn reads(&self) -> SinkReads {
        SinkReads {
            outbox: self.outbox.clone(),
            name: self.name.clone(),
        }
    }

    /// Changes this sink's part of the status.
    pub fn report(&self, change: impl FnOnce(&mut SinkStatus)) {
        self.outbox.shared.board.send_modify(|status| {
            let tail = status.tail;
            if let Some(sink) = status.sinks.get_mut(self.name.as_str()) {
                change(sink);
                sink.pending = tail.since(sink.acked);
                if sink.pending == 0 {
                    sink.oldest_pending = None;
                }
            }
        });
    }

    /// A sink holds another event under a seq of this epoch: this journal was rolled back, or its
    /// card cloned. What follows goes into a new epoch.
    ///
    /// # Errors
    /// The epoch may or may not have begun.
    pub async fn foreign(&self, seq: Seq, digest: Digest) -> Result<(), ReadError> {
        tracing::error!(sink = %self.name, %seq, ?digest, "the sink holds another event under a seq of ours: this journal is not the newest of its device");
        self.ask(|reply| Command::BeginEpoch {
            reason: EpochReason::RolledBack,
            from: seq,
            reply,
        })
        .await?
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ReadError> {
        if journal::inside() {
            return Err(ReadError::Closed);
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.outbox.shared.commands.send(command(reply)).await;
        sent.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)
    }
}

/// Reads for one sink, on whichever thread. A read that is still under way when the sink's task ends
/// must not keep its place from the next task, so this holds none.
#[derive(Clone)]
pub struct SinkReads {
    pub(super) outbox: Outbox,
    name: SinkName,
}

impl SinkReads {
    /// Reads events from `from` on: without a hole, at least one where there is one, and no
    /// further once one of the limits is passed. Begins later where `from` was trimmed. Blocks
    /// for a short read.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn batch(
        &self,
        from: Seq,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Batch, ReadError> {
        self.outbox.shared.reader.batch(from, max_events, max_bytes)
    }

    /// The dead letters of this sink in the range, ascending: they are not sent again.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn rejected(&self, range: SeqRange) -> Result<Vec<Seq>, ReadError> {
        self.outbox.shared.reader.rejected(&self.name, range)
    }
}
