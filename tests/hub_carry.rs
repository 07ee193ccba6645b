//! What is carried by hand, the whole way: real journals, the file, `hub import` into a real Postgres,
//! and receipts back.

#![cfg(all(feature = "hub", feature = "nats", feature = "cli"))]
mod support;

use std::{fs, path::PathBuf};

use serde_json::Value;
use support::{
    hub::{connect, database, gaps, health, lines, number, quarantined},
    hub_program::HubHome,
    nats_server::NatsServer,
    postgres_server::PostgresServer,
    program::{Ended, Home, lines as events},
};
use tokio::runtime::Runtime;

const EVENTS: &str = "select count(*) from edge_outbox_hub.events";
/// A person, who is the aggregate of every event here.
const PERSON: &str = "0192f0c1-2345-7000-8000-0123456789ab";
/// More than what is trimmed at once, beside what stays.
const MANY: usize = 2_200;

/// A hub, and devices that it will never hear of but by hand.
struct School {
    runtime: Runtime,
    server: PostgresServer,
    hub: HubHome,
    hub_key: String,
}

/// A classroom without a network.
struct Classroom {
    home: Home,
    name: &'static str,
}

impl School {
    fn new() -> Self {
        Self::with("")
    }

    fn with(sections: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(database());
        let hub = HubHome::new("hub", &server, sections);
        let said = hub.ok(&["key"]);
        let key = said.lines().find_map(|it| it.strip_prefix("public key  "));
        Self {
            hub_key: key.unwrap().to_owned(),
            runtime,
            server,
            hub,
        }
    }

    /// Devices have to be registered.
    fn without_first_use(self) -> Self {
        let file = self.hub.path("hub.toml");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            config.replace("first_use = true", "first_use = false"),
        )
        .unwrap();
        self
    }

    fn classroom(&self, name: &'static str) -> Classroom {
        self.classroom_with(name, "")
    }

    fn classroom_with(&self, name: &'static str, sinks: &str) -> Classroom {
        let home = Home::with_config(&format!(
            "[device]\nname = \"{name}\"\nhub_key = \"{}\"\n[sinks.stick]\ntype = \"carried\"\n{sinks}",
            self.hub_key
        ));
        Classroom { home, name }
    }

    /// Imports these files; gives how it ended and what it says of each.
    fn import(&self, files: &[PathBuf]) -> (Ended, Vec<Value>) {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let args: Vec<&str> = ["import", "--json"].into_iter().chain(files).collect();
        let ended = self.hub.ask(&args);
        let files = serde_json::from_str::<Value>(&ended.stdout)
            .map(|report| report["files"].as_array().unwrap().clone())
            .unwrap_or_default();
        (ended, files)
    }

    /// The same of one file, of which all must be taken.
    #[track_caller]
    fn import_well(&self, file: PathBuf) -> (u64, u64) {
        let (ended, files) = self.import(&[file]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(files[0]["is_whole"], true, "{files:?}");
        counts(&files[0])
    }

    fn events(&self) -> i64 {
        self.ask(EVENTS)
    }

    fn ask(&self, question: &str) -> i64 {
        self.runtime.block_on(async {
            let client = connect(&self.server, "analyst").await;
            number(&client, question).await
        })
    }

    fn quarantined(&self) -> Vec<String> {
        self.runtime
            .block_on(async { quarantined(&connect(&self.server, "operator").await).await })
    }

    #[track_caller]
    fn assert_clean(&self, devices: &[(&str, u64)]) {
        let line =
            |(name, tail): &(&str, u64)| format!("{name} 1 {tail} {tail} {tail} {tail} t 0 0 {{}}");
        let mut wanted: Vec<String> = devices.iter().map(line).collect();
        wanted.sort();
        assert_eq!(self.runtime.block_on(health(&self.server)), wanted);
        self.hub.ok(&["verify"]);
    }
}

impl Classroom {
    #[track_caller]
    fn append(&self, numbers: std::ops::Range<usize>) -> &Self {
        let ended = self.home.run_with(&["append"], events(numbers));
        assert_eq!(ended.code, 0, "{ended:?}");
        self
    }

