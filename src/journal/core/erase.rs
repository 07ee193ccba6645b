//! Erasing a person, step by step: one call, one commit at most. See [`super::super::erasure`].

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, WriteTransaction};
use uuid::Uuid;

use super::{
    super::{
        erasure::{ERASING, FILLERS, Person, SCRUB_KEY, Scrub, When, Wish, write_over},
        error::{Fault, fault},
        letters, row,
        staging::Staging,
        storage::Storage,
        store::{GROUPS, META},
    },
    Core,
    commit::trim_limit,
};
use crate::{
    clock::Stamp,
    envelope::{Digest, Record},
    ledger::{ErasedEvent, EventsErased, LedgerEvent},
    seq::Seq,
    status::Erasing,
};

/// One commit erases no more events. Bounds its event of the ledger to some 20 KB.
pub(super) const ERASE_EVENTS: usize = 256;

/// One step looks at no more bytes of rows, and at no more rows.
const SCAN_BYTES: usize = 4 * 1024 * 1024;
const SCAN_ROWS: usize = 4_096;

/// One commit inserts no more fillers: 1 MiB of pages.
const FILLERS_AT_ONCE: u64 = 256;

/// Two fillers of so many bytes do not fit on a page of 4 KiB, and one does.
const FILLER_BYTES: usize = 3_000;

/// Fillers inserted in each commit after the file grew, more than redb leaves pages free by itself.
const SETTLING_FILLERS: u64 = 64;

/// Commits after the one in which the file grew.
const SETTLING_COMMITS: u8 = 3;

/// Beside what is in use once more, at most: pages of the commits meanwhile, and what grows the file.
const SCRUB_SPARE_BYTES: u64 = 4 * 1024 * 1024;

/// One commit removes no more fillers.
const DRAINED_AT_ONCE: u64 = 4_096;

/// Rows found to hold something of a person.
struct Found {
    rows: Vec<Seq>,
    /// Rows that are damaged, and hold who knows what.
    unsearched: u64,
    /// Where to go on; `None` where every row was looked at.
    next: Option<Seq>,
}

impl<S: Storage> Core<S> {
    /// Whether an appended request to erase somebody is fulfilled.
    pub(crate) fn erase_on_request(&mut self, yes: bool) {
        self.erasure.on_request = yes;
    }

    /// Begins to erase a person: durable when it returns. [`Self::erase_on`] does it.
    pub(in crate::journal) fn begin_erasing(&mut self, id: Uuid) -> Result<Wish, Fault> {
        let mut upto = self.state.tail;
        let cursors = &self.state.checkpoint.cursors;
        if cursors.values().any(|cursor| cursor.required) {
            // A request is whole until a hub has heard of it, and goes then.
            while self.erasure.is_awaited(upto, id) {
                upto = upto.prev();
            }
        }
        let wish: Wish = (upto, id.to_string().into());
        self.store.write(|transaction| {
            let mut table = transaction.open_table(ERASING).map_err(fault)?;
            let (who, upto) = (&*wish.1, wish.0.get());
            let when = When::Now.as_str();
            table.insert((who, upto), when).map_err(fault)?;
            Ok::<_, Fault>(())
        })?;
        self.erasure.wishes.insert(wish.clone(), When::Now);
        self.erasure.erased.entry(wish.clone()).or_insert(0);
        Ok(wish)
    }

    /// Whether [`Self::erase_on`] has anything to do.
    pub(in crate::journal) fn is_erasing(&self) -> bool {
        self.erasure.scrub.is_some() || self.due().is_some()
    }

    /// What it is at; none where [`Self::erase_on`] has nothing to do.
    pub(in crate::journal) fn erasing(&self) -> Option<Erasing> {
        match (self.due(), self.erasure.scrub) {
            (Some(_), _) => Some(Erasing::Rows),
            (None, Some(Scrub::Begin { is_cut: false })) => Some(Erasing::WaitingForRoom),
            (None, Some(_)) => Some(Erasing::FreePages),
            (None, None) => None,
        }
    }

    /// So many bytes the next step and those after it may take on the disk for a while; none where
    /// that is not the question.
    pub(in crate::journal) fn room_to_scrub(&self) -> Option<u64> {
        let is_next =
            self.due().is_none() && matches!(self.erasure.scrub, Some(Scrub::Begin { .. }));
        is_next.then(|| self.store.file_bytes() + SCRUB_SPARE_BYTES)
    }

