//! What the command line takes, and what it exits with.

#![cfg(feature = "cli")]
mod support;

use support::program::Home;

#[test]
fn help_goes_to_standard_output_and_names_the_exit_codes() {
    let home = Home::new();
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["config", "show", "--help"],
    ] {
        let ended = home.run(args);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{args:?}");
        assert!(
            ended
                .stdout
                .contains("Exit codes: 0 done, 1 failure, 2 wrong usage"),
            "{args:?}"
        );
    }
    assert_eq!(
        home.ok(&["--version"]),
        concat!("edge-outbox ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_is_exit_code_2_and_goes_to_standard_error() {
    let home = Home::new();
    for args in [
        &[][..],
        &["runn"],
        &["run", "--port", "1"],
        &["tail", "--from", "x"],
        &["drain", "--timeout", "soon"],
        &["verify", "--public-key", "AAAA"],
        &["verify", "--alone"],
    ] {
        let ended = home.run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[test]
fn a_journal_that_is_not_there_is_told_and_not_made() {
    let home = Home::new();
    for args in [&["status"][..], &["tail"], &["verify"], &["drain"]] {
        let ended = home.run(args);
        assert_eq!(ended.code, 1, "{args:?}");
        let expected = format!(
            "error: {} holds no journal\n\
             hint: name its directory with --data-dir; `edge-outbox run` makes one\n",
            home.data_dir().display()
        );
        assert_eq!(ended.stderr, expected);
    }
    assert!(!home.data_dir().exists());
}

#[test]
fn identity_makes_the_device_and_names_it_alike_ever_after() {
    let home = Home::with_config("[device]\nname = \"kiosk-07\"");
    let first = home.ok(&["identity"]);
    assert!(
        first.starts_with("device      kiosk-07\npublic key  "),
        "{first}"
    );
    assert_eq!(home.ok(&["identity"]), first);
    let json: serde_json::Value = serde_json::from_str(&home.ok(&["identity", "--json"])).unwrap();
    assert!(first.contains(json["public_key"].as_str().unwrap()));
    let daemon = home.daemon();
    assert_eq!(home.ok(&["identity"]), first);
    drop(daemon);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::new();
    home.ok(&["identity"]);
    let ended = home.run_with(&["append"], support::program::lines(0..2_000));
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut child = home.command(&["tail", "--from", "1"]).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
