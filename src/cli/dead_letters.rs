//! `dead-letters`: what a sink rejected for good, looked at, sent again or discarded.

use std::io::Write as _;

use clap::Subcommand;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, Tone, count},
};
use crate::{
    clock::ClockSync,
    config::Config,
    journal::SinkName,
    outbox::{Chosen, DeadLetter, DeadLetterError, DeadLettersChanged, RetryState},
    seq::Seq,
};

/// Look at the events that a sink rejected for good, send them again, or discard them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(after_help = super::EXIT_CODES)]
    /// Show the dead letters of every sink, or of one
    List {
        /// Those of this sink alone
        #[arg(long, value_name = "NAME")]
        sink: Option<String>,
        #[command(flatten)]
        style: Style,
    },
    #[command(after_help = super::EXIT_CODES)]
    /// Show a dead letter, with its event as it would be sent
    Show {
        /// The sink that rejected it
        sink: String,
        /// Which event
        seq: u64,
        #[command(flatten)]
        style: Style,
    },
    #[command(after_help = super::EXIT_CODES)]
    /// Have dead letters sent again, marked as repeats, once what was in their way is mended
    ///
    /// They are sent beside everything else, one at a time. One that arrives is a dead letter no
    /// longer, one that is rejected again stays one.
    Retry(Which),
    #[command(after_help = super::EXIT_CODES)]
    /// Take dead letters off the list for good; the loss ledger says which
    Discard(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The sink that rejected them
    sink: String,
    /// Which event
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    seq: Option<u64>,
    /// All of the sink's
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    style: Style,
}

#[derive(Debug, clap::Args)]
struct Style {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// One, as `show --json` has it.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    letter: &'a DeadLetter,
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<&'a RawValue>,
}

/// What is done with those that are chosen.
#[derive(Clone, Copy)]
enum Deed {
    Retry,
    Discard,
}

pub(super) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    match args.action {
        Action::List { sink, style } => list(sink.as_deref(), &style, config).await,
        Action::Show { sink, seq, style } => show(&sink, Seq::new(seq), &style, config).await,
        Action::Retry(which) => change(Deed::Retry, &which, config).await,
        Action::Discard(which) => change(Deed::Discard, &which, config).await,
    }
}

fn named(sink: &str) -> Result<SinkName, Failure> {
    SinkName::new(sink).map_err(|error| Failure::new(error.to_string()))
}

async fn list(sink: Option<&str>, style: &Style, config: &Config) -> Result<(), Failure> {
    let sink = sink.map(named).transpose()?;
    let letters = match Access::find(config, Absent::Refuse, Purpose::Inspect).await? {
        Access::Daemon(mut client) => client.dead_letters(sink.as_ref()).await?,
        Access::Journal(outbox) => outbox.dead_letters(sink.as_ref().map(SinkName::as_str))?,
    };
    let mut output = Output::open();
    if style.json {
        return print_json(&mut output, &letters);
    }
    if letters.is_empty() && output.for_people {
        let none = output.tone(Tone::Good, "there are no dead letters");
        return Ok(writeln!(output, "{none}")?);
    }
    let widest = |length: fn(&DeadLetter) -> usize| letters.iter().map(length).max().unwrap_or(0);
    let sinks = widest(|letter| letter.sink.as_str().len());
    let seqs = widest(|letter| letter.seq.to_string().len());
    let reasons = widest(|letter| letter.reason.len());
    for letter in &letters {
        let (sink, seq) = (letter.sink.as_str(), letter.seq.get());
        let state = state(letter);
        writeln!(
            output,
            "{sink:sinks$}  {seq:seqs$}  {:reasons$}  {state}",
            letter.reason
        )?;
    }
    Ok(())
}

/// In words what a person wants to know beside which and why.
fn state(letter: &DeadLetter) -> String {
    let mut state = match letter.rejections {
        1 => "rejected".to_owned(),
        times => format!("rejected {times} times"),
    };
    if let Some(since) = letter.since {
        let first = if letter.rejections > 1 { "first " } else { "" };
        state += &format!(", {first}at {since}");
        if letter.since_sync == Some(ClockSync::No) {
            state += " by a clock that was not set";
        }
    }
    state += match letter.retry {
        RetryState::None if letter.held => "",
        RetryState::None => ", not held any more",
        RetryState::Wanted => ", to be sent again",
        RetryState::InDoubt => ", being sent again",
    };
    state
}

