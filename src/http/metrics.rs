//! `GET /metrics`: the status and what was counted, for Prometheus. `docs/metrics.md` describes
//! every metric.
//!
//! A scrape reads; it writes nothing to the journal. The only labels whose values are not ours are
//! the names of sinks.

mod exposition;
#[cfg(feature = "hub")]
pub(super) mod hub;

use std::{os::unix::fs::MetadataExt as _, path::Path, sync::Arc};

use hyper::{
    Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
};

use self::exposition::{Format, Page};
use super::answer::{self, Body};
use crate::{
    clock::{ClockSync, SystemClock, Timestamp},
    meter::{Meter, Refusal, SinkMeter},
    outbox::{JOURNAL_FILE, Outbox},
    status::{GuaranteeLevel, JournalState, SinkState, SinkStatus, Status},
};

/// What `st_blocks` counts in, whatever the file system's blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

const MICROS: f64 = 1e6;

const JOURNAL_STATES: [(JournalState, &str); 4] = [
    (JournalState::Open, "open"),
    (JournalState::Full, "full"),
    (JournalState::Reopening, "reopening"),
    (JournalState::Closed, "closed"),
];

const SINK_STATES: [(SinkState, &str); 9] = [
    (SinkState::Absent, "absent"),
    (SinkState::Connecting, "connecting"),
    (SinkState::ReadingBack, "reading_back"),
    (SinkState::Draining, "draining"),
    (SinkState::CaughtUp, "caught_up"),
    (SinkState::Waiting, "waiting"),
    (SinkState::Halted, "halted"),
    (SinkState::Stopped, "stopped"),
    (SinkState::ByHand, "by_hand"),
];

const GUARANTEES: [(GuaranteeLevel, &str); 4] = [
    (GuaranteeLevel::ExactlyOnce, "exactly_once"),
    (GuaranteeLevel::AtLeastOnce, "at_least_once"),
    (GuaranteeLevel::AtMostOnce, "at_most_once"),
    (GuaranteeLevel::Unknown, "unknown"),
];

const CLOCK_SYNCS: [(ClockSync, &str); 3] = [
    (ClockSync::Yes, "yes"),
    (ClockSync::No, "no"),
    (ClockSync::Unknown, "unknown"),
];

