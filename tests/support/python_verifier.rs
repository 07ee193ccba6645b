//! The verifier in another language, `tests/verifier.py`, and what makes envelopes of CloudEvents
//! for it, `tests/cloudevent.py`.
//!
//! It runs in the Python that `EDGE_OUTBOX_PYTHON` names, else in `target/tools/bin/python`, which
//! `tests/run` sets up; it needs the package `cryptography`.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    env::var_os("EDGE_OUTBOX_PYTHON")
        .map_or_else(|| root.join("target/tools/bin/python"), PathBuf::from)
}

/// Runs the verifier over some lines, as a run of one device or each alone: its complaint, if it
/// has one.
pub(crate) fn verify(public_key: &str, lines: &[&str], run: bool) -> Result<(), String> {
    let mut args = vec![public_key];
    if run {
        args.insert(0, "--run");
    }
    let said = script("verifier.py", &args, lines)?;
    assert_eq!(said, format!("{} envelopes verified\n", lines.len()));
    Ok(())
}

/// Turns CloudEvents into envelopes, one a line: in JSON, or in binary mode as
/// `tests/cloudevent.py` says.
pub(crate) fn envelopes(cloud_events: &[&str]) -> Result<Vec<String>, String> {
    let said = script("cloudevent.py", &[], cloud_events)?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// Runs a script of `tests` over some lines; gives what it printed, or its complaint.
fn script(name: &str, args: &[&str], lines: &[&str]) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    let mut child = Command::new(python())
        .args(["-W", "ignore"])
        .arg(script)
        .args(args)
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
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    // It stops reading at the first line it refuses.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        assert!(
            complaint.starts_with("line "),
            "it broke instead of refusing: {complaint}"
        );
        Err(complaint)
    }
}
