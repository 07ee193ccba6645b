//! One round of a sink's task: from the wait before an attempt to connect to the end of the
//! session. The loop does what the state machine says and tells it what happened.
//!
//! A round runs on a runtime of its own. Whatever a client library still holds when the round is
//! over (queued parcels, a reconnecting task) is dropped with that runtime and can not leave
//! later, when the same events are in doubt elsewhere.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    delivery::{Breakage, Delivery, Effect, Footing, LateEffect, Refusal},
    doubt::{self, Doubt},
    feed::{self, Feed, Step},
    receipts::Receipts,
    report::Report,
    unanswered::Unanswered,
};
use crate::{
    outbox::{Claim, Horizon, ReadError, RejectError, Settled, SinkHandle},
    receipt::MAX_RECEIPT_BYTES,
    seq::{Incarnation, Position, Seq, SeqRange},
    sink::{ErrorKind, InDoubt, Outcome, Session, Sink, SinkError},
};

/// Outcomes that are taken in before the next effects: keeps the steps of progress large.
const OUTCOMES_AT_ONCE: usize = 256;

/// So many bytes may be unanswered, beside a single parcel of any size: the client holds them in
/// memory while the network is slow.
const MAX_UNANSWERED_BYTES: usize = 4 * 1024 * 1024;

/// Receipts that wait to be looked at.
const MAX_RECEIPTS: usize = 64;

/// Why a round is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The session, or the attempt to have one, failed. Another round follows.
    HungUp,
    /// Everything up to the goal is delivered.
    Reached,
    /// The journal is closed.
    Closed,
}

/// What outlives a round.
pub(super) struct Task {
    pub(super) sink: Sink,
    pub(super) handle: Arc<SinkHandle>,
    pub(super) horizon: watch::Receiver<Horizon>,
    pub(super) delivery: Delivery,
    pub(super) report: Report,
    /// Where the hub's key is known.
    pub(super) receipts: Option<Box<Receipts>>,
    /// The moment that the state machine's times count from.
    pub(super) since: Instant,
    /// Where a drain ends.
    pub(super) goal: Option<Seq>,
}

impl Task {
    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn fail(&mut self, error: &SinkError) {
        self.report.trouble(error, self.delivery.acked());
        let breakage = match error.kind {
            ErrorKind::Retry => Breakage::Retry,
            ErrorKind::Reject | ErrorKind::Halt => Breakage::Halt,
        };
        self.delivery.broken(breakage, self.now());
    }

    fn refused(&mut self, seq: Seq, error: &SinkError) {
        if self.delivery.is_late(seq) && error.kind == ErrorKind::Halt {
            // Of an event that is tried once more it says no more than that it is refused again.
            let again = SinkError::reject(error.code, error.message.as_str());
            return self.refused(seq, &again);
        }
        // What goes beside the rest stands apart from what the log tells of the sink, and is tried
        // in vain for hours.
        let is_beside = self.delivery.is_late(seq) || seq <= self.delivery.acked();
        if !is_beside || error.kind != ErrorKind::Retry {
            self.report.trouble(error, self.delivery.acked());
        }
        let refusal = match error.kind {
            ErrorKind::Retry => Refusal::Retry,
            ErrorKind::Reject => Refusal::Reject {
                code: error.code,
                limit: error.limit,
            },
            ErrorKind::Halt => Refusal::Halt,
        };
        self.delivery.refused(seq, refusal, self.now());
        if error.kind == ErrorKind::Reject && !self.delivery.has_session() {
            let message = format!("a limit of the server refuses one event after another: {error}");
            let mut halt = SinkError::halt(error.code, message);
            halt.hint.clone_from(&error.hint);
            self.report.trouble(&halt, self.delivery.acked());
        }
    }

    /// The journal failed; `Err` when it is closed.
    fn journal_failed(&mut self, error: RejectError) -> Result<(), End> {
        if let RejectError::Journal(damage @ ReadError::Damaged { .. }) = &error {
            self.handle.outbox().note_damage(&damage.to_string());
        }
        if let RejectError::Journal(ReadError::Io(_)) = &error {
            // Where nothing else asks for the writer, it is to find out.
            self.handle.tell_noted();
        }
        self.fail(&journal_trouble(error)?);
        Ok(())
    }
}

