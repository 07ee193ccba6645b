//! Cards that are copied, and cards that are put into another board.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    envelope::{Chain, Envelope, Kind, Verifier},
    event::Event,
    outbox::{Outbox, OutboxBuilder},
    seq::Seq,
    signing::PublicKey,
};

const KEY: &str = "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

fn board(number: u8) -> Hardware {
    Hardware::made_of(&[&format!("serial:{number}"), &format!("mac:{number}")])
}

fn on(dir: &Path, number: u8) -> OutboxBuilder {
    Outbox::builder(dir).on(board(number))
}

/// Opens, appends one event, closes; gives who it was.
fn start(builder: OutboxBuilder) -> Who {
    let outbox = builder.open().unwrap();
    let aggregate = uuid::Uuid::new_v4();
    let event = Event::builder("quiz.submitted.v1", aggregate).payload("{}");
    outbox.blocking().append(event.build().unwrap()).unwrap();
    let who = Who::of(&outbox);
    outbox.blocking().close();
    who
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Who {
    device: String,
    key: PublicKey,
    epoch: String,
}

impl Who {
    fn of(outbox: &Outbox) -> Self {
        Self {
            device: outbox.device().to_string(),
            key: outbox.public_key().clone(),
            epoch: outbox.status().borrow().epoch.clone(),
        }
    }

    /// Nothing that a hub could take for the other.
    #[track_caller]
    fn assert_other_than(&self, other: &Self) {
        assert_ne!(self.device, other.device);
        assert_ne!(self.key, other.key);
        assert_ne!(self.epoch, other.epoch);
    }
}

/// Every event held, verified under these keys and as one chain: the epoch, and whether it is the
/// program's.
fn events(outbox: &Outbox, signers: &[&Who]) -> Vec<(String, bool)> {
    let mut verifier = Verifier::new();
    for who in signers {
        verifier.trust(who.key.clone());
    }
    let mut chain = Chain::of_journal();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let mut text = Vec::new();
    runtime.unwrap().block_on(async {
        let mut stream = outbox.events(Seq::FIRST);
        while let Some(chunk) = stream.next_chunk().await.unwrap() {
            text.extend_from_slice(&chunk);
        }
    });
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let envelope = Envelope::parse(line).unwrap();
            let envelope = verifier.verify(envelope).unwrap();
            chain.extend(&envelope).unwrap();
            let is_program = envelope.statement().kind == Kind::Program;
            (envelope.statement().epoch.to_string(), is_program)
        })
        .collect()
}

/// How many events of a program there are in each of these epochs; and there are no others.
#[track_caller]
fn assert_epochs(dir: &Path, number: u8, expected: &[(&Who, usize)]) {
    let outbox = on(dir, number).open().unwrap();
    let signers: Vec<&Who> = expected.iter().map(|(who, _)| *who).collect();
    let events = events(&outbox, &signers);
    for (who, programs) in expected {
        let of_epoch = events.iter().filter(|(epoch, _)| *epoch == who.epoch);
        assert_eq!(of_epoch.filter(|(_, program)| *program).count(), *programs);
    }
    let epochs: BTreeSet<&String> = events.iter().map(|(epoch, _)| epoch).collect();
    assert_eq!(epochs.len(), expected.len(), "{events:?}");
    assert_eq!(Who::of(&outbox), *expected.last().unwrap().0);
    outbox.blocking().close();
}

/// A copy of a data directory, as of a card.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

fn key_file(dir: &Path) -> PathBuf {
    dir.join("signing-key.pem")
}

#[test]
fn an_image_without_a_data_directory_gives_each_device_an_identity_of_its_own() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    start(on(one.path(), 1)).assert_other_than(&start(on(two.path(), 2)));
}

