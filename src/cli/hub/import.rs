//! `hub import`: what somebody carried from devices that have no network, and the receipts for them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Write as _, stdin},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Failure, HubConfig, Output, Tone, count, print_json};
use crate::{
    carry::{ExportHead, ExportLine, LineReader, receipt_line, receipts_head},
    cli::part_file::PartFile,
    envelope::{Envelope, MAX_ENVELOPE_BYTES},
    hub::{Chains, DEFAULT_BATCH, DEFAULT_BATCH_BYTES, HubError, Intake, Message, Reason, Taken},
    signing::DeviceKey,
};

/// What brought an event, in the column `origin`.
const ORIGIN: &str = "import";
/// Of one device's part so many lines are set aside for a reason that the file can wait for: after
/// that its rest is passed over.
const MAX_SET_ASIDE: usize = 1_000;
/// The same of all that is imported at once: a head costs nothing, so whoever wrote a file can begin
/// any number of parts. From then on a part is passed over whose first lines are set aside, and no
/// other suffers by it.
const MAX_SET_ASIDE_IN_ALL: usize = 10_000;
/// How many lines these are.
const FIRST_LINES: usize = 16;
/// Devices that are told of one file.
const MAX_DEVICES: usize = 1_000;
/// Receipts that are made at a time.
const RECEIPTS_AT_ONCE: usize = 256;
/// The most chains that receipts are made for.
const MAX_CHAINS: usize = 65_536;
/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// Take in files that devices without a network have exported
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The files that `edge-outbox export` wrote; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the receipts for these devices here, to be carried back; `-` is standard output
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// Overwrite that file
    #[arg(long, requires = "receipts")]
    force: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What became of what was in a file.
#[derive(Debug, Default, Serialize)]
struct Tally {
    /// Which file.
    file: String,
    /// The devices that it says it is of.
    devices: Vec<String>,
    /// Lines that were handed over.
    lines: u64,
    /// Events that are new.
    stored: u64,
    /// Those of them that were stored without the personal part, of somebody who was erased.
    erased: u64,
    /// Events that were there.
    repeated: u64,
    /// Lines that were set aside, by reason.
    quarantined: BTreeMap<&'static str, u64>,
    /// Lines that were not handed over, after too many that were set aside.
    passed_over: u64,
    /// Heads that do not prove how far the journal went.
    tails_refused: u64,
    /// Whether it is all that was exported; absent where the file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_whole: Option<bool>,
}

/// All of it, as JSON.
#[derive(Serialize)]
struct Report {
    files: Vec<Tally>,
    receipts: usize,
}

pub(super) async fn run(args: Args, config: &HubConfig) -> Result<(), Failure> {
    let key = config.receipt_key()?;
    let receipts = match (&args.receipts, &key) {
        (None, _) => None,
        (Some(path), Some(key)) => Some((PartFile::create(path, args.force)?, key)),
        (Some(_), None) => {
            let hint = "set it, and make the key with `edge-outbox hub key`".to_owned();
            return Err(Failure::usage("receipts.key_file is not set").hint(hint));
        }
    };
    let intake = Intake::connect(&config.database()?, config.options()?).await?;
    let mut import = Import {
        intake,
        chains: Chains::new(),
        batch: Vec::new(),
        bytes: 0,
        part: Part::default(),
        set_aside: 0,
        tally: Tally::default(),
    };
    let mut report = Report {
        files: Vec::new(),
        receipts: 0,
    };
    let mut failures: Option<Failure> = None;
    let mut add = |one| failures = Some(joined(failures.take(), one));
    for file in &args.files {
        let taken = import.take_file(file).await;
        report.files.push(std::mem::take(&mut import.tally));
        match taken {
            Ok(()) => {}
            // The next file may be better.
            Err(Stop::File(failure)) => add(failure),
            Err(Stop::Intake(failure)) => {
                add(failure);
                break;
            }
        }
    }
    // What was stored is worth its receipts, whatever stopped the rest.
    let mut named = None;
    let is_for_stdout = receipts.as_ref().is_some_and(|(file, _)| file.is_stdout());
    if let Some((mut file, key)) = receipts {
        // Unfinished, it gets no name.
        let written = import.write_receipts(&mut file, key).await;
        match written.and_then(|count| file.finish().map(|()| count)) {
            Ok(count) => (report.receipts, named) = (count, args.receipts.as_deref()),
            Err(failure) => add(failure),
        }
    }
    if !is_for_stdout {
        tell(&report, named, args.json)?;
    }
    if let Err(failure) = judge(&report) {
        add(failure);
    }
    failures.map_or(Ok(()), Err)
}

fn joined(before: Option<Failure>, one: Failure) -> Failure {
    match before {
        Some(before) => before.and(one),
        None => one,
    }
}

