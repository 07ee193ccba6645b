//! The write side of the journal: a synchronous state machine over any storage.
//!
//! One call, one commit. Clock and randomness are handed in, and nothing here waits, spawns or
//! sends, so a simulation can replay it from a seed. [`super::writer`] is the thread around it.
//!
//! What a crash leaves: the commit before or the commit whole, never a part. A commit whose
//! write or sync failed may be either; [`Core::reopen`] finds out which before anything else is
//! answered.

mod commit;
mod compaction;
mod erase;
mod letters;
mod rebuild;
mod receipts;
mod retention;
mod rolled_back;

use std::collections::BTreeMap;

use uuid::Uuid;

pub(super) use self::receipts::life_of;
use self::{commit::Written, retention::Told};
use super::{
    cursor::{BY_HAND, Cursor, Cursors, Forgotten, Progress, SinkName, Start},
    entropy::Entropy,
    erasure::Erasure,
    error::{Fault, fault},
    guard::guarded_in,
    reader,
    sealed::Sealed,
    staging::{Appended, Limits, Staging, View},
    state::{FORMAT, FORMAT_KEY, State, Writer},
    storage::Storage,
    store::{self, META, Store},
    transaction::Transaction,
};
use crate::{
    clock::Stamp,
    envelope::{DeviceName, Digest, Epoch, Kind},
    journal::error::AppendError,
    ledger::{
        EpochReason, EpochStarted, LedgerEvent, PreviousEpoch, SinkForgotten, SinkSkipped,
        SkipReason,
    },
    seq::{Seq, SeqRange},
    signing::{DeviceKey, KeyId, Rotation},
};

/// Who writes.
pub(crate) struct Identity {
    /// As configured; otherwise remembered, otherwise derived from the key.
    pub(crate) device: Option<DeviceName>,
    /// Signs.
    pub(crate) key: DeviceKey,
    /// The key before, if it is at hand, to vouch for the new one.
    pub(crate) previous_key: Option<DeviceKey>,
    /// For events that name no source.
    pub(crate) source: Box<str>,
    /// Whether another key or device name than the journal's begins a new epoch. Otherwise the
    /// journal's name holds, and another key is refused.
    pub(crate) may_begin_epoch: bool,
    /// Whether the journal is on another board than the one that wrote it.
    pub(crate) new_board: NewBoard,
}

/// Whether a journal is on another board than the one that wrote it. Then it goes on in an epoch of
/// its own, under a name of its own where none is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewBoard {
    /// It is not.
    No,
    /// It is, and has a key of its own. Once the epoch has begun, it is under that key, so a start
    /// that was cut off begins no second one.
    UnderNewKey,
    /// It is, and signs with a key that was given to both boards.
    UnderSameKey,
}

/// What a sink asks for when it takes its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Whether trimming waits for it.
    pub(crate) required: bool,
    /// How far the claim may run ahead of what is confirmed, in events.
    pub(crate) window: u64,
    /// Where it begins if it has no place yet.
    pub(crate) start: Start,
}

/// How a sink takes part in commits while it is attached.
#[derive(Clone, Copy, Debug)]
struct Attachment {
    window: u64,
    /// Connected, with nothing left to send: a commit may raise the claim by itself.
    caught_up: bool,
    /// Learnt, and not yet durable.
    progress: Option<Progress>,
    /// What receipts have confirmed, where they and nothing else confirm.
    receipts: Option<Seq>,
}

impl Attachment {
    /// Whether its events are carried: receipts are all that it ever hears, and may take weeks.
    fn is_by_hand(&self) -> bool {
        self.receipts.is_some() && self.window == u64::from(BY_HAND)
    }
}

/// See the module.
pub(crate) struct Core<S> {
    storage: S,
    store: Store,
    device: DeviceName,
    key: DeviceKey,
    key_id: KeyId,
    source: Box<str>,
    limits: Limits,
    entropy: Entropy,
    state: State,
    sinks: BTreeMap<SinkName, Attachment>,
    erasure: Erasure,
    /// Reused for every row.
    buffer: Vec<u8>,
    /// Reused for every statement.
    scratch: Vec<u8>,
    commits: u64,
    last_stamp: Stamp,
    told_dropped: Told,
    /// The file's length after the last compaction of this process.
    compacted_to: u64,
}

