//! The gaps of epochs, brought up to date.

use std::collections::BTreeMap;

use tokio_postgres::{Transaction, types::Type};
use uuid::Uuid;

use super::{Chain, Docket, digest_at, seq_at};
use crate::{
    clock::Timestamp,
    digest::Digest,
    hub::{
        account::{Account, Declared, Gap},
        error::{HubError, Tried as _},
        plan::Finding,
        rows::{get, number},
    },
    sink::postgres::Moment,
};

/// Brings the gaps up to date.
pub(super) async fn balance(
    transaction: &Transaction<'_>,
    dockets: &mut BTreeMap<String, Docket>,
    now_us: i64,
) -> Result<(), HubError> {
    let mut hulls: Vec<(Chain, (u64, u64))> = Vec::new();
    for (device, docket) in &*dockets {
        for (epoch, work) in &docket.plan.work {
            let row = docket.epochs.get(epoch);
            if let Some(hull) = row.and_then(|row| work.hull(row)) {
                hulls.push(((device.clone(), *epoch), hull));
            }
        }
    }
    let mut gaps = read_gaps(transaction, &hulls).await?;
    let mut removed: Vec<(Chain, u64)> = Vec::new();
    let mut written: Vec<(Chain, u64, Gap)> = Vec::new();
    for (chain, _) in hulls {
        let Some(docket) = dockets.get_mut(&chain.0) else {
            continue;
        };
        let (Some(row), Some(work)) = (
            docket.epochs.get_mut(&chain.1),
            docket.plan.work.get(&chain.1),
        ) else {
            continue;
        };
        let kept = gaps.remove(&chain).unwrap_or_default();
        // A start that is new counts from `starts` on.
        let first = row.first_seq.filter(|_| work.starts.is_none());
        let mut account = Account::new(first, row.highest, kept, now_us);
        for &seq in &work.arrived {
            account.arrived(seq);
        }
        account.reaches(work.reaches);
        if let Some(seq) = work.starts
            && account.starts(seq) > 0
        {
            docket.plan.findings.push(Finding {
                epoch: chain.1,
                seq,
                code: "before_start",
                digest: Digest::ZERO,
            });
        }
        for declaration in &work.declared {
            account.declared(declaration.range, &declaration.why, declaration.last_digest);
        }
        row.highest = account.highest();
        let changes = account.changes();
        removed.extend(
            changes
                .removed
                .into_iter()
                .map(|first| (chain.clone(), first)),
        );
        let gaps = changes.written.into_iter();
        written.extend(gaps.map(|(first, gap)| (chain.clone(), first, gap)));
    }
    remove_gaps(transaction, &removed).await?;
    write_gaps(transaction, &written).await
}

async fn read_gaps(
    transaction: &Transaction<'_>,
    hulls: &[(Chain, (u64, u64))],
) -> Result<BTreeMap<Chain, BTreeMap<u64, Gap>>, HubError> {
    let device: Vec<&str> = hulls.iter().map(|((device, _), _)| &**device).collect();
    let epoch: Vec<Uuid> = hulls.iter().map(|((_, epoch), _)| *epoch).collect();
    let low: Vec<i64> = hulls.iter().map(|(_, hull)| number(hull.0)).collect();
    let high: Vec<i64> = hulls.iter().map(|(_, hull)| number(hull.1)).collect();
    let answer = transaction
        .query_typed(
            "select g.device, g.epoch, g.first_seq, g.last_seq, \
             (extract(epoch from g.opened_at) * 1000000)::bigint, g.declared, \
             (extract(epoch from g.declared_at) * 1000000)::bigint, g.last_digest \
             from unnest($1, $2, $3, $4) as batch (device, epoch, low, high) \
             join edge_outbox_hub.gap_rows g on g.device = batch.device \
             and g.epoch = batch.epoch and g.first_seq <= batch.high and g.last_seq >= batch.low",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&low, Type::INT8_ARRAY),
                (&high, Type::INT8_ARRAY),
            ],
        )
        .await
        .tried("reading gaps")?;
    let mut gaps: BTreeMap<Chain, BTreeMap<u64, Gap>> = BTreeMap::new();
    for row in &answer {
        let ends = seq_at(row, 2).zip(seq_at(row, 3));
        let (first, last) = ends.ok_or(HubError::Table("gap_rows"))?;
        let opened_us = get(row, 4)?;
        let declared: Option<String> = get(row, 5)?;
        let declared_us: Option<i64> = get(row, 6)?;
        let gap = Gap {
            last,
            opened_us,
            declared: declared.map(|why| Declared {
                why,
                at_us: declared_us.unwrap_or(opened_us),
                last_digest: digest_at(row, 7),
            }),
        };
        gaps.entry((get(row, 0)?, get(row, 1)?))
            .or_default()
            .insert(first, gap);
    }
    Ok(gaps)
}

async fn remove_gaps(
    transaction: &Transaction<'_>,
    removed: &[(Chain, u64)],
) -> Result<(), HubError> {
    if removed.is_empty() {
        return Ok(());
    }
    let device: Vec<&str> = removed.iter().map(|((device, _), _)| &**device).collect();
    let epoch: Vec<Uuid> = removed.iter().map(|((_, epoch), _)| *epoch).collect();
    let first: Vec<i64> = removed.iter().map(|(_, first)| number(*first)).collect();
    transaction
        .query_typed(
            "delete from edge_outbox_hub.gap_rows g \
             using unnest($1, $2, $3) as batch (device, epoch, first_seq) \
             where g.device = batch.device and g.epoch = batch.epoch \
             and g.first_seq = batch.first_seq",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&first, Type::INT8_ARRAY),
            ],
        )
        .await
        .tried("closing gaps")?;
    Ok(())
}

async fn write_gaps(
    transaction: &Transaction<'_>,
    written: &[(Chain, u64, Gap)],
) -> Result<(), HubError> {
    if written.is_empty() {
        return Ok(());
    }
    let declared = || written.iter().map(|(.., gap)| gap.declared.as_ref());
    let device: Vec<&str> = written.iter().map(|((device, _), ..)| &**device).collect();
    let epoch: Vec<Uuid> = written.iter().map(|((_, epoch), ..)| *epoch).collect();
    let first: Vec<i64> = written.iter().map(|(_, first, _)| number(*first)).collect();
    let last: Vec<i64> = written.iter().map(|(.., gap)| number(gap.last)).collect();
    let opened: Vec<Option<Moment>> = written
        .iter()
        .map(|(.., gap)| moment(gap.opened_us))
        .collect();
    let why: Vec<Option<&str>> = declared().map(|it| it.map(|it| &*it.why)).collect();
    let at: Vec<Option<Moment>> = declared().map(|it| moment(it?.at_us)).collect();
    let digest: Vec<Option<&[u8]>> = declared()
        .map(|it| {
            it?.last_digest
                .as_ref()
                .map(|digest| &digest.as_bytes()[..])
        })
        .collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.gap_rows \
             (device, epoch, first_seq, last_seq, opened_at, declared, declared_at, last_digest) \
             select * from unnest($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&first, Type::INT8_ARRAY),
                (&last, Type::INT8_ARRAY),
                (&opened, Type::TIMESTAMPTZ_ARRAY),
                (&why, Type::TEXT_ARRAY),
                (&at, Type::TIMESTAMPTZ_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("opening gaps")?;
    Ok(())
}

fn moment(micros: i64) -> Option<Moment> {
    Timestamp::from_micros(micros).ok().map(Moment)
}
