//! The keys of a sink of type `nats`.

use std::{path::PathBuf, time::Duration};

use toml::de::DeValue;

use super::{
    environment::Environment,
    format,
    named_file::{Holds, NamedFile},
    problem::{Place, Problem},
    secrets::SecretSource,
    section::Section,
    tls, urls,
    value::{Span, Value, quoted, words},
};
use crate::{
    secret::Secret,
    sink::nats::{
        DEFAULT_ACK_TIMEOUT, DEFAULT_RECEIPTS, DEFAULT_TAILS, MAX_ACK_TIMEOUT, MAX_CONNECT_TIMEOUT,
        NatsAuth, NatsMode, NatsOptions, NatsSink, NatsTls, SubjectTemplate,
    },
    sink::{WayBack, tls::TlsFiles},
};

/// The shortest timeout that can be set.
const MILLISECOND: Span = Span(Duration::from_millis(1));

/// A configured sink of type `nats`.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Everything but the secrets.
    options: NatsOptions,
    /// The secrets.
    auth: Auth,
    /// Files that the client reads by itself, looked at before anything starts.
    files: Vec<NamedFile>,
}

/// Who the device is to the server.
#[derive(Clone, Debug)]
enum Auth {
    /// As the options say already.
    Plain,
    User {
        name: String,
        password: SecretSource,
    },
    Token(SecretSource),
    Jwt {
        jwt: SecretSource,
        seed: SecretSource,
    },
}

words! {
    /// What confirms an event.
    enum Mode {
        JetStream = "jetstream",
        Core = "core",
    }
}

/// Servers' URLs, which may hold passwords.
#[derive(Clone)]
struct Servers(Vec<Secret>);

impl Value for Servers {
    const KIND: &'static str = "a list of servers' URLs";
    const EXAMPLE: &'static str = "[\"nats://broker.school:4222\"]";
    const SECRET: bool = true;

    fn read(value: &DeValue<'_>) -> Option<Self> {
        urls::read(value).map(Self)
    }

    fn show(&self) -> String {
        urls::show(&self.0)
    }
}

impl NatsConfig {
    /// None where something is wrong; the problem is noted.
    pub(super) fn read(
        section: &mut Section<'_, '_>,
        environment: &Environment,
        in_flight: usize,
        has_hub: bool,
    ) -> Result<Option<Self>, Problem> {
        let default = NatsOptions::default();
        let servers = section.get("servers", Servers(default.servers.clone())).0;
        let mode = match section.get("mode", Mode::JetStream) {
            Mode::JetStream => NatsMode::JetStream,
            Mode::Core => NatsMode::Core,
        };
        let subject = section.get("subject", default.subject.to_string());
        let subject = match subject.parse::<SubjectTemplate>() {
            Ok(subject) => subject,
            Err(error) => {
                section.refuse(
                    "subject",
                    &format!(" = {}: {error}", quoted(&subject)),
                    None,
                );
                default.subject.clone()
            }
        };
        let format = format::read_message(section);
        let stream = section.optional("stream");
        let create_stream = section.get("create_stream", default.create_stream);
        let connect_timeout = section.get_within(
            "connect_timeout",
            Span(default.connect_timeout),
            MILLISECOND..=Span(MAX_CONNECT_TIMEOUT),
        );
        let ack_timeout = section.get_within(
            "ack_timeout",
            Span(DEFAULT_ACK_TIMEOUT),
            MILLISECOND..=Span(MAX_ACK_TIMEOUT),
        );
        let way_back = WayBack {
            receipts: section.get("receipts", DEFAULT_RECEIPTS.to_owned()),
            tails: section.get("tails", DEFAULT_TAILS.to_owned()),
        };
        let mut files = Vec::new();
        let tls = read_tls(section.section("tls"), &mut files);
        let (auth, plain) = read_auth(section, environment, &mut files)?;
        let options = NatsOptions {
            servers,
            mode,
            subject,
            format,
            stream,
            create_stream,
            connect_timeout: connect_timeout.0,
            ack_timeout: ack_timeout.0,
            max_in_flight: in_flight,
            way_back: has_hub.then_some(way_back),
            tls,
            auth: plain,
        };
        if let Err(error) = NatsSink::new(options.clone()) {
            section.refuse(error.key(), &format!(": {error}"), None);
            return Ok(None);
        }
        Ok(Some(Self {
            options,
            auth,
            files,
        }))
    }

    /// The keys that say where the servers are and who this is to them; the stream among them.
    #[cfg(feature = "hub")]
    pub(super) fn read_source(
        section: &mut Section<'_, '_>,
        environment: &Environment,
    ) -> Result<Self, Problem> {
        let default = NatsOptions::default();
        let servers = section.get("servers", Servers(default.servers.clone())).0;
        let stream = section.optional("stream");
        let connect_timeout = section.get_within(
            "connect_timeout",
            Span(default.connect_timeout),
            MILLISECOND..=Span(MAX_CONNECT_TIMEOUT),
        );
        let mut files = Vec::new();
        let tls = read_tls(section.section("tls"), &mut files);
        let (auth, plain) = read_auth(section, environment, &mut files)?;
        let options = NatsOptions {
            servers,
            stream,
            connect_timeout: connect_timeout.0,
            tls,
            auth: plain,
            ..default
        };
        Ok(Self {
            options,
            auth,
            files,
        })
    }

