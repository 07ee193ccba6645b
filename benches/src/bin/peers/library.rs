//! edge-outbox as a library, in a process of its own and without a sink.

use std::{ops::Range, path::Path};

use edge_outbox::{Blocking, Outbox};
use edge_outbox_benches::classroom::{DEVICE, event};

use crate::{
    hub::{Hub, Nowhere},
    load::{Load, Note, Producer, Taken, drive, drive_plainly, runtime},
    peer::{Ground, Peer},
    role::{Role, Store, serve},
};

/// The name of its role.
pub const ROLE: &str = "library";
/// More than any load hands over.
const QUOTA_BYTES: u64 = 1 << 40;

/// The process, seen from outside.
pub struct Library {
    store: String,
    role: Option<Role>,
    hub: Nowhere,
}

impl Library {
    pub fn new(ground: &Ground) -> Self {
        Self {
            store: ground.store.display().to_string(),
            role: None,
            hub: Nowhere,
        }
    }
}

impl Peer for Library {
    fn launch(&mut self) {
        self.role = Some(Role::launch(&[ROLE, &self.store]));
    }

    fn wait(&mut self) {}

    fn load(&mut self, load: &Load) -> Taken {
        self.role.as_mut().expect("it runs").load(load)
    }

    fn pid(&self) -> u32 {
        self.role.as_ref().expect("it runs").pid()
    }

    fn kill(&mut self) {
        self.role = None;
    }

    fn hub(&mut self) -> &mut dyn Hub {
        &mut self.hub
    }
}

/// The process itself.
pub fn run(dir: &str) {
    let outbox = Outbox::builder(Path::new(dir).join("data"))
        .device(DEVICE.parse().expect("a name"))
        .max_bytes(QUOTA_BYTES)
        .open()
        .expect("it opens");
    serve(Appender(outbox));
}

struct Appender(Outbox);

impl Store for Appender {
    fn load(&mut self, load: &Load, note: Option<Note>) -> Taken {
        if load.producers == 1 {
            let blocking = self.0.blocking();
            return drive_plainly(load, note, |numbers| append(&blocking, numbers, load.bytes));
        }
        let producers = (0..load.producers).map(|_| Task(self.0.clone())).collect();
        runtime(load.producers).block_on(drive(producers, load, note))
    }
}

fn append(blocking: &Blocking, numbers: Range<u64>, bytes: usize) -> Result<(), String> {
    let mut events: Vec<_> = numbers.map(|number| event(number, bytes)).collect();
    let taken = match events.pop() {
        Some(event) if events.is_empty() => blocking.append(event).map(drop),
        Some(event) => {
            events.push(event);
            blocking.append_batch(events).map(drop)
        }
        None => Ok(()),
    };
    taken.map_err(|error| error.to_string())
}

struct Task(Outbox);

impl Producer for Task {
    async fn append(&mut self, numbers: Range<u64>, bytes: usize) -> Result<(), String> {
        let mut events: Vec<_> = numbers.map(|number| event(number, bytes)).collect();
        let taken = match events.pop() {
            Some(event) if events.is_empty() => self.0.append(event).await.map(drop),
            Some(event) => {
                events.push(event);
                self.0.append_batch(events).await.map(drop)
            }
            None => Ok(()),
        };
        taken.map_err(|error| error.to_string())
    }
}
