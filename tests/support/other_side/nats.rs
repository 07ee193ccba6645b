//! A nats-server with one stream as the other side.

use async_nats::jetstream::consumer::{AckPolicy, pull};
use edge_outbox::{
    Seq,
    secret::Secret,
    sink::{
        Sink,
        nats::{NatsOptions, NatsSink},
    },
};
use futures_util::StreamExt as _;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::{Arrival, IMPATIENT, Network, OtherSide, Patience};
use crate::support::{fault_proxy::FaultProxy, kiosk::LIMIT, nats_server::NatsServer};

/// Refuses a message of more than 64 KiB. What it confirms it has given to the system, so that
/// killing the process alone loses nothing.
const CONFIG: &str = "max_payload: 64KB\njetstream { store_dir: \"$DIR/store\" }";

/// Messages that are asked for at a time.
const READ_AHEAD: usize = 5_000;

/// A server with the stream `EVENTS`, which was made as an operator would.
pub(crate) struct Nats {
    server: NatsServer,
    runtime: Runtime,
    /// What the stream held before it was deleted.
    deleted: Vec<Arrival>,
}

impl Nats {
    pub(crate) fn start() -> Self {
        let server = NatsServer::with(CONFIG);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server.create_stream(|_| {}));
        Self {
            server,
            runtime,
            deleted: Vec::new(),
        }
    }

    /// Everything in the stream that this subject filter takes.
    fn stored(&self, filter: &str) -> Vec<Arrival> {
        self.runtime.block_on(async {
            let context = self.server.jetstream().await;
            let stream = context.get_stream("EVENTS").await.unwrap();
            let config = pull::Config {
                filter_subject: filter.into(),
                ack_policy: AckPolicy::None,
                // A test that verifies meanwhile is no dead one.
                inactive_threshold: LIMIT,
                ..pull::Config::default()
            };
            let mut consumer = stream.create_consumer(config).await.unwrap();
            let count = consumer.info().await.unwrap().num_pending;
            let messages = consumer.stream().max_messages_per_batch(READ_AHEAD);
            let mut messages = messages.messages().await.unwrap();
            let mut arrivals = Vec::new();
            for _ in 0..count {
                let message = timeout(LIMIT, messages.next()).await.expect("a message");
                arrivals.push(arrival(&message.unwrap().unwrap()));
            }
            arrivals
        })
    }
}

fn arrival(message: &async_nats::Message) -> Arrival {
    let arrival = Arrival::parse(&message.payload, None);
    let digest = arrival.envelope.claims().digest(&mut Vec::new());
    let headers = message.headers.as_ref().unwrap();
    let id = headers.get("Nats-Msg-Id").unwrap();
    assert_eq!(id.as_str(), digest.to_base64url());
    arrival
}

impl OtherSide for Nats {
    fn is_exactly_once(&self) -> bool {
        true
    }

    fn network(&self) -> Network {
        Network::Tcp(FaultProxy::to_port(self.server.port()))
    }

    fn sink(&self, network: &Network, patience: Patience) -> Sink {
        let mut options = NatsOptions {
            servers: vec![Secret::new(format!("nats://127.0.0.1:{}", network.port()))],
            ..NatsOptions::default()
        };
        if patience == Patience::Short {
            options.ack_timeout = IMPATIENT;
            options.connect_timeout = IMPATIENT;
        }
        Sink::Nats(NatsSink::new(options).unwrap())
    }

    fn received(&mut self, device: &str, _: Seq) -> Vec<Arrival> {
        let mut all = self.deleted.clone();
        all.extend(self.stored(&format!("edupulse.events.{device}.>")));
        all
    }

    fn stop(&mut self) {
        self.server.stop();
    }

    fn survives_a_kill(&self) -> bool {
        true
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn start_again(&mut self) {
        self.server.start_again();
    }

    fn refuse(&mut self, _: &Network, _: Seq) {
        // It is larger than the server takes.
    }

    fn break_set_up(&mut self, _: &Network) {
        self.deleted = self.stored(">");
        self.runtime.block_on(async {
            let context = self.server.jetstream().await;
            context.delete_stream("EVENTS").await.unwrap();
        });
    }

    fn mend_set_up(&mut self, _: &Network) {
        self.runtime.block_on(self.server.create_stream(|_| {}));
    }
}
