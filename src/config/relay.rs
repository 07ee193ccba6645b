//! The relay's configuration: that of a device, and what it is told of the table besides.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeTable;

use super::{
    Config, ConfigError, Environment, Flags, Override, Place, Problem, Reader, Section, overrides,
    postgres::PostgresConfig,
    read_text, syntax_problem,
    value::{ByteSize, Span},
};
use crate::{
    outbox::WhenFull,
    relay::{
        Columns, DEFAULT_BATCH, DEFAULT_BATCH_BYTES, DEFAULT_CONFIRM_TIMEOUT, DEFAULT_KEEP,
        DEFAULT_POLL, DEFAULT_RETRY_REFUSED, DEFAULT_TABLE, MAX_BATCH, MAX_BATCH_BYTES,
        MAX_NAME_BYTES, Options,
    },
    sink::postgres::Database,
};

/// The file that is read where no other is named.
pub const DEFAULT_RELAY_FILE: &str = "/etc/edge-outbox-hub/relay.toml";
/// The variables that name another one, and go before what it says.
const FILE_VARIABLE: &str = "EDGE_OUTBOX_RELAY_CONFIG";
const URL_VARIABLE: &str = "EDGE_OUTBOX_RELAY_DATABASE_URL";
/// The hint of the reader for a key that is like no other, and the same for this file.
const DEVICE_HINT: &str = "config/edge-outbox.toml lists every key with its default";
const RELAY_HINT: &str = "config/relay.toml lists the relay's own keys with their defaults, and \
                          config/edge-outbox.toml those of every outbox";
/// The sections that only a relay has.
const OWN_SECTIONS: [&str; 2] = ["database", "relay"];

/// A checked configuration of a relay.
#[derive(Debug)]
pub struct RelayConfig {
    /// The outbox that it is.
    pub outbox: Config,
    /// What it is told of the table.
    pub options: Options,
    database: PostgresConfig,
}

impl RelayConfig {
    /// Reads and checks everything but the files that hold secrets. The file is the one that a flag
    /// names, else that of `EDGE_OUTBOX_RELAY_CONFIG`, else [`DEFAULT_RELAY_FILE`].
    ///
    /// # Errors
    /// Every mistake there is, each with its place.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let (path, place) = match (&flags.config, environment.get(FILE_VARIABLE)?) {
            (Some(path), _) => (path.as_str(), Place::Flag("--config")),
            (None, Some(path)) => (path, Place::Environment(FILE_VARIABLE.into())),
            (None, None) => (DEFAULT_RELAY_FILE, Place::Default),
        };
        let path = PathBuf::from(path);
        let text = read_text(&path).map_err(|error| Problem {
            place,
            message: format!("reading {} failed: {error}", path.display()),
            hint: match error.kind() {
                ErrorKind::NotFound => Some(
                    "a relay needs a file: begin with config/relay.toml, and name it with --config"
                        .into(),
                ),
                ErrorKind::PermissionDenied => Some("run this as a user who may read it".into()),
                _ => None,
            },
        })?;
        let mut overrides = overrides(flags, environment)?;
        if let Some(url) = environment.get(URL_VARIABLE)? {
            overrides.push(Override {
                key: "database.url",
                place: Place::Environment(URL_VARIABLE.into()),
                value: url.to_owned(),
            });
        }
        Self::of_text(path, &text, overrides, environment)
    }

    fn of_text(
        path: PathBuf,
        text: &str,
        overrides: Vec<Override>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let document =
            DeTable::parse(text).map_err(|error| syntax_problem(Some(&path), text, &error))?;
        // What only a relay has is read first, and what is left as any outbox's.
        let (own, rest): (DeTable<'_>, DeTable<'_>) = document
            .into_inner()
            .into_iter()
            .partition(|(key, _)| OWN_SECTIONS.contains(&key.get_ref().as_ref()));
        let mut reader = Reader::new(Some(path.as_path()), text, overrides);
        let (options, database) = read_own(&mut reader, &own, environment)?;
        let outbox = Config::read(&mut reader, &rest, environment)?;
        let settings = reader.finish().map_err(|mut problems| {
            for hint in problems.iter_mut().filter_map(|it| it.hint.as_mut()) {
                if hint == DEVICE_HINT {
                    *hint = RELAY_HINT.into();
                }
            }
            ConfigError { problems }
        })?;
        if !outbox.sinks.iter().any(|sink| sink.required) {
            let hint = "a section [sinks.NAME] of type \"nats\", \"mqtt\" or \"postgres\", whose \
                        `required` is true";
            let message = "the configuration has no sink that confirms what it gets";
            return Err(refused(&path, message, hint).into());
        }
        if outbox.journal.when_full != WhenFull::Reject {
            let message =
                "journal.when_full = \"drop-oldest\", but a row that is given up was not sent";
            return Err(refused(&path, message, "remove the key: rows wait in the table").into());
        }
        Ok(Self {
            outbox: Config {
                file: Some(path),
                settings,
                ..outbox
            },
            options,
            database,
        })
    }

    /// Where the table is.
    ///
    /// # Errors
    /// The password cannot be had.
    pub fn database(&self) -> Result<Database, ConfigError> {
        let options = self.database.options()?;
        // Whatever is wrong with them was found when they were read.
        let database = Database::new(&options).map_err(|error| Problem {
            place: Place::Default,
            message: error.to_string(),
            hint: None,
        })?;
        Ok(database)
    }

    /// The sinks that have to confirm an event before its row is marked.
    #[must_use]
    pub fn required_sinks(&self) -> Vec<String> {
        let sinks = self.outbox.sinks.iter().filter(|sink| sink.required);
        sinks.map(|sink| sink.name.clone()).collect()
    }
}

