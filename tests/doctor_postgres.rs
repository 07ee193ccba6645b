//! `edge-outbox doctor` at a real Postgres: everything well, and what hides in a database.

#![cfg(all(feature = "cli", feature = "postgres"))]
mod support;

use support::{
    doctor::Report, pgbouncer::PgBouncer, postgres_server::OPEN, postgres_server::PostgresServer,
    postgres_table::count, program::Home,
};

const NONE: [String; 0] = [];

/// What a device's role may do, as the script says.
const KIOSK: &str = "create role kiosk login;
    grant insert on device_events to kiosk;
    grant select (device, epoch, seq, digest) on device_events to kiosk;
    grant select on edge_outbox_schema to kiosk";

/// With the tables and the role, and nothing left to a crash.
async fn server() -> PostgresServer {
    let server = PostgresServer::with("fsync = on\n", OPEN);
    server.create_tables().await;
    server.execute(KIOSK).await;
    server
}

fn look(url: &str, keys: &str) -> Report {
    let home = Home::with_config(&format!(
        "[device]\nname = \"kiosk-7\"\n[sinks.hub]\ntype = \"postgres\"\nurl = \"{url}\"\n{keys}"
    ));
    Report::of(&home, &["--sink", "hub"])
}

fn as_kiosk(server: &PostgresServer) -> Report {
    look(&server.url_as("kiosk", "?sslmode=disable"), "")
}

#[tokio::test]
async fn a_good_database_is_ok_in_every_respect_and_nothing_runs_in_it() {
    let server = server().await;
    // Where the statement ran, even for no rows, this would.
    server
        .execute(
            "create function noticed() returns trigger language plpgsql as \
             $$ begin raise exception 'it ran'; end $$",
        )
        .await;
    let report = as_kiosk(&server);
    let expected = [
        "sink.resolve",
        "sink.reach",
        "sink.tls",
        "sink.login",
        "postgres.database",
        "postgres.writable",
        "postgres.schema",
        "postgres.rights",
        "postgres.insert",
        "postgres.rows",
        "postgres.commit",
        "postgres.pooler",
    ];
    assert_eq!(report.with_verdict("ok"), expected);
    assert_eq!(report.findings.len(), expected.len());

    server
        .execute(
            "create trigger noticed before insert on device_events \
             for each statement execute function noticed()",
        )
        .await;
    let report = as_kiosk(&server);
    assert_eq!(report.failed(), NONE);
    report.assert("postgres.rows", "warn", "triggers or rules: noticed");
    assert_eq!(count(&server.connect().await).await, 0);
}

#[tokio::test]
async fn what_is_wrong_in_the_database_is_told_at_its_step() {
    let cases = [
        (
            "alter table device_events enable row level security",
            "alter table device_events disable row level security",
            ("postgres.rows", "warn", "row security"),
        ),
        (
            "alter role kiosk set synchronous_commit = off",
            "alter role kiosk reset all",
            ("postgres.commit", "warn", "synchronous_commit = on"),
        ),
        (
            "alter role kiosk set default_transaction_read_only = on",
            "alter role kiosk reset all",
            ("postgres.writable", "fail", "read-only"),
        ),
        (
            "revoke insert on device_events from kiosk; \
             grant insert (device, epoch) on device_events to kiosk",
            "grant insert on device_events to kiosk",
            ("postgres.rights", "fail", "grant insert on"),
        ),
        (
            "alter table device_events drop constraint device_events_pkey",
            "alter table device_events add primary key (device, epoch, seq, digest)",
            ("postgres.insert", "fail", "edge-outbox config sql"),
        ),
        (
            "update edge_outbox_schema set version = 7",
            "update edge_outbox_schema set version = 1",
            ("postgres.schema", "fail", "update edge-outbox"),
        ),
        (
            "alter table device_events rename to others",
            "alter table others rename to device_events",
            ("postgres.schema", "fail", "edge-outbox config sql"),
        ),
    ];
    let server = server().await;
    for (change, back, (check, verdict, words)) in cases {
        server.execute(change).await;
        let report = as_kiosk(&server);
        assert_eq!(report.with_verdict(verdict), [check], "{change}");
        report.assert(check, verdict, words);
        server.execute(back).await;
    }
    assert_eq!(as_kiosk(&server).with_verdict("warn"), NONE);
}

#[tokio::test]
async fn a_server_that_does_not_sync_and_a_pooler_with_several_statements_are_warnings() {
    let server = PostgresServer::with_tables().await;
    let report = look(&server.url(), "");
    assert_eq!(report.with_verdict("warn"), ["postgres.commit"]);
    report.assert("postgres.commit", "warn", "fsync = on");
    report.assert("postgres.pooler", "ok", "at once: 4");
    let report = look(&server.url(), "pipeline = 2");
    report.assert("postgres.pooler", "ok", "at once: 2");

    let pooler = PgBouncer::before(&server);
    let report = look(&pooler.url(), "");
    assert_eq!(report.failed(), NONE);
    report.assert("postgres.pooler", "ok", &server.port().to_string());
    let report = look(&pooler.url(), "pipeline = 4");
    report.assert("postgres.pooler", "warn", "leave `pipeline` out");
}

#[tokio::test]
async fn a_unix_socket_needs_no_name_no_port_and_no_encryption() {
    let server = PostgresServer::with_tables().await;
    let url = format!(
        "postgres://postgres@/postgres?host={}&port={}",
        server.dir().display().to_string().replace('/', "%2F"),
        server.port()
    );
    let report = look(&url, "");
    assert_eq!(report.failed(), NONE);
    assert!(report.all("sink.resolve").is_empty());
    report.assert("sink.tls", "ok", "Unix socket");
}
