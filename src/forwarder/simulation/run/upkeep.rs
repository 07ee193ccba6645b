//! Somebody who looks after the device.

use super::{
    super::{history::note, truth::Wish},
    Run, Waiting,
};
use crate::journal::{
    Chosen, DeadLetterError, DeadLettersChanged, SinkName, tests::scribe::person_of,
};

/// Erasing and compacting write hundreds of pages, one like the other: the power is cut at fewer of
/// them by this factor.
const STEPS_WITH_MANY_CALLS: u64 = 24;

impl Run {
    /// A sink that has dead letters, and one of them or all.
    pub(super) fn any_letters(&mut self) -> Option<(SinkName, Chosen)> {
        let index = self.dice.index(self.truth.letters.len())?;
        let (name, seq) = self.truth.letters.keys().nth(index)?.clone();
        let chosen = match self.dice.one_in(4) {
            true => Chosen::All,
            false => Chosen::One(seq),
        };
        Some((name, chosen))
    }

    pub(super) fn retry_letters(&mut self) {
        let Some((name, chosen)) = self.any_letters() else {
            return;
        };
        if self.dice.below(3) > 0 {
            self.far_sides.get_mut(&name).unwrap().mend();
        }
        self.collect();
        let asked = self.scribe().retry(&name, chosen);
        note(format!("  {name}, {chosen:?}: {asked:?}"));
        Self::is_taken_up(asked);
        self.flush_perhaps();
    }

    pub(super) fn discard_letters(&mut self) {
        let Some((name, chosen)) = self.any_letters() else {
            return;
        };
        self.collect();
        let asked = self.scribe().discard(&name, chosen);
        note(format!("  {name}, {chosen:?}: {asked:?}"));
        if Self::is_taken_up(asked) {
            self.waiting.push(Waiting::Discard { sink: name, chosen });
        }
        self.flush_perhaps();
    }

    /// Whether what was asked is done with the next commit.
    fn is_taken_up(asked: Result<DeadLettersChanged, DeadLetterError>) -> bool {
        match asked {
            Ok(_) => true,
            // Something else is staged that takes it off the list, its event is gone, the disk is
            // not well, or the cursor is not there yet.
            Err(
                DeadLetterError::Unknown { .. }
                | DeadLetterError::Gone { .. }
                | DeadLetterError::Unsettled { .. }
                | DeadLetterError::Journal(_),
            ) => false,
            Err(error) => panic!("refused: {error}"),
        }
    }

    pub(super) fn erase(&mut self) {
        self.flush();
        let person = person_of(self.dice.roll());
        // It may be begun though nobody hears of it.
        let upto = self.truth.tail;
        let wish = Wish {
            person,
            upto,
            once_delivered: false,
        };
        self.truth.wishes.push(wish);
        self.storage.record();
        let begun = self.scribe().begin_erasing(person);
        self.probe_recorded();
        match begun {
            Ok(from) => {
                note(format!("  {person} up to {from}"));
                assert!(from <= upto, "erases what was appended later");
                let asked = self.truth.is_asked((person, from));
                assert!(from == upto || asked, "leaves what nobody has to hear of");
                self.truth.promised.insert((person, from));
            }
            Err(()) => self.broken(),
        }
    }

    /// A step of what is being erased, a commit at most. After the last one nothing of it may be
    /// left anywhere in the file.
    pub(super) fn erase_on(&mut self) {
        self.flush();
        if !self.scribe().is_erasing() {
            return;
        }
        let commits = self.scribe().commits();
        self.storage.record_some(STEPS_WITH_MANY_CALLS);
        let erased = self.scribe().erase_on();
        self.probe_recorded();
        match erased {
            Ok(()) if self.scribe().commits() > commits => self.committed(commits),
            Ok(()) => {}
            Err(()) => return self.broken(),
        }
        self.note_erased();
    }

    /// Once nothing more is to be done, no payload of whoever is no longer to be erased may be
    /// anywhere.
    pub(super) fn note_erased(&mut self) {
        if self.scribe().is_erasing() {
            return;
        }
        let seen = self.see();
        let through = self.truth.through(&seen);
        if through > 0 {
            note(format!("  {through} erased"));
            self.tally.scrubbed += through;
            self.truth.check_gone(&self.storage.bytes());
        }
    }

    /// Nothing that the journal says of itself may change by it.
    pub(super) fn compact(&mut self) {
        self.flush();
        let (tail, commits) = (self.truth.tail, self.scribe().commits());
        self.storage.record_some(STEPS_WITH_MANY_CALLS);
        let compacted = self.scribe().compact();
        self.probe_recorded();
        match compacted {
            Ok(()) => {
                if self.scribe().commits() > commits {
                    self.tally.compacted += 1;
                    self.committed(commits);
                    assert_eq!(self.truth.tail, tail, "compacting appended something");
                }
            }
            Err(()) => self.broken(),
        }
    }
}
