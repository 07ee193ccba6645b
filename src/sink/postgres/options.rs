//! What a `postgres` sink can be told, and the check of it.

use std::{fmt, path::PathBuf, time::Duration};

use tokio_postgres::config::{Config, Host};

use crate::{
    encoding::percent_decoded,
    secret::Secret,
    sink::tls::{TlsFiles, TlsIdentity},
};

/// The longest that one attempt to connect may take, and what it takes by default.
pub const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long nothing may be answered by default, where something is asked. Below the 5 s within which
/// delivery has to resume, as a connection that went silent is only noticed by this.
pub const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest ack timeout that can be set.
pub const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(300);
/// Rows in one statement by default. More gains little and makes a repeat after a loss larger.
pub const DEFAULT_BATCH: usize = 256;
/// The most rows in one statement that can be set.
pub const MAX_BATCH: usize = 4_096;
/// Statements on their way at once by default where the server itself answers: neither it nor the
/// way to it is idle between two of them. Where a pooler may stand between it is one, for poolers
/// lose track of more (pgbouncer 1.18 mixes up its clients' messages).
pub const DEFAULT_PIPELINE: usize = 4;
/// The most statements on their way that can be set.
pub const MAX_PIPELINE: usize = 16;
/// Unanswered events borne by default: four statements.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 1_024;
/// The most unanswered events that can be set.
pub const MAX_IN_FLIGHT: usize = 16_384;
/// How long a connection is kept by default with nothing to send.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The port where a URL names none.
const DEFAULT_PORT: u16 = 5_432;
/// The longest name of a schema, in bytes, as the server has it.
const MAX_SCHEMA_BYTES: usize = 63;

/// Everything a `postgres` sink can be told.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?KEY=VALUE`. Several hosts are separated by
    /// commas and tried in turn; `target_session_attrs=read-write` picks the one that takes
    /// writes. `host=/var/run/postgresql` is a Unix socket. `sslmode`, `sslrootcert`, `sslcert`
    /// and `sslkey` are read where the options below leave them open.
    pub url: Secret,
    /// The password, before the one in the URL.
    pub password: Option<Secret>,
    /// The schema that the tables are in; else the role's search path decides.
    pub schema: Option<String>,
    /// How the connection is encrypted, and how the server is checked; else as the URL says, else
    /// [`SslMode::VerifyFull`].
    pub sslmode: Option<SslMode>,
    /// Whom to trust, and what to show. A Unix socket is never encrypted.
    pub tls: TlsFiles,
    /// How long one attempt to connect may take, from the name lookup to the check of the tables.
    pub connect_timeout: Duration,
    /// How long nothing may be answered, while a statement waits, before the connection is given up. A
    /// large event is given more, as for a link of 8 KiB/s.
    pub ack_timeout: Duration,
    /// How many rows one statement has at most.
    pub batch: usize,
    /// How many statements may be on their way at once; `None`: [`DEFAULT_PIPELINE`] where the
    /// server says that it listens at the very address in the URL, else 1. More than 1 needs a
    /// connection without a pooler.
    pub pipeline: Option<usize>,
    /// How many events may be unanswered at once.
    pub max_in_flight: usize,
    /// How long the connection is kept with nothing to send; `None`: for ever. It is opened again
    /// by the next event.
    pub idle_timeout: Option<Duration>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            url: Secret::new("postgres://127.0.0.1:5432/postgres"),
            password: None,
            schema: None,
            sslmode: None,
            tls: TlsFiles::default(),
            connect_timeout: MAX_CONNECT_TIMEOUT,
            ack_timeout: DEFAULT_ACK_TIMEOUT,
            batch: DEFAULT_BATCH,
            pipeline: None,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            idle_timeout: Some(DEFAULT_IDLE_TIMEOUT),
        }
    }
}

/// How the connection is encrypted, and how the server is checked; the words of libpq.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// Encrypted where the server offers it, whoever the server is.
    Prefer,
    /// Encrypted, whoever the server is; as [`SslMode::VerifyCa`] where authorities are given.
    Require,
    /// Encrypted, with a server whose certificate an authority signed, for whatever name.
    VerifyCa,
    /// Encrypted, with a server whose certificate an authority signed for the name in the URL.
    VerifyFull,
}

