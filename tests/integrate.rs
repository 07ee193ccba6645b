//! The programs of `docs/integrate.md`, cut out of it and run against the daemon, whose first answer
//! is lost: each has to try again, and the event is kept once.
//!
//! It needs Node.js, `python3`, `sh` and `curl`. The program in C# is not run.

#![cfg(feature = "cli")]
mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::program::{Daemon, Home};

const DOCUMENT: &str = include_str!("../docs/integrate.md");
const TOKEN: &str = "a-token-of-sufficient-length";
const PATIENCE: Duration = Duration::from_secs(20);

/// The program in the document whose first lines name it.
#[track_caller]
fn program(language: &str, name: &str) -> String {
    let fence = format!("```{language}\n");
    let mut programs = DOCUMENT.split(&fence).skip(1).map(|rest| {
        let end = rest.find("```\n").expect("the end of a fence");
        &rest[..end]
    });
    let found = programs.find(|program| program.lines().take(2).any(|line| line.contains(name)));
    found
        .unwrap_or_else(|| panic!("no {name} in {language}"))
        .to_owned()
}

/// Puts this device's own in the place of what the document names.
#[track_caller]
fn on_this_device(program: String, here: &[(&str, &str)]) -> String {
    here.iter().fold(program, |program, (there, here)| {
        assert_eq!(program.matches(there).count(), 1, "{there}");
        program.replace(there, here)
    })
}

/// A daemon that asks for a token on TCP.
struct Device {
    home: Home,
    _daemon: Daemon,
    tcp: SocketAddr,
    token_file: PathBuf,
}

impl Device {
    fn start() -> Self {
        let mut home = Home::with_config("[http]\ntoken_env = \"TOKEN\"\n[sinks]\n");
        home.set("TOKEN", TOKEN);
        let token_file = home.path("http-token");
        fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
        let daemon = home.daemon();
        let status = home.status();
        let mut listening = status["listening"].as_array().unwrap().iter();
        let tcp = listening.find_map(|address| address.as_str()?.parse().ok());
        Self {
            _daemon: daemon,
            tcp: tcp.unwrap(),
            token_file,
            home,
        }
    }

    /// The only event of a program in the journal.
    #[track_caller]
    fn event(&self) -> Value {
        let lines = self.home.ok(&["tail", "--from", "1"]);
        let events = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let mut events = events.filter(|event: &Value| event["kind"] == "program");
        let event = events.next().expect("an event");
        assert_eq!(events.next(), None, "it was kept twice");
        assert_eq!(event["event_type"], "quiz.submitted.v1");
        event
    }

    /// Runs a program; it must succeed and print the event's id.
    #[track_caller]
    fn run(&self, program: &mut Command) {
        let output = end_of(program);
        assert!(output.status.success(), "{output:?}");
        let event = self.event();
        let said = String::from_utf8(output.stdout).unwrap();
        for wanted in [event["id"].as_str().unwrap(), &event["seq"].to_string()] {
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(event["payload"]["score"], 7);
    }
}

fn end_of(program: &mut Command) -> Output {
    program
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"))
}

/// Stands before the daemon: requests reach it, and its first answer is lost on the way back.
struct Lossy {
    requests: Arc<AtomicUsize>,
}

impl Lossy {
    fn on_tcp(daemon: SocketAddr) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accept = move || listener.accept().unwrap().0;
        let lossy = Self::start(accept, move || TcpStream::connect(daemon).unwrap());
        (lossy, address)
    }

    fn on_socket(daemon: PathBuf, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accept = move || listener.accept().unwrap().0;
        Self::start(accept, move || UnixStream::connect(&daemon).unwrap())
    }

    fn start<S: Read + Write>(
        accept: impl Fn() -> S + Send + 'static,
        connect: impl Fn() -> S + Send + 'static,
    ) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        // It ends with the test's process.
        thread::spawn(move || {
            loop {
                let mut client = accept();
                let Some(request) = message(&mut client) else {
                    continue;
                };
                let mut daemon = connect();
                daemon.write_all(&request).unwrap();
                let answer = message(&mut daemon).expect("an answer");
                if counter.fetch_add(1, Ordering::SeqCst) > 0 {
                    client.write_all(&answer).unwrap();
                }
            }
        });
        Self { requests }
    }

    #[track_caller]
    fn assert_tried_twice(&self) {
        assert_eq!(self.requests.load(Ordering::SeqCst), 2);
    }
}

