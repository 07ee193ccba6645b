//! What is measured.

pub mod append;
pub mod loss;
pub mod outage;
pub mod wear;

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use crate::{
    load::Load,
    options::Options,
    peer::{Ground, KINDS, Kind, Peer},
};

/// Runs that ended in a panic.
static FAILED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// An event that nobody takes for so long will not be taken.
const PATIENCE: Duration = Duration::from_secs(120);

/// Hands one event over as soon as the process that was launched takes it, and says how long that
/// took.
fn first_taken(peer: &mut dyn Peer, number: u64, bytes: usize) -> Duration {
    let begun = Instant::now();
    while peer.load(&Load::one(number, bytes)).failure.is_some() {
        assert!(begun.elapsed() < PATIENCE, "it takes nothing");
        thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

/// Runs something for each of these, so many at once, and gives what came of it. One that fails takes
/// only its own figures with it.
fn each<I: Sync, T: Send>(
    items: &[I],
    at_once: usize,
    name: impl Fn(&I) -> &str,
    run: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    let mut all = Vec::new();
    for some in items.chunks(at_once) {
        thread::scope(|scope| {
            let run = &run;
            let start = |item| (name(item), scope.spawn(move || run(item)));
            let started: Vec<_> = some.iter().map(start).collect();
            for (name, running) in started {
                match running.join() {
                    Ok(came) => all.push(came),
                    Err(_) => {
                        eprintln!("{name} failed; its figures of this round are missing");
                        FAILED.lock().expect("no panic").push(name.to_owned());
                    }
                }
            }
        });
    }
    all
}

/// Whose figures of a round are missing, once for each.
pub fn failed() -> Vec<String> {
    FAILED.lock().expect("no panic").clone()
}

/// The peers that are wanted and of which this is to be measured.
fn wanted(options: &Options, of: impl Fn(&Kind) -> bool) -> Vec<&'static Kind> {
    let kinds = KINDS.iter().filter(|kind| of(kind));
    kinds.filter(|kind| options.wants(kind.name)).collect()
}

/// A directory for one figure, and where a peer may write in it.
pub fn ground(options: &Options) -> (tempfile::TempDir, Ground) {
    let dir = tempfile::tempdir_in(&options.dir).expect("a directory");
    let ground = Ground::within(dir.path(), options);
    (dir, ground)
}
