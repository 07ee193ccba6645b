//! The program without HTTP: what works on the journal itself, and what it says of the rest.

#![cfg(all(feature = "cli", not(feature = "http")))]
mod support;

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixListener,
};

use rustix::process::{Pid, Signal, kill_process};
use support::program::{Home, lines};

const STDOUT: &str = "[sinks.out]\ntype = \"stdout\"\n";

/// The payloads of the program's events among these lines.
fn payloads(envelopes: &str) -> Vec<serde_json::Value> {
    envelopes
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["kind"] == "program")
        .map(|event| event["payload"]["n"].clone())
        .collect()
}

#[test]
fn events_are_appended_shown_verified_and_drained_without_a_daemon() {
    let home = Home::with_config(STDOUT);
    let appended = home.run_with(&["append"], lines(0..3));
    assert_eq!((appended.code, appended.stderr.as_str()), (0, ""));
    assert_eq!(payloads(&home.ok(&["tail", "--from", "1"])), [0, 1, 2]);
    home.ok(&["verify"]);
    assert_eq!(payloads(&home.ok(&["drain"])), [0, 1, 2]);
    assert_eq!(home.status()["sinks"]["out"]["pending"], 0);
}

#[test]
fn the_daemon_forwards_what_is_there_and_says_that_nobody_can_hand_over_more() {
    let home = Home::with_config(STDOUT);
    home.run_with(&["append"], lines(0..2));
    let mut daemon = home.command(&["run"]).spawn().unwrap();
    let mut forwarded = BufReader::new(daemon.stdout.take().unwrap());
    let mut first = String::new();
    while payloads(&first) != [0, 1] {
        assert_ne!(forwarded.read_line(&mut first).unwrap(), 0, "{first}");
    }

    let refused = home.run_with(&["append"], lines(2..3));
    assert_eq!(refused.code, 1, "{refused:?}");
    for said in ["is in use by another process", "leaves HTTP out"] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }

    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    let ended = daemon.wait_with_output().unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{log}");
    assert!(log.contains("nobody can hand over events"), "{log}");
}

#[test]
fn a_listener_that_is_asked_for_is_refused_and_off_is_no_mistake() {
    let asked = "[http]\nlisten = \"127.0.0.1:0\"\n";
    for (toml, args) in [
        (asked, &["run"][..]),
        ("", &["run", "--listen", "127.0.0.1:0"]),
    ] {
        let refused = Home::with_config(toml).run(args);
        assert_eq!(refused.code, 2, "{refused:?}");
        let said = "http.listen = \"127.0.0.1:0\" is not \"off\": this program leaves HTTP out";
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    let home = Home::with_config("[http]\nlisten = \"off\"\nsocket = \"off\"\n");
    home.ok(&["config", "check"]);
}

#[test]
fn whoever_serves_the_journal_is_not_asked_and_the_reason_is_told() {
    let home = Home::new();
    home.run_with(&["append"], lines(0..1));
    let _served = UnixListener::bind(home.socket()).unwrap();
    let refused = home.run(&["status"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for said in [
        "this program leaves HTTP out",
        "built with the feature http",
    ] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}
