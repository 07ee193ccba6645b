//! The stream that takes the events: finding it, and what it has to be for exactly once.

use std::time::Duration;

use async_nats::{
    Message,
    jetstream::{
        self, ErrorCode,
        stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    envelope::DeviceName,
    sink::{
        Incarnation, Position, SinkError,
        nats::{
            link::{Link, Unanswered},
            options::NatsOptions,
            refusal,
        },
    },
};

/// The shortest duplicate window for exactly once: an orphaned connection can deliver late.
pub(super) const MIN_DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A stream as it was at one moment.
pub(super) struct StreamState {
    pub(super) name: String,
    pub(super) incarnation: Incarnation,
    pub(super) first: Position,
    pub(super) last: Position,
}

/// What is known of the stream at connect.
pub(super) struct Located {
    /// `None` where this user may not ask, or where several streams take the device's subjects.
    pub(super) stream: Option<StreamState>,
    /// Each condition of exactly once that does not hold, in words that say what to change.
    pub(super) unmet: Vec<String>,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct BySubject<'a> {
    subject: &'a str,
}

#[derive(Deserialize)]
struct Names {
    streams: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Failed {
    error: jetstream::Error,
}

/// What JetStream said to a question.
pub(super) enum Said<T> {
    Answer(T),
    Error(jetstream::Error),
    Denied,
}

/// Finds the stream, creates it where that is wanted, and checks it.
///
/// # Errors
/// There is no stream that could take the events, or the session is lost.
pub(super) async fn locate(
    link: &mut Link,
    options: &NatsOptions,
    device: &DeviceName,
) -> Result<Located, SinkError> {
    let name = match &options.stream {
        Some(name) => name.clone(),
        None => match find(link, options, device).await? {
            Ok(name) => name,
            Err(why_not) => {
                return Ok(Located {
                    stream: None,
                    unmet: vec![why_not],
                });
            }
        },
    };
    let info = match info(link, &name).await? {
        Said::Error(error)
            if options.create_stream && error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            create(link, options, &name).await?
        }
        said => said,
    };
    match info {
        Said::Answer(info) => {
            refuse_useless(&info)?;
            Ok(Located {
                unmet: unmet(&info).into_iter().map(|unmet| unmet.what).collect(),
                stream: Some(state(&info)),
            })
        }
        Said::Error(error) => Err(refusal::of_jetstream(
            &format!("asking {} for stream {name}", link.server()),
            &error,
        )),
        Said::Denied => {
            let unmet = format!("allow this user to publish to `{}`", info_subject(&name));
            Ok(Located {
                stream: None,
                unmet: vec![unmet],
            })
        }
    }
}

/// The stream as it is now; `None` where this user may not ask.
pub(super) async fn look(link: &mut Link, name: &str) -> Result<Option<StreamState>, SinkError> {
    match info(link, name).await? {
        Said::Answer(info) => Ok(Some(state(&info))),
        Said::Denied => Ok(None),
        Said::Error(error) => Err(refusal::of_jetstream(
            &format!("asking {} for stream {name}", link.server()),
            &error,
        )),
    }
}

/// The name of the one stream that takes the device's subjects, or why there is no such one.
async fn find(
    link: &mut Link,
    options: &NatsOptions,
    device: &DeviceName,
) -> Result<Result<String, String>, SinkError> {
    // Any event type will do where the filter cannot be told.
    let subject = options
        .subject
        .own_filter(device)
        .or_else(|| options.subject.every_filter())
        .unwrap_or_else(|| options.subject.subject(device, "any"));
    let names = "$JS.API.STREAM.NAMES";
    match ask::<Names>(link, names, &BySubject { subject: &subject }).await? {
        Said::Answer(Names { streams }) => {
            let mut streams = streams.unwrap_or_default();
            match streams.pop() {
                None => Err(SinkError::halt(
                    "no_stream",
                    format!("no stream on {} takes {subject}", link.server()),
                )
                .with_hint(
                    "create one, or set `stream` and `create_stream = true`, or correct `subject`",
                )),
                Some(name) if streams.is_empty() => Ok(Ok(name)),
                Some(name) => Ok(Err(format!(
                    "several streams take {subject} ({name}, {}): set `stream` to the one meant",
                    streams.join(", ")
                ))),
            }
        }
        Said::Denied => Ok(Err(format!(
            "set `stream`, or allow this user to publish to `{names}`"
        ))),
        Said::Error(error) => {
            let what = format!("asking {} for the stream of {subject}", link.server());
            Err(refusal::of_jetstream(&what, &error))
        }
    }
}

pub(super) async fn info(link: &mut Link, name: &str) -> Result<Said<Info>, SinkError> {
    ask(link, &info_subject(name), &Nothing {}).await
}

fn info_subject(name: &str) -> String {
    format!("$JS.API.STREAM.INFO.{name}")
}

/// Creates the stream. Another device that does so at the same moment asks for the same, which
/// the server takes for one request.
async fn create(
    link: &mut Link,
    options: &NatsOptions,
    name: &str,
) -> Result<Said<Info>, SinkError> {
    let config = Config {
        name: name.to_owned(),
        subjects: options.subject.every_filter().into_iter().collect(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream refuses, and the device keeps what is refused; the other policy would
        // throw away what was confirmed.
        discard: DiscardPolicy::New,
        duplicate_window: MIN_DUPLICATE_WINDOW,
        allow_direct: true,
        num_replicas: 1,
        ..Config::default()
    };
    match ask(link, &creation_subject(name), &config).await? {
        Said::Denied => Err(creation_denied(link, name)),
        Said::Error(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
            info(link, name).await
        }
        Said::Error(error) => {
            let what = format!("creating stream {name} on {}", link.server());
            Err(refusal::of_jetstream(&what, &error))
        }
        said @ Said::Answer(_) => Ok(said),
    }
}

fn creation_subject(name: &str) -> String {
    format!("$JS.API.STREAM.CREATE.{name}")
}

fn creation_denied(link: &Link, name: &str) -> SinkError {
    let message = format!(
        "creating stream {name} on {} is not permitted",
        link.server()
    );
    SinkError::halt("stream_not_created", message).with_hint(format!(
        "create it by hand, or allow this user to publish to `{}`",
        creation_subject(name)
    ))
}

/// Whether this user may create the stream: a request that no server can read is denied, or it is
/// found unreadable.
///
/// # Errors
/// It may not, or the session is lost.
#[cfg(feature = "cli")]
pub(super) async fn may_create(link: &mut Link, name: &str) -> Result<(), SinkError> {
    const UNREADABLE: &str = "";
    match ask::<Names>(link, &creation_subject(name), &UNREADABLE).await? {
        Said::Denied => Err(creation_denied(link, name)),
        Said::Answer(_) | Said::Error(_) => Ok(()),
    }
}

async fn ask<T: DeserializeOwned>(
    link: &mut Link,
    subject: &str,
    question: &impl Serialize,
) -> Result<Said<T>, SinkError> {
    match link.ask(subject, question).await {
        Ok(message) => parse(&message, subject),
        Err(Unanswered::Denied) => Ok(Said::Denied),
        Err(Unanswered::NoResponders) => {
            let message = format!("nobody on {} answers for JetStream", link.server());
            Err(if link.has_jetstream() {
                SinkError::retry("no_responders", message)
            } else {
                refusal::no_jetstream(message)
            })
        }
        Err(Unanswered::Lost(error)) => Err(error),
    }
}

fn parse<T: DeserializeOwned>(message: &Message, subject: &str) -> Result<Said<T>, SinkError> {
    if let Ok(failed) = serde_json::from_slice::<Failed>(&message.payload) {
        return Ok(Said::Error(failed.error));
    }
    match serde_json::from_slice(&message.payload) {
        Ok(answer) => Ok(Said::Answer(answer)),
        Err(error) => Err(SinkError::retry(
            "bad_answer",
            format!("the answer on {subject}: {error}"),
        )),
    }
}

fn state(info: &Info) -> StreamState {
    StreamState {
        name: info.config.name.clone(),
        incarnation: Incarnation(
            i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(i64::MAX),
        ),
        first: Position(info.state.first_sequence),
        last: Position(info.state.last_sequence),
    }
}

/// What no event can be confirmed by.
fn refuse_useless(info: &Info) -> Result<(), SinkError> {
    let name = &info.config.name;
    let useless = |what: &str, hint: &str| {
        Err(SinkError::halt("stream_unusable", format!("stream {name} {what}")).with_hint(hint))
    };
    if info.config.no_ack {
        useless(
            "confirms nothing (`no_ack`)",
            "set `no_ack` to false in the stream",
        )
    } else if info.config.sealed {
        useless("is sealed", "name another stream in `stream`")
    } else if info.config.mirror.is_some() {
        useless(
            "is a mirror, which takes no events",
            "name the mirrored stream in `stream`",
        )
    } else {
        Ok(())
    }
}

/// What exactly once asks of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    Retention,
    Storage,
    DuplicateWindow,
    PerSubject,
    Transform,
}

/// A condition of exactly once that does not hold.
pub(super) struct Unmet {
    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "told apart by the doctor alone")
    )]
    pub(super) condition: Condition,
    /// What to change.
    pub(super) what: String,
}

