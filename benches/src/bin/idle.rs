//! What the daemon costs while nothing happens: resident memory, wake-ups, commits.
//!
//! Takes the daemon's program as its argument, and in how many minutes wake-ups are counted (3
//! unless told otherwise); with `--threads` they are told by thread, too. Every daemon is told what
//! the unit in `config/systemd` tells it: a watchdog of ten minutes, and where to report to.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use edge_outbox_benches::{
    PAYLOAD_BYTES,
    classroom::lines,
    daemon::Daemon,
    process::{Memory, Switches},
    server::{empty_stream, free_port, mosquitto, nats_server, subscriber},
};

/// What one daemon has delivered before it is looked at.
const DRAINED: u64 = 200_000;
const BATCH: u64 = 1_000;
/// What a sink has confirmed becomes durable within a minute; then nothing is left to do.
const SETTLE: Duration = Duration::from_secs(75);
const WATCHDOG_USEC: &str = "600000000";

/// One daemon, and what it is connected to.
struct Case {
    what: &'static str,
    daemon: Daemon,
}

/// A directory for one case, and in it a service manager that takes whatever it is told.
fn place(dir: &Path, name: &str) -> (PathBuf, String) {
    let place = dir.join(name);
    std::fs::create_dir(&place).expect("made");
    let notify = place.join("notify");
    let socket = UnixDatagram::bind(&notify).expect("bound");
    thread::spawn(move || while socket.recv(&mut [0; 1024]).is_ok() {});
    (place.join("data"), notify.display().to_string())
}

fn start(program: &str, dir: &Path, name: &str, sink: Option<(&str, &str)>) -> Daemon {
    let (data, notify) = place(dir, name);
    let mut environment = vec![
        ("NOTIFY_SOCKET", notify.as_str()),
        ("WATCHDOG_USEC", WATCHDOG_USEC),
    ];
    environment.extend(sink);
    Daemon::start(program, &data, free_port(), &environment)
}

fn wait_until_delivered(daemon: &Daemon) {
    while daemon.status("acked").as_deref() == Some("0") || daemon.number("pending") > 0 {
        thread::sleep(Duration::from_millis(100));
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().expect("the program as argument");
    let (mut minutes, mut by_thread) = (3, false);
    for argument in arguments {
        match argument.parse() {
            Ok(number) => minutes = number,
            Err(_) => by_thread = argument == "--threads",
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (nats, mqtt) = (free_port(), free_port());
    let _servers = (
        nats_server(dir.path(), nats),
        mosquitto(dir.path(), mqtt, ""),
    );
    subscriber(mqtt);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(empty_stream(nats));
    let (nats, mqtt) = (
        format!("nats://127.0.0.1:{nats}"),
        format!("mqtt://127.0.0.1:{mqtt}"),
    );

    let start = |name, sink| start(&program, dir.path(), name, sink);
    let nats = Some(("NATS_URL", nats.as_str()));
    let cases = [
        ("standard output, no broker", start("none", None)),
        ("nats-server, connected", start("nats", nats)),
        (
            "mosquitto, connected",
            start("mqtt", Some(("MQTT_URL", mqtt.as_str()))),
        ),
        (
            "nats-server, 200,000 events handed over and delivered",
            start("drained", nats),
        ),
    ]
    .map(|(what, daemon)| Case { what, daemon });
    for first in (0..DRAINED).step_by(BATCH as usize) {
        let batch = lines(first..first + BATCH, PAYLOAD_BYTES);
        cases[3].daemon.ask("POST /v1/events", &batch);
    }
    for case in &cases[1..] {
        wait_until_delivered(&case.daemon);
    }
    thread::sleep(SETTLE);

    let look = |case: &Case| (case.daemon.number("commits"), case.daemon.pid());
    let before = cases.each_ref().map(|case| {
        let (commits, pid) = look(case);
        // To answer the question, it was woken.
        thread::sleep(Duration::from_secs(1));
        (commits, Switches::of(pid), Instant::now())
    });
    thread::sleep(Duration::from_secs(60 * minutes));
    let after = cases.each_ref().map(|case| {
        let pid = case.daemon.pid();
        (Switches::of(pid), Memory::of(pid), Instant::now())
    });

    println!(
        "| nothing happens, for {minutes} min | resident, MiB | of it private | at most so far | \
         threads | wake-ups a minute | preemptions | commits |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mib = |kib: u64| kib as f64 / 1024.0;
    for ((case, before), after) in cases.iter().zip(&before).zip(&after) {
        let (commits, switches, begin) = before;
        let (now, memory, end) = after;
        let (own, forced) = now.since(switches);
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {} | {:.1} | {forced} | {} |",
            case.what,
            mib(memory.resident),
            mib(memory.private),
            mib(memory.most),
            now.threads(),
            own as f64 * 60.0 / (*end - *begin).as_secs_f64(),
            case.daemon.number("commits") - commits,
        );
    }
    if by_thread {
        for ((case, before), after) in cases.iter().zip(&before).zip(&after) {
            println!("\n{}", case.what);
            for (name, (own, _)) in after.0.each_since(&before.1) {
                println!("  {name}: {own}");
            }
        }
    }
}
