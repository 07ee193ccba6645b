//! `[sinks.NAME]`: where events go.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

#[cfg(feature = "mqtt")]
use super::mqtt::MqttConfig;
#[cfg(feature = "nats")]
use super::nats::NatsConfig;
#[cfg(feature = "postgres")]
use super::postgres::PostgresConfig;
use super::{
    environment::Environment,
    format,
    hub_key::HubKeys,
    problem::{Place, Problem},
    section::Section,
    value::{ByteSize, Span, words},
};

#[cfg(feature = "carry")]
use crate::forwarder::CarriedSpec;
use crate::{
    forwarder::{
        Confirm, DEFAULT_RECONNECT_MAX, DEFAULT_RESEND_AFTER, DEFAULT_WINDOW, HubTerms,
        MAX_START_JITTER, MaxRate, RECONNECT_MAX_BOUNDS, RESEND_AFTER_BOUNDS, SinkSpec,
    },
    journal::{SinkName, Start},
    sink::{MessageFormat, Sink, stdout::StdoutSink},
};

/// The most that may be set.
const MAX_WINDOW: u32 = 16_384;

/// The most that a rate can be set to.
const MAX_EVENTS_PER_S: u32 = 1_000_000;
const MAX_BYTES_PER_S: u64 = 1 << 40;

/// How long the first attempt to connect waits at most, unless told otherwise: hundreds of devices
/// are switched on by the same clock.
const DEFAULT_START_JITTER: Duration = Duration::from_secs(1);

/// A variable that makes a sink where the file has none.
struct Implied {
    variable: &'static str,
    name: &'static str,
    kind: Type,
    /// The key that the variable's value is for.
    key: &'static str,
}

/// Each that is set makes its own sink, so several make several.
const IMPLIED: [Implied; 3] = [
    Implied {
        variable: "NATS_URL",
        name: "nats",
        kind: Type::Nats,
        key: "sinks.nats.servers",
    },
    Implied {
        variable: "MQTT_URL",
        name: "mqtt",
        kind: Type::Mqtt,
        key: "sinks.mqtt.servers",
    },
    Implied {
        variable: "DATABASE_URL",
        name: "postgres",
        kind: Type::Postgres,
        key: "sinks.postgres.url",
    },
];

/// A configured sink.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Its name.
    pub name: String,
    /// Whether it is there without being configured: from the environment or by default.
    pub implied: bool,
    /// Whether trimming waits for it.
    pub required: bool,
    /// Events from the oldest unanswered one on that may have left.
    pub window: u32,
    /// Whether an event waits for the one before it, whatever becomes of that one.
    pub strict_order: bool,
    /// The most that is sent in a second.
    pub max_rate: MaxRate,
    /// The longest time between two attempts to connect while a backlog waits.
    pub reconnect_max: Duration,
    /// The longest wait before the first attempt to connect.
    pub start_jitter: Duration,
    /// Where it begins if it is new.
    pub start: Start,
    /// The hub behind it, where it is known and can be heard of through it.
    pub hub: Option<HubTerms>,
    /// What it is.
    pub kind: SinkKind,
}

impl SinkConfig {
    /// The sink, ready to connect.
    ///
    /// # Errors
    /// A secret cannot be had, or a file that the client needs.
    pub(crate) fn spec(&self) -> Result<SinkSpec, Problem> {
        let sink = match &self.kind {
            #[cfg(feature = "mqtt")]
            SinkKind::Mqtt(config) => Sink::Mqtt(config.sink()?),
            #[cfg(feature = "nats")]
            SinkKind::Nats(config) => Sink::Nats(config.sink()?),
            #[cfg(feature = "postgres")]
            SinkKind::Postgres(config) => Sink::Postgres(config.sink()?),
            SinkKind::Stdout(MessageFormat::Envelope) => Sink::Stdout(StdoutSink::new()),
            SinkKind::Stdout(_) => Sink::Stdout(StdoutSink::new().with_cloud_events()),
        };
        Ok(SinkSpec {
            name: self.name.clone(),
            sink,
            required: self.required,
            window: self.window,
            strict_order: self.strict_order,
            max_rate: self.max_rate,
            reconnect_max: self.reconnect_max,
            start_jitter: self.start_jitter,
            start: self.start,
            hub: self.hub.clone(),
        })
    }
}

