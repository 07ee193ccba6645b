//! Events as rows: the statement that decides which are new, and the one that stores those.

use std::collections::HashSet;

use tokio_postgres::{
    Row as SqlRow, Transaction,
    types::{FromSql, Type},
};
use uuid::Uuid;

use super::{
    error::{HubError, Tried as _},
    proof::Proven,
};
use crate::{
    clock::ClockSync,
    digest::Digest,
    envelope::{Private, Record},
    sink::postgres::{Moment, fits_jsonb},
};

/// An event that may be stored.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) event: Proven,
    /// Whether its personal part is left out.
    pub(super) erased: bool,
}

/// The key of a row.
pub(super) type Place = (String, Uuid, i64, Digest);

impl Row {
    pub(super) fn place(&self) -> Place {
        place(&self.event)
    }

    fn record(&self) -> Record<'_> {
        let record = self.event.envelope.record();
        Record {
            private: record.private.filter(|_| !self.erased),
            ..record
        }
    }
}

/// Where an event belongs.
pub(super) fn place(event: &Proven) -> Place {
    let statement = event.envelope.statement();
    (
        statement.device.to_owned(),
        *statement.epoch.as_uuid(),
        number(statement.seq.get()),
        event.envelope.digest(),
    )
}

/// A number of an envelope, which is at most 2^53 - 1.
pub(super) fn number(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Takes the places of rows, which are in the order of their places; gives those that are new.
pub(super) async fn take_places(
    transaction: &Transaction<'_>,
    rows: &[Row],
) -> Result<HashSet<Place>, HubError> {
    let places: Vec<Place> = rows.iter().map(Row::place).collect();
    let prevs: Vec<Digest> = rows
        .iter()
        .map(|row| row.event.envelope.statement().prev)
        .collect();
    let device: Vec<&str> = places.iter().map(|place| &*place.0).collect();
    let epoch: Vec<Uuid> = places.iter().map(|place| place.1).collect();
    let seq: Vec<i64> = places.iter().map(|place| place.2).collect();
    let digest: Vec<&[u8]> = places.iter().map(|place| &place.3.as_bytes()[..]).collect();
    let prev: Vec<&[u8]> = prevs.iter().map(|prev| &prev.as_bytes()[..]).collect();
    let answer = transaction
        .query_typed(
            "insert into edge_outbox_hub.positions (device, epoch, seq, digest, prev) \
             select device, epoch, seq, digest, prev \
             from unnest($1, $2, $3, $4, $5) as batch (device, epoch, seq, digest, prev) \
             on conflict do nothing returning device, epoch, seq, digest",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
                (&prev, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("taking the places of events")?;
    places_in(&answer)
}

/// Those of these places that are taken.
pub(super) async fn held(
    transaction: &Transaction<'_>,
    places: &[Place],
) -> Result<HashSet<Place>, HubError> {
    if places.is_empty() {
        return Ok(HashSet::new());
    }
    let device: Vec<&str> = places.iter().map(|place| &*place.0).collect();
    let epoch: Vec<Uuid> = places.iter().map(|place| place.1).collect();
    let seq: Vec<i64> = places.iter().map(|place| place.2).collect();
    let digest: Vec<&[u8]> = places.iter().map(|place| &place.3.as_bytes()[..]).collect();
    let answer = transaction
        .query_typed(
            "select p.device, p.epoch, p.seq, p.digest \
             from unnest($1, $2, $3, $4) as batch (device, epoch, seq, digest) \
             join edge_outbox_hub.positions p on p.device = batch.device \
             and p.epoch = batch.epoch and p.seq = batch.seq and p.digest = batch.digest",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("looking up what is held")?;
    places_in(&answer)
}

/// The places that an answer begins with.
pub(super) fn places_in(answer: &[SqlRow]) -> Result<HashSet<Place>, HubError> {
    let place = |row: &SqlRow| {
        let digest = read_digest(get(row, 3)?).ok_or(HubError::Table("positions"))?;
        Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?, digest))
    };
    answer.iter().map(place).collect()
}

/// A value of an answer.
///
/// # Errors
/// It is of another type than the table should have.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a SqlRow, at: usize) -> Result<T, HubError> {
    row.try_get(at).tried("reading what the hub's tables hold")
}

/// 32 bytes as the server gives them.
pub(super) fn read_digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest)
}

