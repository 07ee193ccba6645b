//! A hub's process: a desk for each source, and the caretaker.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::timeout,
};

use super::{
    Database, Gauges, HubError, Intake, Limits, Options, SourceSpec, caretaker,
    desk::{Desk, Elsewhere, Office},
};
use crate::{signing::DeviceKey, sink::postgres::Connection};

/// How long what is in hand may take to be stored once the hub is told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Why a hub does not start, or ends by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StationError {
    /// The database is there, and is not one that this hub may write to.
    #[error(transparent)]
    Database(#[from] HubError),
    /// A part of it ended, which none does while all is well.
    #[error("a part of the hub ended: {0}")]
    Ended(#[from] JoinError),
    /// What was in hand could not be stored in time; it comes again.
    #[error("what was in hand could not be stored within {DRAIN_LIMIT:?}; it will come again")]
    NotDrained,
}

/// A hub.
pub struct Station {
    office: Arc<Office>,
    sources: Vec<SourceSpec>,
}

impl Station {
    /// A hub that brings what comes from these sources into this database. With a key it tells devices
    /// what is safe.
    #[must_use]
    pub fn new(
        database: Database,
        options: Options,
        limits: Limits,
        key: Option<DeviceKey>,
        sources: Vec<SourceSpec>,
    ) -> Self {
        let names = sources.iter().map(|spec| spec.name.clone());
        let office = Office {
            gauges: Arc::new(Gauges::new(names)),
            database,
            options,
            limits,
            key,
            elsewhere: Elsewhere::default(),
        };
        Self {
            office: Arc::new(office),
            sources,
        }
    }

    /// What it counts.
    #[must_use]
    pub fn gauges(&self) -> Arc<Gauges> {
        self.office.gauges.clone()
    }

    /// Looks at the database once. One that cannot be reached yet is waited for later.
    ///
    /// # Errors
    /// It is there, and its tables are not, or not of this version; or the erasure key is another.
    pub async fn check(&self) -> Result<(), HubError> {
        let Ok(Connection {
            client,
            task: _task,
        }) = self.office.database.connect("edge-outbox hub").await
        else {
            return Ok(());
        };
        match Intake::open(client, self.office.options.clone()).await {
            Err(error @ HubError::Database { .. }) if !error.is_for_a_person() => {
                tracing::debug!(%error, "the database is not ready yet");
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Works until `stop`; then what is in hand is stored and acknowledged.
    ///
    /// # Errors
    /// A part of it ended by itself, or what was in hand could not be stored in time.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), StationError> {
        let (say, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for spec in self.sources {
            tasks.spawn(Desk::new(self.office.clone(), spec, stopping.clone()).run());
        }
        tasks.spawn(caretaker::run(self.office.clone(), stopping));
        let ended = tokio::select! {
            () = stop => None,
            ended = tasks.join_next() => ended,
        };
        say.send_replace(true);
        let all = async {
            let mut outcome = ended.unwrap_or(Ok(()));
            while let Some(ended) = tasks.join_next().await {
                outcome = outcome.and(ended);
            }
            outcome
        };
        match timeout(DRAIN_LIMIT, all).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(StationError::NotDrained),
        }
    }
}
