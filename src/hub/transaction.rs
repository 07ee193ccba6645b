//! One batch in one transaction, step by step as `docs/design.md` has them: gate, trust, positions,
//! quarantine, devices. No step waits for what an earlier one locks.

mod erasing;
mod trust;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tokio_postgres::{Transaction, types::Type};

pub(super) use self::{erasing::erase, trust::public_key};
use super::{
    Options, Taken,
    error::{HubError, Tried as _},
    ledger::{self, Words},
    plan::{ByDevice, Stored, Told},
    proof::{Aside, Message, Proven},
    quarantine,
    rows::{self, Place, Row},
    settle::{self, Chain},
};
use crate::{
    digest::Digest,
    envelope::{Envelope, Verified},
    seq::Seq,
};

/// The lock that everything passes through.
const GATE: i64 = 7_020_584_511_041;
/// How long a statement may take in a transaction that erases: it may look through all months.
const ERASE_PATIENCE: &str = "set local statement_timeout = '4min'";

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
    let erasing = erasing.filter(|event| erasing::erases(event, options));
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

    let (trusted, is_news) = trust::trust(transaction, batch.proven, options, &mut asides).await?;
    erasing::leave_out_forks(transaction, &trusted, &mut erasing).await?;
    let told_erased = erasing::note_erased(transaction, &trusted, &erasing).await?;
    let judged = erasing::look_up_erased(transaction, trusted, options, &mut asides).await?;
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
    erasing::erase_for_devices(transaction, &told_erased).await?;
    for row in stored.iter().filter(|row| erasing.contains(&row.place())) {
        if let Some(id) = erasing::asks_to_erase(&row.event.envelope, options) {
            let note = format!("asked for by device {}", row.place().0);
            erase(transaction, &options.erasure_key, &id, &note).await?;
        }
    }
    done.news = is_news || !told_erased.is_empty() || !stored.is_empty() && has_start(&stored);

    for aside in &asides {
        *done.taken.quarantined.entry(aside.reason).or_default() += 1;
    }
    let named = told_erased.values().flatten().map(|(_, digest)| *digest);
    let proven = asides
        .iter()
        .filter_map(|aside| aside.claims.as_ref()?.digest);
    let digests: Vec<Digest> = named.chain(proven).collect();
    quarantine::set_aside(transaction, asides, &batch.again).await?;
    quarantine::strip_erased(transaction, &digests).await?;

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

/// How an epoch begins, where this is the event that begins one.
fn start_of(envelope: &Envelope<Verified>) -> Option<ledger::Start> {
    let statement = envelope.statement();
    let begins =
        statement.prev == Digest::ZERO && ledger::is_start(statement.kind, statement.event_type);
    let private = envelope.private().filter(|_| begins)?;
    ledger::start(private.payload)
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
                clock: statement.clock,
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
