//! Dead letters that are sent once more, and what a hub misses.

use super::*;

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
