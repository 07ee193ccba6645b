//! The other side of a sink, in memory: what it stores, what it answers, and what is lost between.
//!
//! The line may be cut at any moment. Some of what is on its way then arrives, the rest does not
//! (or, where a duplicate window makes that harmless, arrives later), and no answer does.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    super::delivery::{Footing, Refusal},
    dice::Dice,
    hub::Hub,
};
use crate::{
    envelope::{Digest, Epoch},
    journal::tests::scribe::Entry,
    seq::{Incarnation, Position, Seq},
};

/// The reason for which an event is refused for good.
pub(super) const CODE: &str = "constraint";
/// The reason that a limit of the server's is.
pub(super) const LIMIT_CODE: &str = "payload_too_large";

/// One in so many of a program's events can never pass, at each sink other ones.
const POISON_EVERY: u64 = 17;

/// What the other side is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A stream: it has positions and can be read back.
    Stream {
        /// Whether it knows a repeat by its message id. Where it does not, reading back is all
        /// that keeps an event from being there twice.
        window: bool,
    },
    /// A topic: what arrives is passed on, and nobody can be asked.
    Topic,
    /// A table with a key: what is there is not stored again.
    Table,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Stored(Seq, Position),
    Refused(Seq, Refusal),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Down,
    Calling,
    Asking,
    Up,
}

/// See the module.
pub(super) struct FarSide {
    pub(super) kind: Kind,
    pub(super) line: Line,
    /// Who takes what comes here, and says so, where somebody does.
    pub(super) hub: Option<Hub>,
    uplink: VecDeque<Entry>,
    downlink: Vec<Answer>,
    /// Sent over a line that is gone, and still to arrive.
    late: VecDeque<Entry>,
    /// What is stored, and where.
    stored: HashMap<Digest, Position>,
    /// Whatever was stored at any time, though the stream was made anew since.
    ever: HashSet<Digest>,
    /// What was given up on after so many lost sessions: nobody looks for it any more.
    doubtful: HashSet<Digest>,
    /// What refused events up to this number was mended.
    mended_upto: u64,
    /// The highest number of an event that came.
    newest: u64,
    /// Which digest came under an epoch and seq.
    keys: HashMap<(Epoch, Seq), Digest>,
    last: u64,
    incarnation: i64,
    max_in_flight: usize,
    salt: u64,
}

impl FarSide {
    pub(super) fn new(kind: Kind, hub: Option<Hub>, salt: u64) -> Self {
        Self {
            kind,
            line: Line::Down,
            hub,
            uplink: VecDeque::new(),
            downlink: Vec::new(),
            late: VecDeque::new(),
            stored: HashMap::new(),
            ever: HashSet::new(),
            doubtful: HashSet::new(),
            mended_upto: 0,
            newest: 0,
            keys: HashMap::new(),
            last: 0,
            incarnation: 1,
            max_in_flight: 2 + (salt % 11) as usize,
            salt,
        }
    }

    /// Whether it ever took this event.
    pub(super) fn has_taken(&self, digest: Digest) -> bool {
        self.ever.contains(&digest)
    }

    /// It may be there already, or not.
    pub(super) fn may_come_twice(&mut self, digest: Digest) {
        self.doubtful.insert(digest);
    }

    /// Where a copy lies that has to be found: nothing else keeps a second one out.
    pub(super) fn must_be_found(&self, digest: Digest) -> Option<Position> {
        let alone = self.kind == (Kind::Stream { window: false });
        let there = self.stored.get(&digest).copied();
        there.filter(|_| alone && !self.doubtful.contains(&digest))
    }

    /// Somebody mends what refused the events that came so far.
    pub(super) fn mend(&mut self) {
        self.mended_upto = self.newest;
    }

    /// The attempt to connect succeeds.
    pub(super) fn accept(&mut self) -> Footing {
        assert_eq!(self.line, Line::Calling);
        self.line = Line::Up;
        if let Some(hub) = &mut self.hub {
            hub.subscribed();
        }
        let (incarnation, head) = match self.kind {
            Kind::Stream { .. } => (Incarnation(self.incarnation), Position(self.last)),
            Kind::Topic | Kind::Table => Default::default(),
        };
        Footing {
            incarnation,
            head,
            max_in_flight: self.max_in_flight,
        }
    }

    /// What of these it holds. In a stream the walk begins behind `floor`.
    pub(super) fn read_back(
        &mut self,
        events: &[(Seq, Digest)],
        floor: Position,
    ) -> Vec<(Seq, Position)> {
        assert_eq!(self.line, Line::Asking);
        self.line = Line::Up;
        let holds = |(seq, digest): &(Seq, Digest)| {
            let position = *self.stored.get(digest)?;
            match self.kind {
                Kind::Stream { .. } => (position > floor).then_some((*seq, position)),
                Kind::Table => Some((*seq, Position::default())),
                Kind::Topic => None,
            }
        };
        events.iter().filter_map(holds).collect()
    }

