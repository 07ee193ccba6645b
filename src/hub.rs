//! The hub: what brokers carry becomes rows that can be trusted. `docs/design.md`, "The hub", says
//! how and why; this is its intake.
//!
//! - `proof`: messages are read, and proven under the keys that they name. `reason`: why one is not
//!   taken.
//! - `registry`: which key may say what. `ledger`: what a device's ledger says. `account`, `walk`
//!   and `plan`: gaps, the chain, and what events do to them. All of these are pure.
//! - `transaction`: a batch, step by step, with `rows`, `quarantine` and `settle` for its parts.
//! - `erasure`: who was erased.
//! - `receipts`: what devices are told. `operator`: what a person asks and orders.
//! - `source`: what brings messages. `desk`: takes them from one source into the database. `station`:
//!   all of them together; `trouble` is what is in their way, `gauges` what they count.

mod account;
mod caretaker;
mod desk;
mod erasure;
mod error;
mod gauges;
mod ledger;
mod operator;
mod plan;
mod proof;
mod quarantine;
mod reason;
mod receipts;
mod registry;
mod rows;
mod settle;
mod source;
mod station;
mod stored;
mod tails;
mod transaction;
mod trouble;
mod walk;

use std::{collections::BTreeMap, mem, sync::Arc};

use bytes::Bytes;
use tokio_postgres::{Client, IsolationLevel, Transaction, types::Type};
use uuid::Uuid;

#[cfg(feature = "nats")]
pub use self::source::{HUB_STREAM, NATS_CONSUMER, NATS_EVENTS, NatsSource};
pub use self::source::{InboxSource, POLL};
#[cfg(feature = "mqtt")]
pub use self::source::{MQTT_EVENTS, MQTT_GROUP, MqttSource};
pub(crate) use self::trouble::Trouble;
pub use self::{
    erasure::ErasureKey,
    error::{HubError, Remedy},
    gauges::{Gauges, SourceGauges},
    operator::{Device, DeviceKeyRow, Health, Operator, Quarantined, Totals, Verification},
    proof::Message,
    quarantine::{MAX_BYTES, MAX_MESSAGE_BYTES, MAX_MESSAGES},
    reason::Reason,
    settle::Chain,
    source::{DEFAULT_BATCH, DEFAULT_BATCH_BYTES, DEFAULT_LINGER, Limits, Source, SourceSpec},
    station::{Station, StationError},
};
use self::{
    error::Tried as _,
    proof::{Aside, Claims, Prover},
    rows::get,
    transaction::{Batch, Done},
};
pub use crate::sink::postgres::Database;
use crate::{
    envelope::{DeviceName, Epoch},
    receipt::Receipt,
    seq::Seq,
    signing::{KeyId, PublicKey},
    sink::{
        SinkError,
        postgres::{Connection, Task},
    },
    tail::Tail,
};

/// The script that makes the tables.
pub const SCHEMA_SQL: &str = include_str!("../config/hub.sql");
/// The script that has the tables of a Postgres sink say what is new in them.
pub const INBOX_SQL: &str = include_str!("../config/hub-inbox.sql");
/// The version of that script.
pub const SCHEMA_VERSION: i32 = 1;

/// The version of the UUID that names a life of a database: one that begins with the time.
const LIFE_VERSION: usize = 7;
/// Partitions that are made ahead, in months.
const MONTHS_AHEAD: i32 = 3;
/// The most messages in one transaction.
pub const MAX_BATCH: usize = 4_096;
/// The most bytes of messages in one transaction, unless it is one message.
pub const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;
/// How often a batch is tried again that met a deadlock.
const MAX_TRIES: usize = 5;
/// Messages that are taken out of quarantine at a time.
const RETRY_BATCH: i64 = 256;
/// Devices whose chains are looked after at a time.
const WALKS_AT_ONCE: i64 = 64;
/// How often quarantine is gone through again because something in it was what something else in it
/// had waited for.
const MAX_PASSES: usize = 64;
/// What the hub's sessions ask of the server: no statement without an end, and no locks held by a
/// hub that is gone.
const SESSION: &str = "set statement_timeout = '60s'; \
                       set idle_in_transaction_session_timeout = '60s'; \
                       set synchronous_commit = on; set client_min_messages = warning";

