//! The servers of the other tests are what those tests take them for.

#![cfg(feature = "postgres")]
mod support;

use std::time::Duration;

use support::{
    pgbouncer::PgBouncer,
    postgres_server::{PostgresServer, SCRAM},
};
use tokio_postgres::NoTls;

#[tokio::test]
async fn what_a_server_holds_outlives_its_stop_and_its_death_but_not_the_test() {
    let mut server = PostgresServer::start();
    let (url, dir) = (server.url(), server.dir().to_owned());
    server.execute("create table t (n int)").await;
    let ends: [fn(&mut PostgresServer); 3] = [
        PostgresServer::stop,
        PostgresServer::stop_immediately,
        PostgresServer::kill,
    ];
    for end in ends {
        server.execute("insert into t values (1)").await;
        end(&mut server);
        assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
        server.start_again();
    }
    let client = server.connect().await;
    let row = client.query_one("select count(*) from t", &[]).await;
    assert_eq!(row.unwrap().get::<_, i64>(0), 3);
    drop(server);
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_frozen_server_answers_nothing_until_it_is_thawed() {
    let server = PostgresServer::start();
    let client = server.connect().await;
    server.freeze();
    let answer = client.simple_query("select 1");
    tokio::pin!(answer);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut answer).await;
    assert!(early.is_err());
    server.thaw();
    assert!(answer.await.is_ok());
}

#[tokio::test]
async fn a_password_is_asked_for_where_the_test_wants_it() {
    let server = PostgresServer::with("", SCRAM);
    server
        .execute("create role kiosk login password 'secret'")
        .await;
    let connect = |user: &str| {
        let url = server.url_as(user, "?sslmode=disable");
        async move { tokio_postgres::connect(&url, NoTls).await.is_ok() }
    };
    assert!(connect("kiosk:secret").await);
    assert!(!connect("kiosk:wrong").await);
}

#[tokio::test]
async fn pgbouncer_keeps_no_prepared_statement() {
    let server = PostgresServer::start();
    let bouncer = PgBouncer::before(&server);
    let connect = || async {
        let connected = tokio_postgres::connect(&bouncer.url(), NoTls).await;
        let (client, connection) = connected.unwrap_or_else(|e| panic!("{e}: {}", bouncer.log()));
        tokio::spawn(connection);
        client
    };
    let (first, second) = (connect().await, connect().await);
    let prepared = first.prepare("select 1").await.unwrap();
    // Somebody else's transaction takes the connection that knows the statement.
    second.batch_execute("begin; select 1").await.unwrap();
    assert!(first.query(&prepared, &[]).await.is_err());
    assert_eq!(first.query_typed("select 1", &[]).await.unwrap().len(), 1);
}
