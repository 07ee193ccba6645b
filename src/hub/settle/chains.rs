//! How far chains go: the walk, over what the tables hold.

use std::collections::BTreeMap;

use tokio_postgres::{Row, Transaction, types::Type};
use uuid::Uuid;

use super::{Chain, Docket, digest_at, place, seq_at};
use crate::{
    digest::Digest,
    hub::{
        error::{HubError, Tried as _},
        plan::{EpochRow, Finding},
        rows::number,
        walk::{At, End, Held, Lost, walk},
    },
};

/// Events that a walk reads at first: enough for what a batch brings where the chain is whole.
const FIRST_STEP: i64 = 128;
/// Events that it reads at a time after that.
const STEP: i64 = 1_024;
/// Such reads in one transaction: what is longer is walked in several.
const MAX_STEPS: usize = 8;

/// Walks these chains as far as they go, or as far as one transaction goes.
pub(super) async fn walk_all(
    transaction: &Transaction<'_>,
    dockets: &mut BTreeMap<String, Docket>,
    mut chains: Vec<Chain>,
) -> Result<(), HubError> {
    for step in 0..MAX_STEPS {
        if chains.is_empty() {
            return Ok(());
        }
        let limit = if step == 0 { FIRST_STEP } else { STEP };
        let from: Vec<(Chain, At)> = chains
            .drain(..)
            .filter_map(|chain| {
                let row = dockets.get(&chain.0)?.epochs.get(&chain.1)?;
                Some((chain, stand(row)))
            })
            .collect();
        let mut held = read_held(transaction, &from, limit).await?;
        let mut lost = read_lost(transaction, &from, limit).await?;
        for (place, (chain, at)) in from.into_iter().enumerate() {
            let held = held.remove(&place).unwrap_or_default();
            let lost = lost.remove(&place).unwrap_or_default();
            let Some(docket) = dockets.get_mut(&chain.0) else {
                continue;
            };
            let Some(row) = docket.epochs.get_mut(&chain.1) else {
                continue;
            };
            row.walk_due = false;
            // Before its start an epoch begins with what was declared lost, or not at all.
            if at.seq == 0
                && row.first_seq.is_none()
                && lost.first().is_none_or(|run| run.first > 1)
            {
                continue;
            }
            let (held, lost, more) = whole(held, lost, limit);
            let (end, why) = walk(at, &held, &lost);
            if end.seq > at.seq {
                row.complete_to = end.seq;
                row.complete_digest = end.digest;
            }
            if let End::Broken(event) = why {
                docket.plan.findings.push(Finding {
                    epoch: chain.1,
                    seq: event.seq,
                    code: "broken_link",
                    digest: event.digest,
                });
            } else if more && end.seq > at.seq {
                row.walk_due = true;
                chains.push(chain);
            }
        }
    }
    Ok(())
}

/// Where the walk of an epoch stands.
fn stand(row: &EpochRow) -> At {
    let before = row.first_seq.map_or(0, |first| first.saturating_sub(1));
    if row.complete_to <= before {
        At {
            seq: before,
            digest: Some(Digest::ZERO),
        }
    } else {
        At {
            seq: row.complete_to,
            digest: row.complete_digest,
        }
    }
}

/// What can be walked of what was read. Where a list was cut, more may follow behind its last seq,
/// and of that seq itself.
fn whole(mut held: Vec<Held>, mut lost: Vec<Lost>, limit: i64) -> (Vec<Held>, Vec<Lost>, bool) {
    let is_cut = |len: usize| i64::try_from(len).is_ok_and(|len| len >= limit);
    let held_to = held
        .last()
        .map(|event| event.seq)
        .filter(|_| is_cut(held.len()));
    let lost_to = lost
        .last()
        .map(|run| run.first)
        .filter(|_| is_cut(lost.len()));
    let Some(upto) = held_to.into_iter().chain(lost_to).min() else {
        return (held, lost, false);
    };
    held.retain(|event| event.seq < upto);
    lost.retain(|run| run.first < upto);
    (held, lost, true)
}

async fn read_held(
    transaction: &Transaction<'_>,
    from: &[(Chain, At)],
    limit: i64,
) -> Result<BTreeMap<usize, Vec<Held>>, HubError> {
    let answer = beyond(
        transaction,
        "select batch.place, it.* \
         from unnest($1, $2, $3) with ordinality as batch (device, epoch, after, place) \
         cross join lateral (select p.seq, p.digest, p.prev from edge_outbox_hub.positions p \
         where p.device = batch.device and p.epoch = batch.epoch and p.seq > batch.after \
         order by p.seq, p.received_at, p.digest limit $4) it",
        from,
        limit,
    )
    .await?;
    let mut held: BTreeMap<usize, Vec<Held>> = BTreeMap::new();
    for row in &answer {
        let parts = seq_at(row, 1).zip(digest_at(row, 2)).zip(digest_at(row, 3));
        let ((seq, digest), prev) = parts.ok_or(HubError::Table("positions"))?;
        held.entry(place(row))
            .or_default()
            .push(Held { seq, digest, prev });
    }
    // They come in the order of a sort that the server need not keep.
    for events in held.values_mut() {
        events.sort_by_key(|event| event.seq);
    }
    Ok(held)
}

async fn read_lost(
    transaction: &Transaction<'_>,
    from: &[(Chain, At)],
    limit: i64,
) -> Result<BTreeMap<usize, Vec<Lost>>, HubError> {
    let answer = beyond(
        transaction,
        "select batch.place, it.* \
         from unnest($1, $2, $3) with ordinality as batch (device, epoch, after, place) \
         cross join lateral (select g.first_seq, g.last_seq, g.last_digest \
         from edge_outbox_hub.gap_rows g where g.device = batch.device \
         and g.epoch = batch.epoch and g.last_seq > batch.after and g.declared is not null \
         order by g.first_seq limit $4) it",
        from,
        limit,
    )
    .await?;
    let mut lost: BTreeMap<usize, Vec<Lost>> = BTreeMap::new();
    for row in &answer {
        let (first, last) = seq_at(row, 1)
            .zip(seq_at(row, 2))
            .ok_or(HubError::Table("gap_rows"))?;
        let last_digest = digest_at(row, 3);
        lost.entry(place(row)).or_default().push(Lost {
            first,
            last,
            last_digest,
        });
    }
    for runs in lost.values_mut() {
        runs.sort_by_key(|run| run.first);
    }
    Ok(lost)
}

async fn beyond(
    transaction: &Transaction<'_>,
    question: &str,
    from: &[(Chain, At)],
    limit: i64,
) -> Result<Vec<Row>, HubError> {
    let device: Vec<&str> = from.iter().map(|((device, _), _)| &**device).collect();
    let epoch: Vec<Uuid> = from.iter().map(|((_, epoch), _)| *epoch).collect();
    let after: Vec<i64> = from.iter().map(|(_, at)| number(at.seq)).collect();
    transaction
        .query_typed(
            question,
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&after, Type::INT8_ARRAY),
                (&limit, Type::INT8),
            ],
        )
        .await
        .tried("walking chains")
}
