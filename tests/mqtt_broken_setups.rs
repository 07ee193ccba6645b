//! A set-up that cannot work ends in a state, a message and a hint: what was tried, what the other side
//! said, which key to change. As a person reads it in `edge-outbox status`.

#![cfg(all(feature = "mqtt", feature = "cli"))]
mod support;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use support::{
    certificates::Authority, mosquitto::MosquittoServer, program::Home, snapshot::assert_snapshot,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What `status` says of the sink once it is in this state with this configuration.
fn status_of(home: &Home, state: &str) -> String {
    let _daemon = home.daemon();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = home.ok(&["status"]);
        let sink = status.find("sink ").map_or("", |at| &status[at..]);
        if sink.contains(state) && sink.contains("last trouble") {
            return undated(sink);
        }
        assert!(Instant::now() < deadline, "not {state:?} but {sink}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Without the time of the last trouble.
fn undated(text: &str) -> String {
    let lines = text.lines().map(|line| match line.rsplit_once(" (20") {
        Some((before, _)) if line.contains("last trouble") => before,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

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
    let status = status_of(&as_kiosk(&server, "hunter2"), "halted");
    let port = server.port().to_string();
    assert_snapshot("mqtt_wrong_password", &status, &[(port.as_str(), "PORT")]);
}

#[test]
fn a_topic_that_is_not_permitted() {
    let server = guarded("user kiosk\ntopic write elsewhere/#\n");
    let status = status_of(&as_kiosk(&server, "secret"), "halted");
    let port = server.port().to_string();
    assert_snapshot(
        "mqtt_topic_not_permitted",
        &status,
        &[(port.as_str(), "PORT")],
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
    let status = status_of(&home, "halted");
    let port = server.port().to_string();
    assert_snapshot("mqtt_wrong_authority", &status, &[(port.as_str(), "PORT")]);
}

#[test]
fn a_broker_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let home = with_sink(&format!("servers = [\"mqtt://127.0.0.1:{port}\"]\n"));
    let status = status_of(&home, "waiting");
    assert_snapshot("mqtt_unreachable", &status, &[(port.as_str(), "PORT")]);
}

#[test]
fn a_name_that_does_not_resolve() {
    let home = with_sink("servers = [\"mqtts://broker.invalid\"]\n");
    let status = status_of(&home, "waiting");
    // The system's words depend on whether a name server could be asked.
    let words = [
        "Name or service not known",
        "Temporary failure in name resolution",
        "No address associated with hostname",
    ];
    let changing = words.map(|words| (words, "WHAT THE SYSTEM SAYS"));
    assert_snapshot("mqtt_name_not_resolved", &status, &changing);
}

#[test]
fn nobody_who_subscribes() {
    let server = MosquittoServer::start();
    let home = with_sink(&format!(
        "servers = [\"{}\"]\n[device]\nname = \"kiosk-7\"\n",
        server.url()
    ));
    let status = status_of(&home, "sending");
    let port = server.port().to_string();
    assert_snapshot("mqtt_no_subscribers", &status, &[(port.as_str(), "PORT")]);
}
