//! Real devices, half of them at a nats-server and half at a mosquitto, two hubs and a Postgres,
//! every one of which is killed (SIGKILL) and started again at random: in the end every event is in
//! the table once, every chain is whole, and devices that trim by the hub's word have trimmed nothing
//! else.
//!
//! nats-server and Postgres have given to the system what they confirmed, so a kill costs them
//! nothing. mosquitto keeps it in memory: each kill takes all that it has confirmed and no hub had
//! yet, sessions, retained receipts and tails among it, and only receipts bring it back.
//!
//! As it stands it takes about a minute. The whole of it, with the seed of the run to be repeated:
//!
//!     EDGE_OUTBOX_SEED=20261122 EDGE_OUTBOX_HUB_DEVICES=20 EDGE_OUTBOX_HUB_EVENTS=200000 \
//!     EDGE_OUTBOX_HUB_KILLS=20 cargo test --features hub --test hub_kills -- --nocapture

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use support::{
    board::{Board, SINK},
    hub::{database, health, lines, number},
    hub_program::{HubHome, HubProcess},
    mosquitto::MosquittoServer,
    nats_server::NatsServer,
    postgres_server::PostgresServer,
    random::Random,
};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// What is asked for where nothing else is. Kills are those of each server and hub, and of devices all
/// together.
const DEVICES: u64 = 4;
const EVENTS: u64 = 6_000;
const KILLS: u64 = 3;
/// How long each of them lives and is away, in milliseconds.
const UP_MS: (u64, u64) = (300, 4_000);
const DOWN_MS: (u64, u64) = (10, 1_500);
/// Events that are handed over at a time.
const PART: u64 = 250;
/// What a device may hold of what it need not keep: a chunk, and the group that it ends in.
const UNTRIMMED: u64 = 1_024 + 64;
/// How long all of it may take without anything new in the tables. What was sent again and lost again
/// is waited for half a minute.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// What is killed and started again.
trait Mortal {
    fn kill(&mut self);
    fn start_again(&mut self);
}

impl Mortal for NatsServer {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }
}

impl Mortal for MosquittoServer {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }
}

impl Mortal for PostgresServer {
    fn kill(&mut self) {
        Self::kill(self);
    }

    fn start_again(&mut self) {
        Self::start_again(self);
    }
}

struct Hub {
    home: HubHome,
    process: Option<HubProcess>,
}

impl Mortal for Hub {
    fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    fn start_again(&mut self) {
        self.process = Some(self.home.start());
    }
}

/// Whichever device comes up. Who hands events to it starts it again.
struct Fleet<'a> {
    boards: &'a [Board],
    random: Random,
}

impl Mortal for Fleet<'_> {
    fn kill(&mut self) {
        let last = self.boards.len() as u64 - 1;
        while !self.boards[self.random.between(0, last) as usize].kill() {
            thread::sleep(POLL);
        }
    }

    fn start_again(&mut self) {}
}

/// How far the script is.
struct Script {
    kills: AtomicU64,
    in_all: u64,
}

