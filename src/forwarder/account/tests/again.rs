//! What is sent again, when, and whose turn it is.

use super::*;

#[test]
fn what_is_missing_is_sent_once_two_receipts_have_named_it() {
    let journal = Journal::of(&[(1, 10_000)]);
    let mut account = account();
    // 901 on was not acked when it was named first.
    journal.take(&mut account, &receipt(1, 1, 20, &[(21, 1_000)]), 900, 0);
    assert_eq!(due(&mut account, 0), []);
    assert_eq!(due(&mut account, 599), []);
    journal.take(&mut account, &receipt(1, 2, 20, &[(21, 1_000)]), 2_000, 29);
    assert_eq!(due(&mut account, 29), [], "too soon");
    journal.take(
        &mut account,
        &receipt(1, 3, 40, &[(41, 50), (61, 9_000)]),
        9_500,
        31,
    );
    assert_eq!(due(&mut account, 31), [(41, 50), (61, 900)]);
    // Nothing more until that has arrived.
    journal.take(
        &mut account,
        &receipt(1, 4, 40, &[(41, 50), (61, 9_000)]),
        9_500,
        60,
    );
    assert_eq!(due(&mut account, 60), []);
    // Most of it has: the rest of what is due goes, and more at once.
    journal.take(
        &mut account,
        &receipt(1, 5, 48, &[(49, 50), (901, 9_000)]),
        9_500,
        62,
    );
    assert_eq!(due(&mut account, 62), [(901, 2_948)]);
}

#[test]
fn what_has_half_arrived_is_not_sent_once_more_with_the_next_piece() {
    let journal = Journal::of(&[(1, 5_000)]);
    let mut account = account();
    for (generation, seconds) in [(1, 0), (2, 30)] {
        let receipt = receipt(1, generation, 0, &[(1, 5_000)]);
        journal.take(&mut account, &receipt, 5_000, seconds);
    }
    assert_eq!(due(&mut account, 30), [(1, 1_024)]);
    let half = receipt(1, 3, 600, &[(601, 5_000)]);
    journal.take(&mut account, &half, 5_000, 31);
    assert_eq!(due(&mut account, 31), [(1_025, 3_072)]);
    // It has got lost: it comes with what is due then.
    let half = receipt(1, 4, 600, &[(601, 1_024), (3_001, 5_000)]);
    journal.take(&mut account, &half, 5_000, 61);
    assert_eq!(due(&mut account, 61), [(601, 1_024), (3_073, 5_000)]);
}

#[test]
fn what_does_not_arrive_is_sent_ever_more_rarely() {
    let journal = Journal::of(&[(1, 5_000)]);
    let mut account = account();
    let named = |generation| receipt(1, generation, 0, &[(1, 5_000)]);
    let mut sent = Vec::new();
    // A hub that says the same every 10 s.
    for step in 0..1_000 {
        journal.take(&mut account, &named(step), 5_000, step * 10);
        let ranges = due(&mut account, step * 10);
        sent.extend(ranges.into_iter().map(|range| (step * 10, range)));
    }
    // Round and round.
    let pieces = [
        (30, (1, 1_024)),
        (60, (1_025, 2_048)),
        (120, (2_049, 3_072)),
        (240, (3_073, 4_096)),
        (480, (4_097, 5_000)),
        (960, (1, 1_024)),
        (1_920, (1_025, 2_048)),
        (3_840, (2_049, 3_072)),
        (7_680, (3_073, 4_096)),
    ];
    assert_eq!(sent, pieces);
}

/// A broker that is killed again and again takes each time what was sent again with it.
#[test]
fn what_was_lost_with_a_session_is_sent_again_as_soon_as_at_first() {
    let journal = Journal::of(&[(1, 5_000)]);
    let mut account = account();
    let named = |generation| receipt(1, generation, 0, &[(1, 5_000)]);
    let mut sent = Vec::new();
    for step in 0..200 {
        if step == 100 {
            account.begin_session();
        }
        journal.take(&mut account, &named(step), 5_000, step * 10);
        if !due(&mut account, step * 10).is_empty() {
            sent.push(step * 10);
        }
    }
    assert_eq!(
        sent,
        [
            30, 60, 120, 240, 480, 960, 1_000, 1_060, 1_180, 1_420, 1_900
        ]
    );
}

#[test]
fn a_hub_that_has_fallen_silent_is_served_by_what_it_said_last() {
    let journal = Journal::of(&[(1, 100)]);
    let mut account = account();
    journal.take(&mut account, &receipt(1, 1, 0, &[(1, 9)]), 100, 5);
    assert_eq!(account.deadline(), Some(Duration::from_secs(605)));
    assert_eq!(due(&mut account, 604), []);
    assert_eq!(due(&mut account, 605), [(1, 9)]);
    assert_eq!(account.deadline(), Some(Duration::from_secs(1_205)));
    assert_eq!(due(&mut account, 1_204), []);
    assert_eq!(due(&mut account, 1_205), [(1, 9)]);
    assert_eq!(account.deadline(), Some(Duration::from_secs(2_405)));
}

