//! The keys of a sink of type `postgres`.

use std::time::Duration;

use toml::de::DeValue;

use super::{
    environment::Environment,
    named_file::NamedFile,
    problem::{Place, Problem},
    secrets::SecretSource,
    section::Section,
    tls,
    value::{Span, Value, quoted, words},
};
use crate::{
    secret::Secret,
    sink::postgres::{
        DEFAULT_BATCH, DEFAULT_IDLE_TIMEOUT, MAX_ACK_TIMEOUT, MAX_BATCH, MAX_CONNECT_TIMEOUT,
        MAX_PIPELINE, PostgresOptions, PostgresSink, SslMode,
    },
};

/// The shortest timeout that can be set.
const MILLISECOND: Span = Span(Duration::from_millis(1));
/// The longest that a connection with nothing to send is kept, unless it is kept for ever.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A configured sink of type `postgres`.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// Everything but the password of a file or variable.
    options: PostgresOptions,
    password: Option<SecretSource>,
    /// Files that the client reads by itself, looked at before anything starts.
    files: Vec<NamedFile>,
}

words! {
    /// How the connection is encrypted, and how the server is checked.
    enum Mode {
        Disable = "disable",
        Prefer = "prefer",
        Require = "require",
        VerifyCa = "verify-ca",
        VerifyFull = "verify-full",
    }
}

impl From<Mode> for SslMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Disable => Self::Disable,
            Mode::Prefer => Self::Prefer,
            Mode::Require => Self::Require,
            Mode::VerifyCa => Self::VerifyCa,
            Mode::VerifyFull => Self::VerifyFull,
        }
    }
}

/// A database's URL, which may hold a password.
#[derive(Clone)]
struct Url(Secret);

impl Value for Url {
    const KIND: &'static str = "a database's URL";
    const EXAMPLE: &'static str = "\"postgres://kiosks@hub.school:5432/edupulse\"";
    const SECRET: bool = true;

    fn read(value: &DeValue<'_>) -> Option<Self> {
        String::read(value).map(|url| Self(Secret::new(url)))
    }

    fn show(&self) -> String {
        quoted(&masked(self.0.reveal()))
    }
}

/// A URL without user and password, and without what follows a question mark where a password may
/// be among it. Cut at the last `@`, because a password may hold one; of one that holds a question
/// mark nothing is shown.
fn masked(url: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    if query.contains('@') {
        let separator = if scheme.is_empty() { "" } else { "://" };
        return format!("{scheme}{separator}***");
    }
    let mut shown = match rest.rsplit_once('@') {
        Some((_, host)) if scheme.is_empty() => format!("***@{host}"),
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => base.to_owned(),
    };
    if query.contains("pass") || query.contains('@') || query.contains('%') {
        shown.push_str("?***");
    } else if !query.is_empty() {
        shown.push_str(&format!("?{query}"));
    }
    shown
}

/// How long a connection is kept with nothing to send: a length of time, or `"off"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Idle(Option<Span>);

impl Value for Idle {
    const KIND: &'static str = "a length of time in ms, s, min or h, or \"off\"";
    const EXAMPLE: &'static str = "\"5 min\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str() {
            Some("off") => Some(Self(None)),
            _ => Span::read(value).map(|span| Self(Some(span))),
        }
    }

    fn show(&self) -> String {
        match self.0 {
            Some(span) => span.show(),
            None => quoted("off"),
        }
    }
}

