//! `edge-outbox doctor` on the device itself: what it finds, and that it changes nothing.

#![cfg(feature = "cli")]
mod support;

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use support::{
    doctor::Report,
    program::{Home, lines},
};

/// A home with a few events in its journal, and no sink.
fn home_with_events() -> Home {
    let home = Home::with_config("[sinks]\n");
    assert_eq!(home.run_with(&["append"], lines(0..9)).code, 0);
    home
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Every file below a directory, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.path(), fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn nothing_is_made_where_there_is_nothing_and_nothing_is_changed_where_there_is() {
    let home = Home::with_config("[sinks]\n");
    let report = Report::of(&home, &[]);
    assert_eq!(report.failed(), [""; 0]);
    report.assert("data.dir", "ok", "is not there yet");
    report.assert("config.sinks", "warn", "[sinks.NAME]");
    report.assert("daemon", "warn", "edge-outbox run");
    assert!(!home.data_dir().exists());

    let home = home_with_events();
    let before = files(&home.data_dir());
    let report = Report::of(&home, &[]);
    assert_eq!(report.failed(), [""; 0]);
    report.assert("data.key", "ok", "mode 0600");
    report.assert("data.journal", "ok", "not open");
    assert_eq!(files(&home.data_dir()), before);
}

#[test]
fn a_running_daemon_is_asked_and_goes_on() {
    let home = home_with_events();
    let daemon = home.daemon();
    let report = Report::of(&home, &[]);
    assert_eq!(report.failed(), [""; 0]);
    report.assert("daemon", "ok", "up to seq 10");
    report.assert("data.journal", "ok", "open in process");
    report.assert("data.journal", "ok", "takes events");
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_process_that_has_the_journal_and_answers_nobody_is_told() {
    let home = Home::with_config("[sinks]\n[http]\nsocket = \"off\"\nlisten = \"127.0.0.1:0\"\n");
    let mut child = home.command(&["run"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let report = loop {
        let report = Report::of(&home, &[]);
        if report.only("daemon")["message"] != "does not run: nothing is delivered" {
            break report;
        }
        assert!(Instant::now() < deadline, "{:#?}", report.findings);
    };
    let pid = child.id().to_string();
    child.kill().unwrap();
    child.wait().unwrap();
    report.assert(
        "daemon",
        "warn",
        &format!("process {pid} has the journal open"),
    );
}

#[test]
fn a_mistake_in_the_configuration_is_told_as_by_every_command() {
    let home = Home::with_config("[log]\nlevle = \"info\"\n[http]\nlisten = 1\n");
    let report = Report::of(&home, &[]);
    let failed = report.all("config");
    assert_eq!(
        (failed.len(), report.findings.len(), report.code),
        (2, 2, 3)
    );
    let checked = home.run(&["config", "check"]).stderr;
    for finding in failed {
        for (before, key) in [("error: ", "message"), ("hint: ", "hint")] {
            let line = format!("{before}{}\n", finding[key].as_str().unwrap());
            assert!(checked.contains(&line), "{line} is not in {checked}");
        }
    }
}

#[test]
fn a_key_that_others_can_read_or_that_is_gone_is_a_fault() {
    let home = home_with_events();
    let key = home.data_dir().join("signing-key.pem");
    set_mode(&key, 0o644);
    Report::of(&home, &[]).assert("data.key", "fail", "chmod 600");
    fs::remove_file(&key).unwrap();
    Report::of(&home, &[]).assert("data.key", "fail", "restore the file");
    assert!(!key.exists());
}

#[test]
fn a_directory_that_is_open_to_others_is_told_and_one_that_is_none_is_a_fault() {
    let home = home_with_events();
    set_mode(&home.data_dir(), 0o755);
    Report::of(&home, &[]).assert("data.dir", "warn", "chmod 700");
    let file = home.path("edge-outbox.toml").display().to_string();
    let ended = home.run(&["--data-dir", &file, "doctor"]);
    assert_eq!(ended.code, 3);
    assert!(ended.stdout.contains("is not a directory"), "{ended:?}");
}

#[test]
fn what_root_made_in_another_users_directory_is_a_fault() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can give a file away; then there is nothing that could be found.
        return;
    }
    let home = home_with_events();
    chown(home.data_dir(), Some(12_345), Some(12_345)).unwrap();
    let report = Report::of(&home, &[]);
    for check in ["data.key", "data.journal"] {
        report.assert(check, "fail", "run `chown 12345:12345 ");
    }
}

#[test]
fn memory_in_place_of_a_disk_is_told_by_its_name_and_by_its_speed() {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let home = Home::with_config("[sinks]\n");
    let dir = memory.path().join("data").display().to_string();
    let report = Report::of(&home, &["--data-dir", &dir]);
    report.assert("disk.kind", "warn", "tmpfs");
    report.assert("disk.sync", "warn", "no medium is as fast");
    assert_eq!(fs::read_dir(memory.path()).unwrap().count(), 0);
}

#[test]
fn a_quota_beyond_the_disk_is_told() {
    let home = Home::with_config("[sinks]\n[journal]\nmax_bytes = \"1 TiB\"\n");
    Report::of(&home, &[]).assert("disk.space", "warn", "`journal.max_bytes`");
}

#[test]
fn a_sink_that_is_not_configured_is_wrong_usage() {
    let home = Home::new();
    let ended = home.run(&["doctor", "--sink", "hub"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    let expected = "error: no sink \"hub\" is configured\nhint: the configuration has: stdout\n";
    assert_eq!(ended.stderr, expected);
}

#[cfg(feature = "nats")]
#[test]
fn a_secret_that_others_can_read_is_a_fault_of_its_sink_alone_and_is_not_shown() {
    let sink = |name: &str, file: &str| {
        format!(
            "[sinks.{name}]\ntype = \"nats\"\nservers = [\"nats://ann:hunter2@127.0.0.1:9\"]\n\
             user = \"kiosk\"\npassword_file = \"{file}\"\n"
        )
    };
    let home = Home::with_config(&(sink("hub", "open") + &sink("lab", "shut")));
    for (name, mode) in [("open", 0o644), ("shut", 0o600)] {
        fs::write(home.path(name), "s3cret\n").unwrap();
        set_mode(&home.path(name), mode);
    }
    let report = Report::of(&home, &[]);
    assert_eq!(report.only("sink.options")["sink"], "hub");
    report.assert("sink.options", "fail", "chmod o=");
    assert_eq!(report.only("sink.reach")["sink"], "lab");
    let text = format!("{:?}", report.findings);
    assert!(
        !text.contains("s3cret") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn on_a_terminal_no_line_is_wider_than_80_columns() {
    let home = home_with_events();
    let plain = home.run(&["doctor"]).stdout;
    assert!(plain.lines().any(|line| line.chars().count() > 80));
    let doctor = format!(
        "{} --data-dir {} doctor",
        env!("CARGO_BIN_EXE_edge-outbox"),
        home.data_dir().display()
    );
    let shown = Command::new("script")
        .args(["-q", "-e", "-c", &doctor, "/dev/null"])
        .env("NO_COLOR", "1")
        .env("EDGE_OUTBOX_CONFIG", home.path("edge-outbox.toml"))
        .output()
        .expect("this test needs the `script` command");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("warn  daemon"), "{shown}");
    for line in shown.lines() {
        let is_path = line.contains(&*home.data_dir().to_string_lossy());
        assert!(line.trim_end().chars().count() <= 80 || is_path, "{line}");
    }
}
