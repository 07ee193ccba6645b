//! What is to be sent, read from the journal and rendered ahead of need.
//!
//! Reading and rendering run beside the connection on a thread of its runtime, so that neither a
//! slow card nor the hashing of proofs holds up what is on its way. Orders are served strictly in
//! turn. What is read ahead lies beyond the claim at times; only an order lets it out.
//!
//! Memory: at most two chunks of read-ahead, and one of what is sent again.

use std::{collections::VecDeque, future::pending, sync::Arc};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::doubt::{blocking, nothing_held};
use crate::{
    envelope::{Common, Record},
    outbox::{Batch, ReadError, SinkReads},
    seq::{Seq, SeqRange},
    sink::{Beside, Columns, Format, Parcel, PrivateColumns},
};

/// One read takes no more once it holds so many bytes of stored events.
const CHUNK_BYTES: usize = 128 * 1024;

/// One read takes at most so many events.
const CHUNK_EVENTS: usize = 1_024;

/// More is read ahead while fewer bytes than this are ready.
const READ_AHEAD_BELOW_BYTES: usize = CHUNK_BYTES;

/// Event types, sources and devices that are remembered.
const KNOWN_WORDS: usize = 64;

/// Parcels in the order in which they are to be sent.
pub(super) struct Feed {
    reads: SinkReads,
    orders: VecDeque<Order>,
    first_attempts: Lane,
    repeats: Lane,
    press: Option<Press>,
    reading: Option<Reading>,
    /// Reading ahead failed. Nobody waits for it, so it is no trouble yet: what is on its way can
    /// still be answered. The next order finds out whether it still fails.
    blocked: bool,
}

struct Order {
    run: SeqRange,
    redelivered: bool,
}

struct Reading {
    from: Seq,
    redelivered: bool,
    /// What it gives may hold what was erased since it began.
    stale: bool,
    task: JoinHandle<(Press, Result<Vec<Parcel>, ReadError>)>,
}

/// The next step of an order.
pub(super) enum Step {
    /// To be sent now.
    Send(Parcel),
    /// Ordered, and held by the journal no longer.
    Missing(SeqRange),
}

impl Feed {
    /// For one session, whose first attempts begin after `sent`.
    pub(super) fn new(reads: SinkReads, format: Format, sent: Seq) -> Self {
        Self {
            reads,
            orders: VecDeque::new(),
            first_attempts: Lane::at(sent.next()),
            repeats: Lane::at(sent.next()),
            press: Some(Press::new(format)),
            reading: None,
            blocked: false,
        }
    }

    /// These are to be sent, after what was ordered before.
    pub(super) fn order(&mut self, run: SeqRange, redelivered: bool) {
        self.orders.push_back(Order { run, redelivered });
    }

    /// The next step; `None` until more is read.
    pub(super) fn next(&mut self) -> Option<Step> {
        let order = self.orders.front_mut()?;
        let lane = match order.redelivered {
            true => &mut self.repeats,
            false => &mut self.first_attempts,
        };
        let (step, done) = lane.step(order.run)?;
        match SeqRange::new(done.next(), order.run.last()) {
            Some(rest) => order.run = rest,
            None => drop(self.orders.pop_front()),
        }
        Some(step)
    }

    /// Starts the next read where one is worth it: for the order at hand, or ahead up to `tail`.
    /// Comes after [`Feed::next`] has nothing left.
    pub(super) fn read_on(&mut self, tail: Seq) {
        let ahead = self.first_attempts.next;
        let (from, events, redelivered) = match self.orders.front() {
            Some(Order { run, redelivered }) => {
                let count = if *redelivered { run.len() } else { u64::MAX };
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                (run.first(), count.min(CHUNK_EVENTS), *redelivered)
            }
            None if self.blocked || ahead > tail => return,
            None if self.first_attempts.bytes >= READ_AHEAD_BELOW_BYTES => return,
            None => (ahead, CHUNK_EVENTS, false),
        };
        if self.reading.is_some() {
            return;
        }
        let Some(mut press) = self.press.take() else {
            return;
        };
        let reads = self.reads.clone();
        let task = spawn_blocking(move || {
            let parcels = press.parcels(&reads, from, events, redelivered);
            (press, parcels)
        });
        self.reading = Some(Reading {
            from,
            redelivered,
            stale: false,
            task,
        });
    }

    /// Something was erased: what was read before is read again.
    pub(super) fn forget(&mut self) {
        for lane in [&mut self.first_attempts, &mut self.repeats] {
            *lane = Lane::at(lane.from);
        }
        if let Some(reading) = &mut self.reading {
            reading.stale = true;
        }
    }

    /// Waits for the read under way; for ever when there is none. Cancel-safe.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) async fn read(&mut self) -> Result<(), ReadError> {
        let Some(reading) = &mut self.reading else {
            return pending().await;
        };
        let (from, redelivered) = (reading.from, reading.redelivered);
        let ended = (&mut reading.task).await;
        let stale = reading.stale;
        self.reading = None;
        let (press, parcels) = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.press = Some(press);
        if stale {
            return Ok(());
        }
        self.blocked = parcels.is_err();
        if self.blocked && self.orders.is_empty() {
            return Ok(());
        }
        let lane = match redelivered {
            true => &mut self.repeats,
            false => &mut self.first_attempts,
        };
        lane.extend(from, parcels?);
        Ok(())
    }
}

