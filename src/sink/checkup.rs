//! A sink looked at step by step, for `edge-outbox doctor`.
//!
//! Each adapter makes the connection that it would make for events, with the same options and the
//! same words for what fails, and then asks for what it would otherwise find out while delivering.
//! Nothing is changed at the other side, and no event is sent. Whether a user may publish cannot
//! be known without publishing, so that is tried on request alone ([`Visit::probe`]), by a message
//! that nobody can take for an event.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use crate::{
    clock::Timestamp,
    envelope::DeviceName,
    finding::{Check, Finding},
    sink::{Sink, SinkError},
};

/// How long one name may take to be resolved.
const LOOKUP_LIMIT: Duration = Duration::from_secs(3);
/// How long a connection to one port may take.
const REACH_LIMIT: Duration = Duration::from_secs(2);
/// How long everything that is asked after the login may take.
pub(super) const INQUIRY_LIMIT: Duration = Duration::from_secs(10);
/// What the envelope adds to a payload, at most, in bytes; the payload may grow by a third.
const ENVELOPE_BYTES: usize = 4_096;
/// The type that a probe has in place of an event's: one of ours, which no program can append.
pub(super) const PROBE_TYPE: &str = "outbox.probe.v1";
/// What a probe says, where it has a body.
#[cfg(feature = "mqtt")]
pub(super) const PROBE_TEXT: &str =
    "a probe of `edge-outbox doctor`, to see whether it may publish: not an event";

/// What a sink is looked at with.
pub(crate) struct Visit<'a> {
    /// Whose events it would deliver.
    pub(crate) device: &'a DeviceName,
    /// The largest payload that the journal takes, in bytes.
    pub(crate) max_payload: usize,
    /// Whether somebody may be connected as this device at the moment.
    pub(crate) is_served: bool,
    /// When a daemon delivered, where that is what it does.
    pub(crate) delivered: Option<Timestamp>,
    /// Whether to send a probe.
    pub(crate) probe: bool,
}

impl Visit<'_> {
    /// The largest message that an event could make, in bytes.
    pub(super) const fn largest_message(&self) -> usize {
        self.max_payload / 3 * 4 + ENVELOPE_BYTES
    }

    /// Whether the largest event fits into what the other side takes.
    pub(super) fn size(&self, most: usize, hint: &str) -> Finding {
        let largest = self.largest_message();
        if most >= largest {
            return Finding::ok(
                Check::SinkSize,
                format!("takes messages of {most} bytes, and events make {largest} at most"),
            );
        }
        let message = format!(
            "takes messages of {most} bytes, and an event may make one of {largest}: what is \
             larger becomes a dead letter"
        );
        let hint = format!("{hint}, or lower `journal.max_payload`");
        Finding::warn(Check::SinkSize, message, hint)
    }

    /// What is known of the right to publish without trying it.
    pub(super) fn publish_unprobed(&self, seen: Option<&str>) -> Finding {
        let shown = match (self.delivered, seen) {
            (Some(at), _) => format!("the daemon's last delivery was at {at}"),
            (None, Some(seen)) => seen.to_owned(),
            (None, None) => {
                let message = "whether this user may publish events was not tried: nothing of \
                               this device was delivered yet";
                let hint = "run `edge-outbox doctor --probe`, which sends one message that is \
                            marked as a probe";
                return Finding::warn(Check::SinkPublish, message, hint.to_owned());
            }
        };
        Finding::ok(Check::SinkPublish, shown)
    }
}

impl Sink {
    /// Looks at the sink step by step, and stops where it cannot go on. Each step is bounded in time.
    #[cfg_attr(
        not(any(feature = "nats", feature = "mqtt", feature = "postgres")),
        expect(
            unused_variables,
            reason = "only clients of a network have something to look at"
        )
    )]
    pub(crate) async fn checkup(&mut self, visit: &Visit<'_>) -> Vec<Finding> {
        match self {
            #[cfg(feature = "mqtt")]
            Self::Mqtt(sink) => sink.checkup(visit).await,
            #[cfg(feature = "nats")]
            Self::Nats(sink) => sink.checkup(visit).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(sink) => sink.checkup(visit).await,
            Self::Stdout(_) | Self::Memory(_) => vec![Finding::ok(
                Check::SinkReach,
                "needs no connection; it confirms nothing, and nothing is kept for it",
            )],
        }
    }
}

/// Where a server is.
pub(super) struct Place {
    /// As messages name it.
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
}

/// The way to one server.
struct Way {
    place: Place,
    /// The first few addresses, or why there is none.
    addresses: Result<Vec<SocketAddr>, String>,
    /// How long the first connection took, or why there is none.
    reached: Result<Duration, String>,
}

