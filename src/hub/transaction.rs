//! One batch in one transaction, step by step as `docs/design.md` has them: gate, trust, positions,
//! quarantine, devices. No step waits for what an earlier one locks.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tokio_postgres::{Row as SqlRow, Transaction, types::Type};
use uuid::Uuid;

use super::{
    Options, Taken,
    erasure::ErasureKey,
    error::{HubError, Tried as _},
    ledger::{self, Words},
    plan::{ByDevice, Stored, Told},
    proof::{Aside, Claims, Message, Proven},
    quarantine,
    reason::Reason,
    registry::{Additions, Bound, Bounds, KeyRow, Registry, Revoked},
    rows::{self, Place, Row, get, number, read_digest},
    settle::{self, Chain},
};
use crate::{
    digest::Digest,
    envelope::{Envelope, Verified},
    seq::Seq,
    signing::{KeyId, PublicKey},
};

/// The lock that everything passes through.
const GATE: i64 = 7_020_584_511_041;
/// The epochs that a device may have. Each costs a look whenever the device is worked on.
const MAX_EPOCHS: i64 = 4_096;
/// How long a statement may take in a transaction that erases: it may look through all months.
const ERASE_PATIENCE: &str = "set local statement_timeout = '4min'";
/// The type of the events that ask for somebody to be erased.
const ERASE_REQUESTED: &str = "user.erase_requested.v1";

/// A batch as it goes into a transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) proven: Vec<Proven>,
    pub(super) asides: Vec<Aside>,
    /// Its messages, where they come out of quarantine.
    pub(super) again: Vec<Message>,
    /// Whether payloads are tried as `jsonb`.
    pub(super) with_json: bool,
}

/// What a batch did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) taken: Taken,
    /// Events that were stored without their personal part.
    pub(super) erased: usize,
    /// Devices whose chains go further than was walked.
    pub(super) due: Vec<String>,
    /// Whether a key was added, or something else that quarantine may wait for.
    pub(super) news: bool,
    /// The chains that events were taken of, repeats among them, each with what brought it.
    pub(super) touched: BTreeSet<(Arc<str>, Chain)>,
}

/// Passes the gate; alone, where nothing may be stored meanwhile.
pub(super) async fn pass_gate(transaction: &Transaction<'_>, alone: bool) -> Result<(), HubError> {
    let lock = match alone {
        true => "select pg_advisory_xact_lock($1)",
        false => "select pg_advisory_xact_lock_shared($1)",
    };
    transaction
        .query_typed(lock, &[(&GATE, Type::INT8)])
        .await
        .tried("passing the gate")?;
    Ok(())
}

/// Does all of it but the commit.
pub(super) async fn run(
    transaction: &Transaction<'_>,
    batch: Batch,
    options: &Options,
) -> Result<Done, HubError> {
    let mut done = Done::default();
    let mut asides = batch.asides;
    // What is held has erased already: a repeat needs no gate of its own, and erases nobody again.
    let erasing = batch.proven.iter();
    let erasing = erasing.filter(|event| erases(&event.envelope, options));
    let mut erasing: HashSet<Place> = erasing.map(rows::place).collect();
    if !erasing.is_empty() {
        let places: Vec<Place> = erasing.iter().cloned().collect();
        for held in rows::held(transaction, &places).await? {
            erasing.remove(&held);
        }
    }
    pass_gate(transaction, !erasing.is_empty()).await?;
    if !erasing.is_empty() {
        let patience = transaction.batch_execute(ERASE_PATIENCE).await;
        patience.tried("setting up the transaction")?;
    }

    let (trusted, is_news) = trust(transaction, batch.proven, options, &mut asides).await?;
    let told_erased = erased_by_devices(&trusted, &erasing);
    let judged = look_up_erased(transaction, trusted, &told_erased, options, &mut asides).await?;
    done.taken.repeated += judged.repeated;
    let rows = judged.rows;
    let touched = rows.iter().map(|row| &row.event);
    done.touched = touched
        .map(|event| (event.message.origin.clone(), chain(event)))
        .collect();

    let new = rows::take_places(transaction, &rows).await?;
    let stored: Vec<&Row> = rows
        .iter()
        .filter(|row| new.contains(&row.place()))
        .collect();
    done.taken.stored = stored.len();
    done.erased = stored.iter().filter(|row| row.erased).count();
    done.taken.repeated += rows.len() - stored.len();
    if !stored.is_empty() {
        rows::store(transaction, &stored, batch.with_json).await?;
    }
    erase_for_devices(transaction, &told_erased).await?;
    for row in &stored {
        if let Some(id) = asks_to_erase(&row.event.envelope, options) {
            let note = format!("asked for by device {}", row.place().0);
            erase(transaction, &options.erasure_key, &id, &note).await?;
        }
    }
    done.news = is_news || !told_erased.is_empty() || !stored.is_empty() && has_start(&stored);

    for aside in &asides {
        *done.taken.quarantined.entry(aside.reason).or_default() += 1;
    }
    quarantine::set_aside(transaction, asides, &batch.again).await?;

    let (stored, told) = by_device(&stored);
    done.due = settle::settle(transaction, stored, told, judged.stripped).await?;
    Ok(done)
}

