//! A card that is set back to an earlier image of itself. What it appends before it hears of that
//! stands under seqs that a stream knows for other events.
//!
//! A scenario of its own, for most of what [`super::truth`] holds a journal to is untrue of one that
//! forgot what was acknowledged. One sink, which can be read back; it is asked before anything leaves,
//! as the forwarder does. What has to hold: nothing of what was appended since is lost, or altered, or
//! there twice; the new epoch begins whole or not at all, wherever the power goes; and the stream
//! never gets two events of one epoch and seq, but for what was claimed before it was asked.

use std::{collections::HashMap, ops::Range};

use serde_json::Value;

use super::{dice::Dice, history::note, run::Effort, tally::Tally, truth::MARK};
use crate::{
    envelope::{Digest, EPOCH_STARTED, Epoch},
    journal::{
        SinkName, Wanted, WhenFull,
        tests::{
            scribe::{Boot, Decoded, Draft, Scribe, Seen, person_of},
            storage::{Fault, FaultyStorage},
        },
    },
    outbox::{Progress, Start},
    seq::{Incarnation, Position, Seq},
};

/// Calls within which an armed fault comes: a commit makes fewer.
const FAULT_WITHIN: u64 = 24;

/// In these scenarios the power is cut at more of the calls by this factor: they are short.
const MORE_PROBES: u64 = 8;

const WINDOW: u64 = 12;

/// Ids that the journal packs together.
const IDS_PER_ROW: u64 = 1_024;

/// See the module.
pub(super) struct SetBack {
    probe_every: u64,
    dice: Dice,
    storage: FaultyStorage,
    boot: Boot,
    name: SinkName,
    scribe: Option<Scribe>,
    /// What the stream holds.
    stream: HashMap<(Epoch, Seq), Digest>,
    /// Claimed though the stream was not asked: this much may be in it twice.
    hasty: Seq,
    /// What this journal acknowledged, by number.
    known: HashMap<u64, Seq>,
    next_number: u64,
    decoded: Decoded,
    tally: Tally,
}

impl SetBack {
    pub(super) fn new(seed: u64, effort: Effort) -> Self {
        let mut dice = Dice::new(seed.rotate_left(32));
        Self {
            probe_every: effort.probe_every.div_ceil(MORE_PROBES),
            storage: FaultyStorage::new(dice.roll()),
            boot: Boot {
                seed: dice.roll(),
                number: 0,
                clock_set: dice.one_in(2),
                max_bytes: 64 << 20,
                when_full: WhenFull::Reject,
                erases_on_request: dice.one_in(4),
                has_other_key: false,
            },
            dice,
            name: SinkName::new("stream").unwrap(),
            scribe: None,
            stream: HashMap::new(),
            hasty: Seq::NONE,
            known: HashMap::new(),
            next_number: 1,
            decoded: Decoded::default(),
            tally: Tally::default(),
        }
    }

    /// The whole scenario. Panics where a promise is broken.
    pub(super) fn play(mut self) -> Tally {
        self.start();
        if self.dice.one_in(4) {
            // The seqs that are taken lie around the end of a row of ids.
            let count = IDS_PER_ROW - self.dice.below(32);
            self.append_these(1..count);
            self.deliver_all();
        }
        self.live(8);
        let image = (self.storage.snapshot(), self.known.clone());
        self.live(6);
        note("the card is set back");
        self.scribe = None;
        self.storage.restore(image.0);
        self.known = image.1;
        self.boot.number += 1;
        self.start();
        for _ in 0..self.dice.below(6) {
            self.append();
        }
        if self.dice.one_in(5) {
            self.erase();
        }
        if self.dice.one_in(4) {
            let tail = self.see().tail;
            self.hasty = self.claim(tail);
            note(format!("  claimed up to {} in haste", self.hasty));
        }
        if let Some(from) = self.parted() {
            self.begin_epoch(from);
        }
        for _ in 0..3 {
            self.append();
        }
        self.register();
        self.deliver_all();
        self.scribe().verify();
        self.tally
    }

    fn deliver_all(&mut self) {
        loop {
            let seen = self.see();
            if seen.cursors[&self.name].acked == seen.tail {
                break;
            }
            self.deliver(true);
        }
    }

    fn scribe(&mut self) -> &mut Scribe {
        self.scribe.as_mut().expect("a process runs")
    }

    fn see(&mut self) -> Seen {
        let scribe = self.scribe.as_ref().expect("a process runs");
        let decoded = &mut self.decoded;
        self.storage.undisturbed(|| scribe.look(decoded))
    }

    /// A process begins, over a disk that is well.
    fn start(&mut self) {
        self.boot.seed = self.dice.roll();
        self.scribe = Scribe::open(&self.storage, self.boot);
        self.register();
    }

