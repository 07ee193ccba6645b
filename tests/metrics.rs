//! `GET /metrics` of a real daemon, and whether what is made of it elsewhere (alerts, dashboard,
//! documentation) speaks of metrics that there are.
//!
//! The binary that checks alerts and output is `$EDGE_OUTBOX_PROMTOOL`, else the one that `tests/run`
//! puts under `target/promtool`. Without it a test fails; none is ever skipped.

#![cfg(feature = "cli")]
#[path = "support/http_client.rs"]
mod http_client;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use http_client::{Answer, Connection, Request};
use support::program::{Home, line, lines};

const PROMTOOL: &str = "EDGE_OUTBOX_PROMTOOL";
const ALERTS: &str = "config/prometheus/alerts.yml";
const ALERT_TESTS: [&str; 2] = [
    "config/prometheus/alerts.test.yml",
    "config/prometheus/wear.test.yml",
];
const DASHBOARD: &str = "config/grafana/dashboard.json";
const DOCUMENT: &str = "docs/metrics.md";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn ask(home: &Home, request: &Request) -> Answer {
    let answer = Connection::unix(&home.socket()).ask(request);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn scrape(home: &Home) -> String {
    String::from_utf8(ask(home, &Request::get("/metrics")).body).unwrap()
}

/// The value of a sample, by its name and labels.
#[track_caller]
fn value(page: &str, sample: &str) -> f64 {
    let mut found = page
        .lines()
        .filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    match (found.next(), found.next()) {
        (Some(value), None) => value.parse().unwrap(),
        found => panic!("{sample}: {found:?} in\n{page}"),
    }
}

/// What the page says it has, with the types.
fn families(page: &str) -> BTreeMap<String, String> {
    let types = page.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    });
    types.collect()
}

/// A daemon that has delivered something, and its metrics.
fn busy_page() -> String {
    let home = Home::new();
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    home.wait_for(|status| status["sinks"]["stdout"]["acked"] == 4);
    let page = scrape(&home);
    assert_eq!(daemon.stop().0, 0);
    page
}

#[test]
fn what_was_taken_in_and_delivered_is_counted_from_the_start_of_the_daemon() {
    let home = Home::new();
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(0..3)).code, 0);
    let given = line(9).replace('{', "{\"id\":\"00000000-0000-0000-0000-000000000001\",");
    let given = given.replacen(
        "\"payload\":{\"id\":\"00000000-0000-0000-0000-000000000001\",",
        "\"payload\":{",
        1,
    );
    for _ in 0..2 {
        assert_eq!(home.run_with(&["append"], &given).code, 0);
    }
    let other = given.replace("\"n\":9", "\"n\":10");
    assert_eq!(home.run_with(&["append"], &other).code, 1);
    let status = home.wait_for(|status| status["sinks"]["stdout"]["acked"] == 5);
    let page = scrape(&home);
    for (sample, expected) in [
        ("edge_outbox_events_appended_total", 4.0),
        ("edge_outbox_events_committed_total", 4.0),
        ("edge_outbox_events_repeated_total", 1.0),
        (
            "edge_outbox_requests_refused_total{reason=\"conflict\"}",
            1.0,
        ),
        ("edge_outbox_requests_refused_total{reason=\"full\"}", 0.0),
        ("edge_outbox_journal_state{state=\"open\"}", 1.0),
        ("edge_outbox_journal_state{state=\"full\"}", 0.0),
        ("edge_outbox_pending_events{sink=\"stdout\"}", 0.0),
        (
            "edge_outbox_oldest_pending_age_seconds{sink=\"stdout\"}",
            0.0,
        ),
        ("edge_outbox_dead_letters{sink=\"stdout\"}", 0.0),
        (
            "edge_outbox_sink_state{sink=\"stdout\",state=\"caught_up\"}",
            1.0,
        ),
        (
            "edge_outbox_sink_state{sink=\"stdout\",state=\"halted\"}",
            0.0,
        ),
        ("edge_outbox_sink_connections_total{sink=\"stdout\"}", 1.0),
        // The start of the epoch is an event, too.
        ("edge_outbox_events_delivered_total{sink=\"stdout\"}", 5.0),
        ("edge_outbox_events_redelivered_total{sink=\"stdout\"}", 0.0),
        (
            "edge_outbox_delivery_duration_seconds_count{sink=\"stdout\"}",
            5.0,
        ),
        (
            "edge_outbox_delivery_duration_seconds_bucket{sink=\"stdout\",le=\"+Inf\"}",
            5.0,
        ),
    ] {
        assert_eq!(value(&page, sample), expected, "{sample}");
    }
    let held = status["journal"]["bytes"].as_f64().unwrap();
    assert_eq!(value(&page, "edge_outbox_journal_held_bytes"), held);
    let commits = value(&page, "edge_outbox_journal_commits_total");
    let timed = value(&page, "edge_outbox_commit_duration_seconds_count");
    assert!(commits > timed && timed >= 2.0, "{commits} {timed}");
    assert!(value(&page, "edge_outbox_journal_syncs_total") >= 2.0 * timed);
    assert!(value(&page, "edge_outbox_journal_written_bytes_total") > held);
    assert!(value(&page, "edge_outbox_journal_file_bytes") > held);
    assert!(value(&page, "edge_outbox_disk_free_bytes") > 0.0);
    let start = value(&page, "process_start_time_seconds");
    let again = scrape(&home);
    assert_eq!(value(&again, "process_start_time_seconds"), start);
    // To look is no reason for a commit.
    assert_eq!(value(&again, "edge_outbox_journal_commits_total"), commits);
    assert_eq!(daemon.stop().0, 0);

    let daemon = home.daemon();
    let page = scrape(&home);
    assert_eq!(value(&page, "edge_outbox_events_appended_total"), 0.0);
    assert!(value(&page, "process_start_time_seconds") >= start);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    let home = Home::new();
    let daemon = home.daemon();
    let plain = ask(&home, &Request::get("/metrics"));
    let expected = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(plain.header("content-type"), Some(expected));
    let open = ask(
        &home,
        &Request::get("/metrics").header("accept", OPEN_METRICS),
    );
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(expected));
    let open = String::from_utf8(open.body).unwrap();
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    assert!(open.contains("# TYPE edge_outbox_events_appended counter\n"));
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn on_tcp_a_token_has_to_be_shown_as_prometheus_shows_it() {
    let token = "a-token-for-this-test";
    let mut home = Home::with_config("[http]\ntoken_env = \"TOKEN\"\n");
    home.set("TOKEN", token);
    let daemon = home.daemon();
    let address: SocketAddr = home.status()["listening"][0]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut client = Connection::tcp(address);
    client
        .ask(&Request::get("/metrics"))
        .problem(401, "token-required");
    let mut client = Connection::tcp(address);
    let request = Request::get("/metrics").header("authorization", &format!("Bearer {token}"));
    assert_eq!(client.ask(&request).status, 200);
    assert_eq!(daemon.stop().0, 0);
}

