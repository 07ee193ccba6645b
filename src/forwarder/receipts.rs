//! The hub behind a sink: its receipts are looked at, tails are sent to it, and what it misses is
//! found in the journal. What follows from receipts is decided in `account`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Confirm, HubTerms, RESEND_AFTER_BOUNDS,
    account::{Account, Own, Place, Taken, Wanted},
    declared::Declared,
    delivery::Delivery,
    doubt::blocking,
};
use crate::{
    clock::Timestamp,
    outbox::{ReadError, SinkHandle, SinkReads},
    receipt::Receipt,
    seq::{Seq, SeqRange},
    status::{Guarantee, GuaranteeLevel, HubStatus},
};

/// How often a tail is sent that nobody waits for an answer to.
const TAIL_EVERY: Duration = Duration::from_secs(15 * 60);

/// Receipts that are looked at in a second: a signature costs its time, and whoever may publish can
/// name a key that is pinned. What is passed over is said again by the next one.
const LOOKS_PER_S: u32 = 64;

/// One read of a single event takes the group that it is in.
const READ_BYTES: usize = 1;

/// The hub behind one sink.
pub(super) struct Receipts {
    handle: Arc<SinkHandle>,
    hub: HubTerms,
    account: Account,
    /// When the last tail was sent; none in this session.
    told_at: Option<Duration>,
    /// Since when something acked waits for the hub's word.
    waiting_since: Option<Duration>,
    /// How long after the last tail the next one goes while something waits.
    tail_wait: Duration,
    /// The second of which looks are counted, and how many.
    looks: (u64, u32),
    declared: Declared,
    status: HubStatus,
    shown: Option<HubStatus>,
}

impl Receipts {
    pub(super) fn new(handle: Arc<SinkHandle>, mut hub: HubTerms) -> Self {
        let (least, most) = RESEND_AFTER_BOUNDS.into_inner();
        hub.resend_after = hub.resend_after.clamp(least, most);
        let confirmed = handle.cursor().confirmed;
        // What was told before this task took the place anew stays told.
        let board = handle.outbox().status();
        let told = board.borrow().sinks.get(handle.name().as_str()).cloned();
        let status = HubStatus {
            confirms: hub.confirm == Confirm::Hub,
            confirmed,
            waiting_since: None,
            ..told.and_then(|sink| sink.hub).unwrap_or_default()
        };
        Self {
            account: Account::new(hub.resend_after, confirmed, handle.life()),
            handle,
            tail_wait: soon(hub.resend_after),
            hub,
            told_at: None,
            waiting_since: None,
            looks: (0, 0),
            declared: Declared::default(),
            status,
            shown: None,
        }
    }

    /// A session began: the hub is told how far the journal goes.
    pub(super) fn connected(&mut self) {
        self.told_at = None;
        self.tail_wait = soon(self.hub.resend_after);
        self.account.begin_session();
    }

    /// When something is to be done although the hub said nothing.
    pub(super) fn deadline(&self, is_sending_again: bool) -> Duration {
        let tail = self.tail_at();
        // Until that is sent, nothing else is.
        let asks = self.status.confirms && !is_sending_again;
        match self.account.deadline().filter(|_| asks) {
            Some(at) => at.min(tail),
            None => tail,
        }
    }

    fn tail_at(&self) -> Duration {
        match (self.told_at, self.waiting_since) {
            (None, _) => Duration::ZERO,
            (Some(told), None) => told + TAIL_EVERY,
            (Some(told), Some(since)) => (told.max(since) + self.tail_wait).min(told + TAIL_EVERY),
        }
    }

    /// A tail where one is due. There is none while the journal cannot be written to.
    pub(super) async fn tail(&mut self, now: Duration) -> Option<Bytes> {
        if now < self.tail_at() {
            return None;
        }
        if self.told_at.is_some() && self.waiting_since.is_some() {
            self.tail_wait = (self.tail_wait * 2).min(TAIL_EVERY);
        }
        self.told_at = Some(now);
        self.handle.tail_message().await.ok().map(Bytes::from)
    }

