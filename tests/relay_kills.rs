//! Several relays over one table, killed (SIGKILL) at random again and again, and one of them gone for good
//! with its journal: each row is in the stream, none is marked that is not, and what is there twice is
//! another relay's, as far as one that was killed had rows in hand.
//!
//! The script is repeated by its seed, which is printed: `EDGE_OUTBOX_SEED`. `EDGE_OUTBOX_RELAY_ROWS` says how
//! many rows there are:
//!
//!     EDGE_OUTBOX_SEED=20261122 EDGE_OUTBOX_RELAY_ROWS=50000 \
//!         cargo test --features hub --test relay_kills -- --nocapture

#![cfg(all(feature = "hub", feature = "nats", feature = "cli"))]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use edge_outbox::relay::TABLE_SQL;
use serde_json::Value;
use support::{
    hub::{lines, number},
    nats_server::{self, NatsServer},
    postgres_server::PostgresServer,
    random::Random,
    relay_program::{RelayHome, RelayProcess},
};
use tokio::time::sleep;
use tokio_postgres::Client;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(50);
/// Rows, unless the environment says another number.
const ROWS: u64 = 6_000;
const ROWS_VARIABLE: &str = "EDGE_OUTBOX_RELAY_ROWS";
const RELAYS: u64 = 3;
/// What a relay has in hand at most.
const BATCH: usize = 32;
/// There are a kill and a part of the rows for each so many rows.
const ROWS_A_STEP: u64 = 150;

const SENT: &str = "select id from event_outbox where sent_at is not null";

/// A relay, whether it runs or not.
struct Relay {
    name: String,
    home: RelayHome,
    process: Option<RelayProcess>,
}

impl Relay {
    fn new(number: u64, database: &PostgresServer, broker: &NatsServer) -> Self {
        // What a killed one had locked is free at once: the next look comes soon.
        let keys = format!("batch = {BATCH}\npoll = \"500 ms\"");
        let sink = format!(
            "[sinks.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nstart_jitter = \"0 ms\"\n",
            broker.url()
        );
        let name = format!("relay-{number}");
        let mut home = RelayHome::new(&name, database, "relay", &keys, &sink);
        let process = Some(home.start());
        Self {
            name,
            home,
            process,
        }
    }

    fn start(&mut self) {
        if self.process.is_none() {
            self.process = Some(self.home.start());
        }
    }

    /// SIGKILL; false where it did not run.
    fn kill(&mut self) -> bool {
        self.process.take().map(RelayProcess::kill).is_some()
    }
}

/// So many rows, a millisecond after each other, numbered from `first` on.
fn rows(first: u64, count: u64) -> String {
    format!(
        "insert into event_outbox (aggregate_id, event_type, payload, occurred_at) \
         select gen_random_uuid(), 'lesson.published.v1', jsonb_build_object('n', n), \
         timestamptz '2026-03-01 08:00:00+00' + n * interval '1 ms' \
         from generate_series({first}, {first} + {count} - 1) as n"
    )
}

/// The events of the stream, in their order, those of the outbox itself among them.
async fn arrived(broker: &NatsServer) -> Vec<Value> {
    let stream = broker.jetstream().await.get_stream("EVENTS").await.unwrap();
    let messages = nats_server::messages(stream).await;
    let events = messages.iter();
    events
        .map(|it| serde_json::from_slice(it).unwrap())
        .collect()
}

fn text<'a>(event: &'a Value, member: &str) -> &'a str {
    event[member].as_str().unwrap()
}

/// The relays that each row came by, by its id.
fn by_row(events: &[Value]) -> BTreeMap<&str, Vec<&str>> {
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["kind"] == "program") {
        let device = text(event, "device");
        rows.entry(text(event, "id")).or_default().push(device);
    }
    rows
}

