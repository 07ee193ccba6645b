//! `demo`, the whole of it, with real processes, a real broker and a real SIGKILL.

#![cfg(feature = "demo")]
mod support;

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use support::program::{Ended, Home};

/// As quick as the three acts can be.
const QUICK: [&str; 7] = ["demo", "--kiosks", "3", "--events", "120", "--cut", "2s"];

/// A home where whatever is temporary can be seen.
fn home() -> Home {
    let mut home = Home::new();
    let temporary = home.path("tmp");
    fs::create_dir(&temporary).unwrap();
    home.set("TMPDIR", temporary.to_str().unwrap());
    home
}

/// That neither a file nor a process is left.
fn assert_nothing_left(home: &Home) {
    let temporary = home.path("tmp");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(kiosks(home), 0);
}

/// How many kiosks run that have their journals in this home.
fn kiosks(home: &Home) -> usize {
    let temporary = home.path("tmp");
    let commands = fs::read_dir("/proc").unwrap().filter_map(|process| {
        // One that ends while it is looked at is none.
        fs::read_to_string(process.ok()?.path().join("cmdline")).ok()
    });
    commands
        .filter(|command| command.contains(temporary.to_str().unwrap()))
        .count()
}

/// The rows of the table, by their names; each as the table has its columns.
fn table(ended: &Ended) -> Vec<(String, [u64; 5])> {
    let header = "appended  delivered  repeated  lost  verified";
    let mut lines = ended.stdout.lines();
    assert!(lines.any(|line| line.trim() == header), "{ended:?}");
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        Some((name, numbers.try_into().ok()?))
    };
    lines.map_while(row).collect()
}

#[test]
fn nothing_is_lost_while_the_network_is_gone_and_kiosks_lose_power() {
    let home = home();
    let ended = home.run(&QUICK);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(!ended.stdout.contains('\x1b'), "{ended:?}");

    // One line for each act, in their order, and power lost in two of them.
    let said: Vec<_> = [
        "1. Online: ",
        "2. The network is gone: ",
        "3. The network is back: ",
    ]
    .iter()
    .map(|act| ended.stdout.find(act).unwrap())
    .collect();
    assert!(said.is_sorted(), "{ended:?}");
    let (offline, back) = ended.stdout.split_at(said[2]);
    for act in [offline, back] {
        assert_eq!(act.matches(" loses power (SIGKILL) with ").count(), 1);
        assert_eq!(act.matches(" has power again: journal open in ").count(), 1);
    }
    // A line a second between them, and no more.
    let seconds: Vec<u64> = ended
        .stdout
        .lines()
        .filter(|line| line.ends_with(" pending") && line.contains(" s  "))
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert!(seconds.len() >= 5, "{ended:?}");
    assert!(seconds.is_sorted_by(|one, next| one < next), "{ended:?}");

    let mut rows = table(&ended);
    let (all, sum) = rows.pop().unwrap();
    assert_eq!(all, "all");
    let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["kiosk-1", "kiosk-2", "kiosk-3"]);
    for column in 0..5 {
        let column_sum: u64 = rows.iter().map(|(_, row)| row[column]).sum();
        assert_eq!(column_sum, sum[column], "{ended:?}");
    }
    let [appended, delivered, repeated, lost, verified] = sum;
    assert_eq!([appended, delivered, lost, verified], [360, 360, 0, 360]);
    // What was sent and not answered before the cut comes twice.
    assert!(repeated > 0, "{ended:?}");
    assert!(ended.stdout.contains("\nnothing was lost: "), "{ended:?}");
    assert_nothing_left(&home);
}

#[test]
fn one_event_that_is_left_out_of_the_books_is_found_to_be_lost() {
    let home = home();
    let ended = home.run(&[&QUICK[..], &["--lose-one"]].concat());
    assert_eq!(ended.code, 1, "{ended:?}");
    let (all, [appended, delivered, _, lost, verified]) = table(&ended).pop().unwrap();
    assert_eq!(all, "all");
    assert_eq!([appended, delivered, lost, verified], [360, 359, 1, 359]);
    let mut said = ended.stderr.lines();
    assert_eq!(
        said.next(),
        Some("error: 1 event was durable and did not arrive")
    );
    let gap = said.next().unwrap();
    assert!(
        gap.starts_with("error: kiosk-") && gap.ends_with(" are missing"),
        "{gap}"
    );
    assert_eq!(said.next(), None);
    assert!(!ended.stdout.contains("nothing was lost"), "{ended:?}");
    assert_nothing_left(&home);
}

