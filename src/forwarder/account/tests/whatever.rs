//! A hub that loses, a broker that replays, a copy that is restored: in any order.

use super::*;

/// A small generator, so that a failure names its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A hub that holds some of a journal, and says so. It is restored from a copy now and then.
struct Hub {
    life: u64,
    generation: u64,
    has: Vec<bool>,
}

impl Hub {
    fn say(&mut self, journal: &Journal, of: u128) -> Option<Receipt> {
        self.generation += 1;
        let mut known = (1..journal.places.len())
            .filter(|seq| journal.places[*seq].is_some_and(|(epoch, _)| epoch == self::epoch(of)));
        let first = known.next()?;
        let last = known.next_back().unwrap_or(first);
        let is_gap = |seq: &usize| !self.has[*seq];
        let end = (first..=last).find(is_gap).map_or(last, |gap| gap - 1);
        let accounted_to = if end < first { 0 } else { end as u64 };
        let mut missing: Vec<(u64, u64)> = Vec::new();
        for seq in (end + 1..=last).filter(is_gap) {
            let seq = seq as u64;
            match missing.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => missing.push((seq, seq)),
            }
        }
        if accounted_to == 0
            && missing
                .first()
                .is_some_and(|(from, _)| *from == first as u64)
        {
            missing[0].0 = 1;
        }
        missing.truncate(32);
        Some(Receipt {
            hub: hub(self.life),
            ..receipt(of, self.generation, accounted_to, &missing)
        })
    }
}

#[test]
fn whatever_is_lost_replayed_and_restored_nothing_is_trimmed_that_the_hub_has_not_and_all_arrives()
{
    for seed in 1..=50 {
        let mut dice = Dice(seed);
        let mut journal = Journal::of(&[
            (1, 1 + dice.below(40)),
            (2, 1 + dice.below(40)),
            (3, 1 + dice.below(3_000)),
        ]);
        let tail = journal.places.len() as u64 - 1;
        let mut account = account();
        let has = vec![false; journal.places.len()];
        let mut hub = Hub {
            life: 1,
            generation: 0,
            has,
        };
        let (mut acked, mut now) = (0, 0);
        let mut old: Vec<Receipt> = Vec::new();
        let mut declared = vec![false; journal.places.len()];
        // What the hub never takes; with every other seed.
        let dead: Vec<u64> = (0..seed % 2 * dice.below(8))
            .map(|_| 1 + dice.below(tail))
            .collect();
        for step in 0..600 {
            now += 1 + dice.below(40);
            let is_fair = step > 100;
            // The broker loses one in four.
            for _ in 0..dice.below(200) {
                if acked < tail {
                    acked += 1;
                    let is_taken = dice.below(4) > 0 && !dead.contains(&acked);
                    hub.has[usize::try_from(acked).unwrap()] = is_taken;
                }
            }
            if !is_fair && dice.below(50) == 0 {
                // A copy from before: it lacks some of what it had, and what was declared stays.
                hub.life += 1;
                let from = usize::try_from(dice.below(tail)).unwrap();
                hub.has[from..].copy_from_slice(&declared[from..]);
            }
            let of = 1 + u128::from(dice.below(3));
            let said = match old.is_empty() || dice.below(3) > 0 {
                true => hub.say(&journal, of).inspect(|said| old.push(said.clone())),
                false => Some(old[usize::try_from(dice.below(old.len() as u64)).unwrap()].clone()),
            };
            let Some(said) = said else { continue };
            journal.take(&mut account, &said, acked, now);
            assert!(account.confirmed().get() <= tail, "seed {seed}");
            if account.life() == Some(hub.life) {
                let upto = usize::try_from(account.confirmed().get()).unwrap();
                let first = usize::try_from(journal.first_held).unwrap();
                let lacks = (first..=upto).find(|seq| !hub.has[*seq]);
                assert_eq!(lacks, None, "seed {seed}: confirmed {upto}");
            }
            while let Some(range) = account.trimmed(Duration::from_secs(now)) {
                account.is_declared(range);
                for seq in range.first().get()..=range.last().get() {
                    assert!(seq < journal.first_held, "seed {seed}");
                    let at = usize::try_from(seq).unwrap();
                    (declared[at], hub.has[at]) = (true, true);
                }
            }
            while let Some(wanted) = account.due(Duration::from_secs(now)) {
                let mut is_any_sent = false;
                for range in wanted.ranges {
                    assert!(range.last().get() <= acked, "seed {seed}");
                    for seq in range.first().get()..=range.last().get() {
                        let at = usize::try_from(seq).unwrap();
                        if seq < journal.first_held {
                            declared[at] = true;
                            hub.has[at] = true;
                        } else {
                            let (of, _) = journal.places[at].unwrap();
                            assert_eq!(of, wanted.epoch, "seed {seed}");
                            is_any_sent = true;
                            let arrives = is_fair || dice.below(2) == 0;
                            hub.has[at] |= arrives && !dead.contains(&seq);
                        }
                    }
                }
                if !is_any_sent {
                    account.was_not_sent();
                }
                if !is_fair {
                    continue;
                }
                let of = wanted.epoch.as_uuid().as_u128();
                if let Some(said) = hub.say(&journal, of) {
                    journal.take(&mut account, &said, acked, now);
                }
            }
            // It is neither passed when nothing is due, nor later than the next that is.
            let ahead = account.deadline();
            let is_due = |at: Duration| {
                let mut account = account.clone();
                account.trimmed(at).is_some() || account.due(at).is_some()
            };
            let second = Duration::from_secs(1);
            let is_right = ahead.is_none_or(|at| {
                at > Duration::from_secs(now) && is_due(at) && !is_due(at - second)
            });
            assert!(
                is_right,
                "seed {seed}: nothing is due, and it says {ahead:?}"
            );
            let trim = account.confirmed().get().min(acked);
            if dice.below(20) == 0 && account.life() == Some(hub.life) && trim > 1 {
                journal.first_held = journal.first_held.max(dice.below(trim));
            }
        }
        assert_eq!(acked, tail, "seed {seed}");
        let is_missing = |seq: &u64| !hub.has[usize::try_from(*seq).unwrap()];
        let mut missing = (journal.first_held..=tail).filter(is_missing);
        assert_eq!(missing.find(|seq| !dead.contains(seq)), None, "seed {seed}");
        if dead.is_empty() {
            assert_eq!(account.confirmed().get(), tail, "seed {seed}");
        }
    }
}
