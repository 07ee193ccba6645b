//! The real daemon is killed (SIGKILL) again and again, while several producers hand events over and
//! a real nats-server takes them: the stream holds each of them exactly once, where it was said to be.
//!
//! It is killed at random moments of its work, and now and then in the middle of its start. The
//! script is repeated by its seed, which is printed: `EDGE_OUTBOX_SEED`. How often it is killed says
//! `EDGE_OUTBOX_KILLS`; `docs/reliability.md` has the figures of 500.

#![cfg(all(feature = "cli", feature = "nats"))]
mod support;

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use edge_outbox::{
    Chain, Verifier,
    envelope::{Envelope, Kind, Unverified},
};
use serde_json::Value;
use support::{
    nats_server::{NatsServer, messages},
    program::{Daemon, Home},
    random::Random,
};
use uuid::Uuid;

/// The variable that says how often the daemon is killed.
const KILLS: &str = "EDGE_OUTBOX_KILLS";
const DEFAULT_KILLS: u64 = 25;
/// Programs that hand over events at the same time, half of them on TCP and half on the socket.
const PRODUCERS: u64 = 4;
/// The most events in one request, and the pause after it in milliseconds.
const MAX_REQUEST: u64 = 8;
const PAUSE_MS: (u64, u64) = (0, 8);
/// How long a daemon lives after its start, in milliseconds: from less than a connection to the
/// server takes, to long enough to catch up.
const LIFE_MS: (u64, u64) = (0, 400);
/// One start of so many is killed before it is over.
const UNFINISHED_STARTS: u64 = 5;
/// How many starts at either end are compared, at most.
const COMPARED_STARTS: usize = 50;
/// How long an append, or the rest after the last kill, may take before the test fails.
const LIMIT: Duration = Duration::from_secs(120);
/// How long to wait before asking again.
const POLL: Duration = Duration::from_millis(1);

/// The places that were answered, by the ids of the events.
type Places = HashMap<Uuid, u64>;

/// The ways to whichever daemon runs.
struct Doors {
    socket: PathBuf,
    /// Where it listens on TCP, once somebody found out.
    tcp: Mutex<Option<SocketAddr>>,
    /// Requests whose answer never came, so that nobody knew what had become of them.
    broken_off: AtomicU64,
    /// Those of them that were answered as known when they were made again.
    known: AtomicU64,
}

