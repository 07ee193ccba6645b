//! A school's devices come back at the same moment, each with what it took in while it was away, to
//! one broker: how many connections the broker sees, how long it takes, and what it costs the broker.
//!
//! The devices are real journals and forwarders, all in this process; the broker is another one on
//! the same machine. `--help` names the options.

mod broker;
mod come_back;
mod fleet;
mod options;
mod report;
mod way;

use std::process::ExitCode;

use fleet::Fleet;
use options::{HELP, Options};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => return give_up(&wrong),
    };
    let most = options.devices.iter().copied().max().unwrap_or(0);
    if let Err(wrong) = fleet::raise_open_files(most) {
        return give_up(&wrong);
    }
    let dir = tempfile::tempdir_in(&options.dir).expect("a directory");
    let fleet = Fleet::open(&dir.path().join("devices"), most, options.events);
    let mut outcomes = Vec::new();
    for kind in &options.brokers {
        report::head(*kind, options.events);
        for way in &options.ways {
            for count in &options.devices {
                let outcome = come_back::measure(fleet.first(*count), *kind, way, dir.path());
                report::row(way, options.events, &outcome);
                outcomes.push((*kind, *way, outcome));
            }
        }
        println!();
    }
    println!("{}", fleet.memory());
    fleet.close();
    if let Some(plot) = &options.plot {
        std::fs::write(plot, report::plot(&outcomes)).expect("the plot is written");
    }
    ExitCode::SUCCESS
}

fn give_up(wrong: &str) -> ExitCode {
    eprintln!("fleet: {wrong}");
    ExitCode::FAILURE
}