impl SslMode {
    /// Every mode, the weakest first.
    pub const ALL: [Self; 5] = [
        Self::Disable,
        Self::Prefer,
        Self::Require,
        Self::VerifyCa,
        Self::VerifyFull,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// The mode of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// Why [`PostgresOptions`] cannot be used. [`PostgresOptionsError::key`] names the option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresOptionsError {
    /// The URL does not begin as one, or cannot be read. Nothing of it is shown, for it may hold
    /// a password.
    #[error("it is no URL of a database: {0}")]
    Url(String),
    /// The URL names no host.
    #[error("it names no host: write postgres://USER@HOST:5432/DATABASE")]
    NoHost,
    /// The URL names a Unix socket beside a TCP host.
    #[error("it names a Unix socket beside another host: only the one or the other can be used")]
    MixedHosts,
    /// The URL asks for an `sslmode` that there is not.
    #[error("its sslmode is none of disable, prefer, require, verify-ca and verify-full")]
    SslMode,
    /// The URL names a certificate without its key, or a key without its certificate.
    #[error("sslcert and sslkey belong together: set both, or none")]
    HalfIdentity,
    /// The schema's name cannot be one.
    #[error(
        "{0:?} cannot be a schema's name: it has 1 to {MAX_SCHEMA_BYTES} bytes, none of them 0"
    )]
    Schema(String),
    /// The connect timeout is 0 or above [`MAX_CONNECT_TIMEOUT`].
    #[error("the connect timeout has to be above 0 and at most {MAX_CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    /// The ack timeout is 0 or above [`MAX_ACK_TIMEOUT`].
    #[error("the ack timeout has to be above 0 and at most {MAX_ACK_TIMEOUT:?}")]
    AckTimeout,
    /// The number of rows in a statement is 0 or above [`MAX_BATCH`].
    #[error("1 to {MAX_BATCH} rows can be in one statement")]
    Batch,
    /// The number of statements on their way is 0 or above [`MAX_PIPELINE`].
    #[error("1 to {MAX_PIPELINE} statements can be on their way")]
    Pipeline,
    /// The number of unanswered events is 0 or above [`MAX_IN_FLIGHT`].
    #[error("1 to {MAX_IN_FLIGHT} events can be unanswered")]
    MaxInFlight,
    /// The idle timeout is 0.
    #[error("the idle timeout has to be above 0")]
    IdleTimeout,
}

impl PostgresOptionsError {
    /// The option that is wrong, as the configuration names it.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::NoHost | Self::MixedHosts | Self::SslMode | Self::HalfIdentity => {
                "url"
            }
            Self::Schema(_) => "schema",
            Self::ConnectTimeout => "connect_timeout",
            Self::AckTimeout => "ack_timeout",
            Self::Batch => "batch",
            Self::Pipeline => "pipeline",
            Self::MaxInFlight => "max_in_flight",
            Self::IdleTimeout => "idle_timeout",
        }
    }
}

/// Where the database is, from the URL and what goes before it.
#[derive(Clone)]
pub(super) struct Address {
    /// Everything that the client takes, but for TLS and what belongs to one connection.
    pub(super) config: Config,
    pub(super) sslmode: SslMode,
    pub(super) tls: TlsFiles,
}

impl Address {
    /// Each host with its port, as messages name it; a Unix socket by its directory.
    fn hosts(&self) -> impl Iterator<Item = (String, u16)> {
        let named = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(dir) => dir.display().to_string(),
        });
        let bare = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let bare = bare.filter(|_| self.config.get_hosts().is_empty());
        let ports = self.config.get_ports();
        let port = |place: usize| ports.get(place).or(ports.first()).unwrap_or(&DEFAULT_PORT);
        named
            .chain(bare)
            .enumerate()
            .map(move |(place, host)| (host, *port(place)))
    }

    /// Each host that is reached by TCP, with its port.
    pub(super) fn tcp_hosts(&self) -> Vec<(String, u16)> {
        if self.is_on_unix_socket() {
            return Vec::new();
        }
        // Where the addresses are given beside the names, they are what is connected to.
        let address = |place: usize| self.config.get_hostaddrs().get(place);
        self.hosts()
            .enumerate()
            .map(|(place, (host, port))| {
                let bare = host.trim_matches(['[', ']']).to_owned();
                (address(place).map_or(bare, ToString::to_string), port)
            })
            .collect()
    }

    /// Whether the way leads through a Unix socket.
    pub(super) fn is_on_unix_socket(&self) -> bool {
        matches!(self.config.get_hosts().first(), Some(Host::Unix(_)))
    }
}

