//! The hub's configuration: a file of its own, read as strictly as a device's.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeTable;

#[cfg(feature = "mqtt")]
use super::mqtt::MqttConfig;
#[cfg(feature = "nats")]
use super::nats::NatsConfig;
use super::{
    ConfigError, Environment, LogConfig, Override, Place, Problem, Reader, Section, Setting,
    postgres::PostgresConfig,
    read_text,
    secrets::SecretSource,
    syntax_problem,
    value::{ByteSize, Span, Value as _, words},
};
#[cfg(feature = "nats")]
use crate::hub::{HUB_STREAM, NATS_CONSUMER, NATS_EVENTS, NatsSource};
#[cfg(feature = "mqtt")]
use crate::hub::{MQTT_EVENTS, MQTT_GROUP, MqttSource};
use crate::{
    encoding::parse_base64,
    hub::{
        DEFAULT_BATCH, DEFAULT_BATCH_BYTES, DEFAULT_LINGER, Database, ErasureKey, InboxSource,
        Limits, MAX_BATCH, MAX_BATCH_BYTES, Options, POLL, Source, SourceSpec,
    },
    journal::SinkName,
    signing::{DeviceKey, replace_file},
};

/// The file that is read where no other is named.
pub const DEFAULT_HUB_FILE: &str = "/etc/edge-outbox-hub/hub.toml";
/// The variables that name another one, and go before what it says.
const FILE_VARIABLE: &str = "EDGE_OUTBOX_HUB_CONFIG";
const URL_VARIABLE: &str = "EDGE_OUTBOX_HUB_DATABASE_URL";
/// The hint of the reader for a key that is like no other, and the same for this file.
const DEVICE_HINT: &str = "config/edge-outbox.toml lists every key with its default";
const HUB_HINT: &str = "config/hub.toml lists every key with its default";
/// The longest name of a consumer or a group, in bytes.
#[cfg(any(feature = "nats", feature = "mqtt"))]
const MAX_NAME_BYTES: usize = 64;

words! {
    /// The word in `type`.
    enum Type {
        Nats = "nats",
        Mqtt = "mqtt",
        Postgres = "postgres",
    }
}

/// A checked configuration of a hub.
#[derive(Debug)]
pub struct HubConfig {
    /// The file that was read.
    pub file: PathBuf,
    /// Where `/metrics` and `/healthz` are served; none: nowhere.
    #[cfg(feature = "http")]
    pub listen: Option<std::net::SocketAddr>,
    /// The log.
    pub log: LogConfig,
    /// How much is taken at a time.
    pub limits: Limits,
    /// Every key with what is in force for it.
    pub settings: Vec<Setting>,
    database: PostgresConfig,
    first_use: bool,
    erase_on_request: bool,
    erasure_key: Option<SecretSource>,
    receipt_key_file: Option<PathBuf>,
    sources: Vec<SourceConfig>,
}

#[derive(Debug)]
struct SourceConfig {
    name: String,
    kind: SourceKind,
}

#[derive(Debug)]
enum SourceKind {
    #[cfg(feature = "nats")]
    Nats(Box<NatsKeys>),
    #[cfg(feature = "mqtt")]
    Mqtt(Box<MqttKeys>),
    Postgres(Box<PostgresConfig>, Duration),
}

#[cfg(feature = "nats")]
#[derive(Debug)]
struct NatsKeys {
    config: NatsConfig,
    events: String,
    consumer: String,
    ack_wait: Duration,
    max_ack_pending: u32,
    hub_stream: String,
}

#[cfg(feature = "mqtt")]
#[derive(Debug)]
struct MqttKeys {
    config: MqttConfig,
    events: String,
    group: String,
    session_expiry: Duration,
    receive_maximum: u16,
    max_packet: u32,
}

