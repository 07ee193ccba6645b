//! What a recovery says, leaves, and makes of what is not an event.

use super::*;

#[test]
fn the_new_epoch_says_what_is_gone() {
    let sample = sample(20, 2);
    let mut bytes = sample.bytes.clone();
    let (at, _, seqs) = sample
        .rows
        .iter()
        .find(|(.., seqs)| seqs[0] == Seq::new(10))
        .unwrap();
    bytes[at + 50] ^= 4;
    let storage = FaultyStorage::new(1);
    storage.restore(bytes);
    let recovery = recover_from(&storage, None).unwrap().unwrap();
    assert!(recovery.end_is_known);
    let gone = crate::seq::SeqRange::new(seqs[0], *seqs.last().unwrap()).unwrap();
    assert_eq!(recovery.missing, [gone]);
    let core = open(&storage, LIMITS).unwrap();
    let started = sample.tail.next();
    let reader = Reader::new(core.store().clone());
    let said = reader.record(started, |record| {
        let payload = record.private.unwrap().payload;
        let said: serde_json::Value = serde_json::from_slice(payload).unwrap();
        (
            record.statement.event_type.to_owned(),
            record.statement.prev,
            said,
        )
    });
    let (event_type, prev, said) = said.unwrap().unwrap();
    assert_eq!(
        (event_type.as_str(), prev),
        ("outbox.epoch_started.v1", Digest::ZERO)
    );
    assert_eq!(said["reason"], "recovered");
    assert_eq!(said["previous"]["seq"], sample.tail.get());
    assert_eq!(
        said["missing"],
        serde_json::json!([{ "first": 10, "last": 11 }])
    );
    assert_eq!(core.cursors()[&nats()].acked, Seq::new(2));
    assert_eq!(core.cursors()[&nats()].claimed, sample.claimed);
    // It is a journal like any other, and can be recovered again.
    drop(core);
    assert_eq!(recover_from(&storage, None).unwrap(), None);
    let again = recover_from(&storage, Some("a test".into()))
        .unwrap()
        .unwrap();
    assert_eq!(again.missing, [gone]);
}

#[test]
fn a_power_cut_at_every_call_of_a_recovery_leaves_the_old_journal_or_the_new() {
    let sample = sample(10, 2);
    let mut bytes = sample.bytes.clone();
    let (at, ..) = sample
        .rows
        .iter()
        .find(|(.., seqs)| seqs[0] == Seq::new(8))
        .unwrap();
    bytes[at + 50] ^= 4;
    for call in 1.. {
        let storage = FaultyStorage::new(call);
        storage.restore(bytes.clone());
        storage.fail_after(call, DiskFault::PowerCut);
        let first = recover_from(&storage, None);
        let ended = storage.fault_is_ahead();
        storage.crash();
        if storage.snapshot() == bytes {
            assert!(first.is_err(), "call {call}");
            recover_from(&storage, None).unwrap().unwrap();
        }
        let core = open(&storage, LIMITS).unwrap();
        let (found, error) = held(&core);
        assert_eq!(error, None, "call {call}");
        assert_not_wrong(&sample, &found, &(*at..at + 1));
        let lost: Vec<&Seq> = sample
            .events
            .keys()
            .filter(|seq| !found.contains_key(seq))
            .collect();
        assert_eq!(lost, [&Seq::new(8), &Seq::new(9)], "call {call}");
        if ended {
            assert!(call > 30, "{call}");
            return;
        }
    }
}

#[test]
fn a_journal_of_another_key_is_refused_and_left_as_it_is() {
    let sample = sample(3, 1);
    let mut bytes = sample.bytes.clone();
    let (at, ..) = sample.rows[1];
    bytes[at + 50] ^= 4;
    let storage = FaultyStorage::new(1);
    storage.restore(bytes.clone());
    let other = Identity {
        key: DeviceKey::from_pkcs8_base64(OTHER_KEY).unwrap(),
        ..identity()
    };
    let refused = recover(
        storage.clone(),
        other,
        &[],
        None,
        LIMITS,
        1 << 20,
        entropy(1),
        stamp(),
    );
    assert!(
        matches!(refused, Err(Fault::OtherKey { .. })),
        "{refused:?}"
    );
    assert_eq!(storage.snapshot(), bytes);
}

