//! Events, and producers that hand them over.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

/// What producers do.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many work at once, each with one request on its way.
    pub producers: usize,
    /// Events in a request.
    pub batch: u64,
    /// The first number.
    pub first: u64,
    /// How many events, at most.
    pub count: u64,
    /// For how long, at most.
    pub time: Duration,
    /// Bytes of payload.
    pub bytes: usize,
    /// Whether to remember which were acknowledged.
    pub remember: bool,
}

impl Load {
    /// This one event.
    pub fn one(number: u64, bytes: usize) -> Self {
        Self {
            producers: 1,
            batch: 1,
            first: number,
            count: 1,
            time: Duration::from_secs(20),
            bytes,
            remember: false,
        }
    }
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Taken {
    /// Events that were acknowledged.
    pub count: u64,
    pub took: Duration,
    /// How long a request waited for its acknowledgement, in microseconds: half of them at most so
    /// long, 99 in a hundred, 999 in a thousand.
    pub waits: [f64; 3],
    /// Which were acknowledged, where that was asked for.
    pub acknowledged: Vec<Range<u64>>,
    /// Why a producer gave up.
    pub failure: Option<String>,
}

impl Taken {
    pub fn of(mut waits: Vec<u32>, count: u64, took: Duration, failure: Option<String>) -> Self {
        waits.sort_unstable();
        let at = |share: f64| {
            let place = (waits.len() as f64 * share) as usize;
            let wait = waits.get(place.min(waits.len().saturating_sub(1)));
            wait.copied().map_or(f64::NAN, f64::from)
        };
        Self {
            waits: [at(0.5), at(0.99), at(0.999)],
            count,
            took,
            acknowledged: Vec::new(),
            failure,
        }
    }

    /// Events a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// Is told each range that was acknowledged.
pub type Note = Arc<dyn Fn(Range<u64>) + Send + Sync>;

/// Numbers that nobody has handed over yet.
#[derive(Clone)]
struct Left {
    next: Arc<AtomicU64>,
    end: u64,
    batch: u64,
    until: Instant,
    failed: Arc<AtomicBool>,
}

impl Left {
    fn of(load: &Load) -> Self {
        Self {
            next: Arc::new(AtomicU64::new(load.first)),
            end: load.first.saturating_add(load.count),
            batch: load.batch,
            until: Instant::now() + load.time,
            failed: Arc::default(),
        }
    }

    fn take(&self) -> Option<Range<u64>> {
        if self.failed.load(Ordering::Relaxed) || Instant::now() >= self.until {
            return None;
        }
        let from = self.next.fetch_add(self.batch, Ordering::Relaxed);
        let to = from.saturating_add(self.batch).min(self.end);
        (from < to).then_some(from..to)
    }
}

/// One that hands events over, and waits for each request's acknowledgement.
pub trait Producer: Send + 'static {
    /// Returns when these events are acknowledged; an error says what came instead.
    fn append(
        &mut self,
        numbers: Range<u64>,
        bytes: usize,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// What one producer saw.
#[derive(Default)]
struct Seen {
    waits: Vec<u32>,
    count: u64,
    failure: Option<String>,
}

impl Seen {
    fn add(&mut self, numbers: &Range<u64>, asked: Instant) {
        let wait = asked.elapsed().as_micros();
        self.waits.push(u32::try_from(wait).unwrap_or(u32::MAX));
        self.count += numbers.end - numbers.start;
    }
}

/// Sets the producers to work; returns when the last has its answer, or one has failed.
pub async fn drive<P: Producer>(producers: Vec<P>, load: &Load, note: Option<Note>) -> Taken {
    let left = Left::of(load);
    let bytes = load.bytes;
    let start = Instant::now();
    let tasks: Vec<_> = producers
        .into_iter()
        .map(|mut producer| {
            let (left, note) = (left.clone(), note.clone());
            tokio::spawn(async move {
                let mut seen = Seen::default();
                while let Some(numbers) = left.take() {
                    let asked = Instant::now();
                    if let Err(failure) = producer.append(numbers.clone(), bytes).await {
                        left.failed.store(true, Ordering::Relaxed);
                        seen.failure = Some(failure);
                        break;
                    }
                    seen.add(&numbers, asked);
                    if let Some(note) = &note {
                        note(numbers);
                    }
                }
                seen
            })
        })
        .collect();
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await.expect("no panic");
        all.waits.extend(seen.waits);
        all.count += seen.count;
        all.failure = all.failure.or(seen.failure);
    }
    Taken::of(all.waits, all.count, start.elapsed(), all.failure)
}

/// As [`drive`], with one producer in a plain thread.
pub fn drive_plainly(
    load: &Load,
    note: Option<Note>,
    mut append: impl FnMut(Range<u64>) -> Result<(), String>,
) -> Taken {
    let left = Left::of(load);
    let mut seen = Seen::default();
    let start = Instant::now();
    while let Some(numbers) = left.take() {
        let asked = Instant::now();
        if let Err(failure) = append(numbers.clone()) {
            seen.failure = Some(failure);
            break;
        }
        seen.add(&numbers, asked);
        if let Some(note) = &note {
            note(numbers);
        }
    }
    Taken::of(seen.waits, seen.count, start.elapsed(), seen.failure)
}

/// What producers run on: one producer alone on one thread, as in a small program.
pub fn runtime(producers: usize) -> Runtime {
    let mut builder = match producers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build().expect("a runtime")
}

/// Drives producers that are made here, and remembers what was acknowledged where the load says so.
pub fn run<P: Producer, F: Future<Output = Result<Vec<P>, String>>>(
    load: &Load,
    producers: F,
) -> Taken {
    let noted: Arc<std::sync::Mutex<Vec<Range<u64>>>> = Arc::default();
    let note = load.remember.then(|| {
        let noted = noted.clone();
        let note: Note = Arc::new(move |numbers| noted.lock().expect("no panic").push(numbers));
        note
    });
    let mut taken = runtime(load.producers).block_on(async {
        match producers.await {
            Ok(producers) => drive(producers, load, note).await,
            Err(failure) => Taken {
                failure: Some(failure),
                ..Taken::default()
            },
        }
    });
    taken.acknowledged = std::mem::take(&mut noted.lock().expect("no panic"));
    taken
}
