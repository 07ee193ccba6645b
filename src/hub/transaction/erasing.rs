//! Who is erased: what asks for it, what of a batch it concerns, and the erasing itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio_postgres::{Row as SqlRow, Transaction, types::Type};
use uuid::Uuid;

use super::trust::aside;
use crate::{
    digest::Digest,
    envelope::{Envelope, Verified},
    hub::{
        Options,
        erasure::ErasureKey,
        error::{HubError, Tried as _},
        ledger,
        plan::ByDevice,
        proof::{Aside, Proven},
        quarantine,
        reason::Reason,
        rows::{self, Place, Row, get, number, read_digest},
    },
    seq::Seq,
    signing::KeyId,
};

/// The type of the events that ask for somebody to be erased.
const ERASE_REQUESTED: &str = "user.erase_requested.v1";

/// Whether an event may take somebody's personal part: it asks for that, names what was erased, or has
/// a key hand over, whose own events another may have named.
pub(super) fn erases(event: &Proven, options: &Options) -> bool {
    asks_to_erase(&event.envelope, options).is_some()
        || hands_over(event)
        || !ledger::read(&event.envelope).erased.is_empty()
}

fn hands_over(event: &Proven) -> bool {
    let statement = event.envelope.statement();
    predecessor(event).is_some() && ledger::is_start(statement.kind, statement.event_type)
}

/// The key that signed for this event's own.
fn predecessor(event: &Proven) -> Option<&KeyId> {
    event.introduced.as_ref()?.predecessor.as_ref()
}

/// Whom an event asks to erase.
pub(super) fn asks_to_erase(envelope: &Envelope<Verified>, options: &Options) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Request {
        user_id: Uuid,
    }
    if !options.erase_on_request || envelope.statement().event_type != ERASE_REQUESTED {
        return None;
    }
    let request: Request = serde_json::from_slice(envelope.private()?.payload).ok()?;
    Some(request.user_id.to_string())
}

/// Leaves those out that a revoked key signed for a place where something else stands: whoever stole the
/// key can sign that, and what is erased does not come back. They are kept as forks, and erase nothing.
pub(super) async fn leave_out_forks(
    transaction: &Transaction<'_>,
    trusted: &[Proven],
    erasing: &mut HashSet<Place>,
) -> Result<(), HubError> {
    if erasing.is_empty() {
        return Ok(());
    }
    let mut digests: HashMap<(String, Uuid, i64), HashSet<Digest>> = HashMap::new();
    for event in trusted {
        let (device, epoch, seq, digest) = rows::place(event);
        let at = digests.entry((device, epoch, seq)).or_default();
        at.insert(digest);
    }
    let those = trusted.iter().map(|event| (event, rows::place(event)));
    let those: Vec<_> = those.filter(|(_, place)| erasing.contains(place)).collect();
    let is_alone = |(_, place): &(&Proven, Place)| {
        let at = digests.get(&(place.0.clone(), place.1, place.2));
        at.is_none_or(|at| at.len() == 1)
    };
    let device: Vec<&str> = those.iter().map(|(_, place)| &*place.0).collect();
    let epoch: Vec<Uuid> = those.iter().map(|(_, place)| place.1).collect();
    let seq: Vec<i64> = those.iter().map(|(_, place)| place.2).collect();
    let digest: Vec<&[u8]> = those
        .iter()
        .map(|(_, place)| &place.3.as_bytes()[..])
        .collect();
    let ids: Vec<KeyId> = those
        .iter()
        .map(|(event, _)| event.envelope.statement().key_id)
        .collect();
    let key_id: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let alone: Vec<bool> = those.iter().map(is_alone).collect();
    let answer = transaction
        .query_typed(
            "select batch.device, batch.epoch, batch.seq, batch.digest \
             from unnest($1, $2, $3, $4, $5, $6) \
             as batch (device, epoch, seq, digest, key_id, alone) \
             join edge_outbox_hub.device_keys k on k.device = batch.device \
             and k.key_id = batch.key_id and k.revoked_at is not null \
             where not alone or exists (select from edge_outbox_hub.positions p \
             where p.device = batch.device and p.epoch = batch.epoch and p.seq = batch.seq \
             and p.digest <> batch.digest)",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
                (&key_id, Type::BYTEA_ARRAY),
                (&alone, Type::BOOL_ARRAY),
            ],
        )
        .await
        .tried("looking for forks of revoked keys")?;
    for fork in rows::places_in(&answer)? {
        tracing::warn!(device = fork.0, epoch = %fork.1, seq = fork.2, "a fork that a revoked key signed erases nothing");
        erasing.remove(&fork);
    }
    Ok(())
}