/// Starts it, and waits until it is in the middle of it, with kiosks that take events.
fn begin(home: &Home, mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let appending = |line: &String| line.contains(" appended, ") && !line.contains("  0 ap");
    assert!(lines.any(|line| appending(&line.unwrap())));
    assert_eq!(kiosks(home), 3);
    (child, lines)
}

/// That this signal ends it at once, by name, and leaves nothing.
fn assert_ended_by(signal: Signal, name: &str, home: &Home, child: Child) {
    let begin = Instant::now();
    kill_process(Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(4), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
    let said = format!("error: stopped by {name} before the end\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), said);
    assert_nothing_left(home);
}

#[test]
fn a_signal_ends_it_at_once_and_leaves_nothing_behind() {
    let home = home();
    for (signal, name) in [
        (Signal::INT, "SIGINT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::HUP, "SIGHUP"),
    ] {
        let (child, lines) = begin(&home, open_to_hangups(&home.command(&QUICK)));
        // It goes on writing until it has ended.
        let reader = thread::spawn(|| lines.for_each(|line| drop(line.unwrap())));
        assert_ended_by(signal, name, &home, child);
        reader.join().unwrap();
    }
}

#[test]
fn a_demo_that_was_started_to_outlive_its_terminal_does() {
    let home = home();
    let (child, lines) = begin(&home, deaf_to_hangups(&home.command(&QUICK)));
    let reader = thread::spawn(|| lines.for_each(|line| drop(line.unwrap())));
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(kiosks(&home), 3);
    assert_ended_by(Signal::INT, "SIGINT", &home, child);
    reader.join().unwrap();
}

/// The same command as `nohup` would start it.
fn deaf_to_hangups(command: &Command) -> Command {
    let shell = ["/bin/sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    started_by(&shell, command)
}

/// The same command with hangups as they are by default, though these tests be under `nohup`: what
/// ignores a signal hands that on to what it starts.
fn open_to_hangups(command: &Command) -> Command {
    started_by(&["/usr/bin/env", "--default-signal=HUP"], command)
}

/// The same command, started by another program that puts it in its own place.
fn started_by(starter: &[&str], command: &Command) -> Command {
    let mut started = Command::new(starter[0]);
    started
        .args(&starter[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(environment(command))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    started
}

fn environment(command: &Command) -> impl Iterator<Item = (&OsStr, &OsStr)> {
    let set = |(name, value): (_, Option<_>)| Some((name, value?));
    command.get_envs().filter_map(set)
}

/// The same command on a terminal of its own.
fn on_a_terminal(command: &Command) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("/usr/bin/script");
    script
        .args(["-qec", &words.join(" "), "/dev/null"])
        .env_clear()
        .envs(environment(command))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    script
}

#[test]
fn a_terminal_that_is_closed_leaves_nothing_behind() {
    let mut home = home();
    home.set("TERM", "xterm");
    let command = open_to_hangups(&home.command(&QUICK));
    let mut terminal = on_a_terminal(&command).spawn().unwrap();
    let mut shown = BufReader::new(terminal.stdout.take().unwrap()).lines();
    assert!(shown.any(|line| line.unwrap().contains("The network is gone")));
    assert!(kiosks(&home) >= 3);
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while kiosks(&home) > 0 || fs::read_dir(home.path("tmp")).unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "something is left");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn no_kiosk_outlives_a_demo_that_is_killed() {
    let home = home();
    let (mut child, _lines) = begin(&home, home.command(&QUICK));
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while kiosks(&home) > 0 {
        assert!(Instant::now() < deadline, "kiosks still run");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_terminal_is_shown_bars_and_colours_where_they_are_wanted() {
    for (no_color, has_colours) in [("", true), ("1", false)] {
        let mut home = home();
        home.set("TERM", "xterm");
        home.set("NO_COLOR", no_color);
        let output = on_a_terminal(&home.command(&QUICK)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        for part in ["█", "▒", "·", "no network", "no power", "nothing was lost"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(shown.contains("\x1b[32m"), has_colours, "{shown}");
        assert_nothing_left(&home);
    }
}

#[test]
fn what_the_demo_cannot_do_is_wrong_usage() {
    let home = home();
    for args in [
        ["--kiosks", "0"],
        ["--kiosks", "17"],
        ["--events", "0"],
        ["--events", "2001"],
        ["--cut", "2 min"],
    ] {
        let ended = home.run(&[&["demo"][..], &args].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}");
    }
    assert_nothing_left(&home);
}