impl<S: Storage> Core<S> {
    /// Opens the journal, or makes one. Ends with one durable commit: what the journal shows
    /// might otherwise be what an earlier process wrote and never synced. One that is refused is
    /// left as it was, to the byte.
    pub(crate) fn open(
        storage: S,
        identity: Identity,
        limits: Limits,
        cache_bytes: usize,
        entropy: Entropy,
        stamp: Stamp,
    ) -> Result<Self, Fault> {
        let dir = storage.data_dir();
        guarded_in(dir.as_ref(), || {
            Self::open_unguarded(storage, identity, limits, cache_bytes, entropy, stamp)
        })
    }

    fn open_unguarded(
        mut storage: S,
        identity: Identity,
        limits: Limits,
        cache_bytes: usize,
        mut entropy: Entropy,
        stamp: Stamp,
    ) -> Result<Self, Fault> {
        let existing = storage.open()?;
        let new_board = match existing {
            Some(_) => identity.new_board,
            None => NewBoard::No,
        };
        let key_id = identity.key.public_key().id();
        let may_begin_epoch = identity.may_begin_epoch;
        let configured = identity.device;
        let store = Store::new(cache_bytes, storage.data_dir());
        let mut core = Self {
            storage,
            store,
            device: match &configured {
                Some(name) => name.clone(),
                None => derived_name(&key_id)?,
            },
            key: identity.key,
            key_id,
            source: identity.source,
            limits,
            state: State::fresh(random_epoch(&mut entropy)),
            entropy,
            sinks: BTreeMap::new(),
            erasure: Erasure::default(),
            buffer: Vec::new(),
            scratch: Vec::new(),
            commits: 0,
            last_stamp: stamp,
            told_dropped: Told::default(),
            compacted_to: 0,
        };
        let backend = match existing {
            Some(backend) => backend,
            None => {
                core.create(stamp)?;
                core.storage.open()?.ok_or_else(|| {
                    Fault::Damaged("the journal that was just made is not there".into())
                })?
            }
        };
        let (database, release) = core.store.load_held(backend)?;
        let (state, writer) = State::load(&database)?;
        core.state = state;
        core.erasure.load(&database)?;
        let Writer {
            device,
            key_id: writer_key,
            seal: (size, root, signature),
        } = writer;
        if writer_key == key_id && !core.key.public_key().verify_group(size, &root, &signature) {
            return Err(Fault::Damaged(
                "its last group was not signed by this device".into(),
            ));
        }
        if writer_key != key_id && !may_begin_epoch {
            return Err(Fault::OtherKey {
                journal: writer_key,
                given: key_id,
            });
        }
        let keeps_name = configured.is_none() && new_board == NewBoard::No;
        if keeps_name || !may_begin_epoch {
            // Under another key too: a device does not become another one by rotating its key.
            core.device = device
                .parse()
                .map_err(|_| Fault::Damaged("the device's name is none".into()))?;
        }
        let reason = if new_board == NewBoard::UnderSameKey
            || (new_board == NewBoard::UnderNewKey && writer_key != key_id)
        {
            Some(EpochReason::HardwareChanged)
        } else if writer_key != key_id {
            Some(EpochReason::KeyChanged)
        } else if core.device.as_str() != device {
            Some(EpochReason::DeviceRenamed)
        } else {
            None
        };
        if let Some(reason) = reason {
            tracing::warn!(
                ?reason,
                old_device = %device,
                new_device = %core.device,
                old_key = %writer_key,
                new_key = %key_id,
                "the journal was written under another identity"
            );
        }
        // A key that came with a copied card vouches for nobody.
        let cross_signer = identity
            .previous_key
            .filter(|old| old.public_key().id() == writer_key && new_board == NewBoard::No);
        // It is ours: from here on it may be changed.
        release.release()?;
        core.confirm(&database, reason, writer_key, cross_signer.as_ref(), stamp)?;
        core.store.show(database);
        Ok(core)
    }

