//! A connection for the hub, which receives where the sink sends.
//!
//! Whoever holds it lets go of it as soon as it is lost. The client then tries each server once more
//! and ends; what it still had to send by then are acknowledgements, which may come late or never.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::{sync::mpsc, time::timeout};

use super::{
    link::{authenticated, connect_failure, names, unreachable},
    options::{NatsAuth, NatsOptions, NatsOptionsError, Server},
    refusal::{self, Notice},
};
use crate::sink::SinkError;

/// Events of the connection that wait to be read; the first bad one ends it.
const MAX_EVENTS: usize = 64;
/// Commands that wait in the client: acknowledgements of a whole batch, and what is told.
const MAX_COMMANDS: usize = 16_384;
/// Messages that wait in the client. Only what was asked for comes, which is far less.
const MAX_MESSAGES: usize = 65_536;
/// After so long without a word from the server, the connection is tried.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Where the servers are, checked.
#[derive(Clone)]
pub(crate) struct NatsServers {
    options: NatsOptions,
    servers: Vec<Server>,
}

impl NatsServers {
    /// Of the options those count that say where the servers are and who this is to them.
    ///
    /// # Errors
    /// The option that cannot be used, and why.
    pub(crate) fn new(options: NatsOptions) -> Result<Self, NatsOptionsError> {
        let servers = options.check()?;
        Ok(Self { options, servers })
    }

    /// One attempt to reach a server and to be let in, under this name.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub(crate) async fn connect(&self, name: &str) -> Result<NatsConnection, SinkError> {
        let limit = self.options.connect_timeout;
        match timeout(limit, self.dial(name)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(unreachable(format!(
                "connecting to {} took longer than {limit:?}",
                names(&self.servers)
            ))),
        }
    }

    async fn dial(&self, name: &str) -> Result<NatsConnection, SinkError> {
        // An error says that one was chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = &self.options;
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let mut connect = ConnectOptions::new()
            .name(name)
            .connection_timeout(options.connect_timeout / 2)
            .ping_interval(PING_INTERVAL)
            .client_capacity(MAX_COMMANDS)
            .subscription_capacity(MAX_MESSAGES)
            .ignore_discovered_servers()
            .max_reconnects(Some(self.servers.len()))
            .reconnect_delay_callback(|_| Duration::ZERO)
            .event_callback(move |event| {
                let _ = sender.try_send(event);
                std::future::ready(())
            })
            .require_tls(options.tls.is_required());
        if options.tls.first {
            connect = connect.tls_first();
        }
        if let Some(roots) = &options.tls.roots {
            connect = connect.add_root_certificates(roots.clone());
        }
        if let Some(identity) = &options.tls.identity {
            connect =
                connect.add_client_certificate(identity.certificate.clone(), identity.key.clone());
        }
        let in_url = self.servers.first().map(Server::auth).unwrap_or_default();
        let auth = match options.auth {
            NatsAuth::None => &in_url,
            _ => &options.auth,
        };
        connect = authenticated(connect, auth).await?;
        let names = names(&self.servers);
        let addresses: Vec<_> = self.servers.iter().map(|it| it.addr().clone()).collect();
        let client = connect
            .connect(addresses)
            .await
            .map_err(|error| connect_failure(&error, &names, options))?;
        Ok(NatsConnection {
            client,
            events,
            server: names,
        })
    }
}

/// A connection to a server.
pub(crate) struct NatsConnection {
    /// What speaks over it.
    pub(crate) client: Client,
    events: mpsc::Receiver<Event>,
    /// The servers, as messages name them.
    pub(crate) server: String,
}

impl NatsConnection {
    /// Why it ended, or what was not permitted on it; pending while all is well. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> SinkError {
        loop {
            let Some(event) = self.events.recv().await else {
                return refusal::disconnected(&self.server);
            };
            match refusal::notice(&event, &self.server) {
                Notice::Lost(error) => return error,
                Notice::PublishDenied { subject, said } => {
                    let what = format!("publishing to {subject} on {}: {said}", self.server);
                    return SinkError::halt("not_permitted", what)
                        .with_hint("let this user of the hub's publish there");
                }
                _ => {}
            }
        }
    }
}
