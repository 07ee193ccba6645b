//! The status page as a client gets it, and the history that its chart is drawn from. What a browser
//! makes of it is looked at by `tests/browser`.

#![cfg(feature = "http")]
#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/http_listener.rs"]
mod http_listener;

use edge_outbox::http::{HttpOptions, Token};

use http_client::{Connection, Request};
use http_listener::{Running, event};

#[test]
fn the_page_is_served_without_the_token_and_tells_nothing_of_the_device() {
    let listener = Running::new(HttpOptions {
        token: Some(Token::new("a-token-for-this-test").unwrap()),
        ..HttpOptions::default()
    });
    let answer = listener.ask(&Request::get("/"));
    assert_eq!(answer.status, 200);
    let page = String::from_utf8(answer.body.clone()).unwrap();
    assert!(page.starts_with("<!doctype html>\n"));
    let device = listener.outbox.device().to_string();
    assert!(!page.contains(&device), "{device} is in the page");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let policy = answer.header("content-security-policy").unwrap();
    for directive in [
        "default-src 'none'; ",
        "; connect-src 'self'; ",
        "; base-uri 'none'; ",
        "; form-action 'none'; ",
        "; frame-ancestors 'none'",
    ] {
        assert!(policy.contains(directive), "{directive} is not in {policy}");
    }
    for path in ["/v1/status", "/v1/history"] {
        listener
            .ask(&Request::get(path))
            .problem(401, "token-required");
    }
    let mut unix = Connection::unix(&listener.socket);
    assert_eq!(unix.ask(&Request::get("/")).body, answer.body);
}

#[test]
fn a_browser_that_has_the_page_is_told_so() {
    let listener = Running::new(HttpOptions::default());
    let mut connection = listener.connect();
    let first = connection.ask(&Request::get("/"));
    let etag = first.header("etag").unwrap();
    let again = connection.ask(&Request::get("/").header("if-none-match", etag));
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(etag));
    assert_eq!(again.header("cache-control"), Some("no-cache"));
    let other = connection.ask(&Request::get("/").header("if-none-match", "\"other\""));
    assert_eq!(other.body, first.body);
    let head = connection.ask(&Request::new("HEAD", "/"));
    assert_eq!(head.status, 200);
    assert_eq!(
        head.header("content-length"),
        first.header("content-length")
    );
    assert_eq!(connection.ask(&Request::get("/healthz")).status, 200);
}

#[test]
fn a_page_of_another_name_is_refused_like_everything_else() {
    let listener = Running::new(HttpOptions::default());
    let request = Request::get("/").header("host", "evil.example");
    listener.ask(&request).problem(403, "host-not-allowed");
    let request = Request::get("/").header("origin", "https://evil.example");
    listener.ask(&request).problem(403, "origin-not-allowed");
    let refused = listener.ask(&Request::new("POST", "/").body("{}"));
    refused.problem(405, "method-not-allowed");
    assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn the_history_counts_what_is_appended_from_the_start_of_the_program_on() {
    let listener = Running::new(HttpOptions::default());
    let counted = || -> u64 {
        let history = listener.ask(&Request::get("/v1/history")).json();
        assert_eq!(history["bucket_s"], 300);
        let [now, since, first] =
            ["boottime_s", "since_s", "first_s"].map(|name| history[name].as_u64().unwrap());
        assert!(first <= since && since <= now, "{history}");
        let appended = history["appended"].as_array().unwrap();
        assert_eq!(appended.len() as u64, now / 300 - first / 300 + 1);
        appended.iter().map(|count| count.as_u64().unwrap()).sum()
    };
    assert_eq!(counted(), 0);
    for id in 1..=3 {
        assert_eq!(listener.ask(&Request::post(event(id, "1"))).status, 201);
    }
    assert_eq!(counted(), 3);
    // Known already.
    assert_eq!(listener.ask(&Request::post(event(1, "1"))).status, 200);
    assert_eq!(counted(), 3);
}

#[test]
fn the_status_tells_how_much_room_the_disk_has() {
    let listener = Running::new(HttpOptions::default());
    let status = listener.ask(&Request::get("/v1/status")).json();
    let disk = &status["journal"]["disk"];
    let [free, total] = ["free_bytes", "total_bytes"].map(|name| disk[name].as_u64().unwrap());
    assert!(0 < free && free <= total, "{disk}");
}
