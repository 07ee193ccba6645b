//! A backlog to JetStream: the forwarder beside a bare async-nats pipeline with as many events on their way,
//! the same bytes, headers, and message ids of the same length.
//!
//! Each figure is the median of the rounds (least–greatest); both take turns within a round, and the
//! other one begins the next. Beside the
//! rate, the processor time that it took: the client's, and the server's for it.

use std::time::Instant;

use bytes::Bytes;
use edge_outbox::sink::{
    Sink,
    nats::{NatsOptions, NatsSink},
};
use edge_outbox_benches::{
    Spread,
    backlog::{EVENTS, drain, envelopes, fill, runtime},
    bare,
    classroom::{DEVICE, EVENT_TYPE},
    per_second,
    process::cpu_ms,
    server::{empty_stream, free_port, nats_server},
};
use uuid::Uuid;

const ROUNDS: usize = 6;
const WINDOW: usize = 1_024;

fn sink(port: u16) -> Sink {
    let options = NatsOptions {
        servers: vec![format!("nats://127.0.0.1:{port}").into()],
        ..NatsOptions::default()
    };
    Sink::Nats(NatsSink::new(options).expect("options"))
}

/// The same bytes from memory through the bare client.
async fn bare_client(bodies: &[(String, Bytes)], port: u16) -> f64 {
    let context = empty_stream(port).await;
    let subject = format!("edupulse.events.{DEVICE}.{EVENT_TYPE}");
    let bodies = bodies.iter().map(|(id, body)| (id, body.clone()));
    let start = Instant::now();
    bare::nats::publish(&context, &subject, bodies, WINDOW).await;
    per_second(EVENTS, start.elapsed())
}

fn main() {
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let mut figures = [Vec::new(), Vec::new()];
    let mut spent = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir_in(&base).expect("a directory");
        let data = dir.path().join("data");
        fill(&data);
        let id = |body| (format!("{:043x}", Uuid::now_v7().as_u128()), body);
        let bodies: Vec<_> = envelopes(&data).into_iter().map(id).collect();
        let port = free_port();
        let server = nats_server(dir.path(), port);
        let mut spend = |of: usize, run: &dyn Fn() -> f64| {
            let pids = [std::process::id(), server.pid()];
            let before = pids.map(cpu_ms);
            figures[of].push(run());
            let after = pids.map(cpu_ms);
            for (side, (before, after)) in before.into_iter().zip(after).enumerate() {
                spent[2 * of + side].push((after - before) * 1e3 / EVENTS as f64);
            }
        };
        let mut turns: [(usize, &dyn Fn() -> f64); 2] = [
            (1, &|| runtime().block_on(bare_client(&bodies, port))),
            (0, &|| {
                runtime().block_on(empty_stream(port));
                drain(&data, "bench", sink(port))
            }),
        ];
        turns.rotate_left(round % 2);
        for (of, run) in turns {
            spend(of, run);
        }
    }
    let [ours, bare] = figures.map(Spread::of);
    println!("| {EVENTS} events to JetStream, a second | edge-outbox | bare async-nats | ratio |");
    println!("| --- | --- | --- | --- |");
    let ratio = ours.median / bare.median;
    println!("| {WINDOW} on their way | {ours} | {bare} | {ratio:.2} |");
    println!();
    println!("| processor time, µs an event | client | nats-server |");
    println!("| --- | --- | --- |");
    let [ours, beside_ours, bare, beside_bare] = spent.map(Spread::of);
    println!("| edge-outbox | {ours:.1} | {beside_ours:.1} |");
    println!("| bare async-nats | {bare:.1} | {beside_bare:.1} |");
}
