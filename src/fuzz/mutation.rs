//! Mutations of bytes, which a seed repeats.

/// Longest mutation, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// Changes that one mutation consists of, at most.
const MAX_CHANGES: usize = 4;
/// Longest run that is copied, moved or cut out.
const MAX_RUN: usize = 64;
/// Bytes at the edges of what readers tell apart.
const EDGES: [u8; 14] = [
    0x00, 0x01, 0x7F, 0x80, 0xC0, 0xED, 0xEF, 0xFF, b'"', b'\\', b'{', b']', b'\n', b'0',
];

/// A source of mutations: the same seed gives the same ones.
pub(super) struct Mutator(u64);

impl Mutator {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A changed copy of `bytes`, into which parts of `other` and some of the `words` may have come.
    pub(super) fn mutate(&mut self, bytes: &[u8], other: &[u8], words: &[&str]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        // Half of them are one change: enough of those are to be taken.
        for _ in 0..=self.below(2) * self.below(MAX_CHANGES) {
            self.change(&mut bytes, other, words);
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
        let (at, end) = self.run(bytes.len());
        match self.below(10) {
            // One bit or byte is another.
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            2 if at < bytes.len() => bytes[at] = EDGES[self.below(EDGES.len())],
            // A part is gone.
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            // A part is there twice, or somewhere else.
            5 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            6 => {
                let part: Vec<u8> = bytes.drain(at..end).collect();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            // A part of another one, or all of its end.
            7 => {
                let (from, to) = self.run(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            8 => {
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            // A word of the language.
            _ if !words.is_empty() => {
                let word = words[self.below(words.len())];
                let end = if self.below(2) == 0 { at } else { end };
                bytes.splice(at..end, word.bytes());
            }
            _ => {}
        }
    }

    /// A run of some bytes, perhaps none, in so many.
    fn run(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        let to = (from + self.below(MAX_RUN)).min(length);
        (from, to)
    }

    /// A number below this one, by SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