impl HubConfig {
    /// Reads and checks everything but the files that hold secrets. The file is the one named, else
    /// that of `EDGE_OUTBOX_HUB_CONFIG`, else [`DEFAULT_HUB_FILE`].
    ///
    /// # Errors
    /// Every mistake there is, each with its place.
    pub fn load(file: Option<&str>, environment: &Environment) -> Result<Self, ConfigError> {
        let (path, place) = match (file, environment.get(FILE_VARIABLE)?) {
            (Some(path), _) => (path, Place::Flag("--config")),
            (None, Some(path)) => (path, Place::Environment(FILE_VARIABLE.into())),
            (None, None) => (DEFAULT_HUB_FILE, Place::Default),
        };
        let path = PathBuf::from(path);
        let text = read_text(&path).map_err(|error| Problem {
            place,
            message: format!("reading {} failed: {error}", path.display()),
            hint: match error.kind() {
                ErrorKind::NotFound => Some(
                    "a hub needs a file: begin with config/hub.toml, and name it with --config"
                        .into(),
                ),
                ErrorKind::PermissionDenied => Some("run this as a user who may read it".into()),
                _ => None,
            },
        })?;
        Self::of_text(&path, &text, environment)
    }

    fn of_text(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let document =
            DeTable::parse(text).map_err(|error| syntax_problem(Some(path), text, &error))?;
        let mut overrides = Vec::new();
        for (key, name) in [
            ("database.url", URL_VARIABLE),
            ("log.level", "EDGE_OUTBOX_LOG"),
        ] {
            if let Some(value) = environment.get(name)? {
                overrides.push(Override {
                    key,
                    place: Place::Environment(name.into()),
                    value: value.to_owned(),
                });
            }
        }
        let mut reader = Reader::new(Some(path), text, overrides);
        let config = Self::read(&mut reader, document.get_ref(), path, environment)?;
        match reader.finish() {
            Ok(settings) => Ok(Self { settings, ..config }),
            Err(mut problems) => {
                for hint in problems.iter_mut().filter_map(|it| it.hint.as_mut()) {
                    if hint == DEVICE_HINT {
                        *hint = HUB_HINT.into();
                    }
                }
                Err(ConfigError { problems })
            }
        }
    }

    fn read<'t>(
        reader: &mut Reader<'t>,
        table: &DeTable<'t>,
        path: &Path,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let mut root = reader.root(table);
        let mut section = root.section("database");
        let database = PostgresConfig::read_database(&mut section, environment, false)?;
        if let Err(error) = Database::new(database.plain()) {
            section.refuse(error.key(), &format!(": {error}"), None);
        }
        section.finish();

        let mut section = root.section("intake");
        let first_use = section.get("first_use", false);
        let erase_on_request = section.get("erase_on_request", true);
        let erasure_key = SecretSource::read(
            &mut section,
            "erasure_key_file",
            "erasure_key_env",
            environment,
        )?;
        let limits = read_limits(&mut section);
        section.finish();

        let mut section = root.section("receipts");
        let receipt_key_file = section.optional_path("key_file");
        section.finish();

