//! A server that reports no error and does not store a row. Nothing of the kind is ever confirmed:
//! the sink halts, says what to mend, and delivers once it is mended.

#![cfg(feature = "postgres")]
mod support;

use std::time::Duration;

use edge_outbox::{
    Event, Outbox,
    forwarder::{Forwarder, SinkSpec},
    sink::{
        ErrorKind, Outcome, Session, Sink, SinkError,
        postgres::{PostgresOptions, PostgresSink, SCHEMA_SQL},
    },
};
use support::{
    conversation::{deliver, lost, next, send},
    device::{Device, QUIZ},
    postgres_server::PostgresServer,
    postgres_table::{connect, count, options, options_for},
};
use uuid::Uuid;

/// A trigger before each insert, with this in its body.
fn trigger(body: &str) -> String {
    format!(
        "create function meddle() returns trigger language plpgsql as $$ begin {body} end $$; \
         create trigger meddle before insert on device_events \
         for each row execute function meddle()"
    )
}

/// The seqs that are confirmed, and how the session ends.
async fn until_lost(session: &mut Session) -> (Vec<u64>, SinkError) {
    let mut stored = Vec::new();
    loop {
        match next(session).await {
            Outcome::Stored { seq, .. } => stored.push(seq.get()),
            Outcome::Lost(error) => return (stored, error),
            other => panic!("{other:?}"),
        }
    }
}

fn assert_left_out(error: &SinkError, first: u64) {
    assert_eq!((error.kind, error.code), (ErrorKind::Halt, "left_out"));
    let first = format!("event {first}");
    assert!(error.message.ends_with(&first), "{error}");
    let hint = error.hint.as_deref().unwrap();
    assert!(
        hint.contains("trigger on `device_events`") && hint.contains("`url`"),
        "{hint}"
    );
}

#[tokio::test]
async fn a_row_that_a_trigger_throws_away_is_never_confirmed() {
    let server = PostgresServer::with_tables().await;
    server
        .execute(&trigger(
            "if new.event_type = 'bitter.v1' then return null; end if; return new;",
        ))
        .await;
    let device = Device::new("kiosk-1");
    let mut parcels = device.rows(1..=10);
    parcels[3] = device.row_of(4, "bitter.v1", b"{}");
    parcels[6] = device.row_of(7, "bitter.v1", b"{}");
    for batch in [1, 10] {
        let options = PostgresOptions {
            batch,
            ..options(&server)
        };
        let mut session = connect(options, &device).await.unwrap();
        send(&mut session, &parcels).await;
        let (stored, error) = until_lost(&mut session).await;
        assert_left_out(&error, 4);
        assert!(!stored.contains(&4) && !stored.contains(&7), "{stored:?}");
        assert!(stored.starts_with(&[1, 2, 3]), "{stored:?}");
    }
    server.execute("drop trigger meddle on device_events").await;
    let mut session = connect(options(&server), &device).await.unwrap();
    let doubt = device.doubt(&parcels, Default::default(), Default::default());
    let back = session.read_back(&doubt).await.unwrap();
    assert_eq!((back.found.len(), back.complete), (8, true));
    deliver(&mut session, &parcels).await;
    assert_eq!(count(&server.connect().await).await, 10);
}

/// The server is asked about the first statement while it answers the second, whose rows have to be
/// taken in for that: the client holds only so many that nobody reads.
#[tokio::test]
async fn a_full_statement_of_repeats_does_not_wait_for_the_one_behind_it() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    let options = PostgresOptions {
        batch: 1_024,
        pipeline: Some(2),
        ..options(&server)
    };
    let mut session = connect(options, &device).await.unwrap();
    let parcels = device.rows(1..=3_072);
    let (repeats, all) = (&parcels[..1_024], &parcels);
    deliver(&mut session, repeats).await;
    deliver(&mut session, all).await;
    assert_eq!(count(&server.connect().await).await, 3_072);
}

