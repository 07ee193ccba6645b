//! `run`: the daemon.

use super::Failure;
use crate::{
    config::{Config, Environment},
    daemon::{self, DaemonError},
};

/// Take events, keep them, bring them to the sinks, until SIGTERM
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port for HTTP, or `off`; port 0 picks a free one [also: EDGE_OUTBOX_LISTEN;
    /// default: 127.0.0.1:7411]
    #[arg(long, value_name = "ADDRESS", hide = !cfg!(feature = "http"))]
    pub(super) listen: Option<String>,
}

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let environment = Environment::of_process();
    daemon::start_log(config.log, &environment);
    for remark in &config.remarks {
        tracing::warn!("{remark}");
    }
    daemon::run(config, &environment).map_err(Failure::from)
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Config(error) => error.into(),
            DaemonError::Open(error) => error.into(),
            error => Self::new(error.to_string()).hint(error.hint()),
        }
    }
}
