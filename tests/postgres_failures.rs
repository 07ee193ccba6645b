//! What goes wrong with a server or the way to it, each told once, with what to do.

#![cfg(feature = "postgres")]
mod support;

use std::time::{Duration, Instant};

use edge_outbox::{
    sink::{ErrorKind, SinkError, postgres::PostgresOptions},
    status::GuaranteeLevel,
};
use support::{
    conversation::{deliver, lost, refused, send, stored},
    device::Device,
    postgres_server::{OPEN, PostgresServer, SCRAM},
    postgres_table::{connect, count, options, options_for, refusal},
};

#[track_caller]
fn assert_error(error: &SinkError, kind: ErrorKind, code: &str, hint: &str) {
    assert_eq!((error.kind, error.code), (kind, code), "{error:?}");
    let said = error.hint.as_deref().unwrap_or_default();
    assert!(said.contains(hint), "{error:?}");
    assert!(
        !error.message.ends_with('.') && !error.message.contains('\n'),
        "{error:?}"
    );
}

fn device() -> Device {
    Device::new("kiosk-1")
}

#[tokio::test]
async fn no_server_is_a_retry_and_one_of_several_is_enough() {
    let mut dead = PostgresServer::with_tables().await;
    dead.stop();
    let error = refusal(options(&dead), &device()).await;
    assert_error(&error, ErrorKind::Retry, "unreachable", "`url`");
    assert!(
        error.message.contains(&format!(":{}", dead.port())),
        "{error}"
    );

    let server = PostgresServer::with_tables().await;
    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?sslmode=disable",
        dead.port(),
        server.port()
    );
    connect(options_for(&both), &device()).await.unwrap();
}

#[tokio::test]
async fn what_a_server_says_writes_no_line_and_commands_no_terminal() {
    let server = PostgresServer::with("", SCRAM);
    let url = server.url_as("ki%0Aosk%1B%5B31m:x", "?sslmode=disable");
    let error = refusal(options_for(&url), &device()).await;
    assert_error(&error, ErrorKind::Halt, "not_authorized", "`password_file`");
    assert!(error.message.contains("user \"ki osk [31m\""), "{error:?}");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_passed_over_and_else_waited_for() {
    let standby = PostgresServer::with_tables().await;
    standby
        .execute("alter role postgres set default_transaction_read_only = on")
        .await;
    let error = refusal(options(&standby), &device()).await;
    assert_error(
        &error,
        ErrorKind::Retry,
        "read_only",
        "target_session_attrs",
    );
    let primary = PostgresServer::with_tables().await;
    let both = |rest| {
        format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?sslmode=disable{rest}",
            standby.port(),
            primary.port()
        )
    };
    let error = refusal(options_for(&both("")), &device()).await;
    assert_eq!(error.code, "read_only");
    let device = device();
    let found = options_for(&both("&target_session_attrs=read-write"));
    let mut session = connect(found, &device).await.unwrap();
    deliver(&mut session, &device.rows([1])).await;
    assert_eq!(count(&primary.connect().await).await, 1);
    let alone = format!("{}&target_session_attrs=read-write", standby.url());
    let error = refusal(options_for(&alone), &device).await;
    assert_error(&error, ErrorKind::Retry, "read_only", "takes writes");
}

