//! The state machine against a model of everything around it.

mod attempts;
mod letters;
mod rates;
mod refusals;
mod world;

use self::world::{LEDGER_EVERY, LIMIT_CODE, Link, Mood, World};
use super::*;

/// Without a rate.
const NO_RATE: MaxRate = MaxRate {
    events: None,
    bytes: None,
};

const TERMS: Terms = Terms {
    window: 16,
    strict_order: false,
    max_rate: NO_RATE,
    reconnect_max: Duration::from_secs(4),
    start_jitter: Duration::ZERO,
};

fn seqs(range: std::ops::RangeInclusive<u64>) -> Vec<Seq> {
    range.map(Seq::new).collect()
}

fn stored(world: &World) -> Vec<Seq> {
    world.stream.iter().map(|(_, seq)| *seq).collect()
}

/// Connected, nothing in doubt, nothing to do.
fn idle_world(terms: Terms) -> World {
    let mut world = World::new(1, terms);
    world.run_out();
    world
}

/// One thing that is due happens.
fn step(world: &mut World) {
    world.notify();
    world.pump();
    match world.link {
        Link::Connecting => world.accept(),
        Link::Asking => world.answer_read_back(),
        _ if world.op.is_some() => world.finish_op(),
        _ if !world.uplink.is_empty() => world.serve(),
        _ => drop(world.answer(true)),
    }
}

/// What the driver may do besides letting things take their course.
#[derive(Clone, Copy)]
struct Faults {
    /// 1 in so many steps is a fault.
    rarity: u64,
    recreate: bool,
    drop_oldest: bool,
}

fn random_life(seed: u64, faults: Faults) {
    let mut dice = world::Rng::new(!seed);
    let window = [1, 2, 3, 8, 32][usize::try_from(dice.below(5)).unwrap()];
    let max_rate = match dice.below(6) {
        0 => world::rate(1 + dice.below(2_000), 0),
        1 => world::rate(0, 500 + dice.below(20_000)),
        2 => world::rate(1 + dice.below(500), 500 + dice.below(20_000)),
        _ => NO_RATE,
    };
    let terms = Terms {
        window,
        strict_order: dice.one_in(6),
        max_rate,
        start_jitter: Duration::from_millis(dice.below(2) * 3_000),
        ..TERMS
    };
    let mut world = World::new(seed, terms);
    world.max_in_flight = usize::try_from(1 + dice.below(40)).unwrap();
    world.can_read_back = !dice.one_in(5);
    let steps = 50 + dice.below(500);
    for _ in 0..steps {
        ordinary_step(&mut world);
        if world.rng.one_in(faults.rarity) {
            fault(&mut world, faults);
        }
        if world.rng.one_in(20) {
            look_at_letters(&mut world);
        }
        if !world.rng.one_in(4) {
            world.pump();
        }
    }
    world.set_available(true);
    world.moods.retain(|_, mood| *mood == Mood::Never);
    world
        .moods
        .retain(|seq, _| !seq.get().is_multiple_of(LEDGER_EVERY));
    let (halted, backlog) = (world.core.state() == SinkState::Halted, world.core.acked());
    let backlog = backlog < world.tail;
    let first = world.run_out();
    if let Some(first) = first.filter(|_| backlog) {
        let limit = if halted {
            HALT_LATER
        } else {
            Duration::from_secs(5)
        };
        // A parcel of the world's has 2,000 bytes at most, and 500 a second are the lowest rate.
        let limit = limit + Duration::from_secs(if max_rate == NO_RATE { 0 } else { 4 });
        assert!(first <= limit, "delivery resumed only after {first:?}");
    }
    world.assert_rate_kept();
    for seq in seqs(1..=world.tail.get()) {
        assert!(world.is_settled(seq), "{seq} is lost");
        let in_stream = world
            .stream
            .iter()
            .filter(|(_, stored)| *stored == seq)
            .count();
        assert!(
            !(world.dead.contains_key(&seq) && in_stream > 0) || world.unsure.contains(&seq),
            "{seq} is stored and dead"
        );
    }
}

fn ordinary_step(world: &mut World) {
    match world.rng.below(12) {
        0 => {
            let count = 1 + world.rng.below(6);
            let first = world.tail.next();
            world.append(count);
            if world.rng.one_in(3) {
                let mood = match world.rng.below(8) {
                    0..=3 => Mood::Later(1 + u8::try_from(world.rng.below(5)).unwrap()),
                    4 | 5 => Mood::Never,
                    6 => Mood::TooLarge,
                    _ => Mood::Halts(1),
                };
                world.moods.insert(first, mood);
            }
        }
        1 | 2 => world.notify(),
        3 => {
            let others = world.rng.below(4);
            world.bustle(others);
        }
        4 => world.now += Duration::from_millis(world.rng.below(3_000)),
        5 => world.now = world.core.deadline().unwrap_or_default().max(world.now),
        6 | 7 => world.finish_op(),
        8 if world.link == Link::Connecting => world.accept(),
        8 if world.link == Link::Asking => world.answer_read_back(),
        8 | 9 => world.serve(),
        _ => drop(world.answer(false)),
    }
}

