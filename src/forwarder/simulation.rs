//! Simulated power loss: journal, cursors and delivery over a disk that fails on purpose and a
//! network that loses what it carries, replayed from a seed.
//!
//! The cores are the real ones: [`crate::journal`]'s over
//! [`crate::journal::tests::storage::FaultyStorage`], whose module says what a disk may do, and
//! [`super::delivery::Delivery`] for each sink. What is made up is what surrounds them: the
//! programs and the order in which everything happens (`run`), the other side of each sink
//! (`far_side`), the hub behind some of them (`hub`), and the shell of each task (`port`, `listener`).
//! `truth` is what the world was told.
//!
//! # What is tried
//!
//! Requests of one to many events, staged together or alone; a program's transactions, kept and
//! rolled back; the same again after an unknown outcome, known ids with other content; a journal
//! that is full and refuses, or gives up its oldest events; trimming; dead letters that are sent
//! once more or taken off the list; persons that are erased, by order or by an event that asks for
//! it, and a file that is compacted; sinks that come, go and are forgotten; lines that are cut with
//! parcels and answers on them, answers in any order, refusals of one event, for now and for good;
//! streams that are made anew; a key that is changed, which begins an epoch; clean ends, kills, power
//! cuts, and every fault of the disk.
//!
//! Two of the sinks lead to a hub, and its receipts alone confirm what they have. Their broker loses
//! its storage at times, the hub loses some of what it is brought, sets some aside, and is restored
//! from a copy of itself or begins anew. Its receipts are late and come again long after; others are
//! forged, of another device, of an epoch that never was, or of another history. What follows from
//! them is decided by the real [`super::account::Account`].
//!
//! In scenarios of their own (`set_back`), a card is set back to an earlier image of itself, and
//! what it has appended since is taken into a new epoch.
//!
//! At every call that could change the disk, the power is also cut in a copy of it; of the
//! hundreds that an erasure or a compaction makes, at some. The copy recovers, at some of the
//! calls of that recovery the power is cut again, and in that one's too.
//!
//! # What has to hold, after each recovery and each commit
//!
//! - Every event that was acknowledged is there, as it was, under its seq; it reached each sink
//!   whose cursor passed it and each that it was kept for, or the ledger says why not.
//! - What was given up for want of room, is a dead letter no longer, or was erased, is named by
//!   the ledger in the same commit; nobody's event is erased whom nobody asked to erase.
//! - A dead letter that leaves once more is in doubt by a durable claim of its own, behind which
//!   every copy of it lies; it counts as delivered only where it arrived.
//! - Once an erasure is through, the chain verifies, and no payload of that person is anywhere in
//!   the file, as programs see it and as the medium holds it. Compacting changes nothing.
//! - A request, and a transaction with its rows, is there whole or not at all; what was rolled
//!   back is not; nothing is there twice, and nothing that was not durable comes back.
//! - An event that asks for an erasure and what comes of it are there together; it is itself erased
//!   once every required sink has it, and by itself no sooner.
//! - `confirmed ≤ acked ≤ claimed ≤ tail`, and a claim is within its window; no cursor goes back;
//!   nothing left beyond a claim.
//! - Everything held is one signed chain, and no two events have one epoch and seq.
//! - With a hub, `confirmed` never passes what its receipts cover in the life that is believed, and
//!   nothing is trimmed that they did not cover, unless the ledger says why.
//! - What a hub misses is sent again, marked, and not before it was asked for twice.
//! - A repeat is marked, nothing else is, and nothing is sent again that was settled. A stream that
//!   can be read back holds nothing twice.
//! - Nothing that the disk did is taken for damage, or for a reason to begin an epoch; another key is
//!   one.
//! - When faults stop, everything is delivered in a bounded number of steps, and every hub has it,
//!   but for what the ledger names.
//!
//! # Running it
//!
//! The ordinary tests play a few seeds. `tests/simulate` plays until so many crash points were
//! tried, and prints the figures. A failure prints its seed and what happened;
//! `EDGE_OUTBOX_SIM_SEED` plays that one again.

mod dice;
mod far_side;
mod history;
mod hub;
mod listener;
mod operation;
mod port;
mod run;
mod set_back;
mod site;
mod tally;
mod truth;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use self::{
    history::take_history,
    run::{Effort, Run},
    set_back::SetBack,
    tally::Tally,
};

/// Plays this seed alone.
const SEED: &str = "EDGE_OUTBOX_SIM_SEED";

/// How many crash points the long run tries at least.
const POINTS: &str = "EDGE_OUTBOX_SIM_POINTS";
const DEFAULT_POINTS: u64 = 100_000;

