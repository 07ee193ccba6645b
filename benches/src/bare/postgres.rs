//! tokio-postgres: rows by `insert … select … from unnest`.

use std::{
    borrow::Cow,
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use edge_outbox::{
    Verifier,
    clock::Timestamp,
    envelope::{Envelope, Verified},
    signing::PublicKey,
};
use futures_util::FutureExt as _;
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};
use uuid::Uuid;

const COLUMNS: &str = "device, epoch, seq, digest, id, original_id, event_type, event_version, source, \
    occurred_at, clock_wall, clock_sync, boot_id, boottime_us, kind, prev, private_digest, \
    key_id, signature, leaf, size, path, redelivered, aggregate_id, subject_id, salt, payload";

/// A batch as the parameters of one statement.
#[derive(Default)]
pub struct Batch {
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
    /// These envelopes, of which none was erased, in batches of so many.
    pub fn all(bodies: &[Bytes], key: PublicKey, rows: usize) -> Vec<Self> {
        let mut verifier = Verifier::new();
        verifier.trust(key);
        let verified = bodies.iter().map(|body| {
            let envelope = Envelope::parse(body).expect("an envelope");
            verifier.verify(envelope).expect("ours")
        });
        let verified: Vec<_> = verified.collect();
        verified.chunks(rows).map(Self::of).collect()
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.seq.len()
    }

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

    async fn insert(&self, client: &Client, statement: &str, seq: &[i64]) -> u64 {
        let parameters: [(&(dyn ToSql + Sync), Type); 28] = [
            (&self.device, Type::TEXT_ARRAY),
            (&self.epoch, Type::UUID_ARRAY),
            (&seq, Type::INT8_ARRAY),
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

/// Inserts the batches, with so many statements on their way at once, and gives the number of rows.
pub async fn insert(client: &Client, batches: &[Batch], pipeline: usize) -> u64 {
    let batches = batches.iter();
    let placed = batches.map(|batch| (batch, Cow::Borrowed(batch.seq.as_slice())));
    insert_placed(client, placed, pipeline).await
}

/// As [`insert`], the same batches again and again, until there are so many rows or a few more. Each
/// time their rows have other places in the chain, else they were repeats.
pub async fn insert_again(client: &Client, batches: &[Batch], rows: u64, pipeline: usize) -> u64 {
    let mut first = 0_i64;
    let placed = batches.iter().cycle().map_while(|batch| {
        let seq: Vec<_> = (first..).take(batch.rows()).collect();
        let left = first.unsigned_abs() < rows;
        first += seq.len() as i64;
        left.then_some((batch, Cow::Owned(seq)))
    });
    insert_placed(client, placed, pipeline).await
}

async fn insert_placed<'a>(
    client: &Client,
    batches: impl Iterator<Item = (&'a Batch, Cow<'a, [i64]>)>,
    pipeline: usize,
) -> u64 {
    let places: Vec<_> = (1..=28).map(|place| format!("${place}")).collect();
    let statement = format!(
        "insert into device_events ({COLUMNS}, payload_json) \
         select {COLUMNS}, payload_json::jsonb from unnest({}) as batch ({COLUMNS}, payload_json) \
         on conflict do nothing",
        places.join(", ")
    );
    let mut stored = 0;
    let mut on_their_way = VecDeque::new();
    for (batch, seq) in batches {
        if on_their_way.len() == pipeline {
            stored += next(&mut on_their_way).await;
        }
        let statement = &statement;
        let mut answer = Box::pin(async move { batch.insert(client, statement, &seq).await });
        // The first poll sends it.
        assert!((&mut answer).now_or_never().is_none());
        on_their_way.push_back(answer);
    }
    while !on_their_way.is_empty() {
        stored += next(&mut on_their_way).await;
    }
    stored
}

async fn next<F: Future<Output = u64> + Unpin>(answers: &mut VecDeque<F>) -> u64 {
    match answers.pop_front() {
        Some(answer) => answer.await,
        None => 0,
    }
}