#[tokio::test]
async fn a_row_that_a_trigger_stores_under_another_key_is_never_confirmed() {
    let server = PostgresServer::with_tables().await;
    for change in [
        "device := upper(new.device)",
        "epoch := gen_random_uuid()",
        "seq := new.seq + 100",
        "digest := sha256(new.digest)",
    ] {
        let body = format!("if new.seq = 2 then new.{change}; end if; return new;");
        server.execute(&trigger(&body)).await;
        let device = Device::new("kiosk-1");
        let mut session = connect(options(&server), &device).await.unwrap();
        send(&mut session, &device.rows([2])).await;
        assert_left_out(&lost(&mut session).await, 2);
        // Once more, as it comes from the outbox after the halt.
        let mut session = connect(options(&server), &device).await.unwrap();
        send(&mut session, &device.rows(1..=3)).await;
        let (stored, error) = until_lost(&mut session).await;
        assert_eq!(stored, [1, 3], "{change}");
        assert_left_out(&error, 2);
        server.execute("drop function meddle cascade").await;
    }
}

#[tokio::test]
async fn a_rule_or_a_view_that_does_something_instead_is_a_halt() {
    let device = Device::new("kiosk-1");
    let server = PostgresServer::with_tables().await;
    for instead in [
        "create rule meddle as on insert to device_events do instead nothing",
        "create rule meddle as on insert to device_events where new.seq = 2 do instead nothing",
    ] {
        server.execute(instead).await;
        let mut session = connect(options(&server), &device).await.unwrap();
        send(&mut session, &device.rows(1..=3)).await;
        let (stored, error) = until_lost(&mut session).await;
        assert_eq!((stored.as_slice(), error.kind), (&[][..], ErrorKind::Halt));
        assert!(error.message.contains("0A000"), "{error}");
        server.execute("drop rule meddle on device_events").await;
    }
    server
        .execute(
            "alter table device_events rename to elsewhere; \
             create view device_events as select * from elsewhere; \
             create function meddle() returns trigger language plpgsql as $$ \
             begin return new; end $$; \
             create trigger meddle instead of insert on device_events \
             for each row execute function meddle()",
        )
        .await;
    let mut session = connect(options(&server), &device).await.unwrap();
    send(&mut session, &device.rows(1..=3)).await;
    let (stored, error) = until_lost(&mut session).await;
    assert_eq!((stored.as_slice(), error.kind), (&[][..], ErrorKind::Halt));
    assert_eq!(count(&server.connect().await).await, 0);
}

#[tokio::test]
async fn a_policy_that_refuses_or_hides_a_row_is_a_halt_that_names_it() {
    let server = PostgresServer::with_tables().await;
    server
        .execute(
            "create role kiosks login; grant insert on device_events to kiosks; \
             grant select (device, epoch, seq, digest) on device_events to kiosks; \
             grant select on edge_outbox_schema to kiosks; \
             alter table device_events enable row level security; \
             create policy put on device_events for insert with check (seq <> 2)",
        )
        .await;
    let kiosks = || options_for(&server.url_as("kiosks", "?sslmode=disable"));
    let device = Device::new("kiosk-1");
    for policy in [
        "create policy look on device_events for select using (true)",
        "drop policy put on device_events; drop policy look on device_events; \
         create policy put on device_events for insert with check (true); \
         create policy look on device_events for select using (seq <> 2)",
    ] {
        server.execute(policy).await;
        let mut session = connect(kiosks(), &device).await.unwrap();
        send(&mut session, &device.rows([2])).await;
        let error = lost(&mut session).await;
        assert_eq!((error.kind, error.code), (ErrorKind::Halt, "not_permitted"));
        let hint = error.hint.unwrap();
        assert!(hint.contains("policies of `device_events`"), "{hint}");
        assert_eq!(count(&server.connect().await).await, 0);
    }
    // One that is there, and is hidden, cannot be told from one that is not.
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows(1..=3)).await;
    let mut session = connect(kiosks(), &device).await.unwrap();
    send(&mut session, &device.rows([2])).await;
    assert_eq!(lost(&mut session).await.kind, ErrorKind::Halt);
    server
        .execute("drop policy look on device_events; create policy look on device_events for select using (true)")
        .await;
    let mut session = connect(kiosks(), &device).await.unwrap();
    deliver(&mut session, &device.rows(1..=4)).await;
    assert_eq!(count(&server.connect().await).await, 4);
}

