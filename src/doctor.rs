//! `edge-outbox doctor`: everything that has to be right for events to be kept and delivered, looked
//! at one by one.
//!
//! This is the device's part: `settings`, `data`, `disk`, `clock`, and what a running daemon says
//! (`daemon`). What concerns a sink is looked at by its adapter ([`crate::sink::checkup`]). Nothing
//! is changed: no directory, key or journal is made, and the journal is not even opened, which
//! would write to it. Each step is bounded in time.

mod clock;
mod daemon;
mod data;
mod disk;
mod settings;

use crate::{
    clock::{Clock as _, SystemClock},
    config::{Config, ConfigError, SinkConfig},
    envelope::DeviceName,
    finding::{Check, Finding},
    journal::derived_name,
    outbox::KEY_FILE,
    signing::DeviceKey,
    sink::checkup::Visit,
};

pub(crate) use daemon::Daemon;

/// What to look at.
#[derive(Clone, Copy)]
pub(crate) struct Orders<'a> {
    /// One sink alone.
    pub(crate) sink: Option<&'a str>,
    /// Whether each sink is sent a probe.
    pub(crate) probe: bool,
}

/// What a configuration that cannot be used comes to: nothing else can be looked at then.
pub(crate) fn misconfigured(error: ConfigError) -> Vec<Finding> {
    settings::refused(error)
}

/// Looks at everything in order, and reports each finding as it comes.
pub(crate) async fn examine(
    config: &Config,
    daemon: &Daemon,
    orders: Orders<'_>,
    mut report: impl FnMut(Finding),
) {
    let holder = data::holder(config);
    if orders.sink.is_none() {
        settings::findings(config).into_iter().for_each(&mut report);
        report(daemon.finding(holder));
        for finding in data::findings(config, daemon, holder) {
            report(finding);
        }
        for finding in disk::findings(config).await {
            report(finding);
        }
        let stamp = SystemClock::new().stamp();
        for finding in clock::findings(&stamp, clock::has_chip()) {
            report(finding);
        }
    }
    let device = device(config, daemon);
    let is_served = holder.is_some() || !matches!(daemon, Daemon::Absent);
    for sink in &config.sinks {
        if orders.sink.is_some_and(|only| only != sink.name) {
            continue;
        }
        for finding in look_at(sink, config, daemon, &device, orders, is_served).await {
            report(finding.of_sink(&sink.name));
        }
    }
}

async fn look_at(
    sink: &SinkConfig,
    config: &Config,
    daemon: &Daemon,
    device: &DeviceName,
    orders: Orders<'_>,
    is_served: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let spec = sink.spec();
    if let Err(problem) = &spec {
        let hint = problem.hint.clone();
        findings.push(Finding::fail(Check::SinkOptions, problem.to_string(), hint));
    }
    findings.extend(daemon.deliveries(&sink.name));
    if let Ok(mut spec) = spec {
        let visit = Visit {
            device,
            max_payload: config.journal.max_payload_bytes,
            is_served,
            delivered: daemon.delivered(&sink.name),
            probe: orders.probe,
        };
        findings.extend(spec.sink.checkup(&visit).await);
    }
    findings
}

/// The device's name, as well as it can be told without opening the journal, which may remember
/// another one than the key gives.
fn device(config: &Config, daemon: &Daemon) -> DeviceName {
    let served = match daemon {
        Daemon::Runs(status) => status.device.parse().ok(),
        Daemon::Absent | Daemon::Silent(_) => None,
    };
    let by_key = || {
        let key = DeviceKey::load(&config.data_dir.join(KEY_FILE)).ok()?;
        derived_name(&key.public_key().id()).ok()
    };
    served
        .or_else(|| config.device.clone())
        .or_else(by_key)
        .unwrap_or_else(DeviceName::unnamed)
}
