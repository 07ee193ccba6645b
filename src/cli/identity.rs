//! `identity`: who the device is, for whoever has to trust it.

use std::io::Write as _;

use serde_json::json;

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::Output,
};
use crate::config::Config;

/// Show the device's name and public key; makes them where there are none yet
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let mut access = Access::find(config, Absent::Make, Purpose::Inspect).await?;
    let status = access.status().await?;
    if let Access::Journal(outbox) = access {
        outbox.close().await;
    }
    let mut output = Output::open();
    if args.json {
        let identity = json!({
            "device": status.device,
            "key_id": status.key_id,
            "public_key": status.public_key,
            "epoch": status.epoch,
        });
        writeln!(output, "{identity}")?;
    } else {
        writeln!(output, "device      {}", status.device)?;
        writeln!(output, "public key  {}", status.public_key)?;
        writeln!(output, "key id      {}", status.key_id)?;
        writeln!(output, "epoch       {}", status.epoch)?;
    }
    Ok(())
}