/// A request or an answer, read whole; `None` where nobody sends one.
fn message(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text[..head].split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
            if bytes.len() >= head + 4 + length.expect("a length") {
                return Some(bytes);
            }
        }
        match stream.read(&mut chunk) {
            Ok(length @ 1..) => bytes.extend_from_slice(&chunk[..length]),
            _ => return None,
        }
    }
}

const ADDRESS: &str = "http://127.0.0.1:7411";

/// Writes the program for the browser, and gives the command that runs it.
fn page(device: &Device, address: SocketAddr) -> Command {
    let program = on_this_device(
        program("javascript", "outbox.mjs"),
        &[
            (ADDRESS, &format!("http://{address}")),
            ("the token of this device", TOKEN),
        ],
    );
    let file = device.home.path("outbox.mjs");
    fs::write(&file, program).unwrap();
    let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integrate/browser.mjs");
    let mut node = Command::new("node");
    node.env("STORAGE", device.home.path("storage.json"))
        .arg("--import")
        .arg(browser)
        .arg(file);
    node
}

#[test]
fn javascript_tries_again_with_the_same_id() {
    let device = Device::start();
    let (lossy, address) = Lossy::on_tcp(device.tcp);
    device.run(&mut page(&device, address));
    lossy.assert_tried_twice();
    let storage = fs::read_to_string(device.home.path("storage.json")).unwrap();
    assert_eq!(storage, "{}", "nothing is left to hand over");
}

#[test]
fn javascript_hands_over_what_a_page_that_was_closed_has_left() {
    let device = Device::start();
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut closed = page(&device, nobody).stdin(Stdio::null()).spawn().unwrap();
    let storage = device.home.path("storage.json");
    let deadline = Instant::now() + PATIENCE;
    let kept = loop {
        let text = fs::read_to_string(&storage).unwrap_or_default();
        if let Ok(Value::Object(kept)) = serde_json::from_str(&text) {
            break kept;
        }
        assert!(Instant::now() < deadline, "nothing was stored");
        thread::sleep(Duration::from_millis(5));
    };
    closed.kill().unwrap();
    closed.wait().unwrap();
    let (key, kept) = kept.iter().next().unwrap();
    let kept: Value = serde_json::from_str(kept.as_str().unwrap()).unwrap();
    assert_eq!(
        *key,
        format!("edge-outbox:{}", kept["id"].as_str().unwrap())
    );

    let output = end_of(&mut page(&device, device.tcp));
    assert!(output.status.success(), "{output:?}");
    let lines = device.home.ok(&["tail", "--from", "2"]);
    let ids: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids.len(), 2, "the one before, and the new one: {lines}");
    assert_eq!(ids[0], kept["id"]);
}

#[test]
fn javascript_says_what_is_wrong_and_keeps_the_event() {
    let device = Device::start();
    let mut page = page(&device, device.tcp);
    let file = device.home.path("outbox.mjs");
    let wrong = fs::read_to_string(&file)
        .unwrap()
        .replace(TOKEN, "another-token-than-that");
    fs::write(&file, wrong).unwrap();
    let output = end_of(&mut page);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("token"), "{said}");
    let storage = fs::read_to_string(device.home.path("storage.json")).unwrap();
    assert!(storage.contains("quiz.submitted.v1"), "{storage}");
}

fn python(device: &Device, address: SocketAddr, token_file: &Path) -> Command {
    let program = on_this_device(
        program("python", "quiz.py"),
        &[
            (ADDRESS, &format!("http://{address}")),
            ("/etc/edge-outbox/http-token", token_file.to_str().unwrap()),
        ],
    );
    let file = device.home.path("quiz.py");
    fs::write(&file, program).unwrap();
    let mut python = Command::new("python3");
    // Nobody is there; the program is not to ask it.
    python.env("http_proxy", "http://127.0.0.1:9").arg(file);
    python
}

#[test]
fn python_tries_again_with_the_same_id() {
    let device = Device::start();
    let (lossy, address) = Lossy::on_tcp(device.tcp);
    device.run(&mut python(&device, address, &device.token_file));
    lossy.assert_tried_twice();
}

