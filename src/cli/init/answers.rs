//! What the configuration is to say: from flags, from a person, or from both.

use std::path::{Path, PathBuf};

use clap::ValueEnum as _;

use super::{Args, SinkType, terminal};
use crate::{cli::Failure, identity::DeviceName, secret::Secret};

/// What the configuration is to say.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) device: Option<DeviceName>,
    /// None: no sink yet.
    pub(super) hub: Option<Hub>,
    /// None: as it was.
    pub(super) listen: Option<String>,
}

/// Where events go.
#[derive(Debug)]
pub(super) struct Hub {
    /// Never [`SinkType::None`].
    pub(super) kind: SinkType,
    pub(super) url: String,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) credentials_file: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password: Password,
}

/// Where the password is.
#[derive(Debug)]
pub(super) enum Password {
    /// There is none.
    None,
    /// Here, to be put into a file.
    Given(Secret),
    /// In this file.
    File(PathBuf),
    /// In this environment variable, where the daemon runs.
    Variable(String),
}

impl Answers {
    /// The files that the daemon will have to read, besides those that are made for it.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.hub.iter().flat_map(|hub| {
            let password = match &hub.password {
                Password::File(file) => Some(file),
                _ => None,
            };
            [&hub.ca_file, &hub.credentials_file]
                .into_iter()
                .flatten()
                .chain(password)
                .map(PathBuf::as_path)
        })
    }
}

/// From the flags alone where they say what the sink is, else from whoever sits at the terminal.
pub(super) fn gather(args: &Args) -> Result<Answers, Failure> {
    if let Some(url) = &args.url {
        refuse_secrets(url).map_err(|what| {
            Failure::usage(format!(
                "--url holds {what}, which every user of this device can see"
            ))
            .hint("give --user and, in a pipe, --password-stdin".to_owned())
        })?;
    }
    let answers = match args.sink {
        Some(kind) => of_flags(args, kind),
        None if terminal::is_there() => of_person(args),
        None => {
            let url = if args.url.is_none() { " and --url" } else { "" };
            Err(Failure::usage(format!(
                "there is no terminal to ask on, and --sink{url} are not given",
            ))
            .hint(
                "such as --sink nats --url tls://broker.school:4222, with --ca-file, \
                 --credentials-file, --user, --device and --listen as needed"
                    .to_owned(),
            ))
        }
    }?;
    if let Some(Hub {
        kind: SinkType::Postgres,
        user: Some(_),
        ..
    }) = &answers.hub
    {
        return Err(Failure::usage("a user of Postgres stands in the URL")
            .hint("such as postgres://kiosks@hub.school:5432/edupulse".to_owned()));
    }
    Ok(answers)
}

fn of_flags(args: &Args, kind: SinkType) -> Result<Answers, Failure> {
    let hub = match (kind, &args.url) {
        (SinkType::None, _) => {
            refuse_keys_of_a_sink(args)?;
            None
        }
        (_, None) => {
            let message = format!("--sink {} is given, and --url is not", kind.word());
            return Err(Failure::usage(message).hint(format!("such as --url {}", example(kind))));
        }
        (_, Some(url)) => Some(Hub {
            kind,
            url: url.clone(),
            ca_file: args.ca_file.clone(),
            credentials_file: args.credentials_file.clone(),
            user: args.user.clone(),
            password: password_of(args)?,
        }),
    };
    Ok(Answers {
        device: args.device.clone(),
        hub,
        listen: args.listen.clone(),
    })
}

/// Where there is no sink, nothing can be said of it.
fn refuse_keys_of_a_sink(args: &Args) -> Result<(), Failure> {
    let given = [
        ("--url", args.url.is_some()),
        ("--ca-file", args.ca_file.is_some()),
        ("--credentials-file", args.credentials_file.is_some()),
        ("--user", args.user.is_some()),
        ("--password-file", args.password_file.is_some()),
        ("--password-env", args.password_env.is_some()),
        ("--password-stdin", args.password_stdin),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(Failure::usage(format!(
            "{flag} is given, and --sink none has no place for it"
        ))),
        None => Ok(()),
    }
}

/// As the flags say; a user without one is asked for it.
fn password_of(args: &Args) -> Result<Password, Failure> {
    let given = if args.password_stdin {
        let line = terminal::read_line()?;
        Some(line.ok_or_else(|| Failure::usage("standard input holds no password"))?)
    } else if args.user.is_none() || args.password_file.is_some() || args.password_env.is_some() {
        None
    } else if terminal::is_there() {
        terminal::ask_hidden("Password, which is not shown")?
    } else {
        None
    };
    let password = match (given, &args.password_file, &args.password_env) {
        (Some(secret), ..) => Password::Given(secret),
        (None, Some(file), _) => Password::File(file.clone()),
        (None, None, Some(name)) => Password::Variable(name.clone()),
        (None, None, None) => Password::None,
    };
    if args.user.is_some() && matches!(password, Password::None) {
        return Err(Failure::usage("--user is given, and no password").hint(
            "give --password-file, --password-env or, in a pipe, --password-stdin".to_owned(),
        ));
    }
    Ok(password)
}