    fn register(&mut self) {
        let (name, wanted) = (
            self.name.clone(),
            Wanted {
                required: true,
                window: WINDOW,
                start: Start::Oldest,
            },
        );
        self.scribe().register(&name, wanted, false);
        self.scribe().flush().unwrap();
    }

    /// The device appends and delivers.
    fn live(&mut self, steps: u64) {
        for _ in 0..self.dice.below(steps) {
            self.append();
            if self.dice.one_in(2) {
                self.deliver(false);
            }
        }
    }

    /// A request of new events, or of some that the journal has forgotten or knows.
    fn append(&mut self) {
        let count = 1 + self.dice.below(4);
        let first = match self.dice.one_in(4) {
            true => 1 + self.dice.below(self.next_number),
            false => self.next_number,
        };
        self.append_these(first..first + count);
    }

    fn append_these(&mut self, numbers: Range<u64>) {
        self.next_number = self.next_number.max(numbers.end);
        let draft = |number: u64| Draft {
            number,
            payload: format!("{{{MARK}{number},\"of\":\"the card\"}}"),
        };
        let drafts: Vec<Draft> = numbers.map(draft).collect();
        let places = self.scribe().append(&drafts).unwrap();
        self.scribe().flush().unwrap();
        for (draft, place) in drafts.iter().zip(places) {
            let known = self.known.insert(draft.number, place.seq);
            assert_eq!(place.repeated, known.is_some(), "event {}", draft.number);
            assert!(known.is_none_or(|known| known == place.seq));
        }
    }

    fn erase(&mut self) {
        let person = person_of(self.dice.roll());
        self.scribe().begin_erasing(person).unwrap();
        while self.scribe().is_erasing() {
            self.scribe().erase_on().unwrap();
        }
    }

    fn claim(&mut self, upto: Seq) -> Seq {
        let name = self.name.clone();
        let claimed = self.scribe().claim(&name, upto);
        self.scribe().flush().unwrap();
        claimed.expect("the sink is attached")
    }

    /// Some of what is claimed reaches the stream, all of it where `surely`, and what is confirmed of
    /// that becomes durable.
    fn deliver(&mut self, surely: bool) {
        let tail = self.see().tail;
        let claimed = self.claim(tail);
        let seen = self.see();
        let acked = seen.cursors[&self.name].acked;
        let mut stored = acked;
        for entry in &seen.entries {
            if entry.seq <= acked || entry.seq > claimed {
                continue;
            }
            if !surely && self.dice.one_in(6) {
                break;
            }
            let key = (entry.epoch, entry.seq);
            let before = *self.stream.entry(key).or_insert(entry.digest);
            assert!(
                before == entry.digest || entry.seq <= self.hasty,
                "the stream gets two events under {key:?}"
            );
            stored = entry.seq;
        }
        let progress = Progress {
            acked: match surely {
                true => claimed,
                false => Seq::new(acked.get() + self.dice.below(stored.since(acked) + 1)),
            },
            floor: Position::default(),
            incarnation: Incarnation::default(),
        };
        let name = self.name.clone();
        self.scribe().note_progress(&name, progress);
        self.scribe().settle();
        self.scribe().flush().unwrap();
    }

    /// The first event in the stream that is not this journal's.
    fn parted(&mut self) -> Option<Seq> {
        let seen = self.see();
        let acked = seen.cursors[&self.name].acked;
        let held: HashMap<Seq, Digest> =
            seen.entries.iter().map(|it| (it.seq, it.digest)).collect();
        let foreign = self.stream.iter().filter(|((epoch, seq), digest)| {
            *epoch == seen.epoch && *seq > acked && held.get(seq) != Some(*digest)
        });
        foreign.map(|((_, seq), _)| *seq).min()
    }

