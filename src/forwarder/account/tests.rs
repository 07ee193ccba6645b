use std::convert::Infallible;

use super::*;
use crate::envelope::DeviceName;

const AFTER: Duration = Duration::from_secs(30);

/// A journal: who wrote each seq, from `first_held` on. A seq without a place is a hole.
struct Journal {
    first_held: u64,
    places: Vec<Option<(Epoch, Digest)>>,
}

fn epoch(number: u128) -> Epoch {
    Epoch::from_uuid(Uuid::from_u128(number))
}

fn digest(epoch: Epoch, seq: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(epoch.as_uuid().as_bytes());
    bytes[24..].copy_from_slice(&seq.to_be_bytes());
    Digest(bytes)
}

/// A hub's id in its nth life.
fn hub(life: u64) -> Uuid {
    Uuid::from_u64_pair(life, 7)
}

fn seq(number: u64) -> Seq {
    Seq::new(number)
}

fn range((first, last): (u64, u64)) -> SeqRange {
    SeqRange::new(seq(first), seq(last)).unwrap()
}

impl Journal {
    /// Epochs one after the other, each with so many events.
    fn of(lengths: &[(u128, u64)]) -> Self {
        let mut places = vec![None];
        for (number, length) in lengths {
            for _ in 0..*length {
                let seq = places.len() as u64;
                places.push(Some((epoch(*number), digest(epoch(*number), seq))));
            }
        }
        Self {
            first_held: 1,
            places,
        }
    }

    fn at(&self, from: Seq) -> Option<Place> {
        let from = from.get().max(self.first_held);
        (from..self.places.len() as u64).find_map(|number| {
            let (epoch, digest) = self.places[usize::try_from(number).unwrap()]?;
            let seq = seq(number);
            Some(Place { seq, epoch, digest })
        })
    }

    fn own(&self, acked: u64, now: Duration) -> Own {
        let tail = seq(self.places.len() as u64 - 1);
        Own {
            epoch: self.at(tail).unwrap().epoch,
            first_held: self.at(Seq::FIRST).unwrap().seq,
            tail,
            acked: seq(acked),
            now,
        }
    }

    fn take(&self, account: &mut Account, receipt: &Receipt, acked: u64, seconds: u64) -> Taken {
        let own = self.own(acked, Duration::from_secs(seconds));
        let mut at = |from| Ok::<_, Infallible>(self.at(from));
        let taken = account.take(receipt, own, &mut at);
        taken.unwrap()
    }
}

/// A receipt of the first life.
fn receipt(of: u128, generation: u64, accounted_to: u64, missing: &[(u64, u64)]) -> Receipt {
    let digest = match accounted_to {
        0 => Digest::ZERO,
        seq => digest(epoch(of), seq),
    };
    Receipt {
        hub: hub(1),
        generation,
        device: "kiosk".parse::<DeviceName>().unwrap(),
        epoch: epoch(of),
        accounted_to: seq(accounted_to),
        digest,
        quarantined: 0,
        missing: missing.iter().copied().map(range).collect(),
    }
}

fn account() -> Account {
    Account::new(AFTER, Seq::NONE, Some(1))
}

fn due(account: &mut Account, seconds: u64) -> Vec<(u64, u64)> {
    let wanted = account.due(Duration::from_secs(seconds));
    numbers(&wanted.map(|wanted| wanted.ranges).unwrap_or_default())
}

fn trimmed(account: &mut Account, seconds: u64) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    while let Some(trimmed) = account.trimmed(Duration::from_secs(seconds)) {
        account.is_declared(trimmed);
        all.push(trimmed);
    }
    numbers(&all)
}

fn numbers(ranges: &[SeqRange]) -> Vec<(u64, u64)> {
    let numbers = |range: &SeqRange| (range.first().get(), range.last().get());
    ranges.iter().map(numbers).collect()
}

const COUNTED: Taken = Taken::Counted { new_life: false };

