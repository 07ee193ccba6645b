//! What the source of a CloudEvent has to be: a URI-reference (RFC 3986, section 4.1) that is not
//! empty.

use std::{fmt::Write as _, net::Ipv6Addr};

/// Whether a text is a URI-reference and not empty.
pub(crate) fn check(text: &str) -> bool {
    let (rest, fragment) = match text.split_once('#') {
        Some((rest, fragment)) => (rest, fragment),
        None => (text, ""),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, hierarchy) = match rest.split_once(':') {
        // A colon behind a slash belongs to the path.
        Some((scheme, hierarchy)) if !scheme.contains('/') => (Some(scheme), hierarchy),
        _ => (None, rest),
    };
    let (authority, path) = match hierarchy.strip_prefix("//") {
        Some(hierarchy) => {
            let end = hierarchy.find('/').unwrap_or(hierarchy.len());
            let (authority, path) = hierarchy.split_at(end);
            (Some(authority), path)
        }
        None => (None, hierarchy),
    };
    !text.is_empty()
        && scheme.is_none_or(is_scheme)
        && authority.is_none_or(is_authority)
        && consists_of(path, b":@/")
        && consists_of(query, b":@/?")
        && consists_of(fragment, b":@/?")
}

/// A URI-reference that stands for a text which is none: a path of one segment, in which everything
/// is percent-encoded but letters, digits and `-._~`.
pub(crate) fn escaped(text: &str) -> String {
    let mut segment = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            // Writing into memory does not fail.
            _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_authority(text: &str) -> bool {
    let (user, place) = text.rsplit_once('@').unwrap_or(("", text));
    let (host_is_right, port) = match place.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let end = place.find(':').unwrap_or(place.len());
            let (host, port) = place.split_at(end);
            (consists_of(host, b""), port)
        }
    };
    let port = port.strip_prefix(':').or(port.is_empty().then_some(""));
    host_is_right
        && consists_of(user, b":")
        && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether it is made of unreserved characters, sub-delimiters, escapes and what is allowed
/// besides.
fn consists_of(text: &str, besides: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let right = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            other => {
                other.is_ascii_alphanumeric()
                    || b"-._~!$&'()*+,;=".contains(&other)
                    || besides.contains(&other)
            }
        };
        if !right {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_grammar_allows_is_a_uri_reference() {
        for text in [
            "edge-outbox",
            "/cloudevents/spec/pull/123",
            "https://github.com/cloudevents",
            "mailto:cncf-wg-serverless@lists.cncf.io",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "1-555-123-4567",
            "//host:80/a:b?c=d/e?f#g?h",
            "http://user:pa%20ss@[::1]:8080/x",
            "http://host:/",
            "?q",
            "#f",
            "./a:b",
            "a/b:c",
            "file:///etc/%7e",
            "..",
        ] {
            assert!(check(text), "{text}");
        }
    }

    #[test]
    fn any_text_can_be_escaped() {
        assert_eq!(escaped("Raum 7b: Tür~1"), "Raum%207b%3A%20T%C3%BCr~1");
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "my app",
            "schöne/straße",
            "a%2",
            "%zz",
            "a%",
            "1a:b",
            ":a",
            "a#b#c",
            "a\"b",
            "a\\b",
            "<a>",
            "[a]",
            "http://[::1",
            "http://[::g]/",
            "http://host:8a/",
            "http://a@b@c/",
            "http://[::1]x/",
            "a^b",
            "a|b",
            "{device}",
            "a`b",
        ] {
            assert!(!check(text), "{text}");
            assert!(text.is_empty() || check(&escaped(text)), "{text}");
        }
    }
}