#[tokio::test]
async fn a_backlog_behind_such_a_trigger_loses_nothing_and_is_delivered_once_it_is_gone() {
    let server = PostgresServer::with_tables().await;
    server
        .execute(&trigger(
            "if new.seq % 3 = 0 then return null; end if; return new;",
        ))
        .await;
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::builder(dir.path()).open().unwrap();
    let events = (0..500).map(|number| {
        let event = Event::builder(QUIZ, Uuid::from_u128(number));
        event.payload("{}").build().unwrap()
    });
    outbox.append_batch(events.collect()).await.unwrap();
    let forwarder = || {
        let sink = Sink::Postgres(PostgresSink::new(options(&server)).unwrap());
        Forwarder::new(outbox.clone(), vec![SinkSpec::new("hub", sink)])
    };
    forwarder().drain(Duration::from_secs(3)).await.unwrap();
    let status = outbox.status().borrow().sinks["hub"].clone();
    assert_eq!(status.dead_letters, 0, "{status:?}");
    // Nothing behind the first of them is settled.
    assert_eq!(status.acked.get(), 2, "{status:?}");
    let error = status.last_error.unwrap();
    assert_eq!((&*error.kind, &*error.code), ("halt", "left_out"));
    server.execute("drop trigger meddle on device_events").await;
    forwarder().drain(Duration::from_secs(10)).await.unwrap();
    let tail = outbox.status().borrow().tail;
    let rows = count(&server.connect().await).await;
    assert_eq!(u64::try_from(rows).unwrap(), tail.get());
    outbox.close().await;
}

#[tokio::test]
async fn the_policies_of_the_script_keep_devices_out_of_each_others_rows() {
    let server = PostgresServer::with_tables().await;
    // What the script says of it in its comments, as somebody would copy it.
    let text: Vec<&str> = SCHEMA_SQL
        .lines()
        .filter_map(|line| line.strip_prefix("--     "))
        .filter(|line| !line.contains('|'))
        .collect();
    let text = text.join("\n").replace(
        "create role kiosks login password '...';",
        "create role kiosks;",
    );
    assert!(text.contains("enable row level security"), "{text}");
    server.execute(&text).await;
    server
        .execute(
            "create role \"kiosk-1\" login in role kiosks; \
             create role \"kiosk-2\" login in role kiosks",
        )
        .await;
    let as_role = |role: &str| options_for(&server.url_as(role, "?sslmode=disable"));
    let (one, two) = (Device::new("kiosk-1"), Device::new("kiosk-2"));
    // Whoever knows the digest of an event could else be there first, with another payload.
    let mut squatter = connect(as_role("kiosk-2"), &two).await.unwrap();
    send(&mut squatter, &one.rows([1])).await;
    let error = lost(&mut squatter).await;
    assert_eq!((error.kind, error.code), (ErrorKind::Halt, "not_permitted"));
    for (role, device) in [("kiosk-1", &one), ("kiosk-2", &two)] {
        let mut session = connect(as_role(role), device).await.unwrap();
        deliver(&mut session, &device.rows(1..=5)).await;
        deliver(&mut session, &device.rows(1..=5)).await;
        let doubt = device.doubt(&device.rows(1..=5), Default::default(), Default::default());
        assert_eq!(session.read_back(&doubt).await.unwrap().found.len(), 5);
    }
    // Nor does one see what another sent.
    let mut session = connect(as_role("kiosk-2"), &one).await.unwrap();
    let doubt = one.doubt(&one.rows(1..=5), Default::default(), Default::default());
    assert!(session.read_back(&doubt).await.unwrap().found.is_empty());
    assert_eq!(count(&server.connect().await).await, 10);
}
