//! The hub behind a sink, in memory: what it takes from the broker, what it says of that, and what
//! others say in its name.
//!
//! What the sink has taken waits at the broker, which may lose it. The hub takes it in, sets some of
//! it aside for a while, and accounts for each epoch as `docs/design.md` says of hubs: from its start
//! on, over what is held and what the ledger has declared. It may be restored from an earlier copy of
//! itself; then its next life begins. Its receipts are truly signed and may be lost, late, and come
//! again long after.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;
use uuid::Uuid;

use super::{super::account::life_of, dice::Dice};
use crate::{
    envelope::{DeviceName, Digest, EPOCH_STARTED, Epoch},
    journal::{SinkName, tests::scribe::Entry},
    receipt::{MAX_MISSING, Receipt},
    seq::{Seq, SeqRange},
    signing::{DeviceKey, PublicKey},
    tail::Tail,
};

/// PKCS#8 of the key that signs receipts, and of another one.
const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIAsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsL";
const OTHER_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIA0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0N";

/// The first of its lives, and from one to the next.
const FIRST_LIFE: u64 = 0x0197_0000_0000_7000;
const NEXT_LIFE: u64 = 1 << 16;

/// Messages that are remembered, to come again.
const ARCHIVE: usize = 64;

/// One in so many events is lost on its way from the broker, or set aside by the hub.
const LOST_EVERY: u64 = 9;
const ASIDE_EVERY: u64 = 16;

#[derive(Clone, Copy)]
struct Held {
    epoch: Epoch,
    digest: Digest,
}

/// What is in its database.
#[derive(Clone, Default)]
struct Books {
    held: BTreeMap<Seq, Held>,
    declared: Vec<SeqRange>,
    /// Digests that were told of what is not held.
    told: HashMap<Seq, Digest>,
    starts: HashMap<Epoch, Seq>,
    /// How far epochs go at least, in the order in which they were heard of.
    reach: Vec<(Epoch, Seq)>,
    aside: Vec<Entry>,
    generation: u64,
}

/// How far an epoch is accounted for.
struct Account {
    upto: Seq,
    digest: Digest,
    missing: Vec<SeqRange>,
}

/// What is said in the hub's name and is not true, or not new.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// By another key.
    Forged,
    /// Of another device.
    OtherDevice,
    /// Of an epoch that this journal never had.
    OtherEpoch,
    /// Of another history of an epoch.
    OtherHistory,
    /// Cut off, or no message at all.
    Noise,
    /// An old one.
    Again,
}

const LIES: [Lie; 8] = [
    Lie::Forged,
    Lie::OtherDevice,
    Lie::OtherEpoch,
    Lie::OtherHistory,
    Lie::Noise,
    Lie::Again,
    Lie::Again,
    Lie::Again,
];

/// See the module.
pub(super) struct Hub {
    sink: SinkName,
    device: DeviceName,
    key: DeviceKey,
    other_key: DeviceKey,
    /// At the broker.
    queue: VecDeque<Entry>,
    books: Books,
    copy: Option<Books>,
    life: u64,
    /// How far its receipts have gone, by life and epoch.
    covered: HashMap<(u64, Epoch), Seq>,
    archive: Vec<Vec<u8>>,
    /// The newest for each epoch, which the broker keeps.
    retained: Vec<(Epoch, Vec<u8>)>,
    /// What the broker kept of the life before: it comes once more after each word of this one.
    former: Vec<Vec<u8>>,
    /// On its way to the device.
    mail: VecDeque<Vec<u8>>,
}

impl Hub {
    pub(super) fn new(sink: SinkName) -> Self {
        let key = |text| DeviceKey::from_pkcs8_base64(text).unwrap();
        Self {
            sink,
            device: "kiosk-1".parse().unwrap(),
            key: key(KEY),
            other_key: key(OTHER_KEY),
            queue: VecDeque::new(),
            books: Books::default(),
            copy: None,
            life: FIRST_LIFE,
            covered: HashMap::new(),
            archive: Vec::new(),
            retained: Vec::new(),
            former: Vec::new(),
            mail: VecDeque::new(),
        }
    }

    pub(super) fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    pub(super) const fn device(&self) -> &DeviceName {
        &self.device
    }

    /// Whether it holds this event now.
    pub(super) fn holds(&self, seq: Seq, digest: Digest) -> bool {
        let held = self.books.held.get(&seq);
        held.is_some_and(|held| held.digest == digest)
    }

    /// Up to where receipts of this life have accounted for the epoch.
    pub(super) fn covered(&self, life: u64, epoch: Epoch) -> Seq {
        let covered = self.covered.get(&(life, epoch)).copied();
        covered.unwrap_or(Seq::NONE)
    }

    /// The broker has it.
    pub(super) fn arrives(&mut self, entry: Entry) {
        self.queue.push_back(entry);
    }

