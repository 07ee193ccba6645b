//! Pages, as they are shown to redb.
//!
//! redb takes what a branch says of its children at its word, and asks for memory before it reads: one
//! bit of a page, and a checksum is taken for a place, a gibibyte for the length of a page. A system
//! that does not give so much ends the process, and not by a panic, so nothing would be left for the
//! next start to know. So a branch is looked at as redb reads it. Where one of its children would not
//! lie in the file, redb is shown zeros in its place, over which it stumbles as over a page that is
//! gone.

use std::io;

use redb::StorageBackend;

use super::storage::forward_locks;

/// Pages are of so many bytes, or of that times a power of two.
const PAGE_BYTES: u64 = 4096;

/// The highest of these powers.
const MAX_ORDER: u64 = 20;

/// Pages are numbered by regions, which are of so many bytes and a little more.
const REGION_BYTES: u64 = PAGE_BYTES << MAX_ORDER;

/// As many bits count the pages of a region, and the regions.
const INDEX_BITS: u64 = 20;

/// In the upper bits of a place: the power of two.
const ORDER_SHIFT: u64 = 59;

/// What redb begins a branch with.
const BRANCH: u8 = 2;

/// Before the checksums of the children, which come before their places.
const HEADER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 16;
const PLACE_BYTES: usize = 8;

/// The bytes as redb sees them.
#[derive(Debug)]
pub(super) struct Pages<B>(pub(super) B);

impl<B: StorageBackend> StorageBackend for Pages<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)?;
        if out.first() == Some(&BRANCH) && !leads_into(out, self.0.len()?) {
            tracing::warn!(offset, "a page of the journal leads out of its file");
            out.fill(0);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    forward_locks!(self, self.0);
}

/// Whether all children of the branch can lie in a file of this length.
fn leads_into(branch: &[u8], len: u64) -> bool {
    let Some(&[_, _, low, high]) = branch.first_chunk() else {
        return false;
    };
    let children = usize::from(u16::from_le_bytes([low, high])) + 1;
    let begin = HEADER_BYTES + children * CHECKSUM_BYTES;
    let Some(places) = branch.get(begin..begin + children * PLACE_BYTES) else {
        return false;
    };
    let (places, _) = places.as_chunks();
    places.iter().all(|place| {
        let end = least_end(u64::from_le_bytes(*place));
        end.is_some_and(|end| end <= len)
    })
}

/// The page at this place ends there or later; none where there is no such page.
fn least_end(place: u64) -> Option<u64> {
    const INDEX: u64 = (1 << INDEX_BITS) - 1;
    let order = place >> ORDER_SHIFT;
    if order > MAX_ORDER {
        return None;
    }
    let index = place & (INDEX >> order);
    let region = (place >> INDEX_BITS) & INDEX;
    Some(region * REGION_BYTES + (index + 1) * (PAGE_BYTES << order))
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    /// What redb would read of a branch with these children, in a file of 64 pages.
    fn shown(children: &[u64]) -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES as usize];
        let keys = children.len() as u16 - 1;
        page[0] = BRANCH;
        page[2..4].copy_from_slice(&keys.to_le_bytes());
        for (index, place) in children.iter().enumerate() {
            let at = HEADER_BYTES + children.len() * CHECKSUM_BYTES + index * PLACE_BYTES;
            page[at..at + PLACE_BYTES].copy_from_slice(&place.to_le_bytes());
        }
        read(&page)
    }

    fn read(page: &[u8]) -> Vec<u8> {
        let storage = InMemoryBackend::new();
        storage.set_len(64 * PAGE_BYTES).unwrap();
        storage.write(PAGE_BYTES, page).unwrap();
        let mut out = vec![0xEE; page.len()];
        Pages(storage).read(PAGE_BYTES, &mut out).unwrap();
        out
    }

    fn is_shown(children: &[u64]) -> bool {
        let page = shown(children);
        let is_empty = page.iter().all(|byte| *byte == 0);
        assert!(is_empty || page[0] == BRANCH);
        !is_empty
    }

    #[test]
    fn a_branch_is_shown_where_all_its_children_lie_in_the_file() {
        let order = |order: u64| order << ORDER_SHIFT;
        assert!(is_shown(&[1, 2, 63]));
        assert!(is_shown(&[order(5) | 1]));
        assert!(!is_shown(&[1, 64, 2]));
        assert!(!is_shown(&[1, 2, order(5) | 2]));
        assert!(!is_shown(&[order(7)]));
        assert!(!is_shown(&[order(21)]));
        // The second region.
        assert!(!is_shown(&[1 << INDEX_BITS, 3]));
    }

    #[test]
    fn a_branch_with_more_children_than_fit_is_not_shown() {
        let mut page = vec![0; PAGE_BYTES as usize];
        (page[0], page[2]) = (BRANCH, 200);
        assert_eq!(read(&page), vec![0; PAGE_BYTES as usize]);
    }

    #[test]
    fn other_pages_are_shown_as_they_are() {
        for kind in [0, 1, 3, b'r'] {
            let mut page = vec![0xFF; PAGE_BYTES as usize];
            page[0] = kind;
            assert_eq!(read(&page), page);
        }
    }
}
