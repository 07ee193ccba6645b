//! What the disk and a bare store allow: rows in groups, from one thread, and nobody to answer.

use std::{fs::File, io::Write as _, ops::Range, path::Path};

use edge_outbox_benches::{
    classroom::payload,
    groups::{groups, row_bytes},
};
use redb::{Database, Durability, TableDefinition};
use rusqlite::Connection;

use crate::{
    hub::{Hub, Nowhere},
    load::{Load, Note, Taken, drive_plainly},
    peer::{Ground, Peer},
    role::{Role, Store, serve},
    sqlite::{create, insert},
};

/// The names of the roles.
pub const ROLES: [&str; 3] = ["redb", "sqlite-grouped", "fdatasync"];

const CACHE_BYTES: usize = 4 << 20;
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// The process, seen from outside.
pub struct Limit {
    name: &'static str,
    store: String,
    role: Option<Role>,
    hub: Nowhere,
}

impl Limit {
    pub fn new(ground: &Ground, name: &'static str) -> Self {
        Self {
            name,
            store: ground.store.display().to_string(),
            role: None,
            hub: Nowhere,
        }
    }
}

impl Peer for Limit {
    fn launch(&mut self) {
        self.role = Some(Role::launch(&[self.name, &self.store]));
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
pub fn run(name: &str, dir: &str) {
    let dir = Path::new(dir);
    match name {
        "redb" => {
            let database = redb::Builder::new()
                .set_cache_size(CACHE_BYTES)
                .create(dir.join("rows.redb"))
                .expect("it opens");
            serve(Grouped(|numbers, bytes| {
                redb_rows(&database, numbers, bytes)
            }));
        }
        "sqlite-grouped" => {
            let mut database = create(dir);
            serve(Grouped(|numbers, bytes| {
                sqlite_rows(&mut database, numbers, bytes)
            }));
        }
        _ => {
            let mut file = File::create(dir.join("rows")).expect("it opens");
            serve(Grouped(|numbers, bytes| {
                file_rows(&mut file, numbers, bytes)
            }));
        }
    }
}

/// Writes as many events at once as the load has producers.
struct Grouped<F>(F);

impl<F: FnMut(Range<u64>, usize)> Store for Grouped<F> {
    fn load(&mut self, load: &Load, note: Option<Note>) -> Taken {
        let grouped = Load {
            batch: load.batch * load.producers as u64,
            ..load.clone()
        };
        drive_plainly(&grouped, note, |numbers| {
            (self.0)(numbers, load.bytes);
            Ok(())
        })
    }
}

fn redb_rows(database: &Database, numbers: Range<u64>, bytes: usize) {
    let mut transaction = database.begin_write().expect("begins");
    transaction
        .set_durability(Durability::Immediate)
        .expect("set");
    transaction.set_quick_repair(true);
    {
        let mut rows = transaction.open_table(ROWS).expect("opens");
        let mut from = numbers.start;
        for events in groups((numbers.end - from) as usize, bytes) {
            let row = vec![7; row_bytes(events, bytes)];
            rows.insert(from, row.as_slice()).expect("inserts");
            from += events as u64;
        }
    }
    transaction.commit().expect("commits");
}

fn sqlite_rows(database: &mut Connection, numbers: Range<u64>, bytes: usize) {
    let transaction = database.transaction().expect("begins");
    for number in numbers {
        insert(&transaction, &payload(number, bytes)).expect("inserts");
    }
    transaction.commit().expect("commits");
}

fn file_rows(file: &mut File, numbers: Range<u64>, bytes: usize) {
    let events = (numbers.end - numbers.start) as usize;
    let rows = vec![7; row_bytes(events, bytes)];
    file.write_all(&rows).expect("written");
    file.sync_data().expect("synced");
}
