//! `init`: a configuration, by asking or from flags.
//!
//! Secrets are not taken from the command line, which every user of the device can see, nor
//! written into the configuration: each is in a file of its own. Everything is checked by the code
//! that will read it before anything is put into its place, and the configuration goes last. So a
//! crash leaves the configuration that was there, or the whole new one with its secrets.

mod account;
mod answers;
mod new_file;
mod terminal;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use self::{
    account::{Account, Readers},
    answers::{Answers, Hub, Password},
    new_file::{NewFile, make_directory},
};
use super::{Failure, output::Output};
use crate::{
    config::{Draft, Environment, Flags, place_of_file},
    identity::DeviceName,
    secret::Secret,
};

/// What the token's file is called, beside the configuration.
const TOKEN_FILE: &str = "http-token";
/// What the password's file is called, beside the configuration.
const PASSWORD_FILE: &str = "hub-password";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Write a configuration: by asking, or from flags where --sink is given
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The device's name, unique in the fleet; left out, it is made from the signing key
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,
    /// Where events go; with it nothing else is asked for but a password
    #[arg(long, value_name = "TYPE")]
    sink: Option<SinkType>,
    /// Where that is, without user and password: nats://, tls://, mqtt://, mqtts:// or postgres://
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The authority of the other side's certificate, where the system does not know it
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Who the device is to a NATS server: credentials as `nsc generate creds` writes them
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    credentials_file: Option<PathBuf>,
    /// Who the device is to the other side; a user of Postgres stands in the URL
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file that holds the password, which the configuration will name
    #[arg(long, value_name = "FILE", group = "password")]
    password_file: Option<PathBuf>,
    /// The environment variable that holds the password where the daemon runs
    #[arg(long, value_name = "NAME", group = "password")]
    password_env: Option<String>,
    /// Takes the password from the first line of standard input, and puts it into a file
    #[arg(long, group = "password")]
    password_stdin: bool,
    /// Serves HTTP on TCP besides the Unix socket, with a token that is made; `off` serves none
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Replaces a configuration; what it says of anything but the sinks is kept, unless a flag says
    /// otherwise
    #[arg(long)]
    force: bool,
}

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SinkType {
    /// A NATS server with JetStream
    Nats,
    /// An MQTT broker
    Mqtt,
    /// A Postgres database
    Postgres,
    /// Nowhere yet: events are kept
    None,
}

pub(super) fn run(args: &Args, flags: &Flags) -> Result<(), Failure> {
    let environment = Environment::of_process();
    let place = place_of_file(flags, &environment)?;
    let is_there = place.symlink_metadata().is_ok();
    if is_there && !args.force {
        return Err(
            Failure::new(format!("{} is there already", place.display())).hint(
                "--force replaces it, and keeps what it says of anything but the sinks".to_owned(),
            ),
        );
    }
    // What a link leads to is replaced, and not the link.
    let place = place.canonicalize().unwrap_or(place);
    let mut draft = match is_there {
        true => Draft::keeping(&place, &environment)?,
        false => Draft::default(),
    };
    if let Some(directory) = &flags.data_dir {
        draft.set("data_dir", &absolute(directory.as_ref())?);
    }
    let answers = answers::gather(args)?;
    let environment = match answers.hub.as_ref().map(|hub| &hub.password) {
        Some(Password::Variable(name)) => environment.or(name, "not known here"),
        _ => environment,
    };

    let account = Account::of_service();
    make_directory(&place)?;
    let mut secrets = Vec::new();
    fill(&mut draft, &answers)?;
    if let Some(Hub {
        password: Password::Given(password),
        ..
    }) = &answers.hub
    {
        let file = place.with_file_name(PASSWORD_FILE);
        refuse_to_replace(&file, args.force)?;
        secrets.push(SecretFile {
            key: "sinks.hub.password_file",
            new: NewFile::write(
                &file,
                line(password).reveal().as_bytes(),
                Readers::service(account),
            )?,
            place: file,
            says: "password",
        });
    }
    if serves_tcp(&draft) && !draft.has("http.token_file") && !draft.has("http.token_env") {
        let file = place.with_file_name(TOKEN_FILE);
        if file.exists() {
            draft.set("http.token_file", &absolute(&file)?);
        } else {
            let token = line(&random_token()?);
            secrets.push(SecretFile {
                key: "http.token_file",
                new: NewFile::write(&file, token.reveal().as_bytes(), Readers::members(account))?,
                place: file,
                says: "token for HTTP on TCP",
            });
        }
    }

    // Checked with the secrets where they are for now, so that nothing is in its place yet.
    for secret in &secrets {
        draft.set(secret.key, &absolute(secret.new.temporary())?);
    }
    draft
        .check(&place, &environment)
        .map_err(|error| Failure::from(error).and(Failure::new("nothing was written")))?;
    for secret in &secrets {
        draft.set(secret.key, &absolute(&secret.place)?);
    }

    let new = NewFile::write(&place, draft.text().as_bytes(), Readers::members(account))?;
    let mut output = Output::open();
    for SecretFile { new, says, .. } in secrets {
        writeln!(output, "{says}: {}", new.put(args.force)?.display())?;
    }
    writeln!(output, "configuration: {}", new.put(args.force)?.display())?;
    for file in answers.files() {
        if let Some(remark) = account.and_then(|account| unreadable(account, file)) {
            writeln!(output, "{remark}")?;
        }
    }
    let named = match &flags.config {
        Some(path) => format!(" --config {path}"),
        None => String::new(),
    };
    writeln!(
        output,
        "next: `edge-outbox{named} doctor` tries the way there, `edge-outbox{named} run` starts the \
         daemon{}",
        match account {
            Some(_) => " (`systemctl restart edge-outbox` where it is a service)",
            None => "",
        }
    )?;
    Ok(())
}