#[test]
fn a_hub_that_has_fallen_silent_is_served_epoch_by_epoch() {
    let journal = Journal::of(&[(1, 10), (2, 10)]);
    let mut account = account();
    journal.take(&mut account, &receipt(1, 1, 0, &[(1, 9)]), 20, 5);
    journal.take(&mut account, &receipt(2, 2, 12, &[(13, 15)]), 20, 7);
    for (seconds, ranges, next) in [
        (604, vec![], 605),
        (605, vec![(1, 9)], 1_205),
        (1_205, vec![(13, 15)], 1_805),
        (1_805, vec![(1, 9)], 2_405),
        (2_405, vec![(13, 15)], 3_005),
        (3_004, vec![], 3_005),
        (3_005, vec![(1, 9)], 3_605),
        (3_605, vec![(13, 15)], 5_405),
        (5_404, vec![], 5_405),
    ] {
        assert_eq!(due(&mut account, seconds), ranges, "at {seconds}");
        assert_eq!(
            account.deadline(),
            Some(Duration::from_secs(next)),
            "at {seconds}"
        );
    }
}

#[test]
fn one_that_is_quarantined_at_the_hub_does_not_hold_up_the_others() {
    let journal = Journal::of(&[(1, 5_000)]);
    let mut account = account();
    let mut missing = vec![(5, 5), (11, 4_000)];
    let mut generation = 0;
    let mut sent = 0;
    for step in 0..100 {
        generation += 1;
        journal.take(
            &mut account,
            &receipt(1, generation, 4, &missing),
            5_000,
            step * 10,
        );
        for (first, last) in due(&mut account, step * 10) {
            if last > 10 {
                sent += last + 1 - first.max(11);
                missing[1].0 = last + 1;
            }
        }
        if missing[1].0 > 4_000 {
            missing.truncate(1);
            break;
        }
    }
    assert_eq!((missing, sent), (vec![(5, 5)], 3_990));
}

/// Two epochs of which the hub never takes an event, and a third that lost some on the way, early
/// and late.
#[test]
fn what_never_arrives_of_one_epoch_keeps_back_nothing_of_the_next() {
    let journal = Journal::of(&[(1, 10), (2, 10), (3, 5_000)]);
    let mut account = account();
    let mut missing = vec![(31, 4_000)];
    let mut sent: [Vec<(u64, u64)>; 3] = Default::default();
    for step in 0..200 {
        let (now, generation) = (step * 10, step * 3);
        if step == 100 {
            missing.push((4_500, 4_500));
        }
        let upto = missing.first().map_or(5_020, |(first, _)| first - 1);
        for said in [
            receipt(1, generation, 4, &[(5, 5)]),
            receipt(2, generation + 1, 14, &[(15, 15)]),
            receipt(3, generation + 2, upto, &missing),
        ] {
            journal.take(&mut account, &said, 5_020, now);
        }
        for (first, last) in due(&mut account, now) {
            match last {
                5 => sent[0].push((now, 1)),
                15 => sent[1].push((now, 1)),
                _ => {
                    assert_eq!(first, missing[0].0);
                    sent[2].push((now, last + 1 - first));
                    missing[0].0 = last + 1;
                    missing.retain(|(first, last)| first <= last);
                }
            }
        }
    }
    let [first, second, third] = sent;
    assert_eq!(
        third,
        [
            (90, 1_024),
            (160, 1_024),
            (230, 1_024),
            (240, 898),
            (1_040, 1)
        ],
        "in turns with the others, while they have their first tries"
    );
    // Each as rarely as if it were alone, but for the time that the others have.
    let times = |sent: &[(u64, u64)]| -> Vec<u64> { sent.iter().map(|(now, _)| *now).collect() };
    assert_eq!(times(&first), [30, 100, 170, 290, 530, 1_010, 1_970]);
    assert_eq!(times(&second), [60, 130, 200, 320, 560, 1_050]);
}

