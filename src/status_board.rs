//! Where the status hangs: the journal's writer and the sinks' tasks change it, whoever wants to
//! know reads it, and each change is counted in the history on the way.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    clock::boottime_us,
    history::{History, Recorder},
    status::Status,
};

/// The one status of an outbox; a cheap clone.
#[derive(Clone)]
pub(crate) struct StatusBoard {
    status: watch::Sender<Status>,
    recorder: Arc<Mutex<Recorder>>,
}

impl StatusBoard {
    pub(crate) fn new(status: Status) -> Self {
        let recorder = Recorder::new(boottime(), &status);
        Self {
            status: watch::Sender::new(status),
            recorder: Arc::new(Mutex::new(recorder)),
        }
    }

    /// Changes the status and tells everybody who waits for that.
    pub(crate) fn send_modify(&self, change: impl FnOnce(&mut Status)) {
        // Within the change, so that the recorder sees the changes in their order.
        self.status.send_modify(|status| {
            change(status);
            self.recorder().observe(status, boottime);
        });
    }

    /// As [`StatusBoard::send_modify`], for a change that says whether it was one.
    pub(crate) fn send_if_modified(&self, change: impl FnOnce(&mut Status) -> bool) {
        self.status.send_if_modified(|status| {
            let changed = change(status);
            self.recorder().observe(status, boottime);
            changed
        });
    }

    /// The status now. Held, it keeps everybody from changing it.
    pub(crate) fn borrow(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    /// The status, as it changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// What was appended and delivered over the last hours.
    pub(crate) fn history(&self) -> History {
        self.recorder().report(boottime())
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        // Counts are whole after every step: a panic elsewhere spoils none.
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn boottime() -> Duration {
    Duration::from_micros(boottime_us())
}
