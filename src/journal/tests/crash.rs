//! Crashes at every call, and again during recovery.

use super::{storage::Fault, *};
use crate::{
    envelope::{Chain, Digest, Envelope, Kind, Record, Unverified, Verifier},
    journal::{Reader, cursor::Progress},
    seq::{Incarnation, Position, Seq},
};

/// What the world outside has been told.
#[derive(Default)]
struct Told {
    /// Number of the event, and the seq it was acknowledged under.
    acknowledged: Vec<(u64, Seq)>,
    /// The next number to append.
    next: u64,
    /// What was handed to the network, by seq: the digest.
    sent: Vec<(Seq, Digest)>,
    acked: Seq,
    claimed: Seq,
}

const EVENTS: u64 = 200;

/// Runs between two that verify every signature.
const VERIFY_EVERY: u64 = 16;

/// Events appended after the recovery, to see that it goes on.
const AFTERWARDS: u64 = 12;

/// Appends up to so many events, one and three at a time, and delivers behind; stops at a fault.
fn work(core: &mut Core<FaultyStorage>, told: &mut Told, events: u64) -> Result<(), super::Fault> {
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), true, 16);
    core.commit(staging)?;
    while told.next < events {
        let count = 1 + 2 * (told.next % 2);
        let numbers: Vec<u64> = (told.next..told.next + count).collect();
        // A number that was in doubt is appended again under the same id.
        let request = numbers
            .iter()
            .map(|&n| sealed(n, &format!("{{\"n\":{n}}}")))
            .collect();
        let places = append(core, request)?.expect("no event is refused");
        told.acknowledged
            .extend(numbers.iter().copied().zip(places.iter().map(|p| p.seq)));
        told.next += count;
        deliver(core, told)?;
    }
    Ok(())
}

/// Sends what may be sent, and has some of it confirmed.
fn deliver(core: &mut Core<FaultyStorage>, told: &mut Told) -> Result<(), super::Fault> {
    if told.next.is_multiple_of(5) {
        let mut staging = core.stage(stamp());
        core.claim(&mut staging, &nats(), core.tail());
        core.commit(staging)?;
    }
    core.set_caught_up(&nats(), told.next.is_multiple_of(3));
    let claimed = core.cursors()[&nats()].claimed;
    told.claimed = told.claimed.max(claimed);
    let reader = Reader::new(core.store().clone());
    let from = told.sent.last().map_or(Seq::FIRST, |(seq, _)| seq.next());
    if from <= claimed {
        let batch = reader
            .batch(from, usize::MAX, usize::MAX)
            .map_err(|_| super::Fault::Unavailable)?;
        for record in batch.records() {
            let record = record.expect("what is stored verifies");
            if record.statement.seq <= claimed {
                told.sent.push((record.statement.seq, record.digest));
            }
        }
    }
    told.acked = told.acked.max(claimed.prev());
    let acked = told.acked;
    core.note_progress(
        &nats(),
        Progress {
            acked,
            floor: Position(acked.get()),
            incarnation: Incarnation(1),
        },
    );
    Ok(())
}

/// One event of the journal, as it would leave.
struct Held {
    seq: Seq,
    digest: Digest,
    /// The number of a program's event.
    number: Option<u64>,
    payload: Vec<u8>,
}

/// Everything held: decoded, chained, and on request verified under the device's key. Verifying
/// costs as much as all the rest of a run, so most runs leave it out.
fn everything(core: &Core<FaultyStorage>, verify: bool, context: &str) -> Vec<Held> {
    let mut verifier = Verifier::new();
    verifier.trust(identity().key.public_key());
    let mut chain = Chain::new();
    let reader = Reader::new(core.store().clone());
    let batch = reader
        .batch(core.first_held(), usize::MAX, usize::MAX)
        .unwrap();
    let mut prev = Digest::ZERO;
    let take = |record: Result<Record<'_>, _>| {
        let record = record.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(record.statement.prev, prev, "{context}: the chain");
        prev = record.digest;
        if verify {
            let mut line = Vec::new();
            record.render(false, true, &mut line);
            let envelope = Envelope::<Unverified>::parse(&line).unwrap();
            chain.extend(&verifier.verify(envelope).unwrap()).unwrap();
        }
        let program = record.statement.kind == Kind::Program;
        Held {
            seq: record.statement.seq,
            digest: record.digest,
            number: program.then(|| record.statement.id.as_u64_pair().0),
            payload: record.private.unwrap().payload.to_vec(),
        }
    };
    batch.records().map(take).collect()
}

