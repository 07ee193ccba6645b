//! The corpora, and mutations of them, on any toolchain.
//!
//! `EDGE_OUTBOX_MUTATIONS` says how many of each file, `EDGE_OUTBOX_SEED` which.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::{mutation::Mutator, *};
use crate::envelope::{Envelope, fuzz::proven};

/// The variable that says how many mutations of each file there are.
const MUTATIONS: &str = "EDGE_OUTBOX_MUTATIONS";
const DEFAULT_MUTATIONS: u64 = 2_000;
/// The variable that says which they are.
const SEED: &str = "EDGE_OUTBOX_SEED";
/// All files of one target together, in bytes: corpora are read by people, too.
const MAX_CORPUS_BYTES: usize = 16 * 1024;

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).map(|text| text.parse().expect("a number"));
    given.unwrap_or(default)
}

/// The files of a corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpora");
    let mut files: Vec<_> = fs::read_dir(dir.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= MAX_CORPUS_BYTES, "{target}: {bytes} bytes");
    files
}

/// Calls `act` with every file and its mutations. A file whose name begins with `bad` must be refused,
/// any other one taken, and of the mutations there have to be some of both.
fn replay(target: &str, words: &[&str], act: impl Fn(&[u8]) -> bool) {
    let files = corpus(target);
    let (count, seed) = (number(MUTATIONS, DEFAULT_MUTATIONS), number(SEED, 1));
    let (mut taken, mut refused) = (0, 0);
    for (place, (name, bytes)) in files.iter().enumerate() {
        assert_eq!(act(bytes), !name.starts_with("bad"), "{target}/{name}");
        let mut mutator = Mutator::new(seed.wrapping_add((place as u64) << 32));
        for number in 0..count {
            let (_, other) = &files[number as usize % files.len()];
            let mutation = mutator.mutate(bytes, other, words);
            match catch_unwind(AssertUnwindSafe(|| act(&mutation))) {
                Ok(true) => taken += 1,
                Ok(false) => refused += 1,
                Err(_) => panic!(
                    "{SEED}={seed}: mutation {number} of {target}/{name}: {}",
                    mutation.escape_ascii()
                ),
            }
        }
    }
    println!(
        "{target}: {} files, {taken} mutations taken, {refused} refused",
        files.len()
    );
    assert!(taken > 0 && refused > 0, "{target}: {taken} and {refused}");
}

#[test]
fn a_mutation_is_repeated_by_its_seed_and_bounded() {
    let (bytes, other) = (vec![b'a'; 64], vec![b'b'; 64 * 1024]);
    let all = |seed| {
        let mut mutator = Mutator::new(seed);
        let each = (0..1_000).map(|_| mutator.mutate(&bytes, &other, &["word"]));
        each.collect::<Vec<_>>()
    };
    assert_eq!(all(7), all(7));
    assert_ne!(all(7), all(8));
    let changed = all(7).iter().filter(|mutation| **mutation != bytes).count();
    assert!(changed > 900, "{changed} of 1,000 differ");
    assert!(all(7).iter().all(|mutation| mutation.len() <= 16 * 1024));
    // What is empty has nothing to change, and can be changed all the same.
    let mut mutator = Mutator::new(7);
    assert!((0..100).any(|_| !mutator.mutate(&[], &[], &["word"]).is_empty()));
}

#[test]
fn any_row_is_read_back_as_it_would_be_written_or_refused() {
    replay("row", &["\u{0}", "outbox.", "quiz.submitted.v1"], row);
}

#[test]
fn any_body_is_taken_byte_for_byte_or_refused() {
    let words = [
        "null",
        "\"id\":",
        "\"payload\":",
        "\"event_version\":2,",
        "{\"a\":1e400}",
        "\\ud800",
        "\\u0000",
        "[[[[[[[[",
        "outbox.",
        "\u{FEFF}",
        "\r\n",
        ",",
        " ",
    ];
    replay("events", &words, events);
}

#[test]
fn any_cloud_event_is_taken_as_it_says_or_refused() {
    let words = [
        "null",
        "\"data\":",
        "\"data_base64\":\"MQ==\"",
        "\"specversion\":\"1.0\",",
        "%22",
        "%",
        "\"",
        "\\\"",
        "\u{FFFE}",
        "time: ",
        "subject: ",
        "\n\n",
        "[",
        "]",
        ",",
    ];
    replay("cloud_events", &words, cloud_events);
}

#[test]
fn any_envelope_is_the_one_spelling_of_what_it_says_or_refused() {
    let words = [
        "\"payload\":",
        "\"payload_b64\":\"MQ==\"",
        "\"original_id\":\"x\",",
        "true",
        "false",
        "0",
        "9007199254740991",
        "9007199254740992",
        "\\\"",
        "outbox.",
        "null",
        "1e3",
    ];
    replay("envelope", &words, envelope);
}

#[test]
fn nothing_is_proven_but_what_the_device_signed() {
    let files = corpus("envelope");
    let genuine: Vec<_> = files
        .iter()
        .filter_map(|(_, bytes)| proven(bytes))
        .collect();
    assert!(genuine.len() >= 3, "{}", genuine.len());
    replay("envelope", &["true", "false"], |bytes| {
        let proven = proven(bytes);
        assert!(proven.is_none_or(|digest| genuine.contains(&digest)));
        Envelope::parse(bytes).is_ok()
    });
}

#[cfg(feature = "cli")]
#[test]
fn any_configuration_is_in_force_as_it_is_shown_or_refused() {
    let words = [
        "[sinks.hub]\n",
        "type = \"mqtt\"\n",
        "\"off\"",
        "\"1 GiB\"",
        "\"0 ms\"",
        "-1",
        "true",
        "[]",
        "\"\"\"",
        "'",
        "\n",
        "=",
        "{}",
        "\"18446744073709551616 TiB\"",
        "inf",
    ];
    replay("configuration", &words, configuration);
}
