//! What comes while a commit is being made ready.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        reader::Reader,
        writer::{Command, Job},
    },
    LIMITS, append,
    attack::{place, progress, serving},
    open, sealed, stamp,
    storage::FaultyStorage,
};
use crate::{
    clock::{ClockSync, Stamp},
    seq::Seq,
};

/// The writer is told once, in the commit that it is busy with, and again only if it has heard that.
#[test]
fn what_a_sink_notes_while_the_writer_is_busy_is_heard_without_another_command() {
    let core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    let (commands, writer) = serving(core);
    let sink = place(&commands);
    let (ended, end) = mpsc::channel();
    let (noted, again) = (sink.noted.clone(), commands.clone());
    let job: Job = Box::new(move |_| {
        assert!(noted.note(progress(1)), "the writer is to be told");
        assert!(again.try_send(Command::Noted).is_ok());
        Ok(Box::new(move |_| ended.send(()).unwrap()))
    });
    assert!(commands.blocking_send(Command::Transact(job)).is_ok());
    end.recv().unwrap();
    let begin = Instant::now();
    while !sink.noted.note(progress(1)) {
        assert!(begin.elapsed() < Duration::from_secs(5), "unheard");
        thread::sleep(Duration::from_millis(1));
    }
    drop((commands, sink));
    writer.join().unwrap();
}

/// Its events came after it was begun. What says when a clock was set keeps the time it says.
#[test]
fn a_commit_is_dated_when_all_of_it_has_come() {
    let mut core = open(&FaultyStorage::new(1), LIMITS).unwrap();
    let unset = || Stamp {
        sync: ClockSync::No,
        ..stamp()
    };
    let mut commit = |number, begun: Stamp, dated: Stamp| {
        let mut staging = core.stage(begun);
        core.append(&mut staging, vec![sealed(number, "{}")])
            .unwrap();
        staging.date(dated);
        core.commit(staging).unwrap();
        let reader = Reader::new(core.store().clone());
        let batch = reader.batch(core.tail(), 1, usize::MAX).unwrap();
        let record = batch.records().next().unwrap().unwrap();
        (core.tail().get(), record.statement.clock)
    };
    let (begun, dated) = (stamp(), unset());
    assert_eq!(commit(1, begun, dated), (2, dated));
    // The boot had waited for its clock: the ledger's word on it comes first.
    let (begun, dated) = (stamp(), unset());
    assert_eq!(commit(2, begun, dated), (4, begun));
    let (begun, dated) = (stamp(), stamp());
    assert_eq!(commit(3, begun, dated), (5, dated));
    append(&mut core, vec![sealed(4, "{}")]).unwrap().unwrap();
    assert_eq!(core.tail(), Seq::new(6));
}
