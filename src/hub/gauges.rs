//! What a hub's process counts, for whoever watches it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{Reason, Taken, Totals};

/// What is counted since the process began, and how things are.
#[derive(Debug)]
pub struct Gauges {
    sources: BTreeMap<String, SourceGauges>,
    totals: Mutex<Option<Totals>>,
}

/// The same of one source.
#[derive(Debug, Default)]
pub struct SourceGauges {
    connected: AtomicBool,
    database: AtomicBool,
    batches: AtomicU64,
    stored: AtomicU64,
    repeated: AtomicU64,
    tails: AtomicU64,
    receipts: AtomicU64,
    quarantined: [AtomicU64; Reason::ALL.len()],
}

impl Gauges {
    pub(super) fn new(sources: impl Iterator<Item = String>) -> Self {
        Self {
            sources: sources
                .map(|name| (name, SourceGauges::default()))
                .collect(),
            totals: Mutex::new(None),
        }
    }

    /// Those of each source, by its name.
    #[must_use]
    pub const fn sources(&self) -> &BTreeMap<String, SourceGauges> {
        &self.sources
    }

    /// How much is missing and set aside, where that is known: as it was when somebody last looked.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        *self.totals.lock().unwrap_or_else(|it| it.into_inner())
    }

    /// Whether every source is connected, and the database from each.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let mut sources = self.sources.values();
        sources.all(|source| source.is_connected() && source.has_database())
    }

    pub(super) fn set_totals(&self, totals: Option<Totals>) {
        *self.totals.lock().unwrap_or_else(|it| it.into_inner()) = totals;
    }
}

impl SourceGauges {
    /// Whether the source can be reached.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether the database takes what it brings.
    pub fn has_database(&self) -> bool {
        self.database.load(Ordering::Relaxed)
    }

    /// Batches that were committed.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Events that were new.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Events that were there.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Tails that came.
    pub fn tails(&self) -> u64 {
        self.tails.load(Ordering::Relaxed)
    }

    /// Receipts that were handed over.
    pub fn receipts(&self) -> u64 {
        self.receipts.load(Ordering::Relaxed)
    }

    /// What was not taken, by each reason.
    pub fn quarantined(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        let counts = self.quarantined.iter().map(|it| it.load(Ordering::Relaxed));
        Reason::ALL.into_iter().zip(counts)
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(super) fn set_database(&self, works: bool) {
        self.database.store(works, Ordering::Relaxed);
    }

    pub(super) fn count(&self, taken: &Taken, tails: usize) {
        let add = |to: &AtomicU64, count: usize| to.fetch_add(count as u64, Ordering::Relaxed);
        add(&self.batches, 1);
        add(&self.stored, taken.stored);
        add(&self.repeated, taken.repeated);
        add(&self.tails, tails);
        for (reason, counter) in Reason::ALL.into_iter().zip(&self.quarantined) {
            add(
                counter,
                taken.quarantined.get(&reason).copied().unwrap_or(0),
            );
        }
    }

    pub(super) fn count_receipts(&self, count: usize) {
        self.receipts.fetch_add(count as u64, Ordering::Relaxed);
    }
}
