//! Positions in the journal.
//!
//! A [`Seq`] is never a count and never a byte length; the type keeps them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An event's number. It starts at 1 in a fresh journal, is never reset, and so is the event's
/// position too. [`Seq::NONE`] (0) stands for "before the first event".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event: the cursor of a sink that has received nothing.
    pub const NONE: Self = Self(0);
    /// The first event of a fresh journal.
    pub const FIRST: Self = Self(1);

    /// The seq with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The seq `count` places further on. Saturates, which at a million events a second takes
    /// half a million years.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// The seq that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The seq before; [`Seq::NONE`] has none before it and gives itself.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many events lie after `earlier`, up to and including this one; 0 when there are none.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// An inclusive run of seqs. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqRange {
    first: Seq,
    last: Seq,
}

impl SeqRange {
    /// `first..=last`, or `None` where that is empty.
    #[must_use]
    pub fn new(first: Seq, last: Seq) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The first seq in the range.
    #[must_use]
    pub const fn first(self) -> Seq {
        self.first
    }

    /// The last seq in the range.
    #[must_use]
    pub const fn last(self) -> Seq {
        self.last
    }

    /// How many seqs the range holds; at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        self.last.since(self.first) + 1
    }

    /// Whether `seq` lies in the range.
    #[must_use]
    pub fn contains(self, seq: Seq) -> bool {
        self.first <= seq && seq <= self.last
    }
}

/// Where a sink put something: JetStream's stream sequence; 0 where the sink has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// Which container a [`Position`] belongs to: the stream's creation time in nanoseconds since 1970;
/// 0 where the sink has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub i64);
