//! Damage that ends the process: what is tried runs in a child, which may die. Then what the next start
//! would find is looked at, and what it would do is done, by a child, too.

use std::{
    env, fs,
    fs::File,
    ops::Range,
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;
use crate::journal::{damage, guard};

/// What a child is to do: a batch, from which change on, from which phase on, and whether no other.
const JOB: &str = "EDGE_OUTBOX_DAMAGE_JOB";

/// Where it may write.
const DIR: &str = "EDGE_OUTBOX_DAMAGE_DIR";

/// What SIGABRT is.
const ABORTED: i32 = 6;

/// So much memory a child may ask for, in bytes. What asks for more ends it, without a mark.
const MEMORY: u64 = 1 << 30;

/// Changes to a journal, each tried by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Batch {
    /// Every n-th bit in pages that hold anything, after so many bits; no more than a chunk.
    Bits { skip: usize, nth: usize },
    /// Random bits: anywhere in pages that hold anything, and in rows.
    Random {
        large: bool,
        anywhere: usize,
        in_rows: usize,
        seed: u64,
    },
    /// Every n-th bit of the pages over the leaves of a journal that has some hundred rows.
    Branches { nth: usize },
    /// Every bit of the number of children of these pages.
    Children,
    /// Each page that holds anything, gone.
    Pages,
    /// Each of these, which cannot be read.
    BadBlocks,
    /// The end, cut off.
    Cuts,
}

enum Change {
    Bit(usize),
    Page(usize),
    BadBlock(usize),
    Cut(usize),
}

impl Batch {
    fn text(self) -> String {
        match self {
            Self::Bits { skip, nth } => format!("bits {skip} {nth}"),
            Self::Random {
                large,
                anywhere,
                in_rows,
                seed,
            } => format!("random {} {anywhere} {in_rows} {seed}", u8::from(large)),
            Self::Branches { nth } => format!("branches {nth}"),
            Self::Children => "children".into(),
            Self::Pages => "pages".into(),
            Self::BadBlocks => "bad-blocks".into(),
            Self::Cuts => "cuts".into(),
        }
    }

    fn parse(text: &str) -> Self {
        fn number<T: FromStr>(words: &[&str], index: usize) -> T {
            words[index].parse().unwrap_or_else(|_| panic!("{words:?}"))
        }
        let words: Vec<&str> = text.split(' ').collect();
        match words[0] {
            "bits" => Self::Bits {
                skip: number(&words, 1),
                nth: number(&words, 2),
            },
            "random" => Self::Random {
                large: number::<u8>(&words, 1) == 1,
                anywhere: number(&words, 2),
                in_rows: number(&words, 3),
                seed: number(&words, 4),
            },
            "branches" => Self::Branches {
                nth: number(&words, 1),
            },
            "children" => Self::Children,
            "pages" => Self::Pages,
            "bad-blocks" => Self::BadBlocks,
            "cuts" => Self::Cuts,
            other => panic!("no batch: {other}"),
        }
    }

    fn sample(self) -> Sample {
        match self {
            Self::Bits { .. } | Self::Random { large: false, .. } => sample(5, 3),
            Self::Random { large: true, .. } => sample(750, 4),
            Self::Branches { .. } | Self::Children => sample(300, 1),
            Self::Pages | Self::BadBlocks | Self::Cuts => sample(40, 3),
        }
    }

    fn changes(self, sample: &Sample) -> Vec<Change> {
        let used = used(&sample.bytes);
        match self {
            Self::Bits { skip, nth } => {
                let bits = used.iter().flat_map(|at| at * 8..at * 8 + 8);
                let bits = bits.skip(skip).step_by(nth).take(CHUNK);
                bits.map(Change::Bit).collect()
            }
            Self::Random {
                anywhere,
                in_rows,
                mut seed,
                ..
            } => {
                let rows = sample.rows.iter();
                let rows: Vec<usize> = rows.flat_map(|(at, length, _)| *at..at + length).collect();
                let mut changes = Vec::new();
                for (places, count) in [(&used, anywhere), (&rows, in_rows)] {
                    changes.extend((0..count).map(|_| {
                        let at = places[next_random(&mut seed) as usize % places.len()];
                        Change::Bit(at * 8 + next_random(&mut seed) as usize % 8)
                    }));
                }
                changes
            }
            Self::Branches { nth } => {
                let bits = branches(&sample.bytes).into_iter().flatten();
                bits.step_by(nth).map(Change::Bit).collect()
            }
            Self::Children => {
                let pages = branches(&sample.bytes).into_iter();
                let bits = pages.flat_map(|page| page.start + 16..page.start + 32);
                bits.map(Change::Bit).collect()
            }
            Self::Pages => {
                let pages = used.iter().step_by(PAGE);
                pages.map(|at| Change::Page(*at)).collect()
            }
            Self::BadBlocks => {
                let pages = used.iter().step_by(PAGE);
                pages.map(|at| Change::BadBlock(*at)).collect()
            }
            Self::Cuts => {
                let mut random = 7;
                let length = sample.bytes.len();
                let cuts = (0..25).map(|_| next_random(&mut random) as usize % length);
                let edges = [length - 1, length - PAGE, length / 2, 4 * PAGE];
                cuts.chain(edges).map(Change::Cut).collect()
            }
        }
    }
}

