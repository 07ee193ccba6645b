//! The configuration: the only module that reads files and the environment.
//!
//! It goes in two steps: the raw file, read strictly key by key (`section`), becomes checked and
//! typed values ([`Config`]). A flag goes before the environment, the environment before the file,
//! the file before the default. Every mistake is told at once, with its place, before anything
//! starts. Files that hold secrets are opened only by what needs them: whoever may append an
//! event need not be able to read the broker's password.

mod draft;
mod environment;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(feature = "http")]
mod http;
#[cfg(not(feature = "http"))]
#[path = "config/no_http.rs"]
mod http;
#[cfg(feature = "hub")]
mod hub;
mod hub_key;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(any(feature = "nats", feature = "mqtt", feature = "postgres"))]
mod named_file;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
mod problem;
#[cfg(feature = "hub")]
mod relay;
#[cfg(any(
    feature = "http",
    feature = "nats",
    feature = "mqtt",
    feature = "postgres"
))]
mod secrets;
mod section;
mod sinks;
#[cfg(any(feature = "nats", feature = "mqtt", feature = "postgres"))]
mod tls;
#[cfg(any(feature = "nats", feature = "mqtt"))]
mod urls;
mod value;

#[cfg(test)]
mod tests;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeTable;

#[cfg(feature = "hub")]
pub use self::hub::{DEFAULT_HUB_FILE, HubConfig};
#[cfg(feature = "hub")]
pub use self::relay::{DEFAULT_RELAY_FILE, RelayConfig};
pub use self::{
    draft::Draft,
    environment::Environment,
    http::{HttpConfig, HttpOptions},
    problem::{ConfigError, Place, Problem},
    section::Setting,
    sinks::{SinkConfig, SinkKind},
};
use self::{
    section::{Override, Reader, Section},
    value::{ByteSize, Span, Value as _, words},
};
use crate::{
    event::{MAX_PAYLOAD_BYTES, check_name},
    forwarder::SinkSpec,
    identity::DeviceName,
    outbox::{
        DEFAULT_BALLAST, DEFAULT_MAX_BYTES, DEFAULT_MAX_PAYLOAD_BYTES, DEFAULT_MIN_FREE, Outbox,
        OutboxBuilder, WhenFull,
    },
    secret::Secret,
    signing::DeviceKey,
};

/// The file that is read where no other is named and this one exists.
pub const DEFAULT_FILE: &str = "/etc/edge-outbox/edge-outbox.toml";
/// The data directory by default, below the working directory.
const DEFAULT_DATA_DIR: &str = "edge-outbox-data";
/// The socket's name in its directory.
pub(crate) const SOCKET_FILE: &str = "edge-outbox.sock";
/// The variable that carries the signing key, a base64 PKCS#8 DER document.
const SIGNING_KEY: &str = "EDUPULSE_SIGNING_KEY_B64";
/// Largest file that is read, in bytes; a thorough one has a hundredth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a length of time from the command line, such as `30s`.
///
/// # Errors
/// What would be right.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let span = text.parse::<Span>();
    span.map(|span| span.0)
        .map_err(|()| format!("not {}, such as 30s", Span::KIND))
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
}

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Where journal and key are.
    pub data_dir: PathBuf,
    /// The device's name, where it is configured.
    pub device: Option<DeviceName>,
    /// Whether a journal that wakes up on another board goes on as another device.
    pub check_board: bool,
    /// The journal.
    pub journal: JournalConfig,
    /// The listeners.
    pub http: HttpConfig,
    /// The log.
    pub log: LogConfig,
    /// The sinks; none only where the file has an empty section for them.
    pub sinks: Vec<SinkConfig>,
    /// Every key with what is in force for it.
    pub settings: Vec<Setting>,
    /// What is odd without being wrong, to be said at the start.
    pub remarks: Vec<String>,
    source: String,
    signing_key: Option<Secret>,
}

