//! What can go wrong in the journal, and what is true of the event then.

use std::{io, path::Path};

use uuid::Uuid;

use super::{row::RowError, staging::LEDGER_RESERVE_BYTES, storage::Unreadable};
use crate::{seq::Seq, signing::KeyId};

/// Why an append failed. `index` counts from 0 within the batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The id is known with other content. Nothing of the batch was taken.
    #[error("event {id} is known already, as seq {seq}, with other content")]
    Conflict {
        /// Which of the batch.
        index: usize,
        /// The id.
        id: Uuid,
        /// Where the first one is.
        seq: Seq,
    },
    /// The payload exceeds the limit. Nothing of the batch was taken.
    #[error("the payload has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Which of the batch.
        index: usize,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More events or bytes than one commit takes. Nothing was taken.
    #[error(
        "a batch of {events} events and {bytes} bytes is more than one commit takes \
         ({max_events} events, {max_bytes} bytes)"
    )]
    BatchTooLarge {
        /// How many events.
        events: usize,
        /// Their payload bytes.
        bytes: usize,
        /// The most events.
        max_events: usize,
        /// The most bytes.
        max_bytes: usize,
    },
    /// More than an empty journal would hold under its quota. Nothing was taken, and no waiting
    /// helps.
    #[error("the request needs {bytes} bytes, and the quota of the journal leaves {most}")]
    LargerThanQuota {
        /// Bytes that the request needs.
        bytes: u64,
        /// What the quota leaves for events, in bytes.
        most: u64,
    },
    /// The quota has no room left for this request. Nothing was taken; forwarding goes on and makes room.
    #[error(
        "the journal has no room: {bytes} of {quota_bytes} bytes are in use, {needed} more are \
         needed, and {LEDGER_RESERVE_BYTES} stay free for the loss ledger"
    )]
    Full {
        /// Bytes in use.
        bytes: u64,
        /// Bytes that the request needs.
        needed: u64,
        /// The quota.
        quota_bytes: u64,
    },
    /// The disk has less room than is to stay free. Nothing was taken; what was taken before is
    /// forwarded.
    #[error("the disk has {free} bytes left, and {min_free} stay free")]
    DiskFull {
        /// Bytes that are free.
        free: u64,
        /// Bytes that stay free.
        min_free: u64,
    },
    /// A write failed under this commit: the event may or may not be there. Retry with the same
    /// id.
    #[error("the write failed, so the outcome is unknown; a retry with the same id is safe")]
    OutcomeUnknown,
    /// The journal is being reopened after a failed read or write, or the event that is known under the
    /// same id could not be read just now. Nothing was taken.
    #[error("the journal is being reopened after a failed read or write")]
    Unavailable,
    /// The outbox is closed. Nothing was taken.
    #[error("the outbox is closed")]
    Closed,
    /// Called from inside a transaction or a read, where it would wait for itself. Nothing was
    /// taken.
    #[error(
        "called from inside a transaction or a read, which would wait for itself; append through \
         the transaction, or after the read"
    )]
    InsideTransaction,
}

impl AppendError {
    /// What to do about it, where there is something to say.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Conflict { .. } => {
                "give the event an id of its own, or send it exactly as the first time"
            }
            Self::TooLarge { .. } => "a smaller payload, or a higher limit in the configuration",
            Self::BatchTooLarge { .. } => "send them in several requests",
            Self::LargerThanQuota { .. } => {
                "send less in one request, or raise `journal.max_bytes`"
            }
            Self::Full { .. } => {
                "forwarding makes room; where it does not, the status says what stands in the way"
            }
            Self::DiskFull { .. } => {
                "free some space where the journal is, or lower `journal.min_free`"
            }
            Self::OutcomeUnknown => "send it again with the same id: it will not be kept twice",
            Self::Unavailable | Self::Closed | Self::InsideTransaction => return None,
        })
    }
}

/// Why a read, or a move of a cursor, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The journal is being reopened after a failed read or write.
    #[error("the journal is being reopened after a failed read or write")]
    Unavailable,
    /// What is stored does not decode or does not match its checksum.
    #[error("the journal is damaged at seq {seq}: {what}")]
    Damaged {
        /// Where.
        seq: Seq,
        /// What is wrong with it.
        what: String,
    },
    /// The disk would not read.
    #[error("reading the journal failed: {0}")]
    Io(String),
    /// The outbox is closed.
    #[error("the outbox is closed")]
    Closed,
}

