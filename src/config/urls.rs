//! Lists of servers' URLs, which may hold passwords.

use toml::de::DeValue;

use super::value::{Value as _, quoted};
use crate::secret::Secret;

/// A list, or one text with commas, as an environment variable has it.
pub(super) fn read(value: &DeValue<'_>) -> Option<Vec<Secret>> {
    let urls = match String::read(value) {
        Some(text) => text.split(',').map(|url| url.trim().to_owned()).collect(),
        None => Vec::<String>::read(value)?,
    };
    Some(urls.into_iter().map(Secret::new).collect())
}

/// The list as TOML, without users and passwords.
pub(super) fn show(urls: &[Secret]) -> String {
    let masked: Vec<String> = urls
        .iter()
        .map(|url| quoted(&masked(url.reveal())))
        .collect();
    format!("[{}]", masked.join(", "))
}

/// A URL without user and password, and without what follows a `?`, where some brokers want a
/// signature. Cut at the last `@`, because a password may hold one, and a `?` as well.
fn masked(url: &str) -> String {
    let before_query = |host: &str| match host.split_once('?') {
        Some((host, _)) => format!("{host}?***"),
        None => host.to_owned(),
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("***@{}", before_query(host)),
        Some((_, host)) => format!("{scheme}://***@{}", before_query(host)),
        None => before_query(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says_before_the_host_is_masked() {
        for (url, shown) in [
            ("nats://broker:4222", "nats://broker:4222"),
            ("nats://ann:s@cret@broker:4222", "nats://***@broker:4222"),
            ("token@broker", "***@broker"),
            ("wss://broker/mqtt?sig=s3cret", "wss://broker/mqtt?***"),
            (
                "wss://ann:s?x@broker/a?sig=s3cret",
                "wss://***@broker/a?***",
            ),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
