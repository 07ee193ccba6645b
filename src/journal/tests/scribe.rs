//! What the writer does with the core, without its thread and its queue: one command after the
//! other, so that a simulation can stop between any two and at every call of the storage.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use redb::{ReadableTable as _, TableDefinition};
use uuid::Uuid;

use super::{
    super::{
        core::Interrupted,
        cursor::{Cursors, Forgotten, Progress},
        erasure::{self, StoredWish},
        error::RejectError,
        letters,
        reader::Reader,
        retention::{Retention, WhenFull},
        row::Group,
        staging::Staging,
        store::GROUPS,
    },
    *,
};
use crate::{
    envelope::{Chain, Digest, Envelope, Epoch, Kind, Record, Unverified, Verifier},
    journal::{
        Chosen, Claim, Cursor, DeadLetter, DeadLetterError, DeadLettersChanged, ReadError, Retry,
        Settled,
    },
    ledger::EpochReason,
    seq::{Seq, SeqRange},
    tail::Tail,
};

/// The program's own table: how many events each of its transactions appended.
const TALLY: TableDefinition<'_, u64, u64> = TableDefinition::new("tally");

/// Rows that are remembered as decoded, at most.
const DECODED_ROWS: usize = 4_096;

/// Small, so that redb reads from the storage again and again.
const CACHE_BYTES: usize = 64 * 1024;

/// So many persons have events.
const PERSONS: u64 = 4;

/// By which a person asks to be erased; one in so many events is that.
pub(crate) const ERASE_REQUEST: &str = "user.erase_requested.v1";
const REQUEST_EVERY: u64 = 29;

/// How a process begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boot {
    /// Draws what the process draws by chance.
    pub(crate) seed: u64,
    /// Which boot of the device it is; clocks go on from one to the next.
    pub(crate) number: u64,
    /// Whether its clock is set.
    pub(crate) clock_set: bool,
    /// The quota, in bytes.
    pub(crate) max_bytes: u64,
    /// What gives way where it is reached.
    pub(crate) when_full: WhenFull,
    /// Whether a request to erase somebody is fulfilled.
    pub(crate) erases_on_request: bool,
    /// Whether the device signs with its other key: each change of that begins an epoch.
    pub(crate) has_other_key: bool,
}

/// Who writes, in a process that begins so.
fn identity_at(boot: Boot) -> Identity {
    let key = |other| match other {
        true => DeviceKey::from_pkcs8_base64(OTHER_KEY).unwrap(),
        false => DeviceKey::from_pkcs8_base64(KEY).unwrap(),
    };
    Identity {
        key: key(boot.has_other_key),
        previous_key: Some(key(!boot.has_other_key)),
        ..identity()
    }
}

/// An event as a program hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) number: u64,
    pub(crate) payload: String,
}

impl Draft {
    fn event(&self) -> Event {
        let event_type = match self.number.is_multiple_of(REQUEST_EVERY) {
            true => ERASE_REQUEST,
            false => "quiz.submitted.v1",
        };
        Event::builder(event_type, person_of(self.number))
            .id(id_of(self.number))
            .payload(self.payload.as_str())
            .build()
            .unwrap()
    }
}

fn id_of(number: u64) -> Uuid {
    Uuid::from_u64_pair(number, 1)
}

/// Whose event it is.
pub(crate) fn person_of(number: u64) -> Uuid {
    Uuid::from_u64_pair(number % PERSONS, 2)
}

/// One event as the journal holds it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) digest: Digest,
    pub(crate) prev: Digest,
    /// The number of a program's event; none for one of the ledger.
    pub(crate) number: Option<u64>,
    pub(crate) event_type: String,
    /// Whether everything personal was erased from it.
    pub(crate) is_erased: bool,
    pub(crate) payload: String,
}

impl Entry {
    fn of(record: &Record<'_>) -> Self {
        let statement = &record.statement;
        let program = statement.kind == Kind::Program;
        let payload = record
            .private
            .as_ref()
            .map(|private| private.payload.to_vec());
        Self {
            seq: statement.seq,
            epoch: statement.epoch,
            digest: record.digest,
            prev: statement.prev,
            number: program.then(|| statement.id.as_u64_pair().0),
            event_type: statement.event_type.to_owned(),
            is_erased: record.private.is_none(),
            payload: String::from_utf8(payload.unwrap_or_default()).unwrap(),
        }
    }
}

