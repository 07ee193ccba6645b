//! Dead letters through the program and real servers: listed, sent again once what was in their way
//! is mended, discarded; and killed in the middle of it.

#![cfg(all(feature = "cli", feature = "nats", feature = "postgres"))]
#[path = "support/http_client.rs"]
mod http_client;
mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use edge_outbox::{
    Verifier,
    envelope::{Envelope, Unverified},
};
use http_client::{Connection, Request};
use serde_json::{Value, json};
use support::{
    nats_server::{NatsServer, events_stream, messages},
    postgres_server::PostgresServer,
    program::{Home, lines},
};

/// What the constraint of these tests refuses.
const BITTER: &str = "bitter.v1";
const CONSTRAINT: &str =
    "alter table device_events add constraint mild check (event_type <> 'bitter.v1')";
const NO_CONSTRAINT: &str = "alter table device_events drop constraint mild";

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(20);

fn event(event_type: &str, payload: &str) -> String {
    format!(
        "{{\"event_type\":\"{event_type}\",\
         \"aggregate_id\":\"0192f0c1-2345-7000-8000-0123456789ab\",\"payload\":{payload}}}\n"
    )
}

/// At this server, for the sink `hub`.
fn home_at(server: &PostgresServer) -> Home {
    Home::with_config(&format!(
        "[sinks.hub]\ntype = \"postgres\"\nurl = \"{}\"\nstart_jitter = \"0 ms\"\n",
        server.url()
    ))
}

