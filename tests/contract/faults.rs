//! Nothing is lost, and nothing repeated without a mark, whatever the network or the server does
//! while events flow.

use std::{thread::sleep, time::Duration};

use edge_outbox::Seq;

use crate::support::{
    fault_proxy::{Fault, Way},
    kiosk::Kiosk,
    other_side::{NAME, Network, OtherSide, Patience, assert_promises},
};

/// Events that wait at the beginning.
const BEFORE: u64 = 2_000;
/// Events that are appended under each fault, and after it.
const DURING: u64 = 600;
const AFTER: u64 = 500;
/// How long a fault goes on each time that lasts. A sink waits 1 s for an answer here: twice it is
/// back before that, and then the sink gives up.
const LASTING: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1_300),
];
/// How long events flow after a fault that is over at once.
const SUDDEN: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
];

/// Whether a sink has to notice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The session ends at once.
    Sudden,
    /// The session ends, and there is no other for a while.
    Lasting,
    /// It takes longer, and that is all.
    Slow,
}

type Act<'a> = &'a dyn Fn(&mut dyn OtherSide, &Network);

fn nothing_is_lost(side: &mut dyn OtherSide, trouble: Trouble, strike: Act<'_>, mend: Act<'_>) {
    let network = side.network();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(BEFORE);
    let (holds, patience) = match trouble {
        Trouble::Sudden => (SUDDEN, Patience::Short),
        Trouble::Lasting => (LASTING, Patience::Short),
        Trouble::Slow => (LASTING, Patience::Default),
    };
    kiosk.forward(vec![side.spec(&network, patience)]);
    kiosk.wait_until_delivered(NAME, Seq::new(200));
    for hold in holds {
        strike(side, &network);
        kiosk.append_some(DURING);
        sleep(hold);
        mend(side, &network);
        kiosk.append_some(AFTER);
        kiosk.wait_until_caught_up(NAME);
    }
    let noticed = kiosk.sink(NAME).last_error;
    assert_eq!(noticed.is_some(), trouble != Trouble::Slow, "{noticed:?}");
    kiosk.stop_forwarding();
    let arrivals = side.received(kiosk.name(), kiosk.tail());
    let verdict = assert_promises(&kiosk, arrivals, side.is_exactly_once(), &[]);
    println!(
        "{} events, {} repeated, {} marked; last: {}",
        kiosk.tail(),
        verdict.repeated.len(),
        verdict.marked.len(),
        noticed.map_or_else(|| "no trouble".into(), |trouble| trouble.message),
    );
}

fn nothing(_: &mut dyn OtherSide, _: &Network) {}

fn suffering(side: &mut dyn OtherSide, trouble: Trouble, fault: Fault) {
    let strike = |_: &mut dyn OtherSide, network: &Network| network.suffer(fault);
    let mend = |_: &mut dyn OtherSide, network: &Network| network.mend();
    nothing_is_lost(side, trouble, &strike, &mend);
}

pub(crate) fn nothing_is_lost_when_connections_are_cut(side: &mut dyn OtherSide) {
    let cut = |_: &mut dyn OtherSide, network: &Network| network.cut();
    nothing_is_lost(side, Trouble::Sudden, &cut, &cut);
}

pub(crate) fn nothing_is_lost_when_connections_are_reset(side: &mut dyn OtherSide) {
    let reset = |_: &mut dyn OtherSide, network: &Network| network.reset();
    nothing_is_lost(side, Trouble::Sudden, &reset, &reset);
}

pub(crate) fn nothing_is_lost_when_connections_are_refused(side: &mut dyn OtherSide) {
    let refuse = |_: &mut dyn OtherSide, network: &Network| network.refuse();
    let accept = |_: &mut dyn OtherSide, network: &Network| network.accept();
    nothing_is_lost(side, Trouble::Lasting, &refuse, &accept);
}

pub(crate) fn nothing_is_lost_when_everything_is_slow(side: &mut dyn OtherSide) {
    let fault = Fault::Delay(Duration::from_millis(30));
    suffering(side, Trouble::Slow, fault);
}

pub(crate) fn nothing_is_lost_in_a_blackhole(side: &mut dyn OtherSide) {
    suffering(side, Trouble::Lasting, Fault::Blackhole);
}

pub(crate) fn nothing_is_lost_when_answers_are_swallowed(side: &mut dyn OtherSide) {
    suffering(side, Trouble::Lasting, Fault::NoAnswers);
}

pub(crate) fn nothing_is_lost_when_a_byte_comes_at_a_time(side: &mut dyn OtherSide) {
    suffering(side, Trouble::Slow, Fault::ByteByByte);
}

pub(crate) fn nothing_is_lost_when_connections_are_half_open(side: &mut dyn OtherSide) {
    let leave = |_: &mut dyn OtherSide, network: &Network| network.leave_half_open();
    nothing_is_lost(side, Trouble::Sudden, &leave, &nothing);
}

pub(crate) fn nothing_is_lost_when_a_message_is_cut_in_two(side: &mut dyn OtherSide) {
    let strike = |_: &mut dyn OtherSide, network: &Network| network.reset_after(Way::Up, 123_456);
    nothing_is_lost(side, Trouble::Sudden, &strike, &nothing);
}

pub(crate) fn nothing_is_lost_when_an_answer_is_cut_in_two(side: &mut dyn OtherSide) {
    let strike = |_: &mut dyn OtherSide, network: &Network| network.reset_after(Way::Down, 1_003);
    nothing_is_lost(side, Trouble::Sudden, &strike, &nothing);
}

pub(crate) fn nothing_is_lost_when_the_server_is_started_again(side: &mut dyn OtherSide) {
    let stop = |side: &mut dyn OtherSide, _: &Network| side.stop();
    let start = |side: &mut dyn OtherSide, _: &Network| side.start_again();
    nothing_is_lost(side, Trouble::Lasting, &stop, &start);
}

pub(crate) fn nothing_is_lost_when_the_server_is_killed(side: &mut dyn OtherSide) {
    let kill = |side: &mut dyn OtherSide, _: &Network| side.kill();
    let start = |side: &mut dyn OtherSide, _: &Network| side.start_again();
    nothing_is_lost(side, Trouble::Lasting, &kill, &start);
}
