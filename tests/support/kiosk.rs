//! A device at work: an outbox in a directory of its own and a forwarder that serves its sinks, as
//! a program has them that embeds the library. All calls block.

use std::{
    ops::RangeInclusive,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use edge_outbox::{
    Event, Outbox, OutboxBuilder, Seq,
    forwarder::{Forwarder, SinkSpec},
    status::{SinkState, SinkStatus, Status},
};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::timeout,
};
use uuid::Uuid;

/// Longer than anything here takes; a test that reaches it fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How long a forwarder may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// Events that one commit takes here.
const BATCH: u64 = 500;

/// The type of an event that every server is told to refuse.
pub(crate) const POISON: &str = "poison.pill.v1";
/// What its payload takes: more than any server here is told to take in one message.
const POISON_BYTES: usize = 100_000;

/// A device at work.
pub(crate) struct Kiosk {
    pub(crate) outbox: Outbox,
    forwarding: Option<Forwarding>,
    /// What the waits run on.
    runtime: Runtime,
    dir: TempDir,
}

struct Forwarding {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Kiosk {
    /// A new one of this name, with nothing in its journal.
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |builder| builder)
    }

    /// As [`Kiosk::new`], opened as the test wants.
    pub(crate) fn with(name: &str, change: impl FnOnce(OutboxBuilder) -> OutboxBuilder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = Outbox::builder(dir.path()).device(name.parse().unwrap());
        Self {
            outbox: change(builder).open().unwrap(),
            forwarding: None,
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            dir,
        }
    }

    /// The device's name.
    pub(crate) fn name(&self) -> &str {
        self.outbox.device().as_str()
    }

    /// Ends the program and starts it again: whatever it had not written down is forgotten.
    pub(crate) fn start_again(&mut self) {
        self.stop_forwarding();
        self.outbox.blocking().close();
        self.outbox = Outbox::builder(self.dir.path()).open().unwrap();
    }

    /// Appends the events of these numbers, in commits of some hundred; gives the last seq.
    pub(crate) fn append(&self, numbers: RangeInclusive<u64>) -> Seq {
        let last = *numbers.end();
        for first in numbers.step_by(BATCH as usize) {
            let batch = first..=last.min(first + BATCH - 1);
            let events = batch.map(event).collect();
            self.outbox.blocking().append_batch(events).unwrap();
        }
        self.tail()
    }

    /// Appends so many events of any content; gives the last seq.
    pub(crate) fn append_some(&self, count: u64) -> Seq {
        let next = self.tail().get() + 1;
        self.append(next..=next + count - 1)
    }

    /// Appends the event that every server here refuses.
    pub(crate) fn append_poison(&self) -> Seq {
        let payload = format!("\"{}\"", "x".repeat(POISON_BYTES));
        let event = Event::builder(POISON, Uuid::nil()).payload(payload);
        let appended = self.outbox.blocking().append(event.build().unwrap());
        appended.unwrap().seq
    }

    /// The last event.
    pub(crate) fn tail(&self) -> Seq {
        self.outbox.status().borrow().tail
    }

    /// Begins to forward to these.
    pub(crate) fn forward(&mut self, sinks: Vec<SinkSpec>) {
        assert!(self.forwarding.is_none(), "it forwards already");
        let (stop, stopped) = oneshot::channel::<()>();
        let forwarder = Forwarder::new(self.outbox.clone(), sinks);
        let work = move || {
            let runtime = Builder::new_current_thread().build().unwrap();
            let until = async { drop(stopped.await) };
            runtime.block_on(forwarder.run(until)).unwrap();
        };
        let thread = thread::spawn(work);
        self.forwarding = Some(Forwarding { stop, thread });
    }

    /// Stops forwarding, which may take 2 s.
    pub(crate) fn stop_forwarding(&mut self) {
        let Forwarding { stop, thread } = self.forwarding.take().expect("it forwards");
        let began = Instant::now();
        stop.send(()).unwrap();
        thread.join().unwrap();
        assert!(began.elapsed() < STOP_LIMIT, "{:?}", began.elapsed());
    }

    /// What the status says of a sink.
    pub(crate) fn sink(&self, name: &str) -> SinkStatus {
        self.outbox.status().borrow().sinks[name].clone()
    }

    /// Waits until the status of the sink is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, wanted: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
        let wanted = |status: &Status| status.sinks.get(name).is_some_and(&wanted);
        let mut status = self.outbox.status();
        let seen = async { timeout(LIMIT, status.wait_for(wanted)).await.is_ok() };
        let seen = self.runtime.block_on(seen);
        assert!(seen, "{} still: {:#?}", self.name(), self.sink(name));
        self.sink(name)
    }

    /// Waits until the sink has everything up to here.
    #[track_caller]
    pub(crate) fn wait_until_delivered(&self, name: &str, upto: Seq) -> SinkStatus {
        self.wait_for(name, |sink| sink.acked >= upto)
    }

    /// Waits until the sink has everything.
    #[track_caller]
    pub(crate) fn wait_until_caught_up(&self, name: &str) -> SinkStatus {
        let tail = self.tail();
        self.wait_for(name, |sink| {
            sink.acked >= tail && sink.pending == 0 && sink.state == SinkState::CaughtUp
        })
    }
}

impl Drop for Kiosk {
    fn drop(&mut self) {
        if let Some(Forwarding { stop, thread }) = self.forwarding.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

/// An event as classrooms have them, some 200 bytes of payload.
fn event(number: u64) -> Event {
    let payload = format!(
        r#"{{"number":{number},"score":{},"answers":"{}"}}"#,
        number % 100,
        "abcdefgh".repeat(20),
    );
    Event::builder("quiz.submitted.v1", Uuid::from_u128(number.into()))
        .payload(payload)
        .build()
        .unwrap()
}
