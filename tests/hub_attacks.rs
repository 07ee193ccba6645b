//! Whoever may publish at a broker, against a real hub behind it: each attack ends in quarantine, a
//! gap or tampering, a forged receipt trims nothing, and real devices beside it are served as ever.
//! In which order they come is by chance, which a seed repeats: `EDGE_OUTBOX_SEED`.
//!
//! The flood lasts two seconds here, at ten thousand messages a second. For ten:
//!
//!     EDGE_OUTBOX_FLOOD_SECONDS=10 cargo test --features hub --test hub_attacks flood -- --nocapture

#![cfg(all(feature = "hub", feature = "nats", feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::{Context, consumer::pull};
use bytes::Bytes;
use edge_outbox::{
    DeviceKey, PublicKey,
    envelope::Envelope,
    hub::{MAX_BATCH, MAX_BYTES, MAX_MESSAGES, NATS_CONSUMER},
    receipt::Receipt,
    seq::Seq,
};
use futures_util::TryStreamExt as _;
use rumqttc::v5::{AsyncClient, MqttOptions, mqttbytes::QoS};
use serde_json::json;
use support::{
    board::Board,
    chained_device::{ChainedDevice, Draft, Sealed},
    hub::{database, lines, number},
    hub_program::HubHome,
    mosquitto::MosquittoServer,
    nats_server::NatsServer,
    postgres_server::PostgresServer,
    random::Random,
    subscriber::Subscriber,
};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// The two brokers with a hub behind them, and who may publish at each.
struct Scene {
    runtime: Runtime,
    _server: PostgresServer,
    client: Client,
    nats: NatsServer,
    mosquitto: MosquittoServer,
    at_nats: Context,
    at_mosquitto: AsyncClient,
    hub: HubHome,
    hub_key: String,
}

/// By which broker something comes; its word is the origin in the hub's tables.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Nats,
    Mqtt,
}

impl Way {
    const ALL: [Self; 2] = [Self::Nats, Self::Mqtt];

    const fn origin(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Mqtt => "mqtt",
        }
    }
}

