//! A look through all that is stored: every event again what its device's key signed, once, in its
//! chain, and there at all.

use std::collections::BTreeSet;

use serde::Serialize;
use tokio_postgres::{Client, Row, types::Type};
use uuid::Uuid;

use super::{
    error::{HubError, Tried as _},
    rows::{get, read_digest},
    stored, transaction,
};
use crate::{
    digest::Digest,
    envelope::{Envelope, Verifier},
};

/// Events, or places of events, that are looked at at a time.
const AT_ONCE: i64 = 1_000;
/// What is wrong with the tables is named up to so many times, and counted beyond.
const MAX_FINDINGS: usize = 20;

/// What a look through the tables showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// Events that were looked at.
    pub events: u64,
    /// Those among them whose personal part was erased.
    pub erased: u64,
    /// Events that were stored, and went when the partition of their month was dropped.
    pub dropped: u64,
    /// What is wrong, the first few; empty where nothing is.
    pub findings: Vec<String>,
    /// How often something is wrong.
    pub wrong: u64,
}

impl Verification {
    fn find(&mut self, at: &Place, what: &str) {
        let Place { device, epoch, .. } = at;
        self.say(|| format!("device {device}, epoch {epoch}, seq {}: {what}", at.seq));
    }

    /// Of an epoch.
    fn find_in(&mut self, Place { device, epoch, .. }: &Place, what: &str) {
        self.say(|| format!("device {device}, epoch {epoch}: {what}"));
    }

    fn say(&mut self, finding: impl FnOnce() -> String) {
        self.wrong += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding());
        }
    }
}

/// Where an event is, in the order in which they are gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    device: String,
    epoch: Uuid,
    seq: i64,
    digest: Digest,
}

impl Place {
    /// Before all others.
    const fn first() -> Self {
        Self {
            device: String::new(),
            epoch: Uuid::nil(),
            seq: 0,
            digest: Digest::ZERO,
        }
    }

    fn of(row: &Row) -> Result<Self, HubError> {
        Ok(Self {
            device: get(row, 0)?,
            epoch: get(row, 1)?,
            seq: get(row, 2)?,
            digest: read_digest(get(row, 3)?).unwrap_or(Digest::ZERO),
        })
    }
}

pub(super) async fn verify(client: &Client) -> Result<Verification, HubError> {
    let mut verification = Verification::default();
    look_at_events(client, &mut verification).await?;
    look_for_events(client, &mut verification).await?;
    look_for_positions(client, &mut verification).await?;
    Ok(verification)
}

/// Whether each is what a key of its own device signed, stored while that key was good for it, and
/// names what is stored before it.
async fn look_at_events(client: &Client, found: &mut Verification) -> Result<(), HubError> {
    let question = format!(
        "select {}, t.received_at::text, exists (select from edge_outbox_hub.positions p \
         where p.device = t.device and p.epoch = t.epoch and p.seq = t.seq and p.digest = t.digest), \
         exists (select from edge_outbox_hub.device_keys k where k.device = t.device \
         and k.key_id = t.key_id and k.revoked_at < t.received_at \
         and not t.epoch = any(k.epochs_before) \
         and not coalesce(t.epoch = k.revoked_epoch and t.seq <= k.revoked_seq, false)) \
         from edge_outbox_hub.event_rows t \
         where (t.device, t.epoch, t.seq, t.digest, t.received_at) \
         > ($1, $2, $3, $4, $5::text::timestamptz) \
         order by t.device, t.epoch, t.seq, t.digest, t.received_at limit $6",
        stored::COLUMNS
    );
    let mut after = Place::first();
    let mut received = "-infinity".to_owned();
    let mut verifier = Verifier::new();
    let mut links = Links::default();
    loop {
        let digest = &after.digest.as_bytes()[..];
        let answer = client
            .query_typed(
                &question,
                &[
                    (&after.device, Type::TEXT),
                    (&after.epoch, Type::UUID),
                    (&after.seq, Type::INT8),
                    (&digest, Type::BYTEA),
                    (&received, Type::TEXT),
                    (&AT_ONCE, Type::INT8),
                ],
            )
            .await
            .tried("reading events")?;
        for row in &answer {
            let place = Place::of(row)?;
            if place.device != after.device {
                verifier = keys_of(client, &place.device).await?;
            }
            found.events += 1;
            if place == after {
                found.find(&place, "stored twice");
            }
            match verified(row, &mut verifier)? {
                Err(error) => found.find(&place, &error),
                Ok(event) if event.digest != place.digest => {
                    found.find(&place, "its digest is another");
                }
                Ok(event) => {
                    found.erased += u64::from(event.is_erased);
                    if !links.fits(&place, event.prev) {
                        found.find(&place, "what is stored before it is another event");
                    }
                }
            }
            if !get::<bool>(row, stored::COUNT + 1)? {
                found.find(&place, "it has no position");
            }
            if get::<bool>(row, stored::COUNT + 2)? {
                found.find(&place, "it was stored after its key was revoked for it");
            }
            received = get(row, stored::COUNT)?;
            after = place;
        }
        if answer.is_empty() {
            return Ok(());
        }
    }
}

