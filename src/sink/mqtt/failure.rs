//! What the client's errors mean: an attempt to connect that failed, and a connection that ended.

use std::{error::Error, io};

use rumqttc::{mqttbytes, v5};

use crate::sink::{
    SinkError,
    mqtt::{
        flight::Sent,
        options::MqttVersion,
        reason::{self, Moment, Reason},
        server::Server,
    },
    tls::{self, Remedies},
};

const REMEDIES: Remedies = Remedies {
    name: "name the broker in `servers` as its certificate does",
    no_tls: "the broker offers no TLS here: enable it there, name the port that has it in \
             `servers`, or write mqtt://",
};

/// MQTT 3.1.1's return code for a version that the broker does not speak (§3.2.2.3), which it also
/// answers an MQTT 5 client with.
const UNACCEPTABLE_VERSION: u8 = 1;

/// Some brokers hang up over what a user may not publish, without a word.
const TAILS_DENIED: &str = "if it stays so, allow this user to publish to the topic under `tails`";

/// How a connection ended.
pub(super) struct Loss {
    pub(super) error: SinkError,
    /// The broker would not have one of the events on the wire, without saying which.
    pub(super) refused_one: Option<Reason>,
    /// Nobody said why: the network failed, or the broker hung up.
    pub(super) is_unexplained: bool,
}

/// Why an attempt to connect by MQTT 5 failed.
pub(super) fn of_dial_v5(error: &v5::ConnectionError, server: &Server) -> SinkError {
    use v5::{ConnectionError, StateError, mqttbytes::Error};
    let reason = match error {
        ConnectionError::ConnectionRefused(code) => Some(reason::of_connack(*code)),
        ConnectionError::MqttState(StateError::Deserialization(
            Error::InvalidConnectReturnCode(UNACCEPTABLE_VERSION),
        )) => Some(0x84),
        ConnectionError::MqttState(StateError::Deserialization(
            Error::InvalidConnectReturnCode(code),
        )) => Some(*code),
        _ => None,
    };
    of_dial(reason, cause_v5(error), server, MqttVersion::V5)
}

/// Why an attempt to connect by MQTT 3.1.1 failed.
pub(super) fn of_dial_v3(error: &rumqttc::ConnectionError, server: &Server) -> SinkError {
    use rumqttc::ConnectionError;
    let reason = match error {
        ConnectionError::ConnectionRefused(code) => Some(reason::of_return_code(*code)),
        _ => None,
    };
    of_dial(reason, error, server, MqttVersion::V3_1_1)
}

