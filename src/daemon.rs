//! The daemon: opens the outbox, listens, forwards, and stops in time.

#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "http")]
mod listeners;
#[cfg(not(feature = "http"))]
#[path = "daemon/no_listeners.rs"]
mod listeners;
mod log;
#[cfg(feature = "hub")]
mod relay;
mod service_manager;

use std::{
    future::pending,
    io,
    thread::sleep,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

#[cfg(feature = "hub")]
pub(crate) use self::hub::run as run_hub;
pub(crate) use self::log::start as start_log;
#[cfg(feature = "hub")]
pub(crate) use self::relay::run as run_relay;
use self::{
    listeners::{ListenError, Listeners},
    service_manager::ServiceManager,
};
#[cfg(feature = "carry")]
use crate::forwarder::Carried;
use crate::{
    config::{Config, ConfigError, Environment, HttpOptions, RecoverWhen},
    forwarder::{ForwardError, Forwarder, SinkSpec},
    journal::damage,
    outbox::{OpenError, Outbox},
};

/// How long everything together may take to stop: a supervisor that was told 2 s is kept to it.
const STOP_LIMIT: Duration = Duration::from_millis(1_800);
/// Threads that answer requests. Journal and sinks have their own.
const MAX_WORKERS: usize = 4;

/// How long to wait for a journal that is in use.
const IN_USE_LIMIT: Duration = Duration::from_secs(2);
/// How long between two attempts at it.
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// Why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::hub::StationError),
    #[error("starting failed: {0}")]
    System(io::Error),
    #[error("{0} did not stop in time")]
    Stuck(&'static str),
}

impl DaemonError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Listen(error) => error.hint().map(str::to_owned),
            #[cfg(feature = "hub")]
            Self::Hub(crate::hub::StationError::Database(error)) => error.hint().map(str::to_owned),
            _ => None,
        }
    }
}

/// Runs until SIGTERM or SIGINT, then finishes the commit in hand and stops within 2 s. A second
/// signal ends the process at once; so does a crash, and neither loses what was acknowledged.
///
/// # Errors
/// What kept it from starting, or made it stop.
pub(crate) fn run(config: &Config, environment: &Environment) -> Result<(), DaemonError> {
    let sinks = config.sinks()?;
    let options = config.http_options()?;
    let outbox = open(config)?;
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(DaemonError::System)?;
    let done = serve(&runtime, config, environment, outbox, sinks, options);
    runtime.shutdown_background();
    done
}

/// Opens the outbox, after a command that has it open for a moment. A damaged journal is recovered
/// before, once, where that is configured.
fn open(config: &Config) -> Result<Outbox, DaemonError> {
    let deadline = Instant::now() + IN_USE_LIMIT;
    let mut may_recover = config.journal.recover == RecoverWhen::AtStart;
    // Found while it was in use, in a place where opening does not look.
    let mut damage = damage::remembered(&config.data_dir).filter(|_| may_recover);
    let mut recovered = None;
    loop {
        if let Some(found) = damage.take() {
            tracing::error!(damage = %found, "the journal is damaged; recovering it");
            let done = config
                .outbox()?
                .recover(&config.sink_names(), Some(found.clone()));
            match done {
                Err(OpenError::InUse(_)) if Instant::now() < deadline => {
                    damage = Some(found);
                    sleep(IN_USE_PAUSE);
                    continue;
                }
                Ok(recovery) => recovered = recovery,
                // What can be opened all the same is worth more than nothing.
                Err(error) => tracing::error!(%error, "the journal could not be recovered"),
            }
            may_recover = false;
        }
        match config.outbox()?.open() {
            Err(OpenError::InUse(_)) if Instant::now() < deadline => sleep(IN_USE_PAUSE),
            Err(error @ OpenError::Damaged { .. }) if may_recover => {
                damage = Some(error.to_string());
            }
            opened => {
                let outbox = opened?;
                if let Some(recovery) = recovered {
                    outbox.tell_fault(recovery.text());
                }
                return Ok(outbox);
            }
        }
    }
}

