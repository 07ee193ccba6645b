//! The epochs of devices, read and written.

use std::collections::BTreeMap;

use tokio_postgres::{Transaction, types::Type};
use uuid::Uuid;

use super::{Docket, digest_at, seq_at};
use crate::{
    digest::Digest,
    hub::{
        error::{HubError, Tried as _},
        plan::{EpochRow, Epochs},
        rows::{get, number},
    },
    signing::KeyId,
};

pub(super) async fn read(
    transaction: &Transaction<'_>,
    devices: &[String],
) -> Result<BTreeMap<String, Epochs>, HubError> {
    let answer = transaction
        .query_typed(
            "select device, epoch, key_id, first_seq, reason, previous_epoch, previous_seq, \
             previous_digest, highest, held, complete_to, complete_digest, tail_seq, tail_digest, \
             walk_due from edge_outbox_hub.epochs where device = any($1)",
            &[(&devices, Type::TEXT_ARRAY)],
        )
        .await
        .tried("reading the epochs of devices")?;
    let mut all: BTreeMap<String, Epochs> = BTreeMap::new();
    for row in &answer {
        let previous: Option<Uuid> = get(row, 5)?;
        let end = seq_at(row, 6).zip(digest_at(row, 7));
        let epoch = EpochRow {
            key_id: digest_at(row, 2).map(|digest| KeyId(digest.0)),
            first_seq: seq_at(row, 3),
            reason: get(row, 4)?,
            previous: previous
                .zip(end)
                .map(|(epoch, (seq, digest))| (epoch, seq, digest)),
            highest: seq_at(row, 8).unwrap_or(0),
            held: seq_at(row, 9).unwrap_or(0),
            complete_to: seq_at(row, 10).unwrap_or(0),
            complete_digest: digest_at(row, 11),
            tail: seq_at(row, 12).zip(digest_at(row, 13)),
            walk_due: get(row, 14)?,
        };
        all.entry(get(row, 0)?)
            .or_default()
            .insert(get(row, 1)?, epoch);
    }
    Ok(all)
}

pub(super) async fn write(
    transaction: &Transaction<'_>,
    dockets: &BTreeMap<String, Docket>,
) -> Result<(), HubError> {
    let all: Vec<(&String, Uuid, &EpochRow)> = dockets
        .iter()
        .flat_map(|(device, docket)| {
            let epochs = docket.plan.work.keys();
            epochs.filter_map(move |epoch| Some((device, *epoch, docket.epochs.get(epoch)?)))
        })
        .collect();
    let bytes = |digest: Option<Digest>| digest.map(|digest| digest.as_bytes().to_vec());
    let previous = || all.iter().map(|(.., row)| row.previous);
    let device: Vec<&str> = all.iter().map(|(device, ..)| &***device).collect();
    let epoch: Vec<Uuid> = all.iter().map(|(_, epoch, _)| *epoch).collect();
    let key_id: Vec<Option<&[u8]>> = all
        .iter()
        .map(|(.., row)| row.key_id.as_ref().map(|id| &id.as_bytes()[..]))
        .collect();
    let first: Vec<Option<i64>> = all
        .iter()
        .map(|(.., row)| row.first_seq.map(number))
        .collect();
    let reason: Vec<Option<&str>> = all.iter().map(|(.., row)| row.reason.as_deref()).collect();
    let before: Vec<Option<Uuid>> = previous().map(|it| it.map(|it| it.0)).collect();
    let end: Vec<Option<i64>> = previous().map(|it| it.map(|it| number(it.1))).collect();
    let end_digest: Vec<Option<Vec<u8>>> = previous().map(|it| bytes(it.map(|it| it.2))).collect();
    let highest: Vec<i64> = all.iter().map(|(.., row)| number(row.highest)).collect();
    let held: Vec<i64> = all.iter().map(|(.., row)| number(row.held)).collect();
    let complete: Vec<i64> = all
        .iter()
        .map(|(.., row)| number(row.complete_to))
        .collect();
    let digest: Vec<Option<Vec<u8>>> = all
        .iter()
        .map(|(.., row)| bytes(row.complete_digest))
        .collect();
    let tail: Vec<Option<i64>> = all
        .iter()
        .map(|(.., row)| row.tail.map(|it| number(it.0)))
        .collect();
    let tail_digest: Vec<Option<Vec<u8>>> = all
        .iter()
        .map(|(.., row)| bytes(row.tail.map(|it| it.1)))
        .collect();
    let due: Vec<bool> = all.iter().map(|(.., row)| row.walk_due).collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.epochs as e (device, epoch, key_id, first_seq, reason, \
             previous_epoch, previous_seq, previous_digest, highest, held, complete_to, \
             complete_digest, tail_seq, tail_digest, walk_due) \
             select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             on conflict (device, epoch) do update set key_id = excluded.key_id, \
             first_seq = excluded.first_seq, reason = excluded.reason, \
             previous_epoch = excluded.previous_epoch, previous_seq = excluded.previous_seq, \
             previous_digest = excluded.previous_digest, highest = excluded.highest, \
             held = excluded.held, complete_to = excluded.complete_to, \
             complete_digest = excluded.complete_digest, tail_seq = excluded.tail_seq, \
             tail_digest = excluded.tail_digest, walk_due = excluded.walk_due, \
             last_contact = now()",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&key_id, Type::BYTEA_ARRAY),
                (&first, Type::INT8_ARRAY),
                (&reason, Type::TEXT_ARRAY),
                (&before, Type::UUID_ARRAY),
                (&end, Type::INT8_ARRAY),
                (&end_digest, Type::BYTEA_ARRAY),
                (&highest, Type::INT8_ARRAY),
                (&held, Type::INT8_ARRAY),
                (&complete, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
                (&tail, Type::INT8_ARRAY),
                (&tail_digest, Type::BYTEA_ARRAY),
                (&due, Type::BOOL_ARRAY),
            ],
        )
        .await
        .tried("writing how far chains go")?;
    Ok(())
}
