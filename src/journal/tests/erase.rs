//! Erasing a person: what goes, what stays, and what a crash leaves.

use super::{storage::Fault as Injected, *};
use crate::{
    envelope::{Chain, Digest, Envelope, Kind, Unverified, Verifier},
    journal::{Reader, cursor::Progress, transaction::Transaction},
    seq::{Incarnation, Position, Seq},
};

/// The person to be erased.
const PERSON: Uuid = Uuid::from_u128(0xA11C_E5A1_1CE5_4A11_8CE5_A11C_E5A1_1CE5);

/// Somebody else.
const OTHER: Uuid = Uuid::from_u128(7);

/// Stands in every payload of the person.
const MARKER: &str = "the-mark-of-alice";

const TABLE: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("scores");

fn event(
    seed: u64,
    number: u64,
    aggregate: Uuid,
    subject: Option<&str>,
    payload: String,
) -> Sealed {
    let mut event = Event::builder("quiz.submitted.v1", aggregate)
        .id(Uuid::from_u64_pair(number, 1))
        .payload(payload);
    if let Some(subject) = subject {
        event = event.subject_id(subject);
    }
    let event = event.build().unwrap();
    Sealed::seal(event, 0, LIMITS.max_payload_bytes, &mut entropy(seed)).unwrap()
}

/// An event of the person, as aggregate or as subject, with so many bytes of payload at least.
fn theirs(number: u64, bytes: usize) -> Sealed {
    let filling = format!("{MARKER} ").repeat(1 + bytes / (MARKER.len() + 1));
    let payload = format!("{{\"n\":{number},\"text\":\"{filling}\"}}");
    // Nobody else's event has the salt of one of theirs.
    let seed = number + (1 << 32);
    match number % 3 {
        0 => event(seed, number, PERSON, None, payload),
        1 => event(seed, number, OTHER, Some(&PERSON.to_string()), payload),
        _ => {
            let subject = PERSON.simple().to_string().to_uppercase();
            event(seed, number, OTHER, Some(&subject), payload)
        }
    }
}

fn others(number: u64, bytes: usize) -> Sealed {
    let payload = format!("{{\"n\":{number},\"text\":\"{}\"}}", "o".repeat(bytes));
    event(number, number, OTHER, Some("somebody else"), payload)
}

/// Everything that is under way, to its end.
fn finish(core: &mut Core<FaultyStorage>) -> Result<(), Fault> {
    for _ in 0..10_000 {
        if !core.is_erasing() {
            return Ok(());
        }
        core.erase_on(stamp())?;
    }
    panic!("erasing does not end");
}

fn erase(core: &mut Core<FaultyStorage>) -> u64 {
    let wish = core.begin_erasing(PERSON).unwrap();
    finish(core).unwrap();
    core.take_erased()[&wish]
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    const PAGE: usize = 4_096;
    let pages = (0..haystack.len()).step_by(PAGE);
    // Most of a file that was scrubbed is zeros, and comparing is fast.
    let zeros = [0; PAGE];
    let written = pages.filter(|&page| !zeros.starts_with(&haystack[page..][..PAGE]));
    let starts = written.flat_map(|page| page..page + PAGE);
    starts
        .filter(|&at| haystack[at] == needle[0] && haystack[at..].starts_with(needle))
        .count()
}

/// How often anything of the person stands in the bytes of the medium.
fn marks(storage: &FaultyStorage) -> usize {
    let medium = storage.snapshot();
    let text = PERSON.to_string();
    let upper = PERSON.simple().to_string().to_uppercase();
    let salt = theirs(3, 0).salt;
    [
        MARKER.as_bytes(),
        PERSON.as_bytes(),
        text.as_bytes(),
        upper.as_bytes(),
        &salt,
    ]
    .iter()
    .map(|needle| count(&medium, needle))
    .sum()
}

/// What a journal holds, verified as one chain: seq, digest, and the payload where it is there.
fn held(core: &Core<FaultyStorage>) -> Vec<(Seq, Digest, Kind, Option<String>)> {
    let mut verifier = Verifier::new();
    verifier.trust(identity().key.public_key());
    let mut chain = Chain::new();
    let reader = Reader::new(core.store().clone());
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    let records = batch.records().map(|record| {
        let record = record.unwrap();
        let mut line = Vec::new();
        record.render(false, true, &mut line);
        let envelope = Envelope::<Unverified>::parse(&line).unwrap();
        chain.extend(&verifier.verify(envelope).unwrap()).unwrap();
        let payload = record.private.map(|private| {
            assert_ne!(private.aggregate_id, Uuid::nil());
            String::from_utf8(private.payload.to_vec()).unwrap()
        });
        (
            record.statement.seq,
            record.digest,
            record.statement.kind,
            payload,
        )
    });
    records.collect()
}