#[test]
fn the_life_of_the_hub_that_is_believed_is_taken() {
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 16));
    core.begin_life(&mut staging, &nats(), 7);
    core.commit(staging).unwrap();
    drop(core);
    let recovery = recover_from(&storage, Some("a test".into()));
    assert!(recovery.unwrap().is_some());
    let core = open(&storage, LIMITS).unwrap();
    assert_eq!(core.life_of(&nats()).unwrap(), Some(7));
}

#[test]
fn dead_letters_are_taken_and_what_is_the_programs_is_named() {
    const SCORES: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("scores");
    let storage = FaultyStorage::new(1);
    let mut core = open(&storage, LIMITS).unwrap();
    let mut staging = core.stage(stamp());
    core.register(&mut staging, &nats(), wanted(true, 16));
    core.commit(staging).unwrap();
    for number in 1..9 {
        append(&mut core, vec![sealed(number, "{}")])
            .unwrap()
            .unwrap();
    }
    let mut staging = core.stage(stamp());
    core.claim(&mut staging, &nats(), Seq::new(6));
    core.reject(&mut staging, &nats(), Seq::new(4), "too_large")
        .unwrap();
    core.commit(staging).unwrap();
    core.store()
        .write(|transaction| -> Result<(), Fault> {
            let mut table = transaction.open_table(SCORES).unwrap();
            table.insert(1, 2).unwrap();
            Ok(())
        })
        .unwrap();
    drop(core);
    let recovery = recover_from(&storage, Some("a test".into()))
        .unwrap()
        .unwrap();
    assert_eq!(recovery.tables_left_behind, ["scores"]);
    assert_eq!(recovery.dead_letters, 1);
    let core = open(&storage, LIMITS).unwrap();
    let reader = Reader::new(core.store().clone());
    let code = reader.rejection(&nats(), Seq::new(4)).unwrap();
    assert_eq!(code.as_deref(), Some("too_large"));
    assert_eq!(core.cursors()[&nats()].dead_letters, 1);
}

/// Nothing is left of it but its name.
#[test]
fn of_a_file_without_an_event_a_journal_is_made_that_says_so() {
    for bytes in [Vec::new(), vec![0; 5_000], vec![0xA5; 70_000]] {
        let storage = FaultyStorage::new(1);
        storage.restore(bytes);
        let recovery = recover_from(&storage, None).unwrap().unwrap();
        assert_eq!((recovery.events, recovery.held), (0, None));
        let mut core = open(&storage, LIMITS).unwrap();
        assert_eq!(core.tail(), Seq::new(16_385));
        append(&mut core, vec![sealed(1, "1")]).unwrap().unwrap();
    }
}

/// A card that gives nothing at the moment has not lost everything.
#[test]
fn a_journal_of_which_nothing_can_be_read_is_left_as_it_is() {
    let sample = sample(20, 2);
    let dir = tempfile::tempdir().unwrap();
    let storage = disk(&sample.image, dir.path());
    storage.go_bad(0..sample.bytes.len());
    for damage in [None, Some("as somebody says".to_owned())] {
        let refused = recover_from(&storage, damage).unwrap_err();
        assert!(
            matches!(&refused, Fault::Io(error) if error.to_string().contains("a bad block")),
            "{refused:?}"
        );
        assert_eq!(storage.changes(), 0);
    }
    storage.go_bad(0..0);
    assert_eq!(recover_from(&storage, None).unwrap(), None);

    // What is wrong is said as the medium says it.
    storage.go_bad(PAGE..2 * PAGE);
    let recovery = recover_from(&storage, None).unwrap();
    let damage = recovery.map(|recovery| recovery.damage);
    assert!(
        damage
            .as_ref()
            .is_none_or(|damage| damage.contains("a bad block")),
        "{damage:?}"
    );
    let (at, ..) = sample.rows.last().unwrap();
    let storage = disk(&sample.image, dir.path());
    storage.go_bad(at / PAGE * PAGE..at / PAGE * PAGE + PAGE);
    let recovery = recover_from(&storage, None).unwrap().unwrap();
    assert!(recovery.damage.contains("a bad block"), "{recovery:?}");
}