/// With a server that refuses what is bitter, and three dead letters: seqs 2, 3 and 6.
async fn bitter() -> (PostgresServer, Home) {
    let server = PostgresServer::with_tables().await;
    server.execute(CONSTRAINT).await;
    let home = home_at(&server);
    let events = [
        event(BITTER, r#"{"n": 2}"#),
        event(BITTER, "3"),
        lines(4..6),
        event(BITTER, "6"),
        lines(7..10),
    ];
    assert_eq!(home.run_with(&["append"], events.concat()).code, 0);
    (server, home)
}

fn letters(home: &Home) -> Vec<Value> {
    let json = home.ok(&["dead-letters", "list", "--json"]);
    serde_json::from_str(&json).unwrap()
}

fn seqs(home: &Home) -> Vec<u64> {
    let letters = letters(home).into_iter();
    letters
        .map(|letter| letter["seq"].as_u64().unwrap())
        .collect()
}

#[track_caller]
fn wait_for(home: &Home, wanted: impl Fn(&[Value]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let letters = letters(home);
        if wanted(&letters) {
            return;
        }
        assert!(Instant::now() < deadline, "still {letters:#?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Seq and mark of what is bitter in the table.
async fn stored(server: &PostgresServer) -> Vec<(i64, bool)> {
    let question = format!(
        "select seq, redelivered from device_events where event_type = '{BITTER}' order by seq"
    );
    let client = server.connect().await;
    let rows = client.query(&question, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn refused(home: &Home, args: &[&str], said: &str) {
    let ended = home.run(args);
    assert_eq!((ended.code, ended.stderr.as_str()), (1, said), "{args:?}");
}

/// Until nothing is left: what a drain adds to the ledger is for the next one.
fn drain(home: &Home) {
    home.run(&["drain"]);
    assert_eq!(home.ok(&["drain"]), "hub: everything delivered\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_constraint_refused_arrives_once_it_is_dropped() {
    let (server, home) = bitter().await;
    let daemon = home.daemon();
    let status = home.wait_for(|status| status["sinks"]["hub"]["dead_letters"] == 3);
    assert_eq!(
        status["sinks"]["hub"]["dead_letter_reasons"],
        json!({"constraint": 3})
    );
    home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    assert_eq!(seqs(&home), [2, 3, 6]);
    let list = home.ok(&["dead-letters", "list", "--sink", "hub"]);
    let first = list.lines().next().unwrap();
    assert!(
        first.starts_with("hub  2  constraint  rejected, at 20") && list.lines().count() == 3,
        "{list}"
    );
    assert!(
        home.ok(&["status"])
            .contains("3 dead letters: 3 constraint")
    );

    // The envelope is whole, and verifies.
    let shown: Value =
        serde_json::from_str(&home.ok(&["dead-letters", "show", "hub", "2", "--json"])).unwrap();
    assert_eq!(
        (&shown["held"], &shown["retry"]),
        (&json!(true), &json!("none"))
    );
    let text = home.ok(&["dead-letters", "show", "hub", "2"]);
    let (head, line) = text.split_once("envelope   ").unwrap();
    assert!(
        head.starts_with(
            "sink       hub\nseq        2\nreason     constraint\nstate      rejected"
        ),
        "{text}"
    );
    assert!(
        line.trim_end().ends_with(r#","payload":{"n": 2}}"#),
        "{text}"
    );
    let mut verifier = Verifier::new();
    let key = home.status()["public_key"].as_str().unwrap().to_owned();
    verifier.trust(key.parse().unwrap());
    let envelope = Envelope::<Unverified>::parse(line.trim_end().as_bytes()).unwrap();
    assert_eq!(verifier.verify(envelope).unwrap().statement().seq.get(), 2);

    // As long as the constraint is there, it only is rejected once more.
    let told = home.ok(&["dead-letters", "retry", "hub", "2"]);
    assert_eq!(told, "hub: 1 dead letter is sent again\n");
    wait_for(&home, |letters| letters[0]["rejections"] == 2);
    assert_eq!(seqs(&home), [2, 3, 6]);
    assert_eq!(stored(&server).await, []);

    server.execute(NO_CONSTRAINT).await;
    let told = home.ok(&["dead-letters", "retry", "hub", "2"]);
    assert_eq!(told, "hub: 1 dead letter is sent again\n");
    wait_for(&home, |letters| letters.len() == 2);
    let told = home.ok(&["dead-letters", "retry", "hub", "--all"]);
    assert_eq!(told, "hub: 2 dead letters are sent again\n");
    wait_for(&home, <[_]>::is_empty);
    assert_eq!(stored(&server).await, [(2, true), (3, true), (6, true)]);
    // The other side hears of it, too.
    let status = home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    assert_eq!(status["sinks"]["hub"]["dead_letters"], 0);
    let client = server.connect().await;
    let count = "select count(*) from device_events \
                 where event_type = 'outbox.dead_letter_delivered.v1'";
    let row = client.query_one(count, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
    refused(
        &home,
        &["dead-letters", "retry", "hub", "2"],
        "error: event 2 is no dead letter of sink \"hub\"\n\
         hint: `edge-outbox dead-letters list` shows those there are\n",
    );
    assert_eq!(daemon.stop().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_they_are_noted_and_a_drain_sends_them() {
    let (server, home) = bitter().await;
    drain(&home);
    server.execute(NO_CONSTRAINT).await;
    let told = home.ok(&["dead-letters", "retry", "hub", "3"]);
    assert_eq!(
        told,
        "hub: 1 dead letter is sent again once a daemon runs, or by `edge-outbox drain`\n"
    );
    let list = home.ok(&["dead-letters", "list"]);
    assert!(list.contains(", to be sent again\n"), "{list}");
    let told = home.ok(&["dead-letters", "discard", "hub", "6"]);
    assert_eq!(told, "hub: 1 dead letter is discarded\n");
    drain(&home);
    assert_eq!(stored(&server).await, [(3, true)]);
    assert_eq!(seqs(&home), [2]);
    let told = home.ok(&["dead-letters", "discard", "hub", "--all", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        told,
        json!({"sink": "hub", "dead_letters": 1, "left_out": 0})
    );
    assert_eq!(home.ok(&["dead-letters", "list"]), "");
    let ledger = home.ok(&["tail", "--from", "1"]);
    for seqs in ["[6]", "[2]"] {
        let said = format!(r#""payload":{{"sink":"hub","seqs":{seqs},"reason":"operator"}}"#);
        assert!(ledger.contains(&said), "{said}");
    }
    refused(
        &home,
        &["dead-letters", "discard", "hbu", "--all"],
        "error: no sink \"hbu\" has a place in the journal\n\
         hint: `edge-outbox sinks list` shows those that have one\n",
    );
    let ended = home.run(&["dead-letters", "retry", "hub"]);
    assert_eq!(ended.code, 2, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_one_arrives_once_in_postgres() {
    let (server, home) = bitter().await;
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["dead_letters"] == 3);
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "caught_up");
    server.execute(NO_CONSTRAINT).await;
    server.freeze();
    home.ok(&["dead-letters", "retry", "hub", "2"]);
    wait_for(&home, |letters| letters[0]["retry"] == "in_doubt");
    // It is with the server, which does not answer.
    thread::sleep(Duration::from_millis(300));
    daemon.kill();
    assert_eq!(letters(&home)[0]["retry"], "in_doubt");
    server.thaw();
    let daemon = home.daemon();
    wait_for(&home, |letters| letters.len() == 2);
    assert_eq!(stored(&server).await, [(2, true)]);
    assert_eq!(daemon.stop().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_one_arrives_once_in_a_stream() {
    let mut server = NatsServer::start();
    let stream = server
        .create_stream(|config| config.max_message_size = 4_000)
        .await;
    let home = Home::with_config(&format!(
        "[sinks.hub]\ntype = \"nats\"\nservers = [\"{}\"]\nstream = \"EVENTS\"\n\
         start_jitter = \"0 ms\"\n",
        server.url()
    ));
    let large = format!("\"{}\"", "x".repeat(5_000));
    let events = [lines(0..5), event("picture.v1", &large), lines(5..10)].concat();
    assert_eq!(home.run_with(&["append"], events).code, 0);
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["dead_letters"] == 1);
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "caught_up");
    let seq = seqs(&home)[0];
    server
        .jetstream()
        .await
        .update_stream(events_stream())
        .await
        .unwrap();
    server.freeze();
    home.ok(&["dead-letters", "retry", "hub", &seq.to_string()]);
    wait_for(&home, |letters| letters[0]["retry"] == "in_doubt");
    thread::sleep(Duration::from_millis(300));
    daemon.kill();
    server.thaw();
    let daemon = home.daemon();
    wait_for(&home, <[_]>::is_empty);
    home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    let said = daemon.log();
    assert_eq!(daemon.stop().0, 0);
    let copies: Vec<Value> = messages(stream)
        .await
        .iter()
        .map(|message| serde_json::from_slice(message).unwrap())
        .filter(|message: &Value| message["seq"] == seq)
        .collect();
    assert_eq!(copies.len(), 1, "{said}");
    assert_eq!(copies[0]["redelivered"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_only_those_may_ask_who_may_write() {
    let (server, home) = bitter().await;
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["dead_letters"] == 3);
    home.wait_for(|status| status["sinks"]["hub"]["pending"] == 0);
    let mut http = Connection::unix(&home.socket());
    let list = http.ask(&Request::get("/v1/dead-letters?sink=hub"));
    assert_eq!(list.status, 200);
    assert_eq!(list.json()["dead_letters"].as_array().unwrap().len(), 3);
    let empty = http.ask(&Request::get("/v1/dead-letters?sink=lab"));
    assert_eq!(empty.json(), json!({"dead_letters": []}));
    http.ask(&Request::get("/v1/dead-letters?name=hub"))
        .problem(400, "bad-request");
    let one = http.ask(&Request::get("/v1/dead-letters/hub/6")).json();
    assert_eq!(
        (&one["envelope"]["payload"], &one["reason"]),
        (&json!(6), &json!("constraint"))
    );
    http.ask(&Request::get("/v1/dead-letters/hub/7"))
        .problem(404, "dead-letter-unknown");

    let retry = |seq| Request::new("POST", format!("/v1/dead-letters/hub/{seq}/retry")).body("");
    let json = "application/json";
    Connection::unix(&home.socket())
        .ask(&retry(6))
        .problem(415, "unsupported-content-type");
    Connection::unix(&home.socket())
        .ask(
            &retry(6)
                .header("content-type", json)
                .header("origin", "http://evil.example"),
        )
        .problem(403, "origin-not-allowed");
    assert!(
        letters(&home)
            .iter()
            .all(|letter| letter["retry"] == "none")
    );
    Connection::unix(&home.socket())
        .ask(&retry(7).header("content-type", json))
        .problem(404, "dead-letter-unknown");
    server.execute(NO_CONSTRAINT).await;
    let told = Connection::unix(&home.socket()).ask(&retry(6).header("content-type", json));
    let expected = json!({"sink": "hub", "dead_letters": 1, "left_out": 0});
    assert_eq!((told.status, told.json()), (200, expected));
    wait_for(&home, |letters| letters.len() == 2);
    let mut http = Connection::unix(&home.socket());
    let told = http.ask(&Request::new("DELETE", "/v1/dead-letters/hub"));
    let expected = json!({"sink": "hub", "dead_letters": 2, "left_out": 0});
    assert_eq!((told.status, told.json()), (200, expected));
    assert_eq!(letters(&home), [] as [Value; 0]);
    let refused = http.ask(&Request::new("DELETE", "/v1/dead-letters"));
    refused.problem(405, "method-not-allowed");
    drop(daemon);
}