/// What a sink is.
#[derive(Clone, Debug)]
pub enum SinkKind {
    /// An MQTT broker.
    #[cfg(feature = "mqtt")]
    Mqtt(Box<MqttConfig>),
    /// NATS.
    #[cfg(feature = "nats")]
    Nats(Box<NatsConfig>),
    /// Postgres.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresConfig>),
    /// Standard output, which has no binary mode.
    Stdout(MessageFormat),
}

impl SinkKind {
    /// The word in `type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => "mqtt",
            #[cfg(feature = "nats")]
            Self::Nats(_) => "nats",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "postgres",
            Self::Stdout(_) => "stdout",
        }
    }
}

words! {
    /// The word in `type`.
    enum Type {
        Nats = "nats",
        Mqtt = "mqtt",
        Postgres = "postgres",
        Stdout = "stdout",
        Carried = "carried",
    }
}

words! {
    /// The word in `confirm`.
    enum ConfirmWord {
        Ack = "ack",
        Hub = "hub",
    }
}

words! {
    /// The word in `start`.
    enum StartWord {
        Oldest = "oldest",
        Now = "now",
    }
}

/// What the section is about.
#[derive(Default)]
pub(super) struct Sinks {
    /// Those that events are sent to.
    pub(super) sinks: Vec<SinkConfig>,
    /// The one that is carried by hand.
    #[cfg(feature = "carry")]
    pub(super) carried: Option<CarriedSpec>,
}

/// Every configured sink; without one, a sink for each variable of [`IMPLIED`] that is set; without
/// those too, none where the file has an empty section `[sinks]`, else standard output. What is odd
/// without being wrong is added to `remarks`.
pub(super) fn read(
    root: &mut Section<'_, '_>,
    environment: &Environment,
    keys: &HubKeys,
    remarks: &mut Vec<String>,
) -> Result<Sinks, Problem> {
    let names = root.names("sinks");
    let mut section = root.section("sinks");
    let mut read = Sinks::default();
    let sinks = &mut read.sinks;
    for name in &names {
        let mut sink = section.section(name);
        if SinkName::new(name).is_err() {
            sink.refuse_whole("is not a sink's name", "use 1 to 64 of a-z 0-9 _ -");
        }
        if !sink.is_there() {
            continue;
        }
        if !sink.has("type") {
            sink.refuse_whole(
                "has no type",
                "write type = \"nats\", \"mqtt\", \"postgres\", \"stdout\" or \"carried\"",
            );
        } else if let Some(kind) = sink.optional("type") {
            #[cfg(feature = "carry")]
            if kind == Type::Carried {
                if let Some(first) = &read.carried {
                    let message = format!("is carried by hand, as sinks.{} is", first.name);
                    sink.refuse_whole(&message, "remove one of the two");
                }
                read.carried = Some(read_carried(sink, name, keys));
                continue;
            }
            sinks.extend(read_one(sink, name, kind, environment, keys)?);
        }
    }
    let mut implied = Vec::new();
    for Implied {
        variable,
        name,
        kind,
        key,
    } in IMPLIED
    {
        let Some(value) = environment.get(variable)? else {
            continue;
        };
        if names.is_empty() {
            section.put_before(key, Place::Environment(variable.into()), value.to_owned());
            implied.push((name, kind));
        } else {
            remarks.push(format!(
                "{variable} is not used, because the configuration names sinks"
            ));
        }
    }
    if names.is_empty() && implied.is_empty() && !section.is_there() {
        implied.push(("stdout", Type::Stdout));
    }
    for (name, kind) in implied {
        let mut sink = section.section(name);
        sink.get("type", kind);
        let sink = read_one(sink, name, kind, environment, keys)?;
        sinks.extend(sink.map(|sink| SinkConfig {
            implied: true,
            ..sink
        }));
    }
    let mut to_stdout = sinks
        .iter()
        .filter(|sink| matches!(sink.kind, SinkKind::Stdout(_)));
    if let (Some(first), Some(second)) = (to_stdout.next(), to_stdout.next()) {
        let message = format!("writes to standard output, as sinks.{} does", first.name);
        section
            .section(&second.name)
            .refuse_whole(&message, "remove one of the two");
    }
    #[cfg(feature = "mqtt")]
    refuse_clashes(&mut section, sinks);
    section.finish();
    Ok(read)
}

