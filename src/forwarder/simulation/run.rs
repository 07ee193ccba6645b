//! One run: a device, its programs and its sinks, through crashes and recoveries, from one seed.

mod commits;
mod copies;
mod ending;
mod program;
mod sinks;
mod trouble;
mod upkeep;

use std::{collections::BTreeMap, time::Duration};

use self::commits::Waiting;
use super::{
    super::delivery::Breakage,
    dice::Dice,
    far_side::FarSide,
    history::{note, take_history},
    hub::Hub,
    operation::Operation,
    port::Port,
    site::{SITES, Site},
    tally::Tally,
    truth::{Batch, Truth},
};
use crate::journal::{
    SinkName, WhenFull,
    tests::{
        scribe::{Boot, Decoded, Scribe},
        storage::{Fault, FaultyStorage},
    },
};

/// Calls within which an armed fault comes.
const FAULT_WITHIN: u64 = 120;

/// Crashes in a recovery, and in the recovery of that recovery.
const NESTED: u64 = 3;

/// One in so many recoveries has every signature checked.
const VERIFY_EVERY: u64 = 64;

/// The quota of a run that often finds its journal full, and of one that does not.
const SMALL_QUOTA: u64 = 64 * 1024 + 24 * 1024;
const LARGE_QUOTA: u64 = 64 << 20;

/// How thorough a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Operations before the faults stop.
    pub(super) operations: u64,
    /// At one in so many of the storage's calls the power is cut in a copy, which then recovers.
    pub(super) probe_every: u64,
}

/// See the module.
pub(super) struct Run {
    effort: Effort,
    dice: Dice,
    /// Decides about copies of the disk alone, so that it does not matter to the run how many are
    /// looked at.
    probe_dice: Dice,
    storage: FaultyStorage,
    boot: Boot,
    window: u32,
    strict_order: bool,
    scribe: Option<Scribe>,
    truth: Truth,
    far_sides: BTreeMap<SinkName, FarSide>,
    ports: BTreeMap<SinkName, Port>,
    waiting: Vec<Waiting>,
    /// Requests whose outcome nobody knew.
    unknown: Vec<Batch>,
    /// Whether the program has tables of its own, which keep the file from being compacted.
    transacts: bool,
    /// Whether somebody is erased: a run with that takes much longer.
    erases: bool,
    next_number: u64,
    next_key: u64,
    now: Duration,
    calm: bool,
    decoded: Decoded,
    tally: Tally,
}

impl Run {
    pub(super) fn new(seed: u64, effort: Effort) -> Self {
        take_history();
        let mut dice = Dice::new(seed);
        let small = dice.one_in(2);
        let transacts = dice.one_in(2);
        let erases = dice.one_in(3);
        let erases_on_request = erases && dice.one_in(2);
        let window = *dice.pick(&[1, 3, 8, 24]);
        Self {
            effort,
            probe_dice: Dice::new(!seed),
            storage: FaultyStorage::new(dice.roll()),
            boot: Boot {
                seed: dice.roll(),
                number: 0,
                clock_set: dice.one_in(2),
                max_bytes: if small { SMALL_QUOTA } else { LARGE_QUOTA },
                when_full: *dice.pick(&[WhenFull::Reject, WhenFull::DropOldest]),
                erases_on_request,
                has_other_key: false,
            },
            window,
            strict_order: dice.one_in(6),
            dice,
            scribe: None,
            truth: Truth::new(window.into(), erases_on_request),
            far_sides: BTreeMap::new(),
            ports: BTreeMap::new(),
            waiting: Vec::new(),
            unknown: Vec::new(),
            transacts,
            erases,
            next_number: 1,
            next_key: 1,
            now: Duration::ZERO,
            calm: false,
            decoded: Decoded::default(),
            tally: Tally::default(),
        }
    }

    /// The whole run. Panics where a promise is broken.
    pub(super) fn play(mut self) -> Tally {
        if self.dice.one_in(2) {
            let call = 1 + self.dice.below(FAULT_WITHIN);
            self.storage.fail_after(call, Fault::PowerCut);
        }
        self.start(0);
        if self.dice.one_in(2) {
            let with_hubs: Vec<Site> = SITES.into_iter().filter(|site| site.has_hub).collect();
            let site = *self.dice.pick(&with_hubs);
            self.attach(site);
        }
        for _ in 0..self.effort.operations {
            let operation = Operation::draw(&mut self.dice);
            self.operate(operation);
        }
        self.calm_down();
        self.tally.handed = self.handed();
        self.tally.trimmed = self.truth.first_held.prev().get();
        self.tally.sent_late = self.truth.sent_late;
        self.tally.sent_again = self.truth.sent_again;
        self.truth.ledger.count(&mut self.tally);
        self.tally
    }

    fn handed(&self) -> u64 {
        self.truth
            .places
            .values()
            .map(|place| place.handed.len() as u64)
            .sum()
    }

