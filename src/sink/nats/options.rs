//! What a `nats` sink can be told, and the check of it.

use std::{fmt, path::PathBuf, time::Duration};

use async_nats::ServerAddr;

use crate::{
    encoding::percent_decoded,
    secret::Secret,
    sink::{
        MessageFormat, WayBack,
        nats::subject::{SubjectTemplate, SubjectTemplateError},
        tls::TlsIdentity,
    },
};

/// The longest that one attempt to connect may take, and what it takes by default.
pub const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the oldest unanswered event may stay so by default. Below the 5 s within which
/// delivery has to resume, as a connection that went silent is only noticed by this.
pub const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest ack timeout that can be set.
pub const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(300);
/// Unanswered events borne by default.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 1_024;
/// The subject before the device's name that receipts come under where nothing is configured.
pub const DEFAULT_RECEIPTS: &str = "edupulse.receipts";
/// The same for the tails that are sent.
pub const DEFAULT_TAILS: &str = "edupulse.tails";
/// The most unanswered events that can be set.
pub const MAX_IN_FLIGHT: usize = 16_384;

/// Everything a `nats` sink can be told.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Where the servers are: `nats://host:4222` or `tls://host:4222`, tried in random order. A
    /// user and password, or a token, in a URL is used where `auth` is [`NatsAuth::None`].
    pub servers: Vec<Secret>,
    /// What confirms an event.
    pub mode: NatsMode,
    /// The subject of an event.
    pub subject: SubjectTemplate,
    /// What a message is.
    pub format: MessageFormat,
    /// The stream that has to take the events. Where it is not set, the one that takes the
    /// device's subjects is looked up at each connect.
    pub stream: Option<String>,
    /// Whether a missing stream is created: limits retention without limits, on disk, refusing
    /// what is new when full, with a duplicate window of two minutes. Needs `stream`.
    pub create_stream: bool,
    /// How long one attempt to connect may take, from the name lookup to the stream's answer.
    pub connect_timeout: Duration,
    /// How long the oldest unanswered event may stay so before the connection is given up. A
    /// large event is given more, as for a link of 8 KiB/s.
    pub ack_timeout: Duration,
    /// How many events may be unanswered at once.
    pub max_in_flight: usize,
    /// Where a hub's receipts come from and tails go to; none where there is no hub to hear of.
    pub way_back: Option<WayBack>,
    /// How the connection is encrypted.
    pub tls: NatsTls,
    /// Who the device is to the server.
    pub auth: NatsAuth,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            servers: vec![Secret::new("nats://127.0.0.1:4222")],
            mode: NatsMode::JetStream,
            subject: SubjectTemplate::default(),
            format: MessageFormat::default(),
            stream: None,
            create_stream: false,
            connect_timeout: MAX_CONNECT_TIMEOUT,
            ack_timeout: DEFAULT_ACK_TIMEOUT,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            way_back: None,
            tls: NatsTls::default(),
            auth: NatsAuth::None,
        }
    }
}

/// What confirms an event.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum NatsMode {
    /// A JetStream stream stored it.
    #[default]
    JetStream,
    /// The server has read it. Nobody may have been listening: at most once.
    Core,
}

/// How the connection is encrypted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NatsTls {
    /// Refuse a server that offers no TLS. Implied by any other setting here and by `tls://`.
    pub required: bool,
    /// Begin with TLS at once instead of after the server's greeting; the server must be set up
    /// for it.
    pub first: bool,
    /// PEM file of the authorities to trust, instead of the system's.
    pub roots: Option<PathBuf>,
    /// The device's own certificate and key.
    pub identity: Option<TlsIdentity>,
}

impl NatsTls {
    pub(super) fn is_required(&self) -> bool {
        self.required || self.first || self.roots.is_some() || self.identity.is_some()
    }
}

/// Who the device is to the server. Files are read at each connect, so that a renewed one counts.
/// A server's nonce is signed with the key given here, never with the device's signing key.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum NatsAuth {
    /// Nobody, beyond what the server's URL or the client certificate says.
    #[default]
    None,
    /// A credentials file: a user JWT and its seed.
    CredentialsFile(PathBuf),
    /// A file with the seed of an nkey.
    NkeyFile(PathBuf),
    /// A user JWT and the seed of its nkey.
    Jwt {
        /// The JWT.
        jwt: Secret,
        /// The seed.
        seed: Secret,
    },
    /// A user and a password.
    User {
        /// The user.
        name: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
}

