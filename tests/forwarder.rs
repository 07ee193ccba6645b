//! Forwarding from a real journal to stores in memory that misbehave as brokers do.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use edge_outbox::{
    Delivery, Event, Outbox, Seq, Timestamp,
    envelope::Epoch,
    forwarder::{ForwardError, Forwarder, SinkSpec},
    sink::{
        Beside, Parcel, Sink, SinkError,
        memory::{MemorySink, MemoryStore},
    },
    status::{SinkState, SinkStatus},
};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// Longer than anything here takes; a test that reaches it fails.
const LIMIT: Duration = Duration::from_secs(30);

fn event(number: u64) -> Event {
    Event::builder("quiz.submitted.v1", Uuid::nil())
        .id(Uuid::from_u128(number.into()))
        .payload(format!(r#"{{"score":{number}}}"#))
        .build()
        .unwrap()
}

async fn append(outbox: &Outbox, numbers: std::ops::RangeInclusive<u64>) -> Seq {
    let appended = outbox
        .append_batch(numbers.map(event).collect())
        .await
        .unwrap();
    appended.last().unwrap().seq
}

fn open(dir: &Path) -> Outbox {
    Outbox::builder(dir).open().unwrap()
}

fn spec(name: &str, store: &MemoryStore) -> SinkSpec {
    SinkSpec::new(name, Sink::Memory(MemorySink::new(store.clone())))
}

fn to(store: &MemoryStore) -> Vec<SinkSpec> {
    vec![spec("memory", store)]
}

fn away() -> SinkError {
    SinkError::retry("unreachable", "the store is away")
}

/// A forwarder at work.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ForwardError>>,
}

impl Running {
    fn start(outbox: &Outbox, sinks: Vec<SinkSpec>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let run = Forwarder::new(outbox.clone(), sinks).run(async { drop(stopped.await) });
        Self {
            stop,
            task: tokio::spawn(run),
        }
    }

    /// Stops it, which may take 2 s.
    async fn stop(self) {
        let began = Instant::now();
        self.stop.send(()).unwrap();
        timeout(LIMIT, self.task).await.unwrap().unwrap().unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    }
}

/// Waits until the status of the sink is as wanted.
async fn until(outbox: &Outbox, name: &str, wanted: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    let mut status = outbox.status();
    let seen = timeout(
        LIMIT,
        status.wait_for(|status| status.sinks.get(name).is_some_and(&wanted)),
    );
    match seen.await {
        Ok(status) => status.unwrap().sinks[name].clone(),
        Err(_) => panic!("still {:?}", outbox.status().borrow().sinks.get(name)),
    }
}

async fn caught_up(outbox: &Outbox, name: &str) -> SinkStatus {
    let tail = outbox.status().borrow().tail;
    until(outbox, name, |sink| {
        sink.acked >= tail && sink.state == SinkState::CaughtUp
    })
    .await
}

fn seqs(first: u64, last: u64) -> Vec<Seq> {
    (first..=last).map(Seq::new).collect()
}

/// How many copies of each seq a store has.
fn copies(store: &MemoryStore) -> BTreeMap<Seq, usize> {
    let mut copies = BTreeMap::new();
    for seq in store.seqs() {
        *copies.entry(seq).or_default() += 1;
    }
    copies
}

fn assert_exactly_once(store: &MemoryStore, tail: Seq) {
    let copies = copies(store);
    assert_eq!(
        copies.keys().copied().collect::<Vec<_>>(),
        seqs(1, tail.get())
    );
    let twice: Vec<_> = copies.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "stored more than once: {twice:?}");
}

#[tokio::test]
async fn what_was_pending_and_what_comes_later_arrives_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=3_000).await;
    let store = MemoryStore::new();
    let running = Running::start(&outbox, to(&store));
    for number in 3_001..=3_050 {
        outbox.append(event(number)).await.unwrap();
    }
    let status = caught_up(&outbox, "memory").await;
    let tail = outbox.status().borrow().tail;
    assert_eq!(store.seqs(), seqs(1, tail.get()));
    assert!(store.messages().iter().all(|message| !message.redelivered));
    assert_eq!(
        (status.pending, status.acked, status.claimed),
        (0, tail, tail)
    );
    assert!(status.last_error.is_none() && status.last_delivery.is_some());
    running.stop().await;
    let state = outbox.status().borrow().sinks["memory"].state;
    assert_eq!(state, SinkState::Stopped);
}

