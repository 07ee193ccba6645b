//! The library's face, on a real disk.

use std::{sync::mpsc, time::Duration};

use edge_outbox::{
    AppendError, Event, LearningPulseCreated, Outbox, TransactError, redb::TableDefinition,
    status::JournalState,
};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::task::unconstrained;
use uuid::Uuid;

const SCORES: TableDefinition<'_, &str, u64> = TableDefinition::new("scores");

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn open(dir: &tempfile::TempDir) -> Outbox {
    Outbox::builder(dir.path()).open().unwrap()
}

fn event(payload: &str) -> Event {
    Event::builder("quiz.submitted.v1", Uuid::from_u128(1))
        .payload(payload)
        .build()
        .unwrap()
}

fn score(outbox: &Outbox, who: &'static str) -> Option<u64> {
    outbox
        .read(|tables| match tables.open_table(SCORES) {
            Ok(table) => Ok(table.get(who)?.map(|score| score.value())),
            Err(_) => Ok::<_, Failure>(None),
        })
        .unwrap()
}

#[tokio::test]
async fn an_append_tells_its_place_and_the_status_follows() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let first = outbox.append(event("{}")).await.unwrap();
    let second = outbox.append(event("{}")).await.unwrap();
    assert_eq!(second.seq, first.seq.next());
    assert_eq!(outbox.status().borrow().tail, second.seq);
    let found = outbox.find(first.id).await.unwrap().unwrap();
    assert_eq!((found.seq, found.epoch), (first.seq, Some(first.epoch)));
    outbox.close().await;
    assert!(matches!(
        outbox.append(event("{}")).await,
        Err(AppendError::Closed)
    ));
}

#[test]
fn a_source_that_no_envelope_can_carry_opens_nothing() {
    for source in ["", "two\nlines", &"x".repeat(256)] {
        let dir = tempfile::tempdir().unwrap();
        let opened = Outbox::builder(dir.path().join("a/b"))
            .source(source)
            .open();
        assert!(opened.is_err(), "{source:?}");
        assert!(!dir.path().join("a").exists());
    }
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let places = outbox
        .append_batch((0..500).map(|_| event("1")).collect())
        .await
        .unwrap();
    assert_eq!(places.len(), 500);
    let tail = outbox.status().borrow().tail;
    let known = Event::builder("a.b", Uuid::nil())
        .id(places[0].id)
        .payload("2")
        .build()
        .unwrap();
    let refused = outbox.append_batch(vec![event("1"), known]).await;
    assert!(matches!(
        refused,
        Err(AppendError::Conflict { index: 1, .. })
    ));
    let large = event(&format!("\"{}\"", "x".repeat(300 * 1024)));
    let refused = outbox.append_batch(vec![event("1"), large]).await;
    assert!(matches!(
        refused,
        Err(AppendError::TooLarge { index: 1, .. })
    ));
    let refused = outbox
        .append_batch((0..5000).map(|_| event("1")).collect())
        .await;
    assert!(matches!(
        refused,
        Err(AppendError::BatchTooLarge { events: 5000, .. })
    ));
    assert_eq!(outbox.status().borrow().tail, tail);
}

#[tokio::test]
async fn a_transaction_commits_the_programs_tables_and_its_events_together() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let place = outbox
        .transact(|tx| {
            tx.open_table(SCORES)?.insert("ada", 7)?;
            Ok::<_, Failure>(tx.append(event("{\"score\":7}"))?)
        })
        .await
        .unwrap();
    assert_eq!(score(&outbox, "ada"), Some(7));
    outbox.close().await;
    let outbox = open(&dir);
    assert_eq!(score(&outbox, "ada"), Some(7));
    assert!(outbox.find(place.id).await.unwrap().is_some());
}

#[tokio::test]
async fn an_error_or_a_panic_rolls_both_back_and_harms_no_neighbour() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let neighbours = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            for _ in 0..200 {
                outbox.append(event("1")).await.unwrap();
            }
        }
    });
    for round in 0..20 {
        let failed = outbox
            .transact(move |tx| {
                tx.open_table(SCORES)?.insert("eve", 1)?;
                tx.append(event("{}"))?;
                assert!(round % 2 == 0, "oh, {round}");
                Err::<(), Failure>("no".into())
            })
            .await;
        match failed {
            Err(TransactError::Program(error)) => assert_eq!(error.to_string(), "no"),
            Err(TransactError::Panicked(said)) => assert!(said.starts_with("oh")),
            other => panic!("{other:?}"),
        }
    }
    neighbours.await.unwrap();
    assert_eq!(score(&outbox, "eve"), None);
    // 200 appends and the start of the epoch: nothing of the failed transactions.
    assert_eq!(outbox.status().borrow().tail.get(), 201);
}

