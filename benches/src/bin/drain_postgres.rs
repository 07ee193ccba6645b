//! A backlog to Postgres: the forwarder beside a bare `insert … select … from unnest` of the same
//! rows with the same batches, and as many statements on their way.
//!
//! Each figure is the median of the rounds (least–greatest); both take turns within a round.

#[path = "../../../tests/support/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod postgres_server;
#[path = "../../../tests/support/server_process.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server_process;

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use edge_outbox::{
    Verifier,
    clock::Timestamp,
    envelope::{Envelope, Verified},
    sink::{
        Sink,
        postgres::{DEFAULT_BATCH, PostgresOptions, PostgresSink, SslMode},
    },
};
use edge_outbox_benches::{
    Spread,
    backlog::{EVENTS, drain, envelopes, fill, public_key, runtime},
    per_second,
};
use futures_util::FutureExt as _;
use postgres_server::PostgresServer;
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};
use uuid::Uuid;

const ROUNDS: usize = 5;
/// Statements on their way at once: what is safe behind a pooler, and what a direct connection bears.
const PIPELINES: [usize; 2] = [1, 4];

const COLUMNS: &str = "device, epoch, seq, digest, id, original_id, event_type, event_version, source, \
    occurred_at, clock_wall, clock_sync, boot_id, boottime_us, kind, prev, private_digest, \
    key_id, signature, leaf, size, path, redelivered, aggregate_id, subject_id, salt, payload";

/// A batch as the parameters of one statement.
#[derive(Default)]
struct Batch {
    device: Vec<String>,
    epoch: Vec<Uuid>,
    seq: Vec<i64>,
    digest: Vec<Vec<u8>>,
    id: Vec<Uuid>,
    original_id: Vec<Option<String>>,
    event_type: Vec<String>,
    event_version: Vec<i32>,
    source: Vec<String>,
    occurred_at: Vec<SystemTime>,
    clock_wall: Vec<SystemTime>,
    clock_sync: Vec<&'static str>,
    boot_id: Vec<Uuid>,
    boottime_us: Vec<i64>,
    kind: Vec<&'static str>,
    prev: Vec<Vec<u8>>,
    private_digest: Vec<Vec<u8>>,
    key_id: Vec<Vec<u8>>,
    signature: Vec<Vec<u8>>,
    leaf: Vec<i16>,
    size: Vec<i16>,
    path: Vec<Vec<u8>>,
    redelivered: Vec<bool>,
    aggregate_id: Vec<Uuid>,
    subject_id: Vec<String>,
    salt: Vec<Vec<u8>>,
    payload: Vec<Vec<u8>>,
    payload_json: Vec<String>,
}

