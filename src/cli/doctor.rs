//! `doctor`: everything that has to be right, looked at one by one.

use std::{io::Write as _, time::Duration};

use tokio::time::timeout;

use super::{
    Failure, access,
    output::{Output, Tone, count},
};
use crate::{
    config::{Config, ConfigError},
    doctor::{self, Daemon, Orders},
    finding::{Check, Finding, Verdict},
};

/// Shown below its help.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 nothing failed (there may be warnings), 1 failure of the command itself, 2 wrong \
     usage, 3 at least one check failed";

/// How long a daemon may take to say how it is.
const DAEMON_LIMIT: Duration = Duration::from_secs(5);
/// The width of a line for people.
const COLUMNS: usize = 80;
/// The width of an id, and of the verdict before it.
const ID_COLUMNS: usize = 17;
const TEXT_COLUMN: usize = 4 + 2 + ID_COLUMNS + 2;

/// Look at everything that has to be right, and say what to do about what is not
///
/// Configuration, key, disk, clock and daemon; then each sink step by step: name, port, encryption,
/// login, and what it takes to deliver. Changes nothing, and works while the daemon runs. A line for
/// each check: ok, warn or fail, and what to do; docs/doctor.md says more about each.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Look at this sink alone
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Send each sink of type nats or mqtt one message that is marked as a probe, to see whether it
    /// may be published; it is no event, and no stream stores it
    #[arg(long)]
    probe: bool,
    /// As JSON: an array of the findings
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    args: &Args,
    load: impl FnOnce() -> Result<Config, ConfigError>,
) -> Result<(), Failure> {
    let mut page = Page::open(args.json);
    match load() {
        Ok(config) => {
            let orders = Orders {
                sink: args.sink.as_deref(),
                probe: args.probe,
            };
            check_name(&config, orders.sink)?;
            let daemon = ask_daemon(&config).await;
            doctor::examine(&config, &daemon, orders, |finding| page.take(finding)).await;
        }
        Err(error) => doctor::misconfigured(error)
            .into_iter()
            .for_each(|finding| page.take(finding)),
    }
    page.finish()
}

fn check_name(config: &Config, name: Option<&str>) -> Result<(), Failure> {
    let names: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    match name.filter(|name| !names.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let hint = format!("the configuration has: {}", names.join(", "));
            Err(Failure::usage(format!("no sink {name:?} is configured")).hint(hint))
        }
    }
}

async fn ask_daemon(config: &Config) -> Daemon {
    let asked = async {
        match access::daemon(config).await? {
            Some(mut client) => Ok(Some(client.status().await?)),
            None => Ok(None),
        }
    };
    let silent = |message: String, hint: Option<String>| {
        let hint = hint.unwrap_or_else(|| "see its log: `journalctl -u edge-outbox`".into());
        Daemon::Silent(Box::new(Finding::fail(Check::Daemon, message, hint)))
    };
    match timeout(DAEMON_LIMIT, asked).await {
        Ok(Ok(Some(status))) => Daemon::Runs(Box::new(status)),
        Ok(Ok(None)) => Daemon::Absent,
        Ok(Err(failure)) => {
            let failure: Failure = failure;
            let (message, hint) = failure.first();
            silent(message, hint)
        }
        Err(_) => silent(
            format!("listens on its socket, and did not answer within {DAEMON_LIMIT:?}"),
            None,
        ),
    }
}

/// Where the findings go: a line each as they come, or all at once as JSON.
struct Page {
    output: Output,
    findings: Vec<Finding>,
    json: bool,
    /// Whether somebody still reads.
    written: std::io::Result<()>,
}

impl Page {
    fn open(json: bool) -> Self {
        Self {
            output: Output::open(),
            findings: Vec::new(),
            json,
            written: Ok(()),
        }
    }

    fn take(&mut self, finding: Finding) {
        if !self.json && self.written.is_ok() {
            self.written = self.show(&finding);
        }
        self.findings.push(finding);
    }

    fn show(&mut self, finding: &Finding) -> std::io::Result<()> {
        let before = self.findings.last().and_then(|last| last.sink.as_ref());
        if let Some(sink) = finding.sink.as_ref()
            && before != Some(sink)
        {
            writeln!(self.output, "sink {sink}")?;
        }
        let tone = match finding.verdict {
            Verdict::Ok => Tone::Good,
            Verdict::Warn => Tone::Watch,
            Verdict::Fail => Tone::Bad,
        };
        let verdict = self.output.tone(tone, finding.verdict.as_str());
        let padding = " ".repeat(4 - finding.verdict.as_str().len());
        let message = self.folded(&finding.message);
        let id = finding.check.id();
        writeln!(
            self.output,
            "{verdict}{padding}  {id:ID_COLUMNS$}  {message}"
        )?;
        if let Some(hint) = &finding.hint {
            let hint = self.folded(&format!("hint: {hint}"));
            writeln!(self.output, "{:TEXT_COLUMN$}{hint}", "")?;
        }
        self.output.flush()
    }

    /// For people, broken between words below the place where the text begins.
    fn folded(&self, text: &str) -> String {
        match self.output.for_people {
            true => {
                fold(text, COLUMNS - TEXT_COLUMN).join(&format!("\n{}", " ".repeat(TEXT_COLUMN)))
            }
            false => text.to_owned(),
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.written?;
        let number = |verdict| {
            let of_it = self.findings.iter().filter(|it| it.verdict == verdict);
            of_it.count() as u64
        };
        let failed = number(Verdict::Fail);
        if self.json {
            let json = serde_json::to_string_pretty(&self.findings);
            let json = json.map_err(|error| Failure::new(error.to_string()))?;
            writeln!(self.output, "{json}")?;
        } else {
            let tally = format!(
                "{failed} failed, {}, {} ok",
                count(number(Verdict::Warn), "warning"),
                number(Verdict::Ok)
            );
            writeln!(self.output, "{tally}")?;
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure::of_checks()),
        }
    }
}

/// Breaks a text between words into lines of so many characters; a longer word has a line of its
/// own. What stands in backquotes is to be copied, and stays on one line where one can hold it.
fn fold(text: &str, columns: usize) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut() {
            Some(open) if open.matches('`').count() % 2 == 1 && width(open) < columns => {
                open.push(' ');
                open.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    let mut lines: Vec<String> = Vec::new();
    let broken = words.iter().flat_map(|word| match width(word) > columns {
        true => word.split(' ').collect(),
        false => vec![word.as_str()],
    });
    for word in broken {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words_and_no_word_is_broken() {
        assert_eq!(fold("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(fold("é é é", 3), ["é é", "é"]);
        assert_eq!(fold("a https://long b", 6), ["a", "https://long", "b"]);
        assert_eq!(fold("", 6), [""]);
        assert_eq!(fold("run `a b`, c", 7), ["run", "`a b`,", "c"]);
        assert_eq!(fold("`aa bb cc`", 5), ["`aa", "bb", "cc`"]);
    }

    #[test]
    fn every_id_fits_its_column() {
        let widest = Check::ALL.iter().map(|check| check.id().len()).max();
        assert_eq!(widest, Some(ID_COLUMNS));
    }
}
