//! The line between the classroom and the school's broker: slow, and it can be cut.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::DemoError;

/// The most bytes that are carried at once.
const CHUNK_BYTES: usize = 2 * 1024;

/// What the line does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Everything, both ways.
    Everything,
    /// What the kiosks say, but no answer: so fails a network that is about to be gone.
    NoAnswer,
    /// Nothing: connections are cut, and new ones closed as soon as they come.
    Nothing,
}

/// A relay of TCP connections; it ends when this is dropped.
pub(super) struct Line {
    port: u16,
    carries: watch::Sender<Carries>,
    relay: JoinHandle<()>,
}

impl Line {
    /// A line to the broker at this address, open, that carries so many bytes a second from each
    /// kiosk.
    pub(super) async fn open(broker: SocketAddr, bytes_per_second: u64) -> Result<Self, DemoError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(DemoError::Line)?;
        let port = listener.local_addr().map_err(DemoError::Line)?.port();
        let (carries, state) = watch::channel(Carries::Everything);
        let relay = tokio::spawn(accept(listener, broker, bytes_per_second, state));
        Ok(Self {
            port,
            carries,
            relay,
        })
    }

    /// The port that the kiosks connect to.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// What it carries from now on.
    pub(super) fn carry(&self, what: Carries) {
        self.carries.send_replace(what);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn accept(
    listener: TcpListener,
    broker: SocketAddr,
    bytes_per_second: u64,
    state: watch::Receiver<Carries>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A kiosk that could not be accepted tries again.
                let Ok((kiosk, _)) = accepted else { continue };
                if *state.borrow() != Carries::Nothing {
                    connections.spawn(relay(kiosk, broker, bytes_per_second, state.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection until one of its ends or the line is gone.
async fn relay(
    kiosk: TcpStream,
    broker: SocketAddr,
    bytes_per_second: u64,
    mut state: watch::Receiver<Carries>,
) {
    let Ok(broker) = TcpStream::connect(broker).await else {
        return;
    };
    let answers = state.clone();
    let (from_kiosk, to_kiosk) = kiosk.into_split();
    let (from_broker, to_broker) = broker.into_split();
    // An end that fails is an end that is gone; both connections are closed then.
    tokio::select! {
        _ = there(from_kiosk, to_broker, bytes_per_second) => {}
        _ = back(from_broker, to_kiosk, answers) => {}
        _ = state.wait_for(|state| *state == Carries::Nothing) => {}
    }
}

/// From the kiosk to the broker, at the line's pace.
async fn there(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    bytes_per_second: u64,
) -> io::Result<()> {
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(chunk.get(..read).unwrap_or_default()).await?;
        let micros = (read as u64).saturating_mul(1_000_000) / bytes_per_second.max(1);
        sleep(Duration::from_micros(micros)).await;
    }
}

/// From the broker to the kiosk, while answers are carried. One that is held when the connection
/// is cut is lost.
async fn back(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<Carries>,
) -> io::Result<()> {
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        let open = state.wait_for(|state| *state != Carries::NoAnswer).await;
        drop(open.map_err(io::Error::other)?);
        to.write_all(chunk.get(..read).unwrap_or_default()).await?;
    }
}
