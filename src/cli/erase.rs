//! `erase`: what is personal of one person leaves the journal, and the journal's file.

use std::io::Write as _;

use uuid::Uuid;

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, count},
};
use crate::{config::Config, outbox::Erased};

/// Erase a person from the journal
///
/// Aggregate, subject person, payload and salt of every event held that has this id as its
/// aggregate or subject are erased, and overwritten in the journal's file. The events keep their
/// places, digests and signatures, and the loss ledger names them. It takes a while where the
/// journal is large; what was begun is completed by the next start if it is cut off.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The person: a UUID
    #[arg(long, value_name = "UUID")]
    id: Uuid,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let erased = match Access::find(config, Absent::Refuse, Purpose::Inspect).await? {
        Access::Daemon(mut client) => client.erase(args.id).await?,
        Access::Journal(outbox) => {
            let erased = outbox.erase(args.id).await;
            outbox.close().await;
            erased?
        }
    };
    let mut output = Output::open();
    if args.json {
        let json = serde_json::to_string_pretty(&erased);
        let json = json.map_err(|error| Failure::new(error.to_string()))?;
        return Ok(writeln!(output, "{json}")?);
    }
    Ok(writeln!(output, "{}", told(&erased))?)
}

fn told(erased: &Erased) -> String {
    let told = match erased.events {
        0 => "the journal holds nothing of this person".to_owned(),
        events => format!(
            "erased {}; what was sent before is out of reach",
            count(events, "event")
        ),
    };
    match erased.unsearched {
        0 => told,
        damaged => format!(
            "{told}; {} could not be searched: `edge-outbox recover` mends the journal, then erase again",
            count(damaged, "damaged group")
        ),
    }
}
