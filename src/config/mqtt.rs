//! The keys of a sink of type `mqtt`.

use std::time::Duration;

use toml::de::DeValue;

use super::{
    environment::Environment,
    format,
    named_file::NamedFile,
    problem::{Place, Problem},
    secrets::SecretSource,
    section::Section,
    tls, urls,
    value::{ByteSize, Span, Value, quoted, words},
};
use crate::{
    secret::Secret,
    sink::WayBack,
    sink::mqtt::{
        DEFAULT_ACK_TIMEOUT, DEFAULT_RECEIPTS, DEFAULT_TAILS, MAX_ACK_TIMEOUT, MAX_CONNECT_TIMEOUT,
        MAX_KEEP_ALIVE, MAX_PACKET, MIN_KEEP_ALIVE, MqttAuth, MqttOptions, MqttQos, MqttSink,
        MqttVersion, TopicTemplate,
    },
};

/// The shortest timeout that can be set.
const MILLISECOND: Span = Span(Duration::from_millis(1));

/// A configured sink of type `mqtt`.
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// Everything but the secrets.
    options: MqttOptions,
    /// The user, with the password still to be read.
    user: Option<(String, SecretSource)>,
    /// Files that are read at each connect, looked at before anything starts.
    files: Vec<NamedFile>,
}

words! {
    /// The version of the protocol.
    enum Version {
        V5 = "5",
        V3_1_1 = "3.1.1",
    }
}

/// Brokers' URLs, which may hold passwords.
#[derive(Clone)]
struct Servers(Vec<Secret>);

impl Value for Servers {
    const KIND: &'static str = "a list of brokers' URLs";
    const EXAMPLE: &'static str = "[\"mqtts://broker.school:8883\"]";
    const SECRET: bool = true;

    fn read(value: &DeValue<'_>) -> Option<Self> {
        urls::read(value).map(Self)
    }

    fn show(&self) -> String {
        urls::show(&self.0)
    }
}

impl MqttConfig {
    /// None where something is wrong; the problem is noted.
    pub(super) fn read(
        section: &mut Section<'_, '_>,
        environment: &Environment,
        in_flight: usize,
        has_hub: bool,
    ) -> Result<Option<Self>, Problem> {
        let default = MqttOptions::default();
        let servers = section.get("servers", Servers(default.servers.clone())).0;
        let version = match section.get("version", Version::V5) {
            Version::V5 => MqttVersion::V5,
            Version::V3_1_1 => MqttVersion::V3_1_1,
        };
        let qos = match section.get_within("qos", 1_u32, 1..=2) {
            2 => MqttQos::ExactlyOnce,
            _ => MqttQos::AtLeastOnce,
        };
        let topic = section.get("topic", default.topic.to_string());
        let topic = match topic.parse::<TopicTemplate>() {
            Ok(topic) => topic,
            Err(error) => {
                let message = format!(" = {}: {error}", quoted(&topic));
                section.refuse("topic", &message, None);
                default.topic.clone()
            }
        };
        let format = format::read_message(section);
        let client_id = section.optional("client_id");
        let accept_no_subscribers =
            section.get("accept_no_subscribers", default.accept_no_subscribers);
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
        let keep_alive = section.get_within(
            "keep_alive",
            Span(default.keep_alive),
            Span(MIN_KEEP_ALIVE)..=Span(MAX_KEEP_ALIVE),
        );
        let max_packet = section.get_within(
            "max_packet",
            ByteSize(default.max_packet as u64),
            ByteSize(1)..=ByteSize(MAX_PACKET as u64),
        );
        let way_back = WayBack {
            receipts: section.get("receipts", DEFAULT_RECEIPTS.to_owned()),
            tails: section.get("tails", DEFAULT_TAILS.to_owned()),
        };
        let mut files = Vec::new();
        let mut tls_section = section.section("tls");
        let tls = tls::read_files(&mut tls_section, &mut files);
        tls_section.finish();
        let user = read_user(section, environment)?;
        let options = MqttOptions {
            servers,
            version,
            qos,
            topic,
            format,
            client_id,
            accept_no_subscribers,
            connect_timeout: connect_timeout.0,
            ack_timeout: ack_timeout.0,
            keep_alive: keep_alive.0,
            max_in_flight: in_flight,
            max_packet: usize::try_from(max_packet.0).unwrap_or(usize::MAX),
            way_back: has_hub.then_some(way_back),
            tls,
            ..default
        };
        if let Err(error) = MqttSink::new(options.clone()) {
            section.refuse(error.key(), &format!(": {error}"), None);
            return Ok(None);
        }
        Ok(Some(Self {
            options,
            user,
            files,
        }))
    }