/// When each event was taken in, by seq.
async fn taken_in(outbox: &Outbox) -> BTreeMap<Seq, Timestamp> {
    let mut taken_in = BTreeMap::new();
    let mut events = outbox.events(Seq::FIRST).follow(false);
    while let Some(chunk) = events.next_chunk().await.unwrap() {
        for line in chunk
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let envelope: serde_json::Value = serde_json::from_slice(line).unwrap();
            let seq = envelope["seq"].as_u64().unwrap();
            let wall = envelope["clock"]["wall"].as_str().unwrap();
            taken_in.insert(Seq::new(seq), wall.parse().unwrap());
        }
    }
    taken_in
}

#[tokio::test]
async fn the_status_says_when_the_oldest_pending_event_was_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let store = MemoryStore::new();
    store.go_away(away());
    let running = Running::start(&outbox, to(&store));
    until(&outbox, "memory", |_| true).await;
    for number in 1..=200 {
        outbox.append(event(number)).await.unwrap();
    }
    let taken_in = taken_in(&outbox).await;
    let sink = until(&outbox, "memory", |sink| sink.pending == 201).await;
    assert_eq!(sink.oldest_pending, Some(taken_in[&Seq::FIRST]));
    // Further than one look into the journal tells.
    let stuck = Seq::new(150);
    store.swallow(stuck);
    store.come_back();
    until(&outbox, "memory", |sink| {
        sink.acked == stuck.prev() && sink.oldest_pending == Some(taken_in[&stuck])
    })
    .await;
    running.stop().await;
    outbox.close().await;

    let outbox = open(dir.path());
    let sink = outbox.status().borrow().sinks["memory"].clone();
    assert_eq!(sink.oldest_pending, Some(taken_in[&stuck]));
    let running = Running::start(&outbox, to(&store));
    let sink = caught_up(&outbox, "memory").await;
    assert_eq!(sink.oldest_pending, None);
    // What comes now is late from the moment it is taken in.
    store.go_away(away());
    store.cut();
    until(&outbox, "memory", |sink| sink.state == SinkState::Waiting).await;
    outbox.append(event(201)).await.unwrap();
    let at = self::taken_in(&outbox).await[&outbox.status().borrow().tail];
    let sink = until(&outbox, "memory", |sink| sink.pending == 1).await;
    assert_eq!(sink.oldest_pending, Some(at));
    running.stop().await;
}

#[tokio::test]
async fn the_envelopes_are_those_of_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=300).await;
    let store = MemoryStore::new();
    let drained = Forwarder::new(outbox.clone(), to(&store))
        .drain(LIMIT)
        .await
        .unwrap();
    assert!(drained.left() == 0);
    let mut held = Vec::new();
    let mut events = outbox.events(Seq::FIRST).follow(false);
    while let Some(chunk) = events.next_chunk().await.unwrap() {
        held.extend_from_slice(&chunk);
    }
    let mut sent = Vec::new();
    for message in store.messages() {
        sent.extend_from_slice(&message.body);
        sent.push(b'\n');
    }
    assert_eq!(
        String::from_utf8(sent).unwrap(),
        String::from_utf8(held).unwrap()
    );
}