/// What any outbox may be told, and a relay may not.
fn refused(path: &Path, message: &str, hint: &str) -> Problem {
    Problem {
        place: Place::File {
            path: path.to_owned(),
            line: None,
        },
        message: message.into(),
        hint: Some(hint.into()),
    }
}

fn read_own<'t>(
    reader: &mut Reader<'t>,
    own: &DeTable<'t>,
    environment: &Environment,
) -> Result<(Options, PostgresConfig), Problem> {
    let mut root = reader.root(own);
    let mut section = root.section("database");
    let database = PostgresConfig::read_database(&mut section, environment, true)?;
    if let Err(error) = Database::new(database.plain()) {
        section.refuse(error.key(), &format!(": {error}"), None);
    }
    section.finish();

    const SECOND: Duration = Duration::from_secs(1);
    let mut section = root.section("relay");
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let size = |number: usize| ByteSize(number as u64);
    let table = read_name(&mut section, "table", DEFAULT_TABLE.into());
    let channel = read_name(&mut section, "channel", DEFAULT_TABLE.into());
    let batch = section.get_within("batch", count(DEFAULT_BATCH), 1..=count(MAX_BATCH));
    let batch_bytes = section.get_within(
        "batch_bytes",
        size(DEFAULT_BATCH_BYTES),
        size(64 * 1024)..=size(MAX_BATCH_BYTES),
    );
    let confirm_timeout = section.get_within(
        "confirm_timeout",
        Span(DEFAULT_CONFIRM_TIMEOUT),
        Span(SECOND)..=Span(600 * SECOND),
    );
    let keep = section.get_within(
        "keep",
        Span(DEFAULT_KEEP),
        Span(Duration::ZERO)..=Span(24 * 3_600 * SECOND),
    );
    let poll = section.get_within(
        "poll",
        Span(DEFAULT_POLL),
        Span(SECOND / 10)..=Span(3_600 * SECOND),
    );
    let retry_refused = section.get_within(
        "retry_refused",
        Span(DEFAULT_RETRY_REFUSED),
        Span(SECOND)..=Span(7 * 24 * 3_600 * SECOND),
    );
    let mut below = section.section("columns");
    let Columns {
        id,
        aggregate_id,
        event_type,
        payload,
        occurred_at,
        version,
        sent_at,
    } = Columns::default();
    let columns = Columns {
        id: read_name(&mut below, "id", id),
        aggregate_id: read_name(&mut below, "aggregate_id", aggregate_id),
        event_type: read_name(&mut below, "event_type", event_type),
        payload: read_name(&mut below, "payload", payload),
        occurred_at: read_name(&mut below, "occurred_at", occurred_at),
        version: read_name(&mut below, "version", version),
        sent_at: read_name(&mut below, "sent_at", sent_at),
    };
    below.finish();
    section.finish();
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let options = Options {
        table,
        columns,
        channel,
        batch: number(batch.into()),
        batch_bytes: number(batch_bytes.0),
        confirm_timeout: confirm_timeout.0,
        keep: keep.0,
        poll: poll.0,
        retry_refused: retry_refused.0,
    };
    Ok((options, database))
}

