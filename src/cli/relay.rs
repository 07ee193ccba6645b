//! `relay`: rows of a table, brought to the sinks.

use super::Failure;
use crate::{
    config::{Environment, Flags, RelayConfig},
    daemon,
};

/// Bring the rows of a table of unsent events to the sinks, and mark those that were confirmed, until
/// SIGTERM
///
/// The table is one that services write to in the transactions of their own data. The relay is an
/// outbox of its own, with a journal, a key and a name; several may work on one table.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let config = RelayConfig::load(flags, &environment)?;
    daemon::start_log(config.outbox.log, &environment);
    for remark in &config.outbox.remarks {
        tracing::warn!("{remark}");
    }
    Ok(daemon::run_relay(&config, &environment)?)
}
