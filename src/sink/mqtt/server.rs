//! A broker's address, as a URL says it.

use std::fmt;

use crate::{encoding::percent_decoded, secret::Secret, sink::mqtt::options::MqttAuth};

/// The path of a WebSocket where the URL has none, as most brokers have it.
const DEFAULT_PATH: &str = "/mqtt";

/// How bytes get to the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scheme {
    /// Plain TCP.
    Mqtt,
    /// TLS.
    Mqtts,
    /// A WebSocket.
    Ws,
    /// A WebSocket over TLS.
    Wss,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Mqtt, Self::Mqtts, Self::Ws, Self::Wss];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// Whether the broker's certificate is checked before a byte of ours is sent.
    pub(super) const fn is_encrypted(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Whether the packets travel in a WebSocket.
    pub(super) const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    const fn with_tls(self) -> Self {
        match self {
            Self::Mqtt | Self::Mqtts => Self::Mqtts,
            Self::Ws | Self::Wss => Self::Wss,
        }
    }
}

/// A broker. It is shown without user and password, and without what follows a `?`, where some
/// brokers want a signature.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) scheme: Scheme,
    /// A name or an address, an IPv6 one without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Of a WebSocket, with its `/`; else empty.
    path: String,
    /// What the URL says about who the device is.
    pub(super) auth: MqttAuth,
}

impl Server {
    /// Reads `mqtt://[USER[:PASSWORD]@]HOST[:PORT]`, or the same with `mqtts`, `ws` or `wss`. A path
    /// may follow in the last two, in the others nothing but a `/`. With `tls`, the plain one means
    /// the other.
    pub(super) fn parse(url: &str, tls: bool) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = match Scheme::ALL.into_iter().find(|it| it.as_str() == scheme)? {
            scheme if tls => scheme.with_tls(),
            scheme => scheme,
        };
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let (place, path) = match place.split_once('/') {
            Some((place, "")) => (place, DEFAULT_PATH.to_owned()),
            Some((place, path)) if scheme.is_websocket() => (place, format!("/{path}")),
            Some(_) => return None,
            None => (place, DEFAULT_PATH.to_owned()),
        };
        let path = if scheme.is_websocket() {
            path
        } else {
            String::new()
        };
        if !path.chars().all(|c| c.is_ascii_graphic() && c != '#') {
            return None;
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (
                    host,
                    after.strip_prefix(':').or(after.is_empty().then_some("")),
                )
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, Some("")),
            },
        };
        let port = match port? {
            "" if place.ends_with(':') => return None,
            "" => scheme.default_port(),
            digits => digits.parse().ok().filter(|port| *port != 0)?,
        };
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#' | '[' | ']');
        if host.is_empty() || !host.chars().all(plain) {
            return None;
        }
        Some(Self {
            scheme,
            host: host.into(),
            port,
            path,
            auth: login.map_or(Some(MqttAuth::None), auth)?,
        })
    }
}

fn auth(login: &str) -> Option<MqttAuth> {
    let (name, password) = login.split_once(':').unwrap_or((login, ""));
    (!name.is_empty()).then(|| MqttAuth::User {
        name: percent_decoded(name),
        password: Secret::new(percent_decoded(password)),
    })
}

impl Server {
    /// The URL of a WebSocket as the client needs it: whole, but for user and password.
    pub(super) fn websocket_url(&self) -> Secret {
        Secret::new(format!("{}{}", self.origin(), self.path))
    }

    fn origin(&self) -> String {
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let scheme = self.scheme.as_str();
        format!("{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin();
        match self.path.split_once('?') {
            Some((path, _)) => write!(f, "{origin}{path}?***"),
            None => write!(f, "{origin}{}", self.path),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_s_url_is_read_and_shown_without_its_password() {
        for (url, shown) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker/", "mqtts://broker:8883"),
            ("mqtt://127.0.0.1:1884", "mqtt://127.0.0.1:1884"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://[fe80::1]:99", "mqtts://[fe80::1]:99"),
            ("mqtt://ann:s%40c:r@t@broker:1", "mqtt://broker:1"),
            ("ws://broker", "ws://broker:80/mqtt"),
            (
                "wss://ann:secret@[::1]:8443/ws?a=b",
                "wss://[::1]:8443/ws?***",
            ),
        ] {
            let server = Server::parse(url, false).unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(format!("{server:?}"), shown);
        }
        let signed = Server::parse("wss://ann:secret@b/ws?a=b", false).unwrap();
        assert_eq!(signed.websocket_url().reveal(), "wss://b:443/ws?a=b");
        let server = Server::parse("mqtt://a%6en:s%40c:r@t@broker", false).unwrap();
        assert_eq!(
            server.auth,
            MqttAuth::User {
                name: "ann".into(),
                password: Secret::new("s@c:r@t"),
            }
        );
        assert_eq!(
            Server::parse("mqtt://b", false).unwrap().auth,
            MqttAuth::None
        );
    }

    #[test]
    fn what_is_set_for_tls_makes_a_plain_url_one_with_tls() {
        for (url, shown) in [
            ("mqtt://b", "mqtts://b:8883"),
            ("mqtt://b:1883", "mqtts://b:1883"),
            ("mqtts://b", "mqtts://b:8883"),
            ("ws://b", "wss://b:443/mqtt"),
        ] {
            assert_eq!(Server::parse(url, true).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_names_no_broker_is_refused() {
        for url in [
            "broker:1883",
            "nats://broker",
            "http://broker",
            "ws://broker/a b",
            "ws://broker/#",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://broker:",
            "mqtt://broker:0",
            "mqtt://broker:65536",
            "mqtt://broker:port",
            "mqtt://broker/path",
            "mqtt://bro ker",
            "mqtt://::1",
            "mqtt://[::1",
            "mqtt://[name]",
            "mqtt://[::1]1883",
            "mqtt://:secret@broker",
        ] {
            assert!(Server::parse(url, false).is_none(), "{url}");
        }
    }
}
