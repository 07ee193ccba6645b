//! Erasing a person: what is under way, durably and in memory.
//!
//! # What is erased
//!
//! Every event of a program that is held and whose aggregate or subject person is the one named:
//! aggregate, subject, salt and payload leave its row, and the private digest stays in their
//! place. Statement, digest and signature are as before, so the chain verifies; event type, times
//! and the event's own ids are signed in the statement and stay. Each commit that erases holds
//! the event of the ledger that names what it erased. Events of the ledger hold nothing personal
//! and stay whole, and so does what is appended after the erasure began.
//!
//! # Steps, each a commit
//!
//! 1. The wish: a row of [`ERASING`], who and up to which seq. With an appended
//!    `user.erase_requested.v1` it is in that event's own commit.
//! 2. Rows are rewritten, some 256 events a commit, until none is left; then the wish goes, and
//!    with it the id, and the journal is marked as one whose free pages are to be overwritten.
//! 3. The file is scrubbed (below), and the mark goes.
//!
//! A crash between two steps leaves the wish or the mark, and the next start goes on from there.
//! Rewriting begins at the oldest row again, where it finds what is erased already to be nobody's.
//!
//! # How the bytes leave the file
//!
//! redb never writes over a page that a committed tree holds: the rewritten row is on a new page,
//! and the old one becomes free with its bytes. Compaction does not remove them either: on a
//! fragmented file it leaves a quarter. Nor can the file be written anew: the tables of programs
//! in it can not be copied without their types. So every free page is taken by a table of fillers
//! and thereby written over:
//!
//! - The file is closed and opened first. Closing frees every page that still waits to be freed
//!   and cuts off what is free at the end. redb doubles a file that was cut as soon as it needs a
//!   page, so the fillers take once more what is in use, and not the holes of a file that once
//!   was large. It waits for reads to end, so none holds on to an old page.
//! - A filler needs one page of the smallest size, which redb takes from the smallest free run
//!   that there is. It makes the file longer only when there is no free page at all. A file that
//!   grew *while a filler was inserted* is therefore full of live pages and fillers. One that grew
//!   in a commit tells nothing, as some of redb's own pages are larger.
//! - Within a commit redb takes and frees pages that it never writes. A few such pages are free
//!   again after each commit, and are the smallest runs then: so some more commits with more
//!   fillers than that follow, while redb takes its own pages from where the file has grown.
//! - The fillers go, and the file is closed and opened again, which gives back what is free at its
//!   end.
//!
//! So for a while the file takes up to twice the room of what is in use. Where the disk has not
//! got that, the step fails, what was inserted goes at once, and all of it is tried again later.
//!
//! Pages in use hold no old bytes beside what is in them: redb builds a page that it replaces anew,
//! from zeros. The exception is a value that becomes shorter on a page which the same
//! commit has built, or goes from it, for what follows it moves up and leaves its end behind. Rows are
//! therefore rewritten from the last of a commit to its first, each written over with zeros before, so
//! that an end left behind is never one that is to be erased. What is kept of dead letters goes in the
//! same way, and a commit that erases trims nothing.

use std::collections::BTreeMap;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    error::{Fault, ReadError, fault},
    row::EventV1,
    sealed::Sealed,
    store::META,
};
use crate::{
    envelope::{Kind, Record},
    seq::Seq,
};

/// Who is to be erased, by the id and the last seq that it is about; the value says when.
pub(super) const ERASING: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("edge_outbox.erasing");

/// Takes every free page, so that it is written over.
pub(super) const FILLERS: TableDefinition<'_, u64, &[u8]> =
    TableDefinition::new("edge_outbox.fillers");

/// Stands in the table of the format while free pages may hold what was erased.
pub(super) const SCRUB_KEY: &str = "scrub";

/// The event by which a person asks for it.
const REQUEST_TYPE: &str = "user.erase_requested.v1";

/// What an erasure did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Events of which the personal part is erased.
    pub events: u64,
    /// The tail when it began: what was appended later is not erased.
    pub upto: Seq,
    /// Groups of events that are damaged and could not be searched. They may hold what was to be erased.
    #[serde(default)]
    pub unsearched: u64,
}