/// Where little happens, a receipt comes for a tail alone, ever more rarely: just when the pause of what
/// never arrives is over.
#[test]
fn what_never_arrives_keeps_back_nothing_where_receipts_are_rare() {
    let journal = Journal::of(&[(1, 10), (2, 10), (3, 10)]);
    let mut account = account();
    let mut sent = Vec::new();
    for (generation, now) in [0, 34, 102, 238, 510, 1_054, 2_142].into_iter().enumerate() {
        let generation = generation as u64 * 3;
        for said in [
            receipt(1, generation, 4, &[(5, 5)]),
            receipt(2, generation + 1, 14, &[(15, 15)]),
            receipt(3, generation + 2, 24, &[(25, 25)]),
        ] {
            journal.take(&mut account, &said, 30, now);
        }
        let ranges = due(&mut account, now);
        sent.extend(ranges.into_iter().map(|(first, _)| (now, first)));
    }
    assert_eq!(
        sent,
        [
            (34, 5),
            (102, 15),
            (238, 25),
            (510, 5),
            (1_054, 15),
            (2_142, 25)
        ]
    );
}

/// What was erased here leaves without its personal part, and the hub takes it once it has the
/// ledger's word for that, which comes after it.
#[test]
fn what_the_hub_needs_to_take_the_rest_is_sent_though_the_rest_comes_first() {
    let journal = Journal::of(&[(1, 5_000)]);
    let mut account = account();
    let mut has = vec![false; 3_001];
    let mut sent = Vec::new();
    for step in 0..20 {
        let gap = |seq: &usize| !has[*seq];
        let missing: Vec<(u64, u64)> = (1..=3_000).find(gap).map_or_else(Vec::new, |first| {
            let last = (first..=3_000).take_while(gap).last().unwrap_or(first);
            let rest = (last + 1..=3_000)
                .find(gap)
                .map(|next| (next as u64, 3_000));
            [(first as u64, last as u64)]
                .into_iter()
                .chain(rest)
                .collect()
        });
        let upto = missing.first().map_or(5_000, |(first, _)| first - 1);
        journal.take(
            &mut account,
            &receipt(1, step, upto, &missing),
            5_000,
            step * 10,
        );
        for (first, last) in due(&mut account, step * 10) {
            sent.push((step * 10, first, last));
            let (first, last) = (first as usize, last as usize);
            has[first.max(2_001)..=last.max(2_000)].fill(true);
            if has[2_500] {
                // Kept in quarantine until then.
                has.fill(true);
            }
        }
    }
    assert_eq!(
        sent,
        [(30, 1, 1_024), (60, 1_025, 2_048), (120, 2_049, 3_000)]
    );
}

#[test]
fn what_arrives_late_was_not_sent_in_vain() {
    let journal = Journal::of(&[(1, 100)]);
    let mut account = account();
    let mut sent = Vec::new();
    for step in 0..80 {
        // The first arrives after three tries, and then another gets lost.
        let said = match step {
            0..20 => receipt(1, step, 4, &[(5, 5)]),
            20..40 => receipt(1, step, 49, &[]),
            _ => receipt(1, step, 49, &[(50, 50)]),
        };
        journal.take(&mut account, &said, 100, step * 10);
        let ranges = due(&mut account, step * 10);
        sent.extend(ranges.into_iter().map(|(first, _)| (step * 10, first)));
    }
    assert_eq!(
        sent,
        [
            (30, 5),
            (60, 5),
            (120, 5),
            (430, 50),
            (460, 50),
            (520, 50),
            (640, 50)
        ]
    );
}

/// Nothing is sent for what is trimmed, and until the ledger says so the hub waits for it.
#[test]
fn what_is_trimmed_is_to_be_declared_whosever_turn_it_is() {
    let mut journal = Journal::of(&[(1, 400)]);
    let mut account = account();
    let say = |account: &mut Account, journal: &Journal, generation, missing: &[_], now| {
        journal.take(account, &receipt(1, generation, 59, missing), 400, now);
    };
    let lost = [(60, 70), (101, 300)];
    say(&mut account, &journal, 1, &lost[..1], 0);
    say(&mut account, &journal, 2, &lost, 31);
    assert_eq!(due(&mut account, 31), [(60, 70)]);
    journal.first_held = 250;
    say(&mut account, &journal, 3, &lost, 62);
    assert_eq!(trimmed(&mut account, 62), [(101, 249)]);
    assert_eq!(due(&mut account, 62), [(250, 300)]);
    // It may have arrived as long as it was on its way.
    assert_eq!(trimmed(&mut account, 62), [(60, 70)]);
    say(&mut account, &journal, 4, &lost, 63);
    assert_eq!(trimmed(&mut account, 92), []);
    say(&mut account, &journal, 5, &lost, 93);
    assert_eq!(trimmed(&mut account, 93), [(60, 70), (101, 249)]);
    say(&mut account, &journal, 6, &lost, 100);
    say(&mut account, &journal, 7, &lost, 125);
    assert_eq!(due(&mut account, 125), [(250, 300)]);
    // That it waits is nothing to what is trimmed.
    assert_eq!(account.deadline(), Some(Duration::from_secs(700)));
}

