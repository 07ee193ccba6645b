//! The demo as it happens: a bar for each kiosk on a terminal, plain lines anywhere else.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    cli::output::{Output, Tone, count},
    demo::{Act, Doing, News, Options, Standing},
};

/// How wide a bar is, in characters.
const BAR_WIDTH: u64 = 32;
/// How often bars are drawn, a second.
const DRAWN_PER_SECOND: u8 = 10;

/// What is seen of the demo.
pub(super) struct Picture {
    output: Output,
    options: Options,
    began: Instant,
    form: Form,
}

enum Form {
    /// One bar for each kiosk, below what was said.
    Bars {
        screen: MultiProgress,
        bars: Vec<ProgressBar>,
    },
    /// A line a second at most, and when something happens.
    Lines { next: Instant },
}

impl Picture {
    pub(super) fn new(output: Output, options: Options) -> Self {
        let began = Instant::now();
        let form = if output.for_people {
            let target = ProgressDrawTarget::stdout_with_hz(DRAWN_PER_SECOND);
            let screen = MultiProgress::with_draw_target(target);
            let style = ProgressStyle::with_template("{wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bars = (0..options.kiosks)
                .map(|_| screen.add(ProgressBar::new(options.events).with_style(style.clone())));
            let bars = bars.collect();
            Form::Bars { screen, bars }
        } else {
            Form::Lines {
                next: began + Duration::from_secs(1),
            }
        };
        Self {
            output,
            options,
            began,
            form,
        }
    }

    /// Shows what happens.
    pub(super) fn show(&mut self, news: &News<'_>) -> io::Result<()> {
        match news {
            News::Act(act) => {
                let said = self.act(*act);
                self.say(&said)
            }
            News::PowerLost { device, pending } => {
                let lost = self
                    .output
                    .tone(Tone::Bad, &format!("{device} loses power"));
                let pending = count(*pending, "event");
                self.say(&format!("   {lost} (SIGKILL) with {pending} pending"))
            }
            News::PowerBack { device, held, took } => {
                let back = self.output.tone(Tone::Good, &format!("{device} has power"));
                let took = took.as_secs_f64() * 1e3;
                self.say(&format!(
                    "   {back} again: journal open in {took:.0} ms, {} to send",
                    count(*held, "event")
                ))
            }
            News::Standings(standings) => self.draw(standings),
        }
    }

    fn act(&self, act: Act) -> String {
        let kiosks = count(self.options.kiosks.into(), "kiosk");
        let (number, tone, title, text) = match act {
            Act::Online => (
                1,
                Tone::Good,
                "Online",
                format!("{kiosks} publish to the school's MQTT broker"),
            ),
            Act::Offline => (
                2,
                Tone::Bad,
                "The network is gone",
                "they go on, each event durable in a journal".into(),
            ),
            Act::Back => (
                3,
                Tone::Good,
                "The network is back",
                "what is pending is sent, from where it stopped".into(),
            ),
        };
        format!("{number}. {}: {text}", self.output.tone(tone, title))
    }

    /// A line that stays.
    fn say(&mut self, text: &str) -> io::Result<()> {
        let output = &mut self.output;
        match &self.form {
            Form::Bars { screen, .. } => screen.suspend(|| writeln!(output, "{text}")),
            Form::Lines { .. } => writeln!(output, "{text}"),
        }
    }

    fn draw(&mut self, standings: &[Standing<'_>]) -> io::Result<()> {
        let Self {
            output,
            began,
            form,
            ..
        } = self;
        match form {
            Form::Bars { bars, .. } => {
                for (bar, standing) in bars.iter().zip(standings) {
                    bar.set_message(row(output, standing));
                }
                Ok(())
            }
            Form::Lines { next } if Instant::now() >= *next => {
                // Never two lines in one second, however late the first was.
                let seconds = began.elapsed().as_secs();
                *next = *began + Duration::from_secs(seconds + 1);
                let sum = |of: fn(&Standing<'_>) -> u64| standings.iter().map(of).sum::<u64>();
                writeln!(
                    output,
                    "   {:>2} s  {} appended, {} delivered, {} pending",
                    seconds,
                    sum(|standing| standing.appended),
                    sum(|standing| standing.delivered),
                    sum(|standing| standing.pending()),
                )
            }
            Form::Lines { .. } => Ok(()),
        }
    }

    /// Ends it: takes the bars away where it was played to its end, and leaves them as they are
    /// where it was not. A terminal that has echoed Ctrl-C is not where the bars would be cleared.
    pub(super) fn close(mut self, to_the_end: bool) -> Output {
        match &self.form {
            Form::Bars { screen, bars } if to_the_end => {
                for bar in bars {
                    bar.finish_and_clear();
                }
                // A terminal that is gone has nothing to be cleared.
                drop(screen.clear());
            }
            Form::Bars { screen, .. } => {
                screen.set_draw_target(ProgressDrawTarget::hidden());
                drop(writeln!(self.output));
            }
            Form::Lines { .. } => {}
        }
        self.output
    }
}

/// A kiosk: what has arrived, what is pending, what is still to come.
fn row(output: &Output, standing: &Standing<'_>) -> String {
    let (tone, doing) = match standing.doing {
        Doing::NoPower => (Tone::Bad, "no power"),
        Doing::Offline => (Tone::Watch, "no network"),
        Doing::Sending => (Tone::Watch, "sending"),
        Doing::CaughtUp => (Tone::Good, "online"),
        Doing::Done => (Tone::Good, "done"),
    };
    let width = |events: u64| {
        let width = events.saturating_mul(BAR_WIDTH) / standing.events.max(1);
        usize::try_from(width.min(BAR_WIDTH)).unwrap_or_default()
    };
    let arrived = width(standing.delivered);
    let pending = width(standing.appended).saturating_sub(arrived);
    let to_come = width(standing.events).saturating_sub(arrived + pending);
    format!(
        "{:9} {}{}{}  {:>4} pending  {}",
        standing.device.as_str(),
        output.tone(Tone::Good, &"█".repeat(arrived)),
        output.tone(Tone::Watch, &"▒".repeat(pending)),
        output.tone(Tone::Quiet, &"·".repeat(to_come)),
        standing.pending(),
        output.tone(tone, doing),
    )
}
