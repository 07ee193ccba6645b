//! Requests and answers of HTTP/1.1 on one connection.

use std::{error::Error, io};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
pub(super) use hyper::Method;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::JoinHandle};

/// A connection on which one request goes after the other.
pub(super) struct Transport {
    requests: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
}

impl Transport {
    pub(super) async fn open(stream: UnixStream) -> io::Result<Self> {
        let shaken = handshake(TokioIo::new(stream)).await;
        let (requests, connection) = shaken.map_err(io::Error::other)?;
        Ok(Self {
            requests,
            // How the connection ends is told by the request in hand.
            connection: tokio::spawn(async move { drop(connection.await) }),
        })
    }

    /// Waits for an answer's head.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(Full::new(body))?;
        Ok(Answer(self.requests.send_request(request).await?))
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// An answer of which the head has come.
pub(super) struct Answer(Response<Incoming>);

impl Answer {
    /// Its status, where that is none of success.
    pub(super) fn refusal(&self) -> Option<String> {
        let status = self.0.status();
        (!status.is_success()).then(|| status.to_string())
    }

    /// All of it, of at most so many bytes.
    pub(super) async fn read(self, most: usize) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        let body = Limited::new(self.0.into_body(), most).collect().await?;
        Ok(body.to_bytes())
    }

    /// The next bytes of it; `None` at the end.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
