//! A backlog to Postgres: the forwarder beside a bare `insert … select … from unnest` of the same
//! rows with the same batches, and as many statements on their way. The server syncs what it commits.
//!
//! Each figure is the median of the rounds (least–greatest); both take turns within a round, and
//! another one begins the next.

#[path = "../../../tests/support/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod postgres_server;
#[path = "../../../tests/support/server_process.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server_process;

use std::time::Instant;

use edge_outbox::sink::{
    Sink,
    postgres::{DEFAULT_BATCH, PostgresOptions, PostgresSink, SslMode},
};
use edge_outbox_benches::{
    Spread,
    backlog::{EVENTS, drain, envelopes, fill, public_key, runtime},
    bare::{self, postgres::Batch},
    per_second,
};
use postgres_server::PostgresServer;

const ROUNDS: usize = 6;
/// Statements on their way at once: what is safe behind a pooler, and what a direct connection bears.
const PIPELINES: [usize; 2] = [1, 4];

/// The same rows from memory through the bare client.
async fn bare_client(server: &PostgresServer, batches: &[Batch], pipeline: usize) -> f64 {
    let client = server.connect().await;
    let start = Instant::now();
    let stored = bare::postgres::insert(&client, batches, pipeline).await;
    assert_eq!(stored, EVENTS);
    per_second(EVENTS, start.elapsed())
}

fn sink(server: &PostgresServer, pipeline: usize) -> Sink {
    let options = PostgresOptions {
        url: server.url().into(),
        sslmode: Some(SslMode::Disable),
        pipeline: Some(pipeline),
        ..PostgresOptions::default()
    };
    Sink::Postgres(PostgresSink::new(options).expect("options"))
}

fn main() {
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let mut figures = PIPELINES.map(|_| [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir_in(&base).expect("a directory");
        let data = dir.path().join("data");
        fill(&data);
        let batches = Batch::all(&envelopes(&data), public_key(&data), DEFAULT_BATCH);
        let server = runtime().block_on(PostgresServer::durable_with_tables());
        let empty = || runtime().block_on(server.execute("truncate device_events"));
        for (pipeline, figures) in PIPELINES.into_iter().zip(&mut figures) {
            // A cursor that has come to the end drains nothing more: another sink by its name.
            let name = format!("pipeline-{pipeline}");
            let mut turns: [(usize, &dyn Fn() -> f64); 2] = [
                (1, &|| {
                    runtime().block_on(bare_client(&server, &batches, pipeline))
                }),
                (0, &|| drain(&data, &name, sink(&server, pipeline))),
            ];
            turns.rotate_left(round % 2);
            for (of, run) in turns {
                figures[of].push(run());
                empty();
            }
        }
    }
    println!("| {EVENTS} events to Postgres, a second | edge-outbox | bare `unnest` | ratio |");
    println!("| --- | --- | --- | --- |");
    for (pipeline, figures) in PIPELINES.into_iter().zip(figures) {
        let [ours, bare] = figures.map(Spread::of);
        let ratio = ours.median / bare.median;
        println!(
            "| batches of {DEFAULT_BATCH}, {pipeline} on their way | {ours} | {bare} | {ratio:.2} |"
        );
    }
}