    /// Makes a journal apart, and puts it in place once it is whole.
    fn create(&mut self, stamp: Stamp) -> Result<(), Fault> {
        let backend = self.storage.create()?;
        let database = self.store.load(backend)?;
        let mut staging = Staging::new(&self.state, Cursors::new(), stamp);
        let started = EpochStarted {
            reason: EpochReason::FreshJournal,
            public_key: self.key.public_key(),
            previous: None,
            missing: None,
        };
        staging.add_ledger(&LedgerEvent::EpochStarted(started), &mut self.entropy);
        let transaction = store::begin(&database)?;
        transaction
            .open_table(META)
            .map_err(fault)?
            .insert(FORMAT_KEY, FORMAT)
            .map_err(fault)?;
        self.put(&transaction, &mut staging, Digest::ZERO)?;
        transaction.commit().map_err(fault)?;
        drop(database);
        Ok(self.storage.adopt()?)
    }

    /// Makes durable what the database shows: with the first event of a new epoch where there is
    /// a reason for one, else by writing the checkpoint again.
    fn confirm(
        &mut self,
        database: &redb::Database,
        reason: Option<EpochReason>,
        previous_key: KeyId,
        cross_signer: Option<&DeviceKey>,
        stamp: Stamp,
    ) -> Result<(), Fault> {
        let mut staging = self.stage_cursors(stamp);
        let prev = match reason {
            Some(reason) => self.start_epoch(&mut staging, reason, previous_key, cross_signer),
            None => self.state.head,
        };
        staging.anchor_clock(&mut self.entropy);
        let transaction = store::begin(database)?;
        let written = self.put(&transaction, &mut staging, prev)?;
        transaction.commit().map_err(fault)?;
        self.adopt(written, staging);
        Ok(())
    }

    /// After a failed write: opens the bytes afresh, checks that everything acknowledged is
    /// there, and makes what is there durable. Until this succeeds nothing is read or written.
    pub(crate) fn reopen(&mut self, stamp: Stamp) -> Result<(), Fault> {
        self.store.close();
        let dir = self.store.dir().cloned();
        let database = guarded_in(dir.as_ref(), || self.reopen_closed(stamp))?;
        self.store.show(database);
        Ok(())
    }

    fn reopen_closed(&mut self, stamp: Stamp) -> Result<redb::Database, Fault> {
        let backend = self
            .storage
            .open()?
            .ok_or_else(|| Fault::Damaged("the journal's file is gone".into()))?;
        let database = self.store.load(backend)?;
        let (state, writer) = State::load(&database)?;
        let acknowledged = (self.state.tail, self.state.head);
        // A cursor can be rolled back too, and then what left is not claimed.
        let whole = state.checkpoint.revision >= self.state.checkpoint.revision
            && holds(&database, acknowledged, state.first_held)?;
        let reason = (!whole).then_some(EpochReason::RolledBack);
        if reason.is_some() {
            // The seqs after the tail come again: what was learnt of the old ones, and whoever
            // learnt it, must not speak for the new ones.
            self.sinks.clear();
        }
        self.erasure.load(&database)?;
        let before = std::mem::replace(&mut self.state, state);
        let confirmed =
            store::guarded(|| self.confirm(&database, reason, writer.key_id, None, stamp));
        if let Err(fault) = confirmed {
            // What was acknowledged is what the next attempt has to find.
            self.state = before;
            return Err(fault);
        }
        Ok(database)
    }

    /// Puts the first event of a new epoch into the commit, and gives its `prev`. The key before
    /// vouches for the one in use where it is at hand.
    fn start_epoch(
        &mut self,
        staging: &mut Staging,
        reason: EpochReason,
        previous_key: KeyId,
        cross_signer: Option<&DeviceKey>,
    ) -> Digest {
        let epoch = random_epoch(&mut self.entropy);
        let public_key = self.key.public_key();
        let cross_signature = cross_signer.map(|old| {
            old.sign_rotation(&Rotation {
                new_key: &public_key,
                device: &self.device,
                epoch,
            })
        });
        let started = EpochStarted {
            reason,
            previous: Some(PreviousEpoch {
                epoch: self.state.epoch,
                seq: self.state.tail,
                digest: self.state.head,
                key_id: previous_key,
                cross_signature,
            }),
            public_key,
            missing: None,
        };
        staging.epoch = epoch;
        staging.add_ledger(&LedgerEvent::EpochStarted(started), &mut self.entropy);
        tracing::warn!(?reason, %epoch, "a new epoch begins");
        Digest::ZERO
    }

    /// Begins a commit: what the sinks have learnt since the last one is in it already.
    pub(super) fn stage(&mut self, stamp: Stamp) -> Staging {
        let mut staging = self.stage_cursors(stamp);
        staging.anchor_clock(&mut self.entropy);
        staging
    }

