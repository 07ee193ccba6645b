//! What a person asks of a hub and orders, by the command line, against a real Postgres.

#![cfg(all(feature = "hub", feature = "cli"))]
mod support;

use edge_outbox::{
    clock::{ClockSync, Stamp, Timestamp},
    hub::{Intake, Reason, Remedy},
};
use serde_json::{Value, json};
use support::{
    chained_device::{ChainedDevice, Draft},
    hub::{connect, database, intake_with, lines, messages, number, options},
    hub_program::HubHome,
    postgres_server::PostgresServer,
};
use tokio::runtime::Runtime;

/// A home whose keys are those that the library's intake has in these tests.
fn home(server: &PostgresServer) -> HubHome {
    let hub = HubHome::new("hub", server, "");
    std::fs::write(
        hub.path("erasure.key"),
        "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(hub.path("erasure.key"), mode).unwrap();
    hub.ok(&["key"]);
    hub
}

/// An operator's own home: the same tables under another role.
fn operator(server: &PostgresServer) -> HubHome {
    let hub = home(server);
    let path = hub.path("hub.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.replace(&server.url_as("hub", ""), &server.url_as("operator", ""));
    std::fs::write(&path, config).unwrap();
    hub
}

fn json_of(hub: &HubHome, args: &[&str]) -> Value {
    serde_json::from_str(&hub.ok(args)).unwrap()
}

#[test]
fn devices_are_added_imported_listed_and_revoked_by_an_operator() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let (hub, desk) = (home(&server), operator(&server));
    let mut first = ChainedDevice::new("kiosk-1");
    let second = ChainedDevice::new("kiosk-2");
    let key = |device: &ChainedDevice| device.public_key().to_string();

    // What an unknown device sends waits until it is known.
    let events = first.journal(3);
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        let taken = intake.take(messages(&events)).await.unwrap();
        assert_eq!(taken.quarantined[&Reason::UnknownDevice], 4);
    });
    let listed = json_of(
        &desk,
        &["quarantine", "list", "--device", "kiosk-1", "--json"],
    );
    assert_eq!(listed.as_array().unwrap().len(), 4);
    let said = desk.ok(&["devices", "add", "kiosk-1", &key(&first)]);
    assert_eq!(
        said,
        "1 key added; a running hub takes what waited for it within 15 s\n"
    );
    assert_eq!(
        hub.ok(&["quarantine", "retry"]),
        "4 events stored, 0 known already, 0 back again\n"
    );

    let lines_of = format!(
        "{}\n\n{}\n",
        json!({"device": "kiosk-1", "public_key": key(&first), "epoch": "ignored"}),
        json!({"device": "kiosk-2", "public_key": key(&second)}),
    );
    std::fs::write(desk.path("fleet.jsonl"), &lines_of).unwrap();
    let fleet = desk.path("fleet.jsonl");
    let said = desk.ok(&["devices", "import", fleet.to_str().unwrap()]);
    assert!(said.starts_with("1 key added, 1 known already"), "{said}");
    std::fs::write(&fleet, format!("{lines_of}{{\"device\":\"kiosk 3\"}}\n")).unwrap();
    let ended = desk.ask(&["devices", "import", fleet.to_str().unwrap()]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("fleet.jsonl line 4: "), "{ended:?}");

    let listed = json_of(&desk, &["devices", "list", "--json"]);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["keys"][0]["public_key"], key(&first));
    assert_eq!(listed[0]["keys"][0]["revoked_at"], Value::Null);
    let id = first.public_key().id().to_string();
    // A place that is not known would have left the key good for nothing.
    let nowhere = format!("{}:2", second.epoch);
    let ended = desk.ask(&["devices", "revoke", "kiosk-1", &id, "--good-upto", &nowhere]);
    let said = format!("error: device kiosk-1 has no epoch {}\n", second.epoch);
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
    assert_eq!(ended.code, 1);
    let listed = json_of(&desk, &["devices", "list", "--json"]);
    assert_eq!(listed[0]["keys"][0]["revoked_at"], Value::Null);
    let place = format!("{}:2", first.epoch);
    desk.ok(&["devices", "revoke", "kiosk-1", &id, "--good-upto", &place]);
    let text = desk.ok(&["devices", "list"]);
    assert!(text.contains(&format!("good up to {place}")), "{text}");
    assert!(text.lines().nth(1).unwrap().ends_with("in use"), "{text}");
    let ended = desk.ask(&["devices", "revoke", "kiosk-2", &id]);
    assert!(
        ended
            .stderr
            .starts_with("error: device kiosk-2 has no key "),
        "{ended:?}"
    );

    // What lies beyond is set aside, and what is stored stays.
    let beyond = first.quizzes(1);
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        let taken = intake.take(messages(&beyond)).await.unwrap();
        assert_eq!(taken.quarantined[&Reason::RevokedKey], 1);
        let actions = "select action, actor from edge_outbox_hub.audit order by id";
        let client = server.connect().await;
        assert_eq!(
            lines(&client, actions).await,
            [
                "device_added operator",
                "device_added operator",
                "key_revoked operator"
            ]
        );
    });
}

