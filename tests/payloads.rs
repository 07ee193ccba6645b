//! What a program posts comes out of the broker byte for byte.

#![cfg(feature = "cli")]
mod support;

use support::{nats_server::NatsServer, program::Home};
use uuid::Uuid;

#[path = "support/http_client.rs"]
mod http_client;

use http_client::{Connection, Request};

/// Valid JSON that a parser and a printer would not give back as it came.
fn payloads() -> Vec<String> {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    [
        "9007199254740993",
        "123456789012345678901234567890.000",
        "-0.0e-0",
        "1E400",
        "{\"a\":1,\"a\":2,\"a\":{\"a\":3}}",
        "{ \"white\" :\r\n\t[ 1 ,\n\n2 ] }",
        "\"\\u0000\\uD83D\\ude00\\/\\b\\f\\n\\r\\t\\\"\"",
        "\"\u{2028}\u{feff}é😀\"",
        "\"\\ud800\"",
        "{\"\":null,\"payload\":{\"payload\":\",\\\"payload\\\":\"}}",
        "true",
        "null",
        "[]",
        "{\"id\":\"00000000-0000-0000-0000-000000000000\"}",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([nested(100), format!("\"{}\"", "x".repeat(200_000))])
    .collect()
}

/// The payload, cut out as the format says any language can: from the first `,"payload":` to the
/// final `}`.
fn cut(envelope: &[u8]) -> &[u8] {
    const MARK: &[u8] = b",\"payload\":";
    let at = envelope
        .windows(MARK.len())
        .position(|window| window == MARK)
        .unwrap();
    envelope[at + MARK.len()..].strip_suffix(b"}").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_valid_json_comes_out_byte_for_byte() {
    let server = NatsServer::start();
    let stream = server.create_stream(|_| {}).await;
    let mut home = Home::new();
    home.set("NATS_URL", &server.url());
    let _daemon = home.daemon();
    let mut connection = Connection::unix(&home.socket());
    let payloads = payloads();
    for payload in &payloads {
        let body = format!(
            "{{\"event_type\":\"a.b\",\"aggregate_id\":\"{}\",\"payload\": {payload} }}",
            Uuid::nil()
        );
        let answer = connection.ask(&Request::post(body));
        assert_eq!(answer.status, 201, "{payload:.60}: {answer:?}");
    }
    home.wait_for(|status| status["sinks"]["nats"]["pending"] == 0);
    for (payload, sequence) in payloads.iter().zip(2..) {
        let message = stream.get_raw_message(sequence).await.unwrap();
        assert_eq!(cut(&message.payload), payload.as_bytes(), "{payload:.60}");
    }
}
