//! A kiosk as the classroom has it: its process, its power, and what it said.

use std::{env, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};

use super::{
    DemoError, Doing, Standing,
    books::Promise,
    kiosk::{Report, Task},
};
use crate::{
    clock::Timestamp, envelope::DeviceName, outbox::Outbox, signing::PublicKey, status::SinkState,
};

/// The hidden command that is a kiosk.
pub(crate) const COMMAND: &str = "demo-kiosk";
/// How long a kiosk may take to close its journal.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Something that a kiosk said.
pub(super) struct Said {
    /// Which kiosk.
    pub(super) seat: usize,
    /// How often it had been started when it said so.
    pub(super) life: u32,
    /// What; `None` when it will say no more.
    pub(super) report: Option<Report>,
}

/// A kiosk's place in the classroom.
pub(super) struct Seat {
    index: usize,
    task: Task,
    process: Option<Process>,
    /// How often it was started.
    life: u32,
    /// Whether its journal is open.
    is_open: bool,
    /// What it said is durable, by the event's number in the lesson.
    promises: Vec<Option<Promise>>,
    appended: u64,
    state: SinkState,
    pending: u64,
}

struct Process {
    child: Child,
    /// Closed, it tells the kiosk to end; so it ends, too, when this process is gone.
    stdin: Option<ChildStdin>,
}

impl Seat {
    /// Sets a kiosk up, as a school would before it is put in its place: makes journal and key,
    /// and gives the key that its events will be verified with.
    pub(super) async fn set_up(index: usize, task: Task) -> Result<(Self, PublicKey), DemoError> {
        let outbox = Outbox::builder(&task.dir)
            .device(task.device.clone())
            .open();
        let outbox = outbox.map_err(|source| DemoError::SetUp {
            device: task.device.clone(),
            source,
        })?;
        let key = outbox.public_key().clone();
        outbox.close().await;
        let seat = Self {
            index,
            promises: vec![None; usize::try_from(task.events).unwrap_or(usize::MAX)],
            task,
            process: None,
            life: 0,
            is_open: false,
            appended: 0,
            state: SinkState::Connecting,
            pending: 0,
        };
        Ok((seat, key))
    }

    /// Says when the lesson begins. Before the first start.
    pub(super) fn begin_lesson(&mut self, at: Timestamp) {
        self.task.began = at;
    }

    /// Gives it power: starts its process, which goes on with the first event that is not known to
    /// be durable. Those behind it that are durable all the same are known by their ids.
    pub(super) fn start(&mut self, said: &mpsc::Sender<Said>) -> Result<(), DemoError> {
        let known = self.promises.iter().take_while(|promise| promise.is_some());
        self.task.first = known.count() as u64;
        let failed = |source| DemoError::Start {
            device: self.task.device.clone(),
            source,
        };
        let program = env::current_exe().map_err(failed)?;
        let mut child = self.command(&program).spawn().map_err(failed)?;
        self.life += 1;
        self.is_open = false;
        self.state = SinkState::Connecting;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(listen(stdout, self.index, self.life, said.clone()));
        }
        let stdin = child.stdin.take();
        self.process = Some(Process { child, stdin });
        Ok(())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg(COMMAND)
            .arg(self.task.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the classroom, which then ends its kiosks.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Takes its power away: SIGKILL, at whatever it is doing.
    pub(super) async fn cut_power(&mut self) {
        if let Some(Process { mut child, .. }) = self.process.take() {
            // One that has ended by itself needs no killing.
            drop(child.kill().await);
        }
    }

    /// Tells it to close its journal and end.
    pub(super) fn tell_to_end(&mut self) {
        if let Some(process) = &mut self.process {
            process.stdin = None;
        }
    }

    /// Waits for the end that it was told to come to, and kills it where that takes too long.
    pub(super) async fn end(&mut self) {
        self.tell_to_end();
        if let Some(Process { mut child, .. }) = self.process.take()
            && timeout(CLOSE_LIMIT, child.wait()).await.is_err()
        {
            drop(child.kill().await);
        }
    }

    /// Notes what it said.
    pub(super) fn note(&mut self, report: Report) {
        match report {
            Report::Opened { held, .. } => (self.is_open, self.pending) = (true, held),
            Report::Appended { number, seq, id } => {
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                if let Some(promise) = self.promises.get_mut(number)
                    && promise.replace(Promise { seq, id }).is_none()
                {
                    self.appended += 1;
                }
            }
            Report::Sink { state, pending } => (self.state, self.pending) = (state, pending),
        }
    }

    /// Whether this was said in the life that it is in.
    pub(super) fn is_alive_in(&self, life: u32) -> bool {
        self.process.is_some() && self.life == life
    }

    /// Whether it has power and its journal is open.
    pub(super) fn is_open(&self) -> bool {
        self.process.is_some() && self.is_open
    }

    /// Its name.
    pub(super) const fn device(&self) -> &DeviceName {
        &self.task.device
    }

    /// What it said is durable.
    pub(super) fn promises(&self) -> impl Iterator<Item = Promise> {
        self.promises.iter().flatten().copied()
    }

    /// Whether it has taken all of its events and none is pending.
    pub(super) fn is_done(&self) -> bool {
        self.process.is_some()
            && self.appended == self.task.events
            && self.pending == 0
            && self.state == SinkState::CaughtUp
    }

    /// How it is doing, when so many of its events have arrived.
    pub(super) fn standing(&self, delivered: u64) -> Standing<'_> {
        let doing = match self.state {
            _ if self.process.is_none() => Doing::NoPower,
            _ if self.is_done() && delivered == self.task.events => Doing::Done,
            SinkState::Draining | SinkState::ReadingBack => Doing::Sending,
            SinkState::CaughtUp => Doing::CaughtUp,
            _ => Doing::Offline,
        };
        Standing {
            device: self.device(),
            appended: self.appended,
            delivered,
            events: self.task.events,
            doing,
        }
    }
}

/// Passes on what a kiosk says, until it says no more. What it said before it was killed is still
/// in the pipe and is read to the end.
async fn listen(stdout: ChildStdout, seat: usize, life: u32, said: mpsc::Sender<Said>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A line that was cut off by SIGKILL is none.
        let Ok(report) = serde_json::from_str(&line) else {
            break;
        };
        let report = Some(report);
        if said.send(Said { seat, life, report }).await.is_err() {
            return;
        }
    }
    let report = None;
    drop(said.send(Said { seat, life, report }).await);
}
