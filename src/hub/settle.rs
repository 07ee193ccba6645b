//! Step 5: devices, one after the other in the order of their names, each alone. Forks, what the
//! ledger says, gaps, and how far the chain goes.

use std::collections::BTreeMap;

use tokio_postgres::{Row, Transaction, types::Type};
use uuid::Uuid;

use super::{
    account::{Account, Declared, Gap},
    error::{HubError, Tried as _},
    ledger::Declaration,
    plan::{self, ByDevice, EpochRow, Epochs, Finding, Plan, Pledge, Stored, Told, Work},
    rows::{get, number, read_digest},
    walk::{At, End, Held, Lost, walk},
};
use crate::{
    clock::Timestamp,
    digest::Digest,
    seq::{Seq, SeqRange},
    signing::KeyId,
    sink::postgres::Moment,
    tail::Tail,
};

/// Events that a walk reads at first: enough for what a batch brings where the chain is whole.
const FIRST_STEP: i64 = 128;
/// Events that it reads at a time after that.
const STEP: i64 = 1_024;
/// Such reads in one transaction: what is longer is walked in several.
const MAX_STEPS: usize = 8;

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
    let mut epochs = read_epochs(transaction, &devices).await?;
    let forks = forks(transaction, &stored).await?;
    note_declarations(transaction, &told).await?;
    let starting = devices.iter().filter(|device| {
        let events = stored.get(*device);
        events.is_some_and(|events| events.iter().any(|event| event.start.is_some()))
    });
    let starting: Vec<String> = starting.cloned().collect();
    let mut earlier = read_declarations(transaction, &starting).await?;

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
    balance(transaction, &mut dockets, now_us).await?;
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
    let mut epochs = read_epochs(transaction, &devices).await?;
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
    balance(transaction, &mut dockets, now_us).await?;
    close(transaction, dockets).await.map(drop)
}

/// Walks, looks for contradictions, and writes down what came of it; gives the devices whose chains
/// go further than was walked.
async fn close(
    transaction: &Transaction<'_>,
    mut dockets: BTreeMap<String, Docket>,
) -> Result<Vec<String>, HubError> {
    let chains = worked_on(&dockets);
    walk_all(transaction, &mut dockets, chains).await?;
    contradictions(transaction, &mut dockets).await?;
    write_findings(transaction, &dockets).await?;
    write_epochs(transaction, &dockets).await?;
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
    for (device, epochs) in read_epochs(transaction, &devices).await? {
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

async fn read_epochs(
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

/// A seq, `None` for null and for what is none.
fn seq_at(row: &Row, at: usize) -> Option<u64> {
    get::<Option<i64>>(row, at).ok()??.try_into().ok()
}

/// A digest, likewise.
fn digest_at(row: &Row, at: usize) -> Option<Digest> {
    get::<Option<&[u8]>>(row, at).ok()?.and_then(read_digest)
}

/// Places of the stored events where other events are, too.
async fn forks(
    transaction: &Transaction<'_>,
    stored: &ByDevice<Stored>,
) -> Result<Vec<(String, Finding)>, HubError> {
    let all = || {
        stored
            .iter()
            .flat_map(|(device, events)| events.iter().map(move |event| (device, event)))
    };
    let device: Vec<&str> = all().map(|(device, _)| &**device).collect();
    let epoch: Vec<Uuid> = all().map(|(_, event)| event.epoch).collect();
    let seq: Vec<i64> = all().map(|(_, event)| number(event.seq)).collect();
    let answer = transaction
        .query_typed(
            "select p.device, p.epoch, p.seq, p.digest from (select distinct device, epoch, seq \
             from unnest($1, $2, $3) as batch (device, epoch, seq)) batch \
             join edge_outbox_hub.positions p on p.device = batch.device \
             and p.epoch = batch.epoch and p.seq = batch.seq \
             where exists (select from edge_outbox_hub.positions other \
             where other.device = p.device and other.epoch = p.epoch and other.seq = p.seq \
             and other.digest <> p.digest)",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
            ],
        )
        .await
        .tried("looking for forks")?;
    answer
        .iter()
        .map(|row| {
            let finding = Finding {
                epoch: get(row, 1)?,
                seq: seq_at(row, 2).ok_or(HubError::Table("positions"))?,
                code: "fork",
                digest: digest_at(row, 3).ok_or(HubError::Table("positions"))?,
            };
            Ok((get(row, 0)?, finding))
        })
        .collect()
}

async fn note_declarations(
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
async fn read_declarations(
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

/// Brings the gaps up to date.
async fn balance(
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

/// Walks these chains as far as they go, or as far as one transaction goes.
async fn walk_all(
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

/// Whose row it is of those that were asked about, from 0.
fn place(row: &Row) -> usize {
    let place = get::<i64>(row, 0).unwrap_or(0);
    usize::try_from(place - 1).unwrap_or(usize::MAX)
}

/// Holds what tails and later epochs say of a place against what is there.
async fn contradictions(
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

async fn write_findings(
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

async fn write_epochs(
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