/// What ends a file.
enum Stop {
    /// It cannot be read further, or is none.
    File(Failure),
    /// Nothing can be taken in.
    Intake(Failure),
}

impl From<HubError> for Stop {
    fn from(error: HubError) -> Self {
        Self::Intake(error.into())
    }
}

/// A device's part of a file.
#[derive(Default)]
struct Part {
    head: Option<ExportHead>,
    lines: u64,
    /// Lines that were set aside and may be taken when the file comes again.
    set_aside: usize,
}

struct Import {
    intake: Intake,
    /// What receipts are made for.
    chains: Chains,
    batch: Vec<Message>,
    bytes: usize,
    part: Part,
    /// As in the parts, of all of them.
    set_aside: usize,
    tally: Tally,
}

impl Import {
    async fn take_file(&mut self, path: &Path) -> Result<(), Stop> {
        self.part = Part::default();
        self.tally.file = path.display().to_string();
        let failed = |error| {
            let message = format!("reading {} failed: {error}", path.display());
            let hint = "what came before is taken; import it again".to_owned();
            Stop::File(Failure::new(message).hint(hint))
        };
        let input: Box<dyn Read> = match path.as_os_str() == "-" {
            true => Box::new(stdin()),
            false => Box::new(File::open(path).map_err(failed)?),
        };
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        // One byte more, so that a longer line is told from the longest.
        let mut lines = LineReader::new(input, MAX_ENVELOPE_BYTES + 1);
        let mut is_first = true;
        let mut read = Ok(());
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    // A stick that was pulled: what was read counts.
                    read = Err(failed(error));
                    break;
                }
            };
            let text = line.text.trim_ascii_end();
            if text.is_empty() {
                continue;
            }
            let kind = ExportLine::of(text);
            if std::mem::take(&mut is_first) {
                let is_event = || Envelope::from_message(text).is_ok();
                if matches!(kind, ExportLine::End { .. })
                    || matches!(kind, ExportLine::Other) && !is_event()
                {
                    return Err(Stop::File(no_export(path)));
                }
            }
            match kind {
                ExportLine::Head(head) => {
                    self.end_part(None).await?;
                    if self.tally.devices.len() < MAX_DEVICES {
                        self.tally.devices.push(head.device.to_string());
                    }
                    self.part.head = Some(head);
                }
                ExportLine::End { events } => self.end_part(Some(events)).await?,
                ExportLine::Later => {
                    self.end_part(None).await?;
                    let message = format!("{} was written by a later version", path.display());
                    return Err(Stop::File(Failure::new(message)));
                }
                // The rest of a line that was cut off is nobody's event.
                ExportLine::Other if !line.is_ended && Envelope::from_message(text).is_err() => {
                    self.tally.is_whole = Some(false);
                }
                ExportLine::Other => self.push(text.to_vec()).await?,
            }
        }
        if is_first && read.is_ok() {
            return Err(Stop::File(no_export(path)));
        }
        self.end_part(None).await?;
        read
    }

    async fn push(&mut self, body: Vec<u8>) -> Result<(), Stop> {
        self.part.lines += 1;
        let (most, at_once) = match self.set_aside < MAX_SET_ASIDE_IN_ALL {
            true => (MAX_SET_ASIDE, DEFAULT_BATCH),
            false => (1, FIRST_LINES),
        };
        if self.part.set_aside >= most {
            self.tally.passed_over += 1;
            return Ok(());
        }
        self.bytes += body.len();
        self.batch.push(Message {
            body: body.into(),
            origin: ORIGIN.into(),
        });
        if self.batch.len() >= at_once || self.bytes >= DEFAULT_BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.tally.lines += self.batch.len() as u64;
        self.bytes = 0;
        let taken = self.intake.take(std::mem::take(&mut self.batch)).await?;
        self.tally.stored += taken.stored as u64;
        self.tally.erased += self.intake.erased() as u64;
        self.tally.repeated += taken.repeated as u64;
        for (reason, count) in &taken.quarantined {
            *self.tally.quarantined.entry(reason.code()).or_default() += *count as u64;
        }
        let set_aside = can_wait(&taken);
        self.part.set_aside += set_aside;
        self.set_aside += set_aside;
        self.note_touched();
        Ok(())
    }

    /// Ends a device's part, where there is one: with the number of lines that it should have, if
    /// the file goes that far.
    async fn end_part(&mut self, said: Option<u64>) -> Result<(), Stop> {
        self.flush().await?;
        let part = std::mem::take(&mut self.part);
        let Some(head) = part.head else {
            if said.is_some() {
                // Its head is missing: so may be whatever stood between.
                self.tally.is_whole = Some(false);
            }
            return Ok(());
        };
        let is_whole = said == Some(part.lines);
        self.tally.is_whole = Some(is_whole && self.tally.is_whole != Some(false));
        // Now that the epoch is known. One that does not count says nothing that is missed.
        let told = self.intake.take_tails(&[head.tail().into()]).await?;
        self.tally.tails_refused += told.quarantined.values().sum::<usize>() as u64;
        self.note_touched();
        Ok(())
    }

    fn note_touched(&mut self) {
        let mut touched = self.intake.touched();
        let events = touched.events.remove(ORIGIN).unwrap_or_default();
        for (chain, asked) in events.into_iter().chain(touched.tails) {
            if self.chains.len() < MAX_CHAINS || self.chains.contains_key(&chain) {
                let known = self.chains.entry(chain).or_default();
                *known = (*known).max(asked);
            }
        }
    }

    async fn write_receipts(
        &mut self,
        file: &mut PartFile,
        key: &DeviceKey,
    ) -> Result<usize, Failure> {
        file.write(receipts_head().as_bytes())?;
        let mut count = 0;
        while !self.chains.is_empty() {
            let mut some = Chains::new();
            while let Some((chain, asked)) = self.chains.pop_first() {
                some.insert(chain, asked);
                if some.len() == RECEIPTS_AT_ONCE {
                    break;
                }
            }
            for receipt in self.intake.receipts(&some).await? {
                let message = receipt.sign(key);
                let message = message.map_err(|error| Failure::new(error.to_string()))?;
                let line = receipt_line(receipt.device.as_str(), &message);
                file.write(line.as_bytes())?;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// What was set aside and may be taken when the file comes again, or will never be.
fn can_wait(taken: &Taken) -> usize {
    let reasons = [
        Reason::Unreadable,
        Reason::UnknownDevice,
        Reason::UnknownKey,
    ];
    let counts = reasons.iter().filter_map(|it| taken.quarantined.get(it));
    counts.sum()
}

fn no_export(path: &Path) -> Failure {
    let hint = "`edge-outbox export FILE` writes one, on the device".to_owned();
    Failure::new(format!("{} is no export", path.display())).hint(hint)
}

fn tell(report: &Report, receipts: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let mut output = Output::open();
    if as_json {
        return print_json(&mut output, report);
    }
    for tally in &report.files {
        let mut said = format!("{}: {} stored", tally.file, count(tally.stored, "event"));
        if tally.erased > 0 {
            said += &format!(" ({} without the personal part)", tally.erased);
        }
        said += &format!(", {} known already", tally.repeated);
        writeln!(output, "{said}")?;
        for (reason, count) in &tally.quarantined {
            let aside = format!("  {count} set aside: {reason}");
            writeln!(output, "{}", output.tone(Tone::Bad, &aside))?;
        }
        if tally.passed_over > 0 {
            let over = format!("  {} passed over after these", tally.passed_over);
            writeln!(output, "{}", output.tone(Tone::Bad, &over))?;
        }
        if tally.tails_refused > 0 {
            let refused = count(tally.tails_refused, "head");
            let refused = format!("  {refused} without proof of how far the journal went");
            writeln!(output, "{}", output.tone(Tone::Bad, &refused))?;
        }
        if tally.is_whole == Some(false) {
            let cut = "  cut off: not all that was exported is in it";
            writeln!(output, "{}", output.tone(Tone::Bad, cut))?;
        }
    }
    if let Some(path) = receipts {
        let receipts = count(report.receipts as u64, "receipt");
        let path = path.display();
        writeln!(
            output,
            "{receipts} in {path}; on the device: `edge-outbox receipts {path}`"
        )?;
    }
    Ok(())
}

/// Fails where something of it was not taken.
fn judge(report: &Report) -> Result<(), Failure> {
    let files = &report.files;
    let aside: u64 = files.iter().flat_map(|it| it.quarantined.values()).sum();
    let over: u64 = files.iter().map(|it| it.passed_over).sum();
    let mut failure: Option<Failure> = None;
    let mut add = |one| failure = Some(joined(failure.take(), one));
    if aside > 0 || over > 0 {
        let hint = "`edge-outbox hub quarantine list` shows what was set aside; register devices with \
                    `edge-outbox hub devices add`, and import the file again";
        let message = format!("{} not taken", count(aside + over, "line"));
        add(Failure::new(message).hint(hint.to_owned()));
    }
    if files.iter().any(|it| it.tails_refused > 0) {
        let hint = "a head was altered, or its key does not speak for the device here; what the events \
                    prove is taken: export again on the device";
        let message = "how far a journal went is not proven";
        add(Failure::new(message).hint(hint.to_owned()));
    }
    if files.iter().any(|it| it.is_whole == Some(false)) {
        let hint = "what it holds whole is taken; export again on the device".to_owned();
        add(Failure::new("a file is cut off").hint(hint));
    }
    failure.map_or(Ok(()), Err)
}