/// A journal with a history: rows of many sizes, of the person and of others, trimmed now and
/// then, and a program's table that grew and shrank between them.
fn fragmented(storage: &FaultyStorage, seed: u64, rounds: u64) -> Core<FaultyStorage> {
    let mut core = open(storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 1 << 20));
    core.commit(staging).unwrap();
    core.set_caught_up(&nats(), true);
    let mut random = seed;
    let mut number = 0;
    for round in 0..rounds {
        let size = [0, 30, 300, 3_000, 20_000][next_random(&mut random) as usize % 5];
        let count = [1, 1, 3, 70][next_random(&mut random) as usize % 4];
        let request = (0..count.min(1 + 200_000 / (size as u64 + 100)))
            .map(|_| {
                number += 1;
                match next_random(&mut random) % 2 {
                    0 => theirs(number, size),
                    _ => others(number, size),
                }
            })
            .collect();
        append(&mut core, request).unwrap().unwrap();
        let key = next_random(&mut random) % 64;
        let value = vec![7; 1 + next_random(&mut random) as usize % 9_000];
        let staging = core.stage(stamp());
        let written = core.transact(staging, |transaction: &Transaction<'_>| {
            let mut table = transaction.open_table(TABLE).unwrap();
            table.insert(key, value.as_slice()).unwrap();
            if round % 3 == 0 {
                table.remove(&(key / 2)).unwrap();
            }
            Ok::<_, ()>(())
        });
        assert!(written.is_ok());
        if round % 40 == 39 {
            // Whatever a sink has confirmed is trimmed.
            let acked = core.tail();
            let progress = Progress {
                acked: Seq::new(acked.get().saturating_sub(150)),
                floor: Position(0),
                incarnation: Incarnation(1),
            };
            core.note_progress(&nats(), progress);
        }
    }
    append(&mut core, vec![theirs(number + 1, 90)])
        .unwrap()
        .unwrap();
    core
}

#[test]
fn nothing_of_a_person_is_left_in_a_fragmented_file() {
    for seed in 0..6 {
        let storage = FaultyStorage::new(seed);
        let mut core = fragmented(&storage, seed, 160);
        let before = held(&core);
        let found = marks(&storage);
        assert!(found > 500, "{found}");
        let theirs = before
            .iter()
            .filter(|(.., text)| text.as_ref().is_some_and(|text| text.contains(MARKER)));
        let theirs = theirs.count() as u64;
        assert!(theirs > 20, "{theirs}");
        let length = storage.snapshot().len();

        assert_eq!(erase(&mut core), theirs, "seed {seed}");
        assert_eq!(marks(&storage), 0, "seed {seed}");
        // redb doubles a file that is full, as it is once it was cut to what is in use.
        assert!(storage.snapshot().len() <= 2 * length);

        let after = held(&core);
        for ((seq, digest, _, text), now) in before.iter().zip(&after) {
            assert_eq!((*seq, *digest), (now.0, now.1));
            match text.as_ref().unwrap().contains(MARKER) {
                true => assert_eq!(now.3, None),
                false => assert_eq!(now.3, *text),
            }
        }
        let bytes = core.held_bytes();
        drop(core);
        let core = open(&storage, LIMITS).unwrap();
        assert_eq!(core.held_bytes(), bytes);
        assert_eq!(held(&core).len(), after.len());
        assert_eq!(marks(&storage), 0, "seed {seed}, after the next start");
    }
}

/// The payload of every event of the ledger that names what was erased.
fn ledger(core: &Core<FaultyStorage>) -> Vec<serde_json::Value> {
    let reader = Reader::new(core.store().clone());
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    let records = batch.records().map(Result::unwrap);
    let erased = records.filter(|r| r.statement.event_type == "outbox.events_erased.v1");
    erased
        .map(|record| serde_json::from_slice(record.private.unwrap().payload).unwrap())
        .collect()
}

