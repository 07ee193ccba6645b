//! edge-outbox beside what a device would have otherwise: a NATS leaf node, a bridge of mosquitto, a
//! table in SQLite with a relay, and what the disk and the bare clients allow.
//!
//! All of a kind take turns within a round, so a machine that slows down slows all of them: ratios
//! are within one run. Each figure is the median of the rounds (least–greatest). `--help` says what
//! can be chosen.

mod bare;
mod bridge;
mod goals;
mod hub;
mod leaf;
mod library;
mod limits;
mod load;
mod local;
mod machine;
mod measure;
mod options;
mod outbox;
mod peer;
#[path = "../../../../tests/support/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod postgres_server;
mod report;
mod role;
#[path = "../../../../tests/support/server_process.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server_process;
mod sqlite;
mod volume;

use std::{process::ExitCode, time::Instant};

use edge_outbox_benches::PAYLOAD_BYTES;
use goals::Measured;
use options::{HELP, Options};
use peer::{BARE, KINDS};
use volume::Volume;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && role == role::ARGUMENT
    {
        play(&rest.iter().map(String::as_str).collect::<Vec<_>>());
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments.into_iter()) {
        Ok(Some(options)) => return run(&options),
        Ok(None) => {
            println!("{HELP}");
            list();
        }
        Err(wrong) => {
            eprintln!("peers: {wrong}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What this program does when it has started itself.
fn play(role: &[&str]) {
    match *role {
        [library::ROLE, dir] => library::run(dir),
        [sqlite::ROLE, dir, port, poll] => sqlite::run(dir, port, poll),
        [name, dir] if limits::ROLES.contains(&name) => limits::run(name, dir),
        _ => panic!("no such role: {role:?}"),
    }
}

fn list() {
    println!("| peer | |\n| --- | --- |");
    for kind in KINDS {
        println!("| {} | {} |", kind.name, kind.what);
    }
    for (name, ..) in BARE {
        println!("| {name} | limit: the client alone, with the same envelopes from memory |");
    }
    println!();
}

fn run(options: &Options) -> ExitCode {
    let begun = Instant::now();
    for program in [&options.program, &options.packaged] {
        assert!(
            program.is_file(),
            "no program at {}: --help says how it is built",
            program.display()
        );
    }
    machine::print(options);
    list();
    let volume = Volume::possible();
    if !volume {
        eprintln!("wear and loss are left out: they need root, for a file system of their own");
    }
    let measures = |name, possible| (possible && options.measures(name)).then_some(());
    let mut all = Vec::new();
    for &bytes in &options.bytes {
        let (_dir, ground) = measure::ground(options);
        let measured = Measured {
            append: measures("append", true).map(|()| measure::append::measure(options, bytes)),
            outage: measures("outage", true).map(|()| measure::outage::measure(options, bytes)),
            wear: measures("wear", volume).map(|()| measure::wear::measure(options, bytes)),
            envelope: bare::envelope_bytes(&ground, bytes),
        };
        measured.print();
        all.push((bytes, measured));
    }
    // It does not depend on how large they are.
    let bytes = options.bytes.first().copied().unwrap_or(PAYLOAD_BYTES);
    let loss = measures("loss", volume).map(|()| measure::loss::measure(options, bytes));
    if let Some(loss) = &loss {
        loss.print();
    }
    for (bytes, measured) in &all {
        goals::print(*bytes, measured, loss.as_ref());
    }
    println!("It took {} s.", begun.elapsed().as_secs());
    let failed = measure::failed();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\n**Failed, and in no figure:** {}.", failed.join(", "));
    ExitCode::FAILURE
}