/// What ledger events name as erased, by the key that signed them.
pub(super) type ErasedByKeys = BTreeMap<KeyId, Vec<(Seq, Digest)>>;

/// Notes what ledger events that are not held yet name as erased. Gives that, and what others have
/// named before of keys that handed over only now.
pub(super) async fn note_erased(
    transaction: &Transaction<'_>,
    trusted: &[Proven],
    erasing: &HashSet<Place>,
) -> Result<ErasedByKeys, HubError> {
    let mut erased = ErasedByKeys::new();
    let mut handovers: Vec<(KeyId, &KeyId, &str)> = Vec::new();
    for event in trusted
        .iter()
        .filter(|event| erasing.contains(&rows::place(event)))
    {
        let statement = event.envelope.statement();
        let words = ledger::read(&event.envelope);
        if !words.erased.is_empty() {
            let of_key = erased.entry(statement.key_id).or_default();
            of_key.extend(words.erased);
        }
        if let Some(predecessor) = predecessor(event) {
            handovers.push((statement.key_id, predecessor, statement.device));
        }
    }
    if !erased.is_empty() {
        let columns = Columns::of(&erased);
        transaction
            .query_typed(
                "insert into edge_outbox_hub.device_erasures (key_id, seq, digest) \
                 select key_id, seq, digest from unnest($1, $2, $3) as batch (key_id, seq, digest) \
                 on conflict do nothing",
                &[
                    (&columns.key_id, Type::BYTEA_ARRAY),
                    (&columns.seq, Type::INT8_ARRAY),
                    (&columns.digest, Type::BYTEA_ARRAY),
                ],
            )
            .await
            .tried("noting what devices have erased")?;
    }
    if !handovers.is_empty() {
        note_handovers(transaction, &handovers, &mut erased).await?;
    }
    Ok(erased)
}

