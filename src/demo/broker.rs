//! The school's MQTT broker, in this process. `mqtt5` is named here and in the listener alone.

use std::net::{Ipv4Addr, SocketAddr};

use mqtt5::broker::{
    BrokerConfig, BrokerShutdownHandle, MqttBroker, StorageConfig, config::StorageBackend,
};
use tokio::task::JoinHandle;

use super::DemoError;

/// Copies of each event that the broker has room for, should the listener be slow.
const COPIES: usize = 4;

/// A broker on the loopback interface that keeps everything in memory.
pub(super) struct Broker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    running: JoinHandle<mqtt5::Result<()>>,
}

impl Broker {
    /// Starts it on a port that the system picks, with room for so many events that wait for the
    /// listener: it would drop the oldest of more. Takes connections when this returns.
    pub(super) async fn start(events: usize) -> Result<Self, DemoError> {
        let failed = |error: mqtt5::MqttError| DemoError::Broker(error.to_string());
        let storage = StorageConfig::new()
            .with_backend(StorageBackend::Memory)
            .with_max_queued_messages_per_client(events.saturating_mul(COPIES));
        let config = BrokerConfig::new()
            .with_bind_address((Ipv4Addr::LOCALHOST, 0))
            .with_storage(storage)
            .with_sys_topics_enabled(false);
        let mut broker = MqttBroker::with_config(config).await.map_err(failed)?;
        let address = broker
            .local_addr()
            .ok_or_else(|| DemoError::Broker("it has no address".into()))?;
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let running = tokio::spawn(async move { broker.run().await });
        // The sender goes away with a broker that does not start; `running` then says why.
        if ready.wait_for(|ready| *ready).await.is_err() {
            let why = match running.await {
                Ok(Ok(())) => "it stopped at once".into(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            return Err(DemoError::Broker(why));
        }
        Ok(Self {
            address,
            shutdown,
            running,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and waits for its end.
    pub(super) async fn stop(self) {
        self.shutdown.shutdown();
        // How it ended changes nothing any more.
        drop(self.running.await);
    }
}
