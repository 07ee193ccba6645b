//! One device's events as they come, put in order and linked.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    cli::output::count,
    digest::Digest,
    envelope::{Chain, ChainError, Envelope, Verified},
    seq::Seq,
    signing::KeyId,
};

/// How far events may be out of order: the largest window of a sink.
const MAX_AHEAD: usize = 16_384;
/// Digests remembered, to tell a repeat from a fork.
const REMEMBERED: usize = 65_536;

/// A chain that waits for what comes late and passes over what comes twice.
#[derive(Default)]
pub(super) struct Run {
    chain: Chain,
    /// Events that lie behind a gap so far.
    ahead: BTreeMap<Seq, Envelope<Verified>>,
    /// The digests of the last events of the chain, the newest last.
    recent: VecDeque<(Seq, Digest)>,
    first: Option<Seq>,
    key_id: Option<KeyId>,
    events: u64,
    erased: u64,
    repeats: u64,
    epochs: u64,
}

impl Run {
    /// Of a journal, whose device may have had several names.
    pub(super) fn of_journal() -> Self {
        Self {
            chain: Chain::of_journal(),
            ..Self::default()
        }
    }

    /// Takes the next event that came.
    pub(super) fn take(&mut self, envelope: Envelope<Verified>) -> Result<(), String> {
        let mut linked = self.link(envelope)?;
        while linked {
            let Some((_, envelope)) = self.ahead.pop_first() else {
                break;
            };
            linked = self.link(envelope)?;
        }
        Ok(())
    }

    /// Whether the chain grew: if not, the event is a repeat, or waits for those before it.
    fn link(&mut self, envelope: Envelope<Verified>) -> Result<bool, String> {
        let (seq, digest) = (envelope.statement().seq, envelope.digest());
        let epoch_before = self.chain.end().map(|end| end.epoch);
        match self.chain.extend(&envelope) {
            Ok(()) => {
                self.first.get_or_insert(seq);
                self.events += 1;
                self.erased += u64::from(envelope.is_erased());
                self.epochs += u64::from(epoch_before != Some(envelope.statement().epoch));
                self.key_id = Some(envelope.statement().key_id);
                if self.recent.len() == REMEMBERED {
                    self.recent.pop_front();
                }
                self.recent.push_back((seq, digest));
                Ok(true)
            }
            Err(ChainError::Repeat { .. }) => {
                self.repeats += 1;
                Ok(false)
            }
            Err(ChainError::Earlier { .. }) if self.knows(seq, digest)? => {
                self.repeats += 1;
                Ok(false)
            }
            // Whatever else is wrong with it may be mended by those in between.
            Err(_) if seq > self.end().next() && self.ahead.len() < MAX_AHEAD => {
                match self.ahead.insert(seq, envelope) {
                    Some(other) if other.digest() != digest => {
                        Err(ChainError::Fork { seq }.to_string())
                    }
                    other => {
                        self.repeats += u64::from(other.is_some());
                        Ok(false)
                    }
                }
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether this is a repeat of an event of the chain. Another event of that seq is a fork.
    fn knows(&self, seq: Seq, digest: Digest) -> Result<bool, String> {
        let at = self.recent.binary_search_by_key(&seq, |(seq, _)| *seq);
        match at.ok().and_then(|at| self.recent.get(at)) {
            Some((_, known)) if *known == digest => Ok(true),
            Some(_) => Err(ChainError::Fork { seq }.to_string()),
            None => Ok(false),
        }
    }

    /// Nothing more comes: what still waits lies behind a gap.
    pub(super) fn finish(&self) -> Result<(), String> {
        match self.ahead.first_key_value() {
            Some((seq, _)) => {
                let (first, last) = (self.end().next(), seq.prev());
                Err(if first == last {
                    format!("seq {first} is missing")
                } else {
                    format!("seq {first} to {last} are missing")
                })
            }
            None => Ok(()),
        }
    }

    /// The last event of the chain; 0 before the first.
    pub(super) fn end(&self) -> Seq {
        self.chain.end().map_or(Seq::NONE, |end| end.seq)
    }

    /// The key of the last event.
    pub(super) const fn key_id(&self) -> Option<KeyId> {
        self.key_id
    }

    pub(super) fn text(&self) -> String {
        let Some(first) = self.first else {
            return "0 events".into();
        };
        let mut text = format!(
            "{}, seq {first} to {}",
            count(self.events, "event"),
            self.end()
        );
        text += &format!(", {}", count(self.epochs, "epoch"));
        if self.erased > 0 {
            text += &format!(", {} erased", self.erased);
        }
        if self.repeats > 0 {
            text += &format!(", {}", count(self.repeats, "repeat"));
        }
        text
    }
}