    /// The keys that say where the brokers are and who this is to them; the client id among them.
    #[cfg(feature = "hub")]
    pub(super) fn read_source(
        section: &mut Section<'_, '_>,
        environment: &Environment,
    ) -> Result<Self, Problem> {
        let default = MqttOptions::default();
        let servers = section.get("servers", Servers(default.servers.clone())).0;
        let client_id = section.optional("client_id");
        let connect_timeout = section.get_within(
            "connect_timeout",
            Span(default.connect_timeout),
            MILLISECOND..=Span(MAX_CONNECT_TIMEOUT),
        );
        let keep_alive = section.get_within(
            "keep_alive",
            Span(default.keep_alive),
            Span(MIN_KEEP_ALIVE)..=Span(MAX_KEEP_ALIVE),
        );
        let mut files = Vec::new();
        let mut tls_section = section.section("tls");
        let tls = tls::read_files(&mut tls_section, &mut files);
        tls_section.finish();
        let user = read_user(section, environment)?;
        let options = MqttOptions {
            servers,
            client_id,
            connect_timeout: connect_timeout.0,
            keep_alive: keep_alive.0,
            tls,
            ..default
        };
        Ok(Self {
            options,
            user,
            files,
        })
    }

    /// Everything but the secrets.
    #[cfg(feature = "hub")]
    pub(super) const fn plain(&self) -> &MqttOptions {
        &self.options
    }

    /// A broker at which the two would end each other's connections.
    pub(super) fn clash(&self, other: &Self) -> Option<String> {
        self.options.clash(&other.options)
    }

    /// The sink, with the password read from its file.
    ///
    /// # Errors
    /// The password cannot be had, or a file that the client needs.
    pub(super) fn sink(&self) -> Result<MqttSink, Problem> {
        // Whatever is wrong with them was found when they were read.
        MqttSink::new(self.options()?).map_err(|error| Problem {
            place: Place::Default,
            message: error.to_string(),
            hint: None,
        })
    }

    /// The options, with the password read from its file.
    ///
    /// # Errors
    /// The password cannot be had, or a file that the client needs.
    pub(super) fn options(&self) -> Result<MqttOptions, Problem> {
        self.files.iter().try_for_each(NamedFile::check)?;
        let auth = match &self.user {
            None => MqttAuth::None,
            Some((name, password)) => MqttAuth::User {
                name: name.clone(),
                password: password.reveal()?,
            },
        };
        Ok(MqttOptions {
            auth,
            ..self.options.clone()
        })
    }
}

/// The user and where the password is: both, or none.
fn read_user(
    section: &mut Section<'_, '_>,
    environment: &Environment,
) -> Result<Option<(String, SecretSource)>, Problem> {
    let user: Option<String> = section.optional("user");
    let password = SecretSource::read(section, "password_file", "password_env", environment)?;
    if user.is_some() && password.is_none() {
        let hint = "set password_file or password_env";
        section.refuse("user", " is set without a password", Some(hint));
    }
    if password.is_some() && user.is_none() {
        let key = ["password_file", "password_env"]
            .into_iter()
            .find(|key| section.has(key))
            .unwrap_or("password_file");
        section.refuse(key, " is set without user", Some("set user, too"));
    }
    Ok(user.zip(password))
}
