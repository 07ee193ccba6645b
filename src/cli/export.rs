//! `export`: events into a file that somebody carries to the hub.

use std::{io::Write as _, path::PathBuf};

use super::{
    Failure,
    access::{Absent, Access, Purpose},
    output::{Output, count},
    part_file::PartFile,
};
use crate::{
    carry::{export_end, export_head, seq_in},
    config::Config,
    forwarder::{Carried, set_out},
    seq::Seq,
    status::{SinkState, Status},
};

/// Write events to a file, for somebody to carry to the hub: `edge-outbox hub import FILE` there
///
/// From the first event that the hub has not confirmed, where a sink of type `carried` is
/// configured, else all that is held. The journal keeps what was exported until receipts say that
/// the hub has it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; `-` is standard output
    file: PathBuf,
    /// Begin with this event instead
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Begin with the first event that this sink has not confirmed
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    sink: Option<String>,
    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let mut access = Access::find(config, Absent::Refuse, Purpose::Work).await?;
    let status = access.status().await?;
    if let (Access::Daemon(_), Some(spec)) = (&access, &config.carried) {
        let sink = status.sinks.get(&spec.name);
        if sink.is_none_or(|sink| sink.state != SinkState::ByHand) {
            let message = format!("the daemon does not have sinks.{} yet", spec.name);
            return Err(Failure::new(message).hint("restart the daemon".to_owned()));
        }
    }
    let mut file = PartFile::create(&args.file, args.force)?;
    // Held until all is written: nobody takes back meanwhile what may leave now.
    let mut place = None;
    let outgoing = match &mut access {
        Access::Daemon(client) => client.set_out().await?,
        Access::Journal(outbox) => {
            if let Some(spec) = &config.carried {
                let opened = Carried::open(outbox, spec.clone()).await;
                place = Some(opened.map_err(|error| Failure::new(error.to_string()))?);
            }
            set_out(outbox, place.as_ref()).await?
        }
    };
    let from = match (args.from, &args.sink) {
        (Some(seq), _) => Seq::new(seq),
        (None, Some(sink)) => confirmed_by(sink, &status)?.next(),
        (None, None) => outgoing.from,
    };
    let head = export_head(&status.device, &status.public_key, &outgoing.tail);
    file.write(head.as_bytes())?;
    let (mut events, mut ends) = (0, None);
    let mut lines = access.lines(from, false).await?;
    'all: while let Some(chunk) = lines.next().await? {
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let seq = seq_in(line).ok_or_else(|| Failure::new("an event came without its seq"))?;
            if seq > outgoing.upto.get() {
                break 'all;
            }
            file.write(line)?;
            events += 1;
            ends = Some((ends.map_or(seq, |(first, _)| first), seq));
        }
    }
    file.write(export_end(events).as_bytes())?;
    let is_stdout = file.is_stdout();
    file.finish()?;
    drop(place);
    if is_stdout {
        return Ok(());
    }
    let mut output = Output::open();
    let range = ends.map_or_else(String::new, |(first, last)| {
        format!(", seq {first} to {last}")
    });
    let name = args.file.display();
    writeln!(
        output,
        "{}{range}, written to {name}",
        count(events, "event")
    )?;
    let next = match events {
        0 => "nothing waits to be carried; the file tells the hub just that".to_owned(),
        _ => format!(
            "at the hub: `edge-outbox hub import --receipts RECEIPTS {name}`; \
             then here: `edge-outbox receipts RECEIPTS`"
        ),
    };
    Ok(writeln!(output, "{next}")?)
}

/// Up to where a sink has everything, for good.
fn confirmed_by(name: &str, status: &Status) -> Result<Seq, Failure> {
    let Some(sink) = status.sinks.get(name) else {
        let hint = "`edge-outbox sinks list` shows them".to_owned();
        return Err(Failure::usage(format!("there is no sink {name:?}")).hint(hint));
    };
    let by_hub = sink.hub.as_ref().filter(|hub| hub.confirms);
    Ok(by_hub.map_or(sink.acked, |hub| hub.confirmed))
}
