//! A damaged journal: recovered by a command, or by the daemon when it starts.

#![cfg(feature = "cli")]
mod support;

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::program::{Home, exists, lines};

fn journal(home: &Home) -> PathBuf {
    home.data_dir().join("journal.redb")
}

/// Where these bytes stand in the file.
fn find(file: &Path, bytes: &[u8]) -> u64 {
    let whole = fs::read(file).unwrap();
    let at = whole.windows(bytes.len()).position(|it| it == bytes);
    at.expect("they are there") as u64
}

/// Overwrites the aggregate of one event in the middle, in every copy.
fn damage_an_event(home: &Home) {
    let file = OpenOptions::new().write(true).open(journal(home)).unwrap();
    let line = home.ok(&["tail", "--from", "100", "--json"]);
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let id: uuid::Uuid = line["id"].as_str().unwrap().parse().unwrap();
    let whole = fs::read(journal(home)).unwrap();
    let mut from = 0;
    while let Some(at) = whole[from..].windows(16).position(|it| it == id.as_bytes()) {
        file.write_all_at(&[0xFF; 4], (from + at + 4) as u64).unwrap();
        from += at + 16;
    }
}

fn append(home: &Home, count: std::ops::Range<u64>) {
    for number in count {
        assert_eq!(home.run_with(&["append"], lines(number..number + 1)).code, 0);
    }
}
