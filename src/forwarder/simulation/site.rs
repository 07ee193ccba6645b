//! The sinks as they are configured.

use super::far_side::Kind;
use crate::outbox::Start;

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) start: Start,
    /// Whether a hub takes what comes there, and nothing but its receipts confirms it.
    pub(super) has_hub: bool,
}

pub(super) const SITES: [Site; 7] = [
    Site {
        name: "stream",
        kind: Kind::Stream { window: false },
        required: true,
        start: Start::Oldest,
        has_hub: false,
    },
    Site {
        name: "windowed",
        kind: Kind::Stream { window: true },
        required: true,
        start: Start::Oldest,
        has_hub: false,
    },
    Site {
        name: "topic",
        kind: Kind::Topic,
        required: false,
        start: Start::Oldest,
        has_hub: false,
    },
    Site {
        name: "table",
        kind: Kind::Table,
        required: true,
        start: Start::Oldest,
        has_hub: false,
    },
    Site {
        name: "late",
        kind: Kind::Stream { window: false },
        required: false,
        start: Start::Now,
        has_hub: false,
    },
    Site {
        name: "hub",
        kind: Kind::Topic,
        required: true,
        start: Start::Oldest,
        has_hub: true,
    },
    Site {
        name: "hub-stream",
        kind: Kind::Stream { window: false },
        required: true,
        start: Start::Oldest,
        has_hub: true,
    },
];