/// Asks for whatever the flags do not say.
fn of_person(args: &Args) -> Result<Answers, Failure> {
    let device = match &args.device {
        Some(name) => Some(name.clone()),
        None => ask_until(
            "Device name, unique in the fleet (empty: as it is, else made from the key)",
            |name| name.parse().map_err(|error| format!("{error}")),
        )?,
    };
    let kind = ask_until(
        "Where events go: nats, mqtt, postgres, none (empty: none)",
        |word| SinkType::from_str(word, true).map_err(|_| format!("{word:?} is none of them")),
    )?;
    let hub = match kind.unwrap_or(SinkType::None) {
        SinkType::None => None,
        kind => Some(ask_hub(args, kind)?),
    };
    let listen = match &args.listen {
        Some(address) => Some(address.clone()),
        None => ask_until(
            "Address for HTTP on TCP, such as 127.0.0.1:7411 (empty: as it is, else none)",
            |address| Ok(address.to_owned()),
        )?,
    };
    Ok(Answers {
        device,
        hub,
        listen,
    })
}

fn ask_hub(args: &Args, kind: SinkType) -> Result<Hub, Failure> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => loop {
            let question = format!("URL, such as {}", example(kind));
            let url = ask_until(&question, |url| match refuse_secrets(url) {
                Ok(()) => Ok(url.to_owned()),
                Err(what) => Err(format!("it holds {what}, which is asked for next")),
            })?;
            if let Some(url) = url {
                break url;
            }
        },
    };
    let ca_file = match &args.ca_file {
        Some(file) => Some(file.clone()),
        None => {
            ask_file("File with the authority of its certificate (empty: the system knows it)")?
        }
    };
    let credentials_file = match (&args.credentials_file, kind, &args.user) {
        (Some(file), ..) => Some(file.clone()),
        (None, SinkType::Nats, None) => ask_file("File with credentials (empty: none)")?,
        _ => None,
    };
    let user = match (&args.user, kind) {
        (Some(user), _) => Some(user.clone()),
        (None, SinkType::Nats | SinkType::Mqtt) if credentials_file.is_none() => {
            ask_until("User (empty: none)", |user| Ok(user.to_owned()))?
        }
        _ => None,
    };
    let password = if user.is_some() || kind == SinkType::Postgres {
        ask_password(args)?
    } else {
        Password::None
    };
    Ok(Hub {
        kind,
        url,
        ca_file,
        credentials_file,
        user,
        password,
    })
}

fn ask_password(args: &Args) -> Result<Password, Failure> {
    if let Some(file) = &args.password_file {
        return Ok(Password::File(file.clone()));
    }
    if let Some(name) = &args.password_env {
        return Ok(Password::Variable(name.clone()));
    }
    let question = "Password, which is not shown (empty: from the environment, or none)";
    if let Some(secret) = terminal::ask_hidden(question)? {
        return Ok(Password::Given(secret));
    }
    let variable = ask_until(
        "Environment variable that holds it (empty: no password)",
        |name| Ok(name.to_owned()),
    )?;
    Ok(variable.map_or(Password::None, Password::Variable))
}

/// Asks until the answer is right; `None` where it is empty.
fn ask_until<T>(
    question: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    loop {
        let answer = terminal::ask(question)?;
        if answer.is_empty() {
            return Ok(None);
        }
        match read(&answer) {
            Ok(value) => return Ok(Some(value)),
            Err(what) => terminal::say(&what)?,
        }
    }
}

fn ask_file(question: &str) -> Result<Option<PathBuf>, Failure> {
    ask_until(question, |path| match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(path.into()),
        Ok(_) => Err(format!("{path} is no file")),
        Err(error) => Err(format!("{path}: {error}")),
    })
}

/// What a URL holds that belongs into a file.
fn refuse_secrets(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = rest.rsplit_once('@').map(|(user, _)| user);
    let is_postgres = scheme.starts_with("postgres");
    match user {
        // For NATS it may be a token.
        Some(_) if !is_postgres => Err("a user"),
        Some(user) if user.contains(':') => Err("a password"),
        _ if query.contains("password") => Err("a password"),
        _ => Ok(()),
    }
}

const fn example(kind: SinkType) -> &'static str {
    match kind {
        SinkType::Nats => "tls://broker.school:4222",
        SinkType::Mqtt => "mqtts://broker.school:8883",
        SinkType::Postgres => "postgres://kiosks@hub.school:5432/edupulse",
        SinkType::None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_secret_is_refused() {
        for url in [
            "nats://ann:hunter2@broker:4222",
            "nats://token@broker",
            "token@broker",
            "mqtts://ann:p@ss@broker",
            "postgres://ann:hunter2@hub/edupulse",
            "postgres://ann:@hub/edupulse",
            "postgresql://hub/edupulse?sslmode=require&password=hunter2",
        ] {
            assert!(refuse_secrets(url).is_err(), "{url}");
        }
        for url in [
            "nats://broker:4222",
            "tls://[fe80::1]:4222",
            "broker",
            "postgres://ann@hub,other:5433/edupulse?target_session_attrs=read-write",
        ] {
            assert_eq!(refuse_secrets(url), Ok(()), "{url}");
        }
    }
}