/// Stores events whose places are new. `with_json` says whether payloads are tried as `jsonb`, too.
pub(super) async fn store(
    transaction: &Transaction<'_>,
    rows: &[&Row],
    with_json: bool,
) -> Result<(), HubError> {
    let records: Vec<Record<'_>> = rows.iter().map(|row| row.record()).collect();
    let of = &Columns(&records);
    let paths: Vec<Vec<u8>> = of.each(|record| {
        let nodes = record.path.iter();
        nodes.flat_map(|node| *node.as_bytes()).collect()
    });
    let salts = of.private(|private| private.salt);

    let device = of.each(|record| record.statement.device);
    let epoch = of.each(|record| *record.statement.epoch.as_uuid());
    let seq = of.each(|record| number(record.statement.seq.get()));
    let digest = of.each(|record| &record.digest.as_bytes()[..]);
    let id = of.each(|record| record.statement.id);
    let original_id = of.each(|record| record.statement.original_id);
    let event_type = of.each(|record| record.statement.event_type);
    let event_version = of.each(|record| i32::from(record.statement.event_version));
    let source = of.each(|record| record.statement.source);
    let occurred_at = of.each(|record| Moment(record.statement.occurred_at));
    let clock_wall = of.each(|record| Moment(record.statement.clock.wall));
    let clock_sync = of.each(|record| word(record.statement.clock.sync));
    let boot_id = of.each(|record| record.statement.clock.boot_id);
    let boottime_us = of.each(|record| number(record.statement.clock.boottime_us));
    let kind = of.each(|record| record.statement.kind.as_str());
    let prev = of.each(|record| &record.statement.prev.as_bytes()[..]);
    let private_digest = of.each(|record| &record.statement.private_digest.as_bytes()[..]);
    let key_id = of.each(|record| &record.statement.key_id.as_bytes()[..]);
    let signature = of.each(|record| &record.signature.as_bytes()[..]);
    let leaf = of.each(|record| i16::from(record.leaf));
    let size = of.each(|record| i16::from(record.size));
    let path: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let redelivered: Vec<bool> = rows
        .iter()
        .map(|row| row.event.envelope.redelivered())
        .collect();
    let aggregate_id = of.private(|private| private.aggregate_id);
    let subject_id = of.private(|private| private.subject_id);
    let salt: Vec<Option<&[u8]>> = salts
        .iter()
        .map(|salt| salt.as_ref().map(|s| &s[..]))
        .collect();
    let payload = of.private(|private| private.payload);
    let is_json: Vec<bool> = payload
        .iter()
        .map(|payload| with_json && payload.is_some_and(fits_jsonb))
        .collect();
    let origin: Vec<&str> = rows.iter().map(|row| &*row.event.message.origin).collect();

    let columns = "device, epoch, seq, digest, id, original_id, event_type, event_version, source, \
                   occurred_at, clock_wall, clock_sync, boot_id, boottime_us, kind, prev, \
                   private_digest, key_id, signature, leaf, size, path, redelivered, aggregate_id, \
                   subject_id, salt, payload, origin";
    let statement = format!(
        "insert into edge_outbox_hub.event_rows ({columns}, payload_json) \
         select {columns}, case when is_json then convert_from(payload, 'UTF8')::jsonb end \
         from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29) as batch ({columns}, is_json)"
    );
    transaction
        .query_typed(
            &statement,
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
                (&id, Type::UUID_ARRAY),
                (&original_id, Type::TEXT_ARRAY),
                (&event_type, Type::TEXT_ARRAY),
                (&event_version, Type::INT4_ARRAY),
                (&source, Type::TEXT_ARRAY),
                (&occurred_at, Type::TIMESTAMPTZ_ARRAY),
                (&clock_wall, Type::TIMESTAMPTZ_ARRAY),
                (&clock_sync, Type::TEXT_ARRAY),
                (&boot_id, Type::UUID_ARRAY),
                (&boottime_us, Type::INT8_ARRAY),
                (&kind, Type::TEXT_ARRAY),
                (&prev, Type::BYTEA_ARRAY),
                (&private_digest, Type::BYTEA_ARRAY),
                (&key_id, Type::BYTEA_ARRAY),
                (&signature, Type::BYTEA_ARRAY),
                (&leaf, Type::INT2_ARRAY),
                (&size, Type::INT2_ARRAY),
                (&path, Type::BYTEA_ARRAY),
                (&redelivered, Type::BOOL_ARRAY),
                (&aggregate_id, Type::UUID_ARRAY),
                (&subject_id, Type::TEXT_ARRAY),
                (&salt, Type::BYTEA_ARRAY),
                (&payload, Type::BYTEA_ARRAY),
                (&origin, Type::TEXT_ARRAY),
                (&is_json, Type::BOOL_ARRAY),
            ],
        )
        .await
        .tried("storing events")?;
    Ok(())
}

/// Makes columns of records.
struct Columns<'a, 'r>(&'r [Record<'a>]);

impl<'a, 'r> Columns<'a, 'r> {
    fn each<T>(&self, value: impl Fn(&'r Record<'a>) -> T) -> Vec<T> {
        self.0.iter().map(value).collect()
    }

    fn private<T>(&self, value: impl Fn(&'r Private<'a>) -> T) -> Vec<Option<T>> {
        self.each(|record| record.private.as_ref().map(&value))
    }
}

/// The word in the table.
const fn word(sync: ClockSync) -> &'static str {
    match sync {
        ClockSync::No => "no",
        ClockSync::Yes => "yes",
        ClockSync::Unknown => "unknown",
    }
}