/// Whether what was stored is there. A month whose partition was dropped is meant to be gone.
async fn look_for_events(client: &Client, found: &mut Verification) -> Result<(), HubError> {
    let mut after = Place::first();
    loop {
        let digest = &after.digest.as_bytes()[..];
        let answer = client
            .query_typed(
                "select p.device, p.epoch, p.seq, p.digest, exists (select \
                 from edge_outbox_hub.event_rows r where r.device = p.device and r.epoch = p.epoch \
                 and r.seq = p.seq and r.digest = p.digest and r.received_at = p.received_at), \
                 exists (select from pg_inherits i \
                 where i.inhparent = 'edge_outbox_hub.event_rows'::regclass and i.inhrelid \
                 = to_regclass('edge_outbox_hub.event_rows_' \
                 || to_char(p.received_at at time zone 'UTC', 'YYYY_MM'))), \
                 exists (select from edge_outbox_hub.epochs e \
                 where e.device = p.device and e.epoch = p.epoch) \
                 from edge_outbox_hub.positions p \
                 where (p.device, p.epoch, p.seq, p.digest) > ($1, $2, $3, $4) \
                 order by p.device, p.epoch, p.seq, p.digest limit $5",
                &[
                    (&after.device, Type::TEXT),
                    (&after.epoch, Type::UUID),
                    (&after.seq, Type::INT8),
                    (&digest, Type::BYTEA),
                    (&AT_ONCE, Type::INT8),
                ],
            )
            .await
            .tried("looking for events")?;
        for row in &answer {
            let place = Place::of(row)?;
            match (get::<bool>(row, 4)?, get::<bool>(row, 5)?) {
                (true, _) => {}
                (false, true) => found.find(&place, "it has a position and is not there"),
                (false, false) => found.dropped += 1,
            }
            if !get::<bool>(row, 6)? {
                found.find(&place, "it has a position, and its epoch is not there");
            }
            after = place;
        }
        if answer.is_empty() {
            return Ok(());
        }
    }
}

