//! The identity as a QR code, read back by a reader of another hand.
//!
//! It needs the Python package `zxing-cpp`, which `tests/run` installs; `support/python.rs` says where.

#![cfg(feature = "cli")]
#[path = "support/python.rs"]
mod python;
mod support;

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;
use support::program::Home;

/// The longest name that a device can have.
const LONGEST_NAME: &str = "kiosk-0123456789-0123456789-0123456789-0123456789-0123456789-abc";

fn home(name: &str) -> Home {
    Home::with_config(&format!("[device]\nname = \"{name}\"\n"))
}

/// What a hub reads from the code; it has to be what `identity --json` says.
#[track_caller]
fn assert_reads_as_the_identity(home: &Home, shown: &str) {
    let read = python::script("qr.py", &[], shown).unwrap();
    let read: Value = serde_json::from_str(&read).unwrap();
    let mut told: Value = serde_json::from_str(&home.ok(&["identity", "--json"])).unwrap();
    told.as_object_mut().unwrap().remove("epoch");
    assert_eq!(read, told);
}

#[test]
fn the_code_says_who_the_device_is() {
    for name in ["k", "kiosk-07", LONGEST_NAME] {
        let home = home(name);
        let shown = home.ok(&["identity", "--qr"]);
        assert!(!shown.contains('\x1b'), "colours where nobody sees them");
        assert_reads_as_the_identity(&home, &shown);
        // What stands below it is for people.
        assert!(shown.ends_with(&home.ok(&["identity"])), "{shown}");
    }
}

#[test]
fn on_a_terminal_the_code_is_black_on_white_whatever_its_colours_are() {
    let home = home("kiosk-07");
    let program = home.command(&["identity", "--qr"]);
    let on_a_terminal = |no_color: &str| {
        let line = format!("{} identity --qr", program.get_program().to_str().unwrap());
        let output = Command::new("/usr/bin/script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(program.get_current_dir().unwrap())
            .env_clear()
            .envs(
                program
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = on_a_terminal("");
    assert!(shown.starts_with("\x1b[38;5;16;48;5;231m"), "{shown}");
    assert_reads_as_the_identity(&home, &shown);
    let plain = on_a_terminal("1");
    assert!(!plain.contains('\x1b'), "{plain}");
    assert_reads_as_the_identity(&home, &plain);
}

#[test]
fn the_code_to_be_printed_goes_to_a_file_or_to_standard_output() {
    let home = home("kiosk-07");
    let file = home.path("label.svg");
    assert_eq!(
        home.ok(&["identity", "--qr-svg", file.to_str().unwrap()]),
        ""
    );
    let svg = fs::read_to_string(&file).unwrap();
    assert!(svg.contains("<title>kiosk-07</title>"), "{svg}");
    assert_reads_as_the_identity(&home, &svg);
    assert_eq!(home.ok(&["identity", "--qr-svg", "-"]), svg);
}

#[test]
fn a_code_that_cannot_be_written_is_a_failure_that_names_the_file() {
    let home = home("kiosk-07");
    let ended = home.run(&["identity", "--qr-svg", "no/such/label.svg"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert_eq!(
        ended.stderr,
        "error: writing no/such/label.svg failed: No such file or directory (os error 2)\n"
    );
    assert_eq!(home.run(&["identity", "--qr", "--json"]).code, 2);
}
