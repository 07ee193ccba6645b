//! The listener: HTTP/1.1 on TCP and on a Unix socket, for programs in any language.
//!
//! `docs/http.md` describes what it answers. Everything a client can make grow is bounded: the
//! number of connections, the time for a request's head and body, the bytes of one body and of
//! all large ones together, the time an answer may wait to be read.
//!
//! A listener needs no daemon: a program that embeds an [`Outbox`] can serve it itself, and so
//! let the command line work with it.
//!
//! ```no_run
//! # async fn example(outbox: edge_outbox::outbox::Outbox) -> std::io::Result<()> {
//! use edge_outbox::http::{HttpOptions, Listener, serve};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:7411").await?;
//! let shutdown = std::future::pending();
//! serve(Listener::Tcp(listener), outbox, HttpOptions::default(), shutdown).await
//! # }
//! ```

mod answer;
#[cfg(feature = "carry")]
mod carry;
mod connection;
mod erase;
mod events;
mod guard;
#[cfg(feature = "hub")]
mod hub;
mod letters;
mod metrics;
mod options;
mod page;
mod problem;
mod site;
mod socket;
mod stopping;
mod token;
mod upload;

use std::{io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};

#[cfg(feature = "hub")]
pub(crate) use self::hub::serve_hub;
use self::{guard::Entrance, site::Site};
pub use self::{
    options::{AllowedHost, AllowedHostError, AllowedOrigin, AllowedOriginError, HttpOptions},
    token::{Token, TokenError},
};
use crate::outbox::Outbox;

/// How long nothing is accepted after accepting failed, for example without a file descriptor
/// left. Connections that end meanwhile give theirs back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; the caller sees to its file, mode and removal.
    Unix(UnixListener),
}

/// A connection that was accepted.
enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accepted::Tcp(stream)),
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

/// Serves an outbox until `shutdown` completes. Then nothing more is accepted, requests in hand
/// are answered, and whatever is left after the grace time is cut off; an event whose answer was
/// cut off may have been taken, as with any connection that breaks.
///
/// Dropping the future instead cuts everything off at once.
///
/// # Errors
/// The listener is unusable: the system refuses to accept on it at all. Errors that pass, such as
/// too many open files, are waited out.
pub async fn serve(
    listener: Listener,
    outbox: Outbox,
    options: HttpOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopping) = stopping::channel();
    let site = Arc::new(Site::new(outbox, options, stopping));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut troubled = false;
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task failed");
                }
                continue;
            }
            accepted = listener.accept(), if connections.len() < site.options.max_connections => accepted,
        };
        match accepted {
            Ok(accepted) => {
                if std::mem::take(&mut troubled) {
                    tracing::info!("connections are accepted again");
                }
                connections.spawn(accepted.serve(Arc::clone(&site)));
            }
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!(%error, "no connection can be accepted");
                }
                tokio::select! {
                    () = &mut shutdown => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    drop(stop);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(site.options.shutdown_grace, all_ended)
        .await
        .is_err()
    {
        tracing::debug!(left = connections.len(), "connections are cut off");
        connections.shutdown().await;
    }
    Ok(())
}

impl Accepted {
    async fn serve(self, site: Arc<Site>) {
        match self {
            Self::Tcp(stream) => {
                // Answers are small and awaited: holding them back for more to come only delays.
                // Failing means that the client has gone, which shows soon enough.
                drop(stream.set_nodelay(true));
                let local = stream.local_addr().ok().map(|address| address.ip());
                connection::serve(stream, Entrance::Tcp(local), site).await;
            }
            Self::Unix(stream) => {
                connection::serve(stream, Entrance::Unix, site).await;
            }
        }
    }
}

/// Whether accepting will never work on this listener.
fn is_fatal(error: &io::Error) -> bool {
    let errors = [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, libc::EOPNOTSUPP];
    error
        .raw_os_error()
        .is_some_and(|code| errors.contains(&code))
}
