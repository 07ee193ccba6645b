//! The forwarder: brings what the journal holds to every sink, each from its own cursor.
//!
//! Each sink has a thread of its own, so that a dead one slows no other and the caller's runtime,
//! of whatever flavour, is left alone. Each connection has a runtime of its own on that thread,
//! dropped with the connection: nothing that a client library still held can leave afterwards.
//!
//! What is decided, and when, is in a state machine without I/O (`delivery`); threads, sessions
//! and reads are a shell around it.
//!
//! A crash at any moment leaves the durable cursor: what lies in (acked, claimed] is read back
//! from the sink where that is possible, and sent again, marked, where it is not found.

mod account;
mod backoff;
#[cfg(feature = "carry")]
mod carried;
mod courier;
mod declared;
mod delivery;
mod doubt;
mod feed;
mod rate;
mod receipts;
mod report;
mod round;
#[cfg(test)]
mod simulation;
mod unanswered;
mod window;

use std::{
    io,
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

#[cfg(all(feature = "carry", feature = "cli"))]
pub(crate) use self::carried::KIND as CARRIED;
#[cfg(feature = "carry")]
pub use self::carried::{Brought, Carried, CarriedSpec, Outgoing, set_out};
pub use self::rate::MaxRate;
use self::{
    courier::{Arrived, Courier, Goal},
    delivery::Terms,
};
use crate::{
    outbox::{Outbox, RegisterError, Registration, Start},
    signing::PublicKey,
    sink::Sink,
};

/// How far the claim runs ahead of what is confirmed unless a sink says otherwise, in events: twice
/// what a session has on its way, so that the wire is full when the next claim is asked for.
pub const DEFAULT_WINDOW: u32 = 2_048;

/// The longest time between two attempts to connect while a backlog waits, unless a sink says
/// otherwise. An attempt takes 4 s at most, so delivery resumes within 5 s of the fault's end.
pub const DEFAULT_RECONNECT_MAX: Duration = Duration::from_secs(4);

/// The least and the most that [`SinkSpec::reconnect_max`] can be; beyond, the bound counts.
pub const RECONNECT_MAX_BOUNDS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);

/// The most that [`SinkSpec::start_jitter`] can be; beyond, this counts.
pub const MAX_START_JITTER: Duration = Duration::from_secs(600);

/// How long what a hub misses is left alone after it has named it first, unless a sink says
/// otherwise: it may be on its way.
pub const DEFAULT_RESEND_AFTER: Duration = Duration::from_secs(30);

/// The least and the most that [`HubTerms::resend_after`] can be; beyond, the bound counts.
pub const RESEND_AFTER_BOUNDS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Whose word trimming goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// The sink's own.
    #[default]
    Ack,
    /// The hub's, by its receipts.
    Hub,
}

/// The hub behind a sink.
#[derive(Clone, Debug)]
pub struct HubTerms {
    /// The keys that sign its receipts: one, or while it is changed two.
    pub keys: Vec<PublicKey>,
    /// Whether its word counts, or is only looked at.
    pub confirm: Confirm,
    /// How long what it misses is left alone after it has named it first; within
    /// [`RESEND_AFTER_BOUNDS`].
    pub resend_after: Duration,
}

/// One sink and how it is to be served.
pub struct SinkSpec {
    /// Its name, `[a-z0-9_-]{1,64}`: under another name it is another sink.
    pub name: String,
    /// Where the events go.
    pub sink: Sink,
    /// Whether trimming waits for it.
    pub required: bool,
    /// How far the claim may run ahead of what is confirmed, in events; 0 counts as 1. It bounds
    /// memory, what is in doubt after a crash, and what is on its way at once.
    pub window: u32,
    /// Whether an event waits until the one before it is stored or given up.
    pub strict_order: bool,
    /// The most that is sent in a second, repeats included and across all connections. Up to one
    /// second's worth may go at once.
    pub max_rate: MaxRate,
    /// The longest time from the start of one attempt to connect to the start of the next while a
    /// backlog waits; within [`RECONNECT_MAX_BOUNDS`]. Longer spares a broker that a whole school
    /// comes back to, and delivery resumes as much later.
    pub reconnect_max: Duration,
    /// The first attempt to connect waits a random time up to this, at most
    /// [`MAX_START_JITTER`]. A drain does not wait.
    pub start_jitter: Duration,
    /// Where the sink begins if the journal has no place for it yet.
    pub start: Start,
    /// The hub behind it, where its key is known. The sink has to be told where the hub's receipts
    /// and tails go, too.
    pub hub: Option<HubTerms>,
}

