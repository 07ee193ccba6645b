//! What the sinks have that a relay waits for.

use crate::{
    outbox::Outbox,
    seq::Seq,
    status::{SinkState, SinkStatus, Status},
};

/// The required sinks, as the status shows them.
pub(super) struct Standing<'a> {
    tail: Seq,
    sinks: Vec<(&'a str, Option<&'a SinkStatus>)>,
}

impl<'a> Standing<'a> {
    pub(super) fn of(status: &'a Status, names: &'a [String]) -> Self {
        let sinks = names.iter();
        Self {
            tail: status.tail,
            sinks: sinks
                .map(|name| (name.as_str(), status.sinks.get(name)))
                .collect(),
        }
    }

    /// Whether each of them takes events.
    pub(super) fn takes(&self) -> bool {
        self.sinks.iter().all(|(_, sink)| takes(*sink))
    }

    /// Those that do not.
    pub(super) fn away(&self) -> Vec<&'a str> {
        self.those(|sink| !takes(sink))
    }

    /// Whether each of them has everything up to here, delivered or as a dead letter.
    pub(super) fn has(&self, seq: Seq) -> bool {
        self.sinks.iter().all(|(_, sink)| has(*sink, seq))
    }

    /// Those that do not have everything.
    pub(super) fn behind(&self) -> Vec<&'a str> {
        self.those(|sink| !has(sink, self.tail))
    }

    /// Whether any of them has rejected anything that could be news.
    pub(super) fn rejects(&self) -> bool {
        let mut sinks = self.sinks.iter().filter_map(|(_, sink)| *sink);
        sinks.any(|sink| sink.dead_letters > 0 || sink.discarded > 0)
    }

    /// Waits until each has everything up to `seq`; false where the outbox is closed.
    pub(super) async fn confirmed(outbox: &Outbox, names: &[String], seq: Seq) -> bool {
        let mut status = outbox.status();
        let has = status.wait_for(|status| Standing::of(status, names).has(seq));
        has.await.is_ok()
    }

    fn those(&self, which: impl Fn(Option<&SinkStatus>) -> bool) -> Vec<&'a str> {
        let those = self.sinks.iter().filter(|(_, sink)| which(*sink));
        those.map(|(name, _)| *name).collect()
    }
}

fn takes(sink: Option<&SinkStatus>) -> bool {
    sink.is_some_and(|sink| matches!(sink.state, SinkState::CaughtUp | SinkState::Draining))
}

fn has(sink: Option<&SinkStatus>, seq: Seq) -> bool {
    sink.is_some_and(|sink| sink.acked >= seq)
}
