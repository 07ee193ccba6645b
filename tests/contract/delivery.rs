//! What arrives, in which order, and what is marked as a repeat.

use std::{thread::sleep, time::Duration};

use edge_outbox::Seq;

use crate::support::{
    fault_proxy::Fault,
    kiosk::Kiosk,
    other_side::{NAME, OtherSide, Patience, assert_promises},
};

pub(crate) fn first_attempts_arrive_in_order(side: &mut dyn OtherSide) {
    let network = side.network();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(2_500);
    kiosk.forward(vec![side.spec(&network, Patience::Default)]);
    for _ in 0..50 {
        kiosk.append_some(7);
    }
    let status = kiosk.wait_until_caught_up(NAME);
    let tail = kiosk.tail();
    assert_eq!((status.acked, status.claimed), (tail, tail));
    assert!(status.last_error.is_none(), "{status:#?}");
    let arrivals = side.received(kiosk.name(), tail);
    let seqs: Vec<u64> = arrivals.iter().map(|arrival| arrival.seq.get()).collect();
    assert!(seqs.iter().copied().eq(1..=tail.get()), "{seqs:?}");
    let verdict = assert_promises(&kiosk, arrivals, true, &[]);
    assert!(verdict.marked.is_empty(), "{verdict:?}");
}

pub(crate) fn what_is_in_doubt_comes_marked_and_nothing_else(side: &mut dyn OtherSide) {
    let network = side.network();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(500);
    kiosk.forward(vec![side.spec(&network, Patience::Short)]);
    kiosk.wait_until_caught_up(NAME);
    // From here on nothing is answered, though all of it is stored.
    network.suffer(Fault::NoAnswers);
    let first_in_doubt = kiosk.tail().next();
    let last_in_doubt = kiosk.append_some(300);
    kiosk.wait_for(NAME, |sink| sink.claimed == last_in_doubt);
    sleep(Duration::from_millis(300));
    network.mend();
    kiosk.wait_until_caught_up(NAME);
    kiosk.append_some(500);
    kiosk.wait_until_caught_up(NAME);
    kiosk.stop_forwarding();

    let arrivals = side.received(kiosk.name(), kiosk.tail());
    let once = side.is_exactly_once();
    let verdict = assert_promises(&kiosk, arrivals, once, &[]);
    let in_doubt = |seq: &Seq| (first_in_doubt..=last_in_doubt).contains(seq);
    assert!(verdict.marked.iter().all(in_doubt), "{verdict:?}");
    // Where the server can be asked, it was; elsewhere all of it was sent again.
    let repeated = if once { 0 } else { 300 };
    assert_eq!(verdict.repeated.len(), repeated, "{verdict:?}");
}

pub(crate) fn a_program_that_stops_in_mid_window_goes_on_where_it_left_off(
    side: &mut dyn OtherSide,
) {
    let network = side.network();
    let mut kiosk = Kiosk::new("kiosk-1");
    let mut in_doubt = 0;
    for _ in 0..3 {
        kiosk.append_some(800);
        kiosk.forward(vec![side.spec(&network, Patience::Default)]);
        kiosk.wait_until_caught_up(NAME);
        network.suffer(Fault::NoAnswers);
        kiosk.append_some(400);
        kiosk.wait_for(NAME, |sink| sink.claimed > sink.acked);
        // Some of it leaves, perhaps all.
        sleep(Duration::from_millis(100));
        let left = kiosk.sink(NAME);
        in_doubt += left.claimed.since(left.acked);
        kiosk.start_again();
        network.mend();
    }
    assert!(in_doubt > 0, "nothing was on its way");
    kiosk.forward(vec![side.spec(&network, Patience::Default)]);
    kiosk.wait_until_caught_up(NAME);
    kiosk.stop_forwarding();
    let arrivals = side.received(kiosk.name(), kiosk.tail());
    let verdict = assert_promises(&kiosk, arrivals, side.is_exactly_once(), &[]);
    assert!(verdict.marked.len() as u64 <= in_doubt, "{verdict:?}");
}
