//! The end of a run.

use super::{
    super::{history::note, port::Port, site::SITES},
    Run,
};
use crate::{journal::SinkName, outbox::RetryState};

/// When faults have stopped, everything is delivered within so many steps.
const CALM_STEPS: usize = 20_000;

impl Run {
    /// Faults have stopped: everything is delivered, in a bounded number of steps.
    pub(super) fn calm_down(&mut self) {
        note("the faults stop");
        self.calm = true;
        self.storage.mend();
        self.flush();
        self.storage.mend();
        for site in SITES {
            if self
                .truth
                .places
                .contains_key(&SinkName::new(site.name).unwrap())
            {
                self.attach(site);
            }
        }
        while let Some(batch) = self.unknown.pop() {
            self.append(batch);
        }
        let names: Vec<SinkName> = self.ports.keys().cloned().collect();
        for step in 0.. {
            assert!(
                step < CALM_STEPS,
                "not delivered after {step} steps: {}",
                self.standing()
            );
            self.flush();
            let mut busy = false;
            for name in &names {
                busy |= self.deliver(name);
            }
            if !busy && names.iter().all(|name| self.is_done(name)) {
                break;
            }
        }
        self.settle();
        for (name, cursor) in self.scribe().cursors().clone() {
            assert_eq!(
                cursor.acked, self.truth.tail,
                "{name} is not at the end: {cursor:?}"
            );
        }
        for (name, far_side) in &self.far_sides {
            self.truth.check_delivered(name, far_side);
            if let Some(hub) = &far_side.hub {
                self.truth.check_at_hub(name, hub);
                let confirmed = self.scribe.as_ref().unwrap().cursors()[name].confirmed;
                assert_eq!(
                    confirmed, self.truth.tail,
                    "{name} waits for its hub's word"
                );
            }
        }
        for (letter, state) in &self.truth.letters {
            assert_eq!(*state, RetryState::None, "{letter:?} is still to be sent");
        }
        for step in 0.. {
            assert!(step < CALM_STEPS, "not erased after {step} steps");
            if !self.scribe().is_erasing() {
                break;
            }
            self.erase_on();
        }
        self.note_erased();
        if self.scribe().cursors().values().any(|it| it.required) {
            let promised = &self.truth.promised;
            assert!(promised.is_empty(), "not erased: {promised:?}");
        }
        self.restart();
        self.truth.check_gone(&self.storage.bytes());
        if self.scribe().is_unread() {
            // It came while the sinks took their places.
            self.broken();
        }
        // A new process may have been given a fault that is still to come.
        let scribe = self.scribe.as_ref().expect("a process runs");
        self.storage.undisturbed(|| scribe.verify());
    }

    pub(super) fn is_done(&self, name: &SinkName) -> bool {
        let port = &self.ports[name];
        let delivery = &port.delivery;
        let confirmed = self.scribe.as_ref().map(|it| it.cursors()[name].confirmed);
        delivery.acked() == self.truth.tail
            && !delivery.has_late()
            && (port.listener.is_none() || confirmed == Some(self.truth.tail))
    }

    pub(super) fn standing(&self) -> String {
        let of = |port: &Port| {
            let delivery = &port.delivery;
            format!(
                "{} {:?} at {}",
                port.name,
                delivery.state(),
                delivery.acked()
            )
        };
        let ports: Vec<String> = self.ports.values().map(of).collect();
        format!("tail {}, {}", self.truth.tail, ports.join(", "))
    }
}