/// Answers a scrape.
pub(super) fn answer(outbox: &Outbox, headers: &HeaderMap) -> Response<Body> {
    let ranges = headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<&str> = ranges.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::preferred(&ranges.join(","));
    let status = outbox.status().borrow().clone();
    let mut page = Page::new(format);
    write_process(&mut page, &status, outbox.meter());
    write_events(&mut page, outbox.meter());
    write_journal(&mut page, &status, outbox.meter(), outbox.dir());
    write_sinks(&mut page, &status, outbox.meter());
    let mut response = answer::with(StatusCode::OK, Body::Whole(page.end().into()));
    let content_type = HeaderValue::from_static(format.content_type());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

fn write_process(page: &mut Page, status: &Status, meter: &Meter) {
    page.gauge("edge_outbox_build_info", "The version that runs.")
        .sample(&[("version", &status.version)], 1);
    page.gauge(
        "process_start_time_seconds",
        "When this process opened the outbox, and all counters began at 0, in Unix time. A clock \
         that is set later moves it.",
    )
    .sample(&[], seconds(meter.opened_at(Timestamp::now())));
    let sync = SystemClock::sync();
    page.gauge(
        "edge_outbox_clock_sync",
        "Whether the clock is set, in the kernel's own opinion; unknown where it does not say.",
    )
    .state(&[], "sync", in_force(&CLOCK_SYNCS, sync));
}

fn write_events(page: &mut Page, meter: &Meter) {
    page.counter(
        "edge_outbox_events_appended",
        "Events of programs that became durable.",
    )
    .sample(&[], meter.appended.get());
    page.counter(
        "edge_outbox_events_committed",
        "Events that became durable: those of programs and those of the loss ledger.",
    )
    .sample(&[], meter.committed.get());
    page.counter(
        "edge_outbox_events_repeated",
        "Events that were handed over again with an id that was known, and added nothing.",
    )
    .sample(&[], meter.repeated.get());
    let mut refused = page.counter(
        "edge_outbox_requests_refused",
        "Requests to take events in that were refused, by reason.",
    );
    for why in Refusal::ALL {
        refused.sample(&[("reason", why.as_str())], meter.refused(why));
    }
}

fn write_journal(page: &mut Page, status: &Status, meter: &Meter, dir: &Path) {
    let journal = &status.journal;
    page.gauge(
        "edge_outbox_journal_state",
        "1 for the state that the journal is in.",
    )
    .state(&[], "state", in_force(&JOURNAL_STATES, journal.state));
    page.gauge("edge_outbox_journal_held_bytes", "Bytes of events held.")
        .sample(&[], journal.bytes);
    page.gauge(
        "edge_outbox_journal_quota_bytes",
        "The most bytes of events that may be held.",
    )
    .sample(&[], journal.quota_bytes);
    // What cannot be found out has no sample: a 0 would be a wrong number.
    let mut file = page.gauge(
        "edge_outbox_journal_file_bytes",
        "Bytes that the file of the journal takes on the disk.",
    );
    if let Ok(found) = dir.join(JOURNAL_FILE).metadata() {
        file.sample(&[], found.blocks() * STAT_BLOCK_BYTES);
    }
    let mut free = page.gauge(
        "edge_outbox_disk_free_bytes",
        "Bytes that are free for the outbox where the journal is.",
    );
    if let Ok(found) = rustix::fs::statvfs(dir) {
        free.sample(&[], found.f_bavail.saturating_mul(found.f_frsize));
    }
    page.counter(
        "edge_outbox_events_dropped",
        "Events that were given up to make room, before every required sink had them.",
    )
    .sample(&[], meter.dropped.get());
    page.counter(
        "edge_outbox_journal_compactions",
        "Times that the file of the journal was compacted, which gives room back to the disk.",
    )
    .sample(&[], meter.compactions.get());
    page.counter(
        "edge_outbox_journal_commits",
        "Durable commits, those of opening and reopening among them.",
    )
    .sample(&[], journal.commits);
    page.histogram(
        "edge_outbox_commit_duration_seconds",
        "From writing a commit out to its being durable; a program's own work in it not counted.",
    )
    .seconds(&[], &meter.commits);
    page.counter(
        "edge_outbox_journal_written_bytes",
        "Bytes that the journal handed to write calls on its file. The file system writes more: its \
         own tables, and whole blocks; and so does the card.",
    )
    .sample(&[], meter.bytes_written.get());
    page.counter(
        "edge_outbox_journal_syncs",
        "Syncs of the file of the journal.",
    )
    .sample(&[], meter.syncs.get());
    page.counter(
        "edge_outbox_journal_reopened",
        "Times that the journal was opened anew after a failed read or write.",
    )
    .sample(&[], journal.reopened);
}

fn write_sinks(page: &mut Page, status: &Status, meter: &Meter) {
    let sinks: Vec<Seen<'_>> = status
        .sinks
        .iter()
        .map(|(name, status)| Seen {
            name,
            status,
            meter: meter.sink(name),
        })
        .collect();
    write_places(page, &sinks);
    write_deliveries(page, &sinks);
}

/// A sink as the status and its meter show it.
struct Seen<'a> {
    name: &'a str,
    status: &'a SinkStatus,
    /// None for one that nobody forwards to.
    meter: Option<Arc<SinkMeter>>,
}