/// Words that begin as our metrics do.
fn metrics_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("edge_outbox_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_there_are() {
    let page = busy_page();
    let there = metrics_in(&page);
    for path in [ALERTS, DASHBOARD].into_iter().chain(ALERT_TESTS) {
        let named = metrics_in(&text(path));
        assert!(!named.is_empty(), "{path}");
        let unknown: Vec<_> = named.difference(&there).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
}

#[test]
fn the_document_has_every_metric_and_every_alert_and_no_others() {
    let document = text(DOCUMENT);
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?.to_owned();
        Some((name, cells.next()?.to_owned()))
    });
    let rows: BTreeMap<String, String> = rows.collect();
    let (metrics, alerts): (BTreeMap<_, _>, BTreeMap<_, _>) = rows
        .into_iter()
        .partition(|(name, _)| !name.starts_with("EdgeOutbox"));
    assert_eq!(metrics, families(&busy_page()));
    let rules = text(ALERTS);
    let named: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- alert: "))
        .collect();
    assert_eq!(
        alerts.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        named
    );
    let tests = ALERT_TESTS.map(text).concat();
    for alert in named {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n");
        let does_not = format!("alertname: {alert}\n        exp_alerts: []\n");
        assert!(tests.contains(&fires), "{alert} is not shown to fire");
        assert!(
            tests.contains(&does_not),
            "{alert} is not shown to keep still"
        );
    }
}

#[test]
fn promtool_finds_nothing_amiss_in_real_output_alerts_and_their_tests() {
    let mut check = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(busy_page().as_bytes()).unwrap();
    drop(stdin);
    let checked = check.wait_with_output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(checked.status.success() && said.is_empty(), "{said}");
    for args in [
        ["check", "rules", ALERTS],
        ["test", "rules", ALERT_TESTS[0]],
        ["test", "rules", ALERT_TESTS[1]],
    ] {
        let ended = Command::new(promtool())
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert!(
            ended.status.success() && said.contains("SUCCESS"),
            "{args:?}: {said}"
        );
    }
}

fn promtool() -> PathBuf {
    let provided = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    let path = std::env::var_os(PROMTOOL).map_or(provided, PathBuf::from);
    assert!(
        path.is_file(),
        "no promtool at {}: tests/run provides one, or name one in {PROMTOOL}",
        path.display()
    );
    path
}
