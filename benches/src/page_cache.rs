//! What of a directory's files the system has in its page cache: a start that finds them there and one
//! that does not are two figures.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use rustix::fs::{Advice, fadvise};

/// Reads all files below a directory, page by page: so they lie in the cache as they were written, and
/// take longest to drop. What is read ahead comes in larger pieces.
pub fn warm(dir: &Path) {
    each_file(dir, &|mut file| {
        fadvise(&file, 0, None, Advice::Random).expect("advised");
        let mut page = [0; 4096];
        while file.read(&mut page).expect("it can be read") > 0 {}
    });
}

/// Has the system drop them, as a power cut does. Programs stay in it.
pub fn chill(dir: &Path) {
    each_file(dir, &|file| {
        // It keeps what is not written yet.
        file.sync_all().expect("synced");
        fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
    });
}

fn each_file(dir: &Path, work: &impl Fn(File)) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            each_file(&entry.path(), work);
        } else if kind.is_file() {
            // Sockets lie there, too.
            work(File::open(entry.path()).expect("it opens"));
        }
    }
}
