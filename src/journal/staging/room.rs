//! Whether what is staged finds room, and what has to go where it does not.

use redb::ReadTransaction;

use super::{
    super::{
        error::{AppendError, Fault, fault},
        retention::WhenFull,
        store::GROUPS,
    },
    LEDGER_RESERVE_BYTES, SMALL_EVENT_BYTES, Staging, View,
};
use crate::seq::Seq;

/// Least share of the quota that is given up at once: one commit for each of the appended events
/// would be a commit, and an event of the ledger, for each.
const DROP_SHARE: u64 = 100;

/// Least number of bytes that is given up at once, where that is no large share of the quota.
/// What the ledger says of it takes a good part of it, at worst.
const DROP_LEAST_BYTES: u64 = 64 * 1024;
const DROP_LEAST_SHARE: u64 = 16;

/// The disk has so little room that the journal may not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowDisk {
    /// Bytes that may be held until it has more.
    pub(crate) most_held: u64,
    /// Bytes that were free when it was looked at last.
    pub(crate) free: u64,
    /// Bytes that stay free.
    pub(crate) min_free: u64,
}

/// What goes in the commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropping {
    /// The first event that stays.
    keep_from: Seq,
    /// Bytes that go.
    bytes: u64,
}

impl Staging {
    /// From where on events are kept, where some have to go to make room.
    pub(in crate::journal) fn keep_from(&self) -> Option<Seq> {
        self.dropping.map(|dropping| dropping.keep_from)
    }

    /// Whether not even a small event finds room beside what is staged.
    pub(in crate::journal) fn is_full(&self, view: View<'_>) -> bool {
        !self.has_room_for(view, SMALL_EVENT_BYTES)
    }

    /// Whether so many bytes fit beside what is held and staged.
    pub(super) fn has_room_for(&self, view: View<'_>, bytes: u64) -> bool {
        self.in_use(view) + bytes <= most(view)
    }

    /// Bytes that will be held.
    fn in_use(&self, view: View<'_>) -> u64 {
        let going = self.dropping.map_or(0, |dropping| dropping.bytes);
        view.state.held_bytes.saturating_sub(going) + self.weight
    }

    /// Makes room for what is staged, a request of so many bytes being the last of it, by giving up
    /// the oldest events; false where that is not wanted or would not do.
    pub(super) fn make_room(&mut self, view: View<'_>, needed: u64) -> bool {
        let quota = view.limits.max_bytes;
        if view.limits.retention.when_full != WhenFull::DropOldest
            || needed > quota.saturating_sub(LEDGER_RESERVE_BYTES)
        {
            return false;
        }
        let missing = self.in_use(view).saturating_sub(most(view));
        let chunk = (quota / DROP_SHARE).max(DROP_LEAST_BYTES.min(quota / DROP_LEAST_SHARE));
        let (from, before) = match self.dropping {
            Some(dropping) => (dropping.keep_from, dropping.bytes),
            None => (view.state.first_held, 0),
        };
        let found = view
            .store
            .read(|transaction| oldest(transaction, from, missing.max(chunk)));
        match found {
            Ok((next, bytes)) if bytes >= missing => {
                self.dropping = Some(Dropping {
                    // Where nothing is left, what this very commit appends is.
                    keep_from: next.unwrap_or_else(|| view.state.tail.next()),
                    bytes: before + bytes,
                });
                true
            }
            Ok(_) => false,
            Err(fault) => {
                tracing::warn!(%fault, "what could be given up to make room cannot be found");
                false
            }
        }
    }

    /// Why a request that needs so many bytes is refused.
    pub(super) fn no_room(&self, view: View<'_>, needed: u64) -> AppendError {
        let quota_bytes = view.limits.max_bytes;
        let most = quota_bytes.saturating_sub(LEDGER_RESERVE_BYTES);
        if needed > most {
            // Trimming everything would not help it.
            return AppendError::LargerThanQuota {
                bytes: needed,
                most,
            };
        }
        view.state.short_of_room.set(true);
        match view.limits.low_disk {
            Some(low) if low.most_held < most => AppendError::DiskFull {
                free: low.free,
                min_free: low.min_free,
            },
            _ => AppendError::Full {
                bytes: view.state.held_bytes + self.weight,
                needed,
                quota_bytes,
            },
        }
    }
}

/// The most bytes that may be held, those of the ledger's reserve not counted.
fn most(view: View<'_>) -> u64 {
    let quota = view.limits.max_bytes.saturating_sub(LEDGER_RESERVE_BYTES);
    let disk = view.limits.low_disk.map_or(u64::MAX, |low| low.most_held);
    quota.min(disk)
}

/// The oldest rows from `from` on that are as large together: where the next one begins, and their
/// bytes.
fn oldest(
    transaction: &ReadTransaction,
    from: Seq,
    wanted: u64,
) -> Result<(Option<Seq>, u64), Fault> {
    let groups = transaction.open_table(GROUPS).map_err(fault)?;
    let mut bytes = 0;
    for entry in groups.range(from.get()..).map_err(fault)? {
        let (key, row) = entry.map_err(fault)?;
        if bytes >= wanted {
            return Ok((Some(Seq::new(key.value())), bytes));
        }
        bytes += row.value().len() as u64;
    }
    Ok((None, bytes))
}
