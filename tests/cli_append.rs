//! `append`, through the daemon and straight into the journal.

#![cfg(feature = "cli")]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::Stdio,
};

use support::program::{Home, line, lines};

/// Runs a scenario with a daemon and without.
fn both_ways(scenario: impl Fn(&Home)) {
    let home = Home::new();
    scenario(&home);
    let home = Home::new();
    let daemon = home.daemon();
    scenario(&home);
    assert_eq!(daemon.stop().0, 0);
}

/// The payloads of the program's events in the journal.
fn payloads(home: &Home) -> Vec<serde_json::Value> {
    let envelopes = home.ok(&["tail", "--from", "1"]);
    let envelopes = envelopes
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    envelopes
        .filter(|event| event["kind"] == "program")
        .map(|event| event["payload"]["n"].clone())
        .collect()
}

#[test]
fn files_and_standard_input_are_appended_in_the_order_given() {
    both_ways(|home| {
        fs::write(home.path("a"), lines(0..2)).unwrap();
        // Without a line break at the end.
        fs::write(home.path("b"), lines(3..5).trim_end()).unwrap();
        let ended = home.run_with(
            &["append", "a", "-", "b"],
            format!("\n{}\r\n", line(2).trim_end()),
        );
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert_eq!(ended.stdout, "5 events appended, seq 2 to 6\n");
        assert_eq!(payloads(home), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn nothing_is_appended_of_nothing() {
    both_ways(|home| {
        let ended = home.run_with(&["append"], "\n\n  \n");
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (0, "0 events appended\n")
        );
    });
}

#[test]
fn a_bad_line_is_told_by_its_number_and_all_before_it_are_durable() {
    both_ways(|home| {
        let text = format!(
            "{}{{\"event_type\":\"quiz.submitted.v1\"}}\n{}",
            lines(0..7),
            lines(7..9)
        );
        fs::write(home.path("events"), text).unwrap();
        let ended = home.run(&["append", "events"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
        assert!(
            ended.stderr.starts_with("error: events line 8: "),
            "{}",
            ended.stderr
        );
        assert!(
            ended
                .stderr
                .ends_with("error: until then: 7 events appended, seq 2 to 8\n"),
            "{}",
            ended.stderr
        );
        assert_eq!(payloads(home), [0, 1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn a_first_line_that_is_bad_leaves_nothing() {
    both_ways(|home| {
        let ended = home.run_with(&["append"], format!("not json\n{}", line(0)));
        assert_eq!(ended.code, 1);
        assert!(
            ended.stderr.starts_with("error: standard input line 1: "),
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.ends_with("until then: 0 events appended\n"),
            "{}",
            ended.stderr
        );
        assert_eq!(payloads(home).len(), 0);
    });
}

#[test]
fn a_bad_line_deep_in_a_large_file_is_found_in_its_chunk() {
    both_ways(|home| {
        let text = format!("{}oops\n", lines(0..9_000));
        let ended = home.run_with(&["append"], text);
        assert!(
            ended
                .stderr
                .starts_with("error: standard input line 9001: not JSON"),
            "{}",
            ended.stderr
        );
        assert!(
            ended
                .stderr
                .ends_with("until then: 9000 events appended, seq 2 to 9001\n"),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn what_is_known_by_its_id_is_not_appended_twice_and_other_content_is_refused() {
    both_ways(|home| {
        let id = "\"id\":\"0192f0c1-2345-7000-8000-00000000000a\",";
        let with_id = |n| line(n).replacen('{', &format!("{{{id}"), 1);
        let ended = home.run_with(&["append"], format!("{}{}", with_id(0), line(1)));
        assert_eq!(ended.stdout, "2 events appended, seq 2 to 3\n");
        let ended = home.run_with(&["append"], format!("{}{}", with_id(0), line(2)));
        assert_eq!(
            ended.stdout,
            "1 event appended, 1 known already, seq 2 to 4\n"
        );
        let ended = home.run_with(&["append"], format!("{}{}", line(3), with_id(9)));
        assert_eq!(ended.code, 1);
        assert!(
            ended.stderr.starts_with("error: standard input line 2: "),
            "{}",
            ended.stderr
        );
        assert_eq!(payloads(home), [0, 1, 2, 3]);
    });
}

#[test]
fn a_line_from_a_pipe_is_durable_before_the_next_one_comes() {
    let home = Home::new();
    let daemon = home.daemon();
    let mut child = home
        .command(&["append"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for n in 0..3_u64 {
        stdin.write_all(line(0).as_bytes()).unwrap();
        home.wait_for(|status| status["tail"] == n + 2);
    }
    drop(stdin);
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "3 events appended, seq 2 to 4\n");
    assert!(child.wait().unwrap().success());
    drop(daemon);
}

#[test]
fn a_daemon_that_goes_away_in_the_middle_is_told_with_what_was_appended() {
    let home = Home::new();
    let daemon = home.daemon();
    let mut child = home
        .command(&["append"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(line(0).as_bytes()).unwrap();
    home.wait_for(|status| status["tail"] == 2);
    daemon.kill();
    stdin.write_all(line(1).as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("lines 2 to 2: the daemon at "), "{stderr}");
    assert!(
        stderr.ends_with("until then: 1 event appended, seq 2\n"),
        "{stderr}"
    );
}

#[test]
fn the_data_directory_of_another_user_is_refused() {
    let home = Home::new();
    // Root can give a directory away; everybody else can point at one of root's.
    let dir = if rustix::process::geteuid().is_root() {
        let dir = home.path("theirs");
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(12_345), None).unwrap();
        dir
    } else {
        "/usr".into()
    };
    let ended = home.run_with(&["--data-dir", dir.to_str().unwrap(), "append"], line(0));
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended.stderr.contains(" belongs to user "),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("hint: run this as that user"),
        "{}",
        ended.stderr
    );
    assert!(!dir.join("journal.redb").exists());
}

#[test]
fn a_daemon_of_another_journal_is_passed_over() {
    let home = Home::new();
    let daemon = home.daemon();
    let socket = home.socket();
    home.write_config(&format!("[http]\nsocket = \"{}\"", socket.display()));
    let ended = home.run_with(&["--data-dir", "other", "append"], line(0));
    assert_eq!(ended.stdout, "1 event appended, seq 2\n");
    assert!(home.path("other/journal.redb").exists());
    assert_eq!(home.status()["tail"], 1);
    drop(daemon);
}

#[test]
fn a_journal_that_somebody_holds_who_answers_on_no_socket_is_told_as_such() {
    let home = Home::with_config("[http]\nsocket = \"off\"");
    let mut child = home
        .command(&["run", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    log.read_line(&mut String::new()).unwrap();
    let ended = home.run_with(&["append"], line(0));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        ended
            .stderr
            .contains("edge-outbox-data/journal.redb is in use by another process\n"),
        "{ended:?}"
    );
    assert!(
        ended
            .stderr
            .contains("hint: a daemon may have it: `edge-outbox status --data-dir "),
        "{ended:?}"
    );
}

#[test]
fn what_the_journal_refuses_comes_with_a_hint_with_a_daemon_and_without() {
    let home = Home::with_config("[journal]\nmax_bytes = \"1 MiB\"\nmax_payload = \"1 MiB\"");
    let event = |id: u32, payload: &str| {
        format!(
            "{{\"id\":\"00000000-0000-0000-0000-{id:012}\",\"event_type\":\"quiz.submitted.v1\",\
             \"aggregate_id\":\"0192f0c1-2345-7000-8000-0123456789ab\",\"payload\":\"{payload}\"}}\n"
        )
    };
    assert_eq!(home.run_with(&["append"], event(1, "a")).code, 0);
    let large = "x".repeat(600_000);
    assert_eq!(home.run_with(&["append"], event(2, &large)).code, 0);
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| home.daemon());
        for (line, hint) in [
            (
                event(1, "b"),
                "hint: give the event an id of its own, or send it exactly",
            ),
            (
                event(3, &large),
                "hint: forwarding makes room; where it does not, the status says",
            ),
        ] {
            let ended = home.run_with(&["append"], line);
            assert_eq!(ended.code, 1);
            assert!(ended.stderr.contains(hint), "{}", ended.stderr);
        }
        drop(daemon);
    }
}