fn serve(
    runtime: &Runtime,
    config: &Config,
    environment: &Environment,
    outbox: Outbox,
    sinks: Vec<SinkSpec>,
    options: HttpOptions,
) -> Result<(), DaemonError> {
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(DaemonError::System)?;
        let manager = ServiceManager::connect(environment).unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager will not know that this is ready");
            ServiceManager::absent()
        });
        let (stop, stopping) = watch::channel(false);
        let stopped = &|| {
            let mut stopping = stopping.clone();
            // An error means that the sender is gone, and with it the daemon.
            async move { drop(stopping.wait_for(|stop| *stop).await) }
        };
        let listeners = Listeners::bind(config).await?;
        let listening = listeners.addresses();
        outbox.set_listening(listening.clone());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            device = %outbox.device(),
            listening = %listening.join(", "),
            "started"
        );
        // Held for as long as the daemon runs, so that nobody has it forgotten.
        #[cfg(feature = "carry")]
        let _held = carried(config, &outbox).await?;
        #[cfg(all(feature = "carry", feature = "http"))]
        let options = HttpOptions {
            carried: _held.clone(),
            ..options
        };
        let mut tasks: JoinSet<Result<(), DaemonError>> = JoinSet::new();
        let files = listeners.serve(&mut tasks, &outbox, &sinks, &options, stopped);
        let forward = Forwarder::new(outbox.clone(), sinks).run(stopped());
        tasks.spawn(async { Ok(forward.await?) });

        let outcome = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping");
                Ok(())
            }
            ended = tasks.join_next() => first_to_end(ended),
            never = manager.report(&outbox) => match never {},
        };
        manager.stopping().await;
        stop.send_replace(true);
        let all = async {
            while tasks.join_next().await.is_some() {}
            files.remove();
            outbox.close().await;
        };
        tokio::select! {
            ended = timeout(STOP_LIMIT, all) => {
                ended.map_err(|_| DaemonError::Stuck("a sink, a listener or the journal"))?;
            }
            _ = signals.next() => {
                tracing::warn!("stopped at once by a second signal");
                std::process::exit(1);
            }
        }
        tracing::info!("stopped");
        outcome
    })
}

/// The place of the sink that somebody carries, where one is configured.
#[cfg(feature = "carry")]
async fn carried(config: &Config, outbox: &Outbox) -> Result<Option<Carried>, DaemonError> {
    let Some(spec) = &config.carried else {
        return Ok(None);
    };
    let opened = Carried::open(outbox, spec.clone()).await;
    let failed = |source| ForwardError::Register {
        name: spec.name.clone(),
        source,
    };
    Ok(Some(opened.map_err(failed)?))
}

/// What it means that a task ended by itself, which none does while all is well.
fn first_to_end(
    ended: Option<Result<Result<(), DaemonError>, tokio::task::JoinError>>,
) -> Result<(), DaemonError> {
    match ended {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(DaemonError::System(io::Error::other(error))),
        None => Ok(()),
    }
}

/// The signals that stop the daemon, and whatever else runs until it is told to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Takes SIGTERM and SIGINT over: they end the process no more.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: None,
        })
    }

    /// SIGHUP, too: the end of the terminal is the end of what was shown on it, unless it was
    /// started to outlive that (`nohup`).
    #[cfg(feature = "demo")]
    pub(crate) fn of_terminal() -> io::Result<Self> {
        let kind = SignalKind::hangup();
        Ok(Self {
            hangup: match is_ignored(kind) {
                true => None,
                false => Some(signal(kind)?),
            },
            ..Self::new()?
        })
    }

    /// Waits for one, and gives its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            Some(()) = hangup => "SIGHUP",
            else => pending().await,
        }
    }
}

/// Whether whoever started this process had the signal ignored. Where the system does not say, it
/// is not.
#[cfg(feature = "demo")]
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| {
        let mask = line.strip_prefix("SigIgn:")?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}
