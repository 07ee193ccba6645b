//! What happened in a run, for whoever has to find out why it failed.

use std::cell::RefCell;

thread_local! {
    /// What happened so far in this thread's run.
    static HISTORY: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Takes the history of the run so far.
pub(super) fn take_history() -> Vec<String> {
    HISTORY.take()
}

/// Adds to it.
pub(super) fn note(what: impl Into<String>) {
    HISTORY.with_borrow_mut(|history| history.push(what.into()));
}
