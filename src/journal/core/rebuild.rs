//! A new journal from the groups that a recovery found.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::PathBuf,
};

use redb::WriteTransaction;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    super::{
        cursor::Cursors,
        entropy::Entropy,
        erasure::{self, Erasure},
        error::{Fault, fault},
        ids::{self, Ids, REMEMBERED_IDS},
        recovery::{Found, Letter, Plan},
        row::Group,
        staging::{Limits, Staging},
        state::{FORMAT, FORMAT_KEY, State},
        storage::Replace,
        store::{self, CHECKPOINT, DEAD_LETTERS, GROUPS, META, Store},
    },
    Core, Identity, Told, random_epoch,
};
use crate::{
    clock::Stamp,
    envelope::{Digest, Epoch, EpochEnd, Kind},
    ledger::{
        EVENT_REJECTED, EpochReason, EpochStarted, EventsLost, LedgerEvent, LossReason,
        PreviousEpoch,
    },
    seq::{Seq, SeqRange},
    signing::KeyId,
};

/// One transaction copies about so many bytes of rows.
const COPY_BYTES: usize = 4 * 1024 * 1024;

/// One event of the ledger names at most so many lost ranges.
const MAX_RANGES: usize = 256;

/// What a new journal takes beside its rows, at least, in bytes.
const OVERHEAD_BYTES: u64 = 4 * 1024 * 1024;

/// What came of it.
pub(in crate::journal) struct Rebuilt {
    pub(in crate::journal) epoch: Epoch,
    pub(in crate::journal) dead_letters: u64,
    pub(in crate::journal) kept_as: PathBuf,
}

/// Whatever the copied rows tell on the way.
struct Copied {
    bytes: u64,
    device: Option<String>,
    ids: HashMap<Seq, Uuid>,
    /// Sink and seq of every rejection in the ledger.
    rejections: HashSet<(String, Seq)>,
}

impl<S: Replace> Core<S> {
    /// Makes the journal beside the damaged one, and puts it in its place once it is whole. `row`
    /// reads a group's row.
    #[expect(
        clippy::too_many_arguments,
        reason = "what opens a journal, and what fills it"
    )]
    pub(in crate::journal) fn rebuild(
        mut storage: S,
        identity: Identity,
        limits: Limits,
        cache_bytes: usize,
        mut entropy: Entropy,
        stamp: Stamp,
        mut plan: Plan<'_>,
        row: impl Fn(&Found) -> io::Result<Vec<u8>>,
    ) -> Result<Rebuilt, Fault> {
        let bytes: u64 = plan.groups.iter().map(|group| group.length() as u64).sum();
        let bytes = bytes + plan.beside.row_bytes();
        // Pages are filled by half at the worst.
        storage.make_room(2 * bytes + OVERHEAD_BYTES)?;
        let store = Store::new(cache_bytes, storage.data_dir());
        let database = store.load(storage.create_beside()?)?;
        let tail = plan.next.prev();
        let oldest = Seq::new(tail.get().saturating_sub(REMEMBERED_IDS as u64)).next();
        let oldest = ids::row_of(oldest);
        let copied = copy(&database, &plan.groups, oldest, row)?;

        let mut checkpoint = plan.checkpoint;
        let dead_letters = believed(plan.dead_letters, &checkpoint.cursors, &copied.rejections);
        for (name, cursor) in &mut checkpoint.cursors {
            let own = dead_letters.iter().filter(|(sink, ..)| sink == name);
            cursor.dead_letters = own.count() as u64;
        }
        let first_held = plan.groups.first().map_or(plan.next, |group| group.first);
        plan.beside.keep_of(&dead_letters, first_held);
        let held_bytes = copied.bytes + plan.beside.row_bytes();
        // They are written anew, all that are remembered.
        checkpoint.ids_upto = oldest.prev();
        checkpoint.held_bytes = held_bytes;
        let device = match (identity.device, copied.device) {
            (Some(name), _) => name,
            (None, Some(name)) => name
                .parse()
                .map_err(|_| Fault::Damaged("the device's name is none".into()))?,
            (None, None) => super::derived_name(&identity.key.public_key().id())?,
        };
        let epoch = random_epoch(&mut entropy);
        let mut state = State::fresh(epoch);
        state.tail = tail;
        state.first_held = first_held;
        state.last_row = plan.groups.last().map_or(Seq::NONE, |group| group.first);
        state.held_bytes = held_bytes;
        state.checkpoint = checkpoint;
        state.ids = remembered(oldest, tail, &plan.ids, &copied.ids);
        let mut core = Self {
            storage,
            store,
            device,
            key_id: identity.key.public_key().id(),
            key: identity.key,
            source: identity.source,
            limits,
            entropy,
            state,
            sinks: BTreeMap::new(),
            buffer: Vec::new(),
            scratch: Vec::new(),
            commits: 0,
            last_stamp: stamp,
            erasure: Erasure::default(),
            told_dropped: Told::default(),
            compacted_to: 0,
        };
        let cursors = core.state.checkpoint.cursors.clone();
        let mut staging = Staging::new(&core.state, cursors, stamp);
        staging.lives = plan.lives;
        core.tell(&mut staging, plan.end, &plan.missing);
        let transaction = store::begin(&database)?;
        put_tables(&transaction, &dead_letters)?;
        plan.beside.put(&transaction)?;
        let end = plan.end.map_or(Seq::NONE, |(end, _)| end.seq);
        erasure::put_wishes(&transaction, &plan.wishes, end)?;
        core.put(&transaction, &mut staging, Digest::ZERO)?;
        transaction.commit().map_err(fault)?;
        drop(database);
        let kept_as = core.storage.replace()?;
        Ok(Rebuilt {
            epoch,
            dead_letters: dead_letters.len() as u64,
            kept_as,
        })
    }

    /// The start of the new epoch, and what it has no room for.
    fn tell(
        &mut self,
        staging: &mut Staging,
        end: Option<(EpochEnd, KeyId)>,
        missing: &[SeqRange],
    ) {
        let mut chunks = missing.chunks(MAX_RANGES).map(<[SeqRange]>::to_vec);
        let previous = end.map(|(end, key_id)| PreviousEpoch {
            epoch: end.epoch,
            seq: end.seq,
            digest: end.digest,
            key_id,
            cross_signature: None,
        });
        let started = EpochStarted {
            reason: EpochReason::Recovered,
            public_key: self.key.public_key(),
            previous,
            missing: Some(chunks.next().unwrap_or_default()),
        };
        staging.add_ledger(&LedgerEvent::EpochStarted(started), &mut self.entropy);
        for ranges in chunks {
            let lost = EventsLost {
                ranges,
                reason: LossReason::Damaged,
            };
            staging.add_ledger(&LedgerEvent::EventsLost(lost), &mut self.entropy);
        }
        staging.anchor_clock(&mut self.entropy);
    }
}

