//! Every payload is stored, exact; as `jsonb` beside it wherever `jsonb` can hold it.

#![cfg(feature = "postgres")]
mod support;

use support::{
    conversation::{deliver, send, stored},
    device::{Device, QUIZ},
    postgres_server::PostgresServer,
    postgres_table::{connect, options},
};
use uuid::Uuid;

/// Payloads, and whether they are there as `jsonb`, too.
fn payloads() -> Vec<(String, bool)> {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let of = |payload: &str, held| (payload.to_owned(), held);
    vec![
        of("{}", true),
        of("null", true),
        of("{\"a\":1,\"a\":2}", true),
        of("  [1 ,\r\n\t2 ]  ", true),
        of("0.1000000000000000000000000000000000000000000000001", true),
        of("\"\\u00e4\\ud83d\\ude00\u{1f600}\u{fffe}\u{7f}\"", true),
        of("{\"\\\\u0000\":\"\\\\ud800\"}", true),
        of("1e131071", true),
        of("-9.9E+131070", true),
        of("1e-16383", true),
        of("[0e0, -0, -0.0]", true),
        (nested(512), true),
        (format!("\"{}\"", "ä".repeat(100_000)), true),
        (format!("[{}]", "1,".repeat(50_000) + "1"), true),
        (format!("{{\"{}\":1}}", "k".repeat(70_000)), true),
        ("9".repeat(131_072), true),
        (format!("0.{}", "7".repeat(16_383)), true),
        // What `jsonb` has no room for.
        of("\"\\u0000\"", false),
        of("{\"\\u0000\":1}", false),
        of("[[\"x\\u0000y\"]]", false),
        of("\"\\ud800\"", false),
        of("\"\\udc00\\ud800\"", false),
        of("\"\\ud83d\\u0041\"", false),
        of("1e131072", false),
        of("1e400000", false),
        of("1e-16384", false),
        of("1e99999999999999999999999", false),
        ("9".repeat(131_073), false),
        (nested(513), false),
        (nested(50_000), false),
    ]
}

#[tokio::test]
async fn a_nasty_payload_is_stored_exactly_and_never_rejected() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    // All in one statement: one that the server refused would spoil the others.
    let mut session = connect(options(&server), &device).await.unwrap();
    let payloads = payloads();
    let parcels: Vec<_> = (1..)
        .zip(&payloads)
        .map(|(seq, (payload, _))| device.row_of(seq, QUIZ, payload.as_bytes()))
        .collect();
    deliver(&mut session, &parcels).await;
    // The check by hand is as exact as the server: it had nothing to object to.
    assert!(!server.log().contains("ERROR"), "{}", server.log());

    let client = server.connect().await;
    let rows = client
        .query(
            "select payload, payload_json is not null, payload_json::text \
             from device_events order by seq",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), payloads.len());
    for (row, (payload, held)) in rows.iter().zip(&payloads) {
        let shown: String = payload.chars().take(40).collect();
        assert_eq!(row.get::<_, &[u8]>(0), payload.as_bytes(), "{shown}");
        assert_eq!(row.get::<_, bool>(1), *held, "{shown}");
    }
    let json = |place: usize| rows[place].get::<_, Option<&str>>(2).unwrap().to_owned();
    assert_eq!(json(2), "{\"a\": 2}");
    assert_eq!(json(4), payloads[4].0);
}

#[tokio::test]
async fn where_the_server_knows_a_limit_of_its_own_the_payload_is_stored_without_jsonb() {
    let server = PostgresServer::with_tables().await;
    let client = server.connect().await;
    client
        .batch_execute("create index on device_events ((payload_json ->> 'answer'))")
        .await
        .unwrap();

    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let mut parcels = device.rows(1..=40);
    // More than an entry of an index has room for, and not to be made smaller.
    let answer: String = (0..400).map(|_| Uuid::new_v4().to_string()).collect();
    let long = format!("{{\"answer\":\"{answer}\"}}");
    for seq in [7, 8, 31] {
        parcels[seq - 1] = device.row_of(seq as u64, QUIZ, long.as_bytes());
    }
    send(&mut session, &parcels).await;
    let mut seqs = Vec::new();
    for _ in 0..40 {
        seqs.push(stored(&mut session).await.0.get());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
    let without = "select seq, payload from device_events where payload_json is null order by seq";
    let rows = client.query(without, &[]).await.unwrap();
    let seqs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(seqs, [7, 8, 31]);
    assert_eq!(rows[1].get::<_, &[u8]>(1), long.as_bytes());
}