#[test]
fn a_report_says_what_is_missing_and_only_problems_where_that_is_asked() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let desk = operator(&server);
    let mut whole = ChainedDevice::new("kiosk-1");
    let mut holed = ChainedDevice::new("kiosk-2");
    let silent = ChainedDevice::new("kiosk-3");
    for device in [&whole, &holed, &silent] {
        desk.ok(&[
            "devices",
            "add",
            device.name.as_str(),
            &device.public_key().to_string(),
        ]);
    }
    let all = whole.journal(5);
    let some = holed.journal(9);
    let (early, late) = (&some[..3], &some[5..]);
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        intake.take(messages(&all)).await.unwrap();
        intake
            .take(messages(early.iter().chain(late)))
            .await
            .unwrap();
    });
    let report = desk.ok(&["report"]);
    let report: Vec<&str> = report.lines().collect();
    assert!(report[0].ends_with("complete up to seq 6"), "{report:?}");
    assert!(
        report[1].contains("complete up to seq 3 of 10, 2 events missing (4-5) since "),
        "{report:?}"
    );
    assert_eq!(report[2], "kiosk-3  nothing was taken");
    let problems = json_of(&desk, &["report", "--problems", "--json"]);
    let problems = problems.as_array().unwrap();
    let names: Vec<&str> = problems
        .iter()
        .map(|it| it["device"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["kiosk-2", "kiosk-3"]);
    assert_eq!(problems[0]["gaps"], json!(["4-5"]));
    assert_eq!(problems[0]["clock_set"], true);
    assert_eq!(problems[1]["clock_set"], Value::Null);
    assert_eq!(problems[0]["missing"], 2);

    // A clock that is not set is no problem of the chain, and is told.
    let mut stamp = Stamp {
        wall: Timestamp::from_micros(0).unwrap(),
        sync: ClockSync::No,
        boot_id: uuid::Uuid::from_u128(2),
        boottime_us: 7,
    };
    for (sync, is_told) in [(ClockSync::No, true), (ClockSync::Yes, false)] {
        whole.stamp = Some(stamp);
        assert_eq!(stamp.sync, sync);
        let event = whole.quizzes(1);
        runtime.block_on(async {
            let mut intake = intake_with(&server, options()).await;
            intake.take(messages(&event)).await.unwrap();
        });
        let report = desk.ok(&["report"]);
        let first = report.lines().next().unwrap();
        assert_eq!(
            first.ends_with(", its clock is not set"),
            is_told,
            "{first}"
        );
        stamp.sync = ClockSync::Yes;
        stamp.wall = Timestamp::from_micros(1_772_352_000_000_000).unwrap();
        stamp.boottime_us += 1;
    }
    // How the clock was in an epoch that is over is no news.
    stamp.sync = ClockSync::No;
    whole.stamp = Some(stamp);
    let mut events = whole.quizzes(1);
    stamp.sync = ClockSync::Yes;
    stamp.boottime_us += 1;
    whole.stamp = Some(stamp);
    events.push(whole.new_epoch("recovered", 0));
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        intake.take(messages(&events)).await.unwrap();
    });
    let report = desk.ok(&["report"]);
    assert!(!report.contains("its clock is not set"), "{report}");
}