/// Each condition of exactly once that a stream as it is set up does not meet.
pub(super) fn unmet(info: &Info) -> Vec<Unmet> {
    let config = &info.config;
    let refuses_per_subject =
        config.discard == DiscardPolicy::New && config.discard_new_per_subject;
    let mut unmet = Vec::new();
    let mut require = |condition, met: bool, what: String| {
        if !met {
            unmet.push(Unmet { condition, what });
        }
    };
    let name = &config.name;
    require(
        Condition::Retention,
        config.retention == RetentionPolicy::Limits,
        format!("set stream {name} to limits retention: others remove what has to be read back"),
    );
    require(
        Condition::Storage,
        config.storage == StorageType::File,
        format!("set stream {name} to file storage: a server that restarts forgets the rest"),
    );
    require(
        Condition::DuplicateWindow,
        config.duplicate_window >= MIN_DUPLICATE_WINDOW,
        format!(
            "raise the duplicate window of stream {name} from {:?} to at least {:?}",
            config.duplicate_window, MIN_DUPLICATE_WINDOW
        ),
    );
    require(
        Condition::PerSubject,
        config.max_messages_per_subject <= 0 || refuses_per_subject,
        format!(
            "remove `max_msgs_per_subject` from stream {name}, or let it refuse what is new \
             (`discard_new_per_subject`): it removes what has to be read back"
        ),
    );
    require(
        Condition::Transform,
        config.subject_transform.is_none(),
        format!("remove the subject transform of stream {name}: it hides what is stored"),
    );
    unmet
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The answer of a real server (2.15), shortened.
    fn stream(change: impl FnOnce(&mut Value)) -> Info {
        let mut info = json!({
            "type": "io.nats.jetstream.api.v1.stream_info_response",
            "config": {
                "name": "EVENTS", "subjects": ["edupulse.events.*.>"], "retention": "limits",
                "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
                "max_msgs_per_subject": -1, "max_msg_size": -1, "discard": "new",
                "storage": "file", "num_replicas": 1, "duplicate_window": 120_000_000_000_u64,
                "compression": "none", "allow_direct": true, "mirror_direct": false,
                "sealed": false, "deny_delete": false, "deny_purge": false,
                "allow_rollup_hdrs": false, "consumer_limits": {}, "metadata": {},
            },
            "created": "2026-03-01T08:00:00.123456789Z",
            "state": {
                "messages": 3, "bytes": 1, "first_seq": 4, "first_ts": "2026-03-01T08:00:00Z",
                "last_seq": 6, "last_ts": "2026-03-01T08:00:00Z", "consumer_count": 0,
            },
        });
        change(&mut info);
        serde_json::from_value(info).unwrap()
    }

    #[test]
    fn a_stream_as_it_is_created_here_meets_every_condition() {
        let info = stream(|_| {});
        assert!(unmet(&info).is_empty() && refuse_useless(&info).is_ok());
        let state = state(&info);
        assert_eq!((state.first, state.last), (Position(4), Position(6)));
        assert_eq!(state.incarnation, Incarnation(1_772_352_000_123_456_789));
    }

    #[test]
    fn each_setting_that_breaks_exactly_once_is_named() {
        for (key, value, word) in [
            ("retention", json!("workqueue"), "limits retention"),
            ("storage", json!("memory"), "file storage"),
            ("duplicate_window", json!(1_000_000_000), "duplicate window"),
            ("max_msgs_per_subject", json!(1), "max_msgs_per_subject"),
            (
                "subject_transform",
                json!({"src": "a.>", "dest": "b.>"}),
                "subject transform",
            ),
        ] {
            let info = stream(|info| info["config"][key] = value);
            let unmet = unmet(&info);
            assert!(
                matches!(unmet.as_slice(), [one] if one.what.contains(word)),
                "{key}"
            );
        }
    }

    #[test]
    fn a_limit_for_each_subject_that_refuses_what_is_new_removes_nothing() {
        let info = stream(|info| {
            info["config"]["max_msgs_per_subject"] = json!(1);
            info["config"]["discard_new_per_subject"] = json!(true);
        });
        assert!(unmet(&info).is_empty());
    }

    #[test]
    fn a_stream_that_can_confirm_nothing_is_a_halt() {
        for key in ["no_ack", "sealed"] {
            let info = stream(|info| info["config"][key] = json!(true));
            assert_eq!(
                refuse_useless(&info).unwrap_err().code,
                "stream_unusable",
                "{key}"
            );
        }
    }
}