    /// There is not so much room. What is committed until there is frees pages that it would pass
    /// over.
    pub(in crate::journal) fn put_off_scrub(&mut self) {
        if let Some(Scrub::Begin { is_cut }) = &mut self.erasure.scrub {
            *is_cut = false;
        }
    }

    /// Whether the next step gives back to the disk what a failed one took.
    pub(in crate::journal) const fn gives_back(&self) -> bool {
        matches!(self.erasure.scrub, Some(Scrub::GiveBack))
    }

    /// How often something was erased.
    pub(in crate::journal) fn erasures(&self) -> u64 {
        self.erasure.generation
    }

    /// How many events each wish has erased that was begun here since this was asked last.
    pub(in crate::journal) fn take_erased(&mut self) -> BTreeMap<Wish, u64> {
        std::mem::take(&mut self.erasure.erased)
    }

    /// How many rows each wish could not search that was begun here since this was asked last.
    pub(in crate::journal) fn take_unsearched(&mut self) -> BTreeMap<Wish, u64> {
        std::mem::take(&mut self.erasure.unsearched)
    }

    /// The next step of what is under way. After an error nothing is known of it;
    /// [`Self::reopen`] must follow.
    pub(in crate::journal) fn erase_on(&mut self, stamp: Stamp) -> Result<(), Fault> {
        if let Some(wish) = self.due().filter(|_| !self.gives_back()).cloned() {
            return self.erase_rows(wish, stamp);
        }
        let next = match self.erasure.scrub {
            None => return Ok(()),
            Some(Scrub::GiveBack) => match self.drain(false)? {
                true => Some(Scrub::Cut),
                false => Some(Scrub::GiveBack),
            },
            Some(Scrub::Cut) => {
                self.close_and_open(stamp)?;
                Some(Scrub::Begin { is_cut: true })
            }
            Some(Scrub::Begin { is_cut }) => {
                if !is_cut {
                    self.close_and_open(stamp)?;
                }
                Some(Scrub::Fill { settling: None })
            }
            Some(Scrub::Fill { settling }) => Some(self.fill(settling)?),
            Some(Scrub::Drain) => match self.drain(true)? {
                true => Some(Scrub::End),
                false => Some(Scrub::Drain),
            },
            Some(Scrub::End) => {
                self.close_and_open(stamp)?;
                None
            }
        };
        self.erasure.scrub = next;
        Ok(())
    }

    /// Closing frees what waits to be freed and cuts the file. Nobody who reads notices.
    fn close_and_open(&mut self, stamp: Stamp) -> Result<(), Fault> {
        let store = self.store.clone();
        store.exchange(|| self.reopen_closed(stamp))
    }

    /// The first wish that can be fulfilled now.
    fn due(&self) -> Option<&Wish> {
        let delivered = || trim_limit(&self.state.checkpoint.cursors);
        let is_due = |(wish, when): &(&Wish, &When)| match when {
            When::Now => true,
            When::Delivered => wish.0 <= delivered() || wish.0 < self.state.first_held,
        };
        let first = self.erasure.wishes.iter().find(is_due);
        first.map(|(wish, _)| wish)
    }

    /// Rewrites what the next rows hold of a person; after the last one the wish is fulfilled.
    fn erase_rows(&mut self, wish: Wish, stamp: Stamp) -> Result<(), Fault> {
        let person = Person::new(&wish.1);
        let from = match &self.erasure.scanned {
            Some((scanned, upto)) if *scanned == wish => *upto,
            _ => Seq::NONE,
        };
        let found = self.find_rows(&person, from, wish.0)?;
        let unsearched = self.erasure.unsearched.entry(wish.clone()).or_insert(0);
        match from {
            Seq::NONE => *unsearched = found.unsearched,
            _ => *unsearched += found.unsearched,
        }
        if !found.rows.is_empty() {
            let count = self.rewrite(&found.rows, &person, wish.0, stamp)?;
            if let Some(erased) = self.erasure.erased.get_mut(&wish) {
                *erased += count;
            }
            self.erasure.generation += 1;
        }
        if let Some(next) = found.next {
            self.erasure.scanned = Some((wish, next));
            return Ok(());
        }
        let kept = self.erase_kept(&person, wish.0, stamp)?;
        if let Some(erased) = self.erasure.erased.get_mut(&wish) {
            *erased += kept;
        }
        self.store.write(|transaction| {
            let mut table = transaction.open_table(ERASING).map_err(fault)?;
            table.remove((&*wish.1, wish.0.get())).map_err(fault)?;
            let mut meta = transaction.open_table(META).map_err(fault)?;
            meta.insert(SCRUB_KEY, 1).map_err(fault)?;
            Ok::<_, Fault>(())
        })?;
        self.erasure.wishes.remove(&wish);
        self.erasure.scanned = None;
        self.erasure.scrub = Some(Scrub::Cut);
        Ok(())
    }

