//! An event as a NATS message: subject and headers.

use std::{collections::HashMap, sync::Arc};

use async_nats::{HeaderMap, HeaderValue, PublishError, PublishErrorKind, Subject, header};

use crate::{
    envelope::DeviceName,
    sink::{
        Parcel, SinkError,
        nats::{refusal, subject::SubjectTemplate},
    },
};

/// Subjects that are remembered. A device has a few dozen event types; what has more is wrong, and
/// shall not cost memory.
const MAX_SUBJECTS: usize = 256;

/// Makes the subject and headers of each event of one device.
pub(super) struct Letterhead {
    template: SubjectTemplate,
    device: DeviceName,
    subjects: HashMap<Arc<str>, Subject>,
    content_type: HeaderValue,
    stream: Option<HeaderValue>,
}

impl Letterhead {
    /// `stream`: the one that alone may store the event.
    pub(super) fn new(
        template: &SubjectTemplate,
        device: &DeviceName,
        stream: Option<&str>,
    ) -> Self {
        Self {
            template: template.clone(),
            device: device.clone(),
            subjects: HashMap::new(),
            content_type: HeaderValue::from("application/json"),
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
        headers.insert("Content-Type", self.content_type.clone());
        if let Some(stream) = &self.stream {
            headers.insert(header::NATS_EXPECTED_STREAM, stream.clone());
        }
        headers
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
