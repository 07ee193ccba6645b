//! What the command line says.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::peer::{BARE, KINDS};

/// What can be measured.
const MEASURES: [&str; 4] = ["append", "outage", "wear", "loss"];

pub const HELP: &str = "\
edge-outbox beside what a device would have otherwise, as tables in Markdown.

    cargo build --release
    cargo build --profile dist-fast --target x86_64-unknown-linux-musl
    cargo run --release --manifest-path benches/Cargo.toml --bin peers [-- OPTIONS]

    --only NAME,…      these peers (--list names them all)
    --measure NAME,…   append, outage, wear, loss; all of them unless told
    --rounds N         rounds of append (5)
    --long-rounds N    rounds of outage, wear and loss (3)
    --events N         events that are pending after an outage (1000000)
    --bytes N,…        bytes of payload (256,1024)
    --program PATH     the program (target/release/edge-outbox)
    --packaged PATH    the same as it is packaged for a PC
                       (target/x86_64-unknown-linux-musl/dist-fast/edge-outbox)
    --dir PATH         where everything is written (the directory for temporary files)
    --quick            small numbers, to see that everything works
    --list             the peers, and nothing else

Wear and loss need root, for a file system of their own.
";

/// All of it.
#[derive(Clone)]
pub struct Options {
    pub only: Vec<String>,
    pub measure: Vec<String>,
    pub rounds: usize,
    pub long_rounds: usize,
    /// Pending after an outage.
    pub events: u64,
    pub bytes: Vec<usize>,
    pub program: PathBuf,
    pub packaged: PathBuf,
    pub dir: PathBuf,
    /// Of each figure of appends.
    pub time: Duration,
    /// Seconds with one event each.
    pub paced: u64,
    /// Written at full speed.
    pub written: u64,
    /// Producers at work before a kill or a cut.
    pub before_cut: Duration,
    /// Rest before memory is read.
    pub settle: Duration,
    /// A drain that takes longer is given up.
    pub limit: Duration,
    /// All should be there, and nothing comes for so long: nothing will.
    pub quiet: Duration,
    /// The same where some are missing: longer than any peer pauses. A leaf node's hub asks for what it
    /// missed after 40 s, a bridge as it comes tries to connect every 5 to 30 s, edge-outbox every 30 s at
    /// most, and a relay asks its table every second.
    pub patience: Duration,
    /// Only to see that everything works: what is slow may run at once.
    pub quick: bool,
}

impl Options {
    fn default() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        Self {
            only: Vec::new(),
            measure: Vec::new(),
            rounds: 5,
            long_rounds: 3,
            events: 1_000_000,
            bytes: vec![256, 1024],
            program: target.join("release/edge-outbox"),
            packaged: target.join("x86_64-unknown-linux-musl/dist-fast/edge-outbox"),
            dir: std::env::temp_dir(),
            time: Duration::from_secs(3),
            paced: 60,
            written: 100_000,
            before_cut: Duration::from_secs(3),
            settle: Duration::from_secs(3),
            limit: Duration::from_secs(300),
            quiet: Duration::from_secs(5),
            patience: Duration::from_secs(90),
            quick: false,
        }
    }

    /// As the arguments say; `None` where they want nothing measured.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--only" => {
                    let peers = KINDS.iter().map(|kind| kind.name);
                    options.only = names(&value()?, peers.chain(BARE.iter().map(|it| it.0)))?;
                }
                "--measure" => options.measure = names(&value()?, MEASURES.into_iter())?,
                "--rounds" => options.rounds = number(&value()?)?,
                "--long-rounds" => options.long_rounds = number(&value()?)?,
                "--events" => options.events = number(&value()?)?,
                "--bytes" => {
                    let sizes = list(&value()?);
                    let sizes: Result<_, _> = sizes.iter().map(|size| number(size)).collect();
                    options.bytes = sizes?;
                }
                "--program" => options.program = value()?.into(),
                "--packaged" => options.packaged = value()?.into(),
                "--dir" => options.dir = value()?.into(),
                "--quick" => options.hurry(),
                "--list" | "--help" => return Ok(None),
                _ => return Err(format!("no such option: {argument}")),
            }
        }
        Ok(Some(options))
    }

    fn hurry(&mut self) {
        self.rounds = 1;
        self.long_rounds = 1;
        self.events = 5_000;
        self.bytes = vec![256];
        self.time = Duration::from_millis(150);
        self.paced = 2;
        self.written = 2_000;
        self.before_cut = Duration::from_millis(500);
        self.settle = Duration::from_millis(300);
        self.limit = Duration::from_secs(60);
        self.patience = Duration::from_secs(50);
        self.quick = true;
        self.quiet = Duration::from_secs(1);
    }

    /// How many may be at work at once where it would be so many.
    pub fn at_once(&self, usual: usize) -> usize {
        if self.quick { usize::MAX } else { usual }
    }

    /// Whether this one is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Whether this is to be measured.
    pub fn measures(&self, name: &str) -> bool {
        self.measure.is_empty() || self.measure.iter().any(|measure| measure == name)
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(Into::into).collect()
}

/// A list of names that there are.
fn names<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let known: Vec<_> = known.collect();
    let names = list(text);
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!(
            "no such name: {name}; there are {}",
            known.join(", ")
        )),
        None => Ok(names),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}
