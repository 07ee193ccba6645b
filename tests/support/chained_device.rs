//! A device that makes envelopes as a journal does, chained and signed in groups, and whatever else
//! its key can be made to sign.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use edge_outbox::{
    clock::{ClockSync, Stamp, Timestamp},
    envelope::{
        DeviceName, Digest, Epoch, Kind, MAX_GROUP_EVENTS, Private, Record, Statement, Tree,
    },
    seq::Seq,
    signing::{DeviceKey, PublicKey, Rotation},
    tail::Tail,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a program hands over.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) event_type: &'static str,
    pub(crate) payload: String,
    pub(crate) subject_id: String,
    pub(crate) aggregate_id: Uuid,
    /// When it occurred, where the program says so itself.
    pub(crate) occurred_at: Option<Timestamp>,
}

/// An event, in both forms it can be sent in.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) seq: u64,
    pub(crate) digest: Digest,
    pub(crate) wire: Vec<u8>,
    /// Without its personal part.
    pub(crate) stripped: Vec<u8>,
}

/// A device and its journal's end.
#[derive(Clone)]
pub(crate) struct ChainedDevice {
    pub(crate) name: DeviceName,
    pub(crate) key: Arc<DeviceKey>,
    pub(crate) epoch: Epoch,
    /// The seq of the next event.
    pub(crate) next: u64,
    /// The digest of the last.
    pub(crate) head: Digest,
    /// What its clocks say; `None`: set, some time ago, in one long boot.
    pub(crate) stamp: Option<Stamp>,
}

impl Draft {
    /// An answer to a quiz, about nobody.
    pub(crate) fn quiz() -> Self {
        Self {
            event_type: "quiz.submitted.v1",
            payload: r#"{"score":7}"#.into(),
            subject_id: String::new(),
            aggregate_id: Uuid::new_v4(),
            occurred_at: None,
        }
    }

    /// The same, about somebody.
    pub(crate) fn about(person: &str) -> Self {
        Self {
            subject_id: person.into(),
            ..Self::quiz()
        }
    }

    pub(crate) fn ledger(event_type: &'static str, payload: &Value) -> Self {
        Self {
            event_type,
            payload: payload.to_string(),
            ..Self::quiz()
        }
    }
}

impl ChainedDevice {
    /// One whose journal is empty.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            key: Arc::new(DeviceKey::generate().unwrap()),
            epoch: Epoch::random(),
            next: 1,
            head: Digest::ZERO,
            stamp: None,
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// The line that a hub's operator registers it by.
    pub(crate) fn identity(&self) -> String {
        let public_key = self.public_key().to_string();
        format!(
            "{}\n",
            json!({"device": self.name.as_str(), "public_key": public_key})
        )
    }

    /// The start of its epoch, in a fresh journal.
    pub(crate) fn start(&mut self) -> Sealed {
        self.start_with("fresh_journal", None)
    }

    /// The start of its epoch, and so many events.
    pub(crate) fn journal(&mut self, events: usize) -> Vec<Sealed> {
        let start = self.start();
        [vec![start], self.quizzes(events)].concat()
    }

    /// So many events, in groups as large as they may be.
    pub(crate) fn quizzes(&mut self, events: usize) -> Vec<Sealed> {
        let drafts = vec![Draft::quiz(); events];
        let groups = drafts.chunks(MAX_GROUP_EVENTS);
        groups.flat_map(|group| self.group(group)).collect()
    }

    /// One event.
    pub(crate) fn event(&mut self, draft: &Draft) -> Sealed {
        self.group(std::slice::from_ref(draft)).remove(0)
    }

    /// One event of the ledger.
    pub(crate) fn ledger(&mut self, event_type: &'static str, payload: &Value) -> Sealed {
        self.event(&Draft::ledger(event_type, payload))
    }

    /// A new epoch under the same key, which begins `ahead` seqs further on.
    pub(crate) fn new_epoch(&mut self, reason: &str, ahead: u64) -> Sealed {
        let previous = self.previous(None);
        self.epoch = Epoch::random();
        self.next += ahead;
        self.start_with(reason, Some(previous))
    }