#[test]
fn python_says_what_is_wrong() {
    let device = Device::start();
    let wrong = device.home.path("wrong-token");
    fs::write(&wrong, "another-token-than-that").unwrap();
    let output = end_of(&mut python(&device, device.tcp, &wrong));
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("ValueError") && said.contains("token"),
        "{said}"
    );
}

fn shell(device: &Device, name: &str, here: &[(&str, &str)], score: &str) -> Command {
    let file = device.home.path(name);
    fs::write(&file, on_this_device(program("sh", name), here)).unwrap();
    let mut shell = Command::new("sh");
    shell.arg(file).arg(score);
    shell
}

const SOCKET: &str = "/run/edge-outbox/edge-outbox.sock";

#[test]
fn a_shell_with_curl_tries_again_with_the_same_id() {
    let device = Device::start();
    let socket = device.home.path("lossy.sock");
    let lossy = Lossy::on_socket(device.home.socket(), &socket);
    let here = [(SOCKET, socket.to_str().unwrap())];
    device.run(&mut shell(&device, "quiz.sh", &here, "7"));
    lossy.assert_tried_twice();
}

#[test]
fn a_shell_with_curl_says_what_is_wrong() {
    let device = Device::start();
    let socket = device.home.socket();
    let here = [(SOCKET, socket.to_str().unwrap())];
    let output = end_of(&mut shell(&device, "quiz.sh", &here, "seven"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/problems/") && said.contains("400"),
        "{said}"
    );
}

#[test]
fn a_shell_with_append_hands_over_what_it_was_interrupted_in() {
    let device = Device::start();
    let waiting = device.home.path("waiting");
    fs::create_dir(&waiting).unwrap();
    let here = [("/var/lib/kiosk/waiting", waiting.to_str().unwrap())];
    // The program itself is found by its name, as on a device.
    let commands = device.home.path("bin");
    fs::create_dir(&commands).unwrap();
    let built = device.home.command(&[]).get_program().to_owned();
    std::os::unix::fs::symlink(built, commands.join("edge-outbox")).unwrap();
    let rm = commands.join("rm");
    let run = |score, config| {
        let mut script = shell(&device, "quiz-append.sh", &here, score);
        let path = format!("{}:{}", commands.display(), std::env::var("PATH").unwrap());
        script.env("PATH", path);
        script.env("EDGE_OUTBOX_CONFIG", device.home.path(config));
        script.env("TOKEN", TOKEN);
        script.current_dir(device.home.path(""));
        end_of(&mut script)
    };
    const CONFIG: &str = "edge-outbox.toml";
    let waiting = || fs::read_dir(&waiting).unwrap().count();
    // Cut off between the two steps: what would remove the file does not come to it.
    std::os::unix::fs::symlink("/bin/false", &rm).unwrap();
    assert!(!run("7", CONFIG).status.success());
    assert_eq!(waiting(), 1);
    assert_eq!(device.event()["payload"]["score"], 7);
    fs::remove_file(&rm).unwrap();
    // Without an outbox it stays as well.
    assert!(!run("8", "no-such.toml").status.success());
    assert_eq!(waiting(), 2);
    let output = run("9", CONFIG);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(waiting(), 0);
    let lines = device.home.ok(&["tail", "--from", "2"]);
    let mut scores: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| event["payload"]["score"].as_u64().unwrap())
        .collect();
    scores.sort_unstable();
    assert_eq!(scores, [7, 8, 9], "each once");
}

/// The program of the document, as it is compiled.
#[allow(dead_code, reason = "its `main` uses a directory of a real device")]
mod quiz {
    include!("integrate/quiz.rs");

    #[test]
    fn the_rust_program_of_the_document_is_the_one_that_is_compiled_and_it_works() {
        assert_eq!(
            super::program("rust", "quiz.rs"),
            include_str!("integrate/quiz.rs")
        );
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.unwrap();
        for seq in [2, 3] {
            let place = runtime.block_on(submit_quiz(dir.path(), 7)).unwrap();
            assert_eq!((place.seq.get(), place.repeated), (seq, false));
        }
    }
}
