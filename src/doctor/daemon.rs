//! What a running daemon says.

use crate::{
    clock::Timestamp,
    finding::{Check, Finding},
    status::{HubStatus, JournalState, SinkState, SinkStatus, Status},
};

/// From so many hundredths of the quota on, a journal is told of.
const NEARLY_FULL: u64 = 80;

/// A hub's word may take so long: a receipt follows within seconds, and a tail asks for one anew.
const HUB_WAIT_MICROS: i64 = 10 * 60 * 1_000_000;

/// The daemon that has the journal.
pub(crate) enum Daemon {
    /// It answers with its status.
    Runs(Box<Status>),
    /// Nobody listens.
    Absent,
    /// Somebody listens who does not answer as a daemon would: the finding about it.
    Silent(Box<Finding>),
}

impl Daemon {
    /// `holder`: the process that has the journal open.
    pub(super) fn finding(&self, holder: Option<u32>) -> Finding {
        match (self, holder) {
            (Self::Runs(status), _) if status.version != env!("CARGO_PKG_VERSION") => {
                let message = format!(
                    "runs version {}, and this is version {}",
                    status.version,
                    env!("CARGO_PKG_VERSION")
                );
                let hint = "restart it: `systemctl restart edge-outbox`";
                Finding::warn(Check::Daemon, message, hint.to_owned())
            }
            (Self::Runs(status), _) => Finding::ok(
                Check::Daemon,
                format!("runs as {}: {status}", status.device),
            ),
            (Self::Silent(finding), _) => (**finding).clone(),
            (Self::Absent, Some(pid)) => {
                let message =
                    format!("process {pid} has the journal open, and answers on no socket of ours");
                let hint = "a daemon that starts takes a moment; a program with the journal of its \
                            own has to serve it to be asked; else set `http.socket` to its socket";
                Finding::warn(Check::Daemon, message, hint.to_owned())
            }
            (Self::Absent, None) => {
                let message = "does not run: nothing is delivered";
                let hint = "start it: `systemctl start edge-outbox`, or `edge-outbox run`";
                Finding::warn(Check::Daemon, message, hint.to_owned())
            }
        }
    }

    /// What it says of the journal.
    pub(super) fn journal(&self) -> Option<Finding> {
        let Self::Runs(status) = self else {
            return None;
        };
        let journal = &status.journal;
        let held = format!(
            "{}, {} of {} bytes held",
            journal.state, journal.bytes, journal.quota_bytes
        );
        let fail = |message: String, hint: &str| {
            Finding::fail(Check::DataJournal, message, hint.to_owned())
        };
        Some(match (journal.state, &journal.last_error) {
            (JournalState::Full, _) => fail(
                format!("full: no more events are taken ({held})"),
                "let the sinks deliver, which makes room; or raise `journal.max_bytes`, or free \
                 space on the disk",
            ),
            (JournalState::Reopening | JournalState::Closed, error) => fail(
                match error {
                    Some(error) => format!("{}: {error}", journal.state),
                    None => journal.state.to_string(),
                },
                "see to the disk: the journal is opened again as soon as it can be written",
            ),
            (JournalState::Open, Some(error)) => Finding::warn(
                Check::DataJournal,
                format!("{held}; a fault of the disk has passed: {error}"),
                "a disk with faults wants to be replaced: see the system's log".to_owned(),
            ),
            (JournalState::Open, None) if journal.dropped > 0 => Finding::warn(
                Check::DataJournal,
                format!(
                    "{held}; {} events were given up to make room",
                    journal.dropped
                ),
                "the loss ledger says which; let the sinks deliver, or raise `journal.max_bytes`"
                    .to_owned(),
            ),
            (JournalState::Open, None)
                if journal.bytes >= journal.quota_bytes / 100 * NEARLY_FULL =>
            {
                let hint = "let the sinks deliver, or raise `journal.max_bytes`";
                Finding::warn(Check::DataJournal, held, hint.to_owned())
            }
            (JournalState::Open, None) => Finding::ok(Check::DataJournal, held),
        })
    }

