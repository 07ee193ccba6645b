//! What ledgers say of seqs before them, kept for whenever it is known whose those are.

use std::collections::BTreeMap;

use tokio_postgres::{Transaction, types::Type};
use uuid::Uuid;

use super::{digest_at, seq_at};
use crate::{
    hub::{
        error::{HubError, Tried as _},
        ledger::Declaration,
        plan::{ByDevice, Told},
        rows::{get, number},
    },
    seq::{Seq, SeqRange},
};

pub(super) async fn note(
    transaction: &Transaction<'_>,
    told: &ByDevice<(Seq, Told)>,
) -> Result<(), HubError> {
    let all = || {
        told.iter()
            .flat_map(|(device, told)| told.iter().map(move |(seq, told)| (device, seq, told)))
    };
    if all().next().is_none() {
        return Ok(());
    }
    let range = |told: &Told| told.declaration.range;
    let device: Vec<&str> = all().map(|(device, ..)| &**device).collect();
    let epoch: Vec<Uuid> = all().map(|(.., told)| told.epoch).collect();
    let seq: Vec<i64> = all().map(|(_, seq, _)| number(seq.get())).collect();
    let first: Vec<i64> = all()
        .map(|(.., told)| number(range(told).first().get()))
        .collect();
    let last: Vec<i64> = all()
        .map(|(.., told)| number(range(told).last().get()))
        .collect();
    let reason: Vec<&str> = all().map(|(.., told)| &*told.declaration.why).collect();
    let digest: Vec<Option<&[u8]>> = all()
        .map(|(.., told)| {
            told.declaration
                .last_digest
                .as_ref()
                .map(|it| &it.as_bytes()[..])
        })
        .collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.declarations \
             (device, epoch, seq, first_seq, last_seq, reason, last_digest) \
             select * from unnest($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&first, Type::INT8_ARRAY),
                (&last, Type::INT8_ARRAY),
                (&reason, Type::TEXT_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("noting what ledgers say")?;
    Ok(())
}

/// Everything that the ledgers of these devices have said, in its order.
pub(super) async fn read(
    transaction: &Transaction<'_>,
    devices: &[String],
) -> Result<BTreeMap<String, Vec<Told>>, HubError> {
    let mut all: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    if devices.is_empty() {
        return Ok(all);
    }
    let answer = transaction
        .query_typed(
            "select device, epoch, first_seq, last_seq, reason, last_digest \
             from edge_outbox_hub.declarations where device = any($1) \
             order by device, seq, epoch, first_seq, reason",
            &[(&devices, Type::TEXT_ARRAY)],
        )
        .await
        .tried("reading what ledgers said")?;
    for row in &answer {
        let ends = seq_at(row, 2).zip(seq_at(row, 3));
        let range = ends.and_then(|(first, last)| SeqRange::new(Seq::new(first), Seq::new(last)));
        let declaration = Declaration {
            range: range.ok_or(HubError::Table("declarations"))?,
            why: get::<String>(row, 4)?.into(),
            last_digest: digest_at(row, 5),
        };
        let epoch = get(row, 1)?;
        all.entry(get(row, 0)?)
            .or_default()
            .push(Told { epoch, declaration });
    }
    Ok(all)
}