/// What is marked is in the stream.
async fn assert_marked_is_there(client: &Client, broker: &NatsServer) {
    // The table first: what is marked then was there before.
    let marked: BTreeSet<String> = lines(client, SENT).await.into_iter().collect();
    let events = arrived(broker).await;
    let there = by_row(&events);
    let lost: Vec<&String> = marked
        .iter()
        .filter(|id| !there.contains_key(id.as_str()))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} rows are marked and not in the stream: {lost:?}",
        lost.len(),
        marked.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_are_killed_again_and_again_send_each_row_and_mark_none_that_is_not_there() {
    let rows_in_all =
        std::env::var(ROWS_VARIABLE).map_or(ROWS, |text| text.parse().expect("a number of rows"));
    let mut random = Random::seeded();
    let began = Instant::now();
    let server = PostgresServer::start();
    server.execute(TABLE_SQL).await;
    server
        .execute("create role relay login; grant edge_outbox_relay to relay")
        .await;
    let broker = NatsServer::start();
    broker.create_stream(|_| {}).await;
    let client = server.connect().await;
    let mut relays: Vec<Relay> = (1..=RELAYS)
        .map(|number| Relay::new(number, &server, &broker))
        .collect();

    let (mut inserted, mut kills) = (0, 0);
    let steps = rows_in_all.div_ceil(ROWS_A_STEP);
    for step in 0..steps {
        let count = ROWS_A_STEP.min(rows_in_all - inserted);
        client.batch_execute(&rows(inserted, count)).await.unwrap();
        inserted += count;
        // Sometimes before a row is taken, sometimes when all are marked.
        sleep(Duration::from_millis(random.between(0, 250))).await;
        let victim = random.between(0, RELAYS - 1) as usize;
        kills += usize::from(relays[victim].kill());
        // One machine is lost in the midst of it, and never comes back.
        if step == steps / 2 {
            let lost = relays.swap_remove(victim);
            drop(lost);
            relays.push(Relay::new(RELAYS + 1, &server, &broker));
        }
        for relay in &mut relays {
            if random.between(0, 2) > 0 {
                relay.start();
            }
        }
        if step % 10 == 9 {
            assert_marked_is_there(&client, &broker).await;
        }
    }
    for relay in &mut relays {
        relay.start();
    }
    let unsent = "select count(*) from event_outbox where sent_at is null";
    while number(&client, unsent).await > 0 {
        let logs: Vec<String> = relays
            .iter()
            .filter_map(|relay| Some(relay.process.as_ref()?.log()))
            .collect();
        assert!(
            began.elapsed() < LIMIT,
            "{} are unsent: {logs:#?}",
            number(&client, unsent).await
        );
        sleep(POLL).await;
    }
    for relay in &mut relays {
        let mut process = relay.process.take().unwrap();
        // One that has just been started does not know yet what SIGTERM is to it.
        process.wait_for_log("started");
        let (code, _, log) = process.stop();
        assert_eq!(code, Some(0), "{log}");
    }
    assert_marked_is_there(&client, &broker).await;

    let wanted: BTreeSet<String> = lines(&client, "select id from event_outbox")
        .await
        .into_iter()
        .collect();
    let events = arrived(&broker).await;
    let there = by_row(&events);
    let found: BTreeSet<String> = there.keys().map(|id| (*id).to_owned()).collect();
    assert_eq!(found, wanted);
    // A relay knows what it has sent, killed or not, and the stream knows what it has by each.
    let mut again = 0;
    for (id, relays) in &there {
        let different: BTreeSet<&&str> = relays.iter().collect();
        assert_eq!(different.len(), relays.len(), "{id} came by {relays:?}");
        again += relays.len() - 1;
    }
    assert!(again <= kills * BATCH, "{again} repeats of {kills} kills");
    // And no event that a relay had signed is missing in the stream.
    let mut seqs: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
    for event in &events {
        let epoch = (text(event, "device"), text(event, "epoch"));
        let seq = event["seq"].as_u64().unwrap();
        assert!(seqs.entry(epoch).or_default().insert(seq), "{event}");
    }
    let came_back = |device: &str| relays.iter().any(|relay| relay.name == device);
    for ((device, _), seqs) in &seqs {
        let whole = (1..=seqs.len() as u64).collect::<BTreeSet<u64>>();
        if came_back(device) {
            assert_eq!(*seqs, whole, "{device}");
        }
    }
    println!(
        "{rows_in_all} rows, {kills} kills: {again} came by two relays, none twice by one; {:?}",
        began.elapsed()
    );
}