#[test]
fn the_ledger_names_seq_and_digest_of_each_event_and_says_no_more() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    for number in 0..700 {
        let sealed = match number % 2 {
            0 => theirs(number, 10),
            _ => others(number, 10),
        };
        append(&mut core, vec![sealed]).unwrap().unwrap();
    }
    let before = held(&core);
    assert_eq!(erase(&mut core), 350);
    let ledger = ledger(&core);
    assert_eq!(ledger.len(), 2, "256 in one, the others in another");
    let named = ledger
        .iter()
        .flat_map(|event| event["events"].as_array().unwrap());
    let named: Vec<(u64, String)> = named
        .map(|one| {
            assert_eq!(one.as_object().unwrap().len(), 2);
            let digest = one["digest"].as_str().unwrap().to_owned();
            (one["seq"].as_u64().unwrap(), digest)
        })
        .collect();
    let expected = before
        .iter()
        .filter(|(.., text)| text.as_ref().unwrap().contains(MARKER))
        .map(|(seq, digest, ..)| {
            let digest = serde_json::to_value(digest).unwrap();
            (seq.get(), digest.as_str().unwrap().to_owned())
        });
    assert_eq!(named, expected.collect::<Vec<_>>());
    assert_eq!(erase(&mut core), 0, "nothing is left to erase");
    assert_eq!(core.tail(), Seq::new(703), "and nothing to say of it");
}

#[test]
fn what_is_appended_after_it_began_stays_and_a_repeat_is_still_known() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    append(&mut core, vec![theirs(1, 10), others(2, 10)])
        .unwrap()
        .unwrap();
    core.begin_erasing(PERSON).unwrap();
    append(&mut core, vec![theirs(3, 10)]).unwrap().unwrap();
    finish(&mut core).unwrap();
    let held = held(&core);
    let has_content = held.iter().map(|(.., payload)| payload.is_some());
    assert_eq!(
        has_content.collect::<Vec<_>>(),
        [true, false, true, true, true]
    );
    // An erased event cannot contradict who sends it again, and does not come back.
    let tail = core.tail();
    let again = append(&mut core, vec![theirs(1, 10)]).unwrap().unwrap();
    assert_eq!((again[0].seq, again[0].repeated), (Seq::new(2), true));
    assert_eq!(core.tail(), tail);
}

#[test]
fn a_dead_letter_of_an_erased_event_stays() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 16));
    core.commit(staging).unwrap();
    append(&mut core, vec![theirs(1, 10)]).unwrap().unwrap();
    let mut staging = core.stage(stamp());
    core.reject(&mut staging, &nats(), Seq::new(2), "constraint")
        .unwrap();
    core.commit(staging).unwrap();
    assert_eq!(erase(&mut core), 1);
    let reader = Reader::new(core.store().clone());
    let reason = reader.rejection(&nats(), Seq::new(2)).unwrap();
    assert_eq!(reason.as_deref(), Some("constraint"));
    assert_eq!(marks(&storage), 0);
}

/// Its event was trimmed, and is kept for the dead letter alone.
#[test]
fn what_is_kept_of_a_dead_letter_is_erased_too() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 10_000));
    core.commit(staging).unwrap();
    append(&mut core, vec![theirs(3, 10)]).unwrap().unwrap();
    let more = (4..1_400).map(|number| others(number, 10));
    append(&mut core, more.collect()).unwrap().unwrap();
    let (letter, tail) = (Seq::new(2), core.tail());
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), tail);
    core.reject(&mut staging, &nats(), letter, "constraint")
        .unwrap();
    core.commit(staging).unwrap();
    let progress = Progress {
        acked: tail,
        floor: Position(0),
        incarnation: Incarnation(1),
    };
    core.note_progress(&nats(), progress);
    append(&mut core, vec![others(1_400, 10)]).unwrap().unwrap();
    assert!(core.first_held() > letter && marks(&storage) > 0);

    assert_eq!(erase(&mut core), 1);
    assert_eq!(marks(&storage), 0);
    let reader = Reader::new(core.store().clone());
    let batch = reader.dead_letter(letter).unwrap();
    let record = batch.records().next().unwrap().unwrap();
    assert!(record.private.is_none());
    assert_eq!(ledger(&core).len(), 1);
}

