//! How far a chain goes: from an event to the one whose `prev` names it.

use crate::digest::Digest;

/// An event that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) seq: u64,
    pub(super) digest: Digest,
    pub(super) prev: Digest,
}

/// A run of seqs that the device has declared lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) last_digest: Option<Digest>,
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// Everything up to here is held or declared lost.
    pub(super) seq: u64,
    /// The digest there: zeros before the first event of an epoch, `None` where it is not known.
    pub(super) digest: Option<Digest>,
}

/// What ended a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The next seq is not among what was given.
    Absent,
    /// The next seq is held and names another event before it.
    Broken(Held),
}

/// Goes on from `at`. `held` and `lost` lie above it and ascend; of one seq, what is to be preferred
/// comes first.
pub(super) fn walk(mut at: At, mut held: &[Held], mut lost: &[Lost]) -> (At, End) {
    loop {
        let next = at.seq + 1;
        held = from(held, |event| event.seq >= next);
        lost = from(lost, |run| run.last >= next);
        let here = held
            .split(|event| event.seq != next)
            .next()
            .unwrap_or_default();
        let link = here
            .iter()
            .find(|event| at.digest.is_none_or(|digest| event.prev == digest));
        at = match (link, here.first(), lost.first()) {
            (Some(event), ..) => At {
                seq: next,
                digest: Some(event.digest),
            },
            (None, Some(&event), _) => return (at, End::Broken(event)),
            (None, None, Some(run)) if run.first <= next => At {
                seq: run.last,
                digest: run.last_digest,
            },
            _ => return (at, End::Absent),
        };
    }
}

/// The part of a sorted list from the first one of which `reached` is true.
fn from<T>(list: &[T], reached: impl Fn(&T) -> bool) -> &[T] {
    let at = list.iter().position(reached).unwrap_or(list.len());
    list.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(branch: u8, seq: u64) -> Digest {
        match seq {
            0 => Digest::ZERO,
            seq => Digest::of(&[&[branch], &seq.to_be_bytes()]),
        }
    }

    fn event(branch: u8, seq: u64) -> Held {
        Held {
            seq,
            digest: digest(branch, seq),
            prev: digest(branch, seq - 1),
        }
    }

    fn at(branch: u8, seq: u64) -> At {
        At {
            seq,
            digest: Some(digest(branch, seq)),
        }
    }

    #[test]
    fn a_walk_follows_what_names_the_event_before() {
        let chain: Vec<Held> = (1..=9).map(|seq| event(0, seq)).collect();
        assert_eq!(walk(at(0, 0), &chain, &[]), (at(0, 9), End::Absent));
        assert_eq!(walk(at(0, 4), &chain, &[]), (at(0, 9), End::Absent));
        let with_a_gap: Vec<Held> = chain.iter().copied().filter(|held| held.seq != 6).collect();
        assert_eq!(walk(at(0, 0), &with_a_gap, &[]), (at(0, 5), End::Absent));
    }

    #[test]
    fn no_event_of_another_branch_stands_for_one_that_is_missing() {
        let mut held: Vec<Held> = (1..=4).map(|seq| event(0, seq)).collect();
        // A clone's history: 3 and 4 are other events there, and its 4 has not come.
        held.insert(
            3,
            Held {
                prev: digest(0, 2),
                ..event(1, 3)
            },
        );
        held.push(event(1, 5));
        let broken = End::Broken(event(1, 5));
        assert_eq!(walk(at(0, 0), &held, &[]), (at(0, 4), broken));
        // The branch that came first is followed, and only that.
        assert_eq!(walk(at(0, 2), &held, &[]).0, at(0, 4));
    }

    #[test]
    fn what_was_declared_lost_is_passed_over_to_the_digest_that_was_told() {
        let held: Vec<Held> = [1, 2, 6, 7].map(|seq| event(0, seq)).into();
        let mut lost = Lost {
            first: 3,
            last: 5,
            last_digest: Some(digest(0, 5)),
        };
        assert_eq!(walk(at(0, 0), &held, &[lost]), (at(0, 7), End::Absent));
        lost.last_digest = Some(digest(1, 5));
        let stopped = At {
            seq: 5,
            digest: lost.last_digest,
        };
        assert_eq!(
            walk(at(0, 0), &held, &[lost]),
            (stopped, End::Broken(event(0, 6)))
        );
        lost.last_digest = None;
        assert_eq!(walk(at(0, 0), &held, &[lost]), (at(0, 7), End::Absent));
        let another = Lost {
            first: 8,
            last: 9,
            last_digest: None,
        };
        let end = At {
            seq: 9,
            digest: None,
        };
        assert_eq!(walk(at(0, 0), &held, &[lost, another]), (end, End::Absent));
    }
}
