//! One sink's task: the real state machine, and the shell around it executed step by step. At
//! every parcel that leaves, and at every word of progress, the promises are checked.

use std::{collections::BTreeSet, time::Duration};

use super::{
    super::delivery::{Breakage, Delivery, Effect, LOSSES_CODE, LateEffect, Terms},
    dice::Dice,
    far_side::{Answer, FarSide, Kind, Line},
    listener::Listener,
    truth::Truth,
};
use crate::{
    envelope::Digest,
    journal::{
        SinkName,
        tests::scribe::{Entry, Scribe},
    },
    outbox::{Claim, Cursor, Horizon, Progress, RetryState, Settled},
    seq::{Position, Seq, SeqRange},
};

/// What the task asks the journal's writer for, one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    Claim(Seq),
    Reject(Seq, &'static str),
    CaughtUp(bool),
    ClaimLate(Seq, Claim),
    SettleLate(Seq, Settled),
}

/// What the other side is being asked.
#[derive(Default)]
enum Question {
    #[default]
    None,
    /// What of these it holds behind the position.
    InDoubt(Vec<(Seq, Digest)>, Position),
    /// Whether it holds this dead letter.
    Late((Seq, Digest), Position),
}

/// See the module.
pub(super) struct Port {
    pub(super) name: SinkName,
    pub(super) delivery: Delivery,
    /// Where a hub says what it has.
    pub(super) listener: Option<Listener>,
    /// For the next commit.
    pub(super) noted: Option<Progress>,
    pub(super) request: Option<Request>,
    /// Which request it is: an answer to an earlier one is not for this task any more.
    pub(super) turn: u64,
    question: Question,
    acked_at_start: Seq,
    claimed_at_start: Seq,
    /// Ordered by this process.
    handed: BTreeSet<Seq>,
    resolved: BTreeSet<Seq>,
    newest: Seq,
}

/// What a task can see and touch.
pub(super) struct Surroundings<'a> {
    pub(super) scribe: &'a Scribe,
    pub(super) truth: &'a mut Truth,
    pub(super) far_side: &'a mut FarSide,
    pub(super) dice: &'a mut Dice,
    pub(super) now: Duration,
    /// The hub is to be told how far the journal goes.
    pub(super) wants_tail: bool,
}

impl Port {
    pub(super) fn new(
        name: SinkName,
        terms: Terms,
        cursor: Cursor,
        horizon: Horizon,
        now: Duration,
        (seed, listener): (u64, Option<Listener>),
    ) -> Self {
        Self {
            name,
            delivery: Delivery::new(terms, cursor, horizon, now, seed),
            listener,
            noted: None,
            request: None,
            turn: 0,
            question: Question::None,
            acked_at_start: cursor.acked,
            claimed_at_start: cursor.claimed,
            handed: BTreeSet::new(),
            resolved: BTreeSet::new(),
            newest: Seq::NONE,
        }
    }

    /// Executes effects until there are none.
    pub(super) fn pump(&mut self, around: &mut Surroundings<'_>) {
        while let Some(effect) = self.delivery.next(around.now) {
            self.execute(effect, around);
        }
    }

