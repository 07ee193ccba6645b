//! What the write side remembers of dead letters, so that it has to look nothing up.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, TableError};

use super::{
    super::{
        cursor::SinkName,
        error::{Fault, fault},
        store::DEAD_LETTERS,
    },
    Claim, NOTES, Retry,
    letter::{LetterChange, NoteV1},
};
use crate::seq::Seq;

/// Reason codes that are counted each by itself; those beyond are counted together.
const MAX_REASONS: usize = 32;
const OTHER_REASONS: &str = "other";

/// What the write side remembers of the dead letters of every sink.
#[derive(Clone, Debug, Default)]
pub(in crate::journal) struct Letters(BTreeMap<SinkName, OfSink>);

#[derive(Clone, Debug, Default)]
struct OfSink {
    /// How many there are by reason code.
    reasons: BTreeMap<Box<str>, u64>,
    retries: BTreeMap<Seq, Option<Claim>>,
    /// How many were discarded since the journal was opened.
    discarded: u64,
}

impl Letters {
    /// Reads what the last commit left.
    pub(in crate::journal) fn load(transaction: &ReadTransaction) -> Result<Self, Fault> {
        let mut all = Self::default();
        let letters = match transaction.open_table(DEAD_LETTERS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(all),
            opened => opened.map_err(fault)?,
        };
        for entry in letters.iter().map_err(fault)? {
            let (key, code) = entry.map_err(fault)?;
            if let Ok(sink) = SinkName::new(key.value().0) {
                all.of(sink).count(code.value());
            }
        }
        let notes = match transaction.open_table(NOTES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(all),
            opened => opened.map_err(fault)?,
        };
        for entry in notes.iter().map_err(fault)? {
            let (key, note) = entry.map_err(fault)?;
            let (sink, seq) = key.value();
            let Some(retry) = NoteV1::decode(sink, seq, note.value()).and_then(|note| note.retry)
            else {
                continue;
            };
            let is_letter = letters.get((sink, seq)).map_err(fault)?.is_some();
            if let (true, Ok(sink)) = (is_letter, SinkName::new(sink)) {
                all.of(sink).retries.insert(Seq::new(seq), retry.claim);
            }
        }
        Ok(all)
    }

    /// Takes over what was committed.
    pub(in crate::journal) fn adopt(
        &mut self,
        changes: Vec<LetterChange>,
        forgotten: Option<&SinkName>,
    ) {
        if let Some(name) = forgotten {
            self.0.remove(name);
        }
        for change in changes {
            let of_sink = self.of(change.sink);
            of_sink.discarded += u64::from(change.is_discarded);
            of_sink.retries.remove(&change.seq);
            if let Some(before) = change.before {
                of_sink.uncount(&before.code);
            }
            if let Some(after) = change.after {
                of_sink.count(&after.code);
                if let Some(retry) = after.note.retry {
                    of_sink.retries.insert(change.seq, retry.claim);
                }
            }
        }
    }

    /// What the sink is to be sent again next: what may have left before, then the oldest.
    pub(in crate::journal) fn next_retry(&self, sink: &SinkName) -> Option<Retry> {
        let retries = &self.0.get(sink)?.retries;
        let claimed = retries.iter().find(|(_, claim)| claim.is_some());
        let (seq, claim) = claimed.or_else(|| retries.first_key_value())?;
        Some(Retry {
            seq: *seq,
            claim: *claim,
        })
    }

    /// How many dead letters the sink has, by reason code.
    pub(in crate::journal) fn reasons(&self, sink: &SinkName) -> BTreeMap<String, u64> {
        let mut reasons = BTreeMap::new();
        for (code, count) in self.0.get(sink).iter().flat_map(|it| &it.reasons) {
            let code = match reasons.len() < MAX_REASONS {
                true => code,
                false => OTHER_REASONS,
            };
            *reasons.entry(code.to_owned()).or_default() += count;
        }
        reasons
    }

    /// How many dead letters of the sink were discarded since the journal was opened.
    pub(in crate::journal) fn discarded(&self, sink: &SinkName) -> u64 {
        self.0.get(sink).map_or(0, |it| it.discarded)
    }

    /// The sinks that have, or had, dead letters.
    pub(in crate::journal) fn sinks(&self) -> impl Iterator<Item = &SinkName> {
        self.0.keys()
    }

    fn of(&mut self, sink: SinkName) -> &mut OfSink {
        self.0.entry(sink).or_default()
    }
}

impl OfSink {
    fn count(&mut self, code: &str) {
        *self.reasons.entry(code.into()).or_default() += 1;
    }

    fn uncount(&mut self, code: &str) {
        if let Some(count) = self.reasons.get_mut(code) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.reasons.remove(code);
            }
        }
    }
}
