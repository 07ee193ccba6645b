//! What a person asks of the hub's tables, and orders.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::{Client, Transaction, types::Type};
use uuid::Uuid;

use super::{
    begin, commit,
    erasure::ErasureKey,
    error::{HubError, Tried as _},
    quarantine,
    rows::{get, number, read_digest},
    transaction,
    verification::{self, Verification},
};
use crate::{
    envelope::{DeviceName, Epoch},
    seq::Seq,
    signing::{KeyId, PublicKey},
    sink::{
        SinkError,
        postgres::{Connection, Database},
    },
};

/// What the session of an operator asks of the server.
const SESSION: &str = "set lock_timeout = '60s'; set client_min_messages = warning";
/// A time as it is shown.
const SHOWN: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'";

/// A registered device.
#[derive(Clone, Debug, Serialize)]
pub struct Device {
    /// Its name.
    pub device: String,
    /// Who registered it: `operator`, or `first_use`.
    pub added_by: String,
    /// When.
    pub added_at: String,
    /// Its keys, the oldest first.
    pub keys: Vec<DeviceKeyRow>,
}

/// A key of a device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceKeyRow {
    /// Its id.
    pub key_id: String,
    /// The key.
    pub public_key: String,
    /// Who registered it: `operator`, `first_use` or `rotation`.
    pub added_by: String,
    /// When it was registered.
    pub added_at: String,
    /// Whether another key has taken its place.
    pub retired: bool,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// What it is still good for then.
    pub good_upto: Option<String>,
}

/// How an epoch of a device is.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// Whose.
    pub device: String,
    /// `None` where nothing was ever taken of the device.
    pub epoch: Option<Uuid>,
    /// When something of it was last taken.
    pub last_contact: Option<String>,
    /// The highest seq that is known of.
    pub highest: i64,
    /// The chain is whole up to here.
    pub complete_to: i64,
    /// And beyond doubt up to here.
    pub proven_to: i64,
    /// Whether there is nothing to say against it.
    pub clean: bool,
    /// Events that are missing.
    pub missing: i64,
    /// Since when.
    pub missing_since: Option<String>,
    /// What is missing, as `first-last`, the first few.
    pub gaps: Vec<String>,
    /// Events that the device has declared lost.
    pub declared_lost: i64,
    /// What its own signatures show to be wrong.
    pub tampering: Vec<String>,
    /// Messages in quarantine that say they are of it.
    pub quarantined: i64,
    /// Whether its clock was set when it last stored something, as far as is known.
    pub clock_set: Option<bool>,
}

/// A message in quarantine.
#[derive(Clone, Debug, Serialize)]
pub struct Quarantined {
    /// Its number.
    pub id: i64,
    /// Why it is there.
    pub reason: String,
    /// What brought it.
    pub origin: String,
    /// Whose it says it is.
    pub device: Option<String>,
    /// Of which epoch.
    pub epoch: Option<Uuid>,
    /// Under which seq.
    pub seq: Option<i64>,
    /// By which key.
    pub key_id: Option<String>,
    /// How long it is, in bytes.
    pub bytes: i32,
    /// How often it came.
    pub times: i64,
    /// When it first came.
    pub first_at: String,
    /// When it last came.
    pub last_at: String,
}

/// How much is missing and set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Devices that are registered.
    pub devices: i64,
    /// Events that are missing.
    pub missing: i64,
    /// Devices whose signatures show something to be wrong.
    pub tampered: i64,
    /// Messages in quarantine.
    pub quarantined: i64,
    /// Messages that quarantine had no room for.
    pub dropped: i64,
}

/// What became of a wish to revoke a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked.
    Done,
    /// The device has no such key.
    NoSuchKey,
    /// The device has no such epoch, as far as is known. Nothing was changed: what the key is good for
    /// could not be told.
    NoSuchEpoch,
}

/// A person's way to the tables.
pub struct Operator {
    connection: Connection,
}

