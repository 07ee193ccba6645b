//! What a person reads who has set something up wrong: `edge-outbox status` of a running daemon,
//! kept as snapshots.

#![cfg(all(feature = "postgres", feature = "cli"))]
mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use support::{
    certificates::Authority,
    postgres_server::{PostgresServer, SCRAM},
    program::{Daemon, Home},
    server_process,
    snapshot::assert_snapshot,
};

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// A role that is let in and may do nothing.
const KIOSK: &str = "create role kiosk login password 'right'";

/// The configuration of a sink at a URL, with more lines.
fn config(url: &str, more: &str) -> String {
    format!("[sinks.hub]\ntype = \"postgres\"\nurl = \"{url}\"\n{more}\n")
}

/// What `status` says of the sink, once it has come to this state, without what differs from run
/// to run.
async fn status(home: &Home, state: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = home.ok(&["status"]);
        let (_, sink) = text.split_once("sink       hub").expect("the sink");
        if sink.contains(state) && (state == "everything delivered" || sink.contains("trouble")) {
            // The moment stands in brackets at the end of its line.
            let lines = sink.lines().map(|line| match line.rsplit_once(" (20") {
                Some((words, moment)) if moment.ends_with("Z)") => words,
                _ => line,
            });
            return format!("sink       hub{}", lines.collect::<Vec<_>>().join("\n"));
        }
        assert!(Instant::now() < deadline, "still {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the daemon with this configuration and keeps what it comes to.
async fn broken(name: &str, config: &str, state: &str, port: u16) -> (Home, Daemon) {
    let home = Home::with_config(config);
    let daemon = home.daemon();
    let text = status(&home, state).await;
    assert!(!text.contains("wrong-one"), "a password is shown: {text}");
    let changing = [
        (port.to_string(), "PORT"),
        // Each system's resolver has words of its own.
        ("Name or service not known".into(), "RESOLVER"),
        ("Temporary failure in name resolution".into(), "RESOLVER"),
        ("No address associated with hostname".into(), "RESOLVER"),
    ];
    let changing: Vec<(&str, &str)> = changing
        .iter()
        .map(|(from, to)| (from.as_str(), *to))
        .collect();
    assert_snapshot(&format!("postgres_{name}"), &text, &changing);
    (home, daemon)
}

const HALTED: &str = "halted";
const WAITING: &str = "waiting to try again";

#[tokio::test]
async fn a_wrong_password() {
    let server = PostgresServer::with("", SCRAM);
    server.execute(KIOSK).await;
    let url = server.url_as("kiosk:wrong-one", "?sslmode=disable");
    broken("wrong_password", &config(&url, ""), HALTED, server.port()).await;
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
    broken("wrong_authority", &config, HALTED, server.port()).await;
}

#[tokio::test]
async fn a_server_without_encryption() {
    let server = PostgresServer::with_tables().await;
    let config = config(&server.url_as("postgres", ""), "");
    broken("no_encryption", &config, HALTED, server.port()).await;
}

#[tokio::test]
async fn no_such_database() {
    let server = PostgresServer::start();
    let url = server.url().replace("/postgres?", "/edupulse?");
    broken("no_such_database", &config(&url, ""), HALTED, server.port()).await;
}

#[tokio::test]
async fn missing_tables_and_delivery_once_they_are_made() {
    let server = PostgresServer::start();
    let config = config(&server.url(), "");
    let (home, _daemon) = broken("missing_tables", &config, HALTED, server.port()).await;
    // What the hint says to run, as far as psql.
    server.execute(&home.ok(&["config", "sql"])).await;
    status(&home, "everything delivered").await;
}

#[tokio::test]
async fn a_host_that_is_not_reached() {
    let port = server_process::free_port();
    let url = format!("postgres://kiosk@127.0.0.1:{port}/edupulse");
    broken("unreachable_host", &config(&url, ""), WAITING, port).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let url = "postgres://kiosk@hub.invalid:6432/edupulse";
    broken("unknown_name", &config(url, ""), WAITING, 6432).await;
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
        server.port(),
    )
    .await;
}
