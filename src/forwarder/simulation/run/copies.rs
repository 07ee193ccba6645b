//! Copies of the disk.

use super::{NESTED, Run, VERIFY_EVERY};
use crate::journal::tests::{scribe::Scribe, storage::FaultyStorage};

impl Run {
    /// Cuts the power in copies of the disk as it was before each call, and lets each recover.
    pub(super) fn probe_recorded(&mut self) {
        for disk in self.storage.recorded() {
            if self.probe_dice.one_in(self.effort.probe_every) {
                self.probe(&disk, 0);
            }
        }
    }

    pub(super) fn probe(&mut self, disk: &FaultyStorage, depth: u64) {
        disk.crash_with(self.probe_dice.roll());
        disk.record();
        let mut boot = self.boot;
        boot.seed = self.probe_dice.roll();
        boot.number += 1 + depth;
        let scribe = Scribe::open(disk, boot).expect("the disk is well");
        self.tally.crash_points += 1;
        self.tally.in_recovery += u64::from(depth > 0);
        let seen = scribe.look(&mut self.decoded);
        self.truth.check(&scribe, &seen, &self.far_sides);
        if self.probe_dice.one_in(VERIFY_EVERY) {
            scribe.verify();
        }
        let recorded = disk.recorded();
        drop(scribe);
        if depth + 1 < NESTED {
            for again in recorded {
                if self.probe_dice.one_in(24 * (depth + 1)) {
                    self.probe(&again, depth + 1);
                }
            }
        }
    }
}
