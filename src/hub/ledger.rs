//! What the ledger events of a device say, read from their payloads: proven words, not yet facts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    digest::Digest,
    envelope::{EPOCH_STARTED, Envelope, EpochEnd, Kind, Verified},
    ledger::EventsDropped,
    seq::{Seq, SeqRange},
    signing::{KeyId, PublicKey, Signature},
};

/// What one ledger event says.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// How its epoch began.
    pub(super) start: Option<Start>,
    /// What will not come.
    pub(super) declared: Vec<Declaration>,
    /// What was erased on the device, by seq and digest.
    pub(super) erased: Vec<(Seq, Digest)>,
    /// It is of a type that has to say something, and cannot be read.
    pub(super) unreadable: bool,
}

/// The start of an epoch.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Start {
    pub(super) reason: String,
    pub(super) public_key: PublicKey,
    pub(super) previous: Option<Previous>,
    missing: Option<Vec<SeqRange>>,
}

/// The epoch before, as the new one knows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Previous {
    #[serde(flatten)]
    pub(super) end: EpochEnd,
    pub(super) key_id: KeyId,
    pub(super) cross_signature: Option<Signature>,
}

/// Seqs whose events will not come, or not from every sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    pub(super) range: SeqRange,
    pub(super) why: Cow<'static, str>,
    pub(super) last_digest: Option<Digest>,
}

impl Start {
    /// Whether the epoch before was the same device's under the same name. A card that was copied,
    /// or a device that was renamed, had another.
    pub(super) fn is_same_device(&self) -> bool {
        !matches!(&*self.reason, "device_renamed" | "hardware_changed")
    }
}

/// Whether this is the start of an epoch.
pub(super) fn is_start(kind: Kind, event_type: &str) -> bool {
    kind == Kind::Ledger && event_type == EPOCH_STARTED
}

/// Reads the start of an epoch from its payload.
pub(super) fn start(payload: &[u8]) -> Option<Start> {
    serde_json::from_slice(payload).ok()
}

/// What a ledger event says; nothing where it is none, or holds no payload any more.
pub(super) fn read(envelope: &Envelope<Verified>) -> Words {
    let statement = envelope.statement();
    let mut words = Words::default();
    let Some(private) = envelope
        .private()
        .filter(|_| statement.kind == Kind::Ledger)
    else {
        return words;
    };
    let read = read_type(statement.event_type, private.payload, &mut words);
    words.unreadable = read.is_none();
    // The ledger speaks of what came before it.
    let before = statement.seq.prev();
    words.declared.retain_mut(|declaration| {
        let range = declaration.range;
        let cut = SeqRange::new(range.first().max(Seq::FIRST), range.last().min(before));
        if cut != Some(range) {
            declaration.last_digest = None;
        }
        cut.map(|cut| declaration.range = cut).is_some()
    });
    words
}

fn read_type(event_type: &str, payload: &[u8], words: &mut Words) -> Option<()> {
    fn parsed<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
        serde_json::from_slice(payload).ok()
    }
    match event_type {
        EPOCH_STARTED => {
            let mut start = start(payload)?;
            words.declare(start.missing.take().unwrap_or_default(), "lost");
            words.start = Some(start);
        }
        "outbox.events_lost.v1" => {
            words.declare(parsed::<Ranges>(payload)?.ranges, "lost");
        }
        EventsDropped::EVENT_TYPE => {
            let dropped: EventsDropped = parsed(payload)?;
            words
                .declared
                .extend(dropped.ranges.iter().map(|run| Declaration {
                    range: run.range,
                    why: "dropped".into(),
                    last_digest: run.digest,
                }));
            for repeated in &dropped.ledger {
                // An older one of its own kind said no more than this one.
                if repeated.event_type != EventsDropped::EVENT_TYPE {
                    words.repeat(&repeated.event_type, &repeated.payload)?;
                }
            }
        }
        "outbox.event_rejected.v1" => {
            let rejected: One = parsed(payload)?;
            words.declared.push(Declaration {
                range: SeqRange::new(rejected.seq, rejected.seq)?,
                why: "rejected".into(),
                last_digest: Some(rejected.digest),
            });
        }
        "outbox.dead_letters_discarded.v1" => {
            let seqs = parsed::<Seqs>(payload)?.seqs;
            let ranges = seqs.into_iter().filter_map(|seq| SeqRange::new(seq, seq));
            words.declare(ranges.collect(), "discarded");
        }
        "outbox.sink_skipped.v1" => {
            words.declare(
                parsed::<Range>(payload)?.range.into_iter().collect(),
                "skipped",
            );
        }
        "outbox.sink_forgotten.v1" => {
            words.declare(
                parsed::<Range>(payload)?.range.into_iter().collect(),
                "forgotten",
            );
        }
        "outbox.events_erased.v1" => {
            let events = parsed::<Events>(payload)?.events;
            words
                .erased
                .extend(events.iter().map(|event| (event.seq, event.digest)));
        }
        // Others say nothing of what is held here.
        _ => {}
    }
    Some(())
}

impl Words {
    fn declare(&mut self, ranges: Vec<SeqRange>, why: &'static str) {
        self.declared
            .extend(ranges.into_iter().map(|range| Declaration {
                range,
                why: why.into(),
                last_digest: None,
            }));
    }

    /// What a ledger event said that was dropped itself. How an epoch began is not among it: that
    /// is known from the event alone, and its epoch is then without a start.
    fn repeat(&mut self, event_type: &str, payload: &RawValue) -> Option<()> {
        let start = self.start.take();
        let read = read_type(event_type, payload.get().as_bytes(), self);
        self.start = start;
        read
    }
}

#[derive(Deserialize)]
struct Ranges {
    ranges: Vec<SeqRange>,
}

#[derive(Deserialize)]
struct Range {
    range: Option<SeqRange>,
}

#[derive(Deserialize)]
struct One {
    seq: Seq,
    digest: Digest,
}

#[derive(Deserialize)]
struct Seqs {
    seqs: Vec<Seq>,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<One>,
}
