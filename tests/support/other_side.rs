//! The other side of a sink: a real server, the faulty network in front of it, and a consumer that
//! asks the server itself what arrived.
//!
//! A test is written once over [`OtherSide`] and holds for every sink.

pub(crate) mod memory;
pub(crate) mod mqtt;

pub(crate) mod nats;
pub(crate) mod postgres;
mod verdict;

use std::time::Duration;

use edge_outbox::{
    Envelope, Seq,
    envelope::{Digest, Unverified},
    forwarder::SinkSpec,
    sink::{Sink, SinkError, memory::MemoryStore},
};

use super::{
    fault_proxy::{Fault, FaultProxy, Way},
    kiosk::Kiosk,
};

/// The name of the one sink of most tests.
pub(crate) const NAME: &str = "sink";

/// How long an unanswered event may stay so where a test need not show what the default does.
pub(crate) const IMPATIENT: Duration = Duration::from_secs(1);

/// What an event takes on the wire here, about, in bytes.
const EVENT_BYTES: u64 = 1_200;

/// One copy of an event, as the other side has it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) seq: Seq,
    /// As the other side names it beside the envelope, where it does.
    pub(crate) digest: Option<Digest>,
    pub(crate) envelope: Envelope<Unverified>,
}

impl Arrival {
    /// A message that holds an envelope.
    fn parse(body: &[u8], digest: Option<Digest>) -> Self {
        let envelope = Envelope::<Unverified>::parse(body).expect("an envelope");
        Self {
            seq: envelope.claims().seq,
            digest,
            envelope,
        }
    }

    fn is_of(&self, device: &str) -> bool {
        self.envelope.claims().device == device
    }
}

/// How long a sink waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// As it does by default.
    Default,
    /// [`IMPATIENT`].
    Short,
}

/// A real server that a sink writes to.
pub(crate) trait OtherSide: Send {
    /// Whether nothing is ever there twice.
    fn is_exactly_once(&self) -> bool;

    /// A network of its own to the server.
    fn network(&self) -> Network;

    /// A sink that reaches the server through this network.
    fn sink(&self, network: &Network, patience: Patience) -> Sink;

    /// Every copy of an event of this device, in the order of arrival, from a consumer that does
    /// not use the network of any sink. Waits until `upto` is among them.
    fn received(&mut self, device: &str, upto: Seq) -> Vec<Arrival>;

    /// Sends the consumer away where it lives in the memory of the test. What arrives from now on
    /// is not received.
    fn dismiss_consumer(&mut self) {}

    /// Stops the server as an operator does.
    fn stop(&mut self);

    /// Whether the server has kept what it confirmed when its process is killed.
    fn survives_a_kill(&self) -> bool;

    /// Kills the server without warning.
    fn kill(&mut self);

    /// Starts the server again, with what it had stored.
    fn start_again(&mut self);

    /// Sees to it that this event, and no other, is refused for good.
    fn refuse(&mut self, network: &Network, poison: Seq);

    /// Breaks something that only a person can mend.
    fn break_set_up(&mut self, network: &Network);

    /// Mends it.
    fn mend_set_up(&mut self, network: &Network);

    /// The one sink of a device, with a network of its own.
    fn spec(&self, network: &Network, patience: Patience) -> SinkSpec {
        SinkSpec::new(NAME, self.sink(network, patience))
    }
}

/// The way from one sink to the server.
pub(crate) enum Network {
    /// A real one.
    Tcp(FaultProxy),
    /// To a store in the memory of the test, which plays the network's faults itself.
    Memory(MemoryStore),
}

impl Network {
    /// See [`FaultProxy::cut`].
    pub(crate) fn cut(&self) {
        match self {
            Self::Tcp(proxy) => proxy.cut(),
            Self::Memory(store) => store.cut(),
        }
    }

    /// See [`FaultProxy::reset`].
    pub(crate) fn reset(&self) {
        match self {
            Self::Tcp(proxy) => proxy.reset(),
            Self::Memory(store) => store.cut(),
        }
    }

    /// Nobody gets a connection until [`Network::accept`], and those that are there are reset.
    pub(crate) fn refuse(&self) {
        match self {
            Self::Tcp(proxy) => {
                proxy.refuse();
                proxy.reset();
            }
            Self::Memory(store) => store.go_away(SinkError::retry("unreachable", "away")),
        }
    }

    /// See [`FaultProxy::accept`].
    pub(crate) fn accept(&self) {
        match self {
            Self::Tcp(proxy) => proxy.accept(),
            Self::Memory(store) => store.come_back(),
        }
    }

    /// See [`FaultProxy::leave_half_open`]. In memory nobody would ever notice.
    pub(crate) fn leave_half_open(&self) {
        match self {
            Self::Tcp(proxy) => proxy.leave_half_open(),
            Self::Memory(_) => panic!("nobody waits for an answer in memory"),
        }
    }

    /// See [`FaultProxy::reset_after`]. In memory it counts the bytes of whole events.
    pub(crate) fn reset_after(&self, way: Way, bytes: u64) {
        match self {
            Self::Tcp(proxy) => proxy.reset_after(way, bytes),
            Self::Memory(store) => store.cut_after(bytes.div_ceil(EVENT_BYTES) as usize),
        }
    }

    /// See [`FaultProxy::suffer`]. In memory every fault loses the answers.
    pub(crate) fn suffer(&self, fault: Fault) {
        match self {
            Self::Tcp(proxy) => proxy.suffer(fault),
            Self::Memory(store) => store.be_silent(true),
        }
    }

    /// See [`FaultProxy::mend`].
    pub(crate) fn mend(&self) {
        match self {
            Self::Tcp(proxy) => proxy.mend(),
            Self::Memory(store) => {
                store.be_silent(false);
                store.cut();
            }
        }
    }

    /// The port that a sink connects to.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Tcp(proxy) => proxy.port(),
            Self::Memory(_) => panic!("there is no port in memory"),
        }
    }

    /// The store at the end of it.
    pub(crate) fn store(&self) -> &MemoryStore {
        match self {
            Self::Memory(store) => store,
            Self::Tcp(_) => panic!("this network leads to a server"),
        }
    }
}

/// What there is to say of arrivals that keep the promises.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Seqs that arrived more than once.
    pub(crate) repeated: Vec<Seq>,
    /// Seqs of which a copy was marked as a repeat.
    pub(crate) marked: Vec<Seq>,
    /// What the loss ledger says of events that were given up.
    pub(crate) rejections: Vec<serde_json::Value>,
}

/// Asserts everything that a sink promises: nothing is missing but `without`, every envelope
/// verifies, they are one chain, and no repeat is unmarked; nothing is repeated at all where that
/// is promised.
#[track_caller]
pub(crate) fn assert_promises(
    kiosk: &Kiosk,
    arrivals: Vec<Arrival>,
    once: bool,
    without: &[Seq],
) -> Verdict {
    verdict::reach(kiosk, arrivals, once, without)
}
