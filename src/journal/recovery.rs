//! A journal that is damaged: what of it still verifies, taken over into a new one.
//!
//! # What is taken
//!
//! Every group whose row matches its checksum and whose events are vouched for: by the group's
//! signature, under the device's key or one that the start of an epoch names, or by the chain from
//! such a group back to it. Groups are looked for in the whole file ([`scan`]), with or without redb
//! ([`tree`]), so a page, a tree or a header that is damaged costs no event but those whose own row
//! was hit. The rows are copied as they are: an event keeps epoch, seq, digest and signature.
//!
//! Cursors come from the newest checkpoint that matches its checksum. Where the end of the journal is
//! not known for sure, everything after `acked` counts as in doubt, and is marked when it is sent
//! again. Of a group of which older rows stand in free pages, too, the one with most in it is copied,
//! without what the ledger calls erased ([`taken`]). Ids and dead letters are taken as far as they can be read; a dead letter of something in
//! doubt only where the ledger has it, too, for nothing else protects it from a changed bit. Their
//! notes and the rows kept of them come along where they verify, and so do wishes to erase somebody. A
//! program's own tables cannot be copied without their types: they stay in the damaged file.
//!
//! What the medium does not give ([`Patient`]) counts as zeros, to redb and to the scan, once it was tried
//! again for a while. Where no group is found beside it, nothing is done.
//!
//! # What is new
//!
//! An epoch. Its first event, `outbox.epoch_started.v1`, has the reason `recovered`, where the epoch
//! before ended as far as that is known, and which seqs are missing. Where the end is not known, its seq
//! lies [`GAP`] beyond the last one that anything tells of.
//!
//! # What a crash leaves
//!
//! The damaged journal in its place, until the new one is whole and durable and takes it: one rename.
//! The damaged file stays beside it. Nothing writes to it.
//!
//! # Limits
//!
//! About 400 bytes of memory for each group found, 8 for each event erased, and 32 MiB. A group that was signed, never
//! acknowledged, and stands right below a hole cannot be told from one that was.

mod checksum;
mod found;
mod line;
mod patient;
mod scan;
mod taken;
mod tree;
mod untouched;

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use redb::StorageBackend;

pub(super) use self::{found::Found, tree::Letter};
use self::{
    line::{Floor, Line},
    patient::Patient,
    scan::Scan,
    taken::Taken,
    tree::Tree,
    untouched::Untouched,
};
use super::{
    core::{Core, Identity},
    cursor::{Checkpoint, Cursor, SinkName},
    damage,
    entropy::Entropy,
    erasure::StoredWish,
    error::Fault,
    guard::in_dir,
    letters::Beside,
    row::Group,
    staging::Limits,
    storage::Replace,
    store::{self, Store},
};
use crate::{
    clock::Stamp,
    envelope::{Epoch, EpochEnd},
    seq::{Seq, SeqRange},
    signing::{KeyId, PublicKey},
};

/// So many seqs are left out where the end of the journal is not known: the largest window of a sink,
/// beyond which nothing that was not confirmed can have been sent.
const GAP: u64 = 16_384;

/// What a recovery saved, and what it did not.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Recovery {
    /// What was wrong first.
    pub damage: String,
    /// Events that were taken over.
    pub events: u64,
    /// The first and the last of them; none where none was.
    pub held: Option<SeqRange>,
    /// Seqs whose events are gone.
    pub missing: Vec<SeqRange>,
    /// Whether the last of them was the journal's last. If not, later ones may be gone, too.
    pub end_is_known: bool,
    /// Dead letters that were taken over.
    pub dead_letters: u64,
    /// A program's own tables, which were not; by name, as far as they can be read.
    pub tables_left_behind: Vec<String>,
    /// The new epoch.
    pub epoch: Epoch,
    /// Where the damaged journal is kept.
    pub kept_as: PathBuf,
}

impl Recovery {
    /// As it is told in the log and in the status.
    pub(crate) fn text(&self) -> String {
        let gone: u64 = self.missing.iter().map(|range| range.len()).sum();
        let end = match self.end_is_known {
            true => "",
            false => ", perhaps more after them",
        };
        format!(
            "the journal was damaged ({}) and is recovered: {} events saved, {gone} gone{end}; the \
             damaged file is kept as {}",
            self.damage,
            self.events,
            self.kept_as.display()
        )
    }
}

