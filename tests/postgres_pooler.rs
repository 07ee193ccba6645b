//! A pooler in transaction mode may stand between: nothing of a session is relied on.

#![cfg(feature = "postgres")]
mod support;

use edge_outbox::sink::{Incarnation, Position, postgres::PostgresOptions};
use support::{
    conversation::{deliver, send, stored},
    device::{Device, QUIZ},
    pgbouncer::PgBouncer,
    postgres_server::PostgresServer,
    postgres_table::{connect, count, options_for},
};

#[tokio::test]
async fn devices_that_share_two_connections_all_deliver() {
    let server = PostgresServer::with_tables().await;
    let bouncer = PgBouncer::before(&server);
    let options = PostgresOptions {
        batch: 10,
        ..options_for(&bouncer.url())
    };
    let mut fleet = Vec::new();
    for number in 0..6 {
        let device = Device::new(&format!("kiosk-{number}"));
        let session = connect(options.clone(), &device).await;
        let session = session.unwrap_or_else(|error| panic!("{error}: {}", bouncer.log()));
        fleet.push((device, session));
    }
    let payload = format!("\"{}\"", "x".repeat(3_000)).into_bytes();
    for round in 0..5_u64 {
        let seqs = || round * 50 + 1..=round * 50 + 50;
        // All of them have statements on their way at the same time.
        for (device, session) in &mut fleet {
            // Statements of more than one of the pooler's buffers.
            let rows = seqs().map(|seq| device.row_of(seq, QUIZ, &payload));
            send(session, &rows.collect::<Vec<_>>()).await;
        }
        for (_, session) in &mut fleet {
            for seq in seqs() {
                assert_eq!(stored(session).await.0.get(), seq);
            }
        }
    }
    for (device, session) in &mut fleet {
        let wanted = (240..=260).map(|seq| device.row_of(seq, QUIZ, &payload));
        let wanted: Vec<_> = wanted.collect();
        let doubt = device.doubt(&wanted, Position(0), Incarnation(0));
        let back = session.read_back(&doubt).await.unwrap();
        assert_eq!((back.found.len(), back.complete), (11, true));
    }
    let client = server.connect().await;
    assert_eq!(count(&client).await, 6 * 250);
    let busy = "select count(*) from pg_stat_activity where client_port > 0";
    let connections: i64 = client.query_one(busy, &[]).await.unwrap().get(0);
    assert!(connections <= 2, "{connections} connections");
}

#[tokio::test]
async fn a_server_that_comes_back_behind_the_pooler_is_found_again() {
    let mut server = PostgresServer::with_tables().await;
    let bouncer = PgBouncer::before(&server);
    let device = Device::new("kiosk-1");
    let mut session = connect(options_for(&bouncer.url()), &device).await.unwrap();
    deliver(&mut session, &device.rows([1])).await;
    server.stop();
    server.start_again();
    send(&mut session, &device.rows([2])).await;
    // Whatever the pooler makes of it, either it is stored or the session is over.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        assert!(std::time::Instant::now() < deadline, "{}", bouncer.log());
        let Ok(mut again) = connect(options_for(&bouncer.url()), &device).await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        deliver(&mut again, &device.rows(1..=3)).await;
        break;
    }
    assert_eq!(count(&server.connect().await).await, 3);
}