impl fmt::Display for Address {
    /// Hosts and database, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (place, (host, port)) in self.hosts().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{host}:{port}")?;
        }
        match self.config.get_dbname() {
            Some(database) => write!(f, "/{database}"),
            None => Ok(()),
        }
    }
}

impl PostgresOptions {
    /// Checks everything that can be checked without a server, and gives the database's address.
    pub(super) fn check(&self) -> Result<Address, PostgresOptionsError> {
        use PostgresOptionsError as Wrong;
        let within = |span: Duration, max| !span.is_zero() && span <= max;
        if let Some(schema) = &self.schema
            && (schema.is_empty() || schema.len() > MAX_SCHEMA_BYTES || schema.contains('\0'))
        {
            return Err(Wrong::Schema(schema.clone()));
        }
        if !within(self.connect_timeout, MAX_CONNECT_TIMEOUT) {
            return Err(Wrong::ConnectTimeout);
        }
        if !within(self.ack_timeout, MAX_ACK_TIMEOUT) {
            return Err(Wrong::AckTimeout);
        }
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return Err(Wrong::Batch);
        }
        if self
            .pipeline
            .is_some_and(|count| !(1..=MAX_PIPELINE).contains(&count))
        {
            return Err(Wrong::Pipeline);
        }
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return Err(Wrong::MaxInFlight);
        }
        if self.idle_timeout.is_some_and(|span| span.is_zero()) {
            return Err(Wrong::IdleTimeout);
        }
        self.address()
    }

    fn address(&self) -> Result<Address, PostgresOptionsError> {
        use PostgresOptionsError as Wrong;
        let url = self.url.reveal();
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(Wrong::Url(
                "write postgres://USER@HOST:5432/DATABASE".into(),
            ));
        }
        if is_ambiguous(url) {
            return Err(Wrong::Url(
                "write an `@` in the user or the password as %40, and a `?` as %3F".into(),
            ));
        }
        let parsed = TlsOfUrl::take_from(url)?;
        // The client's words name a key at most, never a value.
        let mut config: Config =
            parsed
                .rest
                .reveal()
                .parse()
                .map_err(|error: tokio_postgres::Error| {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    Wrong::Url(cause.unwrap_or_else(|| error.to_string()))
                })?;
        let hosts = config.get_hosts();
        if hosts.is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Wrong::NoHost);
        }
        let sockets = hosts.iter().filter(|host| matches!(host, Host::Unix(_)));
        let sslmode = match sockets.count() {
            0 => self
                .sslmode
                .or(parsed.sslmode)
                .unwrap_or(SslMode::VerifyFull),
            some if some == hosts.len() => SslMode::Disable,
            _ => return Err(Wrong::MixedHosts),
        };
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        let TlsFiles { roots, identity } = self.tls.clone();
        Ok(Address {
            config,
            sslmode,
            tls: TlsFiles {
                roots: roots.or(parsed.tls.roots),
                identity: identity.or(parsed.tls.identity),
            },
        })
    }
}

/// Whether a password may reach into what is shown: the client ends user and password at the first
/// `@`, and takes what is behind it for the name of a host, of a database or of a parameter.
fn is_ambiguous(url: &str) -> bool {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut names = query.split('&').filter_map(|pair| pair.split('=').next());
    base.matches('@').count() > 1 || names.any(|name| name.contains('@'))
}

/// What a URL says in the words of libpq that the client does not know.
struct TlsOfUrl {
    sslmode: Option<SslMode>,
    tls: TlsFiles,
    /// The URL without that.
    rest: Secret,
}

