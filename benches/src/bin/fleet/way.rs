//! How the devices come back, and what they are told about it.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use edge_outbox::forwarder::{DEFAULT_RECONNECT_MAX, MaxRate, SinkSpec};

/// What happens to all of them at the same moment.
#[derive(Clone, Copy)]
pub enum Moment {
    /// They are switched on, and the broker is there.
    SwitchedOn,
    /// They have tried for so long, and the broker begins to listen.
    BrokerIsBack(Duration),
}

/// One way to come back.
pub struct Way {
    /// For the command line.
    pub name: &'static str,
    /// For the table.
    pub shown: &'static str,
    pub moment: Moment,
    start_jitter: Duration,
    reconnect_max: Duration,
    max_rate: MaxRate,
}

/// The jitter that a configuration has unless told otherwise.
const USUAL_JITTER: Duration = Duration::from_secs(1);
/// No limit.
const UNLIMITED: MaxRate = MaxRate {
    events: None,
    bytes: None,
};

const fn events(a_second: u32) -> MaxRate {
    MaxRate {
        events: NonZeroU32::new(a_second),
        ..UNLIMITED
    }
}

const LONG: Duration = Duration::from_secs(30);

/// Every way there is. Before a broker comes back, the waits have grown to their limit.
pub const WAYS: [Way; 8] = [
    Way {
        name: "on-at-once",
        shown: "switched on, `start_jitter = \"0 s\"`",
        moment: Moment::SwitchedOn,
        start_jitter: Duration::ZERO,
        reconnect_max: DEFAULT_RECONNECT_MAX,
        max_rate: UNLIMITED,
    },
    Way {
        name: "on",
        shown: "switched on, nothing set",
        moment: Moment::SwitchedOn,
        start_jitter: USUAL_JITTER,
        reconnect_max: DEFAULT_RECONNECT_MAX,
        max_rate: UNLIMITED,
    },
    Way {
        name: "on-20",
        shown: "switched on, `max_events_per_s = 20`",
        moment: Moment::SwitchedOn,
        start_jitter: USUAL_JITTER,
        reconnect_max: DEFAULT_RECONNECT_MAX,
        max_rate: events(20),
    },
    Way {
        name: "on-30s",
        shown: "switched on, `start_jitter = \"30 s\"`",
        moment: Moment::SwitchedOn,
        start_jitter: LONG,
        reconnect_max: DEFAULT_RECONNECT_MAX,
        max_rate: UNLIMITED,
    },
    Way {
        name: "on-30s-5",
        shown: "the same, and `max_events_per_s = 5`",
        moment: Moment::SwitchedOn,
        start_jitter: LONG,
        reconnect_max: DEFAULT_RECONNECT_MAX,
        max_rate: events(5),
    },
    Way {
        name: "on-30s-16k",
        shown: "the same, and `max_bytes_per_s = \"16 KiB\"`",
        moment: Moment::SwitchedOn,
        start_jitter: LONG,
        reconnect_max: DEFAULT_RECONNECT_MAX,
        max_rate: MaxRate {
            bytes: NonZeroU64::new(16 * 1024),
            ..UNLIMITED
        },
    },
    Way {
        name: "back",
        shown: "the broker is back, nothing set",
        moment: Moment::BrokerIsBack(Duration::from_secs(12)),
        start_jitter: USUAL_JITTER,
        reconnect_max: DEFAULT_RECONNECT_MAX,
        max_rate: UNLIMITED,
    },
    Way {
        name: "back-30s",
        shown: "the broker is back, `reconnect_max = \"30 s\"`",
        moment: Moment::BrokerIsBack(Duration::from_secs(75)),
        start_jitter: USUAL_JITTER,
        reconnect_max: LONG,
        max_rate: UNLIMITED,
    },
];

impl Way {
    /// The sink as it is told.
    pub fn apply(&self, spec: SinkSpec) -> SinkSpec {
        SinkSpec {
            // Nothing is trimmed, so that the next way finds everything.
            required: false,
            start_jitter: self.start_jitter,
            reconnect_max: self.reconnect_max,
            max_rate: self.max_rate,
            ..spec
        }
    }
}
