//! A nats-server on the device: a leaf node with a stream of its own, which a stream at the hub
//! sources.

use std::{
    fs,
    ops::Range,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, context::Context, message::PublishMessage, stream::Config};
use edge_outbox_benches::{
    classroom::{DEVICE, EVENT_TYPE, payload},
    server::free_port,
};
use futures_util::future::try_join_all;

use crate::{
    hub::{
        Hub,
        nats::{LEAF_STREAM, NatsHub},
    },
    load::{Load, Producer, Taken, run, runtime},
    local::{Local, nats_server, wait_for_port},
    peer::{Ground, Peer},
};

/// Events that are published before the first answer is awaited, where it is to go fast.
const FILL_BATCH: u64 = 500;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// How long it may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// The leaf node and its hub.
pub struct Leaf {
    config: PathBuf,
    store: PathBuf,
    port: u16,
    always: bool,
    local: Option<Local>,
    hub: NatsHub,
}

impl Leaf {
    /// `always`: it syncs each write before it answers, instead of every two minutes.
    pub fn new(ground: &Ground, always: bool) -> Self {
        Self {
            config: ground.hub.join("leaf.conf"),
            store: ground.store.join("jetstream"),
            port: free_port(),
            always,
            local: None,
            hub: NatsHub::sourcing(&ground.hub),
        }
    }

    fn launch_as(&mut self, always: bool) {
        let sync = if always { "sync_interval: always" } else { "" };
        let text = format!(
            "listen: \"127.0.0.1:{}\"\nserver_name: leaf\n\
             jetstream {{ store_dir: {:?}, domain: leaf, {sync} }}\n\
             leafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{}\" }} ] }}\n",
            self.port,
            self.store,
            self.hub.leaf_port()
        );
        fs::write(&self.config, text).expect("written");
        let mut command = Command::new(nats_server());
        self.local = Some(Local::launch(command.arg("--config").arg(&self.config)));
    }

    /// Makes the stream, where there is none.
    async fn provide(port: u16) -> Result<(), String> {
        let config = Config {
            name: LEAF_STREAM.into(),
            subjects: vec!["edupulse.events.>".into()],
            ..Config::default()
        };
        let context = Self::context(port).await?;
        let made = context.get_or_create_stream(config).await;
        made.map(drop).map_err(|error| error.to_string())
    }

    async fn context(port: u16) -> Result<Context, String> {
        let client = async_nats::connect(format!("nats://127.0.0.1:{port}")).await;
        let mut context = jetstream::new(client.map_err(|error| error.to_string())?);
        context.set_timeout(ANSWER);
        Ok(context)
    }
}

impl Peer for Leaf {
    fn launch(&mut self) {
        self.launch_as(self.always);
    }

    fn wait(&mut self) {
        wait_for_port(self.port);
        let port = self.port;
        let begun = Instant::now();
        // It listens before its stream is there.
        while let Err(error) = runtime(1).block_on(Self::provide(port)) {
            assert!(begun.elapsed() < PATIENCE, "no stream: {error}");
            thread::sleep(POLL);
        }
    }

    fn load(&mut self, load: &Load) -> Taken {
        let port = self.port;
        run(load, async {
            // A client for sixteen producers, as if they were four programs for each 64.
            let clients = (0..load.producers.div_ceil(16)).map(|_| Self::context(port));
            let clients = try_join_all(clients).await?;
            let producers = clients.iter().cycle().take(load.producers);
            Ok(producers
                .map(|context| Publisher(context.clone()))
                .collect())
        })
    }

    /// As it comes: with a sync for each message it would take an hour.
    fn fill(&mut self, load: &Load) {
        if self.always {
            self.end();
            self.launch_as(false);
            self.wait();
        }
        let taken = self.load(&Load {
            batch: FILL_BATCH,
            ..load.clone()
        });
        assert_eq!(taken.failure, None);
        if self.always {
            self.end();
            self.start();
        }
    }

    fn pid(&self) -> u32 {
        self.local.as_ref().expect("it runs").pid()
    }

    fn kill(&mut self) {
        self.local = None;
    }

    fn hub(&mut self) -> &mut dyn Hub {
        &mut self.hub
    }
}

impl Leaf {
    fn end(&mut self) {
        if let Some(local) = self.local.take() {
            local.end();
        }
    }
}

struct Publisher(Context);

impl Producer for Publisher {
    async fn append(&mut self, numbers: Range<u64>, bytes: usize) -> Result<(), String> {
        let mut answers = Vec::new();
        for number in numbers {
            let message = PublishMessage::build().payload(payload(number, bytes).into());
            let subject = format!("edupulse.events.{DEVICE}.{EVENT_TYPE}");
            let sent = self.0.send_publish(subject, message).await;
            answers.push(sent.map_err(|error| error.to_string())?);
        }
        for answer in answers {
            answer.await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
