//! A nats-server with a stream.

use std::{fs, path::Path, path::PathBuf, process::Command};

use async_nats::jetstream::{
    self,
    consumer::pull::OrderedConfig,
    context::Context,
    stream::{Config, External, Source},
};
use edge_outbox_benches::{
    classroom::number,
    server::{STREAM, free_port},
};
use futures_util::StreamExt as _;
use tokio::runtime::Runtime;

use super::Hub;
use crate::{
    load::runtime,
    local::{Local, nats_server, wait_for_port},
};

/// The stream of a leaf node.
pub const LEAF_STREAM: &str = "DEVICE";

/// The server.
pub struct NatsHub {
    dir: PathBuf,
    port: u16,
    leaf_port: u16,
    sourcing: bool,
    runtime: Runtime,
    running: Option<(Local, Context)>,
}

impl NatsHub {
    /// Its stream takes events itself.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            port: free_port(),
            leaf_port: free_port(),
            sourcing: false,
            runtime: runtime(1),
            running: None,
        }
    }

    /// Its stream sources that of a leaf node.
    pub fn sourcing(dir: &Path) -> Self {
        Self {
            sourcing: true,
            ..Self::new(dir)
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where leaf nodes come.
    pub fn leaf_port(&self) -> u16 {
        self.leaf_port
    }

    /// A client's view of it.
    pub fn context(&self) -> &Context {
        let (_, context) = self.running.as_ref().expect("it runs");
        context
    }

    /// Waits for what is done with it.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn config(&self) -> Config {
        if self.sourcing {
            let source = Source {
                name: LEAF_STREAM.into(),
                external: Some(External {
                    api_prefix: "$JS.leaf.API".into(),
                    delivery_prefix: None,
                }),
                ..Source::default()
            };
            return Config {
                name: STREAM.into(),
                sources: Some(vec![source]),
                ..Config::default()
            };
        }
        Config {
            name: STREAM.into(),
            subjects: vec!["edupulse.events.>".into()],
            ..Config::default()
        }
    }
}

impl Hub for NatsHub {
    fn start(&mut self) {
        let config = self.dir.join("hub.conf");
        let text = format!(
            "listen: \"127.0.0.1:{}\"\nserver_name: hub\n\
             jetstream {{ store_dir: {:?}, domain: hub }}\nleafnodes {{ listen: \"127.0.0.1:{}\" }}\n",
            self.port,
            self.dir.join("jetstream"),
            self.leaf_port
        );
        fs::write(&config, text).expect("written");
        let mut command = Command::new(nats_server());
        let local = Local::launch(command.arg("--config").arg(config));
        wait_for_port(self.port);
        let address = format!("nats://127.0.0.1:{}", self.port);
        let context = self.runtime.block_on(async {
            let context = jetstream::new(async_nats::connect(address).await.expect("connects"));
            let made = context.get_or_create_stream(self.config()).await;
            made.expect("a stream");
            context
        });
        self.running = Some((local, context));
    }

    fn stop(&mut self) {
        if let Some((local, context)) = self.running.take() {
            drop(context);
            local.end();
        }
    }

    fn count(&mut self) -> u64 {
        let context = self.context();
        self.runtime.block_on(async {
            // Busy, it may take its time.
            match context.get_stream(STREAM).await {
                Ok(stream) => stream.cached_info().state.messages,
                Err(_) => 0,
            }
        })
    }

    fn numbers(&mut self) -> Vec<u64> {
        let context = self.context();
        self.runtime.block_on(async {
            let stream = context.get_stream(STREAM).await.expect("a stream");
            let left = stream.cached_info().state.messages as usize;
            let consumer = stream.create_consumer(OrderedConfig::default()).await;
            let messages = consumer.expect("a consumer").messages().await;
            let messages = messages.expect("messages").take(left);
            messages
                .filter_map(async |message| number(&message.expect("a message").payload))
                .collect()
                .await
        })
    }

    fn sink(&self) -> String {
        format!(
            "[sinks.hub]\ntype = \"nats\"\nservers = [\"nats://127.0.0.1:{}\"]\n",
            self.port
        )
    }
}
