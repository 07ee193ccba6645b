//! `init`: a configuration from flags, and by asking on a terminal.

#![cfg(all(
    feature = "cli",
    feature = "nats",
    feature = "mqtt",
    feature = "postgres"
))]
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use support::{
    certificates::Authority,
    program::{Ended, Home},
};

const SECRET: &str = "correct horse";

/// How long the program may take for a question.
const PATIENCE: Duration = Duration::from_secs(20);

/// A home without a configuration: `init` is to write it.
fn home() -> Home {
    let home = Home::new();
    fs::remove_file(home.path("edge-outbox.toml")).unwrap();
    home
}

fn init(home: &Home, flags: &[&str], input: &str) -> Ended {
    home.run_with(&[&["init"], flags].concat(), input)
}

#[track_caller]
fn init_ok(home: &Home, flags: &[&str], input: &str) -> String {
    let ended = init(home, flags, input);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended.stdout
}

/// It failed as it should, and left nothing behind.
#[track_caller]
fn assert_nothing_written(home: &Home, ended: &Ended, code: i32, said: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{ended:?}");
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(names(home), Vec::<String>::new(), "{}", ended.stderr);
}

/// What is in the home, by name; the data directory is `init`'s business least of all.
fn names(home: &Home) -> Vec<String> {
    let files = fs::read_dir(home.path("")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "given").collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What is in force for a key, as `config show` says it, without where it comes from.
fn shown(home: &Home, key: &str) -> String {
    let shown = home.ok(&["config", "show"]);
    let line = shown
        .lines()
        .find(|line| line.starts_with(&format!("{key} =")));
    let line = line.unwrap_or_else(|| panic!("{key}: {shown}"));
    line.split(" # ").next().unwrap().trim().to_owned()
}

#[test]
fn flags_alone_make_a_configuration_that_passes_the_check() {
    let home = home();
    fs::create_dir(home.path("given")).unwrap();
    let authority = Authority::new(&home.path("given"), "school");
    fs::copy(authority.roots(), home.path("given/ca.pem")).unwrap();
    let credentials = home.path("given/kiosk.creds");
    fs::write(
        &credentials,
        "-----BEGIN NATS USER JWT-----\nx\n-----BEGIN USER NKEY SEED-----\nSUx\n",
    )
    .unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o640)).unwrap();
    let said = init_ok(
        &home,
        &[
            "--device=kiosk-07",
            "--sink=nats",
            "--url=tls://broker.school:4222",
            "--ca-file=given/ca.pem",
            "--credentials-file=given/kiosk.creds",
            "--listen=127.0.0.1:7411",
        ],
        "",
    );
    let config = home.path("edge-outbox.toml");
    let token = home.path("http-token");
    assert_eq!(
        said,
        format!(
            "token for HTTP on TCP: {}\nconfiguration: {}\n\
             next: `edge-outbox doctor` tries the way there, `edge-outbox run` starts the daemon\n",
            token.display(),
            config.display()
        )
    );
    assert_eq!(
        home.ok(&["config", "check"]),
        format!("ok: {}\n", config.display())
    );
    assert_eq!(shown(&home, "name"), "name = \"kiosk-07\"");
    assert_eq!(
        shown(&home, "servers"),
        "servers = [\"tls://broker.school:4222\"]"
    );
    assert_eq!((mode(&config), mode(&token)), (0o600, 0o600));
    assert_eq!(fs::read_to_string(&token).unwrap().trim().len(), 64);
    assert_eq!(names(&home), ["edge-outbox.toml", "http-token"]);
    support::snapshot::assert_snapshot(
        "init",
        &fs::read_to_string(&config).unwrap(),
        &[(home.path("").to_str().unwrap(), "/etc/edge-outbox/")],
    );
}

#[test]
fn a_password_goes_into_a_file_of_its_own_and_nowhere_else() {
    for (flags, key) in [
        (
            ["--sink=nats", "--url=nats://broker", "--user=ann"],
            "servers",
        ),
        (
            ["--sink=mqtt", "--url=mqtts://broker", "--user=ann"],
            "servers",
        ),
        (
            [
                "--sink=postgres",
                "--url=postgres://ann@hub/edupulse",
                "--device=k",
            ],
            "url",
        ),
    ] {
        let home = home();
        let said = init_ok(&home, &[&flags[..], &["--password-stdin"]].concat(), SECRET);
        let file = home.path("hub-password");
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{SECRET}\n"));
        assert_eq!(mode(&file), 0o600);
        let config = fs::read_to_string(home.path("edge-outbox.toml")).unwrap();
        assert!(
            !config.contains(SECRET) && !said.contains(SECRET),
            "{config}{said}"
        );
        assert!(shown(&home, key).contains("://"));
        assert_eq!(
            shown(&home, "password_file"),
            format!("password_file = \"{}\"", file.display())
        );
        // Without a flag for it, nobody listens on TCP.
        assert_eq!(shown(&home, "listen"), "listen = \"off\"");
        home.ok(&["config", "check"]);
    }
}

