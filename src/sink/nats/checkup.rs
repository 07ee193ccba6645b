//! A NATS sink looked at step by step.

use std::time::Duration;

use async_nats::{
    HeaderMap, header,
    jetstream::{
        ErrorCode,
        stream::{DiscardPolicy, Info, RetentionPolicy, StorageType},
    },
};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    envelope::DeviceName,
    finding::{Check, Finding},
    sink::{
        SinkError,
        checkup::{self, INQUIRY_LIMIT, PROBE_TYPE, Place, Survey, Visit},
        nats::{
            NatsSink,
            core::CoreSession,
            jetstream::{self, Proof},
            link::{Arrival, Link, Token, is_no_responders},
            options::{NatsMode, NatsOptions, Server},
            refusal::{self, Notice},
            stream::{self, Condition, Said},
        },
    },
};

/// The stream that a probe asks for. No stream can have a dot in its name, so none stores it.
const NO_STREAM: &str = "edge-outbox.probe";
/// Says that a message is a probe.
const PROBE_HEADER: &str = "Edge-Outbox-Probe";
/// A stream that keeps what it holds for a shorter time is told of: whoever reads it may be away
/// for longer.
const SHORT_AGE: Duration = Duration::from_secs(3_600);
/// From so many hundredths of its limit on, a stream that refuses what is new is told of.
const NEARLY_FULL: u64 = 90;

impl NatsSink {
    pub(in crate::sink) async fn checkup(&self, visit: &Visit<'_>) -> Vec<Finding> {
        let places = self.servers.iter().map(place).collect();
        let survey = Survey::of(places, "servers").await;
        let dialled = timeout(
            self.options.connect_timeout,
            Link::dial(&self.options, &self.servers, visit.device),
        );
        let dialled = dialled.await.unwrap_or_else(|_| Err(self.too_slow()));
        let link = match dialled {
            Ok(link) => link,
            Err(error) => {
                let at = checkup::step(error.code).unwrap_or(Check::SinkLogin);
                let mut findings = survey.findings(Some(&(at, error.clone())));
                if at > Check::SinkTls && self.is_encrypted() {
                    findings.push(encrypted());
                }
                if at > Check::SinkReach {
                    findings.push(Finding::of_error(at, error));
                }
                return findings;
            }
        };
        let mut findings = survey.findings(None);
        findings.push(match self.is_encrypted() || link.server_wants_tls() {
            true => encrypted(),
            false => survey.plain("write tls:// in `servers`, or set `tls.required = true`"),
        });
        findings.push(Finding::ok(
            Check::SinkLogin,
            format!("let in by nats-server {}", link.server_version()),
        ));
        let mut inquiry = Inquiry {
            link,
            options: &self.options,
            visit,
            findings,
        };
        if timeout(INQUIRY_LIMIT, inquiry.make()).await.is_err() {
            let slow = checkup::too_slow(inquiry.link.server());
            inquiry.findings.push(slow);
        }
        inquiry.findings.sort_by_key(|finding| finding.check);
        inquiry.findings
    }

    /// Whether the configuration asks for encryption.
    fn is_encrypted(&self) -> bool {
        let by_url = |server: &Server| server.addr().tls_required();
        self.options.tls.is_required() || self.servers.iter().any(by_url)
    }
}

fn encrypted() -> Finding {
    Finding::ok(
        Check::SinkTls,
        "encrypted, and the server's certificate is accepted",
    )
}

fn place(server: &Server) -> Place {
    Place {
        name: server.to_string(),
        host: server.addr().host().to_owned(),
        port: server.addr().port(),
    }
}

/// What is asked once the server has let us in.
struct Inquiry<'a> {
    link: Link,
    options: &'a NatsOptions,
    visit: &'a Visit<'a>,
    findings: Vec<Finding>,
}

/// How the stream answers a probe.
#[derive(Deserialize)]
struct Answer {
    error: Option<async_nats::jetstream::Error>,
}