impl Operator {
    /// Connects.
    ///
    /// # Errors
    /// The database cannot be reached, or lets nobody in.
    pub async fn connect(database: &Database) -> Result<Self, SinkError> {
        let connection = database.connect("edge-outbox hub operator").await?;
        let ready = connection.client.batch_execute(SESSION).await;
        ready.tried("setting up the session")?;
        Ok(Self { connection })
    }

    /// Every device with its keys, by name.
    ///
    /// # Errors
    /// As [`HubError`] says; so everywhere here.
    pub async fn devices(&self) -> Result<Vec<Device>, HubError> {
        let question = format!(
            "select d.device, d.added_by, to_char(d.added_at at time zone 'UTC', {SHOWN}), \
             k.key_id, k.public_key, k.added_by, \
             to_char(k.added_at at time zone 'UTC', {SHOWN}), \
             exists (select from edge_outbox_hub.device_keys s where s.device = k.device \
             and s.predecessor = k.key_id), \
             to_char(k.revoked_at at time zone 'UTC', {SHOWN}), \
             k.revoked_epoch::text || ':' || k.revoked_seq \
             from edge_outbox_hub.devices d left join edge_outbox_hub.device_keys k \
             on k.device = d.device order by d.device, k.added_at, k.key_id"
        );
        let answer = self.connection.client.query_typed(&question, &[]).await;
        let mut devices: Vec<Device> = Vec::new();
        for row in &answer.tried("reading the devices")? {
            let name: String = get(row, 0)?;
            if devices.last().is_none_or(|last| last.device != name) {
                devices.push(Device {
                    device: name,
                    added_by: get(row, 1)?,
                    added_at: get(row, 2)?,
                    keys: Vec::new(),
                });
            }
            let Some(public_key) = get::<Option<&[u8]>>(row, 4)? else {
                continue;
            };
            let key = transaction::public_key(public_key).ok_or(HubError::Table("device_keys"))?;
            let key = DeviceKeyRow {
                key_id: key.id().to_string(),
                public_key: key.to_string(),
                added_by: get(row, 5)?,
                added_at: get(row, 6)?,
                retired: get(row, 7)?,
                revoked_at: get(row, 8)?,
                good_upto: get(row, 9)?,
            };
            if let Some(device) = devices.last_mut() {
                device.keys.push(key);
            }
        }
        Ok(devices)
    }

    /// Registers devices, or further keys of them; all or none. Gives how many keys are new.
    pub async fn add(&mut self, devices: &[(DeviceName, PublicKey)]) -> Result<usize, HubError> {
        add(&mut self.connection.client, devices).await
    }

    /// As [`Intake::revoke`](super::Intake::revoke).
    pub async fn revoke(
        &mut self,
        device: &DeviceName,
        key_id: &KeyId,
        upto: Option<(Epoch, Seq)>,
    ) -> Result<Revocation, HubError> {
        revoke(&mut self.connection.client, device, key_id, upto).await
    }

    /// As [`Intake::erase`](super::Intake::erase).
    pub async fn erase(&mut self, key: &ErasureKey, id: &str, note: &str) -> Result<u64, HubError> {
        let client = &mut self.connection.client;
        check_erasure_key(client, key).await?;
        erase(client, key, id, note).await
    }

    /// Gives the database a later name, once it was restored from a copy: from then on receipts count
    /// for devices whatever later ones they had before, and what is missing is sent again. Gives the
    /// name. Hubs that run take it over with the next receipt.
    pub async fn new_life(&mut self) -> Result<Uuid, HubError> {
        let transaction = begin(&mut self.connection.client).await?;
        let answer = transaction
            .query_typed(
                "update edge_outbox_hub.schema_version set hub = edge_outbox_hub.next_life(hub) \
                 returning hub",
                &[],
            )
            .await
            .tried("naming the database anew")?;
        let life: Uuid = get(answer.first().ok_or(HubError::SchemaMissing)?, 0)?;
        audit(&transaction, "new_life", None, &life.to_string()).await?;
        commit(transaction).await?;
        Ok(life)
    }

