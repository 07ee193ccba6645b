//! A hub, from JetStream to committed rows in Postgres, beside a bare client that pulls the same
//! messages in the same batches, and inserts them into the same kind of table without a look at
//! digests, signatures, chains or repeats. Then two hubs, and one hub's memory over a million events.
//!
//! Takes the hub's program as its argument: build it with `cargo build --release --features hub`. Each
//! figure is the median of the rounds (least–greatest); all take turns within a round.

#[path = "../../../tests/support/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod postgres_server;
#[path = "../../../tests/support/server_process.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server_process;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use async_nats::jetstream::{consumer::pull, context::Context};
use bytes::Bytes;
use edge_outbox::Seq;
use edge_outbox_benches::{
    Spread,
    backlog::{EVENTS, envelopes_from, fill_with, runtime},
    bare, per_second,
    process::Memory,
    server::{STREAM, empty_stream, free_port, nats_server},
};
use postgres_server::PostgresServer;

const ROUNDS: usize = 5;
/// Messages in a transaction: the hub's default.
const BATCH: usize = 1_024;
/// Events of which the memory is looked at, and how often.
const MANY: u64 = 1_000_000;
const LOOKS: u64 = 5;
/// Unanswered messages while the stream is filled.
const WINDOW: usize = 4_096;
const POLL: Duration = Duration::from_millis(20);
const CONSUMER: &str = "edupulse-hub";
/// As a server is that keeps what it confirmed.
const SETTINGS: &str =
    "fsync = on\nfull_page_writes = on\nshared_buffers = 128MB\nautovacuum = on\n";

/// A hub's process; killed when dropped.
struct Hub(Child);

