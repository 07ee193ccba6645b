//! What redb still finds in a damaged journal.

use std::collections::BTreeMap;

use redb::{
    Database, DatabaseError, MultimapTableHandle, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, TableHandle,
};
use uuid::Uuid;

use crate::{
    envelope::Digest,
    journal::{
        core,
        cursor::{Checkpoint, SinkName},
        erasure::{self, StoredWish},
        error::{Fault, fault},
        ids,
        letters::Beside,
        row::{Group, RowError},
        state::{self, State},
        store::{self, CHECKPOINT, DEAD_LETTERS, GROUPS, IDS, RESERVED_PREFIX},
    },
    seq::Seq,
};

/// A dead letter: sink, seq, reason code.
pub(in crate::journal) type Letter = (SinkName, Seq, String);

/// What redb finds, as far as it came.
#[derive(Default)]
pub(super) struct Tree {
    /// The groups' first seqs and last digests, ascending.
    pub(super) groups: Vec<(Seq, Digest)>,
    /// Tail and newest checkpoint.
    pub(super) end: Option<(Seq, Checkpoint)>,
    pub(super) ids: BTreeMap<Seq, Vec<Uuid>>,
    pub(super) dead_letters: Vec<Letter>,
    pub(super) beside: Beside,
    pub(super) wishes: Vec<StoredWish>,
    /// The hub's life that each sink has believed last.
    pub(super) lives: Vec<(SinkName, u64)>,
    /// A program's tables, by name.
    pub(super) program_tables: Vec<String>,
    /// Whether the walk over the groups came to its end: they stand in their order, and are as many
    /// as redb has counted. Without that, what redb shows of the end says nothing.
    pub(super) is_walked: bool,
    /// Whether every one of them could be read, too.
    pub(super) has_all_groups: bool,
    /// The first thing that was wrong.
    pub(super) damage: Option<String>,
}

impl Tree {
    /// Reads what can be read.
    ///
    /// # Errors
    /// A later version wrote it.
    pub(super) fn read(database: &Database) -> Result<Self, Fault> {
        let mut tree = Self::default();
        match store::guarded(|| state::end(database)) {
            Ok(end) => tree.end = Some(end),
            Err(newer) if is_newer(&newer) => return Err(newer),
            Err(fault) => tree.note(&fault),
        }
        if let Err(fault) = store::guarded(|| State::load(database)) {
            tree.note(&fault);
        }
        tree.step(database, Self::read_groups);
        tree.step(database, Self::read_ids);
        tree.step(database, Self::read_dead_letters);
        tree.step(database, |tree, transaction| {
            tree.beside.read_notes(transaction)
        });
        tree.step(database, |tree, transaction| {
            tree.beside.read_rows(transaction)
        });
        tree.step(database, |tree, transaction| {
            erasure::read_wishes(transaction, &mut tree.wishes)?;
            tree.read_lives(transaction)
        });
        tree.step(database, Self::read_names);
        Ok(tree)
    }

    /// Finds out what reading does not show: whether every page is the one that was written, and
    /// whether redb can write. Where damage is known already there is no need: a panic of redb's in a
    /// commit may be followed by another one while it unwinds, which ends the process.
    pub(super) fn try_out(&mut self, database: &mut Database) {
        let tried = store::guarded(|| {
            // A program's tables cannot be taken over, so damage in them is no reason to.
            if self.program_tables.is_empty() {
                check_pages(database)?;
            }
            commit_on_trial(database)
        });
        if let Err(fault) = tried {
            self.note(&fault);
        }
    }

    /// Whether anything was wrong.
    pub(super) const fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// Of a journal that redb does not open.
    pub(super) fn absent(fault: &Fault) -> Self {
        let mut tree = Self::default();
        tree.note(fault);
        tree
    }

    /// There is a later state than what redb shows.
    pub(super) fn fall_behind(&mut self) {
        self.note(&Fault::Damaged("redb shows an older state of it".into()));
        self.end = None;
        self.is_walked = false;
        self.has_all_groups = false;
    }

    fn note(&mut self, fault: &Fault) {
        self.damage.get_or_insert_with(|| fault.to_string());
    }

    /// One part, of which what was read before a fault stays.
    fn step(
        &mut self,
        database: &Database,
        read: impl FnOnce(&mut Self, &ReadTransaction) -> Result<(), Fault>,
    ) {
        let done = store::guarded(|| read(self, &database.begin_read().map_err(fault)?));
        if let Err(fault) = done {
            self.note(&fault);
        }
    }

