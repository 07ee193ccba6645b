//! The relay's process: a daemon whose events come out of a table.

use std::time::Duration;

use tokio::{runtime::Runtime, sync::watch, task::JoinSet, time::timeout};

use super::{
    DaemonError, STOP_LIMIT, Signals, first_to_end, listeners::Listeners, open,
    service_manager::ServiceManager,
};
use crate::{
    config::{Environment, RelayConfig},
    forwarder::Forwarder,
    relay::{FINISH_LIMIT, Relay},
};

/// Threads for everything but the journal and the sinks.
const WORKERS: usize = 2;
/// How long rows that are confirmed may take to be marked, once the relay is told to stop.
const MARK_LIMIT: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT. Rows in hand then get [`FINISH_LIMIT`] to be confirmed, and are marked;
/// afterwards all stops as a daemon does. A second signal ends the process at once; so does a crash:
/// rows are taken again then, and those that this journal has are not sent a second time.
///
/// # Errors
/// What kept it from starting, or made it stop.
pub(crate) fn run(config: &RelayConfig, environment: &Environment) -> Result<(), DaemonError> {
    // Secrets first: what cannot be had must not leave a journal behind.
    config.database()?;
    config.outbox.sinks()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(DaemonError::System)?;
    let done = serve(&runtime, config, environment);
    runtime.shutdown_background();
    done
}

fn serve(
    runtime: &Runtime,
    config: &RelayConfig,
    environment: &Environment,
) -> Result<(), DaemonError> {
    let database = config.database()?;
    let sinks = config.outbox.sinks()?;
    let options = config.outbox.http_options()?;
    let outbox = open(&config.outbox)?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(DaemonError::System)?;
        let manager = ServiceManager::connect(environment).unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager will not know that this is ready");
            ServiceManager::absent()
        });
        let (stop, stopping) = watch::channel(false);
        let stopped = &|| {
            let mut stopping = stopping.clone();
            // An error means that the sender is gone, and with it the relay.
            async move { drop(stopping.wait_for(|stop| *stop).await) }
        };
        let listeners = Listeners::bind(&config.outbox).await?;
        let listening = listeners.addresses();
        outbox.set_listening(listening.clone());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            relay = %outbox.device(),
            table = %config.options.table,
            database = %database.server(),
            listening = %listening.join(", "),
            "started"
        );
        let mut tasks: JoinSet<Result<(), DaemonError>> = JoinSet::new();
        let files = listeners.serve(&mut tasks, &outbox, &sinks, &options, stopped);
        let forward = Forwarder::new(outbox.clone(), sinks).run(stopped());
        tasks.spawn(async { Ok(forward.await?) });
        // What is in hand is confirmed by sinks: they go on until it is done.
        let (finish, finishing) = watch::channel(false);
        let required = config.required_sinks();
        let relay = Relay::new(
            outbox.clone(),
            database,
            config.options.clone(),
            required,
            finishing,
        );
        let gauges = relay.gauges();
        let mut relay = tokio::spawn(relay.run());

        let outcome = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping");
                Ok(())
            }
            ended = tasks.join_next() => first_to_end(ended),
            ended = &mut relay => {
                ended.map_err(|error| DaemonError::System(std::io::Error::other(error)))
            }
            never = manager.report_relay(&outbox, &gauges) => match never {},
        };
        manager.stopping().await;
        finish.send_replace(true);
        let all = async {
            if !relay.is_finished() {
                // It ends in time, or has nothing to lose.
                drop(timeout(FINISH_LIMIT + MARK_LIMIT, &mut relay).await);
            }
            relay.abort();
            stop.send_replace(true);
            while tasks.join_next().await.is_some() {}
            files.remove();
            outbox.close().await;
        };
        tokio::select! {
            ended = timeout(FINISH_LIMIT + MARK_LIMIT + STOP_LIMIT, all) => {
                ended.map_err(|_| DaemonError::Stuck("a sink, a listener or the journal"))?;
            }
            _ = signals.next() => {
                tracing::warn!("stopped at once by a second signal");
                std::process::exit(1);
            }
        }
        tracing::info!(sent = gauges.sent(), refused = gauges.refusals(), "stopped");
        outcome
    })
}
