//! The loss ledger: the outbox's own events, one type each.
//!
//! They share the journal, the chain and the seqs with the program's events, so a hub that is
//! missing a seq finds the reason in the same stream. Reasons are codes, never a server's text,
//! which can quote data.

mod events_dropped;

use serde::Serialize;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    envelope::{Digest, Epoch},
    seq::{Seq, SeqRange},
    signing::{KeyId, PublicKey, Signature},
};

pub use self::events_dropped::{DroppedAtSink, DroppedLedger, DroppedRange, EventsDropped};

/// Why an epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochReason {
    /// There was no journal.
    FreshJournal,
    /// The device signs with another key than before.
    KeyChanged,
    /// The device has another name than before.
    DeviceRenamed,
    /// The journal woke up on another board than the one that wrote it: its card was copied, or put
    /// into another board.
    HardwareChanged,
    /// The journal is older than what this device has already sent or acknowledged.
    RolledBack,
    /// The journal was damaged: what could still be read of it was taken over into a new file.
    Recovered,
}

/// `outbox.epoch_started.v1`: the first event of each epoch.
#[derive(Clone, Debug, Serialize)]
pub struct EpochStarted {
    /// Why.
    pub reason: EpochReason,
    /// The key of this epoch, so that the chain of keys can be followed from the stream itself.
    pub public_key: PublicKey,
    /// What came before; absent in a fresh journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousEpoch>,
    /// What a recovered journal has lost of the seqs up to the last one known; absent in others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<SeqRange>>,
}

/// Where the epoch before ended, as far as this device knows.
#[derive(Clone, Debug, Serialize)]
pub struct PreviousEpoch {
    /// Its identity.
    pub epoch: Epoch,
    /// Its last known seq.
    pub seq: Seq,
    /// The digest of that seq.
    pub digest: Digest,
    /// The key that signed it.
    pub key_id: KeyId,
    /// The old key's word for the new one, where the key changed and the old one was at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_signature: Option<Signature>,
}

/// `outbox.events_lost.v1`: seqs whose events are gone, where the start of a recovered epoch has no
/// room for all of them.
#[derive(Clone, Debug, Serialize)]
pub struct EventsLost {
    /// Which.
    pub ranges: Vec<SeqRange>,
    /// Why.
    pub reason: LossReason,
}

/// Why events are gone that no sink has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The journal was damaged.
    Damaged,
}

/// The type of [`EventRejected`].
pub(crate) const EVENT_REJECTED: &str = "outbox.event_rejected.v1";
/// The type of the event that says what was erased.
pub(crate) const EVENTS_ERASED: &str = "outbox.events_erased.v1";

/// `outbox.event_rejected.v1`: one sink refused an event for good.
#[derive(Clone, Debug, Serialize)]
pub struct EventRejected<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// Which event.
    pub seq: Seq,
    /// Its digest.
    pub digest: Digest,
    /// A code, such as `payload_too_large`.
    pub reason: &'a str,
}

/// `outbox.sink_skipped.v1`: a sink will not get these events.
#[derive(Clone, Debug, Serialize)]
pub struct SinkSkipped<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// Which events.
    pub range: SeqRange,
    /// Why.
    pub reason: SkipReason,
}

/// Why a sink will not get events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// They were trimmed before a new or optional sink had them.
    Trimmed,
    /// The sink is new and begins with what comes after it, as it is configured to.
    StartNow,
}

/// `outbox.sink_forgotten.v1`: a sink that is no longer configured has lost its place.
#[derive(Clone, Debug, Serialize)]
pub struct SinkForgotten<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// Whether trimming waited for it.
    pub required: bool,
    /// What it had not confirmed, this event not counted; absent when it had everything. They are
    /// not kept for it any longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<SeqRange>,
    /// Events that it had rejected for good.
    pub dead_letters: u64,
}

/// `outbox.dead_letter_delivered.v1`: a sink has taken an event after all that it had rejected.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetterDelivered<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// Which event.
    pub seq: Seq,
    /// Its digest; absent where the event was trimmed before this was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// `outbox.dead_letters_discarded.v1`: events that a sink had rejected are given up for good.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLettersDiscarded<'a> {
    /// Which sink.
    pub sink: &'a str,
    /// Which events, ascending. Their digests stand where the ledger says that they were rejected.
    pub seqs: &'a [Seq],
    /// Why.
    pub reason: DiscardReason,
}

