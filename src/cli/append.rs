//! `append`: events from files or standard input, one JSON object a line.
//!
//! A thread reads, the runtime appends, and at most a few chunks wait in between. A chunk is
//! whatever could be read without waiting, so that a single line from a pipe is durable at once
//! and a large file goes in large commits.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write as _},
    thread,
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, count},
    progress::Progress,
};
use crate::{
    client::ClientError,
    config::Config,
    ingest::body::{self, Format, Place},
    journal::MAX_REQUEST_EVENTS,
    outbox::{AppendError, Outbox},
    seq::Seq,
};

/// Most bytes of a chunk that holds more than one line.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Longest line, in bytes: the largest event that any configuration takes.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;
/// Chunks that are read ahead.
const CHUNKS_AHEAD: usize = 2;

/// Append events, one JSON object a line: `event_type`, `aggregate_id`, `payload`; optional `id`,
/// `event_version`, `subject_id`, `occurred_at`, `source`
///
/// Through the daemon where one runs, else straight into the journal. Stops at the first line that
/// is wrong; every line before it is durable then.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files to read; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<String>,
}

/// Some lines of one file.
struct Chunk {
    name: String,
    /// The number of its first line, from 1.
    first_line: usize,
    text: Bytes,
    /// Whether any line is not blank.
    has_events: bool,
}

pub(super) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    let progress = Progress::through(&args.files);
    let (chunks, mut inbox) = mpsc::channel(CHUNKS_AHEAD);
    let mut access = Access::find(config, Absent::Make, Purpose::Work).await?;
    thread::spawn(move || read_all(args.files, &chunks));
    let mut tally = Tally::default();
    let mut outcome = Ok(());
    while let Some(chunk) = inbox.recv().await {
        outcome = match chunk {
            Ok(chunk) => append(&mut access, &chunk, &mut tally).await.map(|()| {
                progress.advance(chunk.text.len());
            }),
            Err(failure) => Err(failure),
        };
        if outcome.is_err() {
            break;
        }
    }
    if let Access::Journal(outbox) = &access {
        outbox.close().await;
    }
    progress.end();
    match outcome {
        Ok(()) => Ok(writeln!(Output::open(), "{}", tally.text())?),
        Err(failure) => Err(failure.and(Failure::new(format!("until then: {}", tally.text())))),
    }
}

