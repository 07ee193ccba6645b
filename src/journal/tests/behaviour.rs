use super::*;
use crate::{
    envelope::{Chain, Envelope, Unverified, Verifier},
    journal::{
        Reader,
        cursor::{Cursor, Progress},
    },
    seq::{Incarnation, Position, Seq},
};

fn fresh() -> (FaultyStorage, Core<FaultyStorage>) {
    let storage = FaultyStorage::new(1);
    let core = open(&storage, LIMITS).unwrap();
    (storage, core)
}

fn progress(acked: u64) -> Progress {
    Progress {
        acked: Seq::new(acked),
        floor: Position(acked),
        incarnation: Incarnation(1),
    }
}

/// Every event held, verified under the device's key and as one chain.
fn verified(core: &Core<FaultyStorage>) -> Vec<Envelope<crate::envelope::Verified>> {
    let mut verifier = Verifier::new();
    verifier.trust(identity().key.public_key());
    let reader = Reader::new(core.store().clone());
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    let mut line = Vec::new();
    batch
        .records()
        .map(|record| {
            line.clear();
            record.unwrap().render(false, true, &mut line);
            verifier
                .verify(Envelope::<Unverified>::parse(&line).unwrap())
                .unwrap()
        })
        .collect()
}

#[test]
fn a_fresh_journal_begins_with_the_start_of_its_epoch() {
    let (_, core) = fresh();
    let events = verified(&core);
    assert_eq!(core.tail(), Seq::FIRST);
    assert_eq!(events[0].statement().event_type, "outbox.epoch_started.v1");
}

#[test]
fn what_was_appended_is_there_after_reopening_and_forms_one_chain() {
    let (storage, mut core) = fresh();
    for number in 0..300 {
        let places = append(&mut core, vec![sealed(number, "{\"n\":1}")])
            .unwrap()
            .unwrap();
        assert_eq!(places[0].seq, Seq::new(number + 2));
    }
    let batch = (300..1000).map(|number| sealed(number, "[1, 2]")).collect();
    append(&mut core, batch).unwrap().unwrap();
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    assert_eq!(core.tail(), Seq::new(1001));
    let mut chain = Chain::new();
    for envelope in verified(&core) {
        chain.extend(&envelope).unwrap();
    }
    for number in 0..1000 {
        assert_eq!(
            core.find(&Uuid::from_u64_pair(number, 1)),
            Some(Seq::new(number + 2))
        );
    }
}

#[test]
fn a_known_id_gives_the_first_seq_again_and_other_content_is_a_conflict() {
    let (_, mut core) = fresh();
    let first = append(&mut core, vec![sealed(1, "1"), sealed(2, "2")])
        .unwrap()
        .unwrap();
    let commits = core.commits();
    let again = append(&mut core, vec![sealed(2, "2")]).unwrap().unwrap();
    assert_eq!((again[0].seq, again[0].repeated), (first[1].seq, true));
    assert_eq!(core.commits(), commits, "a repeat writes nothing");
    let tail = core.tail();
    let other = append(&mut core, vec![sealed(3, "3"), sealed(1, "\"other\"")]).unwrap();
    assert!(matches!(other, Err(AppendError::Conflict { index: 1, .. })));
    assert_eq!(core.tail(), tail, "nothing of the batch was taken");
    assert_eq!(core.find(&Uuid::from_u64_pair(3, 1)), None);
    let twice = append(&mut core, vec![sealed(4, "4"), sealed(4, "4")])
        .unwrap()
        .unwrap();
    assert_eq!(twice[0].seq, twice[1].seq);
    assert!(!twice[0].repeated && twice[1].repeated);
    let contrary = append(&mut core, vec![sealed(5, "5"), sealed(5, "6")]).unwrap();
    assert!(matches!(
        contrary,
        Err(AppendError::Conflict { index: 1, .. })
    ));
}

