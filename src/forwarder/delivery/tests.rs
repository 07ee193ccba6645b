//! The state machine against a model of everything around it.

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
fn what_is_refused_for_now_waits_by_itself_and_is_marked() {
    let mut world = idle_world(TERMS);
    world.moods.insert(Seq::new(3), Mood::Later(2));
    world.append(10);
    world.run_out();
    assert_eq!(
        stored(&world),
        [1, 2, 4, 5, 6, 7, 8, 9, 10, 3].map(Seq::new)
    );
    let repeats: Vec<_> = world
        .sent
        .iter()
        .filter(|sent| sent.1)
        .map(|sent| sent.0)
        .collect();
    assert_eq!(repeats, [3, 3].map(Seq::new));
}

#[test]
fn an_event_that_is_refused_again_and_again_holds_up_nothing_within_the_window() {
    let mut world = World::new(1, TERMS);
    world.max_in_flight = 4;
    world.run_out();
    world.moods.insert(Seq::new(3), Mood::Later(u8::MAX));
    world.append(100);
    let well = (0..400).filter(|_| {
        step(&mut world);
        world.now += Duration::from_millis(50);
        let attempts = world.sent.iter().filter(|sent| sent.0 == Seq::new(3));
        attempts.count() > 1 && world.core.is_well()
    });
    assert_eq!(well.count(), 0, "the trouble lasts through its attempts");
    let window = seqs(1..=2 + u64::from(TERMS.window))
        .into_iter()
        .filter(|seq| seq.get() != 3);
    assert_eq!(stored(&world), window.collect::<Vec<_>>());
    world.run_out();
    assert!(world.core.is_well());
}

#[test]
fn what_is_refused_together_is_sent_again_in_order() {
    let mut world = idle_world(TERMS);
    for seq in seqs(1..=10) {
        world.moods.insert(seq, Mood::Later(1));
    }
    world.append(10);
    world.run_out();
    assert_eq!(stored(&world), seqs(1..=10));
}

#[test]
fn in_strict_order_nothing_passes_an_event_that_is_refused() {
    let mut world = idle_world(Terms {
        strict_order: true,
        ..TERMS
    });
    world.moods.insert(Seq::new(3), Mood::Later(4));
    world.append(50);
    world.run_out();
    assert_eq!(stored(&world), seqs(1..=50));
    assert!(
        world.claims <= 7,
        "{} claims: an order is no reason for more commits",
        world.claims
    );
}

#[test]
fn a_poison_event_becomes_a_dead_letter_and_the_others_pass() {
    let mut world = idle_world(TERMS);
    world.moods.insert(Seq::new(3), Mood::Never);
    world.append(10);
    world.run_out();
    assert_eq!(
        world.dead.keys().copied().collect::<Vec<_>>(),
        [Seq::new(3)]
    );
    assert_eq!(
        stored(&world),
        [1, 2, 4, 5, 6, 7, 8, 9, 10, 11].map(Seq::new)
    );
}