impl TlsOfUrl {
    fn take_from(url: &str) -> Result<Self, PostgresOptionsError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut sslmode = None;
        let (mut roots, mut certificate, mut key) = (None, None, None);
        let mut rest = zeroize::Zeroizing::new(base.to_owned());
        let mut separator = '?';
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let path = || Some(PathBuf::from(percent_decoded(value)));
            match name {
                "sslmode" => {
                    let mode = SslMode::from_word(value).ok_or(PostgresOptionsError::SslMode)?;
                    sslmode = Some(mode);
                }
                // The system's authorities are what counts where no file is named.
                "sslrootcert" if value == "system" => roots = None,
                "sslrootcert" => roots = path(),
                "sslcert" => certificate = path(),
                "sslkey" => key = path(),
                _ => {
                    rest.push(separator);
                    rest.push_str(pair);
                    separator = '&';
                }
            }
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsIdentity { certificate, key }),
            (None, None) => None,
            _ => return Err(PostgresOptionsError::HalfIdentity),
        };
        Ok(Self {
            sslmode,
            tls: TlsFiles { roots, identity },
            rest: Secret::new(rest.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> PostgresOptions {
        PostgresOptions {
            url: Secret::new(url),
            ..PostgresOptions::default()
        }
    }

    fn address(url: &str) -> Address {
        options(url).check().unwrap()
    }

    #[test]
    fn a_server_is_checked_in_full_unless_the_url_or_the_options_say_otherwise() {
        let mode = |url: &str| address(url).sslmode;
        assert_eq!(mode("postgres://a@hub/db"), SslMode::VerifyFull);
        for known in SslMode::ALL {
            let url = format!("postgres://a@hub/db?sslmode={}", known.as_str());
            assert_eq!(mode(&url), known);
            let before = PostgresOptions {
                sslmode: Some(SslMode::Require),
                ..options(&url)
            };
            assert_eq!(before.check().unwrap().sslmode, SslMode::Require);
        }
        assert_eq!(
            mode("postgres:///db?host=/var/run/postgresql&sslmode=verify-full"),
            SslMode::Disable
        );
    }

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        for (url, shown) in [
            (
                "postgres://ann:s%40cret@hub:6000/db",
                "postgres://hub:6000/db",
            ),
            (
                "postgresql://a,b:7/db?user=ann&password=x",
                "postgres://a:5432,b:7/db",
            ),
            ("postgres://[::1]:6/db", "postgres://[::1]:6/db"),
            ("postgres:///db?host=/run/pg", "postgres:///run/pg:5432/db"),
        ] {
            assert_eq!(address(url).to_string(), shown);
        }
    }

    #[test]
    fn the_files_of_a_url_count_where_the_options_name_none() {
        let url = "postgres://h/d?sslrootcert=%2Fca.pem&sslcert=/c.pem&connect_timeout=2&sslkey=/k";
        let found = address(url);
        assert_eq!(found.tls.roots, Some("/ca.pem".into()));
        assert_eq!(found.tls.identity.unwrap().key, PathBuf::from("/k"));
        let mut before = options(url);
        before.tls.roots = Some("/other.pem".into());
        assert_eq!(before.check().unwrap().tls.roots, Some("/other.pem".into()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_under_its_key_and_shows_no_password() {
        for (url, said) in [
            ("hunter2", "postgres://USER@HOST"),
            ("mysql://ann:hunter2@h/d", "postgres://USER@HOST"),
            ("postgres://ann:hunter2@h:hunter2/d", "port"),
            ("postgres://ann:hunter2@h/d?sslmode=hunter2", "verify-full"),
            ("postgres://ann:hunter2@h/d?hunter=hunter2", "hunter"),
            ("postgres://ann:s@hunter2@h/d", "%40"),
            ("postgres://ann:s@h/hunter2@h/d", "%40"),
            ("postgres://ann:s@x?hunter2@h/d?sslmode=require", "%40"),
            ("postgres://ann:s@x?a=b&hunter2@h/d?sslmode=require", "%40"),
            ("postgres:///d", "names no host"),
            ("postgres://h/d?host=/run", "Unix socket"),
            ("postgres://h/d?sslcert=/c", "belong together"),
        ] {
            let error = options(url).check().err().expect(url);
            assert_eq!(error.key(), "url");
            let text = error.to_string();
            assert!(
                text.contains(said) && !text.contains("hunter2"),
                "{url}: {text}"
            );
        }
    }
}