#[tokio::test]
async fn a_transaction_that_calls_the_outbox_is_told_so_instead_of_waiting_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let inner = outbox.blocking();
    let answer = outbox
        .transact(move |_| Ok::<_, Failure>(inner.append(event("1"))))
        .await
        .unwrap();
    assert!(matches!(answer, Err(AppendError::InsideTransaction)));
}

/// The writer waits for reads to end before it reopens a journal that failed.
#[test]
fn a_read_that_calls_the_outbox_is_told_so_instead_of_waiting_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let inner = outbox.blocking();
    let answer = outbox
        .read(|_| Ok::<_, Failure>(inner.append(event("1"))))
        .unwrap();
    assert!(matches!(answer, Err(AppendError::InsideTransaction)));
    inner.append(event("1")).unwrap();
    let nested = outbox.clone();
    let answer = inner.transact(move |_| {
        nested.read(|_| Ok::<_, Failure>(()))?;
        Ok::<_, Failure>(nested.blocking().append(event("1")))
    });
    assert!(matches!(answer, Ok(Err(AppendError::InsideTransaction))));
}

#[tokio::test]
async fn the_outboxs_own_tables_are_out_of_a_programs_reach() {
    const OURS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("edge_outbox.groups");
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let refused = outbox
        .transact(|tx| {
            tx.open_table(OURS)?;
            Ok::<_, Failure>(())
        })
        .await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("belongs to the outbox")
    );
}

#[test]
fn plain_threads_append_side_by_side_and_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let blocking = outbox.blocking();
            std::thread::spawn(move || {
                (0..50)
                    .map(|_| blocking.append(event("1")).unwrap().seq)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut seqs: Vec<_> = threads
        .into_iter()
        .flat_map(|t| t.join().unwrap())
        .collect();
    seqs.sort();
    seqs.dedup();
    assert_eq!(seqs.len(), 800);
    let status = outbox.status().borrow().clone();
    assert!(
        status.journal.commits < 800,
        "{} commits",
        status.journal.commits
    );
    outbox.blocking().close();
}

#[tokio::test]
async fn whatever_waits_while_the_writer_is_busy_goes_into_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let blocking = outbox.blocking();
    let busy = std::thread::spawn(move || {
        blocking.transact(move |transaction| {
            transaction.append(event("1")).unwrap();
            begin.send(()).unwrap();
            released.recv().unwrap();
            Ok::<_, AppendError>(())
        })
    });
    begun.recv().unwrap();
    let commits = || outbox.status().borrow().journal.commits;
    let before = commits();
    let mut appends: FuturesUnordered<_> = (0..64).map(|_| outbox.append(event("1"))).collect();
    // Each is polled, and so in the queue, before any is answered.
    assert!(unconstrained(appends.next()).now_or_never().is_none());
    release.send(()).unwrap();
    while let Some(appended) = appends.next().await {
        appended.unwrap();
    }
    busy.join().unwrap().unwrap();
    assert_eq!(commits() - before, 2, "the transaction's, and theirs");
    outbox.close().await;
}

#[tokio::test]
async fn dropping_the_future_cancels_nothing_that_waits_for_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let id = Uuid::now_v7();
    let wanted = Event::builder("a.b", Uuid::nil())
        .id(id)
        .payload("1")
        .build()
        .unwrap();
    let append = outbox.append(wanted);
    tokio::select! {
        biased;
        _ = append => {}
        () = std::future::ready(()) => {}
    }
    outbox.append(event("1")).await.unwrap();
    assert!(outbox.find(id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_journal_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _outbox = open(&dir);
    let Err(error) = Outbox::builder(dir.path()).open() else {
        panic!("opened twice")
    };
    assert!(
        error.to_string().ends_with("is in use by another process"),
        "{error}"
    );
}

#[tokio::test]
async fn the_stream_of_events_follows_what_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let pulse = LearningPulseCreated {
        pulse_id: Uuid::now_v7(),
        lesson_id: Uuid::now_v7(),
        student_id: Uuid::now_v7(),
        level: 80,
        created_at: "2026-03-01T08:00:00Z".parse().unwrap(),
    };
    let mut stream = outbox.events(edge_outbox::Seq::FIRST).follow(true);
    let first = stream.next_chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"{\"id\":") && first.ends_with(b"}\n"));
    let waiting = tokio::spawn(async move { stream.next_chunk().await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    outbox.append(Event::new(&pulse).unwrap()).await.unwrap();
    let second = waiting.await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&second).contains("learning_pulse.created.v1"));
}