/// What intake can be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the start of an epoch registers its own key for a name that nobody has.
    pub first_use: bool,
    /// Whether a `user.erase_requested.v1` of a device that is trusted erases.
    pub erase_on_request: bool,
    /// Under which ids of erased persons are hashed.
    pub erasure_key: ErasureKey,
}

/// What became of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Events that are new, or tails that count.
    pub stored: usize,
    /// Events that were there, or twice in what was given.
    pub repeated: usize,
    /// What was not taken, by its reason.
    pub quarantined: BTreeMap<Reason, usize>,
}

impl Taken {
    fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.repeated += other.repeated;
        for (reason, count) in &other.quarantined {
            *self.quarantined.entry(*reason).or_default() += count;
        }
    }
}

/// Chains, each with the seq of a tail where one asked about it.
pub type Chains = BTreeMap<Chain, Option<Seq>>;

/// The chains that something was taken of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Those of events, repeats among them, by what brought the events: what comes out of quarantine
    /// may have come another way than what let it out.
    pub events: BTreeMap<Arc<str>, Chains>,
    /// Those that tails ask about.
    pub tails: Chains,
}

/// Takes messages into a database, over a connection of its own. Any number of them may work on one
/// database.
#[derive(Debug)]
pub struct Intake {
    client: Client,
    options: Options,
    prover: Prover,
    touched: Touched,
    /// Ends with it, where the connection was made here.
    _task: Option<Task>,
}

impl Intake {
    /// Looks at the tables, makes the partitions of the coming months, and sees that the erasure key
    /// is the one that the database knows; the first one counts.
    ///
    /// # Errors
    /// The tables are not there, not of this version, or not ours to use; or the key is another; or
    /// the database has a name that devices cannot order.
    pub async fn open(client: Client, options: Options) -> Result<Self, HubError> {
        client
            .batch_execute(SESSION)
            .await
            .tried("setting up the session")?;
        let check = options.erasure_key.check();
        let check = &check.as_bytes()[..];
        let tried = "looking at the hub's tables";
        let versions = client
            .query_typed("select version from edge_outbox_hub.schema_version", &[])
            .await
            .tried(tried)?;
        let found: i32 = get(versions.first().ok_or(HubError::SchemaMissing)?, 0)?;
        if found != SCHEMA_VERSION {
            return Err(HubError::SchemaVersion { found });
        }
        client
            .execute_typed(
                "update edge_outbox_hub.schema_version set erasure_key = $1 \
                 where erasure_key is null",
                &[(&check, Type::BYTEA)],
            )
            .await
            .tried(tried)?;
        let keys = client
            .query_typed(
                "select erasure_key = $1, hub from edge_outbox_hub.schema_version",
                &[(&check, Type::BYTEA)],
            )
            .await
            .tried(tried)?;
        let row = keys.first().ok_or(HubError::SchemaMissing)?;
        if !get::<bool>(row, 0)? {
            return Err(HubError::ErasureKey);
        }
        let hub: Uuid = get(row, 1)?;
        if hub.get_version_num() != LIFE_VERSION {
            return Err(HubError::Life { found: hub });
        }
        let intake = Self {
            client,
            options,
            prover: Prover::default(),
            touched: Touched::default(),
            _task: None,
        };
        intake.make_partitions().await?;
        Ok(intake)
    }

    /// Connects, and opens.
    ///
    /// # Errors
    /// The database cannot be reached, or as [`Intake::open`].
    pub async fn connect(database: &Database, options: Options) -> Result<Self, SinkError> {
        let Connection { client, task } = database.connect("edge-outbox hub").await?;
        let intake = Self::open(client, options).await?;
        Ok(Self {
            _task: Some(task),
            ..intake
        })
    }