#[test]
fn a_rejected_ledger_event_halts() {
    let mut world = idle_world(Terms {
        window: 64,
        ..TERMS
    });
    world.moods.insert(Seq::new(LEDGER_EVERY), Mood::Never);
    world.append(LEDGER_EVERY);
    while world.core.state() != SinkState::Halted {
        step(&mut world);
    }
    assert!(world.dead.is_empty());
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

#[test]
fn three_rejections_in_a_row_by_a_limit_halt_and_none_of_them_is_given_up() {
    let mut world = idle_world(TERMS);
    for seq in seqs(2..=9) {
        world.moods.insert(seq, Mood::TooLarge);
    }
    world.append(10);
    while world.core.state() != SinkState::Halted {
        step(&mut world);
    }
    assert!(world.dead.is_empty());
    world.moods.clear();
    world.run_out();
    assert_eq!(world.core.acked(), Seq::new(10));
    assert!(world.dead.is_empty());
}

#[test]
fn two_events_over_the_limit_are_given_up_once_another_passes_or_nothing_else_comes() {
    for others in [0, 5] {
        let mut world = idle_world(TERMS);
        world.moods.insert(Seq::new(1), Mood::TooLarge);
        world.moods.insert(Seq::new(2), Mood::TooLarge);
        world.append(2 + others);
        world.run_out();
        let dead: Vec<_> = world
            .dead
            .iter()
            .map(|(seq, code)| (seq.get(), *code))
            .collect();
        assert_eq!(dead, [(1, LIMIT_CODE), (2, LIMIT_CODE)]);
    }
}

/// Some brokers hang up over each event that they refuse by a limit.
fn step_and_hang_up(world: &mut World) {
    let refused = world.link == Link::Up && world.op.is_none() && world.uplink.is_empty();
    if refused && world.answer(true) == Some(false) && world.core.has_session() {
        world.lose(Breakage::Retry);
    } else {
        step(world);
    }
    world.now = world.core.deadline().unwrap_or_default().max(world.now);
}

#[test]
fn events_that_end_their_session_are_given_up_once_another_passes() {
    for others in [0, 5] {
        let mut world = World::new(1, TERMS);
        world.max_in_flight = 1;
        for seq in seqs(1..=2) {
            world.moods.insert(seq, Mood::TooLarge);
        }
        world.append(2 + others);
        for _ in 0..500 {
            step_and_hang_up(&mut world);
        }
        assert_eq!(world.core.acked(), world.tail, "stuck");
        let dead: Vec<_> = world.dead.keys().copied().collect();
        assert_eq!(dead, seqs(1..=2));
    }
}

#[test]
fn three_that_end_their_sessions_in_a_row_halt_and_none_of_them_is_given_up() {
    let mut world = World::new(1, TERMS);
    world.max_in_flight = 1;
    for seq in seqs(1..=9) {
        world.moods.insert(seq, Mood::TooLarge);
    }
    world.append(10);
    for _ in 0..500 {
        step_and_hang_up(&mut world);
        if world.core.state() == SinkState::Halted {
            break;
        }
    }
    assert_eq!(world.core.state(), SinkState::Halted);
    assert!(world.dead.is_empty());
}

#[test]
fn events_over_the_limit_that_trickle_in_halt_too() {
    let mut world = idle_world(TERMS);
    // Each dead letter adds an event to the ledger, which is over the limit as well.
    for seq in seqs(1..=20) {
        world.moods.insert(seq, Mood::TooLarge);
    }
    world.append(1);
    while world.core.state() != SinkState::Halted {
        step(&mut world);
    }
    assert_eq!(world.dead.len(), 2);
}

fn broken_at(world: &mut World, breakage: Breakage) -> Duration {
    let before = world.now;
    world.lose(breakage);
    world.pump();
    world.now = world
        .core
        .deadline()
        .expect("another attempt")
        .max(world.now);
    world.pump();
    assert_eq!(world.link, Link::Connecting);
    world.now - before
}

/// The waits of a halt that goes on, as long as they are those of its first minute, and after.
fn halted_waits(seed: u64, terms: Terms) -> (Vec<Duration>, Vec<Duration>) {
    let mut world = World::new(seed, terms);
    world.append(1);
    world.run_out();
    let begin = world.now;
    let (mut soon, mut later) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let waits = match world.now - begin < HALT_SOON_FOR {
            true => &mut soon,
            false => &mut later,
        };
        waits.push(broken_at(&mut world, Breakage::Halt));
        assert_eq!(world.core.state(), SinkState::Halted);
    }
    // Once it delivers, or has nothing to deliver, a later halt is a new one.
    world.run_out();
    assert_eq!(world.core.state(), SinkState::CaughtUp);
    assert!(broken_at(&mut world, Breakage::Halt) <= HALT_SOON);
    (soon, later)
}

fn assert_within(waits: &[Duration], most: Duration) {
    let (least, middle) = (most / 2, most * 3 / 4);
    assert!(
        waits.iter().all(|wait| (least..=most).contains(wait)),
        "{waits:?}"
    );
    assert!(waits.iter().any(|wait| *wait < middle), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > middle), "{waits:?}");
}

#[test]
fn a_halt_is_tried_every_5_s_at_least_for_a_minute_and_every_30_s_after_never_in_step() {
    let (soon, later) = halted_waits(1, TERMS);
    assert!(soon.len() >= 12, "{soon:?}");
    assert_within(&soon, HALT_SOON);
    assert_within(&later, HALT_LATER);
    assert_ne!(halted_waits(2, TERMS).0[0], soon[0]);
}

#[test]
fn where_attempts_are_to_be_rarer_those_of_a_long_halt_are_rarer_too() {
    let rare = Terms {
        reconnect_max: Duration::from_secs(600),
        ..TERMS
    };
    let (soon, later) = halted_waits(1, rare);
    assert_within(&soon, HALT_SOON);
    assert_within(&later, rare.reconnect_max);
}

#[test]
fn the_time_between_attempts_is_bounded_as_configured_and_well_used() {
    for most in [1, 60, 600].map(Duration::from_secs) {
        let terms = Terms {
            reconnect_max: most,
            ..TERMS
        };
        let mut world = World::new(1, terms);
        world.append(1);
        world.notify();
        world.pump();
        let waits: Vec<_> = (0..60)
            .map(|_| broken_at(&mut world, Breakage::Retry))
            .collect();
        assert!(waits.iter().all(|wait| *wait <= most), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait > most * 9 / 10), "{waits:?}");
    }
}

