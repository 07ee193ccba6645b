//! What is compared: a store on the device that takes events there and brings them to a hub.

use std::path::{Path, PathBuf};

use crate::{
    bare,
    bridge::Bridge,
    hub::{Hub, mqtt::MqttHub, nats::NatsHub, postgres::PostgresHub},
    leaf::Leaf,
    library::Library,
    limits::Limit,
    load::{Load, Taken},
    options::Options,
    outbox::Daemon,
    sqlite::Relay,
};

/// One of them.
pub trait Peer {
    /// Starts its process, or starts it again, and waits for nothing.
    fn launch(&mut self);

    /// Waits until the process that was launched can be asked.
    fn wait(&mut self);

    /// Hands events over. Where the process is gone or refuses, the rest of the load is left.
    fn load(&mut self, load: &Load) -> Taken;

    /// Takes this many events in, by the fastest way it has.
    fn fill(&mut self, load: &Load) {
        let taken = self.load(load);
        assert_eq!(taken.failure, None);
    }

    fn pid(&self) -> u32;

    /// Kills its process (SIGKILL) and waits until it is gone.
    fn kill(&mut self);

    /// Where its events go.
    fn hub(&mut self) -> &mut dyn Hub;

    /// Starts its process and waits until it can be asked.
    fn start(&mut self) {
        self.launch();
        self.wait();
    }
}

/// Where one of them may write.
#[derive(Clone)]
pub struct Ground {
    /// The device's side.
    pub store: PathBuf,
    /// The hub's side.
    pub hub: PathBuf,
    /// The program `edge-outbox`, built for speed.
    pub program: PathBuf,
    /// The same, as it is packaged.
    pub packaged: PathBuf,
}

impl Ground {
    /// Under this directory.
    pub fn within(dir: &Path, options: &Options) -> Self {
        let [store, hub] = ["store", "hub"].map(|side| {
            let side = dir.join(side);
            std::fs::create_dir_all(&side).expect("a directory");
            side
        });
        Self {
            store,
            hub,
            program: options.program.clone(),
            packaged: options.packaged.clone(),
        }
    }
}

