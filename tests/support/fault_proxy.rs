//! A TCP proxy that misbehaves as networks do, in front of any server.
//!
//! Its port stays the same for its whole life, whatever happens to the server behind it. Bytes are
//! never dropped out of the middle of a stream, which no network does either: they pass, they are
//! held back, or the connection that lost some of them never gets another one through.
//!
//! Everything runs on one thread of the proxy's own; the handle may be used from anywhere.

use std::{
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc as std_mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Builder,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

/// What one read takes at most.
const CHUNK_BYTES: usize = 32 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;
/// How long the other end may take to close after it was told that the connection is over.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The direction in which bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What is wrong with the network until [`FaultProxy::mend`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Each chunk waits so long in each direction before it goes on.
    Delay(Duration),
    /// Connections are there and come about, and no byte gets through in either direction. What
    /// was held back goes on once this ends, even where its sender has given up long ago.
    Blackhole,
    /// One byte at a time, each in a segment of its own.
    ByteByByte,
    /// What the client says passes, and no answer comes back. A connection that lost an answer is
    /// reset once this ends.
    NoAnswers,
}

/// How much passed through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Traffic {
    /// Connections accepted.
    pub(crate) connections: u64,
    /// Bytes passed on to the server.
    pub(crate) up: u64,
    /// Bytes passed on to the client.
    pub(crate) down: u64,
}

/// A proxy at work; gone, with every connection, when the value is.
pub(crate) struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What the accepting task is told to do. It answers once it is done.
struct Order {
    listen: bool,
    done: std_mpsc::Sender<()>,
}

struct Shared {
    rules: watch::Sender<Rules>,
    /// The way and the number of bytes after which the connection that carries them is reset.
    fuse: Mutex<Option<(Way, u64)>>,
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// What holds for every connection.
#[derive(Clone, Copy)]
struct Rules {
    target: SocketAddr,
    fault: Option<Fault>,
    /// How many times connections were broken, and how the last time: those that are older than
    /// that end so.
    breaks: u64,
    how: Break,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Break {
    /// Both ends are told that nothing more comes.
    Fin,
    /// Both ends are told at once that the connection is no more.
    Rst,
    /// The server's end is closed and the client's is not told.
    HalfOpen,
}

impl FaultProxy {
    /// A faultless one in front of this server.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let rules = Rules {
            target,
            fault: None,
            breaks: 0,
            how: Break::Fin,
        };
        let shared = Arc::new(Shared {
            rules: watch::Sender::new(rules),
            fuse: Mutex::new(None),
            connections: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        });
        let (orders, received) = mpsc::unbounded_channel();
        let (report, bound) = std_mpsc::channel();
        let work = {
            let shared = shared.clone();
            move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(accept(shared, received, report));
            }
        };
        let thread = thread::Builder::new().name("fault proxy".into());
        let thread = thread.spawn(work).unwrap();
        Self {
            shared,
            address: bound.recv().unwrap(),
            orders,
            thread: Some(thread),
        }
    }

    /// A faultless one in front of the server at a port of 127.0.0.1.
    pub(crate) fn to_port(port: u16) -> Self {
        Self::to((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// New connections lead to another server.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.shared.rules.send_modify(|rules| rules.target = target);
    }

    /// Closes every connection in the orderly way (FIN). New ones are taken.
    pub(crate) fn cut(&self) {
        self.break_all(Break::Fin);
    }

    /// Resets every connection (RST). New ones are taken.
    pub(crate) fn reset(&self) {
        self.break_all(Break::Rst);
    }

    /// Closes the server's end of every connection and never tells the client, whose bytes go
    /// nowhere from now on. New connections are taken.
    pub(crate) fn leave_half_open(&self) {
        self.break_all(Break::HalfOpen);
    }

    /// Resets the connection that carries it after this many more bytes in this direction, which
    /// mostly is in the middle of a message. Once.
    pub(crate) fn reset_after(&self, way: Way, bytes: u64) {
        *self.shared.fuse.lock().unwrap() = Some((way, bytes));
    }

    /// Whether the reset that was asked for last is still to come.
    pub(crate) fn will_reset(&self) -> bool {
        self.shared.fuse.lock().unwrap().is_some()
    }

    /// Refuses new connections (ECONNREFUSED). Those that are there stay.
    pub(crate) fn refuse(&self) {
        self.order(false);
    }

    /// Takes connections again, on the same port.
    pub(crate) fn accept(&self) {
        self.order(true);
    }

    /// Makes the network as bad as this, for every connection that is there or comes.
    pub(crate) fn suffer(&self, fault: Fault) {
        let rules = &self.shared.rules;
        rules.send_modify(|rules| rules.fault = Some(fault));
    }

    /// Ends the fault.
    pub(crate) fn mend(&self) {
        self.shared.rules.send_modify(|rules| rules.fault = None);
    }

    /// How much passed so far.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            connections: self.shared.connections.load(Ordering::Relaxed),
            up: self.shared.up.load(Ordering::Relaxed),
            down: self.shared.down.load(Ordering::Relaxed),
        }
    }

    fn break_all(&self, how: Break) {
        self.shared.rules.send_modify(|rules| {
            rules.breaks += 1;
            rules.how = how;
        });
    }

    fn order(&self, listen: bool) {
        let (done, answer) = std_mpsc::channel();
        self.orders.send(Order { listen, done }).unwrap();
        answer.recv().unwrap();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // The accepting task ends when nobody can tell it anything any more.
        self.orders = mpsc::unbounded_channel().0;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the proxy panicked");
        }
    }
}