impl Hub {
    fn start(program: &str, home: &Path) -> Self {
        let child = hub(program, home, "run").spawn();
        Self(child.expect("it starts"))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hub(program: &str, home: &Path, command: &str) -> Command {
    let mut hub = Command::new(program);
    hub.args(["hub", command, "--config"]);
    hub.arg(home.join("hub.toml"));
    hub.stdout(Stdio::null()).stderr(Stdio::null());
    hub
}

/// Servers, a stream with these events, and empty tables.
struct Scene {
    context: Context,
    server: PostgresServer,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new(program: &str, home: &Path, nats: u16) -> Self {
        let runtime = runtime();
        let server = PostgresServer::with(SETTINGS, postgres_server::OPEN);
        let context = runtime.block_on(empty_stream(nats));
        let config = format!(
            "[database]\nurl = \"{}\"\n[intake]\nerasure_key_file = \"erasure.key\"\n\
             first_use = true\n[receipts]\nkey_file = \"hub.pem\"\n[http]\nlisten = \"off\"\n\
             [sources.nats]\ntype = \"nats\"\nservers = [\"nats://127.0.0.1:{nats}\"]\n",
            server.url()
        );
        fs::write(home.join("hub.toml"), config).expect("written");
        runtime.block_on(async {
            server
                .execute(include_str!("../../../config/hub.sql"))
                .await;
            server.execute(bare::hub::TABLE).await;
        });
        let made = hub(program, home, "key").status().expect("it runs");
        assert!(
            made.success(),
            "`edge-outbox hub key` fails: is it built with the hub?"
        );
        Self {
            context,
            server,
            runtime,
        }
    }

    fn publish(&self, bodies: &[Bytes]) {
        let ids = (0_u64..).map(|n| n.to_string());
        let messages = ids.zip(bodies.iter().cloned());
        let subject = "edupulse.events.kiosk-1.quiz";
        self.runtime.block_on(bare::nats::publish(
            &self.context,
            subject,
            messages,
            WINDOW,
        ));
    }

    /// Waits until all but so many messages of the stream are acknowledged.
    fn wait(&self, left: u64) {
        self.runtime.block_on(async {
            loop {
                if let Ok(stream) = self.context.get_stream(STREAM).await
                    && let Ok(mut consumer) = stream.get_consumer::<pull::Config>(CONSUMER).await
                    && let Ok(info) = consumer.info().await
                    && info.num_pending + info.num_ack_pending as u64 <= left
                {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        });
    }

    /// So many hubs at once, from their start to the last acknowledgement.
    fn hubs(&self, program: &str, home: &Path, count: usize, events: u64) -> f64 {
        let start = Instant::now();
        let hubs: Vec<Hub> = (0..count).map(|_| Hub::start(program, home)).collect();
        self.wait(0);
        let rate = per_second(events, start.elapsed());
        drop(hubs);
        self.runtime.block_on(async {
            let client = self.server.connect().await;
            let question = "select count(*) from edge_outbox_hub.event_rows";
            let row = client.query_one(question, &[]).await.expect("an answer");
            assert_eq!(row.get::<_, i64>(0) as u64, events);
            // Everything, as before the first event.
            let empty = "truncate edge_outbox_hub.devices, edge_outbox_hub.device_keys, \
                         edge_outbox_hub.epochs, edge_outbox_hub.positions, \
                         edge_outbox_hub.event_rows, edge_outbox_hub.gap_rows, \
                         edge_outbox_hub.tampering cascade";
            client.batch_execute(empty).await.expect("emptied");
            let stream = self.context.get_stream(STREAM).await.expect("the stream");
            let gone = stream.delete_consumer(CONSUMER).await;
            gone.expect("the consumer is gone");
        });
        rate
    }

    fn bare(&self, events: u64) -> f64 {
        self.runtime.block_on(async {
            let client = self.server.connect().await;
            let start = Instant::now();
            bare::hub::pull_and_insert(&self.context, &client, events, BATCH).await;
            let rate = per_second(events, start.elapsed());
            let empty = "truncate edge_outbox_hub.bare_rows";
            client.batch_execute(empty).await.expect("emptied");
            rate
        })
    }
}

fn rates(program: &str, base: &Path) {
    let mut figures: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir_in(base).expect("a directory");
        let data = dir.path().join("data");
        fill_with(&data, EVENTS);
        let bodies = envelopes_from(&data, Seq::FIRST);
        let nats = free_port();
        let _nats = nats_server(dir.path(), nats);
        let scene = Scene::new(program, dir.path(), nats);
        scene.publish(&bodies);
        let events = bodies.len() as u64;
        // Whoever is first finds the stream in other caches than who comes after.
        for turn in 0..3 {
            let which = (round + turn) % 3;
            figures[which].push(match which {
                0 => scene.hubs(program, dir.path(), 1, events),
                1 => scene.hubs(program, dir.path(), 2, events),
                _ => scene.bare(events),
            });
        }
    }
    let [one, two, bare] = figures.map(Spread::of);
    println!("| {EVENTS} events, JetStream to Postgres, a second | | to bare |");
    println!("| --- | --- | --- |");
    println!("| bare pull and insert, batches of {BATCH} | {bare} | |");
    println!("| one hub | {one} | {:.2} |", one.median / bare.median);
    println!("| two hubs | {two} | {:.2} |", two.median / bare.median);
}

fn memory(program: &str, base: &Path) {
    let dir = tempfile::tempdir_in(base).expect("a directory");
    let data = dir.path().join("data");
    fill_with(&data, MANY);
    let nats = free_port();
    let _nats = nats_server(dir.path(), nats);
    let scene = Scene::new(program, dir.path(), nats);
    let bodies = envelopes_from(&data, Seq::FIRST);
    scene.publish(&bodies);
    let events = bodies.len() as u64;
    drop(bodies);
    println!();
    println!("| one hub's memory, MiB | now | at most so far |");
    println!("| --- | --- | --- |");
    let hub = Hub::start(program, dir.path());
    for look in 1..=LOOKS {
        let left = events - events * look / LOOKS;
        scene.wait(left);
        let memory = Memory::of(hub.0.id());
        let mib = |kib: u64| kib as f64 / 1024.0;
        println!(
            "| after {} events | {:.1} | {:.1} |",
            events - left,
            mib(memory.resident),
            mib(memory.most)
        );
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let program = args.next().expect("the hub's program as argument");
    let base = args.next().map_or_else(std::env::temp_dir, Into::into);
    rates(&program, &base);
    memory(&program, &base);
}