/// What is measured of one of them.
pub struct Kind {
    /// Its name in options and tables.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// How to make it.
    pub make: fn(&Ground) -> Box<dyn Peer>,
    /// Producers in the table of appends, with this many events in each of their requests.
    pub appends: Option<(&'static [usize], u64)>,
    /// Whether it brings events to a hub, so that an outage can end.
    pub delivers: bool,
    /// Whether what it writes is counted.
    pub writes: bool,
}

const EVERY: &[usize] = &[1, 16, 64, 1024];

/// All of them, in the order of the tables.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "library",
        what: "edge-outbox as a library: tasks that append one event at a time (one alone: a plain thread)",
        make: |ground| Box::new(Library::new(ground)),
        appends: Some((EVERY, 1)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "library-100",
        what: "the same, in batches of 100",
        make: |ground| Box::new(Library::new(ground)),
        appends: Some((EVERY, 100)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "library-1000",
        what: "the same, in batches of 1,000",
        make: |ground| Box::new(Library::new(ground)),
        appends: Some((EVERY, 1000)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "http",
        what: "edge-outbox as a daemon: one event a request, one keep-alive connection a producer",
        make: |ground| Box::new(Daemon::to(ground, NatsHub::new(&ground.hub))),
        appends: Some((EVERY, 1)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "http-100",
        what: "the same, 100 events a request",
        make: |ground| Box::new(Daemon::to(ground, NatsHub::new(&ground.hub))),
        appends: Some((EVERY, 100)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "packaged-http",
        what: "the program as it is packaged for a PC (static): one event a request",
        make: |ground| Box::new(Daemon::packaged(ground, NatsHub::new(&ground.hub))),
        appends: Some((EVERY, 1)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "packaged-http-100",
        what: "the same, 100 events a request",
        make: |ground| Box::new(Daemon::packaged(ground, NatsHub::new(&ground.hub))),
        appends: Some((EVERY, 100)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "outbox-nats",
        what: "the daemon, with a sink to JetStream",
        make: |ground| Box::new(Daemon::to(ground, NatsHub::new(&ground.hub))),
        appends: None,
        delivers: true,
        writes: true,
    },
    Kind {
        name: "outbox-mqtt",
        what: "the daemon, with a sink to mosquitto",
        make: |ground| Box::new(Daemon::to(ground, MqttHub::new(&ground.hub))),
        appends: None,
        delivers: true,
        writes: true,
    },
    Kind {
        name: "outbox-postgres",
        what: "the daemon, with a sink to Postgres",
        make: |ground| Box::new(Daemon::to(ground, PostgresHub::new())),
        appends: None,
        delivers: true,
        writes: true,
    },
    Kind {
        name: "packaged-nats",
        what: "the program as it is packaged for a PC (static), with a sink to JetStream",
        make: |ground| Box::new(Daemon::packaged(ground, NatsHub::new(&ground.hub))),
        appends: None,
        delivers: true,
        writes: false,
    },
    Kind {
        name: "packaged-mqtt",
        what: "the program as it is packaged for a PC (static), with a sink to mosquitto",
        make: |ground| Box::new(Daemon::packaged(ground, MqttHub::new(&ground.hub))),
        appends: None,
        delivers: true,
        writes: false,
    },
    Kind {
        name: "packaged-postgres",
        what: "the program as it is packaged for a PC (static), with a sink to Postgres",
        make: |ground| Box::new(Daemon::packaged(ground, PostgresHub::new())),
        appends: None,
        delivers: true,
        writes: false,
    },
    Kind {
        name: "leaf-always",
        what: "nats-server as a leaf node with a stream of its own, `sync_interval: always`; the hub's stream sources it",
        make: |ground| Box::new(Leaf::new(ground, true)),
        appends: Some((EVERY, 1)),
        delivers: true,
        writes: true,
    },
    Kind {
        name: "leaf",
        what: "the same as it comes, which syncs every two minutes",
        make: |ground| Box::new(Leaf::new(ground, false)),
        appends: Some((EVERY, 1)),
        delivers: true,
        writes: true,
    },
    Kind {
        name: "bridge-safe",
        what: "mosquitto with a bridge, as safe as it can be set: it saves its database after each change, queues have no limit",
        make: |ground| Box::new(Bridge::new(ground, true)),
        appends: Some((EVERY, 1)),
        delivers: true,
        writes: true,
    },
    Kind {
        name: "bridge",
        what: "the same with `persistence true` and all else as it comes: it saves every half hour and queues 1,000",
        make: |ground| Box::new(Bridge::new(ground, false)),
        appends: Some((EVERY, 1)),
        delivers: true,
        writes: true,
    },
    Kind {
        name: "sqlite-1s",
        what: "a table in SQLite (WAL, `synchronous = FULL`), a transaction an event, and a relay that asks it every second",
        make: |ground| Box::new(Relay::new(ground, 1000)),
        appends: None,
        delivers: true,
        writes: true,
    },
    Kind {
        name: "sqlite-100ms",
        what: "the same, asked every 100 ms",
        make: |ground| Box::new(Relay::new(ground, 100)),
        appends: Some((EVERY, 1)),
        delivers: true,
        writes: true,
    },
    Kind {
        name: "redb",
        what: "limit: rows of the same size in redb, two-phase commits with quick repair of as many events as there are producers",
        make: |ground| Box::new(Limit::new(ground, "redb")),
        appends: Some((EVERY, 1)),
        delivers: false,
        writes: true,
    },
    Kind {
        name: "redb-1000",
        what: "limit: the same in commits of 1,000 events",
        make: |ground| Box::new(Limit::new(ground, "redb")),
        appends: Some((&[1], 1000)),
        delivers: false,
        writes: false,
    },
    Kind {
        name: "sqlite-grouped",
        what: "limit: rows in SQLite (WAL, `synchronous = FULL`), transactions of as many events as there are producers",
        make: |ground| Box::new(Limit::new(ground, "sqlite-grouped")),
        appends: Some((EVERY, 1)),
        delivers: false,
        writes: true,
    },
    Kind {
        name: "fdatasync",
        what: "limit: bytes appended to a file that grows, one `fdatasync` for as many events as there are producers",
        make: |ground| Box::new(Limit::new(ground, "fdatasync")),
        appends: Some((EVERY, 1)),
        delivers: false,
        writes: true,
    },
];

/// The bare clients, which only drain, and beside whom each is measured.
pub const BARE: &[(&str, &str, bare::Drain)] = &[
    ("bare-nats", "outbox-nats", bare::nats),
    ("bare-mqtt", "outbox-mqtt", bare::mqtt),
    ("bare-postgres", "outbox-postgres", bare::postgres),
];