#[test]
fn a_request_erases_what_came_before_it_and_itself_once_every_required_sink_has_it() {
    for on_request in [false, true] {
        let storage = FaultyStorage::new(1);
        let mut core = open(&storage, LIMITS).unwrap();
        core.erase_on_request(on_request);
        let mut staging = core.stage(stamp());
        core.register(&mut staging, &nats(), wanted(true, 16));
        core.commit(staging).unwrap();
        core.set_caught_up(&nats(), true);
        append(&mut core, vec![theirs(1, 10)]).unwrap().unwrap();
        let request = Event::builder("user.erase_requested.v1", PERSON)
            .subject_id(PERSON.to_string())
            .payload(format!("{{\"text\":\"{MARKER}\"}}"))
            .build()
            .unwrap();
        let request = Sealed::seal(request, 0, 1_000, &mut entropy(9)).unwrap();
        append(&mut core, vec![theirs(2, 10), request, theirs(3, 10)])
            .unwrap()
            .unwrap();
        assert_eq!(core.is_erasing(), on_request);
        // The wish is in the commit of the request, so no crash comes between them.
        drop(core);
        let mut core = open(&storage, LIMITS).unwrap();
        core.erase_on_request(on_request);
        finish(&mut core).unwrap();
        let content = |core: &Core<FaultyStorage>| {
            let held = held(core).into_iter().take(5);
            held.map(|(.., payload)| payload.is_some())
                .collect::<Vec<_>>()
        };
        if !on_request {
            assert_eq!(content(&core), [true; 5]);
            continue;
        }
        assert_eq!(content(&core), [true, false, false, true, true]);
        assert!(!core.is_erasing(), "the hub has not heard of it");

        let mut staging = core.stage(stamp());
        core.register(&mut staging, &nats(), wanted(true, 16));
        core.claim(&mut staging, &nats(), Seq::new(6));
        core.commit(staging).unwrap();
        for (acked, erases) in [(3, false), (4, true)] {
            core.note_progress(
                &nats(),
                Progress {
                    acked: Seq::new(acked),
                    floor: Position(0),
                    incarnation: Incarnation(1),
                },
            );
            let staging = core.stage(stamp());
            core.commit(staging).unwrap();
            assert_eq!(core.is_erasing(), erases, "{acked}");
        }
        finish(&mut core).unwrap();
        assert_eq!(content(&core), [true, false, false, false, true]);
        // One event of the person is left: the one that came after the request.
        let medium = storage.snapshot();
        assert_eq!(count(&medium, MARKER.as_bytes()), 1);
    }
}

