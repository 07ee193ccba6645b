//! A device that makes envelopes, each a group of one, without a journal.

use bytes::Bytes;
use edge_outbox::{
    clock::{ClockSync, Stamp, Timestamp},
    envelope::{DeviceName, Digest, Epoch, Kind, Private, Record, Statement, Tree},
    seq::Seq,
    signing::{DeviceKey, PublicKey},
    sink::{
        Beside, Columns, InDoubt, Incarnation, MessageFormat, Parcel, Position, PrivateColumns,
    },
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
        let record = self.record(seq, event_type, payload);
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
        parcel(&record, body, beside)
    }

    /// The event at a place, for a sink with columns.
    pub(crate) fn row(&self, seq: u64) -> Parcel {
        self.row_of(seq, QUIZ, br#"{"score":7}"#)
    }

    /// The events at a run of places, for a sink with columns.
    pub(crate) fn rows(&self, seqs: impl IntoIterator<Item = u64>) -> Vec<Parcel> {
        seqs.into_iter().map(|seq| self.row(seq)).collect()
    }

    /// As [`Device::parcel_of`], for a sink with columns.
    pub(crate) fn row_of(&self, seq: u64, event_type: &str, payload: &[u8]) -> Parcel {
        let record = self.record(seq, event_type, payload);
        let statement = &record.statement;
        let columns = Columns {
            device: statement.device.into(),
            kind: statement.kind,
            key_id: statement.key_id,
            original_id: statement.original_id.map(Into::into),
            event_version: statement.event_version,
            source: statement.source.into(),
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
        };
        parcel(
            &record,
            payload.to_vec(),
            Beside::Columns(Box::new(columns)),
        )
    }

    /// As it is once its personal part was erased.
    pub(crate) fn erased_row(&self, seq: u64) -> Parcel {
        let mut parcel = self.row(seq);
        parcel.body = Bytes::new();
        if let Beside::Columns(columns) = &mut parcel.beside {
            columns.private = None;
        }
        parcel
    }

    fn record<'a>(&'a self, seq: u64, event_type: &'a str, payload: &'a [u8]) -> Record<'a> {
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
        Record {
            statement,
            digest,
            private: Some(private),
            signature: self.key.sign_group(1, &tree.root()),
            leaf: 0,
            size: 1,
            path: tree.path(0),
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

fn parcel(record: &Record<'_>, body: Vec<u8>, beside: Beside) -> Parcel {
    let statement = &record.statement;
    Parcel {
        seq: statement.seq,
        epoch: statement.epoch,
        id: statement.id,
        digest: record.digest,
        event_type: statement.event_type.into(),
        body: Bytes::from(body),
        beside,
        redelivered: false,
    }
}