    /// Every epoch of every device, by device and then by its last contact; with `problems`, those
    /// alone against which there is something to say.
    pub async fn report(&self, problems: bool) -> Result<Vec<Health>, HubError> {
        let question = format!(
            "select h.device, h.epoch, to_char(h.last_contact at time zone 'UTC', {SHOWN}), \
             coalesce(h.highest, 0), coalesce(h.complete_to, 0), \
             coalesce(h.proven_to, h.complete_to, 0), coalesce(h.is_clean, false), \
             h.missing::bigint, to_char(h.missing_since at time zone 'UTC', {SHOWN}), \
             coalesce((select array_agg(first_seq || '-' || last_seq order by first_seq) from ( \
             select first_seq, last_seq from edge_outbox_hub.gap_rows g where g.device = h.device \
             and g.epoch = h.epoch and g.declared is null order by first_seq limit 8) as few), '{{}}'), \
             h.declared_lost::bigint, h.tampering, \
             (select count(*) from edge_outbox_hub.quarantine q where q.device = h.device \
             and (q.epoch = h.epoch or h.epoch is null)), h.clock_set \
             from edge_outbox_hub.device_health h order by h.device, h.last_contact"
        );
        let answer = self.connection.client.query_typed(&question, &[]).await;
        let mut report = Vec::new();
        for row in &answer.tried("reading how devices are")? {
            let health = Health {
                device: get(row, 0)?,
                epoch: get(row, 1)?,
                last_contact: get(row, 2)?,
                highest: get(row, 3)?,
                complete_to: get(row, 4)?,
                proven_to: get(row, 5)?,
                clean: get(row, 6)?,
                missing: get(row, 7)?,
                missing_since: get(row, 8)?,
                gaps: get(row, 9)?,
                declared_lost: get(row, 10)?,
                tampering: get(row, 11)?,
                quarantined: get(row, 12)?,
                clock_set: get(row, 13)?,
            };
            if !problems || !health.clean || health.quarantined > 0 {
                report.push(health);
            }
        }
        Ok(report)
    }