    fn find_rows(&self, person: &Person, from: Seq, upto: Seq) -> Result<Found, Fault> {
        self.store.read(|transaction| {
            let groups = transaction.open_table(GROUPS).map_err(fault)?;
            let (mut rows, mut unsearched, mut events, mut bytes) = (Vec::new(), 0, 0, 0);
            let range = groups.range(from.get()..=upto.get()).map_err(fault)?;
            for (looked_at, entry) in range.enumerate() {
                let (key, value) = entry.map_err(fault)?;
                let first = Seq::new(key.value());
                if looked_at == SCAN_ROWS || bytes >= SCAN_BYTES {
                    return Ok(Found {
                        rows,
                        unsearched,
                        next: Some(first),
                    });
                }
                bytes += value.value().len();
                let owned = match row::count_owned(first, value.value(), person, upto) {
                    Ok(owned) => owned,
                    Err(error) => {
                        tracing::error!(seq = %first, %error, "a damaged row cannot be searched for what is to be erased");
                        unsearched += 1;
                        continue;
                    }
                };
                if events + owned > ERASE_EVENTS {
                    return Ok(Found {
                        rows,
                        unsearched,
                        next: Some(first),
                    });
                }
                if owned > 0 {
                    events += owned;
                    rows.push(first);
                }
            }
            Ok(Found {
                rows,
                unsearched,
                next: None,
            })
        })
    }

    /// Erases what these rows hold of a person, in one commit with the event of the ledger that
    /// says so. Gives the number of events.
    fn rewrite(
        &mut self,
        rows: &[Seq],
        person: &Person,
        upto: Seq,
        stamp: Stamp,
    ) -> Result<u64, Fault> {
        let store = self.store.clone();
        let (written, staging, count) = store.write(|transaction| {
            let (events, shrunk) = rewrite_rows(transaction, rows, person, upto)?;
            let count = events.len() as u64;
            let mut staging = self.stage(stamp);
            staging.shrunk = shrunk;
            let erased = LedgerEvent::EventsErased(EventsErased { events });
            staging.add_ledger(&erased, &mut self.entropy);
            let prev = self.state.head;
            let written = self.put(transaction, &mut staging, prev)?;
            Ok::<_, Fault>((written, staging, count))
        })?;
        self.adopt(written, staging);
        Ok(count)
    }

    /// Erases a person from what is kept of dead letters whose events were trimmed, in one commit.
    /// Gives the number of events.
    fn erase_kept(&mut self, person: &Person, upto: Seq, stamp: Stamp) -> Result<u64, Fault> {
        if self.state.letters.sinks().next().is_none() {
            return Ok(0);
        }
        let store = self.store.clone();
        let (adopted, count) = store.write(|transaction| {
            let is_theirs =
                |record: &Record<'_>| record.statement.seq <= upto && person.owns_record(record);
            let (events, shrunk) = letters::erase(transaction, is_theirs)?;
            if events.is_empty() && shrunk == 0 {
                return Ok::<_, Fault>((None, 0));
            }
            let count = events.len() as u64;
            let mut staging = self.stage(stamp);
            staging.shrunk = shrunk;
            let erased = |&(seq, digest): &(Seq, Digest)| ErasedEvent { seq, digest };
            for some in events.chunks(ERASE_EVENTS) {
                let events = some.iter().map(erased).collect();
                let erased = LedgerEvent::EventsErased(EventsErased { events });
                staging.add_ledger(&erased, &mut self.entropy);
            }
            let written = self.put(transaction, &mut staging, self.state.head)?;
            Ok((Some((written, staging)), count))
        })?;
        if let Some((written, staging)) = adopted {
            self.adopt(written, staging);
            self.erasure.generation += 1;
        }
        Ok(count)
    }

