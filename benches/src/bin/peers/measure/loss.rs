//! What is lost and what arrives twice when the device's process is killed, or its power is cut,
//! while producers are at work.
//!
//! Lost is an event that was acknowledged and never arrived, of those before the cut and of those
//! after the restart.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    load::{Load, Taken},
    local::{freeze, signal},
    measure::{each, first_taken, ground, wanted},
    options::Options,
    peer::{Ground, Kind, Peer},
    report::Sheet,
    volume::Volume,
};

/// Peers that are tried at the same time.
const AT_ONCE: usize = 4;
/// Producers before the cut.
const PRODUCERS: usize = 16;
/// Events after the restart.
const AFTERWARDS: u64 = 100;
/// Their first number, beyond those before.
const LATER: u64 = 1 << 32;
/// How often the hub is asked.
const POLL: Duration = Duration::from_millis(200);

/// What ends the process.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    Cut,
}

/// What is tried: the name of its columns, what ends the process, and whether the hub is there.
const CASES: [(&str, End, bool); 3] = [
    ("SIGKILL", End::Kill, true),
    ("power cut", End::Cut, true),
    ("power cut, hub away", End::Cut, false),
];

/// All rounds.
pub fn measure(options: &Options, bytes: usize) -> Sheet {
    let rounds = options.long_rounds;
    let mut sheet = Sheet::new(format!("events, sums of {rounds} rounds"));
    let kinds = wanted(options, |kind| kind.delivers && kind.writes);
    for round in 0..rounds {
        for case in CASES {
            // Counts do not depend on who else is at work.
            let at_once = options.at_once(AT_ONCE);
            for came in each(
                &kinds,
                at_once,
                |kind| kind.name,
                |kind| {
                    eprintln!("loss: round {round}, {}, {}", case.0, kind.name);
                    one(options, kind, bytes, case)
                },
            ) {
                sheet.merge(came);
            }
        }
    }
    sheet
}

fn one(
    options: &Options,
    kind: &Kind,
    bytes: usize,
    (case, end, online): (&str, End, bool),
) -> Sheet {
    let (dir, ground) = ground(options);
    let volume = Volume::new(dir.path());
    let ground = Ground {
        store: volume.path().to_owned(),
        ..ground
    };
    let mut peer = (kind.make)(&ground);
    let load = |producers, first, count| Load {
        producers,
        batch: 1,
        first,
        count,
        time: options.before_cut * 2,
        bytes,
        remember: true,
    };
    peer.hub().start();
    peer.start();
    let mut acknowledged = Vec::new();
    let mut take = |taken: Taken| {
        let numbers = taken.acknowledged.into_iter().flatten();
        acknowledged.extend(numbers);
    };
    take(peer.load(&load(1, 0, 1)));
    // The way to the hub is open once it has come.
    until(options.limit.max(Duration::from_secs(60)), || {
        peer.hub().count() > 0
    });
    // The device was set up long ago.
    volume.sync();
    if !online {
        peer.hub().stop();
    }

    let pid = peer.pid();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(options.before_cut);
            if end == End::Cut {
                // What it has said until now was said before the cut.
                freeze(pid);
                volume.cut();
            }
            signal(pid, Signal::KILL);
        });
        take(peer.load(&load(PRODUCERS, 1, LATER / 2)));
    });
    peer.kill();
    if end == End::Cut {
        volume.restore();
    }
    peer.start();
    first_taken(peer.as_mut(), LATER - 1, bytes);
    take(peer.load(&load(1, LATER, AFTERWARDS)));
    if !online {
        peer.hub().start();
    }
    let settled = settled(peer.as_mut(), options, &acknowledged);

    let mut times: HashMap<u64, u64> = HashMap::new();
    for number in settled.numbers {
        *times.entry(number).or_default() += 1;
    }
    let lost = acknowledged
        .iter()
        .filter(|number| !times.contains_key(number));
    let repeated: u64 = times.values().map(|times| times - 1).sum();
    let mut sheet = Sheet::default();
    sheet.count(
        kind.name,
        &format!("{case}: acknowledged"),
        acknowledged.len() as u64,
    );
    let column = format!("{case}: lost");
    sheet.count(kind.name, &column, lost.count() as u64);
    if settled.given_up {
        // Some of them may have been on their way.
        let note = format!("(given up after {} s)", options.limit.as_secs());
        sheet.note(kind.name, &column, note);
    }
    sheet.count(kind.name, &format!("{case}: repeated"), repeated);
    // Its files are on the volume.
    drop(peer);
    sheet
}

/// What has arrived once nothing comes any more.
struct Settled {
    numbers: Vec<u64>,
    /// The time was up before that was sure.
    given_up: bool,
}

/// A look at what has arrived.
struct Look {
    numbers: Vec<u64>,
    /// All that was acknowledged is there.
    all: bool,
    /// Something from after the restart is: the peer has found its way to the hub again.
    back: bool,
}

impl Look {
    fn at(numbers: Vec<u64>, acknowledged: &[u64]) -> Self {
        let there: HashSet<_> = numbers.iter().collect();
        let all = acknowledged.iter().all(|number| there.contains(number));
        let back = numbers.iter().any(|number| *number >= LATER - 1);
        Self { numbers, all, back }
    }
}

/// Waits until all that was acknowledged has arrived and then nothing more for a while; or until
/// something from after the restart has, and then nothing for longer than any peer pauses. How many
/// have arrived tells neither: repeats and events that are not the program's are among them.
fn settled(peer: &mut dyn Peer, options: &Options, acknowledged: &[u64]) -> Settled {
    let begun = Instant::now();
    let (mut count, mut since) = (peer.hub().count(), begun);
    // It reads all of them, so one look is enough until something comes.
    let mut look: Option<Look> = None;
    loop {
        thread::sleep(POLL);
        let now = peer.hub().count();
        if now != count {
            (count, since, look) = (now, Instant::now(), None);
        }
        let (quiet, late) = (since.elapsed(), begun.elapsed() > options.limit);
        if quiet <= options.quiet && !late {
            continue;
        }
        let look = look.get_or_insert_with(|| Look::at(peer.hub().numbers(), acknowledged));
        let settled =
            (look.all && quiet > options.quiet) || (look.back && quiet > options.patience);
        if settled || late {
            return Settled {
                numbers: std::mem::take(&mut look.numbers),
                given_up: !settled,
            };
        }
    }
}

fn until(limit: Duration, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < limit, "nothing arrives");
        thread::sleep(POLL);
    }
}