impl Inquiry<'_> {
    async fn make(&mut self) {
        let seen = match self.options.mode {
            NatsMode::JetStream => match self.stream().await {
                Ok(seen) => seen,
                Err(error) => {
                    self.findings
                        .push(Finding::of_error(Check::NatsStream, error));
                    return;
                }
            },
            NatsMode::Core => {
                let unmet = CoreSession::guarantee().unmet.into_iter().next();
                let message = "none: whoever does not listen at the moment misses the event";
                self.findings
                    .push(Finding::warn(Check::NatsStream, message, unmet));
                let most = self.link.max_payload();
                self.findings
                    .push(self.visit.size(most, "raise the server's `max_payload`"));
                false
            }
        };
        let finding = match self.visit.probe {
            true => self.probe().await,
            false => self
                .visit
                .publish_unprobed(seen.then_some("events of this device are in the stream")),
        };
        self.findings.push(finding);
    }

    /// Looks at the stream; whether an event of this device is in it.
    async fn stream(&mut self) -> Result<bool, SinkError> {
        // Nothing is created here.
        let options = NatsOptions {
            create_stream: false,
            ..self.options.clone()
        };
        let located = match stream::locate(&mut self.link, &options, self.visit.device).await {
            Err(error) if error.code == "no_stream" && self.options.create_stream => {
                return self.stream_to_be().await;
            }
            located => located?,
        };
        let Some(found) = located.stream else {
            let hint = located.unmet.into_iter().next();
            let message = "which one takes the events cannot be told: no more than at least once";
            self.findings
                .push(Finding::warn(Check::NatsStream, message, hint));
            let most = self.link.max_payload();
            self.findings
                .push(self.visit.size(most, "raise the server's `max_payload`"));
            return Ok(false);
        };
        if let Said::Answer(info) = stream::info(&mut self.link, &found.name).await? {
            self.describe(&info);
        }
        let Some(filter) = options.subject.own_filter(self.visit.device) else {
            let message = "the device's events cannot be told from those of others in the stream";
            let hint = jetstream::not_told_apart(&options);
            self.findings
                .push(Finding::warn(Check::NatsReadBack, message, hint));
            return Ok(false);
        };
        let proof = jetstream::probe(&mut self.link, &found, &filter, self.visit.device).await?;
        let (finding, seen) = match proof {
            Proof::Impossible => {
                let message = "this user may not ask what arrived: no more than at least once";
                let hint = jetstream::read_back_denied(&found.name);
                (Finding::warn(Check::NatsReadBack, message, hint), false)
            }
            Proof::Shown { .. } => (
                Finding::ok(Check::NatsReadBack, "finds events of this device"),
                true,
            ),
            Proof::Open | Proof::Asked { .. } => (
                Finding::ok(
                    Check::NatsReadBack,
                    "permitted; no event of this device is there yet",
                ),
                false,
            ),
        };
        self.findings.push(finding);
        Ok(seen)
    }

    /// The stream is not there, and is to be created at the first connection.
    async fn stream_to_be(&mut self) -> Result<bool, SinkError> {
        let name = self.options.stream.as_deref().unwrap_or_default();
        stream::may_create(&mut self.link, name).await?;
        let message = format!("{name} is not there yet; the daemon may create it, and will");
        self.findings.push(Finding::ok(Check::NatsStream, message));
        Ok(false)
    }

    /// What the stream is, setting by setting.
    fn describe(&mut self, info: &Info) {
        let config = &info.config;
        let name = &config.name;
        let unmet = stream::unmet(info);
        let mut judge = |check, condition: Condition, message: String| {
            let hint = unmet.iter().find(|unmet| unmet.condition == condition);
            self.findings.push(match hint {
                Some(unmet) => Finding::warn(check, message, unmet.what.clone()),
                None => Finding::ok(check, message),
            });
        };
        let held = format!("{name} holds {} messages", info.state.messages);
        let retention = match config.retention {
            RetentionPolicy::Limits => "keeps what it holds until a limit removes it",
            RetentionPolicy::Interest => "drops what every consumer has had",
            RetentionPolicy::WorkQueue => "drops what one consumer has had",
        };
        let storage = match config.storage {
            StorageType::File => "on disk",
            StorageType::Memory => "in memory",
        };
        let limits = limits(info);
        judge(
            Check::NatsRetention,
            Condition::Retention,
            retention.to_owned(),
        );
        judge(Check::NatsLimits, Condition::PerSubject, limits.join("; "));
        judge(
            Check::NatsDuplicates,
            Condition::DuplicateWindow,
            format!("knows a repeat for {:?}", config.duplicate_window),
        );
        judge(
            Check::NatsStorage,
            Condition::Storage,
            format!("{storage}, replicas: {}", config.num_replicas.max(1)),
        );
        let transformed = unmet
            .into_iter()
            .find(|unmet| unmet.condition == Condition::Transform);
        self.findings.push(Finding::ok(Check::NatsStream, held));
        let subjects = match transformed {
            Some(unmet) => Finding::warn(
                Check::NatsSubjects,
                "stores events under other subjects than they were sent to",
                unmet.what,
            ),
            None => subjects(self.options, self.visit.device, &config.subjects),
        };
        self.findings.push(subjects);
        self.findings.extend(pressing(info));
        let most = match usize::try_from(config.max_message_size) {
            Ok(most) if most > 0 => most.min(self.link.max_payload()),
            _ => self.link.max_payload(),
        };
        let hint = "raise the stream's `max_msg_size` and the server's `max_payload`";
        self.findings.push(self.visit.size(most, hint));
    }

    /// Publishes where an event would go what no stream stores.
    async fn probe(&mut self) -> Finding {
        let subject = self.options.subject.subject(self.visit.device, PROBE_TYPE);
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_STREAM, NO_STREAM);
        headers.insert(PROBE_HEADER, "not an event");
        let sent = match self.options.mode {
            NatsMode::JetStream => {
                let token = self.link.next_question();
                let subject = subject.as_str().into();
                self.link
                    .publish(subject, token, headers, Bytes::new())
                    .await
                    .map(|()| Some(token))
            }
            // What was sent before an echo has been read when it is back.
            NatsMode::Core => {
                let subject = subject.as_str().into();
                self.link
                    .publish_unanswered(subject, headers, Bytes::new())
                    .await
                    .map(|()| self.link.echo())
            }
        };
        let lost = || refusal::disconnected(self.link.server());
        match sent.ok().flatten() {
            Some(token) => match self.answer(token, &subject).await {
                Ok(said) => Finding::ok(Check::SinkPublish, said),
                Err(error) => Finding::of_error(Check::SinkPublish, error),
            },
            None => Finding::of_error(Check::SinkPublish, lost()),
        }
    }

    async fn answer(&mut self, token: Token, subject: &str) -> Result<String, SinkError> {
        loop {
            match self.link.arrival().await {
                Arrival::Answer(answered, _)
                    if answered == token && self.options.mode == NatsMode::Core =>
                {
                    return Ok(format!("a probe to {subject} was read by the server"));
                }
                Arrival::Answer(answered, message) if answered == token => {
                    if is_no_responders(&message) {
                        let message = format!(
                            "a probe to {subject} on {} met no stream",
                            self.link.server()
                        );
                        return Err(SinkError::halt("no_stream", message)
                            .with_hint("let the stream take this subject, or correct `subject`"));
                    }
                    let answer = serde_json::from_slice::<Answer>(&message.payload).ok();
                    return match answer.and_then(|answer| answer.error) {
                        Some(error) if error.error_code() != ErrorCode::STREAM_NOT_MATCH => {
                            let what =
                                format!("sending a probe to {subject} on {}", self.link.server());
                            Err(refusal::of_jetstream(&what, &error))
                        }
                        _ => Ok(format!(
                            "a probe to {subject} was let through, and not stored"
                        )),
                    };
                }
                // In core mode the echo may be what is denied, without which nothing is confirmed.
                Arrival::Notice(Notice::PublishDenied { subject, said }) => {
                    let server = self.link.server();
                    return Err(refusal::publish_denied(server, &subject, &said));
                }
                Arrival::Notice(Notice::Lost(error)) => return Err(error),
                Arrival::Answer(..) | Arrival::Receipt(_) | Arrival::Notice(_) => {}
            }
        }
    }
}

