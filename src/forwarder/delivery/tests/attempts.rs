//! When it is tried to connect.

use super::*;

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