/// The bits in use of the pages that have the most children: of the root over the rows, as it is and
/// as it was.
fn branches(bytes: &[u8]) -> Vec<Range<usize>> {
    const BRANCH: u8 = 2;
    let keys = |page: &[u8]| usize::from(u16::from_le_bytes([page[2], page[3]]));
    let pages = bytes.chunks_exact(PAGE).enumerate();
    let pages = pages.filter(|(_, page)| page[0] == BRANCH && keys(page) < 120);
    let most = pages.clone().map(|(_, page)| keys(page)).max().unwrap_or(0);
    assert!(most > 5, "{most}");
    // A checksum and a place for each child, and a key between two of them.
    let used = 8 + (most + 1) * 24 + most * 8;
    pages
        .filter(|(_, page)| keys(page) == most)
        .map(|(index, _)| index * PAGE * 8..(index * PAGE + used) * 8)
        .collect()
}

/// The lower bits of the keys in these pages, each of which is the first seq of a row.
pub(super) fn bits_of_keys(bytes: &[u8]) -> Vec<usize> {
    let mut bits = Vec::new();
    for page in branches(bytes) {
        let keys = u16::from_le_bytes([bytes[page.start / 8 + 2], bytes[page.start / 8 + 3]]);
        let begin = page.end - usize::from(keys) * 64;
        bits.extend((begin..page.end).step_by(64).flat_map(|key| key..key + 10));
    }
    bits
}

/// Where in these pages the places of two children stand, each with each.
pub(super) fn pairs_of_places(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for page in branches(bytes) {
        let start = page.start / 8;
        let keys = u16::from_le_bytes([bytes[start + 2], bytes[start + 3]]);
        let children = usize::from(keys) + 1;
        let place = |child: usize| start + 8 + children * 16 + child * 8;
        for one in 0..children {
            pairs.extend((one + 1..children).map(|other| (place(one), place(other))));
        }
    }
    pairs
}

impl Change {
    /// The bytes with it, and where they are other than before.
    fn of(&self, sample: &Sample) -> (Bytes, Range<usize>) {
        let mut changed = sample.image.clone();
        let hit = match *self {
            Self::Bit(bit) => {
                changed.flip(bit);
                bit / 8..bit / 8 + 1
            }
            Self::Page(start) => {
                changed.write(start, &[0; PAGE]);
                start..start + PAGE
            }
            Self::BadBlock(start) => start..start + PAGE,
            Self::Cut(length) => {
                changed.set_len(length);
                length..sample.bytes.len()
            }
        };
        (changed, hit)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is opened, read and appended to.
    Use,
    /// It is recovered.
    Recover,
}

/// Where a child is, or was when it died.
struct Progress {
    index: u64,
    phase: Phase,
    sample: u64,
    tally: Tally,
}

impl Progress {
    fn write(&self, file: &File) {
        let phase = u64::from(self.phase == Phase::Recover);
        let place = [self.index, phase, self.sample];
        let words = place.into_iter().chain(self.tally.words());
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        file.write_all_at(&bytes, 0).unwrap();
    }

    fn read(dir: &Path) -> Self {
        let bytes = fs::read(dir.join("progress")).unwrap();
        let words = bytes.chunks_exact(8);
        let words: Vec<u64> = words
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        Self {
            index: words[0],
            phase: [Phase::Use, Phase::Recover][words[1] as usize],
            sample: words[2],
            tally: Tally::of_words(&words[3..]),
        }
    }
}

/// Runs a child to its end. Whether it did all it was to do; if not, it died of what it read.
fn child(dir: &Path, batch: Batch, from: u64, phase: Phase, alone: bool) -> (bool, Progress) {
    let said = dir.join("said");
    let job = format!("{from} {} {} {}", phase as u8, alone as u8, batch.text());
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("journal::tests::damage::child::in_a_child")
        .env(JOB, job)
        .env(DIR, dir)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let mut seen = (Instant::now(), Vec::new());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let now = fs::read(dir.join("progress")).unwrap_or_default();
        if now != seen.1 {
            seen = (Instant::now(), now);
        }
        // Before the first change it makes its journal.
        if !seen.1.is_empty() && seen.0.elapsed() > 3 * LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{batch:?} hangs at {}", Progress::read(dir).index);
        }
        thread::sleep(Duration::from_millis(5));
    };
    let done = status.success();
    let died = status.signal() == Some(ABORTED);
    let said = || fs::read_to_string(&said).unwrap();
    let has_begun = dir.join("progress").exists();
    let is_known = done || (died && has_begun);
    assert!(is_known, "{batch:?}: {status}: {}", said());
    (done, Progress::read(dir))
}