impl SinkSpec {
    /// A sink with the defaults: a window of [`DEFAULT_WINDOW`], others than standard output
    /// required, first attempts in order and no more, no limit to the rate, attempts to connect at
    /// once and then every [`DEFAULT_RECONNECT_MAX`] at most, from the oldest event held.
    #[must_use]
    pub fn new(name: impl Into<String>, sink: Sink) -> Self {
        Self {
            name: name.into(),
            required: !matches!(sink, Sink::Stdout(_)),
            sink,
            window: DEFAULT_WINDOW,
            strict_order: false,
            max_rate: MaxRate::default(),
            reconnect_max: DEFAULT_RECONNECT_MAX,
            start_jitter: Duration::ZERO,
            start: Start::Oldest,
            hub: None,
        }
    }

    /// What the delivery goes by; a drain is in a hurry.
    fn terms(&self, is_drain: bool) -> Terms {
        let (least, most) = (RECONNECT_MAX_BOUNDS.start(), RECONNECT_MAX_BOUNDS.end());
        Terms {
            window: self.window.max(1),
            strict_order: self.strict_order,
            max_rate: self.max_rate,
            reconnect_max: self.reconnect_max.clamp(*least, *most),
            start_jitter: match is_drain {
                true => Duration::ZERO,
                false => self.start_jitter.min(MAX_START_JITTER),
            },
        }
    }
}

/// Forwards to a set of sinks.
pub struct Forwarder {
    outbox: Outbox,
    sinks: Vec<SinkSpec>,
}

/// How far a drain came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Every sink, as they were given.
    pub sinks: Vec<DrainedSink>,
}

impl Drained {
    /// Events that are still pending, over all sinks; 0 when everything is delivered.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.left).sum()
    }
}

/// How far a drain came at one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainedSink {
    /// Its name.
    pub name: String,
    /// Events that were confirmed, or given up with an entry in the loss ledger.
    pub delivered: u64,
    /// Events that are still pending.
    pub left: u64,
}

/// Why forwarding ended before it was told to. What was confirmed is durable, or in doubt and
/// sorted out at the next start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A sink did not get its place in the journal. Nothing was forwarded to any.
    #[error("sink {name:?} has no place in the journal: {source}")]
    Register {
        /// Which.
        name: String,
        /// Why.
        source: RegisterError,
    },
    /// A hub is to confirm what a sink has, and the sink brings no receipts back. Nothing was
    /// forwarded to any.
    #[error("sink {name:?} cannot be confirmed by a hub: no receipts come back through it")]
    NoWayBack {
        /// Which.
        name: String,
    },
    /// The system gave no thread or runtime for a sink.
    #[error("sink {name:?} cannot be served: {source}")]
    System {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A sink's thread panicked: a fault in this program.
    #[error("the task of sink {name:?} panicked")]
    Panicked {
        /// Which.
        name: String,
    },
}

/// One sink's thread has ended.
struct Ended {
    index: usize,
    /// `None` after a panic.
    how: Option<io::Result<Arrived>>,
}

/// The running threads. Dropped, it tells them to stop.
struct Crew {
    names: Vec<String>,
    stop: watch::Sender<bool>,
    ended: mpsc::UnboundedReceiver<Ended>,
}

impl Forwarder {
    /// For these sinks. Nothing happens before [`Forwarder::run`] or [`Forwarder::drain`].
    #[must_use]
    pub fn new(outbox: Outbox, sinks: Vec<SinkSpec>) -> Self {
        Self { outbox, sinks }
    }

