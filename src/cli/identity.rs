//! `identity`: who the device is, for whoever has to trust it.

mod qr;

use std::{fs, io::Write as _, path::PathBuf};

use serde_json::json;

use self::qr::Picture;
use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::Output,
};
use crate::{config::Config, status::Status};

/// Show the device's name and public key; makes them where there are none yet
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// As a QR code too, to be read from the screen
    #[arg(long, conflicts_with = "json")]
    qr: bool,
    /// Writes the QR code to this file as SVG, to be printed; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "qr"])]
    qr_svg: Option<PathBuf>,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let mut access = Access::find(config, Absent::Make, Purpose::Inspect).await?;
    let status = access.status().await?;
    if let Access::Journal(outbox) = access {
        outbox.close().await;
    }
    let mut output = Output::open();
    if let Some(path) = &args.qr_svg {
        let svg = picture(&status)?.svg(&status.device);
        if path.as_os_str() == "-" {
            return Ok(write!(output, "{svg}")?);
        }
        return fs::write(path, svg)
            .map_err(|error| Failure::new(format!("writing {} failed: {error}", path.display())));
    }
    if args.json {
        let identity = json!({
            "device": status.device,
            "key_id": status.key_id,
            "public_key": status.public_key,
            "epoch": status.epoch,
        });
        writeln!(output, "{identity}")?;
        return Ok(());
    }
    if args.qr {
        let blocks = picture(&status)?.blocks(output.has_colours());
        write!(output, "{blocks}")?;
    }
    writeln!(output, "device      {}", status.device)?;
    writeln!(output, "public key  {}", status.public_key)?;
    writeln!(output, "key id      {}", status.key_id)?;
    writeln!(output, "epoch       {}", status.epoch)?;
    Ok(())
}

/// The members of `--json` without the epoch, which ends before a printed label does.
fn picture(status: &Status) -> Result<Picture, Failure> {
    let identity = json!({
        "device": status.device,
        "key_id": status.key_id,
        "public_key": status.public_key,
    });
    Picture::of(&identity.to_string())
        .ok_or_else(|| Failure::new("the identity is too long for a QR code"))
}