    /// Everything but the secrets.
    #[cfg(feature = "hub")]
    pub(super) const fn plain(&self) -> &NatsOptions {
        &self.options
    }

    /// The sink, with the secrets read from their files.
    ///
    /// # Errors
    /// A secret cannot be had.
    pub(super) fn sink(&self) -> Result<NatsSink, Problem> {
        // Whatever is wrong with them was found when they were read.
        NatsSink::new(self.options()?).map_err(|error| Problem {
            place: Place::Default,
            message: error.to_string(),
            hint: None,
        })
    }

    /// The options, with the secrets read from their files.
    ///
    /// # Errors
    /// A secret cannot be had.
    pub(super) fn options(&self) -> Result<NatsOptions, Problem> {
        self.files.iter().try_for_each(NamedFile::check)?;
        let auth = match &self.auth {
            Auth::Plain => self.options.auth.clone(),
            Auth::User { name, password } => NatsAuth::User {
                name: name.clone(),
                password: password.reveal()?,
            },
            Auth::Token(token) => NatsAuth::Token(token.reveal()?),
            Auth::Jwt { jwt, seed } => NatsAuth::Jwt {
                jwt: jwt.reveal()?,
                seed: seed.reveal()?,
            },
        };
        Ok(NatsOptions {
            auth,
            ..self.options.clone()
        })
    }
}

fn read_tls(mut section: Section<'_, '_>, files: &mut Vec<NamedFile>) -> NatsTls {
    let required = section.get("required", false);
    let first = section.get("first", false);
    let TlsFiles { roots, identity } = tls::read_files(&mut section, files);
    section.finish();
    NatsTls {
        required,
        first,
        roots,
        identity,
    }
}

/// What needs a secret that is still to be read, and what does not.
fn read_auth(
    section: &mut Section<'_, '_>,
    environment: &Environment,
    files: &mut Vec<NamedFile>,
) -> Result<(Auth, NatsAuth), Problem> {
    let credentials = section.optional_path("credentials_file");
    let nkey = section.optional_path("nkey_file");
    let jwt = section.optional_path("jwt_file");
    let user: Option<String> = section.optional("user");
    let password = SecretSource::read(section, "password_file", "password_env", environment)?;
    let token = SecretSource::read(section, "token_file", "token_env", environment)?;

    let ways = [
        ("credentials_file", credentials.is_some()),
        ("nkey_file", nkey.is_some()),
        ("user", user.is_some()),
        ("token_file", token.is_some()),
    ];
    let mut chosen = ways.into_iter().filter(|(_, set)| *set).map(|(key, _)| key);
    if let (Some(first), Some(second)) = (chosen.next(), chosen.next()) {
        let message = format!(" and {first} are two ways to say who the device is");
        section.refuse(second, &message, Some("keep one of them"));
    }
    if jwt.is_some() && nkey.is_none() {
        section.refuse(
            "jwt_file",
            " is set without nkey_file",
            Some("set the seed's file, too"),
        );
    }
    if user.is_some() && password.is_none() {
        let hint = "set password_file or password_env";
        section.refuse("user", " is set without a password", Some(hint));
    }
    if password.is_some() && user.is_none() {
        section.refuse(
            "password_file",
            " is set without user",
            Some("set user, too"),
        );
    }

    let source =
        |key, path, section: &Section<'_, '_>| SecretSource::file(key, section.place_of(key), path);
    let mut named = |key, path: &Option<PathBuf>, holds| {
        if let Some(path) = path {
            let source = source(key, path.clone(), section);
            files.push(NamedFile::new(source, holds));
        }
    };
    named("credentials_file", &credentials, Holds::Credentials);
    named("nkey_file", &nkey, Holds::Seed);
    Ok(match (credentials, nkey, jwt, user, password, token) {
        (Some(file), ..) => (Auth::Plain, NatsAuth::CredentialsFile(file)),
        (_, Some(seed), Some(jwt), ..) => {
            let jwt = source("jwt_file", jwt, section);
            let seed = source("nkey_file", seed, section);
            (Auth::Jwt { jwt, seed }, NatsAuth::None)
        }
        (_, Some(seed), ..) => (Auth::Plain, NatsAuth::NkeyFile(seed)),
        (_, _, _, Some(name), Some(password), _) => (Auth::User { name, password }, NatsAuth::None),
        (.., Some(token)) => (Auth::Token(token), NatsAuth::None),
        _ => (Auth::Plain, NatsAuth::None),
    })
}
