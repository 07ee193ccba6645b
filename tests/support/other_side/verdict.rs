//! What arrived, compared with what was promised.

use std::collections::BTreeMap;

use edge_outbox::{Chain, Envelope, Seq, Verifier, envelope::Unverified};

use super::{Arrival, Verdict};
use crate::support::kiosk::Kiosk;

#[track_caller]
pub(super) fn reach(kiosk: &Kiosk, arrivals: &[Arrival], once: bool, without: &[Seq]) -> Verdict {
    let mut verifier = Verifier::new();
    verifier.trust_for(
        kiosk.outbox.public_key().clone(),
        kiosk.outbox.device().clone(),
    );
    let mut by_seq = BTreeMap::<Seq, Vec<&Arrival>>::new();
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
    };
    let mut chain = Chain::new();
    for (&seq, copies) in &by_seq {
        assert!(!without.contains(&seq), "{seq} was refused and is there");
        let (mut first, mut marked) = (None, 0);
        for copy in copies {
            let envelope = Envelope::<Unverified>::parse(&copy.body).expect("an envelope");
            let envelope = verifier.verify(envelope).expect("a true envelope");
            assert_eq!(envelope.statement().seq, seq);
            assert_eq!(envelope.digest(), copy.digest);
            assert_eq!(envelope.digest(), copies[0].digest, "{seq} is forked");
            marked += usize::from(envelope.redelivered());
            first.get_or_insert(envelope);
        }
        if without.contains(&seq.prev()) {
            chain = Chain::new();
        }
        chain.extend(&first.unwrap()).expect("one chain");
        assert!(
            marked + 1 >= copies.len(),
            "{seq} is there {} times, and {marked} of them are marked",
            copies.len()
        );
        assert!(!once || copies.len() == 1, "{seq} {} times", copies.len());
        if copies.len() > 1 {
            verdict.repeated.push(seq);
        }
        if marked > 0 {
            verdict.marked.push(seq);
        }
    }
    verdict
}
