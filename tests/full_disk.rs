//! The daemon on a small file system of its own that runs full, to the last block, and on one that
//! becomes read-only: it keeps running, says so, delivers what it has, and takes events again when
//! it can, with no restart. Nothing that it acknowledged is lost.
//!
//! The file system is memory in a mount namespace of the test's. Where the system does not let the
//! test have one, it says so and does nothing.

#![cfg(all(feature = "cli", feature = "nats", target_os = "linux"))]
mod support;

#[path = "support/http_client.rs"]
mod http_client;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::stream::Stream;
use http_client::{Connection, Request};
use serde_json::Value;
use support::{
    nats_server::{NatsServer, messages},
    program::{Home, exists, lines},
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Bytes of an event's payload.
const PAYLOAD_BYTES: usize = 8 * 1024;
/// Whose events they are.
const PERSON: &str = "0192f0c1-2345-7000-8000-0123456789ab";
/// More events than any of these file systems holds.
const MORE_THAN_FITS: u64 = 4_000;

/// How a mount namespace of one's own is had here, if at all.
fn unshare() -> Option<Vec<&'static str>> {
    let ways = [
        vec!["--mount", "--propagation", "private"],
        vec!["--user", "--map-root-user", "--mount"],
    ];
    let mounts = |way: &Vec<&str>| {
        let mount = ["mount", "-t", "tmpfs", "tmpfs", "/mnt"];
        let ended = Command::new("unshare").args(way).args(mount).output();
        ended.is_ok_and(|ended| ended.status.success())
    };
    let way = ways.into_iter().find(mounts);
    if way.is_none() {
        eprintln!("skipped: the system allows no mount namespace here");
    }
    way
}

/// A device whose data directory is a small file system.
struct Device {
    home: Home,
    child: Child,
    /// How its namespaces are entered.
    namespaces: &'static [&'static str],
    next: u64,
    /// Which were acknowledged.
    acknowledged: BTreeSet<Uuid>,
}

impl Device {
    /// With so many MiB, and this part of a configuration.
    fn start(way: &[&str], mib: u32, server: &NatsServer, journal: &str) -> Self {
        let home = Home::with_config(&format!(
            "[http]\nsocket = \"outbox.sock\"\n[journal]\n{journal}\n[sinks.hub]\ntype = \"nats\"\n\
             servers = [\"{}\"]\nreconnect_max = \"500 ms\"\n",
            server.url()
        ));
        fs::create_dir(home.data_dir()).unwrap();
        let inner = home.command(&["run", "--listen", "off"]);
        let log = fs::File::create(home.path("daemon.log")).unwrap();
        let mount = "mount -t tmpfs -o size=$0m,mode=700 tmpfs \"$1\" && shift && exec \"$@\"";
        let child = Command::new("unshare")
            .args(way)
            .args(["sh", "-c", mount, &mib.to_string()])
            .arg(home.data_dir())
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(home.path(""))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(
                inner
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let device = Self {
            home,
            child,
            namespaces: match way.contains(&"--user") {
                true => &["--user", "--preserve-credentials", "--mount"],
                // One's own cannot be entered.
                false => &["--mount"],
            },
            next: 1,
            acknowledged: BTreeSet::new(),
        };
        let socket = device.home.path("outbox.sock");
        let deadline = Instant::now() + PATIENCE;
        // There is a moment in which it has its name and refuses connections.
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "{}", device.log());
            thread::sleep(POLL);
        }
        device
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path("daemon.log")).unwrap()
    }

    /// A path on the file system, seen from outside.
    fn inside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        let dir = self.home.data_dir();
        root.join(dir.strip_prefix("/").unwrap()).join(name)
    }

    /// Mounts something in its namespace; tried again while a file is open in it for writing.
    fn mount(&self, command: &[&str], name: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = Command::new("nsenter")
                .args(self.namespaces)
                .args(["--target", &self.child.id().to_string()])
                .args(command)
                .arg(self.home.data_dir().join(name))
                .output()
                .unwrap();
            if ended.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "{command:?}: {ended:?}");
            thread::sleep(POLL);
        }
    }

    /// Takes every block that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.inside("filler")).unwrap();
        for size in [64 * 1024, 4 * 1024, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    /// Hands over the next event; gives the status of the answer.
    fn append(&mut self) -> u16 {
        let id = Uuid::from_u64_pair(0x0192_f0c1_2345_7000, self.next);
        self.next += 1;
        let event = serde_json::json!({
            "id": id,
            "event_type": "quiz.submitted.v1",
            "aggregate_id": PERSON,
            "payload": "x".repeat(PAYLOAD_BYTES),
        });
        let mut connection = Connection::unix(&self.home.path("outbox.sock"));
        let answer = connection.ask(&Request::post(event.to_string()));
        if answer.status < 300 {
            self.acknowledged.insert(id);
        } else {
            let kind = match answer.status {
                507 => "journal-full",
                _ if answer.json()["type"] == "/problems/outcome-unknown" => "outcome-unknown",
                _ => "journal-unavailable",
            };
            answer.problem(if answer.status == 507 { 507 } else { 503 }, kind);
        }
        answer.status
    }

    /// Hands over events until one is refused; gives the status of that answer.
    fn append_until_refused(&mut self) -> u16 {
        for _ in 0..MORE_THAN_FITS {
            let status = self.append();
            if status >= 300 {
                return status;
            }
        }
        panic!("the file system is not that large");
    }

    /// Hands over events until one is taken.
    fn append_until_taken(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.append() >= 300 {
            assert!(Instant::now() < deadline, "{}", self.log());
            thread::sleep(POLL);
        }
    }

    fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.home.wait_for(wanted)
    }

    /// It is the process that was started.
    fn assert_runs(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "{}", self.log());
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn is_delivered(status: &Value) -> bool {
    status["sinks"]["hub"]["pending"] == 0 && status["sinks"]["hub"]["state"] == "caught_up"
}

