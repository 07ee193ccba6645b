//! The thread that owns the write side: it drains a bounded queue, commits, answers.
//!
//! Whatever waits when the writer is free goes into one commit. Nobody is answered before the
//! commit is durable. After a failed write everybody in that commit hears that the outcome is
//! unknown, and everybody after them that the journal is being reopened, until it is.

mod command;
mod erasing;
mod hearing;
mod letters;
mod noted;
mod pace;
mod receipts;
mod shown;
mod trouble;
mod waiting;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};

pub use self::command::{ForgetError, Horizon, RegisterError};
pub(crate) use self::{
    command::{Command, End, Finish, Job, Registered},
    letters::LetterCommand,
    noted::Noted,
    receipts::ReceiptCommand,
};
use self::{
    erasing::Erasing,
    hearing::Hearing,
    noted::News,
    pace::{Gathering, Pace},
    trouble::{Health, Reread, Trouble, WELL_AFTER},
    waiting::Waiting,
};
use super::{
    core::{Core, Interrupted, Wanted},
    cursor::{Forgotten, SinkName},
    disk_guard::{DiskGuard, LOOK_AGAIN_AFTER},
    error::{AppendError, ReadError},
    intake::Intake,
    sealed::Sealed,
    staging::{Appended, Staging},
    storage::Storage,
    transaction,
};
use crate::{
    clock::{Clock, Stamp},
    lasted::Lasted,
    ledger::EpochReason,
    seq::Seq,
    status::{JournalState, SinkState, SinkStatus},
    status_board::StatusBoard,
};

/// Commands that may wait for the writer.
pub(crate) const QUEUE_COMMANDS: usize = 1_024;

/// Commands that one commit takes at most.
const COMMIT_COMMANDS: usize = 2_048;

/// A journal that appended nothing for so long is quiet enough to be compacted.
const QUIET: Duration = Duration::from_secs(10);

/// An attached sink.
struct Port {
    horizon: watch::Sender<Horizon>,
    /// Gone when the task is.
    noted: Weak<Noted>,
}

impl Port {
    fn is_told(&self) -> bool {
        self.noted.upgrade().is_some_and(|noted| noted.is_told())
    }
}

/// The writer: the core, and whoever talks to it.
pub(crate) struct Writer<S, C> {
    core: Core<S>,
    clock: C,
    commands: mpsc::Receiver<Command>,
    linger: Duration,
    ports: BTreeMap<SinkName, Port>,
    /// Who waits for the commit in the making: nobody, between turns.
    waiting: Vec<Waiting>,
    board: StatusBoard,
    intake: Intake,
    health: Health,
    trouble: Option<Trouble>,
    reread: Reread,
    hearing: Hearing,
    reopened: u64,
    /// Bytes held when an append was last refused and not even a small event had room.
    full_at: Option<u64>,
    erasing: Erasing,
    guard: Option<DiskGuard>,
    /// When the disk is looked at again: an append was refused because it has too little room.
    look_again: Option<Instant>,
    /// When the journal was quiet for so long that its file may be compacted, which is worth it.
    quiet_at: Option<Instant>,
    pace: Pace,
}

impl<S: Storage, C: Clock> Writer<S, C> {
    pub(crate) fn new(
        core: Core<S>,
        clock: C,
        commands: mpsc::Receiver<Command>,
        linger: Duration,
        board: StatusBoard,
    ) -> Self {
        let mut writer = Self {
            intake: Intake::new(core.tail()),
            core,
            clock,
            commands,
            linger,
            ports: BTreeMap::new(),
            waiting: Vec::new(),
            board,
            health: Health::Open,
            trouble: None,
            reread: Reread::default(),
            hearing: Hearing::default(),
            reopened: 0,
            full_at: None,
            erasing: Erasing::default(),
            guard: None,
            look_again: None,
            quiet_at: None,
            pace: Pace::default(),
        };
        writer.note_activity();
        writer.publish();
        writer
    }