/// After so many of them a line is printed.
const TELL_EVERY: u64 = 10_000;

/// The first seed of the long run, so that another one tries others.
const FIRST: &str = "EDGE_OUTBOX_SIM_FIRST";

/// How thorough a run is, where it is to be another one's: see [`Effort`].
const OPERATIONS: &str = "EDGE_OUTBOX_SIM_OPERATIONS";
const EVERY: &str = "EDGE_OUTBOX_SIM_EVERY";

/// Of the ordinary tests.
const SHORT: Effort = Effort {
    operations: 120,
    probe_every: 72,
};
const SHORT_SEEDS: u64 = 24;

/// Of the long run.
const LONG: Effort = Effort {
    operations: 300,
    probe_every: 32,
};

/// Cards that are set back for each run: these are short.
const SCENARIOS: u64 = 4;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

/// Plays one seed; where a promise is broken, prints how it came to that and how to see it again.
fn play(seed: u64, effort: Effort) -> Tally {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut tally = Run::new(seed, effort).play();
        for scenario in 0..SCENARIOS {
            tally += SetBack::new(seed * SCENARIOS + scenario, effort).play();
        }
        tally
    }));
    played.unwrap_or_else(|panic| {
        let history = take_history().join("\n");
        let Effort {
            operations,
            probe_every,
        } = effort;
        eprintln!(
            "{history}\n\nseed {seed}; again: {SEED}={seed} {OPERATIONS}={operations} \
             {EVERY}={probe_every} tests/simulate"
        );
        resume_unwind(panic)
    })
}

/// Plays seeds from `first` on, on every core, until `enough` says so.
fn play_many(first: u64, effort: Effort, enough: impl Fn(u64, &Tally) -> bool + Sync) -> Tally {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Tally::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // A seed that failed has poisoned it: the others stop too.
            match sum.lock() {
                Ok(sum) if !enough(seed - first, &sum) => {}
                _ => return,
            }
            let played = catch_unwind(|| play(seed, effort));
            let Ok(mut sum) = sum.lock() else { return };
            match played {
                Ok(tally) => *sum += tally,
                Err(panic) => resume_unwind(panic),
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    sum.into_inner().unwrap()
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_everything_is_delivered() {
    let tally = play_many(1, SHORT, |played, _| played >= SHORT_SEEDS);
    println!("{tally:?}");
    assert!(tally.crash_points > 1_000, "{tally:?}");
    assert!(tally.in_recovery > 100, "{tally:?}");
    assert!(tally.reopened > 5 && tally.kills > 2, "{tally:?}");
    assert!(tally.acknowledged > 500 && tally.handed > 500, "{tally:?}");
    assert!(tally.dropped > 0 && tally.discarded > 0, "{tally:?}");
    assert!(tally.sent_late > 0 && tally.delivered_late > 0, "{tally:?}");
    assert!(tally.erased > 0 && tally.scrubbed > 0, "{tally:?}");
    assert!(tally.compacted > 0 && tally.taken_back > 0, "{tally:?}");
    assert!(tally.lives > 3 && tally.sent_again > 0, "{tally:?}");
}

#[test]
fn a_seed_plays_the_same_again() {
    let history = |seed| {
        Run::new(seed, SHORT).play();
        take_history()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

/// See `tests/simulate`.
#[test]
#[ignore = "takes minutes: tests/simulate"]
fn power_cuts_without_end() {
    let effort = Effort {
        operations: number(OPERATIONS).unwrap_or(LONG.operations),
        probe_every: number(EVERY).unwrap_or(LONG.probe_every),
    };
    if let Some(seed) = number(SEED) {
        println!("seed {seed}: {:?}", play(seed, effort));
        return;
    }
    let points = number(POINTS).unwrap_or(DEFAULT_POINTS);
    let begin = Instant::now();
    let played = AtomicU64::new(0);
    let told = AtomicU64::new(0);
    let tally = play_many(number(FIRST).unwrap_or(1), effort, |seeds, tally| {
        played.store(seeds, Ordering::Relaxed);
        let so_far = tally.crash_points / TELL_EVERY;
        if told.fetch_max(so_far, Ordering::Relaxed) < so_far {
            println!("{} crash points over {seeds} seeds", tally.crash_points);
        }
        tally.crash_points >= points
    });
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{} crash points over {} seeds in {seconds:.0} s ({:.0} a second), 0 violations: {tally:?}",
        tally.crash_points,
        played.load(Ordering::Relaxed),
        tally.crash_points as f64 / seconds,
    );
    assert!(tally.crash_points >= points);
}