    /// As [`Self::stage`], without an event: the first of an epoch is its start.
    fn stage_cursors(&mut self, stamp: Stamp) -> Staging {
        self.state.remember();
        let cursors = self.state.checkpoint.cursors.clone();
        let mut staging = Staging::new(&self.state, cursors, stamp);
        self.advance(&mut staging);
        staging
    }

    /// Takes what the sinks have learnt into the commit.
    pub(super) fn advance(&self, staging: &mut Staging) {
        for (name, attachment) in &self.sinks {
            let cursor = staging.cursors.get_mut(name);
            let Some(cursor) = cursor else { continue };
            if let Some(progress) = attachment.progress {
                cursor.advance(progress);
            }
            cursor.confirm(attachment.receipts.unwrap_or(cursor.acked));
        }
    }

    /// Takes a whole request into the commit, or nothing of it.
    pub(super) fn append(
        &self,
        staging: &mut Staging,
        request: Vec<Sealed>,
    ) -> Result<Vec<Appended>, AppendError> {
        staging.append(self.view(), request)
    }

    /// Whether not even a small event finds room beside what is staged.
    pub(super) fn is_full(&self, staging: &Staging) -> bool {
        staging.is_full(self.view())
    }

    /// Raises a sink's claim in the commit, to at most `acked + window` and the tail. Gives the
    /// claim that will be in force.
    pub(super) fn claim(&self, staging: &mut Staging, name: &SinkName, upto: Seq) -> Option<Seq> {
        let window = self.sinks.get(name)?.window;
        let tail = staging.tail();
        let cursor = staging.cursors.get_mut(name)?;
        let bound = cursor.acked.plus(window).min(tail);
        cursor.claimed = cursor.claimed.max(upto.min(bound));
        Some(cursor.claimed)
    }

    /// Gives a sink its place: the one it had, or a new one. What a new sink will not get, for it
    /// was trimmed before or lies before where the sink wants to start, is in the ledger.
    pub(super) fn register(
        &mut self,
        staging: &mut Staging,
        name: &SinkName,
        wanted: Wanted,
    ) -> Cursor {
        let Wanted {
            required,
            window,
            start,
        } = wanted;
        let attachment = Attachment {
            window,
            caught_up: false,
            progress: None,
            receipts: None,
        };
        self.sinks.insert(name.clone(), attachment);
        if let Some(cursor) = staging.cursors.get_mut(name) {
            cursor.required = required;
            return *cursor;
        }
        let (before, reason) = match start {
            Start::Oldest => (self.state.first_held.prev(), SkipReason::Trimmed),
            Start::Now => (staging.tail(), SkipReason::StartNow),
        };
        if let Some(range) = SeqRange::new(Seq::FIRST, before) {
            let skipped = SinkSkipped {
                sink: name.as_str(),
                range,
                reason,
            };
            staging.add_ledger(&LedgerEvent::SinkSkipped(skipped), &mut self.entropy);
        }
        let cursor = Cursor::after(before, required);
        staging.cursors.insert(name.clone(), cursor);
        cursor
    }

    /// Takes a sink's place away, in a commit of its own: cursor and dead letters go, the ledger
    /// says what the sink had not confirmed, and whatever was kept for it alone is trimmed. `None`
    /// where it has no place. Whoever is attached must not be forgotten.
    pub(super) fn forget(
        &mut self,
        name: &SinkName,
        stamp: Stamp,
    ) -> Result<Option<Forgotten>, Fault> {
        self.detach(name);
        let mut staging = self.stage(stamp);
        let tail = staging.tail();
        let Some(cursor) = staging.cursors.remove(name) else {
            return Ok(None);
        };
        let event = SinkForgotten {
            sink: name.as_str(),
            required: cursor.required,
            range: SeqRange::new(cursor.confirmed.next(), tail),
            dead_letters: cursor.dead_letters,
        };
        staging.add_ledger(&LedgerEvent::SinkForgotten(event), &mut self.entropy);
        staging.forgotten = Some(name.clone());
        let prev = self.state.head;
        self.write(staging, prev)?;
        Ok(Some(Forgotten {
            sink: name.clone(),
            pending: tail.since(cursor.acked),
            dead_letters: cursor.dead_letters,
        }))
    }

