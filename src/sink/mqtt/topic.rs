//! The topic that an event goes to.

use std::{fmt, str::FromStr};

use crate::envelope::DeviceName;

/// The topic template where nothing is configured.
pub const DEFAULT_TEMPLATE: &str = "edupulse/events/{device}/{event_type}";

/// Longest template, in bytes. With the longest device name and event type in it, a topic stays
/// below 512 bytes, far from the 65,535 that the protocol can carry (MQTT 5 §4.7.3): brokers have
/// lower limits of their own.
const MAX_TEMPLATE_BYTES: usize = 255;

const DEVICE: &str = "{device}";
const EVENT_TYPE: &str = "{event_type}";

/// A topic with `{device}` and `{event_type}` to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate(String);

/// Why a text is no [`TopicTemplate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicTemplateError {
    /// Empty, or too long.
    #[error("a topic has 1 to {MAX_TEMPLATE_BYTES} bytes")]
    Length,
    /// A wildcard (MQTT 5 §4.7.1), or a character that no topic should hold (§1.5.4): a control
    /// character, NUL among them, or one that Unicode assigns to nothing.
    #[error("{0:?} cannot be part of a topic that is published to")]
    Character(char),
    /// A brace that belongs to neither `{device}` nor `{event_type}`, or one of these twice.
    #[error("only {DEVICE} and {EVENT_TYPE} can be filled in, each at most once")]
    Placeholder,
    /// It begins with `$` (§4.7.2).
    #[error("topics that begin with `$` belong to the broker")]
    Reserved,
}

impl TopicTemplate {
    /// The template as it is configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic for one event of one device. Neither name can bring in a wildcard, a slash or a
    /// brace: they are made of letters, digits, `_`, `-` and, in an event type, dots.
    #[must_use]
    pub fn topic(&self, device: &DeviceName, event_type: &str) -> String {
        self.0
            .replace(DEVICE, device.as_str())
            .replace(EVENT_TYPE, event_type)
    }
}

impl Default for TopicTemplate {
    fn default() -> Self {
        Self(DEFAULT_TEMPLATE.into())
    }
}

impl FromStr for TopicTemplate {
    type Err = TopicTemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !(1..=MAX_TEMPLATE_BYTES).contains(&text.len()) {
            return Err(TopicTemplateError::Length);
        }
        let plain = text.replacen(DEVICE, "", 1).replacen(EVENT_TYPE, "", 1);
        if plain.contains(['{', '}']) {
            return Err(TopicTemplateError::Placeholder);
        }
        if let Some(bad) = text
            .chars()
            .find(|c| matches!(c, '+' | '#') || c.is_control() || is_noncharacter(*c))
        {
            return Err(TopicTemplateError::Character(bad));
        }
        if text.starts_with('$') {
            return Err(TopicTemplateError::Reserved);
        }
        Ok(Self(text.into()))
    }
}

/// Code points that Unicode keeps unassigned for good: U+FDD0 to U+FDEF, and the last two of each
/// plane. A broker may close the connection over one.
const fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{FDD0}'..='\u{FDEF}') || c as u32 & 0xFFFE == 0xFFFE
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_filled_in_where_the_template_says() {
        let device: DeviceName = "kiosk-1".parse().unwrap();
        let filled = |template: &str| {
            let template: TopicTemplate = template.parse().unwrap();
            template.topic(&device, "quiz.submitted.v1")
        };
        assert_eq!(
            filled(DEFAULT_TEMPLATE),
            "edupulse/events/kiosk-1/quiz.submitted.v1"
        );
        assert_eq!(
            filled("/{event_type}-of-{device}/"),
            "/quiz.submitted.v1-of-kiosk-1/"
        );
        assert_eq!(filled("a b/é"), "a b/é");
    }

    #[test]
    fn what_no_client_may_publish_to_is_refused() {
        use TopicTemplateError as E;
        let long = "x".repeat(MAX_TEMPLATE_BYTES + 1);
        for (template, error) in [
            ("", E::Length),
            (long.as_str(), E::Length),
            ("a/+/b", E::Character('+')),
            ("a/#", E::Character('#')),
            ("a+", E::Character('+')),
            ("a\0b", E::Character('\0')),
            ("a\u{85}b", E::Character('\u{85}')),
            ("a\u{FFFF}b", E::Character('\u{FFFF}')),
            ("a\u{FDD0}b", E::Character('\u{FDD0}')),
            ("$SYS/a", E::Reserved),
            ("a/{devise}", E::Placeholder),
            ("a/{device}/{device}", E::Placeholder),
            ("a/}", E::Placeholder),
        ] {
            assert_eq!(
                template.parse::<TopicTemplate>(),
                Err(error),
                "{template:?}"
            );
        }
        assert!(
            "x".repeat(MAX_TEMPLATE_BYTES)
                .parse::<TopicTemplate>()
                .is_ok()
        );
    }
}
