//! The log, on standard error.

use std::io::{IsTerminal as _, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, time::SystemTime},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Environment, LogConfig, LogFormat, LogLevel};

/// Starts it, for the life of the process. Only the first call in a process has an effect.
pub(crate) fn start(config: LogConfig, environment: &Environment) {
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Client libraries log each of their attempts. What comes of them we say ourselves, once.
    let others = if level > LevelFilter::INFO {
        level
    } else {
        LevelFilter::OFF
    };
    let filter = Targets::new()
        .with_default(others)
        .with_target("edge_outbox", level);
    // The system's log has times of its own.
    let has_times = matches!(environment.get("JOURNAL_STREAM"), Ok(Some(_)));
    let layer = fmt::layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match (config.format, has_times) {
        (LogFormat::Json, _) => layer.json().flatten_event(true).boxed(),
        (LogFormat::Text, true) => layer.with_target(false).without_time().boxed(),
        (LogFormat::Text, false) => layer.with_target(false).with_timer(SystemTime).boxed(),
    };
    // A test may have set one of its own.
    drop(
        tracing_subscriber::registry()
            .with(layer.with_filter(filter))
            .try_init(),
    );
}
