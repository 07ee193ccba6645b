//! `drain`: forwards what is pending, then ends. For cron, and before a device is put away.

use std::{io::Write as _, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, Tone, count},
};
use crate::{
    client::Client,
    config::{Config, Environment, parse_span},
    daemon,
    forwarder::Forwarder,
    status::{SinkState, SinkStatus, Status},
};

/// How often a daemon is asked how far it is. It has no word for "tell me when you are done".
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Forward what is pending, then exit: 0 when every sink has everything, 1 when the time is up or
/// there is no sink
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long to try, such as `500 ms`, `30s` or `10 min`
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_span)]
    timeout: Duration,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let status = match Access::find(config, Absent::Refuse, Purpose::Work).await? {
        Access::Daemon(client) => watch(client, args.timeout).await?,
        Access::Journal(outbox) => {
            daemon::start_log(config.log, &Environment::of_process());
            let sinks = config.sinks()?;
            let drained = Forwarder::new(outbox.clone(), sinks)
                .drain(args.timeout)
                .await;
            // How far it came is in the status, with what stands in the way.
            let _ = drained.map_err(|error| Failure::new(error.to_string()))?;
            let status = outbox.status().borrow().clone();
            outbox.close().await;
            status
        }
    };
    tell(&status, args.timeout)
}

/// Waits until a daemon has brought everything away that was there when it was asked.
async fn watch(mut client: Client, limit: Duration) -> Result<Status, Failure> {
    let deadline = Instant::now() + limit;
    let goal = client.status().await?.tail;
    loop {
        let status = client.status().await?;
        let mut sinks = status.sinks.values().filter(|sink| !is_idle(sink));
        if sinks.all(|sink| sink.acked >= goal) || Instant::now() >= deadline {
            return Ok(status);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Whether nobody forwards to it: its place is only kept, or somebody carries its events.
fn is_idle(sink: &SinkStatus) -> bool {
    matches!(sink.state, SinkState::Absent | SinkState::ByHand)
}

/// Says what is left, and why.
fn tell(status: &Status, limit: Duration) -> Result<(), Failure> {
    if !status.has_sinks() {
        let none = Failure::new("nothing was forwarded: no sink is configured, events are kept");
        return Err(none.hint("add a section `[sinks.NAME]` to the configuration".to_owned()));
    }
    let mut output = Output::open();
    let mut left = None;
    for (name, sink) in &status.sinks {
        if is_idle(sink) {
            continue;
        }
        if sink.pending == 0 {
            // What went to standard output speaks for itself, and is not to be mixed with.
            if sink.kind == "stdout" {
                continue;
            }
            writeln!(
                output,
                "{name}: {}",
                output.tone(Tone::Good, "everything delivered")
            )?;
            continue;
        }
        let pending = count(sink.pending, "event");
        let mut failure = Failure::new(format!("{name}: {pending} still pending after {limit:?}"));
        if let Some(trouble) = &sink.last_error {
            failure =
                failure.and(Failure::new(trouble.message.as_str()).hint(trouble.hint.clone()));
        }
        left = Some(match left.take() {
            None => failure,
            Some(others) => Failure::and(others, failure),
        });
    }
    left.map_or(Ok(()), Err)
}
