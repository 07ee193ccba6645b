//! An MQTT sink looked at step by step.
//!
//! A broker can be asked for next to nothing: what it says of itself when it lets somebody in, and
//! what becomes of a message. It ends a connection when another one comes by the same client id, so
//! where the daemon may be connected, the look is taken under a name beside it.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use tokio::time::timeout;

use crate::{
    finding::{Check, Finding},
    sink::{
        SinkError,
        checkup::{self, INQUIRY_LIMIT, PROBE_TEXT, PROBE_TYPE, Place, Survey, Visit},
        mqtt::{
            MqttSink, failure,
            letter::Letter,
            link::{self, Link, News},
            options::{MqttOptions, MqttQos, MqttVersion},
            reason::{Moment, NO_MATCHING_SUBSCRIBERS, Reason, SUCCESS},
            server::Server,
        },
    },
};

/// What the client id ends with where the daemon may have the one without.
const BESIDE: &str = "-doctor";

impl MqttSink {
    pub(in crate::sink) async fn checkup(&mut self, visit: &Visit<'_>) -> Vec<Finding> {
        let places = self.servers.iter().map(place).collect();
        let survey = Survey::of(places, "servers").await;
        let mut client_id = link::client_id(&self.options, visit.device);
        if visit.is_served {
            client_id.push_str(BESIDE);
        }
        let options = MqttOptions {
            client_id: Some(client_id.clone()),
            ..(*self.options).clone()
        };
        let link = match self.dial(&options, visit.device).await {
            Ok(link) => link,
            Err(error) => {
                let at = step(&error);
                let mut findings = survey.findings(Some(&(at, error.clone())));
                if at > Check::SinkTls {
                    findings.push(self.encryption(&survey));
                }
                if at == Check::MqttQos {
                    findings.push(let_in(&client_id));
                }
                if at > Check::SinkReach {
                    findings.push(Finding::of_error(at, error));
                }
                return findings;
            }
        };
        let mut findings = survey.findings(None);
        findings.push(self.encryption(&survey));
        findings.push(let_in(&client_id));
        let hint = match options.version {
            MqttVersion::V5 => "raise the broker's maximum packet size",
            MqttVersion::V3_1_1 => "raise `max_packet`, if the broker takes larger packets",
        };
        findings.push(visit.size(link.welcome().max_packet, hint));
        findings.extend([
            version(&options),
            qos(&options, &link),
            window(&options, &link),
        ]);
        match visit.probe {
            false => findings.push(visit.publish_unprobed(None)),
            true => {
                let mut inquiry = Inquiry {
                    link,
                    options: &options,
                };
                let probed = timeout(INQUIRY_LIMIT, inquiry.probe(visit)).await;
                findings.extend(
                    probed.unwrap_or_else(|_| vec![checkup::too_slow(inquiry.link.server())]),
                );
            }
        }
        findings
    }

    fn encryption(&self, survey: &Survey) -> Finding {
        if self
            .servers
            .iter()
            .all(|server| server.scheme.is_encrypted())
        {
            return Finding::ok(
                Check::SinkTls,
                "encrypted, and the broker's certificate is accepted",
            );
        }
        survey.plain("write mqtts:// in `servers`")
    }
}

fn place(server: &Server) -> Place {
    Place {
        name: server.to_string(),
        host: server.host.clone(),
        port: server.port,
    }
}

fn let_in(client_id: &str) -> Finding {
    Finding::ok(Check::SinkLogin, format!("let in as client {client_id}"))
}

/// Where the attempt to connect fell.
fn step(error: &SinkError) -> Check {
    match error.code {
        "version_not_supported" => Check::MqttVersion,
        "qos_not_supported" => Check::MqttQos,
        code => checkup::step(code).unwrap_or(Check::SinkLogin),
    }
}

fn version(options: &MqttOptions) -> Finding {
    match options.version {
        MqttVersion::V5 => Finding::ok(Check::MqttVersion, "MQTT 5"),
        MqttVersion::V3_1_1 => Finding::warn(
            Check::MqttVersion,
            "MQTT 3.1.1: the broker may acknowledge what it throws away",
            "set `version = \"5\"` where the broker speaks it".to_owned(),
        ),
    }
}

