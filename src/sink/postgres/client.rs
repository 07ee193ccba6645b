//! A connection for the hub and the relay, to tables that are no sink's.

use std::{fmt, future::poll_fn, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{AsyncMessage, Client, Error, NoTls};

use super::{
    encryption,
    options::{Address, PostgresOptions, PostgresOptionsError},
    refusal,
    tables::Tables,
};
use crate::sink::SinkError;

/// Silence on a connection before the system asks whether the other side is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// How long what was sent may stay unacknowledged by the other side's system.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a database is, and who this is to it.
#[derive(Clone)]
pub struct Database {
    address: Address,
    connect_timeout: Duration,
    /// The address as messages name it.
    server: String,
    schema: Option<String>,
}

impl Database {
    /// Of the options those count that say where the database is, and the schema.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub fn new(options: &PostgresOptions) -> Result<Self, PostgresOptionsError> {
        let address = options.check()?;
        Ok(Self {
            server: address.to_string(),
            address,
            connect_timeout: options.connect_timeout,
            schema: options.schema.clone(),
        })
    }

    /// The address, without user and password.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The schema that is configured.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// One attempt to connect, under this name.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub(crate) async fn connect(&self, name: &str) -> Result<Connection, SinkError> {
        self.attempt(name, None).await
    }

    /// As [`Database::connect`]; `notified` is told of each notification, and of the connection's end.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub(crate) async fn connect_listening(
        &self,
        name: &str,
        notified: &Arc<Notify>,
    ) -> Result<Connection, SinkError> {
        self.attempt(name, Some(Arc::clone(notified))).await
    }

    async fn attempt(
        &self,
        name: &str,
        notified: Option<Arc<Notify>>,
    ) -> Result<Connection, SinkError> {
        match timeout(self.connect_timeout, self.open(name, notified)).await {
            Ok(opened) => opened,
            Err(_) => Err(SinkError::retry(
                "unreachable",
                format!(
                    "connecting to {} took longer than {:?}",
                    self.server, self.connect_timeout
                ),
            )
            .with_hint("passes when the server can be reached; else check `url`")),
        }
    }

    async fn open(
        &self,
        name: &str,
        notified: Option<Arc<Notify>>,
    ) -> Result<Connection, SinkError> {
        let mut config = self.address.config.clone();
        config
            .application_name(name)
            .connect_timeout(self.connect_timeout / 2)
            .keepalives_idle(KEEPALIVE_IDLE)
            .tcp_user_timeout(USER_TIMEOUT)
            .ssl_mode(encryption::client_mode(self.address.sslmode));
        let tables = Tables::new(None, &self.address);
        let failed = |error: Error| refusal::of_connect(&error, &self.server, &tables);
        let (client, task) = match encryption::connector(&self.address)? {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(failed)?;
                (client, spawn(connection, notified))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                (client, spawn(connection, notified))
            }
        };
        Ok(Connection {
            client,
            task: Task(task),
        })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.server).finish()
    }
}

/// Has a task move the bytes, and tell of notifications where somebody wants to be told.
fn spawn<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    notified: Option<Arc<Notify>>,
) -> JoinHandle<Result<(), Error>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(notified) = notified else {
        return tokio::spawn(connection);
    };
    tokio::spawn(async move {
        let ended = loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => notified.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            }
        };
        notified.notify_one();
        ended
    })
}

/// A connection, which ends with `task`.
pub(crate) struct Connection {
    /// What asks over it.
    pub(crate) client: Client,
    /// Moves the bytes.
    pub(crate) task: Task,
}

/// A task that ends with its handle.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<Result<(), Error>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
