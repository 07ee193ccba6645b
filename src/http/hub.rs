//! The hub's listener: `GET /metrics` and `GET /healthz`, and nothing that changes anything.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    ACCEPT_PAUSE,
    answer::{self, Body},
    is_fatal, metrics,
};
use crate::hub::Gauges;

/// Connections at a time; whoever watches needs one.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and a whole connection.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// Longest head of a request.
const HEAD_BYTES: usize = 16 * 1024;

/// Serves until `shutdown`.
///
/// # Errors
/// The listener is unusable.
pub(crate) async fn serve_hub(
    listener: TcpListener,
    gauges: Arc<Gauges>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(timeout(
                    CONNECTION_LIMIT,
                    connection(stream, gauges.clone()),
                ));
            }
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, gauges: Arc<Gauges>) {
    let service = service_fn(move |request| {
        let answer = answer(&gauges, &request);
        async { Ok::<_, Infallible>(answer) }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_header_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn answer(gauges: &Gauges, request: &Request<Incoming>) -> Response<Body> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/metrics" | "/healthz" if !is_read => {
            let mut response = answer::with(StatusCode::METHOD_NOT_ALLOWED, Body::empty());
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            response
        }
        "/metrics" => metrics::hub::scrape(gauges, request.headers()),
        "/healthz" => health(gauges),
        _ => answer::with(StatusCode::NOT_FOUND, Body::empty()),
    }
}

/// Well is a hub whose sources and database can be reached.
fn health(gauges: &Gauges) -> Response<Body> {
    let (status, word) = match gauges.is_well() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "waiting"),
    };
    let sources = gauges.sources().iter().map(|(name, source)| {
        let state = match (source.is_connected(), source.has_database()) {
            (true, true) => "ok",
            (false, _) => "source away",
            (_, false) => "database away",
        };
        (name.clone(), state.into())
    });
    let sources: serde_json::Map<String, serde_json::Value> = sources.collect();
    answer::json(
        status,
        &serde_json::json!({ "status": word, "sources": sources }),
    )
}
