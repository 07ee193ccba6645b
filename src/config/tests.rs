use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;

/// The configuration in a file `edge-outbox.toml`, with paths as if that lay in the working
/// directory.
fn load(toml: &str, environment: &Environment) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge-outbox.toml");
    fs::write(&file, toml).unwrap();
    let flags = Flags {
        config: Some(file.to_str().unwrap().into()),
        ..Flags::default()
    };
    let directory = format!("{}/", dir.path().display());
    Config::load(&flags, environment).map_err(|error| told(&error).replace(&directory, ""))
}

fn load_file(toml: &str) -> Result<Config, String> {
    load(toml, &Environment::default())
}

/// Errors as `main` prints them.
fn told(error: &ConfigError) -> String {
    let mut text = String::new();
    for problem in &error.problems {
        text += &format!("{problem}\n");
        if let Some(hint) = &problem.hint {
            text += &format!("hint: {hint}\n");
        }
    }
    text
}

fn setting<'c>(config: &'c Config, key: &str) -> &'c Setting {
    config
        .settings
        .iter()
        .find(|setting| setting.key == key)
        .unwrap()
}

#[test]
fn each_mistake_is_told_with_its_place_its_value_and_what_would_be_right() {
    for (toml, expected) in [
        (
            "[http]\nlisten = \"localhost\"",
            "edge-outbox.toml line 2: http.listen = \"localhost\" is not an address and a port, or \"off\"\n\
             hint: write it like listen = \"127.0.0.1:7411\"\n",
        ),
        (
            "[http]\nlisten = 7411",
            "edge-outbox.toml line 2: http.listen = 7411 is not an address and a port, or \"off\"\n\
             hint: write it like listen = \"127.0.0.1:7411\"\n",
        ),
        (
            "\n[http]\nlisen = \"127.0.0.1:7411\"",
            "edge-outbox.toml line 3: http.lisen is not a key\nhint: did you mean http.listen?\n",
        ),
        (
            "listen = \"127.0.0.1:7411\"",
            "edge-outbox.toml line 1: listen is not a key\nhint: did you mean http.listen?\n",
        ),
        (
            "[jurnal]\nmax_bytes = \"1 GiB\"",
            "edge-outbox.toml line 1: jurnal is not a key\nhint: did you mean journal?\n",
        ),
        (
            "[journal]\nmax_bytes = 1073741824",
            "edge-outbox.toml line 2: journal.max_bytes = 1073741824 is not a size in B, KiB, MiB, GiB or TiB\n\
             hint: write it like max_bytes = \"256 MiB\"\n",
        ),
        (
            "[journal]\nmax_payload = \"1 GiB\"",
            "edge-outbox.toml line 2: journal.max_payload = \"1 GiB\" is not between \"1 B\" and \"8 MiB\"\n",
        ),
        (
            "journal = 5",
            "edge-outbox.toml line 1: journal = 5 is not a section\n\
             hint: write [journal] and its keys below it\n",
        ),
        (
            "[device]\nname = \"Room 7\"",
            "edge-outbox.toml line 2: device.name = \"Room 7\" is not a device name: 1 to 64 of A-Z a-z 0-9 _ -\n\
             hint: write it like name = \"kiosk-07\"\n",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "edge-outbox.toml line 2: log.level = \"loud\" is not one of \"error\" \"warn\" \"info\" \"debug\" \"trace\"\n\
             hint: write it like level = \"error\"\n",
        ),
        (
            "[sinks.hub]\nrequired = true",
            "edge-outbox.toml line 2: sinks.hub has no type\n\
             hint: write type = \"nats\", \"mqtt\", \"postgres\", \"stdout\" or \"carried\"\n",
        ),
        (
            "[sinks.out]\ntype = \"stdout\"\nwindow = 0",
            "edge-outbox.toml line 3: sinks.out.window = 0 is not between 1 and 16384\n",
        ),
        (
            "[sinks.out]\ntype = \"stdout\"\nmax_events_per_s = 0",
            "edge-outbox.toml line 3: sinks.out.max_events_per_s = 0 is not between 1 and 1000000\n",
        ),
        (
            "[sinks.out]\ntype = \"stdout\"\nmax_bytes_per_s = \"0 B\"",
            "edge-outbox.toml line 3: sinks.out.max_bytes_per_s = \"0 B\" is not between \"1 B\" and \"1 TiB\"\n",
        ),
        (
            "[sinks.out]\ntype = \"stdout\"\nreconnect_max = \"11 min\"",
            "edge-outbox.toml line 3: sinks.out.reconnect_max = \"11 min\" is not between \"100 ms\" and \"10 min\"\n",
        ),
        (
            "[sinks.out]\ntype = \"stdout\"\nstart = \"later\"",
            "edge-outbox.toml line 3: sinks.out.start = \"later\" is not one of \"oldest\" \"now\"\n\
             hint: write it like start = \"oldest\"\n",
        ),
        (
            "[sinks.out]\ntype = \"stdout\"\nrequired = true",
            "edge-outbox.toml line 3: sinks.out.required = true, but standard output confirms nothing that trimming could wait for\n\
             hint: remove the key\n",
        ),
        (
            "[sinks.a]\ntype = \"stdout\"\n[sinks.b]\ntype = \"stdout\"",
            "edge-outbox.toml line 4: sinks.b writes to standard output, as sinks.a does\n\
             hint: remove one of the two\n",
        ),
        (
            "[sinks.A]\ntype = \"stdout\"",
            "edge-outbox.toml line 2: sinks.A is not a sink's name\nhint: use 1 to 64 of a-z 0-9 _ -\n",
        ),
        (
            "[http]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"",
            "edge-outbox.toml line 3: not TOML: duplicate key\n",
        ),
        (
            "[http]\ntoken_env = \"NOWHERE\"",
            "edge-outbox.toml line 2: http.token_env names the environment variable NOWHERE, which is not set\n\
             hint: set NOWHERE where edge-outbox runs, or token_file to a file\n",
        ),
    ] {
        assert_eq!(load_file(toml).err().as_deref(), Some(expected), "{toml}");
    }
}