/// Rows that were decoded before: the same bytes say the same again, and decoding costs as much as
/// everything else together.
#[derive(Default)]
pub(crate) struct Decoded(HashMap<RowKey, Vec<Arc<Entry>>>);

/// The first seq of a row, and its bytes.
type RowKey = (u64, Box<[u8]>);

impl Decoded {
    fn entries(&mut self, first: u64, row: &[u8]) -> &[Arc<Entry>] {
        if self.0.len() > DECODED_ROWS {
            self.0.clear();
        }
        self.0.entry((first, row.into())).or_insert_with(|| {
            let group = Group::decode(Seq::new(first), row).expect("what is held is decoded");
            let mut seq = group.first();
            let mut entries = Vec::new();
            while let Some(record) = group.record(seq) {
                entries.push(Arc::new(Entry::of(&record)));
                seq = seq.next();
            }
            entries
        })
    }
}

/// Everything that a journal says of itself.
pub(crate) struct Seen {
    pub(crate) epoch: Epoch,
    pub(crate) first_held: Seq,
    pub(crate) tail: Seq,
    pub(crate) entries: Vec<Arc<Entry>>,
    /// The first event of each row.
    pub(crate) firsts: BTreeSet<Seq>,
    pub(crate) cursors: Cursors,
    pub(crate) dead_letters: BTreeMap<(SinkName, Seq), DeadLetter>,
    pub(crate) tally: BTreeMap<u64, u64>,
    /// Who is still to be erased, and up to which seq.
    pub(crate) wishes: BTreeSet<(Uuid, Seq)>,
    /// Of each sink's hub, the life that was believed last.
    pub(crate) lives: BTreeMap<SinkName, u64>,
}

/// Why a program's transaction left nothing, or may have left something.
pub(crate) enum Undone {
    /// The program said so, or was refused.
    RolledBack(Option<AppendError>),
    /// The disk failed: it may be there or not.
    Unknown,
}

/// See the module.
pub(crate) struct Scribe {
    core: Core<FaultyStorage>,
    staging: Option<Staging>,
    boot: Boot,
    readings: u64,
}

