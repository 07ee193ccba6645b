//! One sink's thread: round after round, until it is told to stop.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    time::{sleep, sleep_until, timeout},
};

use super::{
    HubTerms,
    delivery::{Delivery, Terms},
    receipts::Receipts,
    report::Report,
    round::{self, End, Task},
};
use crate::{
    outbox::{ReadError, RegisterError, Registration, SinkHandle},
    seq::Seq,
    sink::{Session, Sink},
};

/// How long the last answer of the journal may take when the task ends. Without it the cursor is
/// older than it could be, and more is in doubt at the next start.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// How long a session may take to close.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// Between attempts to take the sink's place anew while the journal is being reopened.
const REGISTER_PAUSE: Duration = Duration::from_millis(200);

/// Threads that one round blocks at most: a read of the journal, and a name to be resolved.
const BLOCKING_THREADS: usize = 4;

/// When a drain is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// Once this is delivered.
    pub(super) upto: Seq,
    /// Then at the latest.
    pub(super) until: Instant,
}

/// What one sink is to do.
pub(super) struct Courier {
    pub(super) sink: Sink,
    pub(super) registration: Registration,
    pub(super) handle: SinkHandle,
    pub(super) terms: Terms,
    pub(super) hub: Option<HubTerms>,
    pub(super) seed: u64,
    pub(super) goal: Option<Goal>,
    /// Becomes true, or loses its sender, when the task has to stop.
    pub(super) stop: watch::Receiver<bool>,
}

/// How far a sink came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) acked_before: Seq,
    pub(super) acked: Seq,
    pub(super) tail: Seq,
}

impl Courier {
    /// Works until it has to stop or the goal is reached; blocks the thread.
    ///
    /// # Errors
    /// The system gives no runtime.
    pub(super) fn work(self) -> io::Result<Arrived> {
        let Self {
            sink,
            registration,
            handle,
            terms,
            hub,
            seed,
            goal,
            mut stop,
        } = self;
        let acked_before = handle.cursor().acked;
        let begin = |sink, handle: SinkHandle, terms| {
            let handle = Arc::new(handle);
            let mut horizon = handle.horizon();
            let seen = *horizon.borrow_and_update();
            Task {
                delivery: Delivery::new(terms, handle.cursor(), seen, Duration::ZERO, seed),
                report: Report::new(handle.clone()),
                receipts: hub
                    .clone()
                    .map(|hub| Box::new(Receipts::new(handle.clone(), hub))),
                sink,
                handle,
                horizon,
                since: Instant::now(),
                goal: goal.map(|goal| goal.upto),
            }
        };
        let mut task = begin(sink, handle, terms);
        loop {
            let runtime = runtime()?;
            let end = runtime.block_on(async {
                let mut session: Option<Session> = None;
                let end = tokio::select! {
                    biased;
                    () = told_to_stop(&mut stop, goal) => None,
                    end = round::run(&mut task, &mut session) => Some(end),
                };
                if let Some(session) = session {
                    // Overdue: it is dropped with the runtime all the same.
                    drop(timeout(CLOSE_LIMIT, session.close()).await);
                }
                if matches!(end, None | Some(End::Reached)) {
                    settle(&task).await;
                }
                end
            });
            let again = match end {
                // What this task knows belongs to a journal that is no more: it was found rolled
                // back, and begins a new epoch from its own cursors. Or it is closed.
                Some(End::Closed) => runtime.block_on(async {
                    tokio::select! {
                        biased;
                        () = told_to_stop(&mut stop, goal) => None,
                        handle = register_again(&task, &registration) => handle,
                    }
                }),
                _ => None,
            };
            runtime.shutdown_background();
            match (end, again) {
                (Some(End::HungUp), _) => {}
                (_, Some(handle)) => {
                    let terms = Terms {
                        start_jitter: Duration::ZERO,
                        ..terms
                    };
                    task = begin(task.sink, handle, terms);
                }
                (_, None) => break,
            }
        }
        task.report.stopped();
        Ok(Arrived {
            acked_before,
            acked: task.delivery.acked(),
            tail: task.delivery.tail(),
        })
    }
}

/// Takes the sink's place anew; `None` once the journal is closed.
async fn register_again(task: &Task, registration: &Registration) -> Option<SinkHandle> {
    loop {
        match task.handle.outbox().sink(registration.clone()).await {
            Ok(handle) => return Some(handle),
            Err(RegisterError::Journal(ReadError::Unavailable)) => sleep(REGISTER_PAUSE).await,
            Err(RegisterError::Journal(ReadError::Io(_))) => {
                task.handle.tell_noted();
                sleep(REGISTER_PAUSE).await;
            }
            Err(_) => return None,
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>, goal: Option<Goal>) {
    let overdue = async {
        match goal {
            Some(goal) => sleep_until(goal.until.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // An error means that whoever started this is gone.
        _ = stop.wait_for(|stop| *stop) => {}
        () = overdue => {}
    }
}

/// Makes durable what was confirmed, so that the next start has less in doubt.
async fn settle(task: &Task) {
    task.handle.progress(task.delivery.progress());
    match timeout(SETTLE_LIMIT, task.handle.settle()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(sink = %task.handle.name(), "the cursor was not made durable: {error}");
        }
        Err(_) => {
            tracing::warn!(sink = %task.handle.name(), "the cursor was not made durable in time");
        }
    }
}