#[cfg(feature = "nats")]
#[test]
fn a_nats_sink_that_could_never_connect_is_refused_at_once() {
    for (keys, expected) in [
        ("servers = [\"mqtt://broker\"]", "3: sinks.hub.servers: "),
        (
            "servers = [\"nats://hub\", \"http://u:s3cret%40x y\"]",
            "3: sinks.hub.servers: entry 2 (***) is no server: write nats://HOST:PORT",
        ),
        (
            "mode = \"core\"\nstream = \"S\"",
            "4: sinks.hub.stream: core NATS has no streams: remove ",
        ),
        (
            "servers = 5",
            "3: sinks.hub.servers = *** is not a list of servers' URLs",
        ),
        ("subject = \"a b\"", "3: sinks.hub.subject = \"a b\": "),
        (
            "required = true\ncreate_stream = true",
            "4: sinks.hub.create_stream: a stream that may be created needs a name",
        ),
        (
            "mode = \"core\"\ncreate_stream = true",
            "4: sinks.hub.create_stream: core NATS has no streams: remove ",
        ),
        (
            "connect_timeout = \"1 min\"",
            "3: sinks.hub.connect_timeout = \"1 min\" is not between",
        ),
        (
            "user = \"kiosk\"",
            "3: sinks.hub.user is set without a password",
        ),
        (
            "jwt_file = \"a.jwt\"",
            "3: sinks.hub.jwt_file is set without nkey_file",
        ),
        (
            "nkey_file = \"a\"\ncredentials_file = \"b\"",
            "3: sinks.hub.nkey_file and credentials_file are two ways to say who the device is",
        ),
        (
            "password = \"x\"",
            "3: sinks.hub.password is not a key\nhint: did you mean sinks.hub.password_",
        ),
        (
            "tls.key = \"x\"",
            "3: sinks.hub.tls.key is set without certificate",
        ),
    ] {
        let error = load_file(&format!("[sinks.hub]\ntype = \"nats\"\n{keys}"))
            .err()
            .unwrap();
        assert!(error.contains(expected), "{keys}: {error}");
    }
}