    /// Forwards until `shutdown` resolves or the outbox is closed, then stops every sink within
    /// 2 s, in whatever state. Works on any runtime; dropping the future stops the sinks too.
    ///
    /// Trouble at a sink is no error: it is in the status, and tried again.
    ///
    /// # Errors
    /// As [`ForwardError`] says. The other sinks are stopped first.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ForwardError> {
        if self.sinks.is_empty() {
            shutdown.await;
            return Ok(());
        }
        let mut crew = self.start(None).await?;
        let stop = crew.stop.clone();
        let mut all = pin!(crew.all_ended());
        tokio::select! {
            ended = &mut all => return ended.map(drop),
            () = shutdown => {}
        }
        stop.send_replace(true);
        all.await.map(drop)
    }

    /// Forwards what is pending now, then stops; after `limit` at the latest.
    ///
    /// # Errors
    /// As [`ForwardError`] says. That something is left is no error: [`Drained`] says it.
    pub async fn drain(self, limit: Duration) -> Result<Drained, ForwardError> {
        let mut crew = self.start(Some(limit)).await?;
        let arrived = crew.all_ended().await?;
        let sinks = crew
            .names
            .into_iter()
            .zip(arrived)
            .map(|(name, arrived)| DrainedSink {
                name,
                delivered: arrived.acked.since(arrived.acked_before),
                left: arrived.tail.since(arrived.acked),
            });
        Ok(Drained {
            sinks: sinks.collect(),
        })
    }

    async fn start(self, limit: Option<Duration>) -> Result<Crew, ForwardError> {
        let until = limit.map(|limit| Instant::now() + limit);
        let (stop, stopping) = watch::channel(false);
        let (report, ended) = mpsc::unbounded_channel();
        let mut crew = Crew {
            names: Vec::new(),
            stop,
            ended,
        };
        let mut couriers = Vec::new();
        for spec in self.sinks {
            let terms = spec.terms(until.is_some());
            let SinkSpec {
                name,
                sink,
                required,
                start,
                hub,
                ..
            } = spec;
            let by_receipts = hub.as_ref().is_some_and(|hub| hub.confirm == Confirm::Hub);
            if by_receipts && !sink.has_way_back() {
                return Err(ForwardError::NoWayBack { name });
            }
            let registration = Registration {
                name: name.clone(),
                kind: sink.kind(),
                required,
                window: terms.window,
                start,
                by_receipts,
            };
            let handle = match self.outbox.sink(registration.clone()).await {
                Ok(handle) => handle,
                Err(source) => return Err(ForwardError::Register { name, source }),
            };
            let upto = handle.horizon().borrow().tail;
            couriers.push(Courier {
                sink,
                registration,
                handle,
                terms,
                hub,
                seed: seed(),
                goal: until.map(|until| Goal { upto, until }),
                stop: stopping.clone(),
            });
            crew.names.push(name);
        }
        for (index, courier) in couriers.into_iter().enumerate() {
            let name = &crew.names[index];
            let report = report.clone();
            let work = move || {
                let how = catch_unwind(AssertUnwindSafe(|| courier.work())).ok();
                // Nobody waits any more where the future was dropped.
                drop(report.send(Ended { index, how }));
            };
            let thread = thread::Builder::new().name(format!("sink {name}"));
            if let Err(source) = thread.spawn(work) {
                return Err(ForwardError::System {
                    name: name.clone(),
                    source,
                });
            }
        }
        Ok(crew)
    }
}

impl Crew {
    /// Waits for every thread. One that fails stops the others.
    async fn all_ended(&mut self) -> Result<Vec<Arrived>, ForwardError> {
        let mut arrived = vec![None; self.names.len()];
        let mut failed = None;
        while let Some(Ended { index, how }) = self.ended.recv().await {
            let name = || self.names[index].clone();
            let error = match how {
                Some(Ok(how)) => {
                    arrived[index] = Some(how);
                    continue;
                }
                Some(Err(source)) => ForwardError::System {
                    name: name(),
                    source,
                },
                None => ForwardError::Panicked { name: name() },
            };
            failed.get_or_insert(error);
            self.stop.send_replace(true);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(arrived.into_iter().flatten().collect()),
        }
    }
}

/// Where the waits of a sink begin: devices that lose their network together must not return
/// together.
fn seed() -> u64 {
    // Without randomness the time will do: it only spreads the waits.
    getrandom::u64().unwrap_or_else(|_| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |since| u64::from(since.subsec_nanos()))
    })
}
