//! What the journal knows of the events that are in doubt.

use tokio::task::spawn_blocking;

use crate::{
    envelope::{Digest, Epoch, Record},
    outbox::{ReadError, SinkReads},
    seq::{Seq, SeqRange},
};

/// One read takes at most so many events, and no more once it holds so many bytes: only digests
/// are kept of them.
const READ_EVENTS: usize = 256;
const READ_BYTES: usize = 256 * 1024;

/// Where a new session begins.
pub(super) struct Doubt {
    /// The epoch of the newest event.
    pub(super) epoch: Epoch,
    /// Everything in doubt that the journal still holds, ascending.
    pub(super) events: Vec<(Seq, Digest)>,
    /// What it holds no longer.
    pub(super) missing: Vec<SeqRange>,
    /// Which are dead letters already.
    pub(super) dead: Vec<Seq>,
}

/// Reads what is in doubt; `None` in a journal that never held an event.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn recall(
    reads: &SinkReads,
    range: Option<SeqRange>,
    tail: Seq,
) -> Result<Option<Doubt>, ReadError> {
    if tail == Seq::NONE {
        return Ok(None);
    }
    let reads = reads.clone();
    blocking(move || {
        // What was the newest may have been dropped since; then what comes after it is held.
        let batch = reads.batch(tail, 1, READ_BYTES)?;
        let Some(newest) = batch.records().next() else {
            return Err(nothing_held(tail));
        };
        let epoch = newest?.statement.epoch;
        let mut doubt = Doubt {
            epoch,
            events: Vec::new(),
            missing: Vec::new(),
            dead: Vec::new(),
        };
        if let Some(range) = range {
            doubt.events = read(&reads, range.first(), range.last(), |record| record.digest)?;
            doubt.missing = gaps(range, &doubt.events);
            doubt.dead = reads.rejected(range)?;
        }
        Ok(Some(doubt))
    })
    .await
}

/// Epoch and digest of a dead letter's event; `None` where it is not held any more.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn late(
    reads: &SinkReads,
    seq: Seq,
) -> Result<Option<(Epoch, Digest)>, ReadError> {
    let reads = reads.clone();
    blocking(move || {
        let batch = reads.dead_letter(seq)?;
        let record = batch.records().next().transpose()?;
        Ok(record.map(|record| (record.statement.epoch, record.digest)))
    })
    .await
}

/// Whether the journal holds this very event; `tail` is its end.
///
/// # Errors
/// The journal cannot be read.
pub(super) async fn is_ours(
    reads: &SinkReads,
    seq: Seq,
    digest: Digest,
    tail: Seq,
) -> Result<bool, ReadError> {
    if seq > tail {
        return Ok(false);
    }
    let reads = reads.clone();
    blocking(move || Ok(read(&reads, seq, seq, |record| record.digest)? == [(seq, digest)])).await
}

/// What of the range is not among the events.
fn gaps(range: SeqRange, events: &[(Seq, Digest)]) -> Vec<SeqRange> {
    let mut gaps = Vec::new();
    let mut next = range.first();
    for (seq, _) in events {
        gaps.extend(SeqRange::new(next, seq.prev()));
        next = seq.next();
    }
    gaps.extend(SeqRange::new(next, range.last()));
    gaps
}

/// Looks at every event held from `first` to `last`.
fn read<T>(
    reads: &SinkReads,
    first: Seq,
    last: Seq,
    look: impl Fn(&Record<'_>) -> T,
) -> Result<Vec<(Seq, T)>, ReadError> {
    let mut seen = Vec::new();
    let mut from = first;
    while from <= last {
        let batch = reads.batch(from, READ_EVENTS, READ_BYTES)?;
        let before = from;
        for record in batch.records() {
            let record = record?;
            let seq = record.statement.seq;
            from = seq.next();
            if seq > last {
                break;
            }
            seen.push((seq, look(&record)));
        }
        if from == before {
            return Err(nothing_held(from));
        }
    }
    Ok(seen)
}

/// The journal never lets go of its last event, so this is no trimming.
pub(super) fn nothing_held(from: Seq) -> ReadError {
    let what = "nothing is held from here on".into();
    ReadError::Damaged { seq: from, what }
}

pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    match spawn_blocking(read).await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