    /// Makes the partitions of this month and the coming ones, where they are missing: to be called
    /// now and then by a hub that runs for long.
    ///
    /// # Errors
    /// As [`HubError`] says; events go into the default partition where their month has none.
    pub async fn make_partitions(&self) -> Result<(), HubError> {
        self.client
            .query_typed(
                "select edge_outbox_hub.make_partitions($1)",
                &[(&MONTHS_AHEAD, Type::INT4)],
            )
            .await
            .tried("making partitions")?;
        Ok(())
    }

    /// Takes messages, in one transaction unless they are more than [`MAX_BATCH`], or larger together
    /// than [`MAX_BATCH_BYTES`], or the database refuses one of them by itself. When
    /// this returns, everything in them is stored, known or in quarantine, durably, and they may be
    /// acknowledged. Afterwards quarantine is tried again where it may have waited for them.
    ///
    /// # Errors
    /// As [`HubError`] says. Nothing may be acknowledged then; what was stored all the same will be
    /// known when it comes again.
    pub async fn take(&mut self, messages: Vec<Message>) -> Result<Taken, HubError> {
        let done = self.take_in(messages, false).await?;
        if done.news {
            self.retry().await?;
        }
        Ok(done.taken)
    }

    /// Takes tails: what lies beyond the last event that is held is then a gap. A tail that is not
    /// taken is counted in what is given and not kept, for the next one says the same.
    ///
    /// # Errors
    /// As [`HubError`] says.
    pub async fn take_tails(&mut self, messages: &[Bytes]) -> Result<Taken, HubError> {
        let ids = messages
            .iter()
            .filter_map(|message| Tail::key_id(message).ok());
        let unknown = self.prover.unlearned(ids);
        learn(&self.client, &mut self.prover, &unknown).await?;
        let mut taken = Taken::default();
        let mut proven = Vec::with_capacity(messages.len());
        for message in messages {
            match self.prover.prove_tail(message) {
                Ok(tail) => proven.push(tail),
                Err(reason) => *taken.quarantined.entry(reason).or_default() += 1,
            }
        }
        let all = proven.len();
        let transaction = begin(&mut self.client).await?;
        transaction::pass_gate(&transaction, false).await?;
        let told = tails::take(&transaction, proven).await?;
        commit(transaction).await?;
        taken.stored = told.taken;
        for (chain, seq) in told.chains {
            let touched = self.touched.tails.entry(chain).or_default();
            *touched = (*touched).max(seq);
        }
        if taken.stored < all {
            taken
                .quarantined
                .insert(Reason::KeyOfEpoch, all - taken.stored);
        }
        Ok(taken)
    }

    /// Takes out of quarantine what can be taken now; gives what became of it.
    ///
    /// # Errors
    /// As [`HubError`] says.
    pub async fn retry(&mut self) -> Result<Taken, HubError> {
        let mut taken = Taken::default();
        for _ in 0..MAX_PASSES {
            let mut news = false;
            let (mut after, upto) = (0, self.newest_in_quarantine().await?);
            while after < upto {
                let transaction = begin(&mut self.client).await?;
                let (messages, last) =
                    quarantine::waiting(&transaction, after..=upto, RETRY_BATCH).await?;
                drop(transaction);
                if messages.is_empty() {
                    break;
                }
                after = last;
                let done = self.take_in(messages, true).await?;
                taken.add(&done.taken);
                news |= done.news;
            }
            if !news {
                break;
            }
        }
        Ok(taken)
    }

    /// Walks chains further whose walk in several transactions ended before its end, because the hub
    /// that was at it is gone.
    ///
    /// # Errors
    /// As [`HubError`] says.
    pub async fn walk_waiting(&mut self) -> Result<(), HubError> {
        let answer = self
            .client
            .query_typed(
                "select distinct device from edge_outbox_hub.epochs where walk_due \
                 order by device limit $1",
                &[(&WALKS_AT_ONCE, Type::INT8)],
            )
            .await
            .tried("looking for chains to walk")?;
        let due = answer.iter().map(|row| get(row, 0));
        let due: Vec<String> = due.collect::<Result<_, _>>()?;
        self.walk_on(due).await
    }