/// Appends the lines of a chunk; of one with a wrong line those before it.
async fn append(access: &mut Access, chunk: &Chunk, tally: &mut Tally) -> Result<(), Failure> {
    if !chunk.has_events {
        return Ok(());
    }
    let refused = match access.append(&chunk.text, tally).await {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    let Some(line) = refused.line else {
        let last = chunk.first_line + chunk.text.iter().filter(|byte| **byte == b'\n').count() - 1;
        let place = format!("{} lines {} to {last}", chunk.name, chunk.first_line);
        return Err(refused.failure(&place));
    };
    let before: usize = chunk
        .text
        .split_inclusive(|byte| *byte == b'\n')
        .take(line - 1)
        .map(<[u8]>::len)
        .sum();
    let before = chunk.text.slice(..before);
    if !before.trim_ascii().is_empty()
        && let Err(refused) = access.append(&before, tally).await
    {
        let last = chunk.first_line + line - 2;
        return Err(refused.failure(&format!(
            "{} lines {} to {last}",
            chunk.name, chunk.first_line
        )));
    }
    // The message names the line within the chunk, which means nothing to whoever wrote the file.
    let message = refused.message.strip_prefix(&format!("line {line}: "));
    let refused = Refused {
        message: message.unwrap_or(&refused.message).to_owned(),
        ..refused
    };
    Err(refused.failure(&format!(
        "{} line {}",
        chunk.name,
        chunk.first_line + line - 1
    )))
}

/// Why nothing of some lines was taken, or nobody knows.
struct Refused {
    /// The line at fault, from 1, where it is one.
    line: Option<usize>,
    message: String,
    hint: Option<String>,
}

impl Refused {
    fn failure(self, place: &str) -> Failure {
        Failure::new(format!("{place}: {}", self.message)).hint(self.hint)
    }
}

impl Access {
    async fn append(&mut self, lines: &Bytes, tally: &mut Tally) -> Result<(), Refused> {
        match self {
            Self::Daemon(client) => {
                let accepted = client.append(lines.clone()).await;
                let accepted = accepted.map_err(Refused::from)?;
                let repeated = accepted
                    .events
                    .iter()
                    .filter(|event| event.repeated)
                    .count();
                let appended = accepted.accepted - repeated as u64;
                tally.add(
                    appended,
                    repeated as u64,
                    accepted.first_seq,
                    accepted.last_seq,
                );
            }
            Self::Journal(outbox) => append_straight(outbox, lines, tally).await?,
        }
        Ok(())
    }
}

async fn append_straight(outbox: &Outbox, lines: &Bytes, tally: &mut Tally) -> Result<(), Refused> {
    let request = body::read(lines, Format::NdJson, outbox.max_payload_bytes());
    let request = request.map_err(|error| Refused {
        line: match error.place {
            Some(Place::Line(line)) => Some(line),
            _ => None,
        },
        hint: Some(error.fault.hint().into()),
        message: error.to_string(),
    })?;
    let places = outbox.append_batch(request.events).await.map_err(|error| {
        let index = match error {
            AppendError::Conflict { index, .. } | AppendError::TooLarge { index, .. } => {
                Some(index)
            }
            _ => None,
        };
        let line = match index.and_then(|index| request.shape.place(index)) {
            Some(Place::Line(line)) => Some(line),
            _ => None,
        };
        Refused {
            line,
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    })?;
    for place in places {
        let new = u64::from(!place.repeated);
        tally.add(new, 1 - new, place.seq, place.seq);
    }
    Ok(())
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        let hint = match &error {
            ClientError::Lost { .. } => Some(
                "these lines may have been taken; give events an `id`, and a repeat is known"
                    .into(),
            ),
            error => error.hint(),
        };
        let message = error.to_string();
        let line = match error {
            ClientError::Refused(problem) => problem.line,
            _ => None,
        };
        Self {
            line,
            message,
            hint,
        }
    }
}

/// What was appended so far.
#[derive(Default)]
struct Tally {
    appended: u64,
    repeated: u64,
    seqs: Option<(Seq, Seq)>,
}

impl Tally {
    fn add(&mut self, appended: u64, repeated: u64, first: Seq, last: Seq) {
        self.appended += appended;
        self.repeated += repeated;
        let (low, high) = self.seqs.unwrap_or((first, last));
        self.seqs = Some((low.min(first), high.max(last)));
    }

    fn text(&self) -> String {
        let mut text = format!("{} appended", count(self.appended, "event"));
        if self.repeated > 0 {
            text += &format!(", {} known already", self.repeated);
        }
        match self.seqs {
            Some((first, last)) if first == last => text += &format!(", seq {first}"),
            Some((first, last)) => text += &format!(", seq {first} to {last}"),
            None => {}
        }
        text
    }
}

/// Reads all files, in the order given. Ends early when nobody wants more.
fn read_all(files: Vec<String>, chunks: &mpsc::Sender<Result<Chunk, Failure>>) {
    for name in files {
        let read = match name.as_str() {
            "-" => read_chunks(
                "standard input",
                BufReader::with_capacity(CHUNK_BYTES, io::stdin()),
                chunks,
            ),
            path => match File::open(path) {
                Ok(file) => read_chunks(path, BufReader::with_capacity(CHUNK_BYTES, file), chunks),
                Err(error) => Err(Some(Failure::new(format!(
                    "opening {path} failed: {error}"
                )))),
            },
        };
        match read {
            Ok(()) => {}
            Err(Some(failure)) => {
                drop(chunks.blocking_send(Err(failure)));
                return;
            }
            Err(None) => return,
        }
    }
}

/// `Err(None)`: nobody wants more.
fn read_chunks<R: io::Read>(
    name: &str,
    mut input: BufReader<R>,
    chunks: &mpsc::Sender<Result<Chunk, Failure>>,
) -> Result<(), Option<Failure>> {
    let mut next_line = 1;
    loop {
        let first_line = next_line;
        let mut text = Vec::new();
        let mut has_events = false;
        let mut ended = false;
        // Until reading on would wait, or the chunk is full.
        while !ended
            && next_line - first_line < MAX_REQUEST_EVENTS
            && text.len() < CHUNK_BYTES
            && (text.is_empty() || !input.buffer().is_empty())
        {
            let start = text.len();
            let mut line = io::Read::take(&mut input, MAX_LINE_BYTES);
            let read = line.read_until(b'\n', &mut text);
            let read =
                read.map_err(|error| Failure::new(format!("reading {name} failed: {error}")))?;
            ended = read == 0;
            if read as u64 == MAX_LINE_BYTES {
                let message =
                    format!("{name} line {next_line}: longer than {MAX_LINE_BYTES} bytes");
                return Err(Some(Failure::new(message)));
            }
            has_events |= !text[start..].trim_ascii().is_empty();
            next_line += usize::from(!ended);
        }
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        if !text.is_empty() {
            let chunk = Chunk {
                name: name.into(),
                first_line,
                text: text.into(),
                has_events,
            };
            chunks.blocking_send(Ok(chunk)).map_err(|_| None)?;
        }
        if ended {
            return Ok(());
        }
    }
}
