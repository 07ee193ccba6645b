//! The section `[http]`: who may hand over events, and how.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use toml::de::DeValue;

use super::{
    SOCKET_FILE,
    environment::Environment,
    problem::{ConfigError, Problem},
    secrets::SecretSource,
    section::Section,
    value::{ByteSize, Span, Value, quoted},
};
pub use crate::http::HttpOptions;
use crate::http::{AllowedHost, AllowedOrigin, Token};

/// Where the daemon listens by default.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7411);
/// The listeners' part of a [`Config`](super::Config).
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The TCP address; none: no TCP.
    pub listen: Option<SocketAddr>,
    /// The Unix socket; none: no socket.
    pub socket: Option<PathBuf>,
    /// Everything but the token.
    options: HttpOptions,
    pub(super) token: Option<SecretSource>,
}

impl HttpConfig {
    pub(super) fn read(
        mut section: Section<'_, '_>,
        data_dir: &Path,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        const MINUTE: Duration = Duration::from_secs(60);
        let listen = section.get("listen", Listen(Some(DEFAULT_LISTEN))).0;
        let socket = match section.get("socket", Socket::Auto) {
            Socket::Off => None,
            Socket::At(path) => Some(section.resolve("socket", &path)),
            Socket::Auto => Some(
                runtime_dir(environment)?
                    .unwrap_or(data_dir)
                    .join(SOCKET_FILE),
            ),
        };
        let default = HttpOptions::default();
        let max_body = section.get_within(
            "max_body",
            ByteSize(default.max_body_bytes as u64),
            ByteSize(1024)..=ByteSize(64 * 1024 * 1024),
        );
        let connections = u32::try_from(default.max_connections).unwrap_or(u32::MAX);
        let max_connections = section.get_within("max_connections", connections, 1..=65_536);
        let mut span = |key, default| {
            let bounds = Span(Duration::from_millis(100))..=Span(60 * MINUTE);
            section.get_within(key, Span(default), bounds).0
        };
        let options = HttpOptions {
            max_body_bytes: usize::try_from(max_body.0).unwrap_or(usize::MAX),
            max_connections: usize::try_from(max_connections).unwrap_or(usize::MAX),
            header_timeout: span("header_timeout", default.header_timeout),
            body_timeout: span("body_timeout", default.body_timeout),
            stall_timeout: span("stall_timeout", default.stall_timeout),
            allowed_hosts: section.get("allowed_hosts", default.allowed_hosts),
            allowed_origins: section.get("allowed_origins", default.allowed_origins),
            ..HttpOptions::default()
        };
        let token = SecretSource::read(&mut section, "token_file", "token_env", environment)?;
        section.finish();
        Ok(Self {
            listen,
            socket,
            options,
            token,
        })
    }

    /// Everything, with the token read from its file.
    pub(super) fn options(&self) -> Result<HttpOptions, ConfigError> {
        let mut options = self.options.clone();
        if let Some(source) = &self.token {
            let token = Token::new(source.reveal()?.reveal());
            options.token = Some(token.map_err(|error| source.problem(error))?);
        }
        Ok(options)
    }
}

/// The directory that the service manager made for sockets.
fn runtime_dir(environment: &Environment) -> Result<Option<&Path>, Problem> {
    let listed = environment.get("RUNTIME_DIRECTORY")?;
    Ok(listed
        .and_then(|listed| listed.split(':').next())
        .map(Path::new))
}

/// Where to listen on TCP, if at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Listen(pub(super) Option<SocketAddr>);

/// What is written where a listener is not wanted.
const OFF: &str = "off";

impl Value for Listen {
    const KIND: &'static str = "an address and a port, or \"off\"";
    const EXAMPLE: &'static str = "\"127.0.0.1:7411\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            OFF => Some(Self(None)),
            text => text.parse().ok().map(|address| Self(Some(address))),
        }
    }

    fn show(&self) -> String {
        match self.0 {
            None => quoted(OFF),
            Some(address) => quoted(&address.to_string()),
        }
    }
}

/// Where the Unix socket is, if there is to be one.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Socket {
    /// In `RUNTIME_DIRECTORY`, else in the data directory.
    Auto,
    /// Nowhere.
    Off,
    /// Here.
    At(String),
}

impl Value for Socket {
    const KIND: &'static str = "a path, \"auto\" or \"off\"";
    const EXAMPLE: &'static str = "\"/run/edge-outbox/edge-outbox.sock\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match String::read(value)?.as_str() {
            "auto" => Some(Self::Auto),
            OFF => Some(Self::Off),
            path => Some(Self::At(path.to_owned())),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => quoted("auto"),
            Self::Off => quoted(OFF),
            Self::At(path) => quoted(path),
        }
    }
}

impl Value for Vec<AllowedHost> {
    const KIND: &'static str = "a list of host names or addresses, without scheme, port or path";
    const EXAMPLE: &'static str = "[\"kiosk.school.lan\"]";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        parsed(value)
    }

    fn show(&self) -> String {
        shown(self)
    }
}

impl Value for Vec<AllowedOrigin> {
    const KIND: &'static str = "a list of origins: scheme, host and port alone, or null";
    const EXAMPLE: &'static str = "[\"https://kiosk.school\", \"null\"]";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        parsed(value)
    }

    fn show(&self) -> String {
        shown(self)
    }
}

fn parsed<T: FromStr>(value: &DeValue<'_>) -> Option<Vec<T>> {
    let texts = Vec::<String>::read(value)?;
    texts.iter().map(|text| text.parse().ok()).collect()
}

fn shown(items: &[impl ToString]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .show()
}