#[test]
fn a_secret_in_the_command_line_is_refused() {
    let home = home();
    for (sink, url) in [
        ("nats", "nats://ann:hunter2@broker"),
        ("nats", "hunter2@broker"),
        ("postgres", "postgres://hub/edupulse?password=hunter2"),
    ] {
        let ended = init(&home, &["--sink", sink, "--url", url], "");
        assert_nothing_written(&home, &ended, 2, "which every user of this device can see");
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}

#[test]
fn without_a_terminal_what_is_missing_is_named() {
    let home = home();
    for (flags, said) in [
        (&[][..], "--sink and --url are not given"),
        (&["--device=k"], "--sink and --url are not given"),
        (&["--url=nats://broker"], "on, and --sink are not given"),
        (&["--sink=nats"], "--sink nats is given, and --url is not"),
        (
            &["--sink=none", "--url=nats://x"],
            "--url is given, and --sink none has no place for it",
        ),
        (
            &["--sink=mqtt", "--url=mqtt://x", "--user=ann"],
            "--user is given, and no password",
        ),
        (
            &[
                "--sink=mqtt",
                "--url=mqtt://x",
                "--user=ann",
                "--password-stdin",
            ],
            "standard input holds no password",
        ),
        (
            &[
                "--sink=postgres",
                "--url=postgres://x",
                "--user=ann",
                "--password-env=P",
            ],
            "a user of Postgres stands in the URL",
        ),
    ] {
        assert_nothing_written(&home, &init(&home, flags, ""), 2, said);
    }
}

#[test]
fn what_would_not_pass_the_check_is_not_written_nor_is_any_secret() {
    let home = home();
    for (flags, said) in [
        (
            ["--sink=nats", "--url=http://broker"].as_slice(),
            "sinks.hub.servers",
        ),
        (
            &["--sink=nats", "--url=nats://broker", "--ca-file=no.pem"],
            "no.pem cannot be read",
        ),
        (
            &["--sink=mqtt", "--url=mqtt://broker", "--listen=localhost"],
            "http.listen",
        ),
    ] {
        let flags = [flags, &["--user=ann", "--password-stdin"]].concat();
        let ended = init(&home, &flags, SECRET);
        assert_nothing_written(&home, &ended, 2, said);
        assert!(
            ended.stderr.ends_with("error: nothing was written\n"),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
    }
}

#[test]
fn a_configuration_is_replaced_only_by_force_and_keeps_what_is_no_sink() {
    let mut home = Home::with_config(
        "data_dir = \"journal\"\n[device]\nname = \"kiosk-07\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         max_body = \"1 MiB\"\ntoken_env = \"TOKEN\"\n[sinks.old]\ntype = \"stdout\"\n",
    );
    home.set("TOKEN", "a-token-of-sufficient-length");
    let config = home.path("edge-outbox.toml");
    let before = fs::read_to_string(&config).unwrap();
    let flags = [
        "--sink=nats",
        "--url=nats://broker",
        "--user=ann",
        "--password-stdin",
    ];
    let ended = init(&home, &flags, SECRET);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("is there already\nhint: --force"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
    assert_eq!(names(&home), ["edge-outbox.toml"]);

    // What goes before the file where `init` runs says nothing about the file.
    home.set("EDGE_OUTBOX_DATA_DIR", "elsewhere");
    init_ok(&home, &[&flags[..], &["--force"]].concat(), SECRET);
    home.set("EDGE_OUTBOX_DATA_DIR", "");
    for setting in [
        "data_dir = \"journal\"",
        "name = \"kiosk-07\"",
        "listen = \"127.0.0.1:0\"",
        "max_body = \"1 MiB\"",
        "token_env = \"TOKEN\"",
        "servers = [\"nats://broker\"]",
    ] {
        assert_eq!(shown(&home, setting.split(' ').next().unwrap()), setting);
    }
    assert!(!home.ok(&["config", "show"]).contains("sinks.old"));
    assert_eq!(names(&home), ["edge-outbox.toml", "hub-password"]);

    // A second time, with another device, password and address, and a token where there was none.
    let again = ["--force", "--device=kiosk-08", "--listen=off"];
    init_ok(&home, &[&flags[..], &again].concat(), "battery staple");
    assert_eq!(shown(&home, "name"), "name = \"kiosk-08\"");
    assert_eq!(shown(&home, "listen"), "listen = \"off\"");
    let password = fs::read_to_string(home.path("hub-password")).unwrap();
    assert_eq!(password, "battery staple\n");
}

#[test]
fn a_broken_configuration_is_not_replaced_not_even_by_force() {
    let home = Home::with_config("[http]\nlisten = 7411\n");
    let ended = init(&home, &["--sink=none", "--force"], "");
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("line 2: http.listen = 7411"),
        "{}",
        ended.stderr
    );
    assert_eq!(names(&home), ["edge-outbox.toml"]);
}

#[test]
fn without_a_sink_events_are_kept() {
    let home = home();
    init_ok(&home, &["--sink=none"], "");
    let daemon = home.daemon_at(&home.socket(), &[]);
    assert_eq!(home.status()["sinks"].as_object().unwrap().len(), 0);
    assert!(
        home.ok(&["status"])
            .contains("none is configured: events are kept")
    );
    drop(daemon);
}

#[test]
fn a_password_may_be_in_the_environment_of_the_daemon_alone() {
    let mut home = home();
    init_ok(
        &home,
        &[
            "--sink=mqtt",
            "--url=mqtt://broker",
            "--user=ann",
            "--password-env=BROKER",
        ],
        "",
    );
    let ended = home.run(&["config", "check"]);
    assert!(
        ended.stderr.contains("BROKER, which is not set"),
        "{}",
        ended.stderr
    );
    home.set("BROKER", SECRET);
    home.ok(&["config", "check"]);
}

/// The program on a terminal of its own: what it shows, and what is typed.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
    /// Up to where the last question was found.
    read: usize,
}

impl Terminal {
    fn start(home: &Home, flags: &str) -> Self {
        let program = home.command(&[]);
        let line = format!("{} init {flags}", program.get_program().to_str().unwrap());
        let mut child = Command::new("/usr/bin/script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(program.get_current_dir().unwrap())
            .env_clear()
            .envs(
                program
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut stdout, all) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(length @ 1..) = stdout.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..length]);
                all.lock().unwrap().push_str(&text);
            }
        });
        let read = 0;
        Self { child, shown, read }
    }

    /// Waits for this text after all that was waited for before.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown.lock().unwrap().clone();
            if let Some(at) = shown[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            assert!(Instant::now() < deadline, "no {text:?} in {shown:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn answer(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        self.wait_for(": ");
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(answer.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for the end; gives the exit code and all that was shown.
    fn end(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        // The reader may be a moment behind.
        thread::sleep(Duration::from_millis(100));
        (code, self.shown.lock().unwrap().clone())
    }
}

#[test]
fn on_a_terminal_it_asks_and_the_password_is_not_shown() {
    let home = home();
    let mut terminal = Terminal::start(&home, "");
    terminal.answer("Device name", "kiosk 07\r");
    terminal.wait_for("\"kiosk 07\" is not a device name");
    terminal.answer("Device name", "kiosk-07\r");
    terminal.answer("Where events go", "nats\r");
    terminal.answer("URL", "nats://ann:x@broker\r");
    terminal.wait_for("it holds a user, which is asked for next");
    terminal.answer("URL", "nats://broker.school:4222\r");
    terminal.answer("authority", "no-such.pem\r");
    terminal.wait_for("no-such.pem: No such file");
    terminal.answer("authority", "\r");
    terminal.answer("credentials", "\r");
    terminal.answer("User", "ann\r");
    // The terminal is told to be silent after the question is there.
    terminal.wait_for("Password");
    thread::sleep(Duration::from_millis(300));
    terminal.answer("", "wrong\x15correct horsf\x7fe\r");
    terminal.answer("HTTP on TCP", "127.0.0.1:0\r");
    terminal.wait_for("next: ");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(
        !shown.contains("correct") && !shown.contains("wrong"),
        "{shown}"
    );
    let password = fs::read_to_string(home.path("hub-password")).unwrap();
    assert_eq!(password, format!("{SECRET}\n"));
    home.ok(&["config", "check"]);
    assert_eq!(
        shown_all(&home),
        [
            "name = \"kiosk-07\"",
            "user = \"ann\"",
            "listen = \"127.0.0.1:0\""
        ]
    );
    assert_eq!(
        names(&home),
        ["edge-outbox.toml", "http-token", "hub-password"]
    );
}

fn shown_all(home: &Home) -> [String; 3] {
    ["name", "user", "listen"].map(|key| shown(home, key))
}

#[test]
fn whoever_gives_up_has_nothing_written_and_a_terminal_that_shows_again() {
    let home = home();
    let flags = "--sink mqtt --url mqtt://broker --user ann; stty -a";
    let mut terminal = Terminal::start(&home, flags);
    terminal.wait_for("Password");
    thread::sleep(Duration::from_millis(300));
    terminal.answer("", "secret\x03");
    terminal.wait_for("error: given up: nothing was written");
    let (_, shown) = terminal.end();
    assert!(
        shown.contains(" echo ") && shown.contains(" icanon "),
        "{shown}"
    );
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(names(&home), Vec::<String>::new());
}