/// Whoever waits until something is due is not woken for it over and over.
#[test]
fn what_is_trimmed_while_it_is_on_its_way_is_to_be_declared_once_it_has_not_arrived() {
    let mut journal = Journal::of(&[(1, 400)]);
    let mut account = account();
    let say = |account: &mut Account, journal: &Journal, generation, now| {
        let said = receipt(1, generation, 59, &[(60, 70)]);
        journal.take(account, &said, 400, now);
    };
    say(&mut account, &journal, 1, 0);
    say(&mut account, &journal, 2, 31);
    assert_eq!(due(&mut account, 31), [(60, 70)]);
    journal.first_held = 250;
    say(&mut account, &journal, 3, 40);
    assert_eq!(trimmed(&mut account, 40), []);
    assert_eq!(account.deadline(), Some(Duration::from_secs(631)));
    say(&mut account, &journal, 4, 62);
    assert_eq!(due(&mut account, 62), []);
    assert_eq!(trimmed(&mut account, 62), [(60, 70)]);
}

/// A range that grows by one is a range more each time until it is ripe.
#[test]
fn what_never_arrives_and_grows_hides_nothing_that_lies_behind() {
    let journal = Journal::of(&[(1, 1_000)]);
    let mut account = account();
    let mut sent = Vec::new();
    for step in 0..100 {
        let now = if step < 99 { step * 31 } else { 7_000 };
        let mut missing = vec![(10, 10 + step)];
        if step >= 98 {
            missing.push((900, 900));
        }
        journal.take(&mut account, &receipt(1, step, 9, &missing), 1_000, now);
        sent.extend(due(&mut account, now));
    }
    assert_eq!(account.said[0].named.len(), 3, "ripe, not ripe, and behind");
    assert!(sent.iter().any(|(_, last)| *last == 900), "{sent:?}");
}

#[test]
fn where_nothing_was_there_to_be_sent_another_epoch_goes_at_once() {
    let journal = Journal::of(&[(1, 10), (2, 10)]);
    let mut account = account();
    for generation in 0..2 {
        let now = generation * 31;
        for said in [
            receipt(1, 1 + generation * 2, 4, &[(5, 5)]),
            receipt(2, 2 + generation * 2, 14, &[(15, 15)]),
        ] {
            journal.take(&mut account, &said, 20, now);
        }
    }
    assert_eq!(due(&mut account, 31), [(5, 5)]);
    account.was_not_sent();
    assert_eq!(due(&mut account, 31), [(15, 15)]);
    account.was_not_sent();
    assert_eq!(due(&mut account, 31), []);
    assert_eq!(account.deadline(), Some(Duration::from_secs(631)));
}

/// What comes to lie behind it is sent, and does not take its turn each time.
#[test]
fn the_lowest_has_its_turn_though_something_new_is_always_missing() {
    let journal = Journal::of(&[(1, 100_000)]);
    let mut account = account();
    let mut lowest = Vec::new();
    for step in 0..1_000 {
        // One more in 200 seconds, and none of them ever arrives.
        let dead = (0..=step / 20).map(|it| (10 + it * 20, 10 + it * 20));
        let (now, missing) = (step * 10, dead.collect::<Vec<_>>());
        journal.take(&mut account, &receipt(1, step, 9, &missing), 100_000, now);
        if due(&mut account, now).contains(&(10, 10)) {
            lowest.push(now);
        }
    }
    assert!(lowest.len() >= 4, "{lowest:?}");
}

/// Until then it says what was missing before that was sent.
#[test]
fn only_a_receipt_that_comes_long_enough_after_what_was_sent_says_that_it_did_not_arrive() {
    let journal = Journal::of(&[(1, 3_000), (2, 10)]);
    let mut account = account();
    let say = |account: &mut Account, of, generation, missing, now| {
        let upto = if of == 1 { 9 } else { 3_005 };
        journal.take(account, &receipt(of, generation, upto, missing), 3_010, now);
    };
    say(&mut account, 1, 1, &[(10, 2_500)], 0);
    say(&mut account, 1, 2, &[(10, 2_500)], 31);
    assert_eq!(due(&mut account, 31), [(10, 1_033)]);
    say(&mut account, 1, 3, &[(10, 2_500)], 36);
    assert_eq!(due(&mut account, 36), []);
    say(&mut account, 2, 4, &[], 62);
    assert_eq!(
        due(&mut account, 62),
        [],
        "the other epoch says nothing of it"
    );
    say(&mut account, 1, 5, &[(10, 2_500)], 63);
    assert_eq!(due(&mut account, 63), [(1_034, 2_057)]);
}
