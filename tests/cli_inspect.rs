//! Looking at a journal: what a wrong environment, a wrong configuration or a bad card may not do.

#![cfg(feature = "cli")]
mod support;

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
};

use support::program::{Ended, Home, exists, lines};

const KEY_VARIABLE: &str = "EDUPULSE_SIGNING_KEY_B64";
const KEY: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
const OTHER_KEY: &str = "MC4CAQAwBQYDK2VwBCIEIAkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ";

const INSPECTIONS: [&str; 4] = ["status", "tail", "verify", "identity"];

/// As the journal was left: the start of its epoch and five events.
const UNCHANGED: &str = "verified: 6 events, seq 1 to 6, 1 epoch\n";

#[track_caller]
fn assert_refused(ended: &Ended, message: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn a_journal_without_its_key_does_not_open_and_gets_no_new_one() {
    let mut home = Home::new();
    home.set(KEY_VARIABLE, KEY);
    assert_eq!(home.run_with(&["append"], lines(0..5)).code, 0);
    home.set(KEY_VARIABLE, "");
    for command in INSPECTIONS.into_iter().chain(["append", "drain", "run"]) {
        assert_refused(&home.run(&[command]), "its signing key is not");
        assert!(!exists(&home.data_dir().join("signing-key.pem")));
    }
    home.set(KEY_VARIABLE, KEY);
    assert_eq!(home.ok(&["verify"]), UNCHANGED);
}

#[test]
fn a_lost_key_file_is_not_replaced() {
    let home = Home::new();
    assert_eq!(home.run_with(&["append"], lines(0..5)).code, 0);
    let (file, aside) = (
        home.data_dir().join("signing-key.pem"),
        home.path("aside.pem"),
    );
    fs::rename(&file, &aside).unwrap();
    assert_refused(&home.run(&["identity"]), "its signing key is not");
    fs::rename(&aside, &file).unwrap();
    assert_eq!(home.ok(&["verify"]), UNCHANGED);
}

#[test]
fn looking_under_another_key_is_refused_and_changes_nothing() {
    let mut home = Home::new();
    home.set(KEY_VARIABLE, KEY);
    assert_eq!(home.run_with(&["append"], lines(0..5)).code, 0);
    home.set(KEY_VARIABLE, OTHER_KEY);
    for command in INSPECTIONS {
        assert_refused(&home.run(&[command]), "is signed by key ");
    }
    home.set(KEY_VARIABLE, KEY);
    assert_eq!(home.ok(&["verify"]), UNCHANGED);
}

#[test]
fn looking_under_another_name_shows_the_journals_own() {
    let home = Home::with_config("[device]\nname = \"kiosk-07\"");
    assert_eq!(home.run_with(&["append"], lines(0..5)).code, 0);
    home.write_config("[device]\nname = \"kiosk-08\"");
    for command in INSPECTIONS {
        home.ok(&[command]);
    }
    assert_eq!(home.status()["device"], "kiosk-07");
    assert_eq!(home.ok(&["verify"]), UNCHANGED);
}

#[test]
fn a_damaged_journal_is_an_error_and_not_a_panic() {
    let home = Home::new();
    assert_eq!(home.run_with(&["append"], lines(0..500)).code, 0);
    let journal = home.data_dir().join("journal.redb");
    let file = OpenOptions::new().write(true).open(journal).unwrap();
    let mut random: u32 = 1;
    let noise: Vec<u8> = (0..4_000)
        .map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 24) as u8
        })
        .collect();
    file.write_all_at(&noise, 20_000).unwrap();
    for command in ["verify", "append", "status", "run"] {
        let ended = home.run(&[command]);
        assert_refused(&ended, "is damaged");
        assert!(ended.stderr.contains("--data-dir"), "{}", ended.stderr);
    }
}
