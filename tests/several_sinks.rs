//! Several sinks at one journal: each with a place, a speed and troubles of its own.

use std::{
    num::NonZeroU32,
    path::Path,
    time::{Duration, Instant},
};

use edge_outbox::{
    Event, Outbox, Seq,
    forwarder::{Forwarder, MaxRate, SinkSpec},
    outbox::{ForgetError, Start},
    sink::{
        Sink, SinkError,
        memory::{MemorySink, MemoryStore},
    },
    status::{SinkState, SinkStatus},
};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use uuid::Uuid;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(30);

fn open(dir: &Path) -> Outbox {
    Outbox::builder(dir).open().unwrap()
}

async fn append(outbox: &Outbox, count: usize) -> Seq {
    let event = || {
        Event::builder("quiz.submitted.v1", Uuid::nil())
            .payload("{\"score\":7}")
            .build()
            .unwrap()
    };
    let events = std::iter::repeat_with(event).take(count).collect();
    let appended = outbox.append_batch(events).await.unwrap();
    appended.last().unwrap().seq
}

fn to(name: &str, store: &MemoryStore) -> SinkSpec {
    SinkSpec::new(name, Sink::Memory(MemorySink::new(store.clone())))
}

fn optional(spec: SinkSpec) -> SinkSpec {
    SinkSpec {
        required: false,
        ..spec
    }
}

fn away() -> SinkError {
    SinkError::retry("unreachable", "the store is away")
}

/// A forwarder at work.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(outbox: &Outbox, sinks: Vec<SinkSpec>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let run = Forwarder::new(outbox.clone(), sinks).run(async { drop(stopped.await) });
        let task = tokio::spawn(async { run.await.unwrap() });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(LIMIT, self.task).await.unwrap().unwrap();
    }
}

/// Waits until the status of the sink is as wanted.
async fn until(outbox: &Outbox, name: &str, wanted: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    let mut status = outbox.status();
    let seen = status.wait_for(|status| status.sinks.get(name).is_some_and(&wanted));
    match timeout(LIMIT, seen).await {
        Ok(status) => status.unwrap().sinks[name].clone(),
        Err(_) => panic!("still {:?}", outbox.status().borrow().sinks.get(name)),
    }
}

async fn has_all(outbox: &Outbox, name: &str) -> SinkStatus {
    let tail = outbox.status().borrow().tail;
    until(outbox, name, |sink| sink.acked >= tail).await
}

fn first_held(outbox: &Outbox) -> Seq {
    outbox.status().borrow().journal.first_held
}

#[tokio::test]
async fn a_dead_sink_slows_no_other_and_gets_everything_once_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let (well, dead, halted) = (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
    dead.go_away(away());
    halted.go_away(SinkError::halt("denied", "the store knows no such device"));
    let sinks = vec![to("dead", &dead), to("well", &well), to("halted", &halted)];
    let running = Running::start(&outbox, sinks);
    let begin = Instant::now();
    let mut tail = Seq::NONE;
    for _ in 0..20 {
        tail = append(&outbox, 500).await;
        has_all(&outbox, "well").await;
    }
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(well.seqs().len() as u64, tail.get());
    assert!(dead.seqs().is_empty() && halted.seqs().is_empty());
    let pending = |name: &str| outbox.status().borrow().sinks[name].pending;
    assert_eq!(
        (pending("dead"), pending("halted")),
        (tail.get(), tail.get())
    );
    let state = outbox.status().borrow().sinks["halted"].state;
    assert_eq!(state, SinkState::Halted);
    assert_eq!(first_held(&outbox), Seq::FIRST, "both are required");

    dead.come_back();
    halted.come_back();
    for (name, store) in [("dead", &dead), ("halted", &halted)] {
        has_all(&outbox, name).await;
        assert_eq!(store.seqs(), well.seqs());
    }
    running.stop().await;
}

#[tokio::test]
async fn an_optional_sink_does_not_hold_back_trimming_and_is_told_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let (well, dead) = (MemoryStore::new(), MemoryStore::new());
    dead.go_away(away());
    let sinks = vec![to("well", &well), optional(to("dead", &dead))];
    let running = Running::start(&outbox, sinks);
    append(&outbox, 3_000).await;
    has_all(&outbox, "well").await;
    append(&outbox, 1).await;
    has_all(&outbox, "well").await;
    let held = first_held(&outbox);
    assert!(held > Seq::new(1_000), "{held}");
    dead.come_back();
    has_all(&outbox, "dead").await;
    // Whatever was trimmed is told, up to the first event that it gets.
    let first = dead.seqs()[0];
    assert!(first >= held);
    let missed = format!("\"last\":{}}},\"reason\":\"trimmed\"", first.prev());
    let told = dead.messages().into_iter().any(|message| {
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        &*message.event_type == "outbox.sink_skipped.v1" && body.contains(&missed)
    });
    assert!(told, "{missed}");
    running.stop().await;
}

