//! `hub devices`: who may speak.

use std::{
    fs,
    io::{Read as _, Write as _, stdin},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde::Deserialize;

use super::{Failure, HubConfig, Output, Tone, count, operator, print_json};
use crate::{
    envelope::{DeviceName, Epoch},
    hub::{DeviceKeyRow, Revocation},
    seq::Seq,
    signing::{KeyId, PublicKey},
};

/// The largest file of devices, in bytes: some 300,000 of them.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(after_help = super::super::EXIT_CODES)]
    /// Register a device, or another key of one
    Add {
        /// Its name
        device: DeviceName,
        /// Its public key, as `edge-outbox identity` shows it
        public_key: PublicKey,
    },
    #[command(after_help = super::super::EXIT_CODES)]
    /// Register many: one line for each, as `edge-outbox identity --json` prints it
    Import {
        /// The file; `-` is standard input
        file: PathBuf,
    },
    #[command(after_help = super::super::EXIT_CODES)]
    /// Show every device with its keys
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    #[command(after_help = super::super::EXIT_CODES)]
    /// Take no more from a key, or nothing beyond a place
    ///
    /// What is stored stays. What lies up to the place, and in the epochs before it, is still taken.
    Revoke {
        /// The device
        device: DeviceName,
        /// The key's id, as `hub devices list` shows it
        key_id: KeyId,
        /// The last epoch and seq that the key is good for
        #[arg(long, value_name = "EPOCH:SEQ", value_parser = place)]
        good_upto: Option<(Epoch, Seq)>,
    },
}

/// A line of a file of devices; what else it has is passed over.
#[derive(Deserialize)]
struct Line {
    device: DeviceName,
    public_key: PublicKey,
}

fn place(text: &str) -> Result<(Epoch, Seq), String> {
    let read = || {
        let (epoch, seq) = text.split_once(':')?;
        let epoch = Epoch::from_uuid(epoch.parse().ok()?);
        Some((epoch, Seq::new(seq.parse().ok()?)))
    };
    read().ok_or_else(|| "not an epoch and a seq, such as 0b2e…:17".into())
}

pub(super) async fn run(args: Args, config: &HubConfig) -> Result<(), Failure> {
    match args.action {
        Action::Add { device, public_key } => add(&[(device, public_key)], config).await,
        Action::Import { file } => add(&read(&file)?, config).await,
        Action::List { json } => list(json, config).await,
        Action::Revoke {
            device,
            key_id,
            good_upto,
        } => {
            let mut operator = operator(config).await?;
            let name = device.as_str();
            let (what, hint) = match operator.revoke(&device, &key_id, good_upto).await? {
                Revocation::Done => (None, ""),
                Revocation::NoSuchKey => (
                    Some(format!("key {key_id}")),
                    "`edge-outbox hub devices list` shows its keys",
                ),
                Revocation::NoSuchEpoch => (
                    good_upto.map(|(epoch, _)| format!("epoch {epoch}")),
                    "`edge-outbox hub report` shows its epochs; nothing was revoked",
                ),
            };
            if let Some(what) = what {
                let failure = Failure::new(format!("device {name} has no {what}"));
                return Err(failure.hint(Some(hint.into())));
            }
            let mut output = Output::open();
            let upto = match good_upto {
                None => "nothing more is taken from it".to_owned(),
                Some((epoch, seq)) => format!("good up to seq {seq} of epoch {epoch}"),
            };
            Ok(writeln!(
                output,
                "{}: {key_id} is revoked, {upto}",
                device.as_str()
            )?)
        }
    }
}

async fn add(devices: &[(DeviceName, PublicKey)], config: &HubConfig) -> Result<(), Failure> {
    let new = operator(config).await?.add(devices).await?;
    let known = devices.len() - new;
    let mut output = Output::open();
    let known = match known {
        0 => String::new(),
        known => format!(", {known} known already"),
    };
    let new = count(new as u64, "key");
    writeln!(
        output,
        "{new} added{known}; a running hub takes what waited for it within 15 s"
    )?;
    Ok(())
}

fn read(file: &Path) -> Result<Vec<(DeviceName, PublicKey)>, Failure> {
    let mut text = String::new();
    let done = match file.as_os_str() == "-" {
        true => stdin().take(MAX_FILE_BYTES).read_to_string(&mut text),
        false => {
            fs::File::open(file).and_then(|it| it.take(MAX_FILE_BYTES).read_to_string(&mut text))
        }
    };
    done.map_err(|error| Failure::new(format!("reading {} failed: {error}", file.display())))?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let devices = lines.map(|(number, line)| {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            let place = format!("{} line {}", file.display(), number + 1);
            Failure::new(format!("{place}: {error}")).hint(Some(
                "write each line as `edge-outbox identity --json` prints it; nothing was added"
                    .into(),
            ))
        })?;
        Ok((line.device, line.public_key))
    });
    devices.collect()
}

async fn list(json: bool, config: &HubConfig) -> Result<(), Failure> {
    let devices = operator(config).await?.devices().await?;
    let mut output = Output::open();
    if json {
        return print_json(&mut output, &devices);
    }
    if devices.is_empty() && output.for_people {
        return Ok(writeln!(
            output,
            "{}",
            output.tone(Tone::Watch, "there are no devices")
        )?);
    }
    let names = devices.iter().map(|it| it.device.len()).max().unwrap_or(0);
    for device in &devices {
        let name = &device.device;
        for key in &device.keys {
            let state = state(&output, key);
            writeln!(
                output,
                "{name:names$}  {}  {:9}  {state}",
                key.key_id, key.added_by
            )?;
        }
        if device.keys.is_empty() {
            writeln!(
                output,
                "{name:names$}  {}",
                output.tone(Tone::Bad, "no key")
            )?;
        }
    }
    Ok(())
}

fn state(output: &Output, key: &DeviceKeyRow) -> String {
    match (&key.revoked_at, &key.good_upto, key.retired) {
        (Some(at), Some(upto), _) => {
            output.tone(Tone::Bad, &format!("revoked at {at}, good up to {upto}"))
        }
        (Some(at), None, _) => output.tone(Tone::Bad, &format!("revoked at {at}")),
        (None, _, true) => output.tone(Tone::Quiet, "retired by another key"),
        (None, ..) => output.tone(Tone::Good, "in use"),
    }
}
