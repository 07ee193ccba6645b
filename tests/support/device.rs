//! A device that makes envelopes, each a group of one, without a journal.

use bytes::Bytes;
use edge_outbox::{
    clock::{ClockSync, Stamp, Timestamp},
    envelope::{DeviceName, Digest, Epoch, Kind, Private, Record, Statement, Tree},
    seq::Seq,
    signing::{DeviceKey, PublicKey},
    sink::{Beside, InDoubt, Incarnation, MessageFormat, Parcel, Position},
};
use uuid::Uuid;

/// The event type of most parcels.
pub(crate) const QUIZ: &str = "quiz.submitted.v1";

/// A device with a key and an epoch.
pub(crate) struct Device {
    pub(crate) name: DeviceName,
    pub(crate) epoch: Epoch,
    /// What its parcels are.
    pub(crate) format: MessageFormat,
    key: DeviceKey,
}

impl Device {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            epoch: Epoch::random(),
            format: MessageFormat::Envelope,
            key: DeviceKey::generate().unwrap(),
        }
    }

    /// What its envelopes are verified with.
    pub(crate) fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The event at a place, always the same for one device and seq.
    pub(crate) fn parcel(&self, seq: u64) -> Parcel {
        self.parcel_of(seq, QUIZ, br#"{"score":7}"#)
    }

    /// The events at a run of places.
    pub(crate) fn parcels(&self, seqs: impl IntoIterator<Item = u64>) -> Vec<Parcel> {
        seqs.into_iter().map(|seq| self.parcel(seq)).collect()
    }

    /// An event whose id depends on the seq alone, as two devices' ids may do by accident.
    pub(crate) fn parcel_of(&self, seq: u64, event_type: &str, payload: &[u8]) -> Parcel {
        let private = Private {
            salt: [7; 16],
            aggregate_id: Uuid::from_u128(9),
            subject_id: "",
            payload,
        };
        let at = Timestamp::from_micros(1_772_352_000_000_000).unwrap();
        let statement = Statement {
            kind: Kind::Program,
            key_id: self.key.public_key().id(),
            device: self.name.as_str(),
            epoch: self.epoch,
            seq: Seq::new(seq),
            id: Uuid::from_u128(u128::from(seq)),
            original_id: None,
            event_type,
            event_version: 1,
            source: "test",
            occurred_at: at,
            clock: Stamp {
                wall: at,
                sync: ClockSync::Yes,
                boot_id: Uuid::from_u128(1),
                boottime_us: 1,
            },
            prev: Digest::ZERO,
            private_digest: private.digest(),
        };
        let digest = statement.digest(&mut Vec::new());
        let tree = Tree::new(&[digest]);
        let record = Record {
            statement,
            digest,
            private: Some(private),
            signature: self.key.sign_group(1, &tree.root()),
            leaf: 0,
            size: 1,
            path: tree.path(0),
        };
        let mut body = Vec::new();
        let mut beside = Beside::Nothing;
        match self.format {
            MessageFormat::Envelope => record.render(false, false, &mut body),
            MessageFormat::CloudEvents => record.render_cloud_event(false, &mut body),
            MessageFormat::CloudEventsBinary => {
                body.extend_from_slice(payload);
                beside = Beside::Attributes(record.attributes(false));
            }
        }
        Parcel {
            seq: Seq::new(seq),
            epoch: self.epoch,
            id: statement.id,
            digest,
            event_type: event_type.into(),
            body: Bytes::from(body),
            beside,
            redelivered: false,
        }
    }

    /// These events in doubt, everything before the first of them being settled.
    pub(crate) fn doubt(
        &self,
        parcels: &[Parcel],
        floor: Position,
        incarnation: Incarnation,
    ) -> InDoubt {
        InDoubt {
            epoch: self.epoch,
            floor,
            incarnation,
            acked: parcels
                .first()
                .map_or(Seq::NONE, |parcel| parcel.seq.prev()),
            events: parcels
                .iter()
                .map(|parcel| (parcel.seq, parcel.digest))
                .collect(),
        }
    }
}