/// A secret on its way into a file of its own.
struct SecretFile {
    /// The key that names it.
    key: &'static str,
    new: NewFile,
    place: PathBuf,
    /// What it is to a person.
    says: &'static str,
}

/// Takes the answers over.
fn fill(draft: &mut Draft, answers: &Answers) -> Result<(), Failure> {
    if let Some(name) = &answers.device {
        draft.set("device.name", name.as_str());
    }
    match &answers.listen {
        Some(address) => draft.set("http.listen", address),
        // Whoever did not ask for TCP gets none, but for what was kept or has its token.
        None if draft.has("http.token_file") || draft.has("http.token_env") => {}
        None if draft.has("http.listen") => {}
        None => draft.set("http.listen", OFF),
    }
    let Some(hub) = &answers.hub else {
        draft.make_section("sinks");
        return Ok(());
    };
    draft.set("sinks.hub.type", hub.kind.word());
    match hub.kind {
        SinkType::Postgres => draft.set("sinks.hub.url", &hub.url),
        _ => draft.set_list("sinks.hub.servers", &hub.url),
    }
    if let Some(file) = &hub.credentials_file {
        draft.set("sinks.hub.credentials_file", &absolute(file)?);
    }
    if let Some(user) = &hub.user {
        draft.set("sinks.hub.user", user);
    }
    match &hub.password {
        Password::File(file) => draft.set("sinks.hub.password_file", &absolute(file)?),
        Password::Variable(name) => draft.set("sinks.hub.password_env", name),
        // Once its file is written.
        Password::Given(_) | Password::None => {}
    }
    if let Some(file) = &hub.ca_file {
        draft.set("sinks.hub.tls.roots", &absolute(file)?);
    }
    Ok(())
}

/// No TCP.
const OFF: &str = "off";

/// Whether HTTP is served on TCP, as it is by default.
fn serves_tcp(draft: &Draft) -> bool {
    !draft.is("http.listen", OFF)
}

/// Whoever reads the configuration has another working directory.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| Failure::new(format!("{} is not UTF-8", Path::new(&path).display())))
}

fn refuse_to_replace(file: &Path, may_replace: bool) -> Result<(), Failure> {
    if may_replace || file.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("{} is there already", file.display());
    Err(Failure::new(message)
        .hint("name it with --password-file, or replace it with --force".to_owned()))
}

/// As a line of text, which is how a person would have written it.
fn line(secret: &Secret) -> Secret {
    Secret::new(format!("{}\n", secret.reveal()))
}

fn random_token() -> Result<Secret, Failure> {
    let mut bytes = zeroize::Zeroizing::new([0; TOKEN_BYTES]);
    getrandom::fill(&mut bytes[..])
        .map_err(|error| Failure::new(format!("no randomness for a token: {error}")))?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(Secret::new(digits.collect::<String>()))
}

/// What an administrator may read, the service may not be able to.
fn unreadable(account: Account, file: &Path) -> Option<String> {
    let found = fs::metadata(file).ok()?;
    (!account.may_read(&found)).then(|| {
        format!(
            "the service cannot read {file}: run `chgrp {group} {file} && chmod g+r {file}`",
            file = file.display(),
            group = account::NAME,
        )
    })
}

impl SinkType {
    const fn word(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Mqtt => "mqtt",
            Self::Postgres => "postgres",
            Self::None => "none",
        }
    }
}
