//! The tree over a group's digests, as in RFC 6962: `leaf = sha256(0x00 ‖ digest)`,
//! `node = sha256(0x01 ‖ left ‖ right)`, split at the largest power of two below the size.

use std::ops::Deref;

use crate::digest::Digest;

/// The largest group.
pub const MAX_GROUP_EVENTS: usize = 64;
/// The longest path: six levels below the root of 64 leaves.
pub(super) const MAX_PATH: usize = 6;
/// All nodes of the largest tree: 64 + 32 + 16 + 8 + 4 + 2 + 1.
const MAX_NODES: usize = 2 * MAX_GROUP_EVENTS - 1;

fn leaf_hash(digest: &Digest) -> Digest {
    Digest::of(&[&[0], digest.as_bytes()])
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The tree over a group's digests. 4 KiB, on the stack.
///
/// Pairing neighbours level by level, and lifting the one that is left over, gives the very tree
/// that splitting at powers of two gives from above.
#[derive(Clone)]
pub struct Tree {
    /// Level after level, the leaves first, the root last.
    nodes: [Digest; MAX_NODES],
    size: usize,
    root: usize,
}

impl Tree {
    /// The tree over 1 to 64 digests, in the order of their seqs.
    ///
    /// # Panics
    /// On no digest or more than 64: the caller forms the groups.
    #[must_use]
    pub fn new(digests: &[Digest]) -> Self {
        let size = digests.len();
        assert!(
            (1..=MAX_GROUP_EVENTS).contains(&size),
            "a group of {size} events"
        );
        let mut nodes = [Digest::ZERO; MAX_NODES];
        for (node, digest) in nodes.iter_mut().zip(digests) {
            *node = leaf_hash(digest);
        }
        let (mut level, mut width) = (0, size);
        while width > 1 {
            let above = level + width;
            for left in (0..width).step_by(2) {
                nodes[above + left / 2] = if left + 1 < width {
                    node_hash(&nodes[level + left], &nodes[level + left + 1])
                } else {
                    nodes[level + left]
                };
            }
            (level, width) = (above, width.div_ceil(2));
        }
        Self {
            nodes,
            size,
            root: level,
        }
    }

    /// The root, which is what is signed.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.nodes[self.root]
    }

    /// The path of a leaf: the siblings from the leaf up to below the root.
    ///
    /// # Panics
    /// When there is no such leaf.
    #[must_use]
    pub fn path(&self, leaf: u8) -> Path {
        let mut at = usize::from(leaf);
        assert!(
            at < self.size,
            "leaf {leaf} in a group of {} events",
            self.size
        );
        let mut path = Path::default();
        let (mut level, mut width) = (0, self.size);
        while width > 1 {
            let sibling = at ^ 1;
            if sibling < width {
                path.push(self.nodes[level + sibling]);
            }
            (level, width, at) = (level + width, width.div_ceil(2), at / 2);
        }
        path
    }
}

/// The way from a leaf to the root: at most six digests, held inline.
#[derive(Clone, Copy)]
pub struct Path {
    nodes: [Digest; MAX_PATH],
    len: u8,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            nodes: [Digest::ZERO; MAX_PATH],
            len: 0,
        }
    }
}

impl Path {
    /// The path of these siblings, the leaf's first; `None` for more than the largest group has.
    /// For whoever rebuilds an envelope from what a database holds.
    #[must_use]
    pub fn from_nodes(nodes: &[Digest]) -> Option<Self> {
        let mut path = Self::default();
        let room = path.nodes.get_mut(..nodes.len())?;
        room.copy_from_slice(nodes);
        path.len = u8::try_from(nodes.len()).ok()?;
        Some(path)
    }

    pub(super) fn push(&mut self, node: Digest) {
        self.nodes[usize::from(self.len)] = node;
        self.len += 1;
    }
}

impl Deref for Path {
    type Target = [Digest];

    fn deref(&self) -> &[Digest] {
        &self.nodes[..usize::from(self.len)]
    }
}

/// How many digests lead from this leaf to the root.
pub(super) fn path_len(leaf: u8, size: u8) -> usize {
    let (mut at, mut last, mut len) = (leaf, size - 1, 0);
    while last > 0 {
        // The last node of a level has no sibling when it stands at an even place.
        len += usize::from(at < last || at % 2 == 1);
        (at, last) = (at / 2, last / 2);
    }
    len
}

/// The root that a digest, its place and its path lead to (RFC 9162, section 2.1.3.2). `None` when
/// the path has not exactly the length that the place asks for.
pub(super) fn root_of(digest: &Digest, leaf: u8, size: u8, path: &[Digest]) -> Option<Digest> {
    if leaf >= size || path.len() != path_len(leaf, size) {
        return None;
    }
    let mut node = leaf_hash(digest);
    let (mut at, mut last) = (leaf, size - 1);
    for sibling in path {
        // Lifted through the levels where it is the one left over.
        while at == last && at % 2 == 0 {
            (at, last) = (at / 2, last / 2);
        }
        node = if at % 2 == 1 {
            node_hash(sibling, &node)
        } else {
            node_hash(&node, sibling)
        };
        (at, last) = (at / 2, last / 2);
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(count: usize) -> Vec<Digest> {
        (0..count).map(|n| Digest::of(&[&[n as u8]])).collect()
    }

    /// The definition of RFC 6962, section 2.1, word for word.
    fn root_by_definition(digests: &[Digest]) -> Digest {
        if let [digest] = digests {
            return leaf_hash(digest);
        }
        let split = digests.len().next_power_of_two() / 2;
        let (left, right) = digests.split_at(split);
        node_hash(&root_by_definition(left), &root_by_definition(right))
    }

    #[test]
    fn the_root_is_that_of_the_definition_for_every_size() {
        for size in 1..=MAX_GROUP_EVENTS {
            let digests = digests(size);
            assert_eq!(
                Tree::new(&digests).root(),
                root_by_definition(&digests),
                "size {size}"
            );
        }
    }

    #[test]
    fn every_path_leads_to_the_root_and_to_no_root_from_any_other_place() {
        for size in 1..=MAX_GROUP_EVENTS as u8 {
            let digests = digests(size.into());
            let tree = Tree::new(&digests);
            for leaf in 0..size {
                let path = tree.path(leaf);
                let digest = &digests[usize::from(leaf)];
                assert_eq!(path.len(), path_len(leaf, size));
                assert_eq!(root_of(digest, leaf, size, &path), Some(tree.root()));
                for other in (0..=size).filter(|&other| other != leaf) {
                    assert_ne!(root_of(digest, other, size, &path), Some(tree.root()));
                }
                if !path.is_empty() {
                    assert_eq!(root_of(digest, leaf, size, &path[1..]), None);
                    let long = [&path[..], &[Digest::ZERO]].concat();
                    assert_eq!(root_of(digest, leaf, size, &long), None);
                }
            }
        }
    }
}