/// Somebody looks at the dead letters: has one sent again, mended or not, or discards one.
fn look_at_letters(world: &mut World) {
    let letters = world.settled_letters();
    let index = usize::try_from(world.rng.below(letters.len() as u64)).unwrap();
    let Some(seq) = letters.get(index).copied() else {
        return;
    };
    match world.rng.below(8) {
        0 => world.discard(seq),
        mend => {
            if mend > 3 {
                world.moods.remove(&seq);
            }
            world.retry(seq);
        }
    }
}

fn fault(world: &mut World, faults: Faults) {
    let breakage = if world.rng.one_in(4) {
        Breakage::Halt
    } else {
        Breakage::Retry
    };
    match world.rng.below(8) {
        0 | 1 => world.crash(),
        2 | 3 if world.link != Link::None => world.lose(breakage),
        4 => world.fail_op(),
        5 => world.set_available(!world.available),
        6 if faults.recreate => {
            let connected = world.link != Link::None;
            world.recreate();
            if connected {
                world.core.broken(Breakage::Retry, world.now);
            }
        }
        7 if faults.drop_oldest => {
            let spread = world.tail.get() / 3;
            let upto = world.rng.below(spread);
            world.drop_oldest(Seq::new(upto));
        }
        _ => {}
    }
}

#[test]
fn whatever_happens_every_event_is_stored_once_or_given_up() {
    for seed in 0..3_000 {
        let rarity = [6, 15, 60][usize::try_from(seed % 3).unwrap()];
        random_life(
            seed,
            Faults {
                rarity,
                recreate: false,
                drop_oldest: false,
            },
        );
    }
}

#[test]
fn neither_a_recreated_stream_nor_dropped_events_confuse_it() {
    for seed in 10_000..12_000 {
        let rarity = [6, 15, 60][usize::try_from(seed % 3).unwrap()];
        random_life(
            seed,
            Faults {
                rarity,
                recreate: true,
                drop_oldest: true,
            },
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_life() {
    let sent = |seed| {
        let mut world = World::new(seed, TERMS);
        for _ in 0..2_000 {
            ordinary_step(&mut world);
            if world.rng.one_in(20) {
                fault(
                    &mut world,
                    Faults {
                        rarity: 20,
                        recreate: true,
                        drop_oldest: true,
                    },
                );
            }
            world.pump();
        }
        (world.sent, world.now)
    };
    assert_eq!(sent(3), sent(3));
    assert_ne!(sent(3), sent(4));
}

#[test]
fn a_long_drain_costs_one_claim_for_each_half_window() {
    for max_in_flight in [1, 100, 256, 1_024] {
        let mut world = World::new(
            1,
            Terms {
                window: 1_024,
                ..TERMS
            },
        );
        world.max_in_flight = max_in_flight;
        world.append(20_480);
        world.run_out();
        assert!(
            world.claims <= 41,
            "{} claims with {max_in_flight} in flight",
            world.claims
        );
        assert_eq!(world.sent.len(), 20_480);
    }
}

#[test]
fn the_next_claim_is_asked_for_before_sending_has_to_wait() {
    let mut world = World::new(
        1,
        Terms {
            window: 1_024,
            ..TERMS
        },
    );
    world.max_in_flight = 256;
    world.append(5_000);
    while stored(&world).len() < 3_000 {
        world.notify();
        world.pump();
        match world.link {
            Link::Connecting => world.accept(),
            Link::Asking => world.answer_read_back(),
            _ if world.op.is_some() && world.claims > 0 => {
                // A commit that takes as long as a fifth of the window to be stored.
                for _ in 0..205 {
                    world.serve();
                    world.answer(true);
                    world.pump();
                    assert_eq!(world.uplink.len(), 256, "the pipeline runs dry");
                }
                world.finish_op();
            }
            _ if world.op.is_some() => world.finish_op(),
            _ => {
                world.serve();
                world.answer(true);
            }
        }
    }
}

#[test]
fn online_and_quiet_an_event_costs_no_commit_of_its_own() {
    let mut world = idle_world(TERMS);
    for _ in 0..100 {
        world.append(1);
        world.run_out();
    }
    assert_eq!(stored(&world), seqs(1..=100));
    assert_eq!(world.claims, 0, "the append raises the claim");
}

#[test]
fn what_another_journal_wrote_is_asked_for_even_with_nothing_in_doubt() {
    let mut world = idle_world(TERMS);
    world.append(3);
    world.run_out();
    world.lose(Breakage::Retry);
    world.now += Duration::from_secs(1);
    world.bustle(10);
    world.pump();
    world.accept();
    // The walk begins after what this journal knows of, not after what is there now.
    let Some(Effect::ReadBack { floor, .. }) = world.core.next(world.now) else {
        panic!("does not ask")
    };
    assert_eq!(floor, Position(3));
}
