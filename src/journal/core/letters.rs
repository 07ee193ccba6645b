//! Dead letters: made, sent again, delivered late, discarded. Each is a change in the commit in
//! hand, with its entry in the ledger.

use std::collections::BTreeMap;

use super::{
    super::{
        cursor::SinkName,
        error::{Fault, ReadError, RejectError},
        letters::{
            self, Chosen, Claim, DeadLetterError, DeadLettersChanged, Letter, LetterChange,
            MAX_DEAD_LETTERS, Retry, Settled,
        },
        reader,
        row::Group,
        staging::Staging,
        storage::Storage,
    },
    Core,
};
use crate::{
    envelope::{Digest, Kind},
    ledger::{
        DeadLetterDelivered, DeadLettersDiscarded, DiscardReason, EventRejected, LedgerEvent,
    },
    seq::Seq,
};

/// Seqs that one event of the ledger names at most.
const SEQS_AT_ONCE: usize = 1_024;

impl<S: Storage> Core<S> {
    /// Gives an event up for one sink: dead letter, ledger and cursor, in this commit. A sink that
    /// has as many as there may be loses its oldest, which the ledger says, too.
    pub(in crate::journal) fn reject(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        seq: Seq,
        code: &'static str,
    ) -> Result<(), RejectError> {
        if !self.is_attached(name) {
            return Err(RejectError::Journal(ReadError::Closed));
        }
        let in_journal = |fault: Fault| RejectError::Journal(fault.into());
        let known = self.letter(staging, name, seq).map_err(in_journal)?;
        let found = self
            .store
            .read(|transaction| {
                reader::with_record(transaction, seq, |record| {
                    (record.statement.kind, record.digest)
                })
            })
            .map_err(in_journal)?;
        let Some((kind, digest)) = found.filter(|_| known.is_none()) else {
            // Not held any more, or a dead letter already: whoever heard no answer asks again.
            return Ok(());
        };
        if kind == Kind::Ledger {
            return Err(RejectError::Ledger { seq });
        }
        let count = staging.cursors.get(name).map_or(0, |it| it.dead_letters);
        if count >= MAX_DEAD_LETTERS {
            self.discard_oldest(staging, name).map_err(in_journal)?;
        }
        let event = EventRejected {
            sink: name.as_str(),
            seq,
            digest,
            reason: code,
        };
        staging.add_ledger(&LedgerEvent::EventRejected(event), &mut self.entropy);
        staging.dead_letters.push(LetterChange {
            sink: name.clone(),
            seq,
            before: None,
            after: Some(Letter::new(code, staging.stamp)),
            is_discarded: false,
        });
        if let Some(cursor) = staging.cursors.get_mut(name) {
            cursor.dead_letters += 1;
            if cursor.acked.next() == seq {
                cursor.step_over();
            }
        }
        Ok(())
    }