/// Why dead letters were discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscardReason {
    /// Somebody asked for it.
    Operator,
    /// The sink had as many as there may be, and rejected another.
    Limit,
    /// What is kept of trimmed events had no room left.
    NoRoom,
}

/// `outbox.clock_synced.v1`: ties the boot's own time to the true time.
#[derive(Clone, Debug, Serialize)]
pub struct ClockSynced {
    /// The boot.
    pub boot_id: Uuid,
    /// Microseconds since boot at the moment of `wall`.
    pub boottime_us: u64,
    /// The wall clock, now set.
    pub wall: Timestamp,
}

/// `outbox.events_erased.v1`: what was personal in these events was erased on the device. Their
/// statements stand, and name them by nothing but seq and digest.
#[derive(Clone, Debug, Serialize)]
pub struct EventsErased {
    /// Which, ascending; a few hundred at most. Of a person with more there are several such events.
    pub events: Vec<ErasedEvent>,
}

/// One event that was erased.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ErasedEvent {
    /// Its seq.
    pub seq: Seq,
    /// Its digest.
    pub digest: Digest,
}

/// An event of the ledger.
#[expect(
    clippy::large_enum_variant,
    reason = "made one at a time and serialised at once"
)]
#[derive(Clone, Debug)]
pub enum LedgerEvent<'a> {
    /// See [`EpochStarted`].
    EpochStarted(EpochStarted),
    /// See [`EventsLost`].
    EventsLost(EventsLost),
    /// See [`EventRejected`].
    EventRejected(EventRejected<'a>),
    /// See [`SinkSkipped`].
    SinkSkipped(SinkSkipped<'a>),
    /// See [`SinkForgotten`].
    SinkForgotten(SinkForgotten<'a>),
    /// See [`DeadLetterDelivered`].
    DeadLetterDelivered(DeadLetterDelivered<'a>),
    /// See [`DeadLettersDiscarded`].
    DeadLettersDiscarded(DeadLettersDiscarded<'a>),
    /// See [`ClockSynced`].
    ClockSynced(ClockSynced),
    /// See [`EventsErased`].
    EventsErased(EventsErased),
    /// See [`EventsDropped`].
    EventsDropped(EventsDropped),
}

impl LedgerEvent<'_> {
    /// The event type.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::EpochStarted(_) => "outbox.epoch_started.v1",
            Self::EventsLost(_) => "outbox.events_lost.v1",
            Self::EventRejected(_) => EVENT_REJECTED,
            Self::SinkSkipped(_) => "outbox.sink_skipped.v1",
            Self::SinkForgotten(_) => "outbox.sink_forgotten.v1",
            Self::DeadLetterDelivered(_) => "outbox.dead_letter_delivered.v1",
            Self::DeadLettersDiscarded(_) => "outbox.dead_letters_discarded.v1",
            Self::ClockSynced(_) => "outbox.clock_synced.v1",
            Self::EventsErased(_) => EVENTS_ERASED,
            Self::EventsDropped(_) => EventsDropped::EVENT_TYPE,
        }
    }

    /// The payload.
    ///
    /// # Errors
    /// None that can occur: no map with odd keys, no foreign `Serialize`.
    pub fn payload(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::EpochStarted(event) => serde_json::to_vec(event),
            Self::EventsLost(event) => serde_json::to_vec(event),
            Self::EventRejected(event) => serde_json::to_vec(event),
            Self::SinkSkipped(event) => serde_json::to_vec(event),
            Self::SinkForgotten(event) => serde_json::to_vec(event),
            Self::DeadLetterDelivered(event) => serde_json::to_vec(event),
            Self::DeadLettersDiscarded(event) => serde_json::to_vec(event),
            Self::ClockSynced(event) => serde_json::to_vec(event),
            Self::EventsErased(event) => serde_json::to_vec(event),
            Self::EventsDropped(event) => serde_json::to_vec(event),
        }
    }
}