#[test]
fn quarantine_is_shown_byte_for_byte_and_dropped_for_good() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let desk = operator(&server);
    let garbage: Vec<Vec<u8>> = vec![b"{\"no\": 1}".to_vec(), b"\xff\x00two".to_vec()];
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        let messages = garbage
            .iter()
            .map(|body| support::hub::message(body.clone()));
        intake.take(messages.collect()).await.unwrap();
        intake.take(messages_of(&garbage[..1])).await.unwrap();
    });
    let listed = json_of(&desk, &["quarantine", "list", "--json"]);
    let ids: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2);
    let times: i64 = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["times"].as_i64().unwrap())
        .sum();
    assert_eq!(times, 3);
    let text = desk.ok(&["quarantine", "list", "--reason", "unreadable"]);
    assert!(
        text.contains(" bytes from test at ") && text.contains(", 2 times"),
        "{text}"
    );
    assert_eq!(desk.ok(&["quarantine", "list", "--reason", "forged"]), "");
    assert_eq!(desk.ask(&["quarantine", "list", "--reason", "bad"]).code, 2);
    let of_first = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["times"] == 2)
        .unwrap();
    let shown = desk.ok(&["quarantine", "show", &of_first["id"].to_string()]);
    assert_eq!(shown.as_bytes(), garbage[0]);
    assert_eq!(
        desk.ok(&["quarantine", "drop", &ids[0]]),
        "1 message dropped\n"
    );
    assert_eq!(
        desk.ok(&["quarantine", "drop", "--reason", "unreadable"]),
        "1 message dropped\n"
    );
    assert_eq!(desk.ask(&["quarantine", "show", &ids[0]]).code, 1);
    let client = runtime.block_on(server.connect());
    let kept = "select kept + bytes from edge_outbox_hub.quarantine_totals";
    assert_eq!(runtime.block_on(number(&client, kept)), 0);
}

fn messages_of(bodies: &[Vec<u8>]) -> Vec<edge_outbox::hub::Message> {
    bodies
        .iter()
        .map(|body| support::hub::message(body.clone()))
        .collect()
}

#[test]
fn who_is_erased_is_gone_and_the_tables_verify_until_somebody_changes_them() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let (hub, desk) = (home(&server), operator(&server));
    let mut device = ChainedDevice::new("kiosk-1");
    hub.ok(&[
        "devices",
        "add",
        "kiosk-1",
        &device.public_key().to_string(),
    ]);
    // No hub has opened this database yet.
    let ended = desk.ask(&["erase", "--id", "ada"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .starts_with("error: no hub has used this database yet")
            && ended
                .stderr
                .contains("hint: start `edge-outbox hub run` once"),
        "{ended:?}"
    );
    let mut events = device.journal(3);
    let about: Vec<Draft> = vec![Draft::about("ada"); 4];
    events.extend(device.group(&about));
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        intake.take(messages(&events)).await.unwrap();
    });
    assert_eq!(hub.ok(&["verify"]), "8 events: nothing is wrong\n");
    let said = desk.ok(&["erase", "--id", "ada", "--note", "asked for in writing"]);
    assert_eq!(
        said,
        "4 events lost the personal part; what arrives later loses it, too\n"
    );
    assert_eq!(
        desk.ok(&["erase", "--id", "ada"]),
        "nothing of it is held; what arrives later loses it, too\n"
    );
    assert_eq!(
        hub.ok(&["verify"]),
        "8 events, 4 of them without the personal part: nothing is wrong\n"
    );
    runtime.block_on(async {
        let client = connect(&server, "operator").await;
        let audit = "select action, events, note from edge_outbox_hub.audit where action = 'erased'";
        assert_eq!(
            lines(&client, audit).await,
            ["erased 4 asked for in writing", "erased 0 by hand"]
        );
        let changed = "update edge_outbox_hub.event_rows set payload = '{\"score\":9}' where seq = 2; \
                       update edge_outbox_hub.event_rows set source = 'else' where seq = 3; \
                       delete from edge_outbox_hub.positions where seq = 4";
        server.execute(changed).await;
    });
    let ended = hub.ask(&["verify"]);
    assert_eq!(ended.code, 1);
    let findings: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(findings.len(), 5, "{ended:?}");
    assert!(findings[0].contains("seq 2: "), "{ended:?}");
    assert!(findings[1].contains("seq 3: "), "{ended:?}");
    assert!(
        findings[2].ends_with("seq 4: it has no position"),
        "{ended:?}"
    );
    assert!(
        findings[3].ends_with(": 1 seqs have neither a position nor a gap"),
        "{ended:?}"
    );
    let found = ended.stdout.lines().last().unwrap();
    assert!(found.ends_with(": 4 findings"), "{found}");
}