/// Notes which keys handed over to which, and adds what is known already of the keys after them. A key
/// that was revoked ties nobody else's to it: whoever stole it can sign that, too.
async fn note_handovers(
    transaction: &Transaction<'_>,
    handovers: &[(KeyId, &KeyId, &str)],
    erased: &mut ErasedByKeys,
) -> Result<(), HubError> {
    let key_id: Vec<&[u8]> = handovers
        .iter()
        .map(|(id, ..)| &id.as_bytes()[..])
        .collect();
    let predecessor: Vec<&[u8]> = handovers
        .iter()
        .map(|(_, id, _)| &id.as_bytes()[..])
        .collect();
    let device: Vec<&str> = handovers.iter().map(|(.., device)| *device).collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.key_handovers (key_id, predecessor) \
             select key_id, predecessor \
             from unnest($1, $2, $3) as batch (key_id, predecessor, device) \
             where exists (select from edge_outbox_hub.device_keys k \
             where k.key_id = batch.predecessor \
             and (k.revoked_at is null or k.device = batch.device)) \
             on conflict do nothing",
            &[
                (&key_id, Type::BYTEA_ARRAY),
                (&predecessor, Type::BYTEA_ARRAY),
                (&device, Type::TEXT_ARRAY),
            ],
        )
        .await
        .tried("noting which keys handed over")?;
    let answer = transaction
        .query_typed(
            "with recursive line (key_id) as (select unnest($1) \
             union select h.key_id from line \
             join edge_outbox_hub.key_handovers h on h.predecessor = line.key_id) \
             select e.key_id, e.seq, e.digest \
             from line join edge_outbox_hub.device_erasures e using (key_id)",
            &[(&key_id, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("looking up what devices have erased")?;
    for row in &answer {
        let seq: i64 = get(row, 1)?;
        let seq = Seq::new(seq.try_into().unwrap_or(0));
        let key_id = KeyId(digest_at(row, 0)?.0);
        let named = (seq, digest_at(row, 2)?);
        erased.entry(key_id).or_default().push(named);
    }
    Ok(())
}

fn digest_at(row: &SqlRow, at: usize) -> Result<Digest, HubError> {
    read_digest(get(row, at)?).ok_or(HubError::Table("device_erasures"))
}

/// What was named as erased, as columns.
struct Columns<'a> {
    key_id: Vec<&'a [u8]>,
    seq: Vec<i64>,
    digest: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(erased: &'a ErasedByKeys) -> Self {
        let all = || {
            let of = |(key_id, events): (&'a KeyId, &'a Vec<(Seq, Digest)>)| {
                events.iter().map(move |event| (key_id, event))
            };
            erased.iter().flat_map(of)
        };
        Self {
            key_id: all().map(|(key_id, _)| &key_id.as_bytes()[..]).collect(),
            seq: all().map(|(_, event)| number(event.0.get())).collect(),
            digest: all().map(|(_, event)| &event.1.as_bytes()[..]).collect(),
        }
    }
}

/// What of a batch is stored, if it is new.
pub(super) struct Judged {
    /// In the order of their places, each once.
    pub(super) rows: Vec<Row>,
    /// Stripped copies of what is held.
    pub(super) repeated: usize,
    /// Where stripped events stand that are not held.
    pub(super) stripped: ByDevice<(Uuid, u64)>,
}

/// Sorts out what was erased before it came, and sets aside what was only stripped.
pub(super) async fn look_up_erased(
    transaction: &Transaction<'_>,
    trusted: Vec<Proven>,
    options: &Options,
    asides: &mut Vec<Aside>,
) -> Result<Judged, HubError> {
    let mut rows: Vec<Row> = trusted
        .into_iter()
        .map(|event| Row {
            erased: event.envelope.is_erased(),
            event,
        })
        .collect();
    // Of the same event the whole copy counts.
    rows.sort_by_cached_key(|row| (row.place(), row.erased));
    let all = rows.len();
    rows.dedup_by(|later, kept| later.place() == kept.place());
    let mut repeated = all - rows.len();

    let persons: Vec<Vec<Digest>> = rows
        .iter()
        .map(|row| match row.event.envelope.private() {
            Some(private) => options
                .erasure_key
                .persons(&private.aggregate_id, private.subject_id),
            None => Vec::new(),
        })
        .collect();
    let places: Vec<Place> = rows.iter().map(Row::place).collect();
    let stripped = rows.iter().zip(&places);
    let stripped = stripped.filter(|(row, _)| row.event.envelope.is_erased());
    let stripped: Vec<Place> = stripped.map(|(_, place)| place.clone()).collect();
    let key_ids: Vec<KeyId> = rows
        .iter()
        .map(|row| row.event.envelope.statement().key_id)
        .collect();
    let erased = erased_among(transaction, &persons, &places, &key_ids, &stripped).await?;

    let mut kept = Vec::with_capacity(rows.len());
    let mut stripped: ByDevice<(Uuid, u64)> = HashMap::new();
    for ((mut row, place), persons) in rows.into_iter().zip(places).zip(persons) {
        let is_named = erased.named.contains(&place.3);
        if row.event.envelope.is_erased() && !is_named {
            if erased.held.contains(&place) {
                repeated += 1;
            } else {
                let seq = row.event.envelope.statement().seq.get();
                stripped.entry(place.0).or_default().push((place.1, seq));
                asides.push(aside(row.event, Reason::Stripped, &options.erasure_key));
            }
            continue;
        }
        row.erased |= is_named || persons.iter().any(|hash| erased.persons.contains(hash));
        kept.push(row);
    }
    Ok(Judged {
        rows: kept,
        repeated,
        stripped,
    })
}

struct Erased {
    persons: HashSet<Digest>,
    named: HashSet<Digest>,
    /// Those of the stripped that are taken.
    held: HashSet<Place>,
}

async fn erased_among(
    transaction: &Transaction<'_>,
    persons: &[Vec<Digest>],
    places: &[Place],
    key_ids: &[KeyId],
    stripped: &[Place],
) -> Result<Erased, HubError> {
    let hashes: Vec<&[u8]> = persons
        .iter()
        .flatten()
        .map(|hash| &hash.as_bytes()[..])
        .collect();
    let key_id: Vec<&[u8]> = key_ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let digest: Vec<&[u8]> = places.iter().map(|place| &place.3.as_bytes()[..]).collect();
    let persons = transaction
        .query_typed(
            "select hash from edge_outbox_hub.erased where hash = any($1)",
            &[(&hashes, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("looking up who was erased")?;
    let named = transaction
        .query_typed(
            "select batch.digest from unnest($1, $2) as batch (key_id, digest) \
             where exists (select from edge_outbox_hub.device_erasures e \
             where e.digest = batch.digest \
             and batch.key_id in (select edge_outbox_hub.line_of_key(e.key_id)))",
            &[(&key_id, Type::BYTEA_ARRAY), (&digest, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("looking up what devices have erased")?;
    Ok(Erased {
        persons: persons
            .iter()
            .map(|row| digest_at(row, 0))
            .collect::<Result<_, _>>()?,
        named: named
            .iter()
            .map(|row| digest_at(row, 0))
            .collect::<Result<_, _>>()?,
        held: rows::held(transaction, stripped).await?,
    })
}

/// Erases here what devices have erased: events of the key that says so, and of those that handed over
/// to it, whatever name they are under.
pub(super) async fn erase_for_devices(
    transaction: &Transaction<'_>,
    told: &ErasedByKeys,
) -> Result<(), HubError> {
    if told.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(told);
    transaction
        .query_typed(
            "update edge_outbox_hub.event_rows r set aggregate_id = null, subject_id = null, \
             salt = null, payload = null, payload_json = null \
             from unnest($1, $2, $3) as batch (key_id, seq, digest) \
             cross join lateral edge_outbox_hub.line_of_key(batch.key_id) as line (key_id) \
             join edge_outbox_hub.device_keys k on k.key_id = line.key_id \
             join edge_outbox_hub.epochs e on e.device = k.device \
             join edge_outbox_hub.positions p on p.device = e.device and p.epoch = e.epoch \
             and p.seq = batch.seq and p.digest = batch.digest \
             where r.device = p.device and r.epoch = p.epoch and r.seq = p.seq \
             and r.digest = p.digest and r.received_at = p.received_at \
             and r.key_id = line.key_id and r.payload is not null",
            &[
                (&columns.key_id, Type::BYTEA_ARRAY),
                (&columns.seq, Type::INT8_ARRAY),
                (&columns.digest, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("erasing what devices have erased")?;
    Ok(())
}

/// Erases a person: what is held, what quarantine has, and, by the hash that is kept, what comes
/// later. Behind the gate, alone. Gives how many events lost their personal part.
pub(in crate::hub) async fn erase(
    transaction: &Transaction<'_>,
    key: &ErasureKey,
    id: &str,
    note: &str,
) -> Result<u64, HubError> {
    let hash = key.hash(id);
    let hash = &hash.as_bytes()[..];
    let aggregate = Uuid::try_parse(id).ok();
    let spellings = aggregate.map(|id| spellings(&id)).unwrap_or_default();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.erased (hash) values ($1) on conflict do nothing",
            &[(&hash, Type::BYTEA)],
        )
        .await
        .tried("noting who was erased")?;
    let events = transaction
        .query_typed(
            "with gone as (update edge_outbox_hub.event_rows set aggregate_id = null, \
             subject_id = null, salt = null, payload = null, payload_json = null \
             where subject_id = $1 and subject_id <> '' or aggregate_id = $2 \
             or lower(subject_id) = any($3) and subject_id <> '' returning 1) \
             select count(*) from gone",
            &[
                (&id, Type::TEXT),
                (&aggregate, Type::UUID),
                (&spellings, Type::TEXT_ARRAY),
            ],
        )
        .await
        .tried("erasing a person")?;
    let events: i64 = events.first().map_or(Ok(0), |row| get(row, 0))?;
    quarantine::forget(transaction, "persons @> array[$1]", &hash, Type::BYTEA).await?;
    transaction
        .query_typed(
            "insert into edge_outbox_hub.audit (action, events, note) values ('erased', $1, $2)",
            &[(&events, Type::INT8), (&note, Type::TEXT)],
        )
        .await
        .tried("writing the audit")?;
    Ok(events.try_into().unwrap_or(0))
}

/// Every way to write a UUID, in small letters: [`ErasureKey::hash`] takes them for one.
fn spellings(id: &Uuid) -> Vec<String> {
    vec![
        id.as_hyphenated().to_string(),
        id.as_simple().to_string(),
        id.as_urn().to_string(),
        id.as_braced().to_string(),
    ]
}
