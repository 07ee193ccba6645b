//! What a broker's reason codes mean (MQTT 5 §2.4): each classified once, whichever packet brings it.
//!
//! The return codes of MQTT 3.1.1 (§3.2.2.3) are told as the reason codes that took their place.

use rumqttc::{
    ConnectReturnCode as ReturnCode,
    v5::mqttbytes::v5::{ConnectReturnCode, PubAckReason, PubCompReason, PubRecReason},
};

use crate::sink::{ErrorKind, SinkError};

/// A reason code, and the broker's own words where it gave any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reason {
    pub(super) code: u8,
    pub(super) said: Option<String>,
}

/// Taken.
pub(super) const SUCCESS: u8 = 0x00;
/// Taken, and thrown away: nobody had subscribed.
pub(super) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// From here on a code is an error (§2.4).
const FIRST_ERROR: u8 = 0x80;

/// What was under way when the code came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// The attempt to connect: CONNACK (§3.2.2.2).
    Connect,
    /// An event: PUBACK (§3.4.2.1), PUBREC (§3.5.2.1) or PUBCOMP (§3.7.2.1).
    Publish,
    /// Anything; the broker ends the connection: DISCONNECT (§3.14.2.1).
    Disconnect,
}

/// What follows from a code.
struct Meaning {
    kind: ErrorKind,
    word: &'static str,
    hint: Option<&'static str>,
    limit: bool,
}

const fn retry(word: &'static str) -> Meaning {
    Meaning {
        kind: ErrorKind::Retry,
        word,
        hint: None,
        limit: false,
    }
}

const fn reject(word: &'static str, hint: &'static str) -> Meaning {
    Meaning {
        kind: ErrorKind::Reject,
        word,
        hint: Some(hint),
        limit: true,
    }
}

const fn halt(word: &'static str, hint: &'static str) -> Meaning {
    Meaning {
        kind: ErrorKind::Halt,
        word,
        hint: Some(hint),
        limit: false,
    }
}