impl Doors {
    /// Makes a request, and gives status and body of the answer.
    ///
    /// # Errors
    /// The daemon is not there, or was killed over it.
    fn ask(&self, by_tcp: bool, request: &str, body: &str) -> io::Result<(u16, Value)> {
        let answer = if by_tcp {
            let address = self.tcp.lock().unwrap().ok_or(io::ErrorKind::NotFound)?;
            exchange(TcpStream::connect(address)?, request, body)
        } else {
            exchange(UnixStream::connect(&self.socket)?, request, body)
        };
        if answer.is_err() {
            self.broken_off.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Hands events over until they are taken, as a program that repeats what it saw no answer for.
    fn append(&self, by_tcp: bool, ids: &[Uuid], places: &mut Places) {
        let events: Vec<String> = ids.iter().map(event).collect();
        let body = format!("[{}]", events.join(","));
        let deadline = Instant::now() + LIMIT;
        let (status, taken) = loop {
            match self.ask(by_tcp, "POST /v1/events", &body) {
                Ok(answer) => break answer,
                Err(error) => {
                    assert!(Instant::now() < deadline, "no daemon answers: {error}");
                    sleep(POLL);
                }
            }
        };
        assert!(status == 201 || status == 200, "{status}: {taken}");
        self.known
            .fetch_add(u64::from(status == 200), Ordering::Relaxed);
        assert_eq!(taken["accepted"], ids.len(), "{taken}");
        let (first, last) = (taken["first_seq"].as_u64(), taken["last_seq"].as_u64());
        let seqs = first.unwrap()..=last.unwrap();
        assert_eq!(seqs.clone().count(), ids.len(), "{taken}");
        places.extend(ids.iter().copied().zip(seqs));
    }

    /// Waits until a daemon that was just started takes an event; gives how long that was.
    fn first_append(&self, daemon: &mut Daemon, begun: Instant, id: Uuid) -> (Duration, u64) {
        let body = event(&id);
        loop {
            if let Ok((status, place)) = self.ask(false, "POST /v1/events", &body) {
                assert_eq!(status, 201, "{place}");
                return (begun.elapsed(), place["seq"].as_u64().unwrap());
            }
            daemon.assert_alive();
            assert!(
                begun.elapsed() < LIMIT,
                "it takes nothing: {}",
                daemon.log()
            );
            sleep(POLL);
        }
    }

    /// Finds out where the daemon listens on TCP.
    fn look(&self) {
        let (_, status) = self.ask(false, "GET /v1/status", "").unwrap();
        let listening = status["listening"].as_array().unwrap().iter();
        let mut tcp = listening.filter_map(|each| each.as_str()?.parse().ok());
        *self.tcp.lock().unwrap() = tcp.next();
    }
}

fn exchange(mut way: impl Read + Write, request: &str, body: &str) -> io::Result<(u16, Value)> {
    let head = format!(
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    way.write_all(head.as_bytes())?;
    way.write_all(body.as_bytes())?;
    let mut answer = String::new();
    way.read_to_string(&mut answer)?;
    // One that broke off is none, whatever its first bytes said.
    let broken_off = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken_off)?;
    let status = head.get("HTTP/1.1 ".len()..).and_then(|rest| rest.get(..3));
    let status = status.and_then(|code| code.parse().ok());
    let value = serde_json::from_str(body).map_err(|_| broken_off())?;
    Ok((status.ok_or_else(broken_off)?, value))
}

/// An event whose payload is its id.
fn event(id: &Uuid) -> String {
    format!(
        "{{\"id\":\"{id}\",\"event_type\":\"quiz.submitted.v1\",\
         \"aggregate_id\":\"{}\",\"payload\":\"{id}\"}}",
        Uuid::from_u128(7)
    )
}

/// One program: hands events over until it is told to stop; gives where they are.
fn produce(lane: u64, mut random: Random, doors: &Doors, stop: &AtomicBool) -> Places {
    let mut places = Places::new();
    while !stop.load(Ordering::Relaxed) {
        let count = random.between(1, MAX_REQUEST);
        let ids: Vec<Uuid> = (0..count)
            .map(|_| Uuid::from_u64_pair(lane, random.next()))
            .collect();
        doors.append(lane % 2 == 1, &ids, &mut places);
        sleep(Duration::from_millis(
            random.between(PAUSE_MS.0, PAUSE_MS.1),
        ));
    }
    places
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

fn kills() -> u64 {
    let given = std::env::var(KILLS).map(|kills| kills.parse().expect("how many kills"));
    given.unwrap_or(DEFAULT_KILLS)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_loses_nothing_and_nothing_is_in_the_stream_twice() {
    let kills = kills();
    let mut random = Random::seeded();
    let server = NatsServer::start();
    server.create_stream(|_| {}).await;
    // A daemon that waited before it connects would mostly be killed before it sends.
    let home = Home::with_config(&format!(
        "[sinks.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nstart_jitter = \"0 s\"\n",
        server.url()
    ));
    let doors = Doors {
        socket: home.socket(),
        tcp: Mutex::new(None),
        broken_off: AtomicU64::new(0),
        known: AtomicU64::new(0),
    };
    let stop = AtomicBool::new(false);
    let mut starts = Vec::new();
    let mut places = Places::new();
    let mut unfinished = 0;
    let begun = Instant::now();
    let daemon = thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|lane| {
                let (random, doors, stop) = (random.fork(), &doors, &stop);
                scope.spawn(move || produce(lane, random, doors, stop))
            })
            .collect();
        let mut start = |random: &mut Random, starts: &mut Vec<Duration>| {
            let id = Uuid::from_u64_pair(PRODUCERS, random.next());
            let begun = Instant::now();
            let mut daemon = home.launch(&["--listen", "127.0.0.1:0"]);
            let (took, seq) = doors.first_append(&mut daemon, begun, id);
            starts.push(took);
            places.insert(id, seq);
            doors.look();
            daemon
        };
        let mut daemon = start(&mut random, &mut starts);
        for _ in 0..kills {
            let life = random.between(LIFE_MS.0, LIFE_MS.1);
            sleep(Duration::from_millis(life));
            daemon.kill();
            while random.between(1, UNFINISHED_STARTS) == 1 {
                let usual = median(&starts).as_micros() as u64;
                let daemon = home.launch(&["--listen", "127.0.0.1:0"]);
                sleep(Duration::from_micros(random.between(0, usual)));
                daemon.kill();
                unfinished += 1;
            }
            daemon = start(&mut random, &mut starts);
        }
        stop.store(true, Ordering::Relaxed);
        for producer in producers {
            places.extend(producer.join().unwrap());
        }
        daemon
    });
    let took = begun.elapsed();
    let status = wait_until_drained(&home);
    assert_eq!(
        status["sinks"]["nats"]["guarantee"]["level"], "exactly_once",
        "{status:#}"
    );
    let stream = server.jetstream().await.get_stream("EVENTS").await.unwrap();
    let messages = messages(stream).await;
    let again = assert_exactly_those(&status, &messages, &places);
    let compared = COMPARED_STARTS.min(starts.len().div_ceil(2));
    let first = median(&starts[..compared]);
    let last = median(&starts[starts.len() - compared..]);
    println!(
        "{kills} kills at work and {unfinished} in a start, in {:.0} s: {} events appended, {} requests \
         without an answer and {} of them known when they came again; in the stream each event once, \
         0 lost, 0 twice, {again} of them marked as repeats. From the start to the first append: median of the first {compared} {:.1} ms, \
         of the last {compared} {:.1} ms, the longest {:.1} ms",
        took.as_secs_f64(),
        places.len(),
        doors.broken_off.into_inner(),
        doors.known.into_inner(),
        1e3 * first.as_secs_f64(),
        1e3 * last.as_secs_f64(),
        1e3 * starts.iter().max().unwrap().as_secs_f64(),
    );
    // Loosely, for the machine does other things as well: a start that grew with what went through
    // the journal would be many times as long.
    assert!(
        last < 3 * first + Duration::from_millis(100),
        "a start took {first:?} at first and takes {last:?} now"
    );
    let (code, _) = daemon.stop();
    assert_eq!(code, 0);
}

fn wait_until_drained(home: &Home) -> Value {
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = home.status();
        if status["sinks"]["nats"]["pending"] == 0 {
            return status;
        }
        assert!(Instant::now() < deadline, "still {status:#}");
        sleep(10 * POLL);
    }
}

