//! A backlog to mosquitto: the forwarder beside a bare rumqttc loop with as many events on their way and the
//! same bytes; and a mosquitto that bridges what it kept to another one.
//!
//! Each figure is the median of the rounds (least–greatest); all take turns within a round.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use edge_outbox::sink::{
    Sink,
    mqtt::{MqttOptions, MqttSink},
};
use edge_outbox_benches::{
    Spread,
    backlog::{EVENTS, drain, envelopes, fill, runtime},
    bare,
    classroom::{DEVICE, EVENT_TYPE},
    per_second,
    server::{MQTT_WINDOW, free_port, mosquitto},
};
use rumqttc::v5::{Event, mqttbytes::QoS, mqttbytes::v5::Packet};
use tokio::{sync::oneshot, time::sleep};

const ROUNDS: usize = 6;
const BRIDGE_QUEUE: &str = "max_queued_bytes 0";

fn topic() -> String {
    format!("edupulse/events/{DEVICE}/{EVENT_TYPE}")
}

fn sink(port: u16) -> Sink {
    let options = MqttOptions {
        servers: vec![format!("mqtt://127.0.0.1:{port}").into()],
        max_in_flight: MQTT_WINDOW.into(),
        // The bare client does not look whether anybody listens either.
        accept_no_subscribers: true,
        ..MqttOptions::default()
    };
    Sink::Mqtt(MqttSink::new(options).expect("options"))
}

/// The same bytes from memory through the bare client, until the last one is acknowledged.
async fn bare_client(name: &str, bodies: &[Bytes], port: u16) -> f64 {
    let start = Instant::now();
    bare::mqtt::publish(name, port, &topic(), bodies.iter().cloned()).await;
    per_second(EVENTS, start.elapsed())
}

/// Counts what arrives until all is there. Says when it has subscribed.
async fn receive(name: &'static str, port: u16, ready: oneshot::Sender<()>) -> Instant {
    let (client, mut events) = bare::mqtt::client(name, port);
    let filter = "edupulse/events/#";
    client
        .subscribe(filter, QoS::AtLeastOnce)
        .await
        .expect("room");
    let mut ready = Some(ready);
    let mut arrived = 0;
    while arrived < EVENTS {
        match events.poll().await.expect("connected") {
            Event::Incoming(Packet::SubAck(_)) => drop(ready.take().map(|ready| ready.send(()))),
            Event::Incoming(Packet::Publish(_)) => arrived += 1,
            _ => {}
        }
    }
    Instant::now()
}

/// Runs `feed` while somebody subscribed at `port`, and gives events a second from its start to
/// the last arrival.
fn until_received(port: u16, feed: impl FnOnce()) -> f64 {
    let (ready, subscribed) = oneshot::channel();
    let subscriber = std::thread::spawn(move || runtime().block_on(receive("hub", port, ready)));
    subscribed.blocking_recv().expect("subscribed");
    let start = Instant::now();
    feed();
    let last = subscriber.join().expect("received");
    per_second(EVENTS, last.duration_since(start))
}

/// A local mosquitto holds the backlog for its bridge while the hub is away. Then the hub comes
/// back, with its subscriber, and the local one is started: the time counts from there.
fn bridge(dir: &Path, bodies: &[Bytes]) -> f64 {
    let (local_port, hub_port) = (free_port(), free_port());
    let lines = format!(
        "{BRIDGE_QUEUE}\nconnection hub\naddress 127.0.0.1:{hub_port}\ntopic # out 1\n\
         bridge_protocol_version mqttv50\ncleansession false\nrestart_timeout 1\n"
    );
    let local_dir = dir.join("local");
    let local = mosquitto(&local_dir, local_port, &lines);
    runtime().block_on(bare_client("kiosk", bodies, local_port));
    local.end();
    let hub = mosquitto(&dir.join("hub"), hub_port, "");
    let mut local = None;
    let figure = until_received(hub_port, || {
        local = Some(mosquitto(&local_dir, local_port, &lines));
    });
    drop((local, hub));
    figure
}

/// Lets the broker finish what it does beside answering.
async fn rest() {
    sleep(Duration::from_secs(1)).await;
}

fn main() {
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let mut figures = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir_in(&base).expect("a directory");
        let data = dir.path().join("data");
        fill(&data);
        let bodies = envelopes(&data);
        let port = free_port();
        let server = mosquitto(&dir.path().join("broker"), port, "");
        let mut turns: [(usize, &dyn Fn() -> f64); 2] = [
            (1, &|| {
                runtime().block_on(bare_client("bare", &bodies, port))
            }),
            (0, &|| drain(&data, "bench", sink(port))),
        ];
        turns.rotate_left(round % 2);
        for (of, run) in turns {
            figures[of].push(run());
            runtime().block_on(rest());
        }
        figures[2].push(until_received(port, || {
            let _ = drain(&data, "again", sink(port));
        }));
        drop(server);
        figures[3].push(bridge(dir.path(), &bodies));
    }
    let [ours, bare, received, bridged] = figures.map(Spread::of);
    println!("| {EVENTS} events to mosquitto, a second | edge-outbox | bare rumqttc | ratio |");
    println!("| --- | --- | --- | --- |");
    let ratio = ours.median / bare.median;
    println!(
        "| {MQTT_WINDOW} on their way, to the last PubAck, nobody listens | {ours} | {bare} | {ratio:.2} |"
    );
    println!();
    println!(
        "| {EVENTS} events to a subscriber, a second | edge-outbox | mosquitto bridge | ratio |"
    );
    println!("| --- | --- | --- | --- |");
    let ratio = received.median / bridged.median;
    println!("| to the last arrival at the hub | {received} | {bridged} | {ratio:.2} |");
}
