//! A dead letter as its two tables have it: the code, and the note beside it.

use serde::{Deserialize, Serialize};

use super::{
    super::{cursor::SinkName, error::Fault},
    Claim,
};
use crate::{
    clock::{ClockSync, Stamp},
    encoding::{base64_of, parse_base64_vec},
    seq::Seq,
};

const NOTE_VERSION: u8 = 1;

/// What is known of a dead letter beside its code. A released struct never changes: what comes
/// later goes under a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NoteV1 {
    /// The wall clock when it was rejected first, in microseconds since 1970, and whether it was
    /// set.
    pub(super) since: Option<(i64, ClockSync)>,
    pub(super) rejections: u32,
    pub(super) retry: Option<RetryV1>,
}

/// That a dead letter is to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RetryV1 {
    pub(super) claim: Option<Claim>,
}

impl NoteV1 {
    /// Of an event that is rejected now.
    fn at(stamp: Stamp) -> Self {
        Self {
            since: Some((stamp.wall.as_micros(), stamp.sync)),
            rejections: 1,
            retry: None,
        }
    }

    /// Of a dead letter that an earlier version made.
    pub(super) const fn unknown() -> Self {
        Self {
            since: None,
            rejections: 1,
            retry: None,
        }
    }

    pub(super) fn encode(&self, sink: &str, seq: u64) -> Result<String, Fault> {
        let mut bytes = postcard::to_extend(self, vec![NOTE_VERSION])
            .map_err(|error| Fault::Damaged(format!("a note does not encode: {error}")))?;
        let crc = checksum(sink, seq, &bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(base64_of(&bytes))
    }

    /// `None` where it is damaged, or of a later version: then nothing is known, and nothing lost.
    pub(super) fn decode(sink: &str, seq: u64, note: &str) -> Option<Self> {
        let bytes = parse_base64_vec(note.as_bytes())?;
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let (version, body) = covered.split_first()?;
        let is_whole = checksum(sink, seq, covered).to_le_bytes() == *crc;
        (is_whole && *version == NOTE_VERSION)
            .then(|| postcard::from_bytes(body).ok())
            .flatten()
    }
}

fn checksum(sink: &str, seq: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(sink.as_bytes());
    hasher.update(&seq.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// A dead letter as its two tables have it.
#[derive(Clone, Debug)]
pub(in crate::journal) struct Letter {
    pub(in crate::journal) code: Box<str>,
    pub(super) note: NoteV1,
}

impl Letter {
    /// Of an event that is rejected now.
    pub(in crate::journal) fn new(code: &str, stamp: Stamp) -> Self {
        Self {
            code: code.into(),
            note: NoteV1::at(stamp),
        }
    }

    /// As it is once it was rejected once more. Nobody wants it sent again any longer.
    pub(in crate::journal) fn rejected_again(&self, code: &str) -> Self {
        Self {
            code: code.into(),
            note: NoteV1 {
                rejections: self.note.rejections.saturating_add(1),
                retry: None,
                ..self.note
            },
        }
    }

    /// As it is with this to be done.
    pub(in crate::journal) fn with_retry(&self, retry: Option<Option<Claim>>) -> Self {
        Self {
            code: self.code.clone(),
            note: NoteV1 {
                retry: retry.map(|claim| RetryV1 { claim }),
                ..self.note
            },
        }
    }

    /// Whether somebody wants it sent again.
    pub(in crate::journal) const fn is_wanted(&self) -> bool {
        self.note.retry.is_some()
    }
}

/// What a commit does to a dead letter.
#[derive(Clone, Debug)]
pub(in crate::journal) struct LetterChange {
    pub(in crate::journal) sink: SinkName,
    pub(in crate::journal) seq: Seq,
    /// Absent where it is new.
    pub(in crate::journal) before: Option<Letter>,
    /// Absent where it is one no longer.
    pub(in crate::journal) after: Option<Letter>,
    /// Whether it is one no longer though the sink never took it.
    pub(in crate::journal) is_discarded: bool,
}
