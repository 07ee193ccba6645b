//! `status`: what the outbox says of itself.

use std::io::{self, Write};

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, Tone, bytes, count},
};
use crate::{
    clock::ClockSync,
    config::Config,
    status::{GuaranteeLevel, JournalState, SinkState, SinkStatus, Status},
};

/// Show the device, the journal and every sink
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON, like `GET /v1/status`
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let mut access = Access::find(config, Absent::Refuse, Purpose::Inspect).await?;
    let status = access.status().await?;
    let mut output = Output::open();
    if args.json {
        let json = serde_json::to_string_pretty(&status);
        let json = json.map_err(|error| Failure::new(error.to_string()))?;
        return Ok(writeln!(output, "{json}")?);
    }
    let is_running = matches!(access, Access::Daemon(_));
    show(&mut output, &status)?;
    for (name, sink) in &status.sinks {
        show_sink(&mut output, name, sink, is_running)?;
    }
    if is_running && !status.has_sinks() {
        let none = "none is configured: events are kept";
        writeln!(output, "sink       {}", output.tone(Tone::Watch, none))?;
    }
    if !is_running {
        writeln!(
            output,
            "{}",
            output.tone(
                Tone::Quiet,
                "no daemon runs: this is what the journal remembers"
            )
        )?;
    }
    Ok(())
}

fn show(output: &mut Output, status: &Status) -> io::Result<()> {
    let journal = &status.journal;
    writeln!(output, "device     {}", status.device)?;
    writeln!(output, "key        {}", status.key_id)?;
    writeln!(output, "epoch      {}", status.epoch)?;
    let tone = match journal.state {
        JournalState::Open => Tone::Good,
        JournalState::Full | JournalState::Reopening | JournalState::Closed => Tone::Bad,
    };
    let state = output.tone(tone, &journal.state.to_string());
    writeln!(
        output,
        "journal    {}, up to seq {}, {} of {} held, {state}",
        journal.dir.display(),
        status.tail,
        bytes(journal.bytes),
        bytes(journal.quota_bytes),
    )?;
    if let (JournalState::Full, Some(disk)) = (journal.state, journal.disk) {
        writeln!(
            output,
            "           {} free on the disk",
            bytes(disk.free_bytes)
        )?;
    }
    if journal.dropped > 0 {
        let events = match journal.dropped {
            1 => "1 event was".to_owned(),
            count => format!("{count} events were"),
        };
        let given_up = format!("{events} given up to make room, since the start");
        writeln!(output, "           {}", output.tone(Tone::Bad, &given_up))?;
    }
    if let Some(erasing) = journal.erasing {
        let what = output.tone(Tone::Watch, &erasing.to_string());
        writeln!(output, "erasing    {what}")?;
    }
    if let Some(error) = &journal.last_error {
        writeln!(output, "           last fault: {error}")?;
    }
    let clock = match status.clock.sync {
        ClockSync::Yes => "set",
        ClockSync::No => "not set",
        ClockSync::Unknown => "the kernel does not say whether it is set",
    };
    writeln!(output, "clock      {}, {clock}", status.clock.wall)?;
    if !status.listening.is_empty() {
        writeln!(output, "listening  {}", status.listening.join(", "))?;
    }
    Ok(())
}

/// What a sink is doing; `None` where no daemon runs, so that it does nothing.
pub(super) fn state_text(state: Option<SinkState>) -> (Tone, String) {
    let Some(state) = state else {
        // Whether it is configured is not in the journal.
        return (Tone::Quiet, "no daemon".into());
    };
    let tone = match state {
        SinkState::Absent | SinkState::Stopped | SinkState::ByHand => Tone::Quiet,
        SinkState::Connecting
        | SinkState::ReadingBack
        | SinkState::Draining
        | SinkState::Waiting => Tone::Watch,
        SinkState::CaughtUp => Tone::Good,
        SinkState::Halted => Tone::Bad,
    };
    (tone, state.to_string())
}

fn show_sink(
    output: &mut Output,
    name: &str,
    sink: &SinkStatus,
    is_running: bool,
) -> io::Result<()> {
    let (tone, state) = state_text(is_running.then_some(sink.state));
    let state = output.tone(tone, &state);
    let since = sink.oldest_pending.map(|at| format!(" since {at}"));
    writeln!(
        output,
        "sink       {name}: {state}, {} pending{}",
        sink.pending,
        since.unwrap_or_default()
    )?;
    let promise = match sink.guarantee.level {
        GuaranteeLevel::ExactlyOnce => "exactly once",
        GuaranteeLevel::AtLeastOnce => "at least once",
        GuaranteeLevel::AtMostOnce => "at most once",
        GuaranteeLevel::Unknown => "not known before the first connection",
    };
    if is_running && sink.state != SinkState::Absent {
        writeln!(output, "           promise: {promise}")?;
    }
    for unmet in &sink.guarantee.unmet {
        writeln!(output, "           {}", output.tone(Tone::Quiet, unmet))?;
    }
    if sink.dead_letters > 0 {
        let mut dead = count(sink.dead_letters, "dead letter");
        let reasons = sink.dead_letter_reasons.iter();
        let reasons: Vec<String> = reasons
            .map(|(code, count)| format!("{count} {code}"))
            .collect();
        if !reasons.is_empty() {
            dead += &format!(": {}", reasons.join(", "));
        }
        let dead = output.tone(Tone::Bad, &dead);
        writeln!(output, "           {dead}")?;
    }
    if let Some(hub) = &sink.hub {
        let mut said = match hub.last_receipt {
            _ if hub.confirms => format!("confirmed up to seq {}", hub.confirmed),
            Some(at) => format!("last heard of at {at}"),
            None => "not heard of yet".to_owned(),
        };
        if let Some(since) = hub.waiting_since {
            said += &format!(", waiting for its word since {since}");
        }
        if hub.missing > 0 {
            said += &format!(", {} missing", hub.missing);
        }
        if hub.quarantined > 0 {
            said += &format!(", {} in quarantine", hub.quarantined);
        }
        writeln!(output, "           hub: {said}")?;
        if let Some(tampering) = &hub.tampering {
            writeln!(output, "           {}", output.tone(Tone::Bad, tampering))?;
        }
    }
    if let Some(at) = &sink.last_delivery {
        writeln!(output, "           last delivery: {at}")?;
    }
    if let Some(trouble) = &sink.last_error {
        writeln!(
            output,
            "           last trouble: {} ({})",
            trouble.message, trouble.at
        )?;
        if let Some(hint) = &trouble.hint {
            writeln!(output, "           hint: {hint}")?;
        }
    }
    Ok(())
}