fn qos(options: &MqttOptions, link: &Link) -> Finding {
    let in_force = match link.qos() {
        MqttQos::AtLeastOnce => "QoS 1",
        MqttQos::ExactlyOnce => "QoS 2",
    };
    if link.qos() == options.qos {
        return Finding::ok(Check::MqttQos, in_force);
    }
    let message = format!("{in_force}: the broker takes no QoS 2");
    Finding::warn(Check::MqttQos, message, "set `qos = 1`".to_owned())
}

fn window(options: &MqttOptions, link: &Link) -> Finding {
    let receive_maximum = usize::from(link.welcome().receive_maximum);
    let window = options.max_in_flight.min(receive_maximum);
    let whose = match window < options.max_in_flight {
        true => "the broker's receive maximum",
        false => "half of `window`",
    };
    let message = format!("{window} events may be unanswered, {whose}");
    Finding::ok(Check::MqttWindow, message)
}

struct Inquiry<'a> {
    link: Link,
    options: &'a MqttOptions,
}

impl Inquiry<'_> {
    /// Publishes where an event would go what is none.
    async fn probe(&mut self, visit: &Visit<'_>) -> Vec<Finding> {
        let topic = self.options.topic.topic(visit.device, PROBE_TYPE);
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            content_type: Some("text/plain".into()),
            user_properties: vec![("edge-outbox-probe".into(), "not an event".into())],
            ..PublishProperties::default()
        };
        self.link.publish(Letter {
            topic: topic.as_str().into(),
            properties: (self.options.version == MqttVersion::V5).then_some(properties),
            body: Bytes::from_static(PROBE_TEXT.as_bytes()),
            retain: false,
        });
        match self.reason().await {
            Ok(reason) => self.judge(&topic, &reason),
            Err(error) => vec![Finding::of_error(Check::SinkPublish, error)],
        }
    }

    /// The broker's last word on the probe.
    async fn reason(&mut self) -> Result<Reason, SinkError> {
        let mut received = Reason::of(SUCCESS);
        loop {
            match self.link.news().await {
                News::Left(_) | News::Receipt(_) => {}
                News::Unheard => {
                    let way_back = self.options.way_back.as_ref();
                    let topics = way_back.map_or("", |it| it.receipts.as_str());
                    return Err(failure::not_subscribed(self.link.server(), topics));
                }
                News::Acknowledged(_, reason) => return Ok(reason),
                News::Received(_, reason) if reason.is_error() => return Ok(reason),
                News::Received(_, reason) => received = reason,
                News::Completed(..) => return Ok(received),
                News::Over(loss) => return Err(loss.error),
            }
        }
    }

    fn judge(&self, topic: &str, reason: &Reason) -> Vec<Finding> {
        let error = || {
            let what = format!("publishing to {topic} at {}", self.link.server());
            reason.error(Moment::Publish, &what)
        };
        if reason.is_error() {
            return vec![Finding::of_error(Check::SinkPublish, error())];
        }
        if self.options.version == MqttVersion::V3_1_1 {
            let message = format!(
                "the broker acknowledged a probe to {topic}, which under 3.1.1 proves nothing"
            );
            let hint =
                "set `version = \"5\"` where the broker speaks it, or look at the broker's log";
            return vec![Finding::warn(Check::SinkPublish, message, hint.to_owned())];
        }
        let published = Finding::ok(
            Check::SinkPublish,
            format!("the broker took a probe to {topic}"),
        );
        let subscribers = match reason.code {
            NO_MATCHING_SUBSCRIBERS if self.options.accept_no_subscribers => Finding::ok(
                Check::MqttSubscribers,
                "nobody subscribes to it, and such events count as delivered \
                 (`accept_no_subscribers`)",
            ),
            NO_MATCHING_SUBSCRIBERS => {
                Finding::of_error(Check::MqttSubscribers, error()).into_warning()
            }
            _ => Finding::ok(
                Check::MqttSubscribers,
                "the broker names no lack of subscribers",
            ),
        };
        vec![published, subscribers]
    }
}
