//! MQTT through the program: who the device is to the broker, and how fast it may send.

#![cfg(all(feature = "cli", feature = "mqtt"))]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command, time::Instant};

use support::{
    mosquitto::MosquittoServer,
    mqtt::EVERYTHING,
    program::{Home, lines},
    subscriber::Subscriber,
};

const PASSWORD: &str = "hunter2 and more";

fn with_sink(server: &MosquittoServer, keys: &str) -> Home {
    Home::with_config(&format!(
        "[sinks.hub]\ntype = \"mqtt\"\nservers = [\"{}\"]\nstart_jitter = \"0 ms\"\n{keys}\n",
        server.url()
    ))
}

/// A broker where only user `kiosk` gets in, and whoever comes without a name may listen.
fn guarded() -> MosquittoServer {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(dir.path().join("passwords"))
        .args(["kiosk", PASSWORD])
        .status()
        .unwrap();
    assert!(made.success());
    let access = "topic read #\nuser kiosk\ntopic write edupulse/#\n";
    fs::write(dir.path().join("access"), access).unwrap();
    MosquittoServer::within(
        dir,
        "allow_anonymous true\npassword_file $DIR/passwords\nacl_file $DIR/access",
    )
}

#[test]
fn the_password_comes_from_a_file_or_from_the_environment() {
    let server = guarded();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let from_file = with_sink(&server, "user = \"kiosk\"\npassword_file = \"password\"");
    let file = from_file.path("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut from_environment =
        with_sink(&server, "user = \"kiosk\"\npassword_env = \"HUB_PASSWORD\"");
    from_environment.set("HUB_PASSWORD", PASSWORD);
    for (home, arrived) in [(from_file, 6), (from_environment, 12)] {
        home.ok(&["config", "check"]);
        assert_eq!(home.run_with(&["append"], lines(0..5)).code, 0);
        let drained = home.run(&["drain"]);
        assert_eq!(drained.stdout, "hub: everything delivered\n");
        assert_eq!(subscriber.wait_for(arrived).len(), arrived);
        let shown = [
            drained.stderr,
            home.ok(&["config", "show"]),
            home.ok(&["status"]),
        ];
        assert!(!shown.concat().contains("hunter2"), "{shown:?}");
    }
}

#[test]
fn check_says_which_password_is_missing() {
    let server = MosquittoServer::start();
    let home = with_sink(&server, "user = \"kiosk\"\npassword_file = \"password\"");
    let (config, password) = (home.path("edge-outbox.toml"), home.path("password"));
    let ended = home.run(&["config", "check"]);
    let expected = format!(
        "error: {} line 6: password_file: {} cannot be read: ",
        config.display(),
        password.display()
    );
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);

    let home = with_sink(&server, "user = \"kiosk\"\npassword_env = \"HUB_PASSWORD\"");
    let ended = home.run(&["config", "check"]);
    assert_eq!(ended.code, 2);
    let expected = "password_env names the environment variable HUB_PASSWORD, which is not set";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}

#[test]
fn a_rate_in_bytes_is_kept_on_a_real_connection() {
    const PER_SECOND: usize = 64 * 1024;
    let server = MosquittoServer::start();
    let subscriber = Subscriber::start(&server.url(), EVERYTHING);
    let home = with_sink(&server, "max_bytes_per_s = \"64 KiB\"");
    assert_eq!(home.run_with(&["append"], lines(0..299)).code, 0);
    let begin = Instant::now();
    assert_eq!(home.ok(&["drain"]), "hub: everything delivered\n");
    let took = begin.elapsed().as_secs_f64();
    let messages = subscriber.wait_for(300);
    let sizes: Vec<usize> = messages
        .iter()
        .map(|message| message.payload.len())
        .collect();
    let (bytes, largest) = (sizes.iter().sum::<usize>(), sizes.iter().max().unwrap());
    assert_eq!(sizes.len(), 300);
    assert!(bytes > 3 * PER_SECOND, "too little to tell: {bytes} bytes");
    // A second's worth at once, and the last message on credit.
    let allowed = (took + 1.0) * PER_SECOND as f64 + *largest as f64;
    assert!(bytes as f64 <= allowed, "{bytes} bytes within {took} s");
}