impl Meaning {
    const fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// The table. A code that is not in it, or not of the packet that brought it, is a retry: what
/// is not understood is no reason to throw an event away, nor to call for somebody.
const fn meaning(code: u8, moment: Moment) -> Meaning {
    use Moment::{Connect, Disconnect, Publish};
    match (code, moment) {
        (NO_MATCHING_SUBSCRIBERS, Publish) => retry("no_subscribers").with_hint(
            "passes when something subscribes to the events; else set `accept_no_subscribers = \
             true`, and what nobody takes counts as delivered",
        ),
        (0x84, Connect) => halt(
            "version_not_supported",
            "set `version` to one that the broker speaks",
        ),
        (0x85, Connect) => halt(
            "client_id_refused",
            "set `client_id` to one that the broker takes",
        ),
        (0x86, Connect) => halt(
            "bad_credentials",
            "correct `user` and `password_file` (or `password_env`, or the user in `servers`)",
        ),
        (0x87, Connect) => halt(
            "not_authorized",
            "correct `user` and `password_file` (or `password_env`, or the user in `servers`), or \
             let the broker take this client",
        ),
        (0x87, Publish) => halt(
            "publish_denied",
            "let this user publish to the topic at the broker, or correct `topic`",
        ),
        (0x87, Disconnect) => halt(
            "not_authorized",
            "let this user publish to the events' topics at the broker, or correct `topic`",
        ),
        (0x88, Connect) => retry("broker_unavailable")
            .with_hint("the broker answers and takes nobody: its log says why"),
        (0x89, Connect | Disconnect) => retry("broker_busy")
            .with_hint("give the broker more room, or set `reconnect_max` longer"),
        (0x8A, Connect) => halt("banned", "let the broker take this client again"),
        (0x8B, Disconnect) => retry("broker_leaving"),
        (0x8C, Connect) => halt(
            "authentication_method",
            "let the broker take this client by user and password or by certificate",
        ),
        (0x8D, Disconnect) => retry("keep_alive_timeout"),
        (0x8E, Disconnect) => halt(
            "session_taken_over",
            "another connection came by the same client id: give each device a `client_id` (or a \
             name) of its own; until then the two end each other's connections",
        ),
        (0x90, _) => halt("topic_refused", "set `topic` to one that the broker takes"),
        (0x95, Connect) => halt(
            "connect_too_large",
            "raise the broker's limit for packets, or shorten `client_id` and `user`",
        ),
        (0x95, Publish | Disconnect) => reject(
            "payload_too_large",
            "raise the broker's limit for messages or packets",
        ),
        (0x96, Disconnect) => retry("rate_too_high"),
        (0x97, _) => retry("quota_exceeded")
            .with_hint("give the client or the broker more room; nothing is lost meanwhile"),
        (0x98, Disconnect) => retry("closed_by_operator"),
        (0x99, Publish | Disconnect) => reject(
            "payload_refused",
            "let the broker take UTF-8 JSON on the events' topics",
        ),
        (0x9B, Connect | Disconnect) => halt(
            "qos_not_supported",
            "set `qos` to one that the broker takes; without QoS 1 it confirms nothing",
        ),
        (0x9C, Connect | Disconnect) => {
            retry("use_another_server").with_hint("add the other broker to `servers`")
        }
        (0x9D, Connect | Disconnect) => {
            halt("server_moved", "set `servers` to where the broker is now")
        }
        (0x9F, Connect | Disconnect) => retry("connection_rate_exceeded"),
        (0xA0, Disconnect) => retry("connect_time_exceeded"),
        (SUCCESS, Disconnect) => retry("disconnected"),
        // Unspecified (0x80), malformed (0x81), protocol (0x82), implementation specific (0x83),
        // packet identifiers (0x91, 0x92), receive maximum (0x93), and what concerns things that
        // are never asked for: aliases, retained messages, subscriptions.
        _ => retry("broker_error"),
    }
}

/// The name of a code, as the specification has it.
const fn name(code: u8) -> &'static str {
    match code {
        0x00 => "success",
        0x10 => "no matching subscribers",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8A => "banned",
        0x8B => "server shutting down",
        0x8C => "bad authentication method",
        0x8D => "keep alive timeout",
        0x8E => "session taken over",
        0x8F => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9A => "retain not supported",
        0x9B => "QoS not supported",
        0x9C => "use another server",
        0x9D => "server moved",
        0x9E => "shared subscriptions not supported",
        0x9F => "connection rate exceeded",
        0xA0 => "maximum connect time",
        0xA1 => "subscription identifiers not supported",
        0xA2 => "wildcard subscriptions not supported",
        _ => "something the protocol has no word for",
    }
}

impl Reason {
    pub(super) const fn of(code: u8) -> Self {
        Self { code, said: None }
    }

    /// Whether the broker did not do what it was asked for.
    pub(super) const fn is_error(&self) -> bool {
        self.code >= FIRST_ERROR
    }

    /// Whether it is one event that the broker will not have, and not the connection.
    pub(super) const fn is_about_one_event(&self, moment: Moment) -> bool {
        matches!(meaning(self.code, moment).kind, ErrorKind::Reject)
    }

    /// The error that it is. `what` says what was tried, on what.
    pub(super) fn error(&self, moment: Moment, what: &str) -> SinkError {
        let meaning = meaning(self.code, moment);
        let said = match &self.said {
            Some(said) if !said.is_empty() => format!(": {}", one_line(said)),
            _ => String::new(),
        };
        SinkError {
            kind: meaning.kind,
            code: meaning.word,
            message: format!(
                "{what}: the broker says {} (0x{:02X}){said}",
                name(self.code),
                self.code
            ),
            hint: meaning.hint.map(str::to_owned),
            limit: meaning.limit,
        }
    }
}

/// A broker's own words, fit for a line of a log.
pub(super) fn one_line(said: &str) -> String {
    const MAX_CHARS: usize = 200;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    said.chars().take(MAX_CHARS).map(plain).collect()
}