#[test]
fn each_copy_of_a_card_that_was_started_goes_on_under_an_identity_of_its_own() {
    let image = tempfile::tempdir().unwrap();
    let master = start(on(image.path(), 1));
    let (two, three) = (copy(image.path()), copy(image.path()));
    let on_two = start(on(two.path(), 2));
    let on_three = start(on(three.path(), 3));
    on_two.assert_other_than(&master);
    on_three.assert_other_than(&master);
    on_two.assert_other_than(&on_three);
    // The key that is on all cards is on these no more.
    for copy in [&two, &three] {
        let key = DeviceKey::load(&key_file(copy.path())).unwrap();
        assert_ne!(key.public_key(), master.key);
    }
    // Once, and what was there is still there.
    assert_eq!(start(on(two.path(), 2)), on_two);
    assert_epochs(two.path(), 2, &[(&master, 1), (&on_two, 2)]);
    assert_eq!(start(on(image.path(), 1)), master);
}

#[test]
fn a_name_that_is_configured_is_kept() {
    let image = tempfile::tempdir().unwrap();
    let named = |dir, number| on(dir, number).device("kiosk-07".parse().unwrap());
    let master = start(named(image.path(), 1));
    let two = copy(image.path());
    let on_two = start(named(two.path(), 2));
    assert_eq!(
        (on_two.device.as_str(), master.device.as_str()),
        ("kiosk-07", "kiosk-07")
    );
    assert_ne!(on_two.key, master.key);
    assert_ne!(on_two.epoch, master.epoch);
}

#[test]
fn what_is_not_surely_another_board_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(on(dir.path(), 1));
    for here in [
        &[][..],
        &["mac:1"],
        &["serial:1", "mac:9"],
        &["serial:1"],
        // Learnt the time before last.
        &["mac:9"],
    ] {
        let here = Hardware::made_of(here);
        assert_eq!(start(Outbox::builder(dir.path()).on(here)), first);
    }
    // What cannot be read is as good as nothing, and learnt anew.
    fs::write(dir.path().join(FILE), "{").unwrap();
    assert_eq!(start(on(dir.path(), 2)), first);
    assert_eq!(start(on(dir.path(), 2)), first);
    assert_ne!(start(on(dir.path(), 1)), first);
}

#[test]
fn a_journal_whose_board_is_not_checked_goes_on_as_the_same_device() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(on(dir.path(), 1));
    let moved = start(on(dir.path(), 2).check_board(false));
    assert_eq!(moved, first);
    assert_eq!(start(on(dir.path(), 1)), first);
    start(on(dir.path(), 2)).assert_other_than(&first);
}

#[test]
fn whoever_only_looks_changes_nothing() {
    let image = tempfile::tempdir().unwrap();
    let master = start(on(image.path(), 1));
    let two = copy(image.path());
    let before = fs::read(two.path().join(FILE)).unwrap();
    let outbox = on(two.path(), 2).inspect().open().unwrap();
    assert_eq!(Who::of(&outbox), master);
    outbox.blocking().close();
    assert_eq!(fs::read(two.path().join(FILE)).unwrap(), before);
    assert_ne!(start(on(two.path(), 2)), master);
}

#[test]
fn a_key_that_was_put_on_the_card_for_this_board_is_kept() {
    let image = tempfile::tempdir().unwrap();
    let master = start(on(image.path(), 1));
    let two = copy(image.path());
    let provisioned = DeviceKey::generate().unwrap();
    provisioned.store_over(&key_file(two.path())).unwrap();
    let new = start(on(two.path(), 2));
    assert_eq!(new.key, provisioned.public_key());
    assert_ne!(new.epoch, master.epoch);
    assert_eq!(start(on(two.path(), 2)), new);
}

#[test]
fn what_root_writes_belongs_to_whom_the_directory_belongs_to() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    chown(dir.path(), Some(4_711), Some(4_712)).unwrap();
    start(on(dir.path(), 1));
    for file in [dir.path().join(FILE), key_file(dir.path())] {
        let owner = fs::metadata(file).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (4_711, 4_712));
    }
}

#[test]
fn a_journal_that_is_in_use_is_not_taken_over() {
    let image = tempfile::tempdir().unwrap();
    let outbox = on(image.path(), 1).open().unwrap();
    let key = fs::read(key_file(image.path())).unwrap();
    let before = fs::read(image.path().join(FILE)).unwrap();
    let error = on(image.path(), 2).open().err().unwrap();
    assert!(matches!(error, crate::OpenError::InUse(_)), "{error}");
    assert_eq!(fs::read(key_file(image.path())).unwrap(), key);
    assert_eq!(fs::read(image.path().join(FILE)).unwrap(), before);
    outbox.blocking().close();
}

