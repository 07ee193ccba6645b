//! What is handed in costs memory by its length, whatever it says.
//!
//! The bytes that are allocated are counted for the whole process, so there is one test, and nothing
//! else in this binary. What is read, and whether it is read rightly, is for `src/fuzz.rs`.

#[path = "support/allocation.rs"]
mod allocation;
#[path = "../src/fuzz/mutation.rs"]
mod mutation;

use std::{fs, path::Path};

use allocation::rise;
use bytes::Bytes;
use edge_outbox::{
    Envelope,
    envelope::Unverified,
    ingest::body::{Format, read},
};
use mutation::Mutator;

/// How much reading may hold at once for each byte that is read, and besides, in bytes.
const FACTOR: usize = 4;
const BESIDES: usize = 64 * 1024;
/// The largest payload that is taken, in bytes.
const MAX_PAYLOAD: usize = 8 << 20;
/// Mutations of each file.
const MUTATIONS: u64 = 60;
/// What a mutation is made to grow to, about.
const GROWN_BYTES: usize = 100_000;

/// The most that is held at once while this is read in this way.
fn cost(bytes: &[u8], read: fn(&[u8]) -> bool) -> usize {
    rise(|| {
        read(bytes);
    })
}

/// A body of a request, which is held beside what is read from it.
fn of(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Every file of a corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpora");
    let files = fs::read_dir(dir.join(target)).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

/// Much larger: a part of the middle thousands of times, or all of it as lines or in an array.
fn grown(bytes: &[u8], number: u64) -> Vec<u8> {
    let number = number as usize;
    let times = GROWN_BYTES / (bytes.len() + 1);
    match number % 3 {
        0 => [bytes, b"\n"].concat().repeat(times),
        1 => [b"[", &[bytes, b","].concat().repeat(times)[..], bytes, b"]"].concat(),
        _ => {
            let from = number % (bytes.len() + 1);
            let to = (from + 1 + number % 7).min(bytes.len());
            let times = GROWN_BYTES / (to - from).max(1);
            [&bytes[..from], &bytes[from..to].repeat(times), &bytes[to..]].concat()
        }
    }
}

#[test]
fn reading_costs_no_more_than_a_few_times_what_is_read() {
    type Read = fn(&[u8]) -> bool;
    let json: Read = |bytes| read(&of(bytes), Format::Json, MAX_PAYLOAD).is_ok();
    let lines: Read = |bytes| read(&of(bytes), Format::NdJson, MAX_PAYLOAD).is_ok();
    let one: Read = |bytes| read(&of(bytes), Format::CloudEvent, MAX_PAYLOAD).is_ok();
    let batch: Read = |bytes| read(&of(bytes), Format::CloudEventBatch, MAX_PAYLOAD).is_ok();
    let message: Read = |bytes| Envelope::<Unverified>::from_message(bytes).is_ok();
    let mut most: f64 = 0.0;
    for (target, ways) in [
        ("events", &[json, lines][..]),
        ("cloud_events", &[one, batch]),
        ("envelope", &[message]),
    ] {
        let files = corpus(target);
        for (place, bytes) in files.iter().enumerate() {
            let mut mutator = Mutator::new(place as u64);
            for number in 0..MUTATIONS {
                let other = &files[number as usize % files.len()];
                let small = mutator.mutate(bytes, other, &["[", "{"]);
                let large = grown(&small, number);
                for read in ways {
                    let (cost, of_large) = (cost(&small, *read), cost(&large, *read));
                    for (cost, bytes) in [(cost, small.len()), (of_large, large.len())] {
                        let bound = FACTOR * bytes + BESIDES;
                        assert!(cost <= bound, "{target}: {cost} bytes for {bytes}");
                    }
                    most = most.max(of_large as f64 / GROWN_BYTES.max(large.len()) as f64);
                }
            }
        }
    }
    println!("at most {most:.1} times what is read");
}
