//! A hub, from JetStream to committed rows in Postgres, beside a bare client that pulls the same
//! messages in the same batches, and inserts them into the same kind of table without a look at
//! digests, signatures, chains or repeats. Then two hubs; then one hub's memory over many events.
//!
//! Takes the hub's program as its argument: build it with `cargo build --release --features hub`. Then
//! what is measured: `rates` or `memory`, and over how many events. Each rate is the median of the rounds
//! (least–greatest); all take turns within a round.
//!
//! With `EDGE_OUTBOX_STATEMENTS=1` it prints after each turn what the statements cost the server.

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
    backlog::{envelopes_from, fill_as, public_key},
    bare, per_second,
    process::{Memory, cpu_ms},
    server::{STREAM, empty_stream, free_port, nats_server},
};
use postgres_server::PostgresServer;

const ROUNDS: usize = 5;
/// Devices that made the events, in equal parts.
const DEVICES: u64 = 20;
/// Events of a device in a row: what one signature is for.
const GROUP: usize = 64;
/// Messages in a transaction: the hub's default.
const BATCH: usize = 1_024;
/// How often the memory is looked at.
const LOOKS: u64 = 10;
/// Unanswered messages while the stream is filled.
const WINDOW: usize = 4_096;
const POLL: Duration = Duration::from_millis(5);
const CONSUMER: &str = "edupulse-hub";
/// Prints what the statements cost.
const STATEMENTS: &str = "EDGE_OUTBOX_STATEMENTS";

/// A hub's process; killed when dropped.
struct Hub(Child);

