//! The ids of the last 65,536 events, so that a retry is known as one.
//!
//! Held in memory whole (16 bytes and a slot each, 1.6 MB when full): a shortened id would make
//! false matches, and a false match loses an event. On disk they are packed 1,024 to a row,
//! because a table keyed by random ids would cost five times the bytes of the events themselves.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use hashbrown::HashTable;
use uuid::Uuid;

use crate::seq::Seq;

/// How many events back a repeated id is recognised.
pub const REMEMBERED_IDS: usize = 65_536;

/// Ids in one row of the table.
pub(super) const IDS_PER_ROW: u64 = 1_024;

const ID_BYTES: usize = 16;

/// The remembered ids; consecutive seqs, the oldest forgotten first.
pub(super) struct Ids {
    /// The seq of the oldest id in `ring`.
    first: Seq,
    ring: VecDeque<Uuid>,
    /// `seq mod 65,536` of each id in `ring`, found by the id's hash.
    slots: HashTable<u16>,
    /// Seeded by the process: ids come from outside and must not be able to collide on purpose.
    hasher: RandomState,
}

impl Ids {
    /// Remembers nothing; the next id to come belongs to `next`.
    pub(super) fn starting_at(next: Seq) -> Self {
        Self {
            first: next,
            ring: VecDeque::new(),
            slots: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    /// Makes room for so many more, as far as they are remembered: a start that grew step by step
    /// would hash every id twice, and hold the old table beside the new one.
    pub(super) fn reserve(&mut self, more: u64) {
        let more = usize::try_from(more).unwrap_or(REMEMBERED_IDS);
        let room = more.min(REMEMBERED_IDS - self.ring.len());
        self.ring.reserve_exact(room);
        let Self {
            first,
            ring,
            slots,
            hasher,
        } = self;
        slots.reserve(room, |&slot| hasher.hash_one(ring[index_of(*first, slot)]));
    }

    /// The seq that the next id pushed will have.
    pub(super) fn next(&self) -> Seq {
        self.first.plus(self.ring.len() as u64)
    }

    /// The latest seq under this id, if it is remembered. An earlier one may stand in the table, of
    /// an event that was taken back and went to a later seq.
    pub(super) fn find(&self, id: &Uuid) -> Option<Seq> {
        let hash = self.hasher.hash_one(id);
        let slots = self.slots.iter_hash(hash);
        let of_id = slots.filter(|slot| self.at(**slot).is_some_and(|held| held == id));
        of_id.map(|slot| self.seq_of(*slot)).max()
    }

    /// The id of `seq`, if it is remembered.
    pub(super) fn get(&self, seq: Seq) -> Option<&Uuid> {
        if seq < self.first {
            return None;
        }
        self.ring.get(usize::try_from(seq.since(self.first)).ok()?)
    }

    /// Takes the id of the next seq, and forgets the oldest where there are too many. The nil id
    /// stands for one that is not known, and is never found.
    pub(super) fn push(&mut self, id: Uuid) {
        if self.ring.len() == REMEMBERED_IDS {
            self.forget_oldest();
        }
        let slot = slot_of(self.next());
        self.ring.push_back(id);
        if id.is_nil() {
            return;
        }
        let Self {
            first,
            ring,
            slots,
            hasher,
        } = self;
        slots.insert_unique(hasher.hash_one(id), slot, |&other| {
            hasher.hash_one(ring[index_of(*first, other)])
        });
    }

    /// Forgets the id of this seq, which has gone to another one.
    pub(super) fn forget(&mut self, seq: Seq) {
        let Some(id) = self.get(seq).copied() else {
            return;
        };
        let hash = self.hasher.hash_one(id);
        if let Ok(entry) = self.slots.find_entry(hash, |&other| other == slot_of(seq)) {
            entry.remove();
        }
        let index = usize::try_from(seq.since(self.first)).ok();
        if let Some(held) = index.and_then(|index| self.ring.get_mut(index)) {
            *held = Uuid::nil();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(id) = self.ring.front().copied() else {
            return;
        };
        let slot = slot_of(self.first);
        let hash = self.hasher.hash_one(id);
        if let Ok(entry) = self.slots.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        self.ring.pop_front();
        self.first = self.first.next();
    }

    fn at(&self, slot: u16) -> Option<&Uuid> {
        self.ring.get(index_of(self.first, slot))
    }

    fn seq_of(&self, slot: u16) -> Seq {
        self.first.plus(index_of(self.first, slot) as u64)
    }
}

fn slot_of(seq: Seq) -> u16 {
    (seq.get() % REMEMBERED_IDS as u64) as u16
}

/// How far after `first` the seq with this slot lies.
fn index_of(first: Seq, slot: u16) -> usize {
    usize::from(slot.wrapping_sub(slot_of(first)))
}

/// The first seq of the row of the table that holds the id of `seq`: 1, 1,025, 2,049, …
pub(super) fn row_of(seq: Seq) -> Seq {
    Seq::new(seq.prev().get() / IDS_PER_ROW * IDS_PER_ROW + 1)
}

/// The last seq up to which rows are complete when the journal ends at `tail`.
pub(super) fn complete_upto(tail: Seq) -> Seq {
    Seq::new(tail.get() / IDS_PER_ROW * IDS_PER_ROW)
}

/// Packs ids into a row, whose checksum covers its key.
pub(super) fn encode_row<'a>(first: Seq, ids: impl Iterator<Item = &'a Uuid>) -> Vec<u8> {
    let mut row: Vec<u8> = ids.flat_map(|id| *id.as_bytes()).collect();
    let crc = checksum(first, &row);
    row.extend_from_slice(&crc.to_le_bytes());
    row
}

/// The ids of a row, or `None` where it is damaged.
pub(super) fn decode_row(first: Seq, row: &[u8]) -> Option<impl Iterator<Item = Uuid> + '_> {
    let (ids, crc) = row.split_last_chunk::<4>()?;
    let (ids, rest) = ids.as_chunks::<ID_BYTES>();
    let whole = rest.is_empty() && checksum(first, ids.as_flattened()).to_le_bytes() == *crc;
    whole.then(|| ids.iter().map(|id| Uuid::from_bytes(*id)))
}

fn checksum(first: Seq, ids: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.get().to_be_bytes());
    hasher.update(ids);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Uuid {
        Uuid::from_u64_pair(number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number)
    }