    fn execute(&mut self, effect: Effect, around: &mut Surroundings<'_>) {
        match effect {
            Effect::Connect => {
                assert_eq!(
                    around.far_side.line,
                    Line::Down,
                    "connects with a session in hand"
                );
                around.far_side.line = Line::Calling;
            }
            Effect::ReadBack { doubt, floor, .. } => {
                around.far_side.line = Line::Asking;
                match doubt.map_or(Some(Vec::new()), |doubt| self.recall(doubt, around)) {
                    Some(events) => self.question = Question::InDoubt(events, floor),
                    None => self.fail(Breakage::Retry, around.now),
                }
            }
            Effect::HangUp => {
                around.far_side.cut(around.dice);
                self.give_up_request();
            }
            Effect::Progress(progress) => {
                self.check_progress(progress, around);
                self.noted = Some(progress);
            }
            Effect::Claim(upto) => self.ask(Request::Claim(upto)),
            Effect::Reject { seq, code } => {
                assert!(
                    !self.resolved.contains(&seq) || seq <= self.delivery.acked(),
                    "{seq} is given up, and is resolved"
                );
                self.ask(Request::Reject(seq, code));
            }
            Effect::CaughtUp(yes) => self.ask(Request::CaughtUp(yes)),
            Effect::Send { run, redelivered } => {
                assert_eq!(around.far_side.line, Line::Up, "sends without a session");
                let Some(entries) = read(around.scribe, run) else {
                    // Ordered, so it counts as handed over.
                    let run = run.first().get()..=run.last().get();
                    self.handed.extend(run.map(Seq::new));
                    return self.fail(Breakage::Retry, around.now);
                };
                let is_again = run.last() <= self.delivery.acked();
                for entry in &entries {
                    match is_again {
                        true => self.hand_over_again(entry, redelivered, around),
                        false => self.hand_over(entry, redelivered, around),
                    }
                }
                self.report_missing(run, &entries);
            }
            Effect::Late(LateEffect::ReadBack { seq, claim }) => {
                assert_eq!(around.far_side.line, Line::Up, "asks without a session");
                match around.scribe.dead_letter(seq) {
                    Ok(Some(entry)) => {
                        around.far_side.line = Line::Asking;
                        self.question = Question::Late((seq, entry.digest), claim.floor);
                    }
                    Ok(None) => self.delivery.late_gone(),
                    Err(_) => self.fail(Breakage::Retry, around.now),
                }
            }
            Effect::Late(LateEffect::Claim { seq, claim }) => {
                self.ask(Request::ClaimLate(seq, claim));
            }
            Effect::Late(LateEffect::Send(seq)) => {
                assert_eq!(around.far_side.line, Line::Up, "sends without a session");
                match around.scribe.dead_letter(seq) {
                    Ok(Some(entry)) => self.hand_over_late(&entry, around),
                    Ok(None) => self.delivery.late_gone(),
                    Err(_) => self.fail(Breakage::Retry, around.now),
                }
            }
            Effect::Late(LateEffect::Settle { seq, settled }) => {
                self.check_settled(seq, settled, around);
                self.ask(Request::SettleLate(seq, settled));
            }
        }
    }

    /// What the hub misses leaves once more.
    fn hand_over_again(&mut self, entry: &Entry, redelivered: bool, around: &mut Surroundings<'_>) {
        let (seq, name) = (entry.seq, &self.name);
        around.truth.leaves(entry.epoch, seq, entry.digest);
        let listener = self.listener.as_ref();
        let listener = listener.unwrap_or_else(|| panic!("{seq} was settled at {name}"));
        listener.check_again(seq);
        assert!(redelivered, "{seq} is a repeat for {name}, and not marked");
        let place = &around.truth.places[name];
        assert!(
            place.handed.contains_key(&seq) || around.far_side.has_taken(entry.digest),
            "{seq} never left for {name}, and is sent again"
        );
        around.truth.sent_again += 1;
        // The stream may have it after all.
        around.far_side.may_come_twice(entry.digest);
        around.far_side.send(entry);
        self.delivery.handed_over(entry.payload.len(), around.now);
    }

    /// Looks at what the hub said, tells it how far the journal goes, and orders what it misses, as
    /// long as the journal's writer is not asked for anything about that.
    pub(super) fn listen(&mut self, around: &mut Surroundings<'_>) {
        let acked = self.delivery.acked();
        let Some(listener) = &mut self.listener else {
            return;
        };
        let is_up = around.far_side.line == Line::Up;
        if !is_up || listener.asked.is_some() || !self.delivery.has_session() {
            return;
        }
        let hub = around.far_side.hub.as_mut().expect("a hub speaks");
        if let Some(message) = hub.hear()
            && listener.take(&message, acked, around).is_err()
        {
            return self.fail(Breakage::Retry, around.now);
        }
        if listener.asked.is_some() || !self.delivery.is_sending() {
            return;
        }
        if self.delivery.is_sending_again() {
            listener.is_sent_until(around.now);
        } else {
            let rejected = |range| around.scribe.rejected(&self.name, range);
            match listener.missing(acked, rejected, around) {
                Ok(runs) => {
                    for run in runs {
                        self.delivery.send_again(run);
                    }
                }
                Err(_) => return self.fail(Breakage::Retry, around.now),
            }
        }
        if listener.tells(acked, around.now) {
            around.wants_tail = true;
        }
    }

