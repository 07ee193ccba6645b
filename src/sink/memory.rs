//! A sink in memory, for tests of the forwarder and of programs that embed the outbox.
//!
//! [`MemoryStore`] is the other side: it keeps what was sent and can be told to misbehave as a
//! broker does (refuse an event, swallow one, stay silent, go away, lose its content). A test
//! holds one clone of the store, the [`MemorySink`] another.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    envelope::{Digest, Epoch},
    seq::Seq,
    sink::{
        Beside, InDoubt, Incarnation, MAX_FOREIGN, Outcome, Parcel, Position, ReadBack, SinkError,
    },
    status::{Guarantee, GuaranteeLevel},
};

/// How many unanswered parcels a session bears.
const MAX_IN_FLIGHT: usize = 4_096;

/// What the store holds for one event. An event that was sent twice and not recognised is there
/// twice.
#[derive(Clone)]
pub struct StoredMessage {
    /// Where it is; never reused within an incarnation.
    pub position: Position,
    /// Its seq.
    pub seq: Seq,
    /// Its digest.
    pub digest: Digest,
    /// Its event type.
    pub event_type: Arc<str>,
    /// The message's body as it was sent.
    pub body: Bytes,
    /// What was sent beside it.
    pub beside: Beside,
    /// Whether it was marked as possibly a repeat.
    pub redelivered: bool,
    /// Whose it is.
    pub epoch: Epoch,
}

/// The other side of a [`MemorySink`]. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    /// Counts what a session has to notice while it waits.
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    messages: Vec<StoredMessage>,
    last: u64,
    incarnation: i64,
    /// The connection that is alive; raised at each loss, so that older sessions see theirs.
    connection: u64,
    absent: Option<SinkError>,
    cut_after: Option<usize>,
    refusals: HashMap<Seq, VecDeque<SinkError>>,
    swallowed: HashSet<Seq>,
    silent: bool,
    unreadable: bool,
}

impl State {
    fn cut(&mut self) {
        self.connection += 1;
        self.cut_after = None;
    }

