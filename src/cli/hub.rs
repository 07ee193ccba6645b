//! `hub`: the receiving end, and what a person asks of it and orders.

mod devices;
mod import;
mod quarantine;
mod report;

use std::io::Write as _;

use clap::Subcommand;
use serde::Serialize;

use super::{
    Failure,
    output::{Output, Tone, count},
};
use crate::{
    config::{Environment, HubConfig},
    daemon,
    hub::{HubError, Operator},
    sink::SinkError,
};

/// The hub: verify what brokers carry, store it once in Postgres, tell devices what is safe
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(after_help = super::EXIT_CODES)]
    /// Bring what the sources have into the database, until SIGTERM
    Run,
    #[command(after_help = super::EXIT_CODES)]
    /// Make the hub's keys where they are missing, and show the one that devices pin
    Key,
    #[command(after_help = super::EXIT_CODES)]
    /// Say which devices may speak, and by which keys
    Devices(devices::Args),
    #[command(after_help = super::EXIT_CODES)]
    Import(import::Args),
    #[command(after_help = super::EXIT_CODES)]
    /// Show how complete the events of each device are
    Report(report::Args),
    #[command(after_help = super::EXIT_CODES)]
    /// Look at what was not taken, try it again, or drop it
    Quarantine(quarantine::Args),
    #[command(after_help = super::EXIT_CODES)]
    /// Erase a person: the personal part of every event that is theirs, whenever it arrives
    Erase {
        /// The id of the person, or of the thing, as events name it
        #[arg(long)]
        id: String,
        /// Why, for the audit; the id itself is not kept
        #[arg(long, default_value = "by hand")]
        note: String,
    },
    #[command(after_help = super::EXIT_CODES)]
    /// After the database was restored from a copy: have devices send what the copy lacks
    NewLife,
    #[command(after_help = super::EXIT_CODES)]
    /// Go through every stored event: signed, there once, in its chain, and none gone
    Verify {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: Args, file: Option<&str>) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let config = HubConfig::load(file, &environment)?;
    match args.action {
        Action::Run => {
            daemon::start_log(config.log, &environment);
            Ok(daemon::run_hub(&config, &environment)?)
        }
        Action::Key => key(&config),
        action => super::wait(ask(action, &config)),
    }
}

async fn ask(action: Action, config: &HubConfig) -> Result<(), Failure> {
    match action {
        Action::Run | Action::Key => Ok(()),
        Action::Devices(args) => devices::run(args, config).await,
        Action::Import(args) => import::run(args, config).await,
        Action::Report(args) => report::run(&args, config).await,
        Action::Quarantine(args) => quarantine::run(args, config).await,
        Action::Erase { id, note } => erase(&id, &note, config).await,
        Action::NewLife => new_life(config).await,
        Action::Verify { json } => verify(json, config).await,
    }
}

fn key(config: &HubConfig) -> Result<(), Failure> {
    let (key, made) = config.make_keys()?;
    let mut output = Output::open();
    for path in made {
        writeln!(output, "made        {}", path.display())?;
    }
    match key {
        Some(key) => {
            writeln!(output, "public key  {}", key.public_key())?;
            writeln!(output, "key id      {}", key.public_key().id())?;
        }
        None => {
            let none = "devices are told nothing: receipts.key_file is not set";
            writeln!(output, "{}", output.tone(Tone::Watch, none))?;
        }
    }
    Ok(())
}

async fn erase(id: &str, note: &str, config: &HubConfig) -> Result<(), Failure> {
    let key = config.erasure_key()?;
    let events = operator(config).await?.erase(&key, id, note).await?;
    let mut output = Output::open();
    let erased = match events {
        0 => "nothing of it is held".to_owned(),
        events => format!("{} lost the personal part", count(events, "event")),
    };
    Ok(writeln!(
        output,
        "{erased}; what arrives later loses it, too"
    )?)
}

async fn new_life(config: &HubConfig) -> Result<(), Failure> {
    let life = operator(config).await?.new_life().await?;
    let mut output = Output::open();
    Ok(writeln!(
        output,
        "the database is {life} in receipts from now on, and devices believe none from before"
    )?)
}

async fn verify(json: bool, config: &HubConfig) -> Result<(), Failure> {
    let found = operator(config).await?.verify().await?;
    let mut output = Output::open();
    if json {
        print_json(&mut output, &found)?;
    } else {
        for finding in &found.findings {
            writeln!(output, "{}", output.tone(Tone::Bad, finding))?;
        }
        let erased = match found.erased {
            0 => String::new(),
            erased => format!(", {erased} of them without the personal part"),
        };
        let dropped = match found.dropped {
            0 => String::new(),
            dropped => format!(", {dropped} more went with their months"),
        };
        let verdict = match found.wrong {
            0 => output.tone(Tone::Good, "nothing is wrong"),
            wrong => output.tone(Tone::Bad, &count(wrong, "finding")),
        };
        writeln!(
            output,
            "{}{erased}{dropped}: {verdict}",
            count(found.events, "event")
        )?;
    }
    match found.wrong {
        0 => Ok(()),
        _ => Err(Failure::new("the hub's tables are not what was signed")),
    }
}

/// A connection to the hub's tables.
async fn operator(config: &HubConfig) -> Result<Operator, Failure> {
    Ok(Operator::connect(&config.database()?).await?)
}

fn print_json(output: &mut Output, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value);
    let json = json.map_err(|error| Failure::new(error.to_string()))?;
    Ok(writeln!(output, "{json}")?)
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self::new(error.to_string()).hint(hint)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::new(error.message).hint(error.hint)
    }
}
