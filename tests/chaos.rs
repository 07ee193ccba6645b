//! A hundred thousand events for three servers at once, each of which is stopped, killed and
//! started at random, while more events are appended.
//!
//! What each server promises decides how it goes away. nats-server and Postgres have given to the
//! system what they confirmed, so they are killed (SIGKILL) as often as they are stopped; that is a
//! crash of the process and not of the machine. mosquitto writes down what it holds when it is
//! told to stop and at no other time, so it is told to stop (SIGTERM).
//!
//! The script is repeated by its seed, which is printed: `EDGE_OUTBOX_SEED`. It takes two minutes,
//! or as many seconds as `EDGE_OUTBOX_CHAOS_SECONDS` says.

#![cfg(all(feature = "mqtt", feature = "nats", feature = "postgres"))]

mod support;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use edge_outbox::{Seq, forwarder::SinkSpec, sink::mqtt::MqttVersion};
use support::{
    fault_proxy::Fault,
    kiosk::Kiosk,
    other_side::{
        Network, OtherSide, Patience, assert_promises, mqtt::Mqtt, nats::Nats, postgres::Postgres,
    },
    random::Random,
};

/// The variable that says how long the servers come and go.
const SECONDS: &str = "EDGE_OUTBOX_CHAOS_SECONDS";
const DEFAULT_SECONDS: u64 = 120;
/// Events that are pending before the first connection.
const BACKLOG: u64 = 100_000;
/// Events that are appended at a time while the servers come and go, and the pause between: so that
/// something is on its way whenever a server goes.
const BURST: u64 = 100;
const PAUSE: Duration = Duration::from_millis(200);
/// How long a server stays, and stays away, in milliseconds.
const UP_MS: (u64, u64) = (200, 4_000);
const DOWN_MS: (u64, u64) = (10, 2_500);
/// How long a server may go on unheard: longer than the pause between two bursts.
const UNHEARD: Duration = Duration::from_millis(250);
/// How long the rest may take once all servers stay.
const REST_LIMIT: Duration = Duration::from_secs(60);

/// One server and what happened to it.
struct Player {
    name: &'static str,
    side: Box<dyn OtherSide>,
    network: Network,
    random: Random,
    stops: u32,
    kills: u32,
}

impl Player {
    fn new(name: &'static str, side: Box<dyn OtherSide>, random: &mut Random) -> Self {
        Self {
            name,
            network: side.network(),
            side,
            random: random.fork(),
            stops: 0,
            kills: 0,
        }
    }

    fn spec(&self) -> SinkSpec {
        let sink = self.side.sink(&self.network, Patience::Default);
        SinkSpec::new(self.name, sink)
    }

    /// Comes and goes until the time is over, and stays then.
    fn play(&mut self, until: Instant) {
        while Instant::now() < until {
            self.pause(UP_MS, until);
            // Every other time it takes what comes and is not heard of any more, and goes then.
            if (self.stops + self.kills) % 2 == 1 {
                self.network.suffer(Fault::NoAnswers);
                sleep(UNHEARD);
            }
            if self.kills < self.stops && self.side.survives_a_kill() {
                self.side.kill();
                self.kills += 1;
            } else {
                self.side.stop();
                self.stops += 1;
            }
            self.network.mend();
            self.pause(DOWN_MS, until);
            self.side.start_again();
        }
    }

    /// Nothing is lost, nothing is there twice where that is promised, and every repeat is marked.
    fn settle(&mut self, kiosk: &Kiosk, tail: Seq) {
        let arrivals = self.side.received(kiosk.name(), tail);
        let once = self.side.is_exactly_once();
        let verdict = assert_promises(kiosk, arrivals, once, &[]);
        let (repeated, marked) = (verdict.repeated.len(), verdict.marked.len());
        println!(
            "{}: stopped {} times and killed {} times; {marked} events in doubt came marked, \
             {repeated} of them twice or more",
            self.name, self.stops, self.kills
        );
        assert!(
            marked > 0,
            "no outage hit anything on its way to {}",
            self.name
        );
        assert!(
            once || repeated > 0,
            "{} never took anything twice",
            self.name
        );
    }

    fn pause(&mut self, (first, last): (u64, u64), until: Instant) {
        let pause = Duration::from_millis(self.random.between(first, last));
        sleep(pause.min(until.saturating_duration_since(Instant::now())));
    }
}

#[test]
fn a_hundred_thousand_events_reach_three_servers_that_come_and_go() {
    let seconds = std::env::var(SECONDS).map_or(DEFAULT_SECONDS, |text| {
        text.parse().expect("a number of seconds")
    });
    let mut random = Random::seeded();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append(1..=BACKLOG);
    let mut players = [
        Player::new("nats", Box::new(Nats::start()), &mut random),
        Player::new("mqtt", Box::new(Mqtt::start(MqttVersion::V5)), &mut random),
        Player::new("postgres", Box::new(Postgres::start()), &mut random),
    ];
    kiosk.forward(players.iter().map(Player::spec).collect());

    let until = Instant::now() + Duration::from_secs(seconds);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                kiosk.append_some(BURST);
                sleep(PAUSE);
            }
        });
        let playing = players
            .each_mut()
            .map(|player| scope.spawn(|| player.play(until)));
        let ended = playing.map(|player| player.join());
        over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(Result::unwrap);
    });

    let rest = Instant::now();
    for player in &players {
        kiosk.wait_until_caught_up(player.name);
        println!("{} has everything after {:?}", player.name, rest.elapsed());
    }
    assert!(rest.elapsed() < REST_LIMIT, "{:?}", rest.elapsed());
    kiosk.stop_forwarding();
    let tail = kiosk.tail();
    println!("{tail} events in the end");
    // Each event costs a signature's check, or at least a digest: one after the other takes long.
    thread::scope(|scope| {
        for player in &mut players {
            scope.spawn(|| player.settle(&kiosk, tail));
        }
    });
}
