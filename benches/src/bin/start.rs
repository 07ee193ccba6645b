//! How long a daemon takes from its start after a SIGKILL to the first event that it accepts, and what
//! memory it has then, by how much is pending.
//!
//! Takes the daemon's program as its argument, and how many starts there are of each kind (20 unless
//! told otherwise). Beside the daemon only this program is at work.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use edge_outbox_benches::{
    Spread,
    backlog::fill_with,
    daemon::{Daemon, Way, lines},
    payload,
    process::Memory,
    server::free_port,
};

/// Events that are pending.
const BACKLOGS: [u64; 4] = [0, 10_000, 100_000, 1_000_000];
/// Events in each request before a kill: the ids of the last ones stand in no row of ids yet.
const BATCH: u64 = 700;
/// How long to wait before trying again to hand an event over.
const POLL: Duration = Duration::from_micros(200);
/// A daemon that is not there by then has failed.
const LIMIT: Duration = Duration::from_secs(60);

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
    let event = lines(1, &payload());
    println!(
        "| pending | over TCP, ms | over the socket, ms | resident, MiB | at most so far |\n\
         | --- | --- | --- | --- | --- |"
    );
    for backlog in BACKLOGS {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        fill_with(&data, backlog);
        // The first start gives the sink its place.
        drop(start(&program, &data, Way::Tcp, &event));
        let (mut tcp, mut socket) = (Vec::new(), Vec::new());
        let (mut resident, mut most) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            for (way, times) in [(Way::Tcp, &mut tcp), (Way::Socket, &mut socket)] {
                let (daemon, took) = start(&program, &data, way, &event);
                times.push(1e3 * took.as_secs_f64());
                let memory = Memory::of(daemon.pid());
                resident.push(memory.resident as f64 / 1024.0);
                most.push(memory.most as f64 / 1024.0);
                daemon.ask("POST /v1/events", &lines(BATCH, &payload()));
                // Dropped, it is killed.
            }
        }
        let [tcp, socket] = [tcp, socket].map(Spread::of);
        let [resident, most] = [resident, most].map(|figures| Spread::of(figures).median);
        println!("| {backlog} | {tcp:.1} | {socket:.1} | {resident:.1} | {most:.1} |");
    }
}
