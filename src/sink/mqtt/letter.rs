//! An event as an MQTT message: topic, properties and size.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PublishProperties;

use crate::{
    envelope::DeviceName,
    sink::{
        Beside, Parcel,
        mqtt::{
            options::{MqttOptions, MqttVersion},
            topic::TopicTemplate,
        },
    },
};

/// Topics that are remembered. A device has a few dozen event types; what has more is wrong, and
/// shall not cost memory.
const MAX_TOPICS: usize = 256;

const JSON: &str = "application/json";
/// The attribute of a CloudEvent in binary mode that becomes the content type of the message.
const DATA_CONTENT_TYPE: &str = "datacontenttype";
/// The body is UTF-8 (MQTT 5 §3.3.2.3.2). It is JSON that was checked when it was appended.
const UTF_8: u8 = 1;

/// A message, ready to be handed over.
pub(super) struct Letter {
    pub(super) topic: Arc<str>,
    /// None under 3.1.1, which has no place for them.
    pub(super) properties: Option<PublishProperties>,
    pub(super) body: Bytes,
    /// Whether the broker keeps it for those who subscribe later.
    pub(super) retain: bool,
}

/// Makes a message of each event of one device.
pub(super) struct Letterhead {
    template: TopicTemplate,
    device: DeviceName,
    version: MqttVersion,
    /// Of what carries no content type of its own.
    content_type: &'static str,
    /// Where tails go.
    tails: Option<Arc<str>>,
    topics: HashMap<Arc<str>, Arc<str>>,
}

impl Letterhead {
    pub(super) fn new(options: &MqttOptions, device: &DeviceName) -> Self {
        Self {
            template: options.topic.clone(),
            device: device.clone(),
            version: options.version,
            content_type: options.format.content_type().unwrap_or(JSON),
            tails: options
                .way_back
                .as_ref()
                .map(|way_back| format!("{}/{device}", way_back.tails).into()),
            topics: HashMap::new(),
        }
    }

    /// The event as a message. It is never retained.
    pub(super) fn letter(&mut self, parcel: Parcel) -> Letter {
        Letter {
            topic: self.topic(&parcel.event_type),
            properties: match self.version {
                MqttVersion::V5 => Some(properties(&parcel, self.content_type)),
                MqttVersion::V3_1_1 => None,
            },
            body: parcel.body,
            retain: false,
        }
    }

    /// A tail as a message; none where there is no hub to send it to.
    pub(super) fn tail(&self, body: Bytes, retain: bool) -> Option<Letter> {
        Some(Letter {
            topic: Arc::clone(self.tails.as_ref()?),
            properties: None,
            body,
            retain,
        })
    }

    fn topic(&mut self, event_type: &Arc<str>) -> Arc<str> {
        if let Some(topic) = self.topics.get(event_type) {
            return topic.clone();
        }
        if self.topics.len() == MAX_TOPICS {
            self.topics.clear();
        }
        let topic = Arc::from(self.template.topic(&self.device, event_type));
        self.topics.insert(event_type.clone(), Arc::clone(&topic));
        topic
    }
}

fn properties(parcel: &Parcel, content_type: &str) -> PublishProperties {
    let mut user_properties = Vec::new();
    let mut content_type = content_type.to_owned();
    if let Beside::Attributes(attributes) = &parcel.beside {
        for (name, value) in attributes {
            if *name == DATA_CONTENT_TYPE {
                content_type.clone_from(value);
            } else {
                user_properties.push(((*name).to_owned(), value.clone()));
            }
        }
    } else {
        user_properties.extend([
            ("id".into(), parcel.id.to_string()),
            ("seq".into(), parcel.seq.get().to_string()),
            ("epoch".into(), parcel.epoch.to_string()),
        ]);
        if parcel.redelivered {
            user_properties.push(("redelivered".into(), "true".into()));
        }
    }
    PublishProperties {
        payload_format_indicator: is_json(&content_type).then_some(UTF_8),
        content_type: Some(content_type),
        user_properties,
        ..PublishProperties::default()
    }
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type == JSON || media_type.ends_with("+json")
}
