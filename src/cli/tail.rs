//! `tail`: the events themselves.

use std::io::Write as _;

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, Tone},
};
use crate::{config::Config, envelope::Envelope, seq::Seq};

/// Events shown where no seq is given.
const LAST_EVENTS: u64 = 10;

/// Show the last events; piped, their envelopes, one JSON object a line
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Begin with this event instead of the tenth from the end
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Wait for further events
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let mut access = Access::find(config, Absent::Refuse, Purpose::Inspect).await?;
    if args.follow && matches!(access, Access::Journal(_)) {
        let hint = "start it with `edge-outbox run`, or leave --follow out".to_owned();
        return Err(Failure::new("there is nobody to wait for: no daemon runs").hint(hint));
    }
    let from = match args.from {
        Some(seq) => Seq::new(seq),
        None => {
            let tail = access.status().await?.tail;
            Seq::new(tail.get().saturating_sub(LAST_EVENTS - 1)).max(Seq::FIRST)
        }
    };
    let mut output = Output::open();
    let mut lines = access.lines(from, args.follow).await?;
    while let Some(chunk) = lines.next().await? {
        if output.for_people {
            for line in chunk
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                let shown = show(&output, line)?;
                writeln!(output, "{shown}")?;
            }
        } else {
            output.write_all(&chunk)?;
        }
        output.flush()?;
    }
    Ok(())
}

/// One line for people: where, when, what, which. Not the payload, which may be personal.
fn show(output: &Output, line: &[u8]) -> Result<String, Failure> {
    let envelope = Envelope::parse(line).map_err(|error| Failure::new(error.to_string()))?;
    let event = envelope.claims();
    Ok(format!(
        "{:>8}  {}  {}  {}",
        event.seq,
        output.tone(Tone::Quiet, &event.clock.wall.to_string()),
        event.event_type,
        output.tone(Tone::Quiet, &event.id.to_string()),
    ))
}
