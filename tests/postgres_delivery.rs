//! Events become rows, exact enough to rebuild every envelope from.

#![cfg(feature = "postgres")]
mod support;

use std::time::{Duration, Instant};

use edge_outbox::{
    Event, Outbox, Seq,
    clock::Timestamp,
    envelope::{Envelope, Verifier},
    forwarder::{Forwarder, SinkSpec},
    sink::{
        Incarnation, Position, Sink,
        memory::{MemorySink, MemoryStore},
        postgres::{PostgresOptions, PostgresSink},
    },
    status::GuaranteeLevel,
};
use support::{
    conversation::{deliver, next, send, stored},
    device::Device,
    postgres_server::PostgresServer,
    postgres_table::{connect, count, envelope, options, options_for, rows},
};
use tokio::time::timeout;
use uuid::Uuid;

fn device() -> Device {
    Device::new("kiosk-1")
}

#[tokio::test]
async fn an_envelope_is_rebuilt_from_its_row_byte_for_byte_and_verifies() {
    let server = PostgresServer::with_tables().await;
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::builder(dir.path())
        .source("quote \" and \\ and ä")
        .open()
        .unwrap();
    // Payloads that any change on the way would show in, one of them with a line break.
    let payloads = [
        "{\"a\":1.0,\"a\":1e2, \"b\" : \"\\u00e4\\/\" }",
        "[1,\r\n2]",
        "\"ä\u{1f600}\\u0000\"",
        "-0.0",
    ];
    let mut events = Vec::new();
    for (number, payload) in payloads.into_iter().cycle().take(150).enumerate() {
        let micros = i64::try_from(number).unwrap() * 8_009_007_006_005_403 / 149;
        let event = Event::builder("quiz.submitted.v2", Uuid::from_u128(number as u128))
            .occurred_at(Timestamp::from_micros(micros - 4_000_000_000_000_001).unwrap())
            .payload(payload);
        let event = match number % 3 {
            0 => event,
            1 => event.subject_id(format!("pupil \"{number}\"")),
            _ => event
                .source("/school")
                .original_id(format!("№ \"{number}\"")),
        };
        events.push(event.build().unwrap());
    }
    // The second batch is a group that is no power of two.
    let rest = events.split_off(101);
    outbox.append_batch(events).await.unwrap();
    outbox.append_batch(rest).await.unwrap();

    let store = MemoryStore::new();
    let sinks = vec![
        SinkSpec::new("memory", Sink::Memory(MemorySink::new(store.clone()))),
        SinkSpec::new(
            "postgres",
            Sink::Postgres(PostgresSink::new(options(&server)).unwrap()),
        ),
    ];
    let forwarder = Forwarder::new(outbox.clone(), sinks);
    forwarder.drain(Duration::from_secs(20)).await.unwrap();

    let mut verifier = Verifier::new();
    verifier.trust(outbox.public_key().clone());
    let rows = rows(&server.connect().await).await;
    let rendered = store.messages();
    assert!(rows.len() > 150 && rows.len() == rendered.len());
    let mut longest = 0;
    for (row, message) in rows.iter().zip(&rendered) {
        let rebuilt = envelope(row);
        assert_eq!(
            rebuilt,
            message.body,
            "{}",
            String::from_utf8_lossy(&rebuilt)
        );
        verifier.verify(Envelope::parse(&rebuilt).unwrap()).unwrap();
        longest = longest.max(row.get::<_, &[u8]>("path").len() / 32);
    }
    assert_eq!(longest, 6);
    outbox.close().await;
}

#[tokio::test]
async fn rows_arrive_in_order_in_several_statements_at_once() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let options = PostgresOptions {
        batch: 64,
        pipeline: Some(4),
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    assert_eq!(session.guarantee().level, GuaranteeLevel::ExactlyOnce);
    assert_ne!(session.incarnation(), Incarnation::default());
    let positions = deliver(&mut session, &device.rows(1..=600)).await;
    assert!(positions.iter().all(|at| *at == Position::default()));
    let client = server.connect().await;
    let ordered = "select seq from device_events order by arrival";
    let seqs: Vec<i64> = client
        .query(ordered, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(seqs, (1..=600).collect::<Vec<_>>());
    let early = timeout(Duration::from_millis(50), session.next()).await;
    assert!(early.is_err());
}

#[tokio::test]
async fn a_single_event_leaves_at_once() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    let begin = Instant::now();
    for seq in 1..=20 {
        deliver(&mut session, &device.rows([seq])).await;
    }
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn an_event_that_was_erased_has_no_personal_part_and_stays_evidence() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &[device.erased_row(1), device.row(2)]).await;
    let rows = rows(&server.connect().await).await;
    for column in [
        "aggregate_id",
        "subject_id",
        "salt",
        "payload",
        "payload_json",
    ] {
        let null = |row: &tokio_postgres::Row| {
            let place = row
                .columns()
                .iter()
                .position(|known| known.name() == column);
            row.try_get::<_, Option<Anything>>(place.unwrap())
                .unwrap()
                .is_none()
        };
        assert!(null(&rows[0]) && !null(&rows[1]), "{column}");
    }
    let rebuilt = envelope(&rows[0]);
    assert!(Envelope::parse(&rebuilt).is_ok() && !rebuilt.ends_with(b"\"payload\":}"));
}