    /// What is in quarantine, the oldest first; of this reason, of this device.
    pub async fn quarantined(
        &self,
        reason: Option<&str>,
        device: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Quarantined>, HubError> {
        let question = format!(
            "select id, reason, origin, device, epoch, seq, key_id, bytes, times, \
             to_char(first_at at time zone 'UTC', {SHOWN}), \
             to_char(last_at at time zone 'UTC', {SHOWN}) from edge_outbox_hub.quarantine \
             where ($1::text is null or reason = $1) and ($2::text is null or device = $2) \
             order by id limit $3"
        );
        let answer = self
            .connection
            .client
            .query_typed(
                &question,
                &[
                    (&reason, Type::TEXT),
                    (&device, Type::TEXT),
                    (&limit, Type::INT8),
                ],
            )
            .await
            .tried("looking through quarantine")?;
        let quarantined = answer.iter().map(|row| {
            let key_id = get::<Option<&[u8]>>(row, 6)?.and_then(read_digest);
            Ok(Quarantined {
                id: get(row, 0)?,
                reason: get(row, 1)?,
                origin: get(row, 2)?,
                device: get(row, 3)?,
                epoch: get(row, 4)?,
                seq: get(row, 5)?,
                key_id: key_id.map(|id| KeyId(id.0).to_string()),
                bytes: get(row, 7)?,
                times: get(row, 8)?,
                first_at: get(row, 9)?,
                last_at: get(row, 10)?,
            })
        });
        quarantined.collect()
    }

    /// A message in quarantine as it came, or as much of it as is kept.
    pub async fn message(&self, id: i64) -> Result<Option<Vec<u8>>, HubError> {
        let answer = self
            .connection
            .client
            .query_typed(
                "select message from edge_outbox_hub.quarantine where id = $1",
                &[(&id, Type::INT8)],
            )
            .await
            .tried("reading a message in quarantine")?;
        answer.first().map(|row| get(row, 0)).transpose()
    }

    /// Removes messages from quarantine for good: these, or all of a reason. Gives how many.
    pub async fn drop_quarantined(
        &mut self,
        ids: &[i64],
        reason: Option<&str>,
    ) -> Result<u64, HubError> {
        let transaction = begin(&mut self.connection.client).await?;
        let gone = match reason {
            Some(reason) => {
                quarantine::forget(&transaction, "reason = $1", &reason, Type::TEXT).await?
            }
            None => {
                quarantine::forget(&transaction, "id = any($1)", &ids, Type::INT8_ARRAY).await?
            }
        };
        let note = match reason {
            Some(reason) => format!("{gone} of reason {reason}"),
            None => format!("{gone} by number"),
        };
        audit(&transaction, "quarantine_dropped", None, &note).await?;
        commit(transaction).await?;
        Ok(gone)
    }

    /// Goes through every event that is stored: that it is what a key of its device signed, that it is
    /// there once, that it names what is stored before it, and that none is gone. What was erased
    /// passes without its personal part.
    pub async fn verify(&self) -> Result<Verification, HubError> {
        verification::verify(&self.connection.client).await
    }
}

pub(super) async fn totals(client: &Client) -> Result<Totals, HubError> {
    let answer = client
        .query_typed(
            "select (select count(*) from edge_outbox_hub.devices), \
             (select coalesce(sum(last_seq - first_seq + 1), 0)::bigint \
             from edge_outbox_hub.gap_rows where declared is null), \
             (select count(distinct device) from edge_outbox_hub.tampering), \
             (select coalesce(sum(kept), 0)::bigint from edge_outbox_hub.quarantine_totals), \
             (select coalesce(sum(dropped), 0)::bigint from edge_outbox_hub.quarantine_totals)",
            &[],
        )
        .await
        .tried("counting what is missing")?;
    let Some(row) = answer.first() else {
        return Ok(Totals::default());
    };
    Ok(Totals {
        devices: get(row, 0)?,
        missing: get(row, 1)?,
        tampered: get(row, 2)?,
        quarantined: get(row, 3)?,
        dropped: get(row, 4)?,
    })
}

/// Registers devices, or further keys of them. Gives how many keys are new.
pub(super) async fn add(
    client: &mut Client,
    devices: &[(DeviceName, PublicKey)],
) -> Result<usize, HubError> {
    // In one order, whoever else adds them at this moment.
    let devices: BTreeMap<(&str, KeyId), &PublicKey> = devices
        .iter()
        .map(|(device, key)| ((device.as_str(), key.id()), key))
        .collect();
    let transaction = begin(client).await?;
    let mut new = 0;
    for ((name, id), key) in devices {
        transaction
            .execute_typed(
                "insert into edge_outbox_hub.devices (device, added_by) values ($1, 'operator') \
                 on conflict do nothing",
                &[(&name, Type::TEXT)],
            )
            .await
            .tried("adding a device")?;
        let added = transaction
            .execute_typed(
                "insert into edge_outbox_hub.device_keys (device, key_id, public_key, added_by) \
                 values ($1, $2, $3, 'operator') on conflict do nothing",
                &[
                    (&name, Type::TEXT),
                    (&&id.as_bytes()[..], Type::BYTEA),
                    (&&key.as_bytes()[..], Type::BYTEA),
                ],
            )
            .await
            .tried("adding the key of a device")?;
        if added > 0 {
            new += 1;
            audit(&transaction, "device_added", Some(name), &id.to_string()).await?;
        }
    }
    commit(transaction).await?;
    Ok(new)
}

/// As [`Intake::revoke`](super::Intake::revoke).
pub(super) async fn revoke(
    client: &mut Client,
    device: &DeviceName,
    key_id: &KeyId,
    upto: Option<(Epoch, Seq)>,
) -> Result<Revocation, HubError> {
    let name = device.as_str();
    let epoch = upto.map(|(epoch, _)| *epoch.as_uuid());
    let seq = upto.map(|(_, seq)| number(seq.get()));
    let transaction = begin(client).await?;
    transaction::pass_gate(&transaction, true).await?;
    let known = transaction
        .query_typed(
            "select exists (select from edge_outbox_hub.device_keys \
             where device = $1 and key_id = $2), $3 is null or exists (select \
             from edge_outbox_hub.epochs where device = $1 and epoch = $3)",
            &[
                (&name, Type::TEXT),
                (&&key_id.as_bytes()[..], Type::BYTEA),
                (&epoch, Type::UUID),
            ],
        )
        .await
        .tried("looking for a key")?;
    let known = |at| known.first().map_or(Ok(false), |row| get(row, at));
    match (known(0)?, known(1)?) {
        (false, _) => return Ok(Revocation::NoSuchKey),
        (true, false) => return Ok(Revocation::NoSuchEpoch),
        (true, true) => {}
    }
    transaction
        .execute_typed(
            "with recursive before (epoch) as ( \
             select previous_epoch from edge_outbox_hub.epochs \
             where device = $1 and epoch = $3 and previous_epoch is not null \
             union select e.previous_epoch from edge_outbox_hub.epochs e \
             join before on e.device = $1 and e.epoch = before.epoch \
             where e.previous_epoch is not null) \
             update edge_outbox_hub.device_keys set revoked_at = clock_timestamp(), revoked_epoch = $3, \
             revoked_seq = $4, epochs_before = array(select epoch from before where epoch <> $3) \
             where device = $1 and key_id = $2",
            &[
                (&name, Type::TEXT),
                (&&key_id.as_bytes()[..], Type::BYTEA),
                (&epoch, Type::UUID),
                (&seq, Type::INT8),
            ],
        )
        .await
        .tried("revoking a key")?;
    let key_id = key_id.to_string();
    audit(&transaction, "key_revoked", Some(name), &key_id).await?;
    commit(transaction).await?;
    Ok(Revocation::Done)
}

/// As [`Intake::erase`](super::Intake::erase).
pub(super) async fn erase(
    client: &mut Client,
    key: &ErasureKey,
    id: &str,
    note: &str,
) -> Result<u64, HubError> {
    let transaction = begin(client).await?;
    transaction::pass_gate(&transaction, true).await?;
    let events = transaction::erase(&transaction, key, id, note).await?;
    commit(transaction).await?;
    Ok(events)
}

/// Whether this is the key under which the database knows who was erased.
async fn check_erasure_key(client: &Client, key: &ErasureKey) -> Result<(), HubError> {
    let check = key.check();
    let answer = client
        .query_typed(
            "select erasure_key = $1 from edge_outbox_hub.schema_version",
            &[(&&check.as_bytes()[..], Type::BYTEA)],
        )
        .await
        .tried("looking at the hub's tables")?;
    match answer.first().map(|row| get::<Option<bool>>(row, 0)) {
        None => Err(HubError::SchemaMissing),
        Some(same) => match same? {
            Some(true) => Ok(()),
            Some(false) => Err(HubError::ErasureKey),
            None => Err(HubError::ErasureKeyMissing),
        },
    }
}

async fn audit(
    transaction: &Transaction<'_>,
    action: &str,
    device: Option<&str>,
    note: &str,
) -> Result<(), HubError> {
    transaction
        .execute_typed(
            "insert into edge_outbox_hub.audit (action, device, note) values ($1, $2, $3)",
            &[
                (&action, Type::TEXT),
                (&device, Type::TEXT),
                (&note, Type::TEXT),
            ],
        )
        .await
        .tried("writing the audit")?;
    Ok(())
}
