//! What a report begins with: machine, versions, and the sizes of the programs.

use std::{fs, path::Path, process::Command};

use crate::{
    local::{mosquitto, nats_server},
    options::Options,
    postgres_server,
};

/// Prints it.
pub fn print(options: &Options) {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| {
        let (name, model) = line.split_once(':')?;
        name.starts_with("model name").then(|| model.trim())
    });
    let cores = std::thread::available_parallelism().map_or(0, Into::into);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).unwrap_or_default();
    let gib = memory.parse::<f64>().unwrap_or_default() / f64::from(1 << 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!(
        "Machine: {cores} cores ({}), {gib:.0} GiB, Linux {}, {}.",
        model.unwrap_or("unknown"),
        kernel.trim(),
        file_system(&options.dir)
    );
    println!(
        "Versions: {}; {}; {}; {}; SQLite {}; redb 4.4; {}.",
        version(&options.program, "--version"),
        version(&nats_server(), "--version"),
        version(&mosquitto(), "-h"),
        version(&postgres_server::binary("postgres"), "--version"),
        rusqlite::version(),
        version(Path::new("rustc"), "--version")
    );
    println!();
    println!("| program | bytes |\n| --- | --- |");
    for (name, program) in [
        ("edge-outbox, built for speed", &options.program),
        ("edge-outbox, as it is packaged", &options.packaged),
        ("nats-server", &nats_server()),
        ("mosquitto", &mosquitto()),
    ] {
        let bytes = fs::metadata(program).map_or(0, |file| file.len());
        println!("| {name} | {bytes} |");
    }
    println!();
}

/// The first line of what it says of itself; mosquitto says it with an error.
fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let said = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap_or("unknown").trim().to_owned()
}

fn file_system(dir: &Path) -> String {
    let output = Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(dir)
        .output();
    let kind = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    String::from_utf8_lossy(&kind).trim().to_owned()
}