#[tokio::test]
async fn a_listener_that_never_answers_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let options = PostgresOptions {
        connect_timeout: Duration::from_millis(300),
        ..options_for(&format!("postgres://a@127.0.0.1:{port}/d?sslmode=disable"))
    };
    let begin = Instant::now();
    let error = refusal(options, &device()).await;
    assert_error(&error, ErrorKind::Retry, "unreachable", "`url`");
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_idle_session_tells_at_once_that_the_server_went_away() {
    let ends: [fn(&mut PostgresServer); 3] = [
        PostgresServer::stop,
        PostgresServer::stop_immediately,
        PostgresServer::kill,
    ];
    for end in ends {
        let mut server = PostgresServer::with_tables().await;
        let mut session = connect(options(&server), &device()).await.unwrap();
        end(&mut server);
        let error = lost(&mut session).await;
        assert_eq!(error.kind, ErrorKind::Retry, "{error:?}");
        assert!(
            ["server_leaving", "disconnected"].contains(&error.code),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_what_it_stores_later_is_no_second_copy() {
    let server = PostgresServer::with_tables().await;
    let device = device();
    let options = PostgresOptions {
        ack_timeout: Duration::from_millis(500),
        ..options(&server)
    };
    let mut session = connect(options.clone(), &device).await.unwrap();
    deliver(&mut session, &device.rows([1])).await;
    server.freeze();
    let begin = Instant::now();
    send(&mut session, &device.rows(2..=4)).await;
    let error = lost(&mut session).await;
    let took = begin.elapsed();
    assert_error(&error, ErrorKind::Retry, "no_answer", "");
    assert!(error.message.contains("3 events"), "{error}");
    // A half second of patience, and what 3 rows take on the slowest link.
    assert!(
        took > Duration::from_millis(500) && took < Duration::from_secs(2),
        "{took:?}"
    );
    session.close().await;
    server.thaw();
    let mut session = connect(options, &device).await.unwrap();
    deliver(&mut session, &device.rows(1..=4)).await;
    assert_eq!(count(&server.connect().await).await, 4);
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_is_there_twice_over_twenty_deaths_of_the_server() {
    let mut server = PostgresServer::with_tables().await;
    let device = device();
    let options = PostgresOptions {
        batch: 16,
        pipeline: Some(4),
        ..options(&server)
    };
    let mut acked = 0_u64;
    for round in 0..20_u64 {
        let mut session = connect(options.clone(), &device).await.unwrap();
        let parcels = device.rows(acked + 1..=acked + 200);
        let doubt = device.doubt(&parcels, Default::default(), Default::default());
        let back = session.read_back(&doubt).await.unwrap();
        assert!(back.complete && back.foreign.is_empty());
        send(&mut session, &parcels).await;
        // So many are confirmed, then it dies with the others on their way.
        for _ in 0..round * 3 {
            acked = stored(&mut session).await.0.get();
        }
        match round % 2 {
            0 => server.kill(),
            _ => server.stop_immediately(),
        }
        server.start_again();
        // What was confirmed is there.
        let least = count(&server.connect().await).await;
        assert!(u64::try_from(least).unwrap() >= acked, "{least} < {acked}");
    }
    let mut session = connect(options, &device).await.unwrap();
    deliver(&mut session, &device.rows(acked + 1..=acked + 200)).await;
    let rows = count(&server.connect().await).await;
    assert_eq!(u64::try_from(rows).unwrap(), acked + 200);
}

#[tokio::test]
async fn a_server_that_confirms_before_it_is_safe_lowers_the_promise() {
    let server = PostgresServer::with_tables().await;
    server
        .execute("alter role postgres set synchronous_commit = off")
        .await;
    let session = connect(options(&server), &device()).await.unwrap();
    let guarantee = session.guarantee();
    assert_eq!(guarantee.level, GuaranteeLevel::AtLeastOnce);
    assert!(
        guarantee.unmet[0].contains("synchronous_commit = on"),
        "{guarantee:?}"
    );
}

#[tokio::test]
async fn a_table_that_a_crash_of_the_server_empties_lowers_the_promise() {
    let server = PostgresServer::with_tables().await;
    let client = server.connect().await;
    for (statement, logged) in [
        ("alter table device_events set unlogged", false),
        ("alter table device_events set logged", true),
        // One of two partitions is enough.
        (
            "alter table device_events rename to one; \
             create table device_events (like one including all) partition by hash (device); \
             alter table device_events attach partition one \
             for values with (modulus 2, remainder 0); \
             create unlogged table other partition of device_events \
             for values with (modulus 2, remainder 1)",
            false,
        ),
        ("alter table other set logged", true),
    ] {
        client.batch_execute(statement).await.unwrap();
        let session = connect(options(&server), &device()).await.unwrap();
        let guarantee = session.guarantee();
        let exactly_once = guarantee.level == GuaranteeLevel::ExactlyOnce;
        assert_eq!(exactly_once, logged, "{statement}: {guarantee:?}");
        assert!(logged || guarantee.unmet[0].contains("set logged"));
    }
}

#[tokio::test]
async fn a_database_that_has_not_every_character_is_a_halt_and_no_dead_letter() {
    let server = PostgresServer::start();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        server
            .execute(&format!(
                "create database {encoding} encoding '{encoding}' locale 'C' template template0"
            ))
            .await;
        let database = encoding.to_lowercase();
        let url = server.url().replace("/postgres?", &format!("/{database}?"));
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let script = edge_outbox::sink::postgres::SCHEMA_SQL;
        client.batch_execute(script).await.unwrap();
        let error = refusal(options_for(&url), &device()).await;
        assert_error(&error, ErrorKind::Halt, "encoding", "`url`");
        assert!(error.message.contains(encoding), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_is_ended_between_the_commit_and_its_answer_leaves_one_copy() {
    // The server commits and then waits for a standby that is not there.
    let server = PostgresServer::with_tables().await;
    let setting = "alter system set synchronous_standby_names = 'nobody'";
    let client = server.connect().await;
    client.batch_execute(setting).await.unwrap();
    server.reload();
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    let parcels = device.rows(1..=3);
    let waiting = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where wait_event = 'SyncRep'";
    let ended = async {
        while client.query(waiting, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    send(&mut session, &parcels).await;
    let (error, ()) = tokio::join!(lost(&mut session), ended);
    assert_eq!(error.kind, ErrorKind::Retry);
    assert_eq!(count(&client).await, 3);
    client
        .batch_execute("alter system reset synchronous_standby_names")
        .await
        .unwrap();
    server.reload();
    let mut session = connect(options(&server), &device).await.unwrap();
    let doubt = device.doubt(&parcels, Default::default(), Default::default());
    let back = session.read_back(&doubt).await.unwrap();
    assert_eq!((back.found.len(), back.complete), (3, true));
    deliver(&mut session, &parcels).await;
    assert_eq!(count(&client).await, 3);
}

#[tokio::test]
async fn a_server_that_has_no_transactions_left_is_waited_for_and_rejects_nothing() {
    let mut server = PostgresServer::with("wal_level = logical\n", OPEN);
    server.create_tables().await;
    server.spend_transactions().await;
    let device = device();
    let mut session = connect(options(&server), &device).await.unwrap();
    for seqs in [1..=1, 1..=5] {
        let parcels = device.rows(seqs);
        send(&mut session, &parcels).await;
        for _ in &parcels {
            let (_, error) = refused(&mut session).await;
            assert_error(&error, ErrorKind::Retry, "server_full", "vacuum");
        }
    }
}

#[tokio::test]
async fn tables_of_another_version_are_refused_with_what_to_do() {
    let server = PostgresServer::with_tables().await;
    for (version, hint) in [(0, "config sql | psql"), (2, "update edge-outbox")] {
        server
            .execute(&format!(
                "update edge_outbox_schema set version = {version}"
            ))
            .await;
        let error = refusal(options(&server), &device()).await;
        assert_error(&error, ErrorKind::Halt, "schema_version", hint);
        assert!(
            error.message.contains(&format!("version {version}")),
            "{error}"
        );
    }
    // The script does not pretend either.
    let client = server.connect().await;
    let script = edge_outbox::sink::postgres::SCHEMA_SQL;
    let error = client.batch_execute(script).await.unwrap_err();
    let said = error.as_db_error().unwrap().message();
    assert!(said.contains("schema version 2"), "{said}");
    client
        .batch_execute("rollback; delete from edge_outbox_schema")
        .await
        .unwrap();
    let error = refusal(options(&server), &device()).await;
    assert_error(&error, ErrorKind::Halt, "schema_missing", "config sql");
}