    /// The forwarder has gone; its place stays.
    pub(super) fn detach(&mut self, name: &SinkName) {
        self.sinks.remove(name);
    }

    /// Notes what a sink has learnt, for the next commit. Held to the claim in force now: of what
    /// is claimed later, nothing had left when this was learnt.
    pub(super) fn note_progress(&mut self, name: &SinkName, mut progress: Progress) {
        let cursor = self.state.checkpoint.cursors.get(name);
        if let (Some(attachment), Some(cursor)) = (self.sinks.get_mut(name), cursor) {
            progress.acked = progress.acked.min(cursor.claimed);
            attachment.progress = Some(progress);
        }
    }

    /// Whether the sink's task speaks for it: not after a rollback, until it is attached anew.
    pub(super) fn is_attached(&self, name: &SinkName) -> bool {
        self.sinks.contains_key(name)
    }

    /// Lets commits raise the sink's claim by themselves, or no longer.
    pub(super) fn set_caught_up(&mut self, name: &SinkName, yes: bool) {
        if let Some(attachment) = self.sinks.get_mut(name) {
            attachment.caught_up = yes;
        }
    }

    /// Writes the commit, if there is anything to write. After an error nothing is known of it;
    /// [`Self::reopen`] must follow.
    pub(super) fn commit(&mut self, staging: Staging) -> Result<(), Fault> {
        if !staging.changes(&self.state) && !self.makes_room(&staging)? {
            self.forget_durable_progress();
            return Ok(());
        }
        let prev = self.state.head;
        self.write(staging, prev)
    }

    fn write(&mut self, mut staging: Staging, prev: Digest) -> Result<(), Fault> {
        let store = self.store.clone();
        let written = store.write(|transaction| self.put(transaction, &mut staging, prev))?;
        self.adopt(written, staging);
        Ok(())
    }

    /// Runs a program's closure alone in a commit, with its own tables and its appends.
    pub(super) fn transact<T, E>(
        &mut self,
        staging: Staging,
        run: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, Interrupted<T, E>> {
        let store = self.store.clone();
        let mut ran = None;
        let ended = store.write(|transaction| {
            let (value, mut staging) = Transaction::run(transaction, self.view(), staging, run)
                .map_err(Interrupted::Program)?;
            ran = Some(value);
            let prev = self.state.head;
            let written = self.put(transaction, &mut staging, prev)?;
            Ok((written, staging))
        });
        match (ended, ran) {
            (Ok((written, staging)), Some(value)) => {
                self.adopt(written, staging);
                Ok(value)
            }
            (Err(Interrupted::Fault(fault)), Some(value)) => {
                Err(Interrupted::Committing(fault, value))
            }
            (Err(error), _) => Err(error),
            (Ok(_), None) => unreachable!("a commit follows a closure that returned"),
        }
    }

    /// Takes over what was committed.
    fn adopt(&mut self, written: Written, mut staging: Staging) {
        self.commits += 1;
        self.last_stamp = staging.stamp;
        self.state.epoch = staging.epoch;
        self.state.tail = written.tail;
        self.state.head = written.head;
        if written.first_held > self.state.first_held {
            self.state.short_of_room.set(false);
        }
        self.state.first_held = written.first_held;
        self.state.last_row = written.last_row;
        self.state.held_bytes = written.held_bytes;
        self.state.checkpoint = written.checkpoint;
        let letters = std::mem::take(&mut staging.dead_letters);
        self.state
            .letters
            .adopt(letters, staging.forgotten.as_ref());
        let wished = self.wished(&staging);
        self.erasure.wishes.extend(wished);
        let programs = |sealed: &&Sealed| sealed.kind == Kind::Program;
        let meter = self.store.meter();
        meter
            .appended
            .add(staging.events.iter().filter(programs).count() as u64);
        meter.dropped.add(written.dropped);
        meter.committed.add(staging.events.len() as u64);
        self.state.committed = staging.events;
        self.forget_durable_progress();
    }

    /// Does what of the last commit nobody had to wait for. Whoever needs it before does it, too.
    pub(super) fn remember(&mut self) {
        self.state.remember();
    }

    /// What a sink has learnt waits no longer once the cursor says it. One that the journal has
    /// passed, or that says nothing new, must not wait for ever for a commit.
    fn forget_durable_progress(&mut self) {
        for (name, attachment) in &mut self.sinks {
            let durable = self.state.checkpoint.cursors.get(name);
            let done = |progress: &Progress| durable.is_some_and(|c| c.acked >= progress.acked);
            if attachment.progress.as_ref().is_some_and(done) {
                attachment.progress = None;
            }
        }
    }

    fn view(&self) -> View<'_> {
        View {
            state: &self.state,
            store: &self.store,
            limits: self.limits,
        }
    }

