//! A set-up that cannot work, as a person reads of it in `edge-outbox status` of a running daemon.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    doctor::Report,
    program::{Daemon, Home},
    snapshot::assert_snapshot,
};

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const HALTED: &str = "halted";
pub(crate) const WAITING: &str = "waiting to try again";
pub(crate) const SENDING: &str = "sending";

/// Each system's resolver has words of its own.
const RESOLVER: [&str; 3] = [
    "Name or service not known",
    "Temporary failure in name resolution",
    "No address associated with hostname",
];

/// Starts the daemon in this home, waits until the sink `hub` has come to this state with something
/// to say, and compares what it says with the snapshot of this name. The doctor says the same of
/// the step `fallen`, and that nothing else fails.
#[track_caller]
pub(crate) fn assert_told(name: &str, home: &Home, state: &str, fallen: &str, port: u16) -> Daemon {
    let daemon = home.daemon();
    let told = told(home, state);
    assert!(!told.contains("wrong-one"), "a password is shown: {told}");
    let port = port.to_string();
    let mut changing = vec![(port.as_str(), "PORT")];
    changing.extend(RESOLVER.map(|words| (words, "WHAT THE SYSTEM SAYS")));
    assert_snapshot(name, &told, &changing);
    let report = Report::of(home, &["--sink", "hub"]);
    let (trouble, hint) = (line(&told, "last trouble: "), line(&told, "hint: "));
    for step in ["sink.delivery", fallen] {
        let finding = report.only(step);
        assert_ne!(finding["verdict"], "ok", "{finding}");
        let message = finding["message"].as_str().unwrap();
        assert!(message.ends_with(trouble), "{finding}, and not {trouble}");
        assert_eq!(finding["hint"], hint, "{finding}");
    }
    let mut failed = report.failed();
    failed.retain(|check| check != "sink.delivery");
    if fallen != "sink.delivery" {
        assert_eq!((failed, report.code), (vec![fallen.to_owned()], 3));
    }
    daemon
}

/// What follows these words in the one line that has them.
fn line<'t>(text: &'t str, words: &str) -> &'t str {
    let lines = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(words));
    lines.unwrap_or_else(|| panic!("no {words} in {text}"))
}

/// What `status` says of the sink once it is in this state, without the times of its trouble and
/// of what is pending.
fn told(home: &Home, state: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = home.ok(&["status"]);
        let sink = status.find("sink ").map_or("", |at| &status[at..]);
        if sink.contains(state) && sink.contains("last trouble") {
            let undated = sink.lines().map(|line| {
                let dated = line.rsplit_once(" (20").or(line.rsplit_once(" since 20"));
                match dated {
                    Some((words, moment)) if moment.ends_with(['Z', ')']) => words,
                    _ => line,
                }
            });
            return undated.collect::<Vec<_>>().join("\n");
        }
        assert!(Instant::now() < deadline, "not {state:?} but {status}");
        thread::sleep(Duration::from_millis(20));
    }
}
