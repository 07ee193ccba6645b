//! One connection to the database, made once and never made again by itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::lookup_host, task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Error, NoTls, types::Type};
use uuid::Uuid;

use crate::{
    envelope::DeviceName,
    sink::{
        Incarnation, SinkError,
        postgres::{
            encryption,
            options::{Address, DEFAULT_PIPELINE, PostgresOptions},
            refusal,
            tables::{SCHEMA_VERSION, Tables},
        },
    },
};

/// Silence on a connection before the system asks whether the other side is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// So many of them unanswered end the connection.
const KEEPALIVE_RETRIES: u32 = 3;
/// How long what was sent may stay unacknowledged by the other side's system.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A server under glibc gives memory back after each statement and asks for it again page by page,
/// a quarter of its time, unless something large was asked for at once and freed before: then
/// the threshold for giving back rises (`M_MMAP_THRESHOLD` in mallopt(3)). Our statements begin
/// small, for a link that may be slow, and grow bit by bit; so the first question has the server hold
/// so many bytes for a moment.
const PRACTICE_BYTES: usize = 4 * 1024 * 1024;

/// The encoding that a database has to have: in any other an event would be refused for a character.
const ENCODING: &str = "UTF8";

/// What it takes to connect, and what every statement needs.
pub(super) struct Site {
    pub(super) options: PostgresOptions,
    pub(super) address: Address,
    /// The address as messages name it.
    pub(super) server: String,
    pub(super) tables: Tables,
}

impl Site {
    pub(super) fn new(options: PostgresOptions, address: Address) -> Self {
        Self {
            server: address.to_string(),
            tables: Tables::new(options.schema.as_deref(), &address),
            options,
            address,
        }
    }
}

/// A connection that was found fit for events.
pub(super) struct Link {
    client: Arc<Client>,
    /// Moves the bytes. Ends when the connection does.
    task: Task,
    /// Which database it is.
    pub(super) incarnation: Incarnation,
    /// Where the server says that it listens; none on its Unix socket.
    #[cfg(feature = "cli")]
    pub(super) listens: Option<SocketAddr>,
    /// Whether no pooler can stand between, for that is where the connection leads.
    is_direct: bool,
    /// Why what is confirmed would not outlive a crash of the server, and what to do about it.
    pub(super) unmet: Vec<String>,
}

impl Link {
    /// Makes one attempt to connect and looks at the tables; bounded by the connect timeout.
    pub(super) async fn dial(site: &Site, device: &DeviceName) -> Result<Self, SinkError> {
        match timeout(site.options.connect_timeout, Self::open(site, device)).await {
            Ok(opened) => opened,
            Err(_) => Err(SinkError::retry(
                "unreachable",
                format!(
                    "connecting to {} took longer than {:?}",
                    site.server, site.options.connect_timeout
                ),
            )
            .with_hint("passes when the server can be reached; else check `url`")),
        }
    }