/// Whether the stream takes every event of the device, as far as its own subjects tell.
fn subjects(options: &NatsOptions, device: &DeviceName, subjects: &[String]) -> Finding {
    let filter = options
        .subject
        .own_filter(device)
        .unwrap_or_else(|| options.subject.subject(device, "any"));
    if subjects.iter().any(|subject| covers(subject, &filter)) {
        return Finding::ok(Check::NatsSubjects, format!("takes {filter}"));
    }
    let listed = subjects.join(", ");
    if subjects.iter().any(|subject| meets(subject, &filter)) {
        let message = format!("takes {listed}, which may be only a part of {filter}");
        let hint = format!(
            "add `{filter}` to the stream's subjects, unless they are what every event and every \
             `outbox.*` event of this device goes to"
        );
        return Finding::warn(Check::NatsSubjects, message, hint);
    }
    let message = format!("takes {listed}, and the events go to {filter}");
    let hint = format!("add `{filter}` to the stream's subjects, or correct `stream` or `subject`");
    Finding::fail(Check::NatsSubjects, message, hint)
}

/// Whether everything that passes the second filter passes the first one.
fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        return match (wide.next(), narrow.next()) {
            (Some(">"), Some(_)) | (None, None) => true,
            (Some("*"), Some(token)) if token != ">" => continue,
            (Some(token), Some(other)) if token == other => continue,
            _ => false,
        };
    }
}

