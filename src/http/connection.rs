//! One connection, from its first byte to its last.

use std::{convert::Infallible, pin::pin, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    guard::Entrance,
    site::Site,
    socket::{Socket, Unread},
};

/// Longest head of a request.
const HEAD_BYTES: usize = 16 * 1024;
/// Most bytes a connection reads ahead.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Serves requests until the client closes or is cut off, or the site stops; then the request in
/// hand is still answered.
pub(super) async fn serve<S>(stream: S, entrance: Entrance, site: Arc<Site>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unread = Unread::default();
    let socket = Socket::new(stream, site.options.stall_timeout, unread.clone());
    let header_timeout = site.options.header_timeout;
    let mut stopping = site.stopping.clone();
    let service = service_fn(move |request| {
        let (site, unread) = (Arc::clone(&site), unread.clone());
        async move { Ok::<_, Infallible>(site.answer(entrance, &unread, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, ?entrance, "a connection ended early");
    }
}