    async fn open(site: &Site, device: &DeviceName) -> Result<Self, SinkError> {
        let mut config = site.address.config.clone();
        config
            .application_name(format!("edge-outbox {}", device.as_str()))
            // A name may have several addresses, of which the first may be dead.
            .connect_timeout(site.options.connect_timeout / 2)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(USER_TIMEOUT)
            .ssl_mode(encryption::client_mode(site.address.sslmode));
        let failed = |error: Error| refusal::of_connect(&error, &site.server, &site.tables);
        let (client, task) = match encryption::connector(&site.address)? {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(failed)?;
                (client, tokio::spawn(connection))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                (client, tokio::spawn(connection))
            }
        };
        let mut link = Self {
            client: Arc::new(client),
            task: Task(Some(task)),
            incarnation: Incarnation::default(),
            #[cfg(feature = "cli")]
            listens: None,
            is_direct: false,
            unmet: Vec::new(),
        };
        link.inspect(site).await?;
        Ok(link)
    }

    /// Whether the tables are there, of our version, and ours to write to.
    async fn inspect(&mut self, site: &Site) -> Result<(), SinkError> {
        let tables = &site.tables;
        let tried = format!("looking at the tables at {}", site.server);
        let question = format!(
            "select version, instance, has_any_column_privilege($1, 'insert'), \
             has_column_privilege($1, 'digest', 'select'), \
             current_setting('synchronous_commit'), current_setting('transaction_read_only'), \
             current_setting('server_encoding'), \
             (select bool_and(relpersistence = 'p') from pg_class where oid = $1::regclass \
             or oid in (select relid from pg_partition_tree($1::regclass))), \
             inet_server_addr(), inet_server_port(), length(repeat(' ', {PRACTICE_BYTES})) \
             from {}",
            tables.schema
        );
        let failed = |error: Error| refusal::of_question(&tried, &error, tables);
        let answer = self
            .client
            .query_typed(&question, &[(&tables.events, Type::TEXT)])
            .await
            .map_err(failed)?;
        let Some(row) = answer.first() else {
            let message = format!("{tried}: {} has no row", tables.schema);
            return Err(
                SinkError::halt("schema_missing", message).with_hint(tables.how_to_create())
            );
        };
        let version: i32 = row.try_get(0).map_err(failed)?;
        let instance: Uuid = row.try_get(1).map_err(failed)?;
        let may_insert: bool = row.try_get(2).map_err(failed)?;
        let may_select: bool = row.try_get(3).map_err(failed)?;
        let commit: &str = row.try_get(4).map_err(failed)?;
        let read_only: &str = row.try_get(5).map_err(failed)?;
        let encoding: &str = row.try_get(6).map_err(failed)?;
        let logged: bool = row.try_get(7).map_err(failed)?;
        let host: Option<IpAddr> = row.try_get(8).map_err(failed)?;
        let port: Option<i32> = row.try_get(9).map_err(failed)?;
        if version != SCHEMA_VERSION {
            return Err(tables.wrong_version(&site.server, version));
        }
        for (may, right) in [(may_insert, "insert into"), (may_select, "select from")] {
            if !may {
                let message = format!("{tried}: this user may not {right} {}", tables.events);
                return Err(tables.not_permitted(message));
            }
        }
        if read_only == "on" {
            return Err(refusal::read_only(format!("{} is read-only", site.server)));
        }
        if encoding != ENCODING {
            let message = format!(
                "{tried}: the encoding of this database is {encoding}, and not {ENCODING}, which \
                 alone has every character"
            );
            return Err(SinkError::halt("encoding", message).with_hint(
                "name a database in `url` that was created with `encoding 'UTF8' template \
                 template0`",
            ));
        }
        if commit == "off" {
            self.unmet.push(format!(
                "set `synchronous_commit = on` for the user in `url`: {} confirms what a crash of \
                 the server can still take back",
                site.server
            ));
        }
        if !logged {
            self.unmet.push(format!(
                "make `{}` and its partitions logged tables at {} (`alter table … set logged`): a \
                 crash of the server empties one that is not",
                tables.events, site.server
            ));
        }
        self.incarnation = incarnation(instance);
        let port = port.and_then(|port| u16::try_from(port).ok());
        let listens = host.zip(port).map(SocketAddr::from);
        self.is_direct = match listens {
            Some(listens) => leads_to(&site.address, listens).await,
            None => false,
        };
        #[cfg(feature = "cli")]
        {
            self.listens = listens;
        }
        Ok(())
    }

    /// How many statements may be on their way at once.
    pub(super) fn pipeline(&self, site: &Site) -> usize {
        match site.options.pipeline {
            Some(count) => count,
            None if self.is_direct => DEFAULT_PIPELINE,
            None => 1,
        }
    }

    #[cfg(feature = "cli")]
    pub(super) const fn is_direct(&self) -> bool {
        self.is_direct
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Why the connection ended; pending while it is well. Cancel-safe.
    pub(super) async fn ended(&mut self, site: &Site) -> SinkError {
        let ended = match &mut self.task.0 {
            Some(task) => task.await,
            // It was told before.
            None => return refusal::disconnected(&site.server),
        };
        self.task.0 = None;
        match ended {
            Ok(Err(error)) => {
                let tried = format!("waiting for {}", site.server);
                refusal::of_question(&tried, &error, &site.tables)
            }
            Ok(Ok(())) | Err(_) => refusal::disconnected(&site.server),
        }
    }

    /// Says good-bye, which the task does by itself once no client is left.
    pub(super) fn hang_up(mut self) {
        self.task.0 = None;
    }
}

/// A task that ends with its handle.
struct Task(Option<JoinHandle<Result<(), Error>>>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Whether the URL leads to where the server itself listens: a pooler cannot listen there as well.
async fn leads_to(address: &Address, listens: SocketAddr) -> bool {
    for place in address.tcp_hosts() {
        // A name was looked up a moment ago. If it is none now, nothing is proven.
        let Ok(mut found) = lookup_host(place).await else {
            continue;
        };
        if found.any(|at| at.port() == listens.port() && at.ip().to_canonical() == listens.ip()) {
            return true;
        }
    }
    false
}

/// A database's identity as a number; 0 stands for none.
fn incarnation(instance: Uuid) -> Incarnation {
    let (high, low) = instance.as_u64_pair();
    Incarnation(i64::from_ne_bytes(((high ^ low) | 1).to_ne_bytes()))
}
