//! The word that a listener is shutting down.

use tokio::sync::watch;

/// Held by the listener; dropping it is the word. So it is given also when the listener's future
/// is dropped.
pub(super) struct Stop(
    #[expect(dead_code, reason = "it is there to be dropped")] watch::Sender<()>,
);

/// Waits for the word. A cheap clone.
#[derive(Clone)]
pub(super) struct Stopping(watch::Receiver<()>);

pub(super) fn channel() -> (Stop, Stopping) {
    let (stop, stopping) = watch::channel(());
    (Stop(stop), Stopping(stopping))
}

impl Stopping {
    /// Completes at shutdown.
    pub(super) async fn stopped(&mut self) {
        // Nothing is ever sent, so this ends with an error, when the sender is gone.
        drop(self.0.changed().await);
    }
}
