//! The table at the end: promised and arrived.

use std::io::{self, Write};

use crate::{
    cli::output::{Output, Tone},
    demo::Balance,
    envelope::DeviceName,
};

/// Widest name of a kiosk, in characters.
const NAME_WIDTH: usize = 10;

/// Shows a line for each kiosk, and the sum, which it gives.
pub(super) fn show(output: &mut Output, balances: &[(DeviceName, Balance)]) -> io::Result<Balance> {
    let header = format!(
        "{:NAME_WIDTH$} appended  delivered  repeated  lost  verified",
        ""
    );
    writeln!(output, "\n{}", output.tone(Tone::Quiet, &header))?;
    let mut total = Balance::default();
    for (device, balance) in balances {
        line(output, device.as_str(), balance)?;
        total += *balance;
    }
    line(output, "all", &total)?;
    Ok(total)
}

fn line(output: &mut Output, name: &str, balance: &Balance) -> io::Result<()> {
    let Balance {
        appended,
        delivered,
        repeated,
        lost,
        verified,
    } = balance;
    let tone = if *lost == 0 { Tone::Good } else { Tone::Bad };
    let lost = output.tone(tone, &format!("{lost:>4}"));
    writeln!(
        output,
        "{name:NAME_WIDTH$} {appended:>8}  {delivered:>9}  {repeated:>8}  {lost}  {verified:>8}",
    )
}
