//! The school's side: a subscriber at the broker that notes whatever arrives in the books.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mqtt5::{ConnectOptions, MqttClient, QoS, SubscribeOptions};

use super::{DemoError, books::Books};

/// Everything that kiosks publish.
const TOPICS: &str = "edupulse/events/#";

/// The subscriber, connected to the broker directly.
pub(super) struct Listener {
    client: MqttClient,
    books: Arc<Mutex<Books>>,
}

impl Listener {
    /// Subscribes at the broker at this address. What is published after this returns is noted.
    pub(super) async fn subscribe(broker: SocketAddr, books: Books) -> Result<Self, DemoError> {
        let failed = |error: mqtt5::MqttError| DemoError::Listener(error.to_string());
        let client = MqttClient::with_options(ConnectOptions::new("school").with_clean_start(true));
        client
            .connect(&format!("mqtt://{broker}"))
            .await
            .map_err(failed)?;
        let books = Arc::new(Mutex::new(books));
        let notes = Arc::clone(&books);
        let options = SubscribeOptions {
            qos: QoS::AtLeastOnce,
            ..SubscribeOptions::default()
        };
        let note = move |message: mqtt5::Message| lock(&notes).note(&message.payload);
        client
            .subscribe_with_options(TOPICS, options, note)
            .await
            .map_err(failed)?;
        Ok(Self { client, books })
    }

    /// The books as they are.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// Listens no longer.
    pub(super) async fn close(&self) {
        // A broker that is gone already has closed the connection.
        drop(self.client.disconnect().await);
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
