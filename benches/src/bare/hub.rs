//! What a hub does without its reason: envelopes out of JetStream into a table, and nothing proven.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    context::Context,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge_outbox::clock::Timestamp;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::server::STREAM;

/// The table, in the schema of the hub's own, after which it is made: columns, indexes and partitions.
pub const TABLE: &str = "
    create table edge_outbox_hub.bare_rows (like edge_outbox_hub.event_rows including all)
        partition by range (received_at);
    create table edge_outbox_hub.bare_rows_default partition of edge_outbox_hub.bare_rows default";

const COLUMNS: &str = "device, epoch, seq, digest, id, event_type, event_version, source, \
    occurred_at, clock_wall, clock_sync, boot_id, boottime_us, kind, prev, private_digest, key_id, \
    signature, leaf, size, path, redelivered, aggregate_id, subject_id, salt, payload, payload_json, \
    origin";

#[derive(Deserialize)]
struct Clock<'a> {
    wall: &'a str,
    sync: &'a str,
    boot_id: Uuid,
    boottime_us: i64,
}

#[derive(Deserialize)]
struct Body<'a> {
    id: Uuid,
    device: &'a str,
    epoch: Uuid,
    seq: i64,
    event_type: &'a str,
    event_version: i32,
    source: &'a str,
    occurred_at: &'a str,
    #[serde(borrow)]
    clock: Clock<'a>,
    kind: &'a str,
    prev: &'a str,
    private_digest: &'a str,
    key_id: &'a str,
    signature: &'a str,
    leaf: i16,
    size: i16,
    #[serde(borrow)]
    path: Vec<&'a str>,
    redelivered: bool,
    aggregate_id: Uuid,
    subject_id: &'a str,
    salt: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
}

fn bytes(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}

fn time(text: &str) -> SystemTime {
    let at: Timestamp = text.parse().expect("a time");
    SystemTime::UNIX_EPOCH
        + Duration::from_micros(u64::try_from(at.as_micros()).expect("after 1970"))
}

/// Takes so many messages from a consumer of its own, in batches of at most so many, and acknowledges
/// each batch once it is committed.
pub async fn pull_and_insert(context: &Context, client: &Client, events: u64, batch: usize) {
    let stream = context.get_stream(STREAM).await.expect("the stream");
    let consumer = stream
        .create_consumer(pull::Config {
            durable_name: Some("bare".into()),
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: 8_192,
            ..pull::Config::default()
        })
        .await
        .expect("a consumer");
    let messages = consumer.stream().max_messages_per_batch(batch).messages();
    // Full ones, as a backlog makes them.
    let messages = messages.await.expect("messages").take(events as usize);
    let mut messages = messages.chunks(batch);
    let places: Vec<_> = (1..=28).map(|place| format!("${place}")).collect();
    let statement = format!(
        "insert into edge_outbox_hub.bare_rows ({COLUMNS}) \
         select {} from unnest({}) as batch ({COLUMNS}) on conflict do nothing",
        COLUMNS.replace("payload_json", "payload_json::jsonb"),
        places.join(", ")
    );
    let mut stored = 0;
    while let Some(chunk) = messages.next().await {
        let chunk: Vec<_> = chunk.into_iter().map(|it| it.expect("a message")).collect();
        let bodies = chunk.iter();
        let bodies: Vec<Body<'_>> = bodies
            .map(|it| serde_json::from_slice(&it.payload).expect("an envelope"))
            .collect();
        stored += insert(client, &statement, &bodies).await;
        for message in &chunk {
            let reply = message.reply.clone().expect("a reply");
            let said = context.client().publish(reply, bytes::Bytes::new()).await;
            said.expect("acknowledged");
        }
    }
    assert_eq!(stored, events);
    context.client().flush().await.expect("acknowledged");
    drop(stream.delete_consumer("bare").await);
}

async fn insert(client: &Client, statement: &str, bodies: &[Body<'_>]) -> u64 {
    fn all<'a, T>(bodies: &'a [Body<'a>], part: impl Fn(&'a Body<'a>) -> T) -> Vec<T> {
        bodies.iter().map(part).collect()
    }
    // The digest is computed nowhere, so something as long as one stands for it.
    let digest = all(bodies, |it| bytes(it.private_digest));
    let path = all(bodies, |it| {
        it.path
            .iter()
            .flat_map(|node| bytes(node))
            .collect::<Vec<_>>()
    });
    let parameters: [(&(dyn ToSql + Sync), Type); 28] = [
        (&all(bodies, |it| it.device), Type::TEXT_ARRAY),
        (&all(bodies, |it| it.epoch), Type::UUID_ARRAY),
        (&all(bodies, |it| it.seq), Type::INT8_ARRAY),
        (&digest, Type::BYTEA_ARRAY),
        (&all(bodies, |it| it.id), Type::UUID_ARRAY),
        (&all(bodies, |it| it.event_type), Type::TEXT_ARRAY),
        (&all(bodies, |it| it.event_version), Type::INT4_ARRAY),
        (&all(bodies, |it| it.source), Type::TEXT_ARRAY),
        (
            &all(bodies, |it| time(it.occurred_at)),
            Type::TIMESTAMPTZ_ARRAY,
        ),
        (
            &all(bodies, |it| time(it.clock.wall)),
            Type::TIMESTAMPTZ_ARRAY,
        ),
        (&all(bodies, |it| it.clock.sync), Type::TEXT_ARRAY),
        (&all(bodies, |it| it.clock.boot_id), Type::UUID_ARRAY),
        (&all(bodies, |it| it.clock.boottime_us), Type::INT8_ARRAY),
        (&all(bodies, |it| it.kind), Type::TEXT_ARRAY),
        (&all(bodies, |it| bytes(it.prev)), Type::BYTEA_ARRAY),
        (
            &all(bodies, |it| bytes(it.private_digest)),
            Type::BYTEA_ARRAY,
        ),
        (&all(bodies, |it| bytes(it.key_id)), Type::BYTEA_ARRAY),
        (&all(bodies, |it| bytes(it.signature)), Type::BYTEA_ARRAY),
        (&all(bodies, |it| it.leaf), Type::INT2_ARRAY),
        (&all(bodies, |it| it.size), Type::INT2_ARRAY),
        (&path, Type::BYTEA_ARRAY),
        (&all(bodies, |it| it.redelivered), Type::BOOL_ARRAY),
        (&all(bodies, |it| it.aggregate_id), Type::UUID_ARRAY),
        (&all(bodies, |it| it.subject_id), Type::TEXT_ARRAY),
        (&all(bodies, |it| bytes(it.salt)), Type::BYTEA_ARRAY),
        (
            &all(bodies, |it| it.payload.get().as_bytes()),
            Type::BYTEA_ARRAY,
        ),
        (&all(bodies, |it| it.payload.get()), Type::TEXT_ARRAY),
        (&all(bodies, |_| "nats"), Type::TEXT_ARRAY),
    ];
    let stored = client.execute_typed(statement, &parameters).await;
    stored.expect("stored")
}
