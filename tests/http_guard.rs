//! Who may ask: pages of other sites may not, whatever they try.

#![cfg(feature = "http")]
#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/http_listener.rs"]
mod http_listener;

use edge_outbox::http::{HttpOptions, Token};

use http_client::{Connection, Request};
use http_listener::{Running, event};

const APP: &str = "https://app.example";
/// What a page may send beside what every page may.
const ALLOWED_HEADERS: &str = "authorization, content-type, ce-specversion, ce-id, ce-source, \
                               ce-type, ce-subject, ce-time, ce-aggregateid, ce-subjectid, \
                               ce-eventversion";
const TOKEN: &str = "a-token-for-this-test";

fn guarded() -> Running {
    Running::new(HttpOptions {
        allowed_hosts: vec!["kiosk.school.lan".parse().unwrap()],
        allowed_origins: vec![APP.parse().unwrap(), "null".parse().unwrap()],
        token: Some(Token::new(TOKEN).unwrap()),
        ..HttpOptions::default()
    })
}

/// A request that shows the token.
fn with_token(request: Request) -> Request {
    request.header("authorization", &format!("Bearer {TOKEN}"))
}

#[test]
fn a_page_whose_name_was_pointed_at_this_machine_is_refused() {
    let listener = Running::new(HttpOptions::default());
    let tail = listener.tail();
    for request in [Request::post(event(1, "1")), Request::get("/v1/status")] {
        let request = request.header("host", "evil.example:7411");
        listener.ask(&request).problem(403, "host-not-allowed");
    }
    for path in ["/healthz", "/nowhere"] {
        let request = Request::get(path).header("host", "evil.example");
        listener.ask(&request).problem(403, "host-not-allowed");
    }
    let absolute = Request::get("http://evil.example/v1/status");
    listener.ask(&absolute).problem(403, "host-not-allowed");
    listener
        .ask(&Request::get("/v1/status").without("host"))
        .problem(400, "bad-request");
    let mut unix = Connection::unix(&listener.socket);
    let request = Request::get("/v1/status").header("host", "evil.example");
    unix.ask(&request).problem(403, "host-not-allowed");
    assert_eq!(listener.tail(), tail);
}

#[test]
fn this_machine_by_name_by_address_and_as_configured_is_answered() {
    let listener = guarded();
    let address = listener.address.to_string();
    for host in [
        "localhost",
        "LocalHost:1",
        "127.0.0.1",
        "[::1]",
        &address,
        "Kiosk.School.lan:80",
    ] {
        let request = Request::get("/healthz").header("host", host);
        assert_eq!(listener.ask(&request).status, 200, "{host}");
    }
}

#[test]
fn a_page_of_another_origin_can_neither_post_nor_read() {
    let listener = Running::new(HttpOptions::default());
    let tail = listener.tail();
    for origin in [APP, "null", "http://localhost:3000", "http://127.0.0.1"] {
        for request in [Request::post(event(1, "1")), Request::get("/v1/status")] {
            let refused = listener.ask(&request.header("origin", origin));
            refused.problem(403, "origin-not-allowed");
            assert_eq!(refused.header("access-control-allow-origin"), None);
        }
        let preflight = Request::new("OPTIONS", "/v1/events")
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        listener.ask(&preflight).problem(403, "origin-not-allowed");
    }
    for site in ["cross-site", "same-site"] {
        let request = Request::get("/v1/status").header("sec-fetch-site", site);
        listener.ask(&request).problem(403, "origin-not-allowed");
    }
    assert_eq!(listener.tail(), tail);
}

#[test]
fn what_a_form_can_send_is_refused_even_without_an_origin() {
    let listener = Running::new(HttpOptions::default());
    let tail = listener.tail();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let request = Request::post(event(1, "1")).header("content-type", content_type);
        listener
            .ask(&request)
            .problem(415, "unsupported-content-type");
    }
    assert_eq!(listener.tail(), tail);
}

#[test]
fn a_page_of_an_allowed_origin_posts_after_its_preflight() {
    let listener = guarded();
    for (id, origin) in [(1, APP), (2, "null")] {
        let preflight = Request::new("OPTIONS", "/v1/events")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", ALLOWED_HEADERS)
            .header("access-control-request-private-network", "true");
        let answer = listener.ask(&preflight);
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("GET, HEAD, POST")
        );
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some(ALLOWED_HEADERS)
        );
        assert_eq!(
            answer.header("access-control-allow-private-network"),
            Some("true")
        );
        assert_eq!(answer.header("vary"), Some("origin"));
        let post = with_token(Request::post(event(id, "1")))
            .header("origin", origin)
            .header("sec-fetch-site", "cross-site");
        let answer = listener.ask(&post);
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
}

#[test]
fn a_page_of_an_allowed_origin_can_read_why_it_was_refused() {
    let listener = guarded();
    let refused = listener.ask(&Request::post(event(1, "1")).header("origin", APP));
    refused.problem(401, "token-required");
    assert_eq!(refused.header("access-control-allow-origin"), Some(APP));
    let refused = listener.ask(&with_token(Request::post("{").header("origin", APP)));
    refused.problem(400, "not-json");
    assert_eq!(refused.header("access-control-allow-origin"), Some(APP));
}

#[test]
fn the_token_is_asked_for_on_tcp_but_not_on_the_socket_nor_for_health() {
    let listener = guarded();
    let tail = listener.tail();
    for request in [
        Request::post(event(1, "1")),
        Request::get("/v1/events"),
        Request::get("/v1/status"),
        Request::get("/nowhere"),
        Request::new("OPTIONS", "/v1/events"),
        Request::get("/v1/status").header("authorization", "Bearer another-token-than-that"),
        Request::get("/v1/status").header("authorization", &format!("Basic {TOKEN}")),
    ] {
        let refused = listener.ask(&request);
        refused.problem(401, "token-required");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(listener.tail(), tail);
    assert_eq!(listener.ask(&Request::get("/healthz")).status, 200);
    assert_eq!(
        listener
            .ask(&with_token(Request::post(event(1, "1"))))
            .status,
        201
    );
    let mut unix = Connection::unix(&listener.socket);
    assert_eq!(unix.ask(&Request::post(event(2, "1"))).status, 201);
}

#[test]
fn forgetting_a_sink_takes_the_token_and_is_open_to_no_page() {
    let listener = guarded();
    let forget = || Request::new("DELETE", "/v1/sinks/hub").without("content-type");
    listener.ask(&forget()).problem(401, "token-required");
    let answer = listener.ask(&with_token(forget()));
    answer.problem(404, "sink-unknown");
    let foreign = with_token(forget()).header("origin", "https://evil.example");
    listener.ask(&foreign).problem(403, "origin-not-allowed");
    let preflight = Request::new("OPTIONS", "/v1/sinks/hub")
        .header("origin", APP)
        .header("access-control-request-method", "DELETE");
    let methods = listener.ask(&preflight);
    let methods = methods.header("access-control-allow-methods").unwrap();
    assert!(!methods.contains("DELETE"), "{methods}");
}