    /// Watches over the room on the disk.
    pub(crate) fn guarded_by(mut self, guard: DiskGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Serves until told to close, or until nobody is left who could ask.
    pub(crate) async fn run(mut self) {
        loop {
            let command = match self.deadline() {
                None => self.commands.recv().await,
                Some(at) => match tokio::time::timeout_at(at.into(), self.commands.recv()).await {
                    Ok(command) => command,
                    Err(_) => {
                        self.compact_if_quiet();
                        Some(Command::Noted)
                    }
                },
            };
            let Some(command) = command else { break };
            if matches!(command, Command::Append { .. }) && !self.linger.is_zero() {
                tokio::time::sleep(self.linger).await;
            }
            if self.turn(command) {
                break;
            }
        }
        let stamp = self.clock.stamp();
        self.collect_progress(false);
        let staging = self.core.stage(stamp);
        self.flush(staging, &mut Vec::new());
        self.end_trouble(Duration::ZERO);
        self.core.store().close();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Append { reply, .. } = command {
                drop(reply.send(Err(AppendError::Closed)));
            }
        }
    }

    /// This command and what it leads to; true when closing.
    pub(super) fn turn(&mut self, command: Command) -> bool {
        let mut waiting = std::mem::take(&mut self.waiting);
        let closing = self.serve(command, &mut waiting);
        // Empty, and as large as it was.
        self.waiting = waiting;
        if !closing {
            self.erase_on();
        }
        self.hearing.waits(Instant::now(), self.core.has_progress());
        closing
    }