/// Does the steps of taking over up to this one, as if the power went then.
fn cut_off_after(step: usize, dir: &Path, number: u8) {
    let file = dir.join(FILE);
    let key = DeviceKey::load(&key_file(dir)).unwrap().public_key().id();
    let mut board = Board::recognise(dir, board(number), Some(key), true).unwrap();
    assert!(board.is_to_begin());
    if step == 0 {
        return;
    }
    board.begin(None).unwrap();
    if step == 1 {
        return;
    }
    board.replace_key(&key_file(dir)).unwrap();
    if step == 2 {
        return;
    }
    // The new epoch is durable, and the file does not know yet.
    let begun = fs::read(&file).unwrap();
    on(dir, number).open().unwrap().blocking().close();
    assert_ne!(fs::read(&file).unwrap(), begun);
    fs::write(&file, begun).unwrap();
}

#[test]
fn a_take_over_that_is_cut_off_anywhere_ends_in_one_new_identity() {
    for step in 0..4 {
        for again in 0..=step {
            let image = tempfile::tempdir().unwrap();
            let master = start(on(image.path(), 1));
            let two = copy(image.path());
            cut_off_after(step, two.path(), 2);
            let left = fs::read(two.path().join(FILE)).unwrap();
            if again > 0 {
                // And once more, in the start after it.
                on(two.path(), 2).open().unwrap().blocking().close();
                fs::write(two.path().join(FILE), &left).unwrap();
            }
            let new = start(on(two.path(), 2));
            new.assert_other_than(&master);
            assert_epochs(two.path(), 2, &[(&master, 1), (&new, 1)]);
        }
    }
}

#[test]
fn a_card_that_is_put_back_before_anything_was_signed_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(on(dir.path(), 1));
    cut_off_after(1, dir.path(), 2);
    assert_eq!(start(on(dir.path(), 1)), first);
    assert_epochs(dir.path(), 1, &[(&first, 2)]);
    // Once the key is gone, it is another identity all the same.
    cut_off_after(2, dir.path(), 2);
    start(on(dir.path(), 1)).assert_other_than(&first);
}

#[test]
fn a_copy_of_a_first_start_that_was_cut_off_before_the_journal_has_a_key_of_its_own() {
    let image = tempfile::tempdir().unwrap();
    start(on(image.path(), 1));
    fs::remove_file(image.path().join("journal.redb")).unwrap();
    let (two, three) = (copy(image.path()), copy(image.path()));
    start(on(two.path(), 2)).assert_other_than(&start(on(three.path(), 3)));
}

#[test]
fn a_key_that_is_given_to_both_boards_at_least_forks_no_epoch() {
    let image = tempfile::tempdir().unwrap();
    let given =
        |dir, number| on(dir, number).signing_key(DeviceKey::from_pkcs8_base64(KEY).unwrap());
    let master = start(given(image.path(), 1));
    let two = copy(image.path());
    let on_two = start(given(two.path(), 2));
    assert_eq!(on_two.key, master.key);
    assert_ne!(on_two.epoch, master.epoch);
    assert_eq!(start(given(two.path(), 2)).epoch, on_two.epoch);
}

#[test]
fn a_journal_of_a_later_version_is_not_taken_over() {
    const META: crate::redb::TableDefinition<'_, &str, u64> =
        crate::redb::TableDefinition::new("edge_outbox.meta");
    let dir = tempfile::tempdir().unwrap();
    start(on(dir.path(), 1));
    let database = crate::redb::Database::create(dir.path().join("journal.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", 2).unwrap();
    write.commit().unwrap();
    drop(database);
    let everything = || {
        ["journal.redb", "signing-key.pem", FILE]
            .map(|name| fs::read(dir.path().join(name)).unwrap())
    };
    let before = everything();
    let refused = on(dir.path(), 2).open().err();
    assert!(
        matches!(refused, Some(crate::outbox::OpenError::Newer { .. })),
        "{refused:?}"
    );
    assert!(everything() == before);
}