#[tokio::test]
async fn a_drain_says_what_was_delivered_and_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let tail = append(&outbox, 1..=100).await.get();
    let (here, gone) = (MemoryStore::new(), MemoryStore::new());
    gone.go_away(away());
    let sinks = vec![spec("here", &here), spec("gone", &gone)];
    let began = Instant::now();
    let limit = Duration::from_millis(700);
    let drained = Forwarder::new(outbox.clone(), sinks)
        .drain(limit)
        .await
        .unwrap();
    assert!(began.elapsed() >= limit && began.elapsed() < limit + Duration::from_secs(1));
    let told: Vec<_> = drained
        .sinks
        .iter()
        .map(|s| (s.name.as_str(), s.delivered, s.left))
        .collect();
    assert_eq!(told, [("here", tail, 0), ("gone", 0, tail)]);
    assert_eq!(drained.left(), tail);
    assert_eq!(here.seqs(), seqs(1, tail));

    // Nothing is left for one of them, so it is done at once; the other gets the rest.
    gone.come_back();
    let began = Instant::now();
    let sinks = vec![spec("here", &here), spec("gone", &gone)];
    let drained = Forwarder::new(outbox, sinks).drain(LIMIT).await.unwrap();
    assert!(drained.left() == 0);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_exactly_once(&here, Seq::new(tail));
    assert_exactly_once(&gone, Seq::new(tail));
}

#[tokio::test]
async fn delivery_resumes_within_5_s_of_the_return_of_the_sink() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=10).await;
    let store = MemoryStore::new();
    let running = Running::start(&outbox, to(&store));
    caught_up(&outbox, "memory").await;
    store.go_away(away());
    append(&outbox, 11..=20).await;
    sleep(Duration::from_secs(6)).await;
    let status = until(&outbox, "memory", |sink| sink.state == SinkState::Waiting).await;
    let trouble = status.last_error.unwrap();
    assert_eq!(
        (trouble.kind.as_str(), trouble.code.as_str()),
        ("retry", "unreachable")
    );
    store.come_back();
    let back = Instant::now();
    caught_up(&outbox, "memory").await;
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
    assert_exactly_once(&store, outbox.status().borrow().tail);
    running.stop().await;
}

#[tokio::test]
async fn cuts_in_mid_window_with_holes_leave_each_event_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=4_000).await;
    let store = MemoryStore::new();
    for seq in [5, 300, 301, 1_200] {
        store.swallow(Seq::new(seq));
    }
    store.cut_after(700);
    let running = Running::start(&outbox, to(&store));
    // What was swallowed is never answered: without a cut a hole stays open, and the window shut.
    let cuts = async {
        loop {
            sleep(Duration::from_millis(300)).await;
            store.cut();
        }
    };
    let all = async {
        for cut in [500, 1, 90, 250] {
            let before = store.seqs().len();
            timeout(LIMIT, store.stored(before + 100)).await.unwrap();
            store.cut_after(cut);
        }
        caught_up(&outbox, "memory").await
    };
    tokio::select! {
        _ = all => {}
        () = cuts => {}
    }
    assert_exactly_once(&store, outbox.status().borrow().tail);
    running.stop().await;
}

#[tokio::test]
async fn what_was_never_answered_is_found_again_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let tail = append(&outbox, 1..=200).await;
    let store = MemoryStore::new();
    store.be_silent(true);
    let running = Running::start(&outbox, to(&store));
    timeout(LIMIT, store.stored(200)).await.unwrap();
    running.stop().await;
    outbox.close().await;

    let outbox = open(dir.path());
    store.be_silent(false);
    let drained = Forwarder::new(outbox.clone(), to(&store))
        .drain(LIMIT)
        .await
        .unwrap();
    assert!(drained.left() == 0);
    assert_exactly_once(&store, tail);
    assert!(store.messages().iter().all(|message| !message.redelivered));
}

#[tokio::test]
async fn where_nothing_can_be_read_back_every_repeat_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let tail = append(&outbox, 1..=200).await;
    let store = MemoryStore::new();
    store.deny_read_back(true);
    store.cut_after(150);
    let drained = Forwarder::new(outbox.clone(), to(&store))
        .drain(LIMIT)
        .await
        .unwrap();
    assert!(drained.left() == 0);
    let mut seen = BTreeSet::new();
    let mut repeats = 0;
    for message in store.messages() {
        let first = seen.insert(message.seq);
        assert!(
            first || message.redelivered,
            "{} is an unmarked repeat",
            message.seq
        );
        repeats += usize::from(!first);
    }
    assert_eq!(seen.len() as u64, tail.get());
    assert!(repeats >= 150, "{repeats}");
}