fn write_places(page: &mut Page, sinks: &[Seen<'_>]) {
    let mut info = page.gauge(
        "edge_outbox_sink_info",
        "The kind of each sink, and whether trimming waits for it.",
    );
    for Seen { name, status, .. } in sinks {
        let required = if status.required { "true" } else { "false" };
        let labels = [
            ("sink", *name),
            ("kind", &status.kind),
            ("required", required),
        ];
        info.sample(&labels, 1);
    }
    let mut state = page.gauge(
        "edge_outbox_sink_state",
        "1 for the state that the sink is in.",
    );
    for Seen { name, status, .. } in sinks {
        let states = in_force(&SINK_STATES, status.state);
        state.state(&[("sink", name)], "state", states);
    }
    let mut guarantee = page.gauge(
        "edge_outbox_sink_guarantee",
        "1 for the promise that is in force at the sink.",
    );
    for Seen { name, status, .. } in sinks {
        let levels = in_force(&GUARANTEES, status.guarantee.level);
        guarantee.state(&[("sink", name)], "guarantee", levels);
    }
    let mut pending = page.gauge(
        "edge_outbox_pending_events",
        "Events that the sink has not confirmed yet.",
    );
    for Seen { name, status, .. } in sinks {
        pending.sample(&[("sink", name)], status.pending);
    }
    let now = Timestamp::now();
    let mut age = page.gauge(
        "edge_outbox_oldest_pending_age_seconds",
        "How long ago the oldest pending event was taken in, by the wall clock; 0 when there is \
         none. Too long for an event that was taken in before the clock was set.",
    );
    for Seen { name, status, .. } in sinks {
        let since = status.oldest_pending.unwrap_or(now);
        age.sample(&[("sink", name)], (seconds(now) - seconds(since)).max(0.0));
    }
    let mut dead = page.gauge(
        "edge_outbox_dead_letters",
        "Events that the sink rejected for good, and that are on its list still.",
    );
    for Seen { name, status, .. } in sinks {
        dead.sample(&[("sink", name)], status.dead_letters);
    }
    write_hubs(page, sinks);
    let mut last = page.gauge(
        "edge_outbox_last_delivery_timestamp_seconds",
        "When the sink confirmed an event last, in Unix time; none before the first of this process.",
    );
    for Seen { name, status, .. } in sinks {
        if let Some(at) = status.last_delivery {
            last.sample(&[("sink", name)], seconds(at));
        }
    }
}

/// What hubs say, where there is one to hear of.
fn write_hubs(page: &mut Page, sinks: &[Seen<'_>]) {
    let hubs: Vec<_> = sinks
        .iter()
        .filter_map(|sink| Some((sink.name, sink.status, sink.status.hub.as_ref()?)))
        .collect();
    let mut unconfirmed = page.gauge(
        "edge_outbox_hub_unconfirmed_events",
        "Events delivered that the hub has not confirmed.",
    );
    for (name, status, hub) in hubs.iter().filter(|(.., hub)| hub.confirms) {
        unconfirmed.sample(&[("sink", name)], status.acked.since(hub.confirmed));
    }
    let mut missing = page.gauge(
        "edge_outbox_hub_missing_events",
        "Events that the hub misses, by its last receipt.",
    );
    for (name, _, hub) in &hubs {
        missing.sample(&[("sink", name)], hub.missing);
    }
    let mut tampering = page.gauge(
        "edge_outbox_hub_tampering",
        "1 where the hub follows another history than this journal's.",
    );
    for (name, _, hub) in &hubs {
        tampering.sample(&[("sink", name)], u64::from(hub.tampering.is_some()));
    }
}

fn write_deliveries(page: &mut Page, sinks: &[Seen<'_>]) {
    let metered = || {
        let metered = sinks
            .iter()
            .filter_map(|sink| Some((sink.name, sink.meter.as_deref()?)));
        metered.collect::<Vec<_>>()
    };
    let metered = metered();
    type Read = fn(&SinkMeter) -> u64;
    let counters: [(&'static str, &str, Read); 4] = [
        (
            "edge_outbox_events_delivered",
            "Events that the sink confirmed, or was found to have after a connection was lost.",
            |meter| meter.delivered.get(),
        ),
        (
            "edge_outbox_events_redelivered",
            "Events that were sent to the sink again, marked, because an earlier copy may have \
             arrived.",
            |meter| meter.redelivered.get(),
        ),
        (
            "edge_outbox_events_rejected",
            "Events that the sink rejected for good: dead letters.",
            |meter| meter.rejected.get(),
        ),
        (
            "edge_outbox_sink_connections",
            "Connections to the sink that were made.",
            |meter| meter.connections.get(),
        ),
    ];
    for (name, help, read) in counters {
        let mut family = page.counter(name, help);
        for (sink, meter) in &metered {
            family.sample(&[("sink", sink)], read(meter));
        }
    }
    let mut troubles = page.counter(
        "edge_outbox_sink_troubles",
        "Failed attempts, lost connections and events that were refused for now (retry), or what \
         somebody has to mend, counted at each attempt (halt).",
    );
    for (sink, meter) in &metered {
        let count = [("retry", &meter.retries), ("halt", &meter.halts)];
        for (kind, counter) in count {
            troubles.sample(&[("sink", sink), ("kind", kind)], counter.get());
        }
    }
    let mut took = page.histogram(
        "edge_outbox_delivery_duration_seconds",
        "From handing an event to the connection to its confirmation by the sink.",
    );
    for (sink, meter) in &metered {
        took.seconds(&[("sink", sink)], &meter.deliveries);
    }
}

/// Each state, and whether it is the one in force.
fn in_force<S: Copy + PartialEq>(
    states: &'static [(S, &'static str)],
    current: S,
) -> impl Iterator<Item = (&'static str, bool)> {
    states
        .iter()
        .map(move |(state, name)| (*name, *state == current))
}

/// In Unix time.
#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of this century fit"
)]
fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / MICROS
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;

    use super::*;

    /// The words are those of the status, too, and none is missing.
    #[test]
    fn states_have_the_names_that_the_status_has() {
        fn check<S: Serialize>(states: &[(S, &str)]) {
            for (state, name) in states {
                assert_eq!(serde_json::to_value(state).unwrap(), *name);
            }
            let names: BTreeSet<&str> = states.iter().map(|(_, name)| *name).collect();
            assert_eq!(names.len(), states.len());
        }
        check(&JOURNAL_STATES);
        check(&SINK_STATES);
        check(&GUARANTEES);
        check(&CLOCK_SYNCS);
        // As many as the types have: whoever adds a state is led here by the compiler.
        match SinkState::Absent {
            SinkState::Absent
            | SinkState::Connecting
            | SinkState::ReadingBack
            | SinkState::Draining
            | SinkState::CaughtUp
            | SinkState::Waiting
            | SinkState::Halted
            | SinkState::Stopped
            | SinkState::ByHand => {}
        }
        match JournalState::Open {
            JournalState::Open
            | JournalState::Full
            | JournalState::Reopening
            | JournalState::Closed => {}
        }
    }
}
