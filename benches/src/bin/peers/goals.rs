//! What edge-outbox is to reach, beside what it reached in this run.

use crate::{
    measure::{
        append,
        outage::{self, Start},
    },
    report::Sheet,
};

/// What counts as flat: a start that does not depend on what is pending is at 1, one that depended on
/// it alone at 10, and the medians of a few starts are up to a third apart by themselves.
const FLAT: f64 = 1.5;

/// What was measured for one size of payload.
#[derive(Default)]
pub struct Measured {
    pub append: Option<append::Tables>,
    pub outage: Option<outage::Tables>,
    pub wear: Option<Sheet>,
    /// Bytes of an envelope as it is sent, with its payload.
    pub envelope: f64,
}

impl Measured {
    pub fn print(&self) {
        if let Some(tables) = &self.append {
            tables.print();
        }
        if let Some(tables) = &self.outage {
            tables.print();
        }
        if let Some(sheet) = &self.wear {
            sheet.print();
        }
    }
}

/// The sinks, and the bare clients beside them.
const SINKS: [(&str, &str, &str); 3] = [
    ("JetStream", "outbox-nats", "bare-nats"),
    ("MQTT", "outbox-mqtt", "bare-mqtt"),
    ("Postgres", "outbox-postgres", "bare-postgres"),
];

/// What stands behind a figure of the program as it is packaged, where there is one of that built for
/// speed, too.
const PACKAGED: &str = ", as packaged";

/// The same one by the program as it is packaged, of which memory counts.
fn packaged(name: &str) -> String {
    name.replace("outbox-", "packaged-")
}

/// Prints those that something was measured for.
pub fn print(bytes: usize, measured: &Measured, loss: Option<&Sheet>) {
    let mut lines = Vec::new();
    let mut most = |what: &str, figure: Option<f64>, goal: f64, at_most: bool| {
        let Some(figure) = figure.filter(|figure| figure.is_finite()) else {
            return;
        };
        let (reached, sign) = match at_most {
            true => (figure <= goal, "≤"),
            false => (figure >= goal, "≥"),
        };
        let reached = if reached { "yes" } else { "no" };
        let digits = if goal < 20.0 { 2 } else { 0 };
        lines.push(format!(
            "| {what} | {sign} {goal} | {figure:.digits$} | {reached} |"
        ));
    };
    if let Some(tables) = &measured.append {
        let rate = |name, producers| tables.rates.median(name, &append::column(producers));
        let per =
            |name, producers, other, others| Some(rate(name, producers)? / rate(other, others)?);
        let what = "append, 64 producers: bare redb with the same groups";
        most(what, per("library", 64, "redb", 64), 0.7, false);
        let what = "append, 64 producers: a leaf node that syncs always";
        most(what, per("library", 64, "leaf-always", 64), 10.0, false);
        // Where the disk allows it, which the same groups in bare redb show.
        if rate("redb-1000", 1).is_some_and(|rate| rate >= 400_000.0) {
            most(
                "append, batches of 1,000, a second",
                rate("library-1000", 1),
                150_000.0,
                false,
            );
        }
        for (by, one, hundred) in [
            ("", "http", "http-100"),
            (PACKAGED, "packaged-http", "packaged-http-100"),
        ] {
            let what = "HTTP, batches of 100: the library with the same batches, 16 producers";
            let ratio = per(hundred, 16, "library-100", 16);
            most(&format!("{what}{by}"), ratio, 0.6, false);
            let what = "HTTP, one a request, 64 connections, a second";
            most(&format!("{what}{by}"), rate(one, 64), 10_000.0, false);
        }
        let wait = |name| tables.wait(1)?.median(name, "p50");
        let ratio = wait("library").and_then(|ours| Some(ours / wait("redb")?));
        most("one producer, p50: a commit of bare redb", ratio, 1.1, true);
    }
    if let Some(tables) = &measured.outage {
        for (sink, ours, bare) in SINKS {
            let rate = |name| tables.drain.median(name, outage::RATE);
            let packaged = packaged(ours);
            for (by, name) in [("", ours), (PACKAGED, packaged.as_str())] {
                let ratio = rate(name).and_then(|ours| Some(ours / rate(bare)?));
                let what = format!("drain to {sink}: the bare client{by}");
                most(&what, ratio, 0.9, false);
            }
        }
        for (column, goal) in [
            (outage::IDLE, 10.0),
            (outage::PENDING, 16.0),
            (outage::DRAINING, 16.0),
        ] {
            for (sink, ours, _) in SINKS {
                let memory = tables.memory.median(&packaged(ours), column);
                most(&format!("MiB, {column}, to {sink}"), memory, goal, true);
            }
            let memory = |name| tables.memory.median(name, column);
            let ratio =
                memory(&packaged("outbox-nats")).and_then(|ours| Some(ours / memory("leaf")?));
            most(
                &format!("memory, {column}: the leaf node"),
                ratio,
                0.1,
                true,
            );
        }
        for Start {
            files, all, few, ..
        } in outage::STARTS
        {
            let took = |column| tables.start.median("packaged-nats", column);
            most(
                &format!("ms from SIGKILL and start to the first event taken, {files}"),
                took(all),
                50.0,
                true,
            );
            let ratio = took(all).and_then(|all| Some(all / took(few)?));
            most(
                &format!(
                    "start with all pending: with a tenth of it, if that is 65,536 or more, {files}"
                ),
                ratio,
                FLAT,
                true,
            );
        }
    }
    if let Some(wear) = &measured.wear {
        let written = |name, column| wear.median(name, column);
        let column = crate::measure::wear::ONLINE;
        let ours = written("outbox-nats", column);
        let ratio = ours.and_then(|ours| Some(ours / written("redb", column)?));
        most(
            "bytes at one a second, online: a commit of bare redb",
            ratio,
            1.15,
            true,
        );
        let ours = written("outbox-nats", crate::measure::wear::FULL_SPEED);
        let ratio = ours.map(|ours| ours / measured.envelope);
        let envelope = measured.envelope;
        let what =
            format!("bytes at full speed: payload and envelope as sent ({envelope:.0} bytes)");
        most(&what, ratio, 1.5, true);
    }
    if let Some(loss) = loss {
        for (sink, ours, _) in SINKS {
            let lost = loss.sum(ours, |column| column.ends_with("lost"));
            most(&format!("lost on the way to {sink}"), lost, 0.0, true);
        }
    }
    if lines.is_empty() {
        return;
    }
    println!("| {bytes} bytes: edge-outbox to what | goal | here | reached |");
    println!("| --- | --- | --- | --- |\n{}\n", lines.join("\n"));
}
