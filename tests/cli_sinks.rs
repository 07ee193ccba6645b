//! Several sinks through the program: two real brokers, and `sinks list` and `sinks forget`.

#![cfg(all(feature = "cli", feature = "nats"))]
mod support;

use serde_json::{Value, json};
use support::{
    nats_server::NatsServer,
    program::{Home, lines},
};

/// The section of a sink at this server, which makes its stream there.
fn sink(name: &str, server: &NatsServer, keys: &str) -> String {
    format!(
        "[sinks.{name}]\ntype = \"nats\"\nservers = [\"{}\"]\nstream = \"EDUPULSE\"\n\
         create_stream = true\nstart_jitter = \"0 ms\"\n{keys}\n",
        server.url()
    )
}

/// How many events the server's stream holds.
fn stored(server: &NatsServer) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = server.jetstream().await.get_stream("EDUPULSE").await;
        stream.unwrap().get_info().await.unwrap().state.messages
    })
}

fn listed(home: &Home) -> Value {
    serde_json::from_str(&home.ok(&["sinks", "list", "--json"])).unwrap()
}

#[test]
fn two_brokers_are_served_each_by_itself_though_one_is_dead() {
    let (school, mut hub) = (NatsServer::start(), NatsServer::start());
    let config = sink("school", &school, "") + &sink("hub", &hub, "");
    let home = Home::with_config(&config);
    let daemon = home.daemon();
    home.wait_for(|status| status["sinks"]["hub"]["state"] == "caught_up");
    hub.kill();
    for round in 1..=5 {
        assert_eq!(home.run_with(&["append"], lines(0..400)).code, 0);
        let tail = round * 400 + 1;
        home.wait_for(|status| status["sinks"]["school"]["acked"] == tail);
    }
    assert_eq!(stored(&school), 2_001);
    let status = home.status();
    assert_eq!(status["sinks"]["hub"]["pending"], 2_000);
    assert_eq!(status["journal"]["first_held"], 1, "both are required");
    hub.start_again();
    home.wait_for(|status| status["sinks"]["hub"]["acked"] == 2_001);
    assert_eq!(stored(&hub), 2_001);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_rate_is_kept_on_a_real_connection() {
    let server = NatsServer::start();
    let home = Home::with_config(&sink("hub", &server, "max_events_per_s = 200"));
    assert_eq!(home.run_with(&["append"], lines(0..799)).code, 0);
    let begin = std::time::Instant::now();
    assert_eq!(home.ok(&["drain"]), "hub: everything delivered\n");
    // 200 at once, and the other 600 one after the other.
    let took = begin.elapsed().as_secs_f64();
    assert!((2.9..10.0).contains(&took), "{took}");
    assert_eq!(stored(&server), 800);
}

#[test]
fn a_sink_that_is_removed_holds_its_place_until_it_is_forgotten() {
    let (school, hub) = (NatsServer::start(), NatsServer::start());
    let both = sink("school", &school, "") + &sink("hub", &hub, "");
    let home = Home::with_config(&both);
    assert_eq!(home.run_with(&["append"], lines(0..9)).code, 0);
    let new = json!([
        {"name": "hub", "kind": "nats", "configured": true},
        {"name": "school", "kind": "nats", "configured": true},
    ]);
    assert_eq!(listed(&home), new);
    home.ok(&["drain"]);

    // While it is configured nobody forgets it, whether a daemon runs or not.
    for with_daemon in [false, true] {
        let daemon = with_daemon.then(|| home.daemon());
        let ended = home.run(&["sinks", "forget", "hub"]);
        let refused = "error: sink \"hub\" is configured\n\
                       hint: remove [sinks.hub] from the configuration first, then restart\n";
        assert_eq!((ended.code, ended.stderr.as_str()), (1, refused));
        if with_daemon {
            // The daemon goes by the configuration that it was started with.
            home.write_config(&sink("school", &school, ""));
            let ended = home.run(&["sinks", "forget", "hub"]);
            let refused = "error: sink \"hub\" is configured and being forwarded to\n\
                           hint: remove [sinks.hub] from the configuration first, then restart\n";
            assert_eq!((ended.code, ended.stderr.as_str()), (1, refused));
        }
        drop(daemon);
    }

    let daemon = home.daemon();
    assert_eq!(home.run_with(&["append"], lines(0..3_000)).code, 0);
    let status = home.wait_for(|status| status["sinks"]["school"]["pending"] == 0);
    assert_eq!(status["sinks"]["hub"]["state"], "absent");
    assert_eq!(status["journal"]["first_held"], 1);
    let place = json!({"name": "hub", "configured": false, "acked": 10, "pending": 3_000,
        "state": "absent"});
    assert_eq!(listed(&home)[0], place);
    let shown = home.ok(&["sinks", "list"]);
    let line =
        "hub     -     not configured  confirmed up to seq 10, 3000 pending, not configured\n";
    assert!(shown.starts_with(line), "{shown}");

    let told = home.ok(&["sinks", "forget", "hub"]);
    assert_eq!(told, "hub is forgotten: 3000 events not confirmed\n");
    assert_eq!(home.status()["sinks"]["hub"], Value::Null);
    assert_eq!(home.run_with(&["append"], lines(0..1)).code, 0);
    home.wait_for(|status| status["journal"]["first_held"].as_u64() > Some(1_000));
    assert_eq!(daemon.stop().0, 0);
    let ended = home.run(&["sinks", "forget", "hub"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .starts_with("error: no sink \"hub\" has a place in the journal\nhint: "),
        "{}",
        ended.stderr
    );

    // Without a daemon, straight in the journal.
    home.write_config(&sink("hub", &hub, ""));
    let told: Value =
        serde_json::from_str(&home.ok(&["sinks", "forget", "school", "--json"])).unwrap();
    assert_eq!(
        told,
        json!({"sink": "school", "pending": 0, "dead_letters": 0})
    );
}