#[test]
fn the_first_attempt_waits_a_random_time_and_only_the_first_does() {
    let terms = Terms {
        start_jitter: Duration::from_secs(600),
        ..TERMS
    };
    let firsts: Vec<_> = (0..200)
        .map(|seed| {
            let mut world = World::new(seed, terms);
            world.append(1);
            world.notify();
            world.pump();
            assert_eq!(world.link, Link::None);
            let first = world.core.deadline().unwrap();
            world.now = first;
            world.pump();
            assert_eq!(world.link, Link::Connecting);
            assert!(broken_at(&mut world, Breakage::Retry) <= TERMS.reconnect_max);
            first
        })
        .collect();
    let minute = Duration::from_secs(60);
    assert!(firsts.iter().all(|first| *first <= terms.start_jitter));
    assert!(firsts.iter().any(|first| *first < minute));
    assert!(
        firsts
            .iter()
            .any(|first| *first > terms.start_jitter - minute)
    );
}

#[test]
fn the_rate_holds_across_connections_and_counts_repeats() {
    let terms = Terms {
        window: 64,
        max_rate: world::rate(10, 0),
        ..TERMS
    };
    let mut world = World::new(1, terms);
    world.can_read_back = false;
    world.append(100);
    // A connection that is lost after each few events, so that most are sent more than once.
    for _ in 0..2_000 {
        world.notify();
        world.pump();
        match world.link {
            Link::None => world.now = world.core.deadline().unwrap().max(world.now),
            Link::Connecting => world.accept(),
            Link::Asking => world.answer_read_back(),
            Link::Up if world.op.is_some() => world.finish_op(),
            Link::Up if world.rng.one_in(8) => world.lose(Breakage::Retry),
            Link::Up => match world.core.deadline() {
                Some(deadline) if world.rng.one_in(2) => world.now = deadline.max(world.now),
                _ => {
                    world.serve();
                    let _ = world.answer(true);
                }
            },
        }
    }
    let repeats = world.sent.iter().filter(|sent| sent.1).count();
    assert!(repeats > 50, "{repeats}");
    world.assert_rate_kept();
    world.run_out();
    world.assert_rate_kept();
    assert_eq!(world.core.acked(), world.tail);
}

#[test]
fn what_the_rate_still_holds_back_when_a_connection_is_lost_is_no_repeat() {
    let mut world = World::new(
        1,
        Terms {
            max_rate: world::rate(2, 0),
            ..TERMS
        },
    );
    world.append(10);
    while world.sent.len() < 2 {
        step(&mut world);
    }
    world.lose(Breakage::Retry);
    world.run_out();
    let marked: Vec<_> = world.sent.iter().filter(|sent| sent.1).collect();
    assert!(marked.len() <= 2, "{marked:?}");
    assert_eq!(world.core.acked(), Seq::new(10));
}

#[test]
fn a_suspect_of_a_limit_waits_for_the_verdict_of_what_the_rate_holds_back() {
    let mut world = World::new(
        1,
        Terms {
            max_rate: world::rate(1, 0),
            ..TERMS
        },
    );
    world.run_out();
    for seq in seqs(1..=9) {
        world.moods.insert(seq, Mood::TooLarge);
    }
    world.append(10);
    while world.core.state() != SinkState::Halted {
        step(&mut world);
        if world.link == Link::Up && world.uplink.is_empty() {
            world.now = world.core.deadline().unwrap_or_default().max(world.now);
        }
    }
    assert!(
        world.dead.is_empty(),
        "a wrong limit must not dead-letter a backlog"
    );
}

#[test]
fn with_a_backlog_attempts_begin_at_most_5_s_apart_however_long_each_takes() {
    for took in [0, 1_000, 3_000, 4_000].map(Duration::from_millis) {
        let mut world = World::new(1, TERMS);
        world.append(1);
        world.notify();
        world.pump();
        for _ in 0..200 {
            let began = world.now;
            world.now += took;
            broken_at(&mut world, Breakage::Retry);
            assert!(world.now - began <= Duration::from_secs(5));
        }
    }
}

