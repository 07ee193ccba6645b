//! How long a daemon takes from its start after a SIGKILL to the first event that it accepts, and what
//! memory it has then, by how much is pending. Each way with the data directory's files in the page
//! cache, as a SIGKILL leaves them, and not in it, as a power cut does.
//!
//! Takes the daemon's program as its argument, and how many starts there are of each kind (20 unless
//! told otherwise). Beside the daemon only this program is at work.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use edge_outbox_benches::{
    PAYLOAD_BYTES, Spread,
    backlog::fill_with,
    classroom::lines,
    daemon::{Daemon, Way},
    page_cache,
    process::Memory,
    server::free_port,
};

/// Events that are pending.
const BACKLOGS: [u64; 4] = [0, 10_000, FEW, ALL];
/// What the last row compares: a start that is flat takes as long with one as with the other. It reads
/// the ids of the last 65,536 events, so it is to be flat from there on.
const FEW: u64 = 100_000;
const ALL: u64 = 1_000_000;
/// Events in each request before a kill: the ids of the last ones stand in no row of ids yet.
const BATCH: u64 = 700;
/// How long to wait before trying again to hand an event over.
const POLL: Duration = Duration::from_micros(200);
/// A daemon that is not there by then has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// A column of times: its name, how the daemon is reached, and what becomes of the page cache before.
type Column = (&'static str, Way, fn(&Path));

const COLUMNS: [Column; 4] = [
    ("over TCP, not cached, ms", Way::Tcp, page_cache::chill),
    (
        "over the socket, not cached, ms",
        Way::Socket,
        page_cache::chill,
    ),
    ("over TCP, cached, ms", Way::Tcp, page_cache::warm),
    ("over the socket, cached, ms", Way::Socket, page_cache::warm),
];

/// From the start of the program to the answer that an event is taken.
fn start(program: &str, data: &Path, way: Way, event: &str) -> (Daemon, Duration) {
    // Nobody listens there, so nothing is delivered.
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let port = free_port();
    let begun = Instant::now();
    let daemon = Daemon::launch(program, data, port, &[("NATS_URL", &nowhere)]);
    while daemon.try_ask(way, "POST /v1/events", event).is_err() {
        assert!(begun.elapsed() < LIMIT, "it takes nothing");
        thread::sleep(POLL);
    }
    (daemon, begun.elapsed())
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().expect("the program as argument");
    let rounds = arguments
        .next()
        .map_or(20, |n| n.parse().expect("a number"));
    let event = lines(0..1, PAYLOAD_BYTES);
    let names = COLUMNS.map(|(name, ..)| name).join(" | ");
    println!("| pending | {names} | resident, MiB | at most so far |");
    println!("| ---{} | --- | --- |", " | ---".repeat(COLUMNS.len()));
    let (mut few, mut all) = ([f64::NAN; COLUMNS.len()], [f64::NAN; COLUMNS.len()]);
    for backlog in BACKLOGS {
        let mut times = COLUMNS.map(|_| Vec::new());
        let (mut resident, mut most) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            // A new one each time: what every life appends would soon be more than the least of them.
            let dir = tempfile::tempdir().expect("a directory");
            let data = dir.path().join("data");
            fill_with(&data, backlog);
            // The first start gives the sink its place.
            drop(start(&program, &data, Way::Tcp, &event));
            for ((_, way, prepare), times) in COLUMNS.into_iter().zip(&mut times) {
                prepare(&data);
                let (daemon, took) = start(&program, &data, way, &event);
                times.push(1e3 * took.as_secs_f64());
                let memory = Memory::of(daemon.pid());
                resident.push(memory.resident as f64 / 1024.0);
                most.push(memory.most as f64 / 1024.0);
                daemon.ask("POST /v1/events", &lines(0..BATCH, PAYLOAD_BYTES));
                // Dropped, it is killed.
            }
        }
        let times = times.map(Spread::of);
        match backlog {
            FEW => few = times.each_ref().map(|spread| spread.median),
            ALL => all = times.each_ref().map(|spread| spread.median),
            _ => {}
        }
        let times = times.map(|spread| format!("{spread:.1}")).join(" | ");
        let [resident, most] = [resident, most].map(|figures| Spread::of(figures).median);
        println!("| {backlog} | {times} | {resident:.1} | {most:.1} |");
    }
    let ratios = all
        .iter()
        .zip(few)
        .map(|(all, few)| format!("{:.2}", all / few));
    let ratios = ratios.collect::<Vec<_>>().join(" | ");
    println!("| {ALL} : {FEW} | {ratios} | – | – |");
}