/// Why [`NatsOptions`] cannot be used. [`NatsOptionsError::key`] names the option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NatsOptionsError {
    /// There is no server, or one that is no URL of a NATS server.
    #[error("{0} is no server: write nats://HOST:PORT or tls://HOST:PORT")]
    Server(String),
    /// A server's host has characters that no name in the DNS has.
    #[error(
        "the host {0:?} cannot be looked up: write its name in ASCII, as xn--bcher-kva.example for \
         bücher.example"
    )]
    Host(String),
    /// The stream's name has characters that no stream can have.
    #[error("{0:?} cannot be a stream's name: it has no blanks, dots, wildcards or slashes")]
    StreamName(String),
    /// `create_stream` is set, but `stream` is not.
    #[error("a stream that may be created needs a name: set it beside `create_stream`")]
    UnnamedStream,
    /// Core NATS is asked for, and a stream.
    #[error("core NATS has no streams: remove `stream` and `create_stream`, or `mode`")]
    StreamOfCore {
        /// Whether the stream is named, and not only to be created.
        named: bool,
    },
    /// `create_stream` is set, but no stream can be told to take such subjects.
    #[error(
        "no stream can be created for subject {0:?}: `{{event_type}}` has to be its last token"
    )]
    UncreatableSubject(String),
    /// The subject cannot be published to.
    #[error(transparent)]
    Subject(#[from] SubjectTemplateError),
    /// The subjects of receipts and tails are none.
    #[error(
        "receipts and tails go by subjects of letters, digits, _ and - in tokens joined by single \
         dots, such as {DEFAULT_RECEIPTS:?}"
    )]
    WayBack,
    /// The connect timeout is 0 or above [`MAX_CONNECT_TIMEOUT`].
    #[error("the connect timeout has to be above 0 and at most {MAX_CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    /// The ack timeout is 0 or above [`MAX_ACK_TIMEOUT`].
    #[error("the ack timeout has to be above 0 and at most {MAX_ACK_TIMEOUT:?}")]
    AckTimeout,
    /// The number of unanswered events is 0 or above [`MAX_IN_FLIGHT`].
    #[error("1 to {MAX_IN_FLIGHT} events can be unanswered")]
    MaxInFlight,
}

impl NatsOptionsError {
    /// The option that is wrong, as the configuration names it.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Server(_) | Self::Host(_) => "servers",
            Self::StreamName(_) | Self::StreamOfCore { named: true } => "stream",
            Self::UnnamedStream | Self::StreamOfCore { named: false } => "create_stream",
            Self::UncreatableSubject(_) | Self::Subject(_) => "subject",
            Self::WayBack => "receipts",
            Self::ConnectTimeout => "connect_timeout",
            Self::AckTimeout => "ack_timeout",
            Self::MaxInFlight => "max_in_flight",
        }
    }
}

/// A server's address without what must not be shown.
#[derive(Clone)]
pub(super) struct Server(ServerAddr);

impl Server {
    /// `entry` counts from 1, to name one that cannot be shown.
    fn parse(entry: usize, url: &Secret) -> Result<Self, NatsOptionsError> {
        let parsed = url.reveal().parse::<ServerAddr>().ok();
        match parsed {
            // The URL's parser translates no name under these schemes: it escapes it.
            Some(addr) if addr.host().contains('%') => {
                Err(NatsOptionsError::Host(percent_decoded(addr.host())))
            }
            Some(addr) if matches!(addr.scheme(), "nats" | "tls") && !addr.host().is_empty() => {
                Ok(Self(addr))
            }
            Some(addr) => Err(NatsOptionsError::Server(Self(addr).to_string())),
            // What cannot be parsed cannot be freed of a password with certainty: an @ may be
            // mistyped or escaped. So nothing of it is shown, only which one it is.
            None => Err(NatsOptionsError::Server(format!("entry {entry} (***)"))),
        }
    }

    pub(super) const fn addr(&self) -> &ServerAddr {
        &self.0
    }

