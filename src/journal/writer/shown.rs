//! The writer's part in what is shown of the journal: to the sinks' tasks, and on the board.

use super::{super::storage::Storage, Horizon, Writer, trouble::Health};
use crate::{
    clock::Clock,
    seq::Seq,
    status::{ClockStatus, JournalState, SinkStatus},
};

impl<S: Storage, C: Clock> Writer<S, C> {
    /// Tells the sinks' tasks and the board what is durable now.
    pub(super) fn publish(&mut self) {
        let available = matches!(self.health, Health::Open);
        let tail = self.core.tail();
        self.find_oldest();
        for (name, port) in &self.ports {
            let claimed = self
                .core
                .cursors()
                .get(name)
                .map_or(Seq::NONE, |c| c.claimed);
            let seen = Horizon {
                tail,
                claimed,
                retry: self.core.next_retry(name),
                available,
                erasures: self.core.erasures(),
            };
            port.horizon
                .send_if_modified(|before| std::mem::replace(before, seen) != seen);
        }
        let stamp = self.core.last_stamp();
        self.board.send_modify(|status| {
            status.tail = tail;
            status.epoch = self.core.epoch().to_string();
            status.clock = ClockStatus {
                wall: stamp.wall,
                sync: stamp.sync,
            };
            let journal = &mut status.journal;
            journal.bytes = self.core.held_bytes();
            journal.first_held = self.core.first_held();
            journal.commits = self.core.commits();
            journal.reopened = self.reopened;
            journal.dropped = self.core.store().meter().dropped.get();
            journal.erasing = self.core.erasing();
            journal.state = match available {
                true if self.is_full() => JournalState::Full,
                true => JournalState::Open,
                false => JournalState::Reopening,
            };
            let cursors = self.core.cursors();
            if status.sinks.len() > cursors.len() {
                // Forgotten; one that is about to have its place has a task already.
                let has_place = |name: &str| {
                    let mut names = cursors.keys().chain(self.ports.keys());
                    names.any(|known| known.as_str() == name)
                };
                status.sinks.retain(|name, _| has_place(name));
            }
            for (name, cursor) in cursors {
                let sink = match status.sinks.get_mut(name.as_str()) {
                    Some(sink) => sink,
                    None => status
                        .sinks
                        .entry(name.to_string())
                        .or_insert_with(SinkStatus::absent),
                };
                sink.required = cursor.required;
                sink.claimed = cursor.claimed;
                sink.acked = sink.acked.max(cursor.acked);
                sink.pending = tail.since(sink.acked);
                sink.oldest_pending = (sink.pending > 0)
                    .then(|| self.intake.oldest_of(name))
                    .flatten();
                sink.dead_letters = cursor.dead_letters;
                (sink.dead_letter_reasons, sink.discarded) = self.core.letters_of(name);
            }
        });
    }

    /// Finds out since when each sink's oldest pending event waits. A sink's task has shown how far
    /// it came before it asks for this.
    fn find_oldest(&mut self) {
        let cursors = self.core.cursors();
        self.intake
            .committed(self.core.tail(), self.core.last_stamp().wall);
        self.intake.keep(|name| cursors.contains_key(name));
        for (name, cursor) in cursors {
            let shown = self
                .board
                .borrow()
                .sinks
                .get(name.as_str())
                .map(|s| s.acked);
            let acked = shown.map_or(cursor.acked, |shown| shown.max(cursor.acked));
            self.intake.find(name, acked, self.core.store());
        }
    }

    /// Shows since when each sink's oldest pending event waits, where nothing else changed.
    pub(super) fn publish_oldest(&mut self) {
        self.find_oldest();
        self.board.send_if_modified(|status| {
            let mut changed = false;
            for (name, oldest) in self.intake.oldest() {
                if let Some(sink) = status.sinks.get_mut(name.as_str()) {
                    let oldest = oldest.filter(|_| sink.pending > 0);
                    changed |= std::mem::replace(&mut sink.oldest_pending, oldest) != oldest;
                }
            }
            changed
        });
    }
}
