//! Step 2: who may say what of a batch, with the keys and epochs that it adds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::{Row as SqlRow, Transaction, types::Type};
use uuid::Uuid;

use super::start_of;
use crate::{
    hub::{
        Options,
        erasure::ErasureKey,
        error::{HubError, Tried as _},
        proof::{Aside, Claims, Proven},
        reason::Reason,
        registry::{Additions, Bound, Bounds, KeyRow, Registry, Revoked},
        rows::{get, read_digest},
    },
    seq::Seq,
    signing::{KeyId, PublicKey},
};

/// The epochs that a device may have. Each costs a look whenever the device is worked on.
const MAX_EPOCHS: i64 = 4_096;

/// Step 2: what is taken, in the order of its places, each once. True where a key was added.
pub(super) async fn trust(
    transaction: &Transaction<'_>,
    proven: Vec<Proven>,
    options: &Options,
    asides: &mut Vec<Aside>,
) -> Result<(Vec<Proven>, bool), HubError> {
    let mut devices: BTreeSet<String> = BTreeSet::new();
    let mut key_ids: BTreeSet<KeyId> = BTreeSet::new();
    let unproven = asides.iter().filter_map(|aside| aside.claims.as_ref());
    let claimed = unproven.map(|claims| (claims.device.clone(), claims.key_id));
    let events = proven.iter().map(|event| {
        let statement = event.envelope.statement();
        (statement.device.to_owned(), statement.key_id)
    });
    for (device, key_id) in claimed.chain(events) {
        devices.insert(device);
        key_ids.insert(key_id);
    }
    let devices: Vec<String> = devices.into_iter().collect();
    let key_ids: Vec<KeyId> = key_ids.into_iter().collect();

    let mut registry = registry(transaction, &devices, &key_ids).await?;
    let additions = registry.additions(&proven);
    let adds = !additions.keys.is_empty();
    if adds {
        add_keys(transaction, &additions).await?;
        registry = self::registry(transaction, &devices, &key_ids).await?;
    }
    for aside in asides
        .iter_mut()
        .filter(|aside| aside.reason == Reason::UnknownKey)
    {
        if let Some(claims) = &aside.claims {
            aside.reason = registry.unknown(&claims.device, &claims.key_id);
        }
    }
    let bounds = bind(transaction, &registry, &proven).await?;
    let mut trusted = Vec::with_capacity(proven.len());
    for event in proven {
        let reason = match registry.judge(&event, &bounds) {
            Ok(()) if is_bound(&bounds, &event) => None,
            Ok(()) => Some(Reason::TooManyEpochs),
            Err(reason) => Some(reason),
        };
        match reason {
            None => trusted.push(event),
            Some(reason) => asides.push(aside(event, reason, &options.erasure_key)),
        }
    }
    Ok((trusted, adds))
}

pub(super) fn aside(event: Proven, reason: Reason, erasure: &ErasureKey) -> Aside {
    Aside {
        claims: Some(Claims::proven(&event.envelope, erasure)),
        message: event.message,
        reason,
    }
}

fn is_bound(bounds: &Bounds, event: &Proven) -> bool {
    let statement = event.envelope.statement();
    bounds.contains_key(&(statement.device.to_owned(), *statement.epoch.as_uuid()))
}

