//! An event on its way into the journal: checked, with its id and its salted private digest.
//!
//! Sealing hashes the payload in the caller's thread, so the writer's thread hashes only
//! statements, whose length does not depend on it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use uuid::Uuid;

use super::{entropy::Entropy, error::AppendError};
use crate::{
    envelope::{Digest, Kind, Private, Record},
    event::{Event, EventType},
    ledger::LedgerEvent,
};

/// Bytes of a row that an event costs beside its texts and its payload, at most.
const FIXED_BYTES: u64 = 80;

/// A UUIDv7 with the time below its millisecond in place of the first random bits, as in RFC 9562,
/// section 6.2, method 3: ids of one device sort by the time they
/// were made at, to a quarter of a microsecond.
fn new_id(entropy: &mut Entropy) -> Uuid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let below = (now.subsec_nanos() % 1_000_000) * (1 << 12) / 1_000_000;
    let mut bytes = [0; 10];
    entropy(&mut bytes);
    let [_, _, high, low] = below.to_be_bytes();
    (bytes[0], bytes[1]) = (high, low);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

/// A sealed event.
pub(crate) struct Sealed {
    pub(super) kind: Kind,
    pub(super) id: Uuid,
    pub(super) salt: [u8; 16],
    pub(super) private_digest: Digest,
    /// Whether the personal part is gone: then the digest is all that there is of it.
    pub(super) is_erased: bool,
    pub(super) event: Event,
}

impl Sealed {
    /// Seals a program's event; `index` is its place in the batch, for the error.
    pub(crate) fn seal(
        event: Event,
        index: usize,
        max_payload_bytes: usize,
        entropy: &mut Entropy,
    ) -> Result<Self, AppendError> {
        if event.payload.len() > max_payload_bytes {
            return Err(AppendError::TooLarge {
                index,
                bytes: event.payload.len(),
                limit: max_payload_bytes,
            });
        }
        let id = event.id.unwrap_or_else(|| new_id(entropy));
        Ok(Self::new(Kind::Program, id, event, entropy))
    }

    /// Seals an event of the ledger. `aggregate` is what it is about: the epoch it is in.
    pub(super) fn ledger(
        ledger: &LedgerEvent<'_>,
        aggregate: Uuid,
        entropy: &mut Entropy,
    ) -> Result<Self, serde_json::Error> {
        let mut id = [0; 16];
        entropy(&mut id);
        let event = Event {
            event_type: EventType::ledger(ledger.event_type()),
            event_version: 1,
            id: None,
            original_id: None,
            aggregate_id: aggregate,
            subject_id: None,
            occurred_at: None,
            source: None,
            payload: ledger.payload()?.into(),
        };
        let id = uuid::Builder::from_random_bytes(id).into_uuid();
        Ok(Self::new(Kind::Ledger, id, event, entropy))
    }

    /// Seals an event again as it is held, salt and private digest included.
    pub(super) fn of_record(record: &Record<'_>) -> Self {
        let statement = &record.statement;
        let private = record.private.unwrap_or(Private {
            salt: [0; 16],
            aggregate_id: Uuid::nil(),
            subject_id: "",
            payload: &[],
        });
        let event = Event {
            event_type: EventType::held(statement.event_type),
            event_version: statement.event_version,
            id: Some(statement.id),
            original_id: statement.original_id.map(Into::into),
            aggregate_id: private.aggregate_id,
            subject_id: Some(private.subject_id)
                .filter(|subject| !subject.is_empty())
                .map(Into::into),
            occurred_at: Some(statement.occurred_at),
            source: Some(statement.source.into()),
            payload: Bytes::copy_from_slice(private.payload),
        };
        Self {
            kind: statement.kind,
            id: statement.id,
            salt: private.salt,
            private_digest: record.statement.private_digest,
            is_erased: record.private.is_none(),
            event,
        }
    }

    fn new(kind: Kind, id: Uuid, event: Event, entropy: &mut Entropy) -> Self {
        let mut salt = [0; 16];
        entropy(&mut salt);
        let private_digest = Private {
            salt,
            aggregate_id: event.aggregate_id,
            subject_id: event.subject_id.as_deref().unwrap_or(""),
            payload: &event.payload,
        }
        .digest();
        Self {
            kind,
            id,
            salt,
            private_digest,
            is_erased: false,
            event,
        }
    }

    /// About how many bytes of the journal it takes.
    pub(super) fn weight(&self) -> u64 {
        let texts = self.event.event_type.as_str().len()
            + self.event.original_id.as_deref().map_or(0, str::len)
            + self.event.subject_id.as_deref().map_or(0, str::len)
            + self.event.source.as_deref().map_or(0, str::len);
        FIXED_BYTES + (texts + self.event.payload.len()) as u64
    }

    /// Whether what the caller supplied is what another event with the same id was made from.
    /// What the caller left to the outbox (time, source) is not the caller's word.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let (a, b) = (&self.event, &other.event);
        self.kind == other.kind
            && a.original_id == b.original_id
            && a.event_type == b.event_type
            && a.event_version == b.event_version
            && a.aggregate_id == b.aggregate_id
            && a.subject_id == b.subject_id
            && (a.occurred_at.is_none() || a.occurred_at == b.occurred_at)
            && (a.source.is_none() || a.source == b.source)
            && a.payload == b.payload
    }

    /// As [`Self::says_the_same_as`], against an event that is held. An erased one cannot
    /// contradict.
    pub(super) fn agrees_with(&self, held: &Record<'_>) -> bool {
        let event = &self.event;
        let statement = &held.statement;
        let public = self.kind == statement.kind
            && event.original_id.as_deref() == statement.original_id
            && event.event_type.as_str() == statement.event_type
            && event.event_version == statement.event_version
            && event
                .occurred_at
                .is_none_or(|at| at == statement.occurred_at)
            && event
                .source
                .as_deref()
                .is_none_or(|source| source == statement.source);
        public
            && held.private.as_ref().is_none_or(|private| {
                event.aggregate_id == private.aggregate_id
                    && event.subject_id.as_deref().unwrap_or("") == private.subject_id
                    && *event.payload == *private.payload
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::system_entropy;

    #[test]
    fn ids_are_uuids_of_version_7_and_sort_by_their_time() {
        let mut entropy = system_entropy();
        let before = SystemTime::now();
        let ids: Vec<Uuid> = (0..100)
            .map(|_| {
                // One part in 4,096 of a millisecond is what an id tells apart.
                let begin = std::time::Instant::now();
                while begin.elapsed().as_nanos() < 500 {}
                new_id(&mut entropy)
            })
            .collect();
        assert!(ids.is_sorted());
        for id in ids {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            let (seconds, nanos) = id.get_timestamp().expect("a time").to_unix();
            let at = UNIX_EPOCH + std::time::Duration::new(seconds, nanos);
            let millisecond = std::time::Duration::from_millis(1);
            assert!(at + millisecond > before && at <= SystemTime::now());
        }
    }
}
