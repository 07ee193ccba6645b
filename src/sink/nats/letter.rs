//! An event as a NATS message: subject and headers.

use std::{collections::HashMap, sync::Arc};

use async_nats::{
    HeaderMap, HeaderName, HeaderValue, PublishError, PublishErrorKind, Subject, header,
};

use crate::{
    envelope::DeviceName,
    percent,
    sink::{
        Beside, MessageFormat, Parcel, SinkError,
        nats::{refusal, subject::SubjectTemplate},
    },
};

/// What the header of a CloudEvent's attribute begins with, in any case.
pub(super) const ATTRIBUTE_PREFIX: &str = "ce-";
const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");

/// Subjects that are remembered. A device has a few dozen event types; what has more is wrong, and
/// shall not cost memory.
const MAX_SUBJECTS: usize = 256;

/// Makes the subject and headers of each event of one device.
pub(super) struct Letterhead {
    template: SubjectTemplate,
    device: DeviceName,
    subjects: HashMap<Arc<str>, Subject>,
    content_type: Option<HeaderValue>,
    stream: Option<HeaderValue>,
}

impl Letterhead {
    /// `stream`: the one that alone may store the event.
    pub(super) fn new(
        template: &SubjectTemplate,
        device: &DeviceName,
        format: MessageFormat,
        stream: Option<&str>,
    ) -> Self {
        Self {
            template: template.clone(),
            device: device.clone(),
            subjects: HashMap::new(),
            content_type: format.content_type().map(HeaderValue::from),
            stream: stream.map(HeaderValue::from),
        }
    }

    pub(super) fn subject(&mut self, event_type: &Arc<str>) -> Subject {
        if let Some(subject) = self.subjects.get(event_type) {
            return subject.clone();
        }
        if self.subjects.len() == MAX_SUBJECTS {
            self.subjects.clear();
        }
        let subject = Subject::from(self.template.subject(&self.device, event_type));
        self.subjects.insert(event_type.clone(), subject.clone());
        subject
    }

    /// The message id is the digest, never the caller's id: two devices may use the same one, and
    /// the server would take the second's event for a repeat of the first's.
    pub(super) fn headers(&self, parcel: &Parcel) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_MESSAGE_ID, parcel.digest.to_base64url());
        if let Some(content_type) = &self.content_type {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        if let Beside::Attributes(attributes) = &parcel.beside {
            put_attributes(&mut headers, attributes);
        }
        if let Some(stream) = &self.stream {
            headers.insert(header::NATS_EXPECTED_STREAM, stream.clone());
        }
        headers
    }
}

/// Attributes as headers: NATS protocol binding of CloudEvents 1.0.2, section 3.1.3.
fn put_attributes(headers: &mut HeaderMap, attributes: &[(&'static str, String)]) {
    for (name, text) in attributes {
        if *name == "datacontenttype" {
            headers.insert(CONTENT_TYPE, text.as_str());
        }
        headers.insert(
            format!("{ATTRIBUTE_PREFIX}{name}"),
            &*percent::encoded(text),
        );
    }
}

/// Why the client would not take an event. Too large a one says nothing of the connection;
/// anything else means that it is gone.
pub(super) fn not_taken(
    error: &PublishError,
    parcel_bytes: usize,
    max_payload: usize,
    server: &str,
) -> Result<SinkError, SinkError> {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Ok(SinkError::reject(
            "payload_too_large",
            format!(
                "publishing an envelope of {parcel_bytes} bytes: {server} takes {max_payload} \
                 with headers"
            ),
        )
        .by_limit()
        .with_hint("raise the server's `max_payload`")),
        PublishErrorKind::InvalidSubject => Ok(SinkError::reject(
            "invalid_subject",
            "publishing an event: its type cannot be part of a subject",
        )),
        PublishErrorKind::Send => Err(refusal::disconnected(server)),
    }
}
