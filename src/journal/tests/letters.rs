//! Dead letters: sent again, discarded, kept apart when they are trimmed, and all of it under
//! crashes.

use super::{storage::Fault, *};
use crate::{
    envelope::{Envelope, Kind, Unverified, Verifier},
    journal::{
        Chosen, Claim, DeadLetter, DeadLetterError, MAX_DEAD_LETTERS, Reader, Retry, RetryState,
        Settled,
        cursor::Progress,
        erasure::{self, When},
        letters, recover,
    },
    seq::{Incarnation, Position, Seq},
};

const CLAIM: Claim = Claim {
    floor: Position(9),
    incarnation: Incarnation(1),
};

fn lab() -> SinkName {
    SinkName::new("lab").unwrap()
}

/// Commits what is done to the staging.
fn commit<T>(
    core: &mut Core<FaultyStorage>,
    act: impl FnOnce(&mut Core<FaultyStorage>, &mut crate::journal::staging::Staging) -> T,
) -> Result<T, super::Fault> {
    let mut staging = core.stage(stamp());
    let done = act(core, &mut staging);
    core.commit(staging)?;
    Ok(done)
}

fn attach(core: &mut Core<FaultyStorage>, name: &SinkName) -> Result<(), super::Fault> {
    commit(core, |core, staging| {
        core.register(staging, name, wanted(true, 100_000));
    })
}

fn reject(core: &mut Core<FaultyStorage>, name: &SinkName, seq: u64) -> Result<(), super::Fault> {
    commit(core, |core, staging| {
        core.reject(staging, name, Seq::new(seq), "constraint")
            .map_err(|_| super::Fault::Unavailable)
    })?
}

/// The sink confirms everything there is.
fn confirm_all(core: &mut Core<FaultyStorage>, name: &SinkName) -> Result<(), super::Fault> {
    let tail = core.tail();
    commit(core, |core, staging| core.claim(staging, name, tail))?;
    let progress = Progress {
        acked: tail,
        floor: Position(tail.get()),
        incarnation: Incarnation(1),
    };
    core.note_progress(name, progress);
    commit(core, |_, _| ())
}

fn shown(core: &Core<FaultyStorage>) -> Vec<DeadLetter> {
    Reader::new(core.store().clone())
        .dead_letters(None)
        .unwrap()
}

fn seqs(letters: &[DeadLetter]) -> Vec<(String, u64)> {
    let place = |letter: &DeadLetter| (letter.sink.to_string(), letter.seq.get());
    letters.iter().map(place).collect()
}

/// Types and payloads of the ledger's events that are held.
fn ledger(core: &Core<FaultyStorage>) -> Vec<(String, String)> {
    let reader = Reader::new(core.store().clone());
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    let records = batch.records().map(Result::unwrap);
    records
        .filter(|record| record.statement.kind == Kind::Ledger)
        .map(|record| {
            let payload = record.private.unwrap().payload.to_vec();
            let payload = String::from_utf8(payload).unwrap();
            (record.statement.event_type.to_owned(), payload)
        })
        .collect()
}

fn said(core: &Core<FaultyStorage>, event_type: &str) -> Vec<String> {
    let events = ledger(core).into_iter();
    let same = events.filter(|(found, _)| found == event_type);
    same.map(|(_, payload)| payload).collect()
}

/// A journal with so many events beside the first, all confirmed by `nats`, which has rejected
/// these.
fn rejected(events: u64, dead: &[u64]) -> (FaultyStorage, Core<FaultyStorage>) {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    attach(&mut core, &nats()).unwrap();
    let all = (2..2 + events).map(|seq| sealed(seq, &format!("\"marker-{seq}.\"")));
    append(&mut core, all.collect()).unwrap().unwrap();
    let tail = core.tail();
    commit(&mut core, |core, staging| {
        core.claim(staging, &nats(), tail)
    })
    .unwrap();
    for seq in dead {
        reject(&mut core, &nats(), *seq).unwrap();
    }
    confirm_all(&mut core, &nats()).unwrap();
    (storage, core)
}

