//! What a person reads who has set something up wrong: `edge-outbox status` of a running daemon,
//! kept as snapshots.

#![cfg(all(feature = "postgres", feature = "cli"))]
mod support;

use std::fs;

use support::{
    broken_setup::{HALTED, WAITING, assert_told},
    certificates::Authority,
    pgbouncer::PgBouncer,
    postgres_server::{PostgresServer, SCRAM},
    program::{Daemon, Home},
    server_process,
};

/// A role that is let in and may do nothing.
const KIOSK: &str = "create role kiosk login password 'right'";

/// The configuration of a sink at a URL, with more lines.
fn config(url: &str, more: &str) -> String {
    format!("[sinks.hub]\ntype = \"postgres\"\nurl = \"{url}\"\n{more}\n")
}

/// That the daemon tells what the snapshot of this name says.
fn broken(name: &str, config: &str, state: &str, fallen: &str, port: u16) -> (Home, Daemon) {
    let home = Home::with_config(config);
    let daemon = assert_told(&format!("postgres_{name}"), &home, state, fallen, port);
    (home, daemon)
}

#[tokio::test]
async fn a_wrong_password() {
    let server = PostgresServer::with("", SCRAM);
    server.execute(KIOSK).await;
    let url = server.url_as("kiosk:wrong-one", "?sslmode=disable");
    broken(
        "wrong_password",
        &config(&url, ""),
        HALTED,
        "sink.login",
        server.port(),
    );
}

#[tokio::test]
async fn a_wrong_authority() {
    let files = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = Authority::new(files.path(), "school").sign("server");
    fs::copy(server.certificate, dir.path().join("server.pem")).unwrap();
    fs::copy(server.key, dir.path().join("server.key")).unwrap();
    let roots = Authority::new(files.path(), "strangers").roots();
    let server = PostgresServer::with_tls(dir, "", support::postgres_server::OPEN);
    let more = format!("[sinks.hub.tls]\nroots = \"{}\"", roots.display());
    let config = config(&server.url_as("postgres", ""), &more);
    broken(
        "wrong_authority",
        &config,
        HALTED,
        "sink.tls",
        server.port(),
    );
}

#[tokio::test]
async fn a_server_without_encryption() {
    let server = PostgresServer::with_tables().await;
    let config = config(&server.url_as("postgres", ""), "");
    broken("no_encryption", &config, HALTED, "sink.tls", server.port());
}

#[tokio::test]
async fn no_such_database() {
    let server = PostgresServer::start();
    let url = server.url().replace("/postgres?", "/edupulse?");
    broken(
        "no_such_database",
        &config(&url, ""),
        HALTED,
        "postgres.database",
        server.port(),
    );
}

#[tokio::test]
async fn missing_tables_and_delivery_once_they_are_made() {
    let server = PostgresServer::start();
    let config = config(&server.url(), "");
    let (home, _daemon) = broken(
        "missing_tables",
        &config,
        HALTED,
        "postgres.schema",
        server.port(),
    );
    // What the hint says to run, as far as psql.
    server.execute(&home.ok(&["config", "sql"])).await;
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "caught_up");
}

#[tokio::test]
async fn a_host_that_is_not_reached() {
    let port = server_process::free_port();
    let url = format!("postgres://kiosk@127.0.0.1:{port}/edupulse");
    broken(
        "unreachable_host",
        &config(&url, ""),
        WAITING,
        "sink.reach",
        port,
    );
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let url = "postgres://kiosk@hub.invalid:6432/edupulse";
    broken(
        "unknown_name",
        &config(url, ""),
        WAITING,
        "sink.resolve",
        6432,
    );
}

#[tokio::test]
async fn no_right_to_insert() {
    let server = PostgresServer::with_tables().await;
    server.execute(KIOSK).await;
    server
        .execute("grant select on device_events, edge_outbox_schema to kiosk")
        .await;
    let url = server.url_as("kiosk", "?sslmode=disable");
    broken(
        "no_right_to_insert",
        &config(&url, ""),
        HALTED,
        "postgres.rights",
        server.port(),
    );
}

#[tokio::test]
async fn what_a_pooler_does_not_let_in() {
    let server = PostgresServer::start();
    let pooler = PgBouncer::guarding(&server);
    let port = pooler.port();
    for (name, login, database, fallen) in [
        (
            "pooler_wrong_password",
            "kiosk:wrong-one",
            "postgres",
            "sink.login",
        ),
        (
            "pooler_unknown_database",
            "kiosk:right",
            "edupulse",
            "postgres.database",
        ),
        // A pooler makes whoever comes next wait for a while; so only the daemon knows.
        (
            "pooler_no_such_database",
            "kiosk:right",
            "gone",
            "sink.delivery",
        ),
    ] {
        let url = format!("postgres://{login}@127.0.0.1:{port}/{database}?sslmode=disable");
        broken(name, &config(&url, ""), HALTED, fallen, port);
    }
}