    /// What the URL says about who the device is.
    pub(super) fn auth(&self) -> NatsAuth {
        match (
            self.0.username().map(percent_decoded),
            self.0.password().map(percent_decoded),
        ) {
            (Some(name), Some(password)) => NatsAuth::User {
                name,
                password: Secret::new(password),
            },
            (Some(token), None) => NatsAuth::Token(Secret::new(token)),
            (None, _) => NatsAuth::None,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host();
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        write!(
            f,
            "{}://{open}{host}{close}:{}",
            self.0.scheme(),
            self.0.port()
        )
    }
}

impl NatsOptions {
    /// Checks everything that can be checked without a server, and gives the servers' addresses.
    pub(super) fn check(&self) -> Result<Vec<Server>, NatsOptionsError> {
        if let Some(name) = &self.stream
            && (name.is_empty()
                || name.contains(|c: char| {
                    c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>' | '/' | '\\')
                }))
        {
            return Err(NatsOptionsError::StreamName(name.clone()));
        }
        if self.mode == NatsMode::Core && (self.create_stream || self.stream.is_some()) {
            return Err(NatsOptionsError::StreamOfCore {
                named: self.stream.is_some(),
            });
        }
        if self.create_stream {
            if self.stream.is_none() {
                return Err(NatsOptionsError::UnnamedStream);
            }
            if self.subject.every_filter().is_none() {
                return Err(NatsOptionsError::UncreatableSubject(
                    self.subject.to_string(),
                ));
            }
        }
        if self.way_back.as_ref().is_some_and(|way| !way.is_sound('.')) {
            return Err(NatsOptionsError::WayBack);
        }
        if self.connect_timeout.is_zero() || self.connect_timeout > MAX_CONNECT_TIMEOUT {
            return Err(NatsOptionsError::ConnectTimeout);
        }
        if self.ack_timeout.is_zero() || self.ack_timeout > MAX_ACK_TIMEOUT {
            return Err(NatsOptionsError::AckTimeout);
        }
        if self.max_in_flight == 0 || self.max_in_flight > MAX_IN_FLIGHT {
            return Err(NatsOptionsError::MaxInFlight);
        }
        if self.servers.is_empty() {
            return Err(NatsOptionsError::Server("nothing".into()));
        }
        (1..)
            .zip(&self.servers)
            .map(|(entry, url)| Server::parse(entry, url))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_server(url: &str) -> NatsOptions {
        NatsOptions {
            servers: vec![Secret::new(url)],
            ..NatsOptions::default()
        }
    }

    #[test]
    fn a_servers_url_may_carry_a_password_that_is_never_shown() {
        let options = with_server("nats://ann:s%40cr%25t@broker.school:4333");
        let server = options.check().unwrap().remove(0);
        let password = Secret::new("s@cr%t");
        assert_eq!(
            server.auth(),
            NatsAuth::User {
                name: "ann".into(),
                password
            }
        );
        assert_eq!(server.to_string(), "nats://broker.school:4333");
        assert!(!format!("{options:?}").contains("s%40cr"));
        for bad in [
            "nats://ann:secret@",
            "ws://ann:secret@host",
            "mqtt://ann:secret@host",
        ] {
            let error = with_server(bad).check().err().unwrap();
            assert_eq!(error.key(), "servers");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_host_beyond_ascii_is_asked_for_in_its_ascii_form() {
        let error = with_server("nats://ann:gehéim@bücher.example:4222").check();
        let error = error.err().unwrap();
        assert_eq!(error.key(), "servers");
        assert_eq!(
            error.to_string(),
            "the host \"bücher.example\" cannot be looked up: write its name in ASCII, as \
             xn--bcher-kva.example for bücher.example"
        );
        let same = with_server("nats://ann:gehéim@xn--bcher-kva.example");
        let same = same.check().unwrap().remove(0);
        assert_eq!(same.to_string(), "nats://xn--bcher-kva.example:4222");
    }

    #[test]
    fn each_option_out_of_its_bounds_is_refused_by_name() {
        let good = NatsOptions::default();
        assert!(good.check().is_ok());
        let zero = Duration::ZERO;
        let stream = |name: &str| Some(name.to_owned());
        for (options, key) in [
            (
                NatsOptions {
                    servers: Vec::new(),
                    ..good.clone()
                },
                "servers",
            ),
            (
                NatsOptions {
                    stream: stream("a.b"),
                    ..good.clone()
                },
                "stream",
            ),
            (
                NatsOptions {
                    create_stream: true,
                    ..good.clone()
                },
                "create_stream",
            ),
            (
                NatsOptions {
                    create_stream: true,
                    stream: stream("EVENTS"),
                    subject: "a.{event_type}.{device}".parse().unwrap(),
                    ..good.clone()
                },
                "subject",
            ),
            (
                NatsOptions {
                    connect_timeout: zero,
                    ..good.clone()
                },
                "connect_timeout",
            ),
            (
                NatsOptions {
                    connect_timeout: MAX_ACK_TIMEOUT,
                    ..good.clone()
                },
                "connect_timeout",
            ),
            (
                NatsOptions {
                    ack_timeout: zero,
                    ..good.clone()
                },
                "ack_timeout",
            ),
            (
                NatsOptions {
                    max_in_flight: 0,
                    ..good.clone()
                },
                "max_in_flight",
            ),
        ] {
            assert_eq!(options.check().err().unwrap().key(), key);
        }
    }
}