#[test]
fn what_a_receipt_says_counts_only_where_it_is_ours_and_news() {
    let two = Journal::of(&[(1, 10), (2, 10)]);
    let tampering = |number, current| Taken::Tampering {
        seq: seq(number),
        digest: digest(epoch(9), number),
        current,
    };
    let with = |change: fn(&mut Receipt)| {
        let mut changed = receipt(2, 5, 15, &[]);
        change(&mut changed);
        changed
    };
    let forked = |of, number| Receipt {
        digest: digest(epoch(9), number),
        ..receipt(of, 5, number, &[])
    };
    // The epoch before is accounted for, by generation 4.
    for (name, receipt, taken, confirmed) in [
        ("ours", with(|_| {}), COUNTED, 15),
        ("an older one", receipt(1, 3, 4, &[]), Taken::Nothing, 10),
        ("the same", receipt(1, 4, 10, &[]), Taken::Nothing, 10),
        (
            "an earlier life",
            with(|it| it.hub = hub(0)),
            Taken::Nothing,
            10,
        ),
        (
            "a stranger's epoch",
            receipt(7, 5, 15, &[]),
            Taken::Nothing,
            10,
        ),
        (
            "a stranger's epoch, beyond the end",
            receipt(7, 5, 900, &[]),
            Taken::Nothing,
            10,
        ),
        ("a fork", forked(2, 15), tampering(15, true), 10),
        (
            "a fork of an old epoch",
            forked(1, 7),
            tampering(7, false),
            10,
        ),
        ("beyond our end", forked(2, 21), tampering(21, true), 10),
        (
            "the epoch at hand, before its start",
            forked(2, 8),
            tampering(8, true),
            10,
        ),
        ("nothing yet", receipt(2, 5, 0, &[]), COUNTED, 10),
    ] {
        let mut account = account();
        let before = self::receipt(1, 4, 10, &[]);
        assert_eq!(two.take(&mut account, &before, 20, 0), COUNTED);
        let taken_is = two.take(&mut account, &receipt, 20, 0);
        assert_eq!(
            (taken_is, account.confirmed().get()),
            (taken, confirmed),
            "{name}"
        );
    }
}

#[test]
fn what_another_sink_has_delivered_meanwhile_is_not_beyond_our_end() {
    let journal = Journal::of(&[(1, 30)]);
    let mut account = account();
    let mut own = journal.own(20, Duration::ZERO);
    own.tail = seq(20);
    let mut at = |from| Ok::<_, Infallible>(journal.at(from));
    let taken = account.take(&receipt(1, 1, 30, &[]), own, &mut at);
    assert_eq!((taken, account.confirmed()), (Ok(COUNTED), seq(30)));
}

#[test]
fn a_receipt_for_an_epoch_says_nothing_of_the_one_before() {
    let three = Journal::of(&[(1, 10), (2, 10), (3, 10)]);
    let mut account = account();
    three.take(&mut account, &receipt(3, 1, 25, &[]), 30, 0);
    three.take(&mut account, &receipt(2, 2, 20, &[]), 30, 0);
    assert_eq!(account.confirmed(), Seq::NONE);
    three.take(&mut account, &receipt(1, 3, 9, &[]), 30, 0);
    assert_eq!(account.confirmed(), seq(9));
    three.take(&mut account, &receipt(1, 4, 10, &[]), 30, 0);
    assert_eq!(account.confirmed(), seq(25));
}

#[test]
fn what_a_recovery_has_lost_holds_up_nothing() {
    // 8 to 10 were lost at the end of the first epoch, and the hub has 9 of them.
    let mut lost = Journal::of(&[(1, 10), (2, 10)]);
    lost.places[8..=10].fill(None);
    let mut account = account();
    assert_eq!(
        lost.take(&mut account, &receipt(1, 1, 9, &[]), 20, 0),
        COUNTED
    );
    assert_eq!(
        lost.take(&mut account, &receipt(2, 2, 12, &[]), 20, 0),
        COUNTED
    );
    assert_eq!(account.confirmed(), seq(12));
    // In the middle it can not be compared with anything, and is passed over.
    lost.places[14] = None;
    assert_eq!(
        lost.take(&mut account, &receipt(2, 3, 14, &[]), 20, 0),
        Taken::Nothing
    );
    assert_eq!(
        lost.take(&mut account, &receipt(2, 4, 15, &[]), 20, 0),
        COUNTED
    );
    assert_eq!(account.confirmed(), seq(15));
}

