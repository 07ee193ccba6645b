//! A broker that says what no real one would: packets put together by hand, on a real socket.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::conversation::PATIENCE;

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PINGREQ: u8 = 12;

/// Listens on a port of its own.
pub(crate) struct ScriptedBroker {
    listener: TcpListener,
}

/// A packet from the client.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

/// One connection.
pub(crate) struct Caller {
    stream: TcpStream,
}

impl ScriptedBroker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection, with its CONNECT.
    pub(crate) async fn call(&self) -> (Caller, Packet) {
        let (stream, _) = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("a connection")
            .unwrap();
        let mut caller = Caller { stream };
        let connect = caller.packet().await;
        assert_eq!(connect.kind, CONNECT);
        (caller, connect)
    }

    /// The next connection, let in by MQTT 5 with these properties.
    pub(crate) async fn let_in(&self, properties: &[u8]) -> Caller {
        let (mut caller, _) = self.call().await;
        caller.send(&connack(0, properties)).await;
        caller
    }

    /// Whether nobody calls for a while.
    pub(crate) async fn is_left_alone(&self) -> bool {
        timeout(Duration::from_millis(300), self.listener.accept())
            .await
            .is_err()
    }
}

impl Caller {
    /// The next packet.
    pub(crate) async fn packet(&mut self) -> Packet {
        timeout(PATIENCE, self.read())
            .await
            .expect("a packet in time")
            .expect("a packet")
    }

    /// The next packet; none once the client is gone.
    pub(crate) async fn read(&mut self) -> Option<Packet> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Packet {
            kind: first >> 4,
            body,
        })
    }

    /// The packet id of the next packet, which is a PUBLISH.
    pub(crate) async fn publish(&mut self) -> u16 {
        let packet = self.packet().await;
        assert_eq!(packet.kind, PUBLISH, "{packet:?}");
        packet.packet_id()
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(200), self.stream.read_u8())
            .await
            .is_err()
    }

    /// Sends bytes in one go.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }
}

impl Packet {
    /// The packet id of a PUBLISH at QoS 1 or 2, or of an answer to it.
    pub(crate) fn packet_id(&self) -> u16 {
        let at = match self.kind {
            PUBLISH => 2 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]])),
            _ => 0,
        };
        u16::from_be_bytes([self.body[at], self.body[at + 1]])
    }
}

/// A CONNACK of MQTT 5 without a session.
pub(crate) fn connack(code: u8, properties: &[u8]) -> Vec<u8> {
    let length = u8::try_from(properties.len()).unwrap();
    let mut packet = vec![0x20, length + 3, 0, code, length];
    packet.extend(properties);
    packet
}

/// The property of a CONNACK that bounds what is under way.
pub(crate) fn receive_maximum(most: u16) -> Vec<u8> {
    let [high, low] = most.to_be_bytes();
    vec![0x21, high, low]
}

fn answer(first: u8, packet_id: u16, code: u8) -> Vec<u8> {
    let [high, low] = packet_id.to_be_bytes();
    vec![first, 3, high, low, code]
}

pub(crate) fn puback(packet_id: u16, code: u8) -> Vec<u8> {
    answer(0x40, packet_id, code)
}

pub(crate) fn pubrec(packet_id: u16, code: u8) -> Vec<u8> {
    answer(0x50, packet_id, code)
}

pub(crate) fn pubcomp(packet_id: u16, code: u8) -> Vec<u8> {
    answer(0x70, packet_id, code)
}

pub(crate) fn disconnect(code: u8) -> Vec<u8> {
    vec![0xE0, 2, code, 0]
}
