//! The log, on standard error.
//!
//! Where that leads to the system's log, each line begins with its priority, as in
//! sd-daemon(3), and leaves out the time that it is given there.

use std::{
    fmt,
    io::{IsTerminal as _, stderr},
};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields, format::Writer, layer as lines, time::SystemTime,
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
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
    let layer = lines()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let layer: Box<dyn Layer<Registry> + Send + Sync> =
        match (config.format, is_system_log(environment)) {
            (LogFormat::Json, false) => layer.json().flatten_event(true).boxed(),
            (LogFormat::Json, true) => {
                let layer = layer.json().flatten_event(true).without_time();
                layer.map_event_format(Prioritised).boxed()
            }
            (LogFormat::Text, false) => layer.with_target(false).with_timer(SystemTime).boxed(),
            (LogFormat::Text, true) => {
                let layer = layer.with_target(false).without_time();
                layer.map_event_format(Prioritised).boxed()
            }
        };
    // A test may have set one of its own.
    drop(
        tracing_subscriber::registry()
            .with(layer.with_filter(filter))
            .try_init(),
    );
}

/// Whether standard error leads to the system's log. The variable names the stream's device and
/// inode, for it is inherited by those whose output was led elsewhere.
fn is_system_log(environment: &Environment) -> bool {
    let Ok(Some(named)) = environment.get("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(stderr())
        .is_ok_and(|found| named == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Lines that begin with their priority.
struct Prioritised<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// As syslog(3) numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
