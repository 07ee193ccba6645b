//! What a listener takes, from whom, and for how long.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use super::token::Token;

/// The settings of a listener. The defaults suit a kiosk: programs of the same machine may post,
/// pages of other sites may not.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Names in `Host` that are answered beside `localhost`, loopback addresses and the address
    /// the connection came in on. Default: none.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Origins whose pages may post and read. Default: none.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// What a client on TCP has to show. A Unix socket is guarded by its file mode and asks for
    /// none. Default: none.
    pub token: Option<Token>,
    /// Largest request body, in bytes. Four times this is the most that all large bodies being
    /// handled take together; their payloads take at most as much again, and each event some 300 bytes. Default: 8 MiB.
    pub max_body_bytes: usize,
    /// Connections at the same time. More wait in the kernel's queue until one ends.
    /// Default: 256.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, and how long an idle connection is
    /// kept for the next one. Default: 30 s.
    pub header_timeout: Duration,
    /// How long a client may take to send a body. Default: 30 s.
    pub body_timeout: Duration,
    /// How long nothing may arrive within a body, and how long nothing may leave of an answer
    /// because the client does not read it. Default: 10 s.
    pub stall_timeout: Duration,
    /// How long requests in hand may take to end at shutdown. Default: 1 s.
    pub shutdown_grace: Duration,
    /// What takes the receipts that somebody brings. Default: nothing.
    #[cfg(feature = "carry")]
    pub carried: Option<crate::forwarder::Carried>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            token: None,
            max_body_bytes: 8 * 1024 * 1024,
            max_connections: 256,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(1),
            #[cfg(feature = "carry")]
            carried: None,
        }
    }
}

/// A name or address that may stand in `Host`. The port beside it is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Host);

/// A host as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

/// A text is no host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name or an address; give it alone, without scheme, port or path")]
pub struct AllowedHostError(String);

/// An origin whose pages may post and read: `https://kiosk.example`, or `null`.
///
/// `null` is what pages opened from files send, but so do sandboxed frames of any site: allow it
/// only where the browser opens nothing else, or with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(String);

/// A text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin such as https://kiosk.example:8443, or null")]
pub struct AllowedOriginError(String);

impl Host {
    /// Reads a host without a port, an IPv6 address with or without brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let named = (1..=253).contains(&text.len()) && text.bytes().all(allowed);
        named.then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

impl AllowedHost {
    pub(super) fn is(&self, host: &Host) -> bool {
        self.0 == *host
    }
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        Host::parse(text)
            .map(Self)
            .ok_or_else(|| AllowedHostError(text.to_owned()))
    }
}

impl AllowedOrigin {
    pub(super) fn is(&self, origin: &[u8]) -> bool {
        self.0.as_bytes() == origin
    }
}

impl FromStr for AllowedOrigin {
    type Err = AllowedOriginError;

    fn from_str(text: &str) -> Result<Self, AllowedOriginError> {
        let refused = || AllowedOriginError(text.to_owned());
        if text == "null" {
            return Ok(Self(text.to_owned()));
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(refused)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let scheme_is_sound = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let port_is_sound = port.is_none_or(|port| port.parse::<u16>().is_ok());
        if !scheme_is_sound || !port_is_sound || Host::parse(host).is_none() {
            return Err(refused());
        }
        // Browsers send scheme and host in lower case.
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Name(name) => f.write_str(name),
            Host::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_alone() {
        for text in [
            "kiosk",
            "Kiosk-7.school.lan",
            "10.0.0.7",
            "::1",
            "[fe80::1]",
        ] {
            assert!(text.parse::<AllowedHost>().is_ok(), "{text}");
        }
        for text in [
            "",
            "*",
            "http://kiosk",
            "kiosk:7411",
            "kiosk/",
            "a b",
            "[kiosk]",
            "ö",
        ] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_or_null() {
        for text in [
            "null",
            "http://localhost:3000",
            "https://Kiosk.example",
            "http://[::1]:80",
        ] {
            assert!(text.parse::<AllowedOrigin>().is_ok(), "{text}");
        }
        for text in [
            "",
            "*",
            "kiosk.example",
            "https://",
            "https://a/",
            "https://a:x",
            "https://*.a",
            "://a",
        ] {
            assert!(text.parse::<AllowedOrigin>().is_err(), "{text}");
        }
        let origin: AllowedOrigin = "HTTPS://Kiosk.Example".parse().unwrap();
        assert!(origin.is(b"https://kiosk.example"));
        assert!(!origin.is(b"https://kiosk.example.evil"));
    }
}
