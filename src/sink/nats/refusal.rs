//! What the server's words mean: answers of JetStream, and errors on the connection.

use async_nats::{
    Event, ServerError,
    jetstream::{Error, ErrorCode},
};

use crate::sink::SinkError;

/// A request or an event that JetStream answered with an error. `what` says what was tried, on
/// what.
pub(super) fn of_jetstream(what: &str, error: &Error) -> SinkError {
    let message = format!("{what}: the server says {error}");
    match error.error_code() {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            SinkError::reject("message_too_large", message)
                .by_limit()
                .with_hint("raise the stream's `max_msg_size`")
        }
        ErrorCode::STREAM_STORE_FAILED if is_about_a_limit(error) => {
            SinkError::retry("stream_full", message).with_hint(
                "raise the stream's limits, or let it discard what is old; nothing is lost \
                 meanwhile",
            )
        }
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED => SinkError::retry("server_full", message)
            .with_hint("give the server or the account more storage; nothing is lost meanwhile"),
        ErrorCode::STREAM_NOT_MATCH => SinkError::halt("wrong_stream", message)
            .with_hint("another stream takes this subject: correct `stream` or `subject`"),
        ErrorCode::STREAM_NOT_FOUND => SinkError::halt("no_stream", message)
            .with_hint("create the stream, correct `stream`, or set `create_stream = true`"),
        ErrorCode::STREAM_SEALED => SinkError::halt("stream_sealed", message)
            .with_hint("a sealed stream takes nothing more: name another one in `stream`"),
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            no_jetstream(message)
        }
        ErrorCode::STREAM_SUBJECT_OVERLAP => SinkError::halt("stream_not_created", message)
            .with_hint("another stream takes these subjects already: name it in `stream`"),
        _ if error.code() >= 500 => SinkError::retry("server_error", message),
        // The server understood and will not: something is set wrong, and no event is thrown away
        // for that.
        _ => SinkError::halt("refused", message)
            .with_hint("correct what the server names, or `stream` and `subject`"),
    }
}

/// JetStream is not to be had at all.
pub(super) fn no_jetstream(message: String) -> SinkError {
    SinkError::halt("no_jetstream", message).with_hint(
        "enable JetStream for this server and account, or set `mode = \"core\"`, which promises \
         less",
    )
}

/// `STREAM_STORE_FAILED` stands for a full stream and for a broken disk alike; only the text
/// tells them apart.
fn is_about_a_limit(error: &Error) -> bool {
    error.to_string().starts_with("maximum ")
}

/// What an event of the connection means for the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Nothing.
    Nothing,
    /// The session is over.
    Lost(SinkError),
    /// This user may not publish to this subject. The connection goes on.
    PublishDenied {
        /// The subject.
        subject: String,
        /// The server's words.
        said: String,
    },
}

/// Reads an event of the connection with `server`.
pub(super) fn notice(event: &Event, server: &str) -> Notice {
    match event {
        Event::Connected | Event::Draining | Event::ClientError(_) => Notice::Nothing,
        Event::Disconnected | Event::Closed => Notice::Lost(disconnected(server)),
        // Leaving at once costs one read-back; staying would cost the server's patience.
        Event::LameDuckMode => Notice::Lost(SinkError::retry(
            "server_leaving",
            format!("{server} is about to shut down (lame duck mode)"),
        )),
        Event::SlowConsumer(_) => Notice::Lost(SinkError::retry(
            "answers_lost",
            format!("answers of {server} were lost because they were read too slowly"),
        )),
        Event::ServerError(error) => match denied(error) {
            Some((Right::Publish, subject)) => Notice::PublishDenied {
                subject,
                said: error.to_string(),
            },
            Some((Right::Subscribe, subject)) => Notice::Lost(
                SinkError::halt(
                    "reply_not_permitted",
                    format!("waiting for answers of {server} on {subject}: {error}"),
                )
                .with_hint(match subject.starts_with("_INBOX") {
                    true => "allow this user to subscribe to `_INBOX.>`".to_owned(),
                    false => format!("allow this user to subscribe to `{subject}`"),
                }),
            ),
            None => Notice::Lost(of_connection(error, server)),
        },
    }
}

/// The connection is gone, and nothing is known of the reason.
pub(super) fn disconnected(server: &str) -> SinkError {
    SinkError::retry(
        "disconnected",
        format!("the connection to {server} was lost"),
    )
}

/// This user may not publish the device's events.
pub(super) fn publish_denied(server: &str, subject: &str, said: &str) -> SinkError {
    SinkError::halt(
        "publish_not_permitted",
        format!("publishing to {subject} on {server}: {said}"),
    )
    .with_hint(format!(
        "allow this user to publish to `{subject}` and to what `subject` makes of the device's other \
         events, or correct `subject`"
    ))
}

