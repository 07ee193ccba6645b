//! What stands for requests and answers in a program without HTTP: no connection is ever had, so that
//! whatever would go by one is not in the program either.

use std::{convert::Infallible, io};

use bytes::Bytes;
use tokio::net::UnixStream;

/// There is none.
pub(super) enum Transport {}

/// What would be asked.
pub(super) struct Method;

impl Method {
    pub(super) const DELETE: Self = Self;
    pub(super) const GET: Self = Self;
    pub(super) const POST: Self = Self;
}

impl Transport {
    pub(super) async fn open(_stream: UnixStream) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this program leaves HTTP out, by which a daemon is asked",
        ))
    }

    pub(super) async fn send(
        &mut self,
        _method: Method,
        _path: &str,
        _body: Bytes,
    ) -> Result<Answer, Infallible> {
        match *self {}
    }
}

/// There is none.
pub(super) enum Answer {}

impl Answer {
    pub(super) fn refusal(&self) -> Option<String> {
        match *self {}
    }

    pub(super) async fn read(self, _most: usize) -> Result<Bytes, Infallible> {
        match self {}
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, Infallible> {
        match *self {}
    }
}
