//! What arrived, compared with what was promised.

use std::collections::BTreeMap;

use edge_outbox::{Chain, Seq, Verifier};

use super::{Arrival, Verdict};
use crate::support::kiosk::Kiosk;

/// An event that was given up.
const REJECTED: &str = "outbox.event_rejected.v1";

#[track_caller]
pub(super) fn reach(kiosk: &Kiosk, arrivals: Vec<Arrival>, once: bool, without: &[Seq]) -> Verdict {
    let mut verifier = Verifier::new();
    verifier.trust_for(
        kiosk.outbox.public_key().clone(),
        kiosk.outbox.device().clone(),
    );
    let mut by_seq = BTreeMap::<Seq, Vec<Arrival>>::new();
    for arrival in arrivals {
        by_seq.entry(arrival.seq).or_default().push(arrival);
    }
    let expected = (1..=kiosk.tail().get()).map(Seq::new);
    let missing: Vec<Seq> = expected
        .filter(|seq| !by_seq.contains_key(seq) && !without.contains(seq))
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    let last = by_seq.last_key_value().map(|(seq, _)| *seq);
    assert!(last <= Some(kiosk.tail()), "{last:?} is nobody's");

    let mut verdict = Verdict {
        repeated: Vec::new(),
        marked: Vec::new(),
        rejections: Vec::new(),
    };
    let mut chain = Chain::new();
    for (seq, arrivals) in by_seq {
        assert!(!without.contains(&seq), "{seq} was refused and is there");
        let copies = arrivals.len();
        let (mut first, mut marked) = (None, 0);
        for Arrival {
            digest, envelope, ..
        } in arrivals
        {
            let envelope = verifier.verify(envelope).expect("a true envelope");
            let own = envelope.digest();
            assert!(digest.is_none_or(|digest| digest == own), "{seq}");
            marked += usize::from(envelope.redelivered());
            let first = first.get_or_insert(envelope);
            assert_eq!(first.digest(), own, "{seq} is forked");
        }
        if without.contains(&seq.prev()) {
            chain = Chain::new();
        }
        let first = first.expect("a copy");
        chain.extend(&first).expect("one chain");
        if first.statement().event_type == REJECTED {
            let payload = first.private().unwrap().payload;
            let payload = serde_json::from_slice(payload).unwrap();
            verdict.rejections.push(payload);
        }
        assert!(
            marked + 1 >= copies,
            "{seq} is there {copies} times, and {marked} of them are marked"
        );
        assert!(!once || copies == 1, "{seq} is there {copies} times");
        if copies > 1 {
            verdict.repeated.push(seq);
        }
        if marked > 0 {
            verdict.marked.push(seq);
        }
    }
    verdict
}
