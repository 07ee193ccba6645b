//! async-nats: messages to JetStream.

use async_nats::{
    Subject,
    jetstream::{context::Context, message::PublishMessage, publish::PublishAck},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::server::STREAM;

/// As the sink says it of an envelope.
const ENVELOPE_CONTENT_TYPE: &str = "application/json";

/// Publishes each body under its message id, with so many unanswered at once, until all are stored.
pub async fn publish(
    context: &Context,
    subject: &str,
    bodies: impl IntoIterator<Item = (impl AsRef<str>, Bytes)>,
    window: usize,
) {
    let subject = Subject::from(subject.to_owned());
    let mut unanswered = FuturesUnordered::new();
    for (id, body) in bodies {
        if unanswered.len() == window {
            let answer: Result<_, _> = unanswered.next().await.expect("unanswered");
            let _: PublishAck = answer.expect("stored");
        }
        let message = PublishMessage::build()
            .payload(body)
            .message_id(id)
            .header("Content-Type", ENVELOPE_CONTENT_TYPE)
            .expected_stream(STREAM);
        let answer = context
            .send_publish(subject.clone(), message)
            .await
            .expect("sent");
        unanswered.push(answer.into_future());
    }
    while let Some(answer) = unanswered.next().await {
        answer.expect("stored");
    }
}
