//! The verifier in another language, `tests/verifier.py`.
//!
//! It runs in the Python that `EDGE_OUTBOX_PYTHON` names, else in `target/tools/bin/python`, which
//! `tests/run` sets up; it needs the package `cryptography`.

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
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifier.py");
    let mut child = Command::new(python())
        .args(["-W", "ignore"])
        .arg(script)
        .args(run.then_some("--run"))
        .arg(public_key)
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
        let verified = format!("{} envelopes verified\n", lines.len());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), verified);
        Ok(())
    } else {
        assert!(
            complaint.starts_with("line "),
            "it broke instead of refusing: {complaint}"
        );
        Err(complaint)
    }
}
