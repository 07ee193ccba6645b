//! Step 5: devices, one after the other in the order of their names, each alone. Forks, what the
//! ledger says, gaps, how far the chain goes, and what clocks say.

mod chains;
mod clocks;
mod declarations;
mod epochs;
mod findings;
mod gaps;

use std::collections::BTreeMap;

use tokio_postgres::{Row, Transaction, types::Type};
use uuid::Uuid;

use super::{
    error::{HubError, Tried as _},
    plan::{self, ByDevice, Epochs, Plan, Pledge, Stored, Told, Work},
    rows::{get, read_digest},
};
use crate::{digest::Digest, seq::Seq, tail::Tail};

/// A chain by its place in the tables: a device and an epoch.
pub type Chain = (String, Uuid);

/// What is to be settled of one device.
struct Docket {
    epochs: Epochs,
    plan: Plan,
}

/// Settles what was stored, and what is `proven` to be there and is not held; gives the devices whose
/// chains go further than was walked.
pub(super) async fn settle(
    transaction: &Transaction<'_>,
    mut stored: ByDevice<Stored>,
    mut told: ByDevice<(Seq, Told)>,
    mut proven: ByDevice<(Uuid, u64)>,
) -> Result<Vec<String>, HubError> {
    let mut devices: Vec<String> = stored.keys().chain(proven.keys()).cloned().collect();
    devices.sort_unstable();
    devices.dedup();
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let now_us = lock(transaction, &devices).await?;
    clocks::note(transaction, &stored, now_us).await?;
    let mut epochs = epochs::read(transaction, &devices).await?;
    let forks = findings::forks(transaction, &stored).await?;
    declarations::note(transaction, &told).await?;
    let starting = devices.iter().filter(|device| {
        let events = stored.get(*device);
        events.is_some_and(|events| events.iter().any(|event| event.start.is_some()))
    });
    let starting: Vec<String> = starting.cloned().collect();
    let mut earlier = declarations::read(transaction, &starting).await?;

    let mut dockets: BTreeMap<String, Docket> = BTreeMap::new();
    for device in &devices {
        let mut epochs = epochs.remove(device).unwrap_or_default();
        let events = stored.remove(device).unwrap_or_default();
        let now: Vec<Told> = told
            .remove(device)
            .unwrap_or_default()
            .into_iter()
            .map(|it| it.1)
            .collect();
        let before = earlier.remove(device).unwrap_or_default();
        let mut plan = plan::plan(&mut epochs, &events, &now, &before);
        for (epoch, seq) in proven.remove(device).unwrap_or_default() {
            let work = plan.work.entry(epoch).or_default();
            work.reaches = work.reaches.max(seq);
        }
        dockets.insert(device.clone(), Docket { epochs, plan });
    }
    for (device, finding) in forks {
        if let Some(docket) = dockets.get_mut(&device) {
            docket.plan.findings.push(finding);
        }
    }
    gaps::balance(transaction, &mut dockets, now_us).await?;
    close(transaction, dockets).await
}

/// Notes how far journals go, where that is further than was known.
pub(super) async fn reach(
    transaction: &Transaction<'_>,
    tails: BTreeMap<Chain, Tail>,
) -> Result<(), HubError> {
    let mut devices: Vec<String> = tails.keys().map(|(device, _)| device.clone()).collect();
    devices.dedup();
    if devices.is_empty() {
        return Ok(());
    }
    let now_us = lock(transaction, &devices).await?;
    let mut epochs = epochs::read(transaction, &devices).await?;
    let mut dockets: BTreeMap<String, Docket> = BTreeMap::new();
    for ((device, epoch), tail) in tails {
        let docket = dockets.entry(device.clone()).or_insert_with(|| Docket {
            epochs: epochs.remove(&device).unwrap_or_default(),
            plan: Plan::default(),
        });
        let Some(row) = docket.epochs.get_mut(&epoch) else {
            continue;
        };
        let work = docket.plan.work.entry(epoch).or_default();
        if row.tail.is_none_or(|(seq, _)| seq < tail.seq.get()) {
            row.tail = Some((tail.seq.get(), tail.digest));
            work.reaches = tail.seq.get();
        }
        docket.plan.pledges.push(Pledge {
            epoch,
            seq: tail.seq.get(),
            digest: tail.digest,
        });
    }
    gaps::balance(transaction, &mut dockets, now_us).await?;
    close(transaction, dockets).await.map(drop)
}

/// Walks, looks for contradictions, and writes down what came of it; gives the devices whose chains
/// go further than was walked.
async fn close(
    transaction: &Transaction<'_>,
    mut dockets: BTreeMap<String, Docket>,
) -> Result<Vec<String>, HubError> {
    let chains = worked_on(&dockets);
    chains::walk_all(transaction, &mut dockets, chains).await?;
    findings::contradictions(transaction, &mut dockets).await?;
    findings::write(transaction, &dockets).await?;
    epochs::write(transaction, &dockets).await?;
    let is_due = |docket: &Docket| docket.epochs.values().any(|row| row.walk_due);
    let due = dockets.iter().filter(|(_, docket)| is_due(docket));
    Ok(due.map(|(device, _)| device.clone()).collect())
}

/// Goes on with walks that were too long for one transaction; gives the devices where there is
/// still more.
pub(super) async fn walk_on(
    transaction: &Transaction<'_>,
    devices: &[String],
) -> Result<Vec<String>, HubError> {
    let mut devices = devices.to_vec();
    devices.sort_unstable();
    devices.dedup();
    lock(transaction, &devices).await?;
    let mut dockets: BTreeMap<String, Docket> = BTreeMap::new();
    for (device, epochs) in epochs::read(transaction, &devices).await? {
        let due = epochs.iter().filter(|(_, row)| row.walk_due);
        let work = due.map(|(epoch, _)| (*epoch, Work::default())).collect();
        let plan = Plan {
            work,
            ..Plan::default()
        };
        dockets.insert(device, Docket { epochs, plan });
    }
    close(transaction, dockets).await
}

fn worked_on(dockets: &BTreeMap<String, Docket>) -> Vec<Chain> {
    let of = |(device, docket): (&String, &Docket)| -> Vec<Chain> {
        let epochs = docket.plan.work.keys();
        epochs.map(|epoch| (device.clone(), *epoch)).collect()
    };
    dockets.iter().flat_map(of).collect()
}

/// Locks devices in the order of their names; gives the time.
async fn lock(transaction: &Transaction<'_>, devices: &[String]) -> Result<i64, HubError> {
    let answer = transaction
        .query_typed(
            "select (extract(epoch from now()) * 1000000)::bigint from edge_outbox_hub.devices \
             where device = any($1) order by device for no key update",
            &[(&devices, Type::TEXT_ARRAY)],
        )
        .await
        .tried("locking devices")?;
    answer.first().map_or(Ok(0), |row| get(row, 0))
}

/// A seq, `None` for null and for what is none.
fn seq_at(row: &Row, at: usize) -> Option<u64> {
    get::<Option<i64>>(row, at).ok()??.try_into().ok()
}

/// A digest, likewise.
fn digest_at(row: &Row, at: usize) -> Option<Digest> {
    get::<Option<&[u8]>>(row, at).ok()?.and_then(read_digest)
}

/// Whose row it is of those that were asked about, from 0.
fn place(row: &Row) -> usize {
    let place = get::<i64>(row, 0).unwrap_or(0);
    usize::try_from(place - 1).unwrap_or(usize::MAX)
}
