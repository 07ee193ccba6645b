//! `config check`, `config show` and `config sql`.

use std::io::Write as _;

use clap::Subcommand;

use super::{
    Failure,
    output::{Output, Tone},
};
use crate::config::{Config, ConfigError, Place, Setting};

/// Check the configuration, show what is in force, or print the tables of a Postgres sink
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(after_help = super::EXIT_CODES)]
    /// Check everything that can be checked without a network, files with secrets included
    Check,
    #[command(after_help = super::EXIT_CODES)]
    /// Show every key with its value and where that comes from, secrets masked
    Show,
    #[cfg(all(feature = "postgres", not(feature = "hub")))]
    #[command(after_help = super::EXIT_CODES)]
    /// Print the script that makes the tables of a Postgres sink, for psql
    Sql,
    #[cfg(feature = "hub")]
    #[command(after_help = super::EXIT_CODES)]
    /// Print the script that makes the tables of a Postgres sink, of the hub, or of a relay, for psql
    Sql {
        /// Those of the hub
        #[arg(long, conflicts_with = "hub_inbox")]
        hub: bool,
        /// What has the tables of a Postgres sink tell a hub what is new in them
        #[arg(long)]
        hub_inbox: bool,
        /// The table of unsent events that a relay brings to the sinks
        #[arg(long, conflicts_with_all = ["hub", "hub_inbox"])]
        relay: bool,
    },
}

/// Reads the configuration only for what needs it: the script is the same for everybody.
pub(super) fn run(
    args: &Args,
    load: impl FnOnce() -> Result<Config, ConfigError>,
) -> Result<(), Failure> {
    let mut output = Output::open();
    match args.action {
        Action::Check => {
            let config = load()?;
            config.check()?;
            for remark in &config.remarks {
                writeln!(output, "{}", output.tone(Tone::Watch, remark))?;
            }
            let file = match &config.file {
                Some(path) => path.display().to_string(),
                None => "no file; everything comes from flags, the environment or defaults".into(),
            };
            writeln!(output, "{} {file}", output.tone(Tone::Good, "ok:"))?;
        }
        Action::Show => show(&mut output, &load()?)?,
        #[cfg(all(feature = "postgres", not(feature = "hub")))]
        Action::Sql => write!(output, "{}", crate::sink::postgres::SCHEMA_SQL)?,
        #[cfg(feature = "hub")]
        Action::Sql {
            hub,
            hub_inbox,
            relay,
        } => {
            let script = match (hub, hub_inbox, relay) {
                (true, ..) => crate::hub::SCHEMA_SQL,
                (_, true, _) => crate::hub::INBOX_SQL,
                (.., true) => crate::relay::TABLE_SQL,
                _ => crate::sink::postgres::SCHEMA_SQL,
            };
            write!(output, "{script}")?;
        }
    }
    Ok(())
}

/// As a file that could be read again.
fn show(output: &mut Output, config: &Config) -> Result<(), Failure> {
    let mut settings: Vec<(&str, &str, &Setting)> = config
        .settings
        .iter()
        .map(|setting| {
            let (section, key) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
            (section, key, setting)
        })
        .collect();
    // A key after a section's header belongs to that section, whatever it was meant for.
    settings.sort_by_key(|(section, ..)| *section);
    let mut current = "";
    for (section, key, setting) in settings {
        if section != current {
            writeln!(output, "\n[{section}]")?;
            current = section;
        }
        let line = match &setting.value {
            Some(value) => format!("{key} = {value}"),
            None => format!("#{key} is not set"),
        };
        let place = match &setting.place {
            Place::Default => String::new(),
            place => format!("# {place}"),
        };
        let line = format!("{line:40} {}", output.tone(Tone::Quiet, &place));
        writeln!(output, "{}", line.trim_end())?;
    }
    if config.has_signing_key() {
        writeln!(
            output,
            "\n# the signing key comes from EDUPULSE_SIGNING_KEY_B64"
        )?;
    }
    Ok(())
}
