//! Crashes at every call, and again at every call of a recovery.

use super::{storage::Fault, *};
use crate::{
    envelope::{Chain, Digest, Envelope, Kind, Record, Unverified, Verifier},
    journal::{Reader, cursor::Progress},
    seq::{Incarnation, Position, Seq},
};

/// What the world outside has been told.
#[derive(Clone, Default)]
struct Told {
    /// Number of the event, and the seq it was acknowledged under.
    acknowledged: Vec<(u64, Seq)>,
    /// The next number to append.
    next: u64,
    /// What was handed to the network, by seq: the digest.
    sent: Vec<(Seq, Digest)>,
    acked: Seq,
    claimed: Seq,
    /// Whether the other sink has come and gone, and whether it was forgotten after that.
    gone: bool,
    forgotten: bool,
}

const EVENTS: u64 = 200;

/// Runs between two that verify every signature.
const VERIFY_EVERY: u64 = 16;

/// Events appended after the recovery, to see that it goes on.
const AFTERWARDS: u64 = 12;

/// A sink that rejects an event, goes, and is forgotten half way through the work.
fn gone() -> SinkName {
    SinkName::new("gone").unwrap()
}

/// The event that it rejected: the first that the program appended.
const REJECTED: Seq = Seq::new(2);

/// Gives the other sink its place, and a dead letter; both are forgotten later.
fn reject_and_go(core: &mut Core<FaultyStorage>) -> Result<(), super::Fault> {
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &gone(), wanted(false, 16));
    core.commit(staging)?;
    let mut staging = core.stage(stamp());
    core.reject(&mut staging, &gone(), REJECTED, "constraint")
        .map_err(|_| super::Fault::Unavailable)?;
    core.commit(staging)?;
    core.detach(&gone());
    Ok(())
}

/// Appends up to so many events, one and three at a time, and delivers behind; stops at a fault.
fn work(core: &mut Core<FaultyStorage>, told: &mut Told, events: u64) -> Result<(), super::Fault> {
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 16));
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
        if told.next >= EVENTS / 4 && !told.gone {
            reject_and_go(core)?;
            told.gone = true;
        }
        if told.next >= EVENTS / 2 && !told.forgotten {
            let forgotten = core.forget(&gone(), stamp())?;
            // None where an attempt failed and was durable all the same.
            assert!(forgotten.is_none_or(|sink| sink.dead_letters == 1));
            told.forgotten = true;
        }
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
    // A sink is forgotten whole or not at all.
    let rejection = Reader::new(core.store().clone()).rejection(&gone(), REJECTED);
    let dead_letters = core
        .cursors()
        .get(&gone())
        .map(|cursor| cursor.dead_letters);
    assert_eq!(
        rejection.unwrap().is_some(),
        dead_letters.is_some_and(|count| count > 0),
        "{context}: {dead_letters:?}"
    );
    assert!(!(told.forgotten && dead_letters.is_some()), "{context}");
    let may_be_forgotten = told.next >= EVENTS / 2;
    assert!(
        !told.gone || may_be_forgotten || dead_letters == Some(1),
        "{context}"
    );
    if let Some(cursor) = core.cursors().get(&nats()) {
        assert!(cursor.confirmed <= cursor.acked, "{context}");
        assert!(cursor.acked <= cursor.claimed, "{context}");
        assert!(cursor.claimed <= core.tail(), "{context}");
        let sent = told.sent.last().map_or(Seq::NONE, |(seq, _)| *seq);
        assert!(sent <= cursor.claimed, "{context}: {sent} left unclaimed");
        assert!(cursor.acked <= told.acked, "{context}");
    }
}

/// Opens after a crash. A fault of the disk is no damage: nobody is told to throw a journal away
/// because the power went.
fn open_after_crash(
    storage: &FaultyStorage,
    context: &str,
) -> Result<Core<FaultyStorage>, super::Fault> {
    open(storage, LIMITS).inspect_err(|fault| {
        assert!(matches!(fault, super::Fault::Io(_)), "{context}: {fault:?}");
    })
}

/// A disk after its first crash, and what the world was told until then.
struct Crashed {
    storage: FaultyStorage,
    told: Told,
    context: String,
    /// Whether the fault came before the work was done.
    reached: bool,
    verify: bool,
}

impl Crashed {
    /// Works until the fault comes at this call.
    fn at(fault: Fault, call: u64) -> Self {
        let storage = FaultyStorage::new(call);
        let context = format!("{fault:?} at call {call}");
        storage.fail_after(call, fault);
        let mut told = Told::default();
        let mut hit = false;
        match open_after_crash(&storage, &context) {
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
        let reached = hit || !storage.fault_is_ahead();
        storage.crash();
        Self {
            storage,
            told,
            context,
            reached,
            verify: call.is_multiple_of(VERIFY_EVERY),
        }
    }

    /// Recovers on a copy of the disk, while the power goes at these calls, each counted from the
    /// crash before it. Gives whether the last of them came before the recovery was done.
    fn recovers(&self, again: &[u64]) -> bool {
        let context = format!("{}, again after {again:?}", self.context);
        let storage = self.storage.copy();
        let mut came = false;
        for &calls in again {
            storage.fail_after(calls, Fault::PowerCut);
            let opened = open_after_crash(&storage, &context);
            came = opened.is_err() || !storage.fault_is_ahead();
            drop(opened);
            storage.crash();
        }
        let mut core = open(&storage, LIMITS).unwrap_or_else(|e| panic!("{context}: {e}"));
        check(&core, &self.told, self.verify, &context);
        // And it goes on: what had no answer is appended again under the same ids.
        let mut told = self.told.clone();
        told.sent.retain(|(seq, _)| *seq <= core.tail());
        let until = told.next + AFTERWARDS;
        work(&mut core, &mut told, until).unwrap_or_else(|e| panic!("{context}: {e}"));
        check(&core, &told, self.verify, &context);
        came
    }
}

/// Every call in turn, until a run ends before the fault comes.
fn at_every_call(fault: Fault) {
    let mut call = 1;
    loop {
        let crashed = Crashed::at(fault, call);
        crashed.recovers(&[]);
        if !crashed.reached {
            break;
        }
        call += 1;
    }
    assert!(call > 1000, "the faults must come within the work: {call}");
}

#[test]
fn a_power_cut_at_every_call_loses_nothing_acknowledged() {
    at_every_call(Fault::PowerCut);
}

#[test]
fn a_call_that_fails_once_loses_nothing_acknowledged() {
    at_every_call(Fault::Once);
}

/// First crashes whose recovery is cut off in its turn, one in so many.
const RECOVERED_EVERY: usize = 50;

/// Calls that a recovery makes at least.
const RECOVERY_CALLS: u64 = 25;

/// Recoveries, one in so many, whose own recovery is cut off too, and at which of its calls.
const THIRD_EVERY: u64 = 9;
const THIRD_CALLS: [u64; 4] = [3, 11, 19, 27];

#[test]
fn a_power_cut_at_every_call_of_a_recovery_loses_nothing_acknowledged() {
    let mut crashes = 0;
    for call in (1..).step_by(RECOVERED_EVERY) {
        let crashed = Crashed::at(Fault::PowerCut, call);
        let mut again = 1;
        while crashed.recovers(&[again]) {
            if again.is_multiple_of(THIRD_EVERY) {
                for third in THIRD_CALLS {
                    crashed.recovers(&[again, third]);
                }
            }
            again += 1;
        }
        assert!(again > RECOVERY_CALLS, "{}: {again}", crashed.context);
        crashes += 1;
        if !crashed.reached {
            break;
        }
    }
    assert!(crashes > 20, "{crashes}");
}