/// Holds what is there against what was told.
fn check(core: &Core<FaultyStorage>, told: &Told, verify: bool, context: &str) {
    let held = everything(core, verify, context);
    assert_eq!(held.last().unwrap().seq, core.tail(), "{context}");
    for (number, seq) in &told.acknowledged {
        let id = Uuid::from_u64_pair(*number, 1);
        assert_eq!(
            core.find(&id),
            Some(*seq),
            "{context}: event {number} was acknowledged"
        );
        let index = seq.since(core.first_held()) as usize;
        let payload = &held[index].payload;
        assert_eq!(
            *payload,
            format!("{{\"n\":{number}}}").into_bytes(),
            "{context}"
        );
    }
    // A request is there whole or not at all: three at a time from each odd number on.
    let mut expected = 0;
    for number in held.iter().filter_map(|event| event.number) {
        assert_eq!(number, expected, "{context}: in order, once each");
        expected += 1;
    }
    assert!(
        expected % 4 == 0 || expected % 4 == 1,
        "{context}: half a request: {expected}"
    );
    for (seq, digest) in &told.sent {
        let index = seq.since(core.first_held()) as usize;
        assert_eq!(
            held[index].digest, *digest,
            "{context}: {seq} left and changed"
        );
    }
    if let Some(cursor) = core.cursors().get(&nats()) {
        assert!(cursor.confirmed <= cursor.acked, "{context}");
        assert!(cursor.acked <= cursor.claimed, "{context}");
        assert!(cursor.claimed <= core.tail(), "{context}");
        let sent = told.sent.last().map_or(Seq::NONE, |(seq, _)| *seq);
        assert!(sent <= cursor.claimed, "{context}: {sent} left unclaimed");
        assert!(cursor.acked <= told.acked, "{context}");
    }
}

/// Opens after a crash; where another one hits, the power comes back and it is opened again.
fn open_again(storage: &FaultyStorage) -> Core<FaultyStorage> {
    for _ in 0..3 {
        match open(storage, LIMITS) {
            Ok(core) => return core,
            Err(_) => storage.crash(),
        }
    }
    open(storage, LIMITS).expect("it opens once the power stays on")
}

fn run_with(fault: Fault, call: u64, seed: u64, again: u64) -> bool {
    let storage = FaultyStorage::new(seed);
    let context = format!("{fault:?} at call {call}, seed {seed}, again after {again}");
    storage.fail_after(call, fault);
    let mut told = Told::default();
    let mut hit = false;
    match open(&storage, LIMITS) {
        Err(_) => hit = true,
        Ok(mut core) => {
            if work(&mut core, &mut told, EVENTS).is_err() {
                hit = true;
                if fault == Fault::Once {
                    core.reopen(stamp())
                        .unwrap_or_else(|e| panic!("{context}: {e}"));
                    check(&core, &told, false, &context);
                }
            }
        }
    }
    let reached = !storage.fault_is_ahead();
    storage.crash();
    if again > 0 {
        storage.fail_after(again, Fault::PowerCut);
    }
    let mut core = open_again(&storage);
    storage.crash_is_over();
    let verify = call.is_multiple_of(VERIFY_EVERY);
    check(&core, &told, verify, &context);
    // And it goes on: what had no answer is appended again under the same ids.
    told.sent.retain(|(seq, _)| *seq <= core.tail());
    let until = told.next + AFTERWARDS;
    work(&mut core, &mut told, until).unwrap_or_else(|e| panic!("{context}: {e}"));
    check(&core, &told, verify, &context);
    hit || reached
}

/// Every call in turn, until a run ends before the fault comes.
fn at_every_call(fault: Fault, step: u64) {
    let mut call = 1;
    while run_with(fault, call, call, call % 17) {
        call += step;
    }
    assert!(call > 1000, "the faults must come within the work: {call}");
}

#[test]
fn a_power_cut_at_every_call_loses_nothing_acknowledged() {
    at_every_call(Fault::PowerCut, 1);
}

#[test]
fn a_call_that_fails_once_loses_nothing_acknowledged() {
    at_every_call(Fault::Once, 1);
}
