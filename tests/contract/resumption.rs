//! How soon delivery goes on when the network is back.

use std::{
    thread::{self, sleep},
    time::{Duration, Instant},
};

use crate::support::{
    fault_proxy::{Fault, Way},
    kiosk::Kiosk,
    other_side::{NAME, Network, OtherSide, Patience, assert_promises},
    random::Random,
};

/// What is promised.
const SOON: Duration = Duration::from_secs(5);
/// Devices that suffer at the same time, each in its own way.
const DEVICES: u64 = 4;
/// Outages that each of them goes through.
const EACH: usize = 6;
/// Shortest and longest outage, in milliseconds.
const OUTAGE_MS: (u64, u64) = (30, 900);

/// A way for a network to go. Each device sees most of them, in an order of its own.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Cut,
    Reset,
    Refused,
    RefusedAgain,
    Blackhole,
    NoAnswers,
    HalfOpen,
    MidMessage,
}

const OUTAGES: [Outage; 8] = [
    Outage::Cut,
    Outage::Reset,
    Outage::Refused,
    Outage::RefusedAgain,
    Outage::Blackhole,
    Outage::NoAnswers,
    Outage::HalfOpen,
    Outage::MidMessage,
];

impl Outage {
    fn begin(self, network: &Network) {
        match (self, network) {
            (Self::Cut, _) => network.cut(),
            // In memory nobody waits for an answer, so that a silent loss would never be seen.
            (Self::Reset, _) | (Self::HalfOpen, Network::Memory(_)) => network.reset(),
            (Self::Refused | Self::RefusedAgain, _) => network.refuse(),
            (Self::Blackhole, _) => network.suffer(Fault::Blackhole),
            (Self::NoAnswers, _) => network.suffer(Fault::NoAnswers),
            (Self::HalfOpen, Network::Tcp(_)) => network.leave_half_open(),
            (Self::MidMessage, _) => network.reset_after(Way::Up, 20_001),
        }
    }

    fn end(self, network: &Network) {
        match self {
            Self::Refused | Self::RefusedAgain => network.accept(),
            Self::Blackhole | Self::NoAnswers => network.mend(),
            Self::Cut | Self::Reset | Self::HalfOpen | Self::MidMessage => {}
        }
    }
}

pub(crate) fn everything_pending_is_delivered_within_5_s_of_the_return_of_the_network(
    side: &mut dyn OtherSide,
) {
    let mut random = Random::seeded();
    let mut devices = Vec::new();
    for number in 1..=DEVICES {
        let network = side.network();
        let mut kiosk = Kiosk::new(&format!("kiosk-{number}"));
        kiosk.append_some(100);
        kiosk.forward(vec![side.spec(&network, Patience::Default)]);
        let mut outages = OUTAGES;
        random.shuffle(&mut outages);
        let lengths = outages.map(|_| random.between(OUTAGE_MS.0, OUTAGE_MS.1));
        devices.push((kiosk, network, outages, lengths));
    }
    let took: Vec<Duration> = thread::scope(|scope| {
        let suffering = devices.iter().map(|(kiosk, network, outages, lengths)| {
            scope.spawn(move || {
                let each = outages.iter().zip(lengths).take(EACH);
                each.map(|(outage, length)| suffer(kiosk, network, *outage, *length))
                    .collect::<Vec<_>>()
            })
        });
        let suffering: Vec<_> = suffering.collect();
        let took = suffering.into_iter().flat_map(|each| each.join().unwrap());
        took.collect()
    });
    let worst = took.iter().max().unwrap();
    let total: Duration = took.iter().sum();
    let mean = total / u32::try_from(took.len()).unwrap();
    println!("{} outages: worst {worst:?}, mean {mean:?}", took.len());
    for (kiosk, ..) in &mut devices {
        kiosk.stop_forwarding();
        let arrivals = side.received(kiosk.name(), kiosk.tail());
        assert_promises(kiosk, arrivals, side.is_exactly_once(), &[]);
    }
}

/// One outage; how long it took from its end until everything was delivered.
fn suffer(kiosk: &Kiosk, network: &Network, outage: Outage, length_ms: u64) -> Duration {
    kiosk.wait_until_caught_up(NAME);
    outage.begin(network);
    let upto = kiosk.append_some(60);
    sleep(Duration::from_millis(length_ms));
    outage.end(network);
    let back = Instant::now();
    kiosk.wait_until_delivered(NAME, upto);
    let took = back.elapsed();
    let name = kiosk.name();
    println!("{name}: {outage:?} for {length_ms} ms, delivered after {took:?}");
    assert!(took < SOON, "{name}: {took:?} after {outage:?}");
    took
}