    fn store(&mut self, parcel: Parcel, epoch: Epoch) -> Position {
        self.last += 1;
        let position = Position(self.last);
        self.messages.push(StoredMessage {
            position,
            seq: parcel.seq,
            digest: parcel.digest,
            event_type: parcel.event_type,
            body: parcel.body,
            beside: parcel.beside,
            redelivered: parcel.redelivered,
            epoch,
        });
        position
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store that takes everything.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            incarnation: 1,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changes: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Everything stored, in the order of arrival.
    #[must_use]
    pub fn messages(&self) -> Vec<StoredMessage> {
        self.state().messages.clone()
    }

    /// The seqs of everything stored, in the order of arrival.
    #[must_use]
    pub fn seqs(&self) -> Vec<Seq> {
        self.state()
            .messages
            .iter()
            .map(|message| message.seq)
            .collect()
    }

    /// Resolves once at least `count` messages are stored.
    pub async fn stored(&self, count: usize) {
        let mut changes = self.changes.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = changes
            .wait_for(|_| self.state().messages.len() >= count)
            .await;
    }

    /// Cuts the connection and refuses each new one with `error` until [`MemoryStore::come_back`].
    pub fn go_away(&self, error: SinkError) {
        self.change(|state| {
            state.cut();
            state.absent = Some(error);
        });
    }

    /// Takes connections again.
    pub fn come_back(&self) {
        self.change(|state| state.absent = None);
    }

    /// Cuts the connection once.
    pub fn cut(&self) {
        self.change(State::cut);
    }

    /// Stores `count` more parcels without answering, then cuts the connection: what was stored
    /// is in doubt.
    pub fn cut_after(&self, count: usize) {
        self.change(|state| state.cut_after = Some(count));
    }

    /// Refuses this event the next time it comes. Several calls refuse it several times.
    pub fn refuse(&self, seq: Seq, error: SinkError) {
        self.change(|state| state.refusals.entry(seq).or_default().push_back(error));
    }

    /// Neither stores nor answers this event the next time it comes: a hole.
    pub fn swallow(&self, seq: Seq) {
        self.change(|state| {
            state.swallowed.insert(seq);
        });
    }

    /// While silent, everything is stored and nothing answered.
    pub fn be_silent(&self, silent: bool) {
        self.change(|state| state.silent = silent);
    }

    /// Whether reading back is denied.
    pub fn deny_read_back(&self, denied: bool) {
        self.change(|state| state.unreadable = denied);
    }

    /// Removes everything stored; positions go on.
    pub fn purge(&self) {
        self.change(|state| state.messages.clear());
    }

    /// Becomes another, empty container whose positions start again. The connection stays.
    pub fn recreate(&self) {
        self.change(|state| {
            state.messages.clear();
            state.last = 0;
            state.incarnation += 1;
        });
    }

    /// Stores a message that no session sent: another device's, or that of a cloned card.
    pub fn plant(&self, epoch: Epoch, parcel: Parcel) {
        self.change(|state| {
            state.store(parcel, epoch);
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Sends to a [`MemoryStore`].
pub struct MemorySink {
    store: MemoryStore,
}

impl MemorySink {
    /// A sink whose other side is this store.
    #[must_use]
    pub fn new(store: MemoryStore) -> Self {
        Self { store }
    }

    pub(super) fn connect(&self) -> Result<MemorySession, SinkError> {
        let state = self.store.state();
        if let Some(error) = &state.absent {
            return Err(error.clone());
        }
        Ok(MemorySession {
            connection: state.connection,
            incarnation: Incarnation(state.incarnation),
            head: Position(state.last),
            readable: !state.unreadable,
            answers: VecDeque::new(),
            changes: self.store.changes.subscribe(),
            store: self.store.clone(),
        })
    }
}

/// A connection to a [`MemoryStore`].
pub struct MemorySession {
    store: MemoryStore,
    changes: watch::Receiver<u64>,
    connection: u64,
    incarnation: Incarnation,
    head: Position,
    readable: bool,
    answers: VecDeque<Outcome>,
}

impl MemorySession {
    pub(super) fn guarantee(&self) -> Guarantee {
        if self.readable {
            Guarantee {
                level: GuaranteeLevel::ExactlyOnce,
                unmet: Vec::new(),
            }
        } else {
            let unmet = vec!["reading back is denied: allow it".into()];
            Guarantee {
                level: GuaranteeLevel::AtLeastOnce,
                unmet,
            }
        }
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(super) fn head(&self) -> Position {
        self.head
    }

    pub(super) fn max_in_flight(&self) -> usize {
        MAX_IN_FLIGHT
    }

    pub(super) async fn read_back(&mut self, doubt: &InDoubt) -> Result<ReadBack, SinkError> {
        let state = self.store.state();
        if state.connection != self.connection {
            return Err(cut());
        }
        let moved = doubt.incarnation != Incarnation::default()
            && doubt.incarnation != Incarnation(state.incarnation);
        if state.unreadable || moved {
            return Ok(ReadBack::default());
        }
        let ours: HashMap<Seq, Digest> = doubt.events.iter().copied().collect();
        let mut found = BTreeMap::new();
        let mut foreign = Vec::new();
        for message in state
            .messages
            .iter()
            .filter(|message| message.position > doubt.floor && message.seq > doubt.acked)
        {
            let is_ours = message.epoch == doubt.epoch;
            // The digest covers the epoch: what is in doubt may be older than the current one.
            if ours.get(&message.seq) == Some(&message.digest) {
                found.entry(message.seq).or_insert(message.position);
            } else if is_ours && foreign.len() < MAX_FOREIGN {
                foreign.push((message.seq, message.digest));
            }
        }
        Ok(ReadBack {
            found: found.into_iter().collect(),
            foreign,
            complete: true,
        })
    }

    pub(super) async fn send(&mut self, parcel: Parcel) -> Result<(), SinkError> {
        let mut answer = None;
        self.store.change(|state| {
            if state.connection != self.connection {
                return;
            }
            let seq = parcel.seq;
            if let Some(error) = state.refusals.get_mut(&seq).and_then(VecDeque::pop_front) {
                answer = Some(Outcome::Refused { seq, error });
            } else if !state.swallowed.remove(&seq) {
                let epoch = parcel.epoch;
                let position = state.store(parcel, epoch);
                if !state.silent && state.cut_after.is_none() {
                    answer = Some(Outcome::Stored { seq, position });
                }
                if let Some(left) = &mut state.cut_after {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        state.cut();
                    }
                }
            }
        });
        self.answers.extend(answer);
        if self.is_cut() { Err(cut()) } else { Ok(()) }
    }

    pub(super) async fn next(&mut self) -> Outcome {
        loop {
            // Seen before the look at the state, so that no change slips in between.
            self.changes.mark_unchanged();
            if self.is_cut() {
                return Outcome::Lost(cut());
            }
            if let Some(answer) = self.answers.pop_front() {
                if let Outcome::Stored { position, .. } = &answer {
                    self.head = self.head.max(*position);
                }
                return answer;
            }
            // The store lives in `self`, so the sender does too.
            let _ = self.changes.changed().await;
        }
    }

    pub(super) async fn close(self) {}

    fn is_cut(&self) -> bool {
        self.store.state().connection != self.connection
    }
}

fn cut() -> SinkError {
    SinkError::retry("disconnected", "the connection to the memory store was cut")
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    fn digest(seq: u64) -> Digest {
        Digest([u8::try_from(seq).unwrap(); 32])
    }

    fn parcel(seq: u64) -> Parcel {
        Parcel {
            seq: Seq::new(seq),
            epoch: Epoch::from_uuid(uuid::Uuid::nil()),
            id: uuid::Uuid::nil(),
            digest: digest(seq),
            event_type: "quiz.submitted.v1".into(),
            body: Bytes::from_static(b"{}"),
            beside: Beside::Nothing,
            redelivered: false,
        }
    }

    fn doubt(acked: u64, events: &[u64]) -> InDoubt {
        InDoubt {
            epoch: Epoch::from_uuid(uuid::Uuid::nil()),
            floor: Position(0),
            incarnation: Incarnation(1),
            acked: Seq::new(acked),
            events: events
                .iter()
                .map(|&seq| (Seq::new(seq), digest(seq)))
                .collect(),
        }
    }

    fn seqs(found: &[(Seq, Position)]) -> Vec<u64> {
        found.iter().map(|(seq, _)| seq.get()).collect()
    }

    #[tokio::test]
    async fn what_was_swallowed_or_unanswered_is_told_apart_by_reading_back() {
        let store = MemoryStore::new();
        let sink = MemorySink::new(store.clone());
        store.swallow(Seq::new(2));
        store.cut_after(3);
        let mut session = sink.connect().unwrap();
        for seq in 1..=3 {
            session.send(parcel(seq)).await.unwrap();
        }
        assert!(session.send(parcel(4)).await.is_err());
        assert!(matches!(session.next().await, Outcome::Lost(_)));

        let mut session = sink.connect().unwrap();
        let answer = session.read_back(&doubt(0, &[1, 2, 3, 4])).await.unwrap();
        assert_eq!(seqs(&answer.found), [1, 3, 4]);
        assert!(answer.complete && answer.foreign.is_empty());
    }

    #[tokio::test]
    async fn another_journal_under_our_epoch_is_foreign_even_with_nothing_in_doubt() {
        let store = MemoryStore::new();
        let ours = Epoch::from_uuid(uuid::Uuid::nil());
        store.plant(ours, parcel(7));
        store.plant(Epoch::from_uuid(uuid::Uuid::max()), parcel(8));
        let mut session = MemorySink::new(store).connect().unwrap();
        let answer = session.read_back(&doubt(6, &[])).await.unwrap();
        assert!(answer.foreign == [(Seq::new(7), digest(7))]);
    }

    #[tokio::test]
    async fn what_is_in_doubt_from_an_earlier_epoch_is_found_too() {
        let store = MemoryStore::new();
        store.plant(Epoch(uuid::Uuid::max()), parcel(7));
        let mut session = MemorySink::new(store).connect().unwrap();
        let answer = session.read_back(&doubt(6, &[7])).await.unwrap();
        assert_eq!(seqs(&answer.found), [7]);
        assert!(answer.foreign.is_empty());
    }

    #[tokio::test]
    async fn a_refusal_is_told_once_and_a_loss_wakes_an_idle_session() {
        let store = MemoryStore::new();
        store.refuse(Seq::new(1), SinkError::retry("full", "the store is full"));
        let mut session = MemorySink::new(store.clone()).connect().unwrap();
        session.send(parcel(1)).await.unwrap();
        assert!(matches!(session.next().await, Outcome::Refused { .. }));
        session.send(parcel(1)).await.unwrap();
        assert!(matches!(session.next().await, Outcome::Stored { .. }));
        assert!(
            timeout(Duration::from_millis(20), session.next())
                .await
                .is_err()
        );
        store.go_away(SinkError::retry("unreachable", "away"));
        assert!(matches!(session.next().await, Outcome::Lost(_)));
        assert!(MemorySink::new(store).connect().is_err());
    }
}