/// The journal's part of a [`Config`].
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// The quota, in bytes of events.
    pub max_bytes: u64,
    /// What happens to an append that finds no room.
    pub when_full: WhenFull,
    /// Bytes of events that are kept although they are delivered.
    pub keep_delivered_bytes: u64,
    /// How long an event is kept although it is delivered.
    pub keep_delivered_for: Duration,
    /// Bytes that stay free on the disk.
    pub min_free_bytes: u64,
    /// Bytes that are given up where the disk is full all the same.
    pub ballast_bytes: u64,
    /// The largest payload, in bytes.
    pub max_payload_bytes: usize,
    /// How long a commit waits for more events.
    pub linger: Duration,
    /// Whether an appended `user.erase_requested.v1` erases that person here.
    pub erase_on_request: bool,
    /// redb's page cache, in bytes.
    pub cache_bytes: usize,
    /// When a damaged journal is recovered.
    pub recover: RecoverWhen,
}

words! {
    /// When a damaged journal is recovered.
    pub enum RecoverWhen {
        /// When somebody says so: `edge-outbox recover`.
        Manual = "manual",
        /// Before the daemon opens it.
        AtStart = "at-start",
    }
}

/// The log's part of a [`Config`].
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// What is logged.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
}

words! {
    /// What is logged.
    pub enum LogLevel {
        /// What somebody has to see to.
        Error = "error",
        /// And what passes by itself.
        Warn = "warn",
        /// And what starts and stops.
        Info = "info",
        /// And what is done about it.
        Debug = "debug",
        /// And all the rest.
        Trace = "trace",
    }
}

words! {
    /// What happens to an append that finds no room.
    enum Full {
        /// It is refused.
        Reject = "reject",
        /// The oldest events are given up for it.
        DropOldest = "drop-oldest",
    }
}

words! {
    /// How a log line looks.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

impl Config {
    /// Reads and checks everything but the files that hold secrets.
    ///
    /// # Errors
    /// Every mistake there is, each with its place.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let file = File::find(flags, environment)?;
        Self::of_file(file, overrides(flags, environment)?, environment)
    }

    fn of_file(
        file: Option<File>,
        overrides: Vec<Override>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let (path, text) = match &file {
            Some(file) => (Some(file.path.as_path()), file.text.as_str()),
            None => (None, ""),
        };
        let document = DeTable::parse(text).map_err(|error| syntax_problem(path, text, &error))?;
        let mut reader = Reader::new(path, text, overrides);
        let config = Self::read(&mut reader, document.get_ref(), environment)?;
        match reader.finish() {
            Ok(settings) => Ok(Self {
                file: file.map(|file| file.path),
                settings,
                ..config
            }),
            Err(problems) => Err(ConfigError { problems }),
        }
    }

    fn read<'t>(
        reader: &mut Reader<'t>,
        table: &DeTable<'t>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let mut root = reader.root(table);
        let data_dir = root.get("data_dir", DEFAULT_DATA_DIR.to_owned());
        let data_dir = root.resolve("data_dir", &data_dir);
        // Told to others, who have working directories of their own.
        let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);

        let mut device = root.section("device");
        let name = device.optional("name");
        let source = read_source(&mut device);
        let check_board = device.get("check_board", true);
        let hub_keys = device.optional("hub_key").unwrap_or_default();
        device.finish();

        let journal = JournalConfig::read(root.section("journal"));
        let http = HttpConfig::read(root.section("http"), &data_dir, environment)?;
        let log = LogConfig::read(root.section("log"));
        let mut remarks = Vec::new();
        let sinks = sinks::read(&mut root, environment, &hub_keys, &mut remarks)?;
        root.finish();
        Ok(Self {
            file: None,
            data_dir,
            device: name,
            check_board,
            journal,
            http,
            log,
            sinks,
            settings: Vec::new(),
            remarks,
            source,
            signing_key: environment.get(SIGNING_KEY)?.map(Secret::new),
        })
    }

    /// What opens the outbox.
    ///
    /// # Errors
    /// The signing key of the environment is none.
    pub fn outbox(&self) -> Result<OutboxBuilder, ConfigError> {
        let mut builder = Outbox::builder(&self.data_dir)
            .source(self.source.as_str())
            .check_board(self.check_board)
            .max_bytes(self.journal.max_bytes)
            .when_full(self.journal.when_full)
            .keep_delivered(
                self.journal.keep_delivered_bytes,
                self.journal.keep_delivered_for,
            )
            .min_free(self.journal.min_free_bytes)
            .ballast(self.journal.ballast_bytes)
            .max_payload_bytes(self.journal.max_payload_bytes)
            .linger(self.journal.linger)
            .erase_on_request(self.journal.erase_on_request)
            .cache_bytes(self.journal.cache_bytes);
        if let Some(name) = &self.device {
            builder = builder.device(name.clone());
        }
        if let Some(key) = &self.signing_key {
            let key = DeviceKey::from_pkcs8_base64(key.reveal()).map_err(|error| Problem {
                place: Place::Environment(SIGNING_KEY.into()),
                message: format!("{error} as base64 of DER"),
                hint: Some(
                    "make one with `openssl genpkey -algorithm ed25519 -outform DER | base64 -w0`"
                        .into(),
                ),
            })?;
            builder = builder.signing_key(key);
        }
        Ok(builder)
    }

    /// The sinks' names, and whether trimming waits for each.
    #[cfg(feature = "cli")]
    pub(crate) fn sink_names(&self) -> Vec<(String, bool)> {
        let names = self.sinks.iter();
        names
            .map(|sink| (sink.name.clone(), sink.required))
            .collect()
    }

    /// The sinks, ready to connect.
    ///
    /// # Errors
    /// A secret cannot be had, or an option cannot be used.
    pub fn sinks(&self) -> Result<Vec<SinkSpec>, ConfigError> {
        let specs = self.sinks.iter().map(SinkConfig::spec);
        Ok(specs.collect::<Result<_, Problem>>()?)
    }

    /// What the listeners take, from whom.
    ///
    /// # Errors
    /// The token cannot be had, or is none.
    pub fn http_options(&self) -> Result<HttpOptions, ConfigError> {
        self.http.options()
    }

    /// Checks what [`Config::load`] leaves out: the files that hold secrets.
    ///
    /// # Errors
    /// A secret cannot be had, or cannot be what it is said to be.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.outbox()?;
        self.sinks()?;
        self.http_options()?;
        Ok(())
    }

    /// Whether the signing key comes from the environment.
    #[must_use]
    pub const fn has_signing_key(&self) -> bool {
        self.signing_key.is_some()
    }
}

