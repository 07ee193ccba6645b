//! What a sink refuses: for now, for good, by a limit.

use super::*;

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