    /// The chains that something was taken of since this was last asked.
    pub fn touched(&mut self) -> Touched {
        mem::take(&mut self.touched)
    }

    /// What the devices of these chains may be told, as it is now: up to where the digest is known, where
    /// a chain ends in a loss. Of one that nothing is held of, what its tail says is missing.
    ///
    /// # Errors
    /// As [`HubError`] says.
    pub async fn receipts(&mut self, chains: &Chains) -> Result<Vec<Receipt>, HubError> {
        let transaction = begin(&mut self.client).await?;
        let receipts = receipts::make(&transaction, chains).await?;
        commit(transaction).await?;
        Ok(receipts)
    }

    /// How much is missing and set aside, for whoever watches.
    ///
    /// # Errors
    /// As [`HubError`] says.
    pub async fn totals(&self) -> Result<Totals, HubError> {
        operator::totals(&self.client).await
    }

    /// Registers a device, or another key of one, and tries quarantine again.
    ///
    /// # Errors
    /// As [`HubError`] says.
    pub async fn add_device(
        &mut self,
        device: &DeviceName,
        key: &PublicKey,
    ) -> Result<Taken, HubError> {
        operator::add(&mut self.client, &[(device.clone(), key.clone())]).await?;
        self.retry().await
    }

    /// Revokes a key of a device: what it signed up to a place, and in the epochs before that one,
    /// stands; without a place, nothing does. What is stored already stays. False where there is no
    /// such key.
    ///
    /// # Errors
    /// As [`HubError`] says.
    pub async fn revoke(
        &mut self,
        device: &DeviceName,
        key_id: &KeyId,
        upto: Option<(Epoch, Seq)>,
    ) -> Result<bool, HubError> {
        operator::revoke(&mut self.client, device, key_id, upto).await
    }

    /// Erases a person by id: the personal part of every event whose subject or aggregate it is, now
    /// and whenever another comes. Gives how many events held one.
    ///
    /// # Errors
    /// As [`HubError`] says; nobody is erased then.
    pub async fn erase(&mut self, id: &str, note: &str) -> Result<u64, HubError> {
        operator::erase(&mut self.client, &self.options.erasure_key, id, note).await
    }

