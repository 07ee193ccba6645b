//! What one device costs, by how many events its journal holds: appends, start-up, disk, memory, reads.
//!
//! The journal grows from one size to the next. At each size the measured process is another one,
//! killed (SIGKILL) in the middle of an append each time, so every start is one after a crash.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use edge_outbox::{Outbox, Seq};
use edge_outbox_benches::{
    PAYLOAD_BYTES, Spread,
    backlog::runtime,
    classroom::{Class, event},
    per_second,
    plot::Panel,
    plot::figure,
    process::{Memory, written_bytes},
};

const HELP: &str = "\
What one device costs, by how many events its journal holds, as a table in Markdown.

    cargo run --release --manifest-path benches/Cargo.toml --bin scale [-- OPTIONS]

    --events N,…   events in the journal, ascending (10000,100000,1000000)
    --rounds N     starts of each size (5)
    --dir PATH     where it is (the directory for temporary files); a million events take 0.4 GiB
    --plot PATH    a picture of the table, as SVG
";

/// Events appended at once to fill the journal.
const BATCH: u64 = 1_000;
/// Appends of one event that are measured after each start.
const APPENDS: usize = 300;
/// What this program is told so that it is the measured process.
const ROLE: &str = "measured";
/// And what besides, so that it reads everything, too.
const READS: &str = "and-reads";

struct Options {
    events: Vec<u64>,
    rounds: usize,
    dir: PathBuf,
    plot: Option<PathBuf>,
}

/// What a journal of one size costs.
struct Row {
    events: u64,
    append_us: Spread,
    append_bytes: f64,
    start_ms: Spread,
    start_mib: f64,
    bytes_an_event: f64,
    fill: f64,
    read: f64,
    read_mib: f64,
}

fn open(dir: &Path) -> Outbox {
    let outbox = Outbox::builder(dir).max_bytes(1 << 40).open();
    outbox.expect("it opens")
}

/// Fills the journal up to so many events; gives how many a second.
fn fill(dir: &Path, events: u64) -> f64 {
    let outbox = open(dir);
    let held = outbox.status().borrow().tail.get();
    let class = Class::new(PAYLOAD_BYTES);
    let begun = Instant::now();
    for first in (held..events).step_by(BATCH as usize) {
        let batch = first..events.min(first + BATCH);
        let batch = batch.map(|number| class.event(number)).collect();
        outbox.blocking().append_batch(batch).expect("taken");
    }
    let rate = per_second(events - held.min(events), begun.elapsed());
    outbox.blocking().close();
    rate
}

/// The measured process: says on standard output what it found, one figure a line, and goes on
/// appending until it is killed.
fn measured(dir: &Path, reads: bool) {
    let begun = Instant::now();
    let outbox = open(dir);
    println!("{}", 1e3 * begun.elapsed().as_secs_f64());
    let memory = || Memory::of(std::process::id());
    println!("{}", memory().resident as f64 / 1024.0);
    let mut number = outbox.status().borrow().tail.get();
    let mut append = || {
        number += 1;
        let event = event(number, PAYLOAD_BYTES);
        let begun = Instant::now();
        outbox.blocking().append(event).expect("taken");
        1e6 * begun.elapsed().as_secs_f64()
    };
    let before = written_bytes();
    let took = Spread::of((0..APPENDS).map(|_| append()).collect()).median;
    println!("{}", (written_bytes() - before) as f64 / APPENDS as f64);
    println!("{took}");
    if reads {
        let (events, took) = runtime().block_on(read(&outbox));
        println!("{}", per_second(events, took));
        println!("{}", memory().most as f64 / 1024.0);
    }
    loop {
        append();
    }
}