#[tokio::test]
async fn a_renamed_sink_is_a_new_one_and_the_old_name_holds_its_place_until_it_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let store = MemoryStore::new();
    let running = Running::start(&outbox, vec![to("school", &store)]);
    let tail = append(&outbox, 100).await;
    has_all(&outbox, "school").await;
    let error = outbox.forget("school").await.unwrap_err();
    assert!(matches!(error, ForgetError::InUse(_)), "{error}");
    running.stop().await;
    outbox.close().await;

    let outbox = open(dir.path());
    let again = MemoryStore::new();
    let running = Running::start(&outbox, vec![to("campus", &again)]);
    append(&outbox, 3_000).await;
    has_all(&outbox, "campus").await;
    assert_eq!(again.seqs()[0], Seq::FIRST, "from the oldest event held");
    let old = outbox.status().borrow().sinks["school"].clone();
    assert_eq!((old.state, old.acked), (SinkState::Absent, tail));
    append(&outbox, 1).await;
    has_all(&outbox, "campus").await;
    assert!(first_held(&outbox) <= tail.next(), "its place is kept");

    let forgotten = outbox.forget("school").await.unwrap();
    assert_eq!(forgotten.pending, 3_001);
    assert!(!outbox.status().borrow().sinks.contains_key("school"));
    assert!(first_held(&outbox) > tail.next(), "and trimming goes on");
    let error = outbox.forget("school").await.unwrap_err();
    assert!(matches!(error, ForgetError::Unknown(_)), "{error}");
    has_all(&outbox, "campus").await;
    let last = again.messages().pop().unwrap();
    assert_eq!(&*last.event_type, "outbox.sink_forgotten.v1");
    running.stop().await;
}

#[tokio::test]
async fn a_sink_added_later_starts_at_the_oldest_event_held_or_with_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let (all, next) = (MemoryStore::new(), MemoryStore::new());
    let tail = append(&outbox, 50).await;
    let now = SinkSpec {
        start: Start::Now,
        ..to("next", &next)
    };
    let running = Running::start(&outbox, vec![to("all", &all), now]);
    for name in ["all", "next"] {
        until(&outbox, name, |sink| sink.state == SinkState::CaughtUp).await;
    }
    append(&outbox, 5).await;
    has_all(&outbox, "all").await;
    has_all(&outbox, "next").await;
    assert_eq!(all.seqs()[0], Seq::FIRST);
    let got = next.messages();
    assert_eq!((got[0].seq, got.len()), (tail.next(), 6));
    assert_eq!(&*got[0].event_type, "outbox.sink_skipped.v1");
    running.stop().await;
}

#[tokio::test]
async fn a_sink_with_a_rate_gets_no_more_than_that_however_often_its_connection_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let (slow, fast) = (MemoryStore::new(), MemoryStore::new());
    // Its connection is lost again and again, and nothing can be read back: all that counts too.
    slow.deny_read_back(true);
    append(&outbox, 2_000).await;
    let limited = SinkSpec {
        max_rate: MaxRate {
            events: NonZeroU32::new(100),
            bytes: None,
        },
        ..to("slow", &slow)
    };
    let begin = Instant::now();
    let running = Running::start(&outbox, vec![limited, to("fast", &fast)]);
    has_all(&outbox, "fast").await;
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        slow.cut();
        let (count, allowed) = (slow.seqs().len(), begin.elapsed() + Duration::from_secs(1));
        assert!(
            count as f64 <= 100.0 * allowed.as_secs_f64() + 1.0,
            "{count} in {allowed:?}"
        );
    }
    let count = slow.seqs().len();
    assert!(count > 150, "{count}");
    running.stop().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 10).await;
    let store = MemoryStore::new();
    let patient = || SinkSpec {
        start_jitter: Duration::from_secs(600),
        ..to("memory", &store)
    };
    let running = Running::start(&outbox, vec![patient()]);
    until(&outbox, "memory", |sink| sink.state == SinkState::Waiting).await;
    running.stop().await;
    assert!(store.seqs().is_empty());
    let drained = Forwarder::new(outbox, vec![patient()]).drain(LIMIT).await;
    assert_eq!(drained.unwrap().left(), 0);
}