/// A socket that has a port and does not listen: who connects is refused, and nobody else is
/// given the port meanwhile. (SO_REUSEADDR would let others have it.)
fn reserve(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    report: std_mpsc::Sender<SocketAddr>,
) {
    let mut reserved = reserve((Ipv4Addr::LOCALHOST, 0).into());
    let address = reserved.local_addr().unwrap();
    let open = |reserved: &mut TcpSocket| {
        let next = reserve(address);
        let socket = std::mem::replace(reserved, next);
        Some(socket.listen(BACKLOG).unwrap())
    };
    let mut listener = open(&mut reserved);
    report.send(address).unwrap();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                listener = match order.listen {
                    true => listener.or_else(|| open(&mut reserved)),
                    false => None,
                };
                order.done.send(()).unwrap();
            }
            accepted = next_client(listener.as_ref()) => {
                // A client that is gone before it was accepted is none.
                if let Ok(client) = accepted {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(carry(client, shared.clone()));
                }
            }
        }
    }
}

async fn next_client(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => pending().await,
    }
}

/// One connection, from its making to its end.
async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let mut rules = shared.rules.subscribe();
    let born = rules.borrow_and_update().breaks;
    let target = rules.borrow().target;
    let Ok(server) = TcpStream::connect(target).await else {
        drop(client.set_zero_linger());
        return;
    };
    // Without that a byte at a time would leave in one segment after all.
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let how = {
        let up = pump(&mut from_client, &mut to_server, Way::Up, born, &shared);
        let down = pump(&mut from_server, &mut to_client, Way::Down, born, &shared);
        tokio::select! {
            // As soon as one direction fails, both have.
            ended = async { tokio::try_join!(up, down) } => match ended {
                Ok(_) => return,
                Err(_) => Break::Rst,
            },
            how = broken(&mut rules, born) => how,
        }
    };
    match how {
        Break::Rst => {
            // Closing sends RST then, and throws away what was not sent yet. Without `forget` each
            // half would say FIN first.
            for (from, to) in [(from_client, to_client), (from_server, to_server)] {
                drop(from.as_ref().set_zero_linger());
                to.forget();
            }
        }
        Break::Fin => {
            tokio::join!(
                finish(&mut from_client, to_client),
                finish(&mut from_server, to_server)
            );
        }
        Break::HalfOpen => {
            finish(&mut from_server, to_server).await;
            swallow(&mut from_client).await;
        }
    }
}

/// Resolves once the connections of this age are broken.
async fn broken(rules: &mut watch::Receiver<Rules>, born: u64) -> Break {
    let how = rules.wait_for(|rules| rules.breaks > born).await;
    // The sender lives as long as any connection.
    how.map_or(Break::Rst, |rules| rules.how)
}

/// Says that nothing more comes, and reads on until the other end has seen it: with bytes unread,
/// closing would send RST.
async fn finish(from: &mut OwnedReadHalf, mut to: OwnedWriteHalf) {
    drop(to.shutdown().await);
    drop(timeout(CLOSE_LIMIT, swallow(from)).await);
}

/// Reads whatever comes, until the other end closes.
async fn swallow(from: &mut OwnedReadHalf) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while from.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
}

/// Carries bytes one way until the sender has closed, and tells the receiver that. The connection
/// is as old as `born` breaks.
///
/// # Errors
/// The connection failed, or is to be reset.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    way: Way,
    born: u64,
    shared: &Shared,
) -> io::Result<()> {
    let mut rules = shared.rules.subscribe();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut lost = false;
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read?,
            _ = rules.wait_for(|rules| rules.fault != Some(Fault::NoAnswers)), if lost => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        };
        let held = rules.wait_for(|rules| rules.fault != Some(Fault::Blackhole));
        let now = *held.await.map_err(io::Error::other)?;
        if now.breaks > born {
            // Nothing passes after the moment of the break.
            return pending().await;
        }
        let fault = now.fault;
        let bytes = &chunk[..read];
        match fault {
            Some(Fault::NoAnswers) if way == Way::Down => {
                lost = true;
                if bytes.is_empty() {
                    // The server has gone; the client is not told that either.
                    let mended = rules.wait_for(|rules| rules.fault != fault);
                    drop(mended.await);
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                continue;
            }
            Some(Fault::Delay(latency)) => sleep(latency).await,
            _ => {}
        }
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        let allowed = shared.burn(way, bytes.len());
        let each = match fault {
            Some(Fault::ByteByByte) => 1,
            _ => CHUNK_BYTES,
        };
        for piece in bytes[..allowed].chunks(each) {
            // Before they can be seen at the other end.
            shared.count(way, piece.len());
            to.write_all(piece).await?;
        }
        if allowed < bytes.len() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}

impl Shared {
    /// How many of these bytes may pass before the connection is to be reset; all of them, mostly.
    fn burn(&self, way: Way, bytes: usize) -> usize {
        let mut fuse = self.fuse.lock().unwrap();
        match &mut *fuse {
            Some((burns, left)) if *burns == way => {
                let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes);
                *left -= allowed as u64;
                if allowed < bytes {
                    *fuse = None;
                }
                allowed
            }
            _ => bytes,
        }
    }

    fn count(&self, way: Way, bytes: usize) {
        let counter = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