/// An error of the whole connection, whether on making it or later.
pub(super) fn of_connection(error: &ServerError, server: &str) -> SinkError {
    let message = format!("{server} refuses the connection: {error}");
    let said = error.to_string().to_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if is(&[
        "authorization violation",
        "authentication expired",
        "authentication revoked",
    ]) {
        not_authorized(message)
    } else if is(&["tls required"]) {
        SinkError::halt("tls_required", message).with_hint("write tls:// in `servers`")
    } else {
        SinkError::retry("server_error", message)
    }
}

/// The server does not know the device, or not any more.
pub(super) fn not_authorized(message: String) -> SinkError {
    SinkError::halt("not_authorized", message).with_hint(
        "correct what identifies this device: `credentials_file`, `nkey_file`, `jwt_file`, `user` and \
         `password_file`, `token_file` or `tls.certificate`",
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Publish,
    Subscribe,
}

/// Reads `Permissions Violation for Publish to "a.b"`.
fn denied(error: &ServerError) -> Option<(Right, String)> {
    let ServerError::Other(text) = error else {
        return None;
    };
    let (_, rest) = text.split_once("Permissions Violation for ")?;
    let right = if rest.starts_with("Subscription") {
        Right::Subscribe
    } else {
        Right::Publish
    };
    let subject = rest.split('"').nth(1).unwrap_or_default();
    Some((right, subject.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::ErrorKind;

    fn jetstream(code: u16, err_code: u64, description: &str) -> SinkError {
        let error = serde_json::json!({
            "code": code, "err_code": err_code, "description": description,
        });
        of_jetstream("storing an event", &serde_json::from_value(error).unwrap())
    }

    #[test]
    fn each_answer_of_jetstream_is_classified_once() {
        use ErrorKind::{Halt, Reject, Retry};
        for (code, err_code, text, kind, word) in [
            (
                400,
                10054,
                "message size exceeds maximum allowed",
                Reject,
                "message_too_large",
            ),
            (
                503,
                10077,
                "maximum messages exceeded",
                Retry,
                "stream_full",
            ),
            (
                503,
                10077,
                "maximum messages per subject exceeded",
                Retry,
                "stream_full",
            ),
            (503, 10077, "write error: disk I/O", Retry, "server_error"),
            (
                400,
                10002,
                "resource limits exceeded for account",
                Retry,
                "server_full",
            ),
            (503, 10023, "insufficient resources", Retry, "server_full"),
            (
                400,
                10060,
                "expected stream does not match",
                Halt,
                "wrong_stream",
            ),
            (404, 10059, "stream not found", Halt, "no_stream"),
            (
                400,
                10109,
                "invalid operation on sealed stream",
                Halt,
                "stream_sealed",
            ),
            (503, 10076, "jetstream not enabled", Halt, "no_jetstream"),
            (
                503,
                10039,
                "jetstream not enabled for account",
                Halt,
                "no_jetstream",
            ),
            (
                503,
                10008,
                "system temporarily unavailable",
                Retry,
                "server_error",
            ),
            (400, 10999, "something new", Halt, "refused"),
        ] {
            let error = jetstream(code, err_code, text);
            assert_eq!((error.kind, error.code), (kind, word), "{text}");
            assert!(error.message.contains(text) && error.message.contains("storing an event"));
            assert_eq!(error.limit, kind == Reject);
        }
    }

    #[test]
    fn a_permission_violation_names_its_subject_and_leaves_the_connection() {
        let event = |text: &str| Event::ServerError(ServerError::Other(text.into()));
        let publish = notice(
            &event("Permissions Violation for Publish to \"$JS.API.INFO\""),
            "s",
        );
        assert!(
            matches!(&publish, Notice::PublishDenied { subject, .. } if subject == "$JS.API.INFO")
        );
        let subscribe = "Permissions Violation for Subscription to \"_INBOX.a.*\"";
        let Notice::Lost(error) = notice(&event(subscribe), "s") else {
            panic!()
        };
        assert_eq!(
            (error.kind, error.code),
            (ErrorKind::Halt, "reply_not_permitted")
        );
    }

    #[test]
    fn credentials_that_ran_out_are_a_halt_and_a_stale_connection_is_a_retry() {
        let lost = |error| match notice(&Event::ServerError(error), "s") {
            Notice::Lost(error) => error,
            other => panic!("{other:?}"),
        };
        let expired = ServerError::Other("User Authentication Expired".into());
        assert_eq!(lost(expired).kind, ErrorKind::Halt);
        assert_eq!(
            lost(ServerError::AuthorizationViolation).code,
            "not_authorized"
        );
        assert_eq!(
            lost(ServerError::Other("Stale Connection".into())).kind,
            ErrorKind::Retry
        );
    }
}
