//! A statement that the server refuses: the row that spoils it is found, and the others pass.

#![cfg(feature = "postgres")]
mod support;

use std::{collections::BTreeMap, time::Duration};

use edge_outbox::{
    Event, Outbox,
    forwarder::{Forwarder, SinkSpec},
    sink::{
        ErrorKind, Outcome, Session, Sink, SinkError,
        postgres::{PostgresOptions, PostgresSink},
    },
};
use support::{
    conversation::{deliver, lost, next, send},
    device::{Device, QUIZ},
    postgres_server::PostgresServer,
    postgres_table::{connect, count, options},
};
use tokio::time::timeout;
use uuid::Uuid;

/// What became of each of so many events.
async fn outcomes(session: &mut Session, events: usize) -> BTreeMap<u64, Result<(), SinkError>> {
    let mut all = BTreeMap::new();
    while all.len() < events {
        let (seq, result) = match next(session).await {
            Outcome::Stored { seq, .. } => (seq, Ok(())),
            Outcome::Refused { seq, error } => (seq, Err(error)),
            other => panic!("{other:?}"),
        };
        assert!(all.insert(seq.get(), result).is_none(), "{seq} twice");
    }
    all
}

fn poison(all: &BTreeMap<u64, Result<(), SinkError>>) -> Vec<u64> {
    let refused = all.iter().filter(|(_, result)| result.is_err());
    refused.map(|(seq, _)| *seq).collect()
}

#[tokio::test]
async fn poison_rows_are_found_and_all_others_are_stored() {
    let server = PostgresServer::with_tables().await;
    server
        .execute("alter table device_events add constraint mild check (event_type <> 'bitter.v1')")
        .await;
    let device = Device::new("kiosk-1");
    let server_options = options(&server);
    for (round, bad) in [vec![1], vec![300], vec![64, 65, 130], (101..=160).collect()]
        .into_iter()
        .enumerate()
    {
        let options = PostgresOptions {
            batch: 64,
            pipeline: Some(round + 1),
            ..server_options.clone()
        };
        let mut session = connect(options, &device).await.unwrap();
        let base = round as u64 * 300;
        let parcels: Vec<_> = (1..=300)
            .map(|seq| {
                let kind = if bad.contains(&seq) {
                    "bitter.v1"
                } else {
                    QUIZ
                };
                device.row_of(base + seq, kind, b"{\"name\":\"secret\"}")
            })
            .collect();
        send(&mut session, &parcels).await;
        let all = outcomes(&mut session, 300).await;
        let expected: Vec<u64> = bad.iter().map(|seq| base + seq).collect();
        assert_eq!(poison(&all), expected);
        let error = all[&expected[0]].clone().unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::Reject, "constraint"));
        // A constraint that refuses everything is set up wrong: the forwarder has to know.
        assert!(error.limit);
        assert!(error.message.contains("constraint mild"), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    assert_eq!(count(&server.connect().await).await, 1_200 - 65);
}

#[tokio::test]
async fn outcomes_are_told_in_order_though_statements_behind_a_refused_one_are_answered_before() {
    let server = PostgresServer::with_tables().await;
    server
        .execute("alter table device_events add constraint mild check (event_type <> 'bitter.v1')")
        .await;
    let device = Device::new("kiosk-1");
    let options = PostgresOptions {
        batch: 4,
        pipeline: Some(4),
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    // Statements of four: two spoiled, a good one between, one of which only the first is bad.
    let bad = [3, 4, 5, 13];
    let parcels: Vec<_> = (1..=20)
        .map(|seq| match bad.contains(&seq) {
            true => device.row_of(seq, "bitter.v1", b"{}"),
            false => device.row_of(seq, QUIZ, b"{}"),
        })
        .collect();
    send(&mut session, &parcels).await;
    for seq in 1..=20 {
        let (told, is_stored) = match next(&mut session).await {
            Outcome::Stored { seq, .. } => (seq, true),
            Outcome::Refused { seq, .. } => (seq, false),
            other => panic!("{other:?}"),
        };
        assert_eq!((told.get(), is_stored), (seq, !bad.contains(&seq)));
    }
}

#[tokio::test]
async fn what_a_trigger_says_about_a_row_is_left_to_the_servers_log() {
    let server = PostgresServer::with_tables().await;
    server
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin \
             if new.seq = 2 then raise exception 'no: %', convert_from(new.payload, 'UTF8'); end if; \
             return new; end $$; \
             create trigger refuse before insert on device_events \
             for each row execute function refuse()",
        )
        .await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    send(&mut session, &device.rows(1..=3)).await;
    let all = outcomes(&mut session, 3).await;
    assert_eq!(poison(&all), [2]);
    let error = all[&2].clone().unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Reject, "raised"));
    assert!(error.message.contains("event 2") && error.message.contains("P0001"));
    assert!(!error.message.contains("score") && server.log().contains("score"));
}