#[test]
fn one_that_is_discarded_on_its_way_and_arrives_is_not_called_lost() {
    let (_, mut core) = rejected(5, &[3]);
    let seq = Seq::new(3);
    commit(&mut core, |core, staging| {
        core.retry(staging, &nats(), Chosen::One(seq)).unwrap()
    })
    .unwrap();
    commit(&mut core, |core, staging| {
        core.claim_retry(staging, &nats(), seq, CLAIM).unwrap()
    })
    .unwrap();
    commit(&mut core, |core, staging| {
        core.discard(staging, &nats(), Chosen::One(seq)).unwrap()
    })
    .unwrap();
    let delivered = |core: &Core<FaultyStorage>| said(core, "outbox.dead_letter_delivered.v1");
    assert_eq!(delivered(&core).len(), 0);
    commit(&mut core, |core, staging| {
        core.settle_retry(staging, &nats(), seq, Settled::Delivered)
            .unwrap();
    })
    .unwrap();
    let told = delivered(&core);
    assert!(told.len() == 1 && told[0].contains("\"seq\":3"), "{told:?}");
    assert_eq!(shown(&core), []);
}

#[test]
fn a_dead_letter_says_why_and_since_when() {
    let (storage, core) = rejected(5, &[3]);
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    let letters = shown(&core);
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(
        (letter.reason.as_str(), letter.rejections),
        ("constraint", 1)
    );
    assert!(letter.since.unwrap() > Timestamp::from_micros(1_700_000_000_000_000).unwrap());
    assert_eq!(letter.since_sync, Some(ClockSync::Yes));
    assert!(letter.held && letter.retry == RetryState::None);
    let (reasons, discarded) = core.letters_of(&nats());
    assert_eq!((reasons["constraint"], discarded), (1, 0));
}

