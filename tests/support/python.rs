//! Scripts of `tests` in Python: a second opinion, by another hand.
//!
//! They run in the Python that `EDGE_OUTBOX_PYTHON` names, else in `target/tools/bin/python`, which
//! `tests/run` sets up with the packages that they need.

#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

/// The interpreter.
pub(crate) fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    env::var_os("EDGE_OUTBOX_PYTHON")
        .map_or_else(|| root.join("target/tools/bin/python"), PathBuf::from)
}

/// Runs a script of `tests` with this on its standard input; gives what it printed, or its
/// complaint.
pub(crate) fn script(name: &str, args: &[&str], input: &str) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    let mut child = Command::new(python())
        .args(["-W", "ignore"])
        .arg(script)
        .args(args)
        .env("PYTHONUTF8", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; tests/run sets it up, or set EDGE_OUTBOX_PYTHON",
                python().display()
            )
        });
    let input = input.to_owned();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having read all of it.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}