/// Everything that was acknowledged is in the stream, and nothing is there twice.
async fn assert_arrived(device: &Device, stream: &Stream) {
    let mut arrived: BTreeMap<Uuid, u32> = BTreeMap::new();
    for message in messages(stream.clone()).await {
        let envelope: Value = serde_json::from_slice(&message).unwrap();
        if envelope["kind"] == "program" {
            let id = envelope["id"].as_str().unwrap().parse().unwrap();
            *arrived.entry(id).or_default() += 1;
        }
    }
    let lost: Vec<_> = device
        .acknowledged
        .iter()
        .filter(|id| !arrived.contains_key(id))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {}",
        lost.len(),
        device.acknowledged.len()
    );
    assert!(arrived.values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_refuses_events_drains_and_takes_them_again() {
    let Some(way) = unshare() else { return };
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    server.stop();
    let journal = "min_free = \"1 MiB\"\nballast = \"512 KiB\"";
    let mut device = Device::start(&way, 8, &server, journal);
    assert!(exists(&device.inside("ballast")));

    assert_eq!(device.append_until_refused(), 507);
    let taken = device.acknowledged.len() as u64;
    assert!(taken > 200, "{taken}");
    let status = device.home.status();
    assert_eq!(status["journal"]["state"], "full", "{status:#}");
    assert!(status["journal"]["disk"]["free_bytes"].as_u64() < Some(2 << 20));
    assert_eq!(status["sinks"]["hub"]["pending"], taken + 1);
    assert_eq!(device.append(), 507);

    // Somebody else takes the rest: what is held leaves all the same.
    device.fill();
    assert_eq!(device.append(), 507);
    server.start_again();
    device.wait_for(is_delivered);
    assert_arrived(&device, &stream).await;
    // Its cursor is durable though the disk has no block left.
    device.wait_for(|status| {
        status["sinks"]["hub"]["acked"] == status["tail"]
            && status["journal"]["state"] != "reopening"
    });
    device.assert_runs();

    fs::remove_file(device.inside("filler")).unwrap();
    device.append_until_taken();
    let status = device.wait_for(is_delivered);
    assert_eq!(status["journal"]["state"], "open", "{status:#}");
    // The disk is looked at every few seconds then.
    device.wait_for(|_| exists(&device.inside("ballast")));
    assert_arrived(&device, &stream).await;
    device.assert_runs();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_full_to_the_last_block_under_load_costs_nothing_acknowledged() {
    let Some(way) = unshare() else { return };
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let mut device = Device::start(
        &way,
        8,
        &server,
        "min_free = \"1 MiB\"\nballast = \"512 KiB\"",
    );
    for _ in 0..5 {
        for _ in 0..40 {
            device.append();
        }
        // With a broker, and without one.
        device.fill();
        server.stop();
        for _ in 0..40 {
            device.append();
        }
        server.start_again();
        device.wait_for(is_delivered);
        fs::remove_file(device.inside("filler")).unwrap();
        device.append_until_taken();
    }
    device.wait_for(is_delivered);
    assert_arrived(&device, &stream).await;
    device.assert_runs();
}

/// What was erased is written over by way of free pages, for which the file grows for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_to_the_end_once_the_file_system_has_room_for_it() {
    let Some(way) = unshare() else { return };
    let mut server = NatsServer::start();
    server.create_stream(|_| {}).await;
    server.stop();
    let journal = "min_free = \"1 MiB\"\nballast = \"512 KiB\"";
    let mut device = Device::start(&way, 32, &server, journal);
    for _ in 0..300 {
        assert!(device.append() < 300, "{}", device.log());
    }
    let free = device.home.status()["journal"]["disk"]["free_bytes"].as_u64();
    let filler = vec![7; free.unwrap() as usize - (6 << 20)];
    fs::write(device.inside("filler"), filler).unwrap();

    let erase = Request::new("POST", "/v1/erase")
        .header("content-type", "application/json")
        .body(format!("{{\"id\":\"{PERSON}\"}}"));
    let mut connection = Connection::unix(&device.home.path("outbox.sock"));
    let problem = connection.ask(&erase).problem(507, "no-room-to-erase");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("300 events are erased"), "{detail}");
    let status = device.home.status();
    assert_eq!(status["journal"]["erasing"], "waiting_for_room");
    let text = device.home.ok(&["status"]);
    assert!(text.contains("waits for room"), "{text}");
    for _ in 0..50 {
        assert!(device.append() < 300, "{}", device.log());
    }
    let status = device.home.status();
    assert_eq!(status["journal"]["erasing"], "waiting_for_room");
    assert_eq!(status["journal"]["reopened"], 0, "{status:#}");
    assert!(exists(&device.inside("ballast")));

    fs::remove_file(device.inside("filler")).unwrap();
    device.wait_for(|status| status["journal"]["erasing"].is_null());
    let answer = connection.ask(&erase);
    assert_eq!((answer.status, &answer.json()["events"]), (200, &50.into()));
    let bytes = fs::read(device.inside("journal.redb")).unwrap();
    let person = Uuid::parse_str(PERSON).unwrap();
    assert!(!bytes.windows(16).any(|there| there == person.as_bytes()));
    device.assert_runs();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_go_where_the_file_system_is_full_and_the_ledger_says_so() {
    let Some(way) = unshare() else { return };
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    server.stop();
    let journal = "when_full = \"drop-oldest\"\nmin_free = \"1 MiB\"\nballast = \"512 KiB\"";
    let mut device = Device::start(&way, 8, &server, journal);
    for n in 0..1_500 {
        assert!(device.append() < 300, "{n}: {}", device.log());
    }
    let status = device.home.status();
    let given_up = status["journal"]["dropped"].as_u64().unwrap();
    assert!(given_up > 300, "{status:#}");
    let text = device.home.ok(&["status"]);
    assert!(text.contains("were given up to make room"), "{text}");
    server.start_again();
    device.wait_for(is_delivered);
    let arrived = messages(stream.clone()).await;
    let seqs: BTreeSet<u64> = arrived
        .iter()
        .map(|message| {
            serde_json::from_slice::<Value>(message).unwrap()["seq"]
                .as_u64()
                .unwrap()
        })
        .collect();
    // Whatever is missing is named by the newest event of the ledger that says so.
    let dropped = arrived.iter().rev().find_map(|message| {
        let envelope: Value = serde_json::from_slice(message).unwrap();
        (envelope["event_type"] == "outbox.events_dropped.v1").then(|| envelope["payload"].clone())
    });
    let dropped = dropped.expect("an event of the ledger");
    let ranges = dropped["ranges"].as_array().unwrap();
    let is_named = |seq: u64| {
        let within = |run: &Value| {
            let (first, last) = (&run["range"]["first"], &run["range"]["last"]);
            first.as_u64() <= Some(seq) && Some(seq) <= last.as_u64()
        };
        ranges.iter().any(within)
    };
    let tail = device.home.status()["tail"].as_u64().unwrap();
    for seq in 1..=tail {
        assert_ne!(seqs.contains(&seq), is_named(seq), "seq {seq}: {dropped:#}");
    }
    assert_eq!(dropped["sinks"][0]["sink"], "hub");
    assert_eq!(dropped["sinks"][0]["undelivered"], given_up);
}

/// What is on its way when it is given up may arrive all the same; neither this nor a restart upsets
/// the delivery of what comes after it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_on_its_way_holds_up_nothing() {
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let home = Home::with_config(&format!(
        "[journal]\nmax_bytes = \"1 MiB\"\nwhen_full = \"drop-oldest\"\n[sinks.hub]\n\
         type = \"nats\"\nservers = [\"{}\"]\nwindow = 64\n",
        server.url()
    ));
    let mut daemon = home.daemon();
    home.wait_for(is_delivered);
    for is_killed in [false, true] {
        let before = home.status()["journal"]["dropped"].as_u64();
        server.freeze();
        assert_eq!(home.run_with(&["append"], lines(0..15_000)).code, 0);
        assert!(home.status()["journal"]["dropped"].as_u64() > before);
        if is_killed {
            daemon.kill();
            daemon = home.daemon();
        }
        server.thaw();
        home.wait_for(is_delivered);
        let tail = home.status()["tail"].as_u64().unwrap();
        let (mut seqs, mut ranges) = (BTreeSet::new(), Vec::new());
        for message in messages(stream.clone()).await {
            let envelope: Value = serde_json::from_slice(&message).unwrap();
            seqs.insert(envelope["seq"].as_u64().unwrap());
            if envelope["event_type"] == "outbox.events_dropped.v1" {
                let said = envelope["payload"]["ranges"].as_array().unwrap().clone();
                ranges.extend(said.into_iter().map(|run| run["range"].clone()));
            }
        }
        let is_named = |seq: u64| {
            let within = |run: &Value| {
                run["first"].as_u64() <= Some(seq) && Some(seq) <= run["last"].as_u64()
            };
            ranges.iter().any(within)
        };
        let lost = (1..=tail).filter(|seq| !seqs.contains(seq) && !is_named(*seq));
        assert_eq!(
            lost.collect::<Vec<_>>(),
            Vec::<u64>::new(),
            "{}",
            daemon.log()
        );
        assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    }
    assert_eq!(daemon.stop().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_system_is_waited_out() {
    let Some(way) = unshare() else { return };
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    // A file that is open for writing keeps a system from being mounted read-only. So a write fails
    // for want of room, and the journal, which is closed then, is not found at first.
    let mut device = Device::start(&way, 8, &server, "min_free = \"0 B\"\nballast = \"0 B\"");
    device.wait_for(is_delivered);
    for _ in 0..50 {
        assert!(device.append() < 300);
    }
    device.fill();
    device.mount(&["mount", "--bind", "/dev/null"], "journal.redb");
    assert_eq!(device.append_until_refused(), 503);
    device.wait_for(|status| status["journal"]["state"] == "reopening");
    device.mount(&["mount", "-o", "remount,ro,size=64m"], "");
    device.mount(&["umount"], "journal.redb");
    let says_read_only = |status: &Value| {
        let error = status["journal"]["last_error"].as_str();
        error.is_some_and(|error| error.contains("Read-only"))
    };
    let status = device.wait_for(says_read_only);
    assert_eq!(status["journal"]["state"], "reopening", "{status:#}");
    for _ in 0..20 {
        assert_eq!(device.append(), 503);
        thread::sleep(POLL);
    }
    device.assert_runs();
    device.mount(&["mount", "-o", "remount,rw"], "");
    device.append_until_taken();
    let status = device.wait_for(is_delivered);
    assert_eq!(status["journal"]["state"], "open", "{status:#}");
    assert_arrived(&device, &stream).await;
    device.assert_runs();
}

/// Events of a kilobyte that make a file worth compacting.
const BACKLOG: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_journal_gives_the_disk_back_by_itself_and_is_quiet_then() {
    let mut server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    server.stop();
    let home = Home::with_config(&format!(
        "[sinks.hub]\ntype = \"nats\"\nservers = [\"{}\"]\n",
        server.url()
    ));
    let daemon = home.daemon();
    let event = format!(
        "{{\"event_type\":\"quiz.submitted.v1\",\"aggregate_id\":\
         \"0192f0c1-2345-7000-8000-0123456789ab\",\"payload\":\"{}\"}}\n",
        "x".repeat(1_000)
    );
    let lines = event.repeat(usize::try_from(BACKLOG).unwrap());
    assert_eq!(home.run_with(&["append"], lines).code, 0);
    let file = home.data_dir().join("journal.redb");
    let blown_up = fs::metadata(&file).unwrap().len();
    assert!(blown_up > 20 << 20, "{blown_up}");
    server.start_again();
    home.wait_for(is_delivered);
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&file).unwrap().len() > 8 << 20 {
        assert!(Instant::now() < deadline, "{}", daemon.log());
        thread::sleep(POLL);
    }
    // A compaction ends with a commit of its own.
    thread::sleep(Duration::from_secs(1));
    let commits = |status: &Value| status["journal"]["commits"].as_u64();
    let before = commits(&home.wait_for(is_delivered));
    thread::sleep(Duration::from_secs(12));
    assert_eq!(commits(&home.status()), before, "{}", daemon.log());
    assert_eq!(home.run_with(&["append"], event).code, 0);
    home.wait_for(is_delivered);
    let arrived = stream.clone().info().await.unwrap().state.messages;
    assert_eq!(arrived, BACKLOG + 2);
    assert_eq!(daemon.stop().0, 0);
}
