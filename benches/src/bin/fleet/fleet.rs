//! The devices: a journal each, with what it took in while it was away.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use edge_outbox::Outbox;
use edge_outbox_benches::{PAYLOAD_BYTES, classroom::event, process::Memory};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that a device has open at most: its journal, the event queues of two threads, what its
/// reads need, and the connection.
const FILES_EACH: usize = 16;
/// Files that everything else may need.
const OTHER_FILES: usize = 200;
/// Threads that make journals: they mostly wait for the disk.
const MAKERS: usize = 16;
/// Room for the page cache of each. There are few pages, and a thousand caches.
const CACHE_BYTES: usize = 256 * 1024;

/// Raises how many files this process, and the broker that it starts, may have open.
///
/// # Errors
/// So many are not allowed; with what to do.
pub fn raise_open_files(devices: usize) -> Result<(), String> {
    let needed = (devices * FILES_EACH + OTHER_FILES) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(most) = limit.maximum.filter(|most| *most < needed) {
        return Err(format!(
            "{devices} devices have up to {needed} files open, and no more than {most} are allowed: \
             raise it (ulimit -Hn {needed}), or have fewer with --devices"
        ));
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("{needed} open files are not allowed: {error}"))
}

/// All of them, open.
pub struct Fleet {
    devices: Vec<Outbox>,
}

impl Fleet {
    /// Makes so many journals below a directory, and has each take so many events in, one at a time
    /// as they happen in a classroom.
    pub fn open(dir: &Path, count: usize, events: usize) -> Self {
        let next = AtomicUsize::new(0);
        let make = || {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return made;
                }
                made.push((number, device(dir, number, events)));
            }
        };
        let mut devices: Vec<_> = thread::scope(|scope| {
            let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(make)).collect();
            let made = makers.into_iter().map(|maker| maker.join());
            made.flat_map(|made| made.expect("no panic")).collect()
        });
        devices.sort_by_key(|(number, _)| *number);
        Self {
            devices: devices.into_iter().map(|(_, device)| device).collect(),
        }
    }

    /// So many of them.
    pub fn first(&self, count: usize) -> &[Outbox] {
        &self.devices[..count]
    }

    /// What this process has of memory for each of them.
    pub fn memory(&self) -> String {
        let memory = Memory::of(std::process::id());
        let count = self.devices.len();
        format!(
            "{count} devices in one process: {:.2} MiB each, {:.2} MiB at most.",
            memory.resident as f64 / 1024.0 / count as f64,
            memory.most as f64 / 1024.0 / count as f64
        )
    }

    pub fn close(self) {
        for device in self.devices {
            device.blocking().close();
        }
    }
}

fn device(dir: &Path, number: usize, events: usize) -> Outbox {
    let name = format!("kiosk-{number:04}");
    let device = Outbox::builder(dir.join(&name))
        .device(name.parse().expect("a name"))
        .cache_bytes(CACHE_BYTES)
        // A thousand of them would be two gigabytes.
        .ballast(0)
        .open()
        .expect("it opens");
    for number in 0..events as u64 {
        let event = event(number, PAYLOAD_BYTES);
        device.blocking().append(event).expect("taken");
    }
    device
}
