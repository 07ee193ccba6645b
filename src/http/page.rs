//! The status page: one answer that needs no other, put together when this is compiled.
//!
//! It holds no word about the device: its script asks for that, with the token where there is one.
//! So it is served to whoever may reach the listener at all. The policy that goes with it lets the
//! browser run this very script and style, and ask nobody but this listener.

use std::sync::LazyLock;

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderName, HeaderValue, InvalidHeaderValue},
};
use sha2::{Digest as _, Sha256};

use super::answer::{self, Body};
use crate::encoding::push_base64;

/// Where the page is.
pub(super) const PATH: &str = "/";

/// The words stand before the script that uses them.
const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n",
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/page.css"),
    "</style>\n</head>\n",
    include_str!("page/body.html"),
    "<script>\"use strict\";\nconst WORDS = ",
    include_str!("page/words.json"),
    ";\n",
    include_str!("page/page.js"),
    "</script>\n</html>\n"
);

/// The headers that go with the page, made at its first use.
static HEADERS: LazyLock<Result<HeaderMap, InvalidHeaderValue>> = LazyLock::new(headers);

/// The page, or that the browser has it already.
pub(super) fn answer(asked: &HeaderMap) -> Response<Body> {
    let headers = match &*HEADERS {
        Ok(headers) => headers,
        Err(error) => {
            // They are made of base64 and literals: no data can lead here.
            tracing::error!(%error, "the headers of the status page are none");
            return answer::with(StatusCode::INTERNAL_SERVER_ERROR, Body::empty());
        }
    };
    let known = headers
        .get(header::ETAG)
        .is_some_and(|etag| is_known(asked, etag));
    let mut response = match known {
        true => answer::with(StatusCode::NOT_MODIFIED, Body::empty()),
        false => answer::with(StatusCode::OK, Body::Whole(PAGE.as_bytes().into())),
    };
    *response.headers_mut() = headers.clone();
    response
}

/// Whether `If-None-Match` has this tag, in the weak comparison that RFC 9110 wants (13.1.2).
fn is_known(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let lists = asked.get_all(header::IF_NONE_MATCH).iter();
    lists
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b','))
        .map(|tag| tag.trim_ascii())
        .map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
        .any(|tag| tag == b"*" || tag == etag.as_bytes())
}

fn headers() -> Result<HeaderMap, InvalidHeaderValue> {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(between("<style>", "</style>")),
        digest(between("<script>", "</script>"))
    );
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // Kept, but asked for each time: an upgrade is seen at the next look.
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, &*format!("\"{}\"", digest(PAGE))),
        (header::CONTENT_SECURITY_POLICY, &*policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_str(value)?);
    }
    Ok(headers)
}

/// What stands in the page between these, which are there once: a constant of its own would be in
/// the program a second time.
fn between(before: &str, after: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(before).unwrap_or_default();
    let (between, _) = rest.split_once(after).unwrap_or_default();
    between
}

/// The base64 of a SHA-256, as policies have it.
fn digest(text: &str) -> String {
    let mut base64 = Vec::new();
    push_base64(&mut base64, &Sha256::digest(text.as_bytes()));
    String::from_utf8_lossy(&base64).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// Largest page: it is read over school networks, and by boards.
    const MOST_BYTES: usize = 40 * 1024;

    #[test]
    fn the_policy_names_the_style_and_the_script_that_a_browser_finds() {
        let headers = headers().unwrap();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let style = include_str!("page/page.css");
        let script = format!(
            "\"use strict\";\nconst WORDS = {};\n{}",
            include_str!("page/words.json"),
            include_str!("page/page.js")
        );
        for (directive, tag, text) in [
            ("style-src", "style", style),
            ("script-src", "script", &script),
        ] {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            // What a browser finds, it finds once.
            assert_eq!(PAGE.matches(&open).count(), 1, "{tag}");
            assert!(PAGE.contains(&format!("{open}{text}{close}")), "{tag}");
            let wanted = format!("; {directive} 'sha256-{}'; ", digest(text));
            assert!(policy.contains(&wanted), "{wanted} is not in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn the_page_is_small_and_asks_for_nothing_elsewhere() {
        assert!(PAGE.len() <= MOST_BYTES, "{} bytes", PAGE.len());
        // The name of the SVG namespace is one that nobody asks for.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "");
        for word in [
            "http:",
            "https:",
            "\"//",
            "@import",
            "url(",
            "src=",
            "innerHTML",
            "eval(",
        ] {
            assert_eq!(page.find(word), None, "{word}");
        }
    }

    #[test]
    fn a_browser_that_has_the_page_gets_it_once() {
        let first = answer(&HeaderMap::new());
        assert_eq!(first.status(), 200);
        let etag = first.headers()[header::ETAG].clone();
        let mut asked = HeaderMap::new();
        for list in [etag.to_str().unwrap(), "\"a\", W/\"b\" ,*"] {
            asked.insert(header::IF_NONE_MATCH, list.parse().unwrap());
            let again = answer(&asked);
            assert_eq!(again.status(), 304, "{list}");
            assert_eq!(again.headers(), first.headers());
        }
        asked.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        assert_eq!(answer(&asked).status(), 200);
    }

    #[test]
    fn every_word_is_there_in_every_language_with_the_same_blanks() {
        let words: BTreeMap<String, BTreeMap<String, Value>> =
            serde_json::from_str(include_str!("page/words.json")).unwrap();
        let english = &words["en"];
        assert!(words.len() > 1);
        for (language, theirs) in &words {
            let keys = |words: &BTreeMap<String, Value>| words.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(theirs), keys(english), "{language}");
            for (key, text) in theirs {
                assert_eq!(blanks(text), blanks(&english[key]), "{language}: {key}");
            }
        }
    }

    /// The names in braces.
    fn blanks(text: &Value) -> Vec<&str> {
        let mut names: Vec<&str> = text.as_str().unwrap().split('{').skip(1).collect();
        for name in &mut names {
            *name = name.split_once('}').unwrap().0;
        }
        names.sort_unstable();
        names
    }

    #[test]
    fn every_word_that_is_asked_for_is_there_and_none_is_there_for_nothing() {
        let words: BTreeMap<String, BTreeMap<String, Value>> =
            serde_json::from_str(include_str!("page/words.json")).unwrap();
        let script = include_str!("page/page.js");
        let body = include_str!("page/body.html");
        for key in words["en"].keys() {
            // A key of two parts is made of a word of the status, or of a number.
            let stem = key.split_once('.').map_or(&**key, |(stem, _)| stem);
            let used = [format!("\"{stem}\""), format!("\"{stem}.\"")];
            let used = used.iter().any(|used| script.contains(&**used))
                || body.contains(&format!("data-word=\"{key}\""));
            assert!(used, "{key}");
        }
        for named in body.split("data-word=\"").skip(1) {
            let key = named.split_once('"').unwrap().0;
            assert!(words["en"].contains_key(key), "{key}");
        }
    }
}
