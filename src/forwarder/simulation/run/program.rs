//! The program that hands events over.

use super::{
    super::{
        history::note,
        truth::{Batch, MARK},
    },
    Run, SMALL_QUOTA, Waiting,
};
use crate::{
    journal::tests::scribe::{Draft, Undone},
    outbox::AppendError,
    seq::Seq,
};

/// Events that a request holds at most, but for the few that take more than one group.
const REQUEST_EVENTS: u64 = 4;
const LARGE_REQUEST_EVENTS: u64 = 70;

impl Run {
    pub(super) fn new_batch(&mut self) -> Batch {
        let large = self.dice.one_in(40);
        let most = if large {
            LARGE_REQUEST_EVENTS
        } else {
            REQUEST_EVENTS
        };
        let count = 1 + self.dice.below(most);
        let drafts = (0..count).map(|_| self.new_draft(large)).collect();
        Batch { drafts, key: None }
    }

    pub(super) fn new_draft(&mut self, small: bool) -> Draft {
        let number = self.next_number;
        self.next_number += 1;
        let most = if small {
            10
        } else {
            *self.dice.pick(&[10, 10, 300, 3_000])
        };
        let filler = "x".repeat(self.dice.below(most) as usize);
        Draft {
            number,
            payload: format!("{{{MARK}{number},\"filler\":\"{filler}\"}}"),
        }
    }

    pub(super) fn append(&mut self, mut batch: Batch) {
        batch.key = None;
        self.collect();
        match self.scribe().append(&batch.drafts) {
            Ok(places) => {
                self.truth.open.push(batch.clone());
                self.waiting.push(Waiting::Append { batch, places });
            }
            Err(AppendError::Full { .. }) => {
                assert_eq!(self.boot.max_bytes, SMALL_QUOTA, "there is room");
                note("  full");
            }
            // A retry of what is known, which the disk does not show.
            Err(AppendError::Unavailable) => self.unknown.push(batch),
            Err(error) => panic!("refused: {error}"),
        }
        self.flush_perhaps();
    }

    /// Some events that are durable already.
    pub(super) fn known(&mut self) -> Option<Vec<Draft>> {
        let index = self.dice.index(self.truth.numbers.len())?;
        let known = self.truth.numbers.iter().skip(index).take(2);
        let draft = |(number, (_, payload)): (&u64, &(Seq, String))| Draft {
            number: *number,
            payload: payload.clone(),
        };
        Some(known.map(draft).collect())
    }

    pub(super) fn repeat(&mut self) {
        let Some(drafts) = self.known() else { return };
        self.collect();
        let places = match self.scribe().append(&drafts) {
            Err(AppendError::Unavailable) => return,
            answer => answer.expect("what is known is given again"),
        };
        for (draft, place) in drafts.iter().zip(places) {
            let seq = self.truth.numbers[&draft.number].0;
            assert!(place.repeated, "event {} is known", draft.number);
            assert_eq!(place.seq, seq, "event {} has another seq", draft.number);
        }
    }

    pub(super) fn conflict(&mut self) {
        let Some(mut drafts) = self.known() else {
            return;
        };
        let (numbers, first_held) = (&self.truth.numbers, self.truth.first_held);
        let is_held = |draft: &Draft| numbers[&draft.number].0 >= first_held;
        let last = drafts.last().unwrap();
        // What is erased contradicts nothing.
        if !drafts.iter().all(is_held)
            || self.truth.is_unwanted(last.number, numbers[&last.number].0)
        {
            return;
        }
        let new = self.new_draft(true);
        drafts.last_mut().unwrap().payload.insert(1, ' ');
        drafts.insert(0, new);
        self.collect();
        match self.scribe().append(&drafts) {
            // Where the disk cannot be read, there is nothing to compare with.
            Err(AppendError::Conflict { .. } | AppendError::Unavailable) => {}
            answer => panic!("other content under a known id: {answer:?}"),
        }
    }

    pub(super) fn transact(&mut self, keep: bool) {
        self.flush();
        let mut batch = self.new_batch();
        batch.key = Some(self.next_key);
        self.next_key += 1;
        if keep {
            self.truth.open.push(batch.clone());
        }
        let (key, commits) = (batch.key.unwrap(), self.scribe().commits());
        self.collect();
        self.storage.record();
        let ended = self.scribe().transact(key, &batch.drafts, keep);
        self.probe_recorded();
        match ended {
            Ok(places) => {
                self.waiting.push(Waiting::Append { batch, places });
                self.committed(commits);
            }
            Err(Undone::RolledBack(error)) => {
                note(format!("  rolled back: {error:?}"));
                self.truth.open.retain(|open| open.key != Some(key));
            }
            Err(Undone::Unknown) => {
                if !keep {
                    self.truth.open.retain(|open| open.key != Some(key));
                }
                self.broken();
            }
        }
    }
}