/// Whether each epoch is accounted for: every seq of it is held, or missing, or declared; and where its
/// chain is whole, there is its end.
async fn look_for_positions(client: &Client, found: &mut Verification) -> Result<(), HubError> {
    let answer = client
        .query_typed(
            "select * from (select e.device, e.epoch, e.complete_to, ''::bytea, \
             e.highest - coalesce(e.first_seq, 1) + 1 - p.held - g.gone \
             as unaccounted, e.complete_digest is null or exists (select from edge_outbox_hub.positions p \
             where p.device = e.device and p.epoch = e.epoch and p.seq = e.complete_to \
             and p.digest = e.complete_digest) or exists (select from edge_outbox_hub.gap_rows g \
             where g.device = e.device and g.epoch = e.epoch and g.last_seq = e.complete_to \
             and g.last_digest = e.complete_digest) \
             as has_end, exists (select from edge_outbox_hub.gap_rows g where g.device = e.device \
             and g.epoch = e.epoch and g.declared is null and g.first_seq <= e.complete_to) as is_open \
             from edge_outbox_hub.epochs e \
             cross join lateral (select count(distinct p.seq) as held \
             from edge_outbox_hub.positions p where p.device = e.device and p.epoch = e.epoch \
             and p.seq between coalesce(e.first_seq, 1) and e.highest) p \
             cross join lateral (select coalesce(sum(g.last_seq - g.first_seq + 1), 0)::bigint as gone \
             from edge_outbox_hub.gap_rows g where g.device = e.device and g.epoch = e.epoch) g \
             where e.highest > 0) it where unaccounted <> 0 or not has_end or is_open \
             order by device, epoch",
            &[],
        )
        .await
        .tried("counting positions")?;
    for row in &answer {
        let place = Place::of(row)?;
        match get::<i64>(row, 4)? {
            0 => {}
            gone @ 1.. => {
                found.find_in(
                    &place,
                    &format!("{gone} seqs have neither a position nor a gap"),
                );
            }
            _ => found.find_in(&place, "something is both held and missing"),
        }
        if !get::<bool>(row, 5)? {
            found.find(&place, "the end of its chain is not there");
        }
        if get::<bool>(row, 6)? {
            found.find(
                &place,
                "its chain counts as whole up to here, and something before is missing",
            );
        }
    }
    Ok(())
}

/// What proves the events of one device: every key that was ever its own, and no other's.
async fn keys_of(client: &Client, device: &str) -> Result<Verifier, HubError> {
    let keys = client
        .query_typed(
            "select public_key from edge_outbox_hub.device_keys where device = $1",
            &[(&device, Type::TEXT)],
        )
        .await
        .tried("reading the keys of a device")?;
    let mut verifier = Verifier::new();
    for row in &keys {
        let key = transaction::public_key(get(row, 0)?);
        verifier.trust(key.ok_or(HubError::Table("device_keys"))?);
    }
    Ok(verifier)
}

/// An event that its key signed.
struct Proven {
    digest: Digest,
    prev: Digest,
    is_erased: bool,
}

/// The event of a row, or why it is none.
fn verified(row: &Row, verifier: &mut Verifier) -> Result<Result<Proven, String>, HubError> {
    let Some(wire) = stored::envelope(row)? else {
        return Ok(Err("no event's columns".to_owned()));
    };
    let read = Envelope::from_message(&wire).map_err(|it| it.to_string());
    let event = read.and_then(|it| verifier.verify(it).map_err(|it| it.to_string()));
    Ok(event.map(|event| Proven {
        digest: event.digest(),
        prev: event.statement().prev,
        is_erased: event.private().is_none(),
    }))
}

/// The events at the last two seqs of the chain that is gone through.
#[derive(Default)]
struct Links {
    chain: (String, Uuid),
    at: i64,
    here: BTreeSet<Digest>,
    before: BTreeSet<Digest>,
}

impl Links {
    /// Whether an event names one of those at the seq before it, where any are stored.
    fn fits(&mut self, place: &Place, prev: Digest) -> bool {
        let chain = (&place.device, &place.epoch);
        if chain != (&self.chain.0, &self.chain.1) || place.seq > self.at + 1 {
            self.here.clear();
            self.before.clear();
            self.chain = (place.device.clone(), place.epoch);
        } else if place.seq == self.at + 1 {
            self.before = std::mem::take(&mut self.here);
        }
        self.at = place.seq;
        self.here.insert(place.digest);
        self.before.is_empty() || self.before.contains(&prev)
    }
}