#[test]
fn the_original_id_is_content_and_is_kept() {
    let event = |id: u128, original_id: Option<&str>| {
        let mut event = Event::builder("quiz.submitted.v1", Uuid::from_u128(7))
            .id(Uuid::from_u128(id))
            .payload("1");
        if let Some(original_id) = original_id {
            event = event.original_id(original_id);
        }
        let event = event.build().unwrap();
        Sealed::seal(event, 0, LIMITS.max_payload_bytes, &mut entropy(1)).unwrap()
    };
    let (storage, mut core) = fresh();
    let place = |answer: Result<Vec<Appended>, AppendError>| {
        let place = answer.unwrap()[0];
        (place.seq, place.repeated)
    };
    let named = place(append(&mut core, vec![event(1, Some("a"))]).unwrap()).0;
    let plain = place(append(&mut core, vec![event(2, None)]).unwrap()).0;
    for (id, original_id) in [(1, None), (1, Some("b")), (2, Some("a"))] {
        let contrary = append(&mut core, vec![event(id, original_id)]).unwrap();
        assert!(matches!(contrary, Err(AppendError::Conflict { .. })));
        let fresh = vec![event(9, Some("c")), event(9, original_id)];
        let contrary = append(&mut core, fresh).unwrap();
        assert!(matches!(
            contrary,
            Err(AppendError::Conflict { index: 1, .. })
        ));
    }
    drop(core);
    let mut core = open(&storage, LIMITS).unwrap();
    let again = append(&mut core, vec![event(1, Some("a"))]).unwrap();
    assert_eq!(place(again), (named, true));
    let again = append(&mut core, vec![event(2, None)]).unwrap();
    assert_eq!(place(again), (plain, true));
    let kept: Vec<_> = verified(&core)
        .iter()
        .map(|envelope| envelope.statement().original_id.map(str::to_owned))
        .collect();
    let ours = kept.len() - 2;
    assert_eq!(kept[ours..], [Some("a".to_owned()), None]);
}

#[test]
fn a_full_journal_refuses_and_takes_again_once_a_required_sink_has_confirmed() {
    let storage = FaultyStorage::new(1);
    let limits = Limits {
        max_bytes: 256 << 10,
        ..LIMITS
    };
    let mut core = open(&storage, limits).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1 << 20));
    core.commit(staging).unwrap();
    let payload = format!("\"{}\"", "x".repeat(1000));
    let mut number = 0;
    let full = loop {
        number += 1;
        if let Err(error) = append(&mut core, vec![sealed(number, &payload)]).unwrap() {
            break error;
        }
    };
    assert!(matches!(full, AppendError::Full { .. }));
    assert!(number > 100, "{number}");
    let tail = core.tail();
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), tail);
    core.commit(staging).unwrap();
    core.note_progress(&nats(), progress(tail.get()));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    append(&mut core, vec![sealed(number, &payload)])
        .unwrap()
        .unwrap();
    assert!(core.first_held() > Seq::new(100));
    assert_eq!(
        core.find(&Uuid::from_u64_pair(1, 1)),
        Some(Seq::new(2)),
        "trimmed, and known"
    );
    drop(core);
    let core = open(&storage, limits).unwrap();
    assert_eq!(core.find(&Uuid::from_u64_pair(1, 1)), Some(Seq::new(2)));
}

#[test]
fn an_online_quiet_device_pays_one_commit_an_event() {
    let (_, mut core) = fresh();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1024));
    core.commit(staging).unwrap();
    core.set_caught_up(&nats(), true);
    let before = core.commits();
    for number in 0..5000 {
        append(&mut core, vec![sealed(number, "{}")])
            .unwrap()
            .unwrap();
        let cursor = core.cursors()[&nats()];
        assert_eq!(
            cursor.claimed,
            core.tail(),
            "it may leave as soon as it is durable"
        );
        core.note_progress(&nats(), progress(core.tail().get()));
    }
    assert_eq!(core.commits() - before, 5000);
    assert!(
        core.tail().since(core.first_held()) < 2100,
        "what is delivered is trimmed"
    );
    assert_eq!(core.find(&Uuid::from_u64_pair(17, 1)), Some(Seq::new(19)));
}

#[test]
fn a_claim_never_passes_the_window_or_the_tail() {
    let (_, mut core) = fresh();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 10));
    assert_eq!(
        core.claim(&mut staging, &nats(), Seq::new(99)),
        Some(Seq::new(1))
    );
    core.commit(staging).unwrap();
    append(&mut core, (0..50).map(|n| sealed(n, "{}")).collect())
        .unwrap()
        .unwrap();
    let mut staging = core.stage(stamp());
    assert_eq!(
        core.claim(&mut staging, &nats(), Seq::new(99)),
        Some(Seq::new(10))
    );
    core.commit(staging).unwrap();
    core.note_progress(&nats(), progress(4));
    core.set_caught_up(&nats(), true);
    append(&mut core, vec![sealed(50, "{}")]).unwrap().unwrap();
    let cursor = core.cursors()[&nats()];
    assert_eq!((cursor.acked, cursor.claimed), (Seq::new(4), Seq::new(14)));
}