    /// What the hub missed is in the sink twice where the sink had it after all.
    pub(super) fn weaken(&self, promise: &mut Guarantee) {
        if self.status.resent > 0 && promise.level == GuaranteeLevel::ExactlyOnce {
            promise.level = GuaranteeLevel::AtLeastOnce;
            promise.unmet.push(
                "find out why the hub missed events that were confirmed: they were sent again, and \
                 may stand in the stream twice, though at the hub they count once"
                    .into(),
            );
        }
    }

    /// Takes in a message that came where receipts come.
    ///
    /// # Errors
    /// The journal cannot be read or written. The message says nothing until it comes again.
    pub(super) async fn take(
        &mut self,
        message: Bytes,
        delivery: &Delivery,
        now: Duration,
    ) -> Result<(), ReadError> {
        let Some(receipt) = self.verified(&message, now) else {
            return Ok(());
        };
        let (acked, tail) = (delivery.acked(), self.handle.horizon().borrow().tail);
        let mut account = self.account.clone();
        let reads = self.handle.reads();
        let looked_at = receipt.clone();
        let (account, taken) = blocking(move || {
            let mut at = |from| place(&reads, from);
            let (Some(first), Some(last)) = (at(Seq::FIRST)?, at(tail)?) else {
                return Ok((account, Taken::Nothing));
            };
            let own = Own {
                epoch: last.epoch,
                first_held: first.seq,
                tail,
                acked,
                now,
            };
            let taken = account.take(&looked_at, own, &mut at)?;
            Ok((account, taken))
        })
        .await?;
        match taken {
            Taken::Nothing => {}
            Taken::Counted { new_life } => self.count(&receipt, account, new_life, now).await?,
            Taken::Tampering {
                seq,
                digest,
                current,
            } => {
                self.status.tampering = Some(format!(
                    "the hub has another event than this journal at seq {seq} of epoch {}: a card \
                     was copied or set back",
                    receipt.epoch
                ));
                if current {
                    // Beyond our end nothing says where the histories part, so what has not left
                    // is not to leave in this epoch.
                    let from = if seq > tail { acked.next() } else { seq };
                    self.handle.foreign(from, digest).await?;
                }
            }
        }
        Ok(())
    }

    async fn count(
        &mut self,
        receipt: &Receipt,
        account: Account,
        new_life: bool,
        now: Duration,
    ) -> Result<(), ReadError> {
        if new_life {
            // What was said to the life before, this one may lack.
            self.declared.clear();
        }
        if self.status.confirms {
            if let (true, Some(life)) = (new_life, account.life()) {
                // Where it fails it may be durable all the same.
                self.account.doubt(life);
                self.handle.begin_life(life).await?;
            }
            if account.confirmed() != self.account.confirmed() {
                self.handle.confirm(account.confirmed());
                self.waiting_since = self.waiting_since.map(|_| now);
                self.status.waiting_since = None;
                self.tail_wait = soon(self.hub.resend_after);
            }
        }
        if self.status.missing == 0 && !receipt.missing.is_empty() {
            // It is named for the first time: the second is asked for as soon as it can count.
            self.tail_wait = soon(self.hub.resend_after);
        }
        self.account = account;
        self.status.confirmed = self.account.confirmed();
        self.status.last_receipt = Some(Timestamp::now());
        (self.status.missing, self.status.quarantined) = self.account.trouble();
        Ok(())
    }

