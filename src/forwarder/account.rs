//! What a hub's receipts come to: how far the hub has everything, what it is to be sent again, and
//! whether it follows another history than this journal's. No I/O and no clock: what the journal
//! holds is looked up through a function, and times are handed in.
//!
//! # Invariants
//!
//! - `confirmed` moves by the walk alone: every event held up to it belongs to an epoch whose
//!   newest receipt covers it. It goes back where a later life of the hub begins, and never else.
//! - Nothing is sent again for one receipt, and no second piece before the hub has the first or has
//!   had its time to say so, but for a hub that has been silent for [`UNANSWERED_AFTER`].
//! - What does not arrive is sent ever more rarely, and that is a pause of its own epoch alone.
//! - What was not acked when a receipt first named it is not sent for that naming.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    envelope::{Digest, Epoch},
    receipt::Receipt,
    seq::{Seq, SeqRange},
};

/// Events that are sent again at once, to begin with and at most.
const FIRST_PIECE: u64 = 1_024;
const MAX_PIECE: u64 = 16_384;

/// How long what one receipt names is left alone when no second one comes.
pub(super) const UNANSWERED_AFTER: Duration = Duration::from_secs(600);

/// Waits double so often at most.
const MAX_DOUBLINGS: u32 = 7;

/// Epochs of which the last receipt is remembered. A journal that holds more of them is served from
/// its beginning, so those that matter are among these.
const MAX_EPOCHS: usize = 16;

/// Ranges that are remembered of one epoch. What does not fit is named again.
const MAX_NAMED: usize = 64;

/// Epochs that one receipt can take the walk through.
const MAX_STEPS: usize = 64;

/// An event that the journal holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) seq: Seq,
    pub(super) epoch: Epoch,
    pub(super) digest: Digest,
}

/// The first event held from a seq on.
pub(super) type Lookup<'a, E> = &'a mut dyn FnMut(Seq) -> Result<Option<Place>, E>;

/// Where journal and sink stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// The epoch that is appended to.
    pub(super) epoch: Epoch,
    pub(super) first_held: Seq,
    pub(super) tail: Seq,
    pub(super) acked: Seq,
    pub(super) now: Duration,
}

/// What became of a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// It is not newer than what is known, or speaks of an epoch of which nothing is known.
    Nothing,
    /// It counts.
    Counted {
        /// Whether it is the first of a later life of the hub. That has to be durable before
        /// anything else is.
        new_life: bool,
    },
    /// The hub follows another history of an epoch of ours.
    Tampering {
        seq: Seq,
        digest: Digest,
        /// Whether events are still appended to that epoch.
        current: bool,
    },
}

/// What the hub has asked for again and again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// Whose events.
    pub(super) epoch: Epoch,
    /// Ascending.
    pub(super) ranges: Vec<SeqRange>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Account {
    resend_after: Duration,
    life: Option<u64>,
    confirmed: Seq,
    /// As of the last receipt.
    first_held: Seq,
    said: Vec<Said>,
    again: Option<Again>,
    piece: u64,
}

/// The newest receipt for an epoch.
#[derive(Clone, Debug)]
struct Said {
    epoch: Epoch,
    generation: u64,
    accounted_to: Seq,
    missing: u64,
    quarantined: u64,
    named: Vec<Named>,
    /// What was sent again of it last, where that did not arrive in its time.
    vain: Option<Again>,
    /// When something of it was sent again last; zero where nothing was.
    sent_at: Duration,
    /// When the receipt came.
    heard: Duration,
}

/// A range that has been missing since some receipt, by every one that came after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    range: SeqRange,
    since: Duration,
    /// Whether another receipt named it long enough after the first.
    ripe: bool,
}

impl Named {
    /// From when on it is sent again, if nothing else is said.
    fn ripe_at(&self) -> Duration {
        match self.ripe {
            true => self.since,
            false => self.since + UNANSWERED_AFTER,
        }
    }
}

/// What was sent again at once.
#[derive(Clone, Debug)]
struct Again {
    epoch: Epoch,
    ranges: Vec<SeqRange>,
    at: Duration,
    tries: u32,
    /// The last of what was due when this round began. What comes to lie behind it waits for the next:
    /// otherwise the lowest would never have its turn again.
    end: Seq,
}