/// Why it is not known that a person is erased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// A write failed, or the disk has no room for what is free to be written over. What had begun is
    /// completed once the journal can be written to; whether it had is not known. It is safe to ask
    /// again.
    #[error(
        "a write failed or the disk has no room, so it may be erased later or not at all; it is safe \
         to ask again"
    )]
    OutcomeUnknown,
    /// The journal did not take it.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

/// A person: a UUID, or any text that stands as a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    uuid: Option<Uuid>,
    text: Box<str>,
}

impl Person {
    pub(super) fn new(text: &str) -> Self {
        Self {
            uuid: Uuid::try_parse(text).ok(),
            text: text.into(),
        }
    }

    /// Whether the event is this person's, as aggregate or subject, in whichever way the subject
    /// writes the UUID.
    pub(super) fn owns(&self, event: &EventV1<'_>) -> bool {
        event
            .personal()
            .is_some_and(|(aggregate_id, subject_id)| self.is(aggregate_id, subject_id))
    }

    /// As [`Self::owns`], of an event as it is read.
    pub(super) fn owns_record(&self, record: &Record<'_>) -> bool {
        let private = record.private.as_ref();
        record.statement.kind == Kind::Program
            && private.is_some_and(|it| self.is(it.aggregate_id, it.subject_id))
    }

    fn is(&self, aggregate_id: Uuid, subject_id: &str) -> bool {
        let is_uuid = |uuid: Uuid| {
            uuid == aggregate_id || Uuid::try_parse(subject_id).is_ok_and(|subject| subject == uuid)
        };
        self.uuid.is_some_and(is_uuid) || *self.text == *subject_id
    }
}

/// When a wish is fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At once.
    Now,
    /// Once every required sink has confirmed the last event that it is about: the request itself,
    /// of which a hub must hear.
    Delivered,
}

impl When {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Delivered => "delivered",
        }
    }

    fn from_stored(value: &str) -> Self {
        match value {
            "now" => Self::Now,
            _ => Self::Delivered,
        }
    }
}

/// Up to which seq, and who.
pub(super) type Wish = (Seq, Box<str>);

/// How far the file is scrubbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scrub {
    /// Fillers of an attempt that was cut off are removed: on a full disk the journal needs their room.
    Empty,
    /// To be closed and opened.
    Begin,
    /// Fillers are inserted; after the file grew so many commits are left.
    Fill { settling: Option<u8> },
    /// Fillers are removed.
    Drain,
    /// To be closed and opened again.
    End,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Erasure {
    /// Whether a request that is appended is a wish.
    pub(super) on_request: bool,
    pub(super) wishes: BTreeMap<Wish, When>,
    /// The wish at hand, and where to go on: rows before that hold nothing of it any more.
    pub(super) scanned: Option<(Wish, Seq)>,
    pub(super) scrub: Option<Scrub>,
    /// Events erased by each wish that somebody waits for.
    pub(super) erased: BTreeMap<Wish, u64>,
    /// Rows that each wish could not search.
    pub(super) unsearched: BTreeMap<Wish, u64>,
    /// Counts the commits that erased something.
    pub(super) generation: u64,
}

impl Erasure {
    /// Takes over what stands in the file.
    pub(super) fn load(&mut self, database: &Database) -> Result<(), Fault> {
        let transaction = database.begin_read().map_err(fault)?;
        self.wishes.clear();
        self.scanned = None;
        match transaction.open_table(ERASING) {
            Ok(table) => {
                for entry in table.iter().map_err(fault)? {
                    let (key, value) = entry.map_err(fault)?;
                    let (who, upto) = key.value();
                    let when = When::from_stored(value.value());
                    self.wishes.insert((Seq::new(upto), who.into()), when);
                }
            }
            // Nobody was ever erased.
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(fault(error)),
        }
        let meta = transaction.open_table(META).map_err(fault)?;
        let marked = meta.get(SCRUB_KEY).map_err(fault)?.is_some();
        let filled = match transaction.open_table(FILLERS) {
            Ok(table) => table.first().map_err(fault)?.is_some(),
            Err(TableError::TableDoesNotExist(_)) => false,
            Err(error) => return Err(fault(error)),
        };
        self.scrub = match filled {
            true => Some(Scrub::Empty),
            false => marked.then_some(Scrub::Begin),
        };
        Ok(())
    }

