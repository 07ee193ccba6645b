//! The command line: what it takes, and what it prints. One file for each command.
//!
//! Only this module and `main` print. What a command is for goes to standard output, everything
//! else to standard error; on a terminal it is made for people, piped it is plain.

mod access;
mod append;
mod config;
mod dead_letters;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod drain;
mod erase;
mod failure;
#[cfg(feature = "hub")]
mod hub;
mod identity;
mod init;
mod output;
mod progress;
mod recover;
#[cfg(feature = "hub")]
mod relay;
mod run;
mod sinks;
mod status;
mod tail;
mod verify;

use clap::{Args, Parser, Subcommand};

pub use self::failure::Failure;
use crate::{
    config::{Config, Environment, Flags},
    journal::is_guarded,
};

/// Shown below every help.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failure, 2 wrong usage or configuration";

/// A store-and-forward outbox: events are durable and signed on this device at once, and reach the
/// school's broker when a network is there.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml
    /// where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<String>,
    /// Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default:
    /// ./edge-outbox-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(after_help = EXIT_CODES)]
    Run(run::Args),
    #[command(after_help = EXIT_CODES)]
    Append(append::Args),
    #[command(after_help = EXIT_CODES)]
    Status(status::Args),
    #[command(after_help = EXIT_CODES)]
    Tail(tail::Args),
    #[command(after_help = EXIT_CODES)]
    Drain(drain::Args),
    #[command(after_help = EXIT_CODES)]
    Sinks(sinks::Args),
    #[command(after_help = EXIT_CODES)]
    DeadLetters(dead_letters::Args),
    #[command(after_help = EXIT_CODES)]
    Erase(erase::Args),
    #[command(after_help = EXIT_CODES)]
    Verify(verify::Args),
    #[command(after_help = EXIT_CODES)]
    Recover(recover::Args),
    #[command(after_help = EXIT_CODES)]
    Identity(identity::Args),
    #[command(after_help = EXIT_CODES)]
    Init(init::Args),
    #[command(after_help = EXIT_CODES)]
    Config(config::Args),
    #[command(after_help = doctor::EXIT_CODES)]
    Doctor(doctor::Args),
    #[cfg(feature = "hub")]
    #[command(after_help = EXIT_CODES)]
    Hub(hub::Args),
    #[cfg(feature = "hub")]
    #[command(after_help = EXIT_CODES)]
    Relay(relay::Args),
    #[cfg(feature = "demo")]
    #[command(after_help = EXIT_CODES)]
    Demo(demo::Args),
    #[cfg(feature = "demo")]
    #[command(name = crate::demo::KIOSK_COMMAND, hide = true)]
    DemoKiosk(demo::KioskArgs),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What is to be told to the person, with the exit code.
    pub fn run(self) -> Result<(), Failure> {
        quieten_guarded_panics();
        let flags = Flags {
            config: self.global.config,
            data_dir: self.global.data_dir,
            listen: self.command.listen(),
        };
        let load = || Config::load(&flags, &Environment::of_process());
        match self.command {
            Command::Run(_) => run::run(&load()?),
            Command::Append(args) => wait(append::run(args, &load()?)),
            Command::Status(args) => wait(status::run(&args, &load()?)),
            Command::Tail(args) => wait(tail::run(&args, &load()?)),
            Command::Drain(args) => wait(drain::run(&args, &load()?)),
            Command::Sinks(args) => wait(sinks::run(args, &load()?)),
            Command::DeadLetters(args) => wait(dead_letters::run(args, &load()?)),
            Command::Erase(args) => wait(erase::run(&args, &load()?)),
            Command::Verify(args) => wait(verify::run(args, &load)),
            Command::Recover(args) => recover::run(&args, &load()?),
            Command::Identity(args) => wait(identity::run(&args, &load()?)),
            Command::Init(args) => init::run(&args, &flags),
            Command::Config(args) => config::run(&args, load),
            Command::Doctor(args) => wait(doctor::run(&args, load)),
            #[cfg(feature = "hub")]
            Command::Hub(args) => hub::run(args, flags.config.as_deref()),
            #[cfg(feature = "hub")]
            Command::Relay(_) => relay::run(&flags),
            #[cfg(feature = "demo")]
            Command::Demo(args) => demo::run(&args),
            #[cfg(feature = "demo")]
            Command::DemoKiosk(args) => wait(demo::run_kiosk(args)),
        }
    }
}

impl Command {
    fn listen(&self) -> Option<String> {
        match self {
            Self::Run(args) => args.listen.clone(),
            _ => None,
        }
    }
}

/// What a damaged journal makes of redb is told as an error; its backtrace helps nobody there. Where
/// a panic ends the process, it is all that is told.
fn quieten_guarded_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if cfg!(panic = "abort") || !is_guarded() {
            print(panic);
        }
    }));
}

/// Runs a command that waits for the daemon or the journal. One thread is enough for one caller.
fn wait(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(format!("starting failed: {error}")))?;
    let done = runtime.block_on(command);
    // Reading standard input cannot be interrupted; a command that is done does not wait for it.
    runtime.shutdown_background();
    done
}
