//! What of an in-doubt range arrived is asked of the table itself.

#![cfg(feature = "postgres")]
mod support;

use edge_outbox::{
    seq::Seq,
    sink::{Incarnation, MAX_FOREIGN, Position},
};
use support::{
    conversation::deliver,
    device::{Device, QUIZ},
    postgres_server::PostgresServer,
    postgres_table::{connect, options},
};

#[tokio::test]
async fn what_arrived_is_found_with_holes_and_what_did_not_is_known_to_be_absent() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows([1, 2, 3, 5, 8])).await;
    // Somebody else's events are nobody's doubt.
    let other = Device::new("kiosk-2");
    let mut elsewhere = connect(options(&server), &other).await.unwrap();
    deliver(&mut elsewhere, &other.rows(1..=20)).await;

    let mut session = connect(options(&server), &device).await.unwrap();
    let wanted = device.rows(3..=9);
    let doubt = device.doubt(&wanted, Position(7), Incarnation(7));
    let back = session.read_back(&doubt).await.unwrap();
    let found: Vec<u64> = back.found.iter().map(|(seq, _)| seq.get()).collect();
    assert_eq!(found, [3, 5, 8]);
    assert!(back.complete && back.foreign.is_empty());
}

#[tokio::test]
async fn what_another_journal_wrote_under_our_name_is_foreign_and_never_found() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    deliver(&mut session, &device.rows(1..=4)).await;
    let changed = device.row_of(5, QUIZ, b"{\"score\":8}");
    let beyond = device.row_of(7, QUIZ, b"{\"score\":9}");
    deliver(&mut session, &[changed.clone(), beyond.clone()]).await;

    let doubt = device.doubt(&device.rows(4..=6), Position(0), Incarnation(0));
    let back = session.read_back(&doubt).await.unwrap();
    assert_eq!(back.found, [(Seq::new(4), Position(0))]);
    let foreign = [(changed.seq, changed.digest), (beyond.seq, beyond.digest)];
    assert_eq!(back.foreign, foreign);
    assert!(back.complete);

    // Ours and theirs at one place: ours is found, theirs is told.
    deliver(&mut session, &device.rows([5])).await;
    let back = session.read_back(&doubt).await.unwrap();
    assert_eq!(back.found.len(), 2);
    assert_eq!(back.foreign, foreign);
}

#[tokio::test]
async fn an_answer_that_had_to_be_cut_off_does_not_pretend_to_be_complete() {
    let server = PostgresServer::with_tables().await;
    let device = Device::new("kiosk-1");
    let mut session = connect(options(&server), &device).await.unwrap();
    let many = MAX_FOREIGN as u64 * 10;
    deliver(&mut session, &device.rows(1..=many)).await;
    // With nothing in doubt everything beyond is foreign, and a few prove as much as all.
    let doubt = device.doubt(&[], Position(0), Incarnation(0));
    let back = session.read_back(&doubt).await.unwrap();
    assert_eq!((back.found.len(), back.foreign.len()), (0, MAX_FOREIGN));
    // Nothing was asked for that could be missing.
    assert!(back.complete);

    // Foreign events before ours use the room up: ours may be behind them.
    let strange: Vec<_> = (many + 1..=many * 2)
        .map(|seq| device.row_of(seq, QUIZ, b"{}"))
        .collect();
    deliver(&mut session, &strange).await;
    let mut doubt = device.doubt(&device.rows([many * 3]), Position(0), Incarnation(0));
    doubt.acked = Seq::new(many);
    let back = session.read_back(&doubt).await.unwrap();
    assert!(!back.complete && back.found.is_empty());
    assert_eq!(back.foreign.len(), MAX_FOREIGN);
}
