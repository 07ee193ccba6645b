//! The configuration as the program finds it, checks it and shows it.

#![cfg(all(feature = "cli", feature = "nats"))]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::program::Home;

#[test]
fn a_mistake_is_exit_code_2_for_every_command_and_starts_nothing() {
    let home = Home::with_config("[http]\nlisten = \"localhost\"\n[log]\nlevle = \"info\"\n");
    let file = home.path("edge-outbox.toml");
    let expected = format!(
        "error: {file} line 2: http.listen = \"localhost\" is not an address and a port, or \"off\"\n\
         hint: write it like listen = \"127.0.0.1:7411\"\n\
         error: {file} line 4: log.levle is not a key\n\
         hint: did you mean log.level?\n",
        file = file.display()
    );
    for args in [
        &["run"][..],
        &["append"],
        &["status"],
        &["tail"],
        &["drain"],
        &["verify"],
        &["identity"],
        &["config", "check"],
        &["config", "show"],
    ] {
        let ended = home.run(args);
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (2, expected.as_str()),
            "{args:?}"
        );
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    assert!(!home.data_dir().exists());
}

#[test]
fn show_gives_what_is_in_force_where_it_comes_from_and_no_secret() {
    let mut home = Home::with_config(
        "data_dir = \"from-file\"\n[http]\nlisten = \"127.0.0.1:1\"\ntoken_env = \"TOKEN\"\n\
         [sinks.hub]\ntype = \"nats\"\nservers = [\"nats://ann:hunter2@hub\"]\nuser = \"ann\"\npassword_file = \"p\"\n",
    );
    home.set("TOKEN", "a-token-of-sufficient-length");
    home.set("EDGE_OUTBOX_LOG", "debug");
    home.set("EDUPULSE_SIGNING_KEY_B64", "c2VjcmV0");
    let shown = home.ok(&["--data-dir", "from-flag", "config", "show"]);
    let line = |key: &str| {
        let found = shown.lines().find(|line| line.starts_with(key));
        let words: Vec<&str> = found
            .unwrap_or_else(|| panic!("{key}: {shown}"))
            .split_whitespace()
            .collect();
        words.join(" ")
    };
    let file = home.path("edge-outbox.toml").display().to_string();
    assert_eq!(line("data_dir"), "data_dir = \"from-flag\" # --data-dir");
    assert_eq!(
        line("listen"),
        format!("listen = \"127.0.0.1:1\" # {file} line 3")
    );
    assert_eq!(
        line("level"),
        "level = \"debug\" # environment EDGE_OUTBOX_LOG"
    );
    assert_eq!(line("max_bytes"), "max_bytes = \"1 GiB\"");
    assert_eq!(
        line("servers"),
        format!("servers = [\"nats://***@hub\"] # {file} line 7")
    );
    for secret in ["hunter2", "a-token-of", "c2VjcmV0"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    // What is shown can be read again, and says the same.
    let again = Home::with_config(&shown);
    let mut again = again;
    again.set("TOKEN", "x");
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| {
                line.split("  ")
                    .next()
                    .unwrap_or_default()
                    .split(" # ")
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    };
    assert_eq!(
        values(&again.ok(&["config", "show"]).replace("***@", "")),
        values(&shown.replace("***@", ""))
    );
}

#[test]
fn check_looks_into_every_file_that_the_client_will_read() {
    let nats = "[sinks.hub]\ntype = \"nats\"\nservers = [\"tls://hub\"]\n";
    for (setting, name, wanted) in [
        (
            "credentials_file = \"f\"",
            "credentials_file",
            "credentials: ",
        ),
        ("nkey_file = \"f\"", "nkey_file", "a user's nkey seed"),
        ("tls.roots = \"f\"", "tls.roots", "certificates in PEM"),
        (
            "tls.certificate = \"f\"\ntls.key = \"f\"",
            "tls.certificate",
            "certificates in PEM",
        ),
    ] {
        let home = Home::with_config(&format!("{nats}{setting}\n"));
        let ended = home.run(&["config", "check"]);
        assert_eq!(ended.code, 2, "{setting}: {}", ended.stderr);
        let missing = format!(
            " line 4: {name}: {} cannot be read",
            home.path("f").display()
        );
        assert!(ended.stderr.contains(&missing), "{}", ended.stderr);
        fs::write(home.path("f"), "something else\n").unwrap();
        fs::set_permissions(home.path("f"), fs::Permissions::from_mode(0o600)).unwrap();
        let ended = home.run(&["config", "check"]);
        assert_eq!(ended.code, 2, "{setting}");
        let wrong = format!(" line 4: {name}: the file holds no {wanted}");
        assert!(ended.stderr.contains(&wrong), "{}", ended.stderr);
    }
}

#[test]
fn check_opens_the_files_that_hold_secrets_and_other_commands_do_not() {
    let home = Home::with_config(
        "[http]\ntoken_file = \"token\"\n[sinks.hub]\ntype = \"nats\"\nuser = \"ann\"\npassword_file = \"password\"\n",
    );
    let file = home.path("edge-outbox.toml");
    let ended = home.run(&["config", "check"]);
    assert_eq!(ended.code, 2);
    let expected = format!(
        "error: {} line 6: password_file: {} cannot be read: ",
        file.display(),
        home.path("password").display()
    );
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    home.ok(&["identity"]);

    fs::write(home.path("password"), "hunter2\n").unwrap();
    fs::write(home.path("token"), "short\n").unwrap();
    for name in ["password", "token"] {
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let ended = home.run(&["config", "check"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("line 2: token_file: a token of 5 bytes"),
        "{}",
        ended.stderr
    );

    fs::write(home.path("token"), "long-enough-to-be-a-token\n").unwrap();
    assert_eq!(
        home.ok(&["config", "check"]),
        format!("ok: {}\n", file.display())
    );
    fs::set_permissions(home.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = home.run(&["run"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("token is open to every user (mode 0644)"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_signing_key_of_the_environment_is_the_devices() {
    // A key from RFC 8410, as `openssl pkcs8 -outform DER | base64` gives it.
    let mut home = Home::new();
    home.set(
        "EDUPULSE_SIGNING_KEY_B64",
        "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
    );
    let identity = home.ok(&["identity"]);
    assert!(
        identity.contains("public key  Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"),
        "{identity}"
    );
    assert!(!home.data_dir().join("signing-key.pem").exists());
}

#[cfg(feature = "postgres")]
#[test]
fn the_tables_of_postgres_are_printed_whatever_the_configuration_is() {
    let home = Home::with_config("[broken");
    let script = home.ok(&["config", "sql"]);
    assert_eq!(script, edge_outbox::sink::postgres::SCHEMA_SQL);
    let version = edge_outbox::sink::postgres::SCHEMA_VERSION;
    let insert = format!("insert into edge_outbox_schema (version) values ({version})");
    assert!(script.contains(&insert) && script.contains(&format!("version <> {version})")));
}