impl Scene {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let nats = NatsServer::start();
        let mosquitto = MosquittoServer::with("max_inflight_messages 1000\nallow_anonymous true");
        let (server, client, at_nats) = runtime.block_on(async {
            nats.create_stream(|_| {}).await;
            let server = database().await;
            let client = server.connect().await;
            let operator = "grant edge_outbox_hub_operator to hub";
            client.batch_execute(operator).await.unwrap();
            let mut at_nats = nats.jetstream().await;
            at_nats.set_timeout(LIMIT);
            (server, client, at_nats)
        });
        let sources = format!(
            "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\n\
             [sources.mqtt]\ntype = \"mqtt\"\nservers = [\"{}\"]\nclient_id = \"hub-a\"\n",
            nats.url(),
            mosquitto.url()
        );
        let hub = HubHome::new("hub", &server, &sources).without_first_use();
        let at_mosquitto = runtime.block_on(async {
            let mut options = MqttOptions::new("attacker", "127.0.0.1", mosquitto.port());
            options.set_max_packet_size(Some(1 << 20));
            let (client, mut connection) = AsyncClient::new(options, 100);
            tokio::spawn(async move { while connection.poll().await.is_ok() {} });
            client
        });
        Self {
            hub_key: hub.public_key(),
            runtime,
            _server: server,
            client,
            nats,
            mosquitto,
            at_nats,
            at_mosquitto,
            hub,
        }
    }

    /// A real device that sends by a broker and trims by the hub's word; the hub knows it.
    fn board(&self, number: u64, way: Way) -> Board {
        let url = match way {
            Way::Nats => self.nats.url(),
            Way::Mqtt => self.mosquitto.url(),
        };
        let kind = way.origin();
        let sink = format!("type = \"{kind}\"\nservers = [\"{url}\"]\nconfirm = \"hub\"");
        let board = Board::new(number, &self.hub_key, &sink);
        self.hub.register(&board.identity());
        board
    }

    /// Publishes below `edupulse`, and waits until the broker has it or, where it only may, it has left.
    fn publish(&self, way: Way, place: &[&str], body: impl Into<Bytes>) {
        let body = body.into();
        self.runtime.block_on(async {
            match way {
                Way::Nats => {
                    let subject = format!("edupulse.{}", place.join("."));
                    let sent = self.at_nats.publish(subject, body).await.unwrap();
                    sent.await.unwrap();
                }
                Way::Mqtt => {
                    let topic = format!("edupulse/{}", place.join("/"));
                    let retain = place[0] != "events";
                    let qos = QoS::AtLeastOnce;
                    let sent = self.at_mosquitto.publish(topic, qos, retain, body).await;
                    sent.unwrap();
                }
            }
        });
    }

    /// Sends events where this device's belong.
    fn send<'a>(
        &self,
        way: Way,
        device: &ChainedDevice,
        events: impl IntoIterator<Item = &'a Sealed>,
    ) {
        for event in events {
            self.attack(way, device, event.wire.clone());
        }
    }

    /// Sends any bytes there.
    fn attack(&self, way: Way, device: &ChainedDevice, body: impl Into<Bytes>) {
        self.publish(way, &["events", device.name.as_str(), "quiz"], body);
    }

    /// Waits until a question has this answer.
    #[track_caller]
    fn wait_for(&self, what: &str, question: &str, wanted: &[&str]) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = self.runtime.block_on(lines(&self.client, question));
            if found == wanted {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {found:?}, not {wanted:?}"
            );
            thread::sleep(POLL);
        }
    }

    /// Waits until a message is in quarantine, for this reason.
    #[track_caller]
    fn wait_for_reason(&self, what: &str, body: &[u8], reason: &str) {
        let bytes: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        let question = "select reason from edge_outbox_hub.quarantine where message = ";
        self.wait_for(what, &format!("{question}'\\x{bytes}'"), &[reason]);
    }

    /// Waits until a hub has acknowledged all events in the stream of NATS; gives how many there are of
    /// both sorts of hostile ones, and how often anything was brought again.
    #[track_caller]
    fn answered(&self, patience: Duration) -> (u64, u64, u64) {
        self.runtime.block_on(async {
            let stream = self.at_nats.get_stream("EVENTS").await.unwrap();
            let consumer = stream.get_consumer::<pull::Config>(NATS_CONSUMER).await;
            let mut consumer = consumer.unwrap();
            let deadline = Instant::now() + patience;
            loop {
                let info = consumer.info().await.unwrap();
                if info.num_pending == 0 && info.num_ack_pending == 0 {
                    break;
                }
                assert!(Instant::now() < deadline, "not acknowledged: {info:?}");
                tokio::time::sleep(POLL).await;
            }
            let subjects = stream.info_with_subjects(">").await.unwrap();
            let counts: Vec<_> = subjects.try_collect().await.unwrap();
            let of = |wanted: &str| {
                let there = counts.iter().filter(|(subject, _)| subject == wanted);
                there.map(|(_, count)| *count as u64).sum()
            };
            let all = counts.iter().map(|(_, count)| *count as u64).sum::<u64>();
            let delivered = consumer.info().await.unwrap().delivered.consumer_sequence;
            (of(SINGLE), of(REPEATED), delivered - all)
        })
    }

    fn of_device(&self, columns: &str, view: &str, device: &ChainedDevice) -> String {
        format!(
            "select {columns} from edge_outbox_hub.{view} where device = '{}' order by 1, 2",
            device.name.as_str()
        )
    }
}

/// Replaces what occurs once in an envelope.
fn altered(event: &Sealed, from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(&event.wire).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// The text of a member up to its closing quotation mark.
fn member<'a>(event: &'a Sealed, opening: &str) -> &'a str {
    let text = std::str::from_utf8(&event.wire).unwrap();
    let (_, rest) = text.split_once(opening).unwrap();
    rest.split_once('"').unwrap().0
}