/// Everything, as envelopes, as it would be sent.
async fn read(outbox: &Outbox) -> (u64, Duration) {
    let begun = Instant::now();
    let mut chunks = outbox.events(Seq::FIRST);
    let mut events = 0;
    while let Some(chunk) = chunks.next_chunk().await.expect("reads") {
        events += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    (events, begun.elapsed())
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a measured process finds, which is then killed.
fn figures(dir: &Path, reads: bool) -> Vec<f64> {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg(ROLE).arg(dir).args(reads.then_some(READS));
    let count = if reads { 6 } else { 4 };
    let child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut child = Killed(child);
    let lines = BufReader::new(child.0.stdout.take().expect("its output")).lines();
    let figures = lines
        .take(count)
        .map(|line| line.expect("a line").parse().expect("a figure"))
        .collect::<Vec<f64>>();
    assert_eq!(figures.len(), count, "it ended too soon");
    figures
}

fn measure(dir: &Path, events: u64, rounds: usize) -> Row {
    let fill = fill(dir, events);
    let journal = fs::metadata(dir.join("journal.redb")).expect("it is there");
    // What is allocated: a journal's file is made larger in leaps, and has holes.
    let bytes_an_event = journal.blocks() as f64 * 512.0 / events as f64;
    let (mut start_ms, mut resident) = (Vec::new(), Vec::new());
    let (mut append_bytes, mut append_us) = (Vec::new(), Vec::new());
    let mut reads = Vec::new();
    // The first start comes after a close and is not counted.
    for round in 0..=rounds {
        let figures = figures(dir, round == rounds);
        if round > 0 {
            start_ms.push(figures[0]);
            resident.push(figures[1]);
            append_bytes.push(figures[2]);
            append_us.push(figures[3]);
        }
        reads = figures;
    }
    Row {
        events,
        append_us: Spread::of(append_us),
        append_bytes: Spread::of(append_bytes).median,
        start_ms: Spread::of(start_ms),
        start_mib: Spread::of(resident).median,
        bytes_an_event,
        fill,
        read: reads[4],
        read_mib: reads[5],
    }
}

fn print(row: &Row) {
    let Row {
        events,
        append_us,
        append_bytes,
        start_ms,
        start_mib,
        bytes_an_event,
        fill,
        read,
        read_mib,
    } = row;
    println!(
        "| {events} | {append_us} | {append_bytes:.0} | {start_ms:.1} | {fill:.0} | {read:.0} | {bytes_an_event:.0} | \
         {start_mib:.1} | {read_mib:.1} |"
    );
}

fn plot(rows: &[Row]) -> String {
    type Value = fn(&Row) -> f64;
    let panels: [(&str, Value); 7] = [
        ("append of one event, median, ms", |row| {
            row.append_us.median / 1e3
        }),
        ("bytes written by it", |row| row.append_bytes),
        ("start after a kill, ms", |row| row.start_ms.median),
        ("appended in batches of 1,000, a second", |row| row.fill),
        ("read and rendered, a second", |row| row.read),
        ("disk, bytes an event", |row| row.bytes_an_event),
        ("memory after the start, MiB", |row| row.start_mib),
    ];
    let panels = panels.map(|(title, value)| {
        let points = rows.iter().map(|row| (row.events as f64, value(row)));
        Panel {
            title: title.to_owned(),
            lines: vec![(String::new(), points.collect())],
        }
    });
    figure("events in the journal", &panels)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        events: vec![10_000, 100_000, 1_000_000],
        rounds: 5,
        dir: std::env::temp_dir(),
        plot: None,
    };
    while let Some(argument) = arguments.next() {
        if argument == "--help" {
            return Ok(None);
        }
        let value = arguments.next();
        let value = value.ok_or_else(|| format!("{argument} needs a value"))?;
        let number = |text: &str| match text.parse::<u64>() {
            Ok(0) | Err(_) => Err(format!("{text} is no number from 1 on")),
            Ok(number) => Ok(number),
        };
        match argument.as_str() {
            "--events" => {
                options.events = value.split(',').map(number).collect::<Result<_, _>>()?
            }
            "--rounds" => options.rounds = number(&value)? as usize,
            "--dir" => options.dir = value.into(),
            "--plot" => options.plot = Some(value.into()),
            _ => return Err(format!("no such option: {argument}")),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == ROLE).is_some() {
        let dir = arguments.next().expect("a directory");
        measured(dir.as_ref(), arguments.any(|more| more == READS));
        return ExitCode::SUCCESS;
    }
    let options = match parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("scale: {wrong}");
            return ExitCode::FAILURE;
        }
    };
    let dir = tempfile::tempdir_in(&options.dir).expect("a directory");
    println!(
        "| events in the journal | append of one, median, µs | bytes written by it | journal opened after SIGKILL, ms | appended in \
         batches of 1,000, a second | read and rendered, a second | disk, bytes an event | resident \
         after the start, MiB | at most, everything read |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut rows = Vec::new();
    for events in options.events {
        let row = measure(&dir.path().join("data"), events, options.rounds);
        print(&row);
        rows.push(row);
    }
    if let Some(file) = options.plot {
        fs::write(file, plot(&rows)).expect("the plot is written");
    }
    ExitCode::SUCCESS
}