impl Again {
    /// What the hub still misses of it.
    fn left_of(&self, named: &[Named]) -> Vec<SeqRange> {
        let pairs = self.ranges.iter().flat_map(|sent| {
            let common = |named: &Named| common(*sent, named.range);
            named.iter().filter_map(common)
        });
        pairs.collect()
    }

    /// Whether that is little enough to go on.
    fn has_arrived(&self, left: &[SeqRange]) -> bool {
        count(left) * 2 <= count(&self.ranges)
    }
}

/// Orders the lives of a hub.
pub(super) fn life_of(hub: Uuid) -> u64 {
    hub.as_u64_pair().0
}

impl Account {
    /// Takes up where the journal says: what is confirmed, and by which life of the hub.
    pub(super) fn new(resend_after: Duration, confirmed: Seq, life: Option<u64>) -> Self {
        Self {
            resend_after,
            life,
            confirmed,
            first_held: Seq::FIRST,
            said: Vec::new(),
            again: None,
            piece: FIRST_PIECE,
        }
    }

    /// Up to here the hub has everything, or knows why not.
    pub(super) const fn confirmed(&self) -> Seq {
        self.confirmed
    }

    /// How much the hub misses and has in quarantine, by the newest receipt for each epoch.
    pub(super) fn trouble(&self) -> (u64, u64) {
        let add = |(missing, quarantined): (u64, u64), said: &Said| {
            (
                missing.saturating_add(said.missing),
                quarantined.saturating_add(said.quarantined),
            )
        };
        self.said.iter().fold((0, 0), add)
    }

    /// The life of the hub that is believed.
    pub(super) const fn life(&self) -> Option<u64> {
        self.life
    }

    /// A later life is about to begin, and what becomes of that may stay unknown: from now on no
    /// earlier one counts, and this one begins when it is heard again.
    pub(super) const fn doubt(&mut self, life: u64) {
        self.life = Some(life.saturating_sub(1));
    }

    /// Whether this receipt, or a newer one in its place, was taken in.
    #[cfg(feature = "carry")]
    pub(super) fn knows(&self, receipt: &Receipt) -> bool {
        self.life == Some(life_of(receipt.hub))
            && self.generation(receipt.epoch) >= receipt.generation
    }

    /// Takes in a receipt that a pinned key signed for this device.
    pub(super) fn take<E>(
        &mut self,
        receipt: &Receipt,
        own: Own,
        at: Lookup<'_, E>,
    ) -> Result<Taken, E> {
        let life = life_of(receipt.hub);
        let new_life = match self.life {
            Some(known) if life < known => return Ok(Taken::Nothing),
            known => known != Some(life),
        };
        let known = self.said.iter().find(|said| said.epoch == receipt.epoch);
        if !new_life && known.is_some_and(|said| receipt.generation <= said.generation) {
            return Ok(Taken::Nothing);
        }
        let judged = self.judge(receipt, own, at)?;
        if judged != (Taken::Counted { new_life: false }) {
            return Ok(judged);
        }
        if new_life {
            self.life = Some(life);
            self.confirmed = own.first_held.prev();
            self.said.clear();
            self.again = None;
            self.piece = FIRST_PIECE;
        }
        self.first_held = own.first_held;
        let missing = missing_of_ours(receipt, own, at)?;
        self.remember(receipt, &missing, own.now);
        self.walk(at)?;
        Ok(Taken::Counted { new_life })
    }

    /// Whether the receipt speaks of our own history.
    fn judge<E>(&self, receipt: &Receipt, own: Own, at: Lookup<'_, E>) -> Result<Taken, E> {
        let counted = Taken::Counted { new_life: false };
        let current = receipt.epoch == own.epoch;
        let (seq, digest) = (receipt.accounted_to, receipt.digest);
        let tampering = Taken::Tampering {
            seq,
            digest,
            current,
        };
        // Through another sink the hub may have got what this one's task has not heard of yet.
        if seq > own.tail && at(seq)?.is_none() {
            return Ok(if current { tampering } else { Taken::Nothing });
        }
        let mut is_ours = |seq: Seq| -> Result<bool, E> {
            Ok(at(seq)?.is_some_and(|place| place.epoch == receipt.epoch))
        };
        if seq < own.first_held {
            // It cannot be compared any more, and confirms nothing that is held.
            let mut known = current || is_ours(own.first_held)?;
            if let Some(range) = receipt.missing.last().filter(|_| !known) {
                known = is_ours(range.last().min(own.tail))?;
            }
            return Ok(if known { counted } else { Taken::Nothing });
        }
        let is_next = is_ours(self.confirmed.next())?;
        let Some(place) = at(seq)? else {
            return Ok(Taken::Nothing);
        };
        Ok(match place.epoch == receipt.epoch {
            true if place.seq == seq && place.digest == digest => counted,
            true if place.seq == seq => tampering,
            // A recovery has lost it, and the hub has not: one that comes after it can be compared.
            true => Taken::Nothing,
            // So were the last ones of an epoch; none will come after.
            false if place.seq > seq && is_next => counted,
            // Beyond our end of it, without a hole: the hub has heard a copy go on.
            false if current || is_next => tampering,
            false => Taken::Nothing,
        })
    }