impl Scribe {
    /// Opens the journal, or makes it. `None` where the disk failed, which is never taken for
    /// damage.
    pub(crate) fn open(storage: &FaultyStorage, boot: Boot) -> Option<Self> {
        let limits = Limits {
            max_bytes: boot.max_bytes,
            retention: Retention {
                when_full: boot.when_full,
                ..Retention::DEFAULT
            },
            ..LIMITS
        };
        let opened = Core::open(
            storage.clone(),
            identity_at(boot),
            limits,
            CACHE_BYTES,
            entropy(boot.seed),
            reading(boot, 0),
        );
        match opened {
            Ok(mut core) => {
                core.erase_on_request(boot.erases_on_request);
                Some(Self {
                    core,
                    staging: None,
                    boot,
                    readings: 0,
                })
            }
            Err(Fault::Io(_)) => None,
            Err(fault) => panic!("what the disk did is taken for damage: {fault:?}"),
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.readings += 1;
        reading(self.boot, self.readings)
    }

    /// The commit in the making.
    fn staging(&mut self) -> (&mut Core<FaultyStorage>, &mut Staging) {
        if self.staging.is_none() {
            let stamp = self.stamp();
            self.staging = Some(self.core.stage(stamp));
        }
        (&mut self.core, self.staging.as_mut().unwrap())
    }

    pub(crate) fn append(&mut self, batch: &[Draft]) -> Result<Vec<Appended>, AppendError> {
        let seal = |(index, draft): (usize, &Draft)| {
            let mut entropy = entropy(draft.number);
            Sealed::seal(draft.event(), index, LIMITS.max_payload_bytes, &mut entropy)
        };
        let request = batch
            .iter()
            .enumerate()
            .map(seal)
            .collect::<Result<_, _>>()?;
        let (core, staging) = self.staging();
        core.append(staging, request)
    }

    pub(crate) fn claim(&mut self, name: &SinkName, upto: Seq) -> Option<Seq> {
        let (core, staging) = self.staging();
        core.claim(staging, name, upto)
    }

    pub(crate) fn reject(
        &mut self,
        name: &SinkName,
        seq: Seq,
        code: &'static str,
    ) -> Result<(), RejectError> {
        let (core, staging) = self.staging();
        core.reject(staging, name, seq, code)
    }

    /// Gives a sink its place; what it has may be confirmed by receipts alone.
    pub(crate) fn register(
        &mut self,
        name: &SinkName,
        wanted: Wanted,
        by_receipts: bool,
    ) -> Cursor {
        let (core, staging) = self.staging();
        let cursor = core.register(staging, name, wanted);
        if by_receipts {
            core.await_receipts(name, cursor);
        }
        cursor
    }

    /// The life of the hub that the sink has believed last.
    pub(crate) fn life_of(&self, name: &SinkName) -> Result<Option<u64>, ()> {
        self.core.life_of(name).map_err(not_damaged)
    }

    /// A later life of the hub begins.
    pub(crate) fn begin_life(&mut self, name: &SinkName, life: u64) {
        let (core, staging) = self.staging();
        core.begin_life(staging, name, life);
    }

    /// The ledger is to say that these are trimmed.
    pub(crate) fn skip_trimmed(&mut self, name: &SinkName, range: SeqRange) {
        let (core, staging) = self.staging();
        core.skip_trimmed(staging, name, range);
    }

    /// Receipts have confirmed up to here.
    pub(crate) fn note_confirmed(&mut self, name: &SinkName, upto: Seq) {
        self.core.note_confirmed(name, upto);
    }

    /// How far the journal goes, as it is told to a hub.
    pub(crate) fn tail(&mut self) -> Tail {
        let stamp = self.stamp();
        let message = self.core.tail_message(stamp);
        let key = identity_at(self.boot).key.public_key();
        Tail::verify(&message, &key).unwrap()
    }

    pub(crate) fn note_progress(&mut self, name: &SinkName, progress: Progress) {
        self.core.note_progress(name, progress);
    }

    /// Takes what was noted into the commit in the making.
    pub(crate) fn settle(&mut self) {
        let (core, staging) = self.staging();
        core.advance(staging);
    }

    pub(crate) fn set_caught_up(&mut self, name: &SinkName, yes: bool) {
        self.core.set_caught_up(name, yes);
    }

    pub(crate) fn detach(&mut self, name: &SinkName) {
        self.core.detach(name);
    }

    pub(crate) fn is_attached(&self, name: &SinkName) -> bool {
        self.core.is_attached(name)
    }

    /// Notes which dead letters are to be sent again.
    pub(crate) fn retry(
        &mut self,
        name: &SinkName,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, DeadLetterError> {
        let (core, staging) = self.staging();
        core.retry(staging, name, chosen)
    }

    /// Takes dead letters off the list for good.
    pub(crate) fn discard(
        &mut self,
        name: &SinkName,
        chosen: Chosen,
    ) -> Result<DeadLettersChanged, DeadLetterError> {
        let (core, staging) = self.staging();
        core.discard(staging, name, chosen)
    }

    pub(crate) fn claim_retry(
        &mut self,
        name: &SinkName,
        seq: Seq,
        claim: Claim,
    ) -> Result<bool, ReadError> {
        let (core, staging) = self.staging();
        core.claim_retry(staging, name, seq, claim)
    }

    pub(crate) fn settle_retry(
        &mut self,
        name: &SinkName,
        seq: Seq,
        settled: Settled,
    ) -> Result<(), ReadError> {
        let (core, staging) = self.staging();
        core.settle_retry(staging, name, seq, settled)
    }

    /// What the sink is to be sent again next.
    pub(crate) fn next_retry(&self, name: &SinkName) -> Option<Retry> {
        self.core.next_retry(name)
    }

    /// Begins to erase a person; gives up to which seq. Comes after [`Self::flush`].
    pub(crate) fn begin_erasing(&mut self, person: Uuid) -> Result<Seq, ()> {
        assert!(self.staging.is_none(), "something is staged beside it");
        let wish = self.core.begin_erasing(person).map_err(not_damaged)?;
        Ok(wish.0)
    }

    /// Whether [`Self::erase_on`] has anything to do.
    pub(crate) fn is_erasing(&self) -> bool {
        self.core.is_erasing()
    }

    /// The next step of what is being erased. Comes after [`Self::flush`].
    pub(crate) fn erase_on(&mut self) -> Result<(), ()> {
        assert!(self.staging.is_none(), "something is staged beside it");
        let stamp = self.stamp();
        self.core.erase_on(stamp).map_err(not_damaged)
    }

    /// How often something was erased since the journal was opened.
    pub(crate) fn erasures(&self) -> u64 {
        self.core.erasures()
    }

    /// Compacts the file. Comes after [`Self::flush`].
    pub(crate) fn compact(&mut self) -> Result<(), ()> {
        assert!(self.staging.is_none(), "something is staged beside it");
        let stamp = self.stamp();
        self.core.compact(stamp).map(drop).map_err(not_damaged)
    }

    /// Makes durable what is staged. After an error, [`Self::reopen`] has to follow.
    pub(crate) fn flush(&mut self) -> Result<(), ()> {
        self.staging();
        let staging = self.staging.take().unwrap();
        self.core.commit(staging).map_err(not_damaged)
    }

    /// A program's transaction: writes how many events it appends beside them. Comes after
    /// [`Self::flush`], for it is alone in its commit.
    pub(crate) fn transact(
        &mut self,
        key: u64,
        batch: &[Draft],
        keep: bool,
    ) -> Result<Vec<Appended>, Undone> {
        assert!(self.staging.is_none(), "something is staged beside it");
        let stamp = self.stamp();
        let staging = self.core.stage(stamp);
        let ended = self.core.transact(staging, |transaction| {
            let mut table = transaction.open_table(TALLY).map_err(|_| None)?;
            table.insert(key, batch.len() as u64).map_err(|_| None)?;
            let mut places = Vec::new();
            for draft in batch {
                places.push(transaction.append(draft.event()).map_err(Some)?);
            }
            keep.then_some(places).ok_or(None)
        });
        ended.map_err(|interrupted| match interrupted {
            Interrupted::Program(error) => Undone::RolledBack(error),
            Interrupted::Committing(fault, _) | Interrupted::Fault(fault) => {
                not_damaged(fault);
                Undone::Unknown
            }
        })
    }

    /// Comes after [`Self::flush`], for nothing of the sink may be staged beside it.
    pub(crate) fn forget(&mut self, name: &SinkName) -> Result<Option<Forgotten>, ()> {
        assert!(self.staging.is_none(), "something is staged beside it");
        let stamp = self.stamp();
        self.core.forget(name, stamp).map_err(not_damaged)
    }

    /// A sink has shown that `from` is another event's: begins a new epoch. Gives whether events were
    /// taken back. Comes after [`Self::flush`].
    pub(crate) fn begin_epoch(&mut self, from: Seq) -> Result<bool, ()> {
        assert!(self.staging.is_none(), "something is staged beside it");
        let (reason, stamp) = (EpochReason::RolledBack, self.stamp());
        self.core
            .begin_epoch(reason, from, stamp)
            .map_err(not_damaged)
    }

    /// After a failed write: whether the journal is well again.
    pub(crate) fn reopen(&mut self) -> bool {
        self.staging = None;
        let stamp = self.stamp();
        self.core.reopen(stamp).map_err(not_damaged).is_ok()
    }

    /// Whether the disk failed a read, so that the journal has to be reopened.
    pub(crate) fn is_unread(&self) -> bool {
        self.core.store().is_unread()
    }

    /// The process ends as it should.
    pub(crate) fn close(self) {
        self.core.store().close();
    }

    /// Durable commits of this process.
    pub(crate) fn commits(&self) -> u64 {
        self.core.commits()
    }

    pub(crate) fn cursors(&self) -> &Cursors {
        self.core.cursors()
    }

    /// Under which seq the event of this number is remembered.
    pub(crate) fn find(&self, number: u64) -> Option<Seq> {
        self.core.find(&id_of(number))
    }

    /// Everything held from `from` to `to`.
    pub(crate) fn entries(&self, from: Seq, to: Seq) -> Result<Vec<Entry>, ReadError> {
        let batch = Reader::new(self.core.store().clone()).batch(from, usize::MAX, usize::MAX)?;
        let mut entries = Vec::new();
        for record in batch.records() {
            let record = record?;
            if record.statement.seq > to {
                break;
            }
            entries.push(Entry::of(&record));
        }
        Ok(entries)
    }

    /// The first event held from a seq on.
    pub(crate) fn first_entry(&self, from: Seq) -> Result<Option<Entry>, ReadError> {
        let batch = Reader::new(self.core.store().clone()).batch(from, 1, 1)?;
        let record = batch.records().next().transpose()?;
        Ok(record.map(|record| Entry::of(&record)))
    }

    /// The event of a dead letter; `None` where it is not held any more.
    pub(crate) fn dead_letter(&self, seq: Seq) -> Result<Option<Entry>, ReadError> {
        let batch = Reader::new(self.core.store().clone()).dead_letter(seq)?;
        let record = batch.records().next().transpose()?;
        Ok(record.map(|record| Entry::of(&record)))
    }

    /// Which events in the range are dead letters of this sink.
    pub(crate) fn rejected(&self, name: &SinkName, range: SeqRange) -> Result<Vec<Seq>, ReadError> {
        Reader::new(self.core.store().clone()).rejected(name, range)
    }

    /// Everything. The disk must be well.
    pub(crate) fn look(&self, decoded: &mut Decoded) -> Seen {
        let (mut entries, mut firsts) = (Vec::new(), BTreeSet::new());
        let beside = self.core.store().read(|transaction| {
            let groups = transaction.open_table(GROUPS).unwrap();
            for row in groups.iter().unwrap() {
                let (first, row) = row.unwrap();
                firsts.insert(Seq::new(first.value()));
                entries.extend_from_slice(decoded.entries(first.value(), row.value()));
            }
            let letters = letters::shown(transaction, None)?.into_iter();
            let letters = letters
                .map(|letter| ((letter.sink.clone(), letter.seq), letter))
                .collect();
            let tally = match transaction.open_table(TALLY) {
                Ok(table) => table
                    .iter()
                    .unwrap()
                    .map(|entry| entry.map(|(key, value)| (key.value(), value.value())))
                    .collect::<Result<_, _>>()
                    .unwrap(),
                Err(_) => BTreeMap::new(),
            };
            let mut wishes = Vec::new();
            erasure::read_wishes(transaction, &mut wishes)?;
            let wish = |(upto, who, _): StoredWish| (who.parse().unwrap(), upto);
            Ok((letters, tally, wishes.into_iter().map(wish).collect()))
        });
        let (dead_letters, tally, wishes) = beside.expect("a disk that is well is read");
        let names = self.core.cursors().keys();
        let lives = names.filter_map(|name| {
            let life = self.core.life_of(name).expect("a disk that is well");
            Some((name.clone(), life?))
        });
        let lives = lives.collect();
        Seen {
            epoch: self.core.epoch(),
            first_held: self.core.first_held(),
            tail: self.core.tail(),
            entries,
            firsts,
            cursors: self.core.cursors().clone(),
            dead_letters,
            tally,
            wishes,
            lives,
        }
    }

    /// Checks every signature and the chain, as a hub would.
    pub(crate) fn verify(&self) {
        let mut verifier = Verifier::new();
        for has_other_key in [false, true] {
            let boot = Boot {
                has_other_key,
                ..self.boot
            };
            verifier.trust(identity_at(boot).key.public_key());
        }
        let reader = Reader::new(self.core.store().clone());
        let batch = reader.batch(self.core.first_held(), usize::MAX, usize::MAX);
        let (mut chain, mut line) = (Chain::new(), Vec::new());
        for record in batch.expect("what is held is read").records() {
            line.clear();
            record.unwrap().render(false, true, &mut line);
            let envelope = Envelope::<Unverified>::parse(&line).unwrap();
            let envelope = verifier.verify(envelope).expect("what is held is signed");
            chain.extend(&envelope).expect("what is held is a chain");
        }
    }
}

/// A fault of the disk, which nobody may take for a reason to throw the journal away.
fn not_damaged(fault: Fault) {
    let disk = matches!(fault, Fault::Io(_) | Fault::Unavailable);
    assert!(disk, "what the disk did is taken for damage: {fault:?}");
}

fn reading(boot: Boot, reading: u64) -> Stamp {
    let boottime_us = 1 + reading * 1_000;
    let wall = 1_700_000_000_000_000 + boot.number as i64 * 1_000_000_000 + boottime_us as i64;
    Stamp {
        wall: Timestamp::from_micros(wall).unwrap(),
        sync: if boot.clock_set {
            ClockSync::Yes
        } else {
            ClockSync::No
        },
        boot_id: Uuid::from_u128(0xB007_0000 + u128::from(boot.number)),
        boottime_us,
    }
}
