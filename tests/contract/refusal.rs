//! What the other side refuses: one event for good, or everything until somebody mends it.

use std::time::{Duration, Instant};

use edge_outbox::status::SinkState;

use crate::support::{
    kiosk::Kiosk,
    other_side::{NAME, OtherSide, Patience, assert_promises},
};

pub(crate) fn one_poison_event_is_given_up_and_all_others_arrive(side: &mut dyn OtherSide) {
    let network = side.network();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(300);
    let poison = kiosk.append_poison();
    kiosk.append_some(300);
    side.refuse(&network, poison);
    kiosk.forward(vec![side.spec(&network, Patience::Default)]);
    kiosk.wait_for(NAME, |sink| sink.dead_letters == 1);
    let status = kiosk.wait_until_caught_up(NAME);
    assert_eq!(status.dead_letters, 1, "{status:#?}");
    kiosk.stop_forwarding();

    let arrivals = side.received(kiosk.name(), kiosk.tail());
    let verdict = assert_promises(&kiosk, arrivals, side.is_exactly_once(), &[poison]);
    assert!(verdict.repeated.is_empty(), "{verdict:?}");
    // The other side finds out from the loss ledger.
    assert_eq!(verdict.rejections.len(), 1, "{verdict:?}");
    let rejection = &verdict.rejections[0];
    assert_eq!(rejection["sink"], NAME);
    assert_eq!(rejection["seq"], poison.get());
}

pub(crate) fn a_halt_ends_by_itself_once_its_cause_is_mended(side: &mut dyn OtherSide) {
    /// In the first minute of a halt an attempt is made every 5 s.
    const SOON: Duration = Duration::from_secs(6);
    let network = side.network();
    let mut kiosk = Kiosk::new("kiosk-1");
    kiosk.append_some(200);
    kiosk.forward(vec![side.spec(&network, Patience::Default)]);
    kiosk.wait_until_caught_up(NAME);
    side.break_set_up(&network);
    kiosk.append_some(100);
    let status = kiosk.wait_for(NAME, |sink| sink.state == SinkState::Halted);
    let trouble = status.last_error.expect("the reason");
    assert_eq!(trouble.kind, "halt", "{trouble:?}");
    let hint = trouble.hint.as_deref().unwrap_or_default();
    assert!(
        hint.contains('`'),
        "what to change is not said: {trouble:?}"
    );
    assert_eq!(status.dead_letters, 0);
    kiosk.append_some(100);

    side.mend_set_up(&network);
    let mended = Instant::now();
    kiosk.wait_until_caught_up(NAME);
    let took = mended.elapsed();
    assert!(took < SOON, "{took:?} after the repair");
    println!(
        "{}: {hint}\nmended, and delivered after {took:?}",
        trouble.message
    );
    kiosk.stop_forwarding();
    let arrivals = side.received(kiosk.name(), kiosk.tail());
    assert_promises(&kiosk, arrivals, side.is_exactly_once(), &[]);
}