#[test]
fn each_attack_ends_in_quarantine_gap_or_tampering_and_honest_traffic_goes_on() {
    let mut random = Random::seeded();
    let mut scene = Scene::new();
    let honest = [(1, Way::Nats), (2, Way::Mqtt)].map(|(n, way)| scene.board(n, way));
    let process = scene.hub.start();
    let deadline = Instant::now() + LIMIT;
    while !scene.mosquitto.log().contains("hub-a") {
        assert!(Instant::now() < deadline, "the hub does not come");
        thread::sleep(POLL);
    }
    let mut handed = 0;
    let mut go_on = || {
        for board in &honest {
            board.hand_over(handed..handed + 20);
        }
        handed += 20;
    };
    for way in Way::ALL {
        go_on();
        let named = |name: &str| ChainedDevice::new(&format!("{name}-{}", way.origin()));
        let (mut victim, mut other, mut thief) = (named("victim"), named("other"), named("thief"));
        let (mut stranger, mut namesake) = (named("stranger"), named("victim"));
        let mut posing = ChainedDevice {
            name: victim.name.clone(),
            ..other.clone()
        };
        let known = [&victim, &other, &thief].map(ChainedDevice::identity);
        scene.hub.register(&known.concat());
        let events = victim.journal(19);
        let others = other.journal(3);
        scene.send(way, &other, &others);

        // One event is altered in every part that there is, and comes as it is under other names.
        let target = &events[9];
        let signature = member(target, "\"signature\":\"");
        let node = member(target, "\"path\":[\"");
        let other_node = events[9].digest.to_string();
        let lost = json!({"ranges": [{"first": 2, "last": 19}]});
        let (program, ledger) = ("\"kind\":\"program\"", "\"kind\":\"ledger\"");
        let ledger_type = "outbox.events_dropped.v1";
        // Its place is taken by another event later: this one is never sent as it is.
        let declared = victim.clone().ledger(ledger_type, &lost);
        let words = [
            ("\"score\":7", "\"score\":9"),
            ("quiz.submitted", "quiz.cancelled"),
            ("\"seq\":10,", "\"seq\":11,"),
            (signature, member(&others[1], "\"signature\":\"")),
            (node, &other_node),
            (victim.name.as_str(), other.name.as_str()),
            (program, ledger),
        ];
        let [payload, field, seq, signature, path, device, kind] =
            words.map(|(from, to)| altered(target, from, to));
        let posing_as_ledger = Sealed {
            wire: kind,
            ..target.clone()
        };
        let kind = altered(&posing_as_ledger, "quiz.submitted.v1", ledger_type);
        let hello = format!("{{\"hello\":\"{}\"}}", way.origin());
        let mut attacks = [
            ("altered payload", payload, "altered"),
            ("altered field", field, "forged"),
            ("altered seq", seq, "forged"),
            ("altered signature", signature, "forged"),
            ("altered path", path, "forged"),
            ("replay under another device", device, "forged"),
            (
                "stripped personal part",
                target.stripped.clone(),
                "stripped",
            ),
            ("forged ledger event: a program's", kind, "forged"),
            (
                "forged ledger event: other words",
                altered(&declared, "\"last\":19", "\"last\":20"),
                "altered",
            ),
            (
                "forged ledger event: another key",
                namesake.ledger(ledger_type, &lost).wire,
                "unknown_key",
            ),
            ("unknown device", stranger.start().wire, "unknown_device"),
            ("unknown key", namesake.start().wire, "unknown_key"),
            ("another device's key", posing.start().wire, "wrong_device"),
            ("no envelope", hello.into_bytes(), "unreadable"),
        ];
        random.shuffle(&mut attacks);
        for (_, body, _) in &attacks {
            scene.attack(way, &victim, body.clone());
        }
        for (name, body, reason) in &attacks {
            scene.wait_for_reason(name, body, reason);
        }
        // It is proven that the stripped one is missing, and everything before it.
        let gaps = scene.of_device("first_seq, last_seq", "gaps", &victim);
        scene.wait_for("the stripped one", &gaps, &["1 10"]);

        // Dropped, reordered and duplicated: two are missing until they come.
        go_on();
        let mut there = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 9, 0].map(|at: usize| &events[at]);
        random.shuffle(&mut there);
        scene.send(way, &victim, there);
        scene.wait_for("what is dropped", &gaps, &["6 7"]);
        // Forged ledger event: another device's own word for the loss is none.
        let dropped = json!({"ranges": [{"first": 6, "last": 7}]});
        scene.send(way, &victim, [&other.ledger(ledger_type, &dropped)]);
        // Replay under another device's subject: it is the device's whose name it has.
        scene.send(way, &other, &events[5..6]);
        scene.wait_for("one of two", &gaps, &["7 7"]);
        scene.send(way, &victim, &events[6..]);
        scene.wait_for("all of it", &gaps, &[]);

        // Forged tail: it shows nothing, and the device's own what is withheld.
        let mut forged = namesake.clone();
        (forged.epoch, forged.next) = (victim.epoch, 500);
        let withheld = victim.quizzes(3);
        let mut bent = victim.tail();
        *bent.last_mut().unwrap() ^= 1;
        let place = ["tails", victim.name.as_str()];
        for tail in [forged.tail(), bent, b"tail".to_vec()] {
            scene.publish(way, &place, tail);
            thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(scene.runtime.block_on(lines(&scene.client, &gaps)), [""; 0]);
        scene.publish(way, &place, victim.tail());
        scene.wait_for("a tail", &gaps, &["21 23"]);
        scene.send(way, &victim, &withheld);
        scene.wait_for("nothing withheld", &gaps, &[]);

        // Forked history, of a clone that goes on by itself: both are kept, and shown.
        let mut clone = victim.clone();
        let branches = [victim.quizzes(2), clone.quizzes(2)].concat();
        scene.send(way, &victim, &branches);
        let tampering = scene
            .of_device("seq, code, count(*)", "tampering", &victim)
            .replace("order by", "group by 1, 2 order by");
        scene.wait_for("a fork", &tampering, &["24 fork 2", "25 fork 2"]);
        let held = format!(
            "select count(*) from edge_outbox_hub.event_rows where device = '{}'",
            victim.name.as_str()
        );
        scene.wait_for("both branches", &held, &["27"]);

        // Revoked key, of a thief.
        let taken = thief.journal(4);
        scene.send(way, &thief, &taken);
        let held = held.replace("victim", "thief");
        scene.wait_for("the thief's", &held, &["5"]);
        let id = thief.public_key().id().to_string();
        let upto = format!("{}:5", thief.epoch);
        let name = thief.name.as_str();
        scene
            .hub
            .ok(&["devices", "revoke", name, &id, "--good-upto", &upto]);
        let mut beyond = thief.quizzes(2);
        beyond.push(thief.new_epoch("recovered", 5));
        scene.send(way, &thief, &beyond);
        for event in &beyond {
            scene.wait_for_reason("revoked key", &event.wire, "revoked_key");
        }
        // And nothing else: what was stripped is held whole by now.
        let attacks = attacks.iter().filter(|attack| attack.2 != "stripped");
        let aside = format!(
            "select count(*) from edge_outbox_hub.quarantine where origin = '{}'",
            way.origin()
        );
        let count = (attacks.count() + beyond.len()).to_string();
        scene.wait_for("what is aside", &aside, &[&count]);
        scene.wait_for("the thief's", &held, &["5"]);
    }
    go_on();
    // Beside all of it.
    for board in &honest {
        let tail = board.wait_until_confirmed(LIMIT);
        let whole = format!(
            "select complete_to, is_clean from edge_outbox_hub.device_health \
             where device = '{}'",
            board.name()
        );
        scene.wait_for(board.name(), &whole, &[&format!("{tail} t")]);
        assert!(tail > handed);
        board.stop();
    }
    let report = scene.hub.ok(&["report", "--problems"]);
    assert!(!report.contains("kiosk-"), "{report}");
    for way in Way::ALL {
        for words in ["victim", "thief"] {
            let name = format!("{words}-{}", way.origin());
            assert!(report.contains(&name), "{name} in {report}");
        }
    }
    assert!(
        report.contains("tampering: fork, beyond doubt up to seq 23"),
        "{report}"
    );
    assert_eq!(process.stop().0, Some(0));
}

