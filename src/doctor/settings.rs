//! The configuration: whether it can be read and used, and where it comes from.

#[cfg(feature = "carry")]
use crate::forwarder::CARRIED;
use crate::{
    config::{Config, ConfigError, Place},
    finding::{Check, Finding},
};

pub(super) fn refused(error: ConfigError) -> Vec<Finding> {
    let problems = error.problems.into_iter();
    problems
        .map(|problem| Finding::fail(Check::Config, problem.to_string(), problem.hint))
        .collect()
}

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(Check::Config, sources(config))];
    findings.extend(config.remarks.iter().map(|remark| {
        let hint = "`edge-outbox config show` shows what is in force";
        Finding::warn(Check::Config, remark.as_str(), hint.to_owned())
    }));
    findings.push(match config.http_options() {
        Ok(_) => Finding::ok(Check::ConfigSecrets, "what the listeners need can be read"),
        Err(error) => Finding {
            check: Check::ConfigSecrets,
            ..refused(error).remove(0)
        },
    });
    findings.push(sinks(config));
    findings
}

fn sources(config: &Config) -> String {
    let count = |is_one: fn(&Place) -> bool| {
        let settings = config.settings.iter();
        settings.filter(|setting| is_one(&setting.place)).count()
    };
    let mut sources = vec![match &config.file {
        Some(path) => path.display().to_string(),
        None => "no file".to_owned(),
    }];
    let counts = [
        (count(|place| matches!(place, Place::File { .. })), "in it"),
        (
            count(|place| matches!(place, Place::Environment(_))),
            "from the environment",
        ),
        (count(|place| matches!(place, Place::Flag(_))), "by flags"),
        (count(|place| *place == Place::Default), "by default"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    sources.extend(counts.map(|(count, whence)| format!("{count} keys {whence}")));
    sources.join(", ")
}

fn sinks(config: &Config) -> Finding {
    let named = config
        .sinks
        .iter()
        .map(|sink| format!("{} ({})", sink.name, sink.kind.name()));
    let is_required = config.sinks.iter().any(|sink| sink.required);
    #[cfg(feature = "carry")]
    let (named, is_required) = {
        let carried = config.carried.iter();
        let carried = carried.map(|sink| format!("{} ({CARRIED})", sink.name));
        let is_carried = config.carried.as_ref().is_some_and(|sink| sink.required);
        (named.chain(carried), is_required || is_carried)
    };
    let named: Vec<String> = named.collect();
    let keep = "add a section [sinks.NAME] for the broker or the database that shall get them";
    if named.is_empty() {
        let message = "none: events are kept until the quota is reached, and go nowhere";
        return Finding::warn(Check::ConfigSinks, message, keep.to_owned());
    }
    if !is_required {
        let message = format!(
            "{}: none is required, and nothing is kept for them",
            named.join(", ")
        );
        return Finding::warn(Check::ConfigSinks, message, keep.to_owned());
    }
    Finding::ok(Check::ConfigSinks, named.join(", "))
}