#[test]
fn a_life_whose_beginning_is_in_doubt_ends_the_one_before() {
    let journal = Journal::of(&[(1, 100)]);
    let mut account = account();
    assert_eq!(
        journal.take(&mut account, &receipt(1, 1, 40, &[]), 100, 0),
        COUNTED
    );
    account.doubt(9);
    let of_old = receipt(1, 2, 90, &[]);
    assert_eq!(journal.take(&mut account, &of_old, 100, 1), Taken::Nothing);
    assert_eq!(account.confirmed(), seq(40));
    let of_new = Receipt {
        hub: hub(9),
        ..receipt(1, 3, 10, &[])
    };
    let new_life = Taken::Counted { new_life: true };
    assert_eq!(journal.take(&mut account, &of_new, 100, 2), new_life);
    assert_eq!((account.confirmed(), account.life()), (seq(10), Some(9)));
}

#[test]
fn a_later_life_goes_back_to_what_is_trimmed_and_an_earlier_one_never_counts_again() {
    let mut journal = Journal::of(&[(1, 100)]);
    let mut account = account();
    journal.take(&mut account, &receipt(1, 70, 80, &[]), 100, 0);
    journal.first_held = 50;
    let restored = Receipt {
        hub: hub(2),
        ..receipt(1, 1, 60, &[(61, 100)])
    };
    let new_life = Taken::Counted { new_life: true };
    assert_eq!(journal.take(&mut account, &restored, 100, 0), new_life);
    assert_eq!((account.confirmed(), account.life()), (seq(60), Some(2)));
    let before = receipt(1, 99, 100, &[]);
    assert_eq!(journal.take(&mut account, &before, 100, 0), Taken::Nothing);
    assert_eq!(account.confirmed(), seq(60));
    // An empty one: what is trimmed can not come, and is asked for with the rest.
    let empty = Receipt {
        hub: hub(3),
        ..receipt(1, 1, 0, &[(1, 100)])
    };
    assert_eq!(journal.take(&mut account, &empty, 100, 0), new_life);
    assert_eq!(account.confirmed(), seq(49));
    let again = Receipt {
        generation: 2,
        ..empty
    };
    journal.take(&mut account, &again, 100, 30);
    assert_eq!(trimmed(&mut account, 30), [(1, 49)]);
    assert_eq!(due(&mut account, 30), [(50, 100)]);
}

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

#[test]
fn a_gap_that_reaches_beyond_our_end_of_its_epoch_is_sent_up_to_there() {
    // The hub has heard a copy of this journal go on in the first epoch.
    let journal = Journal::of(&[(1, 80), (2, 20)]);
    let mut account = account();
    for (generation, seconds) in [(1, 0), (2, 31)] {
        let said = receipt(1, generation, 49, &[(50, 120)]);
        journal.take(&mut account, &said, 100, seconds);
    }
    assert_eq!(due(&mut account, 31), [(50, 80)]);
}

#[test]
fn what_the_hub_has_beyond_our_end_of_an_epoch_is_shown_and_confirms_nothing() {
    let journal = Journal::of(&[(1, 80), (2, 20)]);
    let mut account = account();
    let beyond = Taken::Tampering {
        seq: seq(90),
        digest: digest(epoch(1), 90),
        current: false,
    };
    let taken = journal.take(&mut account, &receipt(1, 1, 90, &[]), 100, 0);
    assert_eq!(taken, beyond);
    assert_eq!(account.confirmed(), Seq::NONE);
}

#[test]
fn what_the_hub_misses_of_one_epoch_hides_nothing_of_another() {
    let journal = Journal::of(&[(1, 10), (2, 10)]);
    let mut account = account();
    let first = Receipt {
        quarantined: 2,
        ..receipt(1, 1, 4, &[(5, 10)])
    };
    journal.take(&mut account, &first, 20, 0);
    journal.take(&mut account, &receipt(2, 1, 20, &[]), 20, 1);
    assert_eq!(account.trouble(), (6, 2));
    journal.take(&mut account, &receipt(1, 2, 10, &[]), 20, 2);
    assert_eq!(account.trouble(), (0, 0));
}

#[test]
fn the_gap_of_an_epoch_whose_start_is_on_its_way_does_not_reach_into_others() {
    let mut journal = Journal::of(&[(1, 100), (2, 50)]);
    journal.first_held = 20;
    let mut account = account();
    for (generation, seconds) in [(1, 0), (2, 40)] {
        let reaching = receipt(2, generation, 0, &[(1, 110), (120, 130)]);
        journal.take(&mut account, &reaching, 125, seconds);
    }
    assert_eq!(due(&mut account, 40), [(101, 110), (120, 125)]);
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