    /// The lowest position of one of these events.
    pub(super) fn lowest(&self, digests: impl Iterator<Item = Digest>) -> Option<Position> {
        digests
            .filter_map(|digest| self.stored.get(&digest).copied())
            .min()
    }

    /// Whether `incarnation` is the one that is there now.
    pub(super) fn is(&self, incarnation: Incarnation) -> bool {
        incarnation == Incarnation(self.incarnation)
    }

    /// An event is put on its way.
    pub(super) fn send(&mut self, entry: &Entry) {
        self.uplink.push_back(entry.clone());
        assert!(
            self.uplink.len() <= self.max_in_flight,
            "more than the client bears"
        );
    }

    /// The next of what is on its way arrives. With `trouble` it may be refused.
    pub(super) fn serve(&mut self, dice: &mut Dice, trouble: bool) {
        let Some(letter) = self.uplink.pop_front() else {
            return;
        };
        self.newest = self.newest.max(letter.number.unwrap_or(0));
        let answer = match self.refusal(&letter, dice, trouble) {
            Some(refusal) => Answer::Refused(letter.seq, refusal),
            None => Answer::Stored(letter.seq, self.store(&letter)),
        };
        self.downlink.push(answer);
    }

    fn refusal(&self, letter: &Entry, dice: &mut Dice, trouble: bool) -> Option<Refusal> {
        if self.is_poison(letter.number) {
            let limit = letter.number.is_some_and(|number| number.is_multiple_of(2));
            let code = if limit { LIMIT_CODE } else { CODE };
            return Some(Refusal::Reject { code, limit });
        }
        if !trouble {
            return None;
        }
        match dice.below(80) {
            0..4 => Some(Refusal::Retry),
            4 => Some(Refusal::Halt),
            // Of an event of the ledger, that is no reason to give it up.
            5 if letter.number.is_none() => Some(Refusal::Reject {
                code: CODE,
                limit: false,
            }),
            _ => None,
        }
    }

    fn is_poison(&self, number: Option<u64>) -> bool {
        number.is_some_and(|number| {
            number > self.mended_upto && (number + self.salt).is_multiple_of(POISON_EVERY)
        })
    }

    fn store(&mut self, letter: &Entry) -> Position {
        let key = (letter.epoch, letter.seq);
        let before = *self.keys.entry(key).or_insert(letter.digest);
        assert_eq!(before, letter.digest, "two events under {key:?}");
        self.ever.insert(letter.digest);
        let there = self.stored.get(&letter.digest).copied();
        if let Some(position) = there {
            match self.kind {
                Kind::Stream { window: false } if self.doubtful.contains(&letter.digest) => {}
                Kind::Stream { window: false } => panic!("{} is in the stream twice", letter.seq),
                Kind::Stream { window: true } | Kind::Table => return position,
                Kind::Topic => {}
            }
        }
        let position = match self.kind {
            Kind::Stream { .. } => {
                self.last += 1;
                Position(self.last)
            }
            Kind::Topic | Kind::Table => Position::default(),
        };
        self.stored.insert(letter.digest, position);
        if let Some(hub) = &mut self.hub {
            hub.arrives(letter.clone());
        }
        position
    }

    /// One of the answers on their way arrives, in any order.
    pub(super) fn answer(&mut self, dice: &mut Dice) -> Option<Answer> {
        if self.line != Line::Up {
            return None;
        }
        let index = dice.index(self.downlink.len())?;
        Some(self.downlink.remove(index))
    }

    /// Whether anything is on its way, in either direction.
    pub(super) fn is_quiet(&self) -> bool {
        self.uplink.is_empty() && self.downlink.is_empty()
    }

    /// The line is cut.
    pub(super) fn cut(&mut self, dice: &mut Dice) {
        if self.line == Line::Up {
            for _ in 0..dice.below(self.uplink.len() as u64 + 1) {
                self.serve(dice, true);
            }
            if self.kind == (Kind::Stream { window: true }) && dice.one_in(2) {
                self.late.append(&mut self.uplink);
            }
        }
        self.uplink.clear();
        self.downlink.clear();
        self.line = Line::Down;
        if let Some(hub) = &mut self.hub {
            hub.hang_up();
        }
    }

    /// Something that was sent over a line that is gone arrives after all.
    pub(super) fn arrive_late(&mut self) {
        if let Some(letter) = self
            .late
            .pop_front()
            .filter(|it| !self.is_poison(it.number))
        {
            self.store(&letter);
        }
    }

    /// Messages of others.
    pub(super) fn bustle(&mut self, count: u64) {
        self.last += count;
    }

    /// Somebody deletes the stream and makes it again, or empties the table.
    pub(super) fn make_anew(&mut self, dice: &mut Dice) {
        self.cut(dice);
        self.stored.clear();
        self.late.clear();
        if let Some(hub) = &mut self.hub {
            hub.wipe_broker();
        }
        self.last = 0;
        self.incarnation += 1;
    }
}