#[cfg(feature = "mqtt")]
#[test]
fn an_mqtt_sink_that_could_never_connect_is_refused_at_once() {
    for (keys, expected) in [
        (
            "servers = [\"nats://broker\"]",
            "3: sinks.hub.servers: entry 1 (***) is no broker: write mqtt://HOST:PORT",
        ),
        (
            "servers = [\"mqtt://hub\", \"mqtt://u:s3cret@x y\"]",
            "3: sinks.hub.servers: entry 2 (***) is no broker",
        ),
        (
            "servers = 5",
            "3: sinks.hub.servers = *** is not a list of brokers' URLs",
        ),
        (
            "version = \"3.1\"",
            "3: sinks.hub.version = \"3.1\" is not one of \"5\" \"3.1.1\"",
        ),
        ("version = 5", "3: sinks.hub.version = 5 is not one of"),
        ("qos = 0", "3: sinks.hub.qos = 0 is not between 1 and 2"),
        (
            "topic = \"a/#\"",
            "3: sinks.hub.topic = \"a/#\": '#' cannot be part of a topic",
        ),
        (
            "topic = \"$SYS/a\"",
            "3: sinks.hub.topic = \"$SYS/a\": topics that begin with `$`",
        ),
        (
            "connect_timeout = \"1 min\"",
            "3: sinks.hub.connect_timeout = \"1 min\" is not between",
        ),
        (
            "keep_alive = \"1 s\"",
            "3: sinks.hub.keep_alive = \"1 s\" is not between \"5 s\" and \"1 h\"",
        ),
        (
            "keep_alive = \"5500 ms\"",
            "3: sinks.hub.keep_alive: the keep alive is 5s to 3600s, in whole seconds",
        ),
        (
            "max_packet = \"1 GiB\"",
            "3: sinks.hub.max_packet = \"1 GiB\" is not between",
        ),
        (
            "user = \"kiosk\"",
            "3: sinks.hub.user is set without a password",
        ),
        (
            "password_file = \"p\"",
            "3: sinks.hub.password_file is set without user",
        ),
        (
            "password = \"x\"",
            "3: sinks.hub.password is not a key\nhint: did you mean sinks.hub.password_",
        ),
        (
            "tls.key = \"x\"",
            "3: sinks.hub.tls.key is set without certificate",
        ),
        (
            "tls.required = true",
            "3: sinks.hub.tls.required is not a key",
        ),
    ] {
        let error = load_file(&format!("[sinks.hub]\ntype = \"mqtt\"\n{keys}"))
            .err()
            .unwrap();
        assert!(error.contains(expected), "{keys}: {error}");
    }
}

#[cfg(all(feature = "mqtt", feature = "nats", feature = "postgres"))]
#[test]
fn half_a_window_is_on_the_way_at_most() {
    for (keys, window, half) in [
        ("", 2_048, 1_024),
        ("window = 3", 3, 2),
        ("window = 1", 1, 1),
    ] {
        let sink = |kind| format!("[sinks.{kind}]\ntype = \"{kind}\"\n{keys}\n");
        let postgres = sink("postgres") + "url = \"postgres://127.0.0.1/edupulse\"\n";
        let config = load_file(&(sink("mqtt") + &sink("nats") + &postgres)).unwrap();
        assert_eq!(config.sinks.len(), 3);
        for sink in config.sinks {
            assert_eq!(sink.window, window, "{}", sink.name);
            let on_the_way = match sink.kind {
                SinkKind::Mqtt(config) => config.options().unwrap().max_in_flight,
                SinkKind::Nats(config) => config.options().unwrap().max_in_flight,
                SinkKind::Postgres(config) => config.options().unwrap().max_in_flight,
                SinkKind::Stdout(_) => unreachable!("none is configured"),
            };
            assert_eq!(on_the_way, half, "{}", sink.name);
        }
    }
}

