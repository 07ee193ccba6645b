//! One return of the fleet, measured.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use edge_outbox::{
    Outbox,
    forwarder::{DEFAULT_WINDOW, Forwarder, SinkSpec},
    outbox::{Registration, Start},
};
use edge_outbox_benches::{
    process::{Memory, cpu_ms, refused_attempts},
    server::Running,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout_at};

use crate::{
    broker::{Broker, Kind},
    way::{Moment, Way},
};

/// A device that has not delivered everything by then counts as lost.
const LIMIT: Duration = Duration::from_secs(420);
/// Between two looks at the broker's count.
const LOOK: Duration = Duration::from_millis(100);
/// What attempts are counted in.
const SECOND: Duration = Duration::from_secs(1);

/// What became of it.
pub struct Outcome {
    pub devices: usize,
    /// Attempts to connect, from the moment on.
    pub attempts: u64,
    /// Those that the broker took.
    pub connections: u64,
    /// The most attempts within a second.
    pub most_a_second: f64,
    /// When half of the devices had delivered everything, from the moment on.
    pub half: Duration,
    /// When the slowest one had.
    pub slowest: Duration,
    /// Devices that had not when it was given up.
    pub missing: usize,
    /// Resident memory of the broker at most.
    pub broker_mib: f64,
    /// Processor time of the broker, in seconds.
    pub processor: f64,
    /// That of all devices together, which share the machine with it.
    pub of_devices: f64,
}

/// Has these devices come back.
pub fn measure(devices: &[Outbox], kind: Kind, way: &Way, base: &Path) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let broker = Broker::new(kind, base);
    let specs: Vec<_> = devices
        .iter()
        .map(|_| way.apply(SinkSpec::new(new_name(), broker.sink())))
        .collect();
    let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
    // A place in the journal costs a commit, which a device that was switched on before has made.
    runtime.block_on(register(devices, &specs));
    let (stop, stopped) = watch::channel(false);
    let spent = || cpu_ms(std::process::id()) / 1e3;
    let before = spent();
    let forward = || forward(&runtime, devices, specs, &stopped);
    let (begun, refused, server, forwarding) = match way.moment {
        Moment::SwitchedOn => {
            let server = broker.start();
            (Instant::now(), refused_attempts(), server, forward())
        }
        Moment::BrokerIsBack(away) => {
            let forwarding = forward();
            thread::sleep(away);
            let (begun, refused) = (Instant::now(), refused_attempts());
            let server = broker.start();
            // To ask whether it listens yet is no device's attempt.
            (begun, refused + server.refused(), server, forwarding)
        }
    };
    let over = AtomicBool::new(false);
    let (looks, done) = thread::scope(|scope| {
        let looks = scope.spawn(|| look(&broker, begun, refused, &over));
        let done = runtime.block_on(delivered(devices, &names, begun));
        over.store(true, Ordering::Relaxed);
        (looks.join().expect("no panic"), done)
    });
    let outcome = outcome(&server, devices.len(), done, &looks, spent() - before);
    stop.send_replace(true);
    runtime.block_on(async {
        for task in forwarding {
            task.await.expect("no panic");
        }
    });
    outcome
}

fn outcome(
    server: &Running,
    devices: usize,
    mut done: Vec<Duration>,
    looks: &[Look],
    of_devices: f64,
) -> Outcome {
    done.sort();
    let latest = |share: usize| {
        let place = (devices * share).div_ceil(100) - 1;
        done.get(place).copied().unwrap_or(LIMIT)
    };
    Outcome {
        devices,
        attempts: looks.last().map_or(0, |look| look.attempts),
        connections: looks.last().map_or(0, |look| look.connections),
        most_a_second: most_a_second(looks),
        half: latest(50),
        slowest: latest(100),
        missing: devices - done.len(),
        broker_mib: Memory::of(server.pid()).most as f64 / 1024.0,
        processor: cpu_ms(server.pid()) / 1e3,
        of_devices,
    }
}

/// A name under which the sink gets everything that the journal holds.
fn new_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("way-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn register(devices: &[Outbox], specs: &[SinkSpec]) {
    for (device, spec) in devices.iter().zip(specs) {
        let registration = Registration {
            by_receipts: false,
            name: spec.name.clone(),
            kind: spec.sink.kind(),
            required: spec.required,
            window: DEFAULT_WINDOW,
            start: Start::Oldest,
        };
        drop(device.sink(registration).await.expect("a place"));
    }
}

fn forward(
    runtime: &tokio::runtime::Runtime,
    devices: &[Outbox],
    specs: Vec<SinkSpec>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let forward = |(device, spec): (&Outbox, SinkSpec)| {
        let forwarder = Forwarder::new(device.clone(), vec![spec]);
        let mut stopped = stopped.clone();
        runtime.spawn(async move {
            let stopped = async { drop(stopped.wait_for(|stopped| *stopped).await) };
            forwarder.run(stopped).await.expect("it runs");
        })
    };
    devices.iter().zip(specs).map(forward).collect()
}

/// When each of the devices had delivered everything, of those that had in time.
async fn delivered(devices: &[Outbox], names: &[String], begun: Instant) -> Vec<Duration> {
    let waits: Vec<_> = devices
        .iter()
        .zip(names)
        .map(|(device, name)| {
            let (device, name) = (device.clone(), name.clone());
            let tail = device.status().borrow().tail;
            let until = (begun + LIMIT).into();
            tokio::spawn(async move {
                let delivered = timeout_at(until, device.delivered(&name, tail)).await;
                delivered.is_ok().then(|| begun.elapsed())
            })
        })
        .collect();
    let mut done = Vec::new();
    for wait in waits {
        done.extend(wait.await.expect("no panic"));
    }
    done
}

/// What has been counted so far.
#[derive(Clone, Copy, Default)]
struct Look {
    /// When, from the moment on.
    at: Duration,
    attempts: u64,
    connections: u64,
}

/// The counts, again and again: the broker tells whom it took, the kernel how many were refused.
fn look(broker: &Broker, begun: Instant, refused: u64, over: &AtomicBool) -> Vec<Look> {
    let mut looks = vec![Look::default()];
    loop {
        let last = over.load(Ordering::Relaxed);
        if let Some(count) = broker.connections() {
            let connections = count.saturating_sub(broker.own_connections());
            looks.push(Look {
                at: begun.elapsed(),
                attempts: connections + refused_attempts().saturating_sub(refused),
                connections,
            });
        }
        if last {
            return looks;
        }
        thread::sleep(LOOK);
    }
}

/// The most in a second: between each look and the last one that was a second before or longer.
fn most_a_second(looks: &[Look]) -> f64 {
    let rate = |(place, look): (usize, &Look)| {
        let before = looks[..place]
            .iter()
            .rfind(|before| look.at - before.at >= SECOND)
            .or(looks.first());
        before.map_or(0.0, |before| {
            let span = (look.at - before.at).max(SECOND);
            (look.attempts - before.attempts) as f64 / span.as_secs_f64()
        })
    };
    looks.iter().enumerate().map(rate).fold(0.0, f64::max)
}
