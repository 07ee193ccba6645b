//! The verifier in another language, `tests/verifier.py`, and what makes envelopes of CloudEvents
//! for it, `tests/cloudevent.py`. It needs the package `cryptography`.

#![allow(dead_code, reason = "each test binary uses a part")]

#[path = "python.rs"]
mod python;

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
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    python::script(name, args, &input).inspect_err(|complaint| {
        assert!(
            complaint.starts_with("line "),
            "it broke instead of refusing: {complaint}"
        );
    })
}