/// The code of a CONNACK of MQTT 5.
pub(super) const fn of_connack(code: ConnectReturnCode) -> u8 {
    use ConnectReturnCode as C;
    match code {
        C::Success => 0x00,
        C::UnspecifiedError => 0x80,
        C::MalformedPacket => 0x81,
        C::ProtocolError => 0x82,
        C::ImplementationSpecificError => 0x83,
        C::UnsupportedProtocolVersion | C::RefusedProtocolVersion => 0x84,
        C::ClientIdentifierNotValid | C::BadClientId => 0x85,
        C::BadUserNamePassword => 0x86,
        C::NotAuthorized => 0x87,
        C::ServerUnavailable | C::ServiceUnavailable => 0x88,
        C::ServerBusy => 0x89,
        C::Banned => 0x8A,
        C::BadAuthenticationMethod => 0x8C,
        C::TopicNameInvalid => 0x90,
        C::PacketTooLarge => 0x95,
        C::QuotaExceeded => 0x97,
        C::PayloadFormatInvalid => 0x99,
        C::RetainNotSupported => 0x9A,
        C::QoSNotSupported => 0x9B,
        C::UseAnotherServer => 0x9C,
        C::ServerMoved => 0x9D,
        C::ConnectionRateExceeded => 0x9F,
    }
}

/// The code that took the place of a return code of MQTT 3.1.1.
pub(super) const fn of_return_code(code: ReturnCode) -> u8 {
    match code {
        ReturnCode::Success => 0x00,
        ReturnCode::RefusedProtocolVersion => 0x84,
        ReturnCode::BadClientId => 0x85,
        ReturnCode::ServiceUnavailable => 0x88,
        ReturnCode::BadUserNamePassword => 0x86,
        ReturnCode::NotAuthorized => 0x87,
    }
}

/// The code of a PUBACK.
pub(super) const fn of_puback(reason: PubAckReason) -> u8 {
    use PubAckReason as R;
    match reason {
        R::Success => 0x00,
        R::NoMatchingSubscribers => 0x10,
        R::UnspecifiedError => 0x80,
        R::ImplementationSpecificError => 0x83,
        R::NotAuthorized => 0x87,
        R::TopicNameInvalid => 0x90,
        R::PacketIdentifierInUse => 0x91,
        R::QuotaExceeded => 0x97,
        R::PayloadFormatInvalid => 0x99,
    }
}

/// The code of a PUBREC.
pub(super) const fn of_pubrec(reason: PubRecReason) -> u8 {
    use PubRecReason as R;
    match reason {
        R::Success => 0x00,
        R::NoMatchingSubscribers => 0x10,
        R::UnspecifiedError => 0x80,
        R::ImplementationSpecificError => 0x83,
        R::NotAuthorized => 0x87,
        R::TopicNameInvalid => 0x90,
        R::PacketIdentifierInUse => 0x91,
        R::QuotaExceeded => 0x97,
        R::PayloadFormatInvalid => 0x99,
    }
}

/// The code of a PUBCOMP.
pub(super) const fn of_pubcomp(reason: PubCompReason) -> u8 {
    match reason {
        PubCompReason::Success => 0x00,
        PubCompReason::PacketIdentifierNotFound => 0x92,
    }
}

#[cfg(test)]
mod tests {
    use ErrorKind::{Halt, Reject, Retry};
    use Moment::{Connect, Disconnect, Publish};

    use super::*;

