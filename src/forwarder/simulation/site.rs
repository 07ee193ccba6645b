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
}

pub(super) const SITES: [Site; 5] = [
    Site {
        name: "stream",
        kind: Kind::Stream { window: false },
        required: true,
        start: Start::Oldest,
    },
    Site {
        name: "windowed",
        kind: Kind::Stream { window: true },
        required: true,
        start: Start::Oldest,
    },
    Site {
        name: "topic",
        kind: Kind::Topic,
        required: false,
        start: Start::Oldest,
    },
    Site {
        name: "table",
        kind: Kind::Table,
        required: true,
        start: Start::Oldest,
    },
    Site {
        name: "late",
        kind: Kind::Stream { window: false },
        required: false,
        start: Start::Now,
    },
];