/// A sink that nothing is sent to.
#[cfg(feature = "carry")]
fn read_carried(mut section: Section<'_, '_>, name: &str, keys: &HubKeys) -> CarriedSpec {
    let required = section.get("required", true);
    let start = read_start(&mut section);
    if keys.0.is_empty() {
        section.refuse_whole(
            "is carried by hand, but the hub's key is not known, by which receipts are believed",
            "set device.hub_key to what the hub shows as its public key",
        );
    }
    section.finish();
    CarriedSpec {
        name: name.to_owned(),
        keys: keys.0.clone(),
        required,
        start,
    }
}

fn read_start(section: &mut Section<'_, '_>) -> Start {
    match section.get("start", StartWord::Oldest) {
        StartWord::Oldest => Start::Oldest,
        StartWord::Now => Start::Now,
    }
}

/// Notes sinks that would end each other's connections at a broker, which knows a client by its id.
#[cfg(feature = "mqtt")]
fn refuse_clashes(section: &mut Section<'_, '_>, sinks: &[SinkConfig]) {
    let mut before: Vec<(&str, &MqttConfig)> = Vec::new();
    for SinkConfig { name, kind, .. } in sinks {
        let SinkKind::Mqtt(config) = kind else {
            continue;
        };
        let clash = before
            .iter()
            .find_map(|(other, known)| Some((*other, known.clash(config)?)));
        if let Some((other, broker)) = clash {
            let message =
                format!("has the client id of sinks.{other} at the same broker, {broker}");
            let hint = "set client_id in one of the two: a broker ends a connection when another \
                        comes by the same id";
            section.section(name).refuse_whole(&message, hint);
        }
        before.push((name, config));
    }
}