    /// Takes free pages; gives what is to be done next.
    fn fill(&self, settling: Option<u8>) -> Result<Scrub, Fault> {
        let growth = self.store.growth();
        let filler = vec![0; FILLER_BYTES];
        let grew = self.store.write(|transaction| {
            let mut table = transaction.open_table(FILLERS).map_err(fault)?;
            let last = table.last().map_err(fault)?;
            let mut next = last.map_or(0, |(key, _)| key.value() + 1);
            let mut left = match settling {
                Some(_) => SETTLING_FILLERS,
                None => FILLERS_AT_ONCE,
            };
            let before = growth.get();
            let mut grew = false;
            while left > 0 {
                table.insert(next, filler.as_slice()).map_err(fault)?;
                next += 1;
                left -= 1;
                if !grew && growth.get() != before {
                    grew = true;
                    left = SETTLING_FILLERS;
                }
            }
            Ok::<_, Fault>(grew)
        })?;
        Ok(match settling {
            None => Scrub::Fill {
                settling: grew.then_some(SETTLING_COMMITS),
            },
            Some(0 | 1) => Scrub::Drain,
            Some(left) => Scrub::Fill {
                settling: Some(left - 1),
            },
        })
    }

    /// Removes fillers; true once there is none, and where it `is_done` the journal is no longer marked.
    fn drain(&self, is_done: bool) -> Result<bool, Fault> {
        self.store.write(|transaction| {
            let mut table = transaction.open_table(FILLERS).map_err(fault)?;
            let first = table.first().map_err(fault)?.map(|(key, _)| key.value());
            if let Some(first) = first {
                let span = first..first.saturating_add(DRAINED_AT_ONCE);
                table.retain_in(span, |_, _| false).map_err(fault)?;
            }
            if table.last().map_err(fault)?.is_some() {
                return Ok(false);
            }
            drop(table);
            transaction.delete_table(FILLERS).map_err(fault)?;
            if is_done {
                let mut meta = transaction.open_table(META).map_err(fault)?;
                meta.remove(SCRUB_KEY).map_err(fault)?;
            }
            Ok(true)
        })
    }

    /// Who is to be erased by this commit's own word: with a request in it, or because it appends
    /// anew what was to be erased.
    pub(super) fn wished(&self, staging: &Staging) -> Vec<(Wish, When)> {
        let mut wished = self.erasure.wished(staging.first, &staging.events);
        if let Some(first) = staging.taken_back {
            // The start of the epoch comes before them.
            wished.extend(self.erasure.moved(first, staging.first.next()));
        }
        // Of two requests of one person in a row, the second asks for the first to go at once.
        let awaited =
            |(wish, when): &(Wish, When)| (*when == When::Delivered).then(|| wish.clone());
        let awaited: BTreeSet<Wish> = wished.iter().filter_map(awaited).collect();
        wished.retain(|(wish, when)| {
            let known = self.erasure.wishes.get(wish) == Some(&When::Delivered);
            *when == When::Delivered || !(known || awaited.contains(wish))
        });
        wished
    }

    /// Puts what the commit wishes into its transaction.
    pub(super) fn put_wishes(
        &self,
        transaction: &WriteTransaction,
        wished: &[(Wish, When)],
    ) -> Result<(), Fault> {
        if wished.is_empty() {
            return Ok(());
        }
        let mut table = transaction.open_table(ERASING).map_err(fault)?;
        for ((upto, who), when) in wished {
            table
                .insert((&**who, upto.get()), when.as_str())
                .map_err(fault)?;
        }
        Ok(())
    }
}

/// Rewrites the rows, the last one first; gives what is erased, ascending, and by how many bytes
/// the rows are shorter.
fn rewrite_rows(
    transaction: &WriteTransaction,
    rows: &[Seq],
    person: &Person,
    upto: Seq,
) -> Result<(Vec<ErasedEvent>, u64), Fault> {
    let mut groups = transaction.open_table(GROUPS).map_err(fault)?;
    let (mut events, mut shrunk) = (Vec::new(), 0);
    let mut rewritten = Vec::new();
    for &first in rows.iter().rev() {
        let Some(old) = groups.get(first.get()).map_err(fault)? else {
            continue;
        };
        let length = old.value().len();
        rewritten.clear();
        let erased = row::erase(first, old.value(), person, upto, &mut rewritten)
            .map_err(|source| Fault::Row { seq: first, source })?;
        drop(old);
        write_over(&mut groups, first, length, Some(&rewritten))?;
        shrunk += length.saturating_sub(rewritten.len()) as u64;
        let erased = erased
            .into_iter()
            .map(|(seq, digest)| ErasedEvent { seq, digest });
        events.extend(erased.rev());
    }
    events.reverse();
    Ok((events, shrunk))
}
