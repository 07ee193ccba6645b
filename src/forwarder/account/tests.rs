mod again;
mod whatever;

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
