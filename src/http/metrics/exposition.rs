//! How metrics are written down: the text format of Prometheus, version 0.0.4, and OpenMetrics 1.0.
//!
//! They differ in the name that a counter goes by in its description, and in the last line. Bounds
//! of buckets are written alike in both, so that a series stays the same whichever is asked for.

use std::{fmt, fmt::Write as _};

use crate::meter::{BUCKETS_MICROS, Histogram};

/// Bytes that a page of a device with two sinks takes, about.
const USUAL_BYTES: usize = 16 * 1024;

const MICROS: f64 = 1e6;

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// The one that the client would rather have, by its `Accept`; that of Prometheus for a client
    /// that does not say.
    pub(super) fn preferred(accept: &str) -> Self {
        let (mut plain, mut open) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality = quality.map_or(1.0, |text| text.parse().unwrap_or(0.0));
            let best = match kind {
                "application/openmetrics-text" => &mut open,
                "text/plain" | "text/*" | "*/*" => &mut plain,
                _ => continue,
            };
            *best = f64::max(*best, quality);
        }
        match open > 0.0 && open >= plain {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// Its content type.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels of a sample. Their values are names of sinks, words of ours and a version: nothing that
/// would have to be escaped.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Metrics in the making.
pub(super) struct Page {
    text: String,
    format: Format,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self {
            text: String::with_capacity(USUAL_BYTES),
            format,
        }
    }

    /// A number that only grows; `name` without `_total`, which is added.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        let described = match self.format {
            Format::Prometheus => "_total",
            Format::OpenMetrics => "",
        };
        self.describe(name, described, help, Kind::Counter);
        self.family(name, "_total")
    }

    /// A number that rises and falls.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.describe(name, "", help, Kind::Gauge);
        self.family(name, "")
    }

    /// How long things take.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.describe(name, "", help, Kind::Histogram);
        self.family(name, "")
    }

    /// All of it.
    pub(super) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn family(&mut self, name: &'static str, suffix: &'static str) -> Family<'_> {
        Family {
            text: &mut self.text,
            name,
            suffix,
        }
    }

    fn describe(&mut self, name: &str, suffix: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let described =
            format_args!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        // A string takes everything.
        let _ = self.text.write_fmt(described);
    }
}

/// The samples of one metric.
pub(super) struct Family<'p> {
    text: &'p mut String,
    name: &'static str,
    suffix: &'static str,
}

impl Family<'_> {
    /// One value.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl fmt::Display) -> &mut Self {
        self.line(self.suffix, labels, None, value);
        self
    }

    /// One of a closed set of states: a sample for each, and 1 for the one in force.
    pub(super) fn state<'a>(
        &mut self,
        labels: Labels<'a>,
        label: &'a str,
        states: impl IntoIterator<Item = (&'static str, bool)>,
    ) -> &mut Self {
        for (state, in_force) in states {
            let mut with = labels.to_vec();
            with.push((label, state));
            self.sample(&with, u8::from(in_force));
        }
        self
    }

    /// A histogram whose unit is the second.
    pub(super) fn seconds(&mut self, labels: Labels<'_>, histogram: &Histogram) -> &mut Self {
        let sum = histogram.sum().as_secs_f64();
        let counts = histogram.cumulative();
        let mut bounds = BUCKETS_MICROS.iter();
        for count in counts {
            #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
            let bound = bounds.next().map(|bound| *bound as f64 / MICROS);
            // As `1.0` and not `1`: OpenMetrics wants it so.
            let bound = bound.map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
            self.line("_bucket", labels, Some(&bound), count);
        }
        let count = counts.last().copied().unwrap_or_default();
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
        self
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: impl fmt::Display,
    ) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut before = '{';
        for (label, value) in labels.iter().copied().chain(bound) {
            self.text.push(before);
            before = ',';
            // A string takes everything.
            let _ = write!(self.text, "{label}=\"{value}\"");
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.counter("events", "Events.").sample(&[], 7);
        page.gauge("pending", "Pending.")
            .sample(&[("sink", "hub")], 0.5);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(30));
        page.histogram("took_seconds", "Time.")
            .seconds(&[("sink", "hub")], &histogram);
        page.end()
    }

    #[test]
    fn both_formats_have_the_same_samples_and_name_a_counter_as_they_should() {
        let plain = page(Format::Prometheus);
        let begin = "# HELP events_total Events.\n# TYPE events_total counter\nevents_total 7\n\
                     # HELP pending Pending.\n# TYPE pending gauge\npending{sink=\"hub\"} 0.5\n";
        assert!(plain.starts_with(begin), "{plain}");
        assert!(plain.contains("took_seconds_bucket{sink=\"hub\",le=\"0.025\"} 0\n"));
        assert!(plain.contains("took_seconds_bucket{sink=\"hub\",le=\"0.05\"} 1\n"));
        assert!(plain.contains("took_seconds_bucket{sink=\"hub\",le=\"10.0\"} 1\n"));
        let end = "took_seconds_bucket{sink=\"hub\",le=\"+Inf\"} 1\n\
                   took_seconds_sum{sink=\"hub\"} 0.03\ntook_seconds_count{sink=\"hub\"} 1\n";
        assert!(plain.ends_with(end), "{plain}");

        let open = page(Format::OpenMetrics);
        assert!(open.contains("# TYPE events counter\nevents_total 7\n"));
        assert!(open.ends_with("\n# EOF\n"));
        let samples = |page: &str| -> Vec<String> {
            let lines = page.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(samples(&plain), samples(&open));
    }

    #[test]
    fn who_does_not_ask_for_openmetrics_gets_the_format_of_prometheus() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
                          application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html, */*;q=0.8", Format::Prometheus),
            (
                "text/plain, application/openmetrics-text; q=0.5",
                Format::Prometheus,
            ),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            (prometheus, Format::OpenMetrics),
        ] {
            assert_eq!(Format::preferred(accept), expected, "{accept}");
        }
    }
}
