//! What a hub's receipts change in the journal, and the tail that it is sent.

use redb::{ReadTransaction, WriteTransaction};

use super::{
    super::{
        cursor::{Cursor, SinkName},
        error::{Fault, fault},
        staging::Staging,
        storage::Storage,
        store::META,
    },
    Core,
};
use crate::{
    clock::Stamp,
    ledger::{LedgerEvent, SinkSkipped, SkipReason},
    seq::{Seq, SeqRange},
    tail::Tail,
};

impl<S: Storage> Core<S> {
    /// From now on receipts, and nothing else, confirm what this sink has.
    pub(in crate::journal) fn await_receipts(&mut self, name: &SinkName, cursor: Cursor) {
        if let Some(attachment) = self.sinks.get_mut(name) {
            attachment.receipts = Some(cursor.confirmed);
        }
    }

    /// Receipts confirm nothing for this sink any more. What it confirms meanwhile its hub may lack,
    /// so where receipts count again, the life that is believed begins anew, and an earlier one
    /// does not. A life is a moment in its upper 48 bits.
    pub(in crate::journal) fn leave_receipts(staging: &mut Staging, name: &SinkName, life: u64) {
        let before = life & !0xffff;
        if before != life {
            staging.lives.push((name.clone(), before));
        }
    }

    /// Notes what receipts have confirmed, for the next commit.
    pub(in crate::journal) fn note_confirmed(&mut self, name: &SinkName, upto: Seq) {
        let attachment = self.sinks.get_mut(name);
        if let Some(receipts) = attachment.and_then(|it| it.receipts.as_mut()) {
            *receipts = upto.max(*receipts);
        }
    }

    /// The life of the hub whose receipts this sink has believed last.
    pub(in crate::journal) fn life_of(&self, name: &SinkName) -> Result<Option<u64>, Fault> {
        self.store.read(|transaction| life_of(transaction, name))
    }

    /// A later life of the hub has begun: it may lack what the one before had confirmed, so
    /// nothing that is held is confirmed any more.
    pub(in crate::journal) fn begin_life(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        life: u64,
    ) {
        let (Some(attachment), Some(cursor)) =
            (self.sinks.get_mut(name), staging.cursors.get_mut(name))
        else {
            return;
        };
        let trimmed = self.state.first_held.prev();
        if attachment.is_by_hand() {
            // It has nobody else's word for what it has: all of it waits to be carried again.
            cursor.acked = cursor.acked.min(trimmed);
            attachment.progress = None;
        }
        tracing::warn!(
            sink = %name, confirmed = %cursor.confirmed, %trimmed,
            "a life of the hub begins that is new to this sink: it confirms anew what is held"
        );
        cursor.confirmed = cursor.confirmed.min(trimmed);
        attachment.receipts = Some(cursor.confirmed);
        staging.lives.push((name.clone(), life));
    }

    /// Says in the ledger that the hub will not get these from this sink: they are trimmed.
    pub(in crate::journal) fn skip_trimmed(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        range: SeqRange,
    ) {
        let before = self.state.first_held.prev();
        if let Some(range) = SeqRange::new(range.first(), range.last().min(before)) {
            let skipped = SinkSkipped {
                sink: name.as_str(),
                range,
                reason: SkipReason::Trimmed,
            };
            staging.add_ledger(&LedgerEvent::SinkSkipped(skipped), &mut self.entropy);
        }
    }

    /// How far the journal goes, signed: what is durable, and nothing that is staged.
    pub(in crate::journal) fn tail_message(&mut self, stamp: Stamp) -> Vec<u8> {
        let mut nonce = [0; 16];
        (self.entropy)(&mut nonce);
        let tail = Tail {
            device: self.device.clone(),
            epoch: self.state.epoch,
            seq: self.state.tail,
            digest: self.state.head,
            boot_id: stamp.boot_id,
            boottime_us: stamp.boottime_us,
            nonce,
        };
        tail.sign(&self.key)
    }
}

/// The life of the hub whose receipts a sink has believed last.
pub(in crate::journal) fn life_of(
    transaction: &ReadTransaction,
    name: &SinkName,
) -> Result<Option<u64>, Fault> {
    let meta = transaction.open_table(META).map_err(fault)?;
    let life = meta.get(&*key_of(name)).map_err(fault)?;
    Ok(life.map(|life| life.value()))
}

/// Under which key of the meta table a sink's hub's life stands.
fn key_of(name: &SinkName) -> String {
    format!("life.{name}")
}

/// Writes what has changed.
pub(super) fn put(
    transaction: &WriteTransaction,
    lives: &[(SinkName, u64)],
    forgotten: Option<&SinkName>,
) -> Result<(), Fault> {
    if lives.is_empty() && forgotten.is_none() {
        return Ok(());
    }
    let mut meta = transaction.open_table(META).map_err(fault)?;
    for (name, life) in lives {
        meta.insert(&*key_of(name), life).map_err(fault)?;
    }
    if let Some(name) = forgotten {
        meta.remove(&*key_of(name)).map_err(fault)?;
    }
    Ok(())
}
