//! What stands for the listeners in a program without HTTP: nobody can knock.

use tokio::task::JoinSet;

use super::DaemonError;
use crate::{
    config::{Config, HttpOptions},
    forwarder::SinkSpec,
    outbox::Outbox,
};

/// There is nothing to fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {}

impl ListenError {
    pub(super) const fn hint(&self) -> Option<&'static str> {
        match *self {}
    }
}

/// None.
pub(super) struct Listeners;

impl Listeners {
    pub(super) async fn bind(_config: &Config) -> Result<Self, ListenError> {
        tracing::warn!(
            "this program leaves HTTP out: nobody can hand over events while it runs; without it, \
             `append` and `drain` work on the journal itself"
        );
        Ok(Self)
    }

    pub(super) const fn addresses(&self) -> Vec<String> {
        Vec::new()
    }

    pub(super) fn serve<S: Future<Output = ()> + Send + 'static>(
        self,
        _tasks: &mut JoinSet<Result<(), DaemonError>>,
        _outbox: &Outbox,
        _sinks: &[SinkSpec],
        _options: &HttpOptions,
        _stopped: impl Fn() -> S,
    ) -> SocketFiles {
        SocketFiles
    }
}

/// None.
pub(super) struct SocketFiles;

impl SocketFiles {
    pub(super) fn remove(self) {}
}