        #[cfg(feature = "http")]
        let listen = {
            use super::http::Listen;
            let mut section = root.section("http");
            let listen = section
                .get("listen", Listen(Some(([127, 0, 0, 1], 7412).into())))
                .0;
            section.finish();
            listen
        };
        let log = LogConfig::read(root.section("log"));
        let sources = read_sources(&mut root, environment)?;
        root.finish();
        Ok(Self {
            file: path.to_owned(),
            #[cfg(feature = "http")]
            listen,
            log,
            limits,
            settings: Vec::new(),
            database,
            first_use,
            erase_on_request,
            erasure_key,
            receipt_key_file,
            sources,
        })
    }

    /// Where the hub's tables are.
    ///
    /// # Errors
    /// The password cannot be had.
    pub fn database(&self) -> Result<Database, ConfigError> {
        // Whatever is wrong with them was found when they were read.
        Ok(Database::new(&self.database.options()?).map_err(unexpected)?)
    }

    /// What intake is told.
    ///
    /// # Errors
    /// There is no erasure key, or none that could be one.
    pub fn options(&self) -> Result<Options, ConfigError> {
        Ok(Options {
            first_use: self.first_use,
            erase_on_request: self.erase_on_request,
            erasure_key: self.erasure_key()?,
        })
    }

    /// The key under which erased ids are hashed.
    ///
    /// # Errors
    /// There is none, or none that could be one.
    pub fn erasure_key(&self) -> Result<ErasureKey, ConfigError> {
        let Some(source) = &self.erasure_key else {
            return Err(self.missing("intake.erasure_key_file is not set"));
        };
        let text = source.reveal().map_err(|problem| match problem.hint {
            None => Problem {
                hint: Some("`edge-outbox hub key` makes it".into()),
                ..problem
            },
            Some(_) => problem,
        })?;
        let bytes = parse_base64(text.reveal().as_bytes());
        let bytes = bytes.ok_or_else(|| source.problem("not 32 bytes as base64"))?;
        Ok(ErasureKey::new(bytes))
    }

    /// What signs receipts; none where devices are told nothing.
    ///
    /// # Errors
    /// It is configured, and cannot be read.
    pub fn receipt_key(&self) -> Result<Option<DeviceKey>, ConfigError> {
        let Some(path) = &self.receipt_key_file else {
            return Ok(None);
        };
        let key = DeviceKey::load(path).map_err(|error| Problem {
            place: self.place(),
            message: format!("receipts.key_file: {error}"),
            hint: error
                .hint()
                .or_else(|| Some("`edge-outbox hub key` makes it".into())),
        })?;
        Ok(Some(key))
    }

    /// Makes the keys that are configured as files and are not there; gives the one that signs
    /// receipts, where there is to be one, and the files that were made.
    ///
    /// # Errors
    /// One cannot be made, or what is there is no key.
    pub fn make_keys(&self) -> Result<(Option<DeviceKey>, Vec<PathBuf>), ConfigError> {
        let mut made = Vec::new();
        if let Some(path) = self.erasure_key.as_ref().and_then(SecretSource::path)
            && !path.exists()
        {
            let failed = |what: &dyn std::fmt::Display| Problem {
                place: self.place(),
                message: format!(
                    "intake.erasure_key_file: making {} failed: {what}",
                    path.display()
                ),
                hint: None,
            };
            let mut bytes = zeroize::Zeroizing::new([0; 32]);
            getrandom::fill(&mut bytes[..]).map_err(|error| failed(&error))?;
            let mut text = zeroize::Zeroizing::new(Vec::with_capacity(64));
            crate::encoding::push_base64(&mut text, &bytes[..]);
            replace_file(path, &text).map_err(|error| failed(&error))?;
            made.push(path.to_owned());
        }
        self.erasure_key()?;
        if let Some(path) = &self.receipt_key_file
            && !path.exists()
        {
            DeviceKey::load_or_create(path).map_err(|error| Problem {
                place: self.place(),
                message: format!("receipts.key_file: {error}"),
                hint: error.hint(),
            })?;
            made.push(path.clone());
        }
        Ok((self.receipt_key()?, made))
    }

    /// What brings messages, ready to connect.
    ///
    /// # Errors
    /// There is nothing, or a secret cannot be had.
    pub fn sources(&self) -> Result<Vec<SourceSpec>, ConfigError> {
        if self.sources.is_empty() {
            return Err(self.missing("the configuration has no source"));
        }
        let specs = self.sources.iter().map(|it| {
            Ok(SourceSpec {
                name: it.name.clone(),
                source: it.kind.source()?,
            })
        });
        Ok(specs.collect::<Result<_, Problem>>()?)
    }

    fn missing(&self, message: &str) -> ConfigError {
        Problem {
            place: self.place(),
            message: message.into(),
            hint: Some(HUB_HINT.into()),
        }
        .into()
    }

    fn place(&self) -> Place {
        Place::File {
            path: self.file.clone(),
            line: None,
        }
    }
}

fn read_limits(section: &mut Section<'_, '_>) -> Limits {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let size = |number: usize| ByteSize(number as u64);
    let messages = section.get_within("batch", count(DEFAULT_BATCH), 1..=count(MAX_BATCH));
    let bytes = section.get_within(
        "batch_bytes",
        size(DEFAULT_BATCH_BYTES),
        size(64 * 1024)..=size(MAX_BATCH_BYTES),
    );
    let linger = section.get_within(
        "linger",
        Span(DEFAULT_LINGER),
        Span(Duration::ZERO)..=Span(Duration::from_secs(5)),
    );
    Limits {
        messages: usize::try_from(messages).unwrap_or(usize::MAX),
        bytes: usize::try_from(bytes.0).unwrap_or(usize::MAX),
        linger: linger.0,
    }
}