    /// The device's name.
    pub(crate) fn device(&self) -> &DeviceName {
        &self.device
    }

    /// The id of the key that signs.
    pub(crate) fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The current epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        self.state.epoch
    }

    /// The last committed event.
    pub(crate) fn tail(&self) -> Seq {
        self.state.tail
    }

    /// The first event held.
    pub(crate) fn first_held(&self) -> Seq {
        self.state.first_held
    }

    /// Bytes of all rows held.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.state.held_bytes
    }

    /// The cursors as the last commit left them.
    pub(crate) fn cursors(&self) -> &Cursors {
        &self.state.checkpoint.cursors
    }

    /// The seq of a remembered id.
    pub(crate) fn find(&self, id: &Uuid) -> Option<Seq> {
        self.state.find(id)
    }

    /// The clocks as the last commit read them.
    pub(crate) fn last_stamp(&self) -> Stamp {
        self.last_stamp
    }

    /// Whether an append was refused for want of room, and nothing has been trimmed since.
    pub(super) fn is_short_of_room(&self) -> bool {
        self.state.short_of_room.get()
    }

    /// Whether anything that a sink has learnt waits for a commit.
    pub(super) fn has_progress(&self) -> bool {
        let cursors = &self.state.checkpoint.cursors;
        self.sinks.iter().any(|(name, attachment)| {
            let confirms = |cursor: &Cursor| {
                let receipts = attachment.receipts.unwrap_or(Seq::NONE);
                receipts.min(cursor.acked) > cursor.confirmed
            };
            attachment.progress.is_some() || cursors.get(name).is_some_and(confirms)
        })
    }

    /// Durable commits since open.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }
}

/// Opens a journal that is there, and closes it again, without writing to it: fails where another
/// process has it open, or where it would be refused for what is in it. Gives the key that its last
/// event was signed with; `None` where there is no journal.
pub(crate) fn try_open<S: Storage>(
    mut storage: S,
    cache_bytes: usize,
) -> Result<Option<KeyId>, Fault> {
    let dir = storage.data_dir();
    guarded_in(dir.as_ref(), || {
        let Some(backend) = storage.open()? else {
            return Ok(None);
        };
        let (database, _held) = Store::new(cache_bytes, dir.clone()).load_held(backend)?;
        Ok(Some(State::load(&database)?.1.key_id))
    })
}

impl<S> Drop for Core<S> {
    /// What redb says to being closed over damaged bytes is no panic of whoever lets go of the
    /// journal.
    fn drop(&mut self) {
        self.store.close();
    }
}

impl<S> Core<S> {
    /// The way for readers.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// Why a program's transaction did not commit.
pub(super) enum Interrupted<T, E> {
    /// The closure said so; nothing was written.
    Program(E),
    /// The disk failed after the closure had returned its value: it may be there or not.
    Committing(Fault, T),
    /// The disk failed before the closure ran.
    Fault(Fault),
}

impl<T, E> From<Fault> for Interrupted<T, E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A name for a device that was given none: stable as long as its key is.
pub(crate) fn derived_name(key_id: &KeyId) -> Result<DeviceName, Fault> {
    let short: String = key_id
        .0
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("edge-{short}")
        .parse()
        .map_err(|_| Fault::Damaged("no name can be derived from the key".into()))
}

fn random_epoch(entropy: &mut Entropy) -> Epoch {
    let mut bytes = [0; 16];
    entropy(&mut bytes);
    Epoch::from_uuid(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Whether the database holds this event with this digest. One that was trimmed counts as held.
fn holds(
    database: &redb::Database,
    (seq, digest): (Seq, Digest),
    first_held: Seq,
) -> Result<bool, Fault> {
    use redb::ReadableDatabase;
    if seq < first_held {
        return Ok(true);
    }
    let transaction = database.begin_read().map_err(fault)?;
    let found = reader::with_record(&transaction, seq, |record| record.digest)?;
    Ok(found == Some(digest))
}
