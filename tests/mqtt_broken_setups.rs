//! A set-up that cannot work ends in a state, a message and a hint: what was tried, what the other side
//! said, which key to change. As a person reads it in `edge-outbox status`.

#![cfg(all(feature = "mqtt", feature = "cli"))]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use support::{
    broken_setup::{HALTED, SENDING, WAITING, assert_told},
    certificates::Authority,
    mosquitto::MosquittoServer,
    program::Home,
    server_process::free_port,
};

fn with_sink(keys: &str) -> Home {
    Home::with_config(&format!("[sinks.hub]\ntype = \"mqtt\"\n{keys}"))
}

fn write_secret(path: &Path, secret: &str) {
    fs::write(path, secret).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A broker that knows user `kiosk` with password `secret`, and what it may publish.
fn guarded(access: &str) -> MosquittoServer {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(dir.path().join("passwords"))
        .args(["kiosk", "secret"])
        .status()
        .unwrap();
    assert!(made.success());
    fs::write(dir.path().join("access"), access).unwrap();
    MosquittoServer::within(
        dir,
        "allow_anonymous false\npassword_file $DIR/passwords\nacl_file $DIR/access",
    )
}

/// A home with a sink at this broker, as user `kiosk`.
fn as_kiosk(server: &MosquittoServer, password: &str) -> Home {
    let home = with_sink(&format!(
        "servers = [\"{}\"]\nuser = \"kiosk\"\npassword_file = \"password\"\n\
         [device]\nname = \"kiosk-7\"\n",
        server.url()
    ));
    write_secret(&home.path("password"), password);
    home
}

#[test]
fn a_wrong_password() {
    let server = guarded("pattern readwrite #\n");
    let home = as_kiosk(&server, "wrong-one");
    assert_told(
        "mqtt_wrong_password",
        &home,
        HALTED,
        "sink.login",
        server.port(),
    );
}

#[test]
fn a_topic_that_is_not_permitted() {
    let server = guarded("user kiosk\ntopic write elsewhere/#\n");
    let home = as_kiosk(&server, "secret");
    assert_told(
        "mqtt_topic_not_permitted",
        &home,
        HALTED,
        "sink.delivery",
        server.port(),
    );
}

#[test]
fn a_wrong_authority() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "school");
    let own = authority.sign("server");
    let config = format!(
        "allow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}",
        authority.roots().display(),
        own.certificate.display(),
        own.key.display(),
    );
    let stranger = Authority::new(dir.path(), "stranger");
    let server = MosquittoServer::within(dir, &config);
    let home = with_sink(&format!(
        "servers = [\"mqtts://localhost:{}\"]\ntls.roots = \"{}\"\n",
        server.port(),
        stranger.roots().display(),
    ));
    assert_told(
        "mqtt_wrong_authority",
        &home,
        HALTED,
        "sink.tls",
        server.port(),
    );
}

#[test]
fn a_broker_that_is_not_there() {
    let port = free_port();
    let home = with_sink(&format!("servers = [\"mqtt://127.0.0.1:{port}\"]\n"));
    assert_told("mqtt_unreachable", &home, WAITING, "sink.reach", port);
}

#[test]
fn a_name_that_does_not_resolve() {
    let home = with_sink("servers = [\"mqtts://broker.invalid\"]\n");
    assert_told(
        "mqtt_name_not_resolved",
        &home,
        WAITING,
        "sink.resolve",
        8883,
    );
}

#[test]
fn nobody_who_subscribes() {
    let server = MosquittoServer::start();
    let home = with_sink(&format!(
        "servers = [\"{}\"]\n[device]\nname = \"kiosk-7\"\n",
        server.url()
    ));
    assert_told(
        "mqtt_no_subscribers",
        &home,
        SENDING,
        "sink.delivery",
        server.port(),
    );
}