async fn show(sink: &str, seq: Seq, style: &Style, config: &Config) -> Result<(), Failure> {
    let name = named(sink)?;
    let (letter, envelope) = match Access::find(config, Absent::Refuse, Purpose::Inspect).await? {
        Access::Daemon(mut client) => client.dead_letter(&name, seq).await?,
        Access::Journal(outbox) => {
            let mut letters = outbox.dead_letters(Some(sink))?;
            letters.retain(|letter| letter.seq == seq);
            let unknown = || DeadLetterError::Unknown { sink: name, seq };
            let letter = letters.pop().ok_or_else(unknown)?;
            let envelope = outbox.dead_letter_envelope(seq)?;
            let envelope = envelope.map(|line| String::from_utf8_lossy(&line).into_owned());
            let envelope = envelope.map(RawValue::from_string).transpose();
            let envelope = envelope.map_err(|error| Failure::new(error.to_string()))?;
            (letter, envelope)
        }
    };
    let mut output = Output::open();
    if style.json {
        let whole = Whole {
            letter: &letter,
            envelope: envelope.as_deref(),
        };
        return print_json(&mut output, &whole);
    }
    writeln!(output, "sink       {}", letter.sink)?;
    writeln!(output, "seq        {}", letter.seq)?;
    let reason = output.tone(Tone::Bad, &letter.reason);
    writeln!(output, "reason     {reason}")?;
    writeln!(output, "state      {}", state(&letter))?;
    if let Some(envelope) = envelope {
        writeln!(output, "envelope   {}", envelope.get())?;
    }
    Ok(())
}

async fn change(deed: Deed, which: &Which, config: &Config) -> Result<(), Failure> {
    let name = named(&which.sink)?;
    let chosen = which
        .seq
        .map_or(Chosen::All, |seq| Chosen::One(Seq::new(seq)));
    let (changed, is_running) = match Access::find(config, Absent::Refuse, Purpose::Inspect).await?
    {
        Access::Daemon(mut client) => {
            let changed = match deed {
                Deed::Retry => client.retry_dead_letters(&name, chosen).await?,
                Deed::Discard => client.discard_dead_letters(&name, chosen).await?,
            };
            (changed, true)
        }
        Access::Journal(outbox) => {
            let changed = match deed {
                Deed::Retry => outbox.retry_dead_letters(name.as_str(), chosen).await,
                Deed::Discard => outbox.discard_dead_letters(name.as_str(), chosen).await,
            };
            outbox.close().await;
            (changed?, false)
        }
    };
    let mut output = Output::open();
    if which.style.json {
        return print_json(&mut output, &changed);
    }
    Ok(writeln!(output, "{}", told(deed, &changed, is_running))?)
}

fn told(deed: Deed, changed: &DeadLettersChanged, is_running: bool) -> String {
    let letters = count(changed.dead_letters, "dead letter");
    let verb = match changed.dead_letters {
        1 => "is",
        _ => "are",
    };
    let mut text = match deed {
        Deed::Retry => format!("{}: {letters} {verb} sent again", changed.sink),
        Deed::Discard => format!("{}: {letters} {verb} discarded", changed.sink),
    };
    if matches!(deed, Deed::Retry) && changed.dead_letters > 0 && !is_running {
        text += " once a daemon runs, or by `edge-outbox drain`";
    }
    if changed.left_out > 0 {
        let why = match deed {
            Deed::Retry => "not held any more, or not settled yet",
            Deed::Discard => "not settled yet",
        };
        text += &format!("; {} left out: {why}", changed.left_out);
    }
    text
}

fn print_json(output: &mut Output, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value);
    let json = json.map_err(|error| Failure::new(error.to_string()))?;
    Ok(writeln!(output, "{json}")?)
}