fn chain(event: &Proven) -> Chain {
    let statement = event.envelope.statement();
    (statement.device.to_owned(), *statement.epoch.as_uuid())
}

fn has_start(stored: &[&Row]) -> bool {
    stored.iter().any(|row| {
        let statement = row.event.envelope.statement();
        ledger::is_start(statement.kind, statement.event_type)
    })
}

fn erases(envelope: &Envelope<Verified>, options: &Options) -> bool {
    asks_to_erase(envelope, options).is_some() || !ledger::read(envelope).erased.is_empty()
}

/// Whom an event asks to erase.
fn asks_to_erase(envelope: &Envelope<Verified>, options: &Options) -> Option<String> {
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
type ErasedByDevices = BTreeMap<String, Vec<(Seq, Digest)>>;

fn erased_by_devices(trusted: &[Proven], erasing: &HashSet<Place>) -> ErasedByDevices {
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

/// Step 2: what is taken, in the order of its places, each once. True where a key was added.
async fn trust(
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

fn aside(event: Proven, reason: Reason, erasure: &ErasureKey) -> Aside {
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
pub(super) fn public_key(bytes: &[u8]) -> Option<PublicKey> {
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

/// How an epoch begins, where this is the event that begins one.
fn start_of(envelope: &Envelope<Verified>) -> Option<ledger::Start> {
    let statement = envelope.statement();
    let begins =
        statement.prev == Digest::ZERO && ledger::is_start(statement.kind, statement.event_type);
    let private = envelope.private().filter(|_| begins)?;
    ledger::start(private.payload)
}

/// What of a batch is stored, if it is new.
struct Judged {
    /// In the order of their places, each once.
    rows: Vec<Row>,
    /// Stripped copies of what is held.
    repeated: usize,
    /// Where stripped events stand that are not held.
    stripped: ByDevice<(Uuid, u64)>,
}

/// Sorts out what was erased before it came, and sets aside what was only stripped.
async fn look_up_erased(
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
    let erased = erased_among(transaction, &persons, &places).await?;
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
    /// Places that are taken.
    held: HashSet<Place>,
}

async fn erased_among(
    transaction: &Transaction<'_>,
    persons: &[Vec<Digest>],
    places: &[Place],
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
             join edge_outbox_hub.device_erasures e \
             on e.device = batch.device and e.digest = batch.digest",
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
        held: rows::held(transaction, places).await?,
    })
}

/// Notes what devices have erased, and erases it here.
async fn erase_for_devices(
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
pub(super) async fn erase(
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

/// What is new, and what the ledgers say, by device.
fn by_device(stored: &[&Row]) -> (ByDevice<Stored>, ByDevice<(Seq, Told)>) {
    let mut events: ByDevice<Stored> = HashMap::new();
    let mut told: ByDevice<(Seq, Told)> = HashMap::new();
    for row in stored {
        let envelope = &row.event.envelope;
        let statement = envelope.statement();
        let epoch = *statement.epoch.as_uuid();
        let Words {
            declared,
            unreadable,
            ..
        } = ledger::read(envelope);
        events
            .entry(statement.device.to_owned())
            .or_default()
            .push(Stored {
                epoch,
                seq: statement.seq.get(),
                digest: envelope.digest(),
                key_id: statement.key_id,
                start: start_of(envelope),
                unreadable,
            });
        let declared = declared
            .into_iter()
            .map(|declaration| (statement.seq, Told { epoch, declaration }));
        told.entry(statement.device.to_owned())
            .or_default()
            .extend(declared);
    }
    (events, told)
}
