//! `receipts`: what the hub says, brought by hand.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write as _, stdin},
    path::{Path, PathBuf},
};

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, Tone, count},
};
use crate::{
    carry::{LineReader, ReceiptLine, is_receipts, receipt_line},
    config::Config,
    forwarder::{Brought, Carried},
};

/// The longest line: a receipt in base64, with the device's name beside it.
const MAX_LINE_BYTES: usize = 2 * 1024;
/// The most receipts of one device that are taken from a file: those for as many epochs.
const MAX_RECEIPTS: usize = 4 * 1024;

/// Take in receipts that somebody brought from the hub, so that the journal can let go of what the
/// hub has
///
/// They count for the sink of type `carried`, and only if a key of `device.hub_key` signed them for
/// this device. Those of other devices are passed over.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file that `edge-outbox hub import --receipts` wrote; `-` is standard input
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let Some(spec) = &config.carried else {
        let hint = "add a section [sinks.NAME] with type = \"carried\", and restart the daemon";
        let none = "no sink of type carried is configured, so receipts would free nothing";
        return Err(Failure::usage(none).hint(hint.to_owned()));
    };
    let mut access = Access::find(config, Absent::Refuse, Purpose::Work).await?;
    let device = access.status().await?.device;
    let messages = read(&args.file, &device)?;
    let brought = match access {
        Access::Daemon(mut client) => {
            let lines = messages.iter();
            let lines: String = lines
                .map(|message| receipt_line(&device, message))
                .collect();
            client.bring(lines.into()).await?
        }
        Access::Journal(outbox) => {
            let opened = Carried::open(&outbox, spec.clone()).await;
            let place = opened.map_err(|error| Failure::new(error.to_string()))?;
            let brought = place.take(&messages).await?;
            drop(place);
            outbox.close().await;
            brought
        }
    };
    tell(&brought, args.json)
}

/// The messages in this device's lines.
fn read(path: &Path, device: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let failed = |error| Failure::new(format!("reading {} failed: {error}", path.display()));
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(stdin()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    let input: Box<dyn BufRead> = Box::new(BufReader::new(input));
    let mut lines = LineReader::new(input, MAX_LINE_BYTES);
    match lines
        .next()
        .map_err(failed)?
        .and_then(|line| is_receipts(line.text))
    {
        Some(true) => {}
        Some(false) => {
            let message = format!("{} was written by a later version", path.display());
            return Err(Failure::new(message));
        }
        None => {
            let message = format!("{} holds no receipts", path.display());
            let hint = "`edge-outbox hub import --receipts FILE` writes them, at the hub";
            return Err(Failure::new(message).hint(hint.to_owned()));
        }
    }
    let mut all = Vec::new();
    while let Some(line) = lines.next().map_err(failed)? {
        let own = ReceiptLine::parse(line.text).filter(|it| it.device == device);
        all.extend(own.and_then(|it| it.message()));
        if all.len() >= MAX_RECEIPTS {
            break;
        }
    }
    if all.is_empty() {
        let message = format!("{} holds no receipt for {device}", path.display());
        let hint = "import its export at the hub first, and see whether it is registered there";
        return Err(Failure::new(message).hint(hint.to_owned()));
    }
    Ok(all)
}

fn tell(brought: &Brought, as_json: bool) -> Result<(), Failure> {
    let mut output = Output::open();
    if as_json {
        let json = serde_json::to_string_pretty(brought);
        let json = json.map_err(|error| Failure::new(error.to_string()))?;
        writeln!(output, "{json}")?;
    } else {
        let upto = format!("the hub has everything up to seq {}", brought.confirmed);
        writeln!(output, "{}", output.tone(Tone::Good, &upto))?;
        if brought.missing > 0 {
            let missing = count(brought.missing, "event");
            let missing = format!("it misses {missing}: the next export brings them");
            writeln!(output, "{}", output.tone(Tone::Watch, &missing))?;
        }
        if brought.quarantined > 0 {
            let aside = count(brought.quarantined, "message");
            let aside = format!("it has set {aside} aside: see its quarantine");
            writeln!(output, "{}", output.tone(Tone::Watch, &aside))?;
        }
    }
    if let Some(tampering) = &brought.tampering {
        return Err(Failure::new(tampering.as_str()));
    }
    if brought.counted == 0 && brought.passed_over > 0 {
        let hint = "compare `device.hub_key` with what `edge-outbox hub key` shows; a file from before \
                    the hub's `new-life` counts no more";
        return Err(Failure::new("none of the receipts counts here").hint(hint.to_owned()));
    }
    Ok(())
}
