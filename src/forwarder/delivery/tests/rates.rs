//! A rate that is kept.

use super::*;

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