#[test]
fn with_nothing_to_deliver_attempts_are_rarer_until_there_is() {
    let mut world = World::new(1, TERMS);
    world.pump();
    let waits: Vec<_> = (0..40)
        .map(|_| broken_at(&mut world, Breakage::Retry))
        .collect();
    assert!(waits.iter().all(|wait| *wait <= IDLE_CAP));
    assert!(waits.iter().any(|wait| *wait > Duration::from_secs(15)));
    while world
        .core
        .deadline()
        .is_none_or(|at| at < world.now + Duration::from_secs(10))
    {
        if world.link == Link::None {
            world.now = world.core.deadline().unwrap().max(world.now);
            world.pump();
        }
        world.lose(Breakage::Retry);
        world.pump();
    }
    world.append(1);
    world.notify();
    let due = world.core.deadline().unwrap();
    assert!(due <= world.now + TERMS.reconnect_max);
    world.append(1);
    world.notify();
    assert_eq!(
        world.core.deadline(),
        Some(due),
        "each append would bring the attempt nearer"
    );
}

#[test]
fn no_attempt_is_made_while_the_journal_cannot_be_read() {
    let mut world = World::new(1, TERMS);
    world.append(5);
    world.set_available(false);
    world.pump();
    assert_eq!((world.link, world.core.deadline()), (Link::None, None));
    world.set_available(true);
    world.run_out();
    assert_eq!(stored(&world), seqs(1..=5));
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

/// With one event that became a dead letter, the third of ten.
fn world_with_a_dead_letter(terms: Terms) -> (World, Seq) {
    let mut world = idle_world(terms);
    let poison = Seq::new(3);
    world.moods.insert(poison, Mood::Never);
    world.append(10);
    world.run_out();
    world.append(1);
    world.run_out();
    assert_eq!(world.settled_letters(), [poison]);
    (world, poison)
}

#[test]
fn a_dead_letter_that_is_sent_again_arrives_once_and_is_one_no_longer() {
    for strict_order in [false, true] {
        let (mut world, poison) = world_with_a_dead_letter(Terms {
            strict_order,
            ..TERMS
        });
        world.moods.clear();
        let before = world.core.acked();
        world.retry(poison);
        world.append(20);
        world.run_out();
        assert!(world.dead.is_empty() && world.retries.is_empty());
        assert!(world.late.contains(&poison));
        let arrived = stored(&world);
        assert_eq!(arrived.iter().filter(|seq| **seq == poison).count(), 1);
        let others: Vec<_> = arrived.into_iter().filter(|seq| *seq > before).collect();
        assert!(others.is_sorted(), "{others:?}");
    }
}

#[test]
fn one_that_is_refused_again_stays_a_dead_letter_and_holds_up_nothing() {
    for mood in [Mood::Never, Mood::TooLarge, Mood::Halts(9)] {
        let (mut world, poison) = world_with_a_dead_letter(TERMS);
        world.moods.insert(poison, mood);
        world.retry(poison);
        world.append(20);
        world.run_out();
        assert_ne!(world.core.state(), SinkState::Halted);
        assert!(world.dead.contains_key(&poison) && world.retries.is_empty());
        assert!(!stored(&world).contains(&poison));
        assert_eq!(world.core.acked(), world.tail);
    }
}

#[test]
fn one_that_is_refused_for_now_is_sent_until_it_passes_while_the_others_go_on() {
    let (mut world, poison) = world_with_a_dead_letter(TERMS);
    world.moods.insert(poison, Mood::Later(4));
    world.retry(poison);
    world.append(50);
    while world.core.acked() < world.tail {
        step(&mut world);
    }
    assert!(world.dead.contains_key(&poison), "it waits by itself");
    assert!(world.core.has_late());
    world.run_out();
    assert!(world.dead.is_empty());
}

#[test]
fn one_that_may_have_arrived_is_read_back_also_after_a_crash() {
    for crash in [false, true] {
        for arrives in [false, true] {
            let (mut world, poison) = world_with_a_dead_letter(TERMS);
            world.moods.clear();
            world.retry(poison);
            while !world.core.is_late(poison) {
                step(&mut world);
            }
            assert!(world.retries[&poison].is_some(), "claimed before it leaves");
            if arrives {
                world.serve();
            } else {
                world.uplink.clear();
            }
            match crash {
                true => world.crash(),
                false => world.lose(Breakage::Retry),
            }
            world.run_out();
            assert!(world.dead.is_empty());
            let copies = stored(&world).into_iter().filter(|seq| *seq == poison);
            assert_eq!(copies.count(), 1);
        }
    }
}

#[test]
fn one_that_ends_every_session_is_given_up_again_and_the_others_pass() {
    let (mut world, poison) = world_with_a_dead_letter(TERMS);
    world.moods.clear();
    world.retry(poison);
    world.append(5);
    let mut losses = 0;
    for _ in 0..2_000 {
        if world.core.is_late(poison) {
            world.uplink.clear();
            world.lose(Breakage::Retry);
            losses += 1;
        }
        step(&mut world);
        world.now = world.core.deadline().unwrap_or_default().max(world.now);
    }
    assert_eq!(losses, 5);
    assert!(world.unsure.contains(&poison) && world.retries.is_empty());
    assert_eq!(world.core.acked(), world.tail);
}

#[test]
fn one_that_is_discarded_before_it_leaves_does_not_leave() {
    let (mut world, poison) = world_with_a_dead_letter(TERMS);
    world.moods.clear();
    world.lose(Breakage::Retry);
    world.retry(poison);
    world.notify();
    world.pump();
    world.discard(poison);
    world.run_out();
    assert!(!stored(&world).contains(&poison));
    assert!(!world.core.has_late());
}

#[test]
fn what_a_hub_misses_and_a_limit_refuses_is_given_up_and_halts_nothing() {
    let mut world = idle_world(TERMS);
    world.append(5);
    world.run_out();
    let (now, core) = (world.now, &mut world.core);
    let run = SeqRange::new(Seq::new(2), Seq::new(5)).unwrap();
    core.send_again(run);
    let redelivered = true;
    assert_eq!(core.next(now), Some(Effect::Send { run, redelivered }));
    core.handed_over(1, now);
    for seq in seqs(2..=5) {
        let (code, limit) = (LIMIT_CODE, true);
        core.refused(seq, Refusal::Reject { code, limit }, now);
    }
    for seq in seqs(2..=5) {
        let code = LIMIT_CODE;
        assert_eq!(core.next(now), Some(Effect::Reject { seq, code }));
        core.rejected(seq);
    }
    assert!(core.is_well() && !core.is_sending_again());
}

#[test]
fn by_a_rate_what_a_hub_misses_and_what_is_new_take_turns() {
    let mut world = idle_world(Terms {
        max_rate: world::rate(10, 0),
        ..TERMS
    });
    world.append(20);
    world.run_out();
    world.append(4);
    world.notify();
    let core = &mut world.core;
    core.send_again(SeqRange::new(Seq::new(1), Seq::new(8)).unwrap());
    let mut repeats = Vec::new();
    while repeats.len() < 12 {
        match core.next(world.now) {
            Some(Effect::Send { run, redelivered }) => {
                repeats.push(redelivered);
                core.handed_over(1, world.now);
                core.stored(run.first(), Position(1_000));
            }
            Some(Effect::Claim(upto)) => core.claimed(upto),
            Some(Effect::CaughtUp(_)) => core.told(),
            Some(_) => {}
            None => world.now = core.deadline().unwrap(),
        }
    }
    let in_turn = [true, false, true, false, true, false, true, false];
    assert_eq!(repeats[..8], in_turn);
    assert_eq!(repeats[8..], [true; 4]);
}

#[test]
fn a_dead_letter_finds_no_room_where_what_a_hub_misses_has_taken_it() {
    let (mut world, poison) = world_with_a_dead_letter(TERMS);
    world.moods.clear();
    world.max_in_flight = 4;
    world.lose(Breakage::Retry);
    world.run_out();
    world.retry(poison);
    world.append(8);
    world.notify();
    let (now, core) = (world.now, &mut world.core);
    core.send_again(SeqRange::new(Seq::new(4), Seq::new(9)).unwrap());
    let (mut on_the_way, mut most) = (VecDeque::new(), 0);
    let mut wants_claim = false;
    while core.has_late() || core.is_sending_again() || core.acked() < world.tail {
        match core.next(now) {
            Some(Effect::Send { run, .. }) => {
                on_the_way.extend((run.first().get()..=run.last().get()).map(Seq::new));
                core.handed_over(1, now);
            }
            Some(Effect::Late(LateEffect::Send(seq))) => {
                on_the_way.push_back(seq);
                core.late_handed_over(1, now);
            }
            Some(Effect::Late(LateEffect::Claim { .. })) => wants_claim = true,
            Some(Effect::Late(LateEffect::Settle { .. })) => core.late_settled(None),
            Some(Effect::Claim(upto)) => core.claimed(upto),
            Some(Effect::CaughtUp(_)) => core.told(),
            Some(_) => {}
            // The journal answers once the client has all that it bears.
            None if std::mem::take(&mut wants_claim) => core.late_claimed(true),
            None => core.stored(on_the_way.pop_front().unwrap(), Position(1_000)),
        }
        most = most.max(on_the_way.len());
        assert!(most <= world.max_in_flight, "more than the client bears");
    }
    assert_eq!(most, world.max_in_flight);
}