/// The way to every server of a sink, up to the port.
pub(super) struct Survey {
    ways: Vec<Way>,
    /// The key that names the servers.
    key: &'static str,
}

impl Survey {
    /// Resolves every name and tries every port.
    pub(super) async fn of(places: Vec<Place>, key: &'static str) -> Self {
        let mut ways = Vec::with_capacity(places.len());
        for place in places {
            ways.push(Way::to(place).await);
        }
        Self { ways, key }
    }

    /// Whether nothing leaves this device.
    pub(super) fn is_local(&self) -> bool {
        let is_local = |way: &Way| match &way.addresses {
            Ok(addresses) => addresses.iter().all(|address| address.ip().is_loopback()),
            Err(_) => false,
        };
        self.ways.iter().all(is_local)
    }

    /// The steps as far as the port, given what the adapter's own attempt came to: it fell at a
    /// check with an error, or it passed. Its words count; where it passed, a server that was not
    /// reached is one of several.
    pub(super) fn findings(&self, fallen: Option<&(Check, SinkError)>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for check in [Check::SinkResolve, Check::SinkReach] {
            if let Some((at, error)) = fallen
                && *at == check
            {
                findings.push(Finding::of_error(check, error.clone()));
                return findings;
            }
            findings.extend(self.ways.iter().map(|way| way.finding(check, self.key)));
        }
        findings
    }

    /// A connection without encryption.
    pub(super) fn plain(&self, hint: &str) -> Finding {
        if self.is_local() {
            return Finding::ok(
                Check::SinkTls,
                "not encrypted, and does not leave this device",
            );
        }
        let message = "not encrypted: whoever is on the way can read events and passwords";
        Finding::warn(Check::SinkTls, message, hint.to_owned())
    }
}

impl Way {
    async fn to(place: Place) -> Self {
        let found = timeout(LOOKUP_LIMIT, lookup_host((place.host.as_str(), place.port)));
        let addresses = match found.await {
            Ok(Ok(addresses)) => Ok(addresses.collect::<Vec<_>>()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {LOOKUP_LIMIT:?}")),
        };
        let reached = match &addresses {
            Ok(addresses) => connect(addresses).await,
            Err(error) => Err(error.clone()),
        };
        Self {
            place,
            addresses,
            reached,
        }
    }

    fn finding(&self, check: Check, key: &str) -> Finding {
        let name = &self.place.name;
        let hint = format!("mend it, or take it out of `{key}`: only the others can be used");
        match (check, &self.addresses, &self.reached) {
            (Check::SinkResolve, Ok(addresses), _) => {
                let ips: Vec<String> = addresses.iter().map(|at| at.ip().to_string()).collect();
                Finding::ok(
                    check,
                    match ips.as_slice() {
                        [ip] if *ip == self.place.host => format!("{ip} is an address"),
                        _ => format!("{} is {}", self.place.host, ips.join(", ")),
                    },
                )
            }
            (Check::SinkResolve, Err(error), _) => {
                Finding::warn(check, format!("{name}: {error}"), hint)
            }
            (_, _, Ok(took)) => Finding::ok(
                check,
                format!(
                    "{name} answers within {:.1} ms",
                    took.as_secs_f64() * 1_000.0
                ),
            ),
            (_, _, Err(error)) => Finding::warn(check, format!("{name}: {error}"), hint),
        }
    }
}

/// The first of the addresses that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<Duration, String> {
    let began = Instant::now();
    match timeout(REACH_LIMIT, TcpStream::connect(addresses)).await {
        Ok(Ok(_)) => Ok(began.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {REACH_LIMIT:?}")),
    }
}

/// Everything that was asked after the login took too long.
pub(super) fn too_slow(server: &str) -> Finding {
    let message = format!("{server} took longer than {INQUIRY_LIMIT:?} for its answers");
    let error = SinkError::retry("no_answer", message)
        .with_hint("see to the server's load, and to the network on the way");
    Finding::of_error(Check::SinkReach, error)
}

/// Where an attempt to connect fell, by the word for it; `None` for a word that a sink alone has.
pub(super) fn step(code: &str) -> Option<Check> {
    Some(match code {
        "name_not_resolved" => Check::SinkResolve,
        "unreachable" | "hung_up" | "bad_server" | "bad_answer" | "no_answer" | "disconnected"
        | "server_error" | "server_leaving" => Check::SinkReach,
        "tls_unusable"
        | "tls_failed"
        | "tls_not_offered"
        | "tls_required"
        | "clock_not_set"
        | "certificate_out_of_date"
        | "certificate_refused"
        | "client_certificate_refused" => Check::SinkTls,
        "not_authorized"
        | "bad_credentials"
        | "credentials_unreadable"
        | "credentials_unusable"
        | "reply_not_permitted" => Check::SinkLogin,
        _ => return None,
    })
}