    /// Notes which dead letters are to be sent again. What is noted already stays as it is.
    pub(in crate::journal) fn retry(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, DeadLetterError> {
        let (letters, mut left_out) = self.settled_letters(staging, name, chosen)?;
        let mut retried = 0;
        for (seq, letter) in letters {
            let is_held = self
                .store
                .read(|transaction| letters::is_held(transaction, seq))
                .map_err(in_journal)?;
            match (is_held, chosen) {
                (false, Chosen::One(_)) => return Err(DeadLetterError::Gone { seq }),
                (false, Chosen::All) => left_out += 1,
                (true, _) => {
                    retried += 1;
                    if !letter.is_wanted() {
                        let after = letter.with_retry(Some(None));
                        staging.change_letter(name, seq, letter, Some(after), false);
                    }
                }
            }
        }
        Ok(DeadLettersChanged {
            sink: name.clone(),
            dead_letters: retried,
            left_out,
        })
    }

    /// Takes dead letters off the list for good; the ledger says which.
    pub(in crate::journal) fn discard(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, DeadLetterError> {
        let (letters, left_out) = self.settled_letters(staging, name, chosen)?;
        let seqs: Vec<Seq> = letters.keys().copied().collect();
        for (seq, letter) in letters {
            staging.change_letter(name, seq, letter, None, true);
        }
        self.say_discarded(staging, name, &seqs, DiscardReason::Operator);
        Ok(DeadLettersChanged {
            sink: name.clone(),
            dead_letters: seqs.len() as u64,
            left_out,
        })
    }

    /// Notes from where on a dead letter is looked for that is about to leave; false where it is
    /// not to be sent any more. Nothing of it may leave before this is durable.
    pub(in crate::journal) fn claim_retry(
        &self,
        staging: &mut Staging,
        name: &SinkName,
        seq: Seq,
        claim: Claim,
    ) -> Result<bool, ReadError> {
        if !self.is_attached(name) {
            return Err(ReadError::Closed);
        }
        let letter = self.letter(staging, name, seq)?;
        let Some(letter) = letter.filter(Letter::is_wanted) else {
            return Ok(false);
        };
        let after = letter.with_retry(Some(Some(claim)));
        staging.change_letter(name, seq, letter, Some(after), false);
        Ok(true)
    }

    /// Notes how the sending of a dead letter ended. One that was delivered is one no longer, and
    /// the ledger says so in the same commit. Whoever heard no answer asks again.
    pub(in crate::journal) fn settle_retry(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        seq: Seq,
        settled: Settled,
    ) -> Result<(), ReadError> {
        if !self.is_attached(name) {
            return Err(ReadError::Closed);
        }
        let Some(letter) = self.letter(staging, name, seq)? else {
            // Discarded while it was on its way: the ledger calls it lost, and it is not.
            if settled == Settled::Delivered && self.is_discarded(staging, name, seq)? {
                self.say_delivered(staging, name, seq)?;
            }
            return Ok(());
        };
        let after = match settled {
            Settled::Delivered => {
                self.say_delivered(staging, name, seq)?;
                None
            }
            Settled::Rejected(code) => Some(letter.rejected_again(code)),
            Settled::Gone => Some(letter.with_retry(None)),
        };
        staging.change_letter(name, seq, letter, after, false);
        Ok(())
    }

    /// What the sink is to be sent again next, as the last commit left it.
    pub(in crate::journal) fn next_retry(&self, name: &SinkName) -> Option<Retry> {
        self.state.letters.next_retry(name)
    }

    /// How many dead letters the sink has by reason code, and how many were discarded since the
    /// journal was opened.
    pub(in crate::journal) fn letters_of(&self, name: &SinkName) -> (BTreeMap<String, u64>, u64) {
        let letters = &self.state.letters;
        (letters.reasons(name), letters.discarded(name))
    }

    /// Whether it was a dead letter until it was discarded, in this commit or before.
    fn is_discarded(
        &self,
        staging: &Staging,
        name: &SinkName,
        seq: Seq,
    ) -> Result<bool, ReadError> {
        let mut staged = staging.dead_letters.iter();
        if staged.any(|it| it.is_discarded && it.seq == seq && it.sink == *name) {
            return Ok(true);
        }
        let code = self
            .store
            .read(|transaction| letters::rejection(transaction, name, seq))?;
        Ok(code.is_some())
    }

    /// Says in the ledger that a dead letter was delivered.
    fn say_delivered(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        seq: Seq,
    ) -> Result<(), ReadError> {
        let event = DeadLetterDelivered {
            sink: name.as_str(),
            seq,
            digest: self.digest_of(seq)?,
        };
        staging.add_ledger(&LedgerEvent::DeadLetterDelivered(event), &mut self.entropy);
        Ok(())
    }

    /// Says in the ledger which dead letters were discarded.
    pub(super) fn say_discarded(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        seqs: &[Seq],
        reason: DiscardReason,
    ) {
        for seqs in seqs.chunks(SEQS_AT_ONCE) {
            let event = DeadLettersDiscarded {
                sink: name.as_str(),
                seqs,
                reason,
            };
            staging.add_ledger(&LedgerEvent::DeadLettersDiscarded(event), &mut self.entropy);
        }
    }

    fn discard_oldest(&mut self, staging: &mut Staging, name: &SinkName) -> Result<(), Fault> {
        let (letters, _) = match self.settled_letters(staging, name, Chosen::All) {
            Ok(letters) => letters,
            Err(DeadLetterError::Journal(error)) => {
                return Err(Fault::Damaged(error.to_string()));
            }
            Err(_) => return Ok(()),
        };
        let Some((seq, letter)) = letters.into_iter().next() else {
            return Ok(());
        };
        tracing::warn!(sink = %name, %seq, "discarded: there are too many dead letters");
        staging.change_letter(name, seq, letter, None, true);
        self.say_discarded(staging, name, &[seq], DiscardReason::Limit);
        Ok(())
    }

    /// The chosen dead letters that the cursor has passed, and how many it has not. Before that,
    /// whether an event is a dead letter decides whether it is sent at all.
    fn settled_letters(
        &self,
        staging: &Staging,
        name: &SinkName,
        chosen: Chosen,
    ) -> Result<(BTreeMap<Seq, Letter>, u64), DeadLetterError> {
        let cursor = staging.cursors.get(name);
        let Some(acked) = cursor.map(|cursor| cursor.acked) else {
            return Err(DeadLetterError::UnknownSink(name.clone()));
        };
        let sink = || name.clone();
        match chosen {
            Chosen::One(seq) => {
                let letter = self.letter(staging, name, seq).map_err(in_journal)?;
                let Some(letter) = letter else {
                    return Err(DeadLetterError::Unknown { sink: sink(), seq });
                };
                if seq > acked {
                    return Err(DeadLetterError::Unsettled { sink: sink(), seq });
                }
                Ok((BTreeMap::from([(seq, letter)]), 0))
            }
            Chosen::All => {
                let mut all = self
                    .store
                    .read(|transaction| letters::all(transaction, name))
                    .map_err(in_journal)?;
                for change in staging.dead_letters.iter().filter(|it| it.sink == *name) {
                    match &change.after {
                        Some(letter) => drop(all.insert(change.seq, letter.clone())),
                        None => drop(all.remove(&change.seq)),
                    }
                }
                let unsettled = all.split_off(&acked.next());
                Ok((all, unsettled.len() as u64))
            }
        }
    }

    /// The dead letter as it is with what is staged.
    fn letter(
        &self,
        staging: &Staging,
        name: &SinkName,
        seq: Seq,
    ) -> Result<Option<Letter>, Fault> {
        let mut staged = staging.dead_letters.iter().rev();
        match staged.find(|it| it.sink == *name && it.seq == seq) {
            Some(change) => Ok(change.after.clone()),
            None => self
                .store
                .read(|transaction| letters::find(transaction, name, seq)),
        }
    }

    /// The digest of a dead letter's event; `None` where it is not held any more.
    fn digest_of(&self, seq: Seq) -> Result<Option<Digest>, Fault> {
        self.store.read(|transaction| {
            let held = reader::with_record(transaction, seq, |record| record.digest)?;
            if held.is_some() {
                return Ok(held);
            }
            let Some((first, row)) = letters::kept(transaction, seq)? else {
                return Ok(None);
            };
            let group = Group::decode(first, &row).map_err(|source| Fault::Row { seq, source })?;
            Ok(group.record(seq).map(|record| record.digest))
        })
    }
}

impl Staging {
    /// Changes a dead letter, and the cursor's count of them with it.
    fn change_letter(
        &mut self,
        name: &SinkName,
        seq: Seq,
        before: Letter,
        after: Option<Letter>,
        is_discarded: bool,
    ) {
        if let (None, Some(cursor)) = (&after, self.cursors.get_mut(name)) {
            cursor.dead_letters = cursor.dead_letters.saturating_sub(1);
        }
        self.dead_letters.push(LetterChange {
            sink: name.clone(),
            seq,
            before: Some(before),
            after,
            is_discarded,
        });
    }
}

fn in_journal(fault: Fault) -> DeadLetterError {
    DeadLetterError::Journal(fault.into())
}
