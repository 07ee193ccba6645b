//! What the signatures of devices show to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Transaction, types::Type};
use uuid::Uuid;

use super::{Docket, digest_at, place, seq_at};
use crate::hub::{
    error::{HubError, Tried as _},
    plan::{ByDevice, Finding, Pledge, Stored},
    rows::{get, number},
};

/// What was stored where other events are, and those.
pub(super) async fn forks(
    transaction: &Transaction<'_>,
    stored: &ByDevice<Stored>,
) -> Result<BTreeSet<(String, Finding)>, HubError> {
    let all = || {
        stored
            .iter()
            .flat_map(|(device, events)| events.iter().map(move |event| (device, event)))
    };
    let device: Vec<&str> = all().map(|(device, _)| &**device).collect();
    let epoch: Vec<Uuid> = all().map(|(_, event)| event.epoch).collect();
    let seq: Vec<i64> = all().map(|(_, event)| number(event.seq)).collect();
    let digest: Vec<&[u8]> = all()
        .map(|(_, event)| &event.digest.as_bytes()[..])
        .collect();
    let answer = transaction
        .query_typed(
            // `offset 0` has it looked up by place: joined, all positions may be read for it.
            "select batch.device, batch.epoch, batch.seq, batch.digest, other.digest \
             from unnest($1, $2, $3, $4) as batch (device, epoch, seq, digest) \
             cross join lateral (select p.digest from edge_outbox_hub.positions p \
             where p.device = batch.device and p.epoch = batch.epoch and p.seq = batch.seq \
             and p.digest <> batch.digest offset 0) other",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("looking for forks")?;
    let mut forks = BTreeSet::new();
    for row in &answer {
        for at in [3, 4] {
            let finding = Finding {
                epoch: get(row, 1)?,
                seq: seq_at(row, 2).ok_or(HubError::Table("positions"))?,
                code: "fork",
                digest: digest_at(row, at).ok_or(HubError::Table("positions"))?,
            };
            forks.insert((get(row, 0)?, finding));
        }
    }
    Ok(forks)
}

/// Holds what tails and later epochs say of a place against what is there.
pub(super) async fn contradictions(
    transaction: &Transaction<'_>,
    dockets: &mut BTreeMap<String, Docket>,
) -> Result<(), HubError> {
    let all: Vec<(String, Pledge)> = dockets
        .iter()
        .flat_map(|(device, docket)| {
            docket
                .plan
                .pledges
                .iter()
                .map(|pledge| (device.clone(), pledge.clone()))
        })
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    let device: Vec<&str> = all.iter().map(|(device, _)| &**device).collect();
    let epoch: Vec<Uuid> = all.iter().map(|(_, pledge)| pledge.epoch).collect();
    let seq: Vec<i64> = all.iter().map(|(_, pledge)| number(pledge.seq)).collect();
    let digest: Vec<&[u8]> = all
        .iter()
        .map(|(_, pledge)| &pledge.digest.as_bytes()[..])
        .collect();
    let answer = transaction
        .query_typed(
            "select batch.place from unnest($1, $2, $3, $4) with ordinality \
             as batch (device, epoch, seq, digest, place) \
             where exists (select from edge_outbox_hub.positions p where p.device = batch.device \
             and p.epoch = batch.epoch and p.seq = batch.seq) \
             and not exists (select from edge_outbox_hub.positions p \
             where p.device = batch.device and p.epoch = batch.epoch and p.seq = batch.seq \
             and p.digest = batch.digest)",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("holding later words against events")?;
    for row in &answer {
        let Some((device, pledge)) = all.get(place(row)) else {
            continue;
        };
        if let Some(docket) = dockets.get_mut(device) {
            docket.plan.findings.push(Finding {
                epoch: pledge.epoch,
                seq: pledge.seq,
                code: "fork",
                digest: pledge.digest,
            });
        }
    }
    Ok(())
}

pub(super) async fn write(
    transaction: &Transaction<'_>,
    dockets: &BTreeMap<String, Docket>,
) -> Result<(), HubError> {
    let all: Vec<(&String, &Finding)> = dockets
        .iter()
        .flat_map(|(device, docket)| docket.plan.findings.iter().map(move |it| (device, it)))
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    let device: Vec<&str> = all.iter().map(|(device, _)| &***device).collect();
    let epoch: Vec<Uuid> = all.iter().map(|(_, finding)| finding.epoch).collect();
    let seq: Vec<i64> = all.iter().map(|(_, finding)| number(finding.seq)).collect();
    let code: Vec<&str> = all.iter().map(|(_, finding)| finding.code).collect();
    let digest: Vec<&[u8]> = all
        .iter()
        .map(|(_, finding)| &finding.digest.as_bytes()[..])
        .collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.tampering (device, epoch, seq, code, digest) \
             select * from unnest($1, $2, $3, $4, $5) on conflict do nothing",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&code, Type::TEXT_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("noting what is wrong")?;
    Ok(())
}