/// Copies the rows as they are.
fn copy(
    database: &redb::Database,
    groups: &[&Found],
    oldest: Seq,
    row: impl Fn(&Found) -> io::Result<Vec<u8>>,
) -> Result<Copied, Fault> {
    let mut copied = Copied {
        bytes: 0,
        device: None,
        ids: HashMap::new(),
        rejections: HashSet::new(),
    };
    let mut rest = groups.iter().peekable();
    while rest.peek().is_some() {
        let transaction = store::begin(database)?;
        {
            let mut table = transaction.open_table(GROUPS).map_err(fault)?;
            let mut bytes = 0;
            while bytes < COPY_BYTES
                && let Some(found) = rest.next()
            {
                let row = row(found)?;
                let group = Group::decode(found.first, &row).ok();
                let group = group.filter(|group| group.head() == found.head);
                let group = group.ok_or_else(|| {
                    io::Error::other("the damaged journal reads otherwise than before")
                })?;
                copied.note(&group, oldest);
                table
                    .insert(found.first.get(), row.as_slice())
                    .map_err(fault)?;
                bytes += row.len();
            }
            copied.bytes += bytes as u64;
        }
        transaction.commit().map_err(fault)?;
    }
    Ok(copied)
}

impl Copied {
    fn note(&mut self, group: &Group<'_>, oldest: Seq) {
        #[derive(Deserialize)]
        struct Rejected {
            sink: String,
            seq: Seq,
        }
        self.device = Some(group.device().to_owned());
        let mut seq = group.first();
        while let Some(record) = group.record(seq) {
            let statement = &record.statement;
            if seq >= oldest {
                self.ids.insert(seq, statement.id);
            }
            if statement.kind == Kind::Ledger && statement.event_type == EVENT_REJECTED {
                let payload = record.private.map_or(&[][..], |private| private.payload);
                if let Ok(Rejected { sink, seq }) = serde_json::from_slice(payload) {
                    self.rejections.insert((sink, seq));
                }
            }
            seq = seq.next();
        }
    }
}

/// The dead letters whose word can be taken: nothing protects them from a changed bit, and one in
/// doubt keeps its event from being sent again. That one has to be in the ledger, too.
fn believed(
    letters: Vec<Letter>,
    cursors: &Cursors,
    rejections: &HashSet<(String, Seq)>,
) -> Vec<Letter> {
    let is_believed = |(sink, seq, _): &Letter| {
        let cursor = cursors.get(sink);
        cursor.is_some_and(|cursor| {
            *seq <= cursor.acked || rejections.contains(&(sink.to_string(), *seq))
        })
    };
    letters.into_iter().filter(is_believed).collect()
}

/// The ids from `oldest` to `tail`; nil where one is not known.
fn remembered(
    oldest: Seq,
    tail: Seq,
    rows: &HashMap<Seq, Vec<Uuid>>,
    held: &HashMap<Seq, Uuid>,
) -> Ids {
    let mut remembered = Ids::starting_at(oldest);
    while remembered.next() <= tail {
        let seq = remembered.next();
        let row = ids::row_of(seq);
        let in_row = || {
            let index = usize::try_from(seq.since(row)).ok()?;
            rows.get(&row)?.get(index)
        };
        let id = held.get(&seq).or_else(in_row).copied();
        remembered.push(id.unwrap_or(Uuid::nil()));
    }
    remembered
}

/// Every table exists from the first commit on.
fn put_tables(transaction: &WriteTransaction, dead_letters: &[Letter]) -> Result<(), Fault> {
    transaction
        .open_table(META)
        .map_err(fault)?
        .insert(FORMAT_KEY, FORMAT)
        .map_err(fault)?;
    transaction.open_table(CHECKPOINT).map_err(fault)?;
    let mut table = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    for (sink, seq, code) in dead_letters {
        let key = (sink.as_str(), seq.get());
        table.insert(key, code.as_str()).map_err(fault)?;
    }
    Ok(())
}
