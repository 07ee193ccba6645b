//! `recover`: what can still be read of a damaged journal, in a new one.

use std::{
    env,
    io::Write as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::Command,
};

use serde_json::json;

use super::{
    Failure,
    output::{Output, Tone, count},
};
use crate::{config::Config, journal::damage, seq::SeqRange};

/// The name by which a process knows that it is the one to do it.
const CHILD: &str = "edge-outbox-recover";

/// More ranges than these are counted, not named, where people read it.
const SHOWN_RANGES: usize = 10;

/// Save what can be read of a damaged journal into a new one
///
/// Every event that still verifies is taken over as it was signed; a new epoch behind them says what
/// is gone. The damaged file is kept beside the journal. Nothing is changed where nothing is wrong.
/// No daemon may run on the directory meanwhile.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Make a new journal even where no damage is found
    #[arg(long)]
    anyway: bool,
}

/// What is damaged may end the process that looks at it. Whatever ended has left a mark, by which the
/// next one knows what to do without; so it is left to processes of its own.
pub(super) fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let is_child = env::args_os().next().is_some_and(|name| name == CHILD);
    let Some(program) = env::current_exe().ok().filter(|_| !is_child) else {
        return recover(args, config);
    };
    let mut ends = damage::ends(&config.data_dir);
    loop {
        let mut child = Command::new(&program);
        child.arg0(CHILD).args(env::args_os().skip(1));
        let Ok(ended) = child.status() else {
            return recover(args, config);
        };
        let marked = damage::ends(&config.data_dir);
        if ended.signal().is_none() || marked <= ends {
            return Failure::of_child(ended);
        }
        ends = marked;
    }
}

fn recover(args: &Args, config: &Config) -> Result<(), Failure> {
    let known = args.anyway.then(|| "asked for with --anyway".to_owned());
    let recovery = config.outbox()?.recover(&config.sink_names(), known)?;
    let mut output = Output::open();
    if args.json {
        let recovered = recovery.is_some();
        let mut answer = json!({ "recovered": recovered });
        if let (Some(recovery), Some(members)) = (&recovery, answer.as_object_mut())
            && let Ok(serde_json::Value::Object(said)) = serde_json::to_value(recovery)
        {
            members.extend(said);
        }
        return Ok(writeln!(output, "{answer}")?);
    }
    let Some(recovery) = recovery else {
        let whole = output.tone(Tone::Good, "nothing is damaged:");
        return Ok(writeln!(output, "{whole} the journal is left as it is")?);
    };
    let recovered = output.tone(Tone::Watch, "recovered:");
    let events = count(recovery.events, "event");
    match recovery.held {
        Some(held) => writeln!(output, "{recovered} {events}, {}", range(held))?,
        None => writeln!(output, "{recovered} {events}")?,
    }
    writeln!(output, "damage     {}", recovery.damage)?;
    for missing in recovery.missing.iter().take(SHOWN_RANGES) {
        let gone = output.tone(Tone::Bad, "gone");
        writeln!(output, "{gone}       {}", range(*missing))?;
    }
    if let Some(more @ 1..) = recovery.missing.len().checked_sub(SHOWN_RANGES) {
        writeln!(output, "           and {more} ranges more (--json has all)")?;
    }
    if !recovery.end_is_known {
        writeln!(
            output,
            "           whatever came after these events, if anything did"
        )?;
    }
    for table in &recovery.tables_left_behind {
        writeln!(output, "not taken  table {table:?}, which is the program's")?;
    }
    writeln!(output, "new epoch  {}", recovery.epoch)?;
    writeln!(output, "kept as    {}", recovery.kept_as.display())?;
    Ok(())
}

fn range(range: SeqRange) -> String {
    match (range.first(), range.last()) {
        (first, last) if first == last => format!("seq {first}"),
        (first, last) => format!("seq {first} to {last}"),
    }
}
