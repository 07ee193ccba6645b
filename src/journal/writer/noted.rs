//! What a sink's task has learnt, on its way to the writer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::cursor::Progress;
use crate::seq::Seq;

/// What a sink's task has learnt and the writer has not taken over yet. Only the latest counts, so there is nothing to queue. It lives as long as the task holds the sink's place.
#[derive(Default)]
pub(crate) struct Noted(Mutex<Note>);

#[derive(Default)]
struct Note {
    news: News,
    writer: Knows,
}

/// What is noted.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) progress: Option<Progress>,
    /// What receipts have confirmed.
    pub(super) confirmed: Option<Seq>,
}

/// What the writer knows of it. A word to the writer wakes its thread, which costs more than sending an
/// event.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Knows {
    /// Nothing: it has to be told.
    #[default]
    Nothing,
    /// It was told, and has not looked yet.
    Told,
    /// That news are coming in: it looks for the next by itself.
    Looks,
}

impl Noted {
    /// Notes it; true where the writer has to be told.
    pub(crate) fn note(&self, progress: Progress) -> bool {
        let mut note = self.lock();
        note.news.progress = Some(progress);
        note.is_to_be_told()
    }

    /// Notes what receipts have confirmed; true as [`Self::note`] says.
    pub(crate) fn confirm(&self, upto: Seq) -> bool {
        let mut note = self.lock();
        note.news.confirmed = Some(upto);
        note.is_to_be_told()
    }

    /// What receipts have confirmed counts no longer.
    pub(crate) fn forget_confirmed(&self) {
        self.lock().news.confirmed = None;
    }

    /// Whether the writer was told and has not looked.
    pub(in crate::journal) fn is_told(&self) -> bool {
        self.lock().writer == Knows::Told
    }

    /// For the writer. `looks`: it will look again by itself, and need not be told of the next.
    pub(super) fn take(&self, looks: bool) -> News {
        let mut note = self.lock();
        note.writer = match looks {
            true => Knows::Looks,
            false => Knows::Nothing,
        };
        std::mem::take(&mut note.news)
    }

    fn lock(&self) -> MutexGuard<'_, Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Note {
    fn is_to_be_told(&mut self) -> bool {
        let is_new = self.writer == Knows::Nothing;
        if is_new {
            self.writer = Knows::Told;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_told_once_before_it_looks_and_not_where_it_looks_by_itself() {
        let noted = Noted::default();
        let latest = |looks| noted.take(looks).confirmed.map(Seq::get);
        assert!(noted.confirm(Seq::new(1)) && noted.is_told());
        assert!(!noted.confirm(Seq::new(2)), "it was told");
        assert_eq!(latest(true), Some(2));
        assert!(!noted.confirm(Seq::new(3)), "it looks");
        assert!(!noted.is_told());
        assert_eq!(latest(true), Some(3));
        assert!(!noted.confirm(Seq::new(4)), "it looks again");
        assert_eq!(latest(false), Some(4));
        assert_eq!(latest(false), None);
        assert!(noted.confirm(Seq::new(5)), "it looks no longer");
    }
}