    /// What it is doing at a sink.
    pub(super) fn deliveries(&self, sink: &str) -> Vec<Finding> {
        let Self::Runs(status) = self else {
            return Vec::new();
        };
        let Some(sink) = status
            .sinks
            .get(sink)
            .filter(|sink| sink.state != SinkState::Absent)
        else {
            let message = "the daemon that runs does not know this sink";
            let hint = "restart it: it goes by the configuration that it was started with";
            return vec![Finding::warn(Check::SinkDelivery, message, hint.to_owned())];
        };
        let mut findings = vec![delivery(sink)];
        if sink.dead_letters > 0 {
            let message = format!("{} dead letters: given up for good", sink.dead_letters);
            let hint = "`edge-outbox dead-letters list` says why; once that is mended, \
                        `edge-outbox dead-letters retry` sends them again";
            findings.push(Finding::warn(Check::SinkDelivery, message, hint.to_owned()));
        }
        findings.extend(sink.hub.as_ref().map(hub));
        findings
    }

    /// When it last delivered to a sink, where it had no trouble since.
    pub(super) fn delivered(&self, sink: &str) -> Option<Timestamp> {
        let Self::Runs(status) = self else {
            return None;
        };
        let sink = status.sinks.get(sink)?;
        sink.last_delivery.filter(|_| trouble(sink).is_none())
    }
}

/// What the hub behind a sink says, or why it may say nothing.
fn hub(hub: &HubStatus) -> Finding {
    let hint = "see whether the hub runs and signs with a key of `device.hub_key`, and whether this \
                user may subscribe to its receipts (`receipts`)";
    if let Some(tampering) = &hub.tampering {
        let hint = "ask the hub for its report on this device; what lies in the history that it does \
                    not follow is kept until `confirm` is \"ack\"";
        return Finding::fail(Check::SinkHub, tampering.as_str(), Some(hint.to_owned()));
    }
    let upto = format!(
        "the hub has confirmed everything up to seq {}",
        hub.confirmed
    );
    let waits = |since: Timestamp| {
        let waited = Timestamp::now().as_micros() - since.as_micros();
        waited > HUB_WAIT_MICROS
    };
    match (hub.waiting_since, hub.last_receipt) {
        (Some(since), _) if waits(since) => {
            let message = format!("{upto}, and what came after waits for its word since {since}");
            Finding::warn(Check::SinkHub, message, hint.to_owned())
        }
        (Some(_), _) => Finding::ok(Check::SinkHub, upto + "; more is on its way"),
        (None, None) if !hub.confirms => {
            let message = "no receipt of the hub has come since the daemon was started";
            Finding::warn(Check::SinkHub, message, hint.to_owned())
        }
        (None, Some(at)) if !hub.confirms => {
            Finding::ok(Check::SinkHub, format!("the hub was heard of at {at}"))
        }
        (None, _) => Finding::ok(Check::SinkHub, upto),
    }
}

fn delivery(sink: &SinkStatus) -> Finding {
    let doing = format!("{}, {} pending", sink.state, sink.pending);
    let Some(trouble) = trouble(sink) else {
        return Finding::ok(Check::SinkDelivery, doing);
    };
    let message = format!("{doing}: {}", trouble.message);
    let finding = match sink.state {
        SinkState::Halted => Finding::fail(Check::SinkDelivery, message, trouble.hint.clone()),
        _ => Finding::warn(Check::SinkDelivery, message, trouble.hint.clone()),
    };
    Finding {
        code: Some(trouble.code.clone()),
        ..finding
    }
}

/// The last trouble, where it is not over.
fn trouble(sink: &SinkStatus) -> Option<&crate::status::SinkTrouble> {
    let is_over = |at| sink.last_delivery.is_some_and(|delivery| delivery > at);
    sink.last_error
        .as_ref()
        .filter(|trouble| sink.state != SinkState::CaughtUp && !is_over(trouble.at))
}
