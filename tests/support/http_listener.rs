//! A listener of its own for each test: a real outbox, a real socket.

#![allow(dead_code, reason = "each test uses a part of it")]
use std::{net::SocketAddr, path::PathBuf, thread};

use edge_outbox::{
    Outbox, OutboxBuilder,
    http::{HttpOptions, Listener, serve},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime,
    sync::oneshot,
};

use crate::http_client::{Answer, Connection, Request};

/// An aggregate for events.
pub(crate) const AGGREGATE: &str = "8c7f1d1e-1f0a-4f6e-9d59-0c4f1c9a2b3d";

/// A listener that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) outbox: Outbox,
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _dir: TempDir,
}

impl Running {
    pub(crate) fn new(options: HttpOptions) -> Self {
        Self::with(options, |outbox| outbox)
    }

    /// Serves on TCP and on a Unix socket, with the same options.
    pub(crate) fn with(
        options: HttpOptions,
        build: impl FnOnce(OutboxBuilder) -> OutboxBuilder,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outbox = build(Outbox::builder(dir.path().join("data")))
            .open()
            .unwrap();
        let socket = dir.path().join("http.sock");
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = std::sync::mpsc::channel();
        let (served, path) = (outbox.clone(), socket.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let unix = UnixListener::bind(path).unwrap();
                ready.send(tcp.local_addr().unwrap()).unwrap();
                let (stop_unix, unix_stopped) = oneshot::channel::<()>();
                let shutdown = async move {
                    drop(stopped.await);
                    drop(stop_unix);
                };
                let unix_shutdown = async move { drop(unix_stopped.await) };
                let (tcp, unix) = tokio::join!(
                    serve(
                        Listener::Tcp(tcp),
                        served.clone(),
                        options.clone(),
                        shutdown
                    ),
                    serve(Listener::Unix(unix), served, options, unix_shutdown),
                );
                tcp.unwrap();
                unix.unwrap();
            });
        });
        let address = address.recv().unwrap();
        let (stop, thread) = (Some(stop), Some(thread));
        Self {
            outbox,
            address,
            socket,
            stop,
            thread,
            _dir: dir,
        }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::tcp(self.address)
    }

    /// Asks over a connection of its own.
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        self.connect().ask(request)
    }

    /// The number of the last event.
    pub(crate) fn tail(&self) -> u64 {
        self.outbox.status().borrow().tail.get()
    }

    /// Shuts down, and waits until the listener has ended.
    pub(crate) fn stop(&mut self) {
        self.begin_to_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Shuts down without waiting.
    pub(crate) fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin_to_stop();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; a second one here would abort the test run.
            drop(thread.join());
        }
        self.outbox.blocking().close();
    }
}

/// An event with this id and payload.
pub(crate) fn event(id: u128, payload: &str) -> String {
    let id = uuid::Uuid::from_u128(id);
    format!(
        r#"{{"id":"{id}","event_type":"quiz.submitted.v1","aggregate_id":"{AGGREGATE}","payload":{payload}}}"#
    )
}