#[tokio::test]
async fn an_outcome_is_told_even_if_an_earlier_wait_for_it_was_dropped() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let options = PostgresOptions {
        batch: 7,
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    send(&mut session, &device.rows(1..=50)).await;
    let mut seen = Vec::new();
    while seen.len() < 50 {
        if let Ok(outcome) = timeout(Duration::from_micros(50), session.next()).await {
            seen.push(format!("{outcome:?}"));
        }
    }
    for (seq, outcome) in (1_u64..).zip(&seen) {
        assert!(
            outcome.contains(&format!("Stored {{ seq: #{seq},")),
            "{outcome}"
        );
    }
    let more = timeout(Duration::from_millis(50), next(&mut session)).await;
    assert!(more.is_err());
}

#[tokio::test]
async fn a_unix_socket_and_a_schema_of_ones_own_will_do() {
    let server = PostgresServer::start();
    server.execute("create schema \"the school's\"").await;
    let script = edge_outbox::sink::postgres::SCHEMA_SQL;
    server
        .execute(&format!("set search_path = \"the school's\"; {script}"))
        .await;
    let device = device();
    let url = format!(
        "postgres:///postgres?host={}&port={}&user=postgres",
        server.dir().display(),
        server.port()
    );
    let options = PostgresOptions {
        schema: Some("the school's".into()),
        ..options_for(&url)
    };
    let mut session = connect(options, &device).await.unwrap();
    deliver(&mut session, &device.rows([1])).await;
    let client = server.connect().await;
    let stored = client.query("select from \"the school's\".device_events", &[]);
    assert_eq!(stored.await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_server_knows_which_device_is_connected() {
    let server = PostgresServer::with_tables().await;
    let _session = connect(options(&server), &device()).await.unwrap();
    let client = server.connect().await;
    let found = client
        .query_one(
            "select count(*) from pg_stat_activity where application_name = $1",
            &[&"edge-outbox kiosk-1"],
        )
        .await;
    assert_eq!(found.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn the_script_may_be_run_again_and_changes_nothing() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows([1])).await;
    let before = session.incarnation();
    server.create_tables().await;
    let session = connect(options(&server), &device).await.unwrap();
    assert_eq!(session.incarnation(), before);
    assert_eq!(count(&server.connect().await).await, 1);
}

#[tokio::test]
async fn a_connection_with_nothing_to_send_is_closed_and_opened_again_by_the_next_event() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let options = PostgresOptions {
        idle_timeout: Some(Duration::from_millis(200)),
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    let client = server.connect().await;
    for seq in 1..=3 {
        deliver(&mut session, &device.rows([seq])).await;
        assert_eq!(connections(&client).await, 1);
        let idle = timeout(Duration::from_millis(500), session.next()).await;
        assert!(idle.is_err(), "{idle:?}");
        assert_eq!(connections(&client).await, 0);
    }
    assert!(!server.log().contains("unexpected EOF"), "{}", server.log());
    assert_eq!(count(&client).await, 3);
}

#[tokio::test]
async fn a_connection_that_cannot_be_opened_again_is_lost() {
    let mut server = PostgresServer::with_tables().await;
    let device = device();
    let options = PostgresOptions {
        idle_timeout: Some(Duration::from_millis(50)),
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    let idle = timeout(Duration::from_millis(300), session.next()).await;
    assert!(idle.is_err(), "{idle:?}");
    server.stop();
    let error = session.send(device.row(1)).await.unwrap_err();
    assert_eq!(error.code, "unreachable");
}

#[tokio::test]
async fn a_database_that_is_another_one_after_a_pause_ends_the_session() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let options = PostgresOptions {
        idle_timeout: Some(Duration::from_millis(50)),
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    let idle = timeout(Duration::from_millis(300), session.next()).await;
    assert!(idle.is_err(), "{idle:?}");
    server
        .execute("update edge_outbox_schema set instance = gen_random_uuid()")
        .await;
    let error = session.send(device.row(1)).await.unwrap_err();
    assert_eq!(error.code, "another_database");
}

#[tokio::test]
async fn nothing_of_a_session_is_left_after_its_close() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows([1])).await;
    assert_eq!(stored_seq(&mut session, &device, 2).await, Seq::new(2));
    // Gathered and never waited for: it stays where it is.
    send(&mut session, &device.rows([3])).await;
    let begin = Instant::now();
    session.close().await;
    assert!(begin.elapsed() < Duration::from_millis(500));
    let client = server.connect().await;
    while connections(&client).await > 0 {
        assert!(begin.elapsed() < Duration::from_secs(5), "still connected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(count(&client).await, 2);
}

async fn stored_seq(session: &mut edge_outbox::sink::Session, device: &Device, seq: u64) -> Seq {
    send(session, &device.rows([seq])).await;
    stored(session).await.0
}

async fn connections(client: &tokio_postgres::Client) -> i64 {
    let question = "select count(*) from pg_stat_activity where application_name like 'edge-%'";
    client.query_one(question, &[]).await.unwrap().get(0)
}

/// A value of any type, for asking whether there is one.
struct Anything;

impl<'a> tokio_postgres::types::FromSql<'a> for Anything {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        _: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self)
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }
}
