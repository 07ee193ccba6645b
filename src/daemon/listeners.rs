//! Where programs knock: an address on TCP, and a Unix socket.

mod socket;

use std::{io, net::SocketAddr, path::PathBuf};

use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

use self::socket::{SocketFile, SocketLink};
use super::DaemonError;
use crate::{
    config::{Config, HttpOptions, SOCKET_FILE},
    forwarder::SinkSpec,
    http::{self, Listener},
    outbox::Outbox,
    status::{SinkState, Status},
};

/// Why nobody can knock.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("listening on {address} failed: {source}")]
    Tcp {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("listening on {} failed: {source}", .path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("{} is served by another process", .path.display())]
    SocketInUse { path: PathBuf },
    #[error("the listener failed: {0}")]
    Serve(io::Error),
}

impl ListenError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Tcp { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program listens there: choose another port with --listen or http.listen; \
                 port 0 picks a free one"
            }
            Self::Tcp { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: set --listen or http.listen"
            }
            Self::Unix { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                "the name is longer than what fits into the 107 bytes of a socket's path: set http.socket"
            }
            Self::Unix { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "there is something else under that name: remove it, or set http.socket"
            }
            Self::SocketInUse { .. } => "each daemon needs a socket of its own: set http.socket",
            _ => return None,
        })
    }
}

/// The bound listeners.
pub(super) struct Listeners {
    tcp: Option<(TcpListener, SocketAddr)>,
    unix: Option<(UnixListener, SocketFile)>,
    link: Option<SocketLink>,
}

impl Listeners {
    pub(super) async fn bind(config: &Config) -> Result<Self, ListenError> {
        let tcp = match config.http.listen {
            None => None,
            Some(address) => {
                let failed = |source| ListenError::Tcp { address, source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                Some((listener, bound))
            }
        };
        let unix = match &config.http.socket {
            None => None,
            Some(path) => Some(socket::bind(path).await?),
        };
        let beside = config.data_dir.join(SOCKET_FILE);
        let link = match &config.http.socket {
            Some(path) if *path != beside => SocketLink::make(&beside, path)
                .inspect_err(|error| tracing::warn!(%error, "no link to the socket was made"))
                .ok(),
            _ => None,
        };
        Ok(Self { tcp, unix, link })
    }

    /// As `status` shows them; the address on TCP without a scheme.
    pub(super) fn addresses(&self) -> Vec<String> {
        let tcp = self.tcp.as_ref().map(|(_, address)| address.to_string());
        let unix = self
            .unix
            .as_ref()
            .map(|(_, file)| file.path().display().to_string());
        tcp.into_iter().chain(unix).collect()
    }

    /// Answers on each, in tasks that end when `stopped` does. What is given back is what
    /// is left in the file system.
    pub(super) fn serve<S: Future<Output = ()> + Send + 'static>(
        self,
        tasks: &mut JoinSet<Result<(), DaemonError>>,
        outbox: &Outbox,
        sinks: &[SinkSpec],
        options: &HttpOptions,
        stopped: impl Fn() -> S,
    ) -> SocketFiles {
        let (unix, file) = self.unix.unzip();
        let listeners = unix
            .map(Listener::Unix)
            .into_iter()
            .chain(self.tcp.map(|(listener, _)| Listener::Tcp(listener)));
        for listener in listeners {
            let placed = all_placed(outbox, sinks);
            let serve = http::serve(listener, outbox.clone(), options.clone(), stopped());
            let stopped = stopped();
            tasks.spawn(async {
                // Whoever asked earlier could have a sink forgotten that is configured and has no
                // task yet. Callers wait meanwhile, as for a connection.
                tokio::select! {
                    () = placed => Ok(serve.await.map_err(ListenError::Serve)?),
                    () = stopped => Ok(()),
                }
            });
        }
        SocketFiles {
            _file: file,
            _link: self.link,
        }
    }
}

/// The socket's name in the file system, and the link to it; removed when it is dropped.
pub(super) struct SocketFiles {
    _file: Option<SocketFile>,
    _link: Option<SocketLink>,
}

impl SocketFiles {
    pub(super) fn remove(self) {
        drop(self);
    }
}

/// Waits until each of these sinks has a task that holds its place.
fn all_placed(outbox: &Outbox, sinks: &[SinkSpec]) -> impl Future<Output = ()> + use<> {
    let names: Vec<String> = sinks.iter().map(|sink| sink.name.clone()).collect();
    let mut status = outbox.status();
    async move {
        let has_task = |status: &Status, name: &String| {
            let sink = status.sinks.get(name);
            sink.is_some_and(|sink| sink.state != SinkState::Absent)
        };
        let placed = |status: &Status| names.iter().all(|name| has_task(status, name));
        // An error means that the outbox is gone, and with it the daemon.
        drop(status.wait_for(placed).await);
    }
}