#[tokio::test]
async fn a_purged_and_a_recreated_store_get_what_is_in_doubt_again() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=50).await;
    let store = MemoryStore::new();
    let running = Running::start(&outbox, to(&store));
    caught_up(&outbox, "memory").await;
    let first = outbox.status().borrow().tail.next();
    store.be_silent(true);
    let last = append(&outbox, 51..=80).await;
    timeout(LIMIT, store.stored(usize::try_from(last.get()).unwrap()))
        .await
        .unwrap();
    store.recreate();
    store.be_silent(false);
    store.cut();
    caught_up(&outbox, "memory").await;
    assert_eq!(store.seqs(), seqs(first.get(), last.get()));
    assert!(store.messages().iter().all(|message| message.redelivered));
    running.stop().await;
}

#[tokio::test]
async fn a_poison_event_becomes_a_dead_letter_and_the_ledger_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=20).await;
    let poison = outbox.append(event(21)).await.unwrap();
    append(&outbox, 22..=40).await;
    let store = MemoryStore::new();
    store.refuse(
        poison.seq,
        SinkError::reject("constraint", "this one can never pass"),
    );
    let running = Running::start(&outbox, to(&store));
    let status = caught_up(&outbox, "memory").await;
    assert_eq!(status.dead_letters, 1);
    let tail = caught_up(&outbox, "memory").await.acked;
    let all: BTreeSet<_> = seqs(1, tail.get())
        .into_iter()
        .filter(|s| *s != poison.seq)
        .collect();
    assert_eq!(store.seqs().into_iter().collect::<BTreeSet<_>>(), all);
    let last = store.messages().into_iter().next_back().unwrap();
    assert_eq!(last.event_type.as_ref(), "outbox.event_rejected.v1");
    let found = outbox.find(poison.id).await.unwrap().unwrap();
    let rejected = Delivery::Rejected("constraint".into());
    assert_eq!(found.sinks, [("memory".to_owned(), rejected)]);
    running.stop().await;
}

#[tokio::test]
async fn an_event_refused_for_now_does_not_hold_up_the_others_and_comes_marked() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=50).await;
    let store = MemoryStore::new();
    let moody = Seq::new(7);
    for _ in 0..3 {
        store.refuse(moody, SinkError::retry("full", "no room just now"));
    }
    let running = Running::start(&outbox, to(&store));
    caught_up(&outbox, "memory").await;
    let tail = outbox.status().borrow().tail;
    assert_exactly_once(&store, tail);
    let last = store.messages().into_iter().next_back().unwrap();
    assert_eq!((last.seq, last.redelivered), (moody, true));
    running.stop().await;
}

#[tokio::test]
async fn in_strict_order_nothing_passes_an_event_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=100).await;
    let store = MemoryStore::new();
    for _ in 0..3 {
        store.refuse(Seq::new(7), SinkError::retry("full", "no room just now"));
    }
    let strict = SinkSpec {
        strict_order: true,
        ..spec("memory", &store)
    };
    let drained = Forwarder::new(outbox.clone(), vec![strict])
        .drain(LIMIT)
        .await
        .unwrap();
    assert!(drained.left() == 0);
    let tail = outbox.status().borrow().tail;
    assert_eq!(store.seqs(), seqs(1, tail.get()));
}

#[tokio::test]
async fn a_halted_sink_says_what_to_do_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=20).await;
    let (well, ill) = (MemoryStore::new(), MemoryStore::new());
    let wrong = SinkError::halt("wrong_password", "the store knows no such user");
    ill.go_away(wrong.with_hint("set `password`"));
    let running = Running::start(&outbox, vec![spec("ill", &ill), spec("well", &well)]);
    caught_up(&outbox, "well").await;
    let status = until(&outbox, "ill", |sink| sink.state == SinkState::Halted).await;
    let trouble = status.last_error.unwrap();
    assert_eq!(
        (trouble.kind.as_str(), trouble.hint.as_deref()),
        ("halt", Some("set `password`"))
    );
    append(&outbox, 21..=30).await;
    caught_up(&outbox, "well").await;
    ill.come_back();
    let mended = Instant::now();
    caught_up(&outbox, "ill").await;
    assert!(mended.elapsed() < Duration::from_secs(6), "tried every 5 s");
    assert_exactly_once(&ill, outbox.status().borrow().tail);
    running.stop().await;
}

