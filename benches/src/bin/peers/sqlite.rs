//! An outbox on SQLite with a polling relay, as most teams would write it: one process, a
//! transaction an event, and a loop that publishes what is not marked as sent.
//!
//! It is spared what some would leave out: an index of what is not sent, a message id for the
//! server to know repeats by, a hundred events published before the first answer is awaited, and no
//! pause while there are more.

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions,
    connection::State,
    jetstream::{self, message::PublishMessage},
};
use edge_outbox_benches::classroom::{DEVICE, EVENT_TYPE, payload};
use rusqlite::{Connection, params};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    hub::{Hub, nats::NatsHub},
    load::{Load, Note, Producer, Taken, drive, drive_plainly, runtime},
    peer::{Ground, Peer},
    role::{Role, Store, serve},
};

/// The name of its role.
pub const ROLE: &str = "sqlite";

/// Events that the relay takes at once.
const PAGE: usize = 100;
/// How long one connection to the file waits for the other.
const BUSY: Duration = Duration::from_secs(10);

/// The process, seen from outside.
pub struct Relay {
    store: String,
    poll_ms: u32,
    role: Option<Role>,
    hub: NatsHub,
}

impl Relay {
    /// Asks every `poll_ms` milliseconds whether there is something to send.
    pub fn new(ground: &Ground, poll_ms: u32) -> Self {
        Self {
            store: ground.store.display().to_string(),
            poll_ms,
            role: None,
            hub: NatsHub::new(&ground.hub),
        }
    }
}

impl Peer for Relay {
    fn launch(&mut self) {
        let (port, poll) = (self.hub.port().to_string(), self.poll_ms.to_string());
        self.role = Some(Role::launch(&[ROLE, &self.store, &port, &poll]));
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
pub fn run(dir: &str, port: &str, poll_ms: &str) {
    let dir = Path::new(dir);
    let database = create(dir);
    let relayed = create(dir);
    let poll = Duration::from_millis(poll_ms.parse().expect("a number"));
    let address = format!("nats://127.0.0.1:{port}");
    std::thread::spawn(move || runtime(1).block_on(relay(relayed, address, poll)));
    serve(Writer(Arc::new(Mutex::new(database))));
}

/// Opens the file, and makes the table where there is none.
pub fn create(dir: &Path) -> Connection {
    let database = Connection::open(dir.join("outbox.sqlite")).expect("it opens");
    database.busy_timeout(BUSY).expect("set");
    database
        .execute_batch(
            "pragma journal_mode = wal; pragma synchronous = full;
             create table if not exists outbox (
                 seq integer primary key autoincrement, id text not null, type text not null,
                 payload text not null, sent integer not null default 0);
             create index if not exists unsent on outbox (seq) where sent = 0;",
        )
        .expect("it is made");
    database
}

/// Inserts one event.
pub fn insert(database: &Connection, payload: &str) -> rusqlite::Result<()> {
    let mut insert =
        database.prepare_cached("insert into outbox (id, type, payload) values (?, ?, ?)")?;
    insert.execute((Uuid::now_v7().to_string(), EVENT_TYPE, payload))?;
    Ok(())
}

struct Writer(Arc<Mutex<Connection>>);

impl Store for Writer {
    fn load(&mut self, load: &Load, note: Option<Note>) -> Taken {
        if load.producers == 1 {
            let bytes = load.bytes;
            return drive_plainly(load, note, |numbers| append(&self.0, numbers, bytes));
        }
        let producers = (0..load.producers)
            .map(|_| Writer(self.0.clone()))
            .collect();
        runtime(load.producers).block_on(drive(producers, load, note))
    }
}

impl Producer for Writer {
    async fn append(&mut self, numbers: Range<u64>, bytes: usize) -> Result<(), String> {
        let database = self.0.clone();
        let appended = spawn_blocking(move || append(&database, numbers, bytes)).await;
        appended.expect("no panic")
    }
}

fn append(database: &Mutex<Connection>, numbers: Range<u64>, bytes: usize) -> Result<(), String> {
    let mut database = database.lock().expect("no panic");
    let appended = if numbers.end - numbers.start == 1 {
        insert(&database, &payload(numbers.start, bytes))
    } else {
        database.transaction().and_then(|transaction| {
            for number in numbers {
                insert(&transaction, &payload(number, bytes))?;
            }
            transaction.commit()
        })
    };
    appended.map_err(|error| error.to_string())
}

async fn relay(mut database: Connection, address: String, poll: Duration) {
    let options = ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(address).await.expect("an address");
    let context = jetstream::new(client.clone());
    loop {
        let sent = page(&mut database, &client, &context).await;
        let sent = sent.unwrap_or_default();
        if sent < PAGE {
            tokio::time::sleep(poll).await;
        }
    }
}

/// Publishes the oldest that are not sent, and marks those that the server has stored.
async fn page(
    database: &mut Connection,
    client: &Client,
    context: &jetstream::Context,
) -> Result<usize, Box<dyn std::error::Error>> {
    if client.connection_state() != State::Connected {
        return Ok(0);
    }
    let rows: Vec<(i64, String, String)> = database
        .prepare_cached("select seq, id, payload from outbox where sent = 0 order by seq limit ?")?
        .query_map([PAGE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut answers = Vec::with_capacity(rows.len());
    for (seq, id, payload) in &rows {
        let body = format!(
            "{{\"id\":\"{id}\",\"event_type\":\"{EVENT_TYPE}\",\"seq\":{seq},\"payload\":{payload}}}"
        );
        let message = PublishMessage::build()
            .payload(body.into())
            .message_id(id.as_str());
        let subject = format!("edupulse.events.{DEVICE}.{EVENT_TYPE}");
        answers.push(context.send_publish(subject, message).await?);
    }
    for answer in answers {
        answer.await?;
    }
    if !rows.is_empty() {
        let transaction = database.transaction()?;
        for (seq, ..) in &rows {
            transaction
                .prepare_cached("update outbox set sent = 1 where seq = ?")?
                .execute(params![seq])?;
        }
        transaction.commit()?;
    }
    Ok(rows.len())
}