    /// Every code that each packet may carry (§3.2.2.2, §3.4.2.1 with §3.5.2.1 and §3.7.2.1,
    /// §3.14.2.1), and what has to follow.
    const CONNECT: [(u8, ErrorKind, &str); 22] = [
        (0x80, Retry, "broker_error"),
        (0x81, Retry, "broker_error"),
        (0x82, Retry, "broker_error"),
        (0x83, Retry, "broker_error"),
        (0x84, Halt, "version_not_supported"),
        (0x85, Halt, "client_id_refused"),
        (0x86, Halt, "bad_credentials"),
        (0x87, Halt, "not_authorized"),
        (0x88, Retry, "broker_unavailable"),
        (0x89, Retry, "broker_busy"),
        (0x8A, Halt, "banned"),
        (0x8C, Halt, "authentication_method"),
        (0x90, Halt, "topic_refused"),
        (0x95, Halt, "connect_too_large"),
        (0x97, Retry, "quota_exceeded"),
        (0x99, Retry, "broker_error"),
        (0x9A, Retry, "broker_error"),
        (0x9B, Halt, "qos_not_supported"),
        (0x9C, Retry, "use_another_server"),
        (0x9D, Halt, "server_moved"),
        (0x9F, Retry, "connection_rate_exceeded"),
        // A code of no version.
        (0x7F, Retry, "broker_error"),
    ];
    /// With 0x95, which mosquitto sends and the specification does not know here.
    const PUBLISH: [(u8, ErrorKind, &str); 10] = [
        (0x10, Retry, "no_subscribers"),
        (0x80, Retry, "broker_error"),
        (0x83, Retry, "broker_error"),
        (0x87, Halt, "publish_denied"),
        (0x90, Halt, "topic_refused"),
        (0x91, Retry, "broker_error"),
        (0x92, Retry, "broker_error"),
        (0x95, Reject, "payload_too_large"),
        (0x97, Retry, "quota_exceeded"),
        (0x99, Reject, "payload_refused"),
    ];
    const DISCONNECT: [(u8, ErrorKind, &str); 28] = [
        (0x00, Retry, "disconnected"),
        (0x80, Retry, "broker_error"),
        (0x81, Retry, "broker_error"),
        (0x82, Retry, "broker_error"),
        (0x83, Retry, "broker_error"),
        (0x87, Halt, "not_authorized"),
        (0x89, Retry, "broker_busy"),
        (0x8B, Retry, "broker_leaving"),
        (0x8D, Retry, "keep_alive_timeout"),
        (0x8E, Halt, "session_taken_over"),
        (0x8F, Retry, "broker_error"),
        (0x90, Halt, "topic_refused"),
        (0x93, Retry, "broker_error"),
        (0x94, Retry, "broker_error"),
        (0x95, Reject, "payload_too_large"),
        (0x96, Retry, "rate_too_high"),
        (0x97, Retry, "quota_exceeded"),
        (0x98, Retry, "closed_by_operator"),
        (0x99, Reject, "payload_refused"),
        (0x9A, Retry, "broker_error"),
        (0x9B, Halt, "qos_not_supported"),
        (0x9C, Retry, "use_another_server"),
        (0x9D, Halt, "server_moved"),
        (0x9E, Retry, "broker_error"),
        (0x9F, Retry, "connection_rate_exceeded"),
        (0xA0, Retry, "connect_time_exceeded"),
        (0xA1, Retry, "broker_error"),
        (0xA2, Retry, "broker_error"),
    ];

    #[test]
    fn every_code_of_every_packet_has_its_consequence() {
        let tables: [(Moment, &[_]); 3] = [
            (Connect, &CONNECT),
            (Publish, &PUBLISH),
            (Disconnect, &DISCONNECT),
        ];
        for (moment, table) in tables {
            for (code, kind, word) in table {
                let error = Reason::of(*code).error(moment, "trying");
                assert_eq!(
                    (error.kind, error.code),
                    (*kind, *word),
                    "0x{code:02X} {moment:?}"
                );
                // Somebody is called for only with a word about what to change.
                assert!(error.kind == Retry || error.hint.is_some_and(|h| h.len() > 10));
                assert_eq!(error.limit, error.kind == Reject);
                assert_eq!(
                    Reason::of(*code).is_about_one_event(moment),
                    *kind == Reject
                );
                assert!(error.message.contains(&format!("(0x{code:02X})")));
            }
        }
    }

    #[test]
    fn a_code_that_is_in_no_table_is_a_retry() {
        for code in 0..=u8::MAX {
            for (moment, table) in [
                (Connect, &CONNECT[..]),
                (Publish, &PUBLISH),
                (Disconnect, &DISCONNECT),
            ] {
                if table.iter().all(|(known, ..)| *known != code) {
                    assert_eq!(
                        Reason::of(code).error(moment, "").kind,
                        Retry,
                        "0x{code:02X}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_brokers_own_words_are_told_on_one_line() {
        let reason = Reason {
            code: 0x97,
            said: Some("no\nroom".into()),
        };
        let error = reason.error(Publish, "publishing to mqtt://b:1");
        assert_eq!(
            error.message,
            "publishing to mqtt://b:1: the broker says quota exceeded (0x97): no room"
        );
    }
}
