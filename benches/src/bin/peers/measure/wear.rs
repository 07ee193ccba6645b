//! Bytes written to the device for an event: the store has a file system of its own, and what that
//! was given to write counts, its journal included.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    hub::arrivals,
    load::Load,
    measure::{each, ground, wanted},
    options::Options,
    peer::{Ground, Kind},
    report::Sheet,
    volume::Volume,
};

/// Columns that goals are set for.
pub const ONLINE: &str = "one a second, online";
pub const FULL_SPEED: &str = "at full speed, hub away";

/// Events that go through before anything is counted.
const WARM_UP: u64 = 100;
/// Peers that are measured at the same time.
const AT_ONCE: usize = 4;
/// Producers at full speed.
const PRODUCERS: usize = 64;

/// Whoever works at full speed has it.
static FULL_SPEED_TURN: Mutex<()> = Mutex::new(());

/// All rounds, for one size of payload.
pub fn measure(options: &Options, bytes: usize) -> Sheet {
    let title = format!("bytes written per event, {bytes} bytes of payload");
    let mut sheet = Sheet::new(title);
    let kinds = wanted(options, |kind| kind.writes);
    for round in 0..options.long_rounds {
        // One event a second leaves room for others; at full speed each has its turn.
        let at_once = options.at_once(AT_ONCE);
        for came in each(
            &kinds,
            at_once,
            |kind| kind.name,
            |kind| {
                eprintln!("wear {bytes}: round {round}, {}", kind.name);
                one(options, kind, bytes)
            },
        ) {
            sheet.merge(came);
        }
    }
    sheet
}

fn one(options: &Options, kind: &Kind, bytes: usize) -> Sheet {
    let mut sheet = Sheet::default();
    let (dir, ground) = ground(options);
    let volume = Volume::new(dir.path());
    let ground = Ground {
        store: volume.path().to_owned(),
        ..ground
    };
    let mut peer = (kind.make)(&ground);
    let load = |producers, first, count, time| Load {
        producers,
        batch: 1,
        first,
        count,
        time,
        bytes,
        remember: false,
    };
    peer.hub().start();
    peer.start();
    peer.load(&load(1, 0, WARM_UP, options.limit));
    let patience = options.limit.max(Duration::from_secs(60));
    if kind.delivers {
        let came = arrivals(peer.hub(), 0, WARM_UP, patience, patience);
        assert!(came.count >= WARM_UP, "{} delivers nothing", kind.name);
    }
    thread::sleep(options.settle);

    let before = volume.written();
    let begun = Instant::now();
    for event in 0..options.paced {
        let due = begun + Duration::from_secs(event);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        peer.load(&Load::one(WARM_UP + event, bytes));
    }
    thread::sleep(Duration::from_secs(1));
    let online = (volume.written() - before) as f64 / options.paced as f64;
    sheet.add(kind.name, ONLINE, online, 0);

    let base = peer.hub().count();
    if kind.delivers {
        peer.hub().stop();
    }
    // How many events a commit holds depends on who else is at work.
    let alone = FULL_SPEED_TURN
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let before = volume.written();
    let first = WARM_UP + options.paced;
    let taken = peer.load(&load(PRODUCERS, first, options.written, options.limit));
    let written = (volume.written() - before) as f64 / taken.count as f64;
    sheet.add(kind.name, FULL_SPEED, written, 0);
    if taken.count < options.written {
        let note = format!(
            "({} events in {:.0} s)",
            taken.count,
            taken.took.as_secs_f64()
        );
        sheet.note(kind.name, FULL_SPEED, note);
    }

    if kind.delivers {
        let before = volume.written();
        peer.hub().start();
        let came = arrivals(peer.hub(), base, taken.count, options.quiet, options.limit);
        let written = (volume.written() - before) as f64 / came.count as f64;
        sheet.add(kind.name, "to drain them", written, 0);
    }
    drop(alone);
    // Its files are on the volume.
    drop(peer);
    sheet
}
