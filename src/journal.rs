//! The journal: groups of signed events, cursors and dead letters in one redb file.
//!
//! # What it holds
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `edge_outbox.groups` | first seq of the group | the group, packed (`row`) |
//! | `edge_outbox.checkpoint` | – | cursors and counters of a commit that appended nothing |
//! | `edge_outbox.ids` | first seq of 1,024 | the ids of these events (`ids`) |
//! | `edge_outbox.dead_letters` | sink, seq | reason code (`letters`) |
//! | `edge_outbox.dead_letter_notes` | sink, seq | what else is known of it |
//! | `edge_outbox.dead_letters_discarded` | sink, seq | reason code of what was discarded |
//! | `edge_outbox.dead_letter_rows` | first seq of the group | what is kept of it once it is trimmed |
//! | `edge_outbox.meta` | `format` | version of the file |
//! | `edge_outbox.meta` | `dead_letter_row_bytes` | a sum |
//! | `edge_outbox.meta` | `dropped_since`, `dropped_newest` | seqs of the ledger's events on what was dropped, once there is one |
//! | `edge_outbox.meta` | `life.SINK` | the life of the hub whose receipts this sink has believed last |
//! | `edge_outbox.meta` | `scrub` | there while free pages may hold what was erased |
//! | `edge_outbox.erasing` | who, upto | somebody who is to be erased (`erasure`) |
//! | `edge_outbox.fillers` | number | nothing: takes free pages, so that they are written over |
//!
//! A program's own tables, under any other name, live in the same file ([`Transaction`]).
//!
//! # What always holds
//!
//! - Seqs of the rows are consecutive from the first held to the tail; each group's `prev` is the
//!   digest before it, except at the first event of an epoch.
//! - `confirmed ≤ acked ≤ claimed ≤ tail` for every sink.
//! - Tail, head digest and cursors are those of the last row or of the checkpoint, whichever has
//!   the higher revision. The last row is never trimmed.
//! - Ids after `ids_upto` stand in the groups, which trimming leaves until they are written.
//!
//! # What a crash leaves
//!
//! Every commit is two-phase with the allocator's state saved, so a power cut at any instant
//! leaves the last acknowledged commit, or one later that was being acknowledged, and nothing to
//! repair. A journal whose making was cut off is made again. A write or sync that failed leaves
//! it open whether the commit is there: the file is reopened, read from the medium, and made
//! durable by a commit of its own before anything else is answered or forwarded.
//!
//! # Limits
//!
//! A request holds at most [`MAX_REQUEST_EVENTS`] events and [`MAX_REQUEST_BYTES`] of payload; a
//! group 64 events and 512 KiB (or one event); the journal as a whole its quota.

mod core;
mod cursor;
pub(crate) mod damage;
mod disk_guard;
mod entropy;
mod erasure;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guard;
mod held;
mod holes;
mod ids;
mod intake;
mod letters;
mod pages;
mod read_view;
mod reader;
mod recovery;
mod retention;
mod row;
mod sealed;
mod staging;
mod state;
mod storage;
mod store;
mod transaction;
mod writer;

pub use redb;

pub(crate) use self::{
    core::{Core, Identity, NewBoard, Wanted, try_open},
    disk_guard::DiskGuard,
    entropy::{opening_entropy, system_entropy},
    guard::{panic_text, unguarded},
    reader::Reader,
    recovery::recover,
    retention::Retention,
    sealed::Sealed,
    staging::Limits,
    storage::{FileStorage, sync_dir},
    transaction::{Inside, inside},
    writer::{
        Command, End, Finish, Job, LetterCommand, Noted, QUEUE_COMMANDS, ReceiptCommand,
        Registered, Writer,
    },
};
pub use self::{
    cursor::{Cursor, Forgotten, MAX_SINK_NAME_BYTES, Progress, SinkName, SinkNameError, Start},
    erasure::{EraseError, Erased},
    error::{AppendError, OpenError, ReadError, RejectError},
    ids::REMEMBERED_IDS,
    letters::{
        Chosen, Claim, DeadLetter, DeadLetterError, DeadLettersChanged, MAX_DEAD_LETTERS, Retry,
        RetryState, Settled,
    },
    read_view::ReadView,
    reader::Batch,
    recovery::Recovery,
    retention::WhenFull,
    staging::{Appended, MAX_REQUEST_BYTES, MAX_REQUEST_EVENTS},
    storage::Storage,
    transaction::{TableError, Transaction},
    writer::{ForgetError, Horizon, RegisterError},
};

#[cfg(feature = "carry")]
pub(crate) use self::cursor::BY_HAND;
#[cfg(feature = "cli")]
pub(crate) use self::{core::derived_name, guard::is_guarded};

#[cfg(test)]
pub(crate) mod tests;