/// What was read of one kind: everything in `from..next` that the journal holds.
struct Lane {
    from: Seq,
    next: Seq,
    parcels: VecDeque<Parcel>,
    bytes: usize,
}

impl Lane {
    fn at(seq: Seq) -> Self {
        Self {
            from: seq,
            next: seq,
            parcels: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The next step of a run, and the last seq that it deals with. `None` where that was not
    /// read, or was let out before.
    fn step(&mut self, run: SeqRange) -> Option<(Step, Seq)> {
        let first = run.first();
        if first < self.from || first >= self.next {
            return None;
        }
        while self
            .parcels
            .front()
            .is_some_and(|parcel| parcel.seq < first)
        {
            self.pop();
        }
        let held = self.parcels.front().map_or(self.next, |parcel| parcel.seq);
        let (step, done) = if held == first {
            (Step::Send(self.pop()?), first)
        } else {
            let last = run.last().min(held.prev());
            (Step::Missing(SeqRange::new(first, last)?), last)
        };
        self.from = done.next();
        Some((step, done))
    }

    /// Takes in what a read from `from` on gave. It holds no hole, so whatever it lacks at its
    /// beginning is gone.
    fn extend(&mut self, from: Seq, parcels: Vec<Parcel>) {
        if self.next != from {
            *self = Self::at(from);
        }
        self.next = parcels.last().map_or(from, |last| last.seq.next());
        self.bytes += parcels.iter().map(bytes_of).sum::<usize>();
        self.parcels.extend(parcels);
    }

    fn pop(&mut self) -> Option<Parcel> {
        let parcel = self.parcels.pop_front()?;
        self.bytes -= bytes_of(&parcel);
        Some(parcel)
    }
}

/// What a parcel holds in memory, about: attributes take more than the payload of a small event.
fn bytes_of(parcel: &Parcel) -> usize {
    let beside = match &parcel.beside {
        Beside::Nothing => 0,
        Beside::Attributes(attributes) => attributes
            .iter()
            .map(|attribute| size_of_val(attribute) + attribute.1.len())
            .sum(),
        Beside::Columns(columns) => size_of_val(&**columns),
    };
    parcel.body.len() + beside
}

/// A dead letter that is sent once more; `None` where it is not held any more.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn late(
    reads: SinkReads,
    seq: Seq,
    format: Format,
) -> Result<Option<Parcel>, ReadError> {
    blocking(move || {
        let parcels = Press::new(format).press(&reads.dead_letter(seq)?, true)?;
        Ok(parcels.into_iter().next())
    })
    .await
}

/// Turns what the journal holds into parcels.
struct Press {
    format: Format,
    words: Words,
    common: Common,
    /// What the bodies of the last chunk took: the next one will take about as much.
    body_bytes: usize,
}

impl Press {
    fn new(format: Format) -> Self {
        Self {
            format,
            words: Words::default(),
            common: Common::default(),
            body_bytes: 0,
        }
    }

    fn parcels(
        &mut self,
        reads: &SinkReads,
        from: Seq,
        events: usize,
        redelivered: bool,
    ) -> Result<Vec<Parcel>, ReadError> {
        let batch = reads.batch(from, events, CHUNK_BYTES)?;
        let parcels = self.press(&batch, redelivered)?;
        match parcels.is_empty() {
            true => Err(nothing_held(from)),
            false => Ok(parcels),
        }
    }

    fn press(&mut self, batch: &Batch, redelivered: bool) -> Result<Vec<Parcel>, ReadError> {
        let mut parcels = Vec::new();
        let mut ends = Vec::new();
        // One buffer for all bodies, shared by the parcels: an allocation a chunk, not an event.
        let mut bodies = Vec::with_capacity(self.body_bytes);
        for record in batch.records() {
            let record = match record {
                Ok(record) => record,
                // What comes before it can be sent; the next read begins here and fails.
                Err(_) if !parcels.is_empty() => break,
                Err(error) => return Err(error),
            };
            let beside = self.render(&record, redelivered, &mut bodies);
            ends.push(bodies.len());
            parcels.push(Parcel {
                seq: record.statement.seq,
                epoch: record.statement.epoch,
                id: record.statement.id,
                digest: record.digest,
                event_type: self.words.share(record.statement.event_type),
                body: Bytes::new(),
                beside,
                redelivered,
            });
        }
        self.body_bytes = bodies.len();
        let bodies = Bytes::from(bodies);
        let mut begin = 0;
        for (parcel, end) in parcels.iter_mut().zip(ends) {
            parcel.body = bodies.slice(begin..end);
            begin = end;
        }
        Ok(parcels)
    }

