//! Erasing on a disk that has no room for it.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use redb::StorageBackend;

use super::*;
use crate::{
    journal::{cursor::Progress, storage::Storage},
    seq::{Incarnation, Position, Seq},
};

const BLOCK: u64 = 4_096;

/// What the disk gives where it has room.
type Beneath = <FaultyStorage as Storage>::Backend;

/// Which blocks of the file are on the disk, and how many there may be.
type Blocks = Arc<Mutex<(BTreeSet<u64>, usize)>>;

/// A disk with so many blocks. Holes in the file take none.
#[derive(Clone)]
struct SmallDisk {
    inner: FaultyStorage,
    blocks: Blocks,
}

#[derive(Debug)]
struct SmallFile {
    inner: Beneath,
    blocks: Blocks,
}

impl SmallDisk {
    fn file(&self, inner: Beneath) -> SmallFile {
        SmallFile {
            inner,
            blocks: Arc::clone(&self.blocks),
        }
    }

    /// So many blocks are left from here on.
    fn leave(&self, free: usize) {
        let mut blocks = self.blocks.lock().unwrap();
        blocks.1 = blocks.0.len().saturating_add(free);
    }
}

impl Storage for SmallDisk {
    type Backend = SmallFile;

    fn data_dir(&self) -> Option<Arc<Path>> {
        None
    }

    fn open(&mut self) -> io::Result<Option<SmallFile>> {
        let opened = self.inner.open()?;
        Ok(opened.map(|inner| self.file(inner)))
    }

    fn create(&mut self) -> io::Result<SmallFile> {
        let made = self.inner.create()?;
        Ok(self.file(made))
    }

    fn adopt(&mut self) -> io::Result<()> {
        self.inner.adopt()
    }
}

impl StorageBackend for SmallFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.blocks
            .lock()
            .unwrap()
            .0
            .split_off(&len.div_ceil(BLOCK));
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = (offset + data.len() as u64).div_ceil(BLOCK);
        for block in offset / BLOCK..end {
            let (taken, most) = &mut *self.blocks.lock().unwrap();
            if taken.len() >= *most && !taken.contains(&block) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            taken.insert(block);
        }
        self.inner.write(offset, data)
    }
}

fn acknowledge(core: &mut Core<SmallDisk>, acked: u64) -> Result<(), Fault> {
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), Seq::new(acked + 10));
    core.commit(staging)?;
    let progress = Progress {
        acked: Seq::new(acked),
        floor: Position::default(),
        incarnation: Incarnation::default(),
    };
    core.note_progress(&nats(), progress);
    let staging = core.stage(stamp());
    core.commit(staging)
}

fn take(core: &mut Core<SmallDisk>, number: u64) -> Result<(), Fault> {
    let event = sealed(number, &format!("\"{}\"", "x".repeat(8_000)));
    let mut staging = core.stage(stamp());
    core.append(&mut staging, vec![event]).unwrap();
    core.commit(staging)
}

#[test]
fn an_erasure_that_finds_no_room_gives_back_what_it_took() {
    let disk = SmallDisk {
        inner: FaultyStorage::new(1),
        blocks: Arc::default(),
    };
    disk.leave(usize::MAX);
    let opened = Core::open(
        disk.clone(),
        identity(),
        LIMITS,
        1 << 20,
        entropy(1),
        stamp(),
    );
    let mut core = opened.unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1 << 20));
    core.commit(staging).unwrap();
    for number in 2..1_200 {
        take(&mut core, number).unwrap();
    }
    for acked in (40..1_100).step_by(10) {
        acknowledge(&mut core, acked).unwrap();
    }
    assert!(
        core.first_held() > Seq::new(1_000),
        "delivered, and trimmed"
    );
    disk.leave(75);
    core.begin_erasing(Uuid::from_u128(99)).unwrap();
    let mut next = 10_000;
    let mut gave_back = 0;
    for _ in 0..3 {
        while core.erase_on(stamp()).is_ok() {
            assert!(core.is_erasing(), "the disk has room for it");
        }
        core.reopen(stamp()).unwrap();
        gave_back += u32::from(core.gives_back());
        while core.gives_back() {
            core.erase_on(stamp()).unwrap();
        }
        // The disk is as full as it was, and what was trimmed is room.
        for _ in 0..20 {
            take(&mut core, next).unwrap();
            acknowledge(&mut core, next - 8_890).unwrap();
            next += 1;
        }
    }
    assert!(gave_back > 0);
    disk.leave(usize::MAX);
    while core.is_erasing() {
        core.erase_on(stamp()).unwrap();
    }
}
