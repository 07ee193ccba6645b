//! What has to be done now and then, whatever comes: partitions, quarantine that was waited for, and a
//! look at how much is missing.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    HubError,
    desk::{Office, stopped},
    trouble::jittered,
};
use crate::sink::SinkError;

/// How often quarantine is looked through for what an operator has let in, a random part of a second
/// more: several hubs do not go in step.
const EVERY: Duration = Duration::from_secs(15);
const JITTER: Duration = Duration::from_secs(1);
/// How often partitions of the coming months are made.
const PARTITIONS_EVERY: Duration = Duration::from_secs(3_600);

/// Works until it is stopped. Each round has a connection of its own: there is nothing to lose
/// between two, and desks tell what is wrong with the database.
pub(super) async fn run(office: Arc<Office>, mut stopping: watch::Receiver<bool>) {
    let mut partitions = Instant::now() + PARTITIONS_EVERY;
    loop {
        let done = tokio::select! {
            done = round(&office, &mut partitions) => done,
            () = stopped(&mut stopping) => return,
        };
        if let Err(error) = done {
            office.gauges.set_totals(None);
            tracing::debug!(
                code = error.code,
                "looking after the tables: {}",
                error.message
            );
        }
        tokio::select! {
            () = sleep(EVERY + jittered(JITTER)) => {}
            () = stopped(&mut stopping) => return,
        }
    }
}

async fn round(office: &Office, partitions: &mut Instant) -> Result<(), SinkError> {
    let mut intake = office.intake().await?;
    if Instant::now() >= *partitions {
        intake.make_partitions().await?;
        *partitions = Instant::now() + PARTITIONS_EVERY;
    }
    intake.walk_waiting().await?;
    let taken = intake.retry().await?;
    office.elsewhere.leave(office, intake.touched().events);
    if taken.stored > 0 {
        tracing::info!(events = taken.stored, "taken out of quarantine");
    }
    let totals: Result<_, HubError> = intake.totals().await;
    office.gauges.set_totals(Some(totals?));
    Ok(())
}
