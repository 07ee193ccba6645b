//! Acknowledged appends a second, how long each waits, and the processor time for them. The hub is
//! away. How durable an acknowledgement is, the losses say.

use edge_outbox_benches::process::cpu_ms;

use crate::{
    load::Load,
    measure::{each, ground, wanted},
    options::Options,
    report::Sheet,
};

/// Producers whose processor time is shown.
const TYPICAL: usize = 64;

/// The tables for one size of payload.
pub struct Tables {
    pub rates: Sheet,
    pub waits: Vec<(usize, Sheet)>,
    pub cpu: Sheet,
    bytes: usize,
}

/// All rounds, for one size of payload.
pub fn measure(options: &Options, bytes: usize) -> Tables {
    let mut tables = Tables {
        rates: Sheet::new(format!("acknowledged appends/s, {bytes} bytes")),
        waits: Vec::new(),
        cpu: Sheet::new(format!(
            "process time per 1,000 events, ms, {bytes} bytes, {TYPICAL} producers (library, SQLite and \
             the limits: with their producers)"
        )),
        bytes,
    };
    let kinds = wanted(options, |kind| kind.appends.is_some());
    for round in 0..options.rounds {
        for producers in [1, 16, 64, 1024] {
            for (name, taken, spent) in each(
                &kinds,
                1,
                |kind| kind.name,
                |kind| {
                    let (with, batch) = kind.appends?;
                    if !with.contains(&producers) {
                        return None;
                    }
                    let name = kind.name;
                    eprintln!("append {bytes}: round {round}, {producers} producers, {name}");
                    let load = |first, time| Load {
                        producers,
                        batch,
                        first,
                        count: u64::MAX / 2,
                        time,
                        bytes,
                        remember: false,
                    };
                    let (_dir, ground) = ground(options);
                    let mut peer = (kind.make)(&ground);
                    peer.start();
                    // The first ones open tables and connections.
                    peer.load(&load(0, options.time / 10));
                    let before = cpu_ms(peer.pid());
                    let taken = peer.load(&load(1 << 32, options.time));
                    let spent = cpu_ms(peer.pid()) - before;
                    Some((name, taken, spent))
                },
            )
            .into_iter()
            .flatten()
            {
                tables.add(name, producers, &taken, spent);
            }
        }
    }
    tables
}

/// The name of a column.
pub fn column(producers: usize) -> String {
    match producers {
        1 => "1 producer".into(),
        _ => format!("{producers} producers"),
    }
}

impl Tables {
    fn add(&mut self, name: &str, producers: usize, taken: &crate::load::Taken, cpu: f64) {
        let column = column(producers);
        self.rates.add(name, &column, taken.rate(), 0);
        if let Some(failure) = &taken.failure {
            eprintln!("{name}: {failure}");
            self.rates.note(name, &column, "(failed)");
        }
        if !self.waits.iter().any(|(known, _)| *known == producers) {
            let title = format!("a request's wait in ms, {column}, {} bytes", self.bytes);
            self.waits.push((producers, Sheet::new(title)));
        }
        let waits = self
            .waits
            .iter_mut()
            .filter(|(known, _)| *known == producers);
        for (_, sheet) in waits {
            for (column, wait) in ["p50", "p99", "p99.9"].iter().zip(taken.waits) {
                sheet.add(name, column, wait / 1e3, 2);
            }
        }
        if producers == TYPICAL {
            let events = taken.count as f64 / 1e3;
            self.cpu.add(name, "to take them in", cpu / events, 2);
        }
    }

    /// The table of waits with so many producers.
    pub fn wait(&self, producers: usize) -> Option<&Sheet> {
        let mut waits = self.waits.iter();
        waits.find_map(|(known, sheet)| (*known == producers).then_some(sheet))
    }

    pub fn print(&self) {
        self.rates.print();
        for (_, sheet) in &self.waits {
            sheet.print();
        }
        self.cpu.print();
    }
}
