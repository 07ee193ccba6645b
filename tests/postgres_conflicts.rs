//! An equal digest is a repeat and stored once; a different one is stored beside the first.

#![cfg(feature = "postgres")]
mod support;

use edge_outbox::{seq::Seq, sink::ErrorKind};
use support::{
    conversation::{deliver, refused, send},
    device::{Device, QUIZ},
    postgres_server::PostgresServer,
    postgres_table::{connect, count, options},
};

#[tokio::test]
async fn a_repeat_is_confirmed_again_and_stored_once() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let mut parcels = device.rows(1..=30);
    deliver(&mut session, &parcels[..20]).await;
    for parcel in &mut parcels {
        parcel.redelivered = true;
    }
    // Old and new ones in one statement, in the same session and in another.
    deliver(&mut session, &parcels[10..]).await;
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &parcels).await;
    let client = server.connect().await;
    assert_eq!(count(&client).await, 30);
    // What came first stays as it came.
    let marked = "select count(*) from device_events where redelivered";
    let marked: i64 = client.query_one(marked, &[]).await.unwrap().get(0);
    assert_eq!(marked, 10);
}

#[tokio::test]
async fn another_event_at_the_same_place_is_stored_beside_the_first_and_shown_as_a_conflict() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows(1..=5)).await;
    let second = device.row_of(3, QUIZ, b"{\"score\":8}");
    deliver(&mut session, std::slice::from_ref(&second)).await;
    let client = server.connect().await;
    assert_eq!(count(&client).await, 6);
    let conflicts = client
        .query("select seq, digest from device_event_conflicts", &[])
        .await
        .unwrap();
    assert_eq!(conflicts.len(), 2);
    assert!(conflicts.iter().all(|row| row.get::<_, i64>(0) == 3));
    let digest = |row: &tokio_postgres::Row| row.get::<_, Vec<u8>>(1);
    assert!(
        conflicts
            .iter()
            .any(|row| digest(row) == second.digest.as_bytes())
    );
}

#[tokio::test]
async fn two_devices_and_two_epochs_are_no_conflict() {
    let server = PostgresServer::with_tables().await;
    for name in ["kiosk-1", "kiosk-1", "kiosk-2"] {
        let device = Device::new(name);
        let mut session = connect(options(&server), &device).await.unwrap();
        deliver(&mut session, &device.rows(1..=3)).await;
    }
    let client = server.connect().await;
    assert_eq!(count(&client).await, 9);
    let conflicts = client.query("select from device_event_conflicts", &[]);
    assert!(conflicts.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_unique_index_of_somebody_elses_swallows_nothing() {
    let server = PostgresServer::with_tables().await;
    server
        .execute("create unique index by_id on device_events (id)")
        .await;
    let (one, other) = (Device::new("kiosk-1"), Device::new("kiosk-2"));
    let mut session = connect(options(&server), &one).await.unwrap();
    deliver(&mut session, &one.rows([1])).await;
    // The same id from another device: not stored, and so never confirmed.
    let mut session = connect(options(&server), &other).await.unwrap();
    send(&mut session, &other.rows([1])).await;
    let (seq, error) = refused(&mut session).await;
    assert_eq!(seq, Seq::new(1));
    assert_eq!((error.kind, error.code), (ErrorKind::Reject, "constraint"));
    assert!(error.message.contains("constraint by_id"), "{error}");
}