#[test]
fn a_forged_receipt_trims_nothing_at_a_real_device() {
    for way in Way::ALL {
        let mut scene = Scene::new();
        let (board, neighbour) = (scene.board(1, way), scene.board(2, way));
        let process = scene.hub.start();
        let heard = Subscriber::start(&scene.mosquitto.url(), "edupulse/#");
        // What anybody may have who listens: events, and receipts of every device.
        let messages = |kind: &str, device: &str| -> Vec<Vec<u8>> {
            match way {
                Way::Mqtt => {
                    let below = format!("edupulse/{kind}/{device}/");
                    let all = heard.messages();
                    let all = all.iter().filter(|it| it.topic.starts_with(&below));
                    all.map(|it| it.payload.to_vec()).collect()
                }
                Way::Nats => scene.runtime.block_on(async {
                    let below = format!("edupulse.{kind}.{device}.>");
                    let name = if kind == "events" {
                        "EVENTS"
                    } else {
                        "EDUPULSE_HUB"
                    };
                    let stream = scene.at_nats.get_stream(name).await.unwrap();
                    let last = stream.get_last_raw_message_by_subject(&below).await;
                    last.into_iter().map(|it| it.payload.to_vec()).collect()
                }),
            }
        };
        neighbour.hand_over(0..2_000);
        board.hand_over(0..1_500);
        neighbour.wait_until_confirmed(LIMIT);
        board.wait_until_confirmed(LIMIT);
        let genuine = messages("receipts", board.name()).pop().unwrap();
        let of_neighbour = messages("receipts", neighbour.name()).pop().unwrap();
        assert_eq!(process.stop().0, Some(0));
        let confirmed = board.confirmed();
        board.hand_over(1_500..4_000);
        let tail = board.wait_until_delivered(LIMIT);
        // By MQTT it goes through one more process.
        let claims = |message: &[u8]| {
            let envelope = Envelope::from_message(message).unwrap();
            let claims = envelope.claims();
            (claims.seq.get(), claims.digest(&mut Vec::new()))
        };
        let deadline = Instant::now() + LIMIT;
        let digest = loop {
            let last = messages("events", board.name()).pop().unwrap();
            match claims(&last) {
                (seq, digest) if seq == tail => break digest,
                (seq, _) => assert!(Instant::now() < deadline, "{seq} of {tail}"),
            }
            thread::sleep(POLL);
        };
        let hub_key: PublicKey = scene.hub_key.parse().unwrap();
        let told = Receipt::verify(&genuine, &hub_key).unwrap();
        let all = Receipt {
            generation: told.generation + 1_000,
            accounted_to: Seq::new(tail),
            digest,
            ..told.clone()
        };
        let forger = DeviceKey::generate().unwrap();
        let forged = all.sign(&forger).unwrap();
        // The name of the key that is believed, under the forger's signature.
        let mut posing = forged.clone();
        let key_id = genuine
            .windows(32)
            .position(|it| it == hub_key.id().as_bytes());
        let key_id = key_id.expect("the key's id");
        posing[key_id..key_id + 32].copy_from_slice(&genuine[key_id..key_id + 32]);
        // And all of it under the signature of the one that was told.
        let mut spliced = posing.clone();
        let signature = spliced.len() - 64;
        spliced[signature..].copy_from_slice(&genuine[genuine.len() - 64..]);
        let epoch = told.epoch.to_string();
        for (message, n) in [forged, posing, spliced, of_neighbour, genuine]
            .into_iter()
            .zip(4_000..)
        {
            scene.publish(way, &["receipts", board.name(), &epoch], message);
            thread::sleep(Duration::from_millis(300));
            // A commit, which would trim.
            board.hand_over(n..n + 1);
            assert_eq!(board.confirmed(), confirmed);
        }
        let first_held = board.number("/journal/first_held");
        assert!(first_held <= confirmed + 1, "{first_held} and {confirmed}");
        let sink = board.status()["sinks"]["school"].clone();
        assert!(sink["hub"]["tampering"].is_null(), "{sink:#}");
        let process = scene.hub.start();
        board.hand_over(4_005..4_010);
        let tail = board.wait_until_confirmed(LIMIT);
        let held = "select count(*) from edge_outbox_hub.event_rows where device = 'kiosk-01'";
        scene.wait_for("everything", held, &[&tail.to_string()]);
        board.stop();
        neighbour.stop();
        assert_eq!(process.stop().0, Some(0));
    }
}

