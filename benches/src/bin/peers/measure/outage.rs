//! A device that was cut off: what its process takes of memory and time while events wait, how soon
//! it is there again after a SIGKILL, and how long it needs once the hub is back.

use std::{thread, time::Duration};

use edge_outbox_benches::process::{Memory, cpu_ms, forget_peak};

use crate::{
    bare::Drain,
    hub::arrivals,
    load::Load,
    measure::{each, first_taken, ground},
    options::Options,
    peer::{BARE, KINDS, Kind},
    report::Sheet,
};

/// Events that go through before the outage, so that every part has worked once.
const WARM_UP: u64 = 100;
/// Loads that end by their number of events.
const FOR_EVER: Duration = Duration::from_secs(1 << 20);
/// Producers that fill it.
const FILLING: usize = 4;

/// Columns that goals are set for.
pub const RATE: &str = "events/s from the first on";
pub const IDLE: &str = "idle, connected";
pub const PENDING: &str = "all pending, after SIGKILL and start";
pub const DRAINING: &str = "at most while draining";
pub const START: &str = "ms to the first event taken";

/// The tables for one size of payload.
#[derive(Default)]
pub struct Tables {
    pub drain: Sheet,
    pub memory: Sheet,
    pub start: Sheet,
}

/// What is measured after another.
enum Run {
    Peer(&'static Kind),
    Bare(&'static str, Drain),
}

impl Run {
    fn name(&self) -> &str {
        match self {
            Self::Peer(kind) => kind.name,
            Self::Bare(name, _) => name,
        }
    }
}

/// All rounds, for one size of payload.
pub fn measure(options: &Options, bytes: usize) -> Tables {
    let events = options.events;
    let mut tables = Tables {
        drain: Sheet::new(format!("{events} events of {bytes} bytes after an outage")),
        memory: Sheet::new(format!(
            "resident memory, MiB, {events} events of {bytes} bytes"
        )),
        start: Sheet::new(format!(
            "start after SIGKILL, {events} events of {bytes} bytes pending"
        )),
    };
    // Each bare client right behind the sink that it is compared with: the machine's speed wanders.
    let beside = |name: &'static str| BARE.iter().filter(move |(_, sink, _)| *sink == name);
    let all = KINDS.iter().flat_map(|kind| {
        let ours = kind.delivers && options.wants(kind.name);
        let bare = beside(kind.name).filter(|(name, ..)| options.wants(name));
        let bare = bare.map(|(name, _, drain)| Run::Bare(name, *drain));
        ours.then_some(Run::Peer(kind)).into_iter().chain(bare)
    });
    let all: Vec<_> = all.collect();
    let at_once = options.at_once(1);
    for round in 0..options.long_rounds {
        for came in each(&all, at_once, Run::name, |run| {
            eprintln!("outage {bytes}: round {round}, {}", run.name());
            let mut tables = Tables::default();
            match run {
                Run::Peer(kind) => tables.outage(options, kind, bytes),
                Run::Bare(name, drain) => {
                    let (_dir, ground) = ground(options);
                    let took = drain(&ground, events, bytes).as_secs_f64();
                    tables.drain.add(name, RATE, events as f64 / took, 0);
                }
            }
            tables
        }) {
            tables.drain.merge(came.drain);
            tables.memory.merge(came.memory);
            tables.start.merge(came.start);
        }
    }
    tables
}

impl Tables {
    fn outage(&mut self, options: &Options, kind: &Kind, bytes: usize) {
        let (name, events) = (kind.name, options.events);
        let load = |producers, first, count| Load {
            producers,
            batch: 1,
            first,
            count,
            time: FOR_EVER,
            bytes,
            remember: false,
        };
        let (_dir, ground) = ground(options);
        let mut peer = (kind.make)(&ground);
        peer.hub().start();
        peer.start();
        let taken = peer.load(&load(1, 0, WARM_UP));
        assert_eq!(taken.failure, None, "{name}");
        let patience = options.limit.max(Duration::from_secs(60));
        let came = arrivals(peer.hub(), 0, WARM_UP, patience, patience);
        assert!(came.count >= WARM_UP, "{name} delivers nothing");
        thread::sleep(options.settle);
        let idle = resident(peer.pid());
        let base = peer.hub().count();
        peer.hub().stop();

        peer.fill(&load(FILLING, WARM_UP, events));
        let full = resident(peer.pid());
        peer.kill();
        peer.launch();
        let start = first_taken(peer.as_mut(), WARM_UP + events, bytes);
        thread::sleep(options.settle);
        let pending = resident(peer.pid());

        forget_peak(peer.pid());
        let before = cpu_ms(peer.pid());
        peer.hub().start();
        let came = arrivals(peer.hub(), base, events + 1, options.quiet, options.limit);
        let spent = cpu_ms(peer.pid()) - before;
        let peak = Memory::of(peer.pid()).most as f64 / 1024.0;

        let flow = came.last.saturating_sub(came.first).as_secs_f64();
        let drain = &mut self.drain;
        drain.add(name, "s until all had arrived", came.last.as_secs_f64(), 1);
        drain.add(name, "s of it to the first", came.first.as_secs_f64(), 1);
        drain.add(name, RATE, (came.count - came.at_first) as f64 / flow, 0);
        drain.add(
            name,
            "process time per 1,000, ms",
            spent / came.count as f64 * 1e3,
            2,
        );
        let all = came.count >= events;
        if !all {
            let note = format!("(only {} arrived)", came.count);
            drain.note(name, "s until all had arrived", note);
        }
        for (column, figure) in [
            (IDLE, idle),
            ("all pending, just taken in", full),
            (PENDING, pending),
            (DRAINING, peak),
        ] {
            self.memory.add(name, column, figure, 1);
            if !all && column != IDLE {
                self.memory.note(name, column, "(not all arrived)");
            }
        }
        self.start.add(name, START, start.as_secs_f64() * 1e3, 1);
        if !all {
            self.start.note(name, START, "(not all arrived)");
        }
    }

    pub fn print(&self) {
        self.drain.print();
        self.memory.print();
        self.start.print();
    }
}

fn resident(pid: u32) -> f64 {
    Memory::of(pid).resident as f64 / 1024.0
}