#[test]
fn a_rejection_is_one_commit_with_its_ledger_event_and_the_ledger_is_never_rejected() {
    let (_, mut core) = fresh();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 10));
    core.commit(staging).unwrap();
    append(&mut core, vec![sealed(1, "{}")]).unwrap().unwrap();
    let commits = core.commits();
    let mut staging = core.stage(stamp());
    core.reject(&mut staging, &nats(), Seq::new(2), "payload_too_large")
        .unwrap();
    let ledger = core.reject(&mut staging, &nats(), Seq::new(1), "payload_too_large");
    assert!(
        ledger.is_err(),
        "the start of the epoch belongs to the ledger"
    );
    core.commit(staging).unwrap();
    assert_eq!(core.commits() - commits, 1);
    let events = verified(&core);
    let last = events.last().unwrap();
    assert_eq!(last.statement().event_type, "outbox.event_rejected.v1");
    let payload = std::str::from_utf8(last.private().unwrap().payload)
        .unwrap()
        .to_owned();
    assert!(payload.contains(r#""sink":"nats","seq":2,"#), "{payload}");
    let reader = Reader::new(core.store().clone());
    let code = reader.rejection(&nats(), Seq::new(2)).unwrap();
    assert_eq!(code.as_deref(), Some("payload_too_large"));
    assert_eq!(core.cursors()[&nats()].dead_letters, 1);
}

#[test]
fn an_optional_sink_that_falls_behind_what_is_trimmed_is_told_in_the_ledger() {
    let (_, mut core) = fresh();
    let slow = SinkName::new("slow").unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 10_000));
    core.register(&mut staging, &slow, wanted(false, 10));
    core.commit(staging).unwrap();
    append(&mut core, (0..3000).map(|n| sealed(n, "{}")).collect())
        .unwrap()
        .unwrap();
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), Seq::new(3001));
    core.commit(staging).unwrap();
    core.note_progress(&nats(), progress(3001));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    let events = verified(&core);
    assert_eq!(
        events.last().unwrap().statement().event_type,
        "outbox.sink_skipped.v1"
    );
    assert_eq!(core.cursors()[&slow].acked, core.first_held().prev());
}

