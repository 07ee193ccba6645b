//! A mosquitto on the device that bridges to the one at the hub.

use std::{fs, net::Ipv4Addr, ops::Range, path::PathBuf, process::Command};

use edge_outbox_benches::{
    classroom::{DEVICE, EVENT_TYPE, payload},
    server::free_port,
};
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    hub::{Hub, mqtt::MqttHub},
    load::{Load, Producer, Taken, run},
    local::{Local, mosquitto, wait_for_port},
    peer::{Ground, Peer},
};

/// Events that are published before the first answer is awaited, where it is to go fast.
const FILL_BATCH: u64 = 100;

/// What safe means: no limit on what it holds, and the database written and synced after each change.
const SAFE: &str = "max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 512\n\
                    autosave_on_changes true\nautosave_interval 1\n";
/// The same without the saving, to fill it.
const ROOMY: &str = "max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 512\n";

/// The local broker and the hub's.
pub struct Bridge {
    config: PathBuf,
    store: PathBuf,
    port: u16,
    safe: bool,
    local: Option<Local>,
    hub: MqttHub,
}

impl Bridge {
    pub fn new(ground: &Ground, safe: bool) -> Self {
        Self {
            config: ground.hub.join("bridge.conf"),
            store: ground.store.clone(),
            port: free_port(),
            safe,
            local: None,
            hub: MqttHub::new(&ground.hub),
        }
    }

    fn launch_with(&mut self, lines: &str) {
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\n{lines}connection hub\naddress 127.0.0.1:{}\n\
             topic # out 1\ncleansession false\nremote_clientid bridge\n{}",
            self.port,
            self.store.display(),
            self.hub.port(),
            // As it comes it waits 5 to 30 seconds before each attempt.
            if self.safe { "restart_timeout 1\n" } else { "" }
        );
        fs::write(&self.config, text).expect("written");
        let mut command = Command::new(mosquitto());
        self.local = Some(Local::launch(command.arg("-c").arg(&self.config)));
    }

    fn end(&mut self) {
        if let Some(local) = self.local.take() {
            local.end();
        }
    }
}

impl Peer for Bridge {
    fn launch(&mut self) {
        self.launch_with(if self.safe { SAFE } else { "" });
    }

    fn wait(&mut self) {
        wait_for_port(self.port);
    }

    fn load(&mut self, load: &Load) -> Taken {
        let port = self.port;
        run(load, async {
            let connect = (0..load.producers).map(|_| Publisher::open(port));
            try_join_all(connect)
                .await
                .map_err(|error| error.to_string())
        })
    }

    /// Without a save for each change: each writes the whole database.
    fn fill(&mut self, load: &Load) {
        if self.safe {
            self.end();
            self.launch_with(ROOMY);
            self.wait();
        }
        let taken = self.load(&Load {
            batch: FILL_BATCH,
            ..load.clone()
        });
        assert_eq!(taken.failure, None);
        if self.safe {
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

/// A connection, with no more of MQTT 3.1.1 than it takes.
struct Publisher {
    socket: TcpStream,
    packets: Vec<u8>,
}

impl Publisher {
    async fn open(port: u16) -> std::io::Result<Self> {
        /// A clean session without a name, and no keep-alive.
        const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        socket.set_nodelay(true)?;
        socket.write_all(CONNECT).await?;
        socket.read_exact(&mut [0; 4]).await?;
        Ok(Self {
            socket,
            packets: Vec::new(),
        })
    }

    /// A publication with QoS 1.
    fn push(&mut self, id: u16, payload: &str) {
        const PUBLISH: u8 = 0x32;
        let topic = format!("edupulse/events/{DEVICE}/{EVENT_TYPE}");
        let mut left = 2 + topic.len() + 2 + payload.len();
        self.packets.push(PUBLISH);
        while left >= 128 {
            self.packets.push((left % 128) as u8 | 128);
            left /= 128;
        }
        self.packets.push(left as u8);
        let length = topic.len() as u16;
        self.packets.extend(length.to_be_bytes());
        self.packets.extend(topic.as_bytes());
        self.packets.extend(id.to_be_bytes());
        self.packets.extend(payload.as_bytes());
    }
}

impl Producer for Publisher {
    async fn append(&mut self, numbers: Range<u64>, bytes: usize) -> Result<(), String> {
        self.packets.clear();
        let count = (numbers.end - numbers.start) as usize;
        for (number, id) in numbers.zip(1..) {
            self.push(id, &payload(number, bytes));
        }
        let sent = self.socket.write_all(&self.packets).await;
        sent.map_err(|error| error.to_string())?;
        // Four bytes each.
        let mut answers = vec![0; 4 * count];
        let read = self.socket.read_exact(&mut answers).await;
        read.map(drop).map_err(|error| error.to_string())
    }
}