#[test]
fn one_that_is_delivered_late_is_one_no_longer_in_one_commit_with_the_ledger() {
    let (storage, mut core) = rejected(5, &[3, 5]);
    let name = nats();
    let changed = commit(&mut core, |core, staging| {
        core.retry(staging, &name, Chosen::All)
    });
    assert_eq!(changed.unwrap().unwrap().dead_letters, 2);
    let (seq, claim) = (Seq::new(3), None);
    assert_eq!(core.next_retry(&name), Some(Retry { seq, claim }));
    let may_leave = commit(&mut core, |core, staging| {
        core.claim_retry(staging, &name, seq, CLAIM)
    });
    assert!(may_leave.unwrap().unwrap());
    drop(core);

    // After a crash it is in doubt, and comes before the other.
    let mut core = open(&storage, LIMITS).unwrap();
    let claim = Some(CLAIM);
    assert_eq!(core.next_retry(&name), Some(Retry { seq, claim }));
    let states: Vec<_> = shown(&core).iter().map(|letter| letter.retry).collect();
    assert_eq!(states, [RetryState::InDoubt, RetryState::Wanted]);
    attach(&mut core, &name).unwrap();
    let commits = core.commits();
    commit(&mut core, |core, staging| {
        core.settle_retry(staging, &name, seq, Settled::Delivered)
    })
    .unwrap()
    .unwrap();
    assert_eq!(core.commits(), commits + 1);
    assert_eq!(seqs(&shown(&core)), [("nats".to_owned(), 5)]);
    assert_eq!(core.cursors()[&name].dead_letters, 1);
    let told = said(&core, "outbox.dead_letter_delivered.v1");
    assert!(
        told.len() == 1 && told[0].starts_with(r#"{"sink":"nats","seq":3,"digest":""#),
        "{told:?}"
    );
    // Whoever heard no answer asks again.
    let again = commit(&mut core, |core, staging| {
        core.settle_retry(staging, &name, seq, Settled::Delivered)
    });
    again.unwrap().unwrap();
    assert_eq!(said(&core, "outbox.dead_letter_delivered.v1").len(), 1);
    let gone = commit(&mut core, |core, staging| {
        core.claim_retry(staging, &name, seq, CLAIM)
    });
    assert!(!gone.unwrap().unwrap(), "it must not leave any more");
    let next = core.next_retry(&name).unwrap();
    assert_eq!((next.seq, next.claim), (Seq::new(5), None));
}

#[test]
fn one_that_is_rejected_again_counts_it_and_takes_the_new_reason() {
    let (storage, mut core) = rejected(5, &[3]);
    let (name, seq) = (nats(), Seq::new(3));
    for _ in 0..2 {
        commit(&mut core, |core, staging| {
            core.retry(staging, &name, Chosen::One(seq)).unwrap();
            core.claim_retry(staging, &name, seq, CLAIM).unwrap();
            let settled = Settled::Rejected("payload_too_large");
            core.settle_retry(staging, &name, seq, settled).unwrap();
        })
        .unwrap();
    }
    let before = shown(&core);
    assert_eq!(before[0].rejections, 3);
    assert_eq!(before[0].reason, "payload_too_large");
    assert_eq!(before[0].retry, RetryState::None);
    assert_eq!(core.next_retry(&name), None);
    let (reasons, _) = core.letters_of(&name);
    assert_eq!(reasons.len(), 1);
    assert_eq!(core.cursors()[&name].dead_letters, 1);
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    assert_eq!(shown(&core), before);
    assert_eq!(core.letters_of(&name).0, reasons);
}

#[test]
fn discarding_is_one_commit_and_the_ledger_names_the_seqs() {
    let (storage, mut core) = rejected(9, &[3, 5, 8]);
    let name = nats();
    let commits = core.commits();
    let one = Chosen::One(Seq::new(5));
    commit(&mut core, |core, staging| core.discard(staging, &name, one))
        .unwrap()
        .unwrap();
    let twice = commit(&mut core, |core, staging| core.discard(staging, &name, one));
    assert!(matches!(
        twice.unwrap(),
        Err(DeadLetterError::Unknown { .. })
    ));
    commit(&mut core, |core, staging| {
        core.discard(staging, &name, Chosen::All)
    })
    .unwrap()
    .unwrap();
    assert_eq!(core.commits(), commits + 2);
    let told = said(&core, "outbox.dead_letters_discarded.v1");
    assert_eq!(
        told,
        [
            r#"{"sink":"nats","seqs":[5],"reason":"operator"}"#,
            r#"{"sink":"nats","seqs":[3,8],"reason":"operator"}"#,
        ]
    );
    assert_eq!(core.cursors()[&name].dead_letters, 0);
    assert_eq!(core.letters_of(&name).1, 3);
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    assert!(shown(&core).is_empty());
    // It was not delivered, and whoever asks is told so.
    let reader = Reader::new(core.store().clone());
    for (seq, rejected) in [(3, true), (4, false), (5, true), (8, true)] {
        let code = reader.rejection(&name, Seq::new(seq)).unwrap();
        assert_eq!(code.is_some(), rejected, "{seq}");
    }
}

#[test]
fn what_the_cursor_has_not_passed_is_left_alone() {
    let (_, mut core) = rejected(5, &[]);
    let name = nats();
    let more = (50..60).map(|number| sealed(number, "{}")).collect();
    let first = append(&mut core, more).unwrap().unwrap()[0].seq;
    let tail = core.tail();
    commit(&mut core, |core, staging| core.claim(staging, &name, tail)).unwrap();
    let ahead = first.plus(4);
    reject(&mut core, &name, ahead.get()).unwrap();
    for chosen in [Chosen::One(ahead), Chosen::All] {
        let retried = commit(&mut core, |core, staging| {
            core.retry(staging, &name, chosen)
        });
        let discarded = commit(&mut core, |core, staging| {
            core.discard(staging, &name, chosen)
        });
        for changed in [retried.unwrap(), discarded.unwrap()] {
            match (chosen, changed) {
                (Chosen::One(_), Err(DeadLetterError::Unsettled { .. })) => {}
                (Chosen::All, Ok(changed)) => {
                    assert_eq!((changed.dead_letters, changed.left_out), (0, 1));
                }
                (_, other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(shown(&core).len(), 1);
    let unknown = commit(&mut core, |core, staging| {
        core.discard(staging, &lab(), Chosen::All)
    });
    assert!(matches!(
        unknown.unwrap(),
        Err(DeadLetterError::UnknownSink(_))
    ));
}

#[test]
fn what_is_trimmed_is_kept_alone_as_long_as_it_is_anybodys_dead_letter() {
    let (storage, mut core) = rejected(100, &[2, 40]);
    attach(&mut core, &lab()).unwrap();
    reject(&mut core, &lab(), 40).unwrap();
    let more = (200..1_400).map(|number| sealed(number, "{}")).collect();
    append(&mut core, more).unwrap().unwrap();
    for name in [nats(), lab()] {
        confirm_all(&mut core, &name).unwrap();
    }
    assert!(core.first_held() > Seq::new(1_000));
    let held_bytes = core.held_bytes();
    drop(core);
    let mut core = open(&storage, LIMITS).unwrap();
    assert_eq!(core.held_bytes(), held_bytes);
    assert!(shown(&core).iter().all(|letter| letter.held));

    let mut verifier = Verifier::new();
    verifier.trust(identity().key.public_key());
    let reader = Reader::new(core.store().clone());
    for seq in [2, 40] {
        let batch = reader.dead_letter(Seq::new(seq)).unwrap();
        let mut line = Vec::new();
        let record = batch.records().next().unwrap().unwrap();
        record.render(false, true, &mut line);
        let envelope = Envelope::<Unverified>::parse(&line).unwrap();
        let envelope = verifier.verify(envelope).unwrap();
        let payload = envelope.private().unwrap().payload.to_vec();
        assert_eq!(payload, format!("\"marker-{seq}.\"").into_bytes());
    }
    let kept = |core: &Core<FaultyStorage>| {
        let row = core
            .store()
            .read(|transaction| letters::kept(transaction, Seq::new(40)))
            .unwrap();
        row.map(|(_, row)| String::from_utf8_lossy(&row).matches("marker-").count())
    };
    assert_eq!(kept(&core), Some(2), "of 64 events");

    // It can be sent, and delivered late; the other sink's is kept.
    let name = nats();
    attach(&mut core, &name).unwrap();
    commit(&mut core, |core, staging| {
        core.retry(staging, &name, Chosen::All).unwrap();
        for seq in [2, 40].map(Seq::new) {
            core.settle_retry(staging, &name, seq, Settled::Delivered)
                .unwrap();
        }
    })
    .unwrap();
    let told = said(&core, "outbox.dead_letter_delivered.v1");
    assert!(
        told.len() == 2 && told.iter().all(|it| it.contains("digest")),
        "{told:?}"
    );
    assert_eq!(kept(&core), Some(1));
    core.detach(&lab());
    core.forget(&lab(), stamp()).unwrap().unwrap();
    assert_eq!(kept(&core), None);
    let held_bytes = core.held_bytes();
    drop(core);
    assert_eq!(open(&storage, LIMITS).unwrap().held_bytes(), held_bytes);
}

#[test]
fn what_is_kept_apart_can_be_erased_and_verifies_still() {
    let (_, mut core) = rejected(1_400, &[2, 40]);
    confirm_all(&mut core, &nats()).unwrap();
    assert!(core.first_held() > Seq::new(40));
    let erase = |core: &Core<FaultyStorage>| {
        core.store().write(|transaction| {
            letters::erase(transaction, |record| record.statement.seq == Seq::new(40))
        })
    };
    let (erased, shrunk) = erase(&core).unwrap();
    assert_eq!((erased.len(), erased[0].0), (1, Seq::new(40)));
    assert!(shrunk > 0);
    assert_eq!(erase(&core).unwrap().0, []);
    let reader = Reader::new(core.store().clone());
    let batch = reader.dead_letter(Seq::new(40)).unwrap();
    let record = batch.records().next().unwrap().unwrap();
    assert!(record.private.is_none() && record.digest == erased[0].1);
    let batch = reader.dead_letter(Seq::new(2)).unwrap();
    assert!(batch.records().next().unwrap().unwrap().private.is_some());
}

#[test]
fn what_is_kept_has_a_share_of_the_quota_and_the_oldest_goes_with_the_ledger() {
    let storage = FaultyStorage::new(1);
    let limits = Limits {
        max_bytes: 256 << 10,
        ..LIMITS
    };
    let mut core = open(&storage, limits).unwrap();
    attach(&mut core, &nats()).unwrap();
    let payload = format!("\"{}\"", "x".repeat(5_000));
    let mut dead = Vec::new();
    for number in 0..30 {
        // One that is rejected in each round, and others in groups of their own.
        let place = append(&mut core, vec![sealed(number, &payload)])
            .unwrap()
            .unwrap();
        let seq = place[0].seq;
        let tail = core.tail();
        commit(&mut core, |core, staging| {
            core.claim(staging, &nats(), tail)
        })
        .unwrap();
        if number < 10 {
            reject(&mut core, &nats(), seq.get()).unwrap();
            dead.push(seq.get());
        }
        confirm_all(&mut core, &nats()).unwrap();
    }
    // Until something is refused for want of room, nothing is trimmed; three of 5,000 bytes fit.
    let large = format!("\"{}\"", "x".repeat(60_000));
    drop(append(&mut core, vec![sealed(100, &large)]).unwrap());
    drop(append(&mut core, vec![sealed(101, &large)]).unwrap());
    confirm_all(&mut core, &nats()).unwrap();
    assert!(core.first_held().get() > *dead.last().unwrap());
    let left: Vec<u64> = shown(&core).iter().map(|it| it.seq.get()).collect();
    assert_eq!(left, dead[7..]);
    assert!(shown(&core).iter().all(|letter| letter.held));
    let given_up = &dead[..7];
    let told = said(&core, "outbox.dead_letters_discarded.v1");
    let named: Vec<u64> = told
        .iter()
        .flat_map(|payload| {
            let value: serde_json::Value = serde_json::from_str(payload).unwrap();
            assert_eq!(value["reason"], "no_room");
            let seqs = value["seqs"].as_array().unwrap().clone();
            seqs.into_iter().map(|seq| seq.as_u64().unwrap())
        })
        .collect();
    assert_eq!(named, given_up);
    assert_eq!(core.cursors()[&nats()].dead_letters, 3);
    assert_eq!(core.letters_of(&nats()).0["constraint"], 3);
}

#[test]
fn a_sink_has_so_many_dead_letters_and_no_more() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    let name = nats();
    attach(&mut core, &name).unwrap();
    let all = (0..MAX_DEAD_LETTERS + 10).map(|number| sealed(number, "{}"));
    append(&mut core, all.collect()).unwrap().unwrap();
    commit(&mut core, |core, staging| {
        // As if it had confirmed the first.
        let cursor = staging.cursors.get_mut(&name).unwrap();
        cursor.skip_to(Seq::FIRST);
        for seq in 0..MAX_DEAD_LETTERS + 2 {
            core.reject(staging, &name, Seq::new(seq + 2), "constraint")
                .unwrap();
        }
    })
    .unwrap();
    assert_eq!(core.cursors()[&name].dead_letters, MAX_DEAD_LETTERS);
    let letters = shown(&core);
    assert_eq!(letters.len() as u64, MAX_DEAD_LETTERS);
    assert_eq!(letters[0].seq, Seq::new(4));
    let told = said(&core, "outbox.dead_letters_discarded.v1");
    assert_eq!(
        told,
        [
            r#"{"sink":"nats","seqs":[2],"reason":"limit"}"#,
            r#"{"sink":"nats","seqs":[3],"reason":"limit"}"#,
        ]
    );
}

/// What the world outside was told in the life of one retry.
#[derive(Clone, Copy, Default, Debug)]
struct Told {
    rejected: bool,
    wanted: bool,
    /// It may have left.
    claimed: bool,
    delivered: bool,
    discarded: bool,
}

const LATE: Seq = Seq::new(3);
const OTHER: Seq = Seq::new(5);

/// The life of two dead letters: one is sent again and arrives, the other is rejected again and
/// discarded. Goes on from what is there.
fn live(core: &mut Core<FaultyStorage>, told: &mut Told) -> Result<(), super::Fault> {
    let name = nats();
    attach(core, &name)?;
    if core.tail() < Seq::new(7) {
        let request = (2..8).map(|number| sealed(number, "{}")).collect();
        drop(append(core, request)?.expect("no event is refused"));
    }
    let letter = |core: &Core<FaultyStorage>, seq| {
        let letters = Reader::new(core.store().clone()).dead_letters(None);
        let letters = letters.map_err(|_| super::Fault::Unavailable)?;
        Ok::<_, super::Fault>(letters.into_iter().find(|letter| letter.seq == seq))
    };
    for seq in [LATE, OTHER] {
        let rejected = said(core, "outbox.event_rejected.v1");
        if !rejected
            .iter()
            .any(|it| it.contains(&format!("\"seq\":{seq},")))
        {
            reject(core, &name, seq.get())?;
        }
    }
    let was_delivered = !said(core, "outbox.dead_letter_delivered.v1").is_empty();
    told.rejected = true;
    confirm_all(core, &name)?;
    if !was_delivered {
        commit(core, |core, staging| {
            core.retry(staging, &name, Chosen::All).map(drop)
        })?
        .map_err(|_| super::Fault::Unavailable)?;
        told.wanted = true;
        let claimed = commit(core, |core, staging| {
            core.claim_retry(staging, &name, LATE, CLAIM)
        })?;
        assert!(claimed.map_err(|_| super::Fault::Unavailable)?);
        told.claimed = true;
        commit(core, |core, staging| {
            core.settle_retry(staging, &name, LATE, Settled::Delivered)
        })?
        .map_err(|_| super::Fault::Unavailable)?;
    }
    told.delivered = true;
    if letter(core, OTHER)?.is_some() {
        commit(core, |core, staging| {
            core.settle_retry(staging, &name, OTHER, Settled::Rejected("again"))
        })?
        .map_err(|_| super::Fault::Unavailable)?;
        commit(core, |core, staging| {
            core.discard(staging, &name, Chosen::One(OTHER)).map(drop)
        })?
        .map_err(|_| super::Fault::Unavailable)?;
    }
    told.discarded = true;
    Ok(())
}

/// Holds what is there against what was told.
fn check(core: &Core<FaultyStorage>, told: Told, context: &str) {
    let context = format!("{context}: {told:?}");
    let letters = shown(core);
    let has = |seq| letters.iter().find(|letter| letter.seq == seq);
    let times = |event_type| said(core, event_type).len();
    let (late, other) = (has(LATE), has(OTHER));
    let rejected = times("outbox.event_rejected.v1");
    let delivered = times("outbox.dead_letter_delivered.v1");
    let discarded = times("outbox.dead_letters_discarded.v1");
    assert!(
        rejected <= 2 && delivered <= 1 && discarded <= 1,
        "{context}"
    );
    // What is a dead letter no longer went together with its entry in the ledger.
    assert_eq!(
        letters.len(),
        rejected - delivered - discarded,
        "{context}: {letters:?}"
    );
    let cursor = core.cursors().get(&nats());
    let count = cursor.map_or(0, |cursor| cursor.dead_letters);
    assert_eq!(count, letters.len() as u64, "{context}");
    let reasons: u64 = core.letters_of(&nats()).0.values().sum();
    assert_eq!(reasons, count, "{context}");
    assert!(!told.rejected || rejected == 2, "{context}");
    assert_eq!(late.is_none() && rejected > 0, delivered == 1, "{context}");
    if let Some(late) = late {
        assert!(!told.delivered, "{context}");
        assert!(
            !told.claimed || late.retry == RetryState::InDoubt,
            "{context}"
        );
        assert!(
            !told.wanted || late.retry != RetryState::None,
            "{context}: {late:?}"
        );
    }
    assert!(
        !told.discarded || (other.is_none() && discarded == 1),
        "{context}"
    );
    let next = core.next_retry(&nats());
    let wanted = letters.iter().any(|it| it.retry != RetryState::None);
    assert_eq!(next.is_some(), wanted, "{context}");
}

fn at_every_call(fault: Fault) {
    for call in 1.. {
        let storage = FaultyStorage::new(call);
        let context = format!("{fault:?} at call {call}");
        storage.fail_after(call, fault);
        let mut told = Told::default();
        if let Ok(mut core) = open(&storage, LIMITS) {
            let lived = live(&mut core, &mut told);
            if lived.is_err() && fault == Fault::Once {
                core.reopen(stamp())
                    .unwrap_or_else(|error| panic!("{context}: {error}"));
                check(&core, told, &context);
            }
        }
        let reached = !storage.fault_is_ahead();
        storage.crash();
        let mut core = open(&storage, LIMITS).unwrap_or_else(|e| panic!("{context}: {e}"));
        check(&core, told, &context);
        live(&mut core, &mut told).unwrap_or_else(|error| panic!("{context}: {error}"));
        check(&core, told, &context);
        assert!(shown(&core).is_empty(), "{context}");
        if !reached {
            assert!(call > 150, "the faults must come within the life: {call}");
            return;
        }
    }
}

#[test]
fn a_power_cut_at_every_call_leaves_each_dead_letter_in_one_state() {
    at_every_call(Fault::PowerCut);
}

#[test]
fn a_call_that_fails_once_leaves_each_dead_letter_in_one_state() {
    at_every_call(Fault::Once);
}

#[test]
fn a_recovery_takes_what_is_noted_and_kept_of_dead_letters_and_who_is_to_be_erased() {
    let (storage, mut core) = rejected(100, &[2, 40]);
    let more = (200..1_400).map(|number| sealed(number, "{}")).collect();
    append(&mut core, more).unwrap().unwrap();
    confirm_all(&mut core, &nats()).unwrap();
    assert!(core.first_held() > Seq::new(1_000));
    let before = shown(&core);
    assert!(before.len() == 2 && before.iter().all(|letter| letter.held));
    let tail = core.tail();
    let wishes = |core: &Core<FaultyStorage>| {
        let mut wishes = Vec::new();
        let read =
            |transaction: &redb::ReadTransaction| erasure::read_wishes(transaction, &mut wishes);
        core.store().read(read).unwrap();
        wishes
    };
    let wish = (Seq::new(1_200), Box::from("somebody"), When::Delivered);
    core.store()
        .write(|transaction| {
            let beyond = (tail.plus(50), Box::from("somebody else"), When::Now);
            erasure::put_wishes(transaction, &[wish.clone(), beyond], Seq::new(u64::MAX))
        })
        .unwrap();
    drop(core);
    let recovery = recover(
        storage.clone(),
        identity(),
        &[],
        Some("a test".into()),
        LIMITS,
        1 << 20,
        entropy(7),
        stamp(),
    );
    let recovery = recovery.unwrap().unwrap();
    assert_eq!((recovery.dead_letters, recovery.missing), (2, Vec::new()));
    let core = open(&storage, LIMITS).unwrap();
    assert_eq!(shown(&core), before);
    let clipped = (tail, Box::from("somebody else"), When::Now);
    assert_eq!(wishes(&core), [wish, clipped]);
    let held_bytes = core.held_bytes();
    drop(core);
    assert_eq!(open(&storage, LIMITS).unwrap().held_bytes(), held_bytes);
}
