//! Peers that are a library: this program starts itself in such a role, so that they have a process
//! of their own to kill and to measure.
//!
//! A load goes in as a line, and comes back as a line with its figures; before that, a line for each
//! acknowledgement where the load says so, written out at once.

use std::{
    io::{BufRead, BufReader, Write as _},
    ops::Range,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::load::{Load, Note, Taken};

/// The first argument of a program in a role.
pub const ARGUMENT: &str = "role";

/// What such a process does with a load.
pub trait Store {
    fn load(&mut self, load: &Load, note: Option<Note>) -> Taken;
}

/// Serves loads until nobody asks any more.
pub fn serve(mut store: impl Store) {
    println!("ready");
    for line in std::io::stdin().lines() {
        let load = parse(&line.expect("a line"));
        let note = load.remember.then(|| {
            let note: Note = Arc::new(|Range { start, end }| println!("{start} {end}"));
            note
        });
        let taken = store.load(&load, note);
        let [half, most, nearly_all] = taken.waits;
        println!(
            "done {} {} {half} {most} {nearly_all} {}",
            taken.count,
            taken.took.as_nanos(),
            taken.failure.unwrap_or_default()
        );
    }
}

fn parse(line: &str) -> Load {
    let fields: Vec<u64> = line
        .split(' ')
        .map(|field| field.parse().expect("a number"))
        .collect();
    let &[producers, batch, first, count, time, bytes, remember] = fields.as_slice() else {
        panic!("no load: {line}");
    };
    Load {
        producers: producers as usize,
        batch,
        first,
        count,
        time: Duration::from_millis(time),
        bytes: bytes as usize,
        remember: remember == 1,
    }
}

/// A process in a role; killed when dropped.
pub struct Role {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Role {
    /// Starts it, and waits for nothing.
    pub fn launch(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg(ARGUMENT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            stdin,
            stdout,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns when the load is done, or the process is gone.
    pub fn load(&mut self, load: &Load) -> Taken {
        let mut taken = Taken {
            failure: Some("the process ended".into()),
            ..Taken::default()
        };
        let asked = writeln!(
            self.stdin,
            "{} {} {} {} {} {} {}",
            load.producers,
            load.batch,
            load.first,
            load.count,
            load.time.as_millis(),
            load.bytes,
            u8::from(load.remember)
        );
        if asked.is_err() {
            return taken;
        }
        let mut line = String::new();
        loop {
            line.clear();
            if self.stdout.read_line(&mut line).unwrap_or(0) == 0 || !line.ends_with('\n') {
                return taken;
            }
            let line = line.trim_end_matches('\n');
            if let Some(done) = line.strip_prefix("done ") {
                let mut fields = done.splitn(6, ' ');
                let mut next = || fields.next().expect("a field");
                taken.count = next().parse().expect("a number");
                taken.took = Duration::from_nanos(next().parse().expect("a number"));
                taken.waits = [next(), next(), next()].map(|wait| wait.parse().expect("a number"));
                taken.failure = Some(next().to_owned()).filter(|failure| !failure.is_empty());
                return taken;
            }
            if let Some((from, to)) = line.split_once(' ') {
                let [from, to] = [from, to].map(|number| number.parse().expect("a number"));
                taken.acknowledged.push(from..to);
            }
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