/// Recovers what a child died of, as the next starts would, and says how often one died of that.
fn recovered_after(dir: &Path, batch: Batch, index: u64) -> u64 {
    let before = damage::ends(dir);
    while !child(dir, batch, index, Phase::Recover, true).0 {
        let ends = damage::ends(dir);
        assert!(ends <= 2, "{batch:?}: {index} ends every recovery");
    }
    assert_eq!(damage::remembered(dir), None);
    assert_eq!(before, 1);
    1
}

/// Tries all of the batch, in children, and does what the next start would wherever one dies.
pub(super) fn run(batch: Batch) -> Tally {
    // In memory where there is such a directory: a mark is synced.
    let memory = tempfile::tempdir_in("/dev/shm");
    let dir = memory.or_else(|_| tempfile::tempdir()).unwrap();
    let dir = dir.path();
    let mut total = Tally::default();
    let (mut from, mut sample) = (0, None);
    loop {
        let (done, progress) = child(dir, batch, from, Phase::Use, false);
        total.add(&progress.tally);
        assert_eq!(*sample.get_or_insert(progress.sample), progress.sample);
        if done {
            return total;
        }
        let index = progress.index;
        assert_eq!(damage::ends(dir), 1, "{batch:?}: {index} left no mark");
        println!("{batch:?}: {index} ended the process: {:?}", progress.phase);
        if progress.phase == Phase::Use {
            total.ended_in_use += 1;
            total.ended_and_recovered += recovered_after(dir, batch, index);
            // And as it would be where nobody had opened it before.
            let ended = !child(dir, batch, index, Phase::Recover, true).0;
            if ended {
                total.ended_in_recovery += 1;
                total.ended_and_recovered += recovered_after(dir, batch, index);
            }
        } else {
            total.ended_in_recovery += 1;
            total.ended_and_recovered += recovered_after(dir, batch, index);
        }
        from = index + 1;
    }
}

#[test]
#[ignore = "is run by the others"]
fn in_a_child() {
    let (Ok(job), Ok(dir)) = (env::var(JOB), env::var(DIR)) else {
        return;
    };
    let memory = Rlimit {
        current: Some(MEMORY),
        maximum: Some(MEMORY),
    };
    setrlimit(Resource::As, memory).unwrap();
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !guard::is_guarded() {
            others(panic);
        }
    }));
    let dir = Path::new(&dir);
    let mut words = job.splitn(4, ' ');
    let mut number = || words.next().unwrap().parse::<usize>().unwrap();
    let (from, phase, alone) = (number(), number(), number() == 1);
    let batch = Batch::parse(words.next().unwrap());
    let sample = batch.sample();
    let changes = batch.changes(&sample);
    let file = File::create(dir.join("progress")).unwrap();
    let mut progress = Progress {
        index: from as u64,
        phase: [Phase::Use, Phase::Recover][phase],
        sample: u64::from(crc32fast::hash(&sample.bytes)),
        tally: Tally::default(),
    };
    let upto = match alone {
        true => from + 1,
        false => changes.len(),
    };
    progress.write(&file);
    let unread = Unread::of(&sample);
    for (index, change) in changes.iter().enumerate().take(upto).skip(from) {
        let (bytes, hit) = change.of(&sample);
        let is_bad = matches!(change, Change::BadBlock(_));
        let disk = || {
            let storage = disk(&bytes, dir);
            if is_bad {
                storage.go_bad(hit.clone());
            }
            storage
        };
        progress.index = index as u64;
        progress.tally.tried += 1;
        if !is_bad && unread.holds(&bytes, &hit) {
            progress.tally.unread += 1;
            progress.write(&file);
            continue;
        }
        let used = (phase == Phase::Use as usize).then(|| {
            progress.phase = Phase::Use;
            progress.write(&file);
            let storage = disk();
            let used = use_it(&sample, &storage, &hit, &mut progress.tally);
            drop(storage);
            assert_eq!(damage::remembered(dir), None, "a mark stays");
            used
        });
        progress.phase = Phase::Recover;
        progress.write(&file);
        let (used, tally) = (used.as_ref(), &mut progress.tally);
        recover_it(&sample, &disk(), &hit, used, tally);
        assert_eq!(damage::remembered(dir), None, "a mark stays");
        progress.write(&file);
    }
}