fn read_sources(
    root: &mut Section<'_, '_>,
    environment: &Environment,
) -> Result<Vec<SourceConfig>, Problem> {
    let names = root.names("sources");
    let mut section = root.section("sources");
    let mut sources = Vec::new();
    for name in names {
        let mut source = section.section(&name);
        if SinkName::new(&name).is_err() {
            source.refuse_whole("is not a source's name", "use 1 to 64 of a-z 0-9 _ -");
        }
        if !source.is_there() {
            continue;
        }
        if !source.has("type") {
            let hint = "write type = \"nats\", \"mqtt\" or \"postgres\"";
            source.refuse_whole("has no type", hint);
        } else if let Some(kind) = source.optional("type") {
            let kind = read_source(&mut source, kind, environment)?;
            source.finish();
            sources.extend(kind.map(|kind| SourceConfig { name, kind }));
        }
    }
    section.finish();
    Ok(sources)
}

fn read_source(
    section: &mut Section<'_, '_>,
    kind: Type,
    environment: &Environment,
) -> Result<Option<SourceKind>, Problem> {
    Ok(match kind {
        #[cfg(feature = "nats")]
        Type::Nats => Some(SourceKind::Nats(Box::new(read_nats(section, environment)?))),
        #[cfg(feature = "mqtt")]
        Type::Mqtt => Some(SourceKind::Mqtt(Box::new(read_mqtt(section, environment)?))),
        Type::Postgres => {
            let config = PostgresConfig::read_database(section, environment, true)?;
            let poll = section.get_within(
                "poll",
                Span(POLL),
                Span(Duration::from_millis(10))..=Span(Duration::from_secs(60)),
            );
            if let Err(error) = Database::new(config.plain()) {
                section.refuse(error.key(), &format!(": {error}"), None);
            }
            Some(SourceKind::Postgres(Box::new(config), poll.0))
        }
        #[cfg(not(all(feature = "nats", feature = "mqtt")))]
        left_out => {
            section.refuse_whole(
                "is of a type that this build leaves out",
                &format!("build it with the feature {}", left_out.show()),
            );
            None
        }
    })
}

#[cfg(feature = "nats")]
fn read_nats(
    section: &mut Section<'_, '_>,
    environment: &Environment,
) -> Result<NatsKeys, Problem> {
    let config = NatsConfig::read_source(section, environment)?;
    let events = section.get("events", NATS_EVENTS.to_owned());
    if events.split('.').any(str::is_empty) || events.contains(char::is_whitespace) {
        let message = " is no subject: tokens joined by dots, the last of them perhaps `>`";
        section.refuse("events", message, None);
    }
    let consumer = read_name(section, "consumer", NATS_CONSUMER);
    let hub_stream = read_name(section, "hub_stream", HUB_STREAM);
    let ack_wait = section.get_within(
        "ack_wait",
        Span(Duration::from_secs(30)),
        Span(Duration::from_secs(1))..=Span(Duration::from_secs(600)),
    );
    let max_ack_pending = section.get_within("max_ack_pending", 8_192, 1..=65_536);
    if let Err(error) = NatsSource::new(config.plain().clone()) {
        section.refuse(error.key(), &format!(": {error}"), None);
    }
    Ok(NatsKeys {
        config,
        events,
        consumer,
        ack_wait: ack_wait.0,
        max_ack_pending,
        hub_stream,
    })
}