    /// The broker's storage is gone.
    pub(super) fn wipe_broker(&mut self) {
        self.queue.clear();
        self.retained.clear();
        self.mail.clear();
    }

    /// A connection ends, with what is on its way over it.
    pub(super) fn hang_up(&mut self) {
        self.mail.clear();
    }

    /// A connection begins: the broker brings what it keeps.
    pub(super) fn subscribed(&mut self) {
        self.mail.clear();
        let retained = self.retained.iter().map(|(_, message)| message.clone());
        self.mail.extend(retained);
    }

    /// The next message that has come to the device.
    pub(super) fn hear(&mut self) -> Option<Vec<u8>> {
        self.mail.pop_front()
    }

    /// Takes in what waits at the broker, all of it and without trouble where it is calm.
    pub(super) fn take(&mut self, dice: &mut Dice, calm: bool) {
        let aside = std::mem::take(&mut self.books.aside);
        for entry in aside {
            match calm || dice.one_in(3) {
                true => self.books.take(&entry, &self.sink),
                false => self.books.aside.push(entry),
            }
        }
        let most = match calm {
            true => self.queue.len(),
            false => dice.below(self.queue.len() as u64 + 1) as usize,
        };
        for entry in self.queue.drain(..most) {
            if calm || !(dice.one_in(LOST_EVERY) || dice.one_in(ASIDE_EVERY)) {
                self.books.take(&entry, &self.sink);
            } else if dice.one_in(2) {
                self.books.aside.push(entry);
            }
        }
        if !calm && dice.one_in(8) {
            self.copy = Some(self.books.clone());
        }
    }

    /// A copy of the database, or an empty one, is put in its place.
    pub(super) fn restore(&mut self, dice: &mut Dice) {
        let generation = self.books.generation;
        self.books = match self.copy.clone() {
            Some(copy) if dice.below(4) > 0 => copy,
            _ => Books::default(),
        };
        self.life += NEXT_LIFE;
        let kept = std::mem::take(&mut self.retained).into_iter();
        self.former = kept.map(|(_, message)| message).collect();
        // A life may begin to count anew, or go on.
        if dice.one_in(2) {
            self.books.generation = generation;
        }
    }

    /// The device has said how far its journal goes.
    pub(super) fn take_tail(&mut self, tail: &Tail) {
        assert_eq!(tail.device, self.device);
        self.books.told.insert(tail.seq, tail.digest);
        self.books.reaches(tail.epoch, tail.seq);
        self.say();
    }

    /// Says of every epoch how it stands.
    pub(super) fn say(&mut self) {
        let epochs: Vec<Epoch> = self.books.reach.iter().map(|(epoch, _)| *epoch).collect();
        for epoch in epochs {
            let receipt = self.receipt(epoch);
            let life = life_of(receipt.hub);
            let covered = self.covered.entry((life, epoch)).or_insert(Seq::NONE);
            *covered = receipt.accounted_to.max(*covered);
            let message = receipt.sign(&self.key).expect("a receipt can say it");
            self.retained.retain(|(of, _)| *of != epoch);
            self.retained.push((epoch, message.clone()));
            if self.archive.len() == ARCHIVE {
                self.archive.remove(0);
            }
            self.archive.push(message.clone());
            self.mail.push_back(message);
        }
        self.mail.extend(self.former.iter().cloned());
    }

    fn receipt(&mut self, epoch: Epoch) -> Receipt {
        let Account {
            upto,
            digest,
            missing,
        } = self.books.account(epoch);
        self.books.generation += 1;
        Receipt {
            hub: Uuid::from_u64_pair(self.life, 1),
            generation: self.books.generation,
            device: self.device.clone(),
            epoch,
            accounted_to: upto,
            digest,
            quarantined: self.books.aside.len() as u64,
            missing,
        }
    }

    /// Somebody says, where receipts come, that this event and all before it are safe, or what was
    /// said before.
    pub(super) fn lie(&mut self, dice: &mut Dice, (epoch, seq, digest): (Epoch, Seq, Digest)) {
        let lie = *dice.pick(&LIES);
        let all = Receipt {
            hub: Uuid::from_u64_pair(self.life, 1),
            generation: self.books.generation + 1,
            device: self.device.clone(),
            epoch,
            accounted_to: seq,
            digest,
            quarantined: 0,
            missing: Vec::new(),
        };
        let sign = |receipt: &Receipt, key: &DeviceKey| receipt.sign(key).unwrap();
        let message = match lie {
            Lie::Forged => sign(&all, &self.other_key),
            Lie::OtherDevice => {
                let device = "kiosk-2".parse().unwrap();
                sign(&Receipt { device, ..all }, &self.key)
            }
            Lie::OtherEpoch => {
                let bytes = Uuid::from_u64_pair(dice.roll(), dice.roll()).into_bytes();
                let epoch = Epoch::from_uuid(uuid::Builder::from_random_bytes(bytes).into_uuid());
                sign(&Receipt { epoch, ..all }, &self.key)
            }
            Lie::OtherHistory => {
                let mut digest = digest;
                digest.0[7] ^= 1;
                sign(&Receipt { digest, ..all }, &self.key)
            }
            Lie::Noise => {
                let mut message = sign(&all, &self.key);
                let at = dice.below(message.len() as u64) as usize;
                match dice.one_in(2) {
                    true => message.truncate(at),
                    false => message[at] ^= 1 << dice.below(8),
                }
                message
            }
            Lie::Again => match dice.index(self.archive.len()) {
                Some(index) => self.archive[index].clone(),
                None => return,
            },
        };
        self.mail.push_back(message);
    }
}

