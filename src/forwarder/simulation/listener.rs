//! What a sink's task does with the hub's word: the real account, and the shell around it executed
//! step by step.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    super::{
        account::{Account, Own, Place, Taken, UNANSWERED_AFTER, Wanted},
        declared::Declared,
    },
    port::Surroundings,
};
use crate::{
    envelope::Epoch,
    journal::{ReadError, tests::scribe::Scribe},
    receipt::Receipt,
    seq::{Seq, SeqRange},
};

/// How long what is missing is left alone.
const RESEND_AFTER: Duration = Duration::from_secs(30);

/// How often a tail is sent that nobody waits for an answer to, and that somebody does.
const TAIL_EVERY: Duration = Duration::from_secs(15 * 60);
const TAIL_WAIT: Duration = Duration::from_secs(34);

/// What it asks of the journal's writer. Nothing else is done until that is answered.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// That a life of the hub has begun, whose word is taken in once that is durable.
    Life(u64, Account, Box<Receipt>),
    /// That these are trimmed.
    Skip(SeqRange),
}

/// How often the hub has named an event without a break, and since when.
#[derive(Clone, Copy)]
struct Named {
    times: u32,
    since: Duration,
}

/// See the module.
pub(super) struct Listener {
    account: Account,
    pub(super) asked: Option<Asked>,
    /// Receipts have confirmed up to here: for the next commit.
    pub(super) noted: Option<Seq>,
    told_at: Option<Duration>,
    tail_wait: Duration,
    declared: Declared,
    named: HashMap<Epoch, BTreeMap<Seq, Named>>,
    /// What the hub has asked for so often that it is sent again.
    ordered: BTreeSet<Seq>,
}

impl Listener {
    pub(super) fn new(confirmed: Seq, life: Option<u64>) -> Self {
        Self {
            account: Account::new(RESEND_AFTER, confirmed, life),
            asked: None,
            noted: None,
            told_at: None,
            tail_wait: TAIL_WAIT,
            declared: Declared::default(),
            named: HashMap::new(),
            ordered: BTreeSet::new(),
        }
    }

    pub(super) const fn confirmed(&self) -> Seq {
        self.account.confirmed()
    }

    pub(super) fn connected(&mut self) {
        self.told_at = None;
        self.tail_wait = TAIL_WAIT;
        self.account.begin_session();
    }

    /// The session is over, or the journal failed: whoever asked it for something is not told.
    pub(super) fn broken(&mut self) {
        self.asked = None;
    }

    pub(super) fn deadline(&self, acked: Seq, is_sending_again: bool) -> Duration {
        let tail = self.tail_at(acked);
        let account = self.account.deadline().filter(|_| !is_sending_again);
        account.map_or(tail, |at| at.min(tail))
    }

    fn tail_at(&self, acked: Seq) -> Duration {
        match self.told_at {
            None => Duration::ZERO,
            Some(told) if self.confirmed() < acked => told + self.tail_wait,
            Some(told) => told + TAIL_EVERY,
        }
    }

    /// Whether a tail is due, which then counts as sent.
    pub(super) fn tells(&mut self, acked: Seq, now: Duration) -> bool {
        let is_due = self.tail_at(acked) <= now;
        if is_due {
            if self.told_at.is_some() {
                self.tail_wait = (self.tail_wait * 2).min(TAIL_EVERY);
            }
            self.told_at = Some(now);
        }
        is_due
    }

    /// Takes in a message that came where receipts come. Fails where the journal cannot be read.
    pub(super) fn take(
        &mut self,
        message: &[u8],
        acked: Seq,
        around: &Surroundings<'_>,
    ) -> Result<(), ReadError> {
        let hub = around.far_side.hub.as_ref().expect("a hub speaks");
        let Ok(receipt) = Receipt::verify(message, &hub.public_key()) else {
            return Ok(());
        };
        if receipt.device != *hub.device() {
            return Ok(());
        }
        let (scribe, tail) = (around.scribe, around.truth.tail);
        let mut at = |from| place(scribe, from);
        let (Some(first), Some(last)) = (at(Seq::FIRST)?, at(tail)?) else {
            return Ok(());
        };
        let own = Own {
            epoch: last.epoch,
            first_held: first.seq,
            tail,
            acked,
            now: around.now,
        };
        let mut account = self.account.clone();
        let taken = account.take(&receipt, own, &mut at)?;
        let known = around.truth.events.get(&receipt.accounted_to);
        let is_ours = known
            .is_none_or(|known| known.digest == receipt.digest && known.epoch == receipt.epoch);
        match taken {
            Taken::Nothing => {}
            Taken::Counted { new_life } => match account.life().filter(|_| new_life) {
                Some(life) => {
                    // It was said in the life before.
                    self.noted = None;
                    self.asked = Some(Asked::Life(life, account, Box::new(receipt)));
                }
                None => self.count(account, &receipt, around.now),
            },
            // Whoever hears of that begins a new epoch, which `set_back` plays.
            Taken::Tampering { seq, .. } => {
                assert!(!is_ours, "our own history is taken for another: {seq}");
            }
        }
        Ok(())
    }

