//! A kiosk: a process that takes the events of a lesson and brings them to the school.
//!
//! It is told its [`Task`] and says how it is doing in [`Report`]s, one a line. It ends when it is
//! told to, and in the demo it is also killed.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    pin::pin,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use super::lesson::Lesson;
use crate::{
    clock::Timestamp,
    envelope::DeviceName,
    event::EventError,
    forwarder::{ForwardError, Forwarder, SinkSpec},
    outbox::{AppendError, Appended, OpenError, Outbox},
    secret::Secret,
    seq::Seq,
    sink::{
        Sink,
        mqtt::{MqttOptions, MqttOptionsError, MqttSink},
    },
    status::SinkState,
};

/// The name of its one sink.
const SINK: &str = "school";
/// Events that are handed to the outbox at once: more than one pupil can wait for an answer.
const MAX_APPENDING: usize = 8;
/// How long between two reports of what the sink is doing.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What a kiosk is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The directory of its journal.
    pub(super) dir: PathBuf,
    /// Its name.
    pub(super) device: DeviceName,
    /// Where the broker is reached, on the loopback interface.
    pub(super) port: u16,
    /// What pupils do follows from it.
    pub(super) seed: u64,
    /// When the lesson began.
    pub(super) began: Timestamp,
    /// How often an event happens.
    pub(super) every: Duration,
    /// The number of the first event to take. Those before it are known to be durable.
    pub(super) first: u64,
    /// How many events the lesson has.
    pub(super) events: u64,
}

/// What a kiosk says of itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The journal is open.
    Opened {
        /// Events in it that nobody has confirmed.
        held: u64,
        /// How long opening took.
        took: Duration,
    },
    /// The outbox says that an event is durable.
    Appended {
        /// The event's number in the lesson.
        number: u64,
        /// Its place in the journal.
        seq: Seq,
        /// Its id.
        id: Uuid,
    },
    /// What the sink is at.
    Sink {
        /// In one word.
        state: SinkState,
        /// Events that it has not confirmed.
        pending: u64,
    },
}

/// Why a kiosk ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KioskError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("an event of the lesson is none: {0}")]
    Event(#[from] EventError),
    #[error("appending an event failed: {0}")]
    Append(#[from] AppendError),
    #[error("the MQTT sink cannot be set up: {0}")]
    Sink(#[from] MqttOptionsError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error("reporting failed: {0}")]
    Report(#[from] io::Error),
    #[error("a task of the kiosk ended: {0}")]
    System(#[from] tokio::task::JoinError),
}

impl fmt::Display for Task {
    /// As [`Task::from_str`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}

impl FromStr for Task {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// Opens the outbox, takes events when they are due and forwards, until `stop` resolves; then
/// closes the journal.
///
/// # Errors
/// As [`KioskError`] says. What was reported as appended is durable all the same.
pub(crate) async fn run(
    task: Task,
    reports: &mut impl Write,
    stop: impl Future<Output = ()>,
) -> Result<(), KioskError> {
    let begin = Instant::now();
    let outbox = Outbox::builder(&task.dir)
        .device(task.device.clone())
        .source("edge-outbox demo")
        .open()?;
    let took = begin.elapsed();
    let mut status = outbox.status();
    let held = {
        let status = status.borrow();
        let acked = status.sinks.get(SINK).map_or(Seq::NONE, |sink| sink.acked);
        status.tail.since(acked)
    };
    report(reports, Report::Opened { held, took })?;

    let (stop_sending, stopped) = oneshot::channel::<()>();
    let forwarder = Forwarder::new(outbox.clone(), vec![SinkSpec::new(SINK, sink(task.port)?)]);
    let mut forwarding = tokio::spawn(forwarder.run(async { drop(stopped.await) }));
    let lesson = Lesson::new(&task.device, task.seed, task.began, task.every);
    let origin = origin(lesson.began());
    let mut appending: JoinSet<Result<(u64, Appended), AppendError>> = JoinSet::new();
    let mut next = task.first;
    let mut look_at = None;
    let mut stop = pin!(stop);
    loop {
        let due = origin + lesson.due(next);
        tokio::select! {
            () = &mut stop => break,
            ended = &mut forwarding => {
                return ended?.map_err(KioskError::from);
            }
            () = sleep_until(due), if next < task.events && appending.len() < MAX_APPENDING => {
                let (event, number, outbox) = (lesson.event(next)?, next, outbox.clone());
                appending.spawn(async move { Ok((number, outbox.append(event).await?)) });
                next += 1;
            }
            Some(appended) = appending.join_next() => {
                let (number, Appended { seq, id, .. }) = appended??;
                report(reports, Report::Appended { number, seq, id })?;
            }
            Ok(()) = status.changed(), if look_at.is_none() => {
                look_at = Some(Instant::now() + REPORT_EVERY);
            }
            () = sleep_until(look_at.unwrap_or(begin)), if look_at.is_some() => {
                look_at = None;
                let seen = status.borrow_and_update().sinks.get(SINK).map(|sink| Report::Sink {
                    state: sink.state,
                    pending: sink.pending,
                });
                if let Some(seen) = seen {
                    report(reports, seen)?;
                }
            }
        }
    }
    drop(stop_sending);
    forwarding.await??;
    outbox.close().await;
    Ok(())
}

/// The school's broker, at this port.
fn sink(port: u16) -> Result<Sink, MqttOptionsError> {
    let options = MqttOptions {
        servers: vec![Secret::new(format!("mqtt://127.0.0.1:{port}"))],
        ..MqttOptions::default()
    };
    MqttSink::new(options).map(Sink::Mqtt)
}

/// When a lesson that began at this time began, on the clock that timers go by.
fn origin(began: Timestamp) -> Instant {
    let micros = Timestamp::now().as_micros() - began.as_micros();
    let ago = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
    let now = Instant::now();
    now.checked_sub(ago).unwrap_or(now)
}

fn report(reports: &mut impl Write, report: Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(&report)?;
    line.push(b'\n');
    reports.write_all(&line)?;
    reports.flush()
}