    #[test]
    fn the_last_65_536_ids_are_found_and_older_ones_are_not() {
        remembers(&mut Ids::starting_at(Seq::new(40_000)));
        let mut ids = Ids::starting_at(Seq::new(40_000));
        ids.reserve(u64::MAX);
        remembers(&mut ids);
    }

    #[test]
    fn of_two_seqs_under_one_id_the_later_is_found() {
        let mut ids = Ids::starting_at(Seq::FIRST);
        let twice = id(7);
        for number in 100..200 {
            ids.push(id(number));
            ids.push(twice);
            assert_eq!(ids.find(&twice), Some(ids.next().prev()));
        }
        ids.forget(ids.next().prev());
        assert_eq!(ids.find(&twice), Some(Seq::new(198)));
    }

    fn remembers(ids: &mut Ids) {
        let start = 40_000;
        let count = 3 * REMEMBERED_IDS as u64 + 17;
        for number in 0..count {
            ids.push(id(number));
        }
        let oldest = count - REMEMBERED_IDS as u64;
        for number in 0..count {
            let expected = (number >= oldest).then(|| Seq::new(start + number));
            assert_eq!(ids.find(&id(number)), expected, "{number}");
        }
        assert_eq!(ids.next(), Seq::new(start + count));
        assert_eq!(ids.get(Seq::new(start + oldest)), Some(&id(oldest)));
        assert_eq!(ids.get(Seq::new(start + oldest - 1)), None);
    }

    #[test]
    fn a_row_with_a_changed_bit_or_under_another_key_is_refused() {
        let some: Vec<Uuid> = (0..5).map(id).collect();
        let row = encode_row(Seq::new(1024), some.iter());
        assert!(
            decode_row(Seq::new(1024), &row)
                .unwrap()
                .eq(some.iter().copied())
        );
        assert!(decode_row(Seq::new(2048), &row).is_none());
        for bit in 0..row.len() * 8 {
            let mut torn = row.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_row(Seq::new(1024), &torn).is_none(), "bit {bit}");
        }
        assert!(decode_row(Seq::new(1024), &[]).is_none());
    }
}
