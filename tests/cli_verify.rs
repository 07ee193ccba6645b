//! `verify`, of the journal and of envelopes on standard input.

#![cfg(feature = "cli")]
mod support;

use support::program::{Ended, Home, lines};

/// A journal with the start of its epoch and five events, and its public key.
fn device() -> (Home, String) {
    let home = Home::with_config("[device]\nname = \"kiosk-07\"");
    assert_eq!(home.run_with(&["append"], lines(0..5)).code, 0);
    let key = public_key(&home);
    (home, key)
}

fn public_key(home: &Home) -> String {
    let identity: serde_json::Value =
        serde_json::from_str(&home.ok(&["identity", "--json"])).unwrap();
    identity["public_key"].as_str().unwrap().to_owned()
}

/// The envelopes of a journal, one each.
fn envelopes(home: &Home) -> Vec<String> {
    let all = home.ok(&["tail", "--from", "1"]);
    all.split_inclusive('\n').map(str::to_owned).collect()
}

fn verify(home: &Home, key: &str, lines: &[String]) -> Ended {
    home.run_with(&["verify", "--public-key", key], lines.concat())
}

#[track_caller]
fn assert_refused(ended: &Ended, message: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn a_journal_verifies_with_the_daemon_and_without() {
    let (home, _) = device();
    let expected = "verified: 6 events, seq 1 to 6, 1 epoch\n";
    assert_eq!(home.ok(&["verify"]), expected);
    let daemon = home.daemon();
    assert_eq!(home.ok(&["verify"]), expected);
    drop(daemon);
}

#[test]
fn a_journal_verifies_across_a_change_of_keys() {
    let (mut home, old) = device();
    home.set(
        "EDUPULSE_SIGNING_KEY_B64",
        "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
    );
    assert_eq!(home.run_with(&["append"], lines(5..6)).code, 0);
    let new = public_key(&home);
    assert_ne!(old, new);
    assert_eq!(
        home.ok(&["verify"]),
        "verified: 8 events, seq 1 to 8, 2 epochs\n"
    );
    // What left the device is judged by the keys that are given, and by nothing it says itself.
    let lines = envelopes(&home);
    assert_refused(&verify(&home, &new, &lines), "line 1: key ");
    let both = ["verify", "--public-key", &old, "--public-key", &new];
    let ended = home.run_with(&both, lines.concat());
    assert_eq!(
        ended.stdout,
        "verified: device kiosk-07: 8 events, seq 1 to 8, 2 epochs\n"
    );
}

#[test]
fn a_journal_verifies_across_a_change_of_names_and_what_is_sent_of_it_each_by_itself() {
    let home = Home::with_config("[device]\nname = \"kiosk-07\"");
    assert_eq!(home.run_with(&["append"], lines(0..2)).code, 0);
    home.write_config("[device]\nname = \"kiosk-08\"");
    assert_eq!(home.run_with(&["append"], lines(2..4)).code, 0);
    let expected = "verified: 6 events, seq 1 to 6, 2 epochs\n";
    assert_eq!(home.ok(&["verify"]), expected);
    let ended = verify(&home, &public_key(&home), &envelopes(&home));
    assert_eq!(ended.code, 0, "{ended:?}");
    for part in ["kiosk-07", "seq 1 to 3", "kiosk-08", "seq 4 to 6"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
}

#[test]
fn envelopes_verify_in_any_order_a_broker_may_deliver_them_in() {
    let (home, key) = device();
    let lines = envelopes(&home);
    let expected = "verified: device kiosk-07: 6 events, seq 1 to 6, 1 epoch\n";
    assert_eq!(verify(&home, &key, &lines).stdout, expected);

    let order = [0, 2, 3, 1, 5, 4].map(|at: usize| lines[at].clone());
    assert_eq!(verify(&home, &key, &order).stdout, expected);

    let repeats = [0, 1, 1, 2, 3, 1, 4, 5].map(|at: usize| lines[at].clone());
    let expected = "verified: device kiosk-07: 6 events, seq 1 to 6, 1 epoch, 2 repeats\n";
    assert_eq!(verify(&home, &key, &repeats).stdout, expected);
}

#[test]
fn what_is_missing_is_told_unless_it_is_a_selection() {
    let (home, key) = device();
    let lines = envelopes(&home);
    let some = [0, 1, 3, 4].map(|at: usize| lines[at].clone());
    assert_refused(
        &verify(&home, &key, &some),
        "error: device kiosk-07: seq 3 is missing\n",
    );
    let some = [1, 4].map(|at: usize| lines[at].clone());
    assert_refused(
        &verify(&home, &key, &some),
        "device kiosk-07: seq 3 to 4 are missing\n",
    );
    let ended = home.run_with(&["verify", "--alone", "--public-key", &key], some.concat());
    assert_eq!(ended.stdout, "verified: 2 events, each by itself\n");
}

#[test]
fn what_was_altered_is_told_with_its_line() {
    let (home, key) = device();
    let lines = envelopes(&home);
    for (from, to) in [
        ("{\"n\":2}", "{\"n\":3}"),
        ("quiz.submitted.v1", "quiz.submitted.v2"),
        ("\"seq\":4", "\"seq\":5"),
        ("\"device\":\"kiosk-07\"", "\"device\":\"kiosk-08\""),
    ] {
        let mut lines = lines.clone();
        assert!(lines[3].contains(from));
        lines[3] = lines[3].replacen(from, to, 1);
        assert_refused(&verify(&home, &key, &lines), "error: line 4: ");
    }
    let (other, other_key) = device();
    assert_refused(&verify(&home, &other_key, &lines), "error: line 1: key ");
    // Another journal of the same name, under a key that is trusted: a fork.
    let keys = ["verify", "--public-key", &key, "--public-key", &other_key];
    let mixed = [lines[..3].concat(), envelopes(&other)[3..].concat()].concat();
    assert_refused(&home.run_with(&keys, mixed), "error: line 4: ");
}

#[test]
fn two_devices_are_told_apart() {
    let (home, key) = device();
    let other = Home::with_config("[device]\nname = \"kiosk-08\"");
    assert_eq!(other.run_with(&["append"], lines(0..1)).code, 0);
    let keys = [
        "verify",
        "--public-key",
        &key,
        "--public-key",
        &public_key(&other),
    ];
    let mixed = [envelopes(&home), envelopes(&other)].concat().concat();
    assert_eq!(
        home.run_with(&keys, mixed).stdout,
        "verified: device kiosk-07: 6 events, seq 1 to 6, 1 epoch\n\
         device kiosk-08: 2 events, seq 1 to 2, 1 epoch\n"
    );
}

#[test]
fn nothing_verifies_as_nothing() {
    let (home, key) = device();
    assert_eq!(
        verify(&home, &key, &[]).stdout,
        "verified: nothing: there was no envelope\n"
    );
}