#[test]
fn another_key_or_another_name_begins_an_epoch() {
    let (storage, core) = fresh();
    let first = core.epoch();
    drop(core);
    let renamed = Identity {
        device: Some("kiosk-2".parse().unwrap()),
        ..identity()
    };
    let core = Core::open(storage, renamed, LIMITS, 1 << 20, entropy(9), stamp()).unwrap();
    assert_ne!(core.epoch(), first);
    assert_eq!(core.tail(), Seq::new(2));
    let events = verified(&core);
    let payload = events[1].private().unwrap().payload.to_vec();
    let payload = String::from_utf8(payload).unwrap();
    assert!(
        payload.contains(r#""reason":"device_renamed""#),
        "{payload}"
    );
    assert!(
        payload.contains(&format!(r#""epoch":"{first}","seq":1"#)),
        "{payload}"
    );
}

#[test]
fn a_request_that_is_too_large_by_itself_still_forms_groups_within_bounds() {
    let (_, mut core) = fresh();
    let payload = format!("\"{}\"", "y".repeat(60_000));
    append(&mut core, (0..40).map(|n| sealed(n, &payload)).collect())
        .unwrap()
        .unwrap();
    let events = verified(&core);
    assert_eq!(events.len(), 41);
    assert!(
        events
            .iter()
            .all(|event| event.record().size <= 8 || event.record().size == 1)
    );
}

fn register(core: &mut Core<FaultyStorage>, name: &str, wanted: Wanted) -> Cursor {
    let mut staging = core.stage(stamp());
    let cursor = core.register(&mut staging, &SinkName::new(name).unwrap(), wanted);
    core.commit(staging).unwrap();
    cursor
}

/// The type and the payload of the newest event.
fn newest(core: &Core<FaultyStorage>) -> (String, String) {
    let events = verified(core);
    let last = events.last().unwrap();
    let payload = last.private().unwrap().payload.to_vec();
    let event_type = last.statement().event_type.to_owned();
    (event_type, String::from_utf8(payload).unwrap())
}

/// A journal with so many events, all of them confirmed by the sink `nats`, and so trimmed where
/// that is worth it.
fn confirmed(events: u64) -> (FaultyStorage, Core<FaultyStorage>) {
    let (storage, mut core) = fresh();
    register(&mut core, "nats", wanted(true, 10_000));
    let all = (0..events).map(|n| sealed(n, "{}")).collect();
    append(&mut core, all).unwrap().unwrap();
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), core.tail());
    core.commit(staging).unwrap();
    core.note_progress(&nats(), progress(core.tail().get()));
    let staging = core.stage(stamp());
    core.commit(staging).unwrap();
    (storage, core)
}

#[test]
fn a_sink_added_later_starts_at_the_oldest_event_held_and_the_ledger_names_the_trimmed_ones() {
    let (_, mut core) = confirmed(3_000);
    assert!(core.first_held() > Seq::new(1_000));
    let before = core.first_held().prev();
    let cursor = register(&mut core, "late", wanted(true, 16));
    assert_eq!((cursor.acked, cursor.claimed), (before, before));
    let said =
        format!(r#"{{"sink":"late","range":{{"first":1,"last":{before}}},"reason":"trimmed"}}"#);
    assert_eq!(newest(&core), ("outbox.sink_skipped.v1".into(), said));
}

#[test]
fn a_sink_that_starts_now_gets_what_comes_after_it_and_the_ledger_names_what_came_before() {
    let (storage, mut core) = confirmed(100);
    let tail = core.tail();
    let now = Wanted {
        start: Start::Now,
        ..wanted(true, 16)
    };
    // What is in the same commit, and in it before, came before.
    let mut staging = core.stage(stamp());
    core.append(&mut staging, vec![sealed(500, "{}")]).unwrap();
    let late = SinkName::new("late").unwrap();
    let cursor = core.register(&mut staging, &late, now);
    core.append(&mut staging, vec![sealed(501, "{}")]).unwrap();
    core.commit(staging).unwrap();
    assert_eq!(cursor.acked, tail.next());
    let said = &verified(&core)[tail.get() as usize + 1];
    assert_eq!(said.statement().event_type, "outbox.sink_skipped.v1");
    let payload = std::str::from_utf8(said.private().unwrap().payload).unwrap();
    assert_eq!(
        payload,
        r#"{"sink":"late","range":{"first":1,"last":102},"reason":"start_now"}"#
    );
    // It has its place now, and keeps it, whatever it asks for at the next start.
    drop(core);
    let mut core = open(&storage, LIMITS).unwrap();
    let end = core.tail();
    append(&mut core, vec![sealed(502, "{}")]).unwrap().unwrap();
    assert_eq!(register(&mut core, "late", now).acked, tail.next());
    assert_eq!(core.tail(), end.next());
}

#[test]
fn a_required_sink_that_is_gone_holds_trimming_until_it_is_forgotten() {
    let (storage, mut core) = fresh();
    register(&mut core, "gone", wanted(true, 16));
    drop(core);
    let mut core = open(&storage, LIMITS).unwrap();
    register(&mut core, "nats", wanted(true, 10_000));
    append(&mut core, (0..3_000).map(|n| sealed(n, "{}")).collect())
        .unwrap()
        .unwrap();
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), core.tail());
    core.commit(staging).unwrap();
    core.note_progress(&nats(), progress(core.tail().get()));
    append(&mut core, vec![sealed(3_000, "{}")])
        .unwrap()
        .unwrap();
    assert_eq!(core.first_held(), Seq::FIRST);

    let (tail, commits) = (core.tail(), core.commits());
    let gone = SinkName::new("gone").unwrap();
    let forgotten = core.forget(&gone, stamp()).unwrap().unwrap();
    assert_eq!((forgotten.pending, forgotten.dead_letters), (tail.get(), 0));
    assert_eq!(core.commits(), commits + 1);
    assert!(core.first_held() > Seq::new(2_000));
    let said = format!(
        r#"{{"sink":"gone","required":true,"range":{{"first":1,"last":{tail}}},"dead_letters":0}}"#
    );
    assert_eq!(newest(&core), ("outbox.sink_forgotten.v1".into(), said));
    assert_eq!(core.forget(&gone, stamp()).unwrap(), None);
    drop(core);
    let mut core = open(&storage, LIMITS).unwrap();
    assert!(!core.cursors().contains_key(&gone));
    // Should it come back, it is a new one.
    let before = core.first_held().prev();
    assert_eq!(register(&mut core, "gone", wanted(true, 16)).acked, before);
}

#[test]
fn a_forgotten_sink_leaves_no_dead_letters_and_those_of_others_stay() {
    let (storage, mut core) = fresh();
    let names = ["na", "nat", "natsy"].map(|name| SinkName::new(name).unwrap());
    for name in &names {
        register(&mut core, name.as_str(), wanted(true, 16));
    }
    append(&mut core, vec![sealed(1, "{}"), sealed(2, "{}")])
        .unwrap()
        .unwrap();
    for name in &names {
        for seq in [2, 3].map(Seq::new) {
            let mut staging = core.stage(stamp());
            core.reject(&mut staging, name, seq, "constraint").unwrap();
            core.commit(staging).unwrap();
        }
    }
    let forgotten = core.forget(&names[1], stamp()).unwrap().unwrap();
    assert_eq!(forgotten.dead_letters, 2);
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    let reader = Reader::new(core.store().clone());
    for (name, kept) in names.iter().zip([true, false, true]) {
        for seq in [2, 3].map(Seq::new) {
            let code = reader.rejection(name, seq).unwrap();
            assert_eq!(code.is_some(), kept, "{name}");
        }
    }
}