/// Messages a second, and of how many kinds they are.
const FLOOD_PER_S: usize = 10_000;
const KINDS: usize = 6;
/// Where those of them go of which there is only one, and those that come again and again.
const SINGLE: &str = "edupulse.events.victim.single";
const REPEATED: &str = "edupulse.events.victim.repeated";
/// How long the honest ones may take behind the flood beyond that, for each second of it.
const BEHIND: Duration = Duration::from_secs(12);
/// How long some events may take once all of that is done.
const AFTERWARDS: Duration = Duration::from_secs(20);
/// What a hub may have in memory at most.
const MEMORY: u64 = 128 * 1024 * 1024;

/// So many hostile messages, and where each goes. Only what is stripped is repeated.
fn flood(
    count: usize,
    victim: &ChainedDevice,
    held: &Sealed,
    withheld: &[Sealed],
) -> Vec<(&'static str, Bytes)> {
    let mut stranger = ChainedDevice::new("stranger");
    let mut namesake = ChainedDevice::new(victim.name.as_str());
    let (strange, other_key) = (
        stranger.event(&Draft::quiz()),
        namesake.event(&Draft::quiz()),
    );
    let message = |n: usize| -> Vec<u8> {
        match n % KINDS {
            0 => format!("no envelope {n}").into_bytes(),
            // These cost a digest and a signature.
            1 => altered(held, "\"score\":7", &format!("\"score\":{}", n + 8)),
            2 => altered(held, "\"seq\":5,", &format!("\"seq\":{},", n + 6)),
            // And these nothing, for nobody knows the key.
            3 => altered(&strange, "\"seq\":1,", &format!("\"seq\":{},", n + 2)),
            4 => altered(&other_key, "\"seq\":1,", &format!("\"seq\":{},", n + 2)),
            _ => withheld[n / KINDS % withheld.len()].stripped.clone(),
        }
    };
    let subject = |n: usize| match n % KINDS {
        0..5 => SINGLE,
        _ => REPEATED,
    };
    (0..count)
        .map(|n| (subject(n), message(n).into()))
        .collect()
}