/// A name as the database has it: anything, but not longer than it keeps.
fn read_name(section: &mut Section<'_, '_>, key: &'static str, default: String) -> String {
    let name = section.get(key, default);
    if name.len() > MAX_NAME_BYTES {
        let message = format!(
            " has {} bytes, and a name at most {MAX_NAME_BYTES}",
            name.len()
        );
        section.refuse(key, &message, None);
    }
    name
}

#[cfg(all(test, feature = "nats"))]
mod tests {
    use std::fs;

    use super::*;

    const SHIPPED: &str = include_str!("../../config/relay.toml");
    const SINK: &str = "[sinks.nats]\ntype = \"nats\"\n";
    /// Keys of which a section can have only one.
    const EITHER_OR: [&str; 2] = ["password_file", "password_env"];

    fn load(toml: &str) -> Result<RelayConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("relay.toml");
        fs::write(&file, toml).unwrap();
        let told = |error: ConfigError| {
            let lines = error.problems.iter().map(|problem| {
                let hint = problem.hint.as_deref().unwrap_or_default();
                format!("{problem}\nhint: {hint}\n")
            });
            let text: String = lines.collect();
            text.replace(&format!("{}/", dir.path().display()), "")
        };
        let flags = Flags {
            config: file.to_str().map(str::to_owned),
            ..Flags::default()
        };
        RelayConfig::load(&flags, &Environment::default()).map_err(told)
    }

    #[test]
    fn each_mistake_is_told_with_its_place_and_what_would_be_right() {
        for (toml, expected) in [
            (
                "[relay]\nbacth = 5\n",
                "relay.toml line 2: relay.bacth is not a key\nhint: did you mean relay.batch?\n",
            ),
            (
                "[relay]\nzzz = 5\n",
                "relay.toml line 2: relay.zzz is not a key\n\
                 hint: config/relay.toml lists the relay's own keys with their defaults, and \
                 config/edge-outbox.toml those of every outbox\n",
            ),
            (
                "[relay]\npoll = \"1 ms\"\n",
                "relay.toml line 2: relay.poll = \"1 ms\" is not between \"100 ms\" and \"1 h\"\n\
                 hint: \n",
            ),
            (
                "[journal]\nmax_byte = \"1 GiB\"\n",
                "relay.toml line 2: journal.max_byte is not a key\n\
                 hint: did you mean journal.max_bytes?\n",
            ),
            (
                "[database]\nurl = \"mysql://a\"\n",
                "relay.toml line 2: database.url: it is no URL of a database: write \
                 postgres://USER@HOST:5432/DATABASE\nhint: \n",
            ),
        ] {
            let toml = format!("{toml}{SINK}");
            assert_eq!(load(&toml).err().as_deref(), Some(expected));
        }
        let long = format!("[relay.columns]\nid = \"{}\"\n{SINK}", "x".repeat(64));
        assert_eq!(
            load(&long).err().as_deref(),
            Some(
                "relay.toml line 2: relay.columns.id has 64 bytes, and a name at most 63\nhint: \n"
            )
        );
    }

    #[test]
    fn without_a_sink_that_confirms_or_with_a_journal_that_drops_nothing_starts() {
        let said = load(&format!("[journal]\nwhen_full = \"drop-oldest\"\n{SINK}")).unwrap_err();
        assert!(said.contains("was not sent"), "{said}");
        for toml in [
            "[sinks.stdout]\ntype = \"stdout\"\n",
            "[sinks]\n",
            "[sinks.nats]\ntype = \"nats\"\nrequired = false\n",
        ] {
            let said = load(toml).unwrap_err();
            assert!(said.contains("no sink that confirms"), "{said}");
        }
        let config = load(SINK).unwrap();
        assert_eq!(config.required_sinks(), ["nats"]);
    }

    #[test]
    fn the_shipped_file_has_every_key_of_a_relay_with_its_default() {
        assert!(
            SHIPPED
                .lines()
                .all(|line| line.is_empty() || line.starts_with('#'))
        );
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
        for setting in &config.outbox.settings {
            let (section, key) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
            let is_own = OWN_SECTIONS.contains(&section.split('.').next().unwrap_or_default());
            if EITHER_OR.contains(&key) {
                let there = keys.iter().any(|line| key_of(line) == key);
                assert!(there, "{} is missing from the file", setting.key);
                continue;
            }
            let is_there = setting.place != Place::Default;
            assert!(is_there || !is_own, "{} is missing", setting.key);
            if let (true, Some(default)) = (is_there && section != "http", &setting.default) {
                let value = setting.value.as_ref();
                assert_eq!(value, Some(default), "{} has another default", setting.key);
            }
        }
    }
}