/// A new journal, to be written.
pub(super) struct Plan<'a> {
    /// Ascending.
    pub(super) groups: Vec<&'a Found>,
    pub(super) checkpoint: Checkpoint,
    pub(super) ids: HashMap<Seq, Vec<uuid::Uuid>>,
    pub(super) dead_letters: Vec<Letter>,
    /// Their notes, and the rows kept of them.
    pub(super) beside: Beside,
    /// Who is to be erased.
    pub(super) wishes: Vec<StoredWish>,
    /// The hub's life that each sink has believed last.
    pub(super) lives: Vec<(SinkName, u64)>,
    pub(super) missing: Vec<SeqRange>,
    /// The last event known, and who signed it.
    pub(super) end: Option<(EpochEnd, KeyId)>,
    /// The first seq of the new epoch.
    pub(super) next: Seq,
}

/// What is known before anything is looked at.
struct Trouble {
    /// What was found.
    damage: Option<String>,
    /// How often the process ended over it. Once: nothing is written on trial. More than once: redb is
    /// not asked at all.
    ends: usize,
}

/// Recovers the journal. `None` where nothing is wrong with it and no `damage` is known: then nothing
/// is changed. `sinks` are those that may have a place in it, and whether trimming waits for them. What
/// is noted of damage in the directory counts as known, and is forgotten once it is mended.
#[expect(
    clippy::too_many_arguments,
    reason = "what opens a journal, and what is known of it"
)]
pub(crate) fn recover<S: Replace>(
    storage: S,
    identity: Identity,
    sinks: &[(SinkName, bool)],
    damage: Option<String>,
    limits: Limits,
    cache_bytes: usize,
    entropy: Entropy,
    stamp: Stamp,
) -> Result<Option<Recovery>, Fault> {
    let dir = storage.data_dir();
    let trouble = Trouble {
        damage: damage.or_else(|| dir.as_ref().and_then(|dir| damage::remembered(dir))),
        ends: dir.as_ref().map_or(0, |dir| damage::ends(dir)),
    };
    let recovered = in_dir(dir.as_ref(), || {
        recover_in_dir(
            storage,
            identity,
            sinks,
            trouble,
            limits,
            cache_bytes,
            entropy,
            stamp,
        )
    })?;
    if let Some(dir) = dir {
        damage::forget(&dir)?;
    }
    Ok(recovered)
}