    fn remember(&mut self, receipt: &Receipt, missing: &[SeqRange], now: Duration) {
        let before = self.said.iter().position(|it| it.epoch == receipt.epoch);
        let before = before.map(|place| self.said.remove(place));
        let (before, mut vain, sent_at) = before.map_or_else(Default::default, |it| {
            let Said {
                named,
                vain,
                sent_at,
                ..
            } = it;
            (named, vain, sent_at)
        });
        let mut named = Vec::new();
        for range in missing {
            let mut from = range.first();
            for old in &before {
                let Some(both) = common(old.range, *range) else {
                    continue;
                };
                named.extend(fresh(from, both.first().prev(), now));
                let ripe = old.ripe || now.saturating_sub(old.since) >= self.resend_after;
                let since = old.since;
                from = both.last().next();
                // As one with what lies before it and is ripe, too: a range that never arrives, and grows,
                // would otherwise fill all of what is remembered.
                let follows =
                    |last: &mut Named| last.ripe && last.range.last().next() == both.first();
                let first = match named.pop_if(|last| ripe && follows(last)) {
                    Some(last) => last.range.first(),
                    None => both.first(),
                };
                let range = SeqRange::new(first, both.last());
                named.extend(range.map(|range| Named { range, since, ripe }));
            }
            named.extend(fresh(from, range.last(), now));
        }
        named.truncate(MAX_NAMED);
        let is_late = |again: &mut Again| again.has_arrived(&again.left_of(&named));
        if vain.take_if(is_late).is_some() {
            // It only took its time.
            self.piece = (self.piece * 2).min(MAX_PIECE);
        }
        self.said.push(Said {
            epoch: receipt.epoch,
            generation: receipt.generation,
            accounted_to: receipt.accounted_to,
            missing: count(&receipt.missing),
            quarantined: receipt.quarantined,
            named,
            vain,
            sent_at,
            heard: now,
        });
        if self.said.len() > MAX_EPOCHS {
            // The one heard of longest ago.
            self.said.remove(0);
        }
    }

    /// From epoch to epoch, as far as each one's receipt goes.
    fn walk<E>(&mut self, at: Lookup<'_, E>) -> Result<(), E> {
        for _ in 0..MAX_STEPS {
            let Some(next) = at(self.confirmed.next())? else {
                break;
            };
            let covers = |said: &&Said| said.epoch == next.epoch && said.accounted_to >= next.seq;
            let Some(said) = self.said.iter().find(covers) else {
                break;
            };
            self.confirmed = said.accounted_to;
        }
        Ok(())
    }