impl PostgresConfig {
    /// None where something is wrong; the problem is noted.
    pub(super) fn read(
        section: &mut Section<'_, '_>,
        environment: &Environment,
        in_flight: usize,
    ) -> Result<Option<Self>, Problem> {
        let default = PostgresOptions::default();
        let url = section.get("url", Url(default.url)).0;
        let password = SecretSource::read(section, "password_file", "password_env", environment)?;
        let schema = section.optional("schema");
        let sslmode = section.optional::<Mode>("sslmode").map(SslMode::from);
        let connect_timeout = section.get_within(
            "connect_timeout",
            Span(default.connect_timeout),
            MILLISECOND..=Span(MAX_CONNECT_TIMEOUT),
        );
        let ack_timeout = section.get_within(
            "ack_timeout",
            Span(default.ack_timeout),
            MILLISECOND..=Span(MAX_ACK_TIMEOUT),
        );
        let rows = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let batch = section.get_within("batch", rows(DEFAULT_BATCH), 1..=rows(MAX_BATCH));
        let pipeline = section.optional_within("pipeline", 1..=rows(MAX_PIPELINE));
        let idle_timeout = section.get_within(
            "idle_timeout",
            Idle(Some(Span(DEFAULT_IDLE_TIMEOUT))),
            Idle(None)..=Idle(Some(Span(DAY))),
        );
        let mut files = Vec::new();
        let mut below = section.section("tls");
        let tls = tls::read_files(&mut below, &mut files);
        below.finish();
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let options = PostgresOptions {
            url,
            password: None,
            schema,
            sslmode,
            tls,
            connect_timeout: connect_timeout.0,
            ack_timeout: ack_timeout.0,
            batch: number(batch),
            pipeline: pipeline.map(number),
            max_in_flight: in_flight,
            idle_timeout: idle_timeout.0.map(|span| span.0),
        };
        if let Err(error) = PostgresSink::new(options.clone()) {
            section.refuse(error.key(), &format!(": {error}"), None);
            return Ok(None);
        }
        Ok(Some(Self {
            options,
            password,
            files,
        }))
    }

    /// The keys that say where a database is and who this is to it. `with_schema`: that of a sink's
    /// tables among them.
    #[cfg(feature = "hub")]
    pub(super) fn read_database(
        section: &mut Section<'_, '_>,
        environment: &Environment,
        with_schema: bool,
    ) -> Result<Self, Problem> {
        let default = PostgresOptions::default();
        let url = section.get("url", Url(default.url.clone())).0;
        let password = SecretSource::read(section, "password_file", "password_env", environment)?;
        let schema = match with_schema {
            true => section.optional("schema"),
            false => None,
        };
        let sslmode = section.optional::<Mode>("sslmode").map(SslMode::from);
        let connect_timeout = section.get_within(
            "connect_timeout",
            Span(default.connect_timeout),
            MILLISECOND..=Span(MAX_CONNECT_TIMEOUT),
        );
        let mut files = Vec::new();
        let mut below = section.section("tls");
        let tls = tls::read_files(&mut below, &mut files);
        below.finish();
        let options = PostgresOptions {
            url,
            schema,
            sslmode,
            tls,
            connect_timeout: connect_timeout.0,
            ..default
        };
        Ok(Self {
            options,
            password,
            files,
        })
    }

    /// Everything but the password.
    #[cfg(feature = "hub")]
    pub(super) const fn plain(&self) -> &PostgresOptions {
        &self.options
    }

    /// The sink, with the password read from its file.
    ///
    /// # Errors
    /// The password cannot be had.
    pub(super) fn sink(&self) -> Result<PostgresSink, Problem> {
        // Whatever is wrong with them was found when they were read.
        PostgresSink::new(self.options()?).map_err(|error| Problem {
            place: Place::Default,
            message: error.to_string(),
            hint: None,
        })
    }

    /// The options, with the password read from its file.
    ///
    /// # Errors
    /// The password cannot be had.
    pub(super) fn options(&self) -> Result<PostgresOptions, Problem> {
        self.files.iter().try_for_each(NamedFile::check)?;
        let password = self.password.as_ref().map(SecretSource::reveal);
        Ok(PostgresOptions {
            password: password.transpose()?,
            ..self.options.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says_of_user_and_password_is_masked() {
        for (url, shown) in [
            ("postgres://hub:5432/db", "postgres://hub:5432/db"),
            ("postgres://ann:s@cret@hub/db", "postgres://***@hub/db"),
            (
                "postgres://ann:x@hub/db?sslmode=require",
                "postgres://***@hub/db?sslmode=require",
            ),
            ("postgres:///db?host=hub&password=x", "postgres:///db?***"),
            ("postgres://ann:s?cret@hub/db", "postgres://***"),
            ("postgres://ann:s?cr@et@hub/db", "postgres://***"),
            ("postgres:///db?host=hub&user=ann@b", "postgres://***"),
            ("ann:x@hub", "***@hub"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