#[tokio::test]
async fn a_refusal_for_want_of_room_shows_in_the_status_and_so_does_closing() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::builder(dir.path())
        .max_bytes(128 << 10)
        .open()
        .unwrap();
    let state = || outbox.status().borrow().journal.state;
    let refused = fill(&outbox, 11_000).await;
    assert!(matches!(refused, AppendError::Full { needed, .. } if needed > 11_000));
    // What is refused for its size leaves room for what is small.
    assert_eq!(state(), JournalState::Open);
    fill(&outbox, 3_000).await;
    assert_eq!(state(), JournalState::Full);
    outbox.append(event("1")).await.unwrap();
    assert_eq!(state(), JournalState::Open);
    let status = outbox.status();
    outbox.close().await;
    assert_eq!(status.borrow().journal.state, JournalState::Closed);
}

/// Appends payloads of so many bytes until one is refused.
async fn fill(outbox: &Outbox, bytes: usize) -> AppendError {
    let payload = format!("\"{}\"", "x".repeat(bytes));
    loop {
        if let Err(error) = outbox.append(event(&payload)).await {
            break error;
        }
    }
}

#[tokio::test]
async fn a_request_beyond_the_quota_does_not_make_the_journal_full() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = Outbox::builder(dir.path())
        .max_bytes(1 << 20)
        .open()
        .unwrap();
    let large = format!("\"{}\"", "x".repeat(200_000));
    let refused = outbox
        .append_batch((0..8).map(|_| event(&large)).collect())
        .await;
    assert!(
        matches!(refused, Err(AppendError::LargerThanQuota { bytes, most })
            if bytes > 1_600_000 && most < 1 << 20),
        "{refused:?}"
    );
    assert_eq!(outbox.status().borrow().journal.state, JournalState::Open);
    outbox.append(event(&large)).await.unwrap();
}

/// Wherever the damage is, opening and reading end, with an error or without one.
#[tokio::test]
async fn a_journal_with_flipped_bytes_never_panics() {
    let whole = tempfile::tempdir().unwrap();
    let outbox = open(&whole);
    for _ in 0..20 {
        let events = (0..50).map(|n| event(&format!("{{\"n\":{n}}}"))).collect();
        outbox.append_batch(events).await.unwrap();
    }
    outbox.close().await;
    let bytes = std::fs::read(whole.path().join("journal.redb")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut errors = 0;
    for round in 0..DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let key = "signing-key.pem";
        std::fs::copy(whole.path().join(key), dir.path().join(key)).unwrap();
        let mut bytes = bytes.clone();
        let from = used * round / DAMAGES;
        bytes[from..from + DAMAGE_BYTES]
            .iter_mut()
            .for_each(|byte| *byte ^= 0xA5);
        std::fs::write(dir.path().join("journal.redb"), bytes).unwrap();
        errors += usize::from(use_it(dir.path()).await.is_err());
    }
    assert!(errors > 0, "none of the damage was met");
}

const DAMAGES: usize = 100;
const DAMAGE_BYTES: usize = 4_000;

/// Opens, reads all of it, and appends.
async fn use_it(dir: &std::path::Path) -> Result<(), Failure> {
    let outbox = Outbox::builder(dir).open()?;
    let mut stream = outbox.events(edge_outbox::Seq::FIRST);
    while stream.next_chunk().await?.is_some() {}
    outbox.append(event("1")).await?;
    outbox.close().await;
    Ok(())
}

#[test]
fn a_read_that_panics_is_the_programs_own() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(&dir);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        outbox.read(|_| -> Result<(), Failure> { panic!("mine") })
    }));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"mine"));
}

#[test]
fn what_the_system_refuses_comes_with_what_to_do_about_it() {
    use std::io::{Error, ErrorKind};
    let hint = |kind| {
        let error = edge_outbox::OpenError::Io {
            path: "/data".into(),
            source: Error::from(kind),
        };
        error.hint()
    };
    let denied = hint(ErrorKind::PermissionDenied).unwrap();
    assert!(denied.contains("the user that it belongs to"), "{denied}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Outbox::builder(file.path()).open().err().unwrap();
    assert!(
        error.to_string().ends_with("it is not a directory"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--data-dir"));
}