    fn scribe(&mut self) -> &mut Scribe {
        self.scribe
            .as_mut()
            .expect("a process runs between operations")
    }

    fn operate(&mut self, operation: Operation) {
        note(format!("{operation:?}, tail {}", self.truth.tail));
        match operation {
            Operation::Append => {
                let batch = self.new_batch();
                self.append(batch);
            }
            Operation::Retry => {
                if let Some(batch) = self.unknown.pop() {
                    self.append(batch);
                }
            }
            Operation::Repeat => self.repeat(),
            Operation::Conflict => self.conflict(),
            Operation::Transact if self.transacts => self.transact(true),
            Operation::RollBack if self.transacts => self.transact(false),
            Operation::Transact | Operation::RollBack => {}
            Operation::RetryLetters => self.retry_letters(),
            Operation::DiscardLetters => self.discard_letters(),
            Operation::Erase if self.erases => self.erase(),
            Operation::Erase => {}
            Operation::EraseOn => {
                for _ in 0..3 {
                    self.erase_on();
                }
            }
            Operation::Compact => self.compact(),
            Operation::Flush => self.flush(),
            Operation::Settle => self.settle(),
            Operation::Attach => {
                let site = *self.dice.pick(&SITES);
                self.attach(site);
            }
            Operation::Detach => {
                if let Some(name) = self.any_port() {
                    self.detach(&name);
                }
            }
            Operation::Forget => self.forget(),
            Operation::Deliver => {
                for _ in 0..4 {
                    if let Some(name) = self.any_port() {
                        self.deliver(&name);
                    }
                }
            }
            Operation::Cut => {
                if let Some(name) = self.any_port() {
                    self.lose(&name, Breakage::Retry);
                }
            }
            Operation::Bustle => {
                let count = 1 + self.dice.below(3);
                self.any_far_side(|far_side, _| far_side.bustle(count));
            }
            Operation::ArriveLate => self.any_far_side(|far_side, _| far_side.arrive_late()),
            Operation::MakeAnew => {
                if let Some(name) = self.any_port() {
                    let far_side = self.far_sides.get_mut(&name).unwrap();
                    far_side.make_anew(&mut self.dice);
                    self.lose(&name, Breakage::Retry);
                }
            }
            Operation::HubTakes => self.any_hub(|hub, dice| hub.take(dice, false)),
            Operation::HubSays => self.any_hub(|hub, _| hub.say()),
            Operation::Lie => self.lie(),
            Operation::WipeBroker => self.any_hub(|hub, _| hub.wipe_broker()),
            Operation::RestoreHub => self.any_hub(Hub::restore),
            Operation::Wait => self.now += Duration::from_secs(5 + self.dice.below(60)),
            Operation::ChangeKey => self.change_key(),
            Operation::Restart => self.restart(),
            Operation::Kill => {
                self.storage.kill();
                self.lose_process(true);
            }
            Operation::PowerCut => {
                let call = 1 + self.dice.below(FAULT_WITHIN);
                self.storage.fail_after(call, Fault::PowerCut);
            }
            Operation::DiskFault => {
                let faults = [Fault::Once, Fault::Lasting, Fault::FullOnce, Fault::Full];
                let fault = *self.dice.pick(&faults);
                let call = 1 + self.dice.below(FAULT_WITHIN);
                note(format!("  {fault:?} at call {call}"));
                self.storage.fail_after(call, fault);
            }
        }
    }

    fn any_port(&mut self) -> Option<SinkName> {
        let index = self.dice.index(self.ports.len())?;
        self.ports.keys().nth(index).cloned()
    }

    fn any_hub(&mut self, act: impl FnOnce(&mut Hub, &mut Dice)) {
        let mut hubs: Vec<&mut Hub> = self
            .far_sides
            .values_mut()
            .filter_map(|it| it.hub.as_mut())
            .collect();
        if let Some(index) = self.dice.index(hubs.len()) {
            act(hubs[index], &mut self.dice);
        }
    }

    /// Somebody says of an event that is held that it is safe, and all before it.
    fn lie(&mut self) {
        let held = self.truth.events.range(self.truth.first_held..);
        let Some(index) = self.dice.index(held.clone().count()) else {
            return;
        };
        // Most of all of the last one.
        let held = match self.dice.one_in(2) {
            true => held.clone().next_back(),
            false => held.clone().nth(index),
        };
        if let Some((seq, known)) = held {
            let said = (known.epoch, *seq, known.digest);
            self.any_hub(|hub, dice| hub.lie(dice, said));
        }
    }

    fn any_far_side(&mut self, act: impl FnOnce(&mut FarSide, &mut Dice)) {
        if let Some(index) = self.dice.index(self.far_sides.len()) {
            let far_side = self.far_sides.values_mut().nth(index).unwrap();
            act(far_side, &mut self.dice);
        }
    }
}
