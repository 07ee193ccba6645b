//! `verify`: whether events are complete and unaltered.

mod run;

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read as _, Write as _},
};

use self::run::Run;
use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, Tone, count},
};
use crate::{
    config::{Config, ConfigError},
    envelope::{EPOCH_STARTED, Envelope, Kind, MAX_ENVELOPE_BYTES, Unverified, Verifier},
    seq::Seq,
    signing::PublicKey,
};

/// Verify the journal, or envelopes on standard input, one a line (CloudEvents in JSON, too)
///
/// Each event is checked by itself and then as a link of its device's chain, so that what is
/// missing or forked is found, too. Lines may be out of order as far as a broker may deliver them
/// so, and repeated.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Public key of a device whose envelopes are on standard input, in base64; `edge-outbox
    /// identity` shows it [may be given several times]
    #[arg(long, value_name = "KEY")]
    public_key: Vec<PublicKey>,
    /// Check each envelope by itself only: they are a selection
    #[arg(long, requires = "public_key")]
    alone: bool,
}

pub(super) async fn run(
    args: Args,
    load: &impl Fn() -> Result<Config, ConfigError>,
) -> Result<(), Failure> {
    let checked = if args.public_key.is_empty() {
        journal(&load()?).await?
    } else {
        standard_input(args)?
    };
    let mut output = Output::open();
    let verified = output.tone(Tone::Good, "verified:");
    Ok(writeln!(output, "{verified} {checked}")?)
}

/// Everything that the journal holds, under this device's key.
async fn journal(config: &Config) -> Result<String, Failure> {
    let mut access = Access::find(config, Absent::Refuse, Purpose::Inspect).await?;
    let status = access.status().await?;
    let own: PublicKey = status
        .public_key
        .parse()
        .map_err(|_| Failure::new("the daemon tells no public key; is it of another version?"))?;
    let mut verifier = Verifier::new();
    verifier.trust(own.clone());
    let mut run = Run::of_journal();
    let mut lines = access.lines(Seq::FIRST, false).await?;
    while let Some(chunk) = lines.next().await? {
        for line in chunk
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let place = || format!("after seq {}", run.end());
            let envelope = Envelope::parse(line).map_err(|error| wrong(&place(), error))?;
            // An earlier key is known from the start of its epoch. It is worth as much as the
            // chain that leads from there to an epoch of our own key: checked at the end.
            if let Some(key) = started_under(&envelope, line) {
                verifier.trust(key);
            }
            let seq = envelope.claims().seq;
            let place = format!("seq {seq}");
            let envelope = verifier
                .verify(envelope)
                .map_err(|error| wrong(&place, error))?;
            run.take(envelope).map_err(|error| wrong(&place, error))?;
        }
    }
    run.finish().map_err(Failure::new)?;
    match run.key_id() {
        Some(key_id) if key_id != own.id() => Err(Failure::new(format!(
            "the last event is signed by key {key_id}, and this device's is {}",
            own.id()
        ))),
        _ => Ok(run.text()),
    }
}

/// The key in the first event of an epoch, if that is what this is.
fn started_under(envelope: &Envelope<Unverified>, line: &[u8]) -> Option<PublicKey> {
    #[derive(serde::Deserialize)]
    struct Line {
        payload: Started,
    }
    #[derive(serde::Deserialize)]
    struct Started {
        public_key: PublicKey,
    }
    let claims = envelope.claims();
    if claims.kind != Kind::Ledger || claims.event_type != EPOCH_STARTED {
        return None;
    }
    let Line { payload } = serde_json::from_slice(line).ok()?;
    (payload.public_key.id() == claims.key_id).then_some(payload.public_key)
}

/// Envelopes of one device or several, under the keys that were given.
fn standard_input(args: Args) -> Result<String, Failure> {
    let mut verifier = Verifier::new();
    for key in args.public_key {
        verifier.trust(key);
    }
    let mut runs: HashMap<String, Run> = HashMap::new();
    let mut alone = 0;
    let mut input = BufReader::new(io::stdin());
    let mut text = Vec::new();
    for number in 1_u64.. {
        text.clear();
        let limit = MAX_ENVELOPE_BYTES as u64 + 2;
        let read = input.by_ref().take(limit).read_until(b'\n', &mut text);
        if read.map_err(|error| Failure::new(format!("reading standard input failed: {error}")))?
            == 0
        {
            break;
        }
        let line = text.trim_ascii_end();
        if line.is_empty() {
            continue;
        }
        let place = format!("line {number}");
        let envelope = Envelope::from_message(line).map_err(|error| wrong(&place, error))?;
        let envelope = verifier
            .verify(envelope)
            .map_err(|error| wrong(&place, error))?;
        if args.alone {
            alone += 1;
            continue;
        }
        let run = runs
            .entry(envelope.statement().device.to_owned())
            .or_default();
        run.take(envelope).map_err(|error| wrong(&place, error))?;
    }
    if args.alone {
        return Ok(format!("{}, each by itself", count(alone, "event")));
    }
    let mut texts = Vec::new();
    for (device, run) in runs {
        run.finish()
            .map_err(|error| Failure::new(format!("device {device}: {error}")))?;
        texts.push(format!("device {device}: {}", run.text()));
    }
    texts.sort();
    Ok(if texts.is_empty() {
        "nothing: there was no envelope".into()
    } else {
        texts.join("\n")
    })
}

fn wrong(place: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{place}: {error}"))
}