/// Source of events that name none.
const DEFAULT_SOURCE: &str = "edge-outbox";
fn read_source(device: &mut Section<'_, '_>) -> String {
    let source: String = device.get("source", DEFAULT_SOURCE.into());
    if let Err(error) = check_name(&source) {
        device.refuse("source", &format!(": {error}"), None);
    }
    source
}

impl JournalConfig {
    fn read(mut section: Section<'_, '_>) -> Self {
        const MIB: u64 = 1024 * 1024;
        let size = |value: usize| ByteSize(value as u64);
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        let max_bytes = section.get_within(
            "max_bytes",
            ByteSize(DEFAULT_MAX_BYTES),
            ByteSize(MIB)..=ByteSize(MIB * MIB),
        );
        let when_full = section.get("when_full", Full::Reject);
        let keep_delivered = section.get_within(
            "keep_delivered",
            ByteSize(0),
            ByteSize(0)..=ByteSize(MIB * MIB),
        );
        let keep_delivered_for = section.get_within(
            "keep_delivered_for",
            Span(Duration::ZERO),
            Span(Duration::ZERO)..=Span(365 * 24 * Duration::from_secs(3600)),
        );
        let min_free = section.get_within(
            "min_free",
            ByteSize(DEFAULT_MIN_FREE),
            ByteSize(0)..=ByteSize(MIB * MIB),
        );
        let ballast = section.get_within(
            "ballast",
            ByteSize(DEFAULT_BALLAST),
            ByteSize(0)..=ByteSize(64 * MIB),
        );
        let max_payload = section.get_within(
            "max_payload",
            size(DEFAULT_MAX_PAYLOAD_BYTES),
            ByteSize(1)..=size(MAX_PAYLOAD_BYTES),
        );
        let linger = section.get_within(
            "linger",
            Span(Duration::ZERO),
            Span(Duration::ZERO)..=Span(Duration::from_secs(10)),
        );
        let erase_on_request = section.get("erase_on_request", false);
        let cache = section.get_within(
            "cache_bytes",
            ByteSize(MIB),
            ByteSize(MIB)..=ByteSize(1024 * MIB),
        );
        let recover = section.get("recover", RecoverWhen::Manual);
        section.finish();
        Self {
            max_bytes: max_bytes.0,
            when_full: match when_full {
                Full::Reject => WhenFull::Reject,
                Full::DropOldest => WhenFull::DropOldest,
            },
            keep_delivered_bytes: keep_delivered.0,
            keep_delivered_for: keep_delivered_for.0,
            min_free_bytes: min_free.0,
            ballast_bytes: ballast.0,
            max_payload_bytes: bytes(max_payload),
            linger: linger.0,
            erase_on_request,
            cache_bytes: bytes(cache),
            recover,
        }
    }
}