impl Books {
    fn take(&mut self, entry: &Entry, sink: &SinkName) {
        let (epoch, seq) = (entry.epoch, entry.seq);
        let digest = entry.digest;
        self.held.insert(seq, Held { epoch, digest });
        self.reaches(epoch, seq);
        if entry.event_type == EPOCH_STARTED {
            self.starts.insert(epoch, seq);
        } else {
            self.told.insert(seq.prev(), entry.prev);
        }
        if entry.number.is_none() {
            let said = serde_json::from_str(&entry.payload).unwrap();
            self.heed(&entry.event_type, &said, sink);
        }
    }

    fn heed(&mut self, event_type: &str, said: &Value, sink: &SinkName) {
        let range = |of: &Value| serde_json::from_value(of["range"].clone()).unwrap();
        let seq = |of: &Value| Seq::new(of["seq"].as_u64().unwrap());
        let digest = |of: &Value| of["digest"].as_str().unwrap().parse().unwrap();
        let members = |name: &str| said[name].as_array().cloned().unwrap_or_default();
        let is_ours = said["sink"].as_str() == Some(sink.as_str());
        match event_type {
            EPOCH_STARTED if !said["previous"].is_null() => {
                let before = &said["previous"];
                let epoch = serde_json::from_value(before["epoch"].clone()).unwrap();
                self.told.insert(seq(before), digest(before));
                self.reaches(epoch, seq(before));
            }
            "outbox.events_dropped.v1" => {
                self.declared.extend(members("ranges").iter().map(range));
                for member in members("ledger") {
                    let event_type = member["event_type"].as_str().unwrap();
                    self.heed(event_type, &member["payload"], sink);
                }
            }
            "outbox.sink_skipped.v1" if is_ours => self.declared.push(range(said)),
            "outbox.event_rejected.v1" if is_ours => {
                self.declared.extend(SeqRange::new(seq(said), seq(said)));
                self.told.insert(seq(said), digest(said));
            }
            _ => {}
        }
    }

    fn reaches(&mut self, epoch: Epoch, seq: Seq) {
        match self.reach.iter_mut().find(|(of, _)| *of == epoch) {
            Some((_, reach)) => *reach = seq.max(*reach),
            None => self.reach.push((epoch, seq)),
        }
    }

    fn digest(&self, epoch: Epoch, seq: Seq) -> Option<Digest> {
        let held = self.held.get(&seq).filter(|held| held.epoch == epoch);
        held.map(|held| held.digest)
    }

    fn is_declared(&self, seq: Seq) -> bool {
        self.declared.iter().any(|range| range.contains(seq))
    }

    fn account(&self, epoch: Epoch) -> Account {
        let reach = self.reach.iter().find(|(of, _)| *of == epoch);
        let end = reach.map_or(Seq::NONE, |(_, reach)| *reach);
        let start = self.starts.get(&epoch).copied();
        let is_there = |seq| self.digest(epoch, seq).is_some() || self.is_declared(seq);
        let mut upto = start.map_or(Seq::NONE, Seq::prev);
        while upto < end && is_there(upto.next()) {
            upto = upto.next();
        }
        let mut missing: Vec<SeqRange> = Vec::new();
        let mut seq = upto.next();
        while seq <= end && missing.len() <= MAX_MISSING {
            if !is_there(seq) {
                match missing.last_mut().filter(|last| last.last().next() == seq) {
                    Some(last) => *last = SeqRange::new(last.first(), seq).unwrap(),
                    None => missing.extend(SeqRange::new(seq, seq)),
                }
            }
            seq = seq.next();
        }
        missing.truncate(MAX_MISSING);
        // Where nobody has told the digest of what is declared, it is the last that is held.
        let known = self.digest(epoch, upto);
        let known = known.or_else(|| self.told.get(&upto).copied());
        let before = || {
            let mut before = self.held.range(..=upto).rev();
            let (seq, held) = before.find(|(_, held)| held.epoch == epoch)?;
            Some((*seq, held.digest))
        };
        let known = known.map(|digest| (upto, digest)).or_else(before);
        let known = known.filter(|_| upto > Seq::NONE);
        let (upto, digest) = known.unwrap_or((Seq::NONE, Digest::ZERO));
        Account {
            upto,
            digest,
            missing,
        }
    }
}