/// Dropping the future at any point is safe: what it has sent is in doubt, and the claim covers it.
/// The session stays in `session`, so that it can be closed.
pub(super) async fn run(task: &mut Task, session: &mut Option<Session>) -> End {
    let erasures = task.horizon.borrow().erasures;
    let mut round = Round {
        erasures,
        feed: Feed::new(
            task.handle.reads(),
            task.sink.format(),
            task.delivery.sent(),
        ),
        task,
        session,
        unanswered: Unanswered::default(),
        receipts: VecDeque::new(),
    };
    match round.run().await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

struct Round<'a> {
    task: &'a mut Task,
    session: &'a mut Option<Session>,
    feed: Feed,
    /// As of the horizon seen last.
    erasures: u64,
    unanswered: Unanswered,
    /// Messages that were not looked at yet.
    receipts: VecDeque<Bytes>,
}

enum Never {}

impl Round<'_> {
    async fn run(&mut self) -> Result<Never, End> {
        let handle = self.task.handle.clone();
        let mut call = pin!(None);
        loop {
            while let Some(effect) = self.task.delivery.next(self.task.now()) {
                match effect {
                    Effect::HangUp => return Err(End::HungUp),
                    Effect::Connect => self.connect().await,
                    Effect::ReadBack {
                        doubt,
                        floor,
                        incarnation,
                    } => {
                        self.read_back(doubt, floor, incarnation).await?;
                    }
                    Effect::Progress(progress) => handle.progress(progress),
                    Effect::Claim(upto) => call.set(Some(ask(&handle, Call::Claim(upto)))),
                    Effect::Reject { seq, code } => {
                        call.set(Some(ask(&handle, Call::Reject(seq, code))));
                    }
                    Effect::Late(LateEffect::ReadBack { seq, claim }) => {
                        self.read_back_late(seq, claim).await?;
                    }
                    Effect::Late(LateEffect::Send(seq)) => self.send_late(seq).await?,
                    Effect::Late(LateEffect::Claim { seq, claim }) => {
                        call.set(Some(ask(&handle, Call::ClaimLate(seq, claim))));
                    }
                    Effect::Late(LateEffect::Settle { seq, settled }) => {
                        call.set(Some(ask(&handle, Call::SettleLate(seq, settled))));
                    }
                    Effect::CaughtUp(yes) => call.set(Some(ask(&handle, Call::CaughtUp(yes)))),
                    Effect::Send { run, redelivered } => self.feed.order(run, redelivered),
                }
            }
            if self.send().await || self.heed_hub().await? {
                continue;
            }
            self.show();
            if self
                .task
                .goal
                .is_some_and(|goal| goal <= self.task.delivery.acked())
                && !self.task.delivery.has_late()
            {
                return Err(End::Reached);
            }
            let deadline = self.deadline().map(|at| self.task.since + at);
            tokio::select! {
                outcome = next_outcome(self.session) => self.take(outcome).await,
                answer = answer(call.as_mut()) => {
                    call.set(None);
                    match answer {
                        Ok(Answer::Claimed(claimed)) => self.task.delivery.claimed(claimed),
                        Ok(Answer::Rejected(seq)) => self.task.delivery.rejected(seq),
                        Ok(Answer::LateClaimed(may_leave)) => {
                            self.task.delivery.late_claimed(may_leave);
                        }
                        // The journal shows what comes next before it answers.
                        Ok(Answer::LateSettled) => {
                            let next = self.task.horizon.borrow().retry;
                            self.task.delivery.late_settled(next);
                        }
                        Ok(Answer::Told) => self.task.delivery.told(),
                        Err(error) => self.task.journal_failed(error)?,
                    }
                }
                read = self.feed.read() => {
                    if let Err(error) = read {
                        self.task.journal_failed(error.into())?;
                    }
                }
                changed = self.task.horizon.changed() => {
                    changed.map_err(|_| End::Closed)?;
                    let horizon = *self.task.horizon.borrow_and_update();
                    if std::mem::replace(&mut self.erasures, horizon.erasures) != horizon.erasures {
                        self.feed.forget();
                    }
                    self.task.delivery.horizon(horizon, self.task.now());
                }
                () = until(deadline) => {}
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let delivery = &self.task.delivery;
        let receipts = self.task.receipts.as_ref();
        let of_hub = receipts.filter(|_| delivery.is_sending());
        let of_hub = of_hub.map(|receipts| receipts.deadline(delivery.is_sending_again()));
        delivery.deadline().into_iter().chain(of_hub).min()
    }

    /// Looks at what the hub said, tells it how far the journal goes, and orders what it misses.
    /// True when something came of it that the state machine has to see first.
    async fn heed_hub(&mut self) -> Result<bool, End> {
        let now = self.task.now();
        let Some(receipts) = &mut self.task.receipts else {
            return Ok(false);
        };
        let delivery = &mut self.task.delivery;
        while let Some(message) = self.receipts.pop_front() {
            if let Err(error) = receipts.take(message, delivery, now).await {
                self.task.journal_failed(error.into())?;
                return Ok(true);
            }
        }
        receipts.look(delivery.acked(), now);
        if !delivery.is_sending() {
            return Ok(false);
        }
        let mut missing = Vec::new();
        if delivery.is_sending_again() {
            receipts.is_sent_until(now);
        } else {
            match receipts.missing(delivery.acked(), now).await {
                Ok(found) => missing = found,
                Err(error) => {
                    self.task.journal_failed(error.into())?;
                    return Ok(true);
                }
            }
        }
        let is_any = !missing.is_empty();
        for run in missing {
            delivery.send_again(run);
        }
        if let Some(session) = self.session.as_mut()
            && let Some(tail) = receipts.tail(now).await
            && let Err(error) = session.tell(tail).await
        {
            self.task.fail(&error);
            return Ok(true);
        }
        Ok(is_any)
    }

    async fn connect(&mut self) {
        self.show();
        match self
            .task
            .sink
            .connect(self.task.handle.outbox().device())
            .await
        {
            Ok(session) => {
                self.task.delivery.connected(Footing {
                    incarnation: session.incarnation(),
                    head: session.head(),
                    max_in_flight: session.max_in_flight(),
                });
                self.task.handle.meter().connections.add(1);
                if let Some(receipts) = &mut self.task.receipts {
                    receipts.connected();
                }
                *self.session = Some(session);
            }
            Err(error) => self.task.fail(&error),
        }
    }

    async fn read_back(
        &mut self,
        range: Option<SeqRange>,
        floor: Position,
        incarnation: Incarnation,
    ) -> Result<(), End> {
        self.show();
        match self.ask_session(range, floor, incarnation).await {
            Ok(found) => {
                let meter = self.task.handle.meter();
                meter.delivered.add(found.len() as u64);
                self.task.delivery.read_back(found);
            }
            Err(Failed::Session(error)) => self.task.fail(&error),
            Err(Failed::Journal(error)) => self.task.journal_failed(error.into())?,
        }
        Ok(())
    }

    async fn ask_session(
        &mut self,
        range: Option<SeqRange>,
        floor: Position,
        incarnation: Incarnation,
    ) -> Result<Vec<(Seq, Position)>, Failed> {
        let Some(session) = self.session.as_mut() else {
            return Ok(Vec::new());
        };
        let handle = &self.task.handle;
        let tail = self.task.delivery.tail();
        let reads = handle.reads();
        let Some(doubt) = doubt::recall(&reads, range, tail).await? else {
            return Ok(Vec::new());
        };
        let Doubt {
            epoch,
            events,
            missing,
            dead,
        } = doubt;
        for gap in missing {
            self.task.delivery.missing(gap);
        }
        for seq in dead {
            self.task.delivery.dead_letter(seq);
        }
        let acked = self.task.delivery.acked();
        let events = events.into_iter().filter(|(seq, _)| *seq > acked).collect();
        let question = InDoubt {
            epoch,
            floor,
            incarnation,
            acked,
            events,
        };
        let answer = session
            .read_back(&question)
            .await
            .map_err(Failed::Session)?;
        let mut foreign: Option<(Seq, _)> = None;
        for (seq, digest) in answer.foreign {
            let is_earlier = foreign.is_none_or(|(first, _)| seq < first);
            if is_earlier && !doubt::is_ours(&reads, seq, digest, tail).await? {
                foreign = Some((seq, digest));
            }
        }
        if let Some((seq, digest)) = foreign {
            // One is proof enough, and the earliest is where the histories part.
            handle.foreign(seq, digest).await?;
        }
        Ok(answer.found)
    }

    /// Asks the session whether a dead letter arrived that may have left again.
    async fn read_back_late(&mut self, seq: Seq, claim: Claim) -> Result<(), End> {
        self.show();
        let Some(session) = self.session.as_mut() else {
            return Ok(());
        };
        let event = match doubt::late(&self.task.handle.reads(), seq).await {
            Ok(event) => event,
            Err(error) => return self.task.journal_failed(error.into()),
        };
        let Some((epoch, digest)) = event else {
            self.task.delivery.late_gone();
            return Ok(());
        };
        let question = InDoubt {
            epoch,
            floor: claim.floor,
            incarnation: claim.incarnation,
            acked: seq.prev(),
            events: vec![(seq, digest)],
        };
        match session.read_back(&question).await {
            Ok(answer) => {
                let found = answer.found.first().map(|(_, position)| *position);
                self.task
                    .handle
                    .meter()
                    .delivered
                    .add(found.iter().count() as u64);
                self.task.delivery.late_read_back(found);
            }
            Err(error) => self.task.fail(&error),
        }
        Ok(())
    }

    /// Hands over a dead letter once more.
    async fn send_late(&mut self, seq: Seq) -> Result<(), End> {
        let Some(session) = self.session.as_mut() else {
            return Ok(());
        };
        let format = self.task.sink.format();
        let parcel = match feed::late(self.task.handle.reads(), seq, format).await {
            Ok(Some(parcel)) => parcel,
            Ok(None) => {
                self.task.delivery.late_gone();
                return Ok(());
            }
            Err(error) => return self.task.journal_failed(error.into()),
        };
        let now = self.task.now();
        let bytes = parcel.body.len();
        self.unanswered.give(seq, bytes, now);
        self.task.handle.meter().redelivered.add(1);
        self.task.delivery.late_handed_over(bytes, now);
        if let Err(error) = session.send(parcel).await {
            self.take_rest().await;
            if self.task.delivery.has_session() {
                self.task.fail(&error);
            }
        }
        Ok(())
    }

    /// Hands over what is ordered and read. True when something came of it that the state machine
    /// has to see first.
    async fn send(&mut self) -> bool {
        let Some(session) = self.session.as_mut() else {
            return false;
        };
        while self.unanswered.bytes() < MAX_UNANSWERED_BYTES {
            match self.feed.next() {
                None => {
                    self.feed.read_on(self.task.delivery.tail());
                    break;
                }
                Some(Step::Missing(run)) => {
                    self.task.delivery.missing(run);
                    return true;
                }
                Some(Step::Send(parcel)) => {
                    let bytes = parcel.body.len();
                    let now = self.task.now();
                    self.unanswered.give(parcel.seq, bytes, now);
                    if parcel.redelivered {
                        self.task.handle.meter().redelivered.add(1);
                    }
                    // Also where the session is lost over it: it may have left.
                    self.task.delivery.handed_over(bytes, now);
                    if let Err(error) = session.send(parcel).await {
                        self.take_rest().await;
                        if self.task.delivery.has_session() {
                            self.task.fail(&error);
                        }
                        return true;
                    }
                    if self.task.delivery.has_rate() {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Takes in an outcome and those that are there already behind it.
    async fn take(&mut self, mut outcome: Outcome) {
        for _ in 1..OUTCOMES_AT_ONCE {
            self.take_one(outcome);
            if !self.task.delivery.has_session() {
                return;
            }
            match at_hand(next_outcome(self.session)).await {
                Some(next) => outcome = next,
                None => return,
            }
        }
        self.take_one(outcome);
    }

    /// Answers that are here already count, though the session is lost: less is in doubt.
    async fn take_rest(&mut self) {
        while self.task.delivery.has_session()
            && let Some(outcome) = at_hand(next_outcome(self.session)).await
        {
            self.take_one(outcome);
        }
    }

    fn take_one(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored { seq, position } => {
                if let Some(since) = self.unanswered.answered(seq) {
                    let took = self.task.now().saturating_sub(since);
                    let meter = self.task.handle.meter();
                    meter.delivered.add(1);
                    meter.deliveries.observe(took);
                }
                self.task.delivery.stored(seq, position);
            }
            Outcome::Refused { seq, error } => {
                self.unanswered.answered(seq);
                self.task.refused(seq, &error);
            }
            Outcome::Receipt(message) if message.len() > MAX_RECEIPT_BYTES => {}
            Outcome::Receipt(message) => {
                // The oldest says least.
                if self.receipts.len() == MAX_RECEIPTS {
                    self.receipts.pop_front();
                }
                self.receipts.push_back(message);
            }
            Outcome::Lost(error) => self.task.fail(&error),
        }
    }

    fn show(&mut self) {
        let mut guarantee = self.session.as_ref().map(Session::guarantee);
        if let (Some(promise), Some(receipts)) = (&mut guarantee, &self.task.receipts) {
            receipts.weaken(promise);
        }
        let now = self.task.now();
        self.task.report.update(&self.task.delivery, guarantee, now);
    }
}

/// Why the session could not be asked what is in doubt.
enum Failed {
    Session(SinkError),
    Journal(ReadError),
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::Journal(error)
    }
}

/// What the journal's writer is asked for, one at a time.
#[derive(Clone, Copy)]
enum Call {
    Claim(Seq),
    Reject(Seq, &'static str),
    ClaimLate(Seq, Claim),
    SettleLate(Seq, Settled),
    CaughtUp(bool),
}

enum Answer {
    Claimed(Seq),
    Rejected(Seq),
    LateClaimed(bool),
    LateSettled,
    Told,
}

async fn ask(handle: &SinkHandle, call: Call) -> Result<Answer, RejectError> {
    match call {
        Call::Claim(upto) => Ok(Answer::Claimed(handle.claim(upto).await?)),
        Call::Reject(seq, code) => {
            handle.reject(seq, code).await?;
            handle.meter().rejected.add(1);
            tracing::warn!(sink = %handle.name(), %seq, code, "rejected for good: a dead letter");
            Ok(Answer::Rejected(seq))
        }
        Call::ClaimLate(seq, claim) => {
            let may_leave = handle.claim_retry(seq, claim).await?;
            Ok(Answer::LateClaimed(may_leave))
        }
        Call::SettleLate(seq, settled) => {
            handle.settle_retry(seq, settled).await?;
            let sink = handle.name();
            match settled {
                Settled::Delivered => tracing::info!(%sink, %seq, "a dead letter was delivered"),
                Settled::Rejected(code) => {
                    tracing::warn!(%sink, %seq, code, "rejected again: still a dead letter");
                }
                Settled::Gone => {
                    tracing::warn!(%sink, %seq, "a dead letter is not held any more");
                }
            }
            Ok(Answer::LateSettled)
        }
        Call::CaughtUp(yes) => {
            handle.caught_up(yes).await;
            Ok(Answer::Told)
        }
    }
}

/// What it means for this sink that the journal failed; `Err` when it is closed.
fn journal_trouble(error: RejectError) -> Result<SinkError, End> {
    let message = error.to_string();
    match error {
        RejectError::Journal(ReadError::Closed) => Err(End::Closed),
        RejectError::Journal(ReadError::Damaged { .. }) => {
            let hint = "stop the daemon and run `edge-outbox recover`; with `journal.recover` = \
                        \"at-start\" the next start does it";
            Ok(SinkError::halt("journal_damaged", message).with_hint(hint))
        }
        RejectError::Ledger { .. } => {
            let hint = "make the other side take it; what it said is in the log";
            Ok(SinkError::halt("ledger_rejected", message).with_hint(hint))
        }
        _ => Ok(SinkError::retry("journal_unavailable", message)),
    }
}

/// The next outcome; never without a session. Cancel-safe.
async fn next_outcome(session: &mut Option<Session>) -> Outcome {
    match session {
        Some(session) => session.next().await,
        None => pending().await,
    }
}

/// The answer to the call under way; never without one. Cancel-safe.
async fn answer<F: Future>(call: Pin<&mut Option<F>>) -> F::Output {
    match call.as_pin_mut() {
        Some(call) => call.await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// What the future has ready, without waiting. For cancel-safe futures.
async fn at_hand<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