    /// Takes messages, in as many parts as it needs; `again` where they come out of quarantine.
    async fn take_in(&mut self, messages: Vec<Message>, again: bool) -> Result<Done, HubError> {
        let mut all = Done::default();
        let mut parts = parts(messages, again);
        let mut tries = 0;
        while let Some(mut part) = parts.pop() {
            match self.attempt(&part).await {
                Ok(done) => {
                    for (origin, chain) in done.touched {
                        let chains = self.touched.events.entry(origin).or_default();
                        chains.entry(chain).or_default();
                    }
                    all.taken.add(&done.taken);
                    all.news |= done.news;
                    self.walk_on(done.due).await?;
                }
                Err(error) if error.remedy() == Remedy::Repeat && tries < MAX_TRIES => {
                    tries += 1;
                    tracing::debug!(%error, "a batch is tried again");
                    parts.push(part);
                }
                Err(error) if error.remedy() == Remedy::LeaveOut && !part.refused => {
                    let behind = part.messages.split_off(part.messages.len() / 2);
                    if part.messages.is_empty() {
                        // It stands alone: without its `jsonb`, then not at all.
                        part.messages = behind;
                        part.refused = !part.with_json;
                        part.with_json = false;
                    } else {
                        parts.push(Part {
                            messages: behind,
                            ..part
                        });
                    }
                    parts.push(part);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// One transaction.
    async fn attempt(&mut self, part: &Part) -> Result<Done, HubError> {
        let mut batch = Batch {
            again: if part.again {
                part.messages.clone()
            } else {
                Vec::new()
            },
            with_json: part.with_json,
            ..Batch::default()
        };
        let read = proof::read(part.messages.iter().cloned(), &mut batch.asides);
        let erasure = &self.options.erasure_key;
        if part.refused {
            batch.asides.extend(read.into_iter().map(|read| Aside {
                claims: Some(Claims::unproven(&read.envelope, erasure)),
                message: read.message,
                reason: Reason::RefusedByDatabase,
            }));
        } else {
            let unknown = self.prover.unknown(&read);
            learn(&self.client, &mut self.prover, &unknown).await?;
            let first_use = self.options.first_use;
            batch.proven = self
                .prover
                .prove(read, first_use, erasure, &mut batch.asides);
        }
        let transaction = begin(&mut self.client).await?;
        let done = transaction::run(&transaction, batch, &self.options).await?;
        commit(transaction).await?;
        Ok(done)
    }

    /// Walks the rest of chains that were too long for one transaction.
    async fn walk_on(&mut self, mut due: Vec<String>) -> Result<(), HubError> {
        while !due.is_empty() {
            let transaction = begin(&mut self.client).await?;
            due = settle::walk_on(&transaction, &mem::take(&mut due)).await?;
            commit(transaction).await?;
        }
        Ok(())
    }

    async fn newest_in_quarantine(&self) -> Result<i64, HubError> {
        let question = "select coalesce(max(id), 0) from edge_outbox_hub.quarantine";
        let answer = self.client.query_typed(question, &[]).await;
        let answer = answer.tried("looking through quarantine")?;
        answer.first().map_or(Ok(0), |row| get(row, 0))
    }
}

/// Messages on their way into one transaction.
struct Part {
    messages: Vec<Message>,
    again: bool,
    with_json: bool,
    /// The database refuses this one message, whatever is left out of it.
    refused: bool,
}

/// Messages in parts that are not too large, the first of them last.
fn parts(messages: Vec<Message>, again: bool) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        bytes += message.body.len();
        match parts.last_mut() {
            Some(part) if part.messages.len() < MAX_BATCH && bytes <= MAX_BATCH_BYTES => {
                part.messages.push(message);
            }
            _ => {
                bytes = message.body.len();
                parts.push(Part {
                    messages: vec![message],
                    again,
                    with_json: true,
                    refused: false,
                });
            }
        }
    }
    parts.reverse();
    parts
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, HubError> {
    client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await
        .tried("beginning a transaction")
}

async fn commit(transaction: Transaction<'_>) -> Result<(), HubError> {
    transaction.commit().await.tried("committing")
}

/// Reads keys that are registered, whoever's they are.
async fn learn(client: &Client, prover: &mut Prover, ids: &[KeyId]) -> Result<(), HubError> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let answer = client
        .query_typed(
            "select distinct public_key from edge_outbox_hub.device_keys where key_id = any($1)",
            &[(&ids, Type::BYTEA_ARRAY)],
        )
        .await
        .tried("reading keys")?;
    for row in &answer {
        let key = transaction::public_key(get(row, 0)?);
        prover.learn(key.ok_or(HubError::Table("device_keys"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_in_their_order_in_parts_that_are_not_too_large() {
        let message = |bytes: usize| Message {
            body: Bytes::from(vec![0; bytes]),
            origin: "test".into(),
        };
        let sizes = |messages: Vec<Message>| -> Vec<usize> {
            let parts = parts(messages, false).into_iter().rev();
            parts.map(|part| part.messages.len()).collect()
        };
        assert_eq!(sizes(Vec::new()), [0; 0]);
        assert_eq!(sizes(vec![message(1); MAX_BATCH + 2]), [MAX_BATCH, 2]);
        let large = MAX_BATCH_BYTES / 2;
        let messages = [2 * large + 1, large, large, 1].map(message);
        assert_eq!(sizes(messages.into()), [1, 2, 1]);
    }
}
