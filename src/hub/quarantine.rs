//! What is not taken: kept with its reason, within bounds, and never in the way of what follows.

use std::{
    collections::{BTreeMap, HashSet},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use tokio_postgres::{
    Row, Transaction,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{
    error::{HubError, Tried as _},
    proof::{Aside, Message},
    reason::Reason,
    rows::{get, read_digest},
};
use crate::{digest::Digest, envelope::Envelope};

/// Messages kept for each reason. Two hubs at once may keep a batch more.
pub const MAX_MESSAGES: u64 = 10_000;
/// Bytes of messages kept for each reason, likewise.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What is kept of one message. One that was cut is not tried again.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The reasons of which the log has said that messages were dropped, and that one was cut: a bit each.
static DROPPED: AtomicU32 = AtomicU32::new(0);
static CUT: AtomicU32 = AtomicU32::new(0);

/// Keeps what is new, counts what is there already and what there is no room for. What comes out of
/// quarantine, `again`, leaves it first.
pub(super) async fn set_aside(
    transaction: &Transaction<'_>,
    asides: Vec<Aside>,
    again: &[Message],
) -> Result<(), HubError> {
    if !again.is_empty() {
        let digests = again.iter().map(|message| Digest::of(&[&message.body]));
        let digests: Vec<Vec<u8>> = digests.map(|digest| digest.as_bytes().to_vec()).collect();
        forget(
            transaction,
            "message_digest = any($1)",
            &digests,
            Type::BYTEA_ARRAY,
        )
        .await?;
    }
    let erased = erased_among(transaction, &asides).await?;
    let is_erased = |aside: &Aside| {
        let persons = aside.claims.iter().flat_map(|claims| &claims.persons);
        persons.into_iter().any(|person| erased.contains(person))
    };
    // The same message several times in one batch is one here.
    let mut all: BTreeMap<Digest, (Aside, i64)> = BTreeMap::new();
    for aside in asides.into_iter().filter(|aside| !is_erased(aside)) {
        let digest = Digest::of(&[&aside.message.body]);
        all.entry(digest).or_insert((aside, 0)).1 += 1;
    }
    if all.is_empty() {
        return Ok(());
    }
    for digest in seen_again(transaction, &all).await? {
        all.remove(&digest);
    }
    if !all.is_empty() {
        keep(transaction, &all).await?;
    }
    Ok(())
}

/// Those persons of these messages who were erased: nothing of them is kept here, however late it comes.
async fn erased_among(
    transaction: &Transaction<'_>,
    asides: &[Aside],
) -> Result<HashSet<Digest>, HubError> {
    let persons = asides.iter().filter_map(|aside| aside.claims.as_ref());
    let persons: Vec<&[u8]> = persons
        .flat_map(|claims| claims.persons.iter().map(|person| &person.as_bytes()[..]))
        .collect();
    if persons.is_empty() {
        return Ok(HashSet::new());
    }
    let answer = transaction
        .query_typed(
            "select hash from edge_outbox_hub.erased where hash = any($1)",
            &[(&persons, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("looking up who was erased")?;
    answer.iter().map(kept_digest).collect()
}

/// Counts those that are there; gives them.
async fn seen_again(
    transaction: &Transaction<'_>,
    all: &BTreeMap<Digest, (Aside, i64)>,
) -> Result<Vec<Digest>, HubError> {
    let digest: Vec<&[u8]> = all.keys().map(|digest| &digest.as_bytes()[..]).collect();
    let times: Vec<i64> = all.values().map(|(_, times)| *times).collect();
    let answer = transaction
        .query_typed(
            // Locked in the order of their digests before they are changed. One that now has
            // another reason is counted where it was.
            "with there as materialized (select q.id, batch.times \
             from unnest($1, $2) as batch (digest, times) \
             join edge_outbox_hub.quarantine q on q.message_digest = batch.digest \
             order by q.message_digest for update of q) \
             update edge_outbox_hub.quarantine q \
             set times = q.times + there.times, last_at = now() \
             from there where there.id = q.id returning q.message_digest",
            &[(&digest, Type::BYTEA_ARRAY), (&times, Type::INT8_ARRAY)],
        )
        .await
        .tried("counting messages in quarantine")?;
    answer.iter().map(kept_digest).collect()
}

async fn keep(
    transaction: &Transaction<'_>,
    all: &BTreeMap<Digest, (Aside, i64)>,
) -> Result<(), HubError> {
    let mut totals = totals(transaction).await?;
    let mut kept: Vec<(&Digest, &Aside, i64)> = Vec::new();
    let mut dropped: BTreeMap<Reason, i64> = BTreeMap::new();
    for (digest, (aside, times)) in all {
        let total = totals.entry(aside.reason).or_default();
        let bytes = cut(&aside.message.body).len() as u64;
        if total.0 < MAX_MESSAGES && total.1 + bytes <= MAX_BYTES {
            *total = (total.0 + 1, total.1 + bytes);
            kept.push((digest, aside, *times));
            if aside.message.body.len() > MAX_MESSAGE_BYTES && is_first(&CUT, aside.reason) {
                tracing::warn!(
                    reason = aside.reason.code(),
                    "a message in quarantine is cut to {MAX_MESSAGE_BYTES} bytes: it is not tried again, \
                     and has to be sent again once what is in its way is mended"
                );
            }
        } else {
            *dropped.entry(aside.reason).or_default() += times;
            if is_first(&DROPPED, aside.reason) {
                tracing::warn!(
                    reason = aside.reason.code(),
                    "quarantine has no room for more of this reason: what comes is dropped, and has to \
                     be sent again once what is in its way is mended"
                );
            }
        }
    }
    let inserted = insert(transaction, &kept).await?;
    let mut changes: BTreeMap<Reason, (i64, i64, i64)> = BTreeMap::new();
    for (digest, aside, _) in &kept {
        if inserted.contains(digest) {
            let change = changes.entry(aside.reason).or_default();
            change.0 += 1;
            change.1 += cut(&aside.message.body).len() as i64;
        }
    }
    for (reason, count) in dropped {
        changes.entry(reason).or_default().2 += count;
    }
    let mut codes: Vec<(&str, (i64, i64, i64))> = changes
        .iter()
        .map(|(reason, change)| (reason.code(), *change))
        .collect();
    codes.sort_unstable();
    let reason: Vec<&str> = codes.iter().map(|(code, _)| *code).collect();
    let count: Vec<i64> = codes.iter().map(|(_, change)| change.0).collect();
    let bytes: Vec<i64> = codes.iter().map(|(_, change)| change.1).collect();
    let lost: Vec<i64> = codes.iter().map(|(_, change)| change.2).collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.quarantine_totals as t (reason, kept, bytes, dropped) \
             select * from unnest($1, $2, $3, $4) \
             on conflict (reason) do update set kept = t.kept + excluded.kept, \
             bytes = t.bytes + excluded.bytes, dropped = t.dropped + excluded.dropped",
            &[
                (&reason, Type::TEXT_ARRAY),
                (&count, Type::INT8_ARRAY),
                (&bytes, Type::INT8_ARRAY),
                (&lost, Type::INT8_ARRAY),
            ],
        )
        .await
        .tried("counting quarantine")?;
    Ok(())
}

/// Whether this process says it of this reason for the first time.
fn is_first(told: &AtomicU32, reason: Reason) -> bool {
    let bit = 1 << reason as u32;
    told.fetch_or(bit, Ordering::Relaxed) & bit == 0
}

fn kept_digest(row: &Row) -> Result<Digest, HubError> {
    read_digest(get(row, 0)?).ok_or(HubError::Table("quarantine"))
}

fn cut(body: &Bytes) -> &[u8] {
    body.get(..MAX_MESSAGE_BYTES).unwrap_or(body)
}

/// Messages and bytes kept for each reason.
async fn totals(transaction: &Transaction<'_>) -> Result<BTreeMap<Reason, (u64, u64)>, HubError> {
    let answer = transaction
        .query_typed(
            "select reason, kept, bytes from edge_outbox_hub.quarantine_totals",
            &[],
        )
        .await
        .tried("reading how much is in quarantine")?;
    let mut totals = BTreeMap::new();
    for row in &answer {
        let code: &str = get(row, 0)?;
        if let Some(reason) = Reason::ALL.into_iter().find(|reason| reason.code() == code) {
            let number = |at| Ok(get::<i64>(row, at)?.try_into().unwrap_or(0));
            totals.insert(reason, (number(1)?, number(2)?));
        }
    }
    Ok(totals)
}

async fn insert(
    transaction: &Transaction<'_>,
    kept: &[(&Digest, &Aside, i64)],
) -> Result<HashSet<Digest>, HubError> {
    let claims = || kept.iter().map(|(_, aside, _)| aside.claims.as_ref());
    let bytes_of = |digest: Option<&'_ Digest>| digest.map(|digest| digest.as_bytes().to_vec());
    let message_digest: Vec<&[u8]> = kept
        .iter()
        .map(|(digest, ..)| &digest.as_bytes()[..])
        .collect();
    let reason: Vec<&str> = kept
        .iter()
        .map(|(_, aside, _)| aside.reason.code())
        .collect();
    let origin: Vec<&str> = kept
        .iter()
        .map(|(_, aside, _)| &*aside.message.origin)
        .collect();
    let device: Vec<Option<&str>> = claims().map(|it| it.map(|it| &*it.device)).collect();
    let epoch: Vec<Option<Uuid>> = claims().map(|it| it.map(|it| it.epoch)).collect();
    let seq: Vec<Option<i64>> = claims().map(|it| it.map(|it| it.seq)).collect();
    let key_id: Vec<Option<&[u8]>> = claims()
        .map(|it| it.map(|it| &it.key_id.as_bytes()[..]))
        .collect();
    let predecessor: Vec<Option<&[u8]>> = claims()
        .map(|it| it?.predecessor.as_ref().map(|id| &id.as_bytes()[..]))
        .collect();
    let digest: Vec<Option<Vec<u8>>> = claims()
        .map(|it| bytes_of(it.and_then(|it| it.digest.as_ref())))
        .collect();
    let person = |at: usize| -> Vec<Option<Vec<u8>>> {
        claims()
            .map(|it| bytes_of(it.and_then(|it| it.persons.get(at))))
            .collect()
    };
    let (first_person, second_person) = (person(0), person(1));
    let message: Vec<&[u8]> = kept
        .iter()
        .map(|(_, aside, _)| cut(&aside.message.body))
        .collect();
    let bytes: Vec<i32> = kept
        .iter()
        .map(|(_, aside, _)| aside.message.body.len().try_into().unwrap_or(i32::MAX))
        .collect();
    let times: Vec<i64> = kept.iter().map(|(.., times)| *times).collect();
    let answer = transaction
        .query_typed(
            "insert into edge_outbox_hub.quarantine (message_digest, reason, origin, device, epoch, \
             seq, key_id, predecessor, digest, persons, message, bytes, times) \
             select message_digest, reason, origin, device, epoch, seq, key_id, predecessor, digest, \
             array_remove(array[first_person, second_person], null), message, bytes, times \
             from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) as batch \
             (message_digest, reason, origin, device, epoch, seq, key_id, predecessor, digest, \
             first_person, second_person, message, bytes, times) \
             on conflict (message_digest) do nothing returning message_digest",
            &[
                (&message_digest, Type::BYTEA_ARRAY),
                (&reason, Type::TEXT_ARRAY),
                (&origin, Type::TEXT_ARRAY),
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&key_id, Type::BYTEA_ARRAY),
                (&predecessor, Type::BYTEA_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
                (&first_person, Type::BYTEA_ARRAY),
                (&second_person, Type::BYTEA_ARRAY),
                (&message, Type::BYTEA_ARRAY),
                (&bytes, Type::INT4_ARRAY),
                (&times, Type::INT8_ARRAY),
            ],
        )
        .await
        .tried("putting messages into quarantine")?;
    answer.iter().map(kept_digest).collect()
}

/// Removes what a condition on `$1` names; gives how many messages.
pub(super) async fn forget(
    transaction: &Transaction<'_>,
    condition: &str,
    parameter: &(dyn ToSql + Sync),
    of: Type,
) -> Result<u64, HubError> {
    let statement = format!(
        "with gone as (delete from edge_outbox_hub.quarantine where {condition} \
         returning reason, octet_length(message) as bytes), \
         less as (select reason, count(*) as kept, sum(bytes) as bytes from gone group by reason), \
         counted as (update edge_outbox_hub.quarantine_totals t \
         set kept = t.kept - less.kept, bytes = t.bytes - less.bytes \
         from less where less.reason = t.reason) \
         select count(*) from gone"
    );
    let answer = transaction
        .query_typed(&statement, &[(parameter, of)])
        .await
        .tried("removing messages from quarantine")?;
    let gone: i64 = answer.first().map_or(Ok(0), |row| get(row, 0))?;
    Ok(gone.try_into().unwrap_or(0))
}

/// Takes the personal part from messages of these events that devices have erased, as far as it is
/// proven that they are those. One that was cut goes: it is not tried again.
pub(super) async fn strip_erased(
    transaction: &Transaction<'_>,
    digests: &[Digest],
) -> Result<(), HubError> {
    if digests.is_empty() {
        return Ok(());
    }
    let digest: Vec<&[u8]> = digests.iter().map(|it| &it.as_bytes()[..]).collect();
    let answer = transaction
        .query_typed(
            "select q.id, q.message from edge_outbox_hub.quarantine q \
             where q.digest = any($1) and q.persons <> '{}' and exists (select \
             from edge_outbox_hub.device_erasures e where e.digest = q.digest \
             and q.key_id in (select edge_outbox_hub.line_of_key(e.key_id))) \
             order by q.message_digest for update of q",
            &[(&digest, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("looking through quarantine for what was erased")?;
    for row in &answer {
        let (id, message): (i64, &[u8]) = (get(row, 0)?, get(row, 1)?);
        let stripped = Envelope::from_message(message).map(|it| it.stripped());
        let stripped = stripped.unwrap_or_default();
        let message_digest = Digest::of(&[&stripped]);
        let changed = transaction
            .execute_typed(
                "with there as (select q.id, q.reason, octet_length(q.message) as bytes \
                 from edge_outbox_hub.quarantine q where q.id = $1 and $2 <> '' and not exists (select \
                 from edge_outbox_hub.quarantine s where s.message_digest = $3)), \
                 counted as (update edge_outbox_hub.quarantine_totals t \
                 set bytes = t.bytes - there.bytes + octet_length($2) \
                 from there where t.reason = there.reason) \
                 update edge_outbox_hub.quarantine q set message = $2, message_digest = $3, \
                 bytes = octet_length($2), persons = '{}' from there where q.id = there.id",
                &[
                    (&id, Type::INT8),
                    (&stripped, Type::BYTEA),
                    (&&message_digest.as_bytes()[..], Type::BYTEA),
                ],
            )
            .await
            .tried("stripping a message in quarantine")?;
        if changed == 0 {
            forget(transaction, "id = $1", &id, Type::INT8).await?;
        }
    }
    Ok(())
}

/// Messages with ids above the first and up to the last that may be taken now, in the order in which
/// they came, and the id of the last one given. What they name is looked for; whether it suffices,
/// intake says.
pub(super) async fn waiting(
    transaction: &Transaction<'_>,
    ids: RangeInclusive<i64>,
    limit: i64,
) -> Result<(Vec<Message>, i64), HubError> {
    let (after, upto) = ids.into_inner();
    let answer = transaction
        .query_typed(
            "select q.id, q.message, q.origin \
             from edge_outbox_hub.quarantine q \
             where q.id > $1 and q.id <= $2 and octet_length(q.message) = q.bytes and case \
             when q.reason in ('unknown_device', 'unknown_key', 'wrong_device') then exists (select \
             from edge_outbox_hub.device_keys k \
             where k.device = q.device and (k.key_id = q.key_id \
             or k.key_id = q.predecessor and k.revoked_at is null)) \
             when q.reason in ('retired_key', 'key_of_epoch') then exists (select \
             from edge_outbox_hub.epochs e where e.device = q.device and e.epoch = q.epoch \
             and e.key_id = q.key_id) \
             when q.reason = 'stripped' then exists (select \
             from edge_outbox_hub.device_erasures e where e.digest = q.digest \
             and q.key_id in (select edge_outbox_hub.line_of_key(e.key_id))) or exists (select \
             from edge_outbox_hub.positions p where p.device = q.device and p.epoch = q.epoch \
             and p.seq = q.seq and p.digest = q.digest) \
             else false end \
             order by q.id limit $3",
            &[(&after, Type::INT8), (&upto, Type::INT8), (&limit, Type::INT8)],
        )
        .await
        .tried("looking through quarantine")?;
    let last = answer.last().map_or(Ok(after), |row| get(row, 0))?;
    let messages = answer.iter().map(|row| {
        Ok(Message {
            body: Bytes::copy_from_slice(get(row, 1)?),
            origin: Arc::from(get::<&str>(row, 2)?),
        })
    });
    Ok((messages.collect::<Result<_, HubError>>()?, last))
}
