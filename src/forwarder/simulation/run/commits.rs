//! Commits, and who waits for them.

use std::time::Duration;

use super::{
    super::{
        super::{
            MaxRate,
            delivery::{Breakage, Terms},
        },
        listener::{Asked, Listener},
        port::Port,
        truth::Batch,
    },
    Run, VERIFY_EVERY,
};
use crate::{
    journal::{
        Chosen, SinkName,
        tests::scribe::{Scribe, Seen},
    },
    outbox::{Appended, Cursor, Horizon},
    seq::Seq,
};

/// Who waits for the commit in the making.
pub(super) enum Waiting {
    Append {
        batch: Batch,
        places: Vec<Appended>,
    },
    Claim {
        sink: SinkName,
        turn: u64,
        claimed: Option<Seq>,
    },
    Reject {
        sink: SinkName,
        turn: u64,
        seq: Seq,
    },
    ClaimLate {
        sink: SinkName,
        turn: u64,
        may_leave: bool,
    },
    SettleLate {
        sink: SinkName,
        turn: u64,
    },
    Discard {
        sink: SinkName,
        chosen: Chosen,
    },
    Register {
        sink: SinkName,
        cursor: Cursor,
        /// Where receipts confirm what it has: the hub's life that was believed last.
        life: Option<Option<u64>>,
    },
    /// What the task asked for about the hub's word.
    Hub {
        sink: SinkName,
        turn: u64,
    },
}

impl Run {
    /// Takes what the sinks' tasks have noted to the core, as the writer does before each commit.
    pub(super) fn collect(&mut self) {
        let scribe = self
            .scribe
            .as_mut()
            .expect("a process runs between operations");
        for (name, port) in &mut self.ports {
            if let Some(progress) = port.noted.take() {
                scribe.note_progress(name, progress);
            }
            let listener = port.listener.as_mut();
            if let Some(confirmed) = listener.and_then(|listener| listener.noted.take()) {
                scribe.note_confirmed(name, confirmed);
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.collect();
        self.scribe().settle();
        self.flush();
    }

    /// Makes durable what is staged and answers whoever waits for it.
    pub(super) fn flush(&mut self) {
        self.collect();
        let commits = self.scribe().commits();
        self.storage.record();
        let flushed = self.scribe().flush();
        self.probe_recorded();
        match flushed {
            Ok(()) => self.committed(commits),
            Err(()) => self.broken(),
        }
    }

    /// The next thing waits behind what is staged, or comes into the same commit.
    pub(super) fn flush_perhaps(&mut self) {
        if self.dice.one_in(2) {
            self.flush();
        }
    }

    pub(super) fn committed(&mut self, commits_before: u64) {
        if self.scribe().commits() > commits_before {
            for batch in self.look() {
                assert!(
                    self.truth.holds(&batch),
                    "acknowledged and not there: {batch:?}"
                );
            }
        } else {
            self.truth.open.clear();
        }
        for waiting in std::mem::take(&mut self.waiting) {
            self.answer(waiting);
        }
        if self.dice.below(4) > 0 {
            self.publish(true);
        }
    }

    pub(super) fn answer(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Append { batch, places } => {
                self.tally.acknowledged += places.len() as u64;
                for (draft, place) in batch.drafts.iter().zip(places) {
                    let (seq, payload) = &self.truth.numbers[&draft.number];
                    assert_eq!(place.seq, *seq, "event {} has another seq", draft.number);
                    assert_eq!(draft.payload, *payload);
                }
            }
            Waiting::Claim {
                sink,
                turn,
                claimed,
            } => {
                let now = self.now;
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    match claimed {
                        Some(claimed) => port.delivery.claimed(claimed),
                        None => port.fail(Breakage::Retry, now),
                    }
                }
            }
            Waiting::Reject { sink, turn, seq } => {
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    port.delivery.rejected(seq);
                }
            }
            Waiting::ClaimLate {
                sink,
                turn,
                may_leave,
            } => {
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    port.delivery.late_claimed(may_leave);
                }
            }
            Waiting::SettleLate { sink, turn } => {
                let next = self.scribe().next_retry(&sink);
                if let Some(port) = self.ports.get_mut(&sink).filter(|port| port.turn == turn) {
                    port.request = None;
                    port.delivery.late_settled(next);
                }
            }
            Waiting::Discard { sink, chosen } => {
                if let Chosen::One(seq) = chosen {
                    let is_there = self.truth.letters.contains_key(&(sink, seq));
                    assert!(!is_there, "{seq} was discarded, and is a dead letter");
                }
            }
            Waiting::Hub { sink, turn } => {
                let now = self.now;
                let port = self.ports.get_mut(&sink).filter(|port| port.turn == turn);
                let Some(port) = port else { return };
                let listener = port.listener.as_mut().expect("it has asked");
                match listener.asked {
                    Some(Asked::Life(..)) => listener.life_has_begun(now),
                    _ => listener.skipped(),
                }
            }
            Waiting::Register { sink, cursor, life } => {
                let horizon = self.horizon(&sink, true);
                let terms = Terms {
                    window: self.window,
                    strict_order: self.strict_order,
                    max_rate: MaxRate::default(),
                    reconnect_max: Duration::from_secs(4),
                    start_jitter: Duration::from_secs(1),
                };
                let seed = self.dice.roll();
                let listener = life.map(|life| Listener::new(cursor.confirmed, life));
                let with = (seed, listener);
                let port = Port::new(sink.clone(), terms, cursor, horizon, self.now, with);
                self.ports.insert(sink, port);
            }
        }
    }

    /// Looks at everything, holds it against what was told, and learns it. Gives the requests that
    /// were open.
    pub(super) fn look(&mut self) -> Vec<Batch> {
        let seen = self.see();
        let scribe = self
            .scribe
            .as_ref()
            .expect("a process runs between operations");
        if self.dice.one_in(VERIFY_EVERY) {
            self.storage.undisturbed(|| scribe.verify());
        }
        self.truth.check(scribe, &seen, &self.far_sides);
        let lives = self.truth.lives.clone();
        let open = self.truth.learn(&seen);
        let begun = |(name, life): &(&SinkName, &u64)| lives.get(name) != Some(life);
        self.tally.lives += self.truth.lives.iter().filter(begun).count() as u64;
        self.far_sides
            .retain(|name, _| self.truth.places.contains_key(name));
        open
    }

    /// Everything that the journal says of itself.
    pub(super) fn see(&mut self) -> Seen {
        let scribe = self
            .scribe
            .as_ref()
            .expect("a process runs between operations");
        let decoded = &mut self.decoded;
        self.storage.undisturbed(|| scribe.look(decoded))
    }

    pub(super) fn horizon(&self, sink: &SinkName, available: bool) -> Horizon {
        let claimed = self.truth.places.get(sink).map(|place| place.claimed);
        Horizon {
            tail: self.truth.tail,
            claimed: claimed.unwrap_or_default(),
            retry: self.scribe.as_ref().and_then(|it| it.next_retry(sink)),
            available,
            erasures: self.scribe.as_ref().map_or(0, Scribe::erasures),
        }
    }

    /// Tells the sinks' tasks what is durable.
    pub(super) fn publish(&mut self, available: bool) {
        let names: Vec<SinkName> = self.ports.keys().cloned().collect();
        for name in names {
            let horizon = self.horizon(&name, available);
            let port = self.ports.get_mut(&name).unwrap();
            port.delivery.horizon(horizon, self.now);
        }
    }
}
