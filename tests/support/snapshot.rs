//! Texts kept beside the tests: what a person reads when something is wrong.
//!
//! A snapshot is `tests/snapshots/NAME.txt`. `UPDATE_SNAPSHOTS=1 cargo test …` writes what it finds;
//! the difference is then read by a person before it is committed.

use std::{fs, path::Path};

/// Compares with the snapshot of this name. What differs from run to run (ports, directories) is
/// given as pairs of what to look for and what to write in its place.
#[track_caller]
pub(crate) fn assert_snapshot(name: &str, found: &str, changing: &[(&str, &str)]) {
    let found = changing
        .iter()
        .fold(found.trim_end().to_owned() + "\n", |text, (from, to)| {
            text.replace(from, to)
        });
    assert_file(&format!("tests/snapshots/{name}.txt"), &found);
}

/// Compares with the file of this name in the source tree.
#[track_caller]
pub(crate) fn assert_file(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let kept = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; found:\n{found}", path.display()));
    assert!(
        kept == found,
        "{} differs. Kept:\n{kept}\nFound:\n{found}",
        path.display()
    );
}