/// A journal that was set back gives erased events other seqs, too, and names them anew.
#[test]
fn what_is_erased_moves_into_a_new_epoch_with_the_rest() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    append(&mut core, vec![others(1, 10)]).unwrap().unwrap();
    for number in 2..6 {
        let event = match number % 2 {
            0 => theirs(number, 10),
            _ => others(number, 10),
        };
        append(&mut core, vec![event]).unwrap().unwrap();
    }
    assert_eq!(erase(&mut core), 2);
    let (from, tail) = (Seq::new(3), core.tail());
    let moved = core.begin_epoch(crate::ledger::EpochReason::RolledBack, from, stamp());
    assert!(moved.unwrap());
    drop(core);
    let core = open(&storage, LIMITS).unwrap();
    let left = reader_of(&core, from, tail);
    assert_eq!(left, [], "two events have one epoch and seq");
    let anew = reader_of(&core, tail.next(), core.tail());
    let erased: Vec<(u64, String)> = anew
        .iter()
        .filter(|(.., is_erased)| *is_erased)
        .map(|(seq, digest, _)| {
            let digest = serde_json::to_value(digest).unwrap();
            (seq.get(), digest.as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(erased.len(), 2);
    let named = ledger(&core).pop().unwrap();
    let named: Vec<(u64, String)> = named["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let digest = one["digest"].as_str().unwrap().to_owned();
            (one["seq"].as_u64().unwrap(), digest)
        })
        .collect();
    assert_eq!(named, erased);
    assert_eq!(marks(&storage), 0);
}

/// Seq, digest and whether it is erased, of what is held in this range, each verified.
fn reader_of(core: &Core<FaultyStorage>, first: Seq, last: Seq) -> Vec<(Seq, Digest, bool)> {
    let mut verifier = Verifier::new();
    verifier.trust(identity().key.public_key());
    let reader = Reader::new(core.store().clone());
    let batch = reader.batch(first, usize::MAX, usize::MAX).unwrap();
    let records = batch.records().map(Result::unwrap);
    let records = records.filter(|it| (first..=last).contains(&it.statement.seq));
    records
        .map(|record| {
            let mut line = Vec::new();
            record.render(false, true, &mut line);
            let envelope = Envelope::<Unverified>::parse(&line).unwrap();
            verifier.verify(envelope).unwrap();
            (
                record.statement.seq,
                record.digest,
                record.private.is_none(),
            )
        })
        .collect()
}

/// What a person asks by, in an event of its own.
fn request(number: u64) -> Sealed {
    let request = Event::builder("user.erase_requested.v1", PERSON)
        .id(Uuid::from_u64_pair(number, 1))
        .payload(format!("{{\"text\":\"{MARKER}\"}}"))
        .build()
        .unwrap();
    Sealed::seal(request, 0, 1_000, &mut entropy(number)).unwrap()
}

#[test]
fn whoever_else_wants_the_person_erased_does_not_keep_the_request_from_the_hub() {
    for in_one_commit in [false, true] {
        let storage = FaultyStorage::new(1);
        let mut core = open(&storage, LIMITS).unwrap();
        core.erase_on_request(true);
        let mut staging = core.stage(stamp());
        core.register(&mut staging, &nats(), wanted(true, 16));
        core.commit(staging).unwrap();
        let events = vec![theirs(1, 10), request(2), request(3)];
        match in_one_commit {
            true => drop(append(&mut core, events).unwrap().unwrap()),
            false => {
                for event in events {
                    append(&mut core, vec![event]).unwrap().unwrap();
                }
            }
        }
        let (upto, _) = core.begin_erasing(PERSON).unwrap();
        assert_eq!(upto, Seq::new(2), "the requests are to be delivered");
        finish(&mut core).unwrap();
        let content: Vec<bool> = held(&core)
            .into_iter()
            .map(|(.., payload)| payload.is_some())
            .collect();
        assert_eq!(content[..4], [true, false, true, true]);

        let tail = core.tail();
        let mut staging = core.stage(stamp());
        core.claim(&mut staging, &nats(), tail);
        core.commit(staging).unwrap();
        let progress = Progress {
            acked: tail,
            floor: Position(0),
            incarnation: Incarnation(1),
        };
        core.note_progress(&nats(), progress);
        let staging = core.stage(stamp());
        core.commit(staging).unwrap();
        finish(&mut core).unwrap();
        assert_eq!(marks(&storage), 0);
    }
}

/// A small journal with a past, about to be erased from.
fn before_the_crash() -> FaultyStorage {
    let storage = FaultyStorage::new(3);
    let mut core = fragmented(&storage, 5, 12);
    core.begin_erasing(PERSON).unwrap();
    drop(core);
    storage
}

#[test]
fn a_crash_at_any_call_leaves_whole_rows_and_the_erasure_is_completed() {
    let storage = before_the_crash();
    let reference = {
        let core = open(&storage.copy(), LIMITS).unwrap();
        held(&core)
    };
    let mut calls = 0;
    let mut at = 1;
    loop {
        let disk = storage.copy();
        let mut core = match open(&disk, LIMITS) {
            Ok(core) => core,
            Err(fault) => panic!("{fault}"),
        };
        disk.fail_after(at, Injected::PowerCut);
        let whole = finish(&mut core).is_ok();
        drop(core);
        let never_came = disk.fault_is_ahead();
        disk.crash();
        let mut core = open(&disk, LIMITS).unwrap_or_else(|fault| panic!("call {at}: {fault}"));
        for ((seq, digest, _, text), now) in reference.iter().zip(held(&core)) {
            assert_eq!((*seq, *digest), (now.0, now.1), "call {at}");
            assert!(now.3.is_none() || now.3 == *text, "call {at}: half erased");
        }
        finish(&mut core).unwrap();
        assert_eq!(marks(&disk), 0, "call {at}");
        let named: usize = ledger(&core)
            .iter()
            .map(|event| event["events"].as_array().unwrap().len())
            .sum();
        let erased = held(&core).iter().filter(|one| one.3.is_none()).count();
        assert_eq!(named, erased, "call {at}: each is named once");
        calls += 1;
        if never_came {
            assert!(whole);
            break;
        }
        at += 1 + at / 8;
    }
    assert!(calls > 25, "{calls}");
}

#[test]
fn a_call_that_fails_once_is_survived_and_the_erasure_is_completed() {
    let storage = before_the_crash();
    let mut at = 1;
    loop {
        let disk = storage.copy();
        let mut core = open(&disk, LIMITS).unwrap();
        disk.fail_after(at, Injected::Once);
        if finish(&mut core).is_err() {
            core.reopen(stamp())
                .unwrap_or_else(|fault| panic!("call {at}: {fault}"));
            finish(&mut core).unwrap_or_else(|fault| panic!("call {at}: {fault}"));
        }
        assert_eq!(marks(&disk), 0, "call {at}");
        held(&core);
        if disk.fault_is_ahead() {
            break;
        }
        at += 1 + at / 8;
    }
}