#[cfg(feature = "mqtt")]
#[test]
fn two_sinks_at_one_broker_need_a_client_id_each() {
    let load = |first: &str, second: &str| {
        let sink = |name, keys| format!("[sinks.{name}]\ntype = \"mqtt\"\n{keys}\n");
        load_file(&(sink("a", first) + &sink("b", second)))
    };
    let here = "servers = [\"mqtt://elsewhere\", \"mqtt://ann:s3cret@broker\"]";
    for (first, second) in [
        (
            here.to_owned(),
            "servers = [\"mqtt://Broker:1883/\"]".into(),
        ),
        (
            format!("{here}\nclient_id = \"x\""),
            format!("{here}\nclient_id = \"x\""),
        ),
    ] {
        let error = load(&first, &second).err().unwrap();
        let expected = ": sinks.b has the client id of sinks.a at the same broker, mqtt://";
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("hint: set client_id"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    for (first, second) in [
        (here.to_owned(), format!("{here}\nclient_id = \"x\"")),
        (here.to_owned(), "servers = [\"mqtt://broker:1884\"]".into()),
    ] {
        assert!(load(&first, &second).is_ok(), "{second}");
    }
}

#[cfg(all(feature = "nats", feature = "mqtt"))]
#[test]
fn each_variable_that_is_set_makes_a_sink_of_its_own_where_the_file_has_none() {
    let environment = Environment::from([
        ("NATS_URL", "nats://a"),
        ("MQTT_URL", "mqtts://ann:hunter2@b, mqtt://c:1884"),
    ]);
    let config = load("", &environment).unwrap();
    let sinks: Vec<(&str, bool)> = config
        .sinks
        .iter()
        .map(|sink| (sink.name.as_str(), sink.required && sink.implied))
        .collect();
    assert_eq!(sinks, [("nats", true), ("mqtt", true)]);
    let servers = setting(&config, "sinks.mqtt.servers");
    assert_eq!(
        servers.value.as_deref(),
        Some("[\"mqtts://***@b\", \"mqtt://c:1884\"]")
    );
    assert_eq!(servers.place, Place::Environment("MQTT_URL".into()));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.remarks.is_empty());

    let config = load("[sinks.out]\ntype = \"stdout\"", &environment).unwrap();
    assert_eq!((config.sinks.len(), config.remarks.len()), (1, 2));

    let alone = Environment::from([("MQTT_URL", "mqtt://b")]);
    let config = load("", &alone).unwrap();
    assert!(matches!(
        config.sinks.as_slice(),
        [SinkConfig {
            kind: SinkKind::Mqtt(_),
            ..
        }]
    ));
    let wrong = Environment::from([("MQTT_URL", "nats://b")]);
    let error = load("", &wrong).err().unwrap();
    assert!(
        error.starts_with("environment MQTT_URL: sinks.mqtt.servers: entry 1 (***)"),
        "{error}"
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let error = load_file("oops = 1\n[http]\nlisten = 1\n[log]\nlevel = 2\n")
        .err()
        .unwrap();
    let places: Vec<&str> = error
        .lines()
        .filter_map(|line| line.strip_prefix("edge-outbox.toml line "))
        .collect();
    let lines: Vec<char> = places
        .iter()
        .filter_map(|place| place.chars().next())
        .collect();
    assert_eq!(lines, ['1', '3', '5'], "{error}");
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    fs::write(
        &file,
        "data_dir = \"from-file\"\n[http]\nlisten = \"127.0.0.1:1\"",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let none = Environment::default();
    let state = Environment::from([("STATE_DIRECTORY", "/state:/other")]);
    let both = Environment::from([
        ("STATE_DIRECTORY", "/state"),
        ("EDGE_OUTBOX_DATA_DIR", "/env"),
        ("EDGE_OUTBOX_LISTEN", "127.0.0.1:2"),
        ("EDGE_OUTBOX_CONFIG", file),
    ]);
    let in_file = Flags {
        config: Some(file.into()),
        ..Flags::default()
    };
    let flags = Flags {
        data_dir: Some("flag".into()),
        listen: Some("127.0.0.1:3".into()),
        ..in_file.clone()
    };
    let here = std::env::current_dir().unwrap();
    let port = |config: &Config| config.http.listen.unwrap().port();

    let config = Config::load(&Flags::default(), &none).unwrap();
    assert_eq!(
        (config.data_dir.as_path(), port(&config)),
        (here.join("edge-outbox-data").as_path(), 7411)
    );
    let config = Config::load(&in_file, &none).unwrap();
    assert_eq!(
        (config.data_dir, config.http.listen.unwrap().port()),
        (dir.path().join("from-file"), 1)
    );
    let config = Config::load(&in_file, &state).unwrap();
    assert_eq!(config.data_dir, Path::new("/state"));
    let config = Config::load(&Flags::default(), &both).unwrap();
    assert_eq!(
        (config.data_dir.as_path(), port(&config)),
        (Path::new("/env"), 2)
    );
    assert_eq!(
        setting(&config, "http.listen").place,
        Place::Environment("EDGE_OUTBOX_LISTEN".into())
    );
    let config = Config::load(&flags, &both).unwrap();
    assert_eq!(
        (config.data_dir.as_path(), port(&config)),
        (here.join("flag").as_path(), 3)
    );
}

#[test]
fn what_goes_before_the_file_is_checked_too_and_told_by_its_own_name() {
    let environment = Environment::from([("EDGE_OUTBOX_LISTEN", "everywhere")]);
    let error = load("", &environment).err().unwrap();
    assert!(
        error.starts_with("environment EDGE_OUTBOX_LISTEN: http.listen = \"everywhere\" is not"),
        "{error}"
    );
    let flags = Flags {
        listen: Some("x".into()),
        ..Flags::default()
    };
    let error = told(&Config::load(&flags, &Environment::default()).unwrap_err());
    assert!(
        error.starts_with("--listen: http.listen = \"x\" is not"),
        "{error}"
    );
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let flags = Flags {
        config: Some("/nowhere/c.toml".into()),
        ..Flags::default()
    };
    let error = told(&Config::load(&flags, &Environment::default()).unwrap_err());
    assert!(
        error.starts_with("--config: reading /nowhere/c.toml failed: "),
        "{error}"
    );
    let environment = Environment::from([("EDGE_OUTBOX_CONFIG", "/nowhere/c.toml")]);
    let error = told(&Config::load(&Flags::default(), &environment).unwrap_err());
    assert!(
        error.starts_with("environment EDGE_OUTBOX_CONFIG: reading"),
        "{error}"
    );
}

#[test]
fn the_socket_is_in_the_runtime_directory_where_there_is_one() {
    let config = load_file("data_dir = \"/data\"").unwrap();
    assert_eq!(
        config.http.socket.as_deref(),
        Some(Path::new("/data/edge-outbox.sock"))
    );
    let environment = Environment::from([("RUNTIME_DIRECTORY", "/run/eo")]);
    let config = load("", &environment).unwrap();
    assert_eq!(
        config.http.socket.as_deref(),
        Some(Path::new("/run/eo/edge-outbox.sock"))
    );
    assert_eq!(
        load("[http]\nsocket = \"off\"", &environment)
            .unwrap()
            .http
            .socket,
        None
    );
}

#[test]
fn without_a_sink_there_is_one_at_nats_url_else_standard_output() {
    let config = load_file("").unwrap();
    assert!(matches!(
        config.sinks.as_slice(),
        [SinkConfig {
            kind: SinkKind::Stdout(_),
            required: false,
            ..
        }]
    ));
    #[cfg(feature = "nats")]
    {
        let environment = Environment::from([("NATS_URL", "nats://ann:hunter2@a:1, nats://b:2")]);
        let config = load("", &environment).unwrap();
        assert!(matches!(
            config.sinks.as_slice(),
            [SinkConfig {
                kind: SinkKind::Nats(_),
                required: true,
                ..
            }]
        ));
        let servers = setting(&config, "sinks.nats.servers");
        assert_eq!(
            servers.value.as_deref(),
            Some("[\"nats://***@a:1\", \"nats://b:2\"]")
        );
        assert!(!format!("{config:?}").contains("hunter2"));
        let config = load("[sinks]", &environment).unwrap();
        assert_eq!(config.sinks.len(), 1);

        let config = load("[sinks.out]\ntype = \"stdout\"", &environment).unwrap();
        assert!(matches!(
            config.sinks.as_slice(),
            [SinkConfig {
                kind: SinkKind::Stdout(_),
                ..
            }]
        ));
        assert_eq!(config.remarks.len(), 1);
    }
}

#[cfg(all(feature = "nats", feature = "postgres"))]
#[test]
fn each_variable_that_is_set_makes_a_sink_where_the_file_has_none() {
    let environment = Environment::from([
        ("NATS_URL", "nats://a:1"),
        (
            "DATABASE_URL",
            "postgres://ann:hunter2@hub/db?sslmode=require",
        ),
    ]);
    let config = load("", &environment).unwrap();
    let names: Vec<&str> = config.sinks.iter().map(|sink| &*sink.name).collect();
    assert_eq!(names, ["nats", "postgres"]);
    assert!(
        config
            .sinks
            .iter()
            .all(|sink| sink.implied && sink.required)
    );
    assert_eq!(
        setting(&config, "sinks.postgres.url").value.as_deref(),
        Some("\"postgres://***@hub/db?sslmode=require\"")
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    config.sinks().unwrap();

    let config = load("[sinks.out]\ntype = \"stdout\"", &environment).unwrap();
    assert_eq!(config.remarks.len(), 2);
}

#[cfg(feature = "postgres")]
#[test]
fn a_postgres_sink_is_refused_under_the_key_that_is_wrong_without_its_password() {
    for (key, line, said) in [
        ("url", "url = \"ann:hunter2@hub\"", "postgres://USER@HOST"),
        ("url", "url = 7", "a database's URL"),
        (
            "url",
            "url = \"postgres://a:hunter2@h/d?sslmode=no\"",
            "verify-full",
        ),
        ("sslmode", "sslmode = \"allow\"", "\"require\""),
        ("schema", "schema = \"\"", "at least one character"),
        ("batch", "batch = 0", "1 and 4096"),
        ("idle_timeout", "idle_timeout = \"0 s\"", "above 0"),
        ("idle_timeout", "idle_timeout = \"never\"", "or \"off\""),
        ("connect_timeout", "connect_timeout = \"5 s\"", "4 s"),
        ("password_env", "password_env = \"NO_SUCH\"", "not set"),
    ] {
        let toml = format!("[sinks.hub]\ntype = \"postgres\"\n{line}");
        let error = load_file(&toml).unwrap_err();
        let named = format!("edge-outbox.toml line 3: sinks.hub.{key}");
        assert!(
            error.starts_with(&named) && error.contains(said),
            "{line}: {error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    let config = load_file(
        "[sinks.hub]\ntype = \"postgres\"\nurl = \"postgres://hub/db\"\nidle_timeout = \"off\"",
    );
    config.unwrap().sinks().unwrap();
}

#[test]
fn an_empty_section_of_sinks_stands_for_none() {
    let config = load_file("[sinks]").unwrap();
    assert!(config.sinks.is_empty(), "{:?}", config.sinks);
    assert!(config.check().is_ok());
}

#[test]
fn a_signing_key_that_is_none_is_refused_without_being_shown() {
    let environment = Environment::from([("EDUPULSE_SIGNING_KEY_B64", "c2VjcmV0")]);
    let config = load("", &environment).unwrap();
    let error = told(&config.outbox().err().unwrap());
    assert!(
        error.starts_with("environment EDUPULSE_SIGNING_KEY_B64: not an ed25519"),
        "{error}"
    );
    assert!(!format!("{error} {config:?}").contains("c2VjcmV0"));
}

#[test]
fn a_file_with_a_secret_that_everybody_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "hunter2\n").unwrap();
    let toml = format!("[http]\ntoken_file = \"{}\"", file.display());
    let token = || load_file(&toml).unwrap().http.token.unwrap().reveal();

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let problem = token().err().unwrap();
    assert!(
        problem
            .message
            .ends_with("token is open to every user (mode 0644)"),
        "{problem}"
    );
    assert!(problem.hint.unwrap().starts_with("run `chmod o= "));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(token().unwrap().reveal(), "hunter2");
    fs::write(&file, "\n").unwrap();
    assert!(token().err().unwrap().message.ends_with("token is empty"));
}

/// The configuration that is shipped, as it is and with every key uncommented.
const SHIPPED: &str = include_str!("../../config/edge-outbox.toml");

/// Lines that begin with `#` and no blank are keys and sections.
fn uncommented(keep: impl Fn(&str) -> bool) -> String {
    SHIPPED
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()))
        .filter(|line| keep(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Keys of which a file can have only one.
const EITHER_OR: [&str; 8] = [
    "token_file",
    "token_env",
    "password_file",
    "password_env",
    "credentials_file",
    "nkey_file",
    "jwt_file",
    "user",
];

#[cfg(all(feature = "nats", feature = "mqtt"))]
#[test]
fn the_shipped_file_has_every_key_with_its_default() {
    assert!(
        SHIPPED
            .lines()
            .all(|line| line.is_empty() || line.starts_with('#'))
    );
    assert!(load_file(SHIPPED).is_ok());

    let environment = Environment::from([("EDGE_OUTBOX_HTTP_TOKEN", "t")]);
    let key_of = |line: &str| line.split(" = ").next().unwrap_or_default().to_owned();
    let plain = uncommented(|line| !EITHER_OR.contains(&key_of(line).as_str()));
    let config = load(&plain, &environment).unwrap();
    for setting in &config.settings {
        let key = setting.key.rsplit('.').next().unwrap();
        if !EITHER_OR.contains(&key) {
            assert_ne!(
                setting.place,
                Place::Default,
                "{} is missing from the file",
                setting.key
            );
        }
        if let Some(default) = &setting.default {
            assert_eq!(
                setting.value.as_ref(),
                Some(default),
                "{} has another default",
                setting.key
            );
        }
    }
    for key in EITHER_OR {
        let sections = match key.split('_').next() {
            Some("password") => 3,
            Some("token" | "user") => 2,
            _ => 1,
        };
        let found = uncommented(|line| key_of(line) == key)
            .lines()
            .filter(|line| key_of(line) == key)
            .count();
        assert_eq!(found, sections, "{key}");
    }
}

#[test]
fn how_a_sink_is_sent_to_comes_from_its_section_and_is_gentle_by_default() {
    let keys = "max_events_per_s = 50\nmax_bytes_per_s = \"64 KiB\"\nreconnect_max = \"2 min\"\n\
                start_jitter = \"30 s\"\nstart = \"now\"";
    let toml = format!("[sinks.out]\ntype = \"stdout\"\n{keys}");
    let config = load_file(&toml).unwrap();
    let spec = config.sinks().unwrap().pop().unwrap();
    let rate = (spec.max_rate.events, spec.max_rate.bytes);
    assert_eq!(rate.0.map(std::num::NonZeroU32::get), Some(50));
    assert_eq!(rate.1.map(std::num::NonZeroU64::get), Some(64 << 10));
    assert_eq!(spec.reconnect_max, Duration::from_secs(120));
    assert_eq!(spec.start_jitter, Duration::from_secs(30));
    assert_eq!(spec.start, crate::outbox::Start::Now);

    #[cfg(feature = "nats")]
    {
        let config = load_file("[sinks.hub]\ntype = \"nats\"").unwrap();
        let spec = config.sinks().unwrap().pop().unwrap();
        assert_eq!(spec.max_rate, crate::forwarder::MaxRate::default());
        assert_eq!(spec.reconnect_max, Duration::from_secs(4));
        assert_eq!(spec.start_jitter, Duration::from_secs(1));
        assert_eq!(spec.start, crate::outbox::Start::Oldest);
    }
}