#[tokio::test]
async fn what_a_trigger_says_is_left_to_the_servers_log_whatever_sqlstate_it_uses() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    for (sqlstate, kind) in [
        ("40001", ErrorKind::Retry),
        ("57014", ErrorKind::Retry),
        ("42501", ErrorKind::Halt),
        ("42P01", ErrorKind::Halt),
        ("ZZ001", ErrorKind::Halt),
    ] {
        server
            .execute(&format!(
                "create or replace function refuse() returns trigger language plpgsql as $$ begin \
                 raise exception 'no: %', convert_from(new.payload, 'UTF8') \
                 using errcode = '{sqlstate}'; end $$; \
                 create or replace trigger refuse before insert on device_events \
                 for each row execute function refuse()"
            ))
            .await;
        let mut session = connect(options(&server), &device).await.unwrap();
        send(&mut session, &device.rows([1])).await;
        let error = match next(&mut session).await {
            Outcome::Refused { error, .. } | Outcome::Lost(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(sqlstate), "{error}");
        // What it lacks is no right and no table of ours.
        let hint = error.hint.clone().unwrap_or_default();
        assert!(
            kind == ErrorKind::Retry || hint.contains("see to the triggers"),
            "{hint}"
        );
        assert!(!format!("{error:?}").contains("score"), "{error:?}");
    }
    assert!(server.log().contains("score"));
}

#[tokio::test]
async fn what_passes_by_itself_is_a_retry_and_the_connection_stays() {
    let server = PostgresServer::with_tables().await;
    server
        .execute("alter role postgres set lock_timeout = '100ms'")
        .await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let client = server.connect().await;
    client
        .batch_execute("begin; lock table device_events")
        .await
        .unwrap();
    send(&mut session, &device.rows(1..=3)).await;
    for (seq, result) in outcomes(&mut session, 3).await {
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind, error.code),
            (ErrorKind::Retry, "server_error"),
            "{seq}"
        );
        assert!(error.message.contains("55P03"), "{error}");
    }
    client.batch_execute("commit").await.unwrap();
    deliver(&mut session, &device.rows(1..=3)).await;
}

#[tokio::test]
async fn a_right_or_a_table_that_goes_away_is_a_halt_that_says_what_to_run() {
    let server = PostgresServer::with_tables().await;
    server
        .execute(
            "create role kiosks login; grant insert on device_events to kiosks; \
             grant select (device, epoch, seq, digest) on device_events to kiosks; \
             grant select on edge_outbox_schema to kiosks",
        )
        .await;
    let device = Device::new("kiosk-1");
    let options =
        support::postgres_table::options_for(&server.url_as("kiosks", "?sslmode=disable"));
    // The rights that the script names are enough.
    let mut session = connect(options, &device).await.unwrap();
    deliver(&mut session, &device.rows(1..=3)).await;
    let doubt = device.doubt(&device.rows(1..=3), Default::default(), Default::default());
    let back = session.read_back(&doubt).await.unwrap();
    assert_eq!((back.found.len(), back.complete), (3, true));

    server
        .execute("revoke insert on device_events from kiosks")
        .await;
    send(&mut session, &device.rows([4])).await;
    let error = lost(&mut session).await;
    assert_eq!((error.kind, error.code), (ErrorKind::Halt, "not_permitted"));
    assert!(
        error
            .hint
            .unwrap()
            .contains("grant insert on device_events")
    );

    let mut session = connect(support::postgres_table::options(&server), &device)
        .await
        .unwrap();
    server.execute("drop table device_events cascade").await;
    send(&mut session, &device.rows([4])).await;
    let error = lost(&mut session).await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Halt, "schema_missing")
    );
    assert!(
        error
            .hint
            .unwrap()
            .contains("edge-outbox config sql | psql")
    );
}

#[tokio::test]
async fn a_row_without_a_partition_is_a_halt_and_no_dead_letter() {
    let server = PostgresServer::with_tables().await;
    server
        .execute(
            "alter table device_events rename to one; \
             create table device_events (like one including all) partition by range (seq); \
             alter table device_events attach partition one for values from (1) to (4)",
        )
        .await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows(1..=3)).await;
    send(&mut session, &device.rows([4])).await;
    let error = lost(&mut session).await;
    assert_eq!((error.kind, error.code), (ErrorKind::Halt, "no_partition"));
    assert!(error.hint.unwrap().contains("partition"));
    server
        .execute("create table two partition of device_events default")
        .await;
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows(3..=4)).await;
    assert_eq!(count(&server.connect().await).await, 4);
}

#[tokio::test]
async fn a_constraint_that_refuses_everything_makes_no_dead_letter_of_a_backlog() {
    let server = PostgresServer::with_tables().await;
    server
        .execute("alter table device_events add constraint never check (seq < 0) not valid")
        .await;
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::builder(dir.path()).open().unwrap();
    let events = (0..500).map(|number| {
        let event = Event::builder(QUIZ, Uuid::from_u128(number));
        event.payload("{}").build().unwrap()
    });
    outbox.append_batch(events.collect()).await.unwrap();
    let sink = Sink::Postgres(PostgresSink::new(options(&server)).unwrap());
    let spec = SinkSpec::new("postgres", sink);
    let forwarder = Forwarder::new(outbox.clone(), vec![spec]);
    let drained = timeout(
        Duration::from_secs(10),
        forwarder.drain(Duration::from_secs(3)),
    );
    drained.await.unwrap().unwrap();
    let status = outbox.status().borrow().sinks["postgres"].clone();
    assert_eq!(status.dead_letters, 0, "{status:?}");
    assert_eq!(status.last_error.unwrap().kind, "halt");
    server
        .execute("alter table device_events drop constraint never")
        .await;
    let sink = Sink::Postgres(PostgresSink::new(options(&server)).unwrap());
    let spec = SinkSpec::new("postgres", sink);
    let forwarder = Forwarder::new(outbox.clone(), vec![spec]);
    forwarder.drain(Duration::from_secs(10)).await.unwrap();
    let tail = outbox.status().borrow().tail;
    let rows = count(&server.connect().await).await;
    assert_eq!(u64::try_from(rows).unwrap(), tail.get());
    outbox.close().await;
}