/// None where something is wrong that leaves no sink to speak of; the problem is noted.
#[cfg_attr(
    not(any(feature = "nats", feature = "mqtt", feature = "postgres")),
    expect(unused_variables, reason = "only clients of a network have secrets")
)]
fn read_one(
    mut section: Section<'_, '_>,
    name: &str,
    kind: Type,
    environment: &Environment,
    keys: &HubKeys,
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
    // A claim is asked for when half a window is unanswered: with all of it on the wire, half of the
    // wire would be empty then.
    let in_flight = usize::try_from(window.div_ceil(2)).unwrap_or(usize::MAX);
    let strict_order = section.get("strict_order", false);
    let max_rate = read_rate(&mut section);
    let (least, most) = RECONNECT_MAX_BOUNDS.into_inner();
    let reconnect_max = section.get_within(
        "reconnect_max",
        Span(DEFAULT_RECONNECT_MAX),
        Span(least)..=Span(most),
    );
    let start_jitter = section.get_within(
        "start_jitter",
        // No broker to be kind to.
        Span(if kind == Type::Stdout {
            Duration::ZERO
        } else {
            DEFAULT_START_JITTER
        }),
        Span(Duration::ZERO)..=Span(MAX_START_JITTER),
    );
    let start = read_start(&mut section);
    let hub = read_hub(&mut section, kind, keys);
    let kind = match kind {
        Type::Stdout => Some(SinkKind::Stdout(format::read_line(&mut section))),
        #[cfg(feature = "nats")]
        Type::Nats => NatsConfig::read(&mut section, environment, in_flight, hub.is_some())?
            .map(|config| SinkKind::Nats(Box::new(config))),
        #[cfg(feature = "postgres")]
        Type::Postgres => PostgresConfig::read(&mut section, environment, in_flight)?
            .map(|config| SinkKind::Postgres(Box::new(config))),
        #[cfg(not(feature = "nats"))]
        Type::Nats => return Ok(left_out(&mut section, "nats")),
        #[cfg(feature = "mqtt")]
        Type::Mqtt => MqttConfig::read(&mut section, environment, in_flight, hub.is_some())?
            .map(|config| SinkKind::Mqtt(Box::new(config))),
        #[cfg(not(feature = "mqtt"))]
        Type::Mqtt => return Ok(left_out(&mut section, "mqtt")),
        #[cfg(not(feature = "postgres"))]
        Type::Postgres => return Ok(left_out(&mut section, "postgres")),
        // Where it is left in, it was read before.
        Type::Carried => return Ok(left_out(&mut section, "carry")),
    };
    section.finish();
    let name = name.to_owned();
    Ok(kind.map(|kind| SinkConfig {
        name,
        implied: false,
        required,
        window,
        strict_order,
        max_rate,
        reconnect_max: reconnect_max.0,
        start_jitter: start_jitter.0,
        start,
        hub,
        kind,
    }))
}

/// Whose word trimming goes by, and how the hub is heard of. None where there is none to hear of.
fn read_hub(section: &mut Section<'_, '_>, kind: Type, keys: &HubKeys) -> Option<HubTerms> {
    let has_way_back = matches!(kind, Type::Nats | Type::Mqtt);
    let default = match kind {
        Type::Mqtt if !keys.0.is_empty() => ConfirmWord::Hub,
        _ => ConfirmWord::Ack,
    };
    let confirm = match section.get("confirm", default) {
        ConfirmWord::Ack => Confirm::Ack,
        ConfirmWord::Hub => Confirm::Hub,
    };
    if confirm == Confirm::Hub && !has_way_back {
        section.refuse(
            "confirm",
            " = \"hub\", but no receipts come back through a sink of this type",
            Some("remove the key"),
        );
    } else if confirm == Confirm::Hub && keys.0.is_empty() {
        section.refuse(
            "confirm",
            " = \"hub\", but the hub's key is not known",
            Some("set device.hub_key to what the hub shows as its public key"),
        );
    }
    if !has_way_back {
        return None;
    }
    let (least, most) = RESEND_AFTER_BOUNDS.into_inner();
    let resend_after = section.get_within(
        "resend_after",
        Span(DEFAULT_RESEND_AFTER),
        Span(least)..=Span(most),
    );
    (!keys.0.is_empty()).then(|| HubTerms {
        keys: keys.0.clone(),
        confirm,
        resend_after: resend_after.0,
    })
}

/// Notes that this build has no sink of a type.
fn left_out(section: &mut Section<'_, '_>, feature: &str) -> Option<SinkConfig> {
    section.refuse_whole(
        "is of a type that this build leaves out",
        &format!("build it with the feature {feature}"),
    );
    None
}

fn read_rate(section: &mut Section<'_, '_>) -> MaxRate {
    let events = section.optional_within("max_events_per_s", 1..=MAX_EVENTS_PER_S);
    let bytes = section.optional_within("max_bytes_per_s", ByteSize(1)..=ByteSize(MAX_BYTES_PER_S));
    MaxRate {
        events: events.and_then(NonZeroU32::new),
        bytes: bytes.and_then(|size| NonZeroU64::new(size.0)),
    }
}