    /// The journal hears of it, over a disk that may fail meanwhile.
    fn begin_epoch(&mut self, from: Seq) {
        let before = self.see();
        note(format!("  {from} is another's, tail {}", before.tail));
        loop {
            let faults = [
                Fault::PowerCut,
                Fault::Once,
                Fault::Lasting,
                Fault::FullOnce,
            ];
            if self.dice.one_in(2) {
                let call = 1 + self.dice.below(FAULT_WITHIN);
                self.storage.fail_after(call, *self.dice.pick(&faults));
            }
            self.storage.record();
            let begun = self.scribe().begin_epoch(from);
            for disk in self.storage.recorded() {
                if self.dice.one_in(self.probe_every) {
                    self.probe(&disk, &before, from, 0);
                }
            }
            if let Ok(took_back) = begun {
                self.storage.mend();
                let name = self.name.clone();
                assert_eq!(self.scribe().is_attached(&name), !took_back);
                if !self.storage.is_dead() {
                    break;
                }
            }
            note("  it failed");
            if self.storage.is_dead() {
                self.scribe = None;
                self.storage.crash();
                self.tally.crash_points += 1;
                self.boot.number += 1;
                self.start();
            } else {
                self.storage.mend();
                assert!(self.scribe().reopen(), "the disk is well");
                self.tally.reopened += 1;
            }
            if self.see().epoch != before.epoch {
                break;
            }
        }
        let after = self.see();
        assert_ne!(after.epoch, before.epoch, "it goes on as if nothing were");
        let scribe = self.scribe.as_ref().expect("a process runs");
        self.check(scribe, &before, &after, from);
        scribe.verify();
        for entry in after.entries.iter().filter(|it| it.seq > before.tail) {
            if let Some(number) = entry.number {
                let moved = self.known.insert(number, entry.seq);
                assert!(moved.is_some(), "nobody appended {number}");
                self.tally.taken_back += 1;
            }
        }
        let stays = after.entries.iter().rev().find(|it| it.seq <= before.tail);
        if self.hasty > Seq::NONE {
            // It was too late for these.
            self.hasty = stays.map_or(Seq::NONE, |it| it.seq);
        }
    }

    /// The power goes in a copy, and in the recovery again.
    fn probe(&mut self, disk: &FaultyStorage, before: &Seen, from: Seq, depth: u64) {
        disk.crash_with(self.dice.roll());
        disk.record();
        let mut boot = self.boot;
        boot.seed = self.dice.roll();
        boot.number += 1 + depth;
        let scribe = Scribe::open(disk, boot).expect("the disk is well");
        self.tally.crash_points += 1;
        self.tally.in_recovery += u64::from(depth > 0);
        let seen = scribe.look(&mut self.decoded);
        if seen.epoch == before.epoch {
            let known = seen.entries.iter().map(|entry| (entry.seq, entry.digest));
            let known = known.take(before.entries.len());
            let held = before.entries.iter().map(|entry| (entry.seq, entry.digest));
            assert!(known.eq(held), "neither the old state nor the new");
        } else {
            self.check(&scribe, before, &seen, from);
        }
        scribe.verify();
        let recorded = disk.recorded();
        drop(scribe);
        if depth < 1 {
            for again in recorded {
                if self.dice.one_in(self.probe_every) {
                    self.probe(&again, before, from, depth + 1);
                }
            }
        }
    }

    /// Nothing is lost, altered or there twice, and what had to be moved was.
    fn check(&self, scribe: &Scribe, before: &Seen, after: &Seen, from: Seq) {
        let claimed = before.cursors[&self.name].claimed;
        let kept = after
            .entries
            .iter()
            .filter(|it| it.seq <= before.tail)
            .count();
        let (kept, new) = after.entries.split_at(kept);
        let (held, moved) = before.entries.split_at(kept.len());
        for (kept, held) in kept.iter().zip(held) {
            assert_eq!((kept.seq, kept.digest), (held.seq, held.digest));
        }
        let Some((started, new)) = new.split_first() else {
            panic!("nothing begins the new epoch");
        };
        assert_eq!(started.event_type, EPOCH_STARTED);
        assert_eq!(started.seq, before.tail.next(), "a seq that was given out");
        let said: Value = serde_json::from_str(&started.payload).unwrap();
        let last = match (moved.first(), held.last()) {
            (Some(first), _) => (first.seq.prev(), first.prev),
            (None, Some(last)) => (last.seq, last.digest),
            (None, None) => panic!("a journal holds its last row"),
        };
        assert_eq!(said["reason"], "rolled_back");
        assert_eq!(said["previous"]["seq"], last.0.get());
        let digest: Digest = said["previous"]["digest"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(digest, last.1);
        assert!(
            new.len() >= moved.len(),
            "{} are gone",
            moved.len() - new.len()
        );
        for (now, then) in new.iter().zip(moved) {
            assert!(then.seq > claimed, "{} may be on its way", then.seq);
            assert_eq!(
                (now.number, &now.event_type, &now.payload),
                (then.number, &then.event_type, &then.payload),
                "{} is not what it was",
                then.seq
            );
        }
        assert!(new[moved.len()..].iter().all(|it| it.number.is_none()));
        for entry in &after.entries {
            if let Some(number) = entry.number {
                let found = scribe.find(number);
                assert_eq!(found, Some(entry.seq), "the id of event {number}");
            }
        }
        for held in held.iter().filter(|it| it.seq >= from) {
            // A row is signed as a whole, so it stays as a whole where something of it was claimed.
            let first = before.firsts.range(..=held.seq).next_back();
            assert!(
                first.is_some_and(|first| *first <= claimed),
                "{} stays under a seq that another event has",
                held.seq
            );
        }
    }
}