/// Each is held against the keys of its own device, as they were when it was stored, and each that was
/// stored has to be there.
#[test]
fn a_verification_finds_what_another_devices_key_signed_and_what_is_gone() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let desk = operator(&server);
    let mut device = ChainedDevice::new("kiosk-1");
    let mut other = ChainedDevice::new("kiosk-2");
    let key = |device: &ChainedDevice| device.public_key().to_string();
    for device in [&device, &other] {
        desk.ok(&["devices", "add", device.name.as_str(), &key(device)]);
    }
    let (events, others) = (device.journal(4), other.journal(2));
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        intake.take(messages(&events)).await.unwrap();
        intake.take(messages(&others)).await.unwrap();
    });
    // What was stored before its key was revoked stays true to it.
    let id = device.public_key().id().to_string();
    desk.ok(&["devices", "revoke", "kiosk-1", &id]);
    assert_eq!(desk.ok(&["verify"]), "8 events: nothing is wrong\n");

    // Whoever may write into the tables has the one device's events pass for signed by the other's
    // key, stores one after its key was revoked, and removes one. A month that was dropped is no news.
    let written = "\
        insert into edge_outbox_hub.device_keys (device, key_id, public_key, added_by) \
            select 'kiosk-2', key_id, public_key, added_by from edge_outbox_hub.device_keys \
            where device = 'kiosk-1'; \
        delete from edge_outbox_hub.device_keys where device = 'kiosk-1'; \
        update edge_outbox_hub.device_keys set revoked_at = now() - interval '1 day', \
            revoked_epoch = (select epoch from edge_outbox_hub.epochs where device = 'kiosk-2'), \
            revoked_seq = 2 where key_id = (select key_id from edge_outbox_hub.epochs \
            where device = 'kiosk-2'); \
        delete from edge_outbox_hub.event_rows where seq = 2; \
        insert into edge_outbox_hub.positions select device, epoch, seq + 100, digest, prev, \
            received_at - interval '1 year' from edge_outbox_hub.positions where seq = 1";
    runtime.block_on(server.execute(written));
    let ended = desk.ask(&["verify"]);
    assert_eq!(ended.code, 1);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    for (n, (device, seq, what)) in [
        ("kiosk-1", 1, "is not a trusted one"),
        ("kiosk-1", 3, "is not a trusted one"),
        ("kiosk-1", 4, "is not a trusted one"),
        ("kiosk-1", 5, "is not a trusted one"),
        (
            "kiosk-2",
            3,
            ": it was stored after its key was revoked for it",
        ),
        ("kiosk-1", 2, ": it has a position and is not there"),
        ("kiosk-2", 2, ": it has a position and is not there"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(lines[n].contains(device), "{n}: {ended:?}");
        assert!(lines[n].contains(&format!("seq {seq}: ")), "{n}: {ended:?}");
        assert!(lines[n].ends_with(what), "{n}: {ended:?}");
    }
    let last = "6 events, 2 more went with their months: 7 findings";
    assert_eq!(*lines.last().unwrap(), last, "{ended:?}");
}

#[test]
fn a_verification_finds_what_is_gone_with_its_position() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let desk = operator(&server);
    let mut device = ChainedDevice::new("kiosk-1");
    let key = device.public_key().to_string();
    desk.ok(&["devices", "add", "kiosk-1", &key]);
    let mut events = device.journal(9);
    // What is missing, or declared, is no finding.
    events.remove(2);
    let lost = json!({"ranges": [{"first": 7, "last": 7}]});
    events.remove(5);
    events.push(device.ledger("outbox.events_lost.v1", &lost));
    let gone = |seqs: &str| {
        let gone = format!(
            "delete from edge_outbox_hub.event_rows where seq in ({seqs}); \
             delete from edge_outbox_hub.positions where seq in ({seqs})"
        );
        runtime.block_on(server.execute(&gone));
        desk.ask(&["verify"])
    };
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        intake.take(messages(&events)).await.unwrap();
    });
    assert_eq!(desk.ok(&["verify"]), "9 events: nothing is wrong\n");
    let ended = gone("4, 5, 11");
    assert_eq!(ended.code, 1);
    let first = ended.stdout.lines().next().unwrap();
    assert!(
        first.ends_with(": 3 seqs have neither a position nor a gap"),
        "{ended:?}"
    );
    // Where the chain is whole its end is looked for by its digest.
    let ended = gone("2");
    let second = ended.stdout.lines().nth(1).unwrap();
    assert!(
        second.ends_with("seq 2: the end of its chain is not there"),
        "{ended:?}"
    );
}

