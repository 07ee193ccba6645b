//! What a hub counts, for Prometheus. `docs/hub.md` describes every metric.

use hyper::{
    Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
};

use super::{Body, Format, Page, answer};
use crate::hub::{Gauges, SourceGauges};

/// Answers a scrape.
pub(in crate::http) fn scrape(gauges: &Gauges, headers: &HeaderMap) -> Response<Body> {
    let ranges = headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<&str> = ranges.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::preferred(&ranges.join(","));
    let mut page = Page::new(format);
    page.gauge("edge_outbox_build_info", "The version that runs.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    write_sources(&mut page, gauges);
    write_totals(&mut page, gauges);
    let mut response = answer::with(StatusCode::OK, Body::Whole(page.end().into()));
    let content_type = HeaderValue::from_static(format.content_type());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

type Count = fn(&SourceGauges) -> u64;

const COUNTERS: [(&str, &str, Count); 5] = [
    (
        "edge_outbox_hub_batches_committed",
        "Transactions that stored what a source brought, and were followed by its acknowledgement.",
        SourceGauges::batches,
    ),
    (
        "edge_outbox_hub_events_stored",
        "Events that were new.",
        SourceGauges::stored,
    ),
    (
        "edge_outbox_hub_events_repeated",
        "Events that were stored already.",
        SourceGauges::repeated,
    ),
    (
        "edge_outbox_hub_tails_received",
        "Signed words of devices for how far their journals go.",
        SourceGauges::tails,
    ),
    (
        "edge_outbox_hub_receipts_sent",
        "Signed words to devices for what is safe.",
        SourceGauges::receipts,
    ),
];

fn write_sources(page: &mut Page, gauges: &Gauges) {
    let mut connected = page.gauge(
        "edge_outbox_hub_source_connected",
        "Whether the source can be reached.",
    );
    for (name, source) in gauges.sources() {
        connected.sample(&[("source", name)], u8::from(source.is_connected()));
    }
    let mut database = page.gauge(
        "edge_outbox_hub_database_connected",
        "Whether the database takes what the source brings.",
    );
    for (name, source) in gauges.sources() {
        database.sample(&[("source", name)], u8::from(source.has_database()));
    }
    for (metric, help, count) in COUNTERS {
        let mut counter = page.counter(metric, help);
        for (name, source) in gauges.sources() {
            counter.sample(&[("source", name)], count(source));
        }
    }
    let mut quarantined = page.counter(
        "edge_outbox_hub_messages_quarantined",
        "Messages that were not taken, by reason; some of them for the second time.",
    );
    for (name, source) in gauges.sources() {
        for (reason, count) in source.quarantined() {
            quarantined.sample(&[("source", name), ("reason", reason.code())], count);
        }
    }
}

/// Absent while nobody knows: a number that stands still would seem to be one.
fn write_totals(page: &mut Page, gauges: &Gauges) {
    let Some(totals) = gauges.totals() else {
        return;
    };
    for (metric, help, value) in [
        (
            "edge_outbox_hub_devices",
            "Devices that are registered.",
            totals.devices,
        ),
        (
            "edge_outbox_hub_events_missing",
            "Events that are missing and not declared lost, of all devices.",
            totals.missing,
        ),
        (
            "edge_outbox_hub_devices_tampered",
            "Devices whose own signatures show something to be wrong.",
            totals.tampered,
        ),
        (
            "edge_outbox_hub_quarantine_messages",
            "Messages in quarantine.",
            totals.quarantined,
        ),
        (
            "edge_outbox_hub_quarantine_dropped",
            "Messages that quarantine had no room for, since the tables were made.",
            totals.dropped,
        ),
    ] {
        page.gauge(metric, help).sample(&[], value);
    }
}