impl Hub {
    fn start(program: &str, home: &Path) -> Self {
        let child = hub(program, home, &["run"]).spawn();
        Self(child.expect("it starts"))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hub(program: &str, home: &Path, command: &[&str]) -> Command {
    let mut hub = Command::new(program);
    hub.args(["hub", "--config"]).arg(home.join("hub.toml"));
    hub.args(command);
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
    fn new(program: &str, home: &Path, nats: u16, registry: &str) -> Self {
        // As a hub has it: whoever answers the servers is not who waits for them.
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut settings = postgres_server::DURABLE.to_owned();
        if std::env::var_os(STATEMENTS).is_some() {
            settings += "shared_preload_libraries = pg_stat_statements\n";
        }
        let server = PostgresServer::with(&settings, postgres_server::OPEN);
        let context = runtime.block_on(empty_stream(nats));
        let config = format!(
            "[database]\nurl = \"{}\"\n[intake]\nerasure_key_file = \"erasure.key\"\n\
             [receipts]\nkey_file = \"hub.pem\"\n[http]\nlisten = \"off\"\n\
             [sources.nats]\ntype = \"nats\"\nservers = [\"nats://127.0.0.1:{nats}\"]\n",
            server.url()
        );
        fs::write(home.join("hub.toml"), config).expect("written");
        runtime.block_on(async {
            server
                .execute(include_str!("../../../config/hub.sql"))
                .await;
            server.execute(bare::hub::TABLE).await;
            if std::env::var_os(STATEMENTS).is_some() {
                server.execute("create extension pg_stat_statements").await;
            }
        });
        let made = hub(program, home, &["key"]).status().expect("it runs");
        assert!(
            made.success(),
            "`edge-outbox hub key` fails: is it built with the hub?"
        );
        let fleet = home.join("fleet.jsonl");
        fs::write(&fleet, registry).expect("written");
        let fleet = fleet.to_str().expect("a path");
        let known = hub(program, home, &["devices", "import", fleet]).status();
        assert!(known.expect("it runs").success(), "no device is registered");
        Self {
            context,
            server,
            runtime,
        }
    }

    fn publish(&self, bodies: impl IntoIterator<Item = Bytes>) {
        let ids = (0_u64..).map(|n| n.to_string());
        let messages = ids.zip(bodies);
        let subject = "edupulse.events.kiosk.quiz";
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
            let stream = self.context.get_stream(STREAM).await.expect("the stream");
            loop {
                if let Ok(mut consumer) = stream.get_consumer::<pull::Config>(CONSUMER).await {
                    while let Ok(info) = consumer.info().await {
                        if info.num_pending + info.num_ack_pending as u64 <= left {
                            return;
                        }
                        tokio::time::sleep(POLL).await;
                    }
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
        let cpu: f64 = hubs.iter().map(|hub| cpu_ms(hub.0.id())).sum();
        drop(hubs);
        eprintln!(
            "{count} hubs: {rate:.0} a second, {:.1} µs of theirs an event",
            cpu * 1e3 / events as f64
        );
        self.runtime.block_on(async {
            let client = self.server.connect().await;
            let question = "select count(*) from edge_outbox_hub.event_rows";
            let row = client.query_one(question, &[]).await.expect("an answer");
            assert_eq!(row.get::<_, i64>(0) as u64, events);
            // As before the first event.
            let empty = "truncate edge_outbox_hub.epochs, edge_outbox_hub.positions, \
                         edge_outbox_hub.event_rows, edge_outbox_hub.boots, \
                         edge_outbox_hub.gap_rows; checkpoint";
            client.batch_execute(empty).await.expect("emptied");
            let stream = self.context.get_stream(STREAM).await.expect("the stream");
            let gone = stream.delete_consumer(CONSUMER).await;
            gone.expect("the consumer is gone");
        });
        self.statements();
        rate
    }

    fn bare(&self, events: u64) -> f64 {
        let rate = self.runtime.block_on(async {
            let client = self.server.connect().await;
            let start = Instant::now();
            bare::hub::pull_and_insert(&self.context, &client, events, BATCH).await;
            let rate = per_second(events, start.elapsed());
            let empty = "truncate edge_outbox_hub.bare_rows; checkpoint";
            client.batch_execute(empty).await.expect("emptied");
            rate
        });
        eprintln!("bare: {rate:.0} a second");
        self.statements();
        rate
    }

    /// What the statements cost the server since this was last asked.
    fn statements(&self) {
        if std::env::var_os(STATEMENTS).is_none() {
            return;
        }
        self.runtime.block_on(async {
            let client = self.server.connect().await;
            let question = "select calls, total_exec_time::float8, rows, \
                            left(regexp_replace(query, '\\s+', ' ', 'g'), 90) \
                            from pg_stat_statements where total_exec_time > 5 \
                            order by total_exec_time desc limit 30";
            for row in client.query(question, &[]).await.expect("an answer") {
                let [calls, rows] = [0, 2].map(|at| row.get::<_, i64>(at));
                let (ms, query): (f64, &str) = (row.get(1), row.get(3));
                eprintln!("{calls:>7} calls {ms:>9.0} ms {rows:>8} rows  {query}");
            }
            let reset = client.batch_execute("select pg_stat_statements_reset()");
            reset.await.expect("forgotten");
        });
    }
}

/// The events of all devices, as they come where each sends what one signature is for, and the lines
/// that an operator registers the devices by.
fn bodies(dir: &Path, events: u64) -> (Vec<Bytes>, String) {
    let mut registry = String::new();
    let of_device = |n: u64| {
        let data = dir.join(format!("data-{n}"));
        let name = format!("kiosk-{n}");
        fill_as(&data, &name, events / DEVICES);
        let key = public_key(&data);
        registry += &format!("{{\"device\":\"{name}\",\"public_key\":\"{key}\"}}\n");
        let bodies = envelopes_from(&data, Seq::FIRST);
        fs::remove_dir_all(&data).expect("removed");
        bodies
    };
    let devices: Vec<Vec<Bytes>> = (1..=DEVICES).map(of_device).collect();
    let longest = devices.iter().map(|device| device.len().div_ceil(GROUP));
    let turns = 0..longest.max().unwrap_or(0);
    let bodies = turns.flat_map(|turn| {
        devices.iter().flat_map(move |device| {
            let groups = device.chunks(GROUP);
            groups.skip(turn).take(1).flatten().cloned()
        })
    });
    (bodies.collect(), registry)
}

fn rates(program: &str, events: u64) {
    let mut figures: [Vec<f64>; 3] = Default::default();
    let base = tempfile::tempdir().expect("a directory");
    let (bodies, registry) = bodies(base.path(), events);
    let count = bodies.len() as u64;
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir().expect("a directory");
        let nats = free_port();
        let _nats = nats_server(dir.path(), nats);
        let scene = Scene::new(program, dir.path(), nats, &registry);
        scene.publish(bodies.iter().cloned());
        // Whoever is first finds the stream in other caches than who comes after.
        for turn in 0..3 {
            let which = (round + turn) % 3;
            figures[which].push(match which {
                0 => scene.hubs(program, dir.path(), 1, count),
                1 => scene.hubs(program, dir.path(), 2, count),
                _ => scene.bare(count),
            });
        }
    }
    let [one, two, bare] = figures.map(Spread::of);
    println!("| {events} events, JetStream to Postgres, a second | | to bare |");
    println!("| --- | --- | --- |");
    println!("| bare pull and insert, batches of {BATCH} | {bare} | |");
    println!("| one hub | {one} | {:.2} |", one.median / bare.median);
    println!("| two hubs | {two} | {:.2} |", two.median / bare.median);
}

fn memory(program: &str, events: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let nats = free_port();
    let _nats = nats_server(dir.path(), nats);
    let (bodies, registry) = bodies(dir.path(), events);
    let scene = Scene::new(program, dir.path(), nats, &registry);
    let count = bodies.len() as u64;
    scene.publish(bodies);
    println!("| one hub's memory, MiB | now | at most so far |");
    println!("| --- | --- | --- |");
    let hub = Hub::start(program, dir.path());
    for look in 1..=LOOKS {
        let left = count - count * look / LOOKS;
        scene.wait(left);
        let memory = Memory::of(hub.0.id());
        let mib = |kib: u64| kib as f64 / 1024.0;
        println!(
            "| after {} events | {:.1} | {:.1} |",
            count - left,
            mib(memory.resident),
            mib(memory.most)
        );
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let program = args.next().expect("the hub's program as argument");
    let what = args.next().expect("`rates` or `memory`");
    let events = args.next().expect("how many events");
    let events = events.parse().expect("a number of events");
    match &*what {
        "rates" => rates(&program, events),
        "memory" => memory(&program, events),
        other => panic!("{other} is neither `rates` nor `memory`"),
    }
}