/// Asserts that the messages are these events, once each and at the places that were answered, that
/// each verifies, and that in their order they are one chain without a gap. Gives how many are
/// marked as repeats.
fn assert_exactly_those(status: &Value, messages: &[Vec<u8>], places: &Places) -> usize {
    let mut verifier = Verifier::new();
    verifier.trust(status["public_key"].as_str().unwrap().parse().unwrap());
    let mut chain = Chain::new();
    let mut found = Places::new();
    let mut again = 0;
    for message in messages {
        let envelope = Envelope::<Unverified>::parse(message).unwrap();
        let envelope = verifier.verify(envelope).unwrap();
        // Neither twice under one (epoch, seq), nor left out, nor in another order.
        chain.extend(&envelope).unwrap();
        again += usize::from(envelope.redelivered());
        let statement = envelope.statement();
        if statement.kind == Kind::Ledger {
            let kind = statement.event_type;
            let expected = ["outbox.epoch_started.v1", "outbox.clock_synced.v1"];
            assert!(expected.contains(&kind), "{kind} after kills alone");
            continue;
        }
        let twice = found.insert(statement.id, statement.seq.get());
        assert_eq!(twice, None, "{} is there twice", statement.id);
        let payload = format!("\"{}\"", statement.id);
        assert_eq!(envelope.private().unwrap().payload, payload.as_bytes());
        assert_eq!(
            statement.epoch.to_string(),
            status["epoch"].as_str().unwrap()
        );
    }
    let lost: Vec<&Uuid> = places.keys().filter(|id| !found.contains_key(id)).collect();
    assert!(lost.is_empty(), "{} are lost: {lost:?}", lost.len());
    assert_eq!(&found, places, "an event is not where it was said to be");
    assert_eq!(
        status["tail"].as_u64(),
        chain.end().map(|end| end.seq.get())
    );
    assert_eq!(status["tail"], messages.len(), "it begins with the first");
    again
}
