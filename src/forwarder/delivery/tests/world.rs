//! Everything around a [`Delivery`], in memory: a journal with a durable cursor, a network that
//! loses what is on its way, a stream with positions. It executes the effects and checks the
//! promises at each of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use super::super::*;
use crate::outbox::Claim;

/// SplitMix64.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd129_42e4_2f8a_91c5) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the server does with one event each time it comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    /// Refuses it for now, so many times.
    Later(u8),
    /// Refuses it for good.
    Never,
    /// Refuses it by a limit.
    TooLarge,
    /// Says that something is to be mended, so many times.
    Halts(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Claim(Seq),
    Reject(Seq, &'static str),
    LateClaim(Seq, Claim),
    LateSettle(Seq, Settled),
    CaughtUp(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    None,
    Connecting,
    Asking,
    Up,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Stored(Seq, Position),
    Refused(Seq, Refusal),
}

pub(super) const CODE: &str = "constraint";
pub(super) const LIMIT_CODE: &str = "payload_too_large";
/// The journal's own events, which are never given up.
pub(super) const LEDGER_EVERY: u64 = 37;

/// A rate; 0 is no limit.
pub(super) fn rate(events: u64, bytes: u64) -> MaxRate {
    MaxRate {
        events: NonZeroU32::new(u32::try_from(events).unwrap()),
        bytes: NonZeroU64::new(bytes),
    }
}

/// The size of an event's message: up to 2,000 bytes.
fn size(seq: Seq) -> usize {
    usize::try_from(seq.get() * 7_919 % 2_000).unwrap()
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Duration,
    pub(super) core: Delivery,
    terms: Terms,
    pub(super) max_in_flight: usize,
    pub(super) can_read_back: bool,
    seed: u64,
    // The journal.
    pub(super) tail: Seq,
    pub(super) durable: Cursor,
    noted: Option<Progress>,
    raises: bool,
    pub(super) available: bool,
    pub(super) dead: BTreeMap<Seq, &'static str>,
    /// Dead letters that somebody wants sent again, claimed or not.
    pub(super) retries: BTreeMap<Seq, Option<Claim>>,
    pub(super) discarded: BTreeSet<Seq>,
    /// Dead letters that the sink took after all, and those of which nobody knows: they ended one
    /// session after another, or were gone before they could be read back.
    pub(super) late: BTreeSet<Seq>,
    pub(super) unsure: BTreeSet<Seq>,
    pub(super) held_from: Seq,
    pub(super) op: Option<Op>,
    pub(super) claims: u64,
    // The other side.
    pub(super) stream: Vec<(Position, Seq)>,
    /// The highest seq among the stream's messages up to each of them.
    highest: Vec<Seq>,
    /// Everything that is or was in a stream.
    stored: BTreeSet<Seq>,
    last: u64,
    pub(super) incarnation: i64,
    pub(super) moods: BTreeMap<Seq, Mood>,
    condemned: BTreeSet<Seq>,
    /// Refused by a limit, and nothing was stored since.
    suspected: BTreeSet<Seq>,
    /// Refused by a limit before something was stored, which shows that it was the event.
    proven: BTreeSet<Seq>,
    // What lies between.
    pub(super) link: Link,
    doubt: (Option<SeqRange>, Position),
    /// The session is asked for this late event.
    late_asked: Option<(Seq, Position)>,
    pub(super) uplink: VecDeque<Seq>,
    downlink: Vec<Answer>,
    // What this process did.
    claimed_at_start: Seq,
    handed: BTreeSet<Seq>,
    resolved: BTreeSet<Seq>,
    next_first: Seq,
    limit_row: usize,
    /// Everything handed to a session, in order, over all processes.
    pub(super) sent: Vec<(Seq, bool)>,
    /// When each of this process was handed over, and its size.
    paced: Vec<(Duration, usize)>,
}

impl World {
    pub(super) fn new(seed: u64, terms: Terms) -> Self {
        let durable = Cursor {
            confirmed: Seq::NONE,
            acked: Seq::NONE,
            claimed: Seq::NONE,
            floor: Position::default(),
            incarnation: Incarnation::default(),
            required: true,
            dead_letters: 0,
        };
        let horizon = Horizon {
            tail: Seq::NONE,
            claimed: Seq::NONE,
            retry: None,
            available: true,
            erasures: 0,
        };
        Self {
            rng: Rng::new(seed),
            now: Duration::ZERO,
            core: Delivery::new(terms, durable, horizon, Duration::ZERO, seed),
            terms,
            max_in_flight: 64,
            can_read_back: true,
            seed,
            tail: Seq::NONE,
            durable,
            noted: None,
            raises: false,
            available: true,
            dead: BTreeMap::new(),
            retries: BTreeMap::new(),
            discarded: BTreeSet::new(),
            late: BTreeSet::new(),
            unsure: BTreeSet::new(),
            held_from: Seq::FIRST,
            op: None,
            claims: 0,
            stream: Vec::new(),
            highest: Vec::new(),
            stored: BTreeSet::new(),
            last: 0,
            incarnation: 1,
            moods: BTreeMap::new(),
            condemned: BTreeSet::new(),
            suspected: BTreeSet::new(),
            proven: BTreeSet::new(),
            link: Link::None,
            doubt: (None, Position::default()),
            late_asked: None,
            uplink: VecDeque::new(),
            downlink: Vec::new(),
            claimed_at_start: Seq::NONE,
            handed: BTreeSet::new(),
            resolved: BTreeSet::new(),
            next_first: Seq::FIRST,
            limit_row: 0,
            sent: Vec::new(),
            paced: Vec::new(),
        }
    }

    // The device.

    pub(super) fn append(&mut self, count: u64) {
        if !self.available {
            return;
        }
        self.tail = self.tail.plus(count);
        self.commit();
        if self.raises {
            let most = self
                .durable
                .acked
                .plus(self.terms.window.into())
                .min(self.tail);
            self.durable.claimed = self.durable.claimed.max(most);
        }
    }

    fn commit(&mut self) {
        if let Some(noted) = self.noted.take()
            && noted.acked >= self.durable.acked
        {
            self.durable.acked = noted.acked;
            self.durable.floor = noted.floor;
            self.durable.incarnation = noted.incarnation;
        }
        assert!(
            self.durable.acked <= self.durable.claimed,
            "acked beyond the claim"
        );
    }

    pub(super) fn set_available(&mut self, available: bool) {
        self.available = available;
        self.core.horizon(self.horizon(), self.now);
    }

    fn horizon(&self) -> Horizon {
        Horizon {
            tail: self.tail,
            claimed: self.durable.claimed,
            retry: self.next_retry(),
            available: self.available,
            erasures: 0,
        }
    }

    /// The task sees what the journal made durable; late, if the driver likes.
    pub(super) fn notify(&mut self) {
        self.core.horizon(self.horizon(), self.now);
    }

    /// Drops the oldest events; the journal moves the cursor in the same commit.
    pub(super) fn drop_oldest(&mut self, upto: Seq) {
        self.commit();
        self.held_from = self.held_from.max(upto.next());
        self.durable.acked = self.durable.acked.max(upto);
        self.durable.claimed = self.durable.claimed.max(upto);
    }

    fn next_retry(&self) -> Option<Retry> {
        let claimed = self.retries.iter().find(|(_, claim)| claim.is_some());
        let (seq, claim) = claimed.or_else(|| self.retries.first_key_value())?;
        Some(Retry {
            seq: *seq,
            claim: *claim,
        })
    }

    /// Dead letters that the durable cursor has passed.
    pub(super) fn settled_letters(&self) -> Vec<Seq> {
        let acked = self.durable.acked;
        self.dead
            .keys()
            .copied()
            .filter(|seq| *seq <= acked)
            .collect()
    }

    /// Somebody wants a dead letter sent again.
    pub(super) fn retry(&mut self, seq: Seq) {
        assert!(self.dead.contains_key(&seq) && seq <= self.durable.acked);
        if !self.is_gone(seq) {
            self.retries.entry(seq).or_default();
        }
    }

    /// Somebody discards a dead letter.
    pub(super) fn discard(&mut self, seq: Seq) {
        assert!(self.dead.remove(&seq).is_some() && seq <= self.durable.acked);
        self.retries.remove(&seq);
        self.discarded.insert(seq);
    }

    /// The claim of a late event becomes durable.
    fn make_late_claim(&mut self, seq: Seq, claim: Claim) -> bool {
        let Some(retry) = self.retries.get_mut(&seq) else {
            return false;
        };
        *retry = Some(claim);
        let claimed = self.retries.values().filter(|claim| claim.is_some());
        assert_eq!(claimed.count(), 1, "two late events are claimed at once");
        true
    }

    /// It becomes durable how a late event ended.
    fn settle_late(&mut self, seq: Seq, settled: Settled) {
        self.retries.remove(&seq);
        match settled {
            Settled::Delivered => {
                if self.dead.remove(&seq).is_some() {
                    self.late.insert(seq);
                    self.tail = self.tail.next();
                }
            }
            Settled::Rejected(LOSSES_CODE) => {
                self.unsure.insert(seq);
            }
            Settled::Rejected(code) => {
                if let Some(letter) = self.dead.get_mut(&seq) {
                    *letter = code;
                }
            }
            Settled::Gone => {
                assert!(self.is_gone(seq));
                self.unsure.insert(seq);
            }
        }
    }

    /// Whether a late event is held no longer: one in two that were dropped.
    fn is_gone(&self, seq: Seq) -> bool {
        seq < self.held_from && seq.get().is_multiple_of(2)
    }

    /// The outstanding call of the journal returns.
    pub(super) fn finish_op(&mut self) {
        let Some(op) = self.op.take() else { return };
        match op {
            Op::Claim(upto) => {
                self.make_claim(upto);
                self.core.claimed(self.durable.claimed);
            }
            Op::Reject(seq, _) if seq.get().is_multiple_of(LEDGER_EVERY) => {
                self.lose(Breakage::Halt);
            }
            Op::Reject(seq, code) => {
                self.make_dead_letter(seq, code);
                self.core.rejected(seq);
            }
            Op::LateClaim(seq, claim) => {
                let may_leave = self.make_late_claim(seq, claim);
                self.core.late_claimed(may_leave);
            }
            Op::LateSettle(seq, settled) => {
                self.settle_late(seq, settled);
                self.core.late_settled(self.next_retry());
            }
            Op::CaughtUp(yes) => {
                self.raises = yes;
                self.core.told();
            }
        }
    }

    /// The outstanding call fails, and may have had its effect.
    pub(super) fn fail_op(&mut self) {
        match self.op.take() {
            None => return,
            Some(Op::CaughtUp(_)) => return self.core.told(),
            Some(Op::Claim(upto)) if self.rng.one_in(2) => self.make_claim(upto),
            Some(Op::Reject(seq, code))
                if self.rng.one_in(2) && !seq.get().is_multiple_of(LEDGER_EVERY) =>
            {
                self.make_dead_letter(seq, code);
            }
            Some(Op::LateClaim(seq, claim)) if self.rng.one_in(2) => {
                self.make_late_claim(seq, claim);
            }
            Some(Op::LateSettle(seq, settled)) if self.rng.one_in(2) => {
                self.settle_late(seq, settled);
            }
            Some(_) => {}
        }
        self.lose(Breakage::Retry);
    }

    fn make_claim(&mut self, upto: Seq) {
        self.commit();
        let most = self.durable.acked.plus(self.terms.window.into());
        assert!(
            upto <= most,
            "a claim of {upto} beyond {} + window",
            self.durable.acked
        );
        assert!(upto <= self.tail, "a claim beyond the tail");
        self.durable.claimed = self.durable.claimed.max(upto);
        self.claims += 1;
    }

    fn make_dead_letter(&mut self, seq: Seq, code: &'static str) {
        self.commit();
        if seq >= self.held_from {
            assert!(
                self.dead.insert(seq, code).is_none(),
                "{seq} became a dead letter twice"
            );
        }
        self.resolved.insert(seq);
        self.tail = self.tail.next();
    }

    /// The process dies; what it noted last may be lost with it.
    pub(super) fn crash(&mut self) {
        self.cut();
        if self.rng.one_in(2) {
            self.commit();
        }
        self.noted = None;
        self.op = None;
        self.raises = false;
        self.available = true;
        self.seed += 1;
        self.claimed_at_start = self.durable.claimed;
        self.next_first = self.durable.claimed.next();
        self.handed.clear();
        self.resolved.clear();
        self.limit_row = 0;
        self.suspected.clear();
        self.proven.clear();
        self.assert_rate_kept();
        self.paced.clear();
        self.core = Delivery::new(
            self.terms,
            self.durable,
            self.horizon(),
            self.now,
            self.seed,
        );
    }

    // The other side.

    /// Messages of others.
    pub(super) fn bustle(&mut self, count: u64) {
        self.last += count;
    }

    /// Somebody deletes the stream and makes it again. Whoever is connected loses its session.
    pub(super) fn recreate(&mut self) {
        self.cut();
        self.stream.clear();
        self.highest.clear();
        self.last = 0;
        self.incarnation += 1;
    }

    /// The attempt to connect succeeds.
    pub(super) fn accept(&mut self) {
        assert_eq!(self.link, Link::Connecting);
        self.link = Link::Up;
        self.core.connected(Footing {
            incarnation: Incarnation(self.incarnation),
            head: Position(self.last),
            max_in_flight: self.max_in_flight,
        });
    }

    /// The attempt to connect, the reading back or the session fails.
    pub(super) fn lose(&mut self, breakage: Breakage) {
        self.cut();
        self.core.broken(breakage, self.now);
    }

    /// Some of what is on its way arrives, the rest does not, and no answer does.
    fn cut(&mut self) {
        if matches!(self.link, Link::Up) {
            for _ in 0..self.rng.below(self.uplink.len() as u64 + 1) {
                self.serve();
            }
        }
        self.uplink.clear();
        self.downlink.clear();
        self.late_asked = None;
        self.link = Link::None;
    }

    /// The answer to the question what arrived.
    pub(super) fn answer_read_back(&mut self) {
        assert_eq!(self.link, Link::Asking);
        self.link = Link::Up;
        if let Some((seq, floor)) = self.late_asked.take() {
            let found = self.stream.iter().find(|(position, stored)| {
                self.can_read_back && *position > floor && *stored == seq
            });
            return self
                .core
                .late_read_back(found.map(|(position, _)| *position));
        }
        let (doubt, floor) = self.doubt;
        let doubt = doubt.filter(|doubt| doubt.last() > self.core.acked());
        let found = self.stream.iter().filter(|(position, seq)| {
            self.can_read_back
                && *position > floor
                && doubt.is_some_and(|doubt| doubt.contains(*seq))
        });
        let found: Vec<_> = found.map(|(position, seq)| (*seq, *position)).collect();
        self.resolved.extend(found.iter().map(|(seq, _)| *seq));
        self.core.read_back(found);
    }

    /// The server takes the next parcel from the wire.
    pub(super) fn serve(&mut self) {
        let Some(seq) = self.uplink.pop_front() else {
            return;
        };
        let refusal = match self.moods.get_mut(&seq) {
            Some(Mood::Later(times)) if *times > 0 => {
                *times -= 1;
                Some(Refusal::Retry)
            }
            Some(Mood::Halts(times)) if *times > 0 => {
                *times -= 1;
                Some(Refusal::Halt)
            }
            Some(Mood::Never) => Some(Refusal::Reject {
                code: CODE,
                limit: false,
            }),
            Some(Mood::TooLarge) => Some(Refusal::Reject {
                code: LIMIT_CODE,
                limit: true,
            }),
            _ => None,
        };
        let answer = if let Some(refusal) = refusal {
            if matches!(refusal, Refusal::Reject { .. }) {
                self.condemned.insert(seq);
            }
            Answer::Refused(seq, refusal)
        } else {
            self.last += 1;
            let twice =
                !self.stored.insert(seq) && self.stream.iter().any(|(_, stored)| *stored == seq);
            assert!(
                !(twice && self.can_read_back) || self.unsure.contains(&seq),
                "{seq} is in the stream twice"
            );
            self.stream.push((Position(self.last), seq));
            self.highest
                .push(seq.max(self.highest.last().copied().unwrap_or_default()));
            Answer::Stored(seq, Position(self.last))
        };
        self.downlink.push(answer);
    }

    /// One of the answers on their way arrives; `Some(true)` says that it was a confirmation.
    pub(super) fn answer(&mut self, in_order: bool) -> Option<bool> {
        if self.downlink.is_empty() || self.link != Link::Up {
            return None;
        }
        let among = if in_order {
            1
        } else {
            self.downlink.len() as u64
        };
        let index = usize::try_from(self.rng.below(among)).unwrap();
        match self.downlink.remove(index) {
            Answer::Stored(seq, position) if self.core.is_late(seq) => {
                self.core.stored(seq, position);
                Some(false)
            }
            Answer::Stored(seq, position) => {
                self.resolved.insert(seq);
                self.limit_row = 0;
                self.proven.append(&mut self.suspected);
                self.core.stored(seq, position);
                Some(true)
            }
            Answer::Refused(seq, refusal) => {
                let is_limit = matches!(refusal, Refusal::Reject { limit: true, .. });
                if is_limit && !self.core.is_late(seq) {
                    self.suspected.insert(seq);
                }
                self.core.refused(seq, refusal, self.now);
                Some(false)
            }
        }
    }

    // The shell.

    /// Executes effects until there are none.
    pub(super) fn pump(&mut self) {
        while let Some(effect) = self.core.next(self.now) {
            self.execute(effect);
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Connect => {
                assert_eq!(self.link, Link::None, "connects with a session in hand");
                self.link = Link::Connecting;
            }
            Effect::ReadBack {
                doubt,
                floor,
                incarnation,
            } => {
                assert_eq!(self.link, Link::Up);
                assert_eq!(incarnation, Incarnation(self.incarnation));
                self.link = Link::Asking;
                self.doubt = (doubt, floor);
                if let Some(doubt) = doubt {
                    self.report_missing(doubt);
                    for seq in self.dead.keys().filter(|seq| doubt.contains(**seq)) {
                        self.core.dead_letter(*seq);
                    }
                }
            }
            Effect::HangUp => {
                self.cut();
                self.op = None;
            }
            Effect::Progress(progress) => {
                self.check_progress(progress);
                self.noted = Some(progress);
            }
            Effect::Claim(upto) => self.begin(Op::Claim(upto)),
            Effect::Reject { seq, code } => {
                assert!(
                    self.condemned.contains(&seq),
                    "{seq} was never refused for good"
                );
                assert!(
                    !self.resolved.contains(&seq),
                    "{seq} is given up though it is resolved"
                );
                if code == LIMIT_CODE && !self.proven.contains(&seq) {
                    self.limit_row += 1;
                    assert!(
                        self.limit_row < LIMIT_ROW,
                        "a wrong limit dead-letters the backlog"
                    );
                }
                self.begin(Op::Reject(seq, code));
            }
            Effect::Late(effect) => self.execute_late(effect),
            Effect::CaughtUp(yes) => self.begin(Op::CaughtUp(yes)),
            Effect::Send { run, redelivered } => {
                assert_eq!(self.link, Link::Up, "sends without a session");
                let first = run.first().get();
                for seq in (first..=run.last().get()).map(Seq::new) {
                    self.hand_over(seq, redelivered);
                }
                self.report_missing(run);
                assert!(
                    self.uplink.len() <= self.max_in_flight,
                    "more than the client bears"
                );
            }
        }
    }

    fn execute_late(&mut self, effect: LateEffect) {
        match effect {
            LateEffect::ReadBack { seq, claim } => {
                assert_eq!(self.link, Link::Up);
                assert_eq!(claim.incarnation, Incarnation(self.incarnation));
                if self.is_gone(seq) {
                    return self.core.late_gone();
                }
                self.link = Link::Asking;
                self.late_asked = Some((seq, claim.floor));
            }
            LateEffect::Claim { seq, claim } => {
                assert_eq!(claim.incarnation, Incarnation(self.incarnation));
                let is_there = self.stream.iter().any(|(_, stored)| *stored == seq);
                assert!(
                    !(is_there && self.can_read_back) || self.unsure.contains(&seq),
                    "{seq} is there, and not to be found from {claim:?} on"
                );
                self.begin(Op::LateClaim(seq, claim));
            }
            LateEffect::Send(seq) => {
                assert_eq!(self.link, Link::Up, "sends without a session");
                assert!(
                    seq <= self.core.acked(),
                    "{seq} is not late, the cursor has not passed it"
                );
                let claim = self.retries.get(&seq).copied();
                assert!(
                    claim != Some(None),
                    "{seq} leaves before its claim is durable"
                );
                if self.is_gone(seq) {
                    return self.core.late_gone();
                }
                self.uplink.push_back(seq);
                assert!(
                    self.uplink.len() <= self.max_in_flight,
                    "more than the client bears"
                );
                self.paced.push((self.now, size(seq)));
                self.core.late_handed_over(size(seq), self.now);
            }
            LateEffect::Settle { seq, settled } => self.begin(Op::LateSettle(seq, settled)),
        }
    }

    fn report_missing(&mut self, run: SeqRange) {
        if let Some(gone) = SeqRange::new(run.first(), run.last().min(self.held_from.prev())) {
            self.core.missing(gone);
        }
    }

    fn begin(&mut self, op: Op) {
        assert!(
            self.op.is_none(),
            "{op:?} while {:?} is outstanding",
            self.op
        );
        self.op = Some(op);
    }

    fn hand_over(&mut self, seq: Seq, redelivered: bool) {
        assert!(
            seq <= self.durable.claimed,
            "{seq} leaves before its claim is durable"
        );
        assert!(
            !self.resolved.contains(&seq),
            "{seq} is sent again though it is resolved"
        );
        let repeat = seq <= self.claimed_at_start || self.handed.contains(&seq);
        assert_eq!(redelivered, repeat, "{seq} is marked wrongly");
        if !repeat {
            let passed = self.next_first < self.held_from && seq <= self.held_from;
            assert!(
                seq == self.next_first || passed,
                "{seq} leaves before {}",
                self.next_first
            );
            self.next_first = seq.next();
        }
        self.handed.insert(seq);
        if seq < self.held_from {
            return;
        }
        assert!(!self.dead.contains_key(&seq), "{seq} is a dead letter");
        if self.terms.strict_order {
            assert_eq!(
                seq,
                self.core.acked().next(),
                "sent before the one ahead is resolved"
            );
        }
        self.sent.push((seq, redelivered));
        self.uplink.push_back(seq);
        self.paced.push((self.now, size(seq)));
        self.core.handed_over(size(seq), self.now);
    }

    /// In no stretch of time was more handed over than its share and a second's worth, the last
    /// one not counted.
    pub(super) fn assert_rate_kept(&self) {
        let MaxRate { events, bytes } = self.terms.max_rate;
        let limits = [
            events.map(|most| (f64::from(most.get()), 1.0, 0.0)),
            bytes.map(|most| (most.get() as f64, 0.0, 1.0)),
        ];
        for (per_second, each, by_byte) in limits.into_iter().flatten() {
            // The most that was spent beyond the rate in a stretch that ends here.
            let (mut beyond, mut before) = (0.0_f64, Duration::ZERO);
            for (at, size) in &self.paced {
                beyond = (beyond - (*at - before).as_secs_f64() * per_second).max(0.0);
                assert!(
                    beyond <= per_second + 1e-3,
                    "{beyond} beyond {per_second} at {at:?}"
                );
                beyond += each + by_byte * *size as f64;
                before = *at;
            }
        }
    }

    fn check_progress(&self, progress: Progress) {
        assert!(progress.acked <= self.durable.claimed);
        for seq in (self.durable.acked.next().get()..=progress.acked.get()).map(Seq::new) {
            assert!(
                self.is_settled(seq),
                "{seq} is acked and neither stored nor given up"
            );
        }
        if progress.incarnation == Incarnation(self.incarnation) {
            let below = self
                .stream
                .partition_point(|stored| stored.0 <= progress.floor);
            let highest = below.checked_sub(1).map(|last| self.highest[last]);
            assert!(
                highest <= Some(progress.acked),
                "{highest:?} lies below {progress:?}"
            );
        }
    }

    pub(super) fn is_settled(&self, seq: Seq) -> bool {
        self.dead.contains_key(&seq)
            || self.discarded.contains(&seq)
            || seq < self.held_from
            || self.stored.contains(&seq)
    }

    /// Nothing goes wrong any more: runs until everything is delivered, and gives the time to the
    /// first confirmation, if there was something to confirm.
    pub(super) fn run_out(&mut self) -> Option<Duration> {
        let since = self.now;
        let mut first = None;
        for _ in 0..1_000_000 {
            self.notify();
            self.pump();
            match self.link {
                Link::Connecting => self.accept(),
                Link::Asking => self.answer_read_back(),
                _ if self.op.is_some() => self.finish_op(),
                _ if self.core.acked() == self.tail
                    && self.link == Link::Up
                    && !self.core.has_late() =>
                {
                    return first;
                }
                _ if !self.uplink.is_empty() => self.serve(),
                _ => match self.answer(true) {
                    Some(true) => first = first.or(Some(self.now - since)),
                    Some(false) => {}
                    None => {
                        let deadline = self.core.deadline();
                        let deadline = deadline.expect("nothing to wait for, and not done");
                        self.now = self.now.max(deadline);
                    }
                },
            }
        }
        panic!(
            "not delivered after a million steps: {:?}",
            self.core.state()
        );
    }
}
