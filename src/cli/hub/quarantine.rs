//! `hub quarantine`: what was not taken, and why.

use std::io::Write as _;

use clap::{Subcommand, builder::PossibleValuesParser};

use super::{Failure, HubConfig, Output, Tone, count, operator, print_json};
use crate::hub::{Intake, Quarantined, Reason};

/// How many are shown unless told otherwise.
const DEFAULT_LIMIT: u32 = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(after_help = super::super::EXIT_CODES)]
    /// Show what is in quarantine, the oldest first
    List {
        /// What is there for this reason alone
        #[arg(long, value_parser = reasons())]
        reason: Option<String>,
        /// What says it is of this device alone
        #[arg(long)]
        device: Option<String>,
        /// The most to show
        #[arg(long, default_value_t = DEFAULT_LIMIT)]
        limit: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    #[command(after_help = super::super::EXIT_CODES)]
    /// Write a message to standard output, byte for byte as it came
    Show {
        /// Its number
        id: i64,
    },
    #[command(after_help = super::super::EXIT_CODES)]
    /// Take what can be taken now; running hubs do so every 15 s
    Retry,
    #[command(after_help = super::super::EXIT_CODES)]
    /// Remove messages for good; what was honest among them is a gap of its device
    Drop {
        /// Their numbers
        #[arg(required_unless_present = "reason", conflicts_with = "reason")]
        id: Vec<i64>,
        /// All that are there for this reason
        #[arg(long, value_parser = reasons())]
        reason: Option<String>,
    },
}

fn reasons() -> PossibleValuesParser {
    Reason::ALL.map(Reason::code).into()
}

pub(super) async fn run(args: Args, config: &HubConfig) -> Result<(), Failure> {
    match args.action {
        Action::List {
            reason,
            device,
            limit,
            json,
        } => {
            let operator = operator(config).await?;
            let listed = operator.quarantined(reason.as_deref(), device.as_deref(), limit.into());
            list(&listed.await?, json)
        }
        Action::Show { id } => {
            let message = operator(config).await?.message(id).await?;
            let message = message
                .ok_or_else(|| Failure::new(format!("there is no message {id} in quarantine")))?;
            Ok(Output::open().write_all(&message)?)
        }
        Action::Retry => retry(config).await,
        Action::Drop { id, reason } => {
            let mut operator = operator(config).await?;
            let gone = operator.drop_quarantined(&id, reason.as_deref()).await?;
            Ok(writeln!(
                Output::open(),
                "{} dropped",
                count(gone, "message")
            )?)
        }
    }
}

fn list(listed: &[Quarantined], json: bool) -> Result<(), Failure> {
    let mut output = Output::open();
    if json {
        return print_json(&mut output, &listed);
    }
    if listed.is_empty() && output.for_people {
        let none = output.tone(Tone::Good, "there is nothing in quarantine");
        return Ok(writeln!(output, "{none}")?);
    }
    let widest = |length: fn(&Quarantined) -> usize| listed.iter().map(length).max().unwrap_or(0);
    let ids = widest(|it| it.id.to_string().len());
    let reasons = widest(|it| it.reason.len());
    let devices = widest(|it| it.device.as_deref().unwrap_or("-").len());
    for it in listed {
        let device = it.device.as_deref().unwrap_or("-");
        let seq = it.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
        let times = match it.times {
            1 => String::new(),
            times => format!(", {times} times"),
        };
        writeln!(
            output,
            "{:ids$}  {:reasons$}  {device:devices$}  seq {seq}, {} bytes from {} at {}{times}",
            it.id, it.reason, it.bytes, it.origin, it.first_at
        )?;
    }
    Ok(())
}

async fn retry(config: &HubConfig) -> Result<(), Failure> {
    let mut intake = Intake::connect(&config.database()?, config.options()?).await?;
    let taken = intake.retry().await?;
    let left: usize = taken.quarantined.values().sum();
    let mut output = Output::open();
    let stored = count(taken.stored as u64, "event");
    Ok(writeln!(
        output,
        "{stored} stored, {} known already, {left} back again",
        taken.repeated
    )?)
}