    fn count(&mut self, account: Account, receipt: &Receipt, now: Duration) {
        self.note_named(receipt, now);
        if account.confirmed() != self.account.confirmed() {
            self.noted = Some(account.confirmed());
            self.tail_wait = TAIL_WAIT;
        }
        self.account = account;
    }

    /// The life has begun durably.
    pub(super) fn life_has_begun(&mut self, now: Duration) {
        let Some(Asked::Life(_, account, receipt)) = self.asked.take() else {
            panic!("nobody has asked for a life to begin");
        };
        self.declared.clear();
        self.named.clear();
        self.count(account, &receipt, now);
    }

    /// The ledger says that these are trimmed.
    pub(super) fn skipped(&mut self) {
        let Some(Asked::Skip(range)) = self.asked.take() else {
            panic!("nobody has asked for the ledger's word");
        };
        self.declared.note(range);
    }

    pub(super) fn is_sent_until(&mut self, now: Duration) {
        self.account.is_sent_until(now);
    }

    /// What is to be sent again now; what of it is trimmed is asked of the ledger first.
    pub(super) fn missing(
        &mut self,
        acked: Seq,
        rejected: impl Fn(SeqRange) -> Result<Vec<Seq>, ReadError>,
        around: &Surroundings<'_>,
    ) -> Result<Vec<SeqRange>, ReadError> {
        while let Some(trimmed) = self.account.trimmed(around.now) {
            if let Some(untold) = self.declared.untold(trimmed) {
                self.asked = Some(Asked::Skip(untold));
                return Ok(Vec::new());
            }
            self.account.is_declared(trimmed);
        }
        let Some(Wanted { epoch, ranges }) = self.account.due(around.now) else {
            return Ok(Vec::new());
        };
        self.ordered.clear();
        for range in &ranges {
            for seq in (range.first().get()..=range.last().get()).map(Seq::new) {
                self.check_asked(epoch, seq, around.now);
                self.ordered.insert(seq);
            }
        }
        let first = place(around.scribe, Seq::FIRST)?.map_or(Seq::FIRST, |first| first.seq);
        let mut held = Vec::new();
        for range in ranges {
            let last = range.last().min(acked);
            if let Some(range) = SeqRange::new(range.first().max(first), last) {
                let mut from = range.first();
                for dead in rejected(range)? {
                    held.extend(SeqRange::new(from, dead.prev()));
                    from = dead.next();
                }
                held.extend(SeqRange::new(from, range.last()));
            }
        }
        if held.is_empty() {
            self.account.was_not_sent();
        }
        Ok(held)
    }

    fn note_named(&mut self, receipt: &Receipt, now: Duration) {
        let before = self.named.remove(&receipt.epoch).unwrap_or_default();
        let mut named = BTreeMap::new();
        for range in &receipt.missing {
            for seq in (range.first().get()..=range.last().get()).map(Seq::new) {
                let first = Named {
                    times: 0,
                    since: now,
                };
                let mut it = before.get(&seq).copied().unwrap_or(first);
                it.times += 1;
                named.insert(seq, it);
            }
        }
        self.named.insert(receipt.epoch, named);
    }

    /// An event leaves that the sink had confirmed.
    pub(super) fn check_again(&self, seq: Seq) {
        assert!(
            self.ordered.contains(&seq),
            "{seq} is sent again, and nobody asked for it"
        );
    }

    /// An event is to be sent again: the hub has to miss it, and to have said so once is not enough.
    fn check_asked(&self, epoch: Epoch, seq: Seq, now: Duration) {
        let named = self.named.get(&epoch).and_then(|named| named.get(&seq));
        let Some(named) = named else {
            panic!("{seq} is sent again, and the hub does not miss it");
        };
        let waited = now.saturating_sub(named.since);
        assert!(
            (named.times > 1 && waited >= RESEND_AFTER) || waited >= UNANSWERED_AFTER,
            "{seq} is sent again for {} receipts in {waited:?}",
            named.times
        );
    }
}

/// The first event held from a seq on.
fn place(scribe: &Scribe, from: Seq) -> Result<Option<Place>, ReadError> {
    let entry = scribe.first_entry(from)?;
    Ok(entry.map(|entry| Place {
        seq: entry.seq,
        epoch: entry.epoch,
        digest: entry.digest,
    }))
}
