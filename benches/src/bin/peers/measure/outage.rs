//! A device that was cut off: what its process takes of memory and time while events wait, how soon
//! it is there again after a SIGKILL, and how long it needs once the hub is back.

use std::{path::Path, thread, time::Duration};

use edge_outbox_benches::{
    page_cache,
    process::{Memory, cpu_ms, forget_peak},
};

use crate::{
    bare::Drain,
    hub::arrivals,
    load::Load,
    measure::{each, first_taken, ground},
    options::Options,
    peer::{BARE, Ground, KINDS, Kind, Peer},
    report::Sheet,
};

/// Events that go through before the outage, so that every part has worked once.
const WARM_UP: u64 = 100;
/// Loads that end by their number of events.
const FOR_EVER: Duration = Duration::from_secs(1 << 20);
/// Producers that fill it.
const FILLING: usize = 4;
/// The part of all events that is pending at the first starts: of a million, more than the 65,536
/// whose ids a start reads.
const FEW: u64 = 10;

/// Columns that goals are set for.
pub const RATE: &str = "events/s from the first on";
pub const IDLE: &str = "idle, connected";
pub const PENDING: &str = "all pending, after SIGKILL and start";
pub const DRAINING: &str = "at most while draining";
/// And one that none is set for.
const TAKEN_IN: &str = "all pending, just taken in";

/// A start after a SIGKILL, and its columns.
pub struct Start {
    /// Whether the system has the store's files in its page cache.
    pub files: &'static str,
    prepare: fn(&Path),
    /// With all events pending.
    pub all: &'static str,
    /// With a tenth of them.
    pub few: &'static str,
}

/// The first one finds the files in the page cache as filling them has left them there.
pub const STARTS: [Start; 2] = [
    Start {
        files: "files cached",
        prepare: |_| {},
        all: "all of them, files cached",
        few: "a tenth, files cached",
    },
    Start {
        files: "files not cached",
        prepare: page_cache::chill,
        all: "all of them, files not cached",
        few: "a tenth, files not cached",
    },
];

impl Start {
    /// Kills the process, starts it again, and gives the milliseconds until it takes an event.
    fn measure(&self, peer: &mut dyn Peer, ground: &Ground, number: u64, bytes: usize) -> f64 {
        peer.kill();
        (self.prepare)(&ground.store);
        peer.launch();
        first_taken(peer, number, bytes).as_secs_f64() * 1e3
    }
}

/// The tables for one size of payload.
#[derive(Default)]
pub struct Tables {
    pub drain: Sheet,
    pub memory: Sheet,
    pub anonymous: Sheet,
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
        anonymous: Sheet::new(format!(
            "of it no file's pages, MiB, {events} events of {bytes} bytes"
        )),
        start: Sheet::new(format!(
            "ms from a start after SIGKILL to the first event taken, {events} events of {bytes} bytes \
             pending"
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
            tables.anonymous.merge(came.anonymous);
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
        let idle = Memory::of(peer.pid());
        let base = peer.hub().count();
        peer.hub().stop();

        let few = events / FEW;
        peer.fill(&load(FILLING, WARM_UP, few));
        let mut next = WARM_UP + few;
        for start in STARTS {
            let took = start.measure(peer.as_mut(), &ground, next, bytes);
            self.start.add(name, start.few, took, 1);
            next += 1;
        }
        let rest = (WARM_UP + events).saturating_sub(next);
        peer.fill(&load(FILLING, next, rest));
        next += rest;
        let full = Memory::of(peer.pid());
        for start in STARTS {
            let took = start.measure(peer.as_mut(), &ground, next, bytes);
            self.start.add(name, start.all, took, 1);
            next += 1;
        }
        let taken = next - WARM_UP;
        // As they were before the last start.
        page_cache::warm(&ground.store);
        thread::sleep(options.settle);
        let pending = Memory::of(peer.pid());

        forget_peak(peer.pid());
        let before = cpu_ms(peer.pid());
        peer.hub().start();
        let came = arrivals(peer.hub(), base, taken, options.quiet, options.limit);
        let spent = cpu_ms(peer.pid()) - before;
        let after = Memory::of(peer.pid());

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
        let all = came.count >= taken;
        if !all {
            let note = format!("(only {} arrived)", came.count);
            drain.note(name, "s until all had arrived", note);
        }
        for (column, resident, anonymous) in [
            (IDLE, idle.resident, Some(idle.anonymous)),
            (TAKEN_IN, full.resident, Some(full.anonymous)),
            (PENDING, pending.resident, Some(pending.anonymous)),
            // The kernel keeps no such maximum of the anonymous ones.
            (DRAINING, after.most, None),
        ] {
            let sheets = [
                (&mut self.memory, Some(resident)),
                (&mut self.anonymous, anonymous),
            ];
            for (sheet, figure) in sheets {
                let Some(figure) = figure else { continue };
                sheet.add(name, column, mib(figure), 1);
                if !all && column != IDLE {
                    sheet.note(name, column, "(not all arrived)");
                }
            }
        }
        if !all {
            for start in STARTS {
                for column in [start.few, start.all] {
                    self.start.note(name, column, "(not all arrived)");
                }
            }
        }
    }

    pub fn print(&self) {
        self.drain.print();
        self.memory.print();
        self.anonymous.print();
        self.start.print();
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