    /// Exports to a file of this name.
    fn export(&self, name: &str, more: &[&str]) -> PathBuf {
        let mut args = vec!["export", name, "--force"];
        args.extend(more);
        self.home.ok(&args);
        self.home.path(name)
    }

    /// A file in this classroom with this in it.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// Stored, and known already.
fn counts(file: &Value) -> (u64, u64) {
    (
        file["stored"].as_u64().unwrap(),
        file["repeated"].as_u64().unwrap(),
    )
}

#[test]
fn what_a_classroom_without_a_network_has_comes_to_the_hub_once_and_is_let_go_of() {
    let school = School::new();
    let classroom = school.classroom("kiosk-1");
    classroom.append(0..MANY);
    let file = classroom.export("out.jsonl", &[]);
    let tail = MANY as u64 + 1;
    assert_eq!(school.import_well(file.clone()), (tail, 0));
    school.assert_clean(&[("kiosk-1", tail)]);
    // Twice is once.
    let receipts = classroom.home.path("receipts.jsonl");
    let receipts = receipts.to_str().unwrap();
    let said = school
        .hub
        .ok(&["import", file.to_str().unwrap(), "--receipts", receipts]);
    assert!(
        said.contains("0 events stored, 2201 known already"),
        "{said}"
    );
    assert!(said.contains("1 receipt in "), "{said}");
    assert_eq!(school.events(), MANY as i64 + 1);
    school.assert_clean(&[("kiosk-1", tail)]);
    let origins = "select count(*) from edge_outbox_hub.events where origin = 'import'";
    assert_eq!(school.ask(origins), MANY as i64 + 1);

    let daemon = classroom.home.daemon();
    let said = classroom.home.ok(&["receipts", receipts]);
    assert_eq!(said, "the hub has everything up to seq 2201\n");
    let status = classroom.home.status();
    assert!(
        status["journal"]["first_held"].as_u64().unwrap() > 1_000,
        "{status:#}"
    );
    assert_eq!(status["sinks"]["stick"]["pending"], 0);

    // And on: the next stick has what is new, and the chain goes on.
    classroom.append(MANY..MANY + 10);
    let file = classroom.export("out.jsonl", &[]);
    assert_eq!(school.import_well(file), (10, 0));
    school.assert_clean(&[("kiosk-1", tail + 10)]);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_told_and_what_it_holds_whole_is_taken() {
    let school = School::new();
    let classroom = school.classroom("kiosk-1");
    classroom.append(0..6);
    let whole = fs::read(classroom.export("out.jsonl", &[])).unwrap();
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let ends: Vec<usize> = ends.map(|(at, _)| at).collect();
    assert_eq!(ends.len(), 9);
    let mut cuts = vec![0, 1, ends[0] - 1];
    for pair in ends.windows(2) {
        // Before the end of a line, behind it, within the next one, and one byte short of it.
        cuts.extend([pair[0], pair[0] + 1, (pair[0] + pair[1]) / 2, pair[1] - 1]);
    }
    let mut stored = 0;
    for cut in cuts {
        // All that is there up to the cut, with its end or without it.
        let events = ends
            .iter()
            .skip(1)
            .filter(|end| **end <= cut)
            .count()
            .min(7) as i64;
        for tail in [&b""[..], &[0; 3000]] {
            let text = [&whole[..cut], tail].concat();
            // With zeros behind it a line is not whole that had lost its end.
            let is_torn = !tail.is_empty() && ends.contains(&cut);
            let events = events - i64::from(is_torn && cut > ends[0] && cut < ends[8]);
            stored = stored.max(events);
            let (ended, files) = school.import(&[classroom.file("cut.jsonl", text)]);
            assert_eq!(ended.code, 1, "{cut}: {ended:?}");
            let is_file = cut >= ends[0] && (cut > ends[0] || tail.is_empty());
            let said = match is_file {
                true => "a file is cut off",
                false => "is no export",
            };
            assert!(ended.stderr.contains(said), "{cut}: {ended:?}");
            if is_file {
                assert_eq!(files[0]["lines"], events, "{cut}: {files:?}");
                assert_eq!(files[0]["is_whole"], false, "{cut}: {files:?}");
            }
            assert_eq!(school.events(), stored, "{cut}");
        }
        // How far the journal goes is known from the first line on.
        if stored == 3 {
            let gaps = school
                .runtime
                .block_on(async { gaps(&connect(&school.server, "analyst").await).await });
            assert_eq!(gaps, ["kiosk-1 4 7"], "{cut}");
        }
    }
    assert_eq!(school.quarantined(), [""; 0]);
    let (stored, repeated) = school.import_well(classroom.file("whole.jsonl", &whole));
    assert_eq!((stored, repeated), (0, 7));
    // The last line has no end where its writer has none.
    let open = &whole[..whole.len() - 1];
    school.import_well(classroom.file("open.jsonl", open));
    school.assert_clean(&[("kiosk-1", 7)]);
}

#[test]
fn what_was_altered_on_the_way_is_set_aside_and_the_rest_is_taken() {
    let school = School::new();
    let classroom = school.classroom("kiosk-1");
    classroom.append(0..6);
    let whole = fs::read_to_string(classroom.export("out.jsonl", &[])).unwrap();
    let payload = whole.replace("{\"n\":3}", "{\"n\":4}");
    let kind = whole.replacen("quiz.submitted.v1", "quiz.admitted_.v1", 1);
    let (ended, files) = school.import(&[
        classroom.file("payload.jsonl", payload),
        classroom.file("type.jsonl", kind),
    ]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("2 lines not taken"), "{ended:?}");
    assert!(ended.stderr.contains("hub quarantine list"), "{ended:?}");
    assert_eq!(
        (counts(&files[0]), &files[0]["quarantined"]["altered"]),
        ((6, 0), &1.into())
    );
    assert_eq!(
        (counts(&files[1]), &files[1]["quarantined"]["forged"]),
        ((1, 5), &1.into())
    );
    assert_eq!(school.quarantined(), ["altered 1", "forged 1"]);
    school.assert_clean(&[("kiosk-1", 7)]);

    // A head and a count that lie change what is said of the file, and nothing that is stored.
    let other = school.classroom("kiosk-2");
    let foreign = fs::read_to_string(other.append(0..3).export("out.jsonl", &[])).unwrap();
    let (foreign_head, _) = foreign.split_once('\n').unwrap();
    let (_, rest) = whole.split_once('\n').unwrap();
    let swapped = format!("{foreign_head}\n{rest}");
    let (ended, files) = school.import(&[classroom.file("swapped.jsonl", swapped)]);
    assert!(ended.stderr.contains("is not proven"), "{ended:?}");
    assert_eq!(counts(&files[0]), (0, 7));
    let fewer = whole.replace("\"events\":7", "\"events\":6");
    let (ended, _) = school.import(&[classroom.file("fewer.jsonl", fewer)]);
    assert!(ended.stderr.contains("a file is cut off"), "{ended:?}");
    let later = whole.replace("edge_outbox_export\":1", "edge_outbox_export\":2");
    let (ended, _) = school.import(&[classroom.file("later.jsonl", later)]);
    assert!(ended.stderr.contains("by a later version"), "{ended:?}");
    school.assert_clean(&[("kiosk-1", 7)]);
}

#[test]
fn a_device_that_nobody_has_registered_is_set_aside_until_somebody_does() {
    let school = School::new().without_first_use();
    let (one, two) = (school.classroom("kiosk-1"), school.classroom("kiosk-2"));
    one.append(0..3_000);
    two.append(0..4);
    let one_file = one.export("out.jsonl", &[]);
    let two_file = two.export("out.jsonl", &[]);
    // The first line of an export says who it is: whoever trusts it registers by it.
    let text = fs::read_to_string(&two_file).unwrap();
    let head = two.file("head.json", text.lines().next().unwrap());
    school
        .hub
        .ok(&["devices", "import", head.to_str().unwrap()]);

    // Put together, as somebody did who meant it well: the one does not keep the other back.
    let both = [fs::read(&one_file).unwrap(), text.into_bytes()].concat();
    let (ended, files) = school.import(&[one.file("both.jsonl", both)]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(
        files[0]["devices"],
        serde_json::json!(["kiosk-1", "kiosk-2"])
    );
    assert_eq!(counts(&files[0]), (5, 0));
    let aside = files[0]["quarantined"]["unknown_device"].as_u64().unwrap();
    let over = files[0]["passed_over"].as_u64().unwrap();
    assert!((1_000..=2_048).contains(&aside), "{aside}");
    assert_eq!(aside + over, 3_001);
    assert_eq!(files[0]["is_whole"], true);
    school.assert_clean(&[("kiosk-2", 5)]);

    let text = fs::read_to_string(&one_file).unwrap();
    let head = one.file("head.json", text.lines().next().unwrap());
    school
        .hub
        .ok(&["devices", "import", head.to_str().unwrap()]);
    school.hub.ok(&["quarantine", "retry"]);
    let (stored, repeated) = school.import_well(one_file);
    assert_eq!((stored, repeated), (over, aside));
    school.assert_clean(&[("kiosk-1", 3_001), ("kiosk-2", 5)]);
    assert_eq!(school.quarantined(), [""; 0]);
}

#[test]
fn what_came_over_nats_before_is_a_repeat_and_the_rest_of_it_is_new() {
    let nats = NatsServer::start();
    let source = format!(
        "[sources.nats]\ntype = \"nats\"\nservers = [\"{}\"]\n",
        nats.url()
    );
    let school = School::with(&source);
    school.runtime.block_on(nats.create_stream(|_| {}));
    let sink = format!(
        "[sinks.nats]\ntype = \"nats\"\nservers = [\"{}\"]\nstream = \"EVENTS\"\n",
        nats.url()
    );
    let classroom = school.classroom_with("kiosk-1", &sink);
    classroom.append(0..50);
    classroom.home.ok(&["drain"]);
    let mut hub = school.hub;
    let process = hub.start();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let held = || {
        school
            .runtime
            .block_on(async { number(&connect(&school.server, "analyst").await, EVENTS).await })
    };
    while held() < 51 {
        assert!(std::time::Instant::now() < deadline, "{}", process.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // While that hub runs: it and the import share the work.
    classroom.append(50..60);
    let school = School { hub, ..school };
    let file = classroom.export("out.jsonl", &[]);
    assert_eq!(school.import_well(file.clone()), (10, 51));
    // A file of plain envelopes is taken, too, though whether it is all nobody knows.
    let plain = classroom.home.ok(&["tail", "--from", "1"]);
    let (ended, files) = school.import(&[classroom.file("plain.jsonl", plain)]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        (counts(&files[0]), files[0].get("is_whole")),
        ((0, 61), None)
    );
    assert_eq!(process.stop().0, Some(0));
    school.assert_clean(&[("kiosk-1", 61)]);
    let all = school.export_of_sink(&classroom, "nats");
    assert_eq!(all, 10, "what NATS has confirmed is left out");
}

impl School {
    /// How many events an export has that begins where a sink stands.
    fn export_of_sink(&self, classroom: &Classroom, sink: &str) -> usize {
        let file = classroom.export("rest.jsonl", &["--sink", sink]);
        fs::read_to_string(file).unwrap().lines().count() - 2
    }
}

#[test]
fn who_was_erased_stays_erased_in_what_is_carried_later() {
    let school = School::new();
    let classroom = school.classroom("kiosk-1");
    classroom.append(0..5);
    // Whose key it is the database learns from the first hub that works on it.
    let before = school.classroom("kiosk-2");
    school.import_well(before.append(0..1).export("out.jsonl", &[]));
    let said = school.hub.ok(&["erase", "--id", PERSON]);
    assert!(said.contains("1 event lost the personal part"), "{said}");
    let (ended, files) = school.import(&[classroom.export("out.jsonl", &[])]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        (counts(&files[0]), &files[0]["erased"]),
        ((6, 0), &5.into())
    );
    let told = school.runtime.block_on(async {
        let client = connect(&school.server, "analyst").await;
        lines(
            &client,
            "select kind, count(*), count(payload), count(aggregate_id) \
             from edge_outbox_hub.events group by 1 order by 1",
        )
        .await
    });
    assert_eq!(told, ["ledger 2 2 2", "program 6 0 0"]);
    school.assert_clean(&[("kiosk-1", 6), ("kiosk-2", 2)]);
}

/// An old stick that turns up again has what the device has erased since.
#[test]
fn what_a_device_erased_is_erased_in_what_was_carried_away_before_in_any_order() {
    for old_first in [true, false] {
        let school = School::new();
        let classroom = school.classroom("kiosk-1");
        classroom.append(0..6);
        let old = classroom.export("old.jsonl", &[]);
        classroom.home.ok(&["erase", "--id", PERSON]);
        let new = classroom.export("new.jsonl", &[]);
        let files = if old_first { [old, new] } else { [new, old] };
        school.import(&files);
        let left = "select count(*) from edge_outbox_hub.events \
                    where kind = 'program' and not is_erased";
        assert_eq!(school.ask(left), 0, "{old_first}");
        assert_eq!(school.quarantined(), [""; 0], "{old_first}");
        school.assert_clean(&[("kiosk-1", 8)]);
    }
}

#[test]
fn what_is_no_export_is_refused_and_a_flood_of_rubbish_is_given_up() {
    let school = School::new();
    let classroom = school.classroom("kiosk-1");
    for text in [
        "",
        "\n\n\n",
        "hello\n",
        "\0\0\0\0",
        "{\"edge_outbox_receipts\":1}\n",
    ] {
        let (ended, _) = school.import(&[classroom.file("no.jsonl", text)]);
        assert_eq!(ended.code, 1, "{text:?} {ended:?}");
        assert!(ended.stderr.contains("is no export"), "{text:?} {ended:?}");
    }
    let (ended, _) = school.import(&[classroom.home.path("missing")]);
    assert!(ended.stderr.contains("No such file"), "{ended:?}");

    let whole = fs::read_to_string(classroom.append(0..3).export("out.jsonl", &[])).unwrap();
    let (head, rest) = whole.split_once('\n').unwrap();
    // A line of 40 MB, 200,000 lines of rubbish, and the honest ones in front.
    let long = "x".repeat(40_000_000);
    let rubbish = "rubbish\n".repeat(200_000);
    let (first, last) = rest.split_once('\n').unwrap();
    let flood = format!("{head}\n{first}\n{long}\n{rubbish}{last}");
    let (ended, files) = school.import(&[classroom.file("flood.jsonl", flood)]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let aside = files[0]["quarantined"]["unreadable"].as_u64().unwrap();
    assert!((1_000..3_000).contains(&aside), "{files:?}");
    assert_eq!(counts(&files[0]).0, 1);
    assert_eq!(files[0]["passed_over"], 200_001 - aside + 3);
    school.import_well(classroom.file("whole.jsonl", whole));
    school.assert_clean(&[("kiosk-1", 4)]);
}

#[test]
fn receipts_are_for_every_device_that_was_carried_and_none_without_a_key() {
    let school = School::new();
    let rooms = ["kiosk-1", "kiosk-2"].map(|name| school.classroom(name));
    let files: Vec<PathBuf> = rooms
        .iter()
        .map(|room| room.append(0..8).export("out.jsonl", &[]))
        .collect();
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let path = school.hub.path("receipts.jsonl");
    let receipts = path.to_str().unwrap();
    school
        .hub
        .ok(&["import", files[0], files[1], "--receipts", receipts]);
    let ended = school
        .hub
        .ask(&["import", files[0], "--receipts", receipts]);
    assert!(ended.stderr.contains("is there already"), "{ended:?}");
    for room in &rooms {
        let said = room.home.ok(&["receipts", receipts]);
        assert_eq!(
            said, "the hub has everything up to seq 9\n",
            "{}",
            room.name
        );
    }
    // Through a pipe, both ways.
    let input = fs::read(files[0]).unwrap();
    let config = school.hub.path("hub.toml");
    let args = [
        "hub",
        "--config",
        config.to_str().unwrap(),
        "import",
        "-",
        "--receipts",
        "-",
    ];
    let ended = rooms[0].home.run_with(&args, input);
    assert_eq!(ended.code, 0, "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "{\"edge_outbox_receipts\":1}"));
    let ended = rooms[0].home.run_with(&["receipts", "-"], &ended.stdout);
    assert_eq!(ended.code, 0, "{ended:?}");

    let file = school.hub.path("hub.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        config.replace("[receipts]\nkey_file = \"hub.pem\"\n", ""),
    )
    .unwrap();
    let ended = school
        .hub
        .ask(&["import", files[0], "--receipts", receipts, "--force"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.contains("receipts.key_file is not set"),
        "{ended:?}"
    );
}

#[test]
fn what_is_wrong_with_one_file_is_said_and_stops_no_other() {
    let school = School::new();
    let classroom = school.classroom("kiosk-1");
    let file = classroom.append(0..6).export("out.jsonl", &[]);
    let whole = fs::read_to_string(&file).unwrap();
    let tail = |text: &str| {
        let head: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        head["tail"].as_str().unwrap().to_owned()
    };
    // The end was cut away, and the tail altered that would have shown it.
    let mut lines: Vec<&str> = whole.lines().collect();
    let at = lines.len() - 4;
    lines.drain(at..at + 3);
    let mut forged = tail(&whole).into_bytes();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let text = (lines.join("\n") + "\n")
        .replace(&tail(&whole), std::str::from_utf8(&forged).unwrap())
        .replace("\"events\":7", "\"events\":4");
    let (ended, files) = school.import(&[classroom.file("cut.jsonl", text)]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("is not proven"), "{ended:?}");
    assert_eq!(files[0]["tails_refused"], 1, "{files:?}");
    assert_eq!(counts(&files[0]), (4, 0));

    // An end whose head is missing.
    let (_, without) = whole.split_once('\n').unwrap();
    let (ended, files) = school.import(&[classroom.file("headless.jsonl", without)]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(files[0]["is_whole"], false, "{files:?}");

    // What is no export, and one that is not there, before one that is.
    classroom.append(6..8);
    let good = classroom.export("more.jsonl", &[]);
    let bad = classroom.file("bad.events", "hello\n");
    let (ended, files) = school.import(&[bad, classroom.home.path("gone"), good]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("bad.events is no export"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("gone failed"), "{ended:?}");
    assert_eq!(counts(&files[2]), (2, 7), "{files:?}");
}

#[test]
fn heads_begin_no_other_count_of_what_is_set_aside() {
    let school = School::new();
    let classroom = school.classroom("kiosk-1");
    let file = classroom.append(0..6).export("out.jsonl", &[]);
    let whole = fs::read_to_string(file).unwrap();
    let (head, _) = whole.split_once('\n').unwrap();
    let mut text = String::new();
    for part in 0..13 {
        text += &format!("{head}\n");
        for line in 0..1_100 {
            text += &format!("rubbish {part} {line}\n");
        }
    }
    let other = school.classroom("kiosk-2");
    let honest = other.append(0..40).export("out.jsonl", &[]);
    let (ended, files) = school.import(&[classroom.file("flood.jsonl", text), honest]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let aside = files[0]["quarantined"]["unreadable"].as_u64().unwrap();
    assert!((10_000..12_000).contains(&aside), "{files:?}");
    assert_eq!(files[0]["passed_over"], 13 * 1_100 - aside);
    assert_eq!(
        counts(&files[1]),
        (41, 0),
        "no other suffers by it: {files:?}"
    );
}
