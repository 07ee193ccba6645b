//! A broker that loses all that it has stored while it is in use, between a real device and a real
//! hub: with `confirm = "hub"` nothing is missing in the end.

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use support::{
    board::Board,
    hub::{database, health, number},
    hub_program::HubHome,
    mosquitto::MosquittoServer,
    nats_server::NatsServer,
    postgres_server::PostgresServer,
};
use tokio::runtime::Runtime;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// Events that are stored, events that nobody has but the broker, and events after the wipe.
const STORED: u64 = 1_500;
const WIPED: u64 = 2_500;
const LATER: u64 = 20;

fn tables(runtime: &Runtime) -> PostgresServer {
    runtime.block_on(async {
        let server = database().await;
        server
            .execute("grant edge_outbox_hub_operator to hub")
            .await;
        server
    })
}

/// A hub with this source, and a device that sends to it and is registered there.
fn hub_and_device(server: &PostgresServer, source: &str, sink: &str) -> (HubHome, Board) {
    let hub = HubHome::new("hub", server, source);
    let board = Board::new(1, &hub.public_key(), sink);
    hub.register(&board.identity());
    (hub, board)
}

/// The table has every event of the device once, in one whole chain, and nothing else is to be said.
#[track_caller]
fn assert_nothing_is_missing(runtime: &Runtime, hub: &HubHome, server: &PostgresServer, tail: u64) {
    let client = runtime.block_on(server.connect());
    let program = "select count(*) from edge_outbox_hub.event_rows where kind = 'program'";
    let numbers = "select count(distinct payload_json->>'n') from edge_outbox_hub.event_rows";
    let events = (STORED + WIPED + LATER) as i64;
    runtime.block_on(async {
        assert_eq!(number(&client, program).await, events);
        assert_eq!(number(&client, numbers).await, events);
        let clean = format!("kiosk-01 1 {tail} {tail} {tail} {tail} t 0 0 {{}}");
        assert_eq!(health(server).await, [clean]);
    });
    assert_eq!(hub.ok(&["report", "--problems"]), "");
    let verified = format!("{tail} events: nothing is wrong\n");
    assert_eq!(hub.ok(&["verify"]), verified);
}

#[test]
fn a_mosquitto_whose_database_is_gone_costs_nothing() {
    let runtime = Runtime::new().unwrap();
    let server = tables(&runtime);
    let mut mosquitto = MosquittoServer::with("max_inflight_messages 1000\nallow_anonymous true");
    let url = mosquitto.url();
    let source =
        format!("[sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{url}\"]\nclient_id = \"hub-a\"\n");
    let sink = format!("type = \"mqtt\"\nservers = [\"{url}\"]");
    let (mut hub, board) = hub_and_device(&server, &source, &sink);
    let process = hub.start();
    board.hand_over(0..STORED);
    board.wait_until_confirmed(LIMIT);

    // While the hub is away the broker takes events for it.
    assert_eq!(process.stop().0, Some(0));
    let confirmed = board.confirmed();
    board.hand_over(STORED..STORED + WIPED);
    let tail = board.wait_until_delivered(LIMIT);
    mosquitto.save();
    let saved = fs::metadata(mosquitto.database()).unwrap().len();
    assert!(saved > WIPED * 500, "{saved} bytes are saved");
    mosquitto.kill();
    fs::remove_file(mosquitto.database()).unwrap();
    mosquitto.start_again();
    assert_eq!(board.confirmed(), confirmed);
    let kept = board.number("/journal/first_held");
    assert!(kept <= confirmed + 1, "{kept} and {confirmed} of {tail}");

    let process = hub.start();
    board.hand_over(STORED + WIPED..STORED + WIPED + LATER);
    let tail = board.wait_until_confirmed(LIMIT);
    assert_nothing_is_missing(&runtime, &hub, &server, tail);
    board.stop();
    assert_eq!(process.stop().0, Some(0));
}

#[test]
fn a_jetstream_whose_store_is_gone_costs_nothing_whoever_makes_the_stream_again() {
    for by_device in [true, false] {
        let runtime = Runtime::new().unwrap();
        let server = tables(&runtime);
        let mut nats = NatsServer::start();
        let url = nats.url();
        let source =
            format!("[sources.nats]\ntype = \"nats\"\nservers = [\"{url}\"]\nack_wait = \"2 s\"\n");
        // As an operator has it, or as a device makes it.
        let stream = match by_device {
            true => "stream = \"EVENTS\"\ncreate_stream = true",
            false => "stream = \"EVENTS\"",
        };
        let sink = format!("type = \"nats\"\nservers = [\"{url}\"]\nconfirm = \"hub\"\n{stream}");
        let (mut hub, board) = hub_and_device(&server, &source, &sink);
        if !by_device {
            runtime.block_on(nats.create_stream(|_| {}));
        }
        let process = hub.start();
        board.hand_over(0..STORED);
        board.wait_until_confirmed(LIMIT);

        // The hub is there, and its database holds it up: what comes is on its way when the store goes.
        let client = runtime.block_on(server.connect());
        let lock = "begin; lock table edge_outbox_hub.positions in access exclusive mode";
        runtime.block_on(client.batch_execute(lock)).unwrap();
        let confirmed = board.confirmed();
        board.hand_over(STORED..STORED + WIPED);
        board.wait_until_delivered(LIMIT);
        nats.kill();
        fs::remove_dir_all(nats.dir().join("store")).unwrap();
        // A while without a network.
        thread::sleep(Duration::from_secs(1));
        runtime.block_on(client.batch_execute("rollback")).unwrap();
        nats.start_again();
        if !by_device {
            runtime.block_on(nats.create_stream(|_| {}));
        }
        assert!(board.number("/journal/first_held") <= confirmed + 1);
        board.hand_over(STORED + WIPED..STORED + WIPED + LATER);
        let tail = board.wait_until_confirmed(LIMIT);
        assert_nothing_is_missing(&runtime, &hub, &server, tail);
        let deadline = Instant::now() + LIMIT;
        while board.status()["sinks"]["school"]["pending"] != 0 {
            assert!(Instant::now() < deadline, "{:#}", board.status());
            thread::sleep(POLL);
        }
        board.stop();
        assert_eq!(process.stop().0, Some(0));
    }
}
