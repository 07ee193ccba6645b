//! `format` of a sink: what a message is.

use super::{section::Section, value::words};
use crate::sink::MessageFormat;

const KEY: &str = "format";

#[cfg(any(feature = "nats", feature = "mqtt"))]
words! {
    /// Where the protocol has headers or properties.
    enum Message {
        Envelope = "envelope",
        CloudEvents = "cloudevents",
        CloudEventsBinary = "cloudevents-binary",
    }
}

words! {
    /// Where a message is a line and nothing else.
    enum Line {
        Envelope = "envelope",
        CloudEvents = "cloudevents",
    }
}

/// Of a sink whose protocol has headers or properties.
#[cfg(any(feature = "nats", feature = "mqtt"))]
pub(super) fn read_message(section: &mut Section<'_, '_>) -> MessageFormat {
    match section.get(KEY, Message::Envelope) {
        Message::Envelope => MessageFormat::Envelope,
        Message::CloudEvents => MessageFormat::CloudEvents,
        Message::CloudEventsBinary => MessageFormat::CloudEventsBinary,
    }
}

/// Of a sink that writes lines; never binary.
pub(super) fn read_line(section: &mut Section<'_, '_>) -> MessageFormat {
    match section.get(KEY, Line::Envelope) {
        Line::Envelope => MessageFormat::Envelope,
        Line::CloudEvents => MessageFormat::CloudEvents,
    }
}