impl LogConfig {
    fn read(mut section: Section<'_, '_>) -> Self {
        let level = section.get("level", LogLevel::Info);
        let format = section.get("format", LogFormat::Text);
        section.finish();
        Self { level, format }
    }
}

/// Where the configuration file is, or would be.
///
/// # Errors
/// A variable is not UTF-8.
pub fn place_of_file(flags: &Flags, environment: &Environment) -> Result<PathBuf, Problem> {
    let named = named_file_of(flags, environment)?;
    Ok(named.map_or(DEFAULT_FILE, |(path, _)| path).into())
}

/// The file that a flag or the environment names, and which of them does.
fn named_file_of<'a>(
    flags: &'a Flags,
    environment: &'a Environment,
) -> Result<Option<(&'a str, Place)>, Problem> {
    if let Some(path) = &flags.config {
        return Ok(Some((path, Place::Flag("--config"))));
    }
    let named = environment.get("EDGE_OUTBOX_CONFIG")?;
    Ok(named.map(|path| (path, Place::Environment("EDGE_OUTBOX_CONFIG".into()))))
}

/// A configuration file that was read.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn find(flags: &Flags, environment: &Environment) -> Result<Option<Self>, Problem> {
        let named = named_file_of(flags, environment)?;
        let path = PathBuf::from(named.as_ref().map_or(DEFAULT_FILE, |(path, _)| path));
        match read_text(&path) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(None),
            Err(error) => {
                let place = named.map_or(Place::Default, |(_, place)| place);
                Err(Problem {
                    place,
                    message: format!("reading {} failed: {error}", path.display()),
                    hint: (error.kind() == ErrorKind::PermissionDenied).then(|| {
                        "run this as a user who may read it, or name another file with --config"
                            .into()
                    }),
                })
            }
        }
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!(
            "it has {bytes} bytes, which no configuration has"
        )));
    }
    fs::read_to_string(path)
}

/// What goes before the file, the strongest first.
fn overrides(flags: &Flags, environment: &Environment) -> Result<Vec<Override>, Problem> {
    let mut all = Vec::new();
    let flag = |key, name, value: &Option<String>| {
        let value = value.clone()?;
        Some(Override {
            key,
            place: Place::Flag(name),
            value,
        })
    };
    all.extend(flag("data_dir", "--data-dir", &flags.data_dir));
    all.extend(flag("http.listen", "--listen", &flags.listen));
    for (key, name) in [
        ("data_dir", "EDGE_OUTBOX_DATA_DIR"),
        ("data_dir", "STATE_DIRECTORY"),
        ("http.listen", "EDGE_OUTBOX_LISTEN"),
        ("log.level", "EDGE_OUTBOX_LOG"),
    ] {
        if let Some(value) = environment.get(name)? {
            // The service manager lists several directories with colons; the first is ours.
            let value = value
                .split(':')
                .next()
                .filter(|_| name == "STATE_DIRECTORY")
                .unwrap_or(value);
            let place = Place::Environment(name.into());
            all.push(Override {
                key,
                place,
                value: value.to_owned(),
            });
        }
    }
    Ok(all)
}

fn syntax_problem(path: Option<&Path>, text: &str, error: &toml::de::Error) -> Problem {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    Problem {
        place: Place::File {
            path: path.map(Path::to_owned).unwrap_or_default(),
            line: Some(before.matches('\n').count() + 1),
        },
        message: format!("not TOML: {}", error.message()),
        hint: None,
    }
}