/// Why a dead letter was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RejectError {
    /// The event belongs to the loss ledger: losing it would hide a loss. The sink has to halt.
    #[error("event {seq} belongs to the loss ledger, which is never given up")]
    Ledger {
        /// Which.
        seq: Seq,
    },
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// It was written by a newer version. It has not been changed.
    #[error("{path} was written in format {found}, this program reads up to {known}")]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        found: u8,
        /// The newest format this program knows.
        known: u8,
    },
    /// What is stored does not decode or does not match its checksum.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The disk would not read or write. It may the next time.
    #[error("{path} cannot be opened: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The source for events that name none has the wrong length or a control character, which
    /// would stand in every envelope.
    #[error("source: {0}")]
    Source(#[source] crate::event::NameError),
    /// There is a journal, and no key: none was given, and the file is missing. A new key would
    /// begin a new epoch, which nobody has asked for. Nothing was changed.
    #[error("{journal} is there and its signing key is not: {key} is missing and none was given")]
    KeyMissing {
        /// The journal.
        journal: String,
        /// Where the key is looked for.
        key: String,
    },
    /// The journal was to be opened as it is, and is signed by another key. Nothing was changed.
    #[error("{path} is signed by key {journal}, and the key given is {given}")]
    OtherKey {
        /// The journal.
        path: String,
        /// The id of its key.
        journal: KeyId,
        /// The id of the key at hand.
        given: KeyId,
    },
    /// The signing key cannot be had.
    #[error(transparent)]
    Key(#[from] crate::signing::KeyError),
}

impl OpenError {
    /// What to do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse(path) => {
                let dir = Path::new(path).parent().unwrap_or(path.as_ref());
                Some(format!(
                    "a daemon may have it: `edge-outbox status --data-dir {}` shows it; where that \
                     finds none, whoever uses it serves no socket (`http.socket`)",
                    dir.display()
                ))
            }
            Self::Newer { .. } => Some("install the version that wrote it".into()),
            Self::KeyMissing { key, .. } => Some(format!(
                "restore the file or set EDUPULSE_SIGNING_KEY_B64; if the key is lost, `openssl \
                 genpkey -algorithm ed25519 -out {key}` makes a new one, which begins a new epoch"
            )),
            Self::OtherKey { .. } => Some(
                "give the journal's key (EDUPULSE_SIGNING_KEY_B64 or the key file); to change to \
                 the new one, `edge-outbox run` begins a new epoch under it"
                    .into(),
            ),
            Self::Key(error) => error.hint(),
            Self::Damaged { path, .. } => {
                let dir = Path::new(path).parent().unwrap_or(path.as_ref());
                Some(format!(
                    "`edge-outbox recover --data-dir {}` saves what can be read and keeps the \
                     file; with `journal.recover` = \"at-start\" the daemon does it by itself",
                    dir.display()
                ))
            }
            Self::Io { path, source } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    Some("run this as the user that it belongs to, or set `data_dir`".into())
                }
                io::ErrorKind::NotADirectory => {
                    Some("name a directory with --data-dir or `data_dir`".into())
                }
                _ if Unreadable::of(source).is_some() => {
                    let dir = Path::new(path).parent().unwrap_or(path.as_ref());
                    Some(format!(
                        "try again; where it stays so, a part of the card is gone: copy the file, and \
                         `edge-outbox recover --data-dir {}` saves what can be read",
                        dir.display()
                    ))
                }
                _ => None,
            },
            Self::Source(_) => None,
        }
    }
}

/// What redb and the rows say, folded into what the journal acts on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Damaged(String),
    #[error("the row of seq {seq}: {source}")]
    Row { seq: Seq, source: RowError },
    #[error("in use by another process")]
    InUse,
    #[error("written in format {0}")]
    Newer(u8),
    #[error("signed by key {journal}, and the key given is {given}")]
    OtherKey { journal: KeyId, given: KeyId },
    #[error("the journal is being reopened after a failed read or write")]
    Unavailable,
}

/// Folds any of redb's errors. A function, not `From`, because redb has an enum for each call.
pub(super) fn fault(error: impl Into<redb::Error>) -> Fault {
    match error.into() {
        redb::Error::Io(error) => match error.kind() {
            // Not of the system's: the file is none of redb's, or ends too early.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Fault::Damaged(error.to_string())
            }
            _ => Fault::Io(error),
        },
        redb::Error::DatabaseAlreadyOpen => Fault::InUse,
        redb::Error::PreviousIo => Fault::Io(io::Error::other(
            "an earlier read or write failed; reopening",
        )),
        other => Fault::Damaged(other.to_string()),
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable => Self::Unavailable,
            Fault::Io(error) => Self::Io(error.to_string()),
            Fault::Row { seq, source } => Self::Damaged {
                seq,
                what: source.to_string(),
            },
            other => Self::Damaged {
                seq: Seq::NONE,
                what: other.to_string(),
            },
        }
    }
}

impl Fault {
    /// The error of opening `path`.
    pub(crate) fn opening(self, path: &Path) -> OpenError {
        let path = path.display().to_string();
        match self {
            Self::InUse => OpenError::InUse(path),
            Self::Newer(found)
            | Self::Row {
                source: RowError::Newer(found),
                ..
            } => OpenError::Newer {
                path,
                found,
                known: super::row::ROW_VERSION,
            },
            // Two processes make a journal here at once: the other one was faster.
            Self::Io(source)
                if matches!(
                    source.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::AlreadyExists
                ) =>
            {
                OpenError::InUse(path)
            }
            Self::Io(source) => OpenError::Io { path, source },
            Self::OtherKey { journal, given } => OpenError::OtherKey {
                path,
                journal,
                given,
            },
            other => OpenError::Damaged {
                path,
                what: other.to_string(),
            },
        }
    }
}
