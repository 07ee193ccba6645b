//! `demo`: a classroom that loses its network, with nothing installed.

mod picture;
mod table;

use std::{
    io::{self, Write as _},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use self::picture::Picture;
use super::{
    Failure,
    output::{Output, Tone, count},
};
use crate::{
    config::parse_span,
    daemon::Signals,
    demo::{self, Balance, DemoError, KioskError, MAX_CUT, MAX_EVENTS, MAX_KIOSKS, Options},
};

/// Threads that carry the line, the broker and the listener.
const WORKERS: usize = 2;

/// Show a classroom of kiosks that loses its network, and that nothing is lost
///
/// Each kiosk is a process with a journal of its own, in a temporary directory. They publish over
/// TCP to an MQTT broker in this process. The line in between carries no answers for a moment, and
/// then nothing at all for a while; two kiosks are killed (SIGKILL) and started again, one while
/// the network is gone and one while it sends. In the end, what the kiosks were told is durable is
/// compared with what a subscriber received and verified.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many kiosks
    #[arg(long, value_name = "NUMBER", default_value_t = 8,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_KIOSKS)))]
    kiosks: u8,
    /// How many events each of them takes
    #[arg(long, value_name = "NUMBER", default_value_t = 400,
          value_parser = clap::value_parser!(u64).range(1..=MAX_EVENTS))]
    events: u64,
    /// How long the network is gone, such as `6 s`; at most a minute
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = parse_cut)]
    cut: Duration,
    /// What pupils do and which kiosks lose power follows from it
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Leave one event that arrives out of the books: shows that a loss is found
    #[arg(long, hide = true)]
    lose_one: bool,
}

/// Be a kiosk of the demo: events until standard input ends, reports on standard output
#[derive(Debug, clap::Args)]
pub(super) struct KioskArgs {
    /// What to do, as JSON
    task: demo::Task,
}

fn parse_cut(text: &str) -> Result<Duration, String> {
    let cut = parse_span(text)?;
    if cut > MAX_CUT {
        return Err(format!("longer than {} s", MAX_CUT.as_secs()));
    }
    Ok(cut)
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let options = Options {
        kiosks: args.kiosks,
        events: args.events,
        cut: args.cut,
        seed: args.seed,
        lose_one: args.lose_one,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build();
    let runtime = runtime.map_err(DemoError::System)?;
    let mut picture = Picture::new(Output::open(), options);
    let ending = runtime.block_on(async {
        let mut signals = Signals::of_terminal().map_err(DemoError::System)?;
        demo::play(options, |news| picture.show(&news), signals.next()).await
    });
    runtime.shutdown_background();
    let mut output = picture.close(ending.is_ok());
    let ending = ending?;
    let total = table::show(&mut output, &ending.balances)?;
    judge(&mut output, total, ending.complaints)
}

/// Says how it ended.
fn judge(output: &mut Output, total: Balance, complaints: Vec<String>) -> Result<(), Failure> {
    let mut failures: Vec<_> = complaints.into_iter().map(Failure::new).collect();
    if total.lost > 0 {
        let lost = count(total.lost, "event");
        let verb = if total.lost == 1 { "was" } else { "were" };
        let lost = Failure::new(format!("{lost} {verb} durable and did not arrive"));
        failures.insert(0, lost);
    }
    let unverified = total.delivered - total.verified.min(total.delivered);
    if unverified > 0 {
        let unverified = count(unverified, "event");
        failures.push(Failure::new(format!(
            "{unverified} arrived and did not verify"
        )));
    }
    if let Some(failure) = failures.into_iter().reduce(Failure::and) {
        return Err(failure);
    }
    let verdict = output.tone(Tone::Good, "nothing was lost");
    let repeats = match total.repeated {
        0 => "none came twice".to_owned(),
        1 => "1 repeat, marked".to_owned(),
        repeats => format!("{repeats} repeats, each marked"),
    };
    writeln!(
        output,
        "{verdict}: every event arrived and verified; {repeats}"
    )?;
    Ok(())
}

/// Is a kiosk until standard input ends: so no kiosk outlives its classroom.
pub(super) async fn run_kiosk(args: KioskArgs) -> Result<(), Failure> {
    let (stop, stopped) = oneshot::channel::<()>();
    thread::spawn(move || {
        // Nothing is ever written to it; how it ends does not matter.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        drop(stop);
    });
    let mut reports = Output::open();
    demo::run_kiosk(args.task, &mut reports, async { drop(stopped.await) }).await?;
    Ok(())
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Told(error) => error.into(),
            DemoError::SetUp { source, .. } => source.into(),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<KioskError> for Failure {
    fn from(error: KioskError) -> Self {
        match error {
            KioskError::Open(error) => error.into(),
            KioskError::Report(error) => error.into(),
            error => Self::new(error.to_string()),
        }
    }
}