#[cfg(feature = "mqtt")]
fn read_mqtt(
    section: &mut Section<'_, '_>,
    environment: &Environment,
) -> Result<MqttKeys, Problem> {
    let config = MqttConfig::read_source(section, environment)?;
    let events = section.get("events", MQTT_EVENTS.to_owned());
    if events.starts_with(['$', '/']) || events.contains(char::is_whitespace) {
        let message =
            " is no topic filter of events: write it without `$share`, as edupulse/events/#";
        section.refuse("events", message, None);
    }
    let group = read_name(section, "group", MQTT_GROUP);
    let session_expiry = section.get_within(
        "session_expiry",
        Span(Duration::from_secs(7 * 24 * 3_600)),
        Span(Duration::from_secs(60))..=Span(Duration::from_secs(365 * 24 * 3_600)),
    );
    let receive_maximum = section.get_within("receive_maximum", 1_024, 1..=u32::from(u16::MAX));
    let max_packet = section.get_within(
        "max_packet",
        ByteSize(16 * 1024 * 1024),
        ByteSize(64 * 1024)..=ByteSize(64 * 1024 * 1024),
    );
    if let Err(error) = MqttSource::new(config.plain().clone()) {
        section.refuse(error.key(), &format!(": {error}"), None);
    }
    Ok(MqttKeys {
        config,
        events,
        group,
        session_expiry: session_expiry.0,
        receive_maximum: u16::try_from(receive_maximum).unwrap_or(u16::MAX),
        max_packet: u32::try_from(max_packet.0).unwrap_or(u32::MAX),
    })
}

/// A name that brokers take as part of others.
#[cfg(any(feature = "nats", feature = "mqtt"))]
fn read_name(section: &mut Section<'_, '_>, key: &'static str, default: &str) -> String {
    let name: String = section.get(key, default.to_owned());
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.len() > MAX_NAME_BYTES || !name.chars().all(fits) {
        let message = format!(
            " = {} is no name: 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 _ -",
            name.show()
        );
        section.refuse(key, &message, None);
    }
    name
}

impl SourceKind {
    fn source(&self) -> Result<Source, Problem> {
        Ok(match self {
            #[cfg(feature = "nats")]
            Self::Nats(keys) => {
                let source = NatsSource::new(keys.config.options()?).map_err(unexpected)?;
                let source = source
                    .consumer(keys.events.clone(), keys.consumer.clone())
                    .pending(keys.ack_wait, keys.max_ack_pending)
                    .hub_stream(keys.hub_stream.clone());
                Source::Nats(Box::new(source))
            }
            #[cfg(feature = "mqtt")]
            Self::Mqtt(keys) => {
                let mut options = keys.config.options()?;
                options.client_id.get_or_insert_with(|| {
                    let name = rustix::system::uname();
                    format!("edge-outbox-hub-{}", name.nodename().to_string_lossy())
                });
                let source = MqttSource::new(options).map_err(unexpected)?;
                let source = source
                    .subscription(keys.events.clone(), keys.group.clone())
                    .session(keys.session_expiry, keys.receive_maximum, keys.max_packet);
                Source::Mqtt(Box::new(source))
            }
            Self::Postgres(config, poll) => {
                let database = Database::new(&config.options()?).map_err(unexpected)?;
                Source::Postgres(Box::new(InboxSource::new(database, *poll)))
            }
        })
    }
}

