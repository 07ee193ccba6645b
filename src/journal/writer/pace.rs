//! How long a commit waits for the producers that are on their way to it.

use std::{
    thread,
    time::{Duration, Instant},
};

/// One that took longer is waited after as if it had taken so long: its disk was busy, and need not be
/// any more.
const USUAL_COMMIT: Duration = Duration::from_millis(100);

/// What the last commit was like.
#[derive(Clone, Copy, Default)]
pub(super) struct Pace {
    /// How many producers it answered, and how much was asked for meanwhile: by producers, as a rule.
    pub(super) asking: usize,
    pub(super) took: Duration,
}

impl Pace {
    pub(super) fn gathering(self) -> Gathering {
        let took = self.took.min(USUAL_COMMIT);
        Gathering {
            wanted: self.asking,
            pause: took / 8,
            until: Instant::now() + took / 2,
            waited: false,
        }
    }
}

/// A commit waits for the producers that were answered with the one before, and for those that asked
/// meanwhile: as long as they come, for half a commit's time at most. Without it the first to come
/// back pays for a commit alone and the others wait for the next: with 64 producers, twice as many
/// commits for as many events. What has come is staged meanwhile. A producer that is alone never waits.
pub(super) struct Gathering {
    wanted: usize,
    /// Nobody has come for so long: nobody will.
    pause: Duration,
    until: Instant,
    pub(super) waited: bool,
}

impl Gathering {
    /// Gives way to the producers until there is something to `take`, they are all there, or the
    /// time is over.
    pub(super) fn wait<T>(
        &mut self,
        taken: usize,
        mut take: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let begin = Instant::now();
        while taken < self.wanted {
            self.waited = true;
            thread::yield_now();
            if let some @ Some(_) = take() {
                return some;
            }
            let now = Instant::now();
            if now > self.until || now - begin > self.pause {
                break;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Pace = Pace {
        asking: 3,
        took: USUAL_COMMIT,
    };

    #[test]
    fn it_waits_for_those_who_asked_and_for_no_more() {
        let mut gathering = LONG.gathering();
        let mut asked = 0;
        let mut come = |taken| {
            gathering.wait(taken, || {
                asked += 1;
                Some(asked)
            })
        };
        assert_eq!([come(1), come(2), come(3)], [Some(1), Some(2), None]);
        assert!(gathering.waited);
    }

    #[test]
    fn who_is_alone_does_not_wait() {
        let alone = Pace { asking: 1, ..LONG };
        let mut gathering = alone.gathering();
        let come = gathering.wait(1, || -> Option<()> { panic!("nobody is waited for") });
        assert!(come.is_none() && !gathering.waited);
    }

    #[test]
    fn who_does_not_come_is_not_waited_for_for_ever() {
        let mut gathering = LONG.gathering();
        let mut last = Instant::now();
        // One every 6 ms would hold it for ever if the pause were all.
        let mut taken = 0;
        while let Some(()) = gathering.wait(taken % 3, || {
            let comes = last.elapsed() > USUAL_COMMIT / 16;
            comes.then(|| last = Instant::now())
        }) {
            taken += 1;
            assert!(taken < 1_000, "it never ends");
        }
        assert!(gathering.waited);
    }

    #[test]
    fn where_nobody_comes_it_waits_for_a_pause() {
        let begin = Instant::now();
        let hour = Duration::from_secs(3_600);
        let mut gathering = Gathering {
            wanted: 1,
            pause: Duration::from_millis(1),
            until: begin + hour,
            waited: false,
        };
        let nobody = gathering.wait(0, || -> Option<()> {
            assert!(begin.elapsed() < hour / 60, "it goes on");
            None
        });
        assert!(nobody.is_none() && gathering.waited);
    }
}