#[expect(
    clippy::too_many_arguments,
    reason = "what opens a journal, and what is known of it"
)]
fn recover_in_dir<S: Replace>(
    mut storage: S,
    identity: Identity,
    sinks: &[(SinkName, bool)],
    trouble: Trouble,
    limits: Limits,
    cache_bytes: usize,
    entropy: Entropy,
    stamp: Stamp,
) -> Result<Option<Recovery>, Fault> {
    storage.lock()?;
    let bytes = storage
        .open()?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no journal"))?;
    let bytes = Arc::new(Patient::new(bytes));
    let mut tree = match trouble.ends {
        // Whatever reads or writes it through redb can be what ended the process, twice.
        2.. => Tree::absent(&Fault::Damaged("redb cannot read it".into())),
        _ => look(&bytes, cache_bytes, trouble.damage.is_none())?,
    };
    let mut scan = scan::scan(&bytes)?;
    let unread = bytes.take_failed();
    if let Some(error) = unread.as_ref().filter(|_| scan.groups.is_empty()) {
        // Nothing of it says that this is the journal as it is.
        return Err(io::Error::new(error.kind(), error.to_string()).into());
    }
    let bytes = &bytes.bytes;
    for (first, head) in &tree.groups {
        scan.mark(*first, *head);
    }
    let own = identity.key.public_key();
    let keys = keys(&own, &scan.groups);
    let verifies = |found: &Found| match (keys.get(&found.key_id), read_row(bytes, found)) {
        (Some(key), Ok(row)) => is_signed(found, &row, key),
        _ => false,
    };
    let revision = tree.end.as_ref().map(|(_, checkpoint)| checkpoint.revision);
    // Where redb did not come by all groups to the last one, what it did find tells nothing of the end:
    // over a damaged page another group may look like the last.
    let shown = tree.end.as_ref().map(|(tail, _)| *tail);
    let shows_end = |group: &Found| group.in_tree && Some(group.last) == shown;
    let known = revision.filter(|_| tree.is_walked && scan.groups.iter().any(shows_end));
    let mut line = Line::find(&scan.groups, known, verifies);
    let groups = line.groups(&scan.groups);
    let is_behind = |found: Option<u64>| revision.is_some() && found > revision;
    let alone = scan
        .checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.revision);
    let carried = groups.iter().map(|group| group.revision).max().flatten();
    if is_behind(alone) || is_behind(carried) {
        tree.fall_behind();
    }
    let newest = groups.last().copied();
    let given = own.id();
    let writer = newest.map(|found| found.key_id);
    let writer = writer.or_else(|| writer_of_all(&scan.groups));
    if let Some(journal) = writer.filter(|writer| *writer != given) {
        return Err(Fault::OtherKey { journal, given });
    }
    let (checkpoint, is_end) = newest_checkpoint(bytes, &groups, &scan, &tree, newest)?;
    let floor = Floor {
        confirmed: confirmed(&checkpoint),
        first_held: match tree.has_all_groups {
            true => tree.groups.first().map(|(first, _)| *first),
            false => None,
        },
    };
    line.cut(&scan.groups, floor);
    let groups = line.groups(&scan.groups);
    // What could not be read says more than what redb makes of it.
    let found = tree.damage.take();
    let found = found.map(|found| unread.map_or(found, |error| error.to_string()));
    let Some(damage) = trouble.damage.or(found) else {
        return Ok(None);
    };
    let missing = line::missing(&groups, floor);
    tree.beside.retain_rows(|group| {
        let key = keys.get(&group.key_id());
        key.is_some_and(|key| bears_signature(group, key))
    });
    let plan = plan(
        groups, checkpoint, is_end, missing, scan.ids, &mut tree, sinks,
    );
    let events = plan.groups.iter().map(|group| count(group)).sum();
    let held = plan.groups.first().zip(plan.groups.last());
    let held = held.and_then(|(first, last)| SeqRange::new(first.first, last.last));
    let missing = plan.missing.clone();
    let taken = Taken::new(&plan.groups, &plan.missing, is_end);
    let row = |found: &Found| taken.row(bytes, found);
    let rebuilt = store::guarded(|| {
        Core::rebuild(
            storage,
            identity,
            limits,
            cache_bytes,
            entropy,
            stamp,
            plan,
            row,
        )
    })?;
    Ok(Some(Recovery {
        damage,
        events,
        held,
        missing,
        end_is_known: is_end,
        dead_letters: rebuilt.dead_letters,
        tables_left_behind: tree.program_tables,
        epoch: rebuilt.epoch,
        kept_as: rebuilt.kept_as,
    }))
}

/// What redb finds in the bytes, without a change to them.
fn look<B: StorageBackend>(
    bytes: &Arc<Patient<B>>,
    cache_bytes: usize,
    on_trial: bool,
) -> Result<Tree, Fault> {
    let (untouched, shut) = Untouched::new(Arc::clone(bytes));
    let database = store::guarded(|| Ok(Store::new(cache_bytes, None).load_held(untouched)?.0));
    match database {
        Ok(mut database) => {
            let mut tree = Tree::read(&database);
            if let Ok(tree) = &mut tree
                && on_trial
                && !tree.is_damaged()
            {
                tree.try_out(&mut database);
            }
            // Closing writes, and what is damaged may end the process then. After a failed read it
            // does not.
            shut.shut();
            let closed: Result<(), Fault> = store::guarded(|| {
                let _ = database.check_integrity();
                drop(database);
                Ok(())
            });
            if let Err(fault) = closed {
                tracing::debug!(%fault, "the damaged journal does not close");
            }
            tree
        }
        Err(Fault::InUse) => Err(Fault::InUse),
        Err(newer) if tree::is_newer(&newer) => Err(newer),
        Err(fault) => Ok(Tree::absent(&fault)),
    }
}

/// The device's key, and those that the starts of its epochs name.
fn keys(own: &PublicKey, groups: &[Found]) -> HashMap<KeyId, PublicKey> {
    let starts = groups.iter().filter_map(|group| group.start.as_ref());
    let named = starts.map(|start| (start.public_key.id(), start.public_key.clone()));
    named.chain([(own.id(), own.clone())]).collect()
}

/// The key that groups of which none verifies have in common. One by itself says nothing: its key may
/// be what was hit.
fn writer_of_all(groups: &[Found]) -> Option<KeyId> {
    let (first, rest) = groups.split_first()?;
    let alike = rest.iter().all(|group| group.key_id == first.key_id);
    (alike && !rest.is_empty()).then_some(first.key_id)
}

fn is_signed(found: &Found, row: &[u8], key: &PublicKey) -> bool {
    let group = Group::decode(found.first, row);
    group.is_ok_and(|group| group.head() == found.head && bears_signature(&group, key))
}

