//! A set-up that cannot work ends in a state, a message and a hint: what was tried, what the other side
//! said, which key to change. As a person reads it in `edge-outbox status`.

#![cfg(all(feature = "nats", feature = "cli"))]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::{
    broken_setup::{HALTED, WAITING, assert_told},
    certificates::Authority,
    nats_server::NatsServer,
    program::Home,
    server_process::free_port,
};

/// A home of `kiosk-7` with a sink that has these keys.
fn home(keys: &str) -> Home {
    let device = "[device]\nname = \"kiosk-7\"\n";
    Home::with_config(&format!("{device}[sinks.hub]\ntype = \"nats\"\n{keys}"))
}

/// A server where user `kiosk` may publish to these subjects alone.
fn guarded(publish: &str) -> NatsServer {
    NatsServer::with(&format!(
        "jetstream {{ store_dir: \"$DIR/store\" }}\n\
         authorization {{ users = [ {{ user: kiosk, password: secret, \
         permissions: {{ publish: [{publish}], subscribe: [\"_INBOX.>\"] }} }} ] }}"
    ))
}

/// A home with a sink at this server, as user `kiosk`.
fn as_kiosk(server: &NatsServer, password: &str) -> Home {
    let home = home(&format!(
        "servers = [\"{}\"]\nuser = \"kiosk\"\npassword_file = \"password\"\n\
         stream = \"EDUPULSE\"\ncreate_stream = true\n",
        server.url()
    ));
    let path = home.path("password");
    fs::write(&path, password).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    home
}

#[test]
fn a_wrong_password() {
    let server = guarded("\">\"");
    let home = as_kiosk(&server, "wrong-one");
    assert_told(
        "nats_wrong_password",
        &home,
        HALTED,
        "sink.login",
        server.port(),
    );
}

#[test]
fn a_subject_that_is_not_permitted() {
    let server = guarded("\"$JS.API.>\", \"_INBOX.>\"");
    let home = as_kiosk(&server, "secret");
    assert_told(
        "nats_subject_not_permitted",
        &home,
        HALTED,
        "sink.delivery",
        server.port(),
    );
}

#[test]
fn a_wrong_authority() {
    let dir = tempfile::tempdir().unwrap();
    let own = Authority::new(dir.path(), "school").sign("server");
    let stranger = Authority::new(dir.path(), "stranger").roots();
    let config = format!(
        "jetstream {{ store_dir: \"$DIR/store\" }}\ntls {{ cert_file: {:?}, key_file: {:?} }}",
        own.certificate, own.key
    );
    let server = NatsServer::within(dir, &config);
    let home = home(&format!(
        "servers = [\"tls://localhost:{}\"]\ntls.roots = {stranger:?}\n",
        server.port()
    ));
    assert_told(
        "nats_wrong_authority",
        &home,
        HALTED,
        "sink.tls",
        server.port(),
    );
}

#[test]
fn no_stream() {
    let server = NatsServer::start();
    let home = home(&format!("servers = [\"{}\"]\n", server.url()));
    assert_told(
        "nats_no_stream",
        &home,
        HALTED,
        "nats.stream",
        server.port(),
    );
}

#[test]
fn a_server_that_is_not_there() {
    let port = free_port();
    let home = home(&format!("servers = [\"nats://127.0.0.1:{port}\"]\n"));
    assert_told("nats_unreachable", &home, WAITING, "sink.reach", port);
}

#[test]
fn a_name_that_does_not_resolve() {
    let home = home("servers = [\"nats://broker.invalid\"]\n");
    assert_told(
        "nats_name_not_resolved",
        &home,
        WAITING,
        "sink.resolve",
        4222,
    );
}
