//! Every group, checkpoint and row of ids that stands anywhere in the file, whatever redb makes of it.
//!
//! A group is known by its own form and tells by itself where it ends and, through its checksum, where
//! it belongs. So pages, their headers and the trees over them are not needed. What is found may be
//! older than the journal: redb does not clear what it frees.

use std::collections::HashMap;

use redb::StorageBackend;
use uuid::Uuid;

use super::{
    checksum::seq_of,
    found::Found,
    patient::{PAGE_BYTES, Patient},
};
use crate::{
    envelope::Digest,
    journal::{
        cursor::Checkpoint,
        error::Fault,
        ids,
        row::{self, Group, Outline, ROW_VERSION},
        staging::MAX_REQUEST_BYTES,
        state::checkpoint_at,
    },
    seq::Seq,
};

/// Nothing that is looked for is longer than this, in bytes: the largest event with what goes with it.
const LONGEST: usize = MAX_REQUEST_BYTES + 1024 * 1024;

/// So many bytes of the file are in memory at once.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// What redb begins a leaf with.
const LEAF: u8 = 1;

/// The longest name of a device, in bytes.
const MAX_DEVICE_BYTES: u8 = 64;

/// What stands in the file.
#[derive(Default)]
pub(super) struct Scan {
    /// Each group once.
    pub(super) groups: Vec<Found>,
    /// The newest checkpoint outside a group.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Rows of ids.
    pub(super) ids: HashMap<Seq, Vec<Uuid>>,
    known: HashMap<(Seq, Digest), usize>,
    /// Where the last checkpoint stood.
    near: Seq,
}

/// Scans all there is.
///
/// # Errors
/// Its length cannot be had. What cannot be read is passed over.
pub(super) fn scan<B: StorageBackend>(bytes: &Patient<B>) -> Result<Scan, Fault> {
    let len = bytes.bytes.len()?;
    let mut scan = Scan::default();
    let mut window = Vec::new();
    let mut base = 0;
    loop {
        let have = window.len();
        let more = (len - base - have as u64).min((WINDOW_BYTES - have) as u64);
        window.resize(have + usize::try_from(more).unwrap_or(0), 0);
        bytes.read_or_zero(base + have as u64, &mut window[have..]);
        let is_last = base + window.len() as u64 == len;
        let until = match is_last {
            true => window.len(),
            false => window.len() - LONGEST,
        };
        for start in (0..until).step_by(PAGE_BYTES) {
            let end = (start + PAGE_BYTES).min(until);
            if is_zero(&window[start..end]) {
                continue;
            }
            // The window begins with a page, so this is one, too.
            scan.ids_of_page(&window[start..]);
            for at in start..end {
                scan.look(&window[at..], base + at as u64);
            }
        }
        if is_last {
            return Ok(scan);
        }
        window.drain(..until);
        base += until as u64;
    }
}

impl Scan {
    /// Looks whether a group or a checkpoint begins with these bytes.
    fn look(&mut self, bytes: &[u8], offset: u64) {
        if bytes.first() != Some(&ROW_VERSION) {
            return;
        }
        let outline = begins_like_a_group(bytes).then(|| row::outline(bytes));
        if let Some(Outline { length, near }) = outline.flatten() {
            let row = &bytes[..length];
            if let Some(near) = near {
                self.near = near;
            }
            // The checksum leaves the upper half open, which changes every four thousand million
            // events; a group without a checkpoint stands among others that have one.
            let high = (self.near.get() >> 32) as u32;
            let seq = seq_of(row, high).filter(|seq| *seq != Seq::NONE);
            if let Some(Ok(group)) = seq.map(|seq| Group::decode(seq, row)) {
                self.note(Found::new(&group, offset, length));
            }
        } else if let Some(checkpoint) = checkpoint_at(bytes) {
            let newest = self.checkpoint.as_ref().map(|newest| newest.revision);
            if newest < Some(checkpoint.revision) {
                self.checkpoint = Some(checkpoint);
            }
        }
    }

    fn note(&mut self, found: Found) {
        let key = (found.first, found.head);
        match self
            .known
            .get(&key)
            .and_then(|index| self.groups.get_mut(*index))
        {
            Some(known) => known.meet(found),
            None => {
                self.known.insert(key, self.groups.len());
                self.groups.push(found);
            }
        }
    }

    /// Notes that redb finds this group.
    pub(super) fn mark(&mut self, first: Seq, head: Digest) {
        let index = self.known.get(&(first, head));
        if let Some(found) = index.and_then(|index| self.groups.get_mut(*index)) {
            found.in_tree = true;
        }
    }

    /// Takes the rows of ids of a page, if it is a leaf that holds such. They say nothing of their
    /// own place, so the page has to be whole.
    fn ids_of_page(&mut self, page: &[u8]) {
        let Some(pairs) = leaf(page) else { return };
        for (key, value) in pairs {
            let first = Seq::new(key);
            if first == Seq::NONE || ids::row_of(first) != first {
                continue;
            }
            if let Some(row) = ids::decode_row(first, value) {
                let row: Vec<Uuid> = row.collect();
                let known = self.ids.entry(first).or_default();
                // A row is written anew as it fills.
                if row.len() > known.len() {
                    *known = row;
                }
            }
        }
    }
}

/// The pairs of a leaf whose keys have eight bytes and whose values have any number.
fn leaf(page: &[u8]) -> Option<impl Iterator<Item = (u64, &[u8])>> {
    let (&[kind, _, low, high], rest) = page.split_first_chunk::<4>()?;
    let count = usize::from(u16::from_le_bytes([low, high]));
    if kind != LEAF || count == 0 {
        return None;
    }
    let (ends, rest) = rest.split_at_checked(count * 4)?;
    let (keys, _) = rest.split_at_checked(count * 8)?;
    let mut begin = 4 + count * 12;
    let (keys, ends) = (keys.as_chunks::<8>().0, ends.as_chunks::<4>().0);
    let pairs = keys.iter().zip(ends).map_while(move |(key, end)| {
        let end = u32::from_le_bytes(*end) as usize;
        let value = page.get(begin..end)?;
        begin = end;
        Some((u64::from_le_bytes(*key), value))
    });
    Some(pairs)
}

/// Spares a closer look at nearly everything.
fn begins_like_a_group(bytes: &[u8]) -> bool {
    let Some(&length) = bytes.get(1) else {
        return false;
    };
    let name = bytes.get(2..2 + usize::from(length));
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    (1..=MAX_DEVICE_BYTES).contains(&length) && name.is_some_and(|name| name.iter().all(allowed))
}

fn is_zero(page: &[u8]) -> bool {
    page.iter().all(|byte| *byte == 0)
}
