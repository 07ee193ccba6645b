//! Talking to a Postgres sink at the level of its adapter, and looking at its table.

use edge_outbox::{
    clock::{ClockSync, Stamp, Timestamp},
    envelope::{Digest, Epoch, Kind, Path, Private, Record, Statement},
    secret::Secret,
    seq::Seq,
    signing::{KeyId, Signature},
    sink::{
        Session, Sink, SinkError,
        postgres::{PostgresOptions, PostgresSink},
    },
};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::{device::Device, postgres_server::PostgresServer};

/// Options for a server that is open to everybody.
pub(crate) fn options(server: &PostgresServer) -> PostgresOptions {
    options_for(&server.url())
}

/// Options for whatever is at a URL.
pub(crate) fn options_for(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: Secret::new(url),
        ..PostgresOptions::default()
    }
}

/// One attempt to connect.
pub(crate) async fn connect(
    options: PostgresOptions,
    device: &Device,
) -> Result<Session, SinkError> {
    Sink::Postgres(PostgresSink::new(options).unwrap())
        .connect(&device.name)
        .await
}

/// An attempt that has to fail.
pub(crate) async fn refusal(options: PostgresOptions, device: &Device) -> SinkError {
    connect(options, device)
        .await
        .err()
        .expect("no connection comes about")
}

/// How many rows the table has.
pub(crate) async fn count(client: &Client) -> i64 {
    let row = client
        .query_one("select count(*) from device_events", &[])
        .await;
    row.unwrap().get(0)
}

/// Every row in the order of the key.
pub(crate) async fn rows(client: &Client) -> Vec<Row> {
    client.query(EVERY_ROW, &[]).await.unwrap()
}

/// Moments as microseconds since 1970: the client's own types of time are no part of it.
const EVERY_ROW: &str = "
    select *, (extract(epoch from occurred_at) * 1000000)::bigint as occurred_us,
        (extract(epoch from clock_wall) * 1000000)::bigint as wall_us
    from device_events order by device, epoch, seq, digest";

/// The envelope, rebuilt from nothing but a row.
pub(crate) fn envelope(row: &Row) -> Vec<u8> {
    let digest = |name| Digest::from_bytes(bytes(row.get(name)));
    let moment = |name| Timestamp::from_micros(row.get(name)).unwrap();
    let nodes: Vec<Digest> = row
        .get::<_, &[u8]>("path")
        .chunks(32)
        .map(|node| Digest::from_bytes(bytes(node)))
        .collect();
    let small = |name| u8::try_from(row.get::<_, i16>(name)).unwrap();
    let private = row
        .get::<_, Option<&[u8]>>("payload")
        .map(|payload| Private {
            salt: bytes(row.get("salt")),
            aggregate_id: row.get("aggregate_id"),
            subject_id: row.get("subject_id"),
            payload,
        });
    let record = Record {
        statement: Statement {
            kind: match row.get("kind") {
                "program" => Kind::Program,
                "ledger" => Kind::Ledger,
                other => panic!("{other}"),
            },
            key_id: KeyId::from_bytes(bytes(row.get("key_id"))),
            device: row.get("device"),
            epoch: Epoch::from_uuid(row.get::<_, Uuid>("epoch")),
            seq: Seq::new(u64::try_from(row.get::<_, i64>("seq")).unwrap()),
            id: row.get("id"),
            original_id: row.get("original_id"),
            event_type: row.get("event_type"),
            event_version: u16::try_from(row.get::<_, i32>("event_version")).unwrap(),
            source: row.get("source"),
            occurred_at: moment("occurred_us"),
            clock: Stamp {
                wall: moment("wall_us"),
                sync: match row.get("clock_sync") {
                    "no" => ClockSync::No,
                    "yes" => ClockSync::Yes,
                    "unknown" => ClockSync::Unknown,
                    other => panic!("{other}"),
                },
                boot_id: row.get("boot_id"),
                boottime_us: u64::try_from(row.get::<_, i64>("boottime_us")).unwrap(),
            },
            prev: digest("prev"),
            private_digest: digest("private_digest"),
        },
        digest: digest("digest"),
        private,
        signature: Signature::from_bytes(bytes(row.get("signature"))),
        leaf: small("leaf"),
        size: small("size"),
        path: Path::from_nodes(&nodes).unwrap(),
    };
    let mut body = Vec::new();
    record.render(row.get("redelivered"), false, &mut body);
    body
}

fn bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}