    fn read_groups(&mut self, transaction: &ReadTransaction) -> Result<(), Fault> {
        let table = transaction.open_table(GROUPS).map_err(fault)?;
        let mut damage = None;
        let mut last = Seq::NONE;
        let mut count = 0;
        for entry in table.iter().map_err(fault)? {
            let (key, value) = entry.map_err(fault)?;
            let first = Seq::new(key.value());
            count += 1;
            if first <= last {
                return Err(Fault::Damaged("its groups are out of order".into()));
            }
            match Group::decode(first, value.value()) {
                Ok(group) => {
                    last = group.last();
                    self.groups.push((first, group.head()));
                }
                Err(source) => {
                    last = first;
                    damage.get_or_insert(Fault::Row { seq: first, source });
                }
            }
        }
        if count != table.len().map_err(fault)? {
            return Err(Fault::Damaged("it does not find all its groups".into()));
        }
        self.is_walked = true;
        self.has_all_groups = damage.is_none();
        damage.map_or(Ok(()), Err)
    }

    fn read_ids(&mut self, transaction: &ReadTransaction) -> Result<(), Fault> {
        let table = transaction.open_table(IDS).map_err(fault)?;
        let mut whole = true;
        for entry in table.iter().map_err(fault)? {
            let (key, value) = entry.map_err(fault)?;
            let first = Seq::new(key.value());
            match ids::decode_row(first, value.value()) {
                Some(row) => drop(self.ids.insert(first, row.collect())),
                None => whole = false,
            }
        }
        match whole {
            true => Ok(()),
            false => Err(Fault::Damaged(
                "a row of ids does not match its checksum".into(),
            )),
        }
    }

    fn read_dead_letters(&mut self, transaction: &ReadTransaction) -> Result<(), Fault> {
        let table = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
        for entry in table.iter().map_err(fault)? {
            let (key, value) = entry.map_err(fault)?;
            let (name, seq) = key.value();
            let name = SinkName::new(name)
                .map_err(|_| Fault::Damaged("a dead letter is of no sink".into()))?;
            self.dead_letters
                .push((name, Seq::new(seq), value.value().to_owned()));
        }
        Ok(())
    }

    fn read_lives(&mut self, transaction: &ReadTransaction) -> Result<(), Fault> {
        let end = self.end.as_ref();
        for name in end.iter().flat_map(|(_, end)| end.cursors.keys()) {
            let life = core::life_of(transaction, name)?;
            self.lives.extend(life.map(|life| (name.clone(), life)));
        }
        Ok(())
    }

    fn read_names(&mut self, transaction: &ReadTransaction) -> Result<(), Fault> {
        let tables = transaction.list_tables().map_err(fault)?;
        let mut names: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
        let multimaps = transaction.list_multimap_tables().map_err(fault)?;
        names.extend(multimaps.map(|table| table.name().to_owned()));
        names.retain(|name| !name.starts_with(RESERVED_PREFIX));
        self.program_tables = names;
        Ok(())
    }
}

/// Compares every page with its checksum. Pages over the rows may be damaged where every row can
/// still be read in its order: then some are not found.
fn check_pages(database: &mut Database) -> Result<(), Fault> {
    let wrong =
        |what: String| Fault::Damaged(format!("its pages are not what was written ({what})"));
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err(wrong("redb would repair them".into())),
        Err(DatabaseError::Storage(StorageError::Io(error))) => Err(Fault::Io(error)),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// What redb keeps for itself can be damaged, too: free pages, the state of its allocator. That shows
/// when it writes. What it writes here goes nowhere.
fn commit_on_trial(database: &Database) -> Result<(), Fault> {
    for trial in [vec![0; 9_000], vec![1; 64]] {
        let transaction = store::begin(database)?;
        let mut table = transaction.open_table(GROUPS).map_err(fault)?;
        table.insert(u64::MAX, trial.as_slice()).map_err(fault)?;
        drop(table);
        let mut table = transaction.open_table(CHECKPOINT).map_err(fault)?;
        table.insert((), trial.as_slice()).map_err(fault)?;
        drop(table);
        transaction.commit().map_err(fault)?;
    }
    Ok(())
}

/// Whether a later version wrote it: then it is not damaged.
pub(super) fn is_newer(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Newer(_)
            | Fault::Row {
                source: RowError::Newer(_),
                ..
            }
    )
}
