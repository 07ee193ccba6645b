//! Rows that are not sent: no events, or rejected by a sink for good. They are kept in mind so that they
//! are told of once, are left out of what is taken next, and are tried again seldom.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

/// Rows that are kept in mind.
pub(super) const MAX_REFUSED: usize = 4_096;

/// What is new about a row that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was not refused before.
    New,
    /// It was.
    Known,
    /// It is one more than are kept in mind, the first time that this happens.
    NoRoom,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// When it is tried again.
    due: Instant,
    /// Whether a sink was asked to take it after all.
    is_asked: bool,
    /// Whether it is refused, and not only another relay's for the moment.
    is_refused: bool,
}

/// Rows that are left out.
#[derive(Debug)]
pub(super) struct Refused {
    rows: BTreeMap<Uuid, Row>,
    pause: Duration,
    has_overflowed: bool,
}

impl Refused {
    /// Each is tried again after this time.
    pub(super) const fn new(pause: Duration) -> Self {
        Self {
            rows: BTreeMap::new(),
            pause,
            has_overflowed: false,
        }
    }

    /// Refuses a row, until its time comes again.
    pub(super) fn add(&mut self, id: Uuid, now: Instant) -> Why {
        let row = Row {
            due: now + self.pause,
            is_asked: false,
            is_refused: true,
        };
        if let Some(known) = self.rows.get_mut(&id) {
            let why = if known.is_refused {
                Why::Known
            } else {
                Why::New
            };
            *known = row;
            return why;
        }
        if self.is_full() {
            let is_first = !std::mem::replace(&mut self.has_overflowed, true);
            return if is_first { Why::NoRoom } else { Why::Known };
        }
        self.rows.insert(id, row);
        Why::New
    }

    /// Leaves a row to another relay for a while.
    pub(super) fn put_off(&mut self, id: Uuid, due: Instant) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.due = due;
        } else if !self.is_full() {
            let (is_asked, is_refused) = (false, false);
            let row = Row {
                due,
                is_asked,
                is_refused,
            };
            self.rows.insert(id, row);
        }
    }

    /// A sink was asked to take it after all; what became of that is looked at then.
    pub(super) fn ask(&mut self, id: Uuid, due: Instant) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.due = due;
            row.is_asked = true;
        }
    }

    /// Whether it is in mind.
    pub(super) fn contains(&self, id: &Uuid) -> bool {
        self.rows.contains_key(id)
    }

    /// It was sent after all.
    pub(super) fn remove(&mut self, id: &Uuid) {
        self.rows.remove(id);
    }

    /// Whether it was refused and its time has come again.
    pub(super) fn is_due(&self, id: &Uuid, now: Instant) -> bool {
        let row = self.rows.get(id).filter(|row| row.is_refused);
        row.is_some_and(|row| row.due <= now)
    }

    /// Whether a sink was asked to take it after all, and the answer has not been looked at.
    pub(super) fn is_asked(&self, id: &Uuid) -> bool {
        self.rows.get(id).is_some_and(|row| row.is_asked)
    }

    /// Those whose time has not come.
    pub(super) fn waiting(&self, now: Instant) -> Vec<Uuid> {
        let waiting = self.rows.iter().filter(|(_, row)| row.due > now);
        waiting.map(|(id, _)| *id).collect()
    }

    /// When the next one's time comes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.rows.values().map(|row| row.due).min()
    }

    /// After all rows were looked at: one whose time had come before `began`, and that is still as it
    /// was, is not there any more.
    pub(super) fn forget_gone(&mut self, began: Instant) {
        self.rows.retain(|_, row| row.due > began);
        if !self.is_full() {
            self.has_overflowed = false;
        }
    }

    /// Whether another one would not be kept in mind.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MAX_REFUSED
    }

    /// Rows that are refused.
    pub(super) fn len(&self) -> usize {
        self.rows.values().filter(|row| row.is_refused).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);

    #[test]
    fn a_row_is_told_of_once_left_out_for_its_time_and_forgotten_when_it_is_gone() {
        let (id, now) = (Uuid::from_u128(1), Instant::now());
        let mut refused = Refused::new(PAUSE);
        assert_eq!(refused.add(id, now), Why::New);
        assert_eq!(refused.waiting(now), [id]);
        let later = now + PAUSE;
        assert!(refused.waiting(later).is_empty());
        assert!(refused.is_due(&id, later));
        assert_eq!(refused.add(id, later), Why::Known);
        refused.forget_gone(later);
        assert_eq!(refused.len(), 1, "it was looked at");
        refused.forget_gone(later + PAUSE);
        assert_eq!(refused.len(), 0);
        assert_eq!(refused.add(id, later), Why::New);
    }

    #[test]
    fn a_row_of_another_relay_is_left_out_and_not_counted() {
        let (id, now) = (Uuid::from_u128(1), Instant::now());
        let mut refused = Refused::new(PAUSE);
        refused.put_off(id, now + PAUSE);
        assert_eq!((refused.waiting(now), refused.len()), (vec![id], 0));
        assert!(!refused.is_due(&id, now + PAUSE));
        assert_eq!(refused.add(id, now), Why::New);
    }

    #[test]
    fn no_more_rows_are_kept_in_mind_than_there_is_room_for() {
        let now = Instant::now();
        let mut refused = Refused::new(PAUSE);
        for number in 0..MAX_REFUSED as u128 {
            assert_eq!(refused.add(Uuid::from_u128(number), now), Why::New);
        }
        assert_eq!(refused.add(Uuid::max(), now), Why::NoRoom);
        assert_eq!(refused.add(Uuid::max(), now), Why::Known);
        assert_eq!(refused.len(), MAX_REFUSED);
        refused.remove(&Uuid::from_u128(1));
        assert_eq!(refused.add(Uuid::max(), now), Why::New);
    }
}
