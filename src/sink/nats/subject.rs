//! The subject that an event goes to.

use std::{fmt, str::FromStr};

use crate::envelope::DeviceName;

/// The subject template where nothing is configured.
pub const DEFAULT_TEMPLATE: &str = "edupulse.events.{device}.{event_type}";

/// Longest template, in bytes. With the longest device name and event type in it, a subject stays
/// below 512 bytes, well within a server's default limit of 4 KiB for a protocol line.
const MAX_TEMPLATE_BYTES: usize = 255;

const DEVICE: &str = "{device}";
const EVENT_TYPE: &str = "{event_type}";

/// A subject with `{device}` and `{event_type}` to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectTemplate(String);

/// Why a text is no [`SubjectTemplate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectTemplateError {
    /// Empty, too long, or with an empty token (a dot at either end, or two in a row).
    #[error("a subject has 1 to {MAX_TEMPLATE_BYTES} bytes in tokens joined by single dots")]
    Shape,
    /// A blank, a control character, a wildcard or something outside ASCII.
    #[error("{0:?} cannot be part of a subject that is published to")]
    Character(char),
    /// A brace that belongs to neither `{device}` nor `{event_type}`, or one of these twice.
    #[error("only {DEVICE} and {EVENT_TYPE} can be filled in, each at most once")]
    Placeholder,
    /// It begins with `$` or `_INBOX`.
    #[error("subjects that begin with `$` or `_INBOX` belong to the server and to replies")]
    Reserved,
}

impl SubjectTemplate {
    /// The template as it is configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The subject for one event of one device.
    #[must_use]
    pub fn subject(&self, device: &DeviceName, event_type: &str) -> String {
        // In this order: a device's name holds no brace, and an event type none either.
        self.0
            .replace(DEVICE, device.as_str())
            .replace(EVENT_TYPE, event_type)
    }

    /// The filter that matches this device's messages and nobody else's, with `>` in place of
    /// `{event_type}`. `None` where there is no such filter: `{device}` must be a token of its
    /// own, and `{event_type}`, if there is one, the last token.
    #[must_use]
    pub fn own_filter(&self, device: &DeviceName) -> Option<String> {
        self.0
            .contains(DEVICE)
            .then(|| self.filter(device.as_str()))
            .flatten()
    }

    /// The filter that matches the messages of every device: what a stream has to take. `None`
    /// where a placeholder shares a token or `{event_type}` is not the last one.
    #[must_use]
    pub fn every_filter(&self) -> Option<String> {
        self.filter("*")
    }

    fn filter(&self, device: &str) -> Option<String> {
        let whole = |token: &str, name| token == name || !token.contains(name);
        let (before, last) = self.0.rsplit_once('.').unwrap_or(("", &self.0));
        let whole_tokens = self.0.split('.').all(|token| whole(token, DEVICE));
        (whole_tokens && whole(last, EVENT_TYPE) && !before.contains(EVENT_TYPE))
            .then(|| self.0.replace(DEVICE, device).replace(EVENT_TYPE, ">"))
    }
}

impl Default for SubjectTemplate {
    fn default() -> Self {
        Self(DEFAULT_TEMPLATE.into())
    }
}

impl FromStr for SubjectTemplate {
    type Err = SubjectTemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEMPLATE_BYTES || text.split('.').any(str::is_empty) {
            return Err(SubjectTemplateError::Shape);
        }
        let plain = text.replacen(DEVICE, "", 1).replacen(EVENT_TYPE, "", 1);
        if plain.contains(['{', '}']) {
            return Err(SubjectTemplateError::Placeholder);
        }
        if let Some(bad) = text
            .chars()
            .find(|c| !c.is_ascii_graphic() || matches!(c, '*' | '>'))
        {
            return Err(SubjectTemplateError::Character(bad));
        }
        if text.starts_with('$') || text.starts_with("_INBOX") {
            return Err(SubjectTemplateError::Reserved);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SubjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> SubjectTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn a_device_has_a_filter_of_its_own_only_where_its_name_is_a_token() {
        let filter = |text| template(text).filter("kiosk-7");
        assert_eq!(
            filter(DEFAULT_TEMPLATE).unwrap(),
            "edupulse.events.kiosk-7.>"
        );
        assert_eq!(filter("{device}").unwrap(), "kiosk-7");
        assert_eq!(filter("a.{device}.b").unwrap(), "a.kiosk-7.b");
        for shared in [
            "a.x{device}",
            "a.{event_type}.{device}",
            "a.{device}.v{event_type}",
        ] {
            assert_eq!(filter(shared), None, "{shared}");
        }
        assert_eq!(template("a.b").every_filter().unwrap(), "a.b");
        assert_eq!(
            template(DEFAULT_TEMPLATE).every_filter().unwrap(),
            "edupulse.events.*.>"
        );
    }

    #[test]
    fn what_cannot_be_published_to_is_refused_with_the_reason() {
        use SubjectTemplateError as E;
        for (text, reason) in [
            ("", E::Shape),
            ("a..b", E::Shape),
            (".a", E::Shape),
            ("a.", E::Shape),
            ("a.*", E::Character('*')),
            ("a.>", E::Character('>')),
            ("a b", E::Character(' ')),
            ("ä", E::Character('ä')),
            ("a.{site}", E::Placeholder),
            ("{device}.{device}", E::Placeholder),
            ("$JS.API.{device}", E::Reserved),
            ("_INBOX.a", E::Reserved),
        ] {
            assert_eq!(
                text.parse::<SubjectTemplate>().unwrap_err(),
                reason,
                "{text:?}"
            );
        }
        assert_eq!(
            "a".repeat(256).parse::<SubjectTemplate>().unwrap_err(),
            E::Shape
        );
    }
}