fn bears_signature(group: &Group<'_>, key: &PublicKey) -> bool {
    let (size, root, signature) = group.seal();
    key.verify_group(size, &root, &signature)
}

fn read_row<B: StorageBackend>(bytes: &B, found: &Found) -> io::Result<Vec<u8>> {
    let mut row = vec![0; found.length];
    bytes.read(found.offset, &mut row)?;
    Ok(row)
}

fn count(group: &Found) -> u64 {
    group.last.since(group.first) + 1
}

/// The newest checkpoint, and whether it is the journal's last and `newest` its last group.
fn newest_checkpoint<B: StorageBackend>(
    bytes: &B,
    groups: &[&Found],
    scan: &Scan,
    tree: &Tree,
    newest: Option<&Found>,
) -> Result<(Checkpoint, bool), Fault> {
    let tail = newest.map_or(Seq::NONE, |group| group.last);
    if let Some((end, checkpoint)) = &tree.end
        && tree.is_walked
        && *end == tail
        && newest.is_some_and(|group| group.in_tree)
    {
        return Ok((checkpoint.clone(), true));
    }
    let carrier = groups.iter().max_by_key(|group| group.revision);
    let alone = scan.checkpoint.clone();
    let found = tree.end.as_ref().map(|(_, checkpoint)| checkpoint.clone());
    let carried = match carrier {
        Some(group) => {
            let row = read_row(bytes, group)?;
            let decoded = Group::decode(group.first, &row);
            decoded.ok().and_then(|group| group.checkpoint().cloned())
        }
        None => None,
    };
    let all = [alone, found, carried].into_iter().flatten();
    let newest = all.max_by_key(|checkpoint| checkpoint.revision);
    Ok((newest.unwrap_or_else(Checkpoint::fresh), false))
}

/// What every required sink has confirmed; nothing where there is none.
fn confirmed(checkpoint: &Checkpoint) -> Seq {
    let required = checkpoint.cursors.values().filter(|cursor| cursor.required);
    let confirmed = required.map(|cursor| cursor.confirmed).min();
    confirmed.unwrap_or(Seq::NONE)
}

fn plan<'a>(
    groups: Vec<&'a Found>,
    mut checkpoint: Checkpoint,
    is_end: bool,
    missing: Vec<SeqRange>,
    mut ids: HashMap<Seq, Vec<uuid::Uuid>>,
    tree: &mut Tree,
    sinks: &[(SinkName, bool)],
) -> Plan<'a> {
    let newest = groups.last();
    let end = newest.map(|group| {
        let end = EpochEnd {
            epoch: group.epoch,
            seq: group.last,
            digest: group.head,
        };
        (end, group.key_id)
    });
    let tail = newest.map_or(Seq::NONE, |group| group.last);
    let next = match is_end {
        true => tail.next(),
        false => {
            let first = groups.first().map_or(Seq::NONE, |group| group.first.prev());
            for (name, required) in sinks {
                // One that no checkpoint knows may have been sent everything.
                let new = || Cursor::after(first, *required);
                checkpoint.cursors.entry(name.clone()).or_insert_with(new);
            }
            for cursor in checkpoint.cursors.values_mut() {
                cursor.claimed = cursor.claimed.max(tail);
            }
            let claimed = checkpoint.cursors.values().map(|cursor| cursor.claimed);
            let told = tree.groups.last().map(|(first, _)| *first);
            let known = claimed.chain(told).chain([tail, checkpoint.ids_upto]).max();
            known.unwrap_or(tail).plus(GAP).next()
        }
    };
    for (first, row) in std::mem::take(&mut tree.ids) {
        ids.insert(first, row);
    }
    Plan {
        groups,
        checkpoint,
        ids,
        dead_letters: std::mem::take(&mut tree.dead_letters),
        beside: std::mem::take(&mut tree.beside),
        wishes: std::mem::take(&mut tree.wishes),
        lives: std::mem::take(&mut tree.lives),
        missing,
        end,
        next,
    }
}

/// What a scan finds, to be compared.
#[cfg(test)]
pub(super) fn scanned<S: Replace>(mut storage: S) -> String {
    let bytes = storage.open().unwrap().unwrap();
    let scan = scan::scan(&Patient::new(bytes)).unwrap();
    let ids: std::collections::BTreeMap<_, _> = scan.ids.iter().collect();
    format!("{:?} {:?} {ids:?}", scan.groups, scan.checkpoint)
}