    /// What is to be sent again now.
    pub(super) fn due(&mut self, now: Duration) -> Option<Wanted> {
        if let Some(again) = self.again.take() {
            let said = self.said.iter().find(|said| said.epoch == again.epoch);
            let left = said.map_or_else(Vec::new, |said| again.left_of(&said.named));
            if again.has_arrived(&left) {
                // What is still missing of it waits for its turn.
                self.postpone(again.epoch, &left, now);
                self.piece = (self.piece * 2).min(MAX_PIECE);
            } else if now < self.rests_until(&again, 0) {
                self.again = Some(again);
                return None;
            } else {
                // It may never arrive: what other epochs lack does not wait for that.
                self.give_way(again);
            }
        }
        let due_of = |said: &Said| -> Vec<SeqRange> {
            let held = |named: &Named| {
                SeqRange::new(named.range.first().max(self.first_held), named.range.last())
            };
            let due = said.named.iter().filter(|named| named.ripe_at() <= now);
            due.filter_map(held).collect()
        };
        let with_due = self.said.iter().filter_map(|said| {
            let due = due_of(said);
            let vain = said.vain.as_ref();
            let rests = vain.is_some_and(|again| now < self.rests_until(again, again.tries));
            (!rests && !due.is_empty()).then_some((said, due))
        });
        // Whose turn it was longest ago, whatever it lacks: where receipts are rare, each comes when the
        // pause of what never arrives is over, too.
        let (said, mut due) = with_due.min_by_key(|(said, due)| (said.sent_at, due[0].first()))?;
        let (mut room, mut tries) = (self.piece, 0);
        let mut end = due.last().map_or(Seq::NONE, |range| range.last());
        if let Some(again) = &said.vain {
            (room, tries) = (FIRST_PIECE, again.tries.saturating_add(1));
            // What comes after it may be what the hub needs to take it. Where nothing does, and once
            // something has arrived, it is from the lowest on.
            let last = again.ranges.last().map_or(Seq::NONE, |range| range.last());
            let round = SeqRange::new(last.next(), again.end);
            let rest = |round| due.iter().filter_map(|due| common(*due, round)).collect();
            let rest: Vec<_> = round.map_or_else(Vec::new, rest);
            if !rest.is_empty() {
                (due, end) = (rest, again.end);
            }
        }
        let mut ranges = Vec::new();
        for range in due {
            let last = range.last().min(range.first().plus(room).prev());
            let Some(range) = SeqRange::new(range.first(), last).filter(|_| room > 0) else {
                break;
            };
            room -= range.len();
            ranges.push(range);
        }
        let epoch = said.epoch;
        let said = self.said.iter_mut().filter(|it| it.epoch == epoch);
        said.for_each(|it| it.sent_at = now);
        self.again = Some(Again {
            epoch,
            ranges: ranges.clone(),
            at: now,
            tries,
            end,
        });
        Some(Wanted { epoch, ranges })
    }

    /// The next that is to be declared as trimmed: the hub would wait for it for ever. Not what may be on
    /// its way.
    pub(super) fn trimmed(&self, now: Duration) -> Option<SeqRange> {
        let named = self.said.iter().flat_map(|said| &said.named);
        let mut gone = named
            .filter(|named| named.ripe_at() <= now)
            .filter_map(|named| self.gone(named));
        gone.find(|gone| self.on_its_way(*gone).is_none())
    }

    /// What of it is trimmed.
    fn gone(&self, named: &Named) -> Option<SeqRange> {
        let last = named.range.last().min(self.first_held.prev());
        SeqRange::new(named.range.first(), last)
    }

    fn on_its_way(&self, range: SeqRange) -> Option<&Again> {
        let again = self.again.as_ref()?;
        let mut sent = again.ranges.iter();
        sent.any(|sent| common(*sent, range).is_some())
            .then_some(again)
    }

    /// These are: the next time counts from when a receipt names them anew.
    pub(super) fn is_declared(&mut self, trimmed: SeqRange) {
        for said in &mut self.said {
            said.named.retain_mut(|named| {
                if !trimmed.contains(named.range.first()) {
                    return true;
                }
                let rest = SeqRange::new(trimmed.last().next(), named.range.last());
                rest.map(|rest| named.range = rest).is_some()
            });
        }
    }

    /// Of what was due nothing was there to be sent: it has been trimmed since, or is dead letters.
    /// Nothing waits for that but its own epoch.
    pub(super) fn was_not_sent(&mut self) {
        if let Some(again) = self.again.take() {
            self.give_way(again);
        }
    }

    fn give_way(&mut self, again: Again) {
        if let Some(said) = self.said.iter_mut().find(|it| it.epoch == again.epoch) {
            said.vain = Some(again);
            self.piece = FIRST_PIECE;
        }
    }

    /// A session began. What did not arrive may have been lost with the one before, so it is no reason
    /// to wait for ever longer.
    pub(super) fn begin_session(&mut self) {
        let vain = self.said.iter_mut().filter_map(|said| said.vain.as_mut());
        for again in vain.chain(&mut self.again) {
            again.tries = 0;
        }
    }

    /// What was to be sent again is still on its way to the sink: the wait for it begins after that.
    pub(super) fn is_sent_until(&mut self, now: Duration) {
        if let Some(again) = &mut self.again {
            again.at = now;
        }
    }