/// Whether anything passes both filters.
fn meets(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        return match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => continue,
            (Some(token), Some(same)) if token == same => continue,
            _ => false,
        };
    }
}

/// The limits of a stream, and what happens at them.
fn limits(info: &Info) -> Vec<String> {
    let config = &info.config;
    let mut limits = Vec::new();
    if !config.max_age.is_zero() {
        limits.push(format!("keeps events for {:?}", config.max_age));
    }
    if config.max_bytes > 0 {
        limits.push(format!("at most {} bytes", config.max_bytes));
    }
    if config.max_messages > 0 {
        limits.push(format!("at most {} messages", config.max_messages));
    }
    if config.max_messages_per_subject > 0 {
        let most = config.max_messages_per_subject;
        limits.push(format!("at most {most} of one subject"));
    }
    if limits.is_empty() {
        return vec!["no limit but the server's".into()];
    }
    limits.push(match config.discard {
        DiscardPolicy::New => "refuses what is new when it is full".into(),
        DiscardPolicy::Old => "removes what is oldest when it is full".into(),
    });
    limits
}

/// What of a stream's limits is about to bite.
fn pressing(info: &Info) -> Option<Finding> {
    let config = &info.config;
    if !config.max_age.is_zero() && config.max_age < SHORT_AGE {
        let message = format!("keeps events for {:?} alone", config.max_age);
        let hint = "raise the stream's `max_age` above the longest time that its readers are away";
        return Some(Finding::warn(Check::NatsLimits, message, hint.to_owned()));
    }
    let is_near = |held: u64, most: i64| {
        u64::try_from(most).is_ok_and(|most| most > 0 && held >= most / 100 * NEARLY_FULL)
    };
    let is_full = is_near(info.state.bytes, config.max_bytes)
        || is_near(info.state.messages, config.max_messages);
    (is_full && config.discard == DiscardPolicy::New).then(|| {
        let message = format!(
            "nearly full: {} messages, {} bytes",
            info.state.messages, info.state.bytes
        );
        let hint = "raise the stream's limits: when it is full, events stay on the device";
        Finding::warn(Check::NatsLimits, message, hint.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_filter_covers_another_token_by_token() {
        for (wide, narrow, covered, met) in [
            ("a.>", "a.b.>", true, true),
            (">", "a", true, true),
            ("a.*.c", "a.b.c", true, true),
            ("a.*.>", "a.b.>", true, true),
            ("a.b.c", "a.b.>", false, true),
            ("a.*", "a.b.>", false, false),
            ("a.b", "a.>", false, true),
            ("a.c.>", "a.b.>", false, false),
            ("a.>", "a", false, false),
            ("a", "a.b", false, false),
        ] {
            let found = (covers(wide, narrow), meets(wide, narrow));
            assert_eq!(found, (covered, met), "{wide} {narrow}");
        }
    }
}
