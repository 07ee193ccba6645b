//! The daemon: starting, listening, stopping.

#![cfg(feature = "cli")]
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use support::program::{Home, exists, line, lines};

#[test]
fn with_no_configuration_at_all_an_event_goes_in_over_http_and_out_on_standard_output() {
    let home = Home::new();
    let daemon = home.daemon();
    let status = home.status();
    let address = status["listening"][0].as_str().unwrap();
    let body = line(7);
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    home.wait_for(|status| status["sinks"]["stdout"]["pending"] == 0 && status["tail"] == 2);
    assert_eq!(daemon.stop().0, 0);
    let printed = home.daemon_output();
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(printed.ends_with(",\"payload\":{\"n\":7}}\n"), "{printed}");
    assert_eq!(
        home.data_dir().metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn sigterm_and_sigint_stop_it_within_two_seconds_and_leave_no_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let daemon = home.daemon();
        // A client that keeps its connection and never says anything more.
        let idle = UnixStream::connect(home.socket()).unwrap();
        let follower = home.command(&["tail", "--follow"]).spawn().unwrap();
        let (code, took) = daemon.stop_by(signal);
        assert_eq!(code, 0);
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(!exists(&home.socket()));
        assert!(follower.wait_with_output().unwrap().status.code().is_some());
        drop(idle);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    let daemon = home.daemon();
    // A request that never ends is waited for, but not against the person's will.
    let mut stuck = UnixStream::connect(home.socket()).unwrap();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 9\r\n\r\n[";
    stuck.write_all(head.as_bytes()).unwrap();
    home.status();
    daemon.signal(Signal::TERM);
    while !daemon.log().contains("stopping") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (code, took) = daemon.stop();
    assert_eq!(code, 1);
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let home = Home::new();
    let daemon = home.daemon();
    let ended = home.run(&["run", "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .contains("journal.redb is in use by another process\n"),
        "{}",
        ended.stderr
    );
    let hint = format!(
        "hint: a daemon may have it: `edge-outbox status --data-dir {}` shows it",
        home.data_dir().display()
    );
    assert!(ended.stderr.contains(&hint), "{}", ended.stderr);
    // The first one does not mind.
    assert_eq!(home.run_with(&["append"], line(0)).code, 0);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn after_a_kill_it_starts_again_over_the_socket_left_behind() {
    let home = Home::new();
    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(0..100)).code, 0);
    daemon.kill();
    assert!(exists(&home.socket()));
    // Meanwhile the journal can be worked with as if there had never been a daemon.
    assert_eq!(
        home.run_with(&["append"], line(0)).stdout,
        "1 event appended, seq 102\n"
    );
    let daemon = home.daemon();
    assert_eq!(home.status()["tail"], 102);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn the_data_directory_may_be_deeper_than_a_sockets_path_can_be_long() {
    let mut home = Home::new();
    let deep = home.path(&"a".repeat(120)).join("b".repeat(120));
    home.set("EDGE_OUTBOX_DATA_DIR", deep.to_str().unwrap());
    assert_eq!(home.run_with(&["append"], line(0)).code, 0);
    let daemon = home.daemon_at(&deep.join("edge-outbox.sock"), &["--listen", "off"]);
    let status = home.status();
    assert_eq!(status["tail"], 2);
    assert_eq!(status["listening"].as_array().unwrap().len(), 1);
    drop(daemon);
}

#[test]
fn a_port_that_is_taken_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Home::new();
    let ended = home.run(&["run", "--listen", &address]);
    assert_eq!(ended.code, 1);
    let expected = format!("error: listening on {address} failed: ");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("hint: another program listens there: "),
        "{}",
        ended.stderr
    );
    assert!(!exists(&home.socket()));
}

#[test]
fn the_socket_is_where_the_service_manager_wants_it_and_for_owner_and_group_alone() {
    let mut home = Home::new();
    let runtime = home.path("runtime");
    fs::create_dir(&runtime).unwrap();
    home.set("RUNTIME_DIRECTORY", runtime.to_str().unwrap());
    let socket = runtime.join("edge-outbox.sock");
    let daemon = home.daemon_at(&socket, &["--listen", "off"]);
    assert_eq!(
        socket.metadata().unwrap().permissions().mode() & 0o777,
        0o660
    );
    let status = home.status();
    assert_eq!(
        status["listening"],
        serde_json::json!([socket.to_str().unwrap()])
    );
    // A technician's shell does not have the service manager's variable.
    let mut shell = home.command(&["status", "--json"]);
    let found = shell.env_remove("RUNTIME_DIRECTORY").output().unwrap();
    assert!(found.status.success(), "{found:?}");
    daemon.kill();
    let daemon = home.daemon_at(&socket, &["--listen", "off"]);
    assert_eq!(daemon.stop().0, 0);
    assert!(!exists(&home.socket()), "the link is gone with the daemon");
}

#[test]
fn a_socket_that_another_daemon_answers_on_is_left_to_it() {
    let home = Home::new();
    let socket = home.path("s");
    let _other = UnixListener::bind(&socket).unwrap();
    home.write_config(&format!("[http]\nsocket = \"{}\"", socket.display()));
    let ended = home.run(&["run", "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains(" is served by another process\n"),
        "{}",
        ended.stderr
    );
    assert!(exists(&socket));
}

#[test]
fn the_log_is_plain_when_piped_and_has_priorities_for_times_in_the_system_log() {
    // Requests are answered only after the first line is written.
    let log_of = |home: &Home| {
        let daemon = home.daemon();
        home.status();
        daemon.log()
    };
    let mut home = Home::new();
    let log = log_of(&home);
    assert!(log.contains(" INFO started "), "{log}");
    assert!(log.starts_with("20") && !log.contains('\x1b'), "{log}");

    // Inherited by a process whose output was led elsewhere.
    home.set("JOURNAL_STREAM", "8:1234");
    let log = log_of(&home);
    assert!(log.starts_with("20"), "{log}");

    let file = home.path("daemon.log").metadata().unwrap();
    let stream = format!("{}:{}", file.dev(), file.ino());
    home.set("JOURNAL_STREAM", &stream);
    let log = log_of(&home);
    assert!(log.starts_with("<6>"), "{log}");
    assert!(log[3..].trim_start().starts_with("INFO started "), "{log}");

    home.write_config("[log]\nformat = \"json\"\n");
    let log = log_of(&home);
    let first = log.lines().next().unwrap().strip_prefix("<6>").unwrap();
    let first: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(first["message"], "started");
    assert!(first.get("timestamp").is_none(), "{first}");
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_how_it_is_and_that_it_stops() {
    let mut home = Home::new();
    let path = home.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let told = || {
        let mut room = [0; 1024];
        let length = manager.recv(&mut room).unwrap();
        String::from_utf8(room[..length].to_vec()).unwrap()
    };
    home.set("NOTIFY_SOCKET", path.to_str().unwrap());
    home.set("WATCHDOG_USEC", "600000000");
    home.write_config("[sinks]\n");
    let mut child = home
        .command(&["run", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    assert_eq!(
        told(),
        "READY=1\nSTATUS=takes events, up to seq 1; no sink: events are kept"
    );
    // Nobody has waited for the socket.
    assert_eq!(home.run_with(&["append"], lines(0..2)).code, 0);
    assert_eq!(told(), "WATCHDOG=1");
    assert_eq!(
        told(),
        "STATUS=takes events, up to seq 3; no sink: events are kept"
    );
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(told(), "STOPPING=1");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_data_directory_that_is_a_file_is_told_as_such() {
    let home = Home::new();
    fs::write(home.data_dir(), "not ours").unwrap();
    for args in [
        &["run", "--listen", "127.0.0.1:0"][..],
        &["status"],
        &["append"],
    ] {
        let ended = home.run(args);
        assert_eq!(ended.code, 1, "{ended:?}");
        let expected = "hint: name a directory with --data-dir or `data_dir`\n";
        assert!(ended.stderr.ends_with(expected), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("not a directory\n"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(fs::read_to_string(home.data_dir()).unwrap(), "not ours");
}

#[cfg(feature = "mqtt")]
#[test]
fn from_its_first_answer_on_no_configured_sink_can_be_forgotten() {
    // So many that their tasks do not all have their places in an instant.
    let names: Vec<String> = (1..=24).map(|n| format!("sink-{n}")).collect();
    let section = |name: &String| {
        format!(
            "[sinks.{name}]\ntype = \"mqtt\"\nservers = [\"mqtt://127.0.0.1:1\"]\n\
             client_id = \"{name}\"\nstart_jitter = \"1 min\"\n"
        )
    };
    let home = Home::with_config(&names.iter().map(section).collect::<String>());
    let daemon = home.daemon();
    home.wait_for(|status| names.iter().all(|name| status["sinks"][name].is_object()));
    assert_eq!(daemon.stop().0, 0);
    for _ in 0..5 {
        let (socket, last) = (home.socket(), names[23].clone());
        let forget = thread::spawn(move || {
            let mut stream = loop {
                match UnixStream::connect(&socket) {
                    Ok(stream) => break stream,
                    Err(_) => thread::yield_now(),
                }
            };
            let request = format!(
                "DELETE /v1/sinks/{last} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let daemon = home.daemon();
        let answer = forget.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
        assert_eq!(daemon.stop().0, 0);
    }
}