/// Whoever takes an event away has its place look as if it never came; or takes what is known of the epoch
/// away with it.
#[test]
fn a_verification_finds_a_gap_where_a_chain_counts_as_whole_and_an_epoch_that_is_gone() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let desk = operator(&server);
    let mut devices = [ChainedDevice::new("kiosk-1"), ChainedDevice::new("kiosk-2")];
    for device in &devices {
        let key = device.public_key().to_string();
        desk.ok(&["devices", "add", device.name.as_str(), &key]);
    }
    runtime.block_on(async {
        let mut intake = intake_with(&server, options()).await;
        for device in &mut devices {
            intake.take(messages(&device.journal(5))).await.unwrap();
        }
    });
    assert_eq!(desk.ok(&["verify"]), "12 events: nothing is wrong\n");
    let hidden = "delete from edge_outbox_hub.event_rows where device = 'kiosk-1' and seq = 3; \
        delete from edge_outbox_hub.positions where device = 'kiosk-1' and seq = 3; \
        insert into edge_outbox_hub.gap_rows (device, epoch, first_seq, last_seq) \
        select device, epoch, 3, 3 from edge_outbox_hub.epochs where device = 'kiosk-1'";
    runtime.block_on(server.execute(hidden));
    let ended = desk.ask(&["verify"]);
    let first = ended.stdout.lines().next().unwrap();
    let wanted = "seq 6: its chain counts as whole up to here, and something before is missing";
    assert!(first.ends_with(wanted), "{ended:?}");
    assert!(ended.stdout.ends_with(": 1 finding\n"), "{ended:?}");
    runtime.block_on(server.execute("delete from edge_outbox_hub.epochs where device = 'kiosk-2'"));
    let ended = desk.ask(&["verify"]);
    let of_epoch = "it has a position, and its epoch is not there";
    let found = ended.stdout.lines().filter(|it| it.ends_with(of_epoch));
    assert_eq!(found.count(), 6, "{ended:?}");
}

/// Devices order the lives of a hub by the first eight bytes of its name, so each life's is of version
/// 7 and later than the one before.
#[test]
fn a_database_that_was_restored_from_a_copy_gets_a_later_name() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(database());
    let desk = operator(&server);
    let client = runtime.block_on(server.connect());
    let named = || -> uuid::Uuid {
        let name = "select hub from edge_outbox_hub.schema_version";
        runtime.block_on(lines(&client, name))[0].parse().unwrap()
    };
    let life = |name: uuid::Uuid| name.as_u64_pair().0;
    let made = named();
    assert_eq!(made.get_version_num(), 7, "{made}");
    assert_eq!(made.get_variant(), uuid::Variant::RFC4122, "{made}");
    let (seconds, _) = made.get_timestamp().unwrap().to_unix();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    assert!(now.unwrap().as_secs().abs_diff(seconds) < 60, "{made}");

    let mut before = made;
    for _ in 0..3 {
        let said = desk.ok(&["new-life"]);
        let name = named();
        assert!(said.contains(&name.to_string()), "{said}");
        assert_eq!(name.get_version_num(), 7);
        assert!(life(name) > life(before), "{name} after {before}");
        before = name;
    }
    // Also after one whose clock was ahead.
    let ahead = "update edge_outbox_hub.schema_version \
                 set hub = 'fedcba98-7654-7fff-bfff-ffffffffffff'";
    runtime.block_on(server.execute(ahead));
    desk.ok(&["new-life"]);
    assert!(life(named()) > 0xfedc_ba98_7654_7fff, "{}", named());
    let last = format!("new_life operator {}", named());
    runtime.block_on(async {
        let said = "select action, actor, note from edge_outbox_hub.audit order by id desc limit 1";
        assert_eq!(lines(&client, said).await, [last]);
    });

    // A name that devices could take for an earlier one is not used.
    runtime.block_on(
        server.execute("update edge_outbox_hub.schema_version set hub = gen_random_uuid()"),
    );
    runtime.block_on(async {
        let refused = Intake::open(connect(&server, "hub").await, options()).await;
        let error = refused.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Mend);
        assert!(error.hint().unwrap().contains("hub new-life"), "{error}");
    });
    desk.ok(&["new-life"]);
    runtime.block_on(intake_with(&server, options()));
}