    /// When something is to be done at the latest.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let listener = self
            .listener
            .as_ref()
            .filter(|_| self.delivery.is_sending());
        let of_hub =
            listener.map(|it| it.deadline(self.delivery.acked(), self.delivery.is_sending_again()));
        self.delivery.deadline().into_iter().chain(of_hub).min()
    }

    /// A dead letter leaves once more. It was with a session before, so it is marked always; what
    /// has to be durable is that it may be on its way again, and from where on it is looked for.
    fn hand_over_late(&mut self, entry: &Entry, around: &mut Surroundings<'_>) {
        let (seq, name) = (entry.seq, &self.name);
        around.truth.leaves(entry.epoch, seq, entry.digest);
        assert!(seq <= self.delivery.acked(), "{seq} is not passed yet");
        let place = around.truth.places.get_mut(name).unwrap();
        assert!(seq <= place.acked, "{seq} is not durably passed at {name}");
        assert!(
            place.handed.contains_key(&seq),
            "{seq} is sent late to {name}, which never refused it"
        );
        let known = around.truth.events.get(&seq).map(|known| known.digest);
        assert_eq!(
            known,
            Some(entry.digest),
            "{seq} is sent late, and is another"
        );
        match around.truth.letters.get(&(name.clone(), seq)) {
            Some(RetryState::InDoubt) => {
                let claim = around.scribe.next_retry(name);
                let claim = claim.filter(|retry| retry.seq == seq);
                let claim = claim.and_then(|retry| retry.claim).expect("it has a claim");
                if around.far_side.is(claim.incarnation) {
                    let there = around.far_side.must_be_found(entry.digest);
                    assert!(
                        there.is_none_or(|there| there > claim.floor),
                        "a copy of {seq} lies at {there:?}, and is looked for behind {claim:?}"
                    );
                }
            }
            // Taken off the list since its claim was answered: that reaches the task later.
            None if around.truth.ledger.is_discarded(name, seq) => {}
            state => panic!("{seq} leaves late for {name} before its claim is durable: {state:?}"),
        }
        around.truth.sent_late += 1;
        around.far_side.send(entry);
        self.delivery
            .late_handed_over(entry.payload.len(), around.now);
    }

    fn check_settled(&self, seq: Seq, settled: Settled, around: &mut Surroundings<'_>) {
        let digest = around.truth.events[&seq].digest;
        match settled {
            Settled::Delivered => assert!(
                around.far_side.has_taken(digest),
                "{seq} is delivered late to {} and was never stored",
                self.name
            ),
            // After so many lost sessions nobody knows, and nobody will ask.
            Settled::Rejected(LOSSES_CODE) => around.far_side.may_come_twice(digest),
            Settled::Rejected(_) | Settled::Gone => {}
        }
    }

    /// What of the range the journal holds and is to be asked for.
    fn recall(&mut self, doubt: SeqRange, around: &Surroundings<'_>) -> Option<Vec<(Seq, Digest)>> {
        let entries = read(around.scribe, doubt)?;
        let dead = around.scribe.rejected(&self.name, doubt).ok()?;
        self.report_missing(doubt, &entries);
        for seq in dead {
            self.delivery.dead_letter(seq);
        }
        let acked = self.delivery.acked();
        let asked = entries.iter().filter(|entry| entry.seq > acked);
        Some(asked.map(|entry| (entry.seq, entry.digest)).collect())
    }

    /// What was trimmed stands before what is held, and a journal has no hole.
    fn report_missing(&mut self, run: SeqRange, held: &[Entry]) {
        let before = held.first().map_or(run.last(), |entry| entry.seq.prev());
        if let Some(gone) = SeqRange::new(run.first(), before) {
            self.delivery.missing(gone);
        }
    }

    fn ask(&mut self, request: Request) {
        assert_eq!(
            self.request, None,
            "{request:?} while another is outstanding"
        );
        self.turn += 1;
        self.request = Some(request);
    }

    fn give_up_request(&mut self) {
        self.request = None;
        self.question = Question::None;
        self.turn += 1;
        if let Some(listener) = &mut self.listener {
            listener.broken();
        }
    }

    /// The session, the attempt to have one, or the journal failed.
    pub(super) fn fail(&mut self, breakage: Breakage, now: Duration) {
        self.give_up_request();
        self.delivery.broken(breakage, now);
    }

    fn hand_over(&mut self, entry: &Entry, redelivered: bool, around: &mut Surroundings<'_>) {
        let seq = entry.seq;
        let name = &self.name;
        around.truth.leaves(entry.epoch, seq, entry.digest);
        let durable = around.truth.events.get(&seq).map(|known| known.digest);
        assert_eq!(
            durable,
            Some(entry.digest),
            "{seq} leaves for {name} before it is durable"
        );
        let place = around.truth.places.get_mut(name).unwrap();
        assert!(
            seq <= place.claimed,
            "{seq} leaves for {name} before its claim is durable"
        );
        assert!(
            seq > self.acked_at_start,
            "{seq} was settled at {name} and is sent again"
        );
        assert!(
            !self.resolved.contains(&seq),
            "{seq} is resolved at {name} and is sent again"
        );
        let in_doubt = seq <= self.claimed_at_start || self.handed.contains(&seq);
        assert_eq!(redelivered, in_doubt, "{seq} is marked wrongly for {name}");
        let before = place.handed.insert(seq, entry.digest);
        assert!(
            redelivered || before.is_none(),
            "{seq} is a repeat for {name}, and not marked"
        );
        if !redelivered {
            assert!(
                seq > self.newest,
                "{seq} leaves for {name} after {}",
                self.newest
            );
            self.newest = seq;
        }
        self.handed.insert(seq);
        around.far_side.send(entry);
        self.delivery.handed_over(entry.payload.len(), around.now);
    }

    fn check_progress(&self, progress: Progress, around: &Surroundings<'_>) {
        let (truth, far_side) = (&around.truth, &around.far_side);
        let place = &truth.places[&self.name];
        assert!(
            progress.acked <= place.claimed,
            "{} beyond the claim",
            progress.acked
        );
        let beyond = truth.events.range(place.acked.next()..);
        for (seq, known) in beyond.take_while(|(seq, _)| **seq <= progress.acked) {
            assert!(
                far_side.has_taken(known.digest) || truth.ledger.excuses(&self.name, *seq),
                "{seq} is acked at {} and was never stored",
                self.name
            );
        }
        let is_stream = matches!(far_side.kind, Kind::Stream { .. });
        if is_stream && far_side.is(progress.incarnation) {
            let unacked = place.handed.range(progress.acked.next()..);
            let lowest = far_side.lowest(unacked.map(|(_, digest)| *digest));
            assert!(
                lowest.is_none_or(|lowest| lowest > progress.floor),
                "{lowest:?} lies below {progress:?}, and will not be found"
            );
        }
    }

    /// The answer to the question what arrived.
    pub(super) fn read_back(&mut self, around: &mut Surroundings<'_>) {
        match std::mem::take(&mut self.question) {
            Question::InDoubt(events, floor) => {
                let found = around.far_side.read_back(&events, floor);
                self.resolved.extend(found.iter().map(|(seq, _)| *seq));
                self.delivery.read_back(found);
            }
            Question::Late(event, floor) => {
                let found = around.far_side.read_back(&[event], floor);
                let found = found.first().map(|(_, position)| *position);
                self.delivery.late_read_back(found);
            }
            Question::None => panic!("an answer that nobody waits for"),
        }
    }

    /// One of the answers on their way arrives.
    pub(super) fn hear(&mut self, around: &mut Surroundings<'_>) {
        if !self.delivery.has_session() {
            return;
        }
        match around.far_side.answer(around.dice) {
            None => {}
            Some(Answer::Stored(seq, position)) => {
                self.resolved.insert(seq);
                self.delivery.stored(seq, position);
            }
            Some(Answer::Refused(seq, refusal)) => {
                self.delivery.refused(seq, refusal, around.now);
            }
        }
    }
}

/// What the journal holds of the run; `None` where it cannot be read.
fn read(scribe: &Scribe, run: SeqRange) -> Option<Vec<Entry>> {
    scribe.entries(run.first(), run.last()).ok()
}
