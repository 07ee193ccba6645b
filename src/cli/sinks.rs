//! `sinks`: the sinks that are configured, those that only have a place left in the journal, and how
//! one of these gives it up.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use clap::Subcommand;
use serde::Serialize;

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, count},
    status::state_text,
};
#[cfg(feature = "carry")]
use crate::forwarder::CARRIED;
use crate::{
    config::Config,
    journal::SinkName,
    outbox::Forgotten,
    seq::Seq,
    status::{SinkState, Status},
};

/// What is shown as the kind of a sink of which only the place is left.
const UNKNOWN_KIND: &str = "-";

/// List the sinks, or forget one that is no longer configured
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(after_help = super::EXIT_CODES)]
    /// Show every sink: those of the configuration, and those that only have a place left
    List(Style),
    #[command(after_help = super::EXIT_CODES)]
    /// Take its place away from a sink that is no longer configured
    ///
    /// Its cursor and its dead letters go, and what was kept for it alone is trimmed. The loss
    /// ledger says what it had not confirmed. Should it come back, it is a new sink.
    Forget {
        /// The sink, as `sinks list` shows it
        name: String,
        #[command(flatten)]
        style: Style,
    },
}

#[derive(Debug, clap::Args)]
struct Style {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// One sink, as `sinks list --json` has it.
#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    /// Absent where neither the configuration nor a daemon knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    configured: bool,
    /// Everything up to here is confirmed; absent for a sink that has no place yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    acked: Option<Seq>,
    /// Events after `acked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<u64>,
    /// What a running daemon does with it; absent where none runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<SinkState>,
}

pub(super) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    match args.action {
        Action::List(style) => list(&style, config).await,
        Action::Forget { name, style } => forget(&name, &style, config).await,
    }
}

async fn list(style: &Style, config: &Config) -> Result<(), Failure> {
    let mut access = Access::find(config, Absent::Refuse, Purpose::Inspect).await?;
    let status = access.status().await?;
    let sinks = listed(config, &status, matches!(access, Access::Daemon(_)));
    let mut output = Output::open();
    if style.json {
        return print_json(&mut output, &sinks);
    }
    let widest = |length: fn(&Listed<'_>) -> usize| sinks.iter().map(length).max().unwrap_or(0);
    let names = widest(|sink| sink.name.len());
    let kinds = widest(|sink| sink.kind.unwrap_or(UNKNOWN_KIND).len());
    for sink in &sinks {
        let kind = sink.kind.unwrap_or(UNKNOWN_KIND);
        let configured = match sink.configured {
            true => "configured",
            false => "not configured",
        };
        let place = match (sink.acked, sink.pending) {
            (Some(acked), Some(pending)) => {
                let (tone, state) = state_text(sink.state);
                let state = output.tone(tone, &state);
                format!("confirmed up to seq {acked}, {pending} pending, {state}")
            }
            _ => "no place yet".to_owned(),
        };
        writeln!(
            output,
            "{:names$}  {kind:kinds$}  {configured:14}  {place}",
            sink.name
        )?;
    }
    Ok(())
}

/// Those of the configuration and those with a place, by name.
fn listed<'a>(config: &'a Config, status: &'a Status, is_running: bool) -> Vec<Listed<'a>> {
    let names = config
        .sinks
        .iter()
        .map(|sink| (&*sink.name, sink.kind.name()));
    #[cfg(feature = "carry")]
    let names = names.chain(config.carried.iter().map(|sink| (&*sink.name, CARRIED)));
    let configured: BTreeMap<&str, &str> = names.collect();
    let names = configured.keys().copied();
    let names: BTreeSet<&str> = names
        .chain(status.sinks.keys().map(String::as_str))
        .collect();
    let listed = names.into_iter().map(|name| {
        let place = status.sinks.get(name);
        let running_kind = place.map(|sink| sink.kind.as_str());
        Listed {
            name,
            kind: running_kind
                .filter(|kind| !kind.is_empty())
                .or_else(|| configured.get(name).copied()),
            configured: configured.contains_key(name),
            acked: place.map(|sink| sink.acked),
            pending: place.map(|sink| sink.pending),
            state: place.map(|sink| sink.state).filter(|_| is_running),
        }
    });
    listed.collect()
}

async fn forget(name: &str, style: &Style, config: &Config) -> Result<(), Failure> {
    let name = SinkName::new(name).map_err(|error| Failure::new(error.to_string()))?;
    // A daemon that has not been restarted since goes by an older configuration.
    let configured = config.sinks.iter().find(|sink| sink.name == name.as_str());
    if let Some(sink) = configured {
        return Err(still_configured(&sink.name, sink.implied));
    }
    #[cfg(feature = "carry")]
    if let Some(sink) = config
        .carried
        .iter()
        .find(|sink| sink.name == name.as_str())
    {
        return Err(still_configured(&sink.name, false));
    }
    let forgotten = match Access::find(config, Absent::Refuse, Purpose::Inspect).await? {
        Access::Daemon(mut client) => client.forget(&name).await?,
        Access::Journal(outbox) => {
            let forgotten = outbox.forget(name.as_str()).await;
            outbox.close().await;
            forgotten?
        }
    };
    let mut output = Output::open();
    if style.json {
        return print_json(&mut output, &forgotten);
    }
    Ok(writeln!(output, "{}", told(&forgotten))?)
}

fn still_configured(name: &str, is_implied: bool) -> Failure {
    let hint = match is_implied {
        true => {
            "it is the one in use while the configuration names none: name another first, then \
                 restart"
                .to_owned()
        }
        false => format!("remove [sinks.{name}] from the configuration first, then restart"),
    };
    Failure::new(format!("sink {name:?} is configured")).hint(hint)
}

fn told(forgotten: &Forgotten) -> String {
    let pending = match forgotten.pending {
        0 => "everything was confirmed".to_owned(),
        pending => format!("{} not confirmed", count(pending, "event")),
    };
    let mut text = format!("{} is forgotten: {pending}", forgotten.sink);
    if forgotten.dead_letters > 0 {
        text += &format!(", {}", count(forgotten.dead_letters, "dead letter"));
    }
    text
}

fn print_json(output: &mut Output, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value);
    let json = json.map_err(|error| Failure::new(error.to_string()))?;
    Ok(writeln!(output, "{json}")?)
}
