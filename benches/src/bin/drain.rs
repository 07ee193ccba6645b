//! A backlog to JetStream: the forwarder beside a bare async-nats pipeline with the same window,
//! the same bytes and the same message ids.
//!
//! Each figure is the median of the rounds (least–greatest); both take turns within a round.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use async_nats::jetstream::message::PublishMessage;
use edge_outbox::{
    Event, Outbox, Seq,
    forwarder::{Forwarder, SinkSpec},
    sink::{
        Sink,
        nats::{NatsOptions, NatsSink},
    },
};
use edge_outbox_benches::{
    Spread, payload, per_second,
    server::{STREAM, empty_stream, free_port, nats_server},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use uuid::Uuid;

const ROUNDS: usize = 5;
const EVENTS: u64 = 200_000;
const WINDOW: usize = 1_024;
const BATCH: u64 = 1_000;
const LIMIT: Duration = Duration::from_secs(120);

fn fill(dir: &Path) {
    let outbox = Outbox::builder(dir)
        .device("kiosk-1".parse().expect("a name"))
        .open();
    let outbox = outbox.expect("it opens");
    let payload = payload();
    let event = || {
        let builder = Event::builder("quiz.submitted.v1", Uuid::nil());
        builder.payload(payload.as_str()).build().expect("an event")
    };
    for _ in 0..EVENTS / BATCH {
        let events = (0..BATCH).map(|_| event()).collect();
        outbox.blocking().append_batch(events).expect("taken");
    }
    outbox.blocking().close();
}

/// The forwarder, from opening the journal to the last acknowledgement.
async fn forwarder(dir: &Path, port: u16) -> f64 {
    let outbox = Outbox::builder(dir).open().expect("it opens");
    let options = NatsOptions {
        servers: vec![format!("nats://127.0.0.1:{port}").into()],
        ..NatsOptions::default()
    };
    let sink = SinkSpec::new("nats", Sink::Nats(NatsSink::new(options).expect("options")));
    let start = Instant::now();
    let drained = Forwarder::new(outbox.clone(), vec![sink])
        .drain(LIMIT)
        .await
        .expect("drains");
    let took = start.elapsed();
    assert_eq!(drained.left(), 0);
    outbox.close().await;
    per_second(EVENTS, took)
}

/// The same bytes from memory through the bare client.
async fn bare(bodies: &[(String, bytes::Bytes)], port: u16) -> f64 {
    let context = empty_stream(port).await;
    let start = Instant::now();
    let mut unanswered = FuturesUnordered::new();
    for (id, body) in bodies {
        if unanswered.len() == WINDOW {
            let answer: Result<_, _> = unanswered.next().await.expect("unanswered");
            let _: async_nats::jetstream::publish::PublishAck = answer.expect("stored");
        }
        let message = PublishMessage::build()
            .payload(body.clone())
            .message_id(id)
            .expected_stream(STREAM);
        let subject = "edupulse.events.kiosk-1.quiz.submitted.v1";
        let answer = context.send_publish(subject, message).await.expect("sent");
        unanswered.push(answer.into_future());
    }
    while let Some(answer) = unanswered.next().await {
        answer.expect("stored");
    }
    per_second(EVENTS, start.elapsed())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime")
}

fn main() {
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir_in(&base).expect("a directory");
        let data = dir.path().join("data");
        fill(&data);
        let bodies = runtime().block_on(async {
            let outbox = Outbox::builder(&data).open().expect("it opens");
            let mut lines = outbox.events(Seq::new(2));
            let mut bodies = Vec::new();
            while let Some(chunk) = lines.next_chunk().await.expect("reads") {
                for line in chunk
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                {
                    bodies.push((Uuid::now_v7().to_string(), chunk.slice_ref(line)));
                }
            }
            outbox.close().await;
            bodies
        });
        assert_eq!(bodies.len() as u64, EVENTS);
        let port = free_port();
        let _server = nats_server(dir.path(), port);
        figures[1].push(runtime().block_on(bare(&bodies, port)));
        drop(bodies);
        runtime().block_on(empty_stream(port));
        figures[0].push(runtime().block_on(forwarder(&data, port)));
    }
    let [ours, bare] = figures.map(Spread::of);
    println!("| {EVENTS} events to JetStream, a second | edge-outbox | bare async-nats | ratio |");
    println!("| --- | --- | --- | --- |");
    let ratio = ours.median / bare.median;
    println!("| window of {WINDOW} | {ours} | {bare} | {ratio:.2} |");
}