impl Script {
    /// Kills so often, at random.
    fn play(&self, kills: u64, random: &mut Random, mortal: &mut dyn Mortal) {
        let mut pause = |(shortest, longest)| {
            thread::sleep(Duration::from_millis(random.between(shortest, longest)));
        };
        for _ in 0..kills {
            pause(UP_MS);
            mortal.kill();
            pause(DOWN_MS);
            mortal.start_again();
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_over(&self) -> bool {
        self.kills.load(Ordering::Relaxed) == self.in_all
    }

    /// How many of so many events may have been handed over by now: the last ones follow the last kill.
    fn share(&self, events: u64) -> u64 {
        events * (self.kills.load(Ordering::Relaxed) + 1) / (self.in_all + 1)
    }
}

/// Hands so many events to a device while the script goes on, starts the device again whenever it was
/// killed, and looks at what it has trimmed.
fn attend(
    (board, by_receipts): (&Board, bool),
    events: u64,
    script: &Script,
    runtime: &Runtime,
    database: &str,
) {
    let mut handed = 0;
    while handed < events || !script.is_over() {
        let next = script.share(events).min(handed + PART);
        if next > handed {
            board.hand_over(handed..next);
            handed = next;
        } else {
            board.start();
            thread::sleep(POLL);
        }
        // Of the others the broker's word is enough, which tells nothing of the hub.
        let Some(status) = board.try_status().filter(|_| by_receipts) else {
            continue;
        };
        let first_held = status["journal"]["first_held"].as_u64().unwrap();
        if first_held > 1 {
            let complete_to = runtime.block_on(complete_to(database, board.name()));
            assert!(
                complete_to >= first_held - 1,
                "{} holds from seq {first_held} on, and the hub has up to {complete_to}",
                board.name()
            );
        }
    }
}

/// Up to where the hub has everything of a device, however long its database is away.
async fn complete_to(database: &str, device: &str) -> u64 {
    const QUESTION: &str = "select coalesce(max(complete_to), 0) \
                            from edge_outbox_hub.device_health where device = $1";
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(database, NoTls).await {
            let task = tokio::spawn(connection);
            let row = client.query_one(QUESTION, &[&device]).await;
            drop(client);
            drop(task.await);
            if let Ok(row) = row {
                return row.get::<_, i64>(0) as u64;
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until the table has so many events.
#[track_caller]
fn wait_for_events(runtime: &Runtime, client: &Client, wanted: u64, hubs: &[Hub]) {
    let count = || {
        let question = "select count(*) from edge_outbox_hub.event_rows";
        runtime.block_on(number(client, question)) as u64
    };
    let (mut stored, mut since) = (count(), Instant::now());
    while stored < wanted {
        thread::sleep(POLL);
        let now = count();
        if now > stored {
            since = Instant::now();
        }
        stored = now;
        if since.elapsed() > PATIENCE {
            let log = |hub: &Hub| hub.process.as_ref().map(HubProcess::log);
            let logs: Vec<String> = hubs.iter().filter_map(log).collect();
            let health = lines_of_health(runtime, client);
            panic!("{stored} of {wanted}: {health:#?}\n{}", logs.join("\n--\n"));
        }
    }
}

fn lines_of_health(runtime: &Runtime, client: &Client) -> Vec<String> {
    let question = "select device, held, highest, complete_to, missing \
                    from edge_outbox_hub.device_health order by 1";
    runtime.block_on(lines(client, question))
}

#[test]
fn of_what_is_killed_again_and_again_every_event_is_stored_once() {
    let runtime = Runtime::new().unwrap();
    let mut random = Random::seeded();
    let devices = asked("EDGE_OUTBOX_HUB_DEVICES", DEVICES);
    let each = asked("EDGE_OUTBOX_HUB_EVENTS", EVENTS) / devices;
    let kills = asked("EDGE_OUTBOX_HUB_KILLS", KILLS);
    let mut nats = NatsServer::start();
    let mut mosquitto = MosquittoServer::with("max_inflight_messages 1000\nallow_anonymous true");
    let mut server = runtime.block_on(async {
        nats.create_stream(|_| {}).await;
        let server = database().await;
        server
            .execute("grant edge_outbox_hub_operator to hub")
            .await;
        server
    });
    let sections = |hub: &str| {
        format!(
            "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nack_wait = \"2 s\"\n\
             [sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nclient_id = \"{hub}\"\n",
            nats.url(),
            mosquitto.url()
        )
    };
    let first = HubHome::new("hub-a", &server, &sections("hub-a"));
    let hub_key = first.public_key();
    let second = HubHome::new("hub-b", &server, &sections("hub-b")).with_keys_of(&first);
    let boards: Vec<Board> = (0..devices)
        .map(|n| {
            let (kind, url) = match n % 2 {
                0 => ("nats", nats.url()),
                _ => ("mqtt", mosquitto.url()),
            };
            let sink = format!("type = \"{kind}\"\nservers = [\"{url}\"]");
            Board::new(n, &hub_key, &sink)
        })
        .collect();
    first.register(&boards.iter().map(Board::identity).collect::<String>());
    let mut hubs = [first, second].map(|home| Hub {
        home,
        process: None,
    });
    for hub in &mut hubs {
        hub.start_again();
    }

    let began = Instant::now();
    let analyst = server.url_as("analyst", "?sslmode=disable");
    {
        let mut fleet = Fleet {
            boards: &boards,
            random: random.fork(),
        };
        let [a, b] = &mut hubs;
        let mortals: [&mut (dyn Mortal + Send); 6] =
            [&mut nats, &mut mosquitto, &mut server, a, b, &mut fleet];
        let script = Script {
            kills: AtomicU64::new(0),
            in_all: kills * mortals.len() as u64,
        };
        thread::scope(|scope| {
            for mortal in mortals {
                let (mut random, script) = (random.fork(), &script);
                scope.spawn(move || script.play(kills, &mut random, mortal));
            }
            for (n, board) in boards.iter().enumerate() {
                let (script, runtime, analyst) = (&script, &runtime, analyst.as_str());
                let board = (board, n % 2 == 1);
                scope.spawn(move || attend(board, each, script, runtime, analyst));
            }
        });
        println!(
            "{} kills, {kills} of each server and hub and of devices, in {:?}",
            script.in_all,
            began.elapsed()
        );
    }

    // Now that all of them stay, what is missing comes, and the last events have it trimmed.
    let (of_nats, of_mqtt): (Vec<&Board>, Vec<&Board>) = (
        boards.iter().step_by(2).collect(),
        boards.iter().skip(1).step_by(2).collect(),
    );
    let mut client = runtime.block_on(server.connect());
    for last in each..=each + 2 {
        let tails = boards.iter().map(|it| it.wait_until_delivered(PATIENCE));
        wait_for_events(&runtime, &client, tails.sum(), &hubs);
        for board in &of_mqtt {
            board.wait_until_confirmed(PATIENCE);
        }
        println!("stored and confirmed after {:?}", began.elapsed());
        if last < each + 2 {
            for board in &boards {
                board.hand_over(last..last + 1);
            }
        }
    }
    let mut clean = Vec::new();
    let (mut stored, mut resent) = (0, 0);
    for board in &boards {
        let (tail, first_held) = (board.number("/tail"), board.number("/journal/first_held"));
        let name = board.name();
        assert!(
            tail - first_held <= UNTRIMMED,
            "{name} holds from seq {first_held} to {tail}"
        );
        clean.push(format!("{name} 1 {tail} {tail} {tail} {tail} t 0 0 {{}}"));
        stored += tail;
    }
    for board in &of_mqtt {
        let status = board.status();
        let sink = &status["sinks"][SINK];
        assert_eq!(sink["dead_letters"], 0, "{sink:#}");
        resent += sink["hub"]["resent"].as_u64().unwrap();
    }
    assert_eq!(of_nats.len() + of_mqtt.len(), boards.len());
    assert_eq!(runtime.block_on(health(&server)), clean);
    // By the numbers in their payloads: each once, and none but those that were handed over.
    client = runtime.block_on(server.connect());
    let events = "select device, count(*), count(distinct id), count(distinct payload_json->>'n'), \
                  min((payload_json->>'n')::bigint), max((payload_json->>'n')::bigint) \
                  from edge_outbox_hub.event_rows where kind = 'program' group by 1 order by 1";
    let count = each + 2;
    let wanted: Vec<String> = boards
        .iter()
        .map(|it| format!("{} {count} {count} {count} 0 {}", it.name(), count - 1))
        .collect();
    assert_eq!(runtime.block_on(lines(&client, events)), wanted);
    assert_eq!(hubs[0].home.ok(&["report", "--problems"]), "");
    // Stored once, signed, and each naming the one before it.
    let found = hubs[0].home.ok(&["verify"]);
    assert_eq!(found, format!("{stored} events: nothing is wrong\n"));
    let quarantined = "select count(*) from edge_outbox_hub.quarantine";
    assert_eq!(runtime.block_on(number(&client, quarantined)), 0);
    println!(
        "{stored} events of {devices} devices; at least {resent} were sent again over MQTT; {:?}",
        began.elapsed()
    );
    for hub in &mut hubs {
        let (code, _, log) = hub.process.take().unwrap().stop();
        assert_eq!(code, Some(0), "{log}");
    }
    for board in &boards {
        board.stop();
    }
}