#[tokio::test]
async fn a_limit_that_refuses_one_event_after_another_halts_and_gives_up_none() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=20).await;
    let store = MemoryStore::new();
    for seq in seqs(5, 20) {
        store.refuse(
            seq,
            SinkError::reject("too_large", "too large for the store").by_limit(),
        );
    }
    let running = Running::start(&outbox, to(&store));
    let status = until(&outbox, "memory", |sink| sink.state == SinkState::Halted).await;
    assert_eq!(status.dead_letters, 0);
    assert_eq!(status.last_error.unwrap().kind, "halt");
    running.stop().await;
}

#[tokio::test]
async fn it_stops_within_2_s_whatever_it_is_doing() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=3_000).await;
    let (silent, gone, halted) = (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
    silent.be_silent(true);
    gone.go_away(away());
    halted.go_away(SinkError::halt("wrong_password", "no"));
    let sinks = vec![
        spec("silent", &silent),
        spec("gone", &gone),
        spec("halted", &halted),
    ];
    let running = Running::start(&outbox, sinks);
    timeout(LIMIT, silent.stored(1_000)).await.unwrap();
    until(&outbox, "halted", |sink| sink.state == SinkState::Halted).await;
    running.stop().await;
}

#[tokio::test]
async fn dropping_the_future_stops_the_sinks_and_gives_their_places_back() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=10).await;
    let store = MemoryStore::new();
    let running = Running::start(&outbox, to(&store));
    caught_up(&outbox, "memory").await;
    let taken = Forwarder::new(outbox.clone(), to(&store))
        .drain(LIMIT)
        .await;
    assert!(
        matches!(taken, Err(ForwardError::Register { .. })),
        "{taken:?}"
    );
    running.task.abort();
    until(&outbox, "memory", |sink| sink.state == SinkState::Stopped).await;
    append(&outbox, 11..=20).await;
    let began = Instant::now();
    let drained = loop {
        match Forwarder::new(outbox.clone(), to(&store))
            .drain(LIMIT)
            .await
        {
            Ok(drained) => break drained,
            // The thread says that it stopped just before it lets go of the place.
            Err(error) => assert!(began.elapsed() < LIMIT, "{error}"),
        }
    };
    assert!(drained.left() == 0);
    assert_exactly_once(&store, outbox.status().borrow().tail);
}

#[tokio::test]
async fn it_ends_when_the_outbox_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=10).await;
    let store = MemoryStore::new();
    let running = Running::start(&outbox, to(&store));
    caught_up(&outbox, "memory").await;
    outbox.close().await;
    timeout(Duration::from_secs(2), running.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[test]
fn it_needs_nothing_of_the_callers_runtime() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let tail = outbox.blocking().append(event(1)).unwrap().seq;
    let store = MemoryStore::new();
    // Neither timers nor sockets are enabled on it.
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let forwarder = Forwarder::new(outbox.clone(), to(&store));
    let drained = bare.block_on(send(forwarder.drain(LIMIT))).unwrap();
    assert!(drained.left() == 0);
    let forwarder = Forwarder::new(outbox, to(&store));
    bare.block_on(send(forwarder.run(async {}))).unwrap();
    assert_exactly_once(&store, tail);
}

#[tokio::test]
async fn another_journal_under_our_name_begins_a_new_epoch_once() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    append(&outbox, 1..=10).await;
    let store = MemoryStore::new();
    let running = Running::start(&outbox, to(&store));
    caught_up(&outbox, "memory").await;
    let epoch = outbox.status().borrow().epoch.clone();
    let (tail, digest) = {
        let newest = store.messages().into_iter().next_back().unwrap();
        (newest.seq, store.messages()[0].digest)
    };
    // What a clone of this card sent from the same point on.
    let parcel = Parcel {
        seq: tail.next(),
        epoch: Epoch::from_uuid(Uuid::nil()),
        id: Uuid::nil(),
        digest,
        event_type: "quiz.submitted.v1".into(),
        body: "{}".into(),
        beside: Beside::Nothing,
        redelivered: false,
    };
    let ours = outbox
        .events(Seq::FIRST)
        .follow(false)
        .next_chunk()
        .await
        .unwrap()
        .unwrap();
    let ours = String::from_utf8(ours.to_vec()).unwrap();
    assert!(ours.contains(&epoch));
    store.plant(epoch.parse().unwrap(), parcel);
    store.cut();
    let mut status = outbox.status();
    timeout(LIMIT, status.wait_for(|status| status.epoch != epoch))
        .await
        .unwrap()
        .unwrap();
    let next = outbox.status().borrow().epoch.clone();
    store.cut();
    append(&outbox, 11..=20).await;
    caught_up(&outbox, "memory").await;
    assert_eq!(
        outbox.status().borrow().epoch,
        next,
        "one proof begins one epoch"
    );
    running.stop().await;
}

