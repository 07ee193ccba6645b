//! What an event costs the medium, counted: commits, writes, syncs and bytes, beside commits of bare
//! redb with as many bytes in rows of 64. The medium is memory, so every count is exact.

use redb::{Database, Durability, TableDefinition};

use super::{
    super::storage::{Growth, Metered},
    *,
};
use crate::{
    envelope::MAX_GROUP_EVENTS,
    journal::cursor::Progress,
    meter::Meter,
    seq::{Incarnation, Position, Seq},
};

/// What a stored event of these tests takes beside its payload, in bytes, about.
const ROW_OVERHEAD: usize = 90;

/// Events are in the file before anything is counted, so that its trees have their usual height.
const BEFORE: u64 = 20_000;

/// What the storage was asked for.
#[derive(Clone, Copy, Debug)]
struct Count {
    events: u64,
    commits: u64,
    writes: u64,
    syncs: u64,
    bytes: u64,
}

impl Count {
    fn of(meter: &Meter, events: u64, commits: u64) -> Self {
        Self {
            events,
            commits,
            writes: meter.writes.get(),
            syncs: meter.syncs.get(),
            bytes: meter.bytes_written.get(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            events: self.events - before.events,
            commits: self.commits - before.commits,
            writes: self.writes - before.writes,
            syncs: self.syncs - before.syncs,
            bytes: self.bytes - before.bytes,
        }
    }
}

fn payload(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

/// Appends of so many events at once; the sink `nats` has them as soon as they are durable, or is
/// away.
fn ours(bytes: usize, events_at_once: u64, commits: u64, online: bool) -> Count {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1024));
    core.commit(staging).unwrap();
    let mut number = 0;
    let mut take = |core: &mut Core<FaultyStorage>, count: u64| {
        let request = (number..number + count).map(|number| sealed(number, &payload(bytes)));
        append(core, request.collect()).unwrap().unwrap();
        number += count;
    };
    for _ in 0..BEFORE / 1_000 {
        take(&mut core, 1_000);
    }
    let settle = |core: &mut Core<FaultyStorage>| {
        let tail = core.tail().get();
        core.note_progress(
            &nats(),
            Progress {
                acked: Seq::new(tail),
                floor: Position(tail),
                incarnation: Incarnation(1),
            },
        );
    };
    if online {
        core.set_caught_up(&nats(), true);
    }
    let count = |core: &Core<FaultyStorage>| {
        Count::of(core.store().meter(), core.tail().get(), core.commits())
    };
    let before = count(&core);
    for _ in 0..commits {
        take(&mut core, events_at_once);
        if online {
            settle(&mut core);
        }
    }
    count(&core).since(before)
}

/// The same bytes in rows of as many events as a group has at most, two-phase with quick repair, and nothing else.
fn bare(bytes: usize, events_at_once: usize, commits: u64) -> Count {
    const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
    let meter = std::sync::Arc::new(Meter::default());
    let database = Database::builder()
        .set_cache_size(1 << 20)
        .create_with_backend(Metered {
            inner: redb::backends::InMemoryBackend::new(),
            meter: meter.clone(),
            growth: Growth::default(),
        })
        .unwrap();
    let one = bytes + ROW_OVERHEAD;
    let mut seq = 0;
    let mut take = |count: usize| {
        let mut transaction = database.begin_write().unwrap();
        transaction.set_durability(Durability::Immediate).unwrap();
        transaction.set_quick_repair(true);
        let mut rows = transaction.open_table(ROWS).unwrap();
        let mut left = count;
        while left > 0 {
            let events = left.min(MAX_GROUP_EVENTS);
            rows.insert(seq, vec![7; one * events].as_slice()).unwrap();
            seq += events as u64;
            left -= events;
        }
        drop(rows);
        transaction.commit().unwrap();
    };
    for _ in 0..BEFORE / 1_000 {
        take(1_000);
    }
    let before = Count::of(&meter, 0, 0);
    for _ in 0..commits {
        take(events_at_once);
    }
    Count::of(&meter, commits * events_at_once as u64, commits).since(before)
}

/// What commits may cost at most: a rise is to be noticed, and a fall to be kept. A file that grows
/// costs a sync more.
struct Bound {
    /// In a hundred commits.
    writes: u64,
    /// In a hundred commits.
    syncs: u64,
    /// In a commit.
    bytes: u64,
    /// Bytes beside those of bare redb, in percent.
    of_bare: u64,
}

fn assert_cost(bytes: usize, events_at_once: u64, commits: u64, online: bool, bound: &Bound) {
    let ours = ours(bytes, events_at_once, commits, online);
    let bare = bare(bytes, usize::try_from(events_at_once).unwrap(), commits);
    let told = format!("{ours:?}, bare {bare:?}");
    assert_eq!(ours.events, events_at_once * commits, "{told}");
    assert_eq!(ours.commits, commits, "{told}");
    assert!(ours.writes <= bound.writes * commits / 100, "{told}");
    assert!(ours.syncs <= bound.syncs * commits / 100, "{told}");
    assert!(ours.bytes <= bound.bytes * commits, "{told}");
    assert!(ours.bytes * 100 <= bare.bytes * bound.of_bare, "{told}");
    println!(
        "{events_at_once} of {bytes} at once, online: {online}: {} bytes a commit, {} of bare redb's {} in percent",
        ours.bytes / commits,
        ours.bytes * 100 / bare.bytes,
        bare.bytes / commits
    );
}

#[test]
fn one_event_costs_what_a_bare_commit_costs() {
    let offline = Bound {
        writes: 1_205,
        syncs: 201,
        bytes: 41_800,
        of_bare: 101,
    };
    assert_cost(256, 1, 2_000, false, &offline);
    // Trimming keeps the tree lower than the bare one, which only grows.
    let online = Bound {
        writes: 1_120,
        syncs: 201,
        bytes: 38_300,
        of_bare: 93,
    };
    assert_cost(256, 1, 2_000, true, &online);
}

#[test]
fn a_full_group_costs_little_more_than_its_bytes() {
    let offline = Bound {
        writes: 1_240,
        syncs: 201,
        bytes: 74_900,
        of_bare: 107,
    };
    assert_cost(256, 64, 300, false, &offline);
    let online = Bound {
        writes: 1_170,
        syncs: 201,
        bytes: 71_500,
        of_bare: 102,
    };
    assert_cost(256, 64, 300, true, &online);
}

/// redb gives a row a power of two of pages: of groups as full as they can be, much of that is empty.
/// A commit larger than half of its cache it hands to the storage twice.
#[test]
fn groups_that_fill_their_pages_cost_less_than_full_ones() {
    let bound = Bound {
        writes: 1_360,
        syncs: 201,
        bytes: 119_500,
        of_bare: 68,
    };
    assert_cost(1_024, 64, 300, false, &bound);
    let bound = Bound {
        writes: 5_800,
        syncs: 205,
        bytes: 2_440_000,
        of_bare: 59,
    };
    assert_cost(1_024, 1_000, 40, false, &bound);
}

#[test]
fn a_large_batch_costs_little_more_than_its_bytes() {
    let offline = Bound {
        writes: 3_750,
        syncs: 205,
        bytes: 469_000,
        of_bare: 81,
    };
    assert_cost(256, 1_000, 40, false, &offline);
    let online = Bound {
        writes: 4_170,
        syncs: 205,
        bytes: 490_000,
        of_bare: 84,
    };
    assert_cost(256, 1_000, 40, true, &online);
}
