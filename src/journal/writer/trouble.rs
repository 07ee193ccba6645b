//! The writer's part when writes fail: it opens the journal afresh until that succeeds, and the log is told once.

use std::time::{Duration, Instant};

use super::{
    super::{damage, error::Fault, storage::Storage},
    Writer,
};
use crate::{clock::Clock, lasted::Lasted};

/// Between attempts to reopen a journal, at first and at most.
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_MOST: Duration = Duration::from_secs(5);

/// Between times that the journal is reopened because it could not be read, at first and at most: a bad
/// block stays bad, and each time takes a commit.
const REREAD_FIRST: Duration = Duration::from_secs(1);
const REREAD_MOST: Duration = Duration::from_secs(60);

/// A journal that could be written to for so long after it was reopened is well again. Before, the
/// next failure is the same trouble: a full disk takes a small commit and refuses the large ones.
pub(super) const WELL_AFTER: Duration = Duration::from_secs(5);

/// Whether the journal can be used.
pub(super) enum Health {
    Open,
    /// A write failed; the next attempt to reopen is due.
    Broken {
        next: Instant,
        pause: Duration,
    },
}

/// Writes fail, as the log was told once.
pub(super) struct Trouble {
    since: Instant,
    /// When the journal was reopened after the last failure; none while it is not.
    pub(super) over_since: Option<Instant>,
    /// Events that had become durable before.
    committed_before: u64,
}

/// When the journal may be reopened because it could not be read.
pub(super) struct Reread {
    not_before: Instant,
    pause: Duration,
}

impl Default for Reread {
    fn default() -> Self {
        Self {
            not_before: Instant::now(),
            pause: REREAD_FIRST,
        }
    }
}

impl Reread {
    fn next(&mut self, now: Instant) {
        if now.saturating_duration_since(self.not_before) > REREAD_MOST {
            self.pause = REREAD_FIRST;
        }
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(REREAD_MOST);
    }
}

impl<S: Storage, C: Clock> Writer<S, C> {
    /// When the journal is to be reopened because it could not be read.
    pub(super) fn reread_at(&self) -> Option<Instant> {
        let is_unread = self.core.store().is_unread();
        is_unread.then_some(self.reread.not_before)
    }

    /// Opens the journal afresh where somebody could not read it and that is due: after such a failure redb
    /// reads nothing more, and where nothing is appended no write would find out. Before a `write` it is due
    /// always, for that would fail.
    pub(super) fn reopen_unread(&mut self, write: bool) {
        let now = Instant::now();
        let is_due = |at| write || now >= at;
        if matches!(self.health, Health::Broken { .. }) || !self.reread_at().is_some_and(is_due) {
            return;
        }
        if let Some(error) = self.core.store().take_failed_read() {
            self.reread.next(now);
            self.failed(
                &Fault::Io(error),
                "the journal could not be read; reopening it",
            );
        }
    }

    /// A write failed: says so once, and opens the journal afresh.
    pub(super) fn broken(&mut self, fault: &Fault) {
        self.failed(fault, "a write to the journal failed; reopening it");
    }

    fn failed(&mut self, fault: &Fault, what: &str) {
        self.note_damage(fault);
        if let Some(guard) = &mut self.guard {
            guard.write_failed(fault);
        }
        match &mut self.trouble {
            Some(trouble) => trouble.over_since = None,
            None => {
                tracing::error!(%fault, "{what}");
                self.trouble = Some(Trouble {
                    since: Instant::now(),
                    over_since: None,
                    committed_before: self.core.store().meter().committed.get(),
                });
            }
        }
        self.health = Health::Broken {
            next: Instant::now(),
            pause: REOPEN_FIRST,
        };
        self.board
            .send_modify(|status| status.journal.last_error = Some(fault.to_string()));
        self.publish();
        self.try_reopen();
    }

    /// Reopening mends no damage, and the next start may not come upon it.
    pub(super) fn note_damage(&self, fault: &Fault) {
        if matches!(fault, Fault::Damaged(_) | Fault::Row { .. }) {
            damage::remember(&self.board.borrow().journal.dir, &fault.to_string());
        }
    }

    /// Opens the journal afresh where the next attempt is due.
    pub(super) fn try_reopen(&mut self) {
        let Health::Broken { next, pause } = self.health else {
            return;
        };
        if Instant::now() < next {
            return;
        }
        match self.core.reopen(self.clock.stamp()) {
            Ok(()) => {
                if let Some(trouble) = &mut self.trouble {
                    trouble.over_since = Some(Instant::now());
                }
                self.start_over();
                self.health = Health::Open;
                self.reopened += 1;
            }
            Err(fault) => {
                self.note_damage(&fault);
                if let Some(guard) = &mut self.guard {
                    guard.write_failed(&fault);
                }
                let pause = (pause * 2).min(REOPEN_MOST);
                self.health = Health::Broken {
                    next: Instant::now() + pause,
                    pause,
                };
                self.board
                    .send_modify(|status| status.journal.last_error = Some(fault.to_string()));
            }
        }
        self.publish();
    }

    /// Says that the trouble is over where there was none for so long.
    pub(super) fn end_trouble(&mut self, quiet: Duration) {
        let is_over = |trouble: &mut Trouble| {
            let over_since = trouble.over_since;
            over_since.is_some_and(|since| since.elapsed() >= quiet)
        };
        let Some(trouble) = self.trouble.take_if(is_over) else {
            return;
        };
        let lasted = trouble.over_since.map(|end| end - trouble.since);
        let committed = self.core.store().meter().committed.get();
        tracing::info!(
            lasted = %Lasted(lasted.unwrap_or_default()),
            committed = committed - trouble.committed_before,
            tail = %self.core.tail(),
            "the journal is well again"
        );
    }
}