#[tokio::test]
async fn online_and_quiet_an_event_costs_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let store = MemoryStore::new();
    let running = Running::start(&outbox, to(&store));
    append(&outbox, 1..=1).await;
    caught_up(&outbox, "memory").await;
    let before = outbox.status().borrow().journal.commits;
    for number in 2..=101 {
        outbox.append(event(number)).await.unwrap();
        caught_up(&outbox, "memory").await;
    }
    let commits = outbox.status().borrow().journal.commits - before;
    assert!(commits <= 110, "{commits} commits for 100 events");
    running.stop().await;
}

#[tokio::test]
async fn a_long_drain_costs_few_commits_and_writes_little() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    for batch in 0..5 {
        append(&outbox, batch * 4_000 + 1..=batch * 4_000 + 4_000).await;
    }
    let spent = || {
        let meter = outbox.meter();
        let commits = outbox.status().borrow().journal.commits;
        [
            commits,
            meter.syncs.get(),
            meter.writes.get(),
            meter.bytes_written.get(),
        ]
    };
    let before = spent();
    let store = MemoryStore::new();
    let drained = Forwarder::new(outbox.clone(), to(&store))
        .drain(LIMIT)
        .await
        .unwrap();
    assert!(drained.left() == 0);
    let after = spent();
    let [commits, syncs, writes, bytes] = std::array::from_fn(|at| after[at] - before[at]);
    println!("{commits} commits, {syncs} syncs, {writes} writes, {bytes} bytes for 20,000 events");
    assert!(commits <= 45, "{commits} commits for 20,000 events");
    assert!(syncs <= 2 * commits + 10, "{syncs} syncs");
    assert!(writes <= 550, "{writes} writes");
    assert!(bytes <= 1_800_000, "{bytes} bytes");
    assert_exactly_once(&store, outbox.status().borrow().tail);
}

#[tokio::test]
async fn events_of_any_size_are_delivered_within_the_bounds_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let mut tail = Seq::NONE;
    for number in 1..=120 {
        // 120 of up to 200 KiB: several times what may be unanswered at once.
        let payload = format!(
            "\"{}\"",
            "x".repeat(usize::try_from(number).unwrap() % 13 * 16_384)
        );
        let event = Event::builder("lesson.published.v1", Uuid::nil()).payload(payload);
        tail = outbox.append(event.build().unwrap()).await.unwrap().seq;
    }
    let store = MemoryStore::new();
    store.cut_after(20);
    let drained = Forwarder::new(outbox.clone(), to(&store))
        .drain(LIMIT)
        .await
        .unwrap();
    assert!(drained.left() == 0);
    assert_eq!(store.seqs(), seqs(1, tail.get()));
}

#[tokio::test]
async fn once_it_has_stopped_the_places_are_free_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    let store = MemoryStore::new();
    append(&outbox, 1..=4_000).await;
    // Whatever a task was at when it was told to stop: connecting, reading ahead, sending.
    for round in 0..150_u64 {
        let running = Running::start(&outbox, to(&store));
        sleep(Duration::from_micros(round * 97 % 5_000)).await;
        running.stop().await;
        append(&outbox, 4_001 + round * 20..=4_020 + round * 20).await;
    }
    let running = Running::start(&outbox, to(&store));
    caught_up(&outbox, "memory").await;
    running.stop().await;
}
