//! `hub report`: how complete what devices sent is.

use std::io::Write as _;

use super::{Failure, HubConfig, Output, Tone, count, operator, print_json};
use crate::hub::Health;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only what there is something to say against
    #[arg(long)]
    problems: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, config: &HubConfig) -> Result<(), Failure> {
    let report = operator(config).await?.report(args.problems).await?;
    let mut output = Output::open();
    if args.json {
        return print_json(&mut output, &report);
    }
    if report.is_empty() && output.for_people {
        let none = match args.problems {
            true => "there are no problems",
            false => "there are no devices",
        };
        return Ok(writeln!(output, "{}", output.tone(Tone::Good, none))?);
    }
    let names = report.iter().map(|it| it.device.len()).max().unwrap_or(0);
    for health in &report {
        let name = &health.device;
        let Some(epoch) = health.epoch else {
            let none = output.tone(Tone::Watch, &format!("nothing was taken{}", aside(health)));
            writeln!(output, "{name:names$}  {none}")?;
            continue;
        };
        let last = health.last_contact.as_deref().unwrap_or_default();
        let (tone, state) = state(health);
        let state = output.tone(tone, &state);
        writeln!(output, "{name:names$}  {epoch}  {last}  {state}")?;
    }
    Ok(())
}

/// In words what a person wants to know.
fn state(health: &Health) -> (Tone, String) {
    let mut state = format!("complete up to seq {}", health.complete_to);
    if health.complete_to < health.highest {
        state += &format!(" of {}", health.highest);
    }
    if health.missing > 0 {
        let missing = u64::try_from(health.missing).unwrap_or(0);
        state += &format!(
            ", {} missing ({})",
            count(missing, "event"),
            health.gaps.join(", ")
        );
        if let Some(since) = &health.missing_since {
            state += &format!(" since {since}");
        }
    }
    if health.declared_lost > 0 {
        let lost = u64::try_from(health.declared_lost).unwrap_or(0);
        state += &format!(", {} declared lost", count(lost, "event"));
    }
    if !health.tampering.is_empty() {
        let codes = health.tampering.join(", ");
        state += &format!(
            ", tampering: {codes}, beyond doubt up to seq {}",
            health.proven_to
        );
    }
    if health.clock_set == Some(false) {
        state += ", its clock is not set";
    }
    state += &aside(health);
    let tone = match (
        health.tampering.is_empty(),
        health.clean,
        health.quarantined,
    ) {
        (false, ..) => Tone::Bad,
        (_, true, 0) => Tone::Good,
        _ => Tone::Watch,
    };
    (tone, state)
}

fn aside(health: &Health) -> String {
    match u64::try_from(health.quarantined).unwrap_or(0) {
        0 => String::new(),
        messages => format!(", {} in quarantine", count(messages, "message")),
    }
}
