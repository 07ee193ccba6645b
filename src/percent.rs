//! Texts in headers, as the HTTP and NATS bindings of CloudEvents 1.0.2 ask for (sections 3.1.3.2):
//! what is no printable ASCII, blanks, quotation marks and percent signs are percent-encoded.

use std::borrow::Cow;

/// A text as a header's value.
#[cfg(any(feature = "nats", test))]
pub(crate) fn encoded(text: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;

    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'%');
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut value = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_plain(byte) {
            value.push(char::from(byte));
        } else {
            // Writing into memory does not fail.
            _ = write!(value, "%{byte:02X}");
        }
    }
    Cow::Owned(value)
}

/// The text of a header's value, decoded once. `None` where a percent sign stands without its two
/// digits or the bytes are no UTF-8. What was encoded without need is taken.
pub(crate) fn decoded(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    let mut text = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(text).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_encoded_and_decoded_as_it_says() {
        let (text, value) = ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encoded(text), value);
        assert_eq!(decoded(value).unwrap(), text);
        assert_eq!(decoded(&value.to_ascii_lowercase()).unwrap(), "euro € 😀");
    }

    #[test]
    fn every_character_comes_back() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let value = encoded(&all);
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!value.contains('"'));
        assert_eq!(decoded(&value).unwrap(), all);
        assert!(matches!(encoded("a/b?c=d~'"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_not_percent_encoded_utf_8_is_refused_and_a_needless_escape_is_not() {
        for value in ["%", "%4", "%4g", "a%", "%C0%A0", "%ff", "%ED%A0%80", "%+1"] {
            assert_eq!(decoded(value), None, "{value}");
        }
        assert_eq!(decoded("%41%2f%2525").unwrap(), "A/%25");
    }
}