    /// Whether this event is the person's request, which goes once it is delivered.
    pub(super) fn is_awaited(&self, seq: Seq, person: Uuid) -> bool {
        let from_there = self.wishes.range((seq, Box::from(""))..);
        let mut of_it = from_there.take_while(|((upto, _), _)| *upto == seq);
        let is_theirs = |who: &str| Uuid::try_parse(who) == Ok(person);
        of_it.any(|((_, who), when)| *when == When::Delivered && is_theirs(who))
    }

    /// What the commit wishes whose first event has this seq.
    pub(super) fn wished(&self, first: Seq, events: &[Sealed]) -> Vec<(Wish, When)> {
        let mut wished = Vec::new();
        if !self.on_request {
            return wished;
        }
        for (offset, sealed) in (0..).zip(events) {
            let event = &sealed.event;
            let is_request = event.event_type.as_str() == REQUEST_TYPE && !sealed.is_erased;
            if sealed.kind != Kind::Program || !is_request {
                continue;
            }
            let seq = first.plus(offset);
            let aggregate = event.aggregate_id.to_string();
            let subject = event.subject_id.as_deref().filter(|id| !id.is_empty());
            for who in [Some(aggregate.as_str()), subject].into_iter().flatten() {
                wished.push(((seq.prev(), who.into()), When::Now));
                wished.push(((seq, who.into()), When::Delivered));
            }
        }
        wished
    }

    /// What goes on to be wished for events from `first` on that are appended anew, from seq `again` on.
    pub(super) fn moved(&self, first: Seq, again: Seq) -> impl Iterator<Item = (Wish, When)> {
        let reaching = self
            .wishes
            .iter()
            .filter(move |((upto, _), _)| *upto >= first);
        reaching.map(move |((upto, who), when)| {
            let upto = again.plus(upto.since(first));
            ((upto, who.clone()), *when)
        })
    }
}

/// Puts a row in the place of a longer one, or takes it away, so that nothing of it stays behind on
/// its page. A commit that does so with several goes from the last to the first.
pub(super) fn write_over(
    table: &mut Table<'_, u64, &'static [u8]>,
    first: Seq,
    length: usize,
    row: Option<&[u8]>,
) -> Result<(), Fault> {
    // Of another length, so that redb builds the page anew if this commit has not yet.
    let zeros = vec![0; length.saturating_sub(1)];
    table.insert(first.get(), zeros.as_slice()).map_err(fault)?;
    match row {
        Some(row) => table.insert(first.get(), row).map_err(fault)?,
        None => table.remove(first.get()).map_err(fault)?,
    };
    Ok(())
}

/// What stands in the file of wishes: up to which seq, who, and when.
pub(super) type StoredWish = (Seq, Box<str>, When);

/// Adds every wish that stands in the file, for a recovery.
pub(super) fn read_wishes(
    transaction: &ReadTransaction,
    wishes: &mut Vec<StoredWish>,
) -> Result<(), Fault> {
    let table = match transaction.open_table(ERASING) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        opened => opened.map_err(fault)?,
    };
    for entry in table.iter().map_err(fault)? {
        let (key, when) = entry.map_err(fault)?;
        let (who, upto) = key.value();
        let when = When::from_stored(when.value());
        wishes.push((Seq::new(upto), who.into(), when));
    }
    Ok(())
}

/// Writes wishes into a new journal, none beyond `tail`: what follows it is not what was meant.
pub(super) fn put_wishes(
    transaction: &WriteTransaction,
    wishes: &[StoredWish],
    tail: Seq,
) -> Result<(), Fault> {
    if wishes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(ERASING).map_err(fault)?;
    for (upto, who, when) in wishes {
        let upto = (*upto).min(tail);
        let key = (&**who, upto.get());
        table.insert(key, when.as_str()).map_err(fault)?;
    }
    Ok(())
}
