//! Processes that fail, end and begin.

use super::{
    super::{super::delivery::Breakage, history::note, site::SITES},
    FAULT_WITHIN, NESTED, Run, Waiting,
};
use crate::journal::{
    SinkName,
    tests::{scribe::Scribe, storage::Fault},
};

impl Run {
    /// A read or write failed: everybody hears that the outcome is unknown, and the journal is reopened.
    pub(super) fn broken(&mut self) {
        note("  the journal failed");
        self.fail_waiting();
        if self.storage.is_dead() {
            return self.lose_process(false);
        }
        let lasts = self.dice.below(4);
        for attempt in 0.. {
            if attempt >= lasts {
                self.storage.mend();
            }
            if self.dice.one_in(6) {
                let call = 1 + self.dice.below(FAULT_WITHIN);
                self.storage.fail_after(call, Fault::PowerCut);
            }
            self.storage.record();
            let well = self.scribe().reopen();
            self.probe_recorded();
            if well {
                break;
            }
            if self.storage.is_dead() {
                return self.lose_process(false);
            }
            assert!(attempt < lasts, "the disk is well, and the journal is not");
            self.publish(false);
            self.pump_all();
        }
        self.tally.reopened += 1;
        note("  reopened");
        let unknown = self.look();
        self.unknown.extend(unknown);
        let scribe = self.scribe.as_ref().unwrap();
        for name in self.ports.keys() {
            assert!(
                scribe.is_attached(name),
                "nothing was rolled back, and {name} lost its place"
            );
        }
        self.publish(true);
    }

    pub(super) fn fail_waiting(&mut self) {
        let now = self.now;
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Append { .. } | Waiting::Discard { .. } => {}
                Waiting::Claim { sink, turn, .. }
                | Waiting::Reject { sink, turn, .. }
                | Waiting::ClaimLate { sink, turn, .. }
                | Waiting::SettleLate { sink, turn }
                | Waiting::Hub { sink, turn } => {
                    if let Some(port) = self.ports.get_mut(&sink).filter(|it| it.turn == turn) {
                        port.fail(Breakage::Retry, now);
                    }
                }
                Waiting::Register { sink, .. } => self.scribe().detach(&sink),
            }
        }
    }

    /// The process is gone, or it and the power; the next one begins.
    pub(super) fn lose_process(&mut self, killed: bool) {
        note(if killed {
            "  killed"
        } else {
            "  the power is gone"
        });
        self.storage.kill();
        self.end_tasks();
        self.scribe = None;
        match killed && self.dice.below(4) > 0 {
            true => {
                self.tally.kills += 1;
                self.storage.revive();
            }
            false => {
                self.tally.crash_points += 1;
                self.storage.crash();
                self.boot.number += 1;
            }
        }
        self.start(1);
    }

    pub(super) fn restart(&mut self) {
        self.flush();
        self.end_tasks();
        let scribe = self.scribe.take().unwrap();
        self.storage.record();
        scribe.close();
        self.probe_recorded();
        if self.storage.is_dead() {
            self.storage.crash();
            self.tally.crash_points += 1;
            self.boot.number += 1;
        }
        self.start(1);
    }

    /// The process ends as it should, and the next one has another key: an epoch begins.
    pub(super) fn change_key(&mut self) {
        self.flush();
        self.end_tasks();
        if let Some(scribe) = self.scribe.take() {
            self.storage.record();
            scribe.close();
            self.probe_recorded();
        }
        if self.storage.is_dead() {
            self.storage.crash();
            self.tally.crash_points += 1;
            self.boot.number += 1;
        }
        self.boot.has_other_key = !self.boot.has_other_key;
        self.truth.has_other_key = true;
        self.tally.keys_changed += 1;
        self.start(1);
    }

    /// What was in memory is gone.
    pub(super) fn end_tasks(&mut self) {
        self.waiting.clear();
        self.ports.clear();
        for far_side in self.far_sides.values_mut() {
            far_side.cut(&mut self.dice);
        }
    }

    /// A process begins, and may be cut off as it begins, and again.
    pub(super) fn start(&mut self, level: u64) {
        let mut level = level;
        self.boot.seed = self.dice.roll();
        loop {
            if level > 0 && level <= NESTED && self.dice.one_in(3) {
                let call = 1 + self.dice.below(FAULT_WITHIN / 2);
                self.storage.fail_after(call, Fault::PowerCut);
            }
            self.storage.record();
            let opened = Scribe::open(&self.storage, self.boot);
            self.probe_recorded();
            if let Some(scribe) = opened {
                self.scribe = Some(scribe);
                break;
            }
            note("  cut off at the start");
            level += 1;
            if self.storage.is_dead() {
                self.storage.crash();
                self.tally.crash_points += 1;
                self.tally.in_recovery += u64::from(level > 1);
                self.boot.number += 1;
            } else {
                self.storage.mend();
            }
        }
        if self.storage.is_dead() {
            return self.lose_process(false);
        }
        note(format!("  started, boot {}", self.boot.number));
        self.boot.clock_set |= self.dice.one_in(2);
        let unknown = self.look();
        self.unknown.extend(unknown);
        for site in SITES {
            let name = SinkName::new(site.name).unwrap();
            if self.truth.places.contains_key(&name) && self.scribe.is_some() {
                self.attach(site);
            }
        }
    }
}
