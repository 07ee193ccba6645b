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
};

/// The type of the events that ask for somebody to be erased.
const ERASE_REQUESTED: &str = "user.erase_requested.v1";

pub(super) fn erases(envelope: &Envelope<Verified>, options: &Options) -> bool {
    asks_to_erase(envelope, options).is_some() || !ledger::read(envelope).erased.is_empty()
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

/// What ledger events that are not held yet name as erased, by device.
pub(super) type ErasedByDevices = BTreeMap<String, Vec<(Seq, Digest)>>;

pub(super) fn erased_by_devices(trusted: &[Proven], erasing: &HashSet<Place>) -> ErasedByDevices {
    let mut erased = ErasedByDevices::new();
    for event in trusted
        .iter()
        .filter(|event| erasing.contains(&rows::place(event)))
    {
        let words = ledger::read(&event.envelope);
        if !words.erased.is_empty() {
            let device = event.envelope.statement().device.to_owned();
            erased.entry(device).or_default().extend(words.erased);
        }
    }
    erased
}

/// The same, said for every name that the devices have had: their journals go on under another.
pub(super) async fn under_all_names(
    transaction: &Transaction<'_>,
    mut told: ErasedByDevices,
) -> Result<ErasedByDevices, HubError> {
    if told.is_empty() {
        return Ok(told);
    }
    let device: Vec<&str> = told.keys().map(|device| &**device).collect();
    let answer = transaction
        .query_typed(
            // As `is_same_device` has it.
            "select distinct a.device, b.device from edge_outbox_hub.device_keys a \
             join edge_outbox_hub.device_keys b on b.key_id = a.key_id and b.device <> a.device \
             where a.device = any($1) and a.revoked_at is null and b.revoked_at is null",
            &[(&device, Type::TEXT_ARRAY)],
        )
        .await
        .tried("looking for other names of devices")?;
    let others = answer.iter().map(|row| {
        let (device, other): (String, String) = (get(row, 0)?, get(row, 1)?);
        Ok((other, told.get(&device).cloned().unwrap_or_default()))
    });
    let others: Vec<(String, Vec<(Seq, Digest)>)> = others.collect::<Result<_, HubError>>()?;
    for (other, events) in others {
        told.entry(other).or_default().extend(events);
    }
    Ok(told)
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
    told: &ErasedByDevices,
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
    let erased = erased_among(transaction, &persons, &places, &stripped).await?;
    let named = told
        .iter()
        .flat_map(|(device, events)| events.iter().map(|(_, digest)| (device.clone(), *digest)));
    let named: HashSet<(String, Digest)> = named.chain(erased.named).collect();

    let mut kept = Vec::with_capacity(rows.len());
    let mut stripped: ByDevice<(Uuid, u64)> = HashMap::new();
    for ((mut row, place), persons) in rows.into_iter().zip(places).zip(persons) {
        let is_named = named.contains(&(place.0.clone(), place.3));
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
    named: HashSet<(String, Digest)>,
    /// Those of the stripped that are taken.
    held: HashSet<Place>,
}

async fn erased_among(
    transaction: &Transaction<'_>,
    persons: &[Vec<Digest>],
    places: &[Place],
    stripped: &[Place],
) -> Result<Erased, HubError> {
    let hashes: Vec<&[u8]> = persons
        .iter()
        .flatten()
        .map(|hash| &hash.as_bytes()[..])
        .collect();
    let device: Vec<&str> = places.iter().map(|place| &*place.0).collect();
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
            "select batch.device, batch.digest from unnest($1, $2) as batch (device, digest) \
             where exists (select from edge_outbox_hub.device_erasures e \
             where e.digest = batch.digest \
             and edge_outbox_hub.is_same_device(batch.device, e.device))",
            &[(&device, Type::TEXT_ARRAY), (&digest, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("looking up what devices have erased")?;
    let digest_at =
        |row: &SqlRow, at: usize| read_digest(get(row, at)?).ok_or(HubError::Table("erased"));
    Ok(Erased {
        persons: persons
            .iter()
            .map(|row| digest_at(row, 0))
            .collect::<Result<_, _>>()?,
        named: named
            .iter()
            .map(|row| Ok((get(row, 0)?, digest_at(row, 1)?)))
            .collect::<Result<_, HubError>>()?,
        held: rows::held(transaction, stripped).await?,
    })
}

/// Notes what devices have erased, and erases it here.
pub(super) async fn erase_for_devices(
    transaction: &Transaction<'_>,
    told: &ErasedByDevices,
) -> Result<(), HubError> {
    let all = || {
        let of = |(device, events): (&'_ String, &'_ Vec<(Seq, Digest)>)| {
            let device = device.clone();
            events
                .clone()
                .into_iter()
                .map(move |(seq, digest)| (device.clone(), seq, digest))
        };
        told.iter().flat_map(of)
    };
    if told.is_empty() {
        return Ok(());
    }
    let device: Vec<String> = all().map(|(device, ..)| device).collect();
    let seq: Vec<i64> = all().map(|(_, seq, _)| number(seq.get())).collect();
    let digests: Vec<Digest> = all().map(|(.., digest)| digest).collect();
    let digest: Vec<&[u8]> = digests
        .iter()
        .map(|digest| &digest.as_bytes()[..])
        .collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.device_erasures (device, digest) \
             select device, digest from unnest($1, $2) as batch (device, digest) \
             on conflict do nothing",
            &[(&device, Type::TEXT_ARRAY), (&digest, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("noting what devices have erased")?;
    transaction
        .query_typed(
            "update edge_outbox_hub.event_rows r set aggregate_id = null, subject_id = null, \
             salt = null, payload = null, payload_json = null \
             from unnest($1, $2, $3) as batch (device, seq, digest) \
             join edge_outbox_hub.epochs e on e.device = batch.device \
             join edge_outbox_hub.positions p on p.device = e.device and p.epoch = e.epoch \
             and p.seq = batch.seq and p.digest = batch.digest \
             where r.device = p.device and r.epoch = p.epoch and r.seq = p.seq \
             and r.digest = p.digest and r.received_at = p.received_at and r.payload is not null",
            &[
                (&device, Type::TEXT_ARRAY),
                (&seq, Type::INT8_ARRAY),
                (&digest, Type::BYTEA_ARRAY),
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
