//! What is measured.

pub mod append;
pub mod loss;
pub mod outage;
pub mod wear;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    load::Load,
    peer::{Ground, Peer},
};

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

/// A directory for one figure, and where a peer may write in it.
pub fn ground(dir: &Path, program: &Path) -> (tempfile::TempDir, Ground) {
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let ground = Ground::within(dir.path(), program);
    (dir, ground)
}
