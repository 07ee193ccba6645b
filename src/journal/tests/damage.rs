//! Journals in which bits have changed, or whose end is gone: nothing loops, nothing panics, nothing
//! wrong is read, and whatever was not hit is recovered. Where redb ends the process, the next start
//! knows, and recovers it.
//!
//! `every_bit` and `a_large_journal` take long, and want a release build:
//! `cargo test --release --lib journal::tests::damage -- --ignored --nocapture`. With
//! `EDGE_OUTBOX_EVERY_NTH_BIT=100` it is every hundredth bit. `EDGE_OUTBOX_WORKERS` is how many
//! processes work at it; without it one for each core.

mod child;
mod end;
mod forms;
mod recovered;
mod sample;
mod tally;
mod trial;
mod trim;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use redb::ReadableTable as _;

use self::{
    child::Batch,
    sample::{Sample, find_all, held, progress, rows, sample, sealed_as, used},
    tally::Tally,
    trial::{Unread, assert_not_wrong, disk, recover_from, recover_it, use_it},
};
use super::{
    storage::{Bytes, Fault as DiskFault, PIECE},
    *,
};
use crate::{
    envelope::{Digest, Epoch},
    journal::{Reader, Recovery, cursor::Progress, recover, recovery::scanned, row},
    seq::{Incarnation, Position, Seq},
};

/// Whatever is done to one journal is done by then.
const LIMIT: Duration = Duration::from_secs(20);

const PAGE: usize = 4096;

/// So many bits one child changes, one after the other.
const CHUNK: usize = 4_096;

#[test]
fn a_journal_that_is_whole_is_left_as_it_is() {
    let sample = sample(5, 3);
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::default();
    let storage = disk(&sample.image, dir.path());
    let what = use_it(&sample, &storage, &(0..0), &mut tally);
    let storage = disk(&sample.image, dir.path());
    recover_it(&sample, &storage, &(0..0), Some(&what), &mut tally);
    assert_eq!(tally.untouched, 1, "{tally:?}");
    println!(
        "{} bytes, {} in pages that are not empty, {} rows",
        sample.bytes.len(),
        used(&sample.bytes).len(),
        sample.rows.len()
    );
}

#[test]
fn a_bit_that_changed_costs_no_more_than_the_group_it_hit() {
    let tally = child::run(Batch::Random {
        large: false,
        anywhere: 40,
        in_rows: 60,
        seed: 5,
    });
    println!("{tally:?}");
    assert_eq!(tally.tried, 100, "{tally:?}");
    assert!(
        tally.recovered > 20 && tally.untouched + tally.unread > 20,
        "{tally:?}"
    );
}

/// The pages over the rows say which row is where: an event must not be passed over because they are
/// wrong.
#[test]
fn a_bit_of_the_tree_over_the_rows_that_changed_hides_no_event() {
    let tally = child::run(Batch::Branches { nth: 97 });
    println!("{tally:?}");
    assert!(tally.recovered > 20, "{tally:?}");
}

/// A checksum is then taken for a place: some ask for four gibibytes, and the children of this test may
/// have one. Whoever asks for more ends without a mark, over which it fails; in a debug build redb
/// notices before.
#[test]
fn a_page_that_seems_to_have_more_children_asks_for_no_more_memory() {
    let tally = child::run(Batch::Children);
    println!("{tally:?}");
    assert!(tally.recovered > 10, "{tally:?}");
}

#[test]
fn a_page_that_is_gone_costs_no_more_than_the_groups_in_it() {
    let tally = child::run(Batch::Pages);
    println!("{tally:?}");
    assert!(tally.recovered > 5, "{tally:?}");
}

/// As cards fail: a block of it is not given.
#[test]
fn a_page_that_cannot_be_read_costs_no_more_than_the_groups_in_it() {
    let tally = child::run(Batch::BadBlocks);
    println!("{tally:?}");
    assert!(tally.recovered > 5, "{tally:?}");
}

#[test]
fn a_journal_that_is_cut_off_is_recovered_up_to_there() {
    let tally = child::run(Batch::Cuts);
    println!("{tally:?}");
    assert!(tally.recovered > 20, "{tally:?}");
}

/// As every other test here, with each bit of every page that holds anything.
#[test]
#[ignore = "twenty minutes of two cores, in a release build"]
fn every_bit() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let nth = number("EDGE_OUTBOX_EVERY_NTH_BIT").unwrap_or(1);
    let workers = number("EDGE_OUTBOX_WORKERS")
        .unwrap_or_else(|| thread::available_parallelism().unwrap().get());
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Tally::default());
    thread::scope(|scope| {
        let work = || loop {
            let skip = next.fetch_add(CHUNK, Ordering::Relaxed) * nth;
            let tally = child::run(Batch::Bits { skip, nth });
            let mut total = total.lock().unwrap();
            total.add(&tally);
            println!("{total:?}");
            if tally.tried < CHUNK as u64 {
                return;
            }
        };
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap();
    assert_eq!(
        total.ended_and_recovered,
        total.ended_in_use + total.ended_in_recovery
    );
}

#[test]
#[ignore = "minutes, in a release build"]
fn every_bit_of_the_tree_over_the_rows() {
    println!("{:?}", child::run(Batch::Branches { nth: 1 }));
}

#[test]
#[ignore = "minutes, in a release build"]
fn a_large_journal() {
    let tally = child::run(Batch::Random {
        large: true,
        anywhere: 150,
        in_rows: 450,
        seed: 11,
    });
    println!("{tally:?}");
}