async fn registry(
    transaction: &Transaction<'_>,
    devices: &[String],
    key_ids: &[KeyId],
) -> Result<Registry, HubError> {
    let key_ids: Vec<&[u8]> = key_ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let known = transaction
        .query_typed(
            "select device from edge_outbox_hub.devices where device = any($1)",
            &[(&devices, Type::TEXT_ARRAY)],
        )
        .await
        .tried("reading the devices")?;
    let keys = transaction
        .query_typed(
            "select device, public_key, predecessor, revoked_at is not null, revoked_epoch, \
             revoked_seq, epochs_before \
             from edge_outbox_hub.device_keys where device = any($1) or key_id = any($2)",
            &[(&devices, Type::TEXT_ARRAY), (&key_ids, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("reading the keys of devices")?;
    let known = known.iter().map(|row| get(row, 0));
    let known: Vec<String> = known.collect::<Result<_, _>>()?;
    let keys: Vec<KeyRow> = keys.iter().map(key_row).collect::<Result<_, _>>()?;
    Ok(Registry::new(known, keys))
}

fn key_row(row: &SqlRow) -> Result<KeyRow, HubError> {
    let unreadable = HubError::Table("device_keys");
    let predecessor: Option<&[u8]> = get(row, 2)?;
    let is_revoked: bool = get(row, 3)?;
    let upto = get::<Option<Uuid>>(row, 4)?.zip(get::<Option<i64>>(row, 5)?);
    let revoked = Revoked {
        upto: upto.map(|(epoch, seq)| (epoch, Seq::new(seq.try_into().unwrap_or(0)))),
        before: get(row, 6)?,
    };
    Ok(KeyRow {
        device: get(row, 0)?,
        key: public_key(get(row, 1)?).ok_or(unreadable)?,
        predecessor: predecessor.and_then(read_digest).map(|id| KeyId(id.0)),
        revoked: is_revoked.then_some(revoked),
    })
}

/// A key as the table has it.
pub(in crate::hub) fn public_key(bytes: &[u8]) -> Option<PublicKey> {
    PublicKey::from_bytes(bytes.try_into().ok()?).ok()
}

/// Another hub may add the same, or another successor, at this moment: then this waits for it, and
/// its word counts.
async fn add_keys(transaction: &Transaction<'_>, additions: &Additions) -> Result<(), HubError> {
    if !additions.devices.is_empty() {
        transaction
            .query_typed(
                "insert into edge_outbox_hub.devices (device, added_by) \
                 select unnest($1), 'first_use' on conflict do nothing",
                &[(&additions.devices, Type::TEXT_ARRAY)],
            )
            .await
            .tried("adding devices")?;
    }
    let keys = &additions.keys;
    let ids: Vec<KeyId> = keys.iter().map(|row| row.key.id()).collect();
    let device: Vec<&str> = keys.iter().map(|row| &*row.device).collect();
    let key_id: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let key: Vec<&[u8]> = keys.iter().map(|row| &row.key.as_bytes()[..]).collect();
    let predecessors = keys.iter().map(|row| row.predecessor.as_ref());
    let predecessor: Vec<Option<&[u8]>> = predecessors
        .map(|id| id.map(|id| &id.as_bytes()[..]))
        .collect();
    transaction
        .query_typed(
            // A name that somebody has taken meanwhile is not given to a second by first use.
            "insert into edge_outbox_hub.device_keys \
             (device, key_id, public_key, predecessor, added_by) \
             select device, key_id, public_key, predecessor, \
             case when predecessor is null then 'first_use' else 'rotation' end \
             from unnest($1, $2, $3, $4) as batch (device, key_id, public_key, predecessor) \
             where predecessor is not null or not exists (select \
             from edge_outbox_hub.device_keys as held where held.device = batch.device) \
             on conflict do nothing",
            &[
                (&device, Type::TEXT_ARRAY),
                (&key_id, Type::BYTEA_ARRAY),
                (&key, Type::BYTEA_ARRAY),
                (&predecessor, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("adding keys of devices")?;
    Ok(())
}

/// Makes the epochs of a batch that are not there, and says whose all of them are. A device with as
/// many as it may have gets no more.
async fn bind(
    transaction: &Transaction<'_>,
    registry: &Registry,
    proven: &[Proven],
) -> Result<Bounds, HubError> {
    /// What a batch says of an epoch; the smaller counts where it says several things.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Claim {
        Start(KeyId),
        Previous(KeyId),
        Event(Seq, KeyId),
    }
    let mut claims: BTreeMap<(String, Uuid), Claim> = BTreeMap::new();
    let mut claim = |device: &str, epoch: Uuid, claim: Claim| {
        let place = (device.to_owned(), epoch);
        match claims.get(&place) {
            Some(held) if *held <= claim => {}
            _ => drop(claims.insert(place, claim)),
        }
    };
    let nothing = Bounds::new();
    for event in proven {
        // Whose the epochs are is not the question yet: whether it is a key of the device's is.
        if registry.judge(event, &nothing).is_err() {
            continue;
        }
        let statement = event.envelope.statement();
        let epoch = *statement.epoch.as_uuid();
        match start_of(&event.envelope) {
            Some(start) => {
                claim(statement.device, epoch, Claim::Start(statement.key_id));
                if let Some(previous) = start.previous.as_ref().filter(|_| start.is_same_device()) {
                    let before = *previous.end.epoch.as_uuid();
                    claim(statement.device, before, Claim::Previous(previous.key_id));
                }
            }
            None => claim(
                statement.device,
                epoch,
                Claim::Event(statement.seq, statement.key_id),
            ),
        }
    }
    // A retired key makes no epoch, but is at home where it was before.
    let mut places: BTreeSet<(String, Uuid)> = claims.keys().cloned().collect();
    places.extend(proven.iter().map(|event| {
        let statement = event.envelope.statement();
        (statement.device.to_owned(), *statement.epoch.as_uuid())
    }));
    let places: Vec<(String, Uuid)> = places.into_iter().collect();
    let mut bounds = read_bounds(transaction, &places).await?;
    claims.retain(|place, _| !bounds.contains_key(place));
    if claims.is_empty() {
        return Ok(bounds);
    }

    let devices: BTreeSet<&str> = claims.keys().map(|(device, _)| &**device).collect();
    let devices: Vec<&str> = devices.into_iter().collect();
    let counted = transaction
        .query_typed(
            "select device, count(*) from edge_outbox_hub.epochs where device = any($1) \
             group by device",
            &[(&devices, Type::TEXT_ARRAY)],
        )
        .await
        .tried("counting the epochs of devices")?;
    let counts = counted.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
    let counts: HashMap<String, i64> = counts.collect::<Result<_, HubError>>()?;
    let has_room = |device: &String| counts.get(device).is_none_or(|&count| count < MAX_EPOCHS);
    let new: Vec<(&(String, Uuid), &Claim)> = claims
        .iter()
        .filter(|((device, _), _)| has_room(device))
        .collect();
    let device: Vec<&str> = new.iter().map(|((device, _), _)| &**device).collect();
    let epoch: Vec<Uuid> = new.iter().map(|((_, epoch), _)| *epoch).collect();
    let key_id: Vec<&[u8]> = new
        .iter()
        .map(|(_, claim)| match claim {
            Claim::Start(id) | Claim::Previous(id) | Claim::Event(_, id) => &id.as_bytes()[..],
        })
        .collect();
    transaction
        .query_typed(
            "insert into edge_outbox_hub.epochs (device, epoch, key_id) \
             select device, epoch, key_id from unnest($1, $2, $3) as batch (device, epoch, key_id) \
             on conflict do nothing",
            &[
                (&device, Type::TEXT_ARRAY),
                (&epoch, Type::UUID_ARRAY),
                (&key_id, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .tried("adding epochs")?;
    bounds.extend(read_bounds(transaction, &places).await?);
    Ok(bounds)
}

async fn read_bounds(
    transaction: &Transaction<'_>,
    places: &[(String, Uuid)],
) -> Result<Bounds, HubError> {
    let device: Vec<&str> = places.iter().map(|(device, _)| &**device).collect();
    let epoch: Vec<Uuid> = places.iter().map(|(_, epoch)| *epoch).collect();
    let answer = transaction
        .query_typed(
            "select e.device, e.epoch, e.key_id, e.first_seq is not null \
             from unnest($1, $2) as batch (device, epoch) \
             join edge_outbox_hub.epochs e on e.device = batch.device and e.epoch = batch.epoch",
            &[(&device, Type::TEXT_ARRAY), (&epoch, Type::UUID_ARRAY)],
        )
        .await
        .tried("reading the epochs of a batch")?;
    let bound = |row: &SqlRow| {
        let key_id: Option<&[u8]> = get(row, 2)?;
        let bound = Bound {
            key_id: key_id.and_then(read_digest).map(|digest| KeyId(digest.0)),
            has_start: get(row, 3)?,
        };
        Ok(((get(row, 0)?, get(row, 1)?), bound))
    };
    answer.iter().map(bound).collect()
}