/// Whatever is wrong with options was found when they were read.
fn unexpected(error: impl std::fmt::Display) -> Problem {
    Problem {
        place: Place::Default,
        message: error.to_string(),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SHIPPED: &str = include_str!("../../config/hub.toml");
    /// Keys of which a section can have only one.
    const EITHER_OR: [&str; 9] = [
        "erasure_key_env",
        "token_file",
        "token_env",
        "password_file",
        "password_env",
        "credentials_file",
        "nkey_file",
        "jwt_file",
        "user",
    ];

    fn load(toml: &str) -> Result<HubConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.toml");
        fs::write(&file, toml).unwrap();
        let told = |error: ConfigError| {
            let lines = error.problems.iter().map(|problem| {
                let hint = problem.hint.as_deref().unwrap_or_default();
                format!("{problem}\nhint: {hint}\n")
            });
            let text: String = lines.collect();
            text.replace(&format!("{}/", dir.path().display()), "")
        };
        HubConfig::load(file.to_str(), &Environment::default()).map_err(told)
    }

    #[test]
    fn each_mistake_is_told_with_its_place_its_value_and_what_would_be_right() {
        for (toml, expected) in [
            (
                "[intake]\nbacth = 5",
                "hub.toml line 2: intake.bacth is not a key\nhint: did you mean intake.batch?\n",
            ),
            (
                "[intake]\nzzz = 5",
                "hub.toml line 2: intake.zzz is not a key\n\
                 hint: config/hub.toml lists every key with its default\n",
            ),
            (
                "[intake]\nbatch = 5000",
                "hub.toml line 2: intake.batch = 5000 is not between 1 and 4096\nhint: \n",
            ),
            (
                "[sources.broker]\nservers = [\"nats://a\"]",
                "hub.toml line 2: sources.broker has no type\n\
                 hint: write type = \"nats\", \"mqtt\" or \"postgres\"\n",
            ),
            (
                "[sources.broker]\ntype = \"nats\"\nconsumer = \"a.b\"",
                "hub.toml line 3: sources.broker.consumer = \"a.b\" is no name: 1 to 64 of \
                 A-Z a-z 0-9 _ -\nhint: \n",
            ),
            (
                "[sources.broker]\ntype = \"mqtt\"\nservers = [\"http://a\"]",
                "hub.toml line 3: sources.broker.servers: entry 1 (***) is no broker: write \
                 mqtt://HOST:PORT or mqtts://HOST:PORT\nhint: \n",
            ),
            (
                "[database]\nurl = \"mysql://a\"",
                "hub.toml line 2: database.url: it is no URL of a database: write \
                 postgres://USER@HOST:5432/DATABASE\nhint: \n",
            ),
        ] {
            assert_eq!(load(toml).err().as_deref(), Some(expected));
        }
    }

    #[test]
    fn without_a_key_or_a_source_nothing_starts() {
        let config = load("").unwrap();
        let said = |error: ConfigError| error.problems[0].message.clone();
        assert_eq!(
            config.options().err().map(said),
            Some("intake.erasure_key_file is not set".into())
        );
        assert_eq!(
            config.sources().err().map(said),
            Some("the configuration has no source".into())
        );
    }

    #[test]
    fn keys_are_made_once_and_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hub.toml");
        let toml =
            "[intake]\nerasure_key_file = \"erasure.key\"\n[receipts]\nkey_file = \"hub.pem\"";
        fs::write(&file, toml).unwrap();
        let config = HubConfig::load(file.to_str(), &Environment::default()).unwrap();
        let (key, made) = config.make_keys().unwrap();
        assert_eq!(
            made,
            ["erasure.key", "hub.pem"].map(|name| dir.path().join(name))
        );
        for path in &made {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let check = config.erasure_key().unwrap();
        let (again, made) = config.make_keys().unwrap();
        assert!(made.is_empty());
        let id = |key: Option<DeviceKey>| key.unwrap().public_key();
        assert_eq!(id(again), id(key));
        assert_eq!(format!("{check:?}"), "ErasureKey(***)");
        fs::write(dir.path().join("erasure.key"), "short").unwrap();
        let error = config.erasure_key().err().unwrap();
        assert_eq!(
            error.problems[0].message,
            "erasure_key_file: not 32 bytes as base64"
        );
    }

    #[cfg(all(feature = "nats", feature = "mqtt", feature = "http"))]
    #[test]
    fn the_shipped_file_has_every_key_with_its_default() {
        assert!(
            SHIPPED
                .lines()
                .all(|line| line.is_empty() || line.starts_with('#'))
        );
        assert!(load(SHIPPED).is_ok());
        let key_of = |line: &str| line.split(" = ").next().unwrap_or_default().to_owned();
        let keys: Vec<&str> = SHIPPED
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| line.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
            .collect();
        let plain: String = keys
            .iter()
            .filter(|line| !EITHER_OR.contains(&key_of(line).as_str()))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = load(&plain).unwrap();
        for setting in &config.settings {
            let key = setting.key.rsplit('.').next().unwrap();
            if EITHER_OR.contains(&key) {
                let there = keys.iter().any(|line| key_of(line) == key);
                assert!(there, "{} is missing from the file", setting.key);
                continue;
            }
            assert_ne!(setting.place, Place::Default, "{} is missing", setting.key);
            if let Some(default) = &setting.default {
                let value = setting.value.as_ref();
                assert_eq!(value, Some(default), "{} has another default", setting.key);
            }
        }
    }
}