    /// When there is something to do although nobody asks.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.health {
            Health::Broken { next, .. } => Some(next),
            Health::Open => {
                let noted = self.hearing.deadline();
                let over_since = self.trouble.as_ref().and_then(|trouble| trouble.over_since);
                let well = over_since.map(|since| since + WELL_AFTER);
                let erasing = self.next_erasing();
                let reread = self.reread_at();
                let all = [well, erasing, reread, noted, self.look_again, self.quiet_at];
                all.into_iter().flatten().min()
            }
        }
    }

    /// Takes this command and whatever waits behind it into one commit; true when closing.
    fn serve(&mut self, command: Command, waiting: &mut Vec<Waiting>) -> bool {
        self.reopen_unread(matches!(
            command,
            Command::Append { .. } | Command::Transact(_)
        ));
        self.try_reopen();
        self.end_trouble(WELL_AFTER);
        self.look_again_at_disk();
        // Once for this commit: what is heard now is not heard a second time below.
        let looks = self.hearing.is_often(Instant::now());
        self.collect_progress(looks);
        let mut stamp = self.clock.stamp();
        let mut staging = self.core.stage(stamp);
        let mut gathering = None;
        let mut next = Some(command);
        let (mut taken, mut appends) = (0, 0);
        let mut closing = false;
        let mut alone = false;
        while let Some(command) = next {
            taken += 1;
            if matches!(command, Command::Append { .. }) {
                appends += 1;
                if appends == 1 && self.linger.is_zero() {
                    gathering = Some(self.pace.gathering());
                }
            }
            match command {
                Command::Close => {
                    closing = true;
                    break;
                }
                Command::Transact(job) => {
                    // Alone in its commit: what came before it is committed first.
                    self.flush(staging, waiting);
                    self.transact(job, stamp);
                    // A program's closure may have taken its time.
                    stamp = self.clock.stamp();
                    staging = self.core.stage(stamp);
                }
                Command::Forget { name, reply } => {
                    // Nothing of the sink may be staged beside it.
                    self.flush(staging, waiting);
                    drop(reply.send(self.forget(&name, stamp)));
                    staging = self.core.stage(stamp);
                }
                Command::BeginEpoch {
                    reason,
                    from,
                    reply,
                } => {
                    self.flush(staging, waiting);
                    self.begin_epoch(reason, from, reply, stamp);
                    staging = self.core.stage(stamp);
                }
                Command::Erase { id, reply } => {
                    // What came before it is erased with the rest.
                    self.flush(staging, waiting);
                    self.begin_erasing(id, reply);
                    staging = self.core.stage(stamp);
                }
                Command::Noted => alone |= self.hearing.is_overdue(Instant::now()),
                Command::Settle { reply } => {
                    alone = true;
                    // Noted since this commit was begun, it may be.
                    self.collect_progress(looks);
                    self.core.advance(&mut staging);
                    waiting.push(Waiting::Done(reply));
                }
                other => self.stage(other, &mut staging, waiting),
            }
            next = match taken < COMMIT_COMMANDS {
                true => self.next(appends, &mut gathering),
                false => None,
            };
        }
        if gathering.is_some_and(|gathering| gathering.waited) {
            staging.date(self.clock.stamp());
        }
        // Of what was noted meanwhile the word was taken above, found the queue full, or was spared
        // because the writer looks.
        self.collect_progress(looks);
        self.core.advance(&mut staging);
        // Progress by itself is no reason for a commit before its time, unless it makes room. What
        // cannot be read for that is found out by the commit.
        alone |= self.core.makes_room(&staging).unwrap_or(true);
        if alone || !waiting.is_empty() || closing || !staging.events.is_empty() {
            self.flush(staging, waiting);
        } else {
            self.publish_oldest();
        }
        closing
    }

    /// The next command for the commit: one that waits, or one of those that are waited for.
    fn next(&mut self, appends: usize, gathering: &mut Option<Gathering>) -> Option<Command> {
        let mut take = || self.commands.try_recv().ok();
        take().or_else(|| gathering.as_mut()?.wait(appends, take))
    }

    /// Whether an append found the journal full and no room has been made since.
    fn is_full(&self) -> bool {
        let held = self.core.held_bytes();
        self.look_again.is_some() || self.full_at.is_some_and(|bytes| held >= bytes)
    }

    /// Finds out whether the disk has room for what is to be appended.
    fn look_at_disk(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        let written = self.core.store().meter().bytes_written.get();
        let low = guard.look(self.core.held_bytes(), written);
        self.core.set_low_disk(low);
    }

    /// Finds out whether the disk has room again, where an append was refused for want of it.
    fn look_again_at_disk(&mut self) {
        let now = Instant::now();
        if self.look_again.is_none_or(|at| now < at) {
            return;
        }
        self.look_at_disk();
        self.look_again = self.core.has_low_disk().then(|| now + LOOK_AGAIN_AFTER);
        self.publish();
    }

    /// Something was committed: the journal is not quiet before its time.
    fn note_activity(&mut self) {
        let is_worth_it = self.core.is_worth_compacting();
        self.quiet_at = is_worth_it.then(|| Instant::now() + QUIET);
    }

    /// Gives back to the disk what the file has to spare, where nothing has happened for a while and
    /// nothing is on its way. Otherwise the next commit asks for it again.
    fn compact_if_quiet(&mut self) {
        if self.quiet_at.is_none_or(|at| Instant::now() < at)
            || matches!(self.health, Health::Broken { .. })
        {
            return;
        }
        self.quiet_at = None;
        self.collect_progress(false);
        // An erasure may have begun since.
        if self.core.is_delivering() || !self.core.is_worth_compacting() {
            return;
        }
        let begin = Instant::now();
        match self.core.compact(self.clock.stamp()) {
            Ok(given_back) => {
                tracing::info!(given_back, took = %Lasted(begin.elapsed()), "the journal is compacted");
            }
            Err(fault) => self.broken(&fault),
        }
        self.publish();
    }

    fn stage(&mut self, command: Command, staging: &mut Staging, waiting: &mut Vec<Waiting>) {
        let broken = matches!(self.health, Health::Broken { .. });
        match command {
            Command::Append { reply, .. } if broken => {
                drop(reply.send(Err(AppendError::Unavailable)));
            }
            Command::Append {
                request,
                reply,
                budget,
            } => match self.append(staging, request) {
                Ok(places) => {
                    self.full_at = None;
                    self.look_again = None;
                    waiting.push(Waiting::Append {
                        reply,
                        places,
                        _budget: budget,
                    });
                }
                Err(error) => {
                    if matches!(error, AppendError::Full { .. }) && self.core.is_full(staging) {
                        self.full_at = Some(self.core.held_bytes());
                        self.publish();
                    }
                    if matches!(error, AppendError::DiskFull { .. }) && self.look_again.is_none() {
                        self.look_again = Some(Instant::now() + LOOK_AGAIN_AFTER);
                        self.publish();
                    }
                    drop(reply.send(Err(error)));
                }
            },
            Command::Find { id, reply } => drop(reply.send(self.core.find(&id))),
            Command::CaughtUp { name, yes } => self.core.set_caught_up(&name, yes),
            Command::Claim { name, upto, reply } => {
                let claimed = self.core.claim(staging, &name, upto);
                waiting.push(Waiting::Claim(reply, claimed));
            }
            Command::Reject {
                name,
                seq,
                code,
                reply,
            } => match self.core.reject(staging, &name, seq, code) {
                Ok(()) => waiting.push(Waiting::Reject(reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Letter(command) => command.stage(&mut self.core, staging, waiting),
            Command::Receipt(ReceiptCommand::Tail { .. }) if broken => {}
            Command::Receipt(command) => command.stage(&mut self.core, staging, waiting),
            Command::Register {
                name,
                kind,
                wanted,
                by_receipts,
                reply,
            } => {
                let by = (wanted, by_receipts);
                self.register(name, kind, by, reply, staging, waiting);
            }
            Command::Transact(_)
            | Command::Forget { .. }
            | Command::BeginEpoch { .. }
            | Command::Erase { .. }
            | Command::Noted
            | Command::Settle { .. }
            | Command::Close => {}
        }
    }

    fn append(
        &mut self,
        staging: &mut Staging,
        request: Vec<Sealed>,
    ) -> Result<Vec<Appended>, AppendError> {
        self.look_at_disk();
        self.core.append(staging, request)
    }

    /// Whether a task has the sink's place.
    fn is_taken(&self, name: &SinkName) -> bool {
        self.ports
            .get(name)
            .is_some_and(|port| port.noted.strong_count() > 0)
    }

    fn register(
        &mut self,
        name: SinkName,
        kind: &'static str,
        (wanted, by_receipts): (Wanted, bool),
        reply: oneshot::Sender<Result<Registered, RegisterError>>,
        staging: &mut Staging,
        waiting: &mut Vec<Waiting>,
    ) {
        if self.is_taken(&name) {
            drop(reply.send(Err(RegisterError::Taken(name))));
            return;
        }
        let life = match self.core.life_of(&name) {
            Ok(life) => life,
            Err(fault) => return drop(reply.send(Err(RegisterError::Journal(fault.into())))),
        };
        let cursor = self.core.register(staging, &name, wanted);
        match life {
            _ if by_receipts => self.core.await_receipts(&name, cursor),
            Some(life) => Core::<S>::leave_receipts(staging, &name, life),
            None => {}
        }
        let available = matches!(self.health, Health::Open);
        let seen = Horizon {
            tail: self.core.tail(),
            claimed: cursor.claimed,
            retry: self.core.next_retry(&name),
            available,
            erasures: self.core.erasures(),
        };
        let (horizon, receiver) = watch::channel(seen);
        let noted = Arc::new(Noted::default());
        let port = Port {
            horizon,
            noted: Arc::downgrade(&noted),
        };
        self.ports.insert(name.clone(), port);
        self.board.send_modify(|status| {
            let sink = status
                .sinks
                .entry(name.to_string())
                .or_insert_with(SinkStatus::absent);
            kind.clone_into(&mut sink.kind);
            sink.state = SinkState::Connecting;
        });
        waiting.push(Waiting::Register(
            reply,
            Registered {
                cursor,
                life,
                horizon: receiver,
                noted,
            },
        ));
    }

    fn transact(&mut self, job: Job, stamp: Stamp) {
        // What a program's values do when they are dropped runs on this thread too.
        let _inside = transaction::Inside::enter();
        if matches!(self.health, Health::Broken { .. }) {
            let (Ok(finish) | Err(finish)) = job(None);
            return finish(End::NotTaken);
        }
        self.look_at_disk();
        let staging = self.core.stage(stamp);
        match self
            .core
            .transact(staging, |transaction| job(Some(transaction)))
        {
            Ok(finish) => {
                self.note_activity();
                self.publish();
                finish(End::Committed);
            }
            Err(Interrupted::Program(finish)) => finish(End::NotTaken),
            Err(Interrupted::Committing(fault, finish)) => {
                self.broken(&fault);
                finish(End::Unknown);
            }
            Err(Interrupted::Fault(fault)) => self.broken(&fault),
        }
    }

    fn forget(&mut self, name: &SinkName, stamp: Stamp) -> Result<Forgotten, ForgetError> {
        if matches!(self.health, Health::Broken { .. }) {
            return Err(ReadError::Unavailable.into());
        }
        if self.is_taken(name) {
            return Err(ForgetError::InUse(name.clone()));
        }
        self.ports.remove(name);
        let forgotten = self.core.forget(name, stamp).map_err(|fault| {
            self.broken(&fault);
            ForgetError::OutcomeUnknown
        })?;
        let Some(forgotten) = forgotten else {
            return Err(ForgetError::Unknown(name.clone()));
        };
        tracing::info!(sink = %name, pending = forgotten.pending, "the sink is forgotten");
        self.publish();
        Ok(forgotten)
    }

    fn begin_epoch(
        &mut self,
        reason: EpochReason,
        from: Seq,
        reply: oneshot::Sender<Result<(), ReadError>>,
        stamp: Stamp,
    ) {
        let answer = match self.health {
            Health::Broken { .. } => Err(ReadError::Unavailable),
            Health::Open => match self.core.begin_epoch(reason, from, stamp) {
                Ok(took_back) => {
                    if took_back {
                        self.start_over();
                    }
                    Ok(())
                }
                Err(fault) => {
                    self.broken(&fault);
                    Err(ReadError::Unavailable)
                }
            },
        };
        self.publish();
        drop(reply.send(answer));
    }

    /// Commits and tells everybody.
    fn flush(&mut self, staging: Staging, waiting: &mut Vec<Waiting>) {
        if matches!(self.health, Health::Broken { .. }) {
            waiting
                .drain(..)
                .for_each(|one| one.fail(AppendError::Unavailable));
            return;
        }
        let begin = Instant::now();
        match self.core.commit(staging) {
            Ok(()) => {
                let answered = waiting.iter().filter(|one| one.is_append()).count();
                // A word from a sink's task is there, too, and no producer's.
                let told = self.ports.values().filter(|port| port.is_told()).count();
                let asked = self.commands.len().saturating_sub(told);
                self.pace = Pace {
                    asking: answered + asked,
                    took: begin.elapsed(),
                };
                self.note_activity();
                self.publish();
                waiting.drain(..).for_each(Waiting::answer);
                self.core.remember();
            }
            Err(fault) => {
                self.broken(&fault);
                waiting
                    .drain(..)
                    .for_each(|one| one.fail(AppendError::OutcomeUnknown));
            }
        }
    }

    /// Takes over what the sinks' tasks have noted, and lets go of tasks that are gone. `looks`: it looks
    /// for the next by itself, and need not be told.
    fn collect_progress(&mut self, looks: bool) {
        let now = Instant::now();
        let core = &mut self.core;
        // What makes room is wanted as soon as it is known.
        let looks = looks && !core.is_short_of_room();
        self.hearing.look(now, looks);
        let mut any = false;
        self.ports.retain(|name, port| {
            let Some(noted) = port.noted.upgrade() else {
                core.detach(name);
                return false;
            };
            let News {
                progress,
                confirmed,
            } = noted.take(looks);
            any |= progress.is_some() || confirmed.is_some();
            if let Some(progress) = progress {
                core.note_progress(name, progress);
            }
            if let Some(confirmed) = confirmed {
                core.note_confirmed(name, confirmed);
            }
            true
        });
        if any {
            self.hearing.heard(now);
        }
    }

    /// After a rollback no task has its place any more; a horizon that ends says so.
    fn start_over(&mut self) {
        let core = &self.core;
        self.ports.retain(|name, _| core.is_attached(name));
        // Seqs may come again, with other events.
        self.intake.start_over(core.tail());
    }
}

impl<S, C> Drop for Writer<S, C> {
    /// However it ends, by a panic too: nobody must go on reading, or showing as open, what
    /// nobody writes any more.
    fn drop(&mut self) {
        self.core.store().close();
        self.board
            .send_modify(|status| status.journal.state = JournalState::Closed);
    }
}
