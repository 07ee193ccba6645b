//! What is printed, and the picture.

use edge_outbox_benches::{
    per_second,
    plot::{Panel, figure},
};

use crate::{broker::Kind, come_back::Outcome, way::Way};

/// The way whose growth is drawn.
const DRAWN: &str = "on";

pub fn head(kind: Kind, events: usize) {
    println!(
        "| {events} events each, to {} | devices | attempts | connections | most attempts in a second | half are done, s \
         | all are, s | events/s | broker at most, MiB | its processor time, s | the devices', s |",
        kind.name()
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
}

pub fn row(way: &Way, events: usize, outcome: &Outcome) {
    let Outcome {
        devices,
        attempts,
        connections,
        most_a_second,
        half,
        slowest,
        missing,
        broker_mib,
        processor,
        of_devices,
    } = outcome;
    let slowest = match missing {
        0 => format!("{:.1}", slowest.as_secs_f64()),
        missing => format!("{missing} are not"),
    };
    println!(
        "| {} | {devices} | {attempts} | {connections} | {most_a_second:.0} | {:.1} | {slowest} | {:.0} | \
         {broker_mib:.1} | {processor:.2} | {of_devices:.1} |",
        way.shown,
        half.as_secs_f64(),
        rate(outcome, events),
    );
}

/// Events a second until the last device was done.
fn rate(outcome: &Outcome, events: usize) -> f64 {
    let done = (outcome.devices - outcome.missing) * events;
    per_second(done as u64, outcome.slowest)
}

/// How what it takes grows with the number of devices.
pub fn plot(outcomes: &[(Kind, &Way, Outcome)]) -> String {
    type Value = fn(&Outcome) -> f64;
    let panels: [(&str, Value); 4] = [
        ("until all are done, s", |of| of.slowest.as_secs_f64()),
        ("attempts to connect, most in a second", |of| {
            of.most_a_second
        }),
        ("broker's memory, at most, MiB", |of| of.broker_mib),
        ("broker's processor time, s", |of| of.processor),
    ];
    let line = |kind: Kind, value: Value| {
        let drawn = outcomes
            .iter()
            .filter(|(of, way, _)| *of == kind && way.name == DRAWN);
        let points = drawn.map(|(_, _, outcome)| (outcome.devices as f64, value(outcome)));
        (kind.name().to_owned(), points.collect::<Vec<_>>())
    };
    let panels = panels.map(|(title, value)| Panel {
        title: title.to_owned(),
        lines: Kind::USUAL
            .into_iter()
            .map(|kind| line(kind, value))
            .filter(|(_, points)| !points.is_empty())
            .collect(),
    });
    figure("devices", &panels)
}
