//! `[sinks.NAME]`: where events go.

#[cfg(feature = "nats")]
use super::nats::NatsConfig;
use super::{
    environment::Environment,
    problem::{Place, Problem},
    section::Section,
    value::words,
};

use crate::{
    forwarder::{DEFAULT_WINDOW, SinkSpec},
    journal::SinkName,
    sink::{Sink, stdout::StdoutSink},
};

/// The most that may be set.
const MAX_WINDOW: u32 = 16_384;

/// The variable that makes a sink where the file has none.
pub(super) const NATS_URL: &str = "NATS_URL";

/// A configured sink.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Its name.
    pub name: String,
    /// Whether it is there without being configured: from the environment or by default.
    pub implied: bool,
    /// Whether trimming waits for it.
    pub required: bool,
    /// Events that may be on their way at once.
    pub window: u32,
    /// Whether an event waits for the one before it, whatever becomes of that one.
    pub strict_order: bool,
    /// What it is.
    pub kind: SinkKind,
}

impl SinkConfig {
    /// The sink, ready to connect.
    pub(super) fn spec(&self) -> Result<SinkSpec, Problem> {
        let sink = match &self.kind {
            #[cfg(feature = "nats")]
            SinkKind::Nats(config) => Sink::Nats(config.sink()?),
            SinkKind::Stdout => Sink::Stdout(StdoutSink::new()),
        };
        Ok(SinkSpec {
            name: self.name.clone(),
            sink,
            required: self.required,
            window: self.window,
            strict_order: self.strict_order,
        })
    }
}

/// What a sink is.
#[derive(Clone, Debug)]
pub enum SinkKind {
    /// NATS.
    #[cfg(feature = "nats")]
    Nats(Box<NatsConfig>),
    /// Standard output.
    Stdout,
}

words! {
    /// The word in `type`.
    enum Type {
        Nats = "nats",
        Stdout = "stdout",
    }
}

/// Every configured sink; without one, a sink at `NATS_URL`, else standard output.
pub(super) fn read(
    root: &mut Section<'_, '_>,
    environment: &Environment,
    nats_url: Option<&str>,
) -> Result<Vec<SinkConfig>, Problem> {
    let names = root.names("sinks");
    let mut section = root.section("sinks");
    let mut sinks: Vec<SinkConfig> = Vec::new();
    for name in &names {
        let mut sink = section.section(name);
        if SinkName::new(name).is_err() {
            sink.refuse_whole("is not a sink's name", "use 1 to 64 of a-z 0-9 _ -");
        }
        if !sink.is_there() {
            continue;
        }
        if !sink.has("type") {
            sink.refuse_whole("has no type", "write type = \"nats\" or type = \"stdout\"");
        } else if let Some(kind) = sink.optional("type") {
            sinks.extend(read_one(sink, name, kind, environment)?);
        }
    }
    if names.is_empty() {
        let (name, kind) = match nats_url {
            Some(url) => {
                let place = Place::Environment(NATS_URL.into());
                section.put_before("sinks.nats.servers", place, url.to_owned());
                ("nats", Type::Nats)
            }
            None => ("stdout", Type::Stdout),
        };
        let mut sink = section.section(name);
        sink.get("type", kind);
        let sink = read_one(sink, name, kind, environment)?;
        sinks.extend(sink.map(|sink| SinkConfig {
            implied: true,
            ..sink
        }));
    }
    let mut to_stdout = sinks
        .iter()
        .filter(|sink| matches!(sink.kind, SinkKind::Stdout));
    if let (Some(first), Some(second)) = (to_stdout.next(), to_stdout.next()) {
        let message = format!("writes to standard output, as sinks.{} does", first.name);
        section
            .section(&second.name)
            .refuse_whole(&message, "remove one of the two");
    }
    section.finish();
    Ok(sinks)
}

/// None where something is wrong that leaves no sink to speak of; the problem is noted.
#[cfg_attr(
    not(feature = "nats"),
    expect(unused_variables, reason = "only nats has secrets")
)]
fn read_one(
    mut section: Section<'_, '_>,
    name: &str,
    kind: Type,
    environment: &Environment,
) -> Result<Option<SinkConfig>, Problem> {
    let required = section.get("required", kind != Type::Stdout);
    if required && kind == Type::Stdout {
        section.refuse(
            "required",
            " = true, but standard output confirms nothing that trimming could wait for",
            Some("remove the key"),
        );
    }
    let window = section.get_within("window", DEFAULT_WINDOW, 1..=MAX_WINDOW);
    let strict_order = section.get("strict_order", false);
    let kind = match kind {
        Type::Stdout => Some(SinkKind::Stdout),
        #[cfg(feature = "nats")]
        Type::Nats => NatsConfig::read(&mut section, environment, window)?
            .map(|config| SinkKind::Nats(Box::new(config))),
        #[cfg(not(feature = "nats"))]
        Type::Nats => {
            section.refuse_whole(
                "is of a type that this build leaves out",
                "build it with the feature nats",
            );
            return Ok(None);
        }
    };
    section.finish();
    let name = name.to_owned();
    Ok(kind.map(|kind| SinkConfig {
        name,
        implied: false,
        required,
        window,
        strict_order,
        kind,
    }))
}