    /// When [`Account::trimmed`] or [`Account::due`] may have something although no receipt came.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let of = |said: &Said| {
            let again = self.again.iter().map(|again| {
                let is_its_own = again.epoch == said.epoch;
                self.rests_until(again, if is_its_own { again.tries } else { 0 })
            });
            let vain = said.vain.iter();
            let vain = vain.map(|again| self.rests_until(again, again.tries));
            let rests = again.chain(vain).max().unwrap_or_default();
            let at = |named: &Named| {
                let rests = self.gone(named).map_or(rests, |gone| {
                    let again = self.on_its_way(gone);
                    again.map_or(Duration::ZERO, |again| self.rests_until(again, 0))
                });
                named.ripe_at().max(rests)
            };
            said.named.iter().map(at).min()
        };
        self.said.iter().filter_map(of).min()
    }

    /// How long what was sent again is given to arrive, after so many tries in vain: until a receipt
    /// that came long enough after it, and for longer where none does.
    fn rests_until(&self, again: &Again, tries: u32) -> Duration {
        let silent = again.at + doubled(UNANSWERED_AFTER, tries);
        let asked = silent.min(again.at + doubled(self.resend_after, tries));
        let said = self.said.iter().find(|said| said.epoch == again.epoch);
        match said.is_some_and(|said| said.heard >= asked) {
            true => asked,
            false => silent,
        }
    }

    #[cfg(feature = "carry")]
    fn generation(&self, epoch: Epoch) -> u64 {
        let said = self.said.iter().find(|said| said.epoch == epoch);
        said.map_or(0, |said| said.generation)
    }

    /// Most has arrived, and these wait as if they had been named first just now.
    fn postpone(&mut self, epoch: Epoch, left: &[SeqRange], now: Duration) {
        let Some(said) = self.said.iter_mut().find(|said| said.epoch == epoch) else {
            return;
        };
        let mut named = Vec::new();
        for old in &said.named {
            let mut from = old.range.first();
            let rest =
                |first, last| SeqRange::new(first, last).map(|range| Named { range, ..*old });
            for both in left.iter().filter_map(|range| common(*range, old.range)) {
                named.extend(rest(from, both.first().prev()));
                named.extend(fresh(both.first(), both.last(), now));
                from = both.last().next();
            }
            named.extend(rest(from, old.range.last()));
        }
        named.truncate(MAX_NAMED);
        said.named = named;
        said.vain = None;
    }
}

/// What of the missing ranges this sink was sent and the receipt's epoch is about: held, or trimmed
/// where nothing but this epoch is held from the beginning on. While a hub has not got the start of
/// an epoch, its gap reaches down to 1.
fn missing_of_ours<E>(receipt: &Receipt, own: Own, at: Lookup<'_, E>) -> Result<Vec<SeqRange>, E> {
    let mut ours = Vec::new();
    // Otherwise what is trimmed of it was accounted for, and its gap reaches into other epochs.
    let is_first = at(own.first_held)?.is_some_and(|first| first.epoch == receipt.epoch);
    for range in &receipt.missing {
        let last = range.last().min(own.acked);
        if is_first {
            let trimmed = last.min(own.first_held.prev());
            ours.extend(SeqRange::new(range.first(), trimmed));
        }
        let Some(held) = SeqRange::new(range.first().max(own.first_held), last) else {
            continue;
        };
        let mut from = held.first();
        for _ in 0..MAX_STEPS {
            let Some(first) = at(from)?.filter(|first| first.seq <= held.last()) else {
                break;
            };
            // Epochs follow each other, so there is one place where this one ends.
            let (mut low, mut high) = (first.seq, held.last());
            while low < high {
                let middle = low.plus(high.since(low).div_ceil(2));
                match at(middle)?.is_some_and(|place| place.epoch == first.epoch) {
                    true => low = middle,
                    false => high = middle.prev(),
                }
            }
            if first.epoch == receipt.epoch {
                ours.extend(SeqRange::new(from, low));
                break;
            }
            from = low.next();
        }
    }
    Ok(ours)
}

fn fresh(first: Seq, last: Seq, since: Duration) -> Option<Named> {
    SeqRange::new(first, last).map(|range| Named {
        range,
        since,
        ripe: false,
    })
}

fn common(one: SeqRange, other: SeqRange) -> Option<SeqRange> {
    SeqRange::new(one.first().max(other.first()), one.last().min(other.last()))
}

fn count(ranges: &[SeqRange]) -> u64 {
    ranges.iter().map(|range| range.len()).sum()
}

fn doubled(wait: Duration, tries: u32) -> Duration {
    wait * 2_u32.pow(tries.min(MAX_DOUBLINGS))
}

#[cfg(test)]
mod tests;
