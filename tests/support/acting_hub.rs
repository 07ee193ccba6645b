//! A hub acted by the test: it takes what a broker holds for it, and answers with signed receipts.
//! It keeps what it has in memory, for one device with one epoch that begins at seq 1.

use std::collections::BTreeMap;

use edge_outbox::{
    envelope::{DeviceName, Digest, Envelope, Epoch},
    receipt::Receipt,
    seq::{Seq, SeqRange},
    signing::{DeviceKey, PublicKey},
    tail::Tail,
};
use uuid::Uuid;

/// What a hub knows.
pub(crate) struct ActingHub {
    pub(crate) key: DeviceKey,
    /// In which life: the higher the later.
    pub(crate) life: u64,
    pub(crate) device: DeviceName,
    pub(crate) device_key: PublicKey,
    pub(crate) epoch: Option<Epoch>,
    /// What it has, and how often it came.
    pub(crate) events: BTreeMap<u64, (Digest, u32)>,
    /// The last seq of which a tail told.
    pub(crate) tail: u64,
    pub(crate) generation: u64,
}

impl ActingHub {
    /// Of this device, with nothing.
    pub(crate) fn new(device: &str, device_key: PublicKey) -> Self {
        Self {
            key: DeviceKey::generate().unwrap(),
            life: 1,
            device: device.parse().unwrap(),
            device_key,
            epoch: None,
            events: BTreeMap::new(),
            tail: 0,
            generation: 0,
        }
    }

    /// Takes an event.
    #[track_caller]
    pub(crate) fn take(&mut self, message: &[u8]) {
        let envelope = Envelope::from_message(message).unwrap();
        let claims = envelope.claims();
        self.epoch = Some(claims.epoch);
        let digest = claims.digest(&mut Vec::new());
        let entry = self.events.entry(claims.seq.get()).or_insert((digest, 0));
        assert_eq!(entry.0, digest, "two events at seq {}", claims.seq);
        entry.1 += 1;
    }

    /// Takes a tail, which has to be the device's.
    #[track_caller]
    pub(crate) fn take_tail(&mut self, message: &[u8]) {
        let tail = Tail::verify(message, &self.device_key).unwrap();
        assert_eq!(tail.device, self.device);
        self.epoch = Some(tail.epoch);
        self.tail = self.tail.max(tail.seq.get());
    }

    /// Up to here it has everything.
    pub(crate) fn complete_to(&self) -> u64 {
        let in_row = |(held, next): &(&u64, u64)| **held == *next;
        self.events.keys().zip(1..).take_while(in_row).count() as u64
    }

    /// What it has to say now.
    pub(crate) fn receipt(&mut self) -> Receipt {
        self.generation += 1;
        let complete_to = self.complete_to();
        let last = self.events.keys().next_back().copied().unwrap_or(0);
        let last = last.max(self.tail);
        let mut missing: Vec<SeqRange> = Vec::new();
        let mut from = complete_to + 1;
        for held in self.events.keys().copied().chain([last + 1]) {
            if held > complete_to {
                missing.extend(SeqRange::new(Seq::new(from), Seq::new(held - 1)));
                from = held + 1;
            }
        }
        missing.truncate(32);
        Receipt {
            missing,
            ..self.receipt_to(complete_to)
        }
    }

    /// A receipt up to a seq that it has, of this generation, in which nothing is missing.
    pub(crate) fn receipt_to(&self, accounted_to: u64) -> Receipt {
        let digest = self.events.get(&accounted_to);
        Receipt {
            hub: Uuid::from_u64_pair(self.life, 1),
            generation: self.generation,
            device: self.device.clone(),
            epoch: self.epoch.expect("it has heard of the device"),
            accounted_to: Seq::new(accounted_to),
            digest: digest.map_or(Digest::ZERO, |(digest, _)| *digest),
            quarantined: 0,
            missing: Vec::new(),
        }
    }
}