    /// The receipt in a message, where it is one of the hub's for this device.
    fn verified(&mut self, message: &[u8], now: Duration) -> Option<Receipt> {
        let key_id = Receipt::key_id(message).ok()?;
        let key = self.hub.keys.iter().find(|key| key.id() == key_id)?;
        if self.looks.0 != now.as_secs() {
            self.looks = (now.as_secs(), 0);
        }
        self.looks.1 += 1;
        if self.looks.1 > LOOKS_PER_S {
            return None;
        }
        let receipt = match Receipt::verify(message, key) {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::debug!(sink = %self.handle.name(), %error, "no receipt");
                return None;
            }
        };
        (receipt.device == *self.handle.outbox().device()).then_some(receipt)
    }

    /// Notes since when something waits for the hub, and shows what there is to show.
    pub(super) fn look(&mut self, acked: Seq, now: Duration) {
        let waits = self.status.confirms && self.account.confirmed() < acked;
        match (waits, self.waiting_since) {
            (true, None) => {
                self.waiting_since = Some(now);
                self.tail_wait = soon(self.hub.resend_after);
            }
            (false, Some(_)) => self.waiting_since = None,
            _ => {}
        }
        if !waits {
            self.status.waiting_since = None;
        } else if self.status.waiting_since.is_none() {
            self.status.waiting_since = Some(Timestamp::now());
        }
        if self.shown.as_ref() != Some(&self.status) {
            let status = self.status.clone();
            self.handle.report(|sink| sink.hub = Some(status));
            self.shown = Some(self.status.clone());
        }
    }

    /// What was to be sent again is still on its way to the sink.
    pub(super) fn is_sent_until(&mut self, now: Duration) {
        self.account.is_sent_until(now);
    }

    /// What is to be sent again now. What of it is trimmed, the ledger says; a dead letter is
    /// nobody's to send but who asks for it.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub(super) async fn missing(
        &mut self,
        acked: Seq,
        now: Duration,
    ) -> Result<Vec<SeqRange>, ReadError> {
        if !self.status.confirms {
            return Ok(Vec::new());
        }
        while let Some(trimmed) = self.account.trimmed(now) {
            while let Some(untold) = self.declared.untold(trimmed) {
                self.handle.skip_trimmed(untold).await?;
                self.declared.note(untold);
            }
            self.account.is_declared(trimmed);
        }
        let Some(Wanted { epoch, ranges }) = self.account.due(now) else {
            return Ok(Vec::new());
        };
        let reads = self.handle.reads();
        let held = blocking(move || {
            // What is trimmed since the last receipt, the next one finds so.
            let first = place(&reads, Seq::FIRST)?.map_or(Seq::FIRST, |first| first.seq);
            let mut held = Vec::new();
            for range in ranges {
                let last = range.last().min(acked);
                if let Some(range) = SeqRange::new(range.first().max(first), last) {
                    let mut from = range.first();
                    for dead in reads.rejected(range)? {
                        held.extend(SeqRange::new(from, dead.prev()));
                        from = dead.next();
                    }
                    held.extend(SeqRange::new(from, range.last()));
                }
            }
            Ok(held)
        })
        .await?;
        if held.is_empty() {
            self.account.was_not_sent();
        }
        let count: u64 = held.iter().map(|range| range.len()).sum();
        if let Some(first) = held.first().map(|range| range.first()) {
            self.status.resent += count;
            tracing::warn!(
                sink = %self.handle.name(), %epoch, count, %first,
                "the hub misses events that were delivered: they are sent again"
            );
        }
        Ok(held)
    }
}

/// The first event held from a seq on.
pub(super) fn place(reads: &SinkReads, from: Seq) -> Result<Option<Place>, ReadError> {
    let batch = reads.batch(from, 1, READ_BYTES)?;
    let record = batch.records().next().transpose()?;
    Ok(record.map(|record| Place {
        seq: record.statement.seq,
        epoch: record.statement.epoch,
        digest: record.digest,
    }))
}

/// A little longer than what is missing is left alone, so that the answer to the second tail names
/// it long enough after the answer to the first.
fn soon(resend_after: Duration) -> Duration {
    resend_after + resend_after / 8
}
