//! A mosquitto with a durable subscriber, who is this program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use edge_outbox_benches::{
    classroom::number,
    server::{MQTT_WINDOW, free_port},
};
use rumqttc::v5::{AsyncClient, Event, MqttOptions, mqttbytes::QoS, mqttbytes::v5::Packet};

use super::Hub;
use crate::{
    load::runtime,
    local::{Local, mosquitto, wait_for_port},
};

/// Pause before it connects again.
const PAUSE: Duration = Duration::from_millis(20);
/// What stands for an event that is not the program's.
const OTHER: u64 = u64::MAX;

/// The broker.
pub struct MqttHub {
    dir: PathBuf,
    port: u16,
    running: Option<Local>,
    subscriber: Option<Subscriber>,
}

impl MqttHub {
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            port: free_port(),
            running: None,
            subscriber: None,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Hub for MqttHub {
    fn start(&mut self) {
        let store = self.dir.join("mosquitto");
        fs::create_dir_all(&store).expect("a directory");
        let config = self.dir.join("hub.conf");
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\nmax_inflight_messages {MQTT_WINDOW}\n\
             max_queued_messages 0\nmax_queued_bytes 0\n",
            self.port,
            store.display()
        );
        fs::write(&config, text).expect("written");
        let mut command = Command::new(mosquitto());
        self.running = Some(Local::launch(command.arg("-c").arg(config)));
        wait_for_port(self.port);
        if self.subscriber.is_none() {
            self.subscriber = Some(Subscriber::start(self.port));
        }
    }

    fn stop(&mut self) {
        if let Some(local) = self.running.take() {
            local.end();
        }
    }

    fn count(&mut self) -> u64 {
        let subscriber = self.subscriber.as_ref().expect("it was started");
        subscriber.arrived.lock().expect("no panic").len() as u64
    }

    fn numbers(&mut self) -> Vec<u64> {
        let subscriber = self.subscriber.as_ref().expect("it was started");
        let arrived = subscriber.arrived.lock().expect("no panic");
        let ours = arrived.iter().filter(|number| **number != OTHER);
        ours.copied().collect()
    }

    fn sink(&self) -> String {
        format!(
            "[sinks.hub]\ntype = \"mqtt\"\nservers = [\"mqtt://127.0.0.1:{}\"]\n",
            self.port
        )
    }
}

/// Takes what the broker has for it, across the broker's restarts.
struct Subscriber {
    arrived: Arc<Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Returns once it has subscribed.
    fn start(port: u16) -> Self {
        let arrived: Arc<Mutex<Vec<u64>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let (ready, subscribed) = std::sync::mpsc::channel();
        let (theirs, stopped) = (arrived.clone(), stop.clone());
        let thread = thread::spawn(move || {
            runtime(1).block_on(async {
                let mut options = MqttOptions::new("hub", "127.0.0.1", port);
                options.set_clean_start(false);
                options.set_session_expiry_interval(Some(u32::MAX));
                options.set_receive_maximum(Some(MQTT_WINDOW));
                options.set_outgoing_inflight_upper_limit(MQTT_WINDOW);
                options.set_max_packet_size(Some(1024 * 1024));
                let (client, mut events) = AsyncClient::new(options, usize::from(MQTT_WINDOW));
                let asked = client.subscribe("#", QoS::AtLeastOnce).await;
                asked.expect("room");
                while !stopped.load(Ordering::Relaxed) {
                    // So that it looks whether to stop.
                    let event = tokio::time::timeout(Duration::from_secs(1), events.poll()).await;
                    match event {
                        Ok(Ok(Event::Incoming(Packet::SubAck(_)))) => drop(ready.send(())),
                        Ok(Ok(Event::Incoming(Packet::Publish(event)))) => {
                            let number = number(&event.payload).unwrap_or(OTHER);
                            theirs.lock().expect("no panic").push(number);
                        }
                        Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
                        Ok(Ok(_)) | Err(_) => {}
                    }
                }
            });
        });
        subscribed.recv().expect("subscribed");
        Self {
            arrived,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