fn time(at: Timestamp) -> SystemTime {
    let micros = u64::try_from(at.as_micros()).expect("after 1970");
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

impl Batch {
    fn of(envelopes: &[Envelope<Verified>]) -> Self {
        let mut batch = Self::default();
        for envelope in envelopes {
            let record = envelope.record();
            let statement = record.statement;
            let private = record.private.expect("nothing was erased");
            batch.device.push(statement.device.into());
            batch.epoch.push(*statement.epoch.as_uuid());
            batch
                .seq
                .push(i64::try_from(statement.seq.get()).expect("small"));
            batch.digest.push(record.digest.as_bytes().to_vec());
            batch.id.push(statement.id);
            batch
                .original_id
                .push(statement.original_id.map(Into::into));
            batch.event_type.push(statement.event_type.into());
            batch.event_version.push(statement.event_version.into());
            batch.source.push(statement.source.into());
            batch.occurred_at.push(time(statement.occurred_at));
            batch.clock_wall.push(time(statement.clock.wall));
            batch.clock_sync.push("yes");
            batch.boot_id.push(statement.clock.boot_id);
            let boottime = i64::try_from(statement.clock.boottime_us).expect("small");
            batch.boottime_us.push(boottime);
            batch.kind.push(statement.kind.as_str());
            batch.prev.push(statement.prev.as_bytes().to_vec());
            batch
                .private_digest
                .push(statement.private_digest.as_bytes().to_vec());
            batch.key_id.push(statement.key_id.as_bytes().to_vec());
            batch.signature.push(record.signature.as_bytes().to_vec());
            batch.leaf.push(record.leaf.into());
            batch.size.push(record.size.into());
            let nodes = record.path.iter().flat_map(|node| node.as_bytes().to_vec());
            batch.path.push(nodes.collect());
            batch.redelivered.push(false);
            batch.aggregate_id.push(private.aggregate_id);
            batch.subject_id.push(private.subject_id.into());
            batch.salt.push(private.salt.to_vec());
            batch.payload.push(private.payload.to_vec());
            let text = std::str::from_utf8(private.payload).expect("JSON");
            batch.payload_json.push(text.into());
        }
        batch
    }

    async fn insert(&self, client: &Client, statement: &str) -> u64 {
        let parameters: [(&(dyn ToSql + Sync), Type); 28] = [
            (&self.device, Type::TEXT_ARRAY),
            (&self.epoch, Type::UUID_ARRAY),
            (&self.seq, Type::INT8_ARRAY),
            (&self.digest, Type::BYTEA_ARRAY),
            (&self.id, Type::UUID_ARRAY),
            (&self.original_id, Type::TEXT_ARRAY),
            (&self.event_type, Type::TEXT_ARRAY),
            (&self.event_version, Type::INT4_ARRAY),
            (&self.source, Type::TEXT_ARRAY),
            (&self.occurred_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.clock_wall, Type::TIMESTAMPTZ_ARRAY),
            (&self.clock_sync, Type::TEXT_ARRAY),
            (&self.boot_id, Type::UUID_ARRAY),
            (&self.boottime_us, Type::INT8_ARRAY),
            (&self.kind, Type::TEXT_ARRAY),
            (&self.prev, Type::BYTEA_ARRAY),
            (&self.private_digest, Type::BYTEA_ARRAY),
            (&self.key_id, Type::BYTEA_ARRAY),
            (&self.signature, Type::BYTEA_ARRAY),
            (&self.leaf, Type::INT2_ARRAY),
            (&self.size, Type::INT2_ARRAY),
            (&self.path, Type::BYTEA_ARRAY),
            (&self.redelivered, Type::BOOL_ARRAY),
            (&self.aggregate_id, Type::UUID_ARRAY),
            (&self.subject_id, Type::TEXT_ARRAY),
            (&self.salt, Type::BYTEA_ARRAY),
            (&self.payload, Type::BYTEA_ARRAY),
            (&self.payload_json, Type::TEXT_ARRAY),
        ];
        let stored = client.execute_typed(statement, &parameters).await;
        stored.expect("stored")
    }
}

/// The same rows from memory through the bare client.
async fn bare(server: &PostgresServer, batches: &[Batch], pipeline: usize) -> f64 {
    let client = server.connect().await;
    let places: Vec<_> = (1..=28).map(|place| format!("${place}")).collect();
    let statement = format!(
        "insert into device_events ({COLUMNS}, payload_json) \
         select {COLUMNS}, payload_json::jsonb from unnest({}) as batch ({COLUMNS}, payload_json) \
         on conflict do nothing",
        places.join(", ")
    );
    let start = Instant::now();
    let mut stored = 0;
    let mut on_their_way = VecDeque::new();
    for batch in batches {
        if on_their_way.len() == pipeline {
            stored += next(&mut on_their_way).await;
        }
        let mut answer = Box::pin(batch.insert(&client, &statement));
        // The first poll sends it.
        assert!((&mut answer).now_or_never().is_none());
        on_their_way.push_back(answer);
    }
    while !on_their_way.is_empty() {
        stored += next(&mut on_their_way).await;
    }
    assert_eq!(stored, EVENTS);
    per_second(EVENTS, start.elapsed())
}

async fn next<F: Future<Output = u64> + Unpin>(answers: &mut VecDeque<F>) -> u64 {
    match answers.pop_front() {
        Some(answer) => answer.await,
        None => 0,
    }
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

fn verified(bodies: &[Bytes], verifier: &mut Verifier) -> Vec<Envelope<Verified>> {
    let verify = |body: &Bytes| {
        let envelope = Envelope::parse(body).expect("an envelope");
        verifier.verify(envelope).expect("ours")
    };
    bodies.iter().map(verify).collect()
}

fn main() {
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let mut figures = PIPELINES.map(|_| [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir_in(&base).expect("a directory");
        let data = dir.path().join("data");
        fill(&data);
        let mut verifier = Verifier::new();
        verifier.trust(public_key(&data));
        let rows = verified(&envelopes(&data), &mut verifier);
        let batches: Vec<_> = rows.chunks(DEFAULT_BATCH).map(Batch::of).collect();
        drop(rows);
        let server = runtime().block_on(PostgresServer::with_tables());
        let empty = || runtime().block_on(server.execute("truncate device_events"));
        for (pipeline, figures) in PIPELINES.into_iter().zip(&mut figures) {
            figures[1].push(runtime().block_on(bare(&server, &batches, pipeline)));
            empty();
            // A cursor that has come to the end drains nothing more: another sink by its name.
            let name = format!("pipeline-{pipeline}");
            figures[0].push(drain(&data, &name, sink(&server, pipeline)));
            empty();
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