fn of_dial(
    reason: Option<u8>,
    error: &(dyn Error + 'static),
    server: &Server,
    version: MqttVersion,
) -> SinkError {
    let what = format!("connecting to {server}");
    if let Some(code) = reason {
        return Reason::of(code).error(Moment::Connect, &what);
    }
    if let Some(cause) = tls::cause::<rustls::Error>(error) {
        return tls::failure(cause, &server.to_string(), tls::clock_is_set(), &REMEDIES);
    }
    if !hung_up(error) {
        return unreachable(format!("{what} failed: {}", last_cause(error)));
    }
    let error = SinkError::retry(
        "hung_up",
        format!("{what}: the broker hung up without an answer"),
    );
    error.with_hint(match (server.scheme.is_encrypted(), version) {
        (true, _) => {
            "a broker without TLS at this port hangs up like this: check the port in `servers`, and \
             the certificate in `tls.certificate`"
        }
        (false, MqttVersion::V5) => {
            "a broker that wants TLS hangs up like this (write mqtts:// in `servers`), and so does \
             one without MQTT 5 (set `version = \"3.1.1\"`)"
        }
        (false, MqttVersion::V3_1_1) => {
            "a broker that wants TLS hangs up like this: write mqtts:// in `servers`"
        }
    })
}

/// Nobody is there, as far as can be told.
pub(super) fn unreachable(message: String) -> SinkError {
    SinkError::retry("unreachable", message)
        .with_hint("passes when the broker can be reached; else check `servers`")
}

/// How a connection by MQTT 5 ended.
pub(super) fn of_loss_v5(error: &v5::ConnectionError, server: &str) -> Loss {
    use v5::{ConnectionError, StateError, mqttbytes::Error};
    let state = match error {
        ConnectionError::MqttState(state) => state,
        _ => return Loss::unexplained(server, Some(error)),
    };
    match state {
        StateError::ServerDisconnect {
            reason_code,
            reason_string,
        } => {
            let reason = Reason {
                code: *reason_code as u8,
                said: reason_string.clone(),
            };
            Loss::said(reason, Moment::Disconnect, server)
        }
        // An answer to one of the events, in a code that the client does not know there.
        StateError::Deserialization(Error::InvalidConnectReturnCode(code)) => {
            Loss::said(Reason::of(*code), Moment::Publish, server)
        }
        StateError::Deserialization(Error::Io(_)) | StateError::ConnectionAborted => {
            Loss::unexplained(server, Some(cause_v5(error)))
        }
        StateError::AwaitPingResp => Loss::by(silent(server)),
        _ => Loss::by(bad_answer(server, &state.to_string())),
    }
}

/// How a connection by MQTT 3.1.1 ended.
pub(super) fn of_loss_v3(error: &rumqttc::ConnectionError, server: &str) -> Loss {
    use rumqttc::{ConnectionError, StateError};
    let state = match error {
        ConnectionError::MqttState(state) => state,
        _ => return Loss::unexplained(server, Some(error)),
    };
    match state {
        StateError::Deserialization(mqttbytes::Error::Io(_))
        | StateError::Io(_)
        | StateError::ConnectionAborted => Loss::unexplained(server, Some(error)),
        StateError::AwaitPingResp => Loss::by(silent(server)),
        _ => Loss::by(bad_answer(server, &state.to_string())),
    }
}

impl Loss {
    const fn by(error: SinkError) -> Self {
        Self {
            error,
            refused_one: None,
            is_unexplained: false,
        }
    }

    /// The connection is gone.
    pub(super) fn unexplained(server: &str, error: Option<&(dyn Error + 'static)>) -> Self {
        Self {
            is_unexplained: true,
            ..Self::by(disconnected(server, error))
        }
    }

    fn said(reason: Reason, moment: Moment, server: &str) -> Self {
        let what = format!("connected to {server}");
        if reason.is_about_one_event(moment) {
            let said = reason.error(moment, &what).message;
            return Self {
                error: SinkError::retry("one_refused", format!("{said}, and not of which event")),
                refused_one: Some(reason),
                is_unexplained: false,
            };
        }
        Self::by(reason.error(moment, &what))
    }
}

fn disconnected(server: &str, error: Option<&(dyn Error + 'static)>) -> SinkError {
    let why = match error {
        Some(error) if !hung_up(error) => format!(": {}", last_cause(error)),
        _ => String::new(),
    };
    SinkError::retry(
        "disconnected",
        format!("the connection to {server} was lost{why}"),
    )
}

/// The connection was lost without a word while events were on the wire: perhaps over one of them.
/// `alone` says where it was the only one.
pub(super) fn disconnected_over(
    error: SinkError,
    alone: Option<&Sent>,
    version: MqttVersion,
) -> SinkError {
    let SinkError { message, .. } = &error;
    let message = match alone {
        Some(sent) => format!(
            "{message} over one event to {}, a packet of {} bytes",
            sent.topic, sent.bytes
        ),
        None => message.clone(),
    };
    SinkError { message, ..error }.with_hint(match version {
        MqttVersion::V5 => {
            "passes by itself if it was the network; a broker that hangs up over an event, or because \
             another connection has the same `client_id`, says so in its log alone"
        }
        MqttVersion::V3_1_1 => {
            "passes by itself if it was the network; a broker that hangs up over an event, or because \
             another connection has the same `client_id`, says so in its log alone: set `max_packet` \
             to the largest packet that it takes"
        }
    })
}

/// The broker says that it will not have a tail, which goes before the events: none would leave.
pub(super) fn tail_refused(error: SinkError) -> SinkError {
    SinkError::halt(error.code, error.message).with_hint(TAILS_DENIED)
}

/// The connection was lost without a word while nothing but a tail was on the wire.
pub(super) fn disconnected_over_tail(error: SinkError) -> SinkError {
    error.with_hint(TAILS_DENIED)
}

/// The broker says what cannot be.
pub(super) fn bad_answer(server: &str, what: &str) -> SinkError {
    let what = reason::one_line(what);
    SinkError::retry(
        "bad_answer",
        format!("{server} answers what nobody asked: {what}"),
    )
}

fn silent(server: &str) -> SinkError {
    SinkError::retry(
        "no_answer",
        format!("{server} did not answer a ping for as long as `keep_alive`"),
    )
}

/// The client's error in MQTT 5 hides what it stands for from `source`.
fn cause_v5(error: &v5::ConnectionError) -> &(dyn Error + 'static) {
    use v5::{ConnectionError, StateError};
    match error {
        ConnectionError::MqttState(StateError::Deserialization(cause)) => cause,
        _ => error,
    }
}

/// Whether the other side ended the connection without a word.
fn hung_up(error: &(dyn Error + 'static)) -> bool {
    let aborted = matches!(
        tls::cause::<v5::StateError>(error),
        Some(v5::StateError::ConnectionAborted)
    ) || matches!(
        tls::cause::<rumqttc::StateError>(error),
        Some(rumqttc::StateError::ConnectionAborted)
    );
    aborted
        || tls::cause::<io::Error>(error).is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            )
        })
}

/// The words of the error at the root of it all.
fn last_cause(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
/// The broker lets nobody of this name hear the hub's receipts.
pub(super) fn not_subscribed(server: &str, topics: &str) -> SinkError {
    let message = format!("subscribing to receipts under {topics} at {server} was refused");
    SinkError::halt("subscribe_not_permitted", message).with_hint(format!(
        "allow this user to subscribe to `{topics}/DEVICE/+`"
    ))
}
