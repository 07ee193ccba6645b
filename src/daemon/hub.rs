//! The hub's process: opens what it needs, works, and stops in time.

use tokio::runtime::Builder;

use super::{DaemonError, Signals, service_manager::ServiceManager};
use crate::{
    config::{Environment, HubConfig},
    hub::{Gauges, Station, StationError},
};

/// Threads for what does not wait: proofs, for the most part.
const MAX_WORKERS: usize = 8;
/// What is said where nothing is served.
const OFF: &str = "off";

/// Runs until SIGTERM or SIGINT; what is in hand is stored and acknowledged then. A second signal ends
/// the process at once; so does a crash, and neither loses anything: what was not acknowledged comes
/// again.
///
/// # Errors
/// What kept it from starting, or made it stop.
pub(crate) fn run(config: &HubConfig, environment: &Environment) -> Result<(), DaemonError> {
    let database = config.database()?;
    let options = config.options()?;
    let key = config.receipt_key()?;
    let sources = config.sources()?;
    let names: Vec<String> = sources.iter().map(|it| it.name.clone()).collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers.min(MAX_WORKERS))
        .enable_all()
        .build()
        .map_err(DaemonError::System)?;
    let done = runtime.block_on(async {
        let mut signals = Signals::new().map_err(DaemonError::System)?;
        let manager = ServiceManager::connect(environment).unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager will not know that this is ready");
            ServiceManager::absent()
        });
        #[cfg(feature = "http")]
        let listener = listen(config).await?;
        let server = database.server().to_owned();
        let station = Station::new(database, options, config.limits, key, sources);
        station.check().await.map_err(StationError::from)?;
        let gauges = station.gauges();
        #[cfg(feature = "http")]
        let listening = match &listener {
            Some(listener) => listener
                .local_addr()
                .map_or_else(|_| OFF.into(), |it| it.to_string()),
            None => OFF.to_owned(),
        };
        #[cfg(not(feature = "http"))]
        let listening = OFF;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            sources = %names.join(", "),
            database = %server,
            %listening,
            "started"
        );
        #[cfg(feature = "http")]
        let serve = {
            let gauges = gauges.clone();
            async move {
                match listener {
                    Some(listener) => {
                        crate::http::serve_hub(listener, gauges, std::future::pending()).await
                    }
                    None => std::future::pending().await,
                }
            }
        };
        #[cfg(not(feature = "http"))]
        let serve = std::future::pending::<std::io::Result<()>>();
        tokio::pin!(serve);
        let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
        let work = station.run(async {
            // Sent or dropped, it is the word.
            drop(stopping.await);
        });
        tokio::pin!(work);
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "stopping"),
            ended = &mut work => return Ok(ended?),
            ended = &mut serve => return ended.map_err(DaemonError::System),
            never = manager.report_hub(|| state(&gauges)) => match never {},
        }
        manager.stopping().await;
        drop(stop);
        tokio::select! {
            ended = &mut work => ended?,
            ended = &mut serve => ended.map_err(DaemonError::System)?,
            _ = signals.next() => {
                tracing::warn!("stopped at once by a second signal");
                std::process::exit(1);
            }
        }
        tracing::info!("stopped");
        Ok(())
    });
    runtime.shutdown_background();
    done
}

/// Where metrics are served.
#[cfg(feature = "http")]
async fn listen(config: &HubConfig) -> Result<Option<tokio::net::TcpListener>, DaemonError> {
    let Some(address) = config.listen else {
        return Ok(None);
    };
    let listener = tokio::net::TcpListener::bind(address).await;
    let failed = |source| super::listeners::ListenError::Tcp { address, source };
    Ok(Some(listener.map_err(failed)?))
}

/// How it is, in one line.
fn state(gauges: &Gauges) -> String {
    let away: Vec<&str> = gauges
        .sources()
        .iter()
        .filter(|(_, source)| !source.is_connected() || !source.has_database())
        .map(|(name, _)| name.as_str())
        .collect();
    match away.is_empty() {
        true => "takes events from every source".into(),
        false => format!("waits for {}, or for the database", away.join(", ")),
    }
}