    /// Appends the body to `bodies` and gives what goes beside it.
    fn render(&mut self, record: &Record<'_>, redelivered: bool, bodies: &mut Vec<u8>) -> Beside {
        match self.format {
            Format::Envelope => record.render_with(&mut self.common, redelivered, false, bodies),
            Format::OneLine => record.render_with(&mut self.common, redelivered, true, bodies),
            Format::CloudEvents => record.render_cloud_event(redelivered, bodies),
            Format::CloudEventsBinary => {
                if let Some(private) = &record.private {
                    bodies.extend_from_slice(private.payload);
                }
                return Beside::Attributes(record.attributes(redelivered));
            }
            Format::Columns => {
                if let Some(private) = &record.private {
                    bodies.extend_from_slice(private.payload);
                }
                return Beside::Columns(Box::new(self.columns(record)));
            }
        }
        Beside::Nothing
    }

    fn columns(&mut self, record: &Record<'_>) -> Columns {
        let statement = &record.statement;
        Columns {
            original_id: statement.original_id.map(Into::into),
            device: self.words.share(statement.device),
            kind: statement.kind,
            key_id: statement.key_id,
            event_version: statement.event_version,
            source: self.words.share(statement.source),
            occurred_at: statement.occurred_at,
            clock: statement.clock,
            prev: statement.prev,
            private_digest: statement.private_digest,
            signature: record.signature,
            leaf: record.leaf,
            size: record.size,
            path: record.path,
            private: record.private.map(|private| PrivateColumns {
                salt: private.salt,
                aggregate_id: private.aggregate_id,
                subject_id: private.subject_id.into(),
            }),
        }
    }
}

/// Texts that come again and again, so that one that is known costs no allocation.
#[derive(Default)]
struct Words(Vec<Arc<str>>);

impl Words {
    fn share(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| known.as_ref() == word) {
            return known.clone();
        }
        let new: Arc<str> = word.into();
        if self.0.len() == KNOWN_WORDS {
            self.0.clear();
        }
        self.0.push(new.clone());
        new
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::envelope::{Digest, Epoch};

    fn parcels(seqs: impl IntoIterator<Item = u64>) -> Vec<Parcel> {
        let parcel = |seq| Parcel {
            seq: Seq::new(seq),
            epoch: Epoch::from_uuid(Uuid::nil()),
            id: Uuid::nil(),
            digest: Digest::ZERO,
            event_type: "quiz.submitted.v1".into(),
            body: Bytes::from_static(b"{}"),
            beside: Beside::Nothing,
            redelivered: false,
        };
        seqs.into_iter().map(parcel).collect()
    }

    fn run(first: u64, last: u64) -> SeqRange {
        SeqRange::new(Seq::new(first), Seq::new(last)).unwrap()
    }

    /// What a lane gives for a run: seqs to send, and runs that are missing.
    fn steps(lane: &mut Lane, first: u64, last: u64) -> (Vec<u64>, Vec<SeqRange>) {
        let (mut sent, mut missing) = (Vec::new(), Vec::new());
        let mut rest = Some(run(first, last));
        while let Some((step, done)) = rest.and_then(|rest| lane.step(rest)) {
            match step {
                Step::Send(parcel) => sent.push(parcel.seq.get()),
                Step::Missing(run) => missing.push(run),
            }
            rest = SeqRange::new(done.next(), Seq::new(last));
        }
        (sent, missing)
    }

    #[test]
    fn what_a_read_lacks_at_its_beginning_is_missing_and_nothing_else_is() {
        let mut lane = Lane::at(Seq::new(10));
        assert_eq!(
            steps(&mut lane, 10, 12),
            (vec![], vec![]),
            "nothing was read yet"
        );
        lane.extend(Seq::new(10), parcels(15..=17));
        assert_eq!(steps(&mut lane, 10, 12), (vec![], vec![run(10, 12)]));
        assert_eq!(
            steps(&mut lane, 13, 20),
            (vec![15, 16, 17], vec![run(13, 14)])
        );
        assert_eq!(
            steps(&mut lane, 18, 20),
            (vec![], vec![]),
            "the rest was not read"
        );
        assert_eq!(lane.bytes, 0);
    }

    #[test]
    fn what_was_let_out_before_is_read_again_and_not_taken_for_missing() {
        let mut lane = Lane::at(Seq::new(1));
        lane.extend(Seq::new(5), parcels(5..=9));
        assert_eq!(steps(&mut lane, 5, 6), (vec![5, 6], vec![]));
        assert_eq!(steps(&mut lane, 5, 5), (vec![], vec![]));
        assert_eq!(steps(&mut lane, 3, 3), (vec![], vec![]));
        lane.extend(Seq::new(5), parcels(5..=5));
        assert_eq!(steps(&mut lane, 5, 5), (vec![5], vec![]));
    }

    #[test]
    fn reads_that_follow_each_other_make_one_lane() {
        let mut lane = Lane::at(Seq::new(1));
        lane.extend(Seq::new(1), parcels(1..=3));
        lane.extend(Seq::new(4), parcels(6..=7));
        assert_eq!(
            steps(&mut lane, 1, 7),
            (vec![1, 2, 3, 6, 7], vec![run(4, 5)])
        );
    }
}