/// Publishes without waiting for anything, at a pace; gives how long it took.
async fn pour(url: String, messages: Vec<(&'static str, Bytes)>) -> Duration {
    let client = async_nats::connect(url).await.unwrap();
    let began = tokio::time::Instant::now();
    for (n, messages) in messages.chunks(FLOOD_PER_S / 100).enumerate() {
        tokio::time::sleep_until(began + Duration::from_millis(10) * n as u32).await;
        for (subject, message) in messages {
            client.publish(*subject, message.clone()).await.unwrap();
        }
    }
    client.flush().await.unwrap();
    began.elapsed()
}

#[test]
fn a_flood_of_hostile_messages_is_bounded_and_honest_events_come_through() {
    let seconds: usize = std::env::var("EDGE_OUTBOX_FLOOD_SECONDS")
        .map_or(2, |text| text.parse().expect("a number of seconds"));
    let mut scene = Scene::new();
    let board = scene.board(1, Way::Nats);
    let mut victim = ChainedDevice::new("victim");
    let quiet = ChainedDevice {
        next: 41,
        ..ChainedDevice::new("quiet")
    };
    scene.hub.register(&(victim.identity() + &quiet.identity()));
    let mut process = scene.hub.start();
    process.wait_for_log("started");
    let events = victim.journal(9);
    scene.send(Way::Nats, &victim, &events);
    board.hand_over(0..100);
    board.wait_until_confirmed(LIMIT);
    let withheld = victim.quizzes(100);
    let hostile = seconds * FLOOD_PER_S;
    let messages = flood(hostile, &victim, &events[4], &withheld);

    let flooding = scene.runtime.spawn(pour(scene.nats.url(), messages));
    let (mut handed, mut slowest) = (100, Duration::ZERO);
    let subject = format!("edupulse.receipts.quiet.{}", quiet.epoch);
    let is_answered = || {
        scene.runtime.block_on(async {
            let stream = scene.at_nats.get_stream("EDUPULSE_HUB").await.unwrap();
            stream.direct_get_last_for_subject(&subject).await.is_ok()
        })
    };
    let (mut asked_at, mut answered) = (None, None);
    while !flooding.is_finished() {
        let began = Instant::now();
        board.hand_over(handed..handed + 10);
        slowest = slowest.max(began.elapsed());
        handed += 10;
        // One that says no more than how far its journal goes, in the midst of it.
        let asked_at = asked_at.get_or_insert_with(|| {
            scene.publish(Way::Nats, &["tails", "quiet"], quiet.tail());
            Instant::now()
        });
        if answered.is_none() && is_answered() {
            answered = Some(asked_at.elapsed());
        }
        thread::sleep(POLL);
    }
    let took = scene.runtime.block_on(flooding).unwrap();
    let ended = Instant::now();
    let rate = hostile as f64 / took.as_secs_f64();
    println!("{hostile} hostile messages in {took:?}: {rate:.0} a second");

    let patience = LIMIT + BEHIND * seconds as u32;
    let stored = format!(
        "select count(*) from edge_outbox_hub.event_rows where device = '{}' and kind = 'program'",
        board.name()
    );
    let count = || scene.runtime.block_on(number(&scene.client, &stored)) as u64;
    let meanwhile = count();
    // Within two seconds a busy machine may not get to them.
    assert!(
        meanwhile > 100 || seconds < 5,
        "none of {handed} is stored meanwhile"
    );
    while count() < handed || answered.is_none() {
        if answered.is_none() && is_answered() {
            answered = Some(asked_at.unwrap().elapsed());
        }
        assert!(
            ended.elapsed() < patience,
            "{} of {handed} are stored; the tail was answered after {answered:?}",
            count()
        );
        thread::sleep(POLL);
    }
    let behind = ended.elapsed();
    println!(
        "{handed} honest events, handed over within {slowest:?} at most: {meanwhile} are stored at its \
         end, all {behind:?} behind it; a tail was answered after {:?}",
        answered.unwrap()
    );
    board.wait_until_confirmed(patience);

    // Nobody waits for an answer, so the server may throw away what it has no room for; the hub answers
    // for everything else.
    let (singles, repeats, again) = scene.answered(patience);
    let arrived = singles + repeats;
    println!("{arrived} of them are in the stream; {again} messages were brought again");
    assert!(arrived > hostile as u64 / 2, "{arrived} of {hostile}");

    // Each message of which there is one is counted, again where it was brought again. Repeats within a
    // batch count once.
    let seen = |condition: &str| {
        let seen = format!(
            "select (select coalesce(sum(times), 0) from edge_outbox_hub.quarantine \
             where {condition}) + (select coalesce(sum(dropped), 0) \
             from edge_outbox_hub.quarantine_totals where {condition})"
        );
        scene.runtime.block_on(lines(&scene.client, &seen))[0]
            .parse::<u64>()
            .unwrap()
    };
    let single = seen("reason <> 'stripped'");
    assert!(
        (singles..=singles + again).contains(&single),
        "{single} of {singles}, {again} of them again"
    );
    let repeated = seen("reason = 'stripped'");
    assert!(
        (withheld.len() as u64..=repeats + again).contains(&repeated),
        "{repeated} of {repeats}, {again} of them again"
    );
    // And no more is kept than may be.
    let totals = "select reason, kept, bytes, dropped from edge_outbox_hub.quarantine_totals \
                  order by 1";
    let totals = scene
        .runtime
        .block_on(scene.client.query(totals, &[]))
        .unwrap();
    for row in totals {
        let reason: &str = row.get(0);
        let [kept, bytes, dropped] = [1, 2, 3].map(|at| row.get::<_, i64>(at) as u64);
        println!("{reason}: {kept} kept, {bytes} bytes; {dropped} dropped");
        assert!(kept <= MAX_MESSAGES + MAX_BATCH as u64, "{reason}: {kept}");
        assert!(bytes <= MAX_BYTES + (1 << 25), "{reason}: {bytes} bytes");
    }
    let memory = process.peak_memory();
    println!("the hub had {} KiB in memory at most", memory / 1024);
    assert!(memory < MEMORY, "{memory} bytes");
    // Behind it all is as before; what was stripped was never there, and what is missing stays so.
    board.hand_over(handed..handed + 10);
    let tail = board.wait_until_confirmed(AFTERWARDS);
    let health = "select device, complete_to, is_clean, missing from edge_outbox_hub.device_health \
                  where device in ('kiosk-01', 'victim') order by 1";
    let wanted = [format!("kiosk-01 {tail} t 0"), "victim 10 f 100".into()];
    scene.wait_for("health", health, &wanted.each_ref().map(String::as_str));
    board.stop();
    assert_eq!(process.stop().0, Some(0));
}