    /// A new epoch under a new key, with the old one's word for it.
    pub(crate) fn rotate(&mut self) -> Sealed {
        let old = self.key.clone();
        self.key = Arc::new(DeviceKey::generate().unwrap());
        let epoch = Epoch::random();
        let rotation = Rotation {
            new_key: &self.key.public_key(),
            device: &self.name,
            epoch,
        };
        let signature = old.sign_rotation(&rotation).to_string();
        let mut previous = self.previous(Some(signature));
        previous["key_id"] = old.public_key().id().to_string().into();
        self.epoch = epoch;
        self.start_with("key_changed", Some(previous))
    }

    /// Its word for how far its journal goes.
    pub(crate) fn tail(&self) -> Vec<u8> {
        let tail = Tail {
            device: self.name.clone(),
            epoch: self.epoch,
            seq: Seq::new(self.next - 1),
            digest: self.head,
            boot_id: Uuid::from_u128(1),
            boottime_us: self.next,
            nonce: *Uuid::new_v4().as_bytes(),
        };
        tail.sign(&self.key)
    }

    fn previous(&self, cross_signature: Option<String>) -> Value {
        let mut previous = json!({
            "epoch": self.epoch.to_string(),
            "seq": self.next - 1,
            "digest": self.head.to_string(),
            "key_id": self.key.public_key().id().to_string(),
        });
        if let Some(signature) = cross_signature {
            previous["cross_signature"] = signature.into();
        }
        previous
    }

    fn start_with(&mut self, reason: &str, previous: Option<Value>) -> Sealed {
        self.head = Digest::ZERO;
        let mut payload = json!({
            "reason": reason,
            "public_key": STANDARD.encode(self.key.public_key().as_bytes()),
        });
        if let Some(previous) = previous {
            payload["previous"] = previous;
        }
        self.ledger("outbox.epoch_started.v1", &payload)
    }

    /// Events signed together.
    pub(crate) fn group(&mut self, drafts: &[Draft]) -> Vec<Sealed> {
        let key_id = self.key.public_key().id();
        let at = Timestamp::from_micros(1_772_352_000_000_000).unwrap();
        let privates: Vec<Private<'_>> = drafts
            .iter()
            .map(|draft| Private {
                salt: *Uuid::new_v4().as_bytes(),
                aggregate_id: draft.aggregate_id,
                subject_id: &draft.subject_id,
                payload: draft.payload.as_bytes(),
            })
            .collect();
        let mut statements = Vec::new();
        let mut digests = Vec::new();
        for (draft, private) in drafts.iter().zip(&privates) {
            let clock = self.stamp.unwrap_or(Stamp {
                wall: at,
                sync: ClockSync::Yes,
                boot_id: Uuid::from_u128(1),
                boottime_us: self.next,
            });
            let statement = Statement {
                kind: match draft.event_type.starts_with("outbox.") {
                    true => Kind::Ledger,
                    false => Kind::Program,
                },
                key_id,
                device: self.name.as_str(),
                epoch: self.epoch,
                seq: Seq::new(self.next),
                id: Uuid::now_v7(),
                original_id: None,
                event_type: draft.event_type,
                event_version: 1,
                source: "test",
                occurred_at: draft.occurred_at.unwrap_or(clock.wall),
                clock,
                prev: self.head,
                private_digest: private.digest(),
            };
            self.next += 1;
            self.head = statement.digest(&mut Vec::new());
            digests.push(self.head);
            statements.push(statement);
        }
        let tree = Tree::new(&digests);
        let size = digests.len() as u8;
        let signature = self.key.sign_group(size, &tree.root());
        let parts = statements.into_iter().zip(privates).zip(digests).zip(0..);
        let seal = |(((statement, private), digest), leaf)| {
            let record = Record {
                statement,
                digest,
                private: Some(private),
                signature,
                leaf,
                size,
                path: tree.path(leaf),
            };
            let erased = Record {
                private: None,
                ..record
            };
            let (mut wire, mut stripped) = (Vec::new(), Vec::new());
            record.render(false, false, &mut wire);
            erased.render(false, false, &mut stripped);
            Sealed {
                seq: statement.seq.get(),
                digest,
                wire,
                stripped,
            }
        };
        parts.map(seal).collect()
    }
}
